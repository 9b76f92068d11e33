//! From the release before to this one and back: applications go on, telemetry flows, objects of users stay.

use crate::instrumentation::{Office, crossing};
use crate::leaving;
use crate::release::{self, helm, install};
use crate::routing::{BACKENDS, Stage};
use anyhow::Context;
use odigos_api::{API_VERSION, names};
use odigos_e2e::cluster::{Cluster, Pod, condition, eventually};
use odigos_e2e::office::{CHAIN, Manner, Service};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Time for controllers, agents and collectors to be replaced.
const LIMIT: Duration = Duration::from_secs(180);

/// Applications with agents.
const SERVICES: [Service; 2] = [Service { next: Some("pricing"), ..CHAIN[1] }, Service { next: None, ..CHAIN[2] }];

/// Values of both releases: one gateway alone would be replaced with nobody beside it.
const VALUES: [&str; 2] = ["controllers.log=debug", "config.collectorGateway.minReplicas=2"];

/// The release before is installed with its own chart and its own images, as it was then; nothing of this one is there. It is
/// upgraded while applications send, and rolled back while they are quiet.
pub(crate) async fn to_a_newer_release_and_back(cluster: Cluster) -> anyhow::Result<()> {
    let begun = Instant::now();
    let say = |what: &str| println!("  {:.0} s: {what}", begun.elapsed().as_secs_f64());
    leaving::uninstall().await?;
    leaving::nothing_of_ours_is_there(&cluster).await?;
    install_before(&cluster).await?;

    let stage = Stage { cluster: &cluster, applications: "e2e-upgrade", backends: "e2e-upgrade-backends" };
    let office = Office {
        cluster: &cluster,
        namespace: "e2e-upgrade-office",
        backends: "e2e-upgrade-office-backends",
        manner: Manner::Plain,
        services: &SERVICES,
    };
    tokio::try_join!(stage.set(10), office.set())?;
    office.cover().await?;
    one_trace_arrives(&office).await?;
    settled(&cluster, &stage).await?;
    let pods = applications(&[stage.applications, office.namespace], &cluster).await?;
    let (users, templates) = (users(&cluster).await?, office.templates().await?);
    say("the release before runs, with applications that send and others that have agents");

    stage.begin().await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    install(&cluster.namespace, &VALUES).await?;
    settled_controllers(&cluster).await?;
    node_collectors_follow(&cluster).await?;
    settled(&cluster, &stage).await?;
    let total = everything_arrived(&stage).await?;
    assert_eq!(pods, applications(&[stage.applications, office.namespace], &cluster).await?, "upgraded");
    office.forget().await?;
    one_trace_arrives(&office).await?;
    everything_is_said_to_be_well(&cluster, &office).await?;
    say(&format!("upgraded: {total} items and lines arrived, none lost; no application pod restarted"));

    helm(&["rollback", "odigos", "--namespace", &cluster.namespace]).await?;
    settled(&cluster, &stage).await?;
    collectors_stay(&cluster).await?;
    office.forget().await?;
    one_trace_arrives(&office).await?;
    stage.begin().await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let total = everything_arrived(&stage).await?;
    say(&format!("rolled back: {total} items and lines arrived by now"));
    let now = applications(&[stage.applications, office.namespace], &cluster).await?;
    assert_eq!(pods, now, "no application was restarted");
    assert_eq!(templates, office.templates().await?, "no template was changed");
    assert_eq!(users, self::users(&cluster).await?, "objects of users are as they were");
    stage.strike().await?;
    office.strike().await?;
    install(&cluster.namespace, &[]).await?;
    // The webhooks of this release are there at once; the instrumentor of the release before does not know all of their paths.
    settled_controllers(&cluster).await
}

/// Lets the applications be quiet, and waits until everything that they ever sent is where it belongs; returns how much it is.
async fn everything_arrived(stage: &Stage<'_>) -> anyhow::Result<usize> {
    let sent = stage.hush().await?;
    let mut total = 0;
    for (backend, stream) in BACKENDS {
        total += stage.has_all(backend, &Stage::members(stream), &sent).await?;
    }
    Ok(total)
}

async fn install_before(cluster: &Cluster) -> anyhow::Result<()> {
    let variable =
        |name: &str| std::env::var(name).with_context(|| format!("{name} is not set; run `cargo xtask e2e`"));
    let chart = PathBuf::from(variable("ODIGOS_E2E_CHART_BEFORE")?);
    let version = variable("ODIGOS_E2E_VERSION_BEFORE")?;
    let tag = format!("image.tag={version}");
    let collector = format!("images.collector={}/odigos-collector:{version}", variable("ODIGOS_E2E_PREFIX")?);
    release::install_from(&chart, &cluster.namespace, &[&VALUES[..], &[&tag, &collector]].concat()).await?;
    settled_controllers(cluster).await
}

