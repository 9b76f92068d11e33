//! Rounds of readings and what is concluded from them (`spec/collectors-and-pipelines.md` 6.2, A36).

use super::*;
use crate::objects::{Desired, Rank};
use serde_json::{Value, json};

/// Seconds between rounds.
const ROUND: i64 = 10;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// What one gateway does in each round from now on.
#[derive(Clone, Copy, Default)]
struct Does {
    accepts: f64,
    refuses: f64,
    sends: f64,
    fails: f64,
    finds_no_room: f64,
    queue: f64,
    silent: bool,
    out_of_memory: bool,
}

const WELL: Does = Does {
    accepts: 1000.0,
    refuses: 0.0,
    sends: 1000.0,
    fails: 0.0,
    finds_no_room: 0.0,
    queue: 0.1,
    silent: false,
    out_of_memory: false,
};
const FULL_OF_WORK: Does = Does { refuses: 500.0, ..WELL };
const BACKEND_DOWN: Does =
    Does { accepts: 10.0, refuses: 500.0, sends: 0.0, finds_no_room: 500.0, queue: 0.99, ..WELL };
const SILENT: Does = Does { silent: true, ..WELL };

/// Gateways over time.
struct Gateways {
    memory: Memory,
    now: i64,
    counters: BTreeMap<String, Reading>,
    bounds: (i32, i32),
    /// What the autoscaler of the cluster wants; follows the floor.
    current: i32,
    /// Whether the autoscaler of the cluster reads the metric.
    is_read: bool,
    writes: usize,
}

impl Gateways {
    fn new(bounds: (i32, i32)) -> Self {
        let current = bounds.0;
        Self {
            memory: Memory::default(),
            now: 0,
            counters: BTreeMap::new(),
            bounds,
            current,
            is_read: false,
            writes: 0,
        }
    }

    fn round(&mut self, all: &[Does]) {
        self.now += ROUND;
        self.counters.retain(|name, _| name[3..].parse::<usize>().unwrap() < all.len());
        let mut pods = BTreeMap::new();
        for (number, does) in all.iter().enumerate() {
            let name = format!("gw-{number}");
            let one = self.counters.entry(name.clone()).or_insert_with(|| Reading {
                at: at(0),
                uptime: 0.0,
                accepted: 0.0,
                refused: 0.0,
                refused_for_memory: 0.0,
                exporters: BTreeMap::from([
                    ("otlp_grpc/jaeger-shop".to_owned(), ExporterReading::default()),
                    (
                        "otlp_grpc/odigos-own-telemetry-ui".to_owned(),
                        ExporterReading { failed: 1e9, queue: 1.0, ..Default::default() },
                    ),
                ]),
                pipelines: BTreeMap::new(),
            });
            // What is in shop alone, in web alone, and in both with a joint pipeline behind a sampler.
            for (pipeline, share) in
                [("stream.shop", 0.5), ("stream.web", 0.25), ("class.c1.rules", 0.25), ("void", 9.0)]
            {
                *one.pipelines.entry(pipeline.to_owned()).or_default() += does.accepts * share;
            }
            one.at = at(self.now);
            one.uptime += 10.0;
            one.accepted += does.accepts;
            one.refused += does.refuses;
            for (id, exporter) in &mut one.exporters {
                if id.ends_with("shop") {
                    exporter.sent += does.sends;
                    exporter.failed += does.fails;
                    exporter.not_queued += does.finds_no_room;
                    exporter.queue = does.queue;
                } else {
                    exporter.failed += 50.0;
                }
            }
            let reading = (!does.silent).then(|| one.clone());
            pods.insert(name, Pod { reading, out_of_memory: does.out_of_memory });
        }
        let destinations = BTreeMap::from([("otlp_grpc/jaeger-shop".to_owned(), "shop".to_owned())]);
        let streams = ["pool:heavy", "shop", "web"].map(str::to_owned).to_vec();
        let seen = Seen {
            classes: &[StreamClass { id: "c1".into(), streams, retired_at: None }],
            pods: &pods,
            destinations: &destinations,
            bounds: self.bounds,
            current: self.current,
            is_read: self.is_read,
        };
        let next = self.memory.after(&seen, at(self.now));
        if (&next.hint, &next.load, next.conditions())
            != (&self.memory.hint, &self.memory.load, self.memory.conditions())
        {
            self.writes += 1;
        }
        self.memory = next;
    }

