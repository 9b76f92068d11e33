//! Which gateway pods are asked, and which of them ran out of memory (`spec/collectors-and-pipelines.md` 6.2).

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

/// For how long the end of a collector for its memory counts after it was started again: two rounds.
const REMEMBERED: SignedDuration = SignedDuration::from_secs(20);
/// Reason of a container that the kernel ended for its memory.
const OUT_OF_MEMORY: &str = "OOMKilled";

/// Whether a pod is one of the gateways that items are sent to: it runs and is not going.
#[must_use]
pub fn runs(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && phase == Some("Running")
}

/// Whether a collector was ended for its memory, and is down for it or came back only now.
#[must_use]
pub fn is_out_of_memory(pod: &Pod, now: Timestamp) -> bool {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().any(|container| ended_for_memory(container, now))
}

fn ended_for_memory(container: &ContainerStatus, now: Timestamp) -> bool {
    let state = container.state.as_ref();
    let ended = state.and_then(|state| state.terminated.as_ref());
    let waits = state.is_some_and(|state| state.waiting.is_some());
    let before = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let before = before.filter(|before| before.reason.as_deref() == Some(OUT_OF_MEMORY));
    let is_recent = |at: Timestamp| now.duration_since(at) < REMEMBERED;
    ended.is_some_and(|ended| ended.reason.as_deref() == Some(OUT_OF_MEMORY))
        || before.is_some_and(|before| waits || before.finished_at.as_ref().is_some_and(|time| is_recent(time.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(status: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "gw"}, "status": status})).unwrap()
    }

    #[test]
    fn ends_for_memory_are_told_from_other_ends() {
        let now: Timestamp = "2027-01-01T00:01:00Z".parse().unwrap();
        let ended =
            |reason: &str, at: &str| json!({"terminated": {"reason": reason, "exitCode": 137, "finishedAt": at}});
        let with = |state: Value, last: Value| {
            let container = json!({"name": "gateway", "image": "", "imageID": "", "ready": false, "restartCount": 1, "state": state, "lastState": last});
            is_out_of_memory(&pod(json!({"phase": "Running", "containerStatuses": [container]})), now)
        };
        let (early, late) = ("2027-01-01T00:00:00Z", "2027-01-01T00:00:50Z");
        let (waits, works) = (json!({"waiting": {"reason": "CrashLoopBackOff"}}), json!({"running": {}}));
        assert!(with(ended("OOMKilled", early), json!({})));
        assert!(with(waits.clone(), ended("OOMKilled", early)));
        assert!(with(works.clone(), ended("OOMKilled", late)));
        assert!(!with(works, ended("OOMKilled", early)), "it came back long ago");
        assert!(!with(waits, ended("Error", late)));
    }

    #[test]
    fn pods_that_start_or_go_are_not_asked() {
        assert!(runs(&pod(json!({"phase": "Running"}))));
        assert!(!runs(&pod(json!({"phase": "Pending"}))));
        let mut going = pod(json!({"phase": "Running"}));
        going.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH));
        assert!(!runs(&going));
    }
}
