//! The admission hooks: Sources, Destinations, Actions, Processors, Samplings and pods. Every decision is in `plan::admission`.

use crate::pull_secrets;
use crate::state::State;
use jiff::Timestamp;
use json_patch::Patch;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::admission::{AdmissionRequest, AdmissionResponse};
use odigos_api::action::Action;
use odigos_api::destination::Destination;
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::labels::{CRON_JOB, SECRET_ACCESS, STREAM_CLASS};
use odigos_api::processor::Processor;
use odigos_api::sampling::Sampling;
use odigos_api::source::Source;
use odigos_api::{WorkloadKind, WorkloadRef};
use odigos_kit::webhook::{Handler, Hook};
use odigos_plan::admission::{Review, action, destination, pod, processor, refusal_text, sampling, source};
use odigos_plan::coverage;
use odigos_plan::injection;
use odigos_plan::processors::Permission;
use odigos_plan::workload::{cron_job_that_owns, job_of_unknown_origin, pod_workload};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The hooks by path.
pub(crate) fn all(state: &Arc<State>, namespace: &str) -> Vec<Hook> {
    let hook = |path, handler: fn(&State, &str, &AdmissionRequest<DynamicObject>) -> AdmissionResponse| {
        let (state, namespace) = (state.clone(), namespace.to_owned());
        let handler: Handler = Arc::new(move |request| {
            let response = handler(&state, &namespace, &request);
            Box::pin(std::future::ready(response))
        });
        Hook { path, handler, fails_closed: false }
    };
    vec![
        hook("/default-sources", default_source),
        hook("/validate-sources", validate_source),
        Hook { fails_closed: true, ..hook("/validate-destinations", validate_destination) },
        Hook { path: "/default-destinations", handler: destinations(state, namespace), fails_closed: true },
        hook("/validate-actions", validate_action),
        hook("/validate-processors", validate_processor),
        hook("/validate-samplings", validate_sampling),
        Hook { path: "/label-pods", handler: pods(state), fails_closed: false },
    ]
}

fn destinations(state: &Arc<State>, namespace: &str) -> Handler {
    let (state, namespace) = (state.clone(), namespace.to_owned());
    Arc::new(move |request| {
        let (state, namespace) = (state.clone(), namespace.clone());
        Box::pin(async move { record_access(&state, &namespace, &request).await })
    })
}

/// Records whether the writer of a Destination may read the Secret that it names, in an annotation that nobody else can set.
async fn record_access(state: &State, namespace: &str, request: &AdmissionRequest<DynamicObject>) -> AdmissionResponse {
    let response = AdmissionResponse::from(request);
    let (Some(raw), Some(object)) = (&request.object, read::<Destination>(request.object.as_ref())) else {
        return response.deny("failed to read the Destination");
    };
    let before: Option<Destination> = read(request.old_object.as_ref());
    let secret = destination::secret_to_ask_about(&object, before.as_ref());
    let may_read = match secret {
        Some(name) => match may_read_secret(state, namespace, name, request).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(%error, "failed to create a SubjectAccessReview, access not recorded");
                false
            }
        },
        None => false,
    };
    let recorded = destination::recorded_access(&object, before.as_ref(), may_read);
    let (Ok(before), Ok(mut after)) = (serde_json::to_value(raw), serde_json::to_value(raw)) else {
        return response.deny("failed to read the Destination");
    };
    match (recorded, after["metadata"].get_mut("annotations").and_then(Value::as_object_mut)) {
        (Some(text), _) => after["metadata"]["annotations"][SECRET_ACCESS] = json!(text),
        (None, Some(annotations)) => drop(annotations.remove(SECRET_ACCESS)),
        (None, None) => {}
    }
    let mut response = patched(response, &before, &after);
    if let Some(name) = secret.filter(|_| !may_read) {
        response.warnings = Some(vec![format!(
            "spec.secretRef: you may not read the Secret {name}, so it must be marked for this Destination (odigos destinations mark-secret)"
        )]);
    }
    response
}

