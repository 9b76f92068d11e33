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
    ("otlphttp", "/tls", "a certificate is left out where no address begins with https://, and reported"),
    ("cloudwatch", "/endpoint", "the client takes a URL alone, so https:// is put in front of a host"),
    ("kafka", "username", "plain_text without a user is refused: the exporter would stop the collector"),
    (
        "kafka",
        "",
        "brokers as a list, topics and encodings for each signal, tls and auth.sasl: what current exporters take",
    ),
    ("clickhouse", "/metrics_tables", "left out when no table is named"),
    (
        "clickhouse",
        "/connection_params",
        "TLS is on when it is asked for, also without a certificate of one's own; a silent server delays no start",
    ),
    ("clickhouse", "transform", "the normaliser's statements are our own wording of the same rules"),
    ("*", "unused", "an exporter that no selected signal uses is not written"),
    ("alibabacloud", "traces only", "an exporter without a selected signal is not written"),
    ("azureblob", "type", "the custom azureblobstorage is contrib's azureblob: url, containers, identity of the pod"),
    ("gcs", "", "a bucket has at least three characters: with one of a single letter the exporter does not start"),
    ("gcs", "type", "contrib's googlecloudstorage takes bucket.name; the custom one's block was misnamed"),
    ("mock", "type", "stock collectors cannot play a slow backend; everything is taken and forgotten"),
    ("splunk", "type", "sapm is gone from every release; the same backend takes OTLP"),
    ("sentry", "type", "the exporter that took a DSN is gone; Sentry takes OTLP at an address of each project"),
    ("oracle", "type", "each signal has its own endpoint; in the reference traces went to the path of metrics"),
    ("logzio", "type", "the exporter knows regions by two letters; listeners' names fell back to the United States"),
    ("azuremonitor", "type", "settings that are not stated are left out instead of empty"),
    ("middleware", "/endpoint", "the stated target instead of a variable that nothing sets"),
    ("qryn-oss", "type", "without a user nothing is inserted; a trailing slash does not double"),
    (
        "signalfx",
        "/tls",
        "the certificate of the Secret reaches the exporter as a file; in the reference nothing mounted it",
    ),
    ("signalfx", "signals", "traces produced a metrics pipeline; the type takes metrics only"),
    ("signalfx", "", "without a realm the addresses would be broken, so it is required"),
    ("causely", "/endpoint", "the same address"),
    ("appdynamics", "processors", "only the host of the endpoint, neither path nor port, reaches the attribute"),
    ("checkly", "processors", "the filter dropped what was to be kept"),
    ("cloudwatch", "", "metrics need a region: without one the exporter would stop the collector outside AWS"),
    ("xray", "", "a region is needed: without one the exporter would stop the collector outside AWS"),
    ("pyroscope", "otlphttp", "spelt otlp_http since 0.144"),
    ("openobserve", "", "metrics were sent although the catalogue did not offer them; now it does"),
];

/// Types of which an exporter differs as a whole.
fn differs_wholly(type_id: &str) -> bool {
    type_id == "kafka" || DIFFERENCES.iter().any(|(of, what, _)| *of == type_id && *what == "type")
}

fn normal(text: &str) -> String {
    text.replace("prometheusremotewrite", "prometheus_remote_write").replace("otlphttp/", "otlp_http/")
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
            // The examples stand for a certificate with a word.
            let pem = crate::example::CERTIFICATE;
            let with_pem = |value: &Value| -> Value {
                serde_json::from_str(&value.to_string().replace("<PEM>", &pem.replace('\n', "\\n"))).unwrap()
            };
            let case = &with_pem(case);
            let ours = rendered(type_id, &signals, &case["data"]);
            if case["expect"].as_str() == Some("error") || case["expect"].get("error").is_some() {
                let Err(problems) = ours else { panic!("{what} is rendered") };
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
            if signals.contains(&"PROFILES") && type_id != "pyroscope" {
                continue;
            }
            if text("GCS_BUCKET") == "b" {
                let problems = ours.expect_err(&what);
                assert!(problems.iter().any(|problem| problem.field == "spec.data.GCS_BUCKET"), "{what}: {problems:?}");
                continue;
            }
            if type_id == "sentry" || (type_id == "signalfx" && (case["data"] == json!({}) || signals == ["TRACES"])) {
                // Refused, with the setting that is missing; see the table.
                assert!(ours.is_err(), "{what}");
                continue;
            }
            let lacks_region = match type_id.as_str() {
                "cloudwatch" => signals.contains(&"METRICS") && text("AWS_CLOUDWATCH_REGION").is_empty(),
                "xray" => text("AWS_XRAY_REGION").is_empty(),
                _ => false,
            };
            if lacks_region {
                assert!(ours.is_err(), "{what}");
                continue;
            }
            if matches!(type_id.as_str(), "logzio" | "mock") && case["data"] == json!({}) {
                continue;
            }
            let ours = ours.unwrap_or_else(|problems| panic!("{what}: {problems:?}"));
            compare_exporters(type_id, &what, &case["expect"], &ours);
            compare_pipelines(type_id, &what, &case["expect"], &ours);
            compared += 1;
        }
    }
    assert!(compared >= 110, "{compared} examples compared");
    assert!(examples.len() >= 69, "every type has examples");
}

