//! What agents collect: the blocks of an InstrumentationRule (`spec/actions-and-rules.md` 4), which an
//! InstrumentationConfig repeats per container with every rule merged (`spec/sources-and-instrumentation.md` 1.2).

use crate::action_kinds::{CustomFormatMasking, CustomRegexMasking};
use crate::action_kinds::{DefaultTemplates, PiiCategory, RegexReplacement};
use crate::instrumentation_config::LogLevel;
use crate::sampling::{CostReductionRule, HighlyRelevantOperation, NoisyOperation};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bodies of HTTP requests or responses.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HttpPayload {
    /// Types that are collected. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_types: Option<Vec<String>>,
    /// Longest text that is collected, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_payload_length: Option<i64>,
    /// Drops what is longer instead of cutting it. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop_partial_payloads: Option<bool>,
}

/// How much of a query is collected.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SanitizationPolicy {
    /// Without values.
    #[serde(rename = "sanitized")]
    Sanitized,
    /// Without values where the agent can.
    #[serde(rename = "sanitized-or-full")]
    SanitizedOrFull,
    /// As it is.
    #[serde(rename = "full")]
    Full,
}

/// Texts of database queries.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DbQueryPayload {
    /// Longest text that is collected, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_payload_length: Option<i64>,
    /// Drops what is longer instead of cutting it. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop_partial_payloads: Option<bool>,
    /// Whether values are part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sanitization_policy: Option<SanitizationPolicy>,
}

/// Bodies of messages.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MessagingPayload {
    /// Longest text that is collected, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_payload_length: Option<i64>,
    /// Drops what is longer instead of cutting it. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop_partial_payloads: Option<bool>,
}

/// Which payloads are collected.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PayloadCollection {
    /// Bodies of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_request: Option<HttpPayload>,
    /// Bodies of responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_response: Option<HttpPayload>,
    /// Texts of database queries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db_query: Option<DbQueryPayload>,
    /// Bodies of messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messaging: Option<MessagingPayload>,
}

/// Which headers are collected.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HeadersCollection {
    /// Names of headers; `*` means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub header_keys: Vec<String>,
}

/// Which attributes about code are collected.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CodeAttributes {
    /// Column: `code.column`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<bool>,
    /// File: `code.filepath`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_path: Option<bool>,
    /// Function: `code.function`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<bool>,
    /// Line: `code.lineno`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line_number: Option<bool>,
    /// Namespace or class: `code.namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<bool>,
    /// Stack: `code.stacktrace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack_trace: Option<bool>,
}

/// Whether traces are collected.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TraceConfig {
    /// Switches traces off. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// Whether a signal of a workload is collected.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SignalConfig {
    /// Switches it off. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// Which agent distributions are used.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OtelDistros {
    /// Names of distributions, e.g. `java-community`; each replaces the usual one of its language.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub otel_distro_names: Vec<String>,
}

/// A Go function.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GolangProbe {
    /// Import path of the package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package_name: Option<String>,
    /// Name of the function; instead of receiver and method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function_name: Option<String>,
    /// Type of the receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver_name: Option<String>,
    /// Name of the method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver_method_name: Option<String>,
}

/// A Java method.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct JavaProbe {
    /// Full name of the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    /// Name of the method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method_name: Option<String>,
}

/// A PHP function or method.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PhpProbe {
    /// Name of the class; none for a plain function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    /// Name of the function or method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function_name: Option<String>,
}

/// A C++ function.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CppProbe {
    /// Signature of the function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// Functions that are traced beside those of libraries.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CustomInstrumentations {
    /// Go functions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub golang: Vec<GolangProbe>,
    /// Java methods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub java: Vec<JavaProbe>,
    /// PHP functions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub php: Vec<PhpProbe>,
    /// C++ functions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cpp: Vec<CppProbe>,
}

/// A library.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LibraryOfLanguage {
    /// Its language.
    pub language: String,
    /// Its name.
    pub library_name: String,
}

/// Libraries that are traced or not.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TraceVerbosity {
    /// Not traced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disabled_libraries: Vec<LibraryOfLanguage>,
    /// Traced although they usually are not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enabled_libraries: Vec<LibraryOfLanguage>,
}

/// Log levels of an agent.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AgentDiagnostics {
    /// Level of the product's own parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub odigos_log_level: Option<LogLevel>,
    /// Level of the OpenTelemetry parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_telemetry_components_log_level: Option<LogLevel>,
}

