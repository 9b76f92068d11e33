//! The configuration of a collector as files: one while it is small, several where one ConfigMap would have to hold too much.
//!
//! A collector merges its files as maps: keys come together, lists are replaced. So a file holds whole components and pipelines, never a
//! part of one, and a routing table that is too long goes on in another connector ([`cascade`]). Owns what goes into which file; how
//! files are stored and mounted is in [`stored`]. Never compresses: what is in a ConfigMap can be read.

pub mod cascade;
pub mod stored;

use crate::objects::hash;
use odigos_pipeline::{CollectorConfig, yaml};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Bytes that the values of a ConfigMap may have together, as the API server counts.
const CONFIG_MAP_LIMIT: usize = 1 << 20;
/// Bytes of one file: half of what a ConfigMap may hold.
pub const FILE_LIMIT: usize = CONFIG_MAP_LIMIT / 2;
/// Bytes of a file that holds one part that cannot be divided, such as the rules of sampling: all that a ConfigMap may hold.
const PART_LIMIT: usize = CONFIG_MAP_LIMIT - 4096;
/// Most files of one configuration.
pub const MOST_FILES: usize = 32;
/// Bytes from which on a component does not stay in the first file, and what one owner has is told apart.
const LARGE: usize = 16 * 1024;
/// Bytes from which on the entries of one owner are placed one by one.
const LARGE_OWNER: usize = FILE_LIMIT / 8;

/// The files of a configuration; the first one holds what belongs to no stream and no Destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFiles {
    texts: Vec<String>,
    /// SHA-256 of each.
    digests: Vec<String>,
    problem: Option<String>,
}

impl ConfigFiles {
    /// Makes files of a configuration. One that does not fit into one file is changed where its routing tables are too long.
    ///
    /// `owner_of` names the stream or Destination that a component or pipeline belongs to, by section and id: what has one owner stays
    /// together, and a change of it changes one file.
    #[must_use]
    pub fn of(config: &mut CollectorConfig, mut owner_of: impl FnMut(&str, &str) -> Option<String>) -> Self {
        let text = config.to_yaml();
        if text.len() <= FILE_LIMIT {
            return Self::new(vec![File { text, parts: Vec::new() }]);
        }
        cascade::apply(config);
        Self::new(split(config, &mut owner_of))
    }

    fn new(files: Vec<File>) -> Self {
        let problem = problem(&files);
        let texts: Vec<String> = files.into_iter().map(|file| file.text).collect();
        let digests = texts.iter().map(|text| hash(text, 64)).collect();
        Self { texts, digests, problem }
    }

    /// The texts, the first one first.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Whether they are more than a collector gets. Only then does it help to leave something out: a part that is too large belongs to no
    /// Destination.
    #[must_use]
    pub fn are_too_many(&self) -> bool {
        self.texts.len() > MOST_FILES
    }

    /// Why they cannot be stored.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }
}

/// A file before it is stored.
#[derive(Debug)]
struct File {
    text: String,
    /// The components and pipelines in it, by section and id.
    parts: Vec<String>,
}

impl File {
    fn new(entries: &[Entry]) -> Self {
        let parts = entries.iter().map(|entry| entry.path.join(" ")).collect();
        Self { text: yaml::to_string(&nested(entries)), parts }
    }
}

fn problem(files: &[File]) -> Option<String> {
    let kib = |bytes: usize| bytes / 1024;
    if files.len() > MOST_FILES {
        let size: usize = files.iter().map(|file| file.text.len()).sum();
        return Some(format!(
            "the rendered configuration has {} KiB in {} files, and a collector gets {MOST_FILES} files of {} KiB; use fewer data streams or Destinations, or pools of gateways",
            kib(size),
            files.len(),
            kib(FILE_LIMIT)
        ));
    }
    let largest = files.iter().max_by_key(|file| file.text.len()).filter(|file| file.text.len() > PART_LIMIT)?;
    let size = kib(largest.text.len());
    Some(match largest.parts.as_slice() {
        [part] => format!(
            "{part} of the rendered configuration cannot be divided and has {size} KiB, and one ConfigMap holds {} KiB; {}",
            kib(PART_LIMIT),
            remedy(part)
        ),
        _ => format!(
            "what belongs to no data stream or Destination has {size} KiB in the rendered configuration, and one ConfigMap holds {} KiB; use fewer data streams",
            kib(PART_LIMIT)
        ),
    })
}