fn compare_exporters(type_id: &str, what: &str, expect: &Value, ours: &Rendered) {
    let exempt =
        |pointer: &str| DIFFERENCES.iter().any(|(of, at, _)| *of == type_id && !at.is_empty() && *at == pointer);
    let used: BTreeSet<&str> = expect["pipelines"]
        .as_object()
        .into_iter()
        .flatten()
        .flat_map(|(_, pipeline)| pipeline["exporters"].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    if differs_wholly(type_id) {
        return;
    }
    for (id, expected) in expect["exporters"].as_object().into_iter().flatten() {
        if !used.contains(id.as_str()) {
            continue;
        }
        let found = ours
            .exporters
            .get(&normal(id))
            .unwrap_or_else(|| panic!("{what}: no exporter {id} in {:?}", ours.exporters.keys()));
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
            while let Some(start) = text.find("${").filter(|start| !text[*start..].starts_with("${env:")) {
                let end = start + text[start..].find('}').unwrap();
                let key = text[start + 2..end].to_owned();
                text.replace_range(start..=end, &format!("${{env:{}}}", variable_name("d1", &key)));
            }
        }
        Value::Object(map) => map.values_mut().for_each(rename_secrets),
        Value::Array(list) => list.iter_mut().for_each(rename_secrets),
        _ => {}
    }
}

fn compare_pipelines(type_id: &str, what: &str, expect: &Value, ours: &Rendered) {
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
        if differs_wholly(type_id) || type_id == "bonree" {
            // Ids differ with the exporter's type; that something takes the items is what remains to be compared.
            assert!(!part.exporters.is_empty(), "{what}: {id}");
            continue;
        }
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
        (
            "kafka",
            json!({"KAFKA_PROTOCOL_VERSION": "2.0", "KAFKA_AUTH_METHOD": "other"}),
            "spec.data.KAFKA_AUTH_METHOD",
        ),
        ("clickhouse", json!({"CLICKHOUSE_ENDPOINT": "ch"}), "spec.data.CLICKHOUSE_DATABASE_NAME"),
        ("debug", json!({"ITEMS_PER_SECOND": "x"}), "spec.data.ITEMS_PER_SECOND"),
        (
            "kafka",
            json!({"KAFKA_PROTOCOL_VERSION": "latest", "KAFKA_BROKERS": "[\"a:1\"]"}),
            "spec.data.KAFKA_PROTOCOL_VERSION",
        ),
        ("kafka", json!({"KAFKA_PROTOCOL_VERSION": "2.0", "KAFKA_BROKERS": "[]"}), "spec.data.KAFKA_BROKERS"),
        (
            "kafka",
            json!({"KAFKA_PROTOCOL_VERSION": "2.0", "KAFKA_PRODUCER_REQUIRED_ACKS": "7"}),
            "spec.data.KAFKA_PRODUCER_REQUIRED_ACKS",
        ),
        ("kafka", json!({"KAFKA_PROTOCOL_VERSION": "2.0", "KAFKA_TIMEOUT": "50ms"}), "spec.data.KAFKA_TIMEOUT"),
        (
            "kafka",
            json!({"KAFKA_PROTOCOL_VERSION": "2.0", "KAFKA_PRODUCER_MAX_MESSAGE_BYTES": "100"}),
            "spec.data.KAFKA_PRODUCER_MAX_MESSAGE_BYTES",
        ),
        (
            "azuremonitor",
            json!({"AZURE_MONITOR_ENDPOINT": "https://dc.services.visualstudio.com/v2/track"}),
            "spec.data.AZURE_MONITOR_CONNECTION_STRING",
        ),
        (
            "kafka",
            json!({"KAFKA_PROTOCOL_VERSION": "2.0", "KAFKA_METADATA_FULL": "yes"}),
            "spec.data.KAFKA_METADATA_FULL",
        ),
        ("splunkotlp", json!({"SPLUNK_REALM": "https://ingest.us0.signalfx.com"}), "spec.data.SPLUNK_REALM"),
        (
            "azuremonitor",
            json!({"AZURE_MONITOR_CONNECTION_STRING": "nonsense"}),
            "spec.data.AZURE_MONITOR_CONNECTION_STRING",
        ),
        (
            "otlp",
            json!({"OTLP_GRPC_ENDPOINT": "c", "OTLP_GRPC_OAUTH2_ENABLED": "TRUE", "OTLP_GRPC_OAUTH2_TOKEN_URL": "idp/token"}),
            "spec.data.OTLP_GRPC_OAUTH2_TOKEN_URL",
        ),
        ("otlphttp", json!({}), "spec.data.OTLP_HTTP_ENDPOINT"),
    ];
    for (type_id, data, field) in cases {
        let problems = rendered(type_id, &["TRACES"], &data).unwrap_err();
        assert!(problems.iter().any(|problem| problem.field == field), "{type_id} {data}: {problems:?}");
    }
}

