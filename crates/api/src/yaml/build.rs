//! One YAML document from the parser's events: anchors, aliases, merge keys and keys that are set twice.
//!
//! Owns the limits that keep aliases from unfolding without end. Never decides what a scalar means ([`super::scalar`]).

use super::place::{Place, remark};
use super::{Document, NODE_LIMIT, Problem, Remark, TWICE, scalar, too_many_nodes};
use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Collections within collections, at most.
const DEPTH_LIMIT: usize = 128;
/// What aliases may unfold to in one document, in bytes of text and [`NODE_COST`] for each node.
const ALIAS_LIMIT: usize = 32 * 1024 * 1024;
/// What a node counts against [`ALIAS_LIMIT`] besides its text.
const NODE_COST: usize = 32;

/// Reads the first document of a text; `None` when it holds nothing. Lines count from the beginning of the text.
pub(super) fn document(text: &str) -> Result<Option<Document>, Problem> {
    let mut builder = Builder {
        parser: Parser::new_from_str(text),
        anchors: BTreeMap::new(),
        remarks: Vec::new(),
        cost: 0,
        unfolded: 0,
        nodes: 0,
    };
    let mut found = None;
    while let Some((event, span)) = builder.event()? {
        match event {
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            Event::StreamEnd => break,
            _ if found.is_some() => {
                // kubectl reads no further than the first document of each part.
                builder.remarks.push(Remark {
                    line: span.start.line(),
                    path: String::new(),
                    message: "what follows is not read, as kubectl does not; separate documents by a line of ---, and end lines with LF"
                        .into(),
                });
                break;
            }
            event => {
                let line = span.start.line();
                let value = builder.node(event, &span, &Place::ROOT, 0)?;
                found = Some(Document { number: 1, line, value, remarks: Vec::new() });
            }
        }
    }
    let remarks = builder.remarks;
    Ok(found.filter(|one| !one.value.is_null()).map(|one| Document { remarks, ..one }))
}

/// A finished anchor: its value and what it costs to repeat it. `None` while its node is still open.
type Anchor = Option<(Value, usize)>;

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: BTreeMap<usize, Anchor>,
    remarks: Vec<Remark>,
    /// Cost of all nodes so far.
    cost: usize,
    /// Cost of what aliases stand for, and of what anchors keep for them.
    unfolded: usize,
    /// Values that the text itself holds.
    nodes: usize,
}

impl<'a> Builder<'a> {
    /// The next event that is part of the data.
    fn event(&mut self) -> Result<Option<(Event<'a>, Span)>, Problem> {
        loop {
            match self.parser.next_event() {
                None => return Ok(None),
                Some(Ok((Event::Comment(..) | Event::Anchor(..), _))) => {}
                Some(Ok(event)) => return Ok(Some(event)),
                Some(Err(error)) => {
                    return Err(Problem { line: error.marker().line().max(1), message: error.info() });
                }
            }
        }
    }

    /// The next event inside of a collection, which is not over before its end.
    fn inner(&mut self, begin: &Span) -> Result<(Event<'a>, Span), Problem> {
        self.event()?.ok_or_else(|| problem(begin, "the document ends inside of it"))
    }

