//! The cluster gateway: which pipelines exist, which destinations are part of them, and what to report.
//!
//! Owns the order of steps of `spec/collectors-and-pipelines.md` 4 in our form: every destination is rendered apart and
//! merged whole or not at all; per-stream pipelines are what a reader sees; routing is by stream class (design 4–5).
//! Never reads a Secret's value: key names and digests are enough. The Kubernetes objects are in [`objects`].

pub mod allowed_types;
pub mod capacity;
pub mod delivery;
pub mod destinations;
mod files;
mod head_marks;
pub mod intake;
mod left_out;
pub mod objects;
mod routing;
pub mod sampling;
pub mod secret_access;
mod secret_owners;
pub mod secret_values;
mod service_graph;
mod treatment;
mod versions;

#[cfg(test)]
mod action_tests;
#[cfg(test)]
mod sampling_tests;
#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod tests;

use crate::actions::report as actions;
use crate::actions::scopes::Scopes;
use crate::collector::{self, OwnTelemetry};
use crate::config_files::ConfigFiles;
use crate::configuration::Configuration;
use crate::metrics_endpoint::{self, MetricsAccess};
use crate::processors::{self, Permission, Processors};
use crate::receivers;
use crate::sampling::report as sampling_report;
use crate::streams;
use crate::unowned::{self, Handling};
use destinations::{DestinationPlan, Fragment};
use odigos_api::action::Action;
use odigos_api::collectors_group::{CollectorsGroup, CollectorsGroupSpec};
use odigos_api::condition::{ConditionDraft, Status, kind};
use odigos_api::destination::Destination;
use odigos_api::labels::STREAM_CLASS_ATTRIBUTE;
use odigos_api::processor::Processor;
use odigos_api::{CollectorRole, Finding, Signal, names};
pub use odigos_pipeline::Problem;
use odigos_pipeline::{CollectorConfig, ComponentKind, Pipeline};
pub use secret_access::SecretMark;
pub use secret_values::{SecretKeys, SecretValue};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use treatment::Treatments;

/// Everything that the gateway's configuration depends on. Of a dedicated pool ([`crate::pools`]) the Destinations are those
/// that its streams reach.
#[derive(Debug)]
pub struct Observed<'a> {
    /// Namespace of the control plane.
    pub namespace: &'a str,
    /// The resolved CollectorsGroup.
    pub group: &'a CollectorsGroup,
    /// The Destinations of that namespace, in any order.
    pub destinations: Vec<&'a Destination>,
    /// The Processors of that namespace, in any order.
    pub processors: Vec<&'a Processor>,
    /// Actions of the control plane's namespace.
    pub actions: Vec<&'a Action>,
    /// The Secrets that Destinations refer to, by name; a missing one is absent.
    pub secrets: &'a BTreeMap<String, SecretKeys>,
    /// What those Secrets say of their use, by name.
    pub marks: &'a BTreeMap<String, SecretMark>,
    /// The effective configuration.
    pub configuration: &'a Configuration,
    /// Sampling rules and the views of streams.
    pub rules: &'a sampling::Rules,
    /// Destinations whose exporter stopped a collector at start, with what it said (design 5).
    pub set_aside: &'a BTreeMap<String, String>,
    /// Who sends to it.
    pub senders: Senders,
    /// Whether its image is one of this release ([`objects::Installation::is_own_collector`]).
    pub is_own_collector: bool,
    /// Whether a workload of others has the name that the configuration gives to the gateway's ([`objects::is_foreign`]).
    pub is_name_taken: bool,
}

impl Observed<'_> {
    /// How its metrics can be read; every gateway has a certificate.
    fn metrics_access(&self) -> MetricsAccess {
        MetricsAccess::of(self.configuration, self.is_own_collector)
    }
}

/// What of its senders the gateway depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Senders {
    /// Node collectors of a release without certificates may be left, and may still send: to the port that everybody can reach, where
    /// their word about stream classes counts ([`crate::mutual_tls::change_over`]).
    pub has_old_nodes: bool,
    /// How long a connection may last ([`crate::mutual_tls::connection_seconds`]).
    pub connection_seconds: u32,
    /// They compute metrics from spans ([`crate::node::measures_spans`]).
    pub measures_spans: bool,
}

