//! Root on one node: it has the tokens of the product's pods there, and does with them whatever the API server lets it.
//!
//! Accounts and policies are the chart's. What each account needs passes, what it needs not is refused.

use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use odigos_api::labels::{
    DEFAULT_STREAM_LABEL, METRICS_OFF, PREPARED_NODE, ROLLBACK_RECOVERY, SOURCE_FINALIZER, STREAM_CLASS,
};
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

/// The same of the status.
async fn status_patched(api: &Api<DynamicObject>, name: &str, status: &Value) -> Result<(), String> {
    let patch = json!({"status": status});
    let answer = api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
    answer.map(drop).map_err(|error| error.to_string())
}

/// What ends an object or keeps it from ending: each of them is refused.
async fn life_stays(api: &Api<DynamicObject>, name: &str) {
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "nowhere", "uid": "00000000-0000-0000-0000-000000000000"});
    for (what, change) in [
        ("an owner that does not exist", json!({"ownerReferences": [owner]})),
        ("a finalizer", json!({"finalizers": ["example.com/mine"]})),
    ] {
        refused(patched(api, name, json!({"metadata": change})).await, &format!("{what} of {name}"));
    }
}

/// What nobody but its author has to do with the metadata of an object: each of them is refused.
async fn metadata_stays(api: &Api<DynamicObject>, name: &str) {
    life_stays(api, name).await;
    for (what, change) in [
        ("a label", json!({"labels": {"pool": "mine"}})),
        ("an annotation", json!({"annotations": {"example.com/mine": "b"}})),
    ] {
        refused(patched(api, name, json!({"metadata": change})).await, &format!("{what} of {name}"));
    }
}

fn instance(name: &str, metadata: Value) -> DynamicObject {
    let mut object = json!({
        "apiVersion": odigos_api::API_VERSION, "kind": "InstrumentationInstance", "metadata": metadata,
        "spec": {"containerName": "app"},
    });
    object["metadata"]["name"] = json!(name);
    object["metadata"]["namespace"] = json!("shop");
    serde_json::from_value(object).unwrap()
}

fn refused(answer: Result<(), String>, what: &str) {
    let error = answer.expect_err(what);
    assert!(error.contains("denied request") && error.contains("odig"), "{what}: {error}");
}

/// Names of nodes that are the same as far as a label goes.
fn long_node(end: &str) -> String {
    format!("{}.{end}", "n".repeat(70))
}

