//! Manifests from files, directories and standard input into a world.

use anyhow::{Context, bail};
use odigos_api::{Finding, yaml};
use odigos_plan::world::World;
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes of all manifests together, at most.
const TOTAL_LIMIT: usize = 256 * 1024 * 1024;

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
    let mut room = TOTAL_LIMIT;
    for path in paths {
        for (name, bytes) in files(path, &mut room)? {
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
///
/// What is larger than the reader takes is read so far that it says so; `room` is what all of them may still have.
fn files(path: &Path, room: &mut usize) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    if path == Path::new("-") {
        let bytes = bounded(std::io::stdin().lock(), room).context("failed to read standard input")?;
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
            found.extend(files(file, room)?);
        }
        return Ok(found);
    }
    if !path.exists() {
        bail!("{shown} does not exist");
    }
    let file = std::fs::File::open(path).with_context(|| format!("failed to read {shown}"))?;
    let bytes = bounded(file, room).with_context(|| format!("failed to read {shown}"))?;
    Ok(vec![(shown, bytes)])
}

/// Reads no more than the reader of texts takes, of a file that may have no end.
fn bounded(source: impl Read, room: &mut usize) -> anyhow::Result<Vec<u8>> {
    let most = u64::try_from(yaml::TEXT_LIMIT)? + 1;
    let mut bytes = Vec::new();
    source.take(most).read_to_end(&mut bytes)?;
    *room = room.checked_sub(bytes.len()).with_context(|| {
        format!("the manifests have more than {} MiB together; read them in parts", TOTAL_LIMIT / 1024 / 1024)
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;

    #[test]
    fn files_without_end_are_not_read_to_their_end() {
        let mut room = TOTAL_LIMIT;
        let read = |room: &mut usize| bounded(std::io::repeat(b' '), room);
        assert_eq!(read(&mut room).unwrap().len(), yaml::TEXT_LIMIT + 1);
        while read(&mut room).is_ok() {}
        assert!(format!("{:#}", read(&mut room).unwrap_err()).contains("256 MiB together"));
        let findings = load(&mut World::new("odigos-system"), &[PathBuf::from("/dev/zero")]).unwrap();
        assert!(findings.len() == 1 && findings[0].message.contains("larger than"), "{findings:?}");
    }
}
