//! `odigos plan` beside what happens: the real command is started before each kind of change, the change is made at the real API
//! server under the three real controllers, and what happened is compared with what was said.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test ends where something unexpected happens, and shows the screens"
)]

use kube::api::{Api, DeleteParams};
use kube::{Client, ResourceExt};
use odigos_api::destination::Destination;
use odigos_api::source::Source;
use odigos_api::{API_VERSION, names};
use odigos_plan::quarantine::{self, Quarantined};
use odigos_testkit::api_server::ApiServer;
use odigos_testkit::binaries;
use odigos_testkit::control_plane::{self, BINARIES, Controller, Kubelet, Launch, NAMESPACE, apply, get_object, list};
use odigos_testkit::ports::free_port;
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);
/// Long enough that a restart that was not announced would be seen.
const STILL: Duration = Duration::from_secs(3);
/// Kinds that the control plane creates and deletes by itself.
const KINDS: [&str; 3] = ["InstrumentationConfig", "CollectorsGroup", "DataStream"];

struct Plane {
    client: Client,
    kubeconfig: PathBuf,
    folder: PathBuf,
}

/// Objects of the control plane, generations of Deployments of applications, and what statuses say of both.
#[derive(Clone, Debug, PartialEq)]
struct State {
    objects: BTreeSet<String>,
    generations: BTreeMap<String, i64>,
    /// Deployments whose pods get agents.
    instrumented: BTreeSet<String>,
    /// Cluster-wide inputs of which pods run with older values, with how many pods, by Deployment.
    outdated: BTreeMap<String, BTreeMap<String, u64>>,
    /// Destinations that collectors do not start with.
    quarantined: BTreeSet<String>,
}

