//! What the condition `PodsManifestInjection` says: the ladder of `spec/sources-and-instrumentation.md` 3.8.

use super::rollout::{Facts, Seen};
use crate::agents::inputs;
use odigos_api::WorkloadKind;
use odigos_api::condition::ConditionDraft;
use odigos_api::condition::kind::PODS_INJECTION;

/// All pods have their agents, and some run with older cluster-wide inputs.
pub const OUTDATED_INPUTS: &str = "PodsAppliedWithOutdatedInputs";

/// What an update strategy does that makes nothing anew by itself.
pub const LEFT_TO_YOU: &str = "replaces them only when you delete them";

/// The condition, from the word of `WorkloadRollout`.
pub(super) fn injection(seen: &Seen<'_>, facts: &Facts<'_>, rollout: &str, is_healing: bool) -> ConditionDraft {
    let yes = |reason: &str, message: &str| ConditionDraft::yes(PODS_INJECTION, reason, message);
    let no = |reason: &str, message: &str| ConditionDraft::no(PODS_INJECTION, reason, message);
    let unknown = |reason: &str, message: &str| ConditionDraft::unknown(PODS_INJECTION, reason, message);
    let what = if facts.is_enabled { "lack their agents" } else { "still have agents" };
    if seen.pods.is_empty() {
        return unknown("NoPods", "It has no pods.");
    }
    if facts.are_as_desired {
        let outdated = inputs::words(&facts.outdated_inputs);
        if !outdated.is_empty() {
            let message =
                format!("All pods have their agents; {outdated}. A restart of the workload brings the new ones.");
            return yes(OUTDATED_INPUTS, &message);
        }
        return yes("PodsAppliedSuccessfully", "Every pod is as decided.");
    }
    let missed = |follows: &str| {
        let message = format!("Some pods were created while nobody could give them their agents; {follows}.");
        no("RestartRequiredWebhookMissed", &message)
    };
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
        (_, "RolloutTriggeredSuccessfully") if is_healing => missed("they are replaced one by one"),
        (_, "RolloutTriggeredSuccessfully" | "PreviousRolloutOngoing") => {
            unknown("RolloutInProgress", "Pods are being made anew.")
        }
        (_, "FailedToPatch") if seen.progress.is_paused => {
            no("RestartRequiredAutoRolloutFailed", &format!("Some pods {what}, and rollouts of it are paused."))
        }
        (_, "FailedToPatch") => {
            no("RestartRequiredAutoRolloutFailed", &format!("Some pods {what}, and it could not be restarted."))
        }
        (kind, _) if facts.was_applied && !seen.progress.replaces_pods => {
            let kind = kind.as_str();
            let message = format!("Some pods {what}: the update strategy of the {kind} {LEFT_TO_YOU}.");
            no("RestartRequiredAutoRolloutFailed", &message)
        }
        _ if facts.is_enabled && facts.was_applied => missed(&format!("restart the {}", seen.kind.as_str())),
        _ => unknown("WaitingForAutomaticRollout", &format!("Some pods {what}; a restart follows.")),
    }
}
