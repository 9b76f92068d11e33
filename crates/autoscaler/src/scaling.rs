//! Rounds over the gateways: every ten seconds the leader asks all of them what they refuse, and asks for a reconcile when
//! that changes something. Decisions are in `plan::scaling`; the reconcile is the only writer.

use crate::collectors::Target;
use crate::readings;
use crate::rounds::{Rounds, answers};
use crate::scrape::Asker;
use crate::state::State;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use odigos_api::API_VERSION;
use odigos_api::collectors_group::CollectorsGroup;
use odigos_api::condition::{ConditionDraft, Status};
use odigos_kit::events::about;
use odigos_kit::leader_election::Leadership;
use odigos_kit::metrics::Metrics;
use odigos_kit::queue::Queue;
use odigos_plan::gateway::objects::replica_bounds;
use odigos_plan::scaling::{self, Memory, Seen, hpa};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Time between rounds (`spec/collectors-and-pipelines.md` 6.2, ours 1).
const ROUND: Duration = Duration::from_secs(10);

/// What is known about the load of the gateways of a group.
#[derive(Debug, Default)]
pub(crate) struct Scaling {
    /// None before this replica has looked at the cluster as a leader.
    memory: Option<Memory>,
    /// Destination by exporter, as rendered last.
    destinations: BTreeMap<String, String>,
    /// What the autoscaler object was last seen to say.
    hpa: Option<ConditionDraft>,
}

/// The figures of a round on `/metrics`; only those of the leader mean something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauges {
    pods: Family<PodLabels, Gauge>,
    floor: Gauge,
    held_up: Gauge,
    blind: Gauge,
}

/// Label of gateways that are alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PodLabels {
    /// `well`, `refusing` or `silent`.
    state: &'static str,
}

