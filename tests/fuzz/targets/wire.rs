//! What comes over a connection: the stream cut into frames, and each frame.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use barnabas::wire::api_key::ApiKey;
use barnabas::wire::frames::{FrameError, Frames};
use barnabas::wire::header::RequestHeader;
use barnabas::wire::{Message, Reader, Writer, messages, shape};
use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use super::PLAIN;
use crate::Target;
use crate::allocator::peak_of;

pub fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "frames",
            seeds: frames(),
            run: frame,
            planted: &[
                "walk-null-anywhere",
                "walk-tagged-size",
                "walk-mended-text-free",
                "reader-one-too-many",
            ],
            ..PLAIN
        },
        Target {
            name: "framing",
            seeds: streams(),
            run: stream,
            planted: &["frame-unlimited", "frame-reserved-whole", "frame-cut-short"],
            ..PLAIN
        },
    ]
}

/// A valid frame of each request and version: full, with random contents, and with a tagged field in its header.
fn frames() -> Vec<Vec<u8>> {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut frames = Vec::new();
    for key in ApiKey::all() {
        for version in key.stable_versions() {
            let mut numbers = || rng.u64(..);
            for contents in [
                shape::generate::Contents::Full,
                shape::generate::Contents::Random(&mut numbers),
            ] {
                let Some(body) = shape::generate::body(key, version, true, contents) else {
                    continue;
                };
                let mut writer = Writer::with_capacity(64);
                RequestHeader {
                    api_key: key,
                    api_version: version,
                    correlation_id: 1,
                    client_id: None,
                }
                .encode(&mut writer);
                let header = writer.freeze().to_vec();
                frames.push([&header[..], &body[..]].concat());
                if key.request_header_version(version) >= 2 {
                    // One tagged field, 9, of two bytes.
                    let (count, fixed) = header.split_last().unwrap();
                    assert_eq!(*count, 0);
                    frames.push([fixed, &[1, 9, 2, 0, 0], &body[..]].concat());
                }
            }
        }
    }
    frames
}

/// What the dispatch does with a frame: nothing is decoded that the shape refused; and what it passed is decoded, in
/// no more memory than it said.
fn frame(input: &[u8]) {
    let Ok((header, body)) = RequestHeader::decode(Bytes::copy_from_slice(input)) else {
        return;
    };
    let Ok(footprint) = shape::check(header.api_key, header.api_version, true, &body) else {
        return;
    };
    assert!(footprint.length <= body.len(), "the walk passed the end");
    if footprint.decoded_bytes > 16 * input.len() + 32 * 1024 {
        // Charged to the budget, or refused: not decoded here, so that the allowance holds.
        return;
    }
    macro_rules! decode {
        ($key:ident, $module:ident, $request:ident, $response:ident) => {
            if header.api_key == ApiKey::$key {
                let mut reader = Reader::new(body.clone());
                let (decoded, peak) =
                    peak_of(|| messages::$module::$request::decode(&mut reader, header.api_version));
                assert!(decoded.is_ok(), "the walk passed it, the decoder did not");
                assert_eq!(reader.position(), footprint.length);
                assert!(
                    peak <= footprint.decoded_bytes,
                    "decoding holds {peak} bytes, {} were charged",
                    footprint.decoded_bytes
                );
            }
        };
    }
    barnabas::for_each_api!(decode);
}

const FRAME_LIMIT: i32 = 16 << 20;

/// Frames back to back. The first byte is not of the stream: it says in which pieces the stream comes.
fn streams() -> Vec<Vec<u8>> {
    let frame = |length: usize| {
        let mut frame = (length as u32).to_be_bytes().to_vec();
        frame.resize(4 + length, 7);
        frame
    };
    let mut streams = Vec::new();
    for pieces in [0, 3, 40] {
        for lengths in [&[1][..], &[20, 1, 300], &[5000], &[17_000, 2], &[40_000, 40_000]] {
            let mut stream = vec![pieces];
            stream.extend(lengths.iter().flat_map(|length| frame(*length)));
            streams.push(stream);
        }
    }
    streams
}

/// A connection that has all its bytes there, and gives them in pieces.
struct Pieces<'a> {
    rest: &'a [u8],
    most: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = self.rest.len().min(buffer.remaining()).min(self.most);
        let (now, later) = self.rest.split_at(length);
        buffer.put_slice(now);
        self.rest = later;
        Poll::Ready(Ok(()))
    }
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("waits for bytes that are there"),
    }
}

/// The frames are the bytes of the stream, none longer than allowed, none empty.
fn stream(input: &[u8]) {
    let Some((pieces, rest)) = input.split_first() else {
        return;
    };
    let most = match pieces {
        0 => usize::MAX,
        pieces => usize::from(*pieces) * 97,
    };
    let mut from = Pieces { rest, most };
    let mut frames = Frames::new(FRAME_LIMIT);
    let mut at = 0;
    loop {
        let length = match ready(frames.length(&mut from)) {
            Ok(length) => length,
            Err(FrameError::Length(length)) => {
                assert!(!(1..=FRAME_LIMIT).contains(&length), "a length that is allowed");
                return;
            }
            Err(FrameError::Closed) => return assert!(rest.len() - at < 4, "a length is left"),
            Err(FrameError::Io(error)) => panic!("{error}"),
        };
        assert!((1..=FRAME_LIMIT as usize).contains(&length), "length {length}");
        let Ok(body) = ready(frames.body(&mut from, length)) else {
            return assert!(rest.len() - at - 4 < length, "a frame is left");
        };
        assert_eq!(body, rest[at + 4..at + 4 + length]);
        at += 4 + length;
    }
}