impl Plane {
    async fn odigos(&self, arguments: &[&str]) -> String {
        let mut command = tokio::process::Command::new(binaries::built().unwrap().join("odigos"));
        command.args(arguments).env("KUBECONFIG", &self.kubeconfig).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, said) = (text(&output.stdout), text(&output.stderr));
        // 1 says that there are findings of severity error: what is quarantined is one.
        assert!(matches!(output.status.code(), Some(0 | 1)), "odigos {arguments:?}\n{out}\n{said}");
        out
    }

    /// What `odigos plan` says of a change; its screen is shown.
    async fn plan(&self, arguments: &[&str]) -> Value {
        let screen = self.odigos(&[&["plan"], arguments].concat()).await;
        let short: Vec<&str> = screen.lines().filter(|line| !line.starts_with("    ")).collect();
        println!("$ odigos plan {}\n{}\n", arguments.join(" "), short.join("\n"));
        let out = self.odigos(&[&["plan", "-o", "json"], arguments].concat()).await;
        serde_json::from_str(&out).unwrap()
    }

    fn file(&self, name: &str, object: &Value) -> String {
        let path = self.folder.join(name);
        std::fs::write(&path, object.to_string()).unwrap();
        path.display().to_string()
    }

    async fn state(&self) -> State {
        let mut objects = BTreeSet::new();
        for kind in KINDS {
            for one in list(&self.client, API_VERSION, kind).await.unwrap() {
                objects.insert(format!("{kind} {}/{}", one.namespace().unwrap(), one.name_any()));
            }
        }
        let deployments = list(&self.client, "apps/v1", "Deployment").await.unwrap();
        let of_applications = deployments.into_iter().filter(|one| one.namespace().as_deref() == Some("shop"));
        let generations = of_applications.map(|one| (one.name_any(), one.metadata.generation.unwrap())).collect();
        let (mut instrumented, mut outdated) = (BTreeSet::new(), BTreeMap::new());
        for one in list(&self.client, API_VERSION, "InstrumentationConfig").await.unwrap() {
            let name = one.name_any();
            let Some(deployment) = name.strip_prefix("deployment-") else { continue };
            let workload = format!("Deployment {}/{deployment}", one.namespace().unwrap());
            if one.data["spec"]["agentInjectionEnabled"] == true {
                instrumented.insert(workload.clone());
            }
            let inputs = inputs_of(&one.data["status"]["outdatedInputs"]);
            if !inputs.is_empty() {
                outdated.insert(workload, inputs);
            }
        }
        let destinations = list(&self.client, API_VERSION, "Destination").await.unwrap().into_iter();
        let is_quarantined = |one: &kube::api::DynamicObject| {
            let conditions = one.data["status"]["conditions"].as_array().into_iter().flatten();
            conditions.into_iter().any(|one| one["reason"] == "ExporterStartFailed")
        };
        let quarantined = destinations.filter(is_quarantined).map(|one| one.name_any()).collect();
        State { objects, generations, instrumented, outdated, quarantined }
    }

    /// Waits until the control plane has nothing left to do.
    async fn settled(&self) -> Value {
        let is_settled = async || {
            let plan: Value = serde_json::from_str(&self.odigos(&["plan", "-o", "json"]).await).unwrap();
            let is_empty = |key: &str| plan[key].as_array().is_some_and(Vec::is_empty);
            ["created", "changed", "deleted"].into_iter().all(is_empty) && follows(&plan).is_empty()
        };
        let settled = eventually("nothing is outstanding", LIMIT, is_settled).await;
        let plan: Value = serde_json::from_str(&self.odigos(&["plan", "-o", "json"]).await).unwrap();
        settled.unwrap_or_else(|error| panic!("{error:#}: {plan:#}"));
        tokio::time::sleep(STILL).await;
        plan
    }

    /// Compares what happened between two states with what was said.
    fn compare(&self, said: &Value, before: &State, after: &State) {
        let texts = |key: &str| -> BTreeSet<String> {
            let list = said[key].as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned());
            list.filter(|one| KINDS.iter().any(|kind| one.starts_with(&format!("{kind} ")))).collect()
        };
        let created: BTreeSet<String> = after.objects.difference(&before.objects).cloned().collect();
        let deleted: BTreeSet<String> = before.objects.difference(&after.objects).cloned().collect();
        assert_eq!((texts("created"), texts("deleted")), (created, deleted), "created and deleted: {said:#}");
        let restarted: BTreeSet<String> = after
            .generations
            .iter()
            .filter(|(name, generation)| before.generations.get(*name).is_some_and(|before| before < generation))
            .map(|(name, _)| format!("Deployment shop/{name}"))
            .collect();
        let announced: BTreeSet<String> = follows(said).into_iter().collect();
        let possible: BTreeSet<String> = restarts(said, "possible").into_iter().collect();
        assert!(announced.is_subset(&restarted), "{announced:?} was announced, restarted is {restarted:?}");
        let all: BTreeSet<String> = announced.union(&possible).cloned().collect();
        assert!(restarted.is_subset(&all), "{restarted:?} was restarted, announced is {all:?}");
        // Agents go with a workload that is deleted.
        let exists = |workload: &&String| {
            let name = workload.rsplit('/').next().unwrap();
            after.generations.contains_key(name)
        };
        let lost: BTreeSet<String> =
            before.instrumented.difference(&after.instrumented).filter(exists).cloned().collect();
        let said_lost: BTreeSet<String> =
            said["uninstrumented"].as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect();
        assert_eq!(said_lost, lost, "agents lost: {said:#}");
        let quarantined: BTreeSet<String> = said["quarantined"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(quarantined, after.quarantined, "quarantined: {said:#}");
        // What is restarted takes the newest inputs.
        let outdated = said["outdated"].as_array().unwrap().iter();
        let outdated: BTreeMap<String, BTreeMap<String, u64>> = outdated
            .map(|one| (one["workload"].as_str().unwrap().to_owned(), inputs_of(&one["inputs"])))
            .filter(|(workload, _)| !restarted.contains(workload))
            .collect();
        assert_eq!(outdated, after.outdated, "outdated inputs: {said:#}");
    }
}

