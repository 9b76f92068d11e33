//! `make test` and `make lint`: every check except cluster scenarios and measurements, several at a time, with a table of times.

use crate::board::{Board, both};
use crate::command::{cargo, dev_command, run, target};
use crate::{doctor, needs, tidy};
use anyhow::Context;
use odigos_tools::catalog::{COLLECTOR, DENY, GATEWAY, MACHETE, NODE_COLLECTOR, WORKFLOW_LINTER};
use odigos_tools::{NODE_TOOLS, Progress, TEST_TOOLS, Tool, build, find, root};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

const FORMAT: &str = "format";
const BOUNDARIES: &str = "boundaries";
const LINTS: &str = "lints";
const SUPPLY_CHAIN: &str = "licences, bans, sources";
const UNUSED: &str = "unused dependencies";
const BINARIES: &str = "binaries and tests";
const LINTED_BINARIES: &str = "lints, binaries and tests";
const PURE: &str = "tests without peers";
const KUBERNETES: &str = "etcd and Kubernetes";
const COLLECTOR_BUILD: &str = "collectors";
const BACKENDS: &str = "Prometheus, Helm, Kafka, ClickHouse";
const GO_AGENT: &str = "tests of the Go agent";
/// Go shortens an input for up to a minute beyond the time of fuzzing, unless it is told how long.
const FUZZING: [&str; 5] = ["-run=^$", "-fuzz=^FuzzEstimate$", "-fuzztime=20s", "-fuzzminimizetime=5s", "-parallel=1"];
const COLLECTOR_TESTS: &str = "tests of the collectors' own code";
const WORKFLOWS: &str = "workflows";
const GENERATED: &str = "generated files";
const PEERS: &str = "tests with API server and collector";
const NODES: &str = "tools of cluster nodes";
const AGENTS: &str = "agents of the release";

/// Checks of `deny.toml` that need no database of the world.
const OFFLINE_CHECKS: &[&str] = &["bans", "licenses", "sources"];
/// Test binaries with peers that take minutes, the longest first: who begins with them is not waited for at the end.
const LONGEST: [&str; 10] = [
    "scaling",
    "personas",
    "collector",
    "lifecycle",
    "api_server",
    "scenarios",
    "sampling",
    "adding",
    "preview",
    "rollback",
];
/// How many of them run at a time: they wait far more than they compute.
const AT_A_TIME: usize = 4;
/// What the names of their steps begin with.
const PEERS_PREFIX: &str = "tests with peers ";
/// The crate whose tests start real peers.
const TESTKIT: &str = "testkit";
/// What is compiled and linted. Scenarios come by themselves: cargo leaves what is not tested by default out of `--all-targets` and `--tests`,
/// even where `--test` names it.
const EVERYTHING: [&[&str]; 2] = [&["--workspace", "--all-targets"], &["--workspace", "--test", "stories"]];

/// Runs every check; with `prepare_e2e` what `make e2e` needs is built at low priority while tests wait for something.
///
/// # Errors
/// When something is missing on the machine, or a check fails.
pub(crate) fn test(prepare_e2e: bool) -> anyhow::Result<()> {
    doctor::require(needs::Task::Test)?;
    if prepare_e2e {
        doctor::require(needs::Task::E2e)?;
    }
    let mut steps = vec![FORMAT, BOUNDARIES, SUPPLY_CHAIN, UNUSED];
    steps.extend(if clippy_compiles() { &[LINTED_BINARIES][..] } else { &[LINTS, BINARIES] });
    steps.extend([PURE, KUBERNETES, COLLECTOR_BUILD, BACKENDS, GO_AGENT, COLLECTOR_TESTS, WORKFLOWS, GENERATED, PEERS]);
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
    let board = Board::new("lint", &[FORMAT, BOUNDARIES, SUPPLY_CHAIN, UNUSED, LINTS, WORKFLOWS]);
    board.step(FORMAT, format)?;
    board.step(BOUNDARIES, |_| tidy::tidy())?;
    board.step(SUPPLY_CHAIN, |progress| supply_chain(OFFLINE_CHECKS, progress))?;
    board.step(UNUSED, unused_dependencies)?;
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
    board.step(SUPPLY_CHAIN, |progress| supply_chain(OFFLINE_CHECKS, progress))?;
    board.step(UNUSED, unused_dependencies)?;
    let name = if clippy_compiles() {
        LINTED_BINARIES
    } else {
        board.step(LINTS, lints)?;
        BINARIES
    };
    board.step(name, |progress| {
        EVERYTHING
            .iter()
            .try_for_each(|what| run(name, &mut cargo(&[&["build", "--locked"], *what].concat()), progress))
    })
}

