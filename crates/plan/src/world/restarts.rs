//! What a settled cluster means for the pods of applications: which are restarted, which may be, which stay as they are.
//!
//! Owns the preview of restarts. Decides nothing itself: the planner of rollouts is asked what it would do next, from the
//! pods and objects as they are now.

use super::{Key, World};
use crate::agents::{Reason, inputs};
use crate::configuration::{self, Configuration};
use crate::instrumentation::LEFT_TO_YOU;
use crate::instrumentation::gate::{self, Gate, Others};
use crate::instrumentation::pods::PodSeen;
use crate::instrumentation::rollout::{self, Progress, Seen};
use jiff::Timestamp;
use odigos_api::condition::kind::{AGENT_ENABLED, WORKLOAD_ROLLOUT};
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::rollout::OutdatedInput;
use odigos_api::{WorkloadRef, names};
use std::collections::BTreeMap;

/// Whether a restart comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// It comes.
    Follows,
    /// It comes if something turns out that is not known yet.
    Possible,
    /// It would come, and something holds it.
    Held,
}

impl Certainty {
    /// The word for programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Follows => "follows",
            Self::Possible => "possible",
            Self::Held => "held",
        }
    }
}

/// A restart of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// The workload.
    pub workload: WorkloadRef,
    /// How many pods it has now.
    pub pods: usize,
    /// Whether it comes.
    pub certainty: Certainty,
    /// Why, for people; without a full stop.
    pub why: String,
}

/// What follows for the pods of applications.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applications {
    /// Restarts, by workload.
    pub restarts: Vec<Restart>,
    /// Workloads that lose their agents.
    pub uninstrumented: Vec<WorkloadRef>,
    /// Pods that go on with older cluster-wide inputs, by workload.
    pub outdated: Vec<(WorkloadRef, Vec<OutdatedInput>)>,
}

impl World {
    /// What follows for the pods of applications from this cluster, which was settled, after it was `before`.
    #[must_use]
    pub fn applications(&self, before: &Self, now: Timestamp) -> Applications {
        let options = rollout::Options::of(&self.effective());
        let mut others = Others::default();
        for (key, config) in &self.configs {
            if let Some(workload) = WorkloadRef::from_config_name(&key.0, &key.1) {
                others.add(&workload, config);
            }
        }
        let mut pods: BTreeMap<&WorkloadRef, Vec<PodSeen>> = BTreeMap::new();
        for pod in self.pods.values().filter(|pod| !pod.has_ended) {
            if let Some(workload) = &pod.workload {
                pods.entry(workload).or_default().push(pod.observed.clone());
            }
        }
        let mut found = Applications::default();
        for workload in self.workloads.keys() {
            let key: Key = (workload.namespace.clone(), workload.config_name());
            let config = self.configs.get(&key);
            let had = before.configs.get(&key).is_some_and(|config| config.spec.agent_injection_enabled);
            if had && !config.is_some_and(|config| config.spec.agent_injection_enabled) {
                found.uninstrumented.push(workload.clone());
            }
            let none = Progress::default();
            let case = Case {
                workload,
                pods: pods.get(workload).map(Vec::as_slice).unwrap_or_default(),
                progress: self.progress.get(workload).unwrap_or(&none),
                options,
                now,
            };
            match config {
                None => found.restarts.extend(case.uncovered()),
                Some(config) => {
                    let (restart, outdated) = case.covered(config, &others);
                    found.restarts.extend(restart);
                    if !outdated.is_empty() {
                        found.outdated.push((workload.clone(), outdated));
                    }
                }
            }
        }
        found
    }

    /// The effective configuration as it was written when the cluster was settled.
    fn effective(&self) -> Configuration {
        let map = self.outputs.iter().find(|((_, kind, key), _)| {
            kind == "ConfigMap" && key.0 == self.namespace && key.1 == names::EFFECTIVE_CONFIGURATION
        });
        let text = map.and_then(|(_, map)| map.get("data")?.get(names::CONFIGURATION_KEY)?.as_str());
        let parsed = text.map(|text| configuration::effective(text, None, None, &self.namespace).result);
        parsed.and_then(Result::ok).unwrap_or_default()
    }
}