/// Read as off, a switch with another spelling would send data without TLS or authentication, and nobody would know.
#[test]
fn switches_are_read_in_every_spelling_and_refused_otherwise() {
    let otlp = |text: &str| {
        rendered("otlp", &["TRACES"], &json!({"OTLP_GRPC_ENDPOINT": "b:443", "OTLP_GRPC_TLS_ENABLED": text}))
    };
    for (text, insecure) in
        [("true", false), ("True", false), ("TRUE ", false), ("1", false), ("false", true), ("0", true)]
    {
        let exporters = otlp(text).unwrap().exporters;
        let exporter = exporters.values().next().unwrap();
        assert_eq!(exporter["tls"]["insecure"], json!(insecure), "{text:?}");
    }
    for text in ["yes", "on", "enabled", "tru"] {
        let problems = otlp(text).unwrap_err();
        let problem = problems.iter().find(|problem| problem.field == "spec.data.OTLP_GRPC_TLS_ENABLED").unwrap();
        assert!(problem.message.contains("write true or false"), "{problem:?}");
    }
    let prometheus = json!({"PROMETHEUS_REMOTEWRITE_URL": "https://p", "PROMETHEUS_USE_AUTHENTICATION": "True"});
    let exporters = rendered("prometheus", &["METRICS"], &prometheus).unwrap().exporters;
    assert!(exporters.values().next().unwrap().get("auth").is_some(), "{exporters:?}");
    // Every setting that a condition reads as a boolean, of every type.
    for (type_id, definition) in destination::types() {
        for (name, has_older_words) in definition.rendering.switches() {
            let problems = rendered(type_id, &["TRACES", "METRICS", "LOGS"], &json!({name: "perhaps"})).unwrap_err();
            let field = format!("spec.data.{name}");
            assert!(problems.iter().any(|problem| problem.field == field), "{type_id} {name}: {problems:?}");
            if has_older_words {
                let data = json!({name: "No"});
                let problems = rendered(type_id, &["TRACES"], &data).map_or_else(|problems| problems, |_| Vec::new());
                assert!(problems.iter().all(|problem| problem.field != field), "{type_id} {name}: {problems:?}");
            }
        }
    }
}

#[test]
fn signal_path_of_an_otlp_address_is_left_out_and_said() {
    let rendered =
        rendered("otlphttp", &["TRACES"], &json!({"OTLP_HTTP_ENDPOINT": "http://o:4318/v1/traces"})).unwrap();
    assert_eq!(rendered.exporters.values().next().unwrap()["endpoint"], "http://o:4318");
    assert!(rendered.warnings.iter().any(|warning| warning.message.contains("/v1/traces")), "{:?}", rendered.warnings);
}

