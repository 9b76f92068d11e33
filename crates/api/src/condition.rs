//! Condition types and reasons, and the merge of a writer's conditions into what stands in a status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use std::collections::BTreeMap;

/// Condition types.
pub mod kind {
    /// Source: the object is usable.
    pub const ACCEPTED: &str = "Accepted";
    /// Source: another Source selects the same workload.
    pub const CONFLICT: &str = "Conflict";
    /// InstrumentationConfig: which Source covers the workload.
    pub const MARKED: &str = "MarkedForInstrumentation";
    /// InstrumentationConfig: what runs in the containers.
    pub const RUNTIME_DETECTION: &str = "RuntimeDetection";
    /// InstrumentationConfig: the agent decision.
    pub const AGENT_ENABLED: &str = "AgentEnabled";
    /// InstrumentationConfig: the restart of the workload.
    pub const WORKLOAD_ROLLOUT: &str = "WorkloadRollout";
    /// InstrumentationConfig: what running pods carry.
    pub const PODS_INJECTION: &str = "PodsManifestInjection";
    /// Destination: whether it is part of the gateway's configuration.
    pub const DESTINATION_CONFIGURED: &str = "DestinationConfigured";
    /// CollectorsGroup: the workload exists.
    pub const DEPLOYED: &str = "Deployed";
    /// CollectorsGroup: the rendered configuration passed every check.
    pub const CONFIG_VALID: &str = "ConfigValid";
    /// CollectorsGroup: the newest configuration is still being rolled out.
    pub const PROGRESSING: &str = "Progressing";
    /// CollectorsGroup: at least half of the gateways refuse items.
    pub const ITEMS_REFUSED: &str = "ItemsRefused";
    /// CollectorsGroup: destinations take less than arrives for them, so that more gateways would not help.
    pub const DESTINATION_BACKPRESSURE: &str = "DestinationBackpressure";
    /// CollectorsGroup: the gateway's HorizontalPodAutoscaler cannot read CPU and memory.
    pub const HPA_METRICS_UNAVAILABLE: &str = "HPAMetricsUnavailable";
    /// CollectorsGroup: the cluster's API server asks this control plane what gateways refuse, so that the HorizontalPodAutoscaler
    /// can go by it.
    pub const CUSTOM_METRICS_AVAILABLE: &str = "CustomMetricsAvailable";
    /// CollectorsGroup: that gateways no longer listen to node collectors without a certificate; absent unless an upgrade left some.
    pub const PLAINTEXT_RECEIVER_CLOSED: &str = "PlaintextReceiverClosed";
    /// Processor: whether it is part of a collector's configuration.
    pub const ADDED_TO_COLLECTOR: &str = "AddedToCollectorConfig";
    /// Action: whether it became part of the collectors' configuration.
    pub const TRANSFORMED: &str = "TransformedToProcessor";
    /// Action: in what the collectors differ from what its kind says; absent where they do not.
    pub const APPROXIMATE: &str = "Approximate";
    /// Objects of `actions.odigos.io`: whether an Action was made of it.
    pub const MIGRATED: &str = "MigratedToAction";
    /// InstrumentationRule: whether it makes sense.
    pub const RULE_VALIDATION: &str = "InstrumentationRuleValidation";
    /// InstrumentationRule: where it holds.
    pub const RULE_APPLIED: &str = "Applied";
    /// DataStream: whether pipelines exist for it.
    pub const RENDERED: &str = "Rendered";
    /// Of DataStreams: `True` while workloads call across its borders, so that traces reach Destinations in halves; absent before the first.
    pub const TRACE_CUT: &str = "TraceCut";
    /// Of DataStreams: `False` while a set of streams with this one got no stream class; absent otherwise.
    pub const CLASSES_ASSIGNED: &str = "ClassesAssigned";
}

/// The conditions in the order in which an InstrumentationConfig lists them.
pub const INSTRUMENTATION_ORDER: [&str; 5] =
    [kind::MARKED, kind::RUNTIME_DETECTION, kind::AGENT_ENABLED, kind::WORKLOAD_ROLLOUT, kind::PODS_INJECTION];

/// A condition as a planner states it: no times yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConditionDraft {
    /// Condition type.
    pub kind: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: Status,
    /// One CamelCase word that scripts may key on.
    pub reason: String,
    /// What is so, and what to do about it; for people.
    pub message: String,
}

/// The three values of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Not known (yet).
    Unknown,
}

impl Status {
    /// The spelling in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl ConditionDraft {
    /// A condition that holds.
    pub fn yes(kind: &'static str, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, status: Status::True, reason: reason.into(), message: message.into() }
    }

    /// A condition that does not hold.
    pub fn no(kind: &'static str, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, status: Status::False, reason: reason.into(), message: message.into() }
    }

    /// A condition that is not known yet.
    pub fn unknown(kind: &'static str, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, status: Status::Unknown, reason: reason.into(), message: message.into() }
    }
}

/// Messages are cut to this many bytes (the API server refuses more than 32768).
const MESSAGE_LIMIT: usize = 4096;

/// The conditions to write: `new` with transition times, taken from `old` where the status did not change. The result
/// holds only the types of `new`; conditions of other writers stay theirs under server-side apply. Order: `new`'s.
#[must_use]
pub fn merged(
    old: &[Condition],
    new: &[ConditionDraft],
    generation: Option<i64>,
    now: jiff::Timestamp,
) -> Vec<Condition> {
    let old: BTreeMap<&str, &Condition> = old.iter().map(|c| (c.type_.as_str(), c)).collect();
    new.iter()
        .map(|draft| {
            let since = match old.get(draft.kind) {
                Some(before) if before.status == draft.status.as_str() => before.last_transition_time.clone(),
                _ => Time(now),
            };
            let mut message = draft.message.clone();
            if message.len() > MESSAGE_LIMIT {
                let mut end = MESSAGE_LIMIT;
                while !message.is_char_boundary(end) {
                    end -= 1;
                }
                message.truncate(end);
                message.push('…');
            }
            Condition {
                type_: draft.kind.to_owned(),
                status: draft.status.as_str().to_owned(),
                reason: draft.reason.clone(),
                message,
                last_transition_time: since,
                observed_generation: generation,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transition_time_changes_only_with_the_status() {
        let first: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let later: jiff::Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let before = merged(&[], &[ConditionDraft::yes(kind::DEPLOYED, "A", "")], Some(1), first);
        let same = merged(&before, &[ConditionDraft::yes(kind::DEPLOYED, "B", "other words")], Some(2), later);
        assert_eq!(same[0].last_transition_time, Time(first));
        assert_eq!(same[0].reason, "B");
        let flipped = merged(&before, &[ConditionDraft::no(kind::DEPLOYED, "B", "")], Some(2), later);
        assert_eq!(flipped[0].last_transition_time, Time(later));
    }
}
