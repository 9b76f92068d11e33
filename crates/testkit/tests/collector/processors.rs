//! What is said of settings of Processors is what the real collector says: functions of OTTL, contexts, modes and actions.

use odigos_api::labels::STREAM_CLASS_ATTRIBUTE;
use odigos_api::processor::Processor;
use odigos_api::{CollectorRole, Signal};
use odigos_pipeline::ottl_functions::{CONVERTERS, EDITORS, Language, RELEASE, contexts};
use odigos_plan::processors::{Permission, Processors, routing_attribute};
use odigos_testkit::collector::{Collector, Surroundings, validate};
use odigos_testkit::otlp::{Sender, Sink};
use odigos_testkit::process::eventually;
use odigos_tools::root;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What the collector says to a processor alone in pipelines; nothing where it takes it.
fn said(component_type: &str, settings: &Value) -> String {
    let directory = tempfile::tempdir().unwrap();
    let pipeline = json!({"receivers": ["otlp"], "processors": [component_type], "exporters": ["debug"]});
    let text = odigos_pipeline::yaml::to_string(&json!({
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": "127.0.0.1:1"}}}},
        "processors": {component_type: settings},
        "exporters": {"debug": {}},
        "service": {"pipelines": {"traces": pipeline, "metrics": pipeline, "logs": pipeline}},
    }));
    validate(CollectorRole::ClusterGateway, &text, directory.path())
        .map_or_else(|error| error.to_string(), |()| String::new())
}

/// Functions of a text that the collector does not know.
fn undefined(said: &str) -> BTreeSet<String> {
    let names = said.split("undefined function").skip(1).filter_map(|rest| rest.split('"').nth(1));
    names.map(|name| name.trim_end_matches('\\').to_owned()).collect()
}

#[test]
fn functions_are_those_of_the_collector() {
    let modules = std::fs::read_to_string(root().join("deploy/collector/go.mod")).unwrap();
    let line = modules.lines().find(|line| line.contains("/processor/transformprocessor ")).unwrap();
    assert!(line.contains(&format!("v{RELEASE}")), "the table is of {RELEASE}: read it again and change it: {line}");
    // A call without arguments is wrong for most of them, and told apart from one of a function that does not exist. Every context has a
    // cache.
    for (key, signal, context) in [
        ("trace_statements", Signal::Traces, "span"),
        ("trace_statements", Signal::Traces, "spanevent"),
        ("trace_statements", Signal::Traces, "resource"),
        ("metric_statements", Signal::Metrics, "metric"),
        ("metric_statements", Signal::Metrics, "datapoint"),
        ("log_statements", Signal::Logs, "log"),
    ] {
        let known: BTreeSet<&str> = Language::Transform.functions(&[context]).into_iter().collect();
        let every = Language::Transform.functions(&["datapoint", "log", "metric", "span"]);
        let names: Vec<&str> = every.iter().copied().chain(["nonsense", "Nonsense"]).collect();
        let statement = |name: &&str| match name.starts_with(char::is_lowercase) {
            true => format!("{name}()"),
            false => format!("set(cache[\"a\"], {name}())"),
        };
        let statements: Vec<String> = names.iter().map(statement).collect();
        let said = said("transform", &json!({key: [{"context": context, "statements": statements}]}));
        let expected: BTreeSet<String> =
            names.iter().filter(|name| !known.contains(*name)).map(ToString::to_string).collect();
        assert_eq!(undefined(&said), expected, "{context}: {said}");
        assert!(contexts(signal).contains(&context));
    }
    assert!(EDITORS.len() + CONVERTERS.len() > 100);
    for (section, key, context) in [
        ("traces", "span", "span"),
        ("metrics", "metric", "metric"),
        ("metrics", "datapoint", "datapoint"),
        ("logs", "log_record", "log"),
    ] {
        let known: BTreeSet<&str> = Language::Filter.functions(&[context]).into_iter().collect();
        let names = EDITORS.iter().chain(&CONVERTERS).copied();
        let names: BTreeSet<&str> = names
            .chain(["IsRootSpan", "HasAttrOnDatapoint", "HasAttrKeyOnDatapoint", "ParseCEF", "Nonsense"])
            .collect();
        let conditions: Vec<String> = names.iter().map(|name| format!("{name}() == 1")).collect();
        let said = said("filter", &json!({section: {key: conditions}}));
        let found = undefined(&said);
        let expected: BTreeSet<String> =
            names.iter().filter(|name| !known.contains(*name)).map(ToString::to_string).collect();
        // An editor is no word of a condition at all.
        let is_editor = |name: &String| EDITORS.contains(&name.as_str());
        assert_eq!(
            found.into_iter().filter(|name| !is_editor(name)).collect::<BTreeSet<_>>(),
            expected.into_iter().filter(|name| !is_editor(name)).collect(),
            "{context}: {said}"
        );
    }
}

