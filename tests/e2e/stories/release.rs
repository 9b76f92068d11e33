//! The product's release on the cluster, through Helm as a user runs it.

use anyhow::Context;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// Values of the stories: images from where the cluster has them.
pub(crate) fn values() -> anyhow::Result<Vec<String>> {
    let variable =
        |name: &str| std::env::var(name).with_context(|| format!("{name} is not set; run `cargo xtask e2e`"));
    let (prefix, version) = (variable("ODIGOS_E2E_PREFIX")?, variable("ODIGOS_E2E_VERSION")?);
    Ok(vec![
        format!("image.prefix={prefix}"),
        format!("image.tag={version}"),
        // Nodes of a test have few cores, and every change adds gateways before it takes any away.
        "config.resourceSizePreset=size_s".to_owned(),
        // Stories cover namespaces of many workloads and wait for all of them; the limit has a story of its own.
        "config.rollout.maxConcurrentRolloutsPerNamespace=0".to_owned(),
        // Stories read metrics of collectors by the API server, which has no certificate for them; the autoscaler uses its own.
        "config.metrics.plaintext=true".to_owned(),
    ])
}

/// Runs Helm; returns what it printed.
///
/// # Errors
/// What Helm said.
pub(crate) async fn helm(arguments: &[&str]) -> anyhow::Result<String> {
    let binary = std::env::var_os("ODIGOS_E2E_HELM").context("ODIGOS_E2E_HELM is not set; run `cargo xtask e2e`")?;
    let output = Command::new(PathBuf::from(binary)).args(arguments).stdin(Stdio::null()).output().await?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    anyhow::ensure!(output.status.success(), "helm {}: {said}", arguments.join(" "));
    Ok(String::from_utf8(output.stdout)?)
}

/// `helm upgrade --install` of the chart with these values beside the stories' own.
///
/// # Errors
/// What Helm said.
pub(crate) async fn install(namespace: &str, more: &[&str]) -> anyhow::Result<()> {
    install_from(&chart()?, namespace, more).await
}

/// Folder of the chart.
pub(crate) fn chart() -> anyhow::Result<PathBuf> {
    let chart = std::env::var_os("ODIGOS_E2E_CHART");
    Ok(PathBuf::from(chart.context("ODIGOS_E2E_CHART is not set; run `cargo xtask e2e`")?))
}

/// The same from another folder.
///
/// # Errors
/// What Helm said.
pub(crate) async fn install_from(chart: &Path, namespace: &str, more: &[&str]) -> anyhow::Result<()> {
    let chart = chart.to_str().context("the chart's path is no text")?;
    let values = values()?;
    let mut arguments = vec!["upgrade", "--install", "odigos", chart, "--namespace", namespace, "--create-namespace"];
    for value in values.iter().map(String::as_str).chain(more.iter().copied()) {
        arguments.extend(["--set", value]);
    }
    helm(&arguments).await.map(drop)
}

/// Runs the product's command line; returns what it printed.
///
/// # Errors
/// What it said.
pub(crate) async fn odigos(arguments: &[&str]) -> anyhow::Result<String> {
    let binary = std::env::var_os("ODIGOS_E2E_CLI").context("ODIGOS_E2E_CLI is not set; run `cargo xtask e2e`")?;
    let output = Command::new(PathBuf::from(binary)).args(arguments).stdin(Stdio::null()).output().await?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let printed = String::from_utf8(output.stdout)?;
    anyhow::ensure!(
        output.status.success(),
        "odigos {} ended with {}: {said}\n{printed}",
        arguments.join(" "),
        output.status
    );
    Ok(printed + &said)
}