    fn rounds(&mut self, count: usize, all: &[Does]) {
        (0..count).for_each(|_| self.round(all));
    }

    fn floor(&self) -> Option<i32> {
        self.memory.hint.map(|hint| hint.min_replicas)
    }

    fn says(&self, kind: &str) -> String {
        let all = self.memory.conditions();
        all.iter()
            .find(|one| one.kind == kind)
            .map_or("nothing".into(), |one| format!("{}/{}", one.status.as_str(), one.reason))
    }
}

#[test]
fn nothing_is_said_before_two_rounds_can_be_compared() {
    let mut gateways = Gateways::new((2, 8));
    gateways.rounds(2, &[WELL; 2]);
    assert_eq!(gateways.says(kind::ITEMS_REFUSED), "nothing");
    gateways.round(&[WELL; 2]);
    assert_eq!(gateways.says(kind::ITEMS_REFUSED), "False/NothingRefused");
    assert_eq!(gateways.says(kind::DESTINATION_BACKPRESSURE), "False/DestinationsKeepUp");
}

#[test]
fn two_rounds_of_half_the_gateways_raise_the_floor_by_two() {
    let mut gateways = Gateways::new((2, 8));
    gateways.rounds(3, &[WELL, WELL]);
    gateways.round(&[FULL_OF_WORK, WELL]);
    assert_eq!(gateways.floor(), None, "one round is no round");
    gateways.round(&[FULL_OF_WORK, WELL]);
    assert_eq!(gateways.memory.hint, Some(Hint { min_replicas: 4, until: at(gateways.now) + LEASE }));
    assert_eq!(gateways.says(kind::ITEMS_REFUSED), "True/GatewaysAdded");
}

#[test]
fn fewer_than_half_raise_nothing() {
    let mut gateways = Gateways::new((3, 8));
    gateways.rounds(20, &[FULL_OF_WORK, WELL, WELL]);
    assert_eq!((gateways.floor(), gateways.says(kind::ITEMS_REFUSED)), (None, "False/NothingRefused".into()));
    // One that does not answer counts among all, never among those that refuse.
    gateways.rounds(20, &[FULL_OF_WORK, WELL, SILENT]);
    assert_eq!(gateways.floor(), None);
    assert_eq!(gateways.memory.counts, Counts { all: 3, refusing: 1, silent: 1 });
}

#[test]
fn more_are_asked_for_only_when_the_last_ones_run_and_had_time() {
    let mut gateways = Gateways::new((2, 8));
    gateways.rounds(3, &[FULL_OF_WORK; 2]);
    assert_eq!(gateways.floor(), Some(4));
    gateways.current = 4;
    gateways.rounds(30, &[FULL_OF_WORK; 2]);
    assert_eq!(gateways.floor(), Some(4), "the two others do not run yet");
    gateways.round(&[FULL_OF_WORK; 4]);
    assert_eq!(gateways.floor(), Some(6));
    gateways.current = 6;
    gateways.rounds(5, &[FULL_OF_WORK; 6]);
    assert_eq!(gateways.floor(), Some(6), "they need a minute to take their share");
    gateways.round(&[FULL_OF_WORK; 6]);
    assert_eq!(gateways.floor(), Some(8));
    gateways.current = 8;
    gateways.rounds(20, &[FULL_OF_WORK; 8]);
    assert_eq!((gateways.floor(), gateways.says(kind::ITEMS_REFUSED)), (Some(8), "True/AtMaximum".into()));
}

