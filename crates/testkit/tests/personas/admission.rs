//! Clusters whose rules for pods are no label of a namespace: the default of Pod Security, a policy like a SecurityContextConstraint,
//! a LimitRange. No pod may be refused because of us (C4 of the review).
//!
//! Owns what such clusters admit; agents are decided and injected by the real instrumentor.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams};
use odigos_api::labels::AGENTS_META_HASH;
use odigos_testkit::control_plane::{apply, list};
use odigos_testkit::instrumentor::{LIMIT, Plane};
use odigos_testkit::policy::Policy;
use odigos_testkit::process::eventually;
use serde_json::json;

/// A policy that refuses host paths everywhere but where the control plane is, as a SecurityContextConstraint does.
async fn refuse_host_paths(plane: &Plane) {
    let probe = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": "default"},
        "spec": {"containers": [{"name": "a", "image": "none"}], "volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
    });
    let policy = Policy {
        name: "no-host-paths",
        resource: "pods",
        expression: "!has(object.spec.volumes) || object.spec.volumes.all(volume, !has(volume.hostPath))",
        message: "hostPath volumes are not allowed to be used",
        namespace: None,
    };
    policy.enforce(&plane.client, &probe).await.unwrap();
}

/// Deploys, covers, detects, and returns the pod with its agents; nothing was refused on the way.
pub(crate) async fn no_pod_is_refused(level: Option<&str>, has_policy: bool) {
    let plane = Plane::start_with_pod_security(level).await.unwrap();
    if has_policy {
        refuse_host_paths(&plane).await;
    }
    let mut instrumentor = plane.start_instrumentor().await.unwrap();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    apply(&plane.client, &namespace).await.unwrap();
    let range = json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small", "namespace": "shop"},
        "spec": {"limits": [{"type": "Container", "max": {"cpu": "200m", "memory": "128Mi"}, "default": {"cpu": "100m", "memory": "64Mi"}, "min": {"cpu": "20m", "memory": "40Mi"}}]},
    });
    apply(&plane.client, &range).await.unwrap();
    plane.cover("shop").await.unwrap();
    let security = json!({
        "allowPrivilegeEscalation": false, "runAsNonRoot": true, "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    let pod = json!({"containers": [{"name": "app", "image": "none", "securityContext": security}]});
    plane.deploy("shop", "cart", &pod).await.unwrap();
    let java = json!([
        {"containerName": "app", "language": "java", "runtimeVersion": "17.0.12+7", "secureExecutionMode": false},
    ]);
    plane.detect("shop", "deployment-cart", &java).await.unwrap();
    let injected = plane.rolled_out("shop", "cart", 2).await.unwrap();
    assert!(injected["metadata"]["labels"].get(AGENTS_META_HASH).is_some());
    assert!(!injected["spec"].to_string().contains("hostPath"));
    let resources = &injected["spec"]["initContainers"][0]["resources"];
    assert_eq!(resources["limits"], json!({"cpu": "200m", "memory": "128Mi"}));
    assert_eq!(resources["requests"], json!({"cpu": "20m", "memory": "40Mi"}));
    // A node is drained: the pod comes again.
    let pods: Api<Pod> = Api::namespaced(plane.client.clone(), "shop");
    pods.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    let name = injected["metadata"]["name"].as_str().unwrap();
    let is_replaced = || async {
        let found = pods.list(&ListParams::default()).await.map(|found| found.items).unwrap_or_default();
        found.len() == 1 && found[0].metadata.name.as_deref() != Some(name)
    };
    eventually("another pod comes", LIMIT, is_replaced).await.unwrap();
    let events = list(&plane.client, "v1", "Event").await.unwrap();
    let refused: Vec<String> = events
        .iter()
        .filter(|event| event.data["reason"] == "FailedCreate")
        .map(|event| event.data["message"].to_string())
        .collect();
    assert_eq!(refused, Vec::<String>::new(), "{level:?}");
    instrumentor.kill();
}
