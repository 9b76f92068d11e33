//! Destinations as transactions: each is rendered apart into a [`Fragment`], or refused with a condition that says why.
//!
//! Owns conditions and findings of Destinations (`spec/collectors-and-pipelines.md` 1.2, 4.6). Never wires streams.

use super::secret_access::{self, Access, access};
use super::{Observed, SecretKeys, allowed_types, delivery};
use crate::admission;
use crate::configuration::Configuration;
use crate::metric_sources::{self, MetricSources};
use crate::streams::{self, Selection};
use crate::unowned;
use odigos_api::condition::{ConditionDraft, kind};
use odigos_api::destination::{Delivery, Destination, DestinationSpec};
use odigos_api::{CollectorRole, Finding, Signal};
use odigos_catalog::Usage;
use odigos_catalog::plain_credentials;
use odigos_catalog::render::{self, Instance, Reason, Rendered, Secret};
use odigos_pipeline::components::is_shipped;
use odigos_pipeline::expansion::unexpanded_variable;
use odigos_pipeline::graph::check_component_id;
use odigos_pipeline::ottl::{Condition, Expression, Path};
use odigos_pipeline::reach::Reach;
use odigos_pipeline::{CollectorConfig, ComponentKind, Pipeline};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// One key of one Secret, and how the collector sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretUse {
    /// Destination that needs it.
    pub destination: String,
    /// Name of the Secret.
    pub secret: String,
    /// Key inside the Secret.
    pub key: String,
    /// Environment variable or file.
    pub target: SecretTarget,
    /// Digest of the value; a change of it rolls the pods.
    pub digest: String,
    /// Bytes of the value.
    pub size: usize,
    /// Whether the collector gets it from the escaped copy, since it would expand the value itself.
    pub is_escaped: bool,
}

/// How a Secret's value reaches the collector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretTarget {
    /// As this environment variable.
    Variable(String),
    /// As a file at this absolute path.
    File(String),
}

/// A destination that can be rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct Fragment {
    /// Name of the Destination.
    pub name: String,
    /// Streams that it is in.
    pub selection: Selection,
    /// Pipeline name by signal.
    pub pipelines: BTreeMap<Signal, String>,
    /// Sources of metrics that it takes.
    pub wanted: MetricSources,
    rendered: Rendered,
    delivery: Delivery,
    /// Drops metrics that this destination does not want although another one does.
    metric_filter: Option<Value>,
    /// What is said of a component that the gateway of this release lacks.
    lacking: Option<String>,
}

/// Settings of a component without its queue.
#[must_use]
pub fn without_queue(settings: &Value) -> Value {
    let mut settings = settings.clone();
    if let Some(map) = settings.as_object_mut() {
        map.remove("sending_queue");
        map.remove("retry_on_failure");
    }
    settings
}

/// The first component of a destination that the gateway of this release lacks, with its section, e.g. `exporter pulsar`.
fn not_in_gateway(rendered: &Rendered) -> Option<String> {
    let sections = [
        (ComponentKind::Exporter, &rendered.exporters),
        (ComponentKind::Processor, &rendered.processors),
        (ComponentKind::Connector, &rendered.connectors),
        (ComponentKind::Extension, &rendered.extensions),
    ];
    let ids = sections.into_iter().flat_map(|(kind, section)| section.keys().map(move |id| (kind, id)));
    let mut missing = ids.filter(|(kind, id)| !is_shipped(CollectorRole::ClusterGateway, *kind, id));
    missing.next().map(|(kind, id)| format!("{} {}", kind.section().trim_end_matches('s'), component_type(id)))
}

fn component_type(id: &str) -> &str {
    id.split('/').next().unwrap_or_default()
}

/// A filter for the sources of metrics that a destination does not take although another one may. Sources are told by the
/// scope of the receiver or connector that made the metric; what none of them made comes from applications and their agents.
fn metric_filter(wanted: MetricSources) -> Option<Value> {
    let made_by = |name: &str| {
        let scope = Expression::from(Path::field("instrumentation_scope.name"));
        Condition::Call("IsMatch", vec![scope, name.into()])
    };
    let sources = [
        (wanted.hosts, "/hostmetricsreceiver"),
        (wanted.kubelet, "/kubeletstatsreceiver"),
        (wanted.spans, "spanmetricsconnector"),
        // No setting switches the cluster's metrics off, and the service graph reaches only those that request it; neither is
        // of applications.
        (true, "/k8sclusterreceiver"),
        (true, "^traces_service_graph$"),
    ];
    let mut dropped: Vec<String> =
        sources.iter().filter(|(wanted, _)| !wanted).map(|(_, name)| made_by(name).to_string()).collect();
    if !wanted.agents {
        let any = Condition::Any(sources.iter().map(|(_, name)| made_by(name)).collect());
        dropped.push(Condition::Not(Box::new(any)).to_string());
    }
    (!dropped.is_empty()).then(|| json!({"error_mode": "ignore", "metrics": {"metric": dropped}}))
}

