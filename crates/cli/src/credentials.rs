//! Secrets of Destinations: marks them for the Destinations that read them, and moves credentials out of settings into one.
//!
//! Owns both changes. Never prints a value, and never decides whether a Destination may read a Secret.

use crate::lifecycle::MANAGER;
use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use odigos_api::destination::Destination;
use odigos_api::labels::{DESTINATION_SECRET, SECRET_DESTINATIONS};
use odigos_catalog::plain_credentials;
use odigos_plan::gateway::secret_access::{SecretMark, is_reserved_name};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// End of the name of a Destination's Secret.
pub(crate) const SUFFIX: &str = "-credentials";

/// Labels and annotations that mark a Secret for Destinations.
pub(crate) fn mark<'a>(destinations: impl IntoIterator<Item = &'a str>) -> Value {
    let names: Vec<&str> = destinations.into_iter().collect();
    json!({"labels": {DESTINATION_SECRET: "true"}, "annotations": {SECRET_DESTINATIONS: names.join(",")}})
}

/// A Secret, and the Destinations that it is to be marked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marking {
    pub(crate) secret: String,
    pub(crate) destinations: BTreeSet<String>,
}

/// What is to be marked so that these Destinations keep their Secrets. Secrets that do not exist, are marked already, or serve Helm,
/// Kubernetes or the product are left out.
pub(crate) async fn markings(
    client: &Client,
    namespace: &str,
    destinations: &[Destination],
) -> anyhow::Result<Vec<Marking>> {
    let mut wanted: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for destination in destinations {
        let Some(reference) = destination.spec.secret_ref.as_ref().filter(|one| !one.name.is_empty()) else { continue };
        wanted.entry(&reference.name).or_default().extend(destination.metadata.name.clone());
    }
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let mut found = Vec::new();
    for (name, destinations) in wanted {
        if is_reserved_name(name) {
            continue;
        }
        let Some(secret) = api.get_opt(name).await.with_context(|| format!("failed to read Secret {name}"))? else {
            continue;
        };
        let mark = SecretMark::of(&secret.metadata, secret.type_.as_deref());
        let missing: BTreeSet<String> = destinations.into_iter().filter(|one| !mark.is_for(one)).collect();
        if missing.is_empty() || mark.is_reserved() {
            continue;
        }
        let listed = secret.metadata.annotations.as_ref().and_then(|all| all.get(SECRET_DESTINATIONS).cloned());
        let listed = listed.unwrap_or_default();
        let before = listed.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned);
        found.push(Marking { secret: name.to_owned(), destinations: before.chain(missing).collect() });
    }
    Ok(found)
}

/// Marks a Secret.
pub(crate) async fn apply(client: &Client, namespace: &str, marking: &Marking) -> anyhow::Result<()> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let change = json!({"metadata": mark(marking.destinations.iter().map(String::as_str))});
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let name = &marking.secret;
    api.patch(name, &parameters, &Patch::Merge(&change))
        .await
        .with_context(|| format!("failed to mark Secret {name}"))?;
    Ok(())
}

/// Destinations by name; all where none is named.
pub(crate) async fn read(client: &Client, namespace: &str, names: &[String]) -> anyhow::Result<Vec<Destination>> {
    let api: Api<Destination> = Api::namespaced(client.clone(), namespace);
    let all = match api.list(&Default::default()).await {
        Ok(all) => all.items,
        // A kind that is not served yet, as between an interrupted installation and the next, has no objects.
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        Err(error) => return Err(error).context("failed to list Destinations"),
    };
    let has = |name: &String| all.iter().any(|one| one.metadata.name.as_ref() == Some(name));
    if let Some(missing) = names.iter().find(|name| !has(name)) {
        bail!("there is no Destination {missing} in {namespace}");
    }
    Ok(all
        .into_iter()
        .filter(|one| names.is_empty() || one.metadata.name.as_ref().is_some_and(|name| names.contains(name)))
        .collect())
}

/// Moves the credentials among the settings of a Destination into its Secret; returns their names and that of the Secret. The Secret is
/// written first, so that the Destination never waits for it.
pub(crate) async fn move_into_secret(
    client: &Client,
    namespace: &str,
    name: &str,
) -> anyhow::Result<(Vec<String>, String)> {
    let destinations: Api<Destination> = Api::namespaced(client.clone(), namespace);
    let destination = destinations.get_opt(name).await.context("failed to read the Destination")?;
    let destination = destination.with_context(|| format!("there is no Destination {name} in {namespace}"))?;
    let spec = &destination.spec;
    let Some(definition) = odigos_catalog::destination::find(&spec.type_) else {
        bail!("the type {} is not known", spec.type_);
    };
    let mut moved: BTreeMap<&String, &String> = spec
        .data
        .iter()
        .filter(|(key, text)| !text.trim().is_empty() && definition.field(key).is_some_and(|field| field.secret))
        .collect();
    let mut changed: BTreeMap<&String, Value> = moved.keys().map(|key| (*key, Value::Null)).collect();
    // Headers stay, and refer to the Secret.
    let (settings, of_headers) = plain_credentials::move_headers(definition, &spec.data);
    changed.extend(settings.iter().map(|(setting, text)| (setting, json!(text))));
    moved.extend(&of_headers);
    let secret_name = match spec.secret_ref.as_ref().map(|one| one.name.as_str()) {
        Some(named) if !named.is_empty() => named.to_owned(),
        _ => format!("{name}{SUFFIX}"),
    };
    if moved.is_empty() {
        return Ok((Vec::new(), secret_name));
    }
    if is_reserved_name(&secret_name) {
        bail!("the Secret {secret_name} is not one of a Destination; change spec.secretRef first");
    }
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let existing = api.get_opt(&secret_name).await.context("failed to read the Secret")?;
    let listed = existing.as_ref().and_then(|one| one.metadata.annotations.as_ref()?.get(SECRET_DESTINATIONS).cloned());
    let names: BTreeSet<String> = listed
        .unwrap_or_default()
        .split(',')
        .map(|one| one.trim().to_owned())
        .filter(|one| !one.is_empty())
        .chain([name.to_owned()])
        .collect();
    let mut object = json!({"metadata": mark(names.iter().map(String::as_str)), "stringData": moved});
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    if existing.is_some() {
        api.patch(&secret_name, &parameters, &Patch::Merge(&object)).await.context("failed to change the Secret")?;
    } else {
        object["metadata"]["name"] = json!(secret_name);
        let secret: Secret = serde_json::from_value(object)?;
        let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        api.create(&parameters, &secret).await.context("failed to create the Secret")?;
    }
    let change = json!({"spec": {"data": changed, "secretRef": {"name": secret_name}}});
    destinations.patch(name, &parameters, &Patch::Merge(&change)).await.context("failed to change the Destination")?;
    Ok((moved.keys().map(|key| (*key).clone()).collect(), secret_name))
}
