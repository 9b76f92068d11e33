//! Pod templates that are in another object: an Argo Rollout may run the template of a Deployment, a ReplicaSet or a PodTemplate
//! (`spec.workloadRef`). That Deployment is scaled to zero then, and its pods are the Rollout's.
//!
//! Owns which object is referred to and what is read of a template. Never fetches one.

use super::{Workload, is_for_agents};
use crate::sampling::probes::{self, Probe};
use odigos_api::{WorkloadKind, WorkloadRef};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The object of the same namespace that holds the pod template of a workload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TemplateReference {
    /// `Deployment`, `ReplicaSet` or `PodTemplate`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl TemplateReference {
    /// Reads it from an Argo Rollout; `None` where the workload has a template of its own.
    #[must_use]
    pub fn of(kind: WorkloadKind, object: &Value) -> Option<Self> {
        if kind != WorkloadKind::Rollout {
            return None;
        }
        let text = |key: &str| object.pointer("/spec/workloadRef")?.get(key)?.as_str().map(str::to_owned);
        Some(Self { kind: text("kind")?, name: text("name")? })
    }

    /// The group and version of the object; `None` for a kind that holds no pod template.
    #[must_use]
    pub fn api_version(&self) -> Option<&'static str> {
        match self.kind.as_str() {
            "Deployment" | "ReplicaSet" => Some("apps/v1"),
            "PodTemplate" => Some("v1"),
            _ => None,
        }
    }
}

/// What is read of a pod template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodTemplate {
    /// Names of its containers, in order.
    pub containers: Vec<String>,
    /// HTTP health probes by container; containers without any are absent.
    pub probes: BTreeMap<String, BTreeSet<Probe>>,
    /// Names of the variables for agents (`OTEL_…`) that containers set, by container; containers without any are absent.
    pub variables: BTreeMap<String, BTreeSet<String>>,
}

impl PodTemplate {
    /// Reads the specification of pods.
    #[must_use]
    pub fn of(pods: Option<&Value>) -> Self {
        let containers = pods.and_then(|spec| spec.get("containers")).and_then(Value::as_array);
        let mut template = Self::default();
        for container in containers.into_iter().flatten() {
            let Some(name) = container.get("name").and_then(Value::as_str) else { continue };
            template.containers.push(name.to_owned());
            let probes = probes::of_container(container);
            if !probes.is_empty() {
                template.probes.insert(name.to_owned(), probes);
            }
            let variables = container.get("env").and_then(Value::as_array).into_iter().flatten();
            let variables = variables.filter_map(|one| one.get("name")?.as_str()).filter(|name| is_for_agents(name));
            let variables: BTreeSet<String> = variables.map(str::to_owned).collect();
            if !variables.is_empty() {
                template.variables.insert(name.to_owned(), variables);
            }
        }
        template
    }

    /// Reads an object that may hold the template of another; `None` for other kinds.
    #[must_use]
    pub fn of_holder(object: &Value) -> Option<Self> {
        match object.get("kind")?.as_str()? {
            "Deployment" | "ReplicaSet" => Some(Self::of(object.pointer("/spec/template/spec"))),
            "PodTemplate" => Some(Self::of(object.pointer("/template/spec"))),
            _ => None,
        }
    }
}

impl Workload {
    /// Takes over the template of the object that it refers to.
    pub fn take(&mut self, template: PodTemplate) {
        (self.containers, self.probes, self.variables) = (template.containers, template.probes, template.variables);
    }

    /// Why nothing is known of its containers, where its template is in an object that is not there.
    #[must_use]
    pub fn missing_template(&self) -> Option<String> {
        let reference = self.template.as_ref().filter(|_| self.containers.is_empty())?;
        let (kind, name) = (&reference.kind, &reference.name);
        Some(match reference.api_version() {
            Some(_) => format!(
                "Its pod template is in {kind} {name} (spec.workloadRef), which does not exist or has no containers; create it."
            ),
            None => format!(
                "spec.workloadRef names {kind} {name}; a pod template can be in a Deployment, a ReplicaSet or a PodTemplate."
            ),
        })
    }

    /// Whether the pods of a Deployment are those of a Rollout that refers to its template.
    #[must_use]
    pub fn is_lent_to(&self, rollout: &Self) -> bool {
        self.reference.kind == WorkloadKind::Deployment
            && self.replicas == Some(0)
            && self.reference.namespace == rollout.reference.namespace
            && rollout.template.as_ref().is_some_and(|one| one.kind == "Deployment" && one.name == self.reference.name)
    }
}

/// Gives workloads the templates that they refer to, and marks Deployments whose pods are a Rollout's. `templates` are those of
/// objects that may hold one, by namespace.
pub fn link(
    workloads: &mut BTreeMap<WorkloadRef, Workload>,
    templates: &BTreeMap<(String, TemplateReference), PodTemplate>,
) {
    let rollouts: Vec<Workload> = workloads.values().filter(|one| one.template.is_some()).cloned().collect();
    for rollout in &rollouts {
        let Some(reference) = rollout.template.clone() else { continue };
        let lent = WorkloadRef::new(rollout.reference.namespace.clone(), WorkloadKind::Deployment, &*reference.name);
        if let Some(deployment) = workloads.get_mut(&lent).filter(|one| one.is_lent_to(rollout)) {
            deployment.lent_to = Some(rollout.reference.clone());
        }
        let template = templates.get(&(rollout.reference.namespace.clone(), reference));
        if let (Some(template), Some(rollout)) = (template, workloads.get_mut(&rollout.reference)) {
            rollout.take(template.clone());
        }
    }
}
