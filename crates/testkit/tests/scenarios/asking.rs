//! What the scenarios make and ask: Sources, workloads of every kind, and what InstrumentationConfigs say.

use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use odigos_api::API_VERSION;
use odigos_testkit::control_plane::{apply, create_namespace, try_out};
use odigos_testkit::instrumentor::{LIMIT, Plane};
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Long enough that a restart or an object that must not come would be seen.
pub const STILL: Duration = Duration::from_secs(2);

/// A Source, named after the workload.
pub fn source(namespace: &str, kind: &str, workload: &str) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": "Source",
        "metadata": {"name": format!("{}-{workload}", kind.to_lowercase()), "namespace": namespace},
        "spec": {"workload": {"name": workload, "namespace": namespace, "kind": kind}},
    })
}

/// The same object with a change at the end of a path.
pub fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let mut place = &mut object;
    for step in parent.split('/').skip(1) {
        place = match step.parse::<usize>() {
            Ok(position) => &mut place[position],
            Err(_) => &mut place[step.replace("~1", "/")],
        };
    }
    place[key.replace("~1", "/")] = value;
    object
}

/// A Source with these stream labels.
pub fn in_streams(source: Value, streams: &[(&str, &str)]) -> Value {
    let labels: BTreeMap<String, &str> =
        streams.iter().map(|(stream, value)| (format!("odigos.io/data-stream-{stream}"), *value)).collect();
    with(source, "/metadata/labels", json!(labels))
}

/// A workload whose pods have one container.
pub fn workload(namespace: &str, kind: &str, name: &str) -> Value {
    let template = json!({
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "app", "image": "none"}], "terminationGracePeriodSeconds": 1},
    });
    let selector = json!({"matchLabels": {"app": name}});
    let (api_version, spec) = match kind {
        "CronJob" => {
            let mut template = template;
            template["spec"]["restartPolicy"] = json!("Never");
            ("batch/v1", json!({"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}}))
        }
        "StatefulSet" => ("apps/v1", json!({"selector": selector, "serviceName": name, "template": template})),
        "Rollout" => ("argoproj.io/v1alpha1", json!({"replicas": 1, "selector": selector, "template": template})),
        _ => ("apps/v1", json!({"selector": selector, "template": template})),
    };
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

pub async fn namespace(plane: &Plane, name: &str) {
    create_namespace(&plane.client, name).await.unwrap();
}

pub async fn put(plane: &Plane, object: &Value) -> DynamicObject {
    apply(&plane.client, object).await.unwrap()
}

/// What the API server says to an object that it does not take. Admission knows other objects by its watch, so one that was made the
/// moment before is waited for.
pub async fn refused(plane: &Plane, object: &Value) -> String {
    let is_refused = || async { try_out(&plane.client, object).await.is_err() };
    let _ = eventually("it is refused", Duration::from_secs(60), is_refused).await;
    match apply(&plane.client, object).await {
        Ok(taken) => panic!("it was taken: {}", serde_json::to_string(&taken).unwrap()),
        Err(error) => format!("{error:#}"),
    }
}

/// Objects of a kind in a namespace.
pub fn objects(plane: &Plane, api_version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(plane.client.clone(), namespace, &resource)
}

pub fn sources(plane: &Plane, namespace: &str) -> Api<DynamicObject> {
    objects(plane, API_VERSION, "Source", namespace)
}

/// Deletes a Source as a user would.
pub async fn forget(plane: &Plane, source: &Value) {
    let text = |pointer: &str| source.pointer(pointer).and_then(Value::as_str).unwrap();
    let api = sources(plane, text("/metadata/namespace"));
    api.delete(text("/metadata/name"), &Default::default()).await.unwrap();
}

/// Names of the configs of a namespace, sorted.
pub async fn configs(plane: &Plane, namespace: &str) -> Vec<String> {
    let found = plane.configs(namespace).list(&ListParams::default()).await.unwrap().items;
    let mut names: Vec<String> = found.iter().map(ResourceExt::name_any).collect();
    names.sort();
    names
}

/// Waits until exactly these configs are there.
pub async fn until_configs(plane: &Plane, namespace: &str, expected: &[&str]) {
    let what = format!("the configs of {namespace} are {expected:?}");
    let settled = eventually(&what, LIMIT, async || configs(plane, namespace).await == expected).await;
    if let Err(error) = settled {
        panic!("{error:#}, but {:?}", configs(plane, namespace).await);
    }
}

/// Status and reason of a condition of a config, and its message.
pub async fn says(plane: &Plane, namespace: &str, config: &str, kind: &str) -> (String, String) {
    let found = plane.configs(namespace).get_opt(config).await.unwrap();
    let status = found.and_then(|config| config.status).unwrap_or_default();
    let found = status.conditions.into_iter().find(|one| one.type_ == kind);
    found.map(|one| (format!("{}/{}", one.status, one.reason), one.message)).unwrap_or_default()
}

/// Waits until a condition of a config is so; returns its message.
pub async fn until_says(plane: &Plane, namespace: &str, config: &str, kind: &str, expected: &str) -> String {
    let what = format!("{namespace}/{config} says {kind} {expected}");
    let settled = eventually(&what, LIMIT, async || says(plane, namespace, config, kind).await.0 == expected).await;
    let (found, message) = says(plane, namespace, config, kind).await;
    settled.unwrap_or_else(|error| panic!("{error:#}, but {found}: {message}"));
    message
}

/// Stream labels of a config.
pub async fn streams(plane: &Plane, namespace: &str, config: &str) -> BTreeMap<String, String> {
    let found = plane.configs(namespace).get_opt(config).await.unwrap();
    let labels = found.and_then(|config| config.metadata.labels).unwrap_or_default();
    let stream =
        |(key, value): (String, String)| Some((key.strip_prefix("odigos.io/data-stream-")?.to_owned(), value.clone()));
    labels.into_iter().filter_map(stream).collect()
}

/// Waits until a config has exactly these stream labels.
pub async fn until_streams(plane: &Plane, namespace: &str, config: &str, expected: &[(&str, &str)]) {
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let what = format!("the streams of {namespace}/{config} are {expected:?}");
    let settled = eventually(&what, LIMIT, async || streams(plane, namespace, config).await == expected).await;
    if let Err(error) = settled {
        panic!("{error:#}, but {:?}", streams(plane, namespace, config).await);
    }
}

/// What the agent of a node would have found in the container `app`.
pub fn found(language: &str, version: &str) -> Value {
    json!([{"containerName": "app", "language": language, "runtimeVersion": version, "secureExecutionMode": false}])
}

/// Names of everything that admission puts into pods, as far as it is there.
pub fn marks(pod: &Value) -> Vec<String> {
    let container = &pod["spec"]["containers"][0];
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let names =
        [&container["env"], &container["volumeMounts"], &pod["spec"]["volumes"], &pod["spec"]["initContainers"]];
    let names = names.into_iter().flat_map(list).filter_map(|one| one["name"].as_str().map(str::to_owned));
    let labels = pod["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    // The token of the account is the cluster's own.
    names.chain(labels.into_iter().map(|(key, _)| key)).filter(|name| !name.starts_with("kube-api-access")).collect()
}