/// How many pods run with an older value, by input.
fn inputs_of(list: &Value) -> BTreeMap<String, u64> {
    let list = list.as_array().into_iter().flatten();
    list.map(|one| (one["input"].as_str().unwrap().to_owned(), one["pods"].as_u64().unwrap())).collect()
}

fn restarts(plan: &Value, certainty: &str) -> Vec<String> {
    let all = plan["applications"].as_array().unwrap().iter().filter(|one| one["restart"] == certainty);
    all.map(|one| one["workload"].as_str().unwrap().to_owned()).collect()
}

fn follows(plan: &Value) -> Vec<String> {
    restarts(plan, "follows")
}

fn destination(name: &str, signals: &[&str]) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": "Destination", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"type": "otlp", "destinationName": name, "data": {"OTLP_GRPC_ENDPOINT": format!("{name}:4317")}, "signals": signals},
    })
}

fn source(service: &str) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": "Source", "metadata": {"name": "cart", "namespace": "shop"},
        "spec": {"workload": {"name": "cart", "namespace": "shop", "kind": "Deployment"}, "otelServiceName": service},
    })
}

fn configuration(zone: &str) -> Value {
    configured(&format!(
        "agentsImage: registry/agents:1\nrollout: {{canarySeconds: 0}}\n\
         userInstrumentationEnvs: {{languages: {{java: {{enabled: true, env: {{ZONE: {zone}}}}}}}}}\n"
    ))
}

fn configured(text: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names::CONFIGURATION, "namespace": NAMESPACE},
        "data": {names::CONFIGURATION_KEY: text},
    })
}

async fn detected(plane: &Plane, deployment: &str) {
    let name = format!("deployment-{deployment}");
    let status = json!({
        "apiVersion": API_VERSION, "kind": "InstrumentationConfig", "metadata": {"name": name, "namespace": "shop"},
        "status": {"runtimeDetailsByContainer": [
            {"containerName": "app", "language": "java", "runtimeVersion": "17.0.12+7", "secureExecutionMode": false},
        ]},
    });
    let configs: Api<odigos_api::instrumentation_config::InstrumentationConfig> =
        Api::namespaced(plane.client.clone(), "shop");
    let exists = async || configs.get_opt(&name).await.is_ok_and(|found| found.is_some());
    eventually("the config is there", LIMIT, exists).await.unwrap();
    let parameters = kube::api::PatchParams::apply(names::AGENT).force();
    configs.patch_status(&name, &parameters, &kube::api::Patch::Apply(&status)).await.unwrap();
}

fn deployment(name: &str, replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {
                "terminationGracePeriodSeconds": 1, "containers": [{"name": "app", "image": "none"}],
            }},
        },
    })
}

/// What ends when it is dropped: the API server, the stand-in for pods that run, the controllers.
type Running = (ApiServer, Kubelet, Vec<Controller>);