impl Default for Senders {
    /// A small cluster where every node collector has a certificate.
    fn default() -> Self {
        let connection_seconds = crate::mutual_tls::connection_seconds(0, None);
        Self { has_old_nodes: false, connection_seconds, measures_spans: false }
    }
}

/// The rendered gateway and what to report of every object that took part.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayPlan {
    /// The configuration.
    pub config: CollectorConfig,
    /// The same as the files that are stored. Where these have a problem nothing may be applied.
    pub files: ConfigFiles,
    /// What is wrong with the graph; empty unless a defect slipped past every check, then nothing may be applied either.
    pub problems: Vec<Problem>,
    /// Conditions by Destination name.
    pub destinations: BTreeMap<String, ConditionDraft>,
    /// Destinations with a component that the gateway of this release lacks, with what is said of it.
    pub lacking: BTreeMap<String, String>,
    /// Conditions by Processor name.
    pub processors: BTreeMap<String, ConditionDraft>,
    /// Conditions by Action name.
    pub actions: BTreeMap<String, Vec<ConditionDraft>>,
    /// Streams that have pipelines, with their signals.
    pub streams: BTreeMap<String, BTreeSet<Signal>>,
    /// Signals that its pipelines make use of, for `status.receiverSignals`: those that a destination takes, and spans where one
    /// takes the metrics that are computed from them here.
    pub receiver_signals: Vec<Signal>,
    /// Ids of the classes that this configuration routes, for `status.servedStreamClasses`.
    pub classes: Vec<String>,
    /// What is done with sampling rules.
    pub sampling: sampling_report::Mode,
    /// Conditions that sampling rules compile to, all instances together.
    pub sampling_conditions: usize,
    /// How long a trace is held back while rules are in force, e.g. `30s`.
    pub sampling_wait: String,
    /// Feature gates that the collector must be started with.
    pub feature_gates: Vec<&'static str>,
    /// Secret keys that the gateway reads, for its environment and volumes.
    pub secrets: Vec<destinations::SecretUse>,
    /// Environment variables that libraries of the collector read by themselves.
    pub variables: BTreeMap<String, String>,
    /// Whether any queue is kept on disk.
    pub persistent_queues: bool,
    /// How many bytes the queues on disk may hold together.
    pub persistent_queue_bytes: i64,
    /// Which destination a component belongs to, by component id, with its settings.
    pub components: BTreeMap<String, (String, Value)>,
    /// Components of Processors, in the same form, with their names among what can be set aside.
    pub processor_components: BTreeMap<String, (String, Value)>,
    /// Streams of what belongs to no workload.
    pub unowned: streams::StreamSet,
    /// What people should know.
    pub findings: Vec<Finding>,
}

impl Observed<'_> {
    /// Whether a Secret of that name exists, or is one that nothing tells about.
    fn has_secret(&self, name: &str) -> bool {
        self.secrets.contains_key(name) || self.marks.contains_key(name) || secret_access::is_reserved_name(name)
    }
}

/// Name of a gateway's group, its Services and ConfigMaps: the main one's, or that of a dedicated pool.
#[must_use]
pub fn name(group: &CollectorsGroupSpec) -> String {
    group.pool.as_ref().map_or_else(|| names::GATEWAY.to_owned(), |pool| names::pool_gateway(&pool.name))
}

impl GatewayPlan {
    /// The condition of a Destination where it is known whether the gateways run the image of this release: what that image lacks is no
    /// success, whatever another image may have.
    #[must_use]
    pub fn destination_condition(&self, name: &str, runs_own_image: bool) -> Option<ConditionDraft> {
        let draft = self.destinations.get(name)?;
        let lacking = self.lacking.get(name).filter(|_| runs_own_image && draft.status == Status::True);
        Some(lacking.map_or_else(
            || draft.clone(),
            |message| {
                let kind = kind::DESTINATION_CONFIGURED;
                ConditionDraft::no(kind, "NotInCollector", format!("spec.type: {message}; until then nothing is sent."))
            },
        ))
    }
}

