//! What the gateway and the node collector have in common: memory limiter, queues, self telemetry, user processors.
//!
//! Owns the shared numbers and shapes of `spec/collectors-and-pipelines.md` 1.3, 4.3 and 4.6. Never decides which
//! pipelines exist.

use crate::start_failure::processor_key;
use odigos_api::collectors_group::ResourcesSettings;
use odigos_api::condition::{ConditionDraft, kind};
use odigos_api::labels::STREAM_CLASS_ATTRIBUTE;
use odigos_api::processor::Processor;
use odigos_api::{CollectorRole, Finding, Signal};
use odigos_pipeline::graph::check_component_id;
use odigos_pipeline::{CollectorConfig, ComponentKind};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Id of the memory limiter, first in every root pipeline.
pub const MEMORY_LIMITER: &str = "memory_limiter";
/// Id of the processor that removes the class attribute.
pub const STRIP_CLASS: &str = "resource/stream-class";
/// Processors with this hint or more are "late" for traces: after span metrics and sampling.
pub const LATE_HINT: i32 = 10;
/// Bytes of one MiB.
const MEBIBYTE: i64 = 1024 * 1024;

/// Processors of the product's own. A pipeline takes each name once, so users cannot have them too.
const OWN_PROCESSORS: [&str; 14] = [
    "filter/own-kubelet",
    "resource/node-name",
    "resource/odiglet-pod-name",
    "resource/odigos-collector-role",
    "resource/odigos-version",
    "resource/pod-name",
    STRIP_CLASS,
    "tail_sampling/stream",
    "tail_sampling/streams",
    "tail_sampling/what-if",
    "transform/copy-scope-span-metrics",
    "transform/sampling-attributes",
    "transform/tracestate",
    "transform/workload",
];

/// Whether a processor is the product's own, or its own for one stream (`<own>.<stream>`, `<own>/<pipeline>`).
pub(crate) fn is_own(id: &str) -> bool {
    let is_it = |own: &str| id.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/']));
    OWN_PROCESSORS.into_iter().any(is_it)
}

/// Processor types of the stock contrib distribution, in every spelling that release 0.154 or later takes.
const STOCK_PROCESSORS: [&str; 38] = [
    "attributes",
    "batch",
    "cardinality_guardian",
    "cumulative_to_delta",
    "cumulativetodelta",
    "delta_to_cumulative",
    "deltatocumulative",
    "deltatorate",
    "drain",
    "filter",
    "geoip",
    "groupbyattrs",
    "groupbytrace",
    "interval",
    "isolationforest",
    "k8s_attributes",
    "k8sattributes",
    "log_dedup",
    "logdedup",
    "logstransform",
    "memory_limiter",
    "metric_start_time",
    "metrics_transform",
    "metricsgeneration",
    "metricstarttime",
    "metricstransform",
    "probabilistic_sampler",
    "redaction",
    "remotetap",
    "resource",
    "resource_detection",
    "resourcedetection",
    "schema",
    "span",
    "sumologic",
    "tail_sampling",
    "transform",
    "unroll",
];

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

