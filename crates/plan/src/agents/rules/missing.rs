//! What a rule names and the cluster has not: workloads, namespaces, languages, data streams, distributions; and a rule without a
//! setting.
//!
//! Owns which fields are looked at; the words are those of [`CoveredNames`]. Such a rule is accepted: it takes effect as soon as what it
//! names is there. Never decides what is in scope.

use crate::covered::{CoveredNames, LANGUAGES, unknown};
use odigos_api::instrumentation_rule::InstrumentationRuleSpec;
use odigos_api::labels::stream_name_problem;
use odigos_catalog::distribution;

/// Field and message of everything that matches nothing now; empty for a rule that is switched off.
#[must_use]
pub fn missing(spec: &InstrumentationRuleSpec, covered: &CoveredNames) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if spec.disabled == Some(true) {
        return found;
    }
    let mut report = |field: String, message: Option<String>| found.extend(message.map(|message| (field, message)));
    if holds_no_setting(spec) {
        let message =
            "it holds no setting, so agents stay as they are; add one, such as headersCollection or codeAttributes";
        report("spec".to_owned(), Some(message.to_owned()));
    }
    for (field, message) in spec.scopes.iter().flat_map(|scopes| covered.missing_in(scopes, "spec.scopes")) {
        report(field, Some(message));
    }
    for (n, one) in spec.workloads.iter().flatten().enumerate() {
        report(format!("spec.workloads[{n}]"), covered.missing_reference(&one.namespace, &one.kind, &one.name));
    }
    for (n, stream) in spec.data_streams.iter().flatten().enumerate() {
        // What can be the name of none is reported as such.
        let message = covered.missing_stream(stream).filter(|_| stream_name_problem(stream).is_none());
        report(format!("spec.dataStreams[{n}]"), message);
    }
    if spec.instrumentation_libraries.as_ref().is_some_and(Vec::is_empty) {
        let message = "the list is empty, so the rule is for no library; remove it, or name libraries";
        report("spec.instrumentationLibraries".to_owned(), Some(message.to_owned()));
    }
    for (n, library) in spec.instrumentation_libraries.iter().flatten().enumerate() {
        let language = library.language.trim();
        let message =
            (!language.is_empty() && !LANGUAGES.contains(&language)).then(|| unknown(language, "language", LANGUAGES));
        report(format!("spec.instrumentationLibraries[{n}].language"), message);
    }
    for (n, name) in spec.otel_distros.iter().flat_map(|block| &block.otel_distro_names).enumerate() {
        let message = distribution::find(name)
            .is_none()
            .then(|| unknown(name, "distribution", distribution::all().values().map(|one| one.name.as_str())));
        report(format!("spec.otelDistros.otelDistroNames[{n}]"), message);
    }
    for (field, languages) in languages(spec) {
        let known: Vec<&str> = languages.into_iter().filter(|language| LANGUAGES.contains(language)).collect();
        // One that runs is enough: a rule may be written for languages to come.
        if known.iter().all(|language| covered.missing_language(language).is_some()) {
            report(field.to_owned(), known.first().and_then(|language| covered.missing_language(language)));
        }
    }
    found
}

/// The languages that blocks of a rule are for, by field.
fn languages(spec: &InstrumentationRuleSpec) -> Vec<(&'static str, Vec<&str>)> {
    let libraries = spec.instrumentation_libraries.iter().flatten().map(|one| one.language.trim()).collect();
    let verbosity =
        spec.trace_verbosity.iter().flat_map(|one| one.disabled_libraries.iter().chain(&one.enabled_libraries));
    let custom = spec.custom_instrumentations.iter().flat_map(|one| {
        let stated = [
            ("go", !one.golang.is_empty()),
            ("java", !one.java.is_empty()),
            ("php", !one.php.is_empty()),
            ("cplusplus", !one.cpp.is_empty()),
        ];
        stated.into_iter().filter(|(_, is_stated)| *is_stated).map(|(language, _)| language)
    });
    let names = spec.otel_distros.iter().flat_map(|block| &block.otel_distro_names);
    let distributions = names.filter_map(|name| distribution::find(name)).map(|one| one.language.as_str());
    vec![
        ("spec.instrumentationLibraries", libraries),
        ("spec.traceVerbosity", verbosity.map(|one| one.language.trim()).collect()),
        ("spec.customInstrumentations", custom.collect()),
        ("spec.otelDistros", distributions.collect()),
    ]
}

