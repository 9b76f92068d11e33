//! A model of what stock processors do with the settings that are compiled: what [`super::printed`] reads in their text is carried out
//! over one item.
//!
//! Knows just the functions that are rendered; upstream facts: the collector's OTTL, release 0.158.

use super::item::{Attributes, Body, Item, SpanKind, Value};
use super::pattern::as_rust;
use super::transform::{Context, Group, Settings};
use odigos_pipeline::ottl::{Condition, Expression, Path, Statement};

/// Carries settings out.
pub(super) fn run(settings: &Settings, item: &mut Item) {
    match settings {
        Settings::KubernetesAttributes(_) => panic!("it needs what the cluster knows"),
        Settings::Resource(all) => {
            for one in all {
                let value = Value::Text(one.value.clone());
                if one.replaces || !item.resource.contains_key(&one.key) {
                    item.resource.insert(one.key.clone(), value);
                }
            }
        }
        Settings::Transform(signals) => {
            for group in signals.get(&item.signal()).into_iter().flatten() {
                run_group(group, item);
            }
        }
        Settings::Filter { .. } => panic!("items are dropped, not changed"),
    }
}

fn run_group(group: &Group, item: &mut Item) {
    let events = match &item.body {
        Body::Span { events, .. } if group.context == Context::Event => events.len(),
        _ if group.context == Context::Event => 0,
        _ => 1,
    };
    for event in 0..events {
        let mut place = Place { item, context: group.context, event, cache: Attributes::new() };
        if group.condition.as_ref().is_some_and(|condition| !place.holds(condition)) {
            continue;
        }
        // `error_mode: ignore`: a statement that fails changes nothing.
        for statement in &group.statements {
            let _ = place.carry_out(statement);
        }
    }
}

/// What statements of a context see.
struct Place<'a> {
    item: &'a mut Item,
    context: Context,
    event: usize,
    cache: Attributes,
}

