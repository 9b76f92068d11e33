//! InstrumentationConfigs: what the coverage of a workload means for its object and conditions.
//!
//! Owns `spec/sources-and-instrumentation.md` 2.6–2.8 and 2.11, and where the agent decision (`agents`, 3.3) goes: into the
//! object's spec and the condition `AgentEnabled`. Never looks at processes and never touches a pod.

pub mod brake;
pub mod canary;
pub mod creation;
pub mod gate;
pub mod healing;
pub mod options;
mod own_export;
pub mod places;
pub mod pods;
pub mod progress;
mod removal;
pub mod rollback;
pub mod rollout;
mod words;

pub use own_export::OWN_EXPORT;
pub use words::{LEFT_TO_YOU, OUTDATED_INPUTS};

use crate::agents::{self, Backoff, NodeCollector, Reason, Seen};
use crate::configuration::Configuration;
use crate::coverage::scope::Scope;
use crate::coverage::{Coverage, Decision, marked};
use crate::detection::Mode;
use crate::injection::LackingPullSecret;
use crate::sampling::Percentage;
use crate::streams;
use crate::workload::Workload;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference, Time};
use odigos_api::WorkloadKind;
use odigos_api::agent_settings::CollectorSampling;
use odigos_api::condition::kind::{AGENT_ENABLED, PODS_INJECTION, RUNTIME_DETECTION, WORKLOAD_ROLLOUT};
use odigos_api::condition::{ConditionDraft, INSTRUMENTATION_ORDER, Status};
use odigos_api::instrumentation_config::{
    InstrumentationConfig, InstrumentationConfigSpec, InstrumentationConfigStatus, WorkloadCollectorConfig,
};
use odigos_api::instrumentation_rule::InstrumentationRule;
use odigos_api::labels;
use odigos_api::source::ContainerOverride;
use std::collections::{BTreeMap, BTreeSet};

/// What becomes of a workload's InstrumentationConfig.
#[derive(Clone, Debug, PartialEq)]
pub enum Desired {
    /// It is left as it is; only its conditions may change.
    Keep,
    /// It goes.
    Delete,
    /// It shall look like this; holds only fields that the instrumentor owns.
    Apply(Box<InstrumentationConfig>),
}

/// The decision about one InstrumentationConfig.
#[derive(Clone, Debug, PartialEq)]
pub struct InstrumentationPlan {
    /// The object.
    pub desired: Desired,
    /// Its conditions, in the fixed order; only those that the instrumentor writes.
    pub conditions: Vec<ConditionDraft>,
    /// A person has asked to try once more after a rollback: what the status remembers of it and of the rollout goes.
    pub is_recovered: bool,
}

/// What of the effective configuration matters to every workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Which namespaces may be covered, and which are covered without a Source.
    pub scope: Scope,
    /// Percentage of health probes that is kept, while the built-in rule is on (`spec/sampling.md` 4).
    pub health_probes: Option<Percentage>,
    /// Settings of the agent decision.
    pub agents: agents::Options,
    /// Settings of restarts.
    pub rollout: rollout::Options,
    /// Whether metrics of the network are measured on the nodes (`metricsSources.networkMetrics.enabled`).
    pub measures_network: bool,
    /// Who looks at processes.
    pub detection: Mode,
}

impl Options {
    /// Reads them. `own_namespace` is the control plane's.
    #[must_use]
    pub fn of(configuration: &Configuration, own_namespace: &str) -> Self {
        Self {
            scope: Scope::of(configuration, own_namespace),
            health_probes: configuration.health_probes(),
            agents: agents::Options::of(configuration),
            rollout: rollout::Options::of(configuration),
            measures_network: configuration.flag("metricsSources.networkMetrics.enabled").unwrap_or_default(),
            detection: Mode::of(configuration),
        }
    }
}

/// What the decision about a workload looks at beside the workload and its Sources.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// What the effective configuration says.
    pub options: &'a Options,
    /// The collectors on the nodes.
    pub node_collector: NodeCollector<'a>,
    /// Every InstrumentationRule of the control plane's namespace.
    pub rules: &'a [&'a InstrumentationRule],
    /// A pod of the workload without an agent that does not start.
    pub backoff: Option<&'a Backoff>,
    /// The Secret for images of agents, where it is named and its namespace lacks it.
    pub pull_secret: Option<&'a LackingPullSecret>,
    /// Stamped where the agents change.
    pub now: Timestamp,
}

