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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something unexpected happens")]

    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::{Request, StatusCode};
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use tower::ServiceExt;

    fn review() -> Value {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "cart", "namespace": "shop", "labels": {"a": "b"}},
            "spec": {"containers": [{"name": "app", "image": "cart:1"}]},
        });
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "shop", "userInfo": {"username": "someone"}, "dryRun": false, "object": pod,
        }})
    }

    /// A hook that panics on objects without a `spec`, and answers all others.
    fn hook() -> Hook {
        let handler: Handler = Arc::new(|request: AdmissionRequest<DynamicObject>| {
            let is_complete = request.object.as_ref().is_some_and(|object| object.data.get("spec").is_some());
            Box::pin(async move {
                if !is_complete {
                    panic!("no spec");
                }
                AdmissionResponse::from(&request)
            })
        });
        Hook { path: "/mutate", handler, fails_closed: false }
    }

    async fn post(body: Vec<u8>) -> (StatusCode, Vec<u8>) {
        let request =
            Request::post("/mutate").header("content-type", "application/json").body(Body::from(body)).unwrap();
        let response = router(vec![hook()]).oneshot(request).await.unwrap();
        let status = response.status();
        (status, to_bytes(response.into_body(), BODY_LIMIT).await.unwrap().to_vec())
    }

    fn answer_to(body: Vec<u8>) -> (StatusCode, Vec<u8>) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(post(body))
    }

    /// Every value of a review, by its pointer.
    fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| pointers(value, &format!("{at}/{key}"), found)),
            Value::Array(list) => {
                list.iter().enumerate().for_each(|(index, value)| pointers(value, &format!("{at}/{index}"), found));
            }
            _ => {}
        }
    }

    fn odd() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,40}".prop_map(Value::from),
            Just(json!([])),
            Just(json!({})),
            Just(json!([[[[{"a": null}]]]])),
            Just(json!("x".repeat(100_000))),
            Just(json!("../../etc/passwd\u{0}${env:HOME}")),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever stands in a review: no object is refused for it, and no request goes without an answer.
        #[test]
        fn damaged_review_never_refuses_an_object(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), odd()), 0..4),
        ) {
            let mut review = review();
            for (index, value) in changes {
                let mut all = Vec::new();
                pointers(&review, "", &mut all);
                if let Some(place) = review.pointer_mut(&all[index.index(all.len())]) {
                    *place = value;
                }
            }
            let (status, body) = answer_to(serde_json::to_vec(&review).unwrap());
            if status == StatusCode::OK {
                let answer: Value = serde_json::from_slice(&body).unwrap();
                let is_readable = review.pointer("/request/uid").is_some_and(Value::is_string);
                prop_assert!(answer["response"]["allowed"] == true || !is_readable, "{}", answer);
            } else {
                // The API server takes any other status as a failed call, and `failurePolicy: Ignore` admits.
                prop_assert!(status.is_client_error(), "{}", status);
            }
        }

        #[test]
        fn any_bytes_get_an_answer(body in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let (status, _) = answer_to(body);
            prop_assert!(status.is_client_error());
        }
    }

    #[test]
    fn panic_of_a_hook_admits_the_object() {
        let mut review = review();
        review["request"]["object"]["spec"].take();
        review["request"]["object"].as_object_mut().unwrap().remove("spec");
        let (status, body) = answer_to(serde_json::to_vec(&review).unwrap());
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, &answer["response"]["allowed"]), (StatusCode::OK, &json!(true)));
    }

    #[test]
    fn review_beyond_the_limit_is_not_read() {
        let (status, _) = answer_to(vec![b' '; BODY_LIMIT + 1]);
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    }
}
