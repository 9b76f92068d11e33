//! What only some scenarios take, and is built when one of them is chosen: the controller of Argo Rollouts, the release before.
//!
//! Owns their names, images and environment; never which scenario needs what (`tests/e2e/stories/main.rs`).

use crate::images::{self, AGENT, FOR_STORIES, Image};
use crate::{before, say};
use anyhow::{Context, bail};
use odigos_testkit::binaries;
use odigos_tools::{TEST_TOOLS, catalog};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

const ARGO_ROLLOUTS: &str = "argo-rollouts";
const RELEASE_BEFORE: &str = "release-before";

/// Writes the archives of their images.
///
/// # Errors
/// When a build fails, or nothing is called like that.
pub(crate) fn build(needs: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let folder = binaries::target().join(FOR_STORIES);
    std::fs::create_dir_all(&folder)?;
    let mut made = Vec::new();
    for need in needs {
        match *need {
            ARGO_ROLLOUTS => made.push(argo_rollouts()?),
            RELEASE_BEFORE => {
                for (binary, mut image) in before::images()? {
                    if binary == AGENT {
                        // Both releases carry the same agents of languages, by the same lock files.
                        images::add_agents(&mut image)?;
                    }
                    made.push(image);
                }
                made.push(collector_of_both()?);
            }
            other => bail!("no scenario can need {other:?}"),
        }
    }
    images::write(&made, &folder, 1)
}

/// What the scenarios are told of it.
///
/// # Errors
/// When it cannot be had.
pub(crate) fn environment(needs: &[&str]) -> anyhow::Result<Vec<(&'static str, String)>> {
    let text = |path: &Path| path.display().to_string();
    let mut environment = Vec::new();
    if needs.contains(&ARGO_ROLLOUTS) {
        environment.push(("ODIGOS_E2E_ARGO_KINDS", text(&argo_kinds()?)));
    }
    if needs.contains(&RELEASE_BEFORE) {
        environment.push(("ODIGOS_E2E_CHART_BEFORE", text(&before::chart()?)));
        environment.push(("ODIGOS_E2E_VERSION_BEFORE", before::TAG.to_owned()));
    }
    Ok(environment)
}

/// The release before had one image for both collectors.
fn collector_of_both() -> anyhow::Result<Image> {
    let both: Vec<_> = TEST_TOOLS.into_iter().filter(|tool| tool.name == catalog::COLLECTOR).collect();
    let program = odigos_tools::build::built(&both, &|_| {})?.pop().context("no program was built")?;
    Image::of(&format!("{}:{}", catalog::COLLECTOR, before::TAG), images::COLLECTOR_ENTRY, &program)
}

/// The controller of Argo Rollouts.
fn argo_rollouts() -> anyhow::Result<Image> {
    let tool = catalog::ARGO_ROLLOUTS;
    if !odigos_tools::build::missing(&[tool])?.is_empty() {
        say("e2e: building the controller of Argo Rollouts (minutes the first time)");
    }
    let program = odigos_tools::build::built(&[tool], &|_| {})?.pop().context("no program was built")?;
    let version = env!("CARGO_PKG_VERSION");
    Image::of(&format!("odigos-e2e-{ARGO_ROLLOUTS}:{version}"), "/rollouts-controller", &program)
}

/// Folder of the kinds that it works on, as its module has them.
fn argo_kinds() -> anyhow::Result<PathBuf> {
    let output = Command::new("go")
        .args(["mod", "download", "-json", "github.com/argoproj/argo-rollouts"])
        .current_dir(odigos_tools::root().join("tests/tools/argo-rollouts"))
        .envs([("GOFLAGS", ""), ("GOWORK", "off")])
        .output()
        .context("Go is needed; `make doctor` says which one")?;
    anyhow::ensure!(output.status.success(), "go mod download: {}", String::from_utf8_lossy(&output.stderr).trim());
    let module: Value = serde_json::from_slice(&output.stdout)?;
    let folder = module["Dir"].as_str().context("Go names no folder of the module")?;
    Ok(Path::new(folder).join("manifests/crds"))
}
