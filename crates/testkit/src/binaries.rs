//! Binaries of this workspace, for whoever starts them.
//!
//! They are built when they are asked for, unless a build of the whole workspace has put them into the folder that
//! `ODIGOS_TEST_BINARIES` names (`make binaries`): cargo compiles most dependencies anew for each choice of packages, since
//! each wants other features of them, and that costs minutes where nothing is built yet.

use crate::tools::root;
use std::path::PathBuf;
use std::process::Command;

/// The folder of unoptimised binaries, with those of `packages` up to date.
///
/// # Errors
/// When the build fails.
pub fn built(packages: &[&str]) -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("ODIGOS_TEST_BINARIES").filter(|folder| !folder.is_empty()) {
        return Ok(PathBuf::from(folder));
    }
    build("dev", packages).map(|()| target().join("debug"))
}

/// The same as they are shipped, for measurements.
///
/// # Errors
/// When the build fails.
pub fn optimised(packages: &[&str]) -> anyhow::Result<PathBuf> {
    build("release", packages).map(|()| target().join("release"))
}

fn build(profile: &str, packages: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "--locked", "--profile", profile]).current_dir(root());
    for package in packages {
        command.args(["--package", package]);
    }
    anyhow::ensure!(command.status()?.success(), "cannot be built: {}", packages.join(", "));
    Ok(())
}

/// Where cargo puts what it builds.
#[must_use]
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}