#[test]
fn the_floor_ends_with_its_lease_and_is_renewed_while_refusals_last() {
    let mut gateways = Gateways::new((2, 4));
    gateways.rounds(3, &[FULL_OF_WORK; 2]);
    gateways.current = 4;
    let first = gateways.memory.hint.unwrap().until;
    gateways.rounds(60, &[FULL_OF_WORK; 4]);
    let renewed = gateways.memory.hint.unwrap().until;
    assert!(renewed > first);
    assert!(gateways.writes < 20, "{} writes in ten minutes", gateways.writes);
    gateways.rounds(10, &[WELL; 4]);
    assert_eq!(gateways.says(kind::ITEMS_REFUSED), "False/GatewaysAdded");
    let left = usize::try_from(renewed.duration_since(at(gateways.now)).as_secs() / ROUND).unwrap();
    gateways.rounds(left - 1, &[WELL; 4]);
    assert_eq!(gateways.floor(), Some(4));
    gateways.rounds(2, &[WELL; 4]);
    assert_eq!((gateways.floor(), gateways.says(kind::ITEMS_REFUSED)), (None, "False/NothingRefused".into()));
}

#[test]
fn a36_a_backend_that_is_down_adds_no_gateways() {
    let mut gateways = Gateways::new((2, 8));
    gateways.rounds(3, &[WELL; 2]);
    gateways.rounds(180, &[BACKEND_DOWN; 2]);
    assert_eq!(gateways.floor(), None);
    assert_eq!(gateways.says(kind::DESTINATION_BACKPRESSURE), "True/DestinationsFail");
    assert_eq!(gateways.says(kind::ITEMS_REFUSED), "True/DestinationBackpressure");
    assert_eq!(gateways.memory.held_up(), ["shop"]);
    assert!(gateways.memory.conditions()[1].message.contains("send to shop:"));
    gateways.rounds(2, &[WELL; 2]);
    assert_eq!(gateways.says(kind::DESTINATION_BACKPRESSURE), "False/DestinationsKeepUp");
    gateways.rounds(6, &[WELL; 2]);
    assert_eq!(gateways.says(kind::ITEMS_REFUSED), "False/NothingRefused");
}

#[test]
fn what_a_backend_leaves_behind_when_it_comes_back_adds_no_gateways() {
    let mut gateways = Gateways::new((2, 8));
    gateways.rounds(20, &[BACKEND_DOWN; 2]);
    // It takes items again, and the gateways have not come down from their memory limit yet.
    gateways.round(&[FULL_OF_WORK; 2]);
    gateways.rounds(3, &[WELL; 2]);
    assert_eq!(gateways.floor(), None);
    gateways.rounds(2, &[FULL_OF_WORK; 2]);
    assert_eq!(gateways.floor(), Some(4));
}

#[test]
fn a_full_queue_from_which_nothing_leaves_is_told_before_anything_is_refused() {
    let mut gateways = Gateways::new((2, 8));
    gateways.rounds(5, &[Does { sends: 0.0, queue: 0.8, ..WELL }; 2]);
    assert_eq!(gateways.says(kind::DESTINATION_BACKPRESSURE), "True/DestinationsFail");
    assert_eq!(gateways.says(kind::ITEMS_REFUSED), "False/NothingRefused");
    // Silence is no proof that it is over, at first.
    gateways.rounds(10, &[Does { sends: 0.0, queue: 0.0, accepts: 0.0, ..WELL }; 2]);
    assert_eq!(gateways.says(kind::DESTINATION_BACKPRESSURE), "True/DestinationsFail");
    gateways.rounds(30, &[Does { sends: 0.0, queue: 0.0, accepts: 0.0, ..WELL }; 2]);
    assert_eq!(gateways.says(kind::DESTINATION_BACKPRESSURE), "False/DestinationsKeepUp");
}

#[test]
fn a_slow_destination_that_still_takes_most_gets_more_gateways() {
    let mut gateways = Gateways::new((2, 8));
    gateways.rounds(4, &[Does { refuses: 200.0, finds_no_room: 200.0, queue: 0.99, ..WELL }; 2]);
    assert_eq!(
        (gateways.floor(), gateways.says(kind::DESTINATION_BACKPRESSURE)),
        (Some(4), "False/DestinationsKeepUp".into())
    );
}

#[test]
fn exporters_that_belong_to_no_destination_never_hold_anything_back() {
    // Every gateway of these tests fails to reach the UI; see `round`.
    let mut gateways = Gateways::new((1, 3));
    gateways.rounds(4, &[FULL_OF_WORK]);
    assert_eq!(gateways.floor(), Some(3));
}

