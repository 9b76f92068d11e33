//! The packages of the languages' agents, from the lock files that they are fetched by.

use super::{Package, encoded};
use anyhow::Context;
use base64::Engine as _;
use serde_json::Value;
use std::path::Path;

/// Every package of the agents that a release carries; `locks` is `deploy/images/agents`.
///
/// # Errors
/// When a lock file cannot be read, or a package in it has no digest.
pub(crate) fn packages(locks: &Path) -> anyhow::Result<Vec<Package>> {
    let read = |name: &str| std::fs::read_to_string(locks.join(name)).with_context(|| format!("failed to read {name}"));
    let mut packages = maven(&read("java/agent.lock")?)?;
    packages.extend(npm(&read("nodejs/package-lock.json")?)?);
    packages.extend(pypi(&read("python/requirements.txt")?)?);
    Ok(packages)
}

fn rows(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

fn maven(lock: &str) -> anyhow::Result<Vec<Package>> {
    let row = |line: &str| -> anyhow::Result<Package> {
        let (coordinates, digest) = line.split_once(' ').context("agent.lock: a row is coordinates and a digest")?;
        let [group, artefact, version] = coordinates.split(':').collect::<Vec<_>>()[..] else {
            anyhow::bail!("agent.lock: coordinates are group:artefact:version");
        };
        let path = format!("{}/{}", encoded(group), encoded(artefact));
        let checksum = Some(("SHA256", digest.to_owned()));
        Ok(Package { checksum, ..Package::new("maven", &format!("{group}:{artefact}"), &path, version) })
    };
    rows(lock).map(row).collect()
}

fn npm(lock: &str) -> anyhow::Result<Vec<Package>> {
    let lock: Value = serde_json::from_str(lock).context("failed to read package-lock.json")?;
    let packages = lock["packages"].as_object().context("package-lock.json lists no packages")?;
    let mut found = Vec::new();
    for (folder, one) in packages.iter().filter(|(folder, one)| !folder.is_empty() && one["dev"] != true) {
        let name = folder.rsplit_once("node_modules/").map_or(folder.as_str(), |(_, name)| name);
        let version = one["version"].as_str().with_context(|| format!("{name} has no version"))?;
        let digest = one["integrity"].as_str().and_then(|text| text.strip_prefix("sha512-"));
        let digest = digest.with_context(|| format!("{name} has no digest"))?;
        let digest = base64::engine::general_purpose::STANDARD.decode(digest)?;
        let path: Vec<String> = name.split('/').map(encoded).collect();
        found.push(Package {
            license: one["license"].as_str().map(str::to_owned),
            checksum: Some(("SHA512", digest.iter().map(|byte| format!("{byte:02x}")).collect())),
            ..Package::new("npm", name, &path.join("/"), version)
        });
    }
    Ok(found)
}

fn pypi(requirements: &str) -> anyhow::Result<Vec<Package>> {
    let row = |line: &str| -> anyhow::Result<Package> {
        let (name, rest) = line.split_once("==").with_context(|| format!("{line} has no version"))?;
        let (version, digest) = rest.split_once(" --hash=sha256:").with_context(|| format!("{name} has no digest"))?;
        let checksum = Some(("SHA256", digest.trim().to_owned()));
        Ok(Package {
            checksum,
            ..Package::new("pypi", name, &encoded(&name.to_lowercase().replace('_', "-")), version)
        })
    };
    rows(requirements).map(row).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;

    #[test]
    fn every_package_of_the_agents_has_a_digest_and_a_url() {
        let packages = packages(&odigos_tools::root().join("deploy/images/agents")).unwrap();
        let named = |name: &str| packages.iter().find(|one| one.name == name).unwrap_or_else(|| panic!("{name}"));
        let java = named("io.opentelemetry.javaagent:opentelemetry-javaagent");
        assert!(java.purl.starts_with("pkg:maven/io.opentelemetry.javaagent/opentelemetry-javaagent@"), "{java:?}");
        let grpc = named("@grpc/grpc-js");
        assert!(grpc.purl.starts_with("pkg:npm/%40grpc/grpc-js@"), "{grpc:?}");
        assert_eq!(grpc.checksum.as_ref().map(|(name, digest)| (*name, digest.len())), Some(("SHA512", 128)));
        let python = named("opentelemetry-distro");
        assert!(python.purl.starts_with("pkg:pypi/opentelemetry-distro@"), "{python:?}");
        assert!(packages.len() > 150 && packages.iter().all(|one| one.checksum.is_some()), "{}", packages.len());
    }

    #[test]
    fn package_without_a_digest_is_an_error() {
        assert!(npm(r#"{"packages": {"node_modules/a": {"version": "1.0.0"}}}"#).is_err());
        assert!(pypi("a==1.0.0").is_err());
        assert!(maven("group:artefact:1.0.0").is_err());
    }
}
