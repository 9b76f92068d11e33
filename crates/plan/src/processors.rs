//! The Processors of users: which can be rendered, in which order, and what is reported of each.
//!
//! Owns the shapes of `spec/collectors-and-pipelines.md` 4.6 and the names that users cannot have. Never decides in which pipelines
//! they stand, nor which of them a collector does not start with ([`crate::quarantine`]).

mod foreign_types;
mod measured;
pub mod permission;
mod placement;
pub mod routing_attribute;
pub(crate) mod sampled_apart;
mod settings;

pub use permission::Permission;
pub use placement::is_run_by;

use crate::actions::Step;
use crate::actions::scopes::{JUDGE, REMOVE, Scopes};
use crate::covered::missing_stream;
use crate::objects::object_size_problem;
use crate::quarantine::{action_key, processor_key};
use crate::streams;
use odigos_api::collectors_group::StreamClass;
use odigos_api::condition::{ConditionDraft, Status, kind};
use odigos_api::labels::{DEFAULT_STREAM, stream_name_problem};
use odigos_api::processor::Processor;
use odigos_api::scope::SourcesScopes;
use odigos_api::{CollectorRole, Finding, Signal};
use odigos_pipeline::components::is_shipped;
use odigos_pipeline::graph::check_component_id;
use odigos_pipeline::{CollectorConfig, ComponentKind, expansion};
use placement::{Guard, Placement};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Processors with this hint or more are "late" for traces: after span metrics and sampling.
pub const LATE_HINT: i32 = 10;

/// Processors of the product's own. A pipeline takes each name once, so users cannot have them too.
const OWN_PROCESSORS: [&str; 21] = [
    "filter/own-kubelet",
    "filter/unowned",
    "k8s_attributes/connection",
    "resource/default-class",
    "resource/node-name",
    "resource/odiglet-pod-name",
    "resource/odigos-collector-role",
    "resource/odigos-version",
    "resource/of-anybody",
    "resource/pod-name",
    "resource/unowned",
    crate::collector::STRIP_CLASS,
    "tail_sampling/stream",
    "tail_sampling/streams",
    "tail_sampling/what-if",
    "transform/claims",
    "transform/copy-scope-span-metrics",
    "transform/senders",
    "transform/sampling-attributes",
    "transform/tracestate",
    "transform/workload",
];

/// Whether a processor is the product's own, or its own for one stream (`<own>.<stream>`, `<own>/<pipeline>`). Ids with two slashes
/// all are.
pub(crate) fn is_own(id: &str) -> bool {
    if id.matches('/').count() > 1 {
        return true;
    }
    let is_it = |own: &str| id.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/']));
    OWN_PROCESSORS.into_iter().any(is_it)
}

/// Processor types of the stock contrib distribution, in every spelling that release 0.154 or later takes.
pub const STOCK_PROCESSORS: [&str; 38] = [
    "attributes",
    "batch",
    "cardinality_guardian",
    "cumulative_to_delta",
    "cumulativetodelta",
    "delta_to_cumulative",
    "deltatocumulative",
    "deltatorate",
    "drain",
    "filter",
    "geoip",
    "groupbyattrs",
    "groupbytrace",
    "interval",
    "isolationforest",
    "k8s_attributes",
    "k8sattributes",
    "log_dedup",
    "logdedup",
    "logstransform",
    "memory_limiter",
    "metric_start_time",
    "metrics_transform",
    "metricsgeneration",
    "metricstarttime",
    "metricstransform",
    "probabilistic_sampler",
    "redaction",
    "remotetap",
    "resource",
    "resource_detection",
    "resourcedetection",
    "schema",
    "span",
    "sumologic",
    "tail_sampling",
    "transform",
    "unroll",
];

/// A user's processor that can be rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct UsableProcessor {
    /// Component id, `<type>/<name>`.
    pub id: String,
    /// Order hint.
    pub hint: i32,
    /// Signals that it is for.
    pub signals: Vec<Signal>,
    /// Streams that it is for; `None` means all.
    pub streams: Option<Vec<String>>,
    /// Its settings, confined to own variables, with the guard of streams on a node.
    pub settings: Value,
    /// What is reported of its streams that no workload is in.
    missing_streams: Vec<String>,
    /// What its author should know of its settings.
    warnings: Vec<String>,
    /// Why the collector of this release does not start with it; other images may.
    refused: Vec<String>,
    /// No item can be meant, so it is in no pipeline.
    is_idle: bool,
    /// The Action that it comes from.
    action: Option<String>,
    /// What it is for, where that is limited: any of these.
    scopes: Option<Vec<SourcesScopes>>,
}

