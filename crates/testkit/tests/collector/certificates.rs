//! A node's collector and a gateway that know each other by certificates, as rendered.
//!
//! Owns what happens to items while certificates and authorities change, and what TLS costs a gateway.

use super::certificate_files::write;
use super::chain::{self, wait};
use super::{destination, secret, settled, workload};
use jiff::{SignedDuration, Timestamp};
use odigos_kit::certificates::Authority;
use odigos_plan::world::Settled;
use odigos_testkit::collector::Collector;
use odigos_testkit::otlp::{Sender, Sink};
use odigos_testkit::ports::free_port;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a node's collector keeps a connection here.
const CONNECTION_AGE: Duration = Duration::from_secs(2);

/// What the collectors run, with times that a test can wait for.
fn hurried(config: &Value) -> Value {
    let text = odigos_pipeline::yaml::to_string(config);
    assert!(text.contains("reload_interval: \"1m\""), "{text}");
    let text = text
        .replace("reload_interval: \"1m\"", "reload_interval: \"1s\"")
        .replace("max_connection_age: \"15s\"", &format!("max_connection_age: \"{}s\"", CONNECTION_AGE.as_secs()));
    serde_yaml::from_str(&text).unwrap()
}

fn given(port: u16) -> Settled {
    let address = json!({"OTLP_GRPC_ENDPOINT": format!("127.0.0.1:{port}")});
    let mut documents = vec![secret(), destination("all", "otlp", &json!(["TRACES"]), &address, &["default"])];
    documents.extend(workload("app", &[]));
    settled(&documents, |_| {})
}