/// A control plane with these Deployments in the namespace `shop`, and a Destination that takes metrics.
async fn started(deployments: &[(&str, i64)]) -> (Plane, Running) {
    let mut api = ApiServer::start().await.unwrap();
    api.start_controller_manager().unwrap();
    let client = api.client().await.unwrap();
    control_plane::create_namespace(&client, NAMESPACE).await.unwrap();
    let kubelet = Kubelet::start(client.clone(), Duration::ZERO).await.unwrap();
    let launch = Launch { binaries: binaries::built().unwrap(), webhook_port: free_port().unwrap(), lease_seconds: 15 };
    control_plane::install(&client, launch.webhook_port).await.unwrap();
    let plane = Plane { client: client.clone(), kubeconfig: api.kubeconfig(), folder: api.directory().to_owned() };
    apply(&client, &configuration("a")).await.unwrap();
    let mut controllers = Vec::new();
    for name in BINARIES {
        controllers.push(launch.start(&api, name, 0).await.unwrap());
    }
    control_plane::create_namespace(&client, "shop").await.unwrap();
    for (name, replicas) in deployments {
        apply(&client, &deployment(name, *replicas)).await.unwrap();
    }
    apply(&client, &destination("metrics", &["METRICS"])).await.unwrap();
    for (name, replicas) in deployments {
        let is_ready = async || {
            let found = get_object(&client, "apps/v1", "Deployment", "shop", name).await.unwrap();
            found.data.pointer("/status/availableReplicas").and_then(Value::as_i64) == Some(*replicas)
        };
        eventually("its pods run", LIMIT, is_ready).await.unwrap();
    }
    plane.settled().await;
    (plane, (api, kubelet, controllers))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plan_says_what_happens() {
    let (plane, (_api, _kubelet, mut controllers)) = started(&[("cart", 3)]).await;
    let client = plane.client.clone();

    // A Source for a Deployment of three replicas: what runs in it is not known yet.
    let before = plane.state().await;
    let said = plane.plan(&["-f", &plane.file("source.json", &source("cart"))]).await;
    assert_eq!(said["applications"][0]["pods"], 3, "{said:#}");
    assert_eq!((follows(&said).len(), restarts(&said, "possible").len()), (0, 1), "{said:#}");
    apply(&client, &source("cart")).await.unwrap();
    detected(&plane, "cart").await;
    plane.settled().await;
    plane.compare(&said, &before, &plane.state().await);
    assert_eq!(plane.state().await.generations["cart"], 2, "it was restarted");

    // A Destination that takes other signals.
    let before = plane.state().await;
    let traces = destination("traces", &["TRACES", "LOGS"]);
    let said = plane.plan(&["-f", &plane.file("destination.json", &traces)]).await;
    assert!(said["applications"].as_array().unwrap().is_empty() && said["outdated"].as_array().unwrap().is_empty());
    assert!(!said["changed"].as_array().unwrap().is_empty(), "the collectors take it: {said:#}");
    apply(&client, &traces).await.unwrap();
    plane.settled().await;
    plane.compare(&said, &before, &plane.state().await);

    // A setting for all workloads.
    let before = plane.state().await;
    let said = plane.plan(&["-f", &plane.file("configuration.json", &configuration("b"))]).await;
    assert_eq!(follows(&said).len(), 0, "{said:#}");
    let outdated = &said["outdated"][0];
    assert_eq!((&outdated["workload"], &outdated["inputs"][0]["pods"]), (&json!("Deployment shop/cart"), &json!(3)));
    assert_eq!(outdated["inputs"][0]["input"], "userInstrumentationEnvs");
    apply(&client, &configuration("b")).await.unwrap();
    plane.settled().await;
    plane.compare(&said, &before, &plane.state().await);
    let config = get_object(&client, API_VERSION, "InstrumentationConfig", "shop", "deployment-cart").await.unwrap();
    assert_eq!(config.data["status"]["outdatedInputs"][0]["pods"], 3, "{:#}", config.data["status"]);

    // A change to the workload alone.
    let before = plane.state().await;
    let said = plane.plan(&["-f", &plane.file("source.json", &source("checkout"))]).await;
    assert_eq!(follows(&said), ["Deployment shop/cart"], "{said:#}");
    apply(&client, &source("checkout")).await.unwrap();
    plane.settled().await;
    plane.compare(&said, &before, &plane.state().await);

    // What collectors do not start with is left out by the controllers, and by the plan.
    let api_of: Api<Destination> = Api::namespaced(client.clone(), NAMESPACE);
    let found = api_of.get("traces").await.unwrap();
    let entry = Quarantined {
        fingerprint: quarantine::fingerprint(&found, &BTreeMap::new()),
        said: "Error: cannot start".into(),
        since: k8s_openapi::jiff::Timestamp::now(),
        is_confirmed: true,
        is_acquitted: false,
        is_out_of_memory: false,
    };
    let store = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": quarantine::STORE, "namespace": NAMESPACE},
        "data": {"traces": serde_json::to_string(&entry).unwrap()},
    });
    let before = plane.state().await;
    let announced = plane.plan(&["-f", &plane.file("quarantine.json", &store)]).await;
    apply(&client, &store).await.unwrap();
    let is_out = async || {
        let status = api_of.get("traces").await.unwrap().status.unwrap_or_default();
        status.conditions.iter().any(|one| one.type_ == "DestinationConfigured" && one.status == "False")
    };
    eventually("the destination is left out", LIMIT, is_out).await.unwrap();
    let said = plane.settled().await;
    assert_eq!(said["quarantined"]["traces"], "Error: cannot start", "{said:#}");
    plane.compare(&announced, &before, &plane.state().await);
    // Another specification of it is tried again.
    let mut changed = traces.clone();
    changed["spec"]["data"]["OTLP_GRPC_ENDPOINT"] = json!("elsewhere:4317");
    let said = plane.plan(&["-f", &plane.file("destination.json", &changed)]).await;
    assert!(said["quarantined"].as_object().unwrap().is_empty() && !said["changed"].as_array().unwrap().is_empty());

    // The Source goes.
    let before = plane.state().await;
    let said = plane.plan(&["--delete", &plane.file("source.json", &source("checkout"))]).await;
    assert_eq!(said["uninstrumented"], json!(["Deployment shop/cart"]), "{said:#}");
    assert_eq!(follows(&said), ["Deployment shop/cart"], "{said:#}");
    let sources: Api<Source> = Api::namespaced(client.clone(), "shop");
    sources.delete("cart", &DeleteParams::default()).await.unwrap();
    let is_gone = async || sources.get_opt("cart").await.unwrap().is_none();
    eventually("the Source is gone", LIMIT, is_gone).await.unwrap();
    plane.settled().await;
    plane.compare(&said, &before, &plane.state().await);
    assert!(Path::new(&plane.folder).exists() && controllers.iter_mut().all(|one| one.process.is_running()));
}

