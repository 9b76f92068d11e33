//! The settings of each kind of Action (`spec/actions-and-rules.md` 2): what it changes, and where.

use crate::scope::SourcesScopes;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An attribute of every resource.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClusterAttribute {
    /// Name of the attribute.
    pub attribute_name: String,
    /// Its value; may be empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute_string_value: Option<String>,
}

/// Adds attributes to every resource of the cluster.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AddClusterInfo {
    /// The attributes.
    pub cluster_attributes: Vec<ClusterAttribute>,
    /// Replaces values that are there already. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overwrite_existing_values: Option<bool>,
}

/// Deletes attributes of resources, scopes, spans, span events, data points and log records.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DeleteAttribute {
    /// Names, exactly.
    pub attribute_names_to_delete: Vec<String>,
}

/// Renames attributes of resources, scopes, spans, span events, data points and log records.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RenameAttribute {
    /// New name by old name; all at once, so `a: b, b: c` moves each value one step.
    pub renames: BTreeMap<String, String>,
}

/// A kind of personal data.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PiiCategory {
    /// Numbers of credit cards.
    #[serde(rename = "CREDIT_CARD")]
    CreditCard,
    /// E-mail addresses.
    #[serde(rename = "EMAIL")]
    Email,
    /// JSON web tokens.
    #[serde(rename = "JWT")]
    Jwt,
    /// UUIDs.
    #[serde(rename = "UUID")]
    Uuid,
}

/// A format in which a key has a value.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataFormat {
    /// JSON: `"key": value`.
    #[default]
    #[serde(rename = "json")]
    Json,
    /// SQL: `key = 'value'`.
    #[serde(rename = "sql")]
    Sql,
    /// A path: `key/value`.
    #[serde(rename = "resource_path")]
    ResourcePath,
}

/// Masks the value of a key.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CustomFormatMasking {
    /// The key, literally.
    pub lookup_key: String,
    /// Format of the text around it.
    pub data_format: DataFormat,
}

/// Masks the first capture group of every match.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CustomRegexMasking {
    /// RE2 expression with a capture group at top level.
    pub regex: String,
}

/// Masks personal data in span attributes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PiiMasking {
    /// Sources that it is for. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<SourcesScopes>,
    /// Kinds of personal data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pii_categories: Vec<PiiCategory>,
    /// Values of keys in JSON, SQL or paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custom_format_maskings: Vec<CustomFormatMasking>,
    /// Own expressions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custom_regex_maskings: Vec<CustomRegexMasking>,
}

/// Where a label or an annotation is read.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttributeSource {
    /// The pod.
    #[serde(rename = "pod")]
    Pod,
    /// The namespace.
    #[serde(rename = "namespace")]
    Namespace,
    /// The node.
    #[serde(rename = "node")]
    Node,
}

/// An attribute from a label.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LabelAttribute {
    /// Key of the label.
    pub label_key: String,
    /// Name of the attribute.
    pub attribute_key: String,
    /// Deprecated: use `fromSources`. Default: pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<AttributeSource>,
    /// Where it is read; pod wins over namespace, namespace over node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from_sources: Vec<AttributeSource>,
}

/// An attribute from an annotation.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AnnotationAttribute {
    /// Key of the annotation.
    pub annotation_key: String,
    /// Name of the attribute.
    pub attribute_key: String,
    /// Deprecated: use `fromSources`. Default: pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<AttributeSource>,
    /// Where it is read; pod wins over namespace, namespace over node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from_sources: Vec<AttributeSource>,
}

/// Adds what Kubernetes knows about the pod.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct K8sAttributes {
    /// Name, id and image of the container. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collect_container_attributes: Option<bool>,
    /// Deprecated: name of the replica set. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collect_replica_set_attributes: Option<bool>,
    /// Deprecated: uid of the workload. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(rename = "collectWorkloadUID")]
    pub collect_workload_u_i_d: Option<bool>,
    /// Uid of the cluster: that of the namespace kube-system. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(rename = "collectClusterUID")]
    pub collect_cluster_u_i_d: Option<bool>,
    /// Attributes from labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels_attributes: Vec<LabelAttribute>,
    /// Attributes from annotations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotations_attributes: Vec<AnnotationAttribute>,
}

/// Templates for some sources.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TemplateRules {
    /// Sources that the templates are for. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<SourcesScopes>,
    /// Paths with `*` (kept) and `{name}` (written) in place of segments, e.g. `/users/{id}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<String>,
}

/// Requests whose path is not made a template by default.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SkipPolicy {
    /// Those that were not answered by 2xx. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_for_non_success_codes: Option<bool>,
    /// Those that were answered by one of these codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip_http_status_codes: Vec<i64>,
}

/// Whether numbers, ids, dates and addresses in paths become placeholders.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DefaultTemplates {
    /// Sources that it is for. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<SourcesScopes>,
    /// Switches it off for them. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Requests that are left as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_policy: Option<SkipPolicy>,
}

/// Turns paths of requests into templates.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct UrlTemplatization {
    /// Own templates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<TemplateRules>,
    /// Built-in placeholders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub default: Vec<DefaultTemplates>,
}

/// A replacement.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RegexReplacement {
    /// RE2 expression.
    pub regex_pattern: String,
    /// Text instead of a match; `$1` stands for the first group.
    pub template_text: String,
}

/// Renames spans of a library.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SpanRenamer {
    /// Language of the agent, e.g. java.
    pub programming_language: String,
    /// Name of the library as the instrumentation scope has it.
    pub scope_name: String,
    /// Replacements, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regex_replacements: Vec<RegexReplacement>,
}

/// An attribute that is read out of texts.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.regex) != (has(self.lookupKey) && has(self.dataFormat))").message("give either regex, or lookupKey with dataFormat"))]
pub struct Extraction {
    /// Name of the new attribute.
    pub target_attribute_name: String,
    /// Key whose value is wanted; with `dataFormat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lookup_key: Option<String>,
    /// Format of the text around the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_format: Option<DataFormat>,
    /// RE2 expression with exactly one capture group, instead of `lookupKey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
}

/// Reads new attributes out of queries and payloads.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ExtractAttribute {
    /// What is read.
    pub extractions: Vec<Extraction>,
}

/// Turns database queries into templates.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DbQueryTemplatization {
    /// Sources that it is for. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<SourcesScopes>,
    /// Numbers and texts become `?`. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub templatize_literals: Option<bool>,
    /// Removes `::type`. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove_postgres_cast_operator: Option<bool>,
}

/// Reads operation and table out of database queries.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct InferDbAttributes {
    /// Sources that it is for. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<SourcesScopes>,
}
