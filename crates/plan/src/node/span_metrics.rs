//! Metrics from spans, computed on the node before anything is sampled away.
//!
//! Owns the span metrics connector, its dimensions and its pipelines (`spec/collectors-and-pipelines.md` 5.7). Never decides
//! whether somebody wants them ([`crate::groups`]).

use super::pipelines::FORWARD_SPAN_METRICS;
use crate::configuration::DEFAULT_EXPIRATION;
use odigos_api::Signal;
use odigos_api::collectors_group::SpanMetrics;
use odigos_api::labels::STREAM_CLASS_ATTRIBUTE;
use odigos_pipeline::ottl::{Condition, Expression, Path, Statement};
use odigos_pipeline::{CollectorConfig, ComponentKind, Pipeline, expansion};
use serde_json::json;
use std::collections::BTreeSet;

/// Dimensions that every span metric has (spec 5.7).
const SPAN_METRIC_DIMENSIONS: [&str; 6] = [
    "http.method",
    "http.request.method",
    "http.status_code",
    "http.response.status_code",
    "http.route",
    "span.instrumentation.scope.name",
];

/// Resource attributes that would split series by process.
const PROCESS_ATTRIBUTES: [&str; 7] = [
    "process.command",
    "process.command_args",
    "process.executable.name",
    "process.executable.path",
    "process.parent_pid",
    "process.pid",
    "process.vpid",
];

const SPAN_METRIC_BUCKETS: [&str; 16] = [
    "2ms", "4ms", "6ms", "8ms", "10ms", "50ms", "100ms", "200ms", "400ms", "800ms", "1s", "1400ms", "2s", "5s", "10s",
    "15s",
];

/// Where the name of a service is kept while Actions change the spans that are measured.
const SERVICE: &str = "odigos.measured.service";

/// Lets what `processors` do leave the name of the service: the connector passes over spans without it.
pub(super) fn keep_service(config: &mut CollectorConfig, processors: &mut Vec<String>) {
    let attribute = |key: &str| Expression::from(Path::keyed("attributes", key));
    let name = || attribute("service.name");
    let set = |to: Expression, from: Expression, condition: Option<Condition>| Statement {
        editor: "set",
        arguments: vec![to, from],
        condition,
    };
    let is_gone = Condition::Equal(name(), Expression::Nil);
    let delete = Statement {
        editor: "delete_key",
        arguments: vec![Path::field("attributes").into(), SERVICE.into()],
        condition: None,
    };
    let steps = [
        ("transform/spanmetrics/keep-service", vec![set(attribute(SERVICE), name(), None)]),
        ("transform/spanmetrics/restore-service", vec![set(name(), attribute(SERVICE), Some(is_gone)), delete]),
    ];
    for (id, statements) in &steps {
        let statements: Vec<String> = statements.iter().map(ToString::to_string).collect();
        let group = json!([{"context": "resource", "statements": statements}]);
        config.add(ComponentKind::Processor, *id, json!({"error_mode": "ignore", "trace_statements": group}));
    }
    let [(keep, _), (restore, _)] = steps;
    processors.insert(0, keep.to_owned());
    processors.push(restore.to_owned());
}

/// Metrics from spans, computed before anything is sampled away (spec 5.7).
/// `processors` are what spans pass before, so that metrics show them as they leave gateways.
pub(super) fn add(config: &mut CollectorConfig, settings: &SpanMetrics, mut processors: Vec<String>, way_out: String) {
    let mut dimensions: BTreeSet<&str> = SPAN_METRIC_DIMENSIONS.into();
    let mut names: Vec<&str> = SPAN_METRIC_DIMENSIONS.to_vec();
    for extra in settings.additional_dimensions.iter().flatten() {
        // The connector refuses a dimension named twice.
        if dimensions.insert(extra) {
            names.push(extra);
        }
    }
    let default_keys =
        ["service.name", "k8s.namespace.name", "k8s.pod.name", "telemetry.sdk.language"].map(str::to_owned);
    let mut keys =
        settings.resource_metrics_key_attributes.clone().filter(|k| !k.is_empty()).unwrap_or(default_keys.to_vec());
    // Spans of one pod before and after it changes its streams are counted apart: what was counted for one stream is never
    // added to, nor sent to, another.
    if !keys.iter().any(|key| key == STREAM_CLASS_ATTRIBUTE) {
        keys.push(STREAM_CLASS_ATTRIBUTE.to_owned());
    }
    let histogram = if settings.histogram_disabled == Some(true) {
        json!({"disable": true})
    } else {
        let own = settings.explicit_histogram_buckets.as_ref().filter(|buckets| !buckets.is_empty());
        let buckets = own.cloned().unwrap_or_else(|| SPAN_METRIC_BUCKETS.map(str::to_owned).to_vec());
        json!({"explicit": {"buckets": buckets}})
    };
    config.add(
        ComponentKind::Connector,
        "span_metrics",
        expansion::escaped(json!({
            "dimensions": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
            "exemplars": {"enabled": false},
            "aggregation_temporality": "AGGREGATION_TEMPORALITY_CUMULATIVE",
            "metrics_flush_interval": settings.interval.as_deref().unwrap_or("60s"),
            "metrics_expiration": settings.metrics_expiration.as_deref().unwrap_or(DEFAULT_EXPIRATION),
            // exception.message is unbounded, so it is no dimension here.
            "events": {"enabled": true, "dimensions": [{"name": "exception.type"}]},
            "histogram": histogram,
            "add_resource_attributes": true,
            "resource_metrics_key_attributes": keys,
            "aggregation_cardinality_limit": 5000,
        })),
    );
    let mut removed: BTreeSet<&str> = ["telemetry.sdk.name", "telemetry.sdk.version"].into();
    if settings.included_process_in_dimensions != Some(true) {
        removed.extend(PROCESS_ATTRIBUTES);
    }
    removed.extend(settings.excluded_resource_attributes.iter().flatten().map(String::as_str));
    // The gateway routes by it, and removes it itself.
    removed.remove(STREAM_CLASS_ATTRIBUTE);
    config.add(
        ComponentKind::Processor,
        "resource/spanmetrics/remove-dimensions",
        expansion::escaped(
            json!({"attributes": removed.iter().map(|key| json!({"key": key, "action": "delete"})).collect::<Vec<_>>()}),
        ),
    );
    config.add(
        ComponentKind::Processor,
        "transform/copy-scope-span-metrics",
        json!({
            "error_mode": "ignore",
            "trace_statements": [{
                "context": "span",
                "statements": [r#"set(attributes["span.instrumentation.scope.name"], instrumentation_scope.name)"#],
            }],
        }),
    );
    processors
        .extend(["transform/copy-scope-span-metrics", "resource/spanmetrics/remove-dimensions"].map(str::to_owned));
    *config.pipeline(Signal::Traces, "spanmetrics") =
        Pipeline { receivers: vec![FORWARD_SPAN_METRICS.into()], processors, exporters: vec!["span_metrics".into()] };
    *config.pipeline(Signal::Metrics, "spanmetrics-exporting") =
        Pipeline { receivers: vec!["span_metrics".into()], processors: vec![], exporters: vec![way_out] };
}
