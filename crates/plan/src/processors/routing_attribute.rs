//! What keeps Processors from choosing the data stream of an item: gateways route by one attribute of resources, and Processors run before.
//!
//! Owns the refusal of settings that write, remove or could write that attribute, of the types that this release knows to reach attributes of
//! resources; of other types, of settings that name it. What reads it is allowed. A key or a map that only the running collector knows
//! is refused where it is one of a resource.

use odigos_api::labels::STREAM_CLASS_ATTRIBUTE as CLASS;
use regex::{Regex, RegexBuilder};
use serde_json::Value;

/// Types that read attributes of resources, or change those of items alone.
const READING: [&str; 9] = [
    "attributes",
    "batch",
    "filter",
    "interval",
    "logdedup",
    "metricstransform",
    "probabilisticsampler",
    "span",
    "tailsampling",
];
/// Ids of classes as they are and were, to try expressions on.
const CLASSES: [&str; 4] =
    ["cdf384ae9", "c0123456789abcdef0123456789abcdef", "cfedcba9876543210fedcba9876543210", "default"];
/// Longest id, with room.
const LONGEST_CLASS: u64 = 64;

/// Why settings of a type (without `_`) reach the attribute.
pub(super) fn problem(component_type: &str, settings: &Value) -> Option<String> {
    let found = match component_type {
        "resource" => resource(settings),
        "transform" => transform(settings),
        "redaction" => redaction(settings),
        reading if READING.contains(&reading) => None,
        _ => names_it(settings).then(|| format!("it names {CLASS}")),
    };
    found.map(|what| format!("{what}, by which gateways choose the data stream; a Processor leaves it as it is"))
}

/// Whether a text or a key anywhere is the attribute.
fn names_it(settings: &Value) -> bool {
    let is_it = |text: &str| text.contains(CLASS);
    match settings {
        Value::String(text) => is_it(text),
        Value::Array(list) => list.iter().any(names_it),
        Value::Object(map) => map.iter().any(|(key, value)| is_it(key) || names_it(value)),
        _ => false,
    }
}

/// Most that a compiled expression may take, in bytes: it is compiled at each look at the Processor.
const LARGEST: usize = 128 << 10;

/// An expression as the collector reads it; none where it cannot be read, or is large.
fn compiled(expression: &str) -> Option<Regex> {
    // Processors may write `$` twice.
    RegexBuilder::new(&expression.replace("$$", "$")).size_limit(LARGEST).build().ok()
}

/// Whether an expression matches a text; one that cannot be read might.
fn matches(expression: &str, text: &str) -> bool {
    compiled(expression).is_none_or(|regex| regex.is_match(text))
}

fn resource(settings: &Value) -> Option<String> {
    let actions = settings.get("attributes").and_then(Value::as_array);
    actions.into_iter().flatten().enumerate().find_map(|(number, one)| {
        let text = |key: &str| one.get(key).and_then(Value::as_str).unwrap_or_default();
        let is_read = text("action").eq_ignore_ascii_case("extract");
        let by_name = text("key") == CLASS && !is_read;
        let pattern = text("pattern");
        let by_pattern = !pattern.is_empty() && !is_read && matches(pattern, CLASS);
        (by_name || by_pattern).then(|| format!("attributes[{number}] changes {CLASS}"))
    })
}

/// It works on attributes of resources as well, and deletes what is not allowed.
fn redaction(settings: &Value) -> Option<String> {
    let list = |key: &str| settings.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let is_ignored = list("ignored_keys").any(|key| key == CLASS);
    let is_kept =
        settings.get("allow_all_keys") == Some(&Value::Bool(true)) || list("allowed_keys").any(|key| key == CLASS);
    if !is_kept && !is_ignored {
        return Some(format!("it deletes {CLASS}, unless ignored_keys lists it or allow_all_keys is true"));
    }
    let by_key = list("blocked_key_patterns").any(|one| matches(one, CLASS));
    let by_value = list("blocked_values").any(|one| CLASSES.iter().any(|class| matches(one, class)));
    ((by_key || by_value) && !is_ignored).then(|| format!("it masks {CLASS}, unless ignored_keys lists it"))
}

fn transform(settings: &Value) -> Option<String> {
    let mut found = None;
    for key in ["trace_statements", "metric_statements", "log_statements", "profile_statements"] {
        for (number, one) in settings.get(key).and_then(Value::as_array).into_iter().flatten().enumerate() {
            let is_resource =
                one.get("context").and_then(Value::as_str).is_some_and(|it| it.eq_ignore_ascii_case("resource"));
            let texts = one.get("statements").and_then(Value::as_array).into_iter().flatten().chain([one]);
            let mut problems = texts.filter_map(Value::as_str).filter_map(|text| statement(text, is_resource));
            found = found.or_else(|| problems.next().map(|what| format!("{key}[{number}]: {what}")));
        }
    }
    found
}

