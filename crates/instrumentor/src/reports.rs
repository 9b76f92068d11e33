//! Reports of the agents of nodes: takes over those about pods that run where they come from, and removes all
//! (`plan::detection::reports`).
//!
//! Written as field manager `odigos-agent`, which older agents used for the same fields: what they found stays.

use crate::state::State;
use crate::workloads::Error;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::runtime_report::RuntimeReport;
use odigos_api::{API_VERSION, WorkloadRef};
use odigos_kit::events::about;
use odigos_plan::detection::report::Finding;
use odigos_plan::detection::reports::{Rejection, ReportedPod, is_pod_name, judge, take_over};
use std::sync::Arc;
use std::time::Duration;

/// How long a reconcile waits for a pod that the store does not hold.
const PATIENCE: Duration = Duration::from_secs(2);
/// When a report whose pod could not be read is looked at again.
pub(crate) const RECHECK: Duration = Duration::from_secs(5);

/// The config with what its reports add, and whether some of them could not be judged yet.
pub(crate) async fn accept(
    state: &State,
    workload: &WorkloadRef,
    config: Arc<InstrumentationConfig>,
) -> Result<(Arc<InstrumentationConfig>, bool), Error> {
    let reports = config.status.as_ref().map(|status| status.runtime_reports.as_slice()).unwrap_or_default();
    if reports.is_empty() {
        return Ok((config, false));
    }
    let (mut findings, mut rejected, mut left) = (Vec::new(), Vec::new(), Vec::new());
    for report in reports {
        match judged(state, workload, report).await {
            None => left.push(report.clone()),
            Some(Ok(finding)) => findings.push(finding),
            Some(Err(why)) => rejected.push((report, why)),
        }
    }
    if left.len() == reports.len() {
        return Ok((config, true));
    }
    let object = take_over(&config, workload, &findings, &left, Timestamp::now());
    let written = match state.reporter.applied_status(&object).await {
        Ok(written) => written,
        // Somebody wrote meanwhile, an agent perhaps: the watch brings it, and this workload again.
        Err(error) if error.is_conflict() || error.is_not_found() => return Ok((config, false)),
        Err(error) => return Err(error.into()),
    };
    for (report, why) in rejected {
        record_rejection(state, workload, &config, report, why).await;
    }
    let decoded = serde_json::to_value(written).and_then(serde_json::from_value::<InstrumentationConfig>);
    let Ok(config) = decoded.map(Arc::new) else { return Ok((config, false)) };
    // Pods that are admitted from now on are given what is known now.
    let key = (workload.namespace.clone(), workload.config_name());
    state.configs.put(key, Some(config.as_ref().clone()));
    Ok((config, !left.is_empty()))
}

/// What becomes of a report; `None` where its pod could not be read.
async fn judged(state: &State, workload: &WorkloadRef, report: &RuntimeReport) -> Option<Result<Finding, Rejection>> {
    let known = state.pods.get(&workload.namespace, &report.pod).map(|pod| pod.reported());
    let judged = judge(report, workload, known.as_ref());
    if judged.is_ok() || !is_pod_name(&report.pod) {
        return Some(judged);
    }
    // An agent may see a new pod before this store does.
    let api: Api<Pod> = Api::namespaced(state.client.0.clone(), &workload.namespace);
    let found = tokio::time::timeout(PATIENCE, api.get_opt(&report.pod)).await.ok()?.ok()?;
    Some(judge(report, workload, found.as_ref().map(ReportedPod::of).as_ref()))
}

async fn record_rejection(
    state: &State,
    workload: &WorkloadRef,
    config: &InstrumentationConfig,
    report: &RuntimeReport,
    why: Rejection,
) {
    let (node, pod) = (&report.node, &report.pod);
    tracing::warn!(%workload, node, pod, reason = why.as_str(), "report of a node rejected");
    let note = format!("Node {node} reported about pod {pod}, and the report was rejected: {}.", why.as_str());
    let (namespace, name) = (&workload.namespace, workload.config_name());
    let object = about(API_VERSION, "InstrumentationConfig", namespace, &name, config.metadata.uid.as_deref());
    state.events.warn_about_part(&object, "RuntimeReportRejected", node, &note).await;
}
