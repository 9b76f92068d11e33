//! The effective configuration: what the user wrote, overlays, defaults and presets merged into one document.
//!
//! Owns the merge. The document stays a tree: keys that nothing reads pass through and are reported, keys are found whatever
//! their case, and one value of a wrong type is a finding, not a failure of the whole.

mod amounts;
pub mod keys;
mod relations;
mod sampling;
pub mod shapes;
mod switches;
pub mod texts;
mod unknown;
pub(crate) mod values;

pub(crate) use relations::DEFAULT_EXPIRATION;
pub use unknown::unread_data;

use crate::coverage::scope::KUBE_SYSTEM;
use crate::pools::Pools;
use crate::sampling::Percentage;
use crate::{duration, sizing};
use odigos_api::{Finding, names, yaml};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use texts::Text;

/// ConfigMaps that the configuration is merged from, the one that others override first.
pub const SOURCES: [&str; 3] = [names::CONFIGURATION, names::REMOTE_CONFIGURATION, names::UI_CONFIGURATION];

/// A configuration document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configuration {
    root: Value,
}

/// Keys that overlays may set, as dotted paths; a path ending in `.*` takes the whole block leaf by leaf (2.4 step 2).
const OVERLAY_KEYS: [&str; 28] = [
    "telemetryEnabled",
    "ignoredNamespaces",
    "ignoredContainers",
    "ignoreOdigosNamespace",
    "clusterName",
    "mcpAccessMode",
    "mcpEnabled",
    "agentEnvVarsInjectionMethod",
    "checkDeviceHealthBeforeInjection",
    "allowConcurrentAgents",
    "waspEnabled",
    "rollout.automaticRolloutDisabled",
    "rollout.maxConcurrentRollouts",
    "rollout.maxConcurrentRolloutsPerNamespace",
    "rollout.brakeReleasedAt",
    "rollbackDisabled",
    "rollbackGraceTime",
    "rollbackStabilityWindow",
    "goAutoOffsetsCron",
    "goAutoOffsetsMode",
    "sampling.*",
    "componentLogLevels.*",
    "profiling.enabled",
    "profiling.exporter",
    "profiling.ui.*",
    "traceCorrelations.serviceIO.*",
    "rollout.isolatedRolloutsDisabled",
    "userInstrumentationEnvs.*",
];

/// Namespaces that are never instrumented beside the user's own list, unless `ignoreDefaultNamespaces` is false.
pub(crate) const IGNORED_NAMESPACES: [&str; 4] = ["local-path-storage", "istio-system", "linkerd", "kube-node-lease"];
/// Containers that are never instrumented, beside the user's own list.
const IGNORED_CONTAINERS: [&str; 6] =
    ["istio-proxy", "vault-agent", "filebeat", "linkerd-proxy", "fluentd", "akeyless-init"];

/// Other spellings of keys, by path (3.3): written, meant.
const ALIASES: [(&str, &str); 18] = [
    ("uiMode", "ui.mode"),
    ("collectorGateway.memoryRequest", "collectorGateway.requestMemoryMiB"),
    ("collectorGateway.memoryLimit", "collectorGateway.limitMemoryMiB"),
    ("collectorGateway.cpuRequest", "collectorGateway.requestCPUm"),
    ("collectorNode.memoryRequest", "collectorNode.requestMemoryMiB"),
    ("collectorNode.memoryLimit", "collectorNode.limitMemoryMiB"),
    ("collectorNode.cpuRequest", "collectorNode.requestCPUm"),
    ("clickhouseDestinationJsonType", "clickhouseJsonTypeEnabled"),
    ("metricsSources.odigosOwnMetrics.scrapeInterval", "metricsSources.odigosOwnMetrics.interval"),
    ("collectorGateway.serviceGraphDisabled", "collectorGateway.serviceGraph.disabled"),
    ("collectorGateway.serviceGraphExtraDimensions", "collectorGateway.serviceGraph.extraDimensions"),
    (
        "collectorGateway.serviceGraphVirtualNodePeerAttributes",
        "collectorGateway.serviceGraph.virtualNodePeerAttributes",
    ),
    ("autoRollback.disabled", "rollbackDisabled"),
    ("autoRollback.graceTime", "rollbackGraceTime"),
    ("autoRollback.stabilityWindowTime", "rollbackStabilityWindow"),
    ("rollout.rollbackDisabled", "rollbackDisabled"),
    ("rollout.rollbackGraceTime", "rollbackGraceTime"),
    ("rollout.rollbackStabilityWindow", "rollbackStabilityWindow"),
];

