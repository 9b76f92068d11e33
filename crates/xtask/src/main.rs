//! The task runner: `cargo xtask run | test | crates | doctor | tools | tidy | lint | e2e | images | agents | generate`.
//!
//! Owns the order of steps and how they are shown. It depends on next to nothing, so that it starts within seconds on a machine
//! where nothing is built; what needs the product's own code is `crates/dev`, which it builds and starts.

mod board;
mod checks;
mod command;
mod doctor;
mod needs;
mod run;
mod tidy;
mod toolset;

use anyhow::Context;
use std::ffi::OsString;
use std::process::ExitCode;

const HELP: &str = "\
Tasks of this repository.

Usage: cargo xtask TASK [ARGUMENTS]

  run [--keep]          Run the whole product on this machine with real telemetry; --keep leaves it up until Ctrl-C
  test [--prepare-e2e]  Format, lints, boundaries, generated files, and every test except cluster scenarios and measurements
  lint                  Format, lints, boundaries, licences, unused dependencies and workflows only
  deny                  Unused dependencies, licences, banned crates, sources, and known vulnerabilities (fetches their database)
  crates                Check that each crate compiles by itself, with the features that it asks for alone
  doctor [TASK]...      What run, test, e2e, images and bench need, what is missing, and the command that installs it
  tools [NAME]...       Build the real peers of the tests (all, or those named) into a cache outside the checkout
  tidy                  Check boundaries between crates and habits of the code
  generate [--check]    Write the generated files, or fail when one is not up to date
  agents                Fetch or build the agents of a release
  images [ARGUMENTS]    Write the container images as OCI archives; see `cargo xtask images --help`
  e2e [ARGUMENTS]       Scenarios on a cluster with real nodes (root); see `cargo xtask e2e --help`
";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let task = arguments.next().map(|task| task.to_string_lossy().into_owned()).unwrap_or_default();
    let rest: Vec<OsString> = arguments.collect();
    match perform(&task, rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn perform(task: &str, rest: Vec<OsString>) -> anyhow::Result<()> {
    match task {
        "run" => run::run(switch(rest, "keep")?),
        "test" => checks::test(switch(rest, "prepare-e2e")?),
        "lint" => none(rest).and_then(|()| checks::lint()),
        "deny" => none(rest).and_then(|()| checks::deny()),
        "crates" => none(rest).and_then(|()| checks::crates()),
        "doctor" => doctor::doctor(&words(rest)?),
        "tools" => toolset::tools(&words(rest)?),
        "tidy" => none(rest).and_then(|()| tidy::tidy()).map(|()| say("tidy: ok")),
        "e2e" => {
            // Help, the list and another's cluster need none of what creates one.
            let is_light = |one: &OsString| {
                let text = one.to_string_lossy();
                ["--help", "-h", "--list"].contains(&&*text) || text.starts_with("--kubeconfig")
            };
            if !rest.iter().any(is_light) {
                doctor::require(needs::Task::E2e)?;
            }
            command::dev(task, &rest)
        }
        "images" => {
            if !rest.iter().any(|one| ["--help", "-h"].contains(&&*one.to_string_lossy())) {
                doctor::require(needs::Task::Images)?;
            }
            command::dev(task, &rest)
        }
        "generate" | "agents" => command::dev(task, &rest),
        "" | "help" | "-h" | "--help" => {
            say(HELP);
            Ok(())
        }
        other => anyhow::bail!("unknown task {other:?}; `cargo xtask help` lists them"),
    }
}

/// Whether the one switch that a task has is set.
fn switch(arguments: Vec<OsString>, name: &str) -> anyhow::Result<bool> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut is_set = false;
    while let Some(argument) = parser.next().context("failed to read the arguments")? {
        match argument {
            lexopt::Arg::Long(found) if found == name => is_set = true,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(is_set)
}

/// Arguments that are words.
fn words(arguments: Vec<OsString>) -> anyhow::Result<Vec<String>> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut words = Vec::new();
    while let Some(argument) = parser.next().context("failed to read the arguments")? {
        match argument {
            lexopt::Arg::Value(word) => words.push(word.to_string_lossy().into_owned()),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(words)
}

fn none(arguments: Vec<OsString>) -> anyhow::Result<()> {
    anyhow::ensure!(arguments.is_empty(), "this task takes no arguments");
    Ok(())
}

/// Prints a line for the person at the terminal.
#[allow(clippy::print_stdout, reason = "a task talks to the person who started it")]
fn say(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn unknown_task_and_argument_are_errors() {
        let of = |task: &str, words: &[&str]| perform(task, arguments(words)).map_err(|error| error.to_string());
        assert!(of("ran", &[]).is_err_and(|error| error.contains("unknown task \"ran\"")));
        assert!(of("run", &["--kept"]).is_err_and(|error| error.contains("--kept")));
        assert!(of("doctor", &["rain"]).is_err_and(|error| error.contains("rain")));
        assert!(of("tools", &["etcdd"]).is_err_and(|error| error.contains("etcdd")));
        assert!(of("tidy", &["now"]).is_err());
    }
}
