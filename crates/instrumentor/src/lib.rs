//! Controller of Sources and InstrumentationConfigs, and the admission webhooks.
//!
//! | watches | form | for |
//! |---|---|---|
//! | Source, InstrumentationConfig | full, all namespaces | coverage |
//! | Deployment, StatefulSet, DaemonSet, CronJob, and Rollout and DeploymentConfig where served | names of containers and of their `OTEL_` variables, replicas | workloads |
//! | Pod | owner, agents' hash, revision, readiness, containers that fail | static pods, the agent decision, rollbacks |
//! | CollectorsGroup, InstrumentationRule | full, the control plane's namespace | the agent decision, what became of rules |
//! | Namespace, Node with the agents' files | metadata | how agents' files come into pods |
//!
//! Writes, as field manager `odigos-instrumentor`: InstrumentationConfig (spec, stream labels, conditions, rollout status),
//! Source status and finalizer, InstrumentationRule status, the restart annotation of pod templates; evicts single pods. Decisions are in `plan::coverage`, `plan::instrumentation`,
//! `plan::agents`, `plan::injection` and `plan::admission`.

mod hooks;
mod pods;
mod rollouts;
mod rules;
mod run;
mod sources;
mod state;
mod workloads;

pub use run::{Arguments, run};
