//! Every key of the table with odd values: each has an effect on what the control plane does, or a finding that names the key. A new
//! key that accepts anything, or that nothing reads, fails here.

use super::keys::{Effect, KEYS, Key};
use super::shapes::Shape;
use super::{Configuration, effective, values};
use crate::processors::permission::Permission;
use crate::world::World;
use crate::{detection, gateway, injection, instrumentation, scheduling};
use odigos_api::names;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Wrong words, wrong types, numbers out of bounds, wrong units, spaces, duplicates, wrong order, nothing.
fn odd_values() -> Vec<Value> {
    let mut values = vec![
        json!(true),
        json!("no such word"),
        json!("maybe"),
        json!("UPPER"),
        json!(" x "),
        json!("a=b c"),
        json!("../x"),
        json!("/"),
        json!("-1"),
        json!(-1),
        json!(0),
        json!(1.5),
        json!(i32::MAX),
        json!(99_999_999_999_i64),
        json!("10 GB"),
        json!("2GB"),
        json!("1m"),
        json!("5 s"),
        json!("-5s"),
        json!("0s"),
        json!("1ns"),
        json!("99999h"),
        json!("2026-13-01"),
        json!(["no such word"]),
        json!(["UPPER"]),
        json!([""]),
        json!(["a b", "c"]),
        json!(["x", "x"]),
        json!(["2s", "1s"]),
        json!(["1s", "1s"]),
        json!([1]),
        json!(["service.name"]),
        json!([{"name": "A B", "value": "x"}]),
        json!([{"name": "A"}]),
        json!([{"key": "a", "operator": "Is"}]),
        json!({"a b": "c"}),
        json!({"A=B": "c"}),
        json!({"zone": "a b"}),
        json!({"zone": 1}),
        json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
    ];
    values.extend([json!(""), json!([]), json!({})]);
    values
}

/// Settings without which a key has nothing to act on.
const COMPANIONS: &[(&str, &str, &str)] = &[
    ("runtimeDetection.", "runtimeDetection.mode", "\"pod\""),
    ("instrumentation.optOutDataStreams", "instrumentation.mode", "\"optOut\""),
    ("sampling.dryRunMarks", "sampling.dryRun", "true"),
    ("sampling.k8sHealthProbesSampling.keepPercentage", "sampling.k8sHealthProbesSampling.enabled", "true"),
    ("sampling.dropTracesClusterWide.enabled", "sampling.dropTracesClusterWide.keepPercentage", "10"),
    ("sampling.dropTracesClusterWide.keepPercentage", "sampling.dropTracesClusterWide.enabled", "true"),
    ("metricsSources.hostMetrics.filesystem", "metricsSources.hostMetrics.mountPoints", "[\"/data\"]"),
    ("metricsSources.hostMetrics.mountPoints", "metricsSources.hostMetrics.filesystem", "true"),
    ("collectorGateway.queueVolume.storageClass", "collectorGateway.queueVolume.size", "\"2Gi\""),
    ("userInstrumentationEnvs.languages.java.enabled", "userInstrumentationEnvs.languages.java.env", "{\"A\": \"b\"}"),
    ("userInstrumentationEnvs.languages.java.env", "userInstrumentationEnvs.languages.java.enabled", "true"),
];

/// Accepted values of a key whose effect is looked for: each runs every planner.
const COMPARED: usize = 1;

/// Keys whose effect is not among what is compared here, with what reads them.
const READ_ELSEWHERE: &[(&str, &str)] =
    &[("configVersion", "whoever writes the document"), ("profiles", "reported unless empty")];

/// A path of the table with names in place of `*`.
fn example(key: &Key) -> String {
    match key.path.split_once(".*") {
        Some(("agentImages", rest)) => format!("agentImages.ruby-community{rest}"),
        Some(("userInstrumentationEnvs.languages", rest)) => format!("userInstrumentationEnvs.languages.java{rest}"),
        Some((above, rest)) => format!("{above}.ec2{rest}"),
        None => key.path.to_owned(),
    }
}

fn document(settings: &[(&str, Value)]) -> String {
    let mut configuration = Configuration::parse("agentsImage: registry/agents:1").unwrap();
    settings.iter().for_each(|(path, value)| configuration.set(path, value.clone()));
    serde_json::to_string(&configuration.root).unwrap()
}

