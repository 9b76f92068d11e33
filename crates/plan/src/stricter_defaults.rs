//! Defaults that became stricter, and what restores them where they are in use.
//!
//! Owns one row for each: since which version, what changed, how its use is recognised, and which value restores it. `odigos
//! upgrade` writes the values of the rows that the installation has not seen yet; after a bare `helm upgrade` the condition of
//! the object names the same value. What was stored without effect and has one from now on is listed the same way. Never reads or writes a cluster. A later stricter default is one more row of [`ROWS`].

use crate::actions::compile;
use crate::configuration::{Configuration, IGNORED_NAMESPACES};
use crate::metric_sources;
use crate::metrics_endpoint;
use crate::name_pattern::NamePatterns;
use odigos_api::WorkloadRef;
use odigos_api::action::Action;
use odigos_api::destination::Destination;
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::source::Source;
use odigos_catalog::distribution::{self, Attach};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What an installation uses.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// The configuration of the installation before the upgrade.
    pub configuration: Configuration,
    /// Every Source.
    pub sources: Vec<Source>,
    /// The Destinations of the control plane's namespace.
    pub destinations: Vec<Destination>,
    /// Every InstrumentationConfig.
    pub configs: Vec<InstrumentationConfig>,
    /// The Actions of the control plane's namespace.
    pub actions: Vec<Action>,
    /// Who reads metrics of collectors beside the product: values of the chart (`networkPolicies.scrapeFrom`) and monitors.
    pub metrics_readers: Vec<String>,
}

/// A default that became stricter.
#[derive(Clone, Copy, Debug)]
pub struct StricterDefault {
    /// Name in the record of the installation; never changed.
    pub id: &'static str,
    /// The first version with the stricter default.
    pub since: &'static str,
    /// What changed, as a sentence.
    pub change: &'static str,
    in_use: fn(&Usage) -> Vec<Restored>,
}

/// A value that restores what was in use.
#[derive(Clone, Debug, PartialEq)]
pub struct Restoration {
    /// The row.
    pub id: &'static str,
    /// The first version with the stricter default.
    pub since: &'static str,
    /// What changed.
    pub change: &'static str,
    /// What is written.
    pub restored: Restored,
}

/// Where a value is written.
#[derive(Clone, Debug, PartialEq)]
pub enum Restored {
    /// A value of the chart.
    Value {
        /// Path such as `config.ignoreDefaultNamespaces`.
        path: &'static str,
        /// The value.
        value: Value,
        /// The objects that use it.
        used_by: Vec<String>,
    },
    /// A field of a Destination.
    Destination {
        /// Its name.
        name: String,
        /// Path such as `spec.metricsSettings.spanMetricsEnabled`.
        field: &'static str,
        /// The change as a merge patch.
        patch: Value,
        /// The value.
        value: Value,
    },
    /// Nothing is written: these objects have an effect from now on.
    Begins {
        /// The objects.
        objects: Vec<String>,
    },
}

/// Every default that became stricter, oldest first.
pub const ROWS: [StricterDefault; 6] = [
    StricterDefault {
        id: "span-metrics-of-backends",
        since: "0.1.0",
        change: "span metrics are not sent to backends that compute them from spans",
        in_use: span_metrics,
    },
    StricterDefault {
        id: "ignored-default-namespaces",
        since: "0.1.0",
        change: "the release's own list of ignored namespaces is acted on",
        in_use: default_namespaces,
    },
    StricterDefault {
        id: "go-context-propagation",
        since: "0.1.0",
        change: "outgoing requests of Go programs carry no trace context, for which the program beside the agent kept SYS_ADMIN",
        in_use: go_context_propagation,
    },
    StricterDefault {
        id: "rollout-limits",
        since: "0.1.0",
        change: "at most 10 workloads are restarted at a time, and 2 in a namespace",
        in_use: rollout_limits,
    },
    StricterDefault {
        id: "plaintext-metrics",
        since: "0.1.0",
        change: "collectors serve their metrics to readers with a certificate alone",
        in_use: plaintext_metrics,
    },
    StricterDefault {
        id: "actions-take-effect",
        since: "0.1.0",
        change: "Actions that were stored without effect are acted on; disabled: true keeps one from that",
        in_use: actions,
    },
];

/// The ids of all rows: what an installation of this version has seen.
#[must_use]
pub fn ids() -> BTreeSet<String> {
    ROWS.iter().map(|row| row.id.to_owned()).collect()
}

