//! Agents in pods through a real API server: the instrumentor decides from what a node's agent would have found, its
//! webhook changes new pods, and a missing instrumentor blocks none.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test ends where something unexpected happens, and reports figures"
)]

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, Config};
use odigos_api::collectors_group::{CollectorsGroup, CollectorsGroupSpec};
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::labels::AGENTS_META_HASH;
use odigos_api::source::Source;
use odigos_api::{API_VERSION, CollectorRole, Signal, names};
use odigos_testkit::api_server::ApiServer;
use odigos_testkit::control_plane::{self, Kubelet, NAMESPACE, apply};
use odigos_testkit::http;
use odigos_testkit::process::{Process, eventually, free_port};
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};

/// Everything settles within this time on a busy machine of two cores.
const LIMIT: Duration = Duration::from_secs(60);
const WORKLOADS: usize = 1000;

struct Plane {
    api: ApiServer,
    client: Client,
    webhook_port: u16,
    _kubelet: Kubelet,
}

impl Plane {
    async fn start() -> Self {
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
        // What scheduler and autoscaler would have written.
        let configuration = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names::EFFECTIVE_CONFIGURATION, "namespace": NAMESPACE},
            "data": {"config.yaml": "agentsImage: registry/agents:1\nignoredContainers: [istio-proxy]\nagentEnvVarsInjectionMethod: loader-fallback-to-pod-manifest\n"},
        });
        apply(&client, &configuration).await.unwrap();
        let spec = CollectorsGroupSpec {
            role: CollectorRole::NodeCollector,
            collector_own_metrics_port: i32::from(names::NODE_METRICS_PORT),
            ..CollectorsGroupSpec::default()
        };
        let groups: Api<CollectorsGroup> = Api::namespaced(client.clone(), NAMESPACE);
        groups.create(&Default::default(), &CollectorsGroup::new(names::NODE_COLLECTOR, spec)).await.unwrap();
        let status = json!({"status": {"ready": true, "receiverSignals": [Signal::Traces, Signal::Metrics]}});
        groups.patch_status(names::NODE_COLLECTOR, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
        Self { api, client, webhook_port, _kubelet: kubelet }
    }

    async fn start_instrumentor(&self) -> Process {
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

    async fn namespace(&self, name: &str, labels: Value) {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        apply(&self.client, &object).await.unwrap();
        let source = json!({
            "apiVersion": API_VERSION, "kind": "Source", "metadata": {"name": "all", "namespace": name},
            "spec": {"workload": {"name": name, "namespace": name, "kind": "Namespace"}},
        });
        if name != "other" {
            apply(&self.client, &source).await.unwrap();
        }
    }

    fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Waits until the rollout is through; returns the pod, and how often the template has changed.
    async fn rolled_out(&self, namespace: &str, name: &str) -> (Value, i64) {
        let configs: Api<InstrumentationConfig> = Api::namespaced(self.client.clone(), namespace);
        let config = format!("deployment-{name}");
        let finished = async || {
            let found = configs.get(&config).await.unwrap();
            let says = |kind: &str, reason: &str| {
                let conditions = found.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
                conditions.iter().any(|one| one.type_ == kind && one.reason == reason)
            };
            says("WorkloadRollout", "RolloutFinished") && says("PodsManifestInjection", "PodsAppliedSuccessfully")
        };
        let settled = eventually("the rollout is finished", LIMIT, finished).await;
        let found = configs.get(&config).await.unwrap();
        settled.unwrap_or_else(|error| panic!("{error:#} {:?}", found.status));
        assert_eq!(found.status.unwrap().workload_rollout_hash, found.spec.agents_meta_hash);
        (self.newest(namespace, name, &[]).await, self.generation(namespace, name).await)
    }

    async fn generation(&self, namespace: &str, name: &str) -> i64 {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        api.get(name).await.unwrap().metadata.generation.unwrap()
    }

    /// Deletes the pods of a Deployment and returns the one that takes their place.
    async fn replaced(&self, namespace: &str, name: &str) -> Value {
        let pods = self.pods(namespace);
        let selected = ListParams::default().labels(&format!("app={name}"));
        let before: Vec<String> =
            pods.list(&selected).await.unwrap().items.into_iter().filter_map(|pod| pod.metadata.name).collect();
        for pod in &before {
            pods.delete(pod, &DeleteParams::default().grace_period(0)).await.unwrap();
        }
        self.newest(namespace, name, &before).await
    }

    async fn newest(&self, namespace: &str, name: &str, before: &[String]) -> Value {
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

    /// What the agent of the node writes.
    async fn detect(&self, namespace: &str, config: &str, details: Value) -> InstrumentationConfig {
        let configs: Api<InstrumentationConfig> = Api::namespaced(self.client.clone(), namespace);
        let exists = async || configs.get_opt(config).await.is_ok_and(|found| found.is_some());
        eventually("the config is there", LIMIT, exists).await.unwrap();
        let status = json!({
            "apiVersion": API_VERSION, "kind": "InstrumentationConfig", "metadata": {"name": config, "namespace": namespace},
            "status": {"runtimeDetailsByContainer": details},
        });
        let parameters = PatchParams::apply(names::AGENT).force();
        configs.patch_status(config, &parameters, &Patch::Apply(&status)).await.unwrap();
        let decided = async || {
            configs.get(config).await.is_ok_and(|found| {
                found.spec.agent_injection_enabled
                    && found.status.is_some_and(|status| {
                        status.conditions.iter().any(|one| one.type_ == "AgentEnabled" && one.status == "True")
                    })
            })
        };
        let settled = eventually("agents are decided", LIMIT, decided).await;
        let found = configs.get(config).await.unwrap();
        settled.unwrap_or_else(|error| panic!("{error:#} {:?} {:?}", found.spec, found.status));
        found
    }
}

fn deployment(namespace: &str, name: &str, pod: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
        },
    })
}

