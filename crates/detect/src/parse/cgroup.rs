//! `cgroup` and `mountinfo` of a process → the container that it runs in (`spec/sources-and-instrumentation.md` 4.2).
//!
//! Owns the shapes in which kubelets and container runtimes name control groups: both versions of the kernel's interface, the
//! `cgroupfs` and `systemd` drivers, containerd, CRI-O and Docker. A process may make groups below its own, so only the first
//! container below the first pod of a path counts: nobody can pass for a container of another pod.

use crate::limits;

/// The pod and the container that a process belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Uid of the pod; for static pods the hash of the manifest.
    pub pod: String,
    /// Number of the container, as the container runtime gives it: 64 hexadecimal digits.
    pub container: String,
}

/// Lines of `cgroup` that are looked at: one for each hierarchy.
const LINES: usize = 64;
/// Digits of a container's number.
const CONTAINER_DIGITS: usize = 64;

/// `cgroup`: which container the process belongs to; `None` for processes of the node itself, and where the container
/// runtime does not tell.
#[must_use]
pub fn member(raw: &[u8]) -> Option<Member> {
    let raw = raw.get(..limits::SMALL_FILE_BYTES).unwrap_or(raw);
    raw.split(|byte| *byte == b'\n').take(LINES).find_map(|line| {
        // number:controllers:path; the path may hold colons.
        let mut parts = line.splitn(3, |byte| *byte == b':');
        let path = parts.nth(2)?;
        member_of_path(std::str::from_utf8(path).ok()?)
    })
}

fn member_of_path(path: &str) -> Option<Member> {
    let mut parts = path.split('/');
    while let Some(part) = parts.next() {
        // Old containerd under systemd joined both into one: `kubepods-besteffort-pod<uid>.slice:cri-containerd:<id>`.
        let (slice, rest) = part.split_once(':').map_or((part, None), |(slice, rest)| (slice, Some(rest)));
        let Some(pod) = pod_of(slice) else { continue };
        let container = match rest {
            Some(rest) => container_of(rest.rsplit(':').next().unwrap_or_default()),
            None => container_of(parts.next()?),
        };
        return container.map(|container| Member { pod, container });
    }
    None
}

/// `pod<uid>` or `…-pod<uid>.slice`, where systemd writes underscores for hyphens.
fn pod_of(part: &str) -> Option<String> {
    let uid = match part.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod").map(|(_, uid)| uid).or_else(|| slice.strip_prefix("pod"))?,
        None => part.strip_prefix("pod")?,
    };
    let is_uid = (32..=36).contains(&uid.len())
        && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-' || byte == b'_');
    is_uid.then(|| uid.replace('_', "-"))
}

/// `<id>`, `<runtime>-<id>.scope` or `<runtime>-<id>`. The monitor of a container (`crio-conmon-<id>.scope`) is outside of it.
fn container_of(part: &str) -> Option<String> {
    let name = part.strip_suffix(".scope").unwrap_or(part);
    let (runtime, id) = name.rsplit_once('-').unwrap_or(("", name));
    let is_id = id.len() == CONTAINER_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_id && !runtime.ends_with("conmon")).then(|| id.to_owned())
}

