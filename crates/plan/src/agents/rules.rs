//! What InstrumentationRules mean for the decision: distributions, and traces off (`spec/sources-and-instrumentation.md` 1.4,
//! `spec/actions-and-rules.md` 4). Blocks that only tune an agent are not read here.

use odigos_api::WorkloadRef;
use odigos_api::instrumentation_rule::InstrumentationRule;
use odigos_api::scope::{SourceReference, SourcesScopes};
use odigos_catalog::distribution::{self, Distribution};
use std::collections::BTreeSet;

/// Rules for one container, in the order in which they are merged.
pub(super) struct Rules<'a>(Vec<&'a InstrumentationRule>);

impl<'a> Rules<'a> {
    /// Those that are in force for a container of the language.
    pub(super) fn of(
        all: &[&'a InstrumentationRule],
        workload: &WorkloadRef,
        data_streams: &BTreeSet<String>,
        language: &str,
    ) -> Self {
        let mut rules: Vec<&InstrumentationRule> =
            all.iter().copied().filter(|rule| applies(rule, workload, data_streams, language)).collect();
        rules.sort_by_key(|rule| (rule.metadata.namespace.clone(), rule.metadata.name.clone()));
        Self(rules)
    }

    /// The distribution that rules want for the language; the last one counts. Unknown names and those for any language
    /// are ignored.
    pub(super) fn distribution(&self, language: &str) -> Option<&'static Distribution> {
        let names = self.0.iter().filter_map(|rule| rule.spec.otel_distros.as_ref());
        let names = names.flat_map(|distros| distros.otel_distro_names.iter());
        names.filter_map(|name| distribution::find(name)).filter(|one| one.language == language).last()
    }

    /// The rule that switches all traces off. One for single libraries does not.
    pub(super) fn traces_off(&self) -> Option<&'a str> {
        let is_off = |rule: &&&InstrumentationRule| {
            rule.spec.instrumentation_libraries.is_none()
                && rule.spec.trace_config.as_ref().is_some_and(|config| config.disabled == Some(true))
        };
        self.0.iter().find(is_off).and_then(|rule| rule.metadata.name.as_deref())
    }
}

fn applies(
    rule: &InstrumentationRule,
    workload: &WorkloadRef,
    data_streams: &BTreeSet<String>,
    language: &str,
) -> bool {
    let spec = &rule.spec;
    let is_it = |one: &SourceReference| {
        one.namespace == workload.namespace && one.name == workload.name && one.kind == workload.kind.as_str()
    };
    let in_lists = |scopes: &SourcesScopes| {
        (scopes.sources.is_empty() || scopes.sources.iter().any(is_it))
            && (scopes.namespaces.is_empty() || scopes.namespaces.contains(&workload.namespace))
            && (scopes.languages.is_empty() || scopes.languages.iter().any(|one| one == language))
    };
    let in_streams = |streams: &Vec<String>| streams.is_empty() || streams.iter().any(|one| data_streams.contains(one));
    spec.disabled != Some(true)
        && spec.scopes.as_ref().is_none_or(in_lists)
        && spec.workloads.as_ref().is_none_or(|list| list.is_empty() || list.iter().any(is_it))
        && spec.data_streams.as_ref().is_none_or(in_streams)
}
