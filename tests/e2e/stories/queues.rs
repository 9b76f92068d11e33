//! Queues on disk: what waits for a destination outlives the gateway that holds it.

use crate::release;
use crate::routing::{BACKENDS, Stage};
use anyhow::Context;
use odigos_api::{API_VERSION, names};
use odigos_e2e::cluster::{Cluster, eventually};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

const CLASS: &str = "e2e-queues";

/// Nobody takes anything, the gateway is killed, the backends come back: everything is there.
pub(crate) async fn what_waits_outlives_its_gateway(cluster: Cluster) -> anyhow::Result<()> {
    let Some(state) = std::env::var_os("RUN").filter(|_| cluster.script.is_some()) else {
        println!("  NOT TOLD: volumes are made on the nodes of the cluster that `cargo xtask e2e` makes");
        return Ok(());
    };
    // The nodes share the machine's file system, so a directory is a volume that every node reaches.
    let folder = PathBuf::from(state).join("queues");
    for number in 0..2 {
        let directory = folder.join(number.to_string());
        std::fs::create_dir_all(&directory)?;
        std::fs::set_permissions(&directory, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
        cluster
            .apply(&json!({
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": format!("{CLASS}-{number}")},
                "spec": {
                    "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": CLASS,
                    "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": directory},
                },
            }))
            .await?;
    }
    let class = format!("config.collectorGateway.queueVolume.storageClass={CLASS}");
    release::install(&cluster.namespace, &["config.collectorGateway.queueVolume.size=1Gi", &class]).await?;
    let stage = Stage { cluster: &cluster, applications: "e2e-queues", backends: "e2e-queues-backends" };
    stage.set(20).await?;
    for (backend, _) in BACKENDS {
        let persistent = json!({"spec": {"delivery": {"persistentQueue": true, "retryMaxElapsedTime": "0s"}}});
        cluster.merge(API_VERSION, "Destination", (&cluster.namespace, backend), &persistent).await?;
        let none = json!({"spec": {"replicas": 0}});
        cluster.merge("apps/v1", "Deployment", (stage.backends, backend), &none).await?;
    }
    let limit = Duration::from_secs(120);
    cluster.rolled_out("StatefulSet", (&cluster.namespace, names::GATEWAY), limit).await?;
    stage.ready(limit).await?;
    let one = cluster.get("apps/v1", "Deployment", (&cluster.namespace, names::GATEWAY)).await?;
    assert!(one.is_none(), "the Deployment left when the StatefulSet served");

    stage.begin().await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let sent = stage.hush().await?;
    // Nodes have handed over what they hold within a few seconds; then the gateway dies without a word.
    tokio::time::sleep(Duration::from_secs(5)).await;
    for pod in cluster.pods(&cluster.namespace, "odigos.io/collector-role=CLUSTER_GATEWAY").await? {
        cluster.kill((&cluster.namespace, &pod.name())).await?;
    }
    eventually("another gateway is ready", limit, || async {
        let pods = cluster.pods(&cluster.namespace, "odigos.io/collector-role=CLUSTER_GATEWAY").await?;
        let pod = pods.first().context("there is none")?;
        anyhow::ensure!(pod.is_ready(), "{} is not", pod.name());
        Ok(())
    })
    .await?;
    for (backend, _) in BACKENDS {
        let again = json!({"spec": {"replicas": 1}});
        cluster.merge("apps/v1", "Deployment", (stage.backends, backend), &again).await?;
    }
    let mut total = 0;
    for (backend, stream) in BACKENDS {
        cluster.rolled_out("Deployment", (stage.backends, backend), limit).await?;
        total += stage.has_all(backend, &Stage::members(stream), &sent).await?;
    }
    println!("  {total} items and lines waited on disk and arrived, none lost");
    stage.strike().await?;
    release::install(&cluster.namespace, &[]).await?;
    cluster.rolled_out("Deployment", (&cluster.namespace, names::GATEWAY), limit).await?;
    for claim in cluster.list("v1", "PersistentVolumeClaim", &cluster.namespace, "").await? {
        let name = claim["metadata"]["name"].as_str().unwrap_or_default();
        cluster.delete("v1", "PersistentVolumeClaim", (&cluster.namespace, name)).await?;
    }
    for number in 0..2 {
        cluster.delete("v1", "PersistentVolume", ("", &format!("{CLASS}-{number}"))).await?;
    }
    Ok(())
}