/// Where the chart lists paths that its values set twice and differently.
const CONTRADICTIONS: &str = "x-contradictions";

/// The outcome of merging.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// The merged configuration, or why the last good one must stay.
    pub result: Result<Configuration, Finding>,
    /// What people should know besides.
    pub findings: Vec<Finding>,
}

impl Configuration {
    /// Reads a document.
    ///
    /// # Errors
    /// What the parser says when it is not YAML, or when it is not an object.
    pub fn parse(text: &str) -> Result<Self, String> {
        match yaml::value(text).map_err(|error| error.to_string())?.value {
            Value::Null => Ok(Self { root: json!({}) }),
            Value::Object(root) => Ok(Self { root: spelt("", root) }.with_aliases()),
            _ => Err("the configuration must be an object".into()),
        }
    }

    /// A part of a document as a document of its own.
    #[must_use]
    pub fn of(part: Value) -> Self {
        Self { root: part }
    }

    fn with_aliases(mut self) -> Self {
        for (written, meant) in ALIASES {
            if self.get(meant).is_none()
                && let Some(value) = self.get(written).cloned()
            {
                self.set(meant, if value == "normal" { json!("default") } else { value });
            }
        }
        self
    }

    /// The value at a dotted path; keys match whatever their case.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Value> {
        let found = path.split('.').try_fold(&self.root, |value, key| child(value, key))?;
        (!found.is_null()).then_some(found)
    }

    /// Sets the value at a dotted path, under the spelling that stands there already.
    pub fn set(&mut self, path: &str, value: Value) {
        let mut at = &mut self.root;
        for key in path.split('.') {
            if !at.is_object() {
                *at = json!({});
            }
            let Value::Object(map) = at else { return };
            let present = map.keys().find(|one| one.eq_ignore_ascii_case(key)).cloned();
            at = map.entry(present.unwrap_or_else(|| key.to_owned())).or_insert(Value::Null);
        }
        *at = value;
    }

    /// A flag; texts such as `"true"` count too, since templates quote them.
    #[must_use]
    pub fn flag(&self, path: &str) -> Option<bool> {
        match self.get(path)? {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// A whole number; zero means unset, as everywhere in this document.
    #[must_use]
    pub fn number(&self, path: &str) -> Option<i32> {
        let value = self.get(path)?;
        let number = value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())?;
        i32::try_from(number).ok().filter(|number| *number > 0)
    }

    /// A text; empty means unset.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        self.get(path)?.as_str().filter(|text| !text.is_empty())
    }

    /// A list of texts.
    #[must_use]
    pub fn texts(&self, path: &str) -> Vec<String> {
        let list = self.get(path).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Size of the volume that each gateway keeps its queues on, e.g. `2Gi`; without one they live and die with the pod.
    #[must_use]
    pub fn queue_volume_size(&self) -> Option<&str> {
        self.text("collectorGateway.queueVolume.size").filter(|size| !size.is_empty())
    }

    /// Storage class of that volume; the cluster's default without one.
    #[must_use]
    pub fn queue_volume_class(&self) -> Option<&str> {
        self.text("collectorGateway.queueVolume.storageClass")
    }

    /// Image that holds the files of the release's own agents below `/instrumentations`; without one no agent of the release is
    /// offered. One that no pod could pull is reported, and brought into none. Ours.
    #[must_use]
    pub fn agents_image(&self) -> Option<&str> {
        self.text("agentsImage").map(str::trim).filter(|image| !image.is_empty())
    }

    /// Secret in the namespace of each application that images of agents are pulled with.
    #[must_use]
    pub fn agents_pull_secret(&self) -> Option<&str> {
        self.text("agentImages.pullSecret").map(str::trim).filter(|name| !name.is_empty())
    }

    /// [`Self::agents_image`] as far as pods can be created with it.
    #[must_use]
    pub fn usable_agents_image(&self) -> Option<&str> {
        self.agents_image().filter(|image| Text::Image.problem(image).is_none())
    }

    /// Level of the collectors' own logs.
    #[must_use]
    pub fn collector_log_level(&self) -> &str {
        let level = self.text("componentLogLevels.collector").or_else(|| self.text("collectorGateway.logLevel"));
        level.filter(|level| shapes::LOG_LEVELS.contains(level)).unwrap_or("info")
    }

    /// Names of the Secrets that image pulls need.
    #[must_use]
    pub fn image_pull_secrets(&self) -> Vec<String> {
        self.texts("imagePullSecrets")
    }

    /// Percentage of health probes that is kept while their built-in rule is on: none unless it is set. A value that is no percentage
    /// switches the rule off, which is reported: dropping all of them would be the worst guess.
    #[must_use]
    pub fn health_probes(&self) -> Option<Percentage> {
        let path = "sampling.k8sHealthProbesSampling";
        if self.flag(&format!("{path}.enabled")) != Some(true) {
            return None;
        }
        match self.get(&format!("{path}.keepPercentage")) {
            None => Some(Percentage::ZERO),
            Some(value) => shapes::percentage(value),
        }
    }

    /// Whether ClickHouse destinations use its JSON type.
    #[must_use]
    pub fn clickhouse_json(&self) -> bool {
        self.flag("clickhouseJsonTypeEnabled").unwrap_or_default()
    }

    /// Directory that symbolic links of `/var/log` lead to, where that is elsewhere.
    #[must_use]
    pub fn node_logs_directory(&self) -> Option<&str> {
        self.text("collectorNode.k8sNodeLogsDirectory")
    }

    /// The document as YAML, the same bytes for the same content.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        odigos_pipeline::yaml::to_string(&self.root)
    }
}

