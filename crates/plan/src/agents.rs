//! The agent decision: which container of a workload gets which agent, and why not
//! (`spec/sources-and-instrumentation.md` 2.7, 3.3, 5.4; scenarios 29, 31–37, 43, 62 of section 7).
//!
//! Owns the order of causes, first blocking cause first, and their words. Never looks at processes (`detect` did), never
//! changes a pod (admission does, by what is decided here). Steps: [`decide`] checks what stands in the way of all
//! containers, `container` decides about one, [`reason`] holds the words and their rank.

mod container;
mod hash;
mod injection;
pub mod inputs;
pub(crate) mod options;
pub mod reason;
mod rules;
#[cfg(test)]
mod tests;

pub use container::{is_of_another_language, silencing_rule};
pub use injection::InjectionMode;
pub use options::Options;
pub use reason::Reason;
pub use rules::injected_variables;
pub use rules::{Covered, Expressed, Problem, expressed, missing, problems, report, signals_off, variables};

use crate::injection::LackingPullSecret;
use container::Subject;
use odigos_api::condition::ConditionDraft;
use odigos_api::condition::kind::{AGENT_ENABLED, WORKLOAD_ROLLOUT};
use odigos_api::instrumentation_config::{ContainerAgentConfig, InstrumentationConfig, RuntimeDetails};
use odigos_api::instrumentation_rule::InstrumentationRule;
use odigos_api::source::ContainerOverride;
use odigos_api::{Signal, WorkloadKind, WorkloadRef};
use serde_json::Value;
use std::collections::BTreeSet;

pub use rules::remarks;

/// The collectors on the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeCollector<'a> {
    /// Their CollectorsGroup is absent or not ready.
    NotReady,
    /// They run and take these signals (`status.receiverSignals`).
    Ready(&'a [Signal]),
}

/// A pod that the kubelet has given up starting for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The pod.
    pub pod: String,
    /// The container, an init container perhaps.
    pub container: String,
    /// `CrashLoopBackOff` or `ImagePullBackOff`.
    pub reason: String,
}

impl Backoff {
    /// The first container of a pod, init containers first, that the kubelet has given up starting for now.
    #[must_use]
    pub fn of_pod(pod: &Value) -> Option<Self> {
        let of = |field: &str| pod.pointer(&format!("/status/{field}")).and_then(Value::as_array).into_iter().flatten();
        let mut statuses = of("initContainerStatuses").chain(of("containerStatuses"));
        let text = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        statuses.find_map(|status| {
            let reason = text(status, "/state/waiting/reason")?;
            matches!(reason.as_str(), "CrashLoopBackOff" | "ImagePullBackOff").then(|| Self {
                pod: text(pod, "/metadata/name").unwrap_or_default(),
                container: text(status, "/name").unwrap_or_default(),
                reason,
            })
        })
    }
}

/// Everything that the decision for one workload looks at.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The workload.
    pub workload: &'a WorkloadRef,
    /// Whether a pod of it runs that can be looked at; true for CronJobs.
    pub has_running_pods: bool,
    /// Its InstrumentationConfig: overrides, details, what was decided before, whether it was rolled back.
    pub config: &'a InstrumentationConfig,
    /// Data streams that it is in.
    pub data_streams: &'a BTreeSet<String>,
    /// A pod of it without an agent that does not start.
    pub backoff_without_agent: Option<&'a Backoff>,
    /// The Secret for images of agents, where it is named and its namespace lacks it.
    pub pull_secret: Option<&'a LackingPullSecret>,
    /// The collectors on the nodes.
    pub node_collector: NodeCollector<'a>,
    /// Every InstrumentationRule of the control plane's namespace.
    pub rules: &'a [&'a InstrumentationRule],
    /// What the effective configuration says.
    pub options: &'a Options,
}

/// The decision for one workload.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentDecision {
    /// What the spec shall hold; `None` leaves it as it is.
    pub spec: Option<AgentSpec>,
    /// `AgentEnabled`, and `WorkloadRollout` where the decision itself keeps the workload from restarting.
    pub conditions: Vec<ConditionDraft>,
}

/// The part of an InstrumentationConfig's spec that the decision owns.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentSpec {
    /// `agentInjectionEnabled`.
    pub agent_injection_enabled: bool,
    /// `podManifestInjectionOptional`.
    pub pod_manifest_injection_optional: Option<bool>,
    /// `containers`, in the order of the pod template.
    pub containers: Vec<ContainerAgentConfig>,
    /// `agentsMetaHash`; whoever stores a changed one also stores the time.
    pub agents_meta_hash: String,
    /// `workloadInputsHash`.
    pub workload_inputs_hash: String,
    /// `clusterInputs`.
    pub cluster_inputs: inputs::ClusterInputs,
}

