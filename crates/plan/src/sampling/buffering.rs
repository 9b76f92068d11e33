//! Why the gateway holds whole traces back: which rules switch tail sampling on, and what that costs those who switch it on.
//!
//! A single rule that may drop something delays every trace of its data streams, whether or not a trace ever matches it. Owns
//! the sentence about it, for `explain`, conditions and plans alike. Never decides whether samplers run: that follows from
//! the same list of rules, see [`super::is_active`].

use super::accept::Accepted;
use super::report::Mode;
use super::rule::Rule;
use super::{built_in, compile};
use odigos_api::{Finding, names};
use std::collections::BTreeSet;

/// The rules of all data streams that may drop something, so that whole traces are needed to decide; in the order of rules.
#[must_use]
pub fn rules(accepted: &Accepted) -> Vec<&Rule> {
    let streams: BTreeSet<&str> = accepted.enabled().flat_map(|rule| rule.streams.iter().map(String::as_str)).collect();
    // No stream has the empty name, so its rules are the global ones.
    let sets = std::iter::once("").chain(streams).map(|stream| accepted.of_stream(stream));
    let dropping: Vec<&Rule> = sets.flat_map(|rules| compile::dropping(&rules)).collect();
    accepted.enabled().filter(|rule| dropping.iter().any(|other| std::ptr::eq(*rule, *other))).collect()
}

/// What these rules cost, in two sentences; `None` where there are none. `wait` is how long a trace is held back.
#[must_use]
pub fn sentence(rules: &[&Rule], mode: Mode, wait: &str) -> Option<String> {
    let first = rules.first()?;
    let subject = match rules.len() - 1 {
        0 => format!("\"{}\" is the first and only rule that needs whole traces", first.title()),
        1 => format!("\"{}\" is the first of two rules that need whole traces", first.title()),
        others => format!("\"{}\" is the first of {} rules that need whole traces", first.title(), others + 1),
    };
    let streams: BTreeSet<&str> = rules.iter().flat_map(|rule| rule.streams.iter().map(String::as_str)).collect();
    let all = rules.iter().any(|rule| rule.streams.is_empty());
    let traces = match streams.len() {
        _ if all => "every trace".to_owned(),
        1 => format!("every trace of data stream {}", streams.into_iter().collect::<String>()),
        _ => format!("every trace of data streams {}", streams.into_iter().collect::<Vec<_>>().join(", ")),
    };
    let cost = match mode {
        Mode::Disabled => return None,
        Mode::DryRun => format!("a copy of {traces} is held in the memory of a gateway for {wait}; nothing is dropped"),
        Mode::KeepsEverything | Mode::Sampling => {
            format!("{traces} is held in the memory of a gateway for {wait} before it is exported")
        }
    };
    Some(format!("{subject}: {cost}, and all its spans go to the same gateway, even if no trace ever matches."))
}

