//! Replay: what is in the log becomes state, at loading and after each write.
//!
//! `GroupMetadataManager.doLoadGroupsAndOffsets`, one record at a time.

use super::GroupShard;
use crate::coordinator::{ReplayError, Replayed};
use crate::group::classic::ClassicGroup;
use crate::group::offsets::Committed;
use crate::group::record::{GroupValue, OffsetValue, RecordKey};
use crate::wire::text::Text;

impl GroupShard {
    pub(super) fn replay_record(&mut self, record: &Replayed<'_>) -> Result<(), ReplayError> {
        match RecordKey::decode(record.key)? {
            None => Ok(()),
            Some(RecordKey::Group { group_id }) => self.replay_group(&group_id, record),
            Some(RecordKey::Offset {
                group_id,
                topic,
                partition,
            }) => self.replay_offset(&group_id, &topic, partition, record),
        }
    }

    fn replay_group(&mut self, group_id: &str, record: &Replayed<'_>) -> Result<(), ReplayError> {
        let Some(value) = record.value else {
            self.forget_group(group_id);
            return Ok(());
        };
        let group_id = Text::copy(group_id);
        let value = GroupValue::decode(value)?;
        let now_ms = record.timestamp_ms;
        let (before, after) = {
            let group = self
                .groups
                .entry(group_id.clone())
                .or_insert_with(|| ClassicGroup::new(group_id, now_ms));
            let before = group.bytes();
            group.load(value);
            group.recorded_at((!record.replicated).then_some(record.offset));
            (before, group.bytes())
        };
        self.group_bytes = (self.group_bytes + after).saturating_sub(before);
        Ok(())
    }

    fn replay_offset(
        &mut self,
        group_id: &str,
        topic: &str,
        partition: i32,
        record: &Replayed<'_>,
    ) -> Result<(), ReplayError> {
        let Some(value) = record.value else {
            self.offsets.remove(group_id, topic, partition);
            return Ok(());
        };
        let committed = Committed {
            value: OffsetValue::decode(value)?,
            log_offset: record.offset,
        };
        if record.transactional {
            self.offsets
                .put_pending(record.producer_id, group_id, topic, partition, committed);
        } else {
            self.offsets
                .put(group_id, topic, partition, committed, record.replicated);
        }
        Ok(())
    }
}
