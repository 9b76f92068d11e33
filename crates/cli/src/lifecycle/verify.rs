//! After uninstalling: is everything gone that must be? One check for each line of the acceptance list
//! (`spec/ui-and-cli.md` 11). Reads the cluster anew; trusts nothing that was done before.

use super::cluster::{Cluster, Reference, Where, text};
use super::record::Record;
use super::remove::{Home, Removal};
use super::report::Check;
use super::{DISABLED_BY_UNINSTALL, MADE_NAMESPACE, PREFIX, api_services, traces, uninstrument, user};
use odigos_api::{API_VERSION, GROUP};
use serde_json::Value;

/// Again is always safe.
const AGAIN: &str = "run the same command again";
/// Workloads whose pod templates may have been changed.
const WORKLOADS: [(&str, &str); 4] =
    [("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("apps/v1", "DaemonSet"), ("batch/v1", "CronJob")];

/// Every check.
pub(super) async fn run(removal: &Removal<'_>) -> anyhow::Result<Vec<Check>> {
    let cluster = removal.cluster;
    Ok(vec![
        kinds(removal).await?,
        admission(cluster, removal.namespace).await?,
        pods(removal).await?,
        namespace(removal).await?,
        nodes(cluster).await?,
        marks(removal).await?,
        files(removal),
        permissions(removal).await?,
        workloads(cluster).await?,
        sources(cluster).await?,
        finalizers(cluster).await?,
    ])
}

/// Nodes cannot be looked at from here; what counts is what their agents said.
fn files(removal: &Removal<'_>) -> Check {
    const CHECK: &str = "files on nodes";
    match removal.nodes.get() {
        Some(seen) if seen.done >= seen.all => Check::ok(
            CHECK,
            format!("{} nodes say that they are clean; their empty folder /var/odigos stays", seen.all),
        ),
        Some(seen) => Check::warning(
            CHECK,
            format!("{} of {} nodes did not say that they are clean", seen.all - seen.done, seen.all),
            "remove /var/odigos there by hand",
        ),
        None => Check::skipped(CHECK, "no agent ran that could tell; /var/odigos may be on nodes where one did before"),
    }
}

fn titles<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
    objects.into_iter().map(|object| Reference::of(object).to_string()).collect()
}

async fn kinds(removal: &Removal<'_>) -> anyhow::Result<Check> {
    let check = "kinds and derived objects";
    let mut left: Vec<String> = removal.derived_objects().await?.iter().map(ToString::to_string).collect();
    let crds = removal.crds().await?;
    if removal.purge {
        for crd in &crds {
            let terminating = cluster_condition(removal.cluster, crd).await?;
            left.push(format!("{crd}{terminating}"));
        }
        let advice =
            "objects with finalizers of others hold their kind; see their finalizers, then run the same command again";
        return Ok(Check::nothing_left(check, &left, advice));
    }
    let kept = user::objects(removal.cluster).await?.len();
    Ok(match left.as_slice() {
        [] => {
            Check::ok(check, format!("{} kinds and {kept} objects of users are kept; --purge removes them", crds.len()))
        }
        left => Check::nothing_left(check, left, AGAIN),
    })
}

/// Why a kind is still there.
async fn cluster_condition(cluster: &Cluster, crd: &Reference) -> anyhow::Result<String> {
    let live = cluster.get(crd).await?;
    let conditions = live.as_ref().and_then(|live| live.pointer("/status/conditions")).and_then(Value::as_array);
    let terminating = conditions.into_iter().flatten().find(|one| text(one, "/type") == "Terminating");
    Ok(terminating.map(|one| format!(" ({})", text(one, "/message"))).unwrap_or_default())
}

async fn admission(cluster: &Cluster, namespace: &str) -> anyhow::Result<Check> {
    let mut left = Vec::new();
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        let all = cluster.list("admissionregistration.k8s.io/v1", kind, Where::default()).await?;
        left.extend(titles(all.iter().filter(|configuration| {
            let hooks = configuration.pointer("/webhooks").and_then(Value::as_array);
            hooks.into_iter().flatten().any(|hook| {
                text(hook, "/clientConfig/service/namespace") == namespace
                    && text(hook, "/name").ends_with(&format!(".{GROUP}"))
            })
        })));
    }
    left.extend(api_services::ours(cluster, namespace).await?.iter().map(ToString::to_string));
    Ok(Check::nothing_left("admission and API services", &left, AGAIN))
}

