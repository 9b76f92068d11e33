//! `CollectorsGroup`: one of the two collectors with every value resolved (`spec/collectors-and-pipelines.md` 1.1).
//!
//! The scheduler resolves, the autoscaler renders: an optional block that is present means that the feature is on.

use crate::{CollectorRole, Signal};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One of the two collectors, the gateway or the node collector, with every value resolved.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "odigos.io",
    version = "v1alpha1",
    kind = "CollectorsGroup",
    namespaced,
    status = "CollectorsGroupStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "cg",
    category = "odigos",
    doc = "One of the two collectors, the gateway (odigos-gateway) or the node collector (odigos-data-collection), with every value resolved. Written by the scheduler; change ConfigMap odigos-configuration instead.",
    printcolumn(name = "Role", type_ = "string", json_path = ".spec.role"),
    printcolumn(name = "Ready", type_ = "boolean", json_path = ".status.ready"),
    printcolumn(name = "Signals", type_ = "string", json_path = ".status.receiverSignals"),
    printcolumn(name = "Valid", type_ = "string", json_path = ".status.conditions[?(@.type==\"ConfigValid\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.spec.role == oldSelf.spec.role").message("spec.role cannot be changed")
)]
#[serde(rename_all = "camelCase")]
pub struct CollectorsGroupSpec {
    /// Which collector this is.
    pub role: CollectorRole,
    /// Port of the collector's own metrics. Gateway 8888, node 55682.
    pub collector_own_metrics_port: i32,
    /// Replicas, memory, CPU and the limits derived from them.
    pub resources_settings: ResourcesSettings,
    /// Gateway: switches the service graph off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_graph_disabled: Option<bool>,
    /// Gateway: attributes beside `service.name` that split the edges of the service graph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_graph_extra_dimensions: Option<Vec<String>>,
    /// Gateway: attributes that name a peer that sends no spans itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_graph_virtual_node_peer_attributes: Option<Vec<String>>,
    /// Node: older spelling of `otlpExporterConfiguration.enableDataCompression`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_data_compression: Option<bool>,
    /// Node: how telemetry is sent to the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp_exporter_configuration: Option<OtlpExporterConfiguration>,
    /// Node: which cloud detectors add resource attributes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_detectors: Option<ResourceDetectors>,
    /// Gateway: collects metrics of the cluster's objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_metrics_enabled: Option<bool>,
    /// Gateway: proxy for exporters that use HTTPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https_proxy_address: Option<String>,
    /// Which sources of metrics are collected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<CollectorMetrics>,
    /// Stream class of what belongs to no workload: metrics of hosts, of the kubelet and of the cluster. `void` means that no
    /// Destination takes them, so they are not collected. Default: none, which is the stream `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unowned_stream_class: Option<String>,
    /// Gateway: items without a stream class are dropped instead of sent to the stream `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drops_unclassified: Option<bool>,
    /// Gateway: correlation of entry spans with outgoing calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_correlations: Option<TraceCorrelations>,
    /// Gateway: nodes that its pods may run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Gateway: name of its Deployment. Default: odigos-gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment_name: Option<String>,
    /// Gateway: present while sampling rules are in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail_sampling: Option<TailSampling>,
    /// Gateway: decides, but drops nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling_dry_run: Option<bool>,
    /// Gateway: which decision attributes are stamped on spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_sampling_attributes: Option<SpanSamplingAttributes>,
    /// Gateway: the stream classes that it routes, each a set of data streams.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    pub stream_classes: Vec<StreamClass>,
    /// Gateway: present where it is a dedicated pool, which takes the telemetry of some workloads only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<GatewayPool>,
}

/// What a dedicated pool of gateways takes (`spec/collectors-and-pipelines.md` 6.3).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GatewayPool {
    /// Name of the pool; its gateways are called `odigos-gateway-<name>`.
    pub name: String,
    /// Data streams that it takes; a workload that is in another stream too stays with the main gateways.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub data_streams: Vec<String>,
    /// Workloads that it takes whatever their streams.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub workloads: Vec<PoolWorkload>,
    /// Signals that it takes. While traces are sampled these are metrics and logs unless the configuration says otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub signals: Vec<Signal>,
    /// Since when the configuration does not name it any more; it goes once no node sends to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<Time>,
}

