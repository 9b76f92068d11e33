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
    #[error("failed to reach it: {0}")]
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

#[cfg(test)]
mod tests {
    use super::*;
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
        let all = [well, hangs, hangs, breaks_off, unwell].map(|address| asker.metrics(address));
        let said = futures::future::join_all(all).await;
        assert!(begun.elapsed() < PATIENCE * 2, "{:?}", begun.elapsed());
        assert_eq!(said[0].as_deref().unwrap(), "a 1");
        assert!(matches!(said[1], Err(Unanswered::TooSlow)) && matches!(said[2], Err(Unanswered::TooSlow)));
        assert!(matches!(said[3], Err(Unanswered::TooSlow)), "{:?}", said[3]);
        assert!(matches!(said[4], Err(Unanswered::Refused(_))), "{:?}", said[4]);
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut_off() {
        let (endless, _endless) = gateway(answer("200 OK", LONGEST + 1, &vec![b'a'; LONGEST + 1])).await;
        let said = Asker::new().metrics(endless).await;
        assert!(matches!(said, Err(Unanswered::Body(_) | Unanswered::TooSlow)), "{said:?}");
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert!(matches!(Asker::new().metrics(nobody).await, Err(Unanswered::Unreachable(_))));
    }
}
