//! `InstrumentationRule`: what agents collect (`spec/actions-and-rules.md` 4).
//!
//! The blocks are in `agent_settings`.

use crate::agent_settings::{
    AgentDiagnostics, CodeAttributes, CustomInstrumentations, EbpfLogCapture, HeadSamplingFallbackFraction,
    HeadersCollection, NetworkMetrics, OtelDistros, PayloadCollection, SignalConfig, TraceConfig, TraceVerbosity,
};
use crate::scope::{SourceReference, SourcesScopes};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// What agents collect.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "odigos.io",
    version = "v1alpha1",
    kind = "InstrumentationRule",
    namespaced,
    status = "InstrumentationRuleStatus",
    derive = "PartialEq",
    derive = "Default",
    category = "odigos",
    doc = "What agents collect: payloads, headers, code attributes, which libraries. Create it in the namespace of the control plane.",
    printcolumn(name = "Name", type_ = "string", json_path = ".spec.ruleName"),
    printcolumn(name = "Disabled", type_ = "boolean", json_path = ".spec.disabled"),
    printcolumn(name = "Applied", type_ = "string", json_path = ".status.conditions[?(@.type==\"Applied\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct InstrumentationRuleSpec {
    /// Name that people see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_name: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Takes the rule out of force. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Sources that the rule is for: lists of sources, namespaces and languages. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<SourcesScopes>,
    /// Older spelling of the scope: a list of workloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads: Option<Vec<SourceReference>>,
    /// Libraries that the rule is for. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instrumentation_libraries: Option<Vec<InstrumentationLibrary>>,
    /// Data streams that the rule is for. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_streams: Option<Vec<String>>,
    /// Which payloads of requests, queries and messages are collected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_collection: Option<PayloadCollection>,
    /// Which headers of requests are collected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers_collection: Option<HeadersCollection>,
    /// Which attributes about code are collected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_attributes: Option<CodeAttributes>,
    /// Switches traces off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_config: Option<TraceConfig>,
    /// Switches metrics of workloads off: what they send, and what is computed or measured of them. No restart is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_config: Option<SignalConfig>,
    /// Switches logs of workloads off: the output of their containers, and what they send. No restart is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs_config: Option<SignalConfig>,
    /// Which agent distributions are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otel_distros: Option<OtelDistros>,
    /// Functions that are traced beside those of libraries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_instrumentations: Option<CustomInstrumentations>,
    /// Libraries that are traced or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_verbosity: Option<TraceVerbosity>,
    /// Log levels of agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_diagnostics: Option<AgentDiagnostics>,
    /// Reads logs from the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ebpf_log_capture: Option<EbpfLogCapture>,
    /// Metrics of the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_metrics: Option<NetworkMetrics>,
    /// Older setting; not acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_sampling_fallback_fraction: Option<HeadSamplingFallbackFraction>,
}

/// A library of a language.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct InstrumentationLibrary {
    /// Name of the library.
    pub name: String,
    /// Its language.
    pub language: String,
    /// Only spans of this kind (Go).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_kind: Option<String>,
}

/// What became of the rule.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct InstrumentationRuleStatus {
    /// `InstrumentationRuleValidation`: whether the rule makes sense. `Applied`: in how many containers it holds, and what
    /// their agents cannot express.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
