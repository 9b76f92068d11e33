//! The product's own metrics on a node: what the agent counts, and what the product's containers use.
//!
//! Owns the pipelines `metrics/odiglet-metrics` and `metrics/own-kubelet` of `spec/collectors-and-pipelines.md` 5.4 (A46).
//! They go to the gateway's port for own metrics, never through users' streams, and exist only while somebody wants them.

use super::scraped::kubelet_stats;
use crate::collector;
use crate::configuration::Configuration;
use odigos_api::collectors_group::{CollectorMetrics, OwnMetrics};
use odigos_api::{Signal, names};
use odigos_pipeline::ottl::{Condition, Expression, Path};
use odigos_pipeline::{CollectorConfig, ComponentKind, Pipeline};
use serde_json::{Value, json};

const EXPORTER: &str = "otlp_http/odiglet-metrics-out";
const KUBELET: &str = "kubelet_stats";
/// Containers whose use is kept: the agent, the collector on the node, the gateway.
const CONTAINERS: [&str; 3] = ["odiglet", "data-collection", "gateway"];
const KEPT: [&str; 2] = ["container.cpu.usage", "container.memory.usage"];

/// Where the gateway in `namespace` takes own metrics.
pub(super) fn endpoint(namespace: &str) -> String {
    format!("http://{}.{namespace}:{}", names::GATEWAY, names::OWN_METRICS_PORT)
}

/// Adds both pipelines, that of the agent where nodes have one. The kubelet is asked once for users and for ourselves: a receiver
/// that is already there is shared.
pub(super) fn add(
    config: &mut CollectorConfig,
    namespace: &str,
    metrics: &CollectorMetrics,
    own: &OwnMetrics,
    has_agent: bool,
    configuration: &Configuration,
) {
    let interval = own.interval.as_deref().unwrap_or("10s");
    config.add(
        ComponentKind::Exporter,
        EXPORTER,
        json!({
            "endpoint": endpoint(namespace),
            "tls": {"insecure": true},
            // Own metrics are worth less than memory: nothing waits for a gateway that is away.
            "retry_on_failure": {"enabled": false},
        }),
    );
    if has_agent {
        add_agent(config, namespace, interval);
    }
    if config.get(ComponentKind::Receiver, KUBELET).is_none() {
        let users = metrics.kubelet_stats.as_ref().and_then(|settings| settings.interval.as_deref());
        config.add(ComponentKind::Receiver, KUBELET, kubelet_stats(users.unwrap_or(interval), configuration));
    }
    config.add(ComponentKind::Processor, "filter/own-kubelet", own_containers(namespace));
    *config.pipeline(Signal::Metrics, "own-kubelet") = Pipeline {
        receivers: vec![KUBELET.into()],
        processors: vec![collector::MEMORY_LIMITER.into(), "filter/own-kubelet".into()],
        exporters: vec![EXPORTER.into()],
    };
}

fn add_agent(config: &mut CollectorConfig, namespace: &str, interval: &str) {
    // Its Service leads to the agent of the same node.
    let agent = format!("{}.{namespace}:{}", names::AGENT_SERVICE, names::AGENT_METRICS_PORT);
    let mut job = collector::scrape_job("odiglet", i32::from(names::AGENT_METRICS_PORT), ".*(odiglet|odigos|ebpf).*");
    job["static_configs"] = json!([{"targets": [agent]}]);
    job["scrape_interval"] = json!(interval);
    config.add(ComponentKind::Receiver, "prometheus/odiglet-metrics", json!({"config": {"scrape_configs": [job]}}));
    config.add(
        ComponentKind::Processor,
        "resource/odiglet-pod-name",
        json!({"attributes": [{"key": "k8s.pod.name", "action": "upsert", "value": "${env:POD_NAME}"}]}),
    );
    *config.pipeline(Signal::Metrics, "odiglet-metrics") = Pipeline {
        receivers: vec!["prometheus/odiglet-metrics".into()],
        processors: vec![collector::MEMORY_LIMITER.into(), "resource/odiglet-pod-name".into()],
        exporters: vec![EXPORTER.into()],
    };
}

/// Drops everything but CPU and memory of the product's containers.
fn own_containers(namespace: &str) -> Value {
    let none_of = |path: Path, names: &[&str]| {
        let parts = names.iter().map(|name| Condition::NotEqual(path.clone().into(), Expression::from(*name)));
        Condition::All(parts.collect()).to_string()
    };
    let resource = |key: &str| Path::keyed("resource.attributes", key);
    let dropped = [
        none_of(Path::field("metric.name"), &KEPT),
        none_of(resource("k8s.namespace.name"), &[namespace]),
        none_of(resource("k8s.container.name"), &CONTAINERS),
    ];
    json!({"error_mode": "ignore", "metrics": {"metric": dropped}})
}
