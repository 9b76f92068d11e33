//! Where a value stands in a document, and what is said there.
//!
//! Owns paths and the number of remarks. A path is written out only where something is said: copied for each node, a long key over a long list
//! would take hours and all memory.

use super::{Remark, joined};

/// Most remarks on one document.
const MOST_REMARKS: usize = 1_000;
/// Most bytes of a path.
const LONGEST: usize = 1_000;

/// A value in its document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Item(usize),
}

impl<'a> Place<'a> {
    /// The document as a whole.
    pub(super) const ROOT: Self = Self { parent: None, step: Step::Root };

    /// The value of a key of it.
    pub(super) const fn key(&'a self, key: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Key(key) }
    }

    /// An item of it.
    pub(super) const fn item(&'a self, number: usize) -> Self {
        Self { parent: Some(self), step: Step::Item(number) }
    }

    /// As a dotted path; a long one is cut.
    pub(super) fn path(&self) -> String {
        let mut steps = Vec::new();
        let mut place = Some(self);
        while let Some(one) = place {
            steps.push(one.step);
            place = one.parent;
        }
        let mut path = String::new();
        for step in steps.into_iter().rev() {
            match step {
                Step::Root => {}
                Step::Key(key) => path = joined(&path, cut(key, LONGEST)),
                Step::Item(number) => path.push_str(&format!("[{number}]")),
            }
            if path.len() > LONGEST {
                return format!("{}…", cut(&path, LONGEST));
            }
        }
        path
    }
}

/// The beginning of a text.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Says something of a place, unless enough was said.
pub(super) fn remark(remarks: &mut Vec<Remark>, line: usize, place: &Place<'_>, message: &str) {
    if remarks.len() < MOST_REMARKS {
        remarks.push(Remark { line, path: place.path(), message: message.to_owned() });
    }
}
