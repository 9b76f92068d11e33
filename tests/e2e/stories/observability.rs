//! The product's own metrics: what alerts and the dashboard ask for is there while telemetry flows.

use odigos_e2e::cluster::Cluster;
use std::collections::BTreeSet;

/// Metrics that exist only once something went wrong.
const ONLY_AFTER_FAILURES: &str = "otelcol_exporter_send_failed_";

/// Every metric of ours that the alerts and the dashboard name is exposed by some pod.
pub(crate) async fn everything_asked_for_is_exposed(cluster: &Cluster) -> anyhow::Result<()> {
    let mut exposed = BTreeSet::new();
    for pod in cluster.pods(&cluster.namespace, "").await? {
        let name = pod.name();
        let port = match name.as_str() {
            name if name.starts_with(odigos_api::names::GATEWAY) => odigos_api::names::GATEWAY_METRICS_PORT,
            name if name.starts_with(odigos_api::names::NODE_COLLECTOR) => odigos_api::names::NODE_METRICS_PORT,
            _ => odigos_api::names::AGENT_METRICS_PORT,
        };
        let path = format!("/api/v1/namespaces/{}/pods/{name}:{port}/proxy/metrics", cluster.namespace);
        let text = cluster.raw(&path).await?;
        let names = text.lines().filter(|line| !line.starts_with('#'));
        exposed.extend(names.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned));
    }
    let files = [
        include_str!("../../../deploy/observability/alerts.yaml"),
        include_str!("../../../deploy/observability/dashboard.json"),
    ];
    let words = files.iter().flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':'));
    let asked: BTreeSet<&str> = words
        .filter(|word| word.starts_with("otelcol_") || word.starts_with("odigos_"))
        .filter(|word| !word.starts_with(ONLY_AFTER_FAILURES))
        .collect();
    let missing: Vec<&&str> = asked.iter().filter(|name| !exposed.contains(**name)).collect();
    assert!(missing.is_empty(), "alerts or dashboard ask for {missing:?}, which no pod exposes");
    println!("  {} metrics that alerts and dashboard ask for are exposed", asked.len());
    Ok(())
}
