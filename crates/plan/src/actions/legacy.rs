//! Actions of older releases (`actions.odigos.io/v1alpha1`) as Actions of today (`spec/actions-and-rules.md` 1.3).
//!
//! Each of those kinds holds the settings of one kind of today beside what all have in common. Owns what an older object says, which name
//! its Action gets, and what is said where it cannot be taken over whole. Samplers are [`crate::sampling::legacy`]'s. What becomes of
//! objects in a cluster is [`conversion`]'s; never writes anything.

pub mod conversion;

use crate::objects::title;
use crate::spelling::hint;
use crate::world::schema;
use odigos_api::action::{Action, ActionSpec};
use odigos_api::{API_VERSION, Finding, Severity};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// API group and version of the older kinds.
pub const GROUP: &str = crate::sampling::legacy::GROUP;
/// The group in every version.
const ANY_VERSION: &str = "actions.odigos.io/";

/// The older kinds with their plurals.
pub const PLURALS: [(&str, &str); 5] = odigos_api::crds::LEGACY_ACTIONS;

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

/// Whether an object is of the group of the older kinds, whatever its kind and version.
#[must_use]
pub fn is_of_group(object: &Value) -> bool {
    object["apiVersion"].as_str().is_some_and(|version| version.starts_with(ANY_VERSION))
}

/// What is said of an object of the group that no Action can be made of; none where one can.
#[must_use]
pub fn unknown(object: &Value) -> Option<Finding> {
    if !is_of_group(object) || is_legacy(object) {
        return None;
    }
    let kind = object["kind"].as_str().unwrap_or_default();
    if kind.ends_with("Sampler") {
        let message =
            "it is a sampler of an older release, and no component reads it: odigos sampling convert translates it";
        return Some(Finding::warning(title(object), "kind", message));
    }
    let is_known = KINDS.iter().any(|(known, ..)| *known == kind);
    let (field, message) = match is_known {
        true => ("apiVersion", format!("kinds of older releases are of {GROUP}, and no component reads this one")),
        false => {
            let near = hint(kind, KINDS.iter().map(|(kind, ..)| *kind));
            ("kind", format!("{GROUP} had no such kind, and no component reads it{near}"))
        }
    };
    Some(Finding::error(title(object), field, message))
}

/// Name of the Action of an object, and the one where that is another's.
#[must_use]
pub fn names_of(object: &Value) -> [String; 2] {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (kind, name) = (text("/kind").to_lowercase(), text("/metadata/name"));
    [format!("migrated-legacy-{name}"), format!("migrated-legacy-{kind}-{name}")]
}

/// Translates an object of an older kind into the Action `migrated-legacy-<name>`; `None` for every other object, and with an error
/// among the findings where not all of it can be taken over. There is no Action where nothing can be.
#[must_use]
pub fn translate(object: &Value) -> Option<(Option<Action>, Vec<Finding>)> {
    let (kind, field, fields) = known(object)?;
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let (mut spec, mut settings, mut findings) = (Map::new(), Map::new(), Vec::new());
    let mut error = |field: String, message: String| findings.push(Finding::error(title(object), field, message));
    for (key, value) in object.get("spec").and_then(Value::as_object).into_iter().flatten() {
        if COMMON.contains(&key.as_str()) {
            spec.insert(key.clone(), value.clone());
        } else if fields.contains(&key.as_str()) {
            settings.insert(key.clone(), value.clone());
        } else {
            let near = hint(key, COMMON.into_iter().chain(fields.iter().copied()));
            error(format!("spec.{key}"), format!("{kind} has no such field: it is left out{near}"));
        }
    }
    spec.entry("actionName").or_insert_with(|| json!(format!("migrated from {kind} {name}")));
    spec.entry("signals").or_insert_with(|| json!([]));
    spec.insert((*field).to_owned(), Value::Object(settings));
    // Fields within fields, and types, as an API server would look at them.
    let [name, _] = names_of(object);
    let mut reviewed =
        json!({"apiVersion": API_VERSION, "kind": "Action", "metadata": {"name": name}, "spec": Value::Object(spec)});
    let found = schema::review(&mut reviewed);
    let is_readable = found.iter().all(|one| one.severity != Severity::Error);
    for one in found {
        let path = one.field.replacen(&format!("spec.{field}"), "spec", 1);
        error(path, one.message.replace("it is ignored", "it is left out"));
    }
    match serde_json::from_value::<ActionSpec>(reviewed["spec"].take()) {
        Ok(spec) if is_readable => {
            let mut action = Action::new(&name, spec);
            let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
            action.metadata.namespace = namespace.filter(|namespace| !namespace.is_empty()).map(str::to_owned);
            for problem in super::compile(&action).problems {
                error(problem.field.replacen(&format!("spec.{field}"), "spec", 1), problem.message);
            }
            Some((Some(action), findings))
        }
        Ok(_) => Some((None, findings)),
        Err(failure) => {
            if is_readable {
                error("spec".to_owned(), format!("failed to parse the spec: {failure}"));
            }
            Some((None, findings))
        }
    }
}

