//! Reads the settings that are printed back into trees, as a collector reads them: `$$` is `$` before anything else, then the grammar of
//! OTTL. What [`super::interpreter`] carries out is the printed text, so nothing that the printer would get wrong is proved by trees.
//!
//! Knows the part of the grammar that is printed, and refuses everything else.

use super::transform::{Added, Context, Group, Settings};
use odigos_api::Signal;
use odigos_pipeline::ottl::{Condition, Expression, Path, Statement};
use serde_json::Value;
use std::collections::BTreeMap;

/// The settings of a processor, from their text; those that hold no OTTL are as they are.
pub(super) fn read(settings: &Settings) -> Settings {
    let rendered = settings.rendered();
    match settings {
        Settings::KubernetesAttributes(_) => settings.clone(),
        Settings::Resource(_) => Settings::Resource(list(&rendered["attributes"]).map(added).collect()),
        Settings::Filter { signals, .. } => {
            let fields = [("traces", "span"), ("metrics", "metric"), ("logs", "log_record")];
            let mut texts = fields.iter().flat_map(|(signal, item)| list(&rendered[*signal][*item]));
            let text = texts.next().map(|text| expanded(text.as_str().unwrap())).unwrap();
            let condition = (text != "true").then(|| Reader::whole(&text, Reader::condition));
            Settings::Filter { signals: signals.clone(), condition }
        }
        Settings::Transform(_) => {
            assert_eq!(rendered["error_mode"], "ignore");
            let fields = [
                (Signal::Traces, "trace_statements"),
                (Signal::Metrics, "metric_statements"),
                (Signal::Logs, "log_statements"),
            ];
            let stated = fields.iter().filter(|(_, field)| !rendered[*field].is_null());
            let groups: BTreeMap<Signal, Vec<Group>> =
                stated.map(|(signal, field)| (*signal, list(&rendered[*field]).map(group).collect())).collect();
            Settings::Transform(groups)
        }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// What a collector makes of a text before a component reads it.
fn expanded(text: &str) -> String {
    let bare = text.replace("$$", "");
    assert!(!bare.contains('$'), "a single dollar would be expanded: {text}");
    text.replace("$$", "$")
}

fn added(one: &Value) -> Added {
    let text = |key: &str| expanded(one[key].as_str().unwrap());
    let replaces = match one["action"].as_str() {
        Some("upsert") => true,
        Some("insert") => false,
        other => panic!("{other:?} is not rendered"),
    };
    Added { key: text("key"), value: text("value"), replaces }
}

fn group(one: &Value) -> Group {
    const ALL: [Context; 6] =
        [Context::Resource, Context::Scope, Context::Span, Context::Event, Context::Point, Context::Log];
    let context = ALL.into_iter().find(|context| one["context"] == context.as_str()).unwrap();
    // Of several conditions any would do; one is rendered.
    let conditions: Vec<Condition> = list(&one["conditions"])
        .map(|text| Reader::whole(&expanded(text.as_str().unwrap()), Reader::condition))
        .collect();
    assert!(conditions.len() < 2);
    let statements = list(&one["statements"])
        .map(|text| Reader::whole(&expanded(text.as_str().unwrap()), Reader::statement))
        .collect();
    Group { context, condition: conditions.into_iter().next(), statements }
}

/// What is left of a text.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a str);

/// Trees hold names for as long as the program runs.
fn name(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

impl<'a> Reader<'a> {
    fn whole<T>(text: &'a str, read: impl Fn(&mut Self) -> T) -> T {
        let mut reader = Reader(text);
        let found = read(&mut reader);
        assert_eq!(reader.0, "", "it is not read to its end: {text}");
        found
    }

    fn takes(&mut self, word: &str) -> bool {
        self.0.strip_prefix(word).map(|rest| self.0 = rest).is_some()
    }

    fn expects(&mut self, word: &str) {
        assert!(self.takes(word), "{word} is expected before {}", self.0);
    }

    /// The longest beginning of such characters.
    fn word(&mut self, is_of: impl Fn(char) -> bool) -> &'static str {
        let end = self.0.find(|c: char| !is_of(c)).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        name(word)
    }

    fn statement(&mut self) -> Statement {
        let editor = self.word(|c| c.is_ascii_lowercase() || c == '_');
        self.expects("(");
        let arguments = self.arguments(")");
        let condition = self.takes(" where ").then(|| self.condition());
        Statement { editor, arguments, condition }
    }

    fn arguments(&mut self, end: &str) -> Vec<Expression> {
        let mut all = Vec::new();
        while !self.takes(end) {
            if !all.is_empty() {
                self.expects(", ");
            }
            all.push(self.expression());
        }
        all
    }

    fn expression(&mut self) -> Expression {
        if self.0.starts_with('"') {
            return Expression::Text(self.text());
        }
        if self.takes("[") {
            return Expression::List(self.arguments("]"));
        }
        if self.takes("(") {
            let left = self.expression();
            self.expects(" - ");
            let right = self.expression();
            self.expects(")");
            return Expression::Minus(Box::new(left), Box::new(right));
        }
        if self.0.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            return Expression::Integer(self.word(|c| c.is_ascii_digit() || c == '-').parse().unwrap());
        }
        let word = self.word(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
        assert!(!word.is_empty(), "an expression is expected before {}", self.0);
        let mut found = if word == "nil" {
            Expression::Nil
        } else if self.takes("(") {
            Expression::Call(word, self.arguments(")"))
        } else if self.takes("[") {
            let key = self.text();
            self.expects("]");
            Path::keyed(word, key).into()
        } else {
            Path::field(word).into()
        };
        while self.takes("[") {
            let key = name(&self.text());
            self.expects("]");
            found = Expression::Element(Box::new(found), key);
        }
        found
    }

    fn text(&mut self) -> String {
        self.expects("\"");
        let (mut text, mut characters) = (String::new(), self.0.char_indices());
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return text;
                }
                '\\' => text.push(match characters.next().map(|(_, escaped)| escaped) {
                    Some('n') => '\n',
                    Some('r') => '\r',
                    Some('t') => '\t',
                    Some(same @ ('"' | '\\')) => same,
                    other => panic!("{other:?} is no escape that is printed"),
                }),
                '\n' | '\r' => panic!("a text ends at its line"),
                other => text.push(other),
            }
        }
        panic!("a text does not end: {}", self.0);
    }

    fn condition(&mut self) -> Condition {
        let first = self.both();
        if !self.0.starts_with(" or ") {
            return first;
        }
        let mut parts = vec![first];
        while self.takes(" or ") {
            parts.push(self.both());
        }
        Condition::Any(parts)
    }

    fn both(&mut self) -> Condition {
        let first = self.single();
        if !self.0.starts_with(" and ") {
            return first;
        }
        let mut parts = vec![first];
        while self.takes(" and ") {
            parts.push(self.single());
        }
        Condition::All(parts)
    }

    fn single(&mut self) -> Condition {
        if self.takes("not (") {
            let inner = self.condition();
            self.expects(")");
            return Condition::Not(Box::new(inner));
        }
        for (word, empty) in [("true", Condition::All(Vec::new())), ("false", Condition::Any(Vec::new()))] {
            if self.0 == word || self.0.starts_with(&format!("{word} ")) || self.0.starts_with(&format!("{word})")) {
                self.expects(word);
                return empty;
            }
        }
        // A parenthesis holds a condition, or the difference of two numbers.
        if self.0.starts_with('(') && !self.is_difference() {
            self.expects("(");
            let inner = self.condition();
            self.expects(")");
            return inner;
        }
        let left = self.expression();
        type Comparison = fn(Expression, Expression) -> Condition;
        let comparisons: [(&str, Comparison); 4] = [
            (" == ", Condition::Equal),
            (" != ", Condition::NotEqual),
            (" >= ", Condition::AtLeast),
            (" < ", Condition::Less),
        ];
        for (sign, comparison) in comparisons {
            if self.takes(sign) {
                return comparison(left, self.expression());
            }
        }
        match left {
            Expression::Call(name, arguments) => Condition::Call(name, arguments),
            other => panic!("{other} is no condition"),
        }
    }

    /// Whether ` - ` comes before the parenthesis that is open here ends, outside texts and other parentheses.
    fn is_difference(&self) -> bool {
        let (mut depth, mut rest) = (0, *self);
        while let Some(character) = rest.0.chars().next() {
            match character {
                '"' => {
                    rest.text();
                    continue;
                }
                '(' => depth += 1,
                ')' if depth == 1 => return false,
                ')' => depth -= 1,
                ' ' if depth == 1 && rest.0.starts_with(" - ") => return true,
                _ => {}
            }
            rest.0 = &rest.0[character.len_utf8()..];
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read is printed as it was, and nothing of it is lost.
    #[test]
    fn text_is_read_as_it_is_printed() {
        for text in [
            r#"set(cache["t"], Concat(["/", cache["p"], "/"], "")) where cache["t"] == nil"#,
            r#"replace_pattern(name, "a\\d \"q\" $$1", "\n$${1}") where not (IsMatch(name, "x") or IsInt(attributes["a"])) and (attributes["n"] >= 200 or attributes["n"] < -1)"#,
            r#"set(cache["l"], (Len(cache["p"]) - Index(cache["p"], "?"))) where (Len(cache["p"]) - 1) >= 0 and true"#,
            r#"set(attributes["v"], ExtractPatterns(attributes["s"], "(?P<v>a)")["v"])"#,
        ] {
            let found = Reader::whole(&expanded(text), Reader::statement);
            assert_eq!(found.to_string(), text, "{found:?}");
        }
    }

    #[test]
    #[should_panic(expected = "not read to its end")]
    fn text_that_leaves_its_statement_is_seen() {
        Reader::whole(r#"set(name, "a"); set(name, "b")"#, Reader::statement);
    }

    #[test]
    #[should_panic(expected = "would be expanded")]
    fn dollar_that_is_not_doubled_is_seen() {
        expanded(r#"set(name, "${env:HOME}")"#);
    }
}
