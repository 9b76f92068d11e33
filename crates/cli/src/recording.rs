//! Recorded traces from a file: one JSON object a line as the collector's file exporter writes it, and what people make of it.
//!
//! Owns the forms that a recording may have: lines, pretty-printed objects, arrays of objects (`jq -s`), compressed with
//! gzip, with byte order marks. What cannot be read is refused with what to do. Never decides about traces, and never holds
//! more than one object of the recording, or one array, in memory.

use anyhow::{Context, bail};
use flate2::read::MultiGzDecoder;
use odigos_plan::sampling::otlp_json::Document;
use odigos_plan::sampling::span::Span;
use odigos_plan::world::BeforeSampling;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::marker::PhantomData;
use std::path::Path;
use std::rc::Rc;

/// How to record what can be read; ends every message about a recording that cannot.
const HOW_TO_RECORD: &str =
    "record traces with the collector's file exporter (format json, no compression) or a Destination of type file";

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What was read, beside the spans.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// Spans that belong to a trace.
    pub(crate) spans: u64,
    /// Spans whose trace id is empty or zero.
    pub(crate) without_trace: u64,
    /// Objects that hold no spans but something else.
    pub(crate) foreign: u64,
    form: Option<&'static str>,
}

impl Summary {
    /// What people should know of a recording that has spans, a sentence each.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if let (true, Some(form)) = (self.foreign > 0, self.form) {
            remarks
                .push(format!("{} objects of the recording are not counted, the first one since {form}", self.foreign));
        }
        if self.without_trace > 0 {
            remarks.push(format!(
                "{} spans without a trace id are not counted: no sampler can decide about them by trace",
                self.without_trace
            ));
        }
        remarks
    }
}

/// Where reading has got to, in bytes of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Position(Rc<Cell<u64>>);

impl Position {
    /// Bytes of the file that were read so far; of a compressed file, compressed ones.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.get()
    }
}

struct Counting<R> {
    inner: R,
    position: Position,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.position.0.set(self.position.bytes() + length as u64);
        Ok(length)
    }
}

/// Reads a recording; `each` takes a span, as Actions in front of the sampler leave it, and the bytes that it takes in the recording,
/// uncompressed.
///
/// # Errors
/// When the file cannot be read, is in another form, or holds no span at all.
pub(crate) fn read(
    path: &Path,
    before: &BeforeSampling<'_>,
    position: &Position,
    each: &mut dyn FnMut(&Span, u64),
) -> anyhow::Result<Summary> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("failed to open {shown}"))?;
    let counting = Counting { inner: file, position: position.clone() };
    let summary =
        read_from(counting, before, each).with_context(|| format!("failed to read recorded traces of {shown}"))?;
    if summary.spans == 0 {
        let form = summary.form.unwrap_or("no object of it has resourceSpans with spans that have a trace id");
        bail!("{shown} holds no spans: {form}. To try rules, {HOW_TO_RECORD}");
    }
    Ok(summary)
}

fn read_from(
    mut file: impl Read,
    before: &BeforeSampling<'_>,
    each: &mut dyn FnMut(&Span, u64),
) -> anyhow::Result<Summary> {
    let (start, length) = first_bytes(&mut file)?;
    let start = &start[..length];
    match start {
        [0x1f, 0x8b, ..] => {
            let chained = Cursor::new(start.to_vec()).chain(file);
            let mut plain = MultiGzDecoder::new(BufReader::new(chained));
            let (start, length) = first_bytes(&mut plain).context("failed to decompress it with gzip")?;
            read_plain(&start[..length], plain, before, each)
        }
        start => read_plain(start, file, before, each),
    }
}

/// Up to four bytes, fewer only where there are no more.
fn first_bytes(reader: &mut impl Read) -> std::io::Result<([u8; 4], usize)> {
    let mut start = Vec::new();
    reader.take(4).read_to_end(&mut start)?;
    let mut bytes = [0; 4];
    bytes[..start.len()].copy_from_slice(&start);
    Ok((bytes, start.len()))
}

