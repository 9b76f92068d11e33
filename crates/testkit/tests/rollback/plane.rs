//! A control plane of which only the instrumentor runs, with pods that do as the test says, and what the tests ask of it.

use crate::kubelet::Kubelet;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::Api;
use odigos_api::instrumentation_config::InstrumentationConfigStatus;
use odigos_api::labels::AGENTS_META_HASH;
use odigos_api::{API_VERSION, instrumentation_config::InstrumentationConfig};
use odigos_testkit::control_plane::{self, apply};
use odigos_testkit::instrumentor;
pub use odigos_testkit::instrumentor::LIMIT;
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::ops::Deref;

pub struct Plane {
    pub kubelet: Kubelet,
    plane: instrumentor::Plane,
}

impl Deref for Plane {
    type Target = instrumentor::Plane;

    fn deref(&self) -> &Self::Target {
        &self.plane
    }
}

impl Plane {
    /// Starts it with these settings of rollouts.
    pub async fn start(settings: &str) -> Self {
        let plane = instrumentor::Plane::bare().await.unwrap();
        let kubelet = Kubelet::start(plane.client.clone()).await;
        plane.configure(settings).await.unwrap();
        Self { kubelet, plane }
    }

    /// A namespace that is covered as a whole.
    pub async fn covered(&self, name: &str) {
        control_plane::create_namespace(&self.client, name).await.unwrap();
        self.cover(name).await.unwrap();
    }

