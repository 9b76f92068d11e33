//! An API server without the product, the command line tool, and what a kubelet would do.

use kube::Client;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::{Discovery, verbs};
use odigos_testkit::api_server::ApiServer;
use odigos_testkit::binaries;
use odigos_testkit::control_plane::{self, BINARIES, Controller, Kubelet, Launch, NAMESPACE, apply, get_object, list};
use odigos_testkit::ports::free_port;
use odigos_testkit::process::eventually;
use odigos_tools::{find, root};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};

/// Two API servers at a time: a test waits for more than half of its time, and the machine may have two cores.
static TURNS: Semaphore = Semaphore::const_new(2);

/// Waits until a test may start its API server; it may while it keeps what this returns.
pub(super) async fn turn() -> SemaphorePermit<'static> {
    TURNS.acquire().await.unwrap()
}

/// What a command did.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) said: String,
}

impl Ran {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Ends the test unless the command ended with this code.
    pub(super) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n--- output\n{}\n--- errors\n{}", self.out, self.said);
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), said: text(&output.stderr) }
    }
}

/// The folder of the binaries, built once: controllers and the command line tool.
fn product() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || binaries::built().unwrap();
    BUILT.get_or_init(build).clone()
}

/// A cluster without the product.
pub(super) struct Lab {
    pub(super) client: Client,
    pub(super) api: ApiServer,
    /// The controllers' processes.
    controllers: Arc<Mutex<Vec<Controller>>>,
    keeper: tokio::task::JoinHandle<()>,
    _kubelet: Option<Kubelet>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// A webhook configuration as it was: where, its name, its webhooks.
pub(super) type Closed = (Api<DynamicObject>, String, Value);

impl Lab {
    /// A cluster with one node, on which pods become ready at once.
    pub(super) async fn start() -> Self {
        Self::start_with(true).await
    }

    /// A cluster; without a kubelet its pods stay as they are until the test says otherwise.
    pub(super) async fn start_with(kubelet: bool) -> Self {
        let mut api = ApiServer::start().await.unwrap();
        api.start_controller_manager().unwrap();
        let client = api.client().await.unwrap();
        // The server comes with the kinds, as most tests need them; here they are what is installed. A kind that was never
        // read is not ready to be deleted either, and the server tries again only minutes later.
        let kinds = list(&client, "apiextensions.k8s.io/v1", "CustomResourceDefinition").await.unwrap();
        for crd in &kinds {
            let spec = &crd.data["spec"];
            let [group, version, kind] =
                ["/group", "/versions/0/name", "/names/kind"].map(|path| spec.pointer(path).unwrap().as_str().unwrap());
            let api_version = format!("{group}/{version}");
            eventually("the kind can be read", Duration::from_secs(60), || async {
                list(&client, &api_version, kind).await.is_ok()
            })
            .await
            .unwrap();
        }
        for crd in &kinds {
            delete(&client, "apiextensions.k8s.io/v1", "CustomResourceDefinition", "", &crd.name_any()).await;
        }
        eventually("no kind is left", Duration::from_secs(180), || async {
            list(&client, "apiextensions.k8s.io/v1", "CustomResourceDefinition").await.unwrap().is_empty()
        })
        .await
        .unwrap();
        let stand_in = if kubelet { Some(Kubelet::start(client.clone(), Duration::ZERO).await.unwrap()) } else { None };
        control_plane::create_namespace(&client, "shop").await.unwrap();
        for name in ["cart", "web"] {
            apply(&client, &application(name)).await.unwrap();
        }
        eventually("the applications have pods", Duration::from_secs(60), || async {
            let pods = list(&client, "v1", "Pod").await.unwrap();
            let settled =
                pods.iter().all(|pod| !kubelet || pod.data.pointer("/status/phase") == Some(&json!("Running")));
            pods.len() == 2 && settled
        })
        .await
        .unwrap();
        let controllers: Arc<Mutex<Vec<Controller>>> = Arc::default();
        let keeper = keep(client.clone(), controllers.clone());
        Self { client, api, controllers, keeper, _kubelet: stand_in }
    }

    /// Runs `odigos` as the administrator.
    pub(super) async fn odigos(&self, arguments: &[&str]) -> Ran {
        let begun = std::time::Instant::now();
        let ran = self.command(arguments).output().await.unwrap().into();
        eprintln!("{:5.1} s: odigos {}", begun.elapsed().as_secs_f64(), arguments.join(" "));
        ran
    }

