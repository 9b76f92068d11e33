//! The chart's NetworkPolicies, enforced: what the product needs passes, and nothing else reaches its pods.

use crate::routing;
use anyhow::Context;
use futures::FutureExt;
use odigos_api::names;
use odigos_e2e::cluster::{Cluster, eventually};
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A port on which no pod of the product listens, and no policy names.
const NOBODYS: u16 = 7;
/// A policy says nothing at all; a pod that does not listen refuses at once.
const SILENCE: Duration = Duration::from_secs(3);

/// Whether somebody answers at a port of a pod, if only by refusing.
async fn answers(address: &str, port: u16) -> bool {
    timeout(SILENCE, TcpStream::connect((address, port))).await.is_ok()
}

async fn addresses(cluster: &Cluster) -> anyhow::Result<Vec<(String, String)>> {
    let pods = cluster.pods(&cluster.namespace, "app.kubernetes.io/part-of=odigos").await?;
    let address = |pod: &odigos_e2e::cluster::Pod| Some((pod.name(), pod.0["status"]["podIP"].as_str()?.to_owned()));
    let inside = pods.iter().filter(|pod| pod.0["spec"]["hostNetwork"] != true && pod.is_ready());
    Ok(inside.filter_map(address).collect())
}

/// Lets the policies that every installation has be enforced, and tells the story of the streams again.
pub(crate) async fn what_is_used_passes(cluster: Cluster) -> anyhow::Result<()> {
    for (name, address) in addresses(&cluster).await? {
        assert!(answers(&address, NOBODYS).await, "nobody enforces anything yet, and {name} does not answer");
    }
    cluster.script(&["policies-start"]).await?;
    // Whatever comes of it, the stories that follow have a network without policies.
    let told = AssertUnwindSafe(told(&cluster)).catch_unwind().await;
    cluster.script(&["policies-stop"]).await?;
    cluster.rolled_out("Deployment", (&cluster.namespace, names::AUTOSCALER), Duration::from_secs(120)).await?;
    told.unwrap_or_else(|cause| std::panic::resume_unwind(cause))
}

async fn told(cluster: &Cluster) -> anyhow::Result<()> {
    let guarded = eventually("policies are in force", Duration::from_secs(30), || async {
        let pods = addresses(cluster).await?;
        for (name, address) in &pods {
            anyhow::ensure!(!answers(address, NOBODYS).await, "{name} answers at port {NOBODYS}");
        }
        anyhow::ensure!(pods.len() >= 3, "only {pods:?}");
        Ok(pods)
    })
    .await?;
    // Sources are taken only with the consent of admission, so it is reached; gateways, nodes and leaders as well.
    routing::items_of_each_stream_arrive(cluster).await?;
    let (name, address) = guarded.first().context("there is no pod")?;
    assert!(!answers(address, NOBODYS).await, "{name} answers at the end");
    println!("  {} pods are reached where they listen, and nowhere else", guarded.len());
    Ok(())
}
