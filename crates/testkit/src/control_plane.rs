//! The three controllers as local processes against a real API server, and stand-ins for what has no place here.
//!
//! A kubelet needs containers and privileges, so [`Kubelet`] only does what the controllers can see of one: it binds
//! pods to a node and says that they run. Everything else is real.

use crate::api_server::ApiServer;
use crate::http;
use crate::ports::free_port;
use crate::process::{Process, eventually};
use anyhow::Context;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt};
use odigos_api::names;
use odigos_tools::root;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Namespace of the control plane in tests and demonstrations.
pub const NAMESPACE: &str = names::DEFAULT_NAMESPACE;

/// The three binaries.
pub const BINARIES: [&str; 3] = [names::INSTRUMENTOR, names::SCHEDULER, names::AUTOSCALER];

/// One running controller.
#[derive(Debug)]
pub struct Controller {
    /// Its process.
    pub process: Process,
    /// Name of its binary.
    pub name: &'static str,
    admin_port: u16,
}

/// How controllers are started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Folder of the binaries.
    pub binaries: PathBuf,
    /// Port of the admission webhooks of the first instrumentor.
    pub webhook_port: u16,
    /// Seconds after which a leader that is gone is replaced.
    pub lease_seconds: u64,
}

impl Launch {
    /// Starts one controller, with the permissions that the chart gives it, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready, with its last output.
    pub async fn start(&self, api: &ApiServer, name: &'static str, replica: usize) -> anyhow::Result<Controller> {
        self.start_with(api, name, replica, &[]).await
    }

    /// The same with further arguments.
    ///
    /// # Errors
    /// When it does not become ready, with its last output.
    pub async fn start_with(
        &self,
        api: &ApiServer,
        name: &'static str,
        replica: usize,
        further: &[String],
    ) -> anyhow::Result<Controller> {
        let admin_port = free_port()?;
        let webhook_port = if replica == 0 { self.webhook_port } else { free_port()? };
        let mut command = Command::new(self.binaries.join(name));
        command
            .env("KUBECONFIG", api.kubeconfig_of(NAMESPACE, name).await?)
            .env("HOSTNAME", format!("{name}-{replica}"))
            .arg(format!("--admin-address=127.0.0.1:{admin_port}"))
            .arg(format!("--lease-seconds={}", self.lease_seconds))
            .args(further);
        if name == names::INSTRUMENTOR {
            command.arg(format!("--webhook-address=127.0.0.1:{webhook_port}")).arg("--webhook-names=127.0.0.1");
        }
        if name == names::SCHEDULER {
            // Retired classes shall leave while a test looks on.
            command.arg("--class-drain-seconds=3");
        }
        let log = api.directory().join(format!("{name}-{replica}.log"));
        let mut process = Process::start(name, &mut command, &log)?;
        let what = format!("{name} is ready");
        let ready = eventually(&what, Duration::from_secs(90), || async move {
            http::get(admin_port, "/readyz", None).await.is_some()
        });
        if let Err(error) = ready.await {
            let running = process.is_running();
            return Err(error.context(format!("{} (running: {running})", process.tail())));
        }
        Ok(Controller { process, name, admin_port })
    }
}

impl Controller {
    /// Its metrics as text.
    pub async fn metrics(&self) -> String {
        http::get(self.admin_port, "/metrics", None).await.unwrap_or_default()
    }
}

/// Where a kind is served.
fn resource(object: &Value) -> (ApiResource, String, String) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind) = (text("/apiVersion"), text("/kind"));
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    (
        ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind)),
        text("/metadata/namespace"),
        text("/metadata/name"),
    )
}

/// Applies an object as a user would with `kubectl apply`.
///
/// # Errors
/// What the API server said.
pub async fn apply(client: &Client, object: &Value) -> anyhow::Result<DynamicObject> {
    apply_with(client, object, &PatchParams::apply("user").force()).await
}

/// A Deployment of pods that run nothing.
#[must_use]
pub fn deployment(namespace: &str, name: &str, replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": "none"}]}},
        },
    })
}

