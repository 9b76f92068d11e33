//! The agents that a release carries (Java, Node.js, Python), fetched from their registries by lock files with digests
//! (`deploy/images/agents`), into the cache of the tools in the shape in which nodes hold them.
//!
//! Only packages that run everywhere are taken: no native code, no install scripts, so one set serves every C library and
//! architecture. Licence notices stay beside the files that they belong to. The same lock files give the same bytes; the file
//! `VERSION` names them.

use crate::say;
use anyhow::{Context, bail};
use odigos_tools::{cache, root};
use sha2::{Digest, Sha256};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Plugin by which Maven copies one artefact.
const MAVEN_COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy";
/// Names the content; nodes keep versions apart by it.
const VERSION: &str = "VERSION";

/// Fetches the agents unless they are there, and returns their folder.
pub(crate) fn fetch() -> anyhow::Result<PathBuf> {
    let locks = root().join("deploy/images/agents");
    let wanted = digest(&locks)?;
    let name = format!("agents-{}", wanted.get(..12).unwrap_or(&wanted));
    let folder = cache().join(&name);
    if folder.exists() {
        return Ok(folder);
    }
    say("fetching the agents of Java, Node.js and Python (a minute the first time)");
    let partial = cache().join(format!("{name}.{}", std::process::id()));
    remove(&partial)?;
    std::fs::create_dir_all(&partial)?;
    java(&locks.join("java"), &partial.join("java"))?;
    nodejs(&locks.join("nodejs"), &partial.join("nodejs-community"))?;
    python(&locks.join("python"), &partial.join("python"))?;
    readable(&partial)?;
    let version = digest(&partial)?;
    std::fs::write(partial.join(VERSION), version.get(..16).unwrap_or(&version))?;
    std::fs::rename(&partial, &folder)?;
    say(&format!(
        "agents {}: {} MiB in {}",
        version.get(..16).unwrap_or(&version),
        size(&folder)? >> 20,
        folder.display()
    ));
    Ok(folder)
}

fn run(command: &mut Command, what: &str) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("{what} is missing: it is needed to fetch the agents"))?;
    if !status.success() {
        bail!("{what} ended with {status}");
    }
    Ok(())
}

/// Maven checks no digest that we know, so it is done here.
fn java(locks: &Path, into: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(locks.join("agent.lock"))?;
    let line = text.lines().find(|line| !line.starts_with('#')).context("agent.lock names no artefact")?;
    let (coordinates, expected) = line.split_once(' ').context("agent.lock: coordinates and digest, please")?;
    std::fs::create_dir_all(into)?;
    let mut command = Command::new("mvn");
    command
        .args(["--quiet", "--batch-mode", MAVEN_COPY, "-Dmdep.stripVersion=true"])
        .arg(format!("-Dartifact={coordinates}"))
        .arg(format!("-DoutputDirectory={}", into.display()))
        // No project of a folder above shall have a say.
        .current_dir(into);
    run(&mut command, "mvn")?;
    let name = coordinates.split(':').nth(1).context("agent.lock: group:artefact:version, please")?;
    let file = into.join(format!("{name}.jar"));
    let found = hex(&Sha256::digest(std::fs::read(&file)?));
    anyhow::ensure!(found == expected, "{coordinates} has the digest {found}, agent.lock says {expected}");
    std::fs::rename(file, into.join("javaagent.jar"))?;
    Ok(())
}

fn nodejs(locks: &Path, into: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(into)?;
    for name in ["package.json", "package-lock.json", "autoinstrumentation.js"] {
        std::fs::copy(locks.join(name), into.join(name))?;
    }
    let mut command = Command::new("npm");
    command
        .args(["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--no-bin-links", "--loglevel=error"])
        .current_dir(into);
    run(&mut command, "npm")?;
    // Written by npm for itself.
    remove(&into.join("node_modules/.package-lock.json"))?;
    refuse_native(into)
}

