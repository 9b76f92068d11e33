//! How much each source sends, counted on its node.
//!
//! Owns the counts by workload of `spec/collectors-and-pipelines.md` 9 in our form: items, by the stock count connector, on a
//! port of the collector; one series for each workload of the node and kind of item. What a sender repeats is counted again.
//! Bytes are not counted by workload: `deploy/observability/alerts.yaml` estimates them from the items.

use super::pipelines::pipeline_of;
use super::senders::Origin;
use crate::counts;
use odigos_api::{Signal, names};
use odigos_pipeline::{CollectorConfig, PipelineId};
use serde_json::{Value, json};

const NAME: &str = "sources";
/// What tells a source; items of pods that nothing covers carry none of the product's own, and are not counted.
const LABELS: [&str; 3] = ["k8s.namespace.name", "odigos.workload.kind", "odigos.workload.name"];

/// Counts what the pipelines of each signal that start on this node pass on, and serves the counts on `host`.
pub(super) fn add(config: &mut CollectorConfig, host: &str) {
    let mut is_counted = false;
    for signal in Signal::PIPELINES {
        for origin in [Origin::Sent, Origin::Read] {
            if let Some(pipeline) = config.pipelines.get_mut(&PipelineId::new(signal, pipeline_of(origin))) {
                pipeline.exporters.push(counts::connector(NAME));
                is_counted = true;
            }
        }
    }
    if is_counted {
        counts::add(config, NAME, counted(), &format!("{host}:{}", names::SOURCE_METRICS_PORT));
    }
}

fn counted() -> Value {
    let by_source = |what: &str| {
        let labels: Vec<Value> = LABELS.iter().map(|label| json!({"key": label})).collect();
        json!({"description": format!("{what} that a source has sent through this node."), "attributes": labels})
    };
    json!({
        "spans": {"odigos.source.spans": by_source("Spans")},
        "datapoints": {"odigos.source.metric_points": by_source("Data points of metrics")},
        "logs": {"odigos.source.log_records": by_source("Log records")},
        // Left out, the connector would count these two by names of its own; it knows no labels for the second.
        "spanevents": {"odigos.source.span_events": by_source("Events of spans")},
        "metrics": {"odigos.node.metrics": {"description": "Metrics that have passed this node."}},
    })
}