impl Fragment {
    /// Id of the connector that feeds the destination's pipeline of `signal`.
    #[must_use]
    pub fn forward(&self, signal: Signal) -> Option<String> {
        self.pipelines.get(&signal).map(|name| format!("forward/{}/{name}", signal.as_pipeline()))
    }

    /// Every component that it brings, with the settings that the destination itself decides: queues are sized by how many
    /// there are.
    #[must_use]
    pub fn components(&self) -> BTreeMap<String, Value> {
        let rendered = &self.rendered;
        let sections = [&rendered.exporters, &rendered.processors, &rendered.connectors, &rendered.extensions];
        let mut components = BTreeMap::new();
        for (id, settings) in sections.into_iter().flatten() {
            components.insert(id.clone(), without_queue(settings));
        }
        components
    }

    fn filter_id(&self) -> String {
        format!("filter/metric-sources-{}", self.name)
    }

    /// Whether a queue of it is kept on disk.
    #[must_use]
    pub fn is_persistent(&self) -> bool {
        self.delivery.persistent_queue == Some(true)
    }

    /// How many sending queues it brings: one for each exporter and signal.
    #[must_use]
    pub fn queues(&self) -> usize {
        self.rendered.pipelines.values().map(|part| part.exporters.len()).sum()
    }

    /// How many bytes its queues hold together, where one without a size of its own holds `queue_bytes`.
    #[must_use]
    pub fn all_queue_bytes(&self, queue_bytes: i64) -> i64 {
        let one = self.delivery.queue_size_mib.map_or(queue_bytes, |mib| i64::from(mib) * 1024 * 1024);
        one.saturating_mul(i64::try_from(self.queues()).unwrap_or(i64::MAX))
    }

    /// The fragment as a configuration of its own, with queues of `queue_bytes` each.
    #[must_use]
    pub fn to_config(&self, queue_bytes: i64) -> CollectorConfig {
        let mut config = CollectorConfig::default();
        for (id, settings) in &self.rendered.exporters {
            let mut settings = settings.clone();
            if let Some(map) = settings.as_object_mut() {
                delivery::apply(component_type(id), map, &self.delivery, queue_bytes);
            }
            config.add(ComponentKind::Exporter, id.clone(), settings);
        }
        for (id, settings) in &self.rendered.processors {
            config.add(ComponentKind::Processor, id.clone(), settings.clone());
        }
        for (id, settings) in &self.rendered.connectors {
            config.add(ComponentKind::Connector, id.clone(), settings.clone());
        }
        for (id, settings) in &self.rendered.extensions {
            config.add(ComponentKind::Extension, id.clone(), settings.clone());
            config.started_extensions.insert(id.clone());
        }
        if self.is_persistent() {
            config.add(
                ComponentKind::Extension,
                delivery::QUEUE_STORAGE,
                json!({"directory": delivery::QUEUE_DIRECTORY, "create_directory": true, "fsync": false}),
            );
            config.started_extensions.insert(delivery::QUEUE_STORAGE.into());
        }
        if let Some(filter) = &self.metric_filter {
            config.add(ComponentKind::Processor, self.filter_id(), filter.clone());
        }
        for ((signal, name), part) in &self.rendered.pipelines {
            let forward = format!("forward/{}/{name}", signal.as_pipeline());
            config.add(ComponentKind::Connector, forward.clone(), json!({}));
            let mut receivers = part.receivers.clone();
            receivers.push(forward);
            let mut processors = Vec::new();
            if *signal == Signal::Metrics && self.metric_filter.is_some() {
                processors.push(self.filter_id());
            }
            processors.extend_from_slice(&part.processors);
            *config.pipeline(*signal, name.clone()) =
                Pipeline { receivers, processors, exporters: part.exporters.clone() };
        }
        config.remove_unused();
        config
    }

