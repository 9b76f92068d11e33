//! An HTTPS server that API servers call. Certificates renew themselves, and whoever must trust them is notified of each new bundle.
//!
//! Owns the leaf that is served, and `caBundle` of the objects that [`TrustedBy`] names. Never decides who may
//! call what: [`crate::front_proxy`] does.

mod listener;

use crate::certificates::{self, LEAF_VALIDITY, Resolver};
use crate::front_proxy::FrontProxy;
use crate::tasks::Tasks;
use axum::Router;
use jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often renewal is thought of; on the wall clock, so that it survives a suspended machine.
const RENEWAL_CHECK: Duration = Duration::from_secs(60);

/// API servers hear of another bundle by their watches; all of them within this time.
const PROPAGATION: Duration = Duration::from_secs(10);

/// Where the server listens and what its certificates are for.
#[derive(Clone, Debug)]
pub struct Server {
    /// What it is for, in logs: `webhook`, …
    pub purpose: &'static str,
    /// Address to listen on.
    pub address: SocketAddr,
    /// Names in the certificate.
    pub names: Vec<String>,
    /// Namespace of the Secret with the CA.
    pub namespace: String,
    /// Name of that Secret.
    pub secret: &'static str,
    /// Objects whose `caBundle` is kept up to date.
    pub trusted_by: Vec<TrustedBy>,
}

/// An object by which API servers learn which authority to trust.
#[derive(Clone, Debug)]
pub enum TrustedBy {
    /// A configuration of webhooks, all of whose hooks are ours.
    Webhooks {
        /// `MutatingWebhookConfiguration` or `ValidatingWebhookConfiguration`.
        kind: &'static str,
        /// Its name.
        name: &'static str,
    },
    /// An APIService while it points to this Service in the server's namespace; another's is left alone.
    ApiService {
        /// Its name, `<version>.<group>`.
        name: &'static str,
        /// Name of the Service.
        service: &'static str,
    },
}

impl TrustedBy {
    fn kind(&self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Webhooks { kind, name } => ("admissionregistration.k8s.io", kind, name),
            Self::ApiService { name, .. } => ("apiregistration.k8s.io", "APIService", name),
        }
    }

    /// The operations of a JSON patch that bring the bundle in; none when it stands already, or when the object is another's.
    fn operations(&self, found: &Value, namespace: &str, bundle: &str) -> Vec<Value> {
        let is_stale = |at: &Value, pointer: &str| at.pointer(pointer).and_then(Value::as_str) != Some(bundle);
        match self {
            Self::Webhooks { .. } => {
                let hooks = found.get("webhooks").and_then(Value::as_array).into_iter().flatten().enumerate();
                let stale = hooks.filter(|(_, hook)| is_stale(hook, "/clientConfig/caBundle"));
                let path = |position| format!("/webhooks/{position}/clientConfig/caBundle");
                stale.map(|(position, _)| json!({"op": "add", "path": path(position), "value": bundle})).collect()
            }
            Self::ApiService { service, .. } => {
                let (name, space) = ("/spec/service/name", "/spec/service/namespace");
                let is = |pointer: &str, wanted: &str| found.pointer(pointer).is_some_and(|found| found == wanted);
                if !is(name, service) || !is(space, namespace) || !is_stale(found, "/spec/caBundle") {
                    return Vec::new();
                }
                // It may become another's at any moment; then the whole patch is refused.
                vec![
                    json!({"op": "test", "path": name, "value": service}),
                    json!({"op": "test", "path": space, "value": namespace}),
                    json!({"op": "add", "path": "/spec/caBundle", "value": bundle}),
                ]
            }
        }
    }
}

/// Starts the server and the renewal of its certificates. With a front proxy, connections may bring the proxy's certificate, and
/// requests know whose it is ([`PeerName`]).
///
/// # Errors
/// When the address cannot be bound.
pub async fn start(
    tasks: &mut Tasks,
    client: Client,
    server: Server,
    router: Router,
    proxy: Option<Arc<FrontProxy>>,
) -> std::io::Result<()> {
    let resolver = Resolver::new();
    let config = rustls::ServerConfig::builder();
    let config = match proxy {
        Some(proxy) => config.with_client_cert_verifier(proxy),
        None => config.with_no_client_auth(),
    };
    let mut config = config.with_cert_resolver(resolver.clone());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind(server.address).await?;
    let (stop, purpose) = (tasks.stop(), server.purpose);
    tasks.spawn("certificates", renew(client, server, resolver, stop.clone()));
    tasks.spawn("HTTPS server", listener::accept(purpose, listener, acceptor, router, stop));
    Ok(())
}

