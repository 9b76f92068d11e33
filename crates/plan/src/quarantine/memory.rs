//! Collectors that the kernel ends for their memory: what of that is evidence, and against what.
//!
//! Owns when it is reported, when the rollout of the configuration is held, and when the configuration is the cause. Such a collector names
//! nothing, and load ends collectors as well. So only a collector that was never ready counts against the configuration, while no other
//! one is short of memory: traces come to a gateway some seconds before it is ready, since the balancing of node collectors does not ask.
//! Time alone blames nothing. Never chooses a suspect ([`super::attribution`]).

use super::{LastWords, is_ready, is_terminating, mounts, own_statuses, serving_versions};
use jiff::{SignedDuration, Timestamp};
use odigos_api::CollectorRole;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Ends of one collector that are evidence: the first may be a burst of items.
const REPEATED: usize = 2;
/// For how long an end counts. Kubelets wait up to five minutes before they start a container again.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(10);
/// For how long collectors must run without a suspect before it is confirmed.
pub const SETTLED: SignedDuration = SignedDuration::from_mins(5);
/// For how long a configuration is new where all collectors run it: what is older is not why they run out of memory now.
pub const NEW: SignedDuration = SignedDuration::from_mins(60);
/// Machines on which node collectors must run out of memory; all of them where there are fewer.
const MACHINES: usize = 3;
/// The container that reads a configuration before the collector starts, and gets no items.
const VALIDATE: &str = "validate";
/// A kubelet writes when a pod began and that it is not ready yet at one time, in whole seconds.
const ONE_SECOND: SignedDuration = SignedDuration::from_secs(1);

/// What follows from collectors that run out of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// They did before they were ready, and others did not: the configuration is the cause.
    pub is_of_configuration: bool,
    /// No further collector is given this configuration for now: others run without it, and have memory enough.
    pub is_held: bool,
}

/// Ends of collectors for their memory that were seen. A pod shows no more than its last ones, whatever they were for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenEnds {
    pods: BTreeMap<String, BTreeSet<(String, Timestamp)>>,
}

impl SeenEnds {
    /// Takes in what pods show. What was long ago is forgotten.
    pub fn observe(&mut self, pods: &[Value], now: Timestamp) {
        for pod in pods {
            self.pods.entry(uid(pod)).or_default().extend(shown(pod));
        }
        for ends in self.pods.values_mut() {
            ends.retain(|(_, end)| now.duration_since(*end) < REMEMBERED);
        }
        self.pods.retain(|_, ends| !ends.is_empty());
    }

    /// How often a collector of this pod was ended for its memory lately.
    fn count(&self, pod: &Value) -> usize {
        self.pods.get(&uid(pod)).map_or(0, BTreeSet::len)
    }

    /// Whether all of these ends are those of the container that reads the configuration.
    fn are_of_validation(&self, pod: &Value) -> bool {
        self.pods.get(&uid(pod)).is_some_and(|ends| ends.iter().all(|(container, _)| container == VALIDATE))
    }
}

fn uid(pod: &Value) -> String {
    pod.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The ends for their memory that the collector's own containers show.
fn shown(pod: &Value) -> impl Iterator<Item = (String, Timestamp)> {
    own_statuses(pod).flat_map(|status| {
        let name = status["name"].as_str().unwrap_or_default();
        let ended = ["/state/terminated", "/lastState/terminated"].into_iter().filter_map(|at| status.pointer(at));
        let ended = ended.filter(|ended| ended["reason"] == "OOMKilled");
        ended.filter_map(move |ended| Some((name.to_owned(), time(ended, "/finishedAt")?)))
    })
}

/// What is said of collectors of a configuration version that run out of memory, if that is more than a burst.
#[must_use]
pub fn failure(ends: &SeenEnds, pods: &[Value], wanted: &str, role: CollectorRole) -> Option<LastWords> {
    let live: Vec<&Value> = pods.iter().filter(|pod| !is_terminating(pod)).collect();
    let (new, others): (Vec<&Value>, Vec<&Value>) = live.iter().partition(|pod| mounts(pod, wanted));
    let short: Vec<&Value> = new.iter().copied().filter(|pod| ends.count(pod) >= REPEATED).collect();
    let most = short.iter().map(|pod| ends.count(pod)).max()?;
    let is_other_serving = serving_other(pods, wanted).is_some();
    // On machines, what one of them runs decides about load.
    let is_spread = |count: usize| count >= MACHINES.min(live.len()) && count * 2 >= new.len();
    let early: Vec<&Value> = short.iter().copied().filter(|pod| was_never_ready(pod)).collect();
    // Where one of them came up with it, the configuration is not the cause.
    let is_none_ready = !early.is_empty() && new.iter().all(|pod| was_never_ready(pod));
    let is_unreadable = is_none_ready && early.iter().any(|pod| ends.are_of_validation(pod));
    let is_enough = match role {
        CollectorRole::NodeCollector => is_unreadable || is_spread(short.len()),
        CollectorRole::ClusterGateway => is_other_serving || short.len() * 2 >= new.len(),
    };
    if !is_enough {
        return None;
    }
    let is_load = others.iter().any(|pod| ends.count(pod) > 0);
    let is_of_configuration = match role {
        _ if is_load => is_unreadable,
        CollectorRole::ClusterGateway => is_none_ready,
        CollectorRole::NodeCollector => is_unreadable || is_spread(early.len()),
    };
    let is_held = is_other_serving && !is_load;
    let when = if is_of_configuration { " before it was ready" } else { "" };
    let text = format!("it ran out of memory again and again{when} (OOMKilled, {most} times in one pod)");
    Some(LastWords { text, subject: None, shortage: Some(Shortage { is_of_configuration, is_held }) })
}

/// Whether a pod has not been ready since it began: its readiness is what it was then.
fn was_never_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let ready = conditions.into_iter().find(|one| one["type"] == "Ready" && one["status"] == "False");
    let changed = ready.and_then(|ready| time(ready, "/lastTransitionTime"));
    let began = time(pod, "/status/startTime");
    began.zip(changed).is_some_and(|(began, changed)| changed.duration_since(began) <= ONE_SECOND)
}