    /// Environment variables that libraries of the collector read by themselves.
    #[must_use]
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.rendered.variables
    }

    fn retry_problem(&self) -> Option<String> {
        let problem = |(id, settings): (&String, &Value)| {
            let mut settings = settings.clone();
            delivery::apply(component_type(id), settings.as_object_mut()?, &self.delivery, 1024 * 1024);
            delivery::retry_problem(&settings)
        };
        self.rendered.exporters.iter().find_map(problem)
    }

    /// Everything that is wrong with the fragment on its own, of which `config` is made, connectors of the root aside.
    fn check(&self, mut config: CollectorConfig) -> Result<(), String> {
        // What feeds the forward connectors comes later; a stand-in makes the fragment a graph of its own.
        config.add(ComponentKind::Receiver, "otlp", json!({}));
        let pipelines: Vec<(Signal, String)> =
            self.pipelines.iter().map(|(signal, name)| (*signal, name.clone())).collect();
        for (signal, name) in pipelines {
            let feeder = Pipeline {
                receivers: vec!["otlp".into()],
                processors: vec![],
                exporters: vec![format!("forward/{}/{name}", signal.as_pipeline())],
            };
            *config.pipeline(signal, format!("check.{name}")) = feeder;
        }
        config.check().first().map_or(Ok(()), |problem| Err(problem.to_string()))?;
        let sections =
            [&self.rendered.exporters, &self.rendered.processors, &self.rendered.connectors, &self.rendered.extensions];
        sections.into_iter().flatten().try_for_each(|(id, settings)| self.check_reach(id, settings))
    }

    /// What a component reads beside its own settings: extensions and files of this destination, and nobody else's. Looked at wherever it
    /// is written, since exporters can be part of exporters.
    fn check_reach(&self, id: &str, settings: &Value) -> Result<(), String> {
        let rendered = &self.rendered;
        let is_own_extension = |name: &str| {
            rendered.extensions.contains_key(name) || (name == delivery::QUEUE_STORAGE && self.is_persistent())
        };
        let is_own_file = |path: &str| rendered.files.iter().any(|file| file.path == path);
        if let Some(key) = odigos_pipeline::reach::divided_key(settings) {
            return Err(format!(
                "{id}: the key {key:?} holds \"::\", at which collectors divide keys; write the settings into each other"
            ));
        }
        let is_place = |key: &str| matches!(key, "path" | "directory");
        let writes = |key: &str| component_type(id) == "file" && is_place(key);
        odigos_pipeline::reach::each(settings, &mut |key, text| match odigos_pipeline::reach::of(key) {
            Some(Reach::Extension) if !is_own_extension(text) => {
                Err(format!("{id}: {key} names {text}, which is no extension of this destination"))
            }
            Some(Reach::File) if !is_own_file(text) => {
                Err(format!("{id}: {key} names {text}, which is no file of this destination's Secret"))
            }
            // Other exporters have directories too, such as a log of what they write.
            _ if is_place(key) && is_inside(text, PRODUCT_DIRECTORIES) => {
                Err(format!("{id}: {text} is inside a directory of the product; choose another one"))
            }
            _ if writes(key) => path_problem(text).map_or(Ok(()), |problem| Err(format!("{id}: {text} {problem}"))),
            _ => Ok(()),
        })
    }
}

/// Directories of a gateway that hold queues and configurations.
const PRODUCT_DIRECTORIES: &[&str] = &[delivery::QUEUE_DIRECTORY, crate::config_files::stored::DIRECTORY];

/// Directories of the system: links in them lead to any file.
const SYSTEM_DIRECTORIES: &[&str] = &["/proc", "/dev", "/sys"];
/// What of them can be written to: the output of the gateway.
const STREAMS: [&str; 2] = ["/dev/stdout", "/dev/stderr"];

/// Why nothing is written to a path. Only the text is known, not what links in the image lead to.
fn path_problem(path: &str) -> Option<&'static str> {
    if is_inside(path, PRODUCT_DIRECTORIES) {
        return Some("is inside a directory of the product; choose another one");
    }
    if is_inside(path, SYSTEM_DIRECTORIES) && !STREAMS.contains(&path) {
        return Some("is inside a directory of the system; choose another one");
    }
    let climbs = path.split('/').any(|part| part == "..");
    climbs.then_some("goes up with `..`, which leads elsewhere behind a link; write the directory itself")
}

