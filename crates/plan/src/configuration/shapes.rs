//! Values of the configuration that are of another type than what reads them.
//!
//! Owns what values fit which shape. A value of another type, or a word that is not known, is ignored and reported: a list of namespaces
//! to ignore that is no list would ignore none. The numbers of rollouts are judged where they are read
//! (`plan::instrumentation::options`), durations that collectors are made of in `configuration`.

use super::Configuration;
use super::keys::KEYS;
use crate::duration;
use crate::sampling::Percentage;
use serde_json::Value;

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// True or false, as text too.
    Flag,
    /// A whole number, as text too.
    Number,
    /// A text.
    Text,
    /// One of these texts.
    Word(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// Texts by key.
    Labels,
    /// A number from 0 to 100, as text too.
    Percentage,
    /// A time above zero.
    Duration,
    /// An amount of storage, as Kubernetes writes it.
    Quantity,
    /// A mapping whose keys are in the table.
    Block,
    /// A mapping of any keys.
    Free,
    /// A list of anything.
    List,
    /// Judged where it is read.
    Any,
}

/// When agents take new sampling rules.
pub(super) const HEAD_SAMPLING: [&str; 2] = ["off", "onRestart"];

/// Levels of collectors' logs.
pub(super) const LOG_LEVELS: [&str; 4] = ["error", "warn", "info", "debug"];

impl Shape {
    /// What is expected, for messages and documents.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::Flag => "true or false".into(),
            Self::Number => "a whole number from 0 on".into(),
            Self::Text => "a string".into(),
            Self::Word(all) => format!("one of {}", all.join(", ")),
            Self::Texts => "a list of strings".into(),
            Self::Labels => "a mapping of strings to strings".into(),
            Self::Percentage => "a number from 0 to 100".into(),
            Self::Duration => "a duration above zero such as 30s or 1m30s".into(),
            Self::Quantity => "an amount such as 2Gi".into(),
            Self::Block | Self::Free => "a mapping".into(),
            Self::List => "a list".into(),
            Self::Any => "a value".into(),
        }
    }

    fn fits(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Flag, Value::Bool(_))
            | (Self::Text, Value::String(_))
            | (Self::Block | Self::Free, Value::Object(_)) => true,
            (Self::List, Value::Array(_)) | (Self::Any, _) => true,
            // A text without anything is the way to set nothing.
            (Self::Word(all), Value::String(text)) => text.is_empty() || all.contains(&text.as_str()),
            // Helm and shells turn everything into texts.
            (Self::Flag, Value::String(text)) => text.parse::<bool>().is_ok(),
            (Self::Number, Value::String(text)) => text.parse::<i32>().is_ok_and(|number| number >= 0),
            (Self::Number, value) => value.as_u64().is_some_and(|number| i32::try_from(number).is_ok()),
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

/// Path and message of each value that does not fit, in the order of paths; of a block that does not, its keys are not looked for.
pub(super) fn problems(configuration: &Configuration) -> Vec<(String, String)> {
    let mut wrong = Vec::new();
    for key in KEYS {
        for (path, value) in at(configuration, key.path) {
            if !value.is_null() && !key.shape.fits(value) {
                wrong.push((path, format!("expected {}; value ignored", key.shape.words())));
            }
        }
    }
    wrong.sort();
    wrong
}

/// The values at a path of the table, each with its own path.
fn at<'a>(configuration: &'a Configuration, path: &str) -> Vec<(String, &'a Value)> {
    let mut found = vec![(String::new(), &configuration.root)];
    for part in path.split('.') {
        let mut below = Vec::new();
        for (at, value) in found {
            let joined = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
            match value.as_object().filter(|_| part == "*") {
                Some(map) => below.extend(map.iter().map(|(name, value)| (joined(name), value))),
                None => below.extend(super::child(value, part).map(|value| (joined(part), value))),
            }
        }
        found = below;
    }
    found
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
        let languages = "userInstrumentationEnvs: {languages: {java: {enabled: perhaps}}}";
        assert_eq!(
            problems_of(languages),
            ["userInstrumentationEnvs.languages.java.enabled: expected true or false; value ignored"]
        );
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
