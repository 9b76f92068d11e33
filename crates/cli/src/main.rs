//! The `odigos` command: renders, plans and explains, with the same planners as the controllers.
//!
//! Owns arguments, files and terminal output. Never decides anything: every answer comes from `plan`. Exit codes: 0 fine,
//! 1 findings of severity error, 2 failed to read the input; install, upgrade and uninstall also know 3 not installed,
//! 4 not permitted, 5 done in part, 6 not within the time, 10 changes pending; the last two are also of `sources`.

mod actions;
mod certificates;
mod connection;
mod credentials;
mod describe;
mod destinations;
#[cfg(test)]
mod documents_tests;
mod explain;
mod input;
mod lifecycle;
mod live;
mod output;
mod plan;
mod recording;
mod render;
mod sampling;
mod sources;
mod why;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Observability for Kubernetes: Sources in, running telemetry pipelines out.
#[derive(Parser, Debug)]
#[command(name = "odigos", version, about, max_term_width = 120)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Install the control plane into the current cluster: the Helm chart, without Helm.
    Install(lifecycle::install::Arguments),
    /// Bring an installation to this version, or show what that would change.
    Upgrade(lifecycle::upgrade::Arguments),
    /// Take instrumentation back, remove everything, and verify that nothing is left.
    Uninstall(lifecycle::uninstall::Arguments),
    /// Show every object that the control plane would write for these manifests. No cluster, no network.
    Render(render::Arguments),
    /// Show what the control plane would change in the current cluster, before anything changes.
    Plan(plan::Arguments),
    /// Backends: list the types, show one, add a Destination, test its connection.
    Destinations(destinations::Arguments),
    /// Understand Actions before they are applied: list, explain, try on recorded items, convert older ones.
    Actions(actions::Arguments),
    /// Understand sampling rules before they are switched on: simulate, explain, validate.
    Sampling(sampling::Arguments),
    /// Certificates of collectors: what stands, one for a reader of their metrics, another authority.
    Certificates(certificates::Arguments),
    /// Ask for workloads, exclude them, see how far all are.
    Sources(sources::Arguments),
    /// Explain why a pod has its agents, or has not.
    Why(why::Arguments),
    /// Explain where a workload, a source, a destination or a data stream stands, and what to do about it.
    Describe(describe::Arguments),
}

/// Why a command ended without an answer; both print to standard error.
#[derive(Debug)]
enum Failure {
    /// Failed to read the input or to reach the cluster: exit code 2.
    Input(anyhow::Error),
    /// Anything else, with the exit code that tells what.
    Exit(u8, anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Input(error.into())
    }
}

fn main() -> ExitCode {
    // A second provider cannot be installed in a process that has just begun.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let outcome = match Arguments::parse().command {
        Command::Install(arguments) => live::block_on(lifecycle::install::run(&arguments)),
        Command::Upgrade(arguments) => live::block_on(lifecycle::upgrade::run(&arguments)),
        Command::Uninstall(arguments) => live::block_on(lifecycle::uninstall::run(&arguments)),
        Command::Render(arguments) => render::run(&arguments),
        Command::Destinations(arguments) => live::block_on(destinations::run(&arguments)),
        Command::Actions(arguments) => live::block_on(actions::run(&arguments)),
        Command::Sampling(arguments) => sampling::run(&arguments),
        Command::Plan(arguments) => live::block_on(plan::run(&arguments)),
        Command::Certificates(arguments) => live::block_on(certificates::run(&arguments)),
        Command::Sources(arguments) => live::block_on(sources::run(&arguments)),
        Command::Why(arguments) => live::block_on(why::run(&arguments)),
        Command::Describe(arguments) => live::block_on(describe::run(&arguments)),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            let (code, error) = match failure {
                Failure::Input(error) => (2, error),
                Failure::Exit(code, error) => (code, error),
            };
            output::error(&format!("error: {error:#}"));
            ExitCode::from(code)
        }
    }
}