impl Place<'_> {
    fn map(&mut self, fields: &str) -> &mut Attributes {
        let Self { item, context, event, cache } = self;
        match (fields, *context) {
            ("cache", _) => cache,
            ("resource.attributes", _) | ("attributes", Context::Resource) => &mut item.resource,
            ("attributes", Context::Scope) => &mut item.scope,
            ("attributes", Context::Event) => match &mut item.body {
                Body::Span { events, .. } => &mut events[*event].attributes,
                _ => panic!("only spans have events"),
            },
            ("attributes", Context::Span | Context::Point | Context::Log) => &mut item.attributes,
            other => panic!("{other:?} is no map"),
        }
    }

    fn value(&mut self, expression: &Expression) -> Result<Option<Value>, ()> {
        match expression {
            Expression::Path(path) => Ok(self.path(path)),
            Expression::Text(text) => Ok(Some(Value::Text(text.clone()))),
            Expression::Nil => Ok(None),
            Expression::Element(map, key) => match self.value(map)? {
                Some(Value::Map(map)) => Ok(map.get(*key).cloned()),
                _ => Err(()),
            },
            Expression::Integer(number) => Ok(Some(Value::Integer(*number))),
            Expression::Call("Concat", arguments) => {
                let [Expression::List(parts), Expression::Text(between)] = arguments.as_slice() else {
                    panic!("Concat takes a list and a text")
                };
                let parts: Result<Vec<String>, ()> = parts
                    .iter()
                    .map(|part| match self.value(part)? {
                        Some(Value::Text(text)) => Ok(text),
                        None => Ok("<nil>".to_owned()),
                        Some(other) => panic!("{other:?} is not joined"),
                    })
                    .collect();
                Ok(Some(Value::Text(parts?.join(between))))
            }
            Expression::Call("ConvertCase", arguments) => {
                let [text, case] = self.texts(arguments)?;
                assert_eq!(case, "upper");
                Ok(Some(Value::Text(text.to_uppercase())))
            }
            Expression::Call("Index", arguments) => {
                let [text, part] = self.texts(arguments)?;
                let at = text.find(&part).map_or(-1, |at| i64::try_from(at).unwrap());
                Ok(Some(Value::Integer(at)))
            }
            Expression::Call("Len", arguments) => {
                let [text] = self.texts(arguments)?;
                Ok(Some(Value::Integer(i64::try_from(text.len()).unwrap())))
            }
            Expression::Call("ExtractPatterns", arguments) => {
                let [text, pattern] = self.texts(arguments)?;
                let pattern = as_rust(&pattern).map_err(|_| ())?;
                let Some(found) = pattern.captures(&text) else { return Ok(Some(Value::Map(Attributes::new()))) };
                let names = pattern.capture_names().flatten();
                let map = names.map(|name| (name.to_owned(), found.name(name).map_or("", |one| one.as_str()).into()));
                Ok(Some(Value::Map(map.collect())))
            }
            other => panic!("{other} is not rendered"),
        }
    }

    fn path(&mut self, path: &Path) -> Option<Value> {
        match (path.fields(), path.key()) {
            (fields, Some(key)) => self.map(fields).get(key).cloned(),
            ("instrumentation_scope.name", None) => Some(Value::Text(self.item.scope_name.clone())),
            ("name", None) => match &self.item.body {
                Body::Span { name, .. } => Some(Value::Text(name.clone())),
                _ => panic!("only spans have names"),
            },
            ("kind.string", None) => match &self.item.body {
                Body::Span { kind: SpanKind::Client, .. } => Some("Client".into()),
                Body::Span { kind: SpanKind::Server, .. } => Some("Server".into()),
                Body::Span { .. } => Some("Internal".into()),
                _ => panic!("only spans have kinds"),
            },
            other => panic!("{other:?} is not rendered"),
        }
    }

    fn texts<const N: usize>(&mut self, arguments: &[Expression]) -> Result<[String; N], ()> {
        let texts: Result<Vec<String>, ()> = arguments
            .iter()
            .map(|one| match self.value(one)? {
                Some(Value::Text(text)) => Ok(text),
                _ => Err(()),
            })
            .collect();
        texts?.try_into().map_err(|_| ())
    }

    fn holds(&mut self, condition: &Condition) -> bool {
        match condition {
            Condition::Equal(left, right) => self.value(left) == self.value(right),
            Condition::NotEqual(left, right) => self.value(left) != self.value(right),
            Condition::All(parts) => parts.iter().all(|part| self.holds(part)),
            Condition::Any(parts) => parts.iter().any(|part| self.holds(part)),
            Condition::Not(inner) => !self.holds(inner),
            Condition::Less(left, right) => self.numbers(left, right).is_some_and(|(left, right)| left < right),
            Condition::AtLeast(left, right) => self.numbers(left, right).is_some_and(|(left, right)| left >= right),
            Condition::Call("IsInt", arguments) => matches!(self.value(&arguments[0]), Ok(Some(Value::Integer(_)))),
            Condition::Call("IsString", arguments) => matches!(self.value(&arguments[0]), Ok(Some(Value::Text(_)))),
            Condition::Call("IsMatch", arguments) => {
                let Ok([text, pattern]) = self.texts(arguments) else { return false };
                as_rust(&pattern).is_ok_and(|pattern| pattern.is_match(&text))
            }
            other => panic!("{other} is not rendered"),
        }
    }

    fn numbers(&mut self, left: &Expression, right: &Expression) -> Option<(i64, i64)> {
        match (self.value(left).ok()??, self.value(right).ok()??) {
            (Value::Integer(left), Value::Integer(right)) => Some((left, right)),
            _ => None,
        }
    }

    fn carry_out(&mut self, statement: &Statement) -> Result<(), ()> {
        if statement.condition.as_ref().is_some_and(|condition| !self.holds(condition)) {
            return Ok(());
        }
        let arguments = statement.arguments.as_slice();
        match (statement.editor, arguments) {
            ("set", [Expression::Path(target), value]) => {
                // A value that is not there sets nothing.
                if let Some(value) = self.value(value)? {
                    self.set(target, value);
                }
            }
            ("delete_key", [Expression::Path(map), Expression::Text(key)]) => drop(self.map(map.fields()).remove(key)),
            ("replace_all_patterns", [Expression::Path(map), Expression::Text(mode), pattern, replacement]) => {
                assert_eq!(mode, "value");
                let [pattern, replacement] = self.texts(&[pattern.clone(), replacement.clone()])?;
                let pattern = as_rust(&pattern).map_err(|_| ())?;
                for value in self.map(map.fields()).values_mut() {
                    if let Value::Text(text) = value {
                        *text = pattern.replace_all(text, replacement.as_str()).into_owned();
                    }
                }
            }
            ("replace_pattern", [Expression::Path(target), pattern, replacement]) => {
                let [text, pattern, replacement] =
                    self.texts(&[Expression::Path(target.clone()), pattern.clone(), replacement.clone()])?;
                let pattern = as_rust(&pattern).map_err(|_| ())?;
                let text = pattern.replace_all(&text, replacement.as_str()).into_owned();
                self.set(target, Value::Text(text));
            }
            other => panic!("{other:?} is not rendered"),
        }
        Ok(())
    }

    fn set(&mut self, target: &Path, value: Value) {
        match (target.fields(), target.key(), value) {
            (fields, Some(key), value) => drop(self.map(fields).insert(key.to_owned(), value)),
            ("name", None, Value::Text(text)) => match &mut self.item.body {
                Body::Span { name, .. } => *name = text,
                _ => panic!("only spans have names"),
            },
            other => panic!("{other:?} is not rendered"),
        }
    }
}
