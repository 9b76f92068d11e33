//! Destinations: what can never work is refused, what can be mended elsewhere is a warning.
//!
//! Manifests that other products of this kind accept must apply unchanged, also before their Secret exists, so a
//! setting that does not parse is a warning here and a condition later; refused are an object that no collector could ever
//! name, and credentials among settings that everyone may read.

use super::{Refusal, Review};
use crate::configuration::Configuration;
use crate::gateway::allowed_types;
use crate::gateway::destinations::{SECRET_FIELD, value_problems};
use crate::gateway::secret_access::record;
use crate::spelling::{hint, nearest};
use crate::streams::{self, Selection};
use odigos_api::destination::{Destination, DestinationSpec};
use odigos_api::{Signal, labels};
use odigos_catalog::plain_credentials::{self, PlainCredential};
use odigos_catalog::render::{self, Instance, Problem, Reason, Secret};
use odigos_pipeline::graph::check_component_id;
use std::collections::{BTreeMap, BTreeSet};

/// The Secret whose use by the writer of a Destination is to be looked at: none where the specification stays as it was.
#[must_use]
pub fn secret_to_ask_about<'a>(destination: &'a Destination, before: Option<&Destination>) -> Option<&'a str> {
    if keeps_record(destination, before) {
        return None;
    }
    destination.spec.secret_ref.as_ref().map(|reference| reference.name.as_str())
}

/// What the annotation [`odigos_api::labels::SECRET_ACCESS`] is to say, whatever the writer put there. Who changes the specification could send the
/// credentials to a server of his own, so what is recorded is always of the last writer.
#[must_use]
pub fn recorded_access(destination: &Destination, before: Option<&Destination>, may_read: bool) -> Option<String> {
    if keeps_record(destination, before) {
        return before?.metadata.annotations.as_ref()?.get(labels::SECRET_ACCESS).cloned();
    }
    let secret = destination.spec.secret_ref.as_ref().map(|reference| reference.name.as_str());
    Some(record(secret, may_read))
}

fn keeps_record(destination: &Destination, before: Option<&Destination>) -> bool {
    before.is_some_and(|before| before.spec == destination.spec)
}

/// Reviews a Destination. Secrets are not looked at: they may be created later.
#[must_use]
pub fn review(
    destination: &Destination,
    before: Option<&Destination>,
    configuration: &Configuration,
    control_plane_namespace: &str,
) -> Review {
    let mut result = Review::default();
    let spec = &destination.spec;
    let name = destination.metadata.name.as_deref().unwrap_or_default();
    result.refusals.extend(credentials_in_data(spec, before));
    let known = before.map(|before| plain(&before.spec)).unwrap_or_default();
    for one in plain(spec) {
        let field = format!("spec.data.{}", one.setting);
        if known.contains(&one) {
            result.warnings.push(format!("{field}: {}", one.message()));
        } else {
            result.refusals.push(Refusal::new(field, one.message()));
        }
    }
    if !result.refusals.is_empty() {
        return result;
    }
    if let Some(problem) = allowed_types::problem(configuration, &spec.type_) {
        result.warnings.push(format!("spec.type: {problem}"));
    }
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
            // Which of the keys the Secret really has is not known here.
            let is_of_secret = |field: &str| {
                let name = field.strip_prefix("spec.data.").unwrap_or_default();
                field == SECRET_FIELD || keys.contains(name) && !spec.data.contains_key(name)
            };
            rendered.warnings.into_iter().filter(|one| !is_of_secret(&one.field)).collect()
        }
        Err(problems) => with_nearest_type(problems, &spec.type_),
    };
    result.warnings.extend(problems.into_iter().map(|problem| format!("{}: {}", problem.field, problem.message)));
    result
}

/// The problems, where the type is not known with the one that was probably meant in place of the list of all.
pub(crate) fn with_nearest_type(mut problems: Vec<Problem>, type_id: &str) -> Vec<Problem> {
    let known = || odigos_catalog::destination::types().keys().map(String::as_str);
    let unknown = problems.iter_mut().filter(|one| one.reason == Reason::UnknownType);
    for (problem, near) in unknown.zip(nearest(type_id.trim(), known())) {
        problem.message = format!("{type_id:?} is not a known type; did you mean {near}?");
    }
    problems
}