impl UsableProcessor {
    /// What its author should know of its settings: each is of `spec.processorConfig`.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The scopes outside of which it does nothing; none where it may be for anything.
    #[must_use]
    pub fn scopes(&self) -> Option<&[SourcesScopes]> {
        self.scopes.as_deref()
    }

    /// Whether it is for every item of `signal`, in whichever pipelines it stands.
    #[must_use]
    pub fn is_global(&self, signal: Signal) -> bool {
        self.streams.is_none() && !self.is_idle && self.signals.contains(&signal)
    }

    /// Whether it belongs into the pipeline of `stream` for `signal`.
    #[must_use]
    pub fn is_for_stream(&self, signal: Signal, stream: &str) -> bool {
        self.signals.contains(&signal) && self.streams.as_ref().is_some_and(|names| names.iter().any(|n| n == stream))
    }
}

/// Field of the settings.
const SETTINGS: &str = "spec.processorConfig";

/// Why a Processor cannot be rendered: reason, field, message.
pub(crate) type Refusal = (&'static str, &'static str, String);

/// A processor with which its collector can start, as far as that is known.
fn startable(usable: UsableProcessor, permission: &Permission) -> Result<UsableProcessor, Refusal> {
    match permission.knows_collector() && !usable.refused.is_empty() {
        true => Err(("InvalidConfig", SETTINGS, usable.refused.join("; "))),
        false => Ok(usable),
    }
}

/// A processor as its collector runs it, with what its condition says.
fn placed(
    mut usable: UsableProcessor,
    placement: &Placement,
    classes: &[StreamClass],
) -> Result<(UsableProcessor, String), Refusal> {
    let mut message = String::from("The processor is part of the collector configuration.");
    match placement {
        Placement::Refused => {
            let message = format!(
                "a processor of the type {:?} reads facts of the node, where streams are not apart: remove dataStreams",
                usable.id.split('/').next().unwrap_or_default()
            );
            return Err(("InvalidConfig", "spec.dataStreams", message));
        }
        Placement::Moved(streams) => {
            message = format!(
                "The processor runs in the gateway, in the pipelines of the data streams {}: on nodes it could not tell them apart.",
                streams.join(", ")
            )
        }
        Placement::Guarded(streams) => {
            let guard = Guard::of(streams, classes);
            usable.settings = guard.transform(&usable.settings);
            // All items pass it on the node; its statements choose.
            usable.streams = None;
            usable.is_idle = guard.is_empty;
            if !guard.others.is_empty() {
                let others: Vec<&str> = guard.others.iter().map(String::as_str).collect();
                message.push_str(&format!(
                    " An item is changed once for all of its streams, so {} see its effect too: workloads are in them and in {}. Give it the role CLUSTER_GATEWAY to change each stream apart.",
                    others.join(", "),
                    streams.join(", ")
                ));
            }
        }
        Placement::AsWritten | Placement::Elsewhere => {}
    }
    for warning in usable.warnings() {
        message.push_str(&format!(" Warning: {SETTINGS}: {warning}."));
    }
    Ok((usable, message))
}

/// The items that a Processor or Action is for, in words.
pub(crate) fn items(signals: &[Signal], streams: Option<&[String]>) -> String {
    let signals: Vec<&str> = signals.iter().map(|signal| signal.as_str()).collect();
    let of_streams = match streams {
        Some(names) if !names.is_empty() => format!(" of the data streams {}", names.join(", ")),
        _ => String::new(),
    };
    format!("{}{of_streams}", signals.join(", "))
}

/// What a condition says beside of data streams that no workload is in.
pub(crate) fn notes(missing: &[String]) -> String {
    missing.iter().map(|missing| format!(" Note that {missing}.")).collect()
}

/// What to report of the data streams of a Processor or Action that no workload is in: `classes` hold those that are in use.
pub(crate) fn missing_streams(names: Option<&[String]>, classes: &[StreamClass]) -> Vec<String> {
    let in_use = classes.iter().filter(|class| class.retired_at.is_none()).flat_map(|class| &class.streams);
    let in_use: BTreeSet<String> = in_use.filter(|stream| !streams::is_virtual(stream)).cloned().collect();
    // What no workload sends can be in the default stream as well.
    let named = names.into_iter().flatten().filter(|stream| *stream != DEFAULT_STREAM);
    let missing = named.filter(|stream| !in_use.contains(*stream) && stream_name_problem(stream).is_none());
    missing.map(|stream| missing_stream(stream, &in_use)).collect()
}

