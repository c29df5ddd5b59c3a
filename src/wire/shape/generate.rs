//! Makes frames out of the table of shapes: valid ones, and ones with a single wrong length. For tests of the codec,
//! and as seeds for fuzzers.
//!
//! Invariant: what [`body`] makes passes [`check`](super::check()) with its whole length.

use super::{Kind, Struct, table};
use crate::wire::api_key::ApiKey;
use crate::wire::writer::{TaggedFieldsWriter, Writer};

/// Where a frame's contents come from.
pub enum Contents<'a> {
    /// Every field is there, tagged ones too, every array has two elements, nothing is null, and no two numbers or
    /// strings are alike. Decoding this and encoding it again gives the same bytes.
    Full,
    /// Nulls, empty and longer arrays, extreme numbers and unknown tagged fields, as a source of numbers decides.
    Random(&'a mut dyn FnMut() -> u64),
}

/// The body of a request or response of `key` in `version`. `None` for an API without messages, or without this
/// version.
pub fn body(key: ApiKey, version: i16, is_request: bool, contents: Contents<'_>) -> Option<Vec<u8>> {
    make(key, version, is_request, contents, None).map(|(bytes, _)| bytes)
}

/// A full body whose length or count number `index` is `length` in place of its own, and whether null is allowed
/// there. Where it is, a `length` of −1 is a valid null; else the contents follow as if nothing were wrong. `None`
/// when there are no more than `index` lengths.
pub fn with_length(
    key: ApiKey,
    version: i16,
    is_request: bool,
    index: usize,
    length: i32,
) -> Option<(Vec<u8>, bool)> {
    let wrong = Wrong {
        index,
        length,
        nullable: None,
    };
    let (bytes, wrong) = make(key, version, is_request, Contents::Full, Some(wrong))?;
    Some((bytes, wrong?.nullable?))
}

fn make(
    key: ApiKey,
    version: i16,
    is_request: bool,
    contents: Contents<'_>,
    wrong: Option<Wrong>,
) -> Option<(Vec<u8>, Option<Wrong>)> {
    let body = table::shape(key, is_request)?;
    if !key.stable_versions().contains(&version) {
        return None;
    }
    let flexible = key.is_flexible(version);
    let mut maker = Maker {
        contents,
        version,
        flexible,
        counter: 0,
        depth: 0,
        lengths: 0,
        wrong,
    };
    let mut w = Writer::new();
    maker.structure(&mut w, body);
    Some((w.freeze().to_vec(), maker.wrong))
}

struct Wrong {
    index: usize,
    length: i32,
    nullable: Option<bool>,
}

struct Maker<'a> {
    contents: Contents<'a>,
    version: i16,
    flexible: bool,
    counter: u64,
    depth: u32,
    lengths: usize,
    wrong: Option<Wrong>,
}

impl Maker<'_> {
    /// A random choice below `bound`; `full` when nothing is left to chance.
    fn choose(&mut self, bound: u64, full: u64) -> u64 {
        match &mut self.contents {
            Contents::Full => full,
            Contents::Random(next) => next().checked_rem(bound).unwrap_or(0),
        }
    }

    fn number(&mut self) -> u64 {
        self.counter += 1;
        match self.choose(4, 0) {
            0 => self.counter,
            1 => self.choose(u64::MAX, 0),
            2 => u64::MAX,
            _ => 0,
        }
    }

    /// Writes a length. False when the contents must not follow.
    fn length(&mut self, w: &mut Writer, short: bool, nullable: bool, length: Option<usize>) -> bool {
        let mut length = length.map_or(-1, |length| i32::try_from(length).unwrap_or(i32::MAX));
        if let Some(wrong) = &mut self.wrong
            && wrong.index == self.lengths
        {
            wrong.nullable = Some(nullable);
            length = wrong.length;
        }
        self.lengths += 1;
        if self.flexible {
            w.unsigned_varint((length as u32).wrapping_add(1));
        } else if short {
            w.i16(i16::try_from(length).unwrap_or(i16::MAX));
        } else {
            w.i32(length);
        }
        length >= 0 || !nullable
    }

    fn structure(&mut self, w: &mut Writer, structure: &'static Struct) {
        self.depth += 1;
        for field in structure.fields {
            if field.tag < 0 && field.is_in(self.version) {
                self.kind(w, &field.kind, field.is_nullable_in(self.version));
            }
        }
        if self.flexible {
            self.tagged_fields(w, structure);
        }
        self.depth -= 1;
    }

    fn tagged_fields(&mut self, w: &mut Writer, structure: &'static Struct) {
        let is_known = |tag: i8| tag >= 0;
        let mut known: Vec<_> = structure
            .fields
            .iter()
            .filter(|field| is_known(field.tag))
            .collect();
        known.sort_by_key(|field| field.tag);
        let mut fields = TaggedFieldsWriter::new();
        for field in known {
            if field.is_in(self.version) && self.choose(2, 1) == 1 {
                let tag = u32::try_from(field.tag).unwrap_or(0);
                fields.add(tag, |w| {
                    self.kind(w, &field.kind, field.is_nullable_in(self.version))
                });
            }
        }
        if self.choose(8, 1) == 0 {
            let tag = 100 + self.choose(1 << 20, 0) as u32;
            let length = self.choose(20, 0) as usize;
            fields.add(tag, |w| w.raw(&vec![0xa5; length]));
        }
        w.tagged_fields(&fields);
    }

    fn kind(&mut self, w: &mut Writer, kind: &'static Kind, nullable: bool) {
        let null = nullable && self.choose(4, 1) == 0;
        match kind {
            Kind::Bool => {
                let truth = self.choose(2, 1) == 1;
                w.bool(truth);
            }
            Kind::Fixed(size) => self.fixed(w, usize::from(*size)),
            Kind::Text => {
                let text = format!("text-{}", self.number());
                let length = self.choose(text.len() as u64 + 1, text.len() as u64) as usize;
                let text = text.get(..length).unwrap_or_default();
                if self.length(w, true, nullable, (!null).then_some(length)) {
                    w.raw(text.as_bytes());
                }
            }
            Kind::Bytes | Kind::Records => {
                let number = self.number();
                let length = self.choose(300, 3) as usize;
                if self.length(w, false, nullable, (!null).then_some(length)) {
                    w.raw(&vec![number as u8; length]);
                }
            }
            Kind::Array(element) => {
                let most = if self.depth > 1 { 4 } else { 12 };
                let count = self.choose(most, 2) as usize;
                if self.length(w, false, nullable, (!null).then_some(count)) {
                    for _ in 0..count {
                        self.kind(w, element, false);
                    }
                }
            }
            Kind::Struct(_) if null => w.i8(-1),
            Kind::Struct(structure) => {
                if nullable {
                    w.i8(1);
                }
                self.structure(w, structure);
            }
        }
    }

    fn fixed(&mut self, w: &mut Writer, size: usize) {
        let number = self.number();
        let bytes = [[0; 8], number.to_be_bytes()].concat();
        w.raw(bytes.get(16usize.saturating_sub(size)..).unwrap_or_default());
    }
}
