//! `make e2e`: clusters with real nodes, the product installed with Helm, the stories, and everything taken down again.
//!
//! Owns the order of these steps. A cluster is `crates/dev/src/cluster.rs` and `tests/e2e/cluster/cluster.sh`, the stories are
//! `tests/e2e/stories`; each can be used alone.

use crate::cluster::{self, Cluster, Tally};
use crate::images::{self, Purpose};
use crate::{needs, rotation, say};
use anyhow::Context;
use odigos_tools::{self as tools, root};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// How the stories are run.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Only scenarios whose name contains one of these; installing always runs.
    parts: Vec<String>,
    /// What every run of the checks takes: the core, a third of the others by the number of commits, and those that changed lately.
    #[arg(long, conflicts_with = "parts")]
    rotate: bool,
    /// Print the scenarios that would run, and end.
    #[arg(long)]
    list: bool,
    /// Leave the cluster up afterwards, and what a failed story left; a cluster that is up already is used again.
    #[arg(long)]
    keep: bool,
    /// Optimised binaries, for figures of memory and throughput; without, those that the tests have built.
    #[arg(long)]
    release: bool,
    /// Outages of minutes instead of seconds.
    #[arg(long)]
    long: bool,
    /// Two clusters side by side that share the stories: these wait far more than they compute.
    #[arg(long, conflicts_with_all = ["keep", "kubeconfig"])]
    shared: bool,
    /// Use this cluster instead of making one; it needs the images of `make images` and `odigos-e2e`.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Registry and path of the images in that cluster.
    #[arg(long, default_value = "docker.io/library")]
    image_prefix: String,
}

/// Runs everything; clusters are taken down whatever happens.
///
/// # Errors
/// When a story failed, or could not be told.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let begun = Instant::now();
    let stories = stories_binary()?;
    let chosen = selection(arguments, &stories)?;
    let parts: Vec<String> = chosen.iter().map(|one| one.name.clone()).collect();
    let needs: Vec<&str> = chosen.iter().map(|one| one.needs.as_str()).filter(|needs| !needs.is_empty()).collect();
    if arguments.list {
        return Ok(());
    }
    let is_own = arguments.kubeconfig.is_none();
    let clusters = match &arguments.kubeconfig {
        Some(kubeconfig) => vec![Cluster::existing(kubeconfig.clone())],
        None => Cluster::own(if arguments.shared { cluster::MOST } else { 1 }, arguments.keep)?,
    };
    let purpose = if arguments.release { Purpose::Figures } else { Purpose::Stories };
    let mut archives = if is_own { images::build(purpose)? } else { Vec::new() };
    if is_own {
        archives.extend(needs::build(&needs)?);
    }
    let environment = environment(arguments, &needs)?;
    let taken = tempfile::tempdir().context("no folder for the stories that are taken")?;
    let unpacked = cluster::state().join("images");
    if let (true, Some(first)) = (is_own, clusters.first()) {
        first.unpack(&archives, &unpacked)?;
    }
    let prepared = |cluster: &Cluster| if is_own { cluster.up(&archives, &unpacked) } else { Ok(()) };
    let tell = |(position, cluster): (usize, &Cluster)| {
        let told = prepared(cluster).and_then(|()| {
            say(&format!("{}e2e: everything is prepared after {} s", cluster.mark(), begun.elapsed().as_secs()));
            let mut environment = environment.clone();
            if arguments.shared {
                environment.push(("ODIGOS_E2E_TAKEN", taken.path().display().to_string()));
            }
            if position == 0 {
                environment.push(("ODIGOS_E2E_FIRST", "1".to_owned()));
            }
            cluster.tell(&stories, &parts, &environment)
        });
        if !matches!(told, Ok(Tally { failed: 0, .. })) {
            cluster.collect();
        }
        if !arguments.keep && is_own {
            cluster.script(&["down"])?;
        }
        told
    };
    let tell = &tell;
    let outcomes: Vec<anyhow::Result<Tally>> = std::thread::scope(|scope| {
        let threads: Vec<_> = clusters.iter().enumerate().map(|one| scope.spawn(move || tell(one))).collect();
        let died = || anyhow::anyhow!("what tells the stories has died");
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(died()))).collect()
    });
    // Nodes that are kept have its files.
    let _ = std::fs::remove_dir_all(&unpacked);
    say(&format!("e2e: {} s in all", begun.elapsed().as_secs()));
    let mut all = Tally::default();
    for outcome in outcomes {
        let Tally { passed, failed } = outcome?;
        (all.passed, all.failed) = (all.passed + passed, all.failed + failed);
    }
    say(&format!("stories: {} passed, {} failed", all.passed, all.failed));
    anyhow::ensure!(all.failed == 0, "a story did not end as it should");
    Ok(())
}

