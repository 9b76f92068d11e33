//! Where a Processor for the node that is limited to data streams runs.
//!
//! Owns that choice, and the guard that keeps one on the node to its streams. All items of a node pass the same pipelines, so
//! streams are told apart by the class of an item: a `transform` processor takes a condition for each of its statements; what
//! takes none runs in the gateway, in the pipelines of its streams; what reads facts of the node runs nowhere. Never decides
//! the order of processors.

use crate::streams::{DEFAULT_CLASS, VOID_CLASS};
use odigos_api::CollectorRole;
use odigos_api::collectors_group::StreamClass;
use odigos_api::labels::{DEFAULT_STREAM, STREAM_CLASS_ATTRIBUTE};
use odigos_api::processor::ProcessorSpec;
use odigos_pipeline::ottl::{Condition, Expression, Path};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Types that read facts of the node or of its pods, which the gateway does not have.
const NODE_ONLY: [&str; 4] = ["k8s_attributes", "k8sattributes", "resource_detection", "resourcedetection"];

/// How the collector of a role runs a Processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// As it is written.
    AsWritten,
    /// Not at all: it is for the other collector.
    Elsewhere,
    /// On the node, by statements that look at the class.
    Guarded(Vec<String>),
    /// In the gateway, although it is for nodes.
    Moved(Vec<String>),
    /// It cannot be limited to streams.
    Refused,
}

impl Placement {
    /// Where `spec` runs, as far as the collector of `role` is concerned.
    pub(super) fn of(role: CollectorRole, spec: &ProcessorSpec) -> Self {
        let is_for = |role: CollectorRole| spec.collector_roles.contains(&role);
        let streams = spec.data_streams.iter().flatten().cloned().collect::<Vec<_>>();
        let is_limited = !streams.is_empty() && is_for(CollectorRole::NodeCollector);
        let is_guarded = spec.type_ == "transform";
        let is_refused = NODE_ONLY.contains(&spec.type_.as_str());
        match role {
            CollectorRole::NodeCollector if is_limited && is_guarded => Self::Guarded(streams),
            CollectorRole::NodeCollector if is_limited && is_refused => Self::Refused,
            CollectorRole::NodeCollector if is_limited || !is_for(role) => Self::Elsewhere,
            // One for no collector at all is reported by the gateway.
            CollectorRole::ClusterGateway if is_for(role) || spec.collector_roles.is_empty() => Self::AsWritten,
            CollectorRole::ClusterGateway if is_limited && !is_guarded && !is_refused => Self::Moved(streams),
            CollectorRole::ClusterGateway => Self::Elsewhere,
            CollectorRole::NodeCollector => Self::AsWritten,
        }
    }
}

/// Whether the collector of `role` runs a Processor, so that it may be what the collector does not start with.
#[must_use]
pub fn is_run_by(role: CollectorRole, spec: &ProcessorSpec) -> bool {
    !matches!(Placement::of(role, spec), Placement::Elsewhere)
}

/// The classes of items that a Processor for `streams` changes on the node.
pub(super) struct Guard {
    pub(super) condition: Condition,
    /// Streams that see its effect too, since a workload is in them and in one of its own.
    pub(super) others: BTreeSet<String>,
    /// Whether any item can be meant.
    pub(super) is_empty: bool,
}

impl Guard {
    /// Of the classes that gateways know.
    pub(super) fn of(streams: &[String], classes: &[StreamClass]) -> Self {
        let class = || Expression::from(Path::keyed("resource.attributes", STREAM_CLASS_ATTRIBUTE));
        let is_meant =
            |one: &&StreamClass| one.id != VOID_CLASS && one.streams.iter().any(|name| streams.contains(name));
        let meant: Vec<&StreamClass> = classes.iter().filter(is_meant).collect();
        let mut any: Vec<Condition> =
            meant.iter().map(|one| Condition::Equal(class(), one.id.as_str().into())).collect();
        if streams.iter().any(|name| name == DEFAULT_STREAM) {
            // Pods that nothing covers carry no class.
            any.push(Condition::Equal(class(), Expression::Nil));
            any.push(Condition::Equal(class(), DEFAULT_CLASS.into()));
        }
        let others = meant.iter().flat_map(|one| &one.streams);
        let others = others.filter(|name| !streams.contains(name) && !crate::streams::is_virtual(name));
        Self { is_empty: any.is_empty(), others: others.cloned().collect(), condition: Condition::Any(any) }
    }

