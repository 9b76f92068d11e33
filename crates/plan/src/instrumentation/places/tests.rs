//! Whose turn it is (row 39 of section 7).

use super::*;
use odigos_api::WorkloadKind;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn of(namespace: &str, name: &str) -> WorkloadRef {
    WorkloadRef::new(namespace, WorkloadKind::Deployment, name)
}

fn turn(limits: Limits, all: &[(&str, &str, Standing)], now: i64) -> Vec<String> {
    let all = all.iter().map(|(namespace, name, standing)| (of(namespace, name), standing.clone())).collect();
    next(limits, &all, at(now)).into_iter().map(|one| one.name).collect()
}

#[test]
fn zero_lifts_a_limit_that_holds_by_default() {
    let of = |text: &str| Limits::of(&Configuration::parse(text).unwrap());
    assert_eq!(of("{}"), Limits::default());
    assert!(Limits::default().are_set());
    assert!(!of("rollout: {maxConcurrentRollouts: 0, maxConcurrentRolloutsPerNamespace: 0}").are_set());
}

#[test]
fn the_oldest_change_is_next() {
    use Standing::{Holds, Waits};
    let limits = |total, in_namespace| Limits { total, in_namespace, ..Limits::default() };
    let all = [
        ("a", "runs", Holds(at(1000))),
        ("a", "young", Waits(at(900))),
        ("b", "old", Waits(at(100))),
        ("a", "middle", Waits(at(500))),
    ];
    assert_eq!(turn(limits(Some(1), None), &all, 1010), [""; 0]);
    assert_eq!(turn(limits(Some(2), None), &all, 1010), ["old"]);
    assert_eq!(turn(limits(Some(3), None), &all, 1010), ["old", "middle"]);
    assert_eq!(turn(limits(None, None), &all, 1010), ["old", "middle", "young"]);
    // Who waits for the namespace keeps nobody of another one waiting, and takes nobody's place.
    assert_eq!(turn(limits(None, Some(1)), &all, 1010), ["old"]);
    assert_eq!(turn(limits(Some(4), Some(2)), &all, 1010), ["old", "middle"]);
    let blocked = [("a", "runs", Holds(at(1000))), ("a", "first", Waits(at(1))), ("b", "second", Waits(at(2)))];
    assert_eq!(turn(limits(Some(2), Some(1)), &blocked, 1010), ["second"]);
    // What has not ended for a quarter of an hour gives its place away.
    assert_eq!(turn(limits(Some(1), None), &all, 1000 + 899), [""; 0]);
    assert_eq!(turn(limits(Some(1), None), &all, 1000 + 900), ["old"]);
}

#[test]
fn a_new_leader_reads_who_has_a_place() {
    use odigos_api::condition::{ConditionDraft, merged};
    use odigos_api::instrumentation_config::InstrumentationConfigStatus;
    let config = |reason: &str, rolled_back: bool| {
        let drafts = [ConditionDraft::yes(WORKLOAD_ROLLOUT, reason, "")];
        let status = InstrumentationConfigStatus {
            conditions: merged(&[], &drafts, None, at(50)),
            rollback_occurred: rolled_back.then_some(true),
            ..InstrumentationConfigStatus::default()
        };
        standing(&InstrumentationConfig { status: Some(status), ..InstrumentationConfig::default() })
    };
    assert_eq!(config(HOLDS, false), Some(Standing::Holds(at(50))));
    assert_eq!(config(HOLDS, true), None, "50: a rollback takes no place");
    assert_eq!(config(WAITS, false), Some(Standing::Waits(at(0))));
    assert_eq!(config("RolloutFinished", false), None);
}
