//! `odigos sources restart`: pods of covered workloads are restarted, so that they take settings that reach a process only
//! when its pod is created.
//!
//! Owns which workloads those are and their order: one after the other, the next one when the rollout of the one before is
//! finished. How a kind is restarted is the planner's.

use super::configs;
use crate::lifecycle::MANAGER;
use crate::{Failure, live, output};
use anyhow::{Context, bail};
use jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use odigos_api::WorkloadRef;
use odigos_api::instrumentation_config::InstrumentationConfig;
use odigos_plan::agents::inputs;
use odigos_plan::instrumentation::rollout::{self, Progress};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Between two looks at a rollout.
const PAUSE: Duration = Duration::from_millis(500);

/// What is asked for.
pub(super) struct Request {
    /// One workload; else all of `namespace`, or of the cluster.
    pub(super) workload: Option<WorkloadRef>,
    pub(super) namespace: Option<String>,
    /// Only those of which pods run with older settings.
    pub(super) outdated: bool,
    pub(super) dry_run: bool,
    /// For each workload.
    pub(super) limit: Duration,
}

/// A workload that is restarted, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Restart {
    pub(super) workload: WorkloadRef,
    /// Settings of which its pods run with older values; empty where there is none.
    pub(super) why: String,
}

/// The workloads to restart, and those that no restart from outside can reach.
pub(super) fn chosen(
    configs: &[InstrumentationConfig],
    workload: Option<&WorkloadRef>,
    outdated: bool,
) -> (Vec<Restart>, Vec<WorkloadRef>) {
    let mut all: Vec<Restart> = configs
        .iter()
        .filter(|config| config.spec.agent_injection_enabled)
        .filter_map(|config| {
            let namespace = config.metadata.namespace.as_deref().unwrap_or_default();
            let found = WorkloadRef::from_config_name(namespace, config.metadata.name.as_deref()?)?;
            let older = config.status.as_ref().map(|status| status.outdated_inputs.as_slice()).unwrap_or_default();
            let is_chosen = workload.is_none_or(|one| *one == found) && (!outdated || !older.is_empty());
            is_chosen.then(|| Restart { workload: found, why: inputs::words(older) })
        })
        .collect();
    all.sort_by(|one, other| one.workload.cmp(&other.workload));
    let (can, cannot): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| rollout::can_restart(one.workload.kind));
    (can, cannot.into_iter().map(|one| one.workload).collect())
}

pub(super) async fn run(client: &Client, request: &Request) -> Result<ExitCode, Failure> {
    let namespace = request.workload.as_ref().map(|one| one.namespace.as_str()).or(request.namespace.as_deref());
    let configs = configs(client, namespace).await?;
    let (restarts, skipped) = chosen(&configs, request.workload.as_ref(), request.outdated);
    for workload in &skipped {
        output::error(&format!(
            "skipped {workload}: its next pod takes the settings, and nothing restarts it from outside"
        ));
    }
    if let Some(workload) =
        request.workload.as_ref().filter(|_| restarts.is_empty() && skipped.is_empty() && !request.outdated)
    {
        return Err(
            anyhow::anyhow!("{workload} has no agents, so there is nothing to take; odigos why says why").into()
        );
    }
    if restarts.is_empty() {
        output::text("nothing to restart\n");
        return Ok(ExitCode::SUCCESS);
    }
    for one in &restarts {
        let why = if one.why.is_empty() { String::new() } else { format!(": {}", one.why) };
        if request.dry_run {
            output::text(&format!("would restart {}{why}\n", one.workload));
            continue;
        }
        restart(client, &one.workload, request.limit).await?;
        output::text(&format!("restarted {}{why}\n", one.workload));
    }
    Ok(if request.dry_run { ExitCode::from(10) } else { ExitCode::SUCCESS })
}

/// Restarts one and waits until its rollout is finished.
async fn restart(client: &Client, workload: &WorkloadRef, limit: Duration) -> Result<(), Failure> {
    let kind = workload.kind;
    let object = json!({
        "apiVersion": kind.api_version(), "kind": kind.object_kind(),
        "metadata": {"namespace": workload.namespace, "name": workload.name},
    });
    let found = live::get(client, &object).await?.with_context(|| format!("{workload} does not exist"))?;
    if Progress::of(kind, &found).is_paused {
        return Err(Failure::Exit(1, anyhow::anyhow!("rollouts of {workload} are paused; resume it first")));
    }
    let stamp = Timestamp::now();
    patch(client, workload, &rollout::restart_change(kind, stamp)).await?;
    let until = Instant::now() + limit;
    loop {
        tokio::time::sleep(PAUSE).await;
        let Some(found) = live::get(client, &object).await? else { return Ok(()) };
        let progress = Progress::of(kind, &found);
        if progress.restarted_at.parse::<Timestamp>().is_ok_and(|at| at.as_second() >= stamp.as_second())
            && !progress.is_ongoing
        {
            return Ok(());
        }
        if Instant::now() >= until {
            let error = anyhow::anyhow!(
                "the rollout of {workload} is not finished after {} s; no further workload is restarted",
                limit.as_secs()
            );
            return Err(Failure::Exit(6, error));
        }
    }
}

async fn patch(client: &Client, workload: &WorkloadRef, change: &Value) -> anyhow::Result<()> {
    let kind = workload.kind;
    let (group, version) = kind.api_version().split_once('/').unwrap_or(("", kind.api_version()));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind.object_kind()));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &workload.namespace, &resource);
    let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    match api.patch(&workload.name, &parameters, &Patch::Merge(change)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => bail!("failed to restart {workload}: {}", status.message),
        Err(error) => Err(error).with_context(|| format!("failed to restart {workload}")),
    }
}
