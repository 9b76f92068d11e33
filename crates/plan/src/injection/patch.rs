//! The difference between a pod and what it shall be, as the API server wants it: a JSON patch of few operations, so that
//! what admission did can be read in an audit log.

use serde_json::{Map, Value, json};

/// The operations that turn `before` into `after`, as a JSON patch; no operation where both are equal. Objects are followed,
/// lists of containers too as long as none came or went; everything else is written whole.
#[must_use]
pub fn patch(before: &Value, after: &Value) -> Value {
    let mut operations = Vec::new();
    compare(String::new(), before, after, &mut operations);
    Value::Array(operations)
}

fn compare(path: String, before: &Value, after: &Value, operations: &mut Vec<Value>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => compare_objects(&path, before, after, operations),
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() && path == "/spec/containers" => {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                compare(format!("{path}/{index}"), before, after, operations);
            }
        }
        _ => operations.push(json!({"op": "replace", "path": path, "value": after})),
    }
}

fn compare_objects(path: &str, before: &Map<String, Value>, after: &Map<String, Value>, operations: &mut Vec<Value>) {
    let below = |key: &str| format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        operations.push(json!({"op": "remove", "path": below(key)}));
    }
    for (key, value) in after {
        match before.get(key) {
            // What was written as null counts as absent.
            None | Some(Value::Null) if !value.is_null() => {
                operations.push(json!({"op": "add", "path": below(key), "value": value}));
            }
            None => {}
            Some(before) => compare(below(key), before, value, operations),
        }
    }
}
