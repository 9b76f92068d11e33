//! Any pod of the cluster, without any permission: it can send to what listens, and says what it wants there.
//!
//! Owns the hostile requests. The collectors run as rendered, with the limits of their pods; the kernel is not asked to end them,
//! their peak is compared with the limit at which it would.

use http_body_util::{BodyExt as _, Full};
use odigos_api::collectors_group::ResourcesSettings;
use odigos_api::{Signal, names};
use odigos_plan::world::{Settled, World};
use odigos_testkit::collector::{Collector, Surroundings};
use odigos_testkit::http;
use odigos_testkit::otlp::{Sender, Sink};
use odigos_testkit::ports::free_port;
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic::codegen::{Bytes, Service, http as grpc_http};

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

/// A request of `count` empty `ResourceSpans`, two bytes each, as gzip.
fn empty_elements(count: usize) -> Arc<Vec<u8>> {
    let mut gzip = Command::new("gzip").arg("-9c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = gzip.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        const BLOCK: usize = 100_000;
        let block = [10u8, 0].repeat(BLOCK);
        for begun in (0..count).step_by(BLOCK) {
            input.write_all(&block[..2 * BLOCK.min(count - begun)]).unwrap();
        }
    });
    let output = gzip.wait_with_output().unwrap();
    writer.join().unwrap();
    Arc::new(output.stdout)
}

/// Ten million: 20 MiB, of which 20 kB go over the wire.
fn bomb() -> Arc<Vec<u8>> {
    empty_elements(10_000_000)
}

/// As many as a receiver's size limit lets pass: 4 kB on the wire, 4 MiB after decompression, 450 MiB once they are decoded.
fn just_below_the_size() -> Arc<Vec<u8>> {
    empty_elements(2 * 1024 * 1024 - 8)
}

/// As many as are decoded: what they become is just below the limit.
fn just_below_the_memory() -> Arc<Vec<u8>> {
    empty_elements(230_000)
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

/// What was answered how often; nothing where the connection ended.
type Answers = BTreeMap<Option<u16>, usize>;

/// Eight connections at a time send it until it has been sent `count` times.
async fn fire(port: u16, kind: &str, body: &Arc<Vec<u8>>, count: usize) -> Answers {
    let mut answers = Answers::new();
    for _ in 0..count.div_ceil(8) {
        let shots = (0..8).map(|_| async {
            let headers = [("Content-Type", kind), ("Content-Encoding", "gzip")];
            http::post(port, "/v1/traces", &headers, body).await
        });
        for answer in futures::future::join_all(shots).await {
            *answers.entry(answer).or_default() += 1;
        }
    }
    answers
}

/// The same over gRPC; the answers are its codes.
async fn fire_grpc(port: u16, body: &Arc<Vec<u8>>, count: usize) -> Answers {
    let mut message = vec![1];
    message.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    message.extend(body.iter());
    let message = Bytes::from(message);
    let mut answers = Answers::new();
    for _ in 0..count.div_ceil(8) {
        let shots = (0..8).map(|_| send_grpc(port, message.clone()));
        for answer in futures::future::join_all(shots).await {
            *answers.entry(answer).or_default() += 1;
        }
    }
    answers
}

async fn send_grpc(port: u16, message: Bytes) -> Option<u16> {
    let address = format!("http://127.0.0.1:{port}");
    let mut channel = tonic::transport::Endpoint::from_shared(address.clone()).ok()?.connect().await.ok()?;
    let request =
        grpc_http::Request::post(format!("{address}/opentelemetry.proto.collector.trace.v1.TraceService/Export"));
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    let request = request.header("grpc-encoding", "gzip").body(tonic::body::Body::new(Full::new(message))).ok()?;
    std::future::poll_fn(|context| Service::poll_ready(&mut channel, context)).await.ok()?;
    let (head, body) = channel.call(request).await.ok()?.into_parts();
    let code = |headers: &grpc_http::HeaderMap| headers.get("grpc-status")?.to_str().ok()?.parse().ok();
    match code(&head.headers) {
        Some(code) => Some(code),
        None => code(body.collect().await.ok()?.trailers()?),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_requests_end_no_collector() {
    survive(100).await;
}

/// Sends `count` of each kind to both collectors, which run with the limits of their pods, and then something ordinary.
async fn survive(count: usize) {
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
    let (bomb, large, decoded) = (bomb(), just_below_the_size(), just_below_the_memory());
    assert!(bomb.len() < 25_000 && large.len() < 5_000, "{} and {} bytes", bomb.len(), large.len());
    const PROTOBUF: &str = "application/x-protobuf";
    let is_refused = |answer: &Option<u16>| answer.is_some_and(|status| (400..500).contains(&status));
    for (name, collector) in [("gateway", &gateway), ("node", &node)] {
        let (http, grpc) = (collector.around.http, collector.around.grpc);
        let begun = Instant::now();
        let too_large = fire(http, PROTOBUF, &bomb, count).await;
        let below = fire(http, PROTOBUF, &large, count).await;
        let no_json = fire(http, "application/json", &large, 8).await;
        let taken = fire(http, PROTOBUF, &decoded, count / 4).await;
        let over_grpc = fire_grpc(grpc, &large, count).await;
        let too_large_grpc = fire_grpc(grpc, &bomb, 8).await;
        let taken_grpc = fire_grpc(grpc, &decoded, count / 4).await;
        let peak = peak(collector.id());
        println!(
            "{name}: {too_large:?}, {below:?}, JSON {no_json:?}, decoded {taken:?}; gRPC {over_grpc:?}, {too_large_grpc:?}, \
             decoded {taken_grpc:?} in {:?}, at most {peak} MiB",
            begun.elapsed()
        );
        for answers in [&too_large, &below, &no_json] {
            assert!(answers.keys().all(is_refused), "{name}: {answers:?}");
        }
        // INVALID_ARGUMENT, which no sender repeats; RESOURCE_EXHAUSTED where the message itself is too large.
        assert!(over_grpc.keys().all(|code| *code == Some(3)), "{name}: {over_grpc:?}");
        assert!(too_large_grpc.keys().all(|code| *code == Some(8)), "{name}: {too_large_grpc:?}");
        // The memory limiter may refuse some for a moment.
        assert!(taken.keys().chain(taken_grpc.keys()).all(Option::is_some), "{name}: {taken:?} {taken_grpc:?}");
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

/// A thousand of each kind instead of a hundred.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "ten times as many, in `make bench`"]
async fn a_thousand_hostile_requests_end_no_collector() {
    survive(1_000).await;
}
