//! What an executable's headers say: loader, libraries, where its parts are.
//!
//! Headers are read in pieces through a [`Window`], so an executable of any size costs a few kilobytes; shapes come from
//! the `object` crate. Anything malformed is left out.

use super::window::Window;
use crate::limits;
use object::elf::{
    DT_NEEDED, DT_NULL, DT_STRTAB, FileHeader32, FileHeader64, PF_W, PT_DYNAMIC, PT_INTERP, PT_LOAD, SHT_NOBITS,
};
use object::endian::{Endian, Endianness};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader};

/// A named part of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its name, e.g. `.rodata`.
    pub name: String,
    /// Offset and length in the file.
    pub range: (u64, u64),
}

/// A part of the file that is loaded into memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it is loaded.
    pub address: u64,
    /// Offset and length in the file.
    pub range: (u64, u64),
    /// Whether the process may write there.
    pub is_writable: bool,
}

/// An executable's headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elf {
    /// Words of 64 bits, else 32.
    pub is_64: bool,
    /// Least significant byte first.
    pub is_little_endian: bool,
    /// The dynamic loader (PT_INTERP); `None` for static executables.
    pub interpreter: Option<String>,
    /// Libraries that it asks for (DT_NEEDED).
    pub needed: Vec<String>,
    /// Sections with content.
    pub sections: Vec<Section>,
    /// Loaded segments.
    pub segments: Vec<Segment>,
}

impl Elf {
    /// Reads the headers; `None` when it is no ELF file.
    #[must_use]
    pub fn read(window: &mut Window<'_>) -> Option<Self> {
        let head = window.read(0, 64);
        match (head.get(..4)? == b"\x7fELF", *head.get(4)?) {
            (true, 1) => read::<FileHeader32<Endianness>>(window, &head),
            (true, 2) => read::<FileHeader64<Endianness>>(window, &head),
            _ => None,
        }
    }

    /// The section of that name.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// The offset in the file of what is loaded at `address`.
    #[must_use]
    pub fn offset(&self, address: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let inside = address.checked_sub(segment.address).filter(|inside| *inside < segment.range.1)?;
            segment.range.0.checked_add(inside)
        })
    }

    /// Whether a symbol's name holds the text.
    #[must_use]
    pub fn has_symbol(&self, window: &mut Window<'_>, text: &str) -> bool {
        let tables = [".dynstr", ".strtab"].into_iter().filter_map(|name| self.section(name));
        tables.into_iter().any(|table| window.find(table.range, text.as_bytes(), 0, |_| Some(())).is_some())
    }
}

fn read<E: FileHeader<Endian = Endianness>>(window: &mut Window<'_>, head: &[u8]) -> Option<Elf> {
    let (header, _) = object::pod::from_bytes::<E>(head).ok()?;
    let endian = Endianness::from_big_endian(header.is_big_endian())?;
    let mut elf = Elf { is_64: header.is_type_64(), is_little_endian: header.is_little_endian(), ..Elf::default() };
    read_segments(window, header, endian, &mut elf);
    read_sections(window, header, endian, &mut elf);
    Some(elf)
}

/// A table of at most [`limits::HEADERS`] entries of the shape `T`.
fn table<T: object::pod::Pod>(window: &mut Window<'_>, offset: u64, count: usize) -> Vec<u8> {
    let size = std::mem::size_of::<T>();
    let mut bytes = window.read(offset, size * count.min(limits::HEADERS));
    bytes.truncate(bytes.len() / size * size);
    bytes
}

fn read_segments<E: FileHeader<Endian = Endianness>>(
    window: &mut Window<'_>,
    header: &E,
    endian: Endianness,
    elf: &mut Elf,
) {
    let count = usize::from(header.e_phnum(endian));
    let bytes = table::<E::ProgramHeader>(window, header.e_phoff(endian).into(), count);
    let headers = object::pod::slice_from_all_bytes::<E::ProgramHeader>(&bytes).unwrap_or_default();
    let mut dynamic = None;
    for one in headers {
        let range: (u64, u64) = (one.p_offset(endian).into(), one.p_filesz(endian).into());
        match one.p_type(endian) {
            PT_LOAD => elf.segments.push(Segment {
                address: one.p_vaddr(endian).into(),
                range,
                is_writable: one.p_flags(endian) & PF_W != 0,
            }),
            PT_INTERP => elf.interpreter = window.text(range.0, limits::EVIDENCE_BYTES),
            PT_DYNAMIC => dynamic = Some(range),
            _ => {}
        }
    }
    if let Some(range) = dynamic {
        read_needed::<E>(window, range, endian, elf);
    }
}

fn read_needed<E: FileHeader<Endian = Endianness>>(
    window: &mut Window<'_>,
    range: (u64, u64),
    endian: Endianness,
    elf: &mut Elf,
) {
    let count = usize::try_from(range.1).unwrap_or(usize::MAX) / std::mem::size_of::<E::Dyn>();
    let bytes = table::<E::Dyn>(window, range.0, count);
    let entries = object::pod::slice_from_all_bytes::<E::Dyn>(&bytes).unwrap_or_default();
    let entries = || entries.iter().take_while(|one| one.tag(endian) != DT_NULL);
    let Some(names) = entries().find(|one| one.tag(endian) == DT_STRTAB).and_then(|one| elf.offset(one.val(endian)))
    else {
        return;
    };
    let needed: Vec<String> = entries()
        .filter(|one| one.tag(endian) == DT_NEEDED)
        .take(limits::LIBRARIES)
        .filter_map(|one| window.text(names.checked_add(one.val(endian))?, limits::EVIDENCE_BYTES))
        .collect();
    elf.needed = needed;
}

fn read_sections<E: FileHeader<Endian = Endianness>>(
    window: &mut Window<'_>,
    header: &E,
    endian: Endianness,
    elf: &mut Elf,
) {
    let count = usize::from(header.e_shnum(endian));
    let bytes = table::<E::SectionHeader>(window, header.e_shoff(endian).into(), count);
    let headers = object::pod::slice_from_all_bytes::<E::SectionHeader>(&bytes).unwrap_or_default();
    let Some(names) = headers.get(usize::from(header.e_shstrndx(endian))) else { return };
    let names_length = usize::try_from(names.sh_size(endian).into()).unwrap_or(usize::MAX);
    let names = window.read(names.sh_offset(endian).into(), names_length);
    for one in headers.iter().filter(|one| one.sh_type(endian) != SHT_NOBITS) {
        let name = names.get(one.sh_name(endian) as usize..).unwrap_or_default();
        let end = memchr::memchr(0, name.get(..limits::EVIDENCE_BYTES).unwrap_or(name)).unwrap_or_default();
        let name = String::from_utf8_lossy(name.get(..end).unwrap_or_default()).into_owned();
        if !name.is_empty() {
            let range = (one.sh_offset(endian).into(), one.sh_size(endian).into());
            elf.sections.push(Section { name, range });
        }
    }
}