/// Asks the API server whether who sent a request may read a Secret.
async fn may_read_secret(
    state: &State,
    namespace: &str,
    name: &str,
    request: &AdmissionRequest<DynamicObject>,
) -> Result<bool, kube::Error> {
    let user = &request.user_info;
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: user.username.clone(),
            groups: user.groups.clone(),
            uid: user.uid.clone(),
            extra: user.extra.clone(),
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(namespace.to_owned()),
                verb: Some("get".into()),
                resource: Some("secrets".into()),
                name: Some(name.to_owned()),
                version: Some("v1".into()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let api: Api<SubjectAccessReview> = Api::all(state.client.0.clone());
    let answer = api.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

fn pods(state: &Arc<State>) -> Handler {
    let state = state.clone();
    Arc::new(move |request| {
        let state = state.clone();
        Box::pin(async move { admit_pod(&state, &request).await })
    })
}

fn read<K: DeserializeOwned>(object: Option<&DynamicObject>) -> Option<K> {
    serde_json::to_value(object?).and_then(serde_json::from_value).ok()
}

/// The object, with the namespace of the request, since it may be absent in the object itself.
fn with_namespace<K: kube::ResourceExt>(mut object: K, request: &AdmissionRequest<DynamicObject>) -> K {
    if object.meta().namespace.is_none() {
        object.meta_mut().namespace = request.namespace.clone();
    }
    object
}

fn default_source(state: &State, _: &str, request: &AdmissionRequest<DynamicObject>) -> AdmissionResponse {
    let response = AdmissionResponse::from(request);
    let (Some(raw), Some(object)) = (&request.object, read::<Source>(request.object.as_ref())) else { return response };
    let object = with_namespace(object, request);
    let others = state.sources.namespace(request.namespace.as_deref().unwrap_or_default());
    let inherits = source::namespace_has_streams(others.iter().map(AsRef::as_ref))
        || state.options.load().scope.opt_out_labels(request.namespace.as_deref().unwrap_or_default()).is_some();
    let defaulted = source::defaulted(&object, inherits);
    // Only labels and finalizers are touched, whatever else the object holds.
    let (Ok(before), Ok(mut after)) = (serde_json::to_value(raw), serde_json::to_value(raw)) else { return response };
    after["metadata"]["labels"] = json!(defaulted.metadata.labels);
    if defaulted.metadata.finalizers != object.metadata.finalizers {
        after["metadata"]["finalizers"] = json!(defaulted.metadata.finalizers);
    }
    patched(response, &before, &after)
}

fn patched(response: AdmissionResponse, before: &Value, after: &Value) -> AdmissionResponse {
    with_patch(response, json_patch::diff(before, after))
}

fn with_patch(response: AdmissionResponse, patch: Patch) -> AdmissionResponse {
    if patch.0.is_empty() {
        return response;
    }
    let unchanged = response.clone();
    response.with_patch(patch).unwrap_or(unchanged)
}

fn validate_source(state: &State, _: &str, request: &AdmissionRequest<DynamicObject>) -> AdmissionResponse {
    let response = AdmissionResponse::from(request);
    let Some(object) = read::<Source>(request.object.as_ref()) else { return response };
    if object.metadata.deletion_timestamp.is_some() {
        return response;
    }
    let object = with_namespace(object, request);
    let before: Option<Source> = read(request.old_object.as_ref());
    let others = state.sources.namespace(request.namespace.as_deref().unwrap_or_default());
    let refusals = source::refusals(&object, before.as_ref(), others.iter().map(AsRef::as_ref));
    if !refusals.is_empty() {
        return response.deny(refusal_text(&refusals));
    }
    let mut response = response;
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let exclusion = coverage::ineffective(&state.options.load().scope, &object);
    let exclusion = exclusion.map(|one| format!("the Source has no effect: {}", one.message(namespace)));
    // What of it concerns the workload is in its status, once the workload is known.
    let remarks = coverage::source_remarks(&object, None).into_iter();
    let warnings: Vec<String> =
        exclusion.into_iter().chain(remarks.map(|(field, message)| format!("{field}: {message}"))).collect();
    response.warnings = (!warnings.is_empty()).then_some(warnings);
    response
}

fn validate_destination(
    state: &State,
    namespace: &str,
    request: &AdmissionRequest<DynamicObject>,
) -> AdmissionResponse {
    let response = AdmissionResponse::from(request);
    let Some(object) = read::<Destination>(request.object.as_ref()) else {
        return response.deny("failed to read the Destination");
    };
    let before: Option<Destination> = read(request.old_object.as_ref());
    let configuration = state.configuration.load();
    let object = with_namespace(object, request);
    with_review(response, destination::review(&object, before.as_ref(), &configuration, namespace))
}

fn validate_processor(state: &State, namespace: &str, request: &AdmissionRequest<DynamicObject>) -> AdmissionResponse {
    let response = AdmissionResponse::from(request);
    let Some(object) = read::<Processor>(request.object.as_ref()) else { return response };
    let before: Option<Processor> = read(request.old_object.as_ref());
    let permission = Permission::of(&state.configuration.load());
    with_review(response, processor::review(&with_namespace(object, request), before.as_ref(), &permission, namespace))
}

fn validate_action(_: &State, namespace: &str, request: &AdmissionRequest<DynamicObject>) -> AdmissionResponse {
    let response = AdmissionResponse::from(request);
    let Some(object) = read::<Action>(request.object.as_ref()) else { return response };
    let before: Option<Action> = read(request.old_object.as_ref());
    with_review(response, action::review(&with_namespace(object, request), before.as_ref(), namespace))
}

fn validate_sampling(_: &State, namespace: &str, request: &AdmissionRequest<DynamicObject>) -> AdmissionResponse {
    let response = AdmissionResponse::from(request);
    let Some(object) = read::<Sampling>(request.object.as_ref()) else { return response };
    let before: Option<Sampling> = read(request.old_object.as_ref());
    with_review(response, sampling::review(&with_namespace(object, request), before.as_ref(), namespace))
}

fn with_review(mut response: AdmissionResponse, review: Review) -> AdmissionResponse {
    if !review.refusals.is_empty() {
        return response.deny(refusal_text(&review.refusals));
    }
    if !review.warnings.is_empty() {
        response.warnings = Some(review.warnings);
    }
    response
}

/// Gives a new pod its agents and copies the stream class of the workload's InstrumentationConfig to it. Everything comes
/// from the stores, unless the pod shows that they lag behind; whatever cannot be read or done is admitted as it is.
async fn admit_pod(state: &State, request: &AdmissionRequest<DynamicObject>) -> AdmissionResponse {
    let response = AdmissionResponse::from(request);
    let Some(raw) = &request.object else { return response };
    let mut metadata = raw.metadata.clone();
    metadata.namespace = metadata.namespace.or_else(|| request.namespace.clone());
    // Nobody but us says so: the Job itself is asked.
    let brought = metadata.annotations.get_or_insert_default().remove(CRON_JOB);
    let cron_job = cron_job(state, &metadata).await;
    if let Some(name) = &cron_job {
        metadata.annotations.get_or_insert_default().insert(CRON_JOB.to_owned(), name.clone());
    }
    let workload = pod_workload(&metadata);
    let mut config =
        workload.as_ref().and_then(|workload| state.configs.get(&workload.namespace, &workload.config_name()));
    if let (Some(workload), Some(known)) = (&workload, &config)
        && pod::is_younger(metadata.annotations.as_ref(), known, Timestamp::now())
    {
        config = newest(state, workload).await.or(config);
    }
    let change = pod::stream_class_change(metadata.labels.as_ref(), config.as_deref());
    if config.is_none() && change == pod::LabelChange::None && brought == cron_job {
        return response;
    }
    let Ok(before) = serde_json::to_value(raw) else { return response };
    let mut after = match (&workload, &config) {
        (Some(workload), Some(config)) => {
            let lacks_pull_secret =
                config.spec.agent_injection_enabled && pull_secrets::lacking(state, workload, PATIENCE).await.is_some();
            with_agents(state, workload, config, &before, lacks_pull_secret)
        }
        _ => before.clone(),
    };
    if brought != cron_job {
        match cron_job {
            Some(name) => after["metadata"]["annotations"][CRON_JOB] = json!(name),
            None => {
                if let Some(annotations) = after.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
                    annotations.remove(CRON_JOB);
                }
            }
        }
    }
    match change {
        pod::LabelChange::None => {}
        pod::LabelChange::Set(class) => after["metadata"]["labels"][STREAM_CLASS] = json!(class),
        pod::LabelChange::Remove => {
            if let Some(labels) = after.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
                labels.remove(STREAM_CLASS);
            }
        }
    }
    let Ok(patch) = serde_json::from_value::<Patch>(injection::patch(&before, &after)) else { return response };
    with_patch(response, patch)
}

