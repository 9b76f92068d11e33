//! Once a minute the leader reads the service graph of the main gateways, and writes condition `TraceCut` of DataStreams. Decisions are in
//! `plan::trace_cuts`.

use crate::report;
use crate::rounds::{Rounds, answers};
use crate::scrape::Asker;
use crate::state::State;
use futures::StreamExt;
use jiff::Timestamp;
use odigos_api::condition::kind;
use odigos_api::{Signal, WorkloadRef, labels, names};
use odigos_kit::leader_election::Leadership;
use odigos_plan::streams::{self, DEFAULT_CLASS, Selection};
use odigos_plan::trace_cuts::{Borders, Calls, Memory, ROUND, between, read};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What is known between two rounds.
struct Known {
    at: Timestamp,
    readings: BTreeMap<String, Calls>,
    memory: Memory,
}

/// Goes round until the token is cancelled, while this replica leads.
pub(crate) async fn go_round(state: Arc<State>, leadership: Leadership, stop: CancellationToken) {
    let mut rounds = Rounds::new(ROUND.unsigned_abs(), leadership, stop.clone());
    let mut known: Option<Known> = None;
    while let Some(asker) = rounds.next(&state).await {
        tokio::select! {
            () = stop.cancelled() => return,
            after = round(&state, asker, known.take()) => known = Some(after),
        }
    }
}

async fn round(state: &State, asker: &Asker, before: Option<Known>) -> Known {
    let now = Timestamp::now();
    let mut before = before.unwrap_or_else(|| Known { at: now, readings: BTreeMap::new(), memory: Memory::new(now) });
    let readings = readings(state, asker).await;
    let borders = borders(state);
    let calls = between(&before.readings, &readings);
    tracing::debug!(gateways = readings.len(), ?calls, "service graphs read");
    let memory = before.memory.after(&calls, now.duration_since(before.at), &borders, now);
    write(state, &memory, &borders, now).await;
    // A gateway that did not answer goes on from where it was.
    before.readings.retain(|pod, _| state.pods.get(&state.namespace, pod).is_some());
    before.readings.extend(readings);
    Known { at: now, readings: before.readings, memory }
}

/// What each gateway has counted.
async fn readings(state: &State, asker: &Asker) -> BTreeMap<String, Calls> {
    let Some(group) = state.groups.get(&state.namespace, names::GATEWAY) else { return BTreeMap::new() };
    let answered = answers(state, asker, &group).filter_map(async |(pod, answer)| Some((pod, answer?)));
    answered.map(|(pod, text)| (pod.metadata.name.clone().unwrap_or_default(), read(&text))).collect().await
}

/// What decides whether traces are cut, as the stores have it.
fn borders(state: &State) -> Borders {
    let group = state.groups.get(&state.namespace, names::GATEWAY);
    let classes = group.map(|group| group.spec.stream_classes.clone()).unwrap_or_default();
    let destinations = state.destinations.namespace(&state.namespace);
    let taking = streams::enabled(destinations.iter().map(AsRef::as_ref))
        .filter(|one| one.spec.signals.contains(&Signal::Traces))
        .filter_map(|one| Some((one.metadata.name.clone()?, Selection::of(&one.spec))))
        .collect();
    let mut workloads: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for ((namespace, name), config) in state.configs.all() {
        let Some(workload) = WorkloadRef::from_config_name(&namespace, &name) else { continue };
        let class = config.metadata.labels.as_ref().and_then(|labels| labels.get(labels::STREAM_CLASS)).cloned();
        let class = class.filter(|class| !class.is_empty()).unwrap_or_else(|| DEFAULT_CLASS.to_owned());
        let stated = Some(config.spec.service_name.clone()).filter(|name| !name.is_empty());
        let service = stated.unwrap_or_else(|| workload.name.clone());
        workloads.entry((service, class)).or_default().insert(format!("{namespace}/{}", workload.name));
    }
    Borders { classes, takers: taking, workloads }
}

async fn write(state: &State, memory: &Memory, borders: &Borders, now: Timestamp) {
    let is_cut = |conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition]| {
        conditions.iter().any(|one| one.type_ == kind::TRACE_CUT && one.status == "True")
    };
    let known: BTreeSet<String> = borders
        .classes
        .iter()
        .flat_map(|class| class.streams.iter().cloned())
        .chain(borders.takers.iter().flat_map(|(_, selection)| match selection {
            Selection::Streams(streams) => streams.iter().cloned().collect::<Vec<_>>(),
            Selection::Every => Vec::new(),
        }))
        .chain([labels::DEFAULT_STREAM.to_owned()])
        .filter(|stream| !streams::is_virtual(stream))
        .collect();
    let standing = |stream: &&String| {
        let live = state.streams.get(&state.namespace, &streams::object_name(stream));
        live.is_some_and(|live| live.status.as_ref().is_some_and(|status| is_cut(&status.conditions)))
    };
    let standing: BTreeSet<String> = known.iter().filter(standing).cloned().collect();
    for (stream, draft) in memory.conditions(borders, &standing, now) {
        if let Err(error) = report::trace_cut(state, &stream, &draft).await {
            tracing::warn!(stream, %error, "failed to write that traces are cut, or are whole again");
        }
    }
}
