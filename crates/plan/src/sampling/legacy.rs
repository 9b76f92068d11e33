//! Older samplers into Sampling rules (`spec/sampling.md` 13): exact where it can be, said where it is approximate,
//! refused where it cannot be expressed.

use odigos_api::Finding;
use odigos_api::operation::{TailHttpServer, TailOperation};
use odigos_api::sampling::{CostReductionRule, HighlyRelevantOperation, Sampling, SamplingSpec};
use odigos_api::scope::{AnyScope, WorkloadScope};
use serde_json::Value;

/// API group of the older kinds.
pub const GROUP: &str = "actions.odigos.io/v1alpha1";

/// Translates an object of an older kind, or an Action with `spec.samplers`; `None` for every other object.
#[must_use]
pub fn translate(object: &Value) -> Option<(Sampling, Vec<Finding>)> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (kind, name) = (text("/kind"), text("/metadata/name"));
    let old = text("/apiVersion") == GROUP;
    let samplers = object.pointer("/spec/samplers");
    if !(old && kind.ends_with("Sampler")) && samplers.is_none() {
        return None;
    }
    let mut out = Translation {
        title: format!("{kind} {}/{name}", text("/metadata/namespace")),
        spec: SamplingSpec {
            name: Some(format!("migrated from {kind} {name}")),
            disabled: object.pointer("/spec/disabled").and_then(Value::as_bool).filter(|disabled| *disabled),
            ..SamplingSpec::default()
        },
        findings: Vec::new(),
    };
    match samplers {
        Some(Value::Object(blocks)) => {
            for (block, settings) in blocks {
                out.block(block, settings);
            }
        }
        _ => {
            let mut block = kind.to_owned();
            if let Some(first) = block.get_mut(..1) {
                first.make_ascii_lowercase();
            }
            out.block(&block, object.get("spec").unwrap_or(&Value::Null));
        }
    }
    let mut sampling = Sampling::new(&format!("migrated-legacy-{name}"), out.spec);
    sampling.metadata.namespace =
        Some(text("/metadata/namespace").to_owned()).filter(|namespace| !namespace.is_empty());
    Some((sampling, out.findings))
}

struct Translation {
    title: String,
    spec: SamplingSpec,
    findings: Vec<Finding>,
}

/// A number, or a string that holds one; `None` for anything else.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|number| number.is_finite())
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

impl Translation {
    fn warn(&mut self, field: &str, message: &str) {
        self.findings.push(Finding::warning(self.title.clone(), format!("spec.{field}"), message));
    }

    fn refuse(&mut self, field: &str, message: impl Into<String>) {
        self.findings.push(Finding::error(self.title.clone(), format!("spec.{field}"), message));
    }

    /// A percentage; `Err` where something else is stated, which is reported.
    fn percentage(&mut self, at: &str, settings: &Value, key: &str) -> Result<Option<f64>, ()> {
        let Some(stated) = settings.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
        match number(stated).filter(|number| (0.0..=100.0).contains(number)) {
            Some(percentage) => Ok(Some(percentage)),
            None => {
                self.refuse(
                    &format!("{at}.{key}"),
                    format!("{stated} is not a percentage between 0 and 100: no rule is made of it"),
                );
                Err(())
            }
        }
    }

    /// The scope of a filter by service name: the name of the workload is the service's unless a Source says otherwise.
    /// A filter without one matched no trace, and a rule without a scope would match all of them.
    fn service_scope(&mut self, at: &str, filter: &Value) -> Option<AnyScope> {
        let name = filter.get("service_name").and_then(Value::as_str).map(str::trim).filter(|name| !name.is_empty());
        let Some(name) = name else {
            self.refuse(
                &format!("{at}.service_name"),
                "is required: without a service the filter would become a rule for all traces, so no rule is made of it",
            );
            return None;
        };
        let one = WorkloadScope { workload_name: Some(name.to_owned()), ..WorkloadScope::default() };
        Some(AnyScope::Workloads(vec![one]))
    }

    fn cap(&mut self, name: &str, percentage: Option<f64>, scope: Option<AnyScope>, operation: Option<TailOperation>) {
        if let Some(percentage_at_most) = percentage.filter(|percentage| *percentage < 100.0) {
            self.spec.cost_reduction_rules.push(CostReductionRule {
                name: Some(name.to_owned()),
                source_scopes: scope,
                operation,
                percentage_at_most,
                ..CostReductionRule::default()
            });
        }
    }

    /// The errors themselves are kept whatever becomes of the fallback, so that no mistake in it drops one.
    fn errors(&mut self, settings: &Value) {
        self.spec.highly_relevant_operations.push(HighlyRelevantOperation {
            name: Some("errors".to_owned()),
            error: Some(true),
            ..HighlyRelevantOperation::default()
        });
        if let Ok(fallback) = self.percentage("errorSampler", settings, "fallback_sampling_ratio") {
            self.cap("without errors", fallback, None, None);
        }
    }

