//! The metric `odigos_gateway_rejections`: what the aggregated API answers, and whether the cluster asks this control plane for it.
//!
//! Owns the optional half of `spec/collectors-and-pipelines.md` 6.1–6.2 (ours 2): the documents of `custom.metrics.k8s.io`, the
//! reading of the one APIService that a cluster can have for that group, and the condition `CustomMetricsAvailable`. Whoever asks
//! changes nothing: the value is the judgement that the leader made of the last rounds (`scaling::Memory::are_too_few`). Never
//! registers anything; the chart brings the APIService.

use jiff::Timestamp;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use odigos_api::condition::{ConditionDraft, kind};
use odigos_api::names;
use serde_json::{Value, json};

/// Name of the metric: 1 while at least half of the gateways refuse because they are too few, else 0.
pub const METRIC: &str = "odigos_gateway_rejections";
/// API group of custom metrics; a cluster has one server for it.
pub const GROUP: &str = "custom.metrics.k8s.io";
/// The version that is served, which every HorizontalPodAutoscaler controller since Kubernetes 1.9 reads.
pub const VERSION: &str = "v1beta1";
/// Name of the APIService.
pub const API_SERVICE: &str = "v1beta1.custom.metrics.k8s.io";
/// What a gateway can be, as resource and as kind.
const WORKLOADS: [(&str, &str); 2] = [("deployments.apps", "Deployment"), ("statefulsets.apps", "StatefulSet")];
/// How much of the API server's own words is repeated, in characters.
const WORDS: usize = 300;

/// Whom the cluster's API server asks for custom metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Nobody: there is no APIService.
    Absent,
    /// Somebody else, as named here.
    Another(String),
    /// This control plane, but the API server has not said yet whether it reaches it.
    NotLookedAt,
    /// This control plane, but the API server does not reach it, as it says here: reason and message.
    Unavailable(String, String),
    /// This control plane, which answers.
    Available,
}

impl Registration {
    /// What the live APIService says to a control plane in `namespace`.
    #[must_use]
    pub fn of(live: Option<&APIService>, namespace: &str) -> Self {
        let Some(live) = live else { return Self::Absent };
        let service = live.spec.as_ref().and_then(|spec| spec.service.as_ref());
        let Some(service) = service else { return Self::Another("the API server itself".into()) };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (at, name) = (text(&service.namespace), text(&service.name));
        if (at.as_str(), name.as_str()) != (namespace, names::AUTOSCALER) {
            return Self::Another(format!("the Service {at}/{name}"));
        }
        let conditions = live.status.as_ref().and_then(|status| status.conditions.as_ref());
        match conditions.into_iter().flatten().find(|one| one.type_ == "Available") {
            None => Self::NotLookedAt,
            Some(one) if one.status == "True" => Self::Available,
            Some(one) => Self::Unavailable(text(&one.reason), text(&one.message).chars().take(WORDS).collect()),
        }
    }

    /// Whether the HorizontalPodAutoscaler can go by the metric.
    #[must_use]
    pub fn is_available(&self) -> bool {
        *self == Self::Available
    }

    /// `CustomMetricsAvailable`.
    #[must_use]
    pub fn condition(&self) -> ConditionDraft {
        const KIND: &str = kind::CUSTOM_METRICS_AVAILABLE;
        const MEANWHILE: &str =
            "Until then CPU and memory decide, and minReplicas is raised when gateways refuse items.";
        let no = |reason: &str, message: String| ConditionDraft::no(KIND, reason, message);
        match self {
            Self::Available => ConditionDraft::yes(
                KIND,
                "Registered",
                format!(
                    "The autoscaler adds gateways by {METRIC}, for which the API server asks {}.",
                    names::AUTOSCALER
                ),
            ),
            Self::Absent => no(
                "NotRegistered",
                format!(
                    "The cluster has no APIService {API_SERVICE}: apply what the chart renders with customMetrics.enabled. {MEANWHILE}"
                ),
            ),
            Self::Another(whom) => no(
                "OwnedByAnother",
                format!(
                    "The APIService {API_SERVICE} belongs to {whom} and is left alone; a cluster has one server of custom metrics. CPU and memory decide, and minReplicas is raised when gateways refuse items, as without customMetrics.enabled; switch that off, or remove the other server."
                ),
            ),
            Self::NotLookedAt => ConditionDraft::unknown(
                KIND,
                "NotLookedAtYet",
                format!("The API server has not tried the APIService {API_SERVICE} yet. {MEANWHILE}"),
            ),
            Self::Unavailable(reason, message) => no(
                if reason.is_empty() { "Unavailable" } else { reason },
                format!(
                    "The API server does not reach {} for the APIService {API_SERVICE} ({message}). {MEANWHILE}",
                    names::AUTOSCALER
                ),
            ),
        }
    }
}

