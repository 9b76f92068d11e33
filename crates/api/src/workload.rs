//! Workload kinds, references to workloads, and the name of a workload's InstrumentationConfig
//! (`spec/sources-and-instrumentation.md` 1.2, 2.1).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Kinds that a Source can select, plus `Job`, which exists only as an owner of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum WorkloadKind {
    /// `batch/v1` CronJob.
    CronJob,
    /// `apps/v1` DaemonSet.
    DaemonSet,
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps.openshift.io/v1` DeploymentConfig.
    DeploymentConfig,
    /// `batch/v1` Job; internal, a Source for it is rejected.
    Job,
    /// `argoproj.io/v1alpha1` Rollout.
    Rollout,
    /// `apps/v1` StatefulSet.
    StatefulSet,
    /// A pod that a kubelet runs from a file; its name is the full pod name.
    StaticPod,
}

impl WorkloadKind {
    /// Every kind, in the order of the enum.
    pub const ALL: [Self; 8] = [
        Self::CronJob,
        Self::DaemonSet,
        Self::Deployment,
        Self::DeploymentConfig,
        Self::Job,
        Self::Rollout,
        Self::StatefulSet,
        Self::StaticPod,
    ];

    /// The kind as manifests spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CronJob => "CronJob",
            Self::DaemonSet => "DaemonSet",
            Self::Deployment => "Deployment",
            Self::DeploymentConfig => "DeploymentConfig",
            Self::Job => "Job",
            Self::Rollout => "Rollout",
            Self::StatefulSet => "StatefulSet",
            Self::StaticPod => "StaticPod",
        }
    }

    /// Reads the exact spelling of a manifest; `None` for anything else, `Namespace` included.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The `apiVersion` of the object behind the kind.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::Deployment | Self::StatefulSet | Self::DaemonSet => "apps/v1",
            Self::CronJob | Self::Job => "batch/v1",
            Self::DeploymentConfig => "apps.openshift.io/v1",
            Self::Rollout => "argoproj.io/v1alpha1",
            Self::StaticPod => "v1",
        }
    }

    /// The `kind` of the object behind the kind: `Pod` for static pods, itself otherwise.
    #[must_use]
    pub const fn object_kind(self) -> &'static str {
        match self {
            Self::StaticPod => "Pod",
            other => other.as_str(),
        }
    }
}

impl std::fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One workload of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkloadRef {
    /// Namespace of the workload and of its InstrumentationConfig.
    pub namespace: String,
    /// Kind of the workload.
    pub kind: WorkloadKind,
    /// Name of the workload.
    pub name: String,
}

impl WorkloadRef {
    /// A reference from its parts.
    pub fn new(namespace: impl Into<String>, kind: WorkloadKind, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), kind, name: name.into() }
    }

    /// Name of the InstrumentationConfig: lower-case kind, hyphen, workload name.
    #[must_use]
    pub fn config_name(&self) -> String {
        format!("{}-{}", self.kind.as_str().to_lowercase(), self.name)
    }

    /// Reads an InstrumentationConfig's name back; split on the first hyphen only, since workload names hold hyphens.
    #[must_use]
    pub fn from_config_name(namespace: &str, name: &str) -> Option<Self> {
        let (kind, workload) = name.split_once('-')?;
        let kind = WorkloadKind::ALL.into_iter().find(|k| k.as_str().to_lowercase() == kind)?;
        (!workload.is_empty()).then(|| Self::new(namespace, kind, workload))
    }
}

impl std::fmt::Display for WorkloadRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_names_round_trip_for_every_kind() {
        for kind in WorkloadKind::ALL {
            let workload = WorkloadRef::new("shop", kind, "web-api-2");
            assert_eq!(WorkloadRef::from_config_name("shop", &workload.config_name()), Some(workload));
        }
        assert_eq!(WorkloadRef::from_config_name("shop", "nothing"), None);
        assert_eq!(WorkloadRef::from_config_name("shop", "pod-x"), None);
    }
}
