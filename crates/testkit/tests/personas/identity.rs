//! Any pod of the cluster in front of its node's collector: whatever it says of itself, its items are its own.
//!
//! The real collector as rendered, with pods of a real API server. Each pod has an address of the loopback network, from which its
//! items are sent.

use crate::pod::settled_with;
use odigos_api::labels::{CRON_JOB, STREAM_CLASS, stream_label};
use odigos_api::{Signal, names};
use odigos_plan::streams;
use odigos_plan::world::Settled;
use odigos_testkit::api_server::ApiServer;
use odigos_testkit::collector::{Collector, Surroundings};
use odigos_testkit::control_plane::{apply, create_namespace};
use odigos_testkit::otlp::{Sender, Sink};
use odigos_testkit::ports::free_port;
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::{SocketAddr, SocketAddrV6};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A pod on the node at this address; returns its uid.
async fn pod(client: &kube::Client, namespace: &str, name: &str, labels: &Value, address: &str, host: bool) -> String {
    owned(client, namespace, (name, json!({})), labels, address, host).await
}

/// A gateway, and a node collector that sends to it and knows the pods of the API server.
async fn collectors(settled: &Settled, api: &ApiServer, directory: &Path) -> (Collector, Collector) {
    let around = Surroundings::new(&directory.join("gateway")).unwrap();
    let text = settled.gateway.as_ref().unwrap().config.to_yaml();
    let gateway = Collector::start("gateway", &text, around, &[]).await.unwrap();
    let mut around = Surroundings::new(&directory.join("node")).unwrap();
    around.gateways = vec![format!("127.0.0.1:{}", gateway.around.grpc)];
    around.kubeconfig = Some(api.kubeconfig());
    // Senders come by IPv6 as well.
    around.http_host = "[::]".into();
    let text = settled.node.as_ref().unwrap().config.to_yaml();
    let node = Collector::start("node", &text, around, &[]).await.unwrap();
    (gateway, node)
}

/// The same with further metadata.
async fn owned(
    client: &kube::Client,
    namespace: &str,
    (name, metadata): (&str, Value),
    labels: &Value,
    address: &str,
    host: bool,
) -> String {
    let mut object = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"nodeName": "local", "hostNetwork": host, "containers": [{"name": "app", "image": "none"}]},
    });
    object["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
    let uid = apply(client, &object).await.unwrap().metadata.uid.unwrap();
    let api: kube::Api<k8s_openapi::api::core::v1::Pod> = kube::Api::namespaced(client.clone(), namespace);
    let status = json!({"status": {
        "phase": "Running", "hostIP": "127.0.0.1", "podIP": address, "podIPs": [{"ip": address}],
        "startTime": "2026-01-01T00:00:00Z",
    }});
    api.patch_status(name, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(&status)).await.unwrap();
    uid
}

/// Sends one span by HTTP.
async fn post(address: SocketAddrV6, name: &str, attributes: &[(&str, String)]) {
    let attributes: Vec<Value> =
        attributes.iter().map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})).collect();
    let span = json!({
        "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": name,
        "startTimeUnixNano": "1", "endTimeUnixNano": "2",
    });
    let body = json!({"resourceSpans": [{"resource": {"attributes": attributes}, "scopeSpans": [{"spans": [span]}]}]});
    let body = body.to_string();
    let request = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: node\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut connection = TcpStream::connect(SocketAddr::V6(address)).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{name}: {answer}");
}

