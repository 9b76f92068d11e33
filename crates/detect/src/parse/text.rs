//! The texts of `/proc/PID`.

use crate::environment::Environment;
use crate::limits;
use std::collections::{BTreeMap, BTreeSet};

fn clipped(raw: &[u8], limit: usize) -> &[u8] {
    raw.get(..limit).unwrap_or(raw)
}

/// `cmdline`: arguments that each end with a zero byte. A process that renamed itself shows one text with spaces; it
/// stays one argument.
#[must_use]
pub fn arguments(raw: &[u8]) -> Vec<String> {
    let raw = clipped(raw, limits::COMMAND_LINE_BYTES);
    let raw = raw.strip_suffix(b"\0").unwrap_or(raw);
    if raw.is_empty() {
        return Vec::new();
    }
    raw.split(|byte| *byte == 0).take(limits::ARGUMENTS).map(|one| String::from_utf8_lossy(one).into_owned()).collect()
}

/// `environ`: `NAME=value` texts that each end with a zero byte. Of a name that stands twice the first counts, as for
/// `getenv`. Only variables that rules read are kept ([`Environment`]); secrets of others are never copied.
#[must_use]
pub fn variables(raw: &[u8]) -> Environment {
    let mut environment = Environment::default();
    for (name, value) in entries(raw).filter(|(name, _)| Environment::is_wanted(name)) {
        environment.insert_first(name, &String::from_utf8_lossy(value));
    }
    environment
}

/// The values of the named variables of `environ`; others are never copied.
#[must_use]
pub fn values(raw: &[u8], names: &[&'static str]) -> BTreeMap<&'static str, String> {
    let mut found = BTreeMap::new();
    for (name, value) in entries(raw) {
        if let Some(name) = names.iter().find(|one| **one == name) {
            found.entry(*name).or_insert_with(|| String::from_utf8_lossy(value).into_owned());
        }
    }
    found
}

fn entries(raw: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    clipped(raw, limits::ENVIRONMENT_BYTES).split(|byte| *byte == 0).filter_map(|one| {
        let (name, value) = one.split_at(memchr::memchr(b'=', one)?);
        let value = value.get(1..).unwrap_or_default();
        (value.len() <= limits::VALUE_BYTES).then_some((std::str::from_utf8(name).ok()?, value))
    })
}

/// `comm`: the name of the main thread.
#[must_use]
pub fn name(raw: &[u8]) -> String {
    String::from_utf8_lossy(clipped(raw, 64)).trim_end().to_owned()
}

/// The target of `exe`, `cwd` or a link in `fd`, without the kernel's mark of a deleted file.
#[must_use]
pub fn link(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(clipped(raw, limits::PATH_BYTES));
    text.strip_suffix(" (deleted)").unwrap_or(&text).to_owned()
}

/// Distinct paths of link targets in `fd`; sockets, pipes and other things without a path are left out.
pub fn files<'a>(targets: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let paths = targets.into_iter().take(limits::FILES * 4).filter(|target| target.first() == Some(&b'/')).map(link);
    let distinct: BTreeSet<String> = paths.take(limits::FILES).collect();
    distinct.into_iter().collect()
}

/// `maps`: distinct files, in the order of their addresses.
#[must_use]
pub fn mapped_files(raw: &[u8]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for line in clipped(raw, limits::MAPS_BYTES).split(|byte| *byte == b'\n') {
        // address, permissions, offset, device, inode; then blanks and the path, in which blanks may stand.
        let Some(start) = memchr::memchr(b'/', line) else { continue };
        // A device such as `fe:00` holds no slash, so the first one begins the path.
        let path = line.get(start..).unwrap_or_default();
        if path.len() > limits::PATH_BYTES || seen.contains(path) {
            continue;
        }
        seen.insert(path);
        found.push(link(path));
        if found.len() >= limits::FILES {
            break;
        }
    }
    found
}

/// Tag of the entry that says whether the kernel runs the process in secure mode (`elf.h`, AT_SECURE).
const AT_SECURE: u64 = 23;
/// Tags in use end far below this; a greater one means that the width of entries was guessed wrongly.
const GREATEST_TAG: u64 = 4096;

/// `auxv`: whether AT_SECURE is set. `None` when the vector is unreadable (empty) or has no such entry. Entries are pairs
/// of native words; processes of 32 bits on a node of 64 have narrow ones.
#[must_use]
pub fn secure_execution(raw: &[u8]) -> Option<bool> {
    let raw = clipped(raw, limits::SMALL_FILE_BYTES);
    entry::<8>(raw, AT_SECURE).or_else(|| entry::<4>(raw, AT_SECURE)).map(|value| value != 0)
}

/// The value of a tag, when every tag up to it is plausible.
fn entry<const WIDTH: usize>(raw: &[u8], wanted: u64) -> Option<u64> {
    let word = |bytes: &[u8]| -> Option<u64> {
        let wide: Option<[u8; 8]> = bytes.try_into().ok();
        let narrow: Option<[u8; 4]> = bytes.try_into().ok();
        wide.map(u64::from_ne_bytes).or_else(|| narrow.map(u32::from_ne_bytes).map(u64::from))
    };
    for pair in raw.chunks_exact(2 * WIDTH) {
        let (tag, value) = pair.split_at(WIDTH);
        match word(tag)? {
            0 => return None,
            tag if tag == wanted => return word(value),
            tag if tag > GREATEST_TAG => return None,
            _ => {}
        }
    }
    None
}

/// What `status` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Number of the parent on the node.
    pub parent: u32,
    /// Number in the innermost PID namespace.
    pub inner_pid: u32,
    /// Real user.
    pub uid: Option<u32>,
    /// Whether it is a thread of the kernel, or already ended and not yet collected.
    pub is_hollow: bool,
}