async fn pods(removal: &Removal<'_>) -> anyhow::Result<Check> {
    let mut left = titles(&uninstrument::injected(removal.cluster).await?);
    left.extend(titles(&removal.pods(None).await?));
    left.sort();
    left.dedup();
    let advice = "pods end when their node answers; those that no workload owns have to be deleted by hand";
    Ok(Check::nothing_left("pods", &left, advice))
}

async fn namespace(removal: &Removal<'_>) -> anyhow::Result<Check> {
    let check = "namespace of the control plane";
    let home = Reference::new("v1", "Namespace", "", removal.namespace);
    let mut left: Vec<String> = removal.made().await?.iter().map(ToString::to_string).collect();
    let record = Record::reference(removal.namespace);
    if Record::read(removal.cluster, removal.namespace).await?.is_some() {
        left.push(record.to_string());
    }
    let Some(live) = removal.cluster.get(&home).await? else { return Ok(Check::ok(check, format!("{home} is gone"))) };
    if !left.is_empty() {
        return Ok(Check::nothing_left(check, &left, AGAIN));
    }
    let made = live.pointer("/metadata/annotations").and_then(|all| all.get(MADE_NAMESPACE)).is_some();
    Ok(match removal.home_state().await? {
        Home::Held(by) => {
            Check::ok(check, format!("nothing of ours is left; {home} is kept for {}", super::report::names(&by)))
        }
        Home::Foreign if !made => Check::ok(check, format!("nothing of ours is left; {home} was there before")),
        _ => Check::error(check, format!("{home} is still there"), AGAIN),
    })
}

async fn nodes(cluster: &Cluster) -> anyhow::Result<Check> {
    let left = titles(&traces::tainted(cluster).await?);
    Ok(Check::nothing_left("taints of nodes", &left, AGAIN))
}

async fn marks(removal: &Removal<'_>) -> anyhow::Result<Check> {
    let found = traces::marked(removal.cluster, removal.namespace).await?;
    let left: Vec<String> = found.iter().map(|(reference, _)| reference.to_string()).collect();
    Ok(Check::nothing_left("labels and annotations of applications, namespaces and nodes", &left, AGAIN))
}

async fn permissions(removal: &Removal<'_>) -> anyhow::Result<Check> {
    let mut left = Vec::new();
    for (api_version, kind) in [
        ("rbac.authorization.k8s.io/v1", "ClusterRole"),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
        ("scheduling.k8s.io/v1", "PriorityClass"),
        ("storage.k8s.io/v1", "CSIDriver"),
    ] {
        let only = Where { labels: Some("app.kubernetes.io/part-of=odigos"), ..Where::default() };
        left.extend(titles(&removal.cluster.list_metadata(api_version, kind, only).await?));
    }
    Ok(Check::nothing_left("permissions and classes of the whole cluster", &left, AGAIN))
}

/// Nothing of ours in pod templates; the annotation of a restart may stay.
async fn workloads(cluster: &Cluster) -> anyhow::Result<Check> {
    let mut left = Vec::new();
    for (api_version, kind) in WORKLOADS {
        for object in cluster.list(api_version, kind, Where::default()).await? {
            let template =
                object.pointer("/spec/template").or_else(|| object.pointer("/spec/jobTemplate/spec/template"));
            let metadata = template.and_then(|template| template.get("metadata")).cloned().unwrap_or_default();
            let keys = ["labels", "annotations"].into_iter().filter_map(|part| metadata.get(part)?.as_object());
            if keys.flat_map(|map| map.keys()).any(|key| key.starts_with(PREFIX)) {
                left.push(Reference::of(&object).to_string());
            }
        }
    }
    Ok(Check::nothing_left("pod templates", &left, "take the labels out of these templates; that restarts their pods"))
}

async fn sources(cluster: &Cluster) -> anyhow::Result<Check> {
    let all = cluster.list_metadata(API_VERSION, "Source", Where::default()).await?;
    let left = titles(all.iter().filter(|source| {
        source.pointer("/metadata/annotations").and_then(|all| all.get(DISABLED_BY_UNINSTALL)).is_some()
    }));
    Ok(Check::nothing_left("Sources disabled for uninstalling", &left, AGAIN))
}

async fn finalizers(cluster: &Cluster) -> anyhow::Result<Check> {
    Ok(Check::nothing_left("finalizers", &titles(&traces::held(cluster).await?), AGAIN))
}
