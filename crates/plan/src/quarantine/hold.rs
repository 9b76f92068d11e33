//! A rollout that is held: collectors of the newest configuration run out of memory, and those of the one before do not.
//!
//! Owns how each kind of workload is told to replace no further pod, and to go on. Its pods of both versions serve meanwhile, and another
//! configuration goes out at once. Never decides when a rollout is held ([`super::memory`]).

use crate::objects::{Desired, Rank};
use odigos_api::labels::ROLLOUT_HELD;
use serde_json::{Value, json};

/// A StatefulSet replaces no pod whose number is below this.
const EVERY_POD: i32 = i32::MAX;

/// Makes the workload among `desired` replace no further pod, or go on if it was held before; `live` is that workload.
pub fn apply(desired: &mut [Desired], live: Option<&Value>, is_held: bool) {
    let was_held = live
        .is_some_and(|live| live.pointer("/metadata/annotations").is_some_and(|all| all.get(ROLLOUT_HELD).is_some()));
    let workloads = desired.iter_mut().filter(|one| one.rank == Rank::Workload);
    for object in workloads.map(|one| &mut one.object).filter(|_| is_held || was_held) {
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        let spec = &mut object["spec"];
        match (kind.as_str(), is_held) {
            ("Deployment", _) => spec["paused"] = json!(is_held),
            ("StatefulSet", _) => {
                let partition = if is_held { EVERY_POD } else { 0 };
                spec["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition}});
            }
            ("DaemonSet", true) => spec["updateStrategy"] = json!({"type": "OnDelete"}),
            // Its own strategy is another one than the live one's.
            _ => {}
        }
        if is_held {
            object["metadata"]["annotations"][ROLLOUT_HELD] = json!("out-of-memory");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(kind: &str, was_held: bool, is_held: bool) -> Value {
        let object =
            json!({"kind": kind, "metadata": {"name": "w"}, "spec": {"updateStrategy": {"type": "RollingUpdate"}}});
        let mut live = object.clone();
        if was_held {
            live["metadata"]["annotations"] = json!({ROLLOUT_HELD: "out-of-memory"});
        }
        let config = Desired { rank: Rank::Configuration, object: json!({"kind": "ConfigMap"}) };
        let mut desired = [config.clone(), Desired { rank: Rank::Workload, object }];
        apply(&mut desired, Some(&live), is_held);
        assert_eq!(desired[0], config);
        desired[1].object.clone()
    }

    #[test]
    fn each_kind_is_held_and_goes_on() {
        let held = |kind: &str| applied(kind, false, true);
        assert_eq!(held("Deployment")["spec"]["paused"], json!(true));
        assert_eq!(held("DaemonSet")["spec"]["updateStrategy"], json!({"type": "OnDelete"}));
        let partition = |object: Value| object["spec"]["updateStrategy"]["rollingUpdate"]["partition"].clone();
        assert_eq!(partition(held("StatefulSet")), json!(EVERY_POD));
        for kind in ["Deployment", "DaemonSet", "StatefulSet"] {
            assert!(held(kind)["metadata"]["annotations"].get(ROLLOUT_HELD).is_some());
            assert!(applied(kind, true, false)["metadata"].get("annotations").is_none(), "the mark goes");
        }
        // What the live object has must be contradicted, or it would stay.
        assert_eq!(applied("Deployment", true, false)["spec"]["paused"], json!(false));
        assert_eq!(partition(applied("StatefulSet", true, false)), json!(0));
        assert_eq!(applied("DaemonSet", true, false)["spec"]["updateStrategy"]["type"], "RollingUpdate");
    }

    /// What people pause stays paused.
    #[test]
    fn rollout_that_was_never_held_is_left_alone() {
        assert!(applied("Deployment", false, false)["spec"].get("paused").is_none());
        assert!(applied("StatefulSet", false, false)["spec"]["updateStrategy"].get("rollingUpdate").is_none());
    }
}
