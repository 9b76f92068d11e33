//! Attributes that are added, deleted and renamed (`spec/actions-and-rules.md` 2.1–2.3): compiled and evaluated.
//!
//! Deleting and renaming concern every level of an item: resource, scope, the item itself, and events of spans. Renaming is
//! simultaneous, so that it does not depend on the order of a map.

use super::item::{Item, Value};
use super::limits::{check_count, check_name, check_text};
use super::problem::Problem;
use super::transform::{Added, Context, Group, Settings, attribute, cache, delete, is_there, set};
use odigos_api::Signal;
use odigos_api::action_kinds::{AddClusterInfo, DeleteAttribute, RenameAttribute};
use std::collections::{BTreeMap, BTreeSet};

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
    check_count(kind.cluster_attributes.len(), FIELD, problems);
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

/// The settings that delete attributes.
pub(super) fn removal(kind: &DeleteAttribute, signals: &[Signal], problems: &mut Vec<Problem>) -> Settings {
    const FIELD: &str = "spec.deleteAttribute.attributeNamesToDelete";
    let names = &kind.attribute_names_to_delete;
    if names.is_empty() {
        problems.push(Problem::new(FIELD, "it deletes nothing; name at least one attribute"));
    }
    check_count(names.len(), FIELD, problems);
    for (position, name) in names.iter().enumerate() {
        check_name(name, || format!("{FIELD}[{position}]"), problems);
    }
    let positions = names.iter().enumerate().map(|(position, name)| (format!("{FIELD}[{position}]"), name.as_str()));
    check_twice(positions, problems);
    everywhere(signals, || names.iter().map(|name| delete(name)).collect())
}

/// What an item is afterwards.
pub(super) fn removed(kind: &DeleteAttribute, item: &mut Item) {
    for level in item.levels() {
        kind.attribute_names_to_delete.iter().for_each(|name| drop(level.remove(name)));
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
    check_count(kind.renames.len(), FIELD, problems);
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
