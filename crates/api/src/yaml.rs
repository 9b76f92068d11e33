//! The one reader of YAML and JSON that users write: manifests, and YAML inside of settings.
//!
//! Owns documents, byte order marks, merge keys, YAML 1.1 scalars, aliases and duplicate keys, all as kubectl reads them, so that what is
//! shown is what would be applied. Never knows what an object means, and never puts a value into an error: it may be a secret.

mod build;
mod json;
mod place;
mod scalar;

#[cfg(test)]
mod tests;

use serde_json::Value;
use std::borrow::Cow;

/// Larger texts than this are rejected before they are parsed, in bytes.
pub const TEXT_LIMIT: usize = 64 * 1024 * 1024;
/// Documents of one text, at most.
const DOCUMENT_LIMIT: usize = if cfg!(test) { 2_000 } else { 100_000 };
/// Values of one document, at most: each takes much more memory than text.
const NODE_LIMIT: usize = if cfg!(test) { 200_000 } else { 5_000_000 };

/// What is said of a key that a mapping holds twice.
const TWICE: &str = "the key is set twice; the last value counts, remove the other";

/// One document of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Which document of the text, counted from 1; documents without content do not count.
    pub number: usize,
    /// Line of the text in which it begins, counted from 1.
    pub line: usize,
    /// What it holds, with merge keys applied and aliases replaced.
    pub value: Value,
    /// What is accepted, but probably not meant.
    pub remarks: Vec<Remark>,
}

/// Something in a document that is accepted as kubectl accepts it, but is probably not meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remark {
    /// Line of the text, counted from 1.
    pub line: usize,
    /// The field as a dotted path; empty for the document as a whole.
    pub path: String,
    /// What is so, and what to do.
    pub message: String,
}

/// A text, or a document of it, that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("document {document}, line {line}: {message}")]
pub struct ReadError {
    /// Which document, counted from 1.
    pub document: usize,
    /// Line of the text, counted from 1.
    pub line: usize,
    /// What is wrong, without any value of the text.
    pub message: String,
}

/// A line of a text and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Problem {
    line: usize,
    message: String,
}

/// Bytes of a file as text: UTF-8, or UTF-16 with a byte order mark; the mark is removed.
///
/// # Errors
/// What the bytes are instead, and how to save them.
pub fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, String> {
    let utf16 = |unit: fn([u8; 2]) -> u16, bytes: &[u8]| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let text: Result<String, _> = char::decode_utf16(pairs.iter().map(|pair| unit(*pair))).collect();
        match text {
            Ok(text) if rest.is_empty() => Ok(Cow::Owned(text)),
            _ => Err("it begins with the mark of UTF-16 but is not UTF-16; save it as UTF-8".to_owned()),
        }
    };
    match bytes {
        [0xFF, 0xFE, rest @ ..] => utf16(u16::from_le_bytes, rest),
        [0xFE, 0xFF, rest @ ..] => utf16(u16::from_be_bytes, rest),
        [0xEF, 0xBB, 0xBF, rest @ ..] => utf8(rest),
        _ => utf8(bytes),
    }
}

fn utf8(bytes: &[u8]) -> Result<Cow<'_, str>, String> {
    std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|error| {
        format!("it is not UTF-8 (byte {}); save it as UTF-8, or as UTF-16 with a byte order mark", error.valid_up_to())
    })
}

