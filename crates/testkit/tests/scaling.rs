//! Gateways that are added for what they refuse: real API server with its own autoscaling controller, real collectors that
//! refuse, the three controllers as processes. Only the kubelet is a stand-in; gateways answer on loopback addresses.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test ends where something unexpected happens, and reports figures"
)]

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use odigos_api::collectors_group::{CollectorsGroup, GatewayLoad};
use odigos_api::{API_VERSION, Signal, labels, names};
use odigos_testkit::api_server::ApiServer;
use odigos_testkit::collector::{Collector, Surroundings};
use odigos_testkit::control_plane::{self, Controller, Kubelet, Launch, NAMESPACE, apply};
use odigos_testkit::otlp::{Sender, Sink};
use odigos_testkit::process::{eventually, free_port};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Controllers of Kubernetes that run beside the usual ones.
const AUTOSCALING: &[&str] = &["horizontal-pod-autoscaler-controller"];

struct Plane {
    client: Client,
    launch: Launch,
    scheduler: Controller,
    autoscaler: Controller,
    api: ApiServer,
    _kubelet: Kubelet,
    _addresses: tokio::task::JoinHandle<()>,
}

impl Plane {
    async fn start() -> Self {
        let mut api = ApiServer::start().await.unwrap();
        api.start_controller_manager_with(AUTOSCALING).unwrap();
        let client = api.client().await.unwrap();
        control_plane::create_namespace(&client, NAMESPACE).await.unwrap();
        let kubelet = Kubelet::start(client.clone(), Duration::ZERO).await.unwrap();
        let launch =
            Launch { binaries: control_plane::build().unwrap(), webhook_port: free_port().unwrap(), lease_seconds: 3 };
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
        let scheduler = launch.start(&api, names::SCHEDULER, 0).await.unwrap();
        let autoscaler = launch.start(&api, names::AUTOSCALER, 0).await.unwrap();
        let addresses = give_addresses(client.clone());
        Self { client, launch, scheduler, autoscaler, api, _kubelet: kubelet, _addresses: addresses }
    }

    async fn hpa(&self) -> HorizontalPodAutoscaler {
        let api: Api<HorizontalPodAutoscaler> = Api::namespaced(self.client.clone(), NAMESPACE);
        api.get(names::GATEWAY).await.unwrap()
    }

    /// Resources by which it scales.
    async fn metrics(&self) -> Vec<String> {
        let metrics = self.hpa().await.spec.metrics.unwrap_or_default();
        metrics.into_iter().filter_map(|one| Some(one.resource?.name)).collect()
    }

    async fn least(&self) -> Option<i32> {
        let api: Api<HorizontalPodAutoscaler> = Api::namespaced(self.client.clone(), NAMESPACE);
        api.get_opt(names::GATEWAY).await.unwrap()?.spec.min_replicas
    }

    async fn note(&self) -> Option<Value> {
        serde_json::from_str(self.hpa().await.annotations().get(labels::SCALING_HINT)?).ok()
    }

    async fn replicas(&self) -> Option<i64> {
        let found = control_plane::get_object(&self.client, "apps/v1", "Deployment", NAMESPACE, names::GATEWAY).await;
        found.ok()?.data.pointer("/spec/replicas")?.as_i64()
    }

    async fn group(&self) -> CollectorsGroup {
        let api: Api<CollectorsGroup> = Api::namespaced(self.client.clone(), NAMESPACE);
        api.get(names::GATEWAY).await.unwrap()
    }

    /// `Status/Reason` of a condition, and its message.
    async fn says(&self, kind: &str) -> (String, String) {
        let conditions = self.group().await.status.unwrap_or_default().conditions;
        let found = conditions.into_iter().find(|one| one.type_ == kind);
        found.map(|one| (format!("{}/{}", one.status, one.reason), one.message)).unwrap_or_default()
    }

