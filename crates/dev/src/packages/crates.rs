//! The crates that a binary of this workspace is linked from, as cargo resolves them for this platform.
//!
//! Owns the graph of one package: what is linked, and what only took part in the build. Features are those of the whole
//! workspace, so a crate may be listed that a binary was linked without, never the other way round.

use super::Package;
use anyhow::{Context, bail};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// One crate of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    /// Whether it comes from crates.io; else it is of this workspace.
    pub(crate) is_published: bool,
    /// Whether it only runs during the build: build scripts, macros, and what only these use.
    pub(crate) is_build_only: bool,
    /// Positions of what it uses, in the same list.
    pub(crate) dependencies: Vec<usize>,
}

/// What cargo resolved for this workspace.
#[derive(Debug)]
pub(crate) struct Graph {
    packages: BTreeMap<String, Value>,
    nodes: BTreeMap<String, Value>,
    /// Digests of `Cargo.lock` by name and version.
    checksums: BTreeMap<(String, String), String>,
}

impl Graph {
    /// Asks cargo.
    ///
    /// # Errors
    /// When cargo fails, or a crate is neither of this workspace nor of crates.io.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        command.args(["metadata", "--format-version=1", "--locked", "--filter-platform", &target]).current_dir(root);
        let output = command.output().context("failed to start cargo")?;
        if !output.status.success() {
            bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let mut metadata: Value = serde_json::from_slice(&output.stdout).context("failed to read cargo metadata")?;
        let mut by_id = |list: &str| -> anyhow::Result<BTreeMap<String, Value>> {
            let entries = metadata.pointer_mut(list).map(Value::take).context("cargo metadata lacks a list")?;
            let Value::Array(entries) = entries else { bail!("cargo metadata: {list} is no list") };
            let id = |one: &Value| one["id"].as_str().map(str::to_owned).context("cargo metadata: a package has no id");
            entries.into_iter().map(|one| Ok((id(&one)?, one))).collect()
        };
        let lock = std::fs::read_to_string(root.join("Cargo.lock")).context("failed to read Cargo.lock")?;
        Ok(Self { packages: by_id("/packages")?, nodes: by_id("/resolve/nodes")?, checksums: checksums(&lock) })
    }

    /// The crates of a package of this workspace, sorted by name and version; with the position of the package itself.
    ///
    /// # Errors
    /// When there is no such package.
    pub(crate) fn of(&self, package: &str) -> anyhow::Result<(usize, Vec<Crate>)> {
        let is_it = |one: &&Value| one["name"] == package && one["source"].is_null();
        let root = self.packages.values().find(is_it).and_then(|one| one["id"].as_str());
        let root = root.with_context(|| format!("there is no package {package}"))?;
        let linked = self.reachable(root, &|kind| kind.is_null(), &|id| !self.is_macro(id));
        let all = self.reachable(root, &|kind| kind != "dev", &|_| true);
        let text = |id: &str, key: &str| self.packages[id][key].as_str().map(str::to_owned);
        let mut order: Vec<&str> = all.into_iter().collect();
        order.sort_by_key(|id| (text(id, "name"), text(id, "version"), (*id).to_owned()));
        let position: BTreeMap<&str, usize> = order.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        let of = |id: &&str| -> anyhow::Result<Crate> {
            let source = text(id, "source");
            anyhow::ensure!(source.as_deref().is_none_or(|one| one == REGISTRY), "{id} is of an unknown registry");
            let uses = self.uses(id, &|kind| kind != "dev").filter_map(|other| position.get(other).copied());
            Ok(Crate {
                name: text(id, "name").context("a crate has no name")?,
                version: text(id, "version").context("a crate has no version")?,
                license: text(id, "license"),
                is_published: source.is_some(),
                is_build_only: !linked.contains(id),
                dependencies: uses.collect::<BTreeSet<usize>>().into_iter().collect(),
            })
        };
        let crates = order.iter().map(of).collect::<anyhow::Result<_>>()?;
        Ok((position[root], crates))
    }

