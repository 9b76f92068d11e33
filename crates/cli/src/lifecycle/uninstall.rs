//! `odigos uninstall`: take instrumentation back, then remove everything, then verify (`spec/ui-and-cli.md` 11).

use super::cluster::Cluster;
use super::found::Found;
use super::install::{Shown, duration};
use super::record::{Phase, Record};
use super::remove::Removal;
use super::report::{self, Check};
use super::{Progress, classified, code, failure, uninstrument, user, verify};
use crate::{Failure, live, output};
use clap::Args;
use odigos_api::names;
use serde::Serialize;
use serde_json::json;
use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `odigos uninstall`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  odigos uninstall --dry-run                        what would be restarted and removed
  odigos uninstall                                  asks, then removes; Sources, Destinations and their kinds stay
  odigos uninstall --purge --export all.yaml --yes  saves every object of users to a file, then removes those too

First, instrumentation is taken back from every workload; then everything of the product is removed, whoever still runs:
webhooks, controllers, collectors, permissions, finalizers, labels. The last step reads the cluster again and reports, line
by line, that nothing is left. It may be interrupted at any point and run again; what is missing is done.

Exit codes: 0 nothing is left, 1 failed, 2 wrong usage, 3 installed elsewhere, 4 not permitted, 5 something is left,
6 workloads are still instrumented after the time, 10 there is something to remove (--dry-run).")]
pub(crate) struct Arguments {
    /// Namespace of the control plane.
    #[arg(short, long, env = "ODIGOS_NAMESPACE", default_value = names::DEFAULT_NAMESPACE)]
    namespace: String,
    /// Remove kinds as well, and with them every Source, Destination and other object of users.
    #[arg(long)]
    purge: bool,
    /// Before anything is removed, save every object of users to this file (YAML that can be applied again).
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// Show what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
    /// Remove a release of Helm too, and go on when workloads stay instrumented.
    #[arg(long)]
    force: bool,
    /// How long each wait may take, e.g. 90s or 10m.
    #[arg(long, default_value = "10m", value_parser = duration)]
    timeout: Duration,
    /// Format of the report.
    #[arg(short, long, value_enum, default_value_t = Shown::Table)]
    output: Shown,
    /// Print no progress.
    #[arg(short, long)]
    quiet: bool,
}

/// What would be done.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Preview {
    /// What is instrumented now.
    instrumented: Vec<String>,
    /// Pods that are restarted: those that run with agents.
    restarts: usize,
    /// What is removed.
    removed: Vec<String>,
    /// Objects of users.
    user_objects: usize,
    /// Whether those are removed.
    purge: bool,
}

impl Preview {
    fn is_empty(&self) -> bool {
        self.instrumented.is_empty() && self.removed.is_empty()
    }

    fn text(&self) -> String {
        let mut out = String::new();
        for title in &self.removed {
            out.push_str(&format!("- {title}\n"));
        }
        let fate = if self.purge { "removed (--export FILE saves them)" } else { "kept" };
        out.push_str(&format!(
            "{} workloads and pods are instrumented, {} pods restart, {} objects are removed, {} objects of users are {fate}\n",
            self.instrumented.len(), self.restarts, self.removed.len(), self.user_objects
        ));
        out
    }
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let cluster = Cluster { client: live::client().await? };
    let found = Found::look(&cluster, &arguments.namespace).await.map_err(classified)?;
    let helm = match &found {
        Found::Elsewhere { namespace } | Found::Manifests { namespace } | Found::Helm { namespace, .. }
            if *namespace != arguments.namespace =>
        {
            let advice = format!("installed in namespace {namespace}: use --namespace {namespace}");
            return Err(failure(code::ELSEWHERE, advice));
        }
        Found::Foreign { namespace } => {
            let said =
                format!("what runs in namespace {namespace} is another product of the same names; nothing was changed");
            return Err(failure(code::ELSEWHERE, said));
        }
        Found::Helm { release, .. } => Some(release.clone()),
        _ => None,
    };
    let removal = Removal {
        cluster: &cluster,
        namespace: &arguments.namespace,
        purge: arguments.purge,
        helm: helm.as_deref(),
        limit: arguments.timeout,
        progress: Progress { quiet: arguments.quiet },
        nodes: std::sync::OnceLock::new(),
    };
    let preview = preview(&removal).await.map_err(classified)?;
    if arguments.dry_run {
        arguments.output.print(&serde_json::to_value(&preview)?, &preview.text())?;
        return Ok(ExitCode::from(if preview.is_empty() { 0 } else { code::PENDING }));
    }
    if !preview.is_empty() && !arguments.yes {
        output::error(preview.text().trim_end());
        confirm()?;
    }
    export(arguments, &cluster, &found).await?;
    if let Found::Ours(record) = &found {
        let leaving = Record { phase: Phase::Uninstalling, ..record.as_ref().clone() };
        if let Err(error) = leaving.write(&cluster, &arguments.namespace).await {
            // An earlier run may have just removed it with its namespace.
            let still = Record::read(&cluster, &arguments.namespace).await.map_err(classified)?;
            if still.is_some() {
                return Err(classified(error));
            }
        }
    }
    uninstrument(arguments, &removal).await?;
    if let Some(release) = helm.as_ref().filter(|_| !arguments.force) {
        let next = format!(
            "instrumentation is taken back; the rest is Helm's: run\n  helm uninstall {release} --namespace {}\nand then this command \
             again, which verifies and gives Sources back as they were; or this command with --force, which removes all",
            arguments.namespace
        );
        return Err(failure(code::PARTLY, next));
    }
    removal.run().await.map_err(classified)?;
    let checks = verify::run(&removal).await.map_err(classified)?;
    finish(arguments, &checks, found == Found::Nothing && preview.is_empty())
}

