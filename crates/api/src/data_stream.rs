//! `DataStream`: a named route from Sources to Destinations (design 4).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// A named route from Sources to Destinations.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "odigos.io",
    version = "v1alpha1",
    kind = "DataStream",
    namespaced,
    status = "DataStreamStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "ds-stream",
    shortname = "stream",
    category = "odigos",
    doc = "A named route from Sources to Destinations. It exists by itself as soon as a Source's label or a Destination's selector names it; create one to describe it.",
    printcolumn(name = "Display Name", type_ = "string", json_path = ".spec.displayName"),
    printcolumn(name = "Members", type_ = "integer", json_path = ".status.members"),
    printcolumn(name = "Destinations", type_ = "string", json_path = ".status.destinations"),
    printcolumn(name = "Rendered", type_ = "string", json_path = ".status.conditions[?(@.type==\"Rendered\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct DataStreamSpec {
    /// Name that people see. Default: the stream's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// What the stream is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether sampling rules see the stream's own spans or whole traces. Default: stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling_view: Option<SamplingView>,
}

/// What sampling rules of a stream look at.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum SamplingView {
    /// The spans of the stream.
    #[default]
    Stream,
    /// All spans of the trace.
    Trace,
}

/// Who is in the stream, and where it leads.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DataStreamStatus {
    /// Number of workloads in the stream.
    #[serde(default)]
    pub members: i32,
    /// Stream classes that hold the stream; pods carry the class in the label `odigos.io/stream-class`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Destinations that select the stream.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<String>,
    /// `Rendered`: whether the gateway has pipelines for the stream. `ClassesAssigned`: `False` while workloads of the stream got no
    /// stream class, absent otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
