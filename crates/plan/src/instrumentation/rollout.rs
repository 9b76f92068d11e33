//! Restarts: when a workload's pods are made anew so that they get their agents, or lose them, and what the conditions
//! `WorkloadRollout` and `PodsManifestInjection` say (`spec/sources-and-instrumentation.md` 3.4, 3.5, 3.7, 3.8).
//!
//! A restart is asked for once for each set of agents. Whether a rollout goes on is told from generations and revisions, not
//! from health, so that one pod that never becomes ready blocks nothing. Never patches, never waits.

use crate::configuration::Configuration;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use odigos_api::WorkloadKind;
use odigos_api::condition::ConditionDraft;
use odigos_api::condition::kind::{PODS_INJECTION, WORKLOAD_ROLLOUT};
use odigos_api::instrumentation_config::{InstrumentationConfig, PodsManifestInjectionStatus};
use serde_json::{Value, json};

/// The annotation of a pod template that makes its workload start all pods anew.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Settings of restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Nothing is restarted; agents come with the next rollout of the user.
    pub is_disabled: bool,
    /// Most rollouts at once; `None` means any number.
    pub limit: Option<usize>,
}

impl Options {
    /// Reads them.
    #[must_use]
    pub fn of(configuration: &Configuration) -> Self {
        Self {
            is_disabled: configuration.flag("rollout.automaticRolloutDisabled").unwrap_or_default(),
            limit: configuration
                .number("rollout.maxConcurrentRollouts")
                .and_then(|number| usize::try_from(number).ok()),
        }
    }
}

/// What a workload's own object says about rollouts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Pods of an older revision are being replaced.
    pub is_ongoing: bool,
    /// Rollouts are paused.
    pub is_paused: bool,
    /// When its pods were last asked to be made anew; RFC 3339.
    pub restarted_at: String,
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
        Self { is_ongoing, is_paused, restarted_at: restarted_at.to_owned() }
    }
}

/// A pod that has not ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodSeen {
    /// Hash of the agents that it was created with; `None` without agents.
    pub hash: Option<String>,
    /// When it was created.
    pub created: Option<Timestamp>,
}

/// Everything that is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Kind of the workload.
    pub kind: WorkloadKind,
    /// Its config: what is wanted and what was done.
    pub config: &'a InstrumentationConfig,
    /// Its pods.
    pub pods: &'a [PodSeen],
    /// What its object says.
    pub progress: &'a Progress,
    /// Settings.
    pub options: Options,
    /// Whether one more rollout may begin.
    pub has_slot: bool,
    /// The time.
    pub now: Timestamp,
}

/// What is to be done and said.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutPlan {
    /// `WorkloadRollout` where there is something to say, and `PodsManifestInjection`.
    pub conditions: Vec<ConditionDraft>,
    /// The stamp of a restart; the same stamp again restarts nothing.
    pub restart: Option<Timestamp>,
    /// Hash for which the pods were made anew; with a restart, once that was accepted.
    pub applied_hash: String,
    /// What the pods carry.
    pub pods: PodsManifestInjectionStatus,
    /// Start of the stability window; with a restart, once that was accepted.
    pub instrumentation_time: Option<Time>,
    /// Whether it waits for others.
    pub is_queued: bool,
}

