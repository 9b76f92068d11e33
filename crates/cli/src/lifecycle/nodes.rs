//! The agents clean their nodes before they go: files of agents, links to logs, offsets.
//!
//! Owns the switch of the DaemonSet to leaving (`odigos-agent --leave`) and the wait for it. What an agent removes is its own
//! business (`odigos_agent`, module `leave`).

use super::cluster::{Reference, Where, text};
use super::remove::Removal;
use odigos_api::names;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What makes an agent leave.
const LEAVE: &str = "--leave";
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// A node that has not answered by then is left as it is.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nodes whose agent said that it is done, of all that had one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cleaned {
    /// Done.
    pub(super) done: i64,
    /// All.
    pub(super) all: i64,
}

/// Has every node cleaned that can be; `None` when no agent runs that could.
pub(super) async fn clean(removal: &Removal<'_>) -> anyhow::Result<Option<Cleaned>> {
    let cluster = removal.cluster;
    let agents = Reference::new("apps/v1", "DaemonSet", removal.namespace, names::AGENT_SERVICE);
    let Some(live) = cluster.get(&agents).await? else { return Ok(None) };
    let pods = removal.pods(Some(&[names::AGENT_SERVICE])).await?;
    if !pods.iter().any(is_ready) {
        return Ok(None);
    }
    // Collectors write what agents remove.
    cluster.delete(&Reference::new("apps/v1", "DaemonSet", removal.namespace, names::NODE_COLLECTOR)).await?;
    let until = Instant::now() + PATIENCE.min(removal.limit);
    let labels =
        format!("{}={}", odigos_api::labels::COLLECTOR_ROLE, odigos_api::CollectorRole::NodeCollector.as_str());
    let collectors = Where { namespace: Some(removal.namespace), labels: Some(&labels), ..Where::default() };
    while !cluster.list("v1", "Pod", collectors).await?.is_empty() && Instant::now() < until {
        tokio::time::sleep(PAUSE).await;
    }
    let mut containers = live.pointer("/spec/template/spec/containers").cloned().unwrap_or_default();
    if let Some(arguments) = containers.pointer_mut("/0/args").and_then(Value::as_array_mut)
        && !arguments.iter().any(|one| one == LEAVE)
    {
        arguments.push(json!(LEAVE));
    }
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%", "maxSurge": 0}});
    let change = json!({"spec": {"updateStrategy": strategy, "template": {"spec": {"containers": containers}}}});
    cluster.merge(&agents, &change).await?;
    let until = Instant::now() + PATIENCE.min(removal.limit);
    loop {
        let live = cluster.get(&agents).await?.unwrap_or_default();
        let number = |pointer: &str| live.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
        let all = number("/status/desiredNumberScheduled");
        let is_seen = number("/status/observedGeneration") >= number("/metadata/generation");
        let done = if is_seen { leaving(removal).await? } else { 0 };
        if (is_seen && done >= all) || Instant::now() > until {
            removal.progress.say(&format!("cleaned    {done} of {all} nodes"));
            return Ok(Some(Cleaned { done, all }));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Agents that leave and are done.
async fn leaving(removal: &Removal<'_>) -> anyhow::Result<i64> {
    let pods = removal.cluster.list("v1", "Pod", Where::namespace(removal.namespace)).await?;
    let done = pods.iter().filter(|pod| {
        let arguments = pod.pointer("/spec/containers/0/args").and_then(Value::as_array);
        let leaves = arguments.is_some_and(|arguments| arguments.iter().any(|one| one == LEAVE));
        leaves && text(pod, "/metadata/labels/app.kubernetes.io~1name") == names::AGENT_SERVICE && is_ready(pod)
    });
    Ok(i64::try_from(done.count())?)
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let is_true = |one: &Value| text(one, "/type") == "Ready" && text(one, "/status") == "True";
    text(pod, "/metadata/deletionTimestamp").is_empty() && conditions.into_iter().flatten().any(is_true)
}
