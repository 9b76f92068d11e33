//! `InstrumentationConfig`: what is decided for one workload, and how far it has come
//! (`spec/sources-and-instrumentation.md` 1.2).
//!
//! One per covered workload, in its namespace, named `<kind>-<name>` in lower case. Settings that only agents read are in
//! `agent_settings`.

use crate::agent_settings::{
    AgentDiagnostics, AgentLogs, AgentMetrics, AgentTraces, AgentUrlTemplatization, CollectorDbQuery, CollectorInferDb,
    CollectorPiiMasking, CollectorSampling,
};
use crate::rollout::{OutdatedInput, Rollback, RolloutProgress};
use crate::runtime_report::RuntimeReport;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is decided for one workload, and how far it has come.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "odigos.io",
    version = "v1alpha1",
    kind = "InstrumentationConfig",
    namespaced,
    status = "InstrumentationConfigStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "ic",
    shortname = "instrumentedapplication",
    shortname = "instrumentedapplications",
    category = "odigos",
    doc = "What is decided for one workload, and how far it has come. Written by the control plane for every workload that a Source covers.",
    printcolumn(name = "Service", type_ = "string", json_path = ".spec.serviceName"),
    printcolumn(name = "Agent", type_ = "boolean", json_path = ".spec.agentInjectionEnabled"),
    printcolumn(name = "Class", type_ = "string", json_path = ".metadata.labels.odigos\\.io/stream-class"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"AgentEnabled\")].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct InstrumentationConfigSpec {
    /// Value of `service.name`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service_name: String,
    /// Whether admission injects agents into pods of the workload.
    #[serde(default)]
    pub agent_injection_enabled: bool,
    /// Every enabled agent attaches to running processes; no restart is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_manifest_injection_optional: Option<bool>,
    /// The decision for each container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<ContainerAgentConfig>,
    /// What collectors do differently for single containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workload_collector_config: Vec<WorkloadCollectorConfig>,
    /// One entry for each container of the pod template; a bare name where nothing is overridden.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers_overrides: Vec<crate::source::ContainerOverride>,
    /// Hash over `containersOverrides`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub container_overrides_hash: String,
    /// Identifies the agents as they are decided; empty means no agent. A change restarts the workload. It changes with
    /// `workloadInputsHash`, and with `clusterInputs` only where `rollout.onInputChange` of the configuration is `restart`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agents_meta_hash: String,
    /// Version and hash over what concerns this workload alone: containers, distributions, settings of rules, service name.
    /// Absent where an older release decided, whose decision counts as current until one of them changes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub workload_inputs_hash: String,
    /// Cluster-wide settings that agents are started with, by path in the configuration, as digests. A change restarts
    /// nothing by itself; `status.outdatedInputs` counts the pods that run with older ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cluster_inputs: BTreeMap<String, String>,
    /// When that hash last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents_meta_hash_changed_time: Option<Time>,
}

/// The decision for one container.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ContainerAgentConfig {
    /// Name of the container.
    pub container_name: String,
    /// Whether it gets an agent.
    pub agent_enabled: bool,
    /// Why it does not, as one word; empty on success.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent_enabled_reason: String,
    /// Why it does not, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent_enabled_message: String,
    /// The agent attaches to running processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_manifest_injection_optional: Option<bool>,
    /// Name of the chosen agent distribution.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub otel_distro_name: String,
    /// Parameters of the distribution, e.g. `LIBC_TYPE`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub distro_params: BTreeMap<String, String>,
    /// How environment variables are appended: `loader` or `pod-manifest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_injection_method: Option<EnvInjectionMethod>,
    /// Settings of the agent for traces; absent means that it sends none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traces: Option<AgentTraces>,
    /// Settings of the agent for metrics; absent means that it sends none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<AgentMetrics>,
    /// Settings of the agent for logs; absent means that it sends none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<AgentLogs>,
    /// Log levels of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_diagnostics: Option<AgentDiagnostics>,
}

