//! The lab: API server with its own autoscaling controller, controllers as processes, gateways that answer on loopback addresses.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use odigos_api::collectors_group::{CollectorsGroup, GatewayLoad};
use odigos_api::{API_VERSION, Signal, labels, names};
use odigos_testkit::api_server::ApiServer;
use odigos_testkit::binaries;
use odigos_testkit::collector::{Collector, Surroundings};
use odigos_testkit::control_plane::{self, Controller, Kubelet, Launch, NAMESPACE};
use odigos_testkit::otlp::Sender;
use odigos_testkit::ports::free_port;
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Controllers of Kubernetes that run beside the usual ones.
pub(super) const AUTOSCALING: &[&str] = &["horizontal-pod-autoscaler-controller"];

pub(super) struct Plane {
    pub(super) client: Client,
    pub(super) launch: Launch,
    pub(super) scheduler: Controller,
    pub(super) autoscaler: Controller,
    pub(super) api: ApiServer,
    _kubelet: Kubelet,
    _addresses: tokio::task::JoinHandle<()>,
}

/// One at a time: gateways listen on fixed addresses, and the machine has few cores.
pub(super) static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

impl Plane {
    pub(super) async fn start() -> Self {
        Self::start_with(&[], |_| async {}).await
    }

    /// A control plane whose autoscaler gets these arguments, after something more was installed.
    pub(super) async fn start_with<F: Future<Output = ()>>(further: &[String], more: impl FnOnce(Client) -> F) -> Self {
        let mut api = ApiServer::start().await.unwrap();
        api.start_controller_manager_with(AUTOSCALING).unwrap();
        let client = api.client().await.unwrap();
        control_plane::create_namespace(&client, NAMESPACE).await.unwrap();
        let kubelet = Kubelet::start(client.clone(), Duration::ZERO).await.unwrap();
        // Two autoscalers may run: with a short lease the second takes over whenever the first is late to renew it.
        let launch =
            Launch { binaries: binaries::built().unwrap(), webhook_port: free_port().unwrap(), lease_seconds: 9 };
        control_plane::install(&client, launch.webhook_port).await.unwrap();
        // No admission here: what is tested begins behind it.
        for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
            for hook in control_plane::list(&client, "admissionregistration.k8s.io/v1", kind).await.unwrap() {
                let object = kube::core::ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(
                    "admissionregistration.k8s.io",
                    "v1",
                    kind,
                ));
                let hooks: Api<kube::api::DynamicObject> = Api::all_with(client.clone(), &object);
                hooks.delete(&hook.name_any(), &kube::api::DeleteParams::default()).await.unwrap();
            }
        }
        more(client.clone()).await;
        let scheduler = launch.start(&api, names::SCHEDULER, 0).await.unwrap();
        let autoscaler = launch.start_with(&api, names::AUTOSCALER, 0, further).await.unwrap();
        let addresses = give_addresses(client.clone());
        Self { client, launch, scheduler, autoscaler, api, _kubelet: kubelet, _addresses: addresses }
    }

    pub(super) async fn hpa(&self) -> HorizontalPodAutoscaler {
        let api: Api<HorizontalPodAutoscaler> = Api::namespaced(self.client.clone(), NAMESPACE);
        api.get(names::GATEWAY).await.unwrap()
    }

    /// Resources by which it scales.
    pub(super) async fn metrics(&self) -> Vec<String> {
        let metrics = self.hpa().await.spec.metrics.unwrap_or_default();
        metrics.into_iter().filter_map(|one| Some(one.resource?.name)).collect()
    }

    pub(super) async fn least(&self) -> Option<i32> {
        let api: Api<HorizontalPodAutoscaler> = Api::namespaced(self.client.clone(), NAMESPACE);
        api.get_opt(names::GATEWAY).await.unwrap()?.spec.min_replicas
    }

    pub(super) async fn note(&self) -> Option<Value> {
        serde_json::from_str(self.hpa().await.annotations().get(labels::SCALING_HINT)?).ok()
    }

    pub(super) async fn replicas(&self) -> Option<i64> {
        let found = control_plane::get_object(&self.client, "apps/v1", "Deployment", NAMESPACE, names::GATEWAY).await;
        found.ok()?.data.pointer("/spec/replicas")?.as_i64()
    }

    pub(super) async fn group(&self) -> CollectorsGroup {
        let api: Api<CollectorsGroup> = Api::namespaced(self.client.clone(), NAMESPACE);
        api.get(names::GATEWAY).await.unwrap()
    }

    /// `Status/Reason` of a condition, and its message.
    pub(super) async fn says(&self, kind: &str) -> (String, String) {
        let conditions = self.group().await.status.unwrap_or_default().conditions;
        let found = conditions.into_iter().find(|one| one.type_ == kind);
        found.map(|one| (format!("{}/{}", one.status, one.reason), one.message)).unwrap_or_default()
    }

    /// Writes what gateway pods mount, as the autoscaler has certified them.
    async fn write_gateway_certificate(&self, directory: &std::path::Path) {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), NAMESPACE);
        let certified = eventually("gateways have a certificate", Duration::from_secs(90), || async {
            let secret = secrets.get(names::GATEWAY_CERTIFICATE).await.unwrap();
            secret.data.is_some_and(|data| data.contains_key("tls.key"))
        });
        certified.await.unwrap();
        std::fs::create_dir_all(directory).unwrap();
        for (name, value) in secrets.get(names::GATEWAY_CERTIFICATE).await.unwrap().data.unwrap() {
            std::fs::write(directory.join(name), value.0).unwrap();
        }
    }

    /// Addresses of the gateway pods that are not going; empty for one that has none yet.
    pub(super) async fn addresses(&self) -> Vec<String> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let all = pods.list(&gateways()).await.unwrap().items.into_iter();
        let staying = all.filter(|pod| pod.metadata.deletion_timestamp.is_none());
        staying.map(|pod| pod.status.and_then(|status| status.pod_ip).unwrap_or_default()).collect()
    }

    pub(super) async fn load(&self) -> GatewayLoad {
        self.group().await.status.and_then(|status| status.load).unwrap_or_default()
    }

    /// Waits for a condition; returns its message.
    pub(super) async fn comes_to_say(&self, kind: &str, expected: &str, patience: u64) -> String {
        let what = format!("{kind} is {expected}");
        let came = eventually(&what, Duration::from_secs(patience), || async { self.says(kind).await.0 == expected });
        if let Err(error) = came.await {
            panic!(
                "{error}; it says {:?}; {:?}; {}",
                self.says(kind).await,
                self.load().await,
                self.autoscaler.process.tail()
            );
        }
        self.says(kind).await.1
    }
}

