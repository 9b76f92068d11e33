//! Every setting of every type, with every switch on and off: what changes nothing is reported, and what is reported changes nothing.

use super::*;
use crate::destination::types;
use crate::normaliser::normalised;
use crate::render::{Instance, Rendered, render};
use crate::schema::Normaliser;
use serde_json::{Value, json};

fn examples() -> BTreeMap<String, Vec<Value>> {
    serde_json::from_str(include_str!("../../tests/golden/examples.json")).unwrap()
}

/// Texts of every form that a rule takes; the first that all rules of a setting take is its value here.
const CANDIDATES: [&str; 28] = [
    "unlikely-1",
    "-1",
    "1024",
    "true",
    "7",
    "30",
    "7s",
    "0.7",
    "7.7.7",
    "3.9.0",
    "https://unlikely.example.com",
    "https://unlikely.example.com/otlp",
    "https://unlikely.example.com/api/prom/push",
    "https://token@unlikely.example.com",
    "unlikely.example.com",
    "unlikely.example.com:7777",
    "unlikely1",
    "/unlikely/file.json",
    "[\"unlikely:7\"]",
    "[{\"key\":\"unlikely\",\"value\":\"v\"}]",
    "{\"unlikely\": \"v\"}",
    "{unlikely: v}",
    "InstrumentationKey=0f8fad5b-d9cb-469f-a165-70867728950e",
    "arn:aws:iam::123456789012:role/unlikely",
    "/v1/otlp",
    "unlikely",
    "year=%Y",
    crate::example::CERTIFICATE,
];

/// The rules that templates read a setting by.
fn rules<'a>(template: &'a Template, name: &str, found: &mut Vec<&'a Normaliser>) {
    match template {
        Template::List(list) | Template::Concat(list) => list.iter().for_each(|item| rules(item, name, found)),
        Template::Map(map) => map.values().for_each(|item| rules(item, name, found)),
        Template::Field(field) if field.name == name => found.push(&field.normaliser),
        Template::Each(each) if each.name == name => found.push(&Normaliser::StringList),
        Template::If(_, then, otherwise) => {
            rules(then, name, found);
            otherwise.iter().for_each(|item| rules(item, name, found));
        }
        _ => {}
    }
}

/// A value that a setting takes and that no form begins with.
fn value(definition: &DestinationType, field: &Field, switches: &BTreeSet<&str>) -> String {
    if switches.contains(field.name.as_str()) || field.component_type == ComponentType::Checkbox {
        return "true".into();
    }
    let rendering = &definition.rendering;
    let mut found = Vec::new();
    let components = [&rendering.exporters, &rendering.processors, &rendering.extensions, &rendering.connectors];
    components.into_iter().flatten().for_each(|one| rules(&one.settings, &field.name, &mut found));
    found.extend(rendering.checks.iter().filter(|check| check.field == field.name).map(|check| &check.normaliser));
    let choices = field.component_props.get("values").and_then(Value::as_array).into_iter().flatten().rev();
    let choices = choices.filter_map(Value::as_str);
    let is_taken =
        |text: &&str| !asks_for_nothing(field, text) && found.iter().all(|rule| normalised(rule, text, true).is_ok());
    choices.chain(CANDIDATES).find(is_taken).unwrap_or_else(|| panic!("no value fits {}", field.name)).to_owned()
}

/// What a collector gets: components that a pipeline names, extensions, variables and files.
fn effect(rendered: &Rendered) -> Value {
    let parts = || rendered.pipelines.values();
    let named: BTreeSet<&String> =
        parts().flat_map(|part| part.receivers.iter().chain(&part.processors).chain(&part.exporters)).collect();
    let used = |section: &BTreeMap<String, Value>| -> Value {
        section
            .iter()
            .filter(|(id, _)| named.contains(id))
            .map(|(id, settings)| (id.clone(), settings.clone()))
            .collect()
    };
    let environment: Vec<&str> = rendered.environment.iter().map(|one| one.key.as_str()).collect();
    let files: Vec<&str> = rendered.files.iter().map(|one| one.key.as_str()).collect();
    json!([
        used(&rendered.exporters),
        used(&rendered.processors),
        used(&rendered.connectors),
        rendered.extensions,
        rendered.variables,
        environment,
        files,
    ])
}

