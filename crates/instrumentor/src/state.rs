//! The stores that reconciles and hooks read: workloads of every kind, Sources, InstrumentationConfigs.

use crate::pods::{PodFacts, PodIndex};
use crate::pull_secrets::PullSecrets;
use crate::rollouts::Remembered;
use arc_swap::ArcSwap;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Event, LimitRange, Namespace, Node};
use kube::Client;
use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind, PartialObjectMeta};
use odigos_api::collectors_group::CollectorsGroup;
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::instrumentation_rule::InstrumentationRule;
use odigos_api::source::Source;
use odigos_api::{Signal, WorkloadKind, WorkloadRef, names};
use odigos_kit::apply::Applier;
use odigos_kit::events::Events;
use odigos_kit::hub::Hub;
use odigos_plan::configuration::Configuration;
use odigos_plan::coverage::Matcher;
use odigos_plan::detection;
use odigos_plan::injection;
use odigos_plan::instrumentation::Options;
use odigos_plan::instrumentation::creation::{self, CreationFailure};
use odigos_plan::instrumentation::rollout::Progress;
use odigos_plan::workload::{PodTemplate, TemplateReference, Workload, is_for_agents, stated_variables};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// Kinds that every cluster serves.
pub(crate) const BUILT_IN: [WorkloadKind; 4] =
    [WorkloadKind::Deployment, WorkloadKind::StatefulSet, WorkloadKind::DaemonSet, WorkloadKind::CronJob];
/// Kinds that some clusters serve; their watches wait until they do.
pub(crate) const OPTIONAL: [WorkloadKind; 2] = [WorkloadKind::Rollout, WorkloadKind::DeploymentConfig];

/// Everything that reconciles and hooks read.
#[derive(Debug)]
pub(crate) struct State {
    /// Namespace of the control plane.
    pub(crate) namespace: String,
    /// When this process began, and with it its admission.
    pub(crate) started: Timestamp,
    pub(crate) client: ClientHandle,
    /// For evictions, whose refusal is an answer.
    pub(crate) evictor: ClientHandle,
    pub(crate) applier: Applier,
    /// The effective configuration, as far as it matters to workloads.
    pub(crate) options: ArcSwap<Options>,
    /// The effective configuration, as far as it matters to new pods.
    pub(crate) injection: ArcSwap<injection::Options>,
    /// The effective configuration, as far as it says who looks at processes.
    pub(crate) detection: ArcSwap<detection::Options>,
    /// The effective configuration, for what it allows users.
    pub(crate) configuration: ArcSwap<Configuration>,
    /// What was tried to look at, where no agent does.
    pub(crate) looks: Mutex<detection::pods::Memory>,
    /// Writes what was found, in place of the agents of the nodes.
    pub(crate) reporter: Applier,
    /// The ConfigMap that all of these come from.
    pub(crate) config_maps: Arc<Hub<ConfigMap>>,
    /// Whether the Secret for images of agents is in a namespace.
    pub(crate) pull_secrets: PullSecrets,
    pub(crate) sources: Arc<Hub<Source>>,
    pub(crate) configs: Arc<Hub<InstrumentationConfig>>,
    pub(crate) workloads: Vec<(WorkloadKind, Arc<Hub<DynamicObject>>)>,
    pub(crate) pods: Arc<Hub<PodFacts>>,
    /// Pods by workload.
    pub(crate) index: PodIndex,
    /// Workloads whose pods are being made anew at our request, and since when.
    pub(crate) rollouts: Mutex<BTreeMap<WorkloadRef, Timestamp>>,
    /// What was written about rollouts, until the watch of InstrumentationConfigs tells the same.
    pub(crate) remembered: Mutex<BTreeMap<WorkloadRef, Remembered>>,
    pub(crate) events: Events,
    /// Events of controllers that fail to create pods.
    pub(crate) creation_failures: Arc<Hub<Event>>,
    /// Collectors groups of the control plane's namespace.
    pub(crate) groups: Arc<Hub<CollectorsGroup>>,
    /// Rules of the control plane's namespace.
    pub(crate) rules: Arc<Hub<InstrumentationRule>>,
    /// What containers of a namespace may request.
    pub(crate) limit_ranges: Arc<Hub<LimitRange>>,
    /// Labels of namespaces: their Pod Security level.
    pub(crate) namespaces: Arc<Hub<PartialObjectMeta<Namespace>>>,
    /// Nodes that say by a label that they hold the agents' files.
    pub(crate) nodes: Arc<Hub<PartialObjectMeta<Node>>>,
}

