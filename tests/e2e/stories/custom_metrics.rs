//! The gateway's HorizontalPodAutoscaler goes by what gateways refuse: the cluster's API server asks the autoscaler's pods, and the
//! cluster's own controller reads the answer with its own account.

use crate::release;
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
    let path = format!("{API}/namespaces/{}/deployments.apps/{}/{METRIC}", cluster.namespace, names::GATEWAY);
    let answer: Value = serde_json::from_str(&cluster.raw(&path).await?)?;
    assert_eq!(answer["items"][0]["value"], "0", "{answer}");
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
