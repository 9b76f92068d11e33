//! Accepts connections, within limits: whoever opens many, or says nothing on them, keeps nobody else from being answered.
//!
//! Owns sockets and their limits. Never looks at a request.

use crate::front_proxy::PeerName;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Most connections at once. API servers keep a few each; a process may often have 1,024 files open, and both ends of the test are in one.
const CONNECTIONS: usize = 256;
/// How long a TLS handshake, and each request's header, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a silent HTTP/2 connection is asked whether its peer is still there; it ends when [`PATIENCE`] passes without an answer.
const PING: Duration = Duration::from_secs(30);
/// Most requests at once on one HTTP/2 connection.
const STREAMS: u32 = 256;
/// Pause after the system could not accept a connection, e.g. for want of files: trying at once would take the whole core.
const PAUSE: Duration = Duration::from_millis(100);

/// How connections are spoken to.
#[derive(Clone)]
struct Protocols {
    http1: Arc<Builder<TokioExecutor>>,
    http2: Arc<Builder<TokioExecutor>>,
}

impl Protocols {
    fn new() -> Self {
        let (mut http1, mut http2) = (Builder::new(TokioExecutor::new()), Builder::new(TokioExecutor::new()));
        http1.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
        http2
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PATIENCE)
            .max_concurrent_streams(STREAMS);
        // What was agreed on in the handshake counts: guessing it from the first bytes would wait for them without limit.
        Self { http1: Arc::new(http1.http1_only()), http2: Arc::new(http2.http2_only()) }
    }
}

/// Serves until the token is cancelled; what is under way then has five seconds to end.
pub(super) async fn accept(listener: TcpListener, acceptor: TlsAcceptor, router: Router, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let protocols = Protocols::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let Ok(place) = place else { break };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (acceptor, router, protocols, watcher) =
            (acceptor.clone(), router.clone(), protocols.clone(), graceful.watcher());
        connections.spawn(async move {
            let _place = place;
            let Some((service, builder, stream)) = handshake(stream, &acceptor, router, &protocols).await else {
                return;
            };
            let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
            let _ = watcher.watch(connection.into_owned()).await;
        });
    }
    let _ = tokio::time::timeout(Duration::from_secs(5), graceful.shutdown()).await;
}

type Secured = tokio_rustls::server::TlsStream<TcpStream>;

async fn handshake(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    router: Router,
    protocols: &Protocols,
) -> Option<(Router, Arc<Builder<TokioExecutor>>, Secured)> {
    let stream = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await.ok()?.ok()?;
    let (_, session) = stream.get_ref();
    let peer = PeerName::of(session.peer_certificates());
    let is_http2 = session.alpn_protocol() == Some(b"h2");
    let builder = if is_http2 { protocols.http2.clone() } else { protocols.http1.clone() };
    Some((router.layer(Extension(peer)), builder, stream))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;
    use axum::routing::get;
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn serve() -> (std::net::SocketAddr, tokio_rustls::TlsConnector, CancellationToken) {
        crate::client::install_crypto();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let server = rustls::ServerConfig::builder().with_no_client_auth();
        let server = server.with_single_cert(vec![certificate.clone()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let router = Router::new().route("/", get(|| async { "here" }));
        #[allow(clippy::disallowed_methods, reason = "it lives as long as the test")]
        tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(server)), router, stop.clone()));
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let client = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        (address, tokio_rustls::TlsConnector::from(Arc::new(client)), stop)
    }

    /// More connections than there are places, half of them without a handshake and half without a request: all of them end, and who
    /// comes after them is answered.
    #[tokio::test]
    async fn connections_that_say_nothing_end_and_keep_nobody_out() {
        let (address, connector, stop) = serve().await;
        let name = ServerName::try_from("localhost").unwrap();
        let (mut silent, mut secured) = (Vec::new(), Vec::new());
        for _ in 0..CONNECTIONS / 2 {
            silent.push(TcpStream::connect(address).await.unwrap());
            let stream = TcpStream::connect(address).await.unwrap();
            secured.push(connector.connect(name.clone(), stream).await.unwrap());
        }
        let ask = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let mut stream = connector.connect(name.clone(), stream).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
            let mut text = String::new();
            let _ = stream.read_to_string(&mut text).await;
            text
        };
        let answer = tokio::time::timeout(PATIENCE * 6, ask).await.unwrap();
        assert!(answer.contains("200 OK") && answer.ends_with("here"), "{answer}");
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE * 6, secured[0].read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "a connection without a request ends");
        stop.cancel();
    }
}
