//! What the control plane does about Actions of older releases in its own namespace: an Action is made of each, once, and owns it from
//! then on.
//!
//! Owns which Action is an object's, and what is said of the object. Never looks at objects of other namespaces, and never changes an
//! Action that is there: what people write into it stays.

use super::{names_of, translate};
use odigos_api::action::Action;
use odigos_api::condition::{ConditionDraft, kind};
use odigos_api::{API_VERSION, Severity, labels};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What is to be done about an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Nothing: an Action owns it, or none can be made of it.
    Nothing,
    /// This Action is to be created, and is to own it.
    Create(Box<Action>),
    /// The Action of this name was made of it, and is to own it.
    Own(String),
}

/// What becomes of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversion {
    /// What is to be done.
    pub next: Next,
    /// What is said of it when that is done.
    pub condition: ConditionDraft,
}

/// Kind and name of an object, as its Action tells of what it was made.
fn origin(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    format!("{}/{}", text("/kind"), text("/metadata/name"))
}

/// The Action that owns an object.
fn owner(object: &Value) -> Option<&str> {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten();
    let mut actions = owners.filter(|one| one["kind"] == "Action" && one["apiVersion"] == API_VERSION);
    actions.next()?["name"].as_str()
}

fn migrated(name: &str) -> ConditionDraft {
    let message = format!(
        "Action {name} does what it says, and owns it. Later changes of this object have no effect: change the Action. Deleting the Action deletes both."
    );
    ConditionDraft::yes(kind::MIGRATED, "Migrated", message)
}

/// What is said of an object of which no Action could be made.
#[must_use]
pub fn failed(reason: &str, why: &str) -> ConditionDraft {
    ConditionDraft::no(kind::MIGRATED, reason, format!("No Action is made of it, and it has no effect: {why}."))
}

/// What becomes of an object of an older kind; `None` for every other one. `made_of` is what an Action that is there says of what it was
/// made of ([`labels::MIGRATED_FROM`]), empty where it says nothing.
#[must_use]
pub fn conversion(object: &Value, made_of: impl Fn(&str) -> Option<String>) -> Option<Conversion> {
    let (action, findings) = translate(object)?;
    if let Some(name) = owner(object) {
        return Some(Conversion { next: Next::Nothing, condition: migrated(name) });
    }
    let names = names_of(object);
    if let Some(name) = names.iter().find(|name| made_of(name).is_some_and(|of| of == origin(object))) {
        return Some(Conversion { next: Next::Own(name.clone()), condition: migrated(name) });
    }
    let nothing = |reason: &str, why: &str| Some(Conversion { next: Next::Nothing, condition: failed(reason, why) });
    let wrong: Vec<String> = findings
        .iter()
        .filter(|one| one.severity == Severity::Error)
        .map(|one| format!("{}: {}", one.field, one.message))
        .collect();
    let Some(mut action) = action.filter(|_| wrong.is_empty()) else {
        return nothing("InvalidAction", &wrong.join("; "));
    };
    let Some(name) = names.iter().find(|name| made_of(name).is_none()) else {
        return nothing("NameTaken", &format!("other Actions are named {}", names.join(" and ")));
    };
    action.metadata.name = Some(name.clone());
    action.metadata.annotations = Some(BTreeMap::from([(labels::MIGRATED_FROM.to_owned(), origin(object))]));
    Some(Conversion { condition: migrated(name), next: Next::Create(Box::new(action)) })
}

/// What people should know of an object in a cluster: nothing where an Action was made of it.
#[must_use]
pub fn remark(object: &Value) -> Option<String> {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let condition = conditions.into_iter().find(|one| one["type"] == kind::MIGRATED);
    match condition {
        Some(one) if one["status"] == "True" => None,
        Some(one) => Some(one["message"].as_str().unwrap_or_default().to_owned()),
        None => Some(
            "it is of an older release, and has no effect until the control plane has made an Action of it".to_owned(),
        ),
    }
}

