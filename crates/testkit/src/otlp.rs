//! OTLP in both directions: senders that play applications, and a sink that plays a backend and remembers.

use anyhow::Context;
use odigos_api::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};

/// One item that arrived.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// Its signal.
    pub signal: Signal,
    /// `service.name` of its resource.
    pub service: String,
    /// Name of the span or metric, or the text of the log.
    pub name: String,
    /// Attributes of its resource.
    pub resource: BTreeMap<String, String>,
    /// Attributes of the span itself; empty for other signals.
    pub attributes: BTreeMap<String, String>,
    /// Id of the span's trace in hexadecimal digits; empty for other signals.
    pub trace: String,
    /// Data points of the metric that count something; empty for other signals.
    pub points: Vec<Point>,
}

/// One data point of a sum or a histogram.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// Attributes of the data point.
    pub attributes: BTreeMap<String, String>,
    /// How many it counts.
    pub count: u64,
}

/// Everything that arrived, as it came.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    /// Spans.
    pub spans: Vec<ResourceSpans>,
    /// Metrics.
    pub metrics: Vec<ResourceMetrics>,
    /// Logs.
    pub logs: Vec<ResourceLogs>,
}

/// What a backend does with an item.
type Handler = Arc<dyn Fn(Item) + Send + Sync>;

/// A backend that remembers what arrived.
#[derive(Clone, Default)]
pub struct Sink {
    items: Arc<Mutex<Vec<Item>>>,
    /// Metadata of the requests with spans.
    metadata: Arc<Mutex<Vec<tonic::metadata::MetadataMap>>>,
    /// Spans by name, and nothing else of them, where very many arrive.
    counted: Option<Arc<Mutex<BTreeMap<String, usize>>>>,
    /// Takes every item instead of remembering it.
    handler: Option<Handler>,
    /// Everything as it came, instead of items.
    raw: Option<Arc<Mutex<Raw>>>,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").field("items", &self.items).field("counted", &self.counted).finish_non_exhaustive()
    }
}

impl Sink {
    /// Listens on a loopback port for OTLP over gRPC until the runtime ends.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn listen(port: u16) -> anyhow::Result<Self> {
        Self::default().serve(SocketAddr::from(([127, 0, 0, 1], port))).await
    }

    /// Listens on any address and hands every item to `handler`.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn listen_with(
        address: SocketAddr,
        handler: impl Fn(Item) + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        Self { handler: Some(Arc::new(handler)), ..Self::default() }.serve(address).await
    }

    /// Listens as [`Sink::listen`] does, but only counts spans by name.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn listen_counting(port: u16) -> anyhow::Result<Self> {
        let sink = Self { counted: Some(Arc::default()), ..Self::default() };
        sink.serve(SocketAddr::from(([127, 0, 0, 1], port))).await
    }

    /// Listens as [`Sink::listen`] does, but keeps everything as it came.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn listen_raw(port: u16) -> anyhow::Result<Self> {
        let sink = Self { raw: Some(Arc::default()), ..Self::default() };
        sink.serve(SocketAddr::from(([127, 0, 0, 1], port))).await
    }

    /// Everything that arrived at a sink that keeps it as it came.
    #[must_use]
    pub fn raw(&self) -> Raw {
        let raw = self.raw.as_ref();
        raw.map(|raw| raw.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default()
    }

    async fn serve(self, address: SocketAddr) -> anyhow::Result<Self> {
        let sink = self;
        let listener = tokio::net::TcpListener::bind(address).await.with_context(|| format!("{address} is taken"))?;
        let limit = 64 * 1024 * 1024;
        let server = Server::builder()
            .add_service(TraceServiceServer::new(sink.clone()).max_decoding_message_size(limit))
            .add_service(MetricsServiceServer::new(sink.clone()).max_decoding_message_size(limit))
            .add_service(LogsServiceServer::new(sink.clone()).max_decoding_message_size(limit));
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        #[allow(clippy::disallowed_methods, reason = "a test peer lives as long as the runtime")]
        tokio::spawn(server.serve_with_incoming(incoming));
        Ok(sink)
    }

    /// Spans by name, of a sink that counts.
    #[must_use]
    pub fn span_counts(&self) -> BTreeMap<String, usize> {
        let counted = self.counted.as_ref();
        counted.map(|counted| counted.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default()
    }

    /// How many spans a sink that counts has.
    #[must_use]
    pub fn spans(&self) -> usize {
        let counted = self.counted.as_ref();
        counted.map_or(0, |counted| counted.lock().unwrap_or_else(PoisonError::into_inner).values().sum())
    }

    /// Everything that arrived so far.
    #[must_use]
    pub fn items(&self) -> Vec<Item> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Metadata of every request with spans so far, unless the sink counts.
    #[must_use]
    pub fn metadata(&self) -> Vec<tonic::metadata::MetadataMap> {
        self.metadata.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Items by signal and service.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<(Signal, String), usize> {
        let mut counts = BTreeMap::new();
        for item in self.items() {
            *counts.entry((item.signal, item.service)).or_default() += 1;
        }
        counts
    }

    fn add(&self, items: impl IntoIterator<Item = Item>) {
        if let Some(handler) = &self.handler {
            return items.into_iter().for_each(|item| handler(item));
        }
        self.items.lock().unwrap_or_else(PoisonError::into_inner).extend(items);
    }
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(flag)) => flag.to_string(),
        Some(any_value::Value::ArrayValue(list)) => {
            list.values.iter().map(|one| text(Some(one))).collect::<Vec<_>>().join(",")
        }
        _ => String::new(),
    }
}