/// `mountinfo`: uid of the pod and name of the container, from the file that the kubelet mounts into every container
/// (`…/pods/<uid>/containers/<name>/<hash>`). The way when control groups do not tell.
#[must_use]
pub fn container_of_mounts(raw: &[u8]) -> Option<(String, String)> {
    let raw = raw.get(..limits::MAPS_BYTES).unwrap_or(raw);
    for line in raw.split(|byte| *byte == b'\n') {
        // number, parent, device, root of the mount in its file system, where it is mounted, …
        let Some(root) = line.split(|byte| *byte == b' ').nth(3) else { continue };
        let Ok(root) = std::str::from_utf8(root) else { continue };
        let parts: Vec<&str> = root.split('/').collect();
        let found = parts.windows(5).find_map(|window| match window {
            ["pods", uid, "containers", name, _hash] if !uid.is_empty() && !name.is_empty() => {
                Some(((*uid).to_owned(), (*name).to_owned()))
            }
            _ => None,
        });
        if found.is_some() {
            return found;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UID: &str = "1f4b6a0e-9b1d-4a57-8a6f-0c1d2e3f4a5b";
    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

    fn found(path: &str) -> Option<(String, String)> {
        member(path.as_bytes()).map(|member| (member.pod, member.container))
    }

    #[test]
    fn every_driver_and_runtime() {
        let under = UID.replace('-', "_");
        let hash = "0123456789abcdef0123456789abcdef";
        let one = Some((UID.to_owned(), ID.to_owned()));
        let cases = [
            (
                "version 2, systemd, containerd",
                format!(
                    "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{under}.slice/cri-containerd-{ID}.scope\n"
                ),
                one.clone(),
            ),
            (
                "version 2, systemd, guaranteed",
                format!("0::/kubepods.slice/kubepods-pod{under}.slice/cri-containerd-{ID}.scope"),
                one.clone(),
            ),
            ("version 2, cgroupfs", format!("0::/kubepods/besteffort/pod{UID}/{ID}"), one.clone()),
            (
                "version 2, CRI-O",
                format!(
                    "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{under}.slice/crio-{ID}.scope"
                ),
                one.clone(),
            ),
            (
                "version 2, CRI-O with a group inside",
                format!("0::/kubepods.slice/kubepods-pod{under}.slice/crio-{ID}.scope/container"),
                one.clone(),
            ),
            (
                "version 2, systemd inside the container",
                format!("0::/kubepods.slice/kubepods-pod{under}.slice/cri-containerd-{ID}.scope/init.scope"),
                one.clone(),
            ),
            (
                "version 2, Docker",
                format!("0::/kubepods.slice/kubepods-pod{under}.slice/docker-{ID}.scope"),
                one.clone(),
            ),
            (
                "version 2, seen from another group namespace",
                format!("0::/../../kubepods-burstable-pod{under}.slice/cri-containerd-{ID}.scope"),
                one.clone(),
            ),
            (
                "version 2, a kubelet inside a container",
                format!(
                    "0::/docker/{OTHER}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{under}.slice/cri-containerd-{ID}.scope"
                ),
                one.clone(),
            ),
            (
                "version 1, cgroupfs",
                format!("12:pids:/kubepods/burstable/pod{UID}/{ID}\n11:memory:/kubepods/burstable/pod{UID}/{ID}\n"),
                one.clone(),
            ),
            (
                "version 1, first line elsewhere",
                format!("13:misc:/\n12:cpu,cpuacct:/kubepods/pod{UID}/{ID}\n0::/\n"),
                one.clone(),
            ),
            (
                "version 1, named hierarchy, systemd",
                format!(
                    "1:name=systemd:/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{under}.slice/docker-{ID}.scope"
                ),
                one.clone(),
            ),
            (
                "version 1, containerd under systemd without its driver",
                format!(
                    "10:cpuset:/system.slice/containerd.service/kubepods-besteffort-pod{under}.slice:cri-containerd:{ID}"
                ),
                one.clone(),
            ),
            ("static pod", format!("0::/kubepods/burstable/pod{hash}/{ID}"), Some((hash.to_owned(), ID.to_owned()))),
            ("Docker inside the pod", format!("0::/kubepods/pod{UID}/{ID}/docker/{OTHER}"), one.clone()),
            (
                "a group made to look like another pod's",
                format!("0::/kubepods/pod{UID}/{ID}/kubepods/pod{hash}/{OTHER}"),
                one,
            ),
            ("monitor of CRI-O", format!("0::/kubepods.slice/kubepods-pod{under}.slice/crio-conmon-{ID}.scope"), None),
            ("the pod itself", format!("0::/kubepods/burstable/pod{UID}"), None),
            ("a container without a pod", format!("0::/docker/{ID}"), None),
            ("the node", "0::/system.slice/kubelet.service".into(), None),
            ("podman", format!("0::/machine.slice/libpod-{ID}.scope"), None),
            ("nothing", String::new(), None),
        ];
        for (name, text, expected) in cases {
            assert_eq!(found(&text), expected, "{name}");
        }
    }

    #[test]
    fn mounts_tell_the_container_too() {
        let line = |root: &str| format!("812 790 0:45 {root} /dev/termination-log rw,relatime - ext4 /dev/vda rw\n");
        let of = |text: &str| container_of_mounts(text.as_bytes());
        let root = format!("/var/lib/kubelet/pods/{UID}/containers/app-2/5e1c0c1e");
        let text = format!("{}{}", line("/"), line(&root));
        assert_eq!(of(&text), Some((UID.to_owned(), "app-2".to_owned())));
        // The kubelet's directory may be a file system of its own.
        assert_eq!(of(&line(&format!("/pods/{UID}/containers/app/5e"))), Some((UID.to_owned(), "app".to_owned())));
        assert_eq!(of(&line(&format!("/var/lib/kubelet/pods/{UID}/volumes/x/y"))), None);
        assert_eq!(of(&line(&format!("/var/lib/kubelet/pods/{UID}/containers/app"))), None);
        assert_eq!(of(""), None);
    }

    proptest! {
        #[test]
        fn anything_is_read(raw in proptest::collection::vec(any::<u8>(), 0..512), text in "[0-9a-f/:.\\-_pod]{0,300}") {
            let _ = (member(&raw), container_of_mounts(&raw), member(text.as_bytes()), container_of_mounts(text.as_bytes()));
        }
    }
}
