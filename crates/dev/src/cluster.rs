//! A cluster for the stories: made on this machine or somebody else's.
//!
//! Owns how it is reached, brought up and taken down, how stories are told on it, and what is kept of a failure; never which
//! stories there are.

use crate::say;
use anyhow::Context;
use odigos_testkit::binaries;
use odigos_tools::{self as tools, NODE_TOOLS, TEST_TOOLS, root};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The most clusters of one run.
pub(crate) const MOST: usize = 2;

/// A cluster, ours or another's.
pub(crate) struct Cluster {
    /// Which of several it is.
    number: Option<usize>,
    /// The script and its environment; absent for another's.
    script: Option<PathBuf>,
    environment: Vec<(&'static str, PathBuf)>,
}

/// The folder of everything that clusters of this machine have. Files of images are shared in it, so it is one file system.
pub(crate) fn state() -> PathBuf {
    std::env::temp_dir().join("odigos-e2e")
}

/// What became of stories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

impl Tally {
    /// From the last line that the stories print.
    fn read(line: &str) -> Option<Self> {
        let (passed, failed) = line.strip_prefix("stories: ")?.strip_suffix(" failed")?.split_once(" passed, ")?;
        Some(Self { passed: passed.parse().ok()?, failed: failed.parse().ok()? })
    }
}

impl Cluster {
    /// The cluster of a KUBECONFIG.
    pub(crate) fn existing(kubeconfig: PathBuf) -> Self {
        Self { number: None, script: None, environment: vec![("KUBECONFIG", kubeconfig)] }
    }

    /// Clusters of namespaces; the tools that they need are built. The first one is called as a single one would be. What an interrupted
    /// run left goes before any of them comes up, unless it is kept: they share the machine's limits and folders.
    ///
    /// # Errors
    /// When a tool cannot be built.
    pub(crate) fn own(count: usize, is_kept: bool) -> anyhow::Result<Vec<Self>> {
        let state = state();
        let binaries = state.join("bin");
        std::fs::create_dir_all(&binaries)?;
        let on_nodes = ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "helm"];
        let needed: Vec<_> =
            TEST_TOOLS.into_iter().filter(|tool| on_nodes.contains(&tool.name)).chain(NODE_TOOLS).collect();
        let missing: Vec<&str> = tools::build::missing(&needed)?.iter().map(|tool| tool.name).collect();
        if !missing.is_empty() {
            say(&format!("e2e: building {} (minutes the first time)", missing.join(", ")));
        }
        for (tool, path) in needed.iter().zip(tools::build::built(&needed, &|_| {})?) {
            let link = binaries.join(tool.name);
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(path, &link)?;
        }
        let one = |number: usize| {
            let suffix = if number == 1 { String::new() } else { number.to_string() };
            Self {
                number: (count > 1).then_some(number),
                script: Some(root().join("tests/e2e/cluster/cluster.sh")),
                environment: vec![
                    ("BIN", binaries.clone()),
                    ("RUN", state.join(format!("cluster{suffix}"))),
                    ("CLUSTER", PathBuf::from(format!("odg{suffix}"))),
                ],
            }
        };
        let first = if is_kept { count + 1 } else { 1 };
        for left in (first..=MOST).map(one).filter(Self::exists) {
            say("e2e: removing a cluster that an interrupted run left");
            left.script(&["down"])?;
        }
        Ok((1..=count).map(one).collect())
    }

    /// Whether something of it is there.
    fn exists(&self) -> bool {
        self.environment.iter().any(|(name, path)| *name == "RUN" && path.exists())
    }

    /// What is said about it begins with this.
    pub(crate) fn mark(&self) -> String {
        self.number.map(|number| format!("{number}| ")).unwrap_or_default()
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.envs(self.environment.iter().map(|(name, value)| (*name, value.as_os_str()))).stdin(Stdio::null());
        command
    }

    /// Runs the cluster's script; nothing for a cluster that is another's.
    ///
    /// # Errors
    /// When it says so.
    pub(crate) fn script(&self, arguments: &[&str]) -> anyhow::Result<()> {
        self.script_with(arguments, &[])
    }

    fn script_with(&self, arguments: &[&str], environment: &[(&str, &Path)]) -> anyhow::Result<()> {
        let Some(script) = &self.script else { return Ok(()) };
        let mut command = self.command(script);
        command.args(arguments).envs(environment.iter().copied());
        let status = command.status().context("the cluster's script cannot be started")?;
        anyhow::ensure!(status.success(), "cluster.sh {} ended with {status}", arguments.join(" "));
        Ok(())
    }

