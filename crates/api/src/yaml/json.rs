//! JSON values, one after another, with the keys that are set twice.
//!
//! Owns streams as `jq -c '.items[]'` and `kubectl get -o json` write them. What is not JSON is left to the YAML reader.

use super::place::{Place, remark};
use super::{DOCUMENT_LIMIT, Document, NODE_LIMIT, Remark, TWICE, scalar, too_many_nodes};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::cell::{Cell, RefCell};
use std::fmt;

/// The values of a text that is nothing but JSON objects; lines count from the beginning of the text.
pub(super) fn stream(text: &str) -> Option<Vec<Document>> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let mut found = Vec::new();
    let (mut rest, mut line, mut counted) = (text, 1, 0);
    loop {
        let begin = text.len() - rest.trim_start().len();
        // More than so many are left to the reader of documents, which says that they are too many.
        if begin == text.len() || found.len() > DOCUMENT_LIMIT {
            return Some(found);
        }
        line += text[counted..begin].matches('\n').count();
        counted = begin;
        let (remarks, nodes) = (RefCell::new(Vec::new()), Cell::new(0));
        // The first pass finds the end of the value.
        let mut extent = serde_json::Deserializer::from_str(&text[begin..]).into_iter::<IgnoredAny>();
        extent.next()?.ok()?;
        let end = begin + extent.byte_offset();
        let node = Node { place: &Place::ROOT, line, remarks: &remarks, nodes: &nodes };
        let value = node.deserialize(&mut serde_json::Deserializer::from_str(&text[begin..end])).ok()?;
        rest = &text[end..];
        if !value.is_object() {
            return None;
        }
        found.push(Document { number: 1, line, value, remarks: remarks.into_inner() });
    }
}

/// Reads one value and remembers the keys that it holds twice.
#[derive(Clone, Copy)]
struct Node<'a> {
    place: &'a Place<'a>,
    line: usize,
    remarks: &'a RefCell<Vec<Remark>>,
    nodes: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.nodes.set(self.nodes.get() + 1);
        if self.nodes.get() > NODE_LIMIT {
            return Err(serde::de::Error::custom(too_many_nodes()));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(scalar::float(value).unwrap_or_default())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let place = self.place.item(list.len());
            let Some(item) = items.next_element_seed(Node { place: &place, ..self })? else { break };
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let place = self.place.key(&key);
            let value = entries.next_value_seed(Node { place: &place, ..self })?;
            if map.contains_key(&key) {
                remark(&mut self.remarks.borrow_mut(), self.line, &place, TWICE);
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
