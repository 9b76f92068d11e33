//! The view of a process that rules look at, and the questions that they ask on demand.
//!
//! Owns the shapes only. The node agent fills them from `/proc`; tests fill them from recordings.

use crate::environment::Environment;

/// Bytes that can be read in pieces: an executable.
pub trait Bytes {
    /// Reads from `offset` on into `into` and returns how many bytes were read; 0 at the end, or when it fails. Must not
    /// block: only regular files may stand behind it.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> usize;
}

impl Bytes for [u8] {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> usize {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let rest = self.get(start..).unwrap_or_default();
        let length = rest.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..length), rest.get(..length)) {
            to.copy_from_slice(from);
        }
        length
    }
}

impl Bytes for Vec<u8> {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> usize {
        self.as_slice().read_at(offset, into)
    }
}

/// What a rule may ask beyond the view.
pub trait Look {
    /// The executable (`/proc/PID/exe`), when it can be opened.
    fn executable(&self) -> Option<&dyn Bytes>;

    /// The first `limit` bytes of a regular file, named as the process names it (below `/proc/PID/root`). `None` when
    /// there is none, or when it is no regular file.
    fn file(&self, path: &str, limit: usize) -> Option<Vec<u8>>;
}

/// Looks at nothing: only the view itself counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Blind;

impl Look for Blind {
    fn executable(&self) -> Option<&dyn Bytes> {
        None
    }

    fn file(&self, _: &str, _: usize) -> Option<Vec<u8>> {
        None
    }
}

/// A process as `/proc` shows it. Fields that could not be read are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Number of the process on the node.
    pub pid: u32,
    /// Number of its parent on the node; 0 when not known.
    pub parent: u32,
    /// Number inside the container (innermost PID namespace); 1 is what the container was started with.
    pub inner_pid: u32,
    /// User that it runs as, on the node.
    pub uid: Option<u32>,
    /// Start, in clock ticks since boot (`/proc/PID/stat` field 22); 0 when not known.
    pub started: u64,
    /// Target of the link `/proc/PID/exe`, without ` (deleted)`.
    pub executable: String,
    /// `/proc/PID/comm`.
    pub name: String,
    /// Arguments, the program first.
    pub command_line: Vec<String>,
    /// Variables that matter; others are dropped while reading.
    pub environment: Environment,
    /// Distinct mapped files, in the order of their addresses.
    pub mapped: Vec<String>,
    /// Distinct open files.
    pub open: Vec<String>,
    /// Whether the kernel runs it in secure mode (AT_SECURE); `None` when that cannot be read.
    pub secure_execution: Option<bool>,
}

/// Last part of a path.
pub(crate) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl Process {
    /// Base name of the executable; where the link cannot be read, of the first argument, else the name of the main thread.
    /// The flag tells that it is one of the latter, which a process may choose freely.
    #[must_use]
    pub fn program(&self) -> (&str, bool) {
        if !self.executable.is_empty() {
            return (base_name(&self.executable), false);
        }
        let first = self.command_line.first().map(String::as_str).unwrap_or_default();
        let first = base_name(first.split(' ').next().unwrap_or_default());
        (if first.is_empty() { &self.name } else { first }, true)
    }
}
