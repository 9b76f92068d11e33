//! A pod → what of it is looked at, and when (`spec/sources-and-instrumentation.md` 4.1).
//!
//! Owns the choice of pods: covered, ready, and not going away; and for the health of agents, those that carry one. Never asks the
//! API server.

use crate::workload::pod_workload;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use odigos_api::labels::{AGENTS_META_HASH, STREAM_CLASS};
use odigos_api::{WorkloadKind, WorkloadRef};
use odigos_detect::parse::Member;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A pod that is looked at.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Subject {
    /// Its uid.
    pub uid: String,
    /// Its name, for people.
    pub pod: String,
    /// Its workload.
    pub workload: WorkloadRef,
    /// When it was created.
    pub created: Option<Time>,
    /// Whether admission has given it agents.
    pub has_agents: bool,
    /// Its containers that run.
    pub containers: Vec<Running>,
}

/// A container that runs.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its name.
    pub name: String,
    /// Where its processes are.
    #[serde(with = "MemberFields")]
    pub member: Member,
    /// Its image with the digest, as the container runtime names it; empty when not said.
    pub image: String,
    /// Variables that the pod sets by name.
    pub set: BTreeSet<String>,
    /// Whether the pod sets further ones from ConfigMaps or Secrets as a whole.
    pub has_env_from: bool,
}

/// How [`Member`] is written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Member")]
struct MemberFields {
    pod: String,
    container: String,
}

impl Subject {
    /// `None` for a pod that the agent of its node does not look at, or not yet: it knows covered pods by their stream class.
    #[must_use]
    pub fn of(pod: &Pod) -> Option<Self> {
        pod.metadata.labels.as_ref()?.contains_key(STREAM_CLASS).then(|| Self::ready(pod))?
    }

    /// `None` for a pod in which nothing is to be seen, or not yet.
    #[must_use]
    pub fn ready(pod: &Pod) -> Option<Self> {
        let found = Self::running(pod)?;
        let workload = &found.workload;
        let status = pod.status.as_ref()?;
        let is_job = matches!(workload.kind, WorkloadKind::CronJob | WorkloadKind::Job);
        let statuses = status.container_statuses.as_deref().unwrap_or_default();
        let declared = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
        if statuses.len() != declared.len() || !statuses.iter().all(|one| is_up(one.ready, one.started, is_job)) {
            return None;
        }
        Some(found)
    }

    /// `None` for a pod without agents, or one in which nothing runs.
    #[must_use]
    pub fn carrying(pod: &Pod) -> Option<Self> {
        let labels = pod.metadata.labels.as_ref()?;
        // Uncovered, it keeps its agents until it is made anew, but nobody cares for them.
        (labels.contains_key(AGENTS_META_HASH) && labels.contains_key(STREAM_CLASS)).then(|| Self::running(pod))?
    }

    fn running(pod: &Pod) -> Option<Self> {
        let metadata = &pod.metadata;
        let status = pod.status.as_ref()?;
        if metadata.deletion_timestamp.is_some() || status.phase.as_deref() != Some("Running") {
            return None;
        }
        let workload = pod_workload(metadata)?;
        let statuses = status.container_statuses.as_deref().unwrap_or_default();
        let declared = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
        let uid = metadata.uid.clone()?;
        // The kubelet names the group of a static pod after the hash of its manifest, not after its mirror's uid.
        let hash = metadata.annotations.as_ref().and_then(|all| all.get("kubernetes.io/config.hash"));
        let group = hash.unwrap_or(&uid);
        let containers = declared.iter().filter_map(|one| running(one, statuses, group)).collect();
        let created = metadata.creation_timestamp.clone();
        let has_agents = metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(AGENTS_META_HASH));
        Some(Self { uid, pod: metadata.name.clone()?, workload, created, has_agents, containers })
    }

    /// What makes a look worthwhile again when it changes: the containers and their images.
    #[must_use]
    pub fn fingerprint(&self) -> Vec<String> {
        self.containers.iter().map(|one| format!("{} {}", one.member.container, one.image)).collect()
    }
}

fn running(declared: &Container, statuses: &[ContainerStatus], group: &str) -> Option<Running> {
    let status = statuses.iter().find(|one| one.name == declared.name)?;
    // `containerd://<id>`
    let (_, id) = status.container_id.as_deref()?.split_once("://")?;
    Some(Running {
        name: declared.name.clone(),
        member: Member { pod: group.to_owned(), container: id.to_owned() },
        image: image(&status.image_id).to_owned(),
        set: declared.env.iter().flatten().map(|one| one.name.clone()).collect(),
        has_env_from: declared.env_from.as_ref().is_some_and(|all| !all.is_empty()),
    })
}

/// Whether a container is worth a look, by its status. Pods of jobs may have ended before anything says that they started.
#[must_use]
pub fn is_up(ready: bool, started: Option<bool>, is_job: bool) -> bool {
    ready && (started == Some(true) || is_job)
}

/// The image of a container with its digest, without what some container runtimes write before it.
#[must_use]
pub fn image(image_id: &str) -> &str {
    image_id.strip_prefix("docker-pullable://").unwrap_or(image_id)
}