/// Sends spans with names of their own until it is stopped; what is not accepted is sent again, as an SDK does.
async fn load(endpoint: String, stop: Arc<AtomicBool>, sent: Arc<AtomicUsize>) {
    let mut sender = None;
    while !stop.load(Ordering::SeqCst) {
        let first = sent.load(Ordering::SeqCst);
        let names: Vec<String> = (first..first + 20).map(|n| format!("span-{n}")).collect();
        let mut accepted = false;
        while !accepted {
            if sender.is_none() {
                sender = Sender::connect(&endpoint).await.ok();
            }
            accepted = match &sender {
                Some(sender) => {
                    sender.send(odigos_api::Signal::Traces, &[("service.name", "app")], &names).await.is_ok()
                }
                None => false,
            };
            if !accepted {
                sender = None;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        sent.store(first + 20, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The certificate that a gateway shows to whoever connects, as PEM; none while it does not listen.
fn shown(port: u16) -> Option<String> {
    let address = format!("127.0.0.1:{port}");
    let output =
        Command::new("openssl").args(["s_client", "-connect", &address, "-alpn", "h2"]).stdin(Stdio::null()).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");
    text.find(begin).zip(text.find(end)).map(|(from, to)| format!("{}{end}", &text[from..to]))
}

/// Waits until a gateway shows the certificate that is mounted, and the load has gone on for several lives of a connection.
async fn changed(directory: &Path, node: &Collector, gateway: &Collector, sink: &Sink) {
    let mounted = std::fs::read_to_string(directory.join("gateway/tls.crt")).unwrap();
    wait("the gateway shows its new certificate", node, gateway, || {
        shown(gateway.around.grpc).is_some_and(|shown| shown.trim() == mounted.trim())
    })
    .await;
    let before = sink.spans();
    let begun = Instant::now();
    wait("the load goes on", node, gateway, || begun.elapsed() > 2 * CONNECTION_AGE && sink.spans() > before + 1000)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_change_under_load_without_a_lost_or_doubled_item() {
    let port = free_port().unwrap();
    let sink = Sink::listen_counting(port).await.unwrap();
    let mut settled = given(port);
    let directory = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    let old = Authority::new(None, now - SignedDuration::from_hours(1)).unwrap();
    write(directory.path(), &old, &old, now);
    let (gateway, _gateway_files) =
        chain::gateway_of(hurried(&settled.gateway.as_ref().unwrap().config.to_value()), Some(directory.path())).await;
    let config = hurried(&settled.node.take().unwrap().config.to_value());
    let (node, _node_files) = chain::node_of(config.clone(), &gateway, &[], Some(directory.path()), None).await;
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    #[allow(clippy::disallowed_methods, reason = "the load ends with the test")]
    let sending = tokio::spawn(load(node.endpoint(), stop.clone(), sent.clone()));
    wait("items arrive", &node, &gateway, || sink.spans() > 500).await;

    // New certificates by the same authority.
    write(directory.path(), &old, &old, now);
    changed(directory.path(), &node, &gateway, &sink).await;

    // A new authority: trusted first, which node collectors do when they start; then it certifies.
    let new = Authority::new(Some(old.certificate.clone()), now).unwrap();
    write(directory.path(), &old, &new, now);
    let grpc = node.around.grpc;
    node.stop();
    let (node, _node_files) = chain::node_of(config, &gateway, &[], Some(directory.path()), Some(grpc)).await;
    changed(directory.path(), &node, &gateway, &sink).await;
    write(directory.path(), &new, &new, now);
    changed(directory.path(), &node, &gateway, &sink).await;

    stop.store(true, Ordering::SeqCst);
    sending.await.unwrap();
    let expected = sent.load(Ordering::SeqCst);
    wait("everything arrives", &node, &gateway, || sink.spans() >= expected).await;
    let counts = sink.span_counts();
    let doubled: BTreeMap<_, _> = counts.iter().filter(|(_, count)| **count > 1).take(5).collect();
    assert_eq!((counts.len(), sink.spans()), (expected, expected), "doubled: {doubled:?}");
    println!("{expected} spans");
}

/// Seconds of processor time that a process has had.
fn seconds(collector: &Collector) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", collector.id())).unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |position: usize| fields[position].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

/// Processor seconds of the gateway for each million spans that a node's collector hands to it.
async fn cost(certificates: Option<&Path>) -> f64 {
    const BATCHES: usize = 3_000;
    let port = free_port().unwrap();
    let sink = Sink::listen_counting(port).await.unwrap();
    let settled = given(port);
    let (gateway, _gateway_files) =
        chain::gateway_of(settled.gateway.as_ref().unwrap().config.to_value(), certificates).await;
    let (node, _node_files) =
        chain::node_of(settled.node.as_ref().unwrap().config.to_value(), &gateway, &[], certificates, None).await;
    let sender = Sender::connect(&node.endpoint()).await.unwrap();
    let attributes: Vec<(String, String)> =
        (0..15).map(|n| (format!("attribute.{n}"), "some value of it".repeat(2))).collect();
    let mut attributes: Vec<(&str, &str)> =
        attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    attributes.push(("service.name", "app"));
    let before = seconds(&gateway);
    let begun = Instant::now();
    for batch in 0..BATCHES {
        let names: Vec<String> = (0..500).map(|n| format!("GET /api/{batch}/{n}")).collect();
        sender.send(odigos_api::Signal::Traces, &attributes, &names).await.unwrap();
    }
    wait("everything arrives", &node, &gateway, || sink.spans() >= BATCHES * 500).await;
    let used = seconds(&gateway) - before;
    println!("TLS {}: {used:.2} s of a processor, {:.1} s", certificates.is_some(), begun.elapsed().as_secs_f64());
    used / (BATCHES * 500) as f64 * 1e6
}

/// A figure, for a quiet machine: what TLS costs a gateway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn tls_costs_a_gateway_at_most_a_tenth() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new(None, Timestamp::now()).unwrap();
    write(directory.path(), &authority, &authority, Timestamp::now());
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        without.push(cost(None).await);
        with.push(cost(Some(directory.path())).await);
    }
    let least = |all: &[f64]| all.iter().copied().fold(f64::INFINITY, f64::min);
    println!("processor seconds for a million spans: {with:.2?} with TLS, {without:.2?} without");
    assert!(least(&with) <= least(&without) * 1.10);
}
