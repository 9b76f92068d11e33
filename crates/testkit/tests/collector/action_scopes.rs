//! Scopes and masks on the real collectors of a node and of a gateway, one behind the other: nothing that users put in front switches a scope
//! off, and metrics from spans show no more than spans do when they leave.

use super::chain::{gateway, node, wait};
use super::{configuration, destination, secret, settled, workload};
use odigos_api::Signal;
use odigos_testkit::otlp::{Item, Sender, Sink};
use odigos_testkit::ports::free_port;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use serde_json::{Value, json};

/// What scopes of these tests look at: a node without an API server knows no namespace.
const LANGUAGE: &str = "telemetry.sdk.language";
const CALLS: &str = "traces.span.metrics.calls";

fn pair((key, value): (&str, &str)) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn action(name: &str, kind: &Value) -> Value {
    let mut spec = json!({"signals": ["TRACES"]});
    spec.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
    json!({"apiVersion": odigos_api::API_VERSION, "kind": "Action", "metadata": {"name": name}, "spec": spec})
}

fn mask() -> Value {
    let emails = json!({"scopes": {"languages": ["java"]}, "piiCategories": ["EMAIL"]});
    action("mask", &json!({"failurePolicy": "drop", "piiMasking": emails}))
}

/// What arrives of one span in Java with an address: the span, and what was measured of it.
async fn arrived(objects: &[Value]) -> (Item, Item) {
    let port = free_port().unwrap();
    let sink = Sink::listen(port).await.unwrap();
    let address = json!({"OTLP_GRPC_ENDPOINT": format!("127.0.0.1:{port}")});
    let spans = "metricsSources: {spanMetrics: {interval: 1s, additionalDimensions: [user.mail]}}";
    let of_all = destination("all", "otlp", &json!(["TRACES", "METRICS"]), &address, &["default"]);
    let mut documents = vec![secret(), of_all, configuration(spans)];
    documents.extend(workload("web", &[]));
    documents.extend_from_slice(objects);
    let all = settled(&documents, |_| {});
    let (gate, _kept) = gateway(&all).await;
    let (collector, _kept_too) = node(&all, &gate, &[]).await;
    let sender = Sender::connect(&collector.endpoint()).await.unwrap();
    let resource = [("service.name", "web"), (LANGUAGE, "java"), ("odigos.stream.class", "default")];
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![1; 8],
        name: "GET".into(),
        kind: 2,
        end_time_unix_nano: 1_000_000,
        attributes: vec![pair(("user.mail", "a@b.io"))],
        ..Span::default()
    };
    let resource = Some(Resource { attributes: resource.map(pair).to_vec(), ..Resource::default() });
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    sender.send_spans(vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }]).await.unwrap();
    let of = |is_it: &dyn Fn(&Item) -> bool| sink.items().into_iter().find(|item| is_it(item));
    let span = || of(&|item| item.signal == Signal::Traces);
    let calls = || of(&|item| item.name == CALLS && !item.points.is_empty());
    wait("the span and what is measured of it arrive", &collector, &gate, || span().is_some() && calls().is_some())
        .await;
    (span().unwrap(), calls().unwrap())
}

fn has_no_mark(item: &Item) {
    assert!(!item.resource.keys().any(|key| key.starts_with("odigos.scope.")), "{item:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scope_holds_whatever_changes_what_it_looks_at() {
    let processor = |name: &str, role: &str| {
        json!({
            "apiVersion": odigos_api::API_VERSION, "kind": "Processor", "metadata": {"name": name},
            "spec": {
                "type": "resource", "signals": ["TRACES"], "collectorRoles": [role], "orderHint": -200,
                "processorConfig": {"attributes": [{"key": LANGUAGE, "action": "delete"}]},
            },
        })
    };
    let cluster = json!({"overwriteExistingValues": true, "clusterAttributes": [{"attributeName": LANGUAGE, "attributeStringValue": "x"}]});
    let objects = [
        mask(),
        processor("on-nodes", "NODE_COLLECTOR"),
        processor("in-gateways", "CLUSTER_GATEWAY"),
        action("del", &json!({"deleteAttribute": {"attributeNamesToDelete": [LANGUAGE]}})),
        action("ren", &json!({"renameAttribute": {"renames": {"service.name": LANGUAGE}}})),
        action("cluster", &json!({"addClusterInfo": cluster})),
    ];
    let (span, calls) = arrived(&objects).await;
    assert_eq!(span.attributes["user.mail"], "***EMAIL***", "{span:?}");
    assert_eq!(span.resource[LANGUAGE], "x");
    has_no_mark(&span);
    has_no_mark(&calls);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_measures_what_gateways_leave_of_spans() {
    let (span, calls) = arrived(&[mask(), action("ren", &json!({"renameAttribute": {"renames": {"a": "b"}}}))]).await;
    assert_eq!(span.attributes["user.mail"], "***EMAIL***");
    let mails: Vec<&str> =
        calls.points.iter().filter_map(|point| point.attributes.get("user.mail")).map(String::as_str).collect();
    assert_eq!(mails, ["***EMAIL***"], "{calls:?}");
    has_no_mark(&span);
    has_no_mark(&calls);
}
