//! Records with keys, drawn at random from so many: what a compacted topic is filled with. The same seed gives the same
//! records. One connection; the next batch is built while the last one is on its way.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::client::Client;
use crate::codec::Codec;
use crate::{batch, whole};

/// Values are cut from a text of this length.
const TEXT_BYTES: usize = 4 << 20;

#[derive(clap::Args)]
pub struct Options {
    #[arg(long)]
    bootstrap: String,
    /// Written to partition 0 of it.
    #[arg(long)]
    topic: String,
    #[arg(long)]
    records: u64,
    #[arg(long)]
    keys: u64,
    /// Bytes of a record's value.
    #[arg(long, default_value_t = 1000)]
    record_size: usize,
    #[arg(long, default_value_t = 131_072)]
    batch_bytes: usize,
    #[arg(long, value_enum, default_value = "none")]
    codec: Codec,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub fn run(options: &Options) {
    let mut stream = Client::connect(&options.bootstrap)
        .expect("connect")
        .into_stream();
    let mut random = fastrand::Rng::with_seed(options.seed);
    let text = batch::text(TEXT_BYTES + options.record_size, &mut random);
    let (mut sent, mut bytes, mut owed) = (0, 0, false);
    while sent < options.records {
        let (batch, count) = next_batch(options, options.records - sent, &text, &mut random);
        bytes += batch.len() as u64;
        sent += count;
        if owed {
            whole::await_answer(&mut stream);
        }
        let request = whole::request("load", 1, &options.topic, &[(0, batch)]);
        stream.write_all(&request).unwrap();
        owed = true;
    }
    if owed {
        whole::await_answer(&mut stream);
    }
    println!("{{\"records\": {sent}, \"bytes\": {bytes}}}");
}

fn next_batch(options: &Options, most: u64, text: &[u8], random: &mut fastrand::Rng) -> (Vec<u8>, u64) {
    let mut records = Vec::with_capacity(options.batch_bytes + options.record_size);
    let mut count = 0;
    while count < most && (count == 0 || records.len() + options.record_size < options.batch_bytes) {
        let key = format!("key-{:012}", random.u64(..options.keys));
        let at = random.usize(..TEXT_BYTES);
        let record = batch::record(
            count as i64,
            Some(key.as_bytes()),
            &text[at..at + options.record_size],
        );
        batch::varint(record.len() as i64, &mut records);
        records.extend_from_slice(&record);
        count += 1;
    }
    let mut batch = batch::whole(options.codec, count as i32, &records);
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    batch[27..35].copy_from_slice(&now_ms.to_be_bytes());
    batch[35..43].copy_from_slice(&now_ms.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    (batch, count)
}
