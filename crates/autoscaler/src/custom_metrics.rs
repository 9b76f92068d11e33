//! The aggregated API of custom metrics, where it is wanted: routes, the watch of its APIService, and the HTTPS server.
//!
//! Every replica answers from its stores, at once and without asking a gateway: the value stands in the status of the gateway's
//! group, where the leader writes it after each round. Documents and decisions are in `plan::scaling::custom_metrics`; who may
//! ask is decided by `kit::front_proxy`. Health is reported to everybody, everything else to the API server's front proxy only.

use crate::collectors::Target;
use crate::state::State;
use anyhow::Context;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use jiff::Timestamp;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Client;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::watcher;
use odigos_api::names::AUTOSCALER;
use odigos_kit::front_proxy::{self, FrontProxy, failure};
use odigos_kit::https::{self, Server, TrustedBy};
use odigos_kit::hub;
use odigos_kit::queue::Queue;
use odigos_kit::tasks::Tasks;
use odigos_plan::scaling::custom_metrics::{self, API_SERVICE, Asked, GROUP, VERSION};
use std::net::SocketAddr;
use std::sync::Arc;

/// Secret with the CA of the server.
const SECRET: &str = "odigos-metrics-authority";

/// Whether and where the API is served.
#[derive(clap::Args, Debug)]
pub(crate) struct ApiArguments {
    /// Answer for the cluster's custom metrics API, so that the gateway's HorizontalPodAutoscaler can go by what gateways refuse.
    #[arg(long = "custom-metrics", env = "ODIGOS_CUSTOM_METRICS")]
    pub(crate) enabled: bool,
    /// Address of that API.
    #[arg(long = "custom-metrics-address", env = "ODIGOS_CUSTOM_METRICS_ADDRESS", default_value = "0.0.0.0:9443")]
    address: SocketAddr,
}

/// Watches the APIService and serves, if that is wanted.
pub(crate) async fn start(
    tasks: &mut Tasks,
    client: &Client,
    state: &Arc<State>,
    queue: &Queue<Target>,
    arguments: &ApiArguments,
) -> anyhow::Result<()> {
    let Some(services) = &state.api_services else { return Ok(()) };
    let gateway = queue.clone();
    services.subscribe(move |change| {
        if change.differs(|one| (&one.spec, &one.status)) {
            gateway.add(Target::Gateway);
        }
    });
    let api: Api<DeserializeGuard<APIService>> = Api::all(client.clone());
    let only = watcher::Config::default().any_semantic().fields(&format!("metadata.name={API_SERVICE}"));
    let watch = hub::run(services.clone(), api, only, |_| {}, state.metrics.clone(), tasks.stop());
    tasks.spawn("watch of the APIService", watch);
    let proxy = FrontProxy::follow(tasks, client.clone());
    let service = format!("{AUTOSCALER}.{}.svc", state.namespace);
    let server = Server {
        purpose: "custom metrics",
        address: arguments.address,
        names: vec![service.clone(), format!("{service}.cluster.local")],
        namespace: state.namespace.clone(),
        secret: SECRET,
        trusted_by: vec![TrustedBy::ApiService { name: API_SERVICE, service: AUTOSCALER }],
    };
    https::start(tasks, client.clone(), server, router(state.clone(), proxy.clone()), Some(proxy))
        .await
        .with_context(|| format!("the address {} of the custom metrics API cannot be used", arguments.address))
}

fn router(state: Arc<State>, proxy: Arc<FrontProxy>) -> Router {
    let group = format!("/apis/{GROUP}");
    let version = format!("{group}/{VERSION}");
    let healthy = || get(|| async { "ok" });
    Router::new()
        .route("/apis", get(|| async { Json(custom_metrics::groups()) }))
        .route(&group, get(|| async { Json(custom_metrics::group()) }))
        .route(&version, get(|| async { Json(custom_metrics::resources()) }))
        .route(&format!("{version}/namespaces/{{namespace}}/{{resource}}/{{name}}/{{metric}}"), get(values))
        .route("/openapi/v2", get(|| async { Json(custom_metrics::openapi_v2()) }))
        .route("/openapi/v3", get(|| async { Json(custom_metrics::openapi_v3()) }))
        .fallback(|| async { failure(StatusCode::NOT_FOUND, "NotFound", "there is nothing of that name") })
        .with_state(state)
        .layer(middleware::from_fn_with_state(proxy, front_proxy::require))
        .route("/healthz", healthy())
        .route("/livez", healthy())
        .route("/readyz", healthy())
}

async fn values(
    Shared(state): Shared<Arc<State>>,
    Path((namespace, resource, name, metric)): Path<(String, String, String, String)>,
) -> Response {
    let asked = Asked { namespace: &namespace, resource: &resource, name: &name, metric: &metric };
    let now = Timestamp::now();
    // The main gateways, or those of a dedicated pool.
    let found = state.gateways().iter().find_map(|group| {
        let autoscaler = state.autoscaler(group.metadata.name.as_deref().unwrap_or_default());
        let too_few = group.status.as_ref().and_then(|status| status.gateways_too_few);
        custom_metrics::values(&asked, autoscaler.as_ref(), too_few, now)
    });
    match found {
        Some(values) => Json(values).into_response(),
        None => {
            let message = format!("{resource} {namespace}/{name} has no metric {metric}; only gateways have one");
            failure(StatusCode::NOT_FOUND, "NotFound", &message)
        }
    }
}
