//! CollectorsGroups: when they exist, and every value of them resolved.
//!
//! Owns `spec/collectors-and-pipelines.md` 2.1–2.2: the spec of a group holds final values, so that the autoscaler has
//! nothing left to decide about them.

use crate::configuration::Configuration;
use crate::metric_sources::MetricSources;
use crate::streams::Selection;
use crate::{duration, sizing, streams, unowned};
use odigos_api::collectors_group::{
    CollectorMetrics, CollectorsGroupSpec, Empty, OtlpExporterConfiguration, OwnMetrics, ResourceDetectors,
    ScrapedMetrics, ServiceIo, SpanMetrics, SpanSamplingAttributes, StreamClass, TailSampling, TraceCorrelations,
};
use odigos_api::destination::Destination;
use odigos_api::{CollectorRole, Finding, Signal, names};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// How long the spans of a trace are waited for unless the configuration says otherwise.
pub const DEFAULT_TRACE_WAIT: &str = "30s";

/// Words of `dataStreams.unclassified`.
pub const UNCLASSIFIED: [&str; 2] = ["default", "void"];

/// Whether items without a stream class are dropped.
#[must_use]
pub fn drops_unclassified(configuration: &Configuration) -> bool {
    configuration.text("dataStreams.unclassified") == Some(UNCLASSIFIED[1])
}

/// How many streams, and how many sets of them, a namespace may use unless the configuration names another number.
const DEFAULT_STREAM_QUOTA: usize = 256;

/// How many streams, and how many sets of them, the workloads of one namespace may use.
#[must_use]
pub fn stream_quota(configuration: &Configuration) -> usize {
    let stated = configuration.number("dataStreams.maxPerNamespace").filter(|number| *number > 0);
    stated.and_then(|number| usize::try_from(number).ok()).unwrap_or(DEFAULT_STREAM_QUOTA)
}

/// The gateway's group; it always exists.
#[must_use]
pub fn gateway_group(
    configuration: &Configuration,
    destinations: &[&Destination],
    sampling_active: bool,
    stream_classes: Vec<StreamClass>,
) -> CollectorsGroupSpec {
    let flag = |path: &str| configuration.flag(path);
    let list = |path: &str| Some(configuration.texts(path)).filter(|list| !list.is_empty());
    let text = |path: &str| configuration.text(path).map(str::to_owned);
    CollectorsGroupSpec {
        role: CollectorRole::ClusterGateway,
        collector_own_metrics_port: i32::from(names::GATEWAY_METRICS_PORT),
        resources_settings: sizing::gateway(configuration),
        service_graph_disabled: Some(flag("collectorGateway.serviceGraph.disabled").unwrap_or_default()),
        service_graph_extra_dimensions: list("collectorGateway.serviceGraph.extraDimensions"),
        service_graph_virtual_node_peer_attributes: list("collectorGateway.serviceGraph.virtualNodePeerAttributes"),
        cluster_metrics_enabled: Some(flag("collectorGateway.clusterMetricsEnabled").unwrap_or_default()),
        unowned_stream_class: unowned::class(configuration, destinations),
        drops_unclassified: drops_unclassified(configuration).then_some(true),
        https_proxy_address: text("collectorGateway.httpsProxyAddress"),
        node_selector: typed(configuration, "collectorGateway.nodeSelector"),
        deployment_name: Some(
            text("collectorGateway.deploymentName")
                .filter(|name| crate::configuration::is_object_name(name))
                .unwrap_or_else(|| names::GATEWAY.to_owned()),
        ),
        metrics: own_metrics(configuration, destinations)
            .map(|own| CollectorMetrics { odigos_own_metrics: Some(own), ..CollectorMetrics::default() }),
        tail_sampling: tail_sampling(configuration, sampling_active),
        sampling_dry_run: flag("sampling.dryRun"),
        span_sampling_attributes: typed::<SpanSamplingAttributes>(configuration, "sampling.spanSamplingAttributes"),
        trace_correlations: trace_correlations(configuration),
        stream_classes,
        ..CollectorsGroupSpec::default()
    }
}

