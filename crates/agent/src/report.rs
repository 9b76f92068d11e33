//! Writes what was found into the status of an InstrumentationConfig, as `plan::detection::report` decides.
//!
//! The agents of all nodes write as one field manager, and only for the version of the object that was read: of two that write at
//! once the second reads again.

use jiff::Timestamp;
use kube::Client;
use kube::api::Api;
use odigos_api::WorkloadRef;
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_kit::apply::{Applier, ApplyError, StatusChange};
use odigos_plan::detection::report::{Finding, change};

/// Writes reports.
#[derive(Clone)]
pub(crate) struct Reporter {
    /// Reads configs.
    pub(crate) client: Client,
    /// Writes their status.
    pub(crate) applier: Applier,
}

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reporter").field("applier", &self.applier).finish_non_exhaustive()
    }
}

impl Reporter {
    /// The config of a workload; `None` when there is none.
    ///
    /// # Errors
    /// What the API server said.
    pub(crate) async fn config(&self, workload: &WorkloadRef) -> Result<Option<InstrumentationConfig>, kube::Error> {
        self.configs(workload).get_opt(&workload.config_name()).await
    }

    /// Brings the status in line with a finding.
    ///
    /// # Errors
    /// What the API server said.
    pub(crate) async fn report(&self, workload: &WorkloadRef, finding: &Finding) -> Result<StatusChange, ApplyError> {
        let change = |config: &InstrumentationConfig| change(config, workload, finding, Timestamp::now());
        self.applier.change_status(&self.configs(workload), &workload.config_name(), change).await
    }

    fn configs(&self, workload: &WorkloadRef) -> Api<InstrumentationConfig> {
        Api::namespaced(self.client.clone(), &workload.namespace)
    }
}
