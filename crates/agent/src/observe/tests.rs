//! When a pod is looked at.

use super::*;
use odigos_api::{WorkloadKind, WorkloadRef};
use odigos_detect::parse::Member;
use odigos_plan::detection::subject::Running;
use std::collections::BTreeSet;

fn subject(uid: &str, container: char) -> (String, Subject) {
    let running = Running {
        name: "app".into(),
        member: Member { pod: uid.into(), container: container.to_string().repeat(64) },
        image: "web@sha256:1".into(),
        set: BTreeSet::new(),
        has_env_from: false,
    };
    let subject = Subject {
        uid: uid.into(),
        pod: uid.into(),
        workload: WorkloadRef::new("shop", WorkloadKind::Deployment, "web"),
        created: None,
        has_agents: false,
        containers: vec![running],
    };
    (uid.to_owned(), subject)
}

#[test]
fn a_pod_is_done_until_a_container_is_started_anew() {
    let mut agenda = Agenda::default();
    let begin = Instant::now();
    let pods = BTreeMap::from([subject("a", '1'), subject("b", '2')]);
    agenda.settle(&pods, begin);
    assert_eq!(agenda.due(begin), ["a", "b"]);
    agenda.advance("a", Next::Done, begin);
    agenda.advance("b", Next::Look(Duration::from_secs(3)), begin);
    agenda.settle(&pods, begin);
    assert!(agenda.due(begin).is_empty(), "one is done, the other waits");
    assert_eq!(agenda.next_due(), Some(begin + Duration::from_secs(3)));
    let restarted = BTreeMap::from([subject("a", '9')]);
    agenda.settle(&restarted, begin);
    assert_eq!(agenda.due(begin), ["a"], "and the pod that went is forgotten");
    agenda.advance("a", Next::Done, begin);
    assert_eq!(agenda.next_due(), None, "nothing wakes it");
}

#[test]
fn failures_are_tried_again_ever_more_rarely() {
    let mut agenda = Agenda::default();
    let begin = Instant::now();
    agenda.settle(&BTreeMap::from([subject("a", '1')]), begin);
    let pauses: Vec<u64> = (0..8)
        .map(|_| {
            agenda.advance("a", Next::Retry, begin);
            (agenda.next_due().unwrap() - begin).as_secs()
        })
        .collect();
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
}
