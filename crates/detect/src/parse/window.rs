//! A bounded window on an executable: pieces of it, and searches through it that hold only one piece at a time.

use crate::limits::{EXECUTABLE_BYTES, PIECE_BYTES};
use crate::process::Bytes;
use memchr::memmem::Finder;
use std::fmt;

/// Reads an executable and counts what it read; when the allowance is used up, every further read comes back empty.
pub struct Window<'a> {
    bytes: &'a dyn Bytes,
    left: u64,
}

impl fmt::Debug for Window<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window").field("left", &self.left).finish_non_exhaustive()
    }
}

impl<'a> Window<'a> {
    /// A window with the full allowance.
    #[must_use]
    pub fn new(bytes: &'a dyn Bytes) -> Self {
        Self { bytes, left: EXECUTABLE_BYTES }
    }

    /// Up to `length` bytes from `offset` on, at most one piece; fewer at the end.
    pub(crate) fn read(&mut self, offset: u64, length: usize) -> Vec<u8> {
        let length = length.min(PIECE_BYTES).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let mut piece = vec![0; length];
        let mut filled = 0;
        while let Some(rest) = piece.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let Some(from) = offset.checked_add(filled as u64) else { break };
            match self.bytes.read_at(from, rest).min(rest.len()) {
                0 => break,
                some => filled += some,
            }
        }
        piece.truncate(filled);
        self.left = self.left.saturating_sub(filled as u64);
        piece
    }

    /// Exactly `length` bytes, or nothing.
    pub(crate) fn exactly(&mut self, offset: u64, length: usize) -> Option<Vec<u8>> {
        let piece = self.read(offset, length);
        (piece.len() == length).then_some(piece)
    }

    /// The text up to a zero byte, of at most `limit` bytes.
    pub(crate) fn text(&mut self, offset: u64, limit: usize) -> Option<String> {
        let piece = self.read(offset, limit);
        let end = memchr::memchr(0, &piece)?;
        Some(String::from_utf8_lossy(piece.get(..end)?).into_owned())
    }

    /// Calls `accept` with what begins at every place of `needle` in the range, `behind` bytes of it beyond the needle (fewer
    /// at the end of the range), until it returns something.
    pub(crate) fn find<T>(
        &mut self,
        range: (u64, u64),
        needle: &[u8],
        behind: usize,
        mut accept: impl FnMut(&[u8]) -> Option<T>,
    ) -> Option<T> {
        let finder = Finder::new(needle);
        let keep = needle.len() + behind;
        let (mut offset, end) = (range.0, range.0.saturating_add(range.1));
        while offset < end && keep < PIECE_BYTES {
            let wanted = usize::try_from(end - offset).unwrap_or(usize::MAX).min(PIECE_BYTES);
            let piece = self.read(offset, wanted);
            let is_last = piece.len() < wanted || offset.saturating_add(piece.len() as u64) >= end;
            // What begins in the last `keep` bytes is looked at again with the next piece, where it is whole.
            let sure = if is_last { piece.len() } else { piece.len().saturating_sub(keep) };
            for start in finder.find_iter(&piece).take_while(|start| *start < sure) {
                let stop = start.saturating_add(keep).min(piece.len());
                if let Some(found) = piece.get(start..stop).and_then(&mut accept) {
                    return Some(found);
                }
            }
            if is_last || piece.len() <= keep {
                return None;
            }
            offset += (piece.len() - keep) as u64;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_needle_across_pieces_is_found_whole() {
        for place in [0, 5, PIECE_BYTES - 20, PIECE_BYTES - 8, PIECE_BYTES - 1, PIECE_BYTES + 3, 2 * PIECE_BYTES] {
            let mut bytes = vec![b'.'; 3 * PIECE_BYTES];
            bytes[place..place + 9].copy_from_slice(b"needle-42");
            let mut window = Window::new(&bytes);
            let found = window.find((0, bytes.len() as u64), b"needle", 3, |at| Some(at.to_vec()));
            assert_eq!(found.as_deref(), Some(b"needle-42".as_slice()), "{place}");
        }
    }

    #[test]
    fn reading_ends_with_the_allowance() {
        struct Endless;
        impl Bytes for Endless {
            fn read_at(&self, _: u64, into: &mut [u8]) -> usize {
                into.fill(b'x');
                into.len()
            }
        }
        let mut window = Window::new(&Endless);
        assert_eq!(window.find((0, u64::MAX), b"needle", 16, |_| Some(())), None);
        assert!(window.read(0, 16).len() <= 16);
        assert!(window.left < PIECE_BYTES as u64, "{window:?}");
    }
}
