//! Batches, limits, pauses, and what a detection pod has come to.

use super::*;
use crate::detection::waiting::Candidate;
use odigos_api::WorkloadKind;
use std::sync::Arc;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn workload(name: &str) -> WorkloadRef {
    WorkloadRef::new("shop", WorkloadKind::Deployment, name)
}

fn waiting(name: &str, nodes: &[&str]) -> Waiting {
    let candidate = |node: &&str| {
        Arc::new(Candidate {
            pod: format!("{name}-{node}"),
            uid: format!("u-{name}-{node}"),
            node: (*node).to_owned(),
            created: None,
            images: vec![("app".into(), "app@1".into()), ("side".into(), "side@1".into())],
        })
    };
    Waiting { workload: workload(name), candidates: nodes.iter().map(candidate).collect(), mark: "m1".into() }
}

struct Case {
    options: Options,
    waiting: Vec<Waiting>,
    open: Vec<DetectionPod>,
    memory: Memory,
}

impl Case {
    fn of(waiting: Vec<Waiting>) -> Self {
        let options = Options { most: 2, ..Options::default() };
        Self { options, waiting, open: Vec::new(), memory: Memory::default() }
    }

    fn plan(&self, seconds: i64) -> Plan {
        let (options, waiting, open, memory) = (&self.options, &self.waiting, &self.open, &self.memory);
        plan(&Seen { options, waiting, open, memory, now: at(seconds) })
    }

    /// Node and pods of each batch.
    fn batches(&self, seconds: i64) -> Vec<String> {
        let tell = |batch: &Batch| {
            let pods: Vec<&str> = batch.targets.iter().map(|target| target.pod.as_str()).collect();
            format!("{}: {}", batch.node, pods.join(" "))
        };
        self.plan(seconds).batches.iter().map(tell).collect()
    }

    fn begin(&mut self, seconds: i64) {
        for batch in self.plan(seconds).batches {
            self.memory.begun(&batch, at(seconds));
        }
    }
}

fn open(name: &str, node: &str, workloads: &[&str]) -> DetectionPod {
    DetectionPod {
        name: name.into(),
        node: node.into(),
        created: at(0),
        workloads: workloads.iter().map(|name| workload(name)).collect(),
        report: Report::default(),
    }
}

#[test]
fn nothing_waits_and_nothing_is_done() {
    assert_eq!(Case::of(vec![]).plan(0), Plan::default());
}

#[test]
fn one_pod_looks_at_several_workloads_of_its_node() {
    let names = ["a", "b", "c", "d", "e"];
    let mut case = Case::of(names.iter().map(|name| waiting(name, &["n1"])).collect());
    case.waiting.push(waiting("f", &["n2"]));
    assert_eq!(
        case.batches(0),
        ["n1: a-n1 b-n1 c-n1 d-n1", "n1: e-n1"],
        "two containers each, eight a pod, two pods at once"
    );
    case.options.most = 3;
    assert_eq!(case.batches(0).len(), 3);
}

#[test]
fn pods_that_are_open_take_places_and_their_workloads_are_not_asked_again() {
    let mut case = Case::of(vec![waiting("a", &["n1"]), waiting("b", &["n2"]), waiting("c", &["n3"])]);
    case.open = vec![open("x", "n1", &["a"])];
    assert_eq!(case.batches(1), ["n2: b-n2"]);
    assert_eq!(case.plan(1).recheck, Some(at(360)), "a kubelet that is away is noticed");
    case.open.push(open("y", "n2", &["b"]));
    assert!(case.batches(1).is_empty(), "c waits until a place is free");
}

#[test]
fn a_large_pod_still_has_a_detection_pod_of_its_own() {
    let mut large = waiting("a", &["n1"]);
    Arc::make_mut(&mut large.candidates[0]).images = (0..30).map(|index| (format!("c{index}"), "i".into())).collect();
    assert_eq!(Case::of(vec![large, waiting("b", &["n1"])]).batches(0), ["n1: a-n1", "n1: b-n1"]);
}

#[test]
fn tries_come_ever_more_rarely_and_on_the_nodes_in_turn() {
    let mut case = Case::of(vec![waiting("a", &["n1", "n2"])]);
    let mut begun = Vec::new();
    let mut nodes = Vec::new();
    let mut now = 0;
    for _ in 0..12 {
        let plan = case.plan(now);
        if plan.batches.is_empty() {
            now = plan.recheck.unwrap().as_second() - at(0).as_second();
        }
        nodes.push(case.plan(now).batches[0].node.clone());
        case.begin(now);
        begun.push(now);
    }
    let pauses: Vec<i64> = begun.windows(2).map(|two| two[1] - two[0]).collect();
    assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
    assert_eq!(nodes[..4], ["n1", "n2", "n1", "n2"]);
}

