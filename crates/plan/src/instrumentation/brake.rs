//! The brake: when several workloads were rolled back within a short time, something is wrong with the agents themselves, and no
//! further rollout begins until a person says so or the time has gone. Ours (`spec/sources-and-instrumentation.md` 6: "pods crash
//! after enabling").
//!
//! Counts rollbacks that stand. Never stops a rollback, the removal of agents, or a rollout that goes on.

use super::rollback::stated;
use crate::configuration::Configuration;
use jiff::{SignedDuration, Timestamp};
use odigos_api::WorkloadRef;
use odigos_api::instrumentation_config::InstrumentationConfigStatus;

/// Settings of the brake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Rollbacks that close it; 0 keeps it open.
    pub rollbacks: usize,
    /// How long a rollback counts.
    pub window: SignedDuration,
    /// A person has looked at everything that was rolled back until then.
    pub released_at: Option<Timestamp>,
}

const ROLLBACKS: usize = 3;
const WINDOW: SignedDuration = SignedDuration::from_hours(1);

impl Default for Options {
    fn default() -> Self {
        Self { rollbacks: ROLLBACKS, window: WINDOW, released_at: None }
    }
}

impl Options {
    /// Reads them.
    #[must_use]
    pub fn of(configuration: &Configuration) -> Self {
        Self {
            rollbacks: super::options::count(configuration, "rollout.brakeRollbacks").unwrap_or(ROLLBACKS),
            window: stated(configuration, "rollout.brakeWindow").ok().flatten().unwrap_or(WINDOW),
            released_at: configuration.text("rollout.brakeReleasedAt").and_then(|text| text.parse().ok()),
        }
    }
}

/// A brake that is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// What those that wait are told.
    pub message: String,
    /// When it opens by itself.
    pub until: Timestamp,
    /// The last rollback; who asks for a recovery later than that knows of all of them.
    pub last: Timestamp,
}

/// When the workload of a status was rolled back, if that stands.
#[must_use]
pub fn rolled_back_at(status: &InstrumentationConfigStatus) -> Option<Timestamp> {
    let rollback = status.rollback.as_ref().filter(|_| status.rollback_occurred == Some(true))?;
    rollback.time.as_ref().map(|time| time.0)
}

/// Whether rollouts may not begin. `rollbacks` are those that stand, in any order.
#[must_use]
pub fn closed(options: Options, rollbacks: &[(WorkloadRef, Timestamp)], now: Timestamp) -> Option<Closed> {
    let counts =
        |at: Timestamp| now.duration_since(at) < options.window && options.released_at.is_none_or(|from| at > from);
    let mut counted: Vec<&(WorkloadRef, Timestamp)> = rollbacks.iter().filter(|(_, at)| counts(*at)).collect();
    counted.sort_by(|one, other| (one.1, &one.0).cmp(&(other.1, &other.0)));
    if options.rollbacks == 0 || counted.len() < options.rollbacks {
        return None;
    }
    // It opens when so many have aged that fewer than the limit are left.
    let opening = counted[counted.len() - options.rollbacks].1;
    let last = counted.last().map_or(now, |(_, at)| *at);
    let names: Vec<String> = counted.iter().take(5).map(|(workload, _)| workload.to_string()).collect();
    let more = counted.len().saturating_sub(5);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let message = format!(
        "No rollout begins, since agents were rolled back in {} workloads: {}{more}. Look at them, then set rollout.brakeReleasedAt \
         of the configuration to the present time, or annotate this Source with odigos.io/rollback-recovery.",
        counted.len(),
        names.join(", "),
    );
    let until = opening.checked_add(options.window).unwrap_or(now);
    Some(Closed { message, until, last })
}

impl Closed {
    /// Whether a recovery annotation asks for this workload in the knowledge of all these rollbacks.
    #[must_use]
    pub fn is_overruled(&self, recovery: Option<&str>) -> bool {
        recovery.and_then(|text| text.parse::<Timestamp>().ok()).is_some_and(|asked| asked > self.last)
    }
}

#[cfg(test)]
mod tests;
