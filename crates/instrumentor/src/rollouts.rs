//! Restarts and evictions of one workload: asks for them as `plan::instrumentation::rollout` decides, and keeps to the limits.

use crate::state::State;
use jiff::{SignedDuration, Timestamp, ToSpan};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, EvictParams, Preconditions};
use odigos_api::WorkloadRef;
use odigos_api::instrumentation_config::{InstrumentationConfig, InstrumentationConfigStatus};
use odigos_api::rollout::{OutdatedInput, Rollback, RolloutProgress};
use odigos_kit::apply::{ApplyError, reference};
use odigos_kit::events::about;
use odigos_kit::hub::Change;
use odigos_plan::instrumentation::brake;
use odigos_plan::instrumentation::gate::{self, Gate, Others};
use odigos_plan::instrumentation::places::{self, Standing};
use odigos_plan::instrumentation::rollout::{self, Eviction, RolloutPlan, Seen};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

/// What this process has written about rollouts, which nobody else writes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Remembered {
    uid: Option<String>,
    hash: String,
    time: Option<Time>,
    rollout: Option<RolloutProgress>,
    rollback_occurred: Option<bool>,
    rollback: Option<Rollback>,
    outdated_inputs: Vec<OutdatedInput>,
}

impl Remembered {
    /// What a status says.
    pub(crate) fn of(uid: Option<&String>, status: &InstrumentationConfigStatus) -> Self {
        Self {
            uid: uid.cloned(),
            hash: status.workload_rollout_hash.clone(),
            time: status.instrumentation_time.clone(),
            rollout: status.rollout.clone(),
            rollback_occurred: status.rollback_occurred,
            rollback: status.rollback.clone(),
            outdated_inputs: status.outdated_inputs.clone(),
        }
    }

    fn put_into(self, status: &mut InstrumentationConfigStatus) {
        status.workload_rollout_hash = self.hash;
        status.instrumentation_time = self.time;
        status.rollout = self.rollout;
        status.rollback_occurred = self.rollback_occurred;
        status.rollback = self.rollback;
        status.outdated_inputs = self.outdated_inputs;
    }
}

/// The config with what was written last, which the watch may not have told yet.
pub(crate) fn newest(
    state: &State,
    workload: &WorkloadRef,
    known: Option<Arc<InstrumentationConfig>>,
) -> Option<Arc<InstrumentationConfig>> {
    let mut all = state.remembered.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(known) = known else {
        all.remove(workload);
        return None;
    };
    let Some(remembered) = all.get(workload) else { return Some(known) };
    let told = Remembered::of(known.metadata.uid.as_ref(), &known.status.clone().unwrap_or_default());
    if remembered.uid != told.uid || *remembered == told {
        all.remove(workload);
        return Some(known);
    }
    let mut newest = known.as_ref().clone();
    remembered.clone().put_into(newest.status.get_or_insert_default());
    Some(Arc::new(newest))
}

/// Notes what was just written.
pub(crate) fn remember(state: &State, workload: &WorkloadRef, written: Remembered) {
    state.remembered.lock().unwrap_or_else(PoisonError::into_inner).insert(workload.clone(), written);
}

/// Decides, and asks for a restart or an eviction where one is due. What is refused is said in the conditions and not remembered
/// as done.
pub(crate) async fn follow(state: &State, workload: &WorkloadRef, config: &InstrumentationConfig) -> RolloutPlan {
    let progress = state.progress(workload).unwrap_or_default();
    let pods = state.index.of(workload);
    let (options, now) = (state.options.load().rollout, Timestamp::now());
    let kind = workload.kind;
    let serves_since = state.started;
    let seen = Seen { kind, config, pods: &pods, progress: &progress, options, gate: &Gate::Open, serves_since, now };
    let mut plan = rollout::plan(&seen);
    {
        let mut taken = state.rollouts.lock().unwrap_or_else(PoisonError::into_inner);
        if plan.begins {
            let gate = gate::decide(&options, workload, config, &others(state, &taken), now);
            if gate != Gate::Open {
                plan = rollout::plan(&Seen { gate: &gate, ..seen });
            }
        }
        if plan.holds_place {
            taken.entry(workload.clone()).or_insert(now);
        } else {
            taken.remove(workload);
        }
    }
    if let Some(rollback) = &plan.rollback {
        tracing::warn!(%workload, cause = rollback.message, "its agents are taken out again");
        let uid = config.metadata.owner_references.iter().flatten().next().map(|owner| owner.uid.clone());
        let object = about(kind.api_version(), kind.object_kind(), &workload.namespace, &workload.name, uid.as_deref());
        state.events.warn(&object, "AgentsRolledBack", &rollback.message).await;
    }
    if let Some(stamp) = plan.restart {
        tracing::info!(%workload, hash = plan.applied_hash, "its pods are made anew for their agents");
        if let Err(error) = restart(state, workload, stamp).await {
            plan.failed(config, &error.to_string());
            release(state, workload);
        }
    }
    if let Some(eviction) = plan.evict.clone() {
        tracing::info!(%workload, pod = eviction.pod, purpose = ?eviction.purpose, "one of its pods is replaced");
        match evict(state, workload, &eviction).await {
            Ok(true) => state.index.is_going(workload, &eviction.pod),
            // Somebody changed the pod at the same moment, or it is another one by now.
            Ok(false) => plan.recheck_after = Some(SignedDuration::from_secs(1)),
            Err(why) => plan.refused(&why),
        }
    }
    plan
}

