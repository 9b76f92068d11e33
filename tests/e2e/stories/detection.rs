//! Clusters that allow no privileged DaemonSet: pods that live for seconds look instead, and go.

use crate::instrumentation::{LIMIT, Office, crossing};
use crate::{install, leaving, release};
use anyhow::{Context, bail};
use odigos_api::{labels, names};
use odigos_e2e::cluster::{Cluster, condition, eventually};
use odigos_e2e::office::{CHAIN, Manner};
use odigos_e2e::shop;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Services of the chain whose agents run inside of them: all but the last one.
const INSIDE: usize = 3;

/// An upgrade takes the agents off the nodes; languages are found all the same, traces arrive, Go says why it has none, and no
/// detection pod is left. Taking the product away leaves every application as it was, and nothing else.
pub(crate) async fn without_an_agent_on_the_nodes(cluster: Cluster) -> anyhow::Result<()> {
    release::install(&cluster.namespace, &["agent.mode=pod"]).await?;
    eventually("no agent is on the nodes", LIMIT, || async {
        let pods =
            cluster.pods(&cluster.namespace, &format!("app.kubernetes.io/name={}", names::AGENT_SERVICE)).await?;
        let live = cluster.get("apps/v1", "DaemonSet", (&cluster.namespace, names::AGENT_SERVICE)).await?;
        anyhow::ensure!(live.is_none() && pods.is_empty(), "{} pods are there", pods.len());
        Ok(())
    })
    .await?;
    let office = Office {
        cluster: &cluster,
        namespace: "e2e-podded",
        backends: "e2e-podded-backends",
        manner: Manner::Plain,
        services: &CHAIN,
    };
    office.set().await?;
    let before = office.templates().await?;
    let begun = Instant::now();
    cluster.apply(&shop::source(office.namespace, "Namespace", office.namespace, &[])).await?;
    for service in CHAIN {
        let language = service.language;
        let what = format!("it is known that {} runs {language}", service.name);
        eventually(&what, LIMIT, || async {
            let config = cluster.config(office.namespace, service.name).await?;
            let found = config.pointer("/status/runtimeDetailsByContainer/0/language").and_then(Value::as_str);
            anyhow::ensure!(found == Some(language), "{found:?}: {}", condition(&config, "RuntimeDetection"));
            Ok(())
        })
        .await?;
    }
    println!("  four languages are known {:.1} s after the Source", begun.elapsed().as_secs_f64());
    eventually("one trace crosses the services with agents inside", LIMIT, || async {
        office.ask().await?;
        crossing(&office.arrived().await?, CHAIN.get(..INSIDE).context("the chain is shorter")?)
    })
    .await?;
    println!("  first whole trace {:.1} s after the Source", begun.elapsed().as_secs_f64());
    let go = cluster.config(office.namespace, CHAIN[INSIDE].name).await?;
    let told = condition(&go, "AgentEnabled");
    assert!(told["reason"] == "NoAvailableAgent" && told.to_string().contains("nodes have no agent"), "{told}");
    for service in CHAIN.iter().take(INSIDE) {
        cluster.rolled_out("Deployment", (office.namespace, service.name), LIMIT).await?;
        for pod in cluster.pods(office.namespace, &format!("app={}", service.name)).await? {
            assert!(pod.0.pointer("/spec/initContainers/0").is_some(), "{}: nothing comes from the node", pod.name());
        }
    }
    none_is_left(&cluster).await?;
    leaving::uninstall().await?;
    office.is_left_as_it_was(&before).await?;
    // What agents kept on nodes before the upgrade stays there, as the documentation says.
    leaving::nothing_of_ours_is_there(&cluster).await?;
    office.strike().await?;
    release::install(&cluster.namespace, &[]).await?;
    install::is_up(&cluster).await
}

async fn none_is_left(cluster: &Cluster) -> anyhow::Result<()> {
    eventually("no detection pod is left", Duration::from_secs(60), || async {
        match cluster.list("v1", "Pod", "", labels::DETECTION_POD).await?.first() {
            Some(pod) => bail!("{} is", pod["metadata"]["name"]),
            None => Ok(()),
        }
    })
    .await
}
