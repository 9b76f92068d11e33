//! Signals of a workload that rules switch off for all of its pods, whatever agents they have.
//!
//! Owns which rules do so for a workload. They take effect by the stream class of its pods, so no pod restarts; traces are
//! switched off in the agent instead (`traceConfig`), which records none then. Never changes a pod.

use super::{in_scope, problems};
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::instrumentation_rule::{InstrumentationRule, InstrumentationRuleSpec};
use odigos_api::{Signal, WorkloadRef};
use std::collections::BTreeSet;

/// The signals that a rule switches off, if it is in force.
#[must_use]
pub fn switched_off(rule: &InstrumentationRuleSpec) -> BTreeSet<Signal> {
    let switches = [(Signal::Metrics, &rule.metrics_config), (Signal::Logs, &rule.logs_config)];
    let is_off = |config: &Option<_>| {
        config.as_ref().is_some_and(|config: &odigos_api::agent_settings::SignalConfig| config.disabled == Some(true))
    };
    switches.into_iter().filter(|(_, config)| is_off(config)).map(|(signal, _)| signal).collect()
}

/// The signals that rules switch off for a workload: those in force for one of its containers. A rule for languages waits until
/// it is known what runs in them.
#[must_use]
pub fn signals_off(
    rules: &[&InstrumentationRule],
    workload: &WorkloadRef,
    data_streams: &BTreeSet<String>,
    config: &InstrumentationConfig,
) -> BTreeSet<Signal> {
    let stated = config.spec.containers_overrides.iter().filter_map(|one| one.runtime_info.as_ref());
    let found = config.status.iter().flat_map(|status| &status.runtime_details_by_container);
    let mut languages: BTreeSet<&str> = stated.chain(found).map(|details| details.language.as_str()).collect();
    // What is for any language is for those that nobody knows, too.
    languages.insert("");
    let in_force = rules.iter().filter(|rule| {
        rule.spec.disabled != Some(true)
            && !switched_off(&rule.spec).is_empty()
            && problems(&rule.spec).is_empty()
            && languages.iter().any(|language| in_scope(&rule.spec, workload, data_streams, language))
    });
    in_force.flat_map(|rule| switched_off(&rule.spec)).collect()
}
