//! How an installation that did without certificates changes over: gateways listen first, then node collectors send to the new port, then the
//! old port closes.
//!
//! Owns who still lacks a certificate, when the port of those closes at the latest, and what is said of it meanwhile. Never renders a port.

use super::VOLUME;
use crate::quarantine::has_ended;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use odigos_api::condition::{ConditionDraft, Status, kind};
use serde_json::Value;

/// For how long the port stays open once new node collectors send with a certificate. What an older one sends afterwards is lost, and a
/// rollout that does not get on needs a person who looks at it.
pub const LIMIT: SignedDuration = SignedDuration::from_hours(24);
/// How long after its time to go a pod counts: on a machine that answers no more it stays until somebody removes it.
const OVERDUE: SignedDuration = SignedDuration::from_mins(10);
/// Pods that a message names.
const SHOWN: usize = 3;

/// How long gateways must have changed over before node collectors follow. Those of the release before lose what they are about to try again
/// when they go, and a gateway that goes makes them try again: after five seconds the first time.
pub const REST: SignedDuration = SignedDuration::from_secs(20);
/// What the group of node collectors says while they wait.
pub const WAITS: &str = "Node collectors of the release before go on until all gateways are of this one and have been for a while: what those are about to try again when they go is lost.";

/// Whether pods of this specification have a certificate.
pub(super) fn has_certificate(specification: Option<&Value>) -> bool {
    let volumes = specification.and_then(|one| one.get("volumes")).and_then(Value::as_array);
    volumes.into_iter().flatten().any(|volume| volume["name"] == VOLUME)
}

fn template(workload: &Value) -> Option<&Value> {
    workload.pointer("/spec/template/spec")
}

/// Whether a pod neither sends nor listens any more.
fn is_gone(pod: &Value, now: Timestamp) -> bool {
    let deleted = pod.pointer("/metadata/deletionTimestamp").and_then(Value::as_str).unwrap_or_default();
    has_ended(pod) || deleted.parse::<Timestamp>().is_ok_and(|time| now.duration_since(time) > OVERDUE)
}

/// Whether node collectors send with a certificate: once they do, always, else when no gateway is left that does not expect one.
#[must_use]
pub fn is_used_by_nodes(daemon_set: Option<&Value>, gateways: &[Value], now: Timestamp) -> bool {
    daemon_set.is_some_and(|one| has_certificate(template(one)))
        || gateways.iter().filter(|pod| !is_gone(pod, now)).all(|pod| has_certificate(pod.get("spec")))
}

/// Whether node collectors are left as they are for now; `since` is when it was first seen that all gateways have changed over.
#[must_use]
pub fn is_held(daemon_set: Option<&Value>, since: Option<Timestamp>, now: Timestamp) -> bool {
    let is_old = daemon_set.is_some_and(|one| !has_certificate(template(one)));
    is_old && since.is_none_or(|since| now.duration_since(since) < REST)
}

/// Node collectors that send without a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OldNodes {
    /// There are none.
    None,
    /// Their DaemonSet still makes them so.
    Made,
    /// New ones have a certificate; these pods are left.
    Left(Vec<String>),
}

/// Which node collectors may be left that send without a certificate.
#[must_use]
pub fn old_nodes(daemon_set: Option<&Value>, nodes: &[Value], now: Timestamp) -> OldNodes {
    if daemon_set.is_some_and(|one| !has_certificate(template(one))) {
        return OldNodes::Made;
    }
    let left = nodes.iter().filter(|pod| !is_gone(pod, now) && !has_certificate(pod.get("spec")));
    let name = |pod: &Value| pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let left: Vec<String> = left.map(name).collect();
    if left.is_empty() { OldNodes::None } else { OldNodes::Left(left) }
}

/// The port for node collectors without a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaintextPort {
    /// Gateways listen on it.
    pub is_open: bool,
    /// What is said of it; nothing where no old node collector is left.
    pub condition: Option<ConditionDraft>,
}

