//! The 64 rows of `spec/sampling.md` 12 as data (`scenarios.yaml`), for the pure tests here and for the test kit, which runs
//! the same rows through the real collector.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test data: a row of another shape ends the test")]

use super::accept::{Accepted, accept};
use super::probes::{self, Probe};
use super::rule::{ContainerKey, Percentage, Rule, SourceKey};
use super::span::{Attributes, Span, SpanKind};
use odigos_api::WorkloadKind;
use odigos_api::sampling::Sampling;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Accepted rules of one Sampling spec in YAML.
#[must_use]
pub fn rules(spec: &str) -> Vec<Rule> {
    accepted(&[serde_yaml::from_str(spec).unwrap()]).rules
}

/// Accepted rules of several Sampling specs.
#[must_use]
pub fn accepted(specs: &[Value]) -> Accepted {
    let objects: Vec<Sampling> = specs
        .iter()
        .enumerate()
        .map(|(n, spec)| {
            let object = json!({
                "apiVersion": "odigos.io/v1alpha1", "kind": "Sampling",
                "metadata": {"name": format!("s{n}"), "namespace": "odigos-system"}, "spec": spec,
            });
            serde_json::from_value(object).unwrap()
        })
        .collect();
    accept(&objects)
}

/// Accepted rules of a row.
#[must_use]
pub fn rules_of(row: &Value) -> Accepted {
    let specs = match row.get("objects").and_then(Value::as_array) {
        Some(objects) => objects.clone(),
        None => row.get("rules").cloned().into_iter().collect(),
    };
    let mut accepted = accepted(&specs);
    let mut found: BTreeMap<ContainerKey, BTreeSet<Probe>> = BTreeMap::new();
    for (container, path) in row.get("probes").and_then(Value::as_object).into_iter().flatten() {
        let source = SourceKey { namespace: "a".into(), kind: WorkloadKind::Deployment, name: "web".into() };
        let path = path.as_str().unwrap();
        let probe = if path.is_empty() { json!({"exec": {}}) } else { json!({"httpGet": {"path": path}}) };
        let of = probes::of_container(&json!({"livenessProbe": probe}));
        found.insert(ContainerKey { source, container: container.clone() }, of);
    }
    accepted.add(probes::rules(&found, Percentage::ZERO));
    accepted
}

/// The resource of a workload of the rows, e.g. `a` for the Deployment `web` of namespace `a`.
#[must_use]
pub fn resource_of(name: &str) -> std::sync::Arc<Attributes> {
    std::sync::Arc::new(resource(name))
}

fn resource(name: &str) -> Attributes {
    let (namespace, workload, language, container) = match name {
        "b" => ("b", "x", "java", "web"),
        "c" => ("c", "y", "java", "web"),
        "a-python" => ("a", "py", "python", "web"),
        "sidecar" => ("a", "web", "java", "sidecar"),
        _ => ("a", "web", "java", "web"),
    };
    let mut pairs = vec![("service.name", workload), ("telemetry.sdk.language", language)];
    if name != "foreign" {
        pairs.extend([
            ("k8s.namespace.name", namespace),
            ("k8s.deployment.name", workload),
            ("odigos.workload.kind", "Deployment"),
            ("odigos.workload.name", workload),
            ("k8s.container.name", container),
        ]);
    }
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The spans of a row with a trace id.
#[must_use]
pub fn trace_of(row: &Value, trace_id: [u8; 16]) -> Vec<Span> {
    let spans = row["trace"].as_array().unwrap();
    let spans = spans.iter().enumerate().map(|(position, span)| {
        let start = 1_000_000_000_000 + span["after"].as_u64().unwrap_or_default() * 1_000_000;
        let took = (span["ms"].as_f64().unwrap_or(1.0) * 1_000_000.0).round() as u64;
        let attributes = span["at"].as_object().into_iter().flatten();
        Span {
            trace_id,
            has_parent: !span["root"].as_bool().unwrap_or(position == 0),
            kind: match span["kind"].as_str() {
                Some("CLIENT") => SpanKind::Client,
                Some("CONSUMER") => SpanKind::Consumer,
                Some("PRODUCER") => SpanKind::Producer,
                _ => SpanKind::Server,
            },
            start,
            end: start + took,
            error: span["error"].as_bool().unwrap_or_default(),
            attributes: attributes.map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect(),
            resource: Arc::new(resource(span["of"].as_str().unwrap_or_default())),
        }
    });
    spans.collect()
}

/// The rows, in order.
#[must_use]
pub fn rows() -> Vec<Value> {
    serde_yaml::from_str(include_str!("scenarios.yaml")).unwrap()
}