/// A client that can stand in a `Debug` struct.
#[derive(Clone)]
pub(crate) struct ClientHandle(pub(crate) Client);

impl std::fmt::Debug for ClientHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

/// The resource behind a workload kind.
pub(crate) fn resource(kind: WorkloadKind) -> ApiResource {
    let (group, version) = kind.api_version().split_once('/').unwrap_or(("", kind.api_version()));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind.object_kind()))
}

/// Fields of a workload that planning reads, beside its containers.
const KEPT: [&str; 23] = [
    "/spec/paused",
    "/spec/replicas",
    "/spec/restartAt",
    "/spec/strategy/type",
    "/spec/strategy/rollingUpdate/maxUnavailable",
    "/spec/updateStrategy/type",
    "/spec/updateStrategy/rollingUpdate/partition",
    "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt",
    "/spec/workloadRef/kind",
    "/spec/workloadRef/name",
    "/status/availableReplicas",
    "/status/currentNumberScheduled",
    "/status/currentRevision",
    "/status/desiredNumberScheduled",
    "/status/numberReady",
    "/status/observedGeneration",
    "/status/phase",
    "/status/readyReplicas",
    "/status/replicas",
    "/status/updateRevision",
    "/status/updatedNumberScheduled",
    "/status/updatedReplicas",
    "/status/workloadObservedGeneration",
];

/// Drops everything of a workload that planning does not read.
pub(crate) fn prune(object: &mut DynamicObject) {
    let mut kept = json!({});
    let data = &object.data;
    for pointer in KEPT {
        if let Some(value) = data.pointer(pointer) {
            put(&mut kept, pointer, value.clone());
        }
    }
    for pointer in ["/spec/template/spec/containers", "/spec/jobTemplate/spec/template/spec/containers"] {
        if let Some(Value::Array(list)) = data.pointer(pointer) {
            put(&mut kept, pointer, list.iter().map(slim).collect());
        }
    }
    if let Some(Value::Array(list)) = data.pointer("/status/active") {
        put(&mut kept, "/status/active", Value::Array(vec![Value::Null; list.len()]));
    }
    let conditions = data.pointer("/status/conditions").and_then(Value::as_array);
    let conditions: Vec<Value> = conditions.into_iter().flatten().filter_map(slim_condition).collect();
    if !conditions.is_empty() {
        put(&mut kept, "/status/conditions", Value::Array(conditions));
    }
    object.data = kept;
    object.metadata.annotations = None;
    object.metadata.labels = None;
    object.metadata.owner_references = None;
}

/// What of a condition is read: that a rollout got stuck, and that pods cannot be created.
fn slim_condition(condition: &Value) -> Option<Value> {
    if condition["reason"] == "ProgressDeadlineExceeded" {
        return Some(json!({"reason": condition["reason"]}));
    }
    let is_failure = condition["type"] == creation::REPLICA_FAILURE && condition["status"] == "True";
    is_failure.then(|| {
        let fields = ["type", "status", "lastTransitionTime", "message"];
        fields.into_iter().map(|key| (key.to_owned(), condition[key].clone())).collect()
    })
}

/// Drops everything of an Event but when and why which workload has no pods.
pub(crate) fn prune_event(event: &mut Event) {
    event.action = None;
    event.related = None;
    event.reporting_component = None;
    event.reporting_instance = None;
    event.source = None;
    event.metadata.annotations = None;
    event.metadata.labels = None;
}

/// What of a container is read; of variables the names of those for agents.
fn slim(container: &Value) -> Value {
    let kept = ["name", "livenessProbe", "readinessProbe", "startupProbe"];
    let fields = kept.iter().filter_map(|key| Some(((*key).to_owned(), container.get(*key)?.clone())));
    let mut slim = Value::Object(fields.collect());
    let variables = container.get("env").and_then(Value::as_array).into_iter().flatten();
    let names = variables.filter_map(|one| one.get("name")?.as_str()).filter(|name| is_for_agents(name));
    let names: Vec<Value> = names.map(|name| json!({"name": name})).collect();
    if !names.is_empty() {
        slim["env"] = Value::Array(names);
    }
    slim
}

