//! `odigos render`: manifests in, every object that the control plane would write out. No cluster, no network.

use crate::output::Manifests;
use crate::{Failure, input, output};
use anyhow::Context;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use odigos_api::{Finding, names};
use odigos_pipeline::components::OWN_EXTENSIONS;
use odigos_pipeline::yaml;
use odigos_plan::world::{Settled, World};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `odigos render`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  odigos render -f manifests/
  odigos render -f manifests/ --collector gateway
  odigos render -f manifests/ --collector gateway --validate ./otelcol-contrib
  kubectl get sources,destinations,deployments -A -o yaml | odigos render -f - -o json

Findings go to standard error as 'severity object field: message'.
Exit codes: 0 fine, 1 findings of severity error, 2 failed to read the input.")]
pub(crate) struct Arguments {
    /// Manifests: files, directories, or - for standard input.
    #[arg(short, long = "filename", value_name = "PATH", required = true, num_args = 1..)]
    filename: Vec<PathBuf>,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Manifests::Yaml)]
    output: Manifests,
    /// Write one file for each object into this directory instead of standard output.
    #[arg(long, value_name = "DIR", conflicts_with = "collector")]
    out: Option<PathBuf>,
    /// Print only the configuration of this collector.
    #[arg(long, value_enum)]
    collector: Option<Collector>,
    /// Let this collector, a program on this machine, check the configuration; it exits with 1 where the collector refuses it.
    #[arg(long, value_name = "PROGRAM", requires = "collector")]
    validate: Option<PathBuf>,
    /// Namespace of the control plane.
    #[arg(long, env = "ODIGOS_NAMESPACE", default_value = names::DEFAULT_NAMESPACE)]
    namespace: String,
}

/// The two collectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Collector {
    /// The cluster gateway.
    Gateway,
    /// The collector on every node.
    Node,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let (mut world, mut findings) = input::world(&arguments.filename, &arguments.namespace)?;
    if let Some(program) = &arguments.validate
        && !has_own_extensions(program)?
    {
        // It gets what it would get as `images.collector`: an extension that it lacks is not rendered there.
        world.installation.gateway_image = String::new();
        world.installation.node_collector_image = String::new();
    }
    // Rendering shows what would be written, not when: conditions are not printed, so the time does not matter.
    let settled = world.settle(Timestamp::UNIX_EPOCH);
    findings.extend(settled.findings.iter().cloned());
    findings.sort();
    findings.dedup();
    if let Some(collector) = arguments.collector {
        output::text(&configuration(&settled, collector, arguments.output)?);
        if let Some(program) = &arguments.validate {
            let refusal = validate(program, &configuration(&settled, collector, Manifests::Yaml)?)?;
            findings.extend(refusal.map(|said| Finding::error("collector", "validate", said)));
        }
    } else if let Some(directory) = &arguments.out {
        write_files(&world, directory, arguments.output)?;
    } else {
        output::text(&objects(&world, arguments.output)?);
    }
    let failed = output::findings(&findings);
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn configuration(settled: &Settled, collector: Collector, format: Manifests) -> anyhow::Result<String> {
    let config = match collector {
        Collector::Gateway => settled.gateway.as_ref().map(|plan| &plan.config),
        Collector::Node => settled.node.as_ref().map(|plan| &plan.config),
    };
    let config = config.context("this collector is not rendered for the given manifests")?;
    Ok(match format {
        Manifests::Yaml => config.to_yaml(),
        Manifests::Json => format!("{}\n", serde_json::to_string_pretty(&config.to_value())?),
    })
}

/// Whether a collector has the extensions of this repository, by the list that it prints; one that prints none is taken for ours.
fn has_own_extensions(program: &Path) -> anyhow::Result<bool> {
    let listed = std::process::Command::new(program).arg("components").output();
    let listed = listed.with_context(|| format!("failed to start {}", program.display()))?;
    Ok(!listed.status.success() || lists_own_extensions(&String::from_utf8_lossy(&listed.stdout)))
}

fn lists_own_extensions(components: &str) -> bool {
    OWN_EXTENSIONS.iter().all(|name| components.contains(name))
}

/// What the collector says against the configuration, if anything. Secrets have no values here: each of their variables holds a text of a
/// usual form, so that their values are not judged.
fn validate(program: &Path, text: &str) -> anyhow::Result<Option<String>> {
    let directory = tempfile::tempdir().context("failed to create a temporary directory")?;
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, text).context("failed to write the configuration for the collector")?;
    let mut command = std::process::Command::new(program);
    // What the pod has from its node and from itself.
    command.envs(["NODE_NAME", "POD_NAME", "POD_NAMESPACE", "ODIGOS_VERSION"].map(|name| (name, "local")));
    command.env("NODE_IP", "127.0.0.1");
    let variables = text.split("${env:D_").skip(1).filter_map(|rest| rest.split('}').next());
    command.envs(variables.map(|name| (format!("D_{name}"), "0123456789abcdef0123456789abcdef")));
    command.arg("validate").arg(format!("--config={}", file.display()));
    let said = command.output().with_context(|| format!("failed to start {}", program.display()))?;
    if said.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&said.stderr).trim().to_owned();
    Ok(Some(if text.is_empty() { said.status.to_string() } else { text }))
}

fn objects(world: &World, format: Manifests) -> anyhow::Result<String> {
    let objects = world.written_objects();
    Ok(match format {
        Manifests::Yaml => objects.iter().map(|object| format!("---\n{}", yaml::to_string(object))).collect(),
        Manifests::Json => format!(
            "{}\n",
            serde_json::to_string_pretty(&serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects}))?
        ),
    })
}

/// One file for each object, numbered in apply order so that `kubectl apply -f DIR` takes them in turn.
fn write_files(world: &World, directory: &Path, format: Manifests) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("{} cannot be made", directory.display()))?;
    for (position, object) in world.written_objects().iter().enumerate() {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or("cluster");
        let (suffix, content) = match format {
            Manifests::Yaml => ("yaml", yaml::to_string(object)),
            Manifests::Json => ("json", format!("{}\n", serde_json::to_string_pretty(object)?)),
        };
        let name = format!(
            "{position:04}-{}-{}-{}.{suffix}",
            text("/kind").to_lowercase(),
            text("/metadata/namespace"),
            text("/metadata/name")
        );
        let path = directory.join(name);
        std::fs::write(&path, content).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A contrib image lacks our extension, and is validated without.
    #[test]
    fn collector_is_known_by_the_extensions_that_it_lists() {
        let list = |names: &[&str]| names.iter().map(|name| format!("    - name: {name}\n")).collect::<String>();
        assert!(lists_own_extensions(&list(&[&["health_check"], OWN_EXTENSIONS].concat())));
        assert!(!lists_own_extensions(&list(&["health_check", OWN_EXTENSIONS[0]])));
        assert!(!lists_own_extensions(&list(&["health_check"])));
    }
}
