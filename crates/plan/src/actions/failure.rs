//! What becomes of the items of an Action that cannot be carried out whole (`failurePolicy`).
//!
//! Owns which items these are, and the processor that drops them. With `ignore`, the default, they pass as they are; with `drop` none
//! is exported that the Action should have changed, so that masking never fails open. Never judges whether an Action can be carried out.

use super::item::Item;
use super::transform::Settings;
use super::{Kind, Step, compile, scopes, span_names};
use crate::sampling::scope;
use odigos_api::action::{Action, ActionSpec, FailurePolicy};
use odigos_api::action_kinds::{SpanRenamer, UrlTemplatization};
use odigos_api::scope::SourcesScopes;
use odigos_api::{CollectorRole, Signal};
use odigos_pipeline::ottl::Condition;

/// The policy of an Action, as it is written.
#[must_use]
pub const fn word(spec: &ActionSpec) -> &'static str {
    if drops(spec) { "drop" } else { "ignore" }
}

/// Whether items that it cannot change are not to pass.
#[must_use]
pub const fn drops(spec: &ActionSpec) -> bool {
    matches!(spec.failure_policy, Some(FailurePolicy::Drop))
}

/// Signals of an Action that collectors have pipelines for.
fn signals(spec: &ActionSpec) -> Vec<Signal> {
    Signal::PIPELINES.into_iter().filter(|signal| spec.signals.contains(signal)).collect()
}

/// What an Action is for.
enum Meant<'a> {
    /// Whatever passes.
    Anything,
    /// Any of these scopes.
    Scopes(Vec<&'a SourcesScopes>),
    /// Spans of one library.
    Library(&'a SpanRenamer),
    /// Whatever the language of a library sends: other items than spans have none that is told by its name.
    Language(&'a SpanRenamer),
}

impl<'a> Meant<'a> {
    /// What is not known may be for anything: several kinds, none, or a scope that cannot be read.
    fn by(spec: &'a ActionSpec) -> Self {
        let whole = |scopes: Option<&'a SourcesScopes>| scopes.map_or(Self::Anything, |one| Self::Scopes(vec![one]));
        let meant = match Kind::of(spec) {
            Some(Kind::PiiMasking) => whole(spec.pii_masking.as_ref().and_then(|kind| kind.scopes.as_ref())),
            Some(Kind::DbQueryTemplatization) => {
                whole(spec.db_query_templatization.as_ref().and_then(|kind| kind.scopes.as_ref()))
            }
            Some(Kind::InferDbAttributes) => {
                whole(spec.infer_db_attributes.as_ref().and_then(|kind| kind.scopes.as_ref()))
            }
            Some(Kind::UrlTemplatization) => spec.url_templatization.as_ref().map_or(Self::Anything, of_rules),
            Some(Kind::SpanRenamer) => spec
                .span_renamer
                .as_ref()
                .filter(|kind| !kind.programming_language.is_empty() && !kind.scope_name.is_empty())
                .map_or(Self::Anything, |kind| match signals(spec) == [Signal::Traces] {
                    true => Self::Library(kind),
                    false => Self::Language(kind),
                }),
            _ => Self::Anything,
        };
        match meant {
            Self::Scopes(all) if all.iter().any(|one| !matches!(scope::condition(Some(one)), Ok(Some(_)))) => {
                Self::Anything
            }
            meant => meant,
        }
    }

    /// As a condition of a collector; none for anything.
    fn condition(&self) -> Option<Condition> {
        match self {
            Self::Anything => None,
            Self::Scopes(all) => {
                let mut any: Vec<Condition> =
                    all.iter().filter_map(|one| scope::condition(Some(one)).ok().flatten()).collect();
                any.dedup();
                Some(if any.len() == 1 { any.remove(0) } else { Condition::Any(any) })
            }
            Self::Library(kind) => Some(span_names::of_library(kind)),
            Self::Language(kind) => Some(span_names::language(kind)),
        }
    }

    fn includes(&self, item: &Item) -> bool {
        match self {
            Self::Anything => true,
            Self::Scopes(all) => all.iter().any(|one| scope::holds(Some(one), &item.resource)),
            Self::Library(kind) => span_names::is_of_library(kind, item),
            Self::Language(kind) => span_names::is_of_language(kind, item),
        }
    }
}

/// What the rules of templates are for, all together; anything, where one of them has no scope.
fn of_rules(kind: &UrlTemplatization) -> Meant<'_> {
    let rules = kind.rules.iter().map(|one| one.scopes.as_ref());
    let default = kind.default.iter().map(|one| one.scopes.as_ref());
    match rules.chain(default).collect::<Option<Vec<_>>>() {
        Some(all) if !all.is_empty() => Meant::Scopes(all),
        _ => Meant::Anything,
    }
}

/// The scopes outside of which an Action is for nothing; none where it may be for anything, or for what no scope says.
#[must_use]
pub(super) fn limits(spec: &ActionSpec) -> Option<Vec<SourcesScopes>> {
    match Meant::by(spec) {
        Meant::Scopes(all) => Some(all.into_iter().cloned().collect()),
        Meant::Anything | Meant::Library(_) | Meant::Language(_) => None,
    }
}

/// The processor that stands in the place of an Action and drops what it is for; none where its items may pass, or it is for none.
#[must_use]
pub fn dropping(action: &Action) -> Option<Step> {
    let (spec, name) = (&action.spec, action.metadata.name.as_deref().unwrap_or_default());
    let signals = signals(spec);
    if !drops(spec) || spec.disabled == Some(true) || signals.is_empty() {
        return None;
    }
    let condition = Meant::by(spec).condition();
    Some(Step {
        action: name.to_owned(),
        id: format!("filter/action/{name}"),
        role: CollectorRole::ClusterGateway,
        hint: Kind::of(spec).map_or(0, Kind::order_hint),
        settings: Settings::Filter { signals: signals.clone(), condition },
        scopes: scopes::conditions(spec),
        limits: limits(spec),
        propagates: true,
        signals,
        streams: spec.data_streams.clone().filter(|names| !names.is_empty()),
        notes: Vec::new(),
    })
}

/// Whether an item is of what an Action is for, by the rules alone.
#[must_use]
pub fn is_meant(spec: &ActionSpec, item: &Item) -> bool {
    signals(spec).contains(&item.signal()) && Meant::by(spec).includes(item)
}

/// Whether an item is dropped in the place of being changed, by the rules alone.
#[must_use]
pub fn is_dropped(spec: &ActionSpec, item: &Item) -> bool {
    drops(spec)
        && is_meant(spec, item)
        && compile(&Action::new("", spec.clone())).step.as_ref().is_some_and(Step::drops)
}
