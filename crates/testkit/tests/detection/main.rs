//! The node agent against a real API server: made-up processes of a node in, status of an InstrumentationConfig out; two nodes,
//! restarts, other images, and no permission that it lacks.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test ends where something unexpected happens, and reports figures"
)]

mod instances;
mod node;
mod pods;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use node::{Node, api_of, binary, id, is_ready, pod, start};
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::labels::AGENTS_META_HASH;
use odigos_api::{API_VERSION, WorkloadKind, WorkloadRef, names};
use odigos_plan::detection::reports::{self, ReportedPod};
use odigos_testkit::api_server::ApiServer;
use odigos_testkit::binaries;
use odigos_testkit::control_plane::{apply, get_object};
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

async fn config(client: &Client) -> DynamicObject {
    get_object(client, API_VERSION, "InstrumentationConfig", "shop", "deployment-web").await.unwrap()
}

/// Container, language and version of each entry.
async fn details(client: &Client) -> Vec<String> {
    let config = config(client).await;
    let list = config.data.pointer("/status/runtimeDetailsByContainer").and_then(Value::as_array).cloned();
    let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
    let tell = |one: &Value| {
        format!("{} {} {}", text(one, "containerName"), text(one, "language"), text(one, "runtimeVersion"))
            .trim()
            .to_owned()
    };
    list.unwrap_or_default().iter().map(tell).collect()
}

async fn detection(client: &Client) -> String {
    let config = config(client).await;
    let all = config.data.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let one = all.iter().find(|one| one["type"] == "RuntimeDetection").cloned().unwrap_or_default();
    format!("{}/{}", one["status"].as_str().unwrap_or_default(), one["reason"].as_str().unwrap_or_default())
}

/// What the instrumentor writes for a workload that it begins to cover.
async fn covered(client: &Client, containers: &[&str]) {
    let overrides: Vec<Value> = containers.iter().map(|name| json!({"containerName": name})).collect();
    let object = json!({
        "apiVersion": API_VERSION, "kind": "InstrumentationConfig", "metadata": {"namespace": "shop", "name": "deployment-web"},
        "spec": {"serviceName": "web", "agentInjectionEnabled": false, "containersOverrides": overrides},
    });
    apply(client, &object).await.unwrap();
    waits(client).await;
    accept_reports(client);
}

/// Stands in for the instrumentor: takes over what pods bear out, by its own decisions, as long as the test runs.
fn accept_reports(client: &Client) {
    let client = client.clone();
    let accept = async move {
        let configs: Api<InstrumentationConfig> = Api::namespaced(client.clone(), "shop");
        let pods: Api<Pod> = Api::namespaced(client, "shop");
        let workload = WorkloadRef::new("shop", WorkloadKind::Deployment, "web");
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let Ok(Some(config)) = configs.get_opt("deployment-web").await else { continue };
            let pending = config.status.as_ref().map(|status| status.runtime_reports.clone()).unwrap_or_default();
            if pending.is_empty() {
                continue;
            }
            let mut findings = Vec::new();
            for report in &pending {
                let pod = pods.get_opt(&report.pod).await.ok().flatten();
                let judged = reports::judge(report, &workload, pod.as_ref().map(ReportedPod::of).as_ref());
                findings.push(judged.expect("an agent reports about pods of its node"));
            }
            let object = reports::take_over(&config, &workload, &findings, &[], Timestamp::now());
            let parameters = PatchParams::apply(names::AGENT).force();
            // Where an agent wrote meanwhile, the next round takes both over.
            let _ = configs.patch_status("deployment-web", &parameters, &Patch::Apply(&object)).await;
        }
    };
    #[allow(clippy::disallowed_methods, reason = "a stand-in lives as long as the test")]
    drop(tokio::spawn(accept));
}

/// The instrumentor's conditions, written as it does.
async fn waits(client: &Client) {
    let condition = |kind: &str, reason: &str| json!({"type": kind, "status": "Unknown", "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let status = json!({
        "apiVersion": API_VERSION, "kind": "InstrumentationConfig", "metadata": {"namespace": "shop", "name": "deployment-web"},
        "status": {"conditions": [condition("MarkedForInstrumentation", "X"), condition("RuntimeDetection", "WaitingForDetection")]},
    });
    let api = api_of(client, "InstrumentationConfig", API_VERSION);
    let parameters = PatchParams::apply(names::INSTRUMENTOR).force();
    api.patch_status("deployment-web", &parameters, &Patch::Apply(&status)).await.unwrap();
}

