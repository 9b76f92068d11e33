//! Nodes without an agent: the instrumentor makes detection pods, and takes what they say into statuses.
//!
//! The kubelet here is a stand-in: it runs the real `odigos-agent detect` with what the pod states, against made-up processes, and
//! puts its exit code and its message into the pod's status as a kubelet does. API server and instrumentor are real, with the
//! permissions of the chart.

use crate::node::{Node, api_of, binary, id, is_ready, pod_of, start};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt};
use odigos_api::labels::{DETECTION_POD, DETECTION_REQUEST};
use odigos_api::{API_VERSION, names};
use odigos_testkit::api_server::ApiServer;
use odigos_testkit::binaries;
use odigos_testkit::chart;
use odigos_testkit::control_plane::{Controller, Launch, NAMESPACE, apply, get_object, try_out};
use odigos_testkit::ports::free_port;
use odigos_testkit::process::eventually;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Pauses between detection pods of a workload double from 10 s on, so a slow machine reaches longer ones.
const LIMIT: Duration = Duration::from_secs(180);

/// What the stand-in knows and has seen.
#[derive(Default)]
struct Record {
    /// `/proc` of each node.
    nodes: BTreeMap<String, PathBuf>,
    /// Nodes that cannot have the image.
    without_image: BTreeSet<String>,
    /// Detection pods that there were, with their nodes.
    pods: BTreeMap<String, String>,
    /// Most of them at once.
    most: usize,
}

struct Kubelet {
    task: tokio::task::JoinHandle<()>,
    record: Arc<Mutex<Record>>,
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Kubelet {
    fn start(client: Client, binary: PathBuf, nodes: &[&Node]) -> Self {
        let nodes = nodes.iter().map(|node| (node.name.to_owned(), node.folder.path().join("proc"))).collect();
        let record = Arc::new(Mutex::new(Record { nodes, ..Record::default() }));
        let known = record.clone();
        #[allow(clippy::disallowed_methods, reason = "a stand-in lives as long as its handle")]
        let task = tokio::spawn(async move {
            let api = detection_pods(&client);
            loop {
                let all = api.list(&ListParams::default().labels(DETECTION_POD)).await.map(|list| list.items);
                let all = all.unwrap_or_default();
                {
                    let mut record = known.lock().unwrap();
                    record.most = record.most.max(all.len());
                    for pod in &all {
                        let node = pod.data["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
                        record.pods.insert(pod.name_any(), node);
                    }
                }
                for pod in all {
                    if pod.metadata.deletion_timestamp.is_some() {
                        let _ = api.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await;
                    }
                    if let Some(status) = run(&known, &binary, &pod) {
                        let patch = Patch::Merge(json!({"status": status}));
                        let _ = api.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await;
                    }
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Self { task, record }
    }

    /// How many detection pods there were, on each node.
    fn made(&self) -> BTreeMap<String, usize> {
        let mut made = BTreeMap::new();
        for node in self.record.lock().unwrap().pods.values() {
            *made.entry(node.clone()).or_default() += 1;
        }
        made
    }
}

/// Runs what the pod states; its new status, if there is one.
fn run(record: &Mutex<Record>, binary: &PathBuf, pod: &DynamicObject) -> Option<Value> {
    let spec = &pod.data["spec"];
    let node = spec["nodeName"].as_str().unwrap();
    if !matches!(pod.data.pointer("/status/phase").and_then(Value::as_str), None | Some("Pending"))
        || pod.metadata.deletion_timestamp.is_some()
    {
        return None;
    }
    let container = |state: Value| json!([{"name": "detect", "ready": false, "restartCount": 0, "image": "i", "imageID": "", "state": state}]);
    let (proc, has_image) = {
        let record = record.lock().unwrap();
        (record.nodes.get(node).cloned()?, !record.without_image.contains(node))
    };
    if !has_image {
        let waiting = json!({"waiting": {"reason": "ErrImageNeverPull", "message": "the image is not on the node"}});
        return Some(json!({"phase": "Pending", "containerStatuses": container(waiting)}));
    }
    let message = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(binary);
    for argument in spec["containers"][0]["args"].as_array().unwrap() {
        command.arg(argument.as_str().unwrap());
    }
    command
        .env("ODIGOS_DETECTION_REQUEST", &pod.annotations()[DETECTION_REQUEST])
        .env("NODE_NAME", node)
        .arg(format!("--proc={}", proc.display()))
        .arg(format!("--message={}", message.path().display()));
    let code = command.output().unwrap().status.code().unwrap();
    let told = std::fs::read_to_string(message.path()).unwrap();
    assert!(told.len() <= 4096, "a kubelet keeps no more");
    let ended = json!({"terminated": {"exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" }, "message": told}});
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    Some(json!({"phase": phase, "containerStatuses": container(ended)}))
}

fn detection_pods(client: &Client) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Pod"));
    Api::namespaced_with(client.clone(), NAMESPACE, &resource)
}

/// What the chart installs for detection pods, and its configuration as the scheduler would pass it on.
async fn install(client: &Client) {
    let rendered = chart::render(NAMESPACE, &["agent.mode=pod"]).unwrap();
    for document in serde_yaml::Deserializer::from_str(&rendered) {
        let object = Value::deserialize(document).unwrap();
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if name.starts_with("odigos-detection") {
            apply(client, &object).await.unwrap();
        }
        if name == names::CONFIGURATION {
            let effective = json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": names::EFFECTIVE_CONFIGURATION, "namespace": NAMESPACE}, "data": object["data"],
            });
            apply(client, &effective).await.unwrap();
        }
    }
}

/// A covered Deployment whose only pod stands on a node; its containers.
async fn deploy(client: &Client, name: &str, containers: &[&str]) {
    let list: Vec<Value> = containers.iter().map(|name| json!({"name": name, "image": "none"})).collect();
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": list}},
        },
    });
    apply(client, &object).await.unwrap();
    let status = json!({"status": {"replicas": 1, "readyReplicas": 1, "availableReplicas": 1}});
    let api = api_of(client, "Deployment", "apps/v1");
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    let source = json!({
        "apiVersion": API_VERSION, "kind": "Source", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"workload": {"kind": "Deployment", "name": name, "namespace": "shop"}},
    });
    apply(client, &source).await.unwrap();
}

