//! Pods that still run with agents are restarted without them, when no instrumentor is left to do it.

use super::cluster::{Cluster, Reference, text};
use super::{Progress, uninstrument};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Annotation of pod templates that `kubectl rollout restart` sets as well.
const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";
/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Restarts the workloads of pods with agents and waits until none is left; admission adds none any more.
pub(super) async fn run(cluster: &Cluster, limit: Duration, progress: Progress) -> anyhow::Result<()> {
    let pods = uninstrument::injected(cluster).await?;
    let mut workloads = BTreeSet::new();
    for pod in &pods {
        // A pod that nothing would start again is the user's to restart; the report names it.
        workloads.extend(workload(cluster, pod).await?);
    }
    for workload in &workloads {
        let change =
            json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED: Timestamp::now().to_string()}}}}});
        if cluster.merge(workload, &change).await? {
            progress.say(&format!("restarted  {workload}"));
        }
    }
    let until = Instant::now() + limit;
    while !workloads.is_empty() && Instant::now() < until {
        let mut left = BTreeSet::new();
        for pod in uninstrument::injected(cluster).await? {
            left.extend(workload(cluster, &pod).await?);
        }
        if left.is_disjoint(&workloads) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// The workload whose template made a pod.
async fn workload(cluster: &Cluster, pod: &Value) -> anyhow::Result<Option<Reference>> {
    let Some(owner) = controller(pod) else { return Ok(None) };
    match owner.kind.as_str() {
        "StatefulSet" | "DaemonSet" => Ok(Some(owner)),
        "ReplicaSet" => Ok(cluster.get(&owner).await?.as_ref().and_then(controller)),
        _ => Ok(None),
    }
}

fn controller(object: &Value) -> Option<Reference> {
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    let owner = owners.iter().find(|owner| owner.get("controller") == Some(&json!(true)))?;
    let namespace = text(object, "/metadata/namespace");
    Some(Reference::new(text(owner, "/apiVersion"), text(owner, "/kind"), namespace, text(owner, "/name")))
}