/// The leaf that is served.
struct Served {
    /// Certificate of the authority that signed it.
    authority: String,
    made: Timestamp,
}

/// Keeps the leaf fresh and the API server's idea of the CA right.
///
/// A leaf of another authority is served only after the API server was told to trust it: a request that fails for its certificate
/// is e.g. a pod without its agents.
async fn renew(client: Client, server: Server, resolver: Arc<Resolver>, stop: CancellationToken) {
    let mut served: Option<Served> = None;
    loop {
        let mut pause = RENEWAL_CHECK;
        let now = Timestamp::now();
        let known = served.as_ref().map(|one| one.authority.as_str());
        match certificates::shared_authority(&client, &server.namespace, server.secret, known, now).await {
            Ok(authority) => {
                let told = trust(&client, &server, &authority.bundle()).await;
                if told != Told::All {
                    pause = Duration::from_secs(2);
                }
                let is_trusted = told != Told::Failed;
                let is_another = known.is_some_and(|known| known != authority.certificate);
                let is_due = served.as_ref().is_none_or(|one| certificates::is_due(one.made, LEAF_VALIDITY, now));
                if is_another && is_trusted {
                    tokio::select! {
                        () = tokio::time::sleep(PROPAGATION) => {}
                        () = stop.cancelled() => return,
                    }
                }
                let is_renewed = if is_another { is_trusted } else { is_due };
                if is_renewed {
                    match authority.leaf(&server.names, now) {
                        Ok(leaf) => {
                            resolver.set(leaf);
                            served = Some(Served { authority: authority.certificate, made: now });
                            tracing::info!("{} certificate renewed", server.purpose);
                        }
                        Err(error) => tracing::error!(%error, "the {} certificate cannot be made", server.purpose),
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the {} authority is not there yet", server.purpose);
                pause = Duration::from_secs(2);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Who was told of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Every configuration has it.
    All,
    /// Every one that is there.
    Present,
    /// Some could not be told.
    Failed,
}

/// Writes the bundle into every named object that has another one.
async fn trust(client: &Client, server: &Server, bundle: &str) -> Told {
    let encoded = certificates::encoded(bundle);
    let mut told = Told::All;
    for one in &server.trusted_by {
        let (group, kind, name) = one.kind();
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let found = match api.get_opt(name).await {
            Ok(Some(found)) => found,
            Ok(None) => {
                told = if told == Told::Failed { told } else { Told::Present };
                continue;
            }
            Err(error) => {
                tracing::warn!(%error, kind, name, "failed to read who is to trust the authority");
                told = Told::Failed;
                continue;
            }
        };
        let operations = one.operations(&found.data, &server.namespace, &encoded);
        if operations.is_empty() {
            continue;
        }
        let patch = serde_json::from_value(Value::Array(operations)).map(Patch::Json::<()>);
        let Ok(patch) = patch else { continue };
        if let Err(error) = api.patch(name, &PatchParams::default(), &patch).await {
            tracing::warn!(%error, kind, name, "who is to trust the new authority cannot be told");
            told = Told::Failed;
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stale_bundles_of_our_own_are_written() {
        let hooks = TrustedBy::Webhooks { kind: "MutatingWebhookConfiguration", name: "x" };
        let found = json!({"webhooks": [{"clientConfig": {"caBundle": "new"}}, {"clientConfig": {}}]});
        let operations = hooks.operations(&found, "ns", "new");
        assert_eq!(operations, [json!({"op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": "new"})]);

        let service = TrustedBy::ApiService { name: "v1.example", service: "answers" };
        let of = |name: &str, bundle: &str| {
            let found = json!({"spec": {"service": {"name": name, "namespace": "ns"}, "caBundle": bundle}});
            service.operations(&found, "ns", "new").len()
        };
        assert_eq!((of("answers", "old"), of("answers", "new"), of("another", "old")), (3, 0, 0));
        assert!(
            service.operations(&json!({"spec": {}}), "ns", "new").is_empty(),
            "one that the API server answers itself"
        );
    }
}