/// Where a value is used decides what it may hold, so each use is listed: in headers of either transport, in URLs, and in settings.
#[test]
fn uses_of_secrets_are_told() {
    use Usage::{Certificates, GoogleCredentials, GrpcHeader, HttpHeader, OtlpUrl, Setting, UrlPassword};
    for (type_id, signals, data, key, usage) in [
        ("honeycomb", "TRACES", json!({}), "HONEYCOMB_API_KEY", GrpcHeader),
        ("lumigo", "TRACES", json!({"LUMIGO_ENDPOINT": "https://l"}), "LUMIGO_TOKEN", HttpHeader),
        (
            "coralogix",
            "TRACES",
            json!({"CORALOGIX_DOMAIN": "eu2.coralogix.com", "CORALOGIX_APPLICATION_NAME": "a", "CORALOGIX_SUBSYSTEM_NAME": "b"}),
            "CORALOGIX_PRIVATE_KEY",
            GrpcHeader,
        ),
        ("datadog", "TRACES", json!({"DATADOG_SITE": "datadoghq.eu"}), "DATADOG_API_KEY", HttpHeader),
        ("sumologic", "TRACES", json!({}), "SUMOLOGIC_COLLECTION_URL", OtlpUrl),
        (
            "qryn-oss",
            "TRACES",
            json!({"QRYN_OSS_URL": "http://q", "QRYN_OSS_USERNAME": "u"}),
            "QRYN_OSS_PASSWORD",
            UrlPassword,
        ),
        ("qryn", "METRICS", json!({"QRYN_URL": "http://q", "QRYN_API_KEY": "u"}), "QRYN_API_SECRET", UrlPassword),
        ("loki", "LOGS", json!({"LOKI_URL": "http://l", "LOKI_USERNAME": "u"}), "LOKI_PASSWORD", Setting),
    ] {
        let rendered =
            rendered(type_id, &[signals], &data).unwrap_or_else(|problems| panic!("{type_id}: {problems:?}"));
        let found: Vec<_> = rendered.environment.iter().filter(|one| one.key == key).collect();
        assert_eq!(found.len(), 1, "{type_id}");
        assert_eq!(found[0].usages, [usage].into(), "{type_id}");
    }
    let google = rendered("googlecloud", &["TRACES"], &json!({})).unwrap();
    assert!(google.files.iter().all(|one| one.usage == GoogleCredentials) && google.files.len() == 1);
    let data = json!({"CLICKHOUSE_ENDPOINT": "c", "CLICKHOUSE_DATABASE_NAME": "otel", "CLICKHOUSE_TLS_ENABLED": "true", "CLICKHOUSE_USE_CUSTOM_CA": "true"});
    let clickhouse = rendered("clickhouse", &["TRACES"], &data).unwrap();
    assert!(clickhouse.files.iter().all(|one| one.usage == Certificates) && clickhouse.files.len() == 1);
}

#[test]
fn settings_that_are_sent_as_headers_are_checked() {
    let refused = |type_id: &str, data: Value| rendered(type_id, &["TRACES"], &data).unwrap_err()[0].clone();
    let long = json!({"UPTRACE_DSN": "https://é@uptrace", "UPTRACE_ENDPOINT": "http://u:4317"});
    assert_eq!(refused("uptrace", long).field, "spec.data.UPTRACE_DSN");
    let stream = json!({"OPEN_OBSERVE_ENDPOINT": "http://o", "OPEN_OBSERVE_STREAM_NAME": "a\nb"});
    assert_eq!(refused("openobserve", stream).field, "spec.data.OPEN_OBSERVE_STREAM_NAME");
    let own = json!({"DYNAMIC_DESTINATION_TYPE": "otlp_grpc", "DYNAMIC_CONFIGURATION_DATA": "{endpoint: 'a:1', headers: {'x y': v}}"});
    let problem = refused("dynamic", own);
    assert!(problem.field == "spec.data.DYNAMIC_CONFIGURATION_DATA" && problem.message.contains("x y"), "{problem:?}");
    // The URL of one signal is whole: nothing is cut off or appended.
    let whole =
        json!({"OTLP_HTTP_TRACES_ENDPOINT": "http://t/v1/traces?team=a", "OTLP_HTTP_METRICS_ENDPOINT": "http://m"});
    let of = |signals: &[&str]| {
        let rendered = rendered("otlphttp", signals, &whole).unwrap();
        assert_eq!(rendered.exporters.values().next().unwrap()["traces_endpoint"], "http://t/v1/traces?team=a");
        let remarks = rendered.warnings.into_iter().map(|one| format!("{}: {}", one.field, one.message));
        let remarks = remarks.filter(|remark| !remark.contains("spec.secretRef")).collect::<Vec<_>>();
        assert_eq!(remarks.len(), 1, "{remarks:?}");
        remarks.concat()
    };
    assert!(of(&["TRACES", "METRICS"]).starts_with("spec.data.OTLP_HTTP_METRICS_ENDPOINT: it has no path"));
    assert!(
        of(&["TRACES"]).starts_with(
            "spec.data.OTLP_HTTP_METRICS_ENDPOINT: it has no effect: it is used only where metrics are sent"
        )
    );
}

