//! Actions of older releases (`actions.odigos.io/v1alpha1`) as Actions of today (`spec/actions-and-rules.md` 1.3).
//!
//! Each of those kinds holds the settings of one kind of today beside what all have in common. Samplers are
//! [`crate::sampling::legacy`]'s. Never writes anything: who asks keeps both objects apart.

use odigos_api::Finding;
use odigos_api::action::{Action, ActionSpec};
use serde_json::{Map, Value, json};

/// API group and version of the older kinds.
pub const GROUP: &str = crate::sampling::legacy::GROUP;

/// The older kinds with their plurals.
pub const PLURALS: [(&str, &str); 5] = [
    ("AddClusterInfo", "addclusterinfos"),
    ("DeleteAttribute", "deleteattributes"),
    ("RenameAttribute", "renameattributes"),
    ("PiiMasking", "piimaskings"),
    ("K8sAttributesResolver", "k8sattributesresolvers"),
];

/// An older kind, the field of today's Action, and the fields that it has.
type Known = (&'static str, &'static str, &'static [&'static str]);

static KINDS: [Known; 5] = [
    ("AddClusterInfo", "addClusterInfo", &["clusterAttributes", "overwriteExistingValues"]),
    ("DeleteAttribute", "deleteAttribute", &["attributeNamesToDelete"]),
    ("RenameAttribute", "renameAttribute", &["renames"]),
    ("PiiMasking", "piiMasking", &["piiCategories"]),
    (
        "K8sAttributesResolver",
        "k8sAttributes",
        &[
            "collectContainerAttributes",
            "collectReplicaSetAttributes",
            "collectWorkloadUID",
            "collectClusterUID",
            "labelsAttributes",
            "annotationsAttributes",
        ],
    ),
];

/// What all kinds have.
const COMMON: [&str; 4] = ["actionName", "notes", "disabled", "signals"];

fn known(object: &Value) -> Option<&'static Known> {
    KINDS.iter().find(|(kind, ..)| object["apiVersion"] == GROUP && object["kind"] == *kind)
}

/// Whether an object is of one of the older kinds.
#[must_use]
pub fn is_legacy(object: &Value) -> bool {
    known(object).is_some()
}

/// Translates an object of an older kind into the Action `migrated-legacy-<name>`; `None` for every other object, and with an error
/// among the findings where it cannot be read.
#[must_use]
pub fn translate(object: &Value) -> Option<(Option<Action>, Vec<Finding>)> {
    let (kind, field, fields) = known(object)?;
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (name, namespace) = (text("/metadata/name"), text("/metadata/namespace"));
    let title = format!("{kind} {namespace}/{name}");
    let (mut spec, mut settings, mut findings) = (Map::new(), Map::new(), Vec::new());
    for (key, value) in object.get("spec").and_then(Value::as_object).into_iter().flatten() {
        if COMMON.contains(&key.as_str()) {
            spec.insert(key.clone(), value.clone());
        } else if fields.contains(&key.as_str()) {
            settings.insert(key.clone(), value.clone());
        } else {
            let message = "today's Action has no such field: it is left out";
            findings.push(Finding::warning(title.clone(), format!("spec.{key}"), message));
        }
    }
    spec.entry("actionName").or_insert_with(|| json!(format!("migrated from {kind} {name}")));
    spec.entry("signals").or_insert_with(|| json!([]));
    spec.insert((*field).to_owned(), Value::Object(settings));
    match serde_json::from_value::<ActionSpec>(Value::Object(spec)) {
        Ok(spec) => {
            let mut action = Action::new(&format!("migrated-legacy-{name}"), spec);
            action.metadata.namespace = Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty());
            for problem in super::compile(&action).problems {
                findings.push(Finding::warning(title.clone(), problem.field, problem.message));
            }
            Some((Some(action), findings))
        }
        Err(error) => {
            findings.push(Finding::error(title, "spec", format!("failed to parse the spec: {error}")));
            Some((None, findings))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn old(kind: &str, spec: &Value) -> Value {
        json!({"apiVersion": GROUP, "kind": kind, "metadata": {"name": "old", "namespace": "odigos-system"}, "spec": spec})
    }

    #[test]
    fn older_kinds_become_actions() {
        for (kind, settings, field) in [
            (
                "AddClusterInfo",
                json!({"clusterAttributes": [{"attributeName": "a", "attributeStringValue": "b"}]}),
                "addClusterInfo",
            ),
            ("DeleteAttribute", json!({"attributeNamesToDelete": ["a"]}), "deleteAttribute"),
            ("RenameAttribute", json!({"renames": {"a": "b"}}), "renameAttribute"),
            ("PiiMasking", json!({"piiCategories": ["EMAIL"]}), "piiMasking"),
            ("K8sAttributesResolver", json!({"collectContainerAttributes": true}), "k8sAttributes"),
        ] {
            let mut spec = settings.clone();
            (spec["signals"], spec["notes"], spec["disabled"]) = (json!(["TRACES"]), json!("n"), json!(true));
            let (action, findings) = translate(&old(kind, &spec)).unwrap();
            let action = action.unwrap();
            assert_eq!(findings, vec![], "{kind}");
            assert_eq!(action.metadata.name.as_deref(), Some("migrated-legacy-old"));
            assert_eq!(action.metadata.namespace.as_deref(), Some("odigos-system"));
            let told = serde_json::to_value(&action.spec).unwrap();
            assert_eq!(
                (&told[field], &told["notes"], &told["disabled"]),
                (&settings, &json!("n"), &json!(true)),
                "{kind}"
            );
        }
    }

    #[test]
    fn what_cannot_be_taken_over_is_said() {
        let (action, findings) =
            translate(&old("DeleteAttribute", &json!({"signals": ["TRACES"], "color": 1}))).unwrap();
        assert!(action.is_none(), "the list is required");
        assert_eq!(findings.len(), 2, "{findings:?}");
        let empty = json!({"signals": ["TRACES"], "attributeNamesToDelete": []});
        let (action, findings) = translate(&old("DeleteAttribute", &empty)).unwrap();
        assert!(action.is_some() && findings[0].message.contains("deletes nothing"), "{findings:?}");
        assert!(translate(&old("ErrorSampler", &json!({}))).is_none());
        assert!(translate(&json!({"apiVersion": "odigos.io/v1alpha1", "kind": "DeleteAttribute"})).is_none());
    }
}
