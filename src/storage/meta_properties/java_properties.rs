//! The syntax of Java's property files, as `java.util.Properties` reads and writes them: bytes are ISO-8859-1, anything
//! beyond is escaped.
//!
//! Invariant: what [`format`] writes, [`parse`] reads back unchanged.

use crate::base::planted::planted;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::iter::Peekable;

/// Properties by key.
pub(super) type Properties = BTreeMap<String, String>;

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

/// Reads a file. Of two lines with one key the later counts.
pub(super) fn parse(bytes: &[u8]) -> Result<Properties, &'static str> {
    let mut properties = Properties::new();
    for line in logical_lines(bytes) {
        let mut chars = line.chars().peekable();
        let key = unescape(&mut chars, |c| c == '=' || c == ':' || is_blank(c))?;
        while chars.next_if(|c| is_blank(*c)).is_some() {}
        if chars.next_if(|c| matches!(c, '=' | ':')).is_some() {
            while chars.next_if(|c| is_blank(*c)).is_some() {}
        }
        let value = unescape(&mut chars, |_| false)?;
        properties.insert(key, value);
    }
    Ok(properties)
}

/// Lines without comments and empty ones, those joined that end in an odd number of backslashes; escapes are left in.
fn logical_lines(bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut joined: Option<String> = None;
    for line in bytes.split(|byte| matches!(byte, b'\n' | b'\r')) {
        // Each byte of ISO-8859-1 is the character of the same number.
        let line: String = line.iter().map(|byte| char::from(*byte)).collect();
        let text = line.trim_start_matches(is_blank);
        if text.is_empty() || (joined.is_none() && text.starts_with(['#', '!'])) {
            // An empty line inside a continued one is skipped, too: it may be the second half of "\r\n".
            continue;
        }
        let backslashes = text.len() - text.trim_end_matches('\\').len();
        let continued = backslashes % 2 == 1;
        let text = if continued {
            text.strip_suffix('\\').unwrap_or(text)
        } else {
            text
        };
        joined.get_or_insert_default().push_str(text);
        if !continued {
            lines.extend(joined.take());
        }
    }
    lines.extend(joined);
    lines
}

/// Reads up to the first character, not escaped, for which `ends` holds.
fn unescape(
    chars: &mut Peekable<impl Iterator<Item = char>>,
    ends: impl Fn(char) -> bool,
) -> Result<String, &'static str> {
    // In units of UTF-16, as two escapes can make up one character.
    let mut units: Vec<u16> = Vec::new();
    while let Some(c) = chars.next_if(|c| !ends(*c)) {
        let plain = match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('u')) => {
                let mut unit: u16 = 0;
                for _ in 0..4 {
                    let digit = planted!(
                        "properties-digits-there",
                        Some(chars.next().unwrap().to_digit(16).unwrap_or(0)),
                        chars.next().and_then(|c| c.to_digit(16))
                    );
                    let digit = digit.ok_or("an escape \\u is not followed by four digits")?;
                    unit = unit << 4 | digit as u16;
                }
                units.push(unit);
                continue;
            }
            ('\\', Some('t')) => '\t',
            ('\\', Some('n')) => '\n',
            ('\\', Some('r')) => '\r',
            ('\\', Some('f')) => '\x0c',
            ('\\', Some(other)) => other,
            ('\\', None) => continue,
            (plain, _) => plain,
        };
        units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
    }
    planted!(
        "properties-whole-characters",
        Ok(String::from_utf16(&units).unwrap()),
        String::from_utf16(&units).map_err(|_| "an escape \\u is half a character")
    )
}

/// Writes a file: an empty comment, a comment with the date, and the properties in order.
pub(super) fn format(properties: &Properties, now_ms: i64) -> Vec<u8> {
    let mut text = format!("#\n#{}\n", date(now_ms));
    for (key, value) in properties {
        escape(&mut text, key, true);
        text.push('=');
        escape(&mut text, value, false);
        text.push('\n');
    }
    // Escaping left nothing but ASCII.
    text.into_bytes()
}

