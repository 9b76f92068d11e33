//! `/proc` of the node: which processes run in which container, and what is to be seen of one.
//!
//! Owns every access to files of strangers. Opens nothing but regular files, reads no more than `detect::limits` allow, and
//! below `/proc/PID/root` never leaves the process's own root. A process may end at any moment, or hold the kernel up where its
//! memory lies on a file system that does not answer; callers therefore look from a thread that they can give up
//! ([`crate::watchdog`]). Which rules apply to what was read is decided in `detect`.

use odigos_detect::parse::{self, Member, Peer};
use odigos_detect::presence::Marks;
use odigos_detect::{Bytes, Detection, Environment, Language, Look, Process, detect, limits};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::Duration;

/// Processes of one container that are looked at closely: the first one and the oldest others. Workers of a server are alike.
const CLOSELY: usize = 64;
/// While a process replaces itself, parts of it are empty for an instant; so often is it looked at again, after so long.
const AGAIN: (usize, Duration) = (3, Duration::from_millis(20));

/// A mounted `/proc` in which the node's processes are.
#[derive(Clone, Debug)]
pub(crate) struct Processes {
    /// Where it is mounted.
    pub(crate) root: PathBuf,
}

/// What was seen of the processes of a container.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// One for each process that was looked at.
    pub(crate) detections: Vec<Detection>,
    /// Variables that the container was started with.
    pub(crate) environment: Environment,
    /// Why nothing could be read of a process that is there, if so.
    pub(crate) denied: Option<String>,
}

/// A process that admission has given an agent.
#[derive(Clone, Debug)]
pub(crate) struct Carrier {
    /// Number of the process inside its container.
    pub(crate) inner_pid: u32,
    /// What it was given.
    pub(crate) marks: Marks,
    /// What runs in it.
    pub(crate) language: Language,
}

impl Processes {
    /// Processes of containers: by control groups, and by mounts where those do not tell (4.2). `wanted` holds the containers by
    /// where their processes are, with their names.
    ///
    /// # Errors
    /// When the processes cannot be listed.
    pub(crate) fn find(&self, wanted: &BTreeMap<Member, String>) -> io::Result<BTreeMap<Member, Vec<u32>>> {
        let members: BTreeSet<Member> = wanted.keys().cloned().collect();
        let mut found = self.of_containers(&members)?;
        let missing: BTreeMap<(String, String), Member> = wanted
            .iter()
            .filter(|(member, _)| !found.contains_key(member))
            .map(|(member, name)| ((member.pod.clone(), name.clone()), member.clone()))
            .collect();
        if !missing.is_empty() {
            found.extend(self.by_mounts(&missing)?);
        }
        Ok(found)
    }

    /// When a process started, in clock ticks since boot; `None` when it is gone.
    pub(crate) fn started(&self, pid: u32) -> Option<u64> {
        let raw = read(&self.folder(pid)?, "stat", limits::SMALL_FILE_BYTES).ok()?;
        Some(parse::stat(&raw).started)
    }

    /// How long the node runs.
    pub(crate) fn uptime(&self) -> Duration {
        let text = std::fs::read_to_string(self.root.join("uptime")).unwrap_or_default();
        let first = text.split(' ').next().and_then(|first| first.parse().ok());
        first.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or_default()
    }

    /// Which program a process runs: the device and the number of its file. It changes when a process becomes another one.
    pub(crate) fn program(&self, pid: u32) -> Option<(u64, u64)> {
        let file = rustix::fs::statat(self.folder(pid)?, "exe", AtFlags::empty()).ok()?;
        Some((file.st_dev, file.st_ino))
    }

    /// The agent that a process carries, if any.
    pub(crate) fn carrier(&self, pid: u32) -> Option<Carrier> {
        let marks = Marks::of(&read(&self.folder(pid)?, "environ", limits::ENVIRONMENT_BYTES).ok()?)?;
        let (process, view) = self.settled(pid)?;
        Some(Carrier { inner_pid: process.inner_pid, marks, language: detect(&process, &view).language })
    }

    /// Numbers of the sockets of a process.
    pub(crate) fn sockets(&self, pid: u32) -> BTreeSet<u64> {
        let Some(folder) = self.folder(pid) else { return BTreeSet::new() };
        open_files(&folder).iter().filter_map(|link| parse::socket(link)).collect()
    }

