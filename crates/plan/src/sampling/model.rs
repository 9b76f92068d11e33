//! A model of the stock `tail_sampling` processor: rendered policies, read back and evaluated over spans.
//!
//! Reads the rendered text, not the compiler's tree, so printing is part of what is proved. Owns a parser and an evaluator
//! of just the OTTL that is rendered; upstream facts: `spec/sampling.md` 9.1.

use super::span::{Span, SpanKind};
use regex::Regex;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    Sampled,
    NotSampled,
    Dropped,
}

/// Whether the policies keep a trace, and the first policy whose answer is the final one (the `recordpolicy` gate).
pub(super) fn keeps(policies: &[Value], trace: &[Span]) -> (bool, Option<String>) {
    if policies.is_empty() {
        return (true, None);
    }
    let answers: Vec<Answer> = policies.iter().map(|policy| answer(policy, trace)).collect();
    let keep = !answers.contains(&Answer::Dropped) && answers.contains(&Answer::Sampled);
    let first = answers.iter().position(|one| *one == Answer::Sampled).filter(|_| keep);
    (keep, first.map(|position| policies[position]["name"].as_str().unwrap_or_default().to_owned()))
}

fn answer(policy: &Value, trace: &[Span]) -> Answer {
    let sampled = |yes: bool| if yes { Answer::Sampled } else { Answer::NotSampled };
    let list = |pointer: &str| policy.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    match policy["type"].as_str().unwrap_or_default() {
        "always_sample" => Answer::Sampled,
        "ottl_condition" => {
            let conditions = list("/ottl_condition/span");
            assert!(!conditions.is_empty(), "the collector refuses an empty list");
            sampled(
                trace.iter().any(|span| {
                    conditions.iter().any(|text| Parser::evaluate(text.as_str().unwrap_or_default(), span))
                }),
            )
        }
        "not" => sampled(answer(&policy["not"]["not_sub_policy"], trace) != Answer::Sampled),
        "and" => sampled(list("/and/and_sub_policy").iter().all(|sub| answer(sub, trace) == Answer::Sampled)),
        "drop" => match list("/drop/drop_sub_policy").iter().all(|sub| answer(sub, trace) == Answer::Sampled) {
            true => Answer::Dropped,
            false => Answer::NotSampled,
        },
        other => panic!("{other} is not rendered"),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Val {
    Nil,
    Text(String),
    Number(i128),
    Bool(bool),
    List(Vec<Val>),
}

/// Recursive descent over the rendered subset; `None` is a run-time error, which counts as false.
struct Parser<'a> {
    rest: &'a str,
    span: &'a Span,
}

impl<'a> Parser<'a> {
    fn evaluate(text: &str, span: &Span) -> bool {
        // The collector expands `$$` before OTTL reads the text.
        let expanded = text.replace("$$", "$");
        let mut parser = Parser { rest: &expanded, span };
        let value = parser.or();
        assert!(parser.rest.trim().is_empty(), "left over: {:?} of {text}", parser.rest);
        value.unwrap_or(false)
    }

    fn eat(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start();
        match rest.strip_prefix(token) {
            Some(after) => {
                self.rest = after;
                true
            }
            None => false,
        }
    }

    fn word(&mut self, word: &str) -> bool {
        let rest = self.rest.trim_start();
        let follows = rest.strip_prefix(word).is_some_and(|after| !after.starts_with(|c: char| c.is_alphanumeric()));
        follows && self.eat(word)
    }

    fn or(&mut self) -> Option<bool> {
        let mut value = self.and();
        while self.word("or") {
            let right = self.and();
            // Short circuit: an error on the right does not matter once the left is true.
            value = match value {
                Some(true) => Some(true),
                Some(false) => right,
                None => None,
            };
        }
        value
    }

    fn and(&mut self) -> Option<bool> {
        let mut value = self.test();
        while self.word("and") {
            let right = self.test();
            value = match value {
                Some(false) => Some(false),
                Some(true) => right,
                None => None,
            };
        }
        value
    }

    fn test(&mut self) -> Option<bool> {
        let before = self.rest;
        if self.eat("(") {
            // A group, unless it turns out to be a difference.
            if let Some(value) = self.group() {
                return value;
            }
            self.rest = before;
        }
        let left = self.value();
        for (operator, test) in [
            ("==", (|o: std::cmp::Ordering| o.is_eq()) as fn(std::cmp::Ordering) -> bool),
            ("!=", |o| o.is_ne()),
            (">=", |o| o.is_ge()),
            ("<", |o| o.is_lt()),
        ] {
            if self.eat(operator) {
                let right = self.value();
                return compare(left?, right?).map_or(Some(operator == "!="), |order| Some(test(order)));
            }
        }
        match left? {
            Val::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The rest of a group after its opening bracket; outer `None` when it is no condition.
    fn group(&mut self) -> Option<Option<bool>> {
        let inner = self.rest;
        let depth_end = closing(inner)?;
        let text = &inner[..depth_end];
        if !(text.contains("==") || text.contains("!=") || text.contains("IsMatch") || text.contains("ContainsValue")) {
            return None;
        }
        let mut parser = Parser { rest: text, span: self.span };
        let value = parser.or();
        assert!(parser.rest.trim().is_empty(), "left over in a group: {:?}", parser.rest);
        self.rest = &inner[depth_end + 1..];
        Some(value)
    }

    fn value(&mut self) -> Option<Val> {
        if self.eat("(") {
            let left = self.value();
            assert!(self.eat("-"), "a difference");
            let right = self.value();
            assert!(self.eat(")"));
            return match (left?, right?) {
                (Val::Number(a), Val::Number(b)) => Some(Val::Number(a - b)),
                _ => None,
            };
        }
        if self.eat("\"") {
            return Some(Val::Text(self.string()));
        }
        if self.eat("[") {
            let mut items = Vec::new();
            while !self.eat("]") {
                items.push(self.value());
                self.eat(",");
            }
            return items.into_iter().collect::<Option<Vec<_>>>().map(Val::List);
        }
        let rest = self.rest.trim_start();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        self.rest = after;
        if let Ok(number) = name.parse::<i128>() {
            return Some(Val::Number(number));
        }
        if self.eat("(") {
            let mut arguments = Vec::new();
            while !self.eat(")") {
                arguments.push(self.value());
                self.eat(",");
            }
            return self.call(name, &arguments.into_iter().collect::<Option<Vec<_>>>()?);
        }
        let key = self.eat("[").then(|| {
            assert!(self.eat("\""));
            let key = self.string();
            assert!(self.eat("]"));
            key
        });
        Some(self.path(name, key.as_deref()))
    }

    fn string(&mut self) -> String {
        let mut out = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return out;
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => out.push('\n'),
                    Some((_, 'r')) => out.push('\r'),
                    Some((_, 't')) => out.push('\t'),
                    Some((_, other)) => out.push(other),
                    None => {}
                },
                c => out.push(c),
            }
        }
        panic!("a text that does not end")
    }

    fn call(&self, name: &str, arguments: &[Val]) -> Option<Val> {
        match (name, arguments) {
            ("IsRootSpan", []) => Some(Val::Bool(!self.span.has_parent)),
            ("IsMatch", [Val::Text(text), Val::Text(regex)]) => Some(Val::Bool(matches(regex, text))),
            ("Substring", [Val::Text(text), Val::Number(from), Val::Number(length)]) => {
                let from = usize::try_from(*from).ok()?;
                text.get(from..from + usize::try_from(*length).ok()?).map(|part| Val::Text(part.to_owned()))
            }
            ("Concat", [Val::List(items), Val::Text(glue)]) => {
                let parts: Vec<String> = items
                    .iter()
                    .map(|item| match item {
                        Val::Text(text) => text.clone(),
                        _ => "<nil>".to_owned(),
                    })
                    .collect();
                Some(Val::Text(parts.join(glue)))
            }
            ("ContainsValue", [Val::List(items), wanted]) => Some(Val::Bool(items.contains(wanted))),
            _ => None,
        }
    }

    fn path(&self, name: &str, key: Option<&str>) -> Val {
        let text = |value: Option<&str>| value.map_or(Val::Nil, |text| Val::Text(text.to_owned()));
        let kind = |kind: SpanKind| Val::Number(kind as i128);
        match (name, key) {
            ("nil", _) => Val::Nil,
            ("true", _) => Val::Bool(true),
            ("span.attributes", Some(key)) => text(self.span.attribute(key)),
            ("resource.attributes", Some(key)) => text(self.span.of_resource(key)),
            ("span.kind", _) => kind(self.span.kind),
            ("SPAN_KIND_SERVER", _) => kind(SpanKind::Server),
            ("SPAN_KIND_CLIENT", _) => kind(SpanKind::Client),
            ("SPAN_KIND_PRODUCER", _) => kind(SpanKind::Producer),
            ("SPAN_KIND_CONSUMER", _) => kind(SpanKind::Consumer),
            ("span.status.code", _) => Val::Number(if self.span.error { 2 } else { 0 }),
            ("STATUS_CODE_ERROR", _) => Val::Number(2),
            ("span.start_time_unix_nano", _) => Val::Number(self.span.start.into()),
            ("span.end_time_unix_nano", _) => Val::Number(self.span.end.into()),
            ("span.trace_id.string", _) => {
                Val::Text(self.span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect())
            }
            other => panic!("{other:?} is not rendered"),
        }
    }
}

/// Matches with expressions that are compiled once.
fn matches(regex: &str, text: &str) -> bool {
    thread_local! {
        static COMPILED: RefCell<BTreeMap<String, Regex>> = RefCell::default();
    }
    COMPILED.with_borrow_mut(|compiled| {
        let known = compiled.entry(regex.to_owned());
        known.or_insert_with(|| Regex::new(regex).expect("a valid expression")).is_match(text)
    })
}

/// Where the bracket that is open at the start of `text` closes; texts inside are passed over.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (1, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn compare(left: Val, right: Val) -> Option<std::cmp::Ordering> {
    match (left, right) {
        (Val::Text(a), Val::Text(b)) => Some(a.cmp(&b)),
        (Val::Number(a), Val::Number(b)) => Some(a.cmp(&b)),
        (Val::Nil, Val::Nil) => Some(std::cmp::Ordering::Equal),
        _ => None,
    }
}
