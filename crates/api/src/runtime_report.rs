//! Reports of nodes about what runs in pods, as they stand in the status of an InstrumentationConfig until the instrumentor has read
//! them.
//!
//! Owns their shape and the size of their parts; how large a whole one may be is [`MAX_REPORT_SIZE`], to which a policy of the chart holds agents
//! before anything is stored. Whether one counts is decided in `plan::detection::reports`: it comes from a node that may be hostile.

use crate::instrumentation_config::RuntimeDetails;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Size of a report in characters: some variables of the longest value that is kept. The policy `odiglet-configs` has the same number.
pub const MAX_REPORT_SIZE: usize = 128 << 10;
/// What an entry of a list counts beside its texts.
const ENTRY: usize = 16;
/// Characters of why no container could be inspected.
pub const MAX_PROBLEM_SIZE: usize = 1024;

impl RuntimeReport {
    /// Its size in characters, as the policy counts it.
    #[must_use]
    pub fn size(&self) -> usize {
        let count = |text: &str| text.chars().count();
        let optional = |text: &Option<String>| text.as_deref().map_or(0, count);
        let container = |one: &ReportedContainer| {
            let details = &one.details;
            let variables = details.env_vars.iter().chain(&details.env_from_container_runtime);
            let texts = [&details.container_name, &details.language, &details.runtime_version];
            texts.into_iter().map(|text| count(text)).sum::<usize>()
                + variables.map(|one| ENTRY + count(&one.name) + count(&one.value)).sum::<usize>()
                + details.other_agents.iter().map(|one| ENTRY + count(&one.name)).sum::<usize>()
                + optional(&details.libc_type)
                + optional(&details.cri_error_message)
                + details.observed_image.as_ref().map_or(0, |image| count(&image.id))
        };
        self.containers.iter().map(container).sum::<usize>() + count(&self.problem)
    }
}

/// What the agent of a node found in a pod.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeReport {
    /// The node. Its agent may write reports with this name, and no others.
    #[schemars(length(max = 253))]
    pub node: String,
    /// Name of the pod that was inspected.
    #[schemars(length(max = 253))]
    pub pod: String,
    /// Its uid.
    #[schemars(length(max = 128))]
    pub pod_uid: String,
    /// What runs in its containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub containers: Vec<ReportedContainer>,
    /// Why no container could be inspected.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
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
    #[schemars(length(max = 32), inner(length(max = 64)))]
    pub other_languages: Vec<String>,
    /// Languages of which none could be preferred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 64)))]
    pub unresolved_languages: Vec<String>,
    /// Variables of an agent hide what the image sets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_image_hidden: bool,
}
