//! OTLP receivers of both collectors: addresses and what one request, one connection and one sender may cost.
//!
//! Owns the limits. A receiver decodes a request before any processor sees it, the memory limiter included, and two bytes of a
//! message can become 150 in memory; so what keeps a collector alive is what a receiver refuses to decode. Never decides who may
//! connect.

use serde_json::{Value, json};

/// Largest request in MiB, after decompression. That of OTLP over gRPC everywhere.
pub const LARGEST_REQUEST_MIB: i64 = 4;
/// Largest batch in bytes that one of our collectors sends to another: well below what the other takes, so that a single large
/// item still fits beside what else is in the batch.
pub const LARGEST_BATCH: i64 = 2 * 1024 * 1024;
/// Requests at the same time on one connection. SDKs send one after another, node collectors four of each signal.
const CONCURRENT_REQUESTS: i64 = 64;

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
