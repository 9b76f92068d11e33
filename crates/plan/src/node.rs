//! The collector on every node: receives what pods send, reads their logs, scrapes the node, stamps the stream class.
//!
//! Owns `spec/collectors-and-pipelines.md` 5 in our form: memory limiter first, batches inside the exporters' queues,
//! no configuration that grows with workloads (design 4.2, 4.5). The Kubernetes objects are in [`objects`].

pub mod objects;
mod own_metrics;
mod routes;
mod sources;

#[cfg(test)]
mod tests;

use crate::collector::{self, OwnTelemetry};
use crate::configuration::Configuration;
use crate::detection::Mode;
use crate::processors::{self, Processors};
use crate::unowned::Handling;
use crate::workload::resource_attribute;
use odigos_api::collectors_group::{CollectorsGroup, CollectorsGroupSpec, RoutedPool, ScrapedMetrics, SpanMetrics};
use odigos_api::condition::ConditionDraft;
use odigos_api::labels::{STREAM_CLASS, STREAM_CLASS_ATTRIBUTE};
use odigos_api::processor::Processor;
use odigos_api::{CollectorRole, Finding, Signal, WorkloadKind, names};
use odigos_pipeline::ottl::{Condition, Expression, Path, Statement};
use odigos_pipeline::{CollectorConfig, ComponentKind, Pipeline, Problem};
use routes::Route;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Directory of links that the node agent keeps, one for each container whose logs are wanted, shaped like
/// `/var/log/pods` (design 4.5).
pub const LOG_LINKS: &str = "/var/odigos/logs";
/// Directory of the offsets of log files; survives restarts.
pub const LOG_OFFSETS: &str = "/var/odigos/offsets";

/// Where the cluster runs; decides which detectors can answer (spec 5.4, A23).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CloudProvider {
    /// Not known: the detectors that the configuration enables, `gcp` aside, since it blocks elsewhere.
    #[default]
    Unknown,
    /// Amazon Web Services.
    Aws,
    /// Microsoft Azure.
    Azure,
    /// Google Cloud.
    Google,
    /// None of them.
    Other,
}

impl CloudProvider {
    /// Reads a node's `spec.providerID`.
    #[must_use]
    pub fn from_provider_id(id: &str) -> Self {
        match id.split("://").next().unwrap_or_default() {
            "" => Self::Unknown,
            "aws" => Self::Aws,
            "azure" => Self::Azure,
            "gce" => Self::Google,
            _ => Self::Other,
        }
    }
}

/// Everything that the node collector's configuration depends on.
#[derive(Debug)]
pub struct Observed<'a> {
    /// Namespace of the control plane.
    pub namespace: &'a str,
    /// The gateway's group, once it exists.
    pub gateway: Option<&'a CollectorsGroup>,
    /// The groups of dedicated pools of gateways.
    pub pools: Vec<&'a CollectorsGroup>,
    /// The node collector's group; absent while nothing is instrumented.
    pub group: Option<&'a CollectorsGroup>,
    /// The Processors of the control plane's namespace, in any order.
    pub processors: Vec<&'a Processor>,
    /// What collectors do not start with ([`crate::start_failure`]), with what they said.
    pub set_aside: &'a BTreeMap<String, String>,
    /// The effective configuration.
    pub configuration: &'a Configuration,
    /// Where the cluster runs.
    pub provider: CloudProvider,
}

/// The rendered node collector.
#[derive(Clone, Debug, PartialEq)]
pub struct NodePlan {
    /// The configuration.
    pub config: CollectorConfig,
    /// What is wrong with the graph; normally nothing.
    pub problems: Vec<Problem>,
    /// Components of Processors: settings, with the Processor's name among what can be set aside.
    pub components: BTreeMap<String, (String, Value)>,
    /// Conditions by Processor name.
    pub processors: BTreeMap<String, ConditionDraft>,
    /// Signals of applications that its pipelines make use of, for `status.receiverSignals`: those that go on, and spans where
    /// metrics are computed from them.
    pub receiver_signals: Vec<Signal>,
    /// The pools that it sends to, for `status.routedPools`.
    pub pools: Vec<RoutedPool>,
    /// The class that it gives to what belongs to no workload, for `status.unownedStreamClasses`.
    pub unowned_class: Option<String>,
    /// What people should know.
    pub findings: Vec<Finding>,
}

