//! Destinations that come, break, are mended and go while applications send: the others never notice.

use crate::routing::Stage;
use anyhow::{Context, bail};
use odigos_api::{API_VERSION, names};
use odigos_e2e::cluster::{Cluster, Pod, eventually};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const BROKEN: &str = "broken";

/// A destination whose exporter needs its server at the start; it does not exist.
fn broken(namespace: &str, create_schema: bool) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": "Destination",
        "metadata": {"name": BROKEN, "namespace": namespace},
        "spec": {
            "type": "clickhouse", "destinationName": "nobody serves it",
            "data": {
                "CLICKHOUSE_ENDPOINT": "tcp://127.0.0.1:9000", "CLICKHOUSE_USERNAME": "u",
                "CLICKHOUSE_CREATE_SCHEME": create_schema.to_string(), "CLICKHOUSE_DATABASE_NAME": "otel",
                "CLICKHOUSE_TRACES_TABLE": "otel_traces", "CLICKHOUSE_LOGS_TABLE": "otel_logs",
            },
            "secretRef": {"name": BROKEN},
            "signals": ["TRACES", "LOGS"], "sourceSelector": {"dataStreams": ["audit"]},
        },
    })
}

async fn condition(cluster: &Cluster, kind: &str, name: &str, condition: &str) -> anyhow::Result<Value> {
    let object = cluster.get(API_VERSION, kind, (&cluster.namespace, name)).await?.context("it is not there")?;
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    conditions.into_iter().find(|one| one["type"] == condition).context("the condition is not there")
}

