//! Asks one gateway for its own metrics: one second, a bounded answer, a connection that is kept.

use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::net::SocketAddr;
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
    #[error("it cannot be reached: {0}")]
    Unreachable(#[from] hyper_util::client::legacy::Error),
    #[error("it answers {0}")]
    Refused(hyper::StatusCode),
    #[error("the answer is longer than {LONGEST} bytes, or breaks off: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
}

/// An HTTP client for the metrics of pods.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    client: Client<HttpConnector, Empty<&'static [u8]>>,
}

impl Asker {
    pub(crate) fn new() -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(1)
            .build_http();
        Self { client }
    }

    /// The metrics that `address` serves, as text.
    pub(crate) async fn metrics(&self, address: SocketAddr) -> Result<String, Unanswered> {
        tokio::time::timeout(PATIENCE, self.ask(address)).await.map_err(|_| Unanswered::TooSlow)?
    }

    async fn ask(&self, address: SocketAddr) -> Result<String, Unanswered> {
        let uri =
            format!("http://{address}/metrics").parse().map_err(|error| Unanswered::Body(Box::new(error) as _))?;
        let answer = self.client.get(uri).await?;
        if !answer.status().is_success() {
            return Err(Unanswered::Refused(answer.status()));
        }
        let body = Limited::new(answer.into_body(), LONGEST).collect().await.map_err(Unanswered::Body)?;
        Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
    }
}
