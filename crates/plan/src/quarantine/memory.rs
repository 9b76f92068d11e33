//! Collectors that the kernel ends for their memory: what of that is evidence against a configuration.
//!
//! Owns when it is evidence, and when collectors without a suspect have run for long enough to confirm it. Such a collector names nothing, and load
//! ends collectors as well. So it must happen again and again to pods of the newest configuration: while pods of another one serve, to one
//! of them, else to half of them. Never chooses a suspect ([`super::attribution`]).

use super::{LastWords, is_ready, is_terminating, mounts, serving_versions};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// Ends of one collector that are evidence: the first may be a burst of items.
const REPEATED: i64 = 2;
/// For how long an end counts. Kubelets wait up to five minutes before they start a container again.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(10);
/// For how long collectors must run without a suspect before it is confirmed.
pub const SETTLED: SignedDuration = SignedDuration::from_mins(5);
/// For how long a configuration is new where all collectors run it: what is older is not why they run out of memory now.
pub const NEW: SignedDuration = SignedDuration::from_mins(60);
/// For how long it is remembered that collectors had memory enough without an object.
pub const REMEMBERED_SUSPECT: SignedDuration = SignedDuration::from_hours(24);

/// What is said of collectors of a configuration version that run out of memory, if that is evidence against it.
#[must_use]
pub fn failure(pods: &[Value], wanted: &str, now: Timestamp) -> Option<LastWords> {
    let of_version: Vec<&Value> = pods.iter().filter(|pod| mounts(pod, wanted) && !is_terminating(pod)).collect();
    let ends: Vec<i64> = of_version.iter().filter_map(|pod| ends(pod, now)).filter(|ends| *ends >= REPEATED).collect();
    let most = ends.iter().max()?;
    if serving_other(pods, wanted).is_none() && ends.len() * 2 < of_version.len() {
        return None;
    }
    let text = format!("it ran out of memory again and again (OOMKilled, {most} times in one pod)");
    Some(LastWords { text, subject: None, is_out_of_memory: true })
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
        let started = containers(pod).filter_map(|one| time(one, "/state/running/startedAt")).max();
        is_ready(pod) && started.is_some_and(|started| now.duration_since(started) >= SETTLED)
    };
    of_version.peek().is_some() && of_version.all(has_run)
}

/// How often a collector of this pod ended, if its last end was lately and for its memory.
fn ends(pod: &Value, now: Timestamp) -> Option<i64> {
    containers(pod).find_map(|status| {
        let ended = ["/state/terminated", "/lastState/terminated"].iter().find_map(|at| status.pointer(at))?;
        let is_lately = time(ended, "/finishedAt").is_some_and(|end| now.duration_since(end) < REMEMBERED);
        let before = status["restartCount"].as_i64().unwrap_or_default();
        let count = before + i64::from(status.pointer("/state/terminated").is_some());
        (ended["reason"] == "OOMKilled" && is_lately).then_some(count)
    })
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    pod.pointer("/status/containerStatuses").and_then(Value::as_array).into_iter().flatten()
}

fn time(value: &Value, pointer: &str) -> Option<Timestamp> {
    value.pointer(pointer)?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn now() -> Timestamp {
        "2026-01-01T01:00:00Z".parse().unwrap()
    }

    /// A pod whose collector was ended so often, last some minutes ago.
    fn ended(version: &str, times: i64, minutes: i64, reason: &str) -> Value {
        let finished = (now() - SignedDuration::from_mins(minutes)).to_string();
        json!({
            "spec": {"volumes": [{"name": "config", "configMap": {"name": version}}]},
            "status": {
                "conditions": [{"type": "Ready", "status": "False"}],
                "containerStatuses": [{
                    "name": "gateway", "restartCount": times, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"exitCode": 137, "reason": reason, "finishedAt": finished}},
                }],
            },
        })
    }

    /// A pod that has run for some minutes.
    fn running(version: &str, minutes: i64) -> Value {
        let started = (now() - SignedDuration::from_mins(minutes)).to_string();
        json!({
            "spec": {"volumes": [{"name": "config", "configMap": {"name": version}}]},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "gateway", "restartCount": 0, "state": {"running": {"startedAt": started}}}],
            },
        })
    }

    #[test]
    fn repeated_ends_of_the_newest_are_evidence_while_others_serve() {
        let found = |pods: &[Value]| failure(pods, "v-2", now());
        let words = found(&[running("v-1", 60), ended("v-2", 2, 1, "OOMKilled")]).unwrap();
        assert!(words.is_out_of_memory && words.subject.is_none() && words.text.contains("2 times"), "{words:?}");
        assert_eq!(found(&[running("v-1", 60), ended("v-2", 1, 1, "OOMKilled")]), None, "once is a burst");
        assert_eq!(found(&[running("v-1", 60), ended("v-2", 2, 11, "OOMKilled")]), None, "long ago");
        assert_eq!(found(&[running("v-1", 60), ended("v-2", 2, 1, "Error")]), None, "another reason");
        assert_eq!(found(&[ended("v-1", 9, 1, "OOMKilled"), running("v-2", 9)]), None, "the old ones do");
    }

    #[test]
    fn one_of_many_equal_pods_is_load_and_no_evidence() {
        let busy = ended("v-2", 5, 1, "OOMKilled");
        let found = |pods: &[Value]| failure(pods, "v-2", now()).is_some();
        assert!(!found(&[busy.clone(), running("v-2", 60), running("v-2", 60)]));
        assert!(found(&[busy.clone(), ended("v-2", 2, 1, "OOMKilled"), running("v-2", 60)]));
        assert!(found(&[busy]));
    }

    #[test]
    fn collectors_settle_after_they_ran_for_a_while() {
        let settled = |pods: &[Value]| has_settled(pods, "v-3", now());
        assert!(settled(&[running("v-3", 5), ended("v-2", 2, 1, "OOMKilled")]));
        assert!(!settled(&[running("v-3", 4)]) && !settled(&[running("v-2", 9)]) && !settled(&[]));
        assert!(!settled(&[running("v-3", 9), ended("v-3", 1, 1, "OOMKilled")]));
    }
}