fn child<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    let map = value.as_object()?;
    map.get(key).or_else(|| map.iter().find(|(one, _)| one.eq_ignore_ascii_case(key)).map(|(_, value)| value))
}

/// Keys in the spelling of the table, whatever the case in which templates write them. What a user names, such as labels and variables,
/// stays as it is, and so does what the table lacks.
fn spelt(known: &str, map: Map<String, Value>) -> Value {
    let one = |(name, value): (String, Value)| match (unknown::find(known, &name), value) {
        (Some(key), value) => {
            let last = key.path.rsplit('.').next().filter(|last| *last != "*").map_or(name, str::to_owned);
            match value {
                Value::Object(below) if key.shape == shapes::Shape::Block => (last, spelt(key.path, below)),
                other => (last, other),
            }
        }
        (None, value) => (name, value),
    };
    Value::Object(map.into_iter().map(one).collect())
}

/// Merges the base with the overlays of the central backend and the UI, fills defaults, sorts lists and checks durations.
/// Feeding the result back as base gives the same result.
#[must_use]
pub fn effective(base: &str, remote: Option<&str>, ui: Option<&str>, own_namespace: &str) -> Effective {
    let object = |name: &str| format!("ConfigMap {own_namespace}/{name}");
    let mut findings = Vec::new();
    let mut configuration = match Configuration::parse(base) {
        Ok(configuration) => configuration,
        Err(error) => {
            let message = format!("failed to read it, so the last good configuration stays: {error}");
            return Effective {
                result: Err(Finding::error(object(names::CONFIGURATION), names::CONFIGURATION_KEY, message)),
                findings,
            };
        }
    };
    let warnings = |name: &str, problems: Vec<(String, String)>| -> Vec<Finding> {
        let about = |(path, message): (String, String)| Finding::warning(object(name), path, message);
        problems.into_iter().map(about).collect()
    };
    findings.extend(warnings(names::CONFIGURATION, document_problems(base, &configuration)));
    for (name, overlay) in [(names::REMOTE_CONFIGURATION, remote), (names::UI_CONFIGURATION, ui)] {
        let Some(text) = overlay else { continue };
        match Configuration::parse(text) {
            Ok(overlay) => {
                findings.extend(warnings(name, document_problems(text, &overlay)));
                findings.extend(warnings(name, merge(&mut configuration, &overlay)));
            }
            Err(error) => {
                let message = format!("failed to read it, so it is left out: {error}");
                findings.push(Finding::error(object(name), names::CONFIGURATION_KEY, message));
            }
        }
    }
    let contradictions = configuration.texts(CONTRADICTIONS).into_iter();
    let message =
        "another value of the chart sets it differently; the block config of the values counts, remove one".to_owned();
    findings.extend(warnings(names::CONFIGURATION, contradictions.map(|path| (path, message.clone())).collect()));
    if configuration.get("profiles").is_some_and(|profiles| profiles.as_array().is_some_and(|list| !list.is_empty())) {
        findings.push(Finding::info(
            object(names::CONFIGURATION),
            "profiles",
            "profiles are kept but not acted on by this release",
        ));
    }
    let invalid = invalid_duration(&configuration, &object(names::CONFIGURATION));
    let errors = |problems: Vec<(String, String)>| -> Vec<Finding> {
        let about = |(path, message): (String, String)| Finding::error(object(names::CONFIGURATION), path, message);
        problems.into_iter().map(about).collect()
    };
    findings.extend(errors(values::reject(&mut configuration)));
    findings.extend(errors(sampling::problems(&configuration)));
    findings.extend(warnings(names::CONFIGURATION, relations::settle(&mut configuration)));
    if configuration.flag("ignoreOdigosNamespace") == Some(false) {
        let message = "the control plane's own namespace is never instrumented; value ignored";
        findings.push(Finding::warning(object(names::CONFIGURATION), "ignoreOdigosNamespace", message));
    }
    if let Some(finding) = invalid {
        findings.retain(|one| one.field != finding.field);
        return Effective { result: Err(finding), findings };
    }
    fill_defaults(&mut configuration, own_namespace);
    findings.extend(sizing::findings(&configuration, &object(names::CONFIGURATION)));
    let (pools, about_pools) = Pools::of(&configuration);
    findings
        .extend(about_pools.into_iter().map(|(path, said)| Finding::error(object(names::CONFIGURATION), path, said)));
    findings.extend(pools.size_findings(&configuration, &object(names::CONFIGURATION)));
    let about_rollouts = crate::instrumentation::options::problems(&configuration).into_iter();
    findings
        .extend(about_rollouts.map(|(path, message)| Finding::warning(object(names::CONFIGURATION), path, message)));
    Effective { result: Ok(configuration), findings }
}

