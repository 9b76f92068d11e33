//! The Debian packages that libraries of an image are copied from, with the records that scanners read.
//!
//! Owns the files below `var/lib/dpkg/status.d` (one for each package, as in images without a package manager) and
//! `etc/os-release`. Where the building machine has no dpkg, nothing is recorded, and that is reported.

use super::{Package, encoded};
use crate::say;
use anyhow::{Context, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Fields of a package that its record repeats.
const FIELDS: [&str; 9] =
    ["Package", "Status", "Section", "Maintainer", "Architecture", "Multi-Arch", "Source", "Version", "Homepage"];
/// Where the records stand in an image.
const RECORDS: &str = "var/lib/dpkg/status.d";
/// Names the distribution and its release.
const RELEASE: &str = "etc/os-release";

/// What is known of copied files.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) packages: Vec<Package>,
    /// Files of the image by their path inside.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

/// The records of files of this machine.
///
/// # Errors
/// When dpkg is there and knows a file not: what nobody can name is not shipped.
pub(crate) fn records<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> anyhow::Result<Records> {
    let paths: Vec<&PathBuf> = paths.into_iter().collect();
    let mut records = Records::default();
    if paths.is_empty() {
        return Ok(records);
    }
    if Command::new("dpkg-query").arg("--version").output().is_err() {
        say("this machine has no dpkg: the image has no records of the libraries in it");
        return Ok(records);
    }
    let mut owners: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in paths {
        let (owner, known_as) = owner(path)?;
        owners.entry(owner).or_default().insert(known_as);
    }
    let release = std::fs::read(Path::new("/").join(RELEASE)).with_context(|| format!("failed to read /{RELEASE}"))?;
    let distribution = distribution(&String::from_utf8_lossy(&release));
    records.files.insert(RELEASE.to_owned(), release);
    for (owner, paths) in owners {
        let status = dpkg(&["--status", &owner])?;
        let (package, record) = read(&status, &distribution)?;
        // Without the copied files alone, scanners would look for the others.
        let sums = dpkg(&["--control-show", &owner, "md5sums"])?;
        let sums: String = sums.split_inclusive('\n').filter(|line| is_of(line, &paths)).collect();
        records.files.insert(format!("{RECORDS}/{}", package.name), record.into_bytes());
        records.files.insert(format!("{RECORDS}/{}.md5sums", package.name), sums.into_bytes());
        let notice = format!("usr/share/doc/{}/copyright", package.name);
        let text = std::fs::read(Path::new("/").join(&notice));
        records.files.insert(notice.clone(), text.with_context(|| format!("failed to read /{notice}"))?);
        records.packages.push(package);
    }
    Ok(records)
}

/// Whether a row of digests is about one of these files.
fn is_of(line: &str, paths: &BTreeSet<String>) -> bool {
    line.split_whitespace().nth(1).is_some_and(|path| paths.contains(&format!("/{path}")))
}

/// The package that a file belongs to, and the path under which that package knows it: `/lib` is a link to `/usr/lib`.
fn owner(path: &Path) -> anyhow::Result<(String, String)> {
    let text = path.display().to_string();
    let resolved = path.canonicalize().with_context(|| format!("failed to resolve {text}"))?.display().to_string();
    let mut candidates = Vec::new();
    for one in [text.clone(), resolved] {
        candidates.extend(one.strip_prefix("/usr").map(str::to_owned));
        candidates.push(format!("/usr{one}"));
        candidates.push(one);
    }
    for candidate in candidates {
        let output = Command::new("dpkg-query").args(["--search", &candidate]).output()?;
        let found = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = found.lines().filter(|line| !line.starts_with("diversion "));
        let owner = lines.filter_map(|line| line.split_once(": ")).find(|(_, known)| *known == candidate);
        if let Some((owner, _)) = owner {
            return Ok((owner.to_owned(), candidate));
        }
    }
    bail!("{text} is of no Debian package; failed to name its source")
}

fn dpkg(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("dpkg-query").args(arguments).output().context("failed to start dpkg-query")?;
    if !output.status.success() {
        bail!("dpkg-query {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// `ID` and `VERSION_ID` of the distribution.
fn distribution(release: &str) -> (String, String) {
    let value = |key: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    (value("ID"), value("VERSION_ID"))
}

/// A package and its record from what dpkg says of it.
fn read(status: &str, (id, release): &(String, String)) -> anyhow::Result<(Package, String)> {
    let value = |field: &str| status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(": "));
    let name = value("Package").context("dpkg names no package")?;
    let (version, architecture) = (value("Version").context("no version")?, value("Architecture").context("none")?);
    let mut record: String = FIELDS.iter().filter_map(|field| Some(format!("{field}: {}\n", value(field)?))).collect();
    let summary = value("Description").unwrap_or(name);
    record.push_str(&format!("Description: {summary}\n"));
    let mut package = Package::new("deb", name, &format!("{}/{}", encoded(id), encoded(name)), version);
    package.purl.push_str(&format!("?arch={}&distro={}-{}", encoded(architecture), encoded(id), encoded(release)));
    package.note = value("Source").map(|source| format!("source package {source}"));
    Ok((package, record))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;

    #[test]
    fn record_is_what_scanners_read() {
        let status = "Package: libc6\nStatus: install ok installed\nInstalled-Size: 13001\nArchitecture: amd64\nSource: glibc\nVersion: 2.36-9+deb12u14\nConffiles:\n /etc/a b\nDescription: GNU C Library: Shared libraries\n Contains more.\n";
        let of = distribution("NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n");
        let (package, record) = read(status, &of).unwrap();
        assert_eq!(package.purl, "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64&distro=debian-12");
        assert_eq!(
            record,
            "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc\nVersion: 2.36-9+deb12u14\nDescription: GNU C Library: Shared libraries\n"
        );
        assert!(is_of(
            "0123  lib/x86_64-linux-gnu/libc.so.6\n",
            &["/lib/x86_64-linux-gnu/libc.so.6".to_owned()].into()
        ));
        assert!(!is_of("0123  usr/share/doc/libc6/copyright\n", &["/lib/libc.so.6".to_owned()].into()));
    }
}