/// Renders the gateway.
#[must_use]
pub fn plan(seen: &Observed<'_>) -> GatewayPlan {
    let role = CollectorRole::ClusterGateway;
    let classes = &seen.group.spec.stream_classes;
    let permission = Permission::of(seen.configuration).for_collector(seen.is_own_collector);
    let mut processors =
        Processors::of_role(role, seen.processors.iter().copied(), seen.set_aside, classes, &permission);
    let mut actions = actions::known(
        seen.actions.iter().copied(),
        seen.set_aside,
        Some(classes),
        seen.rules.covered.as_ref(),
        seen.senders.measures_spans,
    );
    processors.scopes = Scopes::of(&actions::steps(&actions));
    actions.retain(|one| one.role == role);
    processors.add_steps(role, &actions::steps(&actions));
    let mut destinations = destinations::plan(seen);
    if let Some(pool) = &seen.group.spec.pool {
        let takes = |fragment: &Fragment| fragment.pipelines.keys().any(|signal| pool.signals.contains(signal));
        destinations.retain(takes);
    }
    secret_owners::refuse_shared(seen, &mut destinations);
    capacity::fit_secrets(seen, &mut destinations);
    let (mut config, mut samplers) = assemble(seen, &processors, &destinations.fragments);
    let mut problems = config.check();
    if !problems.is_empty() {
        // Never expected: a fragment that passes alone breaks the whole. Admit them one by one and name the culprits.
        let candidates = std::mem::take(&mut destinations.fragments);
        for fragment in candidates {
            destinations.fragments.push(fragment);
            let (attempt, _) = assemble(seen, &processors, &destinations.fragments);
            if let Some(problem) = attempt.check().first()
                && let Some(culprit) = destinations.fragments.pop()
            {
                destinations.refuse(
                    seen.namespace,
                    &culprit,
                    &format!("it would break the collector configuration: {problem}"),
                );
            }
        }
        (config, samplers) = assemble(seen, &processors, &destinations.fragments);
        problems = config.check();
    }
    let mut files = files::of(&mut config, &destinations.fragments);
    if files.are_too_many()
        && let Some(problem) = files.problem().map(str::to_owned)
    {
        capacity::fit(seen, &mut destinations, &problem, |attempt| {
            let (mut config, _) = assemble(seen, &processors, &attempt.fragments);
            !files::of(&mut config, &attempt.fragments).are_too_many()
        });
        (config, samplers) = assemble(seen, &processors, &destinations.fragments);
        files = files::of(&mut config, &destinations.fragments);
    }
    if files.texts().len() > 1 {
        // Long routing tables were cut.
        problems = config.check();
    }
    processors.report_unreached(role, &config, seen.processors.iter().copied());
    processors.report_sampled_apart(&config, seen.processors.iter().copied());
    for versions in versions::of(&seen.group.spec, &processors, &destinations.fragments, seen.rules.covered.as_ref()) {
        let message = versions.to_string();
        for action in actions.iter_mut().filter(|one| one.step().is_some_and(|step| versions.is_made_by(&step.id))) {
            action.versions.push(message.clone());
        }
        for processor in seen.processors.iter().copied() {
            processors.add_note(processor, &message, |id| versions.is_made_by(id));
        }
    }
    let mut plan = report(seen, (config, files), &samplers, problems, processors, destinations);
    plan.findings.extend(actions.iter().flat_map(|one| one.findings(&plan.config)));
    plan.actions = actions.iter().map(|one| (one.name().to_owned(), one.conditions(Some(&plan.config)))).collect();
    plan
}

