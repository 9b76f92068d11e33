//! Actions of older releases: an Action is made of each object in the namespace of the control plane, once, and owns it from then on.
//! Decisions are in `plan::actions::legacy`.

use crate::state::State;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, PostParams};
use kube::core::DynamicObject;
use odigos_api::action::Action;
use odigos_api::condition::{ConditionDraft, Status, kind, merged};
use odigos_api::{labels, names};
use odigos_kit::apply::{ApplyError, reference, same_conditions};
use odigos_kit::events::about;
use odigos_plan::actions::legacy::GROUP;
use odigos_plan::actions::legacy::conversion::{Next, conversion, failed, ownership};
use serde_json::{Value, json};

/// Goes through all objects of the older kinds; the watch brings each change.
pub(crate) async fn reconcile(state: &State) -> Result<(), ApplyError> {
    for (object_kind, hub) in &state.legacy_actions {
        for object in hub.namespace(&state.namespace) {
            convert(state, object_kind, &object).await?;
        }
    }
    Ok(())
}

async fn convert(state: &State, object_kind: &str, live: &DynamicObject) -> Result<(), ApplyError> {
    let Ok(mut object) = serde_json::to_value(live) else { return Ok(()) };
    // Lists of a watch leave them out.
    (object["apiVersion"], object["kind"]) = (json!(GROUP), json!(object_kind));
    let made_of = |name: &str| {
        let action = state.actions.get(&state.namespace, name)?;
        let said = action.metadata.annotations.as_ref().and_then(|all| all.get(labels::MIGRATED_FROM));
        Some(said.cloned().unwrap_or_default())
    };
    let Some(found) = conversion(&object, made_of) else { return Ok(()) };
    let mut condition = found.condition;
    let owner = match found.next {
        Next::Nothing => None,
        Next::Own(name) => {
            let action = state.actions.get(&state.namespace, &name);
            action.and_then(|action| Some((name, action.metadata.uid.clone()?)))
        }
        Next::Create(mut action) => {
            action.metadata.namespace = Some(state.namespace.clone());
            let api: Api<Action> = Api::namespaced(state.client.clone(), &state.namespace);
            let parameters = PostParams { field_manager: Some(names::AUTOSCALER.to_owned()), ..PostParams::default() };
            match api.create(&parameters, &action).await {
                Ok(made) => made.metadata.name.zip(made.metadata.uid),
                // It was made a moment ago; the watch has not brought it yet, and brings the next reconcile.
                Err(kube::Error::Api(said)) if said.code == 409 => return Ok(()),
                Err(kube::Error::Api(said)) if [400, 403, 422].contains(&said.code) => {
                    condition = failed("ActionRefused", said.message.trim_end_matches('.'));
                    None
                }
                Err(error) => {
                    let name = action.metadata.name.unwrap_or_default();
                    return Err(ApplyError::Api { kind: "Action".into(), name, source: Box::new(error) });
                }
            }
        }
    };
    if let Some((name, uid)) = owner {
        let target = reference(GROUP, object_kind, &state.namespace, object_name(live));
        match state.applier.merge(&target, &ownership(&object, &name, &uid)).await {
            // It changed or went meanwhile; the watch brings it again.
            Err(error) if error.is_conflict() || error.is_not_found() => return Ok(()),
            other => drop(other?),
        }
    }
    write(state, object_kind, live, &object, &condition).await
}

fn object_name(live: &DynamicObject) -> &str {
    live.metadata.name.as_deref().unwrap_or_default()
}

async fn write(
    state: &State,
    object_kind: &str,
    live: &DynamicObject,
    object: &Value,
    draft: &ConditionDraft,
) -> Result<(), ApplyError> {
    let before = object.pointer("/status/conditions").cloned().unwrap_or_default();
    let before: Vec<Condition> = serde_json::from_value(before).unwrap_or_default();
    let own: Vec<Condition> = before.iter().filter(|one| one.type_ == kind::MIGRATED).cloned().collect();
    let after = merged(&before, std::slice::from_ref(draft), live.metadata.generation, Timestamp::now());
    if same_conditions(&own, &after) {
        return Ok(());
    }
    let mut status = reference(GROUP, object_kind, &state.namespace, object_name(live));
    status["status"] = json!({"conditions": after});
    match state.applier.apply_status(&status).await {
        Err(error) if error.is_not_found() => return Ok(()),
        other => other?,
    }
    let about = about(GROUP, object_kind, &state.namespace, object_name(live), live.metadata.uid.as_deref());
    match draft.status {
        Status::True => state.events.note(&about, &draft.reason, &draft.message).await,
        _ => state.events.warn(&about, &draft.reason, &draft.message).await,
    }
    Ok(())
}
