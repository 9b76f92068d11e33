//! The product's own metrics: what alerts and the dashboard ask for is there while telemetry flows.

use odigos_api::names;
use odigos_e2e::cluster::Cluster;
use std::collections::BTreeSet;

/// Metrics that exist only once something went wrong.
const ONLY_AFTER_FAILURES: &str = "otelcol_exporter_send_failed_";

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
}

/// The names in a sample, e.g. `items{stream="a"} 1`: that of the metric and those of its labels, never a value.
fn metric_and_labels(sample: &str) -> impl Iterator<Item = &str> {
    let metric = words(sample).next();
    // Behind the last of them is a value alone.
    let labels = sample.rsplit_once("=\"").map_or("", |(labels, _)| labels).split("=\"");
    metric.into_iter().chain(labels.filter_map(|part| words(part).last()))
}

/// Every metric of ours, and every label, that the alerts and the dashboard name is exposed by some pod.
pub(crate) async fn everything_asked_for_is_exposed(cluster: &Cluster) -> anyhow::Result<()> {
    let mut exposed = BTreeSet::new();
    for pod in cluster.pods(&cluster.namespace, "").await? {
        let name = pod.name();
        let ports: &[u16] = match name.as_str() {
            name if name.starts_with(names::GATEWAY) => &[names::GATEWAY_METRICS_PORT],
            name if name.starts_with(names::NODE_COLLECTOR) => &[names::NODE_METRICS_PORT, names::SOURCE_METRICS_PORT],
            _ => &[names::AGENT_METRICS_PORT],
        };
        for port in ports {
            let path = format!("/api/v1/namespaces/{}/pods/{name}:{port}/proxy/metrics", cluster.namespace);
            let text = cluster.raw(&path).await?;
            let samples = text.lines().filter(|line| !line.starts_with('#'));
            exposed.extend(samples.flat_map(metric_and_labels).map(str::to_owned));
        }
    }
    let files = [
        include_str!("../../../deploy/observability/alerts.yaml"),
        include_str!("../../../deploy/observability/dashboard.json"),
    ];
    let asked: BTreeSet<&str> = files
        .into_iter()
        .flat_map(words)
        .filter(|word| word.starts_with("otelcol_") || word.starts_with("odigos_"))
        .filter(|word| !word.starts_with(ONLY_AFTER_FAILURES))
        .collect();
    let missing: Vec<&&str> = asked.iter().filter(|name| !exposed.contains(**name)).collect();
    assert!(missing.is_empty(), "alerts or dashboard ask for {missing:?}, which no pod exposes");
    println!("  {} metrics and labels that alerts and dashboard ask for are exposed", asked.len());
    Ok(())
}
