//! `odigos install`: preflight, apply in order, wait. `odigos upgrade` takes the same way.

use super::carry_over::CarryOver;
use super::cluster::{Cluster, Reference, text};
use super::found::Found;
use super::planned::{self, Planned};
use super::record::{Phase, Record};
use super::report::{self, Check};
use super::{
    MADE_NAMESPACE, MANAGER, Progress, RELEASE, api_services, classified, code, failure, permissions, preflight, ready,
    restored, user,
};
use crate::{Failure, live, output};
use anyhow::Context;
use clap::{Args, ValueEnum};
use odigos_api::names;
use odigos_chart::{Chart, Release};
use odigos_pipeline::yaml;
use odigos_plan::stricter_defaults::{self, Restoration};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `odigos install`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  odigos install --set image.prefix=registry.example.com/odigos
  odigos install --values values.yaml --dry-run            what would change in this cluster
  odigos install --values values.yaml --dry-run -o yaml    every object, without a cluster
  odigos install --values values.yaml --set controllers.replicas=1 --timeout 10m

The chart is part of this command; what it applies is what `helm template` renders. Run it again at any time: it does what
is still missing. Values of the last installation are kept; --set changes single ones. Nothing is instrumented until a
Source says so.

Exit codes: 0 done, 1 failed, 2 wrong usage or values, 4 not permitted, 6 not ready within the time, 10 changes pending (--dry-run).")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,
    /// Show what would change, and change nothing; with -o yaml or json, print every object without asking a cluster.
    #[arg(long)]
    dry_run: bool,
}

/// What installing and upgrading share.
#[derive(Args, Debug)]
pub(super) struct Common {
    /// Namespace of the control plane; created when it does not exist.
    #[arg(short, long, env = "ODIGOS_NAMESPACE", default_value = names::DEFAULT_NAMESPACE)]
    pub(super) namespace: String,
    /// Files of values, later ones over earlier ones; the chart's own are documented in docs/install.md.
    #[arg(short = 'f', long = "values", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Single values over those of files, e.g. controllers.replicas=1,webhooks.ignoredNamespaces={a,b}.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Wait until every pod of the control plane is ready.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    wait: bool,
    /// How long to wait, e.g. 90s or 10m.
    #[arg(long, default_value = "5m", value_parser = duration)]
    timeout: Duration,
    /// Format of what is printed.
    #[arg(short, long, value_enum, default_value_t = Shown::Table)]
    pub(super) output: Shown,
    /// Print no progress.
    #[arg(short, long)]
    quiet: bool,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Shown {
    /// For people.
    Table,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

impl Shown {
    /// Prints a result; people get `table`.
    pub(super) fn print(self, value: &Value, table: &str) -> anyhow::Result<()> {
        match self {
            Self::Table => output::text(table),
            Self::Yaml => output::text(&yaml::to_string(value)),
            Self::Json => output::text(&format!("{}\n", serde_json::to_string_pretty(value)?)),
        }
        Ok(())
    }
}

/// A time such as `90s`, `10m` or `1h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| format!("{text} is no time such as 90s or 10m"))?;
    match unit {
        "" | "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        "h" => Ok(Duration::from_secs(number * 3600)),
        _ => Err(format!("{text} is no time such as 90s or 10m")),
    }
}

/// What is asked for, beside values.
pub(super) struct Intent {
    /// An installation must be there already.
    pub(super) upgrade: bool,
    /// Values of the last installation are forgotten.
    pub(super) reset: bool,
    /// Nothing is changed.
    pub(super) only_plan: bool,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let common = &arguments.common;
    if arguments.dry_run && common.output != Shown::Table {
        let chart = Chart::embedded()?;
        let objects = chart.render(&given(common)?, &release(&common.namespace))?;
        output::text(&match common.output {
            Shown::Json => format!("{}\n", serde_json::to_string_pretty(&objects)?),
            _ => objects.iter().map(|object| format!("---\n{}", yaml::to_string(object))).collect(),
        });
        return Ok(ExitCode::SUCCESS);
    }
    settle(common, &Intent { upgrade: false, reset: false, only_plan: arguments.dry_run }).await
}

/// The release that this tool makes.
pub(super) fn release(namespace: &str) -> Release {
    Release { name: RELEASE.into(), namespace: namespace.into(), service: MANAGER.into() }
}

/// Values from files and the command line.
fn given(common: &Common) -> Result<Value, Failure> {
    let mut given = json!({});
    for path in &common.files {
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("failed to read {shown}"))?;
        let values = odigos_chart::read(&text).map_err(|error| anyhow::anyhow!("{shown}: {error}"))?;
        given = odigos_chart::overlay(given, &values);
    }
    for set in &common.set {
        odigos_chart::assign(&mut given, set).map_err(|error| anyhow::anyhow!("--set {error}"))?;
    }
    Ok(given)
}

