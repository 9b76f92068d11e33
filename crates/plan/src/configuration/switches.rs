//! Settings beside a switch that makes them ineffective.
//!
//! Owns which switch stands above which settings: `enabled` and `disabled` of a block above everything in it, by the table of keys, and
//! the few that reach further. Never changes a setting.

use super::Configuration;
use super::keys::{Effect, KEYS};
use super::shapes::Shape;
use serde_json::Value;

/// Blocks that are on without being switched on.
const ON_BY_DEFAULT: [&str; 1] = ["collectorNode.otlpExporterConfiguration.retryOnFailure"];

/// Switches that reach further than their block: the switch, the value that switches off, and what is ineffective then.
const WIDE: [(&str, bool, &[&str]); 4] = [
    (
        "sampling.tailSampling.disabled",
        true,
        &[
            "sampling.dryRun",
            "sampling.dryRunMarks",
            "sampling.samplingRuleMetrics",
            "sampling.spanSamplingAttributes",
            "sampling.k8sHealthProbesSampling",
            "sampling.keepAllErrorTraces",
            "sampling.dropTracesClusterWide",
        ],
    ),
    (
        "rollbackDisabled",
        true,
        &["rollbackGraceTime", "rollbackStabilityWindow", "rollout.brakeRollbacks", "rollout.brakeWindow"],
    ),
    ("rollout.automaticRolloutDisabled", true, &["rollout.onInputChange"]),
    ("metricsSources.spanMetrics.histogramDisabled", true, &["metricsSources.spanMetrics.explicitHistogramBuckets"]),
];

/// Path and message of every stated setting that a switch makes ineffective, each once.
pub(super) fn ineffective(configuration: &Configuration) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut report = |path: &str, message: String| {
        if found.iter().all(|(known, _)| known != path) {
            found.push((path.to_owned(), message));
        }
    };
    for (switch, off, below) in WIDE {
        if configuration.flag(switch) == Some(off) {
            for path in below.iter().flat_map(|path| settings(configuration, path)) {
                report(&path, format!("it has no effect: {switch} is {off}"));
            }
        }
    }
    for (switch, block) in blocks(configuration) {
        let is_on = configuration.flag(&switch);
        let by_default = ON_BY_DEFAULT.contains(&block.as_str()) || switch.ends_with(".disabled");
        let message = match (switch.ends_with(".disabled"), is_on) {
            (true, Some(true)) => format!("it has no effect: {switch} is true"),
            (false, Some(false)) => format!("it has no effect: {switch} is false"),
            (false, None) if !by_default => format!("it has no effect: the default is off; set {switch}: true"),
            _ => continue,
        };
        for path in settings(configuration, &block).into_iter().filter(|path| *path != switch) {
            report(&path, message.clone());
        }
    }
    found
}

/// Every block with a switch, as the switch and the block; `*` is each key that is stated there.
fn blocks(configuration: &Configuration) -> Vec<(String, String)> {
    let switches = KEYS.iter().filter(|key| key.effect == Effect::Active && key.shape == Shape::Flag);
    let mut all = Vec::new();
    for key in switches {
        let Some((block, name)) = key.path.rsplit_once('.').filter(|(_, name)| ["enabled", "disabled"].contains(name))
        else {
            continue;
        };
        match block.split_once(".*") {
            None => all.push((key.path.to_owned(), block.to_owned())),
            Some((above, below)) => {
                let stated = configuration.get(above).and_then(Value::as_object).into_iter().flatten();
                all.extend(
                    stated.map(|(one, _)| (format!("{above}.{one}{below}.{name}"), format!("{above}.{one}{below}"))),
                );
            }
        }
    }
    all
}

/// The settings that are stated at a path or below it: values, and lists and mappings as a whole. A flag that is as it would be anyway, or
/// off itself, asks for nothing.
fn settings(configuration: &Configuration, path: &str) -> Vec<String> {
    let is_block = |path: &str| KEYS.iter().any(|key| key.shape == Shape::Block && fits(key.path, path));
    let asks = |value: &Value| {
        let flag = KEYS.iter().find(|key| key.shape == Shape::Flag && fits(key.path, path));
        let default = flag.map(|key| key.doc.contains("Default: true"));
        let is_default = default.is_some_and(|default| configuration.flag(path) == Some(default));
        let is_off_too = path.ends_with("isabled") && configuration.flag(path) == Some(true);
        !super::relations::is_nothing(value) && !is_default && !is_off_too
    };
    match configuration.get(path) {
        Some(Value::Object(map)) if is_block(path) => {
            map.keys().flat_map(|key| settings(configuration, &format!("{path}.{key}"))).collect()
        }
        Some(value) if asks(value) => vec![path.to_owned()],
        _ => Vec::new(),
    }
}