fn report(
    seen: &Observed<'_>,
    (config, files): (CollectorConfig, ConfigFiles),
    samplers: &sampling::Samplers,
    problems: Vec<Problem>,
    processors: Processors,
    destinations: DestinationPlan,
) -> GatewayPlan {
    let mut streams: BTreeMap<String, BTreeSet<Signal>> = BTreeMap::new();
    let mut signals = BTreeSet::new();
    let known = routing::known_streams(&seen.group.spec, &destinations.fragments);
    if service_graph::is_wanted(&seen.group.spec, &destinations.fragments) {
        signals.insert(Signal::Traces);
    }
    for fragment in &destinations.fragments {
        signals.extend(fragment.pipelines.keys().copied());
        for stream in known.iter().filter(|stream| fragment.selection.includes(stream)) {
            streams.entry(stream.clone()).or_default().extend(fragment.pipelines.keys().copied());
        }
    }
    let mut findings = destinations.findings;
    if !seen.is_own_collector {
        let object = format!("CollectorsGroup {}/{}", seen.namespace, name(&seen.group.spec));
        let lacks = [receivers::NO_REQUEST_LIMIT, metrics_endpoint::NO_ENDPOINT];
        findings.extend(lacks.map(|message| Finding::info(object.clone(), "", message)));
    }
    findings.extend(objects::name_problem(seen));
    findings.extend(seen.rules.accepted.findings.iter().cloned());
    let left_out = seen.rules.accepted.left_out_probes.iter().filter(|_| seen.group.spec.pool.is_none());
    findings.extend(left_out.map(|message| {
        let object = format!("CollectorsGroup {}/{}", seen.namespace, name(&seen.group.spec));
        Finding::warning(object, "sampling.k8sHealthProbesSampling", message)
    }));
    findings.extend(processors.findings.iter().cloned());
    for problem in &problems {
        let object = format!("CollectorsGroup {}/{}", seen.namespace, name(&seen.group.spec));
        findings.push(Finding::error(object, "", format!("the rendered configuration is broken: {problem}")));
    }
    if let Some(problem) = files.problem() {
        let object = format!("CollectorsGroup {}/{}", seen.namespace, name(&seen.group.spec));
        findings.push(Finding::error(object, "", problem));
    }
    let unowned = unowned::streams(seen.configuration);
    findings.extend(unowned_findings(seen, &unowned, &destinations.fragments));
    let components = destinations.fragments.iter().flat_map(|fragment| {
        let settings = fragment.components();
        settings.into_iter().map(|(id, settings)| (id, (fragment.name.clone(), settings)))
    });
    GatewayPlan {
        components: components.collect(),
        processor_components: processors.components(CollectorRole::ClusterGateway),
        config,
        files,
        problems,
        destinations: destinations.conditions,
        lacking: destinations.lacking,
        processors: processors.conditions,
        actions: BTreeMap::new(),
        streams,
        receiver_signals: [Signal::Logs, Signal::Metrics, Signal::Traces]
            .into_iter()
            .filter(|s| signals.contains(s))
            .collect(),
        classes: seen.group.spec.stream_classes.iter().map(|class| class.id.clone()).collect(),
        sampling: samplers.mode,
        sampling_conditions: samplers.conditions,
        sampling_wait: sampling::wait(&seen.group.spec),
        feature_gates: samplers.needs_recorded_policy().then_some(sampling::RECORD_POLICY_GATE).into_iter().collect(),
        secrets: destinations.secrets,
        variables: destinations.variables,
        persistent_queues: destinations.fragments.iter().any(Fragment::is_persistent),
        persistent_queue_bytes: {
            let queues = destinations.fragments.iter().map(Fragment::queues).sum();
            let bytes = collector::queue_bytes(&seen.group.spec.resources_settings, queues);
            destinations.fragments.iter().filter(|one| one.is_persistent()).map(|one| one.all_queue_bytes(bytes)).sum()
        },
        unowned,
        findings,
    }
}

/// What to report of metrics that belong to no workload.
fn unowned_findings(seen: &Observed<'_>, streams: &streams::StreamSet, fragments: &[Fragment]) -> Vec<Finding> {
    if seen.group.spec.pool.is_some() {
        return Vec::new();
    }
    let object = || format!("CollectorsGroup {}/{}", seen.namespace, names::GATEWAY);
    let mut findings: Vec<Finding> =
        unowned::problems(seen.configuration).into_iter().map(|one| Finding::warning(object(), "", one)).collect();
    match uncollected(seen, streams, fragments) {
        Some(message) => findings.push(Finding::warning(object(), "", message)),
        None => {
            let useless = useless_unowned(seen, streams, fragments).into_iter();
            findings.extend(useless.map(|message| Finding::warning(object(), "", message)));
        }
    }
    findings
}

