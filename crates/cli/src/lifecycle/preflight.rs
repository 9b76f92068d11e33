//! Before anything is written: can this cluster take the product, and is it free for it? (`spec/ui-and-cli.md` 9.2)

use super::cluster::{Cluster, Reference, Where, text};
use super::found::Found;
use super::report::{Check, names};
use serde_json::Value;
use std::collections::BTreeSet;

/// Architectures for which there are images.
const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

/// Kubernetes is new enough.
pub(super) async fn version(cluster: &Cluster, oldest: Option<(u32, u32)>) -> anyhow::Result<Check> {
    let info = cluster.client.apiserver_version().await?;
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().unwrap_or_default();
    let found = (number(&info.major), number(&info.minor));
    Ok(match oldest {
        Some(oldest) if found < oldest => Check::error(
            "Kubernetes version",
            format!("{} is older than {}.{}", info.git_version, oldest.0, oldest.1),
            "upgrade the cluster first",
        ),
        _ => Check::ok("Kubernetes version", info.git_version),
    })
}

/// Nothing else holds the names that are needed.
pub(super) fn installation(found: &Found, namespace: &str) -> Check {
    let check = "other installations";
    match found {
        Found::Nothing => Check::ok(check, "none"),
        Found::Ours(record) => {
            Check::ok(check, format!("version {} in {namespace}, {}", record.version, record.phase.word()))
        }
        Found::Helm { release, namespace } => Check::error(
            check,
            format!("release {release} of Helm in namespace {namespace}"),
            format!("helm upgrade {release} charts/odigos --namespace {namespace}; or helm uninstall it first"),
        ),
        Found::Manifests { namespace: at } if at == namespace => Check::warning(
            check,
            format!("applied as manifests in namespace {at}"),
            "they are taken over; what left them since is not removed",
        ),
        Found::Manifests { namespace } => Check::error(
            check,
            format!("applied as manifests in namespace {namespace}"),
            "a cluster has one installation: delete those manifests first",
        ),
        Found::Elsewhere { namespace } => Check::error(
            check,
            format!("installed in namespace {namespace}"),
            format!("a cluster has one installation: use --namespace {namespace}"),
        ),
        Found::Foreign { namespace } => Check::error(
            check,
            format!("controllers of the same names, but of another product, run in namespace {namespace}"),
            "remove that product first; its Sources and Destinations stay valid",
        ),
    }
}

/// Kinds that are there already are ours or can become ours.
pub(super) async fn kinds(cluster: &Cluster, objects: &[Value], found: &Found) -> anyhow::Result<Check> {
    let check = "kinds";
    let (mut present, mut older, mut foreign) = (0, Vec::new(), Vec::new());
    for wanted in objects.iter().filter(|object| object["kind"] == "CustomResourceDefinition") {
        let Some(live) = cluster.get(&Reference::of(wanted)).await? else { continue };
        present += 1;
        let name = text(&live, "/metadata/name").to_owned();
        if !text(&live, "/metadata/deletionTimestamp").is_empty() {
            let advice = "wait until it is gone; objects with finalizers may hold it up";
            return Ok(Check::error(check, format!("{name} is being deleted"), advice));
        }
        let served = versions(wanted);
        let stored: BTreeSet<String> = live
            .pointer("/status/storedVersions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|version| version.as_str().map(str::to_owned))
            .collect();
        if !stored.is_subset(&served) {
            older.push(format!("{name} stores {}", stored.difference(&served).cloned().collect::<Vec<_>>().join(",")));
        }
        let owner = text(&live, "/metadata/annotations/meta.helm.sh~1release-name");
        let by_helm = matches!(found, Found::Helm { .. });
        if !owner.is_empty() && !by_helm {
            foreign.push(name);
        }
    }
    Ok(if !older.is_empty() {
        let advice = "migrate those objects to a version that this release serves, and take the old one out of status.storedVersions";
        Check::error(check, names(&older), advice)
    } else if !foreign.is_empty() {
        let advice = "they are taken over with every object of theirs";
        Check::warning(check, format!("left by a release of Helm: {}", names(&foreign)), advice)
    } else if present == 0 {
        Check::ok(check, "none is there yet")
    } else {
        Check::ok(check, format!("{present} are there"))
    })
}

fn versions(crd: &Value) -> BTreeSet<String> {
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
    versions.map(|version| text(version, "/name").to_owned()).collect()
}

/// Some node can run the images.
pub(super) async fn nodes(cluster: &Cluster) -> anyhow::Result<Check> {
    let check = "nodes";
    let nodes = match cluster.list("v1", "Node", Where::default()).await {
        Ok(nodes) => nodes,
        Err(error) => return Ok(Check::skipped(check, format!("{error:#}"))),
    };
    let (mut fit, mut unfit) = (0, Vec::new());
    for node in &nodes {
        let (system, architecture) =
            (text(node, "/status/nodeInfo/operatingSystem"), text(node, "/status/nodeInfo/architecture"));
        // A node that has not reported yet may still fit.
        if ["", "linux"].contains(&system) && (architecture.is_empty() || ARCHITECTURES.contains(&architecture)) {
            fit += 1;
        } else {
            unfit.push(format!("{} ({system}/{architecture})", text(node, "/metadata/name")));
        }
    }
    Ok(if nodes.is_empty() {
        Check::warning(check, "the cluster has no node", "pods wait until there is one")
    } else if fit == 0 {
        Check::error(check, names(&unfit), "images are for linux/amd64 and linux/arm64")
    } else if unfit.is_empty() {
        Check::ok(check, format!("{fit} of linux"))
    } else {
        Check::warning(check, format!("not on {}", names(&unfit)), "workloads there are not instrumented")
    })
}

/// The namespace takes the pods.
pub(super) async fn pod_security(cluster: &Cluster, namespace: &str) -> anyhow::Result<Check> {
    let check = "Pod Security";
    let Some(live) = cluster.get(&Reference::new("v1", "Namespace", "", namespace)).await? else {
        return Ok(Check::ok(check, format!("namespace {namespace} is created")));
    };
    if !text(&live, "/metadata/deletionTimestamp").is_empty() {
        let advice = "wait until it is gone, or choose another with --namespace";
        return Ok(Check::error(check, format!("namespace {namespace} is being deleted"), advice));
    }
    let level = text(&live, "/metadata/labels/pod-security.kubernetes.io~1enforce");
    Ok(match level {
        "" | "privileged" => Check::ok(check, format!("namespace {namespace} admits every pod")),
        level => Check::error(
            check,
            format!("namespace {namespace} enforces {level}: pods that read logs of their node would be refused"),
            format!("kubectl label namespace {namespace} pod-security.kubernetes.io/enforce=privileged --overwrite"),
        ),
    })
}
