//! A control plane of which only the instrumentor runs: what a node's agent, the scheduler and the autoscaler would have written
//! is written by the test.
//!
//! Owns what every such test starts and asks, with a stand-in for the kubelet under which pods do well, or the test's own.

use crate::api_server::ApiServer;
use crate::binaries;
use crate::control_plane::{self, Kubelet, NAMESPACE, apply};
use crate::http;
use crate::ports::free_port;
use crate::process::{Process, eventually};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use odigos_api::collectors_group::{CollectorsGroup, CollectorsGroupSpec};
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::labels::AGENTS_META_HASH;
use odigos_api::{API_VERSION, CollectorRole, Signal, names};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Everything settles within this time on a busy machine of two cores.
pub const LIMIT: Duration = Duration::from_secs(90);

/// An API server with the chart's objects and a node collector that takes traces and metrics.
#[allow(missing_debug_implementations, reason = "a client has none")]
pub struct Plane {
    /// The API server.
    pub api: ApiServer,
    /// With all permissions.
    pub client: Client,
    /// Where the API server expects the instrumentor's webhook, on loopback.
    pub webhook_port: u16,
    _kubelet: Option<Kubelet>,
}

impl Plane {
    /// Starts it with one node that holds the agents and under which pods do well, configured, without the instrumentor.
    ///
    /// # Errors
    /// When a peer does not start or an object is refused.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with_pod_security(None).await
    }

    /// The same where a Pod Security level holds for namespaces without a label.
    ///
    /// # Errors
    /// When a peer does not start or an object is refused.
    pub async fn start_with_pod_security(level: Option<&str>) -> anyhow::Result<Self> {
        let mut plane = Self::bare_with_pod_security(level).await?;
        plane._kubelet = Some(Kubelet::start(plane.client.clone(), Duration::ZERO).await?);
        let nodes: Api<Node> = Api::all(plane.client.clone());
        let prepared = json!({"metadata": {"labels": {"odigos.io/odiglet-oss-installed": "true"}}});
        nodes.patch("local", &PatchParams::default(), &Patch::Merge(&prepared)).await?;
        plane.configure("").await?;
        Ok(plane)
    }

    /// Starts it without nodes, configuration and instrumentor.
    ///
    /// # Errors
    /// When a peer does not start or an object is refused.
    pub async fn bare() -> anyhow::Result<Self> {
        Self::bare_with_pod_security(None).await
    }

    async fn bare_with_pod_security(level: Option<&str>) -> anyhow::Result<Self> {
        let mut api = ApiServer::start_with_pod_security(level).await?;
        api.start_controller_manager()?;
        let client = api.client().await?;
        control_plane::create_namespace(&client, NAMESPACE).await?;
        let webhook_port = free_port()?;
        control_plane::install(&client, webhook_port).await?;
        let spec = CollectorsGroupSpec {
            role: CollectorRole::NodeCollector,
            collector_own_metrics_port: i32::from(names::NODE_METRICS_PORT),
            ..CollectorsGroupSpec::default()
        };
        let groups: Api<CollectorsGroup> = Api::namespaced(client.clone(), NAMESPACE);
        groups.create(&Default::default(), &CollectorsGroup::new(names::NODE_COLLECTOR, spec)).await?;
        let status = json!({"status": {"ready": true, "receiverSignals": [Signal::Traces, Signal::Metrics]}});
        groups.patch_status(names::NODE_COLLECTOR, &PatchParams::default(), &Patch::Merge(&status)).await?;
        Ok(Self { api, client, webhook_port, _kubelet: None })
    }

    /// Writes the effective configuration as the scheduler would, with these lines besides the image of the agents.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn configure(&self, lines: &str) -> anyhow::Result<()> {
        let configuration = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names::EFFECTIVE_CONFIGURATION, "namespace": NAMESPACE},
            "data": {"config.yaml": match lines.contains("agentsImage:") {
                true => lines.to_owned(),
                false => format!("agentsImage: registry/agents:1\n{lines}"),
            }},
        });
        apply(&self.client, &configuration).await?;
        Ok(())
    }

    /// Starts the instrumentor with the permissions of the chart, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready; with the end of its output.
    pub async fn start_instrumentor(&self) -> anyhow::Result<Process> {
        self.start_instrumentor_from(&binaries::built()?).await
    }

    /// The same with the binary of a folder.
    ///
    /// # Errors
    /// When it does not become ready; with the end of its output.
    pub async fn start_instrumentor_from(&self, folder: &Path) -> anyhow::Result<Process> {
        let admin_port = free_port()?;
        let mut command = Command::new(folder.join(names::INSTRUMENTOR));
        command
            .env("KUBECONFIG", self.api.kubeconfig_of(NAMESPACE, names::INSTRUMENTOR).await?)
            .env("HOSTNAME", "instrumentor-0")
            .arg(format!("--admin-address=127.0.0.1:{admin_port}"))
            .arg(format!("--webhook-address=127.0.0.1:{}", self.webhook_port))
            .args(["--webhook-names=127.0.0.1", "--lease-seconds=5"]);
        let log = self.api.directory().join("instrumentor.log");
        let process = Process::start("instrumentor", &mut command, &log)?;
        let is_ready = || async move { http::get(admin_port, "/readyz", None).await.is_some() };
        let ready = eventually("the instrumentor is ready", LIMIT, is_ready).await;
        ready.map_err(|error| error.context(process.tail()))?;
        Ok(process)
    }

    /// Covers a namespace as a whole with a Source.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn cover(&self, namespace: &str) -> anyhow::Result<()> {
        let source = json!({
            "apiVersion": API_VERSION, "kind": "Source", "metadata": {"name": "all", "namespace": namespace},
            "spec": {"workload": {"name": namespace, "namespace": namespace, "kind": "Namespace"}},
        });
        apply(&self.client, &source).await?;
        Ok(())
    }

    /// Creates a Deployment of one pod with this specification, labelled `app` with its name, and waits until it has a pod: one that
    /// came later than a decision about it would be admitted with agents, and never restarted.
    ///
    /// # Errors
    /// When the API server refuses it, or no pod comes in time.
    pub async fn deploy(&self, namespace: &str, name: &str, pod: &Value) -> anyhow::Result<()> {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "replicas": 1, "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
            },
        });
        // Those of an earlier Deployment of that name may still be on their way out.
        let before = self.pods(namespace, name).await?;
        let before: Vec<String> = before.into_iter().filter_map(|pod| pod.metadata.name).collect();
        apply(&self.client, &object).await?;
        self.newest(namespace, name, &before).await.map(drop)
    }

    /// Writes what the agent of the node found in the containers of a workload, as soon as its config is there.
    ///
    /// # Errors
    /// When there is no config in time, or it is refused.
    pub async fn detect(&self, namespace: &str, config: &str, details: &Value) -> anyhow::Result<()> {
        let configs = self.configs(namespace);
        let exists = async || configs.get_opt(config).await.is_ok_and(|found| found.is_some());
        eventually("the config is there", LIMIT, exists).await?;
        let status = json!({
            "apiVersion": API_VERSION, "kind": "InstrumentationConfig", "metadata": {"name": config, "namespace": namespace},
            "status": {"runtimeDetailsByContainer": details},
        });
        configs.patch_status(config, &PatchParams::apply(names::AGENT).force(), &Patch::Apply(&status)).await?;
        Ok(())
    }

    /// The InstrumentationConfigs of a namespace.
    #[must_use]
    pub fn configs(&self, namespace: &str) -> Api<InstrumentationConfig> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The config of a Deployment.
    ///
    /// # Errors
    /// When there is none.
    pub async fn config(&self, namespace: &str, name: &str) -> anyhow::Result<InstrumentationConfig> {
        Ok(self.configs(namespace).get(&format!("deployment-{name}")).await?)
    }

    /// How often the object of a Deployment was changed, its making included.
    ///
    /// # Errors
    /// When there is none.
    pub async fn generation(&self, namespace: &str, name: &str) -> anyhow::Result<i64> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        Ok(api.get(name).await?.metadata.generation.unwrap_or_default())
    }

    /// The pods of an application, by its label `app`, that are to stay.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn pods(&self, namespace: &str, app: &str) -> anyhow::Result<Vec<Pod>> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let found = api.list(&ListParams::default().labels(&format!("app={app}"))).await?.items;
        Ok(found.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect())
    }

    /// Deletes the pods of an application at once; returns their names.
    ///
    /// # Errors
    /// When one cannot be deleted.
    pub async fn delete_pods(&self, namespace: &str, app: &str) -> anyhow::Result<Vec<String>> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let names: Vec<String> =
            self.pods(namespace, app).await?.into_iter().filter_map(|pod| pod.metadata.name).collect();
        for name in &names {
            api.delete(name, &DeleteParams::default().grace_period(0)).await?;
        }
        Ok(names)
    }

    /// A pod of an application that is none of those named.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn newest(&self, namespace: &str, app: &str, before: &[String]) -> anyhow::Result<Value> {
        let find = async || {
            let pods = self.pods(namespace, app).await.unwrap_or_default();
            pods.into_iter().find(|pod| !before.iter().any(|one| Some(one) == pod.metadata.name.as_ref()))
        };
        let is_there = async || find().await.is_some();
        eventually(&format!("{namespace}/{app} has a new pod"), LIMIT, is_there).await?;
        Ok(serde_json::to_value(find().await)?)
    }

    /// Deletes the pods of an application and returns the one that takes their place.
    ///
    /// # Errors
    /// When none does in time.
    pub async fn replaced(&self, namespace: &str, app: &str) -> anyhow::Result<Value> {
        let before = self.delete_pods(namespace, app).await?;
        self.newest(namespace, app, &before).await
    }

    /// Waits until every pod of a Deployment carries what is decided, and its object was changed so often; returns the pod.
    ///
    /// # Errors
    /// When it is not so in time; with what is decided and said.
    pub async fn rolled_out(&self, namespace: &str, name: &str, generation: i64) -> anyhow::Result<Value> {
        let finished = async || {
            let Ok(found) = self.config(namespace, name).await else { return false };
            let wanted = found.spec.agents_meta_hash;
            let status = found.status.unwrap_or_default();
            let says = |kind: &str, reason: &str| {
                status.conditions.iter().any(|one| one.type_ == kind && one.reason == reason)
            };
            let are_there =
                says("WorkloadRollout", "RolloutFinished") && says("PodsManifestInjection", "PodsAppliedSuccessfully");
            let is_current = !wanted.is_empty() && status.workload_rollout_hash == wanted;
            are_there && is_current && self.generation(namespace, name).await.is_ok_and(|now| now == generation)
        };
        if let Err(error) = eventually("the rollout is finished", LIMIT, finished).await {
            let now = self.generation(namespace, name).await?;
            let config = self.config(namespace, name).await?;
            anyhow::bail!("{error:#}: generation {now}, {:?} {:?}", config.spec, config.status);
        }
        // One of the revision before may be about to end.
        let hash = self.config(namespace, name).await?.spec.agents_meta_hash;
        let find = async || {
            let pods = self.pods(namespace, name).await.unwrap_or_default();
            let has =
                |pod: &Pod| pod.metadata.labels.as_ref().is_some_and(|all| all.get(AGENTS_META_HASH) == Some(&hash));
            pods.into_iter().find(has)
        };
        let is_there = async || find().await.is_some();
        eventually(&format!("{namespace}/{name} has a pod with the decided agents"), LIMIT, is_there).await?;
        Ok(serde_json::to_value(find().await)?)
    }
}
