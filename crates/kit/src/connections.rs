//! Connections of our servers, within limits: whoever opens many, or says nothing on them, keeps nobody else from being answered.
//!
//! Owns sockets: accepting, closing with notice (GOAWAY, `Connection: close`), and the time that a request may take. Which
//! connection has to go is decided in [`table`]. Never looks into a request.

mod table;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use table::{Fate, Table};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use table::Limits;

/// Pause after the system could not accept a connection, e.g. for want of files: trying at once would take the whole core.
const PAUSE: Duration = Duration::from_millis(100);
/// How long requests may go on when the process ends.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// How often it is logged that connections are closed for want of room.
const WARNING: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
    request: Duration,
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open connection's place; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    shared: Arc<Shared>,
    id: u64,
    changed: Arc<Notify>,
    stop: CancellationToken,
}

impl Place {
    /// Waits until the connection has to close; returns how long its requests may go on.
    pub(crate) async fn ended(&self) -> Duration {
        loop {
            let fate = self.shared.table().fate(self.id, Instant::now());
            let until = match fate {
                Fate::Closes(grace) => return grace,
                Fate::StaysUntil(until) => until,
            };
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = self.changed.notified() => {}
                () = self.stop.cancelled() => return STOP_GRACE,
            }
        }
    }

    /// Serves HTTP until the peer or a limit ends the connection.
    pub(crate) async fn serve<S>(&self, stream: S, builder: &Builder<TokioExecutor>, router: Router)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Activity { shared: self.shared.clone(), id: self.id };
        let router = router.layer(middleware::from_fn_with_state(activity, timed));
        let service = TowerToHyperService::new(router);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let grace = tokio::select! {
            _ = connection.as_mut() => return,
            grace = self.ended() => grace,
        };
        if grace.is_zero() {
            return;
        }
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(grace, connection).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.table().remove(self.id);
    }
}

/// The requests of a connection.
#[derive(Clone, Debug)]
struct Activity {
    shared: Arc<Shared>,
    id: u64,
}

/// A request that runs.
struct Running(Activity);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.shared.table().end(self.0.id, Instant::now());
    }
}

/// Counts a request while it runs, and ends one whose body does not come.
async fn timed(State(activity): State<Activity>, request: Request, next: Next) -> Response {
    let limit = activity.shared.request;
    activity.shared.table().begin(activity.id);
    let _running = Running(activity);
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "the request took too long").into_response(),
    }
}

/// Accepts connections until the token is cancelled, and gives each of them to `serve`; requests that run then have a few seconds.
pub(crate) async fn accept<F, S>(
    purpose: &'static str,
    listener: TcpListener,
    limits: Limits,
    stop: CancellationToken,
    serve: S,
) where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(TcpStream, SocketAddr, Place) -> F,
{
    let shared = Arc::new(Shared { table: Mutex::new(Table::new(limits)), request: limits.request });
    let mut connections = tokio::task::JoinSet::new();
    let mut warned: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let now = Instant::now();
        let admission = shared.table().admit(peer.ip(), now);
        if let Some(short) = admission.short
            && warned.is_none_or(|before| now.duration_since(before) >= WARNING)
        {
            warn(purpose, short);
            warned = Some(now);
        }
        let Some((id, changed)) = admission.admitted else { continue };
        let place = Place { shared: shared.clone(), id, changed, stop: stop.clone() };
        connections.spawn(serve(stream, peer, place));
    }
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(STOP_GRACE + Duration::from_secs(1), all).await;
}

fn warn(purpose: &str, peer: IpAddr) {
    tracing::warn!(server = purpose, %peer, "closing connections of the address that holds most of them");
}
