//! Jute, ZooKeeper's encoding: big-endian numbers; text, bytes and lists behind a length of 32 bits, −1 for null.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes that are not what they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed;

/// Takes values off the front of an answer.
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_be_bytes)
    }

    pub(super) fn bool(&mut self) -> Result<bool, Malformed> {
        self.array::<1>().map(|byte| byte != [0])
    }

    /// Bytes, or null.
    pub(super) fn data(&mut self) -> Result<Option<Bytes>, Malformed> {
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Malformed)?;
                self.take(length).map(|bytes| Some(Bytes::copy_from_slice(bytes)))
            }
        }
    }

    /// Text; null reads as empty.
    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        let bytes = self.data()?.unwrap_or_default();
        String::from_utf8(bytes.into()).map_err(|_| Malformed)
    }

    /// A list of texts.
    pub(super) fn texts(&mut self) -> Result<Vec<String>, Malformed> {
        // Nothing is reserved for a count: it is only a claim.
        (0..self.i32()?).map(|_| self.text()).collect()
    }
}

pub(super) fn put_data(out: &mut BytesMut, data: Option<&[u8]>) {
    match data {
        None => out.put_i32(-1),
        Some(bytes) => {
            out.put_i32(length(bytes.len()));
            out.put_slice(bytes);
        }
    }
}

pub(super) fn put_text(out: &mut BytesMut, text: &str) {
    put_data(out, Some(text.as_bytes()));
}

pub(super) fn put_texts(out: &mut BytesMut, texts: &[&str]) {
    out.put_i32(length(texts.len()));
    for text in texts {
        put_text(out, text);
    }
}

/// Appends a frame: its length, and what `body` puts.
pub(super) fn put_frame(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let begin = out.len();
    out.put_i32(0);
    body(out);
    let bytes = length(out.len() - begin - size_of::<i32>());
    if let Some(head) = out.get_mut(begin..begin + size_of::<i32>()) {
        head.copy_from_slice(&bytes.to_be_bytes());
    }
}

/// A length on the wire. What is longer than a request may be is refused before it comes here.
fn length(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_differ_and_torn_values_are_malformed() {
        let mut out = BytesMut::new();
        put_data(&mut out, None);
        put_data(&mut out, Some(b""));
        put_text(&mut out, "/a");
        put_texts(&mut out, &["x", ""]);
        let mut reader = Reader(&out);
        assert_eq!(reader.data(), Ok(None));
        assert_eq!(reader.data(), Ok(Some(Bytes::new())));
        assert_eq!(reader.text(), Ok("/a".to_owned()));
        assert_eq!(reader.texts(), Ok(vec!["x".to_owned(), String::new()]));
        assert_eq!(reader.bool(), Err(Malformed));
        assert_eq!(Reader(&[0, 0, 0, 9, 1]).data(), Err(Malformed));
        assert_eq!(Reader(&[0xff, 0xff, 0xff, 0xfe]).data(), Err(Malformed));
        assert_eq!(Reader(&[0x7f, 0xff, 0xff, 0xff]).texts(), Err(Malformed));
    }
}