fn put(at: &mut Value, pointer: &str, value: Value) {
    let mut at = at;
    for key in pointer.split('/').skip(1) {
        at = &mut at[key.replace("~1", "/").as_str()];
    }
    *at = value;
}

/// A stored object as planning sees it.
pub(crate) fn workload(kind: WorkloadKind, object: &DynamicObject) -> Option<Workload> {
    let mut value = serde_json::to_value(object).ok()?;
    value["apiVersion"] = json!(kind.api_version());
    value["kind"] = json!(kind.object_kind());
    Workload::from_object(&value)
}

/// What a Source's own status is made of, of a workload: its containers, its size, where its template is.
pub(crate) fn shape(
    kind: WorkloadKind,
    object: &DynamicObject,
) -> (Vec<String>, Option<i64>, Option<TemplateReference>) {
    workload(kind, object).map(|one| (one.containers, one.replicas, one.template)).unwrap_or_default()
}

impl State {
    /// Signals that the collectors on the nodes take; `None` while they are not ready.
    pub(crate) fn node_signals(&self) -> Option<Vec<Signal>> {
        let group = self.groups.get(&self.namespace, names::NODE_COLLECTOR)?;
        let status = group.status.as_ref().filter(|status| status.ready)?;
        Some(status.receiver_signals.clone().unwrap_or_default())
    }

    /// How far rollouts of a workload are, if it exists.
    pub(crate) fn progress(&self, workload: &WorkloadRef) -> Option<Progress> {
        let hub = self.workloads.iter().find(|(kind, _)| *kind == workload.kind).map(|(_, hub)| hub)?;
        let object = hub.get(&workload.namespace, &workload.name)?;
        let object = serde_json::to_value(object.as_ref()).ok()?;
        let mut progress = Progress::of(workload.kind, &object);
        if progress.creation_failure.is_none() {
            let events = self.creation_failures.namespace(&workload.namespace);
            let events = events.iter().map(AsRef::as_ref);
            let events = events.filter(|event| creation::subject_of(event).as_ref() == Some(workload));
            let pods = self.index.of(workload);
            progress.creation_failure =
                CreationFailure::of_events(workload.kind, &object, events, &pods, Timestamp::now());
        }
        Some(progress)
    }

    /// Variables for agents that the pod template of a workload sets itself, by container.
    pub(crate) fn stated_variables(&self, workload: &WorkloadRef) -> BTreeMap<String, BTreeSet<String>> {
        let hub = self.workloads.iter().find(|(kind, _)| *kind == workload.kind).map(|(_, hub)| hub);
        let Some(object) = hub.and_then(|hub| hub.get(&workload.namespace, &workload.name)) else {
            return BTreeMap::new();
        };
        let template = TemplateReference::of(workload.kind, &object.data);
        let lent = template.filter(|one| one.kind == "Deployment");
        match lent.and_then(|one| self.deployment(&workload.namespace, &one.name)) {
            Some(deployment) => stated_variables(WorkloadKind::Deployment, &deployment.data),
            None => stated_variables(workload.kind, &object.data),
        }
    }

    fn deployment(&self, namespace: &str, name: &str) -> Option<Arc<DynamicObject>> {
        let hub = self.workloads.iter().find(|(kind, _)| *kind == WorkloadKind::Deployment).map(|(_, hub)| hub);
        hub?.get(namespace, name)
    }

    /// Gives a Rollout the template that it refers to, and marks a Deployment whose pods are a Rollout's.
    async fn linked(&self, mut workload: Workload) -> Result<Workload, kube::Error> {
        let namespace = workload.reference.namespace.clone();
        if let Some(reference) = workload.template.clone() {
            let holder = match (reference.kind.as_str(), reference.api_version()) {
                ("Deployment", _) => self.deployment(&namespace, &reference.name).map(|one| one.data.clone()),
                (kind, Some(version)) => {
                    // Few refer to one, and the Rollout's own status changes with it.
                    let (group, version) = version.split_once('/').unwrap_or(("", version));
                    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
                    let api: Api<DynamicObject> = Api::namespaced_with(self.client.0.clone(), &namespace, &resource);
                    api.get_opt(&reference.name).await?.map(|one| one.data)
                }
                (_, None) => None,
            };
            let template = holder.and_then(|mut holder| {
                holder["kind"] = json!(reference.kind);
                PodTemplate::of_holder(&holder)
            });
            if let Some(template) = template {
                workload.take(template);
            }
        }
        if workload.reference.kind == WorkloadKind::Deployment {
            let rollouts = self.rollouts_of(&workload.reference);
            workload.lent_to = rollouts.into_iter().find(|one| workload.is_lent_to(one)).map(|one| one.reference);
        }
        Ok(workload)
    }

