//! Certificates that renew themselves: a CA in a Secret that all replicas share, leaves in the memory of a server or in Secrets of
//! their own.
//!
//! The CA is valid for a year and replaced after two thirds of it; for the overlap clients trust both. Leaves of servers live for a
//! week in memory only, those that others mount for a month. When to renew is a function of dates.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, PostParams};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Validity of the CA.
pub const CA_VALIDITY: SignedDuration = SignedDuration::from_hours(365 * 24);
/// Validity of a leaf.
pub const LEAF_VALIDITY: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Certificates cannot be made or shared.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Making one failed.
    #[error("a certificate cannot be made")]
    Make(#[from] rcgen::Error),
    /// The Secret cannot be read or written.
    #[error("failed to read or write the Secret {0} with certificates: {1}")]
    Secret(String, #[source] Box<kube::Error>),
    /// The Secret holds something else.
    #[error("the Secret {0} does not hold certificates; delete it, it is made anew")]
    Content(String),
    /// The key cannot be used by the server.
    #[error("the key cannot be used")]
    Key(#[from] rustls::Error),
}

/// Validity of a certificate that is mounted: long enough that nobody notices some days without a control plane.
pub const MOUNTED_VALIDITY: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// It is shown by who listens.
    Server,
    /// It is shown by who connects.
    Client,
    /// It is shown by who does both.
    Both,
}

impl Usage {
    fn purposes(self) -> Vec<ExtendedKeyUsagePurpose> {
        match self {
            Self::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Self::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Self::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        }
    }

    /// Whether a certificate may be used so.
    fn is_of(self, certificate: &str) -> bool {
        let Ok(der) = CertificateDer::from_pem_slice(certificate.as_bytes()) else { return false };
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(&der) else { return false };
        let Ok(Some(stated)) = parsed.extended_key_usage() else { return false };
        self.purposes().iter().all(|purpose| match purpose {
            ExtendedKeyUsagePurpose::ServerAuth => stated.value.server_auth,
            _ => stated.value.client_auth,
        })
    }
}

/// A certificate and what it stands with, as the data of a Secret that pods mount.
#[derive(Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Certificate, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
    /// The authorities that its holder trusts, PEM.
    pub trusted: String,
    /// Certificate of the authority that signed it, PEM.
    pub issuer: String,
    /// When it was made.
    pub made: Timestamp,
}

impl std::fmt::Debug for Mounted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is a secret.
        f.debug_struct("Mounted").field("made", &self.made).finish_non_exhaustive()
    }
}

impl Mounted {
    /// Reads the data of a Secret; none where it holds anything else.
    #[must_use]
    pub fn read(data: &BTreeMap<String, k8s_openapi::ByteString>) -> Option<Self> {
        let text = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
        let (certificate, key) = (text("tls.crt")?, text("tls.key")?);
        CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
        KeyPair::from_pem(&key).ok()?;
        let (trusted, issuer, made) = (text("ca.crt")?, text("issuer.crt")?, text("made")?.parse().ok()?);
        Some(Self { certificate, key, trusted, issuer, made })
    }

