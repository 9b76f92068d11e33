//! One InstrumentationConfig: the stream class that it and its pods carry (design 4.1).

use crate::state::State;
use odigos_api::labels::STREAM_CLASS;
use odigos_api::{API_VERSION, WorkloadRef, names};
use odigos_kit::apply::{ApplyError, reference};
use odigos_kit::hub::ObjectKey;
use odigos_kit::queue::Outcome;
use odigos_plan::pools::Pools;
use odigos_plan::streams;
use odigos_plan::workload::pod_workload;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) async fn reconcile(state: Arc<State>, key: ObjectKey) -> Result<Outcome, ApplyError> {
    let Some(config) = state.configs.get(&key.0, &key.1) else {
        // Nothing of ours stays on a pod whose workload is not covered any more; its class may leave the gateway then.
        if let Some(workload) = WorkloadRef::from_config_name(&key.0, &key.1) {
            label_pods(&state, &workload, None).await?;
        }
        return Ok(Outcome::default());
    };
    if config.metadata.deletion_timestamp.is_some() {
        return Ok(Outcome::default());
    }
    let none = BTreeMap::new();
    let labels = config.metadata.labels.as_ref().unwrap_or(&none);
    let destinations = state.destinations.namespace(&state.namespace);
    let selected = streams::selected_namespaces(destinations.iter().map(AsRef::as_ref));
    let groups = state.groups.namespace(&state.namespace);
    let pools = Pools::of_groups(groups.iter().map(AsRef::as_ref));
    let set = pools.membership((&key.0, &key.1), config.metadata.labels.as_ref(), &selected);
    let gateway = state.groups.get(&state.namespace, names::GATEWAY);
    let current = labels.get(STREAM_CLASS).map(String::as_str);
    // Not served yet: everything stays as it is; the gateway's status brings the key back.
    let assigned = streams::assign(&set, current, gateway.as_deref(), state.is_refused(&set));
    let Some(class) = assigned else { return Ok(Outcome::default()) };
    if current != Some(class.as_str()) {
        let object = reference(API_VERSION, "InstrumentationConfig", &key.0, &key.1);
        // A merge cannot bring a deleted object back to life, as an apply would.
        match state.applier.merge(&object, &json!({"metadata": {"labels": {STREAM_CLASS: class}}})).await {
            Err(error) if error.is_not_found() => return Ok(Outcome::default()),
            other => drop(other?),
        }
    }
    if let Some(workload) = WorkloadRef::from_config_name(&key.0, &key.1) {
        label_pods(&state, &workload, Some(&class)).await?;
    }
    Ok(Outcome::default())
}

/// Patches the running pods of a workload: metadata only, no restart, a bounded number at a time.
async fn label_pods(state: &State, workload: &WorkloadRef, class: Option<&str>) -> Result<(), ApplyError> {
    for (namespace, name) in state.pods(workload) {
        let Some(pod) = state.pods.get(&namespace, &name) else { continue };
        let carries = pod.metadata.labels.as_ref().and_then(|labels| labels.get(STREAM_CLASS));
        if carries.map(String::as_str) == class || pod.metadata.deletion_timestamp.is_some() {
            continue;
        }
        // The semaphore is never closed.
        let _turn = state.patches.acquire().await;
        let object = reference("v1", "Pod", &namespace, &name);
        match state.applier.merge(&object, &json!({"metadata": {"labels": {STREAM_CLASS: class}}})).await {
            Err(error) if error.is_not_found() => {}
            other => drop(other?),
        }
    }
    Ok(())
}

/// Takes the label from a pod that belongs to no workload that can be covered: none decides over its telemetry.
pub(crate) async fn strip(state: Arc<State>, key: ObjectKey) -> Result<Outcome, ApplyError> {
    let Some(pod) = state.pods.get(&key.0, &key.1) else { return Ok(Outcome::default()) };
    let is_labelled = pod.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(STREAM_CLASS));
    if !is_labelled || pod.metadata.deletion_timestamp.is_some() || pod_workload(&pod.metadata).is_some() {
        return Ok(Outcome::default());
    }
    // The semaphore is never closed.
    let _turn = state.patches.acquire().await;
    let object = reference("v1", "Pod", &key.0, &key.1);
    let none: Option<String> = None;
    match state.applier.merge(&object, &json!({"metadata": {"labels": {STREAM_CLASS: none}}})).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(Outcome::default()),
    }
}