/// Whether gateways still listen to node collectors without a certificate; `before` is the condition as it stands, whose time is since when only
/// single pods are left.
#[must_use]
pub fn plaintext_port(old: &OldNodes, before: Option<&Condition>, now: Timestamp) -> PlaintextPort {
    const KIND: &str = kind::PLAINTEXT_RECEIVER_CLOSED;
    let left = match old {
        OldNodes::None => return PlaintextPort::default(),
        OldNodes::Made => {
            let message = "Gateways also listen on 4317 and 4318, without certificates, until node collectors are replaced by those of this release, which follow when all gateways are.";
            let condition = Some(ConditionDraft::unknown(KIND, "GatewaysFirst", message));
            return PlaintextPort { is_open: true, condition };
        }
        OldNodes::Left(left) => left,
    };
    let before = before.filter(|one| one.type_ == KIND);
    let is = |status: Status| before.filter(|one| one.status == status.as_str());
    let since = is(Status::False).map_or(now, |one| one.last_transition_time.0);
    let end = since + LIMIT;
    let mut names = left.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if left.len() > SHOWN {
        names.push_str(", …");
    }
    let (count, pods) = (left.len(), if left.len() == 1 { "pod" } else { "pods" });
    if is(Status::True).is_some() || now >= end {
        let message = format!(
            "4317 and 4318 are closed, and {count} node collector {pods} of the release before cannot deliver: {names}. Delete them, or see why their successors do not start."
        );
        return PlaintextPort { is_open: false, condition: Some(ConditionDraft::yes(KIND, "TimeIsUp", message)) };
    }
    let message = format!(
        "Gateways also listen on 4317 and 4318, without certificates, for {count} node collector {pods} of the release before: {names}. The ports close when none is left, at the latest at {end:.0}."
    );
    PlaintextPort { is_open: true, condition: Some(ConditionDraft::no(KIND, "OldNodeCollectors", message)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutual_tls::Side;
    use odigos_api::condition::merged;
    use serde_json::json;

    fn now() -> Timestamp {
        "2026-01-02T00:00:00Z".parse().unwrap()
    }

    fn pod(secured: bool) -> Value {
        let volumes = if secured { json!([Side::Node.volume()]) } else { json!([{"name": "config"}]) };
        json!({"metadata": {"name": "node-a"}, "spec": {"volumes": volumes}})
    }

    fn daemon_set(secured: bool) -> Value {
        json!({"spec": {"template": pod(secured)}})
    }

    #[test]
    fn new_installation_has_no_plaintext() {
        assert!(is_used_by_nodes(None, &[], now()));
        assert_eq!(old_nodes(None, &[], now()), OldNodes::None);
        assert_eq!(plaintext_port(&OldNodes::None, None, now()), PlaintextPort::default());
    }

    #[test]
    fn nodes_change_over_when_no_old_gateway_is_left() {
        let old = daemon_set(false);
        let is_used = |one: &Value, gateways: &[Value]| is_used_by_nodes(Some(one), gateways, now());
        assert!(!is_used(&old, &[pod(true), pod(false)]));
        assert!(is_used(&old, &[pod(true), pod(true)]));
        assert!(is_used(&daemon_set(true), &[pod(false)]), "never back");
        let mut lost = pod(false);
        lost["metadata"]["deletionTimestamp"] = json!("2026-01-01T23:55:00Z");
        assert!(!is_used(&old, &[pod(true), lost.clone()]), "it is going");
        lost["metadata"]["deletionTimestamp"] = json!("2026-01-01T23:45:00Z");
        assert!(is_used(&old, &[pod(true), lost]), "its machine answers no more");
    }

    #[test]
    fn old_nodes_stay_until_gateways_have_rested() {
        let old = daemon_set(false);
        let is_held = |since: Option<&str>| is_held(Some(&old), since.map(|text| text.parse().unwrap()), now());
        assert!(is_held(None), "an old gateway is left");
        assert!(is_held(Some("2026-01-01T23:59:45Z")), "what the last one refused is tried again");
        assert!(!is_held(Some("2026-01-01T23:59:40Z")));
        assert!(!super::is_held(Some(&daemon_set(true)), None, now()), "those of this release lose nothing");
        assert!(!super::is_held(None, None, now()), "there are none");
    }

    #[test]
    fn plaintext_closes_when_no_old_node_is_left() {
        let old = |set: bool, nodes: &[Value]| old_nodes(Some(&daemon_set(set)), nodes, now());
        assert_eq!(old(false, &[]), OldNodes::Made, "its next pod would be one");
        assert_eq!(old(true, &[pod(true), pod(false)]), OldNodes::Left(vec!["node-a".into()]));
        let mut ended = pod(false);
        ended["status"] = json!({"phase": "Failed"});
        assert_eq!(old(true, &[pod(true), ended]), OldNodes::None);
        let mut lost = pod(false);
        lost["metadata"]["deletionTimestamp"] = json!("2026-01-01T23:45:00Z");
        assert_eq!(old(true, &[pod(true), lost]), OldNodes::None);
    }

    /// An upgrade whose last node collector never comes, and one that is rolled back and tried again later.
    #[test]
    fn plaintext_closes_in_any_case_and_says_so() {
        let left = OldNodes::Left(vec!["node-a".into()]);
        let mut stands: Vec<Condition> = Vec::new();
        let mut at = |old: &OldNodes, hours: i64| {
            let now = now() + SignedDuration::from_hours(hours);
            let port = plaintext_port(old, stands.first(), now);
            stands = merged(&stands, &port.condition.into_iter().collect::<Vec<_>>(), None, now);
            let said = stands.first().map(|one| (one.reason.clone(), one.message.clone())).unwrap_or_default();
            (port.is_open, said.0, said.1)
        };
        assert_eq!(at(&OldNodes::Made, 0).1, "GatewaysFirst");
        assert!(at(&OldNodes::Made, 100).0, "as long as the release before makes them");
        let (is_open, reason, message) = at(&left, 101);
        assert!(is_open && reason == "OldNodeCollectors" && message.contains("node-a"), "{message}");
        assert!(message.contains("at the latest at 2026-01-07T05:00:00Z"), "{message}");
        assert!(at(&left, 124).0);
        let (is_open, reason, message) = at(&left, 125);
        assert!(!is_open && reason == "TimeIsUp" && message.contains("cannot deliver: node-a"), "{message}");
        assert!(!at(&left, 126).0, "it stays closed");
        assert_eq!(at(&OldNodes::None, 127), (false, String::new(), String::new()));
        // Another upgrade has its own time.
        assert!(at(&OldNodes::Made, 200).0 && at(&left, 201).0 && at(&left, 224).0);
    }
}