/// What a statement of OTTL does to the attribute.
fn statement(text: &str, is_resource: bool) -> Option<String> {
    let (editor, rest) = text.split_once('(')?;
    let editor = editor.trim();
    let arguments = arguments(rest);
    let target = Target::of(arguments.first()?, is_resource);
    let argument = |index: usize| arguments.get(index).map(String::as_str).unwrap_or_default();
    let literal = |index: usize| literal(argument(index));
    let is_harmless = match target {
        Target::Other => true,
        Target::Attribute(key) => key != CLASS,
        Target::Computed => false,
        // All attributes of a resource at once.
        Target::Map => match editor {
            "stringify_all" => true,
            "delete_key" => literal(1).is_some_and(|key| key != CLASS),
            "delete_matching_keys" => literal(1).is_some_and(|one| !matches(&one, CLASS)),
            "keep_keys" | "limit" => argument(arguments.len() - 1).contains(&format!("\"{CLASS}\"")),
            "keep_matching_keys" => literal(1).and_then(|one| compiled(&one)).is_some_and(|one| one.is_match(CLASS)),
            "truncate_all" => argument(1).parse().is_ok_and(|length: u64| length >= LONGEST_CLASS),
            "replace_all_patterns" => {
                let is_of_values = literal(1).is_some_and(|mode| mode == "value");
                is_of_values && literal(2).is_some_and(|one| !CLASSES.iter().any(|class| matches(&one, class)))
            }
            "replace_all_matches" => {
                literal(1).is_some_and(|one| !CLASSES.iter().any(|class| matches(&glob(&one), class)))
            }
            _ => false,
        },
    };
    (!is_harmless).then(|| format!("{editor} changes {CLASS}, or could"))
}

/// What a statement changes.
#[derive(PartialEq, Eq)]
enum Target {
    /// An attribute of the resource, by its name.
    Attribute(String),
    /// An attribute of the resource whose name only the collector knows.
    Computed,
    /// All attributes of the resource.
    Map,
    /// Anything else.
    Other,
}

impl Target {
    fn of(path: &str, is_resource: bool) -> Self {
        let path: String =
            path.trim().trim_start_matches("target").trim_start().trim_start_matches('=').trim().to_owned();
        let plain = path
            .strip_prefix("resource.attributes")
            .or_else(|| path.strip_prefix("attributes").filter(|_| is_resource));
        let Some(rest) = plain else { return Self::Other };
        let rest = rest.trim();
        if rest.is_empty() {
            return Self::Map;
        }
        let Some(inside) = rest.strip_prefix('[') else { return Self::Computed };
        // A key below another one is no attribute of its own.
        let Some((key, below)) = inside.trim_start().strip_prefix('"').and_then(|text| text.split_once('"')) else {
            return Self::Computed;
        };
        match below.trim_start().starts_with(']') && !key.contains('\\') {
            true => Self::Attribute(key.to_owned()),
            false => Self::Computed,
        }
    }
}