/// What is to be installed.
struct Wanted {
    record: Record,
    objects: Vec<Value>,
    /// Values of the last installation that this version does not know.
    dropped: BTreeSet<String>,
    /// What keeps things that are in use although a default became stricter.
    restorations: Vec<Restoration>,
}

fn wanted(
    chart: &Chart,
    common: &Common,
    intent: &Intent,
    before: Option<&Record>,
    restorations: Vec<Restoration>,
    carried: &CarryOver,
) -> Result<Wanted, Failure> {
    let mut values = odigos_chart::overlay(restored::values(&restorations), &given(common)?);
    let mut dropped = BTreeSet::new();
    if let Some(before) = before.filter(|_| !intent.reset) {
        let mut kept = before.values.clone();
        dropped = chart.unknown(&kept)?;
        for path in &dropped {
            remove(&mut kept, path);
        }
        values = odigos_chart::overlay(kept, &values);
    }
    carried.extend(&mut values);
    let objects = chart.render(&values, &release(&common.namespace))?;
    let record = Record {
        version: chart.metadata().version.clone(),
        phase: Phase::Installed,
        values,
        defaults: chart.defaults()?,
        objects: objects.iter().map(Reference::of).collect(),
        seen_defaults: stricter_defaults::ids(),
    };
    Ok(Wanted { record, objects, dropped, restorations })
}

/// Takes the value at a path such as `a.b` away.
fn remove(values: &mut Value, path: &str) {
    let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
    let pointer =
        parent.split('.').filter(|part| !part.is_empty()).fold(String::new(), |all, part| format!("{all}/{part}"));
    if let Some(map) = values.pointer_mut(&pointer).and_then(Value::as_object_mut) {
        map.remove(key);
    }
}

