//! What becomes of the items of an Action that cannot be carried out whole (`failurePolicy`).
//!
//! Owns which items these are, and the processor that drops them. With `ignore`, the default, they pass as they are; with `drop` none
//! is exported that the Action should have changed, so that masking never fails open. Never judges whether an Action can be carried out.

use super::item::Item;
use super::transform::Settings;
use super::{Kind, Step, compile};
use crate::sampling::scope;
use odigos_api::action::{Action, ActionSpec, FailurePolicy};
use odigos_api::scope::SourcesScopes;
use odigos_api::{CollectorRole, Signal};

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

/// The sources that an Action is for, where its kind is limited as a whole.
fn scopes(spec: &ActionSpec) -> Option<&SourcesScopes> {
    let masks = spec.pii_masking.as_ref().and_then(|kind| kind.scopes.as_ref());
    let templates = || spec.db_query_templatization.as_ref().and_then(|kind| kind.scopes.as_ref());
    masks.or_else(templates).or_else(|| spec.infer_db_attributes.as_ref().and_then(|kind| kind.scopes.as_ref()))
}

/// The processor that stands in the place of an Action and drops what it is for; none where its items may pass, or it is for none.
#[must_use]
pub fn dropping(action: &Action) -> Option<Step> {
    let (spec, name) = (&action.spec, action.metadata.name.as_deref().unwrap_or_default());
    let signals = signals(spec);
    if !drops(spec) || spec.disabled == Some(true) || signals.is_empty() {
        return None;
    }
    // A scope that cannot be read may be for anything.
    let condition = scope::condition(scopes(spec)).unwrap_or_default();
    Some(Step {
        action: name.to_owned(),
        id: format!("filter/action/{name}"),
        role: CollectorRole::ClusterGateway,
        hint: Kind::of(spec).map_or(0, Kind::order_hint),
        settings: Settings::Filter { signals: signals.clone(), condition },
        signals,
        streams: spec.data_streams.clone().filter(|names| !names.is_empty()),
        notes: Vec::new(),
    })
}

/// Whether an item is dropped in the place of being changed, by the rules alone.
#[must_use]
pub fn is_dropped(spec: &ActionSpec, item: &Item) -> bool {
    if !drops(spec) || spec.disabled == Some(true) || !signals(spec).contains(&item.signal()) {
        return false;
    }
    let cannot_be_read = scope::condition(scopes(spec)).is_err();
    (cannot_be_read || scope::holds(scopes(spec), &item.resource))
        && !compile(&Action::new("", spec.clone())).problems.is_empty()
}