/// What restores the stricter defaults that an installation uses and has not seen yet.
#[must_use]
pub fn restorations(seen: &BTreeSet<String>, usage: &Usage) -> Vec<Restoration> {
    let new = ROWS.iter().filter(|row| !seen.contains(row.id));
    new.flat_map(|row| {
        let StricterDefault { id, since, change, in_use } = *row;
        in_use(usage).into_iter().map(move |restored| Restoration { id, since, change, restored })
    })
    .collect()
}

/// Destinations that were sent span metrics by default.
fn span_metrics(usage: &Usage) -> Vec<Restored> {
    if usage.configuration.flag("metricsSources.spanMetrics.disabled") == Some(true) {
        return Vec::new();
    }
    let affected = usage
        .destinations
        .iter()
        .filter(|one| one.spec.disabled != Some(true) && metric_sources::leaves_span_metrics_to_backend(&one.spec));
    affected
        .map(|one| Restored::Destination {
            name: one.metadata.name.clone().unwrap_or_default(),
            field: "spec.metricsSettings.spanMetricsEnabled",
            patch: json!({"spec": {"metricsSettings": {"spanMetricsEnabled": true}}}),
            value: json!(true),
        })
        .collect()
}

/// Sources that instrument something in a namespace of the release's own list.
fn default_namespaces(usage: &Usage) -> Vec<Restored> {
    let configuration = &usage.configuration;
    if configuration.get("ignoreDefaultNamespaces").is_some() {
        return Vec::new();
    }
    let mut names = IGNORED_NAMESPACES.map(str::to_owned).to_vec();
    if configuration.flag("openshiftEnabled") == Some(true) {
        names.push("openshift-*".into());
    }
    let listed = NamePatterns::new(names);
    let affected = usage.sources.iter().filter(|source| {
        source.spec.disable_instrumentation != Some(true) && listed.matching(&namespace(source)).is_some()
    });
    let used_by: Vec<String> = affected
        .map(|source| format!("Source {}/{}", namespace(source), source.metadata.name.as_deref().unwrap_or_default()))
        .collect();
    if used_by.is_empty() {
        return Vec::new();
    }
    vec![Restored::Value { path: "config.ignoreDefaultNamespaces", value: json!(false), used_by }]
}

/// Workloads whose Go programs are instrumented from outside.
fn go_context_propagation(usage: &Usage) -> Vec<Restored> {
    let is_from_outside = |config: &&InstrumentationConfig| {
        config.spec.containers.iter().any(|one| {
            let distribution = distribution::find(&one.otel_distro_name);
            one.agent_enabled && distribution.is_some_and(|found| found.attach == Attach::Ebpf)
        })
    };
    let affected = usage.configs.iter().filter(is_from_outside).filter_map(|config| {
        let (namespace, name) = (config.metadata.namespace.as_deref()?, config.metadata.name.as_deref()?);
        Some(WorkloadRef::from_config_name(namespace, name)?.to_string())
    });
    let used_by: Vec<String> = affected.collect();
    if used_by.is_empty() {
        return Vec::new();
    }
    vec![Restored::Value { path: "agent.golang.contextPropagation", value: json!(true), used_by }]
}

/// Limits on rollouts that nobody stated, where there is something that is rolled out.
fn rollout_limits(usage: &Usage) -> Vec<Restored> {
    let configuration = &usage.configuration;
    let enabled = usage.sources.iter().filter(|source| source.spec.disable_instrumentation != Some(true)).count();
    let used_by = match enabled {
        0 if configuration.text("instrumentation.mode") == Some("optOut") => "instrumentation.mode optOut".to_owned(),
        0 => return Vec::new(),
        1 => "1 Source".to_owned(),
        many => format!("{many} Sources"),
    };
    [
        ("rollout.maxConcurrentRollouts", "config.rollout.maxConcurrentRollouts"),
        ("rollout.maxConcurrentRolloutsPerNamespace", "config.rollout.maxConcurrentRolloutsPerNamespace"),
    ]
    .into_iter()
    .filter(|(key, _)| configuration.get(key).is_none())
    .map(|(_, path)| Restored::Value { path, value: json!(0), used_by: vec![used_by.clone()] })
    .collect()
}

/// Metrics of collectors, where somebody beside the product reads them.
fn plaintext_metrics(usage: &Usage) -> Vec<Restored> {
    let used_by = usage.metrics_readers.clone();
    if used_by.is_empty() || usage.configuration.get(metrics_endpoint::PLAINTEXT).is_some() {
        return Vec::new();
    }
    vec![Restored::Value { path: "config.metrics.plaintext", value: json!(true), used_by }]
}

