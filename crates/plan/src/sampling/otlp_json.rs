//! OTLP in JSON, as the collector's file exporter writes it, into [`super::span::Span`]s.
//!
//! Owns one document of a recording: its spans, and what it holds where it has none. Reads just what rules look at, or what
//! Actions in front of them may change; unknown fields are skipped, ids may be of either case, numbers may be strings. Never opens a file: how documents follow
//! one another in a recording is the caller's business.

use super::span::{Attributes, Span, SpanKind};
use crate::actions::item;
use crate::world::BeforeSampling;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// One JSON object of a recording. Any object is one; [`Document::foreign`] says what it is where it has no spans.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document<'a> {
    #[serde(default, borrow, alias = "resource_spans", deserialize_with = "null_as_empty")]
    resource_spans: Vec<ResourceSpans<'a>>,
    resource_logs: Option<IgnoredAny>,
    resource_metrics: Option<IgnoredAny>,
    data: Option<IgnoredAny>,
    batches: Option<IgnoredAny>,
    trace: Option<IgnoredAny>,
    trace_id: Option<IgnoredAny>,
}

/// The spans of a document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spans {
    /// Spans that belong to a trace.
    pub spans: Vec<Span>,
    /// Spans whose trace id is empty or zero: no sampler can decide about them by trace.
    pub without_trace: usize,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    #[serde(default, borrow)]
    resource: Resource<'a>,
    #[serde(default, borrow, alias = "scope_spans", deserialize_with = "null_as_empty")]
    scope_spans: Vec<ScopeSpans<'a>>,
    instrumentation_library_spans: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
struct Resource<'a> {
    #[serde(default, borrow, deserialize_with = "null_as_empty")]
    attributes: Vec<KeyValue<'a>>,
}

#[derive(Debug, Deserialize)]
struct ScopeSpans<'a> {
    #[serde(default, borrow)]
    scope: Option<Scope<'a>>,
    #[serde(default, borrow, deserialize_with = "null_as_empty")]
    spans: Vec<JsonSpan<'a>>,
}

#[derive(Debug, Default, Deserialize)]
struct Scope<'a> {
    #[serde(default, borrow)]
    name: Cow<'a, str>,
    #[serde(default, borrow, deserialize_with = "null_as_empty")]
    attributes: Vec<KeyValue<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonSpan<'a> {
    #[serde(default, borrow, alias = "trace_id")]
    trace_id: Cow<'a, str>,
    #[serde(default, borrow, alias = "parent_span_id")]
    parent_span_id: Cow<'a, str>,
    #[serde(default, borrow)]
    name: Cow<'a, str>,
    #[serde(default)]
    kind: Value,
    #[serde(default, alias = "start_time_unix_nano")]
    start_time_unix_nano: Value,
    #[serde(default, alias = "end_time_unix_nano")]
    end_time_unix_nano: Value,
    #[serde(default, borrow, deserialize_with = "null_as_empty")]
    attributes: Vec<KeyValue<'a>>,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
struct Status {
    #[serde(default)]
    code: Value,
}

#[derive(Debug, Deserialize)]
struct KeyValue<'a> {
    #[serde(default, borrow)]
    key: Cow<'a, str>,
    #[serde(default, borrow)]
    value: AnyValue<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyValue<'a> {
    #[serde(default, borrow, alias = "string_value")]
    string_value: Option<Cow<'a, str>>,
    /// Integers are often written as text.
    #[serde(default, alias = "int_value")]
    int_value: Option<Value>,
    #[serde(default, alias = "double_value")]
    double_value: Option<f64>,
    #[serde(default, alias = "bool_value")]
    bool_value: Option<bool>,
}

/// A list that may be `null`, as some writers spell an empty one.
fn null_as_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<Vec<T>>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// An id that the collector would not read either.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {text:?} is not {digits} hex digits{}", if *.base64 { ": ids in OTLP JSON are hex, not Base64" } else { "" })]
pub struct InvalidId {
    field: &'static str,
    text: String,
    digits: usize,
    base64: bool,
}

