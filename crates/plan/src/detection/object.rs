//! A detection pod as an object, and which nodes it fits on (`spec/sources-and-instrumentation.md` 4.11).
//!
//! It stands in the control plane's namespace, never in the user's, is bound to its node by name (it needs no scheduler, and no room
//! beyond what a kubelet insists on), and may do what the agent of a node may, without its files, its account and its network. It
//! is owned by its ServiceAccount, which is there exactly as long as such pods are wanted.

use super::Options;
use super::message::Request;
use super::pods::DEADLINE_SECONDS;
use crate::objects;
use jiff::Timestamp;
use odigos_api::labels::{DETECTION_POD, DETECTION_REQUEST};
use odigos_api::names::{DETECTION, INSTRUMENTOR};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Labels by which nodes say that there is no machine of their own behind them.
const VIRTUAL: [(&str, &str); 2] = [("type", "virtual-kubelet"), ("eks.amazonaws.com/compute-type", "fargate")];

/// Why pods of a node with these labels cannot be looked at; `None` when they can.
#[must_use]
pub fn unfit(node: &str, labels: &BTreeMap<String, String>, options: &Options) -> Option<String> {
    let label = |key: &str| labels.get(key).map(String::as_str);
    if let Some(system) = label("kubernetes.io/os").filter(|system| *system != "linux") {
        return Some(format!("node {node} runs {system}; only processes of Linux nodes can be looked at"));
    }
    if VIRTUAL.iter().any(|(key, value)| label(key) == Some(value)) {
        return Some(format!("node {node} is a virtual one, whose processes nobody sees"));
    }
    let other = options.node_selector.iter().find(|(key, value)| label(key) != Some(value.as_str()));
    other.map(|(key, value)| {
        format!("node {node} lacks the label {key}={value} that detection pods need (agent.nodeSelector of the chart)")
    })
}

/// A name that no other detection pod has.
fn name(node: &str, request: &Request, now: Timestamp) -> String {
    let uids: Vec<&str> = request.pods.iter().map(|pod| pod.uid.as_str()).collect();
    format!("{DETECTION}-{}", objects::hash(format!("{node} {} {now}", uids.join(" ")), 10))
}

