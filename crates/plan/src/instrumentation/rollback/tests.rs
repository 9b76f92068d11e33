//! Who is to blame, and from when on (rows 45–49 of section 7).

use super::*;
use crate::instrumentation::pods::{ContainerSeen, Failure};

const NOW: i64 = 100_000;

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW - seconds).unwrap()
}

/// A pod of this age, ready.
fn pod(name: &str, hash: &str, age: i64) -> PodSeen {
    PodSeen {
        name: name.into(),
        hash: (!hash.is_empty()).then(|| hash.to_owned()),
        revision: "r1".into(),
        created: Some(ago(age)),
        is_ready: true,
        ready_changed: Some(ago(age)),
        ..PodSeen::default()
    }
}

/// With a container in this state.
fn with(mut pod: PodSeen, restarts: u32, waiting: &str, is_failed: bool) -> PodSeen {
    let failure = is_failed.then(|| Failure {
        exit_code: 137,
        reason: "OOMKilled".into(),
        message: String::new(),
        at: Some(ago(5)),
    });
    let waiting = (waiting.to_owned(), String::new());
    pod.containers = vec![ContainerSeen { name: "app".into(), restarts, waiting, failure }];
    pod.is_ready = false;
    pod
}

fn unready(mut pod: PodSeen) -> PodSeen {
    pod.is_ready = false;
    pod
}

fn case<'a>(pods: &'a [PodSeen], baseline: Option<&'a PodsBaseline>) -> Case<'a> {
    let options = Options { grace: SignedDuration::from_secs(90), ..Options::default() };
    let since = Some(ago(200));
    Case { pods, wanted: "h", baseline, creation_failure: None, since, canary: None, options, now: ago(0) }
}

fn outcome(case: &Case<'_>) -> String {
    match judge(case) {
        Verdict::Well => "well".into(),
        Verdict::Wait(left) => format!("wait {}", left.as_secs()),
        Verdict::Acquitted(_) => "acquitted".into(),
        Verdict::RollBack(cause) => cause.reason.as_str().into(),
    }
}

#[test]
fn pods_are_compared_with_those_without_agents() {
    let old = pod("old", "", 9000);
    let before = |ready_pods, crashed_pods| PodsBaseline { pods: 2, ready_pods, crashed_pods, creation_failed: false };
    let crash = |age| with(pod("a", "h", age), 3, "CrashLoopBackOff", true);
    let (well, failed, away) = (before(2, 0), before(2, 1), before(0, 0));
    let rows: Vec<(&str, Vec<PodSeen>, Option<&PodsBaseline>, &str)> = vec![
        ("all is well", vec![pod("a", "h", 100), old.clone()], None, "well"),
        ("45: in backoff, beyond the grace", vec![crash(90)], None, "CrashLoopBackOff"),
        ("45: within it", vec![crash(60)], None, "wait 30"),
        ("46: an image", vec![with(pod("a", "h", 100), 0, "ImagePullBackOff", false)], None, "ImagePullBackOff"),
        (
            "46: between two attempts",
            vec![with(pod("a", "h", 100), 0, "ErrImagePull", false)],
            None,
            "ImagePullBackOff",
        ),
        (
            "fails again and again, those without do not",
            vec![with(pod("a", "h", 100), 2, "", true), old.clone()],
            None,
            "CrashLoopBackOff",
        ),
        ("failed once", vec![with(pod("a", "h", 100), 1, "", true), pod("b", "h", 100), old.clone()], None, "well"),
        (
            "those without fail as well",
            vec![with(pod("a", "h", 100), 2, "", true), with(old.clone(), 9, "", true)],
            Some(&failed),
            "well",
        ),
        ("they did before", vec![with(pod("a", "h", 100), 2, "", true)], Some(&failed), "well"),
        ("never ready, those without are", vec![unready(pod("a", "h", 180)), old.clone()], None, "CrashLoopBackOff"),
        ("never ready, those before were", vec![unready(pod("a", "h", 190))], Some(&well), "CrashLoopBackOff"),
        ("never ready, nor were those before", vec![unready(pod("a", "h", 190))], Some(&away), "well"),
        ("never ready, nothing to compare with", vec![unready(pod("a", "h", 190))], None, "well"),
        (
            "another with the same agents is",
            vec![unready(pod("a", "h", 190)), pod("b", "h", 100), old.clone()],
            None,
            "well",
        ),
        ("on its way out", vec![PodSeen { is_going: true, ..crash(100) }, old], None, "well"),
        (
            "a new release of the user fails: the same agents are well in the old one",
            vec![PodSeen { revision: "r2".into(), ..crash(100) }, pod("b", "h", 150)],
            None,
            "acquitted",
        ),
        ("of one revision, some fail", vec![crash(100), pod("b", "h", 150)], None, "CrashLoopBackOff"),
    ];
    for (what, pods, baseline, expected) in rows {
        assert_eq!(outcome(&case(&pods, baseline)), expected, "{what}");
    }
}