/// Renders the node collector; `None` while there is no gateway to send to.
#[must_use]
pub fn plan(seen: &Observed<'_>) -> Option<NodePlan> {
    let gateway = seen.gateway?;
    let role = CollectorRole::NodeCollector;
    let classes = &gateway.spec.stream_classes;
    let mut processors = Processors::of_role(role, seen.processors.iter().copied(), seen.set_aside, classes);
    let mut config = CollectorConfig::default();
    let mut receiver_signals = Vec::new();
    let mut pools = Vec::new();
    let mut unowned_class = None;
    let mut findings = processors.findings.clone();
    let port = seen.group.map_or(i32::from(names::NODE_METRICS_PORT), |group| group.spec.collector_own_metrics_port);
    add_idle_parts(&mut config, seen, port);
    if let Some(group) = seen.group {
        let signals: BTreeSet<Signal> =
            gateway.status.iter().flat_map(|status| status.receiver_signals.iter().flatten().copied()).collect();
        let routes = routes::of(&seen.pools);
        let build = Build {
            namespace: seen.namespace,
            gateway: &gateway.spec,
            spec: &group.spec,
            signals,
            processors: &processors,
            routes: &routes,
            unowned: Handling::of(&group.spec, |id| {
                gateway.status.iter().any(|status| status.served_stream_classes.iter().any(|one| one == id))
            }),
            has_agent: Mode::of(seen.configuration).has_node_agents(),
        };
        if build.takes(Signal::Logs) && !build.has_agent {
            findings.push(Finding::info(group_object(seen), "", NO_CONTAINER_LOGS));
        }
        build.add(&mut config, seen);
        receiver_signals = used_signals(&config);
        add_unused(&mut config, &receiver_signals);
        unowned_class = build.unowned.class().filter(|_| build.scrapes()).map(str::to_owned);
        pools = routes.iter().map(routes::Route::told).collect();
    }
    config.remove_unused();
    processors.report_unreached(role, &config, seen.processors.iter().copied());
    let problems = config.check();
    for problem in &problems {
        findings.push(Finding::error(
            group_object(seen),
            "",
            format!("the rendered configuration is broken: {problem}"),
        ));
    }
    let components = processors.components(role);
    let processors = processors.conditions;
    Some(NodePlan { config, problems, components, processors, receiver_signals, pools, unowned_class, findings })
}

/// Signals of applications that a pipeline makes use of.
fn used_signals(config: &CollectorConfig) -> Vec<Signal> {
    let takes = |pipeline: &Pipeline| pipeline.receivers.iter().any(|id| id == OTLP || id == FILE_LOG);
    let used: BTreeSet<Signal> =
        config.pipelines.iter().filter(|(_, pipeline)| takes(pipeline)).map(|(id, _)| id.signal).collect();
    used.into_iter().collect()
}

/// Takes the other signals and drops them: an agent that sends what no component needs right now gets no error for it, and
/// nothing of the application has to change when a Destination comes.
fn add_unused(config: &mut CollectorConfig, used: &[Signal]) {
    for signal in Signal::PIPELINES.into_iter().filter(|signal| !used.contains(signal)) {
        *config.pipeline(signal, "void") =
            Pipeline { receivers: vec![OTLP.into()], processors: vec![], exporters: vec!["nop".into()] };
    }
}

/// Said of logs where nodes have no agent.
pub const NO_CONTAINER_LOGS: &str = "the output of containers is not collected, since nodes have no agent that keeps links to it (runtimeDetection.mode); logs that agents of languages send are";

