//! [`Text`]: an immutable string that shares the bytes it was received in.
//!
//! Invariant: the bytes are UTF-8. It is checked when a text is made from bytes, and checked again (rather than
//! trusted through `unsafe`) when it is read as a `&str`; for the short names that Kafka carries this costs a few
//! nanoseconds. A text from a frame keeps the whole frame's memory alive: what outlives a request takes
//! [`Text::copy`] or its own string. Used by every message.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::Bytes;

/// An immutable UTF-8 string; cloning and slicing it out of a frame copy nothing.
#[derive(Clone, Default)]
pub struct Text(Bytes);

impl Text {
    /// The empty text.
    pub const EMPTY: Self = Self(Bytes::new());

    /// A text that lives as long as the program.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// A copy of `text` in memory of its own.
    pub fn copy(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// Takes bytes for a text. As in Kafka, what is not UTF-8 becomes U+FFFD and is no error; only then are
    /// bytes copied (at most three for each that came).
    pub fn from_bytes(bytes: Bytes) -> Self {
        // Looked at first, as this is much faster for the text that nearly all is.
        if std::str::from_utf8(&bytes).is_ok() {
            return Self(bytes);
        }
        Self(Bytes::from(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The text as a `&str`.
    #[inline]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The bytes of the text.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes of the text, shared.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl Deref for Text {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self::from_static(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl From<&std::sync::Arc<str>> for Text {
    fn from(text: &std::sync::Arc<str>) -> Self {
        Self::copy(text)
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.as_str().to_owned()
    }
}

impl From<&Text> for std::sync::Arc<str> {
    fn from(text: &Text) -> Self {
        Self::from(text.as_str())
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Text {}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

// The order of UTF-8 bytes is the order of the characters, so comparing needs no look at the text.
impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As `str` hashes, because of Borrow<str>.
        self.as_str().hash(state);
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::HashSet;

    #[test]
    fn shares_the_bytes_it_came_in() {
        let frame = Bytes::from_static(b"..topic..");
        let text = Text::from_bytes(frame.slice(2..7));
        assert_eq!(text, "topic");
        assert_eq!(text.as_bytes().as_ptr(), frame.slice(2..).as_ptr());
    }

    #[test]
    fn what_is_not_utf8_is_replaced() {
        assert_eq!(
            Text::from_bytes(Bytes::from_static(b"a\xff\xfeb")),
            "a\u{fffd}\u{fffd}b"
        );
    }

    #[test]
    fn is_found_by_str_in_a_set() {
        let set: HashSet<Text> = [Text::from("a"), Text::copy("b")].into_iter().collect();
        assert!(set.contains("b"));
        assert!(!set.contains("c"));
    }
}
