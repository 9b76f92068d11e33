//! Actions on the real collector: what it does to spans, events, metrics and logs is what the rules say, for random Actions and for hostile texts.

use super::free_port;
use odigos_api::CollectorRole;
use odigos_api::action::{Action, ActionSpec};
use odigos_plan::actions::item::{Attributes, Body, Event, Item, SpanKind, Value as Held};
use odigos_plan::actions::{compile, evaluate, failure, generate};
use odigos_plan::sampling::generate::Random;
use odigos_testkit::collector::{Collector, Surroundings, validate};
use odigos_testkit::otlp::{Raw, Sender, Sink};
use odigos_testkit::process::eventually;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, span};
use serde_json::{Value, json};
use std::time::Duration;

/// Actions side by side in one collector, and items that pass each of them.
const ACTIONS: usize = 100;
const ITEMS: usize = 80;
/// Tells spans apart whatever their names become.
const NUMBER: &str = "number";
/// Of the resource: whose copy a span is.
const MARK: &str = "mark";

fn any(value: &Held) -> AnyValue {
    let value = match value {
        Held::Text(text) => any_value::Value::StringValue(text.clone()),
        Held::Integer(number) => any_value::Value::IntValue(*number),
        Held::Double(number) => any_value::Value::DoubleValue(*number),
        Held::Boolean(flag) => any_value::Value::BoolValue(*flag),
        Held::List(list) => any_value::Value::ArrayValue(ArrayValue { values: list.iter().map(any).collect() }),
        Held::Map(_) => unreachable!("no map is generated"),
    };
    AnyValue { value: Some(value) }
}

fn held(value: &AnyValue) -> Held {
    match value.value.as_ref().unwrap() {
        any_value::Value::StringValue(text) => Held::Text(text.clone()),
        any_value::Value::IntValue(number) => Held::Integer(*number),
        any_value::Value::DoubleValue(number) => Held::Double(*number),
        any_value::Value::BoolValue(flag) => Held::Boolean(*flag),
        any_value::Value::ArrayValue(list) => Held::List(list.values.iter().map(held).collect()),
        other => unreachable!("{other:?} is not sent"),
    }
}

fn pairs(attributes: &Attributes) -> Vec<KeyValue> {
    let pair =
        |(key, value): (&String, &Held)| KeyValue { key: key.clone(), value: Some(any(value)), ..KeyValue::default() };
    attributes.iter().map(pair).collect()
}

fn attributes(pairs: &[KeyValue]) -> Attributes {
    pairs.iter().map(|pair| (pair.key.clone(), held(pair.value.as_ref().unwrap()))).collect()
}

fn scope(item: &Item) -> Option<InstrumentationScope> {
    let attributes = pairs(&item.scope);
    Some(InstrumentationScope { name: item.scope_name.clone(), attributes, ..Default::default() })
}

fn resource(item: &Item) -> Option<Resource> {
    Some(Resource { attributes: pairs(&item.resource), ..Resource::default() })
}

/// Adds an item to what is sent.
fn add(raw: &mut Raw, item: &Item) {
    let (resource, scope, attributes) = (resource(item), scope(item), pairs(&item.attributes));
    match &item.body {
        Body::Span { name, kind, events } => {
            let kind = match kind {
                SpanKind::Server => 2,
                SpanKind::Client => 3,
                SpanKind::Other => 1,
            };
            let event = |one: &Event| span::Event {
                name: one.name.clone(),
                attributes: pairs(&one.attributes),
                ..span::Event::default()
            };
            let span = Span {
                trace_id: vec![1; 16],
                span_id: vec![1; 8],
                name: name.clone(),
                kind,
                attributes,
                events: events.iter().map(event).collect(),
                ..Span::default()
            };
            let scope_spans = vec![ScopeSpans { scope, spans: vec![span], ..ScopeSpans::default() }];
            raw.spans.push(ResourceSpans { resource, scope_spans, ..ResourceSpans::default() });
        }
        Body::Point { metric } => {
            let value = Some(number_data_point::Value::AsInt(1));
            let point = NumberDataPoint { attributes, time_unix_nano: 1, value, ..NumberDataPoint::default() };
            let data = Some(metric::Data::Gauge(Gauge { data_points: vec![point] }));
            let metric = Metric { name: metric.clone(), data, ..Metric::default() };
            let scope_metrics = vec![ScopeMetrics { scope, metrics: vec![metric], ..ScopeMetrics::default() }];
            raw.metrics.push(ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() });
        }
        Body::Log { text } => {
            let body = Some(any(&Held::Text(text.clone())));
            let record = LogRecord { attributes, time_unix_nano: 1, body, ..LogRecord::default() };
            let scope_logs = vec![ScopeLogs { scope, log_records: vec![record], ..ScopeLogs::default() }];
            raw.logs.push(ResourceLogs { resource, scope_logs, ..ResourceLogs::default() });
        }
    }
}

