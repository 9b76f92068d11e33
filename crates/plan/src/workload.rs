//! Workloads as planning sees them, read from the eight kinds of objects, and the way from a pod to its workload.
//!
//! Owns `spec/sources-and-instrumentation.md` 2.1 and 2.12. Never lists or fetches anything.

pub mod template;

pub use template::{PodTemplate, TemplateReference};

use crate::sampling::probes::Probe;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use odigos_api::labels::CRON_JOB;
use odigos_api::{WorkloadKind, WorkloadRef};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The resource attribute of telemetry that names a workload of the kind, where there is one.
#[must_use]
pub const fn resource_attribute(kind: WorkloadKind) -> Option<&'static str> {
    match kind {
        WorkloadKind::Deployment => Some("k8s.deployment.name"),
        WorkloadKind::StatefulSet => Some("k8s.statefulset.name"),
        WorkloadKind::DaemonSet => Some("k8s.daemonset.name"),
        WorkloadKind::CronJob => Some("k8s.cronjob.name"),
        WorkloadKind::Job => Some("k8s.job.name"),
        WorkloadKind::Rollout => Some("k8s.argoproj.rollout.name"),
        WorkloadKind::DeploymentConfig | WorkloadKind::StaticPod => None,
    }
}

/// What `telemetry.sdk.language` holds for a language in the words of the API.
#[must_use]
pub fn sdk_language(language: &str) -> &str {
    match language {
        "javascript" => "nodejs",
        "cplusplus" => "cpp",
        other => other,
    }
}

/// One workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Which one.
    pub reference: WorkloadRef,
    /// Its uid; empty when manifests are rendered without a cluster.
    pub uid: String,
    /// Names of the containers of its pod template, in order.
    pub containers: Vec<String>,
    /// HTTP health probes by container; containers without any are absent.
    pub probes: BTreeMap<String, BTreeSet<Probe>>,
    /// How many of its pods serve (2.1, "Available replicas taken from").
    pub available_replicas: i64,
    /// Names of the variables for agents (`OTEL_…`) that its pod template sets, by container; containers without any are absent.
    pub variables: BTreeMap<String, BTreeSet<String>>,
    /// How many pods it shall have, where its object says so.
    pub replicas: Option<i64>,
    /// The object that holds its pod template, where it has none of its own.
    pub template: Option<TemplateReference>,
    /// The Rollout whose pods are made from its template in its place; see [`template::link`].
    pub lent_to: Option<WorkloadRef>,
    /// The CronJob that a Job belongs to.
    pub made_by: Option<WorkloadRef>,
}

impl Workload {
    /// Reads a workload; `None` for any other object, ordinary pods included.
    #[must_use]
    pub fn from_object(object: &Value) -> Option<Self> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
        let kind = match text("/kind") {
            "Pod" => WorkloadKind::StaticPod,
            "StaticPod" => return None,
            other => WorkloadKind::parse(other)?,
        };
        if kind != WorkloadKind::StaticPod && object.get("apiVersion").is_some_and(|v| !same_group(v, kind)) {
            return None;
        }
        // Of static pods too: what kubelets call their uid (`kubernetes.io/config.hash`) is none that the garbage collector knows.
        let uid = text("/metadata/uid").to_owned();
        let available_replicas = match kind {
            WorkloadKind::Deployment | WorkloadKind::DeploymentConfig | WorkloadKind::Rollout => {
                number("/status/availableReplicas")
            }
            WorkloadKind::StatefulSet => number("/status/readyReplicas"),
            WorkloadKind::DaemonSet => number("/status/numberReady"),
            WorkloadKind::CronJob => {
                let active = object.pointer("/status/active").and_then(Value::as_array).map_or(0, Vec::len);
                i64::try_from(active).unwrap_or(i64::MAX)
            }
            WorkloadKind::Job => number("/status/active"),
            WorkloadKind::StaticPod => {
                let annotations = object.pointer("/metadata/annotations")?;
                let source = annotations.get("kubernetes.io/config.source").and_then(Value::as_str);
                if !matches!(source, Some("file" | "http")) {
                    return None;
                }
                i64::from(text("/status/phase") == "Running")
            }
        };
        let pods = PodTemplate::of(object.pointer(template(kind)));
        Some(Self {
            reference: WorkloadRef::new(text("/metadata/namespace"), kind, text("/metadata/name")),
            uid,
            containers: pods.containers,
            probes: pods.probes,
            variables: pods.variables,
            available_replicas,
            replicas: object.pointer("/spec/replicas").and_then(Value::as_i64),
            template: TemplateReference::of(kind, object),
            lent_to: None,
            made_by: cron_job_of_owners(kind, object),
        })
    }
}

/// Names of the variables for agents (`OTEL_…`) that the containers of a workload's pod template set themselves, by
/// container; containers without any are absent.
#[must_use]
pub fn stated_variables(kind: WorkloadKind, object: &Value) -> BTreeMap<String, BTreeSet<String>> {
    PodTemplate::of(object.pointer(template(kind))).variables
}

