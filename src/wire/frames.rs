//! Cuts what a connection receives into frames: four bytes of length, then the request or the answer.
//!
//! Invariant: the buffer never holds more than a few times what was received, beyond what is read at once at first. A frame
//! that is larger than the common buffer gets one of its own, which grows as its bytes arrive and ends at its exact size;
//! only who has sent a large frame has the room for the next one made at once. What is read at once grows
//! where more was there than was read, so that a client that sends many requests ahead costs fewer calls. Called by
//! net/connection for what clients ask, and by peer/ for what other brokers answer.

use crate::base::planted::planted;
use std::io;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Why no further frame can be cut.
#[derive(Debug)]
pub enum FrameError {
    /// The other side closed the connection, perhaps inside a frame.
    Closed,
    /// The length is negative, zero, or above the limit.
    Length(i32),
    /// The connection failed.
    Io(io::Error),
}

/// A buffer of received bytes.
pub struct Frames {
    buffer: BytesMut,
    limit_bytes: i32,
    /// What is read at once where the frame's length is not known yet, or the frame is no longer than that.
    read_bytes: usize,
    /// Bytes of the last frame, if it was large, else 0. Another one is likely: its length is read alone, and the rest where
    /// it is to lie.
    large_bytes: usize,
}

/// What is read at once at first.
const READ_BYTES: usize = 16 * 1024;
/// What is read at once at most.
const MOST_READ_BYTES: usize = 64 * 1024;
/// The first size of a large frame's own buffer, at most; it doubles from there.
const LARGE_BYTES: usize = 256 * 1024;
/// So many times what has come of a frame its own buffer may have at first, beyond [`READ_BYTES`].
const AHEAD: usize = 8;
const LENGTH_BYTES: usize = 4;
/// A request begins with its key and its version.
const BEGINNING_BYTES: usize = 4;

impl Frames {
    /// Frames of at most `limit_bytes`.
    pub fn new(limit_bytes: i32) -> Self {
        Self {
            buffer: BytesMut::new(),
            limit_bytes,
            read_bytes: READ_BYTES,
            large_bytes: 0,
        }
    }

    /// The length of the next frame once its four bytes are there.
    fn declared(&self) -> Result<Option<usize>, FrameError> {
        let Some(first) = self.buffer.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = i32::from_be_bytes(*first);
        match usize::try_from(length) {
            Ok(bytes) if bytes > 0 && planted!("frame-unlimited", true, length <= self.limit_bytes) => {
                Ok(Some(bytes))
            }
            _ => Err(FrameError::Length(length)),
        }
    }

    /// Waits for the length of the next frame, in bytes, without its body.
    ///
    /// # Errors
    /// [`FrameError`]; the connection is of no use then.
    pub async fn length(&mut self, from: &mut (impl AsyncRead + Unpin)) -> Result<usize, FrameError> {
        loop {
            if let Some(length) = self.declared()? {
                return Ok(length);
            }
            let is_after_large = self.large_bytes > 0;
            if self.buffer.is_empty() && !is_after_large {
                // Nobody holds the frames before any more, mostly: the same memory again, which the cache has.
                let _ = self.buffer.try_reclaim(self.read_bytes);
            }
            if self.buffer.capacity() - self.buffer.len() < LENGTH_BYTES {
                self.buffer.reserve(if is_after_large {
                    LENGTH_BYTES
                } else {
                    self.read_bytes
                });
            }
            let missing = LENGTH_BYTES - self.buffer.len();
            let most = if is_after_large { missing } else { usize::MAX };
            self.fill(from, most).await?;
        }
    }

    /// Waits for the first bytes of a frame whose length was read: which request it is, and of which version. They stay its
    /// first bytes.
    ///
    /// # Errors
    /// [`FrameError`]; the connection is of no use then.
    pub async fn beginning(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
    ) -> Result<[u8; BEGINNING_BYTES], FrameError> {
        loop {
            if let Some(first) = self.buffer.get(LENGTH_BYTES..).and_then(<[u8]>::first_chunk) {
                return Ok(*first);
            }
            let missing = LENGTH_BYTES + BEGINNING_BYTES - self.buffer.len();
            if self.buffer.capacity() - self.buffer.len() < missing {
                self.buffer.reserve(missing);
            }
            self.fill(from, missing).await?;
        }
    }