/// Whether the path of a key, which may hold `*`, is this path.
fn fits(key: &str, path: &str) -> bool {
    let (key, path): (Vec<&str>, Vec<&str>) = (key.split('.').collect(), path.split('.').collect());
    key.len() == path.len() && key.iter().zip(&path).all(|(one, other)| *one == "*" || one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        ineffective(&Configuration::parse(text).unwrap()).into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn setting_beside_its_off_switch_is_reported() {
        for (text, expected) in [
            (
                "sampling: {dropTracesClusterWide: {keepPercentage: 5}}",
                &["sampling.dropTracesClusterWide.keepPercentage"][..],
            ),
            (
                "sampling: {dropTracesClusterWide: {enabled: false, keepPercentage: 5}}",
                &["sampling.dropTracesClusterWide.keepPercentage"],
            ),
            (
                "sampling: {tailSampling: {disabled: true, traceAggregationWaitDuration: 10s}, dryRun: true, keepAllErrorTraces: {enabled: true}}",
                &[
                    "sampling.dryRun",
                    "sampling.keepAllErrorTraces.enabled",
                    "sampling.tailSampling.traceAggregationWaitDuration",
                ],
            ),
            (
                "sampling: {spanSamplingAttributes: {disabled: true, spanDecisionAttributesDisabled: false, traceDecidingRuleDisabled: true}}",
                &["sampling.spanSamplingAttributes.spanDecisionAttributesDisabled"],
            ),
            (
                "userInstrumentationEnvs: {languages: {java: {enabled: false, env: {A: b}}, go: {enabled: true, env: {A: b}}}}",
                &["userInstrumentationEnvs.languages.java.env"],
            ),
            (
                "metricsSources: {spanMetrics: {disabled: true, interval: 5s, additionalDimensions: [a]}}",
                &["metricsSources.spanMetrics.additionalDimensions", "metricsSources.spanMetrics.interval"],
            ),
            (
                "metricsSources: {kubeletStats: {disabled: true, interval: 5s}}",
                &["metricsSources.kubeletStats.interval"],
            ),
            (
                "collectorGateway: {serviceGraph: {disabled: true, extraDimensions: [a]}}",
                &["collectorGateway.serviceGraph.extraDimensions"],
            ),
            (
                "collectorNode: {otlpExporterConfiguration: {retryOnFailure: {enabled: false, maxInterval: 5s}}}",
                &["collectorNode.otlpExporterConfiguration.retryOnFailure.maxInterval"],
            ),
            ("rollbackDisabled: true\nrollbackGraceTime: 1m", &["rollbackGraceTime"]),
            (
                "metricsSources: {spanMetrics: {histogramDisabled: true, explicitHistogramBuckets: [1s]}}",
                &["metricsSources.spanMetrics.explicitHistogramBuckets"],
            ),
        ] {
            let mut paths = found(text);
            paths.sort();
            assert_eq!(paths, expected, "{text}");
        }
    }

    #[test]
    fn setting_beside_a_switch_that_is_on_is_not_reported() {
        for text in [
            "sampling: {dropTracesClusterWide: {enabled: true, keepPercentage: 5}}",
            "sampling: {dropTracesClusterWide: {enabled: false}}",
            "sampling: {tailSampling: {disabled: true}, dryRun: false}",
            "sampling: {tailSampling: {traceAggregationWaitDuration: 10s}}",
            "metricsSources: {spanMetrics: {interval: 5s}}",
            "metricsSources: {spanMetrics: {disabled: false, interval: 5s}}",
            "collectorNode: {otlpExporterConfiguration: {retryOnFailure: {maxInterval: 5s}}}",
            "collectorNode: {resourceDetectors: {ec2: {enabled: true}, gcp: {enabled: false}}}",
            "metricsSources: {spanMetrics: {disabled: true, additionalDimensions: []}}",
            "rollbackGraceTime: 1m",
        ] {
            assert_eq!(found(text), [] as [&str; 0], "{text}");
        }
    }

    /// A block that is on by default says so where its switch is documented.
    #[test]
    fn defaults_of_switches_are_those_of_the_table() {
        for key in KEYS.iter().filter(|key| key.path.ends_with(".enabled")) {
            let block = key.path.trim_end_matches(".enabled");
            let is_on = key.doc.contains("Default: true");
            assert_eq!(is_on, ON_BY_DEFAULT.contains(&block), "{}", key.path);
        }
        for (switch, _, below) in WIDE {
            assert!(KEYS.iter().any(|key| key.path == switch), "{switch}");
            assert!(below.iter().all(|path| KEYS.iter().any(|key| key.path == *path)), "{below:?}");
        }
    }
}
