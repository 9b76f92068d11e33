//! Manifests from files, directories and standard input into a world.

use anyhow::{Context, bail};
use odigos_api::{Finding, yaml};
use odigos_plan::world::World;
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Reads every manifest under `paths` (`-` is standard input) into a world.
pub(crate) fn world(paths: &[PathBuf], namespace: &str) -> anyhow::Result<(World, Vec<Finding>)> {
    let mut world = World::new(namespace);
    let findings = load(&mut world, paths)?;
    Ok((world, findings))
}

/// Reads every manifest under `paths` on top of what the world holds.
pub(crate) fn load(world: &mut World, paths: &[PathBuf]) -> anyhow::Result<Vec<Finding>> {
    load_with(world, paths, |_| false).map(|(_, findings)| findings)
}

/// Takes the objects of every manifest under `paths` out of the world.
pub(crate) fn unload(world: &mut World, paths: &[PathBuf]) -> anyhow::Result<Vec<Finding>> {
    let (objects, mut findings) = load_with(world, paths, |_| true)?;
    findings.extend(objects.iter().filter_map(|object| world.remove(object).err()));
    Ok(findings)
}

/// As [`load`], but objects that `take` wants are handed back instead. A document that cannot be read is a finding; the others are used
/// all the same.
pub(crate) fn load_with(
    world: &mut World,
    paths: &[PathBuf],
    take: impl Fn(&Value) -> bool,
) -> anyhow::Result<(Vec<Value>, Vec<Finding>)> {
    let (mut taken, mut findings) = (Vec::new(), Vec::new());
    for path in paths {
        for (name, bytes) in files(path)? {
            match yaml::decode(&bytes) {
                Ok(text) => {
                    let (objects, found) = world.load(&text, &name, &take);
                    taken.extend(objects);
                    findings.extend(found);
                }
                Err(message) => findings.push(Finding::error("manifest", "", message).at(name)),
            }
        }
    }
    Ok((taken, findings))
}

/// The contents behind a path by name: standard input, one file, or the `.yaml`, `.yml` and `.json` files below a directory, sorted.
fn files(path: &Path) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("failed to read standard input")?;
        return Ok(vec![("standard input".into(), bytes)]);
    }
    let shown = path.display().to_string();
    if path.is_dir() {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
            .with_context(|| format!("failed to list {shown}"))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        entries.sort();
        let wanted = |file: &&PathBuf| {
            file.is_dir() || matches!(file.extension().and_then(|e| e.to_str()), Some("yaml" | "yml" | "json"))
        };
        let mut found = Vec::new();
        for file in entries.iter().filter(wanted) {
            found.extend(files(file)?);
        }
        return Ok(found);
    }
    if !path.exists() {
        bail!("{shown} does not exist");
    }
    let bytes = std::fs::read(path).with_context(|| format!("failed to read {shown}"))?;
    Ok(vec![(shown, bytes)])
}