fn group_object(seen: &Observed<'_>) -> String {
    format!("CollectorsGroup {}/{}", seen.namespace, names::NODE_COLLECTOR)
}

/// What stands in the configuration even when nothing is instrumented (A1): health and self metrics.
fn add_idle_parts(config: &mut CollectorConfig, seen: &Observed<'_>, port: i32) {
    collector::add_health_check(config);
    let own = seen
        .group
        .and_then(|group| group.spec.metrics.as_ref())
        .and_then(|metrics| metrics.odigos_own_metrics.as_ref());
    let push = own.map(|own| {
        json!({"periodic": {
            "interval": crate::duration::milliseconds(own.interval.as_deref().unwrap_or("10s")).unwrap_or(10_000),
            "exporter": {"otlp": {
                "protocol": "http/protobuf",
                "endpoint": own_metrics::endpoint(seen.namespace),
                "insecure": true,
            }},
        }})
    });
    let identity = [("k8s.node.name", "${env:NODE_NAME}"), ("k8s.pod.name", "${env:POD_NAME}")];
    config.telemetry = collector::telemetry(port, seen.configuration.collector_log_level(), &identity, push);
    collector::add_own_telemetry(
        config,
        &OwnTelemetry {
            namespace: seen.namespace,
            has_ui: seen.configuration.has_ui(),
            role: CollectorRole::NodeCollector,
            port,
            receiver: "prometheus/self-metrics-ui",
            pipeline: "own-metrics-ui",
            identity: &identity,
            extra_job: None,
        },
    );
}

/// The parts that exist while workloads are instrumented.
struct Build<'a> {
    namespace: &'a str,
    gateway: &'a CollectorsGroupSpec,
    spec: &'a CollectorsGroupSpec,
    signals: BTreeSet<Signal>,
    processors: &'a Processors,
    routes: &'a [Route<'a>],
    /// What it does with what belongs to no workload.
    unowned: Handling<'a>,
    /// An agent runs beside it, which keeps links to the logs that are wanted.
    has_agent: bool,
}

const FORWARD_SPAN_METRICS: &str = "forward/trace/spanmetrics";
const FORWARD_TRACES: &str = "forward/traces-exporting";
const FILE_STORAGE: &str = "file_storage/offsets";
const FILE_LOG: &str = "file_log";
/// Receives what agents of the node's pods send.
const OTLP: &str = "otlp/in";

impl<'a> Build<'a> {
    fn takes(&self, signal: Signal) -> bool {
        self.signals.contains(&signal)
    }

    fn span_metrics(&self) -> Option<&SpanMetrics> {
        let settings = self.spec.metrics.as_ref()?.span_metrics.as_ref()?;
        (self.takes(Signal::Metrics) && settings.disabled != Some(true)).then_some(settings)
    }

    fn add(&self, config: &mut CollectorConfig, seen: &Observed<'_>) {
        collector::add_guards(config, &self.spec.resources_settings);
        self.processors.add_to(config);
        self.add_shared_components(config, seen);
        self.add_exporters(config);
        if self.takes(Signal::Traces) || self.span_metrics().is_some() {
            self.add_traces(config);
        }
        if let Some(settings) = self.span_metrics() {
            add_span_metrics(config, settings, self.way_out(Signal::Metrics));
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
            own_metrics::add(config, self.namespace, metrics, own, self.has_agent);
        }
        sources::add(config);
        for signal in Signal::PIPELINES {
            let exporter = |gateway: &CollectorsGroupSpec| self.exporter(signal, gateway);
            routes::add(config, signal, self.routes, &exporter(self.gateway), &exporter);
        }
    }

