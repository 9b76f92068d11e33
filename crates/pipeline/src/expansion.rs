//! How a collector expands `$` in the strings of its configuration, and in what its references fetch.
//!
//! Owns escaping, which variables of its own a collector may be told to read, and two limits: a value behind `${env:…}` is expanded like the
//! text around it, and the search for references ends at the first escaped one. Never reads a variable.

use serde_json::Value;

/// The text with every `$` doubled, so that a collector reads back exactly this text.
///
/// ```
/// assert_eq!(odigos_pipeline::expansion::escape("p@$$w0rd"), "p@$$$$w0rd");
/// ```
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('$', "$$")
}

/// Settings with every text escaped. Keys stay: a collector does not expand them.
#[must_use]
pub fn escaped(settings: Value) -> Value {
    match settings {
        Value::String(text) => Value::String(escape(&text)),
        Value::Array(list) => list.into_iter().map(escaped).collect(),
        Value::Object(map) => Value::Object(map.into_iter().map(|(key, value)| (key, escaped(value))).collect()),
        other => other,
    }
}

/// Variables of a collector's container that say where it runs. None holds a secret, so Processors may refer to them.
pub const OWN_VARIABLES: [&str; 5] = ["NODE_IP", "NODE_NAME", "ODIGOS_VERSION", "POD_NAME", "POD_NAMESPACE"];

/// Prefix of the variables through which Secrets of Destinations reach a gateway.
const SECRET_PREFIX: &str = "D_";

