//! What of the cluster is covered: workloads, with their namespaces, languages and data streams.
//!
//! Owns what is reported of a name in a selector that none of them has: what is not there, and what would make it match. Never decides
//! what is covered (`coverage`).

use crate::spelling::hint;
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::scope::{SourceReference, SourcesScopes};
use odigos_api::{WorkloadKind, WorkloadRef, labels};
use std::collections::{BTreeMap, BTreeSet};

/// Languages that can be detected, in the words of the API.
pub const LANGUAGES: [&str; 15] = [
    "java",
    "python",
    "go",
    "dotnet",
    "javascript",
    "php",
    "ruby",
    "rust",
    "cplusplus",
    "mysql",
    "nginx",
    "redis",
    "postgres",
    "unknown",
    "ignored",
];

/// The names that selectors can match now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoveredNames {
    workloads: BTreeSet<WorkloadRef>,
    namespaces: BTreeSet<String>,
    languages: BTreeSet<String>,
    streams: BTreeSet<String>,
    /// Workloads by the class of their items.
    classes: BTreeMap<String, BTreeSet<WorkloadRef>>,
}

impl CoveredNames {
    /// Of InstrumentationConfigs with namespace and name.
    pub fn of<'a>(configs: impl IntoIterator<Item = (&'a str, &'a str, &'a InstrumentationConfig)>) -> Self {
        let mut names = Self::default();
        for (namespace, name, config) in configs {
            names.add(namespace, name, config.metadata.labels.as_ref());
            names.languages.extend(languages(config));
        }
        names
    }

    /// Adds the workload behind an InstrumentationConfig, without its languages.
    pub fn add(&mut self, namespace: &str, name: &str, labels: Option<&BTreeMap<String, String>>) {
        let workload = WorkloadRef::from_config_name(namespace, name);
        if let Some(class) = labels.and_then(|labels| labels.get(labels::STREAM_CLASS)) {
            self.classes.entry(class.clone()).or_default().extend(workload.clone());
        }
        self.workloads.extend(workload);
        self.namespaces.insert(namespace.to_owned());
        self.streams.extend(labels.map(labels::streams).unwrap_or_default());
    }

    /// What to report of a workload that a selector names and that is not covered.
    #[must_use]
    pub fn missing_workload(&self, workload: &WorkloadRef) -> Option<String> {
        (!self.workloads.contains(workload)).then(|| format!("no Source covers {workload}, or it does not exist"))
    }

    /// The same of a workload by its three parts, of which the kind may be none.
    #[must_use]
    pub fn missing_reference(&self, namespace: &str, kind: &str, name: &str) -> Option<String> {
        match WorkloadKind::parse(kind) {
            Some(kind) => self.missing_workload(&WorkloadRef::new(namespace, kind, name)),
            None => Some(unknown(kind, "kind of workload", WorkloadKind::ALL.map(WorkloadKind::as_str))),
        }
    }

    /// What to report of a namespace in which nothing is covered.
    #[must_use]
    pub fn missing_namespace(&self, namespace: &str) -> Option<String> {
        if self.namespaces.contains(namespace) {
            return None;
        }
        let near = hint(namespace, self.namespaces.iter().map(String::as_str));
        Some(format!("no Source covers a workload in the namespace {namespace}, or it does not exist{near}"))
    }

    /// What to report of a language that no container has, or that is none.
    #[must_use]
    pub fn missing_language(&self, language: &str) -> Option<String> {
        if !LANGUAGES.contains(&language) {
            return Some(unknown(language, "language", LANGUAGES));
        }
        (!self.languages.contains(language))
            .then(|| format!("no covered container is known to run {language}; it matches once one is detected"))
    }

    /// What to report of scopes, each with its field below `field`.
    #[must_use]
    pub fn missing_in(&self, scopes: &SourcesScopes, field: &str) -> Vec<(String, String)> {
        let at = |list: &str, n: usize| format!("{field}.{list}[{n}]");
        let sources = scopes
            .sources
            .iter()
            .enumerate()
            .map(|(n, one)| (at("sources", n), self.missing_reference(&one.namespace, &one.kind, &one.name)));
        let namespaces = scopes.namespaces.iter().enumerate();
        let namespaces = namespaces.map(|(n, one)| (at("namespaces", n), self.missing_namespace(one)));
        let languages = scopes.languages.iter().enumerate();
        let languages = languages.map(|(n, one)| (at("languages", n), self.missing_language(one)));
        let all = sources.chain(namespaces).chain(languages);
        all.filter_map(|(field, message)| Some((field, message?))).collect()
    }

    /// Whether scopes may be for an item of a class. Languages are found while workloads run, so they are not looked at; of a class that no
    /// workload is known to be in, nothing is known.
    #[must_use]
    pub fn may_hold(&self, scopes: &SourcesScopes, class: &str) -> bool {
        let Some(workloads) = self.classes.get(class) else { return true };
        let is_source = |workload: &WorkloadRef| {
            let is_it = |one: &SourceReference| {
                WorkloadKind::parse(&one.kind)
                    .is_none_or(|kind| *workload == WorkloadRef::new(&one.namespace, kind, &one.name))
            };
            scopes.sources.is_empty() || scopes.sources.iter().any(is_it)
        };
        let is_within =
            |workload: &WorkloadRef| scopes.namespaces.is_empty() || scopes.namespaces.contains(&workload.namespace);
        workloads.iter().any(|workload| is_source(workload) && is_within(workload))
    }

    /// What to report of a data stream that no workload is in.
    #[must_use]
    pub fn missing_stream(&self, stream: &str) -> Option<String> {
        if self.streams.contains(stream) {
            return None;
        }
        Some(missing_stream(stream, &self.streams))
    }
}

