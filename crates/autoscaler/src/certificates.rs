//! Certificates by which node collectors and gateways know each other.
//!
//! Owns the data of three Secrets that the chart creates: the authority's, and those that both kinds of collectors mount; and the
//! certificate by which this process reads their metrics, which stands nowhere. Never decides when a certificate is renewed (`kit::certificates`) or used (`plan::mutual_tls`). Never logs a key.

use crate::state::State;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use odigos_api::names;
use odigos_kit::apply::ApplyError;
use odigos_kit::certificates::{self, CertificateError, Mounted, Usage};
use odigos_plan::metrics_endpoint;
use odigos_plan::mutual_tls::{self, Side};
use odigos_plan::objects::hash;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Mutex;

/// How often the Secrets are looked at; reconciles come with every sign of life of a gateway.
const CHECK: SignedDuration = SignedDuration::from_secs(60);
/// How long a new authority is trusted before it certifies anybody: kubelets bring Secrets within two minutes.
const PROPAGATION: SignedDuration = SignedDuration::from_secs(600);

/// What stands in the Secrets, and when that was seen.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    known: Mutex<Option<Known>>,
    reader: RwLock<Option<Arc<rustls::ClientConfig>>>,
}

#[derive(Clone, Debug)]
struct Known {
    seen: Timestamp,
    /// Versions of the Secrets, as the watch had them then: whoever changes one is answered at once.
    versions: Vec<Option<String>>,
    /// Hash of the authorities that collectors trust.
    authorities: String,
    /// Whether every node collector did.
    are_trusted: bool,
    /// The certificate of whoever reads metrics.
    reader: Mounted,
}

/// Why collectors have no certificates.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The authority, or a certificate by it.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A Secret cannot be read.
    #[error("failed to read a Secret with certificates of collectors: {0}")]
    Read(#[from] kube::Error),
    /// A Secret cannot be written.
    #[error(transparent)]
    Write(#[from] ApplyError),
    /// The chart's Secret is not there.
    #[error("the Secret {0} of this release is missing; run `odigos upgrade` or `helm upgrade`")]
    Missing(&'static str),
}

impl Certificates {
    /// Brings the Secrets up to date; returns the hash of the authorities that collectors trust.
    pub(crate) async fn ensure(&self, state: &State) -> Result<String, Error> {
        let now = Timestamp::now();
        // One reconcile at a time: both collectors ask.
        let mut known = self.known.lock().await;
        let versions = versions(state);
        if let Some(one) = known.as_ref()
            && now.duration_since(one.seen).abs() < CHECK
            && one.versions == versions
            && one.are_trusted == mutual_tls::is_trusted_by_nodes(&one.authorities, &state.node_pods())
        {
            return Ok(one.authorities.clone());
        }
        let reader = known.as_ref().map(|one| &one.reader);
        let next = Known { versions, ..renew(state, reader, now).await? };
        if reader != Some(&next.reader) {
            let config = certificates::client_config(&next.reader)?;
            *self.reader.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(config));
        }
        Ok(known.insert(next).authorities.clone())
    }

    /// How to connect to the metrics of collectors, once their certificates are known.
    pub(crate) fn reader(&self) -> Option<Arc<rustls::ClientConfig>> {
        self.reader.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn versions(state: &State) -> Vec<Option<String>> {
    let secrets = Side::ALL.into_iter().map(Side::secret).chain([names::COLLECTOR_AUTHORITY]);
    let version = |name: &str| state.secrets.get(&state.namespace, name)?.metadata.resource_version.clone();
    secrets.map(version).collect()
}

async fn renew(state: &State, reader: Option<&Mounted>, now: Timestamp) -> Result<Known, Error> {
    let api: Api<Secret> = Api::namespaced(state.client.clone(), &state.namespace);
    let mut current = Vec::new();
    for side in Side::ALL {
        let secret = api.get_opt(side.secret()).await?.ok_or(Error::Missing(side.secret()))?;
        current.push((side, Mounted::read(&secret.data.unwrap_or_default())));
    }
    if api.get_opt(names::COLLECTOR_AUTHORITY).await?.is_none() {
        return Err(Error::Missing(names::COLLECTOR_AUTHORITY));
    }
    let known = current.iter().find_map(|(_, one)| one.as_ref().map(|one| one.issuer.as_str()));
    let namespace = state.namespace.as_str();
    let authority =
        certificates::shared_authority(&state.client, namespace, names::COLLECTOR_AUTHORITY, known, now).await?;
    let authorities = hash(authority.bundle(), 32);
    let are_trusted = mutual_tls::is_trusted_by_nodes(&authorities, &state.node_pods());
    let is_trusted = now.duration_since(authority.made) >= PROPAGATION && are_trusted;
    for (side, current) in current {
        let usage = match side {
            Side::Gateway => Usage::Server,
            // It sends to gateways, and serves its metrics.
            Side::Node => Usage::Both,
        };
        let names = [side.name().to_owned()];
        let next = Mounted::next(current.as_ref(), &authority, is_trusted, &names, usage, now)?;
        if current.as_ref() == Some(&next) {
            continue;
        }
        let data = next.data().into_iter().map(|(key, text)| (key, ByteString(text.into_bytes())));
        let object = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": side.secret(), "namespace": namespace},
            "data": data.collect::<BTreeMap<_, _>>(),
        });
        state.applier.apply(&object).await?;
        tracing::info!(secret = side.secret(), "certificate of collectors renewed");
    }
    let names = [metrics_endpoint::READER_NAME.to_owned()];
    let reader = Mounted::next(reader, &authority, is_trusted, &names, Usage::Client, now)?;
    Ok(Known { seen: now, versions: Vec::new(), authorities, are_trusted, reader })
}
