//! `odigos sources`: which workloads are asked for, ask for one, exclude one, how far all are.
//!
//! Owns arguments and the reading and writing of Sources. What is to be written is decided in `change`, what is shown in
//! `table`, when waiting ends in `wait`.

mod change;
mod restart;
mod table;
#[cfg(test)]
mod tests;
mod wait;

use crate::explain::{self, read};
use crate::output::View;
use crate::{Failure, live, output};
use anyhow::{Context, bail};
use change::{Action, Change, Target};
use clap::{Args, Subcommand};
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::source::Source;
use odigos_api::{API_VERSION, names};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `odigos sources`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// List Sources of every namespace: what they select, in which streams, how many workloads have agents.
    #[command(after_help = "\
Examples:
  odigos sources list             every namespace
  odigos sources list -n shop     one namespace
  odigos sources list -o json     for programs")]
    List {
        /// One namespace. Default: all.
        #[arg(short, long)]
        namespace: Option<String>,
        /// Output format.
        #[arg(short, long, value_enum, default_value_t = View::Table)]
        output: View,
    },
    /// Count the covered workloads by how far they are and what blocks them.
    #[command(after_help = "\
Examples:
  odigos sources status            every namespace
  odigos sources status --error    only what somebody must look at

Exit codes: 0 nothing is blocked, 1 something is, 2 failed to read the cluster.")]
    Status {
        /// One namespace. Default: all.
        #[arg(short, long)]
        namespace: Option<String>,
        /// Only what somebody must look at.
        #[arg(long)]
        error: bool,
        /// Output format.
        #[arg(short, long, value_enum, default_value_t = View::Table)]
        output: View,
    },
    /// Ask for agents and telemetry of a workload, or of every workload of a namespace.
    #[command(after_help = "\
Examples:
  odigos sources enable deployment/cart -n shop
  odigos sources enable deployment/cart -n shop --stream checkout --wait
  odigos sources enable namespace shop
  odigos sources enable statefulset/db -n shop --dry-run

Exit codes: 0 done, 1 it will not get agents, 2 failed to read the input or the cluster, 6 not within the time,
10 --dry-run would change something.")]
    Enable(Edit),
    /// Take agents and telemetry of a workload back, or of a namespace, or leave a data stream.
    #[command(after_help = "\
Examples:
  odigos sources disable deployment/cart -n shop
  odigos sources disable deployment/cart -n shop --stream checkout
  odigos sources disable namespace shop --dry-run

A workload that is covered without a Source of its own (by its namespace, or by instrumentation.mode: optOut) is excluded by a
Source with disableInstrumentation: true; otherwise its Source is deleted.
Exit codes: as for enable.")]
    Disable(Edit),
    /// Restart covered workloads, one after the other, so that their pods take settings that changed for all.
    #[command(after_help = "\
Examples:
  odigos sources restart deployment/cart -n shop
  odigos sources restart namespace shop --outdated
  odigos sources restart --outdated --dry-run      the whole cluster: which, and why

A change of userInstrumentationEnvs, agentImages, agentEnvVarsInjectionMethod or agents.signals restarts nothing by itself;
with rollout.onInputChange: restart of the configuration it does.
Exit codes: 0 done, 1 a workload is paused, 2 failed to read the input or the cluster, 6 a rollout is not finished within the
time, 10 --dry-run would restart something.")]
    Restart(Restart),
}

#[derive(Args, Debug)]
struct Restart {
    /// KIND/NAME or KIND NAME of a workload, or namespace NAME. Without it --outdated is required.
    #[arg(value_name = "KIND/NAME", num_args = 1..=2, required_unless_present = "outdated")]
    subject: Vec<String>,
    /// Namespace of the workload.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Only workloads of which pods run with older settings.
    #[arg(long)]
    outdated: bool,
    /// Show which workloads would be restarted and why, and restart none.
    #[arg(long)]
    dry_run: bool,
    /// Seconds to wait for the rollout of each workload.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

#[derive(Args, Debug)]
struct Edit {
    /// KIND/NAME or KIND NAME: deployment, statefulset, daemonset, cronjob, rollout, deploymentconfig, staticpod, namespace.
    #[arg(value_name = "KIND/NAME", num_args = 1..=2, required = true)]
    subject: Vec<String>,
    /// Namespace of the workload.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// A data stream to join or to leave; repeat it for each.
    #[arg(long = "stream", value_name = "NAME")]
    streams: Vec<String>,
    /// Show what would be written and how many pods would restart, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Wait until every pod is as asked for.
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// Seconds to wait.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Namespace of the control plane.
    #[arg(long, env = "ODIGOS_NAMESPACE", default_value = names::DEFAULT_NAMESPACE)]
    control_plane: String,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = View::Table)]
    output: View,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let client = live::client().await?;
    match &arguments.command {
        Command::List { namespace, output } => list(&client, namespace.as_deref(), *output).await,
        Command::Status { namespace, error, output } => status(&client, namespace.as_deref(), *error, *output).await,
        Command::Enable(edit) => change(&client, edit, Action::Enable).await,
        Command::Disable(edit) => change(&client, edit, Action::Disable).await,
        Command::Restart(arguments) => {
            let (workload, namespace) = match arguments.subject.is_empty() {
                true => (None, None),
                false => match target(&arguments.subject, &arguments.namespace)? {
                    Target::Workload(workload) => (Some(workload), None),
                    Target::Namespace(name) => (None, Some(name)),
                },
            };
            let request = restart::Request {
                workload,
                namespace,
                outdated: arguments.outdated,
                dry_run: arguments.dry_run,
                limit: Duration::from_secs(arguments.timeout),
            };
            restart::run(&client, &request).await
        }
    }
}

