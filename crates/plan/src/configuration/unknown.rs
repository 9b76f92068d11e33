//! Keys of the configuration that the table lacks, and keys that nothing reads.
//!
//! Owns their findings. Values are judged in `shapes`; never changes a document.

use super::keys::{Effect, KEYS, Key};
use super::shapes::Shape;
use super::{ALIASES, Configuration};
use crate::spelling;
use odigos_api::{Finding, names};
use odigos_catalog::distribution;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Path and message of each key that has no effect as it is written: one that is not known, one that nothing reads, another
/// spelling that contradicts the key itself.
pub(super) fn problems(configuration: &Configuration) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if let Value::Object(root) = &configuration.root {
        walk("", "", root, &mut found);
    }
    for (written, meant) in ALIASES {
        if let (Some(alias), Some(value)) = (configuration.get(written), configuration.get(meant))
            && alias != value
        {
            found.push((written.to_owned(), format!("{meant} is set to another value, which is used; remove one")));
        }
    }
    found.extend(chosen_names(configuration));
    found
}

/// What of the data of a ConfigMap of the configuration nothing reads: whole documents under another key.
#[must_use]
pub fn unread_data<'a>(namespace: &str, name: &str, keys: impl IntoIterator<Item = &'a str>) -> Vec<Finding> {
    let object = format!("ConfigMap {namespace}/{name}");
    let unread = keys.into_iter().filter(|key| *key != names::CONFIGURATION_KEY);
    let message = format!("no component reads it: the configuration is the text under {}", names::CONFIGURATION_KEY);
    unread.map(|key| Finding::warning(object.clone(), format!("data[{key}]"), message.clone())).collect()
}

/// Clouds whose metadata service a node collector can ask.
const DETECTORS: [&str; 5] = ["ec2", "eks", "azure", "aks", "gcp"];

/// Names below a `*` of the table that are not free: whoever reads them knows only these.
fn chosen_names(configuration: &Configuration) -> Vec<(String, String)> {
    let distributions = || distribution::all().keys().map(String::as_str).collect::<BTreeSet<_>>();
    let languages = distribution::all().values().map(|one| one.language.as_str()).collect();
    let sets = [
        ("agentImages", "distribution", distributions()),
        ("userInstrumentationEnvs.languages", "language with an agent", languages),
        ("collectorNode.resourceDetectors", "detector", DETECTORS.into()),
    ];
    let mut found = Vec::new();
    for (path, what, known) in sets {
        let chosen = configuration.get(path).and_then(Value::as_object).into_iter().flatten();
        // What the table names is no choice.
        let is_key = |name: &str| below(path).any(|(_, one)| one != "*" && one.eq_ignore_ascii_case(name));
        for (name, _) in chosen.filter(|(name, _)| !known.contains(name.as_str()) && !is_key(name)) {
            let hint = match spelling::nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("there are: {}", known.iter().copied().collect::<Vec<_>>().join(", ")),
            };
            found.push((format!("{path}.{name}"), format!("there is no such {what}, ignored; {hint}")));
        }
    }
    found
}

/// `at` is where the mapping is as it is written, `known` the same as the table spells it.
fn walk(at: &str, known: &str, map: &Map<String, Value>, found: &mut Vec<(String, String)>) {
    for (name, value) in map {
        // The usual place for what anchors name.
        if at.is_empty() && name.starts_with("x-") {
            continue;
        }
        let path = joined(at, name);
        let Some(key) = find(known, name) else {
            let hint = spelling::hint(name, below(known).map(|(_, one)| one));
            found.push((path, format!("unknown key, ignored{hint}")));
            continue;
        };
        match (key.effect, key.shape, value) {
            (Effect::None, ..) if !is_off(value) => found.push((path, format!("no component reads it: {}", key.doc))),
            (Effect::None, ..) => {}
            (_, Shape::Block, Value::Object(map)) => walk(&path, key.path, map, found),
            _ => {}
        }
    }
}

/// Path and message of each key that stands in a mapping twice, in spellings that differ in case alone.
pub(super) fn repeated(document: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut waiting: Vec<(String, &str, &Value)> = vec![(String::new(), "", document)];
    while let Some((at, known, value)) = waiting.pop() {
        let Some(map) = value.as_object() else { continue };
        let mut last: BTreeMap<&str, &String> = BTreeMap::new();
        for (name, value) in map {
            let Some(key) = find(known, name) else { continue };
            let is_chosen = key.path.ends_with('*');
            if let Some(other) = last.insert(key.path, name).filter(|_| !is_chosen) {
                let message = format!("the key is set as {other} too; the value of {name} is used, remove one");
                found.push((joined(&at, name), message));
            }
            if key.shape == Shape::Block {
                waiting.push((joined(&at, name), key.path, value));
            }
        }
    }
    found
}

