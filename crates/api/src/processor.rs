//! `Processor`: a collector processor as a user writes it (`spec/collectors-and-pipelines.md` 1.3).

use crate::{CollectorRole, Signal};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// A processor of the collector pipelines, written by hand or derived from an Action.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "odigos.io",
    version = "v1alpha1",
    kind = "Processor",
    namespaced,
    status = "ProcessorStatus",
    derive = "PartialEq",
    derive = "Default",
    category = "odigos",
    doc = "A processor of the collector pipelines: any processor of the stock OpenTelemetry Collector, verbatim. Prefer an Action where one exists.",
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Order", type_ = "integer", json_path = ".spec.orderHint"),
    printcolumn(name = "Roles", type_ = "string", json_path = ".spec.collectorRoles"),
    printcolumn(name = "Disabled", type_ = "boolean", json_path = ".spec.disabled"),
    printcolumn(
        name = "Added",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"AddedToCollectorConfig\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("!has(self.spec.dataStreams) || size(self.spec.dataStreams) == 0 || !('NODE_COLLECTOR' in self.spec.collectorRoles) || !(self.spec.type in ['k8s_attributes', 'k8sattributes', 'resource_detection', 'resourcedetection'])").message("a processor of this type reads facts of the node, where data streams are not apart: remove dataStreams")
)]
#[serde(rename_all = "camelCase")]
pub struct ProcessorSpec {
    /// Type of the processor as the collector names it, e.g. `transform`.
    #[serde(rename = "type")]
    pub type_: String,
    /// Name that people see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor_name: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Takes it out of the pipelines. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Signals whose pipelines it stands in.
    pub signals: Vec<Signal>,
    /// Collectors that it runs in.
    pub collector_roles: Vec<CollectorRole>,
    /// Position: ascending, ties by name. For traces, 10 or more runs after span metrics and sampling. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_hint: Option<i32>,
    /// Data streams that it is for. Default: all. On nodes, `transform` processors look at the stream of each item; other types
    /// run in the gateway instead, and those that read facts of the node cannot be limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_streams: Option<Vec<String>>,
    /// Settings of the processor, verbatim.
    #[schemars(schema_with = "crate::free_form_object")]
    pub processor_config: serde_json::Value,
}

/// What became of the Processor.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct ProcessorStatus {
    /// `AddedToCollectorConfig`: whether it is part of a collector's configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
