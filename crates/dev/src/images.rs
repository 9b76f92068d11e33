//! Container images as OCI archives, made without a daemon: `docker load`, `ctr images import` and `skopeo` read them.
//!
//! An image is one binary, the libraries that it loads, and the records by which scanners know both: no shell, no package
//! manager, no root. The same binary gives the same bytes. Beside each archive of a release stands its bill of materials
//! (SPDX). `deploy/images/Dockerfile` is the same for people who have a daemon.

use crate::packages::crates::Graph;
use crate::packages::{Package, agents, debian, go};
use crate::{audit_data, say, spdx};
use anyhow::{Context, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use odigos_testkit::binaries;
use odigos_tools::catalog::shipped_collectors;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// User and group of every process.
const USER: u64 = 65532;
/// Time of every file and image: nothing depends on when it was made.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// What an image is made of.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Name and tag, e.g. `odigos-autoscaler:0.1.0`.
    pub(crate) reference: String,
    /// Path of the binary inside.
    pub(crate) entry: String,
    /// What is started beside it: arguments that come before a pod's own.
    pub(crate) arguments: Vec<String>,
    /// Environment.
    pub(crate) environment: Vec<String>,
    /// Programs and libraries by their path inside, without the leading slash.
    pub(crate) files: BTreeMap<String, PathBuf>,
    /// Files that are only read, the same way.
    pub(crate) data: BTreeMap<String, PathBuf>,
    /// Files that are written for it.
    pub(crate) records: BTreeMap<String, Vec<u8>>,
    /// What is inside, for its bill of materials; empty for images that are no part of a release.
    pub(crate) packages: Vec<Package>,
}

/// An image as bytes.
struct Archive {
    bytes: Vec<u8>,
    /// SHA-256 of its manifest, by which registries know it.
    manifest: String,
    /// SHA-256 of its layer.
    content: String,
}

/// Binaries, their package, and the name of their image.
pub(crate) const BINARIES: [(&str, &str, &str); 5] = [
    ("odigos-instrumentor", "odigos-instrumentor", "odigos-instrumentor"),
    ("odigos-scheduler", "odigos-scheduler", "odigos-scheduler"),
    ("odigos-autoscaler", "odigos-autoscaler", "odigos-autoscaler"),
    ("odigos-agent", "odigos-agent", "odigos-agent"),
    ("odigos", "odigos-cli", "odigos-cli"),
];
/// The actors of the stories; no part of a release.
const ACTORS: (&str, &str, &str) = ("odigos-e2e", "odigos-e2e", "odigos-e2e");

/// The binary of the nodes' agent.
pub(crate) const AGENT: &str = "odigos-agent";
/// Folder of the archives for the stories, below the target folder.
pub(crate) const FOR_STORIES: &str = "e2e-images";

/// Path of a collector's binary, the same as in the contrib image that may replace it.
pub(crate) const COLLECTOR_ENTRY: &str = "/otelcol-contrib";

/// Where the image of the agent has the files of the languages' agents.
const AGENTS: &str = "instrumentations";

/// What the images are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Users: optimised, below `target/images`.
    Release,
    /// The stories: what the tests have built already, with the stories' actors, below `target/e2e-images`.
    Stories,
    /// The stories again, optimised as for users: for figures.
    Figures,
}

/// The folder with the binaries, up to date.
fn programs(release: bool, actors: bool) -> anyhow::Result<PathBuf> {
    let packages: Vec<&str> =
        BINARIES.iter().chain(actors.then_some(&ACTORS)).map(|(_, package, _)| *package).collect();
    if release { binaries::optimised(&packages) } else { binaries::built() }
}

/// The command line of the same build.
///
/// # Errors
/// When the build fails.
pub(crate) fn command_line(release: bool) -> anyhow::Result<PathBuf> {
    Ok(programs(release, true)?.join("odigos"))
}

/// Builds the binaries and writes one archive for each image; returns the archives.
pub(crate) fn build(purpose: Purpose) -> anyhow::Result<Vec<PathBuf>> {
    let folder = binaries::target().join(if purpose == Purpose::Release { "images" } else { FOR_STORIES });
    std::fs::create_dir_all(&folder)?;
    write(&made(purpose, &folder)?, &folder, if purpose == Purpose::Stories { 1 } else { 6 })
}

/// One archive for each image; `compression` as for [`Image::archive`].
pub(crate) fn write(images: &[Image], folder: &Path, compression: u32) -> anyhow::Result<Vec<PathBuf>> {
    let mut archives = Vec::new();
    for image in images {
        let archive = image.archive(compression)?;
        let is_older = image.reference.ends_with(&format!(":{}", crate::before::TAG));
        let suffix = if is_older { format!("-{}", crate::before::TAG) } else { String::new() };
        let path = folder.join(format!("{}{suffix}.tar", image.name()));
        std::fs::write(&path, &archive.bytes)?;
        let mebibytes = archive.bytes.len() / 1024 / 1024;
        say(&format!("{:<28} {mebibytes:>4} MiB  sha256:{}  {}", image.reference, archive.manifest, path.display()));
        image.write_bill(folder, Some(&archive.manifest), &archive.content)?;
        archives.push(path);
    }
    Ok(archives)
}