/// Whether clippy's driver compiles the workspace (`RUSTC_WORKSPACE_WRAPPER`): then building is linting. `.ci/run` does it that way, since
/// linting first compiles every library once more, without code, and reads the workspace twice.
fn clippy_compiles() -> bool {
    let wrapper = std::env::var_os("RUSTC_WORKSPACE_WRAPPER");
    wrapper.is_some_and(|wrapper| Path::new(&wrapper).file_stem().is_some_and(|name| name == "clippy-driver"))
}

fn format(progress: Progress<'_>) -> anyhow::Result<()> {
    run(FORMAT, &mut cargo(&["fmt", "--all", "--check"]), progress)
}

fn lints(progress: Progress<'_>) -> anyhow::Result<()> {
    EVERYTHING.iter().try_for_each(|what| {
        let clippy = [&["clippy", "--locked"], *what, &["--", "-D", "warnings"]].concat();
        run(LINTS, &mut cargo(&clippy), progress)
    })
}

/// Unused dependencies, and everything of `deny.toml`, known vulnerabilities too, whose database is fetched.
///
/// # Errors
/// When a check fails.
pub(crate) fn deny() -> anyhow::Result<()> {
    unused_dependencies(&|line| crate::say(line))?;
    supply_chain(&[], &|line| crate::say(line))
}

/// Each crate with its tests and the features of its own manifest alone; in the workspace another crate's may hide that one is missing.
///
/// # Errors
/// When a crate does not compile by itself.
pub(crate) fn crates() -> anyhow::Result<()> {
    let mut all: Vec<String> = std::fs::read_dir(root().join("crates"))?
        .map(|entry| Ok(format!("odigos-{}", entry?.file_name().to_string_lossy())))
        .collect::<std::io::Result<_>>()?;
    all.sort();
    let board = Board::new("crates", &all.iter().map(String::as_str).collect::<Vec<_>>());
    for name in &all {
        let check = ["check", "--locked", "--all-targets", "--package", name.as_str()];
        board.step(name, |progress| run(name, &mut cargo(&check), progress))?;
    }
    board.close();
    Ok(())
}

/// Dependencies that a crate names and does not use.
fn unused_dependencies(progress: Progress<'_>) -> anyhow::Result<()> {
    build(&[MACHETE], progress)?;
    let mut machete = Command::new(find(MACHETE.name)?);
    // Exactly the crates: a folder of results or of another tool is no crate of ours.
    machete.arg("crates").current_dir(root());
    run(UNUSED, &mut machete, progress)
}

/// Checks of `deny.toml`, all where none is named.
fn supply_chain(checks: &[&str], progress: Progress<'_>) -> anyhow::Result<()> {
    build(&[DENY], progress)?;
    let mut deny = Command::new(find(DENY.name)?);
    // Warnings are no failures, and long.
    deny.args(["--locked", "--log-level=error", "check", "--hide-inclusion-graph"]).args(checks).current_dir(root());
    run(SUPPLY_CHAIN, &mut deny, progress)
}