/// A link-local address of this machine, where it has one.
fn link_local(port: u16) -> Option<SocketAddrV6> {
    let known = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    known.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let address = u128::from_str_radix(fields.first()?, 16).ok()?;
        let interface = u32::from_str_radix(fields.get(1)?, 16).ok()?;
        let address = std::net::Ipv6Addr::from(address);
        address.is_unicast_link_local().then(|| SocketAddrV6::new(address, port, 0, interface))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_identity_moves_no_item_into_the_stream_of_another() {
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
    let settled = settled_with([
        destination("payments-vault", theirs, "payments"),
        destination("others", common, "default"),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "till", "namespace": "shop"}, "spec": {"template": {"spec": {"containers": [{"name": "app"}]}}}}),
        json!({"apiVersion": odigos_api::API_VERSION, "kind": "Source", "metadata": {"name": "till", "namespace": "shop", "labels": {stream_label("payments"): "true"}}, "spec": {"workload": {"name": "till", "namespace": "shop", "kind": "Deployment"}}}),
    ]);
    let class = streams::class_id(&["payments".to_owned()].into());
    let api = ApiServer::start().await.unwrap();
    let client = api.client().await.unwrap();
    for namespace in ["shop", "aaa", names::DEFAULT_NAMESPACE] {
        create_namespace(&client, namespace).await.unwrap();
    }
    let covered = json!({STREAM_CLASS: class});
    let agent = json!({"app.kubernetes.io/name": names::AGENT_SERVICE});
    let owner = |kind: &str, name: &str| json!({"ownerReferences": [{"apiVersion": "v1", "kind": kind, "name": name, "uid": "u-1", "controller": true}]});
    let labelled = |key: &str, value: &str| json!({STREAM_CLASS: class, key: value});
    let replicas = ("till", owner("ReplicaSet", "till-5d4f"));
    let till = owned(&client, "shop", replicas, &labelled("pod-template-hash", "5d4f"), "127.9.0.1", false).await;
    // Owners that only labels and annotations of the pod tell.
    let rollout = ("canary-1", owner("ReplicaSet", "canary-blue-77"));
    owned(&client, "shop", rollout, &labelled("rollouts-pod-template-hash", "77"), "127.9.0.5", false).await;
    let config = ("legacy-1", owner("ReplicationController", "legacy-3"));
    owned(&client, "shop", config, &labelled("deploymentconfig", "legacy"), "127.9.0.6", false).await;
    let mut job = owner("Job", "by-hand");
    job["annotations"] = json!({CRON_JOB: "import"});
    owned(&client, "shop", ("by-hand-1", job), &covered, "127.9.0.7", false).await;
    pod(&client, "aaa", "attacker", &json!({}), "127.9.0.2", false).await;
    // It calls itself an agent, in a namespace that is not the control plane's.
    pod(&client, "aaa", "impostor", &agent, "127.9.0.3", false).await;
    pod(&client, names::DEFAULT_NAMESPACE, "odiglet", &agent, "127.9.0.4", false).await;
    let on_host = pod(&client, "shop", "on-host", &covered, "127.0.0.1", true).await;

    let directory = tempfile::tempdir().unwrap();
    let (gateway, node) = collectors(&settled, &api, directory.path()).await;
    let http = node.around.http;

    let (till, on_host) = (till.as_str(), on_host.as_str());
    let claims = |name: &str, claimed: &str| -> Vec<(&'static str, String)> {
        let mut attributes = vec![
            ("service.name", name),
            ("k8s.pod.uid", claimed),
            ("k8s.pod.name", "till"),
            ("k8s.namespace.name", "shop"),
            ("k8s.pod.ip", "127.9.0.1"),
            ("odigos.stream.class", class.as_str()),
            ("odigos.trust", "agent"),
            ("odigos.sender", names::AGENT_SERVICE),
            ("odigos.claimed.uid", till),
            ("odigos.workload.kind", "StatefulSet"),
            ("odigos.workload.name", "vault"),
            ("odigos.owner.rollout", "5d4f"),
            ("k8s.deployment.name", "vault"),
            ("k8s.replicaset.name", "vault-5d4f"),
        ];
        attributes.retain(|(_, value)| !value.is_empty());
        attributes.into_iter().map(|(key, value)| (key, value.to_owned())).collect()
    };
    let send = async |name: &str, address: &str, claimed: &str| {
        let sender = Sender::connect_from(&node.endpoint(), address.parse().unwrap()).await.unwrap();
        let claims = claims(name, claimed);
        let attributes: Vec<(&str, &str)> = claims.iter().map(|(key, value)| (*key, value.as_str())).collect();
        sender.send(Signal::Traces, &attributes, &[name.to_owned()]).await.unwrap();
    };
    send("of-till", "127.9.0.1", "").await;
    send("of-canary", "127.9.0.5", "").await;
    send("of-legacy", "127.9.0.6", "").await;
    send("of-by-hand", "127.9.0.7", "").await;
    send("of-attacker", "127.9.0.2", till).await;
    send("of-impostor", "127.9.0.3", till).await;
    send("of-go-in-till", "127.9.0.4", till).await;
    send("of-on-host", "127.0.0.1", on_host).await;
    send("of-host-as-till", "127.0.0.1", till).await;
    // An address that is neither a pod's nor the node's: of another node, of a gateway, from outside.
    send("of-stranger-as-on-host", "127.9.0.9", on_host).await;
    let loopback = SocketAddrV6::new(std::net::Ipv6Addr::LOCALHOST, http, 0, 0);
    post(loopback, "of-on-host-by-ipv6", &claims("of-on-host-by-ipv6", on_host)).await;
    let of = |names: &[&str]| -> BTreeSet<String> { names.iter().map(ToString::to_string).collect() };
    let mut strangers = of(&["of-attacker", "of-impostor", "of-host-as-till", "of-stranger-as-on-host"]);
    // The collector knows no address of such a connection by HTTP.
    if let Some(address) = link_local(http) {
        post(address, "of-link-local-as-on-host", &claims("of-link-local-as-on-host", on_host)).await;
        strangers.insert("of-link-local-as-on-host".into());
    }
    let covered_names =
        of(&["of-till", "of-canary", "of-legacy", "of-by-hand", "of-go-in-till", "of-on-host", "of-on-host-by-ipv6"]);
    let arrived = |sink: &Sink| -> BTreeSet<String> { sink.items().into_iter().map(|item| item.name).collect() };
    let all = eventually("everything arrives", Duration::from_secs(60), || async {
        arrived(&payments).len() + arrived(&others).len() >= covered_names.len() + strangers.len()
    });
    assert!(
        all.await.is_ok(),
        "{:?} {:?}\n{}\n{}",
        arrived(&payments),
        arrived(&others),
        node.output(),
        gateway.output()
    );
    assert_eq!(arrived(&payments), covered_names);
    assert_eq!(arrived(&others), strangers);
    for item in payments.items().iter().chain(&others.items()) {
        let text = |key: &str| item.resource.get(key).map(String::as_str).unwrap_or_default();
        let expected = match item.name.as_str() {
            "of-attacker" => ("aaa", "attacker"),
            "of-impostor" => ("aaa", "impostor"),
            "of-on-host" | "of-on-host-by-ipv6" => ("shop", "on-host"),
            "of-host-as-till" | "of-stranger-as-on-host" | "of-link-local-as-on-host" => ("", ""),
            "of-canary" => ("shop", "canary-1"),
            "of-legacy" => ("shop", "legacy-1"),
            "of-by-hand" => ("shop", "by-hand-1"),
            _ => ("shop", "till"),
        };
        assert_eq!((text("k8s.namespace.name"), text("k8s.pod.name")), expected, "{item:?}");
        // By its owners, never by what it says.
        let (kind, name) = match item.name.as_str() {
            "of-till" | "of-go-in-till" => ("Deployment", "till"),
            "of-canary" => ("Rollout", "canary-blue"),
            "of-legacy" => ("DeploymentConfig", "legacy"),
            "of-by-hand" => ("CronJob", "import"),
            _ => ("", ""),
        };
        assert_eq!((text("odigos.workload.kind"), text("odigos.workload.name")), (kind, name), "{item:?}");
        assert_ne!(text("k8s.deployment.name"), "vault", "{item:?}");
        assert_ne!(text("k8s.replicaset.name"), "vault-5d4f", "{item:?}");
        let left = item.resource.keys().filter(|key| key.starts_with("odigos.") && !key.starts_with("odigos.version"));
        assert_eq!(left.filter(|key| !key.starts_with("odigos.workload.")).count(), 0, "{item:?}");
        assert!(!item.resource.contains_key("k8s.pod.ip"), "{item:?}");
    }
}

