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
use crate::base::task::Pace;
use crate::wire::api_key::ApiKey;
use crate::wire::response::Part;

/// A slice of fewer bytes is read and sent with what surrounds it: two system calls cost more than the copy.
const SENDFILE_BYTES: usize = 16 * 1024;
/// Bytes that are copied together before a send; a larger part is sent as it lies.
const GATHER_BYTES: usize = 32 * 1024;
/// What it costs to make a chunk, in what [`Pace`] counts: others have their turn behind each.
const CHUNK_WORK: usize = 1024 * 1024;
/// A client must take as many within `connections.max.idle.ms`.
const PIECE_BYTES: usize = 1024 * 1024;

/// Why answers are written no more.
pub(super) enum Unwritten {
    /// The connection failed, or a file from which an answer came.
    Failed(io::Error),
    /// An answer of this API has more bytes than any may have.
    TooLarge(ApiKey),
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Writes the answers of a connection until it fails.
pub(super) async fn write_answers(
    queue: &AnswerQueue,
    half: &mut WriteHalf,
    activity: &Activity,
) -> Result<(), Unwritten> {
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
            charges.push(out.answer(queued, queue).await?);
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
    async fn answer(
        &mut self,
        queued: Queued,
        queue: &AnswerQueue,
    ) -> Result<super::budget::Charge, Unwritten> {
        let response = match queued.answer {
            QueuedAnswer::Ready(response) => response,
            QueuedAnswer::Pending(future) => {
                // What is gathered does not wait for what is not there yet.
                self.flush().await?;
                let response = future.await;
                queue.has_come(response.bytes_held());
                response
            }
        };
        if response.is_too_large() {
            // What was asked before is still answered.
            self.flush().await?;
            return Err(Unwritten::TooLarge(response.key()));
        }
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
                let mut pace = Pace::new();
                while left > 0 {
                    let chunk = chunks.next()?.ok_or(io::ErrorKind::UnexpectedEof)?;
                    left = left.checked_sub(chunk.len()).ok_or(io::ErrorKind::InvalidData)?;
                    self.bytes(chunk).await?;
                    // What is converted costs far more than what is sent.
                    pace.did(CHUNK_WORK).await;
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

#[cfg(all(test, not(feature = "simulation")))]
mod tests {
    use super::super::budget::Budget;
    use super::*;
    use crate::base::net::{Passed, SocketOptions, TcpListener, TcpStream, split};
    use crate::base::task::turns;
    use crate::wire::response::{ChunkSource, RESPONSE_BYTES_MAX, ResponseWriter};

    struct Chunks(usize);

    impl ChunkSource for Chunks {
        fn length(&self) -> usize {
            30
        }

        fn next(&mut self) -> io::Result<Option<Bytes>> {
            self.0 += 1;
            Ok((self.0 <= 3).then(|| Bytes::from_static(b"0123456789")))
        }

        fn held(&self) -> usize {
            0
        }
    }

    /// The writing half of a connection, and the client.
    async fn connected() -> (WriteHalf, TcpStream) {
        let options = SocketOptions {
            backlog: 1,
            send_buffer_bytes: -1,
            receive_buffer_bytes: -1,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let stream = Passed::new(stream, options).unwrap().adopt().unwrap();
        (split(stream).1, client)
    }

    #[tokio::test]
    async fn others_have_their_turn_behind_each_chunk() {
        let (mut half, _client) = connected().await;
        let activity = Activity::new();
        let mut out = Out {
            half: &mut half,
            activity: &activity,
            gathered: BytesMut::new(),
        };
        let (sent, turns) = turns(out.part(Part::Chunks(Box::new(Chunks(0))))).await;
        sent.unwrap();
        assert_eq!((out.gathered.len(), turns), (30, 3));
    }

    #[tokio::test]
    async fn an_answer_that_is_too_large_ends_the_connection_behind_those_before_it() {
        use tokio::io::AsyncReadExt as _;

        let (mut half, mut client) = connected().await;
        let queue = AnswerQueue::new(64);
        let piece = vec![1; RESPONSE_BYTES_MAX / 8];
        for pieces in [0, 9, 0] {
            let mut writer = ResponseWriter::new(ApiKey::DescribeGroups, 0, 0);
            for _ in 0..pieces {
                writer.bytes().raw(&piece);
            }
            queue.push(Queued {
                correlation_id: 5,
                answer: QueuedAnswer::Ready(writer.finish()),
                charge: Budget::new(-1).charge(0).await,
            });
        }
        let ended = write_answers(&queue, &mut half, &Activity::new()).await;
        assert!(matches!(ended, Err(Unwritten::TooLarge(ApiKey::DescribeGroups))));
        drop(half);
        let mut sent = Vec::new();
        client.read_to_end(&mut sent).await.unwrap();
        assert_eq!(sent, [0, 0, 0, 4, 0, 0, 0, 5]);
    }
}
