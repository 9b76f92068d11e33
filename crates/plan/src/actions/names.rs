//! Names in an Action that match nothing, or something else than was probably meant: attributes, languages, scopes.
//!
//! Owns the remarks; an Action with one is compiled as it is written, since a name is any text. What scopes name and the cluster has not is
//! said with the words of [`CoveredNames`]. Never decides what an Action matches.

use super::scopes;
use crate::covered::{CoveredNames, LANGUAGES};
use crate::workload::sdk_language;
use odigos_api::action::{Action, ActionSpec};

/// Remarks on names of attributes, each with its field.
#[must_use]
pub fn remarks(spec: &ActionSpec) -> Vec<(String, String)> {
    let mut names: Vec<(String, &str)> = Vec::new();
    for (position, one) in spec.add_cluster_info.iter().flat_map(|kind| &kind.cluster_attributes).enumerate() {
        names.push((format!("spec.addClusterInfo.clusterAttributes[{position}].attributeName"), &one.attribute_name));
    }
    for (position, name) in spec.delete_attribute.iter().flat_map(|kind| &kind.attribute_names_to_delete).enumerate() {
        names.push((format!("spec.deleteAttribute.attributeNamesToDelete[{position}]"), name));
    }
    for (old, new) in spec.rename_attribute.iter().flat_map(|kind| &kind.renames) {
        let field = format!("spec.renameAttribute.renames[{old:?}]");
        names.extend([(field.clone(), old.as_str()), (field, new.as_str())]);
    }
    for (position, one) in spec.extract_attribute.iter().flat_map(|kind| &kind.extractions).enumerate() {
        names.push((
            format!("spec.extractAttribute.extractions[{position}].targetAttributeName"),
            &one.target_attribute_name,
        ));
    }
    if let Some(kind) = &spec.k8s_attributes {
        let labels = kind.labels_attributes.iter().map(|one| &one.attribute_key).enumerate();
        names.extend(
            labels.map(|(n, key)| (format!("spec.k8sAttributes.labelsAttributes[{n}].attributeKey"), key.as_str())),
        );
        let annotations = kind.annotations_attributes.iter().map(|one| &one.attribute_key).enumerate();
        names.extend(
            annotations
                .map(|(n, key)| (format!("spec.k8sAttributes.annotationsAttributes[{n}].attributeKey"), key.as_str())),
        );
    }
    names.into_iter().filter_map(|(field, name)| Some((field, unusual_name(name)?))).collect()
}

/// A list of data streams that names none, which a template may have left: an Action without the field is for all of them.
#[must_use]
pub fn no_streams(spec: &ActionSpec) -> Vec<(String, String)> {
    match spec.data_streams.as_deref() {
        None => Vec::new(),
        Some([]) => vec![(
            "spec.dataStreams".to_owned(),
            "the list is empty, so the Action is for all data streams; leave the field out where that is meant"
                .to_owned(),
        )],
        Some(names) => names
            .iter()
            .enumerate()
            .filter(|(_, name)| name.is_empty())
            .map(|(n, _)| (format!("spec.dataStreams[{n}]"), "the name of a data stream must not be empty".to_owned()))
            .collect(),
    }
}

/// What is unusual of the name of an attribute, where anything is.
fn unusual_name(name: &str) -> Option<String> {
    if name.is_empty() {
        return None;
    }
    if name.trim() != name || name.chars().any(|one| one.is_whitespace() || one.is_control()) {
        return Some(format!(
            "{name:?} is taken literally, with its blanks and control characters, and no known attribute has one in its name; remove them"
        ));
    }
    let signs = ["*", "^", "$", "\\", "[", "(", "|"];
    let sign = signs.into_iter().find(|sign| name.contains(sign)).or_else(|| name.contains(',').then_some(","))?;
    Some(format!("{name:?} is taken literally: `{sign}` is part of the name; list each attribute by its whole name"))
}

