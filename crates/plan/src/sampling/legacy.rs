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

fn number(value: &Value, key: &str) -> Option<f64> {
    let found = value.get(key)?;
    found.as_f64().or_else(|| found.as_str()?.parse().ok())
}

/// A scope by service name: the name of the workload is the service's unless a Source says otherwise.
fn service_scope(value: &Value) -> Option<AnyScope> {
    let name = value.get("service_name").and_then(Value::as_str).filter(|name| !name.is_empty())?;
    let one = WorkloadScope { workload_name: Some(name.to_owned()), ..WorkloadScope::default() };
    Some(AnyScope::Workloads(vec![one]))
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

impl Translation {
    fn warn(&mut self, field: &str, message: &str) {
        self.findings.push(Finding::warning(self.title.clone(), format!("spec.{field}"), message));
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

    fn block(&mut self, block: &str, settings: &Value) {
        match block {
            "errorSampler" => {
                self.spec.highly_relevant_operations.push(HighlyRelevantOperation {
                    name: Some("errors".to_owned()),
                    error: Some(true),
                    ..HighlyRelevantOperation::default()
                });
                self.cap("without errors", number(settings, "fallback_sampling_ratio"), None, None);
            }
            "latencySampler" => self.latency(settings),
            "serviceNameSampler" => {
                for filter in list(settings, "services_name_filters") {
                    self.warn(block, "approximate: the service's name is taken for the workload's name, and other rules decide where it does not match");
                    let ratio = number(filter, "sampling_ratio").unwrap_or(100.0);
                    if ratio >= 100.0 {
                        self.spec.highly_relevant_operations.push(HighlyRelevantOperation {
                            name: Some("service".to_owned()),
                            source_scopes: service_scope(filter),
                            ..HighlyRelevantOperation::default()
                        });
                    } else {
                        self.cap("service", Some(ratio), service_scope(filter), None);
                    }
                }
            }
            "probabilisticSampler" => {
                self.warn(
                    block,
                    "approximate: the same share is kept, decided at the gateway by trace id with another hash",
                );
                self.cap("share", number(settings, "sampling_percentage"), None, None);
            }
            "ignoreHealthChecks" => {
                let keep = number(settings, "fractionToRecord").unwrap_or_default() * 100.0;
                let message = format!(
                    "not a rule any more: set sampling.k8sHealthProbesSampling to {{enabled: true, keepPercentage: {keep}}} in the configuration"
                );
                self.warn(block, &message);
            }
            "spanAttributeSampler" => {
                let message = "cannot be translated: rules match operations and workloads, not arbitrary attributes; write a rule by workload, or a Processor of type filter";
                self.findings.push(Finding::error(self.title.clone(), format!("spec.{block}"), message));
            }
            other => {
                let message = "is no sampler that is known; nothing is made of it";
                self.findings.push(Finding::error(self.title.clone(), format!("spec.{other}"), message));
            }
        }
    }

    fn latency(&mut self, settings: &Value) {
        for filter in list(settings, "endpoints_filters") {
            self.warn(
                "latencySampler",
                "approximate: the time of one span counts instead of the time between a service's first and last span",
            );
            let route = filter.get("http_route").and_then(Value::as_str).map(str::to_owned);
            let server = TailHttpServer { route_prefix: route, ..TailHttpServer::default() };
            let operation = TailOperation { http_server: Some(server), ..TailOperation::default() };
            let threshold = number(filter, "minimum_latency_threshold").map(|ms| ms as i64);
            self.spec.highly_relevant_operations.push(HighlyRelevantOperation {
                name: Some("slow".to_owned()),
                source_scopes: service_scope(filter),
                operation: Some(operation.clone()),
                duration_at_least_ms: threshold,
                ..HighlyRelevantOperation::default()
            });
            self.cap("fast", number(filter, "fallback_sampling_ratio"), service_scope(filter), Some(operation));
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
}