/// The node collector's group, or `None` while it must not exist: it is created once something is instrumented and the
/// gateway is ready, and stays when the gateway becomes unready later.
#[must_use]
pub fn node_group(
    configuration: &Configuration,
    destinations: &[&Destination],
    known_type: &dyn Fn(&str) -> bool,
    wanted: NodeGroupState,
) -> Option<CollectorsGroupSpec> {
    if !wanted.any_instrumentation_config || !(wanted.gateway_ready || wanted.exists) {
        return None;
    }
    let port = configuration.number("collectorNode.collectorOwnMetricsPort").filter(|port| (1..65_536).contains(port));
    Some(CollectorsGroupSpec {
        role: CollectorRole::NodeCollector,
        collector_own_metrics_port: port.unwrap_or(i32::from(names::NODE_METRICS_PORT)),
        resources_settings: sizing::node(configuration),
        otlp_exporter_configuration: exporter_configuration(configuration),
        resource_detectors: typed::<ResourceDetectors>(configuration, "collectorNode.resourceDetectors"),
        metrics: node_metrics(configuration, destinations, known_type),
        unowned_stream_class: unowned::class(configuration, destinations),
        ..CollectorsGroupSpec::default()
    })
}

/// What decides whether the node collector's group exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeGroupState {
    /// At least one workload is covered.
    pub any_instrumentation_config: bool,
    /// `status.ready` of the gateway's group.
    pub gateway_ready: bool,
    /// The group exists already.
    pub exists: bool,
}

/// A block of the configuration in the shape of the API. A value of another shape, which is reported, takes no other one with it; a
/// flag or a number may be written as text.
fn typed<T: DeserializeOwned>(configuration: &Configuration, path: &str) -> Option<T> {
    let value = fitting(configuration.get(path)?.clone(), &|value| serde_json::from_value::<T>(value).is_ok())?;
    serde_json::from_value(value).ok()
}

/// What of a value is understood.
fn fitting(value: Value, is_understood: &dyn Fn(Value) -> bool) -> Option<Value> {
    if is_understood(value.clone()) {
        return Some(value);
    }
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter_map(|(key, value)| {
                let below = |value: Value| is_understood(Value::Object([(key.clone(), value)].into_iter().collect()));
                let value = fitting(value, &below)?;
                Some((key, value))
            });
            Some(Value::Object(kept.collect())).filter(|kept| is_understood(kept.clone()))
        }
        Value::String(text) => {
            let (flag, number) = (text.trim().parse::<bool>(), text.trim().parse::<i64>());
            let read = [flag.ok().map(Value::from), number.ok().map(Value::from)];
            read.into_iter().flatten().find(|value| is_understood(value.clone()))
        }
        _ => None,
    }
}

fn tail_sampling(configuration: &Configuration, active: bool) -> Option<TailSampling> {
    if !active || configuration.flag("sampling.tailSampling.disabled") == Some(true) {
        return None;
    }
    let stated = configuration
        .text("sampling.tailSampling.traceAggregationWaitDuration")
        .filter(|text| duration::is_positive(text));
    Some(TailSampling {
        disabled: Some(false),
        trace_aggregation_wait_duration: Some(stated.unwrap_or(DEFAULT_TRACE_WAIT).to_owned()),
    })
}

fn trace_correlations(configuration: &Configuration) -> Option<TraceCorrelations> {
    let mut io: ServiceIo = typed(configuration, "traceCorrelations.serviceIO")?;
    if io.enabled != Some(true) {
        return None;
    }
    io.metrics_flush_interval.get_or_insert_with(|| "60s".to_owned());
    Some(TraceCorrelations { service_io: Some(io) })
}

fn own_interval(configuration: &Configuration) -> Option<String> {
    Some(configuration.text("metricsSources.odigosOwnMetrics.interval").unwrap_or("10s").to_owned())
}

