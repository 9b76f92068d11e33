//! Objects that are accepted and have no effect, and those that admission rejects.
//!
//! Owns the kinds that only count in the control plane's namespace, kinds that no component acts on, and Secrets that are announced but do
//! not exist yet. Never judges what an object says: its planner does, or admission.

use super::{Key, World};
use crate::actions::report;
use crate::admission;
use crate::configuration::Configuration;
use crate::pools::Pools;
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::labels::{IMPLICIT_STREAM, stream_name_problem};
use odigos_api::{Finding, Severity, names};

impl World {
    /// A finding for every object that only counts in another namespace than its own.
    #[must_use]
    pub fn misplaced(&self) -> Vec<Finding> {
        let kinds: [(&str, Vec<&Key>); 7] = [
            ("Action", self.actions.keys().collect()),
            ("ConfigMap", self.stray_configurations.iter().collect()),
            ("DataStream", self.data_streams.keys().collect()),
            ("Destination", self.destinations.keys().collect()),
            ("InstrumentationRule", self.rules.keys().collect()),
            ("Processor", self.processors.keys().collect()),
            ("Sampling", self.samplings.keys().collect()),
        ];
        let elsewhere = kinds.into_iter().flat_map(|(kind, keys)| keys.into_iter().map(move |key| (kind, key)));
        elsewhere
            .filter(|(_, (namespace, _))| *namespace != self.namespace)
            .map(|(kind, (namespace, name))| {
                let what = if kind == "ConfigMap" { "the configuration".to_owned() } else { format!("every {kind}") };
                let message = format!(
                    "it has no effect: {what} belongs into the namespace of the control plane, {}",
                    self.namespace
                );
                Finding::warning(format!("{kind} {namespace}/{name}"), "metadata.namespace", message)
            })
            .collect()
    }

    /// Why admission would reject Sources that were read from texts, as far as nothing worse is known of them.
    pub(super) fn rejected(&self, known: &[Finding]) -> Vec<Finding> {
        let is_known = |title: &String| known.iter().any(|one| one.object == *title && one.severity == Severity::Error);
        let mut found = Vec::new();
        for ((namespace, name), source) in &self.sources {
            let title = format!("Source {namespace}/{name}");
            if !self.locations.contains_key(&title) || is_known(&title) {
                continue;
            }
            let others = self.sources.iter().filter(|((of, _), _)| of == namespace).map(|(_, source)| source);
            let refusals = admission::source::refusals(source, None, others);
            found.extend(
                refusals.into_iter().map(|one| {
                    Finding::error(title.clone(), one.field, format!("admission rejects it: {}", one.message))
                }),
            );
        }
        found
    }

    /// Namespace, name and object of every InstrumentationConfig.
    pub(super) fn named_configs(&self) -> impl Iterator<Item = (&str, &str, &InstrumentationConfig)> {
        self.configs.iter().map(|((namespace, name), config)| (namespace.as_str(), name.as_str(), config))
    }

    /// What dedicated pools name that is not there.
    pub(super) fn unmatched_pools(&self, configuration: &Configuration) -> Vec<Finding> {
        let covered =
            self.configs.iter().map(|(key, config)| (key.0.as_str(), key.1.as_str(), config.metadata.labels.as_ref()));
        let object = format!("ConfigMap {}/{}", self.namespace, names::CONFIGURATION);
        Pools::of(configuration).0.unmatched(covered, &object)
    }

    /// A finding for everything that is accepted and has no effect, or not yet.
    pub(super) fn without_effect(&self) -> Vec<Finding> {
        let mut found = self.misplaced();
        let own = |namespace: &str| namespace == self.namespace;
        for (_, action) in self.actions.iter().filter(|((namespace, _), _)| own(namespace)) {
            found.extend(report::findings(action));
        }
        for ((namespace, name), stream) in self.data_streams.iter().filter(|((namespace, _), _)| own(namespace)) {
            let is_implicit =
                stream.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(IMPLICIT_STREAM));
            if let Some(problem) = stream_name_problem(name).filter(|_| !is_implicit) {
                found.push(Finding::warning(format!("DataStream {namespace}/{name}"), "metadata.name", problem));
            }
        }
        let processors = self.processors.iter().map(|(key, one)| ("Processor", key, one.spec.data_streams.as_ref()));
        let actions = self.actions.iter().map(|(key, one)| ("Action", key, one.spec.data_streams.as_ref()));
        let rules = self.rules.iter().map(|(key, one)| ("InstrumentationRule", key, one.spec.data_streams.as_ref()));
        for (kind, (namespace, name), streams) in
            processors.chain(actions).chain(rules).filter(|(_, (namespace, _), _)| own(namespace))
        {
            for (position, stream) in streams.into_iter().flatten().enumerate() {
                if let Some(problem) = stream_name_problem(stream) {
                    let field = format!("spec.dataStreams[{position}]");
                    found.push(Finding::warning(format!("{kind} {namespace}/{name}"), field, problem));
                }
            }
        }
        for (key, made_by) in self.announced_secrets.iter().filter(|((namespace, _), _)| own(namespace)) {
            let users = self.destinations.iter().filter(|((namespace, _), one)| {
                own(namespace) && one.spec.secret_ref.as_ref().is_some_and(|secret| secret.name == key.1)
            });
            found.extend(users.map(|((namespace, name), _)| {
                let message = format!(
                    "Secret {} is to be created by {made_by}; its values are not known here, and until it exists nothing is sent",
                    key.1
                );
                Finding::info(format!("Destination {namespace}/{name}"), "spec.secretRef", message)
            }));
        }
        found
    }
}