    /// The data of its Secret.
    #[must_use]
    pub fn data(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("tls.crt", self.certificate.clone()),
            ("tls.key", self.key.clone()),
            ("ca.crt", self.trusted.clone()),
            ("issuer.crt", self.issuer.clone()),
            ("made", self.made.to_string()),
        ])
    }

    /// What stands in the Secret from now on. Its holders trust a new authority at once, but are certified by it only when everybody
    /// who meets them trusts it (`is_trusted`), or when the certificate would end.
    ///
    /// # Errors
    /// When no certificate can be made.
    pub fn next(
        current: Option<&Self>,
        authority: &Authority,
        is_trusted: bool,
        names: &[String],
        usage: Usage,
        now: Timestamp,
    ) -> Result<Self, CertificateError> {
        if let Some(current) = current {
            let is_of_it = current.issuer == authority.certificate;
            let ends = now.duration_since(current.made) >= MOUNTED_VALIDITY * 9 / 10;
            // Releases before certified some holders for less.
            let is_usable = usage.is_of(&current.certificate);
            let is_due = match is_of_it {
                true => !is_usable || is_due(current.made, MOUNTED_VALIDITY, now),
                false => is_trusted || ends,
            };
            if !is_due {
                return Ok(Self { trusted: authority.bundle(), ..current.clone() });
            }
        }
        Self::issue(authority, names, usage, MOUNTED_VALIDITY, now)
    }

    /// A new one by this authority.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn issue(
        authority: &Authority,
        names: &[String],
        usage: Usage,
        validity: SignedDuration,
        now: Timestamp,
    ) -> Result<Self, CertificateError> {
        let (certificate, key) = authority.sign(names, Some(usage), validity, now)?;
        Ok(Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            trusted: authority.bundle(),
            issuer: authority.certificate.clone(),
            made: now,
        })
    }
}

/// A TLS client that shows a certificate, and talks to servers of the authorities that stand with it.
///
/// # Errors
/// When the certificate or an authority cannot be used.
pub fn client_config(mounted: &Mounted) -> Result<rustls::ClientConfig, CertificateError> {
    let unusable = |error: rustls::pki_types::pem::Error| rustls::Error::General(error.to_string());
    let mut roots = rustls::RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(mounted.trusted.as_bytes()) {
        roots.add(authority.map_err(unusable)?)?;
    }
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(mounted.certificate.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(mounted.key.as_bytes()).map_err(unusable)?;
    let config = rustls::ClientConfig::builder().with_root_certificates(roots);
    Ok(config.with_client_auth_cert(chain.map_err(unusable)?, key)?)
}

/// A certificate authority as text.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority {
    /// Certificate, PEM.
    pub certificate: String,
    key: String,
    /// Certificate of the one before, trusted during the overlap.
    pub previous: Option<String>,
    /// When it was made.
    pub made: Timestamp,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is a secret.
        f.debug_struct("Authority").field("made", &self.made).finish_non_exhaustive()
    }
}

/// Whether something made at `made` with that validity is to be renewed at `now`: after two thirds, or when the clock
/// says that it comes from the future.
#[must_use]
pub fn is_due(made: Timestamp, validity: SignedDuration, now: Timestamp) -> bool {
    let age = now.duration_since(made);
    age < -SignedDuration::from_hours(1) || age >= validity * 2 / 3
}

