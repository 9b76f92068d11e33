//! The three controllers against a real API server: convergence, admission, deletion, leaders, crashes, many Sources.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test ends where something unexpected happens, and reports figures"
)]

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt};
use odigos_api::labels::{ROLLOUT_HELD, STREAM_CLASS};
use odigos_api::{API_VERSION, names};
use odigos_kit::apply::{Applier, covered};
use odigos_kit::metrics::Metrics;
use odigos_plan::objects::{Desired, Rank, title};
use odigos_plan::quarantine::hold;
use odigos_plan::world::{World, read};
use odigos_testkit::api_server::ApiServer;
use odigos_testkit::binaries;
use odigos_testkit::collector::{Collector, Surroundings};
use odigos_testkit::control_plane::{
    self, BINARIES, Controller, Kubelet, Launch, NAMESPACE, apply, apply_files, deployment, get_object, list,
};
use odigos_testkit::otlp::{Sender, Sink};
use odigos_testkit::ports::free_port;
use odigos_testkit::process::eventually;
use odigos_tools::root;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// One control plane at a time: the machine has two cores.
static TURN: Mutex<()> = Mutex::const_new(());

struct Plane {
    controllers: Vec<Controller>,
    launch: Launch,
    client: Client,
    _kubelet: Kubelet,
    api: ApiServer,
}

impl Plane {
    async fn start() -> Self {
        Self::start_with(Duration::ZERO).await
    }

    /// A control plane on whose node every pod takes `delay` to become ready.
    async fn start_with(delay: Duration) -> Self {
        let mut api = ApiServer::start().await.unwrap();
        api.start_controller_manager().unwrap();
        let client = api.client().await.unwrap();
        control_plane::create_namespace(&client, NAMESPACE).await.unwrap();
        let kubelet = Kubelet::start(client.clone(), delay).await.unwrap();
        let launch =
            Launch { binaries: binaries::built().unwrap(), webhook_port: free_port().unwrap(), lease_seconds: 5 };
        control_plane::install(&client, launch.webhook_port).await.unwrap();
        let mut plane = Self { controllers: Vec::new(), launch, client, _kubelet: kubelet, api };
        for name in BINARIES {
            plane.start_controller(name, 0).await;
        }
        plane
    }

    async fn start_controller(&mut self, name: &'static str, replica: usize) {
        let controller = self.launch.start(&self.api, name, replica).await.unwrap();
        self.controllers.push(controller);
    }

