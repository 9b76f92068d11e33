//! An in-memory cluster on which every planner runs: what `render`, the previews and most scenarios are made of.
//!
//! Owns reading manifests into typed objects and `settle`, which runs the planners of all binaries in turn until nothing
//! changes and marks workloads ready (design 3). Never touches a file or a cluster: texts and objects come in, objects
//! and findings go out.

mod admitted;
mod before_sampling;
mod ineffective;
mod read;
mod remove;
mod restarts;
pub(crate) mod schema;
mod settle;

#[cfg(test)]
mod component_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;

pub use before_sampling::BeforeSampling;
pub use read::{Manifest, Manifests, ReadError, manifests, read};
pub use restarts::{Applications, Certainty, Restart, outdated_words};
pub use settle::{Settled, implicit_stream, implicit_stream_of, stream_status};

use crate::agents::Backoff;
use crate::gateway::{SecretKeys, SecretMark, SecretValue};
use crate::instrumentation::pods::PodSeen;
use crate::instrumentation::rollout::Progress;
use crate::objects::title;
use crate::workload::{self, PodTemplate, TemplateReference, Workload};
use odigos_api::action::Action;
use odigos_api::collectors_group::CollectorsGroup;
use odigos_api::data_stream::DataStream;
use odigos_api::destination::Destination;
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::instrumentation_rule::InstrumentationRule;
use odigos_api::processor::Processor;
use odigos_api::sampling::Sampling;
use odigos_api::source::Source;
use odigos_api::{Finding, WorkloadRef, names};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Namespace and name of an object.
pub type Key = (String, String);

/// A pod, as far as planning looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    /// The workload that it belongs to.
    pub workload: Option<WorkloadRef>,
    /// Its stream class label.
    pub stream_class: Option<String>,
    /// It has ended for good.
    pub has_ended: bool,
    /// What rollouts look at.
    pub observed: PodSeen,
}

/// The objects of a cluster.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Namespace of the control plane.
    pub namespace: String,
    /// Whether everything that a cluster has was read from it.
    pub is_of_cluster: bool,
    /// Namespaces that exist.
    pub namespaces: BTreeSet<String>,
    /// Workloads by reference.
    pub workloads: BTreeMap<WorkloadRef, Workload>,
    /// Names of Deployments and StatefulSets in the control plane's namespace that are no gateways.
    pub foreign_workloads: BTreeSet<String>,
    /// How far rollouts of workloads are.
    pub progress: BTreeMap<WorkloadRef, Progress>,
    /// Pod templates of objects that may hold that of another, by namespace.
    pub templates: BTreeMap<(String, TemplateReference), PodTemplate>,
    /// Pods.
    pub pods: BTreeMap<Key, PodFacts>,
    /// Sources.
    pub sources: BTreeMap<Key, Source>,
    /// Destinations.
    pub destinations: BTreeMap<Key, Destination>,
    /// Destinations that were read from texts, with what was in the cluster before.
    replaced: BTreeMap<Key, Option<Destination>>,
    /// Data streams.
    pub data_streams: BTreeMap<Key, DataStream>,
    /// Collectors groups.
    pub groups: BTreeMap<Key, CollectorsGroup>,
    /// Instrumentation configs.
    pub configs: BTreeMap<Key, InstrumentationConfig>,
    /// Processors.
    pub processors: BTreeMap<Key, Processor>,
    /// Instrumentation rules.
    pub rules: BTreeMap<Key, InstrumentationRule>,
    /// Actions.
    pub actions: BTreeMap<Key, Action>,
    /// Workloads of which a pod without an agent does not start.
    pub backoffs: BTreeMap<WorkloadRef, Backoff>,
    /// Sampling objects.
    pub samplings: BTreeMap<Key, Sampling>,
    /// Secrets: names of keys and what is known of their values; the values are dropped when they are read.
    pub secrets: BTreeMap<Key, SecretKeys>,
    /// What Secrets say of their use.
    pub secret_marks: BTreeMap<Key, SecretMark>,
    /// Secrets among these that another object announces, with its title: their values are not known yet.
    pub announced_secrets: BTreeMap<Key, String>,
    /// ConfigMaps of the control plane's namespace.
    pub config_maps: BTreeMap<Key, BTreeMap<String, String>>,
    /// ConfigMaps with the name of the configuration in other namespaces, where no component reads them.
    pub stray_configurations: BTreeSet<Key>,
    /// Everything that planners wrote that is not one of the kinds above.
    pub outputs: BTreeMap<(crate::objects::Rank, String, Key), Value>,
    /// Facts of the installation.
    pub installation: crate::gateway::objects::Installation,
    /// Where the cluster runs.
    pub provider: crate::node::CloudProvider,
    /// Where objects that were read from texts stand, by title.
    pub locations: BTreeMap<String, String>,
}