    /// The linked ones as packages.
    ///
    /// # Errors
    /// As [`Graph::of`], and when a crate of crates.io has no digest.
    pub(crate) fn packages(&self, package: &str) -> anyhow::Result<Vec<Package>> {
        let (_, crates) = self.of(package)?;
        let of = |one: &Crate| {
            let checksum = self.checksums.get(&(one.name.clone(), one.version.clone()));
            anyhow::ensure!(checksum.is_some() || !one.is_published, "{} has no digest in Cargo.lock", one.name);
            Ok(Package {
                license: one.license.as_ref().map(|text| text.replace('/', " OR ")),
                checksum: checksum.map(|digest| ("SHA256", digest.clone())),
                note: (!one.is_published).then(|| "of this repository".to_owned()),
                ..Package::new("cargo", &one.name, &one.name, &one.version)
            })
        };
        crates.iter().filter(|one| !one.is_build_only).map(of).collect()
    }

    fn is_macro(&self, id: &str) -> bool {
        let targets = self.packages.get(id).and_then(|one| one["targets"].as_array());
        targets.into_iter().flatten().any(|one| one["kind"] == serde_json::json!(["proc-macro"]))
    }

    /// Ids of what a crate uses, by the kinds of its dependencies.
    fn uses<'a>(&'a self, id: &str, is_wanted: &'a dyn Fn(&Value) -> bool) -> impl Iterator<Item = &'a str> {
        let dependencies = self.nodes.get(id).and_then(|node| node["deps"].as_array()).into_iter().flatten();
        let kinds = |one: &'a Value| one["dep_kinds"].as_array().into_iter().flatten();
        let wanted = dependencies.filter(move |one| kinds(one).any(|kind| is_wanted(&kind["kind"])));
        wanted.filter_map(|one| one["pkg"].as_str())
    }

    fn reachable<'a>(
        &'a self,
        root: &'a str,
        is_wanted: &dyn Fn(&Value) -> bool,
        is_followed: &dyn Fn(&str) -> bool,
    ) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::from([root]);
        let mut open = vec![root];
        while let Some(id) = open.pop() {
            let dependencies = self.nodes.get(id).and_then(|node| node["deps"].as_array()).into_iter().flatten();
            for one in dependencies {
                let mut kinds = one["dep_kinds"].as_array().into_iter().flatten();
                let Some(other) = one["pkg"].as_str() else { continue };
                if kinds.any(|kind| is_wanted(&kind["kind"])) && is_followed(other) && found.insert(other) {
                    open.push(other);
                }
            }
        }
        found
    }
}

/// Digests of a lock file by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let mut found = BTreeMap::new();
    for block in lock.split("[[package]]").skip(1) {
        let value = |key: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""))?;
            line.strip_suffix('"').map(str::to_owned)
        };
        if let (Some(name), Some(version), Some(checksum)) = (value("name"), value("version"), value("checksum")) {
            found.insert((name, version), checksum);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;

    #[test]
    fn crates_of_a_binary_are_those_that_are_linked_with_the_digests_of_the_lock_file() {
        let root = odigos_tools::root();
        let graph = Graph::read(&root).unwrap();
        let packages = graph.packages("odigos-autoscaler").unwrap();
        let named = |name: &str| packages.iter().find(|one| one.name == name);
        let tokio = named("tokio").unwrap();
        assert_eq!(tokio.purl, format!("pkg:cargo/tokio@{}", tokio.version));
        assert_eq!(tokio.license.as_deref(), Some("MIT"));
        let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap();
        let digest = &tokio.checksum.as_ref().unwrap().1;
        assert!(digest.len() == 64 && lock.contains(digest.as_str()));
        assert_eq!(named("odigos-plan").unwrap().note.as_deref(), Some("of this repository"));
        for absent in ["proptest", "odigos-testkit", "syn", "cc"] {
            assert!(named(absent).is_none(), "{absent} is in no binary");
        }
        let (own, crates) = graph.of("odigos-autoscaler").unwrap();
        assert_eq!(crates[own].name, "odigos-autoscaler");
        assert!(crates.iter().any(|one| one.name == "syn" && one.is_build_only));
        assert!(graph.of("no-such-package").is_err());
    }
}
