//! Rules that change nothing beside others, and pairs of rules that contradict each other, as remarks on their objects.
//!
//! Owns which of what `explain` finds is reported in conditions and findings, over all objects: a rule that can never decide, one that
//! protects what nothing would drop, and who wins where two disagree. Never decides about traces, and compares rules, never traffic.

use super::accept::Accepted;
use super::explain::{contradiction, shadowing};
use super::rule::{Category, Percentage, Rule};
use odigos_api::Finding;

/// Rules beyond which no pairs are compared: their number grows with the square.
const MOST_COMPARED: usize = 500;

impl Accepted {
    /// Remarks on enabled rules of objects that are in vain beside others. Rules of health probes come later, and are exact.
    pub fn remark_vain(&mut self) {
        let enabled: Vec<&Rule> = self.enabled().collect();
        let mut remarks: Vec<(String, String, String)> = Vec::new();
        if enabled.len() > MOST_COMPARED {
            return;
        }
        for (position, rule) in enabled.iter().enumerate() {
            if !self.objects.contains_key(&rule.origin.object) {
                continue;
            }
            let field = format!("spec.{}[{}]", rule.category.field(), rule.origin.index);
            let others = enabled.iter().enumerate().filter(|(other, _)| *other != position);
            let shadowed = others
                .clone()
                .filter(|(_, stronger)| is_wherever(stronger, rule))
                .find_map(|(other, stronger)| shadowing(rule, position, stronger, other));
            let is_shadowed = shadowed.is_some();
            let mut report = |message| remarks.push((rule.origin.object.clone(), field.clone(), message));
            if let Some(message) = shadowed {
                report(message);
            } else if protects_nothing(rule, &enabled) {
                report("it protects nothing: no enabled rule would drop a trace of its data streams".to_owned());
            }
            // Of two rules that contradict, the one that loses is told; one that is shadowed has been.
            let losing = others.filter(|(_, winner)| meet(rule, winner)).filter_map(|(_, winner)| {
                let loses = (winner.category, rule.category);
                let is_later = match loses {
                    (a, b) if a == b => winner.percentage != rule.percentage && wins(winner, rule),
                    (a, b) => a < b,
                };
                (is_later && !is_shadowed).then(|| contradiction(winner, rule)).flatten()
            });
            losing.for_each(report);
        }
        for (object, field, message) in remarks {
            if let Some(facts) = self.objects.get_mut(&object) {
                facts.remarks.push(format!("{field}: {}", message.trim_end_matches('.')));
                self.findings.push(Finding::warning(facts.title.clone(), field, message));
            }
        }
        self.findings.sort();
    }
}

/// Whether `wide` takes part in every data stream in which `narrow` does.
fn is_wherever(wide: &Rule, narrow: &Rule) -> bool {
    wide.streams.is_empty() || !narrow.streams.is_empty() && narrow.streams.is_subset(&wide.streams)
}

/// Whether two rules take part in one data stream.
fn meet(one: &Rule, other: &Rule) -> bool {
    one.streams.is_empty() || other.streams.is_empty() || !one.streams.is_disjoint(&other.streams)
}

fn wins(one: &Rule, other: &Rule) -> bool {
    match one.category {
        Category::HighlyRelevant => one.percentage > other.percentage,
        Category::Noisy | Category::CostReduction => one.percentage < other.percentage,
    }
}

/// Whether a highly relevant rule keeps all of what would be kept without it: only cost rules can drop what it matches, and other
/// highly relevant ones below 100 %.
fn protects_nothing(rule: &Rule, enabled: &[&Rule]) -> bool {
    rule.category == Category::HighlyRelevant
        && rule.percentage == Percentage::HUNDRED
        && !enabled.iter().any(|other| {
            other.category != Category::Noisy && other.percentage < Percentage::HUNDRED && meet(rule, other)
        })
}

#[cfg(test)]
mod tests {
    use super::super::scenarios::accepted;
    use serde_json::{Value, json};

    fn remarks(specs: &[Value]) -> Vec<String> {
        let mut accepted = accepted(specs);
        accepted.remark_vain();
        let facts: usize = accepted.objects.values().map(|one| one.remarks.len()).sum();
        assert_eq!(accepted.findings.len(), facts, "condition and findings agree");
        accepted.findings.iter().map(ToString::to_string).collect()
    }

    fn route(route: &str) -> Value {
        json!({"httpServer": {"route": route}})
    }

    #[test]
    fn rule_that_is_in_vain_is_reported_on_its_object() {
        let errors = || json!({"highlyRelevantOperations": [{"name": "errors", "error": true}]});
        let cost = |percent: i32| json!({"costReductionRules": [{"name": format!("rest{percent}"), "percentageAtMost": percent}]});
        for (specs, object, word) in [
            (vec![errors()], "s0", "protects nothing"),
            (
                vec![errors(), json!({"noisyOperations": [{"name": "n", "operation": route("/a")}]})],
                "s0",
                "protects nothing",
            ),
            (
                vec![
                    errors(),
                    json!({"dataStreams": ["money"], "costReductionRules": [{"percentageAtMost": 5}]}),
                    json!({"dataStreams": ["shop"], "highlyRelevantOperations": [{"durationAtLeastMs": 5}]}),
                ],
                "s2",
                "protects nothing",
            ),
            (vec![cost(5), cost(10)], "s1", "can never decide"),
            (
                vec![
                    json!({"noisyOperations": [{"name": "drop", "operation": route("/pay")}]}),
                    json!({"highlyRelevantOperations": [{"name": "keep", "operation": route("/pay")}]}),
                    cost(5),
                ],
                "s1",
                "\"drop\" keeps at most 0 % of what \"keep\" wants to keep at 100 %",
            ),
        ] {
            let found = remarks(&specs);
            let is_named = |text: &String| {
                text.starts_with(&format!("warning Sampling/odigos-system/{object} ")) && text.contains(word)
            };
            assert!(
                found.iter().filter(|text| is_named(text)).count() == 1 && found.len() == 1,
                "{specs:?}: {found:?}"
            );
        }
    }

    #[test]
    fn rules_that_each_do_something_are_not_reported() {
        for specs in [
            vec![
                json!({"highlyRelevantOperations": [{"error": true}], "costReductionRules": [{"percentageAtMost": 10}]}),
            ],
            vec![
                json!({"dataStreams": ["a"], "costReductionRules": [{"percentageAtMost": 5}]}),
                json!({"dataStreams": ["b"], "costReductionRules": [{"percentageAtMost": 10}]}),
            ],
            vec![json!({"highlyRelevantOperations": [{"error": true, "percentageAtLeast": 50}]})],
            vec![json!({"highlyRelevantOperations": [{"error": true, "disabled": true}]})],
            vec![json!({"noisyOperations": [{"operation": route("/a")}, {"operation": route("/b")}]})],
        ] {
            assert_eq!(remarks(&specs), [] as [&str; 0], "{specs:?}");
        }
    }
}