/// The languages of a workload's containers, stated or detected.
#[must_use]
pub fn languages(config: &InstrumentationConfig) -> BTreeSet<String> {
    let stated = config.spec.containers_overrides.iter().filter_map(|one| one.runtime_info.as_ref());
    let detected = config.status.iter().flat_map(|status| &status.runtime_details_by_container);
    stated.chain(detected).map(|details| details.language.clone()).collect()
}

/// What to report of a data stream that is not among those that workloads are in.
#[must_use]
pub(crate) fn missing_stream(stream: &str, streams: &BTreeSet<String>) -> String {
    let near = hint(stream, streams.iter().map(String::as_str));
    format!(
        "no covered workload is in the data stream {stream}{near}; workloads join it by the label {} of their Source",
        labels::stream_label(stream)
    )
}

/// What to report of a word that is none of the known ones.
pub(crate) fn unknown<'a>(word: &str, what: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let near = match hint(word, known.clone()) {
        none if none.is_empty() => format!("; there are: {}", known.into_iter().collect::<Vec<_>>().join(", ")),
        near => near,
    };
    format!("there is no {what} {word:?}{near}")
}

#[cfg(test)]
mod tests {
    use crate::fixtures::covered_names;

    #[test]
    fn name_that_is_there_is_not_reported() {
        let names = covered_names();
        assert_eq!(names.missing_reference("shop", "Deployment", "web"), None);
        assert_eq!(names.missing_namespace("shop"), None);
        assert_eq!(names.missing_language("java"), None);
        assert_eq!(names.missing_stream("money"), None);
    }

    #[test]
    fn name_that_is_not_there_is_reported_with_what_would_match() {
        let names = covered_names();
        for (said, expected) in [
            (names.missing_reference("shop", "Deployment", "wbe"), "no Source covers Deployment shop/wbe"),
            (names.missing_reference("shop", "Deploymnt", "web"), "did you mean Deployment?"),
            (names.missing_namespace("shp"), "did you mean shop?"),
            (names.missing_namespace("team"), "in the namespace team, or it does not exist"),
            (names.missing_language("python"), "it matches once one is detected"),
            (names.missing_language("jav"), "did you mean java?"),
            (names.missing_language("cobol"), "there are: java, python"),
            (names.missing_stream("mony"), "did you mean money?"),
            (names.missing_stream("old"), "by the label odigos.io/data-stream-old of their Source"),
        ] {
            assert!(said.as_ref().is_some_and(|said| said.contains(expected)), "{expected}: {said:?}");
        }
    }
}
