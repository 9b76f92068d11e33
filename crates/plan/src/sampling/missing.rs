//! What rules name and the cluster has not: workloads, namespaces, languages, data streams.
//!
//! Owns the remarks; the words are those of [`CoveredNames`]. Such a rule is accepted: it takes effect as soon as what it names is
//! there. Never decides what a rule matches.

use super::accept::Accepted;
use super::foreign;
use super::rule::{Scope, SourceKey};
use crate::covered::CoveredNames;
use odigos_api::labels::DEFAULT_STREAM;
use odigos_api::{Finding, WorkloadRef};
use std::collections::BTreeSet;

impl Accepted {
    /// Remarks on everything that an enabled rule names and that is not covered: it matches nothing until it is.
    pub fn remark_missing(&mut self, covered: &CoveredNames) {
        let mut remarks = Vec::new();
        let mut streams: BTreeSet<(&str, &str)> = BTreeSet::new();
        for rule in self.rules.iter().filter(|rule| rule.enabled) {
            let field = format!("spec.{}[{}].sourceScopes", rule.category.field(), rule.origin.index);
            let missing = missing_in_scope(&rule.scope, covered);
            remarks.extend(missing.into_iter().map(|message| (rule.origin.object.as_str(), field.clone(), message)));
            streams.extend(rule.streams.iter().map(|stream| (rule.origin.object.as_str(), stream.as_str())));
        }
        // What no workload sends can be in the default stream as well.
        for (object, stream) in streams.into_iter().filter(|(_, stream)| *stream != DEFAULT_STREAM) {
            let message = covered.missing_stream(stream).filter(|_| foreign::of_stream(stream).is_none());
            remarks.extend(message.map(|message| (object, "spec.dataStreams".to_owned(), message)));
        }
        let remarks: Vec<(String, String, String)> =
            remarks.into_iter().map(|(object, field, message)| (object.to_owned(), field, message)).collect();
        for (object, field, message) in remarks {
            if let Some(facts) = self.objects.get_mut(&object) {
                facts.remarks.push(format!("{field}: {message}"));
                self.findings.push(Finding::warning(facts.title.clone(), field, message));
            }
        }
        self.findings.sort();
    }
}

/// What of a scope is not there. A pattern that is taken literally has a remark of its own.
fn missing_in_scope(scope: &Scope, covered: &CoveredNames) -> Vec<String> {
    let source = |one: &SourceKey| {
        covered.missing_workload(&WorkloadRef::new(one.namespace.clone(), one.kind, one.name.clone()))
    };
    let namespace = |name: &String| covered.missing_namespace(name).filter(|_| foreign::of_namespace(name).is_none());
    let language = |language: &String| covered.missing_language(language);
    let mut found = Vec::new();
    match scope {
        Scope::Everything | Scope::Containers(_) => {}
        Scope::Lists { sources, namespaces, languages } => {
            found.extend(sources.iter().filter_map(source));
            found.extend(namespaces.iter().filter_map(namespace));
            found.extend(languages.iter().filter_map(language));
        }
        Scope::AnyOf(alternatives) => {
            for one in alternatives {
                match one.source() {
                    Some(whole) => found.extend(source(&whole)),
                    None => found.extend(one.namespace.iter().filter_map(namespace)),
                }
                found.extend(one.language.iter().filter_map(language));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::scenarios::accepted;
    use crate::fixtures::covered_names;
    use serde_json::{Value, json};

    fn remarks(spec: Value) -> Vec<String> {
        let mut accepted = accepted(&[spec]);
        accepted.remark_missing(&covered_names());
        assert_eq!(accepted.findings.len(), accepted.objects["s0"].remarks.len(), "condition and findings agree");
        accepted.objects["s0"].remarks.clone()
    }

    #[test]
    fn what_matches_nothing_is_reported_on_its_object() {
        let noisy = |rule: Value| json!({"noisyOperations": [rule]});
        let scope = |scope: Value| noisy(json!({"sourceScopes": scope}));
        for (spec, expected) in [
            (json!({}), "spec: it states no rule"),
            (
                scope(json!({"namespaces": ["shp"]})),
                "spec.noisyOperations[0].sourceScopes: no Source covers a workload in the namespace shp, or it does not exist; did you mean shop?",
            ),
            (scope(json!({"languages": ["python"]})), "no covered container is known to run python"),
            (
                scope(json!({"sources": [{"namespace": "shop", "kind": "Deployment", "name": "wbe"}]})),
                "no Source covers Deployment shop/wbe",
            ),
            (scope(json!([{"workloadNamespace": "team", "workloadLanguage": "java"}])), "in the namespace team"),
            (
                json!({"dataStreams": ["mony"], "costReductionRules": [{"percentageAtMost": 5}]}),
                "spec.dataStreams: no covered workload is in the data stream mony; did you mean money?",
            ),
            (
                noisy(json!({"operation": {"httpServer": {"route": "/a", "routePrefix": "/b"}}})),
                "operation.httpServer.routePrefix: it has no effect beside the whole path",
            ),
            (
                noisy(json!({"operation": {"httpClient": {"templatedPath": "/a", "templatedPathPrefix": "/b"}}})),
                "operation.httpClient.templatedPathPrefix: it has no effect",
            ),
        ] {
            let found = remarks(spec.clone());
            assert!(found.len() == 1 && found[0].contains(expected), "{spec}: {found:?}");
        }
    }

    #[test]
    fn what_matches_is_not_reported() {
        let source = json!({"namespace": "shop", "kind": "Deployment", "name": "web"});
        for spec in [
            json!({"noisyOperations": [{"sourceScopes": {"namespaces": ["shop"], "languages": ["java"], "sources": [source]}}]}),
            json!({"dataStreams": ["money", "default"], "costReductionRules": [{"percentageAtMost": 5}]}),
            json!({"disabled": true}),
            json!({"noisyOperations": [{"disabled": true, "sourceScopes": {"namespaces": ["nowhere"]}}]}),
        ] {
            assert_eq!(remarks(spec.clone()), Vec::<String>::new(), "{spec}");
        }
    }
}