/// `service.telemetry`: own metrics on `port`, logs at `level`, the pod (and node) as resource.
#[must_use]
pub fn telemetry(port: i32, level: &str, resource: &[(&str, &str)], push: Option<Value>) -> Value {
    let pull = json!({"pull": {"exporter": {"prometheus": {
        "host": "0.0.0.0",
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
    let exporter = if own.has_ui {
        config.add(
            ComponentKind::Exporter,
            "otlp_grpc/odigos-own-telemetry-ui",
            json!({
                "endpoint": format!("ui.{}:{}", own.namespace, odigos_api::names::OTLP_GRPC_PORT),
                "tls": {"insecure": true},
                "compression": "none",
                "retry_on_failure": {"enabled": false},
            }),
        );
        "otlp_grpc/odigos-own-telemetry-ui"
    } else {
        // A name that nobody serves would be an error in the log every ten seconds.
        config.add(ComponentKind::Exporter, "nop", json!({}));
        "nop"
    };
    let pipeline = config.pipeline(Signal::Metrics, own.pipeline);
    pipeline.receivers = vec![own.receiver.to_owned()];
    pipeline.processors = vec!["resource/pod-name".into(), "resource/odigos-collector-role".into()];
    pipeline.exporters = vec![exporter.into()];
}

/// What [`add_own_telemetry`] needs to know.
#[derive(Debug)]
pub struct OwnTelemetry<'a> {
    /// Namespace of the control plane, where the UI listens.
    pub namespace: &'a str,
    /// Whether there is a UI.
    pub has_ui: bool,
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

/// A user's processor that can be rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct UsableProcessor {
    /// Component id, `<type>/<name>`.
    pub id: String,
    /// Order hint.
    pub hint: i32,
    /// Signals that it is for.
    pub signals: Vec<Signal>,
    /// Streams that it is for; `None` means all.
    pub streams: Option<Vec<String>>,
    /// Its settings, verbatim.
    pub settings: Value,
}

impl UsableProcessor {
    /// Whether it belongs into the pipelines that every item of `signal` passes.
    #[must_use]
    pub fn is_global(&self, signal: Signal) -> bool {
        self.streams.is_none() && self.signals.contains(&signal)
    }

    /// Whether it belongs into the pipeline of `stream` for `signal`.
    #[must_use]
    pub fn is_for_stream(&self, signal: Signal, stream: &str) -> bool {
        self.signals.contains(&signal) && self.streams.as_ref().is_some_and(|names| names.iter().any(|n| n == stream))
    }
}

/// The processors of a role and what to report of each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Processors {
    /// In pipeline order: ascending hint, then name.
    pub usable: Vec<UsableProcessor>,
    /// Condition by object name; only objects of this role are listed.
    pub conditions: BTreeMap<String, ConditionDraft>,
    /// Findings for people.
    pub findings: Vec<Finding>,
}

impl Processors {
    /// Sorts out which processors of `role` can be rendered; a bad one is reported and left out, on both collectors.
    pub fn of_role<'a>(
        role: CollectorRole,
        processors: impl IntoIterator<Item = &'a Processor>,
        set_aside: &BTreeMap<String, String>,
    ) -> Self {
        let suffix = match role {
            CollectorRole::ClusterGateway => "ClusterGateway",
            CollectorRole::NodeCollector => "NodeCollector",
        };
        let mut result = Self::default();
        for processor in processors {
            let spec = &processor.spec;
            if !spec.collector_roles.contains(&role) {
                continue;
            }
            let name = processor.metadata.name.clone().unwrap_or_default();
            let condition = if spec.disabled == Some(true) {
                ConditionDraft::no(
                    kind::ADDED_TO_COLLECTOR,
                    format!("ConfigRemovedDisabled_{suffix}"),
                    "The processor is disabled.",
                )
            } else if let Some(said) = set_aside.get(&processor_key(role, &name)) {
                let message = format!("the collector did not start with it: {said}");
                ConditionDraft::no(kind::ADDED_TO_COLLECTOR, "ProcessorStartFailed", message)
            } else {
                match Self::usable(processor) {
                    Ok(usable) => {
                        result.usable.push(usable);
                        ConditionDraft::yes(
                            kind::ADDED_TO_COLLECTOR,
                            format!("ConfigUpdated_{suffix}"),
                            "The processor is part of the collector configuration.",
                        )
                    }
                    Err((reason, field, message)) => {
                        let namespace = processor.metadata.namespace.as_deref().unwrap_or_default();
                        let object = format!("Processor {namespace}/{name}");
                        result.findings.push(Finding::error(object, field, message.clone()));
                        ConditionDraft::no(kind::ADDED_TO_COLLECTOR, reason, message)
                    }
                }
            };
            result.conditions.insert(name, condition);
        }
        result.usable.sort_by_key(|p| (p.hint, p.id.split_once('/').map(|(_, name)| name.to_owned())));
        result
    }

    fn usable(processor: &Processor) -> Result<UsableProcessor, (&'static str, &'static str, String)> {
        let spec = &processor.spec;
        let component_type = spec.type_.as_str();
        if !STOCK_PROCESSORS.contains(&component_type) {
            let hint = if component_type.starts_with("odigos") {
                "; it is a component of another distribution: use an Action or a transform processor instead"
            } else {
                "; check the spelling"
            };
            return Err((
                "UnsupportedType",
                "spec.type",
                format!("the stock collector has no processor of the type {component_type:?}{hint}"),
            ));
        }
        let name = processor.metadata.name.as_deref().unwrap_or_default();
        let id = format!("{component_type}/{name}");
        if is_own(&id) {
            let message = format!("{id} is a component of the product itself; give the Processor another name");
            return Err(("InvalidConfig", "metadata.name", message));
        }
        check_component_id(&id).map_err(|why| ("InvalidConfig", "metadata.name", why))?;
        let settings = match serde_json::to_value(&spec.processor_config) {
            Ok(settings @ Value::Object(_)) => settings,
            Ok(Value::Null) => json!({}),
            _ => return Err(("InvalidConfig", "spec.processorConfig", "the settings must be an object".into())),
        };
        Ok(UsableProcessor {
            id,
            hint: spec.order_hint.unwrap_or_default(),
            signals: spec.signals.clone(),
            streams: spec.data_streams.clone().filter(|names| !names.is_empty()),
            settings,
        })
    }

    /// The settings of each component, with the Processor's name among what can be set aside.
    #[must_use]
    pub fn components(&self, role: CollectorRole) -> BTreeMap<String, (String, Value)> {
        let name = |id: &str| id.split_once('/').map(|(_, name)| name.to_owned()).unwrap_or_default();
        self.usable
            .iter()
            .map(|one| (one.id.clone(), (processor_key(role, &name(&one.id)), one.settings.clone())))
            .collect()
    }

    /// Adds the components that the pipelines named.
    pub fn add_to(&self, config: &mut CollectorConfig) {
        for processor in &self.usable {
            config.add(ComponentKind::Processor, processor.id.clone(), processor.settings.clone());
        }
    }
}