#[test]
fn counters_that_begin_again_are_no_refusals() {
    let mut gateways = Gateways::new((1, 5));
    gateways.rounds(3, &[FULL_OF_WORK]);
    let floor = gateways.floor();
    gateways.rounds(10, &[WELL]);
    for _ in 0..10 {
        // The collector starts anew in each round: all counters are smaller than before.
        gateways.counters.clear();
        gateways.round(&[WELL]);
    }
    assert_eq!(gateways.floor(), floor);
    assert_eq!(gateways.says(kind::ITEMS_REFUSED), "False/GatewaysAdded");
    assert_eq!(gateways.memory.counts.refusing, 0);
    // What a new start counts by itself is counted, even if it is as much as before.
    for _ in 0..3 {
        gateways.counters.clear();
        gateways.round(&[FULL_OF_WORK]);
    }
    assert_eq!(gateways.memory.counts.refusing, 1);
}

#[test]
fn gateways_come_and_go() {
    let mut gateways = Gateways::new((2, 8));
    gateways.rounds(3, &[WELL; 4]);
    gateways.rounds(3, &[WELL; 1]);
    assert_eq!(gateways.memory.readings.len(), 1);
    // New ones that refuse from their first round on are seen from their second on.
    gateways.round(&[WELL, FULL_OF_WORK, FULL_OF_WORK]);
    assert_eq!(gateways.memory.counts.refusing, 0);
    gateways.round(&[WELL, FULL_OF_WORK, FULL_OF_WORK]);
    assert_eq!(gateways.memory.counts.refusing, 2);
    gateways.rounds(5, &[]);
    assert_eq!(gateways.memory.counts, Counts::default());
    assert_eq!(gateways.floor(), None, "one round, then nobody is left");
}

#[test]
fn one_missed_answer_changes_nothing() {
    let mut gateways = Gateways::new((2, 8));
    gateways.rounds(2, &[FULL_OF_WORK; 2]);
    gateways.round(&[SILENT; 2]);
    assert_eq!(gateways.floor(), None);
    gateways.round(&[FULL_OF_WORK; 2]);
    assert_eq!(gateways.floor(), Some(4), "the round before the silence counts");
}

#[test]
fn that_nobody_answers_is_told() {
    let mut gateways = Gateways::new((2, 8));
    gateways.rounds(3, &[WELL; 2]);
    gateways.rounds(11, &[SILENT; 2]);
    assert_eq!(gateways.says(kind::ITEMS_REFUSED), "False/NothingRefused", "what was known stands for two minutes");
    gateways.round(&[SILENT; 2]);
    assert_eq!(gateways.says(kind::ITEMS_REFUSED), "Unknown/GatewaysDoNotAnswer");
    gateways.round(&[SILENT, WELL]);
    assert_eq!(gateways.says(kind::ITEMS_REFUSED), "False/NothingRefused");
}

#[test]
fn gateways_that_run_out_of_memory_refuse() {
    let mut gateways = Gateways::new((2, 8));
    gateways.rounds(2, &[Does { out_of_memory: true, ..SILENT }; 2]);
    assert_eq!(gateways.floor(), Some(4));
}

#[test]
fn another_leader_goes_on_with_the_floor_that_it_finds() {
    let note =
        json!({"metadata": {"annotations": {labels_key(): "{\"minReplicas\":6,\"until\":\"2027-01-15T08:10:00Z\"}"}}});
    let hint = hpa::noted(Some(&note)).unwrap();
    assert_eq!(hint, Hint { min_replicas: 6, until: at(600) });
    let mut gateways = Gateways::new((2, 8));
    gateways.memory = Memory::beginning_with(Some(hint));
    gateways.rounds(5, &[WELL; 6]);
    assert_eq!(gateways.floor(), Some(6));
    gateways.rounds(60, &[WELL; 6]);
    assert_eq!(gateways.floor(), None);
    assert_eq!(hpa::noted(Some(&json!({"metadata": {"annotations": {labels_key(): "soon"}}}))), None);
}

