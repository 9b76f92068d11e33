//! What every persona meets: an API server with the chart's objects, the three controllers, a covered shop, and another team's Destination.
//!
//! Owns the start of all that, and accounts with few permissions. Never attacks anything itself.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use odigos_api::{API_VERSION, labels, names};
use odigos_testkit::api_server::ApiServer;
use odigos_testkit::binaries;
use odigos_testkit::control_plane::{self, Controller, Kubelet, Launch, NAMESPACE, apply, get_object, list};
use odigos_testkit::ports::free_port;
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::time::Duration;

/// Everything settles within this time on a busy machine of two cores.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// One control plane at a time: the machine has two cores.
pub(crate) static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Password of the other team's Destination `payments-vault`.
pub(crate) const PASSWORD: &str = "hunter2";

/// A client of a new account that holds a ClusterRole of the chart in the namespace of the control plane; with no name of one, none.
pub(crate) async fn bound(api: &ApiServer, admin: &Client, name: &str, role: &str) -> Client {
    let name = name.trim_end_matches('-');
    let metadata = json!({"name": name, "namespace": NAMESPACE});
    apply(admin, &json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})).await.unwrap();
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}],
    });
    if !role.is_empty() {
        apply(admin, &binding).await.unwrap();
    }
    api.client_as(NAMESPACE, name).await.unwrap()
}

pub(crate) struct Plane {
    /// With all permissions.
    pub(crate) client: Client,
    pub(crate) api: ApiServer,
    /// Where the instrumentor's webhooks listen, on loopback.
    pub(crate) webhook_port: u16,
    controllers: Vec<Controller>,
    _kubelet: Kubelet,
}

impl Plane {
    /// Starts everything, and waits until both collectors are configured.
    pub(crate) async fn start() -> Self {
        let mut api = ApiServer::start().await.unwrap();
        api.start_controller_manager().unwrap();
        let client = api.client().await.unwrap();
        control_plane::create_namespace(&client, NAMESPACE).await.unwrap();
        let kubelet = Kubelet::start(client.clone(), Duration::ZERO).await.unwrap();
        let launch =
            Launch { binaries: binaries::built().unwrap(), webhook_port: free_port().unwrap(), lease_seconds: 9 };
        control_plane::install(&client, launch.webhook_port).await.unwrap();
        let webhook_port = launch.webhook_port;
        let mut plane = Self { client, api, webhook_port, controllers: Vec::new(), _kubelet: kubelet };
        for name in control_plane::BINARIES {
            plane.controllers.push(launch.start(&plane.api, name, 0).await.unwrap());
        }
        plane.fill().await;
        plane
    }

