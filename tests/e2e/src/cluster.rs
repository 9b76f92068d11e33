//! A cluster as stories see it: objects to apply and read, and questions to pods, all through the API server.

use anyhow::{Context, bail};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt};
use odigos_api::API_VERSION;
use odigos_api::labels::AGENTS_META_HASH;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::future::Future;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The cluster that KUBECONFIG names, with the product installed.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    /// Namespace of the control plane.
    pub namespace: String,
    /// Image of the actors.
    pub image: String,
    /// The script that made the cluster, where it can stop nodes and the API server; absent on other clusters.
    pub script: Option<PathBuf>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// Field manager of the stories.
const MANAGER: &str = "odigos-e2e";

fn resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

impl Cluster {
    /// Connects.
    ///
    /// # Errors
    /// When KUBECONFIG names no cluster.
    pub async fn connect() -> anyhow::Result<Self> {
        odigos_kit::client::install_crypto();
        let client = odigos_kit::client::connect(MANAGER).await?;
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Ok(Self {
            client,
            namespace: odigos_api::names::DEFAULT_NAMESPACE.to_owned(),
            image: variable("ODIGOS_E2E_IMAGE").context("ODIGOS_E2E_IMAGE names no image; run `cargo xtask e2e`")?,
            script: variable("ODIGOS_E2E_CLUSTER").map(PathBuf::from),
        })
    }

    fn api(&self, api_version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let resource = resource(api_version, kind);
        match namespace {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    fn api_of(&self, object: &Value) -> (Api<DynamicObject>, String) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let api = self.api(text("/apiVersion"), text("/kind"), text("/metadata/namespace"));
        (api, text("/metadata/name").to_owned())
    }

    /// Applies an object as `kubectl apply --server-side` does.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn apply(&self, object: &Value) -> anyhow::Result<()> {
        let (api, name) = self.api_of(object);
        let parameters = PatchParams::apply(MANAGER).force();
        api.patch(&name, &parameters, &Patch::Apply(object)).await.with_context(|| format!("applying {name}"))?;
        Ok(())
    }

    /// Changes some fields of an object.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn merge(&self, api_version: &str, kind: &str, key: (&str, &str), patch: &Value) -> anyhow::Result<()> {
        let api = self.api(api_version, kind, key.0);
        api.patch(key.1, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// What an object would be, were it created: admission runs, and nothing is stored.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn try_out(&self, object: &Value) -> anyhow::Result<Value> {
        let (api, name) = self.api_of(object);
        let parameters = PostParams { dry_run: true, ..PostParams::default() };
        let admitted = api.create(&parameters, &serde_json::from_value(object.clone())?).await;
        Ok(serde_json::to_value(admitted.with_context(|| format!("trying {name} out"))?)?)
    }

    /// Deletes an object; one that is not there is as good.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn delete(&self, api_version: &str, kind: &str, key: (&str, &str)) -> anyhow::Result<()> {
        match self.api(api_version, kind, key.0).delete(key.1, &DeleteParams::background()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes namespaces with all that is in them, and waits until they are gone.
    ///
    /// # Errors
    /// What the API server said, or that one stays.
    pub async fn delete_namespaces(&self, names: &[&str]) -> anyhow::Result<()> {
        for name in names {
            self.delete("v1", "Namespace", ("", name)).await?;
        }
        for name in names {
            eventually(&format!("namespace {name} is gone"), Duration::from_secs(180), || async {
                anyhow::ensure!(self.get("v1", "Namespace", ("", name)).await?.is_none(), "it is there");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Deletes a pod as a crash of its node would, without waiting for it.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn kill(&self, key: (&str, &str)) -> anyhow::Result<()> {
        self.api("v1", "Pod", key.0).delete(key.1, &DeleteParams::default().grace_period(0)).await?;
        Ok(())
    }

    /// One object, if it is there.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn get(&self, api_version: &str, kind: &str, key: (&str, &str)) -> anyhow::Result<Option<Value>> {
        let found = self.api(api_version, kind, key.0).get_opt(key.1).await?;
        Ok(found.map(serde_json::to_value).transpose()?)
    }

    /// The InstrumentationConfig of a Deployment.
    ///
    /// # Errors
    /// That there is none, or what the API server said.
    pub async fn config(&self, namespace: &str, deployment: &str) -> anyhow::Result<Value> {
        let name = format!("deployment-{deployment}");
        self.get(API_VERSION, "InstrumentationConfig", (namespace, &name)).await?.with_context(|| format!("no {name}"))
    }

    /// The objects of a kind, by labels.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        labels: &str,
    ) -> anyhow::Result<Vec<Value>> {
        let found = self.api(api_version, kind, namespace).list(&ListParams::default().labels(labels)).await?;
        let values = found.items.into_iter().map(|mut item| {
            item.managed_fields_mut().clear();
            serde_json::to_value(item)
        });
        Ok(values.collect::<Result<_, _>>()?)
    }

    /// Names of the pods that have these labels and are not going.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn pods(&self, namespace: &str, labels: &str) -> anyhow::Result<Vec<Pod>> {
        let pods = self.list("v1", "Pod", namespace, labels).await?;
        let living = pods.into_iter().filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_none());
        Ok(living.map(Pod).collect())
    }

    /// What a pod answers to `GET path` on the actors' port.
    ///
    /// # Errors
    /// When it does not answer, or not with that.
    pub async fn ask<T: DeserializeOwned>(&self, namespace: &str, pod: &str, path: &str) -> anyhow::Result<T> {
        self.ask_with(namespace, pod, path, &[]).await
    }

    /// The same, with headers.
    ///
    /// # Errors
    /// When it does not answer, or not with that.
    pub async fn ask_with<T: DeserializeOwned>(
        &self,
        namespace: &str,
        pod: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<T> {
        let url = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{}/proxy{path}", crate::actors::PORT);
        let request =
            headers.iter().fold(http::Request::get(url), |request, (name, value)| request.header(*name, *value));
        let request = request.body(Vec::new())?;
        let text = self.client.request_text(request).await.with_context(|| format!("asking {namespace}/{pod}"))?;
        serde_json::from_str(&text).with_context(|| format!("{namespace}/{pod} answers {text:.200}"))
    }

    /// Sends `POST path` to a pod.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn tell(&self, namespace: &str, pod: &str, path: &str) -> anyhow::Result<()> {
        let url = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{}/proxy{path}", crate::actors::PORT);
        self.client.request_text(http::Request::post(url).body(Vec::new())?).await?;
        Ok(())
    }

    /// What the API server answers to `GET path`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn raw(&self, path: &str) -> anyhow::Result<String> {
        Ok(self.client.request_text(http::Request::get(path).body(Vec::new())?).await?)
    }