fn labels_key() -> &'static str {
    odigos_api::labels::SCALING_HINT
}

fn rendered(least: i64, most: i64) -> Vec<Desired> {
    let object =
        json!({"kind": "HorizontalPodAutoscaler", "metadata": {}, "spec": {"minReplicas": least, "maxReplicas": most}});
    vec![Desired { rank: Rank::Scaling, object }]
}

#[test]
fn the_floor_is_stated_by_the_one_apply_of_the_object() {
    let hint = Hint { min_replicas: 4, until: at(600) };
    let mut objects = rendered(2, 8);
    hpa::raise(&mut objects, Some(hint), at(0));
    assert_eq!(objects[0].object["spec"]["minReplicas"], 4);
    let noted = hpa::noted(Some(&objects[0].object));
    assert_eq!(noted, Some(hint));
    // A configuration that allows fewer, or asks for more itself, wins; so does the end of the lease.
    for (least, most, now, expected) in [(2, 3, 0, 3), (5, 8, 0, 5), (2, 8, 600, 2)] {
        let mut objects = rendered(least, most);
        hpa::raise(&mut objects, Some(hint), at(now));
        assert_eq!(objects[0].object["spec"]["minReplicas"], expected, "{least} {most} {now}");
    }
}

#[test]
fn a36_memory_is_left_out_while_destinations_hold_gateways_up() {
    let mut objects = rendered(2, 8);
    let metric = |name: &str| json!({"type": "Resource", "resource": {"name": name}});
    objects[0].object["spec"]["metrics"] = json!([metric("memory"), metric("cpu")]);
    hpa::raise(&mut objects, Some(Hint { min_replicas: 4, until: at(600) }), at(0));
    hpa::leave_memory_out(&mut objects);
    let object = &objects[0].object;
    assert_eq!(object["spec"]["metrics"], json!([metric("cpu")]));
    assert_eq!(object["metadata"]["annotations"].as_object().unwrap().len(), 2, "both notes stand: {object}");
    assert_eq!(object["spec"]["minReplicas"], 4);
}

#[test]
fn missing_metrics_are_told_after_two_minutes() {
    let hpa = |status: &str, reason: &str| {
        json!({"status": {"conditions": [
            {"type": "AbleToScale", "status": "True", "reason": "x"},
            {"type": "ScalingActive", "status": status, "reason": reason, "message": "no metrics API", "lastTransitionTime": at(0).to_string()},
        ]}})
    };
    let says = |live: Value, now: i64| {
        hpa::metrics_condition(Some(&live), at(now)).map(|one| format!("{}/{}", one.status.as_str(), one.reason))
    };
    assert_eq!(says(hpa("False", "FailedGetResourceMetric"), 119), None);
    assert_eq!(says(hpa("False", "FailedGetResourceMetric"), 120), Some("True/FailedGetResourceMetric".into()));
    let unread = hpa::metrics_condition(Some(&hpa("False", "FailedGetObjectMetric")), at(120)).unwrap();
    assert!(unread.message.contains("what gateways refuse (no metrics API)"), "{}", unread.message);
    assert_eq!(says(hpa("True", "ValidMetricFound"), 5), Some("False/MetricsAvailable".into()));
    assert_eq!(says(hpa("False", "ScalingDisabled"), 500), Some("Unknown/ScalingDisabled".into()));
    assert_eq!(says(json!({}), 500), Some("Unknown/NotLookedAtYet".into()));
    assert_eq!(hpa::metrics_condition(None, at(0)), None, "an object that is not there says nothing");
}

#[test]
fn the_metric_is_one_only_while_gateways_are_too_few() {
    let too_few = |rounds: &[&[Does]]| {
        let mut gateways = Gateways::new((2, 8));
        rounds
            .iter()
            .map(|round| {
                gateways.round(round);
                gateways.memory.are_too_few()
            })
            .collect::<Vec<_>>()
    };
    let (refuse, well, down): (&[Does], &[Does], &[Does]) = (&[FULL_OF_WORK, WELL], &[WELL; 2], &[BACKEND_DOWN; 2]);
    let (no, yes) = (Some(false), Some(true));
    assert_eq!(too_few(&[refuse, refuse, refuse, refuse, well]), [None, no, yes, yes, no]);
    assert_eq!(too_few(&[down; 4]), [None, no, no, no], "more gateways would not help");
    // Nobody is known to refuse who is not there, or does not answer.
    assert_eq!(too_few(&[refuse, refuse, refuse, &[SILENT; 2], refuse]), [None, no, yes, no, yes]);
    assert_eq!(too_few(&[refuse, refuse, refuse, &[]])[3], no);
}