/// Whether no block of a rule is set.
fn holds_no_setting(spec: &InstrumentationRuleSpec) -> bool {
    let blocks = [
        spec.payload_collection.is_some(),
        spec.headers_collection.is_some(),
        spec.code_attributes.is_some(),
        spec.trace_config.is_some(),
        spec.metrics_config.is_some(),
        spec.logs_config.is_some(),
        spec.otel_distros.is_some(),
        spec.custom_instrumentations.is_some(),
        spec.trace_verbosity.is_some(),
        spec.agent_diagnostics.is_some(),
        spec.ebpf_log_capture.is_some(),
        spec.network_metrics.is_some(),
        spec.head_sampling_fallback_fraction.is_some(),
    ];
    !blocks.contains(&true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::covered_names;
    use serde_json::{Value, json};

    fn missing_of(spec: Value) -> Vec<String> {
        let spec: InstrumentationRuleSpec = serde_json::from_value(spec).unwrap();
        missing(&spec, &covered_names()).into_iter().map(|(field, message)| format!("{field}: {message}")).collect()
    }

    #[test]
    fn rule_that_matches_nothing_is_told_field_by_field() {
        let source = |kind: &str, name: &str| json!({"namespace": "shop", "kind": kind, "name": name});
        for (spec, expected) in [
            (json!({}), "spec: it holds no setting"),
            (
                json!({"codeAttributes": {}, "scopes": {"languages": ["jav"]}}),
                "spec.scopes.languages[0]: there is no language \"jav\"; did you mean java?",
            ),
            (
                json!({"codeAttributes": {}, "scopes": {"languages": ["python"]}}),
                "spec.scopes.languages[0]: no covered container is known to run python",
            ),
            (
                json!({"codeAttributes": {}, "scopes": {"namespaces": ["shp"]}}),
                "spec.scopes.namespaces[0]: no Source covers a workload in the namespace shp",
            ),
            (
                json!({"codeAttributes": {}, "scopes": {"sources": [source("Deploymnt", "web")]}}),
                "spec.scopes.sources[0]: there is no kind of workload",
            ),
            (
                json!({"codeAttributes": {}, "workloads": [source("Deployment", "wbe")]}),
                "spec.workloads[0]: no Source covers Deployment shop/wbe",
            ),
            (json!({"codeAttributes": {}, "dataStreams": ["mony"]}), "did you mean money?"),
            (
                json!({"traceConfig": {"disabled": true}, "instrumentationLibraries": []}),
                "spec.instrumentationLibraries: the list is empty",
            ),
            (
                json!({"traceConfig": {"disabled": true}, "instrumentationLibraries": [{"name": "x", "language": "goo"}]}),
                "spec.instrumentationLibraries[0].language: there is no language",
            ),
            (json!({"otelDistros": {"otelDistroNames": ["java-comunity"]}}), "did you mean java-community?"),
            (
                json!({"otelDistros": {"otelDistroNames": ["python-community"]}}),
                "spec.otelDistros: no covered container is known to run python",
            ),
            (
                json!({"traceVerbosity": {"disabledLibraries": [{"language": "python", "libraryName": "x"}]}}),
                "spec.traceVerbosity: no covered container is known to run python",
            ),
            (
                json!({"traceConfig": {"disabled": true}, "instrumentationLibraries": [{"name": "x", "language": "go"}]}),
                "spec.instrumentationLibraries: no covered container is known to run go",
            ),
        ] {
            let found = missing_of(spec.clone());
            assert!(found.len() == 1 && found[0].contains(expected), "{spec}: {found:?}");
        }
    }

    #[test]
    fn rule_that_matches_or_is_off_is_not() {
        for spec in [
            json!({"disabled": true, "scopes": {"languages": ["jav"]}}),
            json!({"codeAttributes": {}, "dataStreams": ["money"], "scopes": {"languages": ["java"], "namespaces": ["shop"]}}),
            json!({"otelDistros": {"otelDistroNames": ["java-community"]}}),
            json!({"otelDistros": {"otelDistroNames": ["python-community", "java-community"]}}),
        ] {
            assert_eq!(missing_of(spec.clone()), Vec::<String>::new(), "{spec}");
        }
    }
}
