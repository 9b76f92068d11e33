//! Objects of any kind in the cluster: read, applied, changed, deleted.

use super::MANAGER;
use anyhow::Context;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, PropagationPolicy};
use kube::core::{ApiResource, GroupVersionKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Objects a page.
const PAGE: u32 = 500;

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reference {
    /// Group and version.
    pub(super) api_version: String,
    /// Kind.
    pub(super) kind: String,
    /// Namespace; empty for objects of the whole cluster.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) namespace: String,
    /// Name.
    pub(super) name: String,
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, namespace, name, .. } = self;
        if namespace.is_empty() { write!(f, "{kind} {name}") } else { write!(f, "{kind} {namespace}/{name}") }
    }
}

impl Reference {
    /// A reference from its parts.
    pub(super) fn new(api_version: &str, kind: &str, namespace: &str, name: &str) -> Self {
        let owned = str::to_owned;
        Self { api_version: owned(api_version), kind: owned(kind), namespace: owned(namespace), name: owned(name) }
    }

    /// The reference of an object.
    pub(super) fn of(object: &Value) -> Self {
        let text = |pointer: &str| text(object, pointer);
        Self::new(text("/apiVersion"), text("/kind"), text("/metadata/namespace"), text("/metadata/name"))
    }

    /// The resource, e.g. `networkpolicies`.
    pub(super) fn resource(&self) -> ApiResource {
        resource(&self.api_version, &self.kind)
    }

    /// Group of its kind.
    pub(super) fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }
}

/// Text at a pointer; empty when there is none.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// What is listed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Where<'a> {
    /// Only this namespace.
    pub(super) namespace: Option<&'a str>,
    /// Selector of labels.
    pub(super) labels: Option<&'a str>,
    /// Selector of fields.
    pub(super) fields: Option<&'a str>,
}

impl<'a> Where<'a> {
    /// One namespace.
    pub(super) fn namespace(namespace: &'a str) -> Self {
        Self { namespace: Some(namespace), ..Self::default() }
    }
}

/// A cluster.
#[derive(Clone)]
pub(super) struct Cluster {
    /// For typed requests.
    pub(super) client: Client,
}

impl Cluster {
    fn api(&self, reference: &Reference) -> Api<DynamicObject> {
        self.api_of(&reference.resource(), Some(&reference.namespace))
    }

    fn api_of(&self, resource: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace.unwrap_or_default() {
            "" => Api::all_with(self.client.clone(), resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, resource),
        }
    }

    /// The object, unless it or its kind does not exist.
    pub(super) async fn get(&self, reference: &Reference) -> anyhow::Result<Option<Value>> {
        match self.api(reference).get_opt(&reference.name).await {
            Ok(found) => Ok(found.map(|object| value(object, &reference.api_version, &reference.kind)).transpose()?),
            Err(error) => Err(error).with_context(|| format!("failed to read {reference}")),
        }
    }

    /// Applies an object with the tool's field manager, or only asks what would come of it.
    pub(super) async fn apply(&self, object: &Value, dry_run: bool) -> anyhow::Result<Value> {
        let reference = Reference::of(object);
        let mut parameters = PatchParams::apply(MANAGER).force();
        parameters.dry_run = dry_run;
        let applied = self.api(&reference).patch(&reference.name, &parameters, &Patch::Apply(object)).await;
        let applied = applied.with_context(|| format!("{reference} is refused"))?;
        value(applied, &reference.api_version, &reference.kind)
    }

    /// Creates an object; false when it exists.
    pub(super) async fn create(&self, object: &Value) -> anyhow::Result<bool> {
        let reference = Reference::of(object);
        let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        match self.api(&reference).create(&parameters, &serde_json::from_value(object.clone())?).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error).with_context(|| format!("{reference} is refused")),
        }
    }

    /// Changes fields of an object; false when it does not exist or has changed meanwhile.
    pub(super) async fn merge(&self, reference: &Reference, change: &Value) -> anyhow::Result<bool> {
        let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        match self.api(reference).patch(&reference.name, &parameters, &Patch::Merge(change)).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(false),
            Err(error) => Err(error).with_context(|| format!("{reference} cannot be changed")),
        }
    }

    /// Deletes an object; false when it does not exist. What it owns goes afterwards.
    pub(super) async fn delete(&self, reference: &Reference) -> anyhow::Result<bool> {
        self.delete_with(reference, &DeleteParams::background()).await
    }

    /// Deletes a pod without waiting for its node.
    pub(super) async fn delete_at_once(&self, reference: &Reference) -> anyhow::Result<bool> {
        let parameters = DeleteParams {
            grace_period_seconds: Some(0),
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        self.delete_with(reference, &parameters).await
    }

    async fn delete_with(&self, reference: &Reference, parameters: &DeleteParams) -> anyhow::Result<bool> {
        match self.api(reference).delete(&reference.name, parameters).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            // A namespace that is on its way out already.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(true),
            Err(error) => Err(error).with_context(|| format!("{reference} cannot be deleted")),
        }
    }

    /// Every object of a kind; none when the kind is not served.
    pub(super) async fn list(&self, api_version: &str, kind: &str, only: Where<'_>) -> anyhow::Result<Vec<Value>> {
        let api = self.api_of(&resource(api_version, kind), only.namespace);
        let mut parameters = parameters(only);
        let mut objects = Vec::new();
        loop {
            let page = match api.list(&parameters).await {
                Ok(page) => page,
                Err(kube::Error::Api(status)) if status.code == 404 => return Ok(objects),
                Err(error) => return Err(error).with_context(|| format!("{kind} objects cannot be listed")),
            };
            let token = page.metadata.continue_.clone().filter(|token| !token.is_empty());
            for item in page.items {
                objects.push(value(item, api_version, kind)?);
            }
            match token {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(objects),
            }
        }
    }

    /// As [`Self::list`], but only names, labels, annotations, owners and finalizers: cheap in clusters with many pods.
    pub(super) async fn list_metadata(
        &self,
        api_version: &str,
        kind: &str,
        only: Where<'_>,
    ) -> anyhow::Result<Vec<Value>> {
        let api = self.api_of(&resource(api_version, kind), only.namespace);
        let mut parameters = parameters(only);
        let mut objects = Vec::new();
        loop {
            let page = match api.list_metadata(&parameters).await {
                Ok(page) => page,
                Err(kube::Error::Api(status)) if status.code == 404 => return Ok(objects),
                Err(error) => return Err(error).with_context(|| format!("{kind} objects cannot be listed")),
            };
            let token = page.metadata.continue_.clone().filter(|token| !token.is_empty());
            for item in page.items {
                objects.push(json!({"apiVersion": api_version, "kind": kind, "metadata": item.metadata}));
            }
            match token {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(objects),
            }
        }
    }
}

fn parameters(only: Where<'_>) -> ListParams {
    let mut parameters = ListParams::default().limit(PAGE);
    parameters.label_selector = only.labels.map(str::to_owned);
    parameters.field_selector = only.fields.map(str::to_owned);
    parameters
}

fn value(object: DynamicObject, api_version: &str, kind: &str) -> anyhow::Result<Value> {
    let mut object = serde_json::to_value(object)?;
    // Items of lists come without.
    object["apiVersion"] = json!(api_version);
    object["kind"] = json!(kind);
    Ok(object)
}