/// The controllers and node agents are those that Helm applied last.
async fn settled_controllers(cluster: &Cluster) -> anyhow::Result<()> {
    for controller in [names::INSTRUMENTOR, names::SCHEDULER, names::AUTOSCALER] {
        cluster.rolled_out("Deployment", (&cluster.namespace, controller), LIMIT).await?;
    }
    cluster.rolled_out("DaemonSet", (&cluster.namespace, names::AGENT_SERVICE), LIMIT).await
}

/// Node collectors are replaced when all gateways are, and the port of the old ones closes.
async fn node_collectors_follow(cluster: &Cluster) -> anyhow::Result<()> {
    // Each gateway of the release before has half a minute to deliver.
    let limit = 2 * LIMIT;
    eventually("node collectors are of this release, and gateways take nothing without certificates", limit, || async {
        let daemon_set = cluster.get("apps/v1", "DaemonSet", (&cluster.namespace, names::NODE_COLLECTOR)).await?;
        let volumes = daemon_set.as_ref().and_then(|one| one.pointer("/spec/template/spec/volumes")?.as_array());
        let is_new = volumes.is_some_and(|all| all.iter().any(|volume| volume["name"] == "certificate"));
        anyhow::ensure!(is_new, "node collectors are as the release before made them");
        let group = |name: &'static str| cluster.get(API_VERSION, "CollectorsGroup", (&cluster.namespace, name));
        let nodes = group(names::NODE_COLLECTOR).await?.context("there is no group of node collectors")?;
        let progressing = condition(&nodes, "Progressing");
        anyhow::ensure!(progressing["status"] == "False", "{progressing}");
        let gateways = group(names::GATEWAY).await?.context("there is no group of gateways")?;
        let port = condition(&gateways, "PlaintextReceiverClosed");
        anyhow::ensure!(port.is_null(), "{port}");
        Ok(())
    })
    .await
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

/// No collector is replaced any more: those of the release before lose what waits in them when they go.
async fn collectors_stay(cluster: &Cluster) -> anyhow::Result<()> {
    let (mut known, mut since) = (BTreeSet::new(), Instant::now());
    let begun = Instant::now();
    while since.elapsed() < Duration::from_secs(30) {
        let pods = cluster.pods(&cluster.namespace, odigos_api::labels::COLLECTOR_ROLE).await?;
        let now: BTreeSet<String> = pods.iter().map(Pod::uid).collect();
        if now != known {
            (known, since) = (now, Instant::now());
        }
        anyhow::ensure!(begun.elapsed() < 2 * LIMIT, "collectors are replaced again and again");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// A new request is reported by the agents of both services.
async fn one_trace_arrives(office: &Office<'_>) -> anyhow::Result<()> {
    eventually("one trace crosses both services", LIMIT, || async {
        office.ask().await?;
        crossing(&office.arrived().await?, office.services).map(drop)
    })
    .await
}

/// Every condition of workloads with agents, and of what users wrote, is true and about what is there now.
async fn everything_is_said_to_be_well(cluster: &Cluster, office: &Office<'_>) -> anyhow::Result<()> {
    for service in SERVICES {
        office.is_said_to_be_well(service).await?;
    }
    eventually("Sources and Destinations are said to be well", LIMIT, || async {
        for kind in ["Source", "Destination"] {
            for object in cluster.list(API_VERSION, kind, "", "").await? {
                let conditions =
                    object.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
                // What is well is False for that one alone.
                let good = |one: &Value| if one["type"] == "Conflict" { "False" } else { "True" };
                let stale = |one: &&Value| {
                    one["status"] != good(one) || one["observedGeneration"] != object["metadata"]["generation"]
                };
                let bad = conditions.iter().find(stale);
                anyhow::ensure!(
                    !conditions.is_empty() && bad.is_none(),
                    "{kind} {}: {bad:?}",
                    object["metadata"]["name"]
                );
            }
        }
        Ok(())
    })
    .await
}

async fn applications(namespaces: &[&str], cluster: &Cluster) -> anyhow::Result<BTreeSet<(String, String, i64)>> {
    let mut all = BTreeSet::new();
    for namespace in namespaces {
        all.extend(cluster.pods(namespace, "").await?.iter().map(Pod::identity));
    }
    Ok(all)
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