    /// A Deployment with this many pods, of which one may be away where it has several.
    pub async fn deploy(&self, namespace: &str, name: &str, replicas: i32) {
        let container = json!({"name": "app", "image": "none"});
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": {"app": name}},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": i32::from(replicas > 1), "maxSurge": 1}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}},
            },
        });
        apply(&self.client, &object).await.unwrap();
        let are_there = async || {
            let pods = self.pods(namespace, name).await;
            let is_cared_for = |pod: &Pod| pod.status.as_ref().is_some_and(|status| status.message.is_some());
            pods.len() == usize::try_from(replicas).unwrap() && pods.iter().all(is_cared_for)
        };
        eventually("its pods are there", LIMIT, are_there).await.unwrap();
    }

    /// Waits until the Deployment itself says that all its pods serve, as it is when a node's agent looks at them.
    pub async fn until_available(&self, namespace: &str, name: &str, replicas: i32) {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        let serve = async || {
            api.get(name)
                .await
                .is_ok_and(|found| found.status.is_some_and(|one| one.available_replicas == Some(replicas)))
        };
        eventually("all its pods serve", LIMIT, serve).await.unwrap();
    }

    /// What the agent of the node writes about Java in a Deployment.
    pub async fn detect(&self, namespace: &str, name: &str) {
        self.detect_in(namespace, &format!("deployment-{name}")).await;
    }

    /// The same of a workload whose config is named.
    pub async fn detect_in(&self, namespace: &str, config: &str) {
        let details = json!([{"containerName": "app", "language": "java", "runtimeVersion": "17.0.12+7", "secureExecutionMode": false}]);
        self.plane.detect(namespace, config, &details).await.unwrap();
    }

    /// Waits until new pods of a workload, whose config is named, get agents.
    pub async fn until_enabled(&self, namespace: &str, config: &str) {
        let configs: Api<InstrumentationConfig> = Api::namespaced(self.client.clone(), namespace);
        let is_enabled = async || configs.get(config).await.is_ok_and(|found| found.spec.agent_injection_enabled);
        eventually("new pods get agents", LIMIT, is_enabled).await.unwrap();
    }

    pub async fn config(&self, namespace: &str, name: &str) -> InstrumentationConfig {
        self.plane.config(namespace, name).await.unwrap()
    }

    pub async fn status(&self, namespace: &str, name: &str) -> InstrumentationConfigStatus {
        self.config(namespace, name).await.status.unwrap_or_default()
    }

    /// Status, reason and message of a condition.
    pub async fn says(&self, namespace: &str, name: &str, kind: &str) -> (String, String) {
        let status = self.status(namespace, name).await;
        let found = status.conditions.into_iter().find(|one| one.type_ == kind);
        found.map(|one| (format!("{}/{}", one.status, one.reason), one.message)).unwrap_or_default()
    }

    /// Waits until a workload's status is so.
    pub async fn until(
        &self,
        what: &str,
        namespace: &str,
        name: &str,
        check: impl Fn(&InstrumentationConfigStatus) -> bool,
    ) {
        let begun = std::time::Instant::now();
        let settled = eventually(what, LIMIT, async || check(&self.status(namespace, name).await)).await;
        println!("{namespace}/{name}: {what} after {:?}", begun.elapsed());
        if let Err(error) = settled {
            let log = std::fs::read_to_string(self.api.directory().join("instrumentor.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(30).collect();
            let pods = self.pods(namespace, name).await;
            let pods: Vec<_> = pods.iter().map(|pod| (pod.name_any(), pod.labels().clone())).collect();
            panic!("{error:#} {name} {:?} {pods:?}\n{}", self.status(namespace, name).await, lines.join("\n"));
        }
    }

    /// Waits until all pods have their agents.
    pub async fn until_injected(&self, namespace: &str, name: &str) {
        let check = |status: &InstrumentationConfigStatus| {
            let are_injected =
                status.pods_manifest_injection_status.as_ref().is_some_and(|pods| pods.has_injected_up_to_date_pods);
            are_injected
                && has(status, "WorkloadRollout", "RolloutFinished")
                && has(status, "PodsManifestInjection", "PodsAppliedSuccessfully")
        };
        self.until("every pod has its agents", namespace, name, check).await;
        let pods = self.pods(namespace, name).await;
        assert!(pods.iter().all(|pod| pod.labels().contains_key(AGENTS_META_HASH)), "{name}");
    }

    /// Waits until agents were taken out, and no pod has any.
    pub async fn until_rolled_back(&self, namespace: &str, name: &str) {
        let check = |status: &InstrumentationConfigStatus| {
            status.rollback_occurred == Some(true)
                && has(status, "WorkloadRollout", "RolloutFinished")
                && has(status, "PodsManifestInjection", "PodsAppliedSuccessfully")
        };
        self.until("the agents were taken out", namespace, name, check).await;
        let pods = self.pods(namespace, name).await;
        assert!(pods.iter().all(|pod| !pod.labels().contains_key(AGENTS_META_HASH)), "{name}");
        assert!(!self.config(namespace, name).await.spec.agent_injection_enabled);
    }

    pub async fn pods(&self, namespace: &str, name: &str) -> Vec<Pod> {
        self.plane.pods(namespace, name).await.unwrap()
    }

    pub async fn names(&self, namespace: &str, name: &str) -> Vec<String> {
        let mut names: Vec<String> = self.pods(namespace, name).await.iter().map(ResourceExt::name_any).collect();
        names.sort();
        names
    }

    pub async fn generation(&self, namespace: &str, name: &str) -> i64 {
        self.plane.generation(namespace, name).await.unwrap()
    }

    /// A Source of one Deployment that asks for another attempt at this time.
    pub async fn recover(&self, namespace: &str, name: &str, time: &str) {
        let source = json!({
            "apiVersion": API_VERSION, "kind": "Source",
            "metadata": {"name": name, "namespace": namespace, "annotations": {"odigos.io/rollback-recovery": time}},
            "spec": {"workload": {"name": name, "namespace": namespace, "kind": "Deployment"}},
        });
        apply(&self.client, &source).await.unwrap();
    }

    pub async fn objects(&self, api_version: &str, kind: &str) -> Vec<Value> {
        let found = control_plane::list(&self.client, api_version, kind).await.unwrap();
        found.into_iter().map(|one| serde_json::to_value(one).unwrap()).collect()
    }
}

/// Whether a condition has this reason.
pub fn has(status: &InstrumentationConfigStatus, kind: &str, reason: &str) -> bool {
    status.conditions.iter().any(|one| one.type_ == kind && one.reason == reason)
}
