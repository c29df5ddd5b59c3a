//! Fetch sessions (KIP-227, Kafka's `FetchManager`): a consumer or follower names its partitions once, and later
//! requests and responses carry only what changed.
//!
//! Invariant: a session's epoch moves by one with each request that it accepted, so that an answer prepared for an
//! older epoch never touches the session. Called by the Fetch handler: [`FetchSessions::begin`] before the read,
//! [`FetchSessions::finish`] after it. No I/O, no clock.

mod cache;
mod session;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::error_code::ErrorCode;
use crate::base::ids::{TopicName, Uuid};
use crate::base::random::Random;

use cache::Cache;
use session::{Cached, Session};

/// The session id that stands for "no session".
pub const NO_SESSION: i32 = 0;
/// The epoch of a request that wants a new session.
pub const INITIAL_EPOCH: i32 = 0;
/// The epoch of a request that wants no session, and closes the one it names.
pub const FINAL_EPOCH: i32 = -1;
/// How long a session must have been unused before any other may take its slot, and how old it must be before a
/// larger one may (`FetchSessionCache`'s constant).
pub const MIN_EVICTION_MS: i64 = 120_000;
/// Partitions that all sessions together remember. Kafka bounds the sessions only, and one session may name as many
/// partitions as fit a request; past this number no session is given, which every client can work without.
pub const MAX_CACHED_PARTITIONS: usize = 2_000_000;

/// The epoch that follows `epoch`; the one after the largest is 1.
pub const fn next_epoch(epoch: i32) -> i32 {
    match epoch {
        ..0 => FINAL_EPOCH,
        i32::MAX => 1,
        _ => epoch + 1,
    }
}

/// One partition of a Fetch request, as the request or the session has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchPartition {
    /// The topic's name; `None` for a topic id that no known topic has.
    pub topic: Option<TopicName>,
    /// The topic's id; zero in requests before v13.
    pub topic_id: Uuid,
    /// The partition's index.
    pub partition: i32,
    /// Where to read.
    pub fetch_offset: i64,
    /// The follower's log start offset; −1 from consumers.
    pub log_start_offset: i64,
    /// How much to read at most.
    pub max_bytes: i32,
    /// The leader epoch that the client knows; −1 for none.
    pub current_leader_epoch: i32,
    /// The epoch of the last record that the client has; −1 for none (v12+).
    pub last_fetched_epoch: i32,
}

/// What tells the partitions of a session apart: the topic's id where requests carry ids, else its name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SessionTopic {
    /// By id (v13+).
    Id(Uuid),
    /// By name.
    Name(TopicName),
}

impl FetchPartition {
    /// The partition's key in a session.
    pub fn key(&self) -> (SessionTopic, i32) {
        let topic = match &self.topic {
            Some(name) if self.topic_id.is_zero() => SessionTopic::Name(TopicName::clone(name)),
            _ => SessionTopic::Id(self.topic_id),
        };
        (topic, self.partition)
    }
}

/// What of a partition's answer decides whether an incremental response carries it.
#[derive(Clone, Copy, Debug)]
pub struct AnswerSummary {
    /// Bytes of records.
    pub records_size: usize,
    /// High watermark in the answer.
    pub high_watermark: i64,
    /// Log start offset in the answer.
    pub log_start_offset: i64,
    /// True for an error code other than 0, a diverging epoch or a preferred read replica.
    pub must_respond: bool,
    /// True for an error code other than 0.
    pub is_error: bool,
}

/// How one request is to be answered.
pub enum FetchContext {
    /// The session part of the request is wrong: an empty response with this code.
    Failed(ErrorCode),
    /// No session.
    Sessionless,
    /// A full request that would like a session.
    Full {
        /// True when partitions are told apart by topic id.
        uses_topic_ids: bool,
        /// True for a follower, whose session consumers cannot push out.
        is_follower: bool,
    },
    /// A request within a session.
    Incremental(IncrementalContext),
}

/// The session that a request belongs to.
pub struct IncrementalContext {
    session: Arc<Mutex<Session>>,
    session_id: i32,
    /// The session's epoch while this request is the newest.
    epoch: i32,
}

/// The session's part of a Fetch response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionAnswer {
    /// The response's error code. With an error the response carries no partition.
    pub error: ErrorCode,
    /// The response's session id.
    pub session_id: i32,
}

/// The session part of a Fetch request.
#[derive(Clone, Copy, Debug)]
pub struct SessionRequest {
    /// The id that the request names; 0 for none.
    pub session_id: i32,
    /// The epoch that the request names.
    pub epoch: i32,
    /// True from v13 on.
    pub uses_topic_ids: bool,
    /// True for a follower.
    pub is_follower: bool,
}

/// All fetch sessions of a broker.
pub struct FetchSessions {
    cache: Mutex<Cache>,
    random: Random,
}

impl FetchSessions {
    /// No sessions yet, and room for `slots` (`max.incremental.fetch.session.cache.slots`).
    pub fn new(slots: usize, random: Random) -> Self {
        Self {
            cache: Mutex::new(Cache::new(slots, MAX_CACHED_PARTITIONS)),
            random,
        }
    }

    /// How many sessions there are.
    pub fn count(&self) -> usize {
        self.cache().len()
    }