async fn node(client: &Client, name: &str, system: &str) {
    let labels = json!({"kubernetes.io/os": system});
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}});
    apply(client, &node).await.unwrap();
}

/// Languages by container, and the condition.
async fn told(client: &Client, name: &str) -> (Vec<String>, String, String) {
    let config = format!("deployment-{name}");
    let Ok(config) = get_object(client, API_VERSION, "InstrumentationConfig", "shop", &config).await else {
        return Default::default();
    };
    let list = |pointer: &str| config.data.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
    let details = list("/status/runtimeDetailsByContainer");
    let details = details.iter().map(|one| format!("{} {}", text(one, "containerName"), text(one, "language")));
    let conditions = list("/status/conditions");
    let condition = conditions.iter().find(|one| one["type"] == "RuntimeDetection").cloned().unwrap_or_default();
    let reason = format!("{}/{}", text(&condition, "status"), text(&condition, "reason"));
    (details.collect(), reason, text(&condition, "message"))
}

async fn until(client: &Client, name: &str, languages: &[&str], reason: &str, word: &str, controller: &Controller) {
    let is_so = || async {
        let (found, said, message) = told(client, name).await;
        found == languages && said == reason && message.contains(word)
    };
    if let Err(error) = eventually(&format!("{name}: {languages:?} {reason} {word}"), LIMIT, is_so).await {
        panic!("{error}: {:?}\n{}", told(client, name).await, controller.process.tail());
    }
}

async fn none_is_left(client: &Client) {
    let is_gone = || async {
        let left = detection_pods(client).list(&ListParams::default().labels(DETECTION_POD)).await;
        left.is_ok_and(|left| left.items.is_empty())
    };
    eventually("no detection pod is left", LIMIT, is_gone).await.unwrap();
}

struct Stage {
    api: ApiServer,
    client: Client,
    one: Node,
    two: Node,
    kubelet: Kubelet,
    controller: Controller,
}

