//! OTLP receivers of both collectors: addresses and what one request, one connection and one sender may cost.
//!
//! Owns the limits. A receiver decodes a request before any processor sees it, the memory limiter included, and two bytes of a
//! message can become 150 in memory; so what keeps a collector alive is what a receiver refuses to decode. The collectors of this
//! release have an extension that stands before the decoder (`deploy/collector/requestlimitextension`); other images have only the
//! size of a request. Never decides who may connect.

use odigos_api::collectors_group::ResourcesSettings;
use odigos_pipeline::components::REQUEST_LIMIT;
use odigos_pipeline::{CollectorConfig, ComponentKind};
use serde_json::{Value, json};

/// Largest request in MiB, after decompression. That of OTLP over gRPC everywhere.
pub const LARGEST_REQUEST_MIB: i64 = 4;
/// Largest batch in bytes that one of our collectors sends to another: well below what the other takes, so that a single large
/// item still fits beside what else is in the batch.
pub const LARGEST_BATCH: i64 = 2 * 1024 * 1024;
/// Requests at the same time on one connection. SDKs send one after another, node collectors four of each signal.
const CONCURRENT_REQUESTS: i64 = 64;

/// What one request may become in memory, in MiB. Ordinary requests become four times as large when they are decoded.
const LARGEST_DECODED_MIB: i64 = 8 * LARGEST_REQUEST_MIB;
/// Said of a collector whose image is not one of this release.
pub const NO_REQUEST_LIMIT: &str = "its image is none of this release's, so nothing limits what requests become in memory while they are decoded (images.collector)";

/// Puts the limits of this release's collectors before every OTLP receiver: what a request becomes in memory, what all of them become
/// together, and how many are read at once. A receiver that takes larger requests has senders of an older release, and none of this.
pub fn add_request_limit(config: &mut CollectorConfig, resources: &ResourcesSettings) {
    let is_otlp = |id: &String| id.split('/').next() == Some("otlp");
    let ids: Vec<String> = config.section(ComponentKind::Receiver).map(|(id, _)| id.clone()).filter(is_otlp).collect();
    if ids.is_empty() {
        return;
    }
    for id in ids {
        let Some(receiver) = config.get_mut(ComponentKind::Receiver, &id) else { continue };
        let takes_larger = |grpc: &Value| grpc["max_recv_msg_size_mib"] != json!(LARGEST_REQUEST_MIB);
        if let Some(grpc) = receiver.pointer_mut("/protocols/grpc").filter(|grpc| !takes_larger(grpc)) {
            grpc["middlewares"] = json!([{"id": REQUEST_LIMIT}]);
        }
        if let Some(http) = receiver.pointer_mut("/protocols/http") {
            http["middlewares"] = json!([{"id": REQUEST_LIMIT}]);
            // The extension decompresses, so that this is part of a request's turn.
            http["compression_algorithms"] = json!([]);
        }
    }
    let budget = (i64::from(resources.gomemlimit_mib) / 6).max(LARGEST_DECODED_MIB + 2 * LARGEST_REQUEST_MIB);
    config.add(
        ComponentKind::Extension,
        REQUEST_LIMIT,
        json!({
            "max_body_mib": LARGEST_REQUEST_MIB,
            "max_decoded_mib": LARGEST_DECODED_MIB,
            "budget_mib": budget,
        }),
    );
    config.started_extensions.insert(REQUEST_LIMIT.into());
}

/// Settings of OTLP over gRPC; connections end after `age`, so that senders spread over new replicas, or when nobody uses them.
#[must_use]
pub fn grpc(port: u16, age: Option<&str>) -> Value {
    let mut connections = json!({"max_connection_idle": "10m", "time": "1m", "timeout": "20s"});
    if let Some(age) = age {
        connections["max_connection_age"] = json!(age);
        connections["max_connection_age_grace"] = json!("10s");
    }
    json!({
        "endpoint": address(port),
        "max_recv_msg_size_mib": LARGEST_REQUEST_MIB,
        "max_concurrent_streams": CONCURRENT_REQUESTS,
        "keepalive": {"server_parameters": connections},
    })
}

/// Settings of OTLP over HTTP. The limit holds before and after decompression.
#[must_use]
pub fn http(port: u16) -> Value {
    json!({
        "endpoint": address(port),
        "max_request_body_size": LARGEST_REQUEST_MIB * 1024 * 1024,
        "read_header_timeout": "10s",
        "read_timeout": "30s",
    })
}

fn address(port: u16) -> String {
    format!("0.0.0.0:{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> CollectorConfig {
        let mut config = CollectorConfig::default();
        let both = json!({"protocols": {"grpc": grpc(4317, None), "http": http(4318)}});
        config.add(ComponentKind::Receiver, "otlp/in", both);
        let mut of_old_nodes = grpc(4317, None);
        of_old_nodes["max_recv_msg_size_mib"] = json!(128);
        config.add(ComponentKind::Receiver, "otlp", json!({"protocols": {"grpc": of_old_nodes, "http": http(4318)}}));
        config.add(ComponentKind::Receiver, "prometheus", json!({}));
        config
    }

    #[test]
    fn every_receiver_of_our_collectors_has_the_limit() {
        let mut config = config();
        add_request_limit(&mut config, &ResourcesSettings { gomemlimit_mib: 600, ..ResourcesSettings::default() });
        let at = |id: &str, path: &str| {
            config.get(ComponentKind::Receiver, id).and_then(|one| one.pointer(path)).cloned().unwrap_or_default()
        };
        for protocol in ["grpc", "http"] {
            assert_eq!(at("otlp/in", &format!("/protocols/{protocol}/middlewares/0/id")), REQUEST_LIMIT);
        }
        assert_eq!(at("otlp/in", "/protocols/http/compression_algorithms"), json!([]));
        assert_eq!(at("otlp", "/protocols/grpc/middlewares"), Value::Null, "batches of older nodes are larger");
        assert_eq!(at("otlp", "/protocols/http/middlewares/0/id"), REQUEST_LIMIT);
        assert_eq!(at("prometheus", ""), json!({}));
        assert!(config.started_extensions.contains(REQUEST_LIMIT));
        assert_eq!(
            config.get(ComponentKind::Extension, REQUEST_LIMIT).map(|one| &one["budget_mib"]),
            Some(&json!(100))
        );
    }

    #[test]
    fn budget_holds_one_request_of_the_largest_size() {
        let mut config = config();
        add_request_limit(&mut config, &ResourcesSettings { gomemlimit_mib: 64, ..ResourcesSettings::default() });
        assert_eq!(config.get(ComponentKind::Extension, REQUEST_LIMIT).map(|one| &one["budget_mib"]), Some(&json!(40)));
    }
}
