//! Values of the configuration that are of another type than what reads them.
//!
//! Owns the table of what keys hold. A value of another type, or a word that is not known, is ignored and reported: a list of namespaces
//! to ignore that is no list would ignore none. The numbers of rollouts are judged where they are read
//! (`plan::instrumentation::options`), durations that collectors are made of in `configuration`.

use super::{Configuration, MOUNT_METHODS};
use crate::agents::InjectionMode;
use crate::agents::inputs::SignalMode;
use crate::detection::Mode;
use crate::duration;
use crate::sampling::Percentage;
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
    /// Texts by key.
    Labels,
    /// A number from 0 to 100, as text too.
    Percentage,
    /// A time above zero.
    Duration,
    /// An amount of storage, as Kubernetes writes it.
    Quantity,
    Block,
}

/// When agents take new sampling rules.
pub(super) const HEAD_SAMPLING: [&str; 2] = ["off", "onRestart"];

/// Levels of collectors' logs.
pub(super) const LOG_LEVELS: [&str; 4] = ["error", "warn", "info", "debug"];

const TABLE: [(&str, Shape); 74] = [
    ("agentEnvVarsInjectionMethod", Shape::Word(&InjectionMode::WORDS)),
    ("agentImages", Shape::Block),
    ("agents", Shape::Block),
    ("agents.signals", Shape::Word(&SignalMode::WORDS)),
    ("agentsImage", Shape::Text),
    ("allowConcurrentAgents", Shape::Flag),
    ("clusterName", Shape::Text),
    ("collectorGateway", Shape::Block),
    ("collectorGateway.clusterMetricsEnabled", Shape::Flag),
    ("collectorGateway.logLevel", Shape::Word(&LOG_LEVELS)),
    ("collectorGateway.maxReplicas", Shape::Number),
    ("collectorGateway.minReplicas", Shape::Number),
    ("collectorGateway.nodeSelector", Shape::Labels),
    ("collectorGateway.queueVolume", Shape::Block),
    ("collectorGateway.queueVolume.size", Shape::Quantity),
    ("collectorGateway.queueVolume.storageClass", Shape::Text),
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
    ("componentLogLevels", Shape::Block),
    ("componentLogLevels.collector", Shape::Word(&LOG_LEVELS)),
    ("ignoreOdigosNamespace", Shape::Flag),
    ("ignoredContainers", Shape::Texts),
    ("ignoredNamespaces", Shape::Texts),
    ("imagePullSecrets", Shape::Texts),
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
    ("rollout.onInputChange", Shape::Word(&["report", "restart"])),
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
    ("sampling.dropTracesClusterWide", Shape::Block),
    ("sampling.dropTracesClusterWide.enabled", Shape::Flag),
    ("sampling.dropTracesClusterWide.keepPercentage", Shape::Percentage),
    ("sampling.dryRun", Shape::Flag),
    ("sampling.headSampling", Shape::Word(&HEAD_SAMPLING)),
    ("sampling.k8sHealthProbesSampling", Shape::Block),
    ("sampling.k8sHealthProbesSampling.enabled", Shape::Flag),
    ("sampling.k8sHealthProbesSampling.keepPercentage", Shape::Percentage),
    ("sampling.keepAllErrorTraces", Shape::Block),
    ("sampling.keepAllErrorTraces.enabled", Shape::Flag),
    ("sampling.tailSampling", Shape::Block),
    ("sampling.tailSampling.disabled", Shape::Flag),
    ("sampling.tailSampling.traceAggregationWaitDuration", Shape::Duration),
    ("telemetryEnabled", Shape::Flag),
    ("traceIdSuffix", Shape::Text),
    ("unownedTelemetry", Shape::Block),
    ("unownedTelemetry.dataStreams", Shape::Texts),
    ("userInstrumentationEnvs", Shape::Block),
];

