//! Settings that depend on each other, and those that this release cannot keep although it knows them.
//!
//! Owns what is used instead, so that no reader decides that by itself, and the messages. Single values are judged in `shapes`, settings
//! beside their own switch in `switches`, sampling in `sampling`, sizes in [`crate::sizing`].

use super::{Configuration, switches};
use crate::duration;
use crate::pools::Pools;
use odigos_api::names;
use serde_json::{Value, json};

/// Ports of the collector on nodes that are taken.
const TAKEN_PORTS: [u16; 5] = [
    names::OTLP_GRPC_PORT,
    names::OTLP_HTTP_PORT,
    names::HEALTH_PORT,
    names::SOURCE_METRICS_PORT,
    names::SECURE_METRICS_PORT,
];

/// After which time without spans a series of span metrics ends, unless the configuration says otherwise.
pub(crate) const DEFAULT_EXPIRATION: &str = "5m";

/// How node collectors try again.
const RETRY: &str = "collectorNode.otlpExporterConfiguration.retryOnFailure";

/// Brings settings in line with each other; path and message of each that is changed or has no effect.
pub(super) fn settle(configuration: &mut Configuration) -> Vec<(String, String)> {
    let mut found = without_effect(configuration);
    for (path, message) in switches::ineffective(configuration) {
        // What its own relation has a better word for is reported once.
        if found.iter().all(|(known, _)| *known != path) {
            found.push((path, message));
        }
    }
    let port = "collectorNode.collectorOwnMetricsPort";
    if let Some(number) =
        configuration.number(port).filter(|one| TAKEN_PORTS.iter().any(|port| i32::from(*port) == *one))
    {
        configuration.set(port, json!(names::NODE_METRICS_PORT));
        let message = format!(
            "{number} is a port that the collector uses for something else; ignored, the default is used: {}",
            names::NODE_METRICS_PORT
        );
        found.push((port.to_owned(), message));
    }
    found.extend(init_container(configuration));
    found.extend(retries(configuration));
    found.extend(expiration(configuration));
    found.extend(gateway_name(configuration));
    found.extend(chart(configuration));
    found
}

/// Span metrics end no sooner than they are sent: each series would begin anew at zero with every point.
fn expiration(configuration: &mut Configuration) -> Option<(String, String)> {
    let (interval, path) = ("metricsSources.spanMetrics.interval", "metricsSources.spanMetrics.metricsExpiration");
    let pause = |text: &str| -> Option<Pause> { Some((duration::milliseconds(text)?, text.to_owned())) };
    let sent = configuration.text(interval).and_then(pause).or_else(|| pause("60s"))?;
    let stated = configuration.text(path).and_then(pause);
    let used = stated.clone().or_else(|| pause(DEFAULT_EXPIRATION))?;
    if used.0 >= sent.0 {
        return None;
    }
    configuration.set(path, json!(sent.1));
    let (_, text) = stated?;
    let message = format!(
        "{text} is shorter than {interval}, {}, which is used: every series would end between two points",
        sent.1
    );
    Some((path.to_owned(), message))
}

/// The Deployment of the main gateways has a name of its own.
fn gateway_name(configuration: &mut Configuration) -> Option<(String, String)> {
    let path = "collectorGateway.deploymentName";
    let name = configuration.text(path)?;
    let (pools, _) = Pools::of(configuration);
    let pool = pools.names().find(|pool| names::pool_gateway(pool) == name)?;
    let message = format!(
        "the gateway of the pool {pool:?} is called like that; {name:?} is ignored, the default is used: `{}`",
        names::GATEWAY
    );
    configuration.set(path, Value::Null);
    Some((path.to_owned(), message))
}

