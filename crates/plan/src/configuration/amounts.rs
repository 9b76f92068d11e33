//! Amounts of storage, and requests and limits of containers, as settings state them.
//!
//! Owns which amounts are meant seriously: `1m` is a thousandth of a byte, and an API server takes it. Never writes one (`objects`).

use super::texts::label_key_problem;
use crate::quantity;
use serde_json::{Map, Value};

/// Least amount of bytes that anything of this product can work with.
const LEAST_BYTES: f64 = 1_048_576.0;

/// Why a text is no amount of storage.
pub(super) fn storage_problem(text: &str) -> Option<String> {
    match amount(text) {
        None => Some("expected an amount of at least 1Mi, such as 2Gi".to_owned()),
        Some(bytes) => too_little(bytes, text),
    }
}

/// Why no container can have these requests and limits: the first thing that is wrong.
pub(super) fn resources_problem(map: &Map<String, Value>) -> Option<String> {
    let empty = Map::new();
    if let Some(key) = map.keys().find(|key| !["requests", "limits"].contains(&key.as_str())) {
        return Some(format!("there is no {key}: expected `requests` and `limits` of `cpu` and `memory`"));
    }
    let part = |name: &str| match map.get(name) {
        None | Some(Value::Null) => Some(&empty),
        Some(other) => other.as_object(),
    };
    let (Some(requests), Some(limits)) = (part("requests"), part("limits")) else {
        return Some("expected `requests` and `limits` of `cpu` and `memory`".to_owned());
    };
    for (block, amounts) in [("requests", requests), ("limits", limits)] {
        let problem = |(name, value): (&String, &Value)| Some(format!("{block}.{name}: {}", entry(name, value)?));
        if let Some(problem) = amounts.iter().find_map(problem) {
            return Some(problem);
        }
    }
    let exceeds = |(name, value): (&&String, &&Value)| {
        let limit = limits.get(name.as_str()).and_then(number);
        number(value).zip(limit).is_some_and(|(request, limit)| request > limit)
    };
    let above = requests.iter().find(|(name, value)| exceeds((name, value)));
    above.map(|(name, _)| format!("requests.{name} is above limits.{name}, and no pod can be created with that"))
}

/// Why a container cannot have this amount of a resource.
fn entry(name: &str, value: &Value) -> Option<String> {
    if let Some(problem) = label_key_problem(name) {
        return Some(problem.to_owned());
    }
    let Some(amount) = number(value) else {
        return Some("expected an amount such as 100m for cpu, 64Mi for memory".to_owned());
    };
    let is_bytes = matches!(name, "memory" | "ephemeral-storage" | "storage") || name.starts_with("hugepages-");
    is_bytes.then(|| too_little(amount, value.as_str().unwrap_or_default())).flatten()
}

fn too_little(bytes: f64, written: &str) -> Option<String> {
    if bytes >= LEAST_BYTES {
        return None;
    }
    let unit = match written.ends_with('m') {
        true => "; m stands for thousandths, Mi for mebibytes",
        false => "; without a unit it is a number of bytes",
    };
    let unit = if written.ends_with(|c: char| c.is_ascii_digit() || c == 'm') { unit } else { "" };
    Some(format!("it is less than a mebibyte, write at least 1Mi{unit}"))
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => amount(text),
        other => other.as_f64().filter(|amount| *amount >= 0.0),
    }
}

/// An amount as people write it in settings: digits and a unit, and no smaller parts than thousandths.
fn amount(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let is_plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.') && !text.ends_with(['n', 'u']);
    quantity::parse(text).filter(|_| is_plain && !digits.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn storage_is_a_mebibyte_at_least() {
        for text in ["1Mi", "2Gi", "0.5Gi", "1048576", "2M", "1024Ki", "1E"] {
            assert_eq!(storage_problem(text), None, "{text}");
        }
        for (text, expected) in [
            ("1m", "m stands for thousandths"),
            ("2048", "a number of bytes"),
            ("512Ki", "at least 1Mi"),
            ("0", "at least 1Mi"),
            ("2GB", "such as 2Gi"),
            ("1e3", "such as 2Gi"),
            ("-1Gi", "such as 2Gi"),
            ("2 Gi", "such as 2Gi"),
        ] {
            let said = storage_problem(text);
            assert!(said.as_ref().is_some_and(|said| said.contains(expected)), "{text}: {said:?}");
        }
    }

    #[test]
    fn resources_are_what_an_api_server_takes_and_a_kubelet_can_keep() {
        let problem = |value: Value| resources_problem(value.as_object().unwrap());
        for value in [
            json!({"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"cpu": 1, "memory": "1Gi"}}),
            json!({"limits": {"cpu": "500m"}, "requests": null}),
            json!({"limits": {"memory": 134_217_728}}),
            json!({}),
        ] {
            assert_eq!(problem(value.clone()), None, "{value}");
        }
        for (value, expected) in [
            (json!({"requests": {"cpu": "2"}, "limits": {"cpu": "500m"}}), "requests.cpu is above limits.cpu"),
            (json!({"requests": {"memory": "64 MB"}}), "requests.memory: expected an amount"),
            (json!({"request": {"cpu": 1}}), "there is no request"),
            (json!({"requests": {"cpu": -1}}), "requests.cpu: expected an amount"),
            (json!({"requests": [1]}), "expected `requests`"),
            (json!({"limits": {"memory": "64m"}}), "limits.memory: it is less than a mebibyte"),
            (json!({"limits": {"memory": 64}}), "limits.memory: it is less than a mebibyte"),
            (json!({"requests": {"ephemeral-storage": "1Ki"}}), "requests.ephemeral-storage: it is less"),
            (json!({"requests": {"c p u": "1"}}), "requests.c p u: no label can have this key"),
        ] {
            let said = problem(value.clone());
            assert!(said.as_ref().is_some_and(|said| said.contains(expected)), "{value}: {said:?}");
        }
    }
}
