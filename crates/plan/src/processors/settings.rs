//! Settings of a Processor that its collector refuses: actions, contexts, modes and functions of OTTL that do not exist.
//!
//! Owns what is known of the attributes, resource, filter and transform processors of this release; other types are not looked at. For
//! another image, which may know more, all of it is a warning; what a collector does not start with is quarantined.

use crate::spelling::hint;
use odigos_api::Signal;
use odigos_pipeline::ottl_functions::{Language, RELEASE, calls, contexts};
use serde_json::Value;
use std::collections::BTreeSet;

/// Actions of the attributes and resource processors.
const ACTIONS: [&str; 7] = ["insert", "update", "upsert", "delete", "hash", "extract", "convert"];
const CONVERTED_TYPES: [&str; 3] = ["string", "int", "double"];
const ERROR_MODES: [&str; 3] = ["ignore", "propagate", "silent"];

/// What is wrong with the settings of a processor type, one sentence each.
pub(super) fn problems(component_type: &str, settings: &Value) -> Vec<String> {
    let mut found = match component_type {
        "attributes" => actions("actions", settings),
        "resource" => actions("attributes", settings),
        "transform" => transform(settings),
        "filter" => filter(settings),
        _ => Vec::new(),
    };
    let mut seen = BTreeSet::new();
    found.retain(|problem| seen.insert(problem.clone()));
    found
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// A word that is none of the known ones, with the nearest of them.
fn unknown<'a>(what: &str, word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let near = match hint(word, known.iter().copied()) {
        none if none.is_empty() => format!("; known are {}", known.join(", ")),
        near => near,
    };
    format!("{what} {word:?} does not exist{near}")
}

fn actions(key: &str, settings: &Value) -> Vec<String> {
    let Some(list) = settings.get(key) else {
        return vec![format!("it has no {key}, without which the processor does not start")];
    };
    let Some(list) = list.as_array().filter(|list| !list.is_empty()) else {
        return vec![format!("{key} must be a list of at least one action")];
    };
    list.iter().enumerate().filter_map(|(n, one)| Some(format!("{key}[{n}]: {}", action_problem(one)?))).collect()
}

/// Why the processor does not start with an action.
fn action_problem(one: &Value) -> Option<String> {
    // An empty text is a value, and nothing elsewhere.
    let is_there = |key: &str| {
        one.get(key).is_some_and(|value| !value.is_null() && (key == "value" || value.as_str() != Some("")))
    };
    let sources = ["value", "from_attribute", "from_context"];
    let stated: Vec<&str> = sources.into_iter().filter(|key| is_there(key)).collect();
    let Some(action) = text(one, "action") else {
        return Some(format!("it has no action; write one of {}", ACTIONS.join(", ")));
    };
    let action = action.to_lowercase();
    if !ACTIONS.contains(&action.as_str()) {
        return Some(unknown("the action", &action, ACTIONS));
    }
    let may_lack_key = matches!(action.as_str(), "delete" | "hash") && is_there("pattern");
    if !is_there("key") && !may_lack_key {
        return Some("it has no key".into());
    }
    let needless: &[&str] = match action.as_str() {
        "insert" | "update" | "upsert" => &["pattern", "converted_type"],
        "extract" => &["value", "from_attribute", "from_context", "converted_type"],
        "convert" => &["value", "from_attribute", "from_context", "pattern"],
        _ => &["value", "from_attribute", "converted_type"],
    };
    if let Some(key) = needless.iter().find(|key| is_there(key)) {
        return Some(format!("the action {action} takes no {key}"));
    }
    match action.as_str() {
        "insert" | "update" | "upsert" if stated.len() > 1 => {
            Some(format!("it has {} at once; write one", stated.join(" and ")))
        }
        "insert" | "update" | "upsert" if stated.is_empty() && !is_there("default_value") => {
            Some(format!("it has none of {}", sources.join(", ")))
        }
        "extract" if !is_there("pattern") => Some("it has no pattern".into()),
        "convert" => match text(one, "converted_type") {
            None => Some(format!("it has no converted_type; write one of {}", CONVERTED_TYPES.join(", "))),
            Some(target) if !CONVERTED_TYPES.contains(&target) => {
                Some(unknown("the converted_type", target, CONVERTED_TYPES))
            }
            Some(_) => None,
        },
        _ => None,
    }
}

fn error_mode(value: &Value, at: &str) -> Option<String> {
    let mode = text(value, "error_mode")?.to_lowercase();
    (!ERROR_MODES.contains(&mode.as_str())).then(|| format!("{at}{}", unknown("the error_mode", &mode, ERROR_MODES)))
}