/// Decides about a workload.
#[must_use]
pub fn decide(seen: &Seen<'_>) -> AgentDecision {
    if let Some(decision) = blocked_by_backoff(seen) {
        return decision;
    }
    if let Some(decision) = without_asking(seen) {
        return decision;
    }
    let before = &seen.config.spec;
    let was_enabled = before.agent_injection_enabled && before.containers.iter().any(|one| one.agent_enabled);
    let signals = match seen.node_collector {
        // Collectors come and go; taking agents out and putting them in again would restart the workload twice.
        NodeCollector::NotReady if was_enabled => return kept(seen, "The collectors on the nodes are not ready"),
        NodeCollector::NotReady => {
            return all_blocked(seen, Reason::WaitingForNodeCollector, "Waits for the collectors on the nodes.");
        }
        NodeCollector::Ready([]) if was_enabled => return kept(seen, "No destination takes anything"),
        NodeCollector::Ready([]) => {
            return all_blocked(seen, Reason::NoCollectedSignals, "No destination takes anything; create one.");
        }
        NodeCollector::Ready(signals) => signals.iter().copied().collect::<BTreeSet<Signal>>(),
    };
    let details = seen.config.status.as_ref().map(|status| status.runtime_details_by_container.as_slice());
    let details = details.unwrap_or_default();
    let is_stated = before.containers_overrides.iter().any(|one| one.runtime_info.is_some());
    if !is_stated && details.is_empty() {
        return if seen.has_running_pods || seen.workload.kind == WorkloadKind::CronJob {
            let message = "Waits until it is known what runs in the containers.";
            all_blocked(seen, Reason::WaitingForRuntimeInspection, message)
        } else {
            let message = "No pod runs, so it cannot be known what runs in the containers.";
            all_blocked(seen, Reason::RuntimeDetailsUnavailable, message)
        };
    }
    let containers = before.containers_overrides.iter();
    let decided: Vec<container::Decided> = containers
        .map(|stated| {
            let details = details_of(stated, details);
            let subject =
                Subject { seen, stated, details, signals: &signals, decided_before: decided_before(seen, stated) };
            container::decide(&subject)
        })
        .collect();
    if was_enabled && let Some(decision) = without_pull_secret(seen, &decided) {
        return decision;
    }
    finish(seen, decided)
}

/// Agents that run stay where the Secret for their images is gone; new pods are admitted without them, and nothing is restarted.
fn without_pull_secret(seen: &Seen<'_>, decided: &[container::Decided]) -> Option<AgentDecision> {
    let is_blocked = |one: &container::Decided| one.reason == Reason::MissingPullSecret;
    if is_rolled_back(seen) || !decided.iter().any(is_blocked) {
        return None;
    }
    let message = format!(
        "{} Pods that run keep their agents; new ones get none.",
        seen.pull_secret?.message(&seen.workload.namespace)
    );
    let word = Reason::MissingPullSecret.as_str();
    let conditions = [AGENT_ENABLED, WORKLOAD_ROLLOUT].map(|kind| ConditionDraft::no(kind, word, message.clone()));
    Some(AgentDecision { spec: None, conditions: conditions.into() })
}

/// What is known of a container: what the user stated, else what was found.
fn details_of<'a>(stated: &'a ContainerOverride, found: &'a [RuntimeDetails]) -> Option<&'a RuntimeDetails> {
    stated.runtime_info.as_ref().or_else(|| found.iter().find(|one| one.container_name == stated.container_name))
}

fn decided_before<'a>(seen: &Seen<'a>, stated: &ContainerOverride) -> Option<&'a ContainerAgentConfig> {
    seen.config.spec.containers.iter().find(|one| one.container_name == stated.container_name)
}

/// Pods that do not start without an agent would not start with one either, and the blame would be wrong (step 1).
fn blocked_by_backoff(seen: &Seen<'_>) -> Option<AgentDecision> {
    // What a rollback has found out stays said.
    let backoff = seen.backoff_without_agent.filter(|_| !is_rolled_back(seen))?;
    if matches!(seen.workload.kind, WorkloadKind::CronJob | WorkloadKind::Job) {
        return None;
    }
    let message = format!(
        "Container {} of pod {} does not start ({}), without any agent; it goes on as soon as the pod is mended.",
        backoff.container, backoff.pod, backoff.reason
    );
    let word = Reason::CrashLoopBackOff.as_str();
    let conditions = vec![
        ConditionDraft::no(AGENT_ENABLED, word, message.clone()),
        ConditionDraft::no(WORKLOAD_ROLLOUT, word, message),
    ];
    Some(AgentDecision { spec: None, conditions })
}

/// A rollback waits for nobody: agents go also while it could not be decided which ones there should be.
fn without_asking(seen: &Seen<'_>) -> Option<AgentDecision> {
    let before = &seen.config.spec;
    let is_open = matches!(seen.node_collector, NodeCollector::Ready(signals) if !signals.is_empty());
    if !is_rolled_back(seen) || is_open || before.containers.is_empty() {
        return None;
    }
    let of = |one: &ContainerAgentConfig| container::Decided::rolled_back(seen, one.clone());
    Some(finish(seen, before.containers.iter().map(of).collect()))
}

