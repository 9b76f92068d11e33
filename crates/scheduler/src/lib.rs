//! Controller of the effective configuration, collectors groups and data streams.
//!
//! | watches | form | for |
//! |---|---|---|
//! | ConfigMaps of the configuration, by name | full | effective configuration |
//! | Destination, DataStream, CollectorsGroup, Sampling of the control plane | full | groups, classes, streams |
//! | InstrumentationConfig | metadata | which streams are in use |
//! | Pod | metadata | which class each carries |
//!
//! Writes, as field manager `odigos-scheduler`: ConfigMap `effective-config`; CollectorsGroup spec; DataStreams and their
//! members, classes, destinations and condition `ClassesAssigned`; label `odigos.io/stream-class` of InstrumentationConfigs and running pods.
//! Decisions are in `plan::configuration`, `plan::scheduling` and `plan::streams`.

mod classes;
mod data_streams;
mod groups;
mod run;
mod state;

pub use run::{Arguments, run};