/// `status`. A process may put anything but a line break into its name, so only whole lines count.
#[must_use]
pub fn status(raw: &[u8]) -> Status {
    let text = String::from_utf8_lossy(clipped(raw, limits::SMALL_FILE_BYTES));
    let mut status = Status::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let mut values = value.split_whitespace();
        match key {
            "Pid" if status.inner_pid == 0 => {
                status.inner_pid = values.next().and_then(|one| one.parse().ok()).unwrap_or_default();
            }
            "PPid" => status.parent = values.next().and_then(|one| one.parse().ok()).unwrap_or_default(),
            "Uid" => status.uid = values.next().and_then(|one| one.parse().ok()),
            "NSpid" => {
                if let Some(inner) = values.next_back().and_then(|one| one.parse().ok()) {
                    status.inner_pid = inner;
                }
            }
            "State" => status.is_hollow |= values.next().is_some_and(|state| matches!(state, "Z" | "X")),
            "Kthread" => status.is_hollow |= values.next() == Some("1"),
            _ => {}
        }
    }
    status
}

/// What `stat` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Number of the parent on the node.
    pub parent: u32,
    /// Start, in clock ticks since boot; together with the number it names a process for good.
    pub started: u64,
}

/// `stat`. The name in it may hold blanks and parentheses; fields are counted from behind the last one.
#[must_use]
pub fn stat(raw: &[u8]) -> Stat {
    let raw = clipped(raw, limits::SMALL_FILE_BYTES);
    let Some(end) = memchr::memrchr(b')', raw) else { return Stat::default() };
    let text = String::from_utf8_lossy(raw.get(end + 1..).unwrap_or_default());
    // Fields behind the name: state is field 3, the parent 4, the start 22.
    let field = |number: usize| text.split_ascii_whitespace().nth(number - 3).and_then(|one| one.parse::<u64>().ok());
    Stat {
        parent: field(4).and_then(|one| u32::try_from(one).ok()).unwrap_or_default(),
        started: field(22).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_split_at_zero_bytes() {
        assert_eq!(arguments(b"java\0-jar\0/app.jar\0"), ["java", "-jar", "/app.jar"]);
        assert_eq!(arguments(b"puma 6.4.2 (tcp://0.0.0.0:3000) [app]"), ["puma 6.4.2 (tcp://0.0.0.0:3000) [app]"]);
        assert_eq!(arguments(b"sh\0-c\0\0"), ["sh", "-c", ""]);
        assert!(arguments(b"").is_empty());
        assert_eq!(arguments(&[0xff, 0, b'a'])[1], "a");
        assert_eq!(arguments(&vec![0; 1 << 20]).len(), limits::ARGUMENTS);
    }

    #[test]
    fn only_wanted_variables_are_kept_and_the_first_counts() {
        let found =
            variables(b"PASSWORD=hunter2\0NODE_VERSION=20.1.0\0NODE_VERSION=8.0.0\0NODE_OPTIONS=a=b\0broken\0=x\0");
        assert_eq!(found.get("NODE_VERSION"), Some("20.1.0"));
        assert_eq!(found.get("NODE_OPTIONS"), Some("a=b"));
        assert_eq!(found.get("PASSWORD"), None);
        let long = [b"NODE_OPTIONS=".as_slice(), &vec![b'x'; limits::VALUE_BYTES + 1]].concat();
        assert_eq!(variables(&long).get("NODE_OPTIONS"), None);
    }

    #[test]
    fn maps_give_distinct_files() {
        let maps = b"55d0-55d1 r--p 00000000 fe:00 247530                     /usr/bin/node\n\
            55d1-55d2 r-xp 00004000 fe:00 247530                     /usr/bin/node\n\
            55d2-55d3 rw-p 00000000 00:00 0 \n\
            564f-5650 rw-p 00000000 00:00 0                          [heap]\n\
            7f00-7f01 r--p 00000000 fe:00 9                          /opt/my app/lib x.so (deleted)\n";
        assert_eq!(mapped_files(maps), ["/usr/bin/node", "/opt/my app/lib x.so"]);
        let many: String = (0..100_000).map(|i| format!("0-1 r--p 0 fe:00 1 /f{i}\n")).collect();
        assert_eq!(mapped_files(many.as_bytes()).len(), limits::FILES);
    }

    #[test]
    fn secure_execution_is_read_in_both_widths() {
        let wide = |pairs: &[(u64, u64)]| -> Vec<u8> {
            pairs.iter().flat_map(|(tag, value)| [tag.to_ne_bytes(), value.to_ne_bytes()].concat()).collect()
        };
        let narrow = |pairs: &[(u32, u32)]| -> Vec<u8> {
            pairs.iter().flat_map(|(tag, value)| [tag.to_ne_bytes(), value.to_ne_bytes()].concat()).collect()
        };
        assert_eq!(secure_execution(&wide(&[(33, 0x7fff_0000_1000), (23, 1), (0, 0)])), Some(true));
        assert_eq!(secure_execution(&wide(&[(33, 0x7fff_0000_1000), (6, 4096), (23, 0), (0, 0)])), Some(false));
        assert_eq!(secure_execution(&narrow(&[(32, 0xf7f0_0000), (33, 0xf7f1_0000), (23, 1), (0, 0)])), Some(true));
        assert_eq!(secure_execution(&wide(&[(6, 4096), (0, 0), (23, 1)])), None);
        assert_eq!(secure_execution(b""), None);
    }

    #[test]
    fn status_and_stat_give_numbers() {
        let raw = b"Name:\tState: Z\nState:\tS (sleeping)\nPid:\t4021\nPPid:\t4000\nUid:\t1000\t1000\t1000\t1000\nNSpid:\t4021\t17\t1\n";
        assert_eq!(status(raw), Status { parent: 4000, inner_pid: 1, uid: Some(1000), is_hollow: false });
        assert!(status(b"State:\tZ (zombie)\n").is_hollow);
        let stat_raw = b"4021 (a) S (b) 1 2) S 4000 1 1 0 -1 4194560 1 0 0 0 1 2 3 4 20 0 1 0 98765 1 2";
        assert_eq!(stat(stat_raw), Stat { parent: 4000, started: 98765 });
        assert_eq!(stat(b"no parenthesis"), Stat::default());
    }

    #[test]
    fn links_lose_the_mark_of_deleted_files() {
        assert_eq!(link(b"/usr/bin/java (deleted)"), "/usr/bin/java");
        let open = files([b"/app/a.jar".as_slice(), b"socket:[1]", b"/app/a.jar", b"anon_inode:[eventpoll]"]);
        assert_eq!(open, ["/app/a.jar"]);
    }
}