/// Reads every document of a text. A document that cannot be read is an error in its place; the others are read all the same.
///
/// Documents are separated by lines of `---`; a document that begins with a brace may be a stream of JSON values. Documents without content
/// (comments, `null`) are left out.
#[must_use]
pub fn documents(text: &str) -> Vec<Result<Document, ReadError>> {
    if text.len() > TEXT_LIMIT {
        let message = format!("the text is larger than {TEXT_LIMIT} bytes; split it");
        return vec![Err(ReadError { document: 1, line: 1, message })];
    }
    let mut found = Vec::new();
    for (start, chunk) in chunks(text) {
        let number = found.len() + 1;
        if number > DOCUMENT_LIMIT {
            found.push(Err(too_many_documents(start)));
            break;
        }
        let fail =
            |problem: Problem| ReadError { document: number, line: start + problem.line - 1, message: problem.message };
        let chunk = match chunk {
            Ok(chunk) => chunk.trim_start_matches('\u{feff}'),
            Err(problem) => {
                found.push(Err(fail(problem)));
                continue;
            }
        };
        if is_blank(chunk) {
            continue;
        }
        if let Some(values) = json::stream(chunk) {
            found.extend(
                values
                    .into_iter()
                    .enumerate()
                    .map(|(position, one)| Ok(Document { number: number + position, ..one }.moved(start - 1))),
            );
            if found.len() > DOCUMENT_LIMIT {
                found.truncate(DOCUMENT_LIMIT);
                found.push(Err(too_many_documents(start)));
                break;
            }
            continue;
        }
        match build::document(chunk) {
            Ok(None) => {}
            Ok(Some(one)) => found.push(Ok(Document { number, ..one }.moved(start - 1))),
            Err(problem) => found.push(Err(fail(problem))),
        }
    }
    found
}

/// Reads a text of one document, as settings are written. A text without content is `null`.
///
/// # Errors
/// The line and what is wrong there; a second document is wrong too.
pub fn value(text: &str) -> Result<Document, ReadError> {
    let mut all = documents(text).into_iter();
    let first = all.next().unwrap_or(Ok(Document { number: 1, line: 1, value: Value::Null, remarks: Vec::new() }))?;
    match all.next() {
        None => Ok(first),
        Some(Err(error)) => Err(error),
        Some(Ok(second)) => Err(ReadError {
            document: second.number,
            line: second.line,
            message: "only one document is read here; remove the line of --- and what follows".into(),
        }),
    }
}

impl Document {
    /// The same document, `lines` further down in the text.
    fn moved(mut self, lines: usize) -> Self {
        self.line += lines;
        self.remarks.iter_mut().for_each(|remark| remark.line += lines);
        self
    }
}

/// The parts between lines of `---`, each with the number of its first line; blank ones are left out.
fn chunks(text: &str) -> Vec<(usize, Result<&str, Problem>)> {
    let mut found = Vec::new();
    let (mut begin, mut begin_line, mut offset) = (0, 1, 0);
    for (position, line) in text.split_inclusive('\n').enumerate() {
        let end = offset + line.len();
        if let Some(rest) = line.strip_prefix("---") {
            if !is_blank(&text[begin..offset]) {
                found.push((begin_line, Ok(&text[begin..offset])));
            }
            if found.len() > DOCUMENT_LIMIT {
                return found;
            }
            let rest = rest.trim();
            if !rest.is_empty() && !rest.starts_with('#') {
                let message =
                    "nothing may stand behind --- but a comment; begin the document in the next line".to_owned();
                found.push((position + 1, Err(Problem { line: 1, message })));
            }
            (begin, begin_line) = (end, position + 2);
        }
        offset = end;
    }
    found.push((begin_line, Ok(&text[begin..])));
    found
}

/// Whether a part of a text holds blanks and comments only.
fn is_blank(chunk: &str) -> bool {
    chunk.split(['\n', '\r']).map(str::trim).all(|line| line.is_empty() || line.starts_with('#'))
}

fn too_many_documents(line: usize) -> ReadError {
    let message = format!("more than {DOCUMENT_LIMIT} documents; split the text");
    ReadError { document: DOCUMENT_LIMIT + 1, line, message }
}

/// What is said of a document with more values than are read.
fn too_many_nodes() -> String {
    format!("more than {NODE_LIMIT} values; split it")
}

/// A dotted path with one more key; keys that hold dots or blanks stand in brackets.
fn joined(path: &str, key: &str) -> String {
    let is_plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    match (path.is_empty(), is_plain) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{key}]"),
    }
}