impl Stage {
    async fn set() -> Self {
        let (api, client) = start().await;
        install(&client).await;
        let (one, two) = (Node::new("one"), Node::new("two"));
        for (name, system) in [("one", "linux"), ("two", "linux"), ("win", "windows")] {
            node(&client, name, system).await;
        }
        let kubelet = Kubelet::start(client.clone(), binary(), &[&one, &two]);
        let binaries = binaries::built().unwrap();
        let launch = Launch { binaries, webhook_port: free_port().unwrap(), lease_seconds: 5 };
        let controller = launch.start(&api, names::INSTRUMENTOR, 0).await.unwrap();
        Self { api, client, one, two, kubelet, controller }
    }

    async fn until(&self, name: &str, languages: &[&str], reason: &str, word: &str) {
        until(&self.client, name, languages, reason, word, &self.controller).await;
    }
}

#[tokio::test]
async fn detection_pods_find_what_runs_and_go() {
    let stage = Stage::set().await;
    let client = &stage.client;
    // Pods that are ready before their workload is covered.
    let web = pod_of(client, "web", "web-5d4f-a", "one", &["app", "sidecar", "injected"]).await;
    stage.one.process(
        100,
        &web,
        &id(1),
        "/usr/local/bin/python3.11",
        &["PYTHON_VERSION=3.11.4", "PYTHONPATH=/stated", "PASSWORD=hunter2"],
    );
    stage.one.process(101, &web, &id(2), "/usr/local/bin/node", &["NODE_VERSION=20.17.0", "NODE_OPTIONS=--title=x"]);
    let images =
        [("app", id(1), "app@sha256:1"), ("sidecar", id(2), "side@sha256:1"), ("injected", id(3), "other@sha256:1")];
    is_ready(client, "web-5d4f-a", &images).await;
    let cart = pod_of(client, "cart", "cart-5d4f-a", "one", &["app"]).await;
    stage.one.process(200, &cart, &id(4), "/opt/ruby/bin/ruby", &["RUBY_VERSION=3.3.1"]);
    is_ready(client, "cart-5d4f-a", &[("app", id(4), "cart@sha256:1")]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(stage.kubelet.made().is_empty(), "nobody asked for these workloads");

    deploy(client, "web", &["app", "sidecar"]).await;
    deploy(client, "cart", &["app"]).await;
    stage.until("web", &["app python", "sidecar javascript"], "True/DetectedSuccessfully", "app: python 3.11.4").await;
    stage.until("cart", &["app ruby"], "True/DetectedSuccessfully", "ruby 3.3.1").await;
    none_is_left(client).await;
    let config = get_object(client, API_VERSION, "InstrumentationConfig", "shop", "deployment-web").await.unwrap();
    let text = serde_json::to_string(&config.data).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    let entry = &config.data["status"]["runtimeDetailsByContainer"];
    assert_eq!(entry[0]["observedImage"]["id"], "app@sha256:1");
    assert_eq!(entry[0].get("envFromContainerRuntime"), None, "the pod states it");
    assert_eq!(entry[1]["envFromContainerRuntime"], json!([{"name": "NODE_OPTIONS", "value": "--title=x"}]));
    let managers = config.metadata.managed_fields.clone().unwrap_or_default();
    let writes = |manager: &str| {
        let own = managers.iter().filter(|one| one.manager.as_deref() == Some(manager));
        own.filter_map(|one| one.fields_v1.as_ref()).any(|one| one.0.to_string().contains("runtimeDetailsByContainer"))
    };
    assert!(writes(names::AGENT) && !writes(names::INSTRUMENTOR), "one writer, whoever looks");
    let first = stage.kubelet.made();
    assert!(first["one"] <= 2 && first.len() == 1, "{first:?}");

    // Nothing else is looked at: not for a replica, not after a while.
    let replica = pod_of(client, "web", "web-5d4f-b", "two", &["app", "sidecar"]).await;
    stage.two.process(100, &replica, &id(5), "/usr/local/bin/python3.11", &[]);
    is_ready(client, "web-5d4f-b", &[("app", id(5), "app@sha256:1"), ("sidecar", id(6), "side@sha256:1")]).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(stage.kubelet.made(), first);

    // Another image in a younger pod.
    let next = pod_of(client, "web", "web-77aa-a", "two", &["app", "sidecar"]).await;
    stage.two.process(110, &next, &id(7), "/opt/ruby/bin/ruby", &["RUBY_VERSION=3.3.1"]);
    stage.two.process(111, &next, &id(8), "/usr/local/bin/node", &["NODE_VERSION=20.17.0"]);
    is_ready(client, "web-77aa-a", &[("app", id(7), "app@sha256:2"), ("sidecar", id(8), "side@sha256:1")]).await;
    stage.until("web", &["app ruby", "sidecar javascript"], "True/DetectedSuccessfully", "ruby").await;
    none_is_left(client).await;
    assert_eq!(stage.kubelet.made()["two"], 1);
    for (account, did) in stage.api.audited() {
        assert!(did.forbidden.is_empty(), "{account} may not {:?}", did.forbidden);
    }
}

#[tokio::test]
async fn what_keeps_detection_pods_from_looking_is_said() {
    let stage = Stage::set().await;
    let client = &stage.client;
    stage.kubelet.record.lock().unwrap().without_image.insert("two".into());
    for (name, node, number) in [("legacy", "win", 1), ("web", "two", 2), ("empty", "one", 3)] {
        let uid = pod_of(client, name, &format!("{name}-5d4f-a"), node, &["app"]).await;
        stage.two.process(100 + number, &uid, &id(number), "/usr/local/bin/node", &["NODE_VERSION=20.17.0"]);
        is_ready(client, &format!("{name}-5d4f-a"), &[("app", id(number), "app@sha256:1")]).await;
        deploy(client, name, &["app"]).await;
    }
    stage.until("legacy", &[], "False/Error", "node win runs windows").await;
    stage.until("web", &[], "False/Error", "does not start (ErrImageNeverPull): the image is not on the node").await;
    stage.until("empty", &[], "False/Error", "none of its processes was found on node one").await;
    assert!(!stage.kubelet.made().contains_key("win"));
    none_is_left(client).await;
    // It is tried again, and mends itself.
    stage.kubelet.record.lock().unwrap().without_image.clear();
    stage.until("web", &["app javascript"], "True/DetectedSuccessfully", "javascript 20.17.0").await;
    none_is_left(client).await;
    assert!(stage.kubelet.record.lock().unwrap().most <= 4);
}

#[tokio::test]
async fn a_namespace_that_allows_no_such_pods_is_named() {
    let stage = Stage::set().await;
    let client = &stage.client;
    let namespaces: Api<DynamicObject> =
        Api::all_with(client.clone(), &ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Namespace")));
    let enforce = |level: Value| json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}});
    let parameters = PatchParams::default();
    namespaces.patch(NAMESPACE, &parameters, &Patch::Merge(enforce(json!("baseline")))).await.unwrap();
    // The API server's own view of namespaces follows.
    let forbidden = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "forbidden", "namespace": NAMESPACE},
        "spec": {"hostPID": true, "containers": [{"name": "app", "image": "none"}]},
    });
    let is_enforced = || async { try_out(client, &forbidden).await.is_err() };
    eventually("the level is enforced", LIMIT, is_enforced).await.unwrap();
    let uid = pod_of(client, "web", "web-5d4f-a", "one", &["app"]).await;
    stage.one.process(100, &uid, &id(1), "/usr/local/bin/node", &["NODE_VERSION=20.17.0"]);
    is_ready(client, "web-5d4f-a", &[("app", id(1), "app@sha256:1")]).await;
    deploy(client, "web", &["app"]).await;
    stage.until("web", &[], "False/Error", "the API server refuses detection pods").await;
    let (_, _, message) = told(client, "web").await;
    assert!(message.contains("PodSecurity") && message.contains("baseline"), "{message}");
    assert!(stage.kubelet.made().is_empty());
    namespaces.patch(NAMESPACE, &parameters, &Patch::Merge(enforce(json!("privileged")))).await.unwrap();
    stage.until("web", &["app javascript"], "True/DetectedSuccessfully", "javascript").await;
    none_is_left(client).await;
}
