//! A key that says it works is read by something that works by it: each key that the table marks as honoured has a
//! reader outside `src/config`, or stands in a list here with the reason why it needs none.
//!
//! Checking a value is not reading it: that the rooms of `config/` look at it counts for nothing, but for the ways that
//! the lists name, by which a value goes out of there under another name.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods
)]

use std::path::Path;

use barnabas::config::table::{Key, Support, broker_key, broker_keys, topic_key, topic_keys};

/// Keys that go out of `config/` under another name than their own: the key, and what their reader names.
const BY_ANOTHER_NAME: &[(&str, &str)] = &[
    ("advertised.listeners", "config.advertised_listeners()"),
    ("cleanup.policy", "config.delete"),
    ("compression.gzip.level", "config.gzip_level"),
    ("compression.lz4.level", "config.lz4_level"),
    ("compression.type", "config.compression"),
    ("compression.zstd.level", "config.zstd_level"),
    ("control.plane.listener.name", "config.control_plane_listener()"),
    ("inter.broker.listener.name", "config.inter_broker_listener()"),
    ("listeners", "config.listeners()"),
    ("log.dir", "config.log_directories()"),
    ("log.dirs", "config.log_directories()"),
    ("max.compaction.lag.ms", "config.max_segment_ms()"),
    ("max.connections.per.ip.overrides", "config.address_limits()"),
    ("max.producer.ids.per.partition", "config.max_producer_ids"),
    (
        "message.timestamp.difference.max.ms",
        "config.message_timestamp_before_max_ms",
    ),
    ("node.id", "config.broker_id"),
    ("offsets.topic.compression.codec", "config.offsets_codec()"),
];

/// Keys without a reader, and why they may say that they work.
const WITHOUT_READER: &[(&str, &str)] = &[(
    "listener.security.protocol.map",
    "what it says of the listeners is all done when the configuration is read: PLAINTEXT is let in, the others are not",
)];

/// The code of `src/`, without `config/`, tests and comments: one text a file.
fn sources() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if name != "config" {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") && !name.ends_with("_test.rs") && !name.starts_with("test") {
                found.push(code(&std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 100);
    found
}

fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// True when some code reads `what` out of a configuration: `config.what`, `log_config(..).what`, or `.what` in a chain
/// on a line of its own.
fn is_read(sources: &[String], what: &str) -> bool {
    let what = what.trim_start_matches("config");
    let reads = |text: &String| {
        text.match_indices(what).any(|(at, _)| {
            let (before, after) = (&text[..at], &text[at + what.len()..]);
            let whole = what.ends_with(')') || !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            let line = before.rsplit('\n').next().unwrap();
            let owned = ["config", "settings", "rules"]
                .iter()
                .any(|owner| line.ends_with(owner));
            let called = line.ends_with(')') && line.contains("config(");
            whole && (line.trim().is_empty() || owned || called)
        })
    };
    sources.iter().any(reads)
}

/// True when the value of `key` is read, be it as the default of a topic's key.
fn has_reader(sources: &[String], key: &Key) -> bool {
    let another = BY_ANOTHER_NAME.iter().find(|(name, _)| *name == key.name);
    let field = another.map_or_else(
        || format!(".{}", key.name.replace('.', "_")),
        |(_, what)| (*what).to_owned(),
    );
    let of_topics = |topic: &Key| {
        topic.name != key.name && topic.synonyms.contains(&key.name) && topic.support == Support::Honoured
    };
    is_read(sources, &field)
        || broker_key(key.name).is_some()
            && topic_keys().any(|topic| of_topics(topic) && has_reader(sources, topic))
}

#[test]
fn every_honoured_key_has_a_reader() {
    let sources = sources();
    let without: Vec<_> = broker_keys()
        .chain(topic_keys())
        .filter(|key| key.support == Support::Honoured && !has_reader(&sources, key))
        .map(|key| key.name)
        .filter(|name| !WITHOUT_READER.iter().any(|(known, _)| known == name))
        .collect();
    assert!(
        without.is_empty(),
        "said to work, but nothing reads them: {without:?}"
    );
}

#[test]
fn a_key_that_is_only_checked_has_no_reader() {
    let sources = sources();
    // `config/` compares them with each other, and nobody else looks at them.
    let name = "connection.failed.authentication.delay.ms";
    assert!(!has_reader(&sources, broker_key(name).unwrap()), "{name}");
    for name in ["num.partitions", "log.roll.hours", "log.segment.bytes"] {
        assert!(has_reader(&sources, broker_key(name).unwrap()), "{name}");
    }
    let seen = |text: &str| is_read(&[code(text)], ".log_dir");
    assert!(seen("let x = config.log_dir;") && seen("config\n    .log_dir\n"));
    assert!(!seen("m.log_dir = 1") && !seen("config.log_dirs") && !seen("// config.log_dir"));
    assert!(!seen("fn a() {}\n#[cfg(test)]\nmod tests { config.log_dir }"));
}

#[test]
fn the_lists_name_keys_that_say_they_work() {
    for (name, _) in BY_ANOTHER_NAME.iter().chain(WITHOUT_READER) {
        let key = broker_key(name).or_else(|| topic_key(name)).unwrap();
        assert_eq!(key.support, Support::Honoured, "{name}");
    }
}