    /// The connections of the network that a process is in. The kernel walks all of the node's for it, so it is asked once for
    /// all processes of a pod.
    pub(crate) fn peers(&self, pid: u32) -> Vec<Peer> {
        let Some(folder) = self.folder(pid) else { return Vec::new() };
        let table = |name| read(&folder, name, limits::MAPS_BYTES).map(|raw| parse::peers(&raw)).unwrap_or_default();
        ["net/tcp", "net/tcp6"].into_iter().flat_map(table).collect()
    }

    /// Numbers of the processes of each wanted container.
    ///
    /// # Errors
    /// When the processes cannot be listed.
    fn of_containers(&self, wanted: &BTreeSet<Member>) -> io::Result<BTreeMap<Member, Vec<u32>>> {
        let mut found: BTreeMap<Member, Vec<u32>> = BTreeMap::new();
        for pid in self.all()? {
            let Some(folder) = self.folder(pid) else { continue };
            let Ok(raw) = read(&folder, "cgroup", limits::SMALL_FILE_BYTES) else { continue };
            if let Some(member) = parse::member(&raw).filter(|member| wanted.contains(member)) {
                found.entry(member).or_default().push(pid);
            }
        }
        Ok(found)
    }

    /// The same by mounts, for containers of which control groups tell nothing; `wanted` maps uid of the pod and name of the
    /// container to the container.
    ///
    /// # Errors
    /// When the processes cannot be listed.
    fn by_mounts(&self, wanted: &BTreeMap<(String, String), Member>) -> io::Result<BTreeMap<Member, Vec<u32>>> {
        let mut found: BTreeMap<Member, Vec<u32>> = BTreeMap::new();
        for pid in self.all()? {
            let Some(folder) = self.folder(pid) else { continue };
            // Control groups that name a container are right about it.
            let is_known =
                read(&folder, "cgroup", limits::SMALL_FILE_BYTES).is_ok_and(|raw| parse::member(&raw).is_some());
            if is_known {
                continue;
            }
            let Ok(raw) = read(&folder, "mountinfo", limits::MAPS_BYTES) else { continue };
            if let Some(member) = parse::container_of_mounts(&raw).and_then(|key| wanted.get(&key)) {
                found.entry(member.clone()).or_default().push(pid);
            }
        }
        Ok(found)
    }

    /// Looks at the processes of one container. Those that ended meanwhile are left out.
    pub(crate) fn look_at(&self, pids: &[u32]) -> Seen {
        let mut order: Vec<(bool, u64, u32)> = Vec::new();
        for pid in pids.iter().copied() {
            let Some(folder) = self.folder(pid) else { continue };
            let of = |name| read(&folder, name, limits::SMALL_FILE_BYTES).unwrap_or_default();
            let status = parse::status(&of("status"));
            if !status.is_hollow {
                order.push((status.inner_pid != 1, parse::stat(&of("stat")).started, pid));
            }
        }
        order.sort_unstable();
        order.truncate(CLOSELY);
        let mut seen = Seen::default();
        for (index, (_, _, pid)) in order.into_iter().enumerate() {
            let Some((process, view)) = self.settled(pid) else { continue };
            if index == 0 {
                seen.environment = process.environment.clone();
            }
            if let (None, Some(why)) = (&seen.denied, &view.denied) {
                seen.denied = Some(format!("process {pid}: {why}"));
            }
            seen.detections.push(detect(&process, &view));
        }
        seen
    }

    fn all(&self) -> io::Result<Vec<u32>> {
        let names = std::fs::read_dir(&self.root)?.flatten();
        Ok(names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }

    fn folder(&self, pid: u32) -> Option<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, self.root.join(pid.to_string()), flags, Mode::empty()).ok()
    }

    /// A process that is not just replacing itself.
    fn settled(&self, pid: u32) -> Option<(Process, View)> {
        let mut seen = None;
        for attempt in 0..=AGAIN.0 {
            if attempt > 0 {
                std::thread::sleep(AGAIN.1);
            }
            let view = View::of(self.folder(pid)?)?;
            let process = view.process(pid);
            let is_settled = process.secure_execution.is_some() || view.denied.is_some();
            seen = Some((process, view));
            if is_settled {
                break;
            }
        }
        seen
    }
}