#[test]
fn room_on_the_nodes_is_not_the_agents_fault() {
    let waiting =
        |why: &str| vec![PodSeen { unscheduled: Some(why.into()), ..unready(pod("a", "h", 190)) }, pod("old", "", 900)];
    let full = waiting("0/3 nodes are available: 3 Insufficient cpu.");
    assert_eq!(outcome(&case(&full, None)), "well");
    let device = waiting("0/3 nodes are available: 3 Insufficient instrumentation.odigos.io/generic.");
    assert_eq!(outcome(&case(&device, None)), "CrashLoopBackOff");
    let affinity = waiting("0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.");
    let Verdict::RollBack(cause) = judge(&case(&affinity, None)) else { panic!("it must be rolled back") };
    assert!(cause.message.contains("pod a finds no node: 0/3 nodes"), "{cause:?}");
}

#[test]
fn the_window_closes_and_the_switch_holds() {
    let pods = [with(pod("a", "h", 100), 3, "CrashLoopBackOff", true)];
    let of = |change: fn(&mut Case<'_>)| {
        let mut case = case(&pods, None);
        change(&mut case);
        outcome(&case)
    };
    assert_eq!(of(|case| case.options.is_disabled = true), "well", "48");
    assert_eq!(of(|case| case.since = None), "well", "no pod had agents");
    assert_eq!(of(|case| case.options.window = SignedDuration::from_secs(200)), "well", "the window has gone");
    assert_eq!(of(|case| case.options.window = SignedDuration::from_secs(201)), "CrashLoopBackOff");
    // 47: a window shorter than the grace: it is waited for, and then it is too late.
    let short = |now: i64| {
        let mut case = case(&pods, None);
        case.options.window = SignedDuration::from_secs(120);
        case.options.grace = SignedDuration::from_secs(180);
        case.since = Some(ago(100));
        case.now = ago(-now);
        outcome(&case)
    };
    assert_eq!((short(0).as_str(), short(20).as_str(), short(100).as_str()), ("wait 80", "well", "well"));
    // A single pod that goes first is given less time, as long as it crashes.
    assert_eq!(
        of(|case| (case.canary, case.options.grace) =
            (Some(SignedDuration::from_secs(30)), SignedDuration::from_mins(5))),
        "CrashLoopBackOff"
    );
}

#[test]
fn a_recovery_is_asked_for_once() {
    let status = |known: Option<&str>| InstrumentationConfigStatus {
        rollback_occurred: Some(true),
        rollback: known.map(|known| Rollback { recovery: known.to_owned(), ..Rollback::default() }),
        ..InstrumentationConfigStatus::default()
    };
    let due = |known, recovery, processed| is_recovery_due(Some(&status(known)), recovery, processed);
    assert!(due(Some(""), Some("t1"), None));
    assert!(!due(Some("t1"), Some("t1"), None), "49: the same again");
    assert!(due(Some("t1"), Some("t2"), Some("t1")));
    assert!(!due(Some(""), Some(""), None) && !due(Some(""), None, None));
    assert!(!due(None, Some("t1"), Some("t1")) && due(None, Some("t2"), Some("t1")), "of another implementation");
    assert!(
        !is_recovery_due(Some(&InstrumentationConfigStatus::default()), Some("t1"), None),
        "nothing was rolled back"
    );
}

#[test]
fn a_pod_that_is_only_not_ready_tells_how_it_failed_before() {
    let pods = [pod("old", "", 9000), with(pod("new", "h", 250), 1, "", true)];
    let Verdict::RollBack(cause) = judge(&case(&pods, None)) else { panic!("it is unwell for long") };
    assert_eq!(cause.message, "pod new is not ready; container app failed before, exit code 137 (OOMKilled).");
}
