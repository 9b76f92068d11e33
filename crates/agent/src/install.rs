//! The agents' files on the node: from the image of the node agent to the folder that pods mount
//! (`spec/sources-and-instrumentation.md` 5.5).
//!
//! Owns `<target>/agents/<version>/<folder>` and the links `<target>/<folder>` to the version in force. A version appears whole
//! or not at all, and links change in one step. A pod that was started keeps the version that it mounted; a version goes when no
//! process has a mount of it. Files are for everybody to read, whatever the umask says (umask 077 once made agents unreadable).

use rustix::fs::{CWD, RenameFlags};
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Names the content of a folder of agents.
const VERSION: &str = "VERSION";
/// Below the target: one folder for each version.
const VERSIONS: &str = "agents";
/// A version that was touched within this time is kept: a pod may be about to mount it.
const YOUNG: Duration = Duration::from_secs(3600);
/// Bytes of a process's mounts that are read.
const MOUNTS: u64 = 4 << 20;

/// Where agents come from and go to.
#[derive(Clone, Debug)]
pub(crate) struct Install {
    /// The folder in the image: `VERSION` and one folder for each agent.
    pub(crate) source: PathBuf,
    /// The folder of the node.
    pub(crate) target: PathBuf,
    /// Where the processes of the node are seen.
    pub(crate) proc: PathBuf,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Installed {
    /// The version in force.
    pub(crate) version: String,
    /// Whether it was not there before.
    pub(crate) is_new: bool,
    /// Names of the agents' folders.
    pub(crate) folders: Vec<String>,
}

impl Install {
    /// Puts the version of the image in force; `None` when the image carries no agents.
    ///
    /// # Errors
    /// When something cannot be written. What was in force stays in force.
    pub(crate) fn install(&self) -> io::Result<Option<Installed>> {
        let version = match fs::read_to_string(self.source.join(VERSION)) {
            Ok(text) => text.trim().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if version.is_empty() || !version.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(io::Error::other(format!("{VERSION} of the agents says {version:?}, which is no version")));
        }
        let versions = self.target.join(VERSIONS);
        fs::create_dir_all(&versions)?;
        // Who may write there runs code in every pod with agents.
        for folder in [&self.target, &versions] {
            check_owner(folder)?;
            fs::set_permissions(folder, Permissions::from_mode(0o755))?;
        }
        let own = versions.join(&version);
        let is_new = own.symlink_metadata().is_err();
        let is_altered = !is_new && !is_same(&self.source, &own)?;
        if is_new || is_altered {
            let partial = versions.join(format!(".{version}.partial"));
            remove(&partial)?;
            copy(&self.source, &partial)?;
            if is_altered {
                tracing::warn!(version, "the agents' files on the node are not those of the image; they are replaced");
                rustix::fs::renameat_with(CWD, &partial, CWD, &own, RenameFlags::EXCHANGE)?;
                // Pods may have it mounted, so it goes when they do.
                let aside = versions.join(format!("altered{version}"));
                remove(&aside)?;
                fs::rename(&partial, aside)?;
            } else {
                fs::rename(&partial, &own)?;
            }
        }
        let mut folders = Vec::new();
        for entry in fs::read_dir(&own)? {
            let entry = entry?;
            if let (true, Ok(name)) = (entry.file_type()?.is_dir(), entry.file_name().into_string()) {
                folders.push(name);
            }
        }
        folders.sort();
        for folder in &folders {
            self.link(&version, folder)?;
        }
        Ok(Some(Installed { version, is_new, folders }))
    }

