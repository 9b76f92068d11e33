//! Controller of Sources and InstrumentationConfigs, and the admission webhooks.
//!
//! | watches | form | for |
//! |---|---|---|
//! | Source, InstrumentationConfig | full, all namespaces | coverage |
//! | Deployment, StatefulSet, DaemonSet, CronJob, and Rollout and DeploymentConfig where served | names of containers, replicas | workloads |
//! | Pod | metadata | static pods |
//!
//! Writes, as field manager `odigos-instrumentor`: InstrumentationConfig (spec, stream labels, conditions), Source status
//! and finalizer. Decisions are in `plan::coverage`, `plan::instrumentation` and `plan::admission`.

mod hooks;
mod run;
mod sources;
mod state;
mod workloads;

pub use run::{Arguments, run};
