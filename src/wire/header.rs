//! The headers of requests and responses.
//!
//! Invariant: reading one allocates nothing but for a client id that is not UTF-8, and takes at most
//! [`MAX_TAGGED_FIELDS`](crate::wire::reader::MAX_TAGGED_FIELDS) tagged fields. Called by dispatch for each frame,
//! before anything is known of who sent it, and by the connections to other brokers.

use std::fmt;

use bytes::Bytes;

use crate::wire::api_key::ApiKey;
use crate::wire::reader::{DecodeError, Reader};
use crate::wire::text::Text;
use crate::wire::writer::Writer;

/// The header of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestHeader {
    /// The API asked for.
    pub api_key: ApiKey,
    /// The version of the request, and of the response that is due. It need not be one that the API has.
    pub api_version: i16,
    /// The number by which the client finds the response's request.
    pub correlation_id: i32,
    /// What the client calls itself (`client.id`).
    pub client_id: Option<Text>,
}

/// Why a frame has no request header that could be answered; the connection is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderError {
    /// An API with a number that Kafka does not have.
    UnknownApi {
        /// The number.
        code: i16,
        /// The version asked for.
        version: i16,
    },
    /// Bytes that are no header.
    Malformed(DecodeError),
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownApi { code, version } => write!(f, "unknown API {code} in version {version}"),
            Self::Malformed(error) => write!(f, "malformed request header: {error}"),
        }
    }
}

impl std::error::Error for HeaderError {}

impl From<DecodeError> for HeaderError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl RequestHeader {
    /// Reads the header from the beginning of a frame (without its size) and returns it with the body.
    ///
    /// A version that the API does not have is no error here, because ApiVersions is answered even then; its header
    /// is taken for that of the nearest version, as Kafka does.
    pub fn decode(frame: Bytes) -> Result<(Self, Bytes), HeaderError> {
        let mut r = Reader::new(frame);
        let code = r.i16()?;
        let api_version = r.i16()?;
        let correlation_id = r.i32()?;
        let Some(api_key) = ApiKey::from_code(code) else {
            return Err(HeaderError::UnknownApi {
                code,
                version: api_version,
            });
        };
        let header_version = api_key.request_header_version(api_version);
        // The client id keeps its two-byte length in the flexible version 2, so that every broker can read it.
        let client_id = if header_version >= 1 {
            r.nullable_text(false, true)?
        } else {
            None
        };
        if header_version >= 2 {
            r.skip_tagged_fields()?;
        }
        Ok((
            Self {
                api_key,
                api_version,
                correlation_id,
                client_id,
            },
            r.rest(),
        ))
    }

    /// Writes the header.
    pub fn encode(&self, w: &mut Writer) {
        let header_version = self.api_key.request_header_version(self.api_version);
        w.i16(self.api_key.code());
        w.i16(self.api_version);
        w.i32(self.correlation_id);
        if header_version >= 1 {
            w.nullable_text(false, true, self.client_id.as_deref());
        }
        if header_version >= 2 {
            w.no_tagged_fields();
        }
    }
}

/// Reads the header of the response to a request of `key` in `version` from the beginning of a frame (without its
/// size); returns the correlation id and the body.
pub fn decode_response(frame: Bytes, key: ApiKey, version: i16) -> Result<(i32, Bytes), DecodeError> {
    let mut r = Reader::new(frame);
    let correlation_id = r.i32()?;
    if key.response_header_version(version) >= 1 {
        r.skip_tagged_fields()?;
    }
    Ok((correlation_id, r.rest()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::varint;

    fn written(header: &RequestHeader) -> Bytes {
        let mut w = Writer::new();
        header.encode(&mut w);
        w.raw(b"body");
        w.freeze()
    }

    #[test]
    fn headers_round_trip_in_every_version() {
        for (api_key, api_version) in [
            (ApiKey::ControlledShutdown, 0),
            (ApiKey::Fetch, 0),
            (ApiKey::Fetch, 12),
            (ApiKey::ApiVersions, 99),
        ] {
            let has_client_id = api_key != ApiKey::ControlledShutdown;
            let client_id = has_client_id.then_some(Text::from("rdkafka"));
            let header = RequestHeader {
                api_key,
                api_version,
                correlation_id: 7,
                client_id,
            };
            let frame = written(&header);
            let (read, body) = RequestHeader::decode(frame.clone()).unwrap();
            assert_eq!(read, header);
            assert_eq!(body, "body");
            for cut in 0..frame.len() - 4 {
                assert_eq!(
                    RequestHeader::decode(frame.slice(..cut)),
                    Err(HeaderError::Malformed(DecodeError::Truncated))
                );
            }
        }
    }

    #[test]
    fn an_unknown_api_is_an_error_of_its_own() {
        let frame = Bytes::from_static(&[0x7f, 0xff, 0, 3, 0, 0, 0, 1, 0xff, 0xff]);
        assert_eq!(
            RequestHeader::decode(frame),
            Err(HeaderError::UnknownApi {
                code: i16::MAX,
                version: 3
            })
        );
    }

    // pitfalls 2, row 3
    #[test]
    fn millions_of_unknown_tags_are_refused() {
        let mut w = Writer::new();
        w.i16(18);
        w.i16(3);
        w.i32(1);
        w.nullable_text(false, true, None);
        let count = 20_000_000u32;
        varint::write(count.into(), |byte| w.raw(&[byte]));
        for _ in 0..count {
            w.raw(&[9, 0]);
        }
        assert_eq!(
            RequestHeader::decode(w.freeze()),
            Err(HeaderError::Malformed(DecodeError::TooManyTaggedFields))
        );
    }
}