    /// Points `<target>/<folder>` to the version, in one step.
    fn link(&self, version: &str, folder: &str) -> io::Result<()> {
        // Relative, since the node and the containers see the target in different places.
        let to = Path::new(VERSIONS).join(version).join(folder);
        let link = self.target.join(folder);
        let before = fs::read_link(&link).ok();
        if before.as_deref() == Some(to.as_path()) {
            return Ok(());
        }
        if let Some(before) = before.as_deref().and_then(Path::parent) {
            // From now on it is unused: its time as a young one begins. A foreign link has none.
            let _ = fs::File::open(self.target.join(before)).and_then(|folder| folder.set_modified(SystemTime::now()));
        }
        let fresh = self.target.join(format!(".{folder}.new"));
        remove(&fresh)?;
        symlink(&to, &fresh)?;
        if link.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            // A folder of another installer; pods may have it mounted, so it goes when they do.
            rustix::fs::renameat_with(CWD, &fresh, CWD, &link, RenameFlags::EXCHANGE)?;
            let before = self.target.join(VERSIONS).join(format!("before{version}"));
            fs::create_dir_all(&before)?;
            remove(&before.join(folder))?;
            return fs::rename(&fresh, before.join(folder));
        }
        fs::rename(&fresh, &link)
    }

    /// Removes versions that nobody has mounted; returns them.
    ///
    /// # Errors
    /// When mounts cannot be read, in which case nothing is removed, or a version cannot be removed.
    pub(crate) fn clean(&self, now: SystemTime) -> io::Result<Vec<String>> {
        let Ok(entries) = fs::read_dir(self.target.join(VERSIONS)) else { return Ok(Vec::new()) };
        let current = self.linked()?;
        let mut old: Vec<String> = Vec::new();
        for entry in entries {
            let entry = entry?;
            let age = entry.metadata()?.modified().ok().and_then(|time| now.duration_since(time).ok());
            let is_young = age.is_none_or(|age| age < YOUNG);
            if let Ok(name) = entry.file_name().into_string()
                && !current.contains(&name)
                && !is_young
            {
                old.push(name);
            }
        }
        if old.is_empty() {
            return Ok(old);
        }
        self.drop_mounted(&mut old)?;
        for name in &old {
            remove(&self.target.join(VERSIONS).join(name))?;
        }
        Ok(old)
    }

    /// Removes every version that nobody has mounted, the one in force too; returns those that stay. Without sight of the
    /// processes of the node, all stay.
    ///
    /// # Errors
    /// When mounts cannot be read, in which case nothing is removed, or a version cannot be removed.
    pub(crate) fn remove_all(&self, sees_processes: bool) -> io::Result<Vec<String>> {
        let versions = self.target.join(VERSIONS);
        let Ok(entries) = fs::read_dir(&versions) else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        for entry in entries {
            all.extend(entry?.file_name().into_string().ok());
        }
        all.sort();
        let mut unused = if sees_processes { all.clone() } else { Vec::new() };
        if !unused.is_empty() {
            self.drop_mounted(&mut unused)?;
        }
        for name in &unused {
            remove(&versions.join(name))?;
        }
        all.retain(|name| !unused.contains(name));
        if all.is_empty() {
            remove(&versions)?;
        }
        Ok(all.into_iter().map(|name| format!("{VERSIONS}/{name}")).collect())
    }

    /// Versions that links point to.
    fn linked(&self) -> io::Result<BTreeSet<String>> {
        let mut linked = BTreeSet::new();
        for entry in fs::read_dir(&self.target)? {
            let Ok(to) = fs::read_link(entry?.path()) else { continue };
            let Ok(rest) = to.strip_prefix(VERSIONS) else { continue };
            linked.extend(rest.iter().next().and_then(|one| one.to_str()).map(str::to_owned));
        }
        Ok(linked)
    }

    fn drop_mounted(&self, old: &mut Vec<String>) -> io::Result<()> {
        for entry in fs::read_dir(&self.proc)? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
                continue;
            }
            let mut raw = Vec::new();
            let read = fs::File::open(entry.path().join("mountinfo"))
                .and_then(|file| io::Read::read_to_end(&mut io::Read::take(file, MOUNTS), &mut raw));
            match read {
                // Half a table could hide a mount.
                Ok(length) if u64::try_from(length).is_ok_and(|length| length >= MOUNTS) => old.clear(),
                Ok(_) => {
                    let text = String::from_utf8_lossy(&raw);
                    old.retain(|name| !text.contains(&format!("/{VERSIONS}/{name}/")));
                }
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
                // It ended meanwhile.
                Err(_) => {}
            }
            if old.is_empty() {
                break;
            }
        }
        Ok(())
    }
}

