//! Sessions: whose ephemeral nodes are whose.

/// The number of a session; unique within a store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub i64);

/// How it stands with a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Session {
    /// It is alive and its server answers.
    Connected(SessionId),
    /// Its server does not answer at present; whether the session lives is unknown.
    Disconnected(SessionId),
    /// It is over: its ephemeral nodes are gone, and all calls fail until a new one is begun.
    Expired(SessionId),
}

impl Session {
    /// The session that it is about.
    pub fn id(self) -> SessionId {
        match self {
            Self::Connected(id) | Self::Disconnected(id) | Self::Expired(id) => id,
        }
    }
}
