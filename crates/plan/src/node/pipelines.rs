//! The pipelines of the node collector while workloads are instrumented.
//!
//! Owns which pipelines run, what stands in each, and in which order (`spec/collectors-and-pipelines.md` 5). Settings of
//! components are those of [`super::receivers`], [`super::identity`], [`super::exporters`] and [`super::span_metrics`].

use super::receivers::{self, FILE_LOG, FILE_STORAGE, LOG_OFFSETS, OTLP};
use super::routes::{self, Route};
use super::senders::Origin;
use super::{Observed, own_metrics, scraped, sources, span_metrics};
use crate::collector;
use crate::configuration::Configuration;
use crate::processors::{self, Processors};
use crate::unowned::Handling;
use odigos_api::Signal;
use odigos_api::collectors_group::{CollectorsGroupSpec, ScrapedMetrics, SpanMetrics};
use odigos_api::labels::STREAM_CLASS_ATTRIBUTE;
use odigos_pipeline::ottl::{Condition, Expression, Path};
use odigos_pipeline::{CollectorConfig, ComponentKind, Pipeline};
use serde_json::json;
use std::collections::BTreeSet;

/// The parts that exist while workloads are instrumented.
pub(super) struct Build<'a> {
    pub(super) namespace: &'a str,
    pub(super) configuration: &'a Configuration,
    pub(super) gateway: &'a CollectorsGroupSpec,
    pub(super) spec: &'a CollectorsGroupSpec,
    pub(super) signals: BTreeSet<Signal>,
    pub(super) processors: &'a Processors,
    /// What gateways do to spans, for those that are measured.
    pub(super) measured: &'a Processors,
    pub(super) routes: &'a [Route<'a>],
    /// What it does with what belongs to no workload.
    pub(super) unowned: Handling<'a>,
    /// Gateways expect its certificate.
    pub(super) has_certificate: bool,
    /// An agent runs beside it, which keeps links to the logs that are wanted.
    pub(super) has_agent: bool,
}

pub(super) const FORWARD_SPAN_METRICS: &str = "forward/trace/spanmetrics";
const FORWARD_TRACES: &str = "forward/traces-exporting";

/// Name of the pipeline of items of one origin.
pub(super) const fn pipeline_of(origin: Origin) -> &'static str {
    match origin {
        Origin::Sent => "",
        Origin::Read => "read",
    }
}

impl<'a> Build<'a> {
    pub(super) fn takes(&self, signal: Signal) -> bool {
        self.signals.contains(&signal)
    }

    fn span_metrics(&self) -> Option<&SpanMetrics> {
        let settings = self.spec.metrics.as_ref()?.span_metrics.as_ref()?;
        (self.takes(Signal::Metrics) && settings.disabled != Some(true)).then_some(settings)
    }

    pub(super) fn add(&self, config: &mut CollectorConfig, seen: &Observed<'_>) {
        collector::add_guards(config, &self.spec.resources_settings);
        self.processors.add_to(config);
        self.measured.add_to(config);
        config.add(ComponentKind::Receiver, OTLP, receivers::otlp());
        self.add_identity(config, seen);
        self.add_exporters(config);
        if self.takes(Signal::Traces) || self.span_metrics().is_some() {
            self.add_traces(config);
        }
        if let Some(settings) = self.span_metrics() {
            let mut processors = self.of_measured_spans();
            if self.measured.usable.iter().any(|one| one.settings.to_string().contains("service.name")) {
                span_metrics::keep_service(config, &mut processors);
            }
            span_metrics::add(config, settings, processors, self.way_out(Signal::Metrics));
        }
        if self.takes(Signal::Metrics) {
            self.add_metrics(config);
        }
        if self.takes(Signal::Logs) {
            self.add_logs(config);
        }
        if let Some(metrics) = &self.spec.metrics
            && let Some(own) = &metrics.odigos_own_metrics
        {
            own_metrics::add(config, self.namespace, metrics, own, self.has_agent, self.configuration);
        }
        sources::add(config, seen.metrics_access().host());
        for signal in Signal::PIPELINES {
            let exporter = |gateway: &CollectorsGroupSpec| self.exporter(signal, gateway);
            routes::add(config, signal, self.routes, &exporter(self.gateway), &exporter);
        }
    }

    /// What spans pass before they are measured: what Actions do in gateways, with the scopes that were judged here.
    fn of_measured_spans(&self) -> Vec<String> {
        let own = self.measured.usable.iter().map(|one| one.id.clone());
        own.chain(self.processors.last(Signal::Traces)).collect()
    }

    fn user_processors(&self, signal: Signal, late: bool) -> Vec<String> {
        let chosen = self.processors.usable.iter().filter(|p| p.is_global(signal));
        let chosen = chosen.filter(|p| (signal == Signal::Traces && p.hint >= processors::LATE_HINT) == late);
        chosen.map(|p| p.id.clone()).collect()
    }

