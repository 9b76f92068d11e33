//! Actions: what users want done to telemetry on its way, compiled to stock processors, and evaluated
//! (`spec/actions-and-rules.md` 1–2).
//!
//! Owns where and when each kind runs, and what is wrong with an Action. A compiler and an evaluator stand beside each other for each
//! kind and share what the rules are, never how they are carried out; tests hold them together. Never decides in which pipelines a
//! step stands ([`crate::processors`] does), and never reads an object's status.

mod attributes;
mod db_queries;
pub mod explain;
mod extraction;
pub mod failure;
mod formats;
#[cfg(any(test, feature = "testing"))]
pub mod generate;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod interpreter;
pub mod item;
pub mod kubernetes;
pub mod legacy;
mod limits;
mod masking;
pub mod names;
pub mod otlp_json;
mod pattern;
#[cfg(test)]
mod printed;
pub mod problem;
pub mod report;
pub mod running;
pub(crate) mod scopes;
pub mod shared;
pub mod simulate;
mod span_names;
mod sql;
#[cfg(test)]
mod tests;
pub mod transform;
mod url_paths;
mod url_templates;

use crate::objects::{OBJECT_LIMIT, object_size_problem};
use crate::sampling::scope;
use item::Item;
use odigos_api::action::{Action, ActionSpec};
use odigos_api::scope::SourcesScopes;
use odigos_api::{CollectorRole, Signal};
use odigos_pipeline::ottl::Condition;
use problem::Problem;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use transform::{Group, Settings};

/// What an Action does, by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `addClusterInfo`.
    AddClusterInfo,
    /// `deleteAttribute`.
    DeleteAttribute,
    /// `renameAttribute`.
    RenameAttribute,
    /// `piiMasking`.
    PiiMasking,
    /// `extractAttribute`.
    ExtractAttribute,
    /// `spanRenamer`.
    SpanRenamer,
    /// `urlTemplatization`.
    UrlTemplatization,
    /// `dbQueryTemplatization`.
    DbQueryTemplatization,
    /// `inferDbAttributes`.
    InferDbAttributes,
    /// `k8sAttributes`.
    K8sAttributes,
}

impl Kind {
    /// The kind of an Action; `None` when it holds none, or several.
    #[must_use]
    pub fn of(spec: &ActionSpec) -> Option<Self> {
        match Self::stated(spec).as_slice() {
            [kind] => Some(*kind),
            _ => None,
        }
    }

    /// Every kind that an Action holds; one that can be carried out holds exactly one.
    #[must_use]
    pub fn stated(spec: &ActionSpec) -> Vec<Self> {
        let stated = [
            (spec.add_cluster_info.is_some(), Self::AddClusterInfo),
            (spec.delete_attribute.is_some(), Self::DeleteAttribute),
            (spec.rename_attribute.is_some(), Self::RenameAttribute),
            (spec.pii_masking.is_some(), Self::PiiMasking),
            (spec.extract_attribute.is_some(), Self::ExtractAttribute),
            (spec.span_renamer.is_some(), Self::SpanRenamer),
            (spec.k8s_attributes.is_some(), Self::K8sAttributes),
            (spec.url_templatization.is_some(), Self::UrlTemplatization),
            (spec.db_query_templatization.is_some(), Self::DbQueryTemplatization),
            (spec.infer_db_attributes.is_some(), Self::InferDbAttributes),
        ];
        stated.into_iter().filter(|(is_stated, _)| *is_stated).map(|(_, kind)| kind).collect()
    }

