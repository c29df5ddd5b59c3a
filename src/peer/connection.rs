//! [`Connection`]: one broker, asked one thing at a time.
//!
//! Invariant: an answer is taken only from the connection that its request was written to, with its correlation id,
//! and nothing else is ever read from that connection in between. While a request is under way its call owns the socket;
//! it is put back only when the whole answer was read and fits. So a call that fails, or is dropped, has closed the
//! connection, and what may still come to it reaches nobody.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;

use super::error::{BadAnswer, PeerError};
use super::negotiation::Known;
use super::{Address, Options};
use crate::base::clock;
use crate::base::net::{self, ReadHalf, SocketOptions, WriteHalf};
use crate::wire::frames::{FrameError, Frames};
use crate::wire::header::{self, RequestHeader};
use crate::wire::{ApiKey, Message, Reader, Writer, shape};

/// An answer whose decoded form would take more memory than this beside its frame is refused; that of a request is
/// bounded alike (api/dispatch).
const DECODED_BYTES_MAX: usize = 104_857_600;

/// The last correlation id before they start again from 0. Kafka keeps those above for authentication.
const LAST_CORRELATION_ID: i32 = i32::MAX - 8;

/// A connection to one broker: made when it is first needed, and again after it broke.
pub struct Connection {
    to: Address,
    options: Options,
    next_correlation_id: i32,
    open: Option<Open>,
}

/// What is there while the connection is.
struct Open {
    reads: ReadHalf,
    writes: WriteHalf,
    frames: Frames,
    known: Option<Known>,
}

impl Connection {
    /// A connection that will be made when it is first used.
    pub fn new(to: Address, options: Options) -> Self {
        Self {
            to,
            options,
            next_correlation_id: 0,
            open: None,
        }
    }

    /// Whom it reaches.
    pub fn address(&self) -> &Address {
        &self.to
    }

    /// True while the connection stands, as far as is known.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Closes the connection; the next call opens a new one.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// Sends a request in `version` and waits for its answer.
    ///
    /// # Errors
    /// [`PeerError`]. Every failure but `UnsupportedVersion` has closed the connection; the next call opens a new one.
    /// A call that is dropped closes it too.
    pub async fn send<Q: Message, A: Message>(&mut self, version: i16, request: &Q) -> Result<A, PeerError> {
        const {
            assert!(Q::IS_REQUEST && !A::IS_REQUEST && Q::KEY as i16 == A::KEY as i16);
        }
        if !Q::KEY.stable_versions().contains(&version) {
            return Err(PeerError::UnsupportedVersion);
        }
        let body = self.ask(Q::KEY, version, |w| request.encode(w, version)).await?;
        let answer: Result<A, BadAnswer> = decode(version, body);
        if answer.is_err() {
            self.close();
        }
        Ok(answer?)
    }

    /// The highest version of `key` that both know, `ours` at most. Asks for ApiVersions once a connection.
    ///
    /// # Errors
    /// As [`Connection::send`]; `UnsupportedVersion` when there is none.
    pub async fn newest_version(&mut self, key: ApiKey, ours: i16) -> Result<i16, PeerError> {
        self.drop_if_gone().await;
        let known = self.open.as_ref().and_then(|open| open.known.as_ref());
        if let Some(known) = known {
            return known.newest(key, ours);
        }
        let known = Known::ask(self).await?;
        let newest = known.newest(key, ours);
        if let Some(open) = &mut self.open {
            open.known = Some(known);
        }
        newest
    }