fn value_of<'a>(pod: &'a Value, name: &str) -> &'a str {
    let list = pod["spec"]["containers"][0]["env"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = list.iter().find(|one| one["name"] == name);
    found.and_then(|one| one["value"].as_str()).unwrap_or_else(|| panic!("{name} is missing in {list:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_pods_get_their_agents_and_none_is_ever_blocked() {
    let plane = Plane::start().await;
    let client = &plane.client;
    let mut instrumentor = plane.start_instrumentor().await;
    plane.namespace("shop", json!({})).await;
    plane.namespace("strict", json!({"pod-security.kubernetes.io/enforce": "restricted"})).await;
    plane.namespace("other", json!({})).await;
    let cart = json!({"containers": [
        {"name": "app", "image": "none", "env": [
            {"name": "JAVA_TOOL_OPTIONS", "value": "-Dx=1"},
            {"name": "OTEL_RESOURCE_ATTRIBUTES", "value": "team=x"},
        ]},
        {"name": "istio-proxy", "image": "none"},
    ]});
    let security = json!({
        "allowPrivilegeEscalation": false, "runAsNonRoot": true, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
    });
    let api = json!({"containers": [{"name": "app", "image": "none", "securityContext": security}]});
    apply(client, &deployment("shop", "cart", cart.clone())).await.unwrap();
    apply(client, &deployment("strict", "api", api.clone())).await.unwrap();
    apply(client, &deployment("other", "plain", cart)).await.unwrap();

    let java = json!([
        {"containerName": "app", "language": "java", "runtimeVersion": "17.0.12+7", "secureExecutionMode": false},
        {"containerName": "istio-proxy", "language": "cplusplus"},
    ]);
    let config = plane.detect("shop", "deployment-cart", java).await;
    assert_eq!(config.spec.containers[1].agent_enabled_reason, "IgnoredContainer");
    // 31: exactly one restart.
    let (pod, generation) = plane.rolled_out("shop", "cart").await;
    assert_eq!(generation, 2);
    assert_eq!(pod["metadata"]["labels"][AGENTS_META_HASH], json!(config.spec.agents_meta_hash));
    assert_eq!(value_of(&pod, "JAVA_TOOL_OPTIONS"), "-Dx=1 -javaagent:/var/odigos/java/javaagent.jar");
    assert!(value_of(&pod, "OTEL_RESOURCE_ATTRIBUTES").starts_with("team=x,k8s.pod.name=$(ODIGOS_POD_NAME),"));
    assert_eq!(value_of(&pod, "OTEL_SERVICE_NAME"), "cart");
    assert_eq!(value_of(&pod, "OTEL_LOGS_EXPORTER"), "none", "nobody takes logs");
    assert_eq!(value_of(&pod, "OTEL_METRICS_EXPORTER"), "otlp");
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    assert!(volumes.iter().any(|one| one["name"] == "odigos-agent" && one["hostPath"]["path"] == "/var/odigos"));
    assert!(pod["spec"]["affinity"].to_string().contains("odigos.io/odiglet-oss-installed"));
    assert!(!pod["spec"]["containers"][1].to_string().contains("odigos"), "the sidecar stays as it is");

    // 44: the API server's own Pod Security admission lets the pod with the agent pass.
    let node = json!([{"containerName": "app", "language": "javascript", "runtimeVersion": "20.17.0", "secureExecutionMode": false}]);
    plane.detect("strict", "deployment-api", node).await;
    let (pod, _) = plane.rolled_out("strict", "api").await;
    assert_eq!(value_of(&pod, "NODE_OPTIONS"), "--require /var/odigos/nodejs-community/autoinstrumentation.js");
    assert_eq!(pod["spec"]["initContainers"][0]["image"], "registry/agents:1");
    assert!(!pod.to_string().contains("hostPath"));

    // 59: nothing of ours in a pod that no Source covers.
    let pod = plane.replaced("other", "plain").await;
    let spec = pod["spec"].to_string() + &pod["metadata"]["labels"].to_string();
    assert!(!spec.contains("odigos") && !spec.contains("javaagent"), "{spec}");

    measure(&plane).await;

    // 60: the Source goes; one more restart, and nothing of ours is left.
    let sources: Api<Source> = Api::namespaced(client.clone(), "strict");
    sources.delete("all", &DeleteParams::default()).await.unwrap();
    let pods = plane.pods("strict");
    let clean = async || {
        let list = pods.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
        let is_clean =
            |pod: &Pod| !serde_json::to_string(&(&pod.spec, &pod.metadata.labels)).unwrap().contains("odigos");
        list.len() == 1 && list.iter().all(is_clean)
    };
    eventually("the pods are as before", LIMIT, clean).await.unwrap();
    assert_eq!(sources.get_opt("all").await.unwrap(), None, "the finalizer is released");
    let configs: Api<InstrumentationConfig> = Api::namespaced(client.clone(), "strict");
    assert!(configs.list(&ListParams::default()).await.unwrap().items.is_empty());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(plane.generation("strict", "api").await, 3, "no further restart");
    assert_eq!(plane.generation("other", "plain").await, 1);
    assert_eq!(plane.generation("shop", "cart").await, 2, "others are left alone");

    // 57: the instrumentor is down; pods come all the same, without agents, and are mended afterwards.
    instrumentor.kill();
    let pod = plane.replaced("shop", "cart").await;
    assert_eq!(pod["metadata"]["labels"].get(AGENTS_META_HASH), None);
    assert_eq!(value_of(&pod, "JAVA_TOOL_OPTIONS"), "-Dx=1");
    assert_eq!(pod["spec"]["containers"][0]["env"].as_array().unwrap().len(), 2);
    let _again = plane.start_instrumentor().await;
    let mended = async || {
        let pods = plane.pods("shop").list(&ListParams::default().labels("app=cart")).await.unwrap().items;
        let has_agent = |pod: &Pod| pod.metadata.labels.as_ref().is_some_and(|all| all.contains_key(AGENTS_META_HASH));
        pods.len() == 1 && pods.iter().all(has_agent)
    };
    eventually("the missed pod is noticed and mended", LIMIT, mended).await.unwrap();
    for (agent, did) in plane.api.audited() {
        assert!(did.forbidden.is_empty(), "{agent} may not {:?}", did.forbidden);
    }
}

/// How long a review takes from the outside, TLS included, while there are many workloads.
async fn measure(plane: &Plane) {
    control_plane::create_namespace(&plane.client, "many").await.unwrap();
    let configs: Api<InstrumentationConfig> = Api::namespaced(plane.client.clone(), "many");
    let template: InstrumentationConfig =
        Api::namespaced(plane.client.clone(), "shop").get("deployment-cart").await.unwrap();
    for n in 0..WORKLOADS {
        let mut config = InstrumentationConfig::new(&format!("deployment-app-{n}"), template.spec.clone());
        config.metadata.namespace = Some("many".into());
        configs.create(&Default::default(), &config).await.unwrap();
    }
    let mut config = Config::new(format!("https://127.0.0.1:{}", plane.webhook_port).parse().unwrap());
    config.accept_invalid_certs = true;
    let webhook = Client::try_from(config).unwrap();
    let review = |n: usize| {
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("app-{n}-5d4f"), "uid": "u", "controller": true});
        json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": format!("r-{n}"), "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "resource": {"group": "", "version": "v1", "resource": "pods"}, "name": "", "namespace": "many",
                "operation": "CREATE", "userInfo": {}, "dryRun": false,
                "object": {
                    "apiVersion": "v1", "kind": "Pod",
                    "metadata": {"generateName": "app-", "labels": {"pod-template-hash": "5d4f"}, "ownerReferences": [owner]},
                    "spec": {"containers": [{"name": "app", "image": "none"}]},
                },
            },
        })
    };
    let ask = async |n: usize| -> Value {
        let request = tonic::codegen::http::Request::post("/label-pods").header("content-type", "application/json");
        webhook.request(request.body(serde_json::to_vec(&review(n)).unwrap()).unwrap()).await.unwrap()
    };
    let knows_last = async || ask(WORKLOADS - 1).await["response"].get("patch").is_some();
    eventually("the webhook knows every workload", LIMIT, knows_last).await.unwrap();
    let mut times = Vec::new();
    for round in 0..2 * WORKLOADS {
        let begun = Instant::now();
        let answer = ask(round % WORKLOADS).await;
        times.push(begun.elapsed());
        assert!(answer["response"].get("patch").is_some() && answer["response"]["allowed"] == true, "{answer}");
    }
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 1000).min(times.len() - 1)];
    println!(
        "pod reviews over TLS at {WORKLOADS} workloads: median {:?}, p99 {:?}, p99.9 {:?}",
        at(500),
        at(990),
        at(999)
    );
    assert!(at(990) < Duration::from_millis(100), "far beyond any goal: {:?}", at(990));
}
