//! `make doctor`: what tasks need, what is there in which version, what is missing, and the one command that installs it.

use crate::needs::{Check, NEEDS, Need, System, Task};
use crate::say;
use anyhow::Context;
use odigos_tools::Version;
use odigos_tools::catalog::{GO, GO_THAT_FETCHES};
use odigos_tools::installed::{on_path, version};
use std::path::Path;
use std::process::{Command, Stdio};

/// What was found of one need.
enum Found {
    /// It is there, in this version where it has one.
    Present(String),
    /// A version that is too old.
    Old(Version),
    Missing,
}

/// Shows what the named tasks need; without names, what all of them need.
///
/// # Errors
/// When a name is unknown, or something is missing.
pub(crate) fn doctor(names: &[String]) -> anyhow::Result<()> {
    let mut tasks = Vec::new();
    for name in names {
        let known = Task::ALL.map(|task| task.to_string()).join(", ");
        tasks.push(Task::named(name).with_context(|| format!("unknown task {name:?}; there are {known}"))?);
    }
    if tasks.is_empty() {
        tasks = Task::ALL.to_vec();
    }
    let needs = needed(&tasks);
    let mut missing = Vec::new();
    say(&format!("{:<12} {:<12} {:<12} NEEDED BY", "NEED", "AT LEAST", "FOUND"));
    for need in needs {
        let found = inspect(&need);
        let text = match &found {
            Found::Present(version) => version.clone(),
            Found::Old(version) => format!("{version} !"),
            Found::Missing => "missing".into(),
        };
        let by: Vec<String> = need.tasks.iter().map(Task::to_string).collect();
        say(&format!("{:<12} {:<12} {text:<12} {}", need.name, least(&need), by.join(" ")));
        if !matches!(found, Found::Present(_)) {
            missing.push(need);
        }
    }
    say("");
    for task in &tasks {
        let lacks: Vec<&str> = missing.iter().filter(|need| need.tasks.contains(task)).map(|need| need.name).collect();
        let verdict = if lacks.is_empty() { "ready".to_owned() } else { format!("missing: {}", lacks.join(", ")) };
        say(&format!("make {task:<7} {verdict}"));
    }
    verdict(&missing)
}

/// Ends a task at once, with the commands that help, when something that it needs is missing.
///
/// # Errors
/// When something is missing.
pub(crate) fn require(task: Task) -> anyhow::Result<()> {
    let missing: Vec<Need> =
        needed(&[task]).into_iter().filter(|need| !matches!(inspect(need), Found::Present(_))).collect();
    verdict(&missing).with_context(|| format!("make {task} cannot run on this machine"))
}

fn verdict(missing: &[Need]) -> anyhow::Result<()> {
    anyhow::ensure!(missing.is_empty(), "{}", remedies(missing, system()));
    Ok(())
}

fn needed(tasks: &[Task]) -> Vec<Need> {
    NEEDS.into_iter().filter(|need| need.tasks.iter().any(|task| tasks.contains(task))).collect()
}

fn least(need: &Need) -> String {
    match need.check {
        Check::Program(_, _, least) if least > Version(0, 0, 0) => least.to_string(),
        Check::Within(_, _, least, _) => least.0.to_string(),
        Check::Go => GO.to_string(),
        _ => "any".into(),
    }
}

fn inspect(need: &Need) -> Found {
    let present = |is_there: bool| if is_there { Found::Present("yes".into()) } else { Found::Missing };
    match need.check {
        Check::Linux => present(cfg!(target_os = "linux")),
        Check::Debian12 => present(is_debian_12(&std::fs::read_to_string("/etc/os-release").unwrap_or_default())),
        Check::Go => inspect_go(),
        Check::Within(program, arguments, least, below) => {
            let found = on_path(program).and_then(|path| version(&path, arguments));
            match found {
                Some(version) if (least..below).contains(&version) => Found::Present(version.to_string()),
                Some(version) => Found::Old(version),
                None => Found::Missing,
            }
        }
        Check::File(paths) => present(paths.iter().any(|path| Path::new(path).exists())),
        Check::Root => present(is_root()),
        Check::Program(program, arguments, least) => {
            let Some(path) = on_path(program) else { return Found::Missing };
            match version(&path, arguments) {
                Some(version) if version < least => Found::Old(version),
                Some(version) => Found::Present(version.to_string()),
                // Some print no number; whether they start is what counts then.
                None if least == Version(0, 0, 0) && starts(&path, arguments) => Found::Present("yes".into()),
                None => Found::Missing,
            }
        }
    }
}

