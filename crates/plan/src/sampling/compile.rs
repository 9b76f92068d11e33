//! Rules as policies of the stock `tail_sampling` processor: normal form A of `spec/sampling.md` 9.4, exact by the theorem
//! there, and the forms around it: per-rule policies for attribution (9.6), the complement for marks (9.7).
//!
//! Form A expresses everything that can be accepted, so neither form B nor the salted gate is ever rendered.

use super::explain;
use super::gate::{self, Gate};
use super::predicate;
use super::rule::{Category, Percentage, Rule};
use odigos_pipeline::ottl::Condition;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// More rules than this share their policies, since every policy is one more pass over the spans (9.6).
pub const PER_RULE_LIMIT: usize = 20;
/// More conditions than this are reported as costly (9.9).
pub const CONDITION_LIMIT: usize = 500;

/// How policies are cut; the decision is the same in every form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// At most four policies.
    Shared,
    /// Those, and one that tells what a cost reduction rule kept, so that every category can be told.
    ByCategory,
    /// One for each rule, so that the deciding rule can be told.
    ByRule,
}

/// What a policy's answer says about a trace that was kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Category of the deciding rule.
    pub category: Category,
    /// Id, name and percentage of the deciding rule, where the policy is of one rule.
    pub rule: Option<(String, String, Percentage)>,
}

/// Compiled rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compiled {
    /// Policies in order; empty when the decision is always "keep".
    pub policies: Vec<Value>,
    /// What the policies tell, by policy name.
    pub told: BTreeMap<String, Told>,
    /// Conditions in all policies together.
    pub conditions: usize,
}

/// The lists of form A.
struct Lists<'a> {
    noisy: Vec<&'a Rule>,
    relevant: Vec<&'a Rule>,
    costly: Vec<&'a Rule>,
}

impl<'a> Lists<'a> {
    fn of(rules: &[&'a Rule]) -> Self {
        let of = |category: Category| {
            let mut list: Vec<&Rule> = rules.iter().copied().filter(|r| r.enabled && r.category == category).collect();
            list.sort_by(|a, b| a.order().cmp(&b.order()));
            list
        };
        Self { noisy: of(Category::Noisy), relevant: of(Category::HighlyRelevant), costly: of(Category::CostReduction) }
    }

    /// Conditions of D: a noisy rule matches and the id does not pass it.
    fn dropped(&self) -> Vec<String> {
        texts(self.noisy.iter().filter_map(|rule| predicate::condition(rule, gate::fail(rule.percentage))))
    }

    /// Conditions of N: a noisy rule matches, of which something is kept.
    fn noisy_kept(&self) -> Vec<String> {
        let some = self.noisy.iter().filter(|rule| rule.percentage > Percentage::ZERO);
        texts(some.map(|rule| predicate::matches(rule)))
    }

    /// Conditions of H: a highly relevant rule matches and the id passes it.
    fn relevant_kept(&self) -> Vec<String> {
        texts(self.relevant.iter().filter_map(|rule| predicate::condition(rule, gate::pass(rule.percentage))))
    }

    fn relevant_matched(&self) -> Vec<String> {
        texts(self.relevant.iter().map(|rule| predicate::matches(rule)))
    }

    fn noisy_matched(&self) -> Vec<String> {
        texts(self.noisy.iter().map(|rule| predicate::matches(rule)))
    }

    /// A cost reduction rule matches and the id does not pass it.
    fn costly_failed(&self) -> Vec<String> {
        texts(self.costly.iter().filter_map(|rule| predicate::condition(rule, gate::fail(rule.percentage))))
    }

    /// Conditions of F: what keeps a trace from being kept by nothing.
    fn blocked(&self) -> Vec<String> {
        let mut all = self.relevant_matched();
        all.extend(self.costly_failed());
        all
    }
}

fn texts(conditions: impl Iterator<Item = Condition>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    conditions.map(|condition| condition.to_string()).filter(|text| seen.insert(text.clone())).collect()
}

fn ottl(name: &str, conditions: &[String]) -> Value {
    json!({
        "name": name,
        "type": "ottl_condition",
        "ottl_condition": {"error_mode": "ignore", "span": conditions},
    })
}

fn not(name: &str, of: &str, conditions: &[String]) -> Value {
    json!({"name": name, "type": "not", "not": {"not_sub_policy": ottl(of, conditions)}})
}

fn drop_policy(name: &str, of: &str, conditions: &[String]) -> Value {
    json!({"name": name, "type": "drop", "drop": {"drop_sub_policy": [ottl(of, conditions)]}})
}

/// Compiles the enabled rules among `rules`.
#[must_use]
pub fn compile(rules: &[&Rule], form: Form) -> Compiled {
    if keeps_everything(rules) {
        return Compiled::default();
    }
    let lists = Lists::of(rules);
    let (dropped, blocked) = (lists.dropped(), lists.blocked());
    let mut out = Writer::default();
    match form {
        Form::Shared | Form::ByCategory => {
            if !dropped.is_empty() {
                out.push(drop_policy("noisy-drop", "noisy-fail", &dropped), dropped.len(), None);
            }
            let kept = [
                ("noisy-keep", lists.noisy_kept(), Category::Noisy),
                ("hr-keep", lists.relevant_kept(), Category::HighlyRelevant),
            ];
            for (name, conditions, category) in kept {
                if !conditions.is_empty() {
                    out.push(ottl(name, &conditions), conditions.len(), Some(Told { category, rule: None }));
                }
            }
            let costly = texts(lists.costly.iter().map(|rule| predicate::matches(rule)));
            if form == Form::ByCategory && !costly.is_empty() {
                let told = Told { category: Category::CostReduction, rule: None };
                let count = blocked.len() + costly.len();
                out.push(kept_although("cr-keep", &blocked, ottl("cr-match", &costly)), count, Some(told));
            }
        }
        Form::ByRule => by_rule(&lists, &blocked, &mut out),
    }
    if blocked.is_empty() {
        out.push(json!({"name": "fallthrough", "type": "always_sample"}), 0, None);
    } else {
        out.push(not("fallthrough", "blocked", &blocked), blocked.len(), None);
    }
    out.compiled
}

/// Whether the decision is "keep" whatever the trace: every rule that can decide at all keeps everything.
#[must_use]
pub fn keeps_everything(rules: &[&Rule]) -> bool {
    dropping(rules).next().is_none()
}

/// The enabled rules that can decide that a trace is dropped.
pub(super) fn dropping<'a>(rules: &[&'a Rule]) -> impl Iterator<Item = &'a Rule> + use<'a> {
    let enabled: Vec<&'a Rule> = rules.iter().copied().filter(|rule| rule.enabled).collect();
    // Comparing every pair of so many rules costs more than a sampler that might not be needed.
    let compares = enabled.len() <= CONDITION_LIMIT;
    (0..enabled.len()).filter_map(move |position| {
        let may_drop = enabled[position].percentage < Percentage::HUNDRED;
        let decides = may_drop && !(compares && explain::is_silent(&enabled, position));
        decides.then(|| enabled[position])
    })
}