/// What to report of streams for what belongs to no workload that are of no use: no Destination takes metrics of them, although another
/// one takes metrics, or nothing names them.
fn useless_unowned(seen: &Observed<'_>, streams: &streams::StreamSet, fragments: &[Fragment]) -> Vec<String> {
    if seen.configuration.get(unowned::PATH).is_none() {
        return Vec::new();
    }
    let taking: Vec<&Fragment> = fragments.iter().filter(|one| one.pipelines.contains_key(&Signal::Metrics)).collect();
    let known = routing::known_streams(&seen.group.spec, fragments);
    let is_reached = |stream: &String| taking.iter().any(|one| one.selection.includes(stream));
    let is_quiet = |stream: &String| taking.is_empty() && known.contains(stream);
    let message = |stream: &String| {
        let near = crate::spelling::hint(stream, known.iter().map(String::as_str).filter(|one| one != stream));
        format!("{}: no Destination takes metrics of the data stream {stream}{near}", unowned::PATH)
    };
    streams.iter().filter(|stream| !is_reached(stream) && !is_quiet(stream)).map(message).collect()
}

/// Why what belongs to no workload is not collected, although Destinations take metrics.
fn uncollected(seen: &Observed<'_>, streams: &streams::StreamSet, fragments: &[Fragment]) -> Option<String> {
    let mut taking = fragments.iter().filter(|one| one.pipelines.contains_key(&Signal::Metrics)).peekable();
    taking.peek()?;
    let wants = |one: &Fragment| one.wanted.hosts || one.wanted.kubelet;
    let all: Vec<&Fragment> = taking.collect();
    let is_wanted = all.iter().any(|one| wants(one)) || seen.group.spec.cluster_metrics_enabled == Some(true);
    if !is_wanted || all.iter().any(|one| unowned::reaches(streams, &one.selection)) {
        return None;
    }
    Some(format!(
        "{} are not collected: no Destination takes metrics of the data streams {}; name a stream with such a Destination in {} of the configuration",
        unowned::WHAT,
        unowned::listed(streams),
        unowned::PATH,
    ))
}

/// Puts the configuration together from the fixed parts and the fragments of the destinations.
fn assemble(
    seen: &Observed<'_>,
    processors: &Processors,
    fragments: &[Fragment],
) -> (CollectorConfig, sampling::Samplers) {
    let spec = &seen.group.spec;
    let mut config = CollectorConfig::default();
    add_fixed_parts(&mut config, seen, fragments);
    processors.add_to(&mut config);
    let queues = fragments.iter().map(Fragment::queues).sum();
    let queue_bytes = collector::queue_bytes(&spec.resources_settings, queues);
    for fragment in fragments {
        // Conflicts were ruled out when the fragment was made; a repeated name cannot pass the API server.
        let _ = config.merge(fragment.to_config(queue_bytes));
    }
    let samplers = sampling::plan(seen, processors, fragments);
    sampling::add_components(&mut config, seen, &samplers);
    if head_marks::are_needed(samplers.marks, &seen.rules.accepted.rules) {
        config.add(ComponentKind::Processor, head_marks::ID, head_marks::settings(samplers.marks));
    }
    for signal in Signal::PIPELINES {
        if fragments.iter().any(|fragment| fragment.pipelines.contains_key(&signal)) {
            let samplers = (signal == Signal::Traces).then_some(&samplers);
            add_root(&mut config, signal, spec, processors, fragments, samplers);
            let treatments = Treatments::new(processors, seen.rules.covered.as_ref());
            routing::add(&mut config, signal, spec, &treatments, fragments, samplers);
        } else if signal == Signal::Traces && service_graph::is_wanted(spec, fragments) {
            service_graph::add_root(&mut config, spec, fragments);
        }
    }
    add_own_metrics(&mut config, seen, fragments);
    config.remove_unused();
    if seen.is_own_collector {
        receivers::add_request_limit(&mut config, &spec.resources_settings);
    }
    if seen.metrics_access().has_endpoint {
        metrics_endpoint::add(&mut config, spec.collector_own_metrics_port);
    }
    (config, samplers)
}

