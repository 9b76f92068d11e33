//! A stand-in for the kubelet whose containers do as the test says: run, crash with agents or without, or never become ready.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use odigos_api::labels::AGENTS_META_HASH;
use odigos_testkit::control_plane::apply;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How pods of an application do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// Well.
    #[default]
    Well,
    /// The container ends at once when it has an agent.
    CrashesWithAgent,
    /// It ends at once in any case.
    Crashes,
    /// The image of an init container cannot be pulled when there is an agent.
    NoImageWithAgent,
    /// It runs but is never ready with an agent.
    UnreadyWithAgent,
}

/// The behaviour of each application, by its label `app`.
pub type Behaviours = Arc<Mutex<BTreeMap<String, Behaviour>>>;

/// Cares for the pods of the only node, `local`, until it is dropped.
#[derive(Debug)]
pub struct Kubelet {
    task: tokio::task::JoinHandle<()>,
    behaviours: Behaviours,
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Kubelet {
    /// Registers the node and begins.
    pub async fn start(client: Client) -> Self {
        let labels = json!({"odigos.io/odiglet-oss-installed": "true"});
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "local", "labels": labels}, "spec": {"providerID": "local://1"}});
        apply(&client, &node).await.unwrap();
        let behaviours = Behaviours::default();
        let known = behaviours.clone();
        #[allow(clippy::disallowed_methods, reason = "a stand-in lives as long as its handle")]
        let task = tokio::spawn(async move {
            let pods: Api<Pod> = Api::all(client.clone());
            loop {
                for pod in pods.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
                    let app = pod.labels().get("app").cloned().unwrap_or_default();
                    let behaviour = known.lock().unwrap().get(&app).copied().unwrap_or_default();
                    let _ = care_for(&client, &pod, behaviour).await;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Self { task, behaviours }
    }

    /// From now on the pods of an application do so.
    pub fn let_it(&self, app: &str, behaviour: Behaviour) {
        self.behaviours.lock().unwrap().insert(app.to_owned(), behaviour);
    }
}

async fn care_for(client: &Client, pod: &Pod, behaviour: Behaviour) -> anyhow::Result<()> {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    if pod.metadata.deletion_timestamp.is_some() {
        api.delete(&name, &DeleteParams::default().grace_period(0)).await?;
        return Ok(());
    }
    let spec = pod.spec.clone().unwrap_or_default();
    if spec.node_name.is_none() {
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"kind": "Node", "name": "local"}});
        let uri = format!("/api/v1/namespaces/{namespace}/pods/{name}/binding");
        let request = tonic::codegen::http::Request::post(uri).header("content-type", "application/json");
        client.request_text(request.body(serde_json::to_vec(&binding)?)?).await?;
    }
    let has_agent = pod.labels().contains_key(AGENTS_META_HASH);
    let behaviour = match behaviour {
        Behaviour::Crashes => Behaviour::CrashesWithAgent,
        _ if !has_agent => Behaviour::Well,
        other => other,
    };
    let wanted = status(behaviour);
    let marker = format!("{behaviour:?}");
    let known = pod.status.as_ref().and_then(|status| status.message.clone());
    if known.as_deref() != Some(&marker) {
        let mut status = wanted;
        status["message"] = json!(marker);
        api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&json!({"status": status}))).await?;
    }
    Ok(())
}

/// The status that a kubelet writes of such a pod.
fn status(behaviour: Behaviour) -> Value {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let is_ready = behaviour == Behaviour::Well;
    let condition = |kind: &str, is_so: bool| json!({"type": kind, "status": if is_so { "True" } else { "False" }, "lastTransitionTime": now});
    let ended = json!({"exitCode": 1, "reason": "Error", "message": "Error: no main class found", "startedAt": now, "finishedAt": now});
    let (state, last, restarts) = match behaviour {
        Behaviour::CrashesWithAgent | Behaviour::Crashes => (
            json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}, "running": null}),
            json!({"terminated": ended}),
            3,
        ),
        Behaviour::NoImageWithAgent => {
            (json!({"waiting": {"reason": "PodInitializing"}, "running": null}), json!({}), 0)
        }
        Behaviour::Well | Behaviour::UnreadyWithAgent => {
            (json!({"running": {"startedAt": now}, "waiting": null}), json!({}), 0)
        }
    };
    let container = json!({
        "name": "app", "ready": is_ready, "started": is_ready, "restartCount": restarts, "image": "none", "imageID": "none",
        "state": state, "lastState": last,
    });
    let init = json!({
        "name": "odigos-agents", "ready": false, "restartCount": 0, "image": "registry/agents:1", "imageID": "", "lastState": {},
        "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"registry/agents:1\""}},
    });
    let inits = if behaviour == Behaviour::NoImageWithAgent { json!([init]) } else { json!([]) };
    json!({
        "phase": if behaviour == Behaviour::NoImageWithAgent { "Pending" } else { "Running" }, "hostIP": "127.0.0.1", "startTime": now,
        "conditions": [condition("Initialized", true), condition("PodScheduled", true), condition("ContainersReady", is_ready), condition("Ready", is_ready)],
        "initContainerStatuses": inits, "containerStatuses": [container],
    })
}
