//! Names of the log format that configuration, records and storage share.

/// How the records of a batch are compressed; the number is the one in the batch's attributes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Codec {
    /// Not compressed.
    None = 0,
    /// gzip (RFC 1952).
    Gzip = 1,
    /// Snappy, in snappy-java's framing.
    Snappy = 2,
    /// LZ4 frames.
    Lz4 = 3,
    /// Zstandard (RFC 8878), from Kafka 2.1 on.
    Zstd = 4,
}

impl Codec {
    /// The codec with this number in a batch's attributes; `None` for 5 to 7.
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The name in `compression.type`; Kafka's name for none there is `uncompressed`, in tools `none`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// Whose clock a record's timestamp is (`message.timestamp.type`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, at the append.
    LogAppendTime,
}
