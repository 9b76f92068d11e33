//! Go's build information inside an executable (Go's `debug/buildinfo`): toolchain and modules.
//!
//! Since Go 1.18 the texts stand behind the header; before, the header holds addresses of Go strings.

use super::elf::Elf;
use super::window::Window;

const MAGIC: &[u8] = b"\xff Go buildinf:";
/// Length of the header with its two addresses, and where inline texts begin.
const HEADER_BYTES: usize = 32;
/// How much of the data segment is searched when there is no section of its own.
const DATA_BYTES: u64 = 4 << 20;
/// Bytes of the list of modules that are read.
const MODULES_BYTES: usize = 128 << 10;

/// What the toolchain wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildInformation {
    /// Version of the toolchain as it names itself, e.g. `go1.22.3`.
    pub toolchain: String,
    /// Paths of the modules that are linked in.
    pub modules: Vec<String>,
}

impl BuildInformation {
    /// Finds it; `None` when the executable is not built by Go or the information was removed.
    #[must_use]
    pub fn read(window: &mut Window<'_>, elf: &Elf) -> Option<Self> {
        let section = elf.section(".go.buildinfo").map(|section| section.range);
        // Every build has the section; only where the table of sections was cut off the data itself is searched.
        let data = elf.segments.iter().find(|segment| segment.is_writable && elf.sections.is_empty());
        let data = data.map(|segment| segment.range);
        let ranges = section.into_iter().chain(data.map(|(offset, length)| (offset, length.min(DATA_BYTES))));
        for (offset, length) in ranges {
            // The header stands at a multiple of 16; a copy of the magic in a table of strings does not.
            let mut at = None;
            let mut seen = offset;
            while at.is_none() && seen < offset.saturating_add(length) {
                let rest = usize::try_from(offset.saturating_add(length) - seen).unwrap_or(usize::MAX);
                let piece = window.read(seen, rest.min(64 << 10));
                let found = memchr::memmem::find_iter(&piece, MAGIC).find(|start| start % 16 == 0);
                at = found.map(|start| seen + start as u64);
                if piece.len() < 64 << 10 {
                    break;
                }
                seen += (64 << 10) - 16; // a multiple of 16, so that places keep theirs
            }
            if let Some(information) = at.and_then(|at| read(window, elf, at)) {
                return Some(information);
            }
        }
        None
    }
}

fn read(window: &mut Window<'_>, elf: &Elf, at: u64) -> Option<BuildInformation> {
    let header = window.exactly(at, HEADER_BYTES)?;
    let (width, flags) = (usize::from(*header.get(14)?), *header.get(15)?);
    let (toolchain, modules) = if flags & 2 != 0 {
        let bytes = window.read(at + HEADER_BYTES as u64, MODULES_BYTES);
        let (toolchain, rest) = inline_text(&bytes)?;
        (toolchain.to_vec(), inline_text(rest).map(|(text, _)| text.to_vec()).unwrap_or_default())
    } else {
        let strings = Strings { width, is_big_endian: flags & 1 != 0 };
        let toolchain = strings.at(window, elf, header.get(16..)?)?;
        let modules = strings.at(window, elf, header.get(16 + width..)?).unwrap_or_default();
        (toolchain, modules)
    };
    let toolchain = String::from_utf8(toolchain).ok()?;
    let is_version = toolchain.starts_with("go") || toolchain.starts_with("devel");
    is_version.then(|| BuildInformation { toolchain, modules: module_paths(&modules) })
}

/// A text behind its length as a varint; cut where the bytes end.
fn inline_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length: usize = 0;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let rest = bytes.get(index + 1..)?;
            return Some(rest.split_at(length.min(rest.len())));
        }
    }
    None
}

/// Go strings in memory: an address and a length, each one word.
struct Strings {
    width: usize,
    is_big_endian: bool,
}

impl Strings {
    fn word(&self, bytes: &[u8]) -> Option<u64> {
        let bytes = bytes.get(..self.width)?;
        let add = |sum: u64, byte: &u8| (sum << 8) | u64::from(*byte);
        match (self.width, self.is_big_endian) {
            (4 | 8, true) => Some(bytes.iter().fold(0, add)),
            (4 | 8, false) => Some(bytes.iter().rev().fold(0, add)),
            _ => None,
        }
    }

    fn at(&self, window: &mut Window<'_>, elf: &Elf, pointer: &[u8]) -> Option<Vec<u8>> {
        let header = window.exactly(elf.offset(self.word(pointer)?)?, 2 * self.width)?;
        let (address, length) = (self.word(&header)?, self.word(header.get(self.width..)?)?);
        let length = usize::try_from(length).ok().filter(|length| *length <= MODULES_BYTES)?;
        window.exactly(elf.offset(address)?, length)
    }
}

/// Paths of the lines `dep<TAB>path<TAB>version…` (and of the main module).
fn module_paths(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let paths = text.lines().filter_map(|line| {
        let mut parts = line.split('\t');
        // Sixteen bytes of a mark stand before the first line, which is never one of these.
        matches!(parts.next(), Some("mod" | "dep")).then(|| parts.next()).flatten()
    });
    paths.take(crate::limits::FILES).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::elf::{Section, Segment};

    fn elf(length: u64) -> Elf {
        Elf {
            is_64: true,
            is_little_endian: true,
            sections: vec![Section { name: ".go.buildinfo".into(), range: (0, length) }],
            segments: vec![Segment { address: 0x40_0000, range: (0, length), is_writable: true }],
            ..Elf::default()
        }
    }

    #[test]
    fn texts_behind_the_header() {
        let mut bytes = vec![0; 48];
        bytes[1..15].copy_from_slice(b"\xff Go buildinf:"); // not at a multiple of 16: no header
        bytes[32..46].copy_from_slice(MAGIC);
        bytes[46..48].copy_from_slice(&[8, 2]);
        bytes.extend([0; 16]);
        bytes.extend(b"\x08go1.22.3");
        let modules =
            "0123456789abcdef\npath\tshop\nmod\tshop\t(devel)\t\ndep\tgo.opentelemetry.io/otel\tv1.28.0\th1:x\n";
        bytes.push(modules.len() as u8);
        bytes.extend(modules.as_bytes());
        let found = BuildInformation::read(&mut Window::new(&bytes), &elf(bytes.len() as u64)).unwrap();
        assert_eq!(found.toolchain, "go1.22.3");
        assert_eq!(found.modules, ["shop", "go.opentelemetry.io/otel"]);
        let cut = bytes[..60].to_vec();
        assert_eq!(BuildInformation::read(&mut Window::new(&cut), &elf(60)), None);
    }

    #[test]
    fn addresses_of_strings_before_go_1_18() {
        let mut bytes = vec![0; 128];
        bytes[..14].copy_from_slice(MAGIC);
        bytes[14] = 8;
        bytes[16..24].copy_from_slice(&0x40_0040_u64.to_le_bytes());
        bytes[64..72].copy_from_slice(&0x40_0060_u64.to_le_bytes());
        bytes[72..80].copy_from_slice(&8_u64.to_le_bytes());
        bytes[96..104].copy_from_slice(b"go1.16.5");
        let found = BuildInformation::read(&mut Window::new(&bytes), &elf(128)).unwrap();
        assert_eq!((found.toolchain.as_str(), found.modules.len()), ("go1.16.5", 0));
        bytes[72..80].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(BuildInformation::read(&mut Window::new(&bytes), &elf(128)), None);
    }
}
