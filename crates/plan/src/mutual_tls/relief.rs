//! How gateways of a release without certificates go without losing what waits in them.
//!
//! Their pods have no hook that waits until queues are empty: on its way out such a collector tries each batch once. So they stop taking items
//! while they still run: each ready gateway of this release relieves one of them, and counts as available only when that one has had time to deliver.
//! Owns which pods are relieved and how long that takes. Never ends a pod: the Deployment does, these first.

use super::change_over::has_certificate;
use crate::quarantine::{is_ready, is_terminating};
use odigos_api::labels;
use serde_json::{Value, json};

/// How long a gateway of this release must be ready before it counts, in seconds, while node collectors of the release before are left. Gateways of that
/// release end connections after 15 seconds, and then nobody finds them again; the rest is for what waits in them.
pub const OVERLAP_SECONDS: u32 = 30;

/// The pods of the release before that stop taking items now, of one Deployment that wants `wanted` of them; `wanted` pods go on taking items, as far as
/// that many are ready.
#[must_use]
pub fn relieved(pods: &[Value], wanted: usize) -> Vec<&str> {
    let stays = |pod: &&Value| !is_terminating(pod);
    let ready = pods.iter().filter(stays).filter(|pod| has_certificate(pod.get("spec")) && is_ready(pod)).count();
    let takes_items = |pod: &&Value| !pod["metadata"]["labels"][labels::TAKES_ITEMS].is_null();
    let old = pods.iter().filter(stays).filter(|pod| !has_certificate(pod.get("spec"))).filter(takes_items);
    let mut names: Vec<&str> = old.filter_map(|pod| pod.pointer("/metadata/name")?.as_str()).collect();
    names.sort_unstable();
    names.truncate(names.len().saturating_sub(wanted.saturating_sub(ready)));
    if ready == 0 { Vec::new() } else { names }
}

/// What is written into such a pod: the headless Service no longer names it, and the Deployment ends it before others.
#[must_use]
pub fn mark() -> Value {
    json!({"metadata": {
        "labels": {labels::TAKES_ITEMS: null},
        "annotations": {"controller.kubernetes.io/pod-deletion-cost": "-100"},
    }})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutual_tls::Side;

    fn pod(name: &str, is_new: bool, is_ready: bool) -> Value {
        let volumes = if is_new { json!([Side::Gateway.volume()]) } else { json!([{"name": "config"}]) };
        let status = if is_ready { "True" } else { "False" };
        json!({
            "metadata": {"name": name, "labels": {labels::TAKES_ITEMS: "true"}},
            "spec": {"volumes": volumes},
            "status": {"conditions": [{"type": "Ready", "status": status}]},
        })
    }

    #[test]
    fn each_new_gateway_relieves_one_of_the_release_before() {
        let old = [pod("old-b", false, true), pod("old-a", false, true)];
        let with = |more: &[Value]| [&old[..], more].concat();
        assert!(relieved(&with(&[pod("new-a", true, false)]), 2).is_empty(), "it takes no items yet");
        assert_eq!(relieved(&with(&[pod("new-a", true, true)]), 2), ["old-a"]);
        assert_eq!(relieved(&with(&[pod("new-a", true, true), pod("new-b", true, true)]), 2), ["old-a", "old-b"]);
    }

    #[test]
    fn as_many_take_items_as_are_wanted() {
        let mut pods = vec![pod("old-a", false, true), pod("old-b", false, true), pod("new-a", true, true)];
        pods[0]["metadata"]["labels"] = json!({});
        assert!(relieved(&pods, 2).is_empty(), "one is relieved already");
        pods[0]["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        pods.push(pod("new-b", true, true));
        assert_eq!(relieved(&pods, 2), ["old-b"]);
        assert!(relieved(&[pod("old-a", false, true), pod("old-b", false, true)], 1).is_empty(), "no new one is ready");
    }
}
