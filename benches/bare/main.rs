//! What a broker cannot beat on this machine: one epoll thread that receives Produce frames, takes their CRC-32C, writes
//! them to a file a partition and replies; and that answers Fetch with sendfile. It checks nothing and keeps no promise.
//! scripts/bench runs it beside the brokers. Usage: `bare DIRECTORY`; prints `listening on ADDRESS`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs
)] // a tool outside of the broker: an error ends it, and it uses real sockets and files by design

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::event::epoll;

struct Partition {
    file: File,
    length: u64,
    next_offset: i64,
    /// First offset and position of each batch.
    batches: Vec<(i64, u64)>,
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    filled: usize,
}

struct Loop {
    directory: PathBuf,
    partitions: HashMap<(Vec<u8>, i32), Partition>,
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn i16_at(bytes: &[u8], at: usize) -> usize {
    i16::from_be_bytes(bytes[at..at + 2].try_into().unwrap()) as usize
}

impl Loop {
    fn partition(&mut self, topic: &[u8], index: i32) -> &mut Partition {
        let path = self
            .directory
            .join(format!("{}-{index}.log", String::from_utf8_lossy(topic)));
        self.partitions.entry((topic.to_vec(), index)).or_insert_with(|| {
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(path)
                .unwrap();
            Partition {
                file,
                length: 0,
                next_offset: 0,
                batches: Vec::new(),
            }
        })
    }

    /// A frame behind its size; replies are collected in `out`.
    fn handle(&mut self, stream: &mut TcpStream, frame: &mut [u8], out: &mut Vec<u8>) {
        let body = 8 + 2 + i16_at(frame, 8);
        match i16_at(frame, 0) {
            0 => self.produce(frame, body, out),
            1 => self.fetch(stream, frame, body),
            18 => out.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0]),
            key => panic!("request {key}"),
        }
    }

    fn produce(&mut self, frame: &mut [u8], body: usize, out: &mut Vec<u8>) {
        let acks = i16_at(frame, body + 2) as i16;
        let name = body + 2 + 2 + 4 + 4;
        let name_end = name + 2 + i16_at(frame, name);
        let topic = frame[name + 2..name_end].to_vec();
        let count = i32_at(frame, name_end);
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&frame[4..8]);
        out.extend_from_slice(&1i32.to_be_bytes());
        out.extend_from_slice(&frame[name..name_end]);
        out.extend_from_slice(&count.to_be_bytes());
        let mut at = name_end + 4;
        for _ in 0..count {
            let index = i32_at(frame, at);
            let length = i32_at(frame, at + 4) as usize;
            let batch = &mut frame[at + 8..at + 8 + length];
            at += 8 + length;
            let valid = crc32c::crc32c(&batch[21..]).to_be_bytes() == batch[17..21];
            let partition = self.partition(&topic, index);
            let first = partition.next_offset;
            batch[..8].copy_from_slice(&first.to_be_bytes());
            partition.file.write_all_at(batch, partition.length).unwrap();
            partition.batches.push((first, partition.length));
            partition.length += length as u64;
            partition.next_offset += i64::from(i32_at(batch, 23)) + 1;
            out.extend_from_slice(&index.to_be_bytes());
            out.extend_from_slice(&(if valid { 0i16 } else { 2 }).to_be_bytes());
            out.extend_from_slice(&first.to_be_bytes());
            out.extend_from_slice(&(-1i64).to_be_bytes());
            out.extend_from_slice(&0i64.to_be_bytes());
        }
        out.extend_from_slice(&0i32.to_be_bytes());
        let size = (out.len() - start - 4) as i32;
        out[start..start + 4].copy_from_slice(&size.to_be_bytes());
        if acks == 0 {
            out.truncate(start);
        }
    }

    fn fetch(&mut self, stream: &mut TcpStream, frame: &[u8], body: usize) {
        let max_bytes = i32_at(frame, body + 12) as u64;
        let name = body + 16 + 1 + 4 + 4 + 4;
        let name_end = name + 2 + i16_at(frame, name);
        let index = i32_at(frame, name_end + 4);
        let offset = i64::from_be_bytes(frame[name_end + 12..name_end + 20].try_into().unwrap());
        let topic = frame[name + 2..name_end].to_vec();
        let partition = self.partition(&topic, index);
        let slot = partition.batches.partition_point(|(first, _)| *first < offset);
        let position = partition
            .batches
            .get(slot)
            .map_or(partition.length, |batch| batch.1);
        let mut left = (partition.length - position).min(max_bytes);
        let mut out = vec![0; 4];
        out.extend_from_slice(&frame[4..8]);
        out.extend_from_slice(&[0; 10]);
        out.extend_from_slice(&1i32.to_be_bytes());
        out.extend_from_slice(&frame[name..name_end]);
        out.extend_from_slice(&1i32.to_be_bytes());
        out.extend_from_slice(&index.to_be_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&partition.next_offset.to_be_bytes());
        out.extend_from_slice(&partition.next_offset.to_be_bytes());
        out.extend_from_slice(&0i64.to_be_bytes());
        out.extend_from_slice(&(-1i32).to_be_bytes());
        out.extend_from_slice(&(-1i32).to_be_bytes());
        out.extend_from_slice(&(left as i32).to_be_bytes());
        let size = (out.len() - 4 + left as usize) as i32;
        out[..4].copy_from_slice(&size.to_be_bytes());
        // One reader at a time is what the bench has: blocking here keeps the loop simple and costs nothing.
        stream.set_nonblocking(false).unwrap();
        stream.write_all(&out).unwrap();
        let mut from = position;
        while left > 0 {
            let sent =
                rustix::fs::sendfile(&*stream, &partition.file, Some(&mut from), left as usize).unwrap();
            left -= sent as u64;
        }
        stream.set_nonblocking(true).unwrap();
    }
}