impl InvalidId {
    fn new(field: &'static str, text: &str, digits: usize) -> Self {
        // 16 and 8 bytes in Base64 are 24 and 12 characters with padding.
        let base64 = text.ends_with('=') && text.len() == digits * 3 / 4;
        Self { field, text: text.to_owned(), digits, base64 }
    }
}

impl Document<'_> {
    /// What a document without any span is, where its form is a known one, and what to do about it.
    #[must_use]
    pub fn foreign(&self) -> Option<&'static str> {
        let libraries = self.resource_spans.iter().any(|one| one.instrumentation_library_spans.is_some());
        let forms = [
            (
                libraries,
                "it holds instrumentationLibrarySpans, which OTLP replaced by scopeSpans in 2022; record again with a current collector",
            ),
            (self.resource_logs.is_some(), "it holds logs (resourceLogs); record a pipeline of traces"),
            (self.resource_metrics.is_some(), "it holds metrics (resourceMetrics); record a pipeline of traces"),
            (self.data.is_some(), "it looks like the JSON of Jaeger's query API (data); record OTLP JSON instead"),
            (
                self.batches.is_some() || self.trace.is_some(),
                "it looks like the JSON of Tempo's query API; record OTLP JSON instead",
            ),
            (self.trace_id.is_some(), "it looks like spans of Zipkin; record OTLP JSON instead"),
        ];
        forms.into_iter().find(|(is_form, _)| *is_form).map(|(_, form)| form)
    }

    /// The spans of the document.
    ///
    /// # Errors
    /// [`InvalidId`] when the id of a trace or of a parent is neither empty nor hex digits of the right number.
    pub fn into_spans(self, before: &BeforeSampling<'_>) -> Result<Spans, InvalidId> {
        if before.changes_spans() { self.into_changed_spans(before) } else { self.into_plain_spans() }
    }

    fn into_plain_spans(self) -> Result<Spans, InvalidId> {
        let mut all = Spans::default();
        for group in self.resource_spans {
            let resource = Arc::new(texts(group.resource.attributes));
            for span in group.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let trace_id = match id::<16>("traceId", &span.trace_id)? {
                    Some(trace_id) => trace_id,
                    None => {
                        all.without_trace += 1;
                        continue;
                    }
                };
                all.spans.push(Span {
                    trace_id,
                    has_parent: id::<8>("parentSpanId", &span.parent_span_id)?.is_some(),
                    kind: kind(&span.kind),
                    start: nanoseconds(&span.start_time_unix_nano),
                    end: nanoseconds(&span.end_time_unix_nano),
                    error: span.status.code == 2 || span.status.code == "STATUS_CODE_ERROR",
                    attributes: texts(span.attributes),
                    resource: resource.clone(),
                });
            }
        }
        Ok(all)
    }

    /// Each span with a resource of its own: Actions may change it.
    fn into_changed_spans(self, before: &BeforeSampling<'_>) -> Result<Spans, InvalidId> {
        let mut all = Spans::default();
        for group in self.resource_spans {
            let resource = values(group.resource.attributes);
            for part in group.scope_spans {
                let scope = part.scope.unwrap_or_default();
                let scope_attributes = values(scope.attributes);
                for span in part.spans {
                    let Some(trace_id) = id::<16>("traceId", &span.trace_id)? else {
                        all.without_trace += 1;
                        continue;
                    };
                    let kind = kind(&span.kind);
                    let mut item = item::Item::span(&span.name, item_kind(kind));
                    item.resource.clone_from(&resource);
                    item.scope_name = scope.name.clone().into_owned();
                    item.scope.clone_from(&scope_attributes);
                    item.attributes = values(span.attributes);
                    before.change(&mut item);
                    all.spans.push(Span {
                        trace_id,
                        has_parent: id::<8>("parentSpanId", &span.parent_span_id)?.is_some(),
                        kind,
                        start: nanoseconds(&span.start_time_unix_nano),
                        end: nanoseconds(&span.end_time_unix_nano),
                        error: span.status.code == 2 || span.status.code == "STATUS_CODE_ERROR",
                        attributes: only_texts(item.attributes),
                        resource: Arc::new(only_texts(item.resource)),
                    });
                }
            }
        }
        Ok(all)
    }
}

