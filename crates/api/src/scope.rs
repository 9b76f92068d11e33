//! Which sources a rule or an action is for (`spec/sampling.md` 3, `spec/actions-and-rules.md` 1–4).
//!
//! Owns the two shapes that manifests use: today's object of lists, and the older list of workloads. Reading never
//! fails: a value of neither shape is kept, and the planner reports it.

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One workload.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SourceReference {
    /// Namespace of the workload.
    pub namespace: String,
    /// Kind of the workload: Deployment, StatefulSet, DaemonSet, CronJob, Job, StaticPod, DeploymentConfig or Rollout.
    pub kind: String,
    /// Name of the workload.
    pub name: String,
}

/// Sources: one of a list is enough, every list that is given must hold; none given means all.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SourcesScopes {
    /// These workloads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceReference>,
    /// Workloads of these namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Containers of these languages: java, python, go, dotnet, javascript, php, ruby, rust, cplusplus, mysql, nginx, redis, postgres.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
}

/// The older shape of one alternative: everything that is given must hold.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadScope {
    /// Namespace of the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_namespace: Option<String>,
    /// Kind of the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_kind: Option<String>,
    /// Name of the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_name: Option<String>,
    /// Language of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_language: Option<String>,
}

/// The scope of a sampling rule in either shape.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(untagged)]
pub enum AnyScope {
    /// Today's object of lists.
    Lists(SourcesScopes),
    /// The older list of workloads; one of them is enough.
    Workloads(Vec<WorkloadScope>),
    /// Neither; the rule is reported and left out.
    Other(Value),
}

impl JsonSchema for AnyScope {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AnyScope".into()
    }

    /// An API server stores either shape because unknown fields are kept; the fields of today's shape are documented.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let lists = SourcesScopes::json_schema(generator);
        let mut schema = schemars::json_schema!({"x-kubernetes-preserve-unknown-fields": true});
        if let Some(properties) = lists.get("properties") {
            schema.insert("properties".to_owned(), properties.clone());
        }
        schema
    }
}