    /// How many partitions the sessions remember.
    pub fn cached_partitions(&self) -> usize {
        self.cache().partitions()
    }

    /// Takes the session part of a request: yields how to answer it and the partitions to read, in the order in which
    /// they are to be read. `name_of` finds the names of topic ids that were unknown when they came into the session.
    pub fn begin(
        &self,
        request: SessionRequest,
        mut fetched: Vec<FetchPartition>,
        forgotten: &[(SessionTopic, i32)],
        name_of: impl Fn(&Uuid) -> Option<TopicName>,
        now_ms: i64,
    ) -> (FetchContext, Vec<FetchPartition>) {
        if request.epoch == INITIAL_EPOCH || request.epoch == FINAL_EPOCH {
            if request.session_id != NO_SESSION {
                self.cache().remove(request.session_id);
            }
            deduplicate(&mut fetched);
            let context = if request.epoch == FINAL_EPOCH {
                FetchContext::Sessionless
            } else {
                FetchContext::Full {
                    uses_topic_ids: request.uses_topic_ids,
                    is_follower: request.is_follower,
                }
            };
            return (context, fetched);
        }
        let failed = |error| (FetchContext::Failed(error), Vec::new());
        let (found, room) = {
            let cache = self.cache();
            (cache.get(request.session_id), cache.room())
        };
        let Some(session) = found else {
            return failed(ErrorCode::FetchSessionIdNotFound);
        };
        let mut locked = lock(&session);
        if locked.epoch != request.epoch {
            return failed(ErrorCode::InvalidFetchSessionEpoch);
        }
        if locked.uses_topic_ids != request.uses_topic_ids {
            return failed(ErrorCode::FetchSessionTopicIdError);
        }
        if fetched.len() > room {
            // Told that its session is gone, a client asks for everything once more and may get none.
            drop(locked);
            self.cache().remove(request.session_id);
            return failed(ErrorCode::FetchSessionIdNotFound);
        }
        let unchanged = fetched.is_empty() && forgotten.is_empty();
        if !unchanged {
            locked.update(&fetched, forgotten);
        }
        if locked.is_empty() {
            drop(locked);
            self.cache().remove(request.session_id);
            deduplicate(&mut fetched);
            return (FetchContext::Sessionless, fetched);
        }
        locked.epoch = next_epoch(locked.epoch);
        let epoch = locked.epoch;
        let partitions = locked.take_turns(name_of);
        let size = locked.len();
        drop(locked);
        self.cache().touch(request.session_id, size, now_ms);
        let context = IncrementalContext {
            session,
            session_id: request.session_id,
            epoch,
        };
        (FetchContext::Incremental(context), partitions)
    }

    /// Takes the answers of the partitions that [`begin`](Self::begin) yielded: yields the session's part of the
    /// response, and calls `leave_out` with the index of each partition that the response must not carry.
    pub fn finish(
        &self,
        context: &FetchContext,
        partitions: &[FetchPartition],
        answer: impl Fn(usize) -> AnswerSummary,
        mut leave_out: impl FnMut(usize),
        now_ms: i64,
    ) -> SessionAnswer {
        match context {
            FetchContext::Failed(error) => SessionAnswer {
                error: *error,
                session_id: NO_SESSION,
            },
            FetchContext::Sessionless => SessionAnswer {
                error: ErrorCode::None,
                session_id: NO_SESSION,
            },
            FetchContext::Full {
                uses_topic_ids,
                is_follower,
            } => {
                let make = || {
                    let mut session = Session::new(*uses_topic_ids);
                    for (index, partition) in partitions.iter().enumerate() {
                        session.insert(Cached::answered(partition.clone(), &answer(index)));
                    }
                    session
                };
                let session_id = self.cache().create(
                    *is_follower,
                    partitions.len(),
                    now_ms,
                    |bound| self.random.below(bound),
                    make,
                );
                SessionAnswer {
                    error: ErrorCode::None,
                    session_id: session_id.unwrap_or(NO_SESSION),
                }
            }
            FetchContext::Incremental(context) => {
                let mut session = lock(&context.session);
                if session.epoch != context.epoch {
                    return SessionAnswer {
                        error: ErrorCode::InvalidFetchSessionEpoch,
                        session_id: context.session_id,
                    };
                }
                for (index, partition) in partitions.iter().enumerate() {
                    if !session.take_answer(partition, &answer(index)) {
                        leave_out(index);
                    }
                }
                SessionAnswer {
                    error: ErrorCode::None,
                    session_id: context.session_id,
                }
            }
        }
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock(session: &Mutex<Session>) -> std::sync::MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps each partition once: at its first place, with its last values, as the map that Kafka reads a request into.
fn deduplicate(fetched: &mut Vec<FetchPartition>) {
    if fetched.len() < 2 {
        return;
    }
    let mut places = BTreeMap::new();
    let mut kept: Vec<FetchPartition> = Vec::with_capacity(fetched.len());
    for partition in fetched.drain(..) {
        let place = *places.entry(partition.key()).or_insert(kept.len());
        match kept.get_mut(place) {
            Some(earlier) => *earlier = partition,
            None => kept.push(partition),
        }
    }
    *fetched = kept;
}
