//! Typed values: how text becomes one, what it must satisfy, and how it is shown (`ConfigDef.parseType`,
//! `ConfigDef.convertToString`).

use std::fmt;

use super::error::ConfigError;
use super::table::{Key, Kind, Rule};
use super::throttled_replicas;

/// Stands for a value that is never shown.
pub const HIDDEN: &str = "[hidden]";

/// A text that is never shown: `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// A value of some key.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// No value.
    Null,
    /// Of a [`Kind::Boolean`].
    Boolean(bool),
    /// Of a [`Kind::Short`].
    Short(i16),
    /// Of a [`Kind::Int`].
    Int(i32),
    /// Of a [`Kind::Long`].
    Long(i64),
    /// Of a [`Kind::Double`].
    Double(f64),
    /// Of a [`Kind::Text`] or a [`Kind::Class`].
    Text(String),
    /// Of a [`Kind::List`].
    List(Vec<String>),
    /// Of a [`Kind::Password`].
    Password(Secret),
}

/// The value that `text` gives to `key`.
///
/// # Errors
/// When it is not of the key's type or breaks its rule.
pub fn parse(key: &Key, text: &str) -> Result<Value, ConfigError> {
    parse_named(key.name, key, text)
}

/// The same for a key that is written under another name (a listener's prefix).
pub(super) fn parse_named(name: &str, key: &Key, text: &str) -> Result<Value, ConfigError> {
    let fail = |rule: String| {
        if key.sensitive() {
            ConfigError::hidden(name, rule)
        } else {
            ConfigError::new(name, text, rule)
        }
    };
    let value = of_kind(key.kind, text).map_err(|rule| fail(rule.to_owned()))?;
    check(key.rule, &value).map_err(fail)?;
    Ok(value)
}

fn of_kind(kind: Kind, text: &str) -> Result<Value, &'static str> {
    let text = text.trim();
    Ok(match kind {
        Kind::Boolean if text.eq_ignore_ascii_case("true") => Value::Boolean(true),
        Kind::Boolean if text.eq_ignore_ascii_case("false") => Value::Boolean(false),
        Kind::Boolean => return Err("must be true or false"),
        Kind::Short => Value::Short(
            text.parse()
                .map_err(|_| "must be a whole number of 16 bits (-32768 to 32767)")?,
        ),
        Kind::Int => Value::Int(
            text.parse()
                .map_err(|_| "must be a whole number of 32 bits (-2147483648 to 2147483647)")?,
        ),
        Kind::Long => Value::Long(text.parse().map_err(|_| "must be a whole number of 64 bits")?),
        Kind::Double => Value::Double(
            text.trim_end_matches(['d', 'D', 'f', 'F'])
                .parse()
                .map_err(|_| "must be a number")?,
        ),
        Kind::Text | Kind::Class => Value::Text(text.to_owned()),
        Kind::List => Value::List(split_list(text)),
        Kind::Password => Value::Password(Secret(text.to_owned())),
    })
}

/// The items of a list: separated by commas, white space around them dropped. Empty text is the empty list.
pub(super) fn split_list(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    text.split(',').map(|item| item.trim().to_owned()).collect()
}

fn check(rule: Rule, value: &Value) -> Result<(), String> {
    let number = match value {
        Value::Short(number) => Some(i64::from(*number)),
        Value::Int(number) => Some(i64::from(*number)),
        Value::Long(number) => Some(*number),
        _ => None,
    };
    let holds = match (rule, value) {
        (Rule::Any, _) | (_, Value::Null) => true,
        (Rule::Min(min), _) => number.is_none_or(|number| number >= min),
        (Rule::Range(min, max), _) => number.is_none_or(|number| (min..=max).contains(&number)),
        (Rule::Between(min, max), Value::Double(number)) => (min..=max).contains(number),
        (Rule::OneOf(words), Value::Text(text)) => words.contains(&text.as_str()),
        (Rule::OneOfAnyCase(words), Value::Text(text)) => {
            words.iter().any(|word| word.eq_ignore_ascii_case(text))
        }
        (Rule::EachOf(words), Value::List(items)) => items.iter().all(|item| words.contains(&item.as_str())),
        (Rule::NotEmpty, Value::Text(text)) => !text.is_empty(),
        (Rule::Version, Value::Text(text)) => release(text).is_some(),
        (Rule::GzipLevel, _) => number.is_none_or(|level| level == -1 || (1..=9).contains(&level)),
        (Rule::PoolSize, _) => number.is_none_or(|size| size == -1 || size >= 1),
        (Rule::ThrottledReplicas, Value::List(items)) => throttled_replicas::is_list(items),
        _ => true,
    };
    if holds { Ok(()) } else { Err(rule.to_string()) }
}