    /// The field of an Action that holds it.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::AddClusterInfo => "addClusterInfo",
            Self::DeleteAttribute => "deleteAttribute",
            Self::RenameAttribute => "renameAttribute",
            Self::PiiMasking => "piiMasking",
            Self::ExtractAttribute => "extractAttribute",
            Self::SpanRenamer => "spanRenamer",
            Self::UrlTemplatization => "urlTemplatization",
            Self::DbQueryTemplatization => "dbQueryTemplatization",
            Self::InferDbAttributes => "inferDbAttributes",
            Self::K8sAttributes => "k8sAttributes",
        }
    }

    /// Its place among processors (section 1.1): lower runs earlier; from 10 on, after sampling.
    #[must_use]
    pub const fn order_hint(self) -> i32 {
        match self {
            Self::DeleteAttribute => -100,
            Self::RenameAttribute => -50,
            Self::PiiMasking
            | Self::SpanRenamer
            | Self::DbQueryTemplatization
            | Self::InferDbAttributes
            | Self::K8sAttributes => 0,
            Self::AddClusterInfo | Self::UrlTemplatization => 1,
            Self::ExtractAttribute => 2,
        }
    }

    /// Whether it can change profiles, which no collector of this release carries: the signal is taken, and changes nothing.
    #[must_use]
    pub const fn takes_profiles(self) -> bool {
        matches!(self, Self::AddClusterInfo | Self::DeleteAttribute | Self::RenameAttribute | Self::K8sAttributes)
    }

    /// The signals that it can change.
    #[must_use]
    pub const fn signals(self) -> &'static [Signal] {
        match self {
            Self::AddClusterInfo | Self::DeleteAttribute | Self::RenameAttribute | Self::K8sAttributes => {
                &[Signal::Traces, Signal::Metrics, Signal::Logs]
            }
            Self::PiiMasking
            | Self::ExtractAttribute
            | Self::SpanRenamer
            | Self::UrlTemplatization
            | Self::DbQueryTemplatization
            | Self::InferDbAttributes => &[Signal::Traces],
        }
    }

    /// What differs where the collector can only come near to what the kind says.
    #[must_use]
    pub const fn approximation(self) -> Option<&'static str> {
        match self {
            Self::DbQueryTemplatization => Some(db_queries::TEMPLATES_DIFFER),
            Self::InferDbAttributes => Some(db_queries::INFERENCE_DIFFERS),
            _ => None,
        }
    }
}

/// A processor that an Action becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Name of the Action.
    pub action: String,
    /// Component id. Users' processors never have two slashes.
    pub id: String,
    /// The collector that runs it.
    pub role: CollectorRole,
    /// Its place among processors.
    pub hint: i32,
    /// Signals that it changes.
    pub signals: Vec<Signal>,
    /// Streams that it is for; `None` means all.
    pub streams: Option<Vec<String>>,
    /// Its settings, which need nothing else: scopes are judged where they stand.
    pub settings: Settings,
    /// Parts of its conditions that look at resources alone, which collectors judge before anything can change those.
    pub scopes: Vec<Condition>,
    /// Scopes outside of which it does nothing; none where it may be for anything.
    pub limits: Option<Vec<SourcesScopes>>,
    /// Whether a statement that fails holds the item back: it must not pass as it is.
    pub propagates: bool,
    /// What its author should know.
    pub notes: Vec<String>,
}

impl Step {
    /// The settings as they stand in a collector's configuration.
    #[must_use]
    pub fn rendered(&self) -> Value {
        let mut settings = scopes::marked(self).rendered();
        if self.propagates && matches!(self.settings, Settings::Transform(_)) {
            settings["error_mode"] = json!("propagate");
        }
        settings
    }

    /// Whether items are dropped, since its Action cannot change them.
    #[must_use]
    pub const fn drops(&self) -> bool {
        matches!(self.settings, Settings::Filter { .. })
    }
}

/// What an Action becomes, and what is wrong with it. One can have both: a mask that cannot be compiled does not take the others away.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compiled {
    /// The processor; none when it is disabled, or nothing of it can be compiled.
    pub step: Option<Step>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

impl Compiled {
    /// Whether it is carried out whole for the signals that its kind can change: signals that it cannot are no reason to hold back those.
    fn is_whole(&self) -> bool {
        self.problems.is_empty() || self.step.is_some() && self.problems.iter().all(|one| one.field == SIGNALS)
    }
}

/// The field of the signals.
const SIGNALS: &str = "spec.signals";

/// Compiles an Action. One that cannot be carried out whole, and whose items are not to pass then, becomes what drops them.
#[must_use]
pub fn compile(action: &Action) -> Compiled {
    let mut compiled = attempt(action);
    if !compiled.is_whole()
        && let Some(dropping) = failure::dropping(action)
    {
        compiled.step = Some(dropping);
    }
    compiled
}