async fn prepare(client: &Client) {
    for namespace in [NAMESPACE, "shop"] {
        create_namespace(client, namespace).await.unwrap();
    }
    control_plane::install(client, free_port().unwrap()).await.unwrap();
    // No webhook answers here.
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        let webhooks = api(client, "admissionregistration.k8s.io/v1", kind, "");
        webhooks.delete(names::INSTRUMENTOR, &DeleteParams::default()).await.unwrap();
    }
    for name in ["local", "other", &long_node("a"), &long_node("b")] {
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
    for end in ["a", "b"] {
        let mut agent = pod(NAMESPACE, &format!("agent-{end}"), names::AGENT_SERVICE);
        agent["spec"]["nodeName"] = json!(long_node(end));
        apply(client, &agent).await.unwrap();
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
    let source = json!({
        "apiVersion": odigos_api::API_VERSION, "kind": "Source",
        "metadata": {"name": "till", "namespace": "shop", "finalizers": [SOURCE_FINALIZER, "example.com/theirs"]},
        "spec": {"workload": {"namespace": "shop", "kind": "Deployment", "name": "till"}},
    });
    apply(client, &source).await.unwrap();
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
    metadata_stays(&nodes, "local").await;

    let instances = api(&agent, odigos_api::API_VERSION, "InstrumentationInstance", "shop");
    let on = |node: &str| json!({"labels": {"odigos.io/node": node}});
    instances.create(&PostParams::default(), &instance("mine", on("local"))).await.unwrap();
    let theirs = instances.create(&PostParams::default(), &instance("theirs", on("other"))).await;
    refused(theirs.map(drop).map_err(|error| error.to_string()), "an instance of another node");
    let moved = json!({"metadata": {"labels": {"odigos.io/node": "other"}}});
    refused(patched(&instances, "mine", moved).await, "a node's instances stay with it");
    let well = json!({"healthy": true, "lastStatusTime": "2026-01-01T00:00:00Z"});
    status_patched(&instances, "mine", &well).await.unwrap();
    api(&admin, odigos_api::API_VERSION, "InstrumentationInstance", "shop")
        .create(&PostParams::default(), &instance("theirs", on("other")))
        .await
        .unwrap();
    refused(status_patched(&instances, "theirs", &well).await, "the status of another node's instance");

    let configs = api(&agent, odigos_api::API_VERSION, "InstrumentationConfig", "shop");
    let status = async |status: Value| status_patched(&configs, "deployment-till", &status).await;
    let condition = |kind: &str| json!({"conditions": [{"type": kind, "status": "True", "reason": "A", "message": "a", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    refused(status(condition("RuntimeDetection")).await, "a condition");
    refused(status(condition("Rollout")).await, "a condition of others");
    refused(status(json!({"rollback": {"reason": "CrashLoopBackOff"}})).await, "a rollback");
    let details = json!({"runtimeDetailsByContainer": [{"containerName": "app", "language": "java"}]});
    refused(status(details).await, "what is known of a workload");
    nodes_report_in_their_own_name(&server, &configs).await;
    reports_are_bounded_before_they_are_stored(&configs).await;
    tokens_without_a_node_change_nothing(&server).await;

    let scheduler = as_(names::SCHEDULER).await;
    let pods = api(&scheduler, "v1", "Pod", "shop");
    patched(&pods, "till", json!({"metadata": {"labels": {STREAM_CLASS: "c1"}}})).await.unwrap();
    let image = json!([{"op": "replace", "path": "/spec/containers/0/image", "value": "theirs"}]);
    let image = Patch::Json::<()>(serde_json::from_value(image).unwrap());
    let answer = pods.patch("till", &PatchParams::default(), &image).await;
    refused(answer.map(drop).map_err(|error| error.to_string()), "an image in a running pod");
    refused(patched(&pods, "till", json!({"metadata": {"labels": {"app": "other"}}})).await, "another label");
    metadata_stays(&pods, "till").await;
    let configs = api(&scheduler, odigos_api::API_VERSION, "InstrumentationConfig", "shop");
    patched(&configs, "deployment-till", json!({"metadata": {"labels": {STREAM_CLASS: "c1"}}})).await.unwrap();
    refused(patched(&configs, "deployment-till", json!({"spec": {"serviceName": "b"}})).await, "a decision");
    metadata_stays(&configs, "deployment-till").await;

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
    life_stays(&deployments, "till").await;
    sources_are_let_go_and_nothing_else(&admin, &instrumentor).await;
    configs_are_decided_and_keep_what_others_add(&admin, &instrumentor).await;
    long_names_are_compared_whole(&server, &admin).await;
}

/// An agent adds, changes and removes the report of its node, and none of another's.
async fn nodes_report_in_their_own_name(server: &ApiServer, local: &Api<DynamicObject>) {
    let other = server.client_in_pod(NAMESPACE, names::AGENT_SERVICE, "agent-a").await.unwrap();
    let other = api(&other, odigos_api::API_VERSION, "InstrumentationConfig", "shop");
    let report = |node: &str, pod: &str| json!({"node": node, "pod": pod, "podUid": "u"});
    let write = async |agent: &Api<DynamicObject>, reports: Value| {
        status_patched(agent, "deployment-till", &json!({"runtimeReports": reports})).await
    };
    let theirs = long_node("a");
    write(local, json!([report("local", "till")])).await.unwrap();
    write(local, json!([report("local", "till-b")])).await.unwrap();
    refused(write(local, json!([report("local", "a"), report("local", "b")])).await, "two reports of a node");
    refused(write(&other, json!([report(&theirs, "till")])).await, "the report of another goes");
    refused(write(&other, json!([])).await, "the reports of all go");
    refused(write(&other, json!([report("local", "a"), report(&theirs, "till")])).await, "the report of another");
    refused(write(&other, json!([report("local", "till-b"), report("third", "a")])).await, "in the name of a third");
    // Names that are the same as far as a label goes are different nodes.
    refused(write(&other, json!([report("local", "till-b"), report(&long_node("b"), "a")])).await, "a longer name");
    write(&other, json!([report("local", "till-b"), report(&theirs, "till")])).await.unwrap();
    refused(write(local, json!([report("local", "till-b")])).await, "the report of another goes");
    write(&other, json!([report("local", "till-b")])).await.unwrap();
    write(local, json!([])).await.unwrap();
}

/// What is too large is not stored, whoever watches.
async fn reports_are_bounded_before_they_are_stored(local: &Api<DynamicObject>) {
    let value = |size: usize| json!({"name": "JAVA_TOOL_OPTIONS", "value": "x".repeat(size)});
    let report = |variables: Vec<Value>, problem: &str| {
        let details = json!({"containerName": "app", "language": "java", "envVars": variables});
        json!({"node": "local", "pod": "till", "podUid": "u", "problem": problem, "containers": [{"details": details}]})
    };
    let write =
        async |report: Value| status_patched(local, "deployment-till", &json!({"runtimeReports": [report]})).await;
    write(report(vec![value(32 << 10); 3], "")).await.unwrap();
    refused(write(report(vec![value(32 << 10); 4], "")).await, "variables of 128 KiB");
    let empty = json!({"name": ""});
    refused(write(report(vec![empty; 9_000], "")).await, "many empty variables");
    for (what, one) in [
        ("a long problem", report(Vec::new(), &"x".repeat(1_025))),
        (
            "many containers",
            json!({"node": "local", "pod": "till", "podUid": "u", "containers": vec![json!({"details": {"language": "java"}}); 129]}),
        ),
        ("a long name", json!({"node": "local", "pod": "p".repeat(254), "podUid": "u"})),
    ] {
        let error = write(one).await.expect_err(what);
        assert!(error.contains("Too long") || error.contains("Too many"), "{what}: {error}");
    }
    status_patched(local, "deployment-till", &json!({"runtimeReports": []})).await.unwrap();
}

/// A token of the agent's account that was not made for a pod on a node.
async fn tokens_without_a_node_change_nothing(server: &ApiServer) {
    let client = server.client_as(NAMESPACE, names::AGENT_SERVICE).await.unwrap();
    let no_node = |answer: Result<(), String>, what: &str| {
        let error = answer.expect_err(what);
        assert!(error.contains("the token names no node"), "{what}: {error}");
    };
    let nodes = api(&client, "v1", "Node", "");
    no_node(patched(&nodes, "other", json!({"metadata": {"labels": {PREPARED_NODE: "true"}}})).await, "a node");
    let instances = api(&client, odigos_api::API_VERSION, "InstrumentationInstance", "shop");
    let free = instance("free", json!({"labels": {"odigos.io/node": "other"}}));
    let made = instances.create(&PostParams::default(), &free).await;
    no_node(made.map(drop).map_err(|error| error.to_string()), "an instance");
    let well = json!({"healthy": true, "lastStatusTime": "2026-01-01T00:00:00Z"});
    no_node(status_patched(&instances, "mine", &well).await, "the status of an instance");
    let configs = api(&client, odigos_api::API_VERSION, "InstrumentationConfig", "shop");
    let report = json!({"runtimeReports": [{"node": "other", "pod": "till", "podUid": "u"}]});
    no_node(status_patched(&configs, "deployment-till", &report).await, "a report");
}

/// The instrumentor takes its own finalizers, however its webhook fills in a Source meanwhile.
async fn sources_are_let_go_and_nothing_else(admin: &Client, instrumentor: &Client) {
    let sources = api(instrumentor, odigos_api::API_VERSION, "Source", "shop");
    metadata_stays(&sources, "till").await;
    refused(patched(&sources, "till", json!({"spec": {"disableInstrumentation": true}})).await, "a Source's spec");
    let finalizers = |all: &[&str]| json!({"metadata": {"finalizers": all}});
    refused(patched(&sources, "till", finalizers(&[SOURCE_FINALIZER])).await, "the finalizer of others");
    let mut release = finalizers(&["example.com/theirs"]);
    release["metadata"]["labels"] = json!({"odigos.io/workload-name": "till", DEFAULT_STREAM_LABEL: "true"});
    patched(&sources, "till", release).await.unwrap();
    let other = json!({"metadata": {"labels": {DEFAULT_STREAM_LABEL: "false"}}});
    refused(patched(&sources, "till", other).await, "a label that stands");
    patched(&api(admin, odigos_api::API_VERSION, "Source", "shop"), "till", finalizers(&[])).await.unwrap();
}

async fn configs_are_decided_and_keep_what_others_add(admin: &Client, instrumentor: &Client) {
    let configs = api(instrumentor, odigos_api::API_VERSION, "InstrumentationConfig", "shop");
    metadata_stays(&configs, "deployment-till").await;
    let class = json!({"metadata": {"labels": {STREAM_CLASS: "c2"}}});
    refused(patched(&configs, "deployment-till", class).await, "the class of streams");
    let deployment = api(admin, "apps/v1", "Deployment", "shop").get("till").await.unwrap();
    let owner = |name: &str, uid: &str| json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": uid, "controller": true, "blockOwnerDeletion": true}]);
    let uid = deployment.metadata.uid.unwrap();
    let written = |owners: Value| {
        json!({
            "apiVersion": odigos_api::API_VERSION, "kind": "InstrumentationConfig",
            "metadata": {
                "name": "deployment-till", "namespace": "shop", "ownerReferences": owners,
                "labels": {DEFAULT_STREAM_LABEL: "true", METRICS_OFF: "true"},
                "annotations": {ROLLBACK_RECOVERY: "2026-01-01T00:00:00Z"},
            },
            "spec": {"serviceName": "till"},
        })
    };
    let parameters = PatchParams::apply(names::INSTRUMENTOR).force();
    let applied = async |owners: Value| {
        let answer = configs.patch("deployment-till", &parameters, &Patch::Apply(&written(owners))).await;
        answer.map_err(|error| error.to_string())
    };
    let stands = applied(owner("till", &uid)).await.unwrap();
    assert_eq!(stands.metadata.labels.unwrap()[STREAM_CLASS], "c1", "what the scheduler decides stays");
    refused(applied(owner("other", "1")).await.map(drop), "the owner of another config");
    // The workload was made anew.
    applied(owner("till", "00000000-0000-0000-0000-000000000000")).await.unwrap();
    applied(json!([])).await.unwrap();
}

async fn long_names_are_compared_whole(server: &ApiServer, admin: &Client) {
    let in_pod = async |pod: &str| {
        let client = server.client_in_pod(NAMESPACE, names::AGENT_SERVICE, pod).await.unwrap();
        api(&client, odigos_api::API_VERSION, "InstrumentationInstance", "shop")
    };
    let (first, second) = (in_pod("agent-a").await, in_pod("agent-b").await);
    let label = odigos_api::labels::value(&long_node("a"));
    let on = |end: &str| json!({"labels": {"odigos.io/node": label}, "annotations": {"odigos.io/node-name": long_node(end)}});
    let well = json!({"healthy": true, "lastStatusTime": "2026-01-01T00:00:00Z"});
    first.create(&PostParams::default(), &instance("long", on("a"))).await.unwrap();
    status_patched(&first, "long", &well).await.unwrap();
    let made = second.create(&PostParams::default(), &instance("made", on("a"))).await;
    refused(made.map(drop).map_err(|error| error.to_string()), "an instance of the other node");
    refused(status_patched(&second, "long", &well).await, "the status of the other node's instance");
    refused(patched(&second, "long", json!({"metadata": on("b")})).await, "the other node's instance");
    let gone = second.delete("long", &DeleteParams::default()).await;
    refused(gone.map(drop).map_err(|error| error.to_string()), "the other node's instance goes");
    let unnamed =
        second.create(&PostParams::default(), &instance("made", json!({"labels": {"odigos.io/node": label}}))).await;
    refused(unnamed.map(drop).map_err(|error| error.to_string()), "an instance without the whole name");
    // Of a release that wrote the label alone: it is taken over, and then stays with who did.
    let old = instance("old", json!({"labels": {"odigos.io/node": label}}));
    let all = api(admin, odigos_api::API_VERSION, "InstrumentationInstance", "shop");
    all.create(&PostParams::default(), &old).await.unwrap();
    status_patched(&first, "old", &well).await.unwrap();
    patched(&first, "old", json!({"metadata": on("a")})).await.unwrap();
    refused(status_patched(&second, "old", &well).await, "one that was taken over");
}