/// Whether a path is one of some directories, or below one, however it is written.
fn is_inside(path: &str, directories: &[&str]) -> bool {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    directories.iter().any(|directory| {
        let directory: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
        parts.starts_with(&directory)
    })
}

/// All destinations, sorted into fragments and refusals.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DestinationPlan {
    /// Those that take part, by name.
    pub fragments: Vec<Fragment>,
    /// Condition by name, refused and disabled ones included.
    pub conditions: BTreeMap<String, ConditionDraft>,
    /// Secret keys that the gateway reads.
    pub secrets: Vec<SecretUse>,
    /// Environment variables that libraries of the collector read; there is one of each for the whole pod.
    pub variables: BTreeMap<String, String>,
    /// Those with a component that the gateway of this release lacks, by name, with what is said of it.
    pub lacking: BTreeMap<String, String>,
    /// What people should know.
    pub findings: Vec<Finding>,
}

impl DestinationPlan {
    /// Keeps the destinations that `is_kept` holds for, with what their exporters read; the conditions of the others stay.
    pub fn retain(&mut self, is_kept: impl Fn(&Fragment) -> bool) {
        self.fragments.retain(is_kept);
        let names: BTreeSet<&str> = self.fragments.iter().map(|one| one.name.as_str()).collect();
        self.secrets.retain(|used| names.contains(used.destination.as_str()));
        let variables: BTreeSet<&String> = self.fragments.iter().flat_map(|one| one.variables().keys()).collect();
        self.variables.retain(|name, _| variables.contains(name));
    }

    /// Takes a destination out again and says why.
    pub fn refuse(&mut self, namespace: &str, fragment: &Fragment, message: &str) {
        self.conditions.insert(
            fragment.name.clone(),
            ConditionDraft::no(kind::DESTINATION_CONFIGURED, "ErrConfigDestination", message),
        );
        self.secrets.retain(|used| used.destination != fragment.name);
        self.findings.push(Finding::error(format!("Destination {namespace}/{}", fragment.name), "spec", message));
    }
}

/// Renders every destination on its own.
#[must_use]
pub fn plan(seen: &Observed<'_>) -> DestinationPlan {
    let mut sorted: BTreeMap<&str, &Destination> = BTreeMap::new();
    for destination in &seen.destinations {
        sorted.entry(destination.metadata.name.as_deref().unwrap_or_default()).or_insert(destination);
    }
    let mut result = DestinationPlan::default();
    let mut accounts = Accounts::default();
    for (name, destination) in sorted {
        let object = format!("Destination {}/{name}", seen.namespace);
        let condition = match one(seen, name, destination) {
            Outcome::Disabled => {
                ConditionDraft::no(kind::DESTINATION_CONFIGURED, "Disabled", "spec.disabled is true: nothing is sent.")
            }
            Outcome::Unreachable => {
                let message = "the selector names no stream and no namespace, so nothing reaches this destination; remove the selector for the default stream, or name streams";
                result.findings.push(Finding::warning(object.clone(), "spec.sourceSelector", message));
                ConditionDraft::no(
                    kind::DESTINATION_CONFIGURED,
                    "EmptySelector",
                    format!("spec.sourceSelector: {message}"),
                )
            }
            Outcome::Refused { reason, problems } => {
                let text: Vec<String> = problems.iter().map(|(field, message)| format!("{field}: {message}")).collect();
                for (field, message) in problems {
                    result.findings.push(Finding::error(object.clone(), field, message));
                }
                ConditionDraft::no(kind::DESTINATION_CONFIGURED, reason, text.join("; "))
            }
            Outcome::Rendered { fragment, secrets, mut warnings } => {
                if let Some((variable, owner)) = accounts.conflict(&fragment, &secrets) {
                    let message = format!(
                        "a gateway has one {variable}, and it is that of the Destination {owner}: give both the same Secret, or give one a gateway of its own (collectorGateway.pools)"
                    );
                    if !secret_access::is_older(destination) {
                        result.findings.push(Finding::error(object.clone(), SECRET_FIELD, message.clone()));
                        let text = format!("{SECRET_FIELD}: {message}");
                        let condition = ConditionDraft::no(kind::DESTINATION_CONFIGURED, "CredentialsConflict", text);
                        result.conditions.insert(name.to_owned(), condition);
                        continue;
                    }
                    warnings
                        .push((SECRET_FIELD.to_owned(), format!("{message}; until then this one uses the other's")));
                }
                accounts.add(&fragment, &secrets);
                for (variable, value) in fragment.variables() {
                    result.variables.entry(variable.clone()).or_insert_with(|| value.clone());
                }
                let mut message = String::from("The destination is part of the gateway configuration.");
                for (field, warning) in &warnings {
                    message.push_str(&format!(" Warning: {field}: {warning}."));
                    result.findings.push(Finding::warning(object.clone(), field.clone(), warning.clone()));
                }
                message.push_str(&unowned_note(seen, &fragment));
                message.push_str(span_metrics_note(destination));
                result.secrets.extend(secrets);
                result.lacking.extend(fragment.lacking.clone().map(|message| (name.to_owned(), message)));
                result.fragments.push(*fragment);
                ConditionDraft::yes(kind::DESTINATION_CONFIGURED, "TransformedToOtelcolConfig", message)
            }
        };
        result.conditions.insert(name.to_owned(), condition);
    }
    result
}

