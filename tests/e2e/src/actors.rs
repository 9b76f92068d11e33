//! What runs in pods: applications that send and backends that remember. Each answers questions on port 8080.

pub mod application;
pub mod backend;

/// Port on which every actor answers.
pub const PORT: u16 = 8080;

/// Ends when the process is asked to.
pub(crate) async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await,
    }
}
