//! Boundaries between crates and habits of the code, checked (design 7, house style 5).

use anyhow::{Context, bail};
use odigos_testkit::tools::root;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Crates that decide, and therefore touch nothing outside.
const PURE: [&str; 6] = ["api", "catalog", "chart", "detect", "pipeline", "plan"];
/// What a pure crate must not reach, directly or through others.
const IMPURE: [&str; 6] = ["tokio", "hyper", "kube-client", "kube-runtime", "reqwest", "tonic"];
/// What the sources of a pure crate must not mention.
const IMPURE_WORDS: [&str; 7] =
    ["std::fs", "std::env::", "SystemTime", "Timestamp::now", "async fn", "HashMap", "std::net"];
/// Crates with a binary of their own; none uses another.
const BINARIES: [&str; 6] = ["agent", "autoscaler", "cli", "instrumentor", "scheduler", "xtask"];
/// Everything that may stand at the top of the repository.
const TOP: [&str; 22] = [
    ".cargo",
    ".ci",
    ".git",
    ".gitignore",
    ".run",
    "ARCHITECTURE.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
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
    check_top(&mut problems)?;
    for file in sources(&root().join("crates"))? {
        check_file(&file, &mut problems)?;
    }
    if problems.is_empty() {
        crate::say("tidy: everything is in its place");
        return Ok(());
    }
    for problem in &problems {
        crate::say(&format!("tidy: {problem}"));
    }
    bail!("{} things are out of place", problems.len())
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
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package"]);
    command.arg(format!("odigos-{name}")).current_dir(root());
    if let Some(depth) = depth {
        command.arg("--depth").arg(depth.to_string());
    }
    let output = command.output().context("cargo tree cannot be run")?;
    if !output.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
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
