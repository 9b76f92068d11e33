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

/// Name of the check that is shown whatever it finds: people shall know what runs on their nodes.
pub(super) const GO: &str = "Go by the kernel";
/// Kernels from here on attach programs to processes without `SYS_ADMIN`.
const WITHOUT_ADMIN: (u32, u32) = (6, 10);
/// Kernels from here on have the capabilities that replace most of it.
const OLDEST_KERNEL: (u32, u32) = (5, 8);

/// What the program that instruments Go may do on the nodes, and where it cannot work.
pub(super) async fn go(cluster: &Cluster, objects: &[Value]) -> anyhow::Result<Check> {
    let Ok(nodes) = cluster.list("v1", "Node", Where::default()).await else {
        return Ok(of_go(objects, &[]));
    };
    Ok(of_go(objects, &nodes))
}

fn of_go(objects: &[Value], nodes: &[Value]) -> Check {
    let agents = objects.iter().filter(|one| text(one, "/kind") == "DaemonSet");
    let containers = agents.filter_map(|one| one.pointer("/spec/template/spec/containers")?.as_array()).flatten();
    let mut containers = containers.filter(|one| text(one, "/name") == "golang");
    let Some(container) = containers.next() else {
        return Check::ok(GO, "not installed (agent.golang.enabled, agent.mode)");
    };
    let list = |pointer: &str| -> Vec<&str> {
        container.pointer(pointer).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let capabilities = list("/securityContext/capabilities/add");
    let (is_admin, writes) = (capabilities.contains(&"SYS_ADMIN"), list("/args").contains(&"-context-propagation"));
    let older_than = |version: (u32, u32)| -> Vec<String> {
        let old = nodes.iter().filter_map(|node| {
            let kernel = text(node, "/status/nodeInfo/kernelVersion");
            (kernel_version(kernel)? < version).then(|| format!("{} (Linux {kernel})", text(node, "/metadata/name")))
        });
        old.collect()
    };
    let (too_old, keeping) = (older_than(OLDEST_KERNEL), older_than(WITHOUT_ADMIN));
    if !too_old.is_empty() {
        return Check::warning(GO, format!("older than 5.8: {}", names(&too_old)), "Go is not instrumented there");
    }
    if !is_admin && !keeping.is_empty() {
        let found = format!("SYS_ADMIN is not given, and kernels may need it: {}", names(&keeping));
        return Check::warning(GO, found, "Go is not instrumented there, unless agent.golang.sysAdmin is true");
    }
    let what = format!("container golang on each node: user 0, processes of the node, {}", capabilities.join(", "));
    let why = match (writes, is_admin, keeping.is_empty()) {
        (true, ..) => "; SYS_ADMIN writes traces into requests (agent.golang.contextPropagation)".to_owned(),
        (false, true, true) => "; SYS_ADMIN is given back at start".to_owned(),
        (false, true, false) => format!("; SYS_ADMIN is given back at start, but may stay on {}", names(&keeping)),
        (false, false, _) => String::new(),
    };
    Check::ok(GO, what + &why)
}

/// Major and minor number of a kernel, as a node reports it; `None` where it reports none.
fn kernel_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
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

#[cfg(test)]
mod tests {
    use super::super::install::release;
    use super::super::report::State;
    use super::*;
    use odigos_chart::Chart;
    use serde_json::json;

    /// The objects of the chart with these values.
    fn objects(golang: &Value) -> Vec<Value> {
        let values = json!({"agent": {"golang": golang}});
        Chart::embedded().unwrap().render(&values, &release("odigos-system")).unwrap()
    }

    fn node(name: &str, kernel: &str) -> Value {
        json!({"metadata": {"name": name}, "status": {"nodeInfo": {"kernelVersion": kernel}}})
    }

    #[test]
    fn go_instrumentation_says_what_it_may_do_and_where_it_cannot_work() {
        let (new, old) = (node("a", "6.12.0-1-amd64"), node("b", "5.15.0-105-generic"));
        let check = |golang: Value, nodes: &[Value]| of_go(&objects(&golang), nodes);
        let usual = check(json!({}), std::slice::from_ref(&new));
        assert!(usual.state == State::Ok && usual.message.ends_with("SYS_ADMIN is given back at start"), "{usual:?}");
        assert!(usual.message.contains("BPF, PERFMON, SYS_ADMIN, SYS_PTRACE"), "{usual:?}");
        let mixed = check(json!({}), &[new.clone(), old.clone()]);
        assert!(mixed.state == State::Ok && mixed.message.contains("may stay on b (Linux 5.15.0"), "{mixed:?}");
        let never = check(json!({"sysAdmin": false}), std::slice::from_ref(&new));
        assert!(never.state == State::Ok && !never.message.contains("SYS_ADMIN"), "{never:?}");
        let missing = check(json!({"sysAdmin": false}), &[new.clone(), old]);
        assert!(missing.state == State::Warning && missing.message.contains("b (Linux 5.15.0"), "{missing:?}");
        let writes = check(json!({"contextPropagation": true}), std::slice::from_ref(&new));
        assert!(writes.message.contains("contextPropagation"), "{writes:?}");
        assert_eq!(check(json!({}), &[node("c", "4.18.0")]).state, State::Warning);
        assert_eq!(check(json!({}), &[node("d", "")]).state, State::Ok, "a node that says nothing");
        assert!(check(json!({"enabled": false}), &[new]).message.contains("not installed"));
    }
}
