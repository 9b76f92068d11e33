//! Which destination or Processor keeps the newest collectors from starting, and for how long it is left out.
//!
//! Owns "canary by readiness, culprit named and set aside" of design 5: the old pods serve on, the configuration is rendered
//! again without what the collector named, and it returns when it is changed or after a while.
//! What a collector says comes from the termination message of its container. Never decides by a clock of its own.

use crate::gateway::SecretKeys;
use crate::gateway::destinations::without_queue;
use jiff::{SignedDuration, Timestamp};
use odigos_api::CollectorRole;
use odigos_api::destination::Destination;
use odigos_api::processor::Processor;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A destination or Processor that is left out, as kept in the ConfigMap [`STORE`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// What of the object (and the Secret of a Destination) was tried; another one is tried anew.
    pub fingerprint: String,
    /// What the collector said.
    pub said: String,
    /// Since when.
    pub since: Timestamp,
}

/// Name of the ConfigMap that remembers across restarts of the autoscaler; one key for each object that is left out.
pub const STORE: &str = "odigos-gateway-set-aside";
/// When something that was not changed is tried again: its host name may resolve by now.
pub const TRY_AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(30);
/// Longest part of what a collector said that is kept, in bytes.
const LONGEST: usize = 600;

/// What of a Destination decides about its start.
#[must_use]
pub fn fingerprint(destination: &Destination, secrets: &BTreeMap<String, SecretKeys>) -> String {
    let secret = destination.spec.secret_ref.as_ref().and_then(|reference| secrets.get(&reference.name));
    let digests: BTreeMap<&String, &String> = secret
        .into_iter()
        .flat_map(|secret| secret.keys().filter_map(|key| Some((key, &secret.get(key)?.digest))))
        .collect();
    crate::objects::hash(json!([destination.spec, digests]).to_string(), 16)
}

/// Name of a Processor in the store and in what is set aside. Names of objects hold no `_`, so it is no Destination's.
#[must_use]
pub fn processor_key(role: CollectorRole, name: &str) -> String {
    match role {
        CollectorRole::ClusterGateway => format!("processor_{name}"),
        CollectorRole::NodeCollector => format!("node_processor_{name}"),
    }
}

/// Whether a name in the store is a Processor's.
#[must_use]
pub fn is_processor(key: &str) -> bool {
    key.contains('_')
}

/// A name in the store for people.
#[must_use]
pub fn words(key: &str) -> String {
    match key.rsplit_once('_') {
        Some((_, name)) => format!("Processor {name}"),
        None => format!("Destination {key}"),
    }
}

/// What may be set aside, by its name in the store, with its fingerprint.
pub type Suspects = BTreeMap<String, String>;

/// The Destinations as suspects.
#[must_use]
pub fn destinations(destinations: &[&Destination], secrets: &BTreeMap<String, SecretKeys>) -> Suspects {
    let name = |destination: &Destination| destination.metadata.name.clone().unwrap_or_default();
    destinations.iter().map(|one| (name(one), fingerprint(one, secrets))).collect()
}

/// The Processors of a role as suspects.
#[must_use]
pub fn processors<'a>(role: CollectorRole, processors: impl IntoIterator<Item = &'a Processor>) -> Suspects {
    let of_role = processors.into_iter().filter(|one| crate::processors::is_run_by(role, &one.spec));
    let key = |processor: &Processor| processor_key(role, processor.metadata.name.as_deref().unwrap_or_default());
    of_role.map(|one| (key(one), crate::objects::hash(json!(one.spec).to_string(), 16))).collect()
}

/// What stays out: what is as it was when the collector refused it, and not for too long; with what the collector said.
#[must_use]
pub fn in_force(store: &BTreeMap<String, SetAside>, suspects: &Suspects, now: Timestamp) -> BTreeMap<String, String> {
    let is_out = |name: &&String| {
        let entry = store.get(*name)?;
        let is_same = suspects.get(*name) == Some(&entry.fingerprint);
        (is_same && now.duration_since(entry.since) < TRY_AGAIN_AFTER).then(|| entry.said.clone())
    };
    suspects.keys().filter_map(|name| Some((name.clone(), is_out(&name)?))).collect()
}

