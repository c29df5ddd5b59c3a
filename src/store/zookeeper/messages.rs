//! What goes over the wire to a server of ZooKeeper and back (ZooKeeper: `zookeeper.jute`, `MultiOperationRecord`,
//! `MultiResponse`). Encodes and decodes, nothing else.

use std::time::Duration;

use bytes::{BufMut, BytesMut};

use super::jute::{Malformed, Reader, put_data, put_frame, put_text, put_texts};
use crate::store::{
    ChangeKind, CreateKind, MultiError, Operation, Outcome, SessionId, Stat, StoreError, Zxid,
};

/// The kind of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub(super) enum OpCode {
    Exists = 3,
    GetData = 4,
    SetData = 5,
    Sync = 9,
    Ping = 11,
    GetChildren = 12,
    Check = 13,
    Multi = 14,
    Create = 15,
    Delete = 2,
    SetWatches = 101,
    Close = -11,
}

/// `xid` of an event, which no request asked for.
pub(super) const XID_EVENT: i32 = -1;
/// `xid` of a ping.
pub(super) const XID_PING: i32 = -2;
/// `xid` of the watches that a new connection sets again.
pub(super) const XID_WATCHES: i32 = -8;

/// Codes of errors that are about the session or the server (ZooKeeper: `KeeperException.Code`).
pub(super) mod code {
    pub(in crate::store::zookeeper) const OK: i32 = 0;
    pub(in crate::store::zookeeper) const NO_NODE: i32 = -101;
    pub(in crate::store::zookeeper) const SESSION_EXPIRED: i32 = -112;
    pub(in crate::store::zookeeper) const AUTH_FAILED: i32 = -115;
    pub(in crate::store::zookeeper) const SESSION_MOVED: i32 = -118;
    pub(in crate::store::zookeeper) const SASL_REQUIRED: i32 = -124;
}

/// What an error of a server means to a caller.
pub(super) fn error_of(code: i32) -> StoreError {
    match code {
        code::NO_NODE => StoreError::NoNode,
        -103 => StoreError::BadVersion,
        -108 => StoreError::NoChildrenForEphemerals,
        -110 => StoreError::NodeExists,
        -111 => StoreError::NotEmpty,
        -8 | -114 => StoreError::BadArguments,
        // No right to the node; a quota of the operator's.
        -102 | -125 => StoreError::NotAllowed,
        code::SESSION_EXPIRED => StoreError::SessionExpired,
        // Time-outs and overload within the ensemble, and a session that another server has by now.
        -4 | -7 | -122 | -127 | code::SESSION_MOVED => StoreError::ConnectionLoss,
        _ => StoreError::Failed,
    }
}

/// The first message of a connection.
#[derive(Clone)]
pub(super) struct Hello {
    pub(super) last_zxid: Zxid,
    pub(super) timeout_ms: i32,
    /// 0 asks for a new session.
    pub(super) session: i64,
    pub(super) password: Vec<u8>,
}

impl Hello {
    /// That of a new session.
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            last_zxid: 0,
            timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
            session: 0,
            password: vec![0; 16],
        }
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        put_frame(out, |out| {
            out.put_i32(0); // version of the protocol
            out.put_i64(self.last_zxid);
            out.put_i32(self.timeout_ms);
            out.put_i64(self.session);
            put_data(out, Some(&self.password));
            out.put_u8(0); // not content with a server that can only read
        });
    }
}

/// The answer to a [`Hello`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Welcome {
    /// What the server made of the time that was asked for; not above 0 when the session has expired.
    pub(super) timeout_ms: i32,
    pub(super) session: i64,
    pub(super) password: Vec<u8>,
}

impl Welcome {
    pub(super) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(body);
        reader.i32()?;
        Ok(Self {
            timeout_ms: reader.i32()?,
            session: reader.i64()?,
            password: reader.data()?.unwrap_or_default().to_vec(),
        })
    }
}

/// What stands before each answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) xid: i32,
    pub(super) zxid: Zxid,
    pub(super) error: i32,
}

impl Header {
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            xid: reader.i32()?,
            zxid: reader.i64()?,
            error: reader.i32()?,
        })
    }
}

/// A request that has nothing but its header.
pub(super) fn bare(out: &mut BytesMut, xid: i32, operation: OpCode) {
    put_frame(out, |out| put_header(out, xid, operation));
}

/// A request about a path; `watch` where the kind has that.
pub(super) fn about(out: &mut BytesMut, xid: i32, operation: OpCode, path: &str, watch: Option<bool>) {
    put_frame(out, |out| {
        put_header(out, xid, operation);
        put_text(out, path);
        if let Some(watch) = watch {
            out.put_u8(watch.into());
        }
    });
}

/// Sets watches again that an earlier connection had, as of the change `seen`.
pub(super) fn set_watches(
    out: &mut BytesMut,
    seen: Zxid,
    present: &[&str],
    absent: &[&str],
    children: &[&str],
) {
    put_frame(out, |out| {
        put_header(out, XID_WATCHES, OpCode::SetWatches);
        out.put_i64(seen);
        for paths in [present, absent, children] {
            put_texts(out, paths);
        }
    });
}

/// Operations that are one change.
pub(super) fn multi(out: &mut BytesMut, xid: i32, operations: &[Operation]) {
    put_frame(out, |out| {
        put_header(out, xid, OpCode::Multi);
        for operation in operations {
            put_operation(out, operation);
        }
        put_multi_header(out, -1, true);
    });
}

