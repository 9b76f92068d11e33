//! The golden examples of the specification, and everything that can be wrong with a destination.

use super::*;
use crate::template::variable_name;
use proptest::prelude::*;
use serde_json::json;

/// Keys of every Secret in these tests: all secret fields of the type.
fn keys_of(type_id: &str) -> BTreeSet<String> {
    let definition = destination::find(type_id).unwrap();
    definition.fields.iter().filter(|field| field.secret).map(|field| field.name.clone()).collect()
}

fn rendered(type_id: &str, signals: &[&str], data: &Value) -> Result<Rendered, Vec<Problem>> {
    let data: BTreeMap<String, String> = serde_json::from_value(data.clone()).unwrap();
    let signals = signals.iter().map(|signal| serde_json::from_value(json!(signal)).unwrap()).collect();
    let keys = keys_of(type_id);
    render(&Instance {
        id: "d1",
        type_id,
        data: &data,
        signals: &signals,
        secret: Secret::Keys { name: "s", keys: &keys },
    })
}

/// Where the output is meant to differ from the reference's golden examples.
/// Each row: type, JSON pointer into an exporter (or `*` for a rename), why.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    ("*", "prometheusremotewrite", "spelt prometheus_remote_write since 0.154"),
    ("*", "secrets", "variables are unique for each destination"),
    ("*", "batch", "batches are formed in the exporter's queue"),
    ("otlp", "/compression", "an absent key means none, as documented, not the collector's gzip"),
    ("otlphttp", "/compression", "an absent key means none, as documented, not the collector's gzip"),
    ("kafka", "username", "plain_text without a user is refused: the exporter would stop the collector"),
    (
        "kafka",
        "",
        "brokers as a list, topics and encodings for each signal, tls and auth.sasl: what current exporters take",
    ),
    ("clickhouse", "/metrics_tables", "left out when no table is named"),
    ("clickhouse", "transform", "the normaliser's statements are our own wording of the same rules"),
];

fn normal(text: &str) -> String {
    text.replace("prometheusremotewrite", "prometheus_remote_write")
}

#[test]
fn golden_examples() {
    let examples: BTreeMap<String, Vec<Value>> =
        serde_json::from_str(include_str!("../../tests/golden/examples.json")).unwrap();
    let mut compared = 0;
    for (type_id, cases) in &examples {
        for case in cases {
            let signals: Vec<&str> = case["signals"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let what = format!("{type_id}: {}", case["case"]);
            let ours = rendered(type_id, &signals, &case["data"]);
            if case["expect"].as_str() == Some("error") || case["expect"].get("error").is_some() {
                let problems = ours.expect_err(&what);
                assert!(problems.iter().all(|problem| problem.field.starts_with("spec.")), "{what}: {problems:?}");
                continue;
            }
            let text = |key: &str| case["data"].get(key).and_then(Value::as_str).unwrap_or_default();
            if text("KAFKA_AUTH_METHOD") == "plain_text" && text("KAFKA_USERNAME").is_empty() {
                let problems = ours.expect_err(&what);
                assert!(
                    problems.iter().any(|problem| problem.field == "spec.data.KAFKA_USERNAME"),
                    "{what}: {problems:?}"
                );
                continue;
            }
            if signals.contains(&"PROFILES") {
                continue;
            }
            let ours = ours.unwrap_or_else(|problems| panic!("{what}: {problems:?}"));
            compare_exporters(type_id, &what, &case["expect"], &ours);
            compare_pipelines(&what, &case["expect"], &ours);
            compared += 1;
        }
    }
    assert!(compared >= 20, "{compared} examples compared");
}

fn compare_exporters(type_id: &str, what: &str, expect: &Value, ours: &Rendered) {
    let exempt =
        |pointer: &str| DIFFERENCES.iter().any(|(of, at, _)| *of == type_id && !at.is_empty() && *at == pointer);
    for (id, expected) in expect["exporters"].as_object().into_iter().flatten() {
        let found = ours
            .exporters
            .get(&normal(id))
            .unwrap_or_else(|| panic!("{what}: no exporter {id} in {:?}", ours.exporters.keys()));
        if type_id == "kafka" {
            continue;
        }
        for (key, value) in expected.as_object().into_iter().flatten() {
            if exempt(&format!("/{key}")) || value.as_object().is_some_and(serde_json::Map::is_empty) {
                continue;
            }
            let mut value: Value = value.clone();
            rename_secrets(&mut value);
            assert_eq!(found.get(key), Some(&value), "{what}: {id} {key}");
        }
        let extra: Vec<&String> = found
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key)
            .filter(|key| expected.get(key.as_str()).is_none())
            .collect();
        assert!(extra.iter().all(|key| exempt(&format!("/{key}"))), "{what}: {id} has {extra:?} besides");
    }
}

/// `${KEY}` of the reference is our `${env:D_…_KEY}`.
fn rename_secrets(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(key) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
                *text = format!("${{env:{}}}", variable_name("d1", key));
            }
        }
        Value::Object(map) => map.values_mut().for_each(rename_secrets),
        Value::Array(list) => list.iter_mut().for_each(rename_secrets),
        _ => {}
    }
}