/// Ways to bring files of agents into pods; the last one is ours beside those of the reference.
const MOUNT_METHODS: [&str; 5] =
    ["k8s-virtual-device", "k8s-host-path", "k8s-init-container", "k8s-csi-driver", "k8s-image-volume"];

/// What of a document has no effect: keys that are repeated, unknown, or read by nothing.
fn document_problems(text: &str, configuration: &Configuration) -> Vec<(String, String)> {
    let Ok(document) = yaml::value(text) else { return Vec::new() };
    let remarks = document.remarks.into_iter().map(|one| (one.path, format!("line {}: {}", one.line, one.message)));
    remarks.chain(unknown::repeated(&document.value)).chain(unknown::problems(configuration)).collect()
}

/// Whether a Deployment of ours can have that name, with room for what is appended to it.
pub(crate) fn is_object_name(name: &str) -> bool {
    let is_legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=50).contains(&name.len()) && name.chars().all(is_legal) && !name.starts_with('-') && !name.ends_with('-')
}

/// Sets what an overlay may set; returns what of it is ignored.
fn merge(base: &mut Configuration, overlay: &Configuration) -> Vec<(String, String)> {
    let mut ignored = beyond_overlays(overlay);
    for path in OVERLAY_KEYS {
        if let Some(block) = path.strip_suffix(".*") {
            if let Some(value) = overlay.get(block) {
                let mut leaves = Vec::new();
                collect_leaves(block, value, &mut leaves);
                for (leaf, value) in leaves {
                    base.set(&leaf, value);
                }
            }
            continue;
        }
        let Some(value) = overlay.get(path) else { continue };
        // An overlay can switch telemetry on, never off, and never lift the limit on rollouts.
        let refused = (path == "telemetryEnabled" && value != &json!(true))
            || (path == "rollout.maxConcurrentRollouts" && value == &json!(0));
        if refused {
            ignored.push((path.to_owned(), format!("an overlay cannot set it to {value}; ignored")));
        } else {
            base.set(path, value.clone());
        }
    }
    ignored
}

