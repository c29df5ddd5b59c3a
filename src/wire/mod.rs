//! L1, bytes on the wire: frames, headers, versions, shapes, the codec of requests and responses, response parts.

pub mod api_key;
pub mod fetch_response;
pub mod frames;
pub mod header;
pub mod message;
pub mod messages;
pub mod reader;
pub mod response;
pub mod shape;
pub mod text;
pub mod varint;
pub mod writer;

pub use api_key::ApiKey;
pub use header::RequestHeader;
pub use message::Message;
pub use reader::{DecodeError, Reader};
pub use response::{ChunkSource, Part, Response};
pub use text::Text;
pub use writer::Writer;

#[cfg(test)]
mod codec_test;
#[cfg(test)]
pub mod recorded;
#[cfg(test)]
mod recorded_test;
