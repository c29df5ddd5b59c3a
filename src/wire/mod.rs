//! L1, bytes on the wire: frames, headers, versions, shapes, the codec of requests and responses, response parts.

pub mod api_key;
pub mod message;
pub mod messages;
pub mod reader;
pub mod text;
pub mod varint;
pub mod writer;

pub use api_key::ApiKey;
pub use message::Message;
pub use reader::{DecodeError, Reader};
pub use text::Text;
pub use writer::Writer;