fn read_plain(
    start: &[u8],
    rest: impl Read,
    before: &BeforeSampling<'_>,
    each: &mut dyn FnMut(&Span, u64),
) -> anyhow::Result<Summary> {
    match start {
        [0x28, 0xb5, 0x2f, 0xfd] => bail!("it is compressed with zstd: decompress it first (zstd -d)"),
        [0x1f, 0x8b, ..] => bail!("it is compressed twice: decompress it first"),
        [b'P', b'K', ..] => bail!("it is a zip archive: unpack it first"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => bail!("it is UTF-16: convert it to UTF-8 first (iconv -t UTF-8)"),
        // Protobuf and compressed blocks begin with their length, in four bytes.
        [0, ..] => bail!("it is no JSON but binary; {HOW_TO_RECORD}"),
        _ => {}
    }
    let start = start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(start);
    let reader = Cursor::new(start.to_vec()).chain(BufReader::with_capacity(1 << 20, rest));
    Reading { summary: Summary::default(), before, each }.lines(reader)
}

/// One recording under way.
struct Reading<'a> {
    summary: Summary,
    before: &'a BeforeSampling<'a>,
    each: &'a mut dyn FnMut(&Span, u64),
}

impl Reading<'_> {
    /// Reads line by line, which is fastest, until a line is no whole object; from there on objects may have any form.
    fn lines<R: BufRead>(mut self, mut reader: R) -> anyhow::Result<Summary> {
        let (mut line, mut number) = (Vec::new(), 0_usize);
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line).with_context(|| format!("line {}", number + 1))? == 0 {
                return Ok(self.summary);
            }
            number += 1;
            let text = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line).trim_ascii();
            if text.is_empty() {
                continue;
            }
            match serde_json::from_slice::<Document<'_>>(text) {
                Ok(document) => self.take(document, line.len() as u64).with_context(|| format!("line {number}"))?,
                Err(_) => {
                    let from_here = Cursor::new(text.to_vec()).chain(Cursor::new(b"\n")).chain(reader);
                    return self.objects(from_here, number);
                }
            }
        }
    }

    /// Reads objects and arrays of objects of any layout; `line` is the number of the first line.
    fn objects(mut self, reader: impl Read, line: usize) -> anyhow::Result<Summary> {
        let reader = BufReader::new(reader);
        let mut stream = serde_json::Deserializer::from_reader(reader).into_iter::<Documents<'static>>();
        let mut before = 0;
        while let Some(next) = stream.next() {
            let end = stream.byte_offset();
            let documents = next.map_err(|error| {
                let at = line + error.line().saturating_sub(1);
                let text = error.to_string();
                let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
                anyhow::anyhow!("line {at} is not the expected JSON: {text}; {HOW_TO_RECORD}")
            })?;
            let share = (end - before) as u64 / (documents.0.len() as u64).max(1);
            before = end;
            for (position, document) in documents.0.into_iter().enumerate() {
                self.take(document, share).with_context(|| format!("object {} from line {line} on", position + 1))?;
            }
        }
        Ok(self.summary)
    }

    fn take(&mut self, document: Document<'_>, bytes: u64) -> anyhow::Result<()> {
        let foreign = document.foreign();
        let found = document.into_spans(self.before)?;
        if let (true, Some(form)) = (found.spans.is_empty(), foreign) {
            self.summary.foreign += 1;
            self.summary.form.get_or_insert(form);
        }
        self.summary.without_trace += found.without_trace as u64;
        self.summary.spans += found.spans.len() as u64;
        // The bytes of an object are shared out among its spans.
        let share = bytes / (found.spans.len() as u64).max(1);
        found.spans.iter().for_each(|span| (self.each)(span, share));
        Ok(())
    }
}

/// An object, or those of an array.
struct Documents<'a>(Vec<Document<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Documents<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either(PhantomData))
    }
}

struct Either<'a>(PhantomData<Documents<'a>>);

impl<'de: 'a, 'a> Visitor<'de> for Either<'a> {
    type Value = Documents<'a>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object with resourceSpans, or an array of such objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Documents<'a>, A::Error> {
        let document = Document::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Documents(vec![document]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Documents<'a>, A::Error> {
        let mut all = Vec::new();
        while let Some(document) = list.next_element()? {
            all.push(document);
        }
        Ok(Documents(all))
    }
}