/// What tests start, and the checks that need only Go.
fn peers(board: &Board) -> anyhow::Result<()> {
    let of = |is_wanted: &dyn Fn(&str) -> bool| -> Vec<Tool> {
        TEST_TOOLS.into_iter().filter(|tool| is_wanted(tool.name)).collect()
    };
    let is_kubernetes = |name: &str| name == "etcd" || name.starts_with("kube");
    let is_collector = |name: &str| [COLLECTOR, GATEWAY, NODE_COLLECTOR].contains(&name);
    board.step(KUBERNETES, |progress| build(&of(&is_kubernetes), progress))?;
    board.step(COLLECTOR_BUILD, |progress| build(&of(&is_collector), progress))?;
    board.step(BACKENDS, |progress| build(&of(&|name| !is_kubernetes(name) && !is_collector(name)), progress))?;
    board.step(GO_AGENT, |progress| {
        let mut go = Command::new("go");
        // As it is built: without C, it changes the privileges of all its threads.
        go.args(["test", "./control/..."]).env("CGO_ENABLED", "0").current_dir(root().join("deploy/images/golang"));
        run(GO_AGENT, &mut go, progress)
    })?;
    board.step(COLLECTOR_TESTS, |progress| {
        // The second run makes up requests for a while, on one core: tests with peers need the others.
        // Go makes up inputs for one package at a time.
        let all = ["./program", "./metricsendpointextension", "./requestlimitextension"];
        for (further, packages) in [(&[][..], &all[..]), (&FUZZING[..], &all[2..])] {
            let mut go = Command::new("go");
            go.args(["test", "-tags=grpcnotrace,remove_all_sd"]).args(further).args(packages);
            run(COLLECTOR_TESTS, go.current_dir(root().join("deploy/collector")), progress)?;
        }
        Ok(())
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

/// Tests that start peers: several binaries at a time, since one leaves two cores idle for more than half of its time. Who is done with one takes the
/// next; all are run, so that every failure is seen.
fn peer_tests(board: &Board) -> anyhow::Result<()> {
    let names = longest_first(test_names(&root().join("crates").join(TESTKIT).join("tests"))?);
    let begun = Instant::now();
    let (next, times) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        let mut outcome = Ok(());
        while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            let start = Instant::now();
            outcome = both(outcome, tests(board, &format!("{PEERS_PREFIX}{name}"), &[], std::slice::from_ref(name)));
            let taken = (start.elapsed().as_secs(), start.duration_since(begun).as_secs(), name.clone());
            times.lock().unwrap_or_else(PoisonError::into_inner).push(taken);
        }
        outcome
    };
    let outcome = std::thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(work)).collect();
        running.into_iter().map(|one| join(one.join())).reduce(both).unwrap_or(Ok(()))
    });
    let mut times = times.into_inner().unwrap_or_else(PoisonError::into_inner);
    times.sort_unstable_by(|a, b| b.cmp(a));
    for (seconds, after, name) in times {
        board.print(&format!("{seconds:>5} s  {name} (begun after {after} s)"));
    }
    outcome
}

/// The tests with peers, those of [`LONGEST`] first.
fn longest_first(mut names: Vec<String>) -> Vec<String> {
    names.sort_by_key(|name| LONGEST.iter().position(|one| one == name).unwrap_or(LONGEST.len()));
    names
}

/// Runs tests of the workspace with its binaries as they were built; everything that they print is shown.
fn tests(board: &Board, name: &str, kinds: &[&str], names: &[String]) -> anyhow::Result<()> {
    let mut command = cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    command.args(kinds).args(names.iter().flat_map(|name| ["--test", name]));
    command.env("ODIGOS_TEST_BINARIES", target().join("debug"));
    // Lines of binaries that run at the same time are told apart.
    let mark = name.strip_prefix(PEERS_PREFIX).map(|name| format!("{name}| ")).unwrap_or_default();
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
    fn fuzzing_ends_with_its_time_where_an_input_is_shortened() {
        assert!(FUZZING.iter().any(|argument| argument.starts_with("-fuzzminimizetime=")));
        let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
        let unbounded = |line: &&str| line.contains("-fuzztime=") && !line.contains("-fuzzminimizetime=");
        assert_eq!(makefile.lines().filter(unbounded).collect::<Vec<_>>(), Vec::<&str>::new());
    }

    #[test]
    fn every_test_of_the_testkit_belongs_to_the_tests_with_peers() {
        let names = test_names(&root().join("crates/testkit/tests")).unwrap();
        assert!(names.contains(&"api_server".to_owned()) && names.contains(&"collector".to_owned()), "{names:?}");
        let mut ordered = longest_first(names.clone());
        assert!(LONGEST.iter().zip(&ordered).all(|(long, name)| long == name), "{ordered:?}");
        ordered.sort();
        assert_eq!(ordered, names);
        // Cargo selects by name alone: one name in both would start peers before they are built.
        let pure = pure_test_names().unwrap();
        assert!(pure.iter().all(|name| !names.contains(name)), "{pure:?}");
        assert!(test_names(&root().join("crates/no-such-crate/tests")).unwrap().is_empty());
    }
}