/// Known settings of an overlay that only the base may hold.
fn beyond_overlays(overlay: &Configuration) -> Vec<(String, String)> {
    let is_within = |path: &str, block: &str| {
        let is_below = || path.get(block.len()..).is_some_and(|rest| rest.starts_with('.'));
        path.get(..block.len()).is_some_and(|head| head.eq_ignore_ascii_case(block))
            && (path.len() == block.len() || is_below())
    };
    let may_set = |path: &str| OVERLAY_KEYS.iter().any(|key| is_within(path, key.trim_end_matches(".*")));
    let unknown: Vec<String> = unknown::problems(overlay).into_iter().map(|(path, _)| path).collect();
    let mut leaves = Vec::new();
    if let Value::Object(map) = &overlay.root {
        map.iter().for_each(|(key, value)| collect_leaves(key, value, &mut leaves));
    }
    let leaves = leaves.into_iter().map(|(path, _)| path).filter(|path| {
        let meant = ALIASES
            .iter()
            .find(|(written, _)| written.eq_ignore_ascii_case(path))
            .map_or(path.as_str(), |alias| alias.1);
        !may_set(meant) && !unknown.iter().any(|one| is_within(path, one))
    });
    let message = format!("an overlay cannot set it; ignored. Set it in ConfigMap {}", names::CONFIGURATION);
    leaves.map(|path| (path, message.clone())).collect()
}

fn collect_leaves(path: &str, value: &Value, leaves: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                collect_leaves(&format!("{path}.{key}"), value, leaves);
            }
        }
        Value::Null => {}
        leaf => leaves.push((path.to_owned(), leaf.clone())),
    }
}

fn fill_defaults(configuration: &mut Configuration, own_namespace: &str) {
    let mut namespaces: BTreeSet<String> = configuration.texts("ignoredNamespaces").into_iter().collect();
    if configuration.flag("ignoreDefaultNamespaces") != Some(false) {
        namespaces.extend(IGNORED_NAMESPACES.map(str::to_owned));
        if configuration.flag("openshiftEnabled") == Some(true) {
            namespaces.insert("openshift-*".into());
        }
    }
    namespaces.extend([own_namespace.to_owned(), KUBE_SYSTEM.to_owned()]);
    configuration.set("ignoredNamespaces", json!(namespaces));
    let mut containers: BTreeSet<String> = configuration.texts("ignoredContainers").into_iter().collect();
    containers.extend(IGNORED_CONTAINERS.map(str::to_owned));
    configuration.set("ignoredContainers", json!(containers));
    // Without it the way is chosen for each namespace, so there is no default that could be written here.
    if configuration.text("mountMethod") == Some("k8s-init-container") {
        for (key, amount) in
            [("requestCPUm", 300), ("limitCPUm", 300), ("requestMemoryMiB", 300), ("limitMemoryMiB", 300)]
        {
            default(configuration, &format!("agentsInitContainerResources.{key}"), json!(amount));
        }
    }
    default(configuration, "agentEnvVarsInjectionMethod", json!("loader-fallback-to-pod-manifest"));
    default(configuration, "configVersion", json!(1));
    default(configuration, "metricsSources.spanMetrics.interval", json!("60s"));
    default(configuration, "metricsSources.hostMetrics.interval", json!("10s"));
    default(configuration, "metricsSources.kubeletStats.interval", json!("10s"));
    default(configuration, "metricsSources.odigosOwnMetrics.interval", json!("10s"));
}