    /// What others have: a workload that is covered, and a Destination with a password.
    async fn fill(&self) {
        control_plane::create_namespace(&self.client, "shop").await.unwrap();
        let pod = json!({"metadata": {"labels": {"app": "cart"}}, "spec": {"containers": [{"name": "app", "image": "none"}]}});
        let objects = [
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "cart", "namespace": "shop"},
                "spec": {"selector": {"matchLabels": {"app": "cart"}}, "template": pod},
            }),
            json!({
                "apiVersion": API_VERSION, "kind": "Source", "metadata": {"name": "all", "namespace": "shop"},
                "spec": {"workload": {"name": "shop", "namespace": "shop", "kind": "Namespace"}},
            }),
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "payments-vault", "namespace": NAMESPACE},
                "stringData": {"OTLP_HTTP_BASIC_AUTH_PASSWORD": PASSWORD},
            }),
            json!({
                "apiVersion": API_VERSION, "kind": "Destination", "metadata": {"name": "payments-vault", "namespace": NAMESPACE},
                "spec": {
                    "type": "otlphttp", "destinationName": "vault", "signals": ["TRACES", "METRICS", "LOGS"],
                    "data": {"OTLP_HTTP_ENDPOINT": "http://vault.payments:4318", "OTLP_HTTP_BASIC_AUTH_USERNAME": "auditor"},
                    "secretRef": {"name": "payments-vault"},
                },
            }),
        ];
        for object in &objects {
            apply(&self.client, object).await.unwrap();
        }
        self.configuration(names::GATEWAY, "payments-vault").await;
        self.configuration(names::NODE_COLLECTOR, "k8s_attributes").await;
    }

    /// A client of a new account that may do `verbs` with one kind in the namespace of the control plane, and nothing else.
    pub(crate) async fn persona(&self, name: &str, resource: &str, verbs: &[&str]) -> Client {
        let metadata = json!({"name": name, "namespace": NAMESPACE});
        let objects = [
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata,
                "rules": [{"apiGroups": ["odigos.io"], "resources": [resource], "verbs": verbs}],
            }),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}],
            }),
        ];
        for object in &objects {
            apply(&self.client, object).await.unwrap();
        }
        self.api.client_as(NAMESPACE, name).await.unwrap()
    }

    /// Writes the product's configuration.
    pub(crate) async fn configure(&self, text: &str) {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names::CONFIGURATION, "namespace": NAMESPACE},
            "data": {names::CONFIGURATION_KEY: text},
        });
        apply(&self.client, &object).await.unwrap();
    }

    /// Ends a controller.
    pub(crate) fn stop(&mut self, name: &str) {
        let position = self.controllers.iter().position(|one| one.name == name).unwrap();
        self.controllers.remove(position).process.kill();
    }

    /// The newest configuration of a collector that holds a text, as soon as there is one.
    pub(crate) async fn configuration(&self, group: &str, text: &str) -> String {
        let found = || async {
            let maps = list(&self.client, "v1", "ConfigMap").await.unwrap_or_default();
            let mut maps: Vec<_> = maps
                .into_iter()
                .filter(|map| map.labels().get(labels::CONFIG_OF).map(String::as_str) == Some(group))
                .collect();
            maps.sort_by_key(|map| map.creation_timestamp());
            let texts =
                maps.iter().rev().filter_map(|map| map.data.get("data")?.as_object()?.values().next()?.as_str());
            texts.map(str::to_owned).find(|one| one.contains(text))
        };
        let what = format!("{group} is configured with {text}");
        let came = eventually(&what, LIMIT, || async { found().await.is_some() }).await;
        if let Err(error) = came {
            let tails: Vec<String> = self.controllers.iter().map(|one| one.process.tail()).collect();
            panic!("{error}\n{}", tails.join("\n"));
        }
        found().await.unwrap()
    }

    /// Gateways whose configuration holds a text end with a message, as the kubelet would report it.
    pub(crate) async fn gateways_fail(&self, text: &str, message: &str) {
        let ended = json!({"exitCode": 1, "reason": "Error", "message": message});
        let state = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        self.gateways_end(text, &json!({"state": state, "lastState": {"terminated": ended}})).await;
    }

    /// The kernel ends gateways whose configuration holds a text for their memory, again and again, before any was ready.
    pub(crate) async fn gateways_run_out_of_memory(&self, text: &str) {
        let now = k8s_openapi::jiff::Timestamp::now().as_second();
        let ended = |seconds: i64| {
            let end = k8s_openapi::jiff::Timestamp::from_second(now - seconds).unwrap();
            json!({"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": end.to_string()}})
        };
        self.gateways_end(text, &json!({"state": ended(0), "lastState": ended(20)})).await;
    }

    async fn gateways_end(&self, text: &str, states: &Value) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), NAMESPACE);
        let selector = ListParams::default().labels("odigos.io/collector-role=CLUSTER_GATEWAY");
        let failed = eventually("a gateway with that configuration runs", LIMIT, || async {
            for pod in pods.list(&selector).await.map(|list| list.items).unwrap_or_default() {
                let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.clone()).unwrap_or_default();
                let Some(config) = volumes.into_iter().find(|one| one.name == "config") else { continue };
                let sources = config.projected.and_then(|projected| projected.sources).unwrap_or_default();
                let parts = sources.into_iter().filter_map(|one| one.config_map).map(|map| map.name);
                let mut data = Vec::new();
                for name in config.config_map.map(|map| map.name).into_iter().chain(parts) {
                    let map = maps.get_opt(&name).await.ok().flatten();
                    data.extend(map.and_then(|map| map.data).unwrap_or_default().into_values());
                }
                let is_running = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
                if !is_running || !data.iter().any(|one| one.contains(text)) {
                    continue;
                }
                // As a kubelet writes it of a pod that was never ready.
                let began =
                    k8s_openapi::jiff::Timestamp::from_second(k8s_openapi::jiff::Timestamp::now().as_second() - 60);
                let began = began.unwrap().to_string();
                let condition = |kind: &str| json!({"type": kind, "status": "False", "lastTransitionTime": began});
                let mut container =
                    json!({"name": "gateway", "ready": false, "restartCount": 2, "image": "none", "imageID": "none"});
                container.as_object_mut().unwrap().extend(states.as_object().unwrap().clone());
                let status = json!({"status": {
                    "startTime": began, "conditions": [condition("Ready"), condition("ContainersReady")],
                    "containerStatuses": [container],
                }});
                let patch = Patch::Merge(&status);
                return pods.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await.is_ok();
            }
            false
        });
        failed.await.unwrap();
    }

    /// `Status/Reason` of a condition of an object of the control plane, and its message; empty while it has none.
    pub(crate) async fn condition(&self, kind: &str, name: &str, condition: &str) -> (String, String) {
        let Ok(found) = get_object(&self.client, API_VERSION, kind, NAMESPACE, name).await else {
            return Default::default();
        };
        let conditions =
            found.data.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
        let found = conditions.iter().find(|one| one["type"] == condition);
        found
            .map(|one| (format!("{}/{}", text(one, "status"), text(one, "reason")), text(one, "message")))
            .unwrap_or_default()
    }

    /// Waits for a condition whose status and reason begin like this; returns its message.
    pub(crate) async fn comes_to_say(&self, kind: &str, name: &str, condition: &str, expected: &str) -> String {
        let is_said = || async { self.condition(kind, name, condition).await.0.starts_with(expected) };
        let came = eventually(&format!("{kind} {name} is {expected}"), LIMIT, is_said).await;
        let found = self.condition(kind, name, condition).await;
        assert!(came.is_ok(), "{kind} {name}: {found:?} instead of {expected}");
        found.1
    }

    /// The controllers requested nothing that the chart does not permit.
    pub(crate) fn permissions_suffice(&self) {
        for (agent, did) in self.api.audited().iter().filter(|(agent, _)| agent.starts_with("odigos")) {
            assert!(did.forbidden.is_empty(), "{agent} may not {:?}", did.forbidden);
        }
    }
}