fn attributes(resource: Option<&Resource>) -> BTreeMap<String, String> {
    texts(resource.map(|resource| resource.attributes.as_slice()).unwrap_or_default())
}

fn texts(list: &[KeyValue]) -> BTreeMap<String, String> {
    list.iter().map(|pair| (pair.key.clone(), text(pair.value.as_ref()))).collect()
}

fn item(signal: Signal, resource: &BTreeMap<String, String>, name: &str) -> Item {
    let service = resource.get("service.name").cloned().unwrap_or_default();
    Item {
        signal,
        service,
        name: name.to_owned(),
        resource: resource.clone(),
        attributes: BTreeMap::new(),
        trace: String::new(),
        points: Vec::new(),
    }
}

fn points(metric: &Metric) -> Vec<Point> {
    let point = |list: &[KeyValue], count| Point { attributes: texts(list), count };
    match &metric.data {
        Some(metric::Data::Sum(sum)) => sum
            .data_points
            .iter()
            .map(|one| {
                let count = match one.value {
                    Some(number_data_point::Value::AsInt(count)) => u64::try_from(count).unwrap_or_default(),
                    _ => 0,
                };
                point(&one.attributes, count)
            })
            .collect(),
        Some(metric::Data::Histogram(histogram)) => {
            histogram.data_points.iter().map(|one| point(&one.attributes, one.count)).collect()
        }
        _ => Vec::new(),
    }
}

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        if let Some(counted) = &self.counted {
            let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
            let groups = request.into_inner().resource_spans.into_iter().flat_map(|group| group.scope_spans);
            groups.flat_map(|scope| scope.spans).for_each(|span| *counted.entry(span.name).or_default() += 1);
            return Ok(Response::new(ExportTraceServiceResponse::default()));
        }
        if let Some(raw) = &self.raw {
            raw.lock().unwrap_or_else(PoisonError::into_inner).spans.extend(request.into_inner().resource_spans);
            return Ok(Response::new(ExportTraceServiceResponse::default()));
        }
        self.metadata.lock().unwrap_or_else(PoisonError::into_inner).push(request.metadata().clone());
        for spans in request.into_inner().resource_spans {
            let resource = attributes(spans.resource.as_ref());
            let all = spans.scope_spans.iter().flat_map(|scope| &scope.spans);
            self.add(all.map(|span| Item {
                attributes: texts(&span.attributes),
                trace: span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect(),
                ..item(Signal::Traces, &resource, &span.name)
            }));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Sink {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        if let Some(raw) = &self.raw {
            raw.lock().unwrap_or_else(PoisonError::into_inner).metrics.extend(request.into_inner().resource_metrics);
            return Ok(Response::new(ExportMetricsServiceResponse::default()));
        }
        for metrics in request.into_inner().resource_metrics {
            let resource = attributes(metrics.resource.as_ref());
            let all = metrics.scope_metrics.iter().flat_map(|scope| &scope.metrics);
            self.add(
                all.map(|metric| Item { points: points(metric), ..item(Signal::Metrics, &resource, &metric.name) }),
            );
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Sink {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        if let Some(raw) = &self.raw {
            raw.lock().unwrap_or_else(PoisonError::into_inner).logs.extend(request.into_inner().resource_logs);
            return Ok(Response::new(ExportLogsServiceResponse::default()));
        }
        for logs in request.into_inner().resource_logs {
            let resource = attributes(logs.resource.as_ref());
            let all = logs.scope_logs.iter().flat_map(|scope| &scope.log_records);
            self.add(all.map(|record| item(Signal::Logs, &resource, &text(record.body.as_ref()))));
        }
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

fn pair(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) }),
        ..KeyValue::default()
    }
}

fn resource(attributes: &[(&str, &str)]) -> Option<Resource> {
    Some(Resource {
        attributes: attributes.iter().map(|(key, value)| pair(key, value)).collect(),
        ..Resource::default()
    })
}

/// An application that sends to a collector.
#[derive(Clone, Debug)]
pub struct Sender {
    channel: Channel,
}

impl Sender {
    /// Connects to a collector, e.g. `http://127.0.0.1:4317`.
    ///
    /// # Errors
    /// When nothing listens there.
    pub async fn connect(endpoint: &str) -> anyhow::Result<Self> {
        Ok(Self { channel: Channel::from_shared(endpoint.to_owned())?.connect().await? })
    }

