//! Real peers for tests and demonstrations: API server, collectors, OTLP sinks and senders.
//!
//! Everything runs on loopback, in a temporary directory, and ends when its handle is dropped. Processes are ended by
//! the ids with which they were started. Never part of a release.

pub mod api_server;
pub mod binaries;
pub mod chart;
pub mod collector;
pub mod control_plane;
pub mod http;
pub mod instrumentor;
mod leftovers;
pub mod otlp;
pub mod policy;
pub mod ports;
pub mod process;
pub mod recorder;
