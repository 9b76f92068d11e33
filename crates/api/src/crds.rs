//! The CustomResourceDefinitions of every kind: generated from the types, and those of Actions of older releases.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// API group of Actions of older releases.
pub const LEGACY_GROUP: &str = "actions.odigos.io";
/// Their kinds, with the plurals.
pub const LEGACY_ACTIONS: [(&str, &str); 5] = [
    ("AddClusterInfo", "addclusterinfos"),
    ("DeleteAttribute", "deleteattributes"),
    ("RenameAttribute", "renameattributes"),
    ("PiiMasking", "piimaskings"),
    ("K8sAttributesResolver", "k8sattributesresolvers"),
];

/// The definitions, sorted by name.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    let mut all = vec![
        crate::action::Action::crd(),
        crate::collectors_group::CollectorsGroup::crd(),
        crate::data_stream::DataStream::crd(),
        crate::destination::Destination::crd(),
        crate::instrumentation_config::InstrumentationConfig::crd(),
        crate::instrumentation_instance::InstrumentationInstance::crd(),
        crate::instrumentation_rule::InstrumentationRule::crd(),
        crate::processor::Processor::crd(),
        crate::sampling::Sampling::crd(),
        crate::source::Source::crd(),
    ];
    for crd in &mut all {
        crd.metadata.labels = Some(BTreeMap::from([(crate::labels::SYSTEM_OBJECT.to_owned(), "true".to_owned())]));
    }
    all.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    all
}

/// The definitions of Actions of older releases, sorted by name. Their settings are taken as they are written: what today's Action does
/// not know is reported, not dropped.
///
/// # Panics
/// Never: the definitions are constants, which a test builds.
#[must_use]
#[allow(clippy::expect_used, reason = "constants, which a test builds")]
pub fn legacy() -> Vec<CustomResourceDefinition> {
    let built = |one| serde_json::from_value(one).expect("a definition has the shape of its kind");
    let mut all: Vec<CustomResourceDefinition> =
        LEGACY_ACTIONS.iter().map(|(kind, plural)| built(legacy_definition(kind, plural))).collect();
    all.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    all
}

fn legacy_definition(kind: &str, plural: &str) -> Value {
    let text = |description: &str| json!({"description": description, "type": "string"});
    let condition = json!({
        "description": "One aspect of the state.",
        "type": "object",
        "required": ["type", "status", "lastTransitionTime", "reason", "message"],
        "properties": {
            "type": text("What it is about."),
            "status": text("True, False or Unknown."),
            "reason": text("Why, in one word."),
            "message": text("What is the case, and what to do."),
            "lastTransitionTime": {"description": "Since when.", "type": "string", "format": "date-time"},
            "observedGeneration": {"description": "Of which generation.", "type": "integer", "format": "int64"},
        },
    });
    let schema = json!({
        "description": format!("{kind} of an older release. The control plane makes an Action of it once, which owns it from then on."),
        "type": "object",
        "properties": {
            "spec": {
                "description": "The settings, as older releases had them.",
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": true,
            },
            "status": {
                "description": "What became of it.",
                "type": "object",
                "properties": {"conditions": {
                    "description": "`MigratedToAction`.",
                    "type": "array", "items": condition,
                    "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
                }},
            },
        },
    });
    json!({
        "metadata": {
            "name": format!("{plural}.{LEGACY_GROUP}"),
            "labels": {crate::labels::SYSTEM_OBJECT: "true"},
        },
        "spec": {
            "group": LEGACY_GROUP,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": schema},
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    {"name": "Migrated", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"MigratedToAction\")].status"},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
            }],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_kinds_have_definitions() {
        let names: Vec<String> = legacy().into_iter().filter_map(|one| one.metadata.name).collect();
        assert_eq!(names.len(), LEGACY_ACTIONS.len());
        assert!(names.is_sorted() && names.contains(&"piimaskings.actions.odigos.io".to_owned()), "{names:?}");
    }
}
