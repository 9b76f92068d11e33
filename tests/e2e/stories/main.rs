//! Stories on a cluster with real nodes: the product is installed as users install it, and every claim is counted.
//!
//! They run one after another in the order of [`STORIES`], each in namespaces of its own. `stories PART…` runs those whose
//! name contains one of the parts. Bring a cluster with `cargo xtask e2e`, or name one with KUBECONFIG (see `docs/contributing.md`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a story ends where something unexpected happens, and tells what it measured"
)]

mod aftermath;
mod certificates;
mod custom_metrics;
mod destinations;
mod detection;
mod failures;
mod install;
mod instrumentation;
mod leaving;
mod observability;
mod policies;
mod pools;
mod queues;
mod release;
mod rendered;
mod requests;
mod rollback;
mod routing;
mod sampling;
mod upgrading;

use futures::FutureExt;
use futures::future::BoxFuture;
use odigos_e2e::cluster::Cluster;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Instant;

type Story = fn(Cluster) -> BoxFuture<'static, anyhow::Result<()>>;

/// Every story, in order. The first installs the product.
const STORIES: [(&str, Story); 20] = [
    ("installing brings every pod up", |cluster| install::brings_everything_up(cluster).boxed()),
    ("each stream gets its own and all of it", |cluster| routing::each_stream_gets_its_own(cluster).boxed()),
    ("with network policies what is used passes", |cluster| policies::what_is_used_passes(cluster).boxed()),
    ("a workload moves to another stream", |cluster| routing::a_workload_moves(cluster).boxed()),
    ("heavy ones have gateways of their own", |cluster| pools::heavy_ones_have_their_own(cluster).boxed()),
    ("one Source tells of four languages", |cluster| {
        instrumentation::one_source_tells_of_four_languages(cluster).boxed()
    }),
    ("guarded applications are told of", |cluster| instrumentation::guarded_applications_are_told_of(cluster).boxed()),
    ("without an agent on the nodes", |cluster| detection::without_an_agent_on_the_nodes(cluster).boxed()),
    ("what crashes with its agent is left alone", |cluster| rollback::what_crashes_is_left_alone(cluster).boxed()),
    ("missed pods are mended", |cluster| rollback::missed_pods_are_mended(cluster).boxed()),
    ("certificates change unnoticed", |cluster| certificates::they_change_unnoticed(cluster).boxed()),
    ("a broken destination harms nobody", |cluster| destinations::a_broken_one_harms_nobody(cluster).boxed()),
    ("sampled traces stay whole", |cluster| sampling::traces_stay_whole(cluster).boxed()),
    ("what waits on disk outlives its gateway", |cluster| queues::what_waits_outlives_its_gateway(cluster).boxed()),
    ("the cluster reads what gateways refuse", |cluster| {
        custom_metrics::the_cluster_reads_what_gateways_refuse(cluster).boxed()
    }),
    ("to a newer release and back", |cluster| upgrading::to_a_newer_release_and_back(cluster).boxed()),
    ("nobody steers for a while", |cluster| failures::nobody_steers(cluster).boxed()),
    ("a node boots again", |cluster| failures::a_node_boots_again(cluster).boxed()),
    ("nothing is left after leaving", |cluster| leaving::nothing_is_left(cluster).boxed()),
    ("the command line installs the same", |cluster| leaving::the_command_line_installs_the_same(cluster).boxed()),
];

fn main() -> ExitCode {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (mut passed, mut failed) = (0, 0);
    for (position, (name, story)) in STORIES.iter().enumerate() {
        // Nothing can be told about a product that is not there.
        if position > 0 && !parts.is_empty() && !parts.iter().any(|part| name.contains(part)) {
            continue;
        }
        let begun = Instant::now();
        println!("story: {name}");
        let told = runtime.block_on(async {
            let cluster = Cluster::connect().await?;
            AssertUnwindSafe(story(cluster)).catch_unwind().await.unwrap_or_else(|cause| {
                let text = cause.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| cause.downcast_ref::<&str>().copied());
                Err(anyhow::anyhow!("{}", text.unwrap_or("a claim does not hold")))
            })
        });
        let seconds = begun.elapsed().as_secs_f64();
        match told {
            Ok(()) => {
                passed += 1;
                println!("  ok after {seconds:.1} s");
            }
            Err(error) => {
                failed += 1;
                println!("  FAILED after {seconds:.1} s: {error:#}");
                if position == 0 {
                    break;
                }
                let is_kept = std::env::var_os("ODIGOS_E2E_KEEP").is_some();
                // What is left of one story would make others fail for no reason of their own.
                let outcome = runtime.block_on(async {
                    let cluster = Cluster::connect().await?;
                    aftermath::tell(&cluster).await?;
                    if is_kept { Ok(()) } else { aftermath::clear(&cluster).await }
                });
                if let Err(error) = outcome {
                    println!("  afterwards: {error:#}");
                }
                if is_kept {
                    break;
                }
            }
        }
    }
    println!("stories: {passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
