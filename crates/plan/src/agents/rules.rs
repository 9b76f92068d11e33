//! What InstrumentationRules mean for the decision: distributions, and traces off (`spec/sources-and-instrumentation.md` 1.4,
//! `spec/actions-and-rules.md` 4), and which blocks of a rule an agent can express. How a block becomes variables of an agent
//! is not decided here.

use odigos_api::WorkloadRef;
use odigos_api::instrumentation_rule::{InstrumentationRule, InstrumentationRuleSpec};
use odigos_api::scope::{SourceReference, SourcesScopes};
use odigos_catalog::distribution::{self, Distribution, RuleKind};
use std::collections::{BTreeMap, BTreeSet};

/// How much of a block an agent can express.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expressed<'a> {
    /// All of it.
    Whole,
    /// All but this, in words for people.
    Except(&'a str),
    /// Nothing: the block has no effect on containers with this agent, and the rule's status must say so.
    Nothing,
}

/// The blocks of a rule that concern a container with this agent, and how much of each the agent can express.
#[must_use]
pub fn expressed<'a>(
    rule: &InstrumentationRuleSpec,
    distribution: &'a Distribution,
) -> BTreeMap<RuleKind, Expressed<'a>> {
    let language = distribution.language.as_str();
    let probes = rule.custom_instrumentations.as_ref().is_some_and(|custom| match language {
        "go" => !custom.golang.is_empty(),
        "java" => !custom.java.is_empty(),
        "php" => !custom.php.is_empty(),
        "cplusplus" => !custom.cpp.is_empty(),
        _ => false,
    });
    let libraries = rule.trace_verbosity.as_ref().is_some_and(|verbosity| {
        verbosity.disabled_libraries.iter().chain(&verbosity.enabled_libraries).any(|one| one.language == language)
    });
    let blocks = [
        (RuleKind::PayloadCollection, rule.payload_collection.is_some()),
        (RuleKind::HeadersCollection, rule.headers_collection.is_some()),
        (RuleKind::CodeAttributes, rule.code_attributes.is_some()),
        (RuleKind::TraceConfig, rule.trace_config.is_some()),
        (RuleKind::OtelDistros, rule.otel_distros.is_some()),
        (RuleKind::CustomInstrumentations, probes),
        (RuleKind::TraceVerbosity, libraries),
        (RuleKind::AgentDiagnostics, rule.agent_diagnostics.is_some()),
        (RuleKind::EbpfLogCapture, rule.ebpf_log_capture.is_some()),
        (RuleKind::NetworkMetrics, rule.network_metrics.is_some()),
    ];
    let present = blocks.into_iter().filter(|(_, is_present)| *is_present);
    present
        .map(|(kind, _)| {
            let expressed = match distribution.rules.get(&kind) {
                Some(support) => support.except.as_deref().map_or(Expressed::Whole, Expressed::Except),
                None => Expressed::Nothing,
            };
            (kind, expressed)
        })
        .collect()
}

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
