//! OTLP in JSON, as the collector's file exporter writes it, into [`Item`]s, and items as short JSON for people.
//!
//! Owns one document: its spans, data points and log records. Reads what Actions look at; unknown fields are passed over, numbers may be
//! texts. Never opens a file.

use super::item::{Attributes, Body, Event, Item, SpanKind, Value};
use serde_json::{Map, Value as Json, json};

/// The items of a document, in its order.
///
/// # Errors
/// When it holds no OTLP.
pub fn items(document: &Json) -> Result<Vec<Item>, String> {
    let mut all = Vec::new();
    let sections = [
        ("resourceSpans", "resource_spans"),
        ("resourceMetrics", "resource_metrics"),
        ("resourceLogs", "resource_logs"),
    ];
    if !sections.iter().any(|(camel, snake)| field(document, camel, snake).is_some()) {
        return Err("it holds none of resourceSpans, resourceMetrics, resourceLogs".to_owned());
    }
    for group in list(document, "resourceSpans", "resource_spans") {
        for (resource, scope_name, scope, inner) in scopes(group, "scopeSpans", "scope_spans") {
            for span in list(inner, "spans", "spans") {
                all.push(item(&resource, &scope_name, &scope, span, self::span(span)));
            }
        }
    }
    for group in list(document, "resourceMetrics", "resource_metrics") {
        for (resource, scope_name, scope, inner) in scopes(group, "scopeMetrics", "scope_metrics") {
            for metric in list(inner, "metrics", "metrics") {
                let forms = ["gauge", "sum", "histogram", "exponentialHistogram", "exponential_histogram", "summary"];
                for form in forms.iter().filter_map(|form| metric.get(form)) {
                    for point in list(form, "dataPoints", "data_points") {
                        let body = Body::Point { metric: text(metric, "name").to_owned() };
                        all.push(item(&resource, &scope_name, &scope, point, body));
                    }
                }
            }
        }
    }
    for group in list(document, "resourceLogs", "resource_logs") {
        for (resource, scope_name, scope, inner) in scopes(group, "scopeLogs", "scope_logs") {
            for record in list(inner, "logRecords", "log_records") {
                let said = match record.get("body").map(value) {
                    Some(Value::Text(text)) => text,
                    Some(other) => told(&other).to_string(),
                    None => String::new(),
                };
                all.push(item(&resource, &scope_name, &scope, record, Body::Log { text: said }));
            }
        }
    }
    Ok(all)
}

fn field<'a>(object: &'a Json, camel: &str, snake: &str) -> Option<&'a Json> {
    object.get(camel).or_else(|| object.get(snake))
}

fn list<'a>(object: &'a Json, camel: &str, snake: &str) -> impl Iterator<Item = &'a Json> {
    field(object, camel, snake).and_then(Json::as_array).into_iter().flatten()
}

fn text<'a>(object: &'a Json, key: &str) -> &'a str {
    object.get(key).and_then(Json::as_str).unwrap_or_default()
}

fn scopes<'a>(
    group: &'a Json,
    camel: &str,
    snake: &str,
) -> impl Iterator<Item = (Attributes, String, Attributes, &'a Json)> {
    let resource = group.get("resource").map(attributes).unwrap_or_default();
    list(group, camel, snake).map(move |inner| {
        let scope = inner.get("scope").unwrap_or(&Json::Null);
        (resource.clone(), text(scope, "name").to_owned(), attributes(scope), inner)
    })
}

fn item(resource: &Attributes, scope_name: &str, scope: &Attributes, own: &Json, body: Body) -> Item {
    let mut item = Item::of(body);
    (item.resource, item.scope, item.scope_name) = (resource.clone(), scope.clone(), scope_name.to_owned());
    item.attributes = attributes(own);
    item
}

fn span(span: &Json) -> Body {
    let kind = match span.get("kind") {
        Some(kind) if *kind == 2 || *kind == "SPAN_KIND_SERVER" => SpanKind::Server,
        Some(kind) if *kind == 3 || *kind == "SPAN_KIND_CLIENT" => SpanKind::Client,
        _ => SpanKind::Other,
    };
    let event = |event: &Json| Event { name: text(event, "name").to_owned(), attributes: attributes(event) };
    Body::Span {
        name: text(span, "name").to_owned(),
        kind,
        events: list(span, "events", "events").map(event).collect(),
    }
}

fn attributes(of: &Json) -> Attributes {
    let pair =
        |pair: &Json| Some((pair.get("key")?.as_str()?.to_owned(), value(pair.get("value").unwrap_or(&Json::Null))));
    list(of, "attributes", "attributes").filter_map(pair).collect()
}

