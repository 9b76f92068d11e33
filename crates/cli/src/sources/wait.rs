//! Waiting until a target is as asked for: by the state of its objects, with progress, and an end when it cannot come.

use super::Target;
use super::{configs, read};
use crate::explain::next_step::next_step_for;
use crate::{Failure, live, output};
use kube::Client;
use odigos_api::WorkloadRef;
use odigos_api::condition::kind::{AGENT_ENABLED, PODS_INJECTION};
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_api::labels::AGENTS_META_HASH;
use odigos_plan::agents::Reason;
use serde_json::Value;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Everything is as asked for.
    Done(String),
    /// It goes on by itself.
    Goes(String),
    /// Somebody must do something first.
    Stuck { cause: String, remedy: String },
}

/// Judges from the configs and pods of the target's namespace.
pub(crate) fn judge(target: &Target, is_covered: bool, configs: &[InstrumentationConfig], pods: &[Value]) -> Progress {
    let of_target: Vec<(WorkloadRef, &InstrumentationConfig)> = configs
        .iter()
        .filter_map(|config| {
            let name = config.metadata.name.as_deref()?;
            let workload = WorkloadRef::from_config_name(target.namespace(), name)?;
            target.holds(&workload).then_some((workload, config))
        })
        .collect();
    if !is_covered {
        return gone(target, &of_target, pods);
    }
    if of_target.is_empty() {
        return Progress::Goes("the instrumentor has not seen it yet".into());
    }
    let mut done = 0;
    let mut waiting: Option<String> = None;
    let mut stuck: Option<Progress> = None;
    for (workload, config) in &of_target {
        let conditions = config.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        let find = |kind: &str| conditions.iter().find(|one| one.type_ == kind);
        let (agent, pods) = (find(AGENT_ENABLED), find(PODS_INJECTION));
        if let Some(agent) = agent.filter(|agent| agent.status == "False") {
            let is_wanted = Reason::parse(&agent.reason).is_some_and(|reason| reason != Reason::IgnoredContainer);
            // In a namespace some workloads cannot have agents; the others are what is waited for.
            if matches!(target, Target::Namespace(_)) {
                done += 1;
            } else if is_wanted || agent.reason == Reason::IgnoredContainer.as_str() {
                let remedy =
                    next_step_for(&agent.reason, &agent.message, workload).unwrap_or_else(|| "read the message".into());
                stuck = Some(Progress::Stuck { cause: format!("{}: {}", agent.reason, agent.message), remedy });
            }
            continue;
        }
        match (agent, pods) {
            (Some(agent), Some(pods)) if agent.status == "True" && pods.status == "True" => done += 1,
            (Some(agent), Some(pods)) if agent.status == "True" && pods.status == "False" => {
                let remedy =
                    next_step_for(&pods.reason, &pods.message, workload).unwrap_or_else(|| "read the message".into());
                stuck.get_or_insert(Progress::Stuck { cause: format!("{}: {}", pods.reason, pods.message), remedy });
            }
            (Some(agent), Some(pods)) if agent.status == "True" => {
                waiting.get_or_insert_with(|| format!("{workload}: {}", pods.reason));
            }
            (agent, _) => {
                let reason = agent.map(|agent| agent.reason.clone()).unwrap_or_else(|| "not decided yet".into());
                waiting.get_or_insert_with(|| format!("{workload}: {reason}"));
            }
        }
    }
    match (waiting, stuck) {
        (Some(waiting), _) => Progress::Goes(format!("{done} of {} ready; {waiting}", of_target.len())),
        (None, Some(stuck)) => stuck,
        (None, None) => Progress::Done(format!("{} is instrumented", target.words())),
    }
}

fn gone(target: &Target, of_target: &[(WorkloadRef, &InstrumentationConfig)], pods: &[Value]) -> Progress {
    let is_of_target = |pod: &&Value| read::owner(pod).is_some_and(|owner| target.holds(&owner));
    let has_agents =
        |pod: &&Value| pod.pointer("/metadata/labels").is_some_and(|labels| labels.get(AGENTS_META_HASH).is_some());
    let is_living =
        |pod: &&Value| !matches!(pod.pointer("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed"));
    let still = pods.iter().filter(is_of_target).filter(has_agents).filter(is_living);
    // Workloads of a namespace with Sources of their own stay covered.
    let marked: Vec<&(WorkloadRef, &InstrumentationConfig)> = match target {
        Target::Workload(_) => of_target.iter().collect(),
        Target::Namespace(_) => {
            let by_namespace = |config: &InstrumentationConfig| {
                let conditions = config.status.iter().flat_map(|status| &status.conditions);
                conditions.into_iter().any(|one| one.reason == "NamespaceSource")
            };
            of_target.iter().filter(|(_, config)| by_namespace(config)).collect()
        }
    };
    let stays: Vec<&WorkloadRef> = match target {
        Target::Workload(_) => Vec::new(),
        Target::Namespace(_) => of_target.iter().map(|(workload, _)| workload).collect(),
    };
    let still = still.filter(|pod| read::owner(pod).is_some_and(|owner| !stays.contains(&&owner))).count();
    match (marked.len(), still) {
        (0, 0) => Progress::Done(format!("{} is no longer instrumented", target.words())),
        (0, 1) => Progress::Goes("1 pod still carries agents".into()),
        (0, pods) => Progress::Goes(format!("{pods} pods still carry agents")),
        (1, _) => Progress::Goes("1 workload is still covered".into()),
        (configs, _) => Progress::Goes(format!("{configs} workloads are still covered")),
    }
}

/// Waits. A state that somebody must change has to last, since decisions are made anew while objects change.
pub(super) async fn run(
    client: &Client,
    target: &Target,
    is_covered: bool,
    limit: Duration,
) -> Result<ExitCode, Failure> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let until = Instant::now() + limit;
    let is_terminal = std::io::stderr().is_terminal();
    let mut said = String::new();
    let mut stuck_since: Option<Instant> = None;
    loop {
        let namespace = Some(target.namespace());
        let configs = configs(client, namespace).await?;
        let pods = live::list(client, "v1", "Pod", "pods", namespace).await?;
        let progress = judge(target, is_covered, &configs, &pods);
        let line = match &progress {
            Progress::Done(done) => {
                if is_terminal {
                    output::progress("");
                }
                output::error(done);
                return Ok(ExitCode::SUCCESS);
            }
            Progress::Goes(line) => {
                stuck_since = None;
                line.clone()
            }
            Progress::Stuck { cause, .. } => cause.clone(),
        };
        if let Progress::Stuck { cause, remedy } = &progress
            && stuck_since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE
        {
            if is_terminal {
                output::progress("");
            }
            return Err(Failure::Exit(1, anyhow::anyhow!("{cause}\nTo do: {remedy}")));
        }
        if Instant::now() >= until {
            if is_terminal {
                output::progress("");
            }
            return Err(Failure::Exit(6, anyhow::anyhow!("not within {} s: {line}", limit.as_secs())));
        }
        if line != said {
            match is_terminal {
                true => output::progress(&line),
                false => output::error(&line),
            }
            said = line;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