/// What people should know when tail sampling is switched on, about the object that does it. `health_probes` says whether
/// probes of workloads may be rules of their own.
#[must_use]
pub fn first_rule(
    accepted: &Accepted,
    health_probes: bool,
    namespace: &str,
    mode: Mode,
    wait: &str,
) -> Option<Finding> {
    let rules = rules(accepted);
    let configuration = format!("ConfigMap {namespace}/{}", names::CONFIGURATION);
    let Some(first) = rules.first() else {
        let message = format!(
            "rules of health probes are the first that need whole traces: as soon as a covered workload has an HTTP probe, every trace is held in the memory of a gateway for {wait} before it is exported, and all its spans go to the same gateway"
        );
        return health_probes.then(|| Finding::info(configuration, "sampling.k8sHealthProbesSampling", message));
    };
    let message = sentence(&rules, mode, wait)?;
    let message = format!("this is the first rule that needs whole traces. {message}");
    Some(match built_in::setting(first) {
        Some(setting) => Finding::info(configuration, setting, message),
        None => Finding::info(
            format!("Sampling {namespace}/{}", first.origin.object),
            format!("spec.{}[{}]", first.category.field(), first.origin.index),
            message,
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::scenarios::accepted;
    use super::super::{is_active, scenarios};
    use super::*;
    use crate::world::World;
    use serde_json::json;

    fn told(specs: &[serde_json::Value]) -> Option<String> {
        let accepted = accepted(specs);
        let rules = rules(&accepted);
        assert_eq!(rules.is_empty(), !is_active(&accepted));
        sentence(&rules, Mode::Sampling, "30s")
    }

    #[test]
    fn single_rule_is_named_even_if_nothing_can_match_it() {
        let text = told(&[
            json!({"noisyOperations": [{"name": "typo", "operation": {"httpServer": {"route": "^/health$"}}}]}),
        ]);
        assert_eq!(
            text.as_deref(),
            Some(
                "\"typo\" is the first and only rule that needs whole traces: every trace is held in the memory of a gateway for 30s before it is exported, and all its spans go to the same gateway, even if no trace ever matches."
            )
        );
    }

    #[test]
    fn rules_that_drop_nothing_need_no_whole_traces() {
        for spec in [
            json!({"highlyRelevantOperations": [{"error": true}]}),
            json!({"costReductionRules": [{"percentageAtMost": 100}]}),
            json!({"noisyOperations": [{"disabled": true}]}),
            // A floor below 100 % that a stronger one always covers.
            json!({"highlyRelevantOperations": [{}, {"error": true, "percentageAtLeast": 5}]}),
        ] {
            assert_eq!(told(std::slice::from_ref(&spec)), None, "{spec}");
        }
        // A floor below 100 % drops the rest of what it matches.
        assert!(told(&[json!({"highlyRelevantOperations": [{"error": true, "percentageAtLeast": 5}]})]).is_some());
    }

    #[test]
    fn number_of_rules_and_their_data_streams_are_told() {
        let of = |streams: serde_json::Value, rules: usize| {
            let rule = |n: usize| json!({"name": format!("r{n}"), "percentageAtMost": 10, "operation": {"httpServer": {"route": format!("/{n}")}}});
            json!({"dataStreams": streams, "costReductionRules": (0..rules).map(rule).collect::<Vec<_>>()})
        };
        let text = told(&[of(json!(["team-a"]), 1)]).unwrap();
        assert!(text.contains("every trace of data stream team-a is held"), "{text}");
        let text = told(&[of(json!(["team-a"]), 2), of(json!(["team-b"]), 1)]).unwrap();
        assert!(text.contains("of 3 rules") && text.contains("data streams team-a, team-b"), "{text}");
        let text = told(&[of(json!(["team-a"]), 1), of(json!([]), 1)]).unwrap();
        assert!(text.contains("first of two rules") && text.contains(": every trace is held"), "{text}");
    }

    #[test]
    fn finding_names_the_object_that_switches_it_on() {
        let finding =
            |accepted: &Accepted, probes| first_rule(accepted, probes, "odigos-system", Mode::Sampling, "10s");
        let rules = scenarios::accepted(&[
            json!({"costReductionRules": [{"percentageAtMost": 100}, {"percentageAtMost": 10}]}),
        ]);
        let text = finding(&rules, true).unwrap().to_string();
        assert!(text.starts_with("info Sampling/odigos-system/s0 spec.costReductionRules[1]: this is the first rule that needs whole traces."), "{text}");
        let none = Accepted::default();
        assert!(finding(&none, true).unwrap().field.ends_with("k8sHealthProbesSampling"));
        assert_eq!(finding(&none, false), None);
        let mut built_in = Accepted::default();
        built_in.add(
            built_in::BuiltIns {
                keep_all_error_traces: false,
                drop_traces_cluster_wide: Some(super::super::Percentage::ZERO),
            }
            .rules(),
        );
        assert_eq!(finding(&built_in, false).unwrap().field, "sampling.dropTracesClusterWide");
    }

    /// A cluster with a covered workload, a destination and this configuration.
    fn world(configuration: &str) -> World {
        let mut world = World::new("odigos-system");
        for object in [
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names::CONFIGURATION, "namespace": "odigos-system"}, "data": {names::CONFIGURATION_KEY: configuration}}),
            json!({"apiVersion": "odigos.io/v1alpha1", "kind": "Destination", "metadata": {"name": "d", "namespace": "odigos-system"}, "spec": {"type": "debug", "destinationName": "d", "signals": ["TRACES"], "data": {}}}),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"template": {"spec": {"containers": [{"name": "web"}]}}}}),
            json!({"apiVersion": "odigos.io/v1alpha1", "kind": "Source", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"workload": {"kind": "Deployment", "name": "web", "namespace": "shop"}}}),
        ] {
            world.insert(object).unwrap();
        }
        world
    }

    fn about_whole_traces(world: &mut World) -> Vec<String> {
        let findings = world.settle(jiff::Timestamp::UNIX_EPOCH).findings;
        let texts = findings.iter().map(ToString::to_string);
        texts.filter(|text| text.contains("whole traces")).collect()
    }

    #[test]
    fn plan_reports_what_switches_tail_sampling_on_and_only_then() {
        let mut world = world("sampling: {tailSampling: {traceAggregationWaitDuration: 10s}}");
        assert_eq!(about_whole_traces(&mut world), [] as [&str; 0]);
        let rules = |name: &str| json!({"apiVersion": "odigos.io/v1alpha1", "kind": "Sampling", "metadata": {"name": name, "namespace": "odigos-system"}, "spec": {"noisyOperations": [{"operation": {"httpServer": {"route": "/no-such-route"}}}]}});
        world.insert(rules("first")).unwrap();
        let told = about_whole_traces(&mut world);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].starts_with("info Sampling/odigos-system/first spec.noisyOperations[0]: this is the first rule"),
            "{told:?}"
        );
        assert!(told[0].contains("for 10s before it is exported"), "{told:?}");
        // Another one costs nothing more.
        world.insert(rules("second")).unwrap();
        assert_eq!(about_whole_traces(&mut world), [] as [&str; 0]);
    }

    #[test]
    fn built_in_rules_reach_the_gateway_and_are_reported() {
        let built_in = "sampling: {keepAllErrorTraces: {enabled: true}, dropTracesClusterWide: {enabled: true, keepPercentage: 10}}";
        let mut world = world(built_in);
        let settled = world.settle(jiff::Timestamp::UNIX_EPOCH);
        let told = settled.findings.iter().find(|one| one.field == "sampling.dropTracesClusterWide");
        assert!(told.is_some_and(|one| one.message.starts_with("this is the first rule")), "{:?}", settled.findings);
        let yaml = settled.gateway.unwrap().config.to_yaml();
        assert!(yaml.contains("tail_sampling") && yaml.contains("STATUS_CODE_ERROR"), "{yaml}");
        assert!(yaml.contains("Keep all error traces") && yaml.contains("Drop traces cluster-wide"), "{yaml}");
        // Errors alone keep everything, so nothing waits.
        let mut errors = self::world("sampling: {keepAllErrorTraces: {enabled: true}}");
        let settled = errors.settle(jiff::Timestamp::UNIX_EPOCH);
        assert!(!settled.gateway.unwrap().config.to_yaml().contains("tail_sampling"));
        assert!(settled.findings.iter().all(|one| !one.message.contains("whole traces")), "{:?}", settled.findings);
    }
}