/// Go is new enough, or is allowed to fetch one that is.
fn inspect_go() -> Found {
    let Some(path) = on_path("go") else { return Found::Missing };
    let Some(found) = version(&path, &["version"]) else { return Found::Missing };
    let fetches = || {
        let output = Command::new(&path).args(["env", "GOTOOLCHAIN"]).stdin(Stdio::null()).output();
        output.is_ok_and(|output| !String::from_utf8_lossy(&output.stdout).trim().starts_with("local"))
    };
    if found >= GO || (found >= GO_THAT_FETCHES && fetches()) {
        return Found::Present(found.to_string());
    }
    Found::Old(found)
}

/// Whether `/etc/os-release` is that of Debian 12.
fn is_debian_12(text: &str) -> bool {
    let has = |line: &str| text.lines().any(|one| one.replace('"', "") == line);
    has("ID=debian") && has("VERSION_ID=12")
}

fn starts(program: &Path, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == "0")
}

fn system() -> System {
    if cfg!(target_os = "macos") {
        return System::MacOs;
    }
    let has = |program: &str| on_path(program).is_some();
    match () {
        () if has("apt-get") => System::Debian,
        () if has("dnf") => System::Fedora,
        () => System::Other,
    }
}

/// What to do about what is missing: one command for all packages, and a line for each other thing.
fn remedies(missing: &[Need], system: System) -> String {
    let mut packages: Vec<&str> = missing.iter().filter_map(|need| need.package(system)).collect();
    packages.sort_unstable();
    packages.dedup();
    let root = if is_root() || system == System::MacOs { "" } else { "sudo " };
    let install = match system {
        System::Debian => format!("{root}apt-get update && {root}apt-get install -y --no-install-recommends"),
        System::Fedora => format!("{root}dnf install -y"),
        System::MacOs => "brew install".to_owned(),
        System::Other => String::new(),
    };
    let names: Vec<&str> = missing.iter().map(|need| need.name).collect();
    let mut text = format!("missing: {}\n", names.join(", "));
    if !packages.is_empty() {
        text.push_str(&format!("  {install} {}\n", packages.join(" ")));
    }
    for need in missing.iter().filter(|need| need.package(system).is_none()) {
        text.push_str(&format!("  {}: {}\n", need.name, need.otherwise));
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;

    fn some(names: &[&str]) -> Vec<Need> {
        names.iter().map(|name| *NEEDS.iter().find(|need| need.name == *name).unwrap()).collect()
    }

    #[test]
    fn missing_packages_are_installed_by_one_command() {
        let missing = some(&["pip", "go", "containerd"]);
        let debian = remedies(&missing, System::Debian);
        assert!(debian.contains("apt-get install -y --no-install-recommends containerd python3-pip"), "{debian}");
        assert!(debian.contains("go: install Go from https://go.dev/dl"), "{debian}");
        let fedora = remedies(&missing, System::Fedora);
        assert!(fedora.contains("dnf install -y python3-pip"), "{fedora}");
        assert!(fedora.contains("containerd: clusters of real nodes are only created on Debian 12"), "{fedora}");
        let mac = remedies(&missing, System::MacOs);
        assert!(
            mac.contains("brew install go python\n") && mac.contains("containerd: clusters of real nodes"),
            "{mac}"
        );
        let other = remedies(&missing, System::Other);
        assert!(other.contains("containerd: ") && other.contains("pip: python3 -m ensurepip --upgrade"), "{other}");
    }

    #[test]
    fn program_that_is_too_old_is_not_enough() {
        let of = |least| Need { check: Check::Program("cargo", &["--version"], least), ..some(&["rust"])[0] };
        assert!(matches!(inspect(&of(Version(1, 0, 0))), Found::Present(_)));
        assert!(matches!(inspect(&of(Version(999, 0, 0))), Found::Old(_)));
        let absent = Need { check: Check::Program("odigos-no-such", &[], Version(0, 0, 0)), ..some(&["rust"])[0] };
        assert!(matches!(inspect(&absent), Found::Missing));
    }

    #[test]
    fn running_needs_only_rust_go_and_a_compiler() {
        let names: Vec<&str> = needed(&[Task::Run]).iter().map(|need| need.name).collect();
        assert_eq!(names, ["rust", "go", "cc", "linux"]);
    }

    #[test]
    fn only_debian_12_creates_clusters() {
        assert!(is_debian_12("PRETTY_NAME=\"x\"\nVERSION_ID=\"12\"\nID=debian\n"));
        assert!(!is_debian_12("VERSION_ID=\"13\"\nID=debian\n"));
        assert!(!is_debian_12("VERSION_ID=\"12\"\nID=other\nID_LIKE=debian\n"));
    }
}
