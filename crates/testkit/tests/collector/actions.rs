//! Actions on the real collector: what it does to spans is what the rules say, for random Actions and for hostile texts.

use super::free_port;
use odigos_api::CollectorRole;
use odigos_api::action::{Action, ActionSpec};
use odigos_plan::actions::item::{Body, Item, SpanKind, Value as Held};
use odigos_plan::actions::{compile, evaluate, failure, generate};
use odigos_plan::sampling::generate::Random;
use odigos_testkit::collector::{Collector, Surroundings, validate};
use odigos_testkit::otlp::{Sender, Sink};
use odigos_testkit::process::eventually;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Actions side by side in one collector, and spans that pass each of them.
const ACTIONS: usize = 80;
const SPANS: usize = 50;
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

fn pairs(attributes: &BTreeMap<String, Held>) -> Vec<KeyValue> {
    let pair =
        |(key, value): (&String, &Held)| KeyValue { key: key.clone(), value: Some(any(value)), ..KeyValue::default() };
    attributes.iter().map(pair).collect()
}

/// How the sink tells an attribute.
fn told(attributes: &BTreeMap<String, Held>) -> BTreeMap<String, String> {
    let text = |value: &Held| match value {
        Held::Text(text) => text.clone(),
        Held::Integer(number) => number.to_string(),
        Held::Boolean(flag) => flag.to_string(),
        Held::List(list) => {
            let texts = list.iter().map(|one| one.text().map_or_else(|| "true".to_owned(), str::to_owned));
            texts.collect::<Vec<_>>().join(",")
        }
        Held::Double(_) | Held::Map(_) => String::new(),
    };
    attributes.iter().map(|(key, value)| (key.clone(), text(value))).collect()
}

fn name(item: &Item) -> &str {
    match &item.body {
        Body::Span { name, .. } => name,
        _ => "",
    }
}

fn sent(item: &Item) -> ResourceSpans {
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![1; 8],
        name: name(item).to_owned(),
        attributes: pairs(&item.attributes),
        ..Span::default()
    };
    let scope =
        InstrumentationScope { name: item.scope_name.clone(), attributes: pairs(&item.scope), ..Default::default() };
    ResourceSpans {
        resource: Some(Resource { attributes: pairs(&item.resource), ..Resource::default() }),
        scope_spans: vec![ScopeSpans { scope: Some(scope), spans: vec![span], ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }
}

/// Random Actions for spans that become a processor, some of them with rules that are left out.
fn specs(dice: &mut Random) -> Vec<ActionSpec> {
    let mut all = Vec::new();
    while all.len() < ACTIONS {
        let mut spec = generate::spec(dice);
        spec["signals"] = json!(["TRACES"]);
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
            json!({"spanRenamer": {"programmingLanguage": text, "scopeName": text, "regexReplacements": [{"regexPattern": pattern, "templateText": "x"}]}}),
        ] {
            let mut spec = kind;
            spec["signals"] = json!(["TRACES"]);
            all.push(serde_json::from_value(spec).unwrap());
        }
    }
    let before = all.len();
    all.retain(|spec| compile(&Action::new("a", spec.clone())).step.is_some());
    assert!(all.len() + 8 > before, "only what is too long is refused");
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
        let mark = format!("resource/{number}");
        config["processors"][&mark] =
            json!({"attributes": [{"key": MARK, "value": number.to_string(), "action": "upsert"}]});
        config["processors"][&step.id] = step.settings.rendered();
        config["service"]["pipelines"][format!("traces/{number}")] =
            json!({"receivers": ["otlp"], "processors": [step.id, mark], "exporters": ["otlp_grpc/sink"]});
    }
    config
}

/// Sends spans through Actions, and compares each with what the rules say; returns how many were changed.
async fn compare(specs: &[ActionSpec], items: &[Item]) -> usize {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port().unwrap();
    let sink = Sink::listen(port).await.unwrap();
    let text = odigos_pipeline::yaml::to_string(&configuration(specs, port));
    let around = Surroundings::new(directory.path()).unwrap();
    let collector = Collector::start("actions", &text, around, &[]).await.unwrap();
    let sender = Sender::connect(&collector.endpoint()).await.unwrap();
    for batch in items.chunks(20) {
        sender.send_spans(batch.iter().map(sent).collect()).await.unwrap();
    }
    let passing = |spec: &ActionSpec| items.iter().filter(|item| !failure::is_dropped(spec, item)).count();
    let all: usize = specs.iter().map(passing).sum();
    let arrived =
        eventually("every copy arrives", Duration::from_secs(120), || async { sink.items().len() >= all }).await;
    arrived.unwrap_or_else(|error| panic!("{error}: {} of {all}: {}", sink.items().len(), collector.output()));
    let mut changed = 0;
    for mut found in sink.items() {
        let number = |text: &str| text.parse::<usize>().unwrap();
        let spec = &specs[number(&found.resource.remove(MARK).unwrap())];
        let before = &items[number(&found.attributes[NUMBER])];
        assert!(!failure::is_dropped(spec, before), "it is not exported: {spec:?}\n{before:?}");
        let mut after = before.clone();
        evaluate(spec, &mut after);
        changed += usize::from(after != *before);
        let expected = (name(&after), told(&after.attributes), told(&after.resource));
        assert_eq!((found.name.as_str(), found.attributes, found.resource), expected, "{spec:?}\n{before:?}");
    }
    let failures: Vec<String> =
        collector.output().lines().filter(|line| line.contains("failed to execute")).map(str::to_owned).collect();
    assert!(failures.is_empty(), "no statement fails: {failures:?}");
    changed
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
    let spans =
        std::iter::repeat_with(|| generate::item(&mut dice)).filter(|item| matches!(item.body, Body::Span { .. }));
    let items = numbered(spans.take(SPANS));
    let changed = compare(&specs, &items).await;
    println!("{} spans through Actions, {changed} changed", specs.len() * items.len());
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
        compare(&specs, &items).await,
        1,
        "the address of the shop is masked where the rest of the mask is in force"
    );
}
