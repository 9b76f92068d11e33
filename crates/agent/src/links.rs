//! Links to container logs on the node's file system: those that are wanted are made, others are removed.
//!
//! Owns `/var/odigos/logs`: `<pod>/<container>` → `/var/log/pods/<pod>/<container>`. Never follows a link, never touches
//! what it points to, and leaves anything alone that is not a link or an empty directory.

use odigos_plan::log_links::Link;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// The two directories.
#[derive(Clone, Debug)]
pub(crate) struct LogLinks {
    /// Where the links are.
    pub(crate) links: PathBuf,
    /// Where the kubelet keeps logs, as the node collector sees it.
    pub(crate) logs: PathBuf,
}

/// What was changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Links that were made.
    pub(crate) made: usize,
    /// Links that were removed.
    pub(crate) removed: usize,
}

impl LogLinks {
    /// Brings the links in line with what is wanted. A link of a pod that is not `known` (any more) stays for as long as its log is
    /// there, so that the last lines are read. A link that cannot be changed does not stop the others.
    ///
    /// # Errors
    /// The first failure, after everything was tried.
    pub(crate) fn settle(&self, wanted: &BTreeSet<Link>, known: &BTreeSet<String>) -> io::Result<Changes> {
        std::fs::create_dir_all(&self.links)?;
        let mut changes = Changes::default();
        let mut first = Ok(());
        let mut note = |outcome: io::Result<()>| {
            if let (Err(error), true) = (outcome, first.is_ok()) {
                first = Err(error);
            }
        };
        let present = self.present()?;
        for link in present.difference(wanted) {
            let log = self.logs.join(&link.pod).join(&link.container);
            let unread = !known.contains(&link.pod) && log.exists();
            if !unread {
                note(std::fs::remove_file(self.links.join(&link.pod).join(&link.container)));
                changes.removed += 1;
            }
        }
        for link in wanted.difference(&present) {
            let directory = self.links.join(&link.pod);
            let target = self.logs.join(&link.pod).join(&link.container);
            let made = std::fs::create_dir_all(&directory)
                .and_then(|()| std::os::unix::fs::symlink(target, directory.join(&link.container)));
            note(made);
            changes.made += 1;
        }
        self.remove_empty(wanted)?;
        first.map(|()| changes)
    }

    fn present(&self) -> io::Result<BTreeSet<Link>> {
        let mut present = BTreeSet::new();
        for pod in names(&self.links)? {
            let directory = self.links.join(&pod);
            if !directory.symlink_metadata()?.is_dir() {
                continue;
            }
            for container in names(&directory)? {
                let path = directory.join(&container);
                if path.symlink_metadata()?.is_symlink() {
                    present.insert(Link { pod: pod.clone(), container });
                }
            }
        }
        Ok(present)
    }

    fn remove_empty(&self, wanted: &BTreeSet<Link>) -> io::Result<()> {
        let kept: BTreeSet<&str> = wanted.iter().map(|link| link.pod.as_str()).collect();
        for pod in names(&self.links)?.into_iter().filter(|pod| !kept.contains(pod.as_str())) {
            // Fails, as it should, where something is inside.
            let _ = std::fs::remove_dir(self.links.join(pod));
        }
        Ok(())
    }
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        names.extend(entry?.file_name().into_string().ok());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn link(pod: &str, container: &str) -> Link {
        Link { pod: pod.into(), container: container.into() }
    }

    fn known(pods: &[&str]) -> BTreeSet<String> {
        pods.iter().map(|pod| (*pod).to_owned()).collect()
    }

    #[test]
    fn links_follow_what_is_wanted_and_the_last_lines_of_a_pod_are_read() {
        let folder = TempDir::new().unwrap();
        let all = LogLinks { links: folder.path().join("links"), logs: folder.path().join("pods") };
        for pod in ["a", "b"] {
            std::fs::create_dir_all(all.logs.join(pod).join("main")).unwrap();
            std::fs::write(all.logs.join(pod).join("main/0.log"), pod).unwrap();
        }
        let wanted = BTreeSet::from([link("a", "main"), link("b", "main")]);
        assert_eq!(all.settle(&wanted, &known(&["a", "b"])).unwrap(), Changes { made: 2, removed: 0 });
        assert_eq!(std::fs::read_to_string(all.links.join("b/main/0.log")).unwrap(), "b");
        assert_eq!(all.settle(&wanted, &known(&["a", "b"])).unwrap(), Changes::default(), "the same again");
        // b is not covered any more: its link goes at once, although it runs on. a is deleted: its log is still read.
        assert_eq!(all.settle(&BTreeSet::new(), &known(&["b"])).unwrap(), Changes { made: 0, removed: 1 });
        assert!(all.links.join("a/main/0.log").exists() && !all.links.join("b").exists());
        std::fs::remove_dir_all(all.logs.join("a")).unwrap();
        assert_eq!(all.settle(&BTreeSet::new(), &known(&[])).unwrap(), Changes { made: 0, removed: 1 });
        assert_eq!(std::fs::read_dir(&all.links).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_link_is_left_alone() {
        let folder = TempDir::new().unwrap();
        let all = LogLinks { links: folder.path().join("links"), logs: folder.path().join("pods") };
        std::fs::create_dir_all(all.links.join("x")).unwrap();
        std::fs::write(all.links.join("x/kept"), "").unwrap();
        all.settle(&BTreeSet::new(), &known(&[])).unwrap();
        assert!(all.links.join("x/kept").exists());
    }
}
