//! InstrumentationConfigs: what the coverage of a workload means for its object and conditions.
//!
//! Owns `spec/sources-and-instrumentation.md` 2.6–2.8 and 2.11. The agent decision itself comes from runtime detection;
//! until something was detected the object says what it waits for, and decisions that others made are kept.

use crate::configuration::Configuration;
use crate::coverage::{Coverage, Decision, marked};
use crate::sampling::Percentage;
use crate::workload::Workload;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference};
use odigos_api::WorkloadKind;
use odigos_api::agent_settings::CollectorSampling;
use odigos_api::condition::kind::{AGENT_ENABLED, PODS_INJECTION, RUNTIME_DETECTION};
use odigos_api::condition::{ConditionDraft, INSTRUMENTATION_ORDER, Status};
use odigos_api::instrumentation_config::{
    ContainerAgentConfig, InstrumentationConfig, InstrumentationConfigSpec, InstrumentationConfigStatus,
    WorkloadCollectorConfig,
};
use odigos_api::labels;
use odigos_api::source::ContainerOverride;

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
}

/// What of the effective configuration matters to every workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Percentage of health probes that is kept, while the built-in rule is on (`spec/sampling.md` 4).
    pub health_probes: Option<Percentage>,
}

impl Options {
    /// Reads them.
    #[must_use]
    pub fn of(configuration: &Configuration) -> Self {
        Self { health_probes: configuration.health_probes() }
    }
}

/// Decides about the InstrumentationConfig of a workload. `rivals` names the Sources of an ambiguous coverage.
#[must_use]
pub fn plan(
    workload: &Workload,
    coverage: &Coverage,
    existing: Option<&InstrumentationConfig>,
    rivals: &str,
    options: &Options,
) -> InstrumentationPlan {
    let desired = match coverage.decision {
        Decision::Ambiguous => Desired::Keep,
        decision if decision.is_covered() => Desired::Apply(Box::new(object(workload, coverage, existing, options))),
        _ => Desired::Delete,
    };
    let status = existing.and_then(|config| config.status.as_ref());
    let mut conditions = vec![marked(coverage.decision, rivals)];
    conditions.extend(waiting_conditions(workload, status));
    let position = |kind: &str| INSTRUMENTATION_ORDER.iter().position(|one| *one == kind);
    conditions.sort_by_key(|condition| position(condition.kind));
    InstrumentationPlan { desired, conditions }
}

