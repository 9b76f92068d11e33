//! Where items enter a gateway: from node collectors by a port that expects their certificate, and, only where that is asked for, from
//! anybody by the ports of every OTLP receiver.
//!
//! Owns these receivers, and that nobody but a node collector chooses a stream: what others send has no class. Never decides what a
//! class means.

use super::Observed;
use crate::collector;
use crate::mutual_tls::Side;
use crate::receivers;
use odigos_api::{Signal, names};
use odigos_pipeline::{CollectorConfig, ComponentKind, Pipeline};
use serde_json::json;

/// Receives from node collectors.
pub const NODES: &str = "otlp/nodes";
/// Receives from anybody.
pub const ANYBODY: &str = "otlp";
/// Removes what only the product says of items.
const STRIP: &str = "resource/of-anybody";

/// Whether anybody may send to it.
fn is_open(seen: &Observed<'_>) -> bool {
    seen.configuration.flag("collectorGateway.plaintextReceiver") == Some(true)
}

/// Adds the receivers; those that no pipeline uses go later.
pub(super) fn add(config: &mut CollectorConfig, seen: &Observed<'_>) {
    // Short-lived connections make node collectors spread over new replicas.
    let age = format!("{}s", seen.senders.connection_seconds);
    let mut nodes = receivers::grpc(names::NODE_OTLP_PORT, Some(&age));
    nodes["tls"] = Side::Gateway.settings();
    config.add(ComponentKind::Receiver, NODES, json!({"protocols": {"grpc": nodes}}));
    let mut grpc = receivers::grpc(names::OTLP_GRPC_PORT, Some(&age));
    if seen.senders.has_old_nodes {
        // They send batches of many items however large they are, and what is refused is lost.
        grpc["max_recv_msg_size_mib"] = json!(128);
    } else if !is_open(seen) {
        return;
    }
    let protocols = json!({"protocols": {"grpc": grpc, "http": receivers::http(names::OTLP_HTTP_PORT)}});
    config.add(ComponentKind::Receiver, ANYBODY, protocols);
    if !seen.senders.has_old_nodes {
        let attributes = json!({"attributes": [{"pattern": r"^odigos\.", "action": "delete"}]});
        config.add(ComponentKind::Processor, STRIP, attributes);
    }
}

/// The receivers of `<signal>/in`.
pub(super) fn of_root(config: &mut CollectorConfig, signal: Signal) -> Vec<String> {
    let mut all = vec![NODES.to_owned()];
    if config.get(ComponentKind::Receiver, ANYBODY).is_none() {
        return all;
    }
    if config.get(ComponentKind::Processor, STRIP).is_none() {
        all.push(ANYBODY.to_owned());
        return all;
    }
    let forward = format!("forward/of-anybody-{}", signal.as_pipeline());
    config.add(ComponentKind::Connector, forward.clone(), json!({}));
    *config.pipeline(signal, "of-anybody") = Pipeline {
        receivers: vec![ANYBODY.into()],
        processors: vec![collector::MEMORY_LIMITER.into(), STRIP.into()],
        exporters: vec![forward.clone()],
    };
    all.push(forward);
    all
}
