//! Where the repository, the cache and each tool's binary are.

use crate::catalog::{self, Tool};
use anyhow::{Context, bail};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Where built tools and fetched packages are kept, by the digest of their lock files: ODIGOS_TOOLS_CACHE, else below the
/// user's cache.
#[must_use]
pub fn cache() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("ODIGOS_TOOLS_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|home| home.join("odigos-tools")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/odigos-tools")))
        .unwrap_or_else(|| std::env::temp_dir().join("odigos-tools"))
}

impl Tool {
    /// Where the binary is, or will be once it is built: in `KUBEBUILDER_ASSETS` for what belongs there when its
    /// version fits, in the cache when it has been
    /// built, the machine's own when that fits, else in the cache.
    ///
    /// # Errors
    /// When the lock files cannot be read.
    pub fn path(&self) -> anyhow::Result<PathBuf> {
        if matches!(self.name, "etcd" | "kube-apiserver" | "kubectl")
            && let Some(assets) = std::env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty())
        {
            let asset = PathBuf::from(assets).join(self.name);
            let fits = self.installed.is_none_or(|installed| installed.accepts(&asset));
            if asset.is_file() && fits {
                return Ok(asset);
            }
        }
        let built = cache().join(format!("{}-{}", self.name, self.digest()?)).join(self.name);
        if built.exists() {
            return Ok(built);
        }
        Ok(self.installed.and_then(|installed| installed.find(self.name)).unwrap_or(built))
    }

    /// Whether it is a collector of this repository.
    fn is_collector(&self) -> bool {
        self.module == catalog::COLLECTOR_MODULE && self.package.starts_with('.')
    }

    /// Names everything that its binary is made from.
    fn digest(&self) -> anyhow::Result<String> {
        let module = crate::root().join(self.module);
        let mut files = files(&module)?;
        if let Some(folder) = self.package.strip_prefix("./") {
            files.extend(self::files(&module.join(folder))?);
        }
        if self.is_collector() {
            for folder in catalog::COLLECTOR_PACKAGES {
                files.extend(self::files(&module.join(folder))?);
            }
        }
        files.retain(|file| !file.to_string_lossy().ends_with("_test.go"));
        let mut digest = Sha256::new();
        for file in files {
            digest.update(std::fs::read(&file).with_context(|| format!("failed to read {}", file.display()))?);
        }
        for part in [self.package, self.tags, self.compiler_flags()] {
            digest.update(part);
        }
        Ok(digest.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The files of a folder itself, in the order of their names.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("failed to list {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|path| path.is_file());
    files.sort();
    Ok(files)
}

/// The binary of that name.
///
/// # Errors
/// When there is no such tool, or it is not built yet, with the command that builds it.
pub fn find(name: &str) -> anyhow::Result<PathBuf> {
    let tool = catalog::named(name).with_context(|| format!("unknown tool {name:?}"))?;
    let path = tool.path()?;
    if !path.exists() {
        bail!("{name} is not built yet; run `cargo xtask tools {name}`");
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;

    #[test]
    fn sample_collector_follows_its_own_sources() {
        let of = |name: &str| catalog::named(name).unwrap().digest().unwrap();
        assert_ne!(of(catalog::SAMPLE_COLLECTOR), of(catalog::COLLECTOR));
        let folder = crate::root().join("deploy/collector/sample");
        assert!(files(&folder).unwrap().iter().any(|file| file.ends_with("components.go")));
        let is_collector = |name: &str| catalog::named(name).unwrap().is_collector();
        assert!(is_collector(catalog::GATEWAY) && is_collector(catalog::COLLECTOR) && !is_collector("prometheus"));
    }

    #[test]
    fn unknown_tool_is_an_error() {
        assert_eq!(find("odigos-no-such-tool").unwrap_err().to_string(), "unknown tool \"odigos-no-such-tool\"");
    }
}
