//! What a request costs where the machine does not matter: syncs, allocations, and bytes copied within the process, on
//! the ways of Produce and Fetch. System calls are counted by `compat/syscalls`.
//!
//! A broker runs in this process, and one client that allocates and copies nothing itself. Each bound of a request lies
//! less than one above what was counted, so that one more on the way fails it: seen with two allocations and a copy put
//! into each request, and a sync into each append. Other threads of the broker do little meanwhile, and many requests share
//! it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods
)]
#![allow(
    unsafe_code,
    reason = "an allocator and a memcpy that count; they hand everything on to the system's"
)]

#[path = "../protocol-tests/socket/mod.rs"]
mod socket;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use barnabas::records::build::BatchOptions;
use socket::{Client, TestBroker, batch_with, fetch_request, produce_request};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static COPIED: AtomicU64 = AtomicU64::new(0);

/// Shorter copies are headers and the like, moved about as values.
const COPY_BYTES: usize = 1024;

struct Counting;

// SAFETY: every call is passed on to the system's allocator unchanged; the count is beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

unsafe extern "C" {
    // The C library's own, under the names that it has for callers who know the size of the target.
    fn __memcpy_chk(to: *mut u8, from: *const u8, bytes: usize, room: usize) -> *mut u8;
    fn __memmove_chk(to: *mut u8, from: *const u8, bytes: usize, room: usize) -> *mut u8;
}

/// The size of a target that nobody knows. Were it a constant here, the compiler would make a call of `memcpy` out of one
/// of `__memcpy_chk`, which then calls itself for ever.
fn unknown() -> usize {
    std::hint::black_box(usize::MAX)
}

fn count_copy(bytes: usize) {
    if bytes >= COPY_BYTES {
        COPIED.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Takes the place of the C library's for everything that is linked into this program.
///
/// # Safety
/// As `memcpy`'s.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    count_copy(bytes);
    // SAFETY: as the caller promises.
    unsafe { __memcpy_chk(to, from, bytes, unknown()) }
}

/// Takes the place of the C library's for everything that is linked into this program.
///
/// # Safety
/// As `memmove`'s.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    count_copy(bytes);
    // SAFETY: as the caller promises.
    unsafe { __memmove_chk(to, from, bytes, unknown()) }
}

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A broker that never takes a thread that gets no processor for a disk that hangs: it would close connections.
fn start() -> TestBroker {
    TestBroker::start(&[("log.dir.stall.ms", "3600000")])
}

/// What one request costs, times `requests`.
#[derive(Clone, Copy, Debug)]
struct Cost {
    requests: u64,
    syncs: u64,
    allocations: u64,
    copied: u64,
}

impl Cost {
    fn assert_at_most(self, syncs: f64, allocations: f64, copied: f64) {
        let each = |count: u64| count as f64 / self.requests as f64;
        assert!(
            each(self.syncs) <= syncs && each(self.allocations) <= allocations && each(self.copied) <= copied,
            "a request takes {:.3} syncs, {:.3} allocations and {:.1} bytes copied; at most {syncs}, {allocations} and \
             {copied} are allowed",
            each(self.syncs),
            each(self.allocations),
            each(self.copied)
        );
    }
}

/// Sends the same frame again and again and takes answers of the same length, after some that warm up.
fn cost(broker: &TestBroker, client: &mut Client, frame: &[u8], requests: u64) -> Cost {
    let mut answer = vec![0; 2 << 20];
    let mut once = |client: &mut Client| {
        client.stream.write_all(frame).unwrap();
        client.stream.read_exact(&mut answer[..4]).unwrap();
        let length = u32::from_be_bytes([answer[0], answer[1], answer[2], answer[3]]) as usize;
        client.stream.read_exact(&mut answer[..length]).unwrap();
        length
    };
    for _ in 0..50 {
        once(client);
    }
    let length = once(client);
    let before = [
        broker.disk.syncs(),
        ALLOCATIONS.load(Ordering::Relaxed),
        COPIED.load(Ordering::Relaxed),
    ];
    for _ in 0..requests {
        assert_eq!(once(client), length);
    }
    Cost {
        requests,
        syncs: broker.disk.syncs() - before[0],
        allocations: ALLOCATIONS.load(Ordering::Relaxed) - before[1],
        copied: COPIED.load(Ordering::Relaxed) - before[2],
    }
}