/// The CronJob of a pod whose Job a person made from it, where some CronJob of the namespace is covered.
async fn cron_job(state: &State, pod: &ObjectMeta) -> Option<String> {
    let (namespace, job) = (pod.namespace.as_deref()?, job_of_unknown_origin(pod)?);
    let is_cron_job = |config: &InstrumentationConfig| {
        let name = config.metadata.name.as_deref().unwrap_or_default();
        WorkloadRef::from_config_name(namespace, name).is_some_and(|one| one.kind == WorkloadKind::CronJob)
    };
    if !state.configs.namespace(namespace).iter().any(|config| is_cron_job(config)) {
        return None;
    }
    let jobs: Api<Job> = Api::namespaced(state.client.0.clone(), namespace);
    let found = tokio::time::timeout(PATIENCE, jobs.get_metadata(job)).await;
    cron_job_that_owns(&found.ok()?.ok()?.metadata).map(str::to_owned)
}

/// How long a pod may wait for a decision that the store does not hold yet.
const PATIENCE: Duration = Duration::from_millis(500);

/// The decision as the API server holds it; none when it does not say so at once.
async fn newest(state: &State, workload: &WorkloadRef) -> Option<Arc<InstrumentationConfig>> {
    let api: Api<InstrumentationConfig> = Api::namespaced(state.client.0.clone(), &workload.namespace);
    let found = tokio::time::timeout(PATIENCE, api.get_opt(&workload.config_name())).await;
    found.ok()?.ok()?.map(Arc::new)
}

fn with_agents(
    state: &State,
    workload: &WorkloadRef,
    config: &InstrumentationConfig,
    pod: &Value,
    lacks_pull_secret: bool,
) -> Value {
    let namespace = state.namespaces.get("", &workload.namespace);
    let subject = injection::Subject {
        pod,
        workload,
        config,
        level: namespace.map(|one| injection::SecurityLevel::of(one.metadata.labels.as_ref())),
        has_host_path: state.index.have_host_path(workload),
        bounds: injection::Bounds::of(state.limit_ranges.namespace(&workload.namespace).iter().map(AsRef::as_ref)),
        has_prepared_nodes: !state.nodes.is_empty(),
        lacks_pull_secret,
        options: &state.injection.load(),
    };
    match injection::inject(&subject) {
        injection::Outcome::Unchanged => pod.clone(),
        injection::Outcome::Injected(pod) => *pod,
        injection::Outcome::Refused(reason) => {
            tracing::warn!(%workload, reason, "a pod is admitted without its agents");
            pod.clone()
        }
    }
}
