//! Stories on a cluster with real nodes: the product is installed as users install it, and every claim is counted.
//!
//! They run one after another in the order of [`STORIES`], each in namespaces of its own. `stories PART…` runs those whose
//! name contains one of the parts; with ODIGOS_E2E_SHARE only those of that cluster. Bring a cluster with `cargo xtask e2e`, or
//! name one with KUBECONFIG (see `docs/contributing.md`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a story ends where something unexpected happens, and tells what it measured"
)]

mod aftermath;
mod brought;
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

/// Every story, in order, with the cluster that tells it where there are two: about as long each. The first installs the product,
/// so each cluster begins with it; the last two belong together.
const STORIES: [(u8, &str, Story); 21] = [
    (1, "installing brings every pod up", |cluster| install::brings_everything_up(cluster).boxed()),
    (1, "each stream gets its own and all of it", |cluster| routing::each_stream_gets_its_own(cluster).boxed()),
    (1, "with network policies what is used passes", |cluster| policies::what_is_used_passes(cluster).boxed()),
    (1, "a workload moves to another stream", |cluster| routing::a_workload_moves(cluster).boxed()),
    (2, "heavy ones have gateways of their own", |cluster| pools::heavy_ones_have_their_own(cluster).boxed()),
    (1, "one Source tells of four languages", |cluster| {
        instrumentation::one_source_tells_of_four_languages(cluster).boxed()
    }),
    (1, "guarded applications are told of", |cluster| {
        instrumentation::guarded_applications_are_told_of(cluster).boxed()
    }),
    (1, "an agent comes from an image of the user", |cluster| {
        brought::an_agent_comes_from_an_image_of_the_user(cluster).boxed()
    }),
    (1, "without an agent on the nodes", |cluster| detection::without_an_agent_on_the_nodes(cluster).boxed()),
    (1, "what crashes with its agent is left alone", |cluster| rollback::what_crashes_is_left_alone(cluster).boxed()),
    (1, "missed pods are mended", |cluster| rollback::missed_pods_are_mended(cluster).boxed()),
    (2, "certificates change unnoticed", |cluster| certificates::they_change_unnoticed(cluster).boxed()),
    (2, "a broken destination harms nobody", |cluster| destinations::a_broken_one_harms_nobody(cluster).boxed()),
    (2, "sampled traces stay whole", |cluster| sampling::traces_stay_whole(cluster).boxed()),
    (2, "what waits on disk outlives its gateway", |cluster| queues::what_waits_outlives_its_gateway(cluster).boxed()),
    (2, "the cluster reads what gateways refuse", |cluster| {
        custom_metrics::the_cluster_reads_what_gateways_refuse(cluster).boxed()
    }),
    (2, "to a newer release and back", |cluster| upgrading::to_a_newer_release_and_back(cluster).boxed()),
    (2, "nobody steers for a while", |cluster| failures::nobody_steers(cluster).boxed()),
    (2, "a node boots again", |cluster| failures::a_node_boots_again(cluster).boxed()),
    (1, "nothing is left after leaving", |cluster| leaving::nothing_is_left(cluster).boxed()),
    (1, "the command line installs the same", |cluster| leaving::the_command_line_installs_the_same(cluster).boxed()),
];

fn main() -> ExitCode {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (mut passed, mut failed) = (0, 0);
    let wanted = std::env::var("ODIGOS_E2E_SHARE").ok();
    for (position, (share, name, story)) in STORIES.iter().enumerate() {
        let is_named = parts.is_empty() || parts.iter().any(|part| name.contains(part));
        let is_mine = wanted.as_ref().is_none_or(|wanted| *wanted == share.to_string());
        // Nothing can be told about a product that is not there.
        if position > 0 && !(is_named && is_mine) {
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
