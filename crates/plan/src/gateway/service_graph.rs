//! The service graph: which services call which, computed from spans before anything is sampled away.
//!
//! Owns the connector, its port on loopback, and how its metrics reach the destinations that request them
//! (`metricsSettings.serviceGraphEnabled`). An edge has two ends: it reaches a destination if the streams of both ends do, so
//! that no stream learns from it what another one runs. Never decides how destinations are rendered.

use super::destinations::Fragment;
use super::intake;
use crate::collector;
use crate::streams::{self, DEFAULT_CLASS, Selection, VOID_CLASS};
use odigos_api::Signal;
use odigos_api::collectors_group::CollectorsGroupSpec;
use odigos_api::labels::{DEFAULT_STREAM, STREAM_CLASS_ATTRIBUTE};
use odigos_pipeline::ottl::{Condition, Expression, Path};
use odigos_pipeline::{CollectorConfig, ComponentKind, Pipeline, expansion};
use serde_json::{Value, json};

/// Id of the connector; the spelling that every release since 0.154 takes.
const CONNECTOR: &str = "servicegraph";
/// Port on which its metrics can be scraped inside the pod.
const PORT: i32 = 9090;
/// Gives spans without a class the class `default`, so that an end without class is one that sent no span.
const DEFAULT_CLASS_PROCESSOR: &str = "resource/default-class";
/// Names the gateway that computed the metrics: each one counts what passes it.
const ORIGIN: &str = "resource/servicegraph/origin";

/// Whether the gateway computes it at all.
pub(super) fn is_on(spec: &CollectorsGroupSpec) -> bool {
    spec.service_graph_disabled != Some(true)
}

fn wanting(fragments: &[Fragment]) -> impl Iterator<Item = (&Fragment, String)> {
    let wanting = fragments.iter().filter(|fragment| fragment.wanted.service_graph);
    wanting.filter_map(|fragment| Some((fragment, fragment.forward(Signal::Metrics)?)))
}

/// Whether a destination gets its metrics; spans are needed for them then, whatever destinations take traces.
pub(super) fn is_wanted(spec: &CollectorsGroupSpec, fragments: &[Fragment]) -> bool {
    is_on(spec) && wanting(fragments).next().is_some()
}

/// The job that reads its port.
pub(super) fn scrape_job() -> Value {
    collector::scrape_job("servicegraph", PORT, "servicegraph_traces_service_graph_request_total")
}

/// The root of traces where no destination takes any: spans are counted, and go no further.
pub(super) fn add_root(config: &mut CollectorConfig, spec: &CollectorsGroupSpec, fragments: &[Fragment]) {
    let mut root = Pipeline {
        receivers: intake::of_root(config, Signal::Traces),
        processors: vec![collector::MEMORY_LIMITER.into()],
        exporters: Vec::new(),
    };
    add_to_root(config, &mut root, spec, fragments);
    *config.pipeline(Signal::Traces, "in") = root;
}

/// Adds the connector behind the root of traces, and the pipelines of its metrics.
pub(super) fn add_to_root(
    config: &mut CollectorConfig,
    root: &mut Pipeline,
    spec: &CollectorsGroupSpec,
    fragments: &[Fragment],
) {
    let is_exported = is_wanted(spec, fragments);
    let mut dimensions = vec!["service.name".to_owned()];
    dimensions.extend(spec.service_graph_extra_dimensions.iter().flatten().cloned());
    // Whose metrics are exported, and what tells that traces are cut between streams ([`crate::trace_cuts`]), go by the class.
    if !dimensions.iter().any(|one| one == STREAM_CLASS_ATTRIBUTE) {
        dimensions.push(STREAM_CLASS_ATTRIBUTE.to_owned());
    }
    // Room for the edges that wait for their other half; the connector's own default of 1000 loses edges.
    let items = i64::from(spec.resources_settings.memory_limiter_limit_mib) * 25;
    let mut settings = json!({
        "store": {"ttl": "15s", "max_items": items},
        "store_expiration_loop": "5s",
        "dimensions": dimensions,
    });
    if let Some(peers) = spec.service_graph_virtual_node_peer_attributes.as_ref().filter(|peers| !peers.is_empty()) {
        settings["virtual_node_peer_attributes"] = json!(peers);
    }
    config.add(ComponentKind::Connector, CONNECTOR, expansion::escaped(settings));
    let endpoint = format!("localhost:{PORT}");
    config.add(
        ComponentKind::Exporter,
        "prometheus/servicegraph",
        json!({"endpoint": endpoint, "namespace": "servicegraph"}),
    );
    *config.pipeline(Signal::Metrics, "servicegraph") = Pipeline {
        receivers: vec![CONNECTOR.into()],
        processors: vec![],
        exporters: vec!["prometheus/servicegraph".into()],
    };
    root.exporters.push(CONNECTOR.into());
    if !is_exported {
        return;
    }
    config.add(ComponentKind::Processor, DEFAULT_CLASS_PROCESSOR, default_class());
    // Before the processors of users, which never see whether a class was there.
    root.processors.insert(root.processors.len().min(1), DEFAULT_CLASS_PROCESSOR.to_owned());
    config.add(ComponentKind::Processor, ORIGIN, origin(&super::name(spec)));
    for (fragment, forward) in wanting(fragments) {
        let filter = format!("filter/servicegraph/{}", fragment.name);
        config.add(ComponentKind::Processor, filter.clone(), edges_of_others(spec, &fragment.selection));
        *config.pipeline(Signal::Metrics, format!("servicegraph.{}", fragment.name)) = Pipeline {
            receivers: vec![CONNECTOR.into()],
            processors: vec![filter, ORIGIN.into()],
            exporters: vec![forward],
        };
    }
}

fn default_class() -> Value {
    json!({"attributes": [{"key": STREAM_CLASS_ATTRIBUTE, "action": "insert", "value": DEFAULT_CLASS}]})
}

fn origin(gateway: &str) -> Value {
    let attributes =
        [("service.name", gateway), ("service.instance.id", "${env:POD_NAME}"), ("k8s.pod.name", "${env:POD_NAME}")];
    let attributes = attributes.map(|(key, value)| json!({"key": key, "action": "upsert", "value": value}));
    json!({"attributes": attributes})
}

/// Drops the edges of which an end is in no stream of the destination. The class stays among the labels: it keeps apart what a
/// workload did in one set of streams and in the next.
fn edges_of_others(spec: &CollectorsGroupSpec, selection: &Selection) -> Value {
    let reaches = |class: &&odigos_api::collectors_group::StreamClass| {
        class.id != VOID_CLASS
            && !streams::is_off(class, Signal::Metrics)
            && class.streams.iter().any(|stream| selection.includes(stream))
    };
    let mut classes: Vec<&str> = spec.stream_classes.iter().filter(reaches).map(|class| class.id.as_str()).collect();
    if selection.includes(DEFAULT_STREAM) {
        classes.push(DEFAULT_CLASS);
    }
    let dropped = ["client", "server"].map(|end| {
        let class = || Expression::from(Path::keyed("attributes", format!("{end}_{STREAM_CLASS_ATTRIBUTE}")));
        let known = classes.iter().map(|id| Condition::Equal(class(), (*id).into())).collect();
        Condition::All(vec![
            Condition::NotEqual(class(), Expression::Nil),
            Condition::Not(Box::new(Condition::Any(known))),
        ])
        .to_string()
    });
    json!({"error_mode": "ignore", "metrics": {"datapoint": dropped}})
}
