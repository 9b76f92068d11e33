//! Who may call an aggregated API: the front proxy of the cluster's API server, and nobody else.
//!
//! Owns what the API server says of its proxy (ConfigMap `kube-system/extension-apiserver-authentication`), the check of the
//! client certificate in the handshake, and of its name and the user's headers in each request. Never asks what the user may
//! do: the API server has authorised the request before it hands it on, and it alone holds a certificate of that authority.

use crate::tasks::Tasks;
use arc_swap::ArcSwapOption;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::Api;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Where the API server says how its front proxy shows itself.
const NAMESPACE: &str = "kube-system";
const CONFIG_MAP: &str = "extension-apiserver-authentication";
/// How often it is read again: authorities change rarely, and the old one stays trusted meanwhile.
const RENEWAL_CHECK: Duration = Duration::from_secs(60);
/// The same until it could be read.
const FIRST_CHECK: Duration = Duration::from_secs(2);

/// What the API server says of its front proxy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FrontProxyError {
    /// The API server has no front proxy.
    #[error(
        "the ConfigMap kube-system/extension-apiserver-authentication has no requestheader-client-ca-file: the API server runs without --requestheader-client-ca-file, so it hands no request on"
    )]
    None,
    /// Its authority is no certificate.
    #[error(
        "requestheader-client-ca-file of the ConfigMap kube-system/extension-apiserver-authentication holds no certificate: {0}"
    )]
    Authority(String),
    /// The ConfigMap cannot be read.
    #[error(
        "failed to read the ConfigMap kube-system/extension-apiserver-authentication, which the role extension-apiserver-authentication-reader allows: {0}"
    )]
    Read(#[from] kube::Error),
}

/// How the front proxy shows itself.
#[derive(Debug)]
struct Terms {
    /// The authority's text, to notice another one.
    authority: String,
    verifier: Arc<dyn ClientCertVerifier>,
    /// Common names that its certificate may have; any when there is none.
    names: Vec<String>,
    /// Headers of which the first that is there names the user.
    user_headers: Vec<String>,
}

impl Terms {
    fn read(map: &ConfigMap) -> Result<Self, FrontProxyError> {
        let data = map.data.as_ref();
        let text = |key: &str| data.and_then(|data| data.get(key)).map(String::as_str).unwrap_or_default();
        let list = |key: &str| serde_json::from_str::<Vec<String>>(text(key)).unwrap_or_default();
        let authority = text("requestheader-client-ca-file");
        if authority.trim().is_empty() {
            return Err(FrontProxyError::None);
        }
        let broken = |error: &dyn std::fmt::Display| FrontProxyError::Authority(error.to_string());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
            let certificate = certificate.map_err(|error| broken(&error))?;
            roots.add(certificate).map_err(|error| broken(&error))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider()))
            .build()
            .map_err(|error| broken(&error))?;
        Ok(Self {
            authority: authority.to_owned(),
            verifier,
            names: list("requestheader-allowed-names"),
            user_headers: list("requestheader-username-headers"),
        })
    }

    fn same(&self, other: &Self) -> bool {
        let all = |terms: &Self| (terms.authority.clone(), terms.names.clone(), terms.user_headers.clone());
        all(self) == all(other)
    }
}

fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

/// The front proxy as it is known now. Before anything is known, every certificate is refused.
#[derive(Debug)]
pub struct FrontProxy {
    terms: ArcSwapOption<Terms>,
    provider: CryptoProvider,
}

/// Common name of the certificate that a connection brought and that the front proxy's authority has signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerName(Option<Arc<str>>);

impl PeerName {
    /// The name in the first certificate of a verified chain.
    #[must_use]
    pub fn of(chain: Option<&[CertificateDer<'_>]>) -> Self {
        let Some(first) = chain.and_then(<[_]>::first) else { return Self(None) };
        let Ok((_, certificate)) = x509_parser::parse_x509_certificate(first) else { return Self(None) };
        let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        // A certificate without a name was verified all the same.
        Self(Some(name.unwrap_or_default().into()))
    }
}

impl FrontProxy {
    /// Keeps up to date what the API server says of its front proxy.
    pub fn follow(tasks: &mut Tasks, client: Client) -> Arc<Self> {
        let proxy = Arc::new(Self { terms: ArcSwapOption::empty(), provider: provider() });
        tasks.spawn("front proxy", proxy.clone().keep(client, tasks.stop()));
        proxy
    }