/// Checks, plans or applies, waits, reports.
pub(super) async fn settle(common: &Common, intent: &Intent) -> Result<ExitCode, Failure> {
    let chart = Chart::embedded()?;
    // Values that cannot be right are refused before the cluster is asked anything.
    let first = chart.render(&given(common)?, &release(&common.namespace))?;
    let cluster = Cluster { client: live::client().await? };
    let progress = Progress { quiet: common.quiet };
    let mut checks = Vec::new();
    let version = preflight::version(&cluster, chart.metadata().oldest_kubernetes()).await.map_err(classified)?;
    checks.push(version);
    checks.push(permissions::check(&cluster, &first, &common.namespace).await.map_err(classified)?);
    if report::failed(&checks) {
        return refused(common, &checks);
    }
    let found = Found::look(&cluster, &common.namespace).await.map_err(classified)?;
    if intent.upgrade && found == Found::Nothing {
        return Err(failure(
            code::ELSEWHERE,
            format!("nothing is installed in {}; run odigos install", common.namespace),
        ));
    }
    let before = match &found {
        Found::Ours(record) => Some(record.as_ref()),
        _ => None,
    };
    let restorations = match before {
        Some(record) => {
            restored::find(&cluster, &common.namespace, record, &given(common)?).await.map_err(classified)?
        }
        None => Vec::new(),
    };
    let carried = match &found {
        Found::Ours(_) => CarryOver::find(&cluster, &common.namespace, before).await.map_err(classified)?,
        _ => CarryOver::default(),
    };
    let wanted = wanted(&chart, common, intent, before, restorations, &carried)?;
    checks.push(preflight::installation(&found, &common.namespace));
    checks.push(preflight::kinds(&cluster, &wanted.objects, &found).await.map_err(classified)?);
    checks.push(preflight::nodes(&cluster).await.map_err(classified)?);
    checks.push(preflight::go(&cluster, &wanted.objects).await.map_err(classified)?);
    checks.push(preflight::pod_security(&cluster, &common.namespace).await.map_err(classified)?);
    checks.push(api_services::check(&cluster, &wanted.objects, &common.namespace).await.map_err(classified)?);
    if report::failed(&checks) {
        return refused(common, &checks);
    }
    for check in checks.iter().filter(|check| check.state != report::State::Ok || check.check == preflight::GO) {
        progress.say(&format!("preflight  {}: {}", check.check, check.message));
    }
    for path in &wanted.dropped {
        progress.say(&format!("value      {path} is not known any more and is dropped"));
    }
    let (kept, begins): (Vec<&Restoration>, Vec<&Restoration>) =
        wanted.restorations.iter().partition(|one| restored::is_kept(one));
    let lines = |list: &[&Restoration]| -> Vec<String> {
        list.iter().map(|one| restored::line(one, &common.namespace)).collect()
    };
    let removed = planned::removed(before, &wanted.objects);
    if intent.only_plan {
        let mut planned =
            planned::objects(&cluster, &wanted.objects, &removed, &common.namespace).await.map_err(classified)?;
        planned.restored = lines(&kept);
        planned.begins = lines(&begins);
        planned.marked = carried.lines(&common.namespace);
        planned.values = planned::values(before, &wanted.record.values, &wanted.record.defaults, &wanted.dropped);
        return show(common, &checks, &planned, before, &wanted.record);
    }
    for line in lines(&kept) {
        progress.say(&format!("keeps      {line}"));
    }
    for line in lines(&begins) {
        progress.say(&format!("begins     {line}"));
    }
    // Before anything asks for the marks.
    carried.apply(&cluster, &common.namespace).await.map_err(classified)?;
    for line in carried.lines(&common.namespace) {
        progress.say(&format!("marked     {line}"));
    }
    let outcome = apply(&cluster, &common.namespace, &wanted, before, &removed, progress).await.map_err(classified)?;
    let workloads: Vec<Reference> = wanted
        .objects
        .iter()
        .filter(|object| ["Deployment", "DaemonSet"].contains(&text(object, "/kind")))
        .map(Reference::of)
        .collect();
    let waiting = if common.wait {
        Some(ready::workloads(&cluster, &workloads, common.timeout, progress).await.map_err(classified)?)
    } else {
        None
    };
    finish(common, &checks, &outcome, &wanted.record, waiting)
}

fn refused(common: &Common, checks: &[Check]) -> Result<ExitCode, Failure> {
    let table = format!("{}nothing was changed\n", report::table(checks));
    common.output.print(&json!({"checks": checks, "changed": false}), &table)?;
    let forbidden = checks.iter().any(|check| check.state == report::State::Error && check.check == "permissions");
    Ok(ExitCode::from(if forbidden { code::FORBIDDEN } else { code::FAILED }))
}

fn show(
    common: &Common,
    checks: &[Check],
    planned: &Planned,
    before: Option<&Record>,
    next: &Record,
) -> Result<ExitCode, Failure> {
    let from = before.map(|record| record.version.clone());
    let value =
        json!({"from": from, "to": next.version, "namespace": common.namespace, "checks": checks, "plan": planned});
    common.output.print(&value, &planned.text())?;
    Ok(ExitCode::from(if planned.is_empty() { 0 } else { code::PENDING }))
}

/// What applying did.
#[derive(Default)]
struct Outcome {
    created: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
    unchanged: usize,
}

