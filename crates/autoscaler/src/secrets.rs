//! What is known of the Secrets that Destinations may read, and the escaped copy of values that a collector would expand.
//!
//! Owns reading them: values are judged and dropped at once; those of the copy are read again when it is written. A Secret that no Destination
//! was given is never read. Writes one Secret alone, which the chart creates. Never logs a value.

use crate::state::State;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use odigos_api::destination::Destination;
use odigos_api::names;
use odigos_kit::apply::ApplyError;
use odigos_pipeline::expansion;
use odigos_plan::gateway::secret_access::{self, Access};
use odigos_plan::gateway::secret_values::{copied, copy_key};
use odigos_plan::gateway::{SecretKeys, SecretMark, SecretValue};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Version of an object.
type Version = Option<String>;

/// What the copy was written from and how it stood afterwards: each source with its version, and the version of the copy itself.
type Written = (BTreeSet<(String, String, Version)>, Version);

/// What is known of Secrets, by name.
#[derive(Debug, Default)]
pub(crate) struct KnownSecrets {
    /// Keys of those that a Destination may read.
    pub(crate) keys: BTreeMap<String, SecretKeys>,
    /// What each one that a Destination names says of its use.
    pub(crate) marks: BTreeMap<String, SecretMark>,
}

/// What was read and written, with the versions that it is of.
#[derive(Debug, Default)]
pub(crate) struct SecretStore {
    known: Mutex<BTreeMap<String, (Version, SecretKeys, SecretMark)>>,
    copy: Mutex<Option<Written>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SecretStore {
    /// The Secrets that destinations name and may read. One is read again only when the watch knows another version of it, since a reconcile
    /// comes with every sign of life of the gateways.
    pub(crate) async fn read(&self, state: &State, destinations: &[Destination]) -> Result<KnownSecrets, kube::Error> {
        let mut readers: BTreeMap<&str, Vec<&Destination>> = BTreeMap::new();
        for one in odigos_plan::streams::enabled(destinations) {
            if let Some(reference) = one.spec.secret_ref.as_ref().filter(|reference| !reference.name.is_empty()) {
                readers.entry(&reference.name).or_default().push(one);
            }
        }
        let api: Api<Secret> = Api::namespaced(state.client.clone(), &state.namespace);
        let mut found = KnownSecrets::default();
        for (name, readers) in readers {
            // The watch knows which exist, so nothing is asked for in vain.
            let Some(known) = state.secrets.get(&state.namespace, name) else { continue };
            let may_be_read = |mark: &SecretMark| {
                readers.iter().any(|one| !matches!(secret_access::access(one, name, Some(mark)), Access::Denied(_)))
            };
            let mark = SecretMark::of(&known.metadata, None);
            if !may_be_read(&mark) {
                found.marks.insert(name.to_owned(), mark);
                continue;
            }
            if let Some((version, keys, mark)) = lock(&self.known).get(name)
                && version.is_some()
                && *version == known.metadata.resource_version
            {
                found.keys.insert(name.to_owned(), keys.clone());
                found.marks.insert(name.to_owned(), mark.clone());
                continue;
            }
            if let Some(secret) = api.get_opt(name).await? {
                // Its type is known now.
                let mark = SecretMark::of(&secret.metadata, secret.type_.as_deref());
                found.marks.insert(name.to_owned(), mark.clone());
                if !may_be_read(&mark) {
                    continue;
                }
                let data = secret.data.unwrap_or_default();
                let keys: SecretKeys =
                    data.iter().map(|(key, value)| (key.clone(), SecretValue::of(&value.0))).collect();
                lock(&self.known).insert(name.to_owned(), (secret.metadata.resource_version, keys.clone(), mark));
                found.keys.insert(name.to_owned(), keys);
            }
        }
        lock(&self.known).retain(|name, _| found.keys.contains_key(name));
        if let Err(error) = self.escape(state, &api, destinations, &found.keys).await {
            tracing::warn!(%error, "failed to write the escaped copy of Secrets");
            let values = found.keys.values_mut().flat_map(BTreeMap::values_mut).filter(|value| value.is_expanded);
            values.for_each(|value| value.copy_failure = Some(error.to_string()));
        }
        Ok(found)
    }

    /// Brings the copy up to date. Nothing is read or written while its sources and itself are as they were.
    async fn escape(
        &self,
        state: &State,
        api: &Api<Secret>,
        destinations: &[Destination],
        found: &BTreeMap<String, SecretKeys>,
    ) -> Result<(), CopyError> {
        let version = |name: &str| {
            state.secrets.get(&state.namespace, name).and_then(|one| one.metadata.resource_version.clone())
        };
        let wanted: BTreeSet<_> = copied(destinations, found)
            .into_iter()
            .map(|(secret, key)| (secret.clone(), key, version(&secret)))
            .collect();
        let live = version(names::ESCAPED_SECRETS);
        if wanted.is_empty() && live.is_none() {
            return Ok(());
        }
        if live.is_some() && *lock(&self.copy) == Some((wanted.clone(), live.clone())) {
            return Ok(());
        }
        let copy = api.get_opt(names::ESCAPED_SECRETS).await?.ok_or(CopyError::Missing)?;
        let mut data = BTreeMap::new();
        let sources: BTreeSet<&String> = wanted.iter().map(|(secret, ..)| secret).collect();
        for name in sources {
            let values = api.get_opt(name).await?.and_then(|secret| secret.data).unwrap_or_default();
            for (_, key, _) in wanted.iter().filter(|(secret, ..)| secret == name) {
                // What is no text is refused for itself, and has no copy.
                if let Some(text) = values.get(key).and_then(|value| std::str::from_utf8(&value.0).ok()) {
                    data.insert(copy_key(name, key), ByteString(expansion::escape(text).into_bytes()));
                }
            }
        }
        let mut written = copy.metadata.resource_version;
        if copy.data.unwrap_or_default() != data {
            let object = json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": names::ESCAPED_SECRETS, "namespace": state.namespace},
                "data": data,
            });
            written = state.applier.apply(&object).await?.metadata.resource_version;
        }
        *lock(&self.copy) = Some((wanted, written));
        Ok(())
    }
}

/// Why there is no escaped copy.
#[derive(Debug, thiserror::Error)]
enum CopyError {
    /// A Secret cannot be read.
    #[error("failed to read a Secret: {0}")]
    Read(#[from] kube::Error),
    /// Writing the copy failed.
    #[error(transparent)]
    Write(#[from] ApplyError),
    /// The chart's Secret is not there.
    #[error("the Secret {} of this release is missing; run `odigos upgrade` or `helm upgrade`", names::ESCAPED_SECRETS)]
    Missing,
}