/// Whether no workload is in any of the data streams that an object names.
pub(crate) fn is_missing_everywhere(names: Option<&[String]>, missing: &[String]) -> bool {
    !missing.is_empty() && names.is_some_and(|names| names.len() == missing.len())
}

/// What to report where the collector of `role` in this release lacks a processor: another image may have it, so it is rendered.
fn not_in_collector(role: CollectorRole, id: &str) -> Option<String> {
    let (collector, value) = match role {
        CollectorRole::ClusterGateway => ("gateway", "images.gateway"),
        CollectorRole::NodeCollector => ("node collector", "images.nodeCollector"),
    };
    let component_type = id.split('/').next().unwrap_or_default();
    (!is_shipped(role, ComponentKind::Processor, id)).then(|| {
        format!(
            "the {collector} of this release has no processor {component_type}; {value} or images.collector must name an image that has it"
        )
    })
}

/// Escapes what a collector would expand in the texts of settings, own variables aside. Returns the first reference that is now text. The
/// collector does not expand keys.
fn confine(settings: &mut Value) -> Option<String> {
    match settings {
        Value::String(text) => {
            let (confined, refused) = expansion::confine(text);
            let refused = refused.map(str::to_owned);
            *text = confined;
            refused
        }
        Value::Array(list) => list.iter_mut().fold(None, |found, item| found.or(confine(item))),
        Value::Object(map) => map.values_mut().fold(None, |found, item| found.or(confine(item))),
        _ => None,
    }
}

/// The processors of a role and what to report of each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Processors {
    /// In pipeline order: ascending hint, then name.
    pub usable: Vec<UsableProcessor>,
    /// Condition by object name; only objects of this role are listed.
    pub conditions: BTreeMap<String, ConditionDraft>,
    /// Findings for people.
    pub findings: Vec<Finding>,
    /// Scopes of Actions on spans, of both collectors.
    pub scopes: Scopes,
}

