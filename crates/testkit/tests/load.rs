//! The load of design 9 on a real API server: 5,000 Deployments in 50 namespaces, 50 streams and Destinations, 5,000
//! Sources over 8 connections. Run by `make bench`; writes `target/bench/load.md`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measurement ends where something unexpected happens, and prints its figures"
)]

use futures::StreamExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::{Client, ResourceExt};
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::labels::STREAM_CLASS;
use odigos_api::source::Source;
use odigos_testkit::api_server::ApiServer;
use odigos_testkit::binaries;
use odigos_testkit::control_plane::{self, BINARIES, Controller, Kubelet, Launch, NAMESPACE, apply, create_namespace};
use odigos_testkit::ports::free_port;
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

const NAMESPACES: usize = 50;
const CONNECTIONS: usize = 8;

/// CPU seconds and resident MiB of a process.
fn usage(controller: &Controller) -> (f64, f64) {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", controller.process.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", controller.process.id())).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let kib: f64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    (ticks / 100.0, kib / 1024.0)
}

async fn create(client: &Client, path: &str, object: &Value) {
    let request = tonic::codegen::http::Request::post(path).header("content-type", "application/json");
    let request = request.body(serde_json::to_vec(object).unwrap()).unwrap();
    client.request::<Value>(request).await.unwrap_or_else(|error| panic!("{path}: {error}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, run by `make bench`"]
async fn five_thousand_sources() {
    let workloads: usize = std::env::var("ODIGOS_LOAD").ok().and_then(|text| text.parse().ok()).unwrap_or(5000);
    // The Deployments have no replicas: pods are not what is measured. The gateway has, and becomes ready.
    let mut api = ApiServer::start().await.unwrap();
    api.start_controller_manager().unwrap();
    let client = api.client().await.unwrap();
    create_namespace(&client, NAMESPACE).await.unwrap();
    let _kubelet = Kubelet::start(client.clone(), Duration::ZERO).await.unwrap();
    let launch = Launch {
        binaries: binaries::optimised(&control_plane::BINARIES).unwrap(),
        webhook_port: free_port().unwrap(),
        lease_seconds: 15,
    };
    control_plane::install(&client, launch.webhook_port).await.unwrap();
    let mut controllers = Vec::new();
    for name in BINARIES {
        controllers.push(launch.start(&api, name, 0).await.unwrap());
    }
    for n in 0..NAMESPACES {
        create_namespace(&client, &format!("ns-{n:02}")).await.unwrap();
        let destination = json!({
            "apiVersion": odigos_api::API_VERSION, "kind": "Destination", "metadata": {"name": format!("d-{n:02}"), "namespace": NAMESPACE},
            "spec": {
                "type": "otlp", "destinationName": "d", "data": {"OTLP_GRPC_ENDPOINT": format!("backend-{n}:4317")},
                "signals": ["TRACES", "METRICS", "LOGS"], "sourceSelector": {"dataStreams": [format!("stream-{n:02}")]},
            },
        });
        apply(&client, &destination).await.unwrap();
    }
    let each = |n: usize| (format!("ns-{:02}", n % NAMESPACES), format!("app-{n:04}"));
    let deployments = futures::stream::iter(0..workloads).for_each_concurrent(CONNECTIONS, |n| {
        let client = client.clone();
        async move {
            let (namespace, name) = each(n);
            let object = json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
                "spec": {
                    "replicas": 0, "selector": {"matchLabels": {"app": name}},
                    "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": "none"}]}},
                },
            });
            create(&client, &format!("/apis/apps/v1/namespaces/{namespace}/deployments"), &object).await;
        }
    });
    deployments.await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before: Vec<(f64, f64)> = controllers.iter().map(usage).collect();
    let audited_before = api.audited();
    let begun = Instant::now();
    let sources = futures::stream::iter(0..workloads).for_each_concurrent(CONNECTIONS, |n| {
        let client = client.clone();
        async move {
            let (namespace, name) = each(n);
            let label = odigos_api::labels::stream_label(&format!("stream-{:02}", n % NAMESPACES));
            let object = json!({
                "apiVersion": odigos_api::API_VERSION, "kind": "Source", "metadata": {"name": name, "labels": {label: "true"}},
                "spec": {"workload": {"name": name, "namespace": namespace, "kind": "Deployment"}},
            });
            create(&client, &format!("/apis/{}/namespaces/{namespace}/sources", odigos_api::API_VERSION), &object).await;
        }
    });
    sources.await;
    let created = begun.elapsed();
    let last = Instant::now();
    let configs: Api<InstrumentationConfig> = Api::all(client.clone());
    let there = async || -> Vec<PartialObjectMeta<InstrumentationConfig>> {
        configs.list_metadata(&ListParams::default()).await.map(|list| list.items).unwrap_or_default()
    };
    eventually("every config is there", Duration::from_secs(120), async || there().await.len() == workloads)
        .await
        .unwrap();
    let configs_after = last.elapsed();
    let labelled = async || {
        let all = there().await;
        all.iter().all(|one| one.labels().contains_key(STREAM_CLASS))
    };
    eventually("every config has its class", Duration::from_secs(180), labelled).await.unwrap();
    let classes_after = last.elapsed();
    // Quiet: nothing is written any more.
    let mut writes = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = BINARIES.iter().map(|name| api.audited().get(*name).map_or(0, |one| one.writes)).sum();
        if now == writes {
            break;
        }
        writes = now;
    }
    let audited = api.audited();
    let mut report = format!(
        "# Load: {workloads} Sources over {CONNECTIONS} connections, {NAMESPACES} namespaces, streams and Destinations\n\n\
         - Sources created in {:.1} s ({:.0}/s)\n- last InstrumentationConfig {:.2} s after the last Source\n- last class {:.2} s after the last Source\n\n\
         | controller | CPU s | peak MiB | requests | writes | writes/workload | conflicts |\n|---|---|---|---|---|---|---|\n",
        created.as_secs_f64(),
        workloads as f64 / created.as_secs_f64(),
        configs_after.as_secs_f64(),
        classes_after.as_secs_f64(),
    );
    let mut total = (0.0, 0.0, 0, 0, 0);
    for (controller, before) in controllers.iter().zip(&before) {
        let (cpu, memory) = usage(controller);
        let of = |when: &std::collections::BTreeMap<String, odigos_testkit::api_server::Audited>| {
            when.get(controller.name).cloned().unwrap_or_default()
        };
        let (now, then) = (of(&audited), of(&audited_before));
        let (requests, writes, conflicts) =
            (now.requests - then.requests, now.writes - then.writes, now.conflicts - then.conflicts);
        total = (total.0 + cpu - before.0, total.1 + memory, total.2 + requests, total.3 + writes, total.4 + conflicts);
        let per = writes as f64 / workloads as f64;
        writeln!(
            report,
            "| {} | {:.1} | {memory:.0} | {requests} | {writes} | {per:.2} | {conflicts} |",
            controller.name,
            cpu - before.0
        )
        .unwrap();
    }
    let per = total.3 as f64 / workloads as f64;
    writeln!(
        report,
        "| together | {:.1} | {:.0} | {} | {} | {per:.2} | {} |\n",
        total.0, total.1, total.2, total.3, total.4
    )
    .unwrap();
    report.push_str(&one_change(&api, &client).await);
    println!("{report}");
    let folder = odigos_tools::root().join("target/bench");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("load.md"), report).unwrap();
}

