//! `odigos plan`: what the control plane would change in the current cluster, before anything changes.

use crate::{Failure, input, live, output};
use clap::Args;
use jiff::Timestamp;
use odigos_api::{Finding, names};
use odigos_plan::config_files::stored::{self, Kept};
use odigos_plan::objects::title;
use odigos_plan::quarantine;
use odigos_plan::world::{Applications, Certainty, Key, World, outdated_words};
use serde_json::{Value, json};
use similar::TextDiff;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `odigos plan`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  odigos plan                      what is outstanding in the cluster
  odigos plan -f new-source.yaml   what would follow if this were applied
  odigos plan --delete old.yaml    what would follow if this were deleted

Lines begin with + created, ~ changed, - deleted, ! restarted, ? left out or perhaps restarted, = goes on as it is.
Exit codes: 0 fine, 1 findings of severity error, 2 failed to read the input or the cluster.")]
pub(crate) struct Arguments {
    /// Manifests to be thought of as applied: files, directories, or -.
    #[arg(short, long = "filename", value_name = "PATH", num_args = 1..)]
    filename: Vec<PathBuf>,
    /// Manifests to be thought of as deleted: files or directories; kind, namespace and name are enough.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    delete: Vec<PathBuf>,
    /// Output as JSON.
    #[arg(short, long, value_parser = ["text", "json"], default_value = "text")]
    output: String,
    /// Namespace of the control plane.
    #[arg(long, env = "ODIGOS_NAMESPACE", default_value = names::DEFAULT_NAMESPACE)]
    namespace: String,
}

/// What would follow.
#[derive(Clone, Debug, Default)]
struct Report {
    created: Vec<String>,
    /// Objects, and their difference.
    changed: Vec<(String, String)>,
    deleted: Vec<String>,
    /// Versions of configurations that are deleted once every pod runs the new one.
    superseded: Vec<String>,
    /// Collectors whose pods are replaced.
    collectors: Vec<String>,
    applications: Applications,
    /// What collectors do not start with, and what they said.
    quarantined: BTreeMap<String, String>,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let client = live::client().await?;
    let mut world = live::world(&client, &arguments.namespace).await?;
    let before = world.clone();
    let mut findings = input::load(&mut world, &arguments.filename)?;
    findings.extend(input::unload(&mut world, &arguments.delete)?);
    let now = Timestamp::now();
    let settled = world.settle(now);
    findings.extend(settled.findings);
    findings.sort();
    findings.dedup();
    let mut versions: BTreeMap<String, Kept> = BTreeMap::new();
    let mut report = Report { quarantined: settled.quarantined, ..Report::default() };
    for desired in world.written_objects() {
        match live::get(&client, &desired).await? {
            None => {
                let version = Kept::of(&desired["metadata"]).filter(|one| !one.is_part);
                versions.extend(version.map(|one| (one.of.clone(), one)));
                report.created.push(title(&desired));
            }
            Some(found) => {
                if let Some(difference) = difference(&desired, &found) {
                    report.changed.push((title(&desired), difference));
                }
            }
        }
    }
    report.deleted = deleted(&before, &world);
    report.superseded = superseded(&client, &arguments.namespace, &versions).await?;
    let is_collector = |title: &&String| {
        title.starts_with("Deployment ") || title.starts_with("DaemonSet ") || title.starts_with("StatefulSet ")
    };
    report.collectors = report.changed.iter().map(|(title, _)| title).filter(is_collector).cloned().collect();
    report.applications = world.applications(&before, now);
    match arguments.output.as_str() {
        "json" => output::text(&format!("{}\n", serde_json::to_string_pretty(&report.json(&findings))?)),
        _ => output::text(&report.text()),
    }
    let failed = output::findings(&findings);
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Objects of the control plane that go. What they own goes with them.
fn deleted(before: &World, after: &World) -> Vec<String> {
    fn gone<T>(kind: &str, before: &BTreeMap<Key, T>, after: &BTreeMap<Key, T>) -> Vec<String> {
        let missing = before.keys().filter(|key| !after.contains_key(*key));
        missing.map(|(namespace, name)| format!("{kind} {namespace}/{name}")).collect()
    }
    let mut all = gone("InstrumentationConfig", &before.configs, &after.configs);
    all.extend(gone("CollectorsGroup", &before.groups, &after.groups));
    all.extend(gone("DataStream", &before.data_streams, &after.data_streams));
    all
}

/// What follows from how pods run, and is not predicted.
const NOT_PREDICTED: &str = "rollbacks and evictions of pods whose agents harm them, what collectors do not start with and is quarantined then, the number of gateways, a gateway of another kind or name that is deleted once the new one serves, and statuses";

/// Versions of configurations that go when new ones serve, with parts that only they have; `new` are those by what they configure.
async fn superseded(
    client: &kube::Client,
    namespace: &str,
    new: &BTreeMap<String, Kept>,
) -> anyhow::Result<Vec<String>> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let mut versions: BTreeMap<String, Vec<Kept>> = BTreeMap::new();
    for object in live::list(client, "v1", "ConfigMap", "configmaps", Some(namespace)).await? {
        if let Some(one) = Kept::of(&object["metadata"]) {
            versions.entry(one.of.clone()).or_default().push(one);
        }
    }
    let gone = new.iter().filter_map(|(group, version)| Some(stored::superseded(versions.get(group)?, version)));
    Ok(gone.flatten().map(|name| format!("ConfigMap {namespace}/{name}")).collect())
}

