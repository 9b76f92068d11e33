//! Controller of Sources and InstrumentationConfigs, and the admission webhooks.
//!
//! | watches | form | for |
//! |---|---|---|
//! | Source, InstrumentationConfig | full, all namespaces | coverage |
//! | Deployment, StatefulSet, DaemonSet, CronJob, and Rollout and DeploymentConfig where served | names of containers and of their `OTEL_` variables, replicas | workloads |
//! | Pod | owner, agents' hash, revision, readiness, images, containers that fail, whether agents' files come from the node; detection pods of the control plane's namespace with their answer | static pods, the agent decision, rollbacks, what is to be looked at |
//! | Event `FailedCreate` | which workload, when, why | rollbacks where pods are rejected at creation |
//! | CollectorsGroup, InstrumentationRule | full, the control plane's namespace | the agent decision, what became of rules |
//! | LimitRange | full | what an init container may request |
//! | Namespace, Node with the agents' files | metadata | how agents' files come into pods |
//!
//! Reads one by one: a Job whose name does not tell whose it is, when a pod of it is admitted; a ReplicaSet or PodTemplate that holds
//! the template of a Rollout; the metadata of the Secret that images of agents are pulled with; a pod that a node reports about and that
//! the store does not hold yet.
//!
//! Writes, as field manager `odigos-instrumentor`: InstrumentationConfig (spec, stream labels, conditions, rollout status),
//! Source status and finalizer, InstrumentationRule status, the restart annotation of pod templates; evicts single pods. As field
//! manager `odigos-agent`: what was found in containers, from reports of nodes that it accepted or, where nodes have no agent, from
//! detection pods that it makes in its own namespace. Decisions are in `plan::coverage`, `plan::instrumentation`, `plan::agents`, `plan::injection`, `plan::detection` and `plan::admission`.

mod detection;
mod hooks;
mod pods;
mod pull_secrets;
mod reports;
mod rollouts;
mod rules;
mod run;
mod sources;
mod state;
mod workloads;

pub use run::{Arguments, run};
