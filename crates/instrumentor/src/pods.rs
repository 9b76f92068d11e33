//! Pods as the instrumentor needs them: a few fields of each, and which workload they belong to.
//!
//! A cluster has many pods that change often, so only what is read is decoded at all. Decides nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use odigos_api::WorkloadRef;
use odigos_api::labels::{AGENTS_META_HASH, CLUSTER_INPUTS, CRON_JOB, DETECTION_POD, DETECTION_REQUEST};
use odigos_plan::agents::{Backoff, inputs};
use odigos_plan::detection::message::Request;
use odigos_plan::detection::pods::{DetectionPod, Report};
use odigos_plan::detection::reports::ReportedPod;
use odigos_plan::detection::subject;
use odigos_plan::detection::waiting::Candidate;
use odigos_plan::injection::has_host_path;
use odigos_plan::instrumentation::pods::{ContainerSeen, Failure, PodSeen, REVISIONS};
use odigos_plan::workload::{OWNER_LABELS, pod_workload};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// What is kept of a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PodFacts {
    #[serde(default)]
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
    /// How it could be looked at, once it is ready.
    #[serde(skip)]
    candidate: Option<Arc<Candidate>>,
    /// Whether it has the agents' files from its node.
    #[serde(skip)]
    has_host_path: bool,
    /// Its node, which reports about it come from.
    #[serde(skip)]
    node: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_name: String,
    volumes: Vec<Volume>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Volume {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_path: Option<HostPath>,
}