/// The scenarios to run, after their names have been printed.
fn selection(arguments: &Arguments, stories: &Path) -> anyhow::Result<Vec<rotation::Scenario>> {
    let output = Command::new(stories).arg("--list").output().context("failed to start the scenarios")?;
    anyhow::ensure!(output.status.success(), "the scenarios ended with {}", output.status);
    let all = rotation::read(&String::from_utf8(output.stdout)?)?;
    let is_named = |name: &str| arguments.parts.is_empty() || arguments.parts.iter().any(|part| name.contains(part));
    let chosen: Vec<rotation::Scenario> = if arguments.rotate {
        let turn = rotation::now()?;
        say(&format!("e2e: {}", turn.describe()));
        turn.choose(&all).into_iter().cloned().collect()
    } else {
        all.iter().filter(|one| is_named(&one.name)).cloned().collect()
    };
    anyhow::ensure!(!chosen.is_empty(), "no scenario is called like {}", arguments.parts.join(", "));
    let names: Vec<&str> = chosen.iter().map(|one| one.name.as_str()).collect();
    say(&format!("e2e: {} of {} scenarios: {}", names.len(), all.len(), names.join("; ")));
    Ok(chosen)
}

/// What the stories are told of the release that they are about.
fn environment(arguments: &Arguments, needs: &[&str]) -> anyhow::Result<Vec<(&'static str, String)>> {
    let version = env!("CARGO_PKG_VERSION");
    let text = |path: &Path| path.display().to_string();
    let mut environment = vec![
        ("ODIGOS_E2E_PREFIX", arguments.image_prefix.clone()),
        ("ODIGOS_E2E_HELM", text(&tools::find("helm")?)),
        ("ODIGOS_E2E_CLI", text(&images::command_line(arguments.release)?)),
        ("ODIGOS_E2E_CHART", text(&root().join("charts/odigos"))),
        ("ODIGOS_E2E_VERSION", version.to_owned()),
        ("ODIGOS_E2E_IMAGE", format!("{}/odigos-e2e:{version}", arguments.image_prefix)),
    ];
    environment.extend(needs::environment(needs)?);
    let switches = [(arguments.keep, "ODIGOS_E2E_KEEP"), (arguments.long, "ODIGOS_E2E_LONG")];
    environment.extend(switches.into_iter().filter(|(is_on, _)| *is_on).map(|(_, name)| (name, "1".to_owned())));
    Ok(environment)
}

/// Builds the stories; returns their binary.
fn stories_binary() -> anyhow::Result<PathBuf> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "test",
            "--locked",
            "--workspace",
            "--test",
            "stories",
            "--no-run",
            "--message-format=json-render-diagnostics",
        ])
        .current_dir(root())
        .stderr(Stdio::inherit())
        .output()?;
    anyhow::ensure!(output.status.success(), "the stories cannot be built");
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let binaries = messages.filter(|message| message["target"]["name"] == "stories");
    let mut executables = binaries.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    executables.next().context("cargo names no binary of the stories")
}