/// Everything that the gate looks at: what configs say, and rollouts of ours that they do not say yet.
fn others(state: &State, taken: &BTreeMap<WorkloadRef, Timestamp>) -> Others {
    let mut others = Others::default();
    for (key, config) in state.configs.all() {
        if let Some(workload) = WorkloadRef::from_config_name(&key.0, &key.1) {
            others.add(&workload, &config);
        }
    }
    for (workload, since) in taken {
        let standing = others.standings.entry(workload.clone()).or_insert(Standing::Holds(*since));
        if matches!(standing, Standing::Waits(_)) {
            *standing = Standing::Holds(*since);
        }
    }
    others
}

/// Workloads whose turn may have come with a change of a config: a place was given up, or a rollback no longer counts.
pub(crate) fn next_in_turn(state: &State, change: &Change<InstrumentationConfig>) -> Vec<WorkloadRef> {
    let options = state.options.load().rollout;
    let rolled_back = |config: &Arc<InstrumentationConfig>| brake::rolled_back_at(config.status.as_ref()?);
    let was_rolled_back = change.before.as_ref().and_then(rolled_back).is_some();
    let is_released = was_rolled_back && change.after.as_ref().and_then(rolled_back).is_none();
    let held = |config: &Arc<InstrumentationConfig>| matches!(places::standing(config), Some(Standing::Holds(_)));
    let is_given_up = change.before.as_ref().is_some_and(held) && !change.after.as_ref().is_some_and(held);
    if is_released {
        let configs = state.configs.all();
        let waits = configs.iter().filter(|(_, config)| matches!(places::standing(config), Some(Standing::Waits(_))));
        return waits.filter_map(|(key, _)| WorkloadRef::from_config_name(&key.0, &key.1)).collect();
    }
    if !is_given_up || !options.limits.are_set() {
        return Vec::new();
    }
    let taken = state.rollouts.lock().unwrap_or_else(PoisonError::into_inner).clone();
    places::next(options.limits, &others(state, &taken).standings, Timestamp::now())
}

/// Gives up the place of a workload.
pub(crate) fn release(state: &State, workload: &WorkloadRef) {
    state.rollouts.lock().unwrap_or_else(PoisonError::into_inner).remove(workload);
}

/// Takes the agents out of the pods of a workload that nobody covers any more.
pub(crate) async fn clean(state: &State, workload: &WorkloadRef) -> Result<(), ApplyError> {
    release(state, workload);
    let pods = state.index.of(workload);
    let Some(progress) = state.progress(workload).filter(|_| pods.iter().any(|pod| pod.hash.is_some())) else {
        return Ok(());
    };
    if !rollout::must_be_cleaned(workload.kind, &pods, &progress, state.options.load().rollout) {
        return Ok(());
    }
    // Its pods are going, and a change of its template would be a new revision of the Rollout that runs it.
    if state.workload(workload).await.is_ok_and(|found| found.is_some_and(|one| one.lent_to.is_some())) {
        return Ok(());
    }
    // The API keeps whole seconds, and the restart must be later than every pod that it replaces.
    let youngest = pods.iter().filter_map(|pod| pod.created).max();
    let stamp = youngest.map_or(Timestamp::UNIX_EPOCH, |created| created + 1.second()).max(Timestamp::now());
    tracing::info!(%workload, "its pods are made anew without agents");
    match restart(state, workload, stamp).await {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

async fn restart(state: &State, workload: &WorkloadRef, stamp: Timestamp) -> Result<(), ApplyError> {
    let kind = workload.kind;
    let object = reference(kind.api_version(), kind.object_kind(), &workload.namespace, &workload.name);
    state.applier.merge(&object, &rollout::restart_change(kind, stamp)).await.map(drop)
}

/// Asks a pod to go, as far as PodDisruptionBudgets allow it; tells whether it goes.
async fn evict(state: &State, workload: &WorkloadRef, eviction: &Eviction) -> Result<bool, String> {
    let api: Api<Pod> = Api::namespaced(state.evictor.0.clone(), &workload.namespace);
    let preconditions = Preconditions { uid: Some(eviction.uid.clone()), resource_version: None };
    let delete_options = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let parameters = EvictParams { delete_options: Some(delete_options), ..EvictParams::default() };
    match api.evict(&eviction.pod, &parameters).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(error) => Err(error.to_string()),
    }
}
