//! The crates of a binary inside the binary itself, where scanners look: the section `.dep-v0` of `cargo auditable`.
//!
//! The section is added to the linked program, so what is shipped is what was compiled and tested, and no wrapper of the compiler
//! is needed. Tests read it back with the libraries that scanners use.

use crate::packages::crates::Crate;
use anyhow::Context;
use auditable_serde::{DependencyKind, Package, Source, VersionInfo};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Name of the section.
const SECTION: &str = ".dep-v0";
/// Revision of the data: that of `cargo metadata`, with macros as what they are, part of the build alone.
const REVISION: u32 = 1;

/// Copies a program and adds its crates; `own` is the position of its package among them.
///
/// # Errors
/// When objcopy is missing or fails.
pub(crate) fn add(program: &Path, own: usize, crates: &[Crate], into: &Path) -> anyhow::Result<()> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&serde_json::to_vec(&document(own, crates)?)?)?;
    let section = into.with_extension("dep-v0");
    std::fs::write(&section, packed.finish()?)?;
    let mut command = Command::new("objcopy");
    command.arg(format!("--add-section={SECTION}={}", section.display())).arg(program).arg(into);
    let status = command.status().context("objcopy is missing: install binutils")?;
    anyhow::ensure!(status.success(), "objcopy failed on {}", program.display());
    std::fs::remove_file(&section)?;
    Ok(())
}

/// What `cargo auditable` writes.
fn document(own: usize, crates: &[Crate]) -> anyhow::Result<VersionInfo> {
    let package = |(position, one): (usize, &Crate)| -> anyhow::Result<Package> {
        Ok(Package {
            name: one.name.clone(),
            version: one.version.parse().with_context(|| format!("{} has the version {}", one.name, one.version))?,
            source: if one.is_published { Source::CratesIo } else { Source::Local },
            kind: if one.is_build_only { DependencyKind::Build } else { DependencyKind::Runtime },
            dependencies: one.dependencies.clone(),
            root: position == own,
        })
    };
    let packages = crates.iter().enumerate().map(package).collect::<anyhow::Result<_>>()?;
    Ok(VersionInfo { packages, format: REVISION })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;
    use crate::packages::crates::Graph;
    use std::io::Read as _;

    /// The test's own binary stands for a controller.
    #[cfg(target_os = "linux")]
    #[test]
    fn scanners_read_the_crates_of_a_program_which_still_runs() {
        let (own, crates) = Graph::read(&odigos_tools::root()).unwrap().of("odigos-dev").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("odigos-test");
        add(&std::env::current_exe().unwrap(), own, &crates, &program).unwrap();
        let bytes = std::fs::read(&program).unwrap();
        let section = auditable_extract::raw_auditable_data(&bytes).unwrap();
        let mut text = String::new();
        flate2::read::ZlibDecoder::new(section).read_to_string(&mut text).unwrap();
        // Refuses more than one root and cycles.
        let found: VersionInfo = serde_json::from_str(&text).unwrap();
        let root = found.packages.iter().find(|one| one.root).unwrap();
        assert_eq!(root.name, "odigos-dev");
        let tokio = found.packages.iter().find(|one| one.name == "tokio").unwrap();
        assert_eq!((&tokio.source, tokio.kind), (&Source::CratesIo, DependencyKind::Runtime));
        let expected = crates.iter().find(|one| one.name == "tokio").unwrap();
        assert_eq!(tokio.version.to_string(), expected.version);
        let output = Command::new(&program).arg("--list").output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}