/// A workload of a pool.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PoolWorkload {
    /// Its namespace.
    pub namespace: String,
    /// Its kind, e.g. `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// Replicas, memory, CPU and the limits derived from them.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ResourcesSettings {
    /// Gateway: fewest replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<i32>,
    /// Gateway: most replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_replicas: Option<i32>,
    /// Memory request of a pod, in MiB.
    #[serde(rename = "memoryRequestMiB")]
    pub memory_request_mib: i32,
    /// Memory limit of a pod, in MiB.
    #[serde(rename = "memoryLimitMiB")]
    pub memory_limit_mib: i32,
    /// CPU request of a pod, in thousandths of a core.
    #[serde(rename = "cpuRequestMillicores")]
    pub cpu_request_millicores: i32,
    /// CPU limit of a pod, in thousandths of a core.
    #[serde(rename = "cpuLimitMillicores")]
    pub cpu_limit_millicores: i32,
    /// Memory above which the collector refuses everything, in MiB.
    #[serde(rename = "memoryLimiterLimitMiB")]
    pub memory_limiter_limit_mib: i32,
    /// How far below that limit the collector starts to refuse, in MiB.
    #[serde(rename = "memoryLimiterSpikeLimitMiB")]
    pub memory_limiter_spike_limit_mib: i32,
    /// Memory at which the garbage collector works harder (`GOMEMLIMIT`), in MiB.
    #[serde(rename = "gomemlimitMiB")]
    pub gomemlimit_mib: i32,
}

/// A set of data streams that some workload is in exactly.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StreamClass {
    /// Value of the label `odigos.io/stream-class` of the pods of this class.
    pub id: String,
    /// The streams, sorted; `ns:<namespace>` stands for a namespace that a Destination selects.
    #[serde(default)]
    pub streams: Vec<String>,
    /// Since when no pod carries the class any more; it leaves after a drain period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<Time>,
}

/// How the node collector sends to the gateway.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OtlpExporterConfiguration {
    /// Compresses with gzip: less traffic between nodes for more CPU. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_data_compression: Option<bool>,
    /// How long one attempt may take, e.g. `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// What happens when an attempt fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_on_failure: Option<RetryOnFailure>,
}

/// Retries of an exporter.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RetryOnFailure {
    /// Whether to try again. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// First pause, e.g. `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_interval: Option<String>,
    /// Longest pause, e.g. `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_interval: Option<String>,
    /// How long to go on, e.g. `300s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_elapsed_time: Option<String>,
}

/// Cloud detectors of the node collector.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct ResourceDetectors {
    /// Amazon EC2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ec2: Option<ResourceDetector>,
    /// Amazon EKS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eks: Option<ResourceDetector>,
    /// Azure virtual machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure: Option<ResourceDetector>,
    /// Azure AKS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aks: Option<ResourceDetector>,
    /// Google Cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gcp: Option<ResourceDetector>,
}

/// One cloud detector.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct ResourceDetector {
    /// Whether it may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// Sources of metrics; a block that is present is collected.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CollectorMetrics {
    /// Metrics computed from spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_metrics: Option<SpanMetrics>,
    /// Metrics of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_metrics: Option<ScrapedMetrics>,
    /// Metrics of pods and containers from the kubelet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubelet_stats: Option<ScrapedMetrics>,
    /// Reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_graph: Option<Empty>,
    /// Metrics of the product itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub odigos_own_metrics: Option<OwnMetrics>,
    /// Metrics that applications and agents send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents_telemetry: Option<Empty>,
}

/// A block whose presence is all that it says.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Empty {}

/// Metrics that the node collector scrapes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct ScrapedMetrics {
    /// Switches them off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// How often, e.g. `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
}

/// Where the product's own metrics go.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OwnMetrics {
    /// To destinations that ask for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_to_metrics_destinations: Option<bool>,
    /// To the product's own store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_to_odigos_metrics_store: Option<bool>,
    /// How often, e.g. `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
}

/// Metrics computed from spans (`spec/collectors-and-pipelines.md` 1.1.1).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SpanMetrics {
    /// Switches them off everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// How often they are sent. Default: 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    /// After how long an idle series goes. Default: 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_expiration: Option<String>,
    /// Span attributes beside the built-in ones that split series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additional_dimensions: Option<Vec<String>>,
    /// Counts only, no duration histogram.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histogram_disabled: Option<bool>,
    /// Upper bounds of the histogram, e.g. `[2ms, 10ms, 1s]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explicit_histogram_buckets: Option<Vec<String>>,
    /// Keeps the `process.*` resource attributes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub included_process_in_dimensions: Option<bool>,
    /// Resource attributes that are removed before counting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excluded_resource_attributes: Option<Vec<String>>,
    /// Resource attributes that tell sources of series apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_metrics_key_attributes: Option<Vec<String>>,
    /// Whether spans that are not sampled count too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_metrics_mode: Option<SpanMetricsMode>,
}

