//! The conditions of InstrumentationRules: all rules at once, since they are told by the same look at all workloads.

use crate::state::State;
use crate::workloads::Error;
use jiff::Timestamp;
use odigos_api::condition::merged;
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::{API_VERSION, WorkloadRef};
use odigos_kit::apply::{reference, same_conditions};
use odigos_kit::queue::Outcome;
use odigos_plan::agents::{self, Covered};
use serde_json::json;
use std::sync::Arc;

pub(crate) async fn reconcile(state: Arc<State>) -> Result<Outcome, Error> {
    let rules = state.rules.all();
    if rules.is_empty() {
        return Ok(Outcome::default());
    }
    let configs = state.configs.all();
    let covered: Vec<Covered<'_>> = configs
        .iter()
        .filter_map(|(key, config)| Some(covered(&state, WorkloadRef::from_config_name(&key.0, &key.1)?, config)))
        .collect();
    let all: Vec<_> = rules.iter().map(|(_, rule)| rule.as_ref()).collect();
    let drafts = agents::report(&all, &covered, state.options.load().measures_network);
    for ((key, rule), drafts) in rules.iter().zip(drafts) {
        let before = rule.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
        let conditions = merged(&before, &drafts, rule.metadata.generation, Timestamp::now());
        if same_conditions(&before, &conditions) {
            continue;
        }
        let mut object = reference(API_VERSION, "InstrumentationRule", &key.0, &key.1);
        object["status"] = json!({"conditions": conditions});
        match state.applier.apply_status(&object).await {
            Err(error) if error.is_not_found() => {}
            other => drop(other?),
        }
    }
    Ok(Outcome::default())
}

fn covered<'a>(state: &State, workload: WorkloadRef, config: &'a InstrumentationConfig) -> Covered<'a> {
    let wanted = Some(config.spec.agents_meta_hash.as_str()).filter(|hash| !hash.is_empty());
    // Agents that attach to running processes leave no mark on pods.
    let is_marked = config.spec.pod_manifest_injection_optional != Some(true);
    let is_outdated = is_marked && state.index.of(&workload).iter().any(|pod| pod.hash.as_deref() != wanted);
    let stated = state.stated_variables(&workload);
    Covered { workload, config, is_outdated, stated }
}