/// Sources of metrics that a Destination asks for by name and does not get: it takes no metrics, or the source is off for the cluster.
fn metric_requests_in_vain(
    configuration: &Configuration,
    spec: &DestinationSpec,
    takes_metrics: bool,
) -> Vec<(String, String)> {
    let settings = spec.metrics_settings.clone().unwrap_or_default();
    let requests = [
        ("spanMetricsEnabled", settings.span_metrics_enabled, "spanMetrics"),
        ("hostMetricsEnabled", settings.host_metrics_enabled, "hostMetrics"),
        ("kubeletStatsEnabled", settings.kubelet_stats_enabled, "kubeletStats"),
        ("serviceGraphEnabled", settings.service_graph_enabled, ""),
        ("agentsTelemetryEnabled", settings.agents_telemetry_enabled, ""),
        ("odigosOwnMetricsEnabled", settings.odigos_own_metrics_enabled, ""),
    ];
    let requested = requests.into_iter().filter(|(_, value, _)| *value == Some(true));
    let message = |source: &str| {
        if !takes_metrics {
            return Some(
                "the Destination takes no metrics, so it has no effect; add METRICS to spec.signals".to_owned(),
            );
        }
        let switch = format!("metricsSources.{source}.disabled");
        let is_off = !source.is_empty() && configuration.flag(&switch) == Some(true);
        is_off.then(|| format!("{switch} is true in the configuration, so it has no effect; remove it there"))
    };
    requested.filter_map(|(name, _, source)| Some((format!("spec.metricsSettings.{name}"), message(source)?))).collect()
}

/// What a Destination should know whose backend computes span metrics itself.
fn span_metrics_note(destination: &Destination) -> &'static str {
    if !metric_sources::leaves_span_metrics_to_backend(&destination.spec) {
        return "";
    }
    " It gets no span metrics, since its backend computes them from spans; spec.metricsSettings.spanMetricsEnabled: true sends \
     them too."
}

/// The accounts behind variables that libraries of the collector read: a pod has one of each, so the first Destination by name has it.
#[derive(Debug, Default)]
struct Accounts {
    /// By variable: what it holds, and whose it is. Nothing where a Destination relies on the variable being absent.
    taken: BTreeMap<String, (Option<String>, String)>,
}

impl Accounts {
    /// The variables that the exporters of a Destination read, each with the Secret and key behind it, or nothing where it has none.
    fn wanted(fragment: &Fragment, secrets: &[SecretUse]) -> BTreeMap<String, Option<String>> {
        let rendered = &fragment.rendered;
        let source = |value: &String| {
            let used = secrets.iter().find(|used| match &used.target {
                SecretTarget::Variable(variable) => value.contains(variable.as_str()),
                SecretTarget::File(path) => value == path,
            });
            used.map_or_else(|| value.clone(), |used| format!("{}/{}", used.secret, used.key))
        };
        let mut names = rendered.possible_variables.clone();
        if rendered.exporters.keys().any(|id| component_type(id).starts_with("google")) {
            // Their libraries read the variable although a type has no setting for it.
            names.insert("GOOGLE_APPLICATION_CREDENTIALS".to_owned());
        }
        names.iter().map(|name| (name.clone(), rendered.variables.get(name).map(source))).collect()
    }