/// Receivers, extensions and telemetry that every gateway has (spec 4.3).
fn add_fixed_parts(config: &mut CollectorConfig, seen: &Observed<'_>, fragments: &[Fragment]) {
    let spec = &seen.group.spec;
    intake::add(config, seen);
    collector::add_health_check(config);
    collector::add_guards(config, &spec.resources_settings);
    config.add(
        ComponentKind::Processor,
        "resource/odigos-version",
        json!({"attributes": [{"key": "odigos.version", "action": "upsert", "value": "${env:ODIGOS_VERSION}"}]}),
    );
    config.add(ComponentKind::Exporter, "nop", json!({}));
    let port = spec.collector_own_metrics_port;
    config.telemetry = collector::telemetry(
        seen.metrics_access().host(),
        port,
        seen.configuration.collector_log_level(),
        &[("k8s.pod.name", "${env:POD_NAME}")],
        None,
    );
    let traces = fragments.iter().any(|fragment| fragment.pipelines.contains_key(&Signal::Traces));
    let takes_traces = traces || service_graph::is_wanted(spec, fragments);
    let service_graph = (takes_traces && service_graph::is_on(spec)).then(service_graph::scrape_job);
    collector::add_own_telemetry(
        config,
        &OwnTelemetry {
            role: CollectorRole::ClusterGateway,
            port,
            receiver: "prometheus/self-metrics",
            pipeline: "otelcol",
            identity: &[("k8s.pod.name", "${env:POD_NAME}")],
            extra_job: service_graph,
        },
    );
}

/// `<signal>/in`: what every item of the signal passes before it is routed (spec 4.4, 4.7).
fn add_root(
    config: &mut CollectorConfig,
    signal: Signal,
    spec: &CollectorsGroupSpec,
    processors: &Processors,
    fragments: &[Fragment],
    samplers: Option<&sampling::Samplers>,
) {
    let router = routing::connector(signal);
    let exporters = match samplers {
        Some(samplers) => sampling::root_exporters(config, samplers, &router),
        None => vec![router.clone()],
    };
    let mut root = Pipeline {
        receivers: intake::of_root(config, signal),
        processors: vec![collector::MEMORY_LIMITER.into(), "resource/odigos-version".into()],
        exporters,
    };
    // What runs after sampling stands behind the sampler: before the router, or in the pipelines of streams.
    let samples =
        |samplers: &sampling::Samplers| samplers.marks_only || samplers.mode == sampling_report::Mode::Sampling;
    let split = samplers.is_some_and(samples);
    let streams = routing::fed_streams(spec, fragments, signal);
    let of_all = processors.placed_by_stream(signal, &streams).before_router();
    let (late, early): (Vec<_>, Vec<_>) = of_all.partition(|p| split && p.hint >= processors::LATE_HINT);
    root.processors.extend(processors.first(signal));
    root.processors.extend(early.into_iter().map(|p| p.id.clone()));
    if let Some(samplers) = samplers {
        let mut late: Vec<String> = late.into_iter().map(|p| p.id.clone()).collect();
        if config.get(ComponentKind::Processor, head_marks::ID).is_some() {
            // Last, behind the sampler that all spans pass; samplers of streams come later and overwrite.
            let sampled = samplers.before_router().is_some() && split;
            if sampled { &mut late } else { &mut root.processors }.push(head_marks::ID.to_owned());
        }
        sampling::add_before_router(config, samplers, &late, &router);
    }
    if signal == Signal::Metrics && spec.cluster_metrics_enabled == Some(true) {
        add_cluster_metrics(config, &mut root, spec);
    }
    if signal == Signal::Traces && service_graph::is_on(spec) {
        service_graph::add_to_root(config, &mut root, spec, fragments);
    }
    *config.pipeline(signal, "in") = root;
}