/// Rows 28 and 29 of Actions: what two of them ask for is read of the pod, its namespace and its node, by one processor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_namespaces_and_nodes_name_items() {
    let port = free_port().unwrap();
    let sink = Sink::listen(port).await.unwrap();
    let object = |kind: &str, name: &str, spec: Value| json!({"apiVersion": odigos_api::API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec});
    let labels = json!({"signals": ["TRACES"], "k8sAttributes": {
        "labelsAttributes": [
            {"labelKey": "environment", "attributeKey": "environment", "fromSources": ["pod", "namespace"]},
            {"labelKey": "zone", "attributeKey": "zone", "from": "node"},
            {"labelKey": "service", "attributeKey": "service.name"},
        ],
        "annotationsAttributes": [{"annotationKey": "example.com/team", "attributeKey": "team"}],
    }});
    let owners = json!({"signals": ["TRACES"], "k8sAttributes": {"collectReplicaSetAttributes": true, "collectClusterUID": true}});
    let settled = settled_with([
        object(
            "Destination",
            "all",
            json!({
                "type": "otlp", "destinationName": "all", "signals": ["TRACES"],
                "data": {"OTLP_GRPC_ENDPOINT": format!("127.0.0.1:{port}")}, "sourceSelector": {"dataStreams": ["default"]},
            }),
        ),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "till", "namespace": "shop"}, "spec": {"template": {"spec": {"containers": [{"name": "app"}]}}}}),
        json!({"apiVersion": odigos_api::API_VERSION, "kind": "Source", "metadata": {"name": "till", "namespace": "shop"}, "spec": {"workload": {"name": "till", "namespace": "shop", "kind": "Deployment"}}}),
        object("Action", "labels", labels),
        object("Action", "owners", owners),
    ]);
    let api = ApiServer::start().await.unwrap();
    let client = api.client().await.unwrap();
    create_namespace(&client, "shop").await.unwrap();
    let named = |kind: &str, name: &str, labels: Value| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "labels": labels}});
    apply(&client, &named("Namespace", "shop", json!({"environment": "of-namespace"}))).await.unwrap();
    apply(&client, &named("Node", "local", json!({"zone": "z1"}))).await.unwrap();
    let owner = json!({
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "till-5d4f", "uid": "u-1", "controller": true}],
        "annotations": {"example.com/team": "tills"},
    });
    let plain = json!({"service": "ignored"});
    owned(&client, "shop", ("till-1", owner), &plain, "127.9.1.1", false).await;
    pod(&client, "shop", "till-2", &json!({"environment": "of-pod"}), "127.9.1.2", false).await;

    let directory = tempfile::tempdir().unwrap();
    let (gateway, node) = collectors(&settled, &api, directory.path()).await;
    for (name, address) in [("of-till-1", "127.9.1.1"), ("of-till-2", "127.9.1.2")] {
        let sender = Sender::connect_from(&node.endpoint(), address.parse().unwrap()).await.unwrap();
        sender.send(Signal::Traces, &[("service.name", "brought")], &[name.to_owned()]).await.unwrap();
    }
    let arrived = eventually("both arrive", Duration::from_secs(60), || async { sink.items().len() >= 2 }).await;
    assert!(arrived.is_ok(), "{}\n{}", node.output(), gateway.output());
    let items = sink.items();
    let of = |name: &str, key: &str| {
        let item = items.iter().find(|item| item.name == name).unwrap();
        item.resource.get(key).cloned().unwrap_or_default()
    };
    assert_eq!(of("of-till-1", "environment"), "of-namespace", "{items:?}");
    assert_eq!(of("of-till-2", "environment"), "of-pod", "{items:?}");
    assert_eq!((of("of-till-1", "zone"), of("of-till-1", "team")), ("z1".to_owned(), "tills".to_owned()), "{items:?}");
    assert_eq!(of("of-till-1", "k8s.replicaset.name"), "till-5d4f", "{items:?}");
    assert_eq!(of("of-till-1", "service.name"), "brought", "what an item brings stays");
    assert!(!of("of-till-2", "k8s.cluster.uid").is_empty(), "{items:?}");
}