#[test]
fn another_pod_or_another_image_is_tried_at_once() {
    let mut case = Case::of(vec![waiting("a", &["n1"])]);
    case.begin(0);
    assert!(case.batches(1).is_empty());
    Arc::make_mut(&mut case.waiting[0].candidates[0]).uid = "another".into();
    assert_eq!(case.batches(1).len(), 1);
    case.begin(1);
    assert!(case.batches(2).is_empty());
    case.waiting[0].mark = "m2".into();
    assert_eq!(case.batches(2).len(), 1);
}

#[test]
fn what_was_looked_at_is_left_alone_until_its_images_change() {
    let mut case = Case::of(vec![waiting("a", &["n1"])]);
    case.begin(0);
    case.memory.looked_at(&workload("a"));
    assert_eq!(case.plan(100_000), Plan::default(), "nothing wakes it");
    case.waiting[0].mark = "m2".into();
    assert_eq!(case.batches(100_000).len(), 1);
    case.memory.keep(&[]);
    assert_eq!(case.memory, Memory::default(), "and nothing is kept of what needs no look");
}

#[test]
fn what_had_no_room_comes_next_and_failures_are_told() {
    let mut case = Case::of(vec![waiting("a", &["n1"]), waiting("b", &["n1"])]);
    case.begin(0);
    case.memory.left_out(&workload("a"), at(1));
    case.memory.failed(&workload("b"), "no permission");
    assert_eq!(case.batches(1), ["n1: a-n1"]);
    assert_eq!(case.memory.failure(&workload("a")), None);
    assert_eq!(case.memory.failure(&workload("b")), Some("no permission"));
    case.begin(1);
    assert_eq!(case.memory.failure(&workload("b")), Some("no permission"), "until it is tried again");
}

#[test]
fn a_refusal_of_the_api_server_holds_for_all() {
    let mut case = Case::of(vec![waiting("a", &["n1"]), waiting("b", &["n2"])]);
    case.memory.refused("violates PodSecurity".into(), at(0));
    assert_eq!(case.plan(1), Plan { batches: vec![], recheck: Some(at(10)) });
    assert_eq!(case.memory.failure(&workload("b")), Some("violates PodSecurity"));
    assert_eq!(case.batches(10).len(), 2);
    case.memory.refused("violates PodSecurity".into(), at(10));
    assert_eq!(case.plan(11).recheck, Some(at(30)), "ever more rarely");
    case.begin(30);
    case.memory.accepted();
    assert_eq!(case.memory.failure(&workload("b")), None);
}

#[test]
fn a_node_that_will_not_do_is_said() {
    let mut case = Case::of(vec![waiting("a", &["n1"])]);
    let batch = case.plan(0).batches.remove(0);
    case.memory.unfit(&batch, "node n1 runs windows", at(0));
    assert_eq!(case.memory.failure(&workload("a")), Some("node n1 runs windows"));
    assert_eq!(case.plan(1).recheck, Some(at(10)));
}

#[test]
fn what_a_detection_pod_has_come_to() {
    let text = |one: &str| one.to_owned();
    let verdict = |report: Report, seconds: i64| DetectionPod { report, ..open("x", "n1", &[]) }.verdict(at(seconds));
    let phase = |phase: &str| Report { phase: phase.into(), ..Report::default() };
    assert_eq!(verdict(phase("Pending"), 1), Verdict::Open(at(360)));
    assert_eq!(verdict(phase("Running"), 359), Verdict::Open(at(360)));
    let ended = |code, message: &str| Report { ended: Some((code, text("Error"), text(message))), ..phase("Failed") };
    assert_eq!(verdict(ended(0, "{}"), 1), Verdict::Ended(text("{}")));
    let waits = |word: &str| Report { waits: Some((text(word), text("no such image"))), ..phase("Pending") };
    assert_eq!(verdict(waits("ContainerCreating"), 40), Verdict::Open(at(360)));
    assert_eq!(verdict(waits("ErrImagePull"), 10), Verdict::Open(at(30)));
    let rows = [
        (verdict(ended(1, "no processes"), 1), "exit code 1: no processes"),
        (verdict(ended(137, ""), 1), "exit code 137: Error"),
        (verdict(Report { reason: text("Evicted"), message: text("disk"), ..phase("Failed") }, 1), "Evicted: disk"),
        (verdict(Report { reason: text("DeadlineExceeded"), ..ended(137, "") }, 1), "ended: DeadlineExceeded"),
        (verdict(phase("Failed"), 1), "does not say why"),
        (verdict(waits("ErrImagePull"), 30), "does not start (ErrImagePull): no such image"),
        (verdict(waits("ImagePullBackOff"), 31), "(ImagePullBackOff)"),
        (verdict(waits("CreateContainerConfigError"), 31), "(CreateContainerConfigError)"),
        (verdict(waits("InvalidImageName"), 0), "(InvalidImageName)"),
        (verdict(phase("Pending"), 360), "kubelet of node n1 has said nothing"),
    ];
    for (verdict, expected) in rows {
        assert!(matches!(&verdict, Verdict::Failed(why) if why.contains(expected)), "{verdict:?}: {expected}");
    }
}