/// What takes effect only together with a value of the chart, which writes under `x-chart` what it installed.
fn chart(configuration: &mut Configuration) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let (metrics, installed) = ("collectorGateway.clusterMetricsEnabled", configuration.flag("x-chart.clusterMetrics"));
    if configuration.flag(metrics) == Some(true) && installed != Some(true) {
        let message = "gateways may not read the cluster's objects: set clusterMetrics: true of the chart, which brings the permissions";
        let message = match installed {
            Some(_) => {
                // Without permissions the receiver ends the collector.
                configuration.set(metrics, json!(false));
                format!("{message}; true is ignored, the default is used: false")
            }
            None => format!("{message}; where others bring them, write x-chart: {{clusterMetrics: true}}"),
        };
        found.push((metrics.to_owned(), message));
    }
    let socket = "customContainerRuntimeSocketPath";
    if configuration.text(socket).is_some_and(|path| configuration.text("x-chart.containerRuntimeSocket") != Some(path))
    {
        let message = "it has no effect: the chart mounts the socket of the container runtime into agents of nodes, and only with agent.containerRuntime.enabled: true";
        found.push((socket.to_owned(), message.to_owned()));
    }
    found
}

/// Settings that have no effect beside others.
fn without_effect(configuration: &Configuration) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut report = |path: String, message: &str| found.push((path, message.to_owned()));
    let is_on = |path: &str| configuration.flag(path) == Some(true);
    let is_listed = |path: &str| !configuration.texts(path).is_empty();
    if is_on("sampling.dryRunMarks") && !is_on("sampling.dryRun") {
        report(
            "sampling.dryRunMarks".into(),
            "it has no effect: only spans of a dry run are marked; set sampling.dryRun: true",
        );
    }
    if is_listed("instrumentation.optOutDataStreams") && configuration.text("instrumentation.mode") != Some("optOut") {
        let message =
            "it has no effect: Sources name the data streams of what they cover; set instrumentation.mode: optOut";
        report("instrumentation.optOutDataStreams".into(), message);
    }
    let (filesystem, points) = ("metricsSources.hostMetrics.filesystem", "metricsSources.hostMetrics.mountPoints");
    match (is_on(filesystem), is_listed(points)) {
        (true, false) => {
            report(
                filesystem.into(),
                "it has no effect: no mount point is named; set metricsSources.hostMetrics.mountPoints",
            );
        }
        (false, true) => report(points.into(), "it has no effect; set metricsSources.hostMetrics.filesystem: true"),
        _ => {}
    }
    if configuration.queue_volume_class().is_some() && configuration.queue_volume_size().is_none() {
        let message = "it has no effect: queues are in memory; set collectorGateway.queueVolume.size";
        report("collectorGateway.queueVolume.storageClass".into(), message);
    }
    let differs = |one: Option<&Value>, other: Option<&Value>| one.zip(other).is_some_and(|(one, other)| one != other);
    for (path, counts) in [
        ("collectorGateway.logLevel", "componentLogLevels.collector"),
        ("collectorNode.enableDataCompression", "collectorNode.otlpExporterConfiguration.enableDataCompression"),
    ] {
        if differs(configuration.get(path), configuration.get(counts)) {
            report(
                path.into(),
                &format!("it has no effect: {counts} is set to another value, which is used; remove one"),
            );
        }
    }
    if configuration.text("runtimeDetection.mode") != Some("pod") {
        let stated = configuration.get("runtimeDetection").and_then(Value::as_object).into_iter().flatten();
        for (key, _) in stated.filter(|(key, value)| *key != "mode" && !is_nothing(value)) {
            let message =
                "it has no effect: it is about detection pods, and there are none; set runtimeDetection.mode: pod";
            report(format!("runtimeDetection.{key}"), message);
        }
    }
    if let Some(method) =
        configuration.text("mountMethod").filter(|one| ["k8s-virtual-device", "k8s-csi-driver"].contains(one))
    {
        let message = format!(
            "this release has no {method}; used instead: files of the node where the namespace has the label pod-security.kubernetes.io/enforce: privileged, else an init container. Remove the key, or write k8s-host-path, k8s-init-container or k8s-image-volume"
        );
        report("mountMethod".into(), &message);
    }
    if let Some(mode) = configuration.text("ui.mode").filter(|mode| *mode != "none") {
        let path = if configuration.text("uiMode").is_some() { "uiMode" } else { "ui.mode" };
        report(
            path.into(),
            &format!(
                "this release deploys no UI, so {mode} has no effect and collectors report to none; write none until it does"
            ),
        );
    }
    if configuration.text("traceIdSuffix").is_some() {
        report(
            "traceIdSuffix".into(),
            "no agent of this release can mark the ids of traces; the setting has no effect",
        );
    }
    if configuration.flag("odigosOwnTelemetryStore.metricsStoreDisabled") == Some(false) {
        let message = "this release deploys no metrics store, so nothing is sent to one; own metrics reach Destinations that set \
                       metricsSettings.odigosOwnMetricsEnabled";
        report("odigosOwnTelemetryStore.metricsStoreDisabled".into(), message);
    }
    found
}

