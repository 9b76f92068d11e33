//! What the telemetry of a container is about: resource attributes (`spec/sources-and-instrumentation.md` 5.3).

use super::Subject;
use crate::workload::resource_attribute;
use odigos_api::WorkloadKind;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The variable with the name of the pod; other values refer to it.
pub(super) const POD_NAME: &str = "ODIGOS_POD_NAME";

/// Keys and values for a container, in order; values are ready for the list, and `$(…)` in them refers to a variable.
pub(super) fn of(subject: &Subject<'_>, container: &str) -> Vec<(&'static str, String)> {
    let workload = subject.workload;
    let mut list = vec![
        ("k8s.pod.name", format!("$({POD_NAME})")),
        ("k8s.container.name", escaped(container)),
        ("k8s.namespace.name", escaped(&workload.namespace)),
    ];
    let key = match workload.kind {
        WorkloadKind::DeploymentConfig => Some("k8s.deployment.name"),
        kind => resource_attribute(kind),
    };
    list.extend(key.map(|key| (key, escaped(&workload.name))));
    list.push(("odigos.workload.kind", escaped(workload.kind.as_str())));
    list.push(("odigos.workload.name", escaped(&workload.name)));
    let owners = subject.pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    for owner in owners.into_iter().flatten() {
        let text = |key: &str| owner.get(key).and_then(Value::as_str).unwrap_or_default();
        let keys = match text("kind") {
            "ReplicaSet" => ["k8s.replicaset.name", "k8s.replicaset.uid"],
            "Job" => ["k8s.job.name", "k8s.job.uid"],
            _ => continue,
        };
        list.extend(keys.into_iter().zip([escaped(text("name")), escaped(text("uid"))]));
    }
    let mut seen = BTreeSet::new();
    list.retain(|(key, value)| !value.is_empty() && seen.insert(*key));
    list
}

/// The user's list with ours behind it, without the keys that the user has set.
pub(super) fn merged(users: &str, ours: &[(&'static str, String)]) -> String {
    let keys = keys(users);
    let missing = ours.iter().filter(|(key, _)| !keys.contains(*key)).map(|(key, value)| format!("{key}={value}"));
    let users = users.trim().trim_end_matches(',');
    let own = (!users.is_empty()).then(|| users.to_owned());
    own.into_iter().chain(missing).collect::<Vec<_>>().join(",")
}

/// The keys of a list.
pub(super) fn keys(list: &str) -> BTreeSet<&str> {
    list.split(',').filter_map(|pair| pair.split_once('=')).map(|(key, _)| key.trim()).collect()
}

/// A value as the list wants it: percent-encoded but for letters, digits and a few harmless signs.
pub(super) fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:@+".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing into a text cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}
