//! `Source`: a user says which workload, or which namespace, is observed (`spec/sources-and-instrumentation.md` 1.1).

use crate::instrumentation_config::RuntimeDetails;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Observes a workload, or every workload of a namespace, without a code change.
///
/// Put the Source into the namespace of the workload. The label `odigos.io/data-stream-<name>: "true"` puts its telemetry into
/// a data stream; without any such label it is in the stream `default`.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "odigos.io",
    version = "v1alpha1",
    kind = "Source",
    namespaced,
    status = "SourceStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "src",
    category = "odigos",
    doc = "Observes a workload, or every workload of a namespace, without a code change. Create it in the namespace of the workload; the label odigos.io/data-stream-NAME: \"true\" puts its telemetry into the data stream NAME.",
    printcolumn(name = "Workload", type_ = "string", json_path = ".spec.workload.name"),
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.workload.kind"),
    printcolumn(name = "Namespace", type_ = "string", json_path = ".spec.workload.namespace"),
    printcolumn(name = "Disabled", type_ = "boolean", json_path = ".spec.disableInstrumentation"),
    printcolumn(name = "Accepted", type_ = "string", json_path = ".status.conditions[?(@.type==\"Accepted\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.matchWorkloadNameAsRegex) && self.matchWorkloadNameAsRegex) == (has(oldSelf.matchWorkloadNameAsRegex) && oldSelf.matchWorkloadNameAsRegex)").message("matchWorkloadNameAsRegex cannot be changed: delete the Source and create another one"),
    validation = Rule::new("self.workload.kind != 'Namespace' || !has(self.otelServiceName) || size(self.otelServiceName) == 0").message("otelServiceName cannot be set on a Source of kind Namespace: every workload would get the same service name"),
    validation = Rule::new("self.workload.kind != 'Namespace' || !has(self.matchWorkloadNameAsRegex) || !self.matchWorkloadNameAsRegex").message("matchWorkloadNameAsRegex cannot be set on a Source of kind Namespace")
)]
pub struct SourceSpec {
    /// The workload, or the namespace, that is observed. Cannot be changed.
    pub workload: WorkloadSelector,
    /// Excludes the workload, also when a Source of its namespace covers it. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable_instrumentation: Option<bool>,
    /// Value of `service.name` instead of the workload's name. Takes effect for pods that start afterwards. Not for
    /// Sources of kind Namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otel_service_name: Option<String>,
    /// Reads `workload.name` as a regular expression (RE2, unanchored: `web` matches `my-web-1`) and selects every
    /// workload of that kind in the namespace whose name matches. Cannot be changed. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_workload_name_as_regex: Option<bool>,
    /// Decisions for single containers. No effect on Sources of kind Namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub container_overrides: Vec<ContainerOverride>,
}

/// Which workload a Source selects.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(
    validation = Rule::new("self.kind in ['CronJob', 'DaemonSet', 'Deployment', 'DeploymentConfig', 'Namespace', 'Rollout', 'StatefulSet', 'StaticPod']").message("kind must be one of CronJob, DaemonSet, Deployment, DeploymentConfig, Namespace, Rollout, StatefulSet, StaticPod"),
    validation = Rule::new("self.kind != 'Namespace' || self.name == self.namespace").message("a Source of kind Namespace must name its own namespace")
)]
pub struct WorkloadSelector {
    /// Name of the workload; the namespace's name for kind Namespace; a pattern with `matchWorkloadNameAsRegex`.
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("the workload cannot be changed: delete the Source and create another one"))]
    pub name: String,
    /// Namespace of the workload; must be the namespace of the Source.
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("the workload cannot be changed: delete the Source and create another one"))]
    pub namespace: String,
    /// One of CronJob, DaemonSet, Deployment, DeploymentConfig, Namespace, Rollout, StatefulSet, StaticPod.
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("the workload cannot be changed: delete the Source and create another one"))]
    pub kind: String,
}

/// A decision for one container of the workload.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ContainerOverride {
    /// Name of the container in the pod template.
    pub container_name: String,
    /// What runs in the container, instead of what detection finds. `language` is the least that must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_info: Option<RuntimeDetails>,
    /// Name of the agent distribution to use, e.g. `java-community`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otel_distro_name: Option<String>,
    /// Whether the agent may run beside another vendor's agent. Default: the cluster-wide setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_concurrent_agents: Option<bool>,
}

/// What became of the Source.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct SourceStatus {
    /// `Accepted`: the Source is usable, and how many workloads it selects. `Conflict`: another Source selects the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
