//! The objects that a report is made of, by plain `get` and `list`. What may not be read is left out and named.

use crate::live;
use anyhow::Context;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use odigos_api::destination::Destination;
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::instrumentation_instance::InstrumentationInstance;
use odigos_api::instrumentation_rule::InstrumentationRule;
use odigos_api::labels::{self, INSTRUMENTED_APP, OWNER_POD_NAME};
use odigos_api::source::Source;
use odigos_api::{API_VERSION, WorkloadRef, names};
use odigos_plan::configuration::Configuration;
use odigos_plan::coverage::scope::Scope;
use odigos_plan::scheduling::FINDINGS_KEY;
use odigos_plan::workload::{pod_workload, stated_variables};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of a workload.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) workload: WorkloadRef,
    pub(crate) exists: bool,
    /// Every Source of its namespace.
    pub(crate) sources: Vec<Source>,
    pub(crate) config: Option<InstrumentationConfig>,
    pub(crate) pods: Vec<Value>,
    pub(crate) instances: Vec<InstrumentationInstance>,
    /// `None` where they may not be read.
    pub(crate) destinations: Option<Vec<Destination>>,
    pub(crate) scope: Scope,
    /// Variables for agents that its pod template sets itself, by container.
    pub(crate) stated: BTreeMap<String, BTreeSet<String>>,
    /// The InstrumentationRules; none where they may not be read.
    pub(crate) rules: Vec<InstrumentationRule>,
    pub(crate) effective: Effective,
}

/// What the control plane reports of the configuration that it acts on; empty where it may not be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effective {
    pub(crate) configuration: Option<Configuration>,
    /// One finding a line.
    pub(crate) findings: String,
}

/// Everything about one workload.
pub(crate) async fn workload(client: &Client, workload: &WorkloadRef, control_plane: &str) -> anyhow::Result<Facts> {
    let namespace = Some(workload.namespace.as_str());
    let object = json!({
        "apiVersion": workload.kind.api_version(), "kind": workload.kind.object_kind(),
        "metadata": {"namespace": workload.namespace, "name": workload.name},
    });
    let found = live::get(client, &object).await?;
    let sources = typed(live::list(client, API_VERSION, "Source", "sources", namespace).await?);
    let config = config(client, workload).await?;
    let pods = live::list(client, "v1", "Pod", "pods", namespace).await?;
    let pods = pods.into_iter().filter(|pod| owner(pod).as_ref() == Some(workload)).collect();
    let instances =
        live::list(client, API_VERSION, "InstrumentationInstance", "instrumentationinstances", namespace).await;
    let instances: Vec<InstrumentationInstance> = typed(instances.unwrap_or_default());
    let name = labels::value(&workload.config_name());
    let instances = instances
        .into_iter()
        .filter(|one| one.metadata.labels.as_ref().and_then(|all| all.get(INSTRUMENTED_APP)) == Some(&name));
    let destinations = live::list(client, API_VERSION, "Destination", "destinations", Some(control_plane)).await;
    let rules =
        live::list(client, API_VERSION, "InstrumentationRule", "instrumentationrules", Some(control_plane)).await;
    let effective = effective(client, control_plane).await;
    Ok(Facts {
        workload: workload.clone(),
        exists: found.is_some(),
        sources,
        config,
        pods,
        instances: instances.collect(),
        destinations: destinations.ok().map(typed),
        scope: Scope::of(&effective.configuration.clone().unwrap_or_default(), control_plane),
        stated: found.as_ref().map(|found| stated_variables(workload.kind, found)).unwrap_or_default(),
        rules: typed(rules.unwrap_or_default()),
        effective,
    })
}

/// What the effective configuration says about namespaces; where it may not be read, only what holds in every installation.
pub(crate) async fn scope(client: &Client, control_plane: &str) -> Scope {
    Scope::of(&effective(client, control_plane).await.configuration.unwrap_or_default(), control_plane)
}

