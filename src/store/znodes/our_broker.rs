//! `/barnabas/brokers/N`: what a broker of ours says beside its registration, for as long as that lasts. Ours.
//!
//! A broker without it is one of Kafka, or of a version before this: it does not say when it comes back without what it had
//! not synced, and what it answers of the end of a log is not what is in the log. What all replicas must know is done only
//! where each of their brokers that are here has said so.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BadNode, write};

/// The format that is written. A newer one may say more, and says this, too.
const VERSION: i32 = 2;

/// It says when it may lack something, and where its logs end.
pub const TELLS_LOSSES: &str = "tells-losses";

/// What a broker of ours can do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OurBroker {
    version: i32,
    /// The version of the program, for people.
    pub software: String,
    /// What it can do that Kafka's brokers do not, by name.
    pub abilities: Vec<String>,
    /// Whether it may become the controller (`controller.candidate`). Not said before version 2, when each one might.
    #[serde(default = "yes")]
    pub controller_candidate: bool,
}

fn yes() -> bool {
    true
}

impl OurBroker {
    /// This program, on a broker that may become the controller or not.
    pub fn this(controller_candidate: bool) -> Self {
        Self {
            version: VERSION,
            software: env!("CARGO_PKG_VERSION").to_owned(),
            abilities: vec![TELLS_LOSSES.to_owned()],
            controller_candidate,
        }
    }

    /// True when it can do this.
    pub fn can(&self, ability: &str) -> bool {
        self.abilities.iter().any(|one| one == ability)
    }

    /// The bytes of the node.
    pub fn encode(&self) -> Bytes {
        write(self)
    }

    /// What is in these bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadNode> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_newer_version_too() {
        let this = OurBroker::this(true);
        assert_eq!(OurBroker::decode(&this.encode()).unwrap(), this);
        assert!(this.can(TELLS_LOSSES) && !this.can("flies"));
        let subject = OurBroker::this(false);
        assert!(!OurBroker::decode(&subject.encode()).unwrap().controller_candidate);
        let older = br#"{"version":1,"software":"0","abilities":[]}"#;
        assert!(OurBroker::decode(older).unwrap().controller_candidate);
        let newer = br#"{"version":3,"software":"9","abilities":["tells-losses","flies"],"more":1}"#;
        assert!(OurBroker::decode(newer).unwrap().can("flies"));
        assert!(OurBroker::decode(b"{}").is_err());
    }
}
