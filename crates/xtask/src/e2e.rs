//! `make e2e`: a cluster with real nodes, the product installed with Helm, the stories, and everything taken down again.
//!
//! Owns the order of these steps and what is kept of a failure. The cluster itself is `tests/e2e/cluster/cluster.sh`, the
//! stories are `tests/e2e/stories`; both can be used alone.

use crate::images::{self, Purpose};
use crate::say;
use anyhow::{Context, bail};
use odigos_testkit::binaries;
use odigos_testkit::tools::{self, NODE_TOOLS, TOOLS, root};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// How the stories are run.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Only stories whose name contains one of these; installing always runs.
    parts: Vec<String>,
    /// Leave the cluster up afterwards, and what a failed story left; a cluster that is up already is used again.
    #[arg(long)]
    keep: bool,
    /// Optimised binaries, for figures of memory and throughput; without, those that the tests have built.
    #[arg(long)]
    release: bool,
    /// Outages of minutes instead of seconds.
    #[arg(long)]
    long: bool,
    /// Use this cluster instead of making one; it needs the images of `make images` and `odigos-e2e`.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Registry and path of the images in that cluster.
    #[arg(long, default_value = "docker.io/library")]
    image_prefix: String,
}

/// Runs everything; the cluster is taken down whatever happens.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let begun = Instant::now();
    let cluster = match &arguments.kubeconfig {
        Some(kubeconfig) => Cluster::existing(kubeconfig.clone()),
        None => Cluster::own()?,
    };
    let stories = stories_binary()?;
    if arguments.kubeconfig.is_none() {
        let archives = images::build(if arguments.release { Purpose::Figures } else { Purpose::Stories })?;
        let was_up = cluster.up()?;
        for archive in &archives {
            cluster.script(&["load", &archive.display().to_string()])?;
        }
        if was_up {
            // The images have kept their names, so nothing but this brings their content into pods.
            let all = ["kubectl", "-n", "odigos-system", "delete", "pods", "--all", "--wait=true"];
            cluster.script(&all)?;
        }
    }
    say(&format!("e2e: everything is prepared after {} s", begun.elapsed().as_secs()));
    let outcome = cluster.tell(&stories, arguments);
    if outcome.is_err() {
        cluster.collect();
    }
    if !arguments.keep && arguments.kubeconfig.is_none() {
        cluster.script(&["down"])?;
    }
    say(&format!("e2e: {} s in all", begun.elapsed().as_secs()));
    outcome
}

/// A cluster, ours or another's.
struct Cluster {
    /// The script and its environment; absent for another's.
    script: Option<PathBuf>,
    environment: Vec<(&'static str, PathBuf)>,
}

impl Cluster {
    fn existing(kubeconfig: PathBuf) -> Self {
        Self { script: None, environment: vec![("KUBECONFIG", kubeconfig)] }
    }

    /// The cluster of namespaces; the tools that it needs are built.
    fn own() -> anyhow::Result<Self> {
        let state = std::env::temp_dir().join("odigos-e2e");
        let binaries = state.join("bin");
        std::fs::create_dir_all(&binaries)?;
        let on_nodes = ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "helm"];
        for tool in TOOLS.iter().filter(|tool| on_nodes.contains(&tool.name)).chain(&NODE_TOOLS) {
            let link = binaries.join(tool.name);
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(tool.build()?, &link)?;
        }
        Ok(Self {
            script: Some(root().join("tests/e2e/cluster/cluster.sh")),
            environment: vec![("BIN", binaries), ("RUN", state.join("cluster"))],
        })
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.envs(self.environment.iter().map(|(name, value)| (*name, value.as_os_str()))).stdin(Stdio::null());
        command
    }

    fn script(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let Some(script) = &self.script else { return Ok(()) };
        let status = self.command(script).args(arguments).status().context("the cluster's script cannot be started")?;
        anyhow::ensure!(status.success(), "cluster.sh {} ended with {status}", arguments.join(" "));
        Ok(())
    }

