//! T: a tenant who may write Sources, Deployments and pods in a namespace of their own.
//!
//! Owns attacks on the routes of others: ids of stream classes, labels of pods, numbers of streams. Never reads what they may not read.

use crate::plane::{LIMIT, Plane};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use odigos_api::labels::{STREAM_CLASS, stream_label};
use odigos_api::{API_VERSION, names};
use odigos_plan::streams::classes::{class_id, earlier_class_id};
use odigos_testkit::api_server::ApiServer;
use odigos_testkit::binaries;
use odigos_testkit::control_plane::{self, Kubelet, Launch, NAMESPACE, apply, deployment, get_object, list};
use odigos_testkit::policy::Policy;
use odigos_testkit::ports::free_port;
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A client of an account that may write Sources, Deployments and pods of one namespace.
async fn tenant(plane: &Plane, namespace: &str) -> Client {
    control_plane::create_namespace(&plane.client, namespace).await.unwrap();
    let metadata = json!({"name": "tenant", "namespace": namespace});
    let objects = [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata,
            "rules": [
                {"apiGroups": ["odigos.io"], "resources": ["sources"], "verbs": ["get", "list", "create", "patch"]},
                {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "create", "patch"]},
                {"apiGroups": [""], "resources": ["pods", "pods/status"], "verbs": ["get", "list", "create", "patch"]},
            ],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "tenant"},
            "subjects": [{"kind": "ServiceAccount", "name": "tenant", "namespace": namespace}],
        }),
    ];
    for object in &objects {
        apply(&plane.client, object).await.unwrap();
    }
    plane.api.client_as(namespace, "tenant").await.unwrap()
}

fn source(namespace: &str, name: &str, streams: &[String]) -> Value {
    let labels: serde_json::Map<String, Value> =
        streams.iter().map(|stream| (stream_label(stream), json!("true"))).collect();
    json!({
        "apiVersion": API_VERSION, "kind": "Source", "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"workload": {"name": name, "namespace": namespace, "kind": "Deployment"}},
    })
}

fn destination(name: &str, streams: &[&str]) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": "Destination", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "type": "otlp", "destinationName": name, "data": {"OTLP_GRPC_ENDPOINT": format!("{name}.example:4317")},
            "signals": ["TRACES"], "sourceSelector": {"dataStreams": streams},
        },
    })
}

fn set(streams: &[String]) -> BTreeSet<String> {
    streams.iter().cloned().collect()
}

fn texts(streams: &[&str]) -> Vec<String> {
    streams.iter().map(ToString::to_string).collect()
}

/// The class that the InstrumentationConfig of a Deployment carries.
async fn class_of(client: &Client, namespace: &str, name: &str) -> Option<String> {
    let config =
        get_object(client, API_VERSION, "InstrumentationConfig", namespace, &format!("deployment-{name}")).await;
    config.ok()?.labels().get(STREAM_CLASS).cloned()
}

async fn comes_to_carry(client: &Client, namespace: &str, name: &str, class: &str) {
    let is_there = || async { class_of(client, namespace, name).await.as_deref() == Some(class) };
    let came = eventually(&format!("{namespace}/{name} carries {class}"), LIMIT, is_there).await;
    assert!(came.is_ok(), "{namespace}/{name} carries {:?}, not {class}", class_of(client, namespace, name).await);
}

