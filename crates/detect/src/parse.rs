//! Raw texts of `/proc` and raw bytes of executables → the view of a process.
//!
//! Owns formats: `cmdline`, `environ`, `maps`, `auxv`, `status`, `stat`, link targets, ELF, Go build information. Every function is
//! total: any bytes give a result, in time and memory that [`crate::limits`] bound.

pub mod elf;
pub mod go;
mod text;
mod window;

pub use text::{Stat, Status, arguments, files, link, mapped_files, name, secure_execution, stat, status, variables};
pub use window::Window;
