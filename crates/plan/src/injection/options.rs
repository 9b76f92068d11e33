//! What of the effective configuration the change of a pod looks at (`spec/sources-and-instrumentation.md` 8).

use crate::agents::{InjectionMode, options};
use crate::configuration::Configuration;
use crate::detection::Mode;
use std::collections::BTreeMap;

/// How the agents' files come into a pod (5.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MountMethod {
    /// What is certain to be admitted: from the node where the namespace is labelled `privileged` or pods of the workload have it
    /// that way, else by an init container. Virtual devices and CSI volumes are not offered; their words choose this.
    #[default]
    Automatic,
    /// From the node, where the agent keeps them.
    HostPath,
    /// Copied by an init container.
    InitContainer,
    /// As a volume that is an image; needs a cluster that has such volumes.
    ImageVolume,
}

impl MountMethod {
    /// Reads `mountMethod`.
    #[must_use]
    pub fn of(configuration: &Configuration) -> Self {
        match configuration.text("mountMethod").unwrap_or_default() {
            "k8s-host-path" => Self::HostPath,
            "k8s-init-container" => Self::InitContainer,
            "k8s-image-volume" => Self::ImageVolume,
            _ => Self::Automatic,
        }
    }
}

/// Settings of the change of pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Namespace of the control plane, where the Service of the nodes' collectors is.
    pub namespace: String,
    /// Image that holds the agents of the release below `/instrumentations`; empty when there is none.
    pub agents_image: String,
    /// Images of distributions that the release has no files of (`agentImages.<distribution>`), laid out the same way.
    pub agent_images: BTreeMap<String, String>,
    /// Secret in the namespace of each application that these images are pulled with (`agentImages.pullSecret`).
    pub pull_secret: Option<String>,
    /// How the files come in.
    pub mount: MountMethod,
    /// No agent keeps files on nodes, whatever their labels say from earlier times.
    pub lacks_node_agents: bool,
    /// How appended variables come in.
    pub injection: InjectionMode,
    /// Nodes are made for pods, so pods must not ask for labels that new nodes lack.
    pub has_karpenter: bool,
    /// User ids of pods are given by the cluster.
    pub is_openshift: bool,
    /// Limits and requests of the init container.
    pub init_resources: BTreeMap<String, i64>,
    /// Variables that the user wants in every container with an agent of a language (`userInstrumentationEnvs`).
    pub user_variables: BTreeMap<String, BTreeMap<String, String>>,
}

impl Options {
    /// Reads them. `namespace` is the control plane's.
    #[must_use]
    pub fn of(configuration: &Configuration, namespace: &str) -> Self {
        let amount = |key: &str| configuration.number(&format!("agentsInitContainerResources.{key}"));
        Self {
            namespace: namespace.to_owned(),
            agents_image: configuration.usable_agents_image().unwrap_or_default().to_owned(),
            agent_images: options::images(configuration),
            pull_secret: configuration.agents_pull_secret().map(str::to_owned),
            mount: MountMethod::of(configuration),
            lacks_node_agents: !Mode::of(configuration).has_node_agents(),
            injection: InjectionMode::parse(configuration.text("agentEnvVarsInjectionMethod").unwrap_or_default()),
            has_karpenter: configuration.flag("karpenterEnabled").unwrap_or_default(),
            is_openshift: configuration.flag("openshiftEnabled").unwrap_or_default(),
            init_resources: bounded(
                ["requestCPUm", "limitCPUm", "requestMemoryMiB", "limitMemoryMiB"]
                    .into_iter()
                    .filter_map(|key| Some((key.to_owned(), i64::from(amount(key)?))))
                    .collect(),
            ),
            user_variables: options::user_variables(configuration),
        }
    }

    /// Whether the pod's manifest is no substitute for a loader.
    pub(super) fn insists_on_loader(&self) -> bool {
        self.injection == InjectionMode::Loader
    }
}

/// CPU in thousandths of a core that the init container requests by default: it copies files.
pub(super) const CPU_REQUEST: i64 = 10;
/// Memory in MiB that it requests by default.
pub(super) const MEMORY_REQUEST: i64 = 32;

/// Limits of both by default.
pub(super) const LIMIT: i64 = 300;

/// Requests within their limits: one above would keep every pod of the application from being created. The configuration reports it.
fn bounded(mut amounts: BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    for (request, limit) in [("requestCPUm", "limitCPUm"), ("requestMemoryMiB", "limitMemoryMiB")] {
        let most = amounts.get(limit).copied().unwrap_or(LIMIT);
        // A limit below the default of its request bounds it as well.
        let default = if request == "requestCPUm" { CPU_REQUEST } else { MEMORY_REQUEST };
        let request = amounts.entry(request.to_owned()).or_insert(default);
        *request = (*request).min(most);
    }
    amounts
}
