//! What the status of an InstrumentationConfig remembers of rollouts and rollbacks, so that a new leader goes on where the former
//! one stopped. Ours; the reference keeps these facts in memory (`spec/sources-and-instrumentation.md` 3.5, 3.6).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The rollout of one set of agents.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RolloutProgress {
    /// The agents that it is about; empty when agents are taken out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agents_meta_hash: String,
    /// When the first pod was asked to be made anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// How the pods were before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<PodsBaseline>,
    /// The one pod that got its agents before the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Pods up to this age that lack their agents are replaced. Absent while none lacks them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healing_since: Option<Time>,
}

/// How the pods of a workload were before they got other agents.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PodsBaseline {
    /// How many there were.
    #[serde(default)]
    pub pods: u32,
    /// How many of them were ready.
    #[serde(default)]
    pub ready_pods: u32,
    /// In how many a container had failed shortly before.
    #[serde(default)]
    pub crashed_pods: u32,
    /// Whether their controller failed to create pods then already.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub creation_failed: bool,
}

/// A cluster-wide setting of which pods run with an older value.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OutdatedInput {
    /// Path of the setting in the configuration, for instance `userInstrumentationEnvs`.
    pub input: String,
    /// How many pods run with an older value.
    #[serde(default)]
    pub pods: u32,
    /// When that was first observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// The one pod that got its agents before the others.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    /// The pod whose place it took.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub replaces: String,
    /// When that one was asked to go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evicted_at: Option<Time>,
    /// `Passed`, `Refused` (the pod might not be evicted) or `Missed` (its replacement came without agents); absent while it is
    /// watched.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub result: String,
}

/// An automatic rollback.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// When it was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// `CrashLoopBackOff`, `ImagePullBackOff`, or `FailedCreate` where pods with the agents were rejected at creation.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What failed, and how: pod, container, exit code, last words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The agents that were taken out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agents_meta_hash: String,
    /// The recovery annotation as it stood then; only another one brings the agents back.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub recovery: String,
    /// The workload was not restarted for these agents, so only the pods that carry them are replaced.
    #[serde(default)]
    pub pods_only: bool,
}
