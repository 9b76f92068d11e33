//! Values: read, set on the command line, merged over defaults, checked against a schema.
//!
//! Owns Helm's rules: maps merge, everything else replaces, `null` takes a default away. Never reads a file.

use crate::ambiguous;
use jsonschema::error::ValidationErrorKind;
use odigos_api::yaml;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Reads a file of values; an empty one is an empty map.
///
/// # Errors
/// When it is no mapping, or holds a scalar that Helm would understand differently.
pub fn read(text: &str) -> Result<Value, String> {
    if let Some(line) = ambiguous::find(text) {
        return Err(format!(
            "YAML readers differ about this line, put quotes around the text or write true or false: {line}"
        ));
    }
    match yaml::value(text).map_err(|error| error.to_string())?.value {
        Value::Null => Ok(Value::Object(Map::new())),
        value @ Value::Object(_) => Ok(value),
        _ => Err("values are a mapping at the top".into()),
    }
}

/// Sets values as `--set a.b=1,c=x` does: dots descend, commas separate, `{a,b}` is a list, a backslash takes the meaning
/// of the next character away. `true`, `false`, `null` and whole numbers are what they look like.
///
/// # Errors
/// When `text` is not of that form; it names the part.
pub fn assign(values: &mut Value, text: &str) -> Result<(), String> {
    for part in split(text, ',') {
        let mut halves = split(&part, '=').into_iter();
        let key = halves.next().unwrap_or_default();
        let rest: Vec<String> = halves.collect();
        if rest.is_empty() {
            return Err(format!("{part}: write key=value"));
        }
        let path: Vec<String> = split(&key, '.').iter().map(|one| plain(one)).collect();
        if path.iter().any(String::is_empty) {
            return Err(format!("{part}: a part of the key is empty"));
        }
        if path.iter().any(|one| one.contains('[')) {
            return Err(format!("{part}: single items of a list cannot be set; use a file of values"));
        }
        place(values, &path, typed(&rest.join("=")))?;
    }
    Ok(())
}

/// Cuts at `separator` outside braces and not behind a backslash; backslashes stay.
fn split(text: &str, separator: char) -> Vec<String> {
    let (mut parts, mut current, mut depth, mut escaped) = (Vec::new(), String::new(), 0_usize, false);
    for c in text.chars() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == '{' {
            depth += 1;
        } else if c == '}' {
            depth = depth.saturating_sub(1);
        } else if c == separator && depth == 0 {
            parts.push(std::mem::take(&mut current));
            continue;
        }
        current.push(c);
    }
    parts.push(current);
    parts
}

fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        out.push(if c == '\\' { characters.next().unwrap_or(c) } else { c });
    }
    out
}

fn typed(text: &str) -> Value {
    if let Some(inner) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let items = split(inner, ',').into_iter().filter(|item| !item.is_empty());
        return Value::Array(items.map(|item| typed(&item)).collect());
    }
    let leading_zero = text.len() > 1 && text.starts_with('0');
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "null" => Value::Null,
        _ => match text.parse::<i64>() {
            Ok(number) if !leading_zero => Value::from(number),
            _ => Value::String(plain(text)),
        },
    }
}

fn place(values: &mut Value, path: &[String], value: Value) -> Result<(), String> {
    let mut here = values;
    for (position, key) in path.iter().enumerate() {
        if here.is_null() {
            *here = Value::Object(Map::new());
        }
        let shown = path.join(".");
        let map = here.as_object_mut().ok_or_else(|| format!("{shown}: {} is no map", path[..position].join(".")))?;
        here = map.entry(key.clone()).or_insert(Value::Null);
    }
    *here = value;
    Ok(())
}

/// `given` on top of `base`: maps merge, `null` takes away, everything else replaces.
#[must_use]
pub fn merge(base: Value, given: &Value) -> Value {
    match (base, given) {
        (Value::Object(mut base), Value::Object(given)) => {
            for (key, value) in given {
                if value.is_null() {
                    // Without a default to take away it is data, e.g. inside of a free-form map.
                    if base.remove(key).is_none() {
                        base.insert(key.clone(), Value::Null);
                    }
                } else {
                    let below = base.remove(key).unwrap_or(Value::Null);
                    base.insert(key.clone(), merge(below, value));
                }
            }
            Value::Object(base)
        }
        (_, given) => given.clone(),
    }
}

/// Values of the user on top of earlier ones of the user: as [`merge`], but a `null` stays, since it still has a default
/// to take away.
#[must_use]
pub fn overlay(base: Value, given: &Value) -> Value {
    match (base, given) {
        (Value::Object(mut base), Value::Object(given)) => {
            for (key, value) in given {
                let below = base.remove(key).unwrap_or(Value::Null);
                base.insert(key.clone(), overlay(below, value));
            }
            Value::Object(base)
        }
        (_, given) => given.clone(),
    }
}

/// Every value that is no map or an empty one, by path such as `controllers.replicas`.
#[must_use]
pub fn leaves(value: &Value) -> BTreeMap<String, Value> {
    fn collect(prefix: &str, value: &Value, out: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (key, child) in map {
                    let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                    collect(&path, child, out);
                }
            }
            Value::Object(_) if prefix.is_empty() => {}
            other => {
                out.insert(prefix.to_owned(), other.clone());
            }
        }
    }
    let mut out = BTreeMap::new();
    collect("", value, &mut out);
    out
}

