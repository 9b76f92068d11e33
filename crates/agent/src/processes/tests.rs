//! A made-up `/proc`, hostile files in it, and real processes of this machine in real control groups.

use super::*;
use odigos_detect::Language;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

const UID: &str = "1f4b6a0e-9b1d-4a57-8a6f-0c1d2e3f4a5b";

fn member(digit: char) -> Member {
    Member { pod: UID.into(), container: digit.to_string().repeat(64) }
}

fn auxv(secure: u64) -> Vec<u8> {
    [(6u64, 4096u64), (23, secure), (0, 0)]
        .iter()
        .flat_map(|(a, b)| [a.to_ne_bytes(), b.to_ne_bytes()].concat())
        .collect()
}

/// A process in a made-up `/proc`.
fn process(root: &Path, pid: u32, group: &str, executable: &str) -> PathBuf {
    let folder = root.join(pid.to_string());
    std::fs::create_dir_all(folder.join("fd")).unwrap();
    std::fs::create_dir_all(folder.join("root")).unwrap();
    let write = |name: &str, text: &[u8]| std::fs::write(folder.join(name), text).unwrap();
    write("cgroup", format!("0::{group}\n").as_bytes());
    write(
        "status",
        format!("Name:\tx\nState:\tS (sleeping)\nPid:\t{pid}\nPPid:\t1\nUid:\t0\t0\t0\t0\nNSpid:\t{pid}\t1\n")
            .as_bytes(),
    );
    write("stat", format!("{pid} (x) S 1 1 1 0 -1 4194560 1 0 0 0 1 2 3 4 20 0 1 0 {pid} 1 2").as_bytes());
    write("comm", b"x\n");
    write("cmdline", format!("{executable}\0").as_bytes());
    write("environ", b"NODE_VERSION=20.17.0\0NODE_OPTIONS=--max-old-space-size=64\0PASSWORD=secret\0");
    write("maps", b"");
    write("mountinfo", b"");
    write("auxv", &auxv(0));
    symlink(executable, folder.join("exe")).unwrap();
    folder
}

fn group(member: &Member) -> String {
    format!("/kubepods/burstable/pod{}/{}", member.pod, member.container)
}

#[test]
fn processes_are_found_by_their_group_and_else_by_their_mounts() {
    let folder = TempDir::new().unwrap();
    let (app, sidecar, other) = (member('a'), member('b'), member('c'));
    process(folder.path(), 101, &group(&app), "/usr/bin/node");
    process(folder.path(), 102, &group(&app), "/usr/bin/node");
    process(folder.path(), 103, &group(&other), "/usr/bin/node");
    let nameless = process(folder.path(), 104, "/", "/usr/bin/python3.11");
    std::fs::write(
        nameless.join("mountinfo"),
        format!("1 2 0:1 /var/lib/kubelet/pods/{UID}/containers/sidecar/5e /dev/termination-log rw - ext4 x rw\n"),
    )
    .unwrap();
    std::fs::create_dir(folder.path().join("sys")).unwrap();
    let processes = Processes { root: folder.path().to_owned() };
    let mut found = processes.of_containers(&BTreeSet::from([app.clone(), sidecar.clone()])).unwrap();
    found.values_mut().for_each(|pids| pids.sort_unstable());
    assert_eq!(found, BTreeMap::from([(app.clone(), vec![101, 102])]));
    let wanted = BTreeMap::from([
        ((UID.to_owned(), "sidecar".to_owned()), sidecar.clone()),
        // Its processes have a group of another container, whatever they mounted.
        ((UID.to_owned(), "app".to_owned()), app),
    ]);
    assert_eq!(processes.by_mounts(&wanted).unwrap(), BTreeMap::from([(sidecar, vec![104])]));
    assert!(Processes { root: folder.path().join("missing") }.of_containers(&BTreeSet::new()).is_err());
}

#[test]
fn a_process_is_seen_without_its_secrets() {
    let folder = TempDir::new().unwrap();
    process(folder.path(), 101, &group(&member('a')), "/usr/bin/node");
    let seen = Processes { root: folder.path().to_owned() }.look_at(&[101, 999]);
    let found = &seen.detections[0];
    assert_eq!(seen.detections.len(), 1, "one of them is gone");
    assert_eq!((found.language, found.version.as_deref()), (Language::Javascript, Some("20.17.0")));
    assert_eq!((found.inner_pid, found.secure_execution), (1, Some(false)));
    assert_eq!(seen.environment.get("NODE_OPTIONS"), Some("--max-old-space-size=64"));
    assert_eq!(seen.denied, None);
    assert!(!format!("{seen:?}").contains("secret"));
}

