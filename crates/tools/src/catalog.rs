//! Which tools there are, and who needs which.

use crate::installed::Installed;
use crate::version::Version;

/// Version of the Kubernetes binaries; also stamped into them.
pub const KUBERNETES: Version = Version(1, 34, 4);

/// The newest Go that a module of this repository requires.
pub const GO: Version = Version(1, 26, 8);
/// The oldest Go that fetches a newer one by itself, unless it is configured not to.
pub const GO_THAT_FETCHES: Version = Version(1, 21, 0);

/// Lock file of a tool in Python: exact versions with the digests of their packages.
pub(crate) const PYTHON_LOCK: &str = "requirements.txt";
/// Lock file of a tool in Rust: `name@version` of one crate, which brings its own `Cargo.lock`.
pub(crate) const CRATE_LOCK: &str = "crate.txt";

/// The module of the collectors.
pub(crate) const COLLECTOR_MODULE: &str = "deploy/collector";
/// Packages of the collectors' module that are part of each of its programs, as folders.
pub(crate) const COLLECTOR_PACKAGES: [&str; 3] = ["program", "requestlimitextension", "metricsendpointextension"];

/// One tool.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// Name of its binary.
    pub name: &'static str,
    /// Folder of its go.mod, `requirements.txt` or `crate.txt`, from the root of the repository.
    pub(crate) module: &'static str,
    /// Go package to build, the Python program of that folder, or the program that the locked packages or the crate bring.
    pub(crate) package: &'static str,
    pub(crate) tags: &'static str,
    /// Whether its speed matters: the collectors are measured and shipped. Peers of tests are compiled without inlining, which takes a
    /// seventh less time.
    pub(crate) is_optimised: bool,
    /// Which binary of the machine may serve instead.
    pub(crate) installed: Option<Installed>,
}

impl Tool {
    const fn peer(name: &'static str, module: &'static str, package: &'static str) -> Self {
        Self { name, module, package, tags: "", is_optimised: false, installed: None }
    }

    /// A binary of Kubernetes, which the machine's own may replace from `least` to before `below`.
    const fn kubernetes(name: &'static str, package: &'static str, least: Version, below: Version) -> Self {
        let installed = Some(Installed { argument: "--version", least, below });
        Self { installed, ..Self::peer(name, "tests/tools/kube", package) }
    }

    /// A server of Kubernetes: the machine's own must be of the same minor version.
    const fn kubernetes_server(name: &'static str, package: &'static str) -> Self {
        Self::kubernetes(name, package, KUBERNETES, Version(KUBERNETES.0, KUBERNETES.1 + 1, 0))
    }

    const fn or_installed(self, argument: &'static str, least: Version, below: Version) -> Self {
        Self { installed: Some(Installed { argument, least, below }), ..self }
    }

    /// A program of the collectors' module; service discoveries of the Prometheus receiver that nothing renders are left out.
    const fn collector(name: &'static str, package: &'static str) -> Self {
        let tags = "grpcnotrace,remove_all_sd";
        Self { tags, is_optimised: true, ..Self::peer(name, COLLECTOR_MODULE, package) }
    }
}

const ETCD: Tool = Tool::peer("etcd", "tests/tools/etcd", "go.etcd.io/etcd/server/v3").or_installed(
    "--version",
    Version(3, 5, 13),
    Version(4, 0, 0),
);
const API_SERVER: Tool = Tool::kubernetes_server("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver");
const CONTROLLER_MANAGER: Tool =
    Tool::kubernetes_server("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager");

/// Name of the collector with every component of both others: what tests run that start one for either role.
pub const COLLECTOR: &str = "odigos-collector";
/// Name of the gateway's collector, and of its image: with what is rendered for gateways alone.
pub const GATEWAY: &str = "odigos-gateway";
/// Name of the collector of each node, and of its image: with what is rendered for nodes alone.
pub const NODE_COLLECTOR: &str = "odigos-node-collector";
/// Name of the collector with only the components that `deploy/samples` uses: what `make run` runs.
pub const SAMPLE_COLLECTOR: &str = "odigos-sample-collector";

