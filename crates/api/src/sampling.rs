//! `Sampling`: rules that say which traces are kept (`spec/sampling.md` 1–3).
//!
//! Scopes are in `scope`, operations in `operation`.

use crate::operation::{HeadOperation, TailOperation};
use crate::scope::AnyScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Rules that say which traces are kept.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "odigos.io",
    version = "v1alpha1",
    kind = "Sampling",
    plural = "samplings",
    namespaced,
    status = "SamplingStatus",
    derive = "PartialEq",
    derive = "Default",
    category = "odigos",
    doc = "Rules that say which traces are kept: noisy operations and costs are capped, highly relevant ones are kept.",
    printcolumn(name = "Name", type_ = "string", json_path = ".spec.name"),
    printcolumn(name = "Disabled", type_ = "boolean", json_path = ".spec.disabled"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct SamplingSpec {
    /// Name that people see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the rules are for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Takes every rule of this object out of decisions. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Data streams that the rules are for. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_streams: Option<Vec<String>>,
    /// Operations of which at most a percentage is kept, e.g. health checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub noisy_operations: Vec<NoisyOperation>,
    /// Operations of which at least a percentage is kept, e.g. errors and slow requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub highly_relevant_operations: Vec<HighlyRelevantOperation>,
    /// Operations of which at most a percentage is kept to save cost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cost_reduction_rules: Vec<CostReductionRule>,
}

/// A rule for an operation that is not worth much.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.percentageAtMost) || (self.percentageAtMost >= 0.0 && self.percentageAtMost <= 100.0)").message("percentageAtMost must be between 0 and 100"))]
pub struct NoisyOperation {
    /// Name that people see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the rule is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Takes the rule out of decisions. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Sources that the rule is for: an object of lists, or the older list of workloads. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_scopes: Option<AnyScope>,
    /// Operations that the rule is for, by protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<HeadOperation>,
    /// Percentage of traces that is kept at most. Default: 0, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percentage_at_most: Option<f64>,
}

/// A rule for an operation that must not be lost.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.percentageAtLeast) || (self.percentageAtLeast >= 0.0 && self.percentageAtLeast <= 100.0)").message("percentageAtLeast must be between 0 and 100"))]
pub struct HighlyRelevantOperation {
    /// Name that people see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the rule is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Takes the rule out of decisions. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Sources that the rule is for: an object of lists, or the older list of workloads. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_scopes: Option<AnyScope>,
    /// Operations that the rule is for, by protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<TailOperation>,
    /// Only spans with status error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<bool>,
    /// Only spans that took at least so long, in milliseconds; of one span, not of the trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_at_least_ms: Option<i64>,
    /// Percentage of traces that is kept at least. Default: 100, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percentage_at_least: Option<f64>,
}

/// A rule that saves cost.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.percentageAtMost >= 0.0 && self.percentageAtMost <= 100.0").message("percentageAtMost must be between 0 and 100"))]
pub struct CostReductionRule {
    /// Name that people see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the rule is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Takes the rule out of decisions. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Sources that the rule is for: an object of lists, or the older list of workloads. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_scopes: Option<AnyScope>,
    /// Operations that the rule is for, by protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<TailOperation>,
    /// Percentage of traces that is kept at most.
    pub percentage_at_most: f64,
}

/// What became of the rules.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct SamplingStatus {
    /// How the rules are in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
