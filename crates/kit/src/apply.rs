//! Writing objects: server-side apply with the binary's own field manager, and nothing when nothing would change.

use crate::metrics::Metrics;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;

/// Writes with one field manager.
#[derive(Clone)]
pub struct Applier {
    client: Client,
    manager: &'static str,
    metrics: Metrics,
}

impl std::fmt::Debug for Applier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Applier").field("manager", &self.manager).finish_non_exhaustive()
    }
}

/// A write that failed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The object lacks apiVersion, kind or a name; a defect of a planner.
    #[error("the object to be written lacks apiVersion, kind or metadata.name")]
    Incomplete,
    /// What a status depends on cannot be read.
    #[error("failed to read {kind} {name}: {source}")]
    Read {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
    /// The API server refused or could not be reached.
    #[error("{kind} {name} cannot be written: {source}")]
    Api {
        /// Kind of the object.
        kind: String,
        /// Its namespace and name.
        name: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
}

impl ApplyError {
    /// Whether the object has gone meanwhile.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.is_refused_with(404)
    }

    /// Whether somebody else has written the object since it was read.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.is_refused_with(409)
    }

    fn is_refused_with(&self, code: u16) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(source.as_ref(), kube::Error::Api(status) if status.code == code))
    }
}

/// What came of [`Applier::change_status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusChange {
    /// Something was written.
    Written,
    /// Everything stood there already.
    Unchanged,
    /// There is no such object (yet, or any more).
    NoObject,
}

/// How often a status is read again when others write it at the same time: as many as nodes on which pods of one workload become
/// ready at once.
const CONFLICTS: u32 = 8;

struct Target {
    kind: String,
    name: String,
    namespace: String,
    api: Api<DynamicObject>,
}

impl Applier {
    /// An applier with the binary's name as field manager.
    #[must_use]
    pub fn new(client: Client, manager: &'static str, metrics: Metrics) -> Self {
        Self { client, manager, metrics }
    }

    fn target(&self, object: &Value) -> Result<Target, ApplyError> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
        if api_version.is_empty() || kind.is_empty() || name.is_empty() {
            return Err(ApplyError::Incomplete);
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
        let namespace = text("/metadata/namespace");
        let api = match namespace.as_str() {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        };
        Ok(Target { kind, name, namespace, api })
    }

    fn failed(&self, target: &Target, source: kube::Error) -> ApplyError {
        let conflict = matches!(&source, kube::Error::Api(status) if status.code == 409);
        self.metrics.wrote(&target.kind, if conflict { "conflict" } else { "error" });
        ApplyError::Api {
            kind: target.kind.clone(),
            name: format!("{}/{}", target.namespace, target.name),
            source: Box::new(source),
        }
    }

