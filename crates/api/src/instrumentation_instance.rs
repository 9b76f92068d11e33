//! `InstrumentationInstance`: the health of one agent in one process (`spec/sources-and-instrumentation.md` 1.3).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// The health of one agent in one process.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "odigos.io",
    version = "v1alpha1",
    kind = "InstrumentationInstance",
    namespaced,
    status = "InstrumentationInstanceStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "ii",
    category = "odigos",
    doc = "The health of one agent in one process. Written by the node agent.",
    printcolumn(name = "Container", type_ = "string", json_path = ".spec.containerName"),
    printcolumn(name = "Healthy", type_ = "boolean", json_path = ".status.healthy"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct InstrumentationInstanceSpec {
    /// Container that the process runs in.
    pub container_name: String,
}

/// Health, and what the agent says of itself.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct InstrumentationInstanceStatus {
    /// Whether the agent works; absent while it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<bool>,
    /// Why, as one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    pub message: Option<String>,
    /// When this was said.
    pub last_status_time: Time,
    /// Attributes that tell the agent apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identifying_attributes: Vec<Attribute>,
    /// Attributes that describe the agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub non_identifying_attributes: Vec<Attribute>,
    /// Parts of the agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<InstrumentationComponent>,
}

/// A key and its value.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Attribute {
    /// The key.
    pub key: String,
    /// The value.
    #[serde(default)]
    pub value: String,
}

/// A part of an agent.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct InstrumentationComponent {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub type_: ComponentKind,
    /// Whether it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<bool>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Why, as one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When this was said.
    pub last_status_time: Time,
    /// Attributes that tell the part apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identifying_attributes: Vec<Attribute>,
    /// Attributes that describe the part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub non_identifying_attributes: Vec<Attribute>,
}

/// What a part of an agent is.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ComponentKind {
    /// Instrumentation of a library.
    Instrumentation,
    /// A sampler.
    Sampler,
    /// An exporter.
    Exporter,
}
