//! `odigos plan`: what the control plane would change in the current cluster, before anything changes.

use crate::{Failure, input, live, output};
use clap::Args;
use jiff::Timestamp;
use odigos_api::names;
use odigos_plan::objects::title;
use serde_json::{Value, json};
use similar::TextDiff;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `odigos plan`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  odigos plan                      what is outstanding in the cluster
  odigos plan -f new-source.yaml   what would follow if this were applied

Exit codes: 0 fine, 1 findings of severity error, 2 input or cluster that cannot be read.")]
pub(crate) struct Arguments {
    /// Manifests to be thought of as applied: files, directories, or -.
    #[arg(short, long = "filename", value_name = "PATH", num_args = 1..)]
    filename: Vec<PathBuf>,
    /// Output as JSON.
    #[arg(short, long, value_parser = ["text", "json"], default_value = "text")]
    output: String,
    /// Namespace of the control plane.
    #[arg(long, env = "ODIGOS_NAMESPACE", default_value = names::DEFAULT_NAMESPACE)]
    namespace: String,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let client = live::client().await?;
    let mut world = live::world(&client, &arguments.namespace).await?;
    let existing: BTreeSet<(String, String)> = world.configs.keys().cloned().collect();
    let mut findings = input::load(&mut world, &arguments.filename)?;
    let settled = world.settle(Timestamp::now());
    findings.extend(settled.findings);
    findings.sort();
    findings.dedup();
    let mut created = Vec::new();
    let mut changed = Vec::new();
    for desired in world.written_objects() {
        match live::get(&client, &desired).await? {
            None => created.push(title(&desired)),
            Some(found) => {
                if let Some(difference) = difference(&desired, &found) {
                    changed.push((title(&desired), difference));
                }
            }
        }
    }
    let kept: BTreeSet<(String, String)> = world.configs.keys().cloned().collect();
    let deleted: Vec<String> = existing
        .difference(&kept)
        .map(|(namespace, name)| format!("InstrumentationConfig {namespace}/{name}"))
        .collect();
    // A new template of the gateway rolls its pods; applications are not restarted by routing changes.
    let restarts: Vec<String> = changed
        .iter()
        .filter(|(title, _)| title.starts_with("Deployment ") || title.starts_with("DaemonSet "))
        .map(|(title, _)| format!("pods of {title}"))
        .collect();
    if arguments.output == "json" {
        let changed: Vec<Value> =
            changed.iter().map(|(object, difference)| json!({"object": object, "difference": difference})).collect();
        let report = json!({"created": created, "changed": changed, "deleted": deleted, "restarts": restarts, "findings": findings});
        output::text(&format!("{}\n", serde_json::to_string_pretty(&report)?));
    } else {
        output::text(&report(&created, &changed, &deleted, &restarts));
    }
    let failed = output::findings(&findings);
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn report(created: &[String], changed: &[(String, String)], deleted: &[String], restarts: &[String]) -> String {
    let mut out = String::new();
    for title in created {
        out.push_str(&format!("+ {title}\n"));
    }
    for (title, difference) in changed {
        out.push_str(&format!("~ {title}\n{difference}"));
    }
    for title in deleted {
        out.push_str(&format!("- {title}\n"));
    }
    for title in restarts {
        out.push_str(&format!("! restarts {title}\n"));
    }
    let summary = format!(
        "{} to create, {} to change, {} to delete, {} restarts\n",
        created.len(),
        changed.len(),
        deleted.len(),
        restarts.len()
    );
    out.push_str(&summary);
    out
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
