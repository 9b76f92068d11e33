//! What a workload's own object says about its rollouts (`spec/sources-and-instrumentation.md` 3.4).
//!
//! Whether one goes on is known from generations and revisions, not from health, so that one pod that never becomes ready
//! blocks nothing.

use super::creation::CreationFailure;
use odigos_api::WorkloadKind;
use serde_json::Value;

/// The annotation of a pod template that makes its workload start all pods anew.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// What a workload's own object says about rollouts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Pods of an older revision are being replaced.
    pub is_ongoing: bool,
    /// Rollouts are paused.
    pub is_paused: bool,
    /// When its pods were last asked to be made anew; RFC 3339.
    pub restarted_at: String,
    /// How many pods it shall have, where its object says so.
    pub replicas: i64,
    /// By its own strategy a Deployment can do without one of its pods for a while.
    pub spares_a_pod: bool,
    /// A pod that goes is replaced by one of the newest revision, as all others are.
    pub replaces_pods: bool,
    /// Its controller fails to create pods. Kinds that say so by Events alone are completed by whoever has these.
    pub creation_failure: Option<CreationFailure>,
}

impl Progress {
    /// Reads a workload.
    #[must_use]
    pub fn of(kind: WorkloadKind, object: &Value) -> Self {
        let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let count = |field: &str| number(&format!("/status/{field}")).unwrap_or_default();
        let is_unseen = number("/metadata/generation") > Some(count("observedGeneration"));
        let is_rolling = |pointer: &str| matches!(text(pointer), "" | "RollingUpdate");
        let gave_up = || {
            let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
            conditions.into_iter().flatten().any(|one| one["reason"] == "ProgressDeadlineExceeded")
        };
        let is_ongoing = match kind {
            WorkloadKind::Deployment | WorkloadKind::DeploymentConfig => {
                let wanted = number("/spec/replicas").unwrap_or(1);
                let updated = count("updatedReplicas");
                is_unseen || ((updated < wanted || count("replicas") > updated) && !gave_up())
            }
            WorkloadKind::StatefulSet => {
                let revision = |field: &str| text(&format!("/status/{field}")).to_owned();
                is_unseen
                    || (is_rolling("/spec/updateStrategy/type")
                        && number("/spec/updateStrategy/rollingUpdate/partition").unwrap_or_default() == 0
                        && revision("updateRevision") != revision("currentRevision"))
            }
            WorkloadKind::DaemonSet => {
                is_unseen
                    || (is_rolling("/spec/updateStrategy/type")
                        && count("updatedNumberScheduled") < count("desiredNumberScheduled"))
            }
            WorkloadKind::Rollout => text("/status/phase") == "Progressing",
            WorkloadKind::CronJob | WorkloadKind::Job | WorkloadKind::StaticPod => false,
        };
        let restarted_at = match kind {
            WorkloadKind::Rollout => text("/spec/restartAt"),
            _ => {
                let annotations = object.pointer("/spec/template/metadata/annotations");
                annotations.and_then(|all| all.get(RESTARTED_AT)).and_then(Value::as_str).unwrap_or_default()
            }
        };
        let is_paused = object.pointer("/spec/paused").and_then(Value::as_bool) == Some(true);
        let replicas = number("/spec/replicas").unwrap_or(1);
        let replaces_pods = match kind {
            WorkloadKind::StatefulSet => {
                is_rolling("/spec/updateStrategy/type")
                    && number("/spec/updateStrategy/rollingUpdate/partition").unwrap_or_default() == 0
            }
            WorkloadKind::DaemonSet => is_rolling("/spec/updateStrategy/type"),
            _ => true,
        };
        let spares_a_pod = kind == WorkloadKind::Deployment && replicas >= 2 && may_be_away(object, replicas) >= 1;
        let restarted_at = restarted_at.to_owned();
        let creation_failure = CreationFailure::of_conditions(object);
        Self { is_ongoing, is_paused, restarted_at, replicas, spares_a_pod, replaces_pods, creation_failure }
    }
}

/// How many pods of a Deployment may be away during a rolling update; all of them where it replaces them at once.
fn may_be_away(object: &Value, replicas: i64) -> i64 {
    if object.pointer("/spec/strategy/type").and_then(Value::as_str) == Some("Recreate") {
        return replicas;
    }
    let percentage = |text: &str| text.strip_suffix('%')?.parse::<i64>().ok();
    match object.pointer("/spec/strategy/rollingUpdate/maxUnavailable") {
        Some(Value::Number(number)) => number.as_i64().unwrap_or_default(),
        Some(Value::String(text)) => percentage(text).map_or(0, |share| replicas.saturating_mul(share) / 100),
        // The API server's own default is a quarter, rounded down.
        _ => replicas / 4,
    }
}
