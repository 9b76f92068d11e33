//! One workload: its coverage becomes an InstrumentationConfig, or none.

use crate::rollouts::{self, Remembered};
use crate::state::State;
use crate::{pull_secrets, reports};
use jiff::Timestamp;
use odigos_api::condition::kind::WORKLOAD_ROLLOUT;
use odigos_api::condition::{ConditionDraft, INSTRUMENTATION_ORDER, merged};
use odigos_api::instrumentation_config::{InstrumentationConfig, InstrumentationConfigStatus};
use odigos_api::labels::{LOGS_OFF, METRICS_OFF, ROLLBACK_RECOVERY, ROLLBACK_RECOVERY_PROCESSED, STREAM_PREFIX};
use odigos_api::source::Source;
use odigos_api::{API_VERSION, WorkloadRef};
use odigos_kit::apply::{ApplyError, reference, same_conditions};
use odigos_kit::queue::Outcome;
use odigos_plan::agents::NodeCollector;
use odigos_plan::coverage::{self, Matcher};
use odigos_plan::instrumentation::{self, Desired, Surroundings};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a reconcile waits for an answer without which it goes on.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a workload could not be reconciled.
#[derive(Debug)]
pub(crate) enum Error {
    Read(kube::Error),
    Write(ApplyError),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read(error) => write!(f, "failed to read the workload: {error}"),
            Self::Write(error) => error.fmt(f),
        }
    }
}

impl From<ApplyError> for Error {
    fn from(error: ApplyError) -> Self {
        Self::Write(error)
    }
}

pub(crate) async fn reconcile(state: Arc<State>, workload: WorkloadRef) -> Result<Outcome, Error> {
    let existing = state.configs.get(&workload.namespace, &workload.config_name());
    let existing = rollouts::newest(&state, &workload, existing);
    let (existing, has_open_reports) = match existing {
        Some(existing) => {
            let (existing, is_open) = reports::accept(&state, &workload, existing).await?;
            (Some(existing), is_open)
        }
        None => (None, false),
    };
    let sources = state.sources.namespace(&workload.namespace);
    let options = state.options.load_full();
    // What has no config is left as it is: its pods may carry agents whose settings are not known.
    if existing.is_none() && !options.scope.is_known() {
        return Ok(Outcome::default());
    }
    let needs_source = options.scope.opt_out_labels(&workload.namespace).is_none();
    if existing.is_none() && sources.is_empty() && needs_source {
        return uncovered(&state, &workload).await;
    }
    let selecting: Vec<&Source> =
        sources.iter().map(AsRef::as_ref).filter(|source| Matcher::new(source).selects(&workload)).collect();
    if existing.is_none() && selecting.is_empty() && needs_source {
        return uncovered(&state, &workload).await;
    }
    // A workload that is gone takes its config with it; a Source waits for the next one of that name.
    let Some(found) = state.workload(&workload).await.map_err(Error::Read)? else { return Ok(Outcome::default()) };
    let decided = coverage::decide(&options.scope, &workload, &selecting);
    let rivals: Vec<String> = selecting
        .iter()
        .filter(|source| !coverage::is_namespace_source(source) && !coverage::is_terminating(source))
        .filter_map(|source| source.metadata.name.clone())
        .collect();
    let (signals, rules) = (state.node_signals(), state.rules.all());
    let rules: Vec<_> = rules.iter().map(|(_, rule)| rule.as_ref()).collect();
    let backoff = state.index.backoff_without_agent(&workload);
    let lacking = match decided.decision.is_covered() {
        true => pull_secrets::lacking(&state, &workload, PATIENCE).await,
        false => None,
    };
    let around = Surroundings {
        options: &options,
        node_collector: signals.as_deref().map_or(NodeCollector::NotReady, NodeCollector::Ready),
        rules: &rules,
        backoff: backoff.as_ref(),
        pull_secret: lacking.as_ref(),
        now: Timestamp::now(),
    };
    let plan = instrumentation::plan(&found, &decided, existing.as_deref(), &rivals.join(", "), &around);
    let mut config = match plan.desired {
        Desired::Delete => {
            if let Some(existing) = existing {
                let object =
                    reference(API_VERSION, "InstrumentationConfig", &workload.namespace, &workload.config_name());
                state.applier.delete(&object, existing.metadata.uid.as_deref()).await?;
                // Pods that are made from now on must not find it any more.
                state.configs.put((workload.namespace.clone(), workload.config_name()), None);
            }
            return uncovered(&state, &workload).await;
        }
        Desired::Keep => match existing {
            Some(existing) => existing.as_ref().clone(),
            None => return Ok(Outcome::default()),
        },
        Desired::Apply(desired) => apply(&state, &desired, existing.as_deref()).await?,
    };
    let before = config.status.clone().unwrap_or_default();
    if plan.is_recovered {
        instrumentation::forget_rollback(config.status.get_or_insert_default());
    }
    let mut conditions = plan.conditions;
    let mut progress = config.status.clone().unwrap_or_default();
    let is_held = conditions.iter().any(|one| one.kind == WORKLOAD_ROLLOUT);
    let has_agents = config.spec.agent_injection_enabled
        || !progress.workload_rollout_hash.is_empty()
        || progress.rollback_occurred == Some(true)
        || state.index.of(&workload).iter().any(|pod| pod.hash.is_some());
    let mut outcome = Outcome::default();
    if !options.scope.is_known() {
        // Rollouts stand still: which of them may begin, and whether agents may be taken out, is not known.
    } else if has_agents && !is_held {
        let followed = rollouts::follow(&state, &workload, &config).await;
        conditions.retain(|one| followed.conditions.iter().all(|other| other.kind != one.kind));
        conditions.extend(followed.conditions);
        progress.workload_rollout_hash = followed.applied_hash;
        progress.pods_manifest_injection_status = Some(followed.pods);
        progress.instrumentation_time = followed.instrumentation_time;
        progress.rollout = followed.rollout;
        progress.outdated_inputs = followed.outdated_inputs;
        if followed.rollback.is_some() {
            (progress.rollback_occurred, progress.rollback) = (Some(true), followed.rollback);
        }
        let recheck = followed.recheck_after.map(|after| Duration::try_from(after).unwrap_or_default());
        // A little later than it is due, so that it is due then.
        outcome.recheck_after = recheck.map(|after| after + Duration::from_millis(50));
    } else {
        rollouts::release(&state, &workload);
        if !is_held {
            // Without agents there are no inputs that could be older.
            progress.outdated_inputs.clear();
        }
    }
    if has_open_reports {
        outcome.recheck_after = Some(outcome.recheck_after.unwrap_or(reports::RECHECK).min(reports::RECHECK));
    }
    if lacking.is_some() {
        // Nothing tells that somebody created the Secret.
        let recheck = outcome.recheck_after.unwrap_or(pull_secrets::RECHECK).min(pull_secrets::RECHECK);
        outcome.recheck_after = Some(recheck);
    }
    write_status(&state, &workload, (config, before), &conditions, progress).await?;
    Ok(outcome)
}

