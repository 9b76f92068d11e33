//! Writes what was found into the status of an InstrumentationConfig, as a report in the name of the node: what follows from it is up
//! to the instrumentor (`plan::detection::reports`).
//!
//! The agents of all nodes write as one field manager, and only for the version of the object that was read: of two that write at
//! once the second reads again.

use kube::Client;
use kube::api::Api;
use odigos_api::WorkloadRef;
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_kit::apply::{Applier, ApplyError, StatusChange};
use odigos_plan::detection::report::Finding;
use odigos_plan::detection::reports::{Submission, submission};
use odigos_plan::detection::subject::Subject;
use std::sync::atomic::{AtomicBool, Ordering};

/// Writes reports.
#[derive(Clone)]
pub(crate) struct Reporter {
    /// Reads configs.
    pub(crate) client: Client,
    /// Writes in the name of the agent.
    pub(crate) applier: Applier,
    /// Writes reports: what older agents wrote into the same status is the instrumentor's now, and stays.
    pub(crate) reports: Applier,
    /// The node.
    pub(crate) node: String,
}

/// What came of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Submitted {
    /// It was written.
    Written,
    /// What is known says the same.
    Unneeded,
    /// Reports wait for the instrumentor, perhaps this one.
    Pending,
    /// There is no config (yet, or any more).
    NoConfig,
}

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reporter").field("node", &self.node).finish_non_exhaustive()
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

    /// Reports a finding, unless it is known; with `insists` also beside reports of others that wait.
    ///
    /// # Errors
    /// What the API server said.
    pub(crate) async fn report(
        &self,
        subject: &Subject,
        finding: &Finding,
        insists: bool,
    ) -> Result<Submitted, ApplyError> {
        let is_pending = AtomicBool::new(false);
        let change = |config: &InstrumentationConfig| {
            let decided = submission(config, subject, &self.node, finding, insists);
            is_pending.store(decided == Submission::Pending, Ordering::Relaxed);
            match decided {
                Submission::Write(object) => Some(*object),
                Submission::Unneeded | Submission::Pending => None,
            }
        };
        let workload = &subject.workload;
        let done = self.reports.change_status(&self.configs(workload), &workload.config_name(), change).await?;
        Ok(match done {
            StatusChange::Written => Submitted::Written,
            StatusChange::NoObject => Submitted::NoConfig,
            StatusChange::Unchanged if is_pending.load(Ordering::Relaxed) => Submitted::Pending,
            StatusChange::Unchanged => Submitted::Unneeded,
        })
    }

    fn configs(&self, workload: &WorkloadRef) -> Api<InstrumentationConfig> {
        Api::namespaced(self.client.clone(), &workload.namespace)
    }
}