/// Every item that arrived.
fn items(raw: &Raw) -> Vec<Item> {
    let of = |resource: &Option<Resource>, scope: &Option<InstrumentationScope>, own: &[KeyValue], body: Body| Item {
        resource: attributes(&resource.as_ref().unwrap().attributes),
        scope_name: scope.as_ref().unwrap().name.clone(),
        scope: attributes(&scope.as_ref().unwrap().attributes),
        attributes: attributes(own),
        body,
    };
    let mut all = Vec::new();
    for group in &raw.spans {
        for (scope, span) in
            group.scope_spans.iter().flat_map(|one| one.spans.iter().map(move |span| (&one.scope, span)))
        {
            let kind = match span.kind {
                2 => SpanKind::Server,
                3 => SpanKind::Client,
                _ => SpanKind::Other,
            };
            let event = |one: &span::Event| Event { name: one.name.clone(), attributes: attributes(&one.attributes) };
            let body = Body::Span { name: span.name.clone(), kind, events: span.events.iter().map(event).collect() };
            all.push(of(&group.resource, scope, &span.attributes, body));
        }
    }
    for group in &raw.metrics {
        for (scope, one) in
            group.scope_metrics.iter().flat_map(|one| one.metrics.iter().map(move |metric| (&one.scope, metric)))
        {
            let Some(metric::Data::Gauge(gauge)) = &one.data else { unreachable!("gauges are sent") };
            let body = Body::Point { metric: one.name.clone() };
            all.extend(
                gauge.data_points.iter().map(|point| of(&group.resource, scope, &point.attributes, body.clone())),
            );
        }
    }
    for group in &raw.logs {
        for (scope, one) in
            group.scope_logs.iter().flat_map(|one| one.log_records.iter().map(move |log| (&one.scope, log)))
        {
            let Held::Text(text) = held(one.body.as_ref().unwrap()) else { unreachable!("texts are sent") };
            all.push(of(&group.resource, scope, &one.attributes, Body::Log { text }));
        }
    }
    all
}

/// Signals that an Action of this kind can change.
fn signals(spec: &Value) -> Value {
    let is_of_all = ["addClusterInfo", "deleteAttribute", "renameAttribute"].iter().any(|kind| !spec[*kind].is_null());
    if is_of_all { json!(["TRACES", "METRICS", "LOGS"]) } else { json!(["TRACES"]) }
}

/// Random Actions that become a processor of gateways, some of them with rules that are left out.
fn specs(dice: &mut Random) -> Vec<ActionSpec> {
    let mut all = Vec::new();
    while all.len() < ACTIONS {
        let mut spec = generate::spec(dice);
        spec["signals"] = signals(&spec);
        let spec: ActionSpec = serde_json::from_value(spec).unwrap();
        if compile(&Action::new("a", spec.clone())).step.is_some() {
            all.push(spec);
        }
    }
    all
}

