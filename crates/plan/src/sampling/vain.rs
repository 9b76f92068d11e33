//! Rules that change nothing beside others, and pairs of rules that contradict each other, as remarks on their objects.
//!
//! Owns which of what `explain` finds is reported in conditions and findings, over all objects: a rule that can never decide, one that
//! protects what nothing would drop, and who wins where two disagree. Never decides about traces, and compares rules, never traffic.

use super::accept::Accepted;
use super::explain::{contradiction, shadowing};
use super::neighbours::Neighbours;
use super::rule::{Category, Percentage, Rule};
use odigos_api::Finding;
use std::collections::BTreeSet;

/// Contradictions of one rule that are told; of further ones, how many there are.
const MOST_TOLD: usize = 3;

impl Accepted {
    /// Remarks on enabled rules of objects that are in vain beside others. Rules of health probes come later, and are exact.
    pub fn remark_vain(&mut self) {
        let enabled: Vec<&Rule> = self.enabled().collect();
        let mut remarks: Vec<(String, String, String)> = Vec::new();
        let (neighbours, droppers) = (Neighbours::of(&enabled), Droppers::of(&enabled));
        for (position, rule) in enabled.iter().enumerate() {
            if !self.objects.contains_key(&rule.origin.object) {
                continue;
            }
            let field = format!("spec.{}[{}]", rule.category.field(), rule.origin.index);
            let others: Vec<(usize, &Rule)> = neighbours
                .around(rule, position)
                .into_iter()
                .filter_map(|other| Some((other, *enabled.get(other)?)))
                .collect();
            let shadowed = others
                .iter()
                .filter(|(_, stronger)| is_wherever(stronger, rule))
                .find_map(|(other, stronger)| shadowing(rule, position, stronger, *other));
            let is_shadowed = shadowed.is_some();
            let mut report = |message| remarks.push((rule.origin.object.clone(), field.clone(), message));
            if let Some(message) = shadowed {
                report(message);
            } else if droppers.leave_nothing_to_protect(rule) {
                report("it protects nothing: no enabled rule would drop a trace of its data streams".to_owned());
            }
            // Of two rules that contradict, the one that loses is told; one that is shadowed has been.
            let losing = others.iter().filter(|(_, winner)| meet(rule, winner)).filter_map(|(_, winner)| {
                let loses = (winner.category, rule.category);
                let is_later = match loses {
                    (a, b) if a == b => winner.percentage != rule.percentage && wins(winner, rule),
                    (a, b) => a < b,
                };
                (is_later && !is_shadowed).then(|| contradiction(winner, rule)).flatten()
            });
            let losing: Vec<String> = losing.collect();
            let further = losing.len().saturating_sub(MOST_TOLD);
            losing.into_iter().take(MOST_TOLD).for_each(&mut report);
            if further > 0 {
                report(format!("it loses to {further} more rules in the same way"));
            }
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

/// Where rules may drop what a highly relevant one keeps: only cost rules can, and other highly relevant ones below 100 %.
#[derive(Default)]
struct Droppers<'a> {
    /// In every data stream.
    is_everywhere: bool,
    /// In these.
    streams: BTreeSet<&'a str>,
}

impl<'a> Droppers<'a> {
    fn of(enabled: &[&'a Rule]) -> Self {
        let may_drop = |rule: &&&Rule| rule.category != Category::Noisy && rule.percentage < Percentage::HUNDRED;
        let mut droppers = Self::default();
        for rule in enabled.iter().filter(may_drop) {
            droppers.is_everywhere |= rule.streams.is_empty();
            droppers.streams.extend(rule.streams.iter().map(String::as_str));
        }
        droppers
    }

    /// Whether a highly relevant rule keeps what would be kept without it.
    fn leave_nothing_to_protect(&self, rule: &Rule) -> bool {
        let meets = self.is_everywhere
            || rule.streams.is_empty() && !self.streams.is_empty()
            || rule.streams.iter().any(|stream| self.streams.contains(stream.as_str()));
        rule.category == Category::HighlyRelevant && rule.percentage == Percentage::HUNDRED && !meets
    }
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

    #[test]
    fn rule_that_is_in_vain_is_reported_beside_hundreds() {
        let path = |n: usize| json!({"name": format!("n{n}"), "operation": route(&format!("/api/{n}"))});
        let mut noisy: Vec<Value> = (0..400).map(path).collect();
        noisy.push(json!({"name": "again", "operation": route("/api/7")}));
        let kept: Vec<Value> =
            (0..100).map(|n| json!({"name": format!("k{n}"), "operation": route(&format!("/pay/{n}"))})).collect();
        let cost = json!({"costReductionRules": [{"percentageAtMost": 10}, {"name": "late", "percentageAtMost": 60}]});
        let found = remarks(&[json!({"noisyOperations": noisy}), json!({"highlyRelevantOperations": kept}), cost]);
        let [again, late] = found.as_slice() else { panic!("{} remarks: {:?}", found.len(), found.first()) };
        assert!(again.contains("noisyOperations[400]: \"again\" can never decide"), "{again}");
        assert!(late.contains("costReductionRules[1]: \"late\" can never decide"), "{late}");
    }

    #[test]
    fn rule_that_loses_to_many_names_the_first_of_them() {
        let slow = |ms: usize| json!({"durationAtLeastMs": ms, "percentageAtLeast": 20});
        let specs = [
            json!({"highlyRelevantOperations": (1..=9).map(slow).collect::<Vec<_>>()}),
            json!({"costReductionRules": [{"name": "half", "percentageAtMost": 50}]}),
        ];
        let found: Vec<String> =
            remarks(&specs).into_iter().filter(|text| text.contains("costReductionRules[0]")).collect();
        assert_eq!(found.len(), super::MOST_TOLD + 1, "{found:?}");
        assert!(found.iter().any(|text| text.ends_with("it loses to 6 more rules in the same way")), "{found:?}");
    }
}