/// C2: a stream name was searched until the attacker's set had the same 32 bits as another tenant's.
pub(crate) async fn ids_that_collided_are_apart(plane: &Plane) {
    let attacker = tenant(plane, "aaa").await;
    let (ours, theirs) = (texts(&["team-a", "xb2f501fe6"]), texts(&["payments"]));
    assert_eq!(earlier_class_id(&set(&ours)), earlier_class_id(&set(&theirs)));
    for one in [destination("team-a", &["team-a"]), destination("payments", &["payments"])] {
        apply(&plane.client, &one).await.unwrap();
    }
    apply(&attacker, &deployment("aaa", "thief", 0)).await.unwrap();
    apply(&attacker, &source("aaa", "thief", &ours)).await.unwrap();
    control_plane::create_namespace(&plane.client, "pay").await.unwrap();
    apply(&plane.client, &deployment("pay", "ledger", 1)).await.unwrap();
    apply(&plane.client, &source("pay", "ledger", &theirs)).await.unwrap();
    let (thief, ledger) = (class_id(&set(&ours)), class_id(&set(&theirs)));
    comes_to_carry(&plane.client, "aaa", "thief", &thief).await;
    comes_to_carry(&plane.client, "pay", "ledger", &ledger).await;
    let text = plane.configuration(names::GATEWAY, &ledger).await;
    let configuration: Value = serde_yaml::from_str(&text).unwrap();
    let row = |class: &str| {
        let rows = configuration["connectors"]["routing/traces"]["table"].as_array().unwrap();
        let row = rows.iter().find(|row| row["condition"].as_str().unwrap().contains(class)).unwrap();
        row["pipelines"].to_string()
    };
    assert_eq!(row(&ledger), r#"["traces/stream.payments"]"#);
    assert_eq!(row(&thief), r#"["traces/stream.team-a"]"#);
}

/// H3: rules of a kind do not see labels, a ValidatingAdmissionPolicy does.
pub(crate) async fn source_names_few_streams(plane: &Plane) {
    let tenant = tenant(plane, "bbb").await;
    let streams = |count: usize| -> Vec<String> { (0..count).map(|n| format!("n{n:05}")).collect() };
    for count in [17, 5_000] {
        let error = apply(&tenant, &source("bbb", "wide", &streams(count))).await.unwrap_err();
        assert!(format!("{error:#}").contains("at most 16"), "{error:#}");
    }
    apply(&tenant, &source("bbb", "wide", &streams(16))).await.unwrap();
    let error = apply(&tenant, &source("bbb", "wide", &streams(17))).await.unwrap_err();
    assert!(format!("{error:#}").contains("at most 16"), "{error:#}");
    // Nothing of it is covered, so there is no object of these streams.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let all = list(&plane.client, API_VERSION, "DataStream").await.unwrap();
    assert!(all.iter().all(|one| !one.name_any().starts_with("n0")), "only covered workloads count");
}

/// H1: pods choose no stream, whether when they are created, while they run, or without a workload.
pub(crate) async fn class_of_pods_is_not_theirs_to_set(plane: &Plane) {
    let tenant = tenant(plane, "ccc").await;
    let stolen = class_id(&set(&texts(&["payments"])));
    let pod = |name: &str, owners: Value| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "ccc", "labels": {STREAM_CLASS: stolen, "app": name}, "ownerReferences": owners},
            "spec": {"containers": [{"name": "app", "image": "none"}]},
        })
    };
    let widget =
        json!([{"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": "1", "controller": true}]);
    let pods: Api<Pod> = Api::namespaced(tenant.clone(), "ccc");
    for (name, owners) in [("bare", json!([])), ("widget", widget)] {
        apply(&tenant, &pod(name, owners)).await.unwrap();
        let labels = || async { pods.get(name).await.unwrap().metadata.labels.unwrap_or_default() };
        let is_clean = || async { !labels().await.contains_key(STREAM_CLASS) };
        eventually("the label is removed", LIMIT, is_clean).await.unwrap();
        assert_eq!(labels().await["app"], name, "nothing else of it changes");
        // While it runs, nobody but the scheduler sets it.
        let patch = Patch::Merge(json!({"metadata": {"labels": {STREAM_CLASS: stolen}}}));
        for client in [&tenant, &plane.client] {
            let pods: Api<Pod> = Api::namespaced(client.clone(), "ccc");
            let error = pods.patch(name, &PatchParams::default(), &patch).await.unwrap_err();
            assert!(error.to_string().contains("only the scheduler"), "{error}");
            let error = pods.patch_status(name, &PatchParams::default(), &patch).await.unwrap_err();
            assert!(error.to_string().contains("only the scheduler"), "{error}");
        }
        let other = Patch::Merge(json!({"metadata": {"labels": {"team": "c"}}}));
        pods.patch(name, &PatchParams::default(), &other).await.unwrap();
    }
    // One that another component labelled while no webhook looked is corrected as well.
    let hooks = names::INSTRUMENTOR;
    let all: Api<k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration> =
        Api::all(plane.client.clone());
    let before = serde_json::to_value(all.get(hooks).await.unwrap().webhooks).unwrap();
    let mut without = before.clone();
    for hook in without.as_array_mut().unwrap() {
        if hook["name"].as_str().unwrap().starts_with("label-pods") {
            hook["rules"] = json!([]);
        }
    }
    let set = async |hooks_: &Value| {
        all.patch(hooks, &PatchParams::default(), &Patch::Merge(json!({"webhooks": hooks_}))).await.unwrap();
    };
    set(&without).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    apply(&plane.client, &pod("late", json!([]))).await.unwrap();
    let is_clean = || async {
        let labels = pods.get("late").await.unwrap().metadata.labels.unwrap_or_default();
        !labels.contains_key(STREAM_CLASS)
    };
    eventually("the label of a pod that passed no webhook is removed", LIMIT, is_clean).await.unwrap();
    set(&before).await;
}

