//! Objects of users: counted, exported, and Sources that uninstalling disables and gives back as they were.

use super::cluster::{Cluster, Reference, Where, text};
use super::{DISABLED_BY_UNINSTALL, PREFIX};
use anyhow::Context;
use odigos_api::{API_VERSION, labels};
use odigos_pipeline::yaml;
use serde_json::{Value, json};
use std::path::Path;

/// Kinds that users write.
const KINDS: [&str; 7] =
    ["Source", "Destination", "DataStream", "Sampling", "Action", "InstrumentationRule", "Processor"];
/// Kinds that controllers derive.
pub(super) const DERIVED: [&str; 3] = ["InstrumentationConfig", "InstrumentationInstance", "CollectorsGroup"];

/// Whether a controller made this object of a kind that users write too.
pub(super) fn is_derived(object: &Value) -> bool {
    let own = object.pointer("/metadata/labels").and_then(|labels| labels.get(labels::IMPLICIT_STREAM));
    text(object, "/kind") == "DataStream" && own.is_some()
}

/// Every kind of the product.
pub(super) fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.into_iter().chain(DERIVED)
}

/// Every object that a user wrote.
pub(super) async fn objects(cluster: &Cluster) -> anyhow::Result<Vec<Value>> {
    let mut found = Vec::new();
    for kind in KINDS {
        found.extend(cluster.list(API_VERSION, kind, Where::default()).await?);
    }
    found.retain(|object| !is_derived(object));
    Ok(found)
}

/// Disables a Source and remembers what it said; false when there is nothing to do.
pub(super) async fn disable(cluster: &Cluster, source: &Value) -> anyhow::Result<bool> {
    let before = source.pointer("/spec/disableInstrumentation").and_then(Value::as_bool);
    if before == Some(true) {
        return Ok(false);
    }
    // Both in one write: an interrupted command leaves either nothing or what can be given back.
    let said = if before.is_some() { "false" } else { "absent" };
    let change = json!({
        "metadata": {"annotations": {DISABLED_BY_UNINSTALL: said}},
        "spec": {"disableInstrumentation": true},
    });
    cluster.merge(&Reference::of(source), &change).await
}

/// Gives every Source that [`disable`] changed back as it was.
pub(super) async fn give_back(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let mut given = Vec::new();
    for source in cluster.list(API_VERSION, "Source", Where::default()).await? {
        let Some(before) = marked(&source) else { continue };
        let change = json!({
            "metadata": {"annotations": {DISABLED_BY_UNINSTALL: null}},
            "spec": {"disableInstrumentation": before},
        });
        if cluster.merge(&Reference::of(&source), &change).await? {
            given.push(Reference::of(&source).to_string());
        }
    }
    Ok(given)
}

/// What `disableInstrumentation` was before uninstalling.
fn marked(source: &Value) -> Option<Value> {
    let annotations = source.pointer("/metadata/annotations")?;
    match annotations.get(DISABLED_BY_UNINSTALL)?.as_str()? {
        "false" => Some(json!(false)),
        _ => Some(Value::Null),
    }
}

/// Every user object as YAML that can be applied again: no status, nothing that the API server adds. Secrets stay where
/// they are; Destinations name them.
pub(super) fn exported(objects: &[Value]) -> String {
    let mut out = String::new();
    for object in objects {
        let mut object = object.clone();
        let before = marked(&object);
        if let (Some(before), Some(spec)) = (before, object.get_mut("spec").and_then(Value::as_object_mut)) {
            spec.remove("disableInstrumentation");
            if !before.is_null() {
                spec.insert("disableInstrumentation".into(), before);
            }
        }
        if let Some(map) = object.as_object_mut() {
            map.remove("status");
        }
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata
                .retain(|key, _| ["name", "namespace", "labels", "annotations", "finalizers"].contains(&key.as_str()));
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove(DISABLED_BY_UNINSTALL);
                annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
            }
            if let Some(finalizers) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
                finalizers.retain(|one| !one.as_str().is_some_and(|one| one.starts_with(PREFIX)));
            }
            metadata.retain(|_, value| !matches!(value, Value::Object(map) if map.is_empty()) && *value != json!([]));
        }
        out.push_str("---\n");
        out.push_str(&yaml::to_string(&object));
    }
    out
}

/// Writes the export, whole or not at all; false when the file exists, which is never written over.
pub(super) fn export(path: &Path, text: &str) -> anyhow::Result<bool> {
    let shown = path.display();
    if path.exists() {
        return Ok(false);
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    std::fs::write(&partial, text).with_context(|| format!("{shown} cannot be written"))?;
    std::fs::rename(&partial, path).with_context(|| format!("{shown} cannot be written"))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_can_be_applied_again() {
        let source = json!({
            "apiVersion": API_VERSION, "kind": "Source",
            "metadata": {
                "name": "a", "namespace": "b", "uid": "u", "resourceVersion": "1", "managedFields": [],
                "annotations": {DISABLED_BY_UNINSTALL: "absent"}, "finalizers": [labels::SOURCE_FINALIZER],
            },
            "spec": {"workload": {"name": "w"}, "disableInstrumentation": true}, "status": {"x": 1},
        });
        let text = exported(std::slice::from_ref(&source));
        let read: Value = serde_yaml::from_str(text.trim_start_matches("---\n")).unwrap();
        let expected = json!({
            "apiVersion": API_VERSION, "kind": "Source", "metadata": {"name": "a", "namespace": "b"},
            "spec": {"workload": {"name": "w"}},
        });
        assert_eq!(read, expected);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("all.yaml");
        assert!(export(&file, &text).unwrap());
        assert!(!export(&file, "other").unwrap());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
}
