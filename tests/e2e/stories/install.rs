//! Installing: how long it takes, what it costs, and that it is quiet afterwards.

use crate::{release, requests};
use anyhow::bail;
use odigos_api::names;
use odigos_e2e::cluster::{Cluster, Pod, eventually};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long nothing happens.
const IDLE: Duration = Duration::from_secs(30);
/// Requests in that time: leases of six replicas, and watches that are opened anew.
const MOST_WHEN_IDLE: usize = 100;

/// Everything that the chart brings is ready, and the collectors that the autoscaler adds.
pub(crate) async fn brings_everything_up(cluster: Cluster) -> anyhow::Result<()> {
    let (begun, mark) = (Instant::now(), requests::mark());
    release::install(&cluster.namespace, &[]).await?;
    println!("  helm returned after {:.1} s", begun.elapsed().as_secs_f64());
    is_up(&cluster).await?;
    println!("  every pod is ready after {:.1} s", begun.elapsed().as_secs_f64());
    let pods = cluster.pods(&cluster.namespace, "").await?;
    assert!(pods.iter().all(|pod| pod.restarts() == 0), "nothing had to be started twice");
    nothing_is_said_to_be_wrong(&cluster).await?;
    for (name, mebibytes) in memory(&cluster, &pods).await? {
        println!("  {name:<45} {mebibytes:>6.1} MiB");
    }
    asks_little(mark).await
}

/// Waits until everything that the chart brings is ready, and the gateways.
pub(crate) async fn is_up(cluster: &Cluster) -> anyhow::Result<()> {
    let limit = Duration::from_secs(180);
    for controller in [names::INSTRUMENTOR, names::SCHEDULER, names::AUTOSCALER] {
        cluster.rolled_out("Deployment", (&cluster.namespace, controller), limit).await?;
    }
    cluster.rolled_out("DaemonSet", (&cluster.namespace, names::AGENT_SERVICE), limit).await?;
    cluster.rolled_out("Deployment", (&cluster.namespace, names::GATEWAY), limit).await?;
    eventually("every pod is ready", limit, || async {
        let pods = cluster.pods(&cluster.namespace, "").await?;
        match pods.iter().find(|pod| !pod.is_ready()) {
            Some(pod) => bail!("{} is not", pod.name()),
            None => Ok(()),
        }
    })
    .await
}

/// Installing costs some requests, being there next to none.
async fn asks_little(mark: u64) -> anyhow::Result<()> {
    // Everything has settled by then, and the API server has written its log.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let Some(first) = requests::since(mark)? else { return Ok(()) };
    println!("  {} requests to the API server until now: {}", first.values().sum::<usize>(), requests::most(&first));
    let mark = requests::mark();
    tokio::time::sleep(IDLE).await;
    let idle = requests::since(mark)?.unwrap_or_default();
    let total: usize = idle.values().sum();
    println!("  {total} in {} idle seconds: {}", IDLE.as_secs(), requests::most(&idle));
    assert!(total <= MOST_WHEN_IDLE, "idle, it asks too much: {idle:?}");
    Ok(())
}

/// No condition of the product's own objects says that something is wrong.
async fn nothing_is_said_to_be_wrong(cluster: &Cluster) -> anyhow::Result<()> {
    eventually("the gateway's group is well", Duration::from_secs(90), || async {
        let group =
            cluster.get(odigos_api::API_VERSION, "CollectorsGroup", (&cluster.namespace, names::GATEWAY)).await?;
        let conditions = group.as_ref().and_then(|group| group.pointer("/status/conditions")?.as_array().cloned());
        let conditions = conditions.unwrap_or_default();
        // These name what goes on or is wrong.
        let bad = ["Progressing", "ItemsRefused", "DestinationBackpressure"];
        let is_well = |one: &Value| match one["type"].as_str().unwrap_or_default() {
            // Clusters of a test have no metrics-server.
            "HPAMetricsUnavailable" => true,
            kind => one["status"] == if bad.contains(&kind) { "False" } else { "True" },
        };
        let wrong = conditions.iter().find(|one| !is_well(one));
        match wrong {
            None if !conditions.is_empty() => Ok(()),
            other => bail!("{other:?}"),
        }
    })
    .await
}

/// Working set of each pod, as its kubelet tells it.
pub(crate) async fn memory(cluster: &Cluster, pods: &[Pod]) -> anyhow::Result<BTreeMap<String, f64>> {
    let nodes: std::collections::BTreeSet<String> = pods.iter().map(Pod::node).collect();
    let mut memory = BTreeMap::new();
    for node in nodes {
        let summary: Value =
            serde_json::from_str(&cluster.raw(&format!("/api/v1/nodes/{node}/proxy/stats/summary")).await?)?;
        for pod in summary["pods"].as_array().into_iter().flatten() {
            let name = pod["podRef"]["name"].as_str().unwrap_or_default();
            let containers = pod["containers"].as_array().into_iter().flatten();
            let bytes: f64 = containers.filter_map(|one| one.pointer("/memory/workingSetBytes")?.as_f64()).sum();
            if bytes > 0.0 && pods.iter().any(|one| one.name() == name) {
                memory.insert(name.to_owned(), bytes / 1024.0 / 1024.0);
            }
        }
    }
    Ok(memory)
}
