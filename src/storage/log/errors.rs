//! What can go wrong with a log, one enum an operation.

use std::fmt;
use std::path::PathBuf;

use crate::base::ids::Offset;
use crate::records::batch::CorruptBatch;
use crate::records::validate::ValidationError;
use crate::storage::file_names::MalformedFileName;
use crate::storage::producer_state::ProducerError;
use crate::storage::segment::SegmentError;
use crate::storage::volume::LogIoError;

/// Why records were not appended. The log is as before, except where the volume went offline.
#[derive(Clone, PartialEq, Debug)]
pub enum AppendError {
    /// The disk failed; the volume is offline.
    Io(LogIoError),
    /// The records are not what a producer may send.
    Invalid(Box<ValidationError>),
    /// The records take more than `segment.bytes`: RECORD_LIST_TOO_LARGE.
    LargerThanSegment {
        /// Their bytes.
        bytes: u64,
        /// `segment.bytes`.
        segment_bytes: u32,
    },
    /// The producer's epoch, sequence or transaction does not allow it.
    Producer(ProducerError),
    /// A batch from the leader does not survive its checksum.
    Corrupt(CorruptBatch),
    /// Offsets from the leader do not increase.
    OffsetsOutOfOrder {
        /// The last offset of a batch.
        last: Offset,
        /// The one that follows it.
        next: Offset,
    },
    /// Records from the leader begin below this log's end. Where the log is empty, the follower may start it anew at
    /// `first` (Kafka: `UnexpectedAppendOffsetException`).
    UnexpectedOffset {
        /// Their first offset; for v0 and v1 the last offset of the first batch.
        first: Offset,
        /// Their last offset.
        last: Offset,
        /// This log's end.
        log_end_offset: Offset,
    },
    /// A segment cannot be read, so that it is not known whether to roll.
    CorruptLog(SegmentError),
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Invalid(error) => error.fmt(f),
            Self::LargerThanSegment { bytes, segment_bytes } => {
                write!(f, "{bytes} bytes do not fit into a segment of {segment_bytes}")
            }
            Self::Producer(error) => error.fmt(f),
            Self::Corrupt(error) => error.fmt(f),
            Self::OffsetsOutOfOrder { last, next } => {
                write!(
                    f,
                    "offset {next} follows offset {last} in records from the leader"
                )
            }
            Self::UnexpectedOffset {
                first,
                last,
                log_end_offset,
            } => write!(
                f,
                "records {first} to {last} from the leader begin below the log end offset {log_end_offset}"
            ),
            Self::CorruptLog(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AppendError {}

impl From<LogIoError> for AppendError {
    fn from(error: LogIoError) -> Self {
        Self::Io(error)
    }
}

impl From<SegmentError> for AppendError {
    fn from(error: SegmentError) -> Self {
        match error {
            SegmentError::Io(error) => Self::Io(error),
            corrupt @ SegmentError::Corrupt { .. } => Self::CorruptLog(corrupt),
        }
    }
}

/// Why nothing was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadError {
    /// The disk failed; the volume is offline.
    Io(LogIoError),
    /// Below the log's start, or above its end: OFFSET_OUT_OF_RANGE.
    OutOfRange {
        /// What was asked for.
        offset: Offset,
        /// The log's start.
        log_start_offset: Offset,
        /// The log's end.
        log_end_offset: Offset,
    },
    /// What stands in the log is no batch: CORRUPT_MESSAGE.
    Corrupt(SegmentError),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::OutOfRange {
                offset,
                log_start_offset,
                log_end_offset,
            } => write!(
                f,
                "offset {offset} is not in the log, which has {log_start_offset} to {log_end_offset}"
            ),
            Self::Corrupt(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<LogIoError> for ReadError {
    fn from(error: LogIoError) -> Self {
        Self::Io(error)
    }
}

impl From<SegmentError> for ReadError {
    fn from(error: SegmentError) -> Self {
        match error {
            SegmentError::Io(error) => Self::Io(error),
            corrupt @ SegmentError::Corrupt { .. } => Self::Corrupt(corrupt),
        }
    }
}

/// Why a log could not be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OpenError {
    /// The disk failed; the volume is offline.
    Io(LogIoError),
    /// A file is named like one of ours and is none.
    FileName {
        /// The folder.
        folder: PathBuf,
        /// The name.
        name: MalformedFileName,
    },
    /// A `.log` is larger than any that Kafka reads.
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        bytes: u64,
    },
    /// A segment holds offsets that its index cannot name: a compaction by Kafka before 1.1 left it (KAFKA-6264).
    OffsetOverflow {
        /// The file.
        path: PathBuf,
        /// The offset.
        offset: Offset,
    },
    /// `partition.metadata` cannot be read, although the log holds records.
    PartitionMetadata {
        /// The folder.
        folder: PathBuf,
        /// Why.
        reason: String,
    },
    /// A header that was right a moment ago is not any more.
    Corrupt(SegmentError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::FileName { folder, name } => write!(f, "{}: {name}", folder.display()),
            Self::TooLarge { path, bytes } => {
                write!(
                    f,
                    "{} has {bytes} bytes, more than a segment can have",
                    path.display()
                )
            }
            Self::OffsetOverflow { path, offset } => write!(
                f,
                "{} holds offset {offset}, too far from its base for an index; a Kafka broker splits such a segment",
                path.display()
            ),
            Self::PartitionMetadata { folder, reason } => {
                write!(
                    f,
                    "partition.metadata in {} cannot be used: {reason}",
                    folder.display()
                )
            }
            Self::Corrupt(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<LogIoError> for OpenError {
    fn from(error: LogIoError) -> Self {
        Self::Io(error)
    }
}

impl From<SegmentError> for OpenError {
    fn from(error: SegmentError) -> Self {
        match error {
            SegmentError::Io(error) => Self::Io(error),
            corrupt @ SegmentError::Corrupt { .. } => Self::Corrupt(corrupt),
        }
    }
}
