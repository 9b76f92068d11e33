//! Whether the machine has a fitting binary already: what a distribution or a user has installed need not be built.

use crate::version::Version;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Which versions of an installed binary may serve instead of the pinned one.
#[derive(Clone, Copy, Debug)]
pub struct Installed {
    /// What makes it print its version.
    pub argument: &'static str,
    /// The lowest version that has what the pinned one is used for.
    pub least: Version,
    /// The first version that nobody has tried.
    pub below: Version,
}

impl Installed {
    /// Where the binary is on the PATH, when its version fits.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        static ANSWERS: Mutex<BTreeMap<String, Option<PathBuf>>> = Mutex::new(BTreeMap::new());
        let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = || on_path(name).filter(|path| self.accepts(path));
        answers.entry(name.to_owned()).or_insert_with(fitting).clone()
    }

    /// Whether a binary is of a version that may serve.
    #[must_use]
    pub fn accepts(&self, program: &Path) -> bool {
        version(program, &[self.argument]).is_some_and(|version| self.fits(version))
    }

    fn fits(&self, version: Version) -> bool {
        (self.least..self.below).contains(&version)
    }
}

/// Where a program is on the PATH.
#[must_use]
pub fn on_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// The version that a program prints when it is started with these arguments; on either stream, since Java uses the second.
#[must_use]
pub fn version(program: &Path, arguments: &[&str]) -> Option<Version> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    let of = |stream: &[u8]| Version::parse(&String::from_utf8_lossy(stream));
    output.status.success().then(|| of(&output.stdout).or_else(|| of(&output.stderr)))?
}

#[cfg(test)]
mod tests {
    use super::{Installed, Version};

    #[test]
    fn installed_etcd_must_be_as_new_as_the_pinned_one_needs() {
        let etcd = Installed { argument: "--version", least: Version(3, 5, 13), below: Version(4, 0, 0) };
        assert!(!etcd.fits(Version(3, 4, 23)), "Debian 12");
        assert!(!etcd.fits(Version(3, 5, 12)));
        assert!(etcd.fits(Version(3, 5, 13)));
        assert!(etcd.fits(Version(3, 6, 6)));
        assert!(!etcd.fits(Version(4, 0, 0)));
    }

    #[test]
    fn missing_program_is_not_found() {
        let one = Installed { argument: "--version", least: Version(0, 0, 0), below: Version(9, 0, 0) };
        assert_eq!(one.find("odigos-no-such-program"), None);
    }
}
