//! Boundaries between crates and habits of the code, checked.

mod evidence;

use anyhow::{Context, bail};
use odigos_tools::root;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Crates that decide, and therefore touch nothing outside.
const PURE: [&str; 6] = ["api", "catalog", "chart", "detect", "pipeline", "plan"];
/// What a pure crate must not reach, directly or through others.
const IMPURE: [&str; 6] = ["tokio", "hyper", "kube-client", "kube-runtime", "reqwest", "tonic"];
/// What the sources of a pure crate must not mention.
const IMPURE_WORDS: [&str; 7] =
    ["std::fs", "std::env::", "SystemTime", "Timestamp::now", "async fn", "HashMap", "std::net"];
/// Crates with a binary of their own; none uses another.
const BINARIES: [&str; 7] = ["agent", "autoscaler", "cli", "dev", "instrumentor", "scheduler", "xtask"];
/// Everything that may stand at the top of the repository.
const TOP: [&str; 27] = [
    ".cargo",
    ".ci",
    ".git",
    ".github",
    ".gitignore",
    ".pre-commit-config.yaml",
    ".run",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "charts",
    "clippy.toml",
    "config",
    "crates",
    "deny.toml",
    "deploy",
    "docs",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "target",
    "tests",
];
/// Most lines of a source file, and of a file of tests.
const LINES: (usize, usize) = (800, 1200);
/// Runs every check and lists everything that is wrong.
pub(crate) fn tidy() -> anyhow::Result<()> {
    let mut problems = Vec::new();
    check_arrows(&mut problems)?;
    check_features(&mut problems)?;
    check_dependencies(&mut problems)?;
    check_top(&mut problems)?;
    evidence::check(&mut problems)?;
    for file in sources(&root().join("crates"))? {
        check_file(&file, &mut problems)?;
    }
    anyhow::ensure!(problems.is_empty(), "tidy: {} violations\n{}", problems.len(), problems.join("\n"));
    Ok(())
}

/// Builds of binaries and of tests must unite the same features: cargo compiles a dependency once more for each other choice.
fn check_features(problems: &mut Vec<String>) -> anyhow::Result<()> {
    let tree = |edges: &str| {
        let output = cargo_tree(&["--workspace", "--edges", edges, "--format", "{p} {f}"])?;
        let lines = output.lines().map(|line| line.trim_end_matches(" (*)"));
        anyhow::Ok(lines.filter(|line| !line.starts_with("odigos-")).map(str::to_owned).collect::<BTreeSet<_>>())
    };
    problems.extend(features_of_tests(&tree("normal,build")?, &tree("normal,build,dev")?));
    Ok(())
}

/// Packages whose features differ once tests are built too; lines are `NAME VERSION FEATURES`.
fn features_of_tests(binaries: &BTreeSet<String>, tests: &BTreeSet<String>) -> Vec<String> {
    let package = |line: &str| line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ");
    let known: BTreeSet<String> = binaries.iter().map(|line| package(line)).collect();
    let differing = tests.difference(binaries).filter(|line| known.contains(&package(line)));
    let problem = |line: &String| {
        format!(
            "tests compile {} once more, with other features than binaries: name them in Cargo.toml of the workspace ({line})",
            package(line)
        )
    };
    differing.map(problem).collect()
}

fn check_arrows(problems: &mut Vec<String>) -> anyhow::Result<()> {
    for pure in PURE {
        let reached = reached(pure, None)?;
        for impure in IMPURE.iter().filter(|one| reached.contains(**one)) {
            problems.push(format!("crates/{pure} decides and must not reach {impure}"));
        }
        if reached.contains("odigos-kit") {
            problems.push(format!("crates/{pure} must not see kit"));
        }
    }
    for one in BINARIES {
        let reached = reached(one, Some(1))?;
        for other in BINARIES.iter().filter(|other| **other != one && reached.contains(&format!("odigos-{other}"))) {
            problems.push(format!("crates/{one} must not use crates/{other}"));
        }
    }
    Ok(())
}