/// Names and patterns of a user that try to leave their statement, at every place of every kind.
fn hostile() -> Vec<ActionSpec> {
    let mut all: Vec<ActionSpec> = Vec::new();
    for text in [
        r#"a", "b") where true //"#,
        r"\\",
        "${env:HOME}",
        "$HOME $$ $1",
        "line\nbreak\tand\rmore",
        "\u{0}\u{7f}\u{200b}",
        "'\"`{{}}",
        &"x".repeat(10_000),
    ] {
        let pattern = regex::escape(text);
        for kind in [
            json!({"deleteAttribute": {"attributeNamesToDelete": [text]}}),
            json!({"renameAttribute": {"renames": {text: "to", "from": text}}}),
            json!({"addClusterInfo": {"clusterAttributes": [{"attributeName": text, "attributeStringValue": text}]}}),
            json!({"piiMasking": {"customFormatMaskings": [{"lookupKey": text, "dataFormat": "json"}, {"lookupKey": text, "dataFormat": "sql"}]}}),
            json!({"piiMasking": {"customRegexMaskings": [{"regex": format!("({pattern})")}]}}),
            json!({"extractAttribute": {"extractions": [{"targetAttributeName": text, "lookupKey": text, "dataFormat": "resource_path"}]}}),
            json!({"urlTemplatization": {"rules": [{"templates": [format!("/a/{}/{{{0}}}/*", text.replace(['/', '*', '{', '}'], ""))]}], "default": [{}]}}),
            json!({"dbQueryTemplatization": {"templatizeLiterals": true, "scopes": {"namespaces": [text]}}}),
            json!({"inferDbAttributes": {"scopes": {"namespaces": [text]}}}),
            json!({"spanRenamer": {"programmingLanguage": text, "scopeName": text, "regexReplacements": [{"regexPattern": pattern, "templateText": "x"}]}}),
        ] {
            let mut spec = kind;
            spec["signals"] = signals(&spec);
            all.push(serde_json::from_value(spec).unwrap());
        }
    }
    let before = all.len();
    all.retain(|spec| compile(&Action::new("a", spec.clone())).step.is_some());
    assert!(all.len() + 9 > before, "only what is too long is refused");
    all
}

/// A collector in which every span passes each Action apart.
fn configuration(specs: &[ActionSpec], port: u16) -> Value {
    let mut config = json!({
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": "127.0.0.1:4317"}, "http": {"endpoint": "127.0.0.1:4318"}}}},
        "processors": {},
        "exporters": {"otlp_grpc/sink": {"endpoint": format!("127.0.0.1:{port}"), "compression": "none", "tls": {"insecure": true}}},
        "extensions": {"health_check": {}},
        "service": {
            "extensions": ["health_check"], "pipelines": {},
            "telemetry": {"metrics": {"level": "none"}},
        },
    });
    for (number, spec) in specs.iter().enumerate() {
        let step = compile(&Action::new(&format!("a{number}"), spec.clone())).step.unwrap();
        let mark = format!("resource/mark-{number}");
        config["processors"][&mark] =
            json!({"attributes": [{"key": MARK, "value": number.to_string(), "action": "upsert"}]});
        // Actions of one kind that share a processor are apart here.
        let id = format!("{}/{number}", step.settings.component_type());
        config["processors"][&id] = step.settings.rendered();
        for signal in &step.signals {
            config["service"]["pipelines"][format!("{}/{number}", signal.as_str().to_lowercase())] =
                json!({"receivers": ["otlp"], "processors": [id, mark], "exporters": ["otlp_grpc/sink"]});
        }
    }
    config
}