fn main() {
    let directory = PathBuf::from(std::env::args().nth(1).expect("usage: bare DIRECTORY"));
    std::fs::create_dir_all(&directory).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    println!("listening on {}", listener.local_addr().unwrap());
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    epoll::add(
        &epoll,
        &listener,
        epoll::EventData::new_u64(u64::MAX),
        epoll::EventFlags::IN,
    )
    .unwrap();
    let mut broker = Loop {
        directory,
        partitions: HashMap::new(),
    };
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
    loop {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None).unwrap();
        for event in &events {
            if event.data.u64() == u64::MAX {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true).unwrap();
                    stream.set_nodelay(true).unwrap();
                    let slot = epoll::EventData::new_u64(connections.len() as u64);
                    epoll::add(&epoll, &stream, slot, epoll::EventFlags::IN).unwrap();
                    connections.push(Some(Connection {
                        stream,
                        input: vec![0; 64 * 1024],
                        filled: 0,
                    }));
                }
                continue;
            }
            let slot = event.data.u64() as usize;
            let Some(connection) = connections[slot].as_mut() else {
                continue;
            };
            if !serve(&mut broker, connection) {
                connections[slot] = None;
            }
        }
    }
}

/// Reads what is there and answers what is whole; false at the connection's end.
fn serve(broker: &mut Loop, connection: &mut Connection) -> bool {
    match connection.stream.read(&mut connection.input[connection.filled..]) {
        Ok(0) => return false,
        Ok(count) => connection.filled += count,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
        Err(_) => return false,
    }
    let mut out = Vec::new();
    let mut at = 0;
    while connection.filled - at >= 4 {
        let size = i32_at(&connection.input, at) as usize;
        if connection.filled - at - 4 < size {
            if connection.input.len() < size + 4 {
                connection.input.resize(size + 4, 0);
            }
            break;
        }
        broker.handle(
            &mut connection.stream,
            &mut connection.input[at + 4..at + 4 + size],
            &mut out,
        );
        at += 4 + size;
    }
    connection.input.copy_within(at..connection.filled, 0);
    connection.filled -= at;
    out.is_empty() || connection.stream.write_all(&out).is_ok()
}
