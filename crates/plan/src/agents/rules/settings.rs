//! What rules set: into the decision of a container, and from there into variables of its agent.
//!
//! The decision holds only what the agent can express, so that admission and the hash need to know no rule.

use super::express::{level, policy};
use odigos_api::agent_settings::{
    CustomInstrumentations, DbQueryPayload, HeadersCollection, JavaProbe, LibraryOfLanguage, PayloadCollection,
    TraceVerbosity,
};
use odigos_api::instrumentation_config::ContainerAgentConfig;
use odigos_api::instrumentation_rule::InstrumentationRuleSpec;
use odigos_catalog::distribution::{Distribution, Headers, Libraries, LibraryVariable, RuleKind};
use std::collections::{BTreeMap, BTreeSet};

/// Writes the merged blocks into the decision, as far as the agent can express them.
pub(super) fn record(config: &mut ContainerAgentConfig, merged: &InstrumentationRuleSpec, distribution: &Distribution) {
    let support = |kind: RuleKind| distribution.rules.get(&kind);
    if let (Some(block), Some(support)) = (&merged.agent_diagnostics, support(RuleKind::AgentDiagnostics)) {
        let level = level(block.odigos_log_level, block.open_telemetry_components_log_level);
        if level.is_some_and(|level| support.levels.contains_key(level)) {
            config.agent_diagnostics = Some(block.clone());
        }
    }
    let Some(traces) = &mut config.traces else { return };
    if let (Some(block), Some(headers)) =
        (&merged.headers_collection, support(RuleKind::HeadersCollection).and_then(|one| one.headers.as_ref()))
    {
        let keys = block.header_keys.iter().filter(|key| *key != "*" || headers.wildcard.is_some());
        let header_keys: Vec<String> = keys.cloned().collect();
        traces.headers_collection = (!header_keys.is_empty()).then_some(HeadersCollection { header_keys });
    }
    if let (Some(block), Some(support)) = (&merged.payload_collection, support(RuleKind::PayloadCollection)) {
        let wanted = block.db_query.as_ref().and_then(|query| query.sanitization_policy);
        if let Some(wanted) = wanted.filter(|wanted| support.policies.contains_key(policy(*wanted))) {
            let db_query = Some(DbQueryPayload { sanitization_policy: Some(wanted), ..DbQueryPayload::default() });
            traces.payload_collection = Some(PayloadCollection { db_query, ..PayloadCollection::default() });
        }
    }
    if let (Some(block), Some(libraries)) =
        (&merged.trace_verbosity, support(RuleKind::TraceVerbosity).and_then(|one| one.libraries.as_ref()))
    {
        let mut block = block.clone();
        if libraries.enabled.is_none() {
            block.enabled_libraries.clear();
        }
        traces.trace_verbosity = (block != TraceVerbosity::default()).then_some(block);
    }
    if let (Some(block), Some(_)) = (
        &merged.custom_instrumentations,
        support(RuleKind::CustomInstrumentations).and_then(|one| one.java_methods.as_ref()),
    ) {
        let custom = CustomInstrumentations { java: block.java.clone(), ..CustomInstrumentations::default() };
        traces.custom_instrumentations = (!custom.java.is_empty()).then_some(custom);
    }
}

/// Takes the lists of rules out of a decision.
pub(super) fn forget_lists(config: &mut ContainerAgentConfig) {
    if let Some(traces) = &mut config.traces {
        traces.headers_collection = None;
        traces.trace_verbosity = None;
        traces.custom_instrumentations = None;
    }
}

/// The variables by which a container's agent receives what its decision holds of rules. Values are meant as they are; a
/// manifest must write `$` twice.
#[must_use]
pub fn variables(config: &ContainerAgentConfig, distribution: &Distribution) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let support = |kind: RuleKind| distribution.rules.get(&kind);
    if let (Some(block), Some(support)) = (&config.agent_diagnostics, support(RuleKind::AgentDiagnostics)) {
        let level = level(block.odigos_log_level, block.open_telemetry_components_log_level);
        all.extend(level.and_then(|level| support.levels.get(level)).into_iter().flatten().map(owned));
    }
    let Some(traces) = &config.traces else { return all };
    if let (Some(block), Some(mapping)) =
        (&traces.headers_collection, support(RuleKind::HeadersCollection).and_then(|one| one.headers.as_ref()))
    {
        let list = headers(&block.header_keys, mapping);
        if !list.is_empty() {
            all.extend(mapping.variables.iter().map(|name| (name.clone(), list.clone())));
        }
    }
    if let (Some(block), Some(support)) = (&traces.payload_collection, support(RuleKind::PayloadCollection)) {
        let wanted = block.db_query.as_ref().and_then(|query| query.sanitization_policy).map(policy);
        all.extend(wanted.and_then(|wanted| support.policies.get(wanted)).into_iter().flatten().map(owned));
    }
    if let (Some(block), Some(mapping)) =
        (&traces.trace_verbosity, support(RuleKind::TraceVerbosity).and_then(|one| one.libraries.as_ref()))
    {
        libraries(&mut all, block, mapping);
    }
    if let (Some(block), Some(name)) = (
        &traces.custom_instrumentations,
        support(RuleKind::CustomInstrumentations).and_then(|one| one.java_methods.as_ref()),
    ) {
        let list = methods(&block.java);
        if !list.is_empty() {
            all.insert(name.clone(), list);
        }
    }
    all
}

