//! Taking an object out of the in-memory cluster, as a deletion would.

use super::{Key, World};
use crate::workload::Workload;
use odigos_api::Finding;
use serde_json::Value;

impl World {
    /// Removes the object of this kind, namespace and name; one without namespace is looked for where it would have been put.
    ///
    /// # Errors
    /// A finding when the object names no kind or no name, or is not there.
    pub fn remove(&mut self, object: &Value) -> Result<(), Finding> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, name) = (text("/kind"), text("/metadata/name"));
        if kind.is_empty() || name.is_empty() {
            return Err(Finding::error("manifest", "kind", "the manifest names no kind or no metadata.name; add both"));
        }
        let key: Key = (self.namespace_of(&kind, object), name.clone());
        let own = object.get("apiVersion").and_then(Value::as_str) == Some(odigos_api::API_VERSION);
        let was_there = match (own, kind.as_str()) {
            (true, "Source") => self.sources.remove(&key).is_some(),
            (true, "Destination") => self.destinations.remove(&key).is_some(),
            (true, "DataStream") => self.data_streams.remove(&key).is_some(),
            (true, "Processor") => self.processors.remove(&key).is_some(),
            (true, "InstrumentationRule") => self.rules.remove(&key).is_some(),
            (true, "Action") => self.actions.remove(&key).is_some(),
            (true, "Sampling") => self.samplings.remove(&key).is_some(),
            (false, "Secret") => {
                self.secret_marks.remove(&key);
                self.secrets.remove(&key).is_some()
            }
            (false, "ConfigMap") => self.config_maps.remove(&key).is_some(),
            (false, _) => {
                let mut object = object.clone();
                object["metadata"]["namespace"] = Value::String(key.0.clone());
                Workload::from_object(&object).is_some_and(|one| self.workloads.remove(&one.reference).is_some())
            }
            (true, _) => false,
        };
        if was_there {
            return Ok(());
        }
        let object = format!("{kind} {}/{name}", key.0);
        Err(Finding::error(
            object,
            "metadata.name",
            "there is no such object that could be deleted, or no decision reads its kind",
        ))
    }
}
