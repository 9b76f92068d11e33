//! What a node collector reads of the kubelet and of the host.
//!
//! Owns the settings of both receivers, and which directories of the machine are mounted for them: `/proc`, `/sys` and mount points that an
//! administrator names, never the root. Never decides whether one runs.

use crate::configuration::Configuration;
use serde_json::{Value, json};

/// Certificate of the cluster's authority in every pod that has a service account.
const CLUSTER_AUTHORITY: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

pub(super) fn kubelet_stats(interval: &str, configuration: &Configuration) -> Value {
    let mut settings = json!({
        "auth_type": "serviceAccount",
        "endpoint": "https://${env:NODE_IP}:10250",
        "collection_interval": interval,
        "metric_groups": ["container", "pod", "node", "volume"],
    });
    if configuration.flag("metricsSources.kubeletStats.verifyCertificate") == Some(true) {
        settings["ca_file"] = json!(CLUSTER_AUTHORITY);
    } else {
        // kubeadm's kubelets sign their own certificates. Only root on the node can answer in the kubelet's place there.
        settings["insecure_skip_verify"] = json!(true);
    }
    settings
}

/// Mount points of nodes whose usage is wanted, in their shortest form. Never the root: it would bring the whole machine into the pod.
pub(super) fn host_mount_points(configuration: &Configuration) -> Vec<String> {
    if configuration.flag("metricsSources.hostMetrics.filesystem") != Some(true) {
        return Vec::new();
    }
    let points = configuration.texts("metricsSources.hostMetrics.mountPoints").into_iter();
    let mut points: Vec<String> = points.filter(|path| mount_point_problem(path).is_none()).collect();
    points.sort();
    points.dedup();
    points
}

/// What is wrong with a mount point.
pub(crate) fn mount_point_problem(path: &str) -> Option<&'static str> {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    if path == "/" {
        return Some("it is the whole file system of the machine; name the mount points that you need");
    }
    let is_short = path.starts_with('/') && parts.iter().all(|part| !matches!(*part, "" | "." | ".."));
    if !is_short || path.chars().any(|one| one.is_control() || "$*?[]{}".contains(one)) {
        return Some("it is not an absolute path such as /data");
    }
    let system = ["boot", "dev", "etc", "proc", "root", "run", "sys"];
    let is_system = parts.first().is_some_and(|first| system.contains(first)) || path.starts_with("/var/lib/kubelet");
    is_system.then_some("it holds files of the system and of other pods")
}

pub(super) fn host_metrics(interval: &str, configuration: &Configuration) -> Value {
    let utilization = |name: &str| json!({"metrics": {name: {"enabled": true}}});
    let mut settings = json!({
        "collection_interval": interval,
        "root_path": "/hostfs",
        "scrapers": {
            "paging": utilization("system.paging.utilization"),
            "cpu": utilization("system.cpu.utilization"),
            "disk": {},
            "load": {},
            "memory": {},
            "network": {},
            "processes": {},
        },
    });
    // The node's own file systems are among the metrics of the kubelet.
    let points = host_mount_points(configuration);
    if !points.is_empty() {
        let mut filesystem = utilization("system.filesystem.utilization");
        filesystem["include_mount_points"] = json!({"match_type": "strict", "mount_points": points});
        settings["scrapers"]["filesystem"] = filesystem;
    }
    settings
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;

    #[test]
    fn mount_points_never_bring_the_machine() {
        let points = "['/', '/data', '/data', '/var/lib/docker', '/proc', '/etc/kubernetes', 'data', '/a/../etc', '/mnt/', '/var/lib/kubelet/pods']";
        let text = |on: bool| format!("metricsSources: {{hostMetrics: {{filesystem: {on}, mountPoints: {points}}}}}");
        let of = |on: bool| Configuration::parse(&text(on)).unwrap();
        assert_eq!(host_mount_points(&of(true)), ["/data", "/var/lib/docker"]);
        assert_eq!(host_mount_points(&of(false)), Vec::<String>::new());
        let settings = host_metrics("10s", &of(true));
        assert_eq!(
            settings["scrapers"]["filesystem"]["include_mount_points"]["mount_points"],
            json!(["/data", "/var/lib/docker"])
        );
        assert!(host_metrics("10s", &of(false))["scrapers"].get("filesystem").is_none());
    }

    #[test]
    fn certificate_of_the_kubelet_is_verified_where_it_can_be() {
        let of = |text: &str| kubelet_stats("10s", &Configuration::parse(text).unwrap());
        assert_eq!(of("")["insecure_skip_verify"], json!(true));
        let verified = of("metricsSources: {kubeletStats: {verifyCertificate: true}}");
        assert_eq!((verified.get("insecure_skip_verify"), &verified["ca_file"]), (None, &json!(CLUSTER_AUTHORITY)));
    }
}