/// How environment variables are appended.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum EnvInjectionMethod {
    /// By a preloaded library inside the process.
    Loader,
    /// In the pod's manifest.
    PodManifest,
}

/// A log level.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Errors only.
    Error,
    /// And warnings.
    Warn,
    /// And what happens.
    Info,
    /// Everything.
    Debug,
}

/// What collectors do differently for one container.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadCollectorConfig {
    /// Name of the container.
    pub container_name: String,
    /// Rules that turn paths into templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_templatization: Option<AgentUrlTemplatization>,
    /// Rules that turn database queries into templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db_query_templatization: Option<CollectorDbQuery>,
    /// Attributes that are read out of database queries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infer_db_attributes: Option<CollectorInferDb>,
    /// Personal data that is masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pii_masking: Option<CollectorPiiMasking>,
    /// Sampling rules of this container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling_collector_config: Option<CollectorSampling>,
}

/// How far it has come.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct InstrumentationConfigStatus {
    /// What was found in each container. Written by the instrumentor alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runtime_details_by_container: Vec<RuntimeDetails>,
    /// What agents of nodes found, until the instrumentor has taken it over or rejected it: it counts where a pod of the workload
    /// runs on the node that reports it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub runtime_reports: Vec<RuntimeReport>,
    /// The five conditions in their order: MarkedForInstrumentation, RuntimeDetection, AgentEnabled, WorkloadRollout,
    /// PodsManifestInjection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Hash for which the last restart was issued.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub workload_rollout_hash: String,
    /// Whether a rollback happened; stays until a recovery is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_occurred: Option<bool>,
    /// Start of the stability window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instrumentation_time: Option<Time>,
    /// What running pods carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods_manifest_injection_status: Option<PodsManifestInjectionStatus>,
    /// Cluster-wide settings of which pods run with older values; they take the new ones at their next restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outdated_inputs: Vec<OutdatedInput>,
    /// The rollout that goes on, or was last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutProgress>,
    /// The rollback that stands; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
}

/// What running pods carry.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PodsManifestInjectionStatus {
    /// Some pods have the newest agents.
    #[serde(default)]
    pub has_injected_up_to_date_pods: bool,
    /// Some pods have older agents.
    #[serde(default)]
    pub has_injected_out_of_date_pods: bool,
    /// Some pods have no agent.
    #[serde(default)]
    pub has_uninjected_pods: bool,
}

/// What runs in a container.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeDetails {
    /// Name of the container.
    #[serde(default)]
    pub container_name: String,
    /// Programming language or server: java, python, go, dotnet, javascript, php, ruby, rust, cplusplus, mysql, nginx,
    /// redis, postgres, unknown or ignored.
    pub language: String,
    /// Version of the runtime; empty when not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub runtime_version: String,
    /// Variables that matter to agents, as the process sees them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_vars: Vec<EnvVar>,
    /// Those of them that the image brings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_from_container_runtime: Vec<EnvVar>,
    /// Agents of other vendors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_agents: Vec<OtherAgent>,
    /// C library: glibc or musl.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "libCType")]
    pub libc_type: Option<String>,
    /// Whether the kernel runs the process in secure mode, which ignores preloaded libraries; absent when not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure_execution_mode: Option<bool>,
    /// Why the container runtime could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cri_error_message: Option<String>,
    /// The image that the details are of. Another one, in a younger pod, replaces them; ignored in overrides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_image: Option<ObservedImage>,
}

/// An image that was looked at.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ObservedImage {
    /// The image with its digest, as the container runtime names it.
    pub id: String,
    /// When the first pod was created in which it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_created: Option<Time>,
}

/// A variable.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Its value.
    #[serde(default)]
    pub value: String,
}

/// An agent of another vendor.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct OtherAgent {
    /// Its name.
    #[serde(default)]
    pub name: String,
}