    /// A variable that holds another account, and whose it is.
    fn conflict(&self, fragment: &Fragment, secrets: &[SecretUse]) -> Option<(String, String)> {
        Self::wanted(fragment, secrets).into_iter().find_map(|(variable, account)| {
            let (taken, owner) = self.taken.get(&variable)?;
            (*taken != account).then(|| (variable, owner.clone()))
        })
    }

    fn add(&mut self, fragment: &Fragment, secrets: &[SecretUse]) {
        for (variable, account) in Self::wanted(fragment, secrets) {
            self.taken.entry(variable).or_insert_with(|| (account, fragment.name.clone()));
        }
    }
}

/// What a Destination that takes metrics should know of those that belong to no workload.
fn unowned_note(seen: &Observed<'_>, fragment: &Fragment) -> String {
    let wants = fragment.wanted.hosts || fragment.wanted.kubelet;
    if !fragment.pipelines.contains_key(&Signal::Metrics) || !wants {
        return String::new();
    }
    let streams = unowned::streams(seen.configuration);
    if unowned::reaches(&streams, &fragment.selection) {
        return String::new();
    }
    format!(
        " It gets no {}: they go to the data streams {} ({} of the configuration).",
        unowned::WHAT,
        unowned::listed(&streams),
        unowned::PATH,
    )
}

enum Outcome {
    Disabled,
    /// In no stream at all: its pipelines would have nothing to feed them.
    Unreachable,
    Refused {
        reason: &'static str,
        problems: Vec<(String, String)>,
    },
    Rendered {
        fragment: Box<Fragment>,
        secrets: Vec<SecretUse>,
        warnings: Vec<(String, String)>,
    },
}

fn refused(reason: &'static str, field: &str, message: impl Into<String>) -> Outcome {
    Outcome::Refused { reason, problems: vec![(field.to_owned(), message.into())] }
}

