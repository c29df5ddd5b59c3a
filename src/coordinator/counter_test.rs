//! The floor with a small shard of its own: named counters that clients add to, wait for, and that timers count too.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::load::{Loading, Piece};
use super::slot::{Slot, State};
use super::{
    Asked, Coordinator, CoordinatorSettings, Effects, EndedTransaction, MAX_UNREPLICATED, NewRecord,
    Producer, ReplayError, Replayed, Shard, Standing, Step, TimerChange, Token,
};
use crate::base::clock::{self, Instant};
use crate::base::error_code::ErrorCode;
use crate::base::format::Codec;
use crate::base::ids::{BrokerId, LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicPartition};
use crate::base::shutdown::Shutdown;
use crate::base::task;
use crate::metadata::control::{StopReplica, StopReplicaPartition, TOPIC_IS_DELETED};
use crate::records::batch::{Batches, CorruptBatch};
use crate::records::build::BatchOptions;
use crate::records::control::EndTransactionMarker;
use crate::replica::answers::FetchParameters;
use crate::replica::directories::HostDirectory;
use crate::replica::testing::{TestBroker, batch_with, consumer, sender, wanted};
use crate::replica::waiting::Bound;

const TOPIC: &str = "counters";

enum Command {
    /// Adds to a counter.
    Add(&'static str, i64),
    /// Adds so much, one record each.
    AddMany(&'static str, usize),
    /// Adds within a producer's transaction.
    AddInTransaction(&'static str, i64, i64),
    /// Reads a counter.
    Get(&'static str),
    /// Waits until a counter is at least this.
    WaitFor(&'static str, i64),
    /// Adds one to a counter in so many milliseconds.
    AddLater(&'static str, i64),
    /// How far the shard was told that the replicas are.
    Replicated,
    /// Reads a counter once the replicas are as far.
    GetBehind(&'static str, Offset),
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Answer {
    Count(i64),
    Error(ErrorCode),
    NotReplicated(ErrorCode),
}

struct Decision {
    token: Option<Token>,
    key: &'static str,
    producer: Producer,
}

/// What a test does in the middle of a step.
type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

#[derive(Default)]
struct Counters {
    counts: BTreeMap<Vec<u8>, i64>,
    open: BTreeMap<i64, Vec<(Vec<u8>, i64)>>,
    waiting: Vec<(Token, &'static str, i64)>,
    /// Offsets that were replayed while replicas were waited for.
    unreplicated: Vec<Offset>,
    replicated: Offset,
    /// The timers that were put off when the shard took commands again.
    resumed: usize,
    unloaded: Arc<AtomicUsize>,
    hook: Hook,
}

impl Counters {
    fn count(&self, key: &str) -> i64 {
        self.counts.get(key.as_bytes()).copied().unwrap_or(0)
    }

    fn add(&mut self, key: &[u8], n: i64) {
        *self.counts.entry(key.to_vec()).or_default() += n;
    }
}

fn record(key: &str, n: i64) -> NewRecord {
    NewRecord {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Some(Bytes::copy_from_slice(&n.to_be_bytes())),
    }
}

fn write(key: &'static str, n: i64, token: Option<Token>) -> Step<Counters> {
    Step::Write {
        records: vec![record(key, n)],
        decision: Decision {
            token,
            key,
            producer: Producer::default(),
        },
    }
}

impl Shard for Counters {
    type Command = Command;
    type Answer = Answer;
    type Timer = &'static str;
    type Decision = Decision;

    fn replay(&mut self, record: &Replayed<'_>) -> Result<(), ReplayError> {
        let value = record.value.unwrap_or_default();
        let n = value.first_chunk().map(|bytes| i64::from_be_bytes(*bytes));
        let n = n.ok_or_else(|| ReplayError::new("no number"))?;
        if !record.replicated {
            self.unreplicated.push(record.offset);
        }
        if record.transactional {
            let open = self.open.entry(record.producer_id).or_default();
            open.push((record.key.to_vec(), n));
        } else {
            self.add(record.key, n);
        }
        Ok(())
    }

    fn replay_marker(&mut self, ended: EndedTransaction) {
        if !ended.replicated {
            self.unreplicated.push(ended.offset);
        }
        for (key, n) in self.open.remove(&ended.producer_id).unwrap_or_default() {
            if ended.commit {
                self.add(&key, n);
            }
        }
    }

    fn replicated(&mut self, below: Offset) {
        assert!(!self.unreplicated.is_empty(), "there is nothing to be told of");
        self.unreplicated.retain(|offset| *offset >= below);
        self.replicated = below;
    }

    fn resumed(&mut self, now_ms: i64) -> Effects<Self> {
        self.resumed += 1;
        Effects {
            timers: vec![TimerChange::Set {
                timer: "session",
                at_ms: now_ms + 3_600_000,
            }],
            ..Effects::default()
        }
    }

    fn may_write(command: &Command) -> bool {
        !matches!(command, Command::Get(_))
    }

    fn loaded(&mut self, now_ms: i64) -> Step<Self> {
        Step::Done(Effects {
            timers: vec![TimerChange::Set {
                timer: "loads",
                at_ms: now_ms,
            }],
            ..Effects::default()
        })
    }

    fn step(&mut self, command: Command, token: Token, now_ms: i64) -> Step<Self> {
        if let Some(hook) = self.hook.lock().unwrap().take() {
            hook();
        }
        match command {
            Command::Add(key, n) => write(key, n, Some(token)),
            Command::AddMany(key, n) => Step::Write {
                records: (0..n).map(|_| record(key, 1)).collect(),
                decision: Decision {
                    token: Some(token),
                    key,
                    producer: Producer::default(),
                },
            },
            Command::AddInTransaction(key, n, id) => Step::Write {
                records: vec![record(key, n)],
                decision: Decision {
                    token: Some(token),
                    key,
                    producer: Producer {
                        id,
                        epoch: 0,
                        base_sequence: 0,
                        transactional: true,
                    },
                },
            },
            Command::Get(key) => Step::Done(Effects::answer(token, Answer::Count(self.count(key)))),
            Command::WaitFor(key, n) => {
                self.waiting.push((token, key, n));
                Step::Done(Effects::default())
            }
            Command::AddLater(key, ms) => Step::Done(Effects {
                answers: vec![(token, Answer::Count(self.count(key)))],
                timers: vec![TimerChange::Set {
                    timer: key,
                    at_ms: now_ms + ms,
                }],
                ..Effects::default()
            }),
            Command::Replicated => Step::Done(Effects::answer(token, Answer::Count(self.replicated.get()))),
            Command::GetBehind(key, offset) => Step::Done(Effects {
                held: vec![(offset, token, Answer::Count(self.count(key)))],
                ..Effects::default()
            }),
        }
    }

    fn fire(&mut self, timer: &'static str, _: i64) -> Step<Self> {
        write(timer, 1, None)
    }

    fn written(&mut self, decision: Decision, _: i64) -> Effects<Self> {
        let count = Answer::Count(self.count(decision.key));
        let mut answers: Vec<_> = decision.token.map(|token| (token, count)).into_iter().collect();
        let (met, still): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(_, key, n)| self.count(key) >= *n);
        self.waiting = still;
        answers.extend(
            met.iter()
                .map(|(token, key, _)| (*token, Answer::Count(self.count(key)))),
        );
        Effects {
            answers,
            ..Effects::default()
        }
    }

    fn refused(&mut self, decision: Decision, error: ErrorCode, _: i64) -> Effects<Self> {
        let answer = decision.token.map(|token| (token, Answer::Error(error)));
        Effects {
            answers: answer.into_iter().collect(),
            ..Effects::default()
        }
    }

    fn not_replicated(_: Answer, error: ErrorCode) -> Answer {
        Answer::NotReplicated(error)
    }

    fn unload(&mut self) -> Vec<(Token, Answer)> {
        self.unloaded.fetch_add(1, Ordering::SeqCst);
        let gone = Answer::Error(ErrorCode::NotCoordinator);
        self.waiting
            .drain(..)
            .map(|(token, ..)| (token, gone.clone()))
            .collect()
    }

    fn unavailable(_: &Command, error: ErrorCode) -> Answer {
        Answer::Error(error)
    }

    fn producer(decision: &Decision) -> Producer {
        decision.producer
    }
}

fn test_settings() -> CoordinatorSettings {
    CoordinatorSettings {
        topic: TOPIC.into(),
        load_buffer_bytes: 5_000_000,
        replication_timeout: Duration::from_secs(60),
        required_acks: -1,
        codec: Codec::None,
    }
}

struct Floor {
    broker: TestBroker,
    coordinator: Coordinator<Counters>,
    unloaded: Arc<AtomicUsize>,
    hook: Hook,
    shutdown: Shutdown,
}

impl Floor {
    fn new(change: impl FnOnce(&mut CoordinatorSettings)) -> Self {
        Self::over(TestBroker::new(1), change)
    }

    fn over(broker: TestBroker, change: impl FnOnce(&mut CoordinatorSettings)) -> Self {
        let mut settings = test_settings();
        change(&mut settings);
        let (unloaded, hook) = (Arc::new(AtomicUsize::new(0)), Hook::default());
        let (told, hooked) = (Arc::clone(&unloaded), Arc::clone(&hook));
        let coordinator = Coordinator::new(settings, Arc::clone(&broker.replicas), move |_| Counters {
            unloaded: Arc::clone(&told),
            hook: Arc::clone(&hooked),
            ..Counters::default()
        });
        let shutdown = Shutdown::new();
        coordinator.start(shutdown.clone());
        Self {
            broker,
            coordinator,
            unloaded,
            hook,
            shutdown,
        }
    }

    /// Leads both partitions in `epoch`, and waits until their shards are loaded.
    async fn lead(&self, epoch: i32) {
        self.lead_with(epoch, &[1]).await;
    }

    async fn lead_with(&self, epoch: i32, replicas: &[i32]) {
        self.broker.lead(TOPIC, 1, 2, epoch, replicas).await;
        self.settled(Standing::Active).await;
    }

    /// Another broker leads in epoch 1, and this one again in epoch 2.
    async fn reload(&self) {
        self.resign().await;
        self.lead(2).await;
    }

    async fn resign(&self) {
        let followed = (2, &[1, 2][..], &[1, 2][..]);
        self.broker.decide(TOPIC, 1, 2, 1, followed).await;
    }

    async fn settled(&self, standing: Standing) {
        for _ in 0..60_000 {
            let status = self.coordinator.status();
            if status.len() == 2 && status.iter().all(|one| one.standing == Some(standing)) {
                return;
            }
            clock::sleep(Duration::from_millis(1)).await;
        }
        panic!("not {standing:?}: {:?}", self.coordinator.status());
    }

    fn ask(&self, command: Command) -> Asked<Answer> {
        self.coordinator.ask(0, command)
    }

    async fn count(&self, key: &'static str) -> i64 {
        match self.ask(Command::Get(key)).await {
            Answer::Count(count) => count,
            other => panic!("{other:?}"),
        }
    }

    fn fetch(&self, parameters: FetchParameters, offset: i64) -> Vec<u8> {
        let answer = self.broker.read(parameters, wanted(TOPIC, 0, offset));
        let records = answer.records.as_ref();
        records.map(|slice| slice.read().unwrap()).unwrap_or_default()
    }

    fn log(&self) -> Vec<u8> {
        self.fetch(consumer(0, 1), 0)
    }

    fn follower_fetches(&self, offset: i64) {
        let follower = FetchParameters {
            follower: Some(BrokerId(2)),
            bound: Bound::LogEnd,
            leader_only: true,
            ..consumer(0, 1)
        };
        self.fetch(follower, offset);
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

/// Lets a directory be found to stall.
fn stall(directory: &HostDirectory) {
    let (watch, now) = (directory.watch(), Instant::now());
    let mut look = watch.look(now);
    let hanging = watch.begin();
    let later = now.after(Duration::from_secs(5));
    assert_eq!(
        watch.look_again(&mut look, later, Duration::from_secs(1)),
        Some(true)
    );
    drop(hanging);
}

async fn soon(asked: Asked<Answer>) -> Answer {
    clock::timeout(Duration::from_secs(60), asked)
        .await
        .expect("an answer")
}

#[tokio::test]
async fn a_command_is_answered_once_its_record_is_in_the_log() {
    let floor = Floor::new(|_| {});
    floor.lead(0).await;
    assert_eq!(soon(floor.ask(Command::Add("a", 5))).await, Answer::Count(5));
    assert_eq!(soon(floor.ask(Command::Add("a", 2))).await, Answer::Count(7));
    assert_eq!(floor.count("a").await, 7);
    let log = floor.log();
    let batches: Vec<_> = Batches::new(&log).map(Result::unwrap).collect();
    let (batch, before) = (&batches[batches.len() - 1], batches.len());
    assert!(before >= 2);
    assert_eq!((batch.base_sequence, batch.producer_id), (-1, ProducerId(-1)));
    let mut records = batch.records(None).unwrap();
    assert_eq!(records.next().unwrap().unwrap().key, Some(&b"a"[..]));
}

#[tokio::test]
async fn what_is_answered_at_once_is_not_waited_for() {
    let floor = Floor::new(|_| {});
    floor.lead(0).await;
    let at_once = floor.ask(Command::Add("a", 5)).ready();
    assert_eq!(at_once.ok(), Some(Answer::Count(5)));
    let not_yet = floor.ask(Command::WaitFor("a", 6)).ready();
    let Err(waiting) = not_yet else {
        panic!("nobody has counted to 6");
    };
    soon(floor.ask(Command::Add("a", 1))).await;
    assert_eq!(soon(waiting).await, Answer::Count(6));

    let floor = Floor::new(|_| {});
    floor.lead_with(0, &[1, 2]).await;
    let unreplicated = floor.ask(Command::Add("a", 1)).ready();
    assert!(unreplicated.is_err(), "a follower does not have it yet");
}

#[tokio::test]
async fn a_new_leadership_loads_what_the_log_has_and_lets_the_old_clients_go() {
    let floor = Floor::new(|_| {});
    floor.lead(0).await;
    assert_eq!(soon(floor.ask(Command::Add("a", 5))).await, Answer::Count(5));
    let parked = floor.ask(Command::WaitFor("a", 100));
    floor.reload().await;
    assert_eq!(soon(parked).await, Answer::Error(ErrorCode::NotCoordinator));
    assert_eq!(floor.unloaded.load(Ordering::SeqCst), 2);
    assert_eq!(floor.count("a").await, 5);
    assert!(
        floor
            .coordinator
            .status()
            .iter()
            .all(|one| one.epoch == LeaderEpoch(2))
    );
    // A decision that comes again changes nothing.
    floor.lead(2).await;
    assert_eq!(floor.unloaded.load(Ordering::SeqCst), 2);
}

/// As for a broker that goes on leading when a follower stops: clients that wait are not sent away, nothing is loaded.
#[tokio::test]
async fn who_leads_on_in_a_later_epoch_keeps_its_shard() {
    let floor = Floor::new(|_| {});
    floor.lead(0).await;
    assert_eq!(soon(floor.ask(Command::Add("a", 5))).await, Answer::Count(5));
    let parked = floor.ask(Command::WaitFor("a", 6));
    floor.lead(1).await;
    assert_eq!(floor.unloaded.load(Ordering::SeqCst), 0);
    let status = floor.coordinator.status();
    assert!(status.iter().all(|one| one.epoch == LeaderEpoch(1)), "{status:?}");
    assert_eq!(soon(floor.ask(Command::Add("a", 1))).await, Answer::Count(6));
    assert_eq!(soon(parked).await, Answer::Count(6));
    floor.broker.decide(TOPIC, 1, 2, 2, (2, &[1, 2], &[1, 2])).await;
    assert_eq!(
        soon(floor.ask(Command::Get("a"))).await,
        Answer::Error(ErrorCode::NotCoordinator)
    );
}

#[tokio::test]
async fn a_load_that_fails_by_an_epoch_that_is_over_goes_on() {
    let broker = TestBroker::new(1);
    broker.lead(TOPIC, 1, 2, 0, &[1]).await;
    let partition = broker.replicas.partition(TOPIC, 0).unwrap();
    let slot = Slot::<Counters>::new(0, LeaderEpoch(0), partition);
    assert!(slot.lead_on(LeaderEpoch(1)));
    assert!(!slot.fail(LeaderEpoch(0)));
    assert_eq!(slot.lock_on_pool().standing, Standing::Loading);
    assert!(slot.fail(LeaderEpoch(1)));
    assert_eq!(slot.lock_on_pool().standing, Standing::Failed);
    assert!(!slot.lead_on(LeaderEpoch(2)), "it is loaded anew");
}

#[tokio::test]
async fn a_log_is_loaded_in_pieces_of_the_buffer() {
    let floor = Floor::new(|settings| settings.load_buffer_bytes = 100);
    floor.lead(0).await;
    for _ in 0..20 {
        soon(floor.ask(Command::AddMany("small", 1))).await;
    }
    // One batch that is larger than the buffer, and a compressed one.
    soon(floor.ask(Command::AddMany("large", 50))).await;
    floor.reload().await;
    assert_eq!((floor.count("small").await, floor.count("large").await), (20, 50));
    let status = floor.coordinator.status()[0];
    assert_eq!(status.loaded_to, status.log_end);
}

#[tokio::test]
async fn compressed_batches_are_written_and_loaded() {
    let floor = Floor::new(|settings| settings.codec = Codec::Zstd);
    floor.lead(0).await;
    soon(floor.ask(Command::AddMany("a", 50))).await;
    let log = floor.log();
    assert!(Batches::new(&log).any(|batch| batch.unwrap().codec() == Some(Codec::Zstd)));
    floor.reload().await;
    assert_eq!(floor.count("a").await, 50);
}

#[tokio::test]
async fn an_append_that_fails_is_taken_back() {
    let floor = Floor::new(|_| {});
    floor
        .broker
        .configure_topic(TOPIC, &[("max.message.bytes", "500")]);
    floor.lead(0).await;
    assert_eq!(
        soon(floor.ask(Command::AddMany("a", 100))).await,
        Answer::Error(ErrorCode::MessageTooLarge)
    );
    assert_eq!(floor.count("a").await, 0);
    assert_eq!(soon(floor.ask(Command::Add("a", 1))).await, Answer::Count(1));
}

#[tokio::test]
async fn too_few_replicas_refuse_a_write_before_it_is_made() {
    let floor = Floor::new(|_| {});
    floor
        .broker
        .configure_topic(TOPIC, &[("min.insync.replicas", "2")]);
    floor.lead_with(0, &[1, 2]).await;
    let alone = (1, &[1, 2][..], &[1][..]);
    floor.broker.decide(TOPIC, 1, 2, 1, alone).await;
    floor.settled(Standing::Active).await;
    assert_eq!(
        soon(floor.ask(Command::Add("a", 1))).await,
        Answer::Error(ErrorCode::NotEnoughReplicas)
    );
    assert_eq!(floor.count("a").await, 0);
}

#[tokio::test]
async fn answers_wait_for_the_high_watermark_in_their_order() {
    let floor = Floor::new(|_| {});
    floor.lead_with(0, &[1, 2]).await;
    // The timer that loading set writes a record.
    let partition = floor.broker.replicas.partition(TOPIC, 0).unwrap();
    while partition.progress().unwrap().log_end == Offset(0) {
        clock::sleep(Duration::from_millis(1)).await;
    }
    let waiting = task::spawn(soon(floor.ask(Command::WaitFor("a", 3))));
    let first = task::spawn(soon(floor.ask(Command::Add("a", 1))));
    let second = task::spawn(soon(floor.ask(Command::Add("a", 2))));
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert!(!first.is_finished() && !second.is_finished() && !waiting.is_finished());
    let end = partition.progress().unwrap().log_end;
    floor.follower_fetches(end.get() - 1);
    assert_eq!(first.await.unwrap(), Answer::Count(1));
    assert!(!second.is_finished() && !waiting.is_finished());
    floor.follower_fetches(end.get());
    assert_eq!(second.await.unwrap(), Answer::Count(3));
    assert_eq!(waiting.await.unwrap(), Answer::Count(3));
}

#[tokio::test]
async fn a_shard_is_told_what_the_replicas_have_before_it_takes_a_step() {
    let floor = Floor::new(|_| {});
    floor.lead(0).await;
    soon(floor.ask(Command::Add("a", 1))).await;
    assert_eq!(
        soon(floor.ask(Command::Replicated)).await,
        Answer::Count(0),
        "alone it waits for nobody"
    );
    let floor = Floor::new(|_| {});
    floor.lead_with(0, &[1, 2]).await;
    let partition = floor.broker.replicas.partition(TOPIC, 0).unwrap();
    while partition.progress().unwrap().log_end == Offset(0) {
        clock::sleep(Duration::from_millis(1)).await;
    }
    let written = floor.ask(Command::Add("a", 1));
    let end = partition.progress().unwrap().log_end;
    let behind = task::spawn(soon(floor.ask(Command::GetBehind("a", end))));
    floor.follower_fetches(end.get() - 1);
    let told = Answer::Count(end.get() - 1);
    assert_eq!(soon(floor.ask(Command::Replicated)).await, told);
    assert!(!behind.is_finished());
    floor.follower_fetches(end.get());
    assert_eq!(
        soon(floor.ask(Command::Replicated)).await,
        Answer::Count(end.get())
    );
    assert_eq!(soon(written).await, Answer::Count(1));
    assert_eq!(behind.await.unwrap(), Answer::Count(1));
    // There is nothing left to be told of, or the shard would have fallen over.
    soon(floor.ask(Command::Replicated)).await;
    let at_once = floor.ask(Command::GetBehind("a", end));
    assert_eq!(soon(at_once).await, Answer::Count(1));
}

#[tokio::test]
async fn what_is_held_back_is_not_told_by_a_broker_that_leads_no_more() {
    let floor = Floor::new(|settings| settings.replication_timeout = Duration::from_millis(1));
    floor.lead_with(0, &[1, 2]).await;
    soon(floor.ask(Command::Add("a", 1))).await;
    let partition = floor.broker.replicas.partition(TOPIC, 0).unwrap();
    let end = partition.progress().unwrap().log_end;
    assert_eq!(
        soon(floor.ask(Command::GetBehind("a", end))).await,
        Answer::NotReplicated(ErrorCode::RequestTimedOut)
    );
    // Not even that, once another broker has led.
    let followed = (2, &[1, 2][..], &[1, 2][..]);
    let slot = Slot::<Counters>::new(0, LeaderEpoch(0), Arc::clone(&partition));
    assert!(slot.activate(&mut slot.lock_on_pool(), Counters::default()));
    let settings = CoordinatorSettings {
        replication_timeout: Duration::from_millis(1),
        ..test_settings()
    };
    let write = |state: &mut State<Counters>| slot.act(state, &settings, false, 0, |_| write("a", 1, None));
    {
        let mut state = slot.lock_on_pool();
        drop(write(&mut state));
        assert_eq!(slot.see_replicated(&mut state), Ok(()));
    }
    floor.broker.decide(TOPIC, 1, 2, 1, followed).await;
    let mut state = slot.lock_on_pool();
    assert_eq!(slot.see_replicated(&mut state), Err(ErrorCode::NotCoordinator));
}

#[tokio::test]
async fn however_many_writes_wait_what_writes_nothing_is_taken() {
    let floor = Floor::new(|_| {});
    floor.lead_with(0, &[1, 2]).await;
    let waiting: Vec<_> = (0..MAX_UNREPLICATED + 1)
        .map(|_| floor.ask(Command::Add("a", 1)))
        .collect();
    assert_eq!(
        soon(floor.ask(Command::Add("a", 1))).await,
        Answer::Error(ErrorCode::CoordinatorLoadInProgress)
    );
    assert!(floor.count("a").await >= MAX_UNREPLICATED as i64);
    drop(waiting);
}

#[tokio::test]
async fn what_is_not_replicated_in_time_is_told_and_so_is_a_lost_leadership() {
    let floor = Floor::new(|settings| settings.replication_timeout = Duration::from_millis(1));
    floor.lead_with(0, &[1, 2]).await;
    assert_eq!(
        soon(floor.ask(Command::Add("a", 1))).await,
        Answer::NotReplicated(ErrorCode::RequestTimedOut)
    );
    let floor = Floor::new(|_| {});
    floor.lead_with(0, &[1, 2]).await;
    let asked = floor.ask(Command::Add("a", 1));
    let followed = (2, &[1, 2][..], &[1, 2][..]);
    floor.broker.decide(TOPIC, 1, 2, 1, followed).await;
    assert_eq!(
        soon(asked).await,
        Answer::NotReplicated(ErrorCode::NotLeaderOrFollower)
    );
    assert_eq!(
        soon(floor.ask(Command::Get("a"))).await,
        Answer::Error(ErrorCode::NotCoordinator)
    );
}

#[tokio::test]
async fn timers_fire_and_write() {
    let floor = Floor::new(|_| {});
    floor.lead(0).await;
    let both = [
        floor.ask(Command::WaitFor("t", 1)),
        floor.ask(Command::WaitFor("u", 1)),
    ];
    soon(floor.ask(Command::AddLater("t", 20))).await;
    soon(floor.ask(Command::AddLater("u", 1))).await;
    for asked in both {
        assert_eq!(soon(asked).await, Answer::Count(1));
    }
    // Set anew: it fires once, at its last time.
    let asked = floor.ask(Command::WaitFor("t", 2));
    soon(floor.ask(Command::AddLater("t", 3_600_000))).await;
    soon(floor.ask(Command::AddLater("t", 1))).await;
    assert_eq!(soon(asked).await, Answer::Count(2));
}

#[tokio::test]
async fn transactional_records_count_once_their_marker_is_there() {
    let floor = Floor::new(|_| {});
    floor.lead(0).await;
    let marker = |commit| EndTransactionMarker {
        commit,
        coordinator_epoch: 0,
    };
    let producer = |id| (ProducerId(id), ProducerEpoch(0));
    for (id, commit) in [(7, true), (8, false)] {
        soon(floor.ask(Command::AddInTransaction("a", 10, id))).await;
        assert_eq!(floor.count("a").await, if id == 7 { 0 } else { 10 });
        let ended = floor.coordinator.end_transaction(0, producer(id), marker(commit));
        assert_eq!(ended.await, Ok(()));
    }
    assert_eq!(floor.count("a").await, 10);
    soon(floor.ask(Command::AddInTransaction("a", 10, 9))).await;
    // Loading sees the same, and the open transaction can still be ended.
    floor.reload().await;
    assert_eq!(floor.count("a").await, 10);
    let ended = floor.coordinator.end_transaction(0, producer(9), marker(true));
    assert_eq!(ended.await, Ok(()));
    assert_eq!(floor.count("a").await, 20);
    let nowhere = floor.coordinator.end_transaction(5, producer(9), marker(true));
    assert_eq!(nowhere.await, Err(ErrorCode::NotCoordinator));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_left_out() {
    let floor = Floor::new(|_| {});
    floor.lead(0).await;
    soon(floor.ask(Command::Add("a", 5))).await;
    // Its value is no number.
    let strange = batch_with(1, 3, BatchOptions::default());
    let origin = crate::storage::producer_state::Origin::Client;
    let appended = floor
        .broker
        .replicas
        .append(TOPIC, 0, &strange, 1, origin, 0)
        .await;
    assert_eq!(appended.error, ErrorCode::None);
    soon(floor.ask(Command::Add("a", 5))).await;
    floor.reload().await;
    assert_eq!(floor.count("a").await, 10);
}

#[tokio::test]
async fn a_corrupt_log_is_not_served() {
    let floor = Floor::new(|_| {});
    floor.lead(0).await;
    // The timer that loading set writes a record too: before or behind "b".
    let fired = floor.ask(Command::WaitFor("loads", 1));
    soon(floor.ask(Command::Add("b", 5))).await;
    soon(fired).await;
    soon(floor.ask(Command::Add("a", 5))).await;
    let partition = floor.broker.replicas.partition(TOPIC, 0).unwrap();
    let read = partition.read_in_epoch(LeaderEpoch(0), Offset(0), 1_000).unwrap();
    let slice = read.records.unwrap();
    // The last byte of the number that the third batch adds.
    let bytes = slice.read().unwrap();
    let lengths: Vec<_> = Batches::new(&bytes)
        .map(|batch| batch.unwrap().bytes().len() as u64)
        .collect();
    let third = slice.position + lengths[0] + lengths[1];
    slice.file.write_all_at(b"!", third + lengths[2] - 2).unwrap();
    // Who is to mend it is told where.
    let slot = Slot::new(0, LeaderEpoch(0), Arc::clone(&partition));
    let Piece::Failed(reason) = Loading::new(Counters::default(), slot, 1_000).read_piece() else {
        panic!("it is not found");
    };
    let place = "at offset 2 in /data/0/counters-0/00000000000000000000.log: batch checksum is ";
    assert!(reason.starts_with(place), "{reason}");
    floor.resign().await;
    floor.broker.lead(TOPIC, 1, 2, 2, &[1]).await;
    let once_loaded = async |partition| loop {
        match soon(floor.coordinator.ask(partition, Command::Get("a"))).await {
            Answer::Error(ErrorCode::CoordinatorLoadInProgress) => {
                clock::sleep(Duration::from_millis(1)).await;
            }
            answer => break answer,
        }
    };
    let corrupt = once_loaded(0).await;
    assert_eq!(corrupt, Answer::Error(ErrorCode::CoordinatorNotAvailable));
    let other = once_loaded(1).await;
    assert_eq!(other, Answer::Count(0), "the other partition is served");
    // With the checksum that its bytes give it is believed.
    let bytes = slice.read().unwrap();
    let batch = Batches::new(&bytes).nth(2).unwrap().unwrap();
    let Err(CorruptBatch::Crc { computed, .. }) = batch.check_crc() else {
        panic!("it is whole");
    };
    slice
        .file
        .write_all_at(&computed.to_be_bytes(), third + 17)
        .unwrap();
    let followed = (2, &[1, 2][..], &[1, 2][..]);
    floor.broker.decide(TOPIC, 1, 2, 3, followed).await;
    floor.broker.lead(TOPIC, 1, 2, 4, &[1]).await;
    assert_eq!(once_loaded(0).await, Answer::Count(i64::from(b'!')));
}

#[tokio::test]
async fn a_log_from_which_everything_was_deleted_is_loaded() {
    let floor = Floor::new(|_| {});
    let short = [("retention.ms", "1"), ("segment.bytes", "200")];
    floor.broker.configure_topic(TOPIC, &short);
    floor.lead(0).await;
    // The timer that loading set writes a record too.
    let fired = floor.ask(Command::WaitFor("loads", 1));
    for _ in 0..5 {
        soon(floor.ask(Command::Add("a", 5))).await;
    }
    soon(fired).await;
    let partition = floor.broker.replicas.partition(TOPIC, 0).unwrap();
    let later = clock::now_ms() + 10_000_000;
    floor.broker.replicas.retain_one(&partition, later);
    let start = partition.start_in_epoch(LeaderEpoch(0)).unwrap();
    let end = partition.progress().unwrap().log_end;
    assert_eq!(start, end);
    floor.reload().await;
    assert_eq!(floor.count("a").await, 0);
}

#[tokio::test]
async fn a_partition_that_is_not_led_here_is_refused() {
    let floor = Floor::new(|_| {});
    assert_eq!(
        soon(floor.ask(Command::Get("a"))).await,
        Answer::Error(ErrorCode::NotCoordinator)
    );
    floor.lead(0).await;
    let parked = floor.ask(Command::WaitFor("a", 1));
    let stop = |partition| StopReplicaPartition {
        partition: TopicPartition::new(TOPIC, partition),
        leader_epoch: TOPIC_IS_DELETED,
        delete: true,
    };
    let request = StopReplica {
        sender: sender(),
        partitions: vec![stop(0), stop(1)],
    };
    floor.broker.replicas.stop_replica(request).await;
    assert_eq!(soon(parked).await, Answer::Error(ErrorCode::NotCoordinator));
    assert_eq!(floor.coordinator.partitions(), [0i32; 0]);
    assert_eq!(
        soon(floor.ask(Command::Get("a"))).await,
        Answer::Error(ErrorCode::NotCoordinator)
    );
}

async fn close(floor: &Floor) {
    for ending in floor.coordinator.close() {
        ending.ended.await;
    }
}

#[tokio::test]
async fn the_end_lets_every_client_go_and_nothing_begins_anew() {
    let floor = Floor::new(|_| {});
    floor.lead(0).await;
    let parked = floor.ask(Command::WaitFor("a", 1));
    close(&floor).await;
    assert_eq!(soon(parked).await, Answer::Error(ErrorCode::NotCoordinator));
    floor.broker.lead(TOPIC, 1, 2, 1, &[1]).await;
    assert_eq!(floor.coordinator.partitions(), [0i32; 0]);
}

/// So that the logs of the others can be closed meanwhile.
#[tokio::test]
async fn the_end_of_a_shard_whose_directory_does_not_answer_holds_up_no_other() {
    let floor = Floor::over(TestBroker::new(2), |_| {});
    floor.lead(0).await;
    let slow = floor.broker.replicas.partition(TOPIC, 0).unwrap();
    let (release, released) = std::sync::mpsc::channel::<()>();
    slow.directory().pool().start_work(move || {
        let _ = released.recv();
    });
    let mut endings = floor.coordinator.close();
    endings.sort_by_key(|ending| Arc::ptr_eq(&ending.directory, slow.directory()));
    let [other, hangs] = <[_; 2]>::try_from(endings).ok().unwrap();
    assert!(!Arc::ptr_eq(&other.directory, &hangs.directory));
    let (short, long) = (Duration::from_millis(50), Duration::from_secs(60));
    assert!(clock::timeout(long, other.ended).await.is_some());
    let mut ended = hangs.ended;
    assert!(clock::timeout(short, &mut ended).await.is_none());
    drop(release);
    assert!(clock::timeout(long, ended).await.is_some());
}

#[tokio::test]
async fn a_directory_that_stalls_in_a_step_holds_up_that_write_and_no_thread() {
    let floor = Floor::new(|_| {});
    floor.lead(0).await;
    let directory = Arc::clone(floor.broker.replicas.partition(TOPIC, 0).unwrap().directory());
    let stalling = Arc::clone(&directory);
    *floor.hook.lock().unwrap() = Some(Box::new(move || stall(&stalling)));
    let written = floor.ask(Command::Add("a", 1));
    assert_eq!(
        soon(floor.ask(Command::Get("a"))).await,
        Answer::Error(ErrorCode::CoordinatorLoadInProgress)
    );
    assert_eq!(soon(written).await, Answer::Count(1), "the pool has written it");
    let watch = directory.watch();
    let mut look = watch.look(Instant::now());
    let calls_return = watch.look_again(&mut look, Instant::now(), Duration::from_secs(1));
    assert_eq!(calls_return, Some(false));
    assert_eq!(floor.count("a").await, 1);
}

/// The calls into the directory return again.
fn go_on(directory: &HostDirectory) {
    let watch = directory.watch();
    let mut look = watch.look(Instant::now());
    let calls_return = watch.look_again(&mut look, Instant::now(), Duration::from_secs(1));
    assert_eq!(calls_return, Some(false));
}

#[tokio::test]
async fn after_a_stall_nobody_is_taken_for_silent_whom_the_shard_did_not_hear() {
    let floor = Floor::new(|_| {});
    floor.lead(0).await;
    let directory = Arc::clone(floor.broker.replicas.partition(TOPIC, 0).unwrap().directory());
    soon(floor.ask(Command::AddLater("session", 50))).await;
    soon(floor.ask(Command::AddLater("other", 51))).await;
    stall(&directory);
    assert_eq!(
        soon(floor.ask(Command::Get("a"))).await,
        Answer::Error(ErrorCode::CoordinatorLoadInProgress)
    );
    clock::sleep(Duration::from_millis(100)).await;
    go_on(&directory);
    let fired = floor.ask(Command::WaitFor("other", 1));
    assert_eq!(soon(fired).await, Answer::Count(1), "timers go on");
    assert_eq!(floor.count("session").await, 0);
}

#[tokio::test]
async fn an_older_epoch_neither_reads_nor_writes() {
    let floor = Floor::new(|_| {});
    floor.lead(1).await;
    let partition = floor.broker.replicas.partition(TOPIC, 0).unwrap();
    let batch = batch_with(1, 8, BatchOptions::default());
    for epoch in [0, 2] {
        let append = partition.append_in_epoch(LeaderEpoch(epoch), &batch, -1, 0);
        assert_eq!(append.unwrap().0.error, ErrorCode::NotLeaderOrFollower);
        let append = partition.append_in_epoch_on_pool(LeaderEpoch(epoch), &batch, -1, 0);
        assert_eq!(append.0.error, ErrorCode::NotLeaderOrFollower);
        let read = partition.read_in_epoch(LeaderEpoch(epoch), Offset(0), 100);
        assert_eq!(read.err(), Some(ErrorCode::NotLeaderOrFollower));
        let start = partition.start_in_epoch(LeaderEpoch(epoch));
        assert_eq!(start.err(), Some(ErrorCode::NotLeaderOrFollower));
    }
}

#[tokio::test]
async fn who_waits_for_a_shard_to_settle_hears_of_it_and_of_its_end() {
    let floor = Floor::new(|_| {});
    floor.coordinator.settled(0).await;
    floor.broker.lead(TOPIC, 1, 2, 0, &[1]).await;
    floor.coordinator.settled(0).await;
    assert_eq!(floor.count("a").await, 0);
    close(&floor).await;
    floor.coordinator.settled(0).await;
}

#[tokio::test]
async fn many_clients_at_once_lose_nothing() {
    const CLIENTS: usize = 8;
    const EACH: i64 = 200;
    let floor = Arc::new(Floor::new(|_| {}));
    floor.lead(0).await;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let floor = Arc::clone(&floor);
            let worker = task::Worker::start("client").unwrap();
            worker.spawn(async move {
                for _ in 0..EACH {
                    let answer = soon(floor.ask(Command::Add("a", 1))).await;
                    assert!(matches!(answer, Answer::Count(_)), "{answer:?}");
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(floor.count("a").await, CLIENTS as i64 * EACH);
    floor.reload().await;
    assert_eq!(floor.count("a").await, CLIENTS as i64 * EACH);
}