/// Counts ready gateways until it is stopped, and remembers the fewest.
fn watch_gateways(cluster: &Cluster, stop: Arc<AtomicBool>, fewest: Arc<AtomicUsize>) -> tokio::task::JoinHandle<()> {
    let cluster = cluster.clone();
    #[allow(clippy::disallowed_methods, reason = "the story waits for it")]
    tokio::spawn(async move {
        while !stop.load(Ordering::Relaxed) {
            if let Ok(pods) = cluster.pods(&cluster.namespace, "odigos.io/collector-role=CLUSTER_GATEWAY").await {
                fewest.fetch_min(pods.iter().filter(|pod| Pod::is_ready(pod)).count(), Ordering::Relaxed);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
}

/// One that keeps the collector from starting is named and set aside; it returns when it is mended.
pub(crate) async fn a_broken_one_harms_nobody(cluster: Cluster) -> anyhow::Result<()> {
    let stage = Stage { cluster: &cluster, applications: "e2e-broken", backends: "e2e-broken-backends" };
    stage.set(20).await?;
    let (stop, fewest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(usize::MAX)));
    let watching = watch_gateways(&cluster, stop.clone(), fewest.clone());
    stage.begin().await?;
    tokio::time::sleep(Duration::from_secs(2)).await;

    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": BROKEN, "namespace": cluster.namespace},
        "stringData": {"CLICKHOUSE_PASSWORD": "not a real one"},
    });
    cluster.apply(&secret).await?;
    let begun = Instant::now();
    cluster.apply(&broken(&cluster.namespace, true)).await?;
    eventually("the broken destination is set aside by name", Duration::from_secs(60), || async {
        let configured = condition(&cluster, "Destination", BROKEN, "DestinationConfigured").await?;
        anyhow::ensure!(configured["reason"] == "ExporterStartFailed", "{configured}");
        let valid = condition(&cluster, "CollectorsGroup", names::GATEWAY, "ConfigValid").await?;
        let message = valid["message"].as_str().unwrap_or_default();
        anyhow::ensure!(valid["status"] == "False" && message.contains(BROKEN), "{valid}");
        Ok(())
    })
    .await?;
    println!("  set aside after {:.1} s", begun.elapsed().as_secs_f64());
    cluster.rolled_out("Deployment", (&cluster.namespace, names::GATEWAY), Duration::from_secs(60)).await?;

    cluster.apply(&broken(&cluster.namespace, false)).await?;
    eventually("the mended destination is part of the configuration", Duration::from_secs(60), || async {
        let configured = condition(&cluster, "Destination", BROKEN, "DestinationConfigured").await?;
        anyhow::ensure!(configured["status"] == "True", "{configured}");
        let valid = condition(&cluster, "CollectorsGroup", names::GATEWAY, "ConfigValid").await?;
        anyhow::ensure!(valid["status"] == "True", "{valid}");
        Ok(())
    })
    .await?;
    cluster.rolled_out("Deployment", (&cluster.namespace, names::GATEWAY), Duration::from_secs(60)).await?;
    cluster.delete(API_VERSION, "Destination", (&cluster.namespace, BROKEN)).await?;
    cluster.delete("v1", "Secret", (&cluster.namespace, BROKEN)).await?;
    eventually("the removed destination left the configuration", Duration::from_secs(60), || async {
        let map =
            cluster.get("v1", "ConfigMap", (&cluster.namespace, names::GATEWAY)).await?.context("no ConfigMap")?;
        match map.to_string().contains("clickhouse-broken") {
            true => bail!("it is there"),
            false => Ok(()),
        }
    })
    .await?;
    cluster.rolled_out("Deployment", (&cluster.namespace, names::GATEWAY), Duration::from_secs(60)).await?;

    let sent = stage.hush().await?;
    stop.store(true, Ordering::Relaxed);
    watching.await?;
    let mut total = 0;
    for (backend, stream) in crate::routing::BACKENDS {
        total += stage.has_all(backend, &Stage::members(stream), &sent).await?;
    }
    assert!(fewest.load(Ordering::Relaxed) >= 1, "there was always a gateway");
    println!(
        "  {total} items and lines arrived, none lost; never fewer than {} gateways ready",
        fewest.load(Ordering::Relaxed)
    );
    a_processor_is_set_aside(&cluster).await?;
    stage.strike().await
}

/// A Processor whose settings no collector takes: gateways and nodes go on without it, and its condition says why.
async fn a_processor_is_set_aside(cluster: &Cluster) -> anyhow::Result<()> {
    let processor = |statements: Value| {
        json!({
            "apiVersion": API_VERSION, "kind": "Processor",
            "metadata": {"name": BROKEN, "namespace": cluster.namespace},
            "spec": {
                "type": "transform", "signals": ["TRACES"], "collectorRoles": ["CLUSTER_GATEWAY", "NODE_COLLECTOR"],
                "processorConfig": {"error_mode": "ignore", "trace_statements": statements},
            },
        })
    };
    let begun = Instant::now();
    cluster.apply(&processor(json!("no list"))).await?;
    eventually("no collector has the broken Processor", Duration::from_secs(90), || async {
        for name in [names::GATEWAY, names::NODE_COLLECTOR] {
            let map = cluster.get("v1", "ConfigMap", (&cluster.namespace, name)).await?.context("no ConfigMap")?;
            anyhow::ensure!(!map.to_string().contains("transform/broken"), "{name} has it");
        }
        let added = condition(cluster, "Processor", BROKEN, "AddedToCollectorConfig").await?;
        let message = added["message"].as_str().unwrap_or_default();
        anyhow::ensure!(added["reason"] == "ProcessorStartFailed" && message.contains("trace_statements"), "{added}");
        Ok(())
    })
    .await?;
    cluster.rolled_out("Deployment", (&cluster.namespace, names::GATEWAY), Duration::from_secs(60)).await?;
    cluster.rolled_out("DaemonSet", (&cluster.namespace, names::NODE_COLLECTOR), Duration::from_secs(60)).await?;
    println!("  a Processor that no collector takes is set aside after {:.1} s", begun.elapsed().as_secs_f64());
    cluster.apply(&processor(json!(["set(span.attributes[\"mended\"], true)"]))).await?;
    eventually("the mended Processor is part of both", Duration::from_secs(60), || async {
        for name in [names::GATEWAY, names::NODE_COLLECTOR] {
            let map = cluster.get("v1", "ConfigMap", (&cluster.namespace, name)).await?.context("no ConfigMap")?;
            anyhow::ensure!(map.to_string().contains("transform/broken"), "{name} lacks it");
        }
        Ok(())
    })
    .await?;
    cluster.rolled_out("Deployment", (&cluster.namespace, names::GATEWAY), Duration::from_secs(60)).await?;
    cluster.rolled_out("DaemonSet", (&cluster.namespace, names::NODE_COLLECTOR), Duration::from_secs(60)).await?;
    cluster.delete(API_VERSION, "Processor", (&cluster.namespace, BROKEN)).await
}