/// Functions that a text calls and that do not exist in these contexts.
fn unknown_functions(language: Language, at: &str, text: &str, contexts: &[&str]) -> Vec<String> {
    if let Some(open) = unclosed(text) {
        return vec![format!("{at}: {open}, so the collector cannot read it and does not start with it")];
    }
    let known = language.functions(contexts);
    let missing = calls(text).into_iter().filter(|name| !known.contains(name));
    missing
        .map(|name| {
            let near = hint(name, known.iter().copied());
            let of = if contexts.len() == 1 { format!(" in the context {}", contexts.join("")) } else { String::new() };
            format!("{at}: there is no function {name}{of} in the collector of release {RELEASE}, which does not start with it{near}")
        })
        .collect()
}

/// What of a statement or condition is not closed, or closed twice.
fn unclosed(text: &str) -> Option<&'static str> {
    let mut open: Vec<char> = Vec::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                let mut is_closed = false;
                while let Some(inside) = letters.next() {
                    match inside {
                        '\\' => drop(letters.next()),
                        '"' => {
                            is_closed = true;
                            break;
                        }
                        _ => {}
                    }
                }
                if !is_closed {
                    return Some("a text in quotes is not closed");
                }
            }
            '(' => open.push(')'),
            '[' => open.push(']'),
            '{' => open.push('}'),
            ')' | ']' | '}' if open.pop() != Some(letter) => return Some("it closes a bracket that is not open"),
            _ => {}
        }
    }
    (!open.is_empty()).then_some("a bracket is not closed")
}

/// Groups of statements or conditions, or single ones: both stand in one list.
fn groups(language: Language, key: &str, list: &Value, signal: Signal) -> Vec<String> {
    let mut found = Vec::new();
    for (n, one) in list.as_array().into_iter().flatten().enumerate() {
        let at = format!("{key}[{n}]");
        if let Some(text) = one.as_str() {
            found.extend(unknown_functions(language, &at, text, contexts(signal)));
            continue;
        }
        found.extend(error_mode(one, &format!("{at}: ")));
        let stated = text(one, "context").map(str::to_lowercase);
        let of_group = match stated.as_deref() {
            None => contexts(signal),
            Some(context) => match contexts(signal).iter().position(|one| *one == context) {
                Some(position) => contexts(signal).get(position..=position).unwrap_or_default(),
                None => {
                    found.push(format!("{at}: {}", unknown("the context", context, contexts(signal).iter().copied())));
                    continue;
                }
            },
        };
        for key in ["statements", "conditions"] {
            for text in one.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
                found.extend(unknown_functions(language, &at, text, of_group));
            }
        }
    }
    found
}

const SIGNALS: [(&str, Signal); 4] =
    [("trace", Signal::Traces), ("metric", Signal::Metrics), ("log", Signal::Logs), ("profile", Signal::Profiles)];

fn transform(settings: &Value) -> Vec<String> {
    let mut found: Vec<String> = error_mode(settings, "").into_iter().collect();
    for (name, signal) in SIGNALS {
        let key = format!("{name}_statements");
        if let Some(list) = settings.get(&key) {
            found.extend(groups(Language::Transform, &key, list, signal));
        }
    }
    found
}

/// Lists of conditions of the filter processor: where they stand, and their context.
const CONDITIONS: [(&str, &str, &str); 9] = [
    ("traces", "resource", "resource"),
    ("traces", "span", "span"),
    ("traces", "spanevent", "spanevent"),
    ("metrics", "resource", "resource"),
    ("metrics", "metric", "metric"),
    ("metrics", "datapoint", "datapoint"),
    ("logs", "resource", "resource"),
    ("logs", "log_record", "log"),
    ("profiles", "profile", "profile"),
];