async fn told(client: &Client, node: &Node, expected: &[&str]) {
    let what = format!("{expected:?}");
    let outcome = eventually(&what, Duration::from_secs(60), || async { details(client).await == expected }).await;
    if let Err(error) = outcome {
        panic!("{error}: {:?}\n{}", details(client).await, node.agent.as_ref().unwrap().tail());
    }
}

#[tokio::test]
async fn two_nodes_tell_what_runs_and_then_rest() {
    let binary = binary();
    let (api, client) = start().await;
    covered(&client, &["app", "sidecar"]).await;
    let (mut one, mut two) = (Node::new("one"), Node::new("two"));
    one.start(&api, &binary).await;
    two.start(&api, &binary).await;

    // A pod that is not ready is not looked at, though its process is there.
    let uid = pod(&client, "web-5d4f-a", "one", &["app", "sidecar"]).await;
    one.process(
        100,
        &uid,
        &id(1),
        "/usr/local/bin/python3.11",
        &["PYTHON_VERSION=3.11.4", "PYTHONPATH=/stated", "PASSWORD=hunter2"],
    );
    one.process(
        101,
        &uid,
        &id(2),
        "/usr/local/bin/node",
        &["NODE_VERSION=20.17.0", "NODE_OPTIONS=--enable-source-maps"],
    );
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(detection(&client).await, "Unknown/WaitingForDetection");
    let begun = Instant::now();
    is_ready(&client, "web-5d4f-a", &[("app", id(1), "app@sha256:1"), ("sidecar", id(2), "side@sha256:1")]).await;
    told(&client, &one, &["app python 3.11.4", "sidecar javascript 20.17.0"]).await;
    eprintln!("ready to status: {} ms", begun.elapsed().as_millis());
    assert_eq!(detection(&client).await, "True/DetectedSuccessfully");
    let written = config(&client).await;
    let text = serde_json::to_string(&written.data).unwrap();
    assert!(!text.contains("hunter2") && text.contains("MarkedForInstrumentation"), "{text}");
    let entry = &written.data["status"]["runtimeDetailsByContainer"];
    assert_eq!(entry[0]["libCType"], "glibc");
    assert_eq!(entry[0]["secureExecutionMode"], false);
    assert_eq!(entry[0]["envVars"], json!([{"name": "PYTHONPATH", "value": "/stated"}]));
    assert_eq!(entry[0].get("envFromContainerRuntime"), None, "the pod states it");
    assert_eq!(entry[1]["envFromContainerRuntime"], json!([{"name": "NODE_OPTIONS", "value": "--enable-source-maps"}]));
    assert_eq!(entry[0]["observedImage"]["id"], "app@sha256:1");

    // A replica on another node adds nothing, and nothing is written; neither by an agent that starts anew.
    let version = written.metadata.resource_version.clone();
    let uid = pod(&client, "web-5d4f-b", "two", &["app", "sidecar"]).await;
    two.process(100, &uid, &id(3), "/usr/local/bin/python3.11", &["PYTHON_VERSION=3.11.4", "PYTHONPATH=/stated"]);
    two.process(
        101,
        &uid,
        &id(4),
        "/usr/local/bin/node",
        &["NODE_VERSION=20.17.0", "NODE_OPTIONS=--enable-source-maps"],
    );
    is_ready(&client, "web-5d4f-b", &[("app", id(3), "app@sha256:1"), ("sidecar", id(4), "side@sha256:1")]).await;
    let looked = || async { two.agent.as_ref().unwrap().output().matches("looked at a container").count() >= 2 };
    eventually("the second node looked", Duration::from_secs(60), looked).await.unwrap();
    one.start(&api, &binary).await;
    let output = || one.agent.as_ref().unwrap().output();
    let again = || async { output().matches("looked at a container").count() >= 4 };
    eventually("the first node looked again", Duration::from_secs(60), again).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(config(&client).await.metadata.resource_version, version);
    assert_eq!((one.writes().await, two.writes().await), (0, 0), "since the agents started, nothing was written");

    // A younger pod with another image replaces its container; the other node's container stays as it is.
    tokio::time::sleep(Duration::from_millis(1100)).await; // creation times are whole seconds
    let uid = pod(&client, "web-5d4f-c", "two", &["app", "sidecar"]).await;
    two.process(110, &uid, &id(5), "/opt/ruby/bin/ruby", &["RUBY_VERSION=3.3.1"]);
    two.process(111, &uid, &id(6), "/usr/local/bin/node", &["NODE_VERSION=20.17.0"]);
    is_ready(&client, "web-5d4f-c", &[("app", id(5), "app@sha256:2"), ("sidecar", id(6), "side@sha256:1")]).await;
    told(&client, &two, &["app ruby 3.3.1", "sidecar javascript 20.17.0"]).await;
    // An old pod whose container restarts says nothing about the workload any more.
    one.process(
        102,
        &pod_uid(&client, "web-5d4f-a").await,
        &id(7),
        "/usr/local/bin/python3.11",
        &["PYTHON_VERSION=3.11.4"],
    );
    is_ready(&client, "web-5d4f-a", &[("app", id(7), "app@sha256:1"), ("sidecar", id(2), "side@sha256:1")]).await;
    let third = || async { output().matches("looked at a container").count() >= 6 };
    eventually("the restarted container was looked at", Duration::from_secs(60), third).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(details(&client).await, ["app ruby 3.3.1", "sidecar javascript 20.17.0"]);

    // The instrumentor writes from an older view: the condition comes back.
    waits(&client).await;
    let restored = || async { detection(&client).await == "True/DetectedSuccessfully" };
    eventually("the condition is restored", Duration::from_secs(60), restored).await.unwrap();
    for (agent, did) in api.audited() {
        assert!(did.forbidden.is_empty(), "{agent} may not {:?}", did.forbidden);
    }
}

