//! The small files in text, the snapshots of producers, and the names of files and folders.

use std::collections::BTreeMap;

use barnabas::base::ids::{LeaderEpoch, Offset, Uuid};
use barnabas::config::{BrokerConfig, Sources, properties};
use barnabas::storage::file_names::{PartitionFolder, SegmentFile};
use barnabas::storage::producer_state::{ProducerStates, snapshot};
use barnabas::storage::{checkpoint, leader_epochs, meta_properties, partition_metadata};

use super::{PLAIN, bytes, named, with_extension};
use crate::Target;

pub fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "offset checkpoints",
            seeds: [
                named("recovery-point-offset-checkpoint"),
                bytes(&["0\n0\n", "", "0\n1\nt 0 5\n"]),
            ]
            .concat(),
            words: &[
                "\n",
                " ",
                "0\n",
                "0\n1\n",
                "-1",
                "99999999999999999999",
                "4294967296",
                "topic 0 17\n",
                "\u{e9}",
            ],
            run: offset_checkpoint,
            planted: &[
                "checkpoint-count-reserved",
                "checkpoint-words-believed",
                "checkpoint-count-there",
            ],
            ..PLAIN
        },
        Target {
            name: "leader epoch checkpoints",
            seeds: epoch_files(),
            words: &["\n", " ", "0\n", "-1", "9", "2147483647", "9223372036854775807", "1 5\n", "7 5\n", "-1 3\n"],
            run: leader_epochs,
            planted: &["epoch-negative", "epochs-of-one-start", "epoch-before-first"],
            ..PLAIN
        },
        Target {
            name: "producer snapshots",
            seeds: with_extension("snapshot"),
            mend: |rng, bytes| {
                if bytes.len() > 6 && rng.u8(..4) > 0 {
                    let crc = crc32c::crc32c(&bytes[6..]);
                    bytes[2..6].copy_from_slice(&crc.to_be_bytes());
                }
            },
            run: producer_snapshot,
            planted: &["snapshot-field-there", "snapshot-count-reserved", "snapshot-count-less"],
            ..PLAIN
        },
        Target {
            name: "partition.metadata",
            seeds: named("partition.metadata"),
            words: &["\n", ": ", ":", "version: ", "-", "-1", "topic_id: ", "AAAAAAAAAAAAAAAAAAAAAA", "2147483648"],
            run: |input| {
                if let Ok((version, id)) = partition_metadata::parse(input) {
                    assert!(version >= 0);
                    assert_ne!(id, Uuid::ZERO);
                    let again = partition_metadata::parse(partition_metadata::format(id).as_bytes());
                    assert_eq!(again.unwrap().1, id);
                }
            },
            planted: &["metadata-blank-there", "metadata-any-version", "metadata-zero-id"],
            ..PLAIN
        },
        Target {
            name: "meta.properties",
            seeds: [
                named("meta.properties"),
                bytes(&["version=0\ncluster.id=a\ndirectory.id=BwcHBwcHBwcHBwcHBwcHBw\nbroker.id=3\n"]),
            ]
            .concat(),
            words: PROPERTY_WORDS,
            run: meta_properties,
            planted: &[
                "properties-digits-there",
                "properties-whole-characters",
                "meta-reserved-id",
            ],
            ..PLAIN
        },
        Target {
            name: "server.properties",
            seeds: [
                named("meta.properties"),
                bytes(&[
                    "listeners=PLAINTEXT://127.0.0.1:9092\nlog.dirs=/a,/b\nbroker.id=1\n",
                    "# a comment\nlisteners = PLAINTEXT://[::1]:9092\nnum.partitions: 3\nlog.retention.hours 5\n",
                    "max.connections.per.ip.overrides=127.0.0.1:5,::1:6\nlog.cleanup.policy=compact,\\\n  delete\n",
                    "inter.broker.protocol.version=2.8-IV1\nlog.roll.ms=1\\u0030\n\\=a\\ b=c\\\\\n",
                ]),
            ]
            .concat(),
            words: PROPERTY_WORDS,
            run: server_properties,
            planted: &[
                "server-digits-there",
                "server-backslash-pairs",
                "listener-bracket-there",
            ],
            ..PLAIN
        },
        Target {
            name: "names",
            seeds: bytes(&[
                "00000000000000000007.log",
                "00000000000000000000.timeindex",
                "09223372036854775807.snapshot.deleted",
                "00000000000000000012.index.swap",
                "00000000000000000012.txnindex.cleaned",
                "topic-0",
                "a.b-c-12",
                "t-3.abababababababababababababababab-delete",
                "t-3.abababababababababababababababab-future",
                "leader-epoch-checkpoint",
            ]),
            words: &[".log", ".deleted", "-", ".", "-delete", "-stray", "-0", "0", "9999999999"],
            run: names,
            planted: &["name-of-any-length", "folder-unique-there", "folder-without-topic"],
            ..PLAIN
        },
    ]
}