    /// Sends what `body` writes, and yields the body of the answer as a slice of its frame.
    pub(super) async fn ask(
        &mut self,
        key: ApiKey,
        version: i16,
        body: impl FnOnce(&mut Writer),
    ) -> Result<Bytes, PeerError> {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id = match correlation_id {
            LAST_CORRELATION_ID.. => 0,
            id => id + 1,
        };
        let header = RequestHeader {
            api_key: key,
            api_version: version,
            correlation_id,
            client_id: Some(self.options.client_id.clone()),
        };
        let mut w = Writer::new();
        w.i32(0);
        header.encode(&mut w);
        body(&mut w);
        let length = i32::try_from(w.len().saturating_sub(4));
        w.patch_i32(
            0,
            length.map_err(|_| PeerError::Broken(io::ErrorKind::InvalidInput.into()))?,
        );
        let request = w.freeze();

        self.drop_if_gone().await;
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.connect().await?,
        };
        let exchange = open.exchange(&request);
        let answer = clock::timeout(self.options.request_timeout, exchange).await;
        let frame = answer.unwrap_or(Err(PeerError::TimedOut))?;
        let (found, body) = header::decode_response(frame, key, version).map_err(BadAnswer::from)?;
        if found != correlation_id {
            let expected = correlation_id;
            return Err(BadAnswer::CorrelationId { expected, found }.into());
        }
        // What follows an answer was not asked for, and must not be taken for the next one.
        if !open.frames.is_partial() {
            self.open = Some(open);
        }
        Ok(body)
    }

    async fn connect(&self) -> Result<Open, PeerError> {
        let port = u16::try_from(self.to.port)
            .map_err(|_| PeerError::Unreachable(io::ErrorKind::InvalidInput.into()))?;
        let options = SocketOptions {
            backlog: 0,
            send_buffer_bytes: self.options.send_buffer_bytes,
            receive_buffer_bytes: self.options.receive_buffer_bytes,
        };
        let connecting = net::connect(&self.to.host, port, options);
        let stream = clock::timeout(self.options.connect_timeout, connecting)
            .await
            .unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
            .map_err(PeerError::Unreachable)?;
        let (reads, writes) = net::split(stream);
        Ok(Open {
            reads,
            writes,
            frames: Frames::new(self.options.largest_answer_bytes.unwrap_or(i32::MAX)),
            known: None,
        })
    }

    /// Closes a connection that the other side has closed since it was last used, so that a broker that came back, or
    /// that closes what is idle, costs no failed request. Where that is not known yet, the request finds out.
    async fn drop_if_gone(&mut self) {
        let is_gone = match &self.open {
            Some(open) => is_ready(net::gone(&open.reads)).await,
            None => false,
        };
        if is_gone {
            self.close();
        }
    }
}

impl Open {
    /// Writes a request and reads the next frame.
    async fn exchange(&mut self, request: &[u8]) -> Result<Bytes, PeerError> {
        let written = self.writes.write_all(request, false).await;
        written.map_err(PeerError::Broken)?;
        let length = self.frames.length(&mut self.reads).await.map_err(broken)?;
        self.frames.body(&mut self.reads, length).await.map_err(broken)
    }
}

/// Whether a future is ready already.
async fn is_ready(future: impl Future<Output = ()>) -> bool {
    let mut future = pin!(future);
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}

fn broken(error: FrameError) -> PeerError {
    match error {
        FrameError::Closed => PeerError::Broken(io::ErrorKind::UnexpectedEof.into()),
        FrameError::Io(error) => PeerError::Broken(error),
        FrameError::Length(length) => BadAnswer::Length(length).into(),
    }
}

/// Decodes a body that has its shape. Bytes and texts of it are slices of the frame.
pub(super) fn decode<A: Message>(version: i16, body: Bytes) -> Result<A, BadAnswer> {
    let footprint = shape::check(A::KEY, version, A::IS_REQUEST, &body)?;
    if footprint.decoded_bytes > DECODED_BYTES_MAX {
        return Err(BadAnswer::TooLarge(footprint.decoded_bytes));
    }
    // No version of any answer has them: it is the answer of another version then.
    match body.len().saturating_sub(footprint.length) {
        0 => Ok(A::decode(&mut Reader::new(body), version)?),
        trailing => Err(BadAnswer::TrailingBytes(trailing)),
    }
}