async fn preview(removal: &Removal<'_>) -> anyhow::Result<Preview> {
    let cluster = removal.cluster;
    let mut removed: Vec<String> = removal.preview().await?.iter().map(ToString::to_string).collect();
    removed.extend(removal.derived_objects().await?.iter().map(ToString::to_string));
    Ok(Preview {
        instrumented: uninstrument::instrumented(cluster).await?,
        restarts: uninstrument::injected(cluster).await?.len(),
        removed,
        user_objects: user::objects(cluster).await?.len(),
        purge: removal.purge,
    })
}

/// Asks on a terminal; without one, only `--yes` will do.
fn confirm() -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(failure(code::USAGE, "nobody can be asked here: use --yes, or --dry-run to look first"));
    }
    output::ask("Uninstall? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(failure(code::FAILED, "nothing was changed")),
    }
}

/// Saves the objects of users, before the first of them goes.
async fn export(arguments: &Arguments, cluster: &Cluster, found: &Found) -> Result<(), Failure> {
    let Some(path) = &arguments.export else { return Ok(()) };
    let objects = user::objects(cluster).await.map_err(classified)?;
    if user::export(path, &user::exported(&objects))? {
        Progress { quiet: arguments.quiet }.say(&format!("exported   {} objects to {}", objects.len(), path.display()));
        return Ok(());
    }
    // An interrupted command has saved them, when there were still all of them.
    match found {
        Found::Ours(record) if record.phase == Phase::Uninstalling => Ok(()),
        _ if objects.is_empty() => Ok(()),
        _ => Err(failure(code::USAGE, format!("{} exists and is not written over; name another file", path.display()))),
    }
}

async fn uninstrument(arguments: &Arguments, removal: &Removal<'_>) -> Result<(), Failure> {
    let Removal { cluster, namespace, purge, limit, progress, .. } = *removal;
    let outcome = match uninstrument::run(cluster, namespace, purge, limit, progress).await {
        // A webhook that nobody answers and that refuses: it goes first, then it is tried again.
        Err(error) if format!("{error:#}").contains("failed calling webhook") => {
            removal.admission_gone().await.map_err(classified)?;
            uninstrument::run(cluster, namespace, purge, limit, progress).await
        }
        outcome => outcome,
    };
    match outcome.map_err(classified)? {
        uninstrument::Outcome::Late(left) if !arguments.force => Err(failure(
            code::TIMEOUT,
            format!(
                "still instrumented after {} s: {}; run the same command again to go on, or with --force to remove all the same",
                limit.as_secs(),
                report::names(&left)
            ),
        )),
        _ => Ok(()),
    }
}

fn finish(arguments: &Arguments, checks: &[Check], was_nothing: bool) -> Result<ExitCode, Failure> {
    let failed = report::failed(checks);
    let mut table = report::table(checks);
    table.push_str(match (failed, was_nothing) {
        (true, _) => "something is left; see above\n",
        (false, true) => "nothing was installed, and nothing is left\n",
        (false, false) => "uninstalled; nothing is left\n",
    });
    arguments.output.print(&json!({"complete": !failed, "checks": checks}), &table)?;
    Ok(ExitCode::from(if failed { code::PARTLY } else { 0 }))
}