/// With one address for traces alone the exporter refuses to send metrics, and the collector would not start.
#[test]
fn signals_without_an_address_are_left_out_and_reported() {
    let of = |signals: &[&str], data: Value| rendered("otlphttp", signals, &data);
    let traces = json!({"OTLP_HTTP_TRACES_ENDPOINT": "https://t/v1/traces"});
    let some = of(&["TRACES", "METRICS", "LOGS"], traces.clone()).unwrap();
    let sent: Vec<Signal> = some.pipelines.keys().map(|(signal, _)| *signal).collect();
    assert_eq!(sent, [Signal::Traces]);
    let said: Vec<&str> =
        some.warnings.iter().filter(|one| one.field == "spec.signals").map(|one| one.message.as_str()).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("neither OTLP_HTTP_") && said[0].ends_with("is set; only TRACES are"), "{said:?}");
    let none = of(&["METRICS"], traces).unwrap_err();
    assert_eq!(none[0].field, "spec.signals");
    let both = json!({"OTLP_HTTP_TRACES_ENDPOINT": "https://t/v1/traces", "OTLP_HTTP_ENDPOINT": "https://o"});
    assert!(of(&["TRACES", "METRICS"], both).unwrap().warnings.iter().all(|one| one.field != "spec.signals"));
    // Nothing at all is one problem, not one for each signal.
    assert_eq!(of(&["TRACES", "METRICS"], json!({})).unwrap_err().len(), 1);
}

#[test]
fn every_problem_of_a_list_is_reported() {
    let headers =
        json!([{"key": "x y", "value": "v"}, {"key": "x", "value": "a\nb"}, {"key": "z", "value": "é"}]).to_string();
    let problems =
        rendered("otlp", &["TRACES"], &json!({"OTLP_GRPC_ENDPOINT": "c", "OTLP_GRPC_HEADERS": headers})).unwrap_err();
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems.iter().all(|one| one.field == "spec.data.OTLP_GRPC_HEADERS"));
    let data = json!({"KAFKA_PROTOCOL_VERSION": "2.8.0", "KAFKA_BROKERS": "[\"a\",\"b\",\"c:1\"]"});
    assert_eq!(rendered("kafka", &["TRACES"], &data).unwrap_err().len(), 2);
}

