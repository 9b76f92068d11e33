//! Stories on a cluster with real nodes: the product is installed as users install it, and every claim is counted.
//!
//! They run one after another in the order of [`SCENARIOS`], each in namespaces of its own. `stories PART…` runs those whose
//! name contains one of the parts, `stories --list` names them. With ODIGOS_E2E_TAKEN, a folder, several clusters share them: each takes the next one
//! that no other has taken. Bring a cluster with `cargo xtask e2e`, or name one with KUBECONFIG (see `CONTRIBUTING.md`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a story ends where something unexpected happens, and tells what it measured"
)]

mod actions;
mod aftermath;
mod brought;
mod certificates;
mod controllers;
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
mod rollout_limits;
mod routing;
mod rules;
mod sampling;
mod upgrading;

use futures::FutureExt;
use futures::future::BoxFuture;
use odigos_e2e::cluster::Cluster;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

type Story = fn(Cluster) -> BoxFuture<'static, anyhow::Result<()>>;

/// One scenario.
struct Scenario {
    /// Whether every `.ci/run` runs it; the others take turns.
    is_core: bool,
    /// The module that it is written in.
    module: &'static str,
    name: &'static str,
    /// What only this scenario takes and `cargo xtask e2e` has to build for it.
    needs: &'static str,
    run: Story,
}

impl Scenario {
    const fn with(self, needs: &'static str) -> Self {
        Self { needs, ..self }
    }
}

const fn core(module: &'static str, name: &'static str, run: Story) -> Scenario {
    Scenario { is_core: true, module, name, needs: "", run }
}

const fn rotating(module: &'static str, name: &'static str, run: Story) -> Scenario {
    Scenario { is_core: false, module, name, needs: "", run }
}

/// Every scenario, in order. The first installs the product, so each cluster begins with it; the last two end it, so the first cluster alone takes them.
/// Those that take minutes come early: a cluster that takes one last lets the other wait.
const SCENARIOS: [Scenario; 27] = [
    core("install", "installing brings every pod up", |cluster| install::brings_everything_up(cluster).boxed()),
    rotating("upgrading", "to a newer release and back", |cluster| {
        upgrading::to_a_newer_release_and_back(cluster).boxed()
    })
    .with("release-before"),
    rotating("failures", "nobody steers for a while", |cluster| failures::nobody_steers(cluster).boxed()),
    rotating("pools", "heavy ones have gateways of their own", |cluster| {
        pools::heavy_ones_have_their_own(cluster).boxed()
    }),
    core("routing", "each stream gets its own and all of it", |cluster| {
        routing::each_stream_gets_its_own(cluster).boxed()
    }),
    rotating("policies", "with network policies what is used passes", |cluster| {
        policies::what_is_used_passes(cluster).boxed()
    }),
    core("routing", "a workload moves to another stream", |cluster| routing::a_workload_moves(cluster).boxed()),
    rotating("rollout_limits", "limits of rollouts hold with three pods", |cluster| {
        rollout_limits::hold_with_three_pods(cluster).boxed()
    }),
    core("instrumentation", "one Source tells of four languages", |cluster| {
        instrumentation::one_source_tells_of_four_languages(cluster).boxed()
    }),
    rotating("instrumentation", "guarded applications are told of", |cluster| {
        instrumentation::guarded_applications_are_told_of(cluster).boxed()
    }),
    rotating("brought", "an agent comes from an image of the user", |cluster| {
        brought::an_agent_comes_from_an_image_of_the_user(cluster).boxed()
    }),
    rotating("controllers", "CronJobs and Argo Rollouts get agents", |cluster| {
        controllers::get_agents(cluster).boxed()
    })
    .with("argo-rollouts"),
    rotating("certificates", "certificates change unnoticed", |cluster| {
        certificates::they_change_unnoticed(cluster).boxed()
    }),
    core("rollback", "what crashes with its agent is left alone", |cluster| {
        rollback::what_crashes_is_left_alone(cluster).boxed()
    }),
    rotating("detection", "without an agent on the nodes", |cluster| {
        detection::without_an_agent_on_the_nodes(cluster).boxed()
    }),
    rotating("destinations", "a broken destination harms nobody", |cluster| {
        destinations::a_broken_one_harms_nobody(cluster).boxed()
    }),
    rotating("rules", "rules and own spans reach traces", |cluster| rules::reach_traces(cluster).boxed()),
    rotating("rollback", "missed pods are mended", |cluster| rollback::missed_pods_are_mended(cluster).boxed()),
    rotating("actions", "traces that streams cut are reported", |cluster| {
        actions::traces_that_streams_cut_are_reported(cluster).boxed()
    }),
    rotating("actions", "one stream is masked and another is not", |cluster| {
        actions::one_stream_is_masked(cluster).boxed()
    }),
    rotating("actions", "Actions come and go under load", |cluster| actions::come_and_go_under_load(cluster).boxed()),
    core("sampling", "sampled traces stay whole", |cluster| sampling::traces_stay_whole(cluster).boxed()),
    rotating("queues", "what waits on disk outlives its gateway", |cluster| {
        queues::what_waits_outlives_its_gateway(cluster).boxed()
    }),
    rotating("custom_metrics", "the cluster reads what gateways refuse", |cluster| {
        custom_metrics::the_cluster_reads_what_gateways_refuse(cluster).boxed()
    }),
    rotating("failures", "a node boots again", |cluster| failures::a_node_boots_again(cluster).boxed()),
    core("leaving", "nothing is left after leaving", |cluster| leaving::nothing_is_left(cluster).boxed()),
    rotating("leaving", "the command line installs the same", |cluster| {
        leaving::the_command_line_installs_the_same(cluster).boxed()
    }),
];

/// Takes a scenario for this cluster, unless another has it.
fn take(taken: &Path, module: &str, name: &str) -> bool {
    let is_first = std::env::var("ODIGOS_E2E_FIRST").is_ok();
    (module != "leaving" || is_first) && std::fs::File::create_new(taken.join(name)).is_ok()
}

fn main() -> ExitCode {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    if parts.iter().any(|part| part == "--list") {
        for Scenario { is_core, module, name, needs, .. } in &SCENARIOS {
            println!("{}\t{module}\t{name}\t{needs}", if *is_core { "core" } else { "rotating" });
        }
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (mut passed, mut failed) = (0, 0);
    let mut times = String::new();
    let taken = std::env::var_os("ODIGOS_E2E_TAKEN").map(PathBuf::from);
    for (position, Scenario { module, name, run: story, .. }) in SCENARIOS.iter().enumerate() {
        let is_named = parts.is_empty() || parts.iter().any(|part| name.contains(part));
        // Nothing can be told about a product that is not there.
        if position > 0 && !(is_named && taken.as_deref().is_none_or(|taken| take(taken, module, name))) {
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
        times.push_str(&format!("  {name:<45} {seconds:>6.0} s{}\n", if told.is_ok() { "" } else { "  FAILED" }));
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
    println!("times:\n{}", times.trim_end());
    println!("stories: {passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
