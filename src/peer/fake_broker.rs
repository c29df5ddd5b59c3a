//! For tests: a broker on a loopback socket that answers as it is told.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Address, Options};
use crate::base::ids::BrokerId;
use crate::base::net::{self, SocketOptions};
use crate::base::{clock, task};
use crate::wire::frames::Frames;
use crate::wire::header::RequestHeader;
use crate::wire::response::Response;
use crate::wire::{Message, Reader};

/// A request as the broker got it.
pub(super) struct Asked {
    /// Counts the connections from 0.
    pub(super) connection: usize,
    pub(super) header: RequestHeader,
    pub(super) body: Bytes,
}

/// What it does with a request.
pub(super) enum Reply {
    /// Writes these bytes, whatever they are.
    Bytes(Vec<u8>),
    /// Writes them after a while.
    Late(Duration, Vec<u8>),
    /// Writes them and closes the connection.
    Last(Vec<u8>),
    /// Never says anything.
    Silence,
}

impl Asked {
    /// The body.
    pub(super) fn decoded<Q: Message>(&self) -> Q {
        Q::decode(&mut Reader::new(self.body.clone()), self.header.api_version).unwrap()
    }

    /// The whole frame that answers with `message`.
    pub(super) fn frame<A: Message>(&self, message: &A) -> Vec<u8> {
        let response = Response::encode(message, self.header.api_version);
        response
            .frame(self.header.correlation_id)
            .read()
            .unwrap()
            .to_vec()
    }
}

/// Starts a broker that does with each request what `reply` says, for as long as the test's runtime lives.
pub(super) async fn start(reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Address {
    let options = SocketOptions {
        backlog: 10,
        send_buffer_bytes: -1,
        receive_buffer_bytes: -1,
    };
    let listener = net::listen("127.0.0.1:0".parse().unwrap(), options)
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    let reply = Arc::new(reply);
    task::spawn(async move {
        for connection in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let reply = Arc::clone(&reply);
            task::spawn(async move {
                let (mut reads, mut writes) = net::split(stream);
                let mut frames = Frames::new(i32::MAX);
                while let Ok(length) = frames.length(&mut reads).await {
                    let frame = frames.body(&mut reads, length).await.unwrap();
                    let (header, body) = RequestHeader::decode(frame).unwrap();
                    let asked = Asked {
                        connection,
                        header,
                        body,
                    };
                    let (bytes, is_last) = match reply(&asked) {
                        Reply::Bytes(bytes) => (bytes, false),
                        Reply::Last(bytes) => (bytes, true),
                        Reply::Silence => continue,
                        Reply::Late(after, bytes) => {
                            clock::sleep(after).await;
                            (bytes, false)
                        }
                    };
                    // Who asked may have gone.
                    let _ = writes.write_all(&bytes, false).await;
                    if is_last {
                        return;
                    }
                }
            });
        }
    });
    Address {
        broker: BrokerId(2),
        host: "127.0.0.1".into(),
        port: port.into(),
    }
}

/// Options for tests.
pub(super) fn options() -> Options {
    Options::new("1", Duration::from_secs(10))
}
