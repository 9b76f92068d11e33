//! The floor in the HorizontalPodAutoscaler of the gateway, and what that object says of itself.
//!
//! Owns the annotation of the floor (it is the only memory that outlives a process), the changes of the rendered object, and
//! the condition `HPAMetricsUnavailable` (`spec/collectors-and-pipelines.md` 6.2, ours 1 and 5). Never scales by itself.

use super::{Hint, custom_metrics};
use crate::objects::Desired;
use jiff::{SignedDuration, Timestamp};
use odigos_api::condition::{ConditionDraft, kind};
use odigos_api::labels;
use serde_json::{Value, json};

/// How long metrics may be missing before that is reported: a new pod has none for its first minute.
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);
/// How much of the cluster's own words is repeated, in characters.
const WORDS: usize = 300;

/// The floor that a live object notes, in force or not.
#[must_use]
pub fn noted(live: Option<&Value>) -> Option<Hint> {
    let text = live?.pointer("/metadata/annotations")?.get(labels::SCALING_HINT)?.as_str()?;
    serde_json::from_str(text).ok()
}

/// Puts a floor that is in force into the rendered objects. One apply states the replicas and the note, so that nothing
/// competes for them; without a floor the same apply takes both back.
pub fn raise(desired: &mut [Desired], hint: Option<Hint>, now: Timestamp) {
    let Some(hint) = hint.filter(|hint| hint.until > now) else { return };
    let autoscaler = desired.iter_mut().find(|one| one.object["kind"] == "HorizontalPodAutoscaler");
    let Some(object) = autoscaler.map(|one| &mut one.object) else { return };
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
    let floor = i64::from(hint.min_replicas).min(number("/spec/maxReplicas"));
    if floor <= number("/spec/minReplicas") {
        return;
    }
    object["spec"]["minReplicas"] = json!(floor);
    let note = serde_json::to_string(&hint).unwrap_or_default();
    object["metadata"]["annotations"][labels::SCALING_HINT] = json!(note);
}

/// Takes memory out of the metrics while destinations hold gateways up: full queues are memory, and more gateways would only
/// fill more of them (A36). CPU still counts. The note says why.
pub fn leave_memory_out(desired: &mut [Desired]) {
    let autoscaler = desired.iter_mut().find(|one| one.object["kind"] == "HorizontalPodAutoscaler");
    let Some(object) = autoscaler.map(|one| &mut one.object) else { return };
    let is_memory = |metric: &Value| metric.pointer("/resource/name").is_some_and(|name| name == "memory");
    let metrics = object.pointer_mut("/spec/metrics").and_then(Value::as_array_mut);
    let Some(metrics) = metrics.filter(|metrics| !metrics.iter().all(is_memory)) else { return };
    metrics.retain(|metric| !is_memory(metric));
    object["metadata"]["annotations"][labels::MEMORY_LEFT_OUT] = json!(kind::DESTINATION_BACKPRESSURE);
}

/// Whether the cluster's autoscaler reads what gateways refuse by itself: its own report shows the metric with a value. That it
/// was asked to is not enough, e.g. where it has not the permission.
#[must_use]
pub fn reads_rejections(live: Option<&Value>) -> bool {
    let current = live.and_then(|live| live.pointer("/status/currentMetrics")).and_then(Value::as_array);
    current.into_iter().flatten().any(|one| {
        let is_ours = one.pointer("/object/metric/name").is_some_and(|name| name == custom_metrics::METRIC);
        is_ours && one.pointer("/object/current/value").is_some_and(Value::is_string)
    })
}

/// `HPAMetricsUnavailable`, or none while metrics are missing only for a moment, so that what was told before stays.
#[must_use]
pub fn metrics_condition(live: Option<&Value>, now: Timestamp) -> Option<ConditionDraft> {
    const KIND: &str = kind::HPA_METRICS_UNAVAILABLE;
    let conditions = live?.pointer("/status/conditions").and_then(Value::as_array);
    let active = conditions.into_iter().flatten().find(|one| one["type"] == "ScalingActive");
    let Some(active) = active else {
        let message = "The cluster has not looked at the HorizontalPodAutoscaler odigos-gateway yet.";
        return Some(ConditionDraft::unknown(KIND, "NotLookedAtYet", message));
    };
    let text = |key: &str| active[key].as_str().unwrap_or_default();
    if text("status") != "False" {
        return Some(ConditionDraft::no(KIND, "MetricsAvailable", "The autoscaler reads CPU and memory of gateways."));
    }
    if text("reason") == "ScalingDisabled" {
        let message = "Somebody scaled the gateway to zero, which switches its autoscaler off.";
        return Some(ConditionDraft::unknown(KIND, "ScalingDisabled", message));
    }
    let since: Option<Timestamp> = text("lastTransitionTime").parse().ok();
    if since.is_some_and(|since| now.duration_since(since) < PATIENCE) {
        return None;
    }
    let words: String = text("message").chars().take(WORDS).collect();
    let message = match text("reason") {
        "FailedGetObjectMetric" => format!(
            "The autoscaler cannot read what gateways refuse ({words}). Until it can, its floor is raised when they do. See that the account of the cluster's controllers may get deployments.apps/{metric} of {group} in this namespace, or switch customMetrics.enabled off.",
            metric = custom_metrics::METRIC,
            group = custom_metrics::GROUP,
        ),
        _ => format!(
            "The autoscaler cannot read CPU and memory of gateways ({words}). Until it can, gateways are added only when they refuse items. Install metrics-server, or see why it does not answer."
        ),
    };
    Some(ConditionDraft::yes(KIND, text("reason"), message))
}
