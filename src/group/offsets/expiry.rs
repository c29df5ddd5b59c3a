//! Which offsets have expired (KIP-211; `GroupMetadata.removeExpiredOffsets`).
//!
//! An offset does not expire while members subscribe to its topic, nor while an open transaction would commit it anew, nor
//! before it is replicated.

use std::collections::BTreeSet;

use super::{Committed, OffsetTable};
use crate::group::record::OffsetValue;
use crate::wire::text::Text;

/// Which offsets of a group can expire, and from when on their age counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::group) enum Expiry {
    /// None: nobody can tell what the group still needs.
    Never,
    /// All, from when the group became empty; when that is not known, from when each was committed.
    SinceEmpty(Option<i64>),
    /// Those of other topics than these, from when each was committed.
    SinceCommit {
        /// The topics that members subscribe to.
        except: BTreeSet<Text>,
    },
}

impl Expiry {
    fn has_expired(&self, topic: &str, value: &OffsetValue, now_ms: i64, retention_ms: i64) -> bool {
        let since_ms = match self {
            Self::Never => return false,
            Self::SinceCommit { except } if except.contains(topic) => return false,
            Self::SinceEmpty(Some(since_ms)) => *since_ms,
            Self::SinceEmpty(None) | Self::SinceCommit { .. } => value.commit_timestamp_ms,
        };
        match value.expire_timestamp_ms {
            Some(at_ms) => now_ms >= at_ms,
            None => now_ms.saturating_sub(since_ms) >= retention_ms,
        }
    }
}

impl OffsetTable {
    /// The partitions of a group whose offsets have expired.
    pub fn expired(
        &self,
        group_id: &str,
        expiry: &Expiry,
        now_ms: i64,
        retention_ms: i64,
    ) -> Vec<(Text, i32)> {
        if *expiry == Expiry::Never {
            return Vec::new();
        }
        let is_expired = |(topic, partition, committed): &(&str, i32, &Committed)| {
            expiry.has_expired(topic, &committed.value, now_ms, retention_ms)
                && !self.is_pending(group_id, topic, *partition)
                && !self.is_unreplicated(group_id, topic, *partition)
        };
        self.iter(group_id)
            .filter(is_expired)
            .map(|(topic, partition, _)| (Text::copy(topic), partition))
            .collect()
    }
}
