//! Two real collectors as in a cluster: that of a node in front of a gateway, both as rendered.

use odigos_plan::streams;
use odigos_plan::world::Settled;
use odigos_testkit::collector::{Collector, Surroundings};
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(90);

/// The class of a set of streams.
pub(crate) fn class(names: &[&str]) -> String {
    streams::class_id(&names.iter().map(ToString::to_string).collect())
}

/// The gateway as rendered; edges are shown after a second instead of a minute.
pub(crate) async fn gateway(settled: &Settled) -> (Collector, TempDir) {
    let mut config = settled.gateway.as_ref().unwrap().config.to_value();
    if let Some(graph) = config.pointer_mut("/connectors/servicegraph") {
        graph["metrics_flush_interval"] = json!("1s");
    }
    gateway_of(config, None).await
}

/// A gateway of this configuration; `certificates` is where those of both sides are.
pub(crate) async fn gateway_of(config: Value, certificates: Option<&Path>) -> (Collector, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let mut around = Surroundings::new(directory.path()).unwrap();
    around.certificates = certificates.map(Path::to_path_buf);
    let text = odigos_pipeline::yaml::to_string(&config);
    (Collector::start("gateway", &text, around, &[]).await.unwrap(), directory)
}

/// The node's collector as rendered, in front of a gateway. There is no API server, kubelet or log here: what reads them is left
/// out, and so is the removal of the class that an application claims, since the class comes with the items instead; `kept` are receivers of them that stay.
pub(crate) async fn node(settled: &Settled, gateway: &Collector, kept: &[&str]) -> (Collector, TempDir) {
    node_of(settled.node.as_ref().unwrap().config.to_value(), gateway, kept, None, None).await
}

/// A node's collector of this configuration, on this port for OTLP if one is stated.
pub(crate) async fn node_of(
    mut config: Value,
    gateway: &Collector,
    kept: &[&str],
    certificates: Option<&Path>,
    grpc: Option<u16>,
) -> (Collector, TempDir) {
    let of_a_cluster = [
        "k8s_attributes",
        "k8s_attributes/connection",
        "resource/stream-class",
        "kubelet_stats",
        "host_metrics",
        "file_log",
    ];
    let is_left_out = |id: &Value| {
        let id = id.as_str().unwrap_or_default();
        of_a_cluster.contains(&id) && !kept.contains(&id)
    };
    let pipelines = config["service"]["pipelines"].as_object_mut().unwrap();
    for (_, pipeline) in pipelines.iter_mut() {
        for list in ["receivers", "processors"] {
            if let Some(ids) = pipeline.get_mut(list).and_then(Value::as_array_mut) {
                ids.retain(|id| !is_left_out(id));
            }
        }
    }
    pipelines.retain(|_, pipeline| !pipeline["receivers"].as_array().unwrap().is_empty());
    for section in ["receivers", "processors"] {
        config[section].as_object_mut().unwrap().retain(|id, _| !is_left_out(&json!(id)));
    }
    config["service"]["extensions"] = json!(["health_check", "request_limit"]);
    let directory = tempfile::tempdir().unwrap();
    let mut around = Surroundings::new(directory.path()).unwrap();
    around.gateways = vec![format!("127.0.0.1:{}", gateway.around.grpc)];
    around.certificates = certificates.map(Path::to_path_buf);
    around.grpc = grpc.unwrap_or(around.grpc);
    let text = odigos_pipeline::yaml::to_string(&config);
    (Collector::start("node", &text, around, &[]).await.unwrap(), directory)
}

/// Waits until `holds`; else shows what both collectors wrote.
pub(crate) async fn wait(what: &str, node: &Collector, gateway: &Collector, holds: impl Fn() -> bool) {
    if let Err(error) = eventually(what, PATIENCE, || async { holds() }).await {
        panic!("{error}\n{}\n{}", node.output(), gateway.output());
    }
}