    /// Whether it was up already.
    fn up(&self) -> anyhow::Result<bool> {
        let begun = Instant::now();
        let state = self.environment.iter().find(|(name, _)| *name == "RUN").map(|(_, path)| path.clone());
        if state.is_some_and(|state| state.exists()) {
            say("e2e: a cluster is up already and used again");
            return Ok(true);
        }
        if let Err(error) = self.script(&["up"]) {
            self.script(&["down"])?;
            return Err(error);
        }
        say(&format!("e2e: nodes are ready after {:.1} s", begun.elapsed().as_secs_f64()));
        Ok(false)
    }

    /// A program that reaches the API server.
    fn inside(&self, program: &Path) -> Command {
        match &self.script {
            Some(script) => {
                let mut command = self.command(script);
                command.arg("exec").arg(program);
                command
            }
            None => self.command(program),
        }
    }

    fn tell(&self, stories: &Path, arguments: &Arguments) -> anyhow::Result<()> {
        let mut command = self.inside(stories);
        command.args(&arguments.parts).current_dir(root());
        command.env("ODIGOS_E2E_PREFIX", &arguments.image_prefix);
        command.env("ODIGOS_E2E_HELM", tools::find("helm")?);
        command.env("ODIGOS_E2E_CLI", images::command_line(arguments.release)?);
        command.env("ODIGOS_E2E_CHART", root().join("charts/odigos"));
        let version = env!("CARGO_PKG_VERSION");
        command.env("ODIGOS_E2E_VERSION", version);
        command.env("ODIGOS_E2E_IMAGE", format!("{}/odigos-e2e:{version}", arguments.image_prefix));
        if let Some(script) = &self.script {
            command.env("ODIGOS_E2E_CLUSTER", script);
        }
        if arguments.keep {
            command.env("ODIGOS_E2E_KEEP", "1");
        }
        if arguments.long {
            command.env("ODIGOS_E2E_LONG", "1");
        }
        let status = command.status().context("the stories cannot be started")?;
        if !status.success() {
            bail!("a story did not end as it should");
        }
        Ok(())
    }

    /// Logs, events and objects, for whoever looks for the reason.
    fn collect(&self) {
        let folder = binaries::target().join("e2e");
        let _ = std::fs::remove_dir_all(&folder);
        let Ok(kubectl) = tools::find("kubectl") else { return };
        if std::fs::create_dir_all(&folder).is_err() {
            return;
        }
        let save = |name: &str, arguments: &[&str]| {
            let output = self.inside(&kubectl).args(arguments).stderr(Stdio::null()).output();
            let _ = output.map(|output| std::fs::write(folder.join(name), output.stdout));
        };
        save("pods.txt", &["get", "pods", "-A", "-o", "wide"]);
        save("events.txt", &["get", "events", "-A", "--sort-by=.lastTimestamp"]);
        save("product.yaml", &["get", "odigos", "-A", "-o", "yaml"]);
        save(
            "workloads.yaml",
            &["get", "deployments,daemonsets,statefulsets,configmaps,services", "-n", "odigos-system", "-o", "yaml"],
        );
        save("describe.txt", &["describe", "pods", "-A"]);
        let list = self.inside(&kubectl).args(["get", "pods", "-n", "odigos-system", "-o", "name"]).output();
        for pod in list
            .iter()
            .flat_map(|list| String::from_utf8_lossy(&list.stdout).lines().map(str::to_owned).collect::<Vec<_>>())
        {
            let name = pod.trim_start_matches("pod/");
            save(&format!("{name}.log"), &["logs", "-n", "odigos-system", name, "--all-containers", "--tail=2000"]);
            save(
                &format!("{name}.previous.log"),
                &["logs", "-n", "odigos-system", name, "--all-containers", "--previous", "--tail=500"],
            );
        }
        say(&format!("e2e: logs, events and objects are in {}", folder.display()));
    }
}

/// Builds the stories; returns their binary.
fn stories_binary() -> anyhow::Result<PathBuf> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["test", "--locked", "--workspace", "--test", "stories", "--no-run", "--message-format=json"])
        .current_dir(root())
        .stderr(Stdio::inherit())
        .output()?;
    anyhow::ensure!(output.status.success(), "the stories cannot be built");
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let binaries = messages.filter(|message| message["target"]["name"] == "stories");
    let mut executables = binaries.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    executables.next().context("cargo names no binary of the stories")
}