    /// Waits until each controller has exactly one leader. A replica that lost its lease ends; as in a cluster, something
    /// starts it again.
    async fn has_one_leader_each(&mut self) {
        let until = Instant::now() + Duration::from_secs(120);
        for round in 100.. {
            let ended: Vec<&'static str> =
                self.controllers.iter_mut().filter_map(|one| (!one.process.is_running()).then_some(one.name)).collect();
            self.controllers.retain_mut(|one| one.process.is_running());
            for name in &ended {
                self.start_controller(name, round).await;
            }
            let mut leaders: Vec<&str> = Vec::new();
            for controller in &self.controllers {
                if controller.metrics().await.contains("\nodigos_leading 1\n") {
                    leaders.push(controller.name);
                }
            }
            leaders.sort_unstable();
            let mut expected = BINARIES.to_vec();
            expected.sort_unstable();
            if leaders == expected {
                return;
            }
            assert!(Instant::now() < until, "leaders: {leaders:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn kill(&mut self, name: &str) {
        let position = self.controllers.iter().position(|one| one.name == name).unwrap();
        self.controllers.remove(position).process.kill();
    }

    /// Waits until every object that `render` shows for these manifests stands in the cluster as rendered.
    async fn converges_to(&self, world: &World) {
        let objects: Vec<Value> = world.written_objects();
        let missing = || async {
            let mut missing = Vec::new();
            for desired in &objects {
                let text = |pointer: &str| desired.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
                let found = get_object(
                    &self.client,
                    text("/apiVersion"),
                    text("/kind"),
                    text("/metadata/namespace"),
                    text("/metadata/name"),
                )
                .await;
                let same = found.is_ok_and(|found| covered(desired, &serde_json::to_value(found).unwrap()));
                if !same {
                    missing.push(title(desired));
                }
            }
            missing
        };
        let settled =
            eventually("the cluster is as rendered", Duration::from_secs(90), || async { missing().await.is_empty() })
                .await;
        let tails = self.controllers.iter().map(|one| one.process.tail()).collect::<Vec<_>>().join("\n");
        assert!(settled.is_ok(), "still differ: {:?}\n{tails}", missing().await);
        let configs = list(&self.client, API_VERSION, "InstrumentationConfig").await.unwrap();
        assert_eq!(configs.len(), world.configs.len(), "no config that render does not show");
    }
}

/// How long controllers are killed while things change.
fn chaos_seconds() -> u64 {
    std::env::var("ODIGOS_CHAOS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(120)
}

fn rendered(texts: &[String]) -> World {
    let mut world = World::new(NAMESPACE);
    for text in texts {
        for object in read(text).unwrap() {
            world.insert(object).unwrap();
        }
    }
    // The stand-in for the kubelet makes every pod ready.
    world.workloads.values_mut().for_each(|workload| workload.available_replicas = 1);
    world.settle(jiff::Timestamp::UNIX_EPOCH);
    world
}

fn samples() -> Vec<String> {
    let mut files: Vec<_> = std::fs::read_dir(root().join("deploy/samples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

fn source(namespace: &str, name: &str, workload: &str, streams: &[(&str, &str)]) -> Value {
    let labels: serde_json::Map<String, Value> =
        streams.iter().map(|(stream, value)| (odigos_api::labels::stream_label(stream), json!(value))).collect();
    json!({
        "apiVersion": API_VERSION, "kind": "Source", "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"workload": {"name": workload, "namespace": namespace, "kind": "Deployment"}},
    })
}

fn api(client: &Client, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(odigos_api::GROUP, odigos_api::VERSION, kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// A Secret with the key of [`honeycomb`], and a label that no component reads.
fn honeycomb_secret(key: &str, label: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "honeycomb", "namespace": NAMESPACE, "labels": {"team": label}},
        "stringData": {"HONEYCOMB_API_KEY": key},
    })
}

/// A Destination that reads a Secret.
fn honeycomb() -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": "Destination", "metadata": {"name": "honeycomb", "namespace": NAMESPACE},
        "spec": {
            "type": "honeycomb", "destinationName": "honeycomb", "signals": ["TRACES"],
            "data": {"HONEYCOMB_ENDPOINT": "api.honeycomb.io"}, "secretRef": {"name": "honeycomb"},
        },
    })
}

/// A rollout that is held replaces no further pod, whatever kind of workload it is, and goes on as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_rollouts_are_stored_and_go_on() {
    let _turn = TURN.lock().await;
    let api = ApiServer::start().await.unwrap();
    let client = api.client().await.unwrap();
    control_plane::create_namespace(&client, NAMESPACE).await.unwrap();
    let applier = Applier::new(client.clone(), names::AUTOSCALER, Metrics::default());
    let labels = json!({"app": "w"});
    let template =
        json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "gateway", "image": "none"}]}});
    let nodes = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": 0}});
    for (kind, name, own) in [
        ("Deployment", "deployments", json!({})),
        ("StatefulSet", "statefulsets", json!({"serviceName": "w", "updateStrategy": {"type": "RollingUpdate"}})),
        ("DaemonSet", "daemonsets", json!({"updateStrategy": nodes})),
    ] {
        let mut wanted = json!({
            "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        });
        wanted["spec"].as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        let live = async || get_object(&client, "apps/v1", kind, NAMESPACE, name).await.ok();
        let mut states = Vec::new();
        for is_held in [false, true, false] {
            let before = live().await.map(|live| serde_json::to_value(live).unwrap());
            let mut desired = [Desired { rank: Rank::Workload, object: wanted.clone() }];
            hold::apply(&mut desired, before.as_ref(), is_held);
            assert!(
                before.is_none_or(|before| !covered(&desired[0].object, &before)),
                "{kind}: it would not be applied"
            );
            applier.apply(&desired[0].object).await.unwrap();
            let after = live().await.unwrap();
            assert_eq!(after.annotations().contains_key(ROLLOUT_HELD), is_held, "{kind}");
            states.push(after.data["spec"].clone());
        }
        // Every pod is replaced where none is named.
        if states[2].pointer("/updateStrategy/rollingUpdate/partition") == Some(&json!(0)) {
            states[2]["updateStrategy"].as_object_mut().unwrap().remove("rollingUpdate");
        }
        assert_eq!(states[0], states[2], "{kind}");
        let held = match kind {
            "Deployment" => states[1]["paused"] == true,
            "StatefulSet" => states[1]["updateStrategy"]["rollingUpdate"]["partition"] == i32::MAX,
            _ => states[1]["updateStrategy"]["type"] == "OnDelete",
        };
        assert!(held, "{kind}: {:#}", states[1]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sample_converges_to_what_render_shows_and_lives() {
    let _turn = TURN.lock().await;
    let plane = Plane::start().await;
    apply_files(&plane.client, "deploy/samples", |_| {}).await.unwrap();
    plane.converges_to(&rendered(&samples())).await;
    admission(&plane.client).await;
    what_has_no_effect_is_in_conditions(&plane.client).await;
    gateway_takes_no_name_of_others(&plane.client).await;
    foreign_fields_survive(&plane.client).await;
    deletions_clean_up(&plane.client).await;
    for controller in &plane.controllers {
        let metrics = controller.metrics().await;
        assert!(
            metrics.contains("\nodigos_leading 1\n") && metrics.contains("odigos_api_writes"),
            "{}",
            controller.name
        );
        assert!(!controller.process.output().contains("not-a-real-password"), "no secret in a log");
    }
    // They have the chart's permissions and nothing else.
    for (agent, did) in plane.api.audited() {
        assert!(did.forbidden.is_empty(), "{agent} may not {:?}", did.forbidden);
    }
}

/// Admission refuses what cannot work, fills in what is missing, and warns without refusing.
async fn admission(client: &Client) {
    let refused =
        |object: Value| async move { apply(client, &object).await.map(|_| ()).map_err(|error| format!("{error:#}")) };
    let cases = [
        (source("shop", "twice", "cart", &[]), ""),
        (
            json!({"apiVersion": API_VERSION, "kind": "Source", "metadata": {"name": "job", "namespace": "shop"}, "spec": {"workload": {"name": "x", "namespace": "shop", "kind": "Job"}}}),
            "kind must be one of",
        ),
        (
            json!({"apiVersion": API_VERSION, "kind": "Source", "metadata": {"name": "far", "namespace": "shop"}, "spec": {"workload": {"name": "x", "namespace": "other", "kind": "Deployment"}}}),
            "must be the namespace of the Source",
        ),
        (
            json!({"apiVersion": API_VERSION, "kind": "Source", "metadata": {"name": "bad", "namespace": "shop"}, "spec": {"workload": {"name": "^pay-[", "namespace": "shop", "kind": "Deployment"}, "matchWorkloadNameAsRegex": true}}),
            "not a valid pattern",
        ),
        (
            json!({"apiVersion": API_VERSION, "kind": "Source", "metadata": {"name": "ns", "namespace": "shop"}, "spec": {"workload": {"name": "shop", "namespace": "shop", "kind": "Namespace"}, "otelServiceName": "x"}}),
            "otelServiceName",
        ),
    ];
    for (object, expected) in cases {
        let outcome = refused(object.clone()).await;
        if expected.is_empty() {
            assert_eq!(outcome, Ok(()), "{object}");
        } else {
            let error = outcome.expect_err(&object.to_string());
            assert!(error.contains(expected), "{error}");
        }
    }
    let again = refused(source("shop", "thrice", "cart", &[])).await.expect_err("a second Source for one workload");
    assert!(again.contains("twice"), "{again}");
    let stored = get_object(client, API_VERSION, "Source", "shop", "twice").await.unwrap();
    assert!(stored.finalizers().is_empty(), "nothing holds a Source");
    assert_eq!(stored.labels()["odigos.io/workload-name"], "cart");
    assert!(!stored.labels().contains_key("odigos.io/data-stream-default"), "it inherits the streams of its namespace");
    let change = json!({"spec": {"workload": {"name": "other"}}});
    let moved = api(client, "Source", "shop").patch("twice", &PatchParams::default(), &Patch::Merge(&change)).await;
    assert!(moved.unwrap_err().to_string().contains("cannot be changed"));
}

/// Objects that are accepted and have no effect: their conditions name what it is.
async fn what_has_no_effect_is_in_conditions(client: &Client) {
    let action = json!({
        "apiVersion": API_VERSION, "kind": "Action", "metadata": {"name": "infer", "namespace": NAMESPACE},
        "spec": {"signals": ["TRACES"], "inferDbAttributes": {}},
    });
    let effective = json!({
        "apiVersion": API_VERSION, "kind": "Action", "metadata": {"name": "rename", "namespace": NAMESPACE},
        "spec": {"signals": ["TRACES"], "renameAttribute": {"renames": {"a": "b"}}},
    });
    let broken = json!({
        "apiVersion": API_VERSION, "kind": "Action", "metadata": {"name": "mask", "namespace": NAMESPACE},
        "spec": {"signals": ["TRACES"], "piiMasking": {"customRegexMaskings": [{"regex": "no group"}]}},
    });
    let refused = format!("{:#}", apply(client, &broken).await.expect_err("admission rejects it"));
    assert!(refused.contains("spec.piiMasking.customRegexMaskings[0].regex"), "{refused}");
    let destination = json!({
        "apiVersion": API_VERSION, "kind": "Destination", "metadata": {"name": "odd", "namespace": NAMESPACE},
        "spec": {
            "type": "jaeger", "destinationName": "odd", "signals": ["TRACES"],
            "data": {"JAEGER_URL": "jaeger.tracing:4317", "JAEGER_TLS_ENABLE": "true"},
            "sourceSelector": {"dataStreams": ["shop", "team/shop"]},
        },
    });
    let mut overridden = source("shop", "twice", "cart", &[]);
    overridden["spec"]["containerOverrides"] = json!([{"containerName": "nope", "otelDistroName": "java-comunity"}]);
    overridden["metadata"]["labels"] = json!({"odigos.io/datastream-web": "true"});
    let sampling = json!({
        "apiVersion": API_VERSION, "kind": "Sampling", "metadata": {"name": "nowhere", "namespace": NAMESPACE},
        "spec": {"dataStreams": ["shopp"], "noisyOperations": [{"sourceScopes": {"namespaces": ["nowhere"], "languages": ["ruby"]}}]},
    });
    let empty = json!({
        "apiVersion": API_VERSION, "kind": "Sampling", "metadata": {"name": "empty", "namespace": NAMESPACE}, "spec": {},
    });
    let rule = json!({
        "apiVersion": API_VERSION, "kind": "InstrumentationRule", "metadata": {"name": "nowhere", "namespace": NAMESPACE},
        "spec": {"codeAttributes": {"function": true}, "dataStreams": ["nostream"], "scopes": {"languages": ["jav"]}},
    });
    let processor = json!({
        "apiVersion": API_VERSION, "kind": "Processor", "metadata": {"name": "nowhere", "namespace": NAMESPACE},
        "spec": {
            "type": "attributes", "signals": ["TRACES"], "collectorRoles": ["CLUSTER_GATEWAY"], "dataStreams": ["nostream"],
            "processorConfig": {"actions": [{"key": "a", "action": "delete"}]},
        },
    });
    for object in [&action, &effective, &destination, &overridden, &sampling, &empty, &rule, &processor] {
        apply(client, object).await.unwrap();
    }
    for (kind, namespace, name, parts) in [
        ("Action", NAMESPACE, "infer", ["True/ProcessorCreated", "True/NoParser The collector knows no dialect"]),
        ("Action", NAMESPACE, "rename", ["True/ProcessorCreated", "True/ConfigUpdated transform/action/rename"]),
        (
            "Destination",
            NAMESPACE,
            "odd",
            ["did you mean JAEGER_TLS_ENABLED?", "no workload can be in the data stream \"team/shop\""],
        ),
        ("Source", "shop", "twice", ["Deployment shop/cart has no such container", "did you mean java-community?"]),
        ("Source", "shop", "twice", ["odigos.io/datastream-web", "did you mean odigos.io/data-stream-web"]),
        (
            "Sampling",
            NAMESPACE,
            "nowhere",
            ["no covered workload is in the data stream shopp", "no Source covers a workload in the namespace nowhere"],
        ),
        ("Sampling", NAMESPACE, "nowhere", ["no covered container is known to run ruby", "True/Valid"]),
        ("Sampling", NAMESPACE, "empty", ["it states no rule", "False/AllRulesDisabled"]),
        (
            "InstrumentationRule",
            NAMESPACE,
            "nowhere",
            ["there is no language \"jav\"; did you mean java?", "no covered workload is in the data stream nostream"],
        ),
        ("Processor", NAMESPACE, "nowhere", ["no covered workload is in the data stream nostream", "AddedToCollector"]),
    ] {
        let said = async || {
            let object = get_object(client, API_VERSION, kind, namespace, name).await.unwrap();
            let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array).cloned();
            let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
            let lines = conditions.unwrap_or_default().into_iter();
            lines
                .map(|one| {
                    let key = |name: &str| text(&one, name);
                    format!("{} {}/{} {}", key("type"), key("status"), key("reason"), key("message"))
                })
                .collect::<Vec<_>>()
                .join("\n")
        };
        let is_told = async || {
            let said = said().await;
            parts.iter().all(|part| said.contains(part))
        };
        let told = eventually("its condition names it", Duration::from_secs(60), is_told).await;
        assert!(told.is_ok(), "{kind} {name}: {}", said().await);
    }
    api(client, "Destination", NAMESPACE).delete("odd", &DeleteParams::default()).await.unwrap();
    for (kind, name) in
        [("Sampling", "nowhere"), ("Sampling", "empty"), ("InstrumentationRule", "nowhere"), ("Processor", "nowhere")]
    {
        api(client, kind, NAMESPACE).delete(name, &DeleteParams::default()).await.unwrap();
    }
    apply(client, &source("shop", "twice", "cart", &[])).await.unwrap();
}

/// A Deployment of others keeps its pods, though the configuration gives its name to the gateway.
async fn gateway_takes_no_name_of_others(client: &Client) {
    let mail = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "mail", "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": {"app": "mail"}},
            "template": {"metadata": {"labels": {"app": "mail"}}, "spec": {"containers": [{"name": "mail", "image": "mail:1"}]}},
        },
    });
    apply(client, &mail).await.unwrap();
    let map = get_object(client, "v1", "ConfigMap", NAMESPACE, names::CONFIGURATION).await.unwrap();
    let text = map.data["data"]["config.yaml"].as_str().unwrap().to_owned();
    let configure = async |text: &str| {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names::CONFIGURATION, "namespace": NAMESPACE},
            "data": {"config.yaml": text},
        });
        apply(client, &map).await.unwrap();
    };
    configure(&format!("{text}\ncollectorGateway: {{deploymentName: mail}}\n")).await;
    let is_reported = async || {
        let group = get_object(client, API_VERSION, "CollectorsGroup", NAMESPACE, names::GATEWAY).await.unwrap();
        group.data["status"].to_string().contains("\\\"mail\\\" is not used: another workload of the namespace")
    };
    eventually("the name is refused", Duration::from_secs(60), is_reported).await.unwrap();
    let live = get_object(client, "apps/v1", "Deployment", NAMESPACE, "mail").await.unwrap();
    assert_eq!(live.data["spec"]["template"]["spec"]["containers"][0]["image"], "mail:1");
    assert!(live.managed_fields().iter().all(|one| one.manager.as_deref() != Some(names::AUTOSCALER)));
    get_object(client, "apps/v1", "Deployment", NAMESPACE, names::GATEWAY).await.expect("the default name stays");
    configure(&text).await;
    let is_back = async || {
        let group = get_object(client, API_VERSION, "CollectorsGroup", NAMESPACE, names::GATEWAY).await.unwrap();
        group.data["spec"]["deploymentName"] == names::GATEWAY
    };
    eventually("the default is back", Duration::from_secs(60), is_back).await.unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", "Deployment"));
    let deployments: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
    deployments.delete("mail", &DeleteParams::default()).await.unwrap();
}

