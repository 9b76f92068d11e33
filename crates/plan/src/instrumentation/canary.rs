//! The first pod: before a Deployment is restarted, one of its pods is replaced, gets the new agents, and is watched for a short
//! time. Ours (`spec/sources-and-instrumentation.md` 6: "canary one pod first").
//!
//! Only where the Deployment's own strategy lets a pod be away; where it does not, the first pod of the rolling update is made beside
//! the old ones anyway, and none of them goes before it is ready. Whether the first pod fails is judged by `rollback`.

use super::pods::PodSeen;
use super::progress::Progress;
use jiff::{SignedDuration, Timestamp};
use odigos_api::WorkloadKind;
use odigos_api::rollout::{Canary, RolloutProgress};

/// It was ready for long enough.
pub const PASSED: &str = "Passed";
/// The pod that it should replace may not be evicted.
pub const REFUSED: &str = "Refused";
/// It came without agents.
pub const MISSED: &str = "Missed";

/// How long its replacement may need to come into being.
const CREATION: SignedDuration = SignedDuration::from_secs(60);

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Kind of the workload.
    pub kind: WorkloadKind,
    /// Its pods.
    pub pods: &'a [PodSeen],
    /// What its object says.
    pub progress: &'a Progress,
    /// The agents that it shall have.
    pub wanted: &'a str,
    /// What was remembered.
    pub record: Option<&'a RolloutProgress>,
    /// For how long the pod must be ready; zero for no such pod.
    pub time: SignedDuration,
    /// The time.
    pub now: Timestamp,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The workload is restarted without one.
    None,
    /// This pod is replaced.
    Begin(&'a PodSeen),
    /// It is watched, and looked at again after this time.
    Watch(SignedDuration),
    /// The workload is restarted; with the result that is remembered.
    Done(&'static str),
}

/// The remembered canary of these agents.
fn remembered<'a>(case: &Case<'a>) -> Option<&'a Canary> {
    case.record.filter(|record| record.agents_meta_hash == case.wanted)?.canary.as_ref()
}

/// Whether one is being watched.
#[must_use]
pub fn is_watched(record: Option<&RolloutProgress>, wanted: &str) -> bool {
    record.is_some_and(|record| {
        record.agents_meta_hash == wanted && record.canary.as_ref().is_some_and(|canary| canary.result.is_empty())
    })
}

/// Decides.
#[must_use]
pub fn step<'a>(case: &Case<'a>) -> Step<'a> {
    let record = remembered(case);
    if case.time <= SignedDuration::ZERO
        || case.kind != WorkloadKind::Deployment
        || record.is_some_and(|canary| !canary.result.is_empty())
    {
        return Step::None;
    }
    let standing = || case.pods.iter().filter(|pod| !pod.is_going);
    let with = || standing().filter(|pod| pod.hash.as_deref() == Some(case.wanted));
    if with().next().is_some() {
        if record.is_none() && !case.progress.spares_a_pod {
            return Step::None;
        }
        let left = with().filter(|pod| pod.is_ready).map(|pod| {
            let since = pod.ready_changed.or(pod.created).unwrap_or(case.now);
            case.time.saturating_sub(case.now.duration_since(since))
        });
        return match left.min() {
            Some(left) if left <= SignedDuration::ZERO => Step::Done(PASSED),
            Some(left) => Step::Watch(left),
            None => Step::Watch(CREATION),
        };
    }
    if let Some(canary) = record {
        if let Some(pod) = standing().find(|pod| pod.name == canary.replaces) {
            return Step::Begin(pod);
        }
        let evicted = canary.evicted_at.as_ref().map_or(case.now, |time| time.0);
        let left = CREATION.saturating_sub(case.now.duration_since(evicted));
        return if left > SignedDuration::ZERO { Step::Watch(left) } else { Step::Done(MISSED) };
    }
    let count = standing().count();
    let are_all_there = i64::try_from(count).is_ok_and(|count| count >= case.progress.replicas);
    let is_calm = count == case.pods.len() && standing().all(|pod| pod.is_ready);
    if !case.progress.spares_a_pod || count < 2 || !are_all_there || !is_calm {
        return Step::None;
    }
    // The youngest has the least to lose.
    standing()
        .max_by(|one, other| (one.created, &one.name).cmp(&(other.created, &other.name)))
        .map_or(Step::None, Step::Begin)
}

#[cfg(test)]
mod tests;
