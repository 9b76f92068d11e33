//! What collectors derive from telemetry stays in the streams of what it is derived from: span metrics and the service graph, by
//! the real collectors of a node and of a gateway, one behind the other.

use super::chain::{class, gateway, node, wait};
use super::{configuration, settled, workload};
use odigos_api::Signal;
use odigos_plan::trace_cuts::{Calls, Edge, read};
use odigos_testkit::http;
use odigos_testkit::otlp::{Item, Sender, Sink};
use odigos_testkit::ports::free_port;
use odigos_testkit::process::eventually;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const CALLS: &str = "traces.span.metrics.calls";
const EDGES: &str = "traces_service_graph_request_total";

/// A backend that takes metrics alone, in these streams.
async fn backend(name: &str, streams: &[&str], settings: &Value) -> (Sink, Value) {
    let port = free_port().unwrap();
    let document = json!({
        "apiVersion": odigos_api::API_VERSION, "kind": "Destination", "metadata": {"name": name},
        "spec": {
            "type": "otlp", "destinationName": name, "signals": ["METRICS"], "metricsSettings": settings,
            "data": {"OTLP_GRPC_ENDPOINT": format!("127.0.0.1:{port}")}, "sourceSelector": {"dataStreams": streams},
        },
    });
    (Sink::listen(port).await.unwrap(), document)
}

/// The highest count of calls that a backend was told of each service.
fn calls(sink: &Sink, service: &str) -> u64 {
    let of_service = |item: &Item| item.name == CALLS && item.service == service;
    let counts =
        sink.items().into_iter().filter(of_service).map(|item| item.points.iter().map(|one| one.count).sum::<u64>());
    counts.max().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn span_metrics_of_a_moved_workload_reach_only_its_new_stream() {
    let (old, first) = backend("old", &["a"], &json!({})).await;
    let (new, second) = backend("new", &["b"], &json!({})).await;
    let (neutral, third) = backend("neutral", &["default"], &json!({})).await;
    let quick = configuration("metricsSources: {spanMetrics: {interval: 1s}}");
    let mut documents = vec![first, second, third, quick];
    documents.extend(workload("cart", &["a"]));
    documents.extend(workload("web", &["b"]));
    let before = settled(&documents, |_| {});
    let (gate, _kept) = gateway(&before).await;
    let (collector, _kept_too) = node(&before, &gate, &[]).await;
    let sender = Sender::connect(&collector.endpoint()).await.unwrap();
    let (a, b) = (class(&["a"]), class(&["b"]));
    let resource = |class: &'static str| {
        [
            ("service.name", "cart"),
            ("k8s.namespace.name", "shop"),
            ("k8s.pod.name", "cart-1"),
            ("odigos.stream.class", class),
        ]
    };
    let (a, b): (&'static str, &'static str) = (a.leak(), b.leak());
    let names = |count: usize, of: &str| (0..count).map(|n| format!("{of}-{n}")).collect::<Vec<String>>();
    sender.send(Signal::Traces, &resource(a), &names(5, "before")).await.unwrap();
    wait("the old stream counts", &collector, &gate, || calls(&old, "cart") == 5).await;
    // The same pod, moved without a restart.
    sender.send(Signal::Traces, &resource(b), &names(7, "after")).await.unwrap();
    wait("the new stream counts", &collector, &gate, || calls(&new, "cart") == 7).await;
    assert_eq!(calls(&old, "cart"), 5, "what came after the move is not counted for the old stream");
    // Nothing is in the old stream any more: the gateway that replaces this one has no row for its class.
    let mut after = vec![documents[0].clone(), documents[1].clone(), documents[2].clone(), documents[3].clone()];
    after.extend(workload("cart", &["b"]));
    after.extend(workload("web", &["b"]));
    let after = settled(&after, |_| {});
    assert!(!after.gateway.as_ref().unwrap().classes.iter().any(|id| id == a));
    gate.stop();
    let (gate, _kept) = gateway(&after).await;
    let (collector, _kept_too) = node(&after, &gate, &[]).await;
    let sender = Sender::connect(&collector.endpoint()).await.unwrap();
    sender.send(Signal::Traces, &resource(a), &names(3, "late")).await.unwrap();
    sender.send(Signal::Traces, &resource(b), &names(9, "last")).await.unwrap();
    wait("the new stream counts on", &collector, &gate, || calls(&new, "cart") == 9).await;
    assert_eq!(calls(&old, "cart"), 5);
    assert_eq!(neutral.items(), vec![], "what is left of the old stream is not for the default one");
    let leaked = new.items().iter().chain(&old.items()).any(|item| item.resource.contains_key("odigos.stream.class"));
    assert!(!leaked, "the class is removed before export");
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) }),
        ..KeyValue::default()
    }
}

/// A span of a service, as it comes from a pod of that class.
fn span(service: &str, class: Option<&str>, kind: i32, trace: u8, id: u8, parent: u8) -> ResourceSpans {
    let mut attributes = vec![text("service.name", service), text("k8s.pod.name", service)];
    attributes.extend(class.map(|class| text("odigos.stream.class", class)));
    let span = Span {
        trace_id: vec![trace; 16],
        span_id: vec![id; 8],
        parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
        name: service.to_owned(),
        kind,
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_000_001_000_000,
        ..Span::default()
    };
    ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }
}

