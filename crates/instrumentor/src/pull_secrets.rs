//! Whether the Secret that images of agents are pulled with is in a namespace (`agentImages.pullSecret`).
//!
//! Owns the question, which asks for metadata alone: what is in a Secret never reaches this process. Never decides what follows
//! (`plan::injection`, `plan::agents`). There is no watch: an answer is kept for a minute, that there is none for a second.

use crate::state::State;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use odigos_api::WorkloadRef;
use odigos_plan::injection::{self, LackingPullSecret, SecurityLevel};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long it counts that a Secret is there.
const PRESENT: Duration = Duration::from_secs(60);
/// How long it counts that there is none: about as long as pods of a workload are created at once.
const ABSENT: Duration = Duration::from_secs(1);
/// When workloads that wait for it are looked at again.
pub(crate) const RECHECK: Duration = Duration::from_secs(30);

/// Answers by namespace and name.
#[derive(Debug, Default)]
pub(crate) struct PullSecrets(Mutex<BTreeMap<(String, String), (Instant, bool)>>);

impl PullSecrets {
    fn known(&self, key: &(String, String)) -> Option<bool> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (when, is_there) = answers.get(key)?;
        (when.elapsed() < if *is_there { PRESENT } else { ABSENT }).then_some(*is_there)
    }

    /// Whether a Secret is there; `None` where the API server does not say so in time.
    async fn is_there(&self, api: &Api<Secret>, key: (String, String), limit: Duration) -> Option<bool> {
        if let Some(known) = self.known(&key) {
            return Some(known);
        }
        let is_there = match tokio::time::timeout(limit, api.get_metadata_opt(&key.1)).await {
            Ok(Ok(found)) => found.is_some(),
            Ok(Err(error)) => {
                tracing::warn!(namespace = key.0, secret = key.1, %error, "failed to read whether the pull Secret exists");
                return None;
            }
            Err(_) => return None,
        };
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|_, (when, _)| when.elapsed() < PRESENT);
        answers.insert(key, (Instant::now(), is_there));
        Some(is_there)
    }
}

/// The Secret that agents of a workload need and its namespace lacks; `None` where none is named or it is there.
pub(crate) async fn lacking(state: &State, workload: &WorkloadRef, limit: Duration) -> Option<LackingPullSecret> {
    let options = state.injection.load_full();
    let name = options.pull_secret.clone()?;
    let api: Api<Secret> = Api::namespaced(state.client.0.clone(), &workload.namespace);
    let key = (workload.namespace.clone(), name.clone());
    let answer = state.pull_secrets.is_there(&api, key, limit).await;
    if answer == Some(true) {
        return None;
    }
    let level = state.namespaces.get("", &workload.namespace);
    let level = level.map(|one| SecurityLevel::of(one.metadata.labels.as_ref()));
    let (has_host_path, has_prepared_nodes) = (state.index.have_host_path(workload), !state.nodes.is_empty());
    let has_files_from_node = injection::has_files_from_node(&options, level, has_host_path, has_prepared_nodes);
    Some(LackingPullSecret { name, is_absent: answer.is_some(), has_files_from_node })
}
