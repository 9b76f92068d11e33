//! What rejected pods say, and when it is held against the agents.

use super::*;
use crate::instrumentation::rollback::{Options, judge as judged};
use odigos_api::rollout::PodsBaseline;
use serde_json::json;

const NOW: i64 = 100_000;

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW - seconds).unwrap()
}

fn pod(hash: &str) -> PodSeen {
    let hash = (!hash.is_empty()).then(|| hash.to_owned());
    PodSeen { hash, created: Some(ago(150)), is_ready: true, ready_changed: Some(ago(140)), ..PodSeen::default() }
}

fn failure(since: i64, last: Option<i64>) -> CreationFailure {
    CreationFailure { since: ago(since), last: last.map(ago), message: "exceeded quota".into() }
}

fn event(kind: &str, name: &str, first: i64, last: i64) -> Event {
    serde_json::from_value(json!({
        "metadata": {"name": "e", "namespace": "shop"}, "reason": "FailedCreate", "message": format!("{name} is forbidden:\n exceeded quota."),
        "involvedObject": {"kind": kind, "namespace": "shop", "name": name, "uid": "u-1"},
        "firstTimestamp": ago(first).to_string(), "lastTimestamp": ago(last).to_string(),
    }))
    .unwrap()
}

/// What is the case, the failure, the pods, how they were before, the verdict.
type Row<'a> = (&'a str, CreationFailure, Vec<PodSeen>, Option<&'a PodsBaseline>, &'a str);

#[test]
fn rejected_pods_are_held_against_agents_where_these_came_first() {
    let before = |pods, creation_failed| PodsBaseline { pods, ready_pods: pods, crashed_pods: 0, creation_failed };
    let (two, none, failed) = (before(2, false), before(0, false), before(2, true));
    let going = || PodSeen { is_going: true, ..pod("") };
    let rows: Vec<Row<'_>> = vec![
        ("no pod with agents, for a minute", failure(60, None), vec![pod("")], Some(&two), "FailedCreate"),
        ("not yet for a minute", failure(20, None), vec![pod("")], Some(&two), "wait 40"),
        ("Recreate: no pod at all", failure(70, None), vec![], Some(&two), "FailedCreate"),
        ("one of two fits", failure(70, None), vec![pod("h")], Some(&two), "FailedCreate"),
        ("a pod that goes still counts against a quota", failure(70, None), vec![going()], Some(&two), "wait 20"),
        ("as many as before fit: growth is rejected", failure(70, None), vec![pod("h"), pod("h")], Some(&two), "well"),
        ("it failed before", failure(70, None), vec![pod("")], Some(&failed), "well"),
        ("a Job that never had a pod", failure(70, None), vec![], None, "FailedCreate"),
        ("nothing is known of before, and it is older", failure(300, None), vec![pod("")], None, "well"),
        ("an Event that goes on since an earlier attempt", failure(900, Some(5)), vec![], Some(&none), "FailedCreate"),
        ("an Event of an earlier attempt", failure(900, Some(300)), vec![], Some(&none), "well"),
    ];
    for (what, failure, pods, baseline, expected) in rows {
        let options = Options { grace: SignedDuration::from_secs(90), ..Options::default() };
        let case = Case {
            pods: &pods,
            wanted: "h",
            baseline,
            creation_failure: Some(&failure),
            since: Some(ago(200)),
            canary: None,
            options,
            now: ago(0),
        };
        let found = match judged(&case) {
            Verdict::Well => "well".to_owned(),
            Verdict::Wait(left) => format!("wait {}", left.as_secs()),
            Verdict::Acquitted(_) => "acquitted".into(),
            Verdict::RollBack(cause) => {
                assert!(cause.message.contains("exceeded quota"), "{}", cause.message);
                cause.reason.as_str().into()
            }
        };
        assert_eq!(found, expected, "{what}");
        let disabled = Case { options: Options { is_disabled: true, ..options }, ..case };
        assert_eq!(judged(&disabled), Verdict::Well, "{what}");
    }
}

#[test]
fn a_deployment_says_it_in_a_condition() {
    let object = |status: &str| {
        json!({"status": {"conditions": [
            {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"},
            {"type": "ReplicaFailure", "status": status, "reason": "FailedCreate", "lastTransitionTime": ago(7).to_string(),
             "message": "pods \"web-\" is forbidden: maximum memory usage per Container is 100Mi, but limit is 300Mi"},
        ]}})
    };
    let found = CreationFailure::of_conditions(&object("True")).unwrap();
    assert_eq!((found.since, found.last), (ago(7), None));
    assert!(found.message.ends_with("but limit is 300Mi"), "{}", found.message);
    assert_eq!(CreationFailure::of_conditions(&object("False")), None);
}

#[test]
fn events_count_while_pods_are_lacking() {
    let set =
        |replicas: i64| json!({"metadata": {"uid": "u-1"}, "spec": {"replicas": 2}, "status": {"replicas": replicas}});
    let of = |kind, object: &Value, event: &Event, pods: &[PodSeen]| {
        CreationFailure::of_events(kind, object, [event], pods, ago(0)).map(|one| (one.since, one.last, one.message))
    };
    let told = event("StatefulSet", "db", 90, 5);
    let expected = Some((ago(90), Some(ago(5)), "db is forbidden: exceeded quota".to_owned()));
    assert_eq!(of(WorkloadKind::StatefulSet, &set(1), &told, &[]), expected);
    assert_eq!(of(WorkloadKind::StatefulSet, &set(2), &told, &[]), None, "all its pods are there");
    let other = json!({"metadata": {"uid": "u-2"}, "spec": {"replicas": 2}, "status": {"replicas": 1}});
    assert_eq!(of(WorkloadKind::StatefulSet, &other, &told, &[]), None, "an earlier object of that name");
    let old = event("StatefulSet", "db", 9000, 3000);
    assert_eq!(of(WorkloadKind::StatefulSet, &set(1), &old, &[]), None, "its controller would have tried again");
    let daemons = |now: i64| json!({"metadata": {"uid": "u-1"}, "status": {"desiredNumberScheduled": 3, "currentNumberScheduled": now}});
    assert!(of(WorkloadKind::DaemonSet, &daemons(2), &told, &[]).is_some());
    assert_eq!(of(WorkloadKind::DaemonSet, &daemons(3), &told, &[]), None);
    let (job, cron) = (event("Job", "import-29380000", 60, 30), json!({"metadata": {"uid": "u-9"}}));
    assert!(of(WorkloadKind::CronJob, &cron, &job, &[pod("")]).is_some(), "its last pod is older");
    let younger = PodSeen { created: Some(ago(10)), ..pod("") };
    assert_eq!(of(WorkloadKind::CronJob, &cron, &job, &[younger]), None);
}

#[test]
fn the_workload_of_an_event() {
    let of = |kind: &str, name: &str| subject_of(&event(kind, name, 1, 1)).map(|one| one.to_string());
    assert_eq!(of("StatefulSet", "db").as_deref(), Some("StatefulSet shop/db"));
    assert_eq!(of("DaemonSet", "agent").as_deref(), Some("DaemonSet shop/agent"));
    assert_eq!(of("Job", "import-29380000").as_deref(), Some("CronJob shop/import"));
    assert_eq!(of("Job", "import").as_deref(), None);
    assert_eq!(of("ReplicaSet", "web-5d4f").as_deref(), None, "its Deployment has a condition");
}
