//! The gateway rows of `spec/collectors-and-pipelines.md` 11, on the planner alone.
mod files;
mod upgrade;
use super::*;
use crate::fixtures::{collectors_group, destination, destination_with, processor, secret};
use odigos_api::action::Action;
use odigos_api::condition::Status;
use serde_json::Value;

pub(super) struct Given {
    pub(super) group: CollectorsGroup,
    pub(super) destinations: Vec<Destination>,
    pub(super) processors: Vec<Processor>,
    pub(super) actions: Vec<Action>,
    secrets: BTreeMap<String, SecretKeys>,
    marks: BTreeMap<String, SecretMark>,
    pub(super) set_aside: BTreeMap<String, String>,
    pub(super) rules: sampling::Rules,
    pub(super) configuration: Configuration,
}

impl Given {
    pub(super) fn new(destinations: Vec<Destination>) -> Self {
        Self {
            group: collectors_group("odigos-gateway", json!({})),
            destinations,
            processors: vec![],
            actions: vec![],
            secrets: BTreeMap::new(),
            marks: BTreeMap::new(),
            set_aside: BTreeMap::new(),
            rules: sampling::Rules::default(),
            configuration: Configuration::default(),
        }
    }

    pub(super) fn classes(mut self, sets: &[&[&str]]) -> Self {
        self.group.spec.stream_classes = sets
            .iter()
            .map(|set| {
                let streams: streams::StreamSet = set.iter().map(ToString::to_string).collect();
                odigos_api::collectors_group::StreamClass {
                    id: streams::class_id(&streams),
                    streams: streams.into_iter().collect(),
                    retired_at: None,
                }
            })
            .collect();
        self
    }

    pub(super) fn seen(&self) -> Observed<'_> {
        Observed {
            namespace: "odigos-system",
            group: &self.group,
            destinations: self.destinations.iter().collect(),
            processors: self.processors.iter().collect(),
            actions: self.actions.iter().collect(),
            secrets: &self.secrets,
            marks: &self.marks,
            configuration: &self.configuration,
            rules: &self.rules,
            set_aside: &self.set_aside,
            senders: Senders::default(),
            is_own_collector: true,
            is_name_taken: false,
        }
    }

    pub(super) fn plan(&self) -> GatewayPlan {
        let plan = plan(&self.seen());
        assert_eq!(plan.problems, vec![], "{}", plan.config.to_yaml());
        plan
    }
}

pub(super) fn class(streams: &[&str]) -> String {
    streams::class_id(&streams.iter().map(ToString::to_string).collect())
}

fn pipelines(plan: &GatewayPlan) -> Vec<String> {
    plan.config.pipelines.keys().map(ToString::to_string).collect()
}

pub(super) fn exporters(plan: &GatewayPlan, signal: Signal, name: &str) -> Vec<String> {
    plan.config.pipelines[&odigos_pipeline::PipelineId::new(signal, name)].exporters.clone()
}

pub(super) fn row(plan: &GatewayPlan, signal: &str, class: &str) -> Value {
    let settings = plan.config.get(ComponentKind::Connector, &format!("routing/{signal}")).unwrap();
    let wanted = format!("attributes[\"odigos.stream.class\"] == \"{class}\"");
    let rows = settings["table"].as_array().unwrap();
    rows.iter().find(|row| row["condition"] == wanted).unwrap_or_else(|| panic!("no row for {class}: {settings}"))["pipelines"].clone()
}

pub(super) fn jaeger(name: &str, streams: Value) -> Destination {
    destination_with(name, "jaeger", &["TRACES"], json!({"JAEGER_URL": "jaeger.tracing"}), streams)
}

pub(super) fn otlp(name: &str, signals: &[&str], streams: Value) -> Destination {
    destination_with(name, "otlp", signals, json!({"OTLP_GRPC_ENDPOINT": "backend:4317"}), streams)
}

#[test]
fn a1_nothing_at_all_is_a_valid_configuration() {
    let plan = Given::new(vec![]).plan();
    assert_eq!(pipelines(&plan), ["metrics/otelcol"]);
    assert_eq!(plan.receiver_signals, vec![]);
}

#[test]
fn a10_one_jaeger_destination() {
    let plan = Given::new(vec![jaeger("d-1", Value::Null)]).plan();
    assert_eq!(
        pipelines(&plan),
        [
            "metrics/otelcol",
            "metrics/servicegraph",
            "traces/in",
            "traces/jaeger-d-1",
            "traces/stream.default",
            "traces/void"
        ]
    );
    assert_eq!(exporters(&plan, Signal::Traces, "stream.default"), ["forward/traces/jaeger-d-1"]);
    assert_eq!(exporters(&plan, Signal::Traces, "jaeger-d-1"), ["otlp_grpc/jaeger-d-1"]);
    assert_eq!(exporters(&plan, Signal::Traces, "in"), ["routing/traces", "servicegraph"]);
    let exporter = plan.config.get(ComponentKind::Exporter, "otlp_grpc/jaeger-d-1").unwrap();
    assert_eq!(exporter["endpoint"], "jaeger.tracing:4317");
    let condition = &plan.destinations["d-1"];
    assert_eq!((condition.status, condition.reason.as_str()), (Status::True, "TransformedToOtelcolConfig"));
    assert_eq!(plan.receiver_signals, [Signal::Traces]);
}

#[test]
fn a12_service_graph_can_be_switched_off() {
    let mut given = Given::new(vec![jaeger("d-1", Value::Null)]);
    given.group.spec.service_graph_disabled = Some(true);
    let plan = given.plan();
    assert!(plan.config.get(ComponentKind::Connector, "servicegraph").is_none());
    assert!(!pipelines(&plan).contains(&"metrics/servicegraph".to_owned()));
}

#[test]
fn a24_each_workload_reaches_its_destinations_once() {
    let given = Given::new(vec![
        jaeger("d-1", json!({"dataStreams": ["a"]})),
        otlp("d-2", &["TRACES"], json!({"dataStreams": ["a", "b"]})),
    ])
    .classes(&[&["a"], &["b"], &["a", "b"]]);
    let plan = given.plan();
    assert_eq!(row(&plan, "traces", &class(&["a"])), json!(["traces/stream.a"]));
    assert_eq!(row(&plan, "traces", &class(&["b"])), json!(["traces/stream.b"]));
    // Stream a already feeds every destination of {a, b}.
    assert_eq!(row(&plan, "traces", &class(&["a", "b"])), json!(["traces/stream.a"]));
    assert_eq!(
        exporters(&plan, Signal::Traces, "stream.a"),
        ["forward/traces/generic-d-2", "forward/traces/jaeger-d-1"]
    );
    assert_eq!(exporters(&plan, Signal::Traces, "stream.b"), ["forward/traces/generic-d-2"]);
    let settings = plan.config.get(ComponentKind::Connector, "routing/traces").unwrap();
    assert_eq!(settings["default_pipelines"], json!(["traces/void"]), "no default destination");
}

#[test]
fn streams_that_share_a_destination_get_a_joint_pipeline() {
    let given = Given::new(vec![
        jaeger("d-1", json!({"dataStreams": ["a"]})),
        otlp("d-2", &["TRACES"], json!({"dataStreams": ["a", "b"]})),
        otlp("d-3", &["TRACES"], json!({"dataStreams": ["b"]})),
    ])
    .classes(&[&["a", "b"]]);
    let plan = given.plan();
    let id = class(&["a", "b"]);
    assert_eq!(row(&plan, "traces", &id), json!([format!("traces/class.{id}")]));
    assert_eq!(
        exporters(&plan, Signal::Traces, &format!("class.{id}")),
        ["forward/traces/generic-d-2", "forward/traces/generic-d-3", "forward/traces/jaeger-d-1"]
    );
}

#[test]
fn streams_without_a_common_destination_keep_their_own_pipelines() {
    let given = Given::new(vec![
        jaeger("d-1", json!({"dataStreams": ["a"]})),
        otlp("d-2", &["TRACES"], json!({"dataStreams": ["b"]})),
    ])
    .classes(&[&["a", "b"]]);
    assert_eq!(row(&given.plan(), "traces", &class(&["a", "b"])), json!(["traces/stream.a", "traces/stream.b"]));
}

