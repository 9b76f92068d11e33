//! What an API server says of an object before it stores it, as far as that can be known without one.
//!
//! Owns the check of our kinds against their own schemas (wrong types, missing and unknown fields), and of what every object has. Nulls are
//! dropped as an API server drops them. Never looks at what fields mean, and never puts a value into a finding.

use crate::actions::legacy;
use crate::objects::title;
use crate::spelling::hint;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use odigos_api::{Finding, crds};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The schema of each kind of the group `odigos.io`.
static SCHEMAS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    let schema = |crd| serde_json::to_value(crd).ok()?.pointer("/spec/versions/0/schema/openAPIV3Schema").cloned();
    crds::all().into_iter().filter_map(|crd| Some((crd.spec.names.kind.clone(), schema(crd)?))).collect()
});

const GROUP: &str = "odigos.io/";

/// Reviews an object. Findings of severity error mean that no API server would take it.
pub(crate) fn review(object: &mut Value) -> Vec<Finding> {
    let text = |object: &Value, key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind) = (text(object, "apiVersion"), text(object, "kind"));
    let has_name = object.pointer("/metadata/name").is_none_or(Value::is_string);
    let name = if has_name { title(object) } else { format!("{kind} without name") };
    let mut found = Vec::new();
    texts_only(object, &name, &["/metadata/labels", "/metadata/annotations"], &mut found);
    if let Some(value) = object.pointer("/metadata/name").filter(|value| !value.is_string() && !value.is_null()) {
        found.push(Finding::error(
            name.clone(),
            "metadata.name",
            format!("it is {}, must be text; quote it", word(value)),
        ));
    }
    match kind.as_str() {
        "Secret" if version == "v1" => {
            texts_only(object, &name, &["/data", "/stringData"], &mut found);
            for (key, value) in object.get("data").and_then(Value::as_object).into_iter().flatten() {
                let packed = value.as_str().map(|text| text.split_whitespace().collect::<String>());
                if packed.is_some_and(|packed| STANDARD.decode(packed).is_err()) {
                    let message = "it is not base64; encode it, or write it under stringData";
                    found.push(Finding::error(name.clone(), format!("data.{key}"), message));
                }
            }
        }
        "ConfigMap" if version == "v1" => texts_only(object, &name, &["/data"], &mut found),
        _ if version == odigos_api::API_VERSION => match SCHEMAS.get(&kind) {
            Some(schema) => {
                let mut walk = Walk { object: name, found: &mut found };
                walk.value(schema, object, "");
            }
            None if kind.is_empty() => {}
            None => {
                let known: Vec<&str> = SCHEMAS.keys().map(String::as_str).collect();
                let near = hint(&kind, known);
                let message = format!("{} has no such kind{near}", odigos_api::API_VERSION);
                found.push(Finding::error(name, "kind", message));
            }
        },
        _ if version.starts_with(GROUP) => {
            let message = format!("the group is served as {} only", odigos_api::API_VERSION);
            found.push(Finding::error(name, "apiVersion", message));
        }
        _ if legacy::is_of_group(object) => found.push(legacy::unknown(object).unwrap_or_else(|| {
            let message = "it is of an older release and not part of this plan: the control plane makes an Action of it once it is applied; odigos actions convert prints that";
            Finding::warning(name, "apiVersion", message)
        })),
        _ => {}
    }
    found
}

/// Entries of these maps must be text.
fn texts_only(object: &Value, name: &str, places: &[&str], found: &mut Vec<Finding>) {
    for place in places {
        for (key, value) in object.pointer(place).and_then(Value::as_object).into_iter().flatten() {
            if !value.is_string() {
                let field = format!("{}[{key}]", place.trim_start_matches('/').replace('/', "."));
                found.push(Finding::error(name, field, format!("it is {}, must be text; quote it", word(value))));
            }
        }
    }
}

struct Walk<'a> {
    object: String,
    found: &'a mut Vec<Finding>,
}

