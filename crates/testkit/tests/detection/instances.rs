//! InstrumentationInstances: one for each process with an agent, as long as it runs (rows 64 to 66 of section 7). Processes are made
//! up; so is the program that instruments Go, since what it says is the point here (the cluster has the real one).

use super::node::{Node, api_of, binary, end, id, is_ready, pod, start};
use kube::Client;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use odigos_api::API_VERSION;
use odigos_api::labels::AGENTS_META_HASH;
use odigos_testkit::control_plane::apply;
use odigos_testkit::process::eventually;
use odigos_tools::find;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::time::Duration;

/// Twice the longest pause between two inspections of a pod.
const LIMIT: Duration = Duration::from_secs(120);
/// A connection to port 4318 of 10.0.0.7, of socket 5.
const TABLE: &str = "header\n 0: 0100007F:9C40 0700000A:10DE 01 0:0 0:0 0 0 0 5 1\n";

/// Name, whether it is healthy, and reason of each.
async fn instances(client: &Client) -> Vec<(String, Option<bool>, String)> {
    let api = api_of(client, "InstrumentationInstance", API_VERSION);
    let list = api.list(&ListParams::default()).await.unwrap().items;
    let tell = |one: kube::api::DynamicObject| {
        let status = &one.data["status"];
        let reason = status["reason"].as_str().unwrap_or_default().to_owned();
        (one.metadata.name.unwrap_or_default(), status["healthy"].as_bool(), reason)
    };
    let mut all: Vec<_> = list.into_iter().map(tell).collect();
    all.sort();
    all
}

async fn until(client: &Client, node: &Node, what: &str, check: impl Fn(&[(String, Option<bool>, String)]) -> bool) {
    let outcome = eventually(what, LIMIT, || async { check(&instances(client).await) }).await;
    if let Err(error) = outcome {
        panic!("{error}: {:?}\n{}", instances(client).await, node.agent.as_ref().unwrap().tail());
    }
}

/// A process with an agent, by its number on the node and in its container.
fn process(
    node: &Node,
    (pid, inner): (u32, u32),
    place: (&str, &str),
    program: &str,
    distribution: &str,
    more: &[&str],
) {
    let mark = format!("ODIGOS_DISTRO_NAME={distribution}");
    let environment: Vec<&str> =
        [mark.as_str(), "ODIGOS_CONTAINER_NAME=app", "OTEL_SERVICE_NAME=web"].iter().chain(more).copied().collect();
    node.process(pid, place.0, place.1, program, &environment);
    let status = format!("State:\tS\nPid:\t{pid}\nPPid:\t1\nUid:\t0\t0\t0\t0\nNSpid:\t{pid}\t{inner}\n");
    std::fs::write(node.folder.path().join(format!("proc/{pid}/status")), status).unwrap();
}

/// It has a connection to the collector.
fn connects(node: &Node, pid: u32) {
    let folder = node.folder.path().join(format!("proc/{pid}"));
    std::fs::create_dir_all(folder.join("net")).unwrap();
    std::fs::write(folder.join("net/tcp"), TABLE).unwrap();
    symlink("socket:[5]", folder.join("fd/3")).unwrap();
}

/// A running pod that carries agents; returns its uid.
async fn carrying(client: &Client, name: &str, container: u32) -> String {
    let uid = pod(client, name, "one", &["app"]).await;
    let label = json!({"metadata": {"labels": {AGENTS_META_HASH: "h"}}});
    api_of(client, "Pod", "v1").patch(name, &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
    is_ready(client, name, &[("app", id(container), "app@sha256:1")]).await;
    uid
}

/// Answers each new list with the same words about each process.
fn go_agent(socket: &std::path::Path, state: &'static str, message: &'static str) {
    let listener = UnixListener::bind(socket).unwrap();
    // Ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut answer = stream.try_clone().unwrap();
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let told: Value = serde_json::from_str(&line).unwrap();
                for target in told["targets"].as_array().into_iter().flatten() {
                    let said =
                        json!({"pid": target["pid"], "started": target["started"], "state": state, "message": message});
                    writeln!(answer, "{said}").unwrap();
                }
            }
        }
    });
}

