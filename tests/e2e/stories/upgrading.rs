//! To a newer release and back: applications go on, telemetry flows, objects of users stay.

use crate::release::{self, helm};
use crate::routing::{BACKENDS, Stage};
use odigos_api::{API_VERSION, names};
use odigos_e2e::cluster::{Cluster, Pod};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// Time for controllers and gateways to be replaced.
const LIMIT: Duration = Duration::from_secs(120);

/// A release before this one: the same templates under an older number, with values of its own, since no other release was
/// published yet.
pub(crate) async fn to_a_newer_release_and_back(cluster: Cluster) -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("odigos-e2e-chart-{}", std::process::id()));
    copy(&release::chart()?, &folder)?;
    let description = folder.join("Chart.yaml");
    let text = std::fs::read_to_string(&description)?;
    let older = text.lines().map(|line| if line.starts_with("version:") { "version: 0.0.9" } else { line });
    std::fs::write(&description, older.collect::<Vec<_>>().join("\n"))?;
    let before = ["controllers.log=debug", "config.collectorGateway.minReplicas=2"];
    let installed = release::install_from(&folder, &cluster.namespace, &before).await;
    std::fs::remove_dir_all(&folder)?;
    installed?;

    let stage = Stage { cluster: &cluster, applications: "e2e-upgrade", backends: "e2e-upgrade-backends" };
    stage.set(20).await?;
    let pods = applications(&stage).await?;
    let users = users(&cluster).await?;
    stage.begin().await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    release::install(&cluster.namespace, &[]).await?;
    settled(&cluster, &stage).await?;
    println!("  upgraded");
    helm(&["rollback", "odigos", "--namespace", &cluster.namespace]).await?;
    settled(&cluster, &stage).await?;
    println!("  rolled back");
    let sent = stage.hush().await?;
    let mut total = 0;
    for (backend, stream) in BACKENDS {
        total += stage.has_all(backend, &Stage::members(stream), &sent).await?;
    }
    assert_eq!(pods, applications(&stage).await?, "no application was restarted");
    assert_eq!(users, self::users(&cluster).await?, "objects of users are as they were");
    println!("  {total} items and lines arrived, none lost; no application pod restarted");
    stage.strike().await?;
    release::install(&cluster.namespace, &[]).await
}

/// Everything of the product runs as the release says.
async fn settled(cluster: &Cluster, stage: &Stage<'_>) -> anyhow::Result<()> {
    for controller in [names::INSTRUMENTOR, names::SCHEDULER, names::AUTOSCALER, names::GATEWAY] {
        cluster.rolled_out("Deployment", (&cluster.namespace, controller), LIMIT).await?;
    }
    for daemon in [names::AGENT_SERVICE, names::NODE_COLLECTOR] {
        cluster.rolled_out("DaemonSet", (&cluster.namespace, daemon), LIMIT).await?;
    }
    stage.ready(LIMIT).await?;
    // It goes on like this for a moment.
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok(())
}

async fn applications(stage: &Stage<'_>) -> anyhow::Result<BTreeSet<(String, String, i64)>> {
    Ok(stage.cluster.pods(stage.applications, "").await?.iter().map(Pod::identity).collect())
}

/// Sources and Destinations with what users wrote into them.
async fn users(cluster: &Cluster) -> anyhow::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for kind in ["Source", "Destination"] {
        for object in cluster.list(API_VERSION, kind, "", "").await? {
            found.insert(format!("{} {} {}", object["metadata"]["uid"], object["metadata"]["labels"], object["spec"]));
        }
    }
    Ok(found)
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