/// Compiles as much of an Action as can be.
fn attempt(action: &Action) -> Compiled {
    let (spec, name) = (&action.spec, action.metadata.name.as_deref().unwrap_or_default());
    let mut problems = Vec::new();
    let Some(kind) = Kind::of(spec) else { return Compiled { step: None, problems: not_one_kind(spec) } };
    check_signals(kind, &spec.signals, &mut problems);
    let signals: Vec<Signal> = kind.signals().iter().copied().filter(|signal| spec.signals.contains(signal)).collect();
    let before = problems.len();
    let (settings, mut notes) = settings(kind, spec, &signals, &mut problems);
    if spec.signals.contains(&Signal::Profiles) && kind.takes_profiles() {
        notes.push("PROFILES are taken and change nothing: no collector of this release carries profiles".to_owned());
    }
    let size = settings.as_ref().map_or(0, |settings| settings.rendered().to_string().len());
    problems.extend(object_size_problem(size).map(|problem| Problem::new("spec", problem)));
    // Rules of the kinds that hold a list of them stand for themselves; half a rename is none.
    let stands_for_itself = matches!(
        kind,
        Kind::DeleteAttribute
            | Kind::PiiMasking
            | Kind::ExtractAttribute
            | Kind::SpanRenamer
            | Kind::UrlTemplatization
            | Kind::K8sAttributes
    );
    let is_usable = problems.len() == before || stands_for_itself && size <= OBJECT_LIMIT;
    let is_on = spec.disabled != Some(true) && !signals.is_empty() && is_usable;
    let step = settings.filter(|_| is_on).map(|settings| Step {
        action: name.to_owned(),
        id: shared::id(spec).map_or_else(|| format!("{}/action/{name}", settings.component_type()), str::to_owned),
        role: shared::role(spec, false),
        hint: kind.order_hint(),
        signals,
        streams: spec.data_streams.clone().filter(|names| !names.is_empty()),
        settings,
        scopes: scopes::conditions(spec),
        limits: failure::limits(spec),
        propagates: failure::drops(spec),
        notes,
    });
    Compiled { step, problems }
}

/// What is said of an Action that holds no kind, or of each that it holds too many.
fn not_one_kind(spec: &ActionSpec) -> Vec<Problem> {
    let stated = Kind::stated(spec);
    let named = |kinds: &[Kind]| kinds.iter().map(|kind| kind.field()).collect::<Vec<_>>().join(" and ");
    let [_, others @ ..] = stated.as_slice() else {
        return vec![Problem::new("spec", "a kind is required, such as deleteAttribute; it holds none")];
    };
    let message =
        format!("an Action holds exactly one kind, and this one holds {}; write one Action for each", named(&stated));
    others.iter().map(|kind| Problem::new(format!("spec.{}", kind.field()), message.clone())).collect()
}

fn check_signals(kind: Kind, signals: &[Signal], problems: &mut Vec<Problem>) {
    let words = |signals: &[Signal]| signals.iter().map(|signal| signal.as_str()).collect::<Vec<_>>().join(", ");
    if signals.is_empty() {
        let message = format!("it names no signal, so it changes nothing; write {}", words(kind.signals()));
        problems.push(Problem::new(SIGNALS, message));
    }
    let is_taken =
        |signal: &Signal| kind.signals().contains(signal) || *signal == Signal::Profiles && kind.takes_profiles();
    let unsupported: Vec<Signal> = signals.iter().copied().filter(|signal| !is_taken(signal)).collect();
    if !unsupported.is_empty() {
        let message =
            format!("{} cannot be changed by this kind; it takes {}", words(&unsupported), words(kind.signals()));
        problems.push(Problem::new(SIGNALS, message));
    }
}