/// Keeps of a pod what [`Subject::of`] reads; values of variables are dropped.
pub fn prune(pod: &mut Pod) {
    if let Some(status) = &mut pod.status {
        *status = k8s_openapi::api::core::v1::PodStatus {
            phase: status.phase.take(),
            container_statuses: status.container_statuses.take(),
            ..Default::default()
        };
        for one in status.container_statuses.iter_mut().flatten() {
            *one = ContainerStatus {
                name: std::mem::take(&mut one.name),
                ready: one.ready,
                started: one.started,
                container_id: one.container_id.take(),
                image_id: std::mem::take(&mut one.image_id),
                ..Default::default()
            };
        }
    }
    if let Some(spec) = &mut pod.spec {
        let keep = |container: &mut Container| {
            let mut env = container.env.take();
            for one in env.iter_mut().flatten() {
                one.value = None;
                one.value_from = None;
            }
            let has_env_from = container.env_from.as_ref().is_some_and(|all| !all.is_empty());
            *container = Container {
                name: std::mem::take(&mut container.name),
                env,
                env_from: has_env_from.then(|| vec![Default::default()]),
                ..Default::default()
            };
        };
        spec.containers.iter_mut().for_each(keep);
        spec.init_containers.iter_mut().flatten().for_each(keep);
        *spec = k8s_openapi::api::core::v1::PodSpec {
            containers: std::mem::take(&mut spec.containers),
            init_containers: spec.init_containers.take(),
            ..Default::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn pod() -> Value {
        json!({
            "metadata": {
                "namespace": "shop", "name": "web-5d4f-x", "uid": "u-1", "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {STREAM_CLASS: "default", "pod-template-hash": "5d4f"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d4f", "uid": "r", "controller": true}],
            },
            "spec": {"containers": [{"name": "app", "env": [{"name": "JAVA_TOOL_OPTIONS", "value": "secret"}], "envFrom": [{"configMapRef": {"name": "c"}}]}]},
            "status": {"phase": "Running", "containerStatuses": [{
                "name": "app", "ready": true, "started": true, "restartCount": 0, "image": "web:1",
                "imageID": "docker-pullable://web@sha256:1", "containerID": format!("containerd://{ID}"),
            }]},
        })
    }

    fn subject(change: impl FnOnce(&mut Value)) -> Option<Subject> {
        let mut value = pod();
        change(&mut value);
        let mut pod: Pod = serde_json::from_value(value).unwrap();
        let whole = Subject::of(&pod);
        prune(&mut pod);
        assert_eq!(Subject::of(&pod), whole, "what is kept is enough");
        assert!(!serde_json::to_string(&pod).unwrap().contains("secret"), "values of variables are not kept");
        whole
    }

    #[test]
    fn a_ready_covered_pod_is_looked_at() {
        let found = subject(|_| {}).unwrap();
        assert_eq!(found.workload.to_string(), "Deployment shop/web");
        let container = &found.containers[0];
        assert_eq!((container.member.pod.as_str(), container.member.container.as_str()), ("u-1", ID));
        assert_eq!((container.image.as_str(), container.has_env_from), ("web@sha256:1", true));
        assert!(container.set.contains("JAVA_TOOL_OPTIONS"));
    }

    #[test]
    fn others_wait_or_are_left_alone() {
        type Case = (&'static str, fn(&mut Value));
        let cases: [Case; 7] = [
            ("not covered", |pod| pod["metadata"]["labels"] = json!({})),
            ("going away", |pod| pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z")),
            ("not running", |pod| pod["status"]["phase"] = json!("Pending")),
            ("not ready", |pod| pod["status"]["containerStatuses"][0]["ready"] = json!(false)),
            ("not started", |pod| pod["status"]["containerStatuses"][0]["started"] = json!(false)),
            ("a container without a status", |pod| {
                pod["spec"]["containers"] = json!([{"name": "app"}, {"name": "sidecar"}]);
            }),
            ("nobody's", |pod| pod["metadata"]["ownerReferences"] = json!([])),
        ];
        for (name, change) in cases {
            assert_eq!(subject(change), None, "{name}");
        }
    }

    #[test]
    fn pods_of_jobs_need_not_have_started() {
        let found = subject(|pod| {
            pod["metadata"]["ownerReferences"][0]["kind"] = json!("Job");
            pod["metadata"]["ownerReferences"][0]["name"] = json!("import-28471200");
            pod["status"]["containerStatuses"][0]["started"] = json!(false);
        });
        assert_eq!(found.unwrap().workload.to_string(), "CronJob shop/import");
    }

    #[test]
    fn a_restarted_container_is_another_one() {
        let before = subject(|_| {}).unwrap().fingerprint();
        let after = subject(|pod| {
            pod["status"]["containerStatuses"][0]["containerID"] =
                json!(format!("containerd://{}", ID.replace('0', "1")));
        });
        assert_ne!(after.unwrap().fingerprint(), before);
    }

    #[test]
    fn static_pods_are_found_by_the_hash_of_their_manifest() {
        let found = subject(|pod| {
            pod["metadata"]["ownerReferences"][0]["kind"] = json!("Node");
            pod["metadata"]["annotations"] =
                json!({"kubernetes.io/config.hash": "abc", "kubernetes.io/config.source": "file"});
        });
        assert_eq!(found.unwrap().containers[0].member.pod, "abc");
    }
}