fn python(locks: &Path, into: &Path) -> anyhow::Result<()> {
    let mut command = Command::new("python3");
    command
        .args(["-m", "pip", "install", "--quiet", "--no-input", "--no-deps", "--no-compile", "--require-hashes"])
        .args(["--only-binary=:all:", "--platform=any", "--python-version=3.9", "--implementation=py", "--abi=none"])
        .arg("--requirement")
        .arg(locks.join("requirements.txt"))
        .arg("--target")
        .arg(into);
    run(&mut command, "pip")?;
    // Programs, which would name this machine's interpreter.
    remove(&into.join("bin"))?;
    // What is ours stands in folders beside the lock file, laid out as installed.
    for entry in std::fs::read_dir(locks)?.collect::<Result<Vec<_>, _>>()? {
        let (folder, name) = (entry.path(), entry.file_name());
        if folder.is_dir() {
            std::fs::create_dir_all(into.join(&name))?;
            for file in files(&folder)?.iter().filter(|file| !file.display().to_string().contains("__pycache__")) {
                let inside = into.join(&name).join(file.strip_prefix(&folder)?);
                std::fs::copy(file, inside)?;
            }
        }
    }
    refuse_native(into)
}

/// Native code runs with one C library and architecture only.
fn refuse_native(folder: &Path) -> anyhow::Result<()> {
    for path in files(folder)? {
        let is_native = path.extension().is_some_and(|one| one == "so" || one == "node");
        anyhow::ensure!(!is_native, "{} is native code, which would not run everywhere", path.display());
    }
    Ok(())
}

/// Everybody may read, whatever the umask was.
fn readable(folder: &Path) -> anyhow::Result<()> {
    for path in files(folder)? {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))?;
        let mut above = path.parent();
        while let Some(one) = above.filter(|one| one.starts_with(folder)) {
            std::fs::set_permissions(one, std::fs::Permissions::from_mode(0o755))?;
            above = one.parent();
        }
    }
    Ok(())
}

/// Files below a folder, sorted. A link is refused: it would mean something else where it is installed.
pub(crate) fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            found.extend(files(&entry.path())?);
        } else if kind.is_file() {
            found.push(entry.path());
        } else {
            bail!("{} is neither a file nor a folder", entry.path().display());
        }
    }
    found.sort();
    Ok(found)
}

/// Digest over names and contents.
pub(crate) fn digest(folder: &Path) -> anyhow::Result<String> {
    let mut sum = Sha256::new();
    for path in files(folder)? {
        let name = path.strip_prefix(folder)?.display().to_string();
        let content = std::fs::read(&path)?;
        sum.update(format!("{name}\0{}\0", content.len()));
        sum.update(content);
    }
    Ok(hex(&sum.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn size(folder: &Path) -> anyhow::Result<u64> {
    files(folder)?.iter().map(|path| Ok(path.metadata()?.len())).sum()
}

pub(crate) fn remove(path: &Path) -> anyhow::Result<()> {
    let outcome = match path.symlink_metadata() {
        Err(_) => return Ok(()),
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
    };
    outcome.with_context(|| format!("{} cannot be removed", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the catalogue says an included distribution mounts is what is fetched; every package is pinned by a digest.
    #[test]
    fn lock_files_pin_everything() {
        let locks = root().join("deploy/images/agents");
        let python = std::fs::read_to_string(locks.join("python/requirements.txt")).unwrap();
        let rows: Vec<&str> = python.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(rows.len() > 50);
        assert!(rows.iter().all(|row| row.contains("==") && row.contains(" --hash=sha256:")), "{rows:?}");
        let asked = std::fs::read_to_string(locks.join("python/requirements.in")).unwrap();
        for one in asked.lines() {
            assert!(rows.iter().any(|row| row.starts_with(&format!("{one}=="))), "{one} is not locked");
        }
        let text = std::fs::read_to_string(locks.join("nodejs/package-lock.json")).unwrap();
        let lock: serde_json::Value = serde_json::from_str(&text).unwrap();
        let packages = lock["packages"].as_object().unwrap();
        assert!(packages.len() > 100);
        assert!(packages.iter().all(|(path, one)| path.is_empty() || one["integrity"].is_string()));
        // The script of this one only compares version numbers; no script is run. Native parts would be refused.
        let scripted = packages.iter().filter(|(_, one)| one.get("hasInstallScript").is_some());
        assert_eq!(scripted.map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["node_modules/protobufjs"]);
    }

    #[test]
    fn a_digest_names_the_content() {
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        std::fs::write(folder.path().join("a/b"), "1").unwrap();
        let before = digest(folder.path()).unwrap();
        assert_eq!(digest(folder.path()).unwrap(), before);
        std::fs::write(folder.path().join("a/b"), "2").unwrap();
        assert_ne!(digest(folder.path()).unwrap(), before);
        std::os::unix::fs::symlink("b", folder.path().join("a/c")).unwrap();
        assert!(digest(folder.path()).is_err(), "links are refused");
    }
}
