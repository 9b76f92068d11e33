//! The gateway's HorizontalPodAutoscaler goes by what gateways refuse: the cluster's API server asks the autoscaler's pods, and the
//! cluster's own controller reads the answer with its own account.

use crate::release;
use crate::routing::Stage;
use anyhow::Context;
use odigos_api::{API_VERSION, names};
use odigos_e2e::cluster::{Cluster, eventually, object};
use serde_json::Value;
use std::time::{Duration, Instant};

const API: &str = "/apis/custom.metrics.k8s.io/v1beta1";
const METRIC: &str = "odigos_gateway_rejections";
const REGISTRATION: (&str, &str) = ("", "v1beta1.custom.metrics.k8s.io");

async fn autoscaler(cluster: &Cluster) -> anyhow::Result<Value> {
    let key = (cluster.namespace.as_str(), names::GATEWAY);
    cluster.get("autoscaling/v2", "HorizontalPodAutoscaler", key).await?.context("there is none")
}

/// Installs with the custom metrics API, and waits until the cluster reaches it.
pub(crate) async fn switch_on(cluster: &Cluster) -> anyhow::Result<()> {
    release::install(&cluster.namespace, &["customMetrics.enabled=true"]).await?;
    cluster.rolled_out("Deployment", (&cluster.namespace, names::AUTOSCALER), Duration::from_secs(120)).await?;
    eventually("the API server reaches the autoscaler", Duration::from_secs(120), || async {
        let live =
            cluster.get("apiregistration.k8s.io/v1", "APIService", REGISTRATION).await?.context("not registered")?;
        let conditions = live.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
        let is_available = conditions.into_iter().any(|one| one["type"] == "Available" && one["status"] == "True");
        anyhow::ensure!(is_available, "{}", live["status"]);
        Ok(())
    })
    .await
}

/// The value of the metric, as the API server answers.
async fn value(cluster: &Cluster) -> anyhow::Result<String> {
    let path = format!("{API}/namespaces/{}/deployments.apps/{}/{METRIC}", cluster.namespace, names::GATEWAY);
    let answer: Value = serde_json::from_str(&cluster.raw(&path).await?)?;
    Ok(answer["items"][0]["value"].as_str().unwrap_or_default().to_owned())
}

/// Gateways whose memory is too small for what arrives refuse: the metric is 1, the cluster's controller reads that and adds gateways.
async fn gateways_that_refuse_are_joined(cluster: &Cluster) -> anyhow::Result<()> {
    let stage = Stage { cluster, applications: "e2e-refused", backends: "e2e-refused-backends" };
    // A collector without any load has more than this on its heap, so that it refuses all that arrives.
    let small = [
        "customMetrics.enabled=true",
        "config.collectorGateway.memoryLimiterLimitMiB=16",
        "config.collectorGateway.memoryLimiterSpikeLimitMiB=15",
        // Else it would follow the limiter, and the collector would do nothing but collect garbage.
        "config.collectorGateway.goMemLimitMiB=200",
    ];
    release::install(&cluster.namespace, &small).await?;
    cluster.rolled_out("Deployment", (&cluster.namespace, names::GATEWAY), Duration::from_secs(180)).await?;
    let before = autoscaler(cluster).await?["status"]["desiredReplicas"].as_i64().unwrap_or_default();
    let begun = Instant::now();
    stage.set_with(20, &["--signals=traces"]).await?;
    stage.begin().await?;
    eventually("the metric is 1", Duration::from_secs(180), || async {
        let value = value(cluster).await?;
        anyhow::ensure!(value == "1", "it is {value}");
        Ok(())
    })
    .await?;
    println!("  {METRIC} is 1 after {:.1} s of refused spans", begun.elapsed().as_secs_f64());
    eventually("the cluster's controller adds a gateway", Duration::from_secs(180), || async {
        let status = autoscaler(cluster).await?["status"].clone();
        anyhow::ensure!(status["desiredReplicas"].as_i64().unwrap_or_default() > before, "{status}");
        Ok(())
    })
    .await?;
    stage.strike().await?;
    release::install(&cluster.namespace, &["customMetrics.enabled=true"]).await?;
    cluster.rolled_out("Deployment", (&cluster.namespace, names::GATEWAY), Duration::from_secs(180)).await?;
    eventually("the metric is 0 again", Duration::from_secs(180), || async {
        let value = value(cluster).await?;
        anyhow::ensure!(value == "0", "it is {value}");
        Ok(())
    })
    .await
}

/// Switched on, Kubernetes reads the metric; switched off, nothing of it is left and namespaces go as ever.
pub(crate) async fn the_cluster_reads_what_gateways_refuse(cluster: Cluster) -> anyhow::Result<()> {
    let begun = Instant::now();
    switch_on(&cluster).await?;
    println!(
        "  the API server reaches the autoscaler {:.1} s after `helm upgrade` began",
        begun.elapsed().as_secs_f64()
    );
    let group = (cluster.namespace.as_str(), names::GATEWAY);
    eventually("the gateway's group tells it", Duration::from_secs(60), || async {
        let live = cluster.get(API_VERSION, "CollectorsGroup", group).await?.context("there is none")?;
        let conditions = live.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
        let told = conditions.into_iter().find(|one| one["type"] == "CustomMetricsAvailable");
        anyhow::ensure!(told.is_some_and(|told| told["reason"] == "Registered"), "{told:?}");
        Ok(())
    })
    .await?;
    assert_eq!(value(&cluster).await?, "0");
    eventually("the autoscaling controller reads the metric", Duration::from_secs(90), || async {
        let current = autoscaler(&cluster).await?;
        let read = current.pointer("/status/currentMetrics").and_then(Value::as_array).into_iter().flatten();
        let ours = read.into_iter().find(|one| one.pointer("/object/metric/name").is_some_and(|name| name == METRIC));
        let value = ours.and_then(|one| one.pointer("/object/current/value"));
        anyhow::ensure!(value.is_some_and(|value| value == "0"), "{}", current["status"]);
        Ok(())
    })
    .await?;
    println!("  the cluster's controller reads {METRIC} after {:.1} s", begun.elapsed().as_secs_f64());
    gateways_that_refuse_are_joined(&cluster).await?;

    release::install(&cluster.namespace, &[]).await?;
    cluster.rolled_out("Deployment", (&cluster.namespace, names::AUTOSCALER), Duration::from_secs(120)).await?;
    let left = cluster.get("apiregistration.k8s.io/v1", "APIService", REGISTRATION).await?;
    assert!(left.is_none(), "{left:?}");
    eventually("the autoscaler object is as before", Duration::from_secs(60), || async {
        let metrics = autoscaler(&cluster).await?["spec"]["metrics"].clone();
        let is_plain =
            metrics.as_array().is_some_and(|all| all.len() == 2 && all.iter().all(|one| one["type"] == "Resource"));
        anyhow::ensure!(is_plain, "{metrics}");
        Ok(())
    })
    .await?;
    cluster.apply(&object("v1", "Namespace", "", "e2e-passing")).await?;
    cluster.delete("v1", "Namespace", ("", "e2e-passing")).await?;
    eventually("a namespace goes", Duration::from_secs(60), || async {
        let left = cluster.get("v1", "Namespace", ("", "e2e-passing")).await?;
        anyhow::ensure!(left.is_none(), "{left:?}");
        Ok(())
    })
    .await
}
