//! Rounds over the gateways: every ten seconds the leader asks all of them what they refuse, and asks for a reconcile when
//! that changes something. Decisions are in `plan::scaling`; the reconcile is the only writer.

use crate::collectors::Target;
use crate::readings;
use crate::scrape::Asker;
use crate::state::State;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use odigos_api::condition::{ConditionDraft, Status};
use odigos_api::{API_VERSION, names};
use odigos_kit::events::about;
use odigos_kit::lead::Leadership;
use odigos_kit::metrics::Metrics;
use odigos_kit::queue::Queue;
use odigos_plan::gateway::objects::replica_bounds;
use odigos_plan::scaling::{self, Memory, Seen, hpa};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Time between rounds (`spec/collectors-and-pipelines.md` 6.2, ours 1).
const ROUND: Duration = Duration::from_secs(10);
/// How many gateways are asked at once.
const AT_ONCE: usize = 16;

/// What is known about the gateways' load.
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

    fn tell(&self, memory: &Memory, hpa: Option<&ConditionDraft>) {
        self.tell_pods(memory.counts);
        self.floor.set(memory.hint.map_or(0, |hint| i64::from(hint.min_replicas)));
        self.held_up.set(i64::try_from(memory.held_up().len()).unwrap_or(i64::MAX));
        if let Some(hpa) = hpa {
            self.blind.set(i64::from(hpa.status == Status::True));
        }
    }
}

impl State {
    /// What is known about the load; the floor that stands in the cluster at first.
    pub(crate) fn load(&self) -> Memory {
        let mut scaling = self.scaling.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = || Memory::beginning_with(hpa::noted(self.autoscaler().as_ref()));
        scaling.memory.get_or_insert_with(noted).clone()
    }

    /// The gateway's HorizontalPodAutoscaler as it stands.
    pub(crate) fn autoscaler(&self) -> Option<Value> {
        self.live("HorizontalPodAutoscaler", names::GATEWAY)
    }

    /// Remembers which destination an exporter belongs to, from the components of a plan.
    pub(crate) fn remember_destinations(&self, components: &BTreeMap<String, (String, Value)>) {
        let destinations = components.iter().map(|(id, (destination, _))| (id.clone(), destination.clone()));
        self.scaling.lock().unwrap_or_else(PoisonError::into_inner).destinations = destinations.collect();
    }
}

/// Goes round until the token is cancelled, while this replica leads.
pub(crate) async fn go_round(
    state: Arc<State>,
    queue: Queue<Target>,
    mut leadership: Leadership,
    gauges: Gauges,
    stop: CancellationToken,
) {
    let asker = Asker::new();
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let next = async {
            leadership.wait().await;
            rounds.tick().await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = next => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = round(&state, &asker, &gauges) => if changed {
                queue.add(Target::Gateway);
            },
        }
    }
}

/// One round; true when there is something to write.
async fn round(state: &State, asker: &Asker, gauges: &Gauges) -> bool {
    let Some(group) = state.groups.get(&state.namespace, names::GATEWAY) else { return false };
    let before = state.load();
    let port = u16::try_from(group.spec.collector_own_metrics_port).unwrap_or(names::GATEWAY_METRICS_PORT);
    let pods = state.pods.namespace(&state.namespace);
    let running = pods.into_iter().filter(|pod| scaling::pods::runs(pod));
    let asked: Vec<_> = running.map(|pod| ask(asker.clone(), pod, port)).collect();
    let pods: BTreeMap<String, scaling::Pod> = futures::stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
    let destinations = state.scaling.lock().unwrap_or_else(PoisonError::into_inner).destinations.clone();
    let autoscaler = state.autoscaler();
    let seen = Seen {
        pods: &pods,
        destinations: &destinations,
        bounds: replica_bounds(&group.spec.resources_settings),
        current: replicas(state, autoscaler.as_ref()).unwrap_or(i32::try_from(pods.len()).unwrap_or(i32::MAX)),
    };
    let now = Timestamp::now();
    let after = before.after(&seen, now);
    let condition = hpa::metrics_condition(autoscaler.as_ref(), now);
    gauges.tell(&after, condition.as_ref());
    let mut changed = (&before.hint, &before.load) != (&after.hint, &after.load);
    changed |= before.conditions() != after.conditions();
    if before.hint.map(|hint| hint.min_replicas) != after.hint.map(|hint| hint.min_replicas) {
        tell_of(state, &group.metadata.uid, &before, &after).await;
    }
    let mut scaling = state.scaling.lock().unwrap_or_else(PoisonError::into_inner);
    if condition.is_some() && scaling.hpa != condition {
        scaling.hpa = condition;
        changed = true;
    }
    scaling.memory = Some(after);
    changed
}

/// Asks one gateway.
async fn ask(asker: Asker, pod: Arc<Pod>, port: u16) -> (String, scaling::Pod) {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let now = Timestamp::now();
    let mut known = scaling::Pod { reading: None, out_of_memory: scaling::pods::is_out_of_memory(&pod, now) };
    let address: Option<IpAddr> =
        pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()).and_then(|ip| ip.parse().ok());
    if let Some(address) = address {
        match asker.metrics(SocketAddr::new(address, port)).await {
            Ok(text) => match readings::read(&text, Timestamp::now()) {
                Ok(reading) => known.reading = Some(reading),
                Err(error) => tracing::debug!(pod = name, %error, "what a gateway answers are no metrics"),
            },
            Err(error) => tracing::debug!(pod = name, %error, "a gateway does not tell its metrics"),
        }
    }
    (name, known)
}

/// How many gateways the cluster wants now.
fn replicas(state: &State, autoscaler: Option<&Value>) -> Option<i32> {
    let target = autoscaler?.pointer("/spec/scaleTargetRef")?;
    let workload = state.live(target["kind"].as_str()?, target["name"].as_str()?)?;
    i32::try_from(workload.pointer("/spec/replicas")?.as_i64()?).ok()
}

async fn tell_of(state: &State, uid: &Option<String>, before: &Memory, after: &Memory) {
    let floor = |memory: &Memory| memory.hint.map_or(0, |hint| hint.min_replicas);
    let object = about(API_VERSION, "CollectorsGroup", &state.namespace, names::GATEWAY, uid.as_deref());
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
