//! Runs other programs: their output goes into a file, their last lines into the error when they fail.

use crate::board::Board;
use anyhow::{Context, bail};
use odigos_tools::{Progress, root};
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// How many of the last lines of a failed command its error repeats.
const TAIL: usize = 60;

/// Cargo, as the one that started this program.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo tells the task runner of its own package is not for the next build.
    let own = ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_PKG_VERSION", "CARGO_PRIMARY_PACKAGE"];
    for name in own {
        command.env_remove(name);
    }
    command.args(arguments).current_dir(root());
    command
}

/// Runs a command to its end; every line of its output is passed to `progress` and written to `target/logs/NAME.log`.
///
/// # Errors
/// When it cannot be started, or fails; with the end of its output.
pub(crate) fn run(name: &str, command: &mut Command, progress: Progress<'_>) -> anyhow::Result<()> {
    let folder = target().join("logs");
    std::fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let path = folder.join(format!("{}.log", name.replace([' ', '/'], "-")));
    let mut log = File::create(&path).with_context(|| format!("failed to write {}", path.display()))?;
    let (output, input) = std::io::pipe()?;
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input);
    let mut child = command.spawn().with_context(|| format!("failed to start {program}"))?;
    // The command holds the writing end of the pipe; while it lives, reading does not end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut lines: Vec<String> = Vec::new();
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        progress(&line);
        writeln!(log, "{line}")?;
        lines.push(line);
        if lines.len() > 2 * TAIL {
            lines.drain(..TAIL);
        }
    }
    let status = child.wait()?;
    if !status.success() {
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
        bail!("{program} ended with {status}; all of its output is in {}\n{tail}", path.display());
    }
    Ok(())
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Builds the binaries of the whole workspace: always all of them, since every other choice of packages would unite other features
/// and compile dependencies once more.
pub(crate) fn build_binaries(progress: Progress<'_>) -> anyhow::Result<()> {
    run("binaries", &mut cargo(&["build", "--workspace", "--bins", "--locked"]), progress)
}

/// A task of `crates/dev`, whose binary is up to date.
pub(crate) fn dev_command(task: &str, arguments: &[OsString]) -> Command {
    let folder = target().join("debug");
    let mut command = Command::new(folder.join("odigos-dev"));
    command.arg(task).args(arguments).current_dir(root()).env("ODIGOS_TEST_BINARIES", folder);
    command
}

/// Builds `crates/dev` and runs one of its tasks on this terminal.
///
/// # Errors
/// When it does not build, or the task fails.
pub(crate) fn dev(task: &str, arguments: &[OsString]) -> anyhow::Result<()> {
    let board = Board::new(task, &["binaries of the workspace"]);
    board.step("binaries of the workspace", build_binaries)?;
    board.close();
    let status = dev_command(task, arguments).status().context("failed to start odigos-dev")?;
    anyhow::ensure!(status.success(), "{task} ended with {status}");
    Ok(())
}
