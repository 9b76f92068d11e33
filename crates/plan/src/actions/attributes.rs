//! Attributes that are added, deleted and renamed (`spec/actions-and-rules.md` 2.1–2.3): compiled and evaluated.
//!
//! Deleting and renaming concern every level of an item: resource, scope, the item itself, and events of spans. Renaming is
//! simultaneous, so that it does not depend on the order of a map.

use super::item::{Item, Value};
use super::limits::{check_name, check_names, check_text};
use super::problem::Problem;
use super::transform::{Added, Context, Group, Settings, attribute, cache, delete, is_there, set};
use crate::objects::OBJECT_LIMIT;
use odigos_api::Signal;
use odigos_api::action_kinds::{AddClusterInfo, DeleteAttribute, RenameAttribute};
use std::collections::{BTreeMap, BTreeSet};

/// What settings take beside their statements, in bytes.
const ROOM: usize = 2048;

/// The same groups for every context of each signal.
fn everywhere(signals: &[Signal], statements: impl Fn() -> Vec<odigos_pipeline::ottl::Statement>) -> Settings {
    let groups =
        |signal: Signal| Context::of(signal).iter().map(|context| Group::always(*context, statements())).collect();
    Settings::Transform(signals.iter().map(|signal| (*signal, groups(*signal))).collect())
}

/// Reports names that stand twice.
fn check_twice<'a>(names: impl Iterator<Item = (String, &'a str)>, problems: &mut Vec<Problem>) {
    let mut seen = BTreeSet::new();
    for (field, name) in names {
        if !seen.insert(name) {
            problems.push(Problem::new(field, format!("{name:?} stands twice; remove one of them")));
        }
    }
}

/// The settings that add attributes to resources.
pub(super) fn add(kind: &AddClusterInfo, problems: &mut Vec<Problem>) -> Settings {
    const FIELD: &str = "spec.addClusterInfo.clusterAttributes";
    let field = |position: usize, name: &str| format!("{FIELD}[{position}].{name}");
    if kind.cluster_attributes.is_empty() {
        problems.push(Problem::new(FIELD, "it adds nothing; name at least one attribute"));
    }
    check_names(kind.cluster_attributes.len(), FIELD, problems);
    let all = || kind.cluster_attributes.iter().enumerate();
    for (position, one) in all() {
        check_name(&one.attribute_name, || field(position, "attributeName"), problems);
        let value = one.attribute_string_value.as_deref().unwrap_or_default();
        check_text(value, || field(position, "attributeStringValue"), problems);
        if one.attribute_string_value.is_none() {
            let message = "it has no value; write one, which may be empty";
            problems.push(Problem::new(field(position, "attributeStringValue"), message));
        }
    }
    check_twice(all().map(|(position, one)| (field(position, "attributeName"), one.attribute_name.as_str())), problems);
    let replaces = kind.overwrite_existing_values == Some(true);
    let added = |one: &odigos_api::action_kinds::ClusterAttribute| Added {
        key: one.attribute_name.clone(),
        value: one.attribute_string_value.clone().unwrap_or_default(),
        replaces,
    };
    Settings::Resource(kind.cluster_attributes.iter().map(added).collect())
}

/// What an item is afterwards.
pub(super) fn added(kind: &AddClusterInfo, item: &mut Item) {
    let replaces = kind.overwrite_existing_values == Some(true);
    for one in &kind.cluster_attributes {
        let value = Value::Text(one.attribute_string_value.clone().unwrap_or_default());
        if replaces {
            item.resource.insert(one.attribute_name.clone(), value);
        } else {
            item.resource.entry(one.attribute_name.clone()).or_insert(value);
        }
    }
}