/// Reads the store; entries that are no entries are passed over.
#[must_use]
pub fn read(data: &BTreeMap<String, String>) -> BTreeMap<String, SetAside> {
    data.iter().filter_map(|(name, text)| Some((name.clone(), serde_json::from_str(text).ok()?))).collect()
}

/// What the gateways of a configuration version do not start with: the message of the container that ended.
#[must_use]
pub fn said(pods: &[Value], version: &str) -> Option<String> {
    let of_version = pods.iter().filter(|pod| mounts(pod, version) && !is_ready(pod));
    of_version.filter_map(message).next()
}

/// The configuration version of the first gateway that is ready and not going.
#[must_use]
pub fn serving(pods: &[Value]) -> Option<String> {
    let ready = pods.iter().filter(|pod| is_ready(pod) && pod.pointer("/metadata/deletionTimestamp").is_none());
    ready.filter_map(version).next()
}

/// Whether a pod of another version is left, going ones included: they take items until they are gone.
#[must_use]
pub fn others_left(pods: &[Value], wanted: &str) -> bool {
    let over =
        |pod: &Value| matches!(pod.pointer("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed"));
    pods.iter().filter(|pod| !over(pod)).any(|pod| version(pod).is_some_and(|version| version != wanted))
}

/// The configuration version that a pod mounts.
fn version(pod: &Value) -> Option<String> {
    let volumes = pod.pointer("/spec/volumes")?.as_array()?;
    let config = volumes.iter().find(|volume| volume["name"] == "config")?;
    config.pointer("/configMap/name")?.as_str().map(str::to_owned)
}

/// Why the newest pods do not come up although no collector ended, e.g. that no node has room for them.
#[must_use]
pub fn waiting_for(pods: &[Value], version: &str) -> Option<String> {
    pods.iter().filter(|pod| mounts(pod, version)).find_map(|pod| {
        let conditions = pod.pointer("/status/conditions")?.as_array()?;
        let scheduled = conditions.iter().find(|one| one["type"] == "PodScheduled" && one["status"] == "False");
        if let Some(condition) = scheduled {
            return Some(format!("no node takes the pod: {}", condition["message"].as_str().unwrap_or_default()));
        }
        let states = statuses(pod).filter_map(|one| one.pointer("/state/waiting"));
        let stuck = |state: &&Value| matches!(state["reason"].as_str(), Some(reason) if reason.contains("Image"));
        let state = states.into_iter().find(stuck)?;
        let text = |key: &str| state[key].as_str().unwrap_or_default().to_owned();
        Some(format!("{}: {}", text("reason"), text("message")))
    })
}

fn mounts(pod: &Value, wanted: &str) -> bool {
    version(pod).is_some_and(|version| version == wanted)
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    let of = |key: &str| pod.pointer(&format!("/status/{key}")).and_then(Value::as_array).into_iter().flatten();
    of("initContainerStatuses").chain(of("containerStatuses"))
}

/// What the first container that failed left behind. Running out of memory is no destination's fault.
fn message(pod: &Value) -> Option<String> {
    statuses(pod).find_map(|status| {
        let ended =
            ["/state/terminated", "/lastState/terminated"].iter().find_map(|pointer| status.pointer(pointer))?;
        let failed = ended["exitCode"].as_i64().is_some_and(|code| code != 0) && ended["reason"] != "OOMKilled";
        let text = ended["message"].as_str().unwrap_or_default();
        (failed && !text.is_empty()).then(|| reason_line(text))
    })
}

/// The part of a collector's last words that tells why: from the last `Error:` on, since the component often stands on a later
/// line, without what the log adds; else the last line.
fn reason_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let is_error = |line: &&str| line.starts_with("Error:") || line.contains("\"level\":\"error\"");
    let mut line = match lines.iter().rposition(is_error) {
        Some(begin) => {
            let is_logged =
                |line: &&&str| line.starts_with('{') || line.starts_with(|first: char| first.is_ascii_digit());
            let rest = lines.iter().skip(begin + 1).take_while(|line| !is_logged(line));
            lines.get(begin).into_iter().chain(rest).copied().collect::<Vec<_>>().join(" ")
        }
        None => lines.last().copied().unwrap_or_default().to_owned(),
    };
    let mut end = line.len().min(LONGEST);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.truncate(end);
    line
}