/// What to do about a part that is too large, by what people write that makes it so.
fn remedy(part: &str) -> &'static str {
    let id = part.rsplit(' ').next().unwrap_or_default();
    match id.split('/').next().unwrap_or_default() {
        "tail_sampling" => "Samplings and health probes make it: use fewer rules, or scope them by namespace",
        "routing" => "data streams and pools make it: use fewer of them",
        _ => "the object in its name makes it: use fewer or shorter settings",
    }
}

/// A component or pipeline with the place that it has in the configuration.
#[derive(Debug)]
struct Entry {
    /// Keys that lead to it.
    path: Vec<String>,
    value: Value,
    size: usize,
}

impl Entry {
    fn new(path: Vec<String>, value: Value) -> Self {
        let mut entry = Self { path, value, size: 0 };
        entry.size = yaml::to_string(&nested(std::slice::from_ref(&entry))).len();
        entry
    }
}

/// The entries as one tree.
fn nested(entries: &[Entry]) -> Value {
    let mut root = json!({});
    for entry in entries {
        let mut place = &mut root;
        for key in &entry.path {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            place = &mut place[key];
        }
        *place = entry.value.clone();
    }
    root
}

fn split(config: &CollectorConfig, owner_of: &mut impl FnMut(&str, &str) -> Option<String>) -> Vec<File> {
    let (mut first, mut whole) = (Vec::new(), Vec::new());
    let mut owned: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    let mut place = |section: &str, id: &str, entry: Entry| {
        let owner = owner_of(section, id).or_else(|| (entry.size > LARGE).then(|| format!("{section}/{id}")));
        match owner {
            Some(owner) => owned.entry(owner).or_default().push(entry),
            None => first.push(entry),
        }
    };
    let Value::Object(sections) = config.to_value() else { return Vec::new() };
    for (section, content) in sections {
        let Value::Object(content) = content else { continue };
        for (id, value) in content {
            match (section.as_str(), id.as_str(), value) {
                ("service", "pipelines", Value::Object(pipelines)) => {
                    for (pipeline, value) in pipelines {
                        let path = vec![section.clone(), id.clone(), pipeline.clone()];
                        place("pipelines", &pipeline, Entry::new(path, value));
                    }
                }
                // Lists and settings of the whole process stay together.
                ("service", _, value) => whole.push(Entry::new(vec![section.clone(), id], value)),
                (_, _, value) => place(&section, &id, Entry::new(vec![section.clone(), id.clone()], value)),
            }
        }
    }
    first.extend(whole);
    let groups = owned.into_iter().flat_map(|(owner, entries)| groups(owner, entries)).collect();
    let mut files = vec![File::new(&first)];
    divide(groups, 0, &mut files);
    files
}

/// What stays together in one file.
#[derive(Debug)]
struct Group {
    /// Digits of a hash of its name, which decide about its file.
    digits: String,
    entries: Vec<Entry>,
}

impl Group {
    fn new(name: &str, entries: Vec<Entry>) -> Self {
        Self { digits: hash(name, 64), entries }
    }

    fn size(&self) -> usize {
        self.entries.iter().map(|entry| entry.size).sum()
    }
}

fn groups(owner: String, entries: Vec<Entry>) -> Vec<Group> {
    if entries.iter().map(|entry| entry.size).sum::<usize>() <= LARGE_OWNER {
        return vec![Group::new(&owner, entries)];
    }
    entries.into_iter().map(|entry| Group::new(&entry.path.join("\u{0}"), vec![entry])).collect()
}

/// Puts groups into files by the digits of their hash: a file that becomes too large is divided, and no other one changes. So the same
/// groups make the same files whatever was there before, and another group changes one.
fn divide(groups: Vec<Group>, depth: usize, files: &mut Vec<File>) {
    let size: usize = groups.iter().map(Group::size).sum();
    if groups.is_empty() {
        return;
    }
    if size <= FILE_LIMIT || groups.len() == 1 || depth == 4 * 64 {
        let entries: Vec<Entry> = groups.into_iter().flat_map(|group| group.entries).collect();
        files.push(File::new(&entries));
        return;
    }
    let is_high = |group: &Group| {
        let digit = group.digits.chars().nth(depth / 4).and_then(|digit| digit.to_digit(16)).unwrap_or_default();
        digit >> (3 - depth % 4) & 1 == 1
    };
    let (high, low): (Vec<Group>, Vec<Group>) = groups.into_iter().partition(is_high);
    divide(low, depth + 1, files);
    divide(high, depth + 1, files);
}