    fn add_shared_components(&self, config: &mut CollectorConfig, seen: &Observed<'_>) {
        let endpoint = |port: u16| format!("0.0.0.0:{port}");
        config.add(
            ComponentKind::Receiver,
            OTLP,
            json!({"protocols": {
                "grpc": {"endpoint": endpoint(names::OTLP_GRPC_PORT)},
                "http": {"endpoint": endpoint(names::OTLP_HTTP_PORT)},
            }}),
        );
        config.add(
            ComponentKind::Processor,
            "resource/node-name",
            json!({"attributes": [{"key": "k8s.node.name", "action": "upsert", "value": "${env:NODE_NAME}"}]}),
        );
        config.add(ComponentKind::Processor, "k8s_attributes", workload_attributes());
        config.add(ComponentKind::Processor, WORKLOAD, workload_identity());
        let detectors = detectors(self.spec, seen.provider);
        if !detectors.is_empty() {
            config.add(
                ComponentKind::Processor,
                "resource_detection",
                json!({"detectors": detectors, "timeout": "2s"}),
            );
        }
    }

    /// Processors that every pipeline starts with. The class that an application claims is removed before the pod's own
    /// is read, so that it cannot choose its stream (A49).
    fn opening(&self, config: &CollectorConfig) -> Vec<String> {
        let mut ids = vec![
            collector::MEMORY_LIMITER.to_owned(),
            collector::STRIP_CLASS.to_owned(),
            "k8s_attributes".to_owned(),
            WORKLOAD.to_owned(),
            "resource/node-name".to_owned(),
        ];
        if config.get(ComponentKind::Processor, "resource_detection").is_some() {
            ids.push("resource_detection".into());
        }
        ids
    }

    fn user_processors(&self, signal: Signal, late: bool) -> Vec<String> {
        let chosen = self.processors.usable.iter().filter(|p| p.is_global(signal));
        let chosen = chosen.filter(|p| (signal == Signal::Traces && p.hint >= processors::LATE_HINT) == late);
        chosen.map(|p| p.id.clone()).collect()
    }

    /// Traces go to the gateway that holds the rest of their trace when something there needs whole traces (spec 5.5).
    fn balances_traces(&self, gateway: &CollectorsGroupSpec) -> bool {
        let io = gateway.trace_correlations.as_ref().and_then(|c| c.service_io.as_ref());
        let whole_traces = gateway.service_graph_disabled != Some(true)
            || gateway.tail_sampling.as_ref().is_some_and(|sampling| sampling.disabled != Some(true))
            || io.is_some_and(|io| io.enabled == Some(true));
        whole_traces && gateway.resources_settings.max_replicas.unwrap_or(10) > 1
    }

    /// The exporter to a gateway: the main one, or that of a pool.
    fn exporter(&self, signal: Signal, gateway: &CollectorsGroupSpec) -> String {
        let pool = gateway.pool.as_ref().map(|pool| format!(".{}", pool.name)).unwrap_or_default();
        if signal == Signal::Traces && self.balances_traces(gateway) {
            return format!("load_balancing/traces{pool}");
        }
        format!("otlp_grpc/out-cluster-collector-{}{pool}", signal.as_pipeline())
    }

    /// Where a signal goes at the end: to the main gateways, or to what tells by the class which gateways it is for.
    fn way_out(&self, signal: Signal) -> String {
        let is_routed = self.routes.iter().any(|route| route.takes(signal));
        if is_routed { routes::connector(signal) } else { self.exporter(signal, self.gateway) }
    }

