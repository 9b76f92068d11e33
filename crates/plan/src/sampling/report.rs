//! Conditions of Sampling objects (`spec/sampling.md` 9.9): whether the rules are understood, in force, and applied.

use super::accept::{Accepted, ObjectFacts};
use super::compile::CONDITION_LIMIT;
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

/// The conditions of every object, by name. `rolled_out` says whether every gateway runs what is rendered.
#[must_use]
pub fn conditions(
    accepted: &Accepted,
    mode: Mode,
    conditions: usize,
    to_agents: bool,
    rolled_out: bool,
) -> BTreeMap<String, Vec<ConditionDraft>> {
    let mut all = BTreeMap::new();
    for (name, facts) in &accepted.objects {
        let active = active(facts, mode, to_agents);
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
    if facts.problems.is_empty() {
        return ConditionDraft::yes(kind::ACCEPTED, "Valid", "Every rule is usable.");
    }
    // A condition's message is limited by the API server; the first problems are enough to begin with.
    let shown: Vec<&str> = facts.problems.iter().take(20).map(String::as_str).collect();
    let more = facts.problems.len() - shown.len();
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    ConditionDraft::no(
        kind::ACCEPTED,
        "InvalidRule",
        format!("{}{more}. These rules are left out; the others stay in force.", shown.join("; ")),
    )
}

fn active(facts: &ObjectFacts, mode: Mode, to_agents: bool) -> ConditionDraft {
    let no = |reason: &str, message: &str| ConditionDraft::no(kind::ACTIVE, reason, message);
    if facts.disabled {
        return no("ObjectDisabled", "spec.disabled is true: no rule of this object takes part.");
    }
    if facts.enabled == 0 {
        return no("AllRulesDisabled", "The object has no usable rule that is enabled.");
    }
    match mode {
        Mode::Disabled => no(
            "TailSamplingDisabled",
            "sampling.tailSampling.disabled is true in the configuration: nothing is dropped.",
        ),
        Mode::KeepsEverything => {
            no("NothingToDrop", "All rules together keep every trace, so no sampler runs and no trace is delayed.")
        }
        Mode::DryRun => {
            ConditionDraft::yes(kind::ACTIVE, "DryRun", "The rules are evaluated and counted; nothing is dropped.")
        }
        Mode::Sampling if to_agents => ConditionDraft::yes(
            kind::ACTIVE,
            "CompiledToGatewayAndAgents",
            "The rules are part of the gateway configuration; noisy rules at 0 % also reach agents at their next restart.",
        ),
        Mode::Sampling => {
            ConditionDraft::yes(kind::ACTIVE, "CompiledToGateway", "The rules are part of the gateway configuration.")
        }
    }
}