/// Releases that named a version of the broker protocol, oldest first, with the number of their variants (`-IV0` ...).
const RELEASES: &[(&str, u8)] = &[
    ("0.8.0", 0),
    ("0.8.1", 0),
    ("0.8.2", 0),
    ("0.9.0", 0),
    ("0.10.0", 2),
    ("0.10.1", 3),
    ("0.10.2", 1),
    ("0.11.0", 3),
    ("1.0", 1),
    ("1.1", 1),
    ("2.0", 2),
    ("2.1", 3),
    ("2.2", 2),
    ("2.3", 2),
    ("2.4", 2),
    ("2.5", 1),
    ("2.6", 1),
    ("2.7", 3),
    ("2.8", 2),
    ("3.0", 2),
    ("3.1", 1),
    ("3.2", 1),
    ("3.3", 4),
    ("3.4", 1),
    ("3.5", 3),
    ("3.6", 3),
    ("3.7", 5),
    ("3.8", 1),
    ("3.9", 1),
    ("4.0", 2),
];

/// What comes after the last of them that 3.9 was finished with: only its variants are versions.
const UNFINISHED: &str = "4.0";

/// The release that a protocol version such as `2.8`, `2.8.1` or `2.8-IV1` belongs to, as its place in the list of
/// releases and its variant.
pub(super) fn release(text: &str) -> Option<(usize, u8)> {
    let segments = if text.starts_with("0.") { 3 } else { 2 };
    let end = text
        .match_indices('.')
        .nth(segments - 1)
        .map_or(text.len(), |(at, _)| at);
    let text = text.get(..end)?;
    let (name, variant) = match text.split_once("-IV") {
        Some((name, variant)) => (name, Some(variant.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let place = RELEASES.iter().position(|(release, _)| *release == name)?;
    let (_, variants) = RELEASES.get(place)?;
    match variant {
        Some(variant) => (variant < *variants).then_some((place, variant)),
        None if name == UNFINISHED => None,
        None => Some((place, variants.saturating_sub(1))),
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("may be anything"),
            Self::Min(min) => write!(f, "must be at least {min}"),
            Self::Range(min, max) => write!(f, "must be from {min} to {max}"),
            Self::Between(min, max) => write!(f, "must be from {min} to {max}"),
            Self::OneOf(words) => write!(f, "must be one of {}", words.join(", ")),
            Self::OneOfAnyCase(words) => write!(f, "must be one of {} (in any case)", words.join(", ")),
            Self::EachOf(words) => write!(f, "each item must be one of {}", words.join(", ")),
            Self::NotEmpty => f.write_str("must not be empty"),
            Self::Version => f.write_str("must be a release of Kafka, such as 3.9 or 3.9-IV0"),
            Self::GzipLevel => f.write_str("must be from 1 to 9, or -1"),
            Self::ThrottledReplicas => {
                f.write_str("must be * or pairs of partition:broker, separated by commas")
            }
            Self::PoolSize => f.write_str("must be at least 1, or -1"),
        }
    }
}

impl Value {
    /// How the value is written in an answer to DescribeConfigs. `None` for null and for what is never shown.
    pub fn shown(&self) -> Option<String> {
        match self {
            Self::Null | Self::Password(_) => None,
            Self::Boolean(value) => Some(value.to_string()),
            Self::Short(value) => Some(value.to_string()),
            Self::Int(value) => Some(value.to_string()),
            Self::Long(value) => Some(value.to_string()),
            Self::Double(value) => Some(java_double(*value)),
            Self::Text(value) => Some(value.clone()),
            Self::List(items) => Some(items.join(",")),
        }
    }
}

/// A floating-point number as Java's `Double.toString` writes it.
fn java_double(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if digits.contains('.') => format!("{digits}E{exponent}"),
        Some((digits, exponent)) => format!("{digits}.0E{exponent}"),
        None => text,
    }
}

/// Takes a typed field out of a value. `None` when the value is of another type.
pub(super) trait FromValue: Sized {
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! from_value {
    ($($target:ty: $pattern:pat => $result:expr;)*) => {
        $(impl FromValue for $target {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    $pattern => Some($result),
                    _ => None,
                }
            }
        })*
    };
}

