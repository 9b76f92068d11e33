//! The plain HTTP server for probes, metrics and the log level.

use crate::connections::{self, Limits, Place};
use crate::metrics::Metrics;
use crate::telemetry::LogLevel;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// How long the header of a request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The kubelet opens a connection for each probe, a Prometheus keeps one.
const LIMITS: Limits = Limits {
    total: 128,
    per_peer: 32,
    first_request: PATIENCE,
    idle: Duration::from_secs(120),
    request: Duration::from_secs(30),
    age: Duration::from_secs(3600),
};

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
    accept(TcpListener::bind(address).await?, router, stop).await;
    Ok(())
}

async fn accept(listener: TcpListener, router: Router, stop: CancellationToken) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let builder = Arc::new(builder.http1_only());
    let serve = |stream: TcpStream, peer: SocketAddr, place: Place| {
        let (router, builder) = (router.clone().layer(Extension(ConnectInfo(peer))), builder.clone());
        async move { place.serve(stream, &builder, router).await }
    };
    connections::accept("admin", listener, LIMITS, stop, serve).await;
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;

    /// More connections than there is room for that send nothing, and as many that break off in the middle of a header: probes from
    /// another address and from the same one are answered.
    #[tokio::test]
    async fn silent_connections_keep_no_probe_waiting() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let router = Router::new().route("/livez", get(|| async { "ok" }));
        #[allow(clippy::disallowed_methods, reason = "it lives as long as the test")]
        tokio::spawn(accept(listener, router, stop.clone()));
        let connect = async |from: &str| {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
            socket.connect(address).await.unwrap()
        };
        let mut held = Vec::new();
        for round in 0..2 * LIMITS.total {
            let mut stream = connect("127.0.0.2").await;
            if round % 2 == 0 {
                let _ = stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x").await;
            }
            held.push(stream);
        }
        for from in ["127.0.0.1", "127.0.0.2"] {
            let ask = async {
                let mut stream = connect(from).await;
                stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
                let mut text = String::new();
                let _ = stream.read_to_string(&mut text).await;
                text
            };
            let answer = tokio::time::timeout(Duration::from_secs(2), ask).await.unwrap();
            assert!(answer.contains("200 OK") && answer.ends_with("ok"), "{from}: {answer}");
        }
        stop.cancel();
    }

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
