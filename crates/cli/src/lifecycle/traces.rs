//! What the product leaves on objects of others: labels, annotations, taints, finalizers. Found and taken away by prefix.

use super::cluster::{Cluster, Reference, Where, text};
use super::{MADE_NAMESPACE, PREFIX, user};
use futures::{StreamExt, TryStreamExt};
use odigos_api::API_VERSION;
use serde_json::{Map, Value, json};

/// Writes at a time: pods are many.
const AT_ONCE: usize = 16;
/// Kinds of others that may carry something of ours.
const KINDS: [(&str, &str); 8] = [
    ("v1", "Namespace"),
    ("v1", "Node"),
    ("v1", "Pod"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "CronJob"),
    ("argoproj.io/v1alpha1", "Rollout"),
];

/// The change that takes our labels and annotations away; none when there are none.
fn change(object: &Value) -> Option<Value> {
    let mut metadata = Map::new();
    for part in ["labels", "annotations"] {
        let keys = object.pointer(&format!("/metadata/{part}")).and_then(Value::as_object).into_iter().flatten();
        // That the installer made a namespace is needed until the namespace goes.
        let ours: Map<String, Value> = keys
            .filter(|(key, _)| key.starts_with(PREFIX) && *key != MADE_NAMESPACE)
            .map(|(key, _)| (key.clone(), Value::Null))
            .collect();
        if !ours.is_empty() {
            metadata.insert(part.into(), Value::Object(ours));
        }
    }
    (!metadata.is_empty()).then(|| json!({"metadata": metadata}))
}

/// Objects outside `namespace` that carry labels or annotations of ours.
pub(super) async fn marked(cluster: &Cluster, namespace: &str) -> anyhow::Result<Vec<(Reference, Value)>> {
    let mut found = Vec::new();
    for (api_version, kind) in KINDS {
        for object in cluster.list_metadata(api_version, kind, Where::default()).await? {
            // What stands in the control plane's own namespace goes or stays as a whole.
            let is_own = text(&object, "/metadata/namespace") == namespace;
            if let Some(change) = change(&object).filter(|_| !is_own) {
                found.push((Reference::of(&object), change));
            }
        }
    }
    Ok(found)
}

/// Takes labels and annotations away; returns how many objects were changed.
pub(super) async fn unmark(cluster: &Cluster, namespace: &str) -> anyhow::Result<usize> {
    let found = marked(cluster, namespace).await?;
    let done: Vec<bool> = futures::stream::iter(found)
        .map(|(reference, change)| async move { cluster.merge(&reference, &change).await })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(done.into_iter().filter(|done| *done).count())
}

/// Nodes with taints of ours.
pub(super) async fn tainted(cluster: &Cluster) -> anyhow::Result<Vec<Value>> {
    let mut nodes = cluster.list("v1", "Node", Where::default()).await?;
    nodes.retain(|node| taints(node).any(|taint| text(taint, "/key").starts_with(PREFIX)));
    Ok(nodes)
}

fn taints(node: &Value) -> impl Iterator<Item = &Value> {
    node.pointer("/spec/taints").and_then(Value::as_array).into_iter().flatten()
}

/// Takes taints of ours away.
pub(super) async fn untaint(cluster: &Cluster) -> anyhow::Result<usize> {
    let mut done = 0;
    for node in tainted(cluster).await? {
        let kept: Vec<&Value> = taints(&node).filter(|taint| !text(taint, "/key").starts_with(PREFIX)).collect();
        // The version keeps a taint that somebody adds at the same moment.
        let version = text(&node, "/metadata/resourceVersion");
        let change = json!({"metadata": {"resourceVersion": version}, "spec": {"taints": kept}});
        done += usize::from(cluster.merge(&Reference::of(&node), &change).await?);
    }
    Ok(done)
}

/// Objects of our kinds that a finalizer of ours holds.
pub(super) async fn held(cluster: &Cluster) -> anyhow::Result<Vec<Value>> {
    let mut found = Vec::new();
    for kind in user::kinds() {
        found.extend(cluster.list_metadata(API_VERSION, kind, Where::default()).await?);
    }
    found.retain(|object| finalizers(object).any(|one| one.starts_with(PREFIX)));
    Ok(found)
}

fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    object.pointer("/metadata/finalizers").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// Takes finalizers of ours away, and no one else's; for when no controller is left to do it.
pub(super) async fn release(cluster: &Cluster) -> anyhow::Result<usize> {
    let found = held(cluster).await?;
    let done: Vec<bool> = futures::stream::iter(found)
        .map(|object| async move {
            let kept: Vec<&str> = finalizers(&object).filter(|one| !one.starts_with(PREFIX)).collect();
            let version = text(&object, "/metadata/resourceVersion");
            let change = json!({"metadata": {"finalizers": kept, "resourceVersion": version}});
            cluster.merge(&Reference::of(&object), &change).await
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(done.into_iter().filter(|done| *done).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_ours_is_taken_away() {
        let pod = json!({"metadata": {
            "labels": {"app": "x", "odigos.io/stream-class": "default"},
            "annotations": {MADE_NAMESPACE: "true", "note": "kept"},
        }});
        assert_eq!(change(&pod), Some(json!({"metadata": {"labels": {"odigos.io/stream-class": null}}})));
        assert_eq!(change(&json!({"metadata": {"labels": {"app": "x"}}})), None);
    }
}
