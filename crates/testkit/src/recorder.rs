//! A backend that speaks HTTP: remembers requests, answers with one status. Plays what cannot be had here.

use anyhow::Context;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Path with query.
    pub path: String,
    /// Headers by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The body as sent.
    pub body: Vec<u8>,
}

/// A recording backend.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    requests: Arc<Mutex<Vec<Recorded>>>,
}

impl Recorder {
    /// Listens on a loopback port until the runtime ends, answering every request with `status`.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn listen(port: u16, status: u16) -> anyhow::Result<Self> {
        let recorder = Self::default();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.with_context(|| format!("port {port} is taken"))?;
        let own = recorder.clone();
        #[allow(clippy::disallowed_methods, reason = "a test peer lives as long as the runtime")]
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let recorder = own.clone();
                #[allow(clippy::disallowed_methods, reason = "a test peer lives as long as the runtime")]
                tokio::spawn(async move {
                    // A sender that goes away ends its connection, nothing else.
                    let _ = recorder.serve(stream, status).await;
                });
            }
        });
        Ok(recorder)
    }

    /// Every request so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn serve(&self, mut stream: TcpStream, status: u16) -> anyhow::Result<()> {
        let mut buffer = Vec::new();
        loop {
            let head_end = loop {
                if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                    break end;
                }
                if read_more(&mut stream, &mut buffer).await? == 0 {
                    return Ok(());
                }
            };
            let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
            buffer.drain(..head_end + 4);
            let mut lines = head.split("\r\n");
            let path = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
            let pairs = lines.filter_map(|line| line.split_once(':'));
            let headers: BTreeMap<String, String> =
                pairs.map(|(name, value)| (name.trim().to_lowercase(), value.trim().to_owned())).collect();
            let body = if headers.get("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
                chunked(&mut stream, &mut buffer).await?
            } else {
                let length = headers.get("content-length").and_then(|value| value.parse().ok()).unwrap_or_default();
                while buffer.len() < length {
                    anyhow::ensure!(read_more(&mut stream, &mut buffer).await? > 0, "the body ends early");
                }
                buffer.drain(..length).collect()
            };
            self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(Recorded { path, headers, body });
            let answer =
                format!("HTTP/1.1 {status} -\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{{}}");
            stream.write_all(answer.as_bytes()).await?;
        }
    }
}

async fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<usize> {
    let mut part = [0; 16 * 1024];
    let count = stream.read(&mut part).await?;
    buffer.extend_from_slice(&part[..count]);
    Ok(count)
}

async fn chunked(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = loop {
            if let Some(end) = buffer.windows(2).position(|two| two == b"\r\n") {
                break end;
            }
            anyhow::ensure!(read_more(stream, buffer).await? > 0, "a chunk ends early");
        };
        let length = usize::from_str_radix(String::from_utf8_lossy(&buffer[..line_end]).trim(), 16)?;
        buffer.drain(..line_end + 2);
        while buffer.len() < length + 2 {
            anyhow::ensure!(read_more(stream, buffer).await? > 0, "a chunk ends early");
        }
        body.extend(buffer.drain(..length));
        buffer.drain(..2);
        if length == 0 {
            return Ok(body);
        }
    }
}
