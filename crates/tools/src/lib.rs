//! The pinned real peers of tests and demonstrations: etcd, Kubernetes, collectors, backends.
//!
//! Owns which tools there are ([`catalog`]), where their binaries are ([`paths`]), whether the machine has a fitting one already
//! ([`installed`]), and how they are built ([`build`]). Never starts one. It has few dependencies on purpose: the task runner,
//! which must start within seconds on an empty machine, is built on it.

pub mod build;
pub mod catalog;
pub mod installed;
pub mod paths;
pub mod version;

pub use build::{Progress, build};
pub use catalog::{NODE_TOOLS, SAMPLE_TOOLS, TEST_TOOLS, Tool};
pub use paths::{cache, find, root};
pub use version::Version;