/// `/proc/PID`, held open: what is read of it is of one process even if its number is given out again.
struct View {
    folder: OwnedFd,
    executable: Option<Executable>,
    denied: Option<String>,
}

struct Executable(File);

impl Bytes for Executable {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> usize {
        self.0.read_at(into, offset).unwrap_or_default()
    }
}

impl Look for View {
    fn executable(&self) -> Option<&dyn Bytes> {
        self.executable.as_ref().map(|file| file as &dyn Bytes)
    }

    fn file(&self, path: &str, limit: usize) -> Option<Vec<u8>> {
        let open = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(&self.folder, "root", open, Mode::empty()).ok()?;
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let found = rustix::fs::openat2(&root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), inside).ok()?;
        bounded(regular(&found)?, limit).ok()
    }
}

impl View {
    /// `None` when the process is gone or has nothing to look at.
    fn of(folder: OwnedFd) -> Option<Self> {
        let status = parse::status(&read(&folder, "status", limits::SMALL_FILE_BYTES).ok()?);
        if status.is_hollow {
            return None;
        }
        let found = rustix::fs::openat(&folder, "exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let executable = found.ok().and_then(|found| regular(&found)).map(Executable);
        let denied = match read(&folder, "auxv", limits::SMALL_FILE_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Some(format!("{error}; the node agent needs the capabilities SYS_PTRACE and DAC_READ_SEARCH"))
            }
            _ => None,
        };
        Some(Self { folder, executable, denied })
    }

    fn raw(&self, name: &str, limit: usize) -> Vec<u8> {
        // Reading ends with the process; what is not there is empty.
        read(&self.folder, name, limit).unwrap_or_default()
    }

    fn process(&self, pid: u32) -> Process {
        let status = parse::status(&self.raw("status", limits::SMALL_FILE_BYTES));
        let open = open_files(&self.folder);
        Process {
            pid,
            parent: status.parent,
            inner_pid: status.inner_pid,
            uid: status.uid,
            started: parse::stat(&self.raw("stat", limits::SMALL_FILE_BYTES)).started,
            executable: link(&self.folder, "exe").map(|target| parse::link(&target)).unwrap_or_default(),
            name: parse::name(&self.raw("comm", 64)),
            command_line: parse::arguments(&self.raw("cmdline", limits::COMMAND_LINE_BYTES)),
            environment: parse::variables(&self.raw("environ", limits::ENVIRONMENT_BYTES)),
            mapped: parse::mapped_files(&self.raw("maps", limits::MAPS_BYTES)),
            open: parse::files(open.iter().map(Vec::as_slice)),
            secure_execution: parse::secure_execution(&self.raw("auxv", limits::SMALL_FILE_BYTES)),
        }
    }
}

/// What the open files of `/proc/PID` are.
fn open_files(folder: &OwnedFd) -> Vec<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(folder) = rustix::fs::openat(folder, "fd", flags, Mode::empty()) else { return Vec::new() };
    let Ok(entries) = Dir::read_from(&folder) else { return Vec::new() };
    let links = entries.take(limits::FILES).flatten();
    links
        .filter_map(|entry| rustix::fs::readlinkat(&folder, entry.file_name(), Vec::new()).ok())
        .map(std::ffi::CString::into_bytes)
        .collect()
}

/// The target of a link in a directory.
fn link(folder: &OwnedFd, name: &str) -> Option<Vec<u8>> {
    rustix::fs::readlinkat(folder, name, Vec::new()).ok().map(std::ffi::CString::into_bytes)
}

/// A file of `/proc/PID`, up to a limit. Never waits: what is no regular file is not read.
fn read(folder: &OwnedFd, name: &str, limit: usize) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let kind = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(kind.st_mode) != FileType::RegularFile {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    bounded(File::from(rustix::fs::openat(folder, name, flags, Mode::empty())?), limit)
}

fn bounded(file: File, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(u64::try_from(limit).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens what a descriptor only names, when it is a regular file: opening a device or a pipe would already act on it.
fn regular(named: &impl AsFd) -> Option<File> {
    let kind = rustix::fs::fstat(named).ok()?;
    if FileType::from_raw_mode(kind.st_mode) != FileType::RegularFile {
        return None;
    }
    let path = format!("/proc/self/fd/{}", named.as_fd().as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).ok().map(File::from)
}

#[cfg(test)]
mod tests;