/// Decides about a workload whose agents are decided.
#[must_use]
pub fn plan(seen: &Seen<'_>) -> RolloutPlan {
    let spec = &seen.config.spec;
    let status = seen.config.status.as_ref();
    let is_enabled = spec.agent_injection_enabled;
    let wanted = if is_enabled { spec.agents_meta_hash.as_str() } else { "" };
    let has = |hash: &str| seen.pods.iter().any(|pod| pod.hash.as_deref() == Some(hash));
    let pods = PodsManifestInjectionStatus {
        has_injected_up_to_date_pods: is_enabled && has(wanted),
        has_injected_out_of_date_pods: seen.pods.iter().any(|pod| pod.hash.as_deref().is_some_and(|one| one != wanted)),
        has_uninjected_pods: seen.pods.iter().any(|pod| pod.hash.is_none()),
    };
    let is_missing = is_enabled && pods.has_uninjected_pods;
    let are_as_desired = !pods.has_injected_out_of_date_pods && !is_missing;
    let mut applied = status.map(|status| status.workload_rollout_hash.clone()).unwrap_or_default();
    let mut time = status.and_then(|status| status.instrumentation_time.clone());
    let was_applied = applied == wanted && (is_enabled || are_as_desired);
    let stated = state(seen, wanted, are_as_desired, was_applied);
    let mut restart = None;
    let mut rollout = stated.map(|stated| {
        let (status, reason, message) = stated;
        let condition = if status { ConditionDraft::yes } else { ConditionDraft::no };
        match reason {
            Waiting::Word(reason) => condition(WORKLOAD_ROLLOUT, reason, message),
            Waiting::Ongoing => ConditionDraft::unknown(WORKLOAD_ROLLOUT, "PreviousRolloutOngoing", message),
            Waiting::Restart => {
                restart = Some(spec.agents_meta_hash_changed_time.as_ref().map_or(seen.now, |time| time.0));
                condition(WORKLOAD_ROLLOUT, "RolloutTriggeredSuccessfully", message)
            }
        }
    });
    if restart.is_some() {
        applied = wanted.to_owned();
        time = is_enabled.then_some(Time(seen.now)).or(time);
    } else if are_as_desired && !seen.pods.is_empty() {
        // They are as they shall be without a restart of ours: the user made them anew.
        applied = wanted.to_owned();
    }
    if !is_enabled && applied.is_empty() && are_as_desired {
        // It never had agents, or has lost them all; there is nothing to say.
        rollout = None;
    }
    let reason = rollout.as_ref().map_or("", |condition| condition.reason.as_str()).to_owned();
    let injection = injection_condition(seen, is_enabled, are_as_desired, was_applied, &reason);
    RolloutPlan {
        conditions: rollout.into_iter().chain([injection]).collect(),
        restart,
        applied_hash: applied,
        pods,
        instrumentation_time: time,
        is_queued: reason == "WaitingInQueue",
    }
}