#[tokio::test]
async fn every_process_with_an_agent_has_an_object_that_tells_its_health() {
    let binary = binary();
    let (api, client) = start().await;
    // Traces of the workload are wanted.
    let container = json!({"containerName": "app", "agentEnabled": true, "agentEnabledReason": "", "agentEnabledMessage": "", "otelDistroName": "golang-community", "traces": {}});
    let config = json!({
        "apiVersion": API_VERSION, "kind": "InstrumentationConfig", "metadata": {"namespace": "shop", "name": "deployment-web"},
        "spec": {"serviceName": "web", "agentInjectionEnabled": true, "containers": [container], "agentsMetaHash": "h"},
    });
    apply(&client, &config).await.unwrap();
    let mut node = Node::new("one");
    std::fs::write(node.folder.path().join("proc/uptime"), "30.00 60.00\n").unwrap();
    let socket = node.folder.path().join("go.sock");
    go_agent(&socket, "FailedToLoad", "Go 1.12 is not supported");
    node.arguments = vec![format!("--go-socket={}", socket.display())];
    node.start(&api, &binary).await;

    // 64: a process, its end, another one, and the end of the pod.
    let endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=http://10.0.0.7:4318";
    let uid = carrying(&client, "web-5d4f-a", 1).await;
    let place = (uid.as_str(), &*id(1));
    process(&node, (100, 1), place, "/usr/local/bin/node", "nodejs-community", &[endpoint, "TOKEN=hunter2"]);
    // Inherits the variables, and is not what the agent is for.
    process(&node, (101, 9), place, "/bin/sh", "nodejs-community", &[endpoint]);
    let starts = [("web-5d4f-a-1".to_owned(), None, "Starting".to_owned())];
    until(&client, &node, "it starts", |all| all == starts).await;
    connects(&node, 100);
    let healthy = [("web-5d4f-a-1".to_owned(), Some(true), "Healthy".to_owned())];
    until(&client, &node, "it is healthy", |all| all == healthy).await;
    let instance = api_of(&client, "InstrumentationInstance", API_VERSION).get("web-5d4f-a-1").await.unwrap();
    assert_eq!(instance.data["spec"]["containerName"], "app");
    let status = &instance.data["status"];
    assert_eq!(
        (status["components"][0]["name"].as_str(), status["components"].as_array().unwrap().len()),
        (Some("nodejs-community"), 2)
    );
    let owner = &instance.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("Pod", uid.as_str()));
    assert!(!serde_json::to_string(&instance).unwrap().contains("hunter2"));
    // An agent that starts anew, long after the process, finds what is written and writes nothing.
    std::fs::write(node.folder.path().join("proc/uptime"), "1000.00 60.00\n").unwrap();
    node.start(&api, &binary).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(node.writes().await, 0, "{:?}", instances(&client).await);
    assert_eq!(instances(&client).await, healthy);
    std::fs::write(node.folder.path().join("proc/uptime"), "30.00 60.00\n").unwrap();
    end(&node, 100);
    process(&node, (102, 7), place, "/usr/local/bin/node", "nodejs-community", &[endpoint]);
    connects(&node, 102);
    let next = [("web-5d4f-a-7".to_owned(), Some(true), "Healthy".to_owned())];
    until(&client, &node, "the process ended and another runs", |all| all == next).await;
    api_of(&client, "Pod", "v1").delete("web-5d4f-a", &DeleteParams::default().grace_period(0)).await.unwrap();
    until(&client, &node, "the pod is gone", <[_]>::is_empty).await;

    // 65: one that cannot be instrumented is reported as such, by its number on the node.
    let uid = carrying(&client, "web-5d4f-b", 2).await;
    process(&node, (200, 1), (&uid, &id(2)), "/app/shipping", "golang-community", &[]);
    // What makes it a Go program: the build information of any.
    std::fs::remove_file(node.folder.path().join("proc/200/exe")).unwrap();
    symlink(find("etcd").unwrap(), node.folder.path().join("proc/200/exe")).unwrap();
    let failed = [("web-5d4f-b-200".to_owned(), Some(false), "FailedToLoad".to_owned())];
    until(&client, &node, "it is said that it failed", |all| all == failed).await;
    let found = api_of(&client, "InstrumentationInstance", API_VERSION).get("web-5d4f-b-200").await.unwrap();
    assert_eq!(found.data["status"]["message"], "Go 1.12 is not supported");

    // 66: of twenty workers sixteen are told of, and the other pod is as before.
    let uid = carrying(&client, "web-5d4f-c", 3).await;
    for worker in 0..20 {
        process(
            &node,
            (300 + worker, 1 + worker),
            (&uid, &id(3)),
            "/usr/local/bin/node",
            "nodejs-community",
            &[endpoint],
        );
    }
    let sixteen = |all: &[(String, Option<bool>, String)]| {
        all.iter().filter(|one| one.0.starts_with("web-5d4f-c-")).count() == 16 && all.contains(&failed[0])
    };
    until(&client, &node, "sixteen are told of", sixteen).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(sixteen(&instances(&client).await), "and no more");
    for (agent, did) in api.audited() {
        assert!(did.forbidden.is_empty(), "{agent} may not {:?}", did.forbidden);
    }
}
