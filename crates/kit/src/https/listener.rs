//! TLS on accepted connections, and the protocol that was agreed on. Room and time: [`crate::connections`].
//!
//! Owns handshakes and the settings of HTTP/1 and HTTP/2. Never looks at a request.

use crate::connections::{self, Limits, Place};
use crate::front_proxy::PeerName;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How long a TLS handshake, and each request's header, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a silent HTTP/2 connection is asked whether its peer is still there; it ends when [`PATIENCE`] passes without an answer.
const PING: Duration = Duration::from_secs(30);
/// Most requests at once on one HTTP/2 connection.
const STREAMS: u32 = 256;

/// API servers keep a few connections each, perhaps all behind one address, and reopen an idle one without losing a request. A
/// process may often have 1,024 files open. No review takes longer than 30 seconds.
const LIMITS: Limits = Limits {
    total: 256,
    per_peer: 64,
    first_request: PATIENCE,
    idle: Duration::from_secs(300),
    request: Duration::from_secs(30),
    age: Duration::from_secs(3600),
};

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

/// Serves until the token is cancelled; what is under way then has a few seconds to end.
pub(super) async fn accept(
    purpose: &'static str,
    listener: TcpListener,
    acceptor: TlsAcceptor,
    router: Router,
    stop: CancellationToken,
) {
    let protocols = Protocols::new();
    let serve = |stream: TcpStream, _, place: Place| {
        let (acceptor, router, protocols) = (acceptor.clone(), router.clone(), protocols.clone());
        async move {
            let secured = tokio::select! {
                secured = handshake(stream, &acceptor, router, &protocols) => secured,
                _ = place.ended() => None,
            };
            if let Some((router, builder, stream)) = secured {
                place.serve(stream, &builder, router).await;
            }
        }
    };
    connections::accept(purpose, listener, LIMITS, stop, serve).await;
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
        let mut server = server.with_single_cert(vec![certificate.clone()], key).unwrap();
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let router = Router::new().route("/", get(|| async { "here" }));
        #[allow(clippy::disallowed_methods, reason = "it lives as long as the test")]
        tokio::spawn(accept("test", listener, TlsAcceptor::from(Arc::new(server)), router, stop.clone()));
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let client = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        (address, tokio_rustls::TlsConnector::from(Arc::new(client)), stop)
    }

    /// One request over HTTP/2 and its whole answer; the types of the frames that came.
    async fn ask(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), number: u8) -> Vec<u8> {
        const HEADERS: [u8; 6] = [0x82, 0x87, 0x84, 0x41, 1, b'x'];
        let head = [0, 0, 6, 1, 5, 0, 0, 0, number];
        stream.write_all(&[&head[..], &HEADERS].concat()).await.unwrap();
        frames(stream, |kind, flags| kind == 0 && flags & 1 == 1).await
    }

    /// Reads frames, and answers pings, until one is the last; types of all.
    async fn frames(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), is_last: fn(u8, u8) -> bool) -> Vec<u8> {
        let mut kinds = Vec::new();
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                return kinds;
            }
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            stream.read_exact(&mut payload).await.unwrap();
            if head[3] == 6 && head[4] & 1 == 0 {
                stream.write_all(&[&[0, 0, 8, 6, 1, 0, 0, 0, 0], payload.as_slice()].concat()).await.unwrap();
            }
            kinds.push(head[3]);
            if is_last(head[3], head[4]) {
                return kinds;
            }
        }
    }

    /// A connection that has asked and makes room for another one is told so, and its last request is answered.
    #[tokio::test]
    async fn client_that_makes_room_is_told_and_answered() {
        const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        const GOAWAY: u8 = 7;
        let (address, mut connector, stop) = serve().await;
        let mut config = connector.config().as_ref().clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("localhost").unwrap();
        let mut all = Vec::new();
        for _ in 0..=LIMITS.per_peer {
            let stream = TcpStream::connect(address).await.unwrap();
            let mut stream = connector.connect(name.clone(), stream).await.unwrap();
            stream.write_all(PREFACE).await.unwrap();
            let kinds = ask(&mut stream, 1).await;
            assert!(!kinds.contains(&GOAWAY));
            all.push(stream);
        }
        let (first, others) = all.split_first_mut().unwrap();
        let told = ask(first, 3).await;
        assert!(told.contains(&GOAWAY) && told.last() == Some(&0), "{told:?}");
        let rest = tokio::time::timeout(PATIENCE, frames(first, |_, _| false)).await;
        assert!(rest.is_ok(), "then it ends");
        assert!(!ask(&mut others[0], 3).await.contains(&GOAWAY), "the others stay");
        stop.cancel();
    }

    /// More connections than there is room for, half of them without a handshake and half without a request: all of them end, and
    /// who comes after them from the same address is answered at once.
    #[tokio::test]
    async fn connections_that_say_nothing_end_and_keep_nobody_out() {
        let (address, connector, stop) = serve().await;
        let name = ServerName::try_from("localhost").unwrap();
        let (mut silent, mut secured) = (Vec::new(), Vec::new());
        for _ in 0..LIMITS.total / 2 {
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
        let answer = tokio::time::timeout(PATIENCE / 2, ask).await.unwrap();
        assert!(answer.contains("200 OK") && answer.ends_with("here"), "{answer}");
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE * 6, secured[0].read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "a connection without a request ends");
        stop.cancel();
    }
}
