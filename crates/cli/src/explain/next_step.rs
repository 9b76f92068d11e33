//! What to do about the reason of a condition, for every reason of `spec/sources-and-instrumentation.md` 3.1–3.8 that does
//! not pass by itself.

use super::{kubectl_name, restart};
use odigos_api::{WorkloadKind, WorkloadRef};
use odigos_plan::agents::{is_of_another_language, silencing_rule};
use odigos_plan::instrumentation::{LEFT_TO_YOU, OUTDATED_INPUTS};

/// What a person can do about a reason whose message names the cause; `None` where nothing is to be done, or only to be waited.
pub(crate) fn next_step_for(reason: &str, message: &str, workload: &WorkloadRef) -> Option<String> {
    if reason == "NoCollectedSignals" {
        if let Some(rule) = silencing_rule(message) {
            return Some(format!(
                "nothing, if that is meant; else take the workload out of InstrumentationRule {rule}, or disable the rule"
            ));
        }
        if message.contains("asNeeded") {
            return Some(
                "add a Destination that takes what the agent sends (odigos destinations add), or remove agents.signals: asNeeded from \
                 the configuration"
                    .into(),
            );
        }
    }
    if reason == "UnsupportedProgrammingLanguage" && is_of_another_language(message) {
        return Some(
            "take otelDistroName out of containerOverrides[] of the Source, or name a distribution for the language that runs; where the \
             language was detected wrongly, state it with containerOverrides[].runtimeInfo.language"
                .into(),
        );
    }
    if matches!(reason, "FailedToPatch" | "RestartRequiredAutoRolloutFailed") {
        if message.contains("are paused") {
            return Some(match workload.kind {
                WorkloadKind::Rollout => "set spec.paused of the Rollout to false".into(),
                _ => format!("kubectl rollout resume {}", kubectl_name(workload)),
            });
        }
        if message.contains(LEFT_TO_YOU) {
            return Some("delete its pods one after the other, or change its update strategy".into());
        }
    }
    next_step(reason, workload)
}

/// What a person can do; `None` where nothing is to be done, or only to be waited.
pub(crate) fn next_step(reason: &str, workload: &WorkloadRef) -> Option<String> {
    let name = kubectl_name(workload);
    let kind = workload.kind.as_str().to_lowercase();
    let own = format!("{kind}/{} -n {}", workload.name, workload.namespace);
    Some(match reason {
        // MarkedForInstrumentation.
        "NoSource" => format!("odigos sources enable {own}"),
        "WorkloadSourceDisabled" => format!("odigos sources enable {own}, if it shall be covered again"),
        "NamespaceSourceDisabled" => format!("odigos sources enable {own}, or its namespace, if it shall be covered"),
        "NamespaceIgnored" => "follow the message, or delete the Sources of the namespace".into(),
        "ConfigurationPending" => {
            "wait for the scheduler, which writes the ConfigMap; if it lasts, look at its log and at the Events of ConfigMap \
             odigos-configuration"
                .into()
        }
        "RetirableError" => "delete all but one of the Sources that select it".into(),
        // RuntimeDetection.
        "NoRunningPods" | "RuntimeDetailsUnavailable" => {
            "scale it up, or state its language with containerOverrides[].runtimeInfo of a Source".into()
        }
        "Error" => {
            "follow the message; the agent on the node says more in its log (DaemonSet odiglet), where there is one"
                .into()
        }
        "UnresolvedMultipleLanguages" | "UnsupportedProgrammingLanguage" => {
            "state its language with containerOverrides[].runtimeInfo.language of a Source".into()
        }
        // AgentEnabled.
        "NoCollectedSignals" => "add a Destination that takes what the agent sends: odigos destinations add".into(),
        "WaitingForNodeCollector" => {
            "wait; if it lasts, look at the collectors: kubectl get collectorsgroups -n odigos-system".into()
        }
        "IgnoredContainer" => {
            "take its name out of ignoredContainers of the configuration, if it shall be covered".into()
        }
        "InjectionConflict" => "remove the setting that the message names, or allow the other way of injection".into(),
        "UnsupportedRuntimeVersion" => {
            "use a version that the message names, or another distribution (otelDistroName of a Source)".into()
        }
        "NoAvailableAgent" => "follow the message, or leave it uncovered".into(),
        "MissingPullSecret" => "create the named Secret in the namespace, or change agentImages.pullSecret of the configuration".into(),
        "MissingDistroParameter" => "state what is missing with containerOverrides[].runtimeInfo of a Source".into(),
        "OtherAgentDetected" => {
            "remove the other agent, or set containerOverrides[].allowConcurrentAgents of a Source".into()
        }
        "CrashLoopBackOff" | "ImagePullBackOff" => {
            format!(
                "mend the pods: kubectl get pods -n {}; after a rollback, annotate the Source odigos.io/rollback-recovery with the time",
                workload.namespace
            )
        }
        "FailedCreate" => {
            "let the quota, LimitRange or policy that the message names admit the pod (agentsInitContainerResources sizes the init \
             container), then annotate the Source odigos.io/rollback-recovery with the time"
                .into()
        }
        // WorkloadRollout.
        "FailedToPatch" => "resume it where it is paused, else read the message: a restart that the API server refused is tried again".into(),
        "Disabled" => format!("restart it yourself: kubectl rollout restart {name}"),
        "WorkloadNotSupporting" | "RolloutNotSupportedForStaticPods" => {
            "its kubelet makes the pod: change its manifest on the node, so that it is made anew".into()
        }
        // PodsManifestInjection.
        OUTDATED_INPUTS => restart(workload),
        "RestartRequiredAutoRolloutDisabled" | "RestartRequiredWebhookMissed" => {
            format!("kubectl rollout restart {name}")
        }
        "RestartRequiredAutoRolloutFailed" => {
            format!("kubectl rollout restart {name}, once it is not paused; with an update strategy that replaces no pods, delete them")
        }
        _ => return None,
    })
}