/// Whether a variable is one that agents read.
#[must_use]
pub fn is_for_agents(name: &str) -> bool {
    name.starts_with("OTEL_")
}

/// Where the specification of a workload's pods is.
const fn template(kind: WorkloadKind) -> &'static str {
    match kind {
        WorkloadKind::StaticPod => "/spec",
        WorkloadKind::CronJob => "/spec/jobTemplate/spec/template/spec",
        _ => "/spec/template/spec",
    }
}

/// Whether an `apiVersion` is of the group that the kind belongs to; versions of a group may differ.
fn same_group(api_version: &Value, kind: WorkloadKind) -> bool {
    let group = |version: &str| version.split_once('/').map(|(group, _)| group.to_owned()).unwrap_or_default();
    api_version.as_str().is_some_and(|version| group(version) == group(kind.api_version()))
}

/// The workload that a pod belongs to, by its owner (2.12). The pod's own labels tell how its owner's name was made,
/// so no look-up is needed.
#[must_use]
pub fn pod_workload(pod: &ObjectMeta) -> Option<WorkloadRef> {
    let namespace = pod.namespace.clone().unwrap_or_default();
    let owners = pod.owner_references.as_ref()?;
    let owner = owners.iter().find(|owner| owner.controller == Some(true)).or(owners.first())?;
    let label = |key: &str| pod.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    let (kind, name) = match owner.kind.as_str() {
        // A ReplicaSet that no controller made has no such label, or one that its name does not end with.
        "ReplicaSet" => match label(ROLLOUT_HASH) {
            Some(hash) => (WorkloadKind::Rollout, without_suffix(&owner.name, hash)?),
            None => (WorkloadKind::Deployment, without_suffix(&owner.name, label(DEPLOYMENT_HASH)?)?),
        },
        "ReplicationController" => {
            let name = label(DEPLOYMENT_CONFIG)?;
            let revision = owner.name.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
            revision.filter(|one| !one.is_empty() && one.bytes().all(|byte| byte.is_ascii_digit()))?;
            (WorkloadKind::DeploymentConfig, name)
        }
        "Job" => match cron_job_of(&owner.name).or_else(|| pod.annotations.as_ref()?.get(CRON_JOB).map(String::as_str))
        {
            Some(name) => (WorkloadKind::CronJob, name),
            None => (WorkloadKind::Job, owner.name.as_str()),
        },
        "DaemonSet" => (WorkloadKind::DaemonSet, owner.name.as_str()),
        "StatefulSet" => (WorkloadKind::StatefulSet, owner.name.as_str()),
        "Node" => {
            let source = pod.annotations.as_ref()?.get("kubernetes.io/config.source")?;
            if source != "file" && source != "http" {
                return None;
            }
            (WorkloadKind::StaticPod, pod.name.as_deref()?)
        }
        _ => return None,
    };
    Some(WorkloadRef::new(namespace, kind, name))
}

/// Labels of pods that tell how the name of their owner was made.
pub const OWNER_LABELS: [&str; 3] = [DEPLOYMENT_HASH, ROLLOUT_HASH, DEPLOYMENT_CONFIG];
const DEPLOYMENT_HASH: &str = "pod-template-hash";
const ROLLOUT_HASH: &str = "rollouts-pod-template-hash";
const DEPLOYMENT_CONFIG: &str = "deploymentconfig";

/// Minutes since 1970 that a CronJob can have been scheduled for: from 2009 on, with eight digits until 2160. Dates of this century
/// (`20260814`) are less.
const MINUTES: std::ops::RangeInclusive<u64> = 21_000_000..=99_999_999;

/// The CronJob that made a Job by its schedule, by the name of the Job: the minute that it was scheduled for is appended.
#[must_use]
pub fn cron_job_of(job: &str) -> Option<&str> {
    let (name, minute) = job.rsplit_once('-')?;
    let is_minute =
        minute.bytes().all(|byte| byte.is_ascii_digit()) && minute.parse().is_ok_and(|one| MINUTES.contains(&one));
    (is_minute && !name.is_empty()).then_some(name)
}

/// The name of the Job that owns a pod, where the name does not tell whose it is: `kubectl create job --from=cronjob/NAME` gives any.
#[must_use]
pub fn job_of_unknown_origin(pod: &ObjectMeta) -> Option<&str> {
    let owner = pod.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    (owner.kind == "Job" && cron_job_of(&owner.name).is_none()).then_some(owner.name.as_str())
}

/// The CronJob that owns a Job, by the owners that the Job states.
#[must_use]
pub fn cron_job_that_owns(job: &ObjectMeta) -> Option<&str> {
    let mut owners = job.owner_references.iter().flatten();
    owners.find(|owner| owner.kind == "CronJob" && owner.controller == Some(true)).map(|owner| owner.name.as_str())
}