impl Authority {
    /// A new authority; `previous` stays trusted.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(previous: Option<String>, now: Timestamp) -> Result<Self, CertificateError> {
        let mut parameters = CertificateParams::new(Vec::<String>::new())?;
        parameters.distinguished_name.push(DnType::CommonName, "odigos");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut parameters, now, CA_VALIDITY);
        let key = KeyPair::generate()?;
        let certificate = parameters.self_signed(&key)?;
        Ok(Self { certificate: certificate.pem(), key: key.serialize_pem(), previous, made: now })
    }

    /// What clients must trust, PEM.
    #[must_use]
    pub fn bundle(&self) -> String {
        format!("{}{}", self.certificate, self.previous.as_deref().unwrap_or_default())
    }

    /// A leaf for these names.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn leaf(&self, names: &[String], now: Timestamp) -> Result<CertifiedKey, CertificateError> {
        let (certificate, key) = self.sign(names, None, LEAF_VALIDITY, now)?;
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key =
            PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| rustls::Error::General(error.to_owned()))?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        Ok(CertifiedKey::from_der(chain, key, &provider)?)
    }

    /// A certificate for these names, restricted to a usage if one is stated.
    fn sign(
        &self,
        names: &[String],
        usage: Option<Usage>,
        validity: SignedDuration,
        now: Timestamp,
    ) -> Result<(Certificate, KeyPair), CertificateError> {
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(&self.key)?)?;
        let mut parameters = CertificateParams::new(names.to_vec())?;
        if let Some(usage) = usage {
            parameters.extended_key_usages = usage.purposes();
        }
        set_validity(&mut parameters, now, validity);
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &issuer)?;
        Ok((certificate, key))
    }

    /// Reads its Secret, of that name.
    ///
    /// # Errors
    /// When the Secret holds anything else.
    pub fn read(name: &str, secret: &Secret) -> Result<Self, CertificateError> {
        let data = secret.data.clone().unwrap_or_default();
        let text = |key: &str| data.get(key).and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
        let bad = || CertificateError::Content(name.to_owned());
        let made = text("made").and_then(|made| made.parse().ok()).ok_or_else(bad)?;
        let certificate = text("ca.crt").ok_or_else(bad)?;
        CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|_| bad())?;
        let key = text("ca.key").ok_or_else(bad)?;
        KeyPair::from_pem(&key).map_err(|_| bad())?;
        Ok(Self { certificate, key, previous: text("previous.crt").filter(|text| !text.is_empty()), made })
    }

    fn to_secret(&self, name: &str, namespace: &str, before: Option<&Secret>) -> Secret {
        let mut secret = Secret::default();
        secret.metadata.name = Some(name.to_owned());
        secret.metadata.namespace = Some(namespace.to_owned());
        secret.metadata.resource_version = before.and_then(|before| before.metadata.resource_version.clone());
        secret.string_data = Some(BTreeMap::from([
            ("ca.crt".to_owned(), self.certificate.clone()),
            ("ca.key".to_owned(), self.key.clone()),
            ("previous.crt".to_owned(), self.previous.clone().unwrap_or_default()),
            ("made".to_owned(), self.made.to_string()),
        ]));
        secret
    }
}

/// Until when a certificate is valid; none where the text is no certificate.
#[must_use]
pub fn validity_end(certificate: &str) -> Option<Timestamp> {
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).ok()?;
    Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()
}

fn set_validity(parameters: &mut CertificateParams, now: Timestamp, validity: SignedDuration) {
    // Clocks differ by some minutes between machines.
    let from = now - SignedDuration::from_mins(10);
    let date = |at: Timestamp| {
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        rcgen::date_time_ymd(
            i32::from(date.year()),
            u8::try_from(date.month()).unwrap_or(1),
            u8::try_from(date.day()).unwrap_or(1),
        )
    };
    parameters.not_before = date(from - SignedDuration::from_hours(24));
    parameters.not_after = date(now + validity + SignedDuration::from_hours(24));
}