/// The change by which an Action owns an object. It fails where the object has changed meanwhile.
#[must_use]
pub fn ownership(object: &Value, name: &str, uid: &str) -> Value {
    let others = object.pointer("/metadata/ownerReferences").and_then(Value::as_array).cloned().unwrap_or_default();
    let own = json!({"apiVersion": API_VERSION, "kind": "Action", "name": name, "uid": uid});
    let all: Vec<Value> = others.into_iter().chain([own]).collect();
    let version = object.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
    json!({"metadata": {"resourceVersion": version, "ownerReferences": all}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::legacy::GROUP;
    use odigos_api::condition::Status;

    fn old(kind: &str, spec: &Value) -> Value {
        json!({"apiVersion": GROUP, "kind": kind, "metadata": {"name": "old", "namespace": "odigos-system"}, "spec": spec})
    }

    fn deletion() -> Value {
        old("DeleteAttribute", &json!({"signals": ["TRACES"], "attributeNamesToDelete": ["a"]}))
    }

    #[test]
    fn object_is_converted_once_and_then_owned() {
        let found = conversion(&deletion(), |_| None).unwrap();
        let Next::Create(action) = found.next else { panic!("it is created") };
        assert_eq!(action.metadata.name.as_deref(), Some("migrated-legacy-old"));
        assert_eq!(action.metadata.annotations.unwrap()[labels::MIGRATED_FROM], "DeleteAttribute/old");
        assert_eq!(found.condition.status, Status::True);
        // It was created, and then something failed.
        let made = |name: &str| (name == "migrated-legacy-old").then(|| "DeleteAttribute/old".to_owned());
        let again = conversion(&deletion(), made).unwrap();
        assert_eq!(again.next, Next::Own("migrated-legacy-old".into()));
        let mut owned = deletion();
        owned["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "1"}]);
        owned["metadata"]["resourceVersion"] = json!("7");
        let change = ownership(&owned, "migrated-legacy-old", "2");
        assert_eq!(change["metadata"]["ownerReferences"].as_array().unwrap().len(), 2, "others stay");
        assert_eq!(change["metadata"]["resourceVersion"], "7");
        owned["metadata"]["ownerReferences"] = change["metadata"]["ownerReferences"].clone();
        // Whatever becomes of it and of its Action later.
        owned["spec"] = json!({"signals": ["LOGS"]});
        let later = conversion(&owned, |_| None).unwrap();
        assert_eq!((later.next, later.condition.message.contains("Later changes")), (Next::Nothing, true));
    }

    #[test]
    fn people_are_told_of_what_has_no_effect() {
        let mut object = deletion();
        assert!(remark(&object).unwrap().contains("no effect until"));
        let condition =
            |status: &str| json!({"conditions": [{"type": "MigratedToAction", "status": status, "message": "m"}]});
        object["status"] = condition("False");
        assert_eq!(remark(&object).as_deref(), Some("m"));
        object["status"] = condition("True");
        assert_eq!(remark(&object), None);
    }

    #[test]
    fn names_of_others_are_left_to_them() {
        let taken = |name: &str| (name == "migrated-legacy-old").then(|| "RenameAttribute/old".to_owned());
        let found = conversion(&deletion(), taken).unwrap();
        let Next::Create(action) = found.next else { panic!("it is created") };
        assert_eq!(action.metadata.name.as_deref(), Some("migrated-legacy-deleteattribute-old"));
        let found = conversion(&deletion(), |_| Some(String::new())).unwrap();
        assert_eq!((found.next, found.condition.reason.as_str()), (Next::Nothing, "NameTaken"));
    }

    #[test]
    fn what_cannot_be_taken_over_whole_is_not_converted_and_says_why() {
        let broken =
            old("DeleteAttribute", &json!({"signals": ["TRACES"], "attributeNamesToDelete": ["a"], "color": 1}));
        let found = conversion(&broken, |_| None).unwrap();
        assert_eq!((&found.next, found.condition.reason.as_str()), (&Next::Nothing, "InvalidAction"));
        assert!(found.condition.message.contains("spec.color"), "{found:?}");
        assert_eq!(conversion(&old("ErrorSampler", &json!({})), |_| None), None);
    }
}
