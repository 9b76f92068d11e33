//! What the gateway and the node collector have in common: memory limiter, queues, self telemetry.
//!
//! Owns the shared numbers and shapes of `spec/collectors-and-pipelines.md` 1.3, 4.3 and 4.6. Never decides which
//! pipelines exist.

use odigos_api::collectors_group::ResourcesSettings;
use odigos_api::labels::STREAM_CLASS_ATTRIBUTE;
use odigos_api::{CollectorRole, Signal};
use odigos_pipeline::{CollectorConfig, ComponentKind};
use serde_json::{Map, Value, json};

/// Id of the memory limiter, first in every root pipeline.
pub const MEMORY_LIMITER: &str = "memory_limiter";
/// Id of the processor that removes the class attribute.
pub const STRIP_CLASS: &str = "resource/stream-class";
/// Bytes of one MiB.
const MEBIBYTE: i64 = 1024 * 1024;

/// Adds the memory limiter and the processor that removes the class attribute.
pub fn add_guards(config: &mut CollectorConfig, resources: &ResourcesSettings) {
    config.add(
        ComponentKind::Processor,
        MEMORY_LIMITER,
        json!({
            "check_interval": "500ms",
            "limit_mib": resources.memory_limiter_limit_mib,
            "spike_limit_mib": resources.memory_limiter_spike_limit_mib,
        }),
    );
    config.add(ComponentKind::Processor, STRIP_CLASS, class_remover());
}

fn class_remover() -> Value {
    json!({"attributes": [{"key": STREAM_CLASS_ATTRIBUTE, "action": "delete"}]})
}

/// Adds the processor that removes the class attribute in the pipeline of a stream; returns its id. No Processor of a user has a
/// slash in its name.
pub fn add_class_remover(config: &mut CollectorConfig, pipeline: &str) -> String {
    let id = format!("{STRIP_CLASS}/{pipeline}");
    config.add(ComponentKind::Processor, id.clone(), class_remover());
    id
}

/// The health endpoint that probes read.
pub fn add_health_check(config: &mut CollectorConfig) {
    let endpoint = format!("0.0.0.0:{}", odigos_api::names::HEALTH_PORT);
    config.add(ComponentKind::Extension, "health_check", json!({"endpoint": endpoint}));
    config.started_extensions.insert("health_check".into());
}

/// A sending queue bounded in bytes, so that a dead backend costs a known amount of memory and never blocks the
/// pipelines of others (spec 4.6). Batches are formed inside the queue; no batch processor is needed.
#[must_use]
pub fn sending_queue(bytes: i64) -> Value {
    json!({
        "enabled": true,
        "sizer": "bytes",
        "queue_size": bytes,
        "num_consumers": 4,
        "block_on_overflow": false,
        "batch": {"flush_timeout": "200ms", "sizer": "items", "min_size": 2048, "max_size": 8192},
    })
}

/// How many bytes each of `queues` queues may hold: together half of the hard memory limit.
#[must_use]
pub fn queue_bytes(resources: &ResourcesSettings, queues: usize) -> i64 {
    let half = i64::from(resources.memory_limiter_limit_mib) * MEBIBYTE / 2;
    let share = half / i64::try_from(queues.max(1)).unwrap_or(i64::MAX);
    // Smaller than one large request would make the queue useless.
    share.max(MEBIBYTE)
}

/// `service.telemetry`: own metrics on `host` and `port`, logs at `level`, the pod (and node) as resource.
#[must_use]
pub fn telemetry(host: &str, port: i32, level: &str, resource: &[(&str, &str)], push: Option<Value>) -> Value {
    let pull = json!({"pull": {"exporter": {"prometheus": {
        "host": host,
        "port": port,
        "without_scope_info": true,
        "without_type_suffix": true,
        "without_units": true,
    }}}});
    let mut readers = vec![pull];
    readers.extend(push);
    let resource: Map<String, Value> = resource.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    json!({
        "logs": {"encoding": "json", "level": level},
        "metrics": {"level": "detailed", "readers": readers},
        "resource": resource,
    })
}

/// The self-metrics pipeline that every collector has; it also makes a configuration without any destination valid.
pub fn add_own_telemetry(config: &mut CollectorConfig, own: &OwnTelemetry<'_>) {
    let mut jobs = vec![scrape_job("otelcol", own.port, ".*odigos.*|otelcol_exporter_sent.*")];
    jobs.extend(own.extra_job.clone());
    config.add(ComponentKind::Receiver, own.receiver, json!({"config": {"scrape_configs": jobs}}));
    let pod = json!({"attributes": own.identity.iter().map(|(key, value)| json!({"key": key, "action": "upsert", "value": value})).collect::<Vec<_>>()});
    config.add(ComponentKind::Processor, "resource/pod-name", pod);
    config.add(
        ComponentKind::Processor,
        "resource/odigos-collector-role",
        json!({"attributes": [{"key": "odigos.collector.role", "action": "upsert", "value": own.role.as_str()}]}),
    );
    // No UI is deployed (`ui.mode`). An address that no component serves would be an error in the log every ten seconds.
    config.add(ComponentKind::Exporter, "nop", json!({}));
    let pipeline = config.pipeline(Signal::Metrics, own.pipeline);
    pipeline.receivers = vec![own.receiver.to_owned()];
    pipeline.processors = vec!["resource/pod-name".into(), "resource/odigos-collector-role".into()];
    pipeline.exporters = vec!["nop".into()];
}

/// What [`add_own_telemetry`] needs to know.
#[derive(Debug)]
pub struct OwnTelemetry<'a> {
    /// Which collector.
    pub role: CollectorRole,
    /// Port of its own metrics.
    pub port: i32,
    /// Id of the Prometheus receiver.
    pub receiver: &'a str,
    /// Name of the pipeline behind `metrics/`.
    pub pipeline: &'a str,
    /// Resource attributes that tell collectors apart.
    pub identity: &'a [(&'a str, &'a str)],
    /// A second scrape job, e.g. of the service graph.
    pub extra_job: Option<Value>,
}

/// A scrape job on this machine that keeps the metrics whose name matches `keep`.
#[must_use]
pub fn scrape_job(name: &str, port: i32, keep: &str) -> Value {
    json!({
        "job_name": name,
        "scrape_interval": "10s",
        "enable_compression": false,
        "static_configs": [{"targets": [format!("127.0.0.1:{port}")]}],
        "metric_relabel_configs": [{"source_labels": ["__name__"], "regex": keep, "action": "keep"}],
    })
}