/// One thing that the schema does not allow.
pub(crate) struct Refused {
    path: String,
    message: String,
    /// Paths that do not exist at all.
    pub(crate) unknown: Vec<String>,
}

impl Refused {
    pub(crate) fn line(&self) -> String {
        match self.unknown.as_slice() {
            [] if self.path.is_empty() => self.message.clone(),
            [] => format!("{}: {}", self.path, self.message),
            unknown => format!("{}: there is no such value", unknown.join(", ")),
        }
    }
}

/// What `schema` does not allow in `values`.
pub(crate) fn refused(schema: &str, values: &Value) -> Result<Vec<Refused>, String> {
    let schema: Value = serde_json::from_str(schema).map_err(|error| error.to_string())?;
    let validator = jsonschema::validator_for(&schema).map_err(|error| error.to_string())?;
    let errors = validator.iter_errors(values);
    Ok(errors
        .map(|error| {
            let path = error.instance_path().to_string().trim_start_matches('/').replace('/', ".");
            let message = match error.kind() {
                ValidationErrorKind::Required { property } => {
                    format!("{} is missing; null takes a default away", property.as_str().unwrap_or_default())
                }
                _ => error.to_string(),
            };
            let unknown = match error.kind() {
                ValidationErrorKind::AdditionalProperties { unexpected } => unexpected
                    .iter()
                    .map(|key| if path.is_empty() { key.clone() } else { format!("{path}.{key}") })
                    .collect(),
                _ => Vec::new(),
            };
            Refused { path, message, unknown }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_merge_as_helm_merges_them() {
        let base = json!({"a": {"b": 1, "c": [1, 2]}, "d": "x", "m": {"k": 1}});
        let given = json!({"a": {"b": 2, "c": [3]}, "d": null, "e": {"f": null, "g": true}, "m": "text"});
        assert_eq!(merge(base, &given), json!({"a": {"b": 2, "c": [3]}, "e": {"f": null, "g": true}, "m": "text"}));
    }

    #[test]
    fn a_null_of_the_user_is_remembered() {
        let kept = overlay(json!({"a": {"b": 1, "c": 2}}), &json!({"a": {"b": null}, "d": 3}));
        assert_eq!(kept, json!({"a": {"b": null, "c": 2}, "d": 3}));
    }

    #[test]
    fn set_descends_and_types() {
        let mut values = json!({});
        assign(&mut values, r"a.b=1,a.c=x=y,l={p,2,true},n\.m=v\,w,z=012,empty=,u=null").unwrap();
        let expected = json!({
            "a": {"b": 1, "c": "x=y"}, "l": ["p", 2, true], "n.m": "v,w", "z": "012", "empty": "", "u": null,
        });
        assert_eq!(values, expected);
        for (text, said) in [("a", "key=value"), ("a..b=1", "empty"), ("l[0]=1", "list"), ("a.b.c=1", "a.b is no map")]
        {
            let refused = assign(&mut values, text).unwrap_err();
            assert!(refused.contains(said), "{text}: {refused}");
        }
    }

    #[test]
    fn files_are_mappings_that_everybody_reads_alike() {
        assert_eq!(read("").unwrap(), json!({}));
        let merged = read("base: &base {a: 1, b: 2}\nmerged: {<<: *base, b: 3}\n").unwrap();
        assert_eq!(merged["merged"], json!({"a": 1, "b": 3}), "a merge key is applied, as Helm does");
        assert!(read("- a").unwrap_err().contains("mapping"));
        assert!(read("a: on").unwrap_err().contains("a: on"));
    }

    #[test]
    fn leaves_have_paths() {
        let all = leaves(&json!({"a": {"b": 1, "c": {}}, "d": [1]}));
        let expected = [("a.b", json!(1)), ("a.c", json!({})), ("d", json!([1]))];
        assert_eq!(all, expected.map(|(path, value)| (path.to_owned(), value)).into());
    }

    #[test]
    fn refusals_name_the_field() {
        let schema = r#"{"type": "object", "additionalProperties": false, "properties": {"a": {"type": "object",
            "additionalProperties": false, "properties": {"n": {"type": "integer"}}}}}"#;
        let lines =
            |values: Value| -> Vec<String> { refused(schema, &values).unwrap().iter().map(Refused::line).collect() };
        assert_eq!(lines(json!({"a": {"x": 1}, "y": 2})), ["a.x: there is no such value", "y: there is no such value"]);
        let schema = r#"{"required": ["a"], "properties": {"a": {"required": ["b"]}}}"#;
        let first = |values: Value| refused(schema, &values).unwrap().first().map(Refused::line);
        assert_eq!(first(json!({})).as_deref(), Some("a is missing; null takes a default away"));
        assert_eq!(first(json!({"a": {}})).as_deref(), Some("a: b is missing; null takes a default away"));
        let wrong = lines(json!({"a": {"n": "many"}}));
        assert!(wrong[0].starts_with("a.n: ") && wrong[0].contains("integer"), "{wrong:?}");
    }
}
