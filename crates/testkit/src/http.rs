//! The smallest HTTP client: one `GET` of a server on this machine.

use base64::Engine as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The body that `http://127.0.0.1:port` answers to `GET path`, when it answers 200. `user` is a name and a password.
pub async fn get(port: u16, path: &str, user: Option<(&str, &str)>) -> Option<String> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let identity = user.map(|(name, password)| {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
        format!("Authorization: Basic {pair}\r\n")
    });
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n{}\r\n", identity.unwrap_or_default());
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.lines().next()?.contains(" 200 ").then(|| body.to_owned())
}

/// The status that `http://127.0.0.1:port` answers to a `POST` of `body`; none when it does not answer.
pub async fn post(port: u16, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<u16> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    // A server that refuses early may close before it has read everything.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let line = String::from_utf8_lossy(&answer);
    line.split(' ').nth(1)?.parse().ok()
}
