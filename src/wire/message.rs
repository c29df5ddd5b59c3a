//! [`Message`]: what every generated request and response can do.

use crate::wire::api_key::ApiKey;
use crate::wire::reader::{DecodeError, Reader};
use crate::wire::writer::Writer;

/// A request or response of one API: one type for all of its versions.
pub trait Message: Default {
    /// The API.
    const KEY: ApiKey;
    /// True for the request, false for the response.
    const IS_REQUEST: bool;

    /// Reads the body in `version`. Fields that the version lacks keep their defaults; bytes behind the body are left
    /// in the reader. A version that is not among [`ApiKey::stable_versions`] is read as its nearest neighbour would
    /// be; who takes bytes from outside asks `shape::check` first, which refuses it.
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError>;

    /// Writes the body in `version`. Fields that the version lacks are left out.
    fn encode(&self, w: &mut Writer, version: i16);
}