/// The same without storing anything: admission looks at it, and that is all.
///
/// # Errors
/// What the API server said.
pub async fn try_out(client: &Client, object: &Value) -> anyhow::Result<DynamicObject> {
    apply_with(client, object, &PatchParams::apply("user").force().dry_run()).await
}

async fn apply_with(client: &Client, object: &Value, parameters: &PatchParams) -> anyhow::Result<DynamicObject> {
    let (resource, namespace, name) = resource(object);
    let api: Api<DynamicObject> = match namespace.as_str() {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    // A webhook that fails closed is trusted by the API server a moment after its server is ready.
    let until = tokio::time::Instant::now() + WEBHOOK_PATIENCE;
    loop {
        let applied = api.patch(&name, parameters, &Patch::Apply(object)).await;
        let is_early = |error: &kube::Error| error.to_string().contains("failed calling webhook");
        match applied {
            Err(error) if is_early(&error) && tokio::time::Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            applied => {
                return applied.with_context(|| format!("{} {namespace}/{name} is refused", resource.kind));
            }
        }
    }
}

/// How long an object waits for a webhook that does not answer yet.
const WEBHOOK_PATIENCE: Duration = Duration::from_secs(15);

/// All objects of a kind.
///
/// # Errors
/// What the API server said.
pub async fn list(client: &Client, api_version: &str, kind: &str) -> anyhow::Result<Vec<DynamicObject>> {
    let (resource, ..) = resource(&json!({"apiVersion": api_version, "kind": kind}));
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    Ok(api.list(&ListParams::default()).await?.items)
}

/// One object.
///
/// # Errors
/// What the API server said, or that it does not exist.
pub async fn get_object(
    client: &Client,
    api_version: &str,
    kind: &str,
    namespace: &str,
    name: &str,
) -> anyhow::Result<DynamicObject> {
    let (resource, ..) = resource(&json!({"apiVersion": api_version, "kind": kind}));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    Ok(api.get(name).await?)
}

/// Applies every manifest of a file or folder below the root of the repository, except those that `adapt` turns into null.
///
/// # Errors
/// When a manifest cannot be read or is refused.
pub async fn apply_files(client: &Client, path: &str, adapt: impl Fn(&mut Value)) -> anyhow::Result<()> {
    let path = root().join(path);
    let mut files = vec![path.clone()];
    if path.is_dir() {
        files = std::fs::read_dir(&path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
        // What is optional stands in folders of its own.
        files.retain(|file| file.is_file());
        files.sort();
    }
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        apply_text(client, &text, &adapt).await?;
    }
    Ok(())
}

/// The same with the manifests of one text.
async fn apply_text(client: &Client, text: &str, adapt: &impl Fn(&mut Value)) -> anyhow::Result<()> {
    for document in serde_yaml::Deserializer::from_str(text) {
        let mut object: Value = serde::Deserialize::deserialize(document)?;
        if object.is_null() {
            continue;
        }
        adapt(&mut object);
        if object.is_null() {
            continue;
        }
        apply(client, &object).await?;
    }
    Ok(())
}

/// Adds what the chart brings for the custom metrics API, with an autoscaler on this machine in place of the Service's pods.
///
/// # Errors
/// When something is refused.
pub async fn install_custom_metrics(client: &Client, port: u16) -> anyhow::Result<()> {
    const KINDS: [&str; 6] = ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Service", "APIService"];
    let rendered = crate::chart::render(NAMESPACE, &["customMetrics.enabled=true"])?;
    let adapt = |object: &mut Value| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        match object["kind"].as_str() {
            Some("Service") if name != names::AUTOSCALER => *object = Value::Null,
            Some("Service") => object["spec"] = json!({"type": "ExternalName", "externalName": "127.0.0.1"}),
            // The API server goes to the port that stands here.
            Some("APIService") => object["spec"]["service"]["port"] = json!(port),
            Some(kind) if KINDS.contains(&kind) => {}
            _ => *object = Value::Null,
        }
    };
    apply_text(client, &rendered, &adapt).await
}