/// One stream label changes: how long until the config has it, and what it cost.
async fn one_change(api: &ApiServer, client: &Client) -> String {
    let requests = || BINARIES.iter().map(|name| api.audited().get(*name).map_or(0, |one| one.requests)).sum::<usize>();
    let sources: Api<Source> = Api::namespaced(client.clone(), "ns-00");
    let configs: Api<InstrumentationConfig> = Api::namespaced(client.clone(), "ns-00");
    let mut times = Vec::new();
    let before = requests();
    for round in 0..5 {
        let label = odigos_api::labels::stream_label("stream-01");
        let value = if round % 2 == 0 { "true" } else { "false" };
        let change = json!({"metadata": {"labels": {label.clone(): value}}});
        let begun = Instant::now();
        sources.patch("app-0000", &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
        loop {
            let config = configs.get("deployment-app-0000").await.unwrap();
            if config.labels().get(&label).map(String::as_str) == Some(value) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        times.push(begun.elapsed().as_millis());
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    times.sort_unstable();
    let calls = (requests() - before) as f64 / 5.0;
    // Leases are renewed meanwhile by each controller.
    format!(
        "One stream label changed: config follows in {} ms (median of {times:?}); {calls:.1} requests by all controllers, Lease renewals included.\n",
        times[2]
    )
}
