//! Other people's processes: whatever they write, nothing panics, results stay small, and work is bounded.

mod support;

use odigos_detect::container::{ImageEnvironment, condition, decide};
use odigos_detect::merge::{Fresh, merged};
use odigos_detect::parse::{self, Window, elf::Elf, go::BuildInformation};
use odigos_detect::{Bytes, Detection, Look, Process, detect, limits};
use proptest::prelude::*;
use std::cell::Cell;
use support::{Recorded, TestElf};

/// Everything read from raw bytes, as the node agent would do it.
struct Raw {
    bytes: Vec<u8>,
}

impl Look for Raw {
    fn executable(&self) -> Option<&dyn Bytes> {
        Some(&self.bytes)
    }

    fn file(&self, _: &str, limit: usize) -> Option<Vec<u8>> {
        Some(self.bytes.iter().copied().take(limit).collect())
    }
}

fn process_of(bytes: &[u8]) -> Process {
    let status = parse::status(bytes);
    let stat = parse::stat(bytes);
    Process {
        pid: stat.parent.wrapping_add(1),
        parent: status.parent,
        inner_pid: status.inner_pid,
        uid: status.uid,
        started: stat.started,
        executable: parse::link(bytes),
        name: parse::name(bytes),
        command_line: parse::arguments(bytes),
        environment: parse::variables(bytes),
        mapped: parse::mapped_files(bytes),
        open: parse::files(bytes.split(|byte| *byte == b' ')),
        secure_execution: parse::secure_execution(bytes),
    }
}

fn check(found: &Detection) {
    assert!(found.evidence.len() <= limits::EVIDENCE);
    assert!(found.evidence.iter().all(|one| one.seen.len() <= limits::EVIDENCE_BYTES + "…".len()));
    assert!(found.evidence.iter().all(|one| !one.seen.contains(char::is_control)));
    assert!(found.version.as_ref().is_none_or(|version| version.len() <= limits::VERSION_BYTES));
    assert!(found.environment.iter().all(|one| one.value.len() <= limits::VALUE_BYTES * 3));
}

/// Bytes in which words of the formats are frequent, so that readers get beyond their first line.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just(b"\x7fELF\x02\x01\x01\x00".to_vec()),
        Just(b"\x7fELF\x01\x02\x01\x00".to_vec()),
        Just(b"\xff Go buildinf:\x08\x02".to_vec()),
        Just(b"JAVA_TOOL_OPTIONS=-javaagent:/var/odigos/x".to_vec()),
        Just(b"PYTHONPATH=/var/odigos:".to_vec()),
        Just(b"\0".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"/usr/bin/python3.".to_vec()),
        Just(b"/usr/lib/php/8".to_vec()),
        Just(b"/usr/lib/jvm/lib/server/libjvm.so".to_vec()),
        Just(b"libruby.so.".to_vec()),
        Just(b"jdk1.".to_vec()),
        Just(b"NSpid:\t".to_vec()),
        Just(b") S ".to_vec()),
        Just(b"node-v18.".to_vec()),
        Just("é…🦀".as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..24),
        "[0-9. ]{0,9}".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(word, 0..24).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_without_panic(bytes in bytes()) {
        let process = process_of(&bytes);
        let found = detect(&process, &Raw { bytes });
        check(&found);
        let container = decide("c", &[found.clone(), found], &ImageEnvironment::Failed("x".repeat(9999)));
        prop_assert!(container.evidence.len() <= limits::EVIDENCE);
        prop_assert!(!condition(std::slice::from_ref(&container)).reason.is_empty());
        let fresh = [Fresh { details: container.details.clone(), is_other_image: false, is_image_hidden: false }];
        prop_assert_eq!(merged(&[], &fresh, &["c".into()]), [container.details]);
    }

    #[test]
    fn a_damaged_executable_is_read_without_panic(
        at in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in any::<prop::sample::Index>(),
    ) {
        let whole = TestElf::glibc(&["libpython3.11.so.1.0", "libc.so.6"])
            .with(".go.buildinfo", b"\xff Go buildinf:\x08\x00\x10\x00\x40\x00\x00\x00\x00\x00\x20\x00\x40\x00\x00\x00\x00\x00")
            .with(".comment", b"rustc version 1.80.1")
            .with(".rodata", b"X-Powered-By: PHP/8.2.1 /node-v1.2.3-")
            .bytes();
        let mut bytes = whole;
        for (index, value) in at {
            let place = index.index(bytes.len());
            bytes[place] = value;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        for program in ["/usr/bin/php", "/usr/bin/node", "/app/x"] {
            let mut recorded = Recorded::new(program, "x");
            recorded.executable = Some(bytes.clone());
            check(&recorded.detect());
        }
    }

    #[test]
    fn any_tree_of_processes_ends(links in proptest::collection::vec((0_u32..12, 0_u32..12, 0_u32..4), 0..40)) {
        let detections: Vec<Detection> = links
            .into_iter()
            .map(|(pid, parent, inner)| Recorded::new("/usr/bin/java", "java").at(pid, parent, inner).detect())
            .collect();
        let found = decide("c", &detections, &ImageEnvironment::NotAsked);
        prop_assert_eq!(found.details.language == "java", !detections.is_empty());
    }
}

