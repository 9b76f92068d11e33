//! Decisions of the control plane as pure functions: observed objects in, desired objects, status and findings out.
//!
//! Owns every decision of the instrumentor, the scheduler and the autoscaler. Never holds a client, a clock, a file, a
//! future or a map with random order: time and objects are passed in (design 3). `world` runs all planners over an
//! in-memory cluster; the controllers run the same planners over the real one.

pub mod actions;
pub mod admission;
pub mod agents;
pub mod collector;
pub mod config_files;
pub mod configuration;
pub mod counts;
pub mod coverage;
pub mod covered;
pub mod detection;
pub mod draining;
pub mod duration;
#[cfg(test)]
mod fixtures;
pub mod gateway;
pub mod injection;
pub mod instrumentation;
pub mod log_links;
pub mod metric_sources;
pub mod metrics_endpoint;
pub mod metrics_readers;
pub mod mutual_tls;
pub mod name_pattern;
pub mod node;
pub mod objects;
pub mod pools;
pub mod processors;
mod quantity;
pub mod quarantine;
pub mod receivers;
pub mod sampling;
pub mod scaling;
pub mod scheduling;
pub mod sizing;
pub mod spelling;
pub mod streams;
pub mod stricter_defaults;
pub mod trace_cuts;
pub mod unowned;
pub mod workload;
pub mod world;
