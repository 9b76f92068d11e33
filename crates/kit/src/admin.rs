//! The plain HTTP server for probes, metrics and the log level.

use crate::metrics::Metrics;
use crate::telemetry::LogLevel;
use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::routing::get;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

/// Whether the process can do its work; set by what has to be there first.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// From now on the process is ready.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it is.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[derive(Clone)]
struct Shared {
    metrics: Metrics,
    ready: Readiness,
    level: LogLevel,
}

/// Serves until the token is cancelled.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(
    address: SocketAddr,
    metrics: Metrics,
    ready: Readiness,
    level: LogLevel,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(|State(shared): State<Shared>| async move { shared.metrics.encode() }))
        .route("/log-level", get(|State(shared): State<Shared>| async move { shared.level.get() }).put(set_level))
        .with_state(Shared { metrics, ready, level });
    let listener = tokio::net::TcpListener::bind(address).await?;
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(async move { stop.cancelled().await }).await
}

async fn readyz(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    if shared.ready.get() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "stores are not filled yet")
    }
}

/// Any pod of the cluster reaches this port; only who may open a port-forward to the pod comes from its own loopback.
async fn set_level(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    body: String,
) -> (StatusCode, String) {
    if !peer.ip().to_canonical().is_loopback() {
        return (StatusCode::FORBIDDEN, "the log level is changed through kubectl port-forward only".into());
    }
    match shared.level.set(&body) {
        Ok(()) => (StatusCode::OK, shared.level.get()),
        Err(error) => (StatusCode::BAD_REQUEST, error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;

    #[tokio::test]
    async fn log_level_changes_from_the_own_loopback_only() {
        let level = crate::telemetry::start("info");
        let shared = Shared { metrics: Metrics::default(), ready: Readiness::default(), level };
        let put = |peer: &str| {
            let peer: SocketAddr = peer.parse().unwrap();
            set_level(State(shared.clone()), ConnectInfo(peer), "debug".into())
        };
        for (peer, expected) in [
            ("10.1.2.3:4000", StatusCode::FORBIDDEN),
            ("[fd00::1]:4000", StatusCode::FORBIDDEN),
            ("127.0.0.1:4000", StatusCode::OK),
            ("[::1]:4000", StatusCode::OK),
            ("[::ffff:127.0.0.1]:4000", StatusCode::OK),
        ] {
            assert_eq!(put(peer).await.0, expected, "{peer}");
        }
    }
}
