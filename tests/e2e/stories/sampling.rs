//! Tail sampling while gateways are replaced: a trace is kept whole or not at all.

use crate::release;
use crate::routing::{BACKENDS, Stage};
use odigos_api::{API_VERSION, names};
use odigos_e2e::actors::application::trace_id;
use odigos_e2e::cluster::Cluster;
use odigos_e2e::records::Sent;
use odigos_e2e::shop;
use serde_json::json;
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
    cluster.apply(&shop::destination(&cluster.namespace, "extra", "127.0.0.1:4317", &["nobody"])).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.rolled_out("Deployment", (&cluster.namespace, names::GATEWAY), Duration::from_secs(60)).await?;
    cluster.delete(API_VERSION, "Destination", (&cluster.namespace, "extra")).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.rolled_out("Deployment", (&cluster.namespace, names::GATEWAY), Duration::from_secs(60)).await?;
    let sent = stage.hush().await?;
    // The last traces are decided five seconds after their first span, and written at once.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (mut offered, mut kept, mut broken) = (0, 0, 0);
    for (backend, stream) in BACKENDS {
        let records = stage.arrived(backend).await?;
        for workload in Stage::members(stream) {
            let arrived = records.of("traces", workload).traces;
            for id in sent[workload].iter().flat_map(complete_traces) {
                offered += 1;
                match arrived.get(&id) {
                    None => {}
                    Some(&count) if count >= SPANS => kept += 1,
                    Some(_) => broken += 1,
                }
            }
        }
    }
    println!("  {offered} traces of {SPANS} spans each for destinations: {kept} kept whole, {broken} in part");
    assert!(kept * 100 > offered * 45 && kept * 100 < offered * 55, "about half is kept");
    assert_eq!(broken, 0, "a trace is kept whole or not at all");
    cluster.delete(API_VERSION, "Sampling", (&cluster.namespace, "e2e")).await?;
    stage.strike().await?;
    release::install(&cluster.namespace, &[]).await
}