/// A covered workload, and a node whose agent does not run yet.
async fn one_node() -> (ApiServer, Client, Node, PathBuf) {
    let (api, client) = start().await;
    covered(&client, &["app"]).await;
    (api, client, Node::new("one"), binary())
}

async fn pod_uid(client: &Client, name: &str) -> String {
    get_object(client, "v1", "Pod", "shop", name).await.unwrap().metadata.uid.unwrap()
}

#[tokio::test]
async fn a_process_that_starts_late_is_seen_and_none_is_an_error_until_then() {
    let (api, client, mut node, binary) = one_node().await;
    node.start(&api, &binary).await;
    let uid = pod(&client, "web-5d4f-a", "one", &["app"]).await;
    // At first only a shell runs.
    node.process(100, &uid, &id(1), "/bin/sh", &[]);
    is_ready(&client, "web-5d4f-a", &[("app", id(1), "app@sha256:1")]).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(details(&client).await, Vec::<String>::new(), "a shell is no finding yet");
    node.process(101, &uid, &id(1), "/usr/local/bin/node", &["NODE_VERSION=18.20.4"]);
    let folder = node.folder.path().join("proc/101/status");
    std::fs::write(folder, "State:\tS (sleeping)\nPid:\t101\nPPid:\t100\nNSpid:\t101\t7\n").unwrap();
    told(&client, &node, &["app javascript 18.20.4"]).await;
}

#[tokio::test]
async fn a_pod_without_processes_says_so() {
    let (api, client, mut node, binary) = one_node().await;
    pod(&client, "web-5d4f-a", "one", &["app"]).await;
    is_ready(&client, "web-5d4f-a", &[("app", id(1), "app@sha256:1")]).await;
    node.start(&api, &binary).await;
    let told = || async { detection(&client).await == "False/Error" };
    eventually("the failure is reported", Duration::from_secs(90), told).await.unwrap();
    assert_eq!(details(&client).await, Vec::<String>::new());
}

#[tokio::test]
async fn agents_are_installed_and_the_node_says_so() {
    let binary = binary();
    let (api, client) = start().await;
    apply(&client, &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "one"}})).await.unwrap();
    let mut node = Node::new("one");
    let image = node.folder.path().join("image");
    std::fs::create_dir_all(image.join("java")).unwrap();
    std::fs::write(image.join("java/javaagent.jar"), "agent").unwrap();
    std::fs::write(image.join("VERSION"), "abc123").unwrap();
    node.start(&api, &binary).await;
    let nodes: Api<DynamicObject> =
        Api::all_with(client.clone(), &ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Node")));
    let labelled = || async {
        let labels = nodes.get("one").await.unwrap().metadata.labels.unwrap_or_default();
        labels.get("odigos.io/odiglet-oss-installed").is_some_and(|value| value == "true")
    };
    if let Err(error) = eventually("the node is labelled", Duration::from_secs(60), labelled).await {
        panic!("{error}\n{}", node.agent.as_ref().unwrap().tail());
    }
    let installed = node.folder.path().join("odigos/java/javaagent.jar");
    assert_eq!(std::fs::read_to_string(installed).unwrap(), "agent");
    // The same binary is what an init container runs.
    let to = node.folder.path().join("pod");
    let copy = |folder: &str| {
        let mut command = Command::new(&binary);
        command
            .arg("copy")
            .arg(format!("--from={}", image.display()))
            .arg(format!("--to={}", to.display()))
            .arg(folder);
        command.output().unwrap().status.success()
    };
    assert!(copy("java") && copy("java"), "a restarted init container copies again");
    assert_eq!(std::fs::read_to_string(to.join("java/javaagent.jar")).unwrap(), "agent");
    assert!(!copy("../image") && !copy("python"), "only folders of the image");
}

