//! The first pod: when there is one, and what is waited for.

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn pod(name: &str, hash: &str, created: i64) -> PodSeen {
    let hash = (!hash.is_empty()).then(|| hash.to_owned());
    PodSeen { name: name.into(), hash, created: Some(at(created)), is_ready: true, ..PodSeen::default() }
}

fn record(replaces: &str, result: &str) -> RolloutProgress {
    let canary = Canary {
        replaces: replaces.into(),
        evicted_at: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(1000))),
        result: result.into(),
    };
    RolloutProgress { agents_meta_hash: "h".into(), canary: Some(canary), ..RolloutProgress::default() }
}

fn outcome(pods: &[PodSeen], record: Option<&RolloutProgress>, change: impl Fn(&mut Case<'_>)) -> String {
    let progress = Progress { replicas: 2, spares_a_pod: true, replaces_pods: true, ..Progress::default() };
    let time = SignedDuration::from_secs(30);
    let mut case =
        Case { kind: WorkloadKind::Deployment, pods, progress: &progress, wanted: "h", record, time, now: at(1010) };
    change(&mut case);
    match step(&case) {
        Step::None => "none".into(),
        Step::Begin(pod) => format!("begin {}", pod.name),
        Step::Watch(left) => format!("watch {}", left.as_secs()),
        Step::Done(result) => result.into(),
    }
}

#[test]
fn every_case() {
    let two = [pod("a", "", 1), pod("b", "", 2)];
    let same = |_: &mut Case<'_>| {};
    assert_eq!(outcome(&two, None, same), "begin b");
    assert_eq!(outcome(&two, None, |case| case.time = SignedDuration::ZERO), "none");
    assert_eq!(outcome(&two, None, |case| case.kind = WorkloadKind::StatefulSet), "none");
    assert_eq!(outcome(&two[..1], None, same), "none", "one is not there");
    let unready = [pod("a", "", 1), PodSeen { is_ready: false, ..pod("b", "", 2) }];
    assert_eq!(outcome(&unready, None, same), "none");
    let going = [pod("a", "", 1), pod("b", "", 2), PodSeen { is_going: true, ..pod("c", "", 3) }];
    assert_eq!(outcome(&going, None, same), "none");
    let none = Progress { replicas: 2, ..Progress::default() };
    let strict = Case {
        kind: WorkloadKind::Deployment,
        pods: &two,
        progress: &none,
        wanted: "h",
        record: None,
        time: SignedDuration::from_secs(30),
        now: at(1010),
    };
    assert_eq!(step(&strict), Step::None, "its strategy lets no pod be away");

    let begun = record("b", "");
    assert_eq!(outcome(&two, Some(&begun), same), "begin b", "it was noted, and not done");
    let gone = [pod("a", "", 1), pod("c", "", 1005)];
    assert_eq!(outcome(&gone, Some(&begun), same), "watch 50");
    assert_eq!(outcome(&gone, Some(&begun), |case| case.now = at(1060)), "Missed");
    let there = [pod("a", "", 1), pod("c", "h", 1005)];
    assert_eq!(outcome(&there, Some(&begun), same), "watch 25");
    assert_eq!(outcome(&there, Some(&begun), |case| case.now = at(1035)), "Passed");
    assert_eq!(outcome(&there, None, |case| case.now = at(1035)), "Passed", "one that came by itself serves as well");
    assert_eq!(outcome(&there, Some(&record("b", PASSED)), same), "none");
    let failing = [pod("a", "", 1), PodSeen { is_ready: false, ..pod("c", "h", 1005) }];
    assert_eq!(outcome(&failing, Some(&begun), |case| case.now = at(5000)), "watch 60", "the rest is left alone");
}
