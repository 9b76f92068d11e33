//! Rules that a setting switches on, beside those of Sampling objects: keep all error traces, drop traces cluster-wide.
//!
//! Owns what the settings mean. The third built-in, health probes, depends on workloads and is made in [`super::probes`].
//! Never reads the configuration itself.

use super::rule::{Category, Operation, Origin, Percentage, Rule, Scope, id};
use std::collections::BTreeSet;

/// Setting that keeps every trace with a failed span.
pub const KEEP_ALL_ERROR_TRACES: &str = "sampling.keepAllErrorTraces";
/// Setting that reduces all traces of the cluster.
pub const DROP_TRACES_CLUSTER_WIDE: &str = "sampling.dropTracesClusterWide";

/// Which of these rules are switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BuiltIns {
    /// Every trace with a failed span is kept, whatever cost reduction rules say. The floor is 100 %.
    pub keep_all_error_traces: bool,
    /// At most this much is kept of traces about which no other rule decides.
    pub drop_traces_cluster_wide: Option<Percentage>,
}

impl BuiltIns {
    /// The rules, in force for all data streams.
    #[must_use]
    pub fn rules(self) -> Vec<Rule> {
        let errors = self.keep_all_error_traces.then(|| {
            let floor = Percentage::HUNDRED;
            rule(Category::HighlyRelevant, "Keep all error traces", KEEP_ALL_ERROR_TRACES, floor, true)
        });
        let reduction = self
            .drop_traces_cluster_wide
            .map(|cap| rule(Category::CostReduction, "Drop traces cluster-wide", DROP_TRACES_CLUSTER_WIDE, cap, false));
        errors.into_iter().chain(reduction).collect()
    }
}

/// The setting that a rule comes from, where it is a built-in.
#[must_use]
pub fn setting(rule: &Rule) -> Option<&str> {
    match rule.origin.object.as_str() {
        super::probes::BUILT_IN => Some("sampling.k8sHealthProbesSampling"),
        object @ (KEEP_ALL_ERROR_TRACES | DROP_TRACES_CLUSTER_WIDE) => Some(object),
        _ => None,
    }
}

fn rule(category: Category, name: &str, setting: &str, percentage: Percentage, error: bool) -> Rule {
    Rule {
        category,
        id: id(category, &Scope::Everything, &Operation::Any, error, None),
        name: name.to_owned(),
        percentage,
        scope: Scope::Everything,
        operation: Operation::Any,
        error,
        duration_at_least_ms: None,
        enabled: true,
        // A dot is part of no object that could be confused with it: names of settings have capitals, those of objects none.
        origin: Origin { object: setting.to_owned(), index: 0 },
        streams: BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::judge;
    use super::super::scenarios::{resource_of, rules};
    use super::super::span::Span;
    use super::*;

    #[test]
    fn built_ins_are_the_rules_that_one_would_write() {
        let ten = Percentage::new(10.0).unwrap();
        let built_in = BuiltIns { keep_all_error_traces: true, drop_traces_cluster_wide: Some(ten) }.rules();
        let written =
            rules("{highlyRelevantOperations: [{error: true}], costReductionRules: [{percentageAtMost: 10}]}");
        assert_eq!(built_in.len(), 2);
        for (one, other) in built_in.iter().zip(&written) {
            assert_eq!((&one.id, one.percentage, one.enabled), (&other.id, other.percentage, true));
            assert!(one.is_for_stream(None));
        }
        assert_eq!(BuiltIns::default().rules(), []);
    }

    #[test]
    fn error_traces_are_kept_although_all_others_are_dropped() {
        let built_in =
            BuiltIns { keep_all_error_traces: true, drop_traces_cluster_wide: Some(Percentage::ZERO) }.rules();
        let rules: Vec<&Rule> = built_in.iter().collect();
        let span = |error| Span { trace_id: [7; 16], error, resource: resource_of("a"), ..Span::default() };
        assert!(judge::decide(&rules, &[span(false), span(true)]).keep);
        assert!(!judge::decide(&rules, &[span(false), span(false)]).keep);
    }
}
