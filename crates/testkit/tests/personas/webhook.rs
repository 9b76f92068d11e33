//! Any pod of the cluster, at the port of the admission webhooks: connections that it opens and holds, without asking anything.
//!
//! Owns the connections: half of them speak HTTP/2 and answer every ping, half of them send nothing. Reviews are those that the real
//! API server asks for, and whoever connects anew.

use crate::plane::Plane;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use odigos_api::API_VERSION;
use odigos_testkit::control_plane::NAMESPACE;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Connections of each kind that are held at once, as far as the server lets them be.
const HELD: usize = 1_000;
/// A connection that was closed is opened again after this time.
const AGAIN: Duration = Duration::from_secs(10);
/// Reviews of each kind.
const REVIEWS: usize = 20;
/// The shortest time that a webhook of ours may take.
const REVIEW_LIMIT: Duration = Duration::from_secs(2);
/// Preface of HTTP/2, and empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Whoever connects from an address.
#[derive(Clone)]
struct Peer {
    from: String,
    port: u16,
    connector: TlsConnector,
}

impl Peer {
    async fn new(plane: &Plane, from: &str, protocol: &[u8]) -> Self {
        let secrets: Api<Secret> = Api::namespaced(plane.client.clone(), NAMESPACE);
        let data = secrets.get("odigos-webhook-authority").await.unwrap().data.unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&data["ca.crt"].0).unwrap()).unwrap();
        let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        Self { from: from.to_owned(), port: plane.webhook_port, connector: TlsConnector::from(Arc::new(config)) }
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(self.from.parse().unwrap(), 0))?;
        socket.connect(SocketAddr::new("127.0.0.1".parse().unwrap(), self.port)).await
    }

    async fn secured(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("127.0.0.1").unwrap();
        self.connector.connect(name, self.connect().await?).await
    }

    /// Holds a connection that sends nothing until the server closes it.
    async fn hold_silent(&self, open: &AtomicUsize) -> std::io::Result<()> {
        let mut stream = self.connect().await?;
        open.fetch_add(1, Ordering::Relaxed);
        let read = stream.read(&mut [0; 64]).await;
        open.fetch_sub(1, Ordering::Relaxed);
        read.map(|_| ())
    }

    /// Holds a connection that speaks HTTP/2 and asks nothing.
    async fn hold_http2(&self, open: &AtomicUsize) -> std::io::Result<()> {
        let mut stream = self.secured().await?;
        stream.write_all(PREFACE).await?;
        open.fetch_add(1, Ordering::Relaxed);
        let talked = answer_frames(&mut stream).await;
        open.fetch_sub(1, Ordering::Relaxed);
        talked
    }

    /// One request on a connection of its own; its status line.
    async fn ask(&self) -> std::io::Result<String> {
        let mut stream = self.secured().await?;
        let body = "{}";
        let head = format!(
            "POST /label-pods HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }
}

/// Acknowledges settings and pings until the server closes.
async fn answer_frames(stream: &mut TlsStream<TcpStream>) -> std::io::Result<()> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await?;
        let (kind, is_answer) = (head[3], head[4] & 1 == 1);
        let answer = match kind {
            4 if !is_answer => vec![0, 0, 0, 4, 1, 0, 0, 0, 0],
            6 if !is_answer => [&[0, 0, 8, 6, 1, 0, 0, 0, 0], payload.as_slice()].concat(),
            _ => continue,
        };
        stream.write_all(&answer).await?;
    }
}

/// A Destination that is not stored; its webhook fails closed, so that it is created only if the review was answered in time.
async fn review(plane: &Plane, number: usize) {
    let object = json!({
        "apiVersion": API_VERSION, "kind": "Destination",
        "metadata": {"name": format!("held-{number}"), "namespace": NAMESPACE},
        "spec": {"type": "jaeger", "destinationName": "held", "signals": ["TRACES"], "data": {"JAEGER_URL": "jaeger:4317"}},
    });
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("odigos.io", "v1alpha1", "Destination"));
    let api: Api<DynamicObject> = Api::namespaced_with(plane.client.clone(), NAMESPACE, &kind);
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    api.create(&parameters, &serde_json::from_value(object).unwrap()).await.unwrap();
}

/// While a peer holds all the connections that it is let have, reviews are answered within their time: those of the API server, which
/// keeps its connection, and those of whoever connects anew from the same address.
pub(crate) async fn reviews_are_answered_while_connections_are_held(plane: &Plane, from: &str) {
    raise_open_files();
    let holder = Peer::new(plane, from, b"h2").await;
    let (silent, spoken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut holders = JoinSet::new();
    for number in 0..2 * HELD {
        let (holder, silent, spoken) = (holder.clone(), silent.clone(), spoken.clone());
        holders.spawn(async move {
            // Not all at the same moment, else the kernel's queue for this port overflows before the server has seen any.
            tokio::time::sleep(AGAIN * u32::try_from(number).unwrap() / u32::try_from(4 * HELD).unwrap()).await;
            loop {
                let _ = match number % 2 == 0 {
                    true => holder.hold_silent(&silent).await,
                    false => holder.hold_http2(&spoken).await,
                };
                tokio::time::sleep(AGAIN).await;
            }
        });
    }
    tokio::time::sleep(AGAIN / 2).await;
    let newcomer = Peer::new(plane, "127.0.0.1", b"http/1.1").await;
    let (mut slowest, mut slowest_new) = (Duration::ZERO, Duration::ZERO);
    for number in 0..REVIEWS {
        let begun = Instant::now();
        review(plane, number).await;
        slowest = slowest.max(begun.elapsed());
        let begun = Instant::now();
        let status = newcomer.ask().await.unwrap();
        assert!(status.starts_with("HTTP/1.1 "), "{status:?}");
        slowest_new = slowest_new.max(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    println!(
        "  {from} holds {} silent connections and {} over HTTP/2; slowest review {slowest:?}, over a new connection {slowest_new:?}",
        silent.load(Ordering::Relaxed),
        spoken.load(Ordering::Relaxed),
    );
    assert!(slowest < REVIEW_LIMIT && slowest_new < REVIEW_LIMIT, "{slowest:?}, {slowest_new:?}");
    holders.shutdown().await;
}

/// Both ends of 2,000 connections are more files than a shell allows by default.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
