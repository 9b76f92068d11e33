//! Certificates by which node collectors and gateways know each other.
//!
//! Owns the data of three Secrets that the chart creates: the authority's, and those that both kinds of collectors mount. Never
//! decides when a certificate is renewed (`kit::certificates`) or used (`plan::mutual_tls`). Never logs a key.

use crate::state::State;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use odigos_api::names;
use odigos_kit::apply::ApplyError;
use odigos_kit::certificates::{self, CertificateError, Mounted, Usage};
use odigos_plan::mutual_tls::{self, Side};
use odigos_plan::objects::hash;
use serde_json::json;
use std::collections::BTreeMap;
use tokio::sync::Mutex;

/// How often the Secrets are looked at; reconciles come with every sign of life of a gateway.
const CHECK: SignedDuration = SignedDuration::from_secs(60);
/// How long a new authority is trusted before it certifies anybody: kubelets bring Secrets within two minutes.
const PROPAGATION: SignedDuration = SignedDuration::from_secs(600);

/// What stands in the Secrets, and when that was seen.
#[derive(Debug, Default)]
pub(crate) struct Certificates(Mutex<Option<(Timestamp, String)>>);

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
        let mut known = self.0.lock().await;
        if let Some((seen, authorities)) = known.as_ref()
            && now.duration_since(*seen).abs() < CHECK
        {
            return Ok(authorities.clone());
        }
        let authorities = renew(state, now).await?;
        *known = Some((now, authorities.clone()));
        Ok(authorities)
    }
}

async fn renew(state: &State, now: Timestamp) -> Result<String, Error> {
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
    let is_trusted = now.duration_since(authority.made) >= PROPAGATION
        && mutual_tls::is_trusted_by_nodes(&authorities, &state.node_pods());
    for (side, current) in current {
        let usage = match side {
            Side::Gateway => Usage::Server,
            Side::Node => Usage::Client,
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
    Ok(authorities)
}