/// HTTP basic authentication ends the name at the first colon, so the password would be another one.
#[test]
fn user_with_a_colon_is_refused_wherever_basic_authentication_is_used() {
    let examples: BTreeMap<String, Vec<Value>> =
        serde_json::from_str(include_str!("../../tests/golden/examples.json")).unwrap();
    let mut refused = BTreeSet::new();
    for (type_id, name) in [
        ("elasticsearch", "ELASTICSEARCH_USERNAME"),
        ("grafanacloudloki", "GRAFANA_CLOUD_LOKI_USERNAME"),
        ("grafanacloudprometheus", "GRAFANA_CLOUD_PROMETHEUS_USERNAME"),
        ("grafanacloudtempo", "GRAFANA_CLOUD_TEMPO_USERNAME"),
        ("greptime", "GREPTIME_BASIC_USERNAME"),
        ("loki", "LOKI_USERNAME"),
        ("otlphttp", "OTLP_HTTP_BASIC_AUTH_USERNAME"),
        ("prometheus", "PROMETHEUS_BASIC_AUTH_USERNAME"),
        ("qryn", "QRYN_API_KEY"),
        ("qryn-oss", "QRYN_OSS_USERNAME"),
    ] {
        let mut data = examples[type_id][0]["data"].clone();
        data[name] = json!("shop:password");
        if type_id == "prometheus" {
            data["PROMETHEUS_USE_AUTHENTICATION"] = json!("true");
        }
        let problems = rendered(type_id, &["TRACES", "METRICS", "LOGS"], &data).unwrap_err();
        let problem = problems.iter().find(|one| one.field == format!("spec.data.{name}")).unwrap();
        assert!(problem.message.contains("colon") && !problem.message.contains("shop"), "{problem:?}");
        refused.insert(type_id);
    }
    // Every type that renders the extension is among them.
    for (type_id, definition) in destination::types() {
        let has = definition.rendering.extensions.iter().any(|one| one.id.starts_with("basicauth/"));
        assert!(!has || refused.contains(type_id.as_str()), "{type_id}");
    }
}