    /// Unpacks images into a folder that nodes begin with: once, however many nodes there will be. Nothing where the cluster is up already.
    ///
    /// # Errors
    /// When an image cannot be read.
    pub(crate) fn unpack(&self, archives: &[PathBuf], folder: &Path) -> anyhow::Result<()> {
        if self.exists() {
            return Ok(());
        }
        let begun = Instant::now();
        // What an interrupted run left.
        let _ = std::fs::remove_dir_all(folder);
        let mut arguments = vec!["images".to_owned(), folder.display().to_string()];
        arguments.extend(archives.iter().map(|archive| archive.display().to_string()));
        self.script(&arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
        say(&format!("e2e: images are unpacked after {:.1} s", begun.elapsed().as_secs_f64()));
        Ok(())
    }

    /// Brings it up with the images that were unpacked into `images`. One that is up already was kept: it takes `archives` and starts the product's
    /// pods again.
    ///
    /// # Errors
    /// When a node does not become ready.
    pub(crate) fn up(&self, archives: &[PathBuf], images: &Path) -> anyhow::Result<()> {
        let begun = Instant::now();
        if !self.exists() {
            self.script_with(&["up"], &[("IMAGES", images)])?;
            say(&format!("{}e2e: nodes are ready after {:.1} s", self.mark(), begun.elapsed().as_secs_f64()));
            return Ok(());
        }
        say(&format!("{}e2e: a cluster is up already and used again", self.mark()));
        for archive in archives {
            self.script(&["load", &archive.display().to_string()])?;
        }
        // The images have kept their names, so nothing but this brings their content into pods.
        self.script(&["kubectl", "-n", "odigos-system", "delete", "pods", "--all", "--wait=true"])
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

    /// Runs the stories there with this environment; every line of theirs is shown as it comes.
    ///
    /// # Errors
    /// When they cannot be started, or end without a tally.
    pub(crate) fn tell(
        &self,
        stories: &Path,
        parts: &[String],
        environment: &[(&str, String)],
    ) -> anyhow::Result<Tally> {
        let mut command = self.inside(stories);
        command.args(parts).current_dir(root()).envs(environment.iter().map(|(name, value)| (name, value)));
        if let Some(script) = &self.script {
            command.env("ODIGOS_E2E_CLUSTER", script);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().context("the stories cannot be started")?;
        let output = child.stdout.take().context("the stories have no output")?;
        let mut tally = None;
        for line in BufReader::new(output).lines() {
            let line = line?;
            tally = Tally::read(&line).or(tally);
            say(&format!("{}{line}", self.mark()));
        }
        let status = child.wait()?;
        let tally =
            tally.with_context(|| format!("{}the stories ended with {status} before all were told", self.mark()))?;
        anyhow::ensure!(status.success() || tally.failed > 0, "{}the stories ended with {status}", self.mark());
        Ok(tally)
    }

    /// Logs, events and objects, for whoever looks for the reason.
    pub(crate) fn collect(&self) {
        let folder = binaries::target().join("e2e");
        let folder = self.number.map_or(folder.clone(), |number| folder.join(number.to_string()));
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
        let workloads = "deployments,daemonsets,statefulsets,configmaps,services";
        save("workloads.yaml", &["get", workloads, "-n", "odigos-system", "-o", "yaml"]);
        save("describe.txt", &["describe", "pods", "-A"]);
        let list = self.inside(&kubectl).args(["get", "pods", "-n", "odigos-system", "-o", "name"]).output();
        let names = list.map(|list| String::from_utf8_lossy(&list.stdout).into_owned()).unwrap_or_default();
        for name in names.lines().map(|line| line.trim_start_matches("pod/")) {
            let logs = ["logs", "-n", "odigos-system", name, "--all-containers"];
            save(&format!("{name}.log"), &[&logs[..], &["--tail=2000"]].concat());
            save(&format!("{name}.previous.log"), &[&logs[..], &["--previous", "--tail=500"]].concat());
        }
        say(&format!("{}e2e: logs, events and objects are in {}", self.mark(), folder.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_stories_is_counted() {
        assert_eq!(Tally::read("stories: 9 passed, 1 failed"), Some(Tally { passed: 9, failed: 1 }));
        assert_eq!(Tally::read("  9 passed, 1 failed"), None);
        assert_eq!(Tally::read("stories: many passed, 1 failed"), None);
    }
}