/// Decides about the InstrumentationConfig of a workload. `rivals` names the Sources of an ambiguous coverage.
#[must_use]
pub fn plan(
    workload: &Workload,
    coverage: &Coverage,
    existing: Option<&InstrumentationConfig>,
    rivals: &str,
    around: &Surroundings<'_>,
) -> InstrumentationPlan {
    let status = existing.and_then(|config| config.status.as_ref());
    let mut conditions = vec![marked(coverage, &workload.reference, rivals)];
    let is_recovered =
        coverage.decision.is_covered() && existing.is_some_and(|config| is_recovery_due(config, coverage));
    let desired = match coverage.decision {
        Decision::Ambiguous => {
            conditions.extend(restated(AGENT_ENABLED, status));
            Desired::Keep
        }
        // Rollouts wait too: their settings are not known.
        Decision::ConfigurationPending => {
            conditions.extend([AGENT_ENABLED, WORKLOAD_ROLLOUT].into_iter().filter_map(|kind| restated(kind, status)));
            Desired::Keep
        }
        // Agents that run stay where the object that holds the template was deleted; nothing would bring them back later.
        decision if decision.is_covered() && existing.is_some() && workload.missing_template().is_some() => {
            conditions.extend(workload.missing_template().map(|why| Reason::RuntimeDetailsUnavailable.condition(why)));
            Desired::Keep
        }
        decision if decision.is_covered() && workload.lent_to.is_none() => {
            let mut config = object(workload, coverage, existing, around);
            conditions.extend(decide_agents(workload, &mut config, around));
            config.status = None;
            Desired::Apply(Box::new(config))
        }
        _ => Desired::Delete,
    };
    let is_stated = matches!(&desired, Desired::Apply(config) if states_what_runs(config));
    conditions.extend(waiting_conditions(workload, status, is_stated, around.options.detection));
    let position = |kind: &str| INSTRUMENTATION_ORDER.iter().position(|one| *one == kind);
    conditions.sort_by_key(|condition| position(condition.kind));
    InstrumentationPlan { desired, conditions, is_recovered }
}

/// Decides about the agents of a workload and writes the decision into its config's spec; returns the conditions. The
/// config holds the containers and what was detected in them.
#[must_use]
pub fn decide_agents(
    workload: &Workload,
    config: &mut InstrumentationConfig,
    around: &Surroundings<'_>,
) -> Vec<ConditionDraft> {
    let none = BTreeMap::new();
    let labels = config.metadata.labels.as_ref().unwrap_or(&none);
    let reference = &workload.reference;
    let data_streams = streams::membership(labels, &reference.namespace, &BTreeSet::new());
    let decision = agents::decide(&Seen {
        workload: reference,
        has_running_pods: workload.available_replicas > 0,
        config,
        data_streams: &data_streams,
        backoff_without_agent: around.backoff,
        pull_secret: around.pull_secret,
        node_collector: around.node_collector,
        rules: around.rules,
        options: &around.options.agents,
    });
    if let Some(decided) = decision.spec {
        let spec = &mut config.spec;
        if spec.agents_meta_hash != decided.agents_meta_hash {
            spec.agents_meta_hash_changed_time = Some(Time(next_change(spec, around.now)));
        }
        spec.agent_injection_enabled = decided.agent_injection_enabled;
        spec.pod_manifest_injection_optional = decided.pod_manifest_injection_optional;
        spec.containers = decided.containers;
        spec.agents_meta_hash = decided.agents_meta_hash;
        spec.workload_inputs_hash = decided.workload_inputs_hash;
        spec.cluster_inputs = decided.cluster_inputs;
    }
    let mut conditions = decision.conditions;
    own_export::report(workload, config, &mut conditions);
    if let Some(why) = workload.missing_template() {
        conditions.retain(|one| one.kind != AGENT_ENABLED);
        conditions.push(Reason::RuntimeDetailsUnavailable.condition(why));
    }
    conditions
}

/// The time of a change of the agents: a later second than that of the change before. Restarts are told apart by it, and both
/// the API and the annotation of pod templates keep whole seconds: the second of two changes within one would restart nothing.
fn next_change(before: &InstrumentationConfigSpec, now: Timestamp) -> Timestamp {
    let earliest = before.agents_meta_hash_changed_time.as_ref();
    let earliest = earliest.and_then(|time| Timestamp::from_second(time.0.as_second() + 1).ok());
    earliest.map_or(now, |earliest| now.max(earliest))
}