/// The same as new pods get them: without headers that carry credentials, whatever a rule names. They are no part of the hash, since
/// pods that run are not restarted for it.
#[must_use]
pub fn injected_variables(config: &ContainerAgentConfig, distribution: &Distribution) -> BTreeMap<String, String> {
    let mut all = variables(config, distribution);
    let block = config.traces.as_ref().and_then(|traces| traces.headers_collection.as_ref());
    let mapping = distribution.rules.get(&RuleKind::HeadersCollection).and_then(|support| support.headers.as_ref());
    let (Some(block), Some(mapping)) = (block, mapping) else { return all };
    let is_secret = |key: &str| CREDENTIALS.iter().any(|one| one.eq_ignore_ascii_case(key.trim()));
    let keys: Vec<String> = block.header_keys.iter().filter(|key| !is_secret(key)).cloned().collect();
    let is_all = keys.iter().any(|key| key == "*") && mapping.wildcard.is_some() && mapping.are_expressions;
    let list = if is_all { every_other_header() } else { headers(&keys, mapping) };
    for name in &mapping.variables {
        match list.as_str() {
            "" => drop(all.remove(name)),
            list => drop(all.insert(name.clone(), list.to_owned())),
        }
    }
    all
}

/// Headers that carry credentials; no rule collects them.
pub const CREDENTIALS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];

/// An expression for all headers but those with credentials.
fn every_other_header() -> String {
    let not: Vec<String> = CREDENTIALS.iter().map(|name| format!("{name}$")).collect();
    format!("(?!{}).*", not.join("|"))
}

fn owned((name, value): (&String, &String)) -> (String, String) {
    (name.clone(), value.clone())
}

/// Names separated by commas; all headers need no names beside.
fn headers(keys: &[String], mapping: &Headers) -> String {
    if let Some(wildcard) = mapping.wildcard.as_ref().filter(|_| keys.iter().any(|key| key == "*")) {
        return wildcard.clone();
    }
    let names: BTreeSet<String> = keys
        .iter()
        .filter(|key| *key != "*")
        .map(|key| if mapping.are_expressions { escaped(key) } else { key.clone() })
        .collect();
    names.into_iter().collect::<Vec<_>>().join(",")
}

/// A name as a regular expression that matches nothing else.
fn escaped(name: &str) -> String {
    let special = |one: char| ".+*?^$|()[]{}\\".contains(one);
    let parts = name.chars().map(|one| if special(one) { format!("\\{one}") } else { one.to_string() });
    parts.collect()
}

/// A library that is both on and off is off.
fn libraries(all: &mut BTreeMap<String, String>, block: &TraceVerbosity, mapping: &Libraries) {
    let names = |list: &[LibraryOfLanguage]| -> BTreeSet<String> {
        list.iter().map(|one| mapping.spelled(&one.library_name).to_owned()).collect()
    };
    let off = names(&block.disabled_libraries);
    let on: BTreeSet<String> = names(&block.enabled_libraries).difference(&off).cloned().collect();
    for (variable, names) in [(mapping.enabled.as_ref(), on), (Some(&mapping.disabled), off)] {
        let Some(variable) = variable.filter(|_| !names.is_empty()) else { continue };
        match variable {
            LibraryVariable::List(one) => {
                let list: BTreeSet<String> = one.beside.iter().cloned().chain(names).collect();
                all.insert(one.list.clone(), list.into_iter().collect::<Vec<_>>().join(","));
            }
            LibraryVariable::Each(one) => {
                all.extend(names.iter().map(|name| (one.variable(name), one.value.clone())));
            }
        }
    }
}

/// `Class[method,method];Class[method]`, sorted.
fn methods(probes: &[JavaProbe]) -> String {
    let mut classes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for probe in probes {
        if let (Some(class), Some(method)) = (&probe.class_name, &probe.method_name) {
            classes.entry(class.trim()).or_default().insert(method.trim());
        }
    }
    let one = |(class, methods): (&str, BTreeSet<&str>)| {
        format!("{class}[{}]", methods.into_iter().collect::<Vec<_>>().join(","))
    };
    classes.into_iter().map(one).collect::<Vec<_>>().join(";")
}
