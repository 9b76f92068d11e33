//! Controllers that fail to create pods: what their objects and Events say, and whether the agents are to blame.
//!
//! A quota, a LimitRange or an admission policy may reject a pod for the init container, volume or variables that agents need. Then no
//! pod with agents exists that could be judged, so the failure of its controller is the evidence. Owns how it is read and when it is
//! held against the agents; never rolls back itself (`rollback` does). Deployments, DeploymentConfigs and Argo Rollouts carry the
//! condition `ReplicaFailure`; the controllers of StatefulSets, DaemonSets and Jobs only record Events `FailedCreate`.

use super::pods::PodSeen;
use super::rollback::{Case, Cause, Verdict};
use crate::agents::Reason;
use crate::workload;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, ObjectReference};
use odigos_api::{WorkloadKind, WorkloadRef};
use serde_json::Value;

/// The reason of Events that controllers record when they fail to create a pod.
pub const FAILED_CREATE: &str = "FailedCreate";
/// The condition of Deployments and of kinds made after them.
pub const REPLICA_FAILURE: &str = "ReplicaFailure";

/// How long creations may fail before the agents go. What rejects a pod for its agents does so again at every attempt.
const GRACE: SignedDuration = SignedDuration::from_secs(60);
/// Controllers try again at least this often: their backoff ends at 1000 s.
const LONGEST_BACKOFF: SignedDuration = SignedDuration::from_mins(20);
/// How much of a message is passed on, in characters.
const LONGEST_MESSAGE: usize = 400;

/// A controller fails to create pods of its workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreationFailure {
    /// Since when.
    pub since: Timestamp,
    /// The last failed attempt that is known; `None` where the controller says that it still fails.
    pub last: Option<Timestamp>,
    /// Why, in the words of the API server, without a full stop.
    pub message: String,
}

impl CreationFailure {
    /// Reads the condition `ReplicaFailure` of a workload.
    #[must_use]
    pub fn of_conditions(object: &Value) -> Option<Self> {
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
        let failure = conditions?.iter().find(|one| one["type"] == REPLICA_FAILURE && one["status"] == "True")?;
        let text = |key: &str| failure.get(key).and_then(Value::as_str).unwrap_or_default();
        Some(Self { since: text("lastTransitionTime").parse().ok()?, last: None, message: cut(text("message")) })
    }

    /// Reads the Events of a workload whose kind has no such condition. `events` are those that [`subject_of`] says are about it,
    /// `object` is its own object, `pods` are its pods.
    #[must_use]
    pub fn of_events<'a>(
        kind: WorkloadKind,
        object: &Value,
        events: impl IntoIterator<Item = &'a Event>,
        pods: &[PodSeen],
        now: Timestamp,
    ) -> Option<Self> {
        let uid = object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
        // The Events of a CronJob are about its Jobs.
        let is_of_it = |event: &&Event| {
            kind == WorkloadKind::CronJob || event.involved_object.uid.as_deref().is_none_or(|one| one == uid)
        };
        let last = |event: &Event| last_seen(event);
        let event = events.into_iter().filter(is_of_it).max_by_key(|event| last(event))?;
        let at = last(event)?;
        let is_made_good = match kind {
            WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => !lacks_pods(kind, object),
            _ => pods.iter().filter_map(|pod| pod.created).any(|created| created > at),
        };
        if is_made_good || now.duration_since(at) > LONGEST_BACKOFF {
            return None;
        }
        let since = event.first_timestamp.as_ref().map_or(at, |time| time.0);
        let message = cut(event.message.as_deref().unwrap_or_default());
        Some(Self { since, last: Some(at), message })
    }
}

/// The workload that an Event `FailedCreate` is about, where its kind has no condition that says the same.
#[must_use]
pub fn subject_of(event: &Event) -> Option<WorkloadRef> {
    let ObjectReference { kind, namespace, name, .. } = &event.involved_object;
    let (namespace, name) = (namespace.as_deref()?, name.as_deref()?);
    match kind.as_deref()? {
        "StatefulSet" => Some(WorkloadRef::new(namespace, WorkloadKind::StatefulSet, name)),
        "DaemonSet" => Some(WorkloadRef::new(namespace, WorkloadKind::DaemonSet, name)),
        "Job" => Some(WorkloadRef::new(namespace, WorkloadKind::CronJob, workload::cron_job_of(name)?)),
        _ => None,
    }
}

/// Judges a failure to create pods; `None` where there is none that is held against the agents.
pub(super) fn judge(case: &Case<'_>, since: Timestamp) -> Option<Verdict> {
    let failure = case.creation_failure?;
    let is_older = match case.baseline {
        Some(before) => before.creation_failed,
        None => failure.since < since,
    };
    if is_older || failure.last.is_some_and(|last| last < since) {
        return None;
    }
    // As many pods with these agents were created as there were before: it is growth that is rejected.
    let with = case.pods.iter().filter(|pod| !pod.is_going && pod.hash.as_deref() == Some(case.wanted)).count();
    let before = case.baseline.map_or(0, |before| usize::try_from(before.pods).unwrap_or(usize::MAX));
    if with >= before.max(1) {
        return None;
    }
    // Pods on their way out still count against a quota.
    let is_calm = !case.pods.iter().any(|pod| pod.is_going);
    let grace = if is_calm { GRACE.min(case.options.grace) } else { case.options.grace };
    let left = grace.saturating_sub(case.now.duration_since(failure.since.max(since)));
    if left > SignedDuration::ZERO {
        return Some(Verdict::Wait(left));
    }
    let message = format!("pods with the agents cannot be created: {}.", failure.message);
    Some(Verdict::RollBack(Cause { reason: Reason::FailedCreate, message }))
}

fn last_seen(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let times =
        [series, event.last_timestamp.as_ref().map(|time| time.0), event.event_time.as_ref().map(|time| time.0)];
    times.into_iter().flatten().max().or_else(|| event.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

/// Whether a workload has fewer pods than it shall have.
fn lacks_pods(kind: WorkloadKind, object: &Value) -> bool {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    match kind {
        WorkloadKind::DaemonSet => {
            number("/status/currentNumberScheduled").unwrap_or_default()
                < number("/status/desiredNumberScheduled").unwrap_or_default()
        }
        _ => number("/status/replicas").unwrap_or_default() < number("/spec/replicas").unwrap_or(1),
    }
}

/// A message on one line, not too long.
fn cut(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.trim_end_matches('.');
    let mut kept: String = line.chars().take(LONGEST_MESSAGE).collect();
    if kept.len() < line.len() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests;
