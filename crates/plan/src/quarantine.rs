//! Quarantine: what keeps the newest collectors from starting is left out of their configuration for a while.
//!
//! Owns what is remembered of it, and what pods say of a start that failed: old pods serve on, the configuration is rendered again without one
//! object ([`attribution`]), and that returns when it is changed or after a while. What a collector says comes from the termination
//! message of its container; what it names as its subject is read from its own words alone. One that runs out of memory says nothing
//! ([`memory`]), and its configuration is first of all rolled out no further ([`hold`]). Never decides by a clock of its own.

pub mod attribution;
pub mod hold;
pub mod memory;
mod store;

pub use attribution::{StartFailure, confirmed};
pub use memory::Shortage;
pub use store::Store;

use crate::config_files::stored::mounted_version;
use crate::gateway::SecretKeys;
use jiff::{SignedDuration, Timestamp};
use odigos_api::CollectorRole;
use odigos_api::action::Action;
use odigos_api::destination::Destination;
use odigos_api::processor::Processor;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A Destination or Processor that is or was left out, as kept in the ConfigMap [`STORE`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// What of the object (and the Secret of a Destination) was tried; another one is tried anew.
    pub fingerprint: String,
    /// What the collector said.
    pub said: String,
    /// Since when.
    pub since: Timestamp,
    /// Collectors start without it. Entries of older releases say nothing, and count as confirmed.
    #[serde(default = "yes", rename = "confirmed")]
    pub is_confirmed: bool,
    /// Collectors did not start without it either, so it is part of the configuration again.
    #[serde(default, rename = "acquitted", skip_serializing_if = "std::ops::Not::not")]
    pub is_acquitted: bool,
    /// Collectors ran out of memory, and only what was new could be suspected.
    #[serde(default, rename = "outOfMemory", skip_serializing_if = "std::ops::Not::not")]
    pub is_out_of_memory: bool,
}

impl Quarantined {
    /// Whether it is remembered: after a while it is tried again.
    #[must_use]
    pub fn is_kept(&self, now: Timestamp) -> bool {
        now.duration_since(self.since) < RETRY_AFTER
    }
}

const fn yes() -> bool {
    true
}

/// What a collector that did not start left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastWords {
    /// Why, for people.
    pub text: String,
    /// Id of the component that the collector names as its subject.
    pub subject: Option<String>,
    /// It ran out of memory, which may have other reasons than its configuration.
    pub shortage: Option<Shortage>,
}

impl LastWords {
    /// Whether no further collector is given the configuration for now.
    #[must_use]
    pub fn holds_rollout(&self) -> bool {
        self.shortage.is_some_and(|shortage| shortage.is_held)
    }
}

/// Name of the ConfigMap that remembers across restarts of the autoscaler; one key for each object that a group of collectors runs without.
pub const STORE: &str = "odigos-gateway-set-aside";
/// When something that was not changed is tried again: its host name may resolve by now.
pub const RETRY_AFTER: SignedDuration = SignedDuration::from_mins(30);
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

/// Name of an Action in the store; no Processor's begins like this.
#[must_use]
pub fn action_key(name: &str) -> String {
    format!("action_{name}")
}

/// The Actions as candidates.
#[must_use]
pub fn actions<'a>(actions: impl IntoIterator<Item = &'a Action>) -> Candidates {
    let key = |action: &Action| action_key(action.metadata.name.as_deref().unwrap_or_default());
    actions.into_iter().map(|one| (key(one), crate::objects::hash(json!(one.spec).to_string(), 16))).collect()
}

/// Actions without which items pass as they are: to leave out a mask lets through what it hides, so what takes all memory is
/// rolled out no further instead.
#[must_use]
pub fn masks<'a>(actions: impl IntoIterator<Item = &'a Action>) -> BTreeSet<String> {
    let passing = actions.into_iter().filter(|action| !crate::actions::failure::drops(&action.spec));
    passing.map(|action| action_key(action.metadata.name.as_deref().unwrap_or_default())).collect()
}

/// Whether a name in the store is a Processor's or an Action's.
#[must_use]
pub fn is_processor(key: &str) -> bool {
    key.contains('_')
}

/// A name in the store for people.
#[must_use]
pub fn words(key: &str) -> String {
    match key.rsplit_once('_') {
        Some(("action", name)) => format!("Action {name}"),
        Some((_, name)) => format!("Processor {name}"),
        None => format!("Destination {key}"),
    }
}

/// What may be set aside, by its name in the store, with its fingerprint.
pub type Candidates = BTreeMap<String, String>;