fn cron_job_of_owners(kind: WorkloadKind, object: &Value) -> Option<WorkloadRef> {
    let metadata = object.get("metadata").filter(|_| kind == WorkloadKind::Job)?;
    let metadata: ObjectMeta = serde_json::from_value(metadata.clone()).ok()?;
    let name = cron_job_that_owns(&metadata)?;
    let namespace = metadata.namespace.clone().unwrap_or_default();
    Some(WorkloadRef::new(namespace, WorkloadKind::CronJob, name))
}

/// The name without `-<hash>`.
fn without_suffix<'a>(name: &'a str, hash: &str) -> Option<&'a str> {
    name.strip_suffix(hash)?.strip_suffix('-').filter(|rest| !rest.is_empty() && !hash.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(owner: &str, name: &str, labels: Value, annotations: Value) -> Option<String> {
        let metadata = json!({
            "name": "pod-1", "namespace": "shop", "labels": labels, "annotations": annotations,
            "ownerReferences": [{"apiVersion": "v1", "kind": owner, "name": name, "uid": "u", "controller": true}],
        });
        pod_workload(&serde_json::from_value(metadata).unwrap()).map(|workload| workload.to_string())
    }

    #[test]
    fn every_owner_kind() {
        let none = || json!({});
        let cases = [
            (
                pod("ReplicaSet", "web-api-5d4f", json!({"pod-template-hash": "5d4f"}), none()),
                Some("Deployment shop/web-api"),
            ),
            (pod("ReplicaSet", "web-v2", none(), none()), None),
            (pod("ReplicaSet", "web-v2", json!({"pod-template-hash": "5d4f"}), none()), None),
            (
                pod("ReplicaSet", "web-77", json!({"rollouts-pod-template-hash": "77"}), none()),
                Some("Rollout shop/web"),
            ),
            (
                pod("ReplicationController", "web-3", json!({"deploymentconfig": "web"}), none()),
                Some("DeploymentConfig shop/web"),
            ),
            (pod("ReplicationController", "web-3", none(), none()), None),
            (pod("Job", "import-28471200", none(), none()), Some("CronJob shop/import")),
            (pod("Job", "import-data", none(), none()), Some("Job shop/import-data")),
            (pod("Job", "import-20260814", none(), none()), Some("Job shop/import-20260814")),
            (pod("Job", "import-20260814093000", none(), none()), Some("Job shop/import-20260814093000")),
            (pod("Job", "by-hand", none(), json!({"odigos.io/cron-job": "import"})), Some("CronJob shop/import")),
            (pod("DaemonSet", "agent", none(), none()), Some("DaemonSet shop/agent")),
            (pod("StatefulSet", "db", none(), none()), Some("StatefulSet shop/db")),
            (pod("Node", "n1", none(), json!({"kubernetes.io/config.source": "file"})), Some("StaticPod shop/pod-1")),
            (pod("Node", "n1", none(), json!({"kubernetes.io/config.source": "api"})), None),
            (pod("Widget", "w", none(), none()), None),
        ];
        for (found, expected) in cases {
            assert_eq!(found.as_deref(), expected);
        }
    }

    #[test]
    fn replicas_and_containers_of_each_kind() {
        let containers = json!({"containers": [{"name": "app"}, {"name": "sidecar"}]});
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop", "uid": "u-1"},
            "spec": {"template": {"spec": containers}}, "status": {"availableReplicas": 2},
        });
        let read = Workload::from_object(&deployment).unwrap();
        assert_eq!(
            (read.containers, read.available_replicas, read.uid.as_str()),
            (vec!["app".into(), "sidecar".into()], 2, "u-1")
        );
        let cron = json!({
            "apiVersion": "batch/v1beta1", "kind": "CronJob", "metadata": {"name": "c", "namespace": "shop"},
            "spec": {"jobTemplate": {"spec": {"template": {"spec": containers}}}}, "status": {"active": [{}, {}]},
        });
        assert_eq!(Workload::from_object(&cron).map(|w| (w.available_replicas, w.containers.len())), Some((2, 2)));
        let pod = |annotations: Value| {
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "etcd-n1", "namespace": "kube-system", "uid": "u-2", "annotations": annotations},
                "spec": containers, "status": {"phase": "Running"}})
        };
        let annotations = json!({"kubernetes.io/config.source": "file", "kubernetes.io/config.hash": "h"});
        let read = Workload::from_object(&pod(annotations)).unwrap();
        assert_eq!(
            (read.reference.kind, read.uid.as_str(), read.available_replicas),
            (WorkloadKind::StaticPod, "u-2", 1)
        );
        assert_eq!(Workload::from_object(&pod(json!({}))), None);
        let foreign = json!({"apiVersion": "example.com/v1", "kind": "Deployment", "metadata": {"name": "x"}});
        assert_eq!(Workload::from_object(&foreign), None);
    }
}
