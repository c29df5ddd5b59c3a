//! What is checked of each record: key and timestamp. Errors are gathered, so that a producer learns of all of them.

use super::{Assignment, RecordError, ValidationError};
use crate::base::error_code::ErrorCode;
use crate::base::format::TimestampType;
use crate::records::batch::{BatchHeader, NO_TIMESTAMP};

/// Records beyond this many get no sentence of their own, so that a batch of tiny wrong records does not make a
/// response many times its size.
const MOST_MESSAGES: usize = 100;

/// Checks the records of one batch.
pub(super) struct RecordChecks {
    compacted: bool,
    create_time: bool,
    /// The batch says that its timestamps are append times, which a producer cannot know.
    claims_append_time: bool,
    now_ms: i64,
    before_max_ms: i64,
    after_max_ms: i64,
    index: i32,
    errors: Vec<RecordError>,
    timestamp_errors: bool,
}

impl RecordChecks {
    pub(super) fn new(assignment: &Assignment<'_>, header: &BatchHeader) -> Self {
        let rules = assignment.rules;
        Self {
            compacted: rules.compacted,
            create_time: rules.timestamp_type == TimestampType::CreateTime,
            claims_append_time: header.timestamp_type() == TimestampType::LogAppendTime,
            now_ms: assignment.now_ms,
            before_max_ms: rules.before_max_ms,
            after_max_ms: rules.after_max_ms,
            index: 0,
            errors: Vec::new(),
            timestamp_errors: false,
        }
    }

    /// True until a record was wrong.
    pub(super) fn are_passed(&self) -> bool {
        self.errors.is_empty()
    }

    /// Checks the next record.
    #[inline(always)]
    pub(super) fn see(&mut self, has_key: bool, timestamp: i64) {
        if self.compacted && !has_key {
            self.fail(ErrorCode::InvalidRecord, || {
                "a record of a compacted topic needs a key".into()
            });
        } else if self.create_time && timestamp != NO_TIMESTAMP {
            // Wraps as Java does, which the default bounds count on.
            let age = self.now_ms.wrapping_sub(timestamp);
            if age > self.before_max_ms || age.wrapping_neg() > self.after_max_ms {
                self.fail_timestamp(timestamp);
            }
        } else if self.claims_append_time {
            self.fail(ErrorCode::InvalidTimestamp, || {
                "a producer may not set the timestamp type LogAppendTime".into()
            });
        }
        self.index = self.index.wrapping_add(1);
    }

    /// Notes that the next record is of another format than its wrapper.
    pub(super) fn fail_magic(&mut self, inner: u8, outer: u8) {
        self.fail(ErrorCode::InvalidRecord, || {
            format!("message of format {inner} in a set of format {outer}")
        });
        self.index = self.index.wrapping_add(1);
    }

    #[cold]
    fn fail_timestamp(&mut self, timestamp: i64) {
        let from = self.now_ms.wrapping_sub(self.before_max_ms);
        let to = self.now_ms.wrapping_add(self.after_max_ms);
        self.fail(ErrorCode::InvalidTimestamp, || {
            format!("timestamp {timestamp} is outside of {from} to {to}")
        });
    }

    #[cold]
    fn fail(&mut self, code: ErrorCode, message: impl FnOnce() -> String) {
        self.timestamp_errors |= code == ErrorCode::InvalidTimestamp;
        let message = (self.errors.len() < MOST_MESSAGES).then(message);
        self.errors.push(RecordError {
            batch_index: self.index,
            message,
        });
    }

    /// The verdict on the batch. A wrong timestamp weighs more than any other error, as in Kafka.
    pub(super) fn finish(self) -> Result<(), ValidationError> {
        if self.errors.is_empty() {
            return Ok(());
        }
        let code = if self.timestamp_errors {
            ErrorCode::InvalidTimestamp
        } else {
            ErrorCode::InvalidRecord
        };
        let first = self.errors.first().and_then(|error| error.message.as_deref());
        Err(ValidationError {
            code,
            message: format!(
                "{} of the batch's records refused, the first: {}",
                self.errors.len(),
                first.unwrap_or_default()
            ),
            record_errors: self.errors,
        })
    }
}
