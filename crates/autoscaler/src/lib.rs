//! Controller of the collectors: configuration, workloads and status.
//!
//! | watches | form | for |
//! |---|---|---|
//! | CollectorsGroup, Destination, Processor, DataStream of the control plane | full | what is rendered |
//! | Action of the control plane | full | what is done to telemetry in gateways |
//! | AddClusterInfo, DeleteAttribute, RenameAttribute, PiiMasking, K8sAttributesResolver of `actions.odigos.io` | full, control plane's namespace | Actions of older releases |
//! | ConfigMap `effective-config` and versions of collector configurations, Deployment, DaemonSet, Service, HPA, PDB | full or metadata, own namespace | what runs |
//! | Secret of the control plane | metadata only; values are read when a Destination names one | credentials |
//! | The three Secrets with certificates of collectors | read by name once a minute | renewal |
//! | Pods of collectors | what they mount and how they are | what does not start, which gateways take items |
//! | Node | metadata and provider | where the cluster runs |
//! | APIService `v1beta1.custom.metrics.k8s.io`, with `--custom-metrics` | full, that one | whom the cluster asks for custom metrics |
//!
//! The leader also asks every gateway for its own metrics, every ten seconds over HTTP (`scaling`), and once a minute for the service graph
//! (`trace_cuts`).
//!
//! Writes, as field manager `odigos-autoscaler`: the collectors' ConfigMaps, Deployment, DaemonSet, Services, autoscaler
//! and disruption budget; status of CollectorsGroup, Destination, Processor and Action; condition `Rendered` of DataStreams.
//! As `odigos-autoscaler-trace-cuts`: condition `TraceCut` of DataStreams. Creates Actions of objects of older releases, and writes owner and
//! status of these (`legacy_actions`).
//! The data of Secret `odigos-gateway-escaped-secrets`, which the chart creates (`secrets`).
//! The data of Secrets `odigos-collector-authority`, `odigos-gateway-certificate` and `odigos-node-certificate`, which the chart creates too
//! (`certificates`).
//! With `--custom-metrics` every replica also keeps `caBundle` of that APIService and answers for its group (`custom_metrics`).
//! Decisions are in `plan::gateway`, `plan::node` and `plan::scaling`.

mod certificates;
mod collectors;
mod custom_metrics;
mod legacy_actions;
mod readings;
mod report;
mod rounds;
mod run;
mod scaling;
mod scrape;
mod secrets;
mod state;
mod trace_cuts;

pub use run::{Arguments, run};
