//! The one printing function for YAML: deterministic block style that YAML 1.1 and 1.2 readers understand alike.
//!
//! Owns quoting. Library emitters leave `on`, `n` or `1:30` bare, which readers with YAML 1.1 scalars (kubectl, Helm)
//! turn into booleans and numbers; everything that is not plainly a word is quoted here. Never parses.

use serde_json::Value;
use std::fmt::Write as _;

/// Lists of scalars up to this many bytes stand on one line.
const FLOW_WIDTH: usize = 100;

/// Prints `value` as one YAML document that ends with a newline. Map keys keep the order of the map (sorted, since
/// `serde_json` maps are).
#[must_use]
pub fn to_string(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => block(&mut out, value, 0),
        Value::Array(list) if !list.is_empty() => block(&mut out, value, 0),
        other => {
            out.push_str(&inline(other, false));
            out.push('\n');
        }
    }
    out
}

/// Prints a non-empty map or list whose first line starts at the current position with indentation `depth`.
fn block(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(map) => {
            for (key, child) in map {
                indent(out, depth);
                entry(out, key, child, depth);
            }
        }
        Value::Array(list) => {
            for item in list {
                indent(out, depth);
                out.push('-');
                match item {
                    Value::Object(map) if !map.is_empty() => {
                        // The first key stands behind the dash, the others below it.
                        for (position, (key, child)) in map.iter().enumerate() {
                            if position == 0 {
                                out.push(' ');
                            } else {
                                indent(out, depth + 1);
                            }
                            entry(out, key, child, depth + 1);
                        }
                    }
                    Value::Array(inner) if !inner.is_empty() => after_key(out, item, depth),
                    other => {
                        out.push(' ');
                        scalar(out, other, depth + 1);
                    }
                }
            }
        }
        other => scalar(out, other, depth),
    }
}

fn entry(out: &mut String, key: &str, child: &Value, depth: usize) {
    out.push_str(&quoted(key, false));
    out.push(':');
    after_key(out, child, depth);
}

/// Prints what follows a colon or a dash, line break included.
fn after_key(out: &mut String, child: &Value, depth: usize) {
    match child {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            block(out, child, depth + 1);
        }
        Value::Array(list) if !list.is_empty() => {
            if let Some(flow) = flow(list) {
                let _ = writeln!(out, " {flow}");
            } else {
                out.push('\n');
                block(out, child, depth + 1);
            }
        }
        other => {
            out.push(' ');
            scalar(out, other, depth + 1);
        }
    }
}

fn scalar(out: &mut String, value: &Value, depth: usize) {
    if let Value::String(text) = value
        && let Some(header) = literal_header(text)
    {
        out.push_str(header);
        out.push('\n');
        for line in text.trim_end_matches('\n').split('\n') {
            if !line.is_empty() {
                indent(out, depth);
                out.push_str(line);
            }
            out.push('\n');
        }
        return;
    }
    out.push_str(&inline(value, false));
    out.push('\n');
}

/// The block scalar header for a text of several lines, or `None` when it must be quoted to survive.
fn literal_header(text: &str) -> Option<&'static str> {
    let body = text.strip_suffix('\n');
    let header = if body.is_some() { "|" } else { "|-" };
    let body = body.unwrap_or(text);
    let printable = body.chars().all(|c| c == '\n' || !needs_escape(c));
    (body.contains('\n') && printable && !body.starts_with([' ', '\n', '\t']) && !body.ends_with('\n'))
        .then_some(header)
}

/// A list of scalars on one line, when it is short.
fn flow(list: &[Value]) -> Option<String> {
    if list.iter().any(|item| matches!(item, Value::Object(_) | Value::Array(_))) {
        return None;
    }
    let line = format!("[{}]", list.iter().map(|item| inline(item, true)).collect::<Vec<_>>().join(", "));
    (line.len() <= FLOW_WIDTH).then_some(line)
}

fn inline(value: &Value, in_flow: bool) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text, in_flow),
        Value::Array(_) => "[]".into(),
        Value::Object(_) => "{}".into(),
    }
}

fn indent(out: &mut String, depth: usize) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

/// The text as a YAML scalar: bare when no reader can take it for anything but this string.
fn quoted(text: &str, in_flow: bool) -> String {
    if is_plain(text, in_flow) {
        return text.to_owned();
    }
    if text.contains(['"', '\\']) && !text.chars().any(needs_escape) && !text.contains('\n') {
        return format!("'{}'", text.replace('\'', "''"));
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if needs_escape(c) => {
                let code = u32::from(c);
                let _ = if code > 0xFFFF { write!(out, "\\U{code:08X}") } else { write!(out, "\\u{code:04X}") };
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Characters that YAML does not print as they are, or folds as line breaks.
fn needs_escape(c: char) -> bool {
    (c.is_control() && c != '\n') || matches!(c, '\u{2028}' | '\u{2029}' | '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}')
}

fn is_plain(text: &str, in_flow: bool) -> bool {
    const WORDS: [&str; 11] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nil", "none"];
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return false };
    let starts_well = first.is_ascii_alphabetic() || first == '_' || (first == '/' && text.len() > 1);
    let inner =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '@') || (c == ':' && !in_flow);
    starts_well && chars.all(inner) && !text.ends_with(':') && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_that_other_readers_misread_are_quoted() {
        for text in [
            "yes", "on", "n", "Y", "null", "1:30", "012", "1_000", "", " a", "a: b", "-", "~", "0x1", "a#b", "a,b",
            ".inf",
        ] {
            let printed = to_string(&json!({ "k": text }));
            assert!(printed.starts_with("k: \"") || printed.starts_with("k: '"), "{text}: {printed}");
        }
        assert_eq!(to_string(&json!({"y": 1})), "\"y\": 1\n");
        assert_eq!(to_string(&json!({"endpoint": "dns:///gateway.ns:4317"})), "endpoint: dns:///gateway.ns:4317\n");
    }

    #[test]
    fn structure_is_block_style_with_short_lists_inline() {
        let value = json!({
            "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": "0.0.0.0:4317"}, "http": {}}}},
            "list": [{"a": 1, "b": [1, 2]}, {"c": []}, "x", [["deep"]]],
            "short": ["otlp", "k8s_cluster"],
        });
        let expected = "list:\n  - a: 1\n    b: [1, 2]\n  - c: []\n  - x\n  -\n    - [deep]\nreceivers:\n  otlp:\n    protocols:\n      grpc:\n        endpoint: \"0.0.0.0:4317\"\n      http: {}\nshort: [otlp, k8s_cluster]\n";
        assert_eq!(to_string(&value), expected);
    }

    #[test]
    fn texts_of_several_lines_are_literal_blocks() {
        let value = json!({"data": {"conf": "a: 1\nb:\n  - x\n"}, "pem": "one\ntwo", "odd": "a\n\n"});
        assert_eq!(
            to_string(&value),
            "data:\n  conf: |\n    a: 1\n    b:\n      - x\nodd: \"a\\n\\n\"\npem: |-\n  one\n  two\n"
        );
    }

    proptest::proptest! {
        #[test]
        fn every_string_reads_back(text in proptest::prelude::any::<String>(), key in proptest::prelude::any::<String>()) {
            let mut map = serde_json::Map::new();
            map.insert(key, json!([text, {"in": text}, [text]]));
            let value = Value::Object(map);
            let read: Value = serde_yaml::from_str(&to_string(&value)).unwrap();
            proptest::prop_assert_eq!(read, value);
        }
    }
}
