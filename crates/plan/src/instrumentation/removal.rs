//! Taking agents out after a rollback: the workload is restarted, or only the pods with agents are replaced where it never was
//! restarted for them (`spec/sources-and-instrumentation.md` 3.6; row 45 of section 7).
//!
//! Waits for no place and no other rollout, since the one that goes on may be the one that fails.

use super::pods::PodSeen;
use super::rollout::{Facts, Move, Purpose, Seen};
use odigos_api::WorkloadKind;
use odigos_api::condition::kind::WORKLOAD_ROLLOUT;
use odigos_api::instrumentation_config::InstrumentationConfig;

/// Reason of a rollout that is done.
const FINISHED: &str = "RolloutFinished";

/// Decides about a rolled back workload whose agents are decided off.
pub(super) fn next<'a>(seen: &Seen<'a>, facts: &Facts<'a>) -> Move<'a> {
    let cause = facts.rollback.map(|rollback| rollback.message.as_str()).unwrap_or_default();
    let stamp = seen.config.spec.agents_meta_hash_changed_time.as_ref().map_or(seen.now, |time| time.0);
    let restarted = seen.progress.restarted_at.parse::<jiff::Timestamp>();
    let is_restarted = restarted.is_ok_and(|restarted| restarted.as_second() >= stamp.as_second());
    let with: Vec<&PodSeen> = seen.pods.iter().filter(|pod| !pod.is_going && pod.hash.is_some()).collect();
    let pods_only = facts.rollback.is_some_and(|rollback| rollback.pods_only);
    // Controllers wait longer after each failure, up to a quarter of an hour; a changed template makes them try at once.
    let is_rejected = seen.progress.creation_failure.is_some() && !pods_only && !is_restarted;
    if with.is_empty() && is_rejected && !seen.options.is_disabled && !seen.progress.is_paused {
        return Move::Restart(stamp, format!("The agents are taken out again: {cause}").trim_end().to_owned());
    }
    // The pods without agents that take over may not be there yet. A rollout that somebody began after it was finished is another one.
    if with.is_empty() && is_restarted && seen.progress.is_ongoing && !is_said_to_be_finished(seen.config) {
        return Move::GoOn(format!("The agents are taken out again: {cause}").trim_end().to_owned(), None);
    }
    if with.is_empty() {
        let message = format!("The agents were taken out: {cause}");
        return Move::Say(true, FINISHED, message.trim_end().to_owned());
    }
    let message = format!("The agents are taken out again: {cause}").trim_end().to_owned();
    let failing = with.iter().copied().find(|pod| pod.trouble(seen.now).is_some());
    let is_calm = !seen.pods.iter().any(|pod| pod.is_going);
    if seen.options.is_disabled {
        // Nothing is restarted, but what fails is replaced all the same.
        return match failing {
            Some(pod) => Move::Evict(pod, Purpose::Removal, message),
            None => Move::Say(true, "Disabled", format!("{message} Restart it to take them out of all pods.")),
        };
    }
    if pods_only {
        // One that fails serves nobody; the others go one by one, while all are ready.
        let others = || with.first().copied().filter(|_| is_calm && seen.pods.iter().all(|pod| pod.is_ready));
        return match failing.or_else(others) {
            Some(pod) => Move::Evict(pod, Purpose::Removal, message),
            None => Move::GoOn(message, None),
        };
    }
    if is_restarted {
        // A StatefulSet waits for its failing pod even after its template was mended.
        let stuck = failing.filter(|_| seen.kind == WorkloadKind::StatefulSet && is_calm);
        return match stuck {
            Some(pod) => Move::Evict(pod, Purpose::Removal, message),
            None => Move::GoOn(message, None),
        };
    }
    if seen.progress.is_paused {
        let message = format!("{message} Rollouts of it are paused; it goes on as soon as it is resumed.");
        return Move::Say(false, "FailedToPatch", message);
    }
    Move::Restart(stamp, message)
}

/// Whether the last thing that was said of its rollouts is that all is done.
fn is_said_to_be_finished(config: &InstrumentationConfig) -> bool {
    let conditions = config.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|one| one.type_ == WORKLOAD_ROLLOUT && one.reason == FINISHED)
}
