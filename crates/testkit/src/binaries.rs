//! Binaries of this workspace, for whoever starts them.
//!
//! They are built when they are requested, unless `ODIGOS_TEST_BINARIES` names the folder of a build that is up to date (`make
//! binaries`). Always the whole workspace is built: each choice of packages unites other features, and cargo would compile most
//! dependencies once more for it.

use odigos_tools::root;
use std::path::PathBuf;
use std::process::Command;

/// The folder of unoptimised binaries, up to date.
///
/// # Errors
/// When the build fails.
pub fn built() -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("ODIGOS_TEST_BINARIES").filter(|folder| !folder.is_empty()) {
        return Ok(PathBuf::from(folder));
    }
    build(&["--workspace"]).map(|()| target().join("debug"))
}

/// Binaries of these packages as they are shipped: only with the features that the product itself requests.
///
/// # Errors
/// When the build fails.
pub fn optimised(packages: &[&str]) -> anyhow::Result<PathBuf> {
    let selection: Vec<&str> = packages.iter().flat_map(|package| ["--package", package]).collect();
    build(&[&["--release"], &selection[..]].concat()).map(|()| target().join("release"))
}

fn build(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "--locked", "--bins"]).args(arguments).current_dir(root());
    let status = command.status()?;
    anyhow::ensure!(status.success(), "failed to build {}: cargo ended with {status}", arguments.join(" "));
    Ok(())
}

/// Where cargo puts what it builds.
#[must_use]
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}
