//! Automatic rollback: whether the agents are to blame for pods that are not well, and when a person has asked to try once more
//! (`spec/sources-and-instrumentation.md` 3.6, with its ideas; rows 45–50 of section 7).
//!
//! Clear evidence (the kubelet has given up) needs no comparison, since agents are never given to workloads whose pods fail
//! without them (3.3, step 1). Pods that are rejected at creation are judged by `creation`. Weaker evidence counts only against pods without these agents that are well. Pods of another
//! revision that are well with the very same agents acquit them. Never changes anything itself.

use super::creation::{self, CreationFailure};
use super::pods::{self, PodSeen, Trouble, TroubleKind};
use crate::agents::Reason;
use crate::configuration::Configuration;
use crate::duration;
use jiff::{SignedDuration, Timestamp};
use odigos_api::instrumentation_config::InstrumentationConfigStatus;
use odigos_api::rollout::{PodsBaseline, Rollback};
use serde_json::Value;

/// Settings of rollbacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Nothing is rolled back.
    pub is_disabled: bool,
    /// How long pods may be unwell.
    pub grace: SignedDuration,
    /// How long after a rollout pods are held against the agents. One that is shorter than the grace means that nothing is ever
    /// rolled back (row 47); it is reported.
    pub window: SignedDuration,
}

/// Used where the configuration states none, or one that cannot be read.
const GRACE: SignedDuration = SignedDuration::from_mins(5);
const WINDOW: SignedDuration = SignedDuration::from_hours(1);

impl Default for Options {
    fn default() -> Self {
        Self { is_disabled: false, grace: GRACE, window: WINDOW }
    }
}

impl Options {
    /// Reads them.
    #[must_use]
    pub fn of(configuration: &Configuration) -> Self {
        Self {
            is_disabled: configuration.flag("rollbackDisabled").unwrap_or_default(),
            grace: stated(configuration, "rollbackGraceTime").ok().flatten().unwrap_or(GRACE),
            window: stated(configuration, "rollbackStabilityWindow").ok().flatten().unwrap_or(WINDOW),
        }
    }
}

/// A duration of the configuration; `None` when it is not stated.
///
/// # Errors
/// What stands there instead of a duration.
pub(super) fn stated(configuration: &Configuration, path: &str) -> Result<Option<SignedDuration>, String> {
    match configuration.get(path) {
        None => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => duration::milliseconds(text)
            .map(|amount| Some(SignedDuration::from_millis(amount)))
            .ok_or_else(|| text.clone()),
        Some(other) => Err(other.to_string()),
    }
}

/// What people should know about these settings: paths, and what is wrong with them.
#[must_use]
pub fn problems(configuration: &Configuration) -> Vec<(&'static str, String)> {
    let read = |path: &'static str, default: &str| {
        let text = stated(configuration, path).err()?;
        Some((path, format!("{text} is not a duration such as \"90s\" or \"5m\"; {default} is used")))
    };
    let mut problems: Vec<_> =
        [read("rollbackGraceTime", "5m"), read("rollbackStabilityWindow", "1h")].into_iter().flatten().collect();
    let options = Options::of(configuration);
    if options.window <= options.grace && !options.is_disabled {
        let message = "it is not longer than rollbackGraceTime, so nothing is ever rolled back".to_owned();
        problems.push(("rollbackStabilityWindow", message));
    }
    problems
}

/// What the judgement looks at.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The workload's pods.
    pub pods: &'a [PodSeen],
    /// Hash of the agents that they shall have.
    pub wanted: &'a str,
    /// How they were before.
    pub baseline: Option<&'a PodsBaseline>,
    /// Its controller fails to create pods.
    pub creation_failure: Option<&'a CreationFailure>,
    /// Since when agents are held to account; `None` when no pod has them.
    pub since: Option<Timestamp>,
    /// While only one pod has them, pods that crash are given this long instead of the grace: the others serve meanwhile.
    pub canary: Option<SignedDuration>,
    /// Settings.
    pub options: Options,
    /// The time.
    pub now: Timestamp,
}

/// The judgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is held against the agents.
    Well,
    /// Something is, and is looked at again after this time.
    Wait(SignedDuration),
    /// Pods fail for another reason, stated here.
    Acquitted(String),
    /// The agents go.
    RollBack(Cause),
}

/// Why agents go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The word of the API.
    pub reason: Reason,
    /// What was seen, for people.
    pub message: String,
}

/// Judges.
#[must_use]
pub fn judge(case: &Case<'_>) -> Verdict {
    let Some(since) = case.since.filter(|_| !case.options.is_disabled) else { return Verdict::Well };
    if case.now.duration_since(since) >= case.options.window {
        return Verdict::Well;
    }
    match (creation::judge(case, since), judge_pods(case)) {
        (None, verdict) | (Some(_), verdict @ Verdict::RollBack(_)) => verdict,
        (Some(Verdict::Wait(left)), Verdict::Wait(other)) => Verdict::Wait(left.min(other)),
        (Some(verdict), _) => verdict,
    }
}