#[test]
fn a_stream_without_destination_goes_to_the_void() {
    let given = Given::new(vec![jaeger("d-1", Value::Null)]).classes(&[&["lonely"]]);
    let plan = given.plan();
    assert_eq!(row(&plan, "traces", &class(&["lonely"])), json!(["traces/void"]));
    assert_eq!(exporters(&plan, Signal::Traces, "void"), ["nop"]);
    assert_eq!(stream_condition(&plan, "lonely").status, Status::False);
    assert_eq!(stream_condition(&plan, "default").status, Status::True);
}

#[test]
fn items_without_a_class_are_dropped_where_the_configuration_wants_that() {
    let mut given = Given::new(vec![jaeger("d-1", Value::Null)]).classes(&[&["a"]]);
    given.group.spec.drops_unclassified = Some(true);
    let plan = given.plan();
    let router = plan.config.get(ComponentKind::Connector, "routing/traces").unwrap();
    assert_eq!(router["default_pipelines"], json!(["traces/void"]));
    assert_eq!(row(&plan, "traces", "default"), json!(["traces/stream.default"]), "who is in that stream says so");
}

#[test]
fn class_that_left_is_for_the_void_and_no_class_for_the_default_stream() {
    let plan = Given::new(vec![jaeger("d-1", Value::Null)]).classes(&[&["a"]]).plan();
    let router = plan.config.get(ComponentKind::Connector, "routing/traces").unwrap();
    let last = router["table"].as_array().unwrap().last().unwrap().clone();
    let condition = r#"attributes["odigos.stream.class"] != nil and attributes["odigos.stream.class"] != "default""#;
    assert_eq!((&last["condition"], &last["pipelines"]), (&json!(condition), &json!(["traces/void"])));
    assert_eq!(router["default_pipelines"], json!(["traces/stream.default"]));
}

#[test]
fn workload_without_metrics_keeps_its_other_signals() {
    let given = Given::new(vec![otlp("d-1", &["TRACES", "METRICS", "LOGS"], Value::Null)])
        .classes(&[&["default", "off:metrics"], &["default", "off:logs", "off:metrics"]]);
    let plan = given.plan();
    let quiet = class(&["default", "off:metrics"]);
    assert_eq!(row(&plan, "metrics", &quiet), json!(["metrics/void"]));
    assert_eq!(row(&plan, "traces", &quiet), json!(["traces/stream.default"]));
    assert_eq!(row(&plan, "logs", &quiet), json!(["logs/stream.default"]));
    assert_eq!(row(&plan, "logs", &class(&["default", "off:logs", "off:metrics"])), json!(["logs/void"]));
    assert!(known_streams(&given.seen(), &plan).iter().all(|stream| stream == "default"), "it is no stream");
    assert!(!plan.config.to_yaml().contains("off:"), "{}", plan.config.to_yaml());
}

#[test]
fn service_graph_reaches_destinations_that_request_it() {
    let asking = |name: &str, streams: Value| {
        let mut one = otlp(name, &["METRICS"], streams);
        one.spec.metrics_settings = serde_json::from_value(json!({"serviceGraphEnabled": true})).unwrap();
        one
    };
    let a = json!({"dataStreams": ["a"]});
    let mut given =
        Given::new(vec![asking("d-1", a.clone()), otlp("d-2", &["METRICS"], a)]).classes(&[&["a"], &["b"], &[]]);
    let plan = given.plan();
    assert_eq!(plan.receiver_signals, [Signal::Metrics, Signal::Traces], "edges are computed from spans");
    assert_eq!(exporters(&plan, Signal::Traces, "in"), ["servicegraph"]);
    assert_eq!(exporters(&plan, Signal::Metrics, "servicegraph.d-1"), ["forward/metrics/generic-d-1"]);
    assert!(!pipelines(&plan).contains(&"metrics/servicegraph.d-2".to_owned()));
    let filter = plan.config.get(ComponentKind::Processor, "filter/servicegraph/d-1").unwrap();
    let end = |end: &str| {
        format!(
            r#"attributes["{end}_odigos.stream.class"] != nil and not (attributes["{end}_odigos.stream.class"] == "{}")"#,
            class(&["a"])
        )
    };
    assert_eq!(filter["metrics"]["datapoint"], json!([end("client"), end("server")]));
    // Spans have a way of their own where a destination takes them.
    given.destinations.push(jaeger("d-3", Value::Null));
    assert_eq!(exporters(&given.plan(), Signal::Traces, "in"), ["routing/traces", "servicegraph"]);
    // What cannot be is said.
    given.group.spec.service_graph_disabled = Some(true);
    let plan = given.plan();
    assert!(!pipelines(&plan).contains(&"metrics/servicegraph.d-1".to_owned()));
    assert!(plan.destinations["d-1"].message.contains("collectorGateway.serviceGraph.disabled"));
    assert!(plan.findings.iter().any(|one| one.field == "spec.metricsSettings.serviceGraphEnabled"));
}

#[test]
fn metrics_of_no_workload_and_who_gets_them_are_reported() {
    let metrics = |name: &str, streams: Value| otlp(name, &["METRICS"], streams);
    let shop = || metrics("d-1", json!({"dataStreams": ["shop"]}));
    let given = Given::new(vec![shop()]).classes(&[&["shop"]]);
    let plan = given.plan();
    let finding = plan.findings.iter().find(|one| one.message.contains("are not collected")).unwrap();
    assert!(finding.message.contains("unownedTelemetry.dataStreams"), "{}", finding.message);
    assert!(plan.destinations["d-1"].message.contains("they go to the data streams default"));
    assert!(stream_condition(&plan, "default").message.contains("are not collected while"));
    let mut given = Given::new(vec![shop(), metrics("d-2", json!({"dataStreams": ["infra"]}))]);
    given = given.classes(&[&["shop"], &["infra"]]);
    given.configuration = Configuration::parse("unownedTelemetry: {dataStreams: [infra]}").unwrap();
    given.group.spec.unowned_stream_class = Some(class(&["infra"]));
    given.group.spec.cluster_metrics_enabled = Some(true);
    let plan = given.plan();
    assert!(!plan.findings.iter().any(|one| one.message.contains("are not collected")), "{:?}", plan.findings);
    assert!(stream_condition(&plan, "infra").message.contains("It also gets metrics of hosts"));
    assert!(plan.destinations["d-1"].message.contains("they go to the data streams infra"));
    assert_eq!(plan.destinations["d-2"].message, "The destination is part of the gateway configuration.");
    // The cluster's own metrics take the same way.
    let cluster = &plan.config.pipelines[&odigos_pipeline::PipelineId::new(Signal::Metrics, "cluster")];
    assert_eq!(cluster.receivers, ["k8s_cluster"]);
    assert_eq!(cluster.processors[..2], ["memory_limiter".to_owned(), "resource/unowned".to_owned()]);
    assert_eq!(cluster.exporters, ["routing/metrics"]);
    given.group.spec.unowned_stream_class = Some("void".into());
    assert!(given.plan().config.get(ComponentKind::Receiver, "k8s_cluster").is_none());
}

#[test]
fn processor_for_nodes_that_takes_no_condition_runs_in_the_pipelines_of_its_streams() {
    let mut given =
        Given::new(vec![otlp("d-1", &["LOGS"], json!({"dataStreams": ["a", "b"]}))]).classes(&[&["a"], &["b"]]);
    let mut one = processor("p", 0);
    one.spec.collector_roles = vec![CollectorRole::NodeCollector];
    one.spec.data_streams = Some(vec!["a".into()]);
    given.processors = vec![one];
    let plan = given.plan();
    let of =
        |name: &str| plan.config.pipelines[&odigos_pipeline::PipelineId::new(Signal::Logs, name)].processors.clone();
    assert!(of("stream.a").contains(&"resource/p".to_owned()) && !of("stream.b").contains(&"resource/p".to_owned()));
    assert_eq!(plan.processors["p"].status, Status::True);
    assert!(plan.processors["p"].message.contains("runs in the gateway"), "{}", plan.processors["p"].message);
    // One of a stream that leads nowhere is in no pipeline.
    given.processors[0].spec.data_streams = Some(vec!["c".into()]);
    let plan = given.plan();
    assert_eq!((plan.processors["p"].status, plan.processors["p"].reason.as_str()), (Status::False, "NotInPipeline"));
}

