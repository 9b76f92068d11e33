//! `odigos upgrade`: an installation to this version, or what that would change.

use super::install::{Common, Intent, settle};
use crate::Failure;
use clap::Args;
use std::process::ExitCode;

/// Arguments of `odigos upgrade`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  odigos upgrade --plan                            objects, values and defaults that would change
  odigos upgrade                                   to the version of this command, with the values of the last installation
  odigos upgrade --set controllers.replicas=3      and one value changed
  odigos upgrade --reset-values --values new.yaml  with these values and nothing of the earlier ones

Kinds are never removed, and with them no Source and no Destination. No application is restarted. An installation made by
Helm is upgraded by `helm upgrade`.

Exit codes: 0 done, 1 failed or made by Helm, 2 wrong usage or values, 3 not installed, 4 not permitted, 6 not ready within
the time, 10 changes pending (--plan).")]
pub(crate) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Show what would change, and change nothing.
    #[arg(long, visible_alias = "dry-run")]
    plan: bool,
    /// Forget the values of the last installation.
    #[arg(long)]
    reset_values: bool,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let intent = Intent { upgrade: true, reset: arguments.reset_values, only_plan: arguments.plan };
    settle(&arguments.common, &intent).await
}