/// Metrics of the cluster's objects, which belong to no workload: by the root's own pipeline where they are of the stream
/// `default`, else by one that gives them their class.
fn add_cluster_metrics(config: &mut CollectorConfig, root: &mut Pipeline, spec: &CollectorsGroupSpec) {
    let handling = Handling::of(spec, |id| spec.stream_classes.iter().any(|class| class.id == id));
    if handling == Handling::Drop {
        return;
    }
    config.add(
        ComponentKind::Extension,
        "k8s_leader_elector",
        json!({"auth_type": "serviceAccount", "lease_name": "odigos-gateway-leader", "lease_namespace": "${env:POD_NAMESPACE}"}),
    );
    config.started_extensions.insert("k8s_leader_elector".into());
    config.add(
        ComponentKind::Receiver,
        "k8s_cluster",
        json!({"auth_type": "serviceAccount", "collection_interval": "10s", "k8s_leader_elector": "k8s_leader_elector"}),
    );
    let Some(class) = handling.class() else {
        root.receivers.push("k8s_cluster".into());
        return;
    };
    let attributes = json!({"attributes": [{"key": STREAM_CLASS_ATTRIBUTE, "action": "insert", "value": class}]});
    config.add(ComponentKind::Processor, "resource/unowned", attributes);
    let mut processors = root.processors.clone();
    processors.insert(1, "resource/unowned".into());
    *config.pipeline(Signal::Metrics, "cluster") =
        Pipeline { receivers: vec!["k8s_cluster".into()], processors, exporters: root.exporters.clone() };
}

/// Metrics of the product itself. They reach the destinations that request them, and only those: no release deploys a store of its own.
fn add_own_metrics(config: &mut CollectorConfig, seen: &Observed<'_>, fragments: &[Fragment]) {
    let spec = &seen.group.spec;
    let Some(own) = spec.metrics.as_ref().and_then(|metrics| metrics.odigos_own_metrics.as_ref()) else { return };
    let mut exporters = Vec::new();
    if own.send_to_metrics_destinations == Some(true) {
        let wanting = fragments.iter().filter(|fragment| fragment.wanted.own);
        exporters.extend(wanting.filter_map(|fragment| fragment.forward(Signal::Metrics)));
    }
    if exporters.is_empty() {
        return;
    }
    config.add(
        ComponentKind::Receiver,
        "otlp/odigos-own-metrics-in",
        json!({"protocols": {"http": receivers::http(names::OWN_METRICS_PORT)}}),
    );
    let receivers = vec!["otlp/odigos-own-metrics-in".to_owned()];
    *config.pipeline(Signal::Metrics, "own-metrics") =
        Pipeline { receivers, processors: vec![collector::MEMORY_LIMITER.into()], exporters };
}

/// The condition of a DataStream: whether the gateway has pipelines for it.
#[must_use]
pub fn stream_condition(plan: &GatewayPlan, stream: &str) -> ConditionDraft {
    let signals = plan.streams.get(stream).filter(|signals| !signals.is_empty());
    let takes_metrics = signals.is_some_and(|signals| signals.contains(&Signal::Metrics));
    // Where no Destination takes metrics at all, nobody misses them.
    let note = match (plan.unowned.contains(stream), plan.receiver_signals.contains(&Signal::Metrics)) {
        (true, true) if takes_metrics => format!(" It also gets {}.", unowned::WHAT),
        (true, true) => {
            format!(
                " The {} would go here too, and are not collected while no other of their streams has a Destination for metrics.",
                unowned::WHAT
            )
        }
        _ => String::new(),
    };
    match signals {
        Some(signals) => {
            let list: Vec<_> = signals.iter().map(|signal| signal.as_str()).collect();
            ConditionDraft::yes(
                kind::RENDERED,
                "Rendered",
                format!("The gateway has pipelines for {}.{note}", list.join(", ")),
            )
        }
        None => ConditionDraft::no(
            kind::RENDERED,
            "NoDestination",
            format!(
                "No configured Destination is in the stream {stream:?}: its telemetry is dropped. Add the stream to spec.sourceSelector.dataStreams of a Destination.{note}"
            ),
        ),
    }
}

/// Streams by name that the gateway's classes and destinations mention.
#[must_use]
pub fn known_streams(seen: &Observed<'_>, plan: &GatewayPlan) -> BTreeSet<String> {
    let mut known: BTreeSet<String> = plan.streams.keys().cloned().collect();
    known.extend(seen.group.spec.stream_classes.iter().flat_map(|class| class.streams.iter().cloned()));
    known.extend(streams::named_streams([], seen.destinations.iter().copied(), |_| false, 0).streams);
    known.retain(|stream| streams::has_pipeline(stream));
    known
}