/// Copies a folder: files and folders only, for everybody to read.
///
/// # Errors
/// When something cannot be read or written, or is neither file nor folder.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)?;
            fs::set_permissions(&target, Permissions::from_mode(0o644))?;
        } else {
            return Err(io::Error::other(format!("{} is neither a file nor a folder", entry.path().display())));
        }
    }
    fs::set_permissions(to, Permissions::from_mode(0o755))
}

/// Refuses a folder that belongs to somebody else.
fn check_owner(folder: &Path) -> io::Result<()> {
    let (found, own) = (folder.symlink_metadata()?, fs::metadata("/proc/self")?.uid());
    if found.is_dir() && (found.uid() == own || found.uid() == 0) {
        return Ok(());
    }
    let problem =
        format!("{} is no folder of root (user {}); agents are not installed there", folder.display(), found.uid());
    Err(io::Error::other(problem))
}

/// Whether a folder is what [`copy`] makes of another one: the same files with the same bytes, which nobody else may write.
fn is_same(from: &Path, to: &Path) -> io::Result<bool> {
    let (wanted, found) = (from.symlink_metadata()?, to.symlink_metadata()?);
    let is_private = check_private(&found)?;
    if wanted.file_type() != found.file_type() || !is_private {
        return Ok(false);
    }
    if wanted.is_file() {
        return Ok(wanted.len() == found.len() && has_same_bytes(from, to)?);
    }
    let names = |folder: &Path| -> io::Result<BTreeSet<std::ffi::OsString>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect()
    };
    let entries = names(from)?;
    if entries != names(to)? {
        return Ok(false);
    }
    for name in entries {
        if !is_same(&from.join(&name), &to.join(&name))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether only root or this process may write something.
fn check_private(found: &fs::Metadata) -> io::Result<bool> {
    let own = fs::metadata("/proc/self")?.uid();
    Ok((found.uid() == own || found.uid() == 0) && found.permissions().mode() & 0o022 == 0)
}

fn has_same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    const CHUNK: usize = 64 << 10;
    let (mut one, mut other) = (fs::File::open(one)?, fs::File::open(other)?);
    let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let count = io::Read::read(&mut one, &mut left)?;
        if count == 0 {
            return Ok(io::Read::read(&mut other, &mut right)? == 0);
        }
        let (Some(left), Some(right)) = (left.get(..count), right.get_mut(..count)) else { return Ok(false) };
        match io::Read::read_exact(&mut other, right) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
            Ok(()) if left != &*right => return Ok(false),
            Ok(()) => {}
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    struct Node {
        _folder: TempDir,
        install: Install,
    }

    impl Node {
        fn new() -> Self {
            let folder = TempDir::new().unwrap();
            let at = |name: &str| folder.path().join(name);
            for name in ["source", "target", "proc/7"] {
                fs::create_dir_all(at(name)).unwrap();
            }
            let install = Install { source: at("source"), target: at("target"), proc: at("proc") };
            let node = Self { _folder: folder, install };
            node.mounts("");
            node
        }

        /// An image with one agent, whose files nobody else may read.
        fn image(&self, version: &str) {
            remove(&self.install.source).unwrap();
            let folder = self.install.source.join("java/lib");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("agent.jar"), version).unwrap();
            fs::set_permissions(folder.join("agent.jar"), Permissions::from_mode(0o600)).unwrap();
            fs::write(self.install.source.join(VERSION), version).unwrap();
        }

        fn mounts(&self, root: &str) {
            fs::write(
                self.install.proc.join("7/mountinfo"),
                format!("1 2 0:1 {root} /var/odigos/java ro - ext4 x rw\n"),
            )
            .unwrap();
        }

        fn content(&self) -> String {
            fs::read_to_string(self.install.target.join("java/lib/agent.jar")).unwrap()
        }
    }

    fn later() -> SystemTime {
        SystemTime::now() + 2 * YOUNG
    }

    #[test]
    fn a_version_is_put_in_force_and_the_old_one_stays_while_it_is_mounted() {
        let node = Node::new();
        assert_eq!(node.install.install().unwrap(), None, "an image without agents");
        node.image("v1");
        let installed = node.install.install().unwrap().unwrap();
        assert_eq!(
            (installed.version.as_str(), installed.is_new, installed.folders),
            ("v1", true, vec!["java".to_owned()])
        );
        let mode = fs::metadata(node.install.target.join("java/lib/agent.jar")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        assert!(!node.install.install().unwrap().unwrap().is_new, "again");
        node.image("v2");
        assert!(node.install.install().unwrap().unwrap().is_new);
        assert_eq!(node.content(), "v2");
        assert_eq!(fs::read_link(node.install.target.join("java")).unwrap(), Path::new("agents/v2/java"));

        let age = fs::File::open(node.install.target.join("agents/v2")).unwrap();
        age.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        node.image("v3");
        node.install.install().unwrap();
        assert!(node.install.clean(SystemTime::now()).unwrap().is_empty(), "it was in force a moment ago");
        node.image("v2");
        node.install.install().unwrap();

        node.mounts("/var/odigos/agents/v1/java");
        assert_eq!(node.install.clean(later()).unwrap(), ["v3"]);
        assert!(node.install.clean(later()).unwrap().is_empty(), "a process has it");
        node.mounts("/var/odigos/agents/v11/java");
        assert!(node.install.clean(SystemTime::now()).unwrap().is_empty(), "a pod may be about to mount it");
        assert_eq!(node.install.clean(later()).unwrap(), ["v1"]);
        assert_eq!(node.content(), "v2");
        assert!(!node.install.target.join("agents/v1").exists());
    }

    #[test]
    fn version_that_was_altered_on_the_node_is_replaced() {
        let node = Node::new();
        node.image("v1");
        node.install.install().unwrap();
        let at = |name: &str| node.install.target.join(name);
        let jar = "agents/v1/java/lib/agent.jar";
        let alterations: [&dyn Fn(); 5] = [
            &|| fs::write(at(jar), "xx").unwrap(),
            &|| fs::write(at("agents/v1/java/lib/more.jar"), "x").unwrap(),
            &|| fs::set_permissions(at(jar), Permissions::from_mode(0o666)).unwrap(),
            &|| fs::set_permissions(at("agents/v1/java"), Permissions::from_mode(0o777)).unwrap(),
            &|| {
                fs::remove_file(at(jar)).unwrap();
                symlink("/etc/hostname", at(jar)).unwrap();
            },
        ];
        for alter in alterations {
            alter();
            assert!(!node.install.install().unwrap().unwrap().is_new);
            assert_eq!(node.content(), "v1");
            assert!(is_same(&node.install.source, &at("agents/v1")).unwrap());
            assert!(at("agents/alteredv1").exists(), "a pod may have it mounted");
        }
        fs::set_permissions(&node.install.target, Permissions::from_mode(0o777)).unwrap();
        node.install.install().unwrap();
        assert_eq!(fs::metadata(&node.install.target).unwrap().permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn an_interrupted_copy_and_a_folder_of_another_installer_are_replaced() {
        let node = Node::new();
        node.image("v1");
        fs::create_dir_all(node.install.target.join("agents/.v1.partial/half")).unwrap();
        fs::create_dir_all(node.install.target.join("java")).unwrap();
        fs::write(node.install.target.join("java/foreign.jar"), "foreign").unwrap();
        node.install.install().unwrap();
        assert_eq!(node.content(), "v1");
        assert!(!node.install.target.join("agents/v1/half").exists());
        let kept = node.install.target.join("agents/beforev1/java/foreign.jar");
        assert!(kept.exists(), "a pod may have it mounted");
        assert_eq!(node.install.clean(later()).unwrap(), ["beforev1"]);
        assert!(!kept.exists());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let node = Node::new();
        node.image("v1");
        node.install.install().unwrap();
        fs::write(node.install.source.join(VERSION), "../x").unwrap();
        assert!(node.install.install().is_err());
        fs::write(node.install.source.join(VERSION), "v2").unwrap();
        symlink("/etc/passwd", node.install.source.join("java/link")).unwrap();
        assert!(node.install.install().is_err());
        assert_eq!(node.content(), "v1", "what was in force stays");
    }
}
