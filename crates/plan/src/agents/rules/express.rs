//! How much of a rule an agent can express, in words where it cannot (`spec/actions-and-rules.md` 4.1). What an agent
//! knows is the catalogue's; nothing is silently ignored.

use super::merge::{more_verbose, without_libraries};
use odigos_api::agent_settings::{PayloadCollection, SanitizationPolicy};
use odigos_api::instrumentation_config::LogLevel;
use odigos_api::instrumentation_rule::InstrumentationRuleSpec;
use odigos_catalog::distribution::{self, Distribution, RuleKind, Support};
use std::collections::BTreeMap;

/// How much of a block an agent can express.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expressed {
    /// All of it.
    Whole,
    /// All but this, in words for people.
    Except(String),
    /// Nothing, and why: the block has no effect on containers with this agent.
    Nothing(String),
}

impl Expressed {
    fn of(can: bool, cannot: Vec<String>) -> Self {
        match (can, cannot.is_empty()) {
            (true, true) => Self::Whole,
            (true, false) => Self::Except(cannot.join(", ")),
            (false, _) => Self::Nothing(cannot.join(", ")),
        }
    }
}

/// The blocks of a rule that concern a container of the language with this agent, and how much of each the agent can
/// express.
#[must_use]
pub fn expressed(
    rule: &InstrumentationRuleSpec,
    distribution: &Distribution,
    language: &str,
) -> BTreeMap<RuleKind, Expressed> {
    let mut found = BTreeMap::new();
    if let Some(libraries) = &rule.instrumentation_libraries {
        let why = "it cannot be limited to single libraries".to_owned();
        for (kind, is_asked) in [
            (RuleKind::HeadersCollection, rule.headers_collection.is_some()),
            (RuleKind::PayloadCollection, rule.payload_collection.is_some()),
            (RuleKind::CodeAttributes, rule.code_attributes.is_some()),
        ] {
            if is_asked && libraries.iter().any(|one| one.language == language) {
                found.insert(kind, Expressed::Nothing(why.clone()));
            }
        }
    }
    let rule = without_libraries(rule, language);
    for kind in asked(&rule, language) {
        let how = match distribution.rules.get(&kind) {
            None => Expressed::Nothing(never(kind).to_owned()),
            Some(support) => of_block(kind, &rule, support, language),
        };
        let always = distribution.rules.get(&kind).and_then(|support| support.except.clone());
        let how = match (how, always) {
            (Expressed::Whole, Some(except)) => Expressed::Except(except),
            (Expressed::Except(other), Some(except)) => Expressed::Except(format!("{other}, {except}")),
            (how, _) => how,
        };
        found.insert(kind, how);
    }
    found
}

/// What cannot be done, block by block, for people.
pub(super) fn shortfalls(all: &BTreeMap<RuleKind, Expressed>) -> Vec<String> {
    let words = |(kind, how): (&RuleKind, &Expressed)| match how {
        Expressed::Whole => None,
        Expressed::Except(what) => Some(format!("{}: not {what}", kind.as_str())),
        Expressed::Nothing(why) => Some(format!("{}: {why}", kind.as_str())),
    };
    all.iter().filter_map(words).collect()
}

/// The blocks that ask for something of a container of the language.
fn asked(rule: &InstrumentationRuleSpec, language: &str) -> Vec<RuleKind> {
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
    let flags = rule.code_attributes.as_ref().is_some_and(|code| {
        let flags = [code.column, code.file_path, code.function, code.line_number, code.namespace, code.stack_trace];
        flags.contains(&Some(true))
    });
    let levels = rule
        .agent_diagnostics
        .as_ref()
        .and_then(|one| level(one.odigos_log_level, one.open_telemetry_components_log_level));
    let distros = rule.otel_distros.as_ref().is_some_and(|block| {
        let known = block.otel_distro_names.iter().filter_map(|name| distribution::find(name));
        known.into_iter().any(|one| one.language == language)
    });
    let blocks = [
        (RuleKind::PayloadCollection, rule.payload_collection.as_ref().is_some_and(|one| *one != Default::default())),
        (RuleKind::HeadersCollection, rule.headers_collection.as_ref().is_some_and(|one| !one.header_keys.is_empty())),
        (RuleKind::CodeAttributes, flags),
        (RuleKind::TraceConfig, rule.trace_config.as_ref().is_some_and(|one| one.disabled == Some(true))),
        (RuleKind::OtelDistros, distros),
        (RuleKind::CustomInstrumentations, probes),
        (RuleKind::TraceVerbosity, libraries),
        (RuleKind::AgentDiagnostics, levels.is_some()),
        (RuleKind::EbpfLogCapture, rule.ebpf_log_capture.as_ref().is_some_and(|one| one.enabled == Some(true))),
        (RuleKind::NetworkMetrics, rule.network_metrics.is_some()),
    ];
    blocks.into_iter().filter(|(_, is_asked)| *is_asked).map(|(kind, _)| kind).collect()
}