    /// The command, to be started.
    pub(super) fn command(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(product().join("odigos"));
        command.args(arguments).env("KUBECONFIG", self.api.kubeconfig()).env_remove("ODIGOS_NAMESPACE");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs the real Helm.
    pub(super) async fn helm(&self, arguments: &[&str]) -> Ran {
        let mut command = tokio::process::Command::new(find("helm").unwrap());
        command.args(arguments).env("KUBECONFIG", self.api.kubeconfig()).current_dir(root());
        command.stdin(Stdio::null()).output().await.unwrap().into()
    }

    /// Starts the three controllers where their Deployments stand, and lets admission reach them: there is no network of
    /// pods and services here.
    pub(super) async fn run_controllers(&self) {
        let launch = Launch { binaries: product(), webhook_port: free_port().unwrap(), lease_seconds: 5 };
        for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
            let found = list(&self.client, "admissionregistration.k8s.io/v1", kind).await.unwrap();
            let found = found.iter().find(|one| one.name_any() == "odigos-instrumentor").unwrap();
            let mut object = json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "odigos-instrumentor"},
            });
            object["webhooks"] = found.data["webhooks"].clone();
            for hook in object["webhooks"].as_array_mut().unwrap() {
                let path = hook["clientConfig"]["service"]["path"].as_str().unwrap().to_owned();
                hook["clientConfig"] = json!({"url": format!("https://127.0.0.1:{}{path}", launch.webhook_port)});
            }
            let resource = kube::core::ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(
                "admissionregistration.k8s.io",
                "v1",
                kind,
            ));
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
            let change = json!({"webhooks": object["webhooks"]});
            let parameters = kube::api::PatchParams::default();
            api.patch("odigos-instrumentor", &parameters, &kube::api::Patch::Merge(&change)).await.unwrap();
        }
        let mut running = self.controllers.lock().await;
        running.clear();
        for name in BINARIES {
            // Tokens of an account that was removed meanwhile are worth nothing.
            let _ = std::fs::remove_file(self.api.directory().join(format!("kubeconfig-{NAMESPACE}-{name}")));
            running.push(launch.start(&self.api, name, 0).await.unwrap());
        }
    }

    /// Ends every controller without warning; nothing starts them again.
    pub(super) async fn kill_controllers(&self) {
        self.controllers.lock().await.clear();
    }

    /// Applies an object as a user would where webhooks answer: here none can be reached at the address of its Service, and Destinations are
    /// not admitted without.
    pub(super) async fn apply_as_user(&self, object: &Value) {
        let closed = self.open_webhooks().await;
        // The API server learns of it by its watch.
        let applied = eventually("the object is admitted", Duration::from_secs(60), || async {
            apply(&self.client, object).await.is_ok()
        });
        applied.await.unwrap();
        self.close_webhooks(closed).await;
    }

    /// Lets every webhook fail open, as if it answered; returns what it was before. The API server learns of it by its watch.
    pub(super) async fn open_webhooks(&self) -> Vec<Closed> {
        const VERSION: &str = "admissionregistration.k8s.io/v1";
        let mut closed = Vec::new();
        for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind));
            let hooks: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
            for configuration in list(&self.client, VERSION, kind).await.unwrap() {
                let before = configuration.data["webhooks"].clone();
                let mut open = before.clone();
                open.as_array_mut().unwrap().iter_mut().for_each(|hook| hook["failurePolicy"] = json!("Ignore"));
                let name = configuration.name_any();
                let change = Patch::Merge(json!({"webhooks": open}));
                hooks.patch(&name, &PatchParams::default(), &change).await.unwrap();
                closed.push((hooks.clone(), name, before));
            }
        }
        closed
    }

    /// Has webhooks fail as they did before.
    pub(super) async fn close_webhooks(&self, closed: Vec<Closed>) {
        for (hooks, name, before) in closed {
            let change = Patch::Merge(json!({"webhooks": before}));
            hooks.patch(&name, &PatchParams::default(), &change).await.unwrap();
        }
    }

    /// Sources and a Destination of a user; waits until the controllers have done everything that follows from them.
    pub(super) async fn use_the_product(&self) {
        for object in user_objects() {
            self.apply_as_user(&object).await;
        }
        eventually("pods carry their class and the gateway stands", Duration::from_secs(90), || async {
            let pods = list(&self.client, "v1", "Pod").await.unwrap();
            let marked = pods.iter().filter(|pod| pod.labels().contains_key(odigos_api::labels::STREAM_CLASS)).count();
            let gateway =
                get_object(&self.client, "apps/v1", "Deployment", NAMESPACE, odigos_api::names::GATEWAY).await;
            marked >= 2 && gateway.is_ok()
        })
        .await
        .unwrap();
    }

    /// Every object of the cluster as a user sees it: without status, and without what any write changes. Events fade by
    /// themselves; leases and addresses of the API server itself change all the time.
    pub(super) async fn snapshot(&self) -> BTreeMap<String, Value> {
        let discovery = Discovery::new(self.client.clone()).run().await.unwrap();
        let mut all = BTreeMap::new();
        for group in discovery.groups() {
            for (resource, capabilities) in group.recommended_resources() {
                let skipped = ["Event", "Lease", "Endpoints", "EndpointSlice"].contains(&resource.kind.as_str());
                if skipped || !capabilities.supports_operation(verbs::LIST) {
                    continue;
                }
                let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
                let Ok(found) = api.list(&ListParams::default()).await else { continue };
                for object in found {
                    let title =
                        format!("{} {}/{}", resource.kind, object.namespace().unwrap_or_default(), object.name_any());
                    all.insert(title, cleaned(object));
                }
            }
        }
        let leases = list(&self.client, "coordination.k8s.io/v1", "Lease").await.unwrap();
        for lease in leases.iter().filter(|lease| lease.namespace().as_deref() != Some("kube-system")) {
            all.insert(format!("Lease {}/{}", lease.namespace().unwrap_or_default(), lease.name_any()), json!({}));
        }
        all
    }

    /// Ends the test unless the cluster is as it was.
    pub(super) async fn is_as(&self, before: &BTreeMap<String, Value>) {
        // The API server takes the entry of a removed group away a moment later.
        let same = eventually("the cluster is as before", Duration::from_secs(90), || async {
            self.snapshot().await == *before
        });
        if same.await.is_err() {
            let after = self.snapshot().await;
            let mut differences = Vec::new();
            for title in before.keys().chain(after.keys()).collect::<std::collections::BTreeSet<_>>() {
                if before.get(title) != after.get(title) {
                    differences.push(format!(
                        "{title}\n  before {:?}\n  after  {:?}",
                        before.get(title),
                        after.get(title)
                    ));
                }
            }
            panic!("{}", differences.join("\n"));
        }
    }
}

