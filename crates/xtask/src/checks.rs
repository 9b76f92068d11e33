//! `make test` and `make lint`: every check except cluster scenarios and measurements, two lanes at a time, with a table of times.

use crate::board::{Board, both};
use crate::command::{cargo, dev_command, run, target};
use crate::{doctor, needs, tidy};
use anyhow::Context;
use odigos_tools::catalog::{COLLECTOR, WORKFLOW_LINTER};
use odigos_tools::{NODE_TOOLS, Progress, TEST_TOOLS, Tool, build, find, root};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

const FORMAT: &str = "format";
const BOUNDARIES: &str = "boundaries";
const LINTS: &str = "lints";
const BINARIES: &str = "binaries and tests";
const PURE: &str = "tests without peers";
const KUBERNETES: &str = "etcd and Kubernetes";
const COLLECTOR_BUILD: &str = "collector";
const BACKENDS: &str = "Prometheus, Helm, Kafka, ClickHouse";
const GO_AGENT: &str = "tests of the Go agent";
const WORKFLOWS: &str = "workflows";
const GENERATED: &str = "generated files";
const PEERS: &str = "tests with API server and collector";
const NODES: &str = "tools of cluster nodes";
const AGENTS: &str = "agents of the release";

/// Test binaries that run alongside the others: they wait far more than they compute, and together take as long as the rest.
const ALONGSIDE: [&str; 5] = ["adding", "injection", "lifecycle", "rollback", "scaling"];
/// The crate whose tests start real peers.
const TESTKIT: &str = "testkit";
/// Tests that need what only `make e2e` brings; they are built here.
const SCENARIOS: &str = "stories";

/// Runs every check; with `prepare_e2e` what `make e2e` needs is built at low priority while tests wait for something.
///
/// # Errors
/// When something is missing on the machine, or a check fails.
pub(crate) fn test(prepare_e2e: bool) -> anyhow::Result<()> {
    doctor::require(needs::Task::Test)?;
    if prepare_e2e {
        doctor::require(needs::Task::E2e)?;
    }
    let mut steps = vec![
        FORMAT,
        BOUNDARIES,
        LINTS,
        BINARIES,
        PURE,
        KUBERNETES,
        COLLECTOR_BUILD,
        BACKENDS,
        GO_AGENT,
        WORKFLOWS,
        GENERATED,
        PEERS,
    ];
    if prepare_e2e {
        steps.extend([NODES, AGENTS]);
    }
    let board = Board::new("test", &steps);
    let checked = std::thread::scope(|scope| {
        let rust = scope.spawn(|| rust_checks(&board).and_then(|()| board.step(PURE, |_| pure_tests(&board))));
        let peers = peers(&board);
        both(join(rust.join()), peers)?;
        board.step(GENERATED, |progress| {
            run(GENERATED, &mut dev_command("generate", &[OsString::from("--check")]), progress)
        })?;
        let preparation = prepare_e2e.then(|| scope.spawn(|| prepare(&board)));
        let tested = board.step(PEERS, |_| peer_tests(&board));
        both(tested, preparation.map_or(Ok(()), |preparation| join(preparation.join())))
    });
    board.close();
    let table = board.table();
    record(&table)?;
    crate::say(&format!("\n{table}"));
    checked
}

/// Runs the checks that take no test.
///
/// # Errors
/// When a check fails.
pub(crate) fn lint() -> anyhow::Result<()> {
    let board = Board::new("lint", &[FORMAT, BOUNDARIES, LINTS, WORKFLOWS]);
    board.step(FORMAT, format)?;
    board.step(BOUNDARIES, |_| tidy::tidy())?;
    board.step(LINTS, lints)?;
    board.step(WORKFLOWS, workflows)?;
    board.close();
    Ok(())
}

fn join(result: std::thread::Result<anyhow::Result<()>>) -> anyhow::Result<()> {
    result.unwrap_or_else(|_| Err(anyhow::anyhow!("a check panicked")))
}

/// Keeps the times for who comes after: `.ci/run` prints them at its end.
fn record(table: &str) -> anyhow::Result<()> {
    let path = target().join("logs/test-times.txt");
    std::fs::create_dir_all(path.parent().context("a file has a folder")?)?;
    std::fs::write(&path, table).with_context(|| format!("failed to write {}", path.display()))
}

fn rust_checks(board: &Board) -> anyhow::Result<()> {
    board.step(FORMAT, format)?;
    board.step(BOUNDARIES, |_| tidy::tidy())?;
    board.step(LINTS, lints)?;
    board.step(BINARIES, |progress| {
        let build = ["build", "--workspace", "--locked", "--bins", "--tests", "--test", SCENARIOS];
        run(BINARIES, &mut cargo(&build), progress)
    })
}

fn format(progress: Progress<'_>) -> anyhow::Result<()> {
    run(FORMAT, &mut cargo(&["fmt", "--all", "--check"]), progress)
}

fn lints(progress: Progress<'_>) -> anyhow::Result<()> {
    let clippy = ["clippy", "--workspace", "--all-targets", "--test", SCENARIOS, "--locked", "--", "-D", "warnings"];
    run(LINTS, &mut cargo(&clippy), progress)
}