/// The Destinations as candidates.
#[must_use]
pub fn destinations(destinations: &[&Destination], secrets: &BTreeMap<String, SecretKeys>) -> Candidates {
    let name = |destination: &Destination| destination.metadata.name.clone().unwrap_or_default();
    destinations.iter().map(|one| (name(one), fingerprint(one, secrets))).collect()
}

/// The Processors of a role as candidates.
#[must_use]
pub fn processors<'a>(role: CollectorRole, processors: impl IntoIterator<Item = &'a Processor>) -> Candidates {
    let of_role = processors.into_iter().filter(|one| crate::processors::is_run_by(role, &one.spec));
    let key = |processor: &Processor| processor_key(role, processor.metadata.name.as_deref().unwrap_or_default());
    of_role.map(|one| (key(one), crate::objects::hash(json!(one.spec).to_string(), 16))).collect()
}

/// What stays out: what is as it was when the collector refused it, and not for too long; with what the collector said.
#[must_use]
pub fn in_force(
    store: &BTreeMap<String, Quarantined>,
    candidates: &Candidates,
    now: Timestamp,
) -> BTreeMap<String, String> {
    let is_out = |name: &&String| {
        let entry = store.get(*name)?;
        let is_same = candidates.get(*name) == Some(&entry.fingerprint) && !entry.is_acquitted;
        (is_same && now.duration_since(entry.since) < RETRY_AFTER).then(|| entry.said.clone())
    };
    candidates.keys().filter_map(|name| Some((name.clone(), is_out(&name)?))).collect()
}

/// Why the collectors of a configuration version do not start: the message of the container that ended.
#[must_use]
pub fn said(pods: &[Value], version: &str) -> Option<LastWords> {
    let of_version = pods.iter().filter(|pod| mounts(pod, version) && !is_ready(pod));
    of_version.filter_map(message).next()
}

/// Whether a collector of a configuration version is ready.
#[must_use]
pub fn has_started(pods: &[Value], version: &str) -> bool {
    pods.iter().any(|pod| mounts(pod, version) && is_ready(pod))
}

/// The configuration version of the first gateway that is ready and not going.
#[must_use]
pub fn serving(pods: &[Value]) -> Option<String> {
    serving_versions(pods).next()
}

/// The configuration versions of the pods that are ready and not going.
fn serving_versions(pods: &[Value]) -> impl Iterator<Item = String> {
    pods.iter().filter(|pod| is_ready(pod) && !is_terminating(pod)).filter_map(version)
}

pub(crate) fn is_terminating(pod: &Value) -> bool {
    pod.pointer("/metadata/deletionTimestamp").is_some()
}

/// Whether the containers of a pod have ended for good.
pub(crate) fn has_ended(pod: &Value) -> bool {
    matches!(pod.pointer("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed"))
}

/// Whether a pod of another version is left, going ones included: they take items until they are gone.
#[must_use]
pub fn others_left(pods: &[Value], wanted: &str) -> bool {
    pods.iter().filter(|pod| !has_ended(pod)).any(|pod| version(pod).is_some_and(|version| version != wanted))
}

/// The configuration version that a pod mounts.
fn version(pod: &Value) -> Option<String> {
    let volumes = pod.pointer("/spec/volumes")?.as_array()?;
    let config = volumes.iter().find(|volume| volume["name"] == "config")?;
    mounted_version(config).map(str::to_owned)
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

pub(crate) fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

/// Containers of collectors' pods that are ours: the collector of each role, and what reads its configuration before.
const OWN_CONTAINERS: [&str; 3] = ["validate", "gateway", "data-collection"];

/// The containers of a collector, without what others put beside it.
fn own_statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    statuses(pod).filter(|status| status["name"].as_str().is_some_and(|name| OWN_CONTAINERS.contains(&name)))
}

fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    let of = |key: &str| pod.pointer(&format!("/status/{key}")).and_then(Value::as_array).into_iter().flatten();
    of("initContainerStatuses").chain(of("containerStatuses"))
}

/// What the first of a collector's containers that failed left behind. What one wrote that ran out of memory says nothing about that.
fn message(pod: &Value) -> Option<LastWords> {
    own_statuses(pod).find_map(|status| {
        let ended =
            ["/state/terminated", "/lastState/terminated"].iter().find_map(|pointer| status.pointer(pointer))?;
        let failed = ended["exitCode"].as_i64().is_some_and(|code| code != 0) && ended["reason"] != "OOMKilled";
        let text = ended["message"].as_str().unwrap_or_default();
        (failed && !text.is_empty()).then(|| LastWords {
            text: reason_line(text),
            subject: subject(text),
            shortage: None,
        })
    })
}