    /// Waits for the whole of a frame of `length` bytes, whose length was read, and takes it.
    ///
    /// # Errors
    /// [`FrameError`]; the connection is of no use then.
    pub async fn body(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        length: usize,
    ) -> Result<Bytes, FrameError> {
        let whole = LENGTH_BYTES + length;
        while self.buffer.len() < planted!("frame-cut-short", whole - 1, whole) {
            let received = self.buffer.len();
            let room = self.buffer.capacity() - received;
            let is_large = whole > self.read_bytes;
            if room == 0 && !is_large {
                self.buffer.reserve(self.read_bytes);
            } else if room == 0 || received < READ_BYTES && is_large && room < whole - received {
                let first = self
                    .large_bytes
                    .max(READ_BYTES + AHEAD * received)
                    .min(LARGE_BYTES);
                let target = planted!(
                    "frame-reserved-whole",
                    whole,
                    whole.min((received * 2).max(first))
                );
                self.buffer.reserve(target - received);
            }
            // What lies behind a large frame does not keep its buffer.
            let most = if is_large { whole - received } else { usize::MAX };
            self.fill(from, most).await?;
        }
        self.large_bytes = if whole > MOST_READ_BYTES { whole } else { 0 };
        let mut frame = self.buffer.split_to(whole);
        if self.buffer.is_empty() && (whole > READ_BYTES || self.read_bytes > READ_BYTES) {
            // A large buffer goes with its frame.
            self.buffer = BytesMut::new();
        }
        frame.advance(LENGTH_BYTES);
        Ok(frame.freeze())
    }

    /// Reads what is there, `most` bytes at most, into the room that the buffer has.
    async fn fill(&mut self, from: &mut (impl AsyncRead + Unpin), most: usize) -> Result<(), FrameError> {
        let room = most.min(self.buffer.capacity() - self.buffer.len());
        match from.read_buf(&mut (&mut self.buffer).limit(room)).await {
            Ok(0) => Err(FrameError::Closed),
            Ok(count) => {
                if count == room && room >= self.read_bytes {
                    self.read_bytes = (self.read_bytes * 2).min(MOST_READ_BYTES);
                } else if count < self.read_bytes / 4 {
                    self.read_bytes = (self.read_bytes / 2).max(READ_BYTES);
                }
                Ok(())
            }
            Err(error) => Err(FrameError::Io(error)),
        }
    }

    /// True when bytes of a frame that is not whole yet are held.
    pub fn is_partial(&self) -> bool {
        !self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn frames(bytes: &[u8], limit: i32) -> (Vec<Bytes>, FrameError) {
        let mut from = bytes;
        let mut frames = Frames::new(limit);
        let mut cut = Vec::new();
        loop {
            match frames.length(&mut from).await {
                Ok(length) => match frames.body(&mut from, length).await {
                    Ok(frame) => cut.push(frame),
                    Err(error) => return (cut, error),
                },
                Err(error) => return (cut, error),
            }
        }
    }

    #[tokio::test]
    async fn cuts_small_and_large_frames() {
        let mut bytes = Vec::new();
        for length in [1_usize, 3, 20_000, 2, 1_000_000, 5] {
            bytes.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
            bytes.extend(std::iter::repeat_n(u8::try_from(length % 251).unwrap(), length));
        }
        let (cut, end) = frames(&bytes, 1_000_000).await;
        assert_eq!(
            cut.iter().map(Bytes::len).collect::<Vec<_>>(),
            [1, 3, 20_000, 2, 1_000_000, 5]
        );
        assert!(
            cut.iter()
                .all(|frame| frame.iter().all(|byte| usize::from(*byte) == frame.len() % 251))
        );
        assert!(matches!(end, FrameError::Closed));
    }

    /// Gives all that fits and counts the reads.
    struct Counted<'a>(&'a [u8], usize);

