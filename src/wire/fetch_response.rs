//! The Fetch response as parts: everything but the records is encoded here, the records are passed on as they lie.
//!
//! Key 1, versions 0 to 18. What differs: throttle time from 1; last stable offset and aborted transactions from 4,
//! log start from 5; error and session (KIP-227) from 7; preferred replica from 11; compact, with diverging epoch,
//! current leader and snapshot id as tagged fields from 12; topic ids for names from 13 (KIP-516); endpoints of the
//! new leaders as a tagged field from 16 (KIP-951). The generated `messages::fetch::FetchResponse` is the same on the
//! wire and is kept for reading and for tests; it would have the records in memory.
//!
//! Called by api/fetch.

use bytes::Bytes;

use crate::base::disk::FileSlice;
use crate::base::ids::Uuid;
use crate::wire::api_key::ApiKey;
use crate::wire::messages::fetch::{
    AbortedTransaction, EpochEndOffset, LeaderIdAndEpoch, NodeEndpoint, SnapshotId,
};
use crate::wire::response::{ChunkSource, Part, Response, ResponseWriter};
use crate::wire::text::Text;
use crate::wire::writer::TaggedFieldsWriter;

/// Records in memory up to this length are copied between the other bytes: less work than a part of their own.
const INLINE_BYTES: usize = 1024;

/// The records of a partition.
#[derive(Default)]
pub enum RecordsPart {
    /// Null. Kafka itself sends empty records, also with an error: see [`RecordsPart::Empty`].
    Null,
    /// Bytes in memory.
    Bytes(Bytes),
    /// A range of a segment file.
    File(FileSlice),
    /// Records that are converted while they are sent.
    Chunks(Box<dyn ChunkSource>),
    /// No records: what a partition without any, or with an error, answers.
    #[default]
    Empty,
}

impl RecordsPart {
    /// How many bytes the records have.
    pub fn length(&self) -> usize {
        match self {
            Self::Null | Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::File(slice) => slice.length,
            Self::Chunks(source) => source.length(),
        }
    }
}

/// The answer to a Fetch.
#[derive(Default)]
pub struct FetchResponse {
    /// How long the client shall wait because of a quota.
    pub throttle_time_ms: i32,
    /// The error of the whole request; no version below 7 can say it.
    pub error_code: i16,
    /// The fetch session, 0 for none.
    pub session_id: i32,
    /// The topics, in the order asked for.
    pub topics: Vec<FetchedTopic>,
    /// Where the leaders named in `current_leader` are reached.
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// A topic of the answer.
#[derive(Default)]
pub struct FetchedTopic {
    /// Its name, sent up to version 12.
    pub topic: Text,
    /// Its id, sent from version 13 on.
    pub topic_id: Uuid,
    /// The partitions.
    pub partitions: Vec<FetchedPartition>,
}

/// A partition of the answer.
pub struct FetchedPartition {
    /// The partition's index.
    pub partition_index: i32,
    /// Its error, 0 for none.
    pub error_code: i16,
    /// The high watermark, −1 when unknown.
    pub high_watermark: i64,
    /// The last stable offset, −1 when unknown.
    pub last_stable_offset: i64,
    /// The log start, −1 when unknown.
    pub log_start_offset: i64,
    /// Where the fetcher's log parts from the leader's (KIP-595).
    pub diverging_epoch: Option<EpochEndOffset>,
    /// The leader, when the fetcher asked another broker.
    pub current_leader: Option<LeaderIdAndEpoch>,
    /// A snapshot to fetch in place of the log.
    pub snapshot_id: Option<SnapshotId>,
    /// The aborted transactions among the records; `None` goes out as null, which read_uncommitted is told.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// The broker to read from, −1 for this one.
    pub preferred_read_replica: i32,
    /// The records.
    pub records: RecordsPart,
}

impl FetchedPartition {
    /// A partition with an error and nothing else, as Kafka's `FetchResponse.partitionResponse` has it.
    pub fn failed(partition_index: i32, error_code: i16) -> Self {
        Self {
            partition_index,
            error_code,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging_epoch: None,
            current_leader: None,
            snapshot_id: None,
            aborted_transactions: Some(Vec::new()),
            preferred_read_replica: -1,
            records: RecordsPart::Empty,
        }
    }
}

impl FetchResponse {
    /// The response in `version`.
    pub fn into_response(self, version: i16) -> Response {
        let flexible = version >= 12;
        let mut out = ResponseWriter::new(ApiKey::Fetch, version, self.room());
        let w = out.bytes();
        if version >= 1 {
            w.i32(self.throttle_time_ms);
        }
        if version >= 7 {
            w.i16(self.error_code);
            w.i32(self.session_id);
        }
        w.length(flexible, Some(self.topics.len()));
        for topic in self.topics {
            topic.encode(&mut out, version);
        }
        if flexible {
            let mut fields = TaggedFieldsWriter::new();
            if version >= 16 && !self.node_endpoints.is_empty() {
                fields.add(0, |w| {
                    w.array(true, &self.node_endpoints, |w, endpoint| {
                        endpoint.encode(w, version)
                    });
                });
            }
            out.bytes().tagged_fields(&fields);
        }
        out.finish()
    }