/// The part of a collector's last words that tells why: from the first `Error:` on, since the component often stands on a later
/// line, without what the log adds; else the last line. A later `Error:` may be part of what a component adds.
fn reason_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let is_error = |line: &&str| line.starts_with("Error:");
    let mut line = match lines.iter().position(is_error) {
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

/// What a collector writes in front of the component that it means, in its own words.
const WRAPPERS: [&str; 14] = [
    "Error:",
    "cannot start pipelines:",
    "cannot build pipelines:",
    "failed to build pipelines:",
    "failed to build extensions:",
    "failed to start extensions:",
    "failed to get config:",
    "cannot unmarshal the configuration:",
    "invalid configuration:",
    "decoding failed due to the following error(s):",
    "'connectors'",
    "'exporters'",
    "'extensions'",
    "'processors'",
];
/// What is followed by the quoted id of that component.
const QUOTING: [&str; 5] = [
    "error reading configuration for \"",
    "failed to create \"",
    "failed to create extension \"",
    "failed to start \"",
    "failed to start extension \"",
];
/// What is followed by its id and a colon.
const SECTIONS: [&str; 4] = ["connectors::", "exporters::", "extensions::", "processors::"];

/// The component that a collector names as the subject of its failure. Only what the collector itself writes counts: a field of its log, or the
/// beginning of its first error. What follows may hold texts of users.
fn subject(message: &str) -> Option<String> {
    let lines: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    for (number, line) in lines.iter().enumerate() {
        if let Ok(entry) = serde_json::from_str::<Value>(line) {
            let key = match entry["msg"].as_str() {
                Some("Failed to start component") => "id",
                Some("Failed to start extension") => "otelcol.component.id",
                _ => continue,
            };
            return entry[key].as_str().map(str::to_owned);
        }
        let is_validation = SECTIONS.iter().any(|section| line.starts_with(section));
        if line.starts_with("Error:") || is_validation {
            return subject_of_error(&lines[number..].join(" "));
        }
    }
    None
}

fn subject_of_error(text: &str) -> Option<String> {
    let mut rest = text;
    while let Some(behind) = WRAPPERS.iter().find_map(|wrapper| rest.strip_prefix(wrapper)) {
        rest = behind.trim_start();
    }
    let quoted = QUOTING.iter().find_map(|words| rest.strip_prefix(words)).and_then(|rest| rest.split_once('"'));
    let listed = SECTIONS.iter().find_map(|section| rest.strip_prefix(section)).and_then(|rest| rest.split_once(':'));
    quoted.or(listed).map(|(id, _)| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the real collector writes them (`testkit/tests/collector/quarantines.rs` compares).
    #[test]
    fn subject_is_what_the_collector_itself_names() {
        for (message, expected) in [
            (
                r#"Error: cannot start pipelines: failed to start "kafka/kafka-c" exporter: no brokers"#,
                Some("kafka/kafka-c"),
            ),
            (
                r#"Error: cannot build pipelines: failed to create "kafka/x" exporter for data type "traces": no"#,
                Some("kafka/x"),
            ),
            (
                "Error: invalid configuration: exporters::otlp_grpc/jaeger-a-b: requires an endpoint",
                Some("otlp_grpc/jaeger-a-b"),
            ),
            ("Error: exporters::kafka/x::producer::required_acks: expected 'all'", Some("kafka/x")),
            (
                "Error: failed to get config: cannot unmarshal the configuration: decoding failed due to the following error(s):\n\n'processors' error reading configuration for \"transform/x\": '' no",
                Some("transform/x"),
            ),
            (
                r#"{"level":"error","msg":"Failed to start component","error":"load \"otlp_http/pay\"","type":"Exporter","id":"otlp_http/evil"}"#,
                Some("otlp_http/evil"),
            ),
            (
                r#"{"level":"error","msg":"Failed to start extension","otelcol.component.id":"basicauth/y","error":"no"}"#,
                Some("basicauth/y"),
            ),
            // Words of others behind those of the collector, also on lines of their own.
            (
                "Error: cannot start pipelines: failed to start \"otlp_http/evil\" exporter: open x\nError: failed to start \"otlp_http/pay\" exporter: no",
                Some("otlp_http/evil"),
            ),
            ("Error: failed to start extensions: open failed to start \"otlp_http/pay\" exporter", None),
            ("Error: open otlp_http/pay: no such file", None),
            ("address already in use", None),
            (r#"{"level":"error","msg":"Exporting failed","id":"otlp_http/pay"}"#, None),
        ] {
            assert_eq!(subject(message).as_deref(), expected, "{message}");
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
    fn reason_reaches_over_lines_and_ends_before_the_log() {
        let text = "Error: failed to get config: decoding failed due to the following error(s):\n\n'processors' error reading \
                    configuration for \"transform/x\": '' invalid trace_statements type\n2026/11/21 12:00:00 collector server run \
                    finished with error: failed";
        let said = reason_line(text);
        assert!(said.ends_with("invalid trace_statements type"), "{said}");
    }

    #[test]
    fn processor_stays_out_until_it_is_changed() {
        let mut processor = Processor::default();
        processor.metadata.name = Some("x".into());
        processor.spec.collector_roles = vec![CollectorRole::ClusterGateway];
        let candidates = processors(CollectorRole::ClusterGateway, [&processor]);
        let components = BTreeMap::from([("transform/x".to_owned(), ("processor_x".to_owned(), json!({})))]);
        let failure = StartFailure {
            candidates: &candidates,
            store: &BTreeMap::new(),
            text: "no",
            subject: Some("transform/x"),
            components: &components,
            serving: Some(&json!({})),
            is_out_of_memory: false,
            masks: &BTreeSet::new(),
            now: Timestamp::UNIX_EPOCH,
        };
        let store = failure.attribute();
        assert_eq!(store.keys().collect::<Vec<_>>(), ["processor_x"]);
        assert_eq!(in_force(&store, &candidates, Timestamp::UNIX_EPOCH).len(), 1);
        processor.spec.order_hint = Some(1);
        let changed = processors(CollectorRole::ClusterGateway, [&processor]);
        assert!(in_force(&store, &changed, Timestamp::UNIX_EPOCH).is_empty(), "another one is tried");
        assert!(processors(CollectorRole::NodeCollector, [&processor]).is_empty());
    }

    #[test]
    fn masks_are_the_actions_whose_items_pass_without_them() {
        let action = |name: &str, policy: Value| -> Action {
            let spec =
                json!({"signals": ["TRACES"], "failurePolicy": policy, "piiMasking": {"piiCategories": ["UUID"]}});
            let metadata = json!({"name": name});
            serde_json::from_value(
                json!({"apiVersion": "odigos.io/v1alpha1", "kind": "Action", "metadata": metadata, "spec": spec}),
            )
            .unwrap()
        };
        let all = [action("a", Value::Null), action("b", json!("ignore")), action("c", json!("drop"))];
        assert_eq!(masks(&all), ["action_a".to_owned(), "action_b".to_owned()].into());
    }

    #[test]
    fn only_failures_of_the_version_that_is_rolled_out_count() {
        let ended = json!({"exitCode": 1, "message": "{\"level\":\"info\"}\nError: no\n2026/11/21 collector server run finished with error"});
        assert_eq!(said(&[pod("v-2", ended.clone())], "v-2").map(|words| words.text).as_deref(), Some("Error: no"));
        assert_eq!(said(&[pod("v-1", ended.clone())], "v-2"), None);
        assert_eq!(said(&[pod("v-2", json!({"exitCode": 0, "message": "bye"}))], "v-2"), None);
        let full = json!({"exitCode": 137, "reason": "OOMKilled", "message": "x"});
        assert_eq!(said(&[pod("v-2", full)], "v-2"), None, "its last words are not about that");
        let mut ready = pod("v-2", ended.clone());
        ready["status"]["conditions"][0]["status"] = json!("True");
        assert_eq!(said(&[ready], "v-2"), None, "it serves again");
        let mut foreign = pod("v-2", ended);
        foreign["status"]["containerStatuses"][0]["name"] = json!("istio-proxy");
        assert_eq!(said(&[foreign], "v-2"), None, "a container that others put beside it");
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
        let entry = Quarantined {
            fingerprint: fingerprint(&destination, &none),
            said: "no".into(),
            since,
            is_confirmed: true,
            is_acquitted: false,
            is_out_of_memory: false,
        };
        let store = BTreeMap::from([("a".to_owned(), entry.clone())]);
        let out = |destination: &Destination, minutes: i64| {
            let candidates = destinations(&[destination], &none);
            in_force(&store, &candidates, since + SignedDuration::from_mins(minutes)).len()
        };
        assert_eq!((out(&destination, 29), out(&destination, 30)), (1, 0));
        destination.spec.data.insert("JAEGER_URL".into(), "other:4317".into());
        assert_eq!(out(&destination, 1), 0);
        let older = json!({"fingerprint": "f", "said": "no", "since": "2026-01-01T00:00:00Z"}).to_string();
        let older = Store::read(&BTreeMap::from([("a".to_owned(), older)]));
        assert!(older.of("g")["a"].is_confirmed, "of an older release");
    }
}
