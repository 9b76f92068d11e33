//! The current cluster as a world: what `plan` and `describe` start from.

use crate::{Failure, output};
use anyhow::Context;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Config};
use odigos_plan::world::World;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Kinds that planning reads, by apiVersion, kind and plural.
const KINDS: [(&str, &str, &str); 18] = [
    ("v1", "Namespace", "namespaces"),
    ("apps/v1", "Deployment", "deployments"),
    ("apps/v1", "StatefulSet", "statefulsets"),
    ("apps/v1", "DaemonSet", "daemonsets"),
    ("batch/v1", "CronJob", "cronjobs"),
    ("argoproj.io/v1alpha1", "Rollout", "rollouts"),
    ("apps.openshift.io/v1", "DeploymentConfig", "deploymentconfigs"),
    ("v1", "Pod", "pods"),
    ("odigos.io/v1alpha1", "Source", "sources"),
    ("odigos.io/v1alpha1", "Destination", "destinations"),
    ("odigos.io/v1alpha1", "DataStream", "datastreams"),
    ("odigos.io/v1alpha1", "CollectorsGroup", "collectorsgroups"),
    ("odigos.io/v1alpha1", "InstrumentationConfig", "instrumentationconfigs"),
    ("odigos.io/v1alpha1", "Processor", "processors"),
    ("odigos.io/v1alpha1", "Sampling", "samplings"),
    ("odigos.io/v1alpha1", "Action", "actions"),
    ("odigos.io/v1alpha1", "InstrumentationRule", "instrumentationrules"),
    ("v1", "ConfigMap", "configmaps"),
];

/// Objects a page.
const PAGE: u32 = 500;

/// Runs a command that talks to a cluster.
pub(crate) fn block_on(command: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(command)
}

/// A client for the current context.
pub(crate) async fn client() -> anyhow::Result<Client> {
    let config = Config::infer().await.context("no cluster is configured; set KUBECONFIG or use a context")?;
    Client::try_from(config).context("the client cannot be made")
}

/// Every object that planning reads, and the live objects that the control plane writes.
pub(crate) async fn world(client: &Client, namespace: &str) -> anyhow::Result<World> {
    let mut world = World::new(namespace);
    world.is_of_cluster = true;
    for (api_version, kind, plural) in KINDS {
        let in_namespace = kind == "ConfigMap";
        for object in list(client, api_version, kind, plural, in_namespace.then_some(namespace)).await? {
            // A live object has its shape, unless it was stored under an older schema.
            if let Err(finding) = world.insert(object) {
                output::findings(&[finding]);
            }
        }
    }
    for name in world
        .destinations
        .values()
        .filter_map(|one| one.spec.secret_ref.clone())
        .map(|one| one.name)
        .collect::<std::collections::BTreeSet<_>>()
    {
        let api: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), namespace, &resource("v1", "Secret", "secrets"));
        if let Some(secret) = api.get_opt(&name).await.context("failed to read Secrets of the control plane")? {
            // Reading it as a manifest keeps names and digests of the keys and drops the values.
            let mut object = serde_json::to_value(secret)?;
            object["apiVersion"] = json!("v1");
            object["kind"] = json!("Secret");
            if let Err(finding) = world.insert(object) {
                output::findings(&[finding]);
            }
        }
    }
    // Rollouts may refer to templates of kinds that nothing else reads.
    for (namespace, reference) in world.missing_templates() {
        let Some(version) = reference.api_version() else { continue };
        let object = json!({"apiVersion": version, "kind": reference.kind, "metadata": {"name": reference.name, "namespace": namespace}});
        if let Some(mut found) = get(client, &object).await? {
            (found["apiVersion"], found["kind"]) = (object["apiVersion"].clone(), object["kind"].clone());
            let _ = world.insert(found);
        }
    }
    Ok(world)
}

/// A live object, if it exists and its kind is served.
pub(crate) async fn get(client: &Client, object: &Value) -> anyhow::Result<Option<Value>> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind) = (text("/apiVersion"), text("/kind"));
    let plural = format!("{}s", kind.to_lowercase());
    let resource = resource(&api_version, &kind, &plural);
    let api: Api<DynamicObject> = match text("/metadata/namespace").as_str() {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    match api.get_opt(&text("/metadata/name")).await {
        Ok(found) => Ok(found.map(serde_json::to_value).transpose()?),
        Err(error) => Err(error).with_context(|| format!("failed to read {kind}")),
    }
}

fn resource(api_version: &str, kind: &str, plural: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// All objects of a kind, page by page; none when the cluster does not serve it.
pub(crate) async fn list(
    client: &Client,
    api_version: &str,
    kind: &str,
    plural: &str,
    namespace: Option<&str>,
) -> anyhow::Result<Vec<Value>> {
    let resource = resource(api_version, kind, plural);
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let mut parameters = ListParams::default().limit(PAGE);
    let mut objects = Vec::new();
    loop {
        let page = match api.list(&parameters).await {
            Ok(page) => page,
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(objects),
            Err(error) => return Err(error).with_context(|| format!("{plural} cannot be listed")),
        };
        let token = page.metadata.continue_.clone().filter(|token| !token.is_empty());
        for item in page.items {
            let mut object = serde_json::to_value(item)?;
            object["apiVersion"] = json!(api_version);
            object["kind"] = json!(kind);
            objects.push(object);
        }
        match token {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(objects),
        }
    }
}