impl Processors {
    /// Sorts out which processors of `role` can be rendered; a bad one is reported and left out, on both collectors. `classes` are
    /// those of the main gateways, by which a node tells streams apart; `permission` is what the configuration allows.
    pub fn of_role<'a>(
        role: CollectorRole,
        processors: impl IntoIterator<Item = &'a Processor>,
        set_aside: &BTreeMap<String, String>,
        classes: &[StreamClass],
        permission: &Permission,
    ) -> Self {
        let suffix = match role {
            CollectorRole::ClusterGateway => "ClusterGateway",
            CollectorRole::NodeCollector => "NodeCollector",
        };
        let mut result = Self::default();
        for processor in processors {
            let spec = &processor.spec;
            let placement = Placement::of(role, spec);
            if placement == Placement::Elsewhere {
                continue;
            }
            let name = processor.metadata.name.clone().unwrap_or_default();
            let namespace = processor.metadata.namespace.as_deref().unwrap_or_default();
            let object = || format!("Processor {namespace}/{name}");
            let condition = if spec.disabled == Some(true) {
                ConditionDraft::no(
                    kind::ADDED_TO_COLLECTOR,
                    format!("ConfigRemovedDisabled_{suffix}"),
                    "The processor is disabled.",
                )
            } else if let Some(said) = set_aside.get(&processor_key(role, &name)) {
                let message = format!("the collector does not run with it: {said}");
                ConditionDraft::no(kind::ADDED_TO_COLLECTOR, "ProcessorStartFailed", message)
            } else {
                let permitted = permission.check(spec);
                let usable =
                    permitted.and_then(|()| usable(processor)).and_then(|usable| startable(usable, permission));
                match usable.and_then(|usable| placed(usable, &placement, classes)) {
                    Ok((mut usable, mut message)) => {
                        usable.missing_streams = missing_streams(spec.data_streams.as_deref(), classes);
                        for missing in &usable.missing_streams {
                            message = format!("{message} But {missing}.");
                            result.findings.push(Finding::warning(object(), "spec.dataStreams", missing.clone()));
                        }
                        if let Some(missing) = not_in_collector(role, &usable.id) {
                            message = format!("{message} But {missing}.");
                            result.findings.push(Finding::warning(object(), "spec.type", missing));
                        }
                        let warning = |text: &String| Finding::warning(object(), SETTINGS, text.clone());
                        // Where it runs in both collectors, the gateway reports what both would.
                        if role == CollectorRole::ClusterGateway
                            || !spec.collector_roles.contains(&CollectorRole::ClusterGateway)
                        {
                            result.findings.extend(usable.warnings().iter().map(warning));
                        }
                        result.usable.push(usable);
                        ConditionDraft::yes(kind::ADDED_TO_COLLECTOR, format!("ConfigUpdated_{suffix}"), message)
                    }
                    Err((reason, field, message)) => {
                        result.findings.push(Finding::error(object(), field, message.clone()));
                        ConditionDraft::no(kind::ADDED_TO_COLLECTOR, reason, message)
                    }
                }
            };
            result.conditions.insert(name, condition);
        }
        result.sort();
        result
    }

    /// Adds the processors that Actions become, in the same order: ascending hint, what is for all streams first, then name of the object.
    pub fn add_steps<'a>(&mut self, role: CollectorRole, steps: impl IntoIterator<Item = &'a Step>) {
        let of_role = steps.into_iter().filter(|step| step.role == role);
        self.usable.extend(of_role.map(|step| UsableProcessor {
            id: step.id.clone(),
            hint: step.hint,
            signals: step.signals.clone(),
            streams: step.streams.clone(),
            settings: step.rendered(),
            warnings: Vec::new(),
            refused: Vec::new(),
            is_idle: false,
            missing_streams: Vec::new(),
            action: Some(step.action.clone()),
            scopes: step.limits.clone(),
        }));
        self.sort();
    }

    /// What stands in front of all that users have in a pipeline of `signal`.
    pub(crate) fn first(&self, signal: Signal) -> Option<String> {
        (signal == Signal::Traces && !self.scopes.is_empty()).then(|| JUDGE.to_owned())
    }

    /// What stands behind all that users have, where items of `signal` leave the last collector.
    pub(crate) fn last(&self, signal: Signal) -> Option<String> {
        (signal == Signal::Traces && !self.scopes.is_empty()).then(|| REMOVE.to_owned())
    }

    fn sort(&mut self) {
        let name = |one: &UsableProcessor| one.id.rsplit_once('/').map(|(_, name)| name.to_owned());
        self.usable.sort_by_key(|one| (one.hint, one.streams.is_some(), name(one), one.id.clone()));
    }

    /// The processors that stand in the pipelines of `streams`, and not in that which every item passes before it is routed.
    #[must_use]
    pub fn placed_by_stream(&self, signal: Signal, streams: &BTreeSet<String>) -> ByStream<'_> {
        let own = self.usable.iter().filter(|one| streams.iter().any(|stream| one.is_for_stream(signal, stream)));
        ByStream { usable: &self.usable, signal, lowest: own.map(|one| one.hint).min() }
    }

    /// Reports the processors that no pipeline of `config` names: no item reaches them. Of one for both collectors, which may be in the
    /// other one's pipelines, the condition stays and says so.
    pub fn report_unreached<'a>(
        &mut self,
        role: CollectorRole,
        config: &CollectorConfig,
        processors: impl IntoIterator<Item = &'a Processor>,
    ) {
        let is_reached = |id: &String| config.pipelines.values().any(|pipeline| pipeline.processors.contains(id));
        let collector = match role {
            CollectorRole::ClusterGateway => "gateway",
            CollectorRole::NodeCollector => "node collector",
        };
        for processor in processors {
            let name = processor.metadata.name.clone().unwrap_or_default();
            let id = format!("{}/{name}", processor.spec.type_);
            let Some(usable) = self.usable.iter().find(|one| one.id == id).filter(|_| !is_reached(&id)) else {
                continue;
            };
            let missing = notes(&usable.missing_streams);
            let wanted = items(&processor.spec.signals, processor.spec.data_streams.as_deref());
            let namespace = processor.metadata.namespace.as_deref().unwrap_or_default();
            let object = format!("Processor {namespace}/{name}");
            let lacking = format!("the {collector} has no pipeline for {wanted} now");
            let roles = &processor.spec.collector_roles;
            if roles.contains(&role) && roles.iter().any(|other| *other != role) {
                // The other collector may run it, and both share one condition.
                if let Some(draft) = self.conditions.get_mut(&name) {
                    draft.message.push_str(&format!(" But {lacking}."));
                }
                let message = format!("{lacking}, so it does not run there; it is added as soon as there is one");
                self.findings.push(Finding::warning(object, "spec.signals", message));
                continue;
            }
            // Where every one of its streams is missing, that is the reason, and it is reported.
            if !is_missing_everywhere(processor.spec.data_streams.as_deref(), &usable.missing_streams) {
                self.findings.push(Finding::warning(
                    object,
                    "spec.signals",
                    format!("it is in no pipeline: {lacking}"),
                ));
            }
            let message = format!(
                "The processor is in no pipeline: the {collector} has none for {wanted} now. It is added as soon as there is one.{missing}"
            );
            self.conditions.insert(name, ConditionDraft::no(kind::ADDED_TO_COLLECTOR, "NotInPipeline", message));
        }
    }

    /// Says more of a Processor that can be rendered: in its condition, and to people.
    pub fn add_note(&mut self, processor: &Processor, note: &str, is_meant: impl Fn(&str) -> bool) {
        let name = processor.metadata.name.clone().unwrap_or_default();
        let id = format!("{}/{name}", processor.spec.type_);
        if !is_meant(&id) || !self.usable.iter().any(|one| one.id == id) {
            return;
        }
        if let Some(draft) = self.conditions.get_mut(&name) {
            draft.message.push_str(&format!(" {note}."));
        }
        let namespace = processor.metadata.namespace.as_deref().unwrap_or_default();
        self.findings.push(Finding::warning(format!("Processor {namespace}/{name}"), "spec.dataStreams", note));
    }

    /// The settings of each component, with the Processor's name among what can be set aside.
    #[must_use]
    pub fn components(&self, role: CollectorRole) -> BTreeMap<String, (String, Value)> {
        let name = |id: &str| id.split_once('/').map(|(_, name)| name.to_owned()).unwrap_or_default();
        let key = |one: &UsableProcessor| match &one.action {
            Some(action) => action_key(action),
            None => processor_key(role, &name(&one.id)),
        };
        // What drops the items of an Action that a collector refused is not that Action, and can never be what it refuses.
        let dropping = |one: &&UsableProcessor| one.action.is_none() || !one.id.starts_with("filter/");
        self.usable.iter().filter(dropping).map(|one| (one.id.clone(), (key(one), one.settings.clone()))).collect()
    }

    /// Adds the components that the pipelines named.
    pub fn add_to(&self, config: &mut CollectorConfig) {
        if !self.scopes.is_empty() {
            config.add(ComponentKind::Processor, JUDGE, self.scopes.judging());
            config.add(ComponentKind::Processor, REMOVE, Scopes::removing());
        }
        for processor in &self.usable {
            config.add(ComponentKind::Processor, processor.id.clone(), processor.settings.clone());
        }
    }
}