from_value! {
    bool: Value::Boolean(value) => *value;
    i16: Value::Short(value) => *value;
    i32: Value::Int(value) => *value;
    i64: Value::Long(value) => *value;
    f64: Value::Double(value) => *value;
    String: Value::Text(value) => value.clone();
    Vec<String>: Value::List(value) => value.clone();
    Secret: Value::Password(value) => value.clone();
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table::{Start, broker_key, broker_keys, topic_key, topic_keys};

    #[test]
    fn every_default_of_the_table_is_a_valid_value() {
        for key in broker_keys().chain(topic_keys()) {
            for default in [key.default, key.effective_default(Start::default())]
                .into_iter()
                .flatten()
            {
                let value = parse(key, default).unwrap();
                if key.kind != Kind::Password {
                    assert_eq!(value.shown().as_deref(), Some(default), "{}", key.name);
                }
            }
        }
    }

    #[test]
    fn values_follow_type_and_rule() {
        let key = |name| broker_key(name).unwrap();
        assert_eq!(parse(key("num.partitions"), " +5 ").unwrap(), Value::Int(5));
        assert_eq!(
            parse(key("num.partitions"), "0").unwrap_err().to_string(),
            "num.partitions=0: must be at least 1"
        );
        assert!(parse(key("num.partitions"), "2147483648").is_err());
        assert!(parse(key("num.partitions"), "1.0").is_err());
        assert_eq!(
            parse(key("auto.create.topics.enable"), "TRUE").unwrap(),
            Value::Boolean(true)
        );
        assert!(parse(key("auto.create.topics.enable"), "yes").is_err());
        assert_eq!(
            parse(key("log.cleanup.policy"), "compact , delete")
                .unwrap()
                .shown()
                .unwrap(),
            "compact,delete"
        );
        assert!(parse(key("log.cleanup.policy"), "COMPACT").is_err());
        assert!(parse(key("compression.gzip.level"), "0").is_err());
        assert!(parse(key("compression.zstd.level"), "-131072").is_ok());
        assert!(parse(key("log.cleaner.min.cleanable.ratio"), "1.01").is_err());
        assert!(
            parse(
                topic_key("leader.replication.throttled.replicas").unwrap(),
                "0:1,1:x"
            )
            .is_err()
        );
        assert!(parse(topic_key("leader.replication.throttled.replicas").unwrap(), "*").is_ok());
    }

    #[test]
    fn protocol_versions_are_those_of_kafka() {
        for good in [
            "3.9", "3.9-IV0", "3.9.2", "0.10.2", "0.10.2.1", "2.8-IV1", "4.0-IV1", "0.8.2",
        ] {
            assert!(release(good).is_some(), "{good}");
        }
        for bad in ["", "3", "3.10", "3.9-IV1", "0.8", "x", "3.9-IV", "4.0", "4.0.0"] {
            assert!(release(bad).is_none(), "{bad}");
        }
        assert!(release("2.8") < release("3.0-IV0"));
    }

    #[test]
    fn passwords_are_not_shown() {
        let value = parse(broker_key("ssl.key.password").unwrap(), "swordfish").unwrap();
        assert!(!format!("{value:?}").contains("swordfish"));
        assert_eq!(value.shown(), None);
    }

    #[test]
    fn numbers_look_like_javas() {
        for (value, text) in [
            (0.5, "0.5"),
            (1.0, "1.0"),
            (1e7, "1.0E7"),
            (f64::MAX, "1.7976931348623157E308"),
            (0.0005, "5.0E-4"),
            (0.0, "0.0"),
        ] {
            assert_eq!(java_double(value), text);
        }
    }
}