enum Waiting {
    Word(&'static str),
    Ongoing,
    Restart,
}

/// Status, reason and words of `WorkloadRollout`, by the order of 3.4.
fn state(
    seen: &Seen<'_>,
    wanted: &str,
    are_as_desired: bool,
    was_applied: bool,
) -> Option<(bool, Waiting, &'static str)> {
    use Waiting::{Ongoing, Restart, Word};
    let is_optional = seen.config.spec.pod_manifest_injection_optional == Some(true);
    Some(match seen.kind {
        _ if is_optional => (true, Word("NotRequired"), "The agents attach to running processes."),
        WorkloadKind::StaticPod => {
            (true, Word("WorkloadNotSupporting"), "A kubelet runs the pod from a file, so nobody else can restart it.")
        }
        WorkloadKind::CronJob | WorkloadKind::Job => {
            (true, Word("WaitingForRestart"), "The next job starts as decided; those that run are left alone.")
        }
        _ if seen.options.is_disabled => {
            (true, Word("Disabled"), "Automatic restarts are switched off; restart it to bring its pods up to date.")
        }
        _ if (was_applied || are_as_desired) && !wanted.is_empty() && seen.progress.is_ongoing => {
            (true, Word("RolloutTriggeredSuccessfully"), "Pods are being made anew.")
        }
        _ if was_applied || are_as_desired => (true, Word("RolloutFinished"), "The pods were made anew."),
        _ if seen.progress.is_ongoing => (true, Ongoing, "Another rollout goes on; it is waited for."),
        _ if seen.progress.is_paused => {
            (false, Word("FailedToPatch"), "Rollouts of it are paused; it goes on as soon as it is resumed.")
        }
        _ if !seen.has_slot => {
            (true, Word("WaitingInQueue"), "As many rollouts go on as rollout.maxConcurrentRollouts allows.")
        }
        _ => (true, Restart, "A restart was asked for."),
    })
}

/// The ladder of 3.8.
fn injection_condition(
    seen: &Seen<'_>,
    is_enabled: bool,
    are_as_desired: bool,
    was_applied: bool,
    rollout: &str,
) -> ConditionDraft {
    let yes = |reason: &str, message: &str| ConditionDraft::yes(PODS_INJECTION, reason, message);
    let no = |reason: &str, message: &str| ConditionDraft::no(PODS_INJECTION, reason, message);
    let unknown = |reason: &str, message: &str| ConditionDraft::unknown(PODS_INJECTION, reason, message);
    let what = if is_enabled { "lack their agents" } else { "still have agents" };
    if seen.pods.is_empty() {
        return unknown("NoPods", "It has no pods.");
    }
    if are_as_desired {
        return yes("PodsAppliedSuccessfully", "Every pod is as decided.");
    }
    match (seen.kind, rollout) {
        (_, "NotRequired") => {
            yes("PodsManifestInjectionNotRequired", "Agents attach to running processes; pods need not carry anything.")
        }
        (WorkloadKind::StaticPod, _) => {
            no("RolloutNotSupportedForStaticPods", &format!("The pods {what}, and only their node can restart them."))
        }
        (WorkloadKind::CronJob | WorkloadKind::Job, _) => {
            unknown("WaitingForNextJobRun", &format!("Pods of jobs that run {what}; those of the next are as decided."))
        }
        (_, "Disabled") => {
            no("RestartRequiredAutoRolloutDisabled", &format!("Some pods {what}; restart the {}.", seen.kind.as_str()))
        }
        (_, "WaitingInQueue") => unknown("WaitingInRolloutQueue", "Waits for the rollouts of others."),
        (_, "RolloutTriggeredSuccessfully" | "PreviousRolloutOngoing") => {
            unknown("RolloutInProgress", "Pods are being made anew.")
        }
        (_, "FailedToPatch") => {
            no("RestartRequiredAutoRolloutFailed", &format!("Some pods {what}, and it could not be restarted."))
        }
        _ if is_enabled && was_applied => no(
            "RestartRequiredWebhookMissed",
            &format!(
                "Some pods were created while nobody could give them their agents; restart the {}.",
                seen.kind.as_str()
            ),
        ),
        _ => unknown("WaitingForAutomaticRollout", &format!("Some pods {what}; a restart follows.")),
    }
}

/// Whether the pods of a workload that nobody covers any more must be made anew: some were created with agents since its
/// last restart. The API keeps whole seconds.
#[must_use]
pub fn must_be_cleaned(kind: WorkloadKind, pods: &[PodSeen], progress: &Progress, options: Options) -> bool {
    let restarted: Option<Timestamp> = progress.restarted_at.parse().ok();
    let since =
        |pod: &PodSeen| restarted.is_none_or(|restarted| pod.created.is_none_or(|created| created >= restarted));
    can_restart(kind) && !options.is_disabled && pods.iter().any(|pod| pod.hash.is_some() && since(pod))
}

/// Whether pods of the kind can be made anew from outside.
const fn can_restart(kind: WorkloadKind) -> bool {
    !matches!(kind, WorkloadKind::CronJob | WorkloadKind::Job | WorkloadKind::StaticPod)
}

/// The change of a workload that makes its pods anew.
#[must_use]
pub fn restart_change(kind: WorkloadKind, stamp: Timestamp) -> Value {
    let stamp = stamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    match kind {
        WorkloadKind::Rollout => json!({"spec": {"restartAt": stamp}}),
        _ => json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: stamp}}}}}),
    }
}

#[cfg(test)]
mod tests;
