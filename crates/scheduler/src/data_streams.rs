//! DataStreams: those that something names exist, with who is in them; implicit ones that nothing names any more are deleted.
//!
//! Owns their objects, `members`, `classes`, `destinations` and the condition `ClassesAssigned`. The reconcile of the cluster says
//! what all of them shall be and writes none; each is written by itself, at most once in half a second, so that nobody waits for the
//! many of another. Never decides about classes.

use crate::state::State;
use jiff::Timestamp;
use odigos_api::condition::{ConditionDraft, kind, merged};
use odigos_api::data_stream::{DataStream, DataStreamStatus};
use odigos_api::destination::Destination;
use odigos_api::{API_VERSION, labels::IMPLICIT_STREAM};
use odigos_kit::apply::{ApplyError, reference};
use odigos_kit::events::about;
use odigos_kit::queue::Outcome;
use odigos_plan::streams::{self, StreamSet};
use odigos_plan::world;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

/// What a DataStream shall be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    stream: String,
    status: DataStreamStatus,
    refusal: Option<ConditionDraft>,
}

/// Decides which objects there shall be, and has those written that are not as they shall be.
pub(crate) async fn plan(
    state: &State,
    destinations: &[Destination],
    memberships: Vec<(String, StreamSet)>,
    quota: usize,
) {
    let configs = state.configs.all();
    let labels = configs.iter().filter_map(|(key, config)| Some((key.0.as_str(), config.metadata.labels.as_ref()?)));
    let sets: Vec<StreamSet> = memberships.into_iter().map(|(_, set)| set).collect();
    let live = |name: &str| state.streams.get(&state.namespace, name);
    let has_object = |stream: &str| live(&streams::object_name(stream)).is_some();
    let named = streams::named_streams(labels, destinations, has_object, quota);
    let held = |name: &str| {
        let object = live(name)?;
        let display_name = object.spec.display_name.as_deref();
        world::implicit_stream_of(name, object.metadata.labels.as_ref(), display_name)
    };
    let (expected, without_object) = streams::objects(&named.streams, held);
    for (stream, holder) in without_object {
        let name = streams::object_name(&stream);
        let note = format!("the data stream {stream:?} has no object, since {name} is that of {holder:?}; rename one");
        let object = about(API_VERSION, "DataStream", &state.namespace, &name, None);
        state.events.warn_about_part(&object, "NameCollision", &stream, &note).await;
    }
    report_quota(state, &named.beyond, quota).await;
    let refused = state.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let refused = streams::refusals::conditions(&refused);
    let wanted = |stream: String| Wanted {
        status: world::stream_status(&stream, &sets, destinations),
        refusal: refused.get(&stream).cloned(),
        stream,
    };
    let wanted: BTreeMap<String, Wanted> = expected.into_iter().map(|(name, stream)| (name, wanted(stream))).collect();
    let existing = state.streams.namespace(&state.namespace);
    let gone =
        existing.iter().filter_map(|object| object.metadata.name.clone()).filter(|name| !wanted.contains_key(name));
    let other = wanted.iter().filter(|(name, wanted)| !live(name).is_some_and(|live| is_as(&live, wanted)));
    let due: Vec<String> = gone.chain(other.map(|(name, _)| name.clone())).collect();
    *state.wanted_streams.lock().unwrap_or_else(PoisonError::into_inner) = Some(wanted);
    due.into_iter().for_each(|name| state.streams_queue.add(name));
}

/// Reports namespaces that name more streams than they may, each once for as long as it stays the same.
async fn report_quota(state: &State, beyond: &BTreeMap<String, StreamSet>, quota: usize) {
    let is_known = {
        let mut known = state.beyond_quota.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *known, beyond.clone()) == *beyond
    };
    if is_known {
        return;
    }
    for (namespace, streams) in beyond {
        let first = streams.first().map(String::as_str).unwrap_or_default();
        let note = format!(
            "the workloads of namespace {namespace} name more than {quota} data streams; {} of them, such as {first:?}, have no \
             object; use fewer, or raise dataStreams.maxPerNamespace",
            streams.len()
        );
        let mut object = about("v1", "Namespace", "", namespace, None);
        object.namespace = Some(namespace.clone());
        state.events.warn(&object, "NamespaceStreamQuota", &note).await;
    }
}

/// Whether an object and its status are as they shall be.
fn is_as(live: &DataStream, wanted: &Wanted) -> bool {
    let Some(status) = &live.status else { return false };
    let (known, wanted_status) = (condition(live), &wanted.status);
    let draft = wanted.refusal.as_ref().map(|draft| (draft.reason.as_str(), draft.message.as_str()));
    status.members == wanted_status.members
        && status.classes == wanted_status.classes
        && status.destinations == wanted_status.destinations
        && known.map(|known| (known.reason.as_str(), known.message.as_str())) == draft
}

fn condition(live: &DataStream) -> Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    live.status.as_ref()?.conditions.iter().find(|one| one.type_ == kind::CLASSES_ASSIGNED)
}

/// Writes one object.
pub(crate) async fn reconcile(state: Arc<State>, name: String) -> Result<Outcome, ApplyError> {
    let wanted = {
        let all = state.wanted_streams.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(all) = all.as_ref() else { return Ok(Outcome::default()) };
        all.get(&name).cloned()
    };
    let live = state.streams.get(&state.namespace, &name);
    let Some(wanted) = wanted else {
        let labels = live.as_ref().and_then(|live| live.metadata.labels.as_ref());
        if let Some(live) = live.as_ref().filter(|_| labels.is_some_and(|labels| labels.contains_key(IMPLICIT_STREAM)))
        {
            let object = reference(API_VERSION, "DataStream", &state.namespace, &name);
            state.applier.delete(&object, live.metadata.uid.as_deref()).await?;
        }
        return Ok(Outcome::default());
    };
    if live.is_none() {
        let object = world::implicit_stream(&(state.namespace.clone(), name.clone()), &wanted.stream);
        let mut value = serde_json::to_value(&object).unwrap_or_default();
        if let Some(map) = value.as_object_mut() {
            map.remove("status");
        }
        state.applier.apply(&value).await?;
    } else if live.as_ref().is_some_and(|live| is_as(live, &wanted)) {
        return Ok(Outcome::default());
    }
    let before = live.as_ref().and_then(|live| live.status.as_ref()).map_or(&[][..], |status| &status.conditions);
    let conditions = merged(before, wanted.refusal.as_slice(), None, Timestamp::now());
    let mut object = reference(API_VERSION, "DataStream", &state.namespace, &name);
    let status = &wanted.status;
    object["status"] = json!({
        "members": status.members, "classes": status.classes, "destinations": status.destinations,
        "conditions": conditions,
    });
    state.applier.apply_status(&object).await?;
    let reported = live.as_ref().and_then(|live| condition(live)).map(|known| (&known.reason, &known.message));
    if let Some(refusal) = wanted.refusal.as_ref().filter(|one| reported != Some((&one.reason, &one.message))) {
        let uid = live.as_ref().and_then(|live| live.metadata.uid.as_deref());
        let object = about(API_VERSION, "DataStream", &state.namespace, &name, uid);
        state.events.warn(&object, &refusal.reason, &refusal.message).await;
    }
    Ok(Outcome::default())
}