/// The text with every `$` doubled that a collector would act on, except in references to [`OWN_VARIABLES`]. A `$$` stays: its author escaped
/// it. The second value is the first reference that is not replaced any more.
///
/// ```
/// use odigos_pipeline::expansion::confine;
/// assert_eq!(confine("$1 on ${env:NODE_NAME}"), ("$$1 on ${env:NODE_NAME}".to_owned(), None));
/// assert_eq!(confine("${file:/etc/shadow}"), ("$${file:/etc/shadow}".to_owned(), Some("${file:/etc/shadow}")));
/// ```
#[must_use]
pub fn confine(text: &str) -> (String, Option<&str>) {
    let mut out = String::with_capacity(text.len());
    let mut refused = None;
    let mut rest = text;
    while let Some(position) = rest.find('$') {
        out.push_str(&rest[..position]);
        rest = &rest[position..];
        if let Some(behind) = rest.strip_prefix("$$") {
            out.push_str("$$");
            rest = behind;
            continue;
        }
        match reference(rest) {
            Some((whole, name)) if OWN_VARIABLES.contains(&name) => {
                out.push_str(whole);
                rest = &rest[whole.len()..];
            }
            found => {
                if refused.is_none() {
                    refused = found.map(|(whole, _)| whole);
                }
                out.push_str("$$");
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    (out, refused)
}

/// The first foreign reference in the texts of a configuration; collectors follow none in keys.
#[must_use]
pub fn foreign_reference_within(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => foreign_reference(text),
        Value::Array(list) => list.iter().find_map(foreign_reference_within),
        Value::Object(map) => map.values().find_map(foreign_reference_within),
        _ => None,
    }
}

/// The first `${…}` that a collector would replace by anything but an own variable or a Secret's value that it was given.
#[must_use]
pub fn foreign_reference(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(position) = rest.find('$') {
        rest = &rest[position..];
        if let Some(behind) = rest.strip_prefix("$$") {
            rest = behind;
            continue;
        }
        if rest.starts_with("${") {
            match reference(rest) {
                Some((whole, name)) if OWN_VARIABLES.contains(&name) || name.starts_with(SECRET_PREFIX) => {
                    rest = &rest[whole.len()..];
                    continue;
                }
                Some((whole, _)) => return Some(whole),
                // Nothing closes it here, and what does so later would be read as part of it.
                None => return Some(rest),
            }
        }
        rest = &rest[1..];
    }
    None
}

/// The `${…}` at the beginning of a text, and the name of the variable if it is nothing but one; else an empty name.
fn reference(text: &str) -> Option<(&str, &str)> {
    let end = text.strip_prefix("${")?.find('}')? + "${}".len();
    let whole = &text[..end];
    let name = whole.strip_prefix("${env:").and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    Some((whole, if is_name { name } else { "" }))
}

/// Whether a collector makes another text of this value when a reference fetches it: it halves `$$`, expands `${…}`, and joins a `$` at the end
/// with what follows.
#[must_use]
pub fn is_changed(value: &str) -> bool {
    value.contains("$$") || value.contains("${") || value.ends_with('$')
}

/// Whether the value holds `${…}`, which a collector takes for a reference.
#[must_use]
pub fn holds_reference(value: &str) -> bool {
    value.find("${").is_some_and(|begin| value[begin..].contains('}'))
}

/// The first variable of `text` that a collector leaves unexpanded, since an escaped `${…}` stands before it: in the text itself, or in the value
/// of a variable before it. `holds_escaped` says so of a variable's value.
#[must_use]
pub fn unexpanded_variable(text: &str, holds_escaped: impl Fn(&str) -> bool) -> Option<&str> {
    const REFERENCE: &str = "${env:";
    let mut begin = 0;
    let mut has_ended = false;
    while let Some(close) = text[begin..].find('}').map(|position| begin + position) {
        // As the collector does it: the nearest opening before the first closing.
        if let Some(open) = text[..=close].rfind("${").filter(|open| *open >= begin) {
            let is_escaped = text[..open].bytes().rev().take_while(|byte| *byte == b'$').count() % 2 == 1;
            let variable = text[open..close].strip_prefix(REFERENCE).filter(|_| !is_escaped);
            match variable {
                Some(variable) if has_ended => return Some(variable),
                Some(variable) => has_ended = holds_escaped(variable),
                None => has_ended = true,
            }
        }
        begin = close + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_a_collector_changes_are_found() {
        for (value, changed) in [
            ("0123456789", false),
            ("us$er", false),
            ("$1", false),
            ("a{b}", false),
            ("p@$$w0rd", true),
            ("a${HOME}b", true),
            ("a${b", true),
            ("ends with $", true),
        ] {
            assert_eq!(is_changed(value), changed, "{value}");
        }
        assert!(holds_reference("a${HOME}b") && !holds_reference("a}b${c"));
    }

    #[test]
    fn confined_text_refers_to_own_variables_only() {
        for (text, expected, refused) in [
            ("plain", "plain", None),
            ("$1", "$$1", None),
            ("$$1", "$$1", None),
            ("$$$", "$$$$", None),
            ("${1}", "$${1}", Some("${1}")),
            ("$${1}", "$${1}", None),
            ("${env:NODE_NAME}", "${env:NODE_NAME}", None),
            ("$$${env:NODE_NAME}", "$$${env:NODE_NAME}", None),
            ("$${env:NODE_NAME}", "$${env:NODE_NAME}", None),
            ("${env:NODE_NAME:-x}", "$${env:NODE_NAME:-x}", Some("${env:NODE_NAME:-x}")),
            ("${env:D_A_KEY}", "$${env:D_A_KEY}", Some("${env:D_A_KEY}")),
            ("$$${env:D_A_KEY}", "$$$${env:D_A_KEY}", Some("${env:D_A_KEY}")),
            ("${file:/etc/shadow}", "$${file:/etc/shadow}", Some("${file:/etc/shadow}")),
            ("${env:${env:NODE_NAME}}", "$${env:${env:NODE_NAME}}", Some("${env:${env:NODE_NAME}")),
            ("${open", "$${open", None),
        ] {
            assert_eq!(confine(text), (expected.to_owned(), refused), "{text}");
            assert_eq!(foreign_reference(expected), None, "{expected}");
        }
        assert_eq!(foreign_reference("a ${env:D_A_KEY} ${env:HOME}"), Some("${env:HOME}"));
        assert_eq!(foreign_reference("$$${http://h}"), Some("${http://h}"));
        assert_eq!(foreign_reference("${open"), Some("${open"));
    }

    #[test]
    fn references_behind_an_escaped_one_are_found() {
        let none = |_: &str| false;
        for (text, expected) in [
            ("Bearer ${env:A}", None),
            ("${env:A} $${X}", None),
            ("$${X} ${env:A}", Some("A")),
            ("$${X} $${env:A}", None),
            ("$$${env:A}${env:B}", None),
            ("$${X ${env:A}", None),
            ("{}} ${env:A}", None),
        ] {
            assert_eq!(unexpanded_variable(text, none), expected, "{text}");
        }
        let first = |variable: &str| variable == "A";
        assert_eq!(unexpanded_variable("${env:A}:${env:B}", first), Some("B"));
        assert_eq!(unexpanded_variable("${env:B}:${env:A}", first), None);
    }
}
