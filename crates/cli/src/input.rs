//! Manifests from files, directories and standard input into a world.

use anyhow::{Context, bail};
use odigos_api::Finding;
use odigos_plan::world::{World, read};
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

/// As [`load`], but objects that `take` wants are handed back instead.
pub(crate) fn load_with(
    world: &mut World,
    paths: &[PathBuf],
    take: impl Fn(&Value) -> bool,
) -> anyhow::Result<(Vec<Value>, Vec<Finding>)> {
    let (mut taken, mut findings) = (Vec::new(), Vec::new());
    for path in paths {
        for (name, text) in texts(path)? {
            for object in read(&text).with_context(|| format!("{name} is no manifest"))? {
                if take(&object) {
                    taken.push(object);
                } else if let Err(finding) = world.insert(object) {
                    findings.push(finding);
                }
            }
        }
    }
    Ok((taken, findings))
}

/// The texts behind a path: standard input, one file, or the `.yaml`, `.yml` and `.json` files below a directory, sorted.
fn texts(path: &Path) -> anyhow::Result<Vec<(String, String)>> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
        return Ok(vec![("standard input".into(), text)]);
    }
    let shown = path.display().to_string();
    if path.is_dir() {
        let mut files: Vec<PathBuf> = std::fs::read_dir(path)
            .with_context(|| format!("{shown} cannot be listed"))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.sort();
        let wanted = |file: &&PathBuf| {
            file.is_dir() || matches!(file.extension().and_then(|e| e.to_str()), Some("yaml" | "yml" | "json"))
        };
        let mut found = Vec::new();
        for file in files.iter().filter(wanted) {
            found.extend(texts(file)?);
        }
        return Ok(found);
    }
    if !path.exists() {
        bail!("{shown} does not exist");
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("{shown} cannot be read"))?;
    Ok(vec![(shown, text)])
}