fn object(
    workload: &Workload,
    coverage: &Coverage,
    existing: Option<&InstrumentationConfig>,
    options: &Options,
) -> InstrumentationConfig {
    let reference = &workload.reference;
    let mut config = InstrumentationConfig::new(&reference.config_name(), spec(workload, coverage, existing, options));
    config.metadata.namespace = Some(reference.namespace.clone());
    config.metadata.labels = Some(coverage.stream_labels.clone());
    config.metadata.annotations =
        coverage.recovery.clone().map(|time| [(labels::ROLLBACK_RECOVERY.to_owned(), time)].into());
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
    config
}

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
    let containers = workload
        .containers
        .iter()
        .map(|name| {
            let decided = before.and_then(|spec| spec.containers.iter().find(|one| &one.container_name == name));
            // A decision of a later part is kept; our own words about waiting follow the state of the pods.
            let decided = decided.filter(|one| one.agent_enabled || !is_waiting_reason(&one.agent_enabled_reason));
            decided.cloned().unwrap_or_else(|| ContainerAgentConfig {
                container_name: name.clone(),
                agent_enabled: false,
                agent_enabled_reason: waiting(workload).1.to_owned(),
                agent_enabled_message: "It is not known yet what runs in the container.".into(),
                ..ContainerAgentConfig::default()
            })
        })
        .collect();
    InstrumentationConfigSpec {
        service_name: coverage.service_name.clone().unwrap_or_else(|| workload.reference.name.clone()),
        agent_injection_enabled: before.is_some_and(|spec| spec.agent_injection_enabled),
        pod_manifest_injection_optional: before.and_then(|spec| spec.pod_manifest_injection_optional),
        containers,
        workload_collector_config: collector_config(workload, before, options),
        container_overrides_hash: overrides_hash(&overrides),
        containers_overrides: overrides,
        agents_meta_hash: before.map(|spec| spec.agents_meta_hash.clone()).unwrap_or_default(),
        agents_meta_hash_changed_time: before.and_then(|spec| spec.agents_meta_hash_changed_time.clone()),
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

/// Whether pods run that could be looked at, and the reason to give for the agent decision until then.
fn waiting(workload: &Workload) -> (bool, &'static str) {
    let runs = workload.available_replicas > 0 || workload.reference.kind == WorkloadKind::CronJob;
    (runs, if runs { "WaitingForRuntimeInspection" } else { "RuntimeDetailsUnavailable" })
}

/// Whether a reason only says what is waited for.
fn is_waiting_reason(reason: &str) -> bool {
    matches!(
        reason,
        "NoRunningPods"
            | "WaitingForDetection"
            | "WaitingForRuntimeInspection"
            | "RuntimeDetailsUnavailable"
            | "NotYetReconciled"
    )
}

/// Conditions while nothing is detected yet. What the detection or the rollout wrote later is theirs and stays.
fn waiting_conditions(workload: &Workload, status: Option<&InstrumentationConfigStatus>) -> Vec<ConditionDraft> {
    let written = |kind: &str| status.and_then(|status| status.conditions.iter().find(|one| one.type_ == kind));
    let is_waiting = |condition: &Condition| is_waiting_reason(&condition.reason);
    let detected = status.is_some_and(|status| !status.runtime_details_by_container.is_empty());
    let open = |kind: &str| !detected && written(kind).is_none_or(is_waiting);
    let (runs, agent_reason) = waiting(workload);
    let detection = if runs {
        let what = match workload.reference.kind {
            WorkloadKind::CronJob => "Waits for the next job to look at what runs in it.",
            _ => "Waits until the node agent has looked at what runs in the containers.",
        };
        ConditionDraft::unknown(RUNTIME_DETECTION, "WaitingForDetection", what)
    } else {
        ConditionDraft::no(
            RUNTIME_DETECTION,
            "NoRunningPods",
            "No pod runs, so nothing can be looked at; it goes on as soon as one is ready.",
        )
    };
    let agent = ConditionDraft::unknown(
        AGENT_ENABLED,
        agent_reason,
        "Decided as soon as it is known what runs in the containers.",
    );
    let pods = ConditionDraft::unknown(PODS_INJECTION, "NotYetReconciled", "Decided after the agent decision.");
    [detection, agent, pods]
        .into_iter()
        .map(|draft| match written(draft.kind) {
            // Written again as it stands, since an apply that leaves a condition out would remove it.
            Some(condition) if !open(draft.kind) => restate(&draft, condition),
            _ => draft,
        })
        .collect()
}

fn restate(draft: &ConditionDraft, condition: &Condition) -> ConditionDraft {
    let status = match condition.status.as_str() {
        "True" => Status::True,
        "False" => Status::False,
        _ => Status::Unknown,
    };
    ConditionDraft { kind: draft.kind, status, reason: condition.reason.clone(), message: condition.message.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use odigos_api::WorkloadRef;
    use odigos_api::condition::merged;
    use std::collections::BTreeMap;

    fn workload(replicas: i64, kind: WorkloadKind) -> Workload {
        Workload {
            reference: WorkloadRef::new("shop", kind, "web"),
            uid: "u-1".into(),
            probes: Default::default(),
            containers: vec!["app".into(), "sidecar".into()],
            available_replicas: replicas,
        }
    }

    fn coverage(decision: Decision) -> Coverage {
        Coverage {
            decision,
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
            &Options::default(),
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
                &Options::default(),
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
    fn what_others_decided_is_kept() {
        let mut config = applied(plan(
            &workload(1, WorkloadKind::Deployment),
            &coverage(Decision::WorkloadSource),
            None,
            "",
            &Options::default(),
        ));
        config.spec.containers[0].agent_enabled = true;
        config.spec.agent_injection_enabled = true;
        let written = [
            ConditionDraft::yes(RUNTIME_DETECTION, "DetectedSuccessfully", ""),
            ConditionDraft::yes(AGENT_ENABLED, "EnabledSuccessfully", ""),
        ];
        config.status = Some(InstrumentationConfigStatus {
            conditions: merged(&[], &written, None, jiff::Timestamp::UNIX_EPOCH),
            ..InstrumentationConfigStatus::default()
        });
        let again = plan(
            &workload(1, WorkloadKind::Deployment),
            &coverage(Decision::WorkloadSource),
            Some(&config),
            "",
            &Options::default(),
        );
        assert_eq!(reasons(&again)[1].1, "True/DetectedSuccessfully");
        assert_eq!(reasons(&again)[2].1, "True/EnabledSuccessfully");
        let config = applied(again);
        assert!(config.spec.agent_injection_enabled && config.spec.containers[0].agent_enabled);
    }

    #[test]
    fn no_coverage_deletes_and_ambiguity_keeps() {
        let of = |decision| {
            plan(&workload(1, WorkloadKind::Deployment), &coverage(decision), None, "a, b", &Options::default())
        };
        assert_eq!(of(Decision::NoSource).desired, Desired::Delete);
        assert_eq!(of(Decision::WorkloadSourceDisabled).desired, Desired::Delete);
        let ambiguous = of(Decision::Ambiguous);
        assert_eq!(ambiguous.desired, Desired::Keep);
        assert_eq!(reasons(&ambiguous)[0].1, "Unknown/RetirableError");
    }
}
