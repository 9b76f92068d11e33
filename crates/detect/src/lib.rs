//! What runs in a process and in a container: language, version, C library, secure execution, agents of other vendors,
//! the environment that matters to agents, each with the evidence for it (`spec/sources-and-instrumentation.md` 4).
//!
//! Owns the rules and the reading of raw `/proc` texts and executables. Never opens anything itself: the node agent
//! passes in what it read, and answers on demand through [`Look`]. Everything that comes from a process is written by
//! strangers, so every reader is bounded in size and work ([`limits`]) and none can panic or block.
//!
//! Steps: [`parse`] makes a [`Process`] of raw bytes; [`detect`] decides about one process and keeps little of it;
//! [`container::decide`] weighs the processes of a container, with what [`image`] tells of the
//! image; [`merge::merged`] joins that with what a status says;
//! [`presence`] tells of processes with an agent how it does.

mod agents;
pub mod container;
mod detection;
pub mod environment;
pub mod image;
mod inspect;
mod language;
mod launcher;
pub mod limits;
pub mod merge;
mod obstacle;
pub mod parse;
pub mod presence;
mod process;
mod version;

pub use agents::OtherAgentFound;
pub use detection::{Confidence, Detection, Evidence, Role, detect};
pub use environment::Environment;
pub use language::{Language, Libc};
pub use obstacle::Obstacle;
pub use process::{Blind, Bytes, Look, Process};