fn joined(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

/// Keys right below a path of the table, with their last part.
fn below(known: &str) -> impl Iterator<Item = (&'static Key, &'static str)> {
    KEYS.iter().filter_map(move |key| {
        let (parent, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        (parent == known).then_some((key, name))
    })
}

/// The row of a key right below a path of the table.
pub(super) fn find(known: &str, name: &str) -> Option<&'static Key> {
    let exact = below(known).find(|(_, one)| one.eq_ignore_ascii_case(name));
    exact.or_else(|| below(known).find(|(_, one)| *one == "*")).map(|(key, _)| key)
}

/// Whether a value asks for nothing, which is what happens.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => matches!(text.trim(), "" | "false" | "off"),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => {
            map.get("enabled").is_some_and(is_off)
                || map.get("disabled").is_some_and(|one| !is_off(one))
                || map.values().all(is_off)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(text: &str) -> Vec<String> {
        let found = problems(&Configuration::parse(text).unwrap());
        found.into_iter().map(|(path, message)| format!("{path}: {message}")).collect()
    }

    #[test]
    fn unknown_key_is_reported_with_the_nearest_known_one() {
        let text = "smapling: {dryRun: true}\nsampling: {tailSampling: {disable: true}}\nnonsense: 1\n";
        assert_eq!(
            problems_of(text),
            [
                "nonsense: unknown key, ignored",
                "sampling.tailSampling.disable: unknown key, ignored; did you mean disabled?",
                "smapling: unknown key, ignored; did you mean sampling?",
            ]
        );
    }

    #[test]
    fn document_under_another_key_is_reported() {
        let found = unread_data("odigos-system", "odigos-configuration", ["config.yaml", "config.yml"]);
        let [one] = found.as_slice() else { panic!("{found:?}") };
        let expected = "warning ConfigMap/odigos-system/odigos-configuration data[config.yml]: no component reads it: the \
                        configuration is the text under config.yaml";
        assert_eq!(one.to_string(), expected);
    }

    #[test]
    fn key_that_nothing_reads_is_reported_unless_it_is_off() {
        let found =
            problems_of("telemetryEnabled: true\nclusterName: prod\nprofiling: {enabled: true}\nsampling: {}\n");
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("clusterName: no component reads it: "), "{found:?}");
        let off = "telemetryEnabled: false\nclusterName: ''\nprofiling: {enabled: false, ui: {maxSlots: 3}}\ngoAutoOffsetsMode: off\n";
        assert_eq!(problems_of(off), [] as [String; 0]);
    }

    #[test]
    fn keys_match_whatever_their_case_and_chosen_names_are_free() {
        let text = "collectorGateway: {MINREPLICAS: 2}\nagentImages: {ruby-community: a}\nx-size: &size {any: 1}\n\
                    userInstrumentationEnvs: {languages: {java: {enabled: true, env: {A: b}}}}\n\
                    collectorNode: {resourceDetectors: {ec2: {enabled: true}}}\n";
        assert_eq!(problems_of(text), [] as [String; 0]);
        assert_eq!(problems_of("userInstrumentationEnvs: {languages: {java: {enbaled: true}}}").len(), 1);
    }

    #[test]
    fn name_that_no_reader_knows_is_reported() {
        let text = "agentImages: {java-comunity: a, ruby-community: b}\n\
                    userInstrumentationEnvs: {languages: {jav: {enabled: true}, java: {enabled: true}}}\n\
                    collectorNode: {resourceDetectors: {ec3: {enabled: true}, nimbus: {enabled: true}}}\n";
        assert_eq!(
            problems_of(text),
            [
                "agentImages.java-comunity: there is no such distribution, ignored; did you mean java-community?",
                "userInstrumentationEnvs.languages.jav: there is no such language with an agent, ignored; did you mean java?",
                "collectorNode.resourceDetectors.ec3: there is no such detector, ignored; did you mean ec2?",
                "collectorNode.resourceDetectors.nimbus: there is no such detector, ignored; there are: aks, azure, ec2, eks, gcp",
            ]
        );
    }

    #[test]
    fn key_in_two_spellings_is_reported() {
        let document = serde_json::json!({"collectorGateway": {"MinReplicas": 2, "minReplicas": 3}});
        let found = repeated(&document);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].0 == "collectorGateway.minReplicas" && found[0].1.contains("MinReplicas"), "{found:?}");
        assert_eq!(repeated(&serde_json::json!({"agentImages": {"a": "x", "A": "y"}})), []);
    }

    #[test]
    fn alias_that_contradicts_its_key_is_reported() {
        let found = problems_of("autoRollback: {graceTime: 1m}\nrollbackGraceTime: 2m\n");
        assert_eq!(
            found,
            ["autoRollback.graceTime: rollbackGraceTime is set to another value, which is used; remove one"]
        );
        assert_eq!(problems_of("autoRollback: {graceTime: 1m}\n"), [] as [String; 0]);
    }
}