impl Shape {
    fn words(self) -> String {
        match self {
            Self::Flag => "true or false".into(),
            Self::Number => "a whole number".into(),
            Self::Text => "a string".into(),
            Self::Word(all) => format!("one of {}", all.join(", ")),
            Self::Texts => "a list of strings".into(),
            Self::Labels => "a mapping of strings to strings".into(),
            Self::Percentage => "a number from 0 to 100".into(),
            Self::Duration => "a duration above zero such as 30s or 1m30s".into(),
            Self::Quantity => "an amount such as 2Gi".into(),
            Self::Block => "a mapping".into(),
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
            (Self::Labels, Value::Object(map)) => map.values().all(Value::is_string),
            (Self::Percentage, value) => percentage(value).is_some(),
            (Self::Duration, Value::String(text)) => duration::is_positive(text),
            (Self::Quantity, Value::String(text)) => is_quantity(text),
            _ => false,
        }
    }
}

/// A percentage, written as number or text.
pub(super) fn percentage(value: &Value) -> Option<Percentage> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    Percentage::new(number).ok()
}

/// Whether Kubernetes takes a text as an amount of storage.
fn is_quantity(text: &str) -> bool {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let units = ["", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    number.parse::<f64>().is_ok_and(|number| number > 0.0) && units.contains(&unit)
}

/// Path and message of each value that does not fit; of a block that does not, its keys are not looked for.
pub(super) fn problems(configuration: &Configuration) -> Vec<(&'static str, String)> {
    let wrong = TABLE.iter().filter_map(|(path, shape)| {
        let value = configuration.get(path)?;
        let message = || format!("expected {}; value ignored", shape.words());
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
        assert!(found[2].ends_with("expected a list of strings; value ignored"));
        assert_eq!(problems_of("ignoredContainers: [a, 1]\n").len(), 1);
    }

    #[test]
    fn a_word_that_nobody_knows_is_said_with_those_that_are() {
        let found = problems_of("runtimeDetection: {mode: pods}\nmountMethod: ''\nresourceSizePreset: size_m\n");
        let expected = "runtimeDetection.mode: expected one of agent, none, pod; value ignored";
        assert_eq!(found, [expected]);
        assert_eq!(problems_of("mountMethod: host\nresourceSizePreset: [large]\n").len(), 2);
    }

    #[test]
    fn value_that_would_silently_become_a_default_is_reported() {
        for text in [
            "sampling: {k8sHealthProbesSampling: {enabled: true, keepPercentage: 150}}",
            "sampling: {k8sHealthProbesSampling: {enabled: true, keepPercentage: 10%}}",
            "sampling: {tailSampling: {traceAggregationWaitDuration: abc}}",
            "sampling: {dropTracesClusterWide: {enabled: true, keepPercentage: most}}",
            "sampling: {dropTracesClusterWide: 10}",
            "sampling: {keepAllErrorTraces: true}",
            "sampling: {headSampling: always}",
            "sampling: {tailSampling: {traceAggregationWaitDuration: 30}}",
            "sampling: {tailSampling: {traceAggregationWaitDuration: 0s}}",
            "imagePullSecrets: regcred",
            "collectorGateway: {nodeSelector: {zone: 1}}",
            "collectorGateway: {logLevel: trace}",
            "componentLogLevels: {collector: DEBUG}",
            "collectorGateway: {queueVolume: {size: 2GB}}",
        ] {
            assert_eq!(problems_of(text).len(), 1, "{text}: {:?}", problems_of(text));
        }
        let fine = "sampling: {k8sHealthProbesSampling: {enabled: \"true\", keepPercentage: \"10\"}, tailSampling: {traceAggregationWaitDuration: 1m}}\n\
                    collectorGateway: {queueVolume: {size: 2Gi}, nodeSelector: {zone: a}}\n";
        assert_eq!(problems_of(fine), [] as [String; 0]);
    }

    #[test]
    fn usual_ways_to_write_them_are_fine() {
        let text = "ignoredNamespaces: [a]\nrollbackDisabled: \"true\"\ncollectorGateway: {minReplicas: \"2\", maxReplicas: 4}\n\
                    mountMethod: k8s-host-path\nclusterName:\n";
        assert_eq!(problems_of(text), [] as [String; 0]);
    }
}
