//! A real API server with the instrumentor, where what a node's agent, the scheduler and the autoscaler would have written is
//! written by the test.

#![allow(dead_code, reason = "each test that shares this uses a part of it")]

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use odigos_api::collectors_group::{CollectorsGroup, CollectorsGroupSpec};
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::{API_VERSION, CollectorRole, Signal, names};
use odigos_testkit::api_server::ApiServer;
use odigos_testkit::control_plane::{self, Kubelet, NAMESPACE, apply};
use odigos_testkit::http;
use odigos_testkit::process::{Process, eventually, free_port};
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};

/// Everything settles within this time on a busy machine of two cores.
pub(crate) const LIMIT: Duration = Duration::from_secs(240);

pub(crate) struct Plane {
    pub(crate) api: ApiServer,
    pub(crate) client: Client,
    webhook_port: u16,
    _kubelet: Kubelet,
}

impl Plane {
    pub(crate) async fn start() -> Self {
        let mut api = ApiServer::start().await.unwrap();
        api.start_controller_manager().unwrap();
        let client = api.client().await.unwrap();
        control_plane::create_namespace(&client, NAMESPACE).await.unwrap();
        let kubelet = Kubelet::start(client.clone(), Duration::ZERO).await.unwrap();
        let webhook_port = free_port().unwrap();
        control_plane::install(&client, webhook_port).await.unwrap();
        let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(client.clone());
        let prepared = json!({"metadata": {"labels": {"odigos.io/odiglet-oss-installed": "true"}}});
        nodes.patch("local", &PatchParams::default(), &Patch::Merge(&prepared)).await.unwrap();
        let plane = Self { api, client, webhook_port, _kubelet: kubelet };
        plane.configure("").await;
        let spec = CollectorsGroupSpec {
            role: CollectorRole::NodeCollector,
            collector_own_metrics_port: i32::from(names::NODE_METRICS_PORT),
            ..CollectorsGroupSpec::default()
        };
        let groups: Api<CollectorsGroup> = Api::namespaced(plane.client.clone(), NAMESPACE);
        groups.create(&Default::default(), &CollectorsGroup::new(names::NODE_COLLECTOR, spec)).await.unwrap();
        let status = json!({"status": {"ready": true, "receiverSignals": [Signal::Traces, Signal::Metrics]}});
        groups.patch_status(names::NODE_COLLECTOR, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
        plane
    }

    /// Writes the effective configuration, with more lines.
    pub(crate) async fn configure(&self, more: &str) {
        let configuration = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names::EFFECTIVE_CONFIGURATION, "namespace": NAMESPACE},
            "data": {"config.yaml": format!("agentsImage: registry/agents:1\n{more}")},
        });
        apply(&self.client, &configuration).await.unwrap();
    }

    pub(crate) async fn start_instrumentor(&self) -> Process {
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

    pub(crate) async fn deploy(&self, namespace: &str, name: &str, env: Value) {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "replicas": 1, "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [{"name": "app", "image": "none", "env": env}]},
                },
            },
        });
        apply(&self.client, &object).await.unwrap();
    }

    /// What the agent of the node writes about the container `app` of a Deployment.
    pub(crate) async fn detect(&self, namespace: &str, name: &str, language: &str, version: &str) {
        let configs: Api<InstrumentationConfig> = Api::namespaced(self.client.clone(), namespace);
        let config = format!("deployment-{name}");
        let exists = async || configs.get_opt(&config).await.is_ok_and(|found| found.is_some());
        eventually("the config is there", LIMIT, exists).await.unwrap();
        let details = json!([{"containerName": "app", "language": language, "runtimeVersion": version, "secureExecutionMode": false}]);
        let status = json!({
            "apiVersion": API_VERSION, "kind": "InstrumentationConfig", "metadata": {"name": config, "namespace": namespace},
            "status": {"runtimeDetailsByContainer": details},
        });
        let parameters = PatchParams::apply(names::AGENT).force();
        configs.patch_status(&config, &parameters, &Patch::Apply(&status)).await.unwrap();
    }

    pub(crate) async fn config(&self, namespace: &str, name: &str) -> InstrumentationConfig {
        let configs: Api<InstrumentationConfig> = Api::namespaced(self.client.clone(), namespace);
        configs.get(&format!("deployment-{name}")).await.unwrap()
    }

    /// Waits until every pod of a Deployment carries what is decided, and the template has changed so often; returns the pod.
    pub(crate) async fn rolled_out(&self, namespace: &str, name: &str, generation: i64) -> Value {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        let finished = async || {
            let found = self.config(namespace, name).await;
            let wanted = found.spec.agents_meta_hash.clone();
            let status = found.status.unwrap_or_default();
            let applied = status.conditions.iter().any(|one| one.reason == "PodsAppliedSuccessfully");
            let now = deployments.get(name).await.unwrap().metadata.generation.unwrap_or_default();
            applied && now == generation && !wanted.is_empty() && status.workload_rollout_hash == wanted
        };
        let settled = eventually("the rollout is finished", LIMIT, finished).await;
        let now = deployments.get(name).await.unwrap().metadata.generation;
        let config = self.config(namespace, name).await;
        settled.unwrap_or_else(|error| panic!("{error:#} generation {now:?} {:?} {:?}", config.spec, config.status));
        self.newest(namespace, name, &[]).await
    }

    pub(crate) fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Deletes the pods of a Deployment and returns the one that takes their place.
    pub(crate) async fn replaced(&self, namespace: &str, name: &str) -> Value {
        let selected = ListParams::default().labels(&format!("app={name}"));
        let pods = self.pods(namespace);
        let before: Vec<String> =
            pods.list(&selected).await.unwrap().items.into_iter().filter_map(|pod| pod.metadata.name).collect();
        for pod in &before {
            pods.delete(pod, &DeleteParams::default().grace_period(0)).await.unwrap();
        }
        self.newest(namespace, name, &before).await
    }

    pub(crate) async fn newest(&self, namespace: &str, name: &str, before: &[String]) -> Value {
        let selected = ListParams::default().labels(&format!("app={name}"));
        let until = Instant::now() + LIMIT;
        loop {
            let found = self.pods(namespace).list(&selected).await.unwrap().items.into_iter().find(|pod| {
                pod.metadata.deletion_timestamp.is_none()
                    && !before.iter().any(|one| Some(one) == pod.metadata.name.as_ref())
            });
            if let Some(pod) = found {
                return serde_json::to_value(pod).unwrap();
            }
            assert!(Instant::now() < until, "{namespace}/{name} has no new pod");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
