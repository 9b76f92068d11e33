//! What an installation or an upgrade would change, before anything changes.
//!
//! Owns differences of objects (asked of the API server, which applies without storing) and of values. Never writes.

use super::cluster::{Cluster, Reference, text};
use super::record::Record;
use crate::plan::difference;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// A value that is not what it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Changed {
    /// Path such as `controllers.replicas`.
    pub(super) path: String,
    /// Before; null when there was none.
    pub(super) from: Value,
    /// After; null when there is none.
    pub(super) to: Value,
    /// `set` by the user, `default` changed, or `removed` from the chart.
    pub(super) why: &'static str,
}

/// An object that changes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Difference {
    /// Which.
    pub(super) object: String,
    /// Lines with `-` and `+`.
    pub(super) difference: String,
}

/// Everything that would change.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Planned {
    /// Values that keep what is in use where a default became stricter.
    pub(super) restored: Vec<String>,
    /// Objects that were stored without effect and have one from now on.
    pub(super) begins: Vec<String>,
    /// Values that differ from the last installation.
    pub(super) values: Vec<Changed>,
    /// Objects that come.
    pub(super) created: Vec<String>,
    /// Objects that change.
    pub(super) changed: Vec<Difference>,
    /// Objects that go.
    pub(super) removed: Vec<String>,
    /// What is restarted; never an application.
    pub(super) restarts: Vec<String>,
    /// Secrets that are marked for the Destinations that read them.
    pub(super) marked: Vec<String>,
}

impl Planned {
    /// Whether nothing would change.
    pub(super) fn is_empty(&self) -> bool {
        let lists = [&self.restored, &self.begins, &self.marked];
        self.created.is_empty()
            && self.changed.is_empty()
            && self.removed.is_empty()
            && lists.iter().all(|lines| lines.is_empty())
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        for line in &self.restored {
            out.push_str(&format!("keeps {line}\n"));
        }
        for line in &self.begins {
            out.push_str(&format!("begins {line}\n"));
        }
        for Changed { path, from, to, why } in &self.values {
            out.push_str(&format!("value {path}: {} -> {} ({why})\n", shown(from), shown(to)));
        }
        for title in &self.created {
            out.push_str(&format!("+ {title}\n"));
        }
        for Difference { object, difference } in &self.changed {
            out.push_str(&format!("~ {object}\n{difference}"));
        }
        for title in &self.removed {
            out.push_str(&format!("- {title}\n"));
        }
        for title in &self.restarts {
            out.push_str(&format!("! restarts {title}\n"));
        }
        for line in &self.marked {
            out.push_str(&format!("~ {line}\n"));
        }
        let (created, changed, removed) = (self.created.len(), self.changed.len(), self.removed.len());
        out.push_str(&format!(
            "{created} to create, {changed} to change, {removed} to delete; no application is restarted\n"
        ));
        out
    }
}

fn shown(value: &Value) -> String {
    if value.is_null() { "(none)".into() } else { value.to_string() }
}

/// Compares what would be applied with the cluster.
pub(super) async fn objects(
    cluster: &Cluster,
    objects: &[Value],
    removed: &BTreeSet<Reference>,
    namespace: &str,
) -> anyhow::Result<Planned> {
    let mut planned = Planned::default();
    let home = Reference::new("v1", "Namespace", "", namespace);
    let has_home = cluster.get(&home).await?.is_some();
    if !has_home {
        planned.created.push(home.to_string());
    }
    for desired in objects {
        let reference = Reference::of(desired);
        let title = reference.to_string();
        let live = if has_home || reference.namespace.is_empty() { cluster.get(&reference).await? } else { None };
        let Some(live) = live else {
            planned.created.push(title);
            continue;
        };
        let after = owned(&cluster.apply(desired, true).await?);
        let before = owned(&live);
        if before == after {
            continue;
        }
        if before.pointer("/spec/template") != after.pointer("/spec/template") {
            planned.restarts.push(format!("pods of {title}"));
        }
        let difference = difference(&after, &before).unwrap_or_else(|| "    fields are given up\n".into());
        planned.changed.push(Difference { object: title, difference });
    }
    for reference in removed {
        if cluster.get(reference).await?.is_some() {
            planned.removed.push(reference.to_string());
        }
    }
    Ok(planned)
}

/// An object without what every write changes.
fn owned(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in ["managedFields", "resourceVersion", "generation", "creationTimestamp", "uid"] {
            metadata.remove(key);
        }
    }
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    object
}