#[test]
fn no_floor_is_raised_beside_the_metric_and_one_that_stands_runs_out() {
    let mut gateways = Gateways::new((2, 8));
    gateways.is_read = true;
    gateways.rounds(4, &[FULL_OF_WORK; 2]);
    assert_eq!((gateways.floor(), gateways.says(kind::ITEMS_REFUSED)), (None, "True/Refusing".into()));
    assert_eq!(gateways.memory.are_too_few(), Some(true));
    gateways.current = 8;
    gateways.rounds(3, &[FULL_OF_WORK; 8]);
    assert_eq!(gateways.says(kind::ITEMS_REFUSED), "True/AtMaximum");
    // The API goes away: the floor is the fallback. It comes back: the floor is not renewed.
    gateways.current = 4;
    gateways.is_read = false;
    gateways.round(&[FULL_OF_WORK; 4]);
    assert_eq!(gateways.floor(), Some(6));
    gateways.is_read = true;
    gateways.rounds(90, &[FULL_OF_WORK; 6]);
    assert_eq!(gateways.floor(), None);
}

#[test]
fn that_the_metric_is_read_is_what_the_autoscaler_reports() {
    let status = |metrics: Value| json!({"status": {"currentMetrics": metrics}});
    let ours = json!({"type": "Object", "object": {"metric": {"name": "odigos_gateway_rejections"}, "current": {"value": "0"}}});
    let reads = |metrics: Value| hpa::reads_rejections(Some(&status(metrics)));
    assert!(reads(json!([{"type": ""}, ours])));
    assert!(!reads(
        json!([{"type": ""}, {"type": "Resource", "resource": {"name": "cpu", "current": {"averageValue": "1"}}}])
    ));
    let mut another = ours.clone();
    another["object"]["metric"]["name"] = json!("requests");
    assert!(!reads(json!([another])));
    assert!(!hpa::reads_rejections(Some(&json!({}))) && !hpa::reads_rejections(None));
}

#[test]
fn figures_are_bounded_and_the_worst_come_first() {
    let mut gateways = Gateways::new((2, 40));
    let mut all = [WELL; 30];
    all[29] = FULL_OF_WORK;
    all[7] = SILENT;
    gateways.rounds(2, &all);
    let load = gateways.memory.load.clone().unwrap();
    assert_eq!(load.pods.len(), 20);
    assert_eq!((load.pods[0].name.as_str(), load.pods[0].answers), ("gw-7", false));
    assert_eq!((load.pods[1].name.as_str(), load.pods[1].refused_per_second), ("gw-29", 50));
    let streams: Vec<(&str, i64)> = load.streams.iter().map(|one| (one.name.as_str(), one.items_per_second)).collect();
    let accepted: i64 = load.pods.iter().map(|pod| pod.accepted_per_second).max().unwrap_or_default();
    assert_eq!(streams.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["shop", "web"]);
    // Three quarters of all items against half of them.
    assert!(streams[0].1 > accepted && streams[0].1 * 2 <= streams[1].1 * 3 + 3, "{streams:?}");
    let shop = &load.destinations[0];
    assert_eq!(
        (shop.name.as_str(), shop.sent_per_second, shop.failed_per_second, shop.queue_percent),
        ("shop", 2900, 0, 10)
    );
    gateways.rounds(5, &[FULL_OF_WORK; 30]);
    assert_eq!(gateways.memory.load, Some(load), "once a minute");
    gateways.round(&[FULL_OF_WORK; 30]);
    assert_eq!(gateways.memory.load.unwrap().pods[0].refused_per_second, 50);
}
