//! A gateway that goes while its destination is away, with the command of its `preStop` hook and without.

use super::{chain, destination, secret, settled};
use odigos_api::{CollectorRole, Signal};
use odigos_testkit::collector::{Collector, shipped};
use odigos_testkit::otlp::{Sender, Sink};
use odigos_testkit::ports::free_port;
use odigos_testkit::process::eventually;
use odigos_tools as tools;
use serde_json::json;
use std::process::{Child, Command};
use std::time::Duration;
use tempfile::TempDir;

const SPANS: usize = 500;

/// A gateway whose only destination does not answer, and spans that it has taken for it.
async fn with_spans_that_wait(port: u16) -> (Collector, TempDir) {
    let address = json!({"OTLP_GRPC_ENDPOINT": format!("127.0.0.1:{port}")});
    let documents = [secret(), destination("late", "otlp", &json!(["TRACES"]), &address, &["default"])];
    let (gateway, files) = chain::gateway(&settled(&documents, |_| {})).await;
    let names: Vec<String> = (0..SPANS).map(|number| format!("span-{number}")).collect();
    let sender = Sender::connect(&gateway.endpoint()).await.unwrap();
    sender.send(Signal::Traces, &[("service.name", "app")], &names).await.unwrap();
    (gateway, files)
}

/// The command that a pod runs before it stops.
fn drain(gateway: &Collector) -> Child {
    let mut command = Command::new(tools::find(shipped(CollectorRole::ClusterGateway)).unwrap());
    command.arg("drain").arg(format!("-metrics=http://127.0.0.1:{}/metrics", gateway.around.metrics)).arg("-most=90s");
    command.spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_destination_is_sent_before_the_pod_goes() {
    // The shutdown alone tries once more, which the destination misses.
    let port = free_port().unwrap();
    let (gateway, _files) = with_spans_that_wait(port).await;
    gateway.stop();
    let sink = Sink::listen_counting(port).await.unwrap();
    assert_eq!(sink.spans(), 0, "nothing is sent again");

    let port = free_port().unwrap();
    let (gateway, _files) = with_spans_that_wait(port).await;
    let mut draining = drain(&gateway);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(draining.try_wait().unwrap().is_none(), "it waits while spans wait");
    let sink = Sink::listen_counting(port).await.unwrap();
    let ended = eventually("it ends when they are sent", Duration::from_secs(90), || {
        let status = draining.try_wait().unwrap();
        async move { status.is_some_and(|status| status.success()) }
    })
    .await;
    ended.unwrap_or_else(|error| panic!("{error}: {}", gateway.output()));
    assert_eq!(sink.spans(), SPANS);
    gateway.stop();
    assert_eq!(sink.spans(), SPANS);
}