/// Installs what the chart installs beside pods: accounts, permissions and webhooks, with loopback addresses in place of
/// the Service. The controllers run here as processes, so their Deployments are left out.
///
/// # Errors
/// When something is refused.
pub async fn install(client: &Client, port: u16) -> anyhow::Result<()> {
    const KINDS: [&str; 11] = [
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "Namespace",
        "Secret",
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "Role",
        "RoleBinding",
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
    ];
    apply_files(client, "deploy/manifests/odigos.yaml", |object| {
        if !object["kind"].as_str().is_some_and(|kind| KINDS.contains(&kind)) {
            *object = Value::Null;
            return;
        }
        for hook in object.get_mut("webhooks").and_then(Value::as_array_mut).into_iter().flatten() {
            let path =
                hook.pointer("/clientConfig/service/path").and_then(Value::as_str).unwrap_or_default().to_owned();
            hook["clientConfig"] = json!({"url": format!("https://127.0.0.1:{port}{path}")});
        }
    })
    .await
}

/// Creates a namespace.
///
/// # Errors
/// What the API server said.
pub async fn create_namespace(client: &Client, name: &str) -> anyhow::Result<()> {
    apply(client, &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await.map(drop)
}

/// Stands in for the kubelet of one node, `local`.
#[derive(Debug)]
pub struct Kubelet {
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Kubelet {
    /// Registers the node and takes care of pods from now on; `delay` is how long a pod needs to become ready.
    ///
    /// # Errors
    /// When the node is refused.
    pub async fn start(client: Client, delay: Duration) -> anyhow::Result<Self> {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "local"}, "spec": {"providerID": "local://1"}});
        apply(&client, &node).await?;
        #[allow(clippy::disallowed_methods, reason = "a stand-in lives as long as its handle")]
        let task = tokio::spawn(async move {
            let mut seen: std::collections::BTreeMap<String, std::time::Instant> = std::collections::BTreeMap::new();
            loop {
                for pod in list(&client, "v1", "Pod").await.unwrap_or_default() {
                    let uid = pod.uid().unwrap_or_default();
                    let first = *seen.entry(uid).or_insert_with(std::time::Instant::now);
                    let _ = care_for(&client, &pod, first.elapsed() >= delay).await;
                }
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
        });
        Ok(Self { task })
    }
}

/// The address of a pod: one of the loopback network, so that a sender on this machine can have it.
#[must_use]
pub fn pod_address(uid: &str) -> std::net::IpAddr {
    let digest = <sha2::Sha256 as sha2::Digest>::digest(uid.as_bytes());
    // Never 127.0.0.1, which is the node's own.
    std::net::Ipv4Addr::new(127, 1 + digest[0] % 250, digest[1], 1 + digest[2] % 250).into()
}

/// Binds a pod, then says that it runs; lets a deleted one go.
async fn care_for(client: &Client, pod: &DynamicObject, ready: bool) -> anyhow::Result<()> {
    let namespace = pod.namespace().unwrap_or_default();
    let name = pod.name_any();
    let api: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client.clone(), &namespace);
    if pod.metadata.deletion_timestamp.is_some() {
        api.delete(&name, &kube::api::DeleteParams::default().grace_period(0)).await?;
        return Ok(());
    }
    if pod.data.pointer("/spec/nodeName").is_none() {
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"kind": "Node", "name": "local"}});
        let uri = format!("/api/v1/namespaces/{namespace}/pods/{name}/binding");
        let request = tonic::codegen::http::Request::post(uri)
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&binding)?)?;
        client.request_text(request).await?;
    }
    let running = pod.data.pointer("/status/phase").and_then(Value::as_str) == Some("Running");
    if ready && !running {
        let containers = pod.data.pointer("/spec/containers").and_then(Value::as_array).cloned().unwrap_or_default();
        let statuses: Vec<Value> = containers
            .iter()
            .map(|container| json!({"name": container["name"], "ready": true, "started": true, "restartCount": 0, "image": "none", "imageID": "none", "state": {"running": {}}}))
            .collect();
        let address = pod_address(&pod.uid().unwrap_or_default()).to_string();
        let now = k8s_openapi::jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now});
        let status = json!({"status": {
            "phase": "Running", "hostIP": "127.0.0.1", "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [condition("Initialized"), condition("Ready"), condition("ContainersReady"), condition("PodScheduled")],
            "containerStatuses": statuses,
        }});
        api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await?;
    }
    Ok(())
}