impl Report {
    fn json(&self, findings: &[Finding]) -> Value {
        let changed: Vec<Value> = self
            .changed
            .iter()
            .map(|(object, difference)| json!({"object": object, "difference": difference}))
            .collect();
        let applications: Vec<Value> = self
            .applications
            .restarts
            .iter()
            .map(|one| {
                json!({
                    "workload": one.workload.to_string(), "pods": one.pods, "restart": one.certainty.as_str(), "why": one.why,
                })
            })
            .collect();
        let outdated: Vec<Value> = self
            .applications
            .outdated
            .iter()
            .map(|(workload, inputs)| json!({"workload": workload.to_string(), "inputs": inputs}))
            .collect();
        let uninstrumented: Vec<String> = self.applications.uninstrumented.iter().map(ToString::to_string).collect();
        json!({
            "created": self.created, "changed": changed, "deleted": self.deleted, "collectors": self.collectors,
            "applications": applications, "uninstrumented": uninstrumented, "outdated": outdated,
            "quarantined": self.quarantined, "superseded": self.superseded, "notPredicted": NOT_PREDICTED, "findings": findings,
        })
    }

    fn text(&self) -> String {
        let mut out = String::new();
        for title in &self.created {
            out.push_str(&format!("+ {title}\n"));
        }
        for (title, difference) in &self.changed {
            out.push_str(&format!("~ {title}\n{difference}"));
        }
        for title in &self.deleted {
            out.push_str(&format!("- {title}\n"));
        }
        for title in &self.superseded {
            out.push_str(&format!("- {title}, once every pod runs the new version\n"));
        }
        for workload in &self.applications.uninstrumented {
            out.push_str(&format!("- agents of {workload}\n"));
        }
        for title in &self.collectors {
            out.push_str(&format!("! restarts pods of {title}\n"));
        }
        for one in &self.applications.restarts {
            let pods = counted(one.pods, "pod", "pods");
            let (sign, what) = match one.certainty {
                Certainty::Follows => ('!', "restarts"),
                Certainty::Possible => ('?', "may restart"),
                Certainty::Held => ('=', "does not restart"),
            };
            out.push_str(&format!("{sign} {what} {} ({pods}): {}\n", one.workload, one.why));
        }
        for line in outdated_words(&self.applications.outdated) {
            out.push_str(&format!("= {line}\n"));
        }
        for (name, said) in &self.quarantined {
            out.push_str(&format!("? quarantined, left out of the collectors: {}: {said}\n", quarantine::words(name)));
        }
        out.push_str(&self.summary());
        out.push_str(&format!("not predicted: {NOT_PREDICTED}\n"));
        out
    }