/// Peers of `make run`, in the order in which they are built.
pub const SAMPLE_TOOLS: [Tool; 4] =
    [ETCD, API_SERVER, CONTROLLER_MANAGER, Tool::collector(SAMPLE_COLLECTOR, "./sample")];

/// Peers of `make test`, in the order in which they are built.
pub const TEST_TOOLS: [Tool; 11] = [
    ETCD,
    API_SERVER,
    CONTROLLER_MANAGER,
    // Unlike the servers it only prints its version on request of a subcommand, so the machine's own is never asked.
    Tool::peer("kubectl", "tests/tools/kube", "k8s.io/kubernetes/cmd/kubectl"),
    Tool::collector(COLLECTOR, "."),
    // Built together with it from the same packages: they only take a link each.
    Tool::collector(GATEWAY, "./gateway"),
    Tool::collector(NODE_COLLECTOR, "./node"),
    // The collector's Prometheus receiver is built from the same module, so that nearly everything of it is compiled already.
    Tool::collector("prometheus", "github.com/prometheus/prometheus/cmd/prometheus").or_installed(
        "--version",
        Version(2, 42, 0),
        Version(4, 0, 0),
    ),
    Tool::peer("helm", "tests/tools/helm", "helm.sh/helm/v3/cmd/helm").or_installed(
        "version",
        Version(3, 14, 0),
        Version(4, 0, 0),
    ),
    Tool::peer("kafka", "tests/tools/kafka", "."),
    Tool::peer("clickhouse", "tests/tools/clickhouse", "server.py"),
];

/// The collectors that are shipped, one image each.
#[must_use]
pub fn shipped_collectors() -> Vec<Tool> {
    TEST_TOOLS.into_iter().filter(|tool| [GATEWAY, NODE_COLLECTOR].contains(&tool.name)).collect()
}

/// What a cluster with real nodes needs besides them (`make e2e`).
pub const NODE_TOOLS: [Tool; 4] = [
    Tool::kubernetes_server("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    Tool::kubernetes_server("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
    Tool::kubernetes_server("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
    Tool::peer("coredns", "tests/tools/coredns", "."),
];

/// The controller of Argo Rollouts, which one scenario runs.
pub const ARGO_ROLLOUTS: Tool = Tool::peer(
    "rollouts-controller",
    "tests/tools/argo-rollouts",
    "github.com/argoproj/argo-rollouts/cmd/rollouts-controller",
);

/// The linter of the GitHub workflows.
pub const WORKFLOW_LINTER: Tool = Tool::peer(
    "actionlint",
    "tests/tools/actionlint",
    "github.com/rhysd/actionlint/cmd/actionlint",
)
.or_installed("-version", Version(1, 7, 0), Version(2, 0, 0));

/// Checks licences, banned crates and sources.
pub const DENY: Tool = Tool::peer("cargo-deny", "tests/tools/deny", "bin/cargo-deny");

/// Finds dependencies that no crate uses.
pub const MACHETE: Tool = Tool::peer("cargo-machete", "tests/tools/machete", "bin/cargo-machete");

/// Every tool there is.
pub fn all() -> impl Iterator<Item = Tool> {
    let checks = [ARGO_ROLLOUTS, WORKFLOW_LINTER, DENY, MACHETE];
    TEST_TOOLS.into_iter().chain(SAMPLE_TOOLS).chain(NODE_TOOLS).chain(checks)
}

/// The tool of this name.
pub(crate) fn named(name: &str) -> Option<Tool> {
    all().find(|tool| tool.name == name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;

    #[test]
    fn required_go_is_the_newest_that_a_module_names() {
        let root = crate::root();
        let folders = std::fs::read_dir(root.join("tests/tools")).unwrap().map(|entry| entry.unwrap().path());
        let folders = folders.chain([root.join("deploy/collector"), root.join("deploy/images/golang")]);
        let directive = |text: String| {
            text.lines().find_map(|line| line.strip_prefix("go ").map(|version| Version::parse(version).unwrap()))
        };
        let newest = folders
            .filter_map(|folder| std::fs::read_to_string(folder.join("go.mod")).ok())
            .filter_map(directive)
            .max();
        assert_eq!(newest, Some(GO));
    }
}
