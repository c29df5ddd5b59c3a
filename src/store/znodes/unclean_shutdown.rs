//! `/barnabas/unclean_shutdowns/N`: broker N came back without what it had not synced, and nobody has acted on it yet. Ours.
//!
//! The mark is made empty before the broker registers, and gets its contents in the change that registers it. So a controller
//! of a later epoch than is said there was elected after the broker had come back: it knew whom it had lead.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BadNode, write};
use crate::base::ids::ControllerEpoch;

/// The format that is written, and the newest that is read.
const VERSION: i32 = 1;

/// What a broker says of its coming back. A version before this one left the mark empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UncleanShutdown {
    /// The epoch of the latest controller when the broker registered.
    pub controller_epoch: ControllerEpoch,
}

#[derive(Serialize, Deserialize)]
struct Json {
    version: i32,
    controller_epoch: i32,
}

impl UncleanShutdown {
    /// The bytes of the node.
    pub fn encode(&self) -> Bytes {
        write(&Json {
            version: VERSION,
            controller_epoch: self.controller_epoch.get(),
        })
    }

    /// What is in these bytes; an error also for a newer format.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadNode> {
        let json: Json = serde_json::from_slice(bytes)?;
        if json.version > VERSION {
            return Err(BadNode(format!(
                "format {} was written by a newer version of Barnabas; this one reads up to {VERSION}",
                json.version
            )));
        }
        Ok(Self {
            controller_epoch: ControllerEpoch(json.controller_epoch),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_newer_format_is_not() {
        let mark = UncleanShutdown {
            controller_epoch: ControllerEpoch(7),
        };
        assert_eq!(&*mark.encode(), br#"{"version":1,"controller_epoch":7}"#);
        assert_eq!(UncleanShutdown::decode(&mark.encode()).unwrap(), mark);
        assert!(UncleanShutdown::decode(br#"{"version":2,"controller_epoch":7}"#).is_err());
        assert!(UncleanShutdown::decode(b"").is_err());
    }
}