    fn add_traces(&self, config: &mut CollectorConfig) {
        let late = self.user_processors(Signal::Traces, true);
        let mut processors = self.opening(config, Origin::Sent);
        processors.extend(self.processors.first(Signal::Traces));
        processors.extend(self.user_processors(Signal::Traces, false));
        let last = if self.takes(Signal::Traces) { self.way_out(Signal::Traces) } else { "nop".to_owned() };
        let mut exporters = Vec::new();
        if self.span_metrics().is_some() {
            config.add(ComponentKind::Connector, FORWARD_SPAN_METRICS, json!({}));
            exporters.push(FORWARD_SPAN_METRICS.to_owned());
        }
        if !late.is_empty() {
            config.add(ComponentKind::Connector, FORWARD_TRACES, json!({}));
            exporters.push(FORWARD_TRACES.to_owned());
            *config.pipeline(Signal::Traces, "exporting") =
                Pipeline { receivers: vec![FORWARD_TRACES.into()], processors: late, exporters: vec![last] };
        } else if self.takes(Signal::Traces) {
            exporters.push(last);
        }
        *config.pipeline(Signal::Traces, "") = Pipeline { receivers: vec![OTLP.into()], processors, exporters };
    }

    /// Settings of the kubelet's receiver, and of that of the host, where users want what they bring.
    fn scraped(&self) -> [Option<&'a str>; 2] {
        let Some(metrics) = self.spec.metrics.as_ref().filter(|_| self.takes(Signal::Metrics)) else {
            return [None; 2];
        };
        let of = |settings: &'a Option<ScrapedMetrics>| {
            let settings = settings.as_ref().filter(|one| one.disabled != Some(true))?;
            Some(settings.interval.as_deref().unwrap_or("10s"))
        };
        let hosts = if self.unowned == Handling::Drop { None } else { of(&metrics.host_metrics) };
        [of(&metrics.kubelet_stats), hosts]
    }

    pub(super) fn scrapes(&self) -> bool {
        self.scraped().iter().any(Option::is_some)
    }

    fn add_metrics(&self, config: &mut CollectorConfig) {
        let Some(metrics) = self.spec.metrics.as_ref() else { return };
        let [kubelet, host] = self.scraped();
        let mut scraping = Vec::new();
        if let Some(interval) = kubelet {
            config.add(ComponentKind::Receiver, "kubelet_stats", scraped::kubelet_stats(interval, self.configuration));
            scraping.push("kubelet_stats".to_owned());
        }
        if let Some(interval) = host {
            config.add(ComponentKind::Receiver, "host_metrics", scraped::host_metrics(interval, self.configuration));
            scraping.push("host_metrics".to_owned());
        }
        let unowned = self.unowned_processor(config);
        self.add_metrics_of(config, Origin::Read, scraping, unowned);
        let sent = metrics.agents_telemetry.iter().map(|_| OTLP.to_owned()).collect();
        self.add_metrics_of(config, Origin::Sent, sent, None);
    }

    /// A pipeline of metrics; `unowned` stands behind what tells whose they are.
    fn add_metrics_of(
        &self,
        config: &mut CollectorConfig,
        origin: Origin,
        receivers: Vec<String>,
        unowned: Option<String>,
    ) {
        if receivers.is_empty() {
            return;
        }
        let mut processors = self.opening(config, origin);
        processors.extend(unowned);
        processors.extend(self.user_processors(Signal::Metrics, false));
        *config.pipeline(Signal::Metrics, pipeline_of(origin)) =
            Pipeline { receivers, processors, exporters: vec![self.way_out(Signal::Metrics)] };
    }

    /// What handles metrics that belong to no workload; none where they are of the stream `default`.
    fn unowned_processor(&self, config: &mut CollectorConfig) -> Option<String> {
        let (id, settings) = match self.unowned {
            Handling::Default => return None,
            Handling::Class(class) => (
                "resource/unowned",
                json!({"attributes": [{"key": STREAM_CLASS_ATTRIBUTE, "action": "insert", "value": class}]}),
            ),
            Handling::Drop => {
                let class = Expression::from(Path::keyed("resource.attributes", STREAM_CLASS_ATTRIBUTE));
                let dropped = Condition::Equal(class, Expression::Nil).to_string();
                ("filter/unowned", json!({"error_mode": "ignore", "metrics": {"metric": [dropped]}}))
            }
        };
        config.add(ComponentKind::Processor, id, settings);
        Some(id.to_owned())
    }

    fn add_logs(&self, config: &mut CollectorConfig) {
        if self.has_agent {
            let directory = json!({"directory": LOG_OFFSETS, "create_directory": true});
            config.add(ComponentKind::Extension, FILE_STORAGE, directory);
            config.started_extensions.insert(FILE_STORAGE.into());
            config.add(ComponentKind::Receiver, FILE_LOG, receivers::file_log(self.namespace));
            self.add_logs_of(config, Origin::Read, FILE_LOG);
        }
        self.add_logs_of(config, Origin::Sent, OTLP);
    }

    fn add_logs_of(&self, config: &mut CollectorConfig, origin: Origin, receiver: &str) {
        let mut processors = self.opening(config, origin);
        processors.extend(self.user_processors(Signal::Logs, false));
        let exporters = vec![self.way_out(Signal::Logs)];
        *config.pipeline(Signal::Logs, pipeline_of(origin)) =
            Pipeline { receivers: vec![receiver.into()], processors, exporters };
    }
}