/// The names that are deleted, each once: a name that cannot be is reported, and the others are deleted all the same, since whoever lists
/// names wants none of them exported. Where they are too many together, those that fit are deleted.
fn names_to_delete<'a>(kind: &'a DeleteAttribute, signals: &[Signal], problems: &mut Vec<Problem>) -> Vec<&'a str> {
    const FIELD: &str = "spec.deleteAttribute.attributeNamesToDelete";
    let names = &kind.attribute_names_to_delete;
    let contexts: usize = signals.iter().map(|signal| Context::of(*signal).len()).sum();
    let (mut seen, mut taken, mut size) = (BTreeSet::new(), Vec::new(), ROOM);
    let mut left_out = 0;
    for (position, name) in names.iter().enumerate() {
        let (before, field) = (problems.len(), || format!("{FIELD}[{position}]"));
        check_name(name, field, problems);
        if !seen.insert(name.as_str()) {
            problems.push(Problem::new(field(), format!("{name:?} stands twice; remove one of them")));
        }
        if problems.len() > before {
            continue;
        }
        size += contexts * (serde_json::Value::from(delete(name).to_string()).to_string().len() + 1);
        if size > OBJECT_LIMIT {
            left_out += 1;
            continue;
        }
        taken.push(name.as_str());
    }
    if left_out > 0 {
        let message = format!(
            "the first {} of {} names are deleted: all of them take more than the {} KiB that one object may add to the configuration; write several Actions",
            taken.len(),
            names.len(),
            OBJECT_LIMIT / 1024
        );
        problems.push(Problem::new(FIELD, message));
    }
    taken
}

/// The settings that delete attributes.
pub(super) fn removal(kind: &DeleteAttribute, signals: &[Signal], problems: &mut Vec<Problem>) -> Option<Settings> {
    const FIELD: &str = "spec.deleteAttribute.attributeNamesToDelete";
    if kind.attribute_names_to_delete.is_empty() {
        problems.push(Problem::new(FIELD, "it deletes nothing; name at least one attribute"));
    }
    let names = names_to_delete(kind, signals, problems);
    (!names.is_empty()).then(|| everywhere(signals, || names.iter().map(|name| delete(name)).collect()))
}

/// What an item is afterwards.
pub(super) fn removed(kind: &DeleteAttribute, signals: &[Signal], item: &mut Item) {
    let names = names_to_delete(kind, signals, &mut Vec::new());
    for level in item.levels() {
        names.iter().for_each(|name| drop(level.remove(*name)));
    }
}

/// The renames that change something, in the order of the old names.
fn renames(kind: &RenameAttribute) -> impl Iterator<Item = (&String, &String)> {
    kind.renames.iter().filter(|(old, new)| old != new)
}

/// The settings that rename attributes: what is there is remembered, then deleted, then written, so that chains and circles come out
/// as if all happened at once. Of two olds with one new the greater name wins, since it is written last.
pub(super) fn renaming(kind: &RenameAttribute, signals: &[Signal], problems: &mut Vec<Problem>) -> Settings {
    const FIELD: &str = "spec.renameAttribute.renames";
    if kind.renames.is_empty() {
        problems.push(Problem::new(FIELD, "it renames nothing; write at least one pair of names"));
    }
    check_names(kind.renames.len(), FIELD, problems);
    for (old, new) in &kind.renames {
        check_name(old, || format!("{FIELD}[{old:?}]"), problems);
        check_name(new, || format!("{FIELD}[{old:?}]"), problems);
    }
    if !kind.renames.is_empty() && renames(kind).next().is_none() {
        problems.push(Problem::new(FIELD, "every attribute is renamed to its own name, which changes nothing"));
    }
    everywhere(signals, || {
        let all: Vec<(String, &String, &String)> =
            renames(kind).enumerate().map(|(number, (old, new))| (number.to_string(), old, new)).collect();
        let remember =
            all.iter().map(|(number, old, _)| set(cache(number), attribute(old), Some(is_there(attribute(old)))));
        let write =
            all.iter().map(|(number, _, new)| set(attribute(new), cache(number), Some(is_there(cache(number)))));
        remember.chain(all.iter().map(|(_, old, _)| delete(old))).chain(write).collect()
    })
}

/// What an item is afterwards.
pub(super) fn renamed(kind: &RenameAttribute, item: &mut Item) {
    for level in item.levels() {
        let values: BTreeMap<&String, Value> =
            renames(kind).filter_map(|(old, new)| Some((new, level.get(old)?.clone()))).collect();
        renames(kind).for_each(|(old, _)| drop(level.remove(old)));
        level.extend(values.into_iter().map(|(new, value)| (new.clone(), value)));
    }
}