async fn effective(client: &Client, control_plane: &str) -> Effective {
    let map = effective_configuration(client, control_plane).await;
    let part = |key: &str| map.as_ref()?.get("data")?.get(key)?.as_str().map(str::to_owned);
    Effective {
        configuration: part(names::CONFIGURATION_KEY).and_then(|text| Configuration::parse(&text).ok()),
        findings: part(FINDINGS_KEY).unwrap_or_default(),
    }
}

async fn effective_configuration(client: &Client, control_plane: &str) -> Option<Value> {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": control_plane, "name": names::EFFECTIVE_CONFIGURATION},
    });
    live::get(client, &object).await.ok().flatten()
}

/// The decision for a workload.
pub(crate) async fn config(client: &Client, workload: &WorkloadRef) -> anyhow::Result<Option<InstrumentationConfig>> {
    let object = json!({
        "apiVersion": API_VERSION, "kind": "InstrumentationConfig",
        "metadata": {"namespace": workload.namespace, "name": workload.config_name()},
    });
    let found = live::get(client, &object).await?;
    found
        .map(serde_json::from_value)
        .transpose()
        .context("the InstrumentationConfig has another shape than this version knows")
}

/// Everything about one pod, and about its workload.
pub(crate) async fn pod(
    client: &Client,
    namespace: &str,
    name: &str,
    control_plane: &str,
) -> anyhow::Result<super::pod::Facts> {
    let object = |api: &str, kind: &str, namespace: Option<&str>, name: &str| {
        let mut object = json!({"apiVersion": api, "kind": kind, "metadata": {"name": name}});
        if let Some(namespace) = namespace {
            object["metadata"]["namespace"] = json!(namespace);
        }
        object
    };
    let found = live::get(client, &object("v1", "Pod", Some(namespace), name)).await?;
    let pod = found.with_context(|| {
        format!("there is no pod {name} in the namespace {namespace}; kubectl get pods -n {namespace} lists them")
    })?;
    let workload = owner(&pod);
    let (mut config, mut sources) = (None, Vec::new());
    if let Some(workload) = &workload {
        config = self::config(client, workload).await?;
        sources = typed(live::list(client, API_VERSION, "Source", "sources", Some(namespace)).await?);
    }
    let optional = async |object: Value| live::get(client, &object).await.ok().flatten();
    let labels = |object: &Value| {
        let labels = object.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({}));
        serde_json::from_value(labels).unwrap_or_default()
    };
    let map = effective_configuration(client, control_plane).await;
    let configuration = map.as_ref().and_then(|map| {
        let text = map.get("data")?.get(names::CONFIGURATION_KEY)?.as_str()?;
        Some(text.to_owned())
    });
    let namespace_labels = optional(object("v1", "Namespace", None, namespace)).await.map(|one| labels(&one));
    let node = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default().to_owned();
    let node_labels = match node.as_str() {
        "" => None,
        node => optional(object("v1", "Node", None, node)).await.map(|one| labels(&one)),
    };
    let instances =
        live::list(client, API_VERSION, "InstrumentationInstance", "instrumentationinstances", Some(namespace)).await;
    let instances: Vec<InstrumentationInstance> = typed(instances.unwrap_or_default());
    let of_pod = instances.into_iter().filter(|one| {
        let owner = one.metadata.labels.as_ref().and_then(|all| all.get(OWNER_POD_NAME));
        owner.is_some_and(|owner| *owner == labels::value(name))
    });
    let instances = of_pod.collect();
    let namespace = control_plane.to_owned();
    Ok(super::pod::Facts {
        pod,
        workload,
        config,
        sources,
        configuration,
        control_plane: namespace,
        namespace_labels,
        node_labels,
        instances,
    })
}

/// The workload of a pod.
pub(crate) fn owner(pod: &Value) -> Option<WorkloadRef> {
    let metadata: ObjectMeta = serde_json::from_value(pod.get("metadata")?.clone()).ok()?;
    pod_workload(&metadata)
}

/// Objects of a kind; one that an older client wrote differently is passed over.
pub(crate) fn typed<K: DeserializeOwned>(objects: Vec<Value>) -> Vec<K> {
    objects.into_iter().filter_map(|object| serde_json::from_value(object).ok()).collect()
}
