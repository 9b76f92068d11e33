//! Tail sampling while gateways are replaced: a trace is kept whole or not at all.

use crate::release;
use crate::routing::{BACKENDS, Stage};
use anyhow::Context;
use odigos_api::{API_VERSION, names};
use odigos_e2e::actors::application::trace_id;
use odigos_e2e::cluster::{Cluster, eventually};
use odigos_e2e::records::Sent;
use odigos_e2e::shop;
use serde_json::{Value, json};
use std::time::Duration;

const SPANS: u32 = 4;
/// Spans a second of each of the twelve applications.
const RATE: u64 = 170;

/// Ids of the traces of which a pod has sent every span: the last block may be cut short by the end of the story.
fn complete_traces(sent: &Sent) -> Vec<String> {
    let spans = u64::from(SPANS);
    let complete = sent.items / (RATE / spans * spans) * (RATE / spans);
    (0..complete).map(|number| trace_id(&sent.pod, number).iter().map(|byte| format!("{byte:02x}")).collect()).collect()
}

/// Whether a rule of 50 % keeps a trace: the highest of the 56 random bits at the end of its id is set.
fn is_in_kept_half(id: &str) -> bool {
    id.get(18..19).and_then(|digit| u8::from_str_radix(digit, 16).ok()).is_some_and(|digit| digit >= 8)
}

/// The pod template of the gateways.
async fn template(cluster: &Cluster) -> anyhow::Result<Value> {
    let live = cluster.get("apps/v1", "Deployment", (&cluster.namespace, names::GATEWAY)).await?;
    Ok(live.context("no gateway")?["spec"]["template"].clone())
}

/// Waits until gateways have another configuration than in `before`, and all of them are replaced.
async fn replaced(cluster: &Cluster, before: &Value) -> anyhow::Result<()> {
    eventually("gateways get another configuration", Duration::from_secs(90), || async {
        anyhow::ensure!(template(cluster).await? != *before, "their pod template is as before");
        Ok(())
    })
    .await?;
    cluster.rolled_out("Deployment", (&cluster.namespace, names::GATEWAY), Duration::from_secs(180)).await
}

/// How many spans have arrived at all backends.
async fn spans(stage: &Stage<'_>) -> anyhow::Result<u64> {
    let mut count = 0;
    for (backend, _) in BACKENDS {
        let records = stage.arrived(backend).await?;
        let traces = records.0.get("traces").into_iter().flatten().flat_map(|(_, record)| record.traces.values());
        count += traces.map(|spans| u64::from(*spans)).sum::<u64>();
    }
    Ok(count)
}

/// Half of the traces, decided after five seconds, through two rollouts of the gateway under 2,000 spans a second.
pub(crate) async fn traces_stay_whole(cluster: Cluster) -> anyhow::Result<()> {
    let wait = "config.sampling.tailSampling.traceAggregationWaitDuration=5s";
    release::install(&cluster.namespace, &[wait]).await?;
    let sampling = json!({
        "apiVersion": API_VERSION, "kind": "Sampling", "metadata": {"name": "e2e", "namespace": cluster.namespace},
        "spec": {"name": "half", "costReductionRules": [{"name": "half", "percentageAtMost": 50}]},
    });
    cluster.apply(&sampling).await?;
    let stage = Stage { cluster: &cluster, applications: "e2e-sampling", backends: "e2e-sampling-backends" };
    stage.set_with(RATE, &["--signals=traces", &format!("--spans-per-trace={SPANS}")]).await?;
    stage.begin().await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    // A destination of nobody's stream changes the configuration, and with it every gateway; then it goes again.
    let before = template(&cluster).await?;
    cluster.apply(&shop::destination(&cluster.namespace, "extra", "127.0.0.1:4317", &["nobody"])).await?;
    replaced(&cluster, &before).await?;
    let before = template(&cluster).await?;
    cluster.delete(API_VERSION, "Destination", (&cluster.namespace, "extra")).await?;
    replaced(&cluster, &before).await?;
    let sent = stage.hush().await?;
    // The last traces are decided five seconds after their first span, and sent at once: then nothing arrives any more.
    eventually("every trace is decided", Duration::from_secs(180), || async {
        let before = spans(&stage).await?;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let after = spans(&stage).await?;
        anyhow::ensure!(before == after, "{before} spans had arrived, and {after} ten seconds later");
        Ok(())
    })
    .await?;
    let (mut offered, mut kept, mut broken) = (0, 0, 0);
    let (mut lost, mut extra) = (Vec::new(), Vec::new());
    for (backend, stream) in BACKENDS {
        let records = stage.arrived(backend).await?;
        for workload in Stage::members(stream) {
            let arrived = records.of("traces", workload).traces;
            for id in sent[workload].iter().flat_map(complete_traces) {
                offered += 1;
                match (arrived.get(&id), is_in_kept_half(&id)) {
                    (None, true) => lost.push(id),
                    (Some(_), false) => extra.push(id),
                    (None, false) => {}
                    (Some(&count), true) if count >= SPANS => kept += 1,
                    (Some(_), true) => broken += 1,
                }
            }
        }
    }
    println!("  {offered} traces of {SPANS} spans each for destinations: {kept} kept whole, {broken} in part");
    assert!(offered > 1000, "too few traces to say anything: {offered}");
    assert!(kept * 100 > offered * 45 && kept * 100 < offered * 55, "about half is kept");
    assert_eq!(broken, 0, "a trace is kept whole or not at all");
    assert_eq!(extra, Vec::<String>::new(), "traces that the rule drops have arrived");
    // A gateway that is replaced forgets what it has decided: what was kept before is never lost, since the id alone decides.
    assert_eq!(lost, Vec::<String>::new(), "traces that the rule keeps have not arrived");
    cluster.delete(API_VERSION, "Sampling", (&cluster.namespace, "e2e")).await?;
    stage.strike().await?;
    release::install(&cluster.namespace, &[]).await
}
