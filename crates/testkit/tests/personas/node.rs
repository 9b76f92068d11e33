//! Root on one node: it has the tokens of the product's pods there, and does with them whatever the API server lets it.
//!
//! Accounts and policies are the chart's. What each account needs passes, what it needs not is refused.

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use odigos_api::labels::{PREPARED_NODE, STREAM_CLASS};
use odigos_api::names;
use odigos_testkit::api_server::ApiServer;
use odigos_testkit::control_plane::{self, NAMESPACE, apply, create_namespace};
use odigos_testkit::ports::free_port;
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::time::Duration;

fn api(client: &Client, version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    if namespace.is_empty() {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, &resource)
    }
}

/// What the API server says of a merge patch: nothing, or why not.
async fn patched(api: &Api<DynamicObject>, name: &str, change: Value) -> Result<(), String> {
    api.patch(name, &PatchParams::default(), &Patch::Merge(&change)).await.map(drop).map_err(|error| error.to_string())
}

fn refused(answer: Result<(), String>, what: &str) {
    let error = answer.expect_err(what);
    assert!(error.contains("denied request") && error.contains("odig"), "{what}: {error}");
}

async fn prepare(client: &Client) {
    for namespace in [NAMESPACE, "shop"] {
        create_namespace(client, namespace).await.unwrap();
    }
    control_plane::install(client, free_port().unwrap()).await.unwrap();
    // No webhook answers here.
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        let webhooks = api(client, "admissionregistration.k8s.io/v1", kind, "");
        webhooks.delete(names::INSTRUMENTOR, &kube::api::DeleteParams::default()).await.unwrap();
    }
    for name in ["local", "other"] {
        apply(client, &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})).await.unwrap();
    }
    let pod = |namespace: &str, name: &str, account: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
            "spec": {"nodeName": "local", "serviceAccountName": account, "containers": [{"name": "app", "image": "none"}]},
        })
    };
    for name in [names::AGENT_SERVICE, names::SCHEDULER, names::INSTRUMENTOR] {
        apply(client, &pod(NAMESPACE, name, name)).await.unwrap();
    }
    apply(client, &pod("shop", "till", "default")).await.unwrap();
    let template =
        json!({"metadata": {"labels": {"app": "till"}}, "spec": {"containers": [{"name": "app", "image": "none"}]}});
    let spec = json!({"replicas": 1, "selector": {"matchLabels": {"app": "till"}}, "template": template});
    let metadata = json!({"name": "till", "namespace": "shop"});
    apply(client, &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}))
        .await
        .unwrap();
    let config = json!({
        "apiVersion": odigos_api::API_VERSION, "kind": "InstrumentationConfig",
        "metadata": {"name": "deployment-till", "namespace": "shop"}, "spec": {},
    });
    apply(client, &config).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_change_what_they_are_for_and_agents_what_is_of_their_node() {
    let server = ApiServer::start().await.unwrap();
    let admin = server.client().await.unwrap();
    prepare(&admin).await;
    let as_ = async |account: &str| server.client_in_pod(NAMESPACE, account, account).await.unwrap();

    let agent = as_(names::AGENT_SERVICE).await;
    let nodes = api(&agent, "v1", "Node", "");
    let label = json!({"metadata": {"labels": {PREPARED_NODE: "true"}}});
    // Policies are in force some seconds after they are stored.
    let in_force = eventually("policies are in force", Duration::from_secs(60), || async {
        patched(&nodes, "other", label.clone()).await.is_err()
    });
    in_force.await.unwrap();
    refused(patched(&nodes, "other", label.clone()).await, "another node");
    patched(&nodes, "local", label).await.unwrap();
    refused(patched(&nodes, "local", json!({"metadata": {"labels": {"pool": "mine"}}})).await, "another label");
    let taint = json!({"spec": {"taints": [{"key": "a", "effect": "NoExecute"}]}});
    refused(patched(&nodes, "local", taint).await, "a taint");

    let instances = api(&agent, odigos_api::API_VERSION, "InstrumentationInstance", "shop");
    let instance = |name: &str, node: &str| -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": odigos_api::API_VERSION, "kind": "InstrumentationInstance",
            "metadata": {"name": name, "namespace": "shop", "labels": {"odigos.io/node": node}}, "spec": {"containerName": "app"},
        }))
        .unwrap()
    };
    instances.create(&PostParams::default(), &instance("mine", "local")).await.unwrap();
    let theirs = instances.create(&PostParams::default(), &instance("theirs", "other")).await;
    refused(theirs.map(drop).map_err(|error| error.to_string()), "an instance of another node");
    let moved = json!({"metadata": {"labels": {"odigos.io/node": "other"}}});
    refused(patched(&instances, "mine", moved).await, "a node's instances stay with it");

    let configs = api(&agent, odigos_api::API_VERSION, "InstrumentationConfig", "shop");
    let status = async |status: Value| {
        let patch = json!({"status": status});
        let answer = configs.patch_status("deployment-till", &PatchParams::default(), &Patch::Merge(&patch)).await;
        answer.map(drop).map_err(|error| error.to_string())
    };
    let condition = |kind: &str| json!({"conditions": [{"type": kind, "status": "True", "reason": "A", "message": "a", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    status(condition("RuntimeDetection")).await.unwrap();
    refused(status(condition("Rollout")).await, "a condition of others");
    refused(status(json!({"rollback": {"reason": "CrashLoopBackOff"}})).await, "a rollback");

    let scheduler = as_(names::SCHEDULER).await;
    let pods = api(&scheduler, "v1", "Pod", "shop");
    patched(&pods, "till", json!({"metadata": {"labels": {STREAM_CLASS: "c1"}}})).await.unwrap();
    let image = json!([{"op": "replace", "path": "/spec/containers/0/image", "value": "theirs"}]);
    let image = Patch::Json::<()>(serde_json::from_value(image).unwrap());
    let answer = pods.patch("till", &PatchParams::default(), &image).await;
    refused(answer.map(drop).map_err(|error| error.to_string()), "an image in a running pod");
    refused(patched(&pods, "till", json!({"metadata": {"labels": {"app": "other"}}})).await, "another label");
    refused(patched(&pods, "till", json!({"metadata": {"annotations": {"a": "b"}}})).await, "an annotation");

    let instrumentor = as_(names::INSTRUMENTOR).await;
    let deployments = api(&instrumentor, "apps/v1", "Deployment", "shop");
    let annotation =
        |key: &str| json!({"spec": {"template": {"metadata": {"annotations": {key: "2026-01-01T00:00:00Z"}}}}});
    patched(&deployments, "till", annotation("kubectl.kubernetes.io/restartedAt")).await.unwrap();
    refused(patched(&deployments, "till", annotation("another")).await, "another annotation");
    refused(patched(&deployments, "till", json!({"spec": {"replicas": 0}})).await, "replicas");
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "theirs"}]}}}});
    refused(patched(&deployments, "till", image).await, "an image");
    let labels = json!({"spec": {"template": {"metadata": {"labels": {"b": "c"}}}}});
    refused(patched(&deployments, "till", labels).await, "a label of the template");
}
