//! Manifests of the stories: applications, backends, Sources and Destinations as a user would write them.

use crate::actors::PORT;
use serde_json::{Value, json};

/// A namespace.
#[must_use]
pub fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn pod_template(name: &str, image: &str, arguments: &[String]) -> Value {
    let same = json!({"app": name});
    json!({
        "metadata": {"labels": same},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "topologySpreadConstraints": [{
                "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": same},
            }],
            "containers": [{
                "name": "app", "image": image, "imagePullPolicy": "IfNotPresent", "args": arguments,
                "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                "readinessProbe": {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1},
            }],
        },
    })
}

/// A Deployment, StatefulSet or DaemonSet.
#[must_use]
pub fn workload(kind: &str, key: (&str, &str), replicas: u32, image: &str, arguments: &[String]) -> Value {
    let (namespace, name) = key;
    let mut spec = json!({
        "selector": {"matchLabels": {"app": name}},
        "template": pod_template(name, image, arguments),
    });
    if kind != "DaemonSet" {
        spec["replicas"] = json!(replicas);
    }
    if kind == "StatefulSet" {
        spec["serviceName"] = json!(name);
    }
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

/// Arguments of an application that sends `rate` items of each signal a second to the collector of its node.
#[must_use]
pub fn application(service: &str, control_plane: &str, rate: u64, more: &[&str]) -> Vec<String> {
    let endpoint = format!("http://{}.{control_plane}:4317", odigos_api::names::NODE_SERVICE);
    let mut arguments = vec!["application".to_owned()];
    for (flag, value) in [("service", service), ("endpoint", &endpoint), ("rate", &rate.to_string())] {
        arguments.push(format!("--{flag}={value}"));
    }
    arguments.extend(more.iter().map(|one| (*one).to_owned()));
    arguments
}

/// A backend: Deployment and Service.
#[must_use]
pub fn backend(key: (&str, &str), image: &str) -> Vec<Value> {
    let (namespace, name) = key;
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"name": "otlp", "port": 4317}]},
    });
    vec![workload("Deployment", key, 1, image, &["backend".to_owned()]), service]
}

/// A Source of a workload or a namespace, in streams; `!name` leaves a stream that the namespace is in.
#[must_use]
pub fn source(namespace: &str, kind: &str, name: &str, streams: &[&str]) -> Value {
    let label = |stream: &&str| match stream.strip_prefix('!') {
        Some(left) => (odigos_api::labels::stream_label(left), json!("false")),
        None => (odigos_api::labels::stream_label(stream), json!("true")),
    };
    let labels: serde_json::Map<String, Value> = streams.iter().map(label).collect();
    json!({
        "apiVersion": odigos_api::API_VERSION, "kind": "Source",
        "metadata": {"name": format!("{}-{name}", kind.to_lowercase()), "namespace": namespace, "labels": labels},
        "spec": {"workload": {"kind": kind, "name": name, "namespace": namespace}},
    })
}

/// A Destination of type `otlp` for streams.
#[must_use]
pub fn destination(control_plane: &str, name: &str, endpoint: &str, streams: &[&str]) -> Value {
    json!({
        "apiVersion": odigos_api::API_VERSION, "kind": "Destination",
        "metadata": {"name": name, "namespace": control_plane},
        "spec": {
            "type": "otlp", "destinationName": name, "data": {"OTLP_GRPC_ENDPOINT": endpoint},
            "signals": ["TRACES", "METRICS", "LOGS"], "sourceSelector": {"dataStreams": streams},
        },
    })
}