fn one(seen: &Observed<'_>, name: &str, destination: &Destination) -> Outcome {
    let spec = &destination.spec;
    if spec.disabled == Some(true) {
        return Outcome::Disabled;
    }
    if let Some(said) = seen.set_aside.get(name) {
        return refused("ExporterStartFailed", "spec", format!("the collector does not run with it: {said}"));
    }
    if let Err(why) = check_component_id(&format!("debug/{name}")) {
        return refused("InvalidSetting", "metadata.name", why);
    }
    let signals: BTreeSet<Signal> = spec.signals.iter().copied().collect();
    let secret_name = spec.secret_ref.as_ref().map(|reference| reference.name.as_str());
    let values = secret_name.and_then(|name| seen.secrets.get(name));
    let is_older = secret_access::is_older(destination);
    let mut warnings: Vec<(String, String)> = Vec::new();
    if let Some(problem) = allowed_types::problem(seen.configuration, &spec.type_) {
        if !is_older {
            return refused("TypeNotAllowed", "spec.type", problem);
        }
        warnings.push((
            "spec.type".to_owned(),
            format!("{problem}; this destination is older and goes on until it is changed"),
        ));
    }
    match secret_name.map(|name| access(destination, name, seen.marks.get(name))) {
        None | Some(Access::Granted) => {}
        Some(Access::Kept(remark)) => warnings.push((SECRET_FIELD.to_owned(), remark)),
        // One that does not exist is reported as missing below.
        Some(Access::Denied(_)) if secret_name.is_some_and(|name| !seen.has_secret(name)) => {}
        Some(Access::Denied(why)) => return refused("SecretNotAllowed", SECRET_FIELD, why),
    }
    let keys: BTreeSet<String> = values.into_iter().flat_map(SecretKeys::keys).cloned().collect();
    let secret = match (secret_name, values) {
        (None, _) => Secret::None,
        (Some(name), None) => Secret::Missing { name },
        (Some(name), Some(_)) => Secret::Keys { name, keys: &keys },
    };
    let instance = Instance { id: name, type_id: &spec.type_, data: &spec.data, signals: &signals, secret };
    let mut rendered = match render::render(&instance) {
        Ok(rendered) => rendered,
        Err(problems) => {
            let problems = admission::destination::with_nearest_type(problems, &spec.type_);
            let reason = problems.first().map_or("ErrConfigDestination", |problem| condition_reason(problem.reason));
            return Outcome::Refused { reason, problems: problems.into_iter().map(|p| (p.field, p.message)).collect() };
        }
    };
    if seen.configuration.clickhouse_json() {
        let clickhouse = rendered.exporters.iter_mut().filter(|(id, _)| component_type(id) == "clickhouse");
        clickhouse.for_each(|(_, settings)| settings["json"] = json!(true));
    }
    // No pipeline of ours carries profiles, so nothing would feed theirs.
    rendered.pipelines.retain(|(signal, _), _| *signal != Signal::Profiles);
    if rendered.pipelines.is_empty() {
        return refused(
            "UnsupportedSignal",
            "spec.signals",
            "profiles are not collected by this release; nothing would be sent",
        );
    }
    let lacking = not_in_gateway(&rendered).map(|missing| {
        format!("the gateway of this release has no {missing}; images.gateway or images.collector must name an image that has it")
    });
    let selection = Selection::of(spec);
    let wanted = MetricSources::of(spec);
    let takes_metrics = rendered.pipelines.keys().any(|(signal, _)| *signal == Signal::Metrics);
    warnings.extend(rendered.warnings.iter().map(|problem| (problem.field.clone(), problem.message.clone())));
    warnings.extend(lacking.clone().map(|message| ("spec.type".to_owned(), message)));
    let delivery = spec.delivery.clone().unwrap_or_default();
    let problems = delivery::problems(&delivery);
    if !problems.is_empty() {
        return Outcome::Refused { reason: "InvalidSetting", problems };
    }
    let exporters: BTreeSet<&str> = rendered.exporters.keys().map(|id| component_type(id)).collect();
    warnings.extend(delivery::without_effect(&delivery, &exporters.into_iter().collect::<Vec<_>>()));
    if takes_metrics && wanted.service_graph && !super::service_graph::is_on(&seen.group.spec) {
        let message = "collectorGateway.serviceGraph.disabled is true in the configuration, so there are no metrics of the service graph; remove it there";
        warnings.push(("spec.metricsSettings.serviceGraphEnabled".to_owned(), message.to_owned()));
    }
    warnings.extend(metric_requests_in_vain(seen.configuration, spec, takes_metrics));
    if selection == Selection::Streams(BTreeSet::new()) {
        let problems = streams::selector_problems(spec);
        return match problems.is_empty() {
            true => Outcome::Unreachable,
            false => Outcome::Refused { reason: "EmptySelector", problems },
        };
    }
    warnings.extend(admission::destination::remarks(spec));
    warnings.extend(admission::destination::credential_remarks(spec, name));
    let unknown = plain_credentials::references(&spec.data).into_iter().filter(|(_, key)| !keys.contains(*key));
    warnings.extend(unknown.map(|(setting, key)| {
        let message = format!("${{{key}}} is sent as it is written: the Destination's Secret has no key {key}");
        (format!("spec.data.{setting}"), message)
    }));
    let variable = |key: &str, target: SecretTarget| SecretUse {
        destination: name.to_owned(),
        secret: secret_name.unwrap_or_default().to_owned(),
        key: key.to_owned(),
        target,
        digest: values.and_then(|values| values.get(key)).map(|value| value.digest.clone()).unwrap_or_default(),
        size: values.and_then(|values| values.get(key)).map(|value| value.size).unwrap_or_default(),
        is_escaped: values.and_then(|values| values.get(key)).is_some_and(|value| value.is_expanded),
    };
    let secrets: Vec<SecretUse> = rendered
        .environment
        .iter()
        .map(|used| variable(&used.key, SecretTarget::Variable(used.variable.clone())))
        .chain(rendered.files.iter().map(|used| variable(&used.key, SecretTarget::File(used.path.clone()))))
        .collect();
    let problems = value_problems(&rendered, values, secret_name.unwrap_or_default());
    if !problems.is_empty() {
        return Outcome::Refused { reason: "InvalidSetting", problems };
    }
    warnings.extend(value_remarks(&rendered, values, secret_name.unwrap_or_default()));
    let pipelines = rendered.pipelines.keys().cloned().collect();
    let metric_filter = if takes_metrics { metric_filter(wanted) } else { None };
    let fragment =
        Fragment { name: name.to_owned(), selection, pipelines, wanted, rendered, delivery, metric_filter, lacking };
    if let Some(problem) = fragment.retry_problem() {
        let states =
            |delivery: &Delivery| delivery.retry_max_elapsed_time.is_some() || delivery.retry_max_interval.is_some();
        let field = if states(&fragment.delivery) { "spec.delivery" } else { "spec.data" };
        return refused("InvalidSetting", field, problem);
    }
    let config = fragment.to_config(1024 * 1024);
    if let Some(problem) = crate::objects::object_size_problem(config.to_yaml().len()) {
        return refused("InvalidSetting", "spec", problem);
    }
    if let Err(problem) = fragment.check(config) {
        return refused(
            "ErrConfigDestination",
            "spec",
            format!("the rendered part of the configuration is broken: {problem}"),
        );
    }
    Outcome::Rendered { fragment: Box::new(fragment), secrets, warnings }
}

