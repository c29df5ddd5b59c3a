//! What callers ask of ZooKeeper: how each request is sent, answered, and what becomes of it when its answer is lost.
//!
//! Reads are asked again after a lost connection. A change is not: whether it was made is unknown, and only its caller
//! knows how to read that back.

use bytes::BytesMut;
use tokio::sync::oneshot;

use super::jute::{Malformed, Reader};
use super::messages::{self, Header, Made, OpCode, code, error_of};
use super::watched::Watched;
use crate::base::clock;
use crate::store::{ChangeKind, MultiError, Node, Operation, Outcome, SessionId, StoreError, Watcher};

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A request; its paths are those of the server, chroot included.
pub(super) enum Request {
    Get {
        path: String,
        reply: Reply<Option<Node>>,
    },
    GetAndWatch {
        path: String,
        reply: Reply<(Option<Node>, Watcher)>,
    },
    /// The second half of [`Request::GetAndWatch`] for a node that is not there, which only `exists` can watch.
    WatchAbsent {
        path: String,
        reply: Reply<(Option<Node>, Watcher)>,
    },
    Children {
        path: String,
        reply: Reply<Option<Vec<String>>>,
    },
    ChildrenAndWatch {
        path: String,
        reply: Reply<Option<(Vec<String>, Watcher)>>,
    },
    Multi {
        operations: Vec<Operation>,
        reply: oneshot::Sender<Result<Vec<Outcome>, MultiError>>,
    },
    /// Has the server catch up with its leader.
    Sync,
    /// Ends the session.
    Close,
}

/// What an answer leads to.
pub(super) enum Next {
    Nothing,
    /// To be sent at once, in the place of the one that was answered.
    Ask(Request),
}

impl Request {
    pub(super) fn encode(&self, xid: i32, out: &mut BytesMut) {
        let about = |out: &mut BytesMut, operation, path: &str, watch| {
            messages::about(out, xid, operation, path, watch);
        };
        match self {
            Self::Get { path, .. } => about(out, OpCode::GetData, path, Some(false)),
            Self::GetAndWatch { path, .. } => about(out, OpCode::GetData, path, Some(true)),
            Self::WatchAbsent { path, .. } => about(out, OpCode::Exists, path, Some(true)),
            Self::Children { path, .. } => about(out, OpCode::GetChildren, path, Some(false)),
            Self::ChildrenAndWatch { path, .. } => about(out, OpCode::GetChildren, path, Some(true)),
            Self::Multi { operations, .. } => messages::multi(out, xid, operations),
            Self::Sync => about(out, OpCode::Sync, "/", None),
            Self::Close => messages::bare(out, xid, OpCode::Close),
        }
    }

    /// True when nobody waits for it and it would change nothing.
    pub(super) fn is_pointless(&self) -> bool {
        match self {
            Self::Get { reply, .. } => reply.is_closed(),
            Self::GetAndWatch { reply, .. } | Self::WatchAbsent { reply, .. } => reply.is_closed(),
            Self::Children { reply, .. } => reply.is_closed(),
            Self::ChildrenAndWatch { reply, .. } => reply.is_closed(),
            Self::Multi { .. } | Self::Sync | Self::Close => false,
        }
    }

    /// The request again when it is to be asked again after the connection broke; a change is answered with
    /// [`StoreError::ConnectionLoss`].
    pub(super) fn after_loss(self) -> Option<Self> {
        match self {
            Self::Multi { .. } | Self::Sync | Self::Close => {
                self.fail(StoreError::ConnectionLoss);
                None
            }
            read => Some(read),
        }
    }

    pub(super) fn fail(self, error: StoreError) {
        // Who has dropped the future does not want to know.
        match self {
            Self::Get { reply, .. } => drop(reply.send(Err(error))),
            Self::GetAndWatch { reply, .. } | Self::WatchAbsent { reply, .. } => drop(reply.send(Err(error))),
            Self::Children { reply, .. } => drop(reply.send(Err(error))),
            Self::ChildrenAndWatch { reply, .. } => drop(reply.send(Err(error))),
            Self::Multi { reply, .. } => drop(reply.send(Err(error.into()))),
            Self::Sync | Self::Close => {}
        }
    }

    /// Answers it, and notes its watch.
    ///
    /// # Errors
    /// When the answer is not what was asked for; the request then has failed.
    pub(super) fn answer(
        self,
        header: Header,
        body: &mut Reader<'_>,
        session: SessionId,
        watched: &mut Watched,
    ) -> Result<Next, Malformed> {
        let found = header.error == code::OK;
        let is_absent = header.error == code::NO_NODE && self.takes_absence();
        if !found && !is_absent {
            self.fail(error_of(header.error));
            return Ok(Next::Nothing);
        }
        match self {
            Self::Get { reply, .. } => tell(reply, absent_or(found, || node(body))),
            Self::GetAndWatch { path, reply } => match absent_or(found, || node(body)) {
                Ok(None) => return Ok(Next::Ask(Self::WatchAbsent { path, reply })),
                read => {
                    let watcher = watched.present(&path);
                    tell(reply, read.map(|node| (node, watcher)))
                }
            },
            Self::WatchAbsent { path, reply } => {
                // The answer is that of its first half, when the node was not there: it has been created since.
                let watcher = if found {
                    Watcher::fired(ChangeKind::Created)
                } else {
                    watched.absent(&path)
                };
                tell(reply, Ok((None, watcher)))
            }
            Self::Children { reply, .. } => tell(reply, absent_or(found, || names(body))),
            Self::ChildrenAndWatch { path, reply } => tell(
                reply,
                absent_or(found, || Ok((names(body)?, watched.children(&path)))),
            ),
            Self::Multi { operations, reply } => {
                let made = Made {
                    zxid: header.zxid,
                    session,
                    now_ms: clock::now_ms(),
                };
                let (answer, outcome) = match messages::outcomes(body, &operations, made) {
                    Ok(answer) => (answer, Ok(())),
                    Err(malformed) => (Err(StoreError::ConnectionLoss.into()), Err(malformed)),
                };
                drop(reply.send(answer));
                outcome
            }
            Self::Sync | Self::Close => Ok(()),
        }?;
        Ok(Next::Nothing)
    }

    /// True when a node that is not there is an answer and no failure.
    fn takes_absence(&self) -> bool {
        !matches!(self, Self::Multi { .. } | Self::Sync | Self::Close)
    }
}

fn absent_or<T>(found: bool, read: impl FnOnce() -> Result<T, Malformed>) -> Result<Option<T>, Malformed> {
    if found { read().map(Some) } else { Ok(None) }
}

fn tell<T>(reply: Reply<T>, answer: Result<T, Malformed>) -> Result<(), Malformed> {
    let (answer, outcome) = match answer {
        Ok(answer) => (Ok(answer), Ok(())),
        Err(malformed) => (Err(StoreError::ConnectionLoss), Err(malformed)),
    };
    drop(reply.send(answer));
    outcome
}

fn node(body: &mut Reader<'_>) -> Result<Node, Malformed> {
    Ok(Node {
        data: body.data()?,
        stat: messages::stat(body)?,
    })
}

fn names(body: &mut Reader<'_>) -> Result<Vec<String>, Malformed> {
    let mut names = body.texts()?;
    names.sort_unstable();
    Ok(names)
}