async fn apply(
    cluster: &Cluster,
    namespace: &str,
    wanted: &Wanted,
    before: Option<&Record>,
    removed: &BTreeSet<Reference>,
    progress: Progress,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    let home = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": namespace, "annotations": {MADE_NAMESPACE: "true"}},
    });
    if cluster.get(&Reference::of(&home)).await?.is_none() && cluster.create(&home).await? {
        progress.say(&format!("created    Namespace {namespace}"));
        outcome.created.push(format!("Namespace {namespace}"));
    }
    // From here on an interrupted command can be finished or undone: the record names all that may exist.
    let next = &wanted.record;
    let complete =
        before.is_some_and(|record| record.phase == Phase::Installed && next.objects.is_subset(&record.objects));
    if !complete {
        let all = before.into_iter().flat_map(|record| record.objects.clone()).chain(next.objects.clone()).collect();
        // What an interrupted command has not restored is still to be restored.
        let seen_defaults = before.map_or_else(|| next.seen_defaults.clone(), |record| record.seen_defaults.clone());
        let installing = Record { phase: Phase::Installing, objects: all, seen_defaults, ..next.clone() };
        installing.write(cluster, namespace).await?;
    }
    // Before the new controllers act on the new defaults.
    outcome.changed.extend(restored::write(cluster, namespace, &wanted.restorations).await?);
    let mut crds = Vec::new();
    for object in &wanted.objects {
        let reference = Reference::of(object);
        if reference.kind == "CustomResourceDefinition" {
            crds.push(reference.clone());
        } else {
            // Everything behind the kinds may need them.
            ready::kinds(cluster, &std::mem::take(&mut crds)).await?;
        }
        let live = gone(cluster, &reference).await?;
        let applied = cluster.apply(object, false).await?;
        if planned::unchanged(live.as_ref(), &applied) {
            outcome.unchanged += 1;
            continue;
        }
        let (word, list) = match live {
            Some(_) => ("changed", &mut outcome.changed),
            None => ("created", &mut outcome.created),
        };
        progress.say(&format!("{word:<10} {reference}"));
        list.push(reference.to_string());
    }
    for reference in removed {
        if !api_services::is_anothers(cluster, reference, namespace).await? && cluster.delete(reference).await? {
            progress.say(&format!("removed    {reference}"));
            outcome.removed.push(reference.to_string());
        }
    }
    for name in user::give_back(cluster).await? {
        progress.say(&format!("enabled    {name} again, which an interrupted uninstall had disabled"));
    }
    next.write(cluster, namespace).await?;
    Ok(outcome)
}

/// The live object; one that is on its way out is waited for.
async fn gone(cluster: &Cluster, reference: &Reference) -> anyhow::Result<Option<Value>> {
    for _ in 0..120 {
        match cluster.get(reference).await? {
            Some(live) if !text(&live, "/metadata/deletionTimestamp").is_empty() => {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            other => return Ok(other),
        }
    }
    anyhow::bail!("{reference} is being deleted for a minute; something holds it with a finalizer")
}

fn finish(
    common: &Common,
    checks: &[Check],
    outcome: &Outcome,
    record: &Record,
    waiting: Option<BTreeMap<String, String>>,
) -> Result<ExitCode, Failure> {
    let Outcome { created, changed, removed, unchanged } = outcome;
    let is_ready = waiting.as_ref().map(BTreeMap::is_empty);
    let value = json!({
        "namespace": common.namespace, "version": record.version, "checks": checks, "created": created, "changed": changed,
        "removed": removed, "unchanged": unchanged, "ready": is_ready, "waitingFor": waiting,
    });
    let mut table = format!(
        "version {} in namespace {}: {} created, {} changed, {} removed, {unchanged} unchanged\n",
        record.version,
        common.namespace,
        created.len(),
        changed.len(),
        removed.len()
    );
    let late = waiting.unwrap_or_default();
    for (title, reason) in &late {
        table.push_str(&format!("not ready: {title}: {reason}\n"));
    }
    match is_ready {
        Some(true) => table.push_str("everything is ready; next: name what to observe (Source) and where to send it (odigos destinations list)\n"),
        Some(false) => table.push_str(&format!("not ready within {} s; run the same command again to go on waiting\n", common.timeout.as_secs())),
        None => {}
    }
    common.output.print(&value, &table)?;
    Ok(ExitCode::from(if late.is_empty() { 0 } else { code::TIMEOUT }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        assert!(duration("soon").is_err() && duration("5d").is_err());
    }

    #[test]
    fn a_value_is_taken_away_by_its_path() {
        let mut values = json!({"a": {"b": 1, "c": 2}, "d": 3});
        remove(&mut values, "a.b");
        remove(&mut values, "d");
        remove(&mut values, "x.y");
        assert_eq!(values, json!({"a": {"c": 2}}));
    }
}
