//! Embedded catalogue: destinations with their rendering rules, and agent distributions.
//!
//! One YAML file for each destination type in `data/destinations/`: what a form shows, and how the settings become collector
//! components; one for each agent distribution in `data/distributions/`. Adding a destination of a common shape is one
//! file and no code. Owns value parsing and URL rules (`spec/destinations.md` 3, 5, 6) and the variables through which
//! secrets reach a collector. Secret values never come here; nor does anything about streams, queues or Kubernetes objects.

pub mod destination;
pub mod distribution;
pub mod example;
pub mod normalise;
mod normaliser;
pub mod plain_credentials;
pub mod render;
mod schema;
mod template;
mod unused;
pub mod usage;

pub use destination::DestinationType;
pub use schema::{ComponentType, Field, Note, Usage};

/// How an exporter buffers what its backend does not take at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueSupport {
    /// `sending_queue` of the collector's exporter helper.
    SendingQueue,
    /// `remote_write_queue` of the Prometheus exporter.
    RemoteWriteQueue,
    /// No queue.
    None,
}

/// Whether an exporter type with a queue takes `retry_on_failure`.
#[must_use]
pub fn has_retry(component_type: &str) -> bool {
    !matches!(component_type, "awss3" | "azuremonitor" | "elasticsearch" | "googlecloud")
}

/// The queue of an exporter type, e.g. `otlp_grpc`.
#[must_use]
pub fn queue_support(component_type: &str) -> QueueSupport {
    match component_type {
        "debug" | "nop" | "file" | "awsemf" | "awsxray" | "googlecloudstorage" => QueueSupport::None,
        "prometheus_remote_write" => QueueSupport::RemoteWriteQueue,
        _ => QueueSupport::SendingQueue,
    }
}