/// Labels and annotations of other writers stay when ours change.
async fn foreign_fields_survive(client: &Client) {
    let configs = api(client, "InstrumentationConfig", "shop");
    let foreign = json!({"metadata": {"labels": {"team": "blue"}, "annotations": {"note": "kept"}}});
    configs.patch("deployment-cart", &PatchParams::default(), &Patch::Merge(&foreign)).await.unwrap();
    apply(client, &source("shop", "twice", "cart", &[("web", "true")])).await.unwrap();
    eventually("the config follows its Source", Duration::from_secs(60), || async {
        let config = configs.get("deployment-cart").await.unwrap();
        config.labels().contains_key("odigos.io/data-stream-web")
    })
    .await
    .unwrap();
    let config = configs.get("deployment-cart").await.unwrap();
    assert_eq!((config.labels()["team"].as_str(), config.annotations()["note"].as_str()), ("blue", "kept"));
}

/// Whatever is deleted takes with it what existed for its sake only.
async fn deletions_clean_up(client: &Client) {
    let sources = api(client, "Source", "shop");
    sources.delete("payments", &DeleteParams::default()).await.unwrap();
    eventually("the stream payments has no member", Duration::from_secs(60), || async {
        let stream = get_object(client, API_VERSION, "DataStream", NAMESPACE, "payments").await;
        stream.is_ok_and(|stream| stream.data.pointer("/status/members") == Some(&json!(0)))
    })
    .await
    .unwrap();
    api(client, "Destination", NAMESPACE).delete("audit", &DeleteParams::default()).await.unwrap();
    eventually("the destination is out of the gateway", Duration::from_secs(60), || async {
        let map = get_object(client, "v1", "ConfigMap", NAMESPACE, names::GATEWAY).await.unwrap();
        !map.data.to_string().contains("audit")
    })
    .await
    .unwrap();
    for source in list(client, API_VERSION, "Source").await.unwrap() {
        sources.delete(&source.name_any(), &DeleteParams::default()).await.unwrap();
    }
    eventually("no Source, no config and no node collector is left", Duration::from_secs(90), || async {
        let sources = list(client, API_VERSION, "Source").await.unwrap();
        let configs = list(client, API_VERSION, "InstrumentationConfig").await.unwrap();
        let node = get_object(client, API_VERSION, "CollectorsGroup", NAMESPACE, names::NODE_COLLECTOR).await;
        sources.is_empty() && configs.is_empty() && node.is_err()
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_handovers_and_an_outage_change_nothing_in_the_end() {
    let _turn = TURN.lock().await;
    let mut plane = Plane::start().await;
    for name in BINARIES {
        plane.start_controller(name, 1).await;
    }
    plane.has_one_leader_each().await;
    apply_files(&plane.client, "deploy/samples", |_| {}).await.unwrap();
    control_plane::create_namespace(&plane.client, "crash").await.unwrap();
    let mut texts = samples();
    let mut workloads = std::collections::BTreeSet::new();
    // The seed is fixed: the same kills at the same changes on every run.
    let mut seed = 0x5eed_u64;
    let mut next = |bound: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % bound
    };
    // Two minutes of changes; every second one, some controller is killed without warning.
    let until = Instant::now() + Duration::from_secs(chaos_seconds());
    let (mut changes, mut kills) = (0, 0);
    while Instant::now() < until {
        let name = format!("w{}", next(6));
        let stream = ["a", "b", "shop"][usize::try_from(next(3)).unwrap()];
        let source = source("crash", &name, &name, &[(stream, "true")]);
        if next(5) == 0 && changes > 6 {
            let _ = api(&plane.client, "Source", "crash").delete(&name, &DeleteParams::default()).await;
        } else {
            apply(&plane.client, &deployment("crash", &name, 1)).await.unwrap();
            // A Source of that name may still be on its way out.
            let accepted = async || apply(&plane.client, &source).await.is_ok();
            eventually("the Source is accepted", Duration::from_secs(90), accepted).await.unwrap();
        }
        workloads.insert(name);
        changes += 1;
        if next(2) == 0 {
            let name = BINARIES[usize::try_from(next(3)).unwrap()];
            plane.kill(name);
            kills += 1;
            plane.start_controller(name, 1000 + kills).await;
        }
        tokio::time::sleep(Duration::from_millis(100 + next(900))).await;
    }
    println!("{changes} changes, {kills} controllers killed");
    for name in &workloads {
        texts.push(deployment("crash", name, 1).to_string());
    }
    plane.api.stop_server();
    tokio::time::sleep(Duration::from_secs(2)).await;
    plane.api.start_server().await.unwrap();
    // A leader that lost its lease ends; as in a cluster, something starts it again.
    let ended: Vec<&'static str> =
        plane.controllers.iter_mut().filter_map(|one| (!one.process.is_running()).then_some(one.name)).collect();
    plane.controllers.retain_mut(|one| one.process.is_running());
    for (position, name) in ended.into_iter().enumerate() {
        plane.start_controller(name, 100 + position).await;
    }
    // What users wrote is read back.
    let gone = async || {
        let sources = list(&plane.client, API_VERSION, "Source").await.unwrap_or_default();
        sources.iter().all(|one| one.metadata.deletion_timestamp.is_none())
    };
    eventually("no Source is on its way out", Duration::from_secs(90), gone).await.unwrap();
    for source in list(&plane.client, API_VERSION, "Source").await.unwrap() {
        if source.namespace().as_deref() == Some("crash") {
            texts.push(serde_json::to_string(&source).unwrap());
        }
    }
    // Pods of workloads that are no longer covered keep their route until they are restarted, which agents will need.
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(plane.client.clone(), "crash");
    pods.delete_collection(&DeleteParams::default(), &kube::api::ListParams::default()).await.unwrap();
    plane.converges_to(&rendered(&texts)).await;
    plane.has_one_leader_each().await;
}

fn class_of(streams: &[&str]) -> String {
    odigos_plan::streams::class_id(&streams.iter().map(ToString::to_string).collect())
}

/// Whether a pipeline of a configuration takes what node collectors send.
fn receives(text: &str) -> bool {
    let config: Value = serde_yaml::from_str(text).unwrap();
    let pipelines = config["service"]["pipelines"].as_object().into_iter().flatten();
    let mut receivers = pipelines.flat_map(|(_, pipeline)| pipeline["receivers"].as_array().into_iter().flatten());
    receivers.any(|id| id.as_str().is_some_and(|id| id.split('/').next() == Some("otlp")))
}

/// A real collector for every gateway pod that is ready, with the configuration that the pod mounts.
#[derive(Default)]
struct RunningGateways {
    by_pod: BTreeMap<String, (Collector, Sender)>,
    started: usize,
    _directories: Vec<tempfile::TempDir>,
}

impl RunningGateways {
    async fn follow(&mut self, client: &Client, pods: &[DynamicObject]) {
        let ready: BTreeMap<String, String> = pods
            .iter()
            .filter(|pod| pod.name_any().starts_with(&format!("{}-", names::GATEWAY)))
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .filter(|pod| pod.data.pointer("/status/phase") == Some(&json!("Running")))
            .map(|pod| {
                let volumes = pod.data["spec"]["volumes"].as_array().unwrap().iter();
                let map = volumes.filter_map(|volume| volume.pointer("/configMap/name")?.as_str()).next().unwrap();
                (pod.name_any(), map.to_owned())
            })
            .collect();
        // All configurations are read before the first collector starts: while it does, pods may be replaced and their
        // ConfigMaps deleted.
        let mut configurations = Vec::new();
        for (pod, map) in &ready {
            if self.by_pod.contains_key(pod) {
                continue;
            }
            let map = get_object(client, "v1", "ConfigMap", NAMESPACE, map).await.unwrap();
            let text = map.data["data"][names::GATEWAY_CONFIG_KEY].as_str().unwrap().to_owned();
            // The first gateway may be older than the first destination: it has nothing to receive, and does not listen.
            if receives(&text) {
                configurations.push((pod, text));
            }
        }
        for (pod, text) in configurations {
            let directory = tempfile::tempdir().unwrap();
            let around = Surroundings::new(directory.path()).unwrap();
            let collector = Collector::start("gateway", &text, around, &[]).await.unwrap();
            let sender = Sender::connect(&collector.endpoint()).await.unwrap();
            self.by_pod.insert(pod.clone(), (collector, sender));
            self.started += 1;
            self._directories.push(directory);
        }
        let gone: Vec<String> = self.by_pod.keys().filter(|pod| !ready.contains_key(*pod)).cloned().collect();
        for pod in gone {
            if let Some((collector, _)) = self.by_pod.remove(&pod) {
                collector.stop();
            }
        }
    }

    /// Sends a span to each; returns how many that were.
    async fn send(&self, class: &str) -> usize {
        for (_, sender) in self.by_pod.values() {
            let attributes = [("service.name", "app"), ("odigos.stream.class", class)];
            sender.send(odigos_api::Signal::Traces, &attributes, &["span".to_owned()]).await.unwrap();
        }
        self.by_pod.len()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_gateway_is_waited_for_before_any_pod_carries_a_class() {
    let _turn = TURN.lock().await;
    let plane = Plane::start_with(Duration::from_secs(3)).await;
    let client = &plane.client;
    control_plane::create_namespace(client, "slow").await.unwrap();
    let mut sinks = Vec::new();
    for stream in ["a", "b"] {
        let port = free_port().unwrap();
        sinks.push(Sink::listen(port).await.unwrap());
        let destination = json!({
            "apiVersion": API_VERSION, "kind": "Destination", "metadata": {"name": stream, "namespace": NAMESPACE},
            "spec": {"type": "otlp", "destinationName": stream, "data": {"OTLP_GRPC_ENDPOINT": format!("127.0.0.1:{port}")}, "signals": ["TRACES"], "sourceSelector": {"dataStreams": [stream]}},
        });
        apply(client, &destination).await.unwrap();
    }
    let mut gateways = RunningGateways::default();
    let mut expected = [0, 0];
    apply(client, &deployment("slow", "app", 2)).await.unwrap();
    let mut waited = 0;
    for streams in [&[("a", "true")][..], &[("a", "false"), ("b", "true")], &[("a", "true"), ("b", "true")]] {
        apply(client, &source("slow", "app", "app", streams)).await.unwrap();
        let set =
            streams.iter().filter(|(_, value)| *value == "true").map(|(stream, _)| (*stream).to_owned()).collect();
        let wanted = odigos_plan::streams::class_id(&set);
        let until = Instant::now() + Duration::from_secs(180);
        loop {
            // What is carried is read first: classes are only added here, so it must be served by then.
            let configs = list(client, API_VERSION, "InstrumentationConfig").await.unwrap();
            let pods = list(client, "v1", "Pod").await.unwrap();
            let carried: Vec<String> =
                configs.iter().chain(&pods).filter_map(|one| one.labels().get(STREAM_CLASS).cloned()).collect();
            // Nothing is served before the group is there.
            let group = get_object(client, API_VERSION, "CollectorsGroup", NAMESPACE, names::GATEWAY).await;
            let group = group.map(|group| group.data).unwrap_or_default();
            let served = group.pointer("/status/servedStreamClasses").map(ToString::to_string).unwrap_or_default();
            for class in &carried {
                assert!(served.contains(class.as_str()), "{class} is carried, but only {served} is served");
            }
            // A real span from each pod, with the class that the pod carried, through every gateway that runs.
            gateways.follow(client, &pods).await;
            for pod in pods.iter().filter(|pod| pod.namespace().as_deref() == Some("slow")) {
                let class = pod.labels().get(STREAM_CLASS).map_or("default", String::as_str);
                let routes = [&["a"][..], &["b"], &["a", "b"]];
                let set = routes.into_iter().find(|set| class_of(set) == class).unwrap_or_default();
                let sent = gateways.send(class).await;
                for (count, stream) in expected.iter_mut().zip(["a", "b"]) {
                    *count += if set.contains(&stream) { sent } else { 0 };
                }
            }
            let rendered = group.pointer("/spec/streamClasses").map(ToString::to_string).unwrap_or_default();
            waited += usize::from(rendered.contains(&wanted) && !served.contains(&wanted));
            let of_app = pods.iter().filter(|pod| pod.namespace().as_deref() == Some("slow"));
            if of_app.clone().count() == 2 && of_app.clone().all(|pod| pod.labels().get(STREAM_CLASS) == Some(&wanted))
            {
                break;
            }
            assert!(Instant::now() < until, "the pods do not carry {wanted}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    // How often that was observed depends on the speed of the machine.
    assert!(waited > 0, "the gateway was slow, so there was something to wait for");
    let arrived = || [sinks[0].items().len(), sinks[1].items().len()];
    let all = eventually("every span arrives", Duration::from_secs(90), || async { arrived() == expected }).await;
    assert!(all.is_ok(), "arrived {:?}, expected {expected:?}", arrived());
    assert!(expected.iter().all(|count| *count > 0) && gateways.started > 2, "{expected:?}, {}", gateways.started);
    println!("{expected:?} spans for a and b through {} gateways, none misrouted", gateways.started);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_slept_wakes_with_a_stale_cache_and_changes_nothing() {
    let _turn = TURN.lock().await;
    let mut plane = Plane::start().await;
    control_plane::create_namespace(&plane.client, "stale").await.unwrap();
    let mut texts = Vec::new();
    for n in 0..5 {
        let name = format!("w{n}");
        for object in [deployment("stale", &name, 1), source("stale", &name, &name, &[("old", "true")])] {
            apply(&plane.client, &object).await.unwrap();
            texts.push(object.to_string());
        }
    }
    plane.converges_to(&rendered(&texts)).await;
    let asleep: Vec<u32> = plane.controllers.iter().map(|one| one.process.id()).collect();
    let signal = |name: &str| {
        for id in &asleep {
            std::process::Command::new("kill").args([name, &id.to_string()]).status().unwrap();
        }
    };
    signal("-STOP");
    // The webhooks sleep with the first instrumentor: they fail closed for Sources only, so those are moved to the second.
    plane.launch.webhook_port = free_port().unwrap();
    control_plane::install(&plane.client, plane.launch.webhook_port).await.unwrap();
    let mut sleepers = std::mem::take(&mut plane.controllers);
    for name in BINARIES {
        plane.start_controller(name, 0).await;
    }
    for n in 0..5 {
        let name = format!("w{n}");
        let moved = source("stale", &name, &name, &[("new", "true")]);
        let accepted = async || apply(&plane.client, &moved).await.is_ok();
        eventually("the Source is accepted", Duration::from_secs(90), accepted).await.unwrap();
        texts.push(moved.to_string());
    }
    plane.converges_to(&rendered(&texts)).await;
    signal("-CONT");
    for sleeper in &mut sleepers {
        let until = Instant::now() + Duration::from_secs(60);
        while sleeper.process.is_running() && sleeper.metrics().await.contains("\nodigos_leading 1\n") {
            assert!(Instant::now() < until, "{} still leads", sleeper.name);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    // Long enough for whatever the sleepers still had in mind.
    tokio::time::sleep(Duration::from_secs(5)).await;
    plane.converges_to(&rendered(&texts)).await;
    for mut sleeper in sleepers {
        let leads = sleeper.metrics().await.contains("\nodigos_leading 1\n");
        assert!(!(leads && sleeper.process.is_running()), "{} still leads", sleeper.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_that_is_installed_late_is_waited_for() {
    let _turn = TURN.lock().await;
    let mut api = ApiServer::start().await.unwrap();
    api.start_controller_manager().unwrap();
    let client = api.client().await.unwrap();
    let kinds: Api<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition> =
        Api::all(client.clone());
    let late = ["datastreams.odigos.io", "samplings.odigos.io"];
    for name in late {
        kinds.delete(name, &DeleteParams::default()).await.unwrap();
        let gone = async || kinds.get_opt(name).await.is_ok_and(|found| found.is_none());
        eventually("the kind is gone", Duration::from_secs(60), gone).await.unwrap();
    }
    control_plane::create_namespace(&client, NAMESPACE).await.unwrap();
    let kubelet = Kubelet::start(client.clone(), Duration::ZERO).await.unwrap();
    let launch = Launch { binaries: binaries::built().unwrap(), webhook_port: free_port().unwrap(), lease_seconds: 5 };
    control_plane::install(&client, launch.webhook_port).await.unwrap();
    let log = api.directory().join(format!("{}-0.log", names::INSTRUMENTOR));
    let install = async {
        // The kinds are late for a controller that runs, however long its start takes.
        let has_started = || async { std::fs::read_to_string(&log).is_ok_and(|text| !text.is_empty()) };
        eventually("the first controller runs", Duration::from_secs(90), has_started).await.unwrap();
        tokio::time::sleep(Duration::from_secs(4)).await;
        for crd in odigos_api::crds::all() {
            if late.contains(&crd.metadata.name.as_deref().unwrap_or_default()) {
                kinds.create(&kube::api::PostParams::default(), &crd).await.unwrap();
            }
        }
    };
    let start = async {
        let mut controllers = Vec::new();
        for name in BINARIES {
            controllers.push(launch.start(&api, name, 0).await.unwrap());
        }
        controllers
    };
    let ((), controllers) = tokio::join!(install, start);
    let plane = Plane { controllers, launch: launch.clone(), client, _kubelet: kubelet, api };
    apply_files(&plane.client, "deploy/samples", |_| {}).await.unwrap();
    plane.converges_to(&rendered(&samples())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_sources_at_once_cost_a_bounded_number_of_writes() {
    let _turn = TURN.lock().await;
    let plane = Plane::start().await;
    control_plane::create_namespace(&plane.client, "many").await.unwrap();
    let all = |prefix: &'static str| (0..500).map(move |n| format!("{prefix}{n:03}"));
    for name in all("w") {
        apply(&plane.client, &deployment("many", &name, 0)).await.unwrap();
    }
    let begun = Instant::now();
    for name in all("w") {
        apply(&plane.client, &source("many", &name, &name, &[("a", "true")])).await.unwrap();
    }
    let last = Instant::now();
    eventually("every workload has its config with its class", Duration::from_secs(180), || async {
        let configs = list(&plane.client, API_VERSION, "InstrumentationConfig").await.unwrap();
        configs.len() == 500 && configs.iter().all(|one| one.labels().contains_key(STREAM_CLASS))
    })
    .await
    .unwrap();
    let (behind, whole) = (last.elapsed(), begun.elapsed());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let audited = plane.api.audited();
    let of = |name: &str| audited.get(name).cloned().unwrap_or_default();
    let writes: usize = BINARIES.iter().map(|name| of(name).writes).sum();
    let conflicts: usize = BINARIES.iter().map(|name| of(name).conflicts).sum();
    println!(
        "500 Sources in {whole:?}, last config {behind:?} after the last Source; {writes} writes, {conflicts} conflicts"
    );
    for name in BINARIES {
        println!("  {name}: {:?}", of(name));
    }
    // Config, its status, its class, and the status of the Source: four for each workload, and a constant rest. What sums up many
    // workloads, the members of a stream, is written once in 200 ms at most for as long as they come.
    let sums: usize = BINARIES.iter().filter_map(|name| of(name).by_resource.get("datastreams/status").copied()).sum();
    assert!(writes - sums <= 500 * 4 + 300, "{writes} writes, {sums} of them sums");
    assert!(sums as u128 <= whole.as_millis() / 200 + 20, "{sums} in {whole:?}");
    assert!(conflicts <= 20, "{conflicts} conflicts");
}

/// What a collector would expand reaches the gateway from the escaped copy, and leaves it when the value is another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expanded_secret_is_copied_escaped() {
    let _turn = TURN.lock().await;
    let plane = Plane::start().await;
    let secret = |key: &str| honeycomb_secret(key, "a");
    let destination = honeycomb();
    apply(&plane.client, &secret("p@$$w0rd")).await.unwrap();
    apply(&plane.client, &destination).await.unwrap();
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(plane.client.clone(), NAMESPACE);
    // What the gateway's container gets: the value behind its reference.
    let value = || async {
        let found = get_object(&plane.client, "apps/v1", "Deployment", NAMESPACE, names::GATEWAY).await.ok()?;
        let environment = found.data.pointer("/spec/template/spec/containers/0/env")?.as_array()?.clone();
        let reference = environment.iter().find_map(|one| one.pointer("/valueFrom/secretKeyRef"))?.clone();
        let secret = secrets.get(reference["name"].as_str()?).await.ok()?;
        let value = secret.data?.get(reference["key"].as_str()?)?.0.clone();
        Some((reference["name"].as_str()?.to_owned(), String::from_utf8(value).ok()?))
    };
    let copy = names::ESCAPED_SECRETS.to_owned();
    for (key, expected) in [
        ("p@$$w0rd", (copy.clone(), "p@$$$$w0rd")),
        ("a${HOME}b", (copy.clone(), "a$${HOME}b")),
        ("0123456789", ("honeycomb".to_owned(), "0123456789")),
    ] {
        apply(&plane.client, &secret(key)).await.unwrap();
        let expected = Some((expected.0, expected.1.to_owned()));
        eventually(key, Duration::from_secs(60), || async { value().await == expected }).await.unwrap();
    }
    eventually("nothing is left in the copy", Duration::from_secs(60), || async {
        secrets.get(names::ESCAPED_SECRETS).await.is_ok_and(|secret| secret.data.unwrap_or_default().is_empty())
    })
    .await
    .unwrap();
    // A copy that another client changes is put right.
    apply(&plane.client, &secret("x$$")).await.unwrap();
    eventually("it is copied", Duration::from_secs(60), || async {
        value().await.is_some_and(|(_, value)| value == "x$$$$")
    })
    .await
    .unwrap();
    let key = odigos_plan::gateway::secret_values::copy_key("honeycomb", "HONEYCOMB_API_KEY");
    let mut other = secret("");
    other["metadata"]["name"] = json!(names::ESCAPED_SECRETS);
    other["stringData"] = json!({key: "other"});
    apply(&plane.client, &other).await.unwrap();
    eventually("it is put right", Duration::from_secs(60), || async {
        value().await.is_some_and(|(_, value)| value == "x$$$$")
    })
    .await
    .unwrap();
    for controller in &plane.controllers {
        let output = controller.process.output();
        assert!(!output.contains("w0rd") && !output.contains("x$$"), "no secret in a log");
    }
}

/// Secrets are read once for each of their versions: another value rolls the gateways, another label does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_secret_reaches_the_gateway() {
    let _turn = TURN.lock().await;
    let plane = Plane::start().await;
    let destination = honeycomb();
    apply(&plane.client, &honeycomb_secret("first", "a")).await.unwrap();
    apply(&plane.client, &destination).await.unwrap();
    let digest = || async {
        let found = get_object(&plane.client, "apps/v1", "Deployment", NAMESPACE, names::GATEWAY).await.ok()?;
        let annotations = found.data.pointer("/spec/template/metadata/annotations")?;
        let mounted =
            found.data.pointer("/spec/template/spec/containers/0/env")?.to_string().contains("HONEYCOMB_API_KEY");
        mounted.then_some(annotations.get(odigos_api::labels::SECRETS_HASH)?.as_str()?.to_owned())
    };
    eventually("the gateway reads the Secret", Duration::from_secs(60), || async { digest().await.is_some() })
        .await
        .unwrap();
    let first = digest().await;
    apply(&plane.client, &honeycomb_secret("first", "b")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(digest().await, first, "an edited label is no new value");
    apply(&plane.client, &honeycomb_secret("second", "b")).await.unwrap();
    eventually("the gateway is rolled", Duration::from_secs(60), || async { digest().await != first }).await.unwrap();
    let second = digest().await;
    // It is gone for a moment, and comes back as it was: no other version may be taken for it.
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(plane.client.clone(), NAMESPACE);
    secrets.delete("honeycomb", &DeleteParams::default()).await.unwrap();
    apply(&plane.client, &honeycomb_secret("first", "a")).await.unwrap();
    eventually("the first value is back", Duration::from_secs(60), || async { digest().await == first }).await.unwrap();
    assert_ne!(first, second);
}

/// Settings that an API server would reject; all of them are reported.
const ODD_SETTINGS: &str = "
resourceSizePreset: size_s
imagePullSecrets: [Bad Name, regcred, regcred]
collectorGateway:
  requestMemoryMiB: 900
  limitMemoryMiB: 600
  requestCPUm: 2000
  limitCPUm: 500
  minReplicas: 9
  maxReplicas: 3
  deploymentName: Not A Name
  nodeSelector: {'bad key!': a, zone: 'a b', disk: ssd}
  queueVolume: {size: 2GB, storageClass: Not A Class}
  httpsProxyAddress: 'no proxy'
  pools: [{name: p, dataStreams: [payments], limitCPUm: 100, requestCPUm: 900, nodeSelector: {'x y': z}}]
collectorNode:
  requestCPUm: 900
  limitCPUm: 100
  collectorOwnMetricsPort: 99999
  k8sNodeLogsDirectory: ../logs
metricsSources: {hostMetrics: {filesystem: true, mountPoints: [data, /, /mnt/../etc]}}
";

/// Whatever the configuration says, what is rendered from it is accepted by an API server.
async fn odd_settings_are_rendered_into_accepted_objects(client: &Client) {
    let mut world = World::new(NAMESPACE);
    for file in ["10-shop.yaml", "20-sources.yaml", "30-destinations.yaml"] {
        let text = std::fs::read_to_string(root().join("deploy/samples").join(file)).unwrap();
        read(&text).unwrap().into_iter().for_each(|object| world.insert(object).unwrap());
    }
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names::CONFIGURATION},
        "data": {"config.yaml": ODD_SETTINGS},
    });
    world.insert(map).unwrap();
    let settled = world.settle(jiff::Timestamp::UNIX_EPOCH);
    let kinds = ["Deployment", "DaemonSet", "HorizontalPodAutoscaler", "StatefulSet", "Service", "ConfigMap"];
    let mut tried = 0;
    for ((_, kind, _), object) in world.outputs.iter().filter(|((_, kind, _), _)| kinds.contains(&kind.as_str())) {
        let accepted = control_plane::try_out(client, object).await;
        accepted.unwrap_or_else(|error| panic!("{kind}: {error:#}\n{object}"));
        tried += 1;
    }
    assert!(tried > 6, "{tried} objects: {:?}", world.outputs.keys());
    for path in [
        "imagePullSecrets[0]",
        "collectorGateway.requestMemoryMiB",
        "collectorGateway.requestCPUm",
        "collectorGateway.minReplicas",
        "collectorGateway.deploymentName",
        "collectorGateway.nodeSelector.zone",
        "collectorGateway.queueVolume.size",
        "collectorGateway.queueVolume.storageClass",
        "collectorGateway.httpsProxyAddress",
        "collectorGateway.pools[p].requestCPUm",
        "collectorGateway.pools[0].nodeSelector",
        "collectorNode.requestCPUm",
        "collectorNode.collectorOwnMetricsPort",
        "collectorNode.k8sNodeLogsDirectory",
        "metricsSources.hostMetrics.mountPoints[0]",
    ] {
        assert!(settled.findings.iter().any(|one| one.field == path), "{path}: {:#?}", settled.findings);
    }
}

/// A slip in the configuration is an Event of its ConfigMap and a line beside the effective configuration, and goes when it is mended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_setting_is_an_event_and_a_line_of_the_effective_configuration() {
    let _turn = TURN.lock().await;
    let mut api = ApiServer::start().await.unwrap();
    api.start_controller_manager().unwrap();
    let client = api.client().await.unwrap();
    control_plane::create_namespace(&client, NAMESPACE).await.unwrap();
    odd_settings_are_rendered_into_accepted_objects(&client).await;
    let launch = Launch { binaries: binaries::built().unwrap(), webhook_port: free_port().unwrap(), lease_seconds: 3 };
    control_plane::install(&client, launch.webhook_port).await.unwrap();
    let _scheduler = launch.start(&api, names::SCHEDULER, 0).await.unwrap();
    let configure = async |text: &str| {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names::CONFIGURATION, "namespace": NAMESPACE},
            "data": {"config.yaml": text},
        });
        apply(&client, &map).await.unwrap();
    };
    let findings = async || {
        let map = get_object(&client, "v1", "ConfigMap", NAMESPACE, names::EFFECTIVE_CONFIGURATION).await.ok();
        map.and_then(|map| Some(map.data.pointer("/data/findings")?.as_str()?.to_owned())).unwrap_or_default()
    };
    configure("smapling: {dryRun: true}\nclusterName: prod\n").await;
    let limit = Duration::from_secs(60);
    let expected = "did you mean sampling?";
    eventually("the slip is reported", limit, async || findings().await.contains(expected)).await.unwrap();
    let text = findings().await;
    assert!(text.lines().any(|line| line.contains("clusterName: no component reads it")), "{text}");
    let events = async || {
        let all = list(&client, "events.k8s.io/v1", "Event").await.unwrap();
        let notes = all.iter().filter(|event| event.data["reason"] == "InvalidConfiguration");
        notes.filter_map(|event| event.data["note"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let both = async || {
        let notes = events().await;
        ["smapling", "clusterName"].iter().all(|key| notes.iter().any(|note| note.starts_with(key)))
    };
    eventually("each has an Event", limit, both).await.unwrap();
    // A document under another key is not read, and that is said as well.
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names::CONFIGURATION, "namespace": NAMESPACE},
        "data": {"config.yaml": "", "config.yml": "sampling: {dryRun: true}\n"},
    });
    apply(&client, &map).await.unwrap();
    let stray = "data[config.yml]: no component reads it";
    let is_said =
        async || findings().await.contains(stray) && events().await.iter().any(|note| note.starts_with(stray));
    eventually("the stray document is reported", limit, is_said).await.unwrap();
    // A broken document keeps the last good one and says so in the same place.
    configure("sampling: [").await;
    eventually("the failure is reported", limit, async || findings().await.contains("last good")).await.unwrap();
    configure("sampling: {dryRun: true}\n").await;
    eventually("nothing is reported", limit, async || findings().await.is_empty()).await.unwrap();
}
