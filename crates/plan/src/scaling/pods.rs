//! Which gateway pods are asked, and which of them ran out of memory (`spec/collectors-and-pipelines.md` 6.2).

use crate::metrics_endpoint;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

/// For how long the end of a collector for its memory counts after it was started again: two rounds.
const REMEMBERED: SignedDuration = SignedDuration::from_secs(20);
/// Reason of a container that the kernel ended for its memory.
const OUT_OF_MEMORY: &str = "OOMKilled";
/// The container of a gateway's collector.
const GATEWAY: &str = "gateway";

/// Whether a pod is one of the gateways that items are sent to: it runs and is not going.
#[must_use]
pub fn runs(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && phase == Some("Running")
}

/// Where the metrics of a gateway are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsPort {
    /// At the endpoint for readers with a certificate.
    Secured(u16),
    /// Without TLS: a gateway of a release without that endpoint, or of another image.
    Plain(u16),
}

/// Where the metrics of a gateway are read, by what its pod declares; `plain` is the port of the others.
#[must_use]
pub fn metrics_port(pod: &Pod, plain: u16) -> MetricsPort {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut ports = containers.flat_map(|one| one.ports.iter().flatten());
    let endpoint = ports.find(|port| port.name.as_deref() == Some(metrics_endpoint::PORT_NAME));
    let number = endpoint.and_then(|port| u16::try_from(port.container_port).ok());
    number.map_or(MetricsPort::Plain(plain), MetricsPort::Secured)
}

/// Whether a collector was ended for its memory, and is down for it or came back only now.
#[must_use]
pub fn is_out_of_memory(pod: &Pod, now: Timestamp) -> bool {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    // What others put beside the collector ends for itself.
    statuses.into_iter().flatten().any(|container| container.name == GATEWAY && ended_for_memory(container, now))
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
        let beside = json!({"name": "istio-proxy", "image": "", "imageID": "", "ready": false, "restartCount": 1, "state": ended("OOMKilled", late)});
        assert!(!is_out_of_memory(&pod(json!({"phase": "Running", "containerStatuses": [beside]})), now), "another's");
    }

    #[test]
    fn gateways_of_both_releases_are_read_while_one_replaces_the_other() {
        let with = |ports: Value| -> Pod {
            let spec = json!({"containers": [{"name": "gateway", "ports": ports}]});
            serde_json::from_value(json!({"metadata": {"name": "gw"}, "spec": spec})).unwrap()
        };
        let old = json!([{"name": "otlp", "containerPort": 4317}, {"name": "metrics", "containerPort": 8888}]);
        assert_eq!(metrics_port(&with(old), 8888), MetricsPort::Plain(8888));
        let new = json!([{"name": "metrics", "containerPort": 8888}, metrics_endpoint::container_port()]);
        assert_eq!(metrics_port(&with(new), 8888), MetricsPort::Secured(8889));
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