/// Sampled iff nothing of `blocked` holds and `policy` is: implies F, so it never changes a decision (9.6).
fn kept_although(name: &str, blocked: &[String], policy: Value) -> Value {
    // The collector stops at the first part that says no, and most traces do not match, so the long list comes last.
    let mut parts = vec![policy];
    if !blocked.is_empty() {
        parts.push(not(&format!("{name}-free"), &format!("{name}-blocked"), blocked));
    }
    json!({"name": name, "type": "and", "and": {"and_sub_policy": parts}})
}

fn by_rule(lists: &Lists<'_>, blocked: &[String], out: &mut Writer) {
    let told =
        |rule: &Rule| Told { category: rule.category, rule: Some((rule.id.clone(), rule.title(), rule.percentage)) };
    for rule in &lists.noisy {
        if let Some(condition) = predicate::condition(rule, gate::fail(rule.percentage)) {
            let name = out.unique("noisy", rule);
            out.push(drop_policy(&name, &format!("{name}-fail"), &[condition.to_string()]), 1, None);
        }
    }
    // The lowest cap decides, so it stands first and is the one that is reported.
    for rule in lists.noisy.iter().filter(|rule| rule.percentage > Percentage::ZERO) {
        let name = out.unique("noisy-keep", rule);
        out.push(ottl(&name, &[predicate::matches(rule).to_string()]), 1, Some(told(rule)));
    }
    // The highest floor decides.
    let mut relevant = lists.relevant.clone();
    relevant.sort_by(|a, b| b.percentage.cmp(&a.percentage).then_with(|| a.order().cmp(&b.order())));
    for rule in relevant {
        if let Some(condition) = predicate::condition(rule, gate::pass(rule.percentage)) {
            let name = out.unique("hr", rule);
            out.push(ottl(&name, &[condition.to_string()]), 1, Some(told(rule)));
        }
    }
    for rule in lists.costly.iter().filter(|rule| gate::pass(rule.percentage) != Gate::Never) {
        let name = out.unique("cr", rule);
        let own = ottl(&format!("{name}-match"), &[predicate::matches(rule).to_string()]);
        out.push(kept_although(&name, blocked, own), blocked.len() + 1, Some(told(rule)));
    }
}

/// The complement of [`compile`]: keeps exactly what that drops (9.7, D2). Empty when nothing is ever dropped.
#[must_use]
pub fn complement(rules: &[&Rule]) -> Vec<Value> {
    let lists = Lists::of(rules);
    let (dropped, blocked) = (lists.dropped(), lists.blocked());
    let mut policies = Vec::new();
    if !dropped.is_empty() {
        policies.push(ottl("noisy-drop", &dropped));
    }
    if !blocked.is_empty() {
        // No noisy rule decides, no highly relevant one keeps, and something blocks.
        let mut free = lists.noisy_matched();
        free.extend(lists.relevant_kept());
        policies.push(kept_although("blocked", &free, ottl("blocking", &blocked)));
    }
    policies
}

