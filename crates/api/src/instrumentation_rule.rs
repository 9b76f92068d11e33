//! `InstrumentationRule`: what agents collect (`spec/actions-and-rules.md` 4).
//!
//! Accepted and kept as written; acted on by a later release. The settings of each block are passed on verbatim.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    #[schemars(schema_with = "crate::free_form_object")]
    pub scopes: Option<Value>,
    /// Older spelling of the scope: a list of workloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::free_form")]
    pub workloads: Option<Value>,
    /// Libraries that the rule is for. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instrumentation_libraries: Option<Vec<InstrumentationLibrary>>,
    /// Data streams that the rule is for. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_streams: Option<Vec<String>>,
    /// Which payloads of requests, queries and messages are collected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::free_form_object")]
    pub payload_collection: Option<Value>,
    /// Which headers of requests are collected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::free_form_object")]
    pub headers_collection: Option<Value>,
    /// Which attributes about code are collected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::free_form_object")]
    pub code_attributes: Option<Value>,
    /// Switches traces off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::free_form_object")]
    pub trace_config: Option<Value>,
    /// Which agent distributions are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::free_form_object")]
    pub otel_distros: Option<Value>,
    /// Functions that are traced beside those of libraries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::free_form_object")]
    pub custom_instrumentations: Option<Value>,
    /// Libraries that are traced or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::free_form_object")]
    pub trace_verbosity: Option<Value>,
    /// Log levels of agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::free_form_object")]
    pub agent_diagnostics: Option<Value>,
    /// Reads logs from the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::free_form_object")]
    pub ebpf_log_capture: Option<Value>,
    /// Metrics of the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::free_form_object")]
    pub network_metrics: Option<Value>,
    /// Older setting; not acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::free_form_object")]
    pub head_sampling_fallback_fraction: Option<Value>,
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
    /// `InstrumentationRuleValidation`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