/// The configuration that a collector makes of files: maps are merged, everything else is replaced by what comes later.
#[must_use]
pub fn merged(files: impl IntoIterator<Item = Value>) -> Value {
    let mut all = json!({});
    files.into_iter().for_each(|file| merge(&mut all, file));
    all
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use odigos_api::Signal;
    use odigos_pipeline::{ComponentKind, Pipeline};

    /// A configuration with `count` owners of a pipeline with an exporter each.
    fn config(count: usize, text: &str) -> CollectorConfig {
        let mut config = CollectorConfig::default();
        config.add(ComponentKind::Receiver, "otlp", json!({}));
        config.add(ComponentKind::Extension, "health_check", json!({}));
        config.started_extensions.insert("health_check".into());
        for number in 0..count {
            config.add(ComponentKind::Exporter, format!("debug/{number}"), json!({"text": text}));
            *config.pipeline(Signal::Traces, number.to_string()) = Pipeline {
                receivers: vec!["otlp".into()],
                processors: vec![],
                exporters: vec![format!("debug/{number}")],
            };
        }
        config
    }

    fn files(config: &mut CollectorConfig) -> ConfigFiles {
        ConfigFiles::of(config, |_, id| id.split_once('/').map(|(_, name)| name.to_owned()))
    }

    fn read(files: &ConfigFiles) -> Value {
        merged(files.texts().iter().map(|text| serde_yaml::from_str(text).unwrap()))
    }

    #[test]
    fn small_configuration_is_one_file_with_the_same_bytes() {
        let mut config = config(10, "x");
        let before = config.to_yaml();
        assert_eq!(files(&mut config).texts(), [before]);
    }

    #[test]
    fn large_configuration_is_split_and_merges_to_the_same() {
        let mut all = config(1_500, &"x".repeat(1_000));
        let whole = all.to_value();
        let split = files(&mut all);
        assert_eq!(split, files(&mut all), "the same input makes the same bytes");
        assert_eq!(split.problem(), None);
        assert!(split.texts().len() >= 4 && split.texts().iter().all(|text| text.len() <= FILE_LIMIT));
        assert_eq!(read(&split), whole);
        assert!(split.texts()[0].len() < 1_000, "{}", split.texts()[0]);
    }

    #[test]
    fn one_more_or_less_changes_one_file() {
        let before = files(&mut config(1_500, &"x".repeat(1_000)));
        let after = files(&mut config(1_501, &"x".repeat(1_000)));
        let changed = after.texts().iter().filter(|text| !before.texts().contains(text)).count();
        assert!((1..=2).contains(&changed), "{changed} of {}", after.texts().len());
    }

    #[test]
    fn what_cannot_be_divided_or_has_too_many_files_is_a_problem() {
        let alone = files(&mut config(1, &"x".repeat(FILE_LIMIT)));
        assert_eq!((alone.problem(), alone.are_too_many()), (None, false), "it fits into a ConfigMap of its own");
        let large = files(&mut config(1, &"x".repeat(CONFIG_MAP_LIMIT)));
        let said = large.problem().unwrap();
        assert!(said.starts_with("exporters debug/0 of ") && said.contains("cannot be divided"), "{said}");
        assert!(remedy("processors tail_sampling/a").starts_with("Samplings"));
        let many = files(&mut config(200, &"x".repeat(100 * 1024)));
        assert!(many.problem().is_some_and(|text| text.contains("32 files")), "{:?}", many.problem());
    }

    #[test]
    fn maps_are_merged_and_lists_replaced() {
        let files = [json!({"a": {"x": 1, "l": [1, 2]}}), json!({"a": {"y": 2, "l": [3]}, "b": null})];
        assert_eq!(merged(files), json!({"a": {"x": 1, "y": 2, "l": [3]}, "b": null}));
    }
}