fn filter(settings: &Value) -> Vec<String> {
    let mut found: Vec<String> = error_mode(settings, "").into_iter().collect();
    for (section, key, context) in CONDITIONS {
        let list = settings.get(section).and_then(|of_signal| of_signal.get(key)).and_then(Value::as_array);
        for (n, text) in list.into_iter().flatten().filter_map(Value::as_str).enumerate() {
            found.extend(unknown_functions(Language::Filter, &format!("{section}.{key}[{n}]"), text, &[context]));
        }
    }
    for (name, signal) in SIGNALS {
        let key = format!("{name}_conditions");
        if let Some(list) = settings.get(&key) {
            found.extend(groups(Language::Filter, &key, list, signal));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_that_the_collector_refuses_are_reported_with_their_place() {
        let action = |one: Value| json!({"actions": [{"key": "ok", "action": "delete"}, one]});
        for (component_type, settings, expected) in [
            (
                "attributes",
                action(json!({"key": "a", "action": "delte"})),
                "actions[1]: the action \"delte\" does not exist; did you mean delete?",
            ),
            ("attributes", action(json!({"key": "a", "action": "rename"})), "known are insert"),
            ("attributes", action(json!({"key": "a"})), "it has no action"),
            ("attributes", action(json!({"key": "a", "action": "insert"})), "it has none of value"),
            (
                "attributes",
                action(json!({"key": "a", "action": "insert", "value": 1, "from_attribute": "b"})),
                "value and from_attribute at once",
            ),
            ("attributes", action(json!({"key": "a", "action": "extract"})), "it has no pattern"),
            (
                "attributes",
                action(json!({"key": "a", "action": "convert", "converted_type": "float"})),
                "the converted_type \"float\"",
            ),
            ("attributes", action(json!({"action": "upsert", "value": "v"})), "it has no key"),
            ("attributes", action(json!({"key": "a", "action": "hash", "value": "v"})), "takes no value"),
            ("attributes", json!({"attributes": []}), "it has no actions"),
            (
                "resource",
                json!({"attributes": [{"key": "a", "action": "inserted", "value": "v"}]}),
                "attributes[0]: the action \"inserted\" does not exist; did you mean insert?",
            ),
            ("resource", json!({"attributes": []}), "at least one action"),
            ("transform", json!({"trace_statements": ["set(span.name, \"x\""]}), "a bracket is not closed"),
            ("transform", json!({"trace_statements": ["set(span.name, \"x)"]}), "a text in quotes is not closed"),
            ("filter", json!({"traces": {"span": ["name == \"a\")"]}}), "closes a bracket that is not open"),
            (
                "transform",
                json!({"trace_statements": ["sett(span.name, \"x\")"]}),
                "trace_statements[0]: there is no function sett in the collector",
            ),
            (
                "transform",
                json!({"trace_statements": [{"context": "span", "statements": ["set(name, Foo(name))"]}]}),
                "no function Foo in the context span",
            ),
            (
                "transform",
                json!({"log_statements": [{"context": "span", "statements": []}]}),
                "the context \"span\" does not exist; known are resource, scope, log",
            ),
            (
                "transform",
                json!({"metric_statements": [{"context": "datapoint", "statements": ["convert_sum_to_gauge()"]}]}),
                "no function convert_sum_to_gauge in the context datapoint",
            ),
            (
                "transform",
                json!({"log_statements": [{"conditions": ["IsMach(body, \"x\")"], "statements": []}]}),
                "did you mean IsMatch?",
            ),
            (
                "transform",
                json!({"error_mode": "ignored"}),
                "the error_mode \"ignored\" does not exist; did you mean ignore?",
            ),
            (
                "transform",
                json!({"log_statements": [{"error_mode": "loud", "statements": []}]}),
                "log_statements[0]: the error_mode",
            ),
            ("filter", json!({"traces": {"span": ["IsRootSpn()"]}}), "traces.span[0]: there is no function IsRootSpn"),
            ("filter", json!({"metrics": {"datapoint": ["HasAttrKeyOnDatapoint(\"a\")"]}}), "in the context datapoint"),
            ("filter", json!({"logs": {"log_record": ["set(body, 1) == nil"]}}), "no function set"),
            (
                "filter",
                json!({"trace_conditions": ["Foo(span.name)"]}),
                "trace_conditions[0]: there is no function Foo",
            ),
        ] {
            let found = problems(component_type, &settings);
            assert_eq!(found.len(), 1, "{settings}: {found:?}");
            assert!(found[0].contains(expected), "{settings}: {found:?}");
        }
    }

    #[test]
    fn settings_that_the_collector_takes_are_not_reported() {
        for (component_type, settings) in [
            (
                "attributes",
                json!({"actions": [
                    {"key": "a", "action": "INSERT", "value": ""}, {"key": "a", "action": "upsert", "value": 0},
                    {"key": "a", "action": "update", "from_context": "b"}, {"key": "a", "action": "insert", "default_value": 1},
                    {"pattern": "^a", "action": "delete"}, {"key": "a", "action": "extract", "pattern": "^(?P<b>.*)$"},
                    {"key": "a", "action": "convert", "converted_type": "int"},
                ]}),
            ),
            (
                "transform",
                json!({"error_mode": "Silent", "trace_statements": [
                {"context": "Span", "conditions": ["IsRootSpan()"], "statements": ["set_semconv_span_name(\"1.37.0\")"]},
                {"statements": ["set(resource.attributes[\"a(b)\"], Concat([span.name, \"c\"], \"-\")) where not (span.name == \"d\")"]},
            ], "metric_statements": ["convert_sum_to_gauge() where metric.name == \"a\"", "merge_histogram_buckets(1)"]}),
            ),
            (
                "filter",
                json!({"error_mode": "ignore", "metrics": {"metric": ["HasAttrOnDatapoint(\"a\", \"b\")"]}, "log_conditions": [{"context": "log", "conditions": ["IsMatch(log.body, \".*\")"]}]}),
            ),
            ("redaction", json!({"allow_all_keys": true})),
        ] {
            assert_eq!(problems(component_type, &settings), Vec::<String>::new(), "{settings}");
        }
    }
}