/// Crates that `crates/<name>` reaches, built alone: features that only others ask for do not count.
fn reached(name: &str, depth: Option<u8>) -> anyhow::Result<BTreeSet<String>> {
    let (package, depth) = (format!("odigos-{name}"), depth.map(|depth| depth.to_string()));
    let mut arguments = vec!["--edges", "normal", "--format", "{p}", "--package", &package];
    arguments.extend(depth.iter().flat_map(|depth| ["--depth", depth.as_str()]));
    let text = cargo_tree(&arguments)?;
    Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

/// What `cargo tree` prints, a package a line.
fn cargo_tree(arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = crate::command::cargo(&["tree", "--locked", "--prefix", "none"]);
    let output = command.args(arguments).output().context("failed to start cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// A dependency of the workspace that no crate takes is still resolved, audited and updated (`cargo machete` looks inside crates only).
fn check_dependencies(problems: &mut Vec<String>) -> anyhow::Result<()> {
    let mut manifests = String::new();
    for member in std::fs::read_dir(root().join("crates"))?.map(|entry| entry.map(|entry| entry.path())) {
        manifests.push_str(&std::fs::read_to_string(member?.join("Cargo.toml")).unwrap_or_default());
    }
    manifests.push_str(&std::fs::read_to_string(root().join("tests/e2e/Cargo.toml"))?);
    let unused = unused_dependencies(&std::fs::read_to_string(root().join("Cargo.toml"))?, &manifests);
    problems.extend(unused.iter().map(|name| format!("Cargo.toml: no crate uses the dependency {name}")));
    Ok(())
}

/// Names below `[workspace.dependencies]` that the members' manifests do not mention as `NAME.workspace` or `NAME = { workspace`.
fn unused_dependencies(workspace: &str, members: &str) -> Vec<String> {
    let section = workspace.split("[workspace.dependencies]\n").nth(1).and_then(|rest| rest.split("\n[").next());
    let names =
        section.unwrap_or_default().lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim());
    let takes = |line: &str, name: &str| {
        let rest = line.strip_prefix(name).map(str::trim_start);
        rest.is_some_and(|rest| rest.starts_with(".workspace") || rest.replace(' ', "").starts_with("={workspace"))
    };
    names
        .filter(|name| !name.starts_with('#') && !members.lines().any(|line| takes(line, name)))
        .map(str::to_owned)
        .collect()
}

fn check_top(problems: &mut Vec<String>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(root())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !TOP.contains(&name.as_str()) {
            problems.push(format!("{name} does not belong at the top"));
        }
    }
    Ok(())
}

fn sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn check_file(path: &Path, problems: &mut Vec<String>) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path)?;
    let relative = path.strip_prefix(root()).unwrap_or(path).display().to_string();
    let in_crate = relative.strip_prefix("crates/").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let is_tests = relative.ends_with("tests.rs") || relative.contains("/tests/") || relative.contains("/benches/");
    let limit = if is_tests { LINES.1 } else { LINES.0 };
    let lines = text.lines().count();
    if lines > limit {
        problems.push(format!("{relative} has {lines} lines, at most {limit} are allowed"));
    }
    if !text.starts_with("//!") {
        problems.push(format!("{relative} does not begin with what it owns (//!)"));
    }
    // Words are put together, so that this file does not find itself.
    for word in [["TO", "DO"].concat(), ["FIX", "ME"].concat()] {
        if text.contains(&word) {
            problems.push(format!("{relative} holds {word}; file an issue instead"));
        }
    }
    let machine = [["/wo", "rk/"].concat(), ["/ro", "ot/"].concat()];
    if machine.iter().any(|part| text.contains(part)) {
        problems.push(format!("{relative} names a folder of one machine"));
    }
    let product = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    if PURE.contains(&in_crate) && !is_tests && relative.contains("/src/") {
        for word in IMPURE_WORDS
            .iter()
            .filter(|word| product.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(**word)))
        {
            problems.push(format!("{relative} decides and must not use {word}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_that_tests_compile_once_more_is_a_violation() {
        let of = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<BTreeSet<_>>();
        let binaries = of(&["tokio v1.0.0 net,time", "serde v1.0.0 derive"]);
        assert_eq!(features_of_tests(&binaries, &of(&["tokio v1.0.0 net,time", "proptest v1.0.0 std"])), [""; 0]);
        let found = features_of_tests(&binaries, &of(&["tokio v1.0.0 net,test-util,time", "serde v1.0.0 derive"]));
        assert!(found.len() == 1 && found[0].contains("tokio v1.0.0 once more"), "{found:?}");
    }

    #[test]
    fn dependency_that_no_crate_takes_is_a_violation() {
        let workspace = "[workspace]\n[workspace.dependencies]\n# data\nserde = \"1\"\nserde_json = { version = \"1\" }\nurl = \"2\"\n[profile.dev]\ndebug = false\n";
        let members = "serde.workspace = true\nserde_json = { workspace = true, features = [] }\nurls = \"1\"\n";
        assert_eq!(unused_dependencies(workspace, members), ["url"]);
    }
}
