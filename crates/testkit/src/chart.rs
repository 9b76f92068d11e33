//! The Helm chart, rendered by Helm itself.

use anyhow::{Context, bail};
use odigos_tools::{self as tools, root};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Kubernetes release that the chart is rendered for; what is rendered does not depend on it.
const KUBERNETES: &str = "1.34.0";

fn helm(arguments: &[&str]) -> anyhow::Result<Output> {
    let binary = tools::find("helm")?;
    Command::new(binary)
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .context("helm cannot be started")
}

fn checked(output: Output) -> anyhow::Result<String> {
    if !output.status.success() {
        bail!("helm: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// What `helm install odigos` into `namespace` would apply; `sets` are values such as `crds.install=false`.
///
/// # Errors
/// What Helm refused.
pub fn render(namespace: &str, sets: &[&str]) -> anyhow::Result<String> {
    render_chart(Path::new("charts/odigos"), namespace, sets)
}

/// The same of a chart elsewhere.
///
/// # Errors
/// What Helm says.
pub fn render_chart(chart: &Path, namespace: &str, sets: &[&str]) -> anyhow::Result<String> {
    let chart = chart.to_str().context("the chart's path is no text")?;
    let mut arguments = vec!["template", "odigos", chart, "--namespace", namespace, "--kube-version", KUBERNETES];
    for set in sets {
        arguments.extend(["--set", set]);
    }
    checked(helm(&arguments)?)
}

/// What Helm finds wrong with the chart.
///
/// # Errors
/// When it finds anything.
pub fn lint() -> anyhow::Result<()> {
    checked(helm(&["lint", "--strict", "charts/odigos"])?).map(drop)
}

/// One line for each permission of each account: scope, account, verb, resource, and names when it is limited to some. A role that the
/// cluster brings stands there by its name.
///
/// # Errors
/// When `rendered` is no YAML.
pub fn permissions(rendered: &str) -> anyhow::Result<String> {
    let mut lines = std::collections::BTreeSet::new();
    for document in serde_yaml::Deserializer::from_str(rendered) {
        let object: Value = serde::Deserialize::deserialize(document)?;
        let scope = match object["kind"].as_str() {
            Some("ClusterRole") => "cluster",
            Some("Role") => "namespace",
            Some("RoleBinding") if object["roleRef"]["name"] != object["metadata"]["name"] => {
                let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
                let (account, role) = (text("/subjects/0/name"), text("/roleRef/name"));
                lines.insert(format!("other     {account:<22} as     {role} of {}", text("/metadata/namespace")));
                continue;
            }
            _ => continue,
        };
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let account = object["metadata"]["name"].as_str().unwrap_or_default();
        for rule in object["rules"].as_array().into_iter().flatten() {
            let names = texts(&rule["resourceNames"]);
            let only = if names.is_empty() { String::new() } else { format!(" only {}", names.join(",")) };
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    let resource = if group.is_empty() { resource } else { format!("{resource}.{group}") };
                    for verb in texts(&rule["verbs"]) {
                        lines.insert(format!("{scope:<9} {account:<22} {verb:<6} {resource}{only}"));
                    }
                }
            }
        }
    }
    Ok(lines.into_iter().map(|line| line + "\n").collect())
}
