//! Destinations: what can never work is refused, what can be mended elsewhere is a warning.
//!
//! Manifests that other products of this kind accept must apply unchanged, also before their Secret exists, so a
//! setting that does not parse is a warning here and a condition later; only an object that no collector could ever
//! name is refused.

use super::Refusal;
use crate::gateway::destinations::value_problems;
use crate::spelling::nearest;
use crate::streams::{self, Selection};
use odigos_api::Signal;
use odigos_api::destination::{Destination, DestinationSpec};
use odigos_catalog::render::{self, Instance, Secret};
use odigos_pipeline::graph::check_component_id;
use std::collections::BTreeSet;

/// What is said when a Destination is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// Reasons to refuse it.
    pub refusals: Vec<Refusal>,
    /// Remarks that kubectl prints.
    pub warnings: Vec<String>,
}

/// Reviews a Destination. Secrets are not looked at: they may be created later.
#[must_use]
pub fn review(destination: &Destination, control_plane_namespace: &str) -> Review {
    let mut result = Review::default();
    let spec = &destination.spec;
    let name = destination.metadata.name.as_deref().unwrap_or_default();
    if spec.type_.trim().is_empty() {
        result.refusals.push(Refusal::new("spec.type", "it is empty; name a destination type such as otlp"));
        return result;
    }
    if !name.is_empty()
        && let Err(why) = check_component_id(&format!("debug/{name}"))
    {
        result
            .refusals
            .push(Refusal::new("metadata.name", format!("it cannot be part of a collector configuration: {why}")));
        return result;
    }
    if destination.metadata.namespace.as_deref().is_some_and(|namespace| namespace != control_plane_namespace) {
        result.warnings.push(format!("metadata.namespace: only Destinations in {control_plane_namespace} are used"));
    }
    if Selection::of(spec) == Selection::Streams(BTreeSet::new()) {
        result.warnings.push(
            "spec.sourceSelector: it names no stream and no namespace, so nothing reaches the destination".into(),
        );
    }
    result.warnings.extend(remarks(spec).into_iter().map(|(field, message)| format!("{field}: {message}")));
    if let Some(found) = odigos_catalog::destination::find(&spec.type_) {
        let missing = found.fields.iter().filter(|field| field.is_required() && !field.secret);
        let missing = missing.filter(|field| spec.data.get(&field.name).is_none_or(|text| text.trim().is_empty()));
        result
            .warnings
            .extend(missing.map(|field| format!("spec.data.{}: {} is usually needed", field.name, field.display_name)));
    }
    if let Some(delivery) = &spec.delivery {
        let problems = crate::gateway::delivery::problems(delivery);
        result.warnings.extend(problems.into_iter().map(|(field, message)| format!("{field}: {message}")));
    }
    // Every secret key of the type counts as present: whether it is will show when the Secret is read.
    let keys: BTreeSet<String> = odigos_catalog::destination::find(&spec.type_)
        .map(|found| found.fields.iter().filter(|field| field.secret).map(|field| field.name.clone()).collect())
        .unwrap_or_default();
    let secret = match &spec.secret_ref {
        Some(reference) => Secret::Keys { name: &reference.name, keys: &keys },
        None => Secret::None,
    };
    let signals: BTreeSet<Signal> = spec.signals.iter().copied().collect();
    let instance = Instance { id: name, type_id: &spec.type_, data: &spec.data, signals: &signals, secret };
    let problems = match render::render(&instance) {
        Ok(rendered) => {
            let problems = value_problems(&rendered, None, "");
            result.warnings.extend(problems.into_iter().map(|(field, message)| format!("{field}: {message}")));
            rendered.warnings
        }
        Err(problems) => problems,
    };
    result.warnings.extend(problems.into_iter().map(|problem| format!("{}: {}", problem.field, problem.message)));
    result
}

/// What is accepted but has no effect: settings that the type lacks, and streams that no workload can be in. Each with its field.
#[must_use]
pub fn remarks(spec: &DestinationSpec) -> Vec<(String, String)> {
    let mut found = streams::impossible_streams(spec);
    if let Some(of_type) = odigos_catalog::destination::find(&spec.type_) {
        let unknown = spec.data.keys().filter(|key| of_type.field(key).is_none());
        found.extend(unknown.map(|key| {
            let near = nearest(key, of_type.fields.iter().map(|field| field.name.as_str()));
            let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            (format!("spec.data.{key}"), format!("{} has no such setting, and it is ignored{near}", spec.type_))
        }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{destination, destination_with};
    use serde_json::json;

    #[test]
    fn only_the_impossible_is_refused() {
        let good = destination("d", "jaeger", &["TRACES"], json!({"JAEGER_URL": "j"}));
        assert_eq!(review(&good, "odigos-system"), Review::default());
        let empty = destination("d", "", &["TRACES"], json!({}));
        assert_eq!(review(&empty, "odigos-system").refusals.len(), 1);
        for (one, part) in [
            (destination("d", "future", &["TRACES"], json!({})), "spec.type"),
            (destination("d", "jaeger", &["TRACES"], json!({})), "JAEGER_URL"),
            (destination_with("d", "debug", &["TRACES"], json!({}), json!({})), "spec.sourceSelector"),
            (destination("d", "honeycomb", &["TRACES"], json!({})), "HONEYCOMB_API_KEY"),
        ] {
            let review = review(&one, "odigos-system");
            assert_eq!(review.refusals, vec![]);
            assert!(review.warnings.iter().any(|warning| warning.contains(part)), "{part}: {review:?}");
        }
        assert_eq!(review(&good, "elsewhere").warnings.len(), 1);
        let misspelt = destination("d", "jaeger", &["TRACES"], json!({"JAEGER_URL": "j", "JAEGER_TLS_ENABLE": "true"}));
        assert_eq!(
            review(&misspelt, "odigos-system").warnings,
            [
                "spec.data.JAEGER_TLS_ENABLE: jaeger has no such setting, and it is ignored; did you mean JAEGER_TLS_ENABLED?"
            ]
        );
    }
}
