//! The program that instruments Go processes (`deploy/images/golang`), built into the cache of the tools.
//!
//! Its library is published without the objects for BPF that it embeds, so they are compiled here, in a copy of the module.
//! `library.patch` changes a few places of the copy; each says why. The same sources, compiler and Go give the same bytes.

use crate::agents::{digest, files, remove};
use crate::say;
use anyhow::{Context, bail};
use odigos_tools::{cache, root};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The library.
const LIBRARY: &str = "go.opentelemetry.io/auto";
/// Name of the program.
pub(crate) const PROGRAM: &str = "odigos-go-agent";
/// What is changed of the library.
const PATCH: &str = "library.patch";
/// Programs that are needed beside Go, asked by their version.
const PROGRAMS: [&str; 3] = ["clang", "llvm-strip", "patch"];

/// Builds the program unless it is there, and returns its path.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    let sources = root().join("deploy/images/golang");
    let wanted = digest(&sources)?;
    let name = format!("{PROGRAM}-{}", wanted.get(..12).unwrap_or(&wanted));
    let folder = cache().join(&name);
    let program = folder.join(PROGRAM);
    if program.exists() {
        return Ok(program);
    }
    for needed in PROGRAMS {
        let found = Command::new(needed).arg("--version").stdin(Stdio::null()).output();
        anyhow::ensure!(
            found.is_ok_and(|found| found.status.success()),
            "{needed} is missing: install clang, llvm and patch"
        );
    }
    say("building the agent of Go (some minutes the first time)");
    let partial = cache().join(format!("{name}.{}", std::process::id()));
    remove(&partial)?;
    let made = make(&sources, &partial).and_then(|()| Ok(std::fs::rename(&partial, &folder)?));
    if made.is_err() {
        let _ = remove(&partial);
    }
    made.with_context(|| format!("{PROGRAM} cannot be built"))?;
    say(&format!("agent of Go: {} MiB in {}", program.metadata()?.len() >> 20, folder.display()));
    Ok(program)
}

fn make(sources: &Path, into: &Path) -> anyhow::Result<()> {
    let (library, agent) = (into.join("library"), into.join("agent"));
    copy(&download(sources)?, &library)?;
    change(&library, &sources.join(PATCH))?;
    let modules = library.join("go.mod");
    std::fs::write(&modules, without_replacements(&std::fs::read_to_string(&modules)?))?;
    // A module that the library replaces by a folder of its repository is a published one here: its digest is in our file.
    append(&library.join("go.sum"), &std::fs::read_to_string(sources.join("go.sum"))?)?;
    // Where this folder is shall not be in the result.
    let headers = library.join("internal/include");
    let flags = format!(
        "-I{} -I{} -ffile-prefix-map={}=.",
        headers.join("libbpf").display(),
        headers.display(),
        library.display()
    );
    go(&library, &["generate", "./internal/..."], &[("BPF2GO_CC", "clang"), ("BPF2GO_CFLAGS", &flags)])?;

    // A copy as well: Go writes down where a replacement is, so that is said relative to the program's own folder.
    copy(sources, &agent)?;
    append(&agent.join("go.mod"), &format!("\nreplace {LIBRARY} => ../library\n"))?;
    let output = format!("../{PROGRAM}");
    let flags = "-ldflags=-s -w -buildid=";
    go(&agent, &["build", "-mod=readonly", "-trimpath", "-buildvcs=false", flags, "-o", &output, "."], &[])?;
    remove(&library)?;
    remove(&agent)
}

fn append(path: &Path, text: &str) -> anyhow::Result<()> {
    let before = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(std::fs::write(path, before + text)?)
}

/// Runs Go and returns what it says; a build shall not depend on the settings of whoever starts it.
fn go(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<String> {
    let output = Command::new("go")
        .args(arguments)
        .current_dir(folder)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-buildvcs=false")
        .env("GOWORK", "off")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .context("Go is missing: install Go 1.25 or later")?;
    if !output.status.success() {
        bail!("go: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Folder of the library as published, whose digest Go has compared with our file.
fn download(sources: &Path) -> anyhow::Result<PathBuf> {
    let text = std::fs::read_to_string(sources.join("go.mod"))?;
    let version = version(&text).with_context(|| format!("go.mod does not require {LIBRARY}"))?;
    let told = go(sources, &["mod", "download", "-json", &format!("{LIBRARY}@{version}")], &[])?;
    let told: serde_json::Value = serde_json::from_str(&told)?;
    Ok(told["Dir"].as_str().context("Go does not say where the module is")?.into())
}

/// Version of the library that a file of modules requires.
fn version(modules: &str) -> Option<&str> {
    modules.lines().find_map(|line| {
        let mut words = line.trim().trim_start_matches("require ").split_whitespace();
        (words.next() == Some(LIBRARY)).then(|| words.next()).flatten()
    })
}

/// A file of modules without replacements, which name folders that are not published.
fn without_replacements(modules: &str) -> String {
    modules.lines().filter(|line| !line.starts_with("replace ")).flat_map(|line| [line, "\n"]).collect()
}

/// Copies a folder; files of the module cache may not be written, their copies may.
fn copy(from: &Path, into: &Path) -> anyhow::Result<()> {
    for path in files(from)? {
        let copied = into.join(path.strip_prefix(from)?);
        std::fs::create_dir_all(copied.parent().context("a file without a folder")?)?;
        std::fs::copy(&path, &copied)?;
        std::fs::set_permissions(&copied, std::fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}

/// Changes the copy. A place that is not found as it was means that the library is another one, which is an error.
fn change(library: &Path, patch: &Path) -> anyhow::Result<()> {
    let output = Command::new("patch")
        .args(["--strip=1", "--batch", "--fuzz=0", "--no-backup-if-mismatch", "--reject-file=-"])
        .arg("--directory")
        .arg(library)
        .arg("--input")
        .arg(patch)
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    anyhow::ensure!(output.status.success(), "{PATCH} does not fit this version of the library: {}", said.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_our_modules_require() {
        let text = std::fs::read_to_string(root().join("deploy/images/golang/go.mod")).unwrap();
        assert!(version(&text).is_some_and(|version| version.starts_with('v')), "{text}");
        assert_eq!(version("module a\n\nrequire go.opentelemetry.io/auto v1.2.3\n"), Some("v1.2.3"));
        assert_eq!(version("require (\n\tgo.opentelemetry.io/auto/sdk v1.2.3 // indirect\n)\n"), None);
    }

    #[test]
    fn replacements_are_dropped() {
        assert_eq!(
            without_replacements("module a\nreplace b => ./b\nrequire c v1.0.0\n"),
            "module a\nrequire c v1.0.0\n"
        );
    }

    /// A place that has changed would be instrumented as nobody has tried it.
    #[test]
    fn a_patch_that_does_not_fit_is_refused() {
        let folder = tempfile::TempDir::new().unwrap();
        let (patch, file) = (folder.path().join("p"), folder.path().join("a.go"));
        std::fs::write(&patch, "--- a/a.go\n+++ b/a.go\n@@ -1,2 +1,2 @@\n package a\n-var b = 1\n+var b = 2\n")
            .unwrap();
        std::fs::write(&file, "package a\nvar b = 1\n").unwrap();
        change(folder.path(), &patch).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "package a\nvar b = 2\n");
        std::fs::write(&file, "package a\nvar b = 3\n").unwrap();
        assert!(change(folder.path(), &patch).is_err());
    }
}