/// Whether a rollback stands.
fn is_rolled_back(seen: &Seen<'_>) -> bool {
    seen.config.status.as_ref().and_then(|status| status.rollback_occurred) == Some(true)
}

/// Agents that run stay, although something is missing that a first enablement would wait for.
fn kept(seen: &Seen<'_>, why: &str) -> AgentDecision {
    let enabled = seen.config.spec.containers.iter().filter(|one| one.agent_enabled);
    let names: Vec<&str> = enabled.map(|one| one.container_name.as_str()).collect();
    let message = format!("{why}; agents that are in place stay: {}.", names.join(", "));
    let condition = ConditionDraft::yes(AGENT_ENABLED, Reason::EnabledSuccessfully.as_str(), message);
    AgentDecision { spec: None, conditions: vec![condition] }
}

/// One cause for every container.
fn all_blocked(seen: &Seen<'_>, reason: Reason, message: &str) -> AgentDecision {
    let names = seen.config.spec.containers_overrides.iter().map(|one| one.container_name.as_str());
    let decided = names.map(|name| container::Decided::blocked(name, reason, message.to_owned())).collect();
    let mut decision = finish(seen, decided);
    // The cause is the same for all, also where the pod template has no container that could carry it.
    decision.conditions = vec![reason.condition(message.to_owned())];
    decision
}

/// Joins the containers' decisions (step 4) and states the condition.
fn finish(seen: &Seen<'_>, decided: Vec<container::Decided>) -> AgentDecision {
    let is_rolled_back = is_rolled_back(seen);
    let enabled: Vec<&container::Decided> = decided.iter().filter(|one| one.config.agent_enabled).collect();
    let is_enabled = !enabled.is_empty() && !is_rolled_back;
    let condition = if enabled.is_empty() {
        let worst = decided.iter().max_by_key(|one| one.reason.priority());
        worst.map_or_else(
            || Reason::RuntimeDetailsUnavailable.condition("The pod template has no container.".to_owned()),
            |worst| {
                let message = format!("{}: {}", worst.config.container_name, worst.config.agent_enabled_message);
                worst.reason.condition(message)
            },
        )
    } else {
        let names: Vec<String> = enabled
            .iter()
            .map(|one| {
                let name = &one.config.otel_distro_name;
                let is_experimental =
                    odigos_catalog::distribution::find(name).is_some_and(|found| found.is_experimental);
                let word = if is_experimental { ", experimental, not tried" } else { "" };
                format!("{} ({name}{word})", one.config.container_name)
            })
            .collect();
        let message = format!("{} of {} containers have an agent: {}.", names.len(), decided.len(), names.join(", "));
        Reason::EnabledSuccessfully.condition(message)
    };
    // Agents that attached to running processes, as an earlier release offered them, left nothing in pods that a restart
    // would have to take out.
    let optional = match is_enabled {
        true => enabled.iter().all(|one| one.config.pod_manifest_injection_optional == Some(true)),
        false => seen.config.spec.pod_manifest_injection_optional == Some(true),
    };
    let cluster_inputs = if is_enabled { cluster_inputs(seen, &decided) } else { inputs::ClusterInputs::new() };
    let hashes = is_enabled.then(|| hash::of(seen, &decided, &cluster_inputs));
    let (agents_meta_hash, workload_inputs_hash) =
        hashes.map(|hashes| (hashes.agents, hashes.workload_inputs)).unwrap_or_default();
    let spec = AgentSpec {
        agent_injection_enabled: is_enabled,
        pod_manifest_injection_optional: optional.then_some(true),
        containers: decided.into_iter().map(|one| one.config).collect(),
        agents_meta_hash,
        workload_inputs_hash,
        cluster_inputs,
    };
    AgentDecision { spec: Some(spec), conditions: vec![condition] }
}

/// What of the configuration the agents of the workload are started with.
fn cluster_inputs(seen: &Seen<'_>, decided: &[container::Decided]) -> inputs::ClusterInputs {
    let options = seen.options;
    let settings = inputs::Settings {
        user_variables: &options.user_variables,
        images: &options.agent_images,
        injection: options.injection,
        agents_image: &options.agents_image,
    };
    let containers: Vec<ContainerAgentConfig> = decided.iter().map(|one| one.config.clone()).collect();
    let mut all = inputs::of(&containers, settings);
    let enabled = decided.iter().filter(|one| one.config.agent_enabled);
    let signals = enabled.map(|one| {
        let names: Vec<&str> = one.signals.iter().map(|signal| signal.as_pipeline()).collect();
        format!("{}={}", one.config.container_name, names.join("+"))
    });
    let mut signals: Vec<String> = signals.collect();
    signals.sort();
    all.insert(inputs::SIGNALS.to_owned(), signals.join(","));
    all
}