    fn add_exporters(&self, config: &mut CollectorConfig) {
        let settings = self.spec.otlp_exporter_configuration.as_ref();
        let compress = settings
            .and_then(|settings| settings.enable_data_compression)
            .or(self.spec.enable_data_compression)
            .unwrap_or(false);
        let compression = if compress { "gzip" } else { "none" };
        let timeout = settings.and_then(|settings| settings.timeout.as_deref()).unwrap_or("5s");
        let retry = settings.and_then(|settings| settings.retry_on_failure.as_ref());
        let retry = json!({
            "enabled": retry.and_then(|retry| retry.enabled).unwrap_or(true),
            "initial_interval": retry.and_then(|retry| retry.initial_interval.as_deref()).unwrap_or("5s"),
            "max_interval": retry.and_then(|retry| retry.max_interval.as_deref()).unwrap_or("30s"),
            "max_elapsed_time": retry.and_then(|retry| retry.max_elapsed_time.as_deref()).unwrap_or("300s"),
        });
        let to_pools: usize = self.routes.iter().map(Route::signals).sum();
        let queue = collector::sending_queue(collector::queue_bytes(&self.spec.resources_settings, 3 + to_pools));
        let pools = self.routes.iter().map(|route| route.gateway);
        for gateway in [self.gateway].into_iter().chain(pools) {
            let name = crate::gateway::name(gateway);
            for signal in Signal::PIPELINES {
                let id = self.exporter(signal, gateway);
                if id.starts_with("load_balancing") {
                    let service = format!("{name}.{}", self.namespace);
                    config.add(ComponentKind::Exporter, id, balancing(&service, compression, timeout, &retry, &queue));
                    continue;
                }
                config.add(
                    ComponentKind::Exporter,
                    id,
                    json!({
                        // One address that the cluster keeps pointing at ready gateways: names are looked up again only
                        // every 30 s, too late for a gateway that was replaced.
                        "endpoint": format!("{}.{}:{}", names::balanced(&name), self.namespace, names::OTLP_GRPC_PORT),
                        "tls": {"insecure": true},
                        "compression": compression,
                        "timeout": timeout,
                        "retry_on_failure": retry,
                        "sending_queue": queue,
                    }),
                );
            }
        }
        config.add(ComponentKind::Exporter, "nop", json!({}));
    }
    fn add_traces(&self, config: &mut CollectorConfig) {
        let late = self.user_processors(Signal::Traces, true);
        let mut processors = self.opening(config);
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

    fn scrapes(&self) -> bool {
        self.scraped().iter().any(Option::is_some)
    }

    fn add_metrics(&self, config: &mut CollectorConfig) {
        let Some(metrics) = self.spec.metrics.as_ref() else { return };
        let [kubelet, host] = self.scraped();
        let mut scraping = Vec::new();
        if let Some(interval) = kubelet {
            config.add(ComponentKind::Receiver, "kubelet_stats", kubelet_stats(interval));
            scraping.push("kubelet_stats".to_owned());
        }
        if let Some(interval) = host {
            config.add(ComponentKind::Receiver, "host_metrics", host_metrics(interval));
            scraping.push("host_metrics".to_owned());
        }
        let mut receivers = Vec::new();
        if metrics.agents_telemetry.is_some() {
            receivers.push(OTLP.to_owned());
        }
        if let Some(unowned) = self.unowned_processor(config) {
            self.add_metrics_of(config, "scraped", scraping, Some(unowned));
        } else {
            receivers.extend(scraping);
        }
        self.add_metrics_of(config, "", receivers, None);
    }

    /// A pipeline of metrics; `unowned` stands behind what tells whose they are.
    fn add_metrics_of(
        &self,
        config: &mut CollectorConfig,
        name: &str,
        receivers: Vec<String>,
        unowned: Option<String>,
    ) {
        if receivers.is_empty() {
            return;
        }
        let mut processors = self.opening(config);
        processors.extend(unowned);
        processors.extend(self.user_processors(Signal::Metrics, false));
        *config.pipeline(Signal::Metrics, name) =
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
        let mut receivers = vec![OTLP.to_owned()];
        if self.has_agent {
            let directory = json!({"directory": LOG_OFFSETS, "create_directory": true});
            config.add(ComponentKind::Extension, FILE_STORAGE, directory);
            config.started_extensions.insert(FILE_STORAGE.into());
            config.add(ComponentKind::Receiver, FILE_LOG, file_log(self.namespace));
            receivers.insert(0, FILE_LOG.to_owned());
        }
        let mut processors = self.opening(config);
        processors.extend(self.user_processors(Signal::Logs, false));
        let exporters = vec![self.way_out(Signal::Logs)];
        *config.pipeline(Signal::Logs, "") = Pipeline { receivers, processors, exporters };
    }
}

/// Keeps traces together: spans of one trace go to one gateway.
fn balancing(service: &str, compression: &str, timeout: &str, retry: &Value, queue: &Value) -> Value {
    json!({
        "routing_key": "traceID",
        "protocol": {"otlp": {
            "tls": {"insecure": true},
            "compression": compression,
            "timeout": timeout,
            // The queue and the long patience are outside, so that what a vanished gateway left is sent to another. A
            // gateway is known before it listens: until then it is asked again, since a batch that fails for one
            // gateway is sent again to all of its gateways.
            "sending_queue": {"enabled": false},
            "retry_on_failure": {"enabled": true, "initial_interval": "500ms", "max_interval": "1s", "max_elapsed_time": "10s"},
        }},
        "resolver": {"k8s": {"service": service, "ports": [names::OTLP_GRPC_PORT]}},
        "timeout": "15s",
        "retry_on_failure": retry,
        "sending_queue": queue,
    })
}

/// Id of the processor that names the workload.
const WORKLOAD: &str = "transform/workload";

/// Names the workload of a covered pod in the product's own attributes, unless its agent has. Sampling rules tell by them
/// what is a source; pods that are not covered carry no class and get none (`spec/sampling.md` 3).
fn workload_identity() -> Value {
    let attribute = |key: &str| Expression::from(Path::keyed("attributes", key));
    // Owners before what they own: a Job of a CronJob has both names.
    let kinds = [
        WorkloadKind::CronJob,
        WorkloadKind::Job,
        WorkloadKind::Deployment,
        WorkloadKind::StatefulSet,
        WorkloadKind::DaemonSet,
    ];
    let mut statements = Vec::new();
    for (kind, key) in kinds.into_iter().filter_map(|kind| Some((kind, resource_attribute(kind)?))) {
        let condition = || {
            Condition::All(vec![
                Condition::NotEqual(attribute(STREAM_CLASS_ATTRIBUTE), Expression::Nil),
                Condition::Equal(attribute("odigos.workload.name"), Expression::Nil),
                Condition::NotEqual(attribute(key), Expression::Nil),
            ])
        };
        // The kind first: once the name is there, no other kind is looked at.
        for (target, value) in
            [("odigos.workload.kind", kind.as_str().into()), ("odigos.workload.name", attribute(key))]
        {
            let arguments = vec![attribute(target), value];
            statements.push(Statement { editor: "set", arguments, condition: Some(condition()) }.to_string());
        }
    }
    let group = json!([{"context": "resource", "statements": statements}]);
    json!({"error_mode": "ignore", "trace_statements": group, "metric_statements": group, "log_statements": group})
}

/// Reads the pod's identity and its stream class. Pods of this node only, nothing else is watched (spec 7.5).
fn workload_attributes() -> Value {
    let from_resource = |name: &str| json!({"from": "resource_attribute", "name": name});
    json!({
        "auth_type": "serviceAccount",
        "passthrough": false,
        // Items of the first second must not be routed without their class.
        "wait_for_metadata": true,
        "filter": {"node_from_env_var": "NODE_NAME"},
        "extract": {
            "metadata": [
                "k8s.namespace.name", "k8s.pod.name", "k8s.pod.uid", "k8s.deployment.name", "k8s.statefulset.name",
                "k8s.daemonset.name", "k8s.job.name", "k8s.cronjob.name", "service.name",
            ],
            "labels": [{"tag_name": STREAM_CLASS_ATTRIBUTE, "key": STREAM_CLASS, "from": "pod"}],
        },
        "pod_association": [
            {"sources": [from_resource("k8s.pod.uid")]},
            {"sources": [from_resource("k8s.pod.name"), from_resource("k8s.namespace.name")]},
            {"sources": [from_resource("k8s.pod.ip")]},
            {"sources": [{"from": "connection"}]},
        ],
    })
}

/// Detectors that the configuration enables and that can answer where the cluster runs. A detector that asks in vain
/// blocks the start for seconds, so each runs only at home.
fn detectors(spec: &CollectorsGroupSpec, provider: CloudProvider) -> Vec<&'static str> {
    let Some(settings) = &spec.resource_detectors else { return Vec::new() };
    let on = |detector: &Option<odigos_api::collectors_group::ResourceDetector>| {
        detector.as_ref().is_some_and(|detector| detector.enabled == Some(true))
    };
    let all = [
        ("ec2", on(&settings.ec2), CloudProvider::Aws),
        ("eks", on(&settings.eks), CloudProvider::Aws),
        ("azure", on(&settings.azure), CloudProvider::Azure),
        ("aks", on(&settings.aks), CloudProvider::Azure),
        ("gcp", on(&settings.gcp), CloudProvider::Google),
    ];
    let fits = |home: CloudProvider| match provider {
        CloudProvider::Unknown => home != CloudProvider::Google,
        known => home == known,
    };
    all.into_iter().filter(|(_, enabled, home)| *enabled && fits(*home)).map(|(name, _, _)| name).collect()
}