/// That a volume is a host path; which does not matter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct HostPath {}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    phase: String,
    reason: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<Time>,
    conditions: Vec<PodCondition>,
    init_container_statuses: Vec<ContainerStatus>,
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    message: Option<String>,
    last_transition_time: Option<Time>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    name: String,
    restart_count: u32,
    ready: bool,
    started: Option<bool>,
    #[serde(rename = "imageID")]
    image_id: String,
    state: ContainerState,
    last_state: ContainerState,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct ContainerState {
    waiting: Option<Waiting>,
    terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Waiting {
    reason: String,
    message: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Terminated {
    exit_code: i32,
    reason: String,
    message: String,
    finished_at: Option<Time>,
}

impl ContainerStatus {
    /// How it failed last.
    fn failure(&self) -> Option<Failure> {
        let mut ended = [&self.state, &self.last_state].into_iter().filter_map(|state| state.terminated.as_ref());
        ended.find(|one| one.exit_code != 0).map(|one| Failure {
            exit_code: one.exit_code,
            reason: one.reason.clone(),
            message: one.message.clone(),
            at: one.finished_at.as_ref().map(|time| time.0),
        })
    }

    /// Whether there is something to say about it.
    fn is_of_interest(&self) -> bool {
        self.state.waiting.is_some() || self.restart_count > 0 || self.failure().is_some()
    }

    fn seen(&self) -> ContainerSeen {
        let waiting = self.state.waiting.as_ref().map(|one| (one.reason.clone(), one.message.clone()));
        let (name, restarts) = (self.name.clone(), self.restart_count);
        ContainerSeen { name, restarts, waiting: waiting.unwrap_or_default(), failure: self.failure() }
    }
}

impl kube::Resource for PodFacts {
    type DynamicType = ();
    type Scope = kube::core::NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Pod".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "pods".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl PodFacts {
    /// Whether the pod is one that a kubelet runs from a file.
    pub(crate) fn is_static(&self) -> bool {
        let annotations = self.metadata.annotations.as_ref();
        let source = annotations.and_then(|annotations| annotations.get("kubernetes.io/config.source"));
        matches!(source.map(String::as_str), Some("file" | "http"))
    }

    /// Hash of the agents that it was created with; `None` without agents.
    pub(crate) fn hash(&self) -> Option<&str> {
        self.metadata.labels.as_ref()?.get(AGENTS_META_HASH).map(String::as_str)
    }

    /// What of it a report is compared with.
    pub(crate) fn reported(&self) -> ReportedPod {
        let metadata = &self.metadata;
        ReportedPod {
            uid: metadata.uid.clone().unwrap_or_default(),
            workload: pod_workload(metadata),
            node: self.node.clone(),
            created: metadata.creation_timestamp.clone(),
        }
    }

    fn seen(&self) -> PodSeen {
        let (metadata, status) = (&self.metadata, &self.status);
        let label = |key: &str| metadata.labels.as_ref()?.get(key).cloned();
        let condition = |kind: &str| status.conditions.iter().find(|one| one.type_ == kind);
        let ready = condition("Ready");
        let statuses = status.init_container_statuses.iter().chain(&status.container_statuses);
        let unscheduled = condition("PodScheduled").filter(|one| one.status == "False");
        PodSeen {
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            hash: self.hash().map(str::to_owned),
            inputs: metadata.annotations.as_ref().and_then(|all| inputs::parse(all.get(CLUSTER_INPUTS)?)),
            revision: REVISIONS.into_iter().find_map(label).unwrap_or_default(),
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
            started: status.start_time.as_ref().map(|time| time.0),
            is_going: metadata.deletion_timestamp.is_some(),
            is_ready: ready.is_some_and(|one| one.status == "True"),
            ready_changed: ready.and_then(|one| one.last_transition_time.as_ref()).map(|time| time.0),
            unscheduled: unscheduled.map(|one| one.message.clone().unwrap_or_default()),
            containers: statuses.filter(|one| one.is_of_interest()).map(ContainerStatus::seen).collect(),
        }
    }

    /// How the agent of a node would look at it, by what is known here.
    fn looked_at(&self) -> Option<Candidate> {
        let (metadata, status) = (&self.metadata, &self.status);
        let is_ready = status.conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True");
        if status.phase != "Running" || metadata.deletion_timestamp.is_some() || !is_ready {
            return None;
        }
        let is_job = metadata.owner_references.iter().flatten().any(|owner| owner.kind == "Job");
        let is_up = |one: &ContainerStatus| subject::is_up(one.ready, one.started, is_job);
        let statuses = &status.container_statuses;
        if statuses.is_empty() || !statuses.iter().all(is_up) || pod_workload(metadata).is_none() {
            return None;
        }
        let image = |one: &ContainerStatus| (one.name.clone(), subject::image(&one.image_id).to_owned());
        Some(Candidate {
            pod: metadata.name.clone()?,
            uid: metadata.uid.clone()?,
            node: self.spec.node_name.clone(),
            created: metadata.creation_timestamp.clone(),
            images: statuses.iter().map(image).collect(),
        })
    }

    fn is_detection(&self) -> bool {
        self.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(DETECTION_POD))
    }

    /// A pod that looks at others, with what it was asked; `None` for any other pod, and for one that is going.
    pub(crate) fn detection(&self) -> Option<(DetectionPod, Request)> {
        let (metadata, status) = (&self.metadata, &self.status);
        if !self.is_detection() || metadata.deletion_timestamp.is_some() {
            return None;
        }
        let request = metadata.annotations.as_ref().and_then(|all| all.get(DETECTION_REQUEST));
        let request = request.and_then(|text| Request::parse(text).ok()).unwrap_or_default();
        let container = status.container_statuses.first();
        let waits = container.and_then(|one| one.state.waiting.as_ref());
        let ended = container.and_then(|one| one.state.terminated.as_ref());
        let report = Report {
            phase: status.phase.clone(),
            reason: status.reason.clone(),
            message: status.message.clone(),
            waits: waits.map(|one| (one.reason.clone(), one.message.clone())),
            ended: ended.map(|one| (one.exit_code, one.reason.clone(), one.message.clone())),
        };
        let pod = DetectionPod {
            name: metadata.name.clone()?,
            node: self.spec.node_name.clone(),
            created: metadata.creation_timestamp.as_ref()?.0,
            workloads: request.pods.iter().map(|subject| subject.workload.clone()).collect(),
            report,
        };
        Some((pod, request))
    }

    /// What detection pods are decided by: how it could be looked at, or what it says itself.
    pub(crate) fn of_detection(&self) -> (Option<Arc<Candidate>>, Option<Self>) {
        (self.candidate.clone(), self.is_detection().then(|| self.clone()))
    }

    /// Whether it has ended for good.
    fn has_ended(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    /// The container that the kubelet has given up starting for now.
    fn backoff(&self) -> Option<Backoff> {
        let mut statuses = self.status.init_container_statuses.iter().chain(&self.status.container_statuses);
        if !statuses.any(|one| one.state.waiting.as_ref().is_some_and(|waiting| waiting.reason.ends_with("BackOff"))) {
            return None;
        }
        let value = json!({"metadata": {"name": self.metadata.name}, "status": self.status});
        Backoff::of_pod(&value)
    }
}

/// Longest message of a container that is kept, in bytes.
const MESSAGE_LIMIT: usize = 1024;

/// Drops everything of a pod that nobody reads. `namespace` is the control plane's: pods elsewhere may carry the label of detection
/// pods, and are none.
pub(crate) fn prune(pod: &mut PodFacts, namespace: &str) {
    if pod.is_detection() && pod.metadata.namespace.as_deref() == Some(namespace) {
        pod.spec.volumes = Vec::new();
        let metadata = &mut pod.metadata;
        metadata.managed_fields = None;
        metadata.labels.iter_mut().for_each(|labels| labels.retain(|key, _| key == DETECTION_POD));
        metadata.annotations.iter_mut().for_each(|all| all.retain(|key, _| key == DETECTION_REQUEST));
        return;
    }
    pod.candidate = pod.looked_at().map(Arc::new);
    pod.has_host_path =
        has_host_path(pod.spec.volumes.iter().map(|volume| (volume.name.as_str(), volume.host_path.is_some())));
    pod.node = std::mem::take(&mut pod.spec).node_name;
    (pod.status.reason, pod.status.message) = Default::default();
    let metadata = &mut pod.metadata;
    if let Some(labels) = &mut metadata.labels {
        let is_kept = |key: &str| key == AGENTS_META_HASH || REVISIONS.contains(&key) || OWNER_LABELS.contains(&key);
        labels.retain(|key, _| is_kept(key));
    }
    if let Some(annotations) = &mut metadata.annotations {
        let is_kept = |key: &str| key.starts_with("kubernetes.io/config.") || key == CLUSTER_INPUTS || key == CRON_JOB;
        annotations.retain(|key, _| is_kept(key));
    }
    metadata.finalizers = None;
    metadata.generate_name = None;
    for statuses in [&mut pod.status.init_container_statuses, &mut pod.status.container_statuses] {
        statuses.retain(ContainerStatus::is_of_interest);
        for status in statuses.iter_mut() {
            status.image_id = String::new();
            for terminated in
                [&mut status.state, &mut status.last_state].into_iter().filter_map(|one| one.terminated.as_mut())
            {
                keep_end(&mut terminated.message);
            }
        }
    }
    pod.status.conditions.retain(|one| one.type_ == "Ready" || (one.type_ == "PodScheduled" && one.status == "False"));
}

/// The last words are what tells why.
fn keep_end(message: &mut String) {
    if message.len() > MESSAGE_LIMIT {
        let mut from = message.len() - MESSAGE_LIMIT;
        while !message.is_char_boundary(from) {
            from += 1;
        }
        message.drain(..from);
    }
}

/// What a workload's pod is like.
#[derive(Clone, Debug, Default, PartialEq)]
struct PodOfWorkload {
    seen: PodSeen,
    /// What does not start in it.
    backoff: Option<Backoff>,
    /// How it could be looked at.
    candidate: Option<Arc<Candidate>>,
    /// Whether it has the agents' files from its node.
    has_host_path: bool,
}

/// Pods that have not ended, by workload and name.
#[derive(Debug, Default)]
pub(crate) struct PodIndex(RwLock<BTreeMap<WorkloadRef, BTreeMap<String, PodOfWorkload>>>);

impl PodIndex {
    /// Takes over a change of a pod; returns the workload when its pods look different now.
    pub(crate) fn update(&self, before: Option<&PodFacts>, after: Option<&PodFacts>) -> Option<WorkloadRef> {
        let workload = before.or(after).and_then(|pod| pod_workload(&pod.metadata))?;
        let name = before.or(after).and_then(|pod| pod.metadata.name.clone()).unwrap_or_default();
        let fresh = after.filter(|pod| !pod.has_ended()).map(|pod| PodOfWorkload {
            seen: pod.seen(),
            backoff: pod.backoff(),
            candidate: pod.candidate.clone(),
            has_host_path: pod.has_host_path,
        });
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let pods = all.entry(workload.clone()).or_default();
        let known = match &fresh {
            Some(fresh) => pods.insert(name, fresh.clone()),
            None => pods.remove(&name),
        };
        if pods.is_empty() {
            all.remove(&workload);
        }
        (known != fresh).then_some(workload)
    }

    /// The pods of a workload.
    pub(crate) fn of(&self, workload: &WorkloadRef) -> Vec<PodSeen> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(workload).into_iter().flat_map(|pods| pods.values().map(|pod| pod.seen.clone())).collect()
    }

    /// The pods of a workload that could be looked at.
    pub(crate) fn candidates(&self, workload: &WorkloadRef) -> Vec<Arc<Candidate>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let pods = all.get(workload).into_iter().flat_map(BTreeMap::values).filter(|pod| !pod.seen.is_going);
        pods.filter_map(|pod| pod.candidate.clone()).collect()
    }

    /// Whether pods of the workload have the agents' files from their nodes.
    pub(crate) fn have_host_path(&self, workload: &WorkloadRef) -> bool {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(workload).into_iter().flat_map(BTreeMap::values).any(|pod| pod.has_host_path)
    }

    /// Notes that a pod was asked to go, before the watch tells.
    pub(crate) fn is_going(&self, workload: &WorkloadRef, pod: &str) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(pod) = all.get_mut(workload).and_then(|pods| pods.get_mut(pod)) {
            pod.seen.is_going = true;
        }
    }

    /// A pod of the workload that does not start although it has no agent.
    pub(crate) fn backoff_without_agent(&self, workload: &WorkloadRef) -> Option<Backoff> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(workload)?
            .values()
            .filter(|pod| pod.seen.hash.is_none() && !pod.seen.is_going)
            .find_map(|pod| pod.backoff.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, hash: Option<&str>, reason: &str) -> PodFacts {
        let mut labels = json!({"pod-template-hash": "5d4f", "team": "blue"});
        if let Some(hash) = hash {
            labels[AGENTS_META_HASH] = json!(hash);
        }
        let state = if reason.is_empty() { json!({"running": {}}) } else { json!({"waiting": {"reason": reason}}) };
        let value = json!({
            "metadata": {
                "name": name, "namespace": "shop", "labels": labels,
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d4f", "uid": "u", "controller": true}],
            },
            "spec": {"containers": [{"name": "app"}]},
            "status": {"phase": "Running", "containerStatuses": [{"name": "app", "state": state, "restartCount": 0}]},
        });
        let mut pod: PodFacts = serde_json::from_value(value).unwrap();
        prune(&mut pod, "odigos-system");
        pod
    }

    #[test]
    fn only_detection_pods_of_the_control_plane_keep_what_they_were_asked() {
        let labelled = |namespace: &str| {
            let value = json!({"metadata": {
                "name": "x", "namespace": namespace, "labels": {DETECTION_POD: "true", "team": "blue"},
                "annotations": {DETECTION_REQUEST: "{}", "large": "x".repeat(200_000)},
            }});
            let mut pod: PodFacts = serde_json::from_value(value).unwrap();
            prune(&mut pod, "odigos-system");
            (pod.is_detection(), pod.metadata.annotations.unwrap_or_default().into_keys().collect::<Vec<_>>())
        };
        assert_eq!(labelled("odigos-system"), (true, vec![DETECTION_REQUEST.to_owned()]));
        assert_eq!(labelled("shop"), (false, vec![]));
    }

    #[test]
    fn workload_is_known_by_its_pods_to_mount_files_from_nodes() {
        let pod = |volumes: serde_json::Value| {
            let mut pod = pod("a", Some("h"), "");
            pod.spec = serde_json::from_value(json!({"volumes": volumes})).unwrap();
            prune(&mut pod, "odigos-system");
            pod
        };
        let web = WorkloadRef::new("shop", odigos_api::WorkloadKind::Deployment, "web");
        let cases = [
            (json!([{"name": "odigos-agent", "hostPath": {"path": "/var/odigos"}}]), true),
            (json!([{"name": "odigos-agent", "emptyDir": {}}, {"name": "data", "hostPath": {"path": "/data"}}]), false),
        ];
        for (volumes, expected) in cases {
            let index = PodIndex::default();
            index.update(None, Some(&pod(volumes)));
            assert_eq!(index.have_host_path(&web), expected);
        }
    }

    #[test]
    fn pods_are_counted_for_their_workload() {
        let index = PodIndex::default();
        let web = WorkloadRef::new("shop", odigos_api::WorkloadKind::Deployment, "web");
        let (plain, injected) = (pod("a", None, ""), pod("b", Some("h"), "CrashLoopBackOff"));
        assert_eq!(index.update(None, Some(&plain)).as_ref(), Some(&web));
        assert_eq!(index.update(Some(&plain), Some(&plain)), None, "nothing that is looked at changed");
        assert_eq!(index.update(None, Some(&injected)).as_ref(), Some(&web));
        assert_eq!(index.of(&web).len(), 2);
        assert_eq!(index.backoff_without_agent(&web), None, "the one that fails has an agent");
        let failing = pod("a", None, "CrashLoopBackOff");
        assert_eq!(index.update(Some(&plain), Some(&failing)).as_ref(), Some(&web));
        let expected = Backoff { pod: "a".into(), container: "app".into(), reason: "CrashLoopBackOff".into() };
        assert_eq!(index.backoff_without_agent(&web), Some(expected));
        index.update(Some(&failing), None);
        index.update(Some(&injected), None);
        assert!(index.of(&web).is_empty());
    }

    #[test]
    fn a_pod_that_is_ready_can_be_looked_at_with_its_images() {
        let of = |change: fn(&mut serde_json::Value)| {
            let mut value = serde_json::to_value(pod("a", None, "")).unwrap();
            value["metadata"]["uid"] = json!("u");
            value["spec"] = json!({"nodeName": "n1", "containers": [{"name": "app"}]});
            value["status"] = json!({
                "phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": null}],
                "containerStatuses": [{"name": "app", "ready": true, "started": true, "restartCount": 0, "imageID": "docker-pullable://web@sha256:1", "state": {"running": {}}}],
            });
            change(&mut value);
            let mut facts: PodFacts = serde_json::from_value(value).unwrap();
            prune(&mut facts, "odigos-system");
            assert!(facts.status.container_statuses.is_empty() && facts.spec == PodSpec::default());
            facts.candidate
        };
        let found = of(|_| {}).unwrap();
        assert_eq!((found.node.as_str(), found.images[0].1.as_str()), ("n1", "web@sha256:1"));
        assert!(of(|pod| pod["status"]["containerStatuses"][0]["started"] = json!(false)).is_none());
        assert!(of(|pod| pod["status"]["conditions"][0]["status"] = json!("False")).is_none());
        assert!(of(|pod| pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z")).is_none());
        assert!(of(|pod| pod["metadata"]["ownerReferences"] = json!([])).is_none(), "nobody's");
    }

    #[test]
    fn a_detection_pod_keeps_what_it_says() {
        let request = Request::default().to_json();
        let value = json!({
            "metadata": {
                "name": "odigos-detection-1", "namespace": "odigos-system", "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {DETECTION_POD: "true"}, "annotations": {DETECTION_REQUEST: request},
            },
            "spec": {"nodeName": "n1"},
            "status": {"phase": "Succeeded", "containerStatuses": [{"name": "detect", "state": {"terminated": {"exitCode": 0, "reason": "Completed", "message": "x".repeat(4096)}}}]},
        });
        let mut facts: PodFacts = serde_json::from_value(value).unwrap();
        prune(&mut facts, "odigos-system");
        let (pod, _) = facts.detection().unwrap();
        let ended = pod.report.ended.unwrap();
        assert_eq!((pod.node.as_str(), ended.0, ended.2.len()), ("n1", 0, 4096));
    }

    #[test]
    fn what_failed_is_kept_and_what_is_well_costs_nothing() {
        let status = json!({
            "phase": "Running", "startTime": "2026-01-01T00:00:05Z",
            "conditions": [
                {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:01:00Z"},
                {"type": "Initialized", "status": "True", "lastTransitionTime": null},
            ],
            "containerStatuses": [
                {"name": "sidecar", "restartCount": 0, "state": {"running": {}}, "lastState": {}},
                {"name": "app", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                 "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "x".repeat(5000), "finishedAt": "2026-01-01T00:00:59Z"}}},
            ],
        });
        let mut value = serde_json::to_value(pod("a", Some("h"), "")).unwrap();
        value["status"] = status;
        value["metadata"]["uid"] = json!("u-7");
        let mut facts: PodFacts = serde_json::from_value(value).unwrap();
        prune(&mut facts, "odigos-system");
        assert_eq!((facts.status.container_statuses.len(), facts.status.conditions.len()), (1, 1));
        let seen = facts.seen();
        assert_eq!((seen.name.as_str(), seen.uid.as_str(), seen.revision.as_str()), ("a", "u-7", "5d4f"));
        let at = |text: &str| Some(text.parse().unwrap());
        assert!(!seen.is_ready && !seen.is_going);
        assert_eq!((seen.started, seen.ready_changed), (at("2026-01-01T00:00:05Z"), at("2026-01-01T00:01:00Z")));
        let app = &seen.containers[0];
        let failure = app.failure.as_ref().unwrap();
        assert_eq!((app.restarts, app.waiting.0.as_str(), failure.exit_code), (3, "CrashLoopBackOff", 137));
        assert_eq!(
            (failure.reason.as_str(), failure.message.len(), failure.at),
            ("OOMKilled", 1024, at("2026-01-01T00:00:59Z"))
        );
        // A pod that is well holds nothing but that it is ready.
        assert!(pod("b", None, "").seen().containers.is_empty());
    }
}