    /// The Rollouts that refer to the template of a Deployment.
    pub(crate) fn rollouts_of(&self, deployment: &WorkloadRef) -> Vec<Workload> {
        let hub = self.workloads.iter().find(|(kind, _)| *kind == WorkloadKind::Rollout).map(|(_, hub)| hub);
        let rollouts = hub.into_iter().flat_map(|hub| hub.namespace(&deployment.namespace));
        let rollouts = rollouts.filter_map(|one| workload(WorkloadKind::Rollout, &one));
        let refers = |one: &Workload| {
            one.template.as_ref().is_some_and(|one| one.kind == "Deployment" && one.name == deployment.name)
        };
        rollouts.filter(refers).collect()
    }

    /// One workload, if it exists.
    pub(crate) async fn workload(&self, reference: &WorkloadRef) -> Result<Option<Workload>, kube::Error> {
        if reference.kind == WorkloadKind::StaticPod {
            // Static pods are few; their containers are read when they are needed.
            let known = self.pods.get(&reference.namespace, &reference.name).is_some_and(|pod| pod.is_static());
            if !known {
                return Ok(None);
            }
            let api: Api<DynamicObject> =
                Api::namespaced_with(self.client.0.clone(), &reference.namespace, &resource(reference.kind));
            let found = api.get_opt(&reference.name).await?;
            return Ok(found.and_then(|pod| workload(reference.kind, &pod)));
        }
        let hub = self.workloads.iter().find(|(kind, _)| *kind == reference.kind).map(|(_, hub)| hub);
        let object = hub.and_then(|hub| hub.get(&reference.namespace, &reference.name));
        match object.and_then(|object| workload(reference.kind, &object)) {
            Some(found) => self.linked(found).await.map(Some),
            None => Ok(None),
        }
    }

    /// References to every workload of the cluster that can be covered.
    pub(crate) fn workload_references(&self) -> Vec<WorkloadRef> {
        let of_kinds = self.workloads.iter().flat_map(|(kind, hub)| {
            hub.all().into_iter().map(|((namespace, name), _)| WorkloadRef::new(namespace, *kind, name))
        });
        let pods = self.pods.all().into_iter().filter(|(_, pod)| pod.is_static());
        let pods = pods.map(|((namespace, name), _)| WorkloadRef::new(namespace, WorkloadKind::StaticPod, name));
        of_kinds.chain(pods).collect()
    }

    /// References to the workloads that a Source selects.
    pub(crate) fn selected(&self, source: &Source) -> Vec<WorkloadRef> {
        let namespace = source.metadata.namespace.as_deref().unwrap_or_default();
        let matcher = Matcher::new(source);
        if let Some(exact) = odigos_plan::admission::source::exact_workload(source) {
            return vec![exact];
        }
        let mut found = Vec::new();
        for (kind, hub) in &self.workloads {
            let names = hub.namespace(namespace).into_iter().filter_map(|object| object.metadata.name.clone());
            found.extend(names.map(|name| WorkloadRef::new(namespace, *kind, name)).filter(|one| matcher.selects(one)));
        }
        let pods = self.pods.namespace(namespace).into_iter().filter(|pod| pod.is_static());
        let pods = pods.filter_map(|pod| pod.metadata.name.clone());
        found.extend(
            pods.map(|name| WorkloadRef::new(namespace, WorkloadKind::StaticPod, name))
                .filter(|one| matcher.selects(one)),
        );
        found
    }

    /// Whether a workload of an exact Source exists.
    pub(crate) fn exists(&self, reference: &WorkloadRef) -> bool {
        if reference.kind == WorkloadKind::StaticPod {
            return self.pods.get(&reference.namespace, &reference.name).is_some_and(|pod| pod.is_static());
        }
        let hub = self.workloads.iter().find(|(kind, _)| *kind == reference.kind);
        hub.is_some_and(|(_, hub)| hub.get(&reference.namespace, &reference.name).is_some())
    }
}
