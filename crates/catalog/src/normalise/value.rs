//! Numbers, switches, lists and other values as people type them.

use odigos_api::yaml;
use std::collections::BTreeMap;

/// An absolute path inside the collector's pod.
///
/// # Errors
/// What is wrong with the text.
pub fn absolute_path(text: &str) -> Result<String, String> {
    let text = text.trim();
    if !text.starts_with('/') || text.ends_with('/') || text.split('/').any(|part| part == "..") {
        return Err("it must be an absolute path of a file, e.g. /var/odigos/export/spans.json".into());
    }
    Ok(text.to_owned())
}

/// A whole number.
///
/// # Errors
/// What is wrong with the text.
pub fn integer(text: &str) -> Result<i64, String> {
    text.trim().parse().map_err(|_| format!("{} is not a whole number", shown(text)))
}

/// A boolean in the spellings that Go and YAML files use: `true`, `True`, `TRUE`, `t`, `T`, `1`, and the same of false.
///
/// # Errors
/// For every other text: a switch that is misread is a door left open.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text.trim() {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        other => Err(format!("{} is not a boolean: write true or false", shown(other))),
    }
}

/// A duration in Go's notation.
///
/// # Errors
/// What is wrong with the text.
pub fn duration(text: &str) -> Result<String, String> {
    seconds(text).map(|_| text.trim().to_owned())
}

/// A duration that is at least as long as another.
///
/// # Errors
/// As [`duration`], or when it is shorter.
pub fn duration_at_least(text: &str, least: &str) -> Result<String, String> {
    if seconds(text)? < seconds(least)? {
        return Err(format!("{} is shorter than {least}", shown(text.trim())));
    }
    duration(text)
}

/// Length of a duration.
fn seconds(text: &str) -> Result<f64, String> {
    const UNITS: [(&str, f64); 6] = [("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let text = text.trim();
    let mut rest = text;
    let (mut parts, mut sum) = (0, 0.0);
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, tail) = rest.split_at(number);
        let unit = UNITS.into_iter().filter(|(unit, _)| tail.starts_with(unit)).max_by_key(|(unit, _)| unit.len());
        match (digits.parse::<f64>(), unit) {
            (Ok(number), Some((unit, factor))) => {
                sum += number * factor;
                rest = tail.get(unit.len()..).unwrap_or_default();
            }
            _ => return Err(format!("{} is not a duration such as 5s or 250ms", shown(text))),
        }
        parts += 1;
    }
    if parts == 0 { Err("it is empty".into()) } else { Ok(sum) }
}

/// A JSON list of strings, trimmed; blank ones, which forms write for an empty line, are left out.
///
/// # Errors
/// What is wrong with the text.
pub fn string_list(text: &str) -> Result<Vec<String>, String> {
    let items: Vec<String> = serde_json::from_str(text)
        .map_err(|_| format!("{} is not a JSON list of strings such as [\"a\", \"b\"]", shown(text)))?;
    Ok(items.iter().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect())
}

/// Texts between commas, trimmed.
#[must_use]
pub fn comma_list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// A JSON list of `{key, value}` as a map.
///
/// # Errors
/// What is wrong with the text.
pub fn key_values(text: &str) -> Result<BTreeMap<String, String>, String> {
    Ok(pairs(text)?.into_iter().collect())
}

/// The pairs of a JSON list of `{key, value}`, in their order, those without a key left out.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    #[derive(serde::Deserialize)]
    struct Pair {
        key: String,
        value: String,
    }
    let pairs: Vec<Pair> = serde_json::from_str(text)
        .map_err(|_| "it is not a JSON list such as [{\"key\": \"a\", \"value\": \"b\"}]".to_owned())?;
    Ok(pairs.into_iter().filter(|pair| !pair.key.trim().is_empty()).map(|pair| (pair.key, pair.value)).collect())
}

/// Kafka brokers: a JSON list of `host:port`.
///
/// # Errors
/// When it is no such list, names none, or one of them has no port: each that is wrong.
pub fn brokers(text: &str) -> Result<Vec<String>, Vec<String>> {
    let brokers = string_list(text).map_err(|why| vec![why])?;
    if brokers.is_empty() {
        return Err(vec!["it names no broker".into()]);
    }
    let broker = |one: &String| {
        if one.contains("://") {
            return Err(format!("{}: write host:port without a scheme", shown(one)));
        }
        super::host_with_port(one).map_err(|why| format!("{}: {why}", shown(one)))
    };
    all(brokers.iter().map(broker))
}

/// Every item, or everything that is wrong with any of them.
pub(super) fn all<T, C: FromIterator<T>>(items: impl Iterator<Item = Result<T, String>>) -> Result<C, Vec<String>> {
    let (mut taken, mut problems) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Ok(item) => taken.push(item),
            Err(why) => problems.push(why),
        }
    }
    if problems.is_empty() { Ok(taken.into_iter().collect()) } else { Err(problems) }
}

