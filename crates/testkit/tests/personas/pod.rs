//! Any pod of the cluster, without any permission: it can send to what listens, and says what it wants there.
//!
//! Owns the hostile requests. The collectors run as rendered, with the limits of their pods; the kernel is not asked to end them,
//! their peak is compared with the limit at which it would.

use odigos_api::collectors_group::ResourcesSettings;
use odigos_api::{Signal, names};
use odigos_plan::world::{Settled, World};
use odigos_testkit::collector::{Collector, Surroundings};
use odigos_testkit::http;
use odigos_testkit::otlp::{Sender, Sink};
use odigos_testkit::ports::free_port;
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A cluster with one covered workload, whose traces go to `port`.
pub(crate) fn settled(port: u16) -> Settled {
    settled_with([
        json!({
            "apiVersion": odigos_api::API_VERSION, "kind": "Destination", "metadata": {"name": "backend"},
            "spec": {
                "type": "otlp", "destinationName": "backend", "signals": ["TRACES"],
                "data": {"OTLP_GRPC_ENDPOINT": format!("127.0.0.1:{port}")},
            },
        }),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app", "namespace": "shop"}, "spec": {"template": {"spec": {"containers": [{"name": "app"}]}}}}),
        json!({"apiVersion": odigos_api::API_VERSION, "kind": "Source", "metadata": {"name": "app", "namespace": "shop"}, "spec": {"workload": {"name": "app", "namespace": "shop", "kind": "Deployment"}}}),
    ])
}

/// A cluster with these objects.
pub(crate) fn settled_with<const N: usize>(documents: [Value; N]) -> Settled {
    let mut world = World::new(names::DEFAULT_NAMESPACE);
    documents.into_iter().for_each(|document| world.insert(document).unwrap());
    world.settle(jiff::Timestamp::UNIX_EPOCH)
}

/// The node's collector without what asks a cluster.
pub(crate) fn without_cluster(settled: &Settled) -> String {
    let mut config = settled.node.as_ref().unwrap().config.to_value();
    for (_, pipeline) in config["service"]["pipelines"].as_object_mut().unwrap() {
        if let Some(ids) = pipeline.get_mut("processors").and_then(Value::as_array_mut) {
            ids.retain(|id| !id.as_str().unwrap_or_default().starts_with("k8s_attributes"));
        }
    }
    config["processors"].as_object_mut().unwrap().retain(|id, _| !id.starts_with("k8s_attributes"));
    odigos_pipeline::yaml::to_string(&config)
}

/// Ten million empty `ResourceSpans`: 20 MiB, of which 20 kB go over the wire.
fn bomb() -> Vec<u8> {
    let mut gzip = Command::new("gzip").arg("-9c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = gzip.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        let block = [10u8, 0].repeat(100_000);
        (0..100).for_each(|_| input.write_all(&block).unwrap());
    });
    let output = gzip.wait_with_output().unwrap();
    writer.join().unwrap();
    output.stdout
}

/// Most memory that a process has had, in MiB.
fn peak(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Starts a collector with the memory and the one processor that its pod has.
async fn start(name: &str, text: &str, around: Surroundings, resources: &ResourcesSettings) -> Collector {
    let limits = [
        ("GOMEMLIMIT".to_owned(), format!("{}MiB", resources.gomemlimit_mib)),
        ("GOMAXPROCS".to_owned(), "1".to_owned()),
    ];
    Collector::start(name, text, around, &limits).await.unwrap()
}

/// Eight connections at a time send it until it has been sent `count` times; returns what was answered how often.
async fn fire(port: u16, body: Arc<Vec<u8>>, count: usize) -> std::collections::BTreeMap<Option<u16>, usize> {
    let mut answers = std::collections::BTreeMap::new();
    for _ in 0..count / 8 {
        let shots = (0..8).map(|_| {
            let headers = [("Content-Type", "application/x-protobuf"), ("Content-Encoding", "gzip")];
            let body = body.clone();
            async move { http::post(port, "/v1/traces", &headers, &body).await }
        });
        for answer in futures::future::join_all(shots).await {
            *answers.entry(answer).or_default() += 1;
        }
    }
    answers
}

fn count() -> usize {
    std::env::var("ODIGOS_HOSTILE_REQUESTS").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_requests_end_no_collector() {
    let port = free_port().unwrap();
    let sink = Sink::listen(port).await.unwrap();
    let settled = settled(port);
    let configuration = odigos_plan::configuration::Configuration::default();
    let size = odigos_plan::scheduling::gateway_group(&configuration, &[], false, vec![]).resources_settings;
    let directory = tempfile::tempdir().unwrap();
    let around = Surroundings::new(&directory.path().join("gateway")).unwrap();
    let text = settled.gateway.as_ref().unwrap().config.to_yaml();
    let gateway = start("gateway", &text, around, &size).await;
    let mut around = Surroundings::new(&directory.path().join("node")).unwrap();
    around.gateways = vec![format!("127.0.0.1:{}", gateway.around.grpc)];
    let node = start("node", &without_cluster(&settled), around, &size).await;
    let body = Arc::new(bomb());
    assert!(body.len() < 25_000, "{} bytes", body.len());
    for (name, collector) in [("gateway", &gateway), ("node", &node)] {
        let begun = Instant::now();
        let answers = fire(collector.around.http, body.clone(), count()).await;
        let peak = peak(collector.id());
        println!("{name}: {answers:?} in {:?}, at most {peak} MiB", begun.elapsed());
        assert!(answers.keys().all(|answer| answer.is_some_and(|status| (400..500).contains(&status))), "{answers:?}");
        // The smallest limit of both, by default.
        assert!(peak < 500, "{name} had {peak} MiB");
    }
    let sender = Sender::connect(&node.endpoint()).await.unwrap();
    sender.send(Signal::Traces, &[("service.name", "app")], &["after".to_owned()]).await.unwrap();
    let arrives = eventually("what others send still arrives", Duration::from_secs(60), || async {
        sink.items().iter().any(|item| item.name == "after")
    });
    assert!(arrives.await.is_ok(), "{}\n{}", node.output(), gateway.output());
}