fn compare_pipelines(what: &str, expect: &Value, ours: &Rendered) {
    for (id, expected) in expect["pipelines"].as_object().into_iter().flatten() {
        let (signal, name) = id.split_once('/').unwrap();
        let key = (Signal::from_pipeline(signal).unwrap(), name.to_owned());
        let part = ours
            .pipelines
            .get(&key)
            .unwrap_or_else(|| panic!("{what}: no pipeline {id} in {:?}", ours.pipelines.keys()));
        let list = |key: &str| -> BTreeSet<String> {
            let items = expected[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(normal);
            items.filter(|id| !id.starts_with("batch/") && !id.starts_with("forward/")).collect()
        };
        assert_eq!(part.exporters.iter().cloned().collect::<BTreeSet<_>>(), list("exporters"), "{what}: {id}");
        assert_eq!(part.processors.iter().cloned().collect::<BTreeSet<_>>(), list("processors"), "{what}: {id}");
    }
}

#[test]
fn problems_name_the_field() {
    let cases = [
        ("jaeger", json!({}), "spec.data.JAEGER_URL"),
        ("jaeger", json!({"JAEGER_URL": "https://j"}), "spec.data.JAEGER_URL"),
        ("otlp", json!({"OTLP_GRPC_ENDPOINT": "c", "OTLP_GRPC_HEADERS": "x"}), "spec.data.OTLP_GRPC_HEADERS"),
        ("otlp", json!({"OTLP_GRPC_ENDPOINT": "c", "OTLP_GRPC_COMPRESSION": "lz4"}), "spec.data.OTLP_GRPC_COMPRESSION"),
        (
            "otlp",
            json!({"OTLP_GRPC_ENDPOINT": "c", "OTLP_GRPC_OAUTH2_ENABLED": "true"}),
            "spec.data.OTLP_GRPC_OAUTH2_CLIENT_ID",
        ),
        ("kafka", json!({"KAFKA_PROTOCOL_VERSION": "2", "KAFKA_BROKERS": "a:1"}), "spec.data.KAFKA_BROKERS"),
        ("kafka", json!({"KAFKA_PROTOCOL_VERSION": "2", "KAFKA_AUTH_METHOD": "other"}), "spec.data.KAFKA_AUTH_METHOD"),
        ("clickhouse", json!({"CLICKHOUSE_ENDPOINT": "ch"}), "spec.data.CLICKHOUSE_DATABASE_NAME"),
        ("debug", json!({"ITEMS_PER_SECOND": "x"}), "spec.data.ITEMS_PER_SECOND"),
        ("otlphttp", json!({}), "spec.data.OTLP_HTTP_ENDPOINT"),
    ];
    for (type_id, data, field) in cases {
        let problems = rendered(type_id, &["TRACES"], &data).unwrap_err();
        assert!(problems.iter().any(|problem| problem.field == field), "{type_id} {data}: {problems:?}");
    }
}

#[test]
fn signals_and_secrets() {
    let data = [("JAEGER_URL".to_owned(), "j".to_owned())].into();
    let jaeger = |signals: &[Signal], secret| {
        render(&Instance {
            id: "d1",
            type_id: "jaeger",
            data: &data,
            signals: &signals.iter().copied().collect(),
            secret,
        })
    };
    assert_eq!(jaeger(&[Signal::Metrics], Secret::None).unwrap_err()[0].reason, Reason::UnsupportedSignal);
    let both = jaeger(&[Signal::Metrics, Signal::Traces], Secret::None).unwrap();
    assert_eq!((both.warnings.len(), both.pipelines.len()), (1, 1));
    assert_eq!(jaeger(&[Signal::Traces], Secret::Missing { name: "s" }).unwrap_err()[0].reason, Reason::SecretNotFound);
    let empty = BTreeSet::new();
    let site = [("DATADOG_SITE".to_owned(), "datadoghq.com".to_owned())].into();
    let datadog = |secret| {
        render(&Instance { id: "d1", type_id: "datadog", data: &site, signals: &[Signal::Logs].into(), secret })
    };
    let problem = &datadog(Secret::Keys { name: "s", keys: &empty }).unwrap_err()[0];
    assert_eq!(problem.reason, Reason::SecretKeyMissing);
    assert!(problem.message.contains("DATADOG_API_KEY"));
    assert!(datadog(Secret::None).is_err());
}

#[test]
fn dollars_of_users_are_not_expanded_but_their_secret_placeholders_are() {
    let data = json!({"OTLP_GRPC_ENDPOINT": "c", "OTLP_GRPC_HEADERS": "[{\"key\":\"a\",\"value\":\"x$y${HOME}\"},{\"key\":\"b\",\"value\":\"Bearer ${OTLP_GRPC_OAUTH2_CLIENT_SECRET}\"}]"});
    let headers = rendered("otlp", &["TRACES"], &data).unwrap().exporters["otlp_grpc/generic-d1"]["headers"].clone();
    assert_eq!(headers["a"], "x$$y$${HOME}");
    assert_eq!(headers["b"], format!("Bearer ${{env:{}}}", variable_name("d1", "OTLP_GRPC_OAUTH2_CLIENT_SECRET")));
}

#[test]
fn variables_never_collide() {
    let names: BTreeSet<String> = ["a.b", "a-b", "a_b", "A-b"].map(|id| variable_name(id, "KEY")).into();
    assert_eq!(names.len(), 4);
    assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')));
}

proptest! {
    #[test]
    fn nothing_panics_and_everything_is_deterministic(
        type_index in 0..destination::types().len(),
        values in proptest::collection::vec("[ -~\\n]{0,40}", 30),
        mask in any::<u64>(),
    ) {
        let definition = destination::types().values().nth(type_index).unwrap();
        let data: BTreeMap<String, String> = definition.fields.iter().zip(&values).enumerate()
            .filter(|(position, _)| mask >> (position % 64) & 1 == 1)
            .map(|(_, (field, value))| (field.name.clone(), value.clone())).collect();
        let keys = keys_of(&definition.id);
        let instance = Instance { id: "d1", type_id: &definition.id, data: &data, signals: &definition.signals, secret: Secret::Keys { name: "s", keys: &keys } };
        prop_assert_eq!(render(&instance), render(&instance));
    }
}
