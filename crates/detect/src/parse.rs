//! Raw texts of `/proc` and raw bytes of executables → the view of a process.
//!
//! Owns formats: `cgroup`, `mountinfo`, `cmdline`, `environ`, `maps`, `auxv`, `status`, `stat`, `net/tcp`, link targets, ELF, Go build information. Every function is
//! total: any bytes give a result, in time and memory that [`crate::limits`] bound.

mod cgroup;
pub mod elf;
pub mod go;
mod sockets;
mod text;
mod window;

pub use cgroup::{Member, container_of_mounts, member};
pub use sockets::{Peer, peers, socket};
pub use text::{
    Stat, Status, arguments, files, link, mapped_files, name, secure_execution, stat, status, values, variables,
};
pub use window::Window;
