//! Personas: what a person or a pod with few permissions can reach through the product, on the real API server and the real collector.
//!
//! One file a persona, each with the attacks that an outside review carried out; what they took then must not be had now. The
//! controllers run with the permissions of the chart.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test ends where something unexpected happens, and reports figures"
)]

#[path = "../collector/certificate_files.rs"]
mod certificate_files;
mod connection;
mod identity;
mod node;
mod pod;