/// Credentials among the settings, unless they were there before: everyone who may read Destinations may read those.
fn credentials_in_data(spec: &DestinationSpec, before: Option<&Destination>) -> Vec<Refusal> {
    let Some(found) = odigos_catalog::destination::find(&spec.type_) else { return Vec::new() };
    let is_there =
        |data: &BTreeMap<String, String>, name: &str| data.get(name).is_some_and(|text| !text.trim().is_empty());
    let had = |name: &str| before.is_some_and(|before| is_there(&before.spec.data, name));
    let secret = found.fields.iter().filter(|field| field.secret && is_there(&spec.data, &field.name));
    let fresh = secret.filter(|field| !had(&field.name));
    fresh
        .map(|field| {
            let message = "it is a credential: put it into a Secret and name that in spec.secretRef (odigos destinations add does both)";
            Refusal::new(format!("spec.data.{}", field.name), message)
        })
        .collect()
}

fn plain(spec: &DestinationSpec) -> Vec<PlainCredential> {
    plain_credentials::found(odigos_catalog::destination::find(&spec.type_), &spec.data)
}

/// Credentials in plain text that an older release admitted, each with its field: they work, and everyone who may read Destinations can
/// read them.
#[must_use]
pub fn credential_remarks(spec: &DestinationSpec, name: &str) -> Vec<(String, String)> {
    let remark = |one: PlainCredential| {
        let how = if one.is_movable() { format!(" (odigos destinations move-secret {name})") } else { String::new() };
        (format!("spec.data.{}", one.setting), format!("{}{how}", one.message()))
    };
    plain(spec).into_iter().map(remark).collect()
}