fn default(configuration: &mut Configuration, path: &str, value: Value) {
    if configuration.get(path).is_none() {
        configuration.set(path, value);
    }
}

/// Paths of durations that a collector configuration is made of; a bad one would stop collectors.
const DURATIONS: [&str; 10] = [
    "metricsSources.spanMetrics.interval",
    "metricsSources.spanMetrics.metricsExpiration",
    "metricsSources.hostMetrics.interval",
    "metricsSources.kubeletStats.interval",
    "metricsSources.odigosOwnMetrics.interval",
    "collectorNode.otlpExporterConfiguration.timeout",
    "collectorNode.otlpExporterConfiguration.retryOnFailure.initialInterval",
    "collectorNode.otlpExporterConfiguration.retryOnFailure.maxInterval",
    "collectorNode.otlpExporterConfiguration.retryOnFailure.maxElapsedTime",
    "traceCorrelations.serviceIO.metricsFlushInterval",
];

fn invalid_duration(configuration: &Configuration, object: &str) -> Option<Finding> {
    let buckets = configuration.texts("metricsSources.spanMetrics.explicitHistogramBuckets");
    let bucket = buckets.iter().find(|text| !duration::is_positive(text));
    let bad = DURATIONS.iter().find_map(|path| {
        let value = configuration.get(path)?;
        let good = value.as_str().is_some_and(duration::is_positive);
        (!good).then(|| ((*path).to_owned(), value.to_string()))
    });
    let bad = bad.or_else(|| {
        bucket.map(|text| ("metricsSources.spanMetrics.explicitHistogramBuckets".to_owned(), format!("{text:?}")))
    });
    let (path, value) = bad?;
    Some(Finding::error(
        object,
        path,
        format!("{value} is not a duration above zero such as \"10s\" or \"1m30s\"; the last good configuration stays"),
    ))
}