fn own_metrics(configuration: &Configuration, destinations: &[&Destination]) -> Option<OwnMetrics> {
    let to_destinations = metrics_destinations(destinations).any(|one| MetricSources::of(&one.spec).own);
    // No release deploys the store of the reference, so nothing is sent there (`configuration::effective` reports it).
    to_destinations.then(|| OwnMetrics {
        send_to_metrics_destinations: Some(true),
        send_to_odigos_metrics_store: Some(false),
        interval: own_interval(configuration),
    })
}

fn metrics_destinations<'a>(destinations: &'a [&'a Destination]) -> impl Iterator<Item = &'a Destination> {
    streams::enabled(destinations.iter().copied())
        .filter(|destination| destination.spec.signals.contains(&Signal::Metrics))
}

/// The union of what the destinations want, minus what is switched off for the cluster (2.2).
fn node_metrics(
    configuration: &Configuration,
    destinations: &[&Destination],
    known_type: &dyn Fn(&str) -> bool,
) -> Option<CollectorMetrics> {
    let mut metrics = CollectorMetrics::default();
    let interval = |source: &str| {
        Some(configuration.text(&format!("metricsSources.{source}.interval")).unwrap_or("10s").to_owned())
    };
    let unowned_streams = unowned::streams(configuration);
    let off = |source: &str| configuration.flag(&format!("metricsSources.{source}.disabled")) == Some(true);
    for destination in metrics_destinations(destinations).filter(|destination| known_type(&destination.spec.type_)) {
        let wanted = MetricSources::of(&destination.spec);
        if wanted.agents {
            metrics.agents_telemetry = Some(Empty {});
        }
        // Hosts belong to no workload: only a Destination in the streams of such telemetry gets their metrics.
        let has_unowned = unowned::reaches(&unowned_streams, &Selection::of(&destination.spec));
        if wanted.hosts && has_unowned && !off("hostMetrics") {
            metrics.host_metrics = Some(ScrapedMetrics { disabled: None, interval: interval("hostMetrics") });
        }
        if wanted.kubelet && !off("kubeletStats") {
            metrics.kubelet_stats = Some(ScrapedMetrics { disabled: None, interval: interval("kubeletStats") });
        }
        if wanted.spans && !off("spanMetrics") {
            let mut span: SpanMetrics = typed(configuration, "metricsSources.spanMetrics").unwrap_or_default();
            span.disabled = None;
            span.interval.get_or_insert_with(|| "60s".to_owned());
            metrics.span_metrics = Some(span);
        }
    }
    let own = own_metrics(configuration, destinations);
    if let Some(own) = own {
        metrics.odigos_own_metrics = Some(own);
    }
    (metrics != CollectorMetrics::default()).then_some(metrics)
}

fn exporter_configuration(configuration: &Configuration) -> Option<OtlpExporterConfiguration> {
    let stated: Option<OtlpExporterConfiguration> = typed(configuration, "collectorNode.otlpExporterConfiguration");
    let compression = configuration.flag("collectorNode.enableDataCompression");
    let mut settings = match (stated, compression) {
        (None, None) => return None,
        (stated, _) => stated.unwrap_or_default(),
    };
    settings.enable_data_compression = settings.enable_data_compression.or(compression);
    Some(settings)
}

/// A CollectorsGroup as the scheduler applies it.
#[must_use]
pub fn group_object(name: &str, namespace: &str, spec: &CollectorsGroupSpec) -> Value {
    json!({
        "apiVersion": odigos_api::API_VERSION,
        "kind": "CollectorsGroup",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}

/// Data streams of `instrumentation.optOutDataStreams` that no Destination is in: what workloads send in them is dropped.
#[must_use]
pub fn unreached_opt_out(
    configuration: &Configuration,
    destinations: &[&Destination],
    object: &str,
) -> Option<Finding> {
    let path = "instrumentation.optOutDataStreams";
    if configuration.text("instrumentation.mode") != Some("optOut") {
        return None;
    }
    let selections: Vec<Selection> =
        streams::enabled(destinations.iter().copied()).map(|one| Selection::of(&one.spec)).collect();
    let is_reached = |stream: &String| selections.iter().any(|selection| selection.includes(stream));
    let unreached: Vec<String> = configuration.texts(path).into_iter().filter(|one| !is_reached(one)).collect();
    let message = || {
        format!(
            "no Destination receives the data stream {}: what workloads without a Source send in it is dropped; name it in spec.sourceSelector.dataStreams of a Destination",
            unreached.join(", ")
        )
    };
    (!unreached.is_empty()).then(|| Finding::warning(object, path, message()))
}

/// Key of the effective configuration's ConfigMap that holds what is wrong with the configuration.
pub const FINDINGS_KEY: &str = "findings";

/// What is wrong with the configuration as text, one finding a line; empty when nothing is.
#[must_use]
pub fn findings_text(findings: &[Finding]) -> String {
    let mut lines: Vec<String> = findings
        .iter()
        .map(|one| format!("{} {} {}: {}\n", one.severity, one.object, one.field, one.message.replace('\n', " ")))
        .collect();
    lines.sort();
    lines.dedup();
    lines.concat()
}

/// The ConfigMap of the effective configuration as the scheduler applies it: the document and what is wrong with it.
#[must_use]
pub fn effective_configuration_object(namespace: &str, document: &str, findings: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": names::EFFECTIVE_CONFIGURATION, "namespace": namespace},
        "data": { names::CONFIGURATION_KEY: document, FINDINGS_KEY: findings },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opt_out_stream_that_reaches_no_destination_is_reported() {
        let mut shop = crate::fixtures::destination("d", "debug", &["TRACES"], json!({}));
        shop.spec.source_selector = serde_json::from_value(json!({"dataStreams": ["shop"]})).unwrap();
        let found = |text: &str, destinations: &[&Destination]| {
            let configuration = Configuration::parse(text).unwrap();
            unreached_opt_out(&configuration, destinations, "x").map(|one| one.message)
        };
        let text = "instrumentation: {mode: optOut, optOutDataStreams: [shop, lost]}";
        assert!(found(text, &[&shop]).is_some_and(|message| message.contains("data stream lost:")));
        let mut every = shop.clone();
        every.spec.source_selector = serde_json::from_value(json!({"dataStreams": ["*"]})).unwrap();
        assert_eq!(found(text, &[&shop, &every]), None);
        every.spec.disabled = Some(true);
        assert!(found(text, &[&shop, &every]).is_some());
        assert_eq!(found("instrumentation: {optOutDataStreams: [lost]}", &[&shop]), None, "reported as without effect");
    }
    use crate::configuration::effective;
    use crate::fixtures::destination;

    fn configuration(text: &str) -> Configuration {
        effective(text, None, None, "odigos-system").result.unwrap()
    }

    fn node(text: &str, destinations: &[&Destination]) -> CollectorsGroupSpec {
        let state = NodeGroupState { any_instrumentation_config: true, gateway_ready: true, exists: false };
        node_group(&configuration(text), destinations, &|_| true, state).unwrap()
    }

    fn metrics_destination(name: &str, settings: Value) -> Destination {
        let mut one = destination(name, "datadog", &["METRICS"], json!({}));
        one.spec.metrics_settings = serde_json::from_value(settings).unwrap();
        one
    }

    #[test]
    fn a1_a2_the_gateway_always_the_node_when_needed() {
        let gateway = gateway_group(&configuration("{}"), &[], false, vec![]);
        assert_eq!((gateway.role, gateway.collector_own_metrics_port), (CollectorRole::ClusterGateway, 8888));
        let exists = |any_instrumentation_config, gateway_ready, exists| {
            let state = NodeGroupState { any_instrumentation_config, gateway_ready, exists };
            node_group(&configuration("{}"), &[], &|_| true, state).is_some()
        };
        assert!(!exists(true, false, false));
        assert!(exists(true, true, false));
        assert!(exists(true, false, true), "it stays when the gateway becomes unready");
        assert!(!exists(false, true, true), "A3: it goes with the last config");
        assert_eq!(node("{}", &[]).collector_own_metrics_port, 55682);
    }

    #[test]
    fn a14_a15_a16_tail_sampling() {
        let wait = |text: &str, active| {
            gateway_group(&configuration(text), &[], active, vec![])
                .tail_sampling
                .and_then(|t| t.trace_aggregation_wait_duration)
        };
        assert_eq!(wait("{}", true).as_deref(), Some("30s"));
        assert_eq!(
            wait("sampling: {tailSampling: {traceAggregationWaitDuration: \"-5s\"}}", true).as_deref(),
            Some("30s")
        );
        assert_eq!(wait("sampling: {tailSampling: {traceAggregationWaitDuration: 10s}}", true).as_deref(), Some("10s"));
        assert_eq!(wait("sampling: {tailSampling: {disabled: true}}", true), None);
        assert_eq!(wait("{}", false), None);
    }

    #[test]
    fn a17_a19_a20_a21_metrics_are_the_union() {
        let all = metrics_destination("a", json!(null));
        let only_agents = metrics_destination(
            "b",
            json!({"spanMetricsEnabled": false, "hostMetricsEnabled": false, "kubeletStatsEnabled": false, "agentsTelemetryEnabled": true}),
        );
        let metrics = node("{}", &[&all]).metrics.unwrap();
        assert!(
            metrics.agents_telemetry.is_some() && metrics.host_metrics.is_some() && metrics.kubelet_stats.is_some()
        );
        assert_eq!(metrics.span_metrics.unwrap().interval.as_deref(), Some("60s"));
        let metrics = node("{}", &[&only_agents]).metrics.unwrap();
        assert_eq!(metrics, CollectorMetrics { agents_telemetry: Some(Empty {}), ..CollectorMetrics::default() });
        assert!(node("{}", &[&only_agents, &all]).metrics.unwrap().host_metrics.is_some());
        let metrics = node("metricsSources: {hostMetrics: {disabled: true}}", &[&all]).metrics.unwrap();
        assert!(metrics.host_metrics.is_none() && metrics.kubelet_stats.is_some());
        let mut off = all;
        off.spec.disabled = Some(true);
        assert_eq!(node("{}", &[&off]).metrics, None);
    }

    #[test]
    fn host_metrics_are_collected_only_for_the_streams_of_unowned_telemetry() {
        let group = |text: &str, streams: &[&str]| {
            let mut one = metrics_destination("a", json!({}));
            one.spec.source_selector = serde_json::from_value(json!({"dataStreams": streams})).unwrap();
            let spec = node(text, &[&one]);
            (spec.metrics.unwrap().host_metrics.is_some(), spec.unowned_stream_class)
        };
        let infra = streams::class_id(&["infra".to_owned()].into());
        assert_eq!(group("{}", &["default"]), (true, None));
        assert_eq!(group("{}", &["shop"]), (false, Some("void".into())), "they would end in the void");
        assert_eq!(group("unownedTelemetry: {dataStreams: [infra]}", &["infra"]), (true, Some(infra)));
        assert_eq!(group("unownedTelemetry: {dataStreams: [infra]}", &["default"]), (false, Some("void".into())));
    }

    /// Helm and shells turn everything into texts; one bad value threw every other one of its block away.
    #[test]
    fn value_of_another_shape_takes_no_other_one_with_it() {
        let text = "collectorNode: {otlpExporterConfiguration: {enableDataCompression: 'true', timeout: 7s, \
                    retryOnFailure: {enabled: perhaps, maxInterval: 9s}}}\n\
                    metricsSources: {spanMetrics: {histogramDisabled: 'true', explicitHistogramBuckets: [1], interval: 30s}}";
        let prometheus = destination("a", "prometheus", &["METRICS"], json!({}));
        let group = node(text, &[&prometheus]);
        let exporter = group.otlp_exporter_configuration.unwrap();
        assert_eq!((exporter.enable_data_compression, exporter.timeout.as_deref()), (Some(true), Some("7s")));
        let retry = exporter.retry_on_failure.unwrap();
        assert_eq!((retry.enabled, retry.max_interval.as_deref()), (None, Some("9s")));
        let spans = group.metrics.unwrap().span_metrics.unwrap();
        assert_eq!((spans.histogram_disabled, spans.interval.as_deref()), (Some(true), Some("30s")));
        assert_eq!(spans.explicit_histogram_buckets, None);
    }

    /// A value that nobody reads threw the interval and the dimensions away with it.
    #[test]
    fn mode_of_span_metrics_takes_no_other_setting_with_it() {
        let text = "metricsSources: {spanMetrics: {interval: 30s, spanMetricsMode: everything, additionalDimensions: [tenant]}}";
        let prometheus = destination("a", "prometheus", &["METRICS"], json!({}));
        let spans = node(text, &[&prometheus]).metrics.unwrap().span_metrics.unwrap();
        assert_eq!(spans.interval.as_deref(), Some("30s"));
        assert_eq!(spans.additional_dimensions, Some(vec!["tenant".to_owned()]));
        let findings = effective(text, None, None, "odigos-system").findings;
        let named = findings.iter().filter(|one| one.field == "metricsSources.spanMetrics.spanMetricsMode");
        assert_eq!(named.count(), 1, "{findings:?}");
    }

    #[test]
    fn span_metrics_are_left_to_backends_that_compute_them() {
        let spans = |type_: &str, signals: &[&str], settings: Value| {
            let mut one = destination("a", type_, signals, json!({}));
            one.spec.metrics_settings = serde_json::from_value(settings).unwrap();
            node("{}", &[&one]).metrics.is_some_and(|metrics| metrics.span_metrics.is_some())
        };
        assert!(!spans("datadog", &["TRACES", "METRICS"], json!(null)));
        assert!(!spans("newrelic", &["TRACES", "METRICS", "LOGS"], json!({})));
        assert!(spans("datadog", &["METRICS"], json!(null)), "it gets no spans to compute them from");
        assert!(spans("datadog", &["TRACES", "METRICS"], json!({"spanMetricsEnabled": true})), "requested explicitly");
        assert!(spans("otlp", &["TRACES", "METRICS"], json!(null)));
        let mut datadog = destination("a", "datadog", &["TRACES", "METRICS"], json!({}));
        let prometheus = destination("b", "prometheus", &["METRICS"], json!({}));
        assert!(node("{}", &[&datadog, &prometheus]).metrics.unwrap().span_metrics.is_some(), "another one needs them");
        datadog.spec.disabled = Some(true);
        assert_eq!(node("{}", &[&datadog]).metrics, None);
    }

    #[test]
    fn a46_own_metrics() {
        let text = "odigosOwnTelemetryStore: {metricsStoreDisabled: false}";
        assert_eq!(
            gateway_group(&configuration(text), &[], false, vec![]).metrics,
            None,
            "no release deploys the store"
        );
        let wanting = metrics_destination("a", json!({"odigosOwnMetricsEnabled": true}));
        let own = gateway_group(&configuration("{}"), &[&wanting], false, vec![])
            .metrics
            .and_then(|metrics| metrics.odigos_own_metrics)
            .unwrap();
        assert_eq!(own.send_to_metrics_destinations, Some(true));
        assert_eq!(gateway_group(&configuration("{}"), &[], false, vec![]).metrics, None);
    }

    #[test]
    fn node_exporter_settings() {
        let spec = node("collectorNode: {enableDataCompression: true}", &[]);
        assert_eq!(spec.otlp_exporter_configuration.unwrap().enable_data_compression, Some(true));
        let spec = node(
            "collectorNode: {otlpExporterConfiguration: {timeout: 7s, retryOnFailure: {maxElapsedTime: 60s}}}",
            &[],
        );
        let exporter = spec.otlp_exporter_configuration.unwrap();
        assert_eq!(
            (exporter.timeout.as_deref(), exporter.retry_on_failure.unwrap().max_elapsed_time.as_deref()),
            (Some("7s"), Some("60s"))
        );
    }
}