/// Where gateway processors of one signal stand: hints ascend over what is for all streams and what is for one. So what is for all, and
/// comes after the first that a stream has of its own, is lowered into the pipelines of all streams (`spec/actions-and-rules.md` 5).
#[derive(Clone, Copy, Debug)]
pub struct ByStream<'a> {
    usable: &'a [UsableProcessor],
    signal: Signal,
    /// The lowest hint of what streams have of their own.
    lowest: Option<i32>,
}

impl<'a> ByStream<'a> {
    fn is_lowered(&self, one: &UsableProcessor) -> bool {
        one.is_global(self.signal) && self.lowest.is_some_and(|lowest| one.hint > lowest)
    }

    /// What every item passes before it is routed, in order.
    pub fn before_router(self) -> impl Iterator<Item = &'a UsableProcessor> {
        self.usable.iter().filter(move |one| one.is_global(self.signal) && !self.is_lowered(one))
    }

    /// What the pipeline of a stream has, in order: its own, and what is lowered; `lowers` picks more of what is for all streams.
    pub fn of_stream(
        self,
        stream: &'a str,
        lowers: impl Fn(&UsableProcessor) -> bool + 'a,
    ) -> impl Iterator<Item = &'a UsableProcessor> {
        self.usable.iter().filter(move |one| {
            let is_lowered = self.is_lowered(one) || one.is_global(self.signal) && lowers(one);
            one.is_for_stream(self.signal, stream) || is_lowered
        })
    }
}