fn kubelet_stats(interval: &str) -> Value {
    json!({
        "auth_type": "serviceAccount",
        "endpoint": "https://${env:NODE_IP}:10250",
        // Kubelets commonly serve certificates that the cluster's CA did not sign.
        "insecure_skip_verify": true,
        "collection_interval": interval,
        "metric_groups": ["container", "pod", "node", "volume"],
    })
}

fn host_metrics(interval: &str) -> Value {
    let utilization = |name: &str| json!({"metrics": {name: {"enabled": true}}});
    let mut filesystem = utilization("system.filesystem.utilization");
    filesystem["exclude_mount_points"] = json!({"match_type": "regexp", "mount_points": ["/var/lib/kubelet/.*"]});
    json!({
        "collection_interval": interval,
        "root_path": "/hostfs",
        "scrapers": {
            "paging": utilization("system.paging.utilization"),
            "cpu": utilization("system.cpu.utilization"),
            "disk": {},
            "filesystem": filesystem,
            "load": {},
            "memory": {},
            "network": {},
            "processes": {},
        },
    })
}

/// One static pattern over the agent's links; which containers are read is decided by which links exist.
fn file_log(namespace: &str) -> Value {
    json!({
        "include": [format!("{LOG_LINKS}/*/*/*.log")],
        "exclude": [
            format!("{LOG_LINKS}/kube-system_*/**/*"),
            format!("{LOG_LINKS}/{namespace}_*/**/*"),
        ],
        "start_at": "beginning",
        "poll_interval": "1s",
        "include_file_path": true,
        "include_file_name": false,
        "storage": FILE_STORAGE,
        "operators": [{"id": "container-parser", "type": "container", "max_log_size": "1MiB"}],
        "retry_on_failure": {"enabled": true},
    })
}