fn put_header(out: &mut BytesMut, xid: i32, operation: OpCode) {
    out.put_i32(xid);
    out.put_i32(operation as i32);
}

fn put_multi_header(out: &mut BytesMut, operation: i32, done: bool) {
    out.put_i32(operation);
    out.put_u8(done.into());
    out.put_i32(-1);
}

fn put_operation(out: &mut BytesMut, operation: &Operation) {
    let kind = match operation {
        Operation::Create { .. } => OpCode::Create,
        Operation::Set { .. } => OpCode::SetData,
        Operation::Delete { .. } => OpCode::Delete,
        Operation::Check { .. } => OpCode::Check,
    };
    put_multi_header(out, kind as i32, false);
    put_text(out, operation.path());
    match operation {
        Operation::Create { data, kind, .. } => {
            put_data(out, data.as_deref());
            put_open_acl(out);
            out.put_i32(match kind {
                CreateKind::Persistent => 0,
                CreateKind::Ephemeral => 1,
                CreateKind::PersistentSequential => 2,
                CreateKind::EphemeralSequential => 3,
            });
        }
        Operation::Set { data, version, .. } => {
            put_data(out, data.as_deref());
            out.put_i32(version.unwrap_or(-1));
        }
        Operation::Delete { version, .. } | Operation::Check { version, .. } => {
            out.put_i32(version.unwrap_or(-1));
        }
    }
}

/// Everything is allowed to everybody, as `zookeeper.set.acl=false` has it.
fn put_open_acl(out: &mut BytesMut) {
    const ALL: i32 = 31;
    out.put_i32(1);
    out.put_i32(ALL);
    put_text(out, "world");
    put_text(out, "anyone");
}

pub(super) fn stat(reader: &mut Reader<'_>) -> Result<Stat, Malformed> {
    let (czxid, mzxid) = (reader.i64()?, reader.i64()?);
    let (ctime_ms, mtime_ms) = (reader.i64()?, reader.i64()?);
    let (version, cversion, _acl_version) = (reader.i32()?, reader.i32()?, reader.i32()?);
    let owner = Some(reader.i64()?).filter(|owner| *owner != 0).map(SessionId);
    let (_data_length, children, pzxid) = (reader.i32()?, reader.i32()?, reader.i64()?);
    Ok(Stat {
        czxid,
        mzxid,
        pzxid,
        version,
        cversion,
        owner,
        ctime_ms,
        mtime_ms,
        children,
    })
}

/// An event: what happened, and to which path; `None` for what is about the session.
pub(super) fn event(reader: &mut Reader<'_>) -> Result<Option<(ChangeKind, String)>, Malformed> {
    let kind = match reader.i32()? {
        1 => ChangeKind::Created,
        2 => ChangeKind::Deleted,
        3 => ChangeKind::Data,
        4 => ChangeKind::Children,
        _ => return Ok(None),
    };
    reader.i32()?;
    Ok(Some((kind, reader.text()?)))
}

/// Who and when: what a server of ours leaves out of an answer.
#[derive(Clone, Copy)]
pub(super) struct Made {
    pub(super) zxid: Zxid,
    pub(super) session: SessionId,
    pub(super) now_ms: i64,
}

/// The answer to a [`multi`].
pub(super) fn outcomes(
    reader: &mut Reader<'_>,
    operations: &[Operation],
    made: Made,
) -> Result<Result<Vec<Outcome>, MultiError>, Malformed> {
    let mut outcomes = Vec::new();
    let mut failed = None;
    for index in 0.. {
        let (kind, done, _) = (reader.i32()?, reader.bool()?, reader.i32()?);
        if done {
            break;
        }
        let operation = operations.get(index).ok_or(Malformed)?;
        outcomes.push(match kind {
            -1 => {
                // Those before the one that failed have no error, and those behind it one that says so.
                let code = reader.i32()?;
                if code != code::OK && failed.is_none() {
                    failed = Some(MultiError {
                        index: Some(index),
                        error: error_of(code),
                    });
                }
                continue;
            }
            // Without a stat, as servers before 3.8.2 answer (ZOOKEEPER-4026).
            1 => created(reader.text()?, None, operation, made),
            15 => {
                let path = reader.text()?;
                let stat = stat(reader)?;
                created(path, Some(stat).filter(|stat| stat.czxid != 0), operation, made)
            }
            2 => Outcome::Deleted,
            5 => Outcome::Set(stat(reader)?),
            13 => Outcome::Checked,
            _ => return Err(Malformed),
        });
    }
    match failed {
        Some(failed) => Ok(Err(failed)),
        None if outcomes.len() == operations.len() => Ok(Ok(outcomes)),
        None => Err(Malformed),
    }
}

/// A created node; all of its stat but the time follows from the change that made it.
fn created(path: String, stat: Option<Stat>, operation: &Operation, made: Made) -> Outcome {
    let ephemeral = matches!(
        operation,
        Operation::Create {
            kind: CreateKind::Ephemeral | CreateKind::EphemeralSequential,
            ..
        }
    );
    let stat = stat.unwrap_or(Stat {
        czxid: made.zxid,
        mzxid: made.zxid,
        pzxid: made.zxid,
        owner: ephemeral.then_some(made.session),
        ctime_ms: made.now_ms,
        mtime_ms: made.now_ms,
        ..Stat::default()
    });
    Outcome::Created { path, stat }
}
