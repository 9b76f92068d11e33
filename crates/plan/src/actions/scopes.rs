//! Scopes of Actions as collectors judge them: once for a resource, before anything of a user can change what they look at.
//!
//! Owns the attribute that says whether a resource is of a scope, the processor that writes it in front of all Actions and Processors, and
//! the one that removes it behind them. Node collectors judge first, since Processors may run there too, and gateways judge what no node
//! has. Never decides what a scope means ([`crate::sampling::scope`]), nor in which pipelines these processors stand.

use super::Step;
use super::transform::{Settings, set};
use crate::objects::hash;
use crate::sampling::scope;
use odigos_api::Signal;
use odigos_api::action::ActionSpec;
use odigos_api::scope::SourcesScopes;
use odigos_pipeline::ottl::{Condition, Path};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Writes the attributes; the first of what users have.
pub(crate) const JUDGE: &str = "transform/actions/scopes";
/// Removes them; the last.
pub(crate) const REMOVE: &str = "resource/actions/scopes";
/// How the attributes begin.
const PREFIX: &str = "odigos.scope.";
const YES: &str = "1";

fn key(condition: &Condition) -> String {
    format!("{PREFIX}{}", hash(condition.to_string(), 16))
}

/// What stands in the place of a scope's condition.
fn judged(condition: &Condition) -> Condition {
    Condition::Equal(Path::keyed("resource.attributes", key(condition)).into(), YES.into())
}

/// Every scope that an Action states, with its field.
pub(super) fn stated(spec: &ActionSpec) -> Vec<(String, &SourcesScopes)> {
    let whole = [
        ("piiMasking", spec.pii_masking.as_ref().and_then(|kind| kind.scopes.as_ref())),
        ("dbQueryTemplatization", spec.db_query_templatization.as_ref().and_then(|kind| kind.scopes.as_ref())),
        ("inferDbAttributes", spec.infer_db_attributes.as_ref().and_then(|kind| kind.scopes.as_ref())),
    ];
    let mut all: Vec<(String, &SourcesScopes)> = Vec::new();
    all.extend(whole.into_iter().filter_map(|(kind, scopes)| Some((format!("spec.{kind}.scopes"), scopes?))));
    if let Some(kind) = &spec.url_templatization {
        let rules = kind.rules.iter().map(|one| one.scopes.as_ref()).enumerate();
        let rules = rules.map(|(n, scopes)| (format!("spec.urlTemplatization.rules[{n}].scopes"), scopes));
        let default = kind.default.iter().map(|one| one.scopes.as_ref()).enumerate();
        let default = default.map(|(n, scopes)| (format!("spec.urlTemplatization.default[{n}].scopes"), scopes));
        all.extend(rules.chain(default).filter_map(|(field, scopes)| Some((field, scopes?))));
    }
    all
}

/// The conditions over resources that the settings of an Action contain.
pub(super) fn conditions(spec: &ActionSpec) -> Vec<Condition> {
    let scopes = stated(spec).into_iter().filter_map(|(_, scopes)| scope::condition(Some(scopes)).ok().flatten());
    let language = spec.span_renamer.as_ref().map(super::span_names::language);
    scopes.chain(language).collect()
}

/// The settings of a step with its scopes as they were judged before. What drops items of several signals judges them itself: only
/// resources of spans are marked.
pub(super) fn marked(step: &Step) -> Settings {
    if step.signals != [Signal::Traces] {
        return step.settings.clone();
    }
    step.settings.replacing(&|condition| step.scopes.contains(condition).then(|| judged(condition)))
}

/// The scopes of some steps, each once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scopes(BTreeMap<String, Condition>);

impl Scopes {
    /// Of the steps of all collectors.
    pub fn of<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Self {
        let of_spans = steps.into_iter().filter(|step| step.signals == [Signal::Traces]);
        let conditions = of_spans.flat_map(|step| &step.scopes);
        Self(conditions.map(|condition| (key(condition), condition.clone())).collect())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Settings of the processor that judges them. What a node has judged stays.
    #[must_use]
    pub fn judging(&self) -> Value {
        let statements: Vec<String> = self
            .0
            .iter()
            .map(|(key, condition)| {
                let attribute = Path::keyed("resource.attributes", key.as_str()).into();
                set(attribute, YES.into(), Some(condition.clone())).to_string()
            })
            .collect();
        json!({"error_mode": "ignore", "trace_statements": [{"context": "resource", "statements": statements}]})
    }

    /// Settings of the processor that removes what was judged.
    #[must_use]
    pub fn removing() -> Value {
        json!({"attributes": [{"pattern": r"^odigos\.scope\.", "action": "delete"}]})
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;
    use crate::actions::compile;
    use odigos_api::action::Action;

    fn step(spec: Value) -> Step {
        compile(&Action::new("a", serde_json::from_value(spec).unwrap())).step.unwrap()
    }

    #[test]
    fn every_scope_is_judged_once_for_a_resource() {
        let shop = json!({"namespaces": ["shop"]});
        for kind in [
            json!({"piiMasking": {"scopes": shop, "piiCategories": ["EMAIL"]}}),
            json!({"dbQueryTemplatization": {"scopes": shop, "templatizeLiterals": true}}),
            json!({"inferDbAttributes": {"scopes": shop}}),
            json!({"urlTemplatization": {"rules": [{"scopes": shop, "templates": ["/a/{b}"]}], "default": [{"scopes": shop}]}}),
        ] {
            let mut spec = kind;
            spec["signals"] = json!(["TRACES"]);
            let step = step(spec);
            let (inline, placed) = (step.settings.rendered().to_string(), step.rendered().to_string());
            assert!(inline.contains("k8s.namespace.name") && !inline.contains(PREFIX), "{inline}");
            assert!(!placed.contains("k8s.namespace.name") && placed.contains(PREFIX), "{placed}");
            let scopes = Scopes::of([&step]);
            let statements = scopes.judging()["trace_statements"][0]["statements"].clone();
            assert_eq!(statements.as_array().unwrap().len(), 1, "{statements}");
            let statement = statements[0].as_str().unwrap();
            assert!(
                statement.ends_with(r#""1") where resource.attributes["k8s.namespace.name"] == "shop""#),
                "{statement}"
            );
        }
        let renamer = step(json!({"signals": ["TRACES"], "spanRenamer": {
            "programmingLanguage": "java", "scopeName": "lib", "regexReplacements": [{"regexPattern": "a", "templateText": "b"}],
        }}));
        assert!(!renamer.rendered().to_string().contains("telemetry.sdk.language"));
        assert!(
            Scopes::of([&step(json!({"signals": ["TRACES"], "piiMasking": {"piiCategories": ["EMAIL"]}}))]).is_empty()
        );
    }
}