/// The authority that all replicas share: read from the Secret, made or replaced when it is due. Two replicas that make
/// one at the same time agree on whichever was stored first. `known` is the certificate of the one that leaves were signed with until
/// now: where the Secret was deleted, it stays trusted, as it does when one is replaced.
///
/// # Errors
/// When the Secret cannot be read or written.
pub async fn shared_authority(
    client: &Client,
    namespace: &str,
    name: &str,
    known: Option<&str>,
    now: Timestamp,
) -> Result<Authority, CertificateError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let failed = |error: kube::Error| CertificateError::Secret(name.to_owned(), Box::new(error));
    for _ in 0..5 {
        let stored = api.get_opt(name).await.map_err(failed)?;
        let current = stored.as_ref().map(|secret| Authority::read(name, secret));
        let previous = match current {
            Some(Ok(authority)) if !is_due(authority.made, CA_VALIDITY, now) => return Ok(authority),
            Some(Ok(authority)) => Some(authority.certificate),
            Some(Err(_)) | None => known.map(str::to_owned),
        };
        let fresh = Authority::new(previous, now)?.to_secret(name, namespace, stored.as_ref());
        let written = match &stored {
            Some(_) => {
                // A replace with the read version fails when another replica was first; server-side apply would not.
                #[allow(clippy::disallowed_methods, reason = "optimistic locking needs the version that was read")]
                let replaced = api.replace(name, &PostParams::default(), &fresh).await;
                replaced
            }
            None => api.create(&PostParams::default(), &fresh).await,
        };
        match written {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Err(CertificateError::Content(name.to_owned()))
}

/// Hands the newest leaf to the TLS server.
#[derive(Debug)]
pub struct Resolver(arc_swap::ArcSwapOption<CertifiedKey>);

impl Resolver {
    /// No leaf yet: handshakes fail until there is one.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self(arc_swap::ArcSwapOption::empty()))
    }

    /// Uses this leaf from now on.
    pub fn set(&self, leaf: CertifiedKey) {
        self.0.store(Some(Arc::new(leaf)));
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

/// A bundle as the API server wants it in a webhook configuration.
#[must_use]
pub fn encoded(bundle: &str) -> String {
    STANDARD.encode(bundle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_a_function_of_dates() {
        let at = |hours: i64| Timestamp::from_second(1_800_000_000 + hours * 3600).unwrap();
        let day = SignedDuration::from_hours(24);
        for (now, due) in [(0, false), (15, false), (16, true), (30, true), (-2, true)] {
            assert_eq!(is_due(at(0), day, at(now)), due, "{now}");
        }
    }

    #[test]
    fn mounted_certificate_follows_its_authority_when_everybody_trusts_it() {
        let start = Timestamp::now();
        let days = |days: i64| start + SignedDuration::from_hours(24 * days);
        let next = |current: Option<&Mounted>, authority: &Authority, is_trusted: bool, now: Timestamp| {
            Mounted::next(current, authority, is_trusted, &["gateway".into()], Usage::Server, now).unwrap()
        };
        let old = Authority::new(None, start).unwrap();
        let first = next(None, &old, false, start);
        assert_eq!(next(Some(&first), &old, true, days(19)), first, "it is kept");
        assert_ne!(next(Some(&first), &old, false, days(20)).key, first.key, "and renewed in time");
        let new = Authority::new(Some(old.certificate.clone()), days(1)).unwrap();
        let overlap = next(Some(&first), &new, false, days(1));
        assert_eq!((&overlap.key, overlap.trusted.as_str()), (&first.key, new.bundle().as_str()), "both are trusted");
        let after = next(Some(&overlap), &new, true, days(1));
        assert_eq!(after.issuer, new.certificate);
        let client = Mounted::next(None, &old, true, &["node".into()], Usage::Client, start).unwrap();
        let both = Mounted::next(Some(&client), &old, true, &["node".into()], Usage::Both, start).unwrap();
        assert_ne!(both.key, client.key, "of an older release, for less");
        let kept = Mounted::next(Some(&both), &old, true, &["node".into()], Usage::Both, start).unwrap();
        assert_eq!(kept, both);
        assert_eq!(next(Some(&overlap), &new, false, days(28)).issuer, new.certificate, "rather than ending");
        let data =
            after.data().into_iter().map(|(key, text)| (key.to_owned(), k8s_openapi::ByteString(text.into_bytes())));
        assert_eq!(Mounted::read(&data.collect()), Some(after.clone()));
        assert_eq!(Mounted::read(&BTreeMap::new()), None);
        assert!(!format!("{after:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_leaf_is_trusted_by_the_bundle_also_after_a_renewal() {
        crate::client::install_crypto();
        let now = Timestamp::now();
        let first = Authority::new(None, now).unwrap();
        let second = Authority::new(Some(first.certificate.clone()), now).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(second.bundle().as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        assert_eq!(roots.len(), 2);
        let verifier = rustls::client::WebPkiServerVerifier::builder(Arc::new(roots)).build().unwrap();
        for authority in [&first, &second] {
            let leaf = authority.leaf(&["hook.ns.svc".into()], now).unwrap();
            let name = rustls::pki_types::ServerName::try_from("hook.ns.svc").unwrap();
            let end = leaf.end_entity_cert().unwrap();
            use rustls::client::danger::ServerCertVerifier;
            verifier.verify_server_cert(end, &[], &name, &[], rustls::pki_types::UnixTime::now()).unwrap();
        }
        assert!(!format!("{first:?}").contains("PRIVATE"));
    }
}
