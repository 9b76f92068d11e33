//! Reports of nodes → which of them change what is known of a workload.
//!
//! What is known decides over variables of the workload's pods on every node, and a node's agent is whoever is root there. So agents
//! write reports beside it ([`submission`]), each in the name of its node, which admission holds them to; and the instrumentor takes
//! over the reports about pods that the API server has on that node ([`judge`], [`take_over`]). What was taken over stays, whether
//! or not the pod and the node do. Never reads an object, never writes one.

use super::report::{Finding, joined, object};
use super::stranger;
use super::subject::Subject;
use crate::workload::pod_workload;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use odigos_api::WorkloadRef;
use odigos_api::condition::kind::RUNTIME_DETECTION;
use odigos_api::condition::merged;
use odigos_api::instrumentation_config::{InstrumentationConfig, InstrumentationConfigStatus, ObservedImage};
use odigos_api::runtime_report::{MAX_PROBLEM_SIZE, MAX_REPORT_SIZE, ReportedContainer, RuntimeReport};
use odigos_detect::container::ContainerFound;
use serde_json::{Value, json};

/// Containers of one report.
const MAX_CONTAINERS: usize = 128;
/// Reports of one config that wait for the instrumentor. The list holds twice as many; one node fills one place of it.
const MAX_PENDING: usize = 16;

/// What an agent has to do about its finding.
#[derive(Clone, Debug, PartialEq)]
pub enum Submission {
    /// What is known says the same.
    Unneeded,
    /// Reports wait for the instrumentor; its answer may make this one unneeded.
    Pending,
    /// This status is to be applied.
    Write(Box<Value>),
}

/// What the agent of `node` has to do about a finding. With `insists` it does not wait for reports of others: some may never be
/// taken over.
#[must_use]
pub fn submission(
    config: &InstrumentationConfig,
    subject: &Subject,
    node: &str,
    finding: &Finding,
    insists: bool,
) -> Submission {
    if joined(config, finding).is_none() {
        return Submission::Unneeded;
    }
    let report = report(subject, node, finding);
    let pending = config.status.as_ref().map(|status| status.runtime_reports.as_slice()).unwrap_or_default();
    let is_replaced = |one: &RuntimeReport| one.node == node && one.pod_uid == report.pod_uid;
    let waits = pending.iter().any(|one| !is_replaced(one));
    let others: Vec<&RuntimeReport> = pending.iter().filter(|one| one.node != node).collect();
    if pending.contains(&report) || (waits && !insists) || others.len() >= MAX_PENDING {
        return Submission::Pending;
    }
    let all: Vec<&RuntimeReport> = others.into_iter().chain([&report]).collect();
    let mut object = object(config, &subject.workload);
    object["status"] = json!({"runtimeReports": all});
    Submission::Write(Box::new(object))
}

fn report(subject: &Subject, node: &str, finding: &Finding) -> RuntimeReport {
    let container = |found: &ContainerFound| {
        let (other_languages, unresolved_languages) = stranger::languages(&found.outcome);
        let (details, is_image_hidden) = (found.details.clone(), found.is_image_hidden);
        ReportedContainer { details, other_languages, unresolved_languages, is_image_hidden }
    };
    let (containers, problem) = match finding {
        Finding::Found(found) => (found.iter().map(container).collect(), String::new()),
        Finding::Failed(why) => (Vec::new(), why.chars().take(MAX_PROBLEM_SIZE).collect()),
    };
    let (pod, pod_uid) = (subject.pod.clone(), subject.uid.clone());
    let report = RuntimeReport { node: node.to_owned(), pod, pod_uid, containers, problem };
    if report.size() <= MAX_REPORT_SIZE && report.containers.len() <= MAX_CONTAINERS {
        return report;
    }
    // Admission would refuse it; half of it would be a lie.
    let problem = format!(
        "what runs in pod {} is more than a report holds: {} containers, {} characters of variables and names; state the runtime in a Source",
        report.pod,
        report.containers.len(),
        report.size()
    );
    RuntimeReport { containers: Vec::new(), problem, ..report }
}