/// Sends items through Actions, and compares each with what the rules say; returns how many passed, and how many were changed.
async fn compare(specs: &[ActionSpec], sent: &[Item]) -> (usize, usize) {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port().unwrap();
    let sink = Sink::listen_raw(port).await.unwrap();
    let text = odigos_pipeline::yaml::to_string(&configuration(specs, port));
    let around = Surroundings::new(directory.path()).unwrap();
    let collector = Collector::start("actions", &text, around, &[]).await.unwrap();
    let sender = Sender::connect(&collector.endpoint()).await.unwrap();
    for batch in sent.chunks(20) {
        let mut raw = Raw::default();
        batch.iter().for_each(|item| add(&mut raw, item));
        // A collector without a pipeline for a signal refuses it, even where nothing is sent.
        if !raw.spans.is_empty() {
            sender.send_spans(raw.spans).await.unwrap();
        }
        if !raw.metrics.is_empty() {
            sender.send_metrics(raw.metrics).await.unwrap();
        }
        if !raw.logs.is_empty() {
            sender.send_logs(raw.logs).await.unwrap();
        }
    }
    let takes =
        |spec: &ActionSpec, item: &Item| spec.signals.contains(&item.signal()) && !failure::is_dropped(spec, item);
    let all = specs.iter().map(|spec| sent.iter().filter(|item| takes(spec, item)).count()).sum();
    let arrived =
        eventually("every copy arrives", Duration::from_secs(120), || async { items(&sink.raw()).len() >= all }).await;
    let found = items(&sink.raw());
    arrived.unwrap_or_else(|error| panic!("{error}: {} of {all}: {}", found.len(), collector.output()));
    let mut changed = 0;
    for mut found in found {
        let Some(Held::Text(mark)) = found.resource.remove(MARK) else { panic!("no mark: {found:?}") };
        let Held::Integer(number) = found.attributes[NUMBER] else { panic!("no number: {found:?}") };
        let spec = &specs[mark.parse::<usize>().unwrap()];
        let before = &sent[usize::try_from(number).unwrap()];
        assert!(!failure::is_dropped(spec, before), "it is not exported: {spec:?}\n{before:?}");
        let mut after = before.clone();
        evaluate(spec, &mut after);
        changed += usize::from(after != *before);
        assert_eq!(found, after, "{spec:?}\n{before:?}");
    }
    let failures: Vec<String> =
        collector.output().lines().filter(|line| line.contains("failed to execute")).map(str::to_owned).collect();
    assert!(failures.is_empty(), "no statement fails: {failures:?}");
    (all, changed)
}

fn numbered(items: impl Iterator<Item = Item>) -> Vec<Item> {
    let number = |(number, mut item): (usize, Item)| {
        // A number, since any text may be masked.
        item.attributes.insert(NUMBER.to_owned(), Held::Integer(i64::try_from(number).unwrap()));
        item
    };
    items.enumerate().map(number).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_does_what_the_rules_say() {
    let mut dice = Random::new(11);
    let specs = specs(&mut dice);
    let items = numbered(std::iter::repeat_with(|| generate::item(&mut dice)).take(ITEMS));
    let (all, changed) = compare(&specs, &items).await;
    println!("{all} items through Actions, {changed} changed");
    assert!(changed > 500, "{changed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_text_of_a_user_leaves_its_statement() {
    let specs = hostile();
    let directory = tempfile::tempdir().unwrap();
    let text = odigos_pipeline::yaml::to_string(&configuration(&specs, 1));
    validate(CollectorRole::ClusterGateway, &text, directory.path()).unwrap();
    let mut plain = Item::span("GET /", SpanKind::Server);
    plain.attributes.insert("from".into(), "kept".into());
    plain.resource.insert("service.name".into(), "app".into());
    plain.attributes.insert("http.method".into(), "GET /".into());
    plain.attributes.insert("url.path".into(), "/a/1/2/3".into());
    compare(&specs, &numbered(std::iter::once(plain))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_of_a_mask_that_cannot_be_compiled_are_not_exported() {
    let mask = |policy: &str, scopes: Value| -> ActionSpec {
        serde_json::from_value(json!({
            "signals": ["TRACES"], "failurePolicy": policy,
            "piiMasking": {"scopes": scopes, "piiCategories": ["EMAIL"], "customRegexMaskings": [{"regex": "no group"}]},
        }))
        .unwrap()
    };
    let shop = json!({"namespaces": ["shop"]});
    let unreadable = json!({"namespaces": [""]});
    let specs = [mask("ignore", shop.clone()), mask("drop", shop), mask("drop", Value::Null), mask("drop", unreadable)];
    let of = |namespace: &str| {
        let mut span = Item::span("GET /", SpanKind::Server);
        span.attributes.insert("mail".into(), "a@b.io".into());
        span.resource.insert("k8s.namespace.name".into(), namespace.into());
        span.resource.insert("odigos.workload.name".into(), "cart".into());
        span
    };
    let items = numbered([of("shop"), of("office")].into_iter());
    let dropped = |spec: &ActionSpec| [0, 1].map(|number: usize| failure::is_dropped(spec, &items[number]));
    let expected = [[false, false], [true, false], [true, true], [true, true]];
    assert_eq!(specs.each_ref().map(dropped), expected);
    assert_eq!(
        compare(&specs, &items).await.1,
        1,
        "the address of the shop is masked where the rest of the mask is in force"
    );
}
