//! Typed model of an OpenTelemetry Collector configuration.
//!
//! Owns component ids, pipelines, fragments that merge as a whole or not at all, the graph check, the OTTL tree with its
//! printer, and the one YAML printer. Never decides what is rendered (that is `plan`), never touches files or clients.
//! Facts: `spec/otel-collector.md` 2, 4.5, 4.8.

pub mod components;
pub mod config;
pub mod expansion;
pub mod graph;
pub mod ottl;
pub mod ottl_functions;
pub mod reach;
pub mod yaml;

pub use config::{CollectorConfig, ComponentKind, Conflict, Pipeline, PipelineId};
pub use graph::Problem;
