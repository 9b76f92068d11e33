//! Kinds, labels, names and conditions of the group `odigos.io/v1alpha1`.
//!
//! Owns the wire shapes that users and the binaries exchange through the API server, and the fixed names that tie them
//! together. Never holds a decision, a client, a clock or a file. Sources: `spec/collectors-and-pipelines.md` 1,
//! `spec/sources-and-instrumentation.md` 0–1.

pub mod action;
pub mod action_kinds;
pub mod agent_settings;
pub mod collectors_group;
pub mod condition;
pub mod crds;
pub mod data_stream;
pub mod destination;
pub mod finding;
pub mod instrumentation_config;
pub mod instrumentation_instance;
pub mod instrumentation_rule;
pub mod labels;
pub mod names;
pub mod operation;
pub mod processor;
pub mod rollout;
pub mod runtime_report;
pub mod sampling;
pub mod scope;
pub mod signal;
pub mod source;
pub mod workload;
pub mod yaml;

pub use finding::{Finding, Severity};
pub use signal::{CollectorRole, Signal};
pub use workload::{WorkloadKind, WorkloadRef};

/// API group of every kind in this crate.
pub const GROUP: &str = "odigos.io";
/// The single served and stored version.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` of every kind in this crate.
pub const API_VERSION: &str = "odigos.io/v1alpha1";

/// Schema of an object that is stored and passed on verbatim.
fn free_form_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}
