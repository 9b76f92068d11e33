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
/// The table that says which test shows which scenario of acceptance, and how many scenarios there are.
const SCENARIOS: (&str, u32) = ("tests/scenarios.md", 66);

/// Runs every check and lists everything that is wrong.
pub(crate) fn tidy() -> anyhow::Result<()> {
    let mut problems = Vec::new();
    check_arrows(&mut problems)?;
    check_top(&mut problems)?;
    check_scenarios(&mut problems)?;
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

fn check_scenarios(problems: &mut Vec<String>) -> anyhow::Result<()> {
    let (path, rows) = SCENARIOS;
    let table = std::fs::read_to_string(root().join(path)).with_context(|| format!("{path} cannot be read"))?;
    let read = |file: &str| std::fs::read_to_string(root().join(file)).ok();
    problems.extend(wrong_scenarios(&table, rows, &read).iter().map(|problem| format!("{path}: {problem}")));
    Ok(())
}

/// What does not hold in a table with this many scenarios; `read` gives the text of a file, if there is one.
fn wrong_scenarios(table: &str, rows: u32, read: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut numbers: Vec<u32> = Vec::new();
    for line in table.lines() {
        let first = line.strip_prefix('|').and_then(|rest| rest.split('|').next());
        let Some(number) = first.and_then(|cell| cell.trim().parse::<u32>().ok()) else { continue };
        numbers.push(number);
        if line.contains(".rs::") == line.contains("| not shown |") {
            problems.push(format!("row {number} must either name tests or be not shown"));
        }
    }
    for number in 1..=rows {
        let times = numbers.iter().filter(|one| **one == number).count();
        if times != 1 {
            problems.push(format!("row {number} occurs {times} times"));
        }
    }
    for number in numbers.iter().filter(|one| !(1..=rows).contains(*one)) {
        problems.push(format!("there is no scenario {number}"));
    }
    let words = table.split(|letter: char| letter.is_whitespace() || "`|,;()".contains(letter));
    for (file, name) in words.filter_map(|word| word.split_once("::")).filter(|(file, _)| file.ends_with(".rs")) {
        match read(file) {
            None => problems.push(format!("{file} does not exist")),
            Some(text) if !text.contains(&format!("fn {name}(")) => problems.push(format!("{file} has no fn {name}")),
            Some(_) => {}
        }
    }
    problems
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
    fn scenarios_occur_once_and_name_what_exists() {
        let read = |file: &str| (file == "a/b.rs").then(|| "fn one() {}\nasync fn two() {}\n".to_owned());
        let of = |table: &str| wrong_scenarios(table, 2, &read);
        let one = "| 1 | it works | API server | `a/b.rs::one`, `a/b.rs::two` | |\n";
        let two = "| 2 | it stops | not shown | | nobody stops it |\n";
        assert_eq!(of(&format!("# Scenarios\n| Nr. | What |\n|---|---|\n{one}{two}")), [""; 0]);
        assert_eq!(of(one), ["row 2 occurs 0 times"]);
        assert_eq!(of(&format!("{one}{two}{two}")), ["row 2 occurs 2 times"]);
        assert_eq!(of(&format!("{one}{two}{}", two.replace('2', "3"))), ["there is no scenario 3"]);
        assert_eq!(of(&format!("{two}{}", one.replace("::one", "::on"))), ["a/b.rs has no fn on"]);
        assert_eq!(of(&format!("{two}{}", one.replace("b.rs::two", "c.rs::two"))), ["a/c.rs does not exist"]);
        let unproven = two.replace("not shown", "cluster");
        assert_eq!(of(&format!("{one}{unproven}")), ["row 2 must either name tests or be not shown"]);
    }
}