/// Builds the binaries for users and writes what each image has inside into a folder of its name, with its bill of materials
/// beside it; `deploy/images/Dockerfile` makes images of them.
pub(crate) fn unpack(into: &Path) -> anyhow::Result<()> {
    for image in &made(Purpose::Release, &binaries::target())? {
        let inside = into.join(image.name());
        let layer = image.layer()?;
        tar::Archive::new(layer.as_slice()).unpack(&inside)?;
        image.write_bill(into, None, &hex(&layer))?;
        say(&format!("{:<28} {}", image.reference, inside.display()));
    }
    Ok(())
}

/// Builds the binaries and says what goes into which image; `folder` is for what is in between.
fn made(purpose: Purpose, folder: &Path) -> anyhow::Result<Vec<Image>> {
    let is_optimised = purpose != Purpose::Stories;
    let actors = purpose != Purpose::Release;
    let binaries: Vec<_> = BINARIES.into_iter().chain(actors.then_some(ACTORS)).collect();
    let built = programs(is_optimised, actors)?;
    let graph = Graph::read(&odigos_tools::root())?;
    let folder = folder.join("programs");
    std::fs::create_dir_all(&folder)?;
    let version = env!("CARGO_PKG_VERSION");
    let mut images = Vec::new();
    for (binary, package, name) in binaries {
        let mut path = built.join(binary);
        if !is_optimised {
            let stripped = folder.join(format!("{binary}.stripped"));
            let status = Command::new("strip").arg("-o").arg(&stripped).arg(&path).status();
            anyhow::ensure!(
                status.context("strip is missing: install binutils")?.success(),
                "strip failed on {binary}"
            );
            path = stripped;
        }
        let (own, crates) = graph.of(package)?;
        let program = folder.join(binary);
        audit_data::add(&path, own, &crates, &program)?;
        let mut image = Image::of(&format!("{name}:{version}"), &format!("/{binary}"), &program)?;
        if (binary, package, name) != ACTORS {
            image.record_libraries()?;
            image.packages.extend(graph.packages(package)?);
        }
        if binary == AGENT {
            add_agents(&mut image)?;
            image.packages.extend(agents::packages(&odigos_tools::root().join("deploy/images/agents"))?);
            image.packages.extend(go::packages(&crate::golang::build()?, version)?);
        }
        images.push(image);
    }
    if actors {
        images.extend(crate::applications::images(version)?);
    }
    let collectors = shipped_collectors();
    let programs = odigos_tools::build::built(&collectors, &|line| say(line))?;
    for (tool, program) in collectors.iter().zip(&programs) {
        let mut image = Image::of(&format!("{}:{version}", tool.name), COLLECTOR_ENTRY, program)?;
        image.packages = go::packages(program, version)?;
        images.push(image);
    }
    Ok(images)
}

/// Adds what the image of the nodes' agent carries beside its binary.
pub(crate) fn add_agents(image: &mut Image) -> anyhow::Result<()> {
    image.add(AGENTS, &crate::agents::fetch()?)?;
    // Static, so nothing comes with it.
    image.files.insert(crate::golang::PROGRAM.to_owned(), crate::golang::build()?);
    Ok(())
}

impl Image {
    /// An image of `binary` and what it loads.
    pub(crate) fn of(reference: &str, entry: &str, binary: &Path) -> anyhow::Result<Self> {
        let mut files: BTreeMap<String, PathBuf> =
            libraries(binary, &[])?.into_iter().map(|path| (inside(&path), path)).collect();
        files.insert(entry.trim_start_matches('/').to_owned(), binary.to_path_buf());
        Ok(Self {
            reference: reference.to_owned(),
            entry: entry.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            files,
            data: BTreeMap::new(),
            records: BTreeMap::new(),
            packages: Vec::new(),
        })
    }

    /// Adds the records of the libraries that are inside.
    fn record_libraries(&mut self) -> anyhow::Result<()> {
        let entry = self.entry.trim_start_matches('/');
        let libraries = self.files.iter().filter(|(path, _)| path.as_str() != entry).map(|(_, source)| source);
        let records = debian::records(libraries)?;
        self.records.extend(records.files);
        self.packages.extend(records.packages);
        Ok(())
    }