    /// The value that begins with `event`.
    fn node(&mut self, event: Event<'a>, span: &Span, place: &Place<'_>, depth: usize) -> Result<Value, Problem> {
        if depth > DEPTH_LIMIT {
            return Err(problem(span, format!("more than {DEPTH_LIMIT} levels")));
        }
        self.nodes += 1;
        if self.nodes > NODE_LIMIT {
            return Err(problem(span, too_many_nodes()));
        }
        let before = self.cost;
        self.cost += NODE_COST;
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.cost += text.len();
                let value = scalar::resolve(&text, style == ScalarStyle::Plain, tag.as_deref());
                (anchor, value.map_err(|message| problem(span, message))?)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.anchors.insert(anchor, None);
                let mut list = Vec::new();
                loop {
                    let (event, span) = self.inner(span)?;
                    if event == Event::SequenceEnd {
                        break (anchor, Value::Array(list));
                    }
                    list.push(self.node(event, &span, &place.item(list.len()), depth + 1)?);
                }
            }
            Event::MappingStart(_, anchor, _) => {
                self.anchors.insert(anchor, None);
                (anchor, Value::Object(self.mapping(span, place, depth)?))
            }
            Event::Alias(id) => (0, self.alias(id, span)?),
            _ => return Err(problem(span, "a value is missing here")),
        };
        if anchor != 0 {
            // Anchors within anchors keep the same text many times.
            self.unfold(self.cost - before, span)?;
            self.anchors.insert(anchor, Some((value.clone(), self.cost - before)));
        }
        Ok(value)
    }

    fn alias(&mut self, id: usize, span: &Span) -> Result<Value, Problem> {
        match self.anchors.get(&id) {
            Some(Some((value, cost))) => {
                let (value, cost) = (value.clone(), *cost);
                self.cost += cost;
                self.unfold(cost, span)?;
                Ok(value)
            }
            Some(None) => Err(problem(span, "the anchor contains itself")),
            None => Err(problem(span, "there is no anchor of this name before it")),
        }
    }

    fn unfold(&mut self, cost: usize, span: &Span) -> Result<(), Problem> {
        self.unfolded += cost;
        if self.unfolded > ALIAS_LIMIT {
            return Err(problem(span, "anchors and aliases unfold to more than 32 MiB"));
        }
        Ok(())
    }

    fn mapping(&mut self, begin: &Span, place: &Place<'_>, depth: usize) -> Result<Map<String, Value>, Problem> {
        let mut map = Map::new();
        // The keys that stand here themselves; merged ones may be replaced without a word.
        let mut explicit: BTreeSet<String> = BTreeSet::new();
        loop {
            let (event, span) = self.inner(begin)?;
            if event == Event::MappingEnd {
                return Ok(map);
            }
            if is_merge_key(&event) {
                let (event, span) = self.inner(begin)?;
                let merged = self.node(event, &span, place, depth + 1)?;
                for (key, value) in merge_list(merged).map_err(|message| problem(&span, message))? {
                    if explicit.contains(&key) && map.get(&key) != Some(&value) {
                        let message = "the merge key << behind it replaces its value, as kubectl does; write << first";
                        remark(&mut self.remarks, span.start.line(), &place.key(&key), message);
                    }
                    map.insert(key, value);
                }
                continue;
            }
            let key = self.node(event, &span, place, depth + 1)?;
            let key = key_text(key).map_err(|message| problem(&span, message))?;
            let line = span.start.line();
            if !explicit.insert(key.clone()) {
                remark(&mut self.remarks, line, &place.key(&key), TWICE);
            }
            let (event, span) = self.inner(begin)?;
            let value = self.node(event, &span, &place.key(&key), depth + 1)?;
            map.insert(key, value);
        }
    }
}

fn is_merge_key(event: &Event<'_>) -> bool {
    matches!(event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<")
}

/// The entries that a merge key brings, in the order in which they are set: of a list, the first mapping counts most.
fn merge_list(merged: Value) -> Result<Vec<(String, Value)>, &'static str> {
    let wrong = "<< takes a mapping or a list of mappings";
    match merged {
        Value::Object(map) => Ok(map.into_iter().collect()),
        Value::Array(list) => {
            let mut all = Map::new();
            for one in list.into_iter().rev() {
                let Value::Object(map) = one else { return Err(wrong) };
                all.extend(map);
            }
            Ok(all.into_iter().collect())
        }
        _ => Err(wrong),
    }
}

/// A key as JSON has it: text.
fn key_text(key: Value) -> Result<String, &'static str> {
    match key {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        _ => Err("a key must be text; quote it, or render the template that it comes from first"),
    }
}

fn problem(span: &Span, message: impl Into<String>) -> Problem {
    Problem { line: span.start.line().max(1), message: message.into() }
}
