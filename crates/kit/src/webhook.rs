//! The HTTPS server for admission reviews. Certificates renew themselves and the API server is told of each new bundle.

use crate::certificates::{self, LEAF_VALIDITY, Resolver};
use crate::tasks::Tasks;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Largest review that is read.
const BODY_LIMIT: usize = 3 * 1024 * 1024;
/// How often renewal is thought of; on the wall clock, so that it survives a suspended machine.
const RENEWAL_CHECK: Duration = Duration::from_secs(60);

/// API servers hear of another bundle by their watches; all of them within this time.
const PROPAGATION: Duration = Duration::from_secs(10);

/// Answers one kind of review.
pub type Handler = Arc<
    dyn Fn(AdmissionRequest<DynamicObject>) -> Pin<Box<dyn Future<Output = AdmissionResponse> + Send>> + Send + Sync,
>;

/// One hook: a path and what answers there.
#[derive(Clone)]
pub struct Hook {
    /// Path, e.g. `/mutate-pods`.
    pub path: &'static str,
    /// What answers.
    pub handler: Handler,
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hook").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Where the server listens and what its certificates are for.
#[derive(Clone, Debug)]
pub struct Server {
    /// Address to listen on.
    pub address: SocketAddr,
    /// Names in the certificate.
    pub names: Vec<String>,
    /// Namespace of the Secret with the CA.
    pub namespace: String,
    /// Name of that Secret.
    pub secret: &'static str,
    /// Configurations whose `caBundle` is kept up to date, by kind (`MutatingWebhookConfiguration`, …) and name.
    pub configurations: Vec<(&'static str, &'static str)>,
}

/// Starts the server and the renewal of its certificates.
///
/// # Errors
/// When the address cannot be bound.
pub async fn start(tasks: &mut Tasks, client: Client, server: Server, hooks: Vec<Hook>) -> std::io::Result<()> {
    let resolver = Resolver::new();
    let mut config = rustls::ServerConfig::builder().with_no_client_auth().with_cert_resolver(resolver.clone());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind(server.address).await?;
    let router = router(hooks);
    let stop = tasks.stop();
    tasks.spawn("webhook certificates", renew(client, server, resolver, stop.clone()));
    tasks.spawn("webhook server", accept(listener, acceptor, router, stop));
    Ok(())
}

/// The routes of the hooks.
pub fn router(hooks: Vec<Hook>) -> Router {
    let mut router = Router::new();
    for hook in hooks {
        router = router.route(hook.path, post(answer).with_state(hook));
    }
    router.layer(DefaultBodyLimit::max(BODY_LIMIT))
}

async fn answer(
    State(hook): State<Hook>,
    body: axum::Json<AdmissionReview<DynamicObject>>,
) -> axum::Json<AdmissionReview<DynamicObject>> {
    let request: AdmissionRequest<DynamicObject> = match body.0.try_into() {
        Ok(request) => request,
        Err(error) => return axum::Json(AdmissionResponse::invalid(error.to_string()).into_review()),
    };
    let mut fallback = AdmissionResponse::from(&request);
    // A panic must not look like a refusal: users' objects are admitted as they are.
    match futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe((hook.handler)(request))).await {
        Ok(response) => axum::Json(response.into_review()),
        Err(_) => {
            tracing::error!(path = hook.path, "a hook panicked; the object is admitted unchanged");
            fallback.allowed = true;
            axum::Json(fallback.into_review())
        }
    }
}

async fn accept(
    listener: tokio::net::TcpListener,
    acceptor: tokio_rustls::TlsAcceptor,
    router: Router,
    stop: CancellationToken,
) {
    let graceful = hyper_util::server::graceful::GracefulShutdown::new();
    let builder = Arc::new(hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new()));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let Ok((stream, _)) = stream else { continue };
        let (acceptor, router, builder, watcher) =
            (acceptor.clone(), router.clone(), builder.clone(), graceful.watcher());
        connections.spawn(async move {
            let handshake = tokio::time::timeout(Duration::from_secs(10), acceptor.accept(stream)).await;
            let Ok(Ok(stream)) = handshake else { return };
            let service = hyper_util::service::TowerToHyperService::new(router);
            let connection = builder.serve_connection(hyper_util::rt::TokioIo::new(stream), service).into_owned();
            let _ = watcher.watch(connection).await;
        });
    }
    let _ = tokio::time::timeout(Duration::from_secs(5), graceful.shutdown()).await;
}

/// The leaf that is served.
struct Served {
    /// Certificate of the authority that signed it.
    authority: String,
    made: Timestamp,
}

/// Keeps the leaf fresh and the API server's idea of the CA right.
///
/// A leaf of another authority is served only after the API server was told to trust it: a review that fails for its certificate is
/// a pod without its agents.
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
                            tracing::info!("webhook certificate renewed");
                        }
                        Err(error) => tracing::error!(%error, "the webhook certificate cannot be made"),
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the webhook authority is not there yet");
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

/// Writes the bundle into every named configuration that has another one.
async fn trust(client: &Client, server: &Server, bundle: &str) -> Told {
    let encoded = certificates::encoded(bundle);
    let mut told = Told::All;
    for (kind, name) in &server.configurations {
        let gvk = kube::core::GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &kube::core::ApiResource::from_gvk(&gvk));
        let found = match api.get_opt(name).await {
            Ok(Some(found)) => found,
            Ok(None) => {
                told = if told == Told::Failed { told } else { Told::Present };
                continue;
            }
            Err(error) => {
                tracing::warn!(%error, kind, name, "the webhook configuration cannot be read");
                told = Told::Failed;
                continue;
            }
        };
        let hooks = found.data.get("webhooks").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
        let stale = |hook: &serde_json::Value| {
            hook.pointer("/clientConfig/caBundle").and_then(serde_json::Value::as_str) != Some(&encoded)
        };
        let operations: Vec<serde_json::Value> = hooks
            .iter()
            .enumerate()
            .filter(|(_, hook)| stale(hook))
            .map(|(position, _)| serde_json::json!({"op": "add", "path": format!("/webhooks/{position}/clientConfig/caBundle"), "value": encoded}))
            .collect();
        if operations.is_empty() {
            continue;
        }
        let patch = serde_json::from_value(serde_json::Value::Array(operations)).map(Patch::Json::<()>);
        let Ok(patch) = patch else { continue };
        if let Err(error) = api.patch(name, &PatchParams::default(), &patch).await {
            tracing::warn!(%error, kind, name, "the webhook configuration cannot be told of the new authority");
            told = Told::Failed;
        }
    }
    told
}
