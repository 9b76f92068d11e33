//! A language whose agent the release does not bring: the status says what to do, and with an image that the user names everything
//! is as for the others. The agent in that image stands in for the real one (`tests/e2e/applications/ruby-agent`).

use crate::instrumentation::{LIMIT, crossing};
use crate::release;
use anyhow::Context;
use odigos_api::API_VERSION;
use odigos_e2e::cluster::{Cluster, Pod, eventually};
use odigos_e2e::office::{self, Manner, Service};
use odigos_e2e::records::Records;
use odigos_e2e::shop;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const NAMESPACE: &str = "e2e-brought";
const BACKENDS: &str = "e2e-brought-backends";
const BACKEND: &str = "brought";
const DISTRIBUTION: &str = "ruby-community";
const CATALOG: Service = Service {
    name: "catalog",
    image: "ruby",
    language: "ruby",
    option: Some(("RUBYOPT", "-W:no-experimental")),
    answer: "kept",
    next: None,
};

/// Without the image nothing is touched; with it spans come; without it the application is as it was; and where it cannot be pulled, it
/// stays so.
pub(crate) async fn an_agent_comes_from_an_image_of_the_user(cluster: Cluster) -> anyhow::Result<()> {
    cluster.apply_all(office::surroundings(NAMESPACE, Manner::Plain)).await?;
    cluster.apply(&shop::namespace(BACKENDS)).await?;
    cluster.apply_all(shop::backend((BACKENDS, BACKEND), &cluster.image)).await?;
    cluster.rolled_out("Deployment", (BACKENDS, BACKEND), LIMIT).await?;
    let endpoint = format!("{BACKEND}.{BACKENDS}:4317");
    cluster.apply(&shop::destination(&cluster.namespace, BACKEND, &endpoint, &["default"])).await?;
    cluster.apply_all(office::deployment(NAMESPACE, CATALOG, &cluster.image, 1, Manner::Plain)).await?;
    cluster.rolled_out("Deployment", (NAMESPACE, CATALOG.name), LIMIT).await?;
    let before = pod(&cluster).await?;
    let template = template(&cluster).await?;

    cluster.apply(&shop::source(NAMESPACE, "Namespace", NAMESPACE, &[])).await?;
    let message = is_told(&cluster, "False", "NoAvailableAgent").await?;
    assert!(message.contains(&format!("agentImages.{DISTRIBUTION}")), "it says what to do: {message}");
    println!("  {message}");
    eventually("its output is collected all the same", LIMIT, || async {
        let _: Value = cluster.ask(NAMESPACE, &before.name(), "/").await?;
        let logs = arrived(&cluster).await?.of("logs", CATALOG.name).names;
        anyhow::ensure!(logs.keys().any(|log| log.contains("catalog served a request")), "{} lines", logs.len());
        Ok(())
    })
    .await?;
    assert_eq!(pod(&cluster).await?.identity(), before.identity(), "nothing was restarted");

    let image = cluster.image.replacen("odigos-e2e:", "odigos-e2e-ruby-agent:", 1);
    let begun = Instant::now();
    release::install(&cluster.namespace, &[&format!("config.agentImages.{DISTRIBUTION}={image}")]).await?;
    eventually("its spans arrive", LIMIT, || async {
        let _: Value = cluster.ask(NAMESPACE, &pod(&cluster).await?.name(), "/").await?;
        crossing(&arrived(&cluster).await?, &[CATALOG])
    })
    .await?;
    println!("  first trace {:.1} s after the image was named", begun.elapsed().as_secs_f64());
    cluster.rolled_out("Deployment", (NAMESPACE, CATALOG.name), LIMIT).await?;
    is_told(&cluster, "True", "EnabledSuccessfully").await?;
    let with = pod(&cluster).await?;
    assert_eq!(with.0.pointer("/spec/initContainers/0/image"), Some(&json!(image)));
    assert_eq!(with.restarts(), 0);
    keeps_its_option(&cluster, &with).await?;

    release::install(&cluster.namespace, &[]).await?;
    is_told(&cluster, "False", "NoAvailableAgent").await?;
    eventually("no pod has the agent", LIMIT, || async {
        let pod = pod(&cluster).await?;
        anyhow::ensure!(pod.0.pointer("/spec/initContainers").is_none(), "{} has", pod.name());
        Ok(())
    })
    .await?;
    let without = pod(&cluster).await?;
    assert_eq!(without.0["spec"]["containers"][0]["env"], before.0["spec"]["containers"][0]["env"]);
    keeps_its_option(&cluster, &without).await?;
    assert_eq!(self::template(&cluster).await?, template, "the template is as its owner wrote it");

    // The wrong registry, which only the kubelet notices, at once.
    let wrong = "localhost:1/agents/ruby:1";
    let setting = format!("config.agentImages.{DISTRIBUTION}={wrong}");
    release::install(&cluster.namespace, &[&setting, "config.rollbackGraceTime=20s"]).await?;
    let begun = Instant::now();
    let message = is_told(&cluster, "False", "ImagePullBackOff").await?;
    println!("  rolled back {:.1} s after a wrong image was named: {message}", begun.elapsed().as_secs_f64());
    assert!(message.contains(wrong), "the cause is told: {message}");
    eventually("only the pod from before is left", LIMIT, || async {
        let pods = cluster.pods(NAMESPACE, &format!("app={}", CATALOG.name)).await?;
        assert!(pods.iter().any(Pod::is_ready), "some pod is ready all the time");
        anyhow::ensure!(pods.len() == 1 && pods[0].0.pointer("/spec/initContainers").is_none(), "{} pods", pods.len());
        Ok(())
    })
    .await?;
    release::install(&cluster.namespace, &[]).await?;
    strike(&cluster).await
}