#[test]
fn a25_selectors_by_namespace_and_empty_ones() {
    let given = Given::new(vec![jaeger("d-1", json!({"namespaces": ["shop"]})), otlp("d-2", &["LOGS"], json!({}))])
        .classes(&[&["default", "ns:shop"]]);
    let plan = given.plan();
    assert_eq!(row(&plan, "traces", &class(&["default", "ns:shop"])), json!(["traces/namespace.shop"]));
    assert_eq!(plan.destinations["d-2"].reason, "EmptySelector");
    assert_eq!(plan.receiver_signals, [Signal::Traces]);
    assert!(plan.findings.iter().any(|finding| finding.field == "spec.sourceSelector"));
}

#[test]
fn every_stream_selector() {
    let given = Given::new(vec![
        jaeger("d-1", json!({"dataStreams": ["*"]})),
        otlp("d-2", &["TRACES"], json!({"dataStreams": ["a"]})),
    ])
    .classes(&[&["a"], &["b"], &[]]);
    let plan = given.plan();
    assert_eq!(
        exporters(&plan, Signal::Traces, "stream.a"),
        ["forward/traces/generic-d-2", "forward/traces/jaeger-d-1"]
    );
    assert_eq!(row(&plan, "traces", &class(&["b"])), json!(["traces/stream.b"]));
    assert_eq!(row(&plan, "traces", "void"), json!(["traces/void"]), "an opt-out of everything is respected");
}

#[test]
fn a28_stream_names_that_look_reserved() {
    for name in ["in", "void", "exporting", "otelcol", "jaeger-d-1"] {
        let given = Given::new(vec![jaeger("d-1", json!({"dataStreams": [name]}))]).classes(&[&[name]]);
        assert_eq!(row(&given.plan(), "traces", &class(&[name])), json!([format!("traces/stream.{name}")]));
    }
}

#[test]
fn a29_an_unsupported_signal_harms_nobody() {
    let both = destination_with("d-1", "jaeger", &["TRACES", "METRICS"], json!({"JAEGER_URL": "j"}), Value::Null);
    let plan = Given::new(vec![both, otlp("d-2", &["LOGS"], Value::Null)]).plan();
    assert_eq!(plan.receiver_signals, [Signal::Logs, Signal::Traces]);
    assert!(plan.destinations["d-1"].message.contains("METRICS"), "{:?}", plan.destinations["d-1"]);
    assert_eq!(plan.destinations["d-2"].status, Status::True);
}

#[test]
fn a30_a_bad_number_is_a_condition() {
    let bad = destination_with(
        "d-1",
        "kafka",
        &["TRACES"],
        json!({"KAFKA_PROTOCOL_VERSION": "2.0.0", "KAFKA_PRODUCER_REQUIRED_ACKS": "many"}),
        Value::Null,
    );
    let plan = Given::new(vec![bad, jaeger("d-2", Value::Null)]).plan();
    assert_eq!(plan.destinations["d-1"].status, Status::False);
    assert!(plan.destinations["d-1"].message.contains("KAFKA_PRODUCER_REQUIRED_ACKS"));
    assert_eq!(plan.destinations["d-2"].status, Status::True);
}

#[test]
fn a31_a_missing_secret_affects_its_destination_only() {
    let mut honeycomb = destination_with(
        "d-1",
        "honeycomb",
        &["TRACES"],
        json!({"HONEYCOMB_ENDPOINT": "api.honeycomb.io"}),
        Value::Null,
    );
    honeycomb.spec.secret_ref = Some(odigos_api::destination::SecretRef { name: "key".into() });
    let mut given = Given::new(vec![honeycomb, jaeger("d-2", Value::Null)]);
    let before = given.plan();
    assert_eq!(before.destinations["d-1"].reason, "SecretNotFound");
    assert_eq!(before.destinations["d-2"].status, Status::True);
    given.secrets.insert("key".into(), secret(&["HONEYCOMB_API_KEY"]));
    let after = given.plan();
    assert_eq!(after.destinations["d-1"].status, Status::True);
}

#[test]
fn a32_a33_secrets_stay_apart_and_their_values_roll_the_pods() {
    let datadog = |name: &str, secret: &str| {
        let mut one =
            destination_with(name, "datadog", &["METRICS"], json!({"DATADOG_SITE": "datadoghq.com"}), Value::Null);
        one.spec.secret_ref = Some(odigos_api::destination::SecretRef { name: secret.into() });
        one
    };
    let mut given = Given::new(vec![datadog("d-1", "one"), datadog("d-2", "two")]);
    given.secrets.insert("one".into(), secret(&["DATADOG_API_KEY"]));
    given.secrets.insert("two".into(), secret(&["DATADOG_API_KEY"]));
    let plan = given.plan();
    let key =
        |id: &str| plan.config.get(ComponentKind::Exporter, id).unwrap()["api"]["key"].as_str().unwrap().to_owned();
    assert_ne!(key("datadog/d-1"), key("datadog/d-2"));
    let variables: BTreeSet<_> = plan.secrets.iter().map(|used| used.secret.as_str()).collect();
    assert_eq!(variables, ["one", "two"].into());
    let before = objects::secrets_hash(&plan);
    given.secrets.get_mut("one").unwrap().insert("DATADOG_API_KEY".into(), SecretValue::of(b"another"));
    assert_ne!(objects::secrets_hash(&given.plan()), before);
}

/// Honeycomb with one value in its Secret, beside a destination without one.
fn with_key(value: &[u8]) -> Given {
    let data = json!({"HONEYCOMB_ENDPOINT": "api.honeycomb.io"});
    let mut honeycomb = destination_with("d-1", "honeycomb", &["TRACES"], data, Value::Null);
    honeycomb.spec.secret_ref = Some(odigos_api::destination::SecretRef { name: "key".into() });
    let mut given = Given::new(vec![honeycomb, jaeger("d-2", Value::Null)]);
    given.secrets.insert("key".into(), BTreeMap::from([("HONEYCOMB_API_KEY".to_owned(), SecretValue::of(value))]));
    given
}

#[test]
fn value_that_a_collector_would_expand_comes_from_its_escaped_copy() {
    let source = |value: &[u8]| {
        let given = with_key(value);
        let plan = given.plan();
        assert_eq!(plan.destinations["d-1"].status, Status::True, "{:?}", plan.destinations["d-1"]);
        let objects = objects::desired(&given.seen(), &plan, &objects::Installation::default());
        let deployment = objects.into_iter().find(|one| one.object["kind"] == "Deployment").unwrap().object;
        let of = |container: &str| {
            let environment = deployment.pointer(&format!("/spec/template/spec/{container}/0/env")).unwrap();
            let all = environment.as_array().unwrap();
            let found = all.iter().find(|one| one["name"].as_str().unwrap().starts_with("D_")).unwrap();
            found["valueFrom"]["secretKeyRef"].clone()
        };
        assert_eq!(of("containers"), of("initContainers"), "what validates reads what runs");
        (of("containers"), plan.destinations["d-1"].message.clone())
    };
    let plain = json!({"name": "key", "key": "HONEYCOMB_API_KEY"});
    assert_eq!(source(b"0123456789").0, plain);
    assert_eq!(source(b"us$er").0, plain);
    let copy = json!({"name": names::ESCAPED_SECRETS, "key": secret_values::copy_key("key", "HONEYCOMB_API_KEY")});
    let (reference, message) = source(b"p@$$w0rd");
    assert_eq!(reference, copy);
    assert!(message.contains("spec.secretRef: key HONEYCOMB_API_KEY of Secret key: it holds $$"), "{message}");
    let (reference, message) = source(b"${HONEYCOMB_KEY:=changeme}");
    assert_eq!(reference, copy);
    assert!(message.contains("placeholder") && !message.contains("changeme"), "{message}");
}

#[test]
fn value_that_no_container_can_get_is_refused_alone() {
    let refusal = |given: &Given| {
        let plan = given.plan();
        assert_eq!(plan.destinations["d-2"].status, Status::True);
        assert!(["InvalidSetting", "SecretNotAllowed"].contains(&plan.destinations["d-1"].reason.as_str()));
        assert!(plan.secrets.is_empty());
        plan.destinations["d-1"].message.clone()
    };
    assert!(
        refusal(&with_key(b"\xff")).contains("spec.secretRef: key HONEYCOMB_API_KEY of Secret key: it is not UTF-8")
    );
    assert!(refusal(&with_key(b"a\0b")).contains("NUL"));
    let mut given = with_key(b"a$$b");
    let value = given.secrets.get_mut("key").unwrap().get_mut("HONEYCOMB_API_KEY").unwrap();
    value.copy_failure = Some("forbidden".into());
    assert!(refusal(&given).contains("writing its escaped copy failed: forbidden"));
    let mut given = with_key(b"a");
    given.destinations[0].spec.secret_ref =
        Some(odigos_api::destination::SecretRef { name: names::ESCAPED_SECRETS.into() });
    assert!(refusal(&given).contains("belongs to the control plane"));
}

