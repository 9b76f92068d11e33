//! What both loops over the node's pods look with: its pods, its processes, and the way to the API server.
//!
//! Owns the choice of subjects out of the watched pods, and the walk over the processes on a thread that can be given up. When to
//! look, and what follows, is up to [`crate::observe`] and [`crate::instances`].

use crate::look;
use crate::processes::Processes;
use crate::report::Reporter;
use crate::watchdog::Watchdog;
use k8s_openapi::api::core::v1::Pod;
use odigos_detect::parse::Member;
use odigos_kit::hub::Hub;
use odigos_plan::detection::subject::Subject;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Changes that come together are handled together.
pub(crate) const GATHER: Duration = Duration::from_millis(100);

/// The node as it is looked at; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    /// Pods of the node.
    pub(crate) pods: Arc<Hub<Pod>>,
    /// Its processes.
    pub(crate) processes: Processes,
    /// Reads configs, writes what was found.
    pub(crate) reporter: Reporter,
    /// Name of the node.
    pub(crate) node: String,
}

impl Sight {
    /// The pods that `choose` takes, by their uid.
    pub(crate) fn subjects(&self, choose: impl Fn(&Pod) -> Option<Subject>) -> BTreeMap<String, Subject> {
        let pods = self.pods.all();
        let chosen = pods.iter().filter_map(|(_, pod)| choose(pod));
        chosen.map(|subject| (subject.uid.clone(), subject)).collect()
    }

    /// The processes of the containers of these pods; `None` when they cannot be listed.
    pub(crate) async fn find<'a>(
        &self,
        subjects: impl Iterator<Item = &'a Subject>,
        watchdog: &Watchdog,
    ) -> Option<BTreeMap<Member, Vec<u32>>> {
        look::find(&self.processes, subjects, watchdog).await
    }
}