/// The kind of a span in the words of Actions.
const fn item_kind(kind: SpanKind) -> item::SpanKind {
    match kind {
        SpanKind::Server => item::SpanKind::Server,
        SpanKind::Client => item::SpanKind::Client,
        SpanKind::Unspecified | SpanKind::Internal | SpanKind::Producer | SpanKind::Consumer => item::SpanKind::Other,
    }
}

/// Attributes with values of every type. Lists, maps and bytes are just no texts.
fn values(pairs: Vec<KeyValue<'_>>) -> item::Attributes {
    let value = |value: AnyValue<'_>| {
        let integer = |stated: Value| stated.as_i64().or_else(|| stated.as_str()?.parse().ok());
        let text = value.string_value.map(|text| item::Value::Text(text.into_owned()));
        text.or_else(|| value.int_value.and_then(integer).map(item::Value::Integer))
            .or_else(|| value.double_value.map(item::Value::Double))
            .or_else(|| value.bool_value.map(item::Value::Boolean))
            .unwrap_or_else(|| item::Value::List(Vec::new()))
    };
    pairs.into_iter().map(|pair| (pair.key.into_owned(), value(pair.value))).collect()
}

fn only_texts(attributes: item::Attributes) -> Attributes {
    let texts = attributes.into_iter().filter_map(|(key, value)| match value {
        item::Value::Text(text) => Some((key, text)),
        _ => None,
    });
    texts.collect()
}

/// An id in hex; `None` where it is empty or zero, which OpenTelemetry takes for the same.
fn id<const BYTES: usize>(field: &'static str, text: &str) -> Result<Option<[u8; BYTES]>, InvalidId> {
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = || InvalidId::new(field, text, BYTES * 2);
    if text.len() != BYTES * 2 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(invalid());
    }
    let mut id = [0; BYTES];
    for (position, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[position * 2..position * 2 + 2], 16).map_err(|_| invalid())?;
    }
    Ok(Some(id).filter(|id| *id != [0; BYTES]))
}

fn texts(pairs: Vec<KeyValue<'_>>) -> Attributes {
    let texts =
        pairs.into_iter().filter_map(|pair| Some((pair.key.into_owned(), pair.value.string_value?.into_owned())));
    texts.collect()
}

fn kind(value: &Value) -> SpanKind {
    match (value.as_u64(), value.as_str().unwrap_or_default()) {
        (Some(1), _) | (_, "SPAN_KIND_INTERNAL") => SpanKind::Internal,
        (Some(2), _) | (_, "SPAN_KIND_SERVER") => SpanKind::Server,
        (Some(3), _) | (_, "SPAN_KIND_CLIENT") => SpanKind::Client,
        (Some(4), _) | (_, "SPAN_KIND_PRODUCER") => SpanKind::Producer,
        (Some(5), _) | (_, "SPAN_KIND_CONSUMER") => SpanKind::Consumer,
        _ => SpanKind::Unspecified,
    }
}

