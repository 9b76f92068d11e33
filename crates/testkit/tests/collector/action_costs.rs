//! What Actions cost a gateway: spans for each second of a processor, with each kind alone and with all of them.

use super::free_port;
use odigos_api::action::Action;
use odigos_plan::actions::compile;
use odigos_testkit::collector::{Collector, Surroundings};
use odigos_testkit::otlp::{Sender, Sink};
use odigos_testkit::process::eventually;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use serde_json::{Value, json};
use std::time::Duration;

/// Spans of a measurement.
const BATCHES: usize = 400;
const SPANS: usize = 500;
const RULES: usize = 10;

/// One Action of each kind that gateways run, with ten rules.
fn actions() -> Vec<(&'static str, Value)> {
    let rules = |one: &dyn Fn(usize) -> Value| -> Value { (0..RULES).map(one).collect() };
    vec![
        (
            "addClusterInfo",
            json!({"clusterAttributes": rules(&|n| json!({"attributeName": format!("added.{n}"), "attributeStringValue": "v"}))}),
        ),
        ("deleteAttribute", json!({"attributeNamesToDelete": rules(&|n| json!(format!("attribute.{n}")))})),
        (
            "renameAttribute",
            json!({"renames": (0..RULES).map(|n| (format!("attribute.{n}"), json!(format!("renamed.{n}")))).collect::<serde_json::Map<_, _>>()}),
        ),
        (
            "piiMasking",
            json!({
                "piiCategories": ["CREDIT_CARD", "EMAIL", "JWT", "UUID"],
                "customRegexMaskings": (0..RULES - 4).map(|n| json!({"regex": format!("key{n}=([^\\s&]+)")})).collect::<Vec<_>>(),
            }),
        ),
        (
            "extractAttribute",
            json!({"extractions": rules(&|n| json!({"targetAttributeName": format!("extracted.{n}"), "lookupKey": format!("key{n}"), "dataFormat": "json"}))}),
        ),
        (
            "spanRenamer",
            json!({
                "programmingLanguage": "java", "scopeName": "lib",
                "regexReplacements": rules(&|n| json!({"regexPattern": format!("^GET /a{n}/.*"), "templateText": "GET"})),
            }),
        ),
        (
            "urlTemplatization",
            json!({"rules": [{"templates": rules(&|n| json!(format!("/api/v{n}/{{team}}/*")))}], "default": [{}]}),
        ),
        ("dbQueryTemplatization", json!({"templatizeLiterals": true, "removePostgresCastOperator": true})),
        ("inferDbAttributes", json!({})),
    ]
}

fn pair(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// Half of the spans are of requests, a quarter of queries, a quarter of neither, each with fifteen attributes.
fn batch(number: usize) -> ResourceSpans {
    let span = |n: usize| {
        let mut attributes: Vec<KeyValue> =
            (0..12).map(|a| pair(&format!("attribute.{a}"), "some value of it, some value of it")).collect();
        match n % 4 {
            0 | 1 => attributes.extend([
                pair("http.request.method", "GET"),
                pair("url.path", &format!("/users/{n}/orders/{number}")),
                pair("url.scheme", "https"),
            ]),
            2 => attributes.extend([
                pair("db.system.name", "postgresql"),
                pair(
                    "db.query.text",
                    &format!("SELECT a, b::text FROM orders WHERE id = {n} AND name = 'alice' ORDER BY a LIMIT 10"),
                ),
                pair("server.address", "db"),
            ]),
            _ => {}
        }
        let mut id = vec![0; 8];
        id[0..4].copy_from_slice(&u32::try_from(n + 1).unwrap().to_be_bytes());
        Span { trace_id: vec![1; 16], span_id: id, name: "GET".into(), kind: 2, attributes, ..Span::default() }
    };
    let scope = Some(InstrumentationScope { name: "lib".into(), ..InstrumentationScope::default() });
    ResourceSpans {
        resource: Some(Resource {
            attributes: vec![
                pair("service.name", "app"),
                pair("telemetry.sdk.language", "java"),
                pair("k8s.namespace.name", "shop"),
            ],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans { scope, spans: (0..SPANS).map(span).collect(), ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }
}

/// Seconds of a processor that a collector has used.
fn seconds(collector: &Collector) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", collector.id())).unwrap();
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().map(|field| fields[*field].parse::<u64>().unwrap()).sum();
    ticks as f64 / 100.0
}

/// Spans for each second of a processor.
async fn speed(actions: &[(&str, Value)]) -> f64 {
    let port = free_port().unwrap();
    let sink = Sink::listen_counting(port).await.unwrap();
    let mut config = json!({
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": "127.0.0.1:4317", "max_recv_msg_size_mib": 64}, "http": {"endpoint": "127.0.0.1:4318"}}}},
        "processors": {},
        "exporters": {"otlp_grpc/sink": {"endpoint": format!("127.0.0.1:{port}"), "compression": "none", "tls": {"insecure": true}, "sending_queue": {"block_on_overflow": true}}},
        "extensions": {"health_check": {}},
        "service": {"extensions": ["health_check"], "pipelines": {}, "telemetry": {"metrics": {"level": "none"}}},
    });
    let mut steps: Vec<_> = actions
        .iter()
        .map(|(kind, settings)| {
            let spec = serde_json::from_value(json!({"signals": ["TRACES"], *kind: settings})).unwrap();
            let found = compile(&Action::new(&kind.to_lowercase(), spec));
            assert_eq!(found.problems, vec![], "{kind}");
            found.step.unwrap()
        })
        .collect();
    steps.sort_by_key(|step| (step.hint, step.id.clone()));
    for step in &steps {
        config["processors"][&step.id] = step.settings.rendered();
    }
    let ids: Vec<&String> = steps.iter().map(|step| &step.id).collect();
    config["service"]["pipelines"]["traces"] =
        json!({"receivers": ["otlp"], "processors": ids, "exporters": ["otlp_grpc/sink"]});
    let directory = tempfile::tempdir().unwrap();
    let around = Surroundings::new(directory.path()).unwrap();
    let text = odigos_pipeline::yaml::to_string(&config);
    let collector = Collector::start("actions", &text, around, &[]).await.unwrap();
    let sender = Sender::connect(&collector.endpoint()).await.unwrap();
    let before = seconds(&collector);
    for number in 0..BATCHES {
        sender.send_spans(vec![batch(number)]).await.unwrap();
    }
    let all = BATCHES * SPANS;
    eventually("everything arrives", Duration::from_secs(300), || async { sink.spans() >= all }).await.unwrap();
    all as f64 / (seconds(&collector) - before)
}

/// Figures, for a quiet machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn actions_cost() {
    let all = actions();
    let without = speed(&[]).await;
    println!("spans for each second of a processor, {RULES} rules a kind:");
    println!("  {:24} {without:9.0}", "without Actions");
    for one in &all {
        println!("  {:24} {:9.0}", one.0, speed(std::slice::from_ref(one)).await);
    }
    println!("  {:24} {:9.0}", "all of them", speed(&all).await);
}