/// A change of manifests, and which Deployments it restarts.
struct Change {
    kind: &'static str,
    applied: Vec<Value>,
    deleted: Vec<Value>,
    restarts: &'static [&'static str],
}

impl Change {
    fn apply(kind: &'static str, object: Value, restarts: &'static [&'static str]) -> Self {
        Self { kind, applied: vec![object], deleted: Vec::new(), restarts }
    }

    fn delete(kind: &'static str, object: Value, restarts: &'static [&'static str]) -> Self {
        Self { kind, applied: Vec::new(), deleted: vec![object], restarts }
    }
}

/// Every kind of change on its own, each compared with what `plan` said of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plan_says_what_each_kind_of_change_does() {
    let (plane, (_api, _kubelet, mut controllers)) = started(&[("cart", 2), ("web", 1)]).await;
    let own = |kind: &str, name: &str, spec: Value| json!({"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec});
    let whole = |labels: Value| {
        json!({
            "apiVersion": API_VERSION, "kind": "Source", "metadata": {"name": "all", "namespace": "shop", "labels": labels},
            "spec": {"workload": {"kind": "Namespace", "name": "shop", "namespace": "shop"}},
        })
    };
    apply(&plane.client, &whole(json!({}))).await.unwrap();
    detected(&plane, "cart").await;
    detected(&plane, "web").await;
    plane.settled().await;
    assert_eq!(plane.state().await.instrumented.len(), 2);

    let rule = |is_disabled: bool| {
        let spec = json!({"disabled": is_disabled, "headersCollection": {"headerKeys": ["x-request-id"]}});
        own("InstrumentationRule", "headers", spec)
    };
    let sampling =
        own("Sampling", "health", json!({"noisyOperations": [{"operation": {"httpServer": {"route": "/healthz"}}}]}));
    let processor = own(
        "Processor",
        "tag",
        json!({
            "type": "attributes", "processorName": "tag", "orderHint": 1, "collectorRoles": ["CLUSTER_GATEWAY"], "signals": ["METRICS"],
            "processorConfig": {"actions": [{"key": "a", "value": "b", "action": "upsert"}]},
        }),
    );
    let exclusion = json!({
        "apiVersion": API_VERSION, "kind": "Source", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"workload": {"kind": "Deployment", "name": "web", "namespace": "shop"}, "disableInstrumentation": true},
    });
    let base = "agentsImage: registry/agents:1\nuserInstrumentationEnvs: {languages: {java: {enabled: true, env: {ZONE: a}}}}\n";
    let with = |text: &str| configured(&format!("{base}{text}"));
    let image = "rollout: {canarySeconds: 0}\nmountMethod: k8s-init-container\n";
    let manual = image.replace('}', ", automaticRolloutDisabled: true}");
    let ignored = format!("{image}ignoredNamespaces: [shop]\n");
    let (both, cart): (&'static [&'static str], &'static [&'static str]) = (&["cart", "web"], &["cart"]);
    let changes = [
        Change::apply("a rule", rule(false), both),
        Change::apply("a rule is switched off", rule(true), both),
        Change::delete("a rule without effect goes", rule(true), &[]),
        Change::apply("a label of a stream", whole(json!({"odigos.io/data-stream-shop": "true"})), &[]),
        Change::apply("a Destination comes", destination("traces", &["TRACES"]), &[]),
        Change::apply("sampling", sampling, &[]),
        Change::apply("a Processor", processor, &[]),
        Change::delete("a Destination goes", destination("traces", &["TRACES"]), &[]),
        Change::apply("another way of mounting", with(image), &[]),
        Change::apply(
            "another image of agents",
            configured(&format!("{base}{image}").replace("agents:1", "agents:2")),
            &[],
        ),
        Change::apply("the image of before", with(image), &[]),
        Change::apply("no restarts", with(&manual), &[]),
        Change::apply("a service name while nothing is restarted", source("checkout"), &[]),
        Change::apply("restarts again", with(image), cart),
        Change::apply("an exclusion", exclusion.clone(), &["web"]),
        Change::apply("the namespace is ignored", with(&ignored), cart),
        Change::apply("the namespace is no longer ignored", with(image), cart),
        Change::delete("the exclusion goes", exclusion, &["web"]),
        Change::delete("a Deployment goes", deployment("web", 1), &[]),
    ];
    for change in changes {
        println!("== {}", change.kind);
        let before = plane.state().await;
        let file = |name: &str, objects: &[Value]| {
            plane.file(name, &json!({"apiVersion": "v1", "kind": "List", "items": objects}))
        };
        let (applied, deleted) = (file("applied.json", &change.applied), file("deleted.json", &change.deleted));
        let said = plane.plan(&["-f", &applied, "--delete", &deleted]).await;
        for object in &change.applied {
            apply(&plane.client, object).await.unwrap();
        }
        for object in &change.deleted {
            delete(&plane.client, object).await;
        }
        // What was left out of the cluster is looked at again.
        if change.restarts.iter().any(|name| !before.instrumented.contains(&format!("Deployment shop/{name}"))) {
            for name in change.restarts {
                detected(&plane, name).await;
            }
        }
        plane.settled().await;
        let after = plane.state().await;
        plane.compare(&said, &before, &after);
        let is_restarted = |name: &&String| before.generations.get(*name) < after.generations.get(*name);
        let restarted: Vec<&String> = after.generations.keys().filter(is_restarted).collect();
        assert_eq!(restarted, change.restarts, "{}: {said:#}", change.kind);
    }
    assert!(controllers.iter_mut().all(|one| one.process.is_running()));
}

async fn delete(client: &Client, object: &Value) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap();
    let (kind, name) = (text("/kind"), text("/metadata/name"));
    let resource = kube::api::ApiResource::from_gvk(&gvk(text("/apiVersion"), kind));
    let api: Api<kube::api::DynamicObject> =
        Api::namespaced_with(client.clone(), text("/metadata/namespace"), &resource);
    api.delete(name, &DeleteParams::background()).await.unwrap();
    let is_gone = async || api.get_opt(name).await.unwrap().is_none();
    eventually("it is deleted", LIMIT, is_gone).await.unwrap();
}

fn gvk(api_version: &str, kind: &str) -> kube::api::GroupVersionKind {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    kube::api::GroupVersionKind::gvk(group, version, kind)
}
