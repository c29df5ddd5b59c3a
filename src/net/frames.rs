//! Cuts what a connection receives into frames: four bytes of length, then the request.
//!
//! Invariant: the buffer never holds much more than twice what was received. A frame that is larger than the common
//! buffer gets one of its own, which grows as its bytes arrive and ends at its exact size.

use crate::base::planted::planted;
use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Why no further frame can be cut.
#[derive(Debug)]
pub enum FrameError {
    /// The client closed the connection, perhaps inside a frame.
    Closed,
    /// The length is negative, zero, or above the limit (`socket.request.max.bytes`).
    Length(i32),
    /// The connection failed.
    Io(io::Error),
}

/// A buffer of received bytes.
pub struct Frames {
    buffer: BytesMut,
    limit_bytes: i32,
}

/// What is read at once where the frame's length is not known yet.
const READ_BYTES: usize = 16 * 1024;
/// The first size of a large frame's own buffer; it doubles from there.
const LARGE_BYTES: usize = 256 * 1024;
const LENGTH_BYTES: usize = 4;

impl Frames {
    /// Frames of at most `limit_bytes`.
    pub fn new(limit_bytes: i32) -> Self {
        Self {
            buffer: BytesMut::new(),
            limit_bytes,
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
            if self.buffer.capacity() - self.buffer.len() < LENGTH_BYTES {
                self.buffer.reserve(READ_BYTES);
            }
            self.fill(from).await?;
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
            if room == 0 || received < READ_BYTES && whole > READ_BYTES && room < whole - received {
                let target = planted!(
                    "frame-reserved-whole",
                    whole,
                    whole.min((received * 2).max(LARGE_BYTES))
                );
                self.buffer.reserve(target - received);
            }
            self.fill(from).await?;
        }
        let mut frame = self.buffer.split_to(whole);
        if self.buffer.is_empty() && whole > READ_BYTES {
            // The large buffer goes with its frame.
            self.buffer = BytesMut::new();
        }
        let _ = frame.split_to(LENGTH_BYTES);
        Ok(frame.freeze())
    }

    async fn fill(&mut self, from: &mut (impl AsyncRead + Unpin)) -> Result<(), FrameError> {
        match from.read_buf(&mut self.buffer).await {
            Ok(0) => Err(FrameError::Closed),
            Ok(_) => Ok(()),
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
        assert!(frames.buffer.capacity() <= 2 * LARGE_BYTES);
    }
}
