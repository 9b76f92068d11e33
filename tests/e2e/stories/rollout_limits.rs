//! Rollouts of workloads with three pods: one pod goes first, one workload at a time, and a circuit breaker stops what would follow.

use crate::instrumentation::a_backend_takes_all;
use crate::release;
use anyhow::Context;
use odigos_api::API_VERSION;
use odigos_e2e::cluster::{Cluster, Pod, condition, eventually};
use odigos_e2e::office::{self, CHAIN, Manner, Service};
use odigos_e2e::shop;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const NAMESPACE: &str = "e2e-limits";
const BACKENDS: &str = "e2e-limits-backends";
const BACKEND: &str = "limits";
/// Time for a rollout of three pods on two busy cores.
const LIMIT: Duration = Duration::from_secs(300);
const REPLICAS: u32 = 3;
/// Ends at once when it has an agent.
const CRASHING: &str = "crashing";
/// Get along with their agents.
const STEADY: [&str; 2] = ["steady-one", "steady-two"];

async fn pods(cluster: &Cluster, name: &str) -> anyhow::Result<Vec<Pod>> {
    cluster.pods(NAMESPACE, &format!("app={name}")).await
}

async fn uids(cluster: &Cluster, name: &str) -> anyhow::Result<BTreeSet<String>> {
    Ok(pods(cluster, name).await?.iter().map(Pod::uid).collect())
}

async fn deploy(cluster: &Cluster, name: &'static str) -> anyhow::Result<()> {
    // Node.js starts fastest, and tells at once that it cannot work.
    let service = Service { name, next: None, ..CHAIN[1] };
    let mut objects = office::deployment(NAMESPACE, service, &cluster.image, REPLICAS, Manner::Plain);
    // One pod may be away, so that the first one with agents takes the place of another.
    objects[1]["spec"]["strategy"] =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}});
    if name == CRASHING {
        let container = objects[1].pointer_mut("/spec/template/spec/containers/0").context("there is a container")?;
        let environment = container["env"].as_array_mut().context("env is a list")?;
        environment.push(json!({"name": "CRASH_WITH_AGENT", "value": "1"}));
    }
    cluster.apply_all(objects).await?;
    cluster.rolled_out("Deployment", (NAMESPACE, name), LIMIT).await
}

async fn cover(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    cluster.apply(&shop::source(NAMESPACE, "Deployment", name, &[])).await
}

/// A first pod fails and the other two are never touched; then nothing begins until a person resets the circuit breaker; then one
/// workload follows the other, and two of three pods serve all the time.
pub(crate) async fn hold_with_three_pods(cluster: Cluster) -> anyhow::Result<()> {
    let settings = [
        "config.rollbackGraceTime=20s",
        "config.rollout.canarySeconds=15",
        "config.rollout.maxConcurrentRollouts=1",
        "config.rollout.brakeRollbacks=1",
    ];
    release::install(&cluster.namespace, &settings).await?;
    cluster.apply(&shop::namespace(NAMESPACE)).await?;
    a_backend_takes_all(&cluster, (BACKENDS, BACKEND)).await?;
    for name in [CRASHING, STEADY[0], STEADY[1]] {
        deploy(&cluster, name).await?;
    }

    let before = uids(&cluster, CRASHING).await?;
    cover(&cluster, CRASHING).await?;
    eventually("it is rolled back", LIMIT, || async {
        let now = pods(&cluster, CRASHING).await?;
        let with_agent = now.iter().filter(|pod| pod.has_agent()).count();
        assert!(with_agent <= 1, "{with_agent} pods try at once");
        assert!(now.iter().filter(|pod| pod.is_ready()).count() >= 2, "two of three serve all the time");
        let config = cluster.config(NAMESPACE, CRASHING).await?;
        anyhow::ensure!(config["status"]["rollbackOccurred"] == true, "{}", config["status"]["conditions"]);
        anyhow::ensure!(now.len() == 3 && now.iter().all(|pod| pod.is_ready() && !pod.has_agent()), "not all are back");
        Ok(())
    })
    .await?;
    let kept = uids(&cluster, CRASHING).await?.intersection(&before).count();
    assert_eq!(kept, 2, "only the first pod was replaced");

    let before = (uids(&cluster, STEADY[0]).await?, uids(&cluster, STEADY[1]).await?);
    for name in STEADY {
        cover(&cluster, name).await?;
    }
    eventually("both wait behind the circuit breaker", LIMIT, || async {
        for name in STEADY {
            let rollout = condition(&cluster.config(NAMESPACE, name).await?, "WorkloadRollout");
            anyhow::ensure!(rollout["reason"] == "WaitingInQueue", "{name}: {rollout}");
            let message = rollout["message"].as_str().unwrap_or_default();
            anyhow::ensure!(message.contains(CRASHING), "it names what was rolled back: {message}");
        }
        Ok(())
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(before, (uids(&cluster, STEADY[0]).await?, uids(&cluster, STEADY[1]).await?), "no pod is touched");

    let begun = Instant::now();
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let released = format!("config.rollout.brakeReleasedAt={now}");
    release::install(&cluster.namespace, &[&settings[..], &[released.as_str()]].concat()).await?;
    eventually("both have their agents", 2 * LIMIT, || async {
        let (mut under_way, mut finished) = (Vec::new(), 0_usize);
        for name in STEADY {
            let now = pods(&cluster, name).await?;
            let ready = now.iter().filter(|pod| pod.is_ready()).count();
            assert!(ready >= 2, "{name}: {ready} of three pods are ready");
            // A slot is free as soon as every pod is of the new revision, so that one that never becomes ready blocks nobody.
            match now.iter().filter(|pod| pod.has_agent()).count() {
                0 => {}
                3 if now.len() == 3 => finished += usize::from(now.iter().all(|pod| pod.is_ready())),
                _ => under_way.push(name),
            }
        }
        assert!(under_way.len() <= 1, "one at a time: {under_way:?}");
        anyhow::ensure!(finished == 2, "{finished} of two");
        Ok(())
    })
    .await?;
    for name in STEADY {
        let config = cluster.config(NAMESPACE, name).await?;
        assert_eq!(config.pointer("/status/rollout/canary/result"), Some(&json!("Passed")), "{name}: {config}");
    }
    println!("  two workloads of three pods in turn: {:.0} s", begun.elapsed().as_secs_f64());

    cluster.delete(API_VERSION, "Destination", (&cluster.namespace, BACKEND)).await?;
    for name in [CRASHING, STEADY[0], STEADY[1]] {
        cluster.delete(API_VERSION, "Source", (NAMESPACE, &format!("deployment-{name}"))).await?;
    }
    cluster.delete_namespaces(&[NAMESPACE, BACKENDS]).await?;
    release::install(&cluster.namespace, &[]).await
}