    /// The same from an address of this machine's loopback network, which is a pod's in a test.
    ///
    /// # Errors
    /// When nothing listens there.
    pub async fn connect_from(endpoint: &str, address: std::net::IpAddr) -> anyhow::Result<Self> {
        let endpoint = Channel::from_shared(endpoint.to_owned())?.local_address(Some(address));
        Ok(Self { channel: endpoint.connect().await? })
    }

    /// Sends one span, one metric or one log record for each name.
    ///
    /// # Errors
    /// When the collector refuses them.
    pub async fn send(&self, signal: Signal, attributes: &[(&str, &str)], names: &[String]) -> anyhow::Result<()> {
        match signal {
            Signal::Traces => self.spans(attributes, names).await,
            Signal::Metrics => self.metrics(attributes, names).await,
            Signal::Logs => self.logs(attributes, names).await,
            Signal::Profiles => anyhow::bail!("profiles are not sent"),
        }
    }

    /// Sends groups of spans as they are.
    ///
    /// # Errors
    /// When the collector refuses them.
    pub async fn send_spans(&self, groups: Vec<ResourceSpans>) -> anyhow::Result<()> {
        let mut client = TraceServiceClient::new(self.channel.clone()).max_encoding_message_size(64 * 1024 * 1024);
        client.export(ExportTraceServiceRequest { resource_spans: groups }).await?;
        Ok(())
    }

    /// Sends groups of metrics as they are.
    ///
    /// # Errors
    /// When the collector refuses them.
    pub async fn send_metrics(&self, groups: Vec<ResourceMetrics>) -> anyhow::Result<()> {
        let mut client = MetricsServiceClient::new(self.channel.clone()).max_encoding_message_size(64 * 1024 * 1024);
        client.export(ExportMetricsServiceRequest { resource_metrics: groups }).await?;
        Ok(())
    }

    /// Sends groups of logs as they are.
    ///
    /// # Errors
    /// When the collector refuses them.
    pub async fn send_logs(&self, groups: Vec<ResourceLogs>) -> anyhow::Result<()> {
        let mut client = LogsServiceClient::new(self.channel.clone()).max_encoding_message_size(64 * 1024 * 1024);
        client.export(ExportLogsServiceRequest { resource_logs: groups }).await?;
        Ok(())
    }

    async fn spans(&self, attributes: &[(&str, &str)], names: &[String]) -> anyhow::Result<()> {
        let spans = names.iter().map(|name| {
            // Ids come from the name, so that the same name is the same span wherever it arrives.
            let id = <sha2::Sha256 as sha2::Digest>::digest(name.as_bytes());
            Span {
                trace_id: id[..16].to_vec(),
                span_id: id[16..24].to_vec(),
                name: name.clone(),
                start_time_unix_nano: 1_700_000_000_000_000_000,
                end_time_unix_nano: 1_700_000_000_001_000_000,
                ..Span::default()
            }
        });
        let scope = ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() };
        let spans =
            ResourceSpans { resource: resource(attributes), scope_spans: vec![scope], ..ResourceSpans::default() };
        TraceServiceClient::new(self.channel.clone())
            .export(ExportTraceServiceRequest { resource_spans: vec![spans] })
            .await?;
        Ok(())
    }

    async fn metrics(&self, attributes: &[(&str, &str)], names: &[String]) -> anyhow::Result<()> {
        let metrics = names.iter().map(|name| {
            let point = NumberDataPoint {
                time_unix_nano: 1_700_000_000_000_000_000,
                value: Some(number_data_point::Value::AsInt(1)),
                ..NumberDataPoint::default()
            };
            Metric {
                name: name.clone(),
                data: Some(metric::Data::Gauge(Gauge { data_points: vec![point] })),
                ..Metric::default()
            }
        });
        let scope = ScopeMetrics { metrics: metrics.collect(), ..ScopeMetrics::default() };
        let metrics = ResourceMetrics {
            resource: resource(attributes),
            scope_metrics: vec![scope],
            ..ResourceMetrics::default()
        };
        MetricsServiceClient::new(self.channel.clone())
            .export(ExportMetricsServiceRequest { resource_metrics: vec![metrics] })
            .await?;
        Ok(())
    }

    async fn logs(&self, attributes: &[(&str, &str)], names: &[String]) -> anyhow::Result<()> {
        let records = names.iter().map(|name| LogRecord {
            time_unix_nano: 1_700_000_000_000_000_000,
            body: Some(AnyValue { value: Some(any_value::Value::StringValue(name.clone())) }),
            ..LogRecord::default()
        });
        let scope = ScopeLogs { log_records: records.collect(), ..ScopeLogs::default() };
        let logs = ResourceLogs { resource: resource(attributes), scope_logs: vec![scope], ..ResourceLogs::default() };
        LogsServiceClient::new(self.channel.clone())
            .export(ExportLogsServiceRequest { resource_logs: vec![logs] })
            .await?;
        Ok(())
    }
}