    fn service_names(&mut self, settings: &Value) {
        for (n, filter) in list(settings, "services_name_filters").enumerate() {
            let at = format!("serviceNameSampler.services_name_filters[{n}]");
            let scope = self.service_scope(&at, filter);
            let ratio = self.percentage(&at, filter, "sampling_ratio");
            let fallback = self.percentage(&at, filter, "fallback_sampling_ratio");
            let (Some(scope), Ok(ratio)) = (scope, ratio) else { continue };
            self.warn(&at, "approximate: the service's name is taken for the workload's name, and other rules decide where it does not match");
            if let Ok(Some(fallback)) = fallback {
                let message = format!(
                    "{fallback} % of the traces without the service were kept; nothing is made of it: write a costReductionRule with percentageAtMost: {fallback} if all other traces shall be reduced"
                );
                self.warn(&format!("{at}.fallback_sampling_ratio"), &message);
            }
            match ratio {
                Some(ratio) if ratio < 100.0 => self.cap("service", Some(ratio), Some(scope), None),
                _ => self.spec.highly_relevant_operations.push(HighlyRelevantOperation {
                    name: Some("service".to_owned()),
                    source_scopes: Some(scope),
                    ..HighlyRelevantOperation::default()
                }),
            }
        }
    }

    fn block(&mut self, block: &str, settings: &Value) {
        match block {
            "errorSampler" => self.errors(settings),
            "latencySampler" => self.latency(settings),
            "serviceNameSampler" => self.service_names(settings),
            "probabilisticSampler" => {
                self.warn(
                    block,
                    "approximate: the same share is kept, decided at the gateway by trace id with another hash",
                );
                if let Ok(share) = self.percentage(block, settings, "sampling_percentage") {
                    self.cap("share", share, None, None);
                }
            }
            "ignoreHealthChecks" => {
                let stated = settings.get("fractionToRecord").filter(|value| !value.is_null());
                let fraction = stated.map_or(Some(0.0), number).filter(|fraction| (0.0..=1.0).contains(fraction));
                let Some(fraction) = fraction else {
                    self.refuse(&format!("{block}.fractionToRecord"), "is not a number between 0 and 1");
                    return;
                };
                // As many decimal places as a percentage may have: 0.07 * 100 is not 7 in binary fractions.
                let keep = (fraction * 1e8).round() / 1e6;
                let message = format!(
                    "not a rule any more: set sampling.k8sHealthProbesSampling to {{enabled: true, keepPercentage: {keep}}} in the configuration"
                );
                self.warn(block, &message);
            }
            "spanAttributeSampler" => {
                self.refuse(block, "cannot be translated: rules match operations and workloads, not arbitrary attributes; write a rule by workload, or a Processor of type filter");
            }
            other => {
                self.refuse(other, "is no sampler that is known; no rule is made of it");
            }
        }
    }