/// One workload.
struct Case<'a> {
    workload: &'a WorkloadRef,
    pods: &'a [PodSeen],
    progress: &'a Progress,
    options: rollout::Options,
    now: Timestamp,
}

impl Case<'_> {
    fn restart(&self, certainty: Certainty, why: impl Into<String>) -> Restart {
        let pods = self.pods.iter().filter(|pod| !pod.is_going).count();
        Restart { workload: self.workload.clone(), pods, certainty, why: why.into() }
    }

    /// No Source covers it any more.
    fn uncovered(&self) -> Option<Restart> {
        let has_agents = self.pods.iter().any(|pod| pod.hash.is_some() && !pod.is_going);
        if !has_agents {
            return None;
        }
        if rollout::must_be_cleaned(self.workload.kind, self.pods, self.progress, self.options) {
            return Some(self.restart(Certainty::Follows, "its agents are taken out"));
        }
        if self.options.is_disabled {
            let why = "its agents are taken out at its next restart; rollout.automaticRolloutDisabled is set";
            return Some(self.restart(Certainty::Held, why));
        }
        None
    }

    fn covered(&self, config: &InstrumentationConfig, others: &Others) -> (Option<Restart>, Vec<OutdatedInput>) {
        let conditions = config.status.iter().flat_map(|status| &status.conditions);
        let agent = conditions.into_iter().find(|one| one.type_ == AGENT_ENABLED);
        let reason = agent.and_then(|one| Reason::parse(&one.reason));
        if reason.is_some_and(Reason::is_failure_of_pods) && !gate::is_rolled_back(config) {
            let held =
                self.restart(Certainty::Held, "its pods do not start as they are; nothing is changed until they do");
            return (Some(held), Vec::new());
        }
        let seen = Seen {
            kind: self.workload.kind,
            config,
            pods: self.pods,
            progress: self.progress,
            options: self.options,
            gate: &Gate::Open,
            serves_since: Timestamp::MIN,
            now: self.now,
        };
        let mut plan = rollout::plan(&seen);
        let outdated = plan.outdated_inputs.clone();
        if plan.begins {
            let gate = gate::decide(&self.options, self.workload, config, others, self.now);
            if let Gate::Closed(message, _) = &gate {
                return (Some(self.restart(Certainty::Held, message.trim_end_matches('.'))), outdated);
            }
        }
        if plan.restart.is_some() && !self.progress.replaces_pods {
            let why = format!("its update strategy {LEFT_TO_YOU}; then {}", self.cause(config));
            return (Some(self.restart(Certainty::Held, why)), outdated);
        }
        let is_restarted = plan.restart.is_some() || plan.evict.is_some() || plan.rollback.is_some();
        if is_restarted {
            return (Some(self.restart(Certainty::Follows, self.cause(config))), outdated);
        }
        let condition = plan.conditions.iter_mut().find(|one| one.kind == WORKLOAD_ROLLOUT);
        let lacks = plan.pods.has_injected_out_of_date_pods
            || config.spec.agent_injection_enabled && plan.pods.has_uninjected_pods;
        let restart = match condition.map(|one| one.reason.as_str()) {
            Some("Disabled") if lacks => {
                let why = "its pods lack what is decided; rollout.automaticRolloutDisabled is set";
                Some(self.restart(Certainty::Held, why))
            }
            Some("FailedToPatch") => Some(self.restart(Certainty::Held, "its rollouts are paused")),
            Some("PreviousRolloutOngoing") => {
                Some(self.restart(Certainty::Follows, "as soon as its rollout is finished"))
            }
            _ => self.not_known_yet(config, reason),
        };
        (restart, outdated)
    }

    fn cause(&self, config: &InstrumentationConfig) -> String {
        if !config.spec.agent_injection_enabled {
            return "its agents are taken out".to_owned();
        }
        let names: Vec<String> = config
            .spec
            .containers
            .iter()
            .filter(|one| one.agent_enabled)
            .map(|one| format!("{} ({})", one.container_name, one.otel_distro_name))
            .collect();
        let what = if self.pods.iter().any(|pod| pod.hash.is_some()) { "changed agents" } else { "agents" };
        format!("it gets {what}: {}", names.join(", "))
    }

    /// What runs in the containers, or the collectors of the nodes, must be known first.
    fn not_known_yet(&self, config: &InstrumentationConfig, reason: Option<Reason>) -> Option<Restart> {
        let waits = matches!(
            reason,
            Some(
                Reason::WaitingForRuntimeInspection
                    | Reason::RuntimeDetailsUnavailable
                    | Reason::WaitingForNodeCollector
            )
        );
        let is_open = waits && !config.spec.agent_injection_enabled && rollout::can_restart(self.workload.kind);
        if !is_open || self.pods.is_empty() {
            return None;
        }
        let why = "if an agent fits what runs in its containers, which is not known yet";
        let certainty = if self.options.is_disabled { Certainty::Held } else { Certainty::Possible };
        Some(self.restart(certainty, why))
    }
}