/// Field of what is said of keys and values of a Secret.
pub const SECRET_FIELD: &str = "spec.secretRef";

fn of_key(key: &str, secret: &str) -> String {
    format!("key {key} of Secret {secret}")
}

/// Where the values of a destination's Secret are used, by key.
fn usages_by_key(rendered: &Rendered) -> BTreeMap<&str, BTreeSet<Usage>> {
    let mut usages: BTreeMap<&str, BTreeSet<Usage>> = BTreeMap::new();
    for used in &rendered.environment {
        usages.entry(&used.key).or_default().extend(&used.usages);
    }
    for used in &rendered.files {
        usages.entry(&used.key).or_default().insert(used.usage);
    }
    usages
}

/// What people should know about values that work, but perhaps not as meant: each with its field.
#[must_use]
pub fn value_remarks(rendered: &Rendered, values: Option<&SecretKeys>, secret: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (key, usages) in usages_by_key(rendered) {
        let remarks = values.and_then(|values| values.get(key)).map(|value| value.remarks(&usages)).unwrap_or_default();
        let remark = |remark| (SECRET_FIELD.to_owned(), format!("{}: {remark}", of_key(key, secret)));
        found.extend(remarks.into_iter().map(remark));
    }
    found
}

/// Values that no container can get as a variable or that cannot work where they are used, and references that the collector would not
/// expand: each with its field.
#[must_use]
pub fn value_problems(rendered: &Rendered, values: Option<&SecretKeys>, secret: &str) -> Vec<(String, String)> {
    let value = |key: &str| values.and_then(|values| values.get(key));
    let obstacle = |used: &render::SecretVariable| {
        let why = value(&used.key)?.obstacle()?;
        Some((SECRET_FIELD.to_owned(), format!("{}: {why}", of_key(&used.key, secret))))
    };
    let mut problems: Vec<(String, String)> = rendered.environment.iter().filter_map(obstacle).collect();
    for (key, usages) in usages_by_key(rendered) {
        let why = value(key).and_then(|value| usages.iter().find_map(|usage| value.problem(*usage)));
        problems.extend(why.map(|why| (SECRET_FIELD.to_owned(), format!("{}: {why}", of_key(key, secret)))));
    }
    let key = |variable: &str| rendered.environment.iter().find(|used| used.variable == variable).map(|used| &used.key);
    let holds_escaped =
        |variable: &str| key(variable).and_then(|key| value(key)).is_some_and(|value| value.holds_reference);
    let mut texts = Vec::new();
    let sections = [&rendered.exporters, &rendered.processors, &rendered.connectors, &rendered.extensions];
    sections.into_iter().flat_map(BTreeMap::values).for_each(|settings| texts_of(settings, &mut texts));
    for text in texts {
        if let Some(key) = unexpanded_variable(text, holds_escaped).and_then(key) {
            let message = format!(
                "a text refers to {key} behind a ${{…}} that is to be sent as it is; a collector does not expand it there: put the reference first"
            );
            problems.push(("spec.data".to_owned(), message));
        }
    }
    problems
}

/// Every text of settings.
fn texts_of<'a>(settings: &'a Value, texts: &mut Vec<&'a str>) {
    match settings {
        Value::String(text) => texts.push(text),
        Value::Array(list) => list.iter().for_each(|item| texts_of(item, texts)),
        Value::Object(map) => map.values().for_each(|item| texts_of(item, texts)),
        _ => {}
    }
}

/// The condition reason for a catalogue problem; what the reference has no word for keeps its own (spec 1.2).
const fn condition_reason(reason: Reason) -> &'static str {
    match reason {
        Reason::UnknownType => "ErrConfigDestination",
        Reason::InvalidSetting => "InvalidSetting",
        Reason::UnsupportedSignal => "UnsupportedSignal",
        Reason::SecretNotFound | Reason::SecretKeyMissing => "SecretNotFound",
    }
}
