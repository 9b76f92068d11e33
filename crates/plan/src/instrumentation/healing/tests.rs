//! Which pod is mended next (row 57 of section 7).

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn pod(name: &str, hash: &str, created: i64) -> PodSeen {
    let hash = (!hash.is_empty()).then(|| hash.to_owned());
    PodSeen {
        name: name.into(),
        hash,
        revision: "r".into(),
        created: Some(at(created)),
        is_ready: true,
        ..PodSeen::default()
    }
}

fn outcome(pods: &[PodSeen], change: impl Fn(&mut Case<'_>, &mut Progress)) -> String {
    let mut progress = Progress { replicas: 3, spares_a_pod: true, replaces_pods: true, ..Progress::default() };
    let stand_in = progress.clone();
    let mut case =
        Case { kind: WorkloadKind::Deployment, pods, wanted: "h", progress: &stand_in, since: None, now: at(100) };
    change(&mut case, &mut progress);
    match step(&Case { progress: &progress, ..case }) {
        Step::Leave(why) => format!("leave: {why}"),
        Step::Wait => "wait".into(),
        Step::Evict(pod) => pod.name.clone(),
        Step::Restart => "restart".into(),
    }
}

#[test]
fn every_case() {
    let same = |_: &mut Case<'_>, _: &mut Progress| {};
    let missed = [pod("a", "h", 1), pod("b", "", 20), pod("c", "", 10)];
    assert_eq!(outcome(&missed, same), "c", "the oldest first");
    let stale = [pod("a", "h", 1), pod("b", "before", 5)];
    assert_eq!(outcome(&stale, same), "b", "admitted by one that did not know yet");
    let going = [pod("a", "h", 1), pod("b", "", 20), PodSeen { is_going: true, ..pod("c", "", 10) }];
    assert_eq!(outcome(&going, same), "wait", "one at a time");
    let unready = [PodSeen { is_ready: false, ..pod("a", "h", 1) }, pod("b", "", 20)];
    assert_eq!(outcome(&unready, same), "wait");
    let itself = [pod("a", "h", 1), PodSeen { is_ready: false, ..pod("b", "", 20) }];
    assert_eq!(outcome(&itself, same), "b", "nothing is lost with it");
    let again = [pod("a", "h", 1), pod("b", "", 60)];
    assert!(outcome(&again, |case, _| case.since = Some(at(50))).contains("lack agents too"));
    assert_eq!(outcome(&missed, |_, progress| progress.spares_a_pod = false), "restart");
    let waits =
        |case: &mut Case<'_>, progress: &mut Progress| (case.since, progress.spares_a_pod) = (Some(at(90)), false);
    assert_eq!(outcome(&missed, waits), "wait", "once");
    assert!(outcome(&missed, |_, progress| progress.replaces_pods = false).contains("update strategy"));
    assert!(outcome(&missed, |case, _| case.kind = WorkloadKind::CronJob).contains("nothing makes them anew"));
    let stuck = [pod("a", "h", 1), PodSeen { revision: "old".into(), ..pod("b", "", 20) }];
    assert!(outcome(&stuck, same).contains("another revision"), "what lacks agents is what still serves");
}