/// A detection pod on a node; `owner` is the uid of its ServiceAccount.
#[must_use]
pub fn pod(options: &Options, namespace: &str, node: &str, request: &Request, owner: &str, now: Timestamp) -> Value {
    let container = json!({
        "name": "detect",
        "image": options.image,
        "args": ["detect", format!("--log={}", if options.log.is_empty() { "info" } else { &options.log })],
        "env": [
            {"name": "ODIGOS_DETECTION_REQUEST", "valueFrom": {"fieldRef": {"fieldPath": format!("metadata.annotations['{DETECTION_REQUEST}']")}}},
            {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ],
        "resources": options.resources,
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "privileged": false,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            // To read of processes of others: their environment, mapped files, executable. Nothing is traced or written.
            "capabilities": {"drop": ["ALL"], "add": ["SYS_PTRACE", "DAC_READ_SEARCH"]},
        },
    });
    let mut spec = json!({
        "nodeName": node,
        "hostPID": true,
        "restartPolicy": "Never",
        "activeDeadlineSeconds": DEADLINE_SECONDS,
        "terminationGracePeriodSeconds": 1,
        "serviceAccountName": DETECTION,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "tolerations": options.tolerations,
        "containers": [container],
    });
    if !options.pull_policy.is_empty() {
        spec["containers"][0]["imagePullPolicy"] = json!(options.pull_policy);
    }
    if !options.pull_secrets.is_empty() {
        spec["imagePullSecrets"] = options.pull_secrets.iter().map(|name| json!({"name": name})).collect();
    }
    if !options.priority_class.is_empty() {
        spec["priorityClassName"] = json!(options.priority_class);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name(node, request, now),
            "namespace": namespace,
            "labels": {
                "app.kubernetes.io/name": DETECTION,
                "app.kubernetes.io/part-of": "odigos",
                "app.kubernetes.io/managed-by": INSTRUMENTOR,
                DETECTION_POD: "true",
            },
            "annotations": {
                DETECTION_REQUEST: request.to_json(),
                // The annotation instead of the field: every release of Kubernetes takes it.
                "container.apparmor.security.beta.kubernetes.io/detect": "unconfined",
            },
            "ownerReferences": [{"apiVersion": "v1", "kind": "ServiceAccount", "name": DETECTION, "uid": owner}],
        },
        "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::Configuration;

    fn options(more: &str) -> Options {
        let text = format!(
            "agentsImage: r/agent:1\nruntimeDetection: {{mode: pod, nodeSelector: [kubernetes.io/os=linux]{more}}}"
        );
        Options::of(&Configuration::parse(&text).unwrap())
    }

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn it_may_read_processes_and_nothing_else() {
        let text = ", resources: {limits: {memory: 128Mi}}, tolerations: [{operator: Exists}], pullSecrets: [s], pullPolicy: Always";
        let pod = pod(&options(text), "odigos-system", "n1", &Request::default(), "u-1", Timestamp::UNIX_EPOCH);
        let expected = r#"{
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "annotations": {"container.apparmor.security.beta.kubernetes.io/detect": "unconfined", "odigos.io/detection-request": "{\"pods\":[]}"},
                "labels": {"app.kubernetes.io/managed-by": "odigos-instrumentor", "app.kubernetes.io/name": "odigos-detection", "app.kubernetes.io/part-of": "odigos", "odigos.io/detection-pod": "true"},
                "name": "A-NAME", "namespace": "odigos-system",
                "ownerReferences": [{"apiVersion": "v1", "kind": "ServiceAccount", "name": "odigos-detection", "uid": "u-1"}]
            },
            "spec": {
                "activeDeadlineSeconds": 300, "automountServiceAccountToken": false, "enableServiceLinks": false, "hostPID": true,
                "imagePullSecrets": [{"name": "s"}], "nodeName": "n1", "restartPolicy": "Never",
                "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                "serviceAccountName": "odigos-detection", "terminationGracePeriodSeconds": 1, "tolerations": [{"operator": "Exists"}],
                "containers": [{
                    "name": "detect", "image": "r/agent:1", "imagePullPolicy": "Always", "args": ["detect", "--log=info"],
                    "env": [
                        {"name": "ODIGOS_DETECTION_REQUEST", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['odigos.io/detection-request']"}}},
                        {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
                    ],
                    "resources": {"limits": {"memory": "128Mi"}},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                    "securityContext": {
                        "runAsUser": 0, "runAsGroup": 0, "privileged": false, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                        "capabilities": {"drop": ["ALL"], "add": ["SYS_PTRACE", "DAC_READ_SEARCH"]}
                    }
                }]
            }
        }"#;
        let expected = expected.replace("A-NAME", pod["metadata"]["name"].as_str().unwrap());
        assert_eq!(pod, serde_json::from_str::<Value>(&expected).unwrap());
        assert!(pod["metadata"]["name"].as_str().unwrap().starts_with("odigos-detection-"));
    }

    #[test]
    fn each_one_has_a_name_of_its_own() {
        let of = |node: &str, seconds: i64| name(node, &Request::default(), Timestamp::from_second(seconds).unwrap());
        assert_eq!(of("n1", 1), of("n1", 1));
        assert!(of("n1", 1) != of("n2", 1) && of("n1", 1) != of("n1", 2));
    }

    #[test]
    fn only_linux_nodes_that_are_machines_and_wanted() {
        let linux = ("kubernetes.io/os", "linux");
        let rows = [
            (vec![linux], None),
            (vec![("kubernetes.io/os", "windows")], Some("runs windows")),
            (vec![linux, ("type", "virtual-kubelet")], Some("virtual")),
            (vec![linux, ("eks.amazonaws.com/compute-type", "fargate")], Some("virtual")),
            (vec![], Some("lacks the label kubernetes.io/os=linux")),
        ];
        for (pairs, expected) in rows {
            let found = unfit("n1", &labels(&pairs), &options(""));
            assert_eq!(found.is_some(), expected.is_some(), "{found:?}");
            assert!(expected.is_none_or(|word| found.is_some_and(|found| found.contains(word))), "{expected:?}");
        }
    }
}
