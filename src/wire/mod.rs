//! L1, bytes on the wire: frames, headers, versions, shapes, the codec of requests and responses, response parts.
