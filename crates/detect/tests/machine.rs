//! Real processes of this machine: each interpreter that is installed is started, looked at, and ended by its number. One that
//! is not installed is named on standard error; its recorded row in `languages.rs` is then all that ran.
#![allow(
    clippy::print_stderr,
    clippy::expect_used,
    reason = "a missing interpreter must be seen; helpers of tests may fail"
)]

use odigos_detect::container::{ImageEnvironment, decide};
use odigos_detect::{Bytes, Confidence, Detection, Language, Libc, Look, Process, Role, detect, limits, parse};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `/proc/PID` of a process.
struct Live {
    folder: PathBuf,
    executable: Option<Executable>,
}

struct Executable(File);

impl Bytes for Executable {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> usize {
        self.0.read_at(into, offset).unwrap_or_default()
    }
}

impl Look for Live {
    fn executable(&self) -> Option<&dyn Bytes> {
        self.executable.as_ref().map(|file| file as &dyn Bytes)
    }

    fn file(&self, path: &str, limit: usize) -> Option<Vec<u8>> {
        let file = File::open(self.folder.join("root").join(path.trim_start_matches('/'))).ok()?;
        file.metadata().ok()?.is_file().then_some(())?;
        let mut bytes = Vec::new();
        file.take(limit as u64).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
}

impl Live {
    fn of(pid: u32) -> Self {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let executable = File::open(folder.join("exe")).ok().map(Executable);
        Self { folder, executable }
    }

    fn raw(&self, name: &str, limit: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Ok(file) = File::open(self.folder.join(name)) {
            // Reading ends with the process; what was read counts.
            let _ended = file.take(limit as u64).read_to_end(&mut bytes);
        }
        bytes
    }

    fn process(&self, pid: u32) -> Process {
        let status = parse::status(&self.raw("status", limits::SMALL_FILE_BYTES));
        let link = |path: &Path| std::fs::read_link(path).map(|target| target.as_os_str().as_bytes().to_vec());
        let open: Vec<Vec<u8>> = std::fs::read_dir(self.folder.join("fd"))
            .map(|entries| entries.flatten().filter_map(|entry| link(&entry.path()).ok()).collect())
            .unwrap_or_default();
        Process {
            pid,
            parent: status.parent,
            inner_pid: status.inner_pid,
            uid: status.uid,
            started: parse::stat(&self.raw("stat", limits::SMALL_FILE_BYTES)).started,
            executable: link(&self.folder.join("exe")).map(|target| parse::link(&target)).unwrap_or_default(),
            name: parse::name(&self.raw("comm", 64)),
            command_line: parse::arguments(&self.raw("cmdline", limits::COMMAND_LINE_BYTES)),
            environment: parse::variables(&self.raw("environ", limits::ENVIRONMENT_BYTES)),
            mapped: parse::mapped_files(&self.raw("maps", limits::MAPS_BYTES)),
            open: parse::files(open.iter().map(Vec::as_slice)),
            secure_execution: parse::secure_execution(&self.raw("auxv", limits::SMALL_FILE_BYTES)),
        }
    }
}

fn look_at(pid: u32) -> Detection {
    let live = Live::of(pid);
    detect(&live.process(pid), &live)
}

/// A process that ends with the test.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("NOT INSTALLED: {name}; only its recorded rows were tested");
    }
    found
}