/// The owners of components that a message names; of ids that begin alike, the longest counts.
#[must_use]
pub fn named(message: &str, components: &BTreeMap<String, (String, Value)>) -> BTreeSet<String> {
    let inside = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.' | '/');
    let mut found = BTreeSet::new();
    for (id, (destination, _)) in components {
        let whole = message.match_indices(id.as_str()).any(|(position, _)| {
            let before = message[..position].chars().next_back();
            let rest = &message[position + id.len()..];
            // A full stop may end the sentence.
            let mut after = rest.trim_start_matches('.').chars();
            !before.is_some_and(inside) && !after.next().is_some_and(|next| inside(next) && !rest.starts_with('.'))
        });
        if whole {
            found.insert(destination.clone());
        }
    }
    found
}

/// What is to be left out from now on, for what the newest pods said. When the collector names none, those that the version before
/// did not have in the same form are suspected, since it did start; without one, nobody is.
#[must_use]
pub fn blame(
    suspects: &Suspects,
    said: &str,
    components: &BTreeMap<String, (String, Value)>,
    good: Option<&Value>,
    now: Timestamp,
) -> BTreeMap<String, SetAside> {
    let mut culprits = named(said, components);
    if culprits.is_empty()
        && let Some(good) = good
    {
        let known = |id: &str, settings: &Value| {
            let sections = ["exporters", "processors", "extensions", "connectors"];
            let of = |section: &&str| good.get(section)?.get(id).map(without_queue);
            sections.iter().filter_map(of).any(|before| before == without_queue(settings))
        };
        let changed = components.iter().filter(|(id, (_, settings))| !known(id, settings));
        culprits = changed.map(|(_, (owner, _))| owner.clone()).collect();
    }
    let entries = suspects.iter().filter(|(name, _)| culprits.contains(*name)).map(|(name, fingerprint)| {
        let entry = SetAside { fingerprint: fingerprint.clone(), said: said.to_owned(), since: now };
        (name.clone(), entry)
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn components() -> BTreeMap<String, (String, Value)> {
        [("otlp_grpc/jaeger-a", "a"), ("otlp_grpc/jaeger-a-b", "a-b"), ("kafka/kafka-c", "c")]
            .map(|(id, name)| (id.to_owned(), (name.to_owned(), json!({"endpoint": name}))))
            .into()
    }

    #[test]
    fn the_destination_that_the_collector_names_is_found_exactly() {
        for (message, expected) in [
            (r#"Error: cannot start pipelines: failed to start "kafka/kafka-c" exporter: no brokers"#, vec!["c"]),
            ("Error: invalid configuration: exporters::otlp_grpc/jaeger-a-b: requires an endpoint", vec!["a-b"]),
            ("failed to create otlp_grpc/jaeger-a.", vec!["a"]),
            ("address already in use", vec![]),
        ] {
            let found: Vec<String> = named(message, &components()).into_iter().collect();
            assert_eq!(found, expected, "{message}");
        }
    }

    fn pod(version: &str, ended: Value) -> Value {
        json!({
            "spec": {"volumes": [{"name": "config", "configMap": {"name": version}}]},
            "status": {
                "conditions": [{"type": "Ready", "status": "False"}],
                "containerStatuses": [{"name": "gateway", "lastState": {"terminated": ended}}],
            },
        })
    }

    /// As the collector writes it: the component stands on a later line.
    #[test]
    fn a_processor_that_the_collector_names_is_found() {
        let text = "Error: failed to get config: decoding failed due to the following error(s):\n\n'processors' error reading \
                    configuration for \"transform/x\": '' invalid trace_statements type\n2026/11/21 12:00:00 collector server run \
                    finished with error: failed";
        let said = reason_line(text);
        assert!(said.ends_with("invalid trace_statements type"), "{said}");
        let mut processor = Processor::default();
        processor.metadata.name = Some("x".into());
        processor.spec.collector_roles = vec![CollectorRole::ClusterGateway];
        let mut suspects = processors(CollectorRole::ClusterGateway, [&processor]);
        suspects.insert("c".into(), "f".into());
        let mut parts = components();
        parts.insert("transform/x".into(), ("processor_x".into(), json!({})));
        let blamed = blame(&suspects, &said, &parts, Some(&json!({})), Timestamp::UNIX_EPOCH);
        assert_eq!(
            blamed.keys().collect::<Vec<_>>(),
            ["processor_x"],
            "and no destination that changed at the same time"
        );
        assert_eq!(in_force(&blamed, &suspects, Timestamp::UNIX_EPOCH).len(), 1);
        processor.spec.order_hint = Some(1);
        let changed = processors(CollectorRole::ClusterGateway, [&processor]);
        assert!(in_force(&blamed, &changed, Timestamp::UNIX_EPOCH).is_empty(), "another one is tried");
        assert!(processors(CollectorRole::NodeCollector, [&processor]).is_empty());
    }

    #[test]
    fn only_failures_of_the_version_that_is_rolled_out_count() {
        let ended = json!({"exitCode": 1, "message": "{\"level\":\"info\"}\nError: no\n2026/11/21 collector server run finished with error"});
        assert_eq!(said(&[pod("v-2", ended.clone())], "v-2").as_deref(), Some("Error: no"));
        assert_eq!(said(&[pod("v-1", ended.clone())], "v-2"), None);
        assert_eq!(said(&[pod("v-2", json!({"exitCode": 0, "message": "bye"}))], "v-2"), None);
        let full = json!({"exitCode": 137, "reason": "OOMKilled", "message": "x"});
        assert_eq!(said(&[pod("v-2", full)], "v-2"), None, "memory is no destination's fault");
        let mut ready = pod("v-2", ended);
        ready["status"]["conditions"][0]["status"] = json!("True");
        assert_eq!(said(&[ready], "v-2"), None, "it serves again");
    }

    #[test]
    fn a_pod_of_an_old_version_counts_until_it_is_gone() {
        let mut old = pod("v-1", json!({}));
        old["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        old["status"]["phase"] = json!("Running");
        old["status"]["conditions"][0]["status"] = json!("True");
        assert!(others_left(&[old.clone()], "v-2"));
        assert_eq!(serving(&[old.clone()]), None);
        old["status"]["phase"] = json!("Succeeded");
        assert!(!others_left(&[old, pod("v-2", json!({}))], "v-2"));
    }

    #[test]
    fn pods_that_find_no_room_are_told_of() {
        let mut waiting = pod("v-2", json!({}));
        waiting["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available: 2 Insufficient cpu."}]);
        assert!(waiting_for(&[waiting], "v-2").is_some_and(|why| why.contains("Insufficient cpu")));
    }

    #[test]
    fn a_changed_destination_is_tried_at_once_and_an_unchanged_one_after_a_while() {
        let mut destination = Destination::default();
        destination.metadata.name = Some("a".into());
        let none = BTreeMap::new();
        let since: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let entry = SetAside { fingerprint: fingerprint(&destination, &none), said: "no".into(), since };
        let store = BTreeMap::from([("a".to_owned(), entry.clone())]);
        let out = |destination: &Destination, minutes: i64| {
            let suspects = destinations(&[destination], &none);
            in_force(&store, &suspects, since + SignedDuration::from_mins(minutes)).len()
        };
        assert_eq!((out(&destination, 29), out(&destination, 30)), (1, 0));
        destination.spec.data.insert("JAEGER_URL".into(), "other:4317".into());
        assert_eq!(out(&destination, 1), 0);
        let text = BTreeMap::from([("a".to_owned(), serde_json::to_string(&entry).unwrap()), ("b".into(), "?".into())]);
        assert_eq!(read(&text), store);
    }
}
