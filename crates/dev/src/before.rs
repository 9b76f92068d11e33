//! The release before this one, for the scenario that upgrades it: binaries and chart of a commit of this repository.
//!
//! No release was published yet, so it is a commit, named here. What it is built into is kept in the cache of the tools, under
//! the name of that commit. Owns where it comes from and how it is built; never what is done with it.

use crate::images::{BINARIES, Image};
use crate::say;
use anyhow::{Context, bail};
use odigos_tools::{cache, root};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The commit: the last one whose names, labels and stream classes are the old ones.
const COMMIT: &str = "6979701ff22939967d9d98494037cacf1f4ca015";
/// Tag of its images. Both call themselves by the same version.
pub(crate) const TAG: &str = "before";

/// The images of its controllers and agent; whoever calls adds what both releases share.
pub(crate) fn images() -> anyhow::Result<Vec<(&'static str, Image)>> {
    let folder = built()?;
    let image = |(binary, _, name): (&'static str, &str, &str)| {
        let image = Image::of(&format!("{name}:{TAG}"), &format!("/{binary}"), &folder.join(binary))?;
        Ok((binary, image))
    };
    BINARIES.into_iter().filter(|(binary, ..)| *binary != "odigos").map(image).collect()
}

/// Folder of its chart.
pub(crate) fn chart() -> anyhow::Result<PathBuf> {
    Ok(built()?.join("source/charts/odigos"))
}

/// The folder with its source and its binaries, built unless it is there.
fn built() -> anyhow::Result<PathBuf> {
    let name = format!("release-{}", COMMIT.get(..12).unwrap_or(COMMIT));
    let folder = cache().join(&name);
    if folder.exists() {
        return Ok(folder);
    }
    let begun = Instant::now();
    say("building the release before this one (minutes the first time)");
    let partial = cache().join(format!("{name}.{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&partial);
    let made = make(&partial).and_then(|()| Ok(std::fs::rename(&partial, &folder)?));
    if made.is_err() {
        let _ = std::fs::remove_dir_all(&partial);
    }
    made.context("failed to build the release before this one")?;
    say(&format!("built the release before this one after {:.0} s", begun.elapsed().as_secs_f64()));
    Ok(folder)
}

fn make(folder: &Path) -> anyhow::Result<()> {
    let source = folder.join("source");
    std::fs::create_dir_all(&source)?;
    export(&source)?;
    let target = folder.join("target");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "--locked", "--bins"]);
    for (_, package, _) in BINARIES.into_iter().filter(|(binary, ..)| *binary != "odigos") {
        command.args(["--package", package]);
    }
    // Without debug information and optimisation it takes a third of the time, whatever its own profile says.
    command.args(["--config", "profile.dev.debug=false", "--config", "profile.dev.incremental=false"]);
    command.args(["--config", "profile.dev.package.\"*\".opt-level=0"]);
    // Today's lints are not for yesterday's code.
    command.env_remove("RUSTC_WORKSPACE_WRAPPER");
    let status =
        command.current_dir(&source).env("CARGO_TARGET_DIR", &target).status().context("failed to start cargo")?;
    anyhow::ensure!(status.success(), "cargo ended with {status}");
    for (binary, ..) in BINARIES.into_iter().filter(|(binary, ..)| *binary != "odigos") {
        let status =
            Command::new("strip").arg("-o").arg(folder.join(binary)).arg(target.join("debug").join(binary)).status();
        anyhow::ensure!(status.context("strip is missing: install binutils")?.success(), "strip failed on {binary}");
    }
    Ok(std::fs::remove_dir_all(target)?)
}

/// Writes the files of the commit into a folder.
fn export(into: &Path) -> anyhow::Result<()> {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(root()).stdin(Stdio::null());
        command
    };
    let is_there = git(&["cat-file", "-e", &format!("{COMMIT}^{{commit}}")]).stderr(Stdio::null()).status();
    if !is_there.context("failed to start git")?.success() {
        bail!("this clone lacks commit {COMMIT}, which the release before is built from: git fetch --unshallow");
    }
    let output = git(&["archive", "--format=tar", COMMIT]).output().context("failed to start git")?;
    anyhow::ensure!(output.status.success(), "git archive: {}", String::from_utf8_lossy(&output.stderr).trim());
    tar::Archive::new(output.stdout.as_slice()).unpack(into)?;
    Ok(())
}
