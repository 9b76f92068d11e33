//! Repository tasks: `cargo xtask tools | generate | tidy | agents | run | images | e2e`.

mod agents;
mod applications;
mod cluster;
mod demo;
mod e2e;
mod generate;
mod golang;
mod images;
mod tidy;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Tasks of this repository.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask", about)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand, Debug)]
enum Task {
    /// Build the real peers of the tests (etcd, API server, collector, …) into a cache.
    Tools,
    /// Write the generated files, or check that they are up to date.
    Generate {
        /// Change nothing; fail when a file differs.
        #[arg(long)]
        check: bool,
    },
    /// Check the boundaries between crates and the habits of the code.
    Tidy,
    /// Fetch or build the agents that a release carries into the cache of the tools.
    Agents,
    /// Write the container images as OCI archives into target/images.
    Images {
        /// Write what each image has inside into folders here instead.
        #[arg(long, value_name = "FOLDER")]
        unpacked: Option<PathBuf>,
    },
    /// Bring up a cluster with real nodes, install the product with Helm, and run the stories on it.
    E2e(e2e::Arguments),
    /// Run the whole product on this machine and show what reaches which destination.
    Run {
        /// Leave everything running until Ctrl-C.
        #[arg(long)]
        keep: bool,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Tools => odigos_testkit::tools::TOOLS.iter().try_for_each(|tool| tool.build().map(drop)),
        Task::Generate { check } => generate::generate(check),
        Task::Tidy => tidy::tidy(),
        Task::Agents => agents::fetch().and_then(|_| golang::build()).map(drop),
        Task::Images { unpacked: Some(folder) } => images::unpack(&folder),
        Task::Images { unpacked: None } => images::build(images::Purpose::Release).map(drop),
        Task::E2e(arguments) => e2e::run(&arguments),
        Task::Run { keep } => demo::run(keep),
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
