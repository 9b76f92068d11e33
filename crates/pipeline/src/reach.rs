//! What settings of a component refer to outside themselves: extensions, and files of the collector's container.
//!
//! Owns the names of such settings. They count wherever they are written, since exporters hold others (`load_balancing`) and lists of them.
//! Never decides what a component may refer to.

use serde_json::Value;

/// What a setting refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// An extension by its id.
    Extension,
    /// A file that is read.
    File,
}

/// Settings that hold texts of their author, whatever the keys are called.
const FREE: [&str; 6] = ["attributes", "headers", "labels", "metadata", "resource_attributes", "tags"];

/// What a setting of that name refers to.
#[must_use]
pub fn of(key: &str) -> Option<Reach> {
    match key.to_ascii_lowercase().as_str() {
        "authenticator" | "storage" | "k8s_leader_elector" | "opamp" | "middlewares" => Some(Reach::Extension),
        "kubeconfig" | "keytab" | "shared_credentials_file" | "kube_config_path" => Some(Reach::File),
        key if key.ends_with("_file") || key.ends_with("_files") || key.ends_with("_file_path") => Some(Reach::File),
        _ => None,
    }
}

/// Where collectors divide keys: what stands behind it is a setting of its own.
pub const DIVIDER: &str = "::";

/// The first key, at any depth, that collectors divide into several: `auth::authenticator` is the `authenticator` of `auth` for them, and nothing
/// else that looks at settings would know.
#[must_use]
pub fn divided_key(settings: &Value) -> Option<&str> {
    match settings {
        Value::Object(map) => map
            .iter()
            .find_map(|(key, value)| if key.contains(DIVIDER) { Some(key.as_str()) } else { divided_key(value) }),
        Value::Array(list) => list.iter().find_map(divided_key),
        _ => None,
    }
}

/// Calls `check` with every text of settings and the key that it is under; ends at the first error.
///
/// # Errors
/// The first one of `check`.
pub fn each<E>(settings: &Value, check: &mut impl FnMut(&str, &str) -> Result<(), E>) -> Result<(), E> {
    each_under("", settings, check)
}

fn each_under<E>(key: &str, settings: &Value, check: &mut impl FnMut(&str, &str) -> Result<(), E>) -> Result<(), E> {
    match settings {
        Value::String(text) => check(key, text),
        Value::Array(list) => list.iter().try_for_each(|item| each_under(key, item, check)),
        Value::Object(map) => map
            .iter()
            .filter(|(key, value)| !(FREE.contains(&key.as_str()) && is_flat(value)))
            .try_for_each(|(inner, value)| {
                // A middleware is a mapping with its id.
                let is_reference = matches!(of(key), Some(Reach::Extension)) && inner == "id";
                each_under(if is_reference { key } else { inner }, value, check)
            }),
        _ => Ok(()),
    }
}

/// Whether a mapping holds texts alone: nothing is configured in it.
fn is_flat(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.values().all(|value| !value.is_object() && !value.is_array()),
        Value::Array(list) => list.iter().all(is_flat),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_that_collectors_divide_are_found_at_any_depth() {
        assert_eq!(divided_key(&json!({"auth::authenticator": "basicauth/x"})), Some("auth::authenticator"));
        assert_eq!(divided_key(&json!({"a": [{"headers": {"b::c": 1}}]})), Some("b::c"));
        assert_eq!(divided_key(&json!({"a:b": "c::d", "e": ["f::g"]})), None, "texts and single colons are no keys");
    }

    #[test]
    fn references_are_found_at_any_depth() {
        let found = |settings: Value| {
            let mut found = Vec::new();
            let _ = each(&settings, &mut |key, text| {
                if of(key).is_some() {
                    found.push(format!("{key}={text}"));
                }
                Ok::<(), ()>(())
            });
            found
        };
        assert_eq!(
            found(json!({"protocol": {"otlp": {"auth": {"authenticator": "basicauth/x"}, "tls": {"ca_file": "/a"}}}})),
            ["authenticator=basicauth/x", "ca_file=/a"]
        );
        assert_eq!(found(json!({"sending_queue": {"storage": "file_storage/q"}})), ["storage=file_storage/q"]);
        assert_eq!(found(json!({"middlewares": [{"id": "m/x"}]})), ["middlewares=m/x"]);
        assert_eq!(found(json!({"list": [{"bearer_token_file": "/t"}]})), ["bearer_token_file=/t"]);
        assert_eq!(found(json!({"headers": {"storage": "x"}, "labels": {"key_file": "y"}})), Vec::<String>::new());
        assert_eq!(found(json!({"headers": {"a": {"ca_file": "y"}}})), ["ca_file=y"]);
    }
}