/// Which spans count.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum SpanMetricsMode {
    /// Spans that are sampled.
    SampledSpansOnly,
    /// Every span.
    AllSpans,
}

/// Correlations between spans.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TraceCorrelations {
    /// Entry spans of a service with its outgoing calls.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "serviceIO")]
    pub service_io: Option<ServiceIo>,
}

/// Correlation of a service's entry spans with its outgoing calls.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceIo {
    /// Switches it on. No stock collector component computes it; the setting is kept and reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Attributes of entry spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_span_attributes: Option<Vec<String>>,
    /// Attributes of outgoing spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_span_attributes: Option<Vec<String>>,
    /// How often the metrics are sent. Default: 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_flush_interval: Option<String>,
}

/// Sampling of whole traces.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TailSampling {
    /// Switches it off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// How long to wait for the spans of a trace. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_aggregation_wait_duration: Option<String>,
}

/// Which attributes tell how a span was sampled.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SpanSamplingAttributes {
    /// None of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Not the category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling_category_disabled: Option<bool>,
    /// Not the rule that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_deciding_rule_disabled: Option<bool>,
    /// Not the decisions for the span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_decision_attributes_disabled: Option<bool>,
}

/// What runs, and what it takes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CollectorsGroupStatus {
    /// Whether at least one pod serves.
    #[serde(default)]
    pub ready: bool,
    /// Signals that the collector takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver_signals: Option<Vec<Signal>>,
    /// Stream classes that every running gateway routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub served_stream_classes: Vec<String>,
    /// Node collector: the pools that any of its pods may send to, each with the stream classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub routed_pools: Vec<RoutedPool>,
    /// Node collector: the stream classes that any of its pods gives to what belongs to no workload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub unowned_stream_classes: Vec<String>,
    /// Hash of the configuration that every running pod has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<String>,
    /// Gateway: what it takes, refuses and sends, at most a minute old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<GatewayLoad>,
    /// Gateway, with the custom metrics API: whether at least half of the gateways refuse items because they are too few, not
    /// for a destination. The metric `odigos_gateway_rejections` says the same as 1 or 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateways_too_few: Option<bool>,
    /// `Deployed`, `ConfigValid`, `Progressing`; of the gateway also `ItemsRefused`, `DestinationBackpressure`,
    /// `HPAMetricsUnavailable`, and `CustomMetricsAvailable` with the custom metrics API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A dedicated pool of gateways that node collectors send to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RoutedPool {
    /// Name of the pool.
    pub name: String,
    /// Stream classes whose items it gets.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub stream_classes: Vec<String>,
}

/// What the gateways' own metrics say. Rates are items (spans, metric points, log records) for each second.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GatewayLoad {
    /// The gateways that fare worst, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub pods: Vec<PodLoad>,
    /// The destinations that fare worst, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub destinations: Vec<DestinationLoad>,
    /// The data streams with most items, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub streams: Vec<StreamLoad>,
}

/// What one data stream gets in all gateways together, behind the samplers of whole traces.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StreamLoad {
    /// Name of the stream; `ns:<namespace>` stands for a namespace that a Destination selects.
    pub name: String,
    /// Items that go to its destinations.
    pub items_per_second: i64,
}

/// How one gateway fares.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PodLoad {
    /// Name of the pod.
    pub name: String,
    /// Whether it answers when it is asked for its metrics.
    pub answers: bool,
    /// Items that it takes.
    pub accepted_per_second: i64,
    /// Items that it refuses.
    pub refused_per_second: i64,
    /// How full its fullest sending queue is, in percent.
    pub queue_percent: i64,
}

/// How the exporters of one destination fare in all gateways together.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DestinationLoad {
    /// Name of the Destination.
    pub name: String,
    /// Items that it took.
    pub sent_per_second: i64,
    /// Items that were given up, or found no room in the queue.
    pub failed_per_second: i64,
    /// How full its fullest sending queue is, in percent.
    pub queue_percent: i64,
}