impl World {
    /// Objects of the control plane's namespace.
    fn own<T: Clone>(&self, objects: &BTreeMap<Key, T>) -> Vec<T> {
        let own = objects.iter().filter(|((namespace, _), _)| *namespace == self.namespace);
        own.map(|(_, one)| one.clone()).collect()
    }

    /// An empty cluster whose control plane lives in `namespace`.
    pub fn new(namespace: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), ..Self::default() }
    }

    /// Puts an object into the cluster, replacing one of the same name. Kinds that no planner reads are ignored.
    ///
    /// # Errors
    /// A finding when the object has no name, or is of a kind that planners read but not of its shape.
    pub fn insert(&mut self, mut object: Value) -> Result<(), Finding> {
        self.complete(&mut object);
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, name, namespace) = (text("/kind"), text("/metadata/name"), text("/metadata/namespace"));
        if kind.is_empty() {
            return Err(Finding::error("manifest", "kind", "the manifest names no kind; add apiVersion and kind"));
        }
        if name.is_empty() {
            if text("/apiVersion").starts_with("kustomize.config.k8s.io/") {
                let message = "only kustomize reads it; give the output of kubectl kustomize instead";
                return Err(Finding::warning(kind, "", message));
            }
            return Err(Finding::error(
                format!("{kind} without name"),
                "metadata.name",
                "the object has no name; give it one",
            ));
        }
        let own = object.get("apiVersion").and_then(Value::as_str) == Some(odigos_api::API_VERSION);
        let key = (namespace, name.clone());
        match (own, kind.as_str()) {
            (true, "Source") => drop(self.sources.insert(key, typed(object)?)),
            (true, "Destination") => drop(self.destinations.insert(key, typed(object)?)),
            (true, "DataStream") => drop(self.data_streams.insert(key, typed(object)?)),
            (true, "CollectorsGroup") => drop(self.groups.insert(key, typed(object)?)),
            (true, "InstrumentationConfig") => drop(self.configs.insert(key, typed(object)?)),
            (true, "Processor") => drop(self.processors.insert(key, typed(object)?)),
            (true, "InstrumentationRule") => drop(self.rules.insert(key, typed(object)?)),
            (true, "Action") => drop(self.actions.insert(key, typed(object)?)),
            (true, "Sampling") => drop(self.samplings.insert(key, typed(object)?)),
            (false, "Namespace") => drop(self.namespaces.insert(name)),
            (false, "Secret") => {
                self.announced_secrets.remove(&key);
                self.secret_marks.insert(key.clone(), read::secret_mark(&object));
                self.secrets.insert(key, read::secret_keys(&object));
            }
            (false, "ExternalSecret" | "SealedSecret") => self.announce_secret(&object, &key),
            (false, "ConfigMap") if key.0 == self.namespace => {
                let data = object.get("data").and_then(Value::as_object).into_iter().flatten();
                let data = data.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
                self.config_maps.insert(key, data);
            }
            (false, "ConfigMap") if name == names::CONFIGURATION => drop(self.stray_configurations.insert(key)),
            (false, "Pod") => self.insert_pod(key, &object),
            (false, _) => {
                let is_rival = matches!(kind.as_str(), "Deployment" | "StatefulSet") && key.0 == self.namespace;
                if is_rival && crate::gateway::objects::is_foreign(&object) {
                    self.foreign_workloads.insert(name.clone());
                }
                if let Some(template) = PodTemplate::of_holder(&object) {
                    self.templates.insert((key.0, TemplateReference { kind: kind.clone(), name }), template);
                }
                if let Some(workload) = Workload::from_object(&object) {
                    let progress = Progress::of(workload.reference.kind, &object);
                    self.progress.insert(workload.reference.clone(), progress);
                    self.workloads.insert(workload.reference.clone(), workload);
                }
            }
            (true, _) => {}
        }
        Ok(())
    }

    /// Fills in what a client or an API server would: the namespace, and a name that is to be generated.
    fn complete(&self, object: &mut Value) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, name, prefix) = (text("/kind"), text("/metadata/name"), text("/metadata/generateName"));
        let namespace = self.namespace_of(&kind, object);
        let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
        if name.is_empty() && !prefix.is_empty() {
            // An API server appends five characters; which ones makes no difference here.
            metadata.insert("name".into(), Value::from(format!("{prefix}xxxxx")));
        }
        if kind != "Namespace" && !kind.is_empty() {
            metadata.insert("namespace".into(), Value::from(namespace));
        }
    }

    /// A Secret that a controller of the cluster will create from another object, unless it is there already.
    fn announce_secret(&mut self, object: &Value, key: &Key) {
        let Some((name, keys)) = read::announced_secret(object) else { return };
        let key = (key.0.clone(), name.unwrap_or_else(|| key.1.clone()));
        if !self.secrets.contains_key(&key) {
            // The values do not exist yet; a digest of the key stands for each.
            let digests = keys.into_iter().map(|one| (one.clone(), SecretValue::to_come(&one))).collect();
            self.secrets.insert(key.clone(), digests);
            self.announced_secrets.insert(key, title(object));
        }
    }

    /// Objects that workloads refer to for their pod templates and that are not in this cluster, by namespace.
    #[must_use]
    pub fn missing_templates(&self) -> Vec<(String, TemplateReference)> {
        let referred =
            self.workloads.values().filter_map(|one| Some((one.reference.namespace.clone(), one.template.clone()?)));
        referred.filter(|one| !self.templates.contains_key(one)).collect()
    }

    fn insert_pod(&mut self, key: Key, object: &Value) {
        if let Some(workload) = Workload::from_object(object) {
            self.workloads.insert(workload.reference.clone(), workload);
        }
        let metadata = object.get("metadata").cloned().and_then(|metadata| serde_json::from_value(metadata).ok());
        let facts = PodFacts {
            workload: metadata.as_ref().and_then(workload::pod_workload),
            stream_class: object
                .pointer("/metadata/labels")
                .and_then(|labels| labels.get(odigos_api::labels::STREAM_CLASS))
                .and_then(Value::as_str)
                .map(str::to_owned),
            has_ended: matches!(object.pointer("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed")),
            observed: PodSeen::of_object(object),
        };
        let has_agent =
            object.pointer("/metadata/labels").and_then(|one| one.get(odigos_api::labels::AGENTS_META_HASH)).is_some();
        if let (false, Some(workload), Some(backoff)) = (has_agent, &facts.workload, Backoff::of_pod(object)) {
            self.backoffs.entry(workload.clone()).or_insert(backoff);
        }
        self.pods.insert(key, facts);
    }

    /// The namespace that an object without one goes to: Sources beside their workload, the other kinds of the group
    /// to the control plane, everything else to `default`, as kubectl would.
    fn namespace_of(&self, kind: &str, object: &Value) -> String {
        if let Some(stated) = object.pointer("/metadata/namespace").and_then(Value::as_str) {
            return stated.to_owned();
        }
        let own = object.get("apiVersion").and_then(Value::as_str) == Some(odigos_api::API_VERSION);
        match (own, kind) {
            (true, "Source") => {
                object.pointer("/spec/workload/namespace").and_then(Value::as_str).unwrap_or("default").to_owned()
            }
            (true, _) => self.namespace.clone(),
            (false, "ConfigMap" | "Secret") => self.namespace.clone(),
            _ => "default".to_owned(),
        }
    }
}

/// Decodes an object, or says which one is not of its shape.
fn typed<K: DeserializeOwned>(object: Value) -> Result<K, Finding> {
    let name = title(&object);
    serde_path_to_error::deserialize(object).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { String::new() } else { path };
        Finding::error(name, field, format!("it does not have the shape of its kind: {}", error.inner()))
    })
}
