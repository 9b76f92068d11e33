//! Several rules as one (`spec/actions-and-rules.md` 4, column "merge over rules"). The result does not depend on the order
//! of rules where the table does not say that the last one wins.

use odigos_api::agent_settings::{
    AgentDiagnostics, CodeAttributes, CustomInstrumentations, DbQueryPayload, EbpfLogCapture, HttpPayload,
    LibraryOfLanguage, MessagingPayload, PayloadCollection, TraceConfig, TraceVerbosity,
};
use odigos_api::instrumentation_config::LogLevel;
use odigos_api::instrumentation_rule::InstrumentationRuleSpec;
use std::collections::BTreeSet;

/// Joins rules for a container of the language. Only the blocks of the result mean something.
pub(super) fn merged<'a>(
    rules: impl Iterator<Item = &'a InstrumentationRuleSpec>,
    language: &str,
) -> InstrumentationRuleSpec {
    let mut all = InstrumentationRuleSpec::default();
    for rule in rules {
        let rule = without_libraries(rule, language);
        all.payload_collection = both(all.payload_collection, rule.payload_collection, payloads);
        all.headers_collection = both(all.headers_collection, rule.headers_collection, |mut one, other| {
            one.header_keys.extend(other.header_keys);
            one
        });
        all.code_attributes = both(all.code_attributes, rule.code_attributes, code);
        all.trace_config = both(all.trace_config, rule.trace_config, |one, other| TraceConfig {
            disabled: either(one.disabled, other.disabled),
        });
        all.custom_instrumentations = both(all.custom_instrumentations, rule.custom_instrumentations, probes);
        all.trace_verbosity = both(all.trace_verbosity, rule.trace_verbosity, |mut one, other| {
            one.disabled_libraries.extend(other.disabled_libraries);
            one.enabled_libraries.extend(other.enabled_libraries);
            one
        });
        all.agent_diagnostics = both(all.agent_diagnostics, rule.agent_diagnostics, |one, other| AgentDiagnostics {
            odigos_log_level: more_verbose(one.odigos_log_level, other.odigos_log_level),
            open_telemetry_components_log_level: more_verbose(
                one.open_telemetry_components_log_level,
                other.open_telemetry_components_log_level,
            ),
        });
        all.ebpf_log_capture = both(all.ebpf_log_capture, rule.ebpf_log_capture, |one, other| EbpfLogCapture {
            enabled: either(one.enabled, other.enabled),
        });
        all.network_metrics = all.network_metrics.or(rule.network_metrics);
    }
    tidied(all, language)
}

/// A rule that is limited to libraries as one that is not: what it says of libraries as a whole stays, and traces off for
/// them are libraries off. Blocks that an agent cannot limit to libraries are left out; `express` tells.
pub(super) fn without_libraries(rule: &InstrumentationRuleSpec, language: &str) -> InstrumentationRuleSpec {
    let mut rule = rule.clone();
    let Some(libraries) = rule.instrumentation_libraries.take() else { return rule };
    let is_off = rule.trace_config.take().is_some_and(|config| config.disabled == Some(true));
    if is_off {
        // A kind of spans is for Go, which knows no libraries in containers.
        let whole = libraries.into_iter().filter(|one| one.language == language && one.span_kind.is_none());
        let off = whole.map(|one| LibraryOfLanguage { language: one.language, library_name: one.name });
        rule.trace_verbosity.get_or_insert_with(TraceVerbosity::default).disabled_libraries.extend(off);
    }
    rule.headers_collection = None;
    rule.payload_collection = None;
    rule.code_attributes = None;
    rule
}

/// The more verbose of two levels.
pub(super) fn more_verbose(one: Option<LogLevel>, other: Option<LogLevel>) -> Option<LogLevel> {
    let rank = |level: &LogLevel| match level {
        LogLevel::Error => 0,
        LogLevel::Warn => 1,
        LogLevel::Info => 2,
        LogLevel::Debug => 3,
    };
    one.into_iter().chain(other).max_by_key(rank)
}

fn both<T>(one: Option<T>, other: Option<T>, join: impl FnOnce(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(join(one, other)),
        (one, other) => one.or(other),
    }
}

fn either(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    both(one, other, |one, other| one || other)
}

fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    both(one, other, Ord::min)
}

fn payloads(one: PayloadCollection, other: PayloadCollection) -> PayloadCollection {
    let http = |one: HttpPayload, other: HttpPayload| HttpPayload {
        // Absent means all.
        mime_types: one.mime_types.zip(other.mime_types).map(|(one, other)| {
            let all: BTreeSet<String> = one.into_iter().chain(other).collect();
            all.into_iter().collect()
        }),
        max_payload_length: least(one.max_payload_length, other.max_payload_length),
        drop_partial_payloads: either(one.drop_partial_payloads, other.drop_partial_payloads),
    };
    PayloadCollection {
        http_request: both(one.http_request, other.http_request, http),
        http_response: both(one.http_response, other.http_response, http),
        db_query: both(one.db_query, other.db_query, |one, other| DbQueryPayload {
            max_payload_length: least(one.max_payload_length, other.max_payload_length),
            drop_partial_payloads: either(one.drop_partial_payloads, other.drop_partial_payloads),
            // The first of them keeps most to itself.
            sanitization_policy: least(one.sanitization_policy, other.sanitization_policy),
        }),
        messaging: both(one.messaging, other.messaging, |one, other| MessagingPayload {
            max_payload_length: least(one.max_payload_length, other.max_payload_length),
            drop_partial_payloads: either(one.drop_partial_payloads, other.drop_partial_payloads),
        }),
    }
}

fn code(one: CodeAttributes, other: CodeAttributes) -> CodeAttributes {
    CodeAttributes {
        column: either(one.column, other.column),
        file_path: either(one.file_path, other.file_path),
        function: either(one.function, other.function),
        line_number: either(one.line_number, other.line_number),
        namespace: either(one.namespace, other.namespace),
        stack_trace: either(one.stack_trace, other.stack_trace),
    }
}

fn probes(mut one: CustomInstrumentations, other: CustomInstrumentations) -> CustomInstrumentations {
    one.golang.extend(other.golang);
    one.java.extend(other.java);
    one.php.extend(other.php);
    one.cpp.extend(other.cpp);
    one
}

/// Each name once, sorted, and only of the language.
fn tidied(mut all: InstrumentationRuleSpec, language: &str) -> InstrumentationRuleSpec {
    if let Some(headers) = &mut all.headers_collection {
        let keys: BTreeSet<String> = headers.header_keys.iter().map(|key| key.trim().to_ascii_lowercase()).collect();
        headers.header_keys = keys.into_iter().collect();
    }
    if let Some(verbosity) = &mut all.trace_verbosity {
        for list in [&mut verbosity.disabled_libraries, &mut verbosity.enabled_libraries] {
            let names =
                list.iter().filter(|one| one.language == language).map(|one| one.library_name.trim().to_owned());
            let names: BTreeSet<String> = names.collect();
            let library = |library_name| LibraryOfLanguage { language: language.to_owned(), library_name };
            *list = names.into_iter().map(library).collect();
        }
    }
    all
}
