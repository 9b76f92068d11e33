//! The second phase of uninstalling: everything of ours goes, whoever still runs.
//!
//! Owns the order: admission and API services first, so that nothing depends on them; controllers next, so that nothing comes back; then what
//! they made — the agents clean their nodes before they go —, their finalizers, labels on objects of others, permissions, kinds, the record, the namespace. Every step
//! looks for what is there and may be repeated.

use super::cluster::{Cluster, Reference, Where, text};
use super::record::Record;
use super::{MADE_NAMESPACE, PREFIX, Progress, RELEASE, api_services, install, nodes, restart, traces, user};
use jiff::Timestamp;
use odigos_api::crds::LEGACY_GROUP;
use odigos_api::{API_VERSION, GROUP, names};
use odigos_chart::Chart;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// Between two reminders that a kind is to go.
const NUDGE: Duration = Duration::from_secs(5);
/// Annotation of a kind that does not go: when the API server was reminded.
const RETRIED: &str = "odigos.io/removal-retried-at";
/// How long a pod of a node that is away is waited for.
const NODE_PATIENCE: Duration = Duration::from_secs(10);
/// The three controllers.
const CONTROLLERS: [&str; 3] = [names::INSTRUMENTOR, names::SCHEDULER, names::AUTOSCALER];
/// Kinds in the control plane's namespace of which controllers make objects.
const MADE: [(&str, &str); 13] = [
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "ServiceAccount"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("coordination.k8s.io/v1", "Lease"),
];
/// Secrets with the authorities of certificates, which controllers make.
const AUTHORITIES: [&str; 2] = ["odigos-webhook-authority", "odigos-metrics-authority"];
/// Kinds of the whole cluster of which something may be ours.
const CLUSTER_WIDE: [(&str, &str); 7] = [
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"),
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("scheduling.k8s.io/v1", "PriorityClass"),
];

/// What is removed.
pub(super) struct Removal<'a> {
    /// The cluster.
    pub(super) cluster: &'a Cluster,
    /// Namespace of the control plane.
    pub(super) namespace: &'a str,
    /// Kinds and objects of users go as well.
    pub(super) purge: bool,
    /// Release of Helm whose records go too.
    pub(super) helm: Option<&'a str>,
    /// How long one wait may take.
    pub(super) limit: Duration,
    /// Where progress is printed.
    pub(super) progress: Progress,
    /// What the agents said of their nodes.
    pub(super) nodes: OnceLock<nodes::Cleaned>,
}

