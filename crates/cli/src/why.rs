//! `odigos why`: why one pod has its agents, or has not; for a workload the first cause alone.

use crate::explain::{self, pod, read, workload};
use crate::output::View;
use crate::{Failure, live, output};
use clap::Args;
use odigos_api::names;
use serde_json::json;
use std::process::ExitCode;

/// Arguments of `odigos why`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  odigos why cart-5d4f9c-x2x7q -n shop
  odigos why cart-5d4f9c-x2x7q -n shop -o json
  odigos why deployment/cart -n shop        the first cause and what to do; describe workload shows all

Needs to get pods and InstrumentationConfigs and to list Sources of the namespace; what else may not be read is left out.
Names of variables and mounts are shown, never values.
Exit codes: 0 the pod is as decided, 1 something keeps it from agents, 2 failed to read the cluster.")]
pub(crate) struct Arguments {
    /// Name of the pod, or KIND/NAME of a workload.
    #[arg(value_name = "POD")]
    subject: String,
    /// Its namespace.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Namespace of the control plane.
    #[arg(long, env = "ODIGOS_NAMESPACE", default_value = names::DEFAULT_NAMESPACE)]
    control_plane: String,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = View::Table)]
    output: View,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let client = live::client().await?;
    let name = arguments.subject.strip_prefix("pod/").unwrap_or(&arguments.subject);
    if name.contains('/') {
        let reference = explain::workload_of(&[name.to_owned()], &arguments.namespace)?;
        let report = workload::report(&read::workload(&client, &reference, &arguments.control_plane).await?);
        match arguments.output {
            View::Table => output::text(&workload::first_cause(&report)),
            view => output::value(&json!(report), view)?,
        }
        return Ok(if report.blocked.is_some() { ExitCode::from(1) } else { ExitCode::SUCCESS });
    }
    let facts = read::pod(&client, &arguments.namespace, name, &arguments.control_plane).await?;
    let report = pod::report(&facts);
    match arguments.output {
        View::Table => output::text(&pod::screen(&report)),
        view => output::value(&json!(report), view)?,
    }
    Ok(if report.blocked.is_some() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}