    /// Applies an object; returns it as the API server has it. Only fields that the object states are ours.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn apply(&self, object: &Value) -> Result<DynamicObject, ApplyError> {
        let target = self.target(object)?;
        let parameters = PatchParams::apply(self.manager).force();
        match target.api.patch(&target.name, &parameters, &Patch::Apply(object)).await {
            Ok(applied) => {
                self.metrics.wrote(&target.kind, "applied");
                Ok(applied)
            }
            Err(error) => Err(self.failed(&target, error)),
        }
    }

    /// Applies an object unless `live` already says the same in every field that `object` states.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn apply_unless_covered(&self, object: &Value, live: Option<&Value>) -> Result<bool, ApplyError> {
        if live.is_some_and(|live| covered(object, live)) {
            return Ok(false);
        }
        self.apply(object).await.map(|_| true)
    }

    /// Applies a status; `object` holds apiVersion, kind, metadata and status.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn apply_status(&self, object: &Value) -> Result<(), ApplyError> {
        self.applied_status(object).await.map(drop)
    }

    /// The same; returns the object as the API server has it.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn applied_status(&self, object: &Value) -> Result<DynamicObject, ApplyError> {
        let target = self.target(object)?;
        let parameters = PatchParams::apply(self.manager).force();
        match target.api.patch_status(&target.name, &parameters, &Patch::Apply(object)).await {
            Ok(applied) => {
                self.metrics.wrote(&target.kind, "status");
                Ok(applied)
            }
            Err(error) => Err(self.failed(&target, error)),
        }
    }

    /// Applies the status that `change` makes of the object as it stands. What it returns names the version that was read: of two
    /// writers that meet, the second reads again.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn change_status<K>(
        &self,
        api: &Api<K>,
        name: &str,
        change: impl Fn(&K) -> Option<Value>,
    ) -> Result<StatusChange, ApplyError>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        for attempt in 1.. {
            let read = api.get_opt(name).await.map_err(|error| ApplyError::Read {
                kind: K::kind(&()).into_owned(),
                name: name.to_owned(),
                source: Box::new(error),
            })?;
            let Some(object) = read else { return Ok(StatusChange::NoObject) };
            let Some(status) = change(&object) else { return Ok(StatusChange::Unchanged) };
            match self.apply_status(&status).await {
                Ok(()) => return Ok(StatusChange::Written),
                Err(error) if error.is_not_found() => return Ok(StatusChange::NoObject),
                Err(error) if attempt < CONFLICTS && error.is_conflict() => {
                    // Writers that met once would do so again.
                    let spread = u64::from(std::process::id() % 50);
                    tokio::time::sleep(Duration::from_millis(u64::from(attempt) * (20 + spread))).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(StatusChange::Unchanged)
    }

    /// Merges a change into an object that others own, e.g. one label of a pod. `object` names it.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn merge(&self, object: &Value, change: &Value) -> Result<DynamicObject, ApplyError> {
        let target = self.target(object)?;
        let parameters = PatchParams { field_manager: Some(self.manager.to_owned()), ..PatchParams::default() };
        match target.api.patch(&target.name, &parameters, &Patch::Merge(change)).await {
            Ok(patched) => {
                self.metrics.wrote(&target.kind, "patched");
                Ok(patched)
            }
            Err(error) => Err(self.failed(&target, error)),
        }
    }

    /// Deletes an object, if it still is the one with `uid`. One that is gone already is as good.
    ///
    /// # Errors
    /// What the API server said.
    pub async fn delete(&self, object: &Value, uid: Option<&str>) -> Result<(), ApplyError> {
        let target = self.target(object)?;
        let parameters = DeleteParams {
            preconditions: uid.map(|uid| Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteParams::background()
        };
        match target.api.delete(&target.name, &parameters).await {
            Ok(_) => {
                self.metrics.wrote(&target.kind, "deleted");
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(self.failed(&target, error)),
        }
    }
}

/// Whether `live` says the same as `desired` in every field that `desired` states. Defaults and foreign fields of the
/// live object are no difference. It cannot see fields that were dropped from `desired` since the last time.
#[must_use]
pub fn covered(desired: &Value, live: &Value) -> bool {
    match (desired, live) {
        (Value::Object(want), Value::Object(have)) => want.iter().all(|(key, value)| match have.get(key) {
            Some(found) => covered(value, found),
            None => is_empty(value),
        }),
        (Value::Array(want), Value::Array(have)) => match list_key(want) {
            Some(key) => {
                want.iter().all(|item| have.iter().any(|one| one.get(key) == item.get(key) && covered(item, one)))
            }
            None => want.len() == have.len() && want.iter().zip(have).all(|(item, one)| covered(item, one)),
        },
        (want, have) => want == have,
    }
}

/// Empty lists and maps are not stored.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// The key by which a list of maps is merged, if every item has it. Other lists are one value, in which one item too many is a
/// difference, such as the metrics of an autoscaler.
fn list_key(items: &[Value]) -> Option<&'static str> {
    let have = |key: &str| !items.is_empty() && items.iter().all(|item| item.get(key).is_some());
    ["name", "uid", "id"]
        .into_iter()
        .find(|key| have(key))
        .or_else(|| (have("type") && have("status")).then_some("type"))
}

/// Whether two lists of conditions say the same of the same generation, times aside. A condition of an older generation would
/// be out of date to whoever waits for it.
#[must_use]
pub fn same_conditions(one: &[Condition], other: &[Condition]) -> bool {
    let facts = |condition: &Condition| {
        let words = [&condition.type_, &condition.status, &condition.reason, &condition.message].map(String::clone);
        (words, condition.observed_generation)
    };
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| facts(a) == facts(b))
}

/// A reference object: what [`Applier`] needs to find one.
#[must_use]
pub fn reference(api_version: &str, kind: &str, namespace: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"namespace": namespace, "name": name}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_foreign_fields_are_no_difference() {
        let desired = json!({"metadata": {"labels": {"a": "1"}, "ownerReferences": []}, "spec": {"ports": [{"name": "x", "port": 1}], "list": [1, 2]}});
        let mut live = json!({"metadata": {"labels": {"a": "1", "b": "2"}, "uid": "u"}, "spec": {"ports": [{"name": "y"}, {"name": "x", "port": 1, "protocol": "TCP"}], "list": [1, 2], "extra": true}});
        assert!(covered(&desired, &live));
        live["spec"]["list"] = json!([1, 2, 3]);
        assert!(!covered(&desired, &live));
        live["spec"]["list"] = json!([1, 2]);
        live["spec"]["ports"][1]["port"] = json!(2);
        assert!(!covered(&desired, &live));
    }

    #[test]
    fn a_metric_too_many_is_a_difference_and_a_foreign_condition_is_none() {
        let metric =
            |name: &str| json!({"type": "Resource", "resource": {"name": name, "target": {"type": "Utilization"}}});
        let mut live = json!({"metrics": [metric("cpu"), metric("memory")]});
        live["metrics"][0]["resource"]["target"]["averageUtilization"] = json!(75);
        assert!(covered(&json!({"metrics": [metric("cpu"), metric("memory")]}), &live));
        assert!(!covered(&json!({"metrics": [metric("cpu")]}), &live));
        assert!(!covered(
            &json!({"metrics": [metric("memory")]}),
            &json!({"metrics": [{"type": "Object"}, metric("memory")]})
        ));
        let condition = |kind: &str| json!({"type": kind, "status": "True"});
        let both = json!({"conditions": [condition("Foreign"), condition("Ready")]});
        assert!(covered(&json!({"conditions": [condition("Ready")]}), &both));
    }
}