/// In a key each blank is escaped, in a value a leading one.
fn escape(text: &mut String, plain: &str, is_key: bool) {
    for (index, c) in plain.chars().enumerate() {
        match c {
            ' ' if is_key || index == 0 => text.push_str("\\ "),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\x0c' => text.push_str("\\f"),
            '\\' | '=' | ':' | '#' | '!' => text.extend(['\\', c]),
            ' '..='~' => text.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(text, "\\u{unit:04X}");
                }
            }
        }
    }
}

/// As Java's `Date.toString` in UTC: `Sun Nov 22 11:03:03 UTC 2026`.
fn date(now_ms: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [(&str, i64); 12] = [
        ("Jan", 31),
        ("Feb", 28),
        ("Mar", 31),
        ("Apr", 30),
        ("May", 31),
        ("Jun", 30),
        ("Jul", 31),
        ("Aug", 31),
        ("Sep", 30),
        ("Oct", 31),
        ("Nov", 30),
        ("Dec", 31),
    ];
    let seconds = now_ms.div_euclid(1000).clamp(0, 253_402_300_799);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: i64| i64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
    let (mut year, mut day) = (1970, days);
    while day >= 365 + leap(year) {
        day -= 365 + leap(year);
        year += 1;
    }
    let mut month = "Dec";
    for (name, length) in MONTHS {
        let length = if name == "Feb" {
            length + leap(year)
        } else {
            length
        };
        if day < length {
            month = name;
            break;
        }
        day -= length;
    }
    let weekday = DAYS.get((days % 7) as usize).unwrap_or(&"");
    format!(
        "{weekday} {month} {:02} {:02}:{:02}:{:02} UTC {year}",
        day + 1,
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        parse(text.as_bytes()).unwrap().into_iter().collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn reads_javas_syntax() {
        assert_eq!(
            read("a=1\nb : 2\nc 3\n  d\t=\t4 \ne\nf=\n# x=1\n ! y=2\n\n"),
            pairs(&[
                ("a", "1"),
                ("b", "2"),
                ("c", "3"),
                ("d", "4 "),
                ("e", ""),
                ("f", "")
            ])
        );
        assert_eq!(
            read("a\\=b\\ c=\\u0041\\uD83D\\uDE00\\q\\\\\r\nx=1\\\r\n   2\\\n#3"),
            pairs(&[("a=b c", "A\u{1F600}q\\"), ("x", "12#3")])
        );
        assert_eq!(read("a=b=c:d"), pairs(&[("a", "b=c:d")]));
        assert_eq!(
            parse(b"a=\xe9").unwrap().get("a").map(String::as_str),
            Some("\u{e9}")
        );
        assert!(parse(b"a=\\u12").is_err());
        assert!(parse(b"a=\\uD83D").is_err());
    }

    #[test]
    fn writes_as_java_does() {
        let properties = Properties::from([("a b".to_owned(), " x:=#!\u{e9}\t y".to_owned())]);
        assert_eq!(
            String::from_utf8(format(&properties, 1_795_345_383_000)).unwrap(),
            "#\n#Sun Nov 22 11:03:03 UTC 2026\na\\ b=\\ x\\:\\=\\#\\!\\u00E9\\t y\n"
        );
        assert_eq!(date(951_782_400_000), "Tue Feb 29 00:00:00 UTC 2000");
        assert_eq!(date(i64::MIN), "Thu Jan 01 00:00:00 UTC 1970");
        assert!(date(i64::MAX).ends_with("UTC 9999"));
    }

    proptest! {
        #[test]
        fn round_trips(properties in proptest::collection::btree_map(".{1,8}", ".{0,12}", 0..5)) {
            prop_assert_eq!(parse(&format(&properties, 0)).unwrap(), properties);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&bytes);
        }
    }
}