    fn latency(&mut self, settings: &Value) {
        for (n, filter) in list(settings, "endpoints_filters").enumerate() {
            let at = format!("latencySampler.endpoints_filters[{n}]");
            let scope = self.service_scope(&at, filter);
            let route = filter.get("http_route").and_then(Value::as_str).filter(|route| !route.is_empty());
            if route.is_none() {
                self.refuse(
                    &format!("{at}.http_route"),
                    "is required: without a route the filter would become a rule for all requests, so no rule is made of it",
                );
            }
            let stated = filter.get("minimum_latency_threshold").unwrap_or(&Value::Null);
            let threshold = number(stated).filter(|ms| (0.0..=f64::from(i32::MAX)).contains(ms));
            if threshold.is_none() {
                self.refuse(
                    &format!("{at}.minimum_latency_threshold"),
                    format!("{stated} is not a number of milliseconds: no rule is made of the filter"),
                );
            }
            let fallback = self.percentage(&at, filter, "fallback_sampling_ratio");
            let (Some(scope), Some(route), Some(threshold), Ok(fallback)) = (scope, route, threshold, fallback) else {
                continue;
            };
            self.warn(
                &at,
                "approximate: the time of one span counts instead of the time between a service's first and last span",
            );
            let server = TailHttpServer { route_prefix: Some(route.to_owned()), ..TailHttpServer::default() };
            let operation = TailOperation { http_server: Some(server), ..TailOperation::default() };
            self.spec.highly_relevant_operations.push(HighlyRelevantOperation {
                name: Some("slow".to_owned()),
                source_scopes: Some(scope.clone()),
                operation: Some(operation.clone()),
                duration_at_least_ms: Some(threshold.ceil() as i64),
                ..HighlyRelevantOperation::default()
            });
            self.cap("fast", fallback, Some(scope), Some(operation));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn old(kind: &str, spec: Value) -> (Sampling, Vec<String>) {
        let object = json!({"apiVersion": GROUP, "kind": kind, "metadata": {"name": "x", "namespace": "odigos-system"}, "spec": spec});
        let (sampling, findings) = translate(&object).unwrap();
        (sampling, findings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn each_kind_follows_the_table() {
        let (errors, findings) = old("ErrorSampler", json!({"fallback_sampling_ratio": 10}));
        assert_eq!(findings, Vec::<String>::new(), "exact");
        assert_eq!(errors.spec.highly_relevant_operations[0].error, Some(true));
        assert_eq!(errors.spec.cost_reduction_rules[0].percentage_at_most, 10.0);
        let (slow, findings) = old(
            "LatencySampler",
            json!({"endpoints_filters": [{"service_name": "a", "http_route": "/api", "minimum_latency_threshold": 500, "fallback_sampling_ratio": 20}]}),
        );
        assert!(findings[0].contains("approximate"));
        assert_eq!(slow.spec.highly_relevant_operations[0].duration_at_least_ms, Some(500));
        let (share, _) = old("ProbabilisticSampler", json!({"sampling_percentage": "25"}));
        assert_eq!(share.spec.cost_reduction_rules[0].percentage_at_most, 25.0);
        let (none, findings) = old("SpanAttributeSampler", json!({"attribute_filters": []}));
        assert!(findings[0].starts_with("error") && none.spec.cost_reduction_rules.is_empty());
        let action = json!({"apiVersion": "odigos.io/v1alpha1", "kind": "Action", "metadata": {"name": "a"}, "spec": {"samplers": {"errorSampler": {"fallback_sampling_ratio": 5}}}});
        assert_eq!(translate(&action).unwrap().0.spec.cost_reduction_rules.len(), 1);
        assert_eq!(translate(&json!({"kind": "Pod"})), None);
    }

    #[test]
    fn filter_without_service_is_refused() {
        for service in [json!(null), json!(""), json!("  "), json!(7)] {
            let filters = json!({"services_name_filters": [
                {"service_name": service, "sampling_ratio": 10},
                {"service_name": "currency", "sampling_ratio": 10},
            ]});
            let (made, findings) = old("ServiceNameSampler", filters);
            assert_eq!(made.spec.cost_reduction_rules.len(), 1, "{service}");
            assert!(made.spec.cost_reduction_rules[0].source_scopes.is_some(), "{service}");
            assert!(findings[0].starts_with("error ServiceNameSampler/odigos-system/x spec.serviceNameSampler.services_name_filters[0].service_name: is required"), "{findings:?}");
            let (made, findings) = old(
                "LatencySampler",
                json!({"endpoints_filters": [{"service_name": service, "http_route": "/a", "minimum_latency_threshold": 5, "fallback_sampling_ratio": 1}]}),
            );
            assert_eq!((made.spec.highly_relevant_operations.len(), made.spec.cost_reduction_rules.len()), (0, 0));
            assert!(findings[0].starts_with("error"), "{findings:?}");
        }
    }

    #[test]
    fn unreadable_number_makes_no_rule() {
        let filter = |change: Value| {
            let mut filter = json!({"service_name": "a", "http_route": "/a", "minimum_latency_threshold": "1200", "fallback_sampling_ratio": 20.5});
            filter.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            old("LatencySampler", json!({"endpoints_filters": [filter]}))
        };
        let (made, _) = filter(json!({}));
        assert_eq!(made.spec.highly_relevant_operations[0].duration_at_least_ms, Some(1200));
        for change in [
            json!({"minimum_latency_threshold": "slow"}),
            json!({"minimum_latency_threshold": null}),
            json!({"fallback_sampling_ratio": 150}),
            json!({"fallback_sampling_ratio": "NaN"}),
            json!({"http_route": ""}),
        ] {
            let (made, findings) = filter(change.clone());
            assert_eq!(made.spec.highly_relevant_operations.len(), 0, "{change}");
            assert!(findings.iter().any(|finding| finding.starts_with("error")), "{change}: {findings:?}");
        }
        for ratio in [json!("ten"), json!(-1), json!(101)] {
            let (made, findings) = old(
                "ServiceNameSampler",
                json!({"services_name_filters": [{"service_name": "a", "sampling_ratio": ratio}]}),
            );
            assert_eq!(made.spec.highly_relevant_operations.len() + made.spec.cost_reduction_rules.len(), 0, "{ratio}");
            assert!(findings[0].starts_with("error"), "{findings:?}");
        }
        let probes = |fraction: Value| {
            let object = json!({"kind": "Action", "metadata": {"name": "a"}, "spec": {"samplers": {"ignoreHealthChecks": {"fractionToRecord": fraction}}}});
            translate(&object).unwrap().1[0].to_string()
        };
        assert!(probes(json!(0.07)).contains("keepPercentage: 7}"), "{}", probes(json!(0.07)));
        assert!(probes(json!("most")).starts_with("error"));
    }

    #[test]
    fn fallback_of_a_service_is_reported() {
        let filters = json!({"services_name_filters": [{"service_name": "a", "sampling_ratio": 100, "fallback_sampling_ratio": 5}]});
        let (made, findings) = old("ServiceNameSampler", filters);
        assert_eq!((made.spec.highly_relevant_operations.len(), made.spec.cost_reduction_rules.len()), (1, 0));
        assert!(findings[1].contains("percentageAtMost: 5"), "{findings:?}");
    }
}