async fn sources(client: &Client, namespace: Option<&str>) -> anyhow::Result<Vec<Source>> {
    Ok(read::typed(live::list(client, API_VERSION, "Source", "sources", namespace).await?))
}

async fn configs(client: &Client, namespace: Option<&str>) -> anyhow::Result<Vec<InstrumentationConfig>> {
    let plural = "instrumentationconfigs";
    Ok(read::typed(live::list(client, API_VERSION, "InstrumentationConfig", plural, namespace).await?))
}

async fn list(client: &Client, namespace: Option<&str>, view: View) -> Result<ExitCode, Failure> {
    let rows = table::rows(&sources(client, namespace).await?, &configs(client, namespace).await?);
    match view {
        View::Table => output::text(&table::list(&rows)),
        view => output::value(&json!(rows), view)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn status(client: &Client, namespace: Option<&str>, only_errors: bool, view: View) -> Result<ExitCode, Failure> {
    let summary = table::summary(&configs(client, namespace).await?, only_errors);
    match view {
        View::Table => output::text(&table::status(&summary)),
        view => output::value(&json!(summary), view)?,
    }
    Ok(if summary.blocked > 0 { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn target(subject: &[String], namespace: &str) -> anyhow::Result<Target> {
    let (kind, name) = explain::kind_and_name(subject)?;
    match kind.to_lowercase().as_str() {
        "namespace" | "namespaces" | "ns" => Ok(Target::Namespace(name)),
        _ => {
            let workload = explain::workload_of(&[kind, name], namespace)?;
            if workload.kind == odigos_api::WorkloadKind::Job {
                bail!("a Job cannot be a source; choose the CronJob that makes it");
            }
            Ok(Target::Workload(workload))
        }
    }
}

async fn change(client: &Client, edit: &Edit, action: Action) -> Result<ExitCode, Failure> {
    let target = target(&edit.subject, &edit.namespace)?;
    let namespace = target.namespace().to_owned();
    ensure_exists(client, &target, action).await?;
    let all = sources(client, Some(&namespace)).await?;
    let scope = read::scope(client, &edit.control_plane).await;
    let plan = change::plan(&target, action, &edit.streams, &all, &scope)?;
    let pods = live::list(client, "v1", "Pod", "pods", Some(&namespace)).await.unwrap_or_default();
    let concerned = pods.iter().filter(|pod| read::owner(pod).is_some_and(|owner| target.holds(&owner))).count();
    if edit.dry_run {
        show(&plan, edit.output, true, concerned)?;
        return Ok(if plan.change == Change::Nothing { ExitCode::SUCCESS } else { ExitCode::from(10) });
    }
    write(client, &namespace, &plan.change).await?;
    show(&plan, edit.output, false, concerned)?;
    if !edit.wait {
        return Ok(ExitCode::SUCCESS);
    }
    wait::run(client, &target, plan.is_covered_after, Duration::from_secs(edit.timeout)).await
}

/// A name with a slip would otherwise wait for ever for a workload to come.
async fn ensure_exists(client: &Client, target: &Target, action: Action) -> anyhow::Result<()> {
    if action == Action::Disable {
        return Ok(());
    }
    let object = match target {
        Target::Namespace(name) => json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
        Target::Workload(one) => json!({
            "apiVersion": one.kind.api_version(), "kind": one.kind.object_kind(),
            "metadata": {"name": one.name, "namespace": one.namespace},
        }),
    };
    match live::get(client, &object).await? {
        Some(_) => Ok(()),
        None => bail!("{} does not exist; a Source manifest may still be applied ahead of it", target.words()),
    }
}

async fn write(client: &Client, namespace: &str, change: &Change) -> anyhow::Result<()> {
    let api: Api<Source> = Api::namespaced(client.clone(), namespace);
    match change {
        Change::Nothing => {}
        Change::Create(object) => {
            let source = serde_json::from_value(object.clone())?;
            let parameters =
                PostParams { field_manager: Some(crate::lifecycle::MANAGER.into()), ..PostParams::default() };
            api.create(&parameters, &source).await.context("the Source cannot be created")?;
        }
        Change::Patch { name, patch } => {
            let parameters =
                PatchParams { field_manager: Some(crate::lifecycle::MANAGER.into()), ..PatchParams::default() };
            let written = api.patch(name, &parameters, &Patch::Merge(patch)).await;
            written.with_context(|| format!("Source {name} cannot be changed"))?;
        }
        Change::Delete { name } => {
            let deleted = api.delete(name, &DeleteParams::default()).await;
            deleted.with_context(|| format!("Source {name} cannot be deleted"))?;
        }
    }
    Ok(())
}

fn show(plan: &change::Plan, view: View, is_dry: bool, pods: usize) -> anyhow::Result<()> {
    match view {
        View::Table => output::text(&change::words(plan, is_dry, pods)),
        view => output::value(&change::value(plan, is_dry, pods), view)?,
    }
    Ok(())
}

/// An object as a manifest.
fn manifest(object: &Value) -> String {
    odigos_pipeline::yaml::to_string(object)
}
