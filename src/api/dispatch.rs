//! From a frame to a handler: header, version, shape, decoding.
//!
//! [`SERVED`] is the one list of what is advertised and what is dispatched; the versions are all stable ones that the
//! protocol has for a key.

use std::sync::Arc;

use bytes::Bytes;

use super::{Answer, ConnectionContext, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::wire::api_key::ApiKey;
use crate::wire::header::RequestHeader;
use crate::wire::messages::Message;
use crate::wire::shape;

/// A request whose decoded form would take more memory than this is refused: as much as the largest frame that Kafka's
/// default allows (`socket.request.max.bytes`).
pub const DECODED_BYTES_MAX: usize = 104_857_600;

/// A frame whose header was read and whose shape was checked, ready to be decoded.
pub struct Opened {
    context: RequestContext,
    key: ApiKey,
    body: Bytes,
    decoded_bytes: usize,
    response_header_version: i16,
    /// The client asked for a version of ApiVersions that we do not have: the answer says which there are.
    version_unknown: bool,
}

impl Opened {
    /// What the request will take in memory, in bytes, beside its frame.
    pub fn decoded_bytes(&self) -> usize {
        self.decoded_bytes
    }

    /// Pairs request and answer.
    pub fn correlation_id(&self) -> i32 {
        self.context.correlation_id
    }

    /// 0, or 1 for versions with tagged fields.
    pub fn response_header_version(&self) -> i16 {
        self.response_header_version
    }
}

/// Reads the header of a frame and checks its shape; allocates nothing that depends on what the client declares.
///
/// # Errors
/// [`Rejected::Malformed`]: Kafka closes such a connection too, for it cannot know what the client expects.
pub fn open(connection: &Arc<ConnectionContext>, frame: Bytes) -> Result<Opened, Rejected> {
    let (header, body) =
        RequestHeader::decode(frame).map_err(|error| Rejected::Malformed(error.to_string()))?;
    let key = ApiKey::from_code(header.api_key)
        .filter(|key| SERVED.contains(key))
        .ok_or_else(|| Rejected::Malformed(format!("API key {} is not served", header.api_key)))?;
    let version = header.api_version;
    let known = key.stable_versions().contains(&version);
    let context = RequestContext {
        connection: Arc::clone(connection),
        api_version: version,
        correlation_id: header.correlation_id,
        client_id: header.client_id,
    };
    if !known {
        if key != ApiKey::ApiVersions {
            return Err(Rejected::Malformed(format!("{} version {version} is not served", key.name())));
        }
        return Ok(Opened {
            context,
            key,
            body: Bytes::new(),
            decoded_bytes: 0,
            response_header_version: 0,
            version_unknown: true,
        });
    }
    let footprint = shape::check(key, version, shape::Direction::Request, &body)
        .map_err(|error| Rejected::Malformed(format!("{} version {version}: {error}", key.name())))?;
    let decoded_bytes = footprint.bytes();
    if decoded_bytes > DECODED_BYTES_MAX {
        return Err(Rejected::Malformed(format!("{} would take {decoded_bytes} bytes", key.name())));
    }
    let response_header_version = key.response_header_version(version);
    Ok(Opened { context, key, body, decoded_bytes, response_header_version, version_unknown: false })
}

fn decode<M: Message>(body: Bytes, context: &RequestContext) -> Result<M, Rejected> {
    M::decode_whole(body, context.api_version).map_err(|error| Rejected::Malformed(error.to_string()))
}

macro_rules! served {
    ($($key:ident => $handler:path),* $(,)?) => {
        /// The APIs that are advertised and answered.
        pub const SERVED: &[ApiKey] = &[$(ApiKey::$key),*];

        /// Has a request answered, and returns when it has passed its API's ordering point.
        ///
        /// # Errors
        /// [`Rejected`] when the connection must be closed instead.
        pub async fn dispatch(services: &Arc<Services>, request: Opened) -> Result<Answer, Rejected> {
            let context = request.context;
            if request.version_unknown {
                return Ok(super::api_versions::unsupported());
            }
            match request.key {
                $(ApiKey::$key => {
                    let decoded = decode(request.body, &context)?;
                    $handler(services, &context, decoded).await
                })*
                other => Err(Rejected::Malformed(format!("{} is not served", other.name()))),
            }
        }
    };
}

served! {
    ApiVersions => super::api_versions::handle,
}

/// The code as the protocol has it; a shorthand for responses.
pub(super) fn code(error: ErrorCode) -> i16 {
    error.code()
}
