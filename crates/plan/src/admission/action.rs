//! Actions: what cannot be compiled is rejected with its field.
//!
//! Owns what is said when an Action is written; [`crate::actions`] judges it. Never looks at other Actions.

use super::{Refusal, Review};
use crate::actions::{compile, names};
use odigos_api::action::Action;

/// Reviews an Action. One whose settings stay as they are keeps them, so that its labels can be changed whatever an earlier release
/// took: its condition says what is wrong. One that is disabled may be unfinished.
#[must_use]
pub fn review(action: &Action, before: Option<&Action>, control_plane_namespace: &str) -> Review {
    let mut result = Review::default();
    let namespace = action.metadata.namespace.as_deref().unwrap_or(control_plane_namespace);
    let is_kept = before.is_some_and(|before| before.spec == action.spec) || action.spec.disabled == Some(true);
    let mut refusals: Vec<(String, String)> =
        compile(action).problems.into_iter().map(|problem| (problem.field, problem.message)).collect();
    refusals.extend(names::no_streams(&action.spec));
    if namespace != control_plane_namespace {
        let message = format!("only Actions in {control_plane_namespace} are used; create it there");
        refusals.push(("metadata.namespace".to_owned(), message));
    }
    if is_kept {
        result.warnings.extend(refusals.into_iter().map(|(field, message)| format!("{field}: {message}")));
    } else {
        result.refusals.extend(refusals.into_iter().map(|(field, message)| Refusal::new(field, message)));
    }
    let remarks = names::remarks(&action.spec).into_iter();
    result.warnings.extend(remarks.map(|(field, message)| format!("{field}: {message}")));
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn action(namespace: &str, spec: &Value) -> Action {
        let metadata = json!({"name": "a", "namespace": namespace});
        let object = json!({"apiVersion": "odigos.io/v1alpha1", "kind": "Action", "metadata": metadata, "spec": spec});
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn what_cannot_be_compiled_is_rejected_unless_it_is_kept() {
        let broken = json!({"signals": ["TRACES"], "piiMasking": {"customRegexMaskings": [{"regex": "no group"}]}});
        let mine = action("odigos-system", &broken);
        let refused = review(&mine, None, "odigos-system");
        assert_eq!(refused.refusals.len(), 1, "{refused:?}");
        assert!(format!("{refused:?}").contains("spec.piiMasking.customRegexMaskings[0].regex"), "{refused:?}");
        let kept = review(&mine, Some(&mine), "odigos-system");
        assert!(kept.refusals.is_empty() && kept.warnings.len() == 1, "{kept:?}");
        let fine = json!({"signals": ["TRACES"], "deleteAttribute": {"attributeNamesToDelete": ["a"]}});
        assert_eq!(review(&action("odigos-system", &fine), Some(&mine), "odigos-system"), Review::default());
        assert_eq!(review(&action("shop", &fine), None, "odigos-system").refusals.len(), 1, "row 3");
        let pods = json!({"signals": ["TRACES"], "dataStreams": ["s1"], "k8sAttributes": {"collectClusterUID": true}});
        let pods = review(&action("odigos-system", &pods), None, "odigos-system");
        assert!(format!("{pods:?}").contains("spec.dataStreams"), "row 53: {pods:?}");
        for (streams, field) in [(json!([]), "spec.dataStreams"), (json!(["a", ""]), "spec.dataStreams[1]")] {
            let mut spec = fine.clone();
            spec["dataStreams"] = streams;
            let limited = action("odigos-system", &spec);
            let refused = review(&limited, None, "odigos-system");
            assert!(refused.refusals.len() == 1 && format!("{refused:?}").contains(field), "{refused:?}");
            let kept = review(&limited, Some(&limited), "odigos-system");
            assert!(kept.refusals.is_empty() && kept.warnings.len() == 1, "a stored one stays: {kept:?}");
        }
    }
}
