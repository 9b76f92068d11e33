//! What happens when parts fail: telemetry flows on, and everything finds its way back.

use crate::rendered;
use crate::routing::{BACKENDS, Stage};
use anyhow::bail;
use odigos_api::names;
use odigos_e2e::cluster::{Cluster, eventually, outage};
use serde_json::json;
use std::time::{Duration, Instant};

/// Without controllers and without the API server, what runs goes on.
pub(crate) async fn nobody_steers(cluster: Cluster) -> anyhow::Result<()> {
    let stage = Stage { cluster: &cluster, applications: "e2e-steer", backends: "e2e-steer-backends" };
    stage.set(20).await?;
    stage.begin().await?;
    let controllers = [names::INSTRUMENTOR, names::SCHEDULER, names::AUTOSCALER];
    for controller in controllers {
        let none = json!({"spec": {"replicas": 0}});
        cluster.merge("apps/v1", "Deployment", (&cluster.namespace, controller), &none).await?;
    }
    let away = Instant::now();
    tokio::time::sleep(Duration::from_secs(5)).await;
    // A gateway that goes while nobody steers is replaced by the cluster itself.
    for pod in cluster.pods(&cluster.namespace, "odigos.io/collector-role=CLUSTER_GATEWAY").await? {
        cluster.delete("v1", "Pod", (&cluster.namespace, &pod.name())).await?;
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    if cluster.script.is_some() {
        cluster.script(&["api-stop"]).await?;
        tokio::time::sleep(outage(Duration::from_secs(20), Duration::from_secs(120))).await;
        cluster.script(&["api-start"]).await?;
    } else {
        println!("  NOT TOLD: stopping the API server needs the cluster that `cargo xtask e2e` makes");
    }
    println!("  {:.0} s without controllers, most of them without the API server", away.elapsed().as_secs_f64());
    for controller in controllers {
        let two = json!({"spec": {"replicas": 2}});
        cluster.merge("apps/v1", "Deployment", (&cluster.namespace, controller), &two).await?;
    }
    // The cluster's own parts look for a lost API server again after up to 30 s each, one after another: the controller
    // manager, the scheduler, the kubelet.
    let begun = Instant::now();
    for controller in controllers {
        cluster.rolled_out("Deployment", (&cluster.namespace, controller), Duration::from_secs(240)).await?;
    }
    println!("  controllers are back after {:.0} s", begun.elapsed().as_secs_f64());
    let sent = stage.hush().await?;
    let mut total = 0;
    for (backend, stream) in BACKENDS {
        total += stage.has_all(backend, &Stage::members(stream), &sent).await?;
    }
    println!("  {total} items and lines arrived, none lost");
    let objects = rendered::equals_the_cluster(&cluster).await?;
    println!("  all {objects} objects of the product are as `odigos render` says");
    stage.strike().await
}

/// A node that loses its power comes back with its collector, its agent and its log offsets.
pub(crate) async fn a_node_boots_again(cluster: Cluster) -> anyhow::Result<()> {
    if cluster.script.is_none() {
        println!("  NOT TOLD: powering a node off needs the cluster that `cargo xtask e2e` makes");
        return Ok(());
    }
    let stage = Stage { cluster: &cluster, applications: "e2e-boot", backends: "e2e-boot-backends" };
    stage.set(20).await?;
    let spared = cluster.pods(&cluster.namespace, "odigos.io/collector-role=CLUSTER_GATEWAY").await?;
    let victim = if spared.iter().any(|pod| pod.node() == "n2") { "1" } else { "2" };
    let node = format!("n{victim}");
    let before: Vec<_> = cluster.pods("", "").await?.into_iter().filter(|pod| pod.node() == node).collect();
    cluster.script(&["node-stop", victim]).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    cluster.script(&["node-start", victim]).await?;
    let limit = Duration::from_secs(120);
    // Until the node tells otherwise, everything on it looks as it did.
    eventually("every pod of the node was started again", limit, || async {
        let now = cluster.pods("", "").await?;
        for old in &before {
            let again = now.iter().find(|pod| pod.uid() == old.uid());
            if let Some(pod) = again.filter(|pod| pod.restarts() <= old.restarts() || !pod.is_ready()) {
                bail!("{} is not", pod.name());
            }
        }
        Ok(())
    })
    .await?;
    cluster.rolled_out("DaemonSet", (&cluster.namespace, names::NODE_COLLECTOR), limit).await?;
    cluster.rolled_out("DaemonSet", (&cluster.namespace, names::AGENT_SERVICE), limit).await?;
    stage.ready(limit).await?;
    stage.begin().await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let sent = stage.hush().await?;
    let mut total = 0;
    for (backend, stream) in BACKENDS {
        total += stage.has_all(backend, &Stage::members(stream), &sent).await?;
    }
    println!("  {total} items and lines of both nodes arrived after the boot");
    stage.strike().await
}
