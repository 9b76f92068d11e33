//! An application: sends numbered spans, metrics and log records to the node's collector, and writes numbered lines.
//!
//! A send that fails is tried again with the same numbers until it is acknowledged, so what was sent is what `items` says
//! and every number has to arrive.

use super::{PORT, terminated};
use crate::records::Sent;
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use odigos_api::Signal;
use odigos_testkit::otlp::Sender;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How an application runs.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// Its `service.name`.
    #[arg(long)]
    service: String,
    /// Name of its pod; what it sends is numbered by it.
    #[arg(long, env = "POD_NAME")]
    pod: String,
    /// The collector; without one it only writes lines.
    #[arg(long)]
    endpoint: Option<String>,
    /// Items of each signal in a second.
    #[arg(long, default_value_t = 20)]
    rate: u64,
    /// Spans of a trace; they are sent in different requests.
    #[arg(long, default_value_t = 1)]
    spans_per_trace: u64,
    /// Signals to send.
    #[arg(long, value_delimiter = ',', default_value = "traces,metrics,logs")]
    signals: Vec<String>,
    /// Begin at once instead of on request.
    #[arg(long)]
    at_once: bool,
    /// Lines to write in a second.
    #[arg(long, default_value_t = 5)]
    lines: u64,
}

type Shared = Arc<Mutex<Sent>>;

/// Runs until the process is asked to end.
///
/// # Errors
/// When a port is taken.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let sent =
        Shared::new(Mutex::new(Sent { pod: arguments.pod.clone(), running: arguments.at_once, ..Sent::default() }));
    let router = Router::new()
        .route("/", get(tell))
        .route("/start", post(start))
        .route("/stop", post(stop))
        .with_state(sent.clone());
    let listener = tokio::net::TcpListener::bind(("0.0.0.0", PORT)).await?;
    let served = axum::serve(listener, router).with_graceful_shutdown(terminated());
    tokio::select! {
        served = async { served.await } => served?,
        () = write_lines(&arguments, &sent) => {}
        () = send(&arguments, &sent) => {}
    }
    Ok(())
}

async fn tell(State(sent): State<Shared>) -> Json<Sent> {
    Json(sent.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

async fn start(State(sent): State<Shared>) {
    change(&sent, |sent| sent.running = true);
}

async fn stop(State(sent): State<Shared>) {
    change(&sent, |sent| sent.running = false);
}

fn change(sent: &Shared, how: impl FnOnce(&mut Sent)) {
    how(&mut sent.lock().unwrap_or_else(PoisonError::into_inner));
}

fn is_running(sent: &Shared) -> bool {
    sent.lock().unwrap_or_else(PoisonError::into_inner).running
}

#[allow(clippy::print_stdout, reason = "its output is what the story reads")]
async fn write_lines(arguments: &Arguments, sent: &Shared) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(arguments.lines.max(1)).unwrap_or(1));
    let mut number = 0;
    loop {
        ticks.tick().await;
        if arguments.lines > 0 && is_running(sent) {
            println!("line {}/{number}", arguments.pod);
            number += 1;
            change(sent, |sent| sent.lines = number);
        }
    }
}

/// Times in a second that items are sent.
const BEATS: u64 = 10;
/// A collector that does not answer within this time is asked again. If it was only slow, it gets the items twice.
const PATIENCE: Duration = Duration::from_secs(15);

async fn send(arguments: &Arguments, sent: &Shared) {
    let Some(endpoint) = &arguments.endpoint else { return std::future::pending().await };
    let mut sender: Option<Sender> = None;
    let mut next = 0;
    let mut beats = tokio::time::interval(Duration::from_millis(1000 / BEATS));
    loop {
        beats.tick().await;
        if !is_running(sent) {
            continue;
        }
        change(sent, |sent| sent.sending = true);
        let count = (arguments.rate / BEATS).max(1);
        loop {
            if sender.is_none() {
                let connected = tokio::time::timeout(PATIENCE, Sender::connect(endpoint)).await;
                sender = connected.ok().and_then(Result::ok);
            }
            let done = match &sender {
                Some(sender) => {
                    let sending = send_all(sender, arguments, next, count);
                    matches!(tokio::time::timeout(PATIENCE, sending).await, Ok(Ok(())))
                }
                None => false,
            };
            if done {
                break;
            }
            sender = None;
            change(sent, |sent| sent.failures += 1);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        next += count;
        change(sent, |sent| {
            sent.items = next;
            sent.sending = false;
        });
    }
}

async fn send_all(sender: &Sender, arguments: &Arguments, first: u64, count: u64) -> anyhow::Result<()> {
    let names: Vec<String> = (first..first + count).map(|number| format!("{}/{number}", arguments.pod)).collect();
    let attributes = [("service.name", arguments.service.as_str())];
    for signal in &arguments.signals {
        match signal.as_str() {
            "traces" => sender.send_spans(spans(arguments, first, &names)).await?,
            "metrics" => sender.send(Signal::Metrics, &attributes, &names).await?,
            "logs" => sender.send(Signal::Logs, &attributes, &names).await?,
            other => anyhow::bail!("{other} is no signal"),
        }
    }
    Ok(())
}

/// Spans whose traces stretch over requests: number `n` belongs to trace `n % open + …`, so that parts of a trace come apart
/// in time.
fn spans(arguments: &Arguments, first: u64, names: &[String]) -> Vec<ResourceSpans> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanoseconds = u64::try_from(now.as_nanos()).unwrap_or_default();
    let spans = (first..).zip(names).map(|(number, name)| Span {
        trace_id: trace_id(&arguments.pod, trace_number(number, arguments.spans_per_trace, arguments.rate)),
        span_id: (number + 1).to_be_bytes().to_vec(),
        name: name.clone(),
        start_time_unix_nano: nanoseconds,
        end_time_unix_nano: nanoseconds + 1_000_000,
        ..Span::default()
    });
    let service = KeyValue {
        key: "service.name".into(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(arguments.service.clone())) }),
        ..KeyValue::default()
    };
    let scope = ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() };
    let resource = Resource { attributes: vec![service], ..Resource::default() };
    vec![ResourceSpans { resource: Some(resource), scope_spans: vec![scope], ..ResourceSpans::default() }]
}

/// The trace of a span: blocks of a second's traces are worked on side by side, one span of each in turn.
#[must_use]
pub fn trace_number(span: u64, spans_per_trace: u64, rate: u64) -> u64 {
    let open = (rate / spans_per_trace.max(1)).max(1);
    let block = span / (open * spans_per_trace.max(1));
    block * open + span % open
}

/// The id of a trace: the pod's name, folded, and the number.
#[must_use]
pub fn trace_id(pod: &str, number: u64) -> Vec<u8> {
    let folded = pod
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    [folded.to_be_bytes(), mixed.to_be_bytes()].concat()
}
