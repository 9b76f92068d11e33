//! Policies of others that refuse what is created, as clusters have them without any label.
//!
//! Owns bringing one into force and removing it. Never decides what it refuses.

use crate::control_plane::{apply, try_out};
use crate::instrumentor::LIMIT;
use crate::process::eventually;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

/// What is refused at its creation.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// Name of the policy and of its binding.
    pub name: &'a str,
    /// Resource of the core group, e.g. `pods`.
    pub resource: &'a str,
    /// CEL: what must hold.
    pub expression: &'a str,
    /// What the API server answers otherwise.
    pub message: &'a str,
    /// The namespace in which it counts; everywhere without one.
    pub namespace: Option<&'a str>,
}

impl Policy<'_> {
    /// Creates it, and waits until it refuses `probe`.
    ///
    /// # Errors
    /// When the API server refuses it, or it does not become active.
    pub async fn enforce(&self, client: &Client, probe: &Value) -> anyhow::Result<()> {
        let object = |kind: &str, spec: Value| {
            json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": self.name}, "spec": spec,
            })
        };
        let policy = json!({
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "resources": [self.resource], "operations": ["CREATE"]},
            ]},
            "validations": [{"expression": self.expression, "message": self.message}],
        });
        let mut binding = json!({"policyName": self.name, "validationActions": ["Deny"]});
        if let Some(namespace) = self.namespace {
            let labels = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
            binding["matchResources"] = json!({"namespaceSelector": labels});
        }
        apply(client, &object("ValidatingAdmissionPolicy", policy)).await?;
        apply(client, &object("ValidatingAdmissionPolicyBinding", binding)).await?;
        let is_active = || async { try_out(client, probe).await.is_err() };
        eventually("the policy is active", LIMIT, is_active).await
    }

    /// Removes it.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn lift(&self, client: &Client) -> anyhow::Result<()> {
        for kind in ["ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"] {
            let group = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
            let (resource, _) = kube::discovery::pinned_kind(client, &group).await?;
            let all: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            all.delete(self.name, &DeleteParams::default()).await?;
        }
        Ok(())
    }
}