#[test]
fn every_given_setting_is_used_or_reported() {
    let examples = examples();
    let (mut judged, mut reported) = (0, 0);
    let (mut wrong, mut silent) = (BTreeMap::new(), BTreeMap::new());
    for (type_id, definition) in types() {
        let switches: BTreeSet<&str> = definition.rendering.switches().into_keys().collect();
        let mut full: BTreeMap<String, String> = definition
            .fields
            .iter()
            .filter(|field| !field.secret)
            .map(|field| (field.name.clone(), value(definition, field, &switches)))
            .collect();
        // Settings that must fit together are those of the example.
        if let Some(example) = examples.get(type_id).and_then(|cases| cases.first())
            && matches!(type_id.as_str(), "dynamic" | "grafanacloudprometheus")
        {
            full.extend(serde_json::from_value::<BTreeMap<String, String>>(example["data"].clone()).unwrap());
        }
        let keys: BTreeSet<String> =
            definition.fields.iter().filter(|field| field.secret).map(|field| field.name.clone()).collect();
        // Each switch on and off, and each other setting missing in turn.
        for mask in 0..1_u32 << switches.len() {
            let mut toggled = full.clone();
            for (position, name) in switches.iter().enumerate() {
                if mask >> position & 1 == 1 {
                    toggled.insert((*name).to_owned(), "false".into());
                }
            }
            let mut variants = vec![toggled.clone()];
            let is_edge = mask == 0 || mask + 1 == 1 << switches.len();
            for name in full.keys().filter(|name| is_edge && !switches.contains(name.as_str())) {
                let mut without = toggled.clone();
                without.remove(name);
                variants.push(without);
            }
            if let Some(url) =
                toggled.iter().find(|(_, text)| text.starts_with("https://")).map(|(name, _)| name.clone())
            {
                let mut plain = toggled.clone();
                plain.insert(url, "http://unlikely.example.com/otlp".into());
                variants.push(plain);
            }
            let all: Vec<Signal> = definition.signals.iter().copied().collect();
            for signals in [all.clone(), all[..1].to_vec(), all[all.len() - 1..].to_vec()] {
                let signals: BTreeSet<Signal> = signals.into_iter().collect();
                for data in &variants {
                    let of = |data: &BTreeMap<String, String>, keys: &BTreeSet<String>| {
                        let secret = Secret::Keys { name: "s", keys };
                        render(&Instance { id: "d1", type_id, data, signals: &signals, secret })
                    };
                    let Ok(whole) = of(data, &keys) else { continue };
                    for field in &definition.fields {
                        let is_given = if field.secret {
                            keys.contains(&field.name)
                        } else {
                            data.get(&field.name).is_some_and(|text| !asks_for_nothing(field, text))
                        };
                        if !is_given {
                            continue;
                        }
                        let (mut less, mut fewer) = (data.clone(), keys.clone());
                        less.remove(&field.name);
                        fewer.remove(&field.name);
                        let changes = of(&less, &fewer).map_or(true, |without| effect(&without) != effect(&whole));
                        let of_field = |one: &&Problem| {
                            one.field == data_field(&field.name)
                                || (one.field == "spec.secretRef"
                                    && one.message.contains(&format!("key {} ", field.name)))
                        };
                        let said: Vec<&Problem> = whole.warnings.iter().filter(of_field).collect();
                        let has_no_effect = said.iter().any(|one| one.message.contains("has no effect"));
                        judged += 1;
                        reported += usize::from(has_no_effect);
                        let what = || format!("{signals:?} {data:?} {said:?}");
                        // What is of one signal stands in its exporter whatever is sent.
                        let is_of_signal = field.render_condition.first().is_some_and(|subject| subject == "SIGNALS");
                        if has_no_effect && changes && !is_of_signal {
                            wrong.entry((type_id, &field.name)).or_insert_with(what);
                        }
                        // A switch may be on beside another one that asks for the same.
                        let is_switch = switches.contains(field.name.as_str());
                        if !changes && said.is_empty() && !is_switch {
                            silent.entry((type_id, &field.name)).or_insert_with(what);
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "reported although they have an effect: {wrong:#?}");
    assert!(silent.is_empty(), "without effect and not reported: {silent:#?}");
    assert!(judged > 2_000 && reported > 200, "{judged} judged, {reported} reported");
}

#[test]
fn reason_names_the_switch_that_would_use_a_setting() {
    let said = |type_id: &str, signals: &[Signal], data: Value, keys: &[&str]| {
        let data: BTreeMap<String, String> = serde_json::from_value(data).unwrap();
        let keys: BTreeSet<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        let signals = signals.iter().copied().collect();
        let secret = Secret::Keys { name: "s", keys: &keys };
        let rendered = render(&Instance { id: "d1", type_id, data: &data, signals: &signals, secret }).unwrap();
        rendered.warnings.into_iter().map(|one| format!("{}: {}", one.field, one.message)).collect::<Vec<_>>()
    };
    let traces = &[Signal::Traces];
    for (type_id, signals, data, keys, expected) in [
        (
            "prometheus",
            &[Signal::Metrics],
            json!({"PROMETHEUS_REMOTEWRITE_URL": "https://p", "PROMETHEUS_BASIC_AUTH_USERNAME": "u"}),
            vec!["PROMETHEUS_BASIC_AUTH_PASSWORD"],
            vec![
                "spec.data.PROMETHEUS_BASIC_AUTH_USERNAME: it has no effect: it is used only where PROMETHEUS_USE_AUTHENTICATION is true",
                "spec.secretRef: key PROMETHEUS_BASIC_AUTH_PASSWORD of Secret s has no effect: it is used only where PROMETHEUS_USE_AUTHENTICATION is true",
            ],
        ),
        (
            "otlp",
            traces,
            json!({"OTLP_GRPC_ENDPOINT": "c:4317", "OTLP_GRPC_CA_PEM": "junk"}),
            vec![],
            vec![
                "spec.data.OTLP_GRPC_CA_PEM: it has no effect: it is used only where OTLP_GRPC_TLS_ENABLED is true or OTLP_GRPC_OAUTH2_ENABLED is true",
            ],
        ),
        (
            "otlphttp",
            traces,
            json!({"OTLP_HTTP_ENDPOINT": "http://c:4318", "OTLP_HTTP_TLS_ENABLED": "true"}),
            vec![],
            vec![
                "spec.data.OTLP_HTTP_TLS_ENABLED: what goes to an http:// address is not encrypted: the scheme of each address decides; write https:// there",
            ],
        ),
        (
            "kafka",
            traces,
            json!({"KAFKA_PROTOCOL_VERSION": "2.8.0", "KAFKA_USERNAME": "u"}),
            vec![],
            vec![
                "spec.data.KAFKA_USERNAME: it has no effect: it is used only where KAFKA_AUTH_METHOD is plain_text or KAFKA_AUTH_METHOD is scram_sha_256 or KAFKA_AUTH_METHOD is scram_sha_512",
            ],
        ),
        (
            "clickhouse",
            traces,
            json!({"CLICKHOUSE_ENDPOINT": "c", "CLICKHOUSE_DATABASE_NAME": "otel", "CLICKHOUSE_TLS_ENABLED": "true", "CLICKHOUSE_LOGS_TABLE": "shop_logs"}),
            vec!["CLICKHOUSE_CA_PEM"],
            vec![
                "spec.secretRef: key CLICKHOUSE_CA_PEM of Secret s has no effect: it is used only where CLICKHOUSE_USE_CUSTOM_CA is true",
                "spec.data.CLICKHOUSE_LOGS_TABLE: it has no effect: it is used only where logs are sent",
            ],
        ),
        (
            "splunkotlp",
            traces,
            json!({"SPLUNK_REALM": "us0", "SPLUNK_OTLP_CA_PEM": "junk"}),
            vec!["SPLUNK_ACCESS_TOKEN"],
            vec![
                "spec.data.SPLUNK_OTLP_CA_PEM: it has no effect: it is used only where SPLUNK_OTLP_TLS_ENABLED is true",
            ],
        ),
        (
            "mock",
            traces,
            json!({"MOCK_REJECT_FRACTION": "0.5"}),
            vec![],
            vec!["spec.data.MOCK_REJECT_FRACTION: it has no effect: nothing of this type uses it"],
        ),
        // What a form starts with, and a switch that is off, ask for nothing.
        (
            "kafka",
            traces,
            json!({"KAFKA_PROTOCOL_VERSION": "2.8.0", "KAFKA_AUTH_METHOD": "none", "KAFKA_INSECURE_SKIP_VERIFY": "False", "KAFKA_RETRY_ON_FAILURE_ENABLED": "false", "KAFKA_RETRY_ON_FAILURE_MAX_INTERVAL": "30s"}),
            vec![],
            vec![],
        ),
    ] {
        assert_eq!(said(type_id, signals, data, &keys), expected, "{type_id}");
    }
}