/// Whether logs are read from the kernel.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EbpfLogCapture {
    /// Reads them. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// Metrics of the network; the block itself switches them on.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NetworkMetrics {}

/// Older setting; not acted on.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HeadSamplingFallbackFraction {
    /// Share of traces that is kept, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction_to_keep: Option<f64>,
}

/// Ids from the clock.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TimedWall {
    /// Number of the source inside an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_id: Option<i64>,
}

/// How trace ids are made; one of the two.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct IdGenerator {
    /// At random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random: Option<RandomIds>,
    /// From the clock and the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timed_wall: Option<TimedWall>,
}

/// Ids at random; no settings.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RandomIds {}

/// How paths of requests are made templates.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AgentUrlTemplatization {
    /// Own templates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<String>,
    /// Built-in placeholders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<DefaultTemplates>,
}

/// Rules that the agent applies when a trace begins.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AgentHeadSampling {
    /// Marks and keeps everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// `sampled-spans-only` or `all-spans`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_metrics_mode: Option<String>,
    /// Share of other traces that is kept, 0 to 1. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_fraction: Option<f64>,
    /// The rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub noisy_operations: Vec<NoisyOperation>,
}

/// Replacements for one library.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SpanRenamerRule {
    /// Name of the library.
    pub scope_name: String,
    /// Replacements, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regex_replacements: Vec<RegexReplacement>,
}

/// How spans are renamed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AgentSpanRenamer {
    /// Rules by library.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scope_rules: Vec<SpanRenamerRule>,
}

/// Settings of an agent for traces.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AgentTraces {
    /// How trace ids are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_generator: Option<IdGenerator>,
    /// How paths of requests are made templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_templatization: Option<AgentUrlTemplatization>,
    /// Rules that the agent applies when a trace begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_sampling: Option<AgentHeadSampling>,
    /// Which headers are collected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers_collection: Option<HeadersCollection>,
    /// How spans are renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_renamer: Option<AgentSpanRenamer>,
    /// Which payloads are collected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_collection: Option<PayloadCollection>,
    /// Which attributes about code are collected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_attributes: Option<CodeAttributes>,
    /// Libraries that are traced or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_verbosity: Option<TraceVerbosity>,
    /// Functions that are traced beside those of libraries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_instrumentations: Option<CustomInstrumentations>,
}

/// Metrics that the agent derives from spans.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AgentSpanMetrics {
    /// Time between two exports, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<i64>,
    /// Bounds of the buckets, in milliseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub histogram_buckets_ms: Vec<i64>,
    /// Attributes that become labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dimensions: Vec<String>,
}

/// A metric of a runtime.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeMetric {
    /// Name of the metric.
    pub name: String,
    /// Leaves it out. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// Metrics of the Java runtime.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct JavaRuntimeMetrics {
    /// Leaves all of them out. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Single metrics.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<RuntimeMetric>,
}

/// Metrics of runtimes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeMetrics {
    /// Java.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub java: Option<JavaRuntimeMetrics>,
}

/// Settings of an agent for metrics.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AgentMetrics {
    /// Metrics that the agent derives from spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_metrics: Option<AgentSpanMetrics>,
    /// Metrics of the runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_metrics: Option<RuntimeMetrics>,
    /// Metrics of the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_metrics: Option<NetworkMetrics>,
}

/// Settings of an agent for logs.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AgentLogs {
    /// Whether logs are read from the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ebpf_log_capture: Option<EbpfLogCapture>,
}

/// How queries of one container are made templates.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CollectorDbQuery {
    /// Numbers and texts become `?`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub templatize_literals: Option<bool>,
    /// Removes `::type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove_postgres_cast_operator: Option<bool>,
}

/// Attributes are read out of the queries of one container; no settings.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CollectorInferDb {}

/// What is masked for one container.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CollectorPiiMasking {
    /// Kinds of personal data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pii_categories: Vec<PiiCategory>,
    /// Own expressions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custom_regex_maskings: Vec<CustomRegexMasking>,
    /// Values of keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custom_format_maskings: Vec<CustomFormatMasking>,
}

/// Sampling rules of one container.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CollectorSampling {
    /// Noisy operations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub noisy_operations: Vec<NoisyOperation>,
    /// Highly relevant operations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub highly_relevant_operations: Vec<HighlyRelevantOperation>,
    /// Rules that save cost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cost_reduction_rules: Vec<CostReductionRule>,
}