pub(super) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Requests of the init container within its limits: one above would keep every pod of the application from being created.
fn init_container(configuration: &mut Configuration) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let block = "agentsInitContainerResources";
    for (request, limit) in [("requestCPUm", "limitCPUm"), ("requestMemoryMiB", "limitMemoryMiB")] {
        let (request, limit) = (format!("{block}.{request}"), format!("{block}.{limit}"));
        let most = configuration.number(&limit).unwrap_or(300);
        if let Some(stated) = configuration.number(&request).filter(|stated| *stated > most) {
            configuration.set(&request, json!(most));
            found.push((
                request,
                format!(
                    "{stated} is above the limit, {most}, which is used: no pod could be created with it; raise {limit}"
                ),
            ));
        }
    }
    let method = configuration.text("mountMethod").unwrap_or_default().to_owned();
    if ["k8s-host-path", "k8s-image-volume"].contains(&method.as_str())
        && configuration.get(block).is_some_and(|one| !is_nothing(one))
    {
        found.push((
            block.to_owned(),
            format!("it has no effect: with mountMethod {method}, agents of this release need no init container"),
        ));
    }
    found
}

/// A duration as it is written, with its milliseconds in front, by which it is compared.
type Pause = (i64, String);

/// Pauses of retries in ascending order: the collector does not start with others. Defaults give way to what is stated.
fn retries(configuration: &mut Configuration) -> Vec<(String, String)> {
    if configuration.get(RETRY).is_none() || configuration.flag(&format!("{RETRY}.enabled")) == Some(false) {
        return Vec::new();
    }
    let pause = |text: &str| -> Option<Pause> { Some((duration::milliseconds(text)?, text.to_owned())) };
    let stated = |key: &str| configuration.text(&format!("{RETRY}.{key}")).and_then(pause);
    let [initial, longest, elapsed] = ["initialInterval", "maxInterval", "maxElapsedTime"].map(stated);
    let or = |one: &Option<Pause>, default: &str| one.clone().or_else(|| pause(default)).unwrap_or_default();
    let within = |one: Pause, most: &Option<Pause>| most.clone().map_or(one.clone(), |most| one.min(most));
    let used_longest = within(or(&longest, "30s"), &elapsed);
    let used_initial = within(within(or(&initial, "5s"), &elapsed), &longest);
    let used_longest = used_longest.max(used_initial.clone());
    let used_elapsed = or(&elapsed, "300s").max(used_longest.clone());
    let mut found = Vec::new();
    for (key, stated, default, used) in [
        ("initialInterval", initial, "5s", used_initial),
        ("maxInterval", longest, "30s", used_longest),
        ("maxElapsedTime", elapsed, "300s", used_elapsed),
    ] {
        let path = format!("{RETRY}.{key}");
        if let Some((_, text)) = stated.as_ref().filter(|stated| **stated != used) {
            let message = format!(
                "{text} is longer than the setting that bounds it; {} is used, since the collector does not start with it. Keep initialInterval ≤ maxInterval ≤ maxElapsedTime",
                used.1
            );
            found.push((path.clone(), message));
        }
        if stated.map_or(default.to_owned(), |(_, text)| text) != used.1 {
            configuration.set(&path, json!(used.1));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(text: &str) -> (Configuration, Vec<String>) {
        let mut configuration = Configuration::parse(text).unwrap();
        let found = settle(&mut configuration).into_iter().map(|(path, _)| path).collect();
        (configuration, found)
    }

    #[test]
    fn setting_without_effect_beside_others_is_reported() {
        for (text, path) in [
            ("sampling: {dryRunMarks: true}", "sampling.dryRunMarks"),
            ("instrumentation: {optOutDataStreams: [shop]}", "instrumentation.optOutDataStreams"),
            ("metricsSources: {hostMetrics: {filesystem: true}}", "metricsSources.hostMetrics.filesystem"),
            ("metricsSources: {hostMetrics: {mountPoints: [/data]}}", "metricsSources.hostMetrics.mountPoints"),
            ("collectorGateway: {queueVolume: {storageClass: fast}}", "collectorGateway.queueVolume.storageClass"),
            ("sampling: {dropTracesClusterWide: {keepPercentage: 5}}", "sampling.dropTracesClusterWide.keepPercentage"),
            (
                "userInstrumentationEnvs: {languages: {java: {env: {A: b}}}}",
                "userInstrumentationEnvs.languages.java.env",
            ),
            (
                "metricsSources: {spanMetrics: {histogramDisabled: true, explicitHistogramBuckets: [1s]}}",
                "metricsSources.spanMetrics.explicitHistogramBuckets",
            ),
            ("collectorGateway: {logLevel: debug}\ncomponentLogLevels: {collector: warn}", "collectorGateway.logLevel"),
            (
                "collectorNode: {enableDataCompression: true, otlpExporterConfiguration: {enableDataCompression: false}}",
                "collectorNode.enableDataCompression",
            ),
            ("runtimeDetection: {maxPods: 3}", "runtimeDetection.maxPods"),
            ("mountMethod: k8s-virtual-device", "mountMethod"),
            ("mountMethod: k8s-csi-driver", "mountMethod"),
            ("uiMode: normal", "uiMode"),
            ("ui: {mode: readonly}", "ui.mode"),
            ("odigosOwnTelemetryStore: {metricsStoreDisabled: false}", "odigosOwnTelemetryStore.metricsStoreDisabled"),
            ("collectorNode: {collectorOwnMetricsPort: 4317}", "collectorNode.collectorOwnMetricsPort"),
            ("collectorNode: {collectorOwnMetricsPort: 8889}", "collectorNode.collectorOwnMetricsPort"),
            (
                "mountMethod: k8s-host-path\nagentsInitContainerResources: {limitCPUm: 100}",
                "agentsInitContainerResources",
            ),
            ("collectorGateway: {clusterMetricsEnabled: true}", "collectorGateway.clusterMetricsEnabled"),
            (
                "x-chart: {clusterMetrics: false}\ncollectorGateway: {clusterMetricsEnabled: true}",
                "collectorGateway.clusterMetricsEnabled",
            ),
            ("customContainerRuntimeSocketPath: /run/a/b.sock", "customContainerRuntimeSocketPath"),
            (
                "x-chart: {containerRuntimeSocket: ''}\ncustomContainerRuntimeSocketPath: /run/a/b.sock",
                "customContainerRuntimeSocketPath",
            ),
            (
                "collectorGateway: {deploymentName: odigos-gateway-big, pools: [{name: big, dataStreams: [shop]}]}",
                "collectorGateway.deploymentName",
            ),
        ] {
            assert_eq!(settled(text).1, [path], "{text}");
        }
        for text in [
            "sampling: {dryRun: true, dryRunMarks: true}",
            "instrumentation: {mode: optOut, optOutDataStreams: [shop]}",
            "metricsSources: {hostMetrics: {filesystem: true, mountPoints: [/data]}}",
            "collectorGateway: {queueVolume: {size: 2Gi, storageClass: fast}}",
            "sampling: {dropTracesClusterWide: {enabled: true, keepPercentage: 5}}",
            "userInstrumentationEnvs: {languages: {java: {enabled: true, env: {A: b}}}}",
            "runtimeDetection: {mode: pod, maxPods: 3}",
            "runtimeDetection: {mode: agent, image: '', resources: {}}",
            "mountMethod: k8s-init-container\nagentsInitContainerResources: {limitCPUm: 100}",
            "uiMode: none",
            "ui: {mode: none}",
            "collectorNode: {collectorOwnMetricsPort: 8890}",
            "x-chart: {clusterMetrics: true}\ncollectorGateway: {clusterMetricsEnabled: true}",
            "x-chart: {containerRuntimeSocket: /run/a/b.sock}\ncustomContainerRuntimeSocketPath: /run/a/b.sock",
            "collectorGateway: {deploymentName: odigos-gateway-two, pools: [{name: big, dataStreams: [shop]}]}",
        ] {
            assert_eq!(settled(text).1, [] as [String; 0], "{text}");
        }
    }

    #[test]
    fn series_end_no_sooner_than_they_are_sent() {
        for (stated, used, is_reported) in [
            ("{}", None, false),
            ("{interval: 10m}", Some("10m"), false),
            ("{interval: 5m}", None, false),
            ("{metricsExpiration: 30s}", Some("60s"), true),
            ("{metricsExpiration: 1m}", Some("1m"), false),
            ("{interval: 10s, metricsExpiration: 5s}", Some("10s"), true),
            ("{interval: 10s, metricsExpiration: 15s}", Some("15s"), false),
        ] {
            let (configuration, found) = settled(&format!("metricsSources: {{spanMetrics: {stated}}}"));
            assert_eq!(configuration.text("metricsSources.spanMetrics.metricsExpiration"), used, "{stated}");
            assert_eq!(!found.is_empty(), is_reported, "{stated}: {found:?}");
        }
    }

    #[test]
    fn cluster_metrics_stay_off_where_the_chart_brings_no_permissions() {
        let is_on = |text: &str| settled(text).0.flag("collectorGateway.clusterMetricsEnabled");
        let wanted = "collectorGateway: {clusterMetricsEnabled: true}";
        assert_eq!(is_on(&format!("x-chart: {{clusterMetrics: false}}\n{wanted}")), Some(false));
        assert_eq!(is_on(&format!("x-chart: {{clusterMetrics: true}}\n{wanted}")), Some(true));
        assert_eq!(is_on(wanted), Some(true), "what others bring is not known");
    }

    #[test]
    fn request_of_the_init_container_is_at_most_its_limit() {
        let (configuration, found) =
            settled("agentsInitContainerResources: {requestCPUm: 500, requestMemoryMiB: 64, limitCPUm: 100}");
        assert_eq!(found, ["agentsInitContainerResources.requestCPUm"]);
        assert_eq!(configuration.number("agentsInitContainerResources.requestCPUm"), Some(100));
    }

    #[test]
    fn pauses_of_retries_are_in_ascending_order() {
        for (stated, expected, reported) in [
            ("{}", [None, None, None], &[][..]),
            ("{maxElapsedTime: 10s}", [None, Some("10s"), Some("10s")], &[]),
            ("{maxElapsedTime: 2s}", [Some("2s"), Some("2s"), Some("2s")], &[]),
            ("{maxInterval: 10m}", [None, Some("10m"), Some("10m")], &[]),
            ("{initialInterval: 1m}", [Some("1m"), Some("1m"), None], &[]),
            ("{initialInterval: 10m}", [Some("10m"), Some("10m"), Some("10m")], &[]),
            (
                "{initialInterval: 1m, maxElapsedTime: 40s}",
                [Some("40s"), Some("40s"), Some("40s")],
                &["initialInterval"],
            ),
            ("{initialInterval: 1m, maxInterval: 10s}", [Some("10s"), Some("10s"), None], &["initialInterval"]),
            (
                "{initialInterval: 1m, maxElapsedTime: 10s}",
                [Some("10s"), Some("10s"), Some("10s")],
                &["initialInterval"],
            ),
            ("{maxInterval: 1m, maxElapsedTime: 10s}", [None, Some("10s"), Some("10s")], &["maxInterval"]),
            // Of no effect, but not brought in order.
            (
                "{enabled: false, initialInterval: 1m, maxInterval: 10s}",
                [Some("1m"), Some("10s"), None],
                &["initialInterval", "maxInterval"],
            ),
        ] {
            let text = format!("collectorNode: {{otlpExporterConfiguration: {{retryOnFailure: {stated}}}}}");
            let (configuration, found) = settled(&text);
            let values = ["initialInterval", "maxInterval", "maxElapsedTime"]
                .map(|key| configuration.text(&format!("{RETRY}.{key}")).map(str::to_owned));
            assert_eq!(values, expected.map(|one| one.map(str::to_owned)), "{stated}");
            let reported: Vec<String> = reported.iter().map(|key| format!("{RETRY}.{key}")).collect();
            assert_eq!(found, reported, "{stated}");
        }
    }
}