/// What is accepted but has no effect: settings that the type lacks, and what of the selector selects nothing. Each with its field.
#[must_use]
pub fn remarks(spec: &DestinationSpec) -> Vec<(String, String)> {
    let mut found = streams::selector_problems(spec);
    if let Some(of_type) = odigos_catalog::destination::find(&spec.type_) {
        let unknown = spec.data.keys().filter(|key| of_type.field(key).is_none());
        found.extend(unknown.map(|key| {
            let near = hint(key, of_type.fields.iter().map(|field| field.name.as_str()));
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
        let review = |one: &Destination, namespace: &str| review(one, None, &Configuration::default(), namespace);
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
        // Which keys a Secret has shows when it is read; a setting without effect shows at once.
        let mut unused =
            destination("d", "otlp", &["TRACES"], json!({"OTLP_GRPC_ENDPOINT": "c", "OTLP_GRPC_CA_PEM": "junk"}));
        unused.spec.secret_ref = Some(odigos_api::destination::SecretRef { name: "s".into() });
        let warnings = review(&unused, "odigos-system").warnings;
        assert!(
            matches!(warnings.as_slice(), [one] if one.starts_with("spec.data.OTLP_GRPC_CA_PEM: it has no effect")),
            "{warnings:?}"
        );
        for (written, meant) in [("Jaeger", "jaeger"), (" debug", "debug"), ("otlp-http", "otlphttp")] {
            let found = review(&destination("d", written, &["TRACES"], json!({})), "odigos-system").warnings;
            let expected = format!("is not a known type; did you mean {meant}?");
            assert!(found.iter().any(|text| text.ends_with(&expected)), "{found:?}");
        }
        let misspelt = destination("d", "jaeger", &["TRACES"], json!({"JAEGER_URL": "j", "JAEGER_TLS_ENABLE": "true"}));
        assert_eq!(
            review(&misspelt, "odigos-system").warnings,
            [
                "spec.data.JAEGER_TLS_ENABLE: jaeger has no such setting, and it is ignored; did you mean JAEGER_TLS_ENABLED?"
            ]
        );
    }

    #[test]
    fn credential_in_data_is_refused_unless_it_was_there() {
        let of = |data: serde_json::Value| destination("d", "honeycomb", &["TRACES"], data);
        let configuration = Configuration::default();
        let review =
            |one: &Destination, before: Option<&Destination>| review(one, before, &configuration, "odigos-system");
        let (with, without) = (of(json!({"HONEYCOMB_API_KEY": "k"})), of(json!({})));
        let refused = review(&with, None).refusals;
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].field, "spec.data.HONEYCOMB_API_KEY");
        assert!(!refused[0].message.contains('k') || !refused[0].message.contains("\"k\""));
        assert_eq!(review(&with, Some(&without)).refusals.len(), 1);
        assert_eq!(review(&with, Some(&with)).refusals, vec![], "what an older release took stays");
        let file = destination("d", "file", &["TRACES"], json!({"FILE_PATH": "/a"}));
        assert!(review(&file, None).warnings.iter().any(|text| text.contains("destinations.additionalTypes: [file]")));
    }

    #[test]
    fn credential_in_an_address_or_a_header_is_refused_unless_it_was_there() {
        let of = |endpoint: &str, header: &str, value: &str| {
            let headers = json!([{"key": header, "value": value}]).to_string();
            destination(
                "d",
                "otlphttp",
                &["TRACES"],
                json!({"OTLP_HTTP_ENDPOINT": endpoint, "OTLP_HTTP_HEADERS": headers}),
            )
        };
        let review = |one: &Destination, before: Option<&Destination>| {
            review(one, before, &Configuration::default(), "odigos-system")
        };
        let fields = |one: &Destination, before: Option<&Destination>| -> Vec<String> {
            review(one, before).refusals.into_iter().map(|refusal| refusal.field).collect()
        };
        const NONE: [String; 0] = [];
        let (endpoint, headers) = ("spec.data.OTLP_HTTP_ENDPOINT", "spec.data.OTLP_HTTP_HEADERS");
        let (clean, url) = (of("https://h", "tenant", "a"), of("https://me:hunter2@h", "tenant", "a"));
        let header = of("https://h", "X-Api-Key", "hunter2");
        assert_eq!(fields(&clean, None), NONE);
        assert_eq!(fields(&url, None), [endpoint]);
        assert_eq!(fields(&url, Some(&clean)), [endpoint]);
        assert_eq!(fields(&header, Some(&url)), [headers]);
        assert_eq!(fields(&of("https://h", "Authorization", "Bearer ${TOKEN}"), None), NONE);
        // What an older release took stays, and is said; another value is new.
        let older = review(&header, Some(&header));
        assert_eq!(older.refusals, vec![]);
        assert!(older.warnings.iter().any(|text| text.starts_with(headers)), "{older:?}");
        assert_eq!(fields(&of("https://other", "X-Api-Key", "hunter2"), Some(&header)), NONE);
        assert_eq!(fields(&of("https://h", "X-Api-Key", "hunter3"), Some(&header)), [headers]);
        let said = format!("{:?}{:?}", review(&url, None), older);
        assert!(!said.contains("hunter"), "{said}");
        let remarks = credential_remarks(&header.spec, "d");
        assert!(remarks.len() == 1 && remarks[0].1.contains("odigos destinations move-secret d"), "{remarks:?}");
    }

    #[test]
    fn access_is_that_of_the_last_writer_of_the_specification() {
        let secret = |name: &str| Some(odigos_api::destination::SecretRef { name: name.into() });
        let with = |annotation: Option<&str>, secret_ref, endpoint: &str| {
            let mut one = destination("d", "honeycomb", &["TRACES"], json!({"HONEYCOMB_ENDPOINT": endpoint}));
            one.spec.secret_ref = secret_ref;
            one.metadata.annotations =
                annotation.map(|text| [(labels::SECRET_ACCESS.to_owned(), text.to_owned())].into());
            one
        };
        let forged = with(Some("granted:s"), secret("s"), "h");
        assert_eq!(secret_to_ask_about(&forged, None), Some("s"));
        assert_eq!(recorded_access(&forged, None, false).as_deref(), Some("denied:s"));
        assert_eq!(recorded_access(&forged, None, true).as_deref(), Some("granted:s"));
        assert_eq!(recorded_access(&with(None, None, "h"), None, false).as_deref(), Some("none"));
        // Labels and annotations are not the specification: what was recorded stays, and so does that nothing was.
        let (older, granted) = (with(None, secret("s"), "h"), with(Some("granted:s"), secret("s"), "h"));
        assert_eq!(secret_to_ask_about(&forged, Some(&older)), None);
        assert_eq!(recorded_access(&forged, Some(&older), false), None);
        assert_eq!(recorded_access(&older, Some(&granted), false).as_deref(), Some("granted:s"));
        // Another server: who says so must be allowed to read the Secret himself.
        assert_eq!(
            recorded_access(&with(Some("granted:s"), secret("s"), "evil"), Some(&granted), false).as_deref(),
            Some("denied:s")
        );
    }
}