fn output(command: &mut Command) -> String {
    let output = command.output().expect("an installed program runs");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Starts a program and looks at it until it is what it becomes; version managers begin as a shell.
fn started(command: &mut Command, is_ready: impl Fn(&Detection) -> bool) -> (Started, Detection) {
    let child =
        Started(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"));
    let begun = Instant::now();
    loop {
        let found = look_at(child.0.id());
        // While a process replaces itself, its auxiliary vector and command line are empty for an instant.
        if (is_ready(&found) && found.secure_execution.is_some()) || begun.elapsed() > Duration::from_secs(30) {
            return (child, found);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn check(found: &Detection, language: Language, confidence: Confidence) {
    assert_eq!(found.language, language, "{found:#?}");
    assert!(found.confidence >= confidence, "{found:#?}");
    assert_eq!(found.secure_execution, Some(false), "{found:#?}");
    assert_eq!(found.role, Role::Application);
}

#[test]
fn python() {
    let Some(program) = installed("python3") else { return };
    let version = output(Command::new(&program).arg("--version"));
    let mut command = Command::new(program);
    command.args(["-c", "import time; time.sleep(120)"]).env("PYTHONPATH", "/app").env_remove("PYTHON_VERSION");
    let (_child, found) = started(&mut command, |found| found.language == Language::Python);
    check(&found, Language::Python, Confidence::Medium);
    let text = found.version.clone().unwrap_or_default();
    assert!(text.contains('.') && version.contains(&text), "{text} in {version}");
    assert_eq!(found.environment.iter().map(|one| one.value.as_str()).collect::<Vec<_>>(), ["/app"]);
    assert!(matches!(found.libc, Some(Libc::Glibc | Libc::Musl)));
}

#[test]
fn node() {
    let Some(program) = installed("node") else { return };
    let version = output(Command::new(&program).arg("--version"));
    let mut command = Command::new(program);
    command.args(["-e", "setInterval(() => {}, 1000)"]).env_remove("NODE_VERSION");
    let (_child, found) = started(&mut command, |found| found.language == Language::Javascript);
    check(&found, Language::Javascript, Confidence::Medium);
    assert_eq!(found.version.as_deref(), Some(version.trim().trim_start_matches('v')), "{found:#?}");
}

#[test]
fn java_with_an_agent_of_another_vendor_in_its_options() {
    let Some(program) = installed("java") else { return };
    let folder = std::env::temp_dir().join(format!("odigos-detect-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let source = folder.join("Waits.java");
    let text = "class Waits { public static void main(String[] a) throws Exception { System.in.read(); } }";
    std::fs::write(&source, text).expect("a source");
    let version = output(Command::new(&program).arg("-version"));
    let mut command = Command::new(program);
    command
        .arg("-Dappdynamics.agent.tierName=x")
        .arg(&source)
        .env_remove("JAVA_VERSION")
        .env("JAVA_TOOL_OPTIONS", "-Dx=1");
    let (child, found) = started(&mut command, |found| found.version.is_some() && !found.other_agents.is_empty());
    check(&found, Language::Java, Confidence::Medium);
    let text = found.version.clone().unwrap_or_default();
    assert!(version.contains(&text), "{text} in {version}");
    assert_eq!(found.other_agents.iter().map(|one| one.name).collect::<Vec<_>>(), ["AppDynamics"]);
    assert!(found.obstacles.is_empty());
    drop(child);
    std::fs::remove_dir_all(&folder).expect("the folder goes");
}

#[test]
fn go() {
    let Some(program) = installed("gofmt").or_else(|| installed("go")?.parent().map(|bin| bin.join("gofmt"))) else {
        return;
    };
    // Without arguments it waits for its input.
    let (_child, found) = started(&mut Command::new(&program), |found| found.language == Language::Go);
    check(&found, Language::Go, Confidence::High);
    let version = installed("go").map(|go| output(Command::new(go).arg("version").arg(&program))).unwrap_or_default();
    let text = found.version.clone().unwrap_or_default();
    assert!(version.contains(&format!("go{text}")), "{text} in {version}");
}

#[test]
fn rust_is_this_test_itself() {
    let found = look_at(std::process::id());
    check(&found, Language::Rust, Confidence::High);
    assert!(found.version.as_ref().is_some_and(|version| version.starts_with("1.")), "{found:#?}");
}

#[test]
fn a_shell_is_a_helper_and_what_it_starts_counts() {
    let Some(shell) = installed("sh") else { return };
    let Some(node) = installed("node") else { return };
    let mut command = Command::new(shell);
    command.arg("-c").arg(format!("{} -e 'process.stdin.resume()'; true", node.display()));
    let (child, found) = started(&mut command, |found| found.role == Role::Helper);
    assert_eq!((found.role, found.language), (Role::Helper, Language::Unknown), "{found:#?}");
    let begun = Instant::now();
    loop {
        let list = format!("/proc/{0}/task/{0}/children", child.0.id());
        let children: Vec<u32> = std::fs::read_to_string(list)
            .unwrap_or_default()
            .split(' ')
            .filter_map(|one| one.trim().parse().ok())
            .collect();
        let detections: Vec<Detection> = [child.0.id()].into_iter().chain(children).map(look_at).collect();
        let container = decide("app", &detections, &ImageEnvironment::NotAsked);
        if container.details.language == "javascript" {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{container:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    // The child ends when its input does; the shell follows.
    let mut child = child;
    drop(child.0.stdin.take());
    child.0.wait().expect("the shell ends");
}

#[test]
fn every_process_of_this_machine_can_be_looked_at() {
    let begun = Instant::now();
    let mut counted = 0;
    for entry in std::fs::read_dir("/proc").expect("proc").flatten() {
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            look_at(pid);
            counted += 1;
        }
    }
    eprintln!("{counted} processes in {:?}", begun.elapsed());
    assert!(counted > 1);
    assert_eq!(look_at(u32::MAX).language, Language::Unknown);
}