/// Everything that the control plane does under a configuration.
fn outcome(configuration: &str) -> String {
    let mut world = World::new(names::DEFAULT_NAMESPACE);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "all"}, "stringData": {"DATADOG_API_KEY": "x"}});
    let destination = |name: &str, type_: &str, data: Value, stream: &str| {
        json!({
            "apiVersion": odigos_api::API_VERSION, "kind": "Destination", "metadata": {"name": name},
            "spec": {
                "type": type_, "destinationName": name, "data": data, "signals": ["TRACES", "METRICS", "LOGS"],
                "sourceSelector": {"dataStreams": [stream]}, "delivery": {"persistentQueue": true},
                "metricsSettings": {"odigosOwnMetricsEnabled": true, "serviceGraphEnabled": true, "spanMetricsEnabled": true},
            },
        })
    };
    let pods = json!({"spec": {"containers": [{"name": "app"}, {"name": "x"}]}});
    let objects = [
        secret,
        destination("all", "otlp", json!({"OTLP_GRPC_ENDPOINT": "backend:4317"}), "default"),
        destination(
            "clicks",
            "clickhouse",
            json!({"CLICKHOUSE_ENDPOINT": "http://clickhouse:8123", "CLICKHOUSE_DATABASE_NAME": "otel"}),
            "x",
        ),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"template": pods}, "status": {"availableReplicas": 1}}),
        json!({"apiVersion": odigos_api::API_VERSION, "kind": "Source", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"workload": {"name": "web", "namespace": "shop", "kind": "Deployment"}}}),
        json!({
            "apiVersion": odigos_api::API_VERSION, "kind": "InstrumentationConfig", "metadata": {"name": "deployment-web", "namespace": "shop"},
            "spec": {"agentInjectionEnabled": false}, "status": {"runtimeDetailsByContainer": [{"containerName": "app", "language": "java"}]},
        }),
        json!({
            "apiVersion": odigos_api::API_VERSION, "kind": "Sampling", "metadata": {"name": "rules"},
            "spec": {"noisyOperations": [{"operation": {"httpServer": {"route": "/healthz", "method": "GET"}}}], "costReductionRules": [{"percentageAtMost": 10}]},
        }),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names::CONFIGURATION},
            "data": {names::CONFIGURATION_KEY: configuration},
        }),
    ];
    objects.into_iter().for_each(|object| world.insert(object).unwrap());
    world.settle(jiff::Timestamp::UNIX_EPOCH);
    let shown: Vec<_> =
        world.outputs.iter().filter(|((_, _, (_, name)), _)| name != names::EFFECTIVE_CONFIGURATION).collect();
    let configuration = world.stated_configuration(&mut Vec::new());
    let types: Vec<bool> =
        ["dynamic", "file"].iter().map(|one| gateway::allowed_types::problem(&configuration, one).is_some()).collect();
    format!(
        "{shown:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{types:?}\n{}",
        world.groups,
        world.configs,
        injection::Options::of(&configuration, names::DEFAULT_NAMESPACE),
        instrumentation::Options::of(&configuration, names::DEFAULT_NAMESPACE),
        detection::Options::of(&configuration),
        Permission::of(&configuration),
        scheduling::stream_quota(&configuration),
    )
}

fn is_nothing(value: &Value) -> bool {
    matches!(value, Value::String(text) if text.is_empty())
        || value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(serde_json::Map::is_empty)
}

/// Whether a finding is about the key: itself, a part of it, or the other spelling.
fn names_key(field: &str, path: &str) -> bool {
    field == path || field.strip_prefix(path).is_some_and(|rest| rest.starts_with(['.', '[']))
}

#[test]
fn every_key_has_an_effect_or_a_finding_for_odd_values() {
    let (mut silent, mut outcomes) = (Vec::new(), BTreeMap::new());
    for key in KEYS.iter().filter(|key| key.effect != Effect::Alias && key.shape != Shape::Block) {
        let path = example(key);
        let companions: Vec<(&str, Value)> = COMPANIONS
            .iter()
            .filter(|(start, with, _)| path.starts_with(start) && *with != path)
            .map(|(_, with, value)| (*with, serde_json::from_str(value).unwrap()))
            .collect();
        let mut compared = 0;
        for value in odd_values() {
            let text = document(&[companions.as_slice(), &[(path.as_str(), value.clone())]].concat());
            let merged = effective(&text, None, None, names::DEFAULT_NAMESPACE);
            let found: Vec<_> = merged.findings.iter().chain(merged.result.as_ref().err()).collect();
            let is_reported = found.iter().any(|one| names_key(&one.field, &path));
            let is_exempt = is_nothing(&value) || READ_ELSEWHERE.iter().any(|(other, _)| *other == path);
            let shown = value.to_string();
            let is_default = values::default(key).is_some_and(|default| default.trim_matches('`') == shown);
            // What switches off a key that nothing reads asks for what happens.
            let is_off = key.effect == Effect::None && [json!(0), json!("")].contains(&value);
            if is_reported || is_exempt || is_off || is_default || compared >= COMPARED {
                continue;
            }
            compared += 1;
            let base = document(&companions);
            let without = outcomes.entry(base.clone()).or_insert_with(|| outcome(&base));
            if outcome(&text) == *without {
                silent.push(format!("{path}: {value}"));
            }
        }
    }
    assert!(silent.is_empty(), "{} values are silent:\n{}", silent.len(), silent.join("\n"));
}

/// What is accepted, is: one value for each kind of key, without a finding.
#[test]
fn usual_values_of_every_shape_are_accepted() {
    for (path, value) in [
        ("agentsImage", json!("registry.example.com/odigos/agents:1.2.3")),
        ("collectorGateway.httpsProxyAddress", json!("http://proxy:3128")),
        ("collectorGateway.nodeSelector", json!({"kubernetes.io/os": "linux"})),
        ("collectorGateway.memoryRequest", json!(500)),
        ("collectorNode.k8sNodeLogsDirectory", json!("/mnt/logs")),
        ("collectorNode.collectorOwnMetricsPort", json!(55_690)),
        ("metricsSources.spanMetrics.explicitHistogramBuckets", json!(["2ms", "1s", "1m"])),
        ("metricsSources.spanMetrics.additionalDimensions", json!(["tenant", "db.system"])),
        ("sampling.tailSampling.traceAggregationWaitDuration", json!("1m30s")),
        ("imagePullSecrets", json!(["regcred"])),
        ("processors.additionalTypes", json!(["k8s_attributes"])),
        ("processors.roles", json!(["NODE_COLLECTOR"])),
        ("destinations.additionalTypes", json!(["file"])),
        ("rollout.brakeReleasedAt", json!("2026-01-31T12:00:00Z")),
        ("collectorGateway.queueVolume.size", json!("2Gi")),
        ("collectorGateway.deploymentName", json!("my-gateway")),
        ("unownedTelemetry.dataStreams", json!(["shop"])),
    ] {
        let text = document(&[(path, value.clone())]);
        let merged = effective(&text, None, None, names::DEFAULT_NAMESPACE);
        assert_eq!(merged.findings, [], "{path}: {value}");
        assert!(merged.result.is_ok(), "{path}");
    }
}
