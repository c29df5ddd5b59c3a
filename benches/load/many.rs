//! Many connections on one thread: whole requests go out, whole answers come back. Called by `groups` and `commits`.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::event::epoll;

use crate::client::Client;

/// The connections, by number.
pub struct Many {
    epoll: std::os::fd::OwnedFd,
    connections: Vec<Connection>,
    events: Vec<epoll::Event>,
}

struct Connection {
    stream: TcpStream,
    /// What the socket has not taken yet.
    output: Vec<u8>,
    wants_write: bool,
    input: Vec<u8>,
    filled: usize,
}

impl Many {
    pub fn connect(address: &str, count: usize) -> Many {
        let connect = |_| Client::connect(address).expect("connect").into_stream();
        Many::over((0..count).map(connect).collect())
    }

    pub fn over(streams: Vec<TcpStream>) -> Many {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let connections = streams.into_iter().enumerate().map(|(slot, stream)| {
            stream.set_nonblocking(true).unwrap();
            let data = epoll::EventData::new_u64(slot as u64);
            epoll::add(&epoll, &stream, data, epoll::EventFlags::IN).unwrap();
            Connection {
                stream,
                output: Vec::new(),
                wants_write: false,
                input: vec![0; 4096],
                filled: 0,
            }
        });
        Many {
            connections: connections.collect(),
            events: Vec::with_capacity(1024),
            epoll,
        }
    }

    pub fn len(&self) -> usize {
        self.connections.len()
    }

    pub fn send(&mut self, slot: usize, frame: &[u8]) {
        let connection = &mut self.connections[slot];
        connection.output.extend_from_slice(frame);
        connection.write();
        self.watch(slot);
    }

    /// Waits, and gives each answer that is there to `take`, with the number of its connection; what that returns is
    /// sent as the connection's next request. Answers how many came.
    pub fn receive(
        &mut self,
        patience: Duration,
        mut take: impl FnMut(usize, &[u8]) -> Option<Vec<u8>>,
    ) -> usize {
        let timeout = rustix::event::Timespec {
            tv_sec: patience.as_secs() as i64,
            tv_nsec: patience.subsec_nanos().into(),
        };
        self.events.clear();
        epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut self.events),
            Some(&timeout),
        )
        .unwrap();
        let mut count = 0;
        for index in 0..self.events.len() {
            let event = self.events[index];
            // Copied: the kernel's structure is packed.
            let (slot, flags) = (event.data.u64() as usize, event.flags);
            let connection = &mut self.connections[slot];
            if flags.contains(epoll::EventFlags::OUT) {
                connection.write();
            }
            if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
                count += connection.read(|answer| take(slot, answer));
            }
            self.watch(slot);
        }
        count
    }

    fn watch(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        let wants_write = !connection.output.is_empty();
        if wants_write != connection.wants_write {
            connection.wants_write = wants_write;
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, wants_write);
            let data = epoll::EventData::new_u64(slot as u64);
            epoll::modify(&self.epoll, &connection.stream, data, flags).unwrap();
        }
    }
}

impl Connection {
    fn write(&mut self) {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("write: {error}"),
            }
        }
    }

    fn read(&mut self, mut take: impl FnMut(&[u8]) -> Option<Vec<u8>>) -> usize {
        match self.stream.read(&mut self.input[self.filled..]) {
            Ok(0) => panic!("the broker closed the connection"),
            Ok(count) => self.filled += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return 0,
            Err(error) => panic!("read: {error}"),
        }
        let (mut at, mut count) = (0, 0);
        while self.filled - at >= 4 {
            let size = i32::from_be_bytes(self.input[at..at + 4].try_into().unwrap()) as usize;
            if self.filled - at - 4 < size {
                if self.input.len() < size + 4 {
                    self.input.resize(size + 4, 0);
                }
                break;
            }
            let next = take(&self.input[at + 4..at + 4 + size]);
            at += 4 + size;
            count += 1;
            if let Some(next) = next {
                self.output.extend_from_slice(&next);
                self.write();
            }
        }
        self.input.copy_within(at..self.filled, 0);
        self.filled -= at;
        count
    }
}
