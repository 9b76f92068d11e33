//! Small manifests for the tests of this crate.

use crate::covered::CoveredNames;
use crate::gateway::{SecretKeys, SecretValue};
use odigos_api::collectors_group::CollectorsGroup;
use odigos_api::destination::Destination;
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::processor::Processor;
use serde_json::{Value, json};

/// A CollectorsGroup with the numbers of `size_m` and whatever `overlay` adds to its spec.
pub(crate) fn collectors_group(name: &str, overlay: Value) -> CollectorsGroup {
    let role = if name == "odigos-gateway" { "CLUSTER_GATEWAY" } else { "NODE_COLLECTOR" };
    let port = if name == "odigos-gateway" { 8888 } else { 55682 };
    let mut spec = json!({
        "role": role,
        "collectorOwnMetricsPort": port,
        "resourcesSettings": {
            "minReplicas": 2, "maxReplicas": 8, "memoryRequestMiB": 600, "memoryLimitMiB": 600,
            "cpuRequestMillicores": 1000, "cpuLimitMillicores": 1000,
            "memoryLimiterLimitMiB": 550, "memoryLimiterSpikeLimitMiB": 110, "gomemlimitMiB": 440,
        },
    });
    if let (Some(spec), Value::Object(overlay)) = (spec.as_object_mut(), overlay) {
        spec.extend(overlay);
    }
    parse("CollectorsGroup", name, spec)
}

pub(crate) fn destination(name: &str, type_: &str, signals: &[&str], data: Value) -> Destination {
    destination_with(name, type_, signals, data, Value::Null)
}

pub(crate) fn destination_with(name: &str, type_: &str, signals: &[&str], data: Value, selector: Value) -> Destination {
    let mut spec = json!({"type": type_, "destinationName": name, "data": data, "signals": signals});
    if !selector.is_null() {
        spec["sourceSelector"] = selector;
    }
    parse("Destination", name, spec)
}

/// A `resource` processor for all signals of the gateway.
pub(crate) fn processor(name: &str, hint: i32) -> Processor {
    let config = json!({"attributes": [{"key": "k", "action": "delete"}]});
    parse(
        "Processor",
        name,
        json!({
            "type": "resource", "processorName": name, "signals": ["TRACES", "METRICS", "LOGS"],
            "collectorRoles": ["CLUSTER_GATEWAY"], "orderHint": hint, "processorConfig": config,
        }),
    )
}

/// Names of one covered workload, `Deployment shop/web` in Java and in the data stream `money`.
pub(crate) fn covered_names() -> CoveredNames {
    let labels = json!({"odigos.io/data-stream-money": "true", "odigos.io/data-stream-old": "false"});
    let config: InstrumentationConfig = serde_json::from_value(json!({
        "apiVersion": odigos_api::API_VERSION, "kind": "InstrumentationConfig",
        "metadata": {"name": "deployment-web", "namespace": "shop", "labels": labels},
        "spec": {"agentInjectionEnabled": true},
        "status": {"runtimeDetailsByContainer": [{"containerName": "app", "language": "java"}]},
    }))
    .unwrap();
    CoveredNames::of([("shop", "deployment-web", &config)])
}

pub(crate) fn secret(keys: &[&str]) -> SecretKeys {
    keys.iter().map(|key| ((*key).to_owned(), SecretValue::to_come(key))).collect()
}

fn parse<K: serde::de::DeserializeOwned>(kind: &str, name: &str, spec: Value) -> K {
    serde_json::from_value(json!({
        "apiVersion": odigos_api::API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": "odigos-system"},
        "spec": spec,
    }))
    .unwrap()
}
