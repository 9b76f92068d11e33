//! Recorded processes, small executables and a view of this machine for the tests of detection.
#![allow(dead_code, clippy::unwrap_used, reason = "every test binary uses a part of it, and only tests do")]

use odigos_detect::{Bytes, Detection, Environment, Look, Process, detect};
use std::collections::BTreeMap;

/// A recorded process: the view, the executable's bytes and files beside it.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    pub process: Process,
    pub executable: Option<Vec<u8>>,
    pub files: BTreeMap<String, String>,
}

impl Look for Recorded {
    fn executable(&self) -> Option<&dyn Bytes> {
        self.executable.as_ref().map(|bytes| bytes as &dyn Bytes)
    }

    fn file(&self, path: &str, limit: usize) -> Option<Vec<u8>> {
        self.files.get(path).map(|text| text.bytes().take(limit).collect())
    }
}

impl Recorded {
    /// A process that runs the executable with the command line (split at blanks); it is number 1 of its container.
    pub fn new(executable: &str, command_line: &str) -> Self {
        let process = Process {
            pid: 1000,
            parent: 999,
            inner_pid: 1,
            uid: Some(1000),
            started: 1,
            executable: executable.into(),
            command_line: command_line.split_whitespace().map(str::to_owned).collect(),
            secure_execution: Some(false),
            ..Process::default()
        };
        Self { process, ..Self::default() }
    }

    pub fn env(mut self, pairs: &[(&str, &str)]) -> Self {
        self.process.environment = Environment::of(pairs.iter().copied());
        self
    }

    pub fn maps(mut self, paths: &[&str]) -> Self {
        self.process.mapped = paths.iter().map(|one| (*one).to_owned()).collect();
        self
    }

    pub fn elf(mut self, elf: &TestElf) -> Self {
        self.executable = Some(elf.bytes());
        self
    }

    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.into(), text.into());
        self
    }

    /// Its place in the container: number on the node, parent, number inside.
    pub fn at(mut self, pid: u32, parent: u32, inner_pid: u32) -> Self {
        (self.process.pid, self.process.parent, self.process.inner_pid) = (pid, parent, inner_pid);
        self.process.started = u64::from(pid);
        self
    }

    pub fn detect(&self) -> Detection {
        detect(&self.process, self)
    }
}

/// A small executable of 64 bits.
#[derive(Clone, Debug, Default)]
pub struct TestElf {
    pub interpreter: Option<&'static str>,
    pub needed: Vec<&'static str>,
    pub sections: Vec<(&'static str, Vec<u8>)>,
}

impl TestElf {
    pub fn glibc(needed: &[&'static str]) -> Self {
        Self { interpreter: Some("/lib64/ld-linux-x86-64.so.2"), needed: needed.to_vec(), sections: Vec::new() }
    }

    pub fn musl() -> Self {
        Self { interpreter: Some("/lib/ld-musl-x86_64.so.1"), ..Self::default() }
    }

    pub fn with(mut self, name: &'static str, content: &[u8]) -> Self {
        self.sections.push((name, content.to_vec()));
        self
    }

    /// With Go's build information.
    pub fn go(version: &str) -> Self {
        let mut content = b"\xff Go buildinf:\x08\x02".to_vec();
        content.extend([0; 16]);
        content.push(u8::try_from(version.len()).unwrap());
        content.extend(version.as_bytes());
        content.push(0);
        Self::default().with(".go.buildinfo", &content)
    }

    pub fn bytes(&self) -> Vec<u8> {
        const BASE: u64 = 0x40_0000;
        let mut body = vec![0_u8; 64 + 3 * 56];
        let mut put = |content: &[u8]| {
            body.resize(body.len().next_multiple_of(16), 0);
            let at = body.len() as u64;
            body.extend(content);
            (at, content.len() as u64)
        };
        let interpreter = self.interpreter.map(|path| put(&[path.as_bytes(), b"\0"].concat()));
        let mut names = vec![0_u8];
        let mut offsets = Vec::new();
        for name in &self.needed {
            offsets.push(names.len() as u64);
            names.extend(name.as_bytes());
            names.push(0);
        }
        let dynamic_names = put(&names);
        let mut entries: Vec<(u64, u64)> = offsets.into_iter().map(|offset| (1, offset)).collect();
        entries.extend([(5, BASE + dynamic_names.0), (0, 0)]);
        let dynamic: Vec<u8> =
            entries.iter().flat_map(|(tag, value)| [tag.to_le_bytes(), value.to_le_bytes()].concat()).collect();
        let dynamic = put(&dynamic);
        let mut all: Vec<(&str, (u64, u64))> = Vec::new();
        for (name, content) in &self.sections {
            all.push((name, put(content)));
        }
        let mut section_names = vec![0_u8];
        let mut headers = vec![[0_u8; 64]];
        all.push((".shstrtab", (0, 0)));
        for (name, range) in &all {
            let mut header = [0_u8; 64];
            header[..4].copy_from_slice(&u32::try_from(section_names.len()).unwrap().to_le_bytes());
            header[4..8].copy_from_slice(&1_u32.to_le_bytes());
            header[24..32].copy_from_slice(&range.0.to_le_bytes());
            header[32..40].copy_from_slice(&range.1.to_le_bytes());
            section_names.extend(name.as_bytes());
            section_names.push(0);
            headers.push(header);
        }
        let place = put(&section_names);
        let last = headers.last_mut().unwrap();
        last[24..32].copy_from_slice(&place.0.to_le_bytes());
        last[32..40].copy_from_slice(&place.1.to_le_bytes());
        let table = put(&headers.concat());
        let length = body.len() as u64;
        let segment = |kind: u32, range: (u64, u64)| {
            let mut header = [0_u8; 56];
            header[..4].copy_from_slice(&kind.to_le_bytes());
            header[4..8].copy_from_slice(&6_u32.to_le_bytes());
            header[8..16].copy_from_slice(&range.0.to_le_bytes());
            header[16..24].copy_from_slice(&(BASE + range.0).to_le_bytes());
            header[32..40].copy_from_slice(&range.1.to_le_bytes());
            header[40..48].copy_from_slice(&range.1.to_le_bytes());
            header
        };
        let segments = [
            segment(1, (0, length)),
            segment(2, dynamic),
            segment(interpreter.map_or(0, |_| 3), interpreter.unwrap_or_default()),
        ];
        body[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\x00");
        body[16..18].copy_from_slice(&3_u16.to_le_bytes());
        body[18..20].copy_from_slice(&62_u16.to_le_bytes());
        body[20..24].copy_from_slice(&1_u32.to_le_bytes());
        body[32..40].copy_from_slice(&64_u64.to_le_bytes());
        body[40..48].copy_from_slice(&table.0.to_le_bytes());
        for (at, value) in [(52, 64), (54, 56), (56, 3), (58, 64), (60, headers.len()), (62, headers.len() - 1)] {
            body[at..at + 2].copy_from_slice(&u16::try_from(value).unwrap().to_le_bytes());
        }
        body[64..64 + 168].copy_from_slice(&segments.concat());
        body
    }
}
