//! Admission reviews over HTTPS: one path for each hook. The server itself is [`crate::https`].

use crate::https::{self, Server};
use crate::tasks::Tasks;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use kube::Client;
use kube::api::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Largest review that is read.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

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
    /// Whether objects are rejected when the handler fails; else they are admitted unchanged.
    pub fails_closed: bool,
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hook").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Starts the server.
///
/// # Errors
/// When the address cannot be bound.
pub async fn start(tasks: &mut Tasks, client: Client, server: Server, hooks: Vec<Hook>) -> std::io::Result<()> {
    https::start(tasks, client, server, router(hooks), None).await
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
    // A panic must not look like a refusal, unless an object that nobody looked at is worse than none.
    match futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe((hook.handler)(request))).await {
        Ok(response) => axum::Json(response.into_review()),
        Err(_) if hook.fails_closed => {
            tracing::error!(path = hook.path, "webhook handler panicked, object rejected");
            axum::Json(fallback.deny("the webhook failed; see the log of odigos-instrumentor").into_review())
        }
        Err(_) => {
            tracing::error!(path = hook.path, "webhook handler panicked, object admitted unchanged");
            fallback.allowed = true;
            axum::Json(fallback.into_review())
        }
    }
}
