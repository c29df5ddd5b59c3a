//! [`PeerError`]: why a broker was not asked, or gave no answer.

use std::fmt;
use std::io;

use crate::wire::DecodeError;

/// Why there is no answer. Which broker it was, the caller knows ([`Connection::address`](super::Connection::address)).
///
/// After `Unreachable` and `UnsupportedVersion` the broker has not seen the request. After all others it may have, and
/// may have done what was asked.
#[derive(Debug)]
pub enum PeerError {
    /// No connection could be made.
    Unreachable(io::Error),
    /// The connection broke before the answer was there; the other side closing it is `UnexpectedEof`.
    Broken(io::Error),
    /// The answer did not come in time.
    TimedOut,
    /// What came is no answer to the request.
    BadAnswer(BadAnswer),
    /// There is no version of the request that both know.
    UnsupportedVersion,
}

/// Why bytes are no answer to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadAnswer {
    /// A frame of a length that is negative, zero, or above the largest that is taken.
    Length(i32),
    /// It answers another request.
    CorrelationId {
        /// Of the request.
        expected: i32,
        /// Of the answer.
        found: i32,
    },
    /// It does not have the shape that its version has.
    Malformed(DecodeError),
    /// So many bytes follow where it should end.
    TrailingBytes(usize),
    /// Decoded it would take so many bytes of memory.
    TooLarge(usize),
    /// ApiVersions was answered with this error code.
    ApiVersions(i16),
}

impl PeerError {
    /// True when the broker may have seen the request, and done what it asks.
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::UnsupportedVersion => false,
            Self::Broken(_) | Self::TimedOut | Self::BadAnswer(_) => true,
        }
    }
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "no connection: {error}"),
            Self::Broken(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("the other side closed the connection instead of answering")
            }
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::BadAnswer(why) => write!(f, "a bad answer: {why}"),
            Self::UnsupportedVersion => f.write_str("no version of the request that both brokers know"),
        }
    }
}

impl fmt::Display for BadAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(f, "a frame of {length} bytes is not taken"),
            Self::CorrelationId { expected, found } => {
                write!(f, "it has correlation id {found} instead of {expected}")
            }
            Self::Malformed(error) => write!(f, "{error}"),
            Self::TrailingBytes(count) => write!(f, "{count} bytes follow its end"),
            Self::TooLarge(bytes) => write!(f, "it would take {bytes} bytes of memory"),
            Self::ApiVersions(code) => write!(f, "ApiVersions has error {code}"),
        }
    }
}

impl std::error::Error for PeerError {}
impl std::error::Error for BadAnswer {}

impl From<BadAnswer> for PeerError {
    fn from(why: BadAnswer) -> Self {
        Self::BadAnswer(why)
    }
}

impl From<DecodeError> for BadAnswer {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}
