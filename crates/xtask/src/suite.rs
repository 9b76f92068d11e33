//! All tests of the workspace, one test binary after the other or several at a time.
//!
//! Most of them wait for real peers rather than compute, so two at a time end sooner; on two busy cores they are slower each, which
//! finds what depends on speed. Cargo says which binaries there are, so none can be forgotten. The output of each is shown as a whole when it has ended, and is
//! kept in `target/tests`.

use crate::say;
use anyhow::Context;
use odigos_testkit::binaries;
use odigos_testkit::process::Process;
use odigos_testkit::tools::root;
use serde_json::Value;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// No binary takes longer, on a busy machine either.
const LIMIT: Duration = Duration::from_secs(20 * 60);
/// The package whose tests wait for real peers; they begin first, since they are the longest.
const LONGEST: &str = "odigos-testkit";

/// A test binary.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Binary {
    /// Whether it is none of the longest.
    is_short: bool,
    package: String,
    target: String,
    /// Kind of the target, e.g. `lib` or `test`.
    kind: String,
    executable: PathBuf,
    /// Where its package is; tests run there.
    folder: PathBuf,
}

/// Runs them, `at_once` at the same time; fails when any of them fails, after all have run.
pub(crate) fn run(at_once: usize) -> anyhow::Result<()> {
    let begun = Instant::now();
    let output = cargo(&["test", "--workspace", "--locked", "--no-run", "--message-format=json"])
        .stderr(Stdio::inherit())
        .output()
        .context("cargo cannot be started")?;
    anyhow::ensure!(output.status.success(), "the tests cannot be built");
    let found = listed(&String::from_utf8_lossy(&output.stdout));
    anyhow::ensure!(!found.is_empty(), "cargo names no test binary");
    let logs = binaries::target().join("tests");
    std::fs::create_dir_all(&logs)?;
    let (count, waiting, failed) = (found.len(), Mutex::new(VecDeque::from(found)), Mutex::new(Vec::new()));
    // On its own: a lock that a loop's condition takes is held for the loop's body too.
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = || {
        while let Some(one) = next() {
            let name = format!("{} {} {}", one.package, one.kind, one.target);
            let log = logs.join(name.replace(' ', "-")).with_extension("log");
            if let Err(error) = run_one(&one, &name, log) {
                say(&format!("FAILED {name}: {error:#}"));
                failed.lock().unwrap_or_else(PoisonError::into_inner).push(name);
            }
        }
    };
    std::thread::scope(|scope| (0..at_once.max(1)).for_each(|_| drop(scope.spawn(work))));
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort();
    let documented = cargo(&["test", "--workspace", "--locked", "--doc"]).status()?;
    if !documented.success() {
        failed.push("examples of the documentation".into());
    }
    let seconds = begun.elapsed().as_secs();
    anyhow::ensure!(failed.is_empty(), "{} of {count} test binaries failed: {}", failed.len(), failed.join(", "));
    say(&format!("{count} test binaries passed in {seconds} s"));
    Ok(())
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// The test binaries among what cargo tells, the longest first.
fn listed(text: &str) -> Vec<Binary> {
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let tests = messages.filter(|one| one["reason"] == "compiler-artifact" && one["profile"]["test"] == true);
    let binary = |one: Value| {
        let manifest = PathBuf::from(one["manifest_path"].as_str()?);
        let folder = manifest.parent()?.to_path_buf();
        let package = format!("odigos-{}", folder.file_name()?.to_str()?);
        Some(Binary {
            is_short: package != LONGEST,
            package,
            target: one["target"]["name"].as_str()?.to_owned(),
            kind: one["target"]["kind"][0].as_str()?.to_owned(),
            executable: PathBuf::from(one["executable"].as_str()?),
            folder,
        })
    };
    let mut found: Vec<Binary> = tests.filter_map(binary).collect();
    found.sort();
    found
}

fn run_one(one: &Binary, name: &str, log: PathBuf) -> anyhow::Result<()> {
    let begun = Instant::now();
    let _ = std::fs::remove_file(&log);
    let mut command = Command::new(&one.executable);
    command.current_dir(&one.folder).env("CARGO_MANIFEST_DIR", &one.folder);
    let mut process = Process::start(name, &mut command, &log)?;
    while process.is_running() && begun.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(50));
    }
    let seconds = begun.elapsed().as_secs_f64();
    say(&format!("     Running {name} ({seconds:.1} s)\n{}", process.output()));
    match process.status() {
        Some(status) if status.success() => Ok(()),
        Some(status) => anyhow::bail!("{status}"),
        None => anyhow::bail!("it does not end within {} s", LIMIT.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_binaries_are_taken_and_those_with_peers_first() {
        let text = r#"
{"reason":"compiler-artifact","manifest_path":"/r/crates/api/Cargo.toml","target":{"name":"odigos_api","kind":["lib"]},"profile":{"test":true},"executable":"/t/a"}
{"reason":"compiler-artifact","manifest_path":"/r/crates/testkit/Cargo.toml","target":{"name":"rules","kind":["test"]},"profile":{"test":true},"executable":"/t/r"}
{"reason":"compiler-artifact","manifest_path":"/r/crates/agent/Cargo.toml","target":{"name":"odigos-agent","kind":["bin"]},"profile":{"test":false},"executable":"/t/b"}
{"reason":"compiler-artifact","manifest_path":"/r/crates/api/Cargo.toml","target":{"name":"odigos_api","kind":["lib"]},"profile":{"test":true},"executable":null}
not json
{"reason":"build-finished","success":true}"#;
        let found: Vec<(String, String)> = listed(text).into_iter().map(|one| (one.package, one.target)).collect();
        let expected = [("odigos-testkit", "rules"), ("odigos-api", "odigos_api")];
        assert_eq!(found, expected.map(|(package, target)| (package.to_owned(), target.to_owned())));
    }
}