    /// Waits until every pod of a Deployment, StatefulSet or DaemonSet is updated and ready.
    ///
    /// # Errors
    /// When that does not come within `limit`, with what it is waiting for.
    pub async fn rolled_out(&self, kind: &str, key: (&str, &str), limit: Duration) -> anyhow::Result<()> {
        eventually(&format!("{kind} {}/{} is rolled out", key.0, key.1), limit, || async {
            let Some(live) = self.get("apps/v1", kind, key).await? else { bail!("it does not exist") };
            let number = |pointer: &str| live.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
            if number("/status/observedGeneration") < number("/metadata/generation") {
                bail!("its newest form is not looked at yet");
            }
            let (wanted, counts) = match kind {
                "DaemonSet" => (
                    number("/status/desiredNumberScheduled"),
                    ["/status/updatedNumberScheduled", "/status/numberAvailable", "/status/currentNumberScheduled"],
                ),
                "StatefulSet" => {
                    (number("/spec/replicas"), ["/status/updatedReplicas", "/status/readyReplicas", "/status/replicas"])
                }
                _ => (
                    number("/spec/replicas"),
                    ["/status/updatedReplicas", "/status/availableReplicas", "/status/replicas"],
                ),
            };
            let counts = counts.map(number);
            if wanted == 0 || counts.iter().any(|count| *count != wanted) {
                bail!("{counts:?} of {wanted} are updated, available and there");
            }
            Ok(())
        })
        .await
    }

    /// Applies everything of a list.
    ///
    /// # Errors
    /// What the API server said of the first that it refused.
    pub async fn apply_all(&self, objects: impl IntoIterator<Item = Value>) -> anyhow::Result<()> {
        for object in objects {
            self.apply(&object).await?;
        }
        Ok(())
    }

    /// Asks the script that made the cluster, e.g. to stop a node; returns what it printed.
    ///
    /// # Errors
    /// When another cluster is used, or the script fails.
    pub async fn script(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let script = self.script.as_ref().context("only the cluster that `cargo xtask e2e` made can do that")?;
        let output = tokio::process::Command::new(script)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .await?;
        anyhow::ensure!(output.status.success(), "{} {arguments:?} ended with {}", script.display(), output.status);
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// One pod.
#[derive(Clone, Debug)]
pub struct Pod(pub Value);

impl Pod {
    fn text(&self, pointer: &str) -> String {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        self.text("/metadata/name")
    }

    /// Its node.
    #[must_use]
    pub fn node(&self) -> String {
        self.text("/spec/nodeName")
    }

    /// Its uid.
    #[must_use]
    pub fn uid(&self) -> String {
        self.text("/metadata/uid")
    }

    /// Whether it is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let conditions = self.0.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
        conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
    }

    /// Whether admission gave it agents.
    #[must_use]
    pub fn has_agent(&self) -> bool {
        let labels = self.0.pointer("/metadata/labels").and_then(Value::as_object);
        labels.is_some_and(|labels| labels.contains_key(AGENTS_META_HASH))
    }

    /// How often its containers were started anew.
    #[must_use]
    pub fn restarts(&self) -> i64 {
        let containers = self.0.pointer("/status/containerStatuses").and_then(Value::as_array).into_iter().flatten();
        containers.filter_map(|one| one["restartCount"].as_i64()).sum()
    }

    /// What says that it is the same pod with the same containers: uid and restarts.
    #[must_use]
    pub fn identity(&self) -> (String, String, i64) {
        (self.name(), self.uid(), self.restarts())
    }
}

/// A condition of an object; null when it has none of that kind.
#[must_use]
pub fn condition(object: &Value, kind: &str) -> Value {
    let all = object.pointer("/status/conditions").and_then(Value::as_array);
    all.into_iter().flatten().find(|one| one["type"] == kind).cloned().unwrap_or_default()
}

/// A reference to an object, to be completed or deleted.
#[must_use]
pub fn object(api_version: &str, kind: &str, namespace: &str, name: &str) -> Value {
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = json!(namespace);
    }
    object
}

/// How long something is kept away: minutes with `ODIGOS_E2E_LONG`, long enough to matter otherwise.
#[must_use]
pub fn outage(usual: Duration, long: Duration) -> Duration {
    if std::env::var_os("ODIGOS_E2E_LONG").is_some() { long } else { usual }
}

/// Tries until it succeeds, every 250 ms.
///
/// # Errors
/// When it does not within `limit`: what was waited for, and why it was not so.
pub async fn eventually<T, F>(what: &str, limit: Duration, attempt: impl Fn() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let begun = Instant::now();
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if begun.elapsed() > limit => {
                bail!("after {} s it is not so that {what}: {error:#}", limit.as_secs())
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(250)).await,
        }
    }
}