/// Does what a kubelet does when a Deployment is deleted: its containers are told to end.
fn keep(client: Client, controllers: Arc<Mutex<Vec<Controller>>>) -> tokio::task::JoinHandle<()> {
    #[allow(clippy::disallowed_methods, reason = "a stand-in lives as long as its handle")]
    tokio::spawn(async move {
        loop {
            let mut running = controllers.lock().await;
            for position in (0..running.len()).rev() {
                let deployed = get_object(&client, "apps/v1", "Deployment", NAMESPACE, running[position].name).await;
                if deployed.is_err_and(|error| error.to_string().contains("not found")) {
                    running.remove(position).process.stop(Duration::from_secs(5));
                }
            }
            drop(running);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
}

fn cleaned(object: DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).unwrap();
    for key in ["managedFields", "resourceVersion", "generation"] {
        value["metadata"].as_object_mut().unwrap().remove(key);
    }
    value.as_object_mut().unwrap().remove("status");
    value
}

fn application(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": "none"}]}},
        },
    })
}

/// What a user writes: a Source that says nothing about being disabled, one that says false, one that says true.
pub(super) fn user_objects() -> Vec<Value> {
    let source = |name: &str, disabled: Option<bool>| {
        let mut object = json!({
            "apiVersion": odigos_api::API_VERSION, "kind": "Source",
            "metadata": {"name": name, "namespace": "shop", "labels": {"odigos.io/data-stream-team": "true"}},
            "spec": {"workload": {"name": name, "namespace": "shop", "kind": "Deployment"}},
        });
        if let Some(disabled) = disabled {
            object["spec"]["disableInstrumentation"] = json!(disabled);
        }
        object
    };
    vec![
        source("cart", None),
        source("web", Some(false)),
        source("absent", Some(true)),
        json!({
            "apiVersion": odigos_api::API_VERSION, "kind": "Destination",
            "metadata": {"name": "jaeger", "namespace": NAMESPACE},
            "spec": {
                "type": "jaeger", "destinationName": "Jaeger", "data": {"JAEGER_URL": "jaeger.tracing:4317"},
                "signals": ["TRACES"], "sourceSelector": {"dataStreams": ["team"]},
            },
        }),
    ]
}

/// Deletes an object; it is fine when there is none.
pub(super) async fn delete(client: &Client, api_version: &str, kind: &str, namespace: &str, name: &str) {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = kube::core::ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(group, version, kind));
    let api: Api<DynamicObject> = match namespace {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    let _ = api.delete(name, &DeleteParams::default()).await;
}
