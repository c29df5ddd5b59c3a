//! One connection to one server: frames in, bytes out.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use super::connect_string::Server;
use super::messages::{Hello, Welcome};
use crate::base::clock;
use crate::base::net::TcpStream;

/// The largest answer that is taken; Kafka takes 4 MiB, which a million topics are too many for.
const ANSWER_BYTES: usize = 64 << 20;

/// An open connection whose server knows the session.
pub(super) struct Connection {
    pub(super) server: Server,
    pub(super) read: ReadHalf<TcpStream>,
    pub(super) write: WriteHalf<TcpStream>,
    /// What was received and not taken.
    pub(super) input: BytesMut,
    /// What is to be sent.
    pub(super) output: BytesMut,
}

/// What was received cannot be a frame that this client asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BadFrame {
    /// It has no length.
    Length(i32),
    /// It is larger than what is taken.
    TooLarge(usize),
}

impl std::fmt::Display for BadFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Length(length) => write!(f, "an answer of {length} bytes; that is no ZooKeeper"),
            Self::TooLarge(length) => {
                write!(
                    f,
                    "an answer of {length} bytes, more than the {ANSWER_BYTES} that are taken"
                )
            }
        }
    }
}

impl Connection {
    /// Connects to a server and introduces the session, all within `limit`.
    ///
    /// # Errors
    /// Why it did not work, in words.
    pub(super) async fn open(
        server: Server,
        hello: Hello,
        limit: Duration,
    ) -> Result<(Self, Welcome), String> {
        let opened = clock::timeout(limit, Self::introduce(&server, &hello)).await;
        let failed = |reason: &dyn std::fmt::Display| format!("{server}: {reason}");
        match opened {
            Some(Ok((stream, input, welcome))) => {
                let (read, write) = tokio::io::split(stream);
                let connection = Self {
                    server,
                    read,
                    write,
                    input,
                    output: BytesMut::new(),
                };
                Ok((connection, welcome))
            }
            Some(Err(reason)) => Err(failed(&reason)),
            None => Err(failed(&format_args!("no answer within {} ms", limit.as_millis()))),
        }
    }

    async fn introduce(server: &Server, hello: &Hello) -> Result<(TcpStream, BytesMut, Welcome), String> {
        let mut stream = TcpStream::connect((server.host.as_str(), server.port))
            .await
            .map_err(|error| error.to_string())?;
        // Else the kernel would hold back small requests while answers are on their way.
        let _ = stream.set_nodelay(true);
        let mut output = BytesMut::new();
        hello.encode(&mut output);
        stream
            .write_all(&output)
            .await
            .map_err(|error| error.to_string())?;
        let mut input = BytesMut::new();
        loop {
            let frame = frame(&mut input).map_err(|bad| bad.to_string())?;
            if let Some(body) = frame {
                let welcome =
                    Welcome::decode(&body).map_err(|_| "its answer is not ZooKeeper's".to_owned())?;
                return Ok((stream, input, welcome));
            }
            match stream.read_buf(&mut input).await {
                Ok(0) => {
                    return Err("it closed the connection; it may not be part of a quorum".to_owned());
                }
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// The next frame that is there as a whole.
    pub(super) fn frame(&mut self) -> Result<Option<BytesMut>, BadFrame> {
        frame(&mut self.input)
    }
}

fn frame(input: &mut BytesMut) -> Result<Option<BytesMut>, BadFrame> {
    let Some(head) = input.first_chunk() else {
        return Ok(None);
    };
    let claimed = i32::from_be_bytes(*head);
    let length = usize::try_from(claimed).map_err(|_| BadFrame::Length(claimed))?;
    if length > ANSWER_BYTES {
        return Err(BadFrame::TooLarge(length));
    }
    if input.len() - head.len() < length {
        return Ok(None);
    }
    input.advance(size_of::<i32>());
    Ok(Some(input.split_to(length)))
}
