//! Which rules make sense on their own (`spec/actions-and-rules.md` 4, scenario 60). One that does not is not in force as a
//! whole, so that nobody has to guess which half of it is.

use odigos_api::agent_settings::{CustomInstrumentations, PayloadCollection};
use odigos_api::instrumentation_rule::InstrumentationRuleSpec;

/// Something in a rule that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Reason of the condition, one word.
    pub reason: &'static str,
    /// The field, as a path from the object.
    pub field: String,
    /// What is wrong and what to do.
    pub message: &'static str,
}

/// Everything that is wrong with a rule, in the order of its fields; empty for one that makes sense.
#[must_use]
pub fn problems(spec: &InstrumentationRuleSpec) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut add = |reason, field: String, message| found.push(Problem { reason, field, message });
    for (index, library) in spec.instrumentation_libraries.iter().flatten().enumerate() {
        if library.name.trim().is_empty() || library.language.trim().is_empty() {
            let field = format!("spec.instrumentationLibraries[{index}]");
            add("InvalidLibrary", field, "needs a name and a language");
        }
    }
    if spec.instrumentation_libraries.is_some() {
        for (field, block) in [("metricsConfig", &spec.metrics_config), ("logsConfig", &spec.logs_config)] {
            if block.is_some() {
                add(
                    "InvalidLibrary",
                    format!("spec.{field}"),
                    "concerns a whole workload; put instrumentationLibraries into another rule",
                );
            }
        }
    }
    for (index, key) in spec.headers_collection.iter().flat_map(|block| &block.header_keys).enumerate() {
        if !is_header(key.trim()) {
            let field = format!("spec.headersCollection.headerKeys[{index}]");
            add("InvalidHeader", field, "is no name of a header; write one name, or * for all");
        }
    }
    let verbosity = spec.trace_verbosity.iter();
    let lists = verbosity.flat_map(|block| {
        [("disabledLibraries", &block.disabled_libraries), ("enabledLibraries", &block.enabled_libraries)]
    });
    for (list, libraries) in lists {
        for (index, library) in libraries.iter().enumerate() {
            let name = library.library_name.trim();
            if name.is_empty() || library.language.trim().is_empty() || name.contains(',') {
                let field = format!("spec.traceVerbosity.{list}[{index}]");
                add("InvalidLibrary", field, "needs a language and one libraryName");
            }
        }
    }
    if let Some(block) = &spec.custom_instrumentations {
        for (field, message) in probes(block) {
            add("InvalidProbe", format!("spec.customInstrumentations.{field}"), message);
        }
    }
    for (field, count, longest) in sizes(spec) {
        if count > MAX_ENTRIES {
            add("TooLarge", format!("spec.{field}"), "has more than 256 entries");
        } else if longest > MAX_CHARACTERS {
            add("TooLarge", format!("spec.{field}"), "has an entry of more than 512 characters");
        }
    }
    if let Some(block) = &spec.payload_collection {
        for field in negative_lengths(block) {
            let field = format!("spec.payloadCollection.{field}.maxPayloadLength");
            add("InvalidLength", field, "must not be negative");
        }
    }
    found
}

/// Entries of a list: everything of it becomes variables of every pod that the rule is for.
const MAX_ENTRIES: usize = 256;
/// Characters of an entry.
const MAX_CHARACTERS: usize = 512;

/// Lists of a rule that become variables: how many entries, and how long the longest is.
fn sizes(spec: &InstrumentationRuleSpec) -> Vec<(&'static str, usize, usize)> {
    let longest = |texts: &mut dyn Iterator<Item = &str>| texts.map(|text| text.chars().count()).max().unwrap_or(0);
    let mut all = Vec::new();
    if let Some(block) = &spec.headers_collection {
        let keys = &block.header_keys;
        all.push(("headersCollection.headerKeys", keys.len(), longest(&mut keys.iter().map(String::as_str))));
    }
    if let Some(list) = &spec.instrumentation_libraries {
        all.push(("instrumentationLibraries", list.len(), longest(&mut list.iter().map(|one| one.name.as_str()))));
    }
    if let Some(block) = &spec.trace_verbosity {
        for (field, list) in [
            ("traceVerbosity.disabledLibraries", &block.disabled_libraries),
            ("traceVerbosity.enabledLibraries", &block.enabled_libraries),
        ] {
            all.push((field, list.len(), longest(&mut list.iter().map(|one| one.library_name.as_str()))));
        }
    }
    if let Some(block) = &spec.custom_instrumentations {
        let names = block.java.iter().flat_map(|one| [&one.class_name, &one.method_name]);
        let java = longest(&mut names.filter_map(|name| name.as_deref()));
        all.push(("customInstrumentations.java", block.java.len(), java));
    }
    all
}

/// A token of HTTP, or `*`.
fn is_header(key: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte);
    key == "*" || (!key.is_empty() && key.bytes().all(is_token))
}

fn probes(block: &CustomInstrumentations) -> Vec<(String, &'static str)> {
    let has = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.trim().is_empty());
    // The agent reads `Class[method,method];Class[method]`.
    let is_plain = |text: &Option<String>| !text.iter().any(|text| text.contains(['[', ']', ',', ';']));
    let mut found = Vec::new();
    for (index, probe) in block.golang.iter().enumerate() {
        let (function, receiver, method) =
            (has(&probe.function_name), has(&probe.receiver_name), has(&probe.receiver_method_name));
        let is_one = matches!((function, receiver, method), (true, false, false) | (false, true, true));
        if !has(&probe.package_name) || !is_one {
            let message = "needs packageName, and either functionName or receiverName with receiverMethodName";
            found.push((format!("golang[{index}]"), message));
        }
    }
    for (index, probe) in block.java.iter().enumerate() {
        if !has(&probe.class_name) || !has(&probe.method_name) {
            found.push((format!("java[{index}]"), "needs className and methodName"));
        } else if !is_plain(&probe.class_name) || !is_plain(&probe.method_name) {
            found.push((
                format!("java[{index}]"),
                "must name one class and one method, without brackets and separators",
            ));
        }
    }
    for (index, probe) in block.php.iter().enumerate() {
        if !has(&probe.function_name) {
            found.push((format!("php[{index}]"), "needs functionName"));
        }
    }
    for (index, probe) in block.cpp.iter().enumerate() {
        if !has(&probe.signature) {
            found.push((format!("cpp[{index}]"), "needs signature"));
        }
    }
    found
}

fn negative_lengths(block: &PayloadCollection) -> Vec<&'static str> {
    let lengths = [
        ("httpRequest", block.http_request.as_ref().and_then(|one| one.max_payload_length)),
        ("httpResponse", block.http_response.as_ref().and_then(|one| one.max_payload_length)),
        ("dbQuery", block.db_query.as_ref().and_then(|one| one.max_payload_length)),
        ("messaging", block.messaging.as_ref().and_then(|one| one.max_payload_length)),
    ];
    lengths.into_iter().filter(|(_, length)| length.is_some_and(|length| length < 0)).map(|(name, _)| name).collect()
}
