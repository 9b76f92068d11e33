//! Detection around the look itself: which pods are looked at, what becomes of a finding, and, where no agent runs on the nodes,
//! the one-shot pods that look instead (`spec/sources-and-instrumentation.md` 4.1, 4.9, 4.11).
//!
//! Owns the choice and the words. What runs in a process is decided in `detect`; who reads `/proc` is the node agent or, as a pod
//! that ends with its answer, the same program (`odigos-agent detect`). Steps of the latter: [`waiting`] tells which workloads need
//! a look, [`pods`] puts them together into pods, [`object`] is such a pod, [`message`] is what it is asked and answers, and
//! [`report`] is what a status says then, whoever looked, and [`reports`] decides which reports of nodes count.

pub mod look;
pub mod message;
pub mod object;
pub mod pods;
pub mod report;
pub mod reports;
mod stranger;
pub mod subject;
pub mod waiting;

use crate::configuration::Configuration;
use crate::configuration::texts::Text;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Who looks at processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The agent of each node.
    #[default]
    Agent,
    /// Pods that the instrumentor makes when there is something to look at; nodes have no agent.
    Pod,
    /// Nobody, and nodes have no agent: languages are stated in Sources.
    None,
}

impl Mode {
    /// The words of the setting.
    pub(crate) const WORDS: [&str; 3] = ["agent", "none", "pod"];

    /// Reads `runtimeDetection.mode`; another word counts as not set.
    #[must_use]
    pub fn of(configuration: &Configuration) -> Self {
        match configuration.text("runtimeDetection.mode") {
            Some("pod") => Self::Pod,
            Some("none") => Self::None,
            _ => Self::Agent,
        }
    }

    /// Whether nodes have an agent, which also keeps agents' files and links to logs there, and has Go instrumented.
    #[must_use]
    pub const fn has_node_agents(self) -> bool {
        matches!(self, Self::Agent)
    }
}

/// How many detection pods there are at the same time, unless it is said otherwise.
const MOST: usize = 4;

/// Settings of detection (`runtimeDetection` of the configuration, which the chart fills).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Who looks.
    pub mode: Mode,
    /// Most detection pods at the same time in the cluster.
    pub most: usize,
    /// Image of the agent; empty when none is named.
    pub image: String,
    /// Its pull policy.
    pub pull_policy: String,
    /// Names of Secrets with credentials of its registry.
    pub pull_secrets: Vec<String>,
    /// Labels that a node must have; in the configuration a list of `key=value`, since its keys are found whatever their case.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that it does not mind.
    pub tolerations: Vec<Value>,
    /// Priority class; empty for the default one.
    pub priority_class: String,
    /// Requests and limits.
    pub resources: Map<String, Value>,
    /// Which log lines are written.
    pub log: String,
}

impl Options {
    /// Reads them.
    #[must_use]
    pub fn of(configuration: &Configuration) -> Self {
        let at = |key: &str| format!("runtimeDetection.{key}");
        let text = |key: &str| configuration.text(&at(key)).unwrap_or_default().to_owned();
        let object = |key: &str| configuration.get(&at(key)).and_then(Value::as_object).cloned().unwrap_or_default();
        let image = configuration.text(&at("image")).map(str::trim).or_else(|| configuration.agents_image());
        let image = image.filter(|image| Text::Image.problem(image).is_none());
        let selector = configuration.texts(&at("nodeSelector")).into_iter();
        Self {
            mode: Mode::of(configuration),
            most: configuration.number(&at("maxPods")).and_then(|most| usize::try_from(most).ok()).unwrap_or(MOST),
            image: image.unwrap_or_default().to_owned(),
            pull_policy: text("pullPolicy"),
            pull_secrets: configuration.texts(&at("pullSecrets")),
            node_selector: selector
                .filter_map(|one| one.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())))
                .collect(),
            tolerations: configuration.get(&at("tolerations")).and_then(Value::as_array).cloned().unwrap_or_default(),
            priority_class: text("priorityClassName"),
            resources: object("resources"),
            log: text("log"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_decides_what_nodes_have() {
        let of = |text: &str| Mode::of(&Configuration::parse(text).unwrap());
        assert_eq!(of(""), Mode::Agent);
        assert_eq!(of("runtimeDetection: {mode: agent}"), Mode::Agent);
        assert_eq!(of("runtimeDetection: {mode: pods}"), Mode::Agent, "no word of ours");
        assert_eq!(
            (of("runtimeDetection: {mode: pod}"), of("runtimeDetection: {mode: none}")),
            (Mode::Pod, Mode::None)
        );
        assert!(Mode::Agent.has_node_agents() && !Mode::Pod.has_node_agents() && !Mode::None.has_node_agents());
    }

    #[test]
    fn settings_are_read_and_the_image_is_that_of_the_agents_by_default() {
        let text = "agentsImage: r/agent:1\nruntimeDetection: {mode: pod, nodeSelector: [kubernetes.io/os=linux], tolerations: [{operator: Exists}], pullSecrets: [s]}";
        let options = Options::of(&Configuration::parse(text).unwrap());
        assert_eq!((options.image.as_str(), options.most), ("r/agent:1", MOST));
        assert_eq!((options.tolerations.len(), options.pull_secrets.len(), options.node_selector.len()), (1, 1, 1));
        let text = "agentsImage: r/agent:1\nruntimeDetection: {mode: pod, image: o/agent:2, maxPods: 9}";
        let options = Options::of(&Configuration::parse(text).unwrap());
        assert_eq!((options.image.as_str(), options.most), ("o/agent:2", 9));
    }
}