impl Gauges {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let gauges = Self::default();
        gauges.tell_pods(scaling::Counts::default());
        metrics.register("gateway_pods", "Gateways that run, by how they fare", gauges.pods.clone());
        let help = "Fewest gateways while they refuse items; 0 while the configuration alone decides";
        metrics.register("gateway_raised_floor", help, gauges.floor.clone());
        let help = "Destinations that take less than arrives for them";
        metrics.register("gateway_destinations_held_up", help, gauges.held_up.clone());
        let help = "1 while the gateway's autoscaler cannot read CPU and memory";
        metrics.register("gateway_autoscaler_blind", help, gauges.blind.clone());
        gauges
    }

    fn tell_pods(&self, counts: scaling::Counts) {
        let well = counts.all.saturating_sub(counts.refusing + counts.silent);
        for (state, count) in [("well", well), ("refusing", counts.refusing), ("silent", counts.silent)] {
            self.pods.get_or_create(&PodLabels { state }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// The figures of all groups: pods together, the highest floor, every destination that is held up once.
    fn tell(&self, all: &BTreeMap<String, Scaling>) {
        let memories = || all.values().filter_map(|one| one.memory.as_ref());
        let sum = |of: fn(&scaling::Counts) -> usize| memories().map(|memory| of(&memory.counts)).sum();
        self.tell_pods(scaling::Counts {
            all: sum(|counts| counts.all),
            refusing: sum(|counts| counts.refusing),
            silent: sum(|counts| counts.silent),
        });
        let floors = memories().filter_map(|memory| memory.hint).map(|hint| i64::from(hint.min_replicas));
        self.floor.set(floors.max().unwrap_or_default());
        let held_up: BTreeSet<String> = memories().flat_map(|memory| memory.held_up()).map(Into::into).collect();
        self.held_up.set(i64::try_from(held_up.len()).unwrap_or(i64::MAX));
        let is_blind = |one: &Scaling| one.hpa.as_ref().is_some_and(|hpa| hpa.status == Status::True);
        self.blind.set(i64::from(all.values().any(is_blind)));
    }
}

impl State {
    /// What is known about the load of a gateway's group; the floor that stands in the cluster at first.
    pub(crate) fn load(&self, group: &str) -> Memory {
        let mut scaling = self.scaling();
        let noted = || Memory::beginning_with(hpa::noted(self.autoscaler(group).as_ref()));
        scaling.entry(group.to_owned()).or_default().memory.get_or_insert_with(noted).clone()
    }

    /// The HorizontalPodAutoscaler of a gateway's group as it stands.
    pub(crate) fn autoscaler(&self, group: &str) -> Option<Value> {
        self.live("HorizontalPodAutoscaler", group)
    }

    /// Remembers which destination an exporter belongs to, from the components of a plan.
    pub(crate) fn remember_destinations(&self, group: &str, components: &BTreeMap<String, (String, Value)>) {
        let destinations = components.iter().map(|(id, (destination, _))| (id.clone(), destination.clone()));
        self.scaling().entry(group.to_owned()).or_default().destinations = destinations.collect();
    }

    fn scaling(&self) -> MutexGuard<'_, BTreeMap<String, Scaling>> {
        self.scaling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Goes round until the token is cancelled, while this replica leads.
pub(crate) async fn go_round(
    state: Arc<State>,
    queue: Queue<Target>,
    leadership: Leadership,
    gauges: Gauges,
    stop: CancellationToken,
) {
    let mut rounds = Rounds::new(ROUND, leadership, stop.clone());
    while let Some(asker) = rounds.next(&state).await {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = round(&state, asker, &gauges) => if changed {
                queue.add(Target::Gateway);
            },
        }
    }
}

/// One round over the gateways of every group; true when there is something to write.
async fn round(state: &State, asker: &Asker, gauges: &Gauges) -> bool {
    let groups = state.gateways();
    let names: BTreeSet<&str> = groups.iter().filter_map(|group| group.metadata.name.as_deref()).collect();
    state.scaling().retain(|name, _| names.contains(name.as_str()));
    let rounds = groups.iter().map(|group| round_of(state, asker, group));
    let changed = futures::future::join_all(rounds).await;
    gauges.tell(&state.scaling());
    changed.into_iter().any(|changed| changed)
}

async fn round_of(state: &State, asker: &Asker, group: &CollectorsGroup) -> bool {
    let name = group.metadata.name.as_deref().unwrap_or_default();
    let before = state.load(name);
    let pods: BTreeMap<String, scaling::Pod> = answers(state, asker, group).map(known).collect().await;
    let destinations = state.scaling().get(name).map(|one| one.destinations.clone()).unwrap_or_default();
    let autoscaler = state.autoscaler(name);
    let seen = Seen {
        pods: &pods,
        destinations: &destinations,
        classes: &group.spec.stream_classes,
        bounds: replica_bounds(&group.spec.resources_settings),
        current: replicas(state, autoscaler.as_ref()).unwrap_or(i32::try_from(pods.len()).unwrap_or(i32::MAX)),
        is_read: hpa::reads_rejections(autoscaler.as_ref()),
    };
    let now = Timestamp::now();
    let after = before.after(&seen, now);
    let condition = hpa::metrics_condition(autoscaler.as_ref(), now);
    let mut changed = (&before.hint, &before.load) != (&after.hint, &after.load);
    changed |= before.conditions() != after.conditions() || before.are_too_few() != after.are_too_few();
    if before.hint.map(|hint| hint.min_replicas) != after.hint.map(|hint| hint.min_replicas) {
        tell_of(state, group, &before, &after).await;
    }
    let mut all = state.scaling();
    let scaling = all.entry(name.to_owned()).or_default();
    if condition.is_some() && scaling.hpa != condition {
        scaling.hpa = condition;
        changed = true;
    }
    scaling.memory = Some(after);
    changed
}

/// What is known about a gateway, by its pod and what it answers.
fn known((pod, answer): (Arc<Pod>, Option<String>)) -> (String, scaling::Pod) {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let now = Timestamp::now();
    let reading = answer.and_then(|text| match readings::read(&text, now) {
        Ok(reading) => Some(reading),
        Err(error) => {
            tracing::debug!(pod = name, %error, "failed to parse the metrics of a gateway");
            None
        }
    });
    (name, scaling::Pod { reading, out_of_memory: scaling::pods::is_out_of_memory(&pod, now) })
}

/// How many gateways the cluster wants now.
fn replicas(state: &State, autoscaler: Option<&Value>) -> Option<i32> {
    let target = autoscaler?.pointer("/spec/scaleTargetRef")?;
    let workload = state.live(target["kind"].as_str()?, target["name"].as_str()?)?;
    i32::try_from(workload.pointer("/spec/replicas")?.as_i64()?).ok()
}

async fn tell_of(state: &State, group: &CollectorsGroup, before: &Memory, after: &Memory) {
    let floor = |memory: &Memory| memory.hint.map_or(0, |hint| hint.min_replicas);
    let (name, uid) = (group.metadata.name.as_deref().unwrap_or_default(), group.metadata.uid.as_deref());
    let object = about(API_VERSION, "CollectorsGroup", &state.namespace, name, uid);
    match after.hint {
        Some(hint) if floor(after) > floor(before) => {
            tracing::warn!(floor = hint.min_replicas, until = %hint.until, "gateways refuse items, more are asked for");
            let message = format!(
                "At least half of the gateways refuse items; at least {} run until {:.0}.",
                hint.min_replicas, hint.until
            );
            state.events.warn(&object, "GatewaysAdded", &message).await;
        }
        _ => {
            tracing::info!("the configuration alone decides again how few gateways there are");
            state.events.note(&object, "GatewaysMayGo", "The configuration alone decides how few gateways run.").await;
        }
    }
}