#[test]
fn pipes_devices_links_and_folders_are_not_read() {
    let folder = TempDir::new().unwrap();
    let one = process(folder.path(), 101, &group(&member('a')), "/usr/bin/node");
    for name in ["environ", "cmdline", "maps"] {
        std::fs::remove_file(one.join(name)).unwrap();
    }
    // Opened as a file, the pipe would wait for a writer and the device would never end.
    assert!(Command::new("mkfifo").arg(one.join("environ")).arg(one.join("root/pipe")).status().unwrap().success());
    symlink("/dev/zero", one.join("cmdline")).unwrap();
    std::fs::create_dir(one.join("maps")).unwrap();
    std::fs::remove_file(one.join("exe")).unwrap();
    symlink("/dev/zero", one.join("exe")).unwrap();
    std::fs::write(folder.path().join("outside"), "outside").unwrap();
    symlink("../../outside", one.join("root/up")).unwrap();
    symlink("/etc/hostname", one.join("root/away")).unwrap();
    std::fs::create_dir(one.join("root/etc")).unwrap();
    std::fs::write(one.join("root/etc/hostname"), "inside").unwrap();
    let begun = Instant::now();
    let processes = Processes { root: folder.path().to_owned() };
    let seen = processes.look_at(&[101]);
    assert_eq!(seen.detections.len(), 1);
    assert_eq!(seen.environment, Environment::default());
    let view = View::of(processes.folder(101).unwrap()).unwrap();
    assert!(view.executable.is_none());
    assert_eq!(view.file("/pipe", 10), None);
    assert_eq!(view.file("/up", 10), None, "above the root there is nothing");
    assert_eq!(view.file("/../../outside", 10), None);
    assert_eq!(view.file("/away", 10).as_deref(), Some(b"inside".as_slice()), "a link stays inside the root");
    assert_eq!(view.file("etc/hostname", 3).as_deref(), Some(b"ins".as_slice()), "no more than asked for");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn whatever_stands_in_the_files_is_survived() {
    let folder = TempDir::new().unwrap();
    let one = process(folder.path(), 101, &group(&member('a')), "/usr/bin/node");
    for seed in 0u8..40 {
        for name in ["cgroup", "stat", "comm", "cmdline", "environ", "maps", "auxv", "mountinfo"] {
            let noise: Vec<u8> =
                (0..4096u32).map(|i| (i.wrapping_mul(2_654_435_761 + u32::from(seed)) >> 13) as u8).collect();
            std::fs::write(one.join(name), noise).unwrap();
        }
        let processes = Processes { root: folder.path().to_owned() };
        assert_eq!(processes.look_at(&[101]).detections.len(), 1);
        assert!(processes.of_containers(&BTreeSet::from([member('a')])).unwrap().is_empty());
    }
}

#[test]
fn of_many_workers_the_first_process_and_the_oldest_are_looked_at() {
    let folder = TempDir::new().unwrap();
    let pids: Vec<u32> = (1000..1200).collect();
    for pid in pids.iter().copied() {
        let one = process(folder.path(), pid, &group(&member('a')), "/usr/bin/node");
        let inner = if pid == 1150 { 1 } else { pid };
        let text = format!("State:\tS (sleeping)\nPid:\t{pid}\nPPid:\t1\nNSpid:\t{pid}\t{inner}\n");
        std::fs::write(one.join("status"), text).unwrap();
    }
    let seen = Processes { root: folder.path().to_owned() }.look_at(&pids);
    let looked: BTreeSet<u32> = seen.detections.iter().map(|one| one.pid).collect();
    assert_eq!(looked.len(), CLOSELY);
    assert!(looked.contains(&1150) && looked.contains(&1000) && !looked.contains(&1199));
}

/// A process and a control group that end with the test.
struct Live {
    child: Child,
    group: PathBuf,
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Groups are removed from the inside out, as far as the test made them.
        let mut group = self.group.as_path();
        for _ in 0..3 {
            let _ = std::fs::remove_dir(group);
            let Some(parent) = group.parent() else { return };
            group = parent;
        }
    }
}

/// Puts a real process into a real group; `None` where this user may not make one.
fn live(hierarchy: &Path, own: &str, path: &str) -> Option<Live> {
    let group = hierarchy.join(own).join(path);
    std::fs::create_dir_all(&group).ok()?;
    let child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
    let live = Live { child, group };
    std::fs::write(live.group.join("cgroup.procs"), live.child.id().to_string()).ok()?;
    Some(live)
}

#[test]
#[allow(clippy::print_stderr, reason = "what could not be tried must be seen")]
fn real_processes_in_real_groups() {
    let own = format!("odigos-test-{}", std::process::id());
    let id = member('d').container;
    let slice = UID.replace('-', "_");
    let cases = [
        ("version 2", "/sys/fs/cgroup", format!("pod{UID}/{id}")),
        (
            "version 2 beside version 1",
            "/sys/fs/cgroup/unified",
            format!("kubepods-pod{slice}.slice/cri-containerd-{id}.scope"),
        ),
        ("version 1", "/sys/fs/cgroup/pids", format!("pod{UID}/{id}")),
    ];
    let mut tried = 0;
    for (name, hierarchy, path) in cases {
        let Some(live) = Path::new(hierarchy)
            .join("cgroup.procs")
            .exists()
            .then(|| live(Path::new(hierarchy), &own, &path))
            .flatten()
        else {
            eprintln!("NOT TRIED: control groups of {name}: they cannot be made here");
            continue;
        };
        tried += 1;
        let processes = Processes { root: "/proc".into() };
        let found = processes.of_containers(&BTreeSet::from([member('d')])).unwrap();
        assert_eq!(found, BTreeMap::from([(member('d'), vec![live.child.id()])]), "{name}");
        let seen = processes.look_at(&[live.child.id()]);
        assert_eq!(seen.detections[0].secure_execution, Some(false), "{name}");
        assert!(seen.detections[0].libc.is_some(), "{name}");
    }
    eprintln!("{tried} kinds of control groups tried");
}
