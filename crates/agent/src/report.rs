//! Writes what was found into the status of an InstrumentationConfig, as `plan::detection::report` decides.
//!
//! The agents of all nodes write as one field manager, and only for the version of the object that was read: of two that write at
//! once the second reads again.

use jiff::Timestamp;
use kube::Client;
use kube::api::Api;
use odigos_api::WorkloadRef;
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_kit::apply::{Applier, ApplyError};
use odigos_plan::detection::report::{Finding, change};

/// What came of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Something was written.
    Written,
    /// Everything stood there already.
    Unchanged,
    /// The workload is not covered (yet, or any more).
    NoConfig,
}

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

/// Others that write at the same time are as many as nodes on which pods of one workload become ready at once.
const CONFLICTS: u32 = 8;

impl Reporter {
    /// The config of a workload; `None` when there is none.
    ///
    /// # Errors
    /// What the API server said.
    pub(crate) async fn config(&self, workload: &WorkloadRef) -> Result<Option<InstrumentationConfig>, kube::Error> {
        let api: Api<InstrumentationConfig> = Api::namespaced(self.client.clone(), &workload.namespace);
        api.get_opt(&workload.config_name()).await
    }

    /// Brings the status in line with a finding.
    ///
    /// # Errors
    /// What the API server said.
    pub(crate) async fn report(&self, workload: &WorkloadRef, finding: &Finding) -> anyhow::Result<Outcome> {
        for attempt in 1.. {
            let Some(config) = self.config(workload).await? else { return Ok(Outcome::NoConfig) };
            let Some(object) = change(&config, workload, finding, Timestamp::now()) else {
                return Ok(Outcome::Unchanged);
            };
            match self.applier.apply_status(&object).await {
                Ok(()) => return Ok(Outcome::Written),
                Err(error) if error.is_not_found() => return Ok(Outcome::NoConfig),
                Err(error) if attempt < CONFLICTS && is_conflict(&error) => {
                    // Nodes that collided once would do so again.
                    let spread = u64::from(std::process::id() % 50);
                    tokio::time::sleep(std::time::Duration::from_millis(u64::from(attempt) * (20 + spread))).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Outcome::Unchanged)
    }
}

fn is_conflict(error: &ApplyError) -> bool {
    matches!(error, ApplyError::Api { source, .. } if matches!(source.as_ref(), kube::Error::Api(status) if status.code == 409))
}