    /// Writes the bill of materials of an image of a release; `manifest` and `content` are digests.
    fn write_bill(&self, folder: &Path, manifest: Option<&str>, content: &str) -> anyhow::Result<()> {
        if self.packages.is_empty() {
            return Ok(());
        }
        let digest = |(path, source): (&String, &PathBuf)| -> anyhow::Result<(String, String)> {
            Ok((path.clone(), hex(&std::fs::read(source)?)))
        };
        let programs: Vec<(String, String)> = self.files.iter().map(digest).collect::<anyhow::Result<_>>()?;
        let subject = spdx::Subject {
            name: self.name(),
            version: env!("CARGO_PKG_VERSION"),
            manifest,
            content,
            created: CREATED,
            programs: &programs,
        };
        let path = folder.join(format!("{}.spdx.json", self.name()));
        std::fs::write(&path, serde_json::to_vec_pretty(&spdx::document(&subject, &self.packages))?)?;
        say(&format!("{:<28} {:>4} packages  {}", self.reference, self.packages.len(), path.display()));
        Ok(())
    }

    /// Its name without the tag.
    fn name(&self) -> &str {
        self.reference.split(':').next().unwrap_or_default()
    }

    /// Adds the files of a folder as data, below `inside`.
    pub(crate) fn add(&mut self, inside: &str, folder: &Path) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let path = entry.path();
            let name = entry.file_name().into_string().map_err(|name| anyhow::anyhow!("{name:?} is no text"))?;
            let inside = format!("{inside}/{name}");
            // Links are followed: what they name is wanted.
            if path.is_dir() {
                self.add(&inside, &path)?;
            } else if path.is_file() {
                self.data.insert(inside, path);
            }
        }
        Ok(())
    }

    /// Adds the libraries that a library loads, which a program loads that is not asked here; `beside` are the folders of the
    /// program's own.
    pub(crate) fn add_libraries(&mut self, of: &Path, beside: &[PathBuf]) -> anyhow::Result<()> {
        self.files.extend(libraries(of, beside)?.into_iter().map(|path| (inside(&path), path)));
        Ok(())
    }

    /// The whole archive; `compression` of its layer from 1 (fast) to 9 (small).
    fn archive(&self, compression: u32) -> anyhow::Result<Archive> {
        let layer = self.layer()?;
        let mut packed = GzEncoder::new(Vec::new(), Compression::new(compression));
        packed.write_all(&layer)?;
        let packed = packed.finish()?;
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => bail!("images of {other} are not made"),
        };
        let config = json!({
            "created": CREATED, "architecture": architecture, "os": "linux",
            "config": {
                "User": format!("{USER}:{USER}"), "Entrypoint": [self.entry], "WorkingDir": "/",
                "Cmd": self.arguments, "Env": self.environment,
                "Labels": {"org.opencontainers.image.licenses": "Apache-2.0", "org.opencontainers.image.version": env!("CARGO_PKG_VERSION")},
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(&layer))]},
            "history": [{"created": CREATED, "created_by": "cargo xtask images"}],
        });
        let config = serde_json::to_vec(&config)?;
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &packed)],
        }))?;
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        entry["annotations"] = json!({
            "org.opencontainers.image.ref.name": self.reference.split(':').nth(1).unwrap_or("latest"),
            "io.containerd.image.name": format!("docker.io/library/{}", self.reference),
        });
        let index = serde_json::to_vec(&json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry],
        }))?;
        let mut archive = tar::Builder::new(Vec::new());
        append(&mut archive, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        append(&mut archive, "index.json", 0o644, &index)?;
        for blob in [&manifest, &config, &packed] {
            append(&mut archive, &format!("blobs/sha256/{}", hex(blob)), 0o644, blob)?;
        }
        Ok(Archive { bytes: archive.into_inner()?, manifest: hex(&manifest), content: hex(&layer) })
    }

    fn layer(&self) -> anyhow::Result<Vec<u8>> {
        let mut layer = tar::Builder::new(Vec::new());
        let users = format!("root:x:0:0:root:/:/sbin/nologin\nodigos:x:{USER}:{USER}:odigos:/:/sbin/nologin\n");
        append(&mut layer, "etc/passwd", 0o644, users.as_bytes())?;
        append(&mut layer, "etc/nsswitch.conf", 0o644, b"hosts: files dns\n")?;
        let files = self.files.iter().map(|(path, source)| (path, source, 0o755));
        for (path, source, mode) in files.chain(self.data.iter().map(|(path, source)| (path, source, 0o644))) {
            let content = std::fs::read(source).with_context(|| format!("failed to read {}", source.display()))?;
            append(&mut layer, path, mode, &content)?;
        }
        for (path, content) in &self.records {
            append(&mut layer, path, 0o644, content)?;
        }
        Ok(layer.into_inner()?)
    }
}

fn append(archive: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, content: &[u8]) -> anyhow::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    archive.append_data(&mut header, path, content)?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{}", hex(content)), "size": content.len()})
}