fn object(
    workload: &Workload,
    coverage: &Coverage,
    existing: Option<&InstrumentationConfig>,
    around: &Surroundings<'_>,
) -> InstrumentationConfig {
    let reference = &workload.reference;
    let spec = spec(workload, coverage, existing, around.options);
    let mut config = InstrumentationConfig::new(&reference.config_name(), spec);
    config.metadata.namespace = Some(reference.namespace.clone());
    let mut labels = coverage.stream_labels.clone();
    let data_streams = streams::membership(&labels, &reference.namespace, &BTreeSet::new());
    config.status = existing.and_then(|existing| existing.status.clone());
    let off = agents::signals_off(around.rules, reference, &data_streams, &config);
    let switches = streams::SWITCHES.iter().filter(|(_, signal)| off.contains(signal));
    labels.extend(switches.map(|(label, _)| ((*label).to_owned(), "true".to_owned())));
    config.metadata.labels = Some(labels);
    config.metadata.annotations = annotations(coverage, existing);
    if !workload.uid.is_empty() {
        config.metadata.owner_references = Some(vec![OwnerReference {
            api_version: reference.kind.api_version().to_owned(),
            kind: reference.kind.object_kind().to_owned(),
            name: reference.name.clone(),
            uid: workload.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]);
    }
    // The agent decision reads the status, as rules for languages do; it is not written from here.
    if let Some(status) = config.status.as_mut().filter(|_| existing.is_some_and(|one| is_recovery_due(one, coverage)))
    {
        forget_rollback(status);
    }
    config
}

/// The recovery that a Source asks for, or somebody on the object itself.
fn recovery<'a>(coverage: &'a Coverage, existing: Option<&'a InstrumentationConfig>) -> Option<&'a str> {
    let own = || existing?.metadata.annotations.as_ref()?.get(labels::ROLLBACK_RECOVERY).map(String::as_str);
    coverage.recovery.as_deref().or_else(own)
}

fn is_recovery_due(existing: &InstrumentationConfig, coverage: &Coverage) -> bool {
    gate::is_recovery_due(existing, recovery(coverage, Some(existing)))
}

/// The recovery as it is asked for, and the last one that was acted on.
fn annotations(coverage: &Coverage, existing: Option<&InstrumentationConfig>) -> Option<BTreeMap<String, String>> {
    let asked = recovery(coverage, existing).map(str::to_owned);
    let before = || existing?.metadata.annotations.as_ref()?.get(labels::ROLLBACK_RECOVERY_PROCESSED).cloned();
    let is_due = existing.is_some_and(|existing| is_recovery_due(existing, coverage));
    let processed = if is_due { asked.clone() } else { before() };
    let pairs = [(labels::ROLLBACK_RECOVERY, asked), (labels::ROLLBACK_RECOVERY_PROCESSED, processed)];
    let stated: BTreeMap<_, _> = pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
    (!stated.is_empty()).then_some(stated)
}

/// Takes out what a status remembers of a rollback and of the rollout that led to it.
pub fn forget_rollback(status: &mut InstrumentationConfigStatus) {
    // Stated rather than left out: another implementation may have written it, whose fields are not ours to remove.
    status.rollback_occurred = Some(false);
    status.rollback = None;
    status.rollout = None;
}

/// Everything but the agent decision, which stays as it was until it is made anew.
fn spec(
    workload: &Workload,
    coverage: &Coverage,
    existing: Option<&InstrumentationConfig>,
    options: &Options,
) -> InstrumentationConfigSpec {
    let before = existing.map(|config| &config.spec);
    let overrides: Vec<ContainerOverride> = workload
        .containers
        .iter()
        .map(|name| {
            let stated = coverage.overrides.iter().find(|one| &one.container_name == name).cloned();
            stated.unwrap_or_else(|| ContainerOverride { container_name: name.clone(), ..ContainerOverride::default() })
        })
        .collect();
    InstrumentationConfigSpec {
        service_name: coverage.service_name.clone().unwrap_or_else(|| workload.reference.name.clone()),
        agent_injection_enabled: before.is_some_and(|spec| spec.agent_injection_enabled),
        pod_manifest_injection_optional: before.and_then(|spec| spec.pod_manifest_injection_optional),
        containers: before.map(|spec| spec.containers.clone()).unwrap_or_default(),
        workload_collector_config: collector_config(workload, before, options),
        container_overrides_hash: overrides_hash(&overrides),
        containers_overrides: overrides,
        agents_meta_hash: before.map(|spec| spec.agents_meta_hash.clone()).unwrap_or_default(),
        agents_meta_hash_changed_time: before.and_then(|spec| spec.agents_meta_hash_changed_time.clone()),
        workload_inputs_hash: before.map(|spec| spec.workload_inputs_hash.clone()).unwrap_or_default(),
        cluster_inputs: before.map(|spec| spec.cluster_inputs.clone()).unwrap_or_default(),
    }
}

/// What collectors do differently for single containers: rules for health probes; what others wrote there is kept.
fn collector_config(
    workload: &Workload,
    before: Option<&InstrumentationConfigSpec>,
    options: &Options,
) -> Vec<WorkloadCollectorConfig> {
    let mut configs = before.map(|spec| spec.workload_collector_config.clone()).unwrap_or_default();
    for config in &mut configs {
        config.sampling_collector_config = None;
    }
    if let Some(keep) = options.health_probes {
        for (container, probes) in &workload.probes {
            let rules = probes.iter().map(|probe| probe.to_operation(keep)).collect();
            let sampling = CollectorSampling { noisy_operations: rules, ..CollectorSampling::default() };
            match configs.iter_mut().find(|config| &config.container_name == container) {
                Some(config) => config.sampling_collector_config = Some(sampling),
                None => configs.push(WorkloadCollectorConfig {
                    container_name: container.clone(),
                    sampling_collector_config: Some(sampling),
                    ..WorkloadCollectorConfig::default()
                }),
            }
        }
    }
    configs.retain(|config| {
        let empty = WorkloadCollectorConfig { container_name: config.container_name.clone(), ..Default::default() };
        *config != empty
    });
    configs
}

/// Hexadecimal form of the first 16 bytes of SHA-256 over the list as JSON (1.2).
fn overrides_hash(overrides: &[ContainerOverride]) -> String {
    let text = serde_json::to_string(overrides).unwrap_or_default();
    crate::objects::hash(&text, 32)
}

/// Whether a reason only says what is waited for, or that nothing is: whoever looks says more.
fn is_waiting_reason(reason: &str) -> bool {
    matches!(reason, "NoRunningPods" | "WaitingForDetection" | "NotYetReconciled" | STATED)
}

/// Reason of `RuntimeDetection` where nothing needs to be detected.
const STATED: &str = "StatedBySource";

/// Whether Sources state what runs in every container that may get an agent.
fn states_what_runs(config: &InstrumentationConfig) -> bool {
    let spec = &config.spec;
    let is_stated = |container: &str| {
        let mut overrides = spec.containers_overrides.iter().filter(|one| one.container_name == container);
        overrides.any(|one| one.runtime_info.is_some())
    };
    let is_ignored = |reason: &str| Reason::parse(reason) == Some(Reason::IgnoredContainer);
    let mut containers = spec.containers.iter();
    containers.any(|one| is_stated(&one.container_name))
        && spec.containers.iter().all(|one| is_stated(&one.container_name) || is_ignored(&one.agent_enabled_reason))
}

/// What detection and rollout have to say while they have not come; what they wrote is theirs and stays.
fn waiting_conditions(
    workload: &Workload,
    status: Option<&InstrumentationConfigStatus>,
    is_stated: bool,
    mode: Mode,
) -> [ConditionDraft; 2] {
    let is_detected = status.is_some_and(|status| !status.runtime_details_by_container.is_empty());
    let runs = workload.available_replicas > 0 || workload.reference.kind == WorkloadKind::CronJob;
    let detection = if is_detected {
        ConditionDraft::yes(RUNTIME_DETECTION, "DetectedSuccessfully", "It is known what runs in the containers.")
    } else if is_stated {
        let message = "A Source states what runs in the containers, so nothing waits until it is detected.";
        ConditionDraft::yes(RUNTIME_DETECTION, STATED, message)
    } else if runs {
        let what = match (mode, workload.reference.kind) {
            (Mode::None, _) => {
                "Nothing looks at processes in this installation; state what runs in the containers with containerOverrides[].runtimeInfo of a Source."
            }
            (_, WorkloadKind::CronJob) => "Waits for the next job to look at what runs in it.",
            (Mode::Agent, _) => "Waits until the node agent has looked at what runs in the containers.",
            (Mode::Pod, _) => "Waits until a detection pod has looked at what runs in the containers.",
        };
        ConditionDraft::unknown(RUNTIME_DETECTION, "WaitingForDetection", what)
    } else {
        ConditionDraft::no(
            RUNTIME_DETECTION,
            "NoRunningPods",
            "No pod runs, so nothing can be looked at; it goes on as soon as one is ready.",
        )
    };
    let pods = ConditionDraft::unknown(PODS_INJECTION, "NotYetReconciled", "Decided after the agent decision.");
    [detection, pods].map(|draft| {
        // Written again as it stands, since an apply that leaves a condition out would remove it.
        let written = restated(draft.kind, status).filter(|written| !is_waiting_reason(&written.reason));
        written.unwrap_or(draft)
    })
}

/// A condition as it stands.
fn restated(kind: &'static str, status: Option<&InstrumentationConfigStatus>) -> Option<ConditionDraft> {
    let condition: &Condition = status?.conditions.iter().find(|one| one.type_ == kind)?;
    let status = match condition.status.as_str() {
        "True" => Status::True,
        "False" => Status::False,
        _ => Status::Unknown,
    };
    Some(ConditionDraft { kind, status, reason: condition.reason.clone(), message: condition.message.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use odigos_api::condition::kind::MARKED;
    use odigos_api::condition::merged;
    use odigos_api::instrumentation_config::RuntimeDetails;
    use odigos_api::{Signal, WorkloadRef};

    fn around<'a>(options: &'a Options) -> Surroundings<'a> {
        let node_collector = NodeCollector::Ready(&[Signal::Traces]);
        Surroundings {
            options,
            node_collector,
            rules: &[],
            backoff: None,
            pull_secret: None,
            now: Timestamp::UNIX_EPOCH,
        }
    }

    fn workload(replicas: i64, kind: WorkloadKind) -> Workload {
        Workload {
            reference: WorkloadRef::new("shop", kind, "web"),
            uid: "u-1".into(),
            probes: Default::default(),
            containers: vec!["app".into(), "sidecar".into()],
            available_replicas: replicas,
            variables: BTreeMap::new(),
            replicas: None,
            template: None,
            lent_to: None,
            made_by: None,
        }
    }

    fn coverage(decision: Decision) -> Coverage {
        Coverage {
            decision,
            exclusion: None,
            stream_labels: BTreeMap::from([("odigos.io/data-stream-a".into(), "true".into())]),
            service_name: None,
            overrides: vec![ContainerOverride {
                container_name: "app".into(),
                otel_distro_name: Some("java-community".into()),
                ..ContainerOverride::default()
            }],
            recovery: None,
        }
    }

    fn applied(plan: InstrumentationPlan) -> InstrumentationConfig {
        match plan.desired {
            Desired::Apply(config) => *config,
            other => panic!("{other:?}"),
        }
    }

    fn reasons(plan: &InstrumentationPlan) -> Vec<(&'static str, String)> {
        plan.conditions
            .iter()
            .map(|condition| (condition.kind, format!("{}/{}", condition.status.as_str(), condition.reason)))
            .collect()
    }

    #[test]
    fn a_covered_workload_gets_its_config() {
        let config = applied(plan(
            &workload(1, WorkloadKind::Deployment),
            &coverage(Decision::WorkloadSource),
            None,
            "",
            &around(&Options::default()),
        ));
        assert_eq!(config.metadata.name.as_deref(), Some("deployment-web"));
        assert_eq!(config.metadata.owner_references.as_ref().map(|owners| owners[0].uid.as_str()), Some("u-1"));
        assert_eq!(config.spec.service_name, "web");
        let overrides: Vec<_> =
            config.spec.containers_overrides.iter().map(|one| one.container_name.as_str()).collect();
        assert_eq!(overrides, ["app", "sidecar"]);
        assert_eq!(config.spec.container_overrides_hash.len(), 32);
        assert!(
            config
                .spec
                .containers
                .iter()
                .all(|one| !one.agent_enabled && one.agent_enabled_reason == "WaitingForRuntimeInspection")
        );
    }

    #[test]
    fn conditions_tell_what_is_waited_for() {
        let of = |replicas, kind| {
            reasons(&plan(
                &workload(replicas, kind),
                &coverage(Decision::NamespaceSource),
                None,
                "",
                &around(&Options::default()),
            ))
        };
        assert_eq!(
            of(0, WorkloadKind::Deployment),
            [
                ("MarkedForInstrumentation", "True/NamespaceSource".to_owned()),
                ("RuntimeDetection", "False/NoRunningPods".to_owned()),
                ("AgentEnabled", "Unknown/RuntimeDetailsUnavailable".to_owned()),
                ("PodsManifestInjection", "Unknown/NotYetReconciled".to_owned()),
            ]
        );
        assert_eq!(of(2, WorkloadKind::Deployment)[1].1, "Unknown/WaitingForDetection");
        assert_eq!(of(0, WorkloadKind::CronJob)[2].1, "Unknown/WaitingForRuntimeInspection");
    }

    #[test]
    fn what_was_detected_becomes_a_decision_and_stays() {
        let options = Options::default();
        let web = workload(1, WorkloadKind::Deployment);
        let mut config = applied(plan(&web, &coverage(Decision::WorkloadSource), None, "", &around(&options)));
        assert_eq!(config.spec.agents_meta_hash_changed_time, None);
        let details = RuntimeDetails {
            container_name: "app".into(),
            language: "java".into(),
            runtime_version: "17.0.12+7".into(),
            ..RuntimeDetails::default()
        };
        let written = [ConditionDraft::yes(RUNTIME_DETECTION, "ResolvedFromMultipleLanguages", "")];
        config.status = Some(InstrumentationConfigStatus {
            conditions: merged(&[], &written, None, Timestamp::UNIX_EPOCH),
            runtime_details_by_container: vec![details],
            ..InstrumentationConfigStatus::default()
        });
        let again = plan(&web, &coverage(Decision::WorkloadSource), Some(&config), "", &around(&options));
        assert_eq!(reasons(&again)[1].1, "True/ResolvedFromMultipleLanguages");
        assert_eq!(reasons(&again)[2].1, "True/EnabledSuccessfully");
        let mut decided = applied(again);
        assert!(decided.status.is_none() && decided.spec.agent_injection_enabled);
        assert_eq!(decided.spec.containers[0].otel_distro_name, "java-community");
        assert_eq!(decided.spec.containers[1].agent_enabled_reason, "RuntimeDetailsUnavailable");
        assert_eq!(decided.spec.agents_meta_hash.len(), 16);
        assert_eq!(decided.spec.agents_meta_hash_changed_time, Some(Time(Timestamp::UNIX_EPOCH)));
        // The same again later changes nothing, not even the time.
        decided.status = config.status.clone();
        let later = Surroundings { now: Timestamp::MAX, ..around(&options) };
        let third = applied(plan(&web, &coverage(Decision::WorkloadSource), Some(&decided), "", &later));
        assert_eq!(third.spec, decided.spec);
        // Other agents within the same second are another change.
        decided.status.as_mut().unwrap().runtime_details_by_container[0].language = "python".into();
        let fourth = applied(plan(&web, &coverage(Decision::WorkloadSource), Some(&decided), "", &around(&options)));
        assert_ne!(fourth.spec.agents_meta_hash, decided.spec.agents_meta_hash);
        assert_eq!(fourth.spec.agents_meta_hash_changed_time, Some(Time(Timestamp::from_second(1).unwrap())));
    }

    #[test]
    fn pods_that_do_not_start_keep_the_decision_and_the_rollout_waits() {
        let options = Options::default();
        let backoff = Backoff { pod: "web-1".into(), container: "app".into(), reason: "CrashLoopBackOff".into() };
        let around = Surroundings { backoff: Some(&backoff), ..around(&options) };
        let coverage = coverage(Decision::WorkloadSource);
        let planned = plan(&workload(1, WorkloadKind::Deployment), &coverage, None, "", &around);
        let found = reasons(&planned);
        assert_eq!(found[2], ("AgentEnabled", "False/CrashLoopBackOff".to_owned()));
        assert_eq!(found[3], ("WorkloadRollout", "False/CrashLoopBackOff".to_owned()));
        assert!(applied(planned).spec.containers.is_empty());
    }

    #[test]
    fn a_recovery_brings_the_agents_back_and_is_noted() {
        let options = Options::default();
        let web = workload(1, WorkloadKind::Deployment);
        let mut asked = coverage(Decision::WorkloadSource);
        let mut config = applied(plan(&web, &asked, None, "", &around(&options)));
        let details = |name: &str| RuntimeDetails {
            container_name: name.into(),
            language: "java".into(),
            runtime_version: "17".into(),
            ..RuntimeDetails::default()
        };
        config.status = Some(InstrumentationConfigStatus {
            runtime_details_by_container: vec![details("app")],
            rollback_occurred: Some(true),
            rollback: Some(odigos_api::rollout::Rollback { recovery: "t1".into(), ..Default::default() }),
            ..InstrumentationConfigStatus::default()
        });
        let recovered = |asked: &Coverage, config: &InstrumentationConfig| {
            let planned = plan(&web, asked, Some(config), "", &around(&options));
            let is_recovered = planned.is_recovered;
            let config = applied(planned);
            (is_recovered, config.spec.agent_injection_enabled, config.metadata.annotations.unwrap_or_default())
        };
        let pairs = |asked: &str, processed: &str| -> BTreeMap<String, String> {
            let all = [(labels::ROLLBACK_RECOVERY, asked), (labels::ROLLBACK_RECOVERY_PROCESSED, processed)];
            all.into_iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(key, value)| (key.into(), value.into()))
                .collect()
        };
        assert_eq!(recovered(&asked, &config), (false, false, pairs("", "")));
        asked.recovery = Some("t1".into());
        assert_eq!(
            recovered(&asked, &config),
            (false, false, pairs("t1", "")),
            "it stood there when it was rolled back"
        );
        asked.recovery = Some("t2".into());
        assert_eq!(recovered(&asked, &config), (true, true, pairs("t2", "t2")));
        // Until the status is written, the same follows again; then it is kept as noted.
        config.metadata.annotations = Some(pairs("t2", "t2"));
        assert!(recovered(&asked, &config).0);
        forget_rollback(config.status.as_mut().unwrap());
        assert_eq!(recovered(&asked, &config), (false, true, pairs("t2", "t2")));
        // Somebody may ask on the object itself.
        asked.recovery = None;
        config.status.as_mut().unwrap().rollback_occurred = Some(true);
        config.metadata.annotations = Some(pairs("t3", "t2"));
        assert_eq!(recovered(&asked, &config), (true, true, pairs("t3", "t3")));
    }

    #[test]
    fn no_coverage_deletes_and_ambiguity_keeps() {
        let of = |decision| {
            plan(
                &workload(1, WorkloadKind::Deployment),
                &coverage(decision),
                None,
                "a, b",
                &around(&Options::default()),
            )
        };
        assert_eq!(of(Decision::NoSource).desired, Desired::Delete);
        assert_eq!(of(Decision::WorkloadSourceDisabled).desired, Desired::Delete);
        assert_eq!(of(Decision::NamespaceIgnored).desired, Desired::Delete);
        let ambiguous = of(Decision::Ambiguous);
        assert_eq!(ambiguous.desired, Desired::Keep);
        assert_eq!(reasons(&ambiguous)[0].1, "Unknown/RetirableError");
    }

    /// The agents that exist without a configuration are others than those that were decided with it.
    #[test]
    fn decided_agents_and_rollout_stay_while_the_configuration_is_unknown() {
        let stated = |kind, reason: &str| ConditionDraft::yes(kind, reason, "as it was");
        let before = [
            stated(MARKED, "WorkloadSource"),
            stated(RUNTIME_DETECTION, "DetectedSuccessfully"),
            stated(AGENT_ENABLED, "EnabledSuccessfully"),
            stated(WORKLOAD_ROLLOUT, "RolloutFinished"),
            stated(PODS_INJECTION, "PodsAppliedSuccessfully"),
        ];
        let mut existing = InstrumentationConfig::new("deployment-web", InstrumentationConfigSpec::default());
        existing.status = Some(InstrumentationConfigStatus {
            conditions: merged(&[], &before, None, Timestamp::UNIX_EPOCH),
            ..InstrumentationConfigStatus::default()
        });
        let (workload, coverage) = (workload(1, WorkloadKind::Deployment), coverage(Decision::ConfigurationPending));
        let options = Options::default();
        let plan = plan(&workload, &coverage, Some(&existing), "", &around(&options));
        assert_eq!(plan.desired, Desired::Keep);
        let found: Vec<_> = plan.conditions.iter().map(|one| (one.kind, one.reason.as_str())).collect();
        let mut expected: Vec<_> = before.iter().map(|one| (one.kind, one.reason.as_str())).collect();
        expected[0].1 = "ConfigurationPending";
        assert_eq!(found, expected);
    }
}