/// Those of logs that were never cut at their start.
fn epoch_files() -> Vec<Vec<u8>> {
    let mut files = named("leader-epoch-checkpoint");
    files.extend(bytes(&["0\n3\n0 0\n1 5\n4 70\n", "0\n0\n"]));
    files.retain(|file| {
        let earliest = leader_epochs::LeaderEpochs::parse(file).unwrap().earliest();
        earliest.is_none_or(|entry| entry.start_offset == Offset(0))
    });
    files
}

const PROPERTY_WORDS: &[&str] = &[
    "\\u",
    "\\uD83D",
    "\\u0041",
    "\\",
    "\\\\",
    "\n",
    "\r\n",
    "=",
    ":",
    " ",
    "#",
    "version=",
    "directory.id=",
    "AAAAAAAAAAAAAAAAAAAAAQ",
    "broker.id=2147483648",
    "listeners=",
    "PLAINTEXT://",
    "advertised.listeners=PLAINTEXT://h:1\n",
    "[",
    "]",
    ",",
    ":9092",
    "log.retention.ms=",
    "-1",
    "9223372036854775808",
];

fn offset_checkpoint(input: &[u8]) {
    if let Ok(offsets) = checkpoint::parse_offsets(input) {
        let again = checkpoint::parse_offsets(&checkpoint::format_offsets(&offsets));
        assert_eq!(again.unwrap(), offsets);
    }
}

/// Epochs and starts ascend, and every look-up names one of them.
fn leader_epochs(input: &[u8]) {
    let Ok(mut epochs) = leader_epochs::LeaderEpochs::parse(input) else {
        return;
    };
    let entries = epochs.entries().to_vec();
    for pair in entries.windows(2) {
        assert!(pair[0].epoch < pair[1].epoch && pair[0].start_offset < pair[1].start_offset);
    }
    let Some(first) = entries.first() else {
        return;
    };
    assert!(first.epoch.get() >= 0 && first.start_offset.get() >= 0);
    for offset in [0, 17, i64::MAX] {
        let expected = entries.iter().rfind(|entry| entry.start_offset.get() <= offset);
        assert_eq!(epochs.epoch_of(Offset(offset)), expected.map(|entry| entry.epoch));
    }
    for epoch in [-1, 0, first.epoch.get(), i32::MAX] {
        let _ = epochs.end_offset_for(LeaderEpoch(epoch), Offset(i64::MAX));
    }
    let again = leader_epochs::LeaderEpochs::parse(&epochs.to_bytes()).unwrap();
    assert_eq!(again.entries(), entries);
    epochs.truncate_from_start(Offset(3));
    epochs.truncate_from_end(Offset(50));
}

/// As many producers as are declared, which come back from what they are written to.
fn producer_snapshot(input: &[u8]) {
    if let Ok(producers) = snapshot::decode(input) {
        assert_eq!(input[6..10], (producers.len() as i32).to_be_bytes());
        let written = snapshot::encode(producers.iter().map(|(id, entry)| (*id, entry)));
        assert_eq!(snapshot::decode(&written).unwrap(), producers);
    }
    if let Ok(states) = ProducerStates::from_snapshot(input, Offset(100), 1_800_000_000_000, 86_400_000, 1000)
    {
        let _ = states.to_snapshot();
    }
}

fn meta_properties(input: &[u8]) {
    if let Ok(properties) = meta_properties::MetaProperties::parse(input) {
        if let Some(id) = properties.directory_id {
            assert!(u128::from_be_bytes(id.0) >= 100, "an id that stands for none");
        }
        let again = meta_properties::MetaProperties::parse(&properties.format(0));
        assert_eq!(again.unwrap(), properties);
    }
}

/// What is read comes back from what it is written as; and the configuration is made of it, or refused.
fn server_properties(input: &[u8]) {
    let Ok(pairs) = properties::parse(input) else {
        return;
    };
    for (key, value) in pairs.iter().filter(|(key, _)| !key.is_empty()) {
        let line = properties::line(key, value);
        assert_eq!(
            properties::parse(line.as_bytes()).unwrap(),
            [(key.clone(), value.clone())],
            "{line:?}"
        );
    }
    let ours: BTreeMap<String, String> = pairs.iter().cloned().collect();
    if ours.len() < 40 {
        let _ = BrokerConfig::load(&Sources {
            file: Some(pairs),
            ..Sources::default()
        });
    }
}

/// A name that is read is written the same.
fn names(input: &[u8]) {
    let name = String::from_utf8_lossy(input);
    if let Ok(Some(file)) = SegmentFile::parse(&name) {
        assert_eq!(file.to_string(), name);
    }
    if let Ok(folder) = PartitionFolder::parse(&name) {
        assert!(!folder.partition.topic.is_empty() && folder.partition.partition >= 0);
        assert!(name.starts_with(&*folder.partition.topic));
    }
}
