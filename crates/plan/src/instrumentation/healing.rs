//! Pods that were created while the webhook was away, or by one that did not know the last decision yet: they lack their agents
//! although the rollout is finished (`spec/sources-and-instrumentation.md` 3.8 row 10, 5.1;
//! row 57 of section 7).
//!
//! They are replaced one at a time, while all others are ready. Only pods from before the first replacement are, so that a webhook
//! that stays away is not fought, but for one attempt in an hour. Pods whose controller would not put the same revision in their place are left alone.

use super::pods::PodSeen;
use super::progress::Progress;
use jiff::{SignedDuration, Timestamp};
use odigos_api::WorkloadKind;

/// When mending begins anew where those that took their place lack their agents too. Each time costs a restart.
const TRY_AGAIN_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Kind of the workload.
    pub kind: WorkloadKind,
    /// Its pods.
    pub pods: &'a [PodSeen],
    /// Hash of the agents that they shall have.
    pub wanted: &'a str,
    /// What its object says.
    pub progress: &'a Progress,
    /// Begin of the healing that goes on.
    pub since: Option<Timestamp>,
    /// The time.
    pub now: Timestamp,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Pods that lack agents stay as they are, for this reason.
    Leave(&'static str),
    /// Others are waited for.
    Wait,
    /// This pod is replaced.
    Evict(&'a PodSeen),
    /// No pod can be spared, so all are made anew by a rolling update.
    Restart,
}

/// Whether mending that began then, and did not help, is tried again: admission may have been away all the time.
#[must_use]
pub fn is_tried_again(since: Timestamp, now: Timestamp) -> bool {
    now.duration_since(since) >= TRY_AGAIN_AFTER
}

/// Decides about a workload some of whose pods lack their agents.
#[must_use]
pub fn step<'a>(case: &Case<'a>) -> Step<'a> {
    if matches!(case.kind, WorkloadKind::CronJob | WorkloadKind::Job | WorkloadKind::StaticPod) {
        return Step::Leave("nothing makes them anew");
    }
    if !case.progress.replaces_pods {
        return Step::Leave("its update strategy leaves replacing pods to you");
    }
    let mut revisions = case.pods.iter().filter(|pod| !pod.is_going).map(|pod| pod.revision.as_str());
    let first = revisions.next();
    if revisions.any(|one| Some(one) != first) {
        // A rollout that is stuck: what lacks agents is what still serves.
        return Step::Leave("pods of another revision have not gone yet");
    }
    let since = case.since.unwrap_or(case.now);
    let missed = || case.pods.iter().filter(|pod| !pod.is_going && pod.hash.as_deref() != Some(case.wanted));
    let old = || missed().filter(|pod| pod.created.is_none_or(|created| created <= since));
    let Some(next) = old().min_by(|one, other| (one.created, &one.name).cmp(&(other.created, &other.name))) else {
        return Step::Leave("those that took their place lack agents too; see whether the webhook can be reached");
    };
    if case.pods.iter().any(|pod| pod.is_going) {
        return Step::Wait;
    }
    if case.kind == WorkloadKind::Deployment && !case.progress.spares_a_pod {
        // One restart for all; those that stay are waited for.
        return if case.since.is_some() { Step::Wait } else { Step::Restart };
    }
    // A pod that is not ready itself may go: nothing is lost with it.
    let others_are_ready = case.pods.iter().filter(|pod| pod.name != next.name).all(|pod| pod.is_ready);
    if others_are_ready { Step::Evict(next) } else { Step::Wait }
}

#[cfg(test)]
mod tests;
