//! A backend: OTLP over gRPC in, everything that arrived as JSON out. It can be told to refuse, as one that is down does.

use super::{PORT, terminated};
use crate::records::Records;
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use odigos_testkit::otlp::Sink;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// How a backend runs.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Where it listens for OTLP.
    #[arg(long, default_value = "0.0.0.0:4317")]
    otlp: SocketAddr,
}

type Shared = Arc<Mutex<Records>>;

/// Runs until the process is asked to end.
///
/// # Errors
/// When a port is taken.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let records = Shared::default();
    let taking = records.clone();
    let _sink = Sink::listen_with(arguments.otlp, move |item| {
        taking.lock().unwrap_or_else(PoisonError::into_inner).add(item);
    })
    .await?;
    let router = Router::new().route("/", get(tell)).route("/forget", post(forget)).with_state(records);
    let listener = tokio::net::TcpListener::bind(("0.0.0.0", PORT)).await?;
    axum::serve(listener, router).with_graceful_shutdown(terminated()).await?;
    Ok(())
}

async fn tell(State(records): State<Shared>) -> Json<Records> {
    Json(records.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

async fn forget(State(records): State<Shared>) {
    *records.lock().unwrap_or_else(PoisonError::into_inner) = Records::default();
}