    /// About how many bytes come besides the records.
    fn room(&self) -> usize {
        let partitions: usize = self
            .topics
            .iter()
            .map(|topic| 64 + 96 * topic.partitions.len())
            .sum();
        (64 + partitions).min(1 << 20)
    }
}

impl FetchedTopic {
    fn encode(self, out: &mut ResponseWriter, version: i16) {
        let flexible = version >= 12;
        let w = out.bytes();
        if version <= 12 {
            w.text(flexible, &self.topic);
        } else {
            w.uuid(self.topic_id);
        }
        w.length(flexible, Some(self.partitions.len()));
        for partition in self.partitions {
            partition.encode(out, version);
        }
        if flexible {
            out.bytes().no_tagged_fields();
        }
    }
}

impl FetchedPartition {
    fn encode(self, out: &mut ResponseWriter, version: i16) {
        let flexible = version >= 12;
        let w = out.bytes();
        w.i32(self.partition_index);
        w.i16(self.error_code);
        w.i64(self.high_watermark);
        if version >= 4 {
            w.i64(self.last_stable_offset);
            if version >= 5 {
                w.i64(self.log_start_offset);
            }
            w.nullable_array(
                flexible,
                true,
                self.aborted_transactions.as_deref(),
                |w, aborted| {
                    aborted.encode(w, version);
                },
            );
        }
        if version >= 11 {
            w.i32(self.preferred_read_replica);
        }
        encode_records(self.records, out, flexible);
        if flexible {
            let mut fields = TaggedFieldsWriter::new();
            if let Some(diverging) = self.diverging_epoch.filter(|it| *it != EpochEndOffset::default()) {
                fields.add(0, |w| diverging.encode(w, version));
            }
            if let Some(leader) = self
                .current_leader
                .filter(|it| *it != LeaderIdAndEpoch::default())
            {
                fields.add(1, |w| leader.encode(w, version));
            }
            if let Some(snapshot) = self.snapshot_id.filter(|it| *it != SnapshotId::default()) {
                fields.add(2, |w| snapshot.encode(w, version));
            }
            out.bytes().tagged_fields(&fields);
        }
    }
}

fn encode_records(records: RecordsPart, out: &mut ResponseWriter, flexible: bool) {
    let w = out.bytes();
    match records {
        RecordsPart::Null => w.length(flexible, None),
        RecordsPart::Empty => w.length(flexible, Some(0)),
        RecordsPart::Bytes(bytes) if bytes.len() <= INLINE_BYTES => w.bytes(flexible, &bytes),
        records => {
            w.length(flexible, Some(records.length()));
            match records {
                RecordsPart::Bytes(bytes) => out.part(Part::Bytes(bytes)),
                RecordsPart::File(slice) => out.part(Part::File(slice)),
                RecordsPart::Chunks(source) => out.part(Part::Chunks(source)),
                RecordsPart::Null | RecordsPart::Empty => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::base::disk::{Disk, Open, memory::MemoryDisk};
    use crate::base::random::Random;
    use crate::wire::message::Message;
    use crate::wire::messages::fetch as generated;
    use crate::wire::reader::Reader;
    use crate::wire::shape::generate::{Contents, body};

    struct Repeat {
        bytes: Bytes,
        times: usize,
    }

    impl ChunkSource for Repeat {
        fn length(&self) -> usize {
            self.bytes.len() * self.times
        }

        fn next(&mut self) -> std::io::Result<Option<Bytes>> {
            let left = self.times.checked_sub(1);
            self.times = left.unwrap_or(0);
            Ok(left.map(|_| self.bytes.clone()))
        }

        fn held(&self) -> usize {
            self.bytes.len()
        }
    }

    fn partition(data: generated::PartitionData) -> FetchedPartition {
        FetchedPartition {
            partition_index: data.partition_index,
            error_code: data.error_code,
            high_watermark: data.high_watermark,
            last_stable_offset: data.last_stable_offset,
            log_start_offset: data.log_start_offset,
            diverging_epoch: Some(data.diverging_epoch),
            current_leader: Some(data.current_leader),
            snapshot_id: Some(data.snapshot_id),
            aborted_transactions: data.aborted_transactions,
            preferred_read_replica: data.preferred_read_replica,
            records: data.records.map_or(RecordsPart::Null, RecordsPart::Bytes),
        }
    }

    fn ours(message: generated::FetchResponse) -> FetchResponse {
        FetchResponse {
            throttle_time_ms: message.throttle_time_ms,
            error_code: message.error_code,
            session_id: message.session_id,
            topics: message
                .responses
                .into_iter()
                .map(|topic| FetchedTopic {
                    topic: topic.topic,
                    topic_id: topic.topic_id,
                    partitions: topic.partitions.into_iter().map(partition).collect(),
                })
                .collect(),
            node_endpoints: message.node_endpoints,
        }
    }

    #[test]
    fn equals_the_generated_encoding_in_every_version() {
        let random = Random::from_seed(3);
        for version in ApiKey::Fetch.stable_versions() {
            for round in 0..50 {
                let mut next = || random.below(u64::MAX);
                let contents = if round == 0 {
                    Contents::Full
                } else {
                    Contents::Random(&mut next)
                };
                let bytes = body(ApiKey::Fetch, version, false, contents).unwrap();
                let message =
                    generated::FetchResponse::decode(&mut Reader::new(bytes.into()), version).unwrap();
                let expected = Response::encode(&message, version).frame(9).read().unwrap();
                let response = ours(message).into_response(version);
                assert_eq!(response.length(), expected.len());
                assert_eq!(response.frame(9).read().unwrap(), expected, "v{version}");
            }
        }
    }

    #[test]
    fn records_stay_where_they_are() {
        let disk = Disk::memory(MemoryDisk::new());
        disk.create_directory(Path::new("/d")).unwrap();
        let file = disk.open(Path::new("/d/log"), Open::New).unwrap();
        let contents = b"0123456789".repeat(1000);
        file.write_all_at(&contents, 0).unwrap();
        let file = Arc::new(file);
        for version in ApiKey::Fetch.stable_versions() {
            let large = Bytes::from(contents.clone());
            let slice = FileSlice {
                file: file.clone(),
                position: 10,
                length: 5000,
            };
            let chunks = Repeat {
                bytes: Bytes::from_static(b"chunk"),
                times: 3,
            };
            let parts = [
                RecordsPart::File(slice),
                RecordsPart::Empty,
                RecordsPart::Bytes(large.clone()),
                RecordsPart::Chunks(Box::new(chunks)),
            ];
            let partitions = parts
                .into_iter()
                .map(|records| FetchedPartition {
                    records,
                    ..FetchedPartition::failed(1, 0)
                })
                .collect();
            let topic = FetchedTopic {
                topic: "t".into(),
                topic_id: Uuid([7; 16]),
                partitions,
            };
            let response = FetchResponse {
                topics: vec![topic],
                ..Default::default()
            }
            .into_response(version);
            let length = response.length();
            let frame = response.frame(1);
            assert!(matches!(&frame.rest[0], Part::File(slice) if slice.length == 5000));
            assert!(
                frame
                    .rest
                    .iter()
                    .any(|part| matches!(part, Part::Bytes(it) if it.as_ptr() == large.as_ptr()))
            );
            let whole = frame.read().unwrap();
            assert_eq!(whole.len(), length);
            let (_, body) =
                crate::wire::header::decode_response(whole.slice(4..), ApiKey::Fetch, version).unwrap();
            let read = generated::FetchResponse::decode(&mut Reader::new(body), version).unwrap();
            let records: Vec<_> = read.responses[0]
                .partitions
                .iter()
                .map(|it| it.records.clone().unwrap())
                .collect();
            assert_eq!(records[0], &contents[10..5010]);
            assert_eq!(records[1], "");
            assert_eq!(records[2], large);
            assert_eq!(records[3], "chunkchunkchunk");
        }
    }
}