/// Address of the gateway that got the n-th address.
pub(super) fn address(number: usize) -> String {
    format!("127.88.7.{}", number + 1)
}

pub(super) fn gateways() -> ListParams {
    ListParams::default().labels("odigos.io/collector-role=CLUSTER_GATEWAY")
}

/// Gives every gateway pod an address of its own, in the order in which they come.
pub(super) fn give_addresses(client: Client) -> tokio::task::JoinHandle<()> {
    #[allow(clippy::disallowed_methods, reason = "a stand-in lives as long as the test")]
    tokio::spawn(async move {
        let pods: Api<Pod> = Api::namespaced(client, NAMESPACE);
        let mut next = 0;
        loop {
            for pod in pods.list(&gateways()).await.map(|list| list.items).unwrap_or_default() {
                let status = pod.status.unwrap_or_default();
                if status.phase.as_deref() != Some("Running") || status.pod_ip.is_some() {
                    continue;
                }
                let name = pod.metadata.name.unwrap_or_default();
                let change = json!({"status": {"podIP": address(next), "podIPs": [{"ip": address(next)}]}});
                if pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(&change)).await.is_ok() {
                    next += 1;
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
}

/// Collectors on the addresses of the two gateway pods, and something that sends to them all the time.
pub(super) struct Gateways {
    collectors: Vec<Collector>,
    sending: Arc<AtomicBool>,
    sender: tokio::task::JoinHandle<()>,
}

impl Gateways {
    pub(super) async fn start(plane: &Plane, config: &str, directory: &std::path::Path) -> Self {
        let two = eventually("two gateways run", Duration::from_secs(90), || async {
            let addresses = plane.addresses().await;
            addresses.len() == 2 && addresses.iter().all(|address| !address.is_empty())
        });
        two.await.unwrap();
        let mut collectors = Vec::new();
        let certificate = directory.join("certificate");
        plane.write_gateway_certificate(&certificate).await;
        for address in plane.addresses().await {
            // What is served without TLS is where nobody looks for it: in a pod it listens on loopback.
            let around = Surroundings {
                metrics_host: address.clone(),
                secure_metrics: names::SECURE_METRICS_PORT,
                metrics_certificate: Some(certificate.clone()),
                ..Surroundings::new(&directory.join(&address)).unwrap()
            };
            collectors.push(Collector::start("gateway", config, around, &[]).await.unwrap());
        }
        let endpoints: Vec<String> = collectors.iter().map(Collector::endpoint).collect();
        let sending = Arc::new(AtomicBool::new(true));
        let go_on = sending.clone();
        let names: Vec<String> = (0..100).map(|number| format!("span-{number}")).collect();
        #[allow(clippy::disallowed_methods, reason = "a stand-in lives as long as the test")]
        let sender = tokio::spawn(async move {
            while go_on.load(Ordering::Relaxed) {
                for endpoint in &endpoints {
                    if let Ok(sender) = Sender::connect(endpoint).await {
                        let _ = sender.send(Signal::Traces, &[("service.name", "shop")], &names).await;
                    }
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        });
        Self { collectors, sending, sender }
    }

    /// Where they receive, as `http://address:port`.
    pub(super) fn endpoints(&self) -> Vec<String> {
        self.collectors.iter().map(Collector::endpoint).collect()
    }

    pub(super) async fn stop(self) {
        self.sending.store(false, Ordering::Relaxed);
        self.sender.await.unwrap();
        self.collectors.into_iter().for_each(Collector::kill);
    }
}

/// The configuration that the controllers rendered, with `change`.
pub(super) async fn rendered(client: &Client, change: impl Fn(&mut Value)) -> String {
    let api: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let data = api.get(names::GATEWAY).await.unwrap().data.unwrap();
    let mut config: Value = serde_yaml::from_str(&data[names::GATEWAY_CONFIG_KEY]).unwrap();
    change(&mut config);
    odigos_pipeline::yaml::to_string(&config)
}

pub(super) fn destination(name: &str, port: u16) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": "Destination", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "type": "jaeger", "destinationName": name, "signals": ["TRACES"],
            "data": {"JAEGER_URL": format!("127.0.0.1:{port}")},
        },
    })
}