/// Judges only whether pods can be created, for kinds whose pods say nothing of the agents by how they end.
#[must_use]
pub fn judge_creation(case: &Case<'_>) -> Verdict {
    let since = case.since.filter(|_| !case.options.is_disabled);
    let since = since.filter(|since| case.now.duration_since(*since) < case.options.window);
    since.and_then(|since| creation::judge(case, since)).unwrap_or(Verdict::Well)
}

/// Judges by the pods that exist.
fn judge_pods(case: &Case<'_>) -> Verdict {
    let mut troubled = troubled(case);
    troubled.sort_by(|one, other| {
        (one.1.kind, one.1.since, &one.0.name).cmp(&(other.1.kind, other.1.since, &other.0.name))
    });
    let Some((_, worst)) = troubled.first() else { return Verdict::Well };
    if let Some(other) = well_in_another_revision(case, &troubled) {
        let message = format!(
            "Pods fail ({}), but not for their agents: pod {} of another revision is well with the same ones.",
            worst.evidence, other.name
        );
        return Verdict::Acquitted(message);
    }
    let grace = match (case.canary, worst.kind) {
        (Some(short), TroubleKind::Backoff | TroubleKind::Crashing) => short.min(case.options.grace),
        // Some applications take long to start, and an agent makes them a little slower.
        (_, TroubleKind::Unready) => case.options.grace.saturating_mul(2),
        _ => case.options.grace,
    };
    let begun = troubled.iter().map(|(_, trouble)| trouble.since).min().unwrap_or(case.now);
    let left = grace.saturating_sub(case.now.duration_since(begun));
    if left > SignedDuration::ZERO {
        return Verdict::Wait(left);
    }
    Verdict::RollBack(Cause { reason: worst.kind.reason(), message: format!("{}.", worst.evidence) })
}

/// Pods with agents whose state may be held against these.
fn troubled<'a>(case: &Case<'a>) -> Vec<(&'a PodSeen, Trouble)> {
    let standing = || case.pods.iter().filter(|pod| !pod.is_going);
    let (is_any_ready, others) =
        (standing().any(|pod| pod.hash.is_some() && pod.is_ready), standing().filter(|pod| pod.hash.is_none()));
    let before = case.baseline.cloned().unwrap_or_default();
    let others_are_well = before.ready_pods > 0 || others.clone().any(|pod| pod.is_ready);
    let others_fail = before.crashed_pods > 0 || others.clone().any(|pod| pod.has_failed(case.now));
    standing()
        .filter(|pod| pod.hash.is_some())
        .filter_map(|pod| Some((pod, pod.trouble(case.now)?)))
        .filter(|(pod, trouble)| match trouble.kind {
            TroubleKind::Backoff | TroubleKind::Image => true,
            TroubleKind::Crashing => others_are_well && !others_fail,
            TroubleKind::Unready => others_are_well && !is_any_ready && !pod.waits_for_room(),
        })
        .collect()
}

/// A pod that is well with the same agents as the troubled ones although it was made from another pod template.
fn well_in_another_revision<'a>(case: &Case<'a>, troubled: &[(&PodSeen, Trouble)]) -> Option<&'a PodSeen> {
    case.pods.iter().filter(|pod| !pod.is_going && pod.is_ready && pod.trouble(case.now).is_none()).find(|pod| {
        let differs = |other: &PodSeen| pod.hash == other.hash && pod.revision != other.revision;
        !pod.revision.is_empty() && pod.hash.is_some() && troubled.iter().all(|(other, _)| differs(other))
    })
}

/// The rollback that a cause leads to. `pods_only`: the workload was not restarted for these agents.
#[must_use]
pub fn decided(cause: Cause, agents_meta_hash: &str, recovery: &str, pods_only: bool, now: Timestamp) -> Rollback {
    Rollback {
        time: Some(pods::stamp(now)),
        reason: cause.reason.as_str().to_owned(),
        message: cause.message,
        agents_meta_hash: agents_meta_hash.to_owned(),
        recovery: recovery.to_owned(),
        pods_only,
    }
}

/// Whether a rollback stands and a person has asked since then to try once more. `processed` is the annotation that another
/// implementation left, where the status does not tell what was known at the time of the rollback.
#[must_use]
pub fn is_recovery_due(
    status: Option<&InstrumentationConfigStatus>,
    recovery: Option<&str>,
    processed: Option<&str>,
) -> bool {
    let Some(status) = status.filter(|status| status.rollback_occurred == Some(true)) else { return false };
    let known = status.rollback.as_ref().map_or(processed.unwrap_or_default(), |rollback| rollback.recovery.as_str());
    recovery.is_some_and(|recovery| !recovery.is_empty() && recovery != known)
}

#[cfg(test)]
mod tests;
