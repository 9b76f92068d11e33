//! Builds tools from pinned Go modules and crates, or installs them from pinned Python packages, into a cache outside the checkout.
//!
//! Go packages that share a module and its flags are built by one `go build`: they are compiled and linked side by side.

use crate::catalog::{CRATE_LOCK, KUBERNETES, PYTHON_LOCK, Tool};
use crate::paths::{cache, root};
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Receives one line at a time of what a build is doing.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// How many of the last lines of a failed build its error repeats.
const TAIL: usize = 30;

/// Builds or installs those of the tools that are not there, all of one module together.
///
/// # Errors
/// When Go or Python is missing, or a build fails; with the end of what it printed.
pub fn build(tools: &[Tool], progress: Progress<'_>) -> anyhow::Result<()> {
    let mut groups: BTreeMap<(usize, &str, &str, &str), Vec<Tool>> = BTreeMap::new();
    let mut order: Vec<&str> = Vec::new();
    for tool in missing(tools)? {
        let position = order.iter().position(|module| *module == tool.module).unwrap_or_else(|| {
            order.push(tool.module);
            order.len() - 1
        });
        groups.entry((position, tool.module, tool.tags, tool.compiler_flags())).or_default().push(tool);
    }
    for group in groups.values() {
        build_group(group, progress).with_context(|| {
            format!("failed to build {}", group.iter().map(|tool| tool.name).collect::<Vec<_>>().join(", "))
        })?;
    }
    Ok(())
}

/// Those of the tools that must still be built.
///
/// # Errors
/// When lock files cannot be read.
pub fn missing(tools: &[Tool]) -> anyhow::Result<Vec<Tool>> {
    let mut missing = Vec::new();
    for tool in tools {
        if !tool.path()?.exists() {
            missing.push(*tool);
        }
    }
    Ok(missing)
}

impl Tool {
    /// Flags of the Go compiler. Debug information is stripped by the linker anyway, and takes a tenth of the time.
    pub(crate) const fn compiler_flags(&self) -> &'static str {
        if self.is_optimised { "all=-dwarf=false" } else { "all=-l -dwarf=false" }
    }

    /// What Go calls its binary where it builds several.
    fn output_name(&self) -> &'static str {
        self.package.strip_prefix("./").unwrap_or(self.name)
    }
}

