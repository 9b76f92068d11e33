//! The first phase of uninstalling: the instrumentor takes instrumentation back, as it does whenever a Source goes.
//!
//! Owns disabling or deleting Sources and waiting by state. Notices when no instrumentor is there to do it; then the second
//! phase does. Can be interrupted and run again at any point.

use super::cluster::{Cluster, Reference, Where, text};
use super::{PREFIX, Progress, user};
use odigos_api::{API_VERSION, labels, names};
use odigos_plan::configuration::Configuration;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// Longer than its lease a leader may be silent: the next one needs a moment.
const GRACE: Duration = Duration::from_secs(5);

/// How the phase ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing is instrumented any more.
    Done,
    /// No instrumentor is running.
    Nobody,
    /// Not within the time; what is still instrumented.
    Late(Vec<String>),
}

/// Takes instrumentation back: Sources are disabled, or deleted when everything goes.
pub(super) async fn run(
    cluster: &Cluster,
    namespace: &str,
    purge: bool,
    limit: Duration,
    progress: Progress,
) -> anyhow::Result<Outcome> {
    end_opt_out(cluster, namespace, progress).await?;
    for source in cluster.list(API_VERSION, "Source", Where::default()).await? {
        let reference = Reference::of(&source);
        if !text(&source, "/metadata/deletionTimestamp").is_empty() {
            continue;
        }
        if purge {
            cluster.delete(&reference).await?;
            progress.say(&format!("deleted    {reference}"));
        } else if user::disable(cluster, &source).await? {
            progress.say(&format!("disabled   {reference}, until everything is removed"));
        }
    }
    let mut pulse = Pulse::new();
    let until = Instant::now() + limit;
    let mut said = usize::MAX;
    loop {
        let left = instrumented(cluster).await?;
        if left.is_empty() {
            return Ok(Outcome::Done);
        }
        if left.len() != said {
            progress.say(&format!("waiting    {} still instrumented, e.g. {}", left.len(), left[0]));
            said = left.len();
        }
        if !pulse.beats(cluster, namespace).await? {
            progress.say("no instrumentor is running: it is done without");
            return Ok(Outcome::Nobody);
        }
        if Instant::now() >= until {
            return Ok(Outcome::Late(left));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Takes back what no Source covers: without this, workloads of the mode `optOut` would stay covered whatever Sources say. The
/// ConfigMaps are removed with everything else; an installation that stays after all gets its mode back by `odigos upgrade`.
async fn end_opt_out(cluster: &Cluster, namespace: &str, progress: Progress) -> anyhow::Result<()> {
    for name in [names::CONFIGURATION, names::EFFECTIVE_CONFIGURATION] {
        let reference = Reference::new("v1", "ConfigMap", namespace, name);
        let Some(map) = cluster.get(&reference).await? else { continue };
        let written = map.get("data").and_then(|data| data.get(names::CONFIGURATION_KEY)).and_then(Value::as_str);
        let Ok(mut configuration) = Configuration::parse(written.unwrap_or_default()) else { continue };
        if configuration.text("instrumentation.mode") != Some("optOut") {
            continue;
        }
        configuration.set("instrumentation.mode", json!("optIn"));
        cluster.merge(&reference, &json!({"data": {names::CONFIGURATION_KEY: configuration.to_yaml()}})).await?;
        progress.say(&format!("changed    {reference}: instrumentation.mode is optIn until everything is removed"));
    }
    Ok(())
}

/// What the instrumentor still has to do: configs, Sources on their way out, pods with agents.
pub(super) async fn instrumented(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let mut left = Vec::new();
    for object in cluster.list_metadata(API_VERSION, "InstrumentationConfig", Where::default()).await? {
        left.push(Reference::of(&object).to_string());
    }
    for object in cluster.list_metadata(API_VERSION, "Source", Where::default()).await? {
        let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array).into_iter().flatten();
        let held = finalizers.filter_map(Value::as_str).any(|one| one.starts_with(PREFIX));
        if held && !text(&object, "/metadata/deletionTimestamp").is_empty() {
            left.push(Reference::of(&object).to_string());
        }
    }
    left.extend(injected(cluster).await?.iter().map(|pod| Reference::of(pod).to_string()));
    Ok(left)
}

/// Pods that run with agents.
pub(super) async fn injected(cluster: &Cluster) -> anyhow::Result<Vec<Value>> {
    let only = Where { labels: Some(labels::AGENTS_META_HASH), ..Where::default() };
    cluster.list_metadata("v1", "Pod", only).await
}

/// Whether the instrumentor lives: its Lease is renewed. Times of the lease are compared with each other only, since the
/// clocks of this machine and of the cluster may differ.
struct Pulse {
    last: String,
    seen: Instant,
}

impl Pulse {
    fn new() -> Self {
        Self { last: String::new(), seen: Instant::now() }
    }

    async fn beats(&mut self, cluster: &Cluster, namespace: &str) -> anyhow::Result<bool> {
        let lease = Reference::new("coordination.k8s.io/v1", "Lease", namespace, names::INSTRUMENTOR);
        let live = cluster.get(&lease).await?;
        let spec = live.as_ref().and_then(|live| live.get("spec")).cloned().unwrap_or_default();
        let holder = text(&spec, "/holderIdentity");
        let mut patience = GRACE;
        if !holder.is_empty() {
            let now = format!("{holder} {}", text(&spec, "/renewTime"));
            if now != self.last {
                self.last = now;
                self.seen = Instant::now();
            }
            let seconds = spec.get("leaseDurationSeconds").and_then(Value::as_u64).unwrap_or(15);
            patience += Duration::from_secs(seconds);
        }
        Ok(self.seen.elapsed() < patience)
    }
}