/// What `/apis` answers.
#[must_use]
pub fn groups() -> Value {
    json!({"apiVersion": "v1", "kind": "APIGroupList", "groups": [named_group()]})
}

/// What `/apis/<group>` answers.
#[must_use]
pub fn group() -> Value {
    let mut group = named_group();
    group["apiVersion"] = json!("v1");
    group["kind"] = json!("APIGroup");
    group
}

fn named_group() -> Value {
    let version = json!({"groupVersion": format!("{GROUP}/{VERSION}"), "version": VERSION});
    json!({"name": GROUP, "versions": [version], "preferredVersion": version})
}

/// What `/apis/<group>/<version>` answers: the metric of each kind that a gateway can be.
#[must_use]
pub fn resources() -> Value {
    let resources = WORKLOADS.map(|(resource, _)| {
        json!({
            "name": format!("{resource}/{METRIC}"), "singularName": "", "namespaced": true,
            "kind": "MetricValueList", "verbs": ["get"],
        })
    });
    json!({"apiVersion": "v1", "kind": "APIResourceList", "groupVersion": format!("{GROUP}/{VERSION}"), "resources": resources})
}

/// What `/openapi/v2` answers: there are no schemas. Without an answer the API server would look again and again, and complain.
#[must_use]
pub fn openapi_v2() -> Value {
    json!({"swagger": "2.0", "info": {"title": GROUP, "version": VERSION}, "paths": {}})
}

/// What `/openapi/v3` answers, which lists documents by path: there are none.
#[must_use]
pub fn openapi_v3() -> Value {
    json!({"paths": {}})
}

/// What is asked for: `…/namespaces/<namespace>/<resource>/<name>/<metric>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Namespace of the described object.
    pub namespace: &'a str,
    /// Its resource and group, e.g. `deployments.apps`.
    pub resource: &'a str,
    /// Its name; `*` means all.
    pub name: &'a str,
    /// Name of the metric.
    pub metric: &'a str,
}