    impl AsyncRead for Counted<'_> {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _context: &mut std::task::Context<'_>,
            out: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            let (now, later) = self.0.split_at(out.remaining().min(self.0.len()));
            out.put_slice(now);
            self.0 = later;
            self.1 += 1;
            std::task::Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn many_requests_ahead_are_read_together() {
        const FRAME: usize = 8200;
        let mut bytes = Vec::new();
        for _ in 0..80 {
            bytes.extend_from_slice(&(FRAME as u32).to_be_bytes());
            bytes.resize(bytes.len() + FRAME, 1);
        }
        let mut from = Counted(&bytes, 0);
        let mut frames = Frames::new(i32::MAX);
        for _ in 0..80 {
            let length = frames.length(&mut from).await.unwrap();
            assert_eq!(frames.body(&mut from, length).await.unwrap().len(), FRAME);
        }
        assert!(from.1 <= 16, "{} reads of {} bytes", from.1, bytes.len());
        assert_eq!(frames.buffer.capacity(), 0, "who waits holds no large buffer");
        // Who sends one at a time gets a small buffer again.
        for _ in 0..4 {
            let mut from = Counted(&[0, 0, 0, 1, 7], 0);
            let length = frames.length(&mut from).await.unwrap();
            frames.body(&mut from, length).await.unwrap();
        }
        assert_eq!(frames.read_bytes, READ_BYTES);
    }

    #[tokio::test]
    async fn small_frames_are_read_into_the_same_memory_again() {
        let mut frames = Frames::new(i32::MAX);
        let mut next = async || {
            let mut from: &[u8] = &[0, 0, 0, 2, 7, 8];
            let length = frames.length(&mut from).await.unwrap();
            frames.body(&mut from, length).await.unwrap()
        };
        let first = next().await;
        let held = next().await;
        assert_ne!(held.as_ptr(), first.as_ptr(), "the first one is still held");
        assert_eq!((&first[..], &held[..]), (&[7, 8][..], &[7, 8][..]));
        let beginning = first.as_ptr();
        drop((first, held));
        for _ in 0..3 {
            assert_eq!(next().await.as_ptr(), beginning);
        }
    }

    #[tokio::test]
    async fn large_frames_are_read_where_they_lie() {
        const FRAME: usize = 131_200;
        let mut bytes = Vec::new();
        for _ in 0..3 {
            bytes.extend_from_slice(&(FRAME as u32).to_be_bytes());
            bytes.resize(bytes.len() + FRAME, 1);
        }
        let mut from = Counted(&bytes, 0);
        let mut frames = Frames::new(i32::MAX);
        for number in 0..3 {
            let length = frames.length(&mut from).await.unwrap();
            let before = frames.buffer.len();
            assert!(
                number == 0 || before == LENGTH_BYTES,
                "{before} bytes would be copied"
            );
            assert_eq!(frames.body(&mut from, length).await.unwrap().len(), FRAME);
            assert_eq!(frames.buffer.capacity(), 0, "the buffer went with the frame");
        }
    }

    #[tokio::test]
    async fn a_frame_can_be_looked_at_before_it_is_received() {
        const FRAME: usize = 600_000;
        let mut bytes = (FRAME as u32).to_be_bytes().to_vec();
        bytes.extend([0, 1, 0, 9]);
        bytes.resize(4 + FRAME, 7);
        let mut bytes = [&bytes[..], &bytes[..]].concat();
        bytes.extend([0, 0, 0, 5, 0, 18]);
        let mut from: &[u8] = &bytes;
        let mut frames = Frames::new(i32::MAX);
        for _ in 0..2 {
            let length = frames.length(&mut from).await.unwrap();
            assert_eq!(frames.beginning(&mut from).await.unwrap(), [0, 1, 0, 9]);
            assert!(frames.buffer.capacity() <= 2 * READ_BYTES);
            let frame = frames.body(&mut from, length).await.unwrap();
            assert_eq!((frame.len(), &frame[..5]), (FRAME, &[0, 1, 0, 9, 7][..]));
        }
        frames.length(&mut from).await.unwrap();
        assert!(matches!(
            frames.beginning(&mut from).await,
            Err(FrameError::Closed)
        ));
    }

    #[tokio::test]
    async fn refuses_lengths_that_no_request_has() {
        for length in [-1_i32, 0, 101, i32::MAX, i32::MIN] {
            let (cut, end) = frames(&length.to_be_bytes(), 100).await;
            assert!(cut.is_empty());
            assert!(matches!(end, FrameError::Length(l) if l == length), "{end:?}");
        }
    }

    #[tokio::test]
    async fn allocates_only_for_what_was_received() {
        let mut from: &[u8] = &[0x06, 0, 0, 0, 1, 2, 3];
        let mut frames = Frames::new(i32::MAX);
        let length = frames.length(&mut from).await.unwrap();
        assert_eq!(length, 0x0600_0000);
        assert!(matches!(
            frames.body(&mut from, length).await,
            Err(FrameError::Closed)
        ));
        assert!(frames.buffer.capacity() <= 2 * READ_BYTES);
    }
}
