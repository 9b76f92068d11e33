//! Conditions of Sampling objects (`spec/sampling.md` 9.9): whether the rules are understood, in force, and applied.

use super::accept::{Accepted, ObjectFacts};
use super::buffering;
use super::compile::CONDITION_LIMIT;
use super::rule::Rule;
use odigos_api::condition::ConditionDraft;
use std::collections::BTreeMap;

/// Condition types of Sampling objects.
pub mod kind {
    /// Whether every rule of the object is usable.
    pub const ACCEPTED: &str = "Accepted";
    /// Whether rules of the object take part in decisions.
    pub const ACTIVE: &str = "Active";
    /// Whether every gateway runs the configuration with them.
    pub const APPLIED: &str = "GatewayConfigApplied";
    /// Whether the rules cost more than is reasonable.
    pub const DEGRADED: &str = "Degraded";
}

/// What the gateway does with the rules as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Tail sampling is switched off for the cluster.
    Disabled,
    /// Nothing would ever be dropped, so no sampler runs.
    KeepsEverything,
    /// Samplers run.
    Sampling,
    /// Samplers run beside the pipelines, and nothing is dropped.
    DryRun,
}

/// What became of the rules in gateways and agents.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// What the gateway does with them.
    pub mode: Mode,
    /// Conditions that they compile to, all samplers together.
    pub conditions: usize,
    /// How long a trace is held back, e.g. `30s`.
    pub wait: &'a str,
    /// Whether every gateway runs what is rendered.
    pub rolled_out: bool,
}

/// The conditions of every object, by name.
#[must_use]
pub fn conditions(accepted: &Accepted, outcome: &Outcome<'_>) -> BTreeMap<String, Vec<ConditionDraft>> {
    let Outcome { conditions, rolled_out, .. } = *outcome;
    let holding = buffering::rules(accepted);
    let mut all = BTreeMap::new();
    for (name, facts) in &accepted.objects {
        let active = active(name, facts, outcome, &holding);
        let in_force = matches!(active.status, odigos_api::condition::Status::True);
        let mut drafts = vec![accepted_condition(facts), active];
        drafts.push(match (in_force, rolled_out) {
            (false, _) => {
                ConditionDraft::no(kind::APPLIED, "NotActive", "No rule of this object is part of a configuration.")
            }
            (true, true) => {
                ConditionDraft::yes(kind::APPLIED, "Applied", "Every gateway runs the configuration with these rules.")
            }
            (true, false) => ConditionDraft::no(
                kind::APPLIED,
                "RollingOut",
                "The configuration with these rules is being rolled out.",
            ),
        });
        drafts.push(if in_force && conditions > CONDITION_LIMIT {
            let cost = conditions / 2;
            ConditionDraft::yes(
                kind::DEGRADED,
                "TooManyConditions",
                format!("All rules together compile to {conditions} conditions, more than {CONDITION_LIMIT}: about {cost} µs for each span. Join rules, or scope them by namespace instead of by workload."),
            )
        } else {
            ConditionDraft::no(kind::DEGRADED, "WithinLimits", "The rules compile to a reasonable number of conditions.")
        });
        all.insert(name.clone(), drafts);
    }
    all
}

fn accepted_condition(facts: &ObjectFacts) -> ConditionDraft {
    let remarks = match facts.remarks.as_slice() {
        [] => String::new(),
        remarks => format!(" Check: {}.", first_of(remarks)),
    };
    if let Some(message) = &facts.left_out {
        return ConditionDraft::no(kind::ACCEPTED, "TooLarge", format!("{message}. No rule of this object is used."));
    }
    if facts.problems.is_empty() {
        let size = facts.rendered / 1024;
        let size =
            if size > 0 { format!(" They come to {size} KiB of a gateway's configuration.") } else { String::new() };
        return ConditionDraft::yes(kind::ACCEPTED, "Valid", format!("Every rule is usable.{size}{remarks}"));
    }
    ConditionDraft::no(
        kind::ACCEPTED,
        "InvalidRule",
        format!("{}. These rules are left out; the others stay in force.{remarks}", first_of(&facts.problems)),
    )
}

/// The first of some messages: a condition's message is limited by the API server, and these are enough to begin with.
fn first_of(messages: &[String]) -> String {
    let shown: Vec<&str> = messages.iter().take(20).map(String::as_str).collect();
    let more = messages.len() - shown.len();
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("{}{more}", shown.join("; "))
}

/// What the rules of an object cost that need whole traces; empty where it has none.
fn cost(name: &str, outcome: &Outcome<'_>, holding: &[&Rule]) -> String {
    let of_object = holding.iter().any(|rule| rule.origin.object == name);
    match buffering::sentence(holding, outcome.mode, outcome.wait).filter(|_| of_object) {
        Some(sentence) => format!(" {sentence}"),
        None => String::new(),
    }
}

fn active(name: &str, facts: &ObjectFacts, outcome: &Outcome<'_>, holding: &[&Rule]) -> ConditionDraft {
    let cost = cost(name, outcome, holding);
    let yes = |reason: &str, message: &str| ConditionDraft::yes(kind::ACTIVE, reason, format!("{message}{cost}"));
    let no = |reason: &str, message: &str| ConditionDraft::no(kind::ACTIVE, reason, message);
    if facts.disabled {
        return no("ObjectDisabled", "spec.disabled is true: no rule of this object takes part.");
    }
    if facts.left_out.is_some() {
        return no("TooLarge", "Gateways have no room for the rules of this object.");
    }
    if facts.enabled == 0 {
        return no("AllRulesDisabled", "The object has no usable rule that is enabled.");
    }
    match outcome.mode {
        Mode::Disabled => no(
            "TailSamplingDisabled",
            "sampling.tailSampling.disabled is true in the configuration: nothing is dropped.",
        ),
        Mode::KeepsEverything => {
            no("NothingToDrop", "All rules together keep every trace, so no sampler runs and no trace is delayed.")
        }
        Mode::DryRun => yes("DryRun", "The rules are evaluated and counted; nothing is dropped."),
        Mode::Sampling => yes("CompiledToGateway", "The rules are part of the gateway configuration."),
    }
}
