//! The webhooks' certificates change while objects are admitted all the time: none is refused, no pod misses its agent.

use crate::rollback::{NAMESPACE, STEADY, prepare, strike};
use anyhow::Context;
use odigos_api::labels::AGENTS_META_HASH;
use odigos_api::names;
use odigos_e2e::cluster::Cluster;
use odigos_e2e::shop;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Where the replicas share their authority.
const SECRET: &str = "odigos-webhook-authority";
/// Each replica looks once a minute, and serves its new certificate some seconds after it has told the API server.
const EVERY_REPLICA: Duration = Duration::from_secs(90);

/// The authority is too old: it is replaced, every replica follows, and nobody notices.
pub(crate) async fn they_change_unnoticed(cluster: Cluster) -> anyhow::Result<()> {
    prepare(&cluster).await?;
    let pod = model(&cluster).await?;
    let before = bundle(&cluster).await?;
    // 2001-09-09T01:46:40Z in the encoding of Secrets.
    let old = json!({"data": {"made": "MjAwMS0wOS0wOVQwMTo0Njo0MFo="}});
    cluster.merge("v1", "Secret", (&cluster.namespace, SECRET), &old).await?;
    let begun = Instant::now();
    let (mut admitted, mut changed) = (0_u32, None);
    while changed.is_none_or(|changed: Instant| changed.elapsed() < EVERY_REPLICA) {
        anyhow::ensure!(begun.elapsed() < 3 * EVERY_REPLICA, "the authority is not replaced");
        let made = cluster.try_out(&pod).await?;
        let has_agent = made["metadata"]["labels"].get(AGENTS_META_HASH).is_some();
        assert!(has_agent, "a pod misses its agent {:?} after the beginning", begun.elapsed());
        // Refused when nobody answers for Sources.
        cluster.try_out(&shop::source(NAMESPACE, "Deployment", STEADY, &[])).await?;
        admitted += 2;
        if changed.is_none() && bundle(&cluster).await? != before {
            changed = Some(Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let renewed = renewals(&cluster).await?;
    println!("  {admitted} objects admitted while the authority changed: none refused, no pod without its agent");
    assert!(renewed.iter().all(|times| *times >= 2), "every replica serves another certificate: {renewed:?}");
    strike(&cluster).await
}

/// A pod as its controller would make it.
async fn model(cluster: &Cluster) -> anyhow::Result<Value> {
    let pods = cluster.pods(NAMESPACE, &format!("app={STEADY}")).await?;
    let of = pods.first().context("the application has no pod")?;
    let metadata = &of.0["metadata"];
    let labels = json!({"app": STEADY, "pod-template-hash": metadata["labels"]["pod-template-hash"]});
    Ok(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "tried-out", "namespace": NAMESPACE, "labels": labels, "ownerReferences": metadata["ownerReferences"],
        },
        "spec": {"containers": [{"name": "app", "image": "none"}]},
    }))
}

/// What the API server trusts.
async fn bundle(cluster: &Cluster) -> anyhow::Result<Value> {
    let kind = "MutatingWebhookConfiguration";
    let live = cluster.get("admissionregistration.k8s.io/v1", kind, ("", names::INSTRUMENTOR)).await?;
    Ok(live.context("no webhooks")?["webhooks"][0]["clientConfig"]["caBundle"].clone())
}

/// How often each replica has said that its certificate is another one.
async fn renewals(cluster: &Cluster) -> anyhow::Result<Vec<usize>> {
    let label = format!("app.kubernetes.io/name={}", names::INSTRUMENTOR);
    let mut counts = Vec::new();
    for pod in cluster.pods(&cluster.namespace, &label).await? {
        let path = format!("/api/v1/namespaces/{}/pods/{}/log", cluster.namespace, pod.name());
        counts.push(cluster.raw(&path).await?.matches("webhook certificate renewed").count());
    }
    Ok(counts)
}
