//! A language whose agent the release does not bring: the status says what to do, and with an image that the user names everything
//! is as for the others. The agent in that image stands in for the real one (`tests/e2e/applications/ruby-agent`).

use crate::instrumentation::{LIMIT, Office, crossing};
use crate::release;
use odigos_e2e::cluster::{Cluster, Pod, condition, eventually};
use odigos_e2e::office::{Manner, Service};
use odigos_e2e::shop;
use serde_json::json;
use std::time::Instant;

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
    let office = Office {
        cluster: &cluster,
        namespace: "e2e-brought",
        backends: "e2e-brought-backends",
        manner: Manner::Plain,
        services: &[CATALOG],
    };
    office.set().await?;
    let before = office.templates().await?;
    let identities = async || anyhow::Ok(office.pods().await?.iter().map(Pod::identity).collect::<Vec<_>>());
    let pods = identities().await?;

    cluster.apply(&shop::source(office.namespace, "Namespace", office.namespace, &[])).await?;
    let message = is_told(&office, "False", "NoAvailableAgent").await?;
    assert!(message.contains(&format!("agentImages.{DISTRIBUTION}")), "it says what to do: {message}");
    println!("  {message}");
    eventually("its output is collected all the same", LIMIT, || async {
        office.ask().await?;
        let logs = office.arrived().await?.of("logs", CATALOG.name).names;
        anyhow::ensure!(logs.keys().any(|log| log.contains("catalog served a request")), "{} lines", logs.len());
        Ok(())
    })
    .await?;
    assert_eq!(identities().await?, pods, "nothing was restarted");

    let image = cluster.image.replacen("odigos-e2e:", "odigos-e2e-ruby-agent:", 1);
    let begun = Instant::now();
    release::install(&cluster.namespace, &[&format!("config.agentImages.{DISTRIBUTION}={image}")]).await?;
    eventually("its spans arrive", LIMIT, || async {
        office.ask().await?;
        crossing(&office.arrived().await?, office.services)
    })
    .await?;
    println!("  first trace {:.1} s after the image was named", begun.elapsed().as_secs_f64());
    cluster.rolled_out("Deployment", (office.namespace, CATALOG.name), LIMIT).await?;
    is_told(&office, "True", "EnabledSuccessfully").await?;
    for pod in office.pods().await? {
        assert_eq!(pod.0.pointer("/spec/initContainers/0/image"), Some(&json!(image)));
        assert_eq!(pod.restarts(), 0);
        office.keeps_options(CATALOG, &pod).await?;
    }

    release::install(&cluster.namespace, &[]).await?;
    is_told(&office, "False", "NoAvailableAgent").await?;
    office.is_as_it_was(&before).await?;

    // The wrong registry, which only the kubelet notices, at once.
    let wrong = "localhost:1/agents/ruby:1";
    let setting = format!("config.agentImages.{DISTRIBUTION}={wrong}");
    release::install(&cluster.namespace, &[&setting, "config.rollbackGraceTime=20s"]).await?;
    let begun = Instant::now();
    let message = is_told(&office, "False", "ImagePullBackOff").await?;
    println!("  rolled back {:.1} s after a wrong image was named: {message}", begun.elapsed().as_secs_f64());
    assert!(message.contains(wrong), "the cause is in the message: {message}");
    eventually("only the pod from before is left", LIMIT, || async {
        let pods = office.pods().await?;
        assert!(pods.iter().any(Pod::is_ready), "some pod is ready all the time");
        anyhow::ensure!(pods.len() == 1, "{} pods", pods.len());
        // Taking the agent out restarts the workload once more, sooner or later.
        office.is_as_it_was(&before).await
    })
    .await?;
    release::install(&cluster.namespace, &[]).await?;
    office.strike().await
}

/// Waits for this condition `AgentEnabled`, and returns its message.
async fn is_told(office: &Office<'_>, status: &str, reason: &str) -> anyhow::Result<String> {
    eventually(&format!("AgentEnabled is {status}, {reason}"), LIMIT, || async {
        let condition = condition(&office.cluster.config(office.namespace, CATALOG.name).await?, "AgentEnabled");
        anyhow::ensure!(condition["status"] == status && condition["reason"] == reason, "{condition}");
        Ok(condition["message"].as_str().unwrap_or_default().to_owned())
    })
    .await
}