/// Why agents that say nothing of a block cannot do it.
pub(super) const fn never(kind: RuleKind) -> &'static str {
    match kind {
        RuleKind::PayloadCollection => "the agent collects no bodies and has no switch for queries",
        RuleKind::HeadersCollection => "the agent takes no list of headers by a variable",
        RuleKind::CodeAttributes => "no released agent has a switch for them",
        RuleKind::CustomInstrumentations => "the agent cannot be given functions by a variable",
        RuleKind::EbpfLogCapture => "logs are read from the files of the container runtime instead",
        RuleKind::NetworkMetrics => "no agent in a container measures the network",
        RuleKind::TraceConfig | RuleKind::OtelDistros | RuleKind::TraceVerbosity | RuleKind::AgentDiagnostics => {
            "the agent has no setting for it"
        }
    }
}

fn of_block(kind: RuleKind, rule: &InstrumentationRuleSpec, support: &Support, language: &str) -> Expressed {
    match kind {
        RuleKind::HeadersCollection => {
            let keys = rule.headers_collection.iter().flat_map(|block| &block.header_keys);
            let (all, names): (Vec<&String>, Vec<&String>) = keys.partition(|key| key.trim() == "*");
            let takes_all = support.headers.as_ref().is_some_and(|headers| headers.wildcard.is_some());
            let cannot = if all.is_empty() || takes_all {
                Vec::new()
            } else {
                vec!["all headers by *; the agent takes names only".to_owned()]
            };
            Expressed::of(!names.is_empty() || (takes_all && !all.is_empty()), cannot)
        }
        RuleKind::PayloadCollection => {
            rule.payload_collection.as_ref().map_or(Expressed::Whole, |block| payloads(block, support))
        }
        RuleKind::TraceVerbosity => {
            let verbosity = rule.trace_verbosity.clone().unwrap_or_default();
            let has = |list: &[odigos_api::agent_settings::LibraryOfLanguage]| {
                list.iter().any(|one| one.language == language)
            };
            let (off, on) = (has(&verbosity.disabled_libraries), has(&verbosity.enabled_libraries));
            let switches_on = support.libraries.as_ref().is_some_and(|libraries| libraries.enabled.is_some());
            let cannot = if on && !switches_on {
                vec!["enabledLibraries; libraries can only be switched off".to_owned()]
            } else {
                Vec::new()
            };
            Expressed::of(off || (on && switches_on), cannot)
        }
        RuleKind::AgentDiagnostics => {
            let block = rule.agent_diagnostics.clone().unwrap_or_default();
            let Some(level) = level(block.odigos_log_level, block.open_telemetry_components_log_level) else {
                return Expressed::Whole;
            };
            if support.levels.contains_key(level) {
                return Expressed::Whole;
            }
            let levels: Vec<&str> = support.levels.keys().map(String::as_str).collect();
            Expressed::Nothing(format!("the agent has no level {level}, only {}", levels.join(", ")))
        }
        _ => Expressed::Whole,
    }
}

fn payloads(block: &PayloadCollection, support: &Support) -> Expressed {
    let mut cannot = Vec::new();
    for (name, is_asked) in [
        ("httpRequest", block.http_request.is_some()),
        ("httpResponse", block.http_response.is_some()),
        ("messaging", block.messaging.is_some()),
    ] {
        if is_asked {
            cannot.push(format!("{name} (the agent collects no bodies)"));
        }
    }
    let mut can = false;
    if let Some(query) = &block.db_query {
        match query.sanitization_policy.map(policy) {
            Some(policy) if support.policies.contains_key(policy) => can = true,
            Some(policy) => cannot.push(format!("dbQuery.sanitizationPolicy {policy}")),
            None => {}
        }
        if query.max_payload_length.is_some() {
            cannot.push("dbQuery.maxPayloadLength".to_owned());
        }
        if query.drop_partial_payloads == Some(true) {
            cannot.push("dbQuery.dropPartialPayloads".to_owned());
        }
        // The text of queries is collected anyway.
        can |= cannot.is_empty();
    }
    Expressed::of(can, cannot)
}

/// The one level of an agent that knows only one.
pub(super) fn level(own: Option<LogLevel>, components: Option<LogLevel>) -> Option<&'static str> {
    more_verbose(own, components).map(|level| match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
    })
}

pub(super) const fn policy(policy: SanitizationPolicy) -> &'static str {
    match policy {
        SanitizationPolicy::Sanitized => "sanitized",
        SanitizationPolicy::SanitizedOrFull => "sanitized-or-full",
        SanitizationPolicy::Full => "full",
    }
}