/// A produce of one batch with `bytes` of values.
fn produce(client: &mut Client, topic: &str, acks: i16, bytes: usize) -> Vec<u8> {
    let records = batch_with(BatchOptions::default(), 1_000, &[&"v".repeat(bytes)]);
    let mut request = produce_request(topic, 0, records);
    request.acks = acks;
    client.request_frame(&request, 9).1
}

#[test]
fn the_counters_count() {
    let _alone = alone();
    let (allocations, copied) = (
        ALLOCATIONS.load(Ordering::Relaxed),
        COPIED.load(Ordering::Relaxed),
    );
    let from = std::hint::black_box(vec![7_u8; 10_000]);
    let to = std::hint::black_box(from.clone());
    assert!(ALLOCATIONS.load(Ordering::Relaxed) >= allocations + 2);
    assert!(COPIED.load(Ordering::Relaxed) >= copied + 10_000);
    drop((from, to));
}

#[test]
fn a_small_produce() {
    let _alone = alone();
    let broker = start();
    broker.create_topic("t", &[]);
    let mut client = broker.client();
    let frame = produce(&mut client, "t", -1, 100);
    cost(&broker, &mut client, &frame, 5_000).assert_at_most(0.01, 5.5, 1.0);
}

#[test]
fn a_large_produce() {
    let _alone = alone();
    let broker = start();
    broker.create_topic("t", &[("max.message.bytes", "2000000")]);
    let mut client = broker.client();
    let frame = produce(&mut client, "t", -1, 128 * 1024);
    cost(&broker, &mut client, &frame, 1_000).assert_at_most(0.01, 8.5, 1.0);
}

#[test]
fn a_produce_that_is_to_be_synced() {
    let _alone = alone();
    let broker = start();
    broker.create_topic("t", &[("flush.messages", "1")]);
    let mut client = broker.client();
    let frame = produce(&mut client, "t", 1, 100);
    cost(&broker, &mut client, &frame, 500).assert_at_most(1.01, 17.5, 1.0);
}

#[test]
fn a_commit_of_one_offset() {
    let _alone = alone();
    let broker = start();
    broker.create_topic("t", &[]);
    let mut client = broker.client();
    client.await_coordinator("g");
    let commit = socket::group::commit_request("g", "t", &[(0, 5)]);
    let frame = client.request_frame(&commit, 7).1;
    cost(&broker, &mut client, &frame, 5_000).assert_at_most(0.01, 17.5, 1.0);
}

#[test]
fn a_small_fetch() {
    let _alone = alone();
    let broker = start();
    broker.create_topic("t", &[]);
    let mut client = broker.client();
    let value = "v".repeat(4000);
    client.produce("t", 0, batch_with(BatchOptions::default(), 1_000, &[&value]), 9);
    let frame = client.request_frame(&fetch_request("t", 0, 0), 11).1;
    cost(&broker, &mut client, &frame, 5_000).assert_at_most(0.01, 12.5, 1.0);
}

#[test]
fn a_large_fetch() {
    let _alone = alone();
    let broker = start();
    broker.create_topic("t", &[]);
    let mut client = broker.client();
    let value = "v".repeat(100_000);
    for _ in 0..10 {
        client.produce("t", 0, batch_with(BatchOptions::default(), 1_000, &[&value]), 9);
    }
    let frame = client.request_frame(&fetch_request("t", 0, 0), 11).1;
    cost(&broker, &mut client, &frame, 1_000).assert_at_most(0.01, 12.5, 1.0);
}

/// Some for the store and the checkpoints, none for each partition: seen with the ids of the topic synced one by one.
#[test]
fn creating_and_closing_many_partitions() {
    let _alone = alone();
    let broker = start();
    let before = broker.disk.syncs();
    assert_eq!(broker.client().create_topic("t", 500, &[]), 0);
    let disk = broker.disk.clone();
    drop(broker);
    let syncs = disk.syncs() - before;
    assert!(syncs <= 40, "{syncs} syncs for 500 partitions");
}
