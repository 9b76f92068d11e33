//! The cluster holds what the planner says, no more and no less: `odigos render` of what users wrote, compared with what is there.

use crate::release::odigos;
use anyhow::Context;
use odigos_api::{API_VERSION, names};
use odigos_e2e::cluster::{Cluster, eventually};
use serde_json::{Value, json};
use std::time::Duration;

/// What users write, and the workloads that it is about.
const WRITTEN: [(&str, &str); 9] = [
    (API_VERSION, "Source"),
    (API_VERSION, "Destination"),
    (API_VERSION, "Action"),
    (API_VERSION, "Sampling"),
    (API_VERSION, "InstrumentationRule"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("v1", "Namespace"),
];
/// Fields that are not the planner's: identity, what an autoscaler decides, what happened, and images, which the installation names.
const OTHERS: [&str; 5] = ["status", "ownerReferences", "replicas", "creationTimestamp", "image"];

/// Waits until every object that is rendered is there with every field that is rendered; returns how many.
pub(crate) async fn equals_the_cluster(cluster: &Cluster) -> anyhow::Result<usize> {
    eventually("the cluster is as rendered", Duration::from_secs(60), || async {
        let mut items = Vec::new();
        for (api_version, kind) in WRITTEN {
            for mut object in cluster.list(api_version, kind, "", "").await? {
                object["apiVersion"] = json!(api_version);
                object["kind"] = json!(kind);
                items.push(object);
            }
        }
        let key = (cluster.namespace.as_str(), names::CONFIGURATION);
        items.push(cluster.get("v1", "ConfigMap", key).await?.context("no configuration")?);
        let folder = std::env::temp_dir().join(format!("odigos-e2e-rendered-{}", std::process::id()));
        std::fs::write(&folder, serde_json::to_vec(&json!({"apiVersion": "v1", "kind": "List", "items": items}))?)?;
        let path = folder.display().to_string();
        let printed = odigos(&["render", "--filename", &path, "--output", "json"]).await;
        std::fs::remove_file(&folder)?;
        // What it says to people comes after the document.
        let printed = printed?;
        let document = serde_json::Deserializer::from_str(&printed).into_iter::<Value>().next();
        let document = document.context("nothing is rendered")??;
        let objects = document["items"].as_array().or(document.as_array()).cloned().unwrap_or_default();
        anyhow::ensure!(objects.len() > 5, "only {} objects are rendered", objects.len());
        for object in &objects {
            let mut object = object.clone();
            if object["kind"] == "InstrumentationConfig" {
                // What agents have seen in containers, and what follows from it, is not written by users.
                object["spec"] = json!({"serviceName": object["spec"]["serviceName"]});
            }
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let key = (text("/metadata/namespace"), text("/metadata/name"));
            let title = format!("{} {}/{}", text("/kind"), key.0, key.1);
            let live = cluster.get(&text("/apiVersion"), &text("/kind"), (&key.0, &key.1)).await?;
            let live = live.with_context(|| format!("{title} is not there"))?;
            // Gateways that refused items are more for some minutes (`plan::scaling`), never fewer.
            let least = |object: &Value| object.pointer("/spec/minReplicas").and_then(Value::as_i64);
            if let Some((wanted, raised)) = least(&object).zip(least(&live)).filter(|(wanted, live)| wanted < live) {
                println!("  {title}: at least {raised} instead of {wanted} for a while");
                object["spec"]["minReplicas"] = json!(raised);
            }
            if let Some(path) = difference(&object, &live, String::new()) {
                anyhow::bail!("{title} differs at {path}");
            }
        }
        Ok(objects.len())
    })
    .await
}

/// Where `live` lacks something of `wanted`.
fn difference(wanted: &Value, live: &Value, path: String) -> Option<String> {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => wanted
            .iter()
            .filter(|(key, value)| !OTHERS.contains(&key.as_str()) && !value.is_null())
            .find_map(|(key, value)| difference(value, live.get(key).unwrap_or(&Value::Null), format!("{path}/{key}"))),
        (Value::Array(wanted), Value::Array(live)) if wanted.len() == live.len() => {
            let pairs = wanted.iter().zip(live).enumerate();
            pairs.into_iter().find_map(|(index, (wanted, live))| difference(wanted, live, format!("{path}/{index}")))
        }
        // The API server leaves empty maps and lists out.
        (Value::Object(wanted), Value::Null) if wanted.is_empty() => None,
        (Value::Array(wanted), Value::Null) if wanted.is_empty() => None,
        _ if wanted == live => None,
        _ => Some(format!("{path}: {wanted:.200} is {live:.200}")),
    }
}
