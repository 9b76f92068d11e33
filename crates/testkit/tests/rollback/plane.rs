//! A control plane of which only the instrumentor runs, and what the tests ask of it.

use crate::kubelet::Kubelet;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use odigos_api::collectors_group::{CollectorsGroup, CollectorsGroupSpec};
use odigos_api::instrumentation_config::{InstrumentationConfig, InstrumentationConfigStatus};
use odigos_api::labels::AGENTS_META_HASH;
use odigos_api::{API_VERSION, CollectorRole, Signal, names};
use odigos_testkit::api_server::ApiServer;
use odigos_testkit::control_plane::{self, NAMESPACE, apply};
use odigos_testkit::http;
use odigos_testkit::process::{Process, eventually, free_port};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

/// Everything settles within this time on a busy machine of two cores.
pub const LIMIT: Duration = Duration::from_secs(90);

pub struct Plane {
    pub api: ApiServer,
    pub client: Client,
    pub kubelet: Kubelet,
    webhook_port: u16,
}

impl Plane {
    pub async fn start() -> Self {
        let mut api = ApiServer::start().await.unwrap();
        api.start_controller_manager().unwrap();
        let client = api.client().await.unwrap();
        control_plane::create_namespace(&client, NAMESPACE).await.unwrap();
        let kubelet = Kubelet::start(client.clone()).await;
        let webhook_port = free_port().unwrap();
        control_plane::install(&client, webhook_port).await.unwrap();
        let spec = CollectorsGroupSpec {
            role: CollectorRole::NodeCollector,
            collector_own_metrics_port: i32::from(names::NODE_METRICS_PORT),
            ..CollectorsGroupSpec::default()
        };
        let groups: Api<CollectorsGroup> = Api::namespaced(client.clone(), NAMESPACE);
        groups.create(&Default::default(), &CollectorsGroup::new(names::NODE_COLLECTOR, spec)).await.unwrap();
        let status = json!({"status": {"ready": true, "receiverSignals": [Signal::Traces]}});
        groups.patch_status(names::NODE_COLLECTOR, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
        Self { api, client, kubelet, webhook_port }
    }

    /// What the scheduler would have written, with these settings of rollouts.
    pub async fn configure(&self, settings: &str) {
        let text = format!("agentsImage: registry/agents:1\n{settings}\n");
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names::EFFECTIVE_CONFIGURATION, "namespace": NAMESPACE},
            "data": {"config.yaml": text},
        });
        apply(&self.client, &map).await.unwrap();
    }

    pub async fn start_instrumentor(&self) -> Process {
        let admin_port = free_port().unwrap();
        let binary = control_plane::build().unwrap().join(names::INSTRUMENTOR);
        let mut command = Command::new(binary);
        command
            .env("KUBECONFIG", self.api.kubeconfig_of(NAMESPACE, names::INSTRUMENTOR).await.unwrap())
            .env("HOSTNAME", "instrumentor-0")
            .arg(format!("--admin-address=127.0.0.1:{admin_port}"))
            .arg(format!("--webhook-address=127.0.0.1:{}", self.webhook_port))
            .args(["--webhook-names=127.0.0.1", "--lease-seconds=3"]);
        let log = self.api.directory().join("instrumentor.log");
        let process = Process::start("instrumentor", &mut command, &log).unwrap();
        let ready = eventually("the instrumentor is ready", LIMIT, || async move {
            http::get(admin_port, "/readyz", None).await.is_some()
        });
        ready.await.unwrap_or_else(|error| panic!("{error:#}\n{}", process.tail()));
        process
    }

    /// A namespace that is covered as a whole.
    pub async fn covered(&self, name: &str) {
        control_plane::create_namespace(&self.client, name).await.unwrap();
        let source = json!({
            "apiVersion": API_VERSION, "kind": "Source", "metadata": {"name": "all", "namespace": name},
            "spec": {"workload": {"name": name, "namespace": name, "kind": "Namespace"}},
        });
        apply(&self.client, &source).await.unwrap();
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

    /// What the agent of the node writes.
    pub async fn detect(&self, namespace: &str, name: &str) {
        self.detect_in(namespace, &format!("deployment-{name}")).await;
    }

    /// The same of a workload whose config is named.
    pub async fn detect_in(&self, namespace: &str, config: &str) {
        let configs: Api<InstrumentationConfig> = Api::namespaced(self.client.clone(), namespace);
        let exists = async || configs.get_opt(config).await.is_ok_and(|found| found.is_some());
        eventually("the config is there", LIMIT, exists).await.unwrap();
        let details = json!([{"containerName": "app", "language": "java", "runtimeVersion": "17.0.12+7", "secureExecutionMode": false}]);
        let status = json!({
            "apiVersion": API_VERSION, "kind": "InstrumentationConfig", "metadata": {"name": config, "namespace": namespace},
            "status": {"runtimeDetailsByContainer": details},
        });
        configs.patch_status(config, &PatchParams::apply(names::AGENT).force(), &Patch::Apply(&status)).await.unwrap();
    }

    pub async fn config(&self, namespace: &str, name: &str) -> InstrumentationConfig {
        let configs: Api<InstrumentationConfig> = Api::namespaced(self.client.clone(), namespace);
        configs.get(&format!("deployment-{name}")).await.unwrap()
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

    /// Pods that are to stay.
    pub async fn pods(&self, namespace: &str, name: &str) -> Vec<Pod> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let found = api.list(&ListParams::default().labels(&format!("app={name}"))).await.unwrap().items;
        found.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect()
    }

    pub async fn names(&self, namespace: &str, name: &str) -> Vec<String> {
        let mut names: Vec<String> = self.pods(namespace, name).await.iter().map(ResourceExt::name_any).collect();
        names.sort();
        names
    }

    pub async fn delete_pods(&self, namespace: &str, name: &str) {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        for pod in self.names(namespace, name).await {
            api.delete(&pod, &DeleteParams::default().grace_period(0)).await.unwrap();
        }
    }

    /// How often the pod template was changed, its making included.
    pub async fn generation(&self, namespace: &str, name: &str) -> i64 {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        api.get(name).await.unwrap().metadata.generation.unwrap()
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
