//! The one table of keys that the configuration may hold: what each holds, what it does, or why it does nothing.
//!
//! Owns the table; `shapes` judges values by it, `unknown` names keys that it lacks, `docs/configuration.md` and the block `config`
//! of the chart's `values.schema.json` are generated from it. Never reads a value for a planner.

use super::MOUNT_METHODS;
use super::shapes::{HEAD_SAMPLING, LOG_LEVELS, Shape};
use super::texts::Text;
use crate::agents::InjectionMode;
use crate::agents::inputs::SignalMode;
use crate::coverage::scope::MODES;
use crate::detection::Mode;
use crate::scheduling::UNCLASSIFIED;
use crate::sizing::PRESET_NAMES;

/// A key of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Where it is, dotted; `*` stands for a key that the user chooses, `[]` for each item of a list.
    pub path: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// Whether anything acts on it.
    pub effect: Effect,
    /// What it does, or why it does nothing and what to use instead.
    pub doc: &'static str,
}

/// Whether anything acts on a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A component of this release reads it.
    Active,
    /// Another spelling of the key that `super::ALIASES` names.
    Alias,
    /// Known from other releases and products of this configuration; nothing reads it.
    None,
}

const fn key(path: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { path, shape, effect: Effect::Active, doc }
}

const fn alias(path: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { path, shape, effect: Effect::Alias, doc }
}

const fn unread(path: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { path, shape, effect: Effect::None, doc }
}

/// Memory of a container in MiB, up to 16 TiB.
const MEMORY: Shape = Shape::Number(16, 16_777_216);
/// Thousandths of a core, up to a thousand cores.
const CPU: Shape = Shape::Number(1, 1_000_000);
const REPLICAS: Shape = Shape::Number(1, 1000);
/// A number of which 0 means none, or no limit.
const COUNT: Shape = Shape::Number(0, i32::MAX);
const INTERVAL: Shape = Shape::Duration("100ms", "24h");
const PAUSE: Shape = Shape::Duration("1ms", "168h");
const WINDOW: Shape = Shape::Duration("0s", "8760h");

