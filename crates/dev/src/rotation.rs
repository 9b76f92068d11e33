//! Which cluster scenarios a run of the checks takes: the core, a third of the others, and those that have changed lately.
//!
//! Pure except for [`now`], which asks git.

use anyhow::{Context, bail};
use odigos_tools::root;
use std::collections::BTreeSet;
use std::process::Command;

/// The others are run in this many turns.
const TURNS: usize = 3;
/// How many of the newest commits count as lately.
const LATELY: usize = 20;
/// Where the scenarios are.
const FOLDER: &str = "tests/e2e/stories";

/// One scenario, as `stories --list` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scenario {
    is_core: bool,
    module: String,
    pub(crate) name: String,
    /// What must be built for it alone; empty for nothing.
    pub(crate) needs: String,
}

/// Reads the list that the scenarios print of themselves.
///
/// # Errors
/// When a line is not of that form.
pub(crate) fn read(list: &str) -> anyhow::Result<Vec<Scenario>> {
    let scenario = |line: &str| {
        let mut parts = line.split('\t');
        let mut next = || parts.next();
        let (Some(group), Some(module), Some(name), Some(needs), None) = (next(), next(), next(), next(), next())
        else {
            bail!("unexpected line in the list of scenarios: {line:?}");
        };
        let is_core = match group {
            "core" => true,
            "rotating" => false,
            other => bail!("unknown group of scenarios {other:?}"),
        };
        Ok(Scenario { is_core, module: module.into(), name: name.into(), needs: needs.into() })
    };
    list.lines().map(scenario).collect()
}

/// What decides over the turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Number of commits.
    commits: usize,
    /// Files that changed lately, from the root of the repository.
    changed: BTreeSet<String>,
}

impl Turn {
    /// The scenarios of this turn, in their order.
    pub(crate) fn choose<'a>(&self, all: &'a [Scenario]) -> Vec<&'a Scenario> {
        let others: Vec<&Scenario> = all.iter().filter(|one| !one.is_core).collect();
        let has_turn = |scenario: &&Scenario| {
            let position = others.iter().position(|one| one == scenario);
            let is_changed = self.changed.contains(&format!("{FOLDER}/{}.rs", scenario.module));
            scenario.is_core || is_changed || position.is_some_and(|position| position % TURNS == self.commits % TURNS)
        };
        all.iter().filter(has_turn).collect()
    }

    /// One line that says why these.
    pub(crate) fn describe(&self) -> String {
        let files: Vec<&str> = self.changed.iter().filter_map(|file| file.strip_prefix(FOLDER)).collect();
        format!(
            "turn {} of {TURNS} (commit {}); changed in the last {LATELY} commits: {}",
            self.commits % TURNS + 1,
            self.commits,
            if files.is_empty() { "none".to_owned() } else { files.join(" ").replace('/', "") }
        )
    }
}

/// The turn of the commit that is checked out.
///
/// # Errors
/// When git does not answer.
pub(crate) fn now() -> anyhow::Result<Turn> {
    let commits: usize = git(&["rev-list", "--count", "HEAD"])?.trim().parse().context("git counts no commits")?;
    if git(&["rev-parse", "--is-shallow-repository"])?.trim() == "true" {
        crate::say(
            "e2e: the clone is shallow; turns are counted by the commits that it has (git fetch --unshallow gets the others)",
        );
    }
    let lately = LATELY.to_string();
    let committed = git(&["log", "-n", &lately, "--name-only", "--pretty=format:"])?;
    // What is not committed yet has changed as well.
    let uncommitted = git(&["diff", "--name-only", "HEAD", "--", FOLDER])?;
    let names = committed.lines().chain(uncommitted.lines()).filter(|line| line.starts_with(FOLDER));
    Ok(Turn { commits, changed: names.map(str::to_owned).collect() })
}

fn git(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("git").args(arguments).current_dir(root()).output().context("failed to start git")?;
    if !output.status.success() {
        bail!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;

    const LIST: &str = "core\tinstall\tinstalling\t\nrotating\ta\tfirst\t\nrotating\tb\tsecond\trelease-before\nrotating\tc\tthird\t\nrotating\ta\tfourth\t\n";

    fn chosen(commits: usize, changed: &[&str]) -> Vec<String> {
        let changed = changed.iter().map(|module| format!("{FOLDER}/{module}.rs")).collect();
        let all = read(LIST).unwrap();
        Turn { commits, changed }.choose(&all).iter().map(|one| one.name.clone()).collect()
    }

    #[test]
    fn core_runs_always_and_every_other_scenario_once_in_three_turns() {
        assert_eq!(chosen(0, &[]), ["installing", "first", "fourth"]);
        assert_eq!(chosen(1, &[]), ["installing", "second"]);
        assert_eq!(chosen(2, &[]), ["installing", "third"]);
        assert_eq!(chosen(3, &[]), chosen(0, &[]));
    }

    #[test]
    fn changed_scenario_runs_out_of_turn() {
        assert_eq!(chosen(2, &["a"]), ["installing", "first", "third", "fourth"]);
        assert_eq!(chosen(2, &["main"]), ["installing", "third"]);
    }

    #[test]
    fn list_of_another_form_is_an_error() {
        assert!(read("core\tinstall\tinstalling").is_err());
        assert!(read("sometimes\tinstall\tinstalling\t").is_err());
        assert_eq!(read(LIST).unwrap()[2].needs, "release-before");
    }

    /// A module that is renamed without its scenario would never count as changed.
    #[test]
    fn every_module_of_a_scenario_is_a_file() {
        let text = std::fs::read_to_string(root().join(FOLDER).join("main.rs")).unwrap();
        let (_, rows) = text.split_once("const SCENARIOS").unwrap();
        let rows = rows.split("    core(").flat_map(|part| part.split("    rotating(")).skip(1);
        let modules: Vec<&str> = rows.filter_map(|row| row.split('"').nth(1)).collect();
        assert!(modules.len() > 10, "{modules:?}");
        for module in modules {
            assert!(root().join(FOLDER).join(format!("{module}.rs")).exists(), "{module}");
        }
    }
}