#[test]
fn switch_of_authentication_is_obeyed() {
    let of = |switch: Option<&str>| {
        let mut data = json!({"ELASTICSEARCH_URL": "https://es", "ELASTICSEARCH_USERNAME": "u"});
        if let Some(switch) = switch {
            data["ELASTICSEARCH_BASIC_AUTH_ENABLED"] = json!(switch);
        }
        let rendered = rendered("elasticsearch", &["TRACES"], &data).unwrap();
        let exporter = rendered.exporters["elasticsearch/d1"].clone();
        let said: Vec<String> = rendered.warnings.into_iter().map(|one| one.message).collect();
        (
            exporter.get("user").is_some(),
            exporter.get("password").is_some(),
            rendered.environment.len(),
            said.join("; "),
        )
    };
    assert_eq!(of(None), (true, true, 1, String::new()));
    assert_eq!(of(Some("True")), (true, true, 1, String::new()));
    let (user, password, variables, said) = of(Some("false"));
    assert_eq!((user, password, variables), (false, false, 0));
    assert_eq!(said.matches("ELASTICSEARCH_BASIC_AUTH_ENABLED is true").count(), 2, "{said}");
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

/// Listeners with mutual TLS. One half of a pair would keep the collector from starting.
#[test]
fn kafka_client_certificate_is_mounted_as_files_and_needs_its_key() {
    const PAIR: [&str; 2] = ["KAFKA_CLIENT_CERT_PEM", "KAFKA_CLIENT_KEY_PEM"];
    let kafka = |tls: &str, keys: &[&str]| {
        let data = json!({"KAFKA_PROTOCOL_VERSION": "2.8.0", "KAFKA_TLS_ENABLED": tls, "KAFKA_AUTH_METHOD": "none"});
        let data: BTreeMap<String, String> = serde_json::from_value(data).unwrap();
        let keys: BTreeSet<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        let secret = Secret::Keys { name: "s", keys: &keys };
        render(&Instance { id: "d1", type_id: "kafka", data: &data, signals: &[Signal::Traces].into(), secret })
    };
    let tls = |rendered: &Rendered| rendered.exporters["kafka/kafka-d1"]["tls"].clone();
    let both = kafka("true", &PAIR).unwrap();
    let paths = PAIR.map(|key| format!("/etc/kafka/certs/d1/{key}"));
    assert_eq!(tls(&both), json!({"insecure": false, "cert_file": paths[0], "key_file": paths[1]}));
    let files: Vec<_> = both.files.iter().map(|file| (file.key.as_str(), file.path.as_str())).collect();
    assert_eq!(files, [(PAIR[0], paths[0].as_str()), (PAIR[1], paths[1].as_str())]);
    assert!(both.environment.is_empty(), "no variable holds a key: {:?}", both.environment);
    for (one, other) in [(PAIR[0], PAIR[1]), (PAIR[1], PAIR[0])] {
        let problems = kafka("true", &[one]).unwrap_err();
        assert_eq!(problems[0].reason, Reason::SecretKeyMissing);
        assert!(problems[0].message.contains(other), "{problems:?}");
    }
    assert_eq!(tls(&kafka("true", &[]).unwrap()), json!({"insecure": false}));
    let without = kafka("false", &PAIR).unwrap();
    assert_eq!((tls(&without), without.files.len()), (json!({"insecure": true}), 0));
    let said: Vec<&str> = without.warnings.iter().map(|warning| warning.message.as_str()).collect();
    for key in PAIR {
        assert!(
            said.iter().any(|message| message.contains(key) && message.contains("KAFKA_TLS_ENABLED is true")),
            "{said:?}"
        );
    }
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

/// Every type, every set of its signals, and every required setting missing in turn: no panic, and the same answer twice.
#[test]
fn every_type_with_every_set_of_signals_and_every_gap() {
    let begun = std::time::Instant::now();
    let examples: BTreeMap<String, Vec<Value>> =
        serde_json::from_str(include_str!("../../tests/golden/examples.json")).unwrap();
    let mut rendered_sets = 0;
    for (type_id, definition) in destination::types() {
        let full = examples.get(type_id).and_then(|cases| cases.first()).map(|case| case["data"].clone());
        let full: BTreeMap<String, String> = full.map(|data| serde_json::from_value(data).unwrap()).unwrap_or_default();
        let signals: Vec<Signal> = definition.signals.iter().copied().collect();
        for mask in 0..1_u32 << signals.len() {
            let chosen: BTreeSet<Signal> =
                signals.iter().enumerate().filter(|(n, _)| mask >> n & 1 == 1).map(|(_, signal)| *signal).collect();
            let mut variants = vec![full.clone(), BTreeMap::new()];
            for name in full.keys() {
                let mut without = full.clone();
                without.remove(name);
                variants.push(without);
            }
            for data in variants {
                let keys = keys_of(type_id);
                for secret in [Secret::Keys { name: "s", keys: &keys }, Secret::None, Secret::Missing { name: "s" }] {
                    let instance = Instance { id: "d1", type_id, data: &data, signals: &chosen, secret };
                    let first = render(&instance);
                    assert_eq!(first, render(&instance), "{type_id}");
                    match first {
                        Ok(rendered) => {
                            rendered_sets += 1;
                            let pipelines: BTreeSet<Signal> =
                                rendered.pipelines.keys().map(|(signal, _)| *signal).collect();
                            assert!(pipelines.is_subset(&chosen) && !pipelines.is_empty(), "{type_id}");
                            assert!(rendered.pipelines.values().all(|part| !part.exporters.is_empty()), "{type_id}");
                        }
                        Err(problems) => {
                            assert!(problems.iter().all(|one| one.field.starts_with("spec.")), "{type_id}")
                        }
                    }
                }
            }
        }
    }
    assert!(rendered_sets > 500, "{rendered_sets}");
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
}

#[test]
fn headers_refer_to_any_key_of_the_own_secret() {
    let headers =
        json!([{"key": "Authorization", "value": "Bearer ${TOKEN}"}, {"key": "a", "value": "${OTHER}"}]).to_string();
    let data: BTreeMap<String, String> =
        [("OTLP_HTTP_ENDPOINT".to_owned(), "https://${TOKEN}".to_owned()), ("OTLP_HTTP_HEADERS".to_owned(), headers)]
            .into();
    let (signals, keys) = ([Signal::Traces].into(), BTreeSet::from(["TOKEN".to_owned()]));
    let render = |data: &BTreeMap<String, String>| {
        let secret = Secret::Keys { name: "s", keys: &keys };
        render(&Instance { id: "d", type_id: "otlphttp", data, signals: &signals, secret })
    };
    assert!(render(&data).is_err(), "an address is no header");
    let mut data = data;
    data.insert("OTLP_HTTP_ENDPOINT".into(), "https://h".into());
    let rendered = render(&data).unwrap();
    let settings = rendered.exporters.values().next().unwrap();
    let variable = variable_name("d", "TOKEN");
    assert_eq!(settings["headers"]["Authorization"], json!(format!("Bearer ${{env:{variable}}}")));
    assert_eq!(settings["headers"]["a"], json!("$${OTHER}"), "another text stays as it is");
    assert_eq!(rendered.environment.iter().map(|used| used.key.as_str()).collect::<Vec<_>>(), ["TOKEN"]);
}