/// A version of two or three numbers joined by dots.
///
/// # Errors
/// For every other text.
pub fn version(text: &str) -> Result<String, String> {
    let text = text.trim();
    let numbers: Vec<&str> = text.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if matches!(numbers.len(), 2..=4) && numbers.iter().all(is_number) {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not a version such as 2.8.0", shown(text)))
}

/// A version of Kafka that the exporter's client knows: `0.8.0` to `0.11.0`, and from 1.0 on two or three numbers of which the first two count.
///
/// # Errors
/// For every other text: a collector does not start with it.
pub fn kafka_version(text: &str) -> Result<String, String> {
    /// The newest minor version of each major one.
    const NEWEST: [(u32, u32); 4] = [(1, 1), (2, 8), (3, 9), (4, 2)];
    /// The newest patch version of each minor one before 1.0, where it counts.
    const NEWEST_OLD: [(u32, u32); 4] = [(8, 2), (9, 0), (10, 2), (11, 0)];
    let text = version(text.trim().trim_start_matches('v'))?;
    let numbers: Vec<u32> = text.split('.').filter_map(|part| part.parse().ok()).collect();
    let is_within = |table: &[(u32, u32)], first: u32, second: u32| {
        table.iter().any(|(known, newest)| first == *known && second <= *newest)
    };
    let is_known = match numbers.as_slice() {
        [0, minor, patch] | [0, minor, patch, _] => is_within(&NEWEST_OLD, *minor, *patch),
        [major, minor] | [major, minor, _] => is_within(&NEWEST, *major, *minor),
        _ => false,
    };
    if is_known {
        return Ok(text);
    }
    Err(format!(
        "the collector's client knows no Kafka {}; write the version of your brokers, such as 3.9.0",
        shown(&text)
    ))
}

/// One label of a domain name, such as a realm or an account.
///
/// # Errors
/// When it holds anything but letters, digits and hyphens.
pub fn label(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.len() > 63 || !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(format!(
            "{} is not a name of letters, digits and hyphens; write the name alone, no URL",
            shown(text)
        ));
    }
    Ok(text.to_owned())
}

/// Tags of AWS as a JSON list of `{key, value}`; none where the list is empty, which the exporter refuses.
///
/// # Errors
/// When it is no such list, there are more than 50, or one is not as AWS takes it: each that is wrong.
pub fn tags(text: &str) -> Result<Option<BTreeMap<String, String>>, Vec<String>> {
    let tags = key_values(text).map_err(|why| vec![why])?;
    if tags.len() > 50 {
        return Err(vec![format!("it has {} tags; AWS takes 50", tags.len())]);
    }
    let is_legal = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c);
    let tag = |(key, value): (String, String)| {
        if value.is_empty() {
            return Err(format!("the tag {key} has no value"));
        }
        if key.len() > 128 || value.len() > 256 {
            return Err(format!("the tag {} is too long: AWS takes 128 characters and 256 for its value", shown(&key)));
        }
        match key.chars().chain(value.chars()).find(|c| !is_legal(*c)) {
            Some(c) => Err(format!("the tag {} holds {c:?}, which AWS does not take", shown(&key))),
            None => Ok((key, value)),
        }
    };
    let tags: BTreeMap<String, String> = all(tags.into_iter().map(tag))?;
    Ok((!tags.is_empty()).then_some(tags))
}

/// Name of a log group or log stream of CloudWatch; `{…}` is one of the placeholders that the exporters fill in.
///
/// # Errors
/// When it is another placeholder, or a character that no name of theirs can hold.
pub fn log_name(text: &str) -> Result<String, String> {
    const PLACEHOLDERS: [&str; 7] =
        ["ClusterName", "TaskId", "NodeName", "PodName", "ServiceName", "ContainerInstanceId", "TaskDefinitionFamily"];
    let text = text.trim();
    if let Some(c) = text.chars().find(|c| matches!(c, '*' | ':') || c.is_control()) {
        return Err(format!("it holds {c:?}, which no name in CloudWatch can hold"));
    }
    if text.chars().count() > 512 {
        return Err("it is longer than 512 characters".into());
    }
    for part in text.split('{').skip(1) {
        let name = part.split('}').next().unwrap_or_default();
        if !part.contains('}') || !PLACEHOLDERS.contains(&name) {
            return Err(format!("{{{}}} is no placeholder; known are {}", name, PLACEHOLDERS.join(", ")));
        }
    }
    Ok(text.to_owned())
}

/// Labels for every metric: a JSON object of strings or a JSON list of `{key, value}`.
///
/// # Errors
/// When it is neither, or a name or value is empty: each that is wrong.
pub fn labels(text: &str) -> Result<BTreeMap<String, String>, Vec<String>> {
    let label = |(name, value): (String, String)| match name.is_empty() || value.is_empty() {
        true => Err(format!("the label {} has no name or no value", shown(&name))),
        false => Ok((name, value)),
    };
    all(text_map(text).map_err(|why| vec![why])?.into_iter().map(label))
}

/// A number.
///
/// # Errors
/// What is wrong with the text.
pub fn float(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(format!("{} is not a number", shown(text))),
    }
}

/// A JSON object of strings, or the list of `{key, value}` that forms write.
///
/// # Errors
/// What is wrong with the text.
pub fn text_map(text: &str) -> Result<BTreeMap<String, String>, String> {
    if text.trim_start().starts_with('[') {
        return key_values(text);
    }
    serde_json::from_str(text).map_err(|_| "it is not a JSON object such as {\"cluster\": \"prod\"}".to_owned())
}

/// A YAML mapping. Merge keys (`<<`) are applied: no collector knows them.
///
/// # Errors
/// When it is no YAML or no mapping, or holds a merge key that cannot be applied.
pub fn yaml_map(text: &str) -> Result<serde_json::Value, String> {
    match yaml::value(text) {
        Ok(document) if document.value.is_object() => Ok(document.value),
        Ok(_) => Err("it is not a YAML mapping".into()),
        Err(error) => Err(format!("it is not YAML: line {}: {}", error.line, error.message)),
    }
}

/// A value in a message, cut to a readable length.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}
