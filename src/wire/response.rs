//! [`Response`]: what goes back to a client, as a list of parts, and the [`Frame`] that it becomes on the wire.
//!
//! Invariant: the length of a response is known when it is made, and its parts yield exactly as many bytes. The first
//! part begins with room for size and header, so that framing neither copies nor adds a part. Made by the handlers
//! in api/, written out by net/connection.

use std::fmt;
use std::io;

use bytes::{Bytes, BytesMut};

use crate::base::disk::FileSlice;
use crate::wire::api_key::ApiKey;
use crate::wire::message::Message;
use crate::wire::writer::Writer;

/// Room for the frame's size and the correlation id.
const PREFIX_BYTES: usize = 8;
/// What is reserved at first; most answers are shorter.
const INITIAL_BYTES: usize = 256;
/// What a response may have besides records, at most: as much as all groups of one partition of the offsets topic may hold.
/// A request of a few bytes can ask for any number of them.
pub const RESPONSE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Yields a number of bytes that was promised before they exist, as down-conversion does.
pub trait ChunkSource: Send {
    /// How many bytes come in all; the same at every call.
    fn length(&self) -> usize;

    /// The next bytes. `None` after the last ones; by then [`ChunkSource::length`] bytes have come.
    fn next(&mut self) -> io::Result<Option<Bytes>>;

    /// What it holds in memory before the first bytes are asked for, or has to make room for once they are.
    fn held(&self) -> usize;
}

/// A stretch of a response.
pub enum Part {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A range of a file, sent without being read where the connection allows it.
    File(FileSlice),
    /// Bytes that are made while they are sent.
    Chunks(Box<dyn ChunkSource>),
}

impl Part {
    /// How many bytes the part has.
    pub fn length(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::File(slice) => slice.length,
            Self::Chunks(source) => source.length(),
        }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Bytes(_) => "Bytes",
            Self::File(_) => "File",
            Self::Chunks(_) => "Chunks",
        };
        write!(f, "{kind}({})", self.length())
    }
}

/// A response body, not yet bound to a correlation id.
#[derive(Debug)]
pub struct Response {
    key: ApiKey,
    first: BytesMut,
    rest: Vec<Part>,
    length: usize,
    bytes_held: usize,
    is_too_large: bool,
}

/// A response as it goes out: size, header and body.
#[derive(Debug)]
pub struct Frame {
    /// The beginning, with size and header; small answers have nothing else.
    pub first: BytesMut,
    /// What follows it, in order.
    pub rest: Vec<Part>,
    /// Bytes in all, the four of the size included.
    pub length: usize,
}

impl Response {
    /// The response that `message` is in `version`.
    pub fn encode<M: Message>(message: &M, version: i16) -> Self {
        let mut writer = ResponseWriter::new(M::KEY, version, INITIAL_BYTES);
        message.encode(writer.bytes(), version);
        writer.finish()
    }

    /// How many bytes the response has on the wire, size and header included.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The API that it is of.
    pub fn key(&self) -> ApiKey {
        self.key
    }

    /// True for what no frame can hold, or would take more than [`RESPONSE_BYTES_MAX`]: nothing is left of it, and the
    /// connection is to be closed instead.
    pub fn is_too_large(&self) -> bool {
        self.is_too_large
    }

    /// What the response holds in memory until it is sent, in bytes; files hold nothing.
    pub fn bytes_held(&self) -> usize {
        self.bytes_held
    }

    /// The response to the request with this correlation id. Not to be asked of one that is too large.
    pub fn frame(self, correlation_id: i32) -> Frame {
        let size = i32::try_from(self.length.saturating_sub(4)).unwrap_or(i32::MAX);
        let mut first = Writer::append_to(self.first);
        first.patch_i32(0, size);
        first.patch_i32(4, correlation_id);
        Frame {
            first: first.into_buffer(),
            rest: self.rest,
            length: self.length,
        }
    }
}

impl Frame {
    /// The whole frame in memory, files read: for tests, and for requests that a broker sends to itself. Blocks.
    pub fn read(self) -> io::Result<Bytes> {
        let mut whole = BytesMut::with_capacity(self.length);
        whole.extend_from_slice(&self.first);
        for part in self.rest {
            match part {
                Part::Bytes(bytes) => whole.extend_from_slice(&bytes),
                Part::File(slice) => {
                    let read = slice.read()?;
                    if read.len() != slice.length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    whole.extend_from_slice(&read);
                }
                Part::Chunks(mut source) => {
                    while let Some(bytes) = source.next()? {
                        whole.extend_from_slice(&bytes);
                    }
                }
            }
        }
        Ok(whole.freeze())
    }
}

/// Builds a response of several parts.
#[derive(Debug)]
pub struct ResponseWriter {
    key: ApiKey,
    writer: Writer,
    first: Option<BytesMut>,
    rest: Vec<Part>,
    length: usize,
    /// Of the length, what came through the writer.
    written: usize,
}

impl ResponseWriter {
    /// Begins a response of `key` in `version`, with room for `capacity` bytes.
    pub fn new(key: ApiKey, version: i16, capacity: usize) -> Self {
        let mut writer = Writer::with_capacity(capacity.max(PREFIX_BYTES + 1)).limit(RESPONSE_BYTES_MAX);
        writer.i64(0);
        if key.response_header_version(version) >= 1 {
            writer.no_tagged_fields();
        }
        Self {
            key,
            writer,
            first: None,
            rest: Vec::new(),
            length: 0,
            written: 0,
        }
    }

    /// Where bytes are appended.
    pub fn bytes(&mut self) -> &mut Writer {
        &mut self.writer
    }

