//! Repository tasks that need the product's own code; `cargo xtask` builds and starts this program.

mod action_docs;
mod agents;
mod applications;
mod audit_data;
mod before;
mod cluster;
mod collector;
mod configuration;
mod demo;
mod e2e;
mod generate;
mod golang;
mod images;
mod needs;
mod packages;
mod rotation;
mod spdx;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Tasks that need the product's own code.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask", about)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand, Debug)]
enum Task {
    /// Write the generated files, or check that they are up to date.
    Generate {
        /// Change nothing; fail when a file differs.
        #[arg(long)]
        check: bool,
    },
    /// Fetch or build the agents that a release carries into the cache of the tools.
    Agents,
    /// Write the container images as OCI archives into target/images.
    Images {
        /// Write what each image has inside into folders here instead.
        #[arg(long, value_name = "FOLDER")]
        unpacked: Option<PathBuf>,
    },
    /// Bring up a cluster with real nodes, install the product with Helm, and run the scenarios on it.
    E2e(e2e::Arguments),
    /// Run the whole product on this machine and show what reaches which destination.
    Demo {
        /// Leave everything running until Ctrl-C.
        #[arg(long)]
        keep: bool,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Generate { check } => generate::generate(check),
        Task::Agents => agents::fetch().and_then(|_| golang::build()).map(drop),
        Task::Images { unpacked: Some(folder) } => images::unpack(&folder),
        Task::Images { unpacked: None } => images::build(images::Purpose::Release).map(drop),
        Task::E2e(arguments) => e2e::run(&arguments),
        Task::Demo { keep } => demo::run(keep),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints a line for the person at the terminal.
#[allow(clippy::print_stdout, reason = "a task talks to the person who started it")]
fn say(line: &str) {
    println!("{line}");
}
