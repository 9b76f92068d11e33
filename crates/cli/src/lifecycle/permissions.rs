//! May the caller do all that an installation needs? Asked of the API server, verb by verb.

use super::cluster::{Cluster, Reference};
use super::report::{Check, names};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::{Api, PostParams};
use serde_json::Value;
use std::collections::BTreeSet;

/// Questions at a time.
const AT_ONCE: usize = 8;

/// What is asked: group, resource, namespace, verb.
type Question = (String, String, String, &'static str);

/// Every verb that applying these objects, and taking them away again, needs.
fn questions(objects: &[Value], namespace: &str) -> BTreeSet<Question> {
    let mut asked = BTreeSet::new();
    let mut ask = |reference: &Reference| {
        for verb in ["get", "create", "patch", "delete"] {
            let group = reference.group().to_owned();
            asked.insert((group, reference.resource().plural, reference.namespace.clone(), verb));
        }
    };
    ask(&Reference::new("v1", "Namespace", "", namespace));
    ask(&super::record::Record::reference(namespace));
    objects.iter().for_each(|object| ask(&Reference::of(object)));
    // What is installed already, whether it becomes ready, and why not.
    let listed = [
        ("apps", "deployments", ""),
        ("", "pods", namespace),
        ("", "configmaps", ""),
        (odigos_api::GROUP, "sources", ""),
    ];
    for (group, resource, namespace) in listed {
        asked.insert((group.to_owned(), resource.to_owned(), namespace.to_owned(), "list"));
    }
    asked
}

/// Checks every permission; one line for all that are missing.
pub(super) async fn check(cluster: &Cluster, objects: &[Value], namespace: &str) -> anyhow::Result<Check> {
    let questions = questions(objects, namespace);
    let count = questions.len();
    let answers: Vec<Option<String>> = futures::stream::iter(questions)
        .map(|question| async move { missing(cluster, question).await })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let mut missing: Vec<String> = answers.into_iter().flatten().collect();
    missing.sort();
    if missing.is_empty()
        && let Some(refused) = escalation(cluster, objects).await?
    {
        return Ok(Check::error(
            "permissions",
            refused,
            "ask for a role that holds these permissions itself, or the verb escalate on roles",
        ));
    }
    Ok(match missing.as_slice() {
        [] => Check::ok("permissions", format!("all {count} that are needed")),
        missing => Check::error("permissions", format!("missing: {}", all(missing)), "use an account that has them"),
    })
}

/// Every missing permission is named: somebody has to grant them.
fn all(missing: &[String]) -> String {
    if missing.len() <= 60 { missing.join(", ") } else { names(missing) }
}

async fn missing(cluster: &Cluster, question: Question) -> anyhow::Result<Option<String>> {
    let (group, resource, namespace, verb) = question;
    let set = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: set(&group),
                resource: set(&resource),
                namespace: set(&namespace),
                verb: set(verb),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let answer = api.create(&PostParams::default(), &review).await?;
    let allowed = answer.status.is_some_and(|status| status.allowed);
    let kind = if group.is_empty() { resource } else { format!("{resource}.{group}") };
    let place = if namespace.is_empty() { String::new() } else { format!(" in {namespace}") };
    Ok((!allowed).then(|| format!("{verb} {kind}{place}")))
}

/// Nobody may grant what they do not have: the API server says so when roles are applied without being stored.
async fn escalation(cluster: &Cluster, objects: &[Value]) -> anyhow::Result<Option<String>> {
    for object in objects.iter().filter(|object| object["kind"] == "ClusterRole") {
        match cluster.apply(object, true).await {
            Ok(_) => {}
            Err(error) => match error.downcast_ref::<kube::Error>() {
                Some(kube::Error::Api(status)) if status.code == 403 => return Ok(Some(status.message.clone())),
                _ => return Err(error),
            },
        }
    }
    Ok(None)
}
