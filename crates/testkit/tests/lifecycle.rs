//! `odigos install`, `upgrade` and `uninstall`, run as a user runs them, against a real API server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test ends where something unexpected happens"
)]

#[path = "lifecycle/chart.rs"]
mod chart;
#[path = "lifecycle/install.rs"]
mod install;
#[path = "lifecycle/lab.rs"]
mod lab;
#[path = "lifecycle/uninstall.rs"]
mod uninstall;