/// The text in quotes, if it stands there as it is.
fn literal(argument: &str) -> Option<String> {
    let value =
        argument.split_once('=').filter(|(name, _)| name.trim().chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
    let text = value.map_or(argument, |(_, value)| value).trim();
    let inside = text.strip_prefix('"')?.strip_suffix('"')?;
    // In a statement a backslash of an expression is written twice.
    (!inside.replace("\\\\", "").contains(['"', '\\'])).then(|| inside.replace("\\\\", "\\"))
}

/// A glob as an expression.
fn glob(text: &str) -> String {
    format!("^{}$", regex::escape(text).replace(r"\*", ".*").replace(r"\?", "."))
}

/// The arguments of a call, whose opening bracket is behind: up to the closing one.
fn arguments(text: &str) -> Vec<String> {
    let (mut depth, mut is_quoted, mut is_escaped) = (0_u32, false, false);
    let mut all = vec![String::new()];
    for letter in text.chars() {
        let is_outside = !is_quoted && depth == 0;
        if is_outside && letter == ')' {
            break;
        }
        if is_outside && letter == ',' {
            all.push(String::new());
            continue;
        }
        match letter {
            '"' if !is_escaped => is_quoted = !is_quoted,
            '(' | '[' | '{' if !is_quoted => depth += 1,
            ')' | ']' | '}' if !is_quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        is_escaped = letter == '\\' && !is_escaped;
        if let Some(last) = all.last_mut() {
            last.push(letter);
        }
    }
    all.iter().map(|one| one.trim().to_owned()).collect()
}

/// Statements on attributes of resources, and whether each is refused; tests of the real collector run them too.
#[must_use]
pub fn examples() -> Vec<(&'static str, bool)> {
    vec![
        (r#"set(resource.attributes["odigos.stream.class"], "c2")"#, true),
        (r#"set(resource.attributes[Concat(["odigos", "stream", "class"], ".")], "c2")"#, true),
        (r#"delete_key(resource.attributes, "odigos.stream.class")"#, true),
        (r#"delete_matching_keys(resource.attributes, "^odigos")"#, true),
        (r#"keep_keys(resource.attributes, ["service.name"])"#, true),
        (r#"keep_matching_keys(resource.attributes, "^service")"#, true),
        (r#"merge_maps(resource.attributes, ParseJSON("{\"odigos.stream.class\": \"c2\"}"), "upsert")"#, true),
        (r#"replace_pattern(resource.attributes["odigos.stream.class"], "^c1$", "c2")"#, true),
        (r#"replace_all_patterns(resource.attributes, "value", "^c[0-9a-f]+$", "c2")"#, true),
        (r#"replace_all_patterns(resource.attributes, "key", "^odigos", "theirs")"#, true),
        (r#"replace_all_matches(resource.attributes, "c*", "c2")"#, true),
        (r#"truncate_all(resource.attributes, 1)"#, true),
        (r#"limit(resource.attributes, 1, ["service.name"])"#, true),
        (r#"set(resource.attributes["team"], resource.attributes["odigos.stream.class"])"#, false),
        (r#"set(span.attributes["odigos.stream.class"], "c2")"#, false),
        (r#"delete_key(resource.attributes, "host.name")"#, false),
        (r#"delete_matching_keys(resource.attributes, "^process\\.")"#, false),
        (r#"keep_keys(resource.attributes, ["odigos.stream.class", "service.name"])"#, false),
        (r#"keep_matching_keys(resource.attributes, "^(odigos|service)")"#, false),
        (r#"replace_all_patterns(resource.attributes, "value", "[a-z]+@[a-z.]+", "***")"#, false),
        (r#"replace_all_matches(resource.attributes, "*@*", "***")"#, false),
        (r#"truncate_all(resource.attributes, 256)"#, false),
        (r#"limit(resource.attributes, 2, ["odigos.stream.class", "service.name"])"#, false),
        (r#"set(span.name, "a") where resource.attributes["odigos.stream.class"] == "c1""#, false),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn statements_that_reach_the_class_are_refused() {
        for (text, is_refused) in examples() {
            let settings = json!({"trace_statements": [text]});
            assert_eq!(problem("transform", &settings).is_some(), is_refused, "{text}");
        }
        let of_resource = |text: &str| {
            problem("transform", &json!({"log_statements": [{"context": "resource", "statements": [text]}]}))
        };
        assert!(of_resource(r#"set(attributes["odigos.stream.class"], "c2")"#).is_some());
        assert!(of_resource(r#"set( attributes [ "odigos.stream.class" ] , "c2")"#).is_some());
        assert!(of_resource(r#"set(attributes["odigos\u002estream.class"], "c2")"#).is_some());
        assert!(of_resource(r#"set(target=attributes["odigos.stream.class"], value="c2")"#).is_some());
        assert!(of_resource(r#"set(attributes["a"], "b, c) where")"#).is_none());
        let said = of_resource(r#"set(attributes, {})"#).unwrap();
        assert!(said.starts_with("log_statements[0]: set changes odigos.stream.class, or could, by which"), "{said}");
    }

    #[test]
    fn other_types_that_reach_the_class_are_refused() {
        let resource = |action: Value| problem("resource", &json!({"attributes": [action]})).is_some();
        assert!(resource(json!({"key": "odigos.stream.class", "action": "upsert", "value": "c2"})));
        assert!(resource(json!({"pattern": "odigos.*", "action": "delete"})));
        assert!(!resource(json!({"key": "odigos.stream.class", "action": "extract", "pattern": "^(?P<a>c.)"})));
        assert!(!resource(json!({"key": "host.name", "action": "delete"})));
        assert!(problem("groupbyattrs", &json!({"keys": ["odigos.stream.class"]})).is_some());
        assert!(problem("groupbyattrs", &json!({"keys": ["host.name"]})).is_none());
        assert!(problem("redaction", &json!({"allowed_keys": ["a"]})).is_some());
        assert!(problem("redaction", &json!({"allow_all_keys": true, "blocked_values": ["[a-z]+@[a-z]+"]})).is_none());
        assert!(problem("redaction", &json!({"allow_all_keys": true, "blocked_values": ["^c"]})).is_some());
        assert!(problem("redaction", &json!({"allowed_keys": [], "ignored_keys": [CLASS]})).is_none());
        let condition = json!({"traces": {"span": [r#"resource.attributes["odigos.stream.class"] == "c1""#]}});
        assert!(problem("filter", &condition).is_none(), "it reads");
    }
}
