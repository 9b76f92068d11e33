//! Telemetry goes where it belongs: what is of no workload, what a rule switches off, and what a Processor of a stream changes,
//! by the real collectors of a node and of a gateway, one behind the other.

use super::chain::{class, gateway, node, wait};
use super::{configuration, destination, secret, settled, workload};
use odigos_api::Signal;
use odigos_testkit::otlp::{Item, Sender, Sink};
use odigos_testkit::ports::free_port;
use serde_json::{Value, json};

const CPU: &str = "system.cpu.time";

async fn backend(name: &str, streams: &[&str], signals: &Value) -> (Sink, Value) {
    let port = free_port().unwrap();
    let address = json!({"OTLP_GRPC_ENDPOINT": format!("127.0.0.1:{port}")});
    (Sink::listen(port).await.unwrap(), destination(name, "otlp", signals, &address, streams))
}

fn has(sink: &Sink, is_it: impl Fn(&Item) -> bool) -> bool {
    sink.items().iter().any(is_it)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_metrics_reach_the_streams_of_unowned_telemetry_alone() {
    let metrics = json!(["METRICS"]);
    let (infra, first) = backend("infra", &["infra"], &metrics).await;
    let (neutral, second) = backend("neutral", &["default"], &metrics).await;
    let text = "{unownedTelemetry: {dataStreams: [infra]}, metricsSources: {hostMetrics: {interval: 1s}}}";
    let mut documents = vec![secret(), first, second, configuration(text)];
    documents.extend(workload("web", &[]));
    let all = settled(&documents, |_| {});
    let (gate, _kept) = gateway(&all).await;
    let (collector, _kept_too) = node(&all, &gate, &["host_metrics"]).await;
    let sender = Sender::connect(&collector.endpoint()).await.unwrap();
    sender.send(Signal::Metrics, &[("service.name", "web")], &["requests".to_owned()]).await.unwrap();
    wait("both arrive", &collector, &gate, || {
        has(&infra, |item| item.name == CPU) && has(&neutral, |item| item.name == "requests")
    })
    .await;
    assert!(!has(&neutral, |item| item.name == CPU), "they are not for the default stream");
    assert!(!has(&infra, |item| item.name == "requests"), "what an application sends is not of the host");
    assert!(!has(&infra, |item| item.resource.contains_key("odigos.stream.class")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_and_logs_of_one_application_can_be_switched_off() {
    let (sink, document) = backend("all", &["default"], &json!(["TRACES", "METRICS", "LOGS"])).await;
    let rule = json!({
        "apiVersion": odigos_api::API_VERSION, "kind": "InstrumentationRule", "metadata": {"name": "quiet"},
        "spec": {
            "scopes": {"sources": [{"namespace": "shop", "kind": "Deployment", "name": "cart"}]},
            "metricsConfig": {"disabled": true}, "logsConfig": {"disabled": true},
        },
    });
    let mut documents = vec![secret(), document, rule, configuration("metricsSources: {spanMetrics: {interval: 1s}}")];
    documents.extend(workload("cart", &[]));
    documents.extend(workload("web", &[]));
    let all = settled(&documents, |_| {});
    let quiet = class(&["default", "off:metrics", "off:logs"]);
    assert_eq!(all.gateway.as_ref().unwrap().classes, std::slice::from_ref(&quiet));
    let (gate, _kept) = gateway(&all).await;
    let (collector, _kept_too) = node(&all, &gate, &[]).await;
    let sender = Sender::connect(&collector.endpoint()).await.unwrap();
    for signal in Signal::PIPELINES {
        for (service, class) in [("cart", quiet.as_str()), ("web", "default")] {
            let resource = [("service.name", service), ("k8s.pod.name", service), ("odigos.stream.class", class)];
            sender.send(signal, &resource, &["one".to_owned()]).await.unwrap();
        }
    }
    let of = |service: &str, signal: Signal, name: &str| {
        has(&sink, |item| item.service == service && item.signal == signal && item.name == name)
    };
    wait("the others arrive", &collector, &gate, || {
        of("web", Signal::Metrics, "traces.span.metrics.calls")
            && of("cart", Signal::Traces, "one")
            && Signal::PIPELINES.into_iter().all(|signal| of("web", signal, "one"))
    })
    .await;
    let kept: Vec<Item> = sink.items().into_iter().filter(|item| item.service == "cart").collect();
    assert!(kept.iter().all(|item| item.signal == Signal::Traces), "{kept:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processors_of_a_stream_change_its_items_alone_wherever_they_run() {
    let signals = json!(["TRACES", "LOGS"]);
    let (of_a, first) = backend("of-a", &["a"], &signals).await;
    let (of_b, second) = backend("of-b", &["b"], &signals).await;
    let processor = |name: &str, type_: &str, stream: &str, config: &Value| {
        json!({
            "apiVersion": odigos_api::API_VERSION, "kind": "Processor", "metadata": {"name": name},
            "spec": {
                "type": type_, "signals": ["TRACES", "LOGS"], "collectorRoles": ["NODE_COLLECTOR"],
                "dataStreams": [stream], "processorConfig": config,
            },
        })
    };
    let statements = json!({"trace_statements": [
        "set(span.attributes[\"team\"], \"a\")",
        {"context": "span", "conditions": ["name == \"nothing\"", "name != \"\""], "statements": ["set(attributes[\"named\"], true)"]},
        {"context": "resource", "statements": ["set(attributes[\"owner\"], \"a\")"]},
    ]});
    let dropped = json!({"logs": {"log_record": ["true"]}});
    let mut documents = vec![
        secret(),
        first,
        second,
        processor("mark", "transform", "a", &statements),
        processor("mute", "filter", "b", &dropped),
    ];
    documents.extend(workload("cart", &["a"]));
    documents.extend(workload("web", &["b"]));
    let all = settled(&documents, |_| {});
    // The Secret of these tests has keys that a backend without authentication does not use.
    assert!(all.findings.iter().all(|one| one.field == "spec.secretRef"), "{:?}", all.findings);
    let (gate, _kept) = gateway(&all).await;
    let (collector, _kept_too) = node(&all, &gate, &[]).await;
    let sender = Sender::connect(&collector.endpoint()).await.unwrap();
    for (service, class) in [("cart", class(&["a"])), ("web", class(&["b"]))] {
        let resource = [("service.name", service), ("odigos.stream.class", class.as_str())];
        for signal in [Signal::Logs, Signal::Traces] {
            sender.send(signal, &resource, &["one".to_owned()]).await.unwrap();
        }
    }
    let span = |sink: &Sink| sink.items().into_iter().find(|item| item.signal == Signal::Traces);
    wait("spans and logs arrive", &collector, &gate, || {
        span(&of_a).is_some() && span(&of_b).is_some() && has(&of_a, |item| item.signal == Signal::Logs)
    })
    .await;
    let (a, b) = (span(&of_a).unwrap(), span(&of_b).unwrap());
    let changed = |item: &Item| {
        (
            item.attributes.contains_key("team"),
            item.attributes.contains_key("named"),
            item.resource.contains_key("owner"),
        )
    };
    assert_eq!((changed(&a), changed(&b)), ((true, true, true), (false, false, false)), "{a:?} {b:?}");
    assert!(!has(&of_b, |item| item.signal == Signal::Logs), "the filter runs in the gateway, for its stream");
}