/// The settings of the processor, and what its author should know.
fn settings(
    kind: Kind,
    spec: &ActionSpec,
    signals: &[Signal],
    problems: &mut Vec<Problem>,
) -> (Option<Settings>, Vec<String>) {
    let of_spans =
        |group: Option<Group>| group.map(|group| Settings::Transform(BTreeMap::from([(Signal::Traces, vec![group])])));
    let settings = match kind {
        Kind::AddClusterInfo => spec.add_cluster_info.as_ref().map(|kind| attributes::add(kind, problems)),
        Kind::DeleteAttribute => {
            spec.delete_attribute.as_ref().and_then(|kind| attributes::removal(kind, signals, problems))
        }
        Kind::RenameAttribute => {
            spec.rename_attribute.as_ref().map(|kind| attributes::renaming(kind, signals, problems))
        }
        Kind::PiiMasking => {
            let Some(kind) = &spec.pii_masking else { return (None, Vec::new()) };
            let group = within("piiMasking", kind.scopes.as_ref(), problems)
                .ok()
                .and_then(|condition| masking::group(kind, condition, problems));
            return (of_spans(group), vec![masking::LIMIT.to_owned()]);
        }
        Kind::DbQueryTemplatization => {
            let Some(kind) = &spec.db_query_templatization else { return (None, Vec::new()) };
            of_spans(
                within("dbQueryTemplatization", kind.scopes.as_ref(), problems)
                    .ok()
                    .and_then(|condition| db_queries::templating(kind, condition, problems)),
            )
        }
        Kind::InferDbAttributes => {
            let Some(kind) = &spec.infer_db_attributes else { return (None, Vec::new()) };
            of_spans(within("inferDbAttributes", kind.scopes.as_ref(), problems).ok().map(db_queries::inference))
        }
        Kind::UrlTemplatization => spec.url_templatization.as_ref().and_then(|kind| {
            url_templates::check(kind, problems);
            let groups = url_templates::groups(&[kind]);
            (!groups.is_empty()).then(|| Settings::Transform(BTreeMap::from([(Signal::Traces, groups)])))
        }),
        Kind::ExtractAttribute => {
            of_spans(spec.extract_attribute.as_ref().and_then(|kind| extraction::group(kind, problems)))
        }
        Kind::SpanRenamer => of_spans(spec.span_renamer.as_ref().and_then(|kind| span_names::group(kind, problems))),
        Kind::K8sAttributes => spec.k8s_attributes.as_ref().and_then(|kind| {
            kubernetes::check(kind, problems);
            let extraction = kubernetes::extraction(&[kind]);
            // No part of it can be limited to streams.
            let is_limited = spec.data_streams.as_ref().is_some_and(|names| !names.is_empty());
            if is_limited {
                problems.push(Problem::new("spec.dataStreams", kubernetes::FOR_ALL_STREAMS));
            }
            (!is_limited && !extraction.is_empty()).then_some(Settings::KubernetesAttributes(extraction))
        }),
    };
    (settings, Vec::new())
}

/// The condition of the scopes of a kind; what cannot be read is reported.
fn within(kind: &str, scopes: Option<&SourcesScopes>, problems: &mut Vec<Problem>) -> Result<Option<Condition>, ()> {
    let refused = |(field, message): (String, String)| Problem::new(format!("spec.{kind}.scopes{field}"), message);
    scope::condition(scopes).map_err(|problem| problems.push(refused(problem)))
}

/// What an item is after an Action, by the rules alone: neither stream nor place is looked at.
pub fn evaluate(spec: &ActionSpec, item: &mut Item) {
    let Some(kind) = Kind::of(spec) else { return };
    let signal = item.signal();
    let meant: Vec<Signal> = kind.signals().iter().copied().filter(|signal| spec.signals.contains(signal)).collect();
    if spec.disabled == Some(true) || !meant.contains(&signal) {
        return;
    }
    if let Some(kind) = &spec.add_cluster_info {
        attributes::added(kind, item);
    }
    if let Some(kind) = &spec.delete_attribute {
        attributes::removed(kind, &meant, item);
    }
    if let Some(kind) = &spec.rename_attribute {
        attributes::renamed(kind, item);
    }
    if let Some(kind) = spec.pii_masking.as_ref().filter(|kind| scope::holds(kind.scopes.as_ref(), &item.resource)) {
        masking::masked(kind, item);
    }
    if let Some(kind) = &spec.extract_attribute {
        extraction::extracted(kind, item);
    }
    if let Some(kind) = &spec.url_templatization {
        url_paths::templated(&[kind], item);
    }
    if let Some(kind) =
        spec.db_query_templatization.as_ref().filter(|kind| scope::holds(kind.scopes.as_ref(), &item.resource))
    {
        db_queries::templated(kind, item);
    }
    if spec.infer_db_attributes.as_ref().is_some_and(|kind| scope::holds(kind.scopes.as_ref(), &item.resource)) {
        db_queries::inferred(item);
    }
    if let Some(kind) = &spec.span_renamer {
        span_names::renamed(kind, item);
    }
}
