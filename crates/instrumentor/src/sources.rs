//! One Source: its status; takes the finalizers of older releases away.

use crate::state::State;
use crate::workloads::Error;
use jiff::Timestamp;
use odigos_api::API_VERSION;
use odigos_api::condition::{kind, merged};
use odigos_api::labels::is_source_finalizer;
use odigos_api::source::Source;
use odigos_kit::apply::{reference, same_conditions};
use odigos_kit::events::about;
use odigos_kit::hub::ObjectKey;
use odigos_kit::queue::Outcome;
use odigos_plan::admission::source::exact_workload;
use odigos_plan::coverage::{self, Matcher};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// When a finalizer that came back is removed again.
const RECHECK: Duration = Duration::from_secs(10);

pub(crate) async fn reconcile(state: Arc<State>, key: ObjectKey) -> Result<Outcome, Error> {
    let Some(source) = state.sources.get(&key.0, &key.1) else { return Ok(Outcome::default()) };
    if let Some(outcome) = release(&state, &source).await? {
        return Ok(outcome);
    }
    if coverage::is_terminating(&source) {
        return Ok(Outcome::default());
    }
    let scope = state.options.load().scope.clone();
    // Which namespaces are ignored is not known: what the status says stays.
    if !scope.is_known() {
        return Ok(Outcome::default());
    }
    let matcher = Matcher::new(&source);
    let selected = state.selected(&source);
    let matched = match exact_workload(&source) {
        Some(workload) => usize::from(state.exists(&workload)),
        None => selected.len(),
    };
    let workload = match exact_workload(&source) {
        Some(workload) => state.workload(&workload).await.map_err(Error::Read)?,
        None => None,
    };
    let remarks = coverage::source_remarks(&source, workload.as_ref());
    let rivals = rivals(&state, &source, &selected);
    let conditions = coverage::source_conditions(&scope, &matcher, matched, &rivals, &remarks);
    let before = source.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    let conditions = merged(&before, &conditions, source.metadata.generation, Timestamp::now());
    if same_conditions(&before, &conditions) {
        return Ok(Outcome::default());
    }
    let mut object = reference(API_VERSION, "Source", &key.0, &key.1);
    object["status"] = json!({"conditions": conditions});
    match state.applier.apply_status(&object).await {
        Err(error) if error.is_not_found() => return Ok(Outcome::default()),
        other => other?,
    }
    let bad = conditions.iter().find(|one| {
        (one.type_ == kind::ACCEPTED && one.status == "False") || (one.type_ == kind::CONFLICT && one.status == "True")
    });
    if let Some(condition) = bad {
        let object = about(API_VERSION, "Source", &key.0, &key.1, source.metadata.uid.as_deref());
        state.events.warn(&object, &condition.reason, &condition.message).await;
    }
    Ok(Outcome::default())
}

/// Other Sources of single workloads that select one of these workloads.
fn rivals(state: &State, source: &Source, selected: &[odigos_api::WorkloadRef]) -> Vec<String> {
    if coverage::is_namespace_source(source) {
        return Vec::new();
    }
    let others = state.sources.namespace(source.metadata.namespace.as_deref().unwrap_or_default());
    let names: BTreeSet<String> = others
        .iter()
        .filter(|other| other.metadata.name != source.metadata.name)
        .filter(|other| !coverage::is_namespace_source(other) && !coverage::is_terminating(other))
        .filter(|other| {
            let matcher = Matcher::new(other);
            selected.iter().any(|workload| matcher.selects(workload))
        })
        .filter_map(|other| other.metadata.name.clone())
        .collect();
    names.into_iter().collect()
}

/// Takes the finalizers of older releases from a Source; `None` where it has none. Its workloads are decided by the Sources that there
/// are, so nothing has to be done before it goes.
async fn release(state: &State, source: &Source) -> Result<Option<Outcome>, Error> {
    let finalizers = source.metadata.finalizers.as_deref().unwrap_or_default();
    if !finalizers.iter().any(|one| is_source_finalizer(one)) {
        return Ok(None);
    }
    let kept: Vec<&String> = finalizers.iter().filter(|one| !is_source_finalizer(one)).collect();
    let namespace = source.metadata.namespace.as_deref().unwrap_or_default();
    let object = reference(API_VERSION, "Source", namespace, source.metadata.name.as_deref().unwrap_or_default());
    // The version keeps a finalizer that somebody adds at the same moment.
    let change = json!({"metadata": {"finalizers": kept, "resourceVersion": source.metadata.resource_version}});
    match state.applier.merge(&object, &change).await {
        Err(error) if error.is_not_found() => Ok(Some(Outcome::default())),
        Err(error) => Err(error.into()),
        Ok(stored) => {
            // While an upgrade goes on, admission of the older release may put it back.
            let is_held = stored.metadata.finalizers.iter().flatten().any(|one| is_source_finalizer(one));
            Ok(Some(Outcome { recheck_after: is_held.then_some(RECHECK) }))
        }
    }
}
