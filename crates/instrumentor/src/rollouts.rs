//! Restarts of one workload: asks for them as `plan::instrumentation::rollout` decides, and keeps to the limit.

use crate::state::State;
use jiff::{Timestamp, ToSpan};
use odigos_api::WorkloadRef;
use odigos_api::condition::ConditionDraft;
use odigos_api::condition::kind::WORKLOAD_ROLLOUT;
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_kit::apply::{ApplyError, reference};
use odigos_plan::instrumentation::rollout::{self, RolloutPlan, Seen};
use std::collections::BTreeSet;
use std::sync::PoisonError;

/// Words of a workload whose rollout takes a place among those that the limit counts.
const TAKES_A_PLACE: &str = "RolloutTriggeredSuccessfully";

/// Decides and asks for a restart where one is due. A refused one is said in the conditions and not remembered as done.
pub(crate) async fn follow(state: &State, workload: &WorkloadRef, config: &InstrumentationConfig) -> RolloutPlan {
    let progress = state.progress(workload).unwrap_or_default();
    let pods = state.index.of(workload);
    let options = state.options.load().rollout;
    let mut plan = {
        let mut taken = state.rollouts.lock().unwrap_or_else(PoisonError::into_inner);
        let has_slot = options.limit.is_none_or(|limit| others(state, &taken, workload) < limit);
        let seen = Seen {
            kind: workload.kind,
            config,
            pods: &pods,
            progress: &progress,
            options,
            has_slot,
            now: Timestamp::now(),
        };
        let plan = rollout::plan(&seen);
        let goes_on = plan.conditions.iter().any(|one| one.reason == TAKES_A_PLACE);
        if goes_on {
            taken.insert(workload.clone());
        } else {
            taken.remove(workload);
        }
        plan
    };
    let Some(stamp) = plan.restart else { return plan };
    tracing::info!(%workload, hash = plan.applied_hash, "its pods are made anew for their agents");
    if let Err(error) = restart(state, workload, stamp).await {
        let message = format!("It cannot be restarted, which is tried again: {error}");
        plan.conditions.retain(|one| one.kind != WORKLOAD_ROLLOUT);
        plan.conditions.insert(0, ConditionDraft::no(WORKLOAD_ROLLOUT, "FailedToPatch", message));
        let status = config.status.as_ref();
        plan.applied_hash = status.map(|status| status.workload_rollout_hash.clone()).unwrap_or_default();
        plan.instrumentation_time = status.and_then(|status| status.instrumentation_time.clone());
        plan.is_queued = true;
        state.rollouts.lock().unwrap_or_else(PoisonError::into_inner).remove(workload);
    }
    plan
}

/// Rollouts of other workloads that go on: those that were begun here, and those that a former leader has noted.
fn others(state: &State, taken: &BTreeSet<WorkloadRef>, workload: &WorkloadRef) -> usize {
    let configs = state.configs.all();
    let noted = configs.iter().filter_map(|(key, config)| {
        let conditions = &config.status.as_ref()?.conditions;
        let goes_on = conditions.iter().any(|one| one.type_ == WORKLOAD_ROLLOUT && one.reason == TAKES_A_PLACE);
        goes_on.then(|| WorkloadRef::from_config_name(&key.0, &key.1)).flatten()
    });
    let all: BTreeSet<WorkloadRef> = noted.chain(taken.iter().cloned()).collect();
    all.iter().filter(|one| *one != workload).count()
}

/// Takes the agents out of the pods of a workload that nobody covers any more.
pub(crate) async fn clean(state: &State, workload: &WorkloadRef) -> Result<(), ApplyError> {
    state.rollouts.lock().unwrap_or_else(PoisonError::into_inner).remove(workload);
    let pods = state.index.of(workload);
    let Some(progress) = state.progress(workload).filter(|_| pods.iter().any(|pod| pod.hash.is_some())) else {
        return Ok(());
    };
    if !rollout::must_be_cleaned(workload.kind, &pods, &progress, state.options.load().rollout) {
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
