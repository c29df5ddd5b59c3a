//! What is wrong with a config: one line with key, value and rule.

use std::fmt;

use super::value::HIDDEN;

/// A config that cannot be used. Shows as one line and never holds a password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// The key.
    pub key: String,
    /// The value as it was given; `None` when the key is at fault, not its value.
    pub value: Option<String>,
    /// What it must satisfy.
    pub rule: String,
}

impl ConfigError {
    /// An error about the value of `key`.
    pub fn new(key: impl Into<String>, value: impl Into<String>, rule: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: Some(value.into()),
            rule: rule.into(),
        }
    }

    /// An error about a value that must not be shown.
    pub fn hidden(key: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::new(key, HIDDEN, rule)
    }

    /// An error about the key itself.
    pub fn key(key: impl Into<String>, rule: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: None,
            rule: rule.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A value from a client may hold line breaks; the message stays one line.
        match &self.value {
            Some(value) => write!(
                f,
                "{}={}: {}",
                self.key.escape_debug(),
                value.escape_debug(),
                self.rule
            ),
            None => write!(f, "{}: {}", self.key.escape_debug(), self.rule),
        }
    }
}

impl std::error::Error for ConfigError {}