/// One policy for each disabled rule, for a shadow instance that only counts (9.8).
#[must_use]
pub fn what_if(rules: &[&Rule]) -> Vec<Value> {
    let mut out = Writer::default();
    for rule in rules.iter().filter(|rule| !rule.enabled) {
        let name = out.unique("what-if", rule);
        out.push(ottl(&name, &[predicate::matches(rule).to_string()]), 1, None);
    }
    out.compiled.policies
}

/// The condition of each rule over one span, enabled or not, by a name that tells category and id (9.8).
#[must_use]
pub fn span_conditions(rules: &[&Rule]) -> BTreeMap<String, String> {
    let mut out = Writer::default();
    let mut conditions = BTreeMap::new();
    for rule in rules {
        let name = out.unique(rule.category.word(), rule);
        conditions.insert(name, predicate::matches(rule).to_string());
    }
    conditions
}

#[derive(Default)]
struct Writer {
    names: BTreeSet<String>,
    compiled: Compiled,
}

impl Writer {
    fn unique(&mut self, word: &str, rule: &Rule) -> String {
        let base = format!("{word}:{}", rule.id);
        let mut name = base.clone();
        let mut number = 1;
        while !self.names.insert(name.clone()) {
            number += 1;
            name = format!("{base}.{number}");
        }
        name
    }

    fn push(&mut self, policy: Value, conditions: usize, told: Option<Told>) {
        if let (Some(name), Some(told)) = (policy.get("name").and_then(Value::as_str), told) {
            self.compiled.told.insert(name.to_owned(), told);
        }
        self.compiled.policies.push(policy);
        self.compiled.conditions += conditions;
    }
}

#[cfg(test)]
mod tests {
    use super::super::scenarios::rules;
    use super::*;

    fn compiled(text: &str) -> Vec<Value> {
        let rules = rules(text);
        compile(&rules.iter().collect::<Vec<_>>(), Form::Shared).policies
    }

    fn shape(policies: &[Value]) -> Vec<String> {
        let spans = |value: &Value| {
            let list = value.pointer("/ottl_condition/span").and_then(Value::as_array).cloned().unwrap_or_default();
            list.iter()
                .map(|text| if text.to_string().contains("Substring") { "gated" } else { "plain" })
                .collect::<Vec<_>>()
                .join("+")
        };
        policies
            .iter()
            .map(|policy| {
                let inner = policy
                    .pointer("/drop/drop_sub_policy/0")
                    .or_else(|| policy.pointer("/not/not_sub_policy"))
                    .unwrap_or(policy);
                format!("{}={}", policy["name"].as_str().unwrap(), spans(inner))
            })
            .collect()
    }

    #[test]
    fn goldens_of_the_specification() {
        let slow = "{highlyRelevantOperations: [{durationAtLeastMs: 500, percentageAtLeast: 25}], costReductionRules: [{percentageAtMost: 50, operation: {httpServer: {route: /api/products, method: GET}}}]}";
        assert_eq!(shape(&compiled(slow)), ["hr-keep=gated", "fallthrough=plain+gated"]);
        let health = "{noisyOperations: [{percentageAtMost: 5, operation: {httpServer: {route: /healthz}}}], costReductionRules: [{percentageAtMost: 1}]}";
        assert_eq!(shape(&compiled(health)), ["noisy-drop=gated", "noisy-keep=plain", "fallthrough=gated"]);
        let zero = "{highlyRelevantOperations: [{error: true, percentageAtLeast: 0}]}";
        assert_eq!(shape(&compiled(zero)), ["fallthrough=plain"]);
        assert_eq!(compiled("{costReductionRules: [{percentageAtMost: 100}]}"), Vec::<Value>::new());
        let full = "{noisyOperations: [{percentageAtMost: 100, operation: {httpServer: {route: /a}}}], costReductionRules: [{percentageAtMost: 0}]}";
        assert_eq!(shape(&compiled(full)), ["noisy-keep=plain", "fallthrough=plain"]);
        let only = "{noisyOperations: [{operation: {httpServer: {route: /a}}}]}";
        let policies = compiled(only);
        assert_eq!(shape(&policies), ["noisy-drop=plain", "fallthrough="]);
        assert_eq!(policies[1]["type"], "always_sample");
    }

    #[test]
    fn names_notes_and_order_do_not_change_the_text() {
        let one = "{highlyRelevantOperations: [{name: a, error: true}, {durationAtLeastMs: 5}], costReductionRules: [{percentageAtMost: 10}]}";
        let two = "{costReductionRules: [{percentageAtMost: 10}], highlyRelevantOperations: [{durationAtLeastMs: 5}, {name: b, notes: c, error: true}]}";
        assert_eq!(compiled(one), compiled(two));
    }
}
