//! Dedicated pools: a stream and a workload get gateways of their own under load, and give them back.

use crate::release;
use crate::routing::{BACKENDS, Stage};
use anyhow::Context;
use odigos_api::{API_VERSION, names};
use odigos_e2e::cluster::{Cluster, Pod, eventually};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Pools with what they take, as values of the chart.
const VALUES: [&str; 10] = [
    "config.collectorGateway.pools[0].name=audit",
    "config.collectorGateway.pools[0].dataStreams={shop,audit}",
    "config.collectorGateway.pools[0].minReplicas=1",
    "config.collectorGateway.pools[0].maxReplicas=2",
    "config.collectorGateway.pools[1].name=heavy",
    "config.collectorGateway.pools[1].workloads[0].namespace=e2e-pools",
    "config.collectorGateway.pools[1].workloads[0].kind=Deployment",
    "config.collectorGateway.pools[1].workloads[0].name=search",
    "config.collectorGateway.pools[1].minReplicas=1",
    "config.collectorGateway.pools[1].maxReplicas=1",
];

/// Pools come and go while everything sends: nothing is lost, nobody's pod is restarted, and each item takes its way.
pub(crate) async fn heavy_ones_have_their_own(cluster: Cluster) -> anyhow::Result<()> {
    let limit = Duration::from_secs(180);
    let stage = Stage { cluster: &cluster, applications: "e2e-pools", backends: "e2e-pools-backends" };
    stage.set(20).await?;
    let before: BTreeSet<_> = cluster.pods(stage.applications, "").await?.iter().map(Pod::identity).collect();
    stage.begin().await?;
    let begun = Instant::now();
    release::install(&cluster.namespace, &VALUES).await?;
    eventually("nodes send to both pools", limit, || async {
        let routed = routed_pools(&cluster).await?;
        anyhow::ensure!(routed == ["audit", "heavy"], "{routed:?}");
        anyhow::ensure!(is_at_rest(&cluster).await?, "the nodes' collectors change");
        Ok(())
    })
    .await?;
    println!("  nodes send to both pools after {:.1} s", begun.elapsed().as_secs_f64());
    for pool in ["audit", "heavy"] {
        eventually(&format!("the gateways of {pool} take items"), Duration::from_secs(60), || async {
            for signal in ["spans", "metric_points", "log_records"] {
                let taken = accepted(&cluster, pool, signal).await?;
                anyhow::ensure!(taken > 0.0, "{pool} took no {signal}");
            }
            Ok(())
        })
        .await?;
    }
    let group = (cluster.namespace.as_str(), "odigos-gateway-audit");
    let group = cluster.get(API_VERSION, "CollectorsGroup", group).await?.context("there is no group")?;
    assert_eq!(group["spec"]["pool"]["dataStreams"], json!(["audit", "shop"]));
    // Nobody names the pools any more: nodes leave them first, then they go.
    release::install(&cluster.namespace, &[]).await?;
    let begun = Instant::now();
    eventually("no node sends to them", limit, || async {
        let routed = routed_pools(&cluster).await?;
        anyhow::ensure!(routed.is_empty(), "{routed:?}");
        Ok(())
    })
    .await?;
    println!("  no node sends to them {:.0} s after nobody named them any more", begun.elapsed().as_secs_f64());
    let sent = stage.hush().await?;
    let mut total = 0;
    for (backend, stream) in BACKENDS {
        total += stage.has_all(backend, &Stage::members(stream), &sent).await?;
    }
    println!("  {total} items and lines arrived where they belong, none lost");
    let after: BTreeSet<_> = cluster.pods(stage.applications, "").await?.iter().map(Pod::identity).collect();
    assert_eq!(before, after, "no pod was restarted");
    stage.strike().await?;
    eventually("the pools are gone", Duration::from_secs(300), || async {
        let left = cluster.pods(&cluster.namespace, "odigos.io/gateway-pool").await?;
        anyhow::ensure!(left.is_empty(), "{} pods are left", left.len());
        Ok(())
    })
    .await?;
    println!("  they are gone {:.0} s after nobody named them any more", begun.elapsed().as_secs_f64());
    for kind in ["Service", "ConfigMap"] {
        let all = cluster.list("v1", kind, &cluster.namespace, "").await?;
        let named = all.iter().filter_map(|one| one["metadata"]["name"].as_str());
        let left: Vec<&str> = named.filter(|name| ["audit", "heavy"].iter().any(|pool| name.contains(pool))).collect();
        assert!(left.is_empty(), "{kind}s are left: {left:?}");
    }
    Ok(())
}

async fn node_group(cluster: &Cluster) -> anyhow::Result<Value> {
    let key = (cluster.namespace.as_str(), names::NODE_COLLECTOR);
    cluster.get(API_VERSION, "CollectorsGroup", key).await?.context("there is no group of the nodes")
}

/// The pools that nodes may send to.
async fn routed_pools(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let group = node_group(cluster).await?;
    let pools = group.pointer("/status/routedPools").and_then(Value::as_array).cloned().unwrap_or_default();
    Ok(pools.iter().filter_map(|pool| pool["name"].as_str().map(str::to_owned)).collect())
}

/// Whether every node's collector runs the configuration that is wanted.
async fn is_at_rest(cluster: &Cluster) -> anyhow::Result<bool> {
    let group = node_group(cluster).await?;
    let conditions = group.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    Ok(conditions.iter().any(|one| one["type"] == "Progressing" && one["status"] == "False"))
}

/// Items that the gateways of a pool took, by what they count themselves.
async fn accepted(cluster: &Cluster, pool: &str, signal: &str) -> anyhow::Result<f64> {
    let mut taken = 0.0;
    for pod in cluster.pods(&cluster.namespace, &format!("odigos.io/gateway-pool={pool}")).await? {
        let path = format!("/api/v1/namespaces/{}/pods/{}:8888/proxy/metrics", cluster.namespace, pod.name());
        let text = cluster.raw(&path).await?;
        let lines = text.lines().filter(|line| line.starts_with(&format!("otelcol_receiver_accepted_{signal}")));
        taken += lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>();
    }
    Ok(taken)
}
