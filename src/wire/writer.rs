//! [`Writer`]: appends the protocol's types to a buffer.
//!
//! Invariant: it never fails. A null where the version allows none goes out as empty, a string above the protocol's
//! 32767 bytes is cut at a character, and what would exceed a limit is left out and remembered. Called by the generated messages, the headers and the Fetch response.

use bytes::{BufMut, Bytes, BytesMut};

use crate::base::ids::Uuid;
use crate::wire::reader::MAX_STRING_BYTES;
use crate::wire::varint;

/// A growing buffer.
#[derive(Debug)]
pub struct Writer {
    buffer: BytesMut,
    /// No text or bytes are appended beyond it.
    limit_bytes: usize,
    overflowed: bool,
}

impl Default for Writer {
    fn default() -> Self {
        Self::append_to(BytesMut::new())
    }
}

impl Writer {
    /// An empty writer that has reserved nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty writer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self::append_to(BytesMut::with_capacity(capacity))
    }

    /// A writer that appends to `buffer`.
    pub fn append_to(buffer: BytesMut) -> Self {
        Self {
            buffer,
            limit_bytes: usize::MAX,
            overflowed: false,
        }
    }

    /// From now on texts and bytes that would make what is written longer than `limit_bytes` are left out: they are what
    /// a message can contain many times while it lies in memory once. Numbers are always written.
    pub fn limit(mut self, limit_bytes: usize) -> Self {
        self.limit_bytes = limit_bytes;
        self
    }

    /// True when something was left out, so that what is written is no message.
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// How many bytes have been written.
    #[inline]
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// True when nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// What has been written, to be shared.
    pub fn freeze(self) -> Bytes {
        self.buffer.freeze()
    }

    /// The buffer, with what has been written.
    pub fn into_buffer(self) -> BytesMut {
        self.buffer
    }

    /// What has been written so far; the writer goes on empty, with what room there is left. Copies nothing.
    pub fn split(&mut self) -> BytesMut {
        self.buffer.split()
    }

    /// Overwrites the four bytes at `position` (which have been written) with a number.
    pub fn patch_i32(&mut self, position: usize, number: i32) {
        if let Some(bytes) = self.buffer.get_mut(position..position.saturating_add(4)) {
            bytes.copy_from_slice(&number.to_be_bytes());
        }
    }

    /// A signed byte.
    #[inline]
    pub fn i8(&mut self, number: i8) {
        self.buffer.put_i8(number);
    }

    /// A boolean.
    #[inline]
    pub fn bool(&mut self, truth: bool) {
        self.buffer.put_u8(truth.into());
    }

    /// A 16-bit number.
    #[inline]
    pub fn i16(&mut self, number: i16) {
        self.buffer.put_i16(number);
    }

    /// An unsigned 16-bit number.
    #[inline]
    pub fn u16(&mut self, number: u16) {
        self.buffer.put_u16(number);
    }

    /// A 32-bit number.
    #[inline]
    pub fn i32(&mut self, number: i32) {
        self.buffer.put_i32(number);
    }

    /// An unsigned 32-bit number.
    #[inline]
    pub fn u32(&mut self, number: u32) {
        self.buffer.put_u32(number);
    }

    /// A 64-bit number.
    #[inline]
    pub fn i64(&mut self, number: i64) {
        self.buffer.put_i64(number);
    }

    /// A double.
    #[inline]
    pub fn f64(&mut self, number: f64) {
        self.buffer.put_f64(number);
    }

    /// A UUID.
    #[inline]
    pub fn uuid(&mut self, id: Uuid) {
        self.buffer.put_slice(&id.0);
    }

    /// Bytes as they are, with no length before them.
    pub fn raw(&mut self, bytes: &[u8]) {
        if self.buffer.len().saturating_add(bytes.len()) > self.limit_bytes {
            self.overflowed = true;
            return;
        }
        self.buffer.put_slice(bytes);
    }

    /// An unsigned number of variable length.
    #[inline]
    pub fn unsigned_varint(&mut self, number: u32) {
        varint::write(number.into(), |byte| self.buffer.put_u8(byte));
    }

    /// A length or count: compact (one more, 0 for null) when `flexible`, else 4 bytes (−1 for null).
    pub fn length(&mut self, flexible: bool, length: Option<usize>) {
        let length = length.map(|length| i32::try_from(length).unwrap_or(i32::MAX));
        match (flexible, length) {
            (true, None) => self.unsigned_varint(0),
            (true, Some(length)) => self.unsigned_varint((length as u32).saturating_add(1)),
            (false, None) => self.i32(-1),
            (false, Some(length)) => self.i32(length),
        }
    }

    /// A string.
    pub fn text(&mut self, flexible: bool, text: &str) {
        let cut = text
            .get(..text.floor_char_boundary(MAX_STRING_BYTES))
            .unwrap_or_default();
        if flexible {
            self.unsigned_varint(cut.len() as u32 + 1);
        } else {
            self.i16(cut.len() as i16);
        }
        self.raw(cut.as_bytes());
    }

    /// A string, or null; null goes out as empty unless `nullable`.
    pub fn nullable_text(&mut self, flexible: bool, nullable: bool, text: Option<&str>) {
        match text {
            None if nullable && flexible => self.unsigned_varint(0),
            None if nullable => self.i16(-1),
            text => self.text(flexible, text.unwrap_or_default()),
        }
    }

    /// Bytes or records.
    pub fn bytes(&mut self, flexible: bool, bytes: &[u8]) {
        self.length(flexible, Some(bytes.len()));
        self.raw(bytes);
    }

    /// Bytes or records, or null; null goes out as empty unless `nullable`.
    pub fn nullable_bytes(&mut self, flexible: bool, nullable: bool, bytes: Option<&[u8]>) {
        match bytes {
            None if nullable => self.length(flexible, None),
            bytes => self.bytes(flexible, bytes.unwrap_or_default()),
        }
    }

    /// An array of what `element` writes.
    pub fn array<T>(&mut self, flexible: bool, array: &[T], mut element: impl FnMut(&mut Self, &T)) {
        self.length(flexible, Some(array.len()));
        for item in array {
            element(self, item);
        }
    }

    /// An array, or null; null goes out as empty unless `nullable`.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        nullable: bool,
        array: Option<&[T]>,
        element: impl FnMut(&mut Self, &T),
    ) {
        match array {
            None if nullable => self.length(flexible, None),
            array => self.array(flexible, array.unwrap_or_default(), element),
        }
    }

    /// Ends a structure of a flexible version that has no tagged field to send.
    #[inline]
    pub fn no_tagged_fields(&mut self) {
        self.buffer.put_u8(0);
    }

    /// Ends a structure of a flexible version.
    pub fn tagged_fields(&mut self, fields: &TaggedFieldsWriter) {
        self.unsigned_varint(fields.count);
        self.raw(&fields.written.buffer);
    }
}

/// Collects the tagged fields of a structure, which are counted and measured before they go out.
#[derive(Debug, Default)]
pub struct TaggedFieldsWriter {
    count: u32,
    written: Writer,
}

impl TaggedFieldsWriter {
    /// No field yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what `value` writes under `tag`; tags come in rising order.
    pub fn add(&mut self, tag: u32, value: impl FnOnce(&mut Writer)) {
        let mut field = Writer::new();
        value(&mut field);
        self.count += 1;
        self.written.unsigned_varint(tag);
        self.written
            .unsigned_varint(u32::try_from(field.len()).unwrap_or(u32::MAX));
        self.written.raw(&field.buffer);
    }
}
