//! Places: how many rollouts go on at once, in all and in a namespace, and whose turn it is
//! (`spec/sources-and-instrumentation.md` 3.5, with its ideas; row 39 of section 7).
//!
//! Everything is read from what stands in the statuses, so that a new leader counts as the former one did. Who waits longest since
//! its agents changed is next; one that waits for its namespace does not keep others waiting. Rollbacks need no place.

use crate::configuration::Configuration;
use jiff::{SignedDuration, Timestamp};
use odigos_api::WorkloadRef;
use odigos_api::condition::kind::WORKLOAD_ROLLOUT;
use odigos_api::instrumentation_config::InstrumentationConfig;
use std::collections::BTreeMap;

/// Word of a workload whose rollout goes on.
pub const HOLDS: &str = "RolloutTriggeredSuccessfully";
/// Word of a workload that waits for its turn.
pub const WAITS: &str = "WaitingInQueue";

/// Limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most rollouts at once; `None` means any number.
    pub total: Option<usize>,
    /// Most rollouts at once in one namespace; `None` means any number.
    pub in_namespace: Option<usize>,
    /// A rollout that goes on for longer gives its place to the next.
    pub timeout: SignedDuration,
}

const TIMEOUT: SignedDuration = SignedDuration::from_mins(15);
/// Used where the configuration names no limit; 0 there means none.
const TOTAL: usize = 10;
const IN_NAMESPACE: usize = 2;

impl Default for Limits {
    fn default() -> Self {
        Self { total: Some(TOTAL), in_namespace: Some(IN_NAMESPACE), timeout: TIMEOUT }
    }
}

impl Limits {
    /// Reads them.
    #[must_use]
    pub fn of(configuration: &Configuration) -> Self {
        let limit = |path: &str, default| {
            let stated = super::options::count(configuration, path);
            Some(stated.unwrap_or(default)).filter(|limit| *limit > 0)
        };
        let timeout = super::rollback::stated(configuration, "rollout.slotTimeout").ok().flatten();
        Self {
            total: limit("rollout.maxConcurrentRollouts", TOTAL),
            in_namespace: limit("rollout.maxConcurrentRolloutsPerNamespace", IN_NAMESPACE),
            timeout: timeout.filter(|timeout| *timeout > SignedDuration::ZERO).unwrap_or(TIMEOUT),
        }
    }

    /// Whether there is any limit.
    #[must_use]
    pub const fn are_set(&self) -> bool {
        self.total.is_some() || self.in_namespace.is_some()
    }
}

/// Whether a workload has a place or waits for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its rollout goes on since then.
    Holds(Timestamp),
    /// It waits; its agents changed then.
    Waits(Timestamp),
}

/// What the object of a workload says about that.
#[must_use]
pub fn standing(config: &InstrumentationConfig) -> Option<Standing> {
    let status = config.status.as_ref()?;
    let condition = status.conditions.iter().find(|one| one.type_ == WORKLOAD_ROLLOUT)?;
    match condition.reason.as_str() {
        // What a rollback restarts takes no place.
        HOLDS if status.rollback_occurred != Some(true) => {
            let started = status.rollout.as_ref().and_then(|rollout| rollout.started_at.as_ref());
            Some(Standing::Holds(started.unwrap_or(&condition.last_transition_time).0))
        }
        WAITS => Some(Standing::Waits(changed(config))),
        _ => None,
    }
}

/// When the agents of a workload changed; the oldest is next.
#[must_use]
pub fn changed(config: &InstrumentationConfig) -> Timestamp {
    config.spec.agents_meta_hash_changed_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

/// Those whose turn it is, in their order: waiting workloads for which there is a place.
#[must_use]
pub fn next(limits: Limits, all: &BTreeMap<WorkloadRef, Standing>, now: Timestamp) -> Vec<WorkloadRef> {
    let mut total = 0_usize;
    let mut namespaces: BTreeMap<&str, usize> = BTreeMap::new();
    let mut waiting = Vec::new();
    for (workload, standing) in all {
        match standing {
            Standing::Holds(since) if now.duration_since(*since) < limits.timeout => {
                total += 1;
                *namespaces.entry(&workload.namespace).or_default() += 1;
            }
            Standing::Holds(_) => {}
            Standing::Waits(changed) => waiting.push((*changed, workload)),
        }
    }
    waiting.sort();
    let mut chosen = Vec::new();
    for (_, workload) in waiting {
        if limits.total.is_some_and(|limit| total >= limit) {
            break;
        }
        let in_namespace = namespaces.entry(&workload.namespace).or_default();
        if limits.in_namespace.is_none_or(|limit| *in_namespace < limit) {
            *in_namespace += 1;
            total += 1;
            chosen.push(workload.clone());
        }
    }
    chosen
}

/// When the next place is given up at the latest, from `now`.
#[must_use]
pub fn next_timeout(limits: Limits, all: &BTreeMap<WorkloadRef, Standing>, now: Timestamp) -> Option<SignedDuration> {
    let left = all.values().filter_map(|standing| match standing {
        Standing::Holds(since) => Some(limits.timeout.saturating_sub(now.duration_since(*since))),
        Standing::Waits(_) => None,
    });
    left.filter(|left| *left > SignedDuration::ZERO).min()
}

#[cfg(test)]
mod tests;
