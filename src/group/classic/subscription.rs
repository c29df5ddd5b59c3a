//! What topics a consumer subscribes to, out of the metadata that it joins with.
//!
//! Every version of `ConsumerProtocolSubscription` begins as version 0 does: the version, the topics, data of the
//! client's, which may be null. The rest is none of the broker's. As in Kafka (`GroupMetadata.computeSubscribedTopics`),
//! what is cut off before the end of that is no subscription, and the version may be any number.

use bytes::Bytes;

use crate::wire::reader::{DecodeError, Reader};
use crate::wire::text::Text;

/// The topics of a subscription, in memory of their own.
///
/// # Errors
/// It is no subscription.
pub(super) fn topics_of(metadata: Bytes) -> Result<Vec<Text>, DecodeError> {
    let mut reader = Reader::new(metadata);
    reader.i16()?;
    let topics = reader.array(false, |reader| Ok(Text::copy(&reader.text(false)?)))?;
    if let Ok(length) = usize::try_from(reader.i32()?) {
        reader.take(length)?;
    }
    Ok(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_come_first_in_every_version() {
        for metadata in [
            &b"\0\x03\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xffwhatever"[..],
            b"\0\0\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xfe",
            b"\0\x01\0\0\0\x02\0\x01a\0\x02bc\0\0\0\x03ownwhatever",
            b"\0\0\0\0\0\x02\0\x01a\0\x02bc\0\0\0\0",
            b"\xff\xff\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff",
        ] {
            assert_eq!(topics_of(Bytes::from_static(metadata)).unwrap(), ["a", "bc"]);
        }
    }

    #[test]
    fn what_is_no_subscription_is_an_error() {
        for metadata in [
            &b""[..],
            b"\0",
            b"\xff\xff\0\0\0\0",
            // Without what the client keeps for itself, within its length, within itself.
            b"\0\0\0\0\0\x01\0\x01a",
            b"\0\0\0\0\0\x01\0\x01a\0\0",
            b"\0\0\0\0\0\x01\0\x01a\0\0\0\x05own",
            b"\0\0\0\0\0\x01",
            b"\0\0\x7f\xff\xff\xff\0\x01a",
            b"\0\0\xff\xff\xff\xff",
        ] {
            assert!(topics_of(Bytes::from_static(metadata)).is_err(), "{metadata:?}");
        }
    }
}