/// A process that ends with its handle, in a control group that goes with it.
struct Live(std::process::Child, PathBuf);

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = std::fs::remove_dir(&self.1);
        let _ = self.1.parent().map(std::fs::remove_dir);
    }
}

/// Processor time of a process in clock ticks (hundredths of a second), and its greatest memory in kB.
fn cost(pid: u32) -> (u64, u64) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let behind = stat.rsplit(')').next().unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let ticks = behind[11].parse::<u64>().unwrap() + behind[12].parse::<u64>().unwrap();
    (ticks, peak.trim().trim_end_matches(" kB").parse().unwrap())
}

/// 2,000 real processes of 200 pods in real control groups (needs root): `cargo test -p odigos-testkit --test detection -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement: builds the agent as it is shipped and starts 2,000 processes"]
async fn measure() {
    let hierarchy = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
    let hierarchy = hierarchy.into_iter().find(|path| path.join("cgroup.procs").exists()).unwrap();
    let binary = match std::env::var_os("ODIGOS_AGENT") {
        Some(path) => path.into(),
        None => binaries::optimised(&[names::AGENT]).unwrap().join(names::AGENT),
    };
    let (api, client) = start().await;
    covered(&client, &["app"]).await;
    let mut node = Node::new("one");
    std::fs::remove_dir(node.folder.path().join("proc")).unwrap();
    symlink("/proc", node.folder.path().join("proc")).unwrap();
    let programs: [&[&str]; 4] = [
        &["python3", "-c", "import time; time.sleep(600)"],
        &["node", "-e", "setTimeout(() => 0, 600000)"],
        &["sleep", "600"],
        &["sleep", "600"],
    ];
    let mut live = Vec::new();
    for index in 0..200u32 {
        let name = format!("web-5d4f-{index}");
        let uid = pod(&client, &name, "one", &["app"]).await;
        let label = json!({"metadata": {"labels": {AGENTS_META_HASH: "h"}}});
        api_of(&client, "Pod", "v1").patch(&name, &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
        let group = hierarchy.join(format!("pod{uid}")).join(id(index));
        std::fs::create_dir_all(&group).unwrap();
        let program = if index % 10 == 0 { programs[1] } else { programs[index as usize % 2 * 2] };
        for _ in 0..10 {
            let mut command = Command::new(program[0]);
            command.args(&program[1..]).stdin(std::process::Stdio::null());
            // As if admission had given them agents.
            let distribution = if program[0] == "node" { "nodejs-community" } else { "python-community" };
            command.env("ODIGOS_DISTRO_NAME", distribution).env("ODIGOS_CONTAINER_NAME", "app");
            command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
            let child = command.spawn().unwrap();
            std::fs::write(group.join("cgroup.procs"), child.id().to_string()).unwrap();
            live.push(Live(child, group.clone()));
        }
        is_ready(&client, &name, &[("app", id(index), "app@sha256:1")]).await;
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    node.start(&api, &binary).await;
    let pid = node.agent.as_ref().unwrap().id();
    let output = || async { node.agent.as_ref().unwrap().output().matches("looked at a container").count() >= 200 };
    eventually("every pod was looked at", Duration::from_secs(60), output).await.unwrap();
    let (first, _) = cost(pid);
    // Those of unknown language are looked at four times.
    tokio::time::sleep(Duration::from_secs(40)).await;
    let (all, peak) = cost(pid);
    tokio::time::sleep(Duration::from_secs(30)).await;
    let (later, _) = cost(pid);
    let told = api_of(&client, "InstrumentationInstance", API_VERSION).list(&Default::default()).await.unwrap().items;
    eprintln!(
        "{} processes, {} of them told of: first look {:.2} s of CPU, all looks {:.2} s, peak {} MB, 30 s idle {:.2} s",
        live.len(),
        told.len(),
        first as f64 / 100.0,
        all as f64 / 100.0,
        peak / 1024,
        (later - all) as f64 / 100.0
    );
}
