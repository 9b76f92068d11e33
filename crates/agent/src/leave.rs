//! The last thing that an agent does on its node: everything of ours below its folder is removed (`spec/ui-and-cli.md` 11).
//!
//! Owns what goes and what stays: links to logs, offsets, links to agents, versions of agents. A version that a process has
//! mounted stays, and so does everything that is not known here. The folder itself stays: it is mounted.

use crate::install::Install;
use std::io;
use std::path::Path;

/// Names below the folder that are ours, beside agents and links to them.
const OURS: [&str; 2] = ["logs", "offsets"];

/// Removes what can be removed; returns what stays, by name.
///
/// # Errors
/// The first failure, after everything was tried.
pub(crate) fn remove(install: &Install, sees_processes: bool) -> io::Result<Vec<String>> {
    let mut kept = install.remove_all(sees_processes)?;
    let mut first = Ok(());
    for entry in read(&install.target)? {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let outcome = if entry.file_type()?.is_symlink() {
            std::fs::remove_file(&path)
        } else if OURS.contains(&name.as_str()) {
            std::fs::remove_dir_all(&path)
        } else {
            if !kept.iter().any(|one| one.starts_with(&name)) {
                kept.push(name);
            }
            Ok(())
        };
        if outcome.is_err() && first.is_ok() {
            first = outcome;
        }
    }
    first.map(|()| kept)
}

fn read(folder: &Path) -> io::Result<Vec<std::fs::DirEntry>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn everything_of_ours_goes_and_what_is_mounted_or_foreign_stays() {
        let folder = tempfile::TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in
            ["t/agents/v1/java", "t/agents/v2/java", "t/logs/pod", "t/offsets/inner", "t/theirs", "proc/7", "outside"]
        {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::write(at("outside/log"), "a line").unwrap();
        symlink(at("outside"), at("t/logs/pod/container")).unwrap();
        symlink("agents/v2/java", at("t/java")).unwrap();
        fs::write(at("proc/7/mountinfo"), "1 2 8:1 /var/odigos/agents/v1/java /var/odigos/java ro").unwrap();
        let install = Install { source: at("none"), target: at("t"), proc: at("proc") };
        assert_eq!(remove(&install, true).unwrap(), ["agents/v1", "theirs"]);
        assert!(at("outside/log").exists(), "no link is followed");
        let left = |name: &str| at(name).symlink_metadata().is_ok();
        assert_eq!(
            ["t/agents/v1", "t/theirs", "t/agents/v2", "t/logs", "t/offsets", "t/java"].map(left),
            [true, true, false, false, false, false]
        );
        assert_eq!(remove(&install, false).unwrap(), ["agents/v1", "theirs"], "who has it mounted cannot be told");
        fs::write(at("proc/7/mountinfo"), "").unwrap();
        assert_eq!(remove(&install, true).unwrap(), ["theirs"]);
        assert!(!left("t/agents"));
    }
}