/// A pod as the API server has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReportedPod {
    /// Its uid.
    pub uid: String,
    /// Its workload.
    pub workload: Option<WorkloadRef>,
    /// Its node.
    pub node: String,
    /// When it was created.
    pub created: Option<Time>,
}

impl ReportedPod {
    /// What of a pod a report is compared with.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        Self {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            workload: pod_workload(&pod.metadata),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
            created: pod.metadata.creation_timestamp.clone(),
        }
    }
}

/// Why a report does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// There is no such pod.
    NoPod,
    /// The pod belongs to another workload.
    OtherWorkload,
    /// The pod runs on another node.
    OtherNode,
    /// The report is larger than any that an agent writes.
    TooLarge,
}

impl Rejection {
    /// Why, for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoPod => "there is no such pod",
            Self::OtherWorkload => "the pod belongs to another workload",
            Self::OtherNode => "the pod runs on another node",
            Self::TooLarge => "the report is too large",
        }
    }
}

/// Whether a name can be that of a pod; others are never asked for.
#[must_use]
pub fn is_pod_name(name: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    let has_ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    name.len() <= 253 && name.bytes().all(is_valid) && has_ends(bytes.first()) && has_ends(bytes.last())
}

/// What a report says, if the pod that it names belongs to the workload and runs, or ran, on its node. The pod's age comes from the
/// API server, so that no node makes its finding the newest one.
///
/// # Errors
/// Why it does not count.
pub fn judge(report: &RuntimeReport, workload: &WorkloadRef, pod: Option<&ReportedPod>) -> Result<Finding, Rejection> {
    let pod = pod.filter(|pod| !pod.uid.is_empty() && pod.uid == report.pod_uid).ok_or(Rejection::NoPod)?;
    if pod.workload.as_ref() != Some(workload) {
        return Err(Rejection::OtherWorkload);
    }
    if pod.node.is_empty() || pod.node != report.node {
        return Err(Rejection::OtherNode);
    }
    if report.size() > MAX_REPORT_SIZE {
        return Err(Rejection::TooLarge);
    }
    if report.containers.is_empty() {
        return Ok(Finding::Failed(report.problem.clone()));
    }
    let found = |one: &ReportedContainer| {
        let mut found =
            stranger::found(one.details.clone(), &one.other_languages, &one.unresolved_languages, one.is_image_hidden);
        let image = found.details.observed_image.take();
        found.details.observed_image = image.map(|image| ObservedImage { pod_created: pod.created.clone(), ..image });
        found
    };
    Ok(Finding::Found(report.containers.iter().map(found).collect()))
}

/// The status to apply when these findings are taken over: what is known with them, and the reports that are left.
#[must_use]
pub fn take_over(
    config: &InstrumentationConfig,
    workload: &WorkloadRef,
    findings: &[Finding],
    left: &[RuntimeReport],
    now: Timestamp,
) -> Value {
    let mut known = config.clone();
    for finding in findings {
        let Some((details, draft)) = joined(&known, finding) else { continue };
        let generation = known.metadata.generation;
        let status = known.status.get_or_insert_default();
        let conditions = merged(&status.conditions, &[draft], generation, now);
        status.conditions.retain(|one| one.type_ != RUNTIME_DETECTION);
        status.conditions.extend(conditions);
        status.runtime_details_by_container = details;
    }
    let InstrumentationConfigStatus { runtime_details_by_container, mut conditions, .. } =
        known.status.unwrap_or_default();
    conditions.retain(|one| one.type_ == RUNTIME_DETECTION);
    let mut object = object(config, workload);
    // Stated whether or not they changed: what an apply leaves out is removed.
    object["status"] = json!({
        "runtimeDetailsByContainer": runtime_details_by_container, "conditions": conditions, "runtimeReports": left,
    });
    object
}

#[cfg(test)]
mod tests;
