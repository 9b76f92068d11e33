//! Reports of nodes about what runs in pods, as they stand in the status of an InstrumentationConfig until the instrumentor has read
//! them.
//!
//! Owns their shape. Whether one counts is decided in `plan::detection::reports`: it comes from a node that may be hostile.

use crate::instrumentation_config::RuntimeDetails;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What the agent of a node found in a pod.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeReport {
    /// The node. Its agent may write reports with this name, and no others.
    pub node: String,
    /// Name of the pod that was inspected.
    pub pod: String,
    /// Its uid.
    pub pod_uid: String,
    /// What runs in its containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<ReportedContainer>,
    /// Why no container could be inspected.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem: String,
}

/// What runs in a container, and how that was settled.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ReportedContainer {
    /// What runs in it.
    pub details: RuntimeDetails,
    /// Languages that were found beside the one of the details.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_languages: Vec<String>,
    /// Languages of which none could be preferred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unresolved_languages: Vec<String>,
    /// Variables of an agent hide what the image sets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_image_hidden: bool,
}