/// Every key, in the order of the documentation.
#[rustfmt::skip] // A table: one row a line.
pub const KEYS: &[Key] = &[
    // What is instrumented.
    key("instrumentation", Shape::Block, "Which workloads are instrumented."),
    key("instrumentation.mode", Shape::Word(&MODES), "`optIn`: only what Sources cover. `optOut`: every workload that nothing excludes. Default: `optIn`."),
    key("instrumentation.optOutDataStreams", Shape::Texts(Text::StreamName), "Data streams of workloads that `optOut` covers and whose Sources name none. Default: `[default]`."),
    key("ignoredNamespaces", Shape::Texts(Text::Pattern), "Namespaces that are never instrumented; `*` stands for any text."),
    key("ignoreDefaultNamespaces", Shape::Flag, "Whether the release's own list of namespaces is ignored too (docs/instrumentation.md). Default: true."),
    key("ignoreOdigosNamespace", Shape::Flag, "`false` is reported: the control plane's own namespace is never instrumented. Default: true."),
    key("ignoredContainers", Shape::Texts(Text::Pattern), "Containers that never get an agent; `*` stands for any text. Sidecars such as `istio-proxy` are always in the list."),
    // Agents.
    key("agents", Shape::Block, "What agents send."),
    key("agents.signals", Shape::Word(&SignalMode::WORDS), "`all`: agents send every signal that they can. `asNeeded`: only what Destinations take. Default: `all`."),
    key("agentsImage", Shape::Text(Text::Image), "Image that holds the agents of the languages. Default of the chart: the agent's own; empty: nothing is instrumented."),
    key("agentImages", Shape::Block, "Images for distributions that the release does not bring."),
    key("agentImages.pullSecret", Shape::Text(Text::ObjectName), "Secret with credentials of the registry of agents, in the namespace of each application (docs/instrumentation.md)."),
    key("agentImages.*", Shape::Text(Text::Image), "Image of the distribution of that name."),
    key("agentLoader", Shape::Text(Text::Word), "Set when agents come with a loader that can be preloaded."),
    key("mountMethod", Shape::Word(&MOUNT_METHODS), "How files of agents come into pods. Default: from the node where the namespace is labelled for it, else by an init container."),
    key("agentEnvVarsInjectionMethod", Shape::Word(&InjectionMode::WORDS), "How variables of agents come into processes. Default: `loader-fallback-to-pod-manifest`."),
    key("allowConcurrentAgents", Shape::Flag, "Whether agents run beside those of other vendors. Default: false."),
    key("agentsInitContainerResources", Shape::Block, "Resources of the init container that copies files of agents."),
    key("agentsInitContainerResources.requestCPUm", CPU, "CPU request in millicores. Default: 10; 300 with `mountMethod: k8s-init-container`."),
    key("agentsInitContainerResources.limitCPUm", CPU, "CPU limit in millicores. Default: 300."),
    key("agentsInitContainerResources.requestMemoryMiB", MEMORY, "Memory request in MiB. Default: 32; 300 with `mountMethod: k8s-init-container`."),
    key("agentsInitContainerResources.limitMemoryMiB", MEMORY, "Memory limit in MiB. Default: 300."),
    key("traceIdSuffix", Shape::Text(Text::HexByte), "One byte as two hexadecimal digits that marks trace ids of agents that can do so."),
    key("userInstrumentationEnvs", Shape::Block, "Variables for containers with an agent."),
    key("userInstrumentationEnvs.languages", Shape::Block, "The same by language."),
    key("userInstrumentationEnvs.languages.*", Shape::Block, "A language, for example `java`."),
    key("userInstrumentationEnvs.languages.*.enabled", Shape::Flag, "Whether its variables are set. Default: false."),
    key("userInstrumentationEnvs.languages.*.env", Shape::Variables, "Names and values, as a mapping or as a list of `name` and `value`."),
    key("karpenterEnabled", Shape::Flag, "Nodes are created for pods, so pods do not ask for labels of nodes that have agents. Default: false."),
    key("openshiftEnabled", Shape::Flag, "The cluster assigns user ids to pods, and `openshift-*` is ignored. Default: false."),
    key("customContainerRuntimeSocketPath", Shape::Text(Text::Socket), "Socket of the container runtime; needs `agent.containerRuntime.enabled` of the chart."),
    key("runtimeDetection", Shape::Block, "Who inspects processes; the chart fills it (`agent.mode`)."),
    key("runtimeDetection.mode", Shape::Word(&Mode::WORDS), "`agent`: the agent of each node. `pod`: short-lived pods. `none`: nothing. Default: `agent`."),
    key("runtimeDetection.image", Shape::Text(Text::Image), "Image of detection pods."),
    key("runtimeDetection.maxPods", REPLICAS, "Largest number of detection pods at a time. Default: 4."),
    key("runtimeDetection.nodeSelector", Shape::Texts(Text::NodeLabel), "Labels that nodes of detection pods have, each as `key=value`."),
    key("runtimeDetection.priorityClassName", Shape::Text(Text::ObjectName), "Priority class of detection pods."),
    key("runtimeDetection.pullPolicy", Shape::Word(&["Always", "IfNotPresent", "Never"]), "Pull policy of their image."),
    key("runtimeDetection.pullSecrets", Shape::Texts(Text::ObjectName), "Secrets with credentials of their registry."),
    key("runtimeDetection.resources", Shape::Resources, "Requests and limits of detection pods."),
    key("runtimeDetection.tolerations", Shape::Tolerations, "Tolerations of detection pods."),
    key("runtimeDetection.log", Shape::Text(Text::Word), "Log filter of detection pods."),
    // Rollouts.
    key("rollout", Shape::Block, "Restarts of applications (docs/rollouts.md)."),
    key("rollout.automaticRolloutDisabled", Shape::Flag, "Applications are not restarted; agents come with their next rollout. Default: false."),
    key("rollout.maxConcurrentRollouts", COUNT, "Largest number of rollouts at a time; 0 means no limit. Default: 10."),
    key("rollout.maxConcurrentRolloutsPerNamespace", COUNT, "The same for each namespace. Default: 2."),
    key("rollout.slotTimeout", Shape::Duration("1s", "168h"), "How long a rollout may hold its slot. Default: `15m`."),
    key("rollout.canarySeconds", Shape::Number(0, 86_400), "How long the first pod must be ready before the others restart; 0: no first pod. Default: 30."),
    key("rollout.healMissedPods", Shape::Flag, "Whether pods that were created while the webhook was unavailable are replaced. Default: true."),
    key("rollout.onInputChange", Shape::Word(&["report", "restart"]), "What a change of a cluster-wide setting that agents read does: `report` it, or `restart` workloads. Default: `report`."),
    key("rollout.brakeRollbacks", COUNT, "Automatic rollbacks after which rollouts are paused. Default: 3."),
    key("rollout.brakeWindow", WINDOW, "Within which time they count. Default: `1h`."),
    key("rollout.brakeReleasedAt", Shape::Time, "Time from which on rollouts go on, such as `2026-01-31T12:00:00Z`."),
    unread("rollout.isolatedRolloutsDisabled", Shape::Flag, "Each workload is always restarted by itself."),
    key("rollbackDisabled", Shape::Flag, "Agents stay in workloads whose pods fail. Default: false."),
    key("rollbackGraceTime", WINDOW, "How long pods may fail before agents are taken out. Default: `5m`."),
    key("rollbackStabilityWindow", WINDOW, "How long after a rollout pods are watched. Default: `1h`."),
    alias("autoRollback", Shape::Block, "See the keys below."),
    alias("autoRollback.disabled", Shape::Flag, "`rollbackDisabled`"),
    alias("autoRollback.graceTime", WINDOW, "`rollbackGraceTime`"),
    alias("autoRollback.stabilityWindowTime", WINDOW, "`rollbackStabilityWindow`"),
    alias("rollout.rollbackDisabled", Shape::Flag, "`rollbackDisabled`"),
    alias("rollout.rollbackGraceTime", WINDOW, "`rollbackGraceTime`"),
    alias("rollout.rollbackStabilityWindow", WINDOW, "`rollbackStabilityWindow`"),
    // Sampling.
    key("sampling", Shape::Block, "Sampling (docs/sampling.md)."),
    key("sampling.dryRun", Shape::Flag, "Rules decide and nothing is dropped. Default: false."),
    key("sampling.dryRunMarks", Shape::Flag, "In a dry run, spans carry what would have happened. Default: false."),
    key("sampling.samplingRuleMetrics", Shape::Flag, "Gateways count traces by rule. Default: false."),
    key("sampling.tailSampling", Shape::Block, "Rules that need whole traces."),
    key("sampling.tailSampling.disabled", Shape::Flag, "No rule is applied. Default: false."),
    key("sampling.tailSampling.traceAggregationWaitDuration", Shape::Duration("1s", "1h"), "How long gateways wait for the spans of a trace. Default: `30s`."),
    key("sampling.spanSamplingAttributes", Shape::Block, "Which attributes about the decision spans get."),
    key("sampling.spanSamplingAttributes.disabled", Shape::Flag, "None. Default: false."),
    key("sampling.spanSamplingAttributes.samplingCategoryDisabled", Shape::Flag, "Not the category of the rule. Default: false."),
    key("sampling.spanSamplingAttributes.traceDecidingRuleDisabled", Shape::Flag, "Not the name of the rule. Default: false."),
    key("sampling.spanSamplingAttributes.spanDecisionAttributesDisabled", Shape::Flag, "Not the rules that each span matches. Default: true."),
    key("sampling.k8sHealthProbesSampling", Shape::Block, "The built-in rule for health probes of the kubelet."),
    key("sampling.k8sHealthProbesSampling.enabled", Shape::Flag, "Whether it is active. Default: false."),
    key("sampling.k8sHealthProbesSampling.keepPercentage", Shape::Percentage, "Percentage that is kept. Default: 0."),
    key("sampling.keepAllErrorTraces", Shape::Block, "The built-in rule that keeps every trace with a failed span."),
    key("sampling.keepAllErrorTraces.enabled", Shape::Flag, "Whether it is active. Default: false."),
    key("sampling.dropTracesClusterWide", Shape::Block, "The built-in rule that keeps at most a share of all other traces."),
    key("sampling.dropTracesClusterWide.enabled", Shape::Flag, "Whether it is active. Default: false."),
    key("sampling.dropTracesClusterWide.keepPercentage", Shape::Percentage, "Percentage that is kept; required."),
    key("sampling.headSampling", Shape::Word(&HEAD_SAMPLING), "Only `off`: agents do not sample, and `onRestart` is rejected."),
    // Data streams.
    key("dataStreams", Shape::Block, "Data streams (docs/data-streams.md)."),
    key("dataStreams.maxPerNamespace", Shape::Number(1, 1_000_000), "How many data streams, and how many sets of them, the workloads of one namespace may use; what exists keeps its route. Default: 256."),
    key("dataStreams.unclassified", Shape::Word(&UNCLASSIFIED), "Where telemetry goes whose pod has no stream class (yet): `default`, the stream of that name, or `void`, which drops it. Default: `default`."),
    // Telemetry of no workload.
    key("unownedTelemetry", Shape::Block, "Telemetry that belongs to no workload: of hosts, kubelets, the cluster and the collectors (docs/data-streams.md)."),
    key("unownedTelemetry.dataStreams", Shape::Texts(Text::Stream), "Data streams whose Destinations receive it. Default: `[default]`."),
    // Processors and Destinations.
    key("processors", Shape::Block, "What Processors may do (docs/security.md)."),
    key("processors.additionalTypes", Shape::Texts(Text::ProcessorType), "Types of Processors that are allowed beside the usual ones: `geoip`, `k8s_attributes`, `logstransform`, `memory_limiter`, `remotetap`, `resource_detection`, `schema`. Default: none."),
    key("processors.roles", Shape::Texts(Text::Role), "Roles that Processors may have. Default: `[CLUSTER_GATEWAY, NODE_COLLECTOR]`."),
    key("destinations", Shape::Block, "What Destinations may do (docs/security.md)."),
    key("destinations.additionalTypes", Shape::Texts(Text::DestinationType), "Types of Destinations that are allowed beside the usual ones: `dynamic`, `file`. Default: none."),
    // Gateways.
    key("resourceSizePreset", Shape::Word(&PRESET_NAMES), "Size of collectors; single values below override it. Default: `size_m`."),
    key("collectorGateway", Shape::Block, "Gateway collectors (docs/scaling.md)."),
    key("collectorGateway.minReplicas", REPLICAS, "Fewest gateways. Default: of the preset."),
    key("collectorGateway.maxReplicas", REPLICAS, "Most gateways. Default: of the preset."),
    key("collectorGateway.requestMemoryMiB", MEMORY, "Memory request in MiB. Default: of the preset."),
    key("collectorGateway.limitMemoryMiB", MEMORY, "Memory limit in MiB. Default: of the preset."),
    key("collectorGateway.requestCPUm", CPU, "CPU request in millicores. Default: of the preset."),
    key("collectorGateway.limitCPUm", CPU, "CPU limit in millicores. Default: of the preset."),
    alias("collectorGateway.memoryRequest", MEMORY, "`collectorGateway.requestMemoryMiB`"),
    alias("collectorGateway.memoryLimit", MEMORY, "`collectorGateway.limitMemoryMiB`"),
    alias("collectorGateway.cpuRequest", CPU, "`collectorGateway.requestCPUm`"),
    key("collectorGateway.memoryLimiterLimitMiB", MEMORY, "Hard limit of the memory limiter in MiB. Default: from the memory limit."),
    key("collectorGateway.memoryLimiterSpikeLimitMiB", Shape::Number(1, 16_777_216), "Spike limit of the memory limiter in MiB. Default: 20 % of the hard limit."),
    key("collectorGateway.goMemLimitMiB", MEMORY, "GOMEMLIMIT in MiB. Default: 80 % of the hard limit."),
    key("collectorGateway.nodeSelector", Shape::Labels, "Labels of nodes that gateways run on."),
    key("collectorGateway.plaintextReceiver", Shape::Flag, "Whether gateways also listen on 4317 and 4318 for senders without a certificate. What they send is of the data stream `default`. Default: false."),
    key("collectorGateway.deploymentName", Shape::Text(Text::DeploymentName), "Name of the Deployment; one that another workload has is refused. Default: `odigos-gateway`."),
    key("collectorGateway.httpsProxyAddress", Shape::Text(Text::Proxy), "Proxy for exporters that use HTTPS."),
    key("collectorGateway.clusterMetricsEnabled", Shape::Flag, "Metrics of the cluster's objects; needs `clusterMetrics` of the chart. Default: false."),
    key("collectorGateway.serviceGraph", Shape::Block, "Metrics of calls between services."),
    key("collectorGateway.serviceGraph.disabled", Shape::Flag, "Switches them off. Default: false."),
    key("collectorGateway.serviceGraph.extraDimensions", Shape::Texts(Text::Attribute), "Attributes that are dimensions too."),
    key("collectorGateway.serviceGraph.virtualNodePeerAttributes", Shape::Texts(Text::Attribute), "Attributes that name a peer without spans of its own."),
    alias("collectorGateway.serviceGraphDisabled", Shape::Flag, "`collectorGateway.serviceGraph.disabled`"),
    alias("collectorGateway.serviceGraphExtraDimensions", Shape::Texts(Text::Attribute), "`collectorGateway.serviceGraph.extraDimensions`"),
    alias("collectorGateway.serviceGraphVirtualNodePeerAttributes", Shape::Texts(Text::Attribute), "`collectorGateway.serviceGraph.virtualNodePeerAttributes`"),
    key("collectorGateway.queueVolume", Shape::Block, "Volumes for queues (docs/delivery.md)."),
    key("collectorGateway.queueVolume.size", Shape::Quantity, "Size of each volume. Default: queues in memory."),
    key("collectorGateway.queueVolume.storageClass", Shape::Text(Text::ObjectName), "Storage class. Default: the cluster's."),
    key("collectorGateway.logLevel", Shape::Word(&LOG_LEVELS), "Log level of collectors, when `componentLogLevels.collector` is not set. Default: `info`."),
    key("collectorGateway.pools", Shape::Pools, "Dedicated gateways (docs/scaling.md)."),
    // Node collectors.
    key("collectorNode", Shape::Block, "Node collectors."),
    key("collectorNode.collectorOwnMetricsPort", Shape::Number(1, 65_535), "Port of their own metrics. Default: 55682."),
    key("collectorNode.requestMemoryMiB", MEMORY, "Memory request in MiB. Default: of the preset."),
    key("collectorNode.limitMemoryMiB", MEMORY, "Memory limit in MiB. Default: of the preset."),
    key("collectorNode.requestCPUm", CPU, "CPU request in millicores. Default: of the preset."),
    key("collectorNode.limitCPUm", CPU, "CPU limit in millicores. Default: of the preset."),
    alias("collectorNode.memoryRequest", MEMORY, "`collectorNode.requestMemoryMiB`"),
    alias("collectorNode.memoryLimit", MEMORY, "`collectorNode.limitMemoryMiB`"),
    alias("collectorNode.cpuRequest", CPU, "`collectorNode.requestCPUm`"),
    key("collectorNode.memoryLimiterLimitMiB", MEMORY, "Hard limit of the memory limiter in MiB. Default: from the memory limit."),
    key("collectorNode.memoryLimiterSpikeLimitMiB", Shape::Number(1, 16_777_216), "Spike limit of the memory limiter in MiB. Default: 20 % of the hard limit."),
    key("collectorNode.goMemLimitMiB", MEMORY, "GOMEMLIMIT in MiB. Default: 80 % of the hard limit."),
    key("collectorNode.k8sNodeLogsDirectory", Shape::Text(Text::Directory), "Directory that links in `/var/log` lead to, where that is elsewhere."),
    key("collectorNode.enableDataCompression", Shape::Flag, "Compression towards gateways, when `otlpExporterConfiguration.enableDataCompression` is not set. Default: false."),
    key("collectorNode.otlpExporterConfiguration", Shape::Block, "How node collectors send to gateways."),
    key("collectorNode.otlpExporterConfiguration.enableDataCompression", Shape::Flag, "gzip. Default: false."),
    key("collectorNode.otlpExporterConfiguration.timeout", Shape::Duration("10ms", "1h"), "How long an attempt may take. Default: `5s`."),
    key("collectorNode.otlpExporterConfiguration.retryOnFailure", Shape::Block, "What happens when an attempt fails."),
    key("collectorNode.otlpExporterConfiguration.retryOnFailure.enabled", Shape::Flag, "Whether it is tried again. Default: true."),
    key("collectorNode.otlpExporterConfiguration.retryOnFailure.initialInterval", PAUSE, "First pause. Default: `5s`."),
    key("collectorNode.otlpExporterConfiguration.retryOnFailure.maxInterval", PAUSE, "Longest pause. Default: `30s`."),
    key("collectorNode.otlpExporterConfiguration.retryOnFailure.maxElapsedTime", PAUSE, "How long it goes on. Default: `300s`."),
    key("collectorNode.resourceDetectors", Shape::Block, "Clouds whose metadata service is asked."),
    key("collectorNode.resourceDetectors.*", Shape::Block, "`ec2`, `eks`, `azure`, `aks` or `gcp`."),
    key("collectorNode.resourceDetectors.*.enabled", Shape::Flag, "Whether it is asked. Default: false."),
    // Metrics and logs of the product.
    key("metrics", Shape::Block, "How metrics of the product can be read."),
    key("metrics.plaintext", Shape::Flag, "Collectors also serve their metrics without TLS, to everybody who reaches their pods: for your Prometheus ([ports](security.md#metrics-of-collectors)). Default: false."),
    key("metricsSources", Shape::Block, "Metrics that collectors produce; each needs a Destination that takes it."),
    key("metricsSources.spanMetrics", Shape::Block, "Metrics from spans."),
    key("metricsSources.spanMetrics.disabled", Shape::Flag, "Switches them off. Default: false."),
    key("metricsSources.spanMetrics.interval", INTERVAL, "How often they are sent. Default: `60s`."),
    key("metricsSources.spanMetrics.metricsExpiration", Shape::Duration("1s", "8760h"), "After which time without spans a series ends; no sooner than it is sent. Default: `5m`, or `interval` where that is longer."),
    key("metricsSources.spanMetrics.additionalDimensions", Shape::Texts(Text::Dimension), "Span attributes that are dimensions too."),
    key("metricsSources.spanMetrics.histogramDisabled", Shape::Flag, "No histogram of durations. Default: false."),
    key("metricsSources.spanMetrics.explicitHistogramBuckets", Shape::Durations, "Bounds of the histogram as durations."),
    key("metricsSources.spanMetrics.includedProcessInDimensions", Shape::Flag, "Whether process attributes are dimensions. Default: false."),
    key("metricsSources.spanMetrics.excludedResourceAttributes", Shape::Texts(Text::Attribute), "Resource attributes that are no dimensions."),
    key("metricsSources.spanMetrics.resourceMetricsKeyAttributes", Shape::Texts(Text::Attribute), "Resource attributes that tell resources apart."),
    unread("metricsSources.spanMetrics.spanMetricsMode", Shape::Text(Text::Any), "Nodes count every span that agents send, before gateways sample; stock agents send none that they do not sample."),
    key("metricsSources.hostMetrics", Shape::Block, "Metrics of nodes."),
    key("metricsSources.hostMetrics.disabled", Shape::Flag, "Switches them off. Default: false."),
    key("metricsSources.hostMetrics.interval", INTERVAL, "How often they are read. Default: `10s`."),
    key("metricsSources.hostMetrics.filesystem", Shape::Flag, "Usage of the file systems of `mountPoints`, which node collectors mount read-only. The kubelet reports the node's own file systems without it. Default: false."),
    key("metricsSources.hostMetrics.mountPoints", Shape::Texts(Text::MountPoint), "Mount points of nodes, such as `/data`. `/` and directories of the system are rejected, since they would bring the machine's files into the collector. Default: none."),
    key("metricsSources.kubeletStats", Shape::Block, "Metrics of pods from the kubelet."),
    key("metricsSources.kubeletStats.disabled", Shape::Flag, "Switches them off. Default: false."),
    key("metricsSources.kubeletStats.interval", INTERVAL, "How often they are read. Default: `10s`."),
    key("metricsSources.kubeletStats.verifyCertificate", Shape::Flag, "Whether the certificate of the kubelet is verified with the cluster's authority: for clusters whose kubelets have certificates of it (`serverTLSBootstrap`). Those of kubeadm are self-signed by default. Default: false."),
    key("metricsSources.networkMetrics", Shape::Block, "Metrics of the network, measured on nodes."),
    key("metricsSources.networkMetrics.enabled", Shape::Flag, "Whether rules about them can take effect. Default: false."),
    key("metricsSources.odigosOwnMetrics", Shape::Block, "Metrics of the product itself."),
    key("metricsSources.odigosOwnMetrics.interval", INTERVAL, "How often they are read. Default: `10s`."),
    alias("metricsSources.odigosOwnMetrics.scrapeInterval", INTERVAL, "`metricsSources.odigosOwnMetrics.interval`"),
    unread("metricsSources.agentMetrics", Shape::Free, "Agents compute no span metrics; use `metricsSources.spanMetrics`."),
    key("odigosOwnTelemetryStore", Shape::Block, "The store of own metrics, which this release does not deploy."),
    key("odigosOwnTelemetryStore.metricsStoreDisabled", Shape::Flag, "`false` is reported. Default: true."),
    key("traceCorrelations", Shape::Block, "Correlations of calls."),
    unread("traceCorrelations.serviceIO", Shape::Free, "No component of the stock collector computes service I/O correlations."),
    key("componentLogLevels", Shape::Block, "Log levels."),
    key("componentLogLevels.collector", Shape::Word(&LOG_LEVELS), "Log level of collectors. Default: `info`."),
    unread("componentLogLevels.default", Shape::Text(Text::Any), "Use `controllers.log` and `agent.log` of the chart."),
    unread("componentLogLevels.autoscaler", Shape::Text(Text::Any), "Use `controllers.log` of the chart."),
    unread("componentLogLevels.scheduler", Shape::Text(Text::Any), "Use `controllers.log` of the chart."),
    unread("componentLogLevels.instrumentor", Shape::Text(Text::Any), "Use `controllers.log` of the chart."),
    unread("componentLogLevels.odiglet", Shape::Text(Text::Any), "Use `agent.log` of the chart."),
    unread("componentLogLevels.deviceplugin", Shape::Text(Text::Any), "This release has no device plugin."),
    unread("componentLogLevels.ui", Shape::Text(Text::Any), "This release has no UI."),
    // Installation.
    key("clickhouseJsonTypeEnabled", Shape::Flag, "ClickHouse destinations use its JSON type. Default: false."),
    alias("clickhouseDestinationJsonType", Shape::Flag, "`clickhouseJsonTypeEnabled`"),
    key("imagePullSecrets", Shape::Texts(Text::ObjectName), "Secrets with credentials of the registry of collectors."),
    key("ui", Shape::Block, "The UI, which this release does not deploy."),
    key("ui.mode", Shape::Word(&["default", "readonly", "none"]), "Anything but `none` is reported: collectors report to no UI until one is deployed. Default: `none`."),
    alias("uiMode", Shape::Word(&["default", "normal", "readonly", "none"]), "`ui.mode`; `normal` means `default`"),
    key("configVersion", Shape::Number(1, 1), "Version of this document: 1."),
    key("profiles", Shape::List, "Kept and reported; this release acts on no profile."),
    unread("clusterName", Shape::Text(Text::Any), "No component names the cluster; add a Processor that sets `k8s.cluster.name`."),
    unread("nodeSelector", Shape::Labels, "Use `collectorGateway.nodeSelector`, and `controllers.nodeSelector` and `agent.nodeSelector` of the chart."),
    unread("telemetryEnabled", Shape::Flag, "This product sends no usage data."),
    unread("imagePrefix", Shape::Text(Text::Any), "Use `image.prefix` of the chart."),
    unread("psp", Shape::Flag, "PodSecurityPolicies no longer exist in Kubernetes."),
    unread("skipWebhookIssuerCreation", Shape::Flag, "The control plane issues the certificates of its webhooks."),
    unread("uiPaginationLimit", COUNT, "This release has no UI."),
    unread("uiRemoteUrl", Shape::Text(Text::Any), "This release has no UI."),
    unread("mcpAccessMode", Shape::Text(Text::Any), "This release has no UI."),
    unread("mcpEnabled", Shape::Flag, "This release has no UI."),
    unread("oidc", Shape::Free, "This release has no UI."),
    unread("allowedTestConnectionHosts", Shape::Texts(Text::Any), "Connections are tested from the command line only."),
    unread("centralBackendURL", Shape::Text(Text::Any), "This release reports to no central backend."),
    unread("odigletHealthProbeBindPort", COUNT, "The agent's health port is fixed."),
    unread("goAutoOffsetsCron", Shape::Text(Text::Any), "Offsets of Go come with the release."),
    unread("goAutoOffsetsMode", Shape::Text(Text::Any), "Offsets of Go come with the release."),
    unread("checkDeviceHealthBeforeInjection", Shape::Flag, "This release has no device plugin."),
    unread("waspEnabled", Shape::Flag, "This release has no such agent."),
    unread("profiling", Shape::Free, "This release collects no profiles."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// Everything that programs and templates are made of, the table and the tests aside.
    fn sources() -> String {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut folders: Vec<_> =
            std::fs::read_dir(crates).unwrap().map(|one| one.unwrap().path().join("src")).collect();
        folders.push(crates.parent().unwrap().join("charts/odigos/templates"));
        let mut text = String::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                if path.is_dir() {
                    folders.push(path);
                } else if !["keys.rs", "unknown.rs", "shapes.rs", "tests.rs", "accepted_tests.rs"]
                    .contains(&name.as_str())
                {
                    let content = std::fs::read_to_string(&path).unwrap();
                    text.push_str(content.split("#[cfg(test)]").next().unwrap());
                }
            }
        }
        text
    }

    #[test]
    fn every_key_that_is_read_is_in_the_table() {
        let sources = sources();
        let reads = regex::Regex::new(
            r#"(?:configuration|self)\s*\.(?:flag|text|texts|number|get)\(\s*"([A-Za-z0-9]+(?:\.[A-Za-z0-9]+)+)"|configuration\s*\.(?:flag|text|texts|number|get)\(\s*"([A-Za-z0-9]+)"|typed(?:::<\w+>)?\(configuration, "([A-Za-z0-9.]+)"|\bflag\("([a-z][A-Za-z0-9]*(?:\.[A-Za-z0-9]+)+)"\)"#,
        );
        let reads = reads.unwrap();
        let read: BTreeSet<&str> = reads
            .captures_iter(&sources)
            .filter_map(|found| (1..=4).find_map(|group| found.get(group)))
            .map(|found| found.as_str())
            .collect();
        assert!(read.len() > 30, "{read:?}");
        let is_known = |path: &str| {
            KEYS.iter().any(|key| key.path == path || (key.shape == Shape::Free && path.starts_with(key.path)))
        };
        let unknown: Vec<_> = read.iter().filter(|path| !is_known(path)).collect();
        assert!(unknown.is_empty(), "add to the table: {unknown:?}");
    }

    #[test]
    fn every_active_key_occurs_in_what_reads_it() {
        let sources = sources();
        let snake = |name: &str| {
            let mut out = String::new();
            for c in name.chars() {
                if c.is_ascii_uppercase() {
                    out.push('_');
                }
                out.push(c.to_ascii_lowercase());
            }
            out
        };
        let is_read = |key: &&Key| {
            let name = key.path.rsplit('.').next().unwrap();
            let is_group = matches!(key.shape, Shape::Block) || name == "*";
            is_group || sources.contains(name) || sources.contains(&format!("pub {}:", snake(name)))
        };
        let idle: Vec<_> = KEYS.iter().filter(|key| key.effect == Effect::Active).filter(|key| !is_read(key)).collect();
        assert!(idle.is_empty(), "nothing reads {idle:?}");
    }

    #[test]
    fn paths_are_unique_and_below_blocks() {
        let mut seen = BTreeSet::new();
        for key in KEYS {
            assert!(seen.insert(key.path), "{} is there twice", key.path);
            if let Some((parent, _)) = key.path.rsplit_once('.') {
                let above = KEYS.iter().find(|one| one.path == parent);
                assert_eq!(above.map(|one| one.shape), Some(Shape::Block), "{}", key.path);
            }
            assert!(!key.doc.is_empty());
        }
    }
}