/// A value of OTLP; one of no known form counts as an empty text, as collectors read it.
fn value(any: &Json) -> Value {
    let get = |camel: &str, snake: &str| field(any, camel, snake);
    if let Some(text) = get("stringValue", "string_value").and_then(Json::as_str) {
        return Value::Text(text.to_owned());
    }
    if let Some(number) = get("intValue", "int_value") {
        return Value::Integer(number.as_i64().or_else(|| number.as_str()?.parse().ok()).unwrap_or_default());
    }
    if let Some(number) = get("doubleValue", "double_value") {
        return Value::Double(number.as_f64().or_else(|| number.as_str()?.parse().ok()).unwrap_or_default());
    }
    if let Some(flag) = get("boolValue", "bool_value").and_then(Json::as_bool) {
        return Value::Boolean(flag);
    }
    if let Some(array) = get("arrayValue", "array_value") {
        return Value::List(list(array, "values", "values").map(value).collect());
    }
    if let Some(map) = get("kvlistValue", "kvlist_value") {
        let pair = |pair: &Json| Some((pair.get("key")?.as_str()?.to_owned(), value(pair.get("value")?)));
        return Value::Map(list(map, "values", "values").filter_map(pair).collect());
    }
    Value::Text(text(any, "bytesValue").to_owned())
}

fn told(value: &Value) -> Json {
    match value {
        Value::Text(text) => json!(text),
        Value::Integer(number) => json!(number),
        Value::Double(number) => json!(number),
        Value::Boolean(flag) => json!(flag),
        Value::List(list) => list.iter().map(told).collect(),
        Value::Map(map) => json!(plain(map)),
    }
}

fn plain(attributes: &Attributes) -> Map<String, Json> {
    attributes.iter().map(|(key, value)| (key.clone(), told(value))).collect()
}

/// An item as people and programs read it: attributes by name, without the wrapping of OTLP.
#[must_use]
pub fn short(item: &Item) -> Json {
    let mut out =
        json!({"signal": item.signal(), "resource": plain(&item.resource), "attributes": plain(&item.attributes)});
    match &item.body {
        Body::Span { name, events, .. } => {
            out["name"] = json!(name);
            let events: Vec<Json> =
                events.iter().map(|one| json!({"name": one.name, "attributes": plain(&one.attributes)})).collect();
            if !events.is_empty() {
                out["events"] = json!(events);
            }
        }
        Body::Point { metric } => out["name"] = json!(metric),
        Body::Log { text } => out["body"] = json!(text),
    }
    if !item.scope_name.is_empty() || !item.scope.is_empty() {
        out["scope"] = json!({"name": item.scope_name, "attributes": plain(&item.scope)});
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_every_signal_are_read() {
        let pair = |key: &str, value: Json| json!({"key": key, "value": value});
        let resource = json!({"attributes": [pair("service.name", json!({"stringValue": "cart"}))]});
        let list = json!({"arrayValue": {"values": [{"stringValue": "x"}, {"boolValue": true}]}});
        let document = json!({
            "resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "lib"}, "spans": [
                {"name": "GET", "kind": 2, "attributes": [pair("n", json!({"intValue": "7"})), pair("l", list)],
                 "events": [{"name": "e", "attributes": [pair("a", json!({"doubleValue": 0.5}))]}]},
            ]}]}],
            "resourceMetrics": [{"scopeMetrics": [{"metrics": [
                {"name": "m", "sum": {"dataPoints": [{"attributes": [pair("k", json!({"stringValue": "v"}))]}, {}]}},
            ]}]}],
            "resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "hello"}}]}]}],
        });
        let found: Vec<Json> = items(&document).unwrap().iter().map(short).collect();
        assert_eq!(
            found,
            [
                json!({"signal": "TRACES", "name": "GET", "resource": {"service.name": "cart"}, "scope": {"name": "lib", "attributes": {}},
                       "attributes": {"n": 7, "l": ["x", true]}, "events": [{"name": "e", "attributes": {"a": 0.5}}]}),
                json!({"signal": "METRICS", "name": "m", "resource": {}, "attributes": {"k": "v"}}),
                json!({"signal": "METRICS", "name": "m", "resource": {}, "attributes": {}}),
                json!({"signal": "LOGS", "body": "hello", "resource": {}, "attributes": {}}),
            ]
        );
        assert!(items(&json!({"data": []})).unwrap_err().contains("resourceSpans"));
    }
}