fn inside(path: &Path) -> String {
    path.display().to_string().trim_start_matches('/').to_owned()
}

/// Shared libraries and the loader of a binary, at the paths where it looks for them; none for a static one.
fn libraries(binary: &Path, beside: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut command = Command::new("ldd");
    if !beside.is_empty() {
        command.env("LD_LIBRARY_PATH", std::env::join_paths(beside)?);
    }
    let output = command.arg(binary).output().context("ldd cannot be started")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("not found") {
        bail!("{} needs a library that is not here: {text}", binary.display());
    }
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(words.map(PathBuf::from).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

    use super::*;
    use std::io::Read;

    fn unpacked(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(archive).entries().unwrap() {
            let mut entry = entry.unwrap();
            assert_eq!(entry.header().mtime().unwrap(), 0);
            let path = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.insert(path, content);
        }
        files
    }

    /// What people with a daemon build has the same names and begins with the same programs.
    #[test]
    fn the_dockerfile_has_every_image_of_a_release() {
        let text = std::fs::read_to_string(odigos_tools::root().join("deploy/images/Dockerfile")).unwrap();
        let of = |key: &str| text.lines().filter_map(|line| line.strip_prefix(key)).map(str::to_owned).collect();
        let mut names: Vec<String> = of("FROM scratch AS ");
        assert_eq!(names.pop().as_deref(), Some("bills"), "what is no image comes last");
        let entries: Vec<String> = of("ENTRYPOINT ");
        let released = BINARIES.map(|(binary, _, name)| (name, format!("[\"/{binary}\"]")));
        let collectors = shipped_collectors();
        let collectors = collectors.iter().map(|tool| (tool.name, format!("[\"{COLLECTOR_ENTRY}\"]")));
        let expected = released.into_iter().chain(collectors);
        assert!(names.iter().map(String::as_str).zip(entries).eq(expected), "{names:?}");
    }

    /// The test's own binary stands for a controller: linked the same way, and it can say something.
    #[test]
    fn an_image_is_complete_without_a_shell_and_the_same_every_time() {
        let binary = std::env::current_exe().unwrap();
        let mut image = Image::of("odigos-test:1", "/odigos-test", &binary).unwrap();
        image.record_libraries().unwrap();
        let archive = image.archive(6).unwrap().bytes;
        assert!(archive == image.archive(6).unwrap().bytes, "the same bytes");
        let files = unpacked(&archive);
        for (path, content) in &files {
            if let Some(digest) = path.strip_prefix("blobs/sha256/") {
                assert_eq!(digest, hex(content));
            }
        }
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
            let content = files[&format!("blobs/sha256/{digest}")].clone();
            assert_eq!(descriptor["size"].as_u64(), Some(content.len() as u64));
            content
        };
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let manifest: Value = serde_json::from_slice(&blob(&index["manifests"][0])).unwrap();
        let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Entrypoint"], json!(["/odigos-test"]));
        let mut layer = Vec::new();
        flate2::read::GzDecoder::new(blob(&manifest["layers"][0]).as_slice()).read_to_end(&mut layer).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", hex(&layer)));
        let inside = unpacked(&layer);
        assert!(inside.keys().all(|path| !path.ends_with("/sh") && !path.contains("/bin/")));
        if Command::new("dpkg-query").arg("--version").output().is_ok() {
            let record = String::from_utf8_lossy(&inside["var/lib/dpkg/status.d/libc6"]).into_owned();
            assert!(record.starts_with("Package: libc6\n") && record.contains("\nVersion: "), "{record}");
            let sums = String::from_utf8_lossy(&inside["var/lib/dpkg/status.d/libc6.md5sums"]).into_owned();
            assert!(sums.contains("libc.so.6") && !sums.contains("/doc/"), "{sums}");
            assert!(inside.contains_key("etc/os-release") && inside.contains_key("usr/share/doc/libc6/copyright"));
            let libc = image.packages.iter().find(|one| one.name == "libc6").unwrap();
            assert!(libc.purl.starts_with("pkg:deb/"), "{libc:?}");
        }

        // Started by its own loader with its own libraries only.
        let directory = tempfile::tempdir().unwrap();
        tar::Archive::new(layer.as_slice()).unpack(directory.path()).unwrap();
        let at = |path: &str| directory.path().join(path.trim_start_matches('/'));
        let loader = image.files.keys().find(|path| path.contains("ld-linux")).unwrap();
        let folders: Vec<String> =
            image.files.keys().filter_map(|path| Some(at(path).parent()?.display().to_string())).collect();
        let output = Command::new(at(loader))
            .args(["--inhibit-cache", "--library-path", &folders.join(":")])
            .arg(at("odigos-test"))
            .arg("--list")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("an_image_is_complete"), "{output:?}");
    }
}
