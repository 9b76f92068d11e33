//! Where the real peers are: built from pinned Go modules, or installed from pinned Python packages, into a cache outside
//! the checkout, keyed by their lock files.

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Version of the Kubernetes binaries; also stamped into them.
const KUBERNETES: &str = "1.34.4";

/// Lock file of a tool in Python: exact versions with the digests of their packages.
const PYTHON_LOCK: &str = "requirements.txt";

/// One tool.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// Name of its binary.
    pub name: &'static str,
    /// Folder of its go.mod or [`PYTHON_LOCK`], from the root of the repository.
    module: &'static str,
    /// Go package to build, or the Python program of that folder.
    package: &'static str,
    tags: &'static str,
}

/// A binary of Kubernetes.
const fn kubernetes(name: &'static str, package: &'static str) -> Tool {
    Tool { name, module: "tests/tools/kube", package, tags: "" }
}

/// Peers of `make test`, in the order in which they are built.
pub const TOOLS: [Tool; 9] = [
    Tool { name: "etcd", module: "tests/tools/etcd", package: "go.etcd.io/etcd/server/v3", tags: "" },
    kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    kubernetes("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    kubernetes("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    Tool { name: "helm", module: "tests/tools/helm", package: "helm.sh/helm/v3/cmd/helm", tags: "" },
    Tool { name: "kafka", module: "tests/tools/kafka", package: ".", tags: "" },
    Tool {
        name: "prometheus",
        module: "tests/tools/prometheus",
        package: "github.com/prometheus/prometheus/cmd/prometheus",
        tags: "remove_all_sd",
    },
    Tool { name: "clickhouse", module: "tests/tools/clickhouse", package: "server.py", tags: "" },
    Tool { name: "odigos-collector", module: "deploy/collector", package: ".", tags: "grpcnotrace" },
];

/// What a cluster with real nodes needs beside them (`make e2e`).
pub const NODE_TOOLS: [Tool; 4] = [
    kubernetes("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    kubernetes("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
    kubernetes("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
    Tool { name: "coredns", module: "tests/tools/coredns", package: ".", tags: "" },
];

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
    /// Where the binary is, or will be, once it is built.
    ///
    /// # Errors
    /// When the lock files cannot be read.
    pub fn path(&self) -> anyhow::Result<PathBuf> {
        if matches!(self.name, "etcd" | "kube-apiserver" | "kubectl")
            && let Some(assets) = std::env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty())
        {
            return Ok(PathBuf::from(assets).join(self.name));
        }
        let folder = root().join(self.module);
        let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
            .with_context(|| format!("{} cannot be listed", folder.display()))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.sort();
        let mut digest = Sha256::new();
        for file in files.iter().filter(|file| file.is_file()) {
            digest.update(std::fs::read(file)?);
        }
        digest.update(self.package);
        digest.update(self.tags);
        let hash: String = digest.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Ok(cache().join(format!("{}-{hash}", self.name)).join(self.name))
    }

    /// Builds or installs the tool unless it is there.
    ///
    /// # Errors
    /// When Go or Python is missing, or the build fails.
    pub fn build(&self) -> anyhow::Result<PathBuf> {
        let path = self.path()?;
        if path.exists() {
            return Ok(path);
        }
        let begun = Instant::now();
        report(&format!("building {} (minutes the first time)", self.name));
        let folder = path.parent().context("the cache has no folder")?;
        std::fs::create_dir_all(folder)?;
        // Another process may build the same; each has its own file and the last rename wins.
        let partial = folder.join(format!("{}.{}", self.name, std::process::id()));
        if root().join(self.module).join(PYTHON_LOCK).exists() {
            self.install(folder, &partial)?;
        } else {
            self.compile(&partial)?;
        }
        std::fs::rename(&partial, &path)?;
        report(&format!("built {} in {} s", self.name, begun.elapsed().as_secs()));
        Ok(path)
    }

    /// Builds a Go binary.
    fn compile(&self, partial: &Path) -> anyhow::Result<()> {
        let version = format!(
            "-s -w -X k8s.io/component-base/version.gitVersion=v{KUBERNETES} -X k8s.io/component-base/version.gitMajor=1 \
             -X k8s.io/component-base/version.gitMinor=34 -X k8s.io/client-go/pkg/version.gitVersion=v{KUBERNETES}"
        );
        let flags = if self.module.ends_with("kube") { version.as_str() } else { "-s -w" };
        let status = Command::new("go")
            .args([
                "build",
                "-mod=readonly",
                "-trimpath",
                "-buildvcs=false",
                "-ldflags",
                flags,
                "-tags",
                self.tags,
                "-o",
            ])
            .arg(partial)
            .arg(self.package)
            .current_dir(root().join(self.module))
            .env("CGO_ENABLED", "0")
            .env("GOFLAGS", "")
            .stdin(Stdio::null())
            .status()
            .context("Go is needed to build the real peers; install Go 1.25 or later")?;
        if !status.success() {
            bail!("{} cannot be built: go ended with {status}", self.name);
        }
        Ok(())
    }

    /// Installs the locked packages beside a copy of the Python program, and writes the script that starts it.
    fn install(&self, folder: &Path, partial: &Path) -> anyhow::Result<()> {
        let source = root().join(self.module);
        let python = python().with_context(|| format!("{} cannot be installed", self.name))?;
        let packages = format!("packages.{}", std::process::id());
        let target = folder.join(&packages);
        let status = Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"])
            .args(["--only-binary", ":all:", "--require-hashes", "--root-user-action", "ignore", "--target"])
            .arg(&target)
            .arg("--requirement")
            .arg(source.join(PYTHON_LOCK))
            .stdin(Stdio::null())
            .status()?;
        if !status.success() {
            let _ = std::fs::remove_dir_all(&target);
            bail!("{} cannot be installed: pip ended with {status}", self.name);
        }
        std::fs::copy(source.join(self.package), target.join(self.package))?;
        // The interpreter that the packages were chosen for; it finds them beside the program.
        let script = format!("#!/bin/sh\nexec \"{python}\" \"$(dirname \"$0\")/{packages}/{}\" \"$@\"\n", self.package);
        std::fs::write(partial, script)?;
        std::fs::set_permissions(partial, std::fs::Permissions::from_mode(0o755))?;
        Ok(())
    }
}

/// Absolute path of a Python interpreter that has pip.
fn python() -> anyhow::Result<String> {
    const NEEDED: &str = "Python 3.9 or later with pip is needed; install the Debian packages python3 and python3-pip";
    let output =
        Command::new("python3").args(["-c", "import sys, pip; print(sys.executable)"]).output().context(NEEDED)?;
    if !output.status.success() {
        bail!("{NEEDED}: {}", String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[allow(clippy::print_stderr, reason = "progress of a build that takes minutes")]
fn report(line: &str) {
    eprintln!("tools: {line}");
}

/// The binary of that name.
///
/// # Errors
/// When it is not built yet, with the command that builds it.
pub fn find(name: &str) -> anyhow::Result<PathBuf> {
    let tool = TOOLS
        .iter()
        .chain(&NODE_TOOLS)
        .find(|tool| tool.name == name)
        .with_context(|| format!("{name} is no known tool"))?;
    let path = tool.path()?;
    if !path.exists() {
        bail!("{name} is not built yet; run `cargo xtask tools`");
    }
    Ok(path)
}