fn build_group(group: &[Tool], progress: Progress<'_>) -> anyhow::Result<()> {
    let first = group.first().context("no tool to build")?;
    std::fs::create_dir_all(cache())?;
    remove_interrupted_builds();
    // Another process may build the same; each has a folder of its own and the last rename wins.
    let scratch = cache().join(format!("build.{}.{}", first.name, std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let source = root().join(first.module);
    let built = if source.join(PYTHON_LOCK).exists() {
        install(first, &scratch, progress)
    } else if source.join(CRATE_LOCK).exists() {
        compile_crate(first, &scratch, progress)
    } else {
        compile(group, &scratch, progress)
    };
    let _ = std::fs::remove_dir_all(&scratch);
    built
}

/// Removes what builds have left that were interrupted: folders named after processes that no longer run.
fn remove_interrupted_builds() {
    if !Path::new("/proc/self").exists() {
        return;
    }
    for entry in std::fs::read_dir(cache()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix("build.").and_then(|rest| rest.rsplit('.').next()?.parse::<u32>().ok());
        if owner.is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Moves what was built to where it is looked for.
fn publish(tool: &Tool, binary: &Path) -> anyhow::Result<()> {
    let path = tool.path()?;
    std::fs::create_dir_all(path.parent().context("the cache has no folder")?)?;
    std::fs::rename(binary, &path).with_context(|| format!("failed to move {} to {}", tool.name, path.display()))
}

/// Builds Go binaries of one module.
fn compile(group: &[Tool], scratch: &Path, progress: Progress<'_>) -> anyhow::Result<()> {
    let first = group.first().context("no tool to build")?;
    let version = format!("v{KUBERNETES}");
    let stamps = format!(
        "-s -w -X k8s.io/component-base/version.gitVersion={version} -X k8s.io/component-base/version.gitMajor={} \
         -X k8s.io/component-base/version.gitMinor={} -X k8s.io/client-go/pkg/version.gitVersion={version}",
        KUBERNETES.0, KUBERNETES.1
    );
    let linker_flags = if first.module.ends_with("kube") { stamps.as_str() } else { "-s -w" };
    // With one package the output is a file, with several a folder of files named after the packages.
    let output = if group.len() == 1 { scratch.join(first.name) } else { scratch.to_path_buf() };
    let mut command = Command::new("go");
    command
        .args(["build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false"])
        .arg(format!("-gcflags={}", first.compiler_flags()))
        .args(["-ldflags", linker_flags, "-tags", first.tags, "-o"])
        .arg(&output)
        .args(group.iter().map(|tool| tool.package))
        .current_dir(root().join(first.module))
        // The compiler and linker are short-lived: collecting their garbage costs a tenth of the time and saves little.
        .envs([("CGO_ENABLED", "0"), ("GOFLAGS", ""), ("GOWORK", "off"), ("GOGC", "off"), ("GOMEMLIMIT", "2GiB")]);
    watched(&mut command, "Go is needed to build the real peers; `make doctor` says which one", progress)?;
    for tool in group {
        let name = if group.len() == 1 { tool.name } else { tool.output_name() };
        publish(tool, &scratch.join(name))?;
    }
    Ok(())
}

/// Builds the program of one crate with the versions of its own lock file.
fn compile_crate(tool: &Tool, scratch: &Path, progress: Progress<'_>) -> anyhow::Result<()> {
    let lock = root().join(tool.module).join(CRATE_LOCK);
    let name = std::fs::read_to_string(&lock).with_context(|| format!("failed to read {}", lock.display()))?;
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(["install", "--locked", "--no-track", "--profile", "dev", "--root"])
        .arg(scratch)
        .arg(name.trim())
        // Outside the checkout: its settings are for its own crates, and so are the lints that compile with them.
        .current_dir(scratch)
        .env("CARGO_TARGET_DIR", scratch.join("target"))
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    watched(&mut command, "failed to start cargo", progress)?;
    publish(tool, &scratch.join(tool.package))
}

/// Runs a command, passes every line of its output on, and repeats the last ones when it fails.
fn watched(command: &mut Command, missing: &'static str, progress: Progress<'_>) -> anyhow::Result<()> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context(missing)?;
    let output = child.stderr.take().context("the build has no output")?;
    let mut lines = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        progress(&line);
        lines.push(line);
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{status}\n{}", lines[lines.len().saturating_sub(TAIL)..].join("\n"));
    }
    Ok(())
}

/// Installs the locked packages, alongside a copy of the Python program where there is one, and writes the script that starts it.
fn install(tool: &Tool, scratch: &Path, progress: Progress<'_>) -> anyhow::Result<()> {
    let source = root().join(tool.module);
    let python = python()?;
    let folder = tool.path()?.parent().map(Path::to_path_buf).context("the cache has no folder")?;
    std::fs::create_dir_all(&folder)?;
    let packages = format!("packages.{}", std::process::id());
    let target = folder.join(&packages);
    let mut command = Command::new(&python);
    command
        .args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"])
        .args(["--only-binary", ":all:", "--require-hashes", "--root-user-action", "ignore", "--target"])
        .arg(&target)
        .arg("--requirement")
        .arg(source.join(PYTHON_LOCK));
    if let Err(error) = watched(&mut command, "failed to start pip", progress) {
        let _ = std::fs::remove_dir_all(&target);
        return Err(error);
    }
    let program = source.join(tool.package);
    // The interpreter that the packages were chosen for; it finds them alongside the program. What a package brings starts by itself.
    let interpreter = if program.exists() { format!("\"{python}\" ") } else { String::new() };
    if program.exists() {
        std::fs::copy(&program, target.join(tool.package))?;
    }
    let script = format!("#!/bin/sh\nexec {interpreter}\"$(dirname \"$0\")/{packages}/{}\" \"$@\"\n", tool.package);
    let partial = scratch.join(tool.name);
    std::fs::write(&partial, script)?;
    std::fs::set_permissions(&partial, std::fs::Permissions::from_mode(0o755))?;
    publish(tool, &partial)
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

/// Paths of tools, which are built when they are missing; for callers that need a few of them at once.
///
/// # Errors
/// As [`build`].
pub fn built(tools: &[Tool], progress: Progress<'_>) -> anyhow::Result<Vec<PathBuf>> {
    build(tools, progress)?;
    tools.iter().map(Tool::path).collect()
}
