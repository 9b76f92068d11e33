//! How much of a stranger's data is read. A reader that meets a limit keeps what it has; it never fails for it.

/// Bytes of `/proc/PID/cmdline` that are looked at.
pub const COMMAND_LINE_BYTES: usize = 64 << 10;
/// Arguments of a command line that are looked at.
pub const ARGUMENTS: usize = 1024;
/// Bytes of `/proc/PID/environ` that are looked at.
pub const ENVIRONMENT_BYTES: usize = 1 << 20;
/// Bytes of `/proc/PID/maps` that are looked at.
pub const MAPS_BYTES: usize = 4 << 20;
/// Distinct files of a process that are looked at, mapped ones and open ones each.
pub const FILES: usize = 4096;
/// Bytes of a path that are kept.
pub const PATH_BYTES: usize = 4096;
/// Bytes of `/proc/PID/auxv` and `/proc/PID/status` that are looked at.
pub const SMALL_FILE_BYTES: usize = 16 << 10;
/// Bytes of a variable's value that is kept; longer ones are left out, since half a value would be a lie.
pub const VALUE_BYTES: usize = 32 << 10;
/// Bytes of a text that stands in evidence.
pub const EVIDENCE_BYTES: usize = 256;
/// Evidence kept for one process, and for one container.
pub const EVIDENCE: usize = 16;
/// Bytes of a version.
pub const VERSION_BYTES: usize = 64;
/// Bytes of an executable that one process may cost, over all questions.
pub const EXECUTABLE_BYTES: u64 = 24 << 20;
/// Bytes that are held of an executable at once.
pub const PIECE_BYTES: usize = 256 << 10;
/// Program headers and section headers of an executable.
pub const HEADERS: usize = 1024;
/// Libraries that an executable asks for.
pub const LIBRARIES: usize = 256;
/// Bytes of a file beside a runtime (`release`, `node_version.h`).
pub const BESIDE_BYTES: usize = 16 << 10;
/// Processes of a container that are weighed, oldest first.
pub const PROCESSES: usize = 1024;
