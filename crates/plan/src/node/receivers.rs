//! What comes in: applications and their logs. The kubelet and the host are in [`super::scraped`].
//!
//! Owns the settings of the node collector's receivers (`spec/collectors-and-pipelines.md` 5.3). Never decides whether one
//! runs ([`super::pipelines`]), nor which containers' logs are linked (`odigos-agent`).

use crate::receivers as limits;
use odigos_api::names;
use serde_json::{Value, json};

/// Directory of links that the node agent keeps, one for each container whose logs are wanted, shaped like
/// `/var/log/pods` (design 4.5).
pub const LOG_LINKS: &str = "/var/odigos/logs";
/// Directory of the offsets of log files; survives restarts.
pub const LOG_OFFSETS: &str = "/var/odigos/offsets";

/// Receives what agents of the node's pods send.
pub(super) const OTLP: &str = "otlp/in";
/// Reads the output of containers.
pub(super) const FILE_LOG: &str = "file_log";
/// Keeps how far each log file was read.
pub(super) const FILE_STORAGE: &str = "file_storage/offsets";

/// Both protocols, on every address of the pod.
pub(super) fn otlp() -> Value {
    json!({"protocols": {
        "grpc": limits::grpc(names::OTLP_GRPC_PORT, None),
        "http": limits::http(names::OTLP_HTTP_PORT),
    }})
}

/// One static pattern over the agent's links; which containers are read is decided by which links exist.
pub(super) fn file_log(namespace: &str) -> Value {
    json!({
        "include": [format!("{LOG_LINKS}/*/*/*.log")],
        "exclude": [
            format!("{LOG_LINKS}/kube-system_*/**/*"),
            format!("{LOG_LINKS}/{namespace}_*/**/*"),
        ],
        "start_at": "beginning",
        "poll_interval": "1s",
        "include_file_path": true,
        "include_file_name": false,
        "storage": FILE_STORAGE,
        "operators": [{"id": "container-parser", "type": "container", "max_log_size": "1MiB"}],
        "retry_on_failure": {"enabled": true},
    })
}