/// What tests start, and the checks that need only Go.
fn peers(board: &Board) -> anyhow::Result<()> {
    let of = |is_wanted: &dyn Fn(&str) -> bool| -> Vec<Tool> {
        TEST_TOOLS.into_iter().filter(|tool| is_wanted(tool.name)).collect()
    };
    let is_kubernetes = |name: &str| name == "etcd" || name.starts_with("kube");
    board.step(KUBERNETES, |progress| build(&of(&is_kubernetes), progress))?;
    board.step(COLLECTOR_BUILD, |progress| build(&of(&|name| name == COLLECTOR), progress))?;
    board.step(BACKENDS, |progress| build(&of(&|name| !is_kubernetes(name) && name != COLLECTOR), progress))?;
    board.step(GO_AGENT, |progress| {
        let mut go = Command::new("go");
        go.args(["test", "./control/..."]).current_dir(root().join("deploy/images/golang"));
        run(GO_AGENT, &mut go, progress)
    })?;
    board.step(WORKFLOWS, workflows)
}

fn workflows(progress: Progress<'_>) -> anyhow::Result<()> {
    build(&[WORKFLOW_LINTER], progress)?;
    let mut linter = Command::new(find(WORKFLOW_LINTER.name)?);
    // Two further linters that it would start where they happen to be installed: every machine gives the same answer.
    linter.args(["-shellcheck=", "-pyflakes="]).current_dir(root());
    run(WORKFLOWS, &mut linter, progress)
}

/// Tests that start no peer: all of the workspace except those of `crates/testkit/tests`.
fn pure_tests(board: &Board) -> anyhow::Result<()> {
    tests(board, PURE, &["--lib", "--bins"], &pure_test_names()?)?;
    tests(board, "documentation tests", &["--doc"], &[])
}

/// Names of the test binaries of every crate but the testkit.
fn pure_test_names() -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root().join("crates"))? {
        let folder = entry?.path();
        if folder.file_name().is_some_and(|name| name != TESTKIT) {
            names.extend(test_names(&folder.join("tests"))?);
        }
    }
    Ok(names)
}

/// Tests that start peers: two binaries at a time, since one leaves two cores idle for more than half of its time.
fn peer_tests(board: &Board) -> anyhow::Result<()> {
    let names = test_names(&root().join("crates").join(TESTKIT).join("tests"))?;
    let (alongside, others): (Vec<String>, _) = names.into_iter().partition(|name| ALONGSIDE.contains(&name.as_str()));
    std::thread::scope(|scope| {
        let second = scope.spawn(|| tests(board, "tests with peers 2", &[], &alongside));
        let first = tests(board, "tests with peers 1", &[], &others);
        // Both end, so that every failure is seen.
        first.and(join(second.join()))
    })
}

/// Runs tests of the workspace with its binaries as they were built; everything that they print is shown.
fn tests(board: &Board, name: &str, kinds: &[&str], names: &[String]) -> anyhow::Result<()> {
    let mut command = cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    command.args(kinds).args(names.iter().flat_map(|name| ["--test", name]));
    command.env("ODIGOS_TEST_BINARIES", target().join("debug"));
    // Lines of binaries that run at the same time are told apart.
    let mark = name.strip_prefix("tests with peers ").map(|lane| format!("{lane}| ")).unwrap_or_default();
    run(name, &mut command, &|line| board.print(&format!("{mark}{line}")))
}

/// Names of the test binaries of a folder: its files, and its folders that have a `main.rs`.
fn test_names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(names) };
    for entry in entries {
        let path = entry?.path();
        let is_test = path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").exists();
        names.extend(path.file_stem().filter(|_| is_test).map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// What `make e2e` needs besides, at the lowest priority: tests that run meanwhile come first.
fn prepare(board: &Board) -> anyhow::Result<()> {
    let itself = std::env::current_exe()?;
    let nodes: Vec<&str> = NODE_TOOLS.iter().map(|tool| tool.name).collect();
    let kind = |program: &PathBuf, arguments: &[&str]| {
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(program).args(arguments).current_dir(root());
        command
    };
    board.step(NODES, |progress| run(NODES, &mut kind(&itself, &[&["tools"], &nodes[..]].concat()), progress))?;
    let dev = target().join("debug/odigos-dev");
    board.step(AGENTS, |progress| run(AGENTS, &mut kind(&dev, &["agents"]), progress))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;

    #[test]
    fn every_test_of_the_testkit_belongs_to_the_tests_with_peers() {
        let names = test_names(&root().join("crates/testkit/tests")).unwrap();
        assert!(names.contains(&"api_server".to_owned()) && names.contains(&"collector".to_owned()), "{names:?}");
        assert!(ALONGSIDE.iter().all(|name| names.contains(&(*name).to_owned())), "{names:?}");
        // Cargo selects by name alone: one name in both would start peers before they are built.
        let pure = pure_test_names().unwrap();
        assert!(pure.iter().all(|name| !names.contains(name)), "{pure:?}");
        assert!(test_names(&root().join("crates/no-such-crate/tests")).unwrap().is_empty());
    }
}