/// H3: one tenant's many streams neither take the classes of others nor hold up what others change meanwhile.
pub(crate) async fn many_streams_hold_nobody_up(plane: &Plane) {
    const SOURCES: usize = 40;
    let attacker = tenant(plane, "crowd").await;
    let before = class_of(&plane.client, "pay", "ledger").await;
    for n in 0..SOURCES {
        let streams: Vec<String> = (0..16).map(|stream| format!("crowd-{n}-{stream}")).collect();
        apply(&attacker, &deployment("crowd", &format!("w{n}"), 0)).await.unwrap();
        apply(&attacker, &source("crowd", &format!("w{n}"), &streams)).await.unwrap();
    }
    // Another tenant's new workload, in the middle of it.
    control_plane::create_namespace(&plane.client, "calm").await.unwrap();
    apply(&plane.client, &deployment("calm", "web", 0)).await.unwrap();
    let begun = Instant::now();
    apply(&plane.client, &source("calm", "web", &texts(&["calm"]))).await.unwrap();
    comes_to_carry(&plane.client, "calm", "web", &class_id(&set(&texts(&["calm"])))).await;
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(class_of(&plane.client, "pay", "ledger").await, before);
    let of_crowd = || async {
        let all = list(&plane.client, API_VERSION, "DataStream").await.unwrap_or_default();
        all.iter().filter(|one| one.name_any().starts_with("crowd-")).count()
    };
    eventually("as many objects as the quota allows", LIMIT, || async { of_crowd().await == 256 }).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(of_crowd().await, 256);
    let events = list(&plane.client, "events.k8s.io/v1", "Event").await.unwrap();
    let mut told = events.iter().filter(|event| event.namespace().as_deref() == Some("crowd"));
    assert!(told.any(|event| event.data["reason"] == "NamespaceStreamQuota"), "its namespace has the Event");
}

/// H3: a gateway that mounts a ConfigMap that does not exist never starts.
pub(crate) async fn gateway_never_mounts_a_config_map_that_is_missing(plane: &Plane) {
    let probe = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "odigos-gateway-probe", "namespace": "ccc"}});
    let policy = Policy {
        name: "no-configmaps",
        resource: "configmaps",
        expression: "!object.metadata.name.startsWith('odigos-gateway-')",
        message: "refused by a test",
        namespace: None,
    };
    policy.enforce(&plane.client, &probe).await.unwrap();
    let mounted = || async {
        let found = get_object(&plane.client, "apps/v1", "Deployment", NAMESPACE, names::GATEWAY).await.unwrap();
        let volumes = found.data["spec"]["template"]["spec"]["volumes"].as_array().unwrap().clone();
        volumes.iter().find_map(|volume| volume.pointer("/configMap/name")?.as_str().map(str::to_owned)).unwrap()
    };
    let exists = async |name: String| get_object(&plane.client, "v1", "ConfigMap", NAMESPACE, &name).await.is_ok();
    apply(&plane.client, &destination("late", &["calm"])).await.unwrap();
    plane.comes_to_say("CollectorsGroup", names::GATEWAY, "Deployed", "False/GatewayDeployedCreationFailed").await;
    for _ in 0..20 {
        let name = mounted().await;
        assert!(exists(name.clone()).await, "the gateway mounts {name}, which does not exist");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    policy.lift(&plane.client).await.unwrap();
    apply(&plane.client, &destination("later", &["calm"])).await.unwrap();
    plane.configuration(names::GATEWAY, "later.example:4317").await;
}

