//! After a story that failed: what a person would look at first, and a clean stage for the next story.
//!
//! Owns no claim: what goes wrong here is printed and forgotten, the failure itself was told already.

use crate::release;
use odigos_api::{API_VERSION, names};
use odigos_e2e::cluster::{Cluster, Pod};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Lines of a log that are printed.
const LINES: usize = 8;
/// Events that are printed.
const EVENTS: usize = 12;

fn is_stage(namespace: &str) -> bool {
    namespace.starts_with("e2e-")
}

/// Prints pods that are not ready with the end of their logs, and the newest warnings.
pub(crate) async fn tell(cluster: &Cluster) -> anyhow::Result<()> {
    for pod in cluster.list("v1", "Pod", "", "").await?.into_iter().map(Pod) {
        let namespace = pod.0["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        if pod.is_ready() || !(is_stage(&namespace) || namespace == cluster.namespace) {
            continue;
        }
        let status = &pod.0["status"];
        println!("  not ready: {namespace}/{} on {:?}, {}", pod.name(), pod.node(), status["phase"]);
        println!("    conditions: {}", status["conditions"]);
        println!("    containers: {}", status["containerStatuses"]);
        let path = format!("/api/v1/namespaces/{namespace}/pods/{}/log?tailLines={LINES}", pod.name());
        match cluster.raw(&path).await {
            Ok(text) => text.lines().for_each(|line| println!("    | {line:.300}")),
            Err(error) => println!("    no log: {error:#}"),
        }
    }
    let mut warnings = cluster.list("v1", "Event", "", "").await?;
    warnings.retain(|event| event["type"] == "Warning");
    warnings.sort_by_key(|event| event["lastTimestamp"].as_str().unwrap_or_default().to_owned());
    for event in warnings.iter().rev().take(EVENTS).rev() {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (about, time) = (text("/involvedObject/name"), text("/lastTimestamp"));
        println!("  warning {time} {about}: {} {:.300}", text("/reason"), text("/message"));
    }
    Ok(())
}

/// Takes away what the story left, and brings the product back to how it was installed.
pub(crate) async fn clear(cluster: &Cluster) -> anyhow::Result<()> {
    let system = cluster.namespace.clone();
    for kind in ["Destination", "InstrumentationRule"] {
        for left in cluster.list(API_VERSION, kind, &system, "").await? {
            let name = left["metadata"]["name"].as_str().unwrap_or_default();
            cluster.delete(API_VERSION, kind, (&system, name)).await?;
        }
    }
    release::install(&system, &[]).await?;
    for controller in [names::INSTRUMENTOR, names::SCHEDULER, names::AUTOSCALER] {
        // A story may have sent them away.
        let two = json!({"spec": {"replicas": 2}});
        cluster.merge("apps/v1", "Deployment", (&system, controller), &two).await?;
        cluster.rolled_out("Deployment", (&system, controller), Duration::from_secs(240)).await?;
    }
    let namespaces = cluster.list("v1", "Namespace", "", "").await?;
    let names = namespaces.iter().filter_map(|one| one["metadata"]["name"].as_str()).filter(|name| is_stage(name));
    for name in names {
        for source in cluster.list(API_VERSION, "Source", name, "").await? {
            let source = source["metadata"]["name"].as_str().unwrap_or_default();
            cluster.delete(API_VERSION, "Source", (name, source)).await?;
        }
        cluster.delete("v1", "Namespace", ("", name)).await?;
    }
    let begun = Instant::now();
    loop {
        let left = cluster.list("v1", "Namespace", "", "").await?;
        let left = left.iter().filter_map(|one| one["metadata"]["name"].as_str()).find(|name| is_stage(name));
        let Some(left) = left else { return Ok(()) };
        anyhow::ensure!(begun.elapsed() < Duration::from_secs(120), "namespace {left} does not go");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