/// Actions that change telemetry from this release on.
fn actions(usage: &Usage) -> Vec<Restored> {
    let acting = usage.actions.iter().filter(|action| compile(action).step.is_some());
    let title = |action: &Action| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        format!("Action {}/{}", text(&action.metadata.namespace), text(&action.metadata.name))
    };
    let objects: Vec<String> = acting.map(title).collect();
    if objects.is_empty() { Vec::new() } else { vec![Restored::Begins { objects }] }
}

fn namespace(source: &Source) -> String {
    source.metadata.namespace.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coverage::cover;
    use crate::coverage::scope::Scope;
    use crate::fixtures::destination;
    use crate::metric_sources::MetricSources;
    use odigos_api::WorkloadKind;

    fn source(namespace: &str, spec: &Value) -> Source {
        let mut workload = json!({"workload": {"name": "web", "namespace": namespace, "kind": "Deployment"}});
        for (key, value) in spec.as_object().unwrap() {
            workload[key] = value.clone();
        }
        serde_json::from_value(json!({
            "apiVersion": "odigos.io/v1alpha1", "kind": "Source",
            "metadata": {"name": "web", "namespace": namespace}, "spec": workload,
        }))
        .unwrap()
    }

    fn usage(configuration: &str, sources: &[Source], destinations: &[Destination]) -> Usage {
        let configuration = Configuration::parse(configuration).unwrap();
        Usage { configuration, sources: sources.to_vec(), destinations: destinations.to_vec(), ..Usage::default() }
    }

    /// Without what every installation with Sources has.
    fn restored(usage: &Usage) -> Vec<Restored> {
        let found = restorations(&BTreeSet::new(), usage).into_iter().filter(|one| one.id != "rollout-limits");
        found.map(|one| one.restored).collect()
    }

    #[test]
    fn span_metrics_are_restored_where_a_backend_was_sent_them_by_default() {
        let both = ["TRACES", "METRICS"];
        let datadog = destination("a", "datadog", &both, json!({}));
        let mut stated = destination("b", "datadog", &both, json!({}));
        stated.spec.metrics_settings = serde_json::from_value(json!({"spanMetricsEnabled": false})).unwrap();
        let mut disabled = destination("c", "datadog", &both, json!({}));
        disabled.spec.disabled = Some(true);
        let metrics_only = destination("d", "datadog", &["METRICS"], json!({}));
        let generic = destination("e", "otlp", &both, json!({}));
        let all = [datadog.clone(), stated, disabled, metrics_only, generic];
        let found = restored(&usage("{}", &[], &all));
        let [Restored::Destination { name, patch, .. }] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(name, "a");
        // What is written restores it, and is then nothing to restore any more.
        let mut object = serde_json::to_value(&datadog).unwrap();
        object["spec"]["metricsSettings"] = patch["spec"]["metricsSettings"].clone();
        let after: Destination = serde_json::from_value(object).unwrap();
        assert!(!MetricSources::of(&datadog.spec).spans && MetricSources::of(&after.spec).spans);
        assert_eq!(restored(&usage("{}", &[], &[after])), []);
        assert_eq!(restored(&usage("metricsSources: {spanMetrics: {disabled: true}}", &[], &[datadog])), []);
    }

    #[test]
    fn default_namespaces_are_restored_where_a_source_instruments_one_of_them() {
        let mesh = source("istio-system", &json!({}));
        let excluded = source("linkerd", &json!({"disableInstrumentation": true}));
        let all = [mesh.clone(), excluded.clone(), source("shop", &json!({}))];
        let used_by = vec!["Source istio-system/web".to_owned()];
        let value = Restored::Value { path: "config.ignoreDefaultNamespaces", value: json!(false), used_by };
        assert_eq!(restored(&usage("{}", &all, &[])), [value]);
        assert_eq!(restored(&usage("ignoreDefaultNamespaces: true", &all, &[])), [], "it was chosen");
        assert_eq!(restored(&usage("{}", &[excluded], &[])), []);
        let openshift = source("openshift-ingress", &json!({}));
        assert_eq!(restored(&usage("{}", std::slice::from_ref(&openshift), &[])), []);
        assert_eq!(restored(&usage("openshiftEnabled: true", &[openshift], &[])).len(), 1);
        let covers = |text: &str| {
            let effective = crate::configuration::effective(text, None, None, "odigos-system").result.unwrap();
            let workload = WorkloadRef::new("istio-system", WorkloadKind::Deployment, "web");
            cover(&Scope::of(&effective, "odigos-system"), &workload, [&mesh]).decision.is_covered()
        };
        assert!(!covers("{}") && covers("ignoreDefaultNamespaces: false"));
    }

    #[test]
    fn context_propagation_is_restored_where_go_is_instrumented() {
        let config = |name: &str, distribution: &str, is_enabled: bool| -> InstrumentationConfig {
            let container = json!({"containerName": "app", "agentEnabled": is_enabled, "otelDistroName": distribution});
            serde_json::from_value(json!({
                "apiVersion": "odigos.io/v1alpha1", "kind": "InstrumentationConfig",
                "metadata": {"name": name, "namespace": "shop"}, "spec": {"containers": [container]},
            }))
            .unwrap()
        };
        let with = |configs: Vec<InstrumentationConfig>| restored(&Usage { configs, ..Usage::default() });
        let java = config("deployment-cart", "java-community", true);
        assert_eq!(with(vec![java.clone(), config("deployment-idle", "golang-community", false)]), []);
        let used_by = vec!["Deployment shop/till".to_owned()];
        let value = Restored::Value { path: "agent.golang.contextPropagation", value: json!(true), used_by };
        assert_eq!(with(vec![java, config("deployment-till", "golang-community", true)]), [value]);
    }

    #[test]
    fn rollout_limits_are_restored_where_something_is_rolled_out() {
        let limits = |usage: &Usage| -> Vec<&'static str> {
            let found = restorations(&BTreeSet::new(), usage).into_iter().filter(|one| one.id == "rollout-limits");
            let path = |one: Restoration| match one.restored {
                Restored::Value { path, .. } => path,
                Restored::Destination { field, .. } => field,
                Restored::Begins { .. } => "",
            };
            found.map(path).collect()
        };
        let one = [source("shop", &json!({}))];
        let (total, each) =
            ("config.rollout.maxConcurrentRollouts", "config.rollout.maxConcurrentRolloutsPerNamespace");
        assert_eq!(limits(&usage("{}", &one, &[])), [total, each]);
        assert_eq!(limits(&usage("rollout: {maxConcurrentRollouts: 5}", &one, &[])), [each], "it was chosen");
        assert_eq!(limits(&usage("instrumentation: {mode: optOut}", &[], &[])), [total, each]);
        assert_eq!(limits(&usage("{}", &[source("shop", &json!({"disableInstrumentation": true}))], &[])), [""; 0]);
        // What is written means what the default meant.
        let written = Configuration::parse("rollout: {maxConcurrentRollouts: 0, maxConcurrentRolloutsPerNamespace: 0}");
        let limits = crate::instrumentation::options::Options::of(&written.unwrap()).limits;
        assert_eq!((limits.total, limits.in_namespace), (None, None));
    }

    #[test]
    fn plain_metrics_are_restored_where_somebody_is_named_who_reads_them() {
        let used_by = vec!["PodMonitor monitoring/collectors".to_owned()];
        let with = |text: &str, has_readers: bool| {
            let metrics_readers = if has_readers { used_by.clone() } else { Vec::new() };
            restored(&Usage { metrics_readers, ..usage(text, &[], &[]) })
        };
        let value = Restored::Value { path: "config.metrics.plaintext", value: json!(true), used_by: used_by.clone() };
        assert_eq!(with("{}", true), [value]);
        assert_eq!(with("{}", false), []);
        assert_eq!(with("metrics: {plaintext: false}", true), [], "it was chosen");
    }

    #[test]
    fn actions_that_had_no_effect_are_listed() {
        let action = |name: &str, spec: Value| -> Action {
            serde_json::from_value(json!({
                "apiVersion": "odigos.io/v1alpha1", "kind": "Action", "metadata": {"name": name, "namespace": "odigos-system"}, "spec": spec,
            }))
            .unwrap()
        };
        let delete = json!({"signals": ["TRACES"], "deleteAttribute": {"attributeNamesToDelete": ["a"]}});
        let mut disabled = delete.clone();
        disabled["disabled"] = json!(true);
        let broken = json!({"signals": ["TRACES"], "renameAttribute": {"renames": {"a": "odigos.pod"}}});
        let actions = vec![action("a", delete), action("b", disabled), action("c", broken)];
        let found = restored(&Usage { actions, ..Usage::default() });
        assert_eq!(found, [Restored::Begins { objects: vec!["Action odigos-system/a".into()] }]);
    }

    #[test]
    fn installation_that_has_seen_a_row_decides_itself() {
        let usage = usage("{}", &[source("linkerd", &json!({}))], &[]);
        assert_eq!(restorations(&ids(), &usage), []);
        assert_eq!(ids().len(), ROWS.len(), "ids are unique");
    }
}
