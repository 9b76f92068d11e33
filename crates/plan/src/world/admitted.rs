//! Destinations that were read from texts, judged as admission will judge them.
//!
//! Owns what a text replaces, what admission would record of it, and that what it would reject is not rendered: in a cluster it would
//! never be there. Sources are judged in `ineffective`; Actions and Processors that admission rejects are findings of their planners.

use super::{Key, World};
use crate::admission::destination::{recorded_access, review};
use crate::configuration::Configuration;
use odigos_api::destination::Destination;
use odigos_api::{Finding, labels};
use serde_json::Value;

/// The Destination that a text states, and what is in the cluster before: one that was printed by an API server is there itself.
pub(super) struct Incoming {
    key: Key,
    before: Option<Destination>,
    is_live: bool,
}

impl World {
    /// What an object of a text replaces, if it is a Destination; to be asked before it is put into the cluster.
    pub(super) fn incoming(&self, object: &Value) -> Option<Incoming> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if text("/apiVersion") != odigos_api::API_VERSION || text("/kind") != "Destination" {
            return None;
        }
        let key = (text("/metadata/namespace").to_owned(), text("/metadata/name").to_owned());
        let before = match self.replaced.get(&key) {
            Some(before) => before.clone(),
            None => self.destinations.get(&key).cloned(),
        };
        // Where the cluster is known, it alone says what is there.
        let is_live = before.is_none() && !self.is_of_cluster && is_printed(object);
        Some(Incoming { key, before, is_live })
    }

    /// What to say of a text that passes for a live object.
    pub(super) fn taken_as_live(incoming: &Incoming) -> Option<Finding> {
        let (namespace, name) = &incoming.key;
        let message = "it is taken as an object that the cluster has already, as an API server printed it, and keeps what admission would reject of a new one; remove it to see what another cluster says";
        let object = format!("Destination {namespace}/{name}");
        incoming.is_live.then(|| Finding::info(object, "metadata.uid", message))
    }

    /// Records what admission would of a Destination that is in the cluster now.
    pub(super) fn admit(&mut self, incoming: Incoming) {
        let Incoming { key, before, is_live } = incoming;
        let Some(destination) = self.destinations.get_mut(&key) else { return };
        if !is_live {
            // Whether the writer may read the Secret is not known here; a finding says so.
            let recorded = recorded_access(destination, before.as_ref(), true);
            let annotations = destination.metadata.annotations.get_or_insert_default();
            match recorded {
                Some(text) => drop(annotations.insert(labels::SECRET_ACCESS.to_owned(), text)),
                None => drop(annotations.remove(labels::SECRET_ACCESS)),
            }
        }
        let before = if is_live { Some(destination.clone()) } else { before };
        self.replaced.insert(key, before);
    }

    /// Takes out what admission would reject, so that what was there before stays; a finding for each reason.
    pub(super) fn reject_destinations(&mut self, configuration: &Configuration) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut rejected = Vec::new();
        for (key, before) in &self.replaced {
            let Some(destination) = self.destinations.get(key).filter(|_| key.0 == self.namespace) else { continue };
            let object = format!("Destination {}/{}", key.0, key.1);
            let refusals = review(destination, before.as_ref(), configuration, &self.namespace).refusals;
            if !refusals.is_empty() {
                rejected.push((key.clone(), before.clone()));
            }
            found.extend(refusals.into_iter().map(|one| {
                Finding::error(object.clone(), one.field, format!("admission rejects it: {}", one.message))
            }));
            found.extend(
                self.unmarked_secret(destination, before.as_ref())
                    .map(|message| Finding::warning(object, "spec.secretRef", message)),
            );
        }
        for (key, before) in rejected {
            match before {
                Some(before) => drop(self.destinations.insert(key, before)),
                None => drop(self.destinations.remove(&key)),
            }
        }
        found
    }

    /// What to say of a Secret that is read only if whoever applies the manifest may read it.
    fn unmarked_secret(&self, destination: &Destination, before: Option<&Destination>) -> Option<String> {
        let name = destination.metadata.name.as_deref()?;
        let secret = destination.spec.secret_ref.as_ref()?.name.as_str();
        let key = (self.namespace.clone(), secret.to_owned());
        // One that does not exist is reported as missing.
        self.secrets.get(&key)?;
        let mark = self.secret_marks.get(&key).cloned().unwrap_or_default();
        let is_kept = before.is_some_and(|before| before.spec == destination.spec);
        (!is_kept && !mark.is_for(name) && !mark.is_reserved()).then(|| {
            format!(
                "the Secret {secret} is not marked for this destination: it is used only if whoever applies this may read that Secret; otherwise run `odigos destinations mark-secret {name}`"
            )
        })
    }
}