/// What is left to do for a workload that no Source covers.
async fn uncovered(state: &State, workload: &WorkloadRef) -> Result<Outcome, Error> {
    rollouts::clean(state, workload).await?;
    Ok(Outcome::default())
}

/// Applies the config unless it stands as desired; returns it as it is now.
async fn apply(
    state: &State,
    desired: &InstrumentationConfig,
    existing: Option<&InstrumentationConfig>,
) -> Result<InstrumentationConfig, Error> {
    if let Some(existing) = existing.filter(|existing| is_as_desired(desired, existing)) {
        return Ok(existing.clone());
    }
    let mut object = serde_json::to_value(desired).unwrap_or_default();
    if let serde_json::Value::Object(map) = &mut object {
        map.remove("status");
    }
    let applied = state.applier.apply(&object).await?;
    let config: InstrumentationConfig =
        serde_json::to_value(applied).and_then(serde_json::from_value).unwrap_or_else(|_| desired.clone());
    let key = (config.metadata.namespace.clone().unwrap_or_default(), config.metadata.name.clone().unwrap_or_default());
    // The next reconcile must not decide on an older state than the one that was just written.
    state.configs.put(key, Some(config.clone()));
    Ok(config)
}

fn is_as_desired(desired: &InstrumentationConfig, existing: &InstrumentationConfig) -> bool {
    let streams = |labels: &Option<BTreeMap<String, String>>| {
        let is_own = |key: &str| key.starts_with(STREAM_PREFIX) || [METRICS_OFF, LOGS_OFF].contains(&key);
        let labels = labels.iter().flatten().filter(|(key, _)| is_own(key));
        labels.map(|(key, value)| (key.clone(), value.clone())).collect::<BTreeMap<_, _>>()
    };
    let owner = |config: &InstrumentationConfig| {
        config.metadata.owner_references.iter().flatten().map(|owner| owner.uid.clone()).collect::<Vec<_>>()
    };
    let annotations = |config: &InstrumentationConfig| {
        let annotation = |key: &str| config.metadata.annotations.as_ref()?.get(key).cloned();
        [ROLLBACK_RECOVERY, ROLLBACK_RECOVERY_PROCESSED].map(annotation)
    };
    desired.spec == existing.spec
        && streams(&desired.metadata.labels) == streams(&existing.metadata.labels)
        && owner(desired) == owner(existing)
        && annotations(desired) == annotations(existing)
}

/// Writes the conditions and how far the rollout is, unless they stand so.
async fn write_status(
    state: &State,
    workload: &WorkloadRef,
    (config, before): (InstrumentationConfig, InstrumentationConfigStatus),
    drafts: &[ConditionDraft],
    progress: InstrumentationConfigStatus,
) -> Result<(), Error> {
    let own = before.conditions.iter().filter(|one| drafts.iter().any(|draft| draft.kind == one.type_));
    let own: Vec<_> = own.cloned().collect();
    let mut conditions = merged(&before.conditions, drafts, config.metadata.generation, Timestamp::now());
    let position = |kind: &str| INSTRUMENTATION_ORDER.iter().position(|one| *one == kind);
    conditions.sort_by_key(|condition| position(&condition.type_));
    let uid = config.metadata.uid.as_ref();
    let written = Remembered::of(uid, &progress);
    let are_pods_same = before.pods_manifest_injection_status == progress.pods_manifest_injection_status;
    if same_conditions(&own, &conditions) && are_pods_same && Remembered::of(uid, &before) == written {
        return Ok(());
    }
    let namespace = config.metadata.namespace.unwrap_or_default();
    let name = config.metadata.name.unwrap_or_default();
    let mut object = reference(API_VERSION, "InstrumentationConfig", &namespace, &name);
    // Fields that are left out would be removed, since they are ours.
    let status = InstrumentationConfigStatus {
        conditions,
        runtime_details_by_container: Vec::new(),
        runtime_reports: Vec::new(),
        ..progress
    };
    object["status"] = json!(status);
    match state.applier.apply_status(&object).await {
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
        Ok(()) => {
            rollouts::remember(state, workload, written);
            Ok(())
        }
    }
}
