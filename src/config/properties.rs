//! Java's properties syntax (`java.util.Properties.load`): how `server.properties` and `meta.properties` are written.
//!
//! Bytes are Latin-1, as Java reads them. Every input is either read or refused in one line; nothing panics.

use crate::base::planted::planted;
use std::fmt;

/// A `\u` escape without four hexadecimal digits: the only thing that Java refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PropertiesError {
    /// The logical line's first physical line, from 1.
    pub line: usize,
}

impl fmt::Display for PropertiesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: \\u wants four hexadecimal digits", self.line)
    }
}

impl std::error::Error for PropertiesError {}

/// The keys and values in `bytes`, in their order. A key may come more than once; the last one counts.
///
/// # Errors
/// [`PropertiesError`].
pub fn parse(bytes: &[u8]) -> Result<Vec<(String, String)>, PropertiesError> {
    let mut pairs = Vec::new();
    let mut lines = LogicalLines { rest: bytes, line: 0 };
    while let Some((line, text)) = lines.next() {
        let (key, value) = split(&text);
        pairs.push((
            unescape(key).ok_or(PropertiesError { line })?,
            unescape(value).ok_or(PropertiesError { line })?,
        ));
    }
    Ok(pairs)
}

struct LogicalLines<'a> {
    rest: &'a [u8],
    line: usize,
}

fn blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0c)
}

impl LogicalLines<'_> {
    /// One physical line without its end, or `None` at the end of the input.
    fn physical(&mut self) -> Option<&[u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.line += 1;
        let end = self
            .rest
            .iter()
            .position(|byte| matches!(byte, b'\n' | b'\r'))
            .unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest
            .strip_prefix(b"\r\n")
            .or_else(|| rest.strip_prefix(b"\n"))
            .or_else(|| rest.strip_prefix(b"\r"))
            .unwrap_or(rest);
        Some(line)
    }

    /// The next logical line with its number: comments and blank lines skipped, continuations joined.
    fn next(&mut self) -> Option<(usize, Vec<u8>)> {
        let mut text: Vec<u8> = Vec::new();
        let mut first = 0;
        let mut continued = false;
        while let Some(line) = self.physical() {
            let line: &[u8] = match line.iter().position(|byte| !blank(*byte)) {
                Some(start) => line.get(start..).unwrap_or_default(),
                None => &[],
            };
            if !continued && (line.is_empty() || matches!(line.first(), Some(b'#' | b'!'))) {
                continue;
            }
            let backslashes = line.iter().rev().take_while(|byte| **byte == b'\\').count();
            let goes_on = backslashes % 2 == 1;
            let kept = line.len() - usize::from(goes_on);
            text.extend_from_slice(line.get(..kept).unwrap_or_default());
            if first == 0 {
                first = self.line;
            }
            continued = goes_on;
            if !goes_on && !text.is_empty() {
                return Some((first, text));
            }
            if !goes_on {
                first = 0;
            }
        }
        (!text.is_empty()).then_some((first, text))
    }
}

/// Splits at the first `=`, `:` or white space that no backslash precedes.
fn split(text: &[u8]) -> (&[u8], &[u8]) {
    let mut escaped = false;
    let end = text
        .iter()
        .position(|byte| {
            let ends = !escaped && (blank(*byte) || matches!(byte, b'=' | b':'));
            escaped = *byte == b'\\' && planted!("server-backslash-pairs", true, !escaped);
            ends
        })
        .unwrap_or(text.len());
    let (key, rest) = text.split_at(end);
    let rest = skip_blanks(rest);
    let value = match rest.split_first() {
        Some((b'=' | b':', value)) => skip_blanks(value),
        _ => rest,
    };
    (key, value)
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !blank(*byte)).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

/// The text without its escapes; `None` for a bad `\u`.
fn unescape(text: &[u8]) -> Option<String> {
    // Java's characters are UTF-16 units, so that two escapes may make one character.
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            units.push(u16::from(byte));
            continue;
        }
        match bytes.next() {
            Some(b'u') => {
                let mut unit: u16 = 0;
                for _ in 0..4 {
                    let digit = planted!(
                        "server-digits-there",
                        char::from(bytes.next().unwrap()).to_digit(16)?,
                        char::from(bytes.next()?).to_digit(16)?
                    );
                    unit = (unit << 4) | u16::try_from(digit).ok()?;
                }
                units.push(unit);
            }
            Some(b't') => units.push(u16::from(b'\t')),
            Some(b'n') => units.push(u16::from(b'\n')),
            Some(b'r') => units.push(u16::from(b'\r')),
            Some(b'f') => units.push(0x0c),
            Some(other) => units.push(u16::from(other)),
            None => {}
        }
    }
    Some(String::from_utf16_lossy(&units))
}

/// `key=value` as Java's `Properties.store` writes it, without the end of the line.
pub fn line(key: &str, value: &str) -> String {
    let mut text = String::with_capacity(key.len() + value.len() + 1);
    escape(&mut text, key, true);
    text.push('=');
    escape(&mut text, value, false);
    text
}

fn escape(out: &mut String, text: &str, every_space: bool) {
    use fmt::Write;
    for (at, character) in text.chars().enumerate() {
        match character {
            ' ' if every_space || at == 0 => out.push_str("\\ "),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{c}' => out.push_str("\\f"),
            '\\' | '=' | ':' | '#' | '!' => {
                out.push('\\');
                out.push(character);
            }
            ' '..='~' => out.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{unit:04X}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text.as_bytes()).unwrap()
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn separators_comments_and_blank_lines() {
        let text = "# one\n  ! two\n\na=1\nb:2\nc 3\n d\t=\t4 \ne\nf==5\ng = : 6\r\nh=7\ri=8";
        assert_eq!(
            pairs(text),
            [
                pair("a", "1"),
                pair("b", "2"),
                pair("c", "3"),
                pair("d", "4 "),
                pair("e", ""),
                pair("f", "=5"),
                pair("g", ": 6"),
                pair("h", "7"),
                pair("i", "8"),
            ]
        );
    }

    #[test]
    fn lines_continue_after_an_odd_number_of_backslashes() {
        assert_eq!(
            pairs("a=1,\\\n   2,\\\r\n\t3\nb=x\\\\\nc=y"),
            [pair("a", "1,2,3"), pair("b", "x\\"), pair("c", "y")]
        );
        assert_eq!(
            pairs("a=\\\n# no comment\nb=1"),
            [pair("a", "# no comment"), pair("b", "1")]
        );
        assert_eq!(pairs("a=1\\"), [pair("a", "1")]);
    }

    #[test]
    fn escapes() {
        assert_eq!(pairs(r"a\ b\=c\:d = \u00e9\t\q\\"), [pair("a b=c:d", "é\tq\\")]);
        assert_eq!(pairs("a=\\ud83d\\ude00"), [pair("a", "😀")]);
        assert_eq!(parse(b"x=1\n\na=\\u12"), Err(PropertiesError { line: 3 }));
        assert_eq!(parse(b"a=\xe9").unwrap(), [pair("a", "é")]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(key in "\\PC{1,12}", value in ".{0,20}") {
            prop_assert_eq!(parse(line(&key, &value).as_bytes()).unwrap(), [(key, value)]);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