/// confmap ends its search for references at the first escaped one, so the variable's name would be sent.
#[test]
fn reference_behind_an_escaped_one_is_refused() {
    let mut given = with_key(b"0123456789");
    let data = |headers: &str| {
        BTreeMap::from([
            ("OTLP_HTTP_ENDPOINT".to_owned(), "https://backend".to_owned()),
            ("OTLP_HTTP_BASIC_AUTH_USERNAME".to_owned(), "u".to_owned()),
            ("OTLP_HTTP_HEADERS".to_owned(), headers.to_owned()),
        ])
    };
    given.destinations[0].spec.type_ = "otlphttp".into();
    let keys = ["OTLP_HTTP_BASIC_AUTH_PASSWORD", "OTLP_HTTP_OAUTH2_CLIENT_SECRET"];
    given.secrets.insert("key".into(), secret(&keys));
    given.destinations[0].spec.data = data(r#"[{"key": "k", "value": "${OTLP_HTTP_BASIC_AUTH_PASSWORD} ${X}"}]"#);
    let plan = given.plan();
    assert_eq!(plan.destinations["d-1"].status, Status::True, "{:?}", plan.destinations["d-1"]);
    given.destinations[0].spec.data = data(r#"[{"key": "k", "value": "${X} ${OTLP_HTTP_BASIC_AUTH_PASSWORD}"}]"#);
    let plan = given.plan();
    assert_eq!(plan.destinations["d-1"].reason, "InvalidSetting");
    assert!(
        plan.destinations["d-1"].message.contains("OTLP_HTTP_BASIC_AUTH_PASSWORD"),
        "{:?}",
        plan.destinations["d-1"]
    );
}

#[test]
fn credential_in_plain_text_goes_on_and_is_reported_with_its_field() {
    let data = json!({
        "OTLP_HTTP_ENDPOINT": "https://me:hunter2@backend",
        "OTLP_HTTP_HEADERS": r#"[{"key": "X-Api-Key", "value": "hunter3"}]"#,
    });
    let plan = Given::new(vec![destination_with("d-1", "otlphttp", &["TRACES"], data, Value::Null)]).plan();
    let condition = &plan.destinations["d-1"];
    assert_eq!(condition.status, Status::True);
    for part in [
        "Warning: spec.data.OTLP_HTTP_ENDPOINT: the address holds a user, password or key",
        "spec.data.OTLP_HTTP_HEADERS: the header X-Api-Key holds a credential",
        "odigos destinations move-secret d-1",
    ] {
        assert!(condition.message.contains(part), "{part}: {condition:?}");
    }
    assert!(!condition.message.contains("hunter"), "{condition:?}");
}

#[test]
fn retries_that_the_exporter_refuses_are_refused_with_their_field() {
    let mut given = Given::new(vec![otlp("d-1", &["TRACES"], Value::Null), jaeger("d-2", Value::Null)]);
    let delivery = |value| Some(serde_json::from_value(value).unwrap());
    given.destinations[0].spec.delivery = delivery(json!({"retryMaxInterval": "10m"}));
    let plan = given.plan();
    let condition = &plan.destinations["d-1"];
    assert_eq!(condition.reason, "InvalidSetting");
    assert!(condition.message.starts_with("spec.delivery: retries end after 300s"), "{condition:?}");
    assert_eq!(plan.destinations["d-2"].status, Status::True);
    given.destinations[0].spec.delivery = delivery(json!({"retryMaxInterval": "10m", "retryMaxElapsedTime": "1h"}));
    assert_eq!(given.plan().destinations["d-1"].status, Status::True);
}

#[test]
fn exporter_that_the_shipped_collector_lacks_is_reported() {
    let message = |type_id: &str, data: Value| {
        let plan = Given::new(vec![destination_with("d-1", type_id, &["TRACES"], data, Value::Null)]).plan();
        assert_eq!(plan.destinations["d-1"].status, Status::True);
        plan.destinations["d-1"].message.clone()
    };
    let named = |exporter: &str| {
        message("dynamic", json!({"DYNAMIC_DESTINATION_TYPE": exporter, "DYNAMIC_CONFIGURATION_DATA": "endpoint: a"}))
    };
    assert!(
        named("pulsar").contains("spec.type: the gateway of this release has no exporter pulsar; images.gateway or")
    );
    assert!(!named("kafka").contains("has no exporter"));
    assert!(named("load_balancing").contains("has no exporter load_balancing"), "that of nodes has it");
    assert!(message("gcs", json!({})).contains("has no exporter googlecloudstorage"));
    // The condition is no success where it is known that this image runs.
    let plan = Given::new(vec![destination_with("d-1", "gcs", &["TRACES"], json!({}), Value::Null)]).plan();
    let own = plan.destination_condition("d-1", true).unwrap();
    assert_eq!((own.status, own.reason.as_str()), (Status::False, "NotInCollector"));
    assert!(own.message.contains("has no exporter googlecloudstorage"), "{own:?}");
    assert_eq!(plan.destination_condition("d-1", false).unwrap().status, Status::True);
    for (image, is_own) in [
        ("ghcr.io/odigos-rs/odigos-gateway:0.1.0", true),
        ("registry:5000/mirror/odigos-gateway@sha256:00", true),
        ("odigos-gateway", true),
        ("otel/opentelemetry-collector-contrib:0.158.0", false),
        ("registry/odigos-gateway-contrib:1", false),
    ] {
        let installation = objects::Installation { gateway_image: image.into(), ..objects::Installation::default() };
        assert_eq!(installation.is_own_collector(odigos_api::CollectorRole::ClusterGateway), is_own, "{image}");
    }
    // It knows neither a queue nor retries, and refuses keys that it does not know.
    let gcs = Given::new(vec![destination_with("d-1", "gcs", &["TRACES"], json!({}), Value::Null)]).plan();
    let settings = gcs.config.get(ComponentKind::Exporter, "googlecloudstorage/d-1").unwrap();
    assert_eq!(settings.as_object().unwrap().keys().collect::<Vec<_>>(), ["bucket"]);
}

/// A request for metrics that cannot be met is said, whichever it is.
#[test]
fn metrics_that_are_requested_in_vain_are_reported() {
    let fields = |signals: &[&str], settings: Value, configuration: &str| {
        let mut one = otlp("a", signals, Value::Null);
        one.spec.metrics_settings = serde_json::from_value(settings).unwrap();
        let mut given = Given::new(vec![one]);
        given.configuration = Configuration::parse(configuration).unwrap();
        let found = given.plan().findings.into_iter().filter(|one| one.object == "Destination odigos-system/a");
        found.map(|one| one.field.trim_start_matches("spec.metricsSettings.").to_owned()).collect::<Vec<_>>()
    };
    let requests =
        || json!({"odigosOwnMetricsEnabled": true, "hostMetricsEnabled": true, "kubeletStatsEnabled": false});
    assert_eq!(fields(&["TRACES"], requests(), "{}"), ["hostMetricsEnabled", "odigosOwnMetricsEnabled"]);
    assert_eq!(fields(&["TRACES", "METRICS"], requests(), "{}"), [] as [&str; 0]);
    let off = "metricsSources: {hostMetrics: {disabled: true}, kubeletStats: {disabled: true}}";
    assert_eq!(fields(&["METRICS"], requests(), off), ["hostMetricsEnabled"]);
    assert_eq!(fields(&["TRACES"], json!(null), off), [] as [&str; 0], "defaults request nothing");
}

/// After a bare `helm upgrade` the condition is what names the value.
#[test]
fn backend_that_computes_span_metrics_is_told_how_to_get_them() {
    let message = |type_: &str, signals: &[&str], settings: Value| {
        let data = json!({"OTLP_GRPC_ENDPOINT": "http://otel:4317", "DATADOG_SITE": "datadoghq.com"});
        let mut one = destination("a", type_, signals, data);
        one.spec.secret_ref = Some(odigos_api::destination::SecretRef { name: "key".into() });
        one.spec.metrics_settings = serde_json::from_value(settings).unwrap();
        let mut given = Given::new(vec![one]);
        given.secrets.insert("key".into(), secret(&["DATADOG_API_KEY"]));
        let condition = given.plan().destinations["a"].clone();
        format!("{} {}", condition.reason, condition.message)
    };
    let both = ["TRACES", "METRICS"];
    let told = message("datadog", &both, json!(null));
    assert!(told.contains("spec.metricsSettings.spanMetricsEnabled: true sends them too"), "{told}");
    for quiet in [
        message("datadog", &["METRICS"], json!(null)),
        message("datadog", &both, json!({"spanMetricsEnabled": true})),
        message("datadog", &both, json!({"spanMetricsEnabled": false})),
        message("otlp", &both, json!(null)),
    ] {
        assert!(quiet.starts_with("TransformedToOtelcolConfig") && !quiet.contains("spanMetrics"), "{quiet}");
    }
}

#[test]
fn a35_a_disabled_destination_leaves_nothing() {
    let mut given = Given::new(vec![jaeger("d-1", Value::Null)]);
    given.destinations[0].spec.disabled = Some(true);
    let plan = given.plan();
    assert_eq!(pipelines(&plan), ["metrics/otelcol"]);
    assert_eq!(plan.destinations["d-1"].reason, "Disabled");
}

#[test]
fn a39_cluster_metrics_need_a_metrics_destination() {
    let mut given = Given::new(vec![otlp("d-1", &["METRICS"], Value::Null)]);
    given.group.spec.cluster_metrics_enabled = Some(true);
    let plan = given.plan();
    let root = &plan.config.pipelines[&odigos_pipeline::PipelineId::new(Signal::Metrics, "in")];
    assert_eq!(root.receivers, ["otlp/nodes", "k8s_cluster"]);
    given.destinations = vec![jaeger("d-2", Value::Null)];
    assert!(!given.plan().config.to_yaml().contains("k8s_cluster"));
}

/// A pipeline that names a component twice would break every destination.
#[test]
fn a_processor_with_a_name_of_the_products_harms_nobody() {
    let mut given = Given::new(vec![jaeger("d-1", Value::Null)]);
    given.processors = ["odigos-version", "stream-class", "pod-name", "mine"].map(|name| processor(name, 0)).to_vec();
    let plan = given.plan();
    assert!(
        plan.destinations.values().all(|one| one.status == odigos_api::condition::Status::True),
        "{:?}",
        plan.destinations
    );
    let refused = &plan.processors["odigos-version"];
    assert_eq!(refused.reason, "InvalidConfig");
    assert!(
        refused.message.contains("resource/odigos-version is a component of the product itself"),
        "{}",
        refused.message
    );
    assert_eq!(plan.processors["mine"].reason, "ConfigUpdated_ClusterGateway");
    let ids = plan.config.section(odigos_pipeline::ComponentKind::Processor).map(|(id, _)| id.clone());
    let strangers: Vec<String> =
        ids.filter(|id| id.contains('/') && id != "resource/mine" && !crate::processors::is_own(id)).collect();
    assert!(strangers.is_empty(), "not among the product's own: {strangers:?}");
}

#[test]
fn a43_a44_processors_in_order() {
    let mut given = Given::new(vec![jaeger("d-1", Value::Null)]);
    given.processors = [("p-b", 1), ("p-a", 1), ("p-c", -5), ("p-d", 12), ("off", 0)]
        .map(|(name, hint)| processor(name, hint))
        .to_vec();
    given.processors[4].spec.disabled = Some(true);
    let mut foreign = processor("foreign", 0);
    foreign.spec.type_ = "odigospiimasking".into();
    given.processors.push(foreign);
    let plan = given.plan();
    let root = &plan.config.pipelines[&odigos_pipeline::PipelineId::new(Signal::Traces, "in")];
    let expected =
        ["memory_limiter", "resource/odigos-version", "resource/p-c", "resource/p-a", "resource/p-b", "resource/p-d"];
    assert_eq!(root.processors, expected);
    assert_eq!(plan.processors["off"].reason, "ConfigRemovedDisabled_ClusterGateway");
    assert_eq!(plan.processors["p-a"].reason, "ConfigUpdated_ClusterGateway");
    assert_eq!(plan.processors["foreign"].reason, "UnsupportedType");
}

#[test]
fn processors_of_a_stream_stand_in_its_pipeline_only() {
    let mut given = Given::new(vec![jaeger("d-1", json!({"dataStreams": ["a", "b"]}))]).classes(&[&["a", "b"]]);
    let mut one = processor("only-a", 0);
    one.spec.data_streams = Some(vec!["a".into()]);
    given.processors.push(one);
    let plan = given.plan();
    let of =
        |name: &str| plan.config.pipelines[&odigos_pipeline::PipelineId::new(Signal::Traces, name)].processors.clone();
    assert_eq!(of("stream.a"), ["resource/stream-class/stream.a", "resource/only-a"]);
    assert_eq!(of("stream.b"), ["resource/stream-class/stream.b"]);
    assert_eq!(of("in"), ["memory_limiter", "resource/odigos-version"]);
    // The two streams treat the item differently, so each keeps its own pipeline.
    assert_eq!(row(&plan, "traces", &class(&["a", "b"])), json!(["traces/stream.a", "traces/stream.b"]));
}

#[test]
fn own_metrics_are_not_sent_to_a_store_that_nothing_deploys() {
    let mut given = Given::new(vec![otlp("d-1", &["METRICS"], Value::Null)]);
    given.group = collectors_group(
        "odigos-gateway",
        json!({"metrics": {"odigosOwnMetrics": {"sendToOdigosMetricsStore": true, "interval": "10s"}}}),
    );
    let plan = given.plan();
    assert!(!plan.config.pipelines.contains_key(&odigos_pipeline::PipelineId::new(Signal::Metrics, "own-metrics")));
    assert!(!plan.config.to_yaml().contains("victoriametrics"));
}

#[test]
fn a47_the_size_depends_on_sets_not_on_workloads() {
    let names: Vec<String> = (0..50).map(|n| format!("stream-{n:02}")).collect();
    let destinations: Vec<Destination> = (0..100)
        .map(|n| otlp(&format!("d-{n:03}"), &["TRACES", "METRICS", "LOGS"], json!({"dataStreams": [names[n % 50]]})))
        .collect();
    let sets: Vec<Vec<&str>> = (0..40).map(|n| vec![names[n].as_str(), names[(n + 7) % 50].as_str()]).collect();
    let slices: Vec<&[&str]> = sets.iter().map(Vec::as_slice).collect();
    let text = Given::new(destinations).classes(&slices).plan().config.to_yaml();
    assert!(text.len() < 300 * 1024, "{} bytes", text.len());
}

#[test]
fn a48_the_same_input_gives_the_same_bytes_in_any_order() {
    let mut given =
        Given::new(vec![jaeger("d-1", json!({"dataStreams": ["a"]})), otlp("d-2", &["TRACES", "LOGS"], Value::Null)])
            .classes(&[&["a"], &["a", "default"]]);
    let first = given.plan().config.to_yaml();
    given.destinations.reverse();
    assert_eq!(given.plan().config.to_yaml(), first);
}

#[test]
fn a_destination_that_stopped_a_collector_is_set_aside() {
    let mut given = Given::new(vec![jaeger("d-1", Value::Null), jaeger("d-2", Value::Null)]);
    given.set_aside.insert("d-1".into(), "cannot start pipelines: bad certificate".into());
    let plan = given.plan();
    assert_eq!(plan.destinations["d-1"].reason, "ExporterStartFailed");
    assert!(!pipelines(&plan).contains(&"traces/jaeger-d-1".to_owned()));
    assert!(pipelines(&plan).contains(&"traces/jaeger-d-2".to_owned()));
}

#[test]
fn queues_on_volumes_of_their_own_make_a_stateful_set() {
    let mut given = Given::new(vec![otlp("d-1", &["TRACES"], Value::Null)]);
    given.destinations[0].spec.delivery = serde_json::from_value(json!({"persistentQueue": true})).unwrap();
    let objects = |given: &Given| -> Vec<Value> {
        let (seen, plan) = (given.seen(), given.plan());
        objects::desired(&seen, &plan, &objects::Installation::default()).into_iter().map(|one| one.object).collect()
    };
    let kinds =
        |all: &[Value]| all.iter().filter_map(|one| one["kind"].as_str().map(str::to_owned)).collect::<Vec<_>>();
    assert!(
        kinds(&objects(&given)).contains(&"Deployment".to_owned()),
        "without a volume the queue lives with the pod"
    );
    given.configuration =
        crate::configuration::Configuration::parse("collectorGateway: {queueVolume: {size: 5Gi, storageClass: fast}}")
            .unwrap();
    let all = objects(&given);
    assert!(!kinds(&all).contains(&"Deployment".to_owned()));
    let set = all.iter().find(|one| one["kind"] == "StatefulSet").unwrap();
    let claim = &set["spec"]["volumeClaimTemplates"][0];
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "5Gi");
    assert_eq!(claim["spec"]["storageClassName"], "fast");
    let pod = &set["spec"]["template"]["spec"];
    assert!(pod["volumes"].as_array().unwrap().iter().all(|volume| volume["name"] != claim["metadata"]["name"]));
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    assert!(mounts.iter().any(|mount| mount["name"] == claim["metadata"]["name"]));
    let scaler = all.iter().find(|one| one["kind"] == "HorizontalPodAutoscaler").unwrap();
    assert_eq!(scaler["spec"]["scaleTargetRef"]["kind"], "StatefulSet");
    given.destinations[0].spec.delivery = None;
    assert!(kinds(&objects(&given)).contains(&"Deployment".to_owned()), "no queue on disk needs no volume");
}

#[test]
fn unknown_types_and_odd_names() {
    let plan =
        Given::new(vec![destination("d-1", "nosuchtype", &["TRACES"], json!({})), jaeger("d-2", Value::Null)]).plan();
    assert_eq!(plan.destinations["d-1"].reason, "ErrConfigDestination");
    assert!(plan.destinations["d-1"].message.contains("nosuchtype"));
    assert_eq!(plan.destinations["d-2"].status, Status::True);
}

#[test]
fn rendered_components_are_all_in_the_release_table() {
    let mut given = Given::new(vec![otlp("d-1", &["TRACES", "METRICS", "LOGS"], Value::Null)]);
    given.group.spec.cluster_metrics_enabled = Some(true);
    let plan = given.plan();
    for kind in ComponentKind::ALL {
        for (id, _) in plan.config.section(kind) {
            let is_own = odigos_pipeline::components::OWN_EXTENSIONS.contains(&id.as_str());
            assert!(is_own || odigos_pipeline::components::find(kind, id).is_some(), "{id}");
        }
    }
}

/// What the catalogue can render with the settings of its examples is what the shipped collector is built from.
#[test]
fn catalogue_renders_only_what_is_in_the_release_table() {
    let keys: BTreeSet<String> = odigos_catalog::destination::types()
        .values()
        .flat_map(|one| &one.fields)
        .filter(|field| field.secret)
        .map(|field| field.name.clone())
        .collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../catalog/tests/golden/examples.json");
    let examples: BTreeMap<String, Vec<Value>> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut used = BTreeSet::new();
    for (type_id, cases) in examples.iter().filter(|(type_id, _)| *type_id != "dynamic") {
        for case in cases {
            let data: BTreeMap<String, String> = serde_json::from_value(case["data"].clone()).unwrap();
            let signals: BTreeSet<Signal> = serde_json::from_value(case["signals"].clone()).unwrap();
            let secret = odigos_catalog::render::Secret::Keys { name: "all", keys: &keys };
            let instance =
                odigos_catalog::render::Instance { id: "d", type_id, data: &data, signals: &signals, secret };
            let Ok(rendered) = odigos_catalog::render::render(&instance) else { continue };
            for (kind, section) in [
                (ComponentKind::Exporter, &rendered.exporters),
                (ComponentKind::Processor, &rendered.processors),
                (ComponentKind::Connector, &rendered.connectors),
                (ComponentKind::Extension, &rendered.extensions),
            ] {
                for id in section.keys() {
                    assert!(odigos_pipeline::components::find(kind, id).is_some(), "{type_id}: {id}");
                    used.insert((kind, id.split('/').next().unwrap().to_owned()));
                }
            }
        }
    }
    assert!(used.len() >= 30, "{used:?}");
}

mod objects_tests {
    use super::*;
    use crate::gateway::objects::{Installation, desired};

    fn object(given: &Given, installation: &Installation, kind: &str) -> Value {
        let plan = given.plan();
        let all = desired(&given.seen(), &plan, installation);
        all.into_iter().map(|one| one.object).find(|object| object["kind"] == kind).unwrap()
    }

    #[test]
    fn a4_sizes_reach_the_objects() {
        let mut given = Given::new(vec![]);
        given.group = collectors_group(
            "odigos-gateway",
            json!({"resourcesSettings": {
                "minReplicas": 2, "maxReplicas": 8, "memoryRequestMiB": 600, "memoryLimitMiB": 600,
                "cpuRequestMillicores": 1000, "cpuLimitMillicores": 1000,
                "memoryLimiterLimitMiB": 550, "memoryLimiterSpikeLimitMiB": 110, "gomemlimitMiB": 440,
            }}),
        );
        let deployment = object(&given, &Installation::default(), "Deployment");
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        assert!(container["env"].as_array().unwrap().contains(&json!({"name": "GOMEMLIMIT", "value": "440MiB"})));
        assert_eq!(deployment["spec"].get("replicas"), None, "A42: replicas belong to the autoscaler object");
        let hpa = object(&given, &Installation::default(), "HorizontalPodAutoscaler");
        assert_eq!(hpa["spec"]["metrics"][0]["resource"]["target"]["averageValue"], "330Mi");
        assert_eq!(hpa["spec"]["metrics"][1]["resource"]["target"]["averageValue"], "750m");
        assert_eq!((&hpa["spec"]["minReplicas"], &hpa["spec"]["maxReplicas"]), (&json!(2), &json!(8)));
    }

    #[test]
    fn a37_a38_proxy_and_name() {
        let mut given = Given::new(vec![]);
        given.group.spec.https_proxy_address = Some("http://proxy:3128".into());
        given.group.spec.deployment_name = Some("my-gw".into());
        let deployment = object(&given, &Installation::default(), "Deployment");
        assert_eq!(deployment["metadata"]["name"], "my-gw");
        let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"].to_string();
        assert!(env.contains("HTTPS_PROXY") && env.contains(".svc,.cluster.local,odigos-system"), "{env}");
        let hpa = object(&given, &Installation::default(), "HorizontalPodAutoscaler");
        assert_eq!(hpa["spec"]["scaleTargetRef"]["name"], "my-gw");
        let with = Installation { rejection_metric: true, ..Installation::default() };
        let hpa = object(&given, &with, "HorizontalPodAutoscaler");
        assert_eq!(hpa["spec"]["metrics"][0]["object"]["describedObject"]["name"], "my-gw");
        assert_eq!(object(&given, &Installation::default(), "Service")["metadata"]["name"], "odigos-gateway");
    }

    #[test]
    fn a40_a41_the_autoscaler_api_follows_the_cluster() {
        let given = Given::new(vec![]);
        let of = |kubernetes_minor, rejection_metric| {
            object(
                &given,
                &Installation { kubernetes_minor, rejection_metric, ..Installation::default() },
                "HorizontalPodAutoscaler",
            )
        };
        let old = of(22, true);
        assert_eq!((&old["apiVersion"], old["spec"].get("behavior")), (&json!("autoscaling/v2beta1"), None));
        assert_eq!(of(24, false)["apiVersion"], "autoscaling/v2beta2");
        let new = of(30, true);
        assert_eq!(new["apiVersion"], "autoscaling/v2");
        let behavior = json!({
            "scaleUp": {
                "stabilizationWindowSeconds": 0, "selectPolicy": "Max",
                "policies": [{"type": "Pods", "value": 2, "periodSeconds": 15}],
            },
            "scaleDown": {
                "stabilizationWindowSeconds": 900, "selectPolicy": "Min",
                "policies": [
                    {"type": "Pods", "value": 1, "periodSeconds": 60}, {"type": "Percent", "value": 25, "periodSeconds": 60},
                ],
            },
        });
        assert_eq!(new["spec"]["behavior"], behavior, "as docs/scaling.md says");
        let rejections = &new["spec"]["metrics"][0]["object"];
        assert_eq!(rejections["metric"]["name"], "odigos_gateway_rejections");
        assert_eq!(rejections["target"], json!({"type": "Value", "value": "500m"}));
        assert_eq!(rejections["describedObject"]["name"], "odigos-gateway");
        assert_eq!(new["spec"]["metrics"].as_array().unwrap().len(), 3);
        assert_eq!(of(30, false)["spec"]["metrics"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a34_a_changed_destination_is_a_new_immutable_configuration() {
        let names = |url: &str| {
            let given = Given::new(vec![destination_with(
                "d-1",
                "jaeger",
                &["TRACES"],
                json!({"JAEGER_URL": url}),
                Value::Null,
            )]);
            let plan = given.plan();
            desired(&given.seen(), &plan, &objects::Installation::default())
                .into_iter()
                .filter(|one| one.object["kind"] == "ConfigMap")
                .map(|one| one.object["metadata"]["name"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let (one, two) = (names("a"), names("b"));
        assert_eq!((one[0].as_str(), two[0].as_str()), ("odigos-gateway", "odigos-gateway"));
        assert_ne!(one[1], two[1]);
    }
}

#[test]
fn node_collectors_alone_send_unless_somebody_asks_for_more() {
    let mut given = Given::new(vec![otlp("d", &["TRACES", "METRICS"], json!(null))]);
    let plan = given.plan();
    let receiver = |plan: &GatewayPlan, id: &str| plan.config.get(ComponentKind::Receiver, id).cloned();
    let grpc = receiver(&plan, "otlp/nodes").unwrap()["protocols"]["grpc"].clone();
    assert_eq!(grpc["tls"]["client_ca_file"], "/etc/odigos/certificate/ca.crt");
    assert_eq!(grpc["keepalive"]["server_parameters"]["max_connection_age"], "15s");
    assert_eq!(receiver(&plan, "otlp"), None);
    let objects = objects::desired(&given.seen(), &plan, &objects::Installation::default());
    let text = serde_json::to_string(&objects.iter().map(|one| &one.object).collect::<Vec<_>>()).unwrap();
    assert!(text.contains(r#""port":4319"#) && !text.contains(r#""port":4317"#), "{text}");
    assert!(text.contains(r#""secretName":"odigos-gateway-certificate""#));

    given.configuration = Configuration::parse("collectorGateway: {plaintextReceiver: true}").unwrap();
    let plan = given.plan();
    let root = plan.config.pipelines.get(&odigos_pipeline::PipelineId::new(Signal::Traces, "in")).unwrap();
    assert_eq!(root.receivers, ["otlp/nodes", "forward/of-anybody-traces"]);
    let open = plan.config.pipelines.get(&odigos_pipeline::PipelineId::new(Signal::Metrics, "of-anybody")).unwrap();
    assert_eq!(
        (&open.receivers[..], &open.processors[..]),
        (&["otlp".to_owned()][..], &["memory_limiter".to_owned(), "resource/of-anybody".to_owned()][..])
    );
    assert_eq!(receiver(&plan, "otlp").unwrap()["protocols"]["grpc"]["max_recv_msg_size_mib"], 4);
}

fn annotated(mut destination: Destination, access: &str) -> Destination {
    destination.metadata.annotations = Some([("odigos.io/secret-access".to_owned(), access.to_owned())].into());
    destination
}

/// A Destination that admission judged, with a Secret of that name.
fn judged(name: &str, type_id: &str, data: Value, secret: &str) -> Destination {
    let mut one = destination_with(name, type_id, &["TRACES"], data, Value::Null);
    one.spec.secret_ref = Some(odigos_api::destination::SecretRef { name: secret.into() });
    annotated(one, &format!("denied:{secret}"))
}

#[test]
fn secret_of_another_is_not_read() {
    let data = json!({"HONEYCOMB_ENDPOINT": "api.honeycomb.io"});
    let mut given = Given::new(vec![judged("d-1", "honeycomb", data, "key"), jaeger("d-2", Value::Null)]);
    given.secrets.insert("key".into(), secret(&["HONEYCOMB_API_KEY"]));
    let denied = given.plan();
    assert_eq!(denied.destinations["d-1"].reason, "SecretNotAllowed");
    assert!(denied.destinations["d-1"].message.contains("odigos destinations mark-secret d-1"));
    assert_eq!((denied.secrets.len(), denied.destinations["d-2"].status), (0, Status::True));
    let metadata =
        json!({"labels": {"odigos.io/destination-secret": "true"}, "annotations": {"odigos.io/destinations": "d-1"}});
    let mark = SecretMark::of(&serde_json::from_value(metadata).unwrap(), None);
    given.marks.insert("key".into(), mark);
    assert_eq!(given.plan().destinations["d-1"].status, Status::True);
    given.marks.clear();
    given.destinations[0].metadata.annotations = None;
    let kept = given.plan();
    assert_eq!(kept.destinations["d-1"].status, Status::True, "an upgrade stops no export");
    assert!(kept.destinations["d-1"].message.contains("odigos destinations mark-secret d-1"));
}

#[test]
fn types_that_reach_further_need_the_configuration() {
    let file = destination_with("d-1", "file", &["TRACES"], json!({"FILE_PATH": "/tmp/a"}), Value::Null);
    let mut given = Given::new(vec![annotated(file, "none")]);
    let refused = given.plan();
    assert_eq!(refused.destinations["d-1"].reason, "TypeNotAllowed");
    assert!(refused.destinations["d-1"].message.contains("destinations.additionalTypes: [file]"));
    given.configuration = Configuration::parse("destinations: {additionalTypes: [file]}").unwrap();
    assert_eq!(given.plan().destinations["d-1"].status, Status::True);
    given.configuration = Configuration::default();
    given.destinations[0].metadata.annotations = None;
    let kept = given.plan();
    assert_eq!(kept.destinations["d-1"].status, Status::True, "an upgrade stops no export");
    assert!(kept.destinations["d-1"].message.contains("destinations.additionalTypes: [file]"));
}

#[test]
fn destination_reaches_its_own_extensions_and_files_alone() {
    let refusal = |type_id: &str, settings: &str| {
        let data = json!({"DYNAMIC_DESTINATION_TYPE": type_id, "DYNAMIC_CONFIGURATION_DATA": settings});
        let given = Given::new(vec![
            destination_with("d-1", "dynamic", &["TRACES"], data, Value::Null),
            jaeger("d-2", Value::Null),
        ]);
        let plan = given.plan();
        assert_eq!(plan.destinations["d-2"].status, Status::True);
        let condition = &plan.destinations["d-1"];
        if condition.status == Status::True { String::new() } else { condition.message.clone() }
    };
    let nested =
        "{protocol: {otlp: {auth: {authenticator: basicauth/otlphttp-vault}}}, resolver: {static: {hostnames: [h]}}}";
    assert!(refusal("load_balancing", nested).contains("authenticator names basicauth/otlphttp-vault"));
    assert!(
        refusal("otlp_http", "{endpoint: 'http://h', tls: {ca_file: /var/run/secrets/token}}")
            .contains("ca_file names")
    );
    assert!(
        refusal("otlp_http", "{endpoint: 'http://h', sending_queue: {storage: file_storage/queues}}")
            .contains("file_storage/queues")
    );
    for divided in ["'auth::authenticator': basicauth/x", "sending_queue: {'a::b': 1}", "tls: {'c::d': x}"] {
        let found = refusal("otlp_http", &format!("{{endpoint: 'http://h', {divided}}}"));
        assert!(found.contains("divide keys"), "{divided}: {found}");
    }
    assert_ne!(
        refusal("otlp_http", "{endpoint: 'http://h', headers: {'a::b': x}}"),
        "",
        "nor is it a name of a header"
    );
    let log = "{endpoint: 'http://h', wal: {directory: /var/odigos/queues/x}}";
    assert!(refusal("prometheusremotewrite", log).contains("inside a directory of the product"));
    assert!(refusal("file", "{path: /tmp/../var/odigos/queues/x}").contains("inside a directory of the product"));
    assert_eq!(refusal("otlp_http", "{endpoint: 'http://h', headers: {storage: x}}"), "");
    for path in ["/proc/self/cwd/var/odigos/queues/x", "/tmp/../proc/1/cwd/x", "/dev/fd/3", "proc/self/cwd/x", "/sys/x"]
    {
        let found = refusal("file", &format!("{{path: {path}}}"));
        assert!(found.contains("inside a directory of the system"), "{path}: {found}");
    }
    assert!(refusal("file", "{path: /var/run/../var/odigos/queues/x}").contains("goes up"));
    let grouped = "{path: /tmp/x, directory: /var/odigos/queues}";
    assert!(refusal("file", grouped).contains("inside a directory of the product"));
    assert_eq!(refusal("file", "{path: /dev/stdout}"), "");
    assert_eq!(refusal("file", "{path: /tmp/x}"), "");
}

#[test]
fn destination_never_exports_with_the_account_of_another() {
    let cloud = |name: &str, secret: Option<&str>| {
        let mut one = annotated(destination_with(name, "googlecloud", &["TRACES"], json!({}), Value::Null), "none");
        if let Some(secret) = secret {
            one.spec.secret_ref = Some(odigos_api::destination::SecretRef { name: secret.into() });
            one = annotated(one, &format!("granted:{secret}"));
        }
        one
    };
    let plan = |destinations: Vec<Destination>| {
        let mut given = Given::new(destinations);
        for name in ["one", "two"] {
            given.secrets.insert(name.into(), secret(&["GCP_APPLICATION_CREDENTIALS"]));
        }
        given.plan()
    };
    for (second, expected) in [(Some("two"), "CredentialsConflict"), (None, "CredentialsConflict"), (Some("one"), "")] {
        let plan = plan(vec![cloud("d-1", Some("one")), cloud("d-2", second)]);
        assert_eq!(plan.destinations["d-1"].status, Status::True, "{:?}", plan.destinations["d-1"]);
        let found = &plan.destinations["d-2"];
        let reason = if found.status == Status::True { "" } else { found.reason.as_str() };
        assert_eq!(reason, expected, "{second:?}: {}", found.message);
    }
}

#[test]
fn volume_of_queues_has_a_limit() {
    let mut one = jaeger("d-1", Value::Null);
    one.spec.delivery = serde_json::from_value(json!({"persistentQueue": true, "queueSizeMiB": 100})).unwrap();
    let given = Given::new(vec![one]);
    let plan = given.plan();
    let objects = objects::desired(&given.seen(), &plan, &objects::Installation::default());
    let deployment = objects.into_iter().find(|one| one.object["kind"] == "Deployment").unwrap().object;
    let volumes = deployment.pointer("/spec/template/spec/volumes").unwrap().as_array().unwrap();
    let queues = volumes.iter().find(|one| one["name"] == "queues").unwrap();
    assert_eq!(queues["emptyDir"], json!({"sizeLimit": "456Mi"}));
}

/// What a gateway serves without TLS stays in its pod, unless the configuration or its image says otherwise.
#[test]
fn metrics_leave_the_gateway_by_the_endpoint_alone() {
    let installation = objects::Installation::default();
    let given = Given::new(vec![otlp("d-1", &["TRACES"], Value::Null)]);
    let plaintext = Configuration::parse("metrics: {plaintext: true}").unwrap();
    let rendered = |configuration: &Configuration, is_own_collector: bool| {
        let seen = Observed { configuration, is_own_collector, ..given.seen() };
        let plan = plan(&seen);
        let all = objects::desired(&seen, &plan, &installation);
        let of = |kind: &str| all.iter().find(|one| one.object["kind"] == kind).unwrap().object.clone();
        let names = |ports: &Value| -> Vec<String> {
            let metrics = ports.as_array().unwrap().iter().map(|port| port["name"].as_str().unwrap().to_owned());
            metrics.filter(|name| name.starts_with("metrics")).collect()
        };
        let service = names(&of("Service")["spec"]["ports"]);
        let container = names(&of("Deployment")["spec"]["template"]["spec"]["containers"][0]["ports"]);
        assert_eq!(service, container);
        let reader = &plan.config.telemetry["metrics"]["readers"][0]["pull"]["exporter"]["prometheus"];
        let endpoint = plan.config.get(ComponentKind::Extension, "metrics_endpoint").cloned();
        (reader["host"].as_str().unwrap().to_owned(), service, endpoint)
    };
    let (host, ports, endpoint) = rendered(&Configuration::default(), true);
    assert_eq!((host.as_str(), ports), ("127.0.0.1", vec!["metrics-tls".to_owned()]));
    let sources = ["http://127.0.0.1:8888/metrics", "http://127.0.0.1:9090/metrics"];
    assert_eq!(endpoint.unwrap()["sources"], json!(sources), "its own, and the service graph");
    let (host, ports, endpoint) = rendered(&plaintext, true);
    assert_eq!((host.as_str(), ports.len(), endpoint.is_some()), ("0.0.0.0", 2, true));
    let (host, ports, endpoint) = rendered(&Configuration::default(), false);
    assert_eq!((host.as_str(), ports, endpoint), ("0.0.0.0", vec!["metrics".to_owned()], None));
}

/// A contrib image lacks our extensions, and would not start with them.
#[test]
fn extension_of_ours_is_rendered_for_images_of_ours_alone() {
    use odigos_api::CollectorRole::{ClusterGateway, NodeCollector};
    use odigos_pipeline::components::REQUEST_LIMIT;
    let installation = |image: &str| objects::Installation {
        gateway_image: image.into(),
        node_collector_image: image.into(),
        ..objects::Installation::default()
    };
    let own = objects::Installation::default();
    assert!(own.is_own_collector(ClusterGateway) && own.is_own_collector(NodeCollector));
    for image in [
        "odigos-gateway",
        "registry:5000/a/odigos-gateway:1",
        "a/odigos-gateway@sha256:0",
        "a/odigos-gateway:1@sha256:0",
    ] {
        assert!(installation(image).is_own_collector(ClusterGateway), "{image}");
        assert!(!installation(image).is_own_collector(NodeCollector), "{image}");
    }
    for image in ["otel/opentelemetry-collector-contrib:0.158.0", "odigos-gateway/contrib:1", ""] {
        assert!(!installation(image).is_own_collector(ClusterGateway), "{image}");
    }
    let given = Given::new(vec![otlp("d-1", &["TRACES"], Value::Null)]);
    let of = |is_own_collector: bool| plan(&Observed { is_own_collector, ..given.seen() });
    let own = of(true);
    assert!(own.config.to_yaml().contains(REQUEST_LIMIT), "{}", own.config.to_yaml());
    assert!(!own.findings.iter().any(|one| one.message.contains("images.collector")), "{:?}", own.findings);
    let contrib = of(false);
    assert!(!contrib.config.to_yaml().contains(REQUEST_LIMIT) && contrib.problems.is_empty());
    assert!(contrib.findings.iter().any(|one| one.message.contains("images.collector")), "{:?}", contrib.findings);
}

/// What waits in memory is sent before a pod goes, by the image's own command; queues that outlive the pod are left to the next one.
#[test]
fn a_gateway_that_goes_empties_its_queues() {
    let hook = |delivery: Value, configuration: &str, is_own_collector: bool, minor: u32| {
        let mut given = Given::new(vec![otlp("d-1", &["TRACES"], Value::Null)]);
        given.destinations[0].spec.delivery = serde_json::from_value(delivery).unwrap();
        given.configuration = Configuration::parse(configuration).unwrap();
        let seen = Observed { is_own_collector, ..given.seen() };
        let installation = objects::Installation { kubernetes_minor: minor, ..objects::Installation::default() };
        let all = objects::desired(&seen, &plan(&seen), &installation);
        let pod = all.iter().find_map(|one| one.object.pointer("/spec/template/spec")).unwrap();
        let hook = pod.pointer("/containers/0/lifecycle/preStop").cloned().unwrap_or_default();
        (hook, pod["terminationGracePeriodSeconds"].as_i64().unwrap())
    };
    let words = |hook: &Value| -> Vec<String> { serde_json::from_value(hook["exec"]["command"].clone()).unwrap() };
    let (own, grace) = hook(Value::Null, "{}", true, 28);
    assert_eq!(words(&own)[1..], ["drain", "-metrics=http://127.0.0.1:8888/metrics", "-least=4s", "-most=40s"]);
    assert!(grace >= 40 + 10, "the shutdown itself takes time, too");
    let volume = "collectorGateway: {queueVolume: {size: 2Gi}}";
    let (stored, _) = hook(json!({"persistentQueue": true}), volume, true, 34);
    assert_eq!(words(&stored).last().unwrap(), "-stored=/etc/odigos/collector/config.yaml");
    assert_eq!(hook(Value::Null, "{}", false, 34).0, json!({"sleep": {"seconds": 4}}));
    assert_eq!(hook(Value::Null, "{}", false, 29).0, Value::Null, "the action is not known there");
}