#[cfg(test)]
mod accepted_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn good(base: &str) -> Configuration {
        effective(base, None, None, "odigos-system").result.unwrap()
    }

    #[test]
    fn keys_are_found_whatever_their_case() {
        let configuration = good("collectorGateway:\n  MinReplicas: 3\n");
        assert_eq!(configuration.number("collectorGateway.minReplicas"), Some(3));
        assert!(configuration.to_yaml().contains("minReplicas: 3"));
    }

    #[test]
    fn a9_a_bad_duration_keeps_the_last_good_configuration() {
        let finding = effective("metricsSources: {spanMetrics: {interval: abc}}", None, None, "ns").result.unwrap_err();
        assert_eq!(finding.field, "metricsSources.spanMetrics.interval");
        assert!(finding.message.contains("abc"));
        assert!(effective("a: [", None, None, "ns").result.is_err());
    }

    #[test]
    fn health_probes_are_kept_when_the_percentage_is_unreadable() {
        let of = |value: &str| {
            good(&format!("sampling: {{k8sHealthProbesSampling: {{enabled: true, keepPercentage: {value}}}}}"))
                .health_probes()
        };
        assert_eq!(of("10"), Percentage::new(10.0).ok());
        assert_eq!(of("\"10\""), Percentage::new(10.0).ok());
        assert_eq!((of("150"), of("10%"), of("[1]")), (None, None, None));
        assert_eq!(
            good("sampling: {k8sHealthProbesSampling: {enabled: true}}").health_probes(),
            Some(Percentage::ZERO)
        );
    }

    #[test]
    fn metrics_store_that_nothing_deploys_is_reported() {
        let text = "odigosOwnTelemetryStore: {metricsStoreDisabled: false}";
        let findings = effective(text, None, None, "odigos-system").findings;
        assert!(findings.iter().any(|one| one.field.ends_with("metricsStoreDisabled")), "{findings:?}");
    }

    #[test]
    fn overlays_set_only_what_they_may() {
        let merged = effective(
            "telemetryEnabled: true\nignoredContainers: [a]\ncollectorGateway: {minReplicas: 2}\nsampling: {dryRun: false, tailSampling: {disabled: false}}\n",
            Some("sampling: {dryRun: true}\nignoredContainers: [b]"),
            Some("collectorGateway: {minReplicas: 9}\ntelemetryEnabled: false\nignoredContainers: [c]"),
            "odigos-system",
        );
        let configuration = merged.result.unwrap();
        assert_eq!(configuration.number("collectorGateway.minReplicas"), Some(2));
        assert_eq!(configuration.flag("telemetryEnabled"), Some(true));
        assert_eq!(configuration.flag("sampling.dryRun"), Some(true));
        assert_eq!(configuration.flag("sampling.tailSampling.disabled"), Some(false));
        let containers = configuration.texts("ignoredContainers");
        assert!(containers.contains(&"c".to_owned()) && !containers.contains(&"b".to_owned()));
        assert!(containers.is_sorted());
    }

    #[test]
    fn what_has_no_effect_is_reported_with_the_object_that_holds_it() {
        let messages = |base: &str, ui: Option<&str>| {
            let findings = effective(base, None, ui, "ns").findings.into_iter();
            findings.map(|one| format!("{} {}: {}", one.object, one.field, one.message)).collect::<Vec<_>>()
        };
        let found = messages("smapling: {}\nmountMethod: k8s-host-path\nmountMethod: k8s-init-container\n", None);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("odigos-configuration mountMethod: line 3: the key is set twice"), "{found:?}");
        assert!(found[1].contains("did you mean sampling?"), "{found:?}");
        let found = messages(
            "{}",
            Some("collectorGateway: {minReplicas: 9}\ntelemetryEnabled: false\nautoRollback: {graceTime: 1m}\nnope: 1"),
        );
        let about =
            |key: &str| found.iter().filter(|one| one.contains(&format!("odigos-local-ui-config {key}: "))).count();
        assert_eq!(
            (about("collectorGateway.minReplicas"), about("telemetryEnabled"), about("nope")),
            (1, 1, 1),
            "{found:?}"
        );
        assert_eq!(found.len(), 3, "{found:?}");
        let found = messages(
            "ignoredNamespaces: [SHOP, ok]\nignoreOdigosNamespace: false\ninstrumentation: {optOutDataStreams: [a b]}",
            None,
        );
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn merge_keys_are_applied_as_kubectl_does() {
        let configuration = good(
            "x-size: &size {requestMemoryMiB: 700, limitMemoryMiB: 900}\ncollectorGateway: {<<: *size, limitMemoryMiB: 950}\n",
        );
        assert_eq!(configuration.number("collectorGateway.requestMemoryMiB"), Some(700));
        assert_eq!(configuration.number("collectorGateway.limitMemoryMiB"), Some(950));
        assert!(!configuration.to_yaml().contains("<<"));
    }

    #[test]
    fn a_broken_overlay_is_left_out() {
        let merged = effective("configVersion: 1", Some("{{"), None, "ns");
        assert!(merged.result.is_ok());
        assert_eq!(merged.findings.len(), 1);
    }

    #[test]
    fn merging_is_idempotent_and_keeps_unknown_keys() {
        let first = good("unknownKey: {deep: [1, yes]}\nmountMethod: nonsense\nimagePrefix: 'on'\n");
        assert_eq!(first.text("mountMethod"), None);
        let text = first.to_yaml();
        let second = good(&text);
        assert_eq!(second.to_yaml(), text);
        assert!(text.contains("deep"), "{text}");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(base in ".{0,200}", overlay in ".{0,200}") {
            let first = effective(&base, Some(&overlay), None, "ns");
            proptest::prop_assert_eq!(first, effective(&base, Some(&overlay), None, "ns"));
        }
    }
}