/// Remarks on what an Action is for and the cluster has not, each with its field. One that is disabled has none.
#[must_use]
pub fn missing(action: &Action, covered: &CoveredNames) -> Vec<(String, String)> {
    let spec = &action.spec;
    let mut found = Vec::new();
    if spec.disabled == Some(true) {
        return found;
    }
    for (field, scopes) in scopes::stated(spec) {
        found.extend(covered.missing_in(scopes, &field));
    }
    if let Some(kind) = spec.span_renamer.as_ref().filter(|kind| !kind.programming_language.is_empty()) {
        let stated = kind.programming_language.as_str();
        // The word of an SDK is taken as well.
        let language = LANGUAGES.into_iter().find(|one| sdk_language(one) == stated).unwrap_or(stated);
        let message = covered.missing_language(language);
        found.extend(message.map(|message| ("spec.spanRenamer.programmingLanguage".to_owned(), message)));
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;
    use crate::fixtures::covered_names;
    use serde_json::{Value, json};

    fn action(kind: &Value) -> Action {
        let mut spec = json!({"signals": ["TRACES"]});
        spec.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
        let metadata = json!({"name": "a", "namespace": "odigos-system"});
        serde_json::from_value(
            json!({"apiVersion": odigos_api::API_VERSION, "kind": "Action", "metadata": metadata, "spec": spec}),
        )
        .unwrap()
    }

    #[test]
    fn name_that_is_taken_literally_is_reported_with_its_field() {
        let delete = |name: &str| json!({"deleteAttribute": {"attributeNamesToDelete": ["ok", name]}});
        for name in ["http.*", "^http", "a b", " a", "a\t", "a,b", "user.(id|name)"] {
            let found = remarks(&action(&delete(name)).spec);
            let field = "spec.deleteAttribute.attributeNamesToDelete[1]";
            assert!(found.len() == 1 && found[0].0 == field && found[0].1.contains("literally"), "{name}: {found:?}");
        }
        for name in ["http.route", "a-b_c:d/e", "ünïcode", "{x}", "a@b"] {
            assert_eq!(remarks(&action(&delete(name)).spec), [], "{name}");
        }
        for (kind, field) in [
            (json!({"renameAttribute": {"renames": {"a*": "b"}}}), "spec.renameAttribute.renames[\"a*\"]"),
            (json!({"renameAttribute": {"renames": {"a": "b "}}}), "spec.renameAttribute.renames[\"a\"]"),
            (
                json!({"addClusterInfo": {"clusterAttributes": [{"attributeName": "k8s cluster", "attributeStringValue": "a"}]}}),
                "spec.addClusterInfo.clusterAttributes[0].attributeName",
            ),
            (
                json!({"extractAttribute": {"extractions": [{"targetAttributeName": "a*", "regex": "(a)"}]}}),
                "spec.extractAttribute.extractions[0].targetAttributeName",
            ),
        ] {
            let found = remarks(&action(&kind).spec);
            assert!(found.len() == 1 && found[0].0 == field, "{kind}: {found:?}");
        }
    }

    #[test]
    fn scope_that_matches_nothing_is_reported() {
        let masking = |scopes: Value| json!({"piiMasking": {"piiCategories": ["EMAIL"], "scopes": scopes}});
        let renamer = |language: &str| json!({"spanRenamer": {"programmingLanguage": language, "scopeName": "s", "regexReplacements": [{"regexPattern": "a", "templateText": "b"}]}});
        for (kind, field, word) in [
            (masking(json!({"namespaces": ["shp"]})), "spec.piiMasking.scopes.namespaces[0]", "did you mean shop?"),
            (masking(json!({"languages": ["python"]})), "spec.piiMasking.scopes.languages[0]", "once one is detected"),
            (
                masking(json!({"sources": [{"namespace": "shop", "kind": "Deployment", "name": "wbe"}]})),
                "spec.piiMasking.scopes.sources[0]",
                "no Source covers Deployment shop/wbe",
            ),
            (renamer("jav"), "spec.spanRenamer.programmingLanguage", "did you mean java?"),
            (renamer("nodejs"), "spec.spanRenamer.programmingLanguage", "known to run javascript"),
        ] {
            let found = missing(&action(&kind), &covered_names());
            assert!(found.len() == 1 && found[0].0 == field && found[0].1.contains(word), "{kind}: {found:?}");
        }
        let mut off = action(&renamer("jav"));
        off.spec.disabled = Some(true);
        assert_eq!(missing(&off, &covered_names()), []);
        assert_eq!(missing(&action(&renamer("java")), &covered_names()), []);
        assert_eq!(
            missing(&action(&masking(json!({"namespaces": ["shop"], "languages": ["java"]}))), &covered_names()),
            []
        );
    }

    #[test]
    fn scope_that_matches_nothing_is_reported_for_every_kind() {
        let scopes = json!({"namespaces": ["shp"]});
        for (kind, field) in [
            (json!({"piiMasking": {"scopes": scopes}}), "spec.piiMasking.scopes.namespaces[0]"),
            (json!({"dbQueryTemplatization": {"scopes": scopes}}), "spec.dbQueryTemplatization.scopes.namespaces[0]"),
            (json!({"inferDbAttributes": {"scopes": scopes}}), "spec.inferDbAttributes.scopes.namespaces[0]"),
            (
                json!({"urlTemplatization": {"rules": [{"templates": ["/a"]}, {"scopes": scopes, "templates": ["/b"]}]}}),
                "spec.urlTemplatization.rules[1].scopes.namespaces[0]",
            ),
            (
                json!({"urlTemplatization": {"default": [{"scopes": scopes}]}}),
                "spec.urlTemplatization.default[0].scopes.namespaces[0]",
            ),
        ] {
            let found = missing(&action(&kind), &covered_names());
            let [(at, message)] = &found[..] else { panic!("{kind}: {found:?}") };
            assert!(at == field && message.contains("did you mean shop?"), "{at}: {message}");
        }
        let labels = json!({"k8sAttributes": {"labelsAttributes": [{"labelKey": "app", "attributeKey": "x *"}]}});
        assert_eq!(remarks(&action(&labels).spec)[0].0, "spec.k8sAttributes.labelsAttributes[0].attributeKey");
    }
}