    /// The settings of a `transform` processor, each of whose statements runs for items of the classes alone.
    pub(super) fn transform(&self, settings: &Value) -> Value {
        let mut settings = settings.clone();
        let guard = self.condition.to_string();
        let lists = settings.as_object_mut().into_iter().flatten().filter(|(key, _)| key.ends_with("_statements"));
        for (_, list) in lists {
            for group in list.as_array_mut().into_iter().flatten() {
                match group {
                    Value::String(statement) => *group = json!({"conditions": [guard], "statements": [statement]}),
                    Value::Object(map) => {
                        let stated = map.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
                        let both = |one: &Value| json!(format!("({}) and ({guard})", one.as_str().unwrap_or_default()));
                        let all =
                            if stated.is_empty() { vec![json!(guard)] } else { stated.iter().map(both).collect() };
                        map.insert("conditions".to_owned(), Value::Array(all));
                    }
                    _ => {}
                }
            }
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(type_: &str, roles: &[&str], streams: &[&str]) -> ProcessorSpec {
        serde_json::from_value(json!({
            "type": type_, "signals": ["TRACES"], "collectorRoles": roles, "dataStreams": streams, "processorConfig": {},
        }))
        .unwrap()
    }

    #[test]
    fn node_processors_of_streams_run_where_streams_can_be_told_apart() {
        use CollectorRole::{ClusterGateway, NodeCollector};
        let of = |type_: &str, roles: &[&str], streams: &[&str]| {
            let spec = spec(type_, roles, streams);
            (Placement::of(NodeCollector, &spec), Placement::of(ClusterGateway, &spec))
        };
        let (node, both) = (&["NODE_COLLECTOR"][..], &["NODE_COLLECTOR", "CLUSTER_GATEWAY"][..]);
        let a = || vec!["a".to_owned()];
        assert_eq!(of("filter", node, &[]), (Placement::AsWritten, Placement::Elsewhere));
        assert_eq!(of("transform", node, &["a"]), (Placement::Guarded(a()), Placement::Elsewhere));
        assert_eq!(of("filter", node, &["a"]), (Placement::Elsewhere, Placement::Moved(a())));
        assert_eq!(of("filter", both, &["a"]), (Placement::Elsewhere, Placement::AsWritten), "once, not twice");
        assert_eq!(of("k8s_attributes", node, &["a"]), (Placement::Refused, Placement::Elsewhere));
        assert_eq!(of("filter", &["CLUSTER_GATEWAY"], &["a"]), (Placement::Elsewhere, Placement::AsWritten));
    }

    #[test]
    fn guard_joins_every_statement_of_a_transform_processor() {
        let classes = |sets: &[(&str, &[&str])]| -> Vec<StreamClass> {
            let class = |(id, streams): &(&str, &[&str])| StreamClass {
                id: (*id).to_owned(),
                streams: streams.iter().map(ToString::to_string).collect(),
                retired_at: None,
            };
            sets.iter().map(class).collect()
        };
        let known = classes(&[("c1", &["a"]), ("c2", &["b"]), ("c3", &["a", "b", "ns:shop"])]);
        let guard = Guard::of(&["a".to_owned()], &known);
        assert_eq!(guard.others, ["b".to_owned()].into());
        let settings = json!({
            "error_mode": "ignore",
            "trace_statements": ["set(span.name, \"x\")", {"context": "span", "conditions": ["p", "q or r"], "statements": ["s"]}],
        });
        let condition = r#"resource.attributes["odigos.stream.class"] == "c1" or resource.attributes["odigos.stream.class"] == "c3""#;
        assert_eq!(
            guard.transform(&settings),
            json!({
                "error_mode": "ignore",
                "trace_statements": [
                    {"conditions": [condition], "statements": ["set(span.name, \"x\")"]},
                    {"context": "span", "conditions": [format!("(p) and ({condition})"), format!("(q or r) and ({condition})")], "statements": ["s"]},
                ],
            })
        );
        assert!(Guard::of(&["unused".to_owned()], &known).is_empty);
        assert!(!Guard::of(&["default".to_owned()], &[]).is_empty, "items without class are of the default stream");
    }
}