impl Removal<'_> {
    /// Removes everything.
    pub(super) async fn run(&self) -> anyhow::Result<()> {
        self.admission_gone().await?;
        self.controllers().await?;
        restart::run(self.cluster, self.limit, self.progress).await?;
        self.release().await?;
        self.derived().await?;
        if let Some(cleaned) = nodes::clean(self).await? {
            let _ = self.nodes.set(cleaned);
        }
        for reference in self.made().await? {
            self.delete(&reference).await?;
        }
        self.pods_gone(None).await?;
        let changed = traces::unmark(self.cluster, self.namespace).await? + traces::untaint(self.cluster).await?;
        if changed > 0 {
            self.progress.say(&format!("cleaned    labels, annotations and taints of {changed} objects"));
        }
        for reference in self.cluster_wide().await? {
            self.delete(&reference).await?;
        }
        if self.purge {
            self.kinds().await?;
        } else {
            for name in user::give_back(self.cluster).await? {
                self.progress.say(&format!("kept       {name}, as it was"));
            }
        }
        self.delete(&Record::reference(self.namespace)).await?;
        self.home().await
    }

    async fn delete(&self, reference: &Reference) -> anyhow::Result<()> {
        if self.cluster.delete(reference).await? {
            self.progress.say(&format!("removed    {reference}"));
        }
        Ok(())
    }

    /// Everything that stands and will go, for the preview.
    pub(super) async fn preview(&self) -> anyhow::Result<BTreeSet<Reference>> {
        let mut all = self.cluster_wide().await?;
        all.extend(self.made().await?);
        if self.purge {
            all.extend(self.crds().await?);
        }
        if let Home::Goes = self.home_state().await? {
            all.insert(Reference::new("v1", "Namespace", "", self.namespace));
        }
        Ok(all)
    }

    /// What the chart of this version or the recorded one may have installed.
    async fn installed(&self) -> anyhow::Result<BTreeSet<Reference>> {
        // Everything that can be switched on, since nobody may have recorded what was.
        let values = json!({"crds": {"install": true}, "clusterMetrics": true, "customMetrics": {"enabled": true}, "networkPolicies": true, "webhooks": {"pods": true}});
        let objects = Chart::embedded()?.render(&values, &install::release(self.namespace))?;
        let mut all: BTreeSet<Reference> = objects.iter().map(Reference::of).collect();
        if let Some(record) = Record::read(self.cluster, self.namespace).await? {
            all.extend(record.objects);
        }
        Ok(all)
    }

    /// Objects of the whole cluster that are ours: by label, or by name where they serve this namespace.
    async fn cluster_wide(&self) -> anyhow::Result<BTreeSet<Reference>> {
        let named = self.installed().await?;
        let mut found = BTreeSet::new();
        for (api_version, kind) in CLUSTER_WIDE {
            for object in self.cluster.list_metadata(api_version, kind, Where::default()).await? {
                let reference = Reference::of(&object);
                let labelled = text(&object, "/metadata/labels/app.kubernetes.io~1part-of") == RELEASE;
                if labelled || named.contains(&reference) {
                    found.insert(reference);
                }
            }
        }
        found.extend(api_services::ours(self.cluster, self.namespace).await?);
        Ok(found)
    }

    /// Admission and API services: from then on nothing waits for an answer of ours, and no policy keeps labels on pods.
    pub(super) async fn admission_gone(&self) -> anyhow::Result<()> {
        let asks = |one: &&Reference| {
            one.kind.ends_with("WebhookConfiguration")
                || one.kind.starts_with("ValidatingAdmissionPolicy")
                || one.kind == api_services::KIND
        };
        for reference in self.cluster_wide().await?.iter().filter(asks) {
            self.delete(reference).await?;
        }
        Ok(())
    }

    /// Ends the controllers and waits until their pods are gone: from then on nothing of ours writes.
    async fn controllers(&self) -> anyhow::Result<()> {
        for name in CONTROLLERS {
            self.delete(&Reference::new("apps/v1", "Deployment", self.namespace, name)).await?;
        }
        self.pods_gone(Some(&CONTROLLERS)).await
    }

    /// Waits until pods of ours are gone; those of a node that is away are taken off it.
    async fn pods_gone(&self, names: Option<&[&str]>) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut said = false;
        loop {
            let pods = self.pods(names).await?;
            if pods.is_empty() || begun.elapsed() > self.limit {
                return Ok(());
            }
            if !said {
                self.progress.say(&format!("waiting    {} pods to end", pods.len()));
                said = true;
            }
            if begun.elapsed() > NODE_PATIENCE {
                for pod in &pods {
                    if !text(pod, "/metadata/deletionTimestamp").is_empty() && !self.has_node(pod).await? {
                        self.cluster.delete_at_once(&Reference::of(pod)).await?;
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Pods of ours in the control plane's namespace.
    pub(super) async fn pods(&self, names: Option<&[&str]>) -> anyhow::Result<Vec<Value>> {
        let mut pods = self.cluster.list("v1", "Pod", Where::namespace(self.namespace)).await?;
        pods.retain(|pod| {
            let name = text(pod, "/metadata/labels/app.kubernetes.io~1name");
            let part_of = text(pod, "/metadata/labels/app.kubernetes.io~1part-of") == RELEASE;
            let labels = pod.pointer("/metadata/labels").and_then(Value::as_object);
            let ours = part_of || labels.is_some_and(|labels| labels.keys().any(|key| key.starts_with(PREFIX)));
            ours && names.is_none_or(|names| names.contains(&name))
        });
        Ok(pods)
    }

    async fn has_node(&self, pod: &Value) -> anyhow::Result<bool> {
        let node = Reference::new("v1", "Node", "", text(pod, "/spec/nodeName"));
        if node.name.is_empty() {
            return Ok(false);
        }
        let live = self.cluster.get(&node).await?;
        let conditions = live.as_ref().and_then(|live| live.pointer("/status/conditions")).and_then(Value::as_array);
        Ok(conditions.into_iter().flatten().any(|one| text(one, "/type") == "Ready" && text(one, "/status") == "True"))
    }

    /// Finalizers: nobody is left to take them away.
    async fn release(&self) -> anyhow::Result<()> {
        // Somebody may write at the same moment; what is left after some rounds is named by the report.
        for _ in 0..10 {
            let released = traces::release(self.cluster).await?;
            if released == 0 {
                break;
            }
            self.progress.say(&format!("released   {released} objects of their finalizer"));
        }
        Ok(())
    }

    /// Objects of our kinds that controllers derived.
    async fn derived(&self) -> anyhow::Result<()> {
        for reference in self.derived_objects().await? {
            self.delete(&reference).await?;
        }
        Ok(())
    }

    /// Objects of our kinds that no user wrote.
    pub(super) async fn derived_objects(&self) -> anyhow::Result<Vec<Reference>> {
        let mut found = Vec::new();
        for kind in user::DERIVED.into_iter().chain(["DataStream"]) {
            let objects = self.cluster.list_metadata(API_VERSION, kind, Where::default()).await?;
            let ours = objects.iter().filter(|object| kind != "DataStream" || user::is_derived(object));
            found.extend(ours.map(Reference::of));
        }
        Ok(found)
    }

    /// What stands in the control plane's namespace and is ours; the record comes last and is not among it.
    pub(super) async fn made(&self) -> anyhow::Result<BTreeSet<Reference>> {
        let record = Record::reference(self.namespace);
        let named = self.installed().await?;
        let mut found = BTreeSet::new();
        for (api_version, kind) in MADE {
            for object in self.cluster.list_metadata(api_version, kind, Where::namespace(self.namespace)).await? {
                let reference = Reference::of(&object);
                let helm = self.helm.is_some_and(|release| {
                    kind == "Secret" && reference.name.starts_with(&format!("sh.helm.release.v1.{release}."))
                });
                if reference != record && (helm || named.contains(&reference) || is_made(&object)) {
                    found.insert(reference);
                }
            }
        }
        // What the chart puts into other namespaces, as long as it is the chart's.
        for reference in named.iter().filter(|one| !one.namespace.is_empty() && one.namespace != self.namespace) {
            if self.cluster.get(reference).await?.is_some_and(|live| is_made(&live)) {
                found.insert(reference.clone());
            }
        }
        Ok(found)
    }

    /// CustomResourceDefinitions of our groups.
    pub(super) async fn crds(&self) -> anyhow::Result<BTreeSet<Reference>> {
        let all =
            self.cluster.list_metadata("apiextensions.k8s.io/v1", "CustomResourceDefinition", Where::default()).await?;
        let ours = all.iter().map(Reference::of);
        Ok(ours
            .filter(|crd| crd.name.split_once('.').is_some_and(|(_, group)| [GROUP, LEGACY_GROUP].contains(&group)))
            .collect())
    }

    /// Kinds, and with them every object.
    async fn kinds(&self) -> anyhow::Result<()> {
        for crd in self.crds().await? {
            self.delete(&crd).await?;
        }
        let until = Instant::now() + self.limit;
        let mut nudged = Instant::now();
        loop {
            let left = self.crds().await?;
            if left.is_empty() || Instant::now() >= until {
                return Ok(());
            }
            // What was written after the first look would hold its kind for ever.
            traces::release(self.cluster).await?;
            // The API server gives up on a kind whose storage was not ready, and looks again only minutes later, or when
            // the object changes.
            if nudged.elapsed() > NUDGE {
                nudged = Instant::now();
                for crd in &left {
                    let change = json!({"metadata": {"annotations": {RETRIED: Timestamp::now().to_string()}}});
                    self.cluster.merge(crd, &change).await?;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The namespace, if the installer made it and nobody else needs it.
    async fn home(&self) -> anyhow::Result<()> {
        let home = Reference::new("v1", "Namespace", "", self.namespace);
        match self.home_state().await? {
            Home::Goes => self.delete(&home).await?,
            Home::Held(by) => {
                self.progress.say(&format!("kept       {home}: it holds {}", super::report::names(&by)));
                return Ok(());
            }
            Home::Foreign => return Ok(()),
        }
        let until = Instant::now() + self.limit;
        while self.cluster.get(&home).await?.is_some() && Instant::now() < until {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// What becomes of the namespace.
    pub(super) async fn home_state(&self) -> anyhow::Result<Home> {
        let home = Reference::new("v1", "Namespace", "", self.namespace);
        let Some(live) = self.cluster.get(&home).await? else { return Ok(Home::Foreign) };
        let made = live.pointer("/metadata/annotations").and_then(|all| all.get(MADE_NAMESPACE)).is_some();
        if !made {
            return Ok(Home::Foreign);
        }
        // With everything else its Secrets for Destinations go as well; programs and data of others never do.
        let mut kinds = vec![
            ("apps/v1", "Deployment"),
            ("apps/v1", "StatefulSet"),
            ("apps/v1", "DaemonSet"),
            ("v1", "PersistentVolumeClaim"),
        ];
        if !self.purge {
            kinds.extend([("v1", "Secret"), ("v1", "ConfigMap")]);
        }
        let ours = self.made().await?;
        let mut foreign = Vec::new();
        for (api_version, kind) in kinds {
            for object in self.cluster.list_metadata(api_version, kind, Where::namespace(self.namespace)).await? {
                let reference = Reference::of(&object);
                let own = ours.contains(&reference) || reference == Record::reference(self.namespace);
                if !own && reference.name != "kube-root-ca.crt" {
                    foreign.push(reference.to_string());
                }
            }
        }
        if !self.purge {
            let objects = user::objects(self.cluster).await?;
            let here = objects.iter().map(Reference::of).filter(|one| one.namespace == self.namespace);
            foreign.extend(here.map(|one| one.to_string()));
        }
        Ok(if foreign.is_empty() { Home::Goes } else { Home::Held(foreign) })
    }
}

/// What becomes of the control plane's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// The installer made it and it is empty.
    Goes,
    /// The installer made it, and it holds things of others.
    Held(Vec<String>),
    /// Not ours, or not there.
    Foreign,
}

/// Whether a controller or the installer made an object of the control plane's namespace.
fn is_made(object: &Value) -> bool {
    let list = |pointer: &str| object.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let labelled = text(object, "/metadata/labels/app.kubernetes.io~1part-of") == RELEASE;
    let owned = list("/metadata/ownerReferences").any(|owner| text(owner, "/apiVersion").starts_with(PREFIX));
    let written = list("/metadata/managedFields").any(|entry| CONTROLLERS.contains(&text(entry, "/manager")));
    // Leases are written by the manager of a library, the authority of certificates by a plain create.
    let own_name = match text(object, "/kind") {
        "Lease" => text(object, "/metadata/name").starts_with("odigos-"),
        "Secret" => AUTHORITIES.contains(&text(object, "/metadata/name")),
        _ => false,
    };
    labelled || owned || written || own_name
}