    /// Appends a part. An empty one is left out.
    pub fn part(&mut self, part: Part) {
        let length = part.length();
        if length == 0 {
            return;
        }
        self.close_bytes();
        self.length = self.length.saturating_add(length);
        self.rest.push(part);
    }

    fn close_bytes(&mut self) {
        self.written = self.written.saturating_add(self.writer.len());
        if self.first.is_none() {
            let written = self.writer.split();
            self.length = written.len();
            self.first = Some(written);
        } else if !self.writer.is_empty() {
            let bytes = self.writer.split().freeze();
            self.length = self.length.saturating_add(bytes.len());
            self.rest.push(Part::Bytes(bytes));
        }
    }

    /// Ends the response.
    pub fn finish(mut self) -> Response {
        let mut overflowed = self.writer.overflowed();
        if self.first.is_none() {
            // Nothing but bytes: their buffer is not shared with what follows, so nothing counts who holds it.
            let only = std::mem::replace(&mut self.writer, Writer::with_capacity(0)).into_buffer();
            self.written = only.len();
            self.length = only.len();
            self.first = Some(only);
        } else {
            self.close_bytes();
            overflowed |= self.writer.overflowed();
        }
        let is_too_large =
            overflowed || self.written > RESPONSE_BYTES_MAX || i32::try_from(self.length).is_err();
        if is_too_large {
            self.first = None;
            self.rest = Vec::new();
            self.length = 0;
        }
        let first = self.first.unwrap_or_default();
        let held = |part: &Part| match part {
            Part::Bytes(bytes) => bytes.len(),
            Part::File(_) => 0,
            Part::Chunks(source) => source.held(),
        };
        Response {
            key: self.key,
            bytes_held: first.len() + self.rest.iter().map(held).sum::<usize>(),
            first,
            rest: self.rest,
            length: self.length,
            is_too_large,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::messages::api_versions::ApiVersionsResponse;
    use crate::wire::messages::init_producer_id::InitProducerIdResponse;

    struct Three(u8);

    impl ChunkSource for Three {
        fn length(&self) -> usize {
            6
        }

        fn next(&mut self) -> io::Result<Option<Bytes>> {
            self.0 += 1;
            Ok((self.0 <= 3).then(|| Bytes::from(vec![self.0; 2])))
        }

        fn held(&self) -> usize {
            5000
        }
    }

    #[test]
    fn a_frame_has_size_header_and_body() {
        let response = Response::encode(&InitProducerIdResponse::default(), 1);
        assert_eq!(response.length(), 24);
        let frame = response.frame(5).read().unwrap();
        let expected = [
            &[0, 0, 0, 20, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0][..],
            &[0xff; 8],
            &[0, 0],
        ]
        .concat();
        assert_eq!(frame, expected);
        // Flexible: one byte of tagged fields in the header, one in the body.
        assert_eq!(
            Response::encode(&InitProducerIdResponse::default(), 2).length(),
            26
        );
    }

    #[test]
    fn api_versions_has_no_tagged_fields_in_its_header() {
        let flexible = Response::encode(&ApiVersionsResponse::default(), 3)
            .frame(1)
            .read()
            .unwrap();
        assert_eq!(&flexible[8..11], [0, 0, 1]);
    }

    /// So many bytes that nobody asks for.
    struct Endless(usize);

    impl ChunkSource for Endless {
        fn length(&self) -> usize {
            self.0
        }

        fn next(&mut self) -> io::Result<Option<Bytes>> {
            Ok(None)
        }

        fn held(&self) -> usize {
            0
        }
    }

    #[test]
    fn what_no_frame_can_hold_is_too_large() {
        for (length, is_too_large) in [(i32::MAX as usize - 8, false), (i32::MAX as usize - 7, true)] {
            let mut writer = ResponseWriter::new(ApiKey::Fetch, 0, 0);
            writer.part(Part::Chunks(Box::new(Endless(length))));
            let response = writer.finish();
            assert_eq!(response.is_too_large(), is_too_large, "{length}");
            assert_eq!(response.key(), ApiKey::Fetch);
            assert_eq!(response.length() == 0, is_too_large);
        }
    }

    #[test]
    fn a_response_ends_where_it_would_take_too_much_memory() {
        let piece = vec![1; 1024 * 1024];
        for (pieces, is_too_large) in [(255, false), (256, true), (400, true)] {
            let mut writer = ResponseWriter::new(ApiKey::DescribeGroups, 0, 0);
            for _ in 0..pieces {
                writer.bytes().bytes(false, &piece);
            }
            assert!(writer.bytes().len() <= RESPONSE_BYTES_MAX);
            let response = writer.finish();
            assert_eq!(response.is_too_large(), is_too_large, "{pieces}");
            assert_eq!(response.bytes_held(), response.length());
            assert_eq!(response.length() == 0, is_too_large);
        }
    }

    #[test]
    fn parts_come_out_in_order_and_are_counted() {
        let mut writer = ResponseWriter::new(ApiKey::Fetch, 0, 0);
        writer.part(Part::Bytes(Bytes::new()));
        writer.part(Part::Bytes(Bytes::from_static(b"ab")));
        writer.bytes().raw(b"cd");
        writer.part(Part::Chunks(Box::new(Three(0))));
        writer.bytes().raw(b"ef");
        let response = writer.finish();
        assert_eq!(response.length(), 8 + 2 + 2 + 6 + 2);
        assert_eq!(response.bytes_held(), 8 + 2 + 2 + 5000 + 2);
        let frame = response.frame(-1);
        assert_eq!(frame.rest.len(), 4);
        assert_eq!(
            frame.read().unwrap(),
            &b"\0\0\0\x10\xff\xff\xff\xffabcd\x01\x01\x02\x02\x03\x03ef"[..]
        );
    }
}