fn edges(sink: &Sink) -> BTreeSet<String> {
    let points = sink.items().into_iter().filter(|item| item.name == EDGES).flat_map(|item| item.points);
    points.map(|one| format!("{}>{}", one.attributes["client"], one.attributes["server"])).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_of_metrics_alone_get_span_metrics_and_the_edges_of_their_streams() {
    const SERVER: i32 = 2;
    const CLIENT: i32 = 3;
    let wanted = json!({"serviceGraphEnabled": true, "agentsTelemetryEnabled": false});
    let (of_a, first) = backend("of-a", &["a"], &wanted).await;
    let (of_both, second) = backend("of-both", &["a", "b"], &wanted).await;
    let (neutral, third) = backend("neutral", &["default"], &wanted).await;
    let (every, fourth) = backend("every", &["*"], &wanted).await;
    let (indifferent, fifth) = backend("indifferent", &["*"], &json!({})).await;
    let quick = configuration("metricsSources: {spanMetrics: {interval: 1s}}");
    let mut documents = vec![first, second, third, fourth, fifth, quick];
    for (name, streams) in [("web", "a"), ("cart", "a"), ("stock", "b")] {
        documents.extend(workload(name, &[streams]));
    }
    documents.extend(workload("mail", &[]));
    let settled = settled(&documents, |_| {});
    let (gate, _kept) = gateway(&settled).await;
    let (collector, _kept_too) = node(&settled, &gate, &[]).await;
    let sender = Sender::connect(&collector.endpoint()).await.unwrap();
    let (a, b) = (class(&["a"]), class(&["b"]));
    let (a, b) = (Some(a.as_str()), Some(b.as_str()));
    // web (a) calls cart (a), which calls stock (b); mail and chat carry no class.
    sender
        .send_spans(vec![
            span("web", a, CLIENT, 1, 1, 0),
            span("cart", a, SERVER, 1, 2, 1),
            span("cart", a, CLIENT, 1, 3, 2),
            span("stock", b, SERVER, 1, 4, 3),
            span("mail", None, CLIENT, 2, 5, 0),
            span("chat", None, SERVER, 2, 6, 5),
        ])
        .await
        .unwrap();
    // No destination takes logs: they are dropped, and the application gets no error for them.
    sender.send(Signal::Logs, &[("service.name", "web")], &["line".to_owned()]).await.unwrap();
    let set = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<String>>();
    let (inner, across, unnamed) = ("web>cart", "cart>stock", "mail>chat");
    wait("the edges arrive", &collector, &gate, || {
        edges(&every) == set(&[inner, across, unnamed])
            && edges(&of_both) == set(&[inner, across])
            && edges(&of_a) == set(&[inner])
            && edges(&neutral) == set(&[unnamed])
    })
    .await;
    assert_eq!(edges(&indifferent), set(&[]), "the service graph reaches those that request it");
    wait("span metrics arrive", &collector, &gate, || {
        calls(&of_a, "cart") == 2 && calls(&every, "stock") == 1 && calls(&neutral, "chat") == 1
    })
    .await;
    assert_eq!((calls(&of_a, "stock"), calls(&of_a, "chat"), calls(&neutral, "web")), (0, 0, 0));
    let instance = every.items().into_iter().find(|item| item.name == EDGES).unwrap().resource;
    assert_eq!(
        instance.get("service.instance.id").map(String::as_str),
        Some("local"),
        "each gateway counts for itself"
    );
}

/// The service graph that a gateway serves tells the classes of both ends, so what streams cut can be read from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_between_streams_are_read_from_a_gateway() {
    const SERVER: i32 = 2;
    const CLIENT: i32 = 3;
    let mut documents = Vec::new();
    for stream in ["a", "b"] {
        let port = free_port().unwrap();
        documents.push(json!({
            "apiVersion": odigos_api::API_VERSION, "kind": "Destination", "metadata": {"name": format!("of-{stream}")},
            "spec": {
                "type": "otlp", "destinationName": stream, "signals": ["TRACES"],
                "data": {"OTLP_GRPC_ENDPOINT": format!("127.0.0.1:{port}")}, "sourceSelector": {"dataStreams": [stream]},
            },
        }));
    }
    documents.extend(workload("web", &["a"]));
    documents.extend(workload("stock", &["b"]));
    let settled = settled(&documents, |_| {});
    let (gate, _kept) = gateway(&settled).await;
    let (collector, _kept_too) = node(&settled, &gate, &[]).await;
    let sender = Sender::connect(&collector.endpoint()).await.unwrap();
    let (a, b) = (class(&["a"]), class(&["b"]));
    let spans = vec![
        span("web", Some(&a), CLIENT, 1, 1, 0),
        span("stock", Some(&b), SERVER, 1, 2, 1),
        span("mail", None, CLIENT, 2, 3, 0),
        span("chat", None, SERVER, 2, 4, 3),
    ];
    sender.send_spans(spans).await.unwrap();
    let edge = |client: &str, from: &str, server: &str, to: &str| {
        let [client, client_class, server, server_class] = [client, from, server, to].map(str::to_owned);
        Edge { client, client_class, server, server_class }
    };
    let expected =
        Calls::from([(edge("web", &a, "stock", &b), 1.0), (edge("mail", "default", "chat", "default"), 1.0)]);
    let port = gate.around.service_graph;
    let arrived = eventually("the calls are counted", Duration::from_secs(60), || async {
        http::get(port, "/metrics", None).await.is_some_and(|text| read(&text) == expected)
    });
    if let Err(error) = arrived.await {
        panic!("{error}: {:?}\n{}", http::get(port, "/metrics", None).await, gate.output());
    }
}