/// Translates objects of the group together. Each Action has a name of its own: where objects of several kinds have one name, all
/// but the first kind's have their kind in it. Those outside `namespace`, the control plane's, never had an effect and are left out.
#[must_use]
pub fn translate_all(objects: &[Value], namespace: &str) -> (Vec<Action>, Vec<Finding>) {
    let rank = |object: &Value| KINDS.iter().position(|(kind, ..)| object["kind"] == *kind);
    let mut sorted: Vec<&Value> = objects.iter().collect();
    // Names are given in an order that is not that of the files.
    sorted.sort_by_key(|object| rank(object));
    let (mut taken, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let (mut actions, mut findings): (Vec<Action>, Vec<Finding>) = (Vec::new(), Vec::new());
    for object in sorted {
        findings.extend(unknown(object));
        let Some((action, said)) = translate(object) else { continue };
        let of = object.pointer("/metadata/namespace").and_then(Value::as_str).filter(|of| !of.is_empty());
        if of.is_some_and(|of| of != namespace) {
            let message = format!(
                "Actions count in the namespace of the control plane alone, which is {namespace}: it is left out; state another with --namespace"
            );
            findings.push(Finding::error(title(object), "metadata.namespace", message));
            continue;
        }
        findings.extend(said);
        let Some(mut action) = action else { continue };
        let same = (object["kind"].as_str(), object.pointer("/metadata/name").and_then(Value::as_str));
        if !seen.insert(same) {
            let message = "another object of the same kind has this name: it is left out";
            findings.push(Finding::error(title(object), "metadata.name", message));
            continue;
        }
        let [plain, with_kind] = names_of(object);
        let name = if taken.contains(&plain) { with_kind } else { plain };
        taken.insert(name.clone());
        action.metadata.name = Some(name);
        action.metadata.namespace = Some(namespace.to_owned());
        actions.push(action);
    }
    (actions, findings)
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

    /// `severity field` of each finding.
    fn said(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(|one| format!("{} {}", one.severity, one.field)).collect()
    }

    #[test]
    fn fields_that_cannot_be_taken_over_are_errors() {
        let of = |kind: &str, spec: Value| {
            let (action, findings) = translate(&old(kind, &spec)).unwrap();
            (action.is_some(), said(&findings), findings)
        };
        let (is_some, found, _) = of("DeleteAttribute", json!({"signals": ["TRACES"], "color": 1}));
        assert_eq!(
            (is_some, found),
            (false, vec!["error spec.color".into(), "error spec.attributeNamesToDelete".into()])
        );
        let nested = json!({"signals": ["TRACES"], "labelsAttributes": [{"labelKey": "a", "attributeKey": "b", "form": "namespace"}]});
        let (is_some, found, findings) = of("K8sAttributesResolver", nested);
        assert_eq!((is_some, found), (true, vec!["error spec.labelsAttributes[0].form".into()]));
        assert!(findings[0].message.contains("left out; did you mean from?"), "{findings:?}");
        let wrong = json!({"signals": ["TRACES"], "renames": {"a": 1}});
        assert_eq!(of("RenameAttribute", wrong).1, ["error spec.renames.a"]);
        for (kind, spec, field) in [
            ("DeleteAttribute", json!({"attributeNamesToDelete": []}), "spec.attributeNamesToDelete"),
            ("DeleteAttribute", json!({"attributeNamesToDelete": ["a", "a"]}), "spec.attributeNamesToDelete"),
            ("RenameAttribute", json!({"renames": {}}), "spec.renames"),
            ("AddClusterInfo", json!({"clusterAttributes": [{"attributeName": "a"}]}), "spec.clusterAttributes"),
        ] {
            let mut spec = spec;
            spec["signals"] = json!(["TRACES"]);
            let (_, found, _) = of(kind, spec);
            assert!(found.iter().any(|one| one.starts_with(&format!("error {field}"))), "{kind}: {found:?}");
        }
        assert!(translate(&old("ErrorSampler", &json!({}))).is_none());
        assert!(translate(&json!({"apiVersion": "odigos.io/v1alpha1", "kind": "DeleteAttribute"})).is_none());
    }

    #[test]
    fn objects_of_one_name_become_actions_of_several_names() {
        let objects = [
            old("RenameAttribute", &json!({"signals": ["TRACES"], "renames": {"a": "b"}})),
            old("DeleteAttribute", &json!({"signals": ["TRACES"], "attributeNamesToDelete": ["a"]})),
        ];
        let mut reversed = objects.to_vec();
        reversed.reverse();
        for objects in [objects.to_vec(), reversed] {
            let (actions, findings) = translate_all(&objects, "odigos-system");
            assert_eq!(findings, vec![]);
            let named = |name: &str| actions.iter().find(|one| one.metadata.name.as_deref() == Some(name)).unwrap();
            assert_eq!(actions.len(), 2);
            assert!(named("migrated-legacy-old").spec.delete_attribute.is_some(), "in any order");
            assert!(named("migrated-legacy-renameattribute-old").spec.rename_attribute.is_some());
        }
        let twice = [objects[0].clone(), objects[0].clone()];
        let (actions, findings) = translate_all(&twice, "odigos-system");
        assert_eq!((actions.len(), said(&findings)), (1, vec!["error metadata.name".into()]));
    }

    #[test]
    fn what_never_had_an_effect_is_left_out_and_reported() {
        let mask = old("PiiMasking", &json!({"signals": ["TRACES"], "piiCategories": ["EMAIL"]}));
        let (actions, findings) = translate_all(std::slice::from_ref(&mask), "other");
        assert_eq!((actions.len(), said(&findings)), (0, vec!["error metadata.namespace".into()]));
        assert!(findings[0].message.contains("which is other"), "{findings:?}");
        let mut misspelt = mask.clone();
        misspelt["kind"] = json!("PiiMaskings");
        let mut newer = mask;
        newer["apiVersion"] = json!("actions.odigos.io/v1beta1");
        let sampler = old("ErrorSampler", &json!({}));
        let (actions, findings) = translate_all(&[misspelt, newer, sampler], "odigos-system");
        assert!(actions.is_empty());
        assert_eq!(said(&findings), ["error kind", "warning kind", "error apiVersion"].map(str::to_owned));
        assert!(findings[0].message.ends_with("did you mean PiiMasking?"), "{findings:?}");
        assert!(findings[1].message.contains("odigos sampling convert"), "{findings:?}");
    }
}