/// Whether an API server printed an object: it gives each a uid, and what no one writes by hand beside it.
fn is_printed(object: &Value) -> bool {
    let is_set = |key: &str| object["metadata"][key].as_str().is_some_and(|text| !text.is_empty());
    is_set("uid") && (is_set("resourceVersion") || is_set("creationTimestamp"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;
    use jiff::Timestamp;
    use odigos_api::Severity;
    use serde_json::json;

    fn honeycomb(data: Value, uid: Option<&str>) -> String {
        let mut object = json!({
            "apiVersion": odigos_api::API_VERSION, "kind": "Destination",
            "metadata": {"name": "d", "namespace": "odigos-system"},
            "spec": {"type": "honeycomb", "destinationName": "d", "signals": ["TRACES"], "data": data},
        });
        if let Some(uid) = uid {
            object["metadata"]["uid"] = json!(uid);
            object["metadata"]["resourceVersion"] = json!("7");
        }
        object.to_string()
    }

    fn errors(world: &mut World) -> (Vec<String>, bool) {
        let settled = world.settle(Timestamp::UNIX_EPOCH);
        let errors = settled.findings.iter().filter(|one| one.severity == Severity::Error);
        let errors = errors.map(|one| format!("{} {}", one.field, one.message)).collect();
        let rendered = settled.gateway.unwrap().config.to_yaml();
        (errors, rendered.contains("api.honeycomb.io") || rendered.contains("in.eu1.test"))
    }

    fn load(world: &mut World, text: &str) {
        let (_, findings) = world.load(text, "d.yaml", |_| false);
        assert!(findings.iter().all(|one| one.severity == Severity::Info), "{findings:?}");
    }

    /// A uid alone is a text that anybody writes, and one of another cluster is no proof where the cluster is known.
    #[test]
    fn only_what_an_api_server_printed_passes_for_live() {
        let with = json!({"HONEYCOMB_API_KEY": "k", "HONEYCOMB_ENDPOINT": "api.honeycomb.io"});
        let printed = honeycomb(with, Some("u"));
        let outcome = |text: &str, is_of_cluster: bool| {
            let mut world = World::new("odigos-system");
            world.is_of_cluster = is_of_cluster;
            let (_, found) = world.load(text, "d.yaml", |_| false);
            let told = found.iter().filter(|one| one.message.contains("as an API server printed it")).count();
            (told, errors(&mut world).0.len())
        };
        assert_eq!(outcome(&printed, false), (1, 0), "and that is said");
        assert_eq!(outcome(&printed, true), (0, 1), "the cluster has no such object");
        let mut object: Value = serde_json::from_str(&printed).unwrap();
        object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        assert_eq!(outcome(&object.to_string(), false), (0, 1));
        object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(outcome(&object.to_string(), false), (1, 0));
    }

    #[test]
    fn new_manifest_with_a_credential_is_rejected_and_not_rendered() {
        let with = json!({"HONEYCOMB_API_KEY": "k", "HONEYCOMB_ENDPOINT": "api.honeycomb.io"});
        let mut world = World::new("odigos-system");
        load(&mut world, &honeycomb(with.clone(), None));
        let (found, is_rendered) = errors(&mut world);
        assert!(
            found.len() == 1 && found[0].starts_with("spec.data.HONEYCOMB_API_KEY admission rejects it: "),
            "{found:?}"
        );
        assert!(!is_rendered);
        // Printed by an API server, or over the live object that has it: admission keeps it.
        let mut printed = World::new("odigos-system");
        load(&mut printed, &honeycomb(with.clone(), Some("u")));
        assert_eq!(errors(&mut printed), (Vec::new(), true));
        let mut live = World::new("odigos-system");
        live.insert(serde_json::from_str(&honeycomb(with.clone(), Some("u"))).unwrap()).unwrap();
        load(&mut live, &honeycomb(with, None));
        assert_eq!(errors(&mut live), (Vec::new(), true));
    }

    #[test]
    fn live_destination_stays_where_its_change_is_rejected() {
        let mut world = World::new("odigos-system");
        let live = honeycomb(json!({"HONEYCOMB_ENDPOINT": "in.eu1.test"}), Some("u"));
        let mut live: Value = serde_json::from_str(&live).unwrap();
        live["spec"]["secretRef"] = json!({"name": "s"});
        world.insert(live).unwrap();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "odigos-system"},
            "stringData": {"HONEYCOMB_API_KEY": "k"},
        });
        world.insert(secret).unwrap();
        load(&mut world, &honeycomb(json!({"HONEYCOMB_API_KEY": "k", "HONEYCOMB_ENDPOINT": "api.honeycomb.io"}), None));
        let settled = world.settle(Timestamp::UNIX_EPOCH);
        let yaml = settled.gateway.unwrap().config.to_yaml();
        assert!(yaml.contains("in.eu1.test") && !yaml.contains("api.honeycomb.io"), "{yaml}");
    }

    #[test]
    fn new_manifest_is_no_older_one() {
        let file = |uid: Option<&str>| {
            let text = honeycomb(json!({"FILE_PATH": "/tmp/a"}), uid).replace("\"honeycomb\"", "\"file\"");
            let mut world = World::new("odigos-system");
            load(&mut world, &text);
            errors(&mut world).0
        };
        assert!(file(None).iter().any(|one| one.contains("destinations.additionalTypes: [file]")), "{:?}", file(None));
        assert_eq!(file(Some("u")), Vec::<String>::new(), "one that an older release took goes on");
    }

    #[test]
    fn secret_that_is_not_marked_is_reported_of_new_manifests() {
        let told = |mark: bool, uid: Option<&str>| {
            let mut world = World::new("odigos-system");
            let mut secret = json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "odigos-system"},
                "stringData": {"HONEYCOMB_API_KEY": "k"},
            });
            if mark {
                secret["metadata"]["labels"] = json!({labels::DESTINATION_SECRET: "true"});
                secret["metadata"]["annotations"] = json!({labels::SECRET_DESTINATIONS: "d"});
            }
            world.insert(secret).unwrap();
            let mut object: Value =
                serde_json::from_str(&honeycomb(json!({"HONEYCOMB_ENDPOINT": "api.honeycomb.io"}), uid)).unwrap();
            object["spec"]["secretRef"] = json!({"name": "s"});
            load(&mut world, &object.to_string());
            let findings = world.settle(Timestamp::UNIX_EPOCH).findings;
            findings
                .iter()
                .filter(|one| one.message.contains("is not marked"))
                .map(|one| one.message.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(told(true, None), [] as [&str; 0]);
        let found = told(false, None);
        assert!(found.len() == 1 && found[0].contains("whoever applies this may read"), "{found:?}");
        let kept = told(false, Some("u"));
        assert!(kept.len() == 1 && !kept[0].contains("whoever applies"), "{kept:?}");
    }

    /// What `destinations show` prints and the documentation shows is admitted and rendered without a word.
    #[test]
    fn example_of_every_type_passes_admission_and_rendering() {
        let mut wrong = Vec::new();
        for (id, one) in odigos_catalog::destination::types() {
            let mut world = World::new("odigos-system");
            // These two types are allowed by the configuration alone.
            let configuration = json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": odigos_api::names::CONFIGURATION, "namespace": "odigos-system"},
                "data": {odigos_api::names::CONFIGURATION_KEY: "destinations: {additionalTypes: [dynamic, file]}"},
            });
            world.insert(configuration).unwrap();
            load(&mut world, &odigos_catalog::example::manifest(one));
            let destination = world.destinations[&("odigos-system".to_owned(), id.clone())].clone();
            let allowed = Configuration::parse("destinations: {additionalTypes: [dynamic, file]}").unwrap();
            let reviewed = review(&destination, None, &allowed, "odigos-system");
            if reviewed != crate::admission::Review::default() {
                wrong.push(format!("{id}: {reviewed:?}"));
            }
            let findings = world.settle(Timestamp::UNIX_EPOCH).findings;
            let about = findings.iter().filter(|one| one.object.starts_with("Destination "));
            // That a component needs another image, or that profiles are not collected yet, is no fault of the example.
            let is_of_release =
                |one: &&Finding| one.message.contains("of this release") || one.message.contains("by this release");
            wrong.extend(about.filter(|one| !is_of_release(one)).map(|one| format!("{id}: {one}")));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
