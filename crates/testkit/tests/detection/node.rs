//! A node with made-up processes and a real agent, and pods on it.

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use odigos_api::labels::STREAM_CLASS;
use odigos_api::names;
use odigos_testkit::api_server::ApiServer;
use odigos_testkit::binaries;
use odigos_testkit::control_plane::{self, NAMESPACE, apply, create_namespace};
use odigos_testkit::http;
use odigos_testkit::ports::free_port;
use odigos_testkit::process::{Process, eventually};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// The agent's binary.
pub fn binary() -> PathBuf {
    binaries::built().unwrap().join(names::AGENT)
}

/// A node: its made-up `/proc` and its agent.
pub struct Node {
    pub folder: TempDir,
    pub name: &'static str,
    pub agent: Option<Process>,
    pub admin_port: u16,
    /// Further arguments of the agent.
    pub arguments: Vec<String>,
}

impl Node {
    pub fn new(name: &'static str) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("proc")).unwrap();
        Self { folder, name, agent: None, admin_port: free_port().unwrap(), arguments: Vec::new() }
    }

    /// Starts the agent with the permissions that the chart gives it.
    pub async fn start(&mut self, api: &ApiServer, binary: &Path) {
        let path = self.folder.path();
        let token = self.token(api).await;
        let mut command = Command::new(binary);
        command
            .env("KUBECONFIG", token)
            .arg(format!("--node={}", self.name))
            .arg(format!("--admin-address=127.0.0.1:{}", self.admin_port))
            .arg(format!("--proc={}", path.join("proc").display()))
            .arg(format!("--agents={}", path.join("image").display()))
            .arg(format!("--agents-target={}", path.join("odigos").display()))
            .arg(format!("--log-links={}", path.join("links").display()))
            .arg(format!("--pod-logs={}", path.join("pods").display()))
            .args(&self.arguments);
        self.agent = None;
        self.agent = Some(Process::start(self.name, &mut command, &path.join("agent.log")).unwrap());
        let port = self.admin_port;
        let ready = eventually("the agent is ready", Duration::from_secs(90), || async move {
            http::get(port, "/readyz", None).await.is_some()
        });
        if let Err(error) = ready.await {
            panic!("{error}\n{}", self.agent.as_ref().unwrap().tail());
        }
    }

    /// The token of the agent's pod, which names the node.
    async fn token(&self, api: &ApiServer) -> PathBuf {
        let client = api.client().await.unwrap();
        let pod = format!("agent-on-{}", self.name);
        let spec = json!({
            "nodeName": self.name, "serviceAccountName": names::AGENT_SERVICE, "containers": [{"name": "agent", "image": "none"}],
        });
        let object =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod, "namespace": NAMESPACE}, "spec": spec});
        apply(&client, &object).await.unwrap();
        api.kubeconfig_in_pod(NAMESPACE, names::AGENT_SERVICE, &pod).await.unwrap()
    }

    /// Writes of the agent to the API server, by what came of them.
    pub async fn writes(&self) -> u64 {
        let text = http::get(self.admin_port, "/metrics", None).await.unwrap_or_default();
        let lines = text.lines().filter(|line| line.starts_with("odigos_api_writes_total"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// A process of a container; every text as `/proc` shows it.
    pub fn process(&self, pid: u32, pod: &str, container: &str, executable: &str, environment: &[&str]) {
        let folder = self.folder.path().join("proc").join(pid.to_string());
        std::fs::create_dir_all(folder.join("fd")).unwrap();
        std::fs::create_dir_all(folder.join("root")).unwrap();
        let write = |name: &str, text: &[u8]| std::fs::write(folder.join(name), text).unwrap();
        let slice = pod.replace('-', "_");
        let group = format!(
            "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{slice}.slice/cri-containerd-{container}.scope\n"
        );
        write("cgroup", group.as_bytes());
        write(
            "status",
            format!("State:\tS (sleeping)\nPid:\t{pid}\nPPid:\t1\nUid:\t0\t0\t0\t0\nNSpid:\t{pid}\t1\n").as_bytes(),
        );
        write("stat", format!("{pid} (x) S 1 1 1 0 -1 4194560 1 0 0 0 1 2 3 4 20 0 1 0 {pid} 1 2").as_bytes());
        write("comm", b"x\n");
        write("cmdline", format!("{executable}\0").as_bytes());
        let environment: String = environment.iter().map(|one| format!("{one}\0")).collect();
        write("environ", environment.as_bytes());
        write("maps", b"7f00-7f01 r--p 00000000 fe:00 9 /usr/lib/x86_64-linux-gnu/libc.so.6\n");
        let auxv = [(6u64, 4096u64), (23, 0), (0, 0)];
        write("auxv", &auxv.iter().flat_map(|(a, b)| [a.to_ne_bytes(), b.to_ne_bytes()].concat()).collect::<Vec<u8>>());
        symlink(executable, folder.join("exe")).unwrap();
    }
}

/// Ends a made-up process.
pub fn end(node: &Node, pid: u32) {
    std::fs::remove_dir_all(node.folder.path().join("proc").join(pid.to_string())).unwrap();
}

/// Number of a container, as container runtimes give it.
pub fn id(seed: u32) -> String {
    format!("{seed:064x}")
}

pub fn api_of(client: &Client, kind: &str, version: &str) -> Api<DynamicObject> {
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    Api::namespaced_with(client.clone(), "shop", &ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind)))
}

/// A covered pod of the Deployment `web`, bound to a node; returns its uid.
pub async fn pod(client: &Client, name: &str, node: &str, containers: &[&str]) -> String {
    pod_of(client, "web", name, node, containers).await
}

/// The same of another Deployment, whose name the pod's begins with.
pub async fn pod_of(client: &Client, deployment: &str, name: &str, node: &str, containers: &[&str]) -> String {
    let hash = name.trim_start_matches(deployment).split('-').nth(1).unwrap();
    let containers: Vec<Value> = containers
        .iter()
        .map(|name| json!({"name": name, "image": "none", "env": [{"name": "PYTHONPATH", "value": "/stated"}]}))
        .collect();
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": "shop", "name": name, "labels": {STREAM_CLASS: "default", "pod-template-hash": hash},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{deployment}-{hash}"), "uid": "r-1", "controller": true}],
        },
        "spec": {"nodeName": node, "containers": containers, "terminationGracePeriodSeconds": 0},
    });
    apply(client, &object).await.unwrap().metadata.uid.unwrap()
}

/// What a kubelet says when all containers are ready. Each is name, number and image.
pub async fn is_ready(client: &Client, name: &str, containers: &[(&str, String, &str)]) {
    let statuses: Vec<Value> = containers
        .iter()
        .map(|(name, id, image)| {
            json!({
                "name": name, "ready": true, "started": true, "restartCount": 0, "image": "none", "imageID": image,
                "containerID": format!("containerd://{id}"), "state": {"running": {}},
            })
        })
        .collect();
    let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let status = json!({"status": {"phase": "Running", "conditions": ready, "containerStatuses": statuses}});
    let api = api_of(client, "Pod", "v1");
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
}

pub async fn start() -> (ApiServer, Client) {
    let api = ApiServer::start().await.unwrap();
    let client = api.client().await.unwrap();
    create_namespace(&client, NAMESPACE).await.unwrap();
    create_namespace(&client, "shop").await.unwrap();
    control_plane::install(&client, free_port().unwrap()).await.unwrap();
    // Pods are made here by hand; nothing shall wait for a webhook that does not run.
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind));
        let all: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        all.delete_collection(&Default::default(), &Default::default()).await.unwrap();
    }
    (api, client)
}
