//! What topics a consumer subscribes to, out of the metadata that it joins with.
//!
//! Every version of `ConsumerProtocolSubscription` begins as version 0 does: the version, then the topics. The rest is
//! none of the broker's.

use bytes::Bytes;

use crate::wire::reader::{DecodeError, Reader};
use crate::wire::text::Text;

/// The topics of a subscription, in memory of their own.
///
/// # Errors
/// It is no subscription.
pub(super) fn topics_of(metadata: Bytes) -> Result<Vec<Text>, DecodeError> {
    let mut reader = Reader::new(metadata);
    if reader.i16()? < 0 {
        return Err(DecodeError::UnsupportedVersion);
    }
    reader.array(false, |reader| Ok(Text::copy(&reader.text(false)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_come_first_in_every_version() {
        let metadata = Bytes::from_static(b"\0\x03\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xffwhatever");
        assert_eq!(topics_of(metadata).unwrap(), ["a", "bc"]);
    }

    #[test]
    fn what_is_no_subscription_is_an_error() {
        for metadata in [
            &b""[..],
            b"\0",
            b"\xff\xff\0\0\0\0",
            b"\0\0\0\0\0\x01",
            b"\0\0\x7f\xff\xff\xff\0\x01a",
            b"\0\0\xff\xff\xff\xff",
        ] {
            assert!(topics_of(Bytes::from_static(metadata)).is_err(), "{metadata:?}");
        }
    }
}