/// The group, the config and the pods as the release before left them; this release takes over.
pub(crate) async fn earlier_classes_are_routed_until_no_pod_carries_them() {
    let mut api = ApiServer::start().await.unwrap();
    api.start_controller_manager().unwrap();
    let client = api.client().await.unwrap();
    control_plane::create_namespace(&client, NAMESPACE).await.unwrap();
    control_plane::create_namespace(&client, "pay").await.unwrap();
    let _kubelet = Kubelet::start(client.clone(), Duration::ZERO).await.unwrap();
    let launch = Launch { binaries: binaries::built().unwrap(), webhook_port: free_port().unwrap(), lease_seconds: 9 };
    // The release before admitted it; the webhook of this one is not there yet.
    apply(&client, &destination("payments", &["payments"])).await.unwrap();
    control_plane::install(&client, launch.webhook_port).await.unwrap();
    let streams = texts(&["payments"]);
    let (old, new) = (earlier_class_id(&set(&streams)), class_id(&set(&streams)));
    let mut ledger = deployment("pay", "ledger", 2);
    ledger["spec"]["template"]["metadata"]["labels"][STREAM_CLASS] = json!(old);
    apply(&client, &ledger).await.unwrap();
    let labels: std::collections::BTreeMap<String, String> =
        [(STREAM_CLASS.to_owned(), old.clone()), (stream_label("payments"), "true".to_owned())].into();
    let pods: Api<Pod> = Api::namespaced(client.clone(), "pay");
    let of_app = ListParams::default().labels("app=ledger");
    let are_there = || async { pods.list(&of_app).await.is_ok_and(|found| found.items.len() == 2) };
    eventually("the pods run", LIMIT, are_there).await.unwrap();
    let config = json!({
        "apiVersion": API_VERSION, "kind": "InstrumentationConfig",
        "metadata": {"name": "deployment-ledger", "namespace": "pay", "labels": labels},
        "spec": {"agentInjectionEnabled": false},
    });
    apply(&client, &config).await.unwrap();
    let group = json!({
        "apiVersion": API_VERSION, "kind": "CollectorsGroup",
        "metadata": {"name": names::GATEWAY, "namespace": NAMESPACE},
        "spec": {
            "role": "CLUSTER_GATEWAY", "collectorOwnMetricsPort": 8888, "resourcesSettings": {
                "minReplicas": 1, "maxReplicas": 1, "memoryRequestMiB": 600, "memoryLimitMiB": 600,
                "cpuRequestMillicores": 1000, "cpuLimitMillicores": 1000,
                "memoryLimiterLimitMiB": 550, "memoryLimiterSpikeLimitMiB": 110, "gomemlimitMiB": 440,
            },
            "streamClasses": [{"id": old, "streams": streams}],
        },
    });
    // What the scheduler wrote is its own, as it was then.
    let resource = kube::core::ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(
        odigos_api::GROUP,
        odigos_api::VERSION,
        "CollectorsGroup",
    ));
    let groups: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
    let as_scheduler = PatchParams::apply(names::SCHEDULER).force();
    groups.patch(names::GATEWAY, &as_scheduler, &Patch::Apply(&group)).await.unwrap();
    let uids = || async {
        let found = pods.list(&of_app).await.unwrap().items;
        found.into_iter().filter_map(|pod| pod.metadata.uid).collect::<BTreeSet<_>>()
    };
    let before = uids().await;
    apply(&client, &source("pay", "ledger", &streams)).await.unwrap();
    let mut controllers = Vec::new();
    for name in control_plane::BINARIES {
        controllers.push(launch.start(&api, name, 0).await.unwrap());
    }
    let until = Instant::now() + 2 * LIMIT;
    loop {
        // What is carried is read first: every class of it must have its row in what the gateways mount.
        let carried: Vec<String> = pods
            .list(&of_app)
            .await
            .unwrap()
            .items
            .iter()
            .map(|pod| pod.labels().get(STREAM_CLASS).cloned().unwrap_or_default())
            .collect();
        let map = get_object(&client, "v1", "ConfigMap", NAMESPACE, names::GATEWAY).await;
        if let Some(text) =
            map.ok().and_then(|map| Some(map.data["data"][names::GATEWAY_CONFIG_KEY].as_str()?.to_owned()))
        {
            let configuration: Value = serde_yaml::from_str(&text).unwrap();
            let rows = configuration["connectors"]["routing/traces"]["table"].as_array().cloned().unwrap_or_default();
            for class in &carried {
                let row = rows
                    .iter()
                    .find(|row| row["condition"].as_str().unwrap_or_default().contains(&format!("\"{class}\"")));
                let pipelines = row.map(|row| row["pipelines"].to_string());
                assert_eq!(pipelines.as_deref(), Some(r#"["traces/stream.payments"]"#), "{class}");
            }
        }
        if carried.iter().all(|class| *class == new) {
            break;
        }
        let tails: Vec<String> = controllers.iter().map(|one| one.process.tail()).collect();
        assert!(Instant::now() < until, "{carried:?}\n{}", tails.join("\n"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(uids().await, before, "no pod was restarted");
    // The old row leaves when nothing carries it.
    let is_gone = || async {
        let map = get_object(&client, "v1", "ConfigMap", NAMESPACE, names::GATEWAY).await.unwrap();
        let text = map.data["data"][names::GATEWAY_CONFIG_KEY].as_str().unwrap_or_default().to_owned();
        let has = |id: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == id);
        has(&new) && !has(&old)
    };
    eventually("the old row is gone", LIMIT, is_gone).await.unwrap();
}