/// A Processor with settings that a collector can be given.
pub(crate) fn usable(processor: &Processor) -> Result<UsableProcessor, Refusal> {
    let spec = &processor.spec;
    let component_type = spec.type_.as_str();
    if !STOCK_PROCESSORS.contains(&component_type) {
        let hint = foreign_types::hint(component_type);
        return Err((
            "UnsupportedType",
            "spec.type",
            format!("the stock collector has no processor of the type {component_type:?}{hint}"),
        ));
    }
    if spec.collector_roles.is_empty() {
        let message = "it names no collector, so it runs nowhere; write CLUSTER_GATEWAY or NODE_COLLECTOR";
        return Err(("InvalidConfig", "spec.collectorRoles", message.into()));
    }
    if spec.signals.is_empty() {
        let message = "it names no signal, so no item passes it; write TRACES, METRICS or LOGS";
        return Err(("InvalidConfig", "spec.signals", message.into()));
    }
    let name = processor.metadata.name.as_deref().unwrap_or_default();
    let id = format!("{component_type}/{name}");
    if is_own(&id) {
        let message = format!("{id} is a component of the product itself; give the Processor another name");
        return Err(("InvalidConfig", "metadata.name", message));
    }
    check_component_id(&id).map_err(|why| ("InvalidConfig", "metadata.name", why))?;
    let mut settings = match serde_json::to_value(&spec.processor_config) {
        Ok(settings @ Value::Object(_)) => settings,
        Ok(Value::Null) => json!({}),
        _ => return Err(("InvalidConfig", "spec.processorConfig", "the settings must be an object".into())),
    };
    if let Some(problem) = object_size_problem(settings.to_string().len()) {
        return Err(("InvalidConfig", "spec.processorConfig", problem));
    }
    let refused = settings::problems(component_type, &settings);
    let mut warnings = refused.clone();
    if let Some(reference) = confine(&mut settings) {
        let variables = expansion::OWN_VARIABLES.join(", ");
        warnings.push(format!(
            "{reference} is used as it is written; only {variables} are replaced, as in ${{env:NODE_NAME}}"
        ));
    }
    Ok(UsableProcessor {
        id,
        hint: spec.order_hint.unwrap_or_default(),
        signals: spec.signals.clone(),
        streams: spec.data_streams.clone().filter(|names| !names.is_empty()),
        missing_streams: Vec::new(),
        warnings,
        refused,
        settings,
        is_idle: false,
        action: None,
        scopes: None,
    })
}

