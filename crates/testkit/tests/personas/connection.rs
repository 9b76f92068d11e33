//! Any pod of the cluster in front of a gateway: it has no certificate, and where it may send at all it chooses no stream.
//!
//! Real collectors as rendered; as clients they stand for whoever has other certificates or none.

use crate::certificate_files;
use crate::pod::{settled, settled_with, without_cluster};
use jiff::Timestamp;
use odigos_api::{Signal, names};
use odigos_kit::certificates::Authority;
use odigos_plan::streams;
use odigos_testkit::collector::{Collector, Surroundings};
use odigos_testkit::otlp::{Sender, Sink};
use odigos_testkit::ports::free_port;
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// Sends a span of this name through a node's collector with the certificates in `directory`.
async fn send(text: &str, directory: &Path, gateway: u16, name: &str) -> Collector {
    let scratch = directory.join(format!("of-{name}"));
    let mut around = Surroundings::new(&scratch).unwrap();
    around.gateways = vec![format!("127.0.0.1:{gateway}")];
    around.certificates = Some(directory.to_path_buf());
    let node = Collector::start(name, text, around, &[]).await.unwrap();
    let sender = Sender::connect(&node.endpoint()).await.unwrap();
    sender.send(Signal::Traces, &[("service.name", name)], &[name.to_owned()]).await.unwrap();
    node
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateway_listens_to_node_collectors_alone() {
    let port = free_port().unwrap();
    let sink = Sink::listen(port).await.unwrap();
    let settled = settled(port);
    let directory = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    let [ours, foreign, wrong_side] = ["ours", "foreign", "wrong-side"].map(|name| directory.path().join(name));
    let authority = Authority::new(None, now).unwrap();
    certificate_files::write(&ours, &authority, &authority, now);
    // It knows the gateway's authority, but is certified by another.
    certificate_files::write(&foreign, &Authority::new(None, now).unwrap(), &authority, now);
    // The certificate of a gateway says that it listens, not that it sends.
    certificate_files::write(&wrong_side, &authority, &authority, now);
    std::fs::remove_file(wrong_side.join("node")).unwrap();
    std::os::unix::fs::symlink(wrong_side.join("gateway"), wrong_side.join("node")).unwrap();

    let mut around = Surroundings::new(&directory.path().join("gateway")).unwrap();
    around.certificates = Some(ours.clone());
    let gateway =
        Collector::start("gateway", &settled.gateway.as_ref().unwrap().config.to_yaml(), around, &[]).await.unwrap();
    let listens = gateway.around.grpc;
    for port in [gateway.around.http, gateway.around.open_grpc] {
        assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err(), "nothing else listens");
    }
    if let Ok(sender) = Sender::connect(&format!("http://127.0.0.1:{listens}")).await {
        let sent = sender.send(Signal::Traces, &[("service.name", "plain")], &["plain".to_owned()]).await;
        assert!(sent.is_err(), "without TLS");
    }
    let text = without_cluster(&settled);
    let bare: String = text
        .lines()
        .filter(|line| !line.contains("cert_file:") && !line.contains("key_file:"))
        .map(|line| format!("{line}\n"))
        .collect();
    let _refused = [
        send(&bare, &ours, listens, "bare").await,
        send(&text, &foreign, listens, "foreign").await,
        send(&text, &wrong_side, listens, "wrong-side").await,
    ];
    let node = send(&text, &ours, listens, "node").await;
    let arrives =
        eventually("the node's own span arrives", Duration::from_secs(60), || async { !sink.items().is_empty() });
    assert!(arrives.await.is_ok(), "{}\n{}", node.output(), gateway.output());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let arrived: Vec<String> = sink.items().into_iter().map(|item| item.name).collect();
    assert_eq!(arrived, ["node"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn direct_sender_has_no_class() {
    let (theirs, common) = (free_port().unwrap(), free_port().unwrap());
    let (payments, others) = (Sink::listen(theirs).await.unwrap(), Sink::listen(common).await.unwrap());
    let destination = |name: &str, port: u16, stream: &str| {
        json!({
            "apiVersion": odigos_api::API_VERSION, "kind": "Destination", "metadata": {"name": name},
            "spec": {
                "type": "otlp", "destinationName": name, "signals": ["TRACES"],
                "data": {"OTLP_GRPC_ENDPOINT": format!("127.0.0.1:{port}")}, "sourceSelector": {"dataStreams": [stream]},
            },
        })
    };
    let label = odigos_api::labels::stream_label("payments");
    let settings = json!({names::CONFIGURATION_KEY: "collectorGateway: {plaintextReceiver: true}"});
    let documents: [Value; 5] = [
        destination("payments-vault", theirs, "payments"),
        destination("others", common, "default"),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names::CONFIGURATION}, "data": settings}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "till", "namespace": "shop"}, "spec": {"template": {"spec": {"containers": [{"name": "app"}]}}}}),
        json!({"apiVersion": odigos_api::API_VERSION, "kind": "Source", "metadata": {"name": "till", "namespace": "shop", "labels": {label: "true"}}, "spec": {"workload": {"name": "till", "namespace": "shop", "kind": "Deployment"}}}),
    ];
    let settled = settled_with(documents);
    let directory = tempfile::tempdir().unwrap();
    let around = Surroundings::new(directory.path()).unwrap();
    let text = settled.gateway.as_ref().unwrap().config.to_yaml();
    let gateway = Collector::start("gateway", &text, around, &[]).await.unwrap();
    let class = streams::class_id(&["payments".to_owned()].into());
    let forged = [("service.name", "x"), ("odigos.stream.class", class.as_str()), ("odigos.workload.name", "till")];
    let direct = Sender::connect(&format!("http://127.0.0.1:{}", gateway.around.open_grpc)).await.unwrap();
    direct.send(Signal::Traces, &forged, &["forged".to_owned()]).await.unwrap();
    let node = Sender::connect(&gateway.endpoint()).await.unwrap();
    node.send(Signal::Traces, &forged, &["by-a-node".to_owned()]).await.unwrap();
    let arrive = eventually("both spans arrive", Duration::from_secs(60), || async {
        !payments.items().is_empty() && !others.items().is_empty()
    });
    assert!(arrive.await.is_ok(), "{}", gateway.output());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let of = |sink: &Sink| -> Vec<String> { sink.items().into_iter().map(|item| item.name).collect() };
    assert_eq!((of(&payments), of(&others)), (vec!["by-a-node".to_owned()], vec!["forged".to_owned()]));
    assert!(!others.items()[0].resource.contains_key("odigos.workload.name"));
}
