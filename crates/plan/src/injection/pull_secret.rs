//! The Secret that kubelets need for images of agents in a private registry (`agentImages.pullSecret`).
//!
//! Owns which pods need it, and what a pod gets. Never reads a Secret: whether one of that name is in the pod's namespace, the
//! instrumentor asks. A pod that named one that is not there would wait for its image for ever, so it gets no agents instead.

use super::mount::SecurityLevel;
use super::options::{MountMethod, Options};
use odigos_catalog::distribution::{Distribution, Files};
use serde_json::{Value, json};

/// A Secret that pods of a namespace need and cannot use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LackingPullSecret {
    /// Its name (`agentImages.pullSecret`).
    pub name: String,
    /// Whether it is known to be absent; else the API server did not answer, or did not allow the question.
    pub is_absent: bool,
    /// Whether the files of the release come from the node there, so that only images of the user need it.
    pub has_files_from_node: bool,
}

impl LackingPullSecret {
    /// Whether a container with this agent needs the Secret.
    #[must_use]
    pub fn concerns(&self, distribution: &Distribution, uses_loader: bool) -> bool {
        match distribution.files {
            Files::None => uses_loader && !self.has_files_from_node,
            Files::Included => !self.has_files_from_node,
            Files::Configured => true,
        }
    }

    /// What is the case and what to do.
    #[must_use]
    pub fn message(&self, namespace: &str) -> String {
        let Self { name, is_absent, .. } = self;
        if *is_absent {
            format!(
                "Secret {name} (agentImages.pullSecret) is not in namespace {namespace}, and images of agents cannot be pulled without it; create it there, or remove the setting."
            )
        } else {
            format!(
                "Failed to look for Secret {name} (agentImages.pullSecret) in namespace {namespace}; the instrumentor needs the permission that the chart gives it for the name in config.agentImages.pullSecret."
            )
        }
    }
}

/// Whether files of the release come from the node, where the method allows it.
#[must_use]
pub fn has_files_from_node(
    options: &Options,
    level: Option<SecurityLevel>,
    has_host_path: bool,
    has_prepared_nodes: bool,
) -> bool {
    match options.mount {
        MountMethod::HostPath => true,
        // Where pods of the workload run with it, the namespace admits it, and they keep it.
        MountMethod::Automatic => {
            let is_certain = level == Some(SecurityLevel::Privileged) || has_host_path;
            is_certain && has_prepared_nodes && !options.lacks_node_agents
        }
        MountMethod::InitContainer | MountMethod::ImageVolume => false,
    }
}

/// Names the Secret in the pod, behind those that it has.
pub(super) fn add(pod: &mut Value, name: &str) -> Result<(), String> {
    let secrets = &mut pod["spec"]["imagePullSecrets"];
    if secrets.is_null() {
        *secrets = json!([]);
    }
    let secrets = secrets.as_array_mut().ok_or("spec.imagePullSecrets is no list")?;
    if !secrets.iter().any(|one| one.get("name").and_then(Value::as_str) == Some(name)) {
        secrets.push(json!({"name": name}));
    }
    Ok(())
}