impl Walk<'_> {
    fn error(&mut self, path: &str, message: impl Into<String>) {
        self.found.push(Finding::error(self.object.clone(), path, message));
    }

    fn value(&mut self, schema: &Value, value: &mut Value, path: &str) {
        let flag = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or_default();
        if flag("x-kubernetes-preserve-unknown-fields") || flag("x-kubernetes-int-or-string") {
            return;
        }
        if value.is_null() && flag("nullable") {
            return;
        }
        let wanted = schema.get("type").and_then(Value::as_str).unwrap_or_default();
        match (wanted, &mut *value) {
            ("object", Value::Object(_)) => self.object(schema, value, path),
            ("array", Value::Array(items)) => {
                let schema = schema.get("items").unwrap_or(&Value::Null);
                for (position, item) in items.iter_mut().enumerate() {
                    self.value(schema, item, &format!("{path}[{position}]"));
                }
            }
            ("string", Value::String(text)) => {
                let limit = schema.get("maxLength").and_then(Value::as_u64);
                if limit.is_some_and(|limit| text.chars().count() as u64 > limit) {
                    self.error(path, format!("it is longer than {} characters", limit.unwrap_or_default()));
                }
                let allowed = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
                let allowed: Vec<&str> = allowed.filter_map(Value::as_str).collect();
                if !allowed.is_empty() && !allowed.contains(&text.as_str()) {
                    self.error(path, format!("it must be one of {}", allowed.join(", ")));
                }
            }
            ("integer", Value::Number(number)) if !number.is_f64() => self.limits(schema, number.as_f64(), path),
            ("number", Value::Number(number)) => self.limits(schema, number.as_f64(), path),
            ("boolean", Value::Bool(_)) | ("", _) => {}
            ("string", Value::Bool(_) | Value::Number(_)) => {
                let message = format!("it is {}, must be text; quote it", word(value));
                self.error(path, message);
            }
            ("string", Value::Array(_) | Value::Object(_)) => {
                let message = format!("it is {}, must be text; write it as JSON in quotes", word(value));
                self.error(path, message);
            }
            (wanted, found) => {
                let wanted = match wanted {
                    "object" => "a mapping",
                    "array" => "a list",
                    "integer" => "a whole number",
                    "number" => "a number",
                    "boolean" => "true or false, without quotes",
                    other => other,
                };
                let message = format!("it is {}, must be {wanted}", word(found));
                self.error(path, message);
            }
        }
    }

    fn object(&mut self, schema: &Value, value: &mut Value, path: &str) {
        let Some(map) = value.as_object_mut() else { return };
        let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        if let Some(others) = schema.get("additionalProperties").filter(|others| others.is_object()) {
            for (key, value) in map.iter_mut() {
                self.value(others, value, &join(key));
            }
            return;
        }
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
        let is_root = path.is_empty();
        // An API server drops a null where none is allowed, as if the field were not there.
        map.retain(|key, value| {
            let nullable = properties.get(key).is_some_and(|one| one.get("nullable") == Some(&Value::Bool(true)));
            !value.is_null() || nullable || !properties.contains_key(key)
        });
        for (key, value) in map.iter_mut() {
            if is_root && matches!(key.as_str(), "apiVersion" | "kind" | "metadata" | "status") {
                continue;
            }
            match properties.get(key) {
                Some(schema) => self.value(schema, value, &join(key)),
                None => {
                    let near = hint(key, properties.keys().map(String::as_str));
                    let message = format!("there is no such field, and it is ignored{near}");
                    self.found.push(Finding::warning(self.object.clone(), join(key), message));
                }
            }
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        for missing in required.filter(|key| !map.contains_key(*key)) {
            self.error(&join(missing), "it is required");
        }
    }

    fn limits(&mut self, schema: &Value, number: Option<f64>, path: &str) {
        let limit = |key: &str| schema.get(key).and_then(Value::as_f64);
        let number = number.unwrap_or_default();
        if let Some(least) = limit("minimum").filter(|least| number < *least) {
            self.error(path, format!("it must be at least {least}"));
        }
        if let Some(most) = limit("maximum").filter(|most| number > *most) {
            self.error(path, format!("it must be at most {most}"));
        }
    }
}

/// What a value is, for people.
fn word(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "a boolean (so are yes, no, on, off, y and n without quotes)",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(mut object: Value) -> Vec<String> {
        review(&mut object).iter().map(|one| format!("{} {}: {}", one.severity, one.field, one.message)).collect()
    }

    fn destination(spec: Value) -> Value {
        json!({"apiVersion": "odigos.io/v1alpha1", "kind": "Destination", "metadata": {"name": "d"}, "spec": spec})
    }

    #[test]
    fn objects_of_our_kinds_are_checked_by_their_schemas() {
        let good = json!({"type": "debug", "destinationName": "d", "signals": ["TRACES"], "data": {}});
        assert_eq!(found(destination(good.clone())), [""; 0]);
        let with = |key: &str, value: Value| {
            let mut spec = good.clone();
            spec[key] = value;
            found(destination(spec))
        };
        let quoted = "must be text; quote it";
        assert_eq!(
            with("destinationName", json!(false)),
            [format!("error spec.destinationName: it is {}, {quoted}", word(&json!(true)))]
        );
        assert_eq!(with("data", json!({"A": 2})), [format!("error spec.data.A: it is a number, {quoted}")]);
        assert_eq!(
            with("data", json!({"A": [1]})),
            ["error spec.data.A: it is a list, must be text; write it as JSON in quotes"]
        );
        assert_eq!(
            with("disabled", json!("no")),
            ["error spec.disabled: it is text, must be true or false, without quotes"]
        );
        assert_eq!(
            with("signals", json!(["traces"])),
            ["error spec.signals[0]: it must be one of LOGS, METRICS, PROFILES, TRACES"]
        );
        assert_eq!(
            with("sourceSelectr", json!({})),
            ["warning spec.sourceSelectr: there is no such field, and it is ignored; did you mean sourceSelector?"]
        );
        assert_eq!(with("data", Value::Null), ["error spec.data: it is required"], "an API server drops a null");
        assert_eq!(with("disabled", Value::Null), [""; 0]);
        assert!(
            found(destination(json!({"type": "debug"}))).contains(&"error spec.signals: it is required".to_owned())
        );
    }

    #[test]
    fn kinds_that_nothing_serves_are_reported() {
        let kind =
            |version: &str, kind: &str| found(json!({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}}));
        assert_eq!(
            kind("odigos.io/v1alpha1", "Destinatoin"),
            ["error kind: odigos.io/v1alpha1 has no such kind; did you mean Destination?"]
        );
        assert_eq!(
            kind("odigos.io/v1", "Source"),
            ["error apiVersion: the group is served as odigos.io/v1alpha1 only"]
        );
        assert!(kind("actions.odigos.io/v1alpha1", "ErrorSampler")[0].contains("odigos sampling convert"));
        assert_eq!(kind("example.com/v1", "Destinatoin"), [""; 0]);
    }

    #[test]
    fn secrets_and_labels_hold_text() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "labels": {"a": true}},
            "data": {"A": "YWJj", "B": "hunter2!", "C": 5, "D": "YWJj\nZGVm\n"}, "stringData": {"E": false}});
        let said = found(secret);
        let fields: Vec<&str> = said.iter().filter_map(|one| one.split([' ', ':']).nth(1)).collect();
        assert_eq!(fields, ["metadata.labels[a]", "data[C]", "stringData[E]", "data.B"]);
        assert!(!said.join("").contains("hunter2"));
    }
}