/// Dimensions that every span metric has (spec 5.7).
const SPAN_METRIC_DIMENSIONS: [&str; 6] = [
    "http.method",
    "http.request.method",
    "http.status_code",
    "http.response.status_code",
    "http.route",
    "span.instrumentation.scope.name",
];

/// Resource attributes that would split series by process.
const PROCESS_ATTRIBUTES: [&str; 7] = [
    "process.command",
    "process.command_args",
    "process.executable.name",
    "process.executable.path",
    "process.parent_pid",
    "process.pid",
    "process.vpid",
];

const SPAN_METRIC_BUCKETS: [&str; 16] = [
    "2ms", "4ms", "6ms", "8ms", "10ms", "50ms", "100ms", "200ms", "400ms", "800ms", "1s", "1400ms", "2s", "5s", "10s",
    "15s",
];

/// Metrics from spans, computed before anything is sampled away (spec 5.7).
fn add_span_metrics(config: &mut CollectorConfig, settings: &SpanMetrics, way_out: String) {
    let mut dimensions: BTreeSet<&str> = SPAN_METRIC_DIMENSIONS.into();
    let mut names: Vec<&str> = SPAN_METRIC_DIMENSIONS.to_vec();
    for extra in settings.additional_dimensions.iter().flatten() {
        // The connector refuses a dimension named twice.
        if dimensions.insert(extra) {
            names.push(extra);
        }
    }
    let default_keys =
        ["service.name", "k8s.namespace.name", "k8s.pod.name", "telemetry.sdk.language"].map(str::to_owned);
    let mut keys =
        settings.resource_metrics_key_attributes.clone().filter(|k| !k.is_empty()).unwrap_or(default_keys.to_vec());
    // Spans of one pod before and after it changes its streams are counted apart: what was counted for one stream is never
    // added to, nor sent to, another.
    if !keys.iter().any(|key| key == STREAM_CLASS_ATTRIBUTE) {
        keys.push(STREAM_CLASS_ATTRIBUTE.to_owned());
    }
    let histogram = if settings.histogram_disabled == Some(true) {
        json!({"disable": true})
    } else {
        let own = settings.explicit_histogram_buckets.as_ref().filter(|buckets| !buckets.is_empty());
        let buckets = own.cloned().unwrap_or_else(|| SPAN_METRIC_BUCKETS.map(str::to_owned).to_vec());
        json!({"explicit": {"buckets": buckets}})
    };
    config.add(
        ComponentKind::Connector,
        "span_metrics",
        json!({
            "dimensions": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
            "exemplars": {"enabled": false},
            "aggregation_temporality": "AGGREGATION_TEMPORALITY_CUMULATIVE",
            "metrics_flush_interval": settings.interval.as_deref().unwrap_or("60s"),
            "metrics_expiration": settings.metrics_expiration.as_deref().unwrap_or("5m"),
            // exception.message is unbounded, so it is no dimension here.
            "events": {"enabled": true, "dimensions": [{"name": "exception.type"}]},
            "histogram": histogram,
            "add_resource_attributes": true,
            "resource_metrics_key_attributes": keys,
            "aggregation_cardinality_limit": 5000,
        }),
    );
    let mut removed: BTreeSet<&str> = ["telemetry.sdk.name", "telemetry.sdk.version"].into();
    if settings.included_process_in_dimensions != Some(true) {
        removed.extend(PROCESS_ATTRIBUTES);
    }
    removed.extend(settings.excluded_resource_attributes.iter().flatten().map(String::as_str));
    // The gateway routes by it, and removes it itself.
    removed.remove(STREAM_CLASS_ATTRIBUTE);
    config.add(
        ComponentKind::Processor,
        "resource/spanmetrics/remove-dimensions",
        json!({"attributes": removed.iter().map(|key| json!({"key": key, "action": "delete"})).collect::<Vec<_>>()}),
    );
    config.add(
        ComponentKind::Processor,
        "transform/copy-scope-span-metrics",
        json!({
            "error_mode": "ignore",
            "trace_statements": [{
                "context": "span",
                "statements": [r#"set(attributes["span.instrumentation.scope.name"], instrumentation_scope.name)"#],
            }],
        }),
    );
    *config.pipeline(Signal::Traces, "spanmetrics") = Pipeline {
        receivers: vec![FORWARD_SPAN_METRICS.into()],
        processors: vec!["transform/copy-scope-span-metrics".into(), "resource/spanmetrics/remove-dimensions".into()],
        exporters: vec!["span_metrics".into()],
    };
    *config.pipeline(Signal::Metrics, "spanmetrics-exporting") =
        Pipeline { receivers: vec!["span_metrics".into()], processors: vec![], exporters: vec![way_out] };
}
