//! Values of the configuration that are of another type than what reads them.
//!
//! Owns the table of the keys whose loss would be noticed late: a list of namespaces to leave alone that is no list would leave none
//! alone. What is not in the table passes; what is of a wrong type, or no word that is known, counts as not set, and is said. The numbers of rollouts are judged
//! where they are read (`plan::instrumentation::options`).

use super::{Configuration, MOUNT_METHODS};
use crate::agents::InjectionMode;
use crate::detection::Mode;
use crate::sizing::PRESET_NAMES;
use serde_json::Value;

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Flag,
    Number,
    Text,
    /// One of these texts.
    Word(&'static [&'static str]),
    Texts,
    Block,
}

const TABLE: [(&str, Shape); 50] = [
    ("agentEnvVarsInjectionMethod", Shape::Word(&InjectionMode::WORDS)),
    ("agentImages", Shape::Block),
    ("agentsImage", Shape::Text),
    ("allowConcurrentAgents", Shape::Flag),
    ("clusterName", Shape::Text),
    ("collectorGateway", Shape::Block),
    ("collectorGateway.clusterMetricsEnabled", Shape::Flag),
    ("collectorGateway.maxReplicas", Shape::Number),
    ("collectorGateway.minReplicas", Shape::Number),
    ("collectorGateway.queueVolume", Shape::Block),
    ("collectorGateway.requestCPUm", Shape::Number),
    ("collectorGateway.requestMemoryMiB", Shape::Number),
    ("collectorGateway.limitCPUm", Shape::Number),
    ("collectorGateway.limitMemoryMiB", Shape::Number),
    ("collectorNode", Shape::Block),
    ("collectorNode.collectorOwnMetricsPort", Shape::Number),
    ("collectorNode.enableDataCompression", Shape::Flag),
    ("collectorNode.requestCPUm", Shape::Number),
    ("collectorNode.requestMemoryMiB", Shape::Number),
    ("collectorNode.limitCPUm", Shape::Number),
    ("collectorNode.limitMemoryMiB", Shape::Number),
    ("ignoreOdigosNamespace", Shape::Flag),
    ("ignoredContainers", Shape::Texts),
    ("ignoredNamespaces", Shape::Texts),
    ("karpenterEnabled", Shape::Flag),
    ("metricsSources", Shape::Block),
    ("metricsSources.hostMetrics", Shape::Block),
    ("metricsSources.kubeletStats", Shape::Block),
    ("metricsSources.spanMetrics", Shape::Block),
    ("mountMethod", Shape::Word(&MOUNT_METHODS)),
    ("openshiftEnabled", Shape::Flag),
    ("resourceSizePreset", Shape::Word(&PRESET_NAMES)),
    ("rollbackDisabled", Shape::Flag),
    ("rollout", Shape::Block),
    ("rollout.automaticRolloutDisabled", Shape::Flag),
    ("rollout.healMissedPods", Shape::Flag),
    ("runtimeDetection", Shape::Block),
    ("runtimeDetection.image", Shape::Text),
    ("runtimeDetection.maxPods", Shape::Number),
    ("runtimeDetection.mode", Shape::Word(&Mode::WORDS)),
    ("runtimeDetection.nodeSelector", Shape::Texts),
    ("runtimeDetection.priorityClassName", Shape::Text),
    ("runtimeDetection.pullPolicy", Shape::Word(&["Always", "IfNotPresent", "Never"])),
    ("runtimeDetection.pullSecrets", Shape::Texts),
    ("runtimeDetection.resources", Shape::Block),
    ("sampling", Shape::Block),
    ("sampling.dryRun", Shape::Flag),
    ("sampling.tailSampling", Shape::Block),
    ("telemetryEnabled", Shape::Flag),
    ("userInstrumentationEnvs", Shape::Block),
];

impl Shape {
    fn words(self) -> String {
        match self {
            Self::Flag => "true or false".into(),
            Self::Number => "a whole number".into(),
            Self::Text => "a text".into(),
            Self::Word(all) => format!("one of {}", all.join(", ")),
            Self::Texts => "a list of texts".into(),
            Self::Block => "a block of further keys".into(),
        }
    }

    fn fits(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Flag, Value::Bool(_)) | (Self::Text, Value::String(_)) | (Self::Block, Value::Object(_)) => true,
            // A text without anything is the way to set nothing.
            (Self::Word(all), Value::String(text)) => text.is_empty() || all.contains(&text.as_str()),
            // Helm and shells turn everything into texts.
            (Self::Flag, Value::String(text)) => text.parse::<bool>().is_ok(),
            (Self::Number, Value::String(text)) => text.parse::<i64>().is_ok(),
            (Self::Number, value) => value.is_i64(),
            (Self::Texts, Value::Array(list)) => list.iter().all(Value::is_string),
            _ => false,
        }
    }
}

/// Path and message of each value that does not fit; of a block that does not, its keys are not looked for.
pub(super) fn problems(configuration: &Configuration) -> Vec<(&'static str, String)> {
    let wrong = TABLE.iter().filter_map(|(path, shape)| {
        let value = configuration.get(path)?;
        let message = || format!("{} is wanted here; what is written counts as not set", shape.words());
        (!shape.fits(value)).then(|| (*path, message()))
    });
    wrong.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(text: &str) -> Vec<String> {
        let configuration = Configuration::parse(text).unwrap();
        problems(&configuration).into_iter().map(|(path, message)| format!("{path}: {message}")).collect()
    }

    #[test]
    fn what_is_of_another_type_is_said() {
        let text = "ignoredNamespaces: 5\ncollectorGateway: [1]\nrollout: yes please\nallowConcurrentAgents: maybe\n";
        let found = problems_of(text);
        let paths: Vec<&str> = found.iter().filter_map(|one| one.split(':').next()).collect();
        assert_eq!(paths, ["allowConcurrentAgents", "collectorGateway", "ignoredNamespaces", "rollout"]);
        assert!(found[2].ends_with("a list of texts is wanted here; what is written counts as not set"));
        assert_eq!(problems_of("ignoredContainers: [a, 1]\n").len(), 1);
    }

    #[test]
    fn a_word_that_nobody_knows_is_said_with_those_that_are() {
        let found = problems_of("runtimeDetection: {mode: pods}\nmountMethod: ''\nresourceSizePreset: size_m\n");
        let expected =
            "runtimeDetection.mode: one of agent, none, pod is wanted here; what is written counts as not set";
        assert_eq!(found, [expected]);
        assert_eq!(problems_of("mountMethod: host\nresourceSizePreset: [large]\n").len(), 2);
    }

    #[test]
    fn usual_ways_to_write_them_are_fine() {
        let text = "ignoredNamespaces: [a]\nrollbackDisabled: \"true\"\ncollectorGateway: {minReplicas: \"2\", maxReplicas: 4}\n\
                    mountMethod: k8s-host-path\nclusterName:\n";
        assert_eq!(problems_of(text), [] as [String; 0]);
    }
}
