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
