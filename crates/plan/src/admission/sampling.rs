//! Samplings: one that is larger than what an object may have is rejected.
//!
//! Owns what is said when a Sampling is written; what is stored all the same is judged by [`crate::sampling::limits`]. A rule that cannot be read
//! is left out alone, so it is a warning. Never looks at other Samplings.

use super::{Refusal, Review};
use crate::sampling::{accept, limits};
use odigos_api::sampling::{Sampling, SamplingSpec};

/// Most warnings for one object.
const MOST_WARNINGS: usize = 10;

/// Reviews a Sampling. What an earlier release took stays as large as it is; only growth is rejected.
#[must_use]
pub fn review(sampling: &Sampling, before: Option<&Sampling>, control_plane_namespace: &str) -> Review {
    let mut result = Review::default();
    if before.is_some_and(|before| before.spec == sampling.spec) {
        return result;
    }
    let namespace = sampling.metadata.namespace.as_deref().unwrap_or(control_plane_namespace);
    if namespace != control_plane_namespace {
        let message =
            format!("metadata.namespace: only Samplings in {control_plane_namespace} are used; create it there");
        result.warnings.push(message);
    }
    let count = limits::count(&sampling.spec);
    if count > limits::MOST_RULES && before.is_none_or(|before| count > limits::count(&before.spec)) {
        let message = format!(
            "it has {count} rules, and one Sampling may have {}: join rules, scope them by namespace instead of by workload, or write several objects",
            limits::MOST_RULES
        );
        result.refusals.push(Refusal::new("spec", message));
        return result;
    }
    let (size, problems) = read(&sampling.spec);
    if size > limits::OBJECT_LIMIT && before.is_none_or(|before| size > read(&before.spec).0) {
        let message = format!(
            "its rules come to {} KiB of a gateway's configuration, and one Sampling may have {} KiB: use fewer rules or shorter texts, or scope them by namespace",
            size / 1024,
            limits::OBJECT_LIMIT / 1024
        );
        result.refusals.push(Refusal::new("spec", message));
    }
    result.warnings.extend(problems.into_iter().take(MOST_WARNINGS));
    result
}

/// What the rules of an object come to, and what is wrong with single ones.
fn read(spec: &SamplingSpec) -> (usize, Vec<String>) {
    let mut object = Sampling::new("", spec.clone());
    // Its rules are measured, whether or not they are in force.
    object.spec.disabled = None;
    let accepted = accept([&object]);
    let facts = accepted.objects.into_values().next().unwrap_or_default();
    (facts.rendered, facts.problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn sampling(count: usize, length: usize) -> Sampling {
        let rule = |number: usize| {
            let route = format!("/{number}/{}", "x".repeat(length));
            json!({"percentageAtMost": 10, "operation": {"httpServer": {"route": route}}})
        };
        let spec = json!({"costReductionRules": (0..count).map(rule).collect::<Vec<Value>>()});
        let metadata = json!({"name": "s", "namespace": "odigos-system"});
        let object =
            json!({"apiVersion": odigos_api::API_VERSION, "kind": "Sampling", "metadata": metadata, "spec": spec});
        serde_json::from_value(object).unwrap()
    }

    fn refusals(new: &Sampling, before: Option<&Sampling>) -> Vec<String> {
        review(new, before, "odigos-system").refusals.into_iter().map(|one| one.message).collect()
    }

    #[test]
    fn what_is_too_large_is_rejected_with_the_limit() {
        assert_eq!(refusals(&sampling(40, 20), None), Vec::<String>::new());
        let many = refusals(&sampling(limits::MOST_RULES + 1, 1), None);
        assert!(many.len() == 1 && many[0].contains("251 rules") && many[0].contains("may have 250"), "{many:?}");
        let large = refusals(&sampling(200, 1_000), None);
        assert!(large.len() == 1 && large[0].contains("may have 256 KiB"), "{large:?}");
    }

    #[test]
    fn what_is_stored_may_shrink_and_stay_but_not_grow() {
        let stored = sampling(400, 1);
        assert_eq!(refusals(&stored, Some(&stored)), Vec::<String>::new());
        assert_eq!(refusals(&sampling(399, 1), Some(&stored)), Vec::<String>::new());
        assert_eq!(refusals(&sampling(401, 1), Some(&stored)).len(), 1);
        assert_eq!(refusals(&sampling(400, 2), Some(&stored)).len(), 1, "longer texts are growth, too");
    }

    #[test]
    fn rules_that_cannot_be_read_are_warnings() {
        let mut broken = sampling(1, 1);
        broken.spec.cost_reduction_rules[0].percentage_at_most = 300.0;
        let said = review(&broken, None, "odigos-system");
        assert!(said.refusals.is_empty() && said.warnings.len() == 1, "{said:?}");
        assert_eq!(review(&broken, None, "elsewhere").warnings.len(), 2, "and where it is written");
    }
}