/// The value, or none when something else is asked for than the gateway. `autoscaler` is the live HorizontalPodAutoscaler, which
/// knows what the gateway is and how it is called; while nothing is known of refusals, nobody is known to refuse.
#[must_use]
pub fn values(asked: &Asked<'_>, autoscaler: Option<&Value>, too_few: Option<bool>, now: Timestamp) -> Option<Value> {
    let text = |pointer: &str| autoscaler.and_then(|one| one.pointer(pointer)).and_then(Value::as_str);
    let (_, kind) = WORKLOADS.into_iter().find(|(resource, _)| *resource == asked.resource)?;
    let name = text("/spec/scaleTargetRef/name")?;
    let is_ours = text("/metadata/namespace") == Some(asked.namespace)
        && text("/spec/scaleTargetRef/kind") == Some(kind)
        && [name, "*"].contains(&asked.name)
        && asked.metric == METRIC;
    is_ours.then(|| {
        json!({
            "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "MetricValueList", "metadata": {},
            "items": [{
                "describedObject": {"apiVersion": "apps/v1", "kind": kind, "namespace": asked.namespace, "name": name},
                "metricName": METRIC,
                "timestamp": format!("{now:.0}"),
                "value": if too_few == Some(true) { "1" } else { "0" },
                "selector": null,
            }],
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use odigos_api::condition::Status;

    fn api_service(name: &str, status: Value) -> APIService {
        let object = json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": API_SERVICE},
            "spec": {
                "group": GROUP, "version": VERSION, "groupPriorityMinimum": 100, "versionPriority": 100,
                "service": {"name": name, "namespace": "odigos-system", "port": 9443},
            },
            "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    fn available(status: &str) -> Value {
        json!({"conditions": [{"type": "Available", "status": status, "reason": "FailedDiscoveryCheck", "message": "no route"}]})
    }

    fn of(live: Option<&APIService>) -> Registration {
        Registration::of(live, "odigos-system")
    }

    #[test]
    fn a41_another_servers_registration_is_told_and_nothing_else() {
        let adapter = api_service("prometheus-adapter", available("True"));
        let found = of(Some(&adapter));
        assert_eq!(found, Registration::Another("the Service odigos-system/prometheus-adapter".into()));
        let told = found.condition();
        assert_eq!((told.status, told.reason.as_str()), (Status::False, "OwnedByAnother"));
        assert!(told.message.contains("prometheus-adapter and is left alone"), "{}", told.message);
        // The same Service of an installation elsewhere is another's as well.
        let ours = api_service(names::AUTOSCALER, available("True"));
        assert!(matches!(Registration::of(Some(&ours), "elsewhere"), Registration::Another(_)));
        let mut local = ours;
        local.spec.as_mut().unwrap().service = None;
        assert_eq!(of(Some(&local)), Registration::Another("the API server itself".into()));
    }

    #[test]
    fn only_what_the_api_server_reaches_is_available() {
        let ours = |status| api_service(names::AUTOSCALER, status);
        let says = |live: Option<&APIService>| {
            let (found, told) = (of(live), of(live).condition());
            (found.is_available(), format!("{}/{}", told.status.as_str(), told.reason))
        };
        assert_eq!(says(None), (false, "False/NotRegistered".into()));
        assert_eq!(says(Some(&ours(json!({})))), (false, "Unknown/NotLookedAtYet".into()));
        assert_eq!(says(Some(&ours(available("False")))), (false, "False/FailedDiscoveryCheck".into()));
        assert_eq!(says(Some(&ours(available("True")))), (true, "True/Registered".into()));
        assert!(of(Some(&ours(available("False")))).condition().message.contains("(no route)"));
    }

    #[test]
    fn only_the_gateway_has_the_metric_under_the_name_that_it_has() {
        let hpa = json!({
            "metadata": {"namespace": "odigos-system", "name": "odigos-gateway"},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "my-gw"}},
        });
        let asked = Asked { namespace: "odigos-system", resource: "deployments.apps", name: "my-gw", metric: METRIC };
        let now = "2026-01-01T00:00:00.5Z".parse().unwrap();
        let value = |asked: &Asked<'_>, too_few| {
            let found = values(asked, Some(&hpa), too_few, now)?;
            Some(found["items"][0]["value"].as_str()?.to_owned())
        };
        for (too_few, expected) in [(None, "0"), (Some(false), "0"), (Some(true), "1")] {
            assert_eq!(value(&asked, too_few).as_deref(), Some(expected));
        }
        assert_eq!(value(&Asked { name: "*", ..asked }, None).as_deref(), Some("0"));
        for other in [
            Asked { namespace: "shop", ..asked },
            Asked { resource: "statefulsets.apps", ..asked },
            Asked { resource: "pods", ..asked },
            Asked { name: "odigos-gateway", ..asked },
            Asked { metric: "requests", ..asked },
        ] {
            assert_eq!(value(&other, Some(true)), None, "{other:?}");
        }
        assert_eq!(values(&asked, None, Some(true), now), None, "there is no gateway yet");
        let whole = values(&asked, Some(&hpa), Some(true), now).unwrap();
        assert_eq!(
            whole,
            json!({
                "apiVersion": "custom.metrics.k8s.io/v1beta1", "kind": "MetricValueList", "metadata": {},
                "items": [{
                    "describedObject": {
                        "apiVersion": "apps/v1", "kind": "Deployment", "namespace": "odigos-system", "name": "my-gw",
                    },
                    "metricName": "odigos_gateway_rejections", "timestamp": "2026-01-01T00:00:00Z", "value": "1",
                    "selector": null,
                }],
            })
        );
    }

    #[test]
    fn discovery_names_the_metric_of_both_kinds() {
        let listed: Vec<Value> =
            resources()["resources"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
        assert_eq!(
            listed,
            ["deployments.apps/odigos_gateway_rejections", "statefulsets.apps/odigos_gateway_rejections"]
        );
        assert_eq!(API_SERVICE, format!("{VERSION}.{GROUP}"));
        assert_eq!(group()["preferredVersion"]["groupVersion"], "custom.metrics.k8s.io/v1beta1");
        assert_eq!(groups()["groups"][0]["name"], GROUP);
    }
}
