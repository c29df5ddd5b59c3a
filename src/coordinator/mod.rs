//! L5: what every coordinator needs, whatever it coordinates.
//!
//! A coordinator is a topic of this cluster (`__consumer_offsets`) whose partitions are state machines: the broker that
//! leads a partition runs its [`Shard`]. This room has the rest: a shard is loaded from its log when leadership comes
//! and goes when it leaves; a command becomes records and an answer, the records go into the log and then through the
//! one function that also loads them, the answer leaves when they are replicated, and then the shard is told; an append
//! that fails is taken back; timers fire. What it coordinates it does not know.
//!
//! Signals that come up to it, each in the order of the changes, none of which waits for anything here:
//!
//! | from | signal | what becomes of it | bound |
//! |---|---|---|---|
//! | replica/control | a partition is led from an epoch on | the shard is put in place and queued for loading | partitions |
//! | replica/control, replica/background | a partition is led no more, stopped, or its disk failed | the shard goes, its clients are told | partitions |
//! | replica/partition | the high watermark rose | answers leave | [`MAX_UNREPLICATED`] a shard |

mod act;
mod asked;
mod attention;
mod batch;
#[expect(clippy::module_inception, reason = "the room's own thing")]
mod coordinator;
mod elections;
mod load;
mod replicated;
mod settings;
pub mod shard;
mod slot;
mod timers;

#[cfg(test)]
mod counter_test;

pub use asked::Asked;
pub use coordinator::{Coordinator, Ending, ShardStatus};
pub use replicated::MAX_UNREPLICATED;
pub use settings::CoordinatorSettings;
pub use shard::{
    Effects, EndedTransaction, NewRecord, Producer, ReplayError, Replayed, Shard, Step, TimerChange, Token,
};
pub use slot::Standing;
