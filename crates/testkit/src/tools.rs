//! Where the real peers are: built from pinned Go modules into a cache outside the checkout, keyed by their lock files.

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Version of the Kubernetes binaries; also stamped into them.
const KUBERNETES: &str = "1.34.4";

/// One tool.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// Name of its binary.
    pub name: &'static str,
    /// Folder of its go.mod, from the root of the repository.
    module: &'static str,
    /// Package to build.
    package: &'static str,
    tags: &'static str,
}

/// A binary of Kubernetes.
const fn kubernetes(name: &'static str, package: &'static str) -> Tool {
    Tool { name, module: "tests/tools/kube", package, tags: "" }
}

/// Peers of `make test`, in the order in which they are built.
pub const TOOLS: [Tool; 8] = [
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

fn cache() -> PathBuf {
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

    /// Builds the binary unless it is there.
    ///
    /// # Errors
    /// When Go is missing or the build fails.
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
            .arg(&partial)
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
        std::fs::rename(&partial, &path)?;
        report(&format!("built {} in {} s", self.name, begun.elapsed().as_secs()));
        Ok(path)
    }
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
