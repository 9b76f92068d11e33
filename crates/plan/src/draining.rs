//! What a collector's pod does between the wish to stop it and the end of its process.
//!
//! An exporter that shuts down tries each queued batch once, without retries, so a destination that is overloaded in that moment would lose
//! what waits. Collectors of this release therefore run on until their queues are empty (`deploy/collector/program/drain.go`); other
//! images have no such command. Owns the `preStop` hook. Never decides how long a pod may take in all.

use crate::metrics_endpoint;
use serde_json::{Value, json};

/// How the pod of a collector goes.
#[derive(Clone, Debug)]
pub struct Draining<'a> {
    /// The program in the image.
    pub command: &'a str,
    /// Port of the collector's own metrics, which tell the sizes of its queues.
    pub metrics_port: i32,
    /// How long it waits in any case, in seconds: until everybody has forgotten its address.
    pub least_seconds: u32,
    /// How long it waits at most, in seconds. What remains of the grace period is for the shutdown itself.
    pub most_seconds: u32,
    /// The files of its configuration, where queues on disk outlive the pod and are not waited for.
    pub stored_queues_in: Vec<String>,
}

impl Draining<'_> {
    /// The `lifecycle` of the container of a collector of this release.
    #[must_use]
    pub fn lifecycle(&self) -> Value {
        let mut command = vec![
            self.command.to_owned(),
            "drain".to_owned(),
            format!("-metrics={}", metrics_endpoint::address(i64::from(self.metrics_port))),
            format!("-least={}s", self.least_seconds),
            format!("-most={}s", self.most_seconds),
        ];
        command.extend(self.stored_queues_in.iter().map(|path| format!("-stored={path}")));
        json!({"preStop": {"exec": {"command": command}}})
    }
}
