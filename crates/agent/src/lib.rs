//! The agent on every node.
//!
//! | watches | form | for |
//! |---|---|---|
//! | Pods of its node | names of containers and of variables, statuses of containers, stream class | what runs in them; links to container logs |
//! | ConfigMap `effective-config` | the configuration | containers that are ignored |
//!
//! | reads one at a time | writes |
//! |---|---|
//! | InstrumentationConfig of a pod's workload | its status: `runtimeReports`, in the name of its node |
//! | InstrumentationInstances of its node, once | InstrumentationInstances, one for each process with an agent |
//! | Node, its own | the label `odigos.io/odiglet-oss-installed`, once the agents' files are there |
//!
//! Where it may (`--container-runtime`), it asks the container runtime of its node what an image sets.
//!
//! It tells the program that instruments Go (`deploy/images/golang`), in a container beside it, which processes are wanted.
//!
//! As `odigos-agent detect` it is a pod that looks once, says what it found as its termination message, and ends; as
//! `odigos-agent copy` it is the init container that brings the agents' files.
//!
//! On the node it keeps the directory of log links (design 4.5) and the agents' files, and nothing else. Decisions are in `detect` and
//! `plan::log_links`.

mod container_runtime;
mod detect;
mod files;
mod golang;
mod install;
mod instances;
mod leave;
mod links;
mod look;
mod observe;
mod processes;
mod report;
mod run;
mod sight;
mod watchdog;

pub use detect::{DetectArguments, detect};
pub use files::{CopyArguments, copy};
pub use run::{Arguments, run};
