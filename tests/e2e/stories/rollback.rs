//! When agents and applications do not get along, or admission was away: the application goes on, and the product mends itself.

use crate::instrumentation::a_backend_takes_all;
use crate::release;
use anyhow::{Context, bail};
use odigos_api::{API_VERSION, names};
use odigos_e2e::cluster::{Cluster, Pod, condition, eventually, outage};
use odigos_e2e::office::{self, CHAIN, Manner};
use odigos_e2e::shop;
use serde_json::json;
use std::time::{Duration, Instant};

pub(crate) const NAMESPACE: &str = "e2e-crash";
const BACKENDS: &str = "e2e-crash-backends";
const BACKEND: &str = "crash";
/// Time for a rollout of a Java application on two busy cores.
const LIMIT: Duration = Duration::from_secs(180);
/// How long pods may be unwell in this story, and twice as long only never ready.
const GRACE: &str = "60s";
/// The application that gets along with its agent.
pub(crate) const STEADY: &str = "steady";

/// Applications whose agent is in their process.
fn crashing() -> impl Iterator<Item = office::Service> {
    CHAIN.into_iter().filter(office::Service::has_agent_inside)
}

/// One application of each language that ends at once when it has an agent, and one that does not.
pub(crate) async fn what_crashes_is_left_alone(cluster: Cluster) -> anyhow::Result<()> {
    let grace = format!("config.rollbackGraceTime={GRACE}");
    // That many rollbacks at once would stop all others, which is another story.
    release::install(&cluster.namespace, &[&grace, "config.rollout.brakeRollbacks=0"]).await?;
    set(&cluster).await?;
    for service in crashing() {
        let mut objects = office::deployment(NAMESPACE, service, &cluster.image, 1, Manner::Plain);
        let container = objects[1].pointer_mut("/spec/template/spec/containers/0").context("there is a container")?;
        let environment = container["env"].as_array_mut().context("env is a list")?;
        environment.push(json!({"name": "CRASH_WITH_AGENT", "value": "1"}));
        // Then the end of the log is among what the pod's status tells.
        container["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
        if service.language == "python" {
            // Workers that end at once would take a core from those that are to crash in time.
            container["resources"] = json!({"limits": {"cpu": "500m"}});
        }
        cluster.apply_all(objects).await?;
    }
    let steady = office::Service { name: STEADY, ..CHAIN[2] };
    cluster.apply_all(office::deployment(NAMESPACE, steady, &cluster.image, 1, Manner::Plain)).await?;
    for name in crashing().map(|service| service.name).chain([STEADY]) {
        cluster.rolled_out("Deployment", (NAMESPACE, name), LIMIT).await?;
    }

    let begun = Instant::now();
    cluster.apply(&shop::source(NAMESPACE, "Namespace", NAMESPACE, &[])).await?;
    let limit = Duration::from_secs(600);
    eventually("every application that crashes is left alone again", limit, || async {
        for service in crashing() {
            let pods = cluster.pods(NAMESPACE, &format!("app={}", service.name)).await?;
            assert!(pods.iter().any(Pod::is_ready), "{} always has a pod that is ready", service.name);
            let config = cluster.config(NAMESPACE, service.name).await?;
            anyhow::ensure!(config["status"]["rollbackOccurred"] == true, "{} is not rolled back", service.name);
            let enabled = condition(&config, "AgentEnabled");
            anyhow::ensure!(enabled["reason"] == "CrashLoopBackOff", "{}: {enabled}", service.name);
            let rollout = condition(&config, "WorkloadRollout");
            anyhow::ensure!(rollout["reason"] == "RolloutFinished", "{}: {rollout}", service.name);
            anyhow::ensure!(
                pods.len() == 1 && pods[0].is_ready() && !pods[0].has_agent(),
                "{} has others",
                service.name
            );
        }
        Ok(())
    })
    .await?;
    println!(
        "  three languages rolled back {:.0} s after the Source, never without a ready pod",
        begun.elapsed().as_secs_f64()
    );
    // The server of the Python application starts its workers again and again, so its pod is only never ready. The others may not have
    // come as far as to crash in time on two cores that others use too; one of them has.
    let (crashed, unready) = ("cannot work with an agent", "is not ready");
    let mut messages = Vec::new();
    for service in crashing() {
        let message = condition(&cluster.config(NAMESPACE, service.name).await?, "AgentEnabled");
        let message = message["message"].as_str().unwrap_or_default().to_owned();
        println!("  {message}");
        assert!(
            [crashed, unready].iter().any(|cause| message.contains(cause)),
            "the cause is in the message: {message}"
        );
        messages.push(message);
    }
    assert!(messages.iter().any(|message| message.contains(crashed)), "none has said its last words: {messages:?}");
    let well = cluster.pods(NAMESPACE, &format!("app={STEADY}")).await?;
    assert!(well.iter().all(|pod| pod.is_ready() && pod.has_agent()), "{STEADY} keeps its agent");
    // It never tries again by itself.
    let before: Vec<_> = cluster.pods(NAMESPACE, "").await?.iter().map(Pod::identity).collect();
    tokio::time::sleep(Duration::from_secs(15)).await;
    let after: Vec<_> = cluster.pods(NAMESPACE, "").await?.iter().map(Pod::identity).collect();
    assert_eq!(before, after, "nothing moves any more");
    strike(&cluster).await
}

/// Pods that are made while admission is away are not held up, and get their agents afterwards.
pub(crate) async fn missed_pods_are_mended(cluster: Cluster) -> anyhow::Result<()> {
    prepare(&cluster).await?;

    let replicas = |count: u32| json!({"spec": {"replicas": count}});
    let instrumentor = (cluster.namespace.as_str(), names::INSTRUMENTOR);
    cluster.merge("apps/v1", "Deployment", instrumentor, &replicas(0)).await?;
    eventually("no instrumentor runs", Duration::from_secs(60), || async {
        let label = format!("app.kubernetes.io/name={}", names::INSTRUMENTOR);
        let pods = cluster.list("v1", "Pod", &cluster.namespace, &label).await?;
        anyhow::ensure!(pods.is_empty(), "{} do", pods.len());
        Ok(())
    })
    .await?;
    let (away, mut rounds) = (Instant::now(), 0);
    while rounds == 0 || away.elapsed() < outage(Duration::ZERO, Duration::from_secs(180)) {
        rounds += 1;
        let begun = Instant::now();
        let before: Vec<String> = cluster.pods(NAMESPACE, "").await?.iter().map(Pod::uid).collect();
        for pod in cluster.pods(NAMESPACE, "").await? {
            cluster.kill((NAMESPACE, &pod.name())).await?;
        }
        eventually("another pod is ready", LIMIT, || async {
            let pods = cluster.pods(NAMESPACE, "").await?;
            let is_new = |pod: &Pod| pod.is_ready() && !before.contains(&pod.uid());
            anyhow::ensure!(!pods.is_empty() && pods.iter().all(is_new), "{} pods, not all are", pods.len());
            Ok(())
        })
        .await?;
        println!("  without admission a pod is ready after {:.1} s", begun.elapsed().as_secs_f64());
        let pods = cluster.pods(NAMESPACE, "").await?;
        assert!(pods.iter().all(|pod| !pod.has_agent()), "nobody could give it an agent");
    }
    println!("  admission was away for {:.0} s", away.elapsed().as_secs_f64());

    let begun = Instant::now();
    cluster.merge("apps/v1", "Deployment", instrumentor, &replicas(2)).await?;
    agents_are_in_all(&cluster, LIMIT).await?;
    println!("  mended {:.0} s after the instrumentor was asked back", begun.elapsed().as_secs_f64());
    cluster.rolled_out("Deployment", (NAMESPACE, STEADY), LIMIT).await?;
    strike(&cluster).await
}

/// One application with its agent.
pub(crate) async fn prepare(cluster: &Cluster) -> anyhow::Result<()> {
    release::install(&cluster.namespace, &[]).await?;
    set(cluster).await?;
    let steady = office::Service { name: STEADY, ..CHAIN[2] };
    cluster.apply_all(office::deployment(NAMESPACE, steady, &cluster.image, 1, Manner::Plain)).await?;
    cluster.rolled_out("Deployment", (NAMESPACE, STEADY), LIMIT).await?;
    cluster.apply(&shop::source(NAMESPACE, "Namespace", NAMESPACE, &[])).await?;
    agents_are_in_all(cluster, LIMIT).await?;
    cluster.rolled_out("Deployment", (NAMESPACE, STEADY), LIMIT).await
}

async fn agents_are_in_all(cluster: &Cluster, limit: Duration) -> anyhow::Result<()> {
    eventually("every pod carries an agent and is ready", limit, || async {
        let pods = cluster.pods(NAMESPACE, "").await?;
        match pods.iter().find(|pod| !pod.is_ready() || !pod.has_agent()) {
            Some(pod) => bail!("{} is not, or does not", pod.name()),
            None => Ok(()),
        }
    })
    .await
}

async fn set(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.apply(&shop::namespace(NAMESPACE)).await?;
    a_backend_takes_all(cluster, (BACKENDS, BACKEND)).await
}

pub(crate) async fn strike(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.delete(API_VERSION, "Destination", (&cluster.namespace, BACKEND)).await?;
    cluster.delete(API_VERSION, "Source", (NAMESPACE, &format!("namespace-{NAMESPACE}"))).await?;
    cluster.delete_namespaces(&[NAMESPACE, BACKENDS]).await?;
    release::install(&cluster.namespace, &[]).await
}