/// Both ways: what is reported is refused, and what is taken is not reported.
#[test]
fn settings_are_reported_where_the_collector_refuses_them() {
    let actions = |key: &str, one: Value| json!({key: [{"key": "ok", "action": "delete"}, one]});
    let mut cases = Vec::new();
    for (component_type, key) in [("attributes", "actions"), ("resource", "attributes")] {
        for one in [
            json!({"key": "a", "action": "insert", "value": ""}),
            json!({"key": "a", "action": "UPSERT", "value": 1}),
            json!({"key": "a", "action": "insert", "default_value": 1}),
            json!({"key": "a", "action": "update", "from_context": "b"}),
            json!({"key": "a", "action": "insert"}),
            json!({"key": "a", "action": "insert", "value": 1, "from_attribute": "b"}),
            json!({"key": "a", "action": "insert", "value": 1, "pattern": "x"}),
            json!({"key": "a", "action": "delte"}),
            json!({"key": "a"}),
            json!({"action": "insert", "value": 1}),
            json!({"pattern": "^a", "action": "delete"}),
            json!({"action": "hash"}),
            json!({"key": "a", "action": "hash", "value": 1}),
            json!({"key": "a", "action": "extract"}),
            json!({"key": "a", "action": "extract", "pattern": "^(?P<b>.*)$$"}),
            json!({"key": "a", "action": "convert"}),
            json!({"key": "a", "action": "convert", "converted_type": "float"}),
            json!({"key": "a", "action": "convert", "converted_type": "double"}),
        ] {
            cases.push((component_type, actions(key, one)));
        }
        cases.push((component_type, json!({key: []})));
        cases.push((component_type, json!({})));
    }
    for group in [
        json!({"context": "span", "statements": ["set(name, \"a(b)\")"]}),
        json!({"context": "SPAN", "statements": ["set(name, \"x\") where IsRootSpan()"]}),
        json!({"context": "log", "statements": []}),
        json!({"context": "spans", "statements": []}),
        json!({"context": "resource", "statements": ["set(attributes[\"a\"], IsRootSpan())"]}),
        json!({"error_mode": "loud", "statements": ["set(span.name, \"x\")"]}),
        json!({"error_mode": "Ignore", "statements": ["set (span.name, Trim(span.name))"]}),
        json!({"conditions": ["not (IsMach(span.name, \"x\"))"], "statements": ["set(span.name, \"x\")"]}),
        json!("set(span.name, ToLowerCas(span.name))"),
        json!("set(span.name, ToLowerCase(span.name))"),
    ] {
        cases.push(("transform", json!({"trace_statements": [group]})));
    }
    for conditions in [
        json!({"traces": {"span": ["IsRootSpan()", "IsMatch(name, \"a\")"]}}),
        json!({"traces": {"span": ["IsRootSpn()"]}}),
        json!({"metrics": {"datapoint": ["HasAttrKeyOnDatapoint(\"a\")"]}}),
        json!({"metrics": {"metric": ["HasAttrKeyOnDatapoint(\"a\")"]}}),
        json!({"logs": {"log_record": ["set(body, 1) == nil"]}}),
        json!({"error_mode": "ignored", "logs": {"log_record": ["body == nil"]}}),
        json!({"trace_conditions": ["IsMatch(span.name, \"a\")"]}),
        json!({"trace_conditions": ["IsMach(span.name, \"a\")"]}),
    ] {
        cases.push(("filter", conditions));
    }
    let (mut refused, mut wrong) = (0, Vec::new());
    for (component_type, settings) in &cases {
        let processor: Processor = serde_json::from_value(json!({
            "apiVersion": odigos_api::API_VERSION, "kind": "Processor", "metadata": {"name": "p", "namespace": "odigos-system"},
            "spec": {"type": component_type, "signals": ["TRACES"], "collectorRoles": ["CLUSTER_GATEWAY"], "processorConfig": settings},
        }))
        .unwrap();
        let planned = Processors::of_role(
            CollectorRole::ClusterGateway,
            [&processor],
            &BTreeMap::new(),
            &[],
            &Permission::default(),
        );
        let said = said(component_type, settings);
        refused += usize::from(!said.is_empty());
        if said.is_empty() != planned.findings.is_empty() {
            wrong.push(format!("{component_type} {settings}: {:?}, and the collector: {said}", planned.findings));
        }
    }
    assert!(refused > 20 && refused < cases.len() - 15, "{refused} of {} are refused", cases.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each statement on a real span: those that are refused change the class by which gateways route, and no others do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_that_choose_a_stream_are_those_that_are_refused() {
    let examples = routing_attribute::examples();
    let directory = tempfile::tempdir().unwrap();
    let port = super::free_port().unwrap();
    let sink = Sink::listen(port).await.unwrap();
    let mut config = json!({
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": "127.0.0.1:4317"}, "http": {"endpoint": "127.0.0.1:4318"}}}},
        "processors": {},
        "exporters": {"otlp_grpc/sink": {"endpoint": format!("127.0.0.1:{port}"), "compression": "none", "tls": {"insecure": true}}},
        "extensions": {"health_check": {}},
        "service": {"extensions": ["health_check"], "pipelines": {}, "telemetry": {"metrics": {"level": "none"}}},
    });
    for (number, (statement, _)) in examples.iter().enumerate() {
        let (id, mark) = (format!("transform/{number}"), format!("resource/{number}"));
        // A collector reads one dollar where two are written.
        let statement = statement.replace('$', "$$");
        config["processors"][&id] = json!({"error_mode": "propagate", "trace_statements": [statement]});
        config["processors"][&mark] =
            json!({"attributes": [{"key": "number", "value": number.to_string(), "action": "upsert"}]});
        config["service"]["pipelines"][format!("traces/{number}")] =
            json!({"receivers": ["otlp"], "processors": [id, mark], "exporters": ["otlp_grpc/sink"]});
    }
    let around = Surroundings::new(directory.path()).unwrap();
    let text = odigos_pipeline::yaml::to_string(&config);
    let collector = Collector::start("streams", &text, around, &[]).await.unwrap();
    let sender = Sender::connect(&collector.endpoint()).await.unwrap();
    let resource = [(STREAM_CLASS_ATTRIBUTE, "c1"), ("service.name", "cart"), ("host.name", "a"), ("process.pid", "1")];
    sender.send(Signal::Traces, &resource, &["one".to_owned()]).await.unwrap();
    let arrived =
        eventually("every copy arrives", Duration::from_secs(60), || async { sink.items().len() >= examples.len() });
    arrived.await.unwrap_or_else(|error| panic!("{error}: {}", collector.output()));
    for item in sink.items() {
        let (statement, is_refused) = examples[item.resource["number"].parse::<usize>().unwrap()];
        let class = item.resource.get(STREAM_CLASS_ATTRIBUTE).map(String::as_str);
        assert_eq!(class != Some("c1"), is_refused, "{statement}: {class:?}");
    }
}