/// An executable of any size that claims to have tables everywhere, and counts what is read of it.
struct Greedy {
    head: Vec<u8>,
    filler: u8,
    read: Cell<u64>,
}

impl Bytes for Greedy {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> usize {
        into.fill(self.filler);
        self.head.as_slice().read_at(offset, into);
        self.read.set(self.read.get() + into.len() as u64);
        into.len()
    }
}

impl Look for Greedy {
    fn executable(&self) -> Option<&dyn Bytes> {
        Some(self)
    }

    fn file(&self, _: &str, limit: usize) -> Option<Vec<u8>> {
        Some(vec![b'1'; limit])
    }
}

#[test]
fn an_endless_executable_costs_no_more_than_its_allowance() {
    for filler in [0, 1, 3, b'_', 0xff] {
        for class in [1, 2] {
            for program in ["/usr/bin/node", "/usr/bin/php", "/app/x"] {
                let mut head = TestElf::glibc(&["libc.so.6"]).with(".rodata", b"x").with(".strtab", b"x").bytes();
                head[4] = class;
                // Most headers, and sections and segments of enormous size.
                head[56..58].fill(0xff);
                head[60..62].fill(0xff);
                let greedy = Greedy { head, filler, read: Cell::new(0) };
                let process = Process { executable: program.into(), ..Process::default() };
                check(&detect(&process, &greedy));
                let read = greedy.read.get();
                assert!(read <= limits::EXECUTABLE_BYTES, "{read} bytes read");
            }
        }
    }
}

#[test]
fn a_section_of_enormous_size_ends_with_the_allowance() {
    let mut bytes = TestElf::glibc(&[]).with(".rodata", b"rodata").bytes();
    let elf = Elf::read(&mut Window::new(&bytes)).unwrap();
    let (offset, length) = elf.section(".rodata").unwrap().range;
    // The header of that section holds this offset and length; its length becomes the greatest there is.
    let pair = [offset.to_le_bytes(), length.to_le_bytes()].concat();
    let at = bytes.windows(16).position(|window| window == pair).unwrap();
    bytes[at + 8..at + 16].fill(0xff);
    let greedy = Greedy { head: bytes, filler: b'.', read: Cell::new(0) };
    let mut window = Window::new(&greedy);
    let elf = Elf::read(&mut window).unwrap();
    assert_eq!(elf.section(".rodata").unwrap().range.1, u64::MAX);
    assert!(BuildInformation::read(&mut window, &elf).is_none());
    let process = Process { executable: "/usr/bin/node".into(), ..Process::default() };
    assert_eq!(detect(&process, &greedy).version, None);
    assert!(greedy.read.get() > limits::EXECUTABLE_BYTES / 2, "the search did run");
    assert!(greedy.read.get() <= 2 * limits::EXECUTABLE_BYTES);
}

#[test]
fn great_texts_are_cut() {
    let many = b"A".repeat(8 << 20);
    assert!(parse::arguments(&many)[0].len() <= limits::COMMAND_LINE_BYTES);
    assert_eq!(parse::arguments(&b"a\0".repeat(1 << 20)).len(), limits::ARGUMENTS);
    assert!(parse::link(&many).len() <= limits::PATH_BYTES);
    assert!(parse::name(&many).len() <= 64);
    assert!(parse::mapped_files(&b"/\n".repeat(1 << 20)).len() == 1);
    let processes: Vec<Detection> =
        (1..=5000).map(|pid| Recorded::new("/usr/bin/java", "java").at(pid, pid - 1, pid).detect()).collect();
    assert_eq!(decide("c", &processes, &ImageEnvironment::NotAsked).details.language, "java");
}