/// Compares the values of the last installation with those of the next.
pub(super) fn values(
    record: Option<&Record>,
    given: &Value,
    defaults: &Value,
    dropped: &BTreeSet<String>,
) -> Vec<Changed> {
    let Some(record) = record else { return Vec::new() };
    let (old_given, new_given) = (odigos_chart::leaves(&record.values), odigos_chart::leaves(given));
    let (old_defaults, new_defaults) = (odigos_chart::leaves(&record.defaults), odigos_chart::leaves(defaults));
    let paths: BTreeSet<&String> =
        [&old_given, &new_given, &old_defaults, &new_defaults].into_iter().flat_map(|one| one.keys()).collect();
    let mut changed = Vec::new();
    for path in paths {
        let either = |first: Option<&Value>, second: Option<&Value>| first.or(second).cloned().unwrap_or(Value::Null);
        let from = either(old_given.get(path), old_defaults.get(path));
        let to = either(new_given.get(path), new_defaults.get(path));
        let is_dropped = dropped.iter().any(|one| path == one || path.starts_with(&format!("{one}.")));
        let gone = is_dropped
            || !new_defaults.contains_key(path) && old_defaults.contains_key(path) && !new_given.contains_key(path);
        if from == to {
            continue;
        }
        let why = match () {
            () if gone => "removed",
            () if old_given.get(path) != new_given.get(path) => "set",
            () => "default",
        };
        changed.push(Changed { path: path.clone(), from, to, why });
    }
    changed
}

/// References of what was applied and is not any more. Kinds are never removed, and with them no object of a user.
pub(super) fn removed(record: Option<&Record>, objects: &[Value]) -> BTreeSet<Reference> {
    let next: BTreeSet<Reference> = objects.iter().map(Reference::of).collect();
    let before = record.map(|record| record.objects.clone()).unwrap_or_default();
    // A new version of an object's kind is the same object.
    let same = |one: &Reference, other: &Reference| {
        one.group() == other.group()
            && one.kind == other.kind
            && one.namespace == other.namespace
            && one.name == other.name
    };
    before
        .into_iter()
        .filter(|one| one.kind != "CustomResourceDefinition" && !next.iter().any(|other| same(one, other)))
        .collect()
}

/// Whether two renderings of an object are the same to the API server.
pub(super) fn unchanged(before: Option<&Value>, after: &Value) -> bool {
    before.is_some_and(|before| text(before, "/metadata/resourceVersion") == text(after, "/metadata/resourceVersion"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::record::Phase;
    use serde_json::json;

    #[test]
    fn values_tell_what_the_user_set_from_what_the_chart_changed() {
        let record = Record {
            version: "1".into(),
            phase: Phase::Installed,
            values: json!({"a": {"kept": 1}, "old": {"x": 1}}),
            defaults: json!({"a": {"kept": 0, "free": "x"}, "old": {"x": 0}, "gone": true}),
            objects: BTreeSet::new(),
            seen_defaults: BTreeSet::new(),
        };
        let given = json!({"a": {"kept": 1}, "new": 5});
        let defaults = json!({"a": {"kept": 7, "free": "y"}, "new": 4});
        let changed = values(Some(&record), &given, &defaults, &["old".to_owned()].into());
        let lines: Vec<String> = changed.iter().map(|one| format!("{} {}", one.path, one.why)).collect();
        // A changed default below a value of the user changes nothing.
        assert_eq!(lines, ["a.free default", "gone removed", "new set", "old.x removed"]);
        assert!(values(None, &given, &defaults, &BTreeSet::new()).is_empty());
    }

    #[test]
    fn kinds_are_never_removed() {
        let reference = |kind: &str, name: &str| Reference::new("v1", kind, "", name);
        let record = Record {
            version: "1".into(),
            phase: Phase::Installed,
            values: json!({}),
            defaults: json!({}),
            objects: [
                reference("CustomResourceDefinition", "a"),
                reference("ClusterRole", "b"),
                reference("ClusterRole", "c"),
            ]
            .into(),
            seen_defaults: BTreeSet::new(),
        };
        let next = [json!({"apiVersion": "v1", "kind": "ClusterRole", "metadata": {"name": "c"}})];
        assert_eq!(removed(Some(&record), &next), [reference("ClusterRole", "b")].into());
    }
}
