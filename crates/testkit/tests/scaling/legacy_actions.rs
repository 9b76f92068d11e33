//! Actions of older releases: real API server with its garbage collector, scheduler and autoscaler. Each object becomes an Action once,
//! which owns it; what people change later stays as they change it.

use super::plane::{Plane, TURN};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use odigos_api::API_VERSION;
use odigos_api::action::Action;
use odigos_api::labels::MIGRATED_FROM;
use odigos_plan::actions::legacy::GROUP;
use odigos_testkit::control_plane::{NAMESPACE, apply, create_namespace, get_object};
use odigos_testkit::process::eventually;
use serde_json::{Value, json};
use std::time::Duration;

fn old(kind: &str, name: &str, namespace: &str, spec: Value) -> Value {
    json!({"apiVersion": GROUP, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

/// `Status/Reason: message` of what an object says of itself.
async fn says(plane: &Plane, kind: &str, name: &str) -> String {
    let Ok(live) = get_object(&plane.client, GROUP, kind, NAMESPACE, name).await else { return "it is gone".into() };
    let conditions = live.data.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let found = conditions.into_iter().find(|one| one["type"] == "MigratedToAction").unwrap_or_default();
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    format!("{}/{}: {}", text("status"), text("reason"), text("message"))
}

async fn comes_to_say(plane: &Plane, kind: &str, name: &str, expected: &str) -> String {
    let said = || async { says(plane, kind, name).await.starts_with(expected) };
    if let Err(error) = eventually(&format!("{kind} {name} says {expected}"), Duration::from_secs(60), said).await {
        panic!("{error}: {}: {}", says(plane, kind, name).await, plane.autoscaler.process.tail());
    }
    says(plane, kind, name).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_actions_are_converted_once_and_owned() {
    let _turn = TURN.lock().await;
    let plane = Plane::start().await;
    let actions: Api<Action> = Api::namespaced(plane.client.clone(), NAMESPACE);
    create_namespace(&plane.client, "elsewhere").await.unwrap();
    let spec = |key: &str, value: Value| json!({"signals": ["TRACES"], key: value});
    let deletion = || spec("attributeNamesToDelete", json!(["a"]));
    let all = [
        ("DeleteAttribute", "same", deletion()),
        ("RenameAttribute", "same", spec("renames", json!({"a": "b"}))),
        ("PiiMasking", "mask", spec("piiCategories", json!(["EMAIL"]))),
        (
            "AddClusterInfo",
            "info",
            spec("clusterAttributes", json!([{"attributeName": "a", "attributeStringValue": ""}])),
        ),
        ("K8sAttributesResolver", "pods", spec("collectContainerAttributes", json!(true))),
    ];
    for (kind, name, spec) in &all {
        apply(&plane.client, &old(kind, name, NAMESPACE, spec.clone())).await.unwrap();
    }
    let mut misspelt = deletion();
    misspelt["atributeNamesToDelete"] = json!(["b"]);
    apply(&plane.client, &old("DeleteAttribute", "broken", NAMESPACE, misspelt)).await.unwrap();
    apply(&plane.client, &old("DeleteAttribute", "foreign", "elsewhere", deletion())).await.unwrap();

    for (kind, name, _) in &all {
        let said = comes_to_say(&plane, kind, name, "True/Migrated").await;
        let live = get_object(&plane.client, GROUP, kind, NAMESPACE, name).await.unwrap();
        let owners = live.metadata.owner_references.unwrap_or_default();
        let [owner] = &owners[..] else { panic!("{kind} {name}: {owners:?}") };
        assert_eq!((owner.kind.as_str(), owner.api_version.as_str()), ("Action", API_VERSION));
        assert!(said.contains(&owner.name), "{said}");
        let action = actions.get(&owner.name).await.unwrap();
        assert_eq!(action.metadata.uid.as_deref(), Some(owner.uid.as_str()));
        assert_eq!(action.metadata.annotations.unwrap()[MIGRATED_FROM], format!("{kind}/{name}"));
    }
    let said = comes_to_say(&plane, "DeleteAttribute", "broken", "False/InvalidAction").await;
    assert!(
        said.contains("spec.atributeNamesToDelete") && said.contains("did you mean attributeNamesToDelete?"),
        "{said}"
    );
    assert_eq!(actions.list(&Default::default()).await.unwrap().items.len(), all.len());

    // What is corrected is converted; what is converted is left to people.
    let fixed = json!({"spec": {"atributeNamesToDelete": null}});
    let resource = kube::core::ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(
        "actions.odigos.io",
        "v1alpha1",
        "DeleteAttribute",
    ));
    let deletions: Api<kube::core::DynamicObject> = Api::namespaced_with(plane.client.clone(), NAMESPACE, &resource);
    deletions.patch("broken", &PatchParams::default(), &Patch::Merge(&fixed)).await.unwrap();
    comes_to_say(&plane, "DeleteAttribute", "broken", "True/Migrated").await;
    let later = json!({"spec": {"attributeNamesToDelete": ["z"]}});
    deletions.patch("broken", &PatchParams::default(), &Patch::Merge(&later)).await.unwrap();
    let own = json!({"spec": {"notes": "mine"}});
    actions.patch("migrated-legacy-broken", &PatchParams::default(), &Patch::Merge(&own)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let action = actions.get("migrated-legacy-broken").await.unwrap();
    assert_eq!(action.spec.delete_attribute.unwrap().attribute_names_to_delete, ["a"]);
    assert_eq!(action.spec.notes.as_deref(), Some("mine"));

    // The Action takes the older object with it, and nothing comes back; the older object alone takes nothing with it.
    actions.delete("migrated-legacy-broken", &DeleteParams::default()).await.unwrap();
    deletions.delete("same", &DeleteParams::default()).await.unwrap();
    let gone = || async { deletions.list(&Default::default()).await.is_ok_and(|all| all.items.is_empty()) };
    eventually("the older objects are gone", Duration::from_secs(60), gone).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(actions.get_opt("migrated-legacy-broken").await.unwrap().is_none());
    assert!(actions.get_opt("migrated-legacy-same").await.unwrap().is_some());
    let foreign = get_object(&plane.client, GROUP, "DeleteAttribute", "elsewhere", "foreign").await.unwrap();
    assert_eq!(foreign.metadata.owner_references, None, "what is elsewhere has no effect");
}