    async fn keep(self: Arc<Self>, client: Client, stop: CancellationToken) {
        let api: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
        let mut complained = false;
        loop {
            let read = match api.get(CONFIG_MAP).await {
                Ok(map) => Terms::read(&map),
                Err(error) => Err(error.into()),
            };
            match read {
                Ok(terms) => {
                    complained = false;
                    if !self.terms.load().as_ref().is_some_and(|known| known.same(&terms)) {
                        tracing::info!(names = ?terms.names, "the front proxy of the API server is known");
                        self.terms.store(Some(Arc::new(terms)));
                    }
                }
                Err(error) if !complained => {
                    tracing::warn!(%error, "who may call the aggregated API is not known; what was known stays so");
                    complained = true;
                }
                Err(_) => {}
            }
            let pause = if self.terms.load().is_some() { RENEWAL_CHECK } else { FIRST_CHECK };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Why a request is not the front proxy's; none if it is.
    fn refuses(&self, peer: &PeerName, header: impl Fn(&str) -> bool) -> Option<&'static str> {
        let known = self.terms.load();
        let (Some(terms), Some(name)) = (known.as_deref(), peer.0.as_deref()) else {
            return Some("only the API server's front proxy may ask, with its client certificate");
        };
        if !terms.names.is_empty() && !terms.names.iter().any(|allowed| allowed == name) {
            return Some("the client certificate's name is not among requestheader-allowed-names");
        }
        let names_a_user = terms.user_headers.iter().any(|name| header(name));
        (!names_a_user).then_some("the request does not say for which user the front proxy asks")
    }
}

/// Lets only requests of the front proxy through; others are answered 401.
pub async fn require(State(proxy): State<Arc<FrontProxy>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<PeerName>().cloned().unwrap_or_default();
    let has = |name: &str| request.headers().get(name).is_some_and(|value| !value.is_empty());
    match proxy.refuses(&peer, has) {
        None => next.run(request).await,
        Some(why) => {
            tracing::debug!(why, path = request.uri().path(), "a request is refused");
            failure(StatusCode::UNAUTHORIZED, "Unauthorized", why)
        }
    }
}

/// A failure as API servers tell it.
pub fn failure(code: StatusCode, reason: &str, message: &str) -> Response {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "code": code.as_u16(), "reason": reason, "message": message,
    });
    (code, Json(status)).into_response()
}

impl ClientCertVerifier for FrontProxy {
    fn client_auth_mandatory(&self) -> bool {
        // Probes come without; requests without are answered 401.
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match self.terms.load().as_deref() {
            Some(terms) => terms.verifier.verify_client_cert(end, intermediates, now),
            None => Err(rustls::Error::General("the front proxy is not known yet".into())),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::Authority;
    use jiff::Timestamp;
    use std::collections::BTreeMap;

    fn map(authority: &str, names: &str) -> ConfigMap {
        let data = BTreeMap::from([
            ("requestheader-client-ca-file".to_owned(), authority.to_owned()),
            ("requestheader-allowed-names".to_owned(), names.to_owned()),
            ("requestheader-username-headers".to_owned(), r#"["X-Remote-User"]"#.to_owned()),
        ]);
        ConfigMap { data: Some(data), ..ConfigMap::default() }
    }

    fn proxy(terms: Option<Terms>) -> FrontProxy {
        FrontProxy { terms: ArcSwapOption::from(terms.map(Arc::new)), provider: provider() }
    }

    #[test]
    fn only_certificates_of_the_front_proxys_authority_are_taken() {
        crate::client::install_crypto();
        let now = Timestamp::now();
        let (ours, another) = (Authority::new(None, now).unwrap(), Authority::new(None, now).unwrap());
        let known = proxy(Some(Terms::read(&map(&ours.certificate, "[]")).unwrap()));
        let verify = |by: &FrontProxy, authority: &Authority| {
            let leaf = authority.leaf(&["proxy".into()], now).unwrap();
            by.verify_client_cert(leaf.end_entity_cert().unwrap(), &[], UnixTime::now()).is_ok()
        };
        assert!(verify(&known, &ours) && !verify(&known, &another));
        assert!(!verify(&proxy(None), &ours), "nobody is trusted before anything is known");
    }

    #[test]
    fn a_request_needs_the_certificate_its_name_and_a_user() {
        crate::client::install_crypto();
        let authority = Authority::new(None, Timestamp::now()).unwrap().certificate;
        let one = proxy(Some(Terms::read(&map(&authority, r#"["front-proxy-client"]"#)).unwrap()));
        let named = |name: &str| PeerName(Some(name.into()));
        let with_user = |name: &str| name == "X-Remote-User";
        assert_eq!(one.refuses(&named("front-proxy-client"), with_user), None);
        assert!(one.refuses(&named("somebody"), with_user).unwrap().contains("allowed-names"));
        assert!(one.refuses(&named("front-proxy-client"), |_| false).unwrap().contains("which user"));
        assert!(one.refuses(&PeerName(None), with_user).unwrap().contains("client certificate"));
        assert!(proxy(None).refuses(&named("front-proxy-client"), with_user).is_some());
        let any = proxy(Some(Terms::read(&map(&authority, "[]")).unwrap()));
        assert_eq!(any.refuses(&named("somebody"), with_user), None);
    }

    #[test]
    fn an_api_server_without_a_front_proxy_is_told_of() {
        let none = Terms::read(&ConfigMap::default()).unwrap_err().to_string();
        assert!(none.contains("--requestheader-client-ca-file"), "{none}");
        let broken = Terms::read(&map("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "[]"));
        assert!(broken.unwrap_err().to_string().contains("holds no certificate"));
    }
}
