//! `Destination`: a backend that telemetry is sent to (`spec/collectors-and-pipelines.md` 1.2, `spec/destinations.md` 1).

use crate::Signal;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A backend that traces, metrics and logs are sent to.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "odigos.io",
    version = "v1alpha1",
    kind = "Destination",
    namespaced,
    status = "DestinationStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "dest",
    category = "odigos",
    doc = "A backend that traces, metrics and logs are sent to. Create it in the namespace of the control plane.",
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Display Name", type_ = "string", json_path = ".spec.destinationName"),
    printcolumn(name = "Signals", type_ = "string", json_path = ".spec.signals"),
    printcolumn(name = "Streams", type_ = "string", json_path = ".spec.sourceSelector.dataStreams"),
    printcolumn(
        name = "Configured",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"DestinationConfigured\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"DestinationConfigured\")].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DestinationSpec {
    /// Type of the backend, a key of the catalogue, e.g. `jaeger`, `otlp` or `datadog`.
    #[serde(rename = "type")]
    pub type_: String,
    /// Name that people see. Used nowhere else.
    pub destination_name: String,
    /// Settings of the type that are not secret, e.g. `JAEGER_URL: jaeger.tracing:4317`. All values are strings.
    pub data: BTreeMap<String, String>,
    /// Secret in the same namespace that holds the credentials. Its keys are named like the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Signals to send. Those that the type does not take are left out and reported.
    pub signals: Vec<Signal>,
    /// Switches the destination off without deleting it. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Which sources of metrics are collected for this destination. Default: all but the product's own metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_settings: Option<MetricsSettings>,
    /// Whose telemetry is sent here. Default: the data stream `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_selector: Option<SourceSelector>,
    /// How items wait, are batched and are tried again. Default: sized from the gateway's memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}

/// How items wait, are batched and are tried again. What an exporter does not know is left out and reported.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Size of each queue in MiB. Default: an equal share of half the gateway's memory limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65536))]
    #[serde(rename = "queueSizeMiB")]
    pub queue_size_mib: Option<i32>,
    /// Keeps the queue on disk, so that it survives a restart of the collector's container. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_queue: Option<bool>,
    /// Most items in one request. Default: 8192.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000))]
    pub batch_items: Option<i32>,
    /// How long items wait for a batch to fill, e.g. 200ms. Default: 200ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_timeout: Option<String>,
    /// How long a failing request is tried again, e.g. 300s; 0s means without end. Default: 300s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_max_elapsed_time: Option<String>,
    /// Longest time between two tries. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_max_interval: Option<String>,
    /// How long one request may take. Default: 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Compression of OTLP: none, gzip, snappy or zstd. Default: that of the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Options of TLS for OTLP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<DeliveryTls>,
}

/// Compression of requests.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// As they are.
    None,
    /// gzip.
    Gzip,
    /// snappy.
    Snappy,
    /// zstd.
    Zstd,
}

/// Options of TLS, beside those of the type.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryTls {
    /// Name that the backend's certificate is checked against, where it is not that of the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Oldest version that is spoken: 1.2 or 1.3. Default: 1.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_version: Option<String>,
    /// Accepts any certificate. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure_skip_verify: Option<bool>,
}

/// Names a Secret in the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct SecretRef {
    /// Name of the Secret.
    #[serde(default)]
    pub name: String,
}

/// Which sources of metrics are collected. The union over all destinations is collected.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MetricsSettings {
    /// Metrics computed from spans. Default: true, unless the Destination takes traces and its backend computes them itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_metrics_enabled: Option<bool>,
    /// Metrics of the nodes. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_metrics_enabled: Option<bool>,
    /// Metrics of pods and containers from the kubelet. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubelet_stats_enabled: Option<bool>,
    /// Metrics of the service graph: edges whose ends are both in streams of the Destination. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_graph_enabled: Option<bool>,
    /// Metrics that applications and agents send. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents_telemetry_enabled: Option<bool>,
    /// Metrics of the product itself. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub odigos_own_metrics_enabled: Option<bool>,
}

/// Whose telemetry reaches the destination; streams and namespaces are added up.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SourceSelector {
    /// Data streams by name; `*` means every stream. An empty list without namespaces selects nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_streams: Option<Vec<String>>,
    /// Namespaces whose covered workloads are sent here, whatever their streams; by name, patterns are not supported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
    /// Older spelling: `all` means every stream; other words are ignored, and reported unless they name the lists beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Older spelling of `dataStreams`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
}

/// What became of the Destination.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct DestinationStatus {
    /// `DestinationConfigured`: whether the gateway sends to it, and why not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