fn nanoseconds(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spans(text: &str) -> Result<Spans, InvalidId> {
        serde_json::from_str::<Document<'_>>(text).unwrap().into_spans(&BeforeSampling::default())
    }

    fn one(span: &Value) -> Result<Spans, InvalidId> {
        spans(&json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).to_string())
    }

    const TRACE: &str = "0123456789ABCDEF0123456789abcdef";

    #[test]
    fn a_line_of_the_file_exporter() {
        let line = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"k8s.namespace.name","value":{"stringValue":"shop"}},{"key":"n","value":{"intValue":"1"}}]},"scopeSpans":[{"scope":{},"spans":[{"traceId":"0123456789ABCDEF0123456789abcdef","spanId":"a1","parentSpanId":"","kind":2,"name":"x \"y\"","startTimeUnixNano":"5","endTimeUnixNano":7,"attributes":[{"key":"http.route","value":{"stringValue":"/a\nb"}}],"status":{"code":2}}]}]}]}"#;
        let found = spans(line).unwrap().spans;
        assert_eq!(found.len(), 1);
        let span = &found[0];
        assert_eq!(
            (span.kind, span.has_parent, span.error, span.start, span.end),
            (SpanKind::Server, false, true, 5, 7)
        );
        assert_eq!(span.attribute("http.route"), Some("/a\nb"));
        assert_eq!((span.of_resource("k8s.namespace.name"), span.of_resource("n")), (Some("shop"), None));
        assert!(serde_json::from_str::<Document<'_>>("{").is_err());
        assert_eq!(spans("{}"), Ok(Spans::default()));
        assert_eq!(spans(r#"{"resourceSpans":null}"#), Ok(Spans::default()));
    }

    #[test]
    fn actions_change_what_rules_see() {
        let mut world = crate::world::World::new("odigos-system");
        for (name, kind) in [
            ("delete", json!({"deleteAttribute": {"attributeNamesToDelete": ["http.route"]}})),
            (
                "rename",
                json!({"renameAttribute": {"renames": {"old": "url.path", "number": "text", "k8s.ns": "k8s.namespace.name"}}}),
            ),
        ] {
            let mut spec = json!({"signals": ["TRACES"]});
            spec.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
            let action = json!({"apiVersion": odigos_api::API_VERSION, "kind": "Action", "metadata": {"name": name}, "spec": spec});
            world.insert(action).unwrap();
        }
        let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
        let document = json!({"resourceSpans": [{
            "resource": {"attributes": [text("k8s.ns", "shop")]},
            "scopeSpans": [{"scope": {"name": "s", "attributes": [text("a", "b")]}, "spans": [{
                "traceId": TRACE, "kind": 2, "name": "GET", "attributes": [
                    text("http.route", "/a"), text("old", "/b"), text("text", "t"), {"key": "number", "value": {"intValue": "5"}},
                ],
            }]}],
        }]});
        let text = document.to_string();
        let document: Document<'_> = serde_json::from_str(&text).unwrap();
        let spans = document.into_spans(&world.before_sampling(None)).unwrap().spans;
        assert_eq!(spans.len(), 1);
        assert_eq!(spans[0].attributes, [("url.path".to_owned(), "/b".to_owned())].into(), "a number is no text");
        assert_eq!((spans[0].of_resource("k8s.namespace.name"), spans[0].kind), (Some("shop"), SpanKind::Server));
    }

    #[test]
    fn parent_of_zeros_is_no_parent() {
        let has_parent = |parent: &str| {
            one(&json!({"traceId": TRACE, "parentSpanId": parent})).map(|found| found.spans[0].has_parent)
        };
        assert_eq!(has_parent("0000000000000000"), Ok(false));
        assert_eq!(has_parent(""), Ok(false));
        assert_eq!(has_parent("00000000000000A1"), Ok(true));
        // The collector refuses these.
        for text in ["0", "a1", "00000000000000000", "000000000000000g", "+000000000000001"] {
            assert!(has_parent(text).is_err(), "{text}");
        }
        let told = has_parent("AAAAAAAAAKE=").unwrap_err().to_string();
        assert_eq!(told, "parentSpanId \"AAAAAAAAAKE=\" is not 16 hex digits: ids in OTLP JSON are hex, not Base64");
    }

    #[test]
    fn span_without_trace_is_counted_apart() {
        for id in ["", "00000000000000000000000000000000"] {
            let found = one(&json!({"traceId": id})).unwrap();
            assert_eq!((found.spans.len(), found.without_trace), (0, 1), "{id}");
        }
        let told = one(&json!({"traceId": "01"})).unwrap_err().to_string();
        assert_eq!(told, "traceId \"01\" is not 32 hex digits");
    }

    #[test]
    fn other_forms_are_named() {
        for (text, word) in [
            (r#"{"resourceLogs": []}"#, "logs"),
            (r#"{"resourceMetrics": []}"#, "metrics"),
            (r#"{"data": [{"traceID": "a", "spans": []}]}"#, "Jaeger"),
            (r#"{"batches": []}"#, "Tempo"),
            (r#"{"traceId": "a", "id": "b"}"#, "Zipkin"),
            (r#"{"resourceSpans": [{"instrumentationLibrarySpans": []}]}"#, "scopeSpans"),
        ] {
            let document: Document<'_> = serde_json::from_str(text).unwrap();
            assert!(document.foreign().is_some_and(|form| form.contains(word)), "{text}");
        }
        assert_eq!(Document::default().foreign(), None);
    }
}
