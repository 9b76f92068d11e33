//! The collector on every node: receives what pods send, reads their logs, scrapes the node, stamps the stream class.
//!
//! Owns `spec/collectors-and-pipelines.md` 5 in our form: memory limiter first, batches inside the exporters' queues,
//! no configuration that grows with workloads (design 4.2, 4.5). The Kubernetes objects are in [`objects`].

mod exporters;
mod identity;
pub mod objects;
mod own_metrics;
mod pipelines;
mod receivers;
mod routes;
pub(crate) mod scraped;
mod senders;
mod sources;
mod span_metrics;

#[cfg(test)]
mod tests;

pub use identity::CloudProvider;
pub use receivers::{LOG_LINKS, LOG_OFFSETS};

use crate::actions::report as actions;
use crate::actions::scopes::Scopes;
use crate::collector::{self, OwnTelemetry};
use crate::config_files::ConfigFiles;
use crate::configuration::Configuration;
use crate::covered::CoveredNames;
use crate::detection::Mode;
use crate::metrics_endpoint::{self, MetricsAccess};
use crate::processors::{Permission, Processors};
use crate::receivers as limits;
use crate::unowned::Handling;
use odigos_api::action::Action;
use odigos_api::collectors_group::{CollectorsGroup, RoutedPool};
use odigos_api::condition::ConditionDraft;
use odigos_api::processor::Processor;
use odigos_api::{CollectorRole, Finding, Signal, names};
use odigos_pipeline::{CollectorConfig, Pipeline, Problem};
use pipelines::Build;
use receivers::{FILE_LOG, OTLP};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

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
    /// The Actions of the control plane's namespace, in any order.
    pub actions: Vec<&'a Action>,
    /// What collectors do not start with ([`crate::quarantine`]), with what they said.
    pub set_aside: &'a BTreeMap<String, String>,
    /// What scopes of Actions can match, where that is known.
    pub covered: Option<&'a CoveredNames>,
    /// The effective configuration.
    pub configuration: &'a Configuration,
    /// Where the cluster runs.
    pub provider: CloudProvider,
    /// Whether every gateway expects a certificate ([`crate::mutual_tls::change_over::is_used_by_nodes`]).
    pub has_certificate: bool,
    /// Hash of the authorities that certify gateways, once they are known.
    pub authorities: Option<&'a str>,
    /// Whether its image is one of this release ([`crate::gateway::objects::Installation::is_own_collector`]).
    pub is_own_collector: bool,
}

impl Observed<'_> {
    /// How its metrics can be read.
    fn metrics_access(&self) -> MetricsAccess {
        MetricsAccess::of(self.configuration, self.is_own_collector && self.has_certificate)
    }
}

/// The rendered node collector.
#[derive(Clone, Debug, PartialEq)]
pub struct NodePlan {
    /// The configuration.
    pub config: CollectorConfig,
    /// The same as the files that are stored.
    pub files: ConfigFiles,
    /// What is wrong with the graph; normally nothing.
    pub problems: Vec<Problem>,
    /// Components of Processors: settings, with the Processor's name among what can be set aside.
    pub components: BTreeMap<String, (String, Value)>,
    /// Conditions by Processor name.
    pub processors: BTreeMap<String, ConditionDraft>,
    /// Conditions by the names of the Actions that it runs.
    pub actions: BTreeMap<String, Vec<ConditionDraft>>,
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

/// Whether node collectors compute metrics from spans.
#[must_use]
pub fn measures_spans(group: Option<&CollectorsGroup>) -> bool {
    let metrics = group.and_then(|group| group.spec.metrics.as_ref());
    metrics.and_then(|metrics| metrics.span_metrics.as_ref()).is_some_and(|settings| settings.disabled != Some(true))
}

/// Renders the node collector; `None` while there is no gateway to send to.
#[must_use]
pub fn plan(seen: &Observed<'_>) -> Option<NodePlan> {
    let gateway = seen.gateway?;
    let role = CollectorRole::NodeCollector;
    let classes = &gateway.spec.stream_classes;
    let permission = Permission::of(seen.configuration).for_collector(seen.is_own_collector);
    let mut processors =
        Processors::of_role(role, seen.processors.iter().copied(), seen.set_aside, classes, &permission);
    let mut actions = actions::known(
        seen.actions.iter().copied(),
        seen.set_aside,
        Some(classes),
        seen.covered,
        measures_spans(seen.group),
    );
    processors.scopes = Scopes::of(&actions::steps(&actions));
    let measured = Processors::of_measured_spans(&actions, classes);
    actions.retain(|one| one.role == role);
    processors.add_steps(role, &actions::steps(&actions));
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
            configuration: seen.configuration,
            gateway: &gateway.spec,
            spec: &group.spec,
            signals,
            processors: &processors,
            measured: &measured,
            routes: &routes,
            unowned: Handling::of(&group.spec, |id| {
                gateway.status.iter().any(|status| status.served_stream_classes.iter().any(|one| one == id))
            }),
            has_certificate: seen.has_certificate,
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
    if seen.is_own_collector {
        if let Some(group) = seen.group {
            limits::add_request_limit(&mut config, &group.spec.resources_settings);
        }
    } else {
        let lacks = [limits::NO_REQUEST_LIMIT, metrics_endpoint::NO_ENDPOINT];
        findings.extend(lacks.map(|message| Finding::info(group_object(seen), "", message)));
    }
    if seen.metrics_access().has_endpoint {
        metrics_endpoint::add(&mut config, port);
    }
    processors.report_unreached(role, &config, seen.processors.iter().copied());
    findings.extend(actions.iter().flat_map(|one| one.findings(&config)));
    let actions = actions.iter().map(|one| (one.name().to_owned(), one.conditions(Some(&config)))).collect();
    // Only the tables of routes to pools grow; they belong to nobody.
    let files = ConfigFiles::of(&mut config, |_, _| None);
    let problems = config.check();
    findings.extend(files.problem().map(|problem| Finding::error(group_object(seen), "", problem)));
    for problem in &problems {
        findings.push(Finding::error(
            group_object(seen),
            "",
            format!("the rendered configuration is broken: {problem}"),
        ));
    }
    let mut components = measured.components(role);
    components.extend(processors.components(role));
    let processors = processors.conditions;
    Some(NodePlan {
        config,
        files,
        problems,
        components,
        processors,
        actions,
        receiver_signals,
        pools,
        unowned_class,
        findings,
    })
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
    let host = seen.metrics_access().host();
    config.telemetry = collector::telemetry(host, port, seen.configuration.collector_log_level(), &identity, push);
    collector::add_own_telemetry(
        config,
        &OwnTelemetry {
            role: CollectorRole::NodeCollector,
            port,
            receiver: "prometheus/self-metrics-ui",
            pipeline: "own-metrics-ui",
            identity: &identity,
            extra_job: None,
        },
    );
}