    /// Addresses of the gateway pods that are not going; empty for one that has none yet.
    async fn addresses(&self) -> Vec<String> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let all = pods.list(&gateways()).await.unwrap().items.into_iter();
        let staying = all.filter(|pod| pod.metadata.deletion_timestamp.is_none());
        staying.map(|pod| pod.status.and_then(|status| status.pod_ip).unwrap_or_default()).collect()
    }

    async fn load(&self) -> GatewayLoad {
        self.group().await.status.and_then(|status| status.load).unwrap_or_default()
    }

    /// Waits for a condition; returns its message.
    async fn comes_to_say(&self, kind: &str, expected: &str, patience: u64) -> String {
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
fn address(number: usize) -> String {
    format!("127.88.7.{}", number + 1)
}

fn gateways() -> ListParams {
    ListParams::default().labels("odigos.io/collector-role=CLUSTER_GATEWAY")
}

/// Gives every gateway pod an address of its own, in the order in which they come.
fn give_addresses(client: Client) -> tokio::task::JoinHandle<()> {
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
struct Gateways {
    collectors: Vec<Collector>,
    sending: Arc<AtomicBool>,
    sender: tokio::task::JoinHandle<()>,
}

impl Gateways {
    async fn start(plane: &Plane, config: &str, directory: &std::path::Path) -> Self {
        let two = eventually("two gateways run", Duration::from_secs(60), || async {
            let addresses = plane.addresses().await;
            addresses.len() == 2 && addresses.iter().all(|address| !address.is_empty())
        });
        two.await.unwrap();
        let mut collectors = Vec::new();
        for address in plane.addresses().await {
            let around = Surroundings {
                metrics: names::GATEWAY_METRICS_PORT,
                metrics_host: address.clone(),
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

    async fn stop(self) {
        self.sending.store(false, Ordering::Relaxed);
        self.sender.await.unwrap();
        self.collectors.into_iter().for_each(Collector::kill);
    }
}

/// The configuration that the controllers rendered, with `change`.
async fn rendered(client: &Client, change: impl Fn(&mut Value)) -> String {
    let api: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let data = api.get(names::GATEWAY).await.unwrap().data.unwrap();
    let mut config: Value = serde_yaml::from_str(&data[names::GATEWAY_CONFIG_KEY]).unwrap();
    change(&mut config);
    odigos_pipeline::yaml::to_string(&config)
}

fn destination(name: &str, port: u16) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": "Destination", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "type": "jaeger", "destinationName": name, "signals": ["TRACES"],
            "data": {"JAEGER_URL": format!("127.0.0.1:{port}")},
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_add_gateways_and_a_backend_that_is_down_does_not() {
    let mut plane = Plane::start().await;
    // Nothing listens there yet.
    let backend = free_port().unwrap();
    apply(&plane.client, &destination("shop", backend)).await.unwrap();
    let two = eventually("two gateways are wanted", Duration::from_secs(90), || async {
        plane.replicas().await == Some(2) && plane.least().await == Some(2)
    });
    two.await.unwrap_or_else(|error| {
        panic!("{error}: {}{}", plane.scheduler.process.tail(), plane.autoscaler.process.tail())
    });
    let directory = tempfile::tempdir().unwrap();

    // A backend that is down: its queue fills, items are refused, and nobody adds gateways for it.
    let config = rendered(&plane.client, |config| {
        let exporters = config["exporters"].as_object_mut().unwrap();
        let (_, exporter) = exporters.iter_mut().find(|(id, _)| id.ends_with("shop")).unwrap();
        exporter["sending_queue"]["queue_size"] = json!(60_000);
        // The sink of the tests takes nothing compressed.
        exporter["compression"] = json!("none");
    })
    .await;
    let begun = Instant::now();
    let gateways = Gateways::start(&plane, &config, &directory.path().join("down")).await;
    let message = plane.comes_to_say("DestinationBackpressure", "True/DestinationsFail", 90).await;
    assert!(message.contains("send to shop:"), "{message}");
    plane.comes_to_say("ItemsRefused", "True/DestinationBackpressure", 30).await;
    println!("a backend that is down is told after {:?}", begun.elapsed());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((plane.least().await, plane.note().await, plane.replicas().await), (Some(2), None, Some(2)));
    assert_eq!(plane.metrics().await, ["cpu"], "what waits in the queue is memory");
    let load = plane.load().await;
    assert_eq!(load.destinations[0].name, "shop");
    assert!(load.destinations[0].queue_percent > 70 && load.destinations[0].sent_per_second == 0, "{load:?}");
    // It comes back, and all is as before. Between attempts to connect, gRPC pauses longer and longer, up to two minutes.
    let sink = Sink::listen_counting(backend).await.unwrap();
    plane.comes_to_say("DestinationBackpressure", "False/DestinationsKeepUp", 150).await;
    let both =
        eventually("memory counts again", Duration::from_secs(10), || async { plane.metrics().await.len() == 2 });
    both.await.unwrap();
    assert_eq!((plane.least().await, plane.note().await), (Some(2), None));
    drop(sink);
    gateways.stop().await;

    // Gateways without the memory for what they are sent: more are asked for, and Kubernetes brings them.
    let config = rendered(&plane.client, |config| {
        config["processors"]["memory_limiter"]["limit_mib"] = json!(2);
        config["processors"]["memory_limiter"]["spike_limit_mib"] = json!(1);
    })
    .await;
    let begun = Instant::now();
    let gateways = Gateways::start(&plane, &config, &directory.path().join("small")).await;
    let raised = eventually("at least four gateways are wanted", Duration::from_secs(90), || async {
        plane.least().await == Some(4)
    });
    raised.await.unwrap_or_else(|error| panic!("{error}: {}", plane.autoscaler.process.tail()));
    println!("the floor is raised after {:?}", begun.elapsed());
    let note = plane.note().await.expect("the floor is noted");
    assert_eq!(note["minReplicas"], 4, "{note}");
    let follows =
        eventually("the cluster follows", Duration::from_secs(60), || async { plane.replicas().await == Some(4) });
    follows.await.unwrap();
    let message = plane.comes_to_say("ItemsRefused", "True/GatewaysAdded", 30).await;
    assert!(message.contains("at least 4 gateways run until 2"), "{message}");
    println!("Kubernetes wants four after {:?}", begun.elapsed());

    // Whatever else is written, the floor stays, and nobody fights for it.
    let generation = |hpa: &HorizontalPodAutoscaler| hpa.metadata.generation;
    let before = generation(&plane.hpa().await);
    apply(&plane.client, &destination("other", backend)).await.unwrap();
    let both = eventually("the new destination is rendered", Duration::from_secs(30), || async {
        rendered(&plane.client, |_| {}).await.contains("other")
    });
    both.await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(plane.least().await, Some(4));
    let hpa = plane.hpa().await;
    assert_eq!(generation(&hpa), before, "nothing else was written meanwhile");

    // Another leader finds the floor.
    plane.autoscaler.process.kill();
    plane.autoscaler = plane.launch.start(&plane.api, names::AUTOSCALER, 1).await.unwrap();
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(plane.least().await, Some(4));
    assert_eq!(generation(&plane.hpa().await), generation(&hpa), "nothing was taken back meanwhile");
    gateways.stop().await;

    // The lease ends (here: it has ended when the next leader comes), and the configuration decides again.
    plane.autoscaler.process.kill();
    let api: Api<HorizontalPodAutoscaler> = Api::namespaced(plane.client.clone(), NAMESPACE);
    let past = json!({"minReplicas": 4, "until": "2026-01-01T00:00:00Z"}).to_string();
    let live = plane.hpa().await;
    let object = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": names::GATEWAY, "ownerReferences": live.metadata.owner_references,
            "annotations": {labels::SCALING_HINT: past},
        },
        "spec": live.spec,
    });
    api.patch(names::GATEWAY, &PatchParams::apply(names::AUTOSCALER).force(), &Patch::Apply(&object)).await.unwrap();
    plane.autoscaler = plane.launch.start(&plane.api, names::AUTOSCALER, 2).await.unwrap();
    let restored = eventually("the configuration decides again", Duration::from_secs(60), || async {
        plane.least().await == Some(2)
    });
    restored.await.unwrap_or_else(|error| panic!("{error}: {}", plane.autoscaler.process.tail()));
    assert_eq!(plane.note().await, None);

    // There is no metrics server here, and that is told.
    let message = plane.comes_to_say("HPAMetricsUnavailable", "True/FailedGetResourceMetric", 150).await;
    assert!(message.contains("Install metrics-server"), "{message}");
    // Nobody answers at the addresses any more.
    let metrics = plane.autoscaler.metrics().await;
    assert!(!metrics.contains("odigos_gateway_pods{state=\"silent\"} 0"), "{metrics}");
    assert!(metrics.contains("odigos_gateway_autoscaler_blind 1") && metrics.contains("odigos_gateway_raised_floor 0"));
}
