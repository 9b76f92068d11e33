//! Figures of the gateways for people, in the status of their CollectorsGroup: bounded, whole numbers, once a minute.
//!
//! Never part of a decision. The stock collector counts items by receiver, processor and exporter; the pipeline of each stream
//! begins with a processor of its own, which tells the items of the stream.

use super::{Growth, Seen};
use crate::streams::{NAMESPACE_STREAM, has_pipeline};
use jiff::SignedDuration;
use odigos_api::collectors_group::{DestinationLoad, GatewayLoad, PodLoad, StreamClass, StreamLoad};
use std::collections::BTreeMap;

/// How old figures may get.
pub(super) const RENEWAL: SignedDuration = SignedDuration::from_secs(60);
/// How many pods and destinations are shown.
const SHOWN: (usize, usize) = (20, 50);

/// The figures of a round.
pub(super) fn load(seen: &Seen<'_>, growths: &BTreeMap<&str, Growth<'_>>) -> GatewayLoad {
    let mut pods: Vec<PodLoad> =
        seen.pods.iter().map(|(name, pod)| pod_load(name, pod.reading.is_some(), growths.get(name.as_str()))).collect();
    pods.sort_by(|a, b| {
        let key = |one: &PodLoad| (one.answers, -one.refused_per_second, -one.queue_percent);
        key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
    });
    pods.truncate(SHOWN.0);
    let mut sums: BTreeMap<&str, (f64, f64, f64)> = BTreeMap::new();
    for growth in growths.values() {
        for (exporter, one) in &growth.exporters {
            let Some(destination) = seen.destinations.get(*exporter) else { continue };
            let sum = sums.entry(destination).or_default();
            let failed = (one.failed + one.not_queued) / growth.seconds;
            *sum = (sum.0 + one.sent / growth.seconds, sum.1 + failed, sum.2.max(one.queue));
        }
    }
    let mut destinations: Vec<DestinationLoad> = sums
        .into_iter()
        .map(|(name, (sent, failed, queue))| DestinationLoad {
            name: name.to_owned(),
            sent_per_second: whole(sent),
            failed_per_second: whole(failed),
            queue_percent: whole(queue * 100.0),
        })
        .collect();
    destinations.sort_by(|a, b| {
        let key = |one: &DestinationLoad| (-one.failed_per_second, -one.queue_percent, -one.sent_per_second);
        key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
    });
    destinations.truncate(SHOWN.1);
    GatewayLoad { pods, destinations, streams: streams(seen, growths) }
}

/// Items of each stream. Those of a joint pipeline belong to every stream of its class.
fn streams(seen: &Seen<'_>, growths: &BTreeMap<&str, Growth<'_>>) -> Vec<StreamLoad> {
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for growth in growths.values() {
        for (pipeline, items) in &growth.pipelines {
            for stream in streams_of(pipeline, seen.classes) {
                *sums.entry(stream).or_default() += items / growth.seconds;
            }
        }
    }
    let all = sums.into_iter().map(|(name, rate)| StreamLoad { name, items_per_second: whole(rate) });
    let mut all: Vec<StreamLoad> = all.collect();
    all.sort_by(|a, b| b.items_per_second.cmp(&a.items_per_second).then_with(|| a.name.cmp(&b.name)));
    all.truncate(SHOWN.1);
    all
}

fn streams_of(pipeline: &str, classes: &[StreamClass]) -> Vec<String> {
    match pipeline.split_once('.') {
        Some(("stream", name)) => vec![name.to_owned()],
        Some(("namespace", name)) => vec![format!("{NAMESPACE_STREAM}{name}")],
        // Behind the id may stand the name of a sampler.
        Some(("class", id)) => {
            let id = id.split('.').next().unwrap_or(id);
            let class = classes.iter().find(|class| class.id == id);
            let members = class.into_iter().flat_map(|class| &class.streams);
            members.filter(|stream| has_pipeline(stream)).cloned().collect()
        }
        _ => Vec::new(),
    }
}

fn pod_load(name: &str, answers: bool, growth: Option<&Growth<'_>>) -> PodLoad {
    let rate = |of: fn(&Growth<'_>) -> f64| growth.map_or(0, |growth| whole(of(growth) / growth.seconds));
    let queues = growth.into_iter().flat_map(|growth| growth.exporters.values()).map(|one| one.queue);
    PodLoad {
        name: name.to_owned(),
        answers,
        accepted_per_second: rate(|growth| growth.accepted),
        refused_per_second: rate(|growth| growth.refused),
        queue_percent: whole(queues.fold(0.0, f64::max) * 100.0),
    }
}

/// Rounded up: one refused item in a minute is not none.
#[allow(clippy::cast_possible_truncation, reason = "a float is cut to the range of the integer")]
fn whole(number: f64) -> i64 {
    number.ceil() as i64
}