    fn summary(&self) -> String {
        let of = |certainty: Certainty| {
            let found = self.applications.restarts.iter().filter(|one| one.certainty == certainty);
            found.fold((0, 0), |(workloads, pods), one| (workloads + 1, pods + one.pods))
        };
        let words = |(workloads, pods): (usize, usize)| {
            format!("{} ({})", counted(workloads, "application", "applications"), counted(pods, "pod", "pods"))
        };
        let (follows, possible) = (of(Certainty::Follows), of(Certainty::Possible));
        let mut out = format!(
            "{} to create, {} to change, {} to delete; restarts: {}, {}",
            self.created.len(),
            self.changed.len(),
            self.deleted.len(),
            words(follows),
            counted(self.collectors.len(), "collector", "collectors"),
        );
        if possible.0 > 0 {
            out.push_str(&format!("; possible restarts: {}", words(possible)));
        }
        if !self.quarantined.is_empty() {
            out.push_str(&format!("; {} quarantined", self.quarantined.len()));
        }
        out.push('\n');
        out
    }
}

fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The fields that the control plane owns and that are not as they should be, as a readable difference.
pub(crate) fn difference(desired: &Value, live: &Value) -> Option<String> {
    let projected = projection(desired, live);
    if &projected == desired {
        return None;
    }
    let (before, after) = (printed(&projected), printed(desired));
    let diff = TextDiff::from_lines(&before, &after);
    let mut out = String::new();
    for hunk in diff.unified_diff().context_radius(2).iter_hunks() {
        for line in hunk.to_string().lines().skip(1) {
            out.push_str(&format!("    {line}\n"));
        }
    }
    Some(out)
}

/// An object as text; configurations inside ConfigMaps print as blocks, so that their difference can be read.
fn printed(object: &Value) -> String {
    odigos_pipeline::yaml::to_string(object)
}

/// The part of `live` that `desired` speaks of: foreign fields and defaults are no difference.
fn projection(desired: &Value, live: &Value) -> Value {
    match (desired, live) {
        (Value::Object(want), Value::Object(have)) => Value::Object(
            want.iter().filter_map(|(key, value)| Some((key.clone(), projection(value, have.get(key)?)))).collect(),
        ),
        (Value::Array(want), Value::Array(have)) => {
            let keyed = want.iter().all(|item| item.get("name").is_some());
            let matching = |position: usize, item: &Value| {
                if keyed { have.iter().find(|one| one.get("name") == item.get("name")) } else { have.get(position) }
            };
            let mut out: Vec<Value> = want
                .iter()
                .enumerate()
                .filter_map(|(position, item)| Some(projection(item, matching(position, item)?)))
                .collect();
            if !keyed {
                out.extend(have.iter().skip(want.len()).cloned());
            }
            Value::Array(out)
        }
        (_, have) => have.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_owned_fields_differ() {
        let desired =
            json!({"metadata": {"name": "a"}, "data": {"conf": "a: 1\nb: 2\n"}, "list": [{"name": "x", "v": 1}]});
        let mut live = json!({"metadata": {"name": "a", "uid": "u"}, "data": {"conf": "a: 1\nb: 2\n"}, "list": [{"name": "y"}, {"name": "x", "v": 1, "default": true}]});
        assert_eq!(difference(&desired, &live), None);
        live["data"]["conf"] = json!("a: 1\nb: 3\n");
        let shown = difference(&desired, &live).unwrap();
        assert!(shown.contains("-    b: 3") && shown.contains("+    b: 2"), "{shown}");
    }
}
