//! The agent on every node.
//!
//! | watches | form | for |
//! |---|---|---|
//! | Pods of its node | names of containers, stream class | links to container logs |
//! | ConfigMap `effective-config` | the configuration | containers that are ignored |
//!
//! Writes nothing to the API server. On the node it keeps the directory of log links (design 4.5), and nothing else.
//! Decisions are in `plan::log_links`.

mod links;
mod run;

pub use run::{Arguments, run};
