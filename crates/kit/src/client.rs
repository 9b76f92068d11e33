//! The connection to the API server.

use kube::{Client, Config};
use std::time::Duration;

/// How long the API server may send nothing on a connection that waits for it.
const READ_TIMEOUT: Duration = Duration::from_secs(150);

/// The client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Neither a service account nor a kubeconfig.
    #[error("no cluster is configured: run inside a pod or set KUBECONFIG")]
    Infer(#[from] kube::config::InferConfigError),
    /// The configuration is unusable.
    #[error("the client cannot be made")]
    Build(#[from] kube::Error),
}

/// Chooses the cryptography of the process; the first thing that `main` does.
pub fn install_crypto() {
    // Fails only when one is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A client for the cluster that the process runs in, or that KUBECONFIG names. `name` becomes the user agent, so that
/// audit logs tell the controllers apart.
///
/// # Errors
/// When no cluster is configured.
pub async fn connect(name: &str) -> Result<Client, ClientError> {
    Ok(Client::try_from(config(name).await?)?)
}

/// The same, for requests whose refusal is an answer: kube's client tries those again that are refused as too many, and a pod that
/// a PodDisruptionBudget keeps is refused in that way.
///
/// # Errors
/// When no cluster is configured.
pub async fn connect_without_retries(name: &str) -> Result<Client, ClientError> {
    let mut config = config(name).await?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

async fn config(name: &str) -> Result<Config, ClientError> {
    let mut config = Config::infer().await?;
    config.connect_timeout = Some(Duration::from_secs(10));
    // A connection that is dead without a word would keep a reconcile for ever. Watches receive a bookmark a minute, so they stand.
    config.read_timeout = Some(READ_TIMEOUT);
    config.reset_reader_on_write = true;
    config.headers.push((
        axum::http::header::USER_AGENT,
        axum::http::HeaderValue::from_str(&format!("{name}/{}", env!("CARGO_PKG_VERSION")))
            .unwrap_or(axum::http::HeaderValue::from_static("odigos")),
    ));
    Ok(config)
}
