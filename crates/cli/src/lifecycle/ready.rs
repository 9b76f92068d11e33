//! Waiting until what was installed works, and saying why it does not.

use super::Progress;
use super::cluster::{Cluster, Reference, Where, text};
use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// Lines of a container that has ended.
const LOG_LINES: i64 = 5;

/// Waits until the kinds are served; the deadline is short, since only the API server is involved.
pub(super) async fn kinds(cluster: &Cluster, crds: &[Reference]) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(60);
    for crd in crds {
        loop {
            let live = cluster.get(crd).await?;
            let established = live.as_ref().is_some_and(|live| condition(live, "Established").0 == "True");
            if established {
                break;
            }
            let accepted = live.as_ref().map(|live| condition(live, "NamesAccepted")).unwrap_or_default();
            if accepted.0 == "False" {
                anyhow::bail!("{crd}: another kind holds its names: {}", accepted.1);
            }
            anyhow::ensure!(Instant::now() < until, "{crd} is not served after 60 s");
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// Status and message of a condition.
fn condition(object: &Value, kind: &str) -> (String, String) {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let found = conditions.into_iter().find(|condition| text(condition, "/type") == kind);
    found.map(|found| (text(found, "/status").to_owned(), text(found, "/message").to_owned())).unwrap_or_default()
}

/// Waits until every workload is ready. Returns what is not, with reasons, when the time is over.
pub(super) async fn workloads(
    cluster: &Cluster,
    workloads: &[Reference],
    limit: Duration,
    progress: Progress,
) -> anyhow::Result<BTreeMap<String, String>> {
    let until = Instant::now() + limit;
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let mut waiting = BTreeMap::new();
        for workload in workloads {
            let title = workload.to_string();
            if let Some(reason) = missing(cluster, workload).await.with_context(|| title.clone())? {
                if said.get(&title) != Some(&reason) {
                    progress.say(&format!("waiting    {title}: {}", reason.lines().next().unwrap_or_default()));
                }
                waiting.insert(title, reason);
            } else if !said.get(&title).is_some_and(String::is_empty) {
                progress.say(&format!("ready      {title}"));
                said.insert(title, String::new());
            }
        }
        said.retain(|_, reason| reason.is_empty());
        said.extend(waiting.clone());
        if waiting.is_empty() || Instant::now() >= until {
            return Ok(waiting);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Why a Deployment or DaemonSet is not ready; none when it is.
async fn missing(cluster: &Cluster, workload: &Reference) -> anyhow::Result<Option<String>> {
    let Some(live) = cluster.get(workload).await? else {
        return Ok(Some("it does not exist".into()));
    };
    let number = |pointer: &str| live.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
    let current = number("/status/observedGeneration") >= number("/metadata/generation");
    let (wanted, updated, available) = if workload.kind == "DaemonSet" {
        let wanted = number("/status/desiredNumberScheduled");
        (wanted, number("/status/updatedNumberScheduled"), number("/status/numberAvailable"))
    } else {
        let wanted = live.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
        (wanted, number("/status/updatedReplicas"), number("/status/availableReplicas"))
    };
    if current && updated >= wanted && available >= wanted {
        return Ok(None);
    }
    let state = format!("{available} of {wanted} pods are available");
    Ok(Some(match reason(cluster, &live).await? {
        Some(reason) => format!("{state}; {reason}"),
        None => state,
    }))
}

/// The first thing that holds its pods up.
async fn reason(cluster: &Cluster, workload: &Value) -> anyhow::Result<Option<String>> {
    let failure = condition(workload, "ReplicaFailure");
    if failure.0 == "True" {
        return Ok(Some(format!("pods are refused: {}", failure.1)));
    }
    let namespace = text(workload, "/metadata/namespace");
    let labels = workload.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let selector: Vec<String> = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    let selector = selector.join(",");
    let only = Where { labels: Some(&selector), ..Where::namespace(namespace) };
    for pod in cluster.list("v1", "Pod", only).await? {
        if let Some(reason) = of_pod(cluster, &pod).await {
            return Ok(Some(format!("pod {}: {reason}", text(&pod, "/metadata/name"))));
        }
    }
    Ok(None)
}

/// What holds a pod up: no node, an image, a crash with its last words.
async fn of_pod(cluster: &Cluster, pod: &Value) -> Option<String> {
    let scheduled = condition(pod, "PodScheduled");
    if scheduled.0 == "False" {
        return Some(format!("no node takes it: {}", scheduled.1));
    }
    for list in ["/status/initContainerStatuses", "/status/containerStatuses"] {
        for status in pod.pointer(list).and_then(Value::as_array).into_iter().flatten() {
            let container = text(status, "/name");
            let waiting = text(status, "/state/waiting/reason");
            if waiting == "CrashLoopBackOff" || !text(status, "/state/terminated/reason").is_empty() {
                let ended =
                    ["/lastState/terminated", "/state/terminated"].into_iter().find_map(|at| status.pointer(at));
                let exit = ended.and_then(|ended| ended.pointer("/exitCode")).and_then(Value::as_i64);
                if exit == Some(0) && waiting.is_empty() {
                    continue;
                }
                let word = ended.map(|ended| text(ended, "/reason")).unwrap_or_default();
                let exit = exit.map_or_else(String::new, |exit| format!(" with exit code {exit}"));
                let log = last_lines(cluster, pod, container).await;
                return Some(format!("container {container} ends{exit} ({word}){log}"));
            }
            if !["", "ContainerCreating", "PodInitializing"].contains(&waiting) {
                return Some(format!("container {container}: {waiting}: {}", text(status, "/state/waiting/message")));
            }
        }
    }
    None
}

/// The last lines that a container wrote before it ended.
async fn last_lines(cluster: &Cluster, pod: &Value, container: &str) -> String {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), text(pod, "/metadata/namespace"));
    for previous in [true, false] {
        let parameters = LogParams {
            container: Some(container.to_owned()),
            previous,
            tail_lines: Some(LOG_LINES),
            ..LogParams::default()
        };
        // A node that is away has no lines to give.
        if let Ok(lines) = api.logs(text(pod, "/metadata/name"), &parameters).await
            && !lines.trim().is_empty()
        {
            return format!("; its last lines:\n{}", lines.trim_end());
        }
    }
    String::new()
}
