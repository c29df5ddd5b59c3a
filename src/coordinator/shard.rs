//! What a coordinator's state machine is to the floor: a [`Shard`], pure and of one partition.
//!
//! Invariant: a shard changes what it keeps in the log in one function only, [`Shard::replay`], whether the record was
//! just written or is read at the start. It does no I/O, reads no clock and starts nothing: it gets `now_ms`, and what
//! is to be done it returns as [`Effects`] or as records. Implemented by group/, later by transaction/; called by the
//! rest of this room, one call at a time.

use std::fmt;

use bytes::Bytes;

use crate::base::error_code::ErrorCode;
use crate::base::ids::Offset;

/// A client that waits for an answer. Made by the floor, unique within a coordinator.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Token(pub u64);

/// A record that is to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewRecord {
    /// Its key.
    pub key: Bytes,
    /// Its value; `None` for a tombstone.
    pub value: Option<Bytes>,
}

/// Whose batch the records of one decision are. The default is a batch of no producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Producer {
    /// The producer's id; −1 for none.
    pub id: i64,
    /// The producer's epoch; −1 for none.
    pub epoch: i16,
    /// The sequence of the first record; −1 for none.
    pub base_sequence: i32,
    /// Part of the producer's transaction.
    pub transactional: bool,
}

impl Default for Producer {
    fn default() -> Self {
        Self {
            id: -1,
            epoch: -1,
            base_sequence: -1,
            transactional: false,
        }
    }
}

/// A record that is in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replayed<'a> {
    /// Its key.
    pub key: &'a [u8],
    /// Its value; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Where it is.
    pub offset: Offset,
    /// Its timestamp in milliseconds.
    pub timestamp_ms: i64,
    /// The producer of its batch; −1 for none.
    pub producer_id: i64,
    /// That producer's epoch; −1 for none.
    pub producer_epoch: i16,
    /// True when it counts only once a marker of its producer says so.
    pub transactional: bool,
    /// False while replicas are waited for: the record may yet be lost, and whoever reads is not to see it before
    /// [`Shard::replicated`] says so. What a load reads counts as replicated: it may have been acknowledged.
    pub replicated: bool,
}

/// A marker that is in the log: the end of a producer's transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndedTransaction {
    /// The producer.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// What it wrote counts; else it is forgotten.
    pub commit: bool,
    /// Where the marker is.
    pub offset: Offset,
    /// As for [`Replayed::replicated`].
    pub replicated: bool,
}

/// A record that cannot be read. It changed nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplayError(pub String);

impl ReplayError {
    /// A record that cannot be read for `reason`.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ReplayError {}

/// What becomes of a timer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TimerChange<T> {
    /// It fires at this time; an earlier setting of it is forgotten.
    Set {
        /// Which timer.
        timer: T,
        /// When, in milliseconds on the clock of `now_ms`.
        at_ms: i64,
    },
    /// It does not fire.
    Cancel(T),
}

/// What is to be done once a step holds.
pub struct Effects<S: Shard> {
    /// Clients that get their answers.
    pub answers: Vec<(Token, S::Answer)>,
    /// Clients that get theirs when the high watermark is at this offset: they tell of what is in the log below it.
    pub held: Vec<(Offset, Token, S::Answer)>,
    /// Timers that change, in this order.
    pub timers: Vec<TimerChange<S::Timer>>,
}

impl<S: Shard> Default for Effects<S> {
    fn default() -> Self {
        Self {
            answers: Vec::new(),
            held: Vec::new(),
            timers: Vec::new(),
        }
    }
}

impl<S: Shard> Effects<S> {
    /// One client gets its answer.
    pub fn answer(token: Token, answer: S::Answer) -> Self {
        Self {
            answers: vec![(token, answer)],
            ..Self::default()
        }
    }
}

/// What a command or a timer comes to.
pub enum Step<S: Shard> {
    /// Nothing to write: the effects hold now.
    Done(Effects<S>),
    /// Records, one batch, that must be in the log first. The shard has changed nothing persistent yet.
    Write {
        /// What is to be written; never nothing.
        records: Vec<NewRecord>,
        /// What the shard wants to be told when it is written, or refused.
        decision: S::Decision,
    },
}

/// The state machine of one partition.
pub trait Shard: Send + Sized + 'static {
    /// What clients ask for.
    type Command: Send + 'static;
    /// What they are answered.
    type Answer: Send + 'static;
    /// The name of a timer.
    type Timer: Ord + Clone + fmt::Debug + Send + 'static;
    /// What goes with records on their way into the log.
    type Decision: Send + 'static;

    /// The one way in which what is in the log becomes state: loading and live writes alike. Keys of versions that are
    /// not known are skipped.
    ///
    /// # Errors
    /// A record that cannot be read: the load goes on without it and says so.
    fn replay(&mut self, record: &Replayed<'_>) -> Result<(), ReplayError>;

    /// A marker ends the transaction of a producer on this partition.
    fn replay_marker(&mut self, ended: EndedTransaction);

    /// All replicas in sync have what is in the log below this offset. Told before a command, while something that was
    /// replayed was not replicated.
    fn replicated(&mut self, _below: Offset) {}

    /// The whole log was read: begins timers.
    fn loaded(&mut self, now_ms: i64) -> Step<Self>;

    /// A client asks.
    fn step(&mut self, command: Self::Command, token: Token, now_ms: i64) -> Step<Self>;

    /// A timer that was set fires; it is set no longer.
    fn fire(&mut self, timer: Self::Timer, now_ms: i64) -> Step<Self>;

    /// The records of `decision` are in the log and were replayed: the rest of the change. The answers go out when the
    /// records are below the high watermark.
    fn written(&mut self, decision: Self::Decision, now_ms: i64) -> Effects<Self>;

    /// The append failed with `error`, a code of the log; nothing was replayed. Takes the change back, and answers with
    /// the code that it means to a client.
    fn refused(&mut self, decision: Self::Decision, error: ErrorCode, now_ms: i64) -> Effects<Self>;

    /// What a client is told instead of `answer` when the records were appended, but not replicated in time.
    fn not_replicated(answer: Self::Answer, error: ErrorCode) -> Self::Answer;

    /// The shard goes away (leadership is lost, the broker stops): the clients that wait inside it.
    fn unload(&mut self) -> Vec<(Token, Self::Answer)>;

    /// Commands were turned away for a while because the log directory did not answer: what waits for clients to give a sign of
    /// life waits anew.
    fn resumed(&mut self, _now_ms: i64) -> Effects<Self> {
        Effects::default()
    }

    /// False for a command that writes nothing: it is taken however many writes wait for replicas.
    fn may_write(_command: &Self::Command) -> bool {
        true
    }

    /// The answer to a command that no shard here can take: NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS,
    /// COORDINATOR_NOT_AVAILABLE.
    fn unavailable(command: &Self::Command, error: ErrorCode) -> Self::Answer;

    /// Whose batch the records of `decision` become.
    fn producer(_decision: &Self::Decision) -> Producer {
        Producer::default()
    }

    /// Bytes of memory that the state takes, roughly: told after loading.
    fn memory_bytes(&self) -> usize {
        0
    }
}