/// Whether a collector tells `draft` of a Processor. Where it runs in both collectors, they share one condition: what one of them
/// refuses counts more than that the other takes it (`refused_elsewhere`), and where both come to the same in words of their own,
/// who came first tells it.
#[must_use]
pub fn is_told(processor: &Processor, draft: &ConditionDraft, refused_elsewhere: bool) -> bool {
    if processor.spec.collector_roles.len() < 2 {
        return true;
    }
    let mut told = processor.status.iter().flat_map(|status| &status.conditions).filter(|one| one.type_ == draft.kind);
    let is_said = told.any(|one| {
        one.status == draft.status.as_str()
            && one.observed_generation == processor.metadata.generation
            && one.reason != draft.reason
    });
    !is_said && (!refused_elsewhere || draft.status != Status::True)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;

    fn of_both(told: &Value) -> Processor {
        serde_json::from_value(json!({
            "apiVersion": "odigos.io/v1alpha1", "kind": "Processor", "metadata": {"name": "p", "generation": 3},
            "spec": {"type": "batch", "processorConfig": {}, "signals": ["TRACES"], "collectorRoles": ["CLUSTER_GATEWAY", "NODE_COLLECTOR"]},
            "status": {"conditions": told},
        }))
        .unwrap()
    }

    fn drafts(processor: &Processor, set_aside: &[(&str, &str)]) -> Vec<ConditionDraft> {
        let set_aside = set_aside.iter().map(|(key, said)| ((*key).to_owned(), (*said).to_owned())).collect();
        let roles = [CollectorRole::ClusterGateway, CollectorRole::NodeCollector];
        let of = |role| {
            Processors::of_role(role, [processor], &set_aside, &[], &Permission::default())
                .conditions
                .remove("p")
                .unwrap()
        };
        roles.map(of).into()
    }

    /// Row 50, and what the collector of this release certainly refuses (row 49).
    #[test]
    fn processor_that_cannot_start_is_left_out() {
        let of = |type_: &str, config: Value, permission: &Permission| {
            let mut processor = of_both(&json!([]));
            processor.spec.type_ = type_.to_owned();
            processor.spec.processor_config = serde_json::from_value(config).unwrap();
            let role = CollectorRole::ClusterGateway;
            let mut found = Processors::of_role(role, [&processor], &BTreeMap::new(), &[], permission);
            (found.usable.len(), found.conditions.remove("p").unwrap())
        };
        let known = Permission::default().for_collector(true);
        for (type_, kind) in [("odigosextractattribute", "extractAttribute"), ("odigospiimasking", "piiMasking")] {
            let (count, condition) = of(type_, json!({}), &known);
            assert_eq!((count, condition.reason.as_str()), (0, "UnsupportedType"));
            assert!(condition.message.contains(&format!("use an Action with {kind} instead")), "{condition:?}");
        }
        for statement in ["sett(name, 1", "sett(span.name, \"a\")"] {
            let config = || json!({"trace_statements": [statement]});
            let (count, condition) = of("transform", config(), &known);
            assert_eq!((count, condition.reason.as_str()), (0, "InvalidConfig"), "{condition:?}");
            let (count, condition) = of("transform", config(), &Permission::default());
            assert!(
                count == 1 && condition.message.contains("does not start with it"),
                "another image may: {condition:?}"
            );
        }
    }

    #[test]
    fn processor_that_the_collector_of_its_role_lacks_is_reported() {
        let permission = Permission::of(
            &crate::configuration::Configuration::parse("processors: {additionalTypes: [geoip]}").unwrap(),
        );
        let of = |component_type: &str, role: &str| {
            let processor: Processor = serde_json::from_value(json!({
                "apiVersion": "odigos.io/v1alpha1", "kind": "Processor", "metadata": {"name": "p", "namespace": "odigos-system"},
                "spec": {"type": component_type, "processorConfig": {"allow_all_keys": true}, "signals": ["TRACES"], "collectorRoles": [role]},
            }))
            .unwrap();
            let role = processor.spec.collector_roles[0];
            let mut found = Processors::of_role(role, [&processor], &BTreeMap::new(), &[], &permission);
            assert_eq!(found.usable.len(), 1, "another image may have it");
            (found.conditions.remove("p").unwrap().message, found.findings.len())
        };
        let (message, findings) = of("geoip", "NODE_COLLECTOR");
        assert!(
            message.contains("the node collector of this release has no processor geoip; images.nodeCollector"),
            "{message}"
        );
        assert_eq!(findings, 1);
        assert!(of("geoip", "CLUSTER_GATEWAY").0.contains("the gateway of this release has no processor geoip"));
        assert_eq!(of("redaction", "NODE_COLLECTOR").1, 0);
    }

    #[test]
    fn processor_without_signal_or_collector_is_reported_once() {
        let with = |signals: Value, roles: Value| -> Processor {
            serde_json::from_value(json!({
                "apiVersion": "odigos.io/v1alpha1", "kind": "Processor", "metadata": {"name": "p", "namespace": "odigos-system"},
                "spec": {"type": "resource", "processorConfig": {}, "signals": signals, "collectorRoles": roles},
            }))
            .unwrap()
        };
        for (signals, roles, field) in [
            (json!([]), json!(["CLUSTER_GATEWAY"]), "spec.signals"),
            (json!([]), json!(["NODE_COLLECTOR"]), "spec.signals"),
            (json!(["TRACES"]), json!([]), "spec.collectorRoles"),
        ] {
            let processor = with(signals, roles);
            let all = [CollectorRole::ClusterGateway, CollectorRole::NodeCollector]
                .map(|role| Processors::of_role(role, [&processor], &BTreeMap::new(), &[], &Permission::default()));
            let findings: Vec<&Finding> = all.iter().flat_map(|one| &one.findings).collect();
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert_eq!(findings[0].field, field);
            let conditions: Vec<&ConditionDraft> = all.iter().flat_map(|one| one.conditions.values()).collect();
            assert_eq!(conditions.len(), 1, "{conditions:?}");
            assert!(conditions[0].reason == "InvalidConfig" && all.iter().all(|one| one.usable.is_empty()));
        }
    }

    #[test]
    fn settings_that_a_collector_refuses_are_findings() {
        let processor: Processor = serde_json::from_value(json!({
            "apiVersion": "odigos.io/v1alpha1", "kind": "Processor", "metadata": {"name": "p", "namespace": "odigos-system"},
            "spec": {
                "type": "transform", "signals": ["TRACES"], "collectorRoles": ["CLUSTER_GATEWAY", "NODE_COLLECTOR"],
                "processorConfig": {"trace_statements": ["set(span.name, Foo())", "bar(span.name, \"${file:/x}\")"]},
            },
        }))
        .unwrap();
        let of = |role| Processors::of_role(role, [&processor], &BTreeMap::new(), &[], &Permission::default());
        let gateway = of(CollectorRole::ClusterGateway);
        let said: Vec<&str> = gateway.findings.iter().map(|one| one.message.as_str()).collect();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(
            said[0].contains("no function Foo")
                && said[1].contains("no function bar")
                && said[2].contains("as it is written")
        );
        assert!(gateway.findings.iter().all(|one| one.field == "spec.processorConfig"));
        let condition = &gateway.conditions["p"];
        assert!(
            condition.status == Status::True
                && condition.message.contains("Warning: spec.processorConfig: trace_statements[0]")
        );
        // Another image may know them, so it is rendered; and one object is reported once.
        assert_eq!((gateway.usable.len(), of(CollectorRole::NodeCollector).findings.len()), (1, 0));
    }

    #[test]
    fn processor_that_no_pipeline_names_is_a_finding() {
        let with = |roles: &[&str]| -> Processor {
            serde_json::from_value(json!({
                "apiVersion": "odigos.io/v1alpha1", "kind": "Processor", "metadata": {"name": "p", "namespace": "odigos-system"},
                "spec": {"type": "batch", "processorConfig": {}, "signals": ["LOGS"], "collectorRoles": roles},
            }))
            .unwrap()
        };
        let role = CollectorRole::ClusterGateway;
        for (roles, reason) in [
            (&["CLUSTER_GATEWAY"][..], "NotInPipeline"),
            (&["CLUSTER_GATEWAY", "CLUSTER_GATEWAY"], "NotInPipeline"),
            (&["CLUSTER_GATEWAY", "NODE_COLLECTOR"], "ConfigUpdated_ClusterGateway"),
        ] {
            let processor = with(roles);
            let mut all = Processors::of_role(role, [&processor], &BTreeMap::new(), &[], &Permission::default());
            all.report_unreached(role, &CollectorConfig::default(), [&processor]);
            assert_eq!(all.conditions["p"].reason, reason, "{roles:?}");
            assert!(all.conditions["p"].message.contains("LOGS"), "{:?}", all.conditions);
            assert_eq!(all.findings.len(), 1, "{:?}", all.findings);
            assert!(all.findings[0].message.contains("has no pipeline for LOGS"), "{:?}", all.findings);
        }
    }

    #[test]
    fn two_collectors_tell_one_thing() {
        let condition = |status: &str, reason: &str, generation: i64| {
            json!([{"type": kind::ADDED_TO_COLLECTOR, "status": status, "reason": reason, "message": "",
                "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z"}])
        };
        let said = |reason: &str, generation: i64| condition("True", reason, generation);
        let told = |processor: &Processor, refused: bool| -> Vec<bool> {
            drafts(processor, &[]).iter().map(|draft| is_told(processor, draft, refused)).collect()
        };
        assert_eq!(told(&of_both(&json!([])), false), [true, true], "whoever comes first");
        assert_eq!(told(&of_both(&said("ConfigUpdated_ClusterGateway", 3)), false), [true, false]);
        assert_eq!(told(&of_both(&said("ConfigUpdated_NodeCollector", 3)), false), [false, true]);
        assert_eq!(told(&of_both(&said("ConfigUpdated_NodeCollector", 2)), false), [true, true], "of an older form");
        let processor = of_both(&json!([]));
        assert_eq!(told(&processor, true), [false, false], "it is refused by the other one");
        let refused = drafts(&processor, &[("node_processor_p", "no such key")]);
        let spoken: Vec<bool> = refused.iter().map(|draft| is_told(&processor, draft, false)).collect();
        assert_eq!((refused[1].reason.as_str(), spoken), ("ProcessorStartFailed", vec![true, true]));
        let mut disabled = of_both(&condition("False", "ConfigRemovedDisabled_NodeCollector", 3));
        disabled.spec.disabled = Some(true);
        assert_eq!(told(&disabled, false), [false, true], "that it is disabled is reported once, too");
    }
}
