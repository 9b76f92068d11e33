//! What a program leaves behind that is killed without a chance to clean up, and how the next one ends it.
//!
//! Every child process and temporary directory is noted in a file of this process, in a folder that only this user can write to; a process
//! that starts its first child ends what is noted for processes that no longer run. A process is known by its id and the time of its start, so that one which has got the id of
//! another is never touched. (A signal on the death of the parent would be sent when the thread that started the child ends.)

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

/// A process: its id, and the time of its start as the system tells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    id: u32,
    started: String,
}

/// What is noted of one process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Process(Identity),
    Directory(PathBuf),
}

impl Entry {
    fn to_line(&self) -> String {
        match self {
            Self::Process(Identity { id, started }) => format!("process {id} {started}\n"),
            Self::Directory(path) => format!("directory {}\n", path.display()),
        }
    }

    fn read(line: &str) -> Option<Self> {
        let (kind, rest) = line.split_once(' ')?;
        match kind {
            "process" => identity(rest).map(Self::Process),
            "directory" => Some(Self::Directory(PathBuf::from(rest))),
            _ => None,
        }
    }
}

fn identity(text: &str) -> Option<Identity> {
    let (id, started) = text.split_once(' ')?;
    Some(Identity { id: id.parse().ok()?, started: started.to_owned() })
}

/// Notes a child process, after what earlier processes left has been ended.
pub(crate) fn note_process(id: u32) {
    if let Some(started) = started(id) {
        note(&Entry::Process(Identity { id, started }));
    }
}

/// Notes a directory that goes with this process.
pub(crate) fn note_directory(path: &Path) {
    note(&Entry::Directory(path.to_path_buf()));
}

/// Ends what killed processes have left behind, once a process; every note does it as well.
pub(crate) fn end() {
    notes();
}

/// The folder of notes, swept; none where it is not this user's alone.
fn notes() -> Option<PathBuf> {
    static SWEPT: Once = Once::new();
    let folder = odigos_tools::cache().join("running");
    is_own(&folder).then(|| {
        SWEPT.call_once(|| sweep(&folder));
        folder
    })
}

fn note(entry: &Entry) {
    let Some(folder) = notes() else { return };
    let Some(own) = started(std::process::id()) else { return };
    let path = folder.join(format!("{} {own}", std::process::id()));
    // Nothing of a test depends on it; a note that cannot be written costs a clean-up by hand.
    let file = fs::File::options().create(true).append(true).open(path);
    let _ = file.and_then(|mut file| file.write_all(entry.to_line().as_bytes()));
}

/// Creates the folder of notes; false when it is not this user's alone: what another user writes there must end nothing.
fn is_own(folder: &Path) -> bool {
    let _ = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    fs::symlink_metadata(folder).is_ok_and(|found| {
        found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0
    })
}

/// Whether a directory is one that this crate creates: directly below the temporary directory, with its prefix.
fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    path.parent() == Some(&std::env::temp_dir()) && name.starts_with(crate::api_server::DIRECTORY_PREFIX)
}

/// Ends what is noted for processes that no longer run.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Some(owner) = entry.file_name().to_str().and_then(identity) else { continue };
        if is_running(&owner) {
            continue;
        }
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let noted: BTreeSet<Entry> = text.lines().filter_map(Entry::read).collect();
        for left in noted {
            match left {
                Entry::Process(child) if is_running(&child) => kill(child.id),
                Entry::Process(_) => {}
                Entry::Directory(path) if is_temporary(&path) => drop(fs::remove_dir_all(path)),
                Entry::Directory(_) => {}
            }
        }
        let _ = fs::remove_file(entry.path());
    }
}

fn is_running(process: &Identity) -> bool {
    started(process.id).is_some_and(|started| started == process.started)
}

fn kill(id: u32) {
    let id = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(id) = id {
        let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
    }
}

/// The time at which a process started; absent when there is none of that id, or it only waits to be collected.
fn started(id: u32) -> Option<String> {
    if let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) {
        // The name in parentheses may hold anything; the state is the first and the start the twentieth field after it.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        return (fields.next()? != "Z").then(|| fields.nth(18).map(str::to_owned))?;
    }
    if cfg!(target_os = "linux") {
        return None;
    }
    let output = Command::new("ps").args(["-o", "lstart=", "-p", &id.to_string()]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().replace(['/', ' '], "-");
    (output.status.success() && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;
    use std::process::Stdio;

    #[test]
    fn children_of_a_killed_process_are_ended_and_those_of_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let temporary = || tempfile::Builder::new().prefix(crate::api_server::DIRECTORY_PREFIX).tempdir().unwrap();
        let (left, kept, foreign) = (temporary(), temporary(), tempfile::tempdir().unwrap());
        let sleeping = || Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let (mut orphan, mut child, mut reused) = (sleeping(), sleeping(), sleeping());
        let entry = |id: u32| Entry::Process(Identity { id, started: started(id).unwrap() }).to_line();
        let directory = |path: &Path| Entry::Directory(path.to_path_buf()).to_line();
        let lines = entry(orphan.id())
            + &format!("process {} 1\n", reused.id())
            + &directory(left.path())
            + &directory(foreign.path())
            + "nonsense\n";
        // No process has this start, whatever has that id now.
        let dead = folder.path().join("1 12345678901");
        fs::write(&dead, lines).unwrap();
        let own = folder.path().join(format!("{} {}", std::process::id(), started(std::process::id()).unwrap()));
        fs::write(&own, entry(child.id()) + &directory(kept.path())).unwrap();

        sweep(folder.path());

        assert!(!orphan.wait().unwrap().success(), "killed");
        assert!(!left.path().exists() && !dead.exists());
        assert!(foreign.path().exists(), "a directory that no test creates");
        assert!(child.try_wait().unwrap().is_none() && kept.path().exists() && own.exists(), "a running owner's");
        assert!(reused.try_wait().unwrap().is_none(), "another process with a noted id");
        for mut one in [child, reused] {
            one.kill().unwrap();
            one.wait().unwrap();
        }
    }

    #[test]
    fn notes_that_others_can_write_are_not_used() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let notes = folder.path().join("running");
        assert!(is_own(&notes));
        fs::set_permissions(&notes, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(!is_own(&notes));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&notes, &link).unwrap();
        assert!(!is_own(&link));
    }

    #[test]
    fn process_that_has_ended_is_not_running() {
        let mut child = Command::new("true").spawn().unwrap();
        let id = child.id();
        child.wait().unwrap();
        assert_eq!(started(id), None);
    }
}
