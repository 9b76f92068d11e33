//! Taking the product away, and putting it back with the command line: applications never notice, nothing is left.

use crate::custom_metrics;
use crate::release::{self, odigos};
use crate::routing::{BACKENDS, Stage};
use anyhow::bail;
use odigos_e2e::cluster::{Cluster, Pod, eventually};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Objects without a namespace that are ours, by kind.
const CLUSTER_WIDE: [(&str, &str); 6] = [
    ("apiregistration.k8s.io/v1", "APIService"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
];

async fn ours(cluster: &Cluster) -> anyhow::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for (api_version, kind) in CLUSTER_WIDE {
        for object in cluster.list(api_version, kind, "", "").await? {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            // The group's own registration comes and goes with its kinds.
            let is_registered = kind == "APIService" && name.ends_with("custom.metrics.k8s.io");
            if is_registered || name.starts_with("odigos") || name.ends_with(".odigos.io") || name == "odiglet" {
                found.insert(format!("{kind} {name}"));
            }
        }
    }
    Ok(found)
}

fn words_of_ours(pod: &Value) -> Vec<String> {
    let keys = |pointer: &str| {
        let map = pod.pointer(pointer).and_then(Value::as_object);
        map.into_iter().flatten().map(|(key, _)| key.clone()).collect::<Vec<_>>()
    };
    let all = keys("/metadata/labels").into_iter().chain(keys("/metadata/annotations"));
    all.filter(|key| key.contains("odigos.io/")).collect()
}

/// What is below `/var/odigos` of each node, where the nodes' disks can be looked at.
fn files_on_nodes(cluster: &Cluster) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let mut found = BTreeMap::new();
    let Some(state) = std::env::var_os("RUN").filter(|_| cluster.script.is_some()) else { return Ok(found) };
    for entry in std::fs::read_dir(state)?.collect::<Result<Vec<_>, _>>()? {
        let own = entry.path().join("var/odigos");
        if own.is_dir() {
            let files = std::fs::read_dir(own)?.map(|file| Ok(file?.file_name().to_string_lossy().into_owned()));
            found.insert(entry.file_name().to_string_lossy().into_owned(), files.collect::<std::io::Result<_>>()?);
        }
    }
    assert!(!found.is_empty(), "nodes have disks");
    Ok(found)
}

/// Takes the product away with everything that users made for it.
pub(crate) async fn uninstall() -> anyhow::Result<()> {
    let begun = Instant::now();
    let report = odigos(&["uninstall", "--purge", "--force", "--yes"]).await?;
    println!("  uninstalled after {:.1} s", begun.elapsed().as_secs_f64());
    assert!(!report.is_empty(), "it reports what it verified");
    Ok(())
}

/// No object of the product is in the cluster.
pub(crate) async fn nothing_of_ours_is_there(cluster: &Cluster) -> anyhow::Result<()> {
    assert_eq!(ours(cluster).await?, BTreeSet::new());
    // Helm made the namespace, so it stays; inside is only what every namespace has.
    eventually("the namespace is empty", Duration::from_secs(120), || async {
        let kinds = ["Pod", "ConfigMap", "Secret", "Service", "ServiceAccount", "PersistentVolumeClaim"];
        for kind in kinds {
            for object in cluster.list("v1", kind, &cluster.namespace, "").await? {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                if !matches!(name, "kube-root-ca.crt" | "default") {
                    bail!("{kind} {name} is there");
                }
            }
        }
        Ok(())
    })
    .await
}

/// Uninstalling with everything running: no pod of an application is restarted, and nothing of the product is left.
pub(crate) async fn nothing_is_left(cluster: Cluster) -> anyhow::Result<()> {
    // A registration that nobody answers any more would keep every namespace from going.
    custom_metrics::switch_on(&cluster).await?;
    let stage = Stage { cluster: &cluster, applications: "e2e-leave", backends: "e2e-leave-backends" };
    stage.set(10).await?;
    let before: BTreeSet<_> = cluster.pods(stage.applications, "").await?.iter().map(Pod::identity).collect();
    for (node, files) in files_on_nodes(&cluster)? {
        assert!(files.iter().any(|file| file == "agents"), "{node} had agents: {files:?}");
    }
    uninstall().await?;
    nothing_of_ours_is_there(&cluster).await?;
    for (node, files) in files_on_nodes(&cluster)? {
        assert_eq!(files, Vec::<String>::new(), "{node} has nothing of ours");
    }
    let pods = cluster.pods(stage.applications, "").await?;
    for pod in &pods {
        assert_eq!(words_of_ours(&pod.0), Vec::<String>::new(), "{}", pod.name());
    }
    assert_eq!(before, pods.iter().map(Pod::identity).collect(), "no application was restarted");
    for namespace in [stage.applications, stage.backends, &cluster.namespace] {
        cluster.delete("v1", "Namespace", ("", namespace)).await?;
    }
    eventually("the namespace is gone", Duration::from_secs(120), || async {
        let left = cluster.get("v1", "Namespace", ("", &cluster.namespace)).await?;
        anyhow::ensure!(left.is_none(), "it is there");
        Ok(())
    })
    .await
}

/// The command line installs the same; streams work as they did with Helm.
pub(crate) async fn the_command_line_installs_the_same(cluster: Cluster) -> anyhow::Result<()> {
    let begun = Instant::now();
    let values = release::values()?;
    let mut arguments = vec!["install"];
    for value in &values {
        arguments.extend(["--set", value]);
    }
    odigos(&arguments).await?;
    println!("  installed and ready after {:.1} s", begun.elapsed().as_secs_f64());
    let stage = Stage { cluster: &cluster, applications: "e2e-again", backends: "e2e-again-backends" };
    stage.set(20).await?;
    stage.begin().await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let sent = stage.hush().await?;
    let mut total = 0;
    for (backend, stream) in BACKENDS {
        total += stage.has_exactly(backend, &Stage::members(stream), &sent).await?;
    }
    println!("  {total} items and lines arrived once where they belong");
    stage.strike().await
}