/// Outdated inputs for people, by workload.
#[must_use]
pub fn outdated_words(outdated: &[(WorkloadRef, Vec<OutdatedInput>)]) -> Vec<String> {
    outdated.iter().map(|(workload, inputs)| format!("{workload}: {}", inputs::words(inputs))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::read;

    #[test]
    fn restart_is_held_where_the_update_strategy_leaves_pods_to_the_user() {
        let of = |strategy: &str| {
            let text = format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: odigos-configuration, namespace: odigos-system}}\n\
                 data: {{config.yaml: \"agentsImage: r/agents:1\"}}\n---\n\
                 apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: db, namespace: shop}}\n\
                 spec: {{replicas: 1, updateStrategy: {{type: {strategy}}}, template: {{spec: {{containers: [{{name: app}}]}}}}}}\n---\n\
                 apiVersion: v1\nkind: Pod\n\
                 metadata: {{name: db-0, namespace: shop, uid: u, ownerReferences: [{{apiVersion: apps/v1, kind: StatefulSet, name: db, uid: s, controller: true}}]}}\n\
                 spec: {{containers: [{{name: app}}]}}\n---\n\
                 apiVersion: odigos.io/v1alpha1\nkind: Destination\nmetadata: {{name: d, namespace: odigos-system}}\n\
                 spec: {{type: debug, destinationName: d, signals: [TRACES], data: {{}}}}\n---\n\
                 apiVersion: odigos.io/v1alpha1\nkind: Source\nmetadata: {{name: db, namespace: shop}}\n\
                 spec: {{workload: {{kind: StatefulSet, name: db, namespace: shop}}, containerOverrides: [{{containerName: app, runtimeInfo: {{language: python, runtimeVersion: 3.11.2}}}}]}}\n"
            );
            let mut world = World::new("odigos-system");
            read(&text).unwrap().into_iter().for_each(|object| world.insert(object).unwrap());
            let before = world.clone();
            world.settle(Timestamp::UNIX_EPOCH);
            let restarts = world.applications(&before, Timestamp::UNIX_EPOCH).restarts;
            restarts.into_iter().map(|one| (one.certainty, one.why)).collect::<Vec<_>>()
        };
        let gets = "it gets agents: app (python-community)";
        assert_eq!(of("RollingUpdate"), [(Certainty::Follows, gets.to_owned())]);
        assert_eq!(of("OnDelete"), [(Certainty::Held, format!("its update strategy {LEFT_TO_YOU}; then {gets}"))]);
    }
}
