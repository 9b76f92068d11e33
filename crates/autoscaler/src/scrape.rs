//! Asks one gateway for its own metrics: one second, a bounded answer, a connection that is kept.
//!
//! Owns the connections, with the certificate of a reader of metrics where the gateway expects one. Never decides where a gateway is
//! asked (`plan::scaling::pods`).

use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use odigos_plan::mutual_tls::GATEWAY_NAME;
use odigos_plan::scaling::pods::MetricsPort;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How long one gateway may take (`spec/collectors-and-pipelines.md` 6.2, ours 1).
const PATIENCE: Duration = Duration::from_secs(1);
/// Longest answer in bytes; a gateway with a hundred destinations writes about one million.
const LONGEST: usize = 16 * 1024 * 1024;

/// Why a gateway said nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("no complete answer within a second")]
    TooSlow,
    #[error("failed to reach it: {0}")]
    Unreachable(#[from] hyper_util::client::legacy::Error),
    #[error("it expects a certificate, and there is none yet")]
    Uncertified,
    #[error("it answers {0}")]
    Refused(hyper::StatusCode),
    #[error("the answer is longer than {LONGEST} bytes, or breaks off: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
}

type Body = Empty<&'static [u8]>;

/// A client with the certificate of a reader.
#[derive(Clone, Debug)]
struct Certified {
    config: Arc<ClientConfig>,
    client: Client<HttpsConnector<HttpConnector>, Body>,
}

/// An HTTP client for the metrics of pods.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    plain: Client<HttpConnector, Body>,
    certified: Option<Certified>,
}

fn builder() -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(Duration::from_secs(30)).pool_max_idle_per_host(1);
    builder
}

impl Asker {
    pub(crate) fn new() -> Self {
        Self { plain: builder().build_http(), certified: None }
    }

    /// Uses another certificate from now on, if it is another one.
    pub(crate) fn certify(&mut self, config: Option<Arc<ClientConfig>>) {
        let Some(config) = config else { return };
        if self.certified.as_ref().is_some_and(|known| Arc::ptr_eq(&known.config, &config)) {
            return;
        }
        // Pods are asked by their addresses; all gateways have one name.
        let Ok(name) = ServerName::try_from(GATEWAY_NAME) else { return };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config.as_ref().clone())
            .https_only()
            .with_server_name_resolver(FixedServerNameResolver::new(name))
            .enable_http1()
            .build();
        self.certified = Some(Certified { config, client: builder().build(connector) });
    }

    /// The metrics that a gateway serves, as text.
    pub(crate) async fn metrics(&self, address: IpAddr, port: MetricsPort) -> Result<String, Unanswered> {
        tokio::time::timeout(PATIENCE, self.ask(address, port)).await.map_err(|_| Unanswered::TooSlow)?
    }

    async fn ask(&self, address: IpAddr, port: MetricsPort) -> Result<String, Unanswered> {
        let uri = |scheme: &str, port: u16| {
            let text = format!("{scheme}://{}/metrics", SocketAddr::new(address, port));
            text.parse().map_err(|error| Unanswered::Body(Box::new(error) as _))
        };
        let answer = match port {
            MetricsPort::Plain(port) => self.plain.get(uri("http", port)?).await?,
            MetricsPort::Secured(port) => {
                let certified = self.certified.as_ref().ok_or(Unanswered::Uncertified)?;
                certified.client.get(uri("https", port)?).await?
            }
        };
        if !answer.status().is_success() {
            return Err(Unanswered::Refused(answer.status()));
        }
        let body = Limited::new(answer.into_body(), LONGEST).collect().await.map_err(Unanswered::Body)?;
        Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use odigos_kit::certificates::{Authority, Mounted, Usage, client_config};
    use std::time::Instant;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A gateway that writes `answer` to whoever asks, and then says no more.
    async fn gateway(answer: Vec<u8>) -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        #[allow(clippy::disallowed_methods, reason = "a stand-in lives as long as its test")]
        let task = tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(&answer).await;
                open.push(stream);
            }
        });
        (address, task)
    }

    async fn ask(asker: &Asker, address: SocketAddr) -> Result<String, Unanswered> {
        asker.metrics(address.ip(), MetricsPort::Plain(address.port())).await
    }

    fn answer(status: &str, length: usize, body: &[u8]) -> Vec<u8> {
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    }

    #[tokio::test]
    async fn gateways_that_do_not_answer_cost_one_second_together() {
        let (well, _well) = gateway(answer("200 OK", 3, b"a 1")).await;
        let (hangs, _hangs) = gateway(Vec::new()).await;
        let (breaks_off, _breaks_off) = gateway(answer("200 OK", 100, b"a 1")).await;
        let (unwell, _unwell) = gateway(answer("500 Internal Server Error", 0, b"")).await;
        let asker = Asker::new();
        let begun = Instant::now();
        let all = [well, hangs, hangs, breaks_off, unwell].map(|address| ask(&asker, address));
        let said = futures::future::join_all(all).await;
        assert!(begun.elapsed() < PATIENCE * 2, "{:?}", begun.elapsed());
        assert_eq!(said[0].as_deref().unwrap(), "a 1");
        assert!(matches!(said[1], Err(Unanswered::TooSlow)) && matches!(said[2], Err(Unanswered::TooSlow)));
        assert!(matches!(said[3], Err(Unanswered::TooSlow)), "{:?}", said[3]);
        assert!(matches!(said[4], Err(Unanswered::Refused(_))), "{:?}", said[4]);
    }

    /// A gateway that expects a certificate is not asked without one, and never in plaintext.
    #[tokio::test]
    async fn gateway_with_an_endpoint_is_asked_with_a_certificate_alone() {
        let (plain, _plain) = gateway(answer("200 OK", 3, b"a 1")).await;
        let secured = MetricsPort::Secured(plain.port());
        let mut asker = Asker::new();
        let said = asker.metrics(plain.ip(), secured).await;
        assert!(matches!(said, Err(Unanswered::Uncertified)), "{said:?}");
        odigos_kit::client::install_crypto();
        let now = jiff::Timestamp::now();
        let authority = Authority::new(None, now).unwrap();
        let reader = Mounted::next(None, &authority, true, &["reader".into()], Usage::Client, now).unwrap();
        asker.certify(Some(Arc::new(client_config(&reader).unwrap())));
        let said = asker.metrics(plain.ip(), secured).await;
        assert!(matches!(said, Err(Unanswered::Unreachable(_) | Unanswered::TooSlow)), "{said:?}");
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut_off() {
        let (endless, _endless) = gateway(answer("200 OK", LONGEST + 1, &vec![b'a'; LONGEST + 1])).await;
        let said = ask(&Asker::new(), endless).await;
        assert!(matches!(said, Err(Unanswered::Body(_) | Unanswered::TooSlow)), "{said:?}");
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert!(matches!(ask(&Asker::new(), nobody).await, Err(Unanswered::Unreachable(_))));
    }
}
