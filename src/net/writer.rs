//! Writes answers: the one place of zero copy.
//!
//! Parts that are bytes are gathered, over several answers, and sent at once; slices of files above a size go from the
//! page cache to the socket with sendfile and are never read into the process.

use std::io;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::activity::Activity;
use super::queue::{AnswerQueue, Queued, QueuedAnswer};
use crate::base::disk::FileSlice;
use crate::base::net::{WriteHalf, send_file};
use crate::wire::response::Part;

/// A slice of fewer bytes is read and sent with what surrounds it: two system calls cost more than the copy.
const SENDFILE_BYTES: usize = 16 * 1024;
/// Bytes that are copied together before a send; a larger part is sent as it lies.
const GATHER_BYTES: usize = 32 * 1024;
/// A client must take as many within `connections.max.idle.ms`.
const PIECE_BYTES: usize = 1024 * 1024;

/// Writes the answers of a connection until it fails.
pub(super) async fn write_answers(
    queue: &AnswerQueue,
    half: &mut WriteHalf,
    activity: &Activity,
) -> io::Result<()> {
    let mut out = Out {
        half,
        activity,
        gathered: BytesMut::new(),
    };
    // Held until what they stand for was sent.
    let mut charges = Vec::new();
    loop {
        let mut next = Some(queue.next().await);
        while let Some(queued) = next {
            charges.push(out.answer(queued).await?);
            next = queue.next_if_ready();
        }
        out.flush().await?;
        charges.clear();
        queue.written();
    }
}

struct Out<'a> {
    half: &'a mut WriteHalf,
    /// Told of each piece that the client took.
    activity: &'a Activity,
    gathered: BytesMut,
}

impl Out<'_> {
    async fn answer(&mut self, queued: Queued) -> io::Result<super::budget::Charge> {
        let response = match queued.answer {
            QueuedAnswer::Ready(response) => response,
            QueuedAnswer::Pending(future) => {
                // What is gathered does not wait for what is not there yet.
                self.flush().await?;
                future.await
            }
        };
        let frame = response.frame(queued.correlation_id);
        if self.gathered.is_empty() && frame.first.len() <= GATHER_BYTES {
            // Most answers are one small piece and alone: it goes as it is.
            self.gathered = frame.first;
        } else {
            self.bytes(frame.first.freeze()).await?;
        }
        for part in frame.rest {
            self.part(part).await?;
        }
        Ok(queued.charge)
    }

    async fn part(&mut self, part: Part) -> io::Result<()> {
        match part {
            Part::Bytes(bytes) => self.bytes(bytes).await,
            Part::File(slice) => self.slice(slice).await,
            Part::Chunks(mut chunks) => {
                let mut left = chunks.length();
                while left > 0 {
                    let chunk = chunks.next()?.ok_or(io::ErrorKind::UnexpectedEof)?;
                    left = left.checked_sub(chunk.len()).ok_or(io::ErrorKind::InvalidData)?;
                    self.bytes(chunk).await?;
                }
                Ok(())
            }
        }
    }

    async fn bytes(&mut self, bytes: Bytes) -> io::Result<()> {
        if self.gathered.len() + bytes.len() > GATHER_BYTES {
            self.flush().await?;
            if bytes.len() > GATHER_BYTES {
                for piece in bytes.chunks(PIECE_BYTES) {
                    self.half.write_all(piece, false).await?;
                    self.activity.touch();
                }
                return Ok(());
            }
        }
        self.gathered.extend_from_slice(&bytes);
        Ok(())
    }

    /// The length was promised: a file that became shorter ends the connection.
    async fn slice(&mut self, slice: FileSlice) -> io::Result<()> {
        if slice.length >= SENDFILE_BYTES {
            self.send(true).await?;
            return self.pieces(slice).await;
        }
        if self.gathered.len() + slice.length > GATHER_BYTES {
            self.flush().await?;
        }
        let start = self.gathered.len();
        self.gathered.put_bytes(0, slice.length);
        match self.gathered.get_mut(start..) {
            Some(room) => slice.file.read_exact_at(room, slice.position),
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// With sendfile, piece by piece.
    async fn pieces(&mut self, mut left: FileSlice) -> io::Result<()> {
        while left.length > 0 {
            let length = left.length.min(PIECE_BYTES);
            let piece = FileSlice {
                length,
                ..left.clone()
            };
            let sent = send_file(self.half, &piece).await?;
            if sent < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.activity.touch();
            left.position += length as u64;
            left.length -= length;
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.send(false).await
    }

    /// Sends what is gathered; `more` when something is sent right behind it.
    async fn send(&mut self, more: bool) -> io::Result<()> {
        if !self.gathered.is_empty() {
            self.half.write_all(&self.gathered, more).await?;
            self.activity.touch();
            self.gathered.clear();
        }
        Ok(())
    }
}