/// Its newest pod, which is ready.
async fn pod(cluster: &Cluster) -> anyhow::Result<Pod> {
    let pods = cluster.pods(NAMESPACE, &format!("app={}", CATALOG.name)).await?;
    let ready = pods.into_iter().filter(Pod::is_ready);
    ready.max_by_key(|pod| pod.0["metadata"]["creationTimestamp"].to_string()).context("no pod is ready")
}

/// The template's spec.
async fn template(cluster: &Cluster) -> anyhow::Result<Value> {
    let live = cluster.get("apps/v1", "Deployment", (NAMESPACE, CATALOG.name)).await?.context("no Deployment")?;
    Ok(live["spec"]["template"]["spec"].clone())
}

async fn keeps_its_option(cluster: &Cluster, pod: &Pod) -> anyhow::Result<()> {
    let answer: Value = cluster.ask(NAMESPACE, &pod.name(), "/options").await?;
    assert_eq!(answer["option"], CATALOG.answer, "{}: {answer}", pod.name());
    Ok(())
}

async fn arrived(cluster: &Cluster) -> anyhow::Result<Records> {
    let pods = cluster.pods(BACKENDS, &format!("app={BACKEND}")).await?;
    let pod = pods.first().context("the backend has no pod")?;
    cluster.ask(BACKENDS, &pod.name(), "/").await
}

/// Waits for this condition `AgentEnabled`, and returns its message.
async fn is_told(cluster: &Cluster, status: &str, reason: &str) -> anyhow::Result<String> {
    let name = format!("deployment-{}", CATALOG.name);
    eventually(&format!("AgentEnabled is {status}, {reason}"), LIMIT, || async {
        let live = cluster.get(API_VERSION, "InstrumentationConfig", (NAMESPACE, &name)).await?.context("no config")?;
        let conditions = live.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        let condition = conditions.into_iter().find(|one| one["type"] == "AgentEnabled").context("no condition")?;
        anyhow::ensure!(condition["status"] == status && condition["reason"] == reason, "{condition}");
        Ok(condition["message"].as_str().unwrap_or_default().to_owned())
    })
    .await
}

async fn strike(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.delete(API_VERSION, "Destination", (&cluster.namespace, BACKEND)).await?;
    for namespace in [NAMESPACE, BACKENDS] {
        cluster.delete("v1", "Namespace", ("", namespace)).await?;
    }
    eventually("its namespaces are gone", Duration::from_secs(90), || async {
        for namespace in [NAMESPACE, BACKENDS] {
            anyhow::ensure!(cluster.get("v1", "Namespace", ("", namespace)).await?.is_none(), "{namespace} is there");
        }
        Ok(())
    })
    .await
}
