//! OTLP in JSON, one `TracesData` a line as the collector's file exporter writes it, into [`super::span::Span`]s.
//!
//! Reads just what rules look at; unknown fields are passed over, ids may be of either case, numbers may be texts.

use super::span::{Attributes, Span, SpanKind};
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TracesData<'a> {
    #[serde(default, borrow)]
    resource_spans: Vec<ResourceSpans<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    #[serde(default, borrow)]
    resource: Resource<'a>,
    #[serde(default, borrow)]
    scope_spans: Vec<ScopeSpans<'a>>,
}

#[derive(Deserialize, Default)]
struct Resource<'a> {
    #[serde(default, borrow)]
    attributes: Vec<KeyValue<'a>>,
}

#[derive(Deserialize)]
struct ScopeSpans<'a> {
    #[serde(default, borrow)]
    spans: Vec<JsonSpan<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonSpan<'a> {
    #[serde(default, borrow)]
    trace_id: Cow<'a, str>,
    #[serde(default, borrow)]
    parent_span_id: Cow<'a, str>,
    #[serde(default)]
    kind: Value,
    #[serde(default)]
    start_time_unix_nano: Value,
    #[serde(default)]
    end_time_unix_nano: Value,
    #[serde(default, borrow)]
    attributes: Vec<KeyValue<'a>>,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize, Default)]
struct Status {
    #[serde(default)]
    code: Value,
}

#[derive(Deserialize)]
struct KeyValue<'a> {
    #[serde(default, borrow)]
    key: Cow<'a, str>,
    #[serde(default, borrow)]
    value: AnyValue<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct AnyValue<'a> {
    #[serde(default, borrow)]
    string_value: Option<Cow<'a, str>>,
}

/// Why a line could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It is no JSON of that shape.
    #[error("it is no TracesData in JSON: {0}")]
    Shape(String),
    /// A span without a usable trace id.
    #[error("the trace id {0:?} is not 32 hex digits")]
    TraceId(String),
}

/// The spans of a line, with the bytes that each takes in it on average.
///
/// # Errors
/// When the line has another shape, or a trace id is not 32 hex digits.
pub fn spans(line: &str) -> Result<Vec<Span>, LineError> {
    let data: TracesData<'_> = serde_json::from_str(line).map_err(|error| LineError::Shape(error.to_string()))?;
    let mut spans = Vec::new();
    for group in data.resource_spans {
        let resource = Arc::new(texts(group.resource.attributes));
        for span in group.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Span {
                trace_id: trace_id(&span.trace_id)?,
                has_parent: !span.parent_span_id.is_empty(),
                kind: kind(&span.kind),
                start: nanoseconds(&span.start_time_unix_nano),
                end: nanoseconds(&span.end_time_unix_nano),
                error: span.status.code == 2 || span.status.code == "STATUS_CODE_ERROR",
                attributes: texts(span.attributes),
                resource: resource.clone(),
            });
        }
    }
    Ok(spans)
}

fn texts(pairs: Vec<KeyValue<'_>>) -> Attributes {
    let texts =
        pairs.into_iter().filter_map(|pair| Some((pair.key.into_owned(), pair.value.string_value?.into_owned())));
    texts.collect()
}

/// A trace id of 32 hex digits.
///
/// # Errors
/// When it is anything else.
pub fn trace_id(text: &str) -> Result<[u8; 16], LineError> {
    let wrong = || LineError::TraceId(text.to_owned());
    if text.len() != 32 || !text.is_ascii() {
        return Err(wrong());
    }
    let mut id = [0; 16];
    for (position, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[position * 2..position * 2 + 2], 16).map_err(|_| wrong())?;
    }
    Ok(id)
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

    #[test]
    fn a_line_of_the_file_exporter() {
        let line = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"k8s.namespace.name","value":{"stringValue":"shop"}},{"key":"n","value":{"intValue":"1"}}]},"scopeSpans":[{"scope":{},"spans":[{"traceId":"0123456789ABCDEF0123456789abcdef","spanId":"a1","parentSpanId":"","kind":2,"name":"x \"y\"","startTimeUnixNano":"5","endTimeUnixNano":7,"attributes":[{"key":"http.route","value":{"stringValue":"/a\nb"}}],"status":{"code":2}}]}]}]}"#;
        let found = spans(line).unwrap();
        assert_eq!(found.len(), 1);
        let span = &found[0];
        assert_eq!(
            (span.kind, span.has_parent, span.error, span.start, span.end),
            (SpanKind::Server, false, true, 5, 7)
        );
        assert_eq!(span.attribute("http.route"), Some("/a\nb"));
        assert_eq!((span.of_resource("k8s.namespace.name"), span.of_resource("n")), (Some("shop"), None));
        assert!(matches!(spans("{"), Err(LineError::Shape(_))));
        assert_eq!(spans("{}"), Ok(vec![]));
        let short = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"01"}]}]}]}"#;
        assert_eq!(spans(short), Err(LineError::TraceId("01".into())));
    }
}