/// The version of a pod that serves with another configuration than this one.
#[must_use]
pub fn serving_other(pods: &[Value], wanted: &str) -> Option<String> {
    serving_versions(pods).find(|version| version != wanted)
}

/// Whether collectors of a version have run for long enough to say that they do not run out of memory.
#[must_use]
pub fn has_settled(pods: &[Value], wanted: &str, now: Timestamp) -> bool {
    let mut of_version = pods.iter().filter(|pod| mounts(pod, wanted) && !is_terminating(pod)).peekable();
    let has_run = |pod: &Value| {
        let started = own_statuses(pod).filter_map(|one| time(one, "/state/running/startedAt")).max();
        is_ready(pod) && started.is_some_and(|started| now.duration_since(started) >= SETTLED)
    };
    of_version.peek().is_some() && of_version.all(has_run)
}

fn time(value: &Value, pointer: &str) -> Option<Timestamp> {
    value.pointer(pointer)?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const GATEWAY: CollectorRole = CollectorRole::ClusterGateway;
    const NODE: CollectorRole = CollectorRole::NodeCollector;

    fn now() -> Timestamp {
        "2026-01-01T01:00:00Z".parse().unwrap()
    }

    fn ago(minutes: i64) -> String {
        (now() - SignedDuration::from_mins(minutes)).to_string()
    }

    /// A pod that began an hour ago, and whose readiness changed some minutes ago.
    fn pod(name: &str, version: &str, status: &str, changed: i64, container: Value) -> Value {
        json!({
            "metadata": {"uid": name},
            "spec": {"volumes": [{"name": "config", "configMap": {"name": version}}]},
            "status": {
                "startTime": ago(60),
                "conditions": [{"type": "Ready", "status": status, "lastTransitionTime": ago(changed)}],
                "containerStatuses": [container],
            },
        })
    }

    /// A pod whose container ended so many minutes ago, the last two times.
    fn ended(name: &str, version: &str, container: &str, reason: &str, minutes: [i64; 2]) -> Value {
        let end = |minutes: i64| json!({"exitCode": 137, "reason": reason, "finishedAt": ago(minutes)});
        let status = json!({
            "name": container, "restartCount": 7,
            "state": {"terminated": end(minutes[0])}, "lastState": {"terminated": end(minutes[1])},
        });
        pod(name, version, "False", 30, status)
    }

    fn short(name: &str, version: &str) -> Value {
        ended(name, version, "gateway", "OOMKilled", [1, 2])
    }

    fn never_ready(mut pod: Value) -> Value {
        pod["status"]["conditions"][0]["lastTransitionTime"] = json!(ago(60));
        pod
    }

    fn running(name: &str, version: &str, minutes: i64) -> Value {
        pod(
            name,
            version,
            "True",
            minutes,
            json!({"name": "gateway", "state": {"running": {"startedAt": ago(minutes)}}}),
        )
    }

    fn found(pods: &[Value], role: CollectorRole) -> Option<(bool, bool)> {
        let mut ends = SeenEnds::default();
        ends.observe(pods, now());
        let words = failure(&ends, pods, "v-2", role)?;
        assert!(words.subject.is_none());
        words.shortage.map(|one| (one.is_of_configuration, one.is_held))
    }

    #[test]
    fn collectors_that_were_ready_hold_the_rollout_and_blame_nothing() {
        assert_eq!(found(&[running("a", "v-1", 60), short("b", "v-2")], GATEWAY), Some((false, true)));
        // Those of the version before do as well: it is load.
        assert_eq!(
            found(&[running("a", "v-1", 60), short("c", "v-1"), short("b", "v-2")], GATEWAY),
            Some((false, false))
        );
        assert_eq!(found(&[short("a", "v-1"), running("b", "v-2", 9)], GATEWAY), None, "the old ones alone");
        // Without another version, half of them.
        assert_eq!(found(&[short("b", "v-2")], GATEWAY), Some((false, false)));
        assert_eq!(found(&[short("b", "v-2"), running("c", "v-2", 9), running("d", "v-2", 9)], GATEWAY), None);
    }

    #[test]
    fn only_collectors_that_were_never_ready_blame_the_configuration() {
        let early = never_ready(short("b", "v-2"));
        assert_eq!(found(&[running("a", "v-1", 60), early.clone()], GATEWAY), Some((true, true)));
        assert_eq!(found(std::slice::from_ref(&early), GATEWAY), Some((true, false)));
        let mixed = [running("a", "v-1", 60), early.clone(), running("c", "v-2", 9)];
        assert_eq!(found(&mixed, GATEWAY), Some((false, true)), "another one came up with the same configuration");
        let load = [running("a", "v-1", 60), short("c", "v-1"), early.clone()];
        assert_eq!(found(&load, GATEWAY), Some((false, false)), "those of the version before do as well");
        let mut unknown = early;
        unknown["status"]["startTime"] = Value::Null;
        assert_eq!(found(&[unknown], GATEWAY), Some((false, false)), "it is not known whether it was ready");
    }

    /// Whoever runs on one machine can fill the collector of that one.
    #[test]
    fn node_collectors_count_on_several_machines() {
        let old = |count: usize| (0..count).map(|number| running(&format!("old-{number}"), "v-1", 60));
        let new = |count: usize| (0..count).map(|number| never_ready(short(&format!("new-{number}"), "v-2")));
        let pods = |before: usize, count: usize| old(before).chain(new(count)).collect::<Vec<Value>>();
        assert_eq!(found(&pods(9, 1), NODE), None);
        assert_eq!(found(&pods(9, 2), NODE), None);
        assert_eq!(found(&pods(9, 3), NODE), Some((true, true)));
        assert_eq!(found(&pods(0, 2), NODE), Some((true, false)), "all, where there are fewer");
        let mut many = pods(9, 3);
        many.extend((0..4).map(|number| running(&format!("fine-{number}"), "v-2", 9)));
        assert_eq!(found(&many, NODE), None, "less than half of the new ones");
        // Those that were ready tell nothing about the configuration.
        let late: Vec<Value> = old(9).chain((0..3).map(|number| short(&format!("new-{number}"), "v-2"))).collect();
        assert_eq!(found(&late, NODE), Some((false, true)));
    }

    #[test]
    fn only_ends_of_the_collector_for_its_memory_count() {
        let with = |pod: Value| found(&[running("a", "v-1", 60), pod], GATEWAY).is_some();
        assert!(with(ended("b", "v-2", "gateway", "OOMKilled", [1, 2])));
        assert!(!with(ended("b", "v-2", "istio-proxy", "OOMKilled", [1, 2])), "a container of others");
        assert!(!with(ended("b", "v-2", "gateway", "Error", [1, 2])), "another reason");
        assert!(!with(ended("b", "v-2", "gateway", "OOMKilled", [11, 12])), "long ago");
        assert!(!with(ended("b", "v-2", "gateway", "OOMKilled", [1, 1])), "it is one end");
        let mut crashed = ended("b", "v-2", "gateway", "OOMKilled", [1, 2]);
        crashed["status"]["containerStatuses"][0]["lastState"]["terminated"]["reason"] = json!("Error");
        assert!(!with(crashed), "the other end was a crash, whatever the number of restarts");
    }

    /// A pod shows its last end alone while it waits; the one before was seen.
    #[test]
    fn ends_are_remembered_while_they_are_new() {
        let waiting = |minutes: i64| {
            let mut pod = ended("b", "v-2", "gateway", "OOMKilled", [0, minutes]);
            pod["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
            pod
        };
        let mut ends = SeenEnds::default();
        ends.observe(&[waiting(5)], now());
        assert_eq!(failure(&ends, &[waiting(5)], "v-2", GATEWAY), None, "once is a burst");
        ends.observe(&[waiting(1)], now());
        let words = failure(&ends, &[waiting(1)], "v-2", GATEWAY).unwrap();
        assert!(words.text.contains("2 times"), "{words:?}");
        ends.observe(&[], now() + SignedDuration::from_mins(9));
        assert_eq!(ends, SeenEnds::default());
    }

    /// The container that reads the configuration gets no items, wherever it runs.
    #[test]
    fn configuration_that_cannot_be_read_is_blamed_on_one_machine() {
        let mut pod = never_ready(short("b", "v-2"));
        let status = pod["status"]["containerStatuses"].take();
        pod["status"]["initContainerStatuses"] = status;
        pod["status"]["initContainerStatuses"][0]["name"] = json!("validate");
        assert_eq!(found(&[running("a", "v-1", 60), pod.clone()], GATEWAY), Some((true, true)));
        assert_eq!(found(&[running("a", "v-1", 60), pod], NODE), Some((true, true)));
    }

    #[test]
    fn collectors_settle_after_they_ran_for_a_while() {
        let settled = |pods: &[Value]| has_settled(pods, "v-3", now());
        assert!(settled(&[running("a", "v-3", 5), short("b", "v-2")]));
        assert!(!settled(&[running("a", "v-3", 4)]) && !settled(&[running("a", "v-2", 9)]) && !settled(&[]));
        assert!(!settled(&[running("a", "v-3", 9), short("b", "v-3")]));
    }
}
