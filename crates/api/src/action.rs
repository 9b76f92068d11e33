//! `Action`: changes telemetry on its way (`spec/actions-and-rules.md` 1–2).
//!
//! The settings of each kind are in `action_kinds`.

use crate::Signal;
use crate::action_kinds::{
    AddClusterInfo, DbQueryTemplatization, DeleteAttribute, ExtractAttribute, InferDbAttributes, K8sAttributes,
    PiiMasking, RenameAttribute, SpanRenamer, UrlTemplatization,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens to items that an Action cannot change as it says.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// They are exported as they are.
    #[default]
    #[serde(rename = "ignore")]
    Ignore,
    /// They are not exported.
    #[serde(rename = "drop")]
    Drop,
}

/// Changes telemetry on its way.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "odigos.io",
    version = "v1alpha1",
    kind = "Action",
    namespaced,
    status = "ActionStatus",
    derive = "PartialEq",
    derive = "Default",
    category = "odigos",
    doc = "Changes telemetry on its way: adds, deletes, renames or masks attributes. Create it in the namespace of the control plane.",
    printcolumn(name = "Name", type_ = "string", json_path = ".spec.actionName"),
    printcolumn(name = "Signals", type_ = "string", json_path = ".spec.signals"),
    printcolumn(name = "Disabled", type_ = "boolean", json_path = ".spec.disabled"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("[has(self.spec.addClusterInfo), has(self.spec.deleteAttribute), has(self.spec.renameAttribute), has(self.spec.piiMasking), has(self.spec.k8sAttributes), has(self.spec.urlTemplatization), has(self.spec.spanRenamer), has(self.spec.extractAttribute), has(self.spec.dbQueryTemplatization), has(self.spec.inferDbAttributes)].filter(x, x).size() == 1").message("spec must hold exactly one of addClusterInfo, deleteAttribute, renameAttribute, piiMasking, k8sAttributes, urlTemplatization, spanRenamer, extractAttribute, dbQueryTemplatization, inferDbAttributes")
)]
#[serde(rename_all = "camelCase")]
pub struct ActionSpec {
    /// Name that people see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_name: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Removes the effect and keeps the object. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Signals that it changes.
    pub signals: Vec<Signal>,
    /// Data streams that it is for. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_streams: Option<Vec<String>>,
    /// What happens to the items that it is for while it cannot be carried out whole: `ignore` exports them as they are, `drop` does
    /// not export them. Default: ignore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_policy: Option<FailurePolicy>,
    /// Adds attributes to every resource of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_cluster_info: Option<AddClusterInfo>,
    /// Deletes attributes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_attribute: Option<DeleteAttribute>,
    /// Renames attributes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rename_attribute: Option<RenameAttribute>,
    /// Masks personal data in span attributes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pii_masking: Option<PiiMasking>,
    /// Adds labels and annotations of Kubernetes objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k8s_attributes: Option<K8sAttributes>,
    /// Turns paths of requests into templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_templatization: Option<UrlTemplatization>,
    /// Renames spans of a library.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_renamer: Option<SpanRenamer>,
    /// Reads new attributes out of texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extract_attribute: Option<ExtractAttribute>,
    /// Turns database queries into templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db_query_templatization: Option<DbQueryTemplatization>,
    /// Reads attributes out of database queries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infer_db_attributes: Option<InferDbAttributes>,
}

/// What became of the Action.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct ActionStatus {
    /// `TransformedToProcessor`, `AddedToCollectorConfig`, and `Approximate` where a kind is only approximated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
