//! What InstrumentationRules mean for a container (`spec/sources-and-instrumentation.md` 1.4, `spec/actions-and-rules.md` 4, 5).
//!
//! Owns which rules are in force for a container, and what they make of its decision: its distribution, traces off, and the
//! blocks that its agent can express. Steps: `validate` says which rules make sense, `merge` joins those in force,
//! `express` says how much of it an agent can do, `settings` records that and turns it into variables, `report` tells what
//! became of every rule. Never changes a pod.

mod express;
mod merge;
mod missing;
mod report;
mod settings;
mod signals;
#[cfg(test)]
mod tests;
mod validate;

pub use express::{Expressed, expressed};
pub use missing::missing;
pub use report::remarks;
pub use report::{Covered, report};
pub use settings::{injected_variables, variables};
pub use signals::signals_off;
pub use validate::{Problem, problems};

use odigos_api::WorkloadRef;
use odigos_api::instrumentation_config::ContainerAgentConfig;
use odigos_api::instrumentation_rule::{InstrumentationRule, InstrumentationRuleSpec};
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
        let in_force = |rule: &&InstrumentationRule| {
            rule.spec.disabled != Some(true)
                && in_scope(&rule.spec, workload, data_streams, language)
                && problems(&rule.spec).is_empty()
        };
        let mut rules: Vec<&InstrumentationRule> = all.iter().copied().filter(in_force).collect();
        rules.sort_by_key(|rule| (rule.metadata.namespace.clone(), rule.metadata.name.clone()));
        Self(rules)
    }

    /// The distribution that rules want for the language; the last one counts. Unknown names and those for any language
    /// are ignored.
    pub(super) fn distribution(&self, language: &str) -> Option<&'static Distribution> {
        let names = self.0.iter().filter_map(|rule| rule.spec.otel_distros.as_ref());
        let names = names.flat_map(|distros| distros.otel_distro_names.iter());
        names.filter_map(|name| distribution::find(name)).rfind(|one| one.language == language)
    }

    /// The rule that switches all traces off. One for single libraries does not.
    pub(super) fn traces_off(&self) -> Option<&'a str> {
        let is_off = |rule: &&&InstrumentationRule| {
            rule.spec.instrumentation_libraries.is_none()
                && rule.spec.trace_config.as_ref().is_some_and(|config| config.disabled == Some(true))
        };
        self.0.iter().find(is_off).and_then(|rule| rule.metadata.name.as_deref())
    }

    /// Writes into a container's decision what the agent can express of the rules; returns the rest, for people.
    pub(super) fn record(
        &self,
        config: &mut ContainerAgentConfig,
        distribution: &Distribution,
        language: &str,
    ) -> Vec<String> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let merged = merge::merged(self.0.iter().map(|rule| &rule.spec), language);
        settings::record(config, &merged, distribution);
        let each = self.0.iter().flat_map(|rule| express::shortfalls(&expressed(&rule.spec, distribution, language)));
        let mut all: BTreeSet<String> = each.collect();
        let variables = settings::variables(config, distribution);
        let size: usize = variables.iter().map(|(name, value)| name.len() + value.len()).sum();
        if size > MAX_VARIABLES {
            settings::forget_lists(config);
            all.insert(format!(
                "lists of headers, libraries and methods: together they become {size} bytes of variables, and at most {MAX_VARIABLES} are set"
            ));
        }
        all.into_iter().collect()
    }
}

/// Bytes of variables that all rules together may add to a container: a kernel starts no program with a variable of 128 KiB, and an API server
/// stores no pod of 1.5 MiB.
const MAX_VARIABLES: usize = 32 << 10;

/// Whether the rule is meant for a container of the language, in force or not.
fn in_scope(
    spec: &InstrumentationRuleSpec,
    workload: &WorkloadRef,
    data_streams: &BTreeSet<String>,
    language: &str,
) -> bool {
    let is_it = |one: &SourceReference| {
        one.namespace == workload.namespace && one.name == workload.name && one.kind == workload.kind.as_str()
    };
    let in_lists = |scopes: &SourcesScopes| {
        (scopes.sources.is_empty() || scopes.sources.iter().any(is_it))
            && (scopes.namespaces.is_empty() || scopes.namespaces.contains(&workload.namespace))
            && (scopes.languages.is_empty() || scopes.languages.iter().any(|one| one == language))
    };
    let in_streams = |streams: &Vec<String>| streams.is_empty() || streams.iter().any(|one| data_streams.contains(one));
    // An empty list of libraries names none, so nothing is asked for.
    spec.instrumentation_libraries.as_ref().is_none_or(|libraries| !libraries.is_empty())
        && spec.scopes.as_ref().is_none_or(in_lists)
        && spec.workloads.as_ref().is_none_or(|list| list.is_empty() || list.iter().any(is_it))
        && spec.data_streams.as_ref().is_none_or(in_streams)
}
