//! For tests: a shard with a log, timers and clients around it, as coordinator/ would drive it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::command::*;
use super::memory::Memory;
use super::settings::GroupSettings;
use super::shard::GroupShard;
use super::timer::GroupTimer;
use crate::base::error_code::ErrorCode;
use crate::base::ids::Offset;
use crate::base::random::Random;
use crate::coordinator::{
    Effects, EndedTransaction, NewRecord, Producer, Replayed, Shard, Step, TimerChange, Token,
};
use crate::wire::text::Text;

/// What is in the log.
#[derive(Clone, Debug)]
pub enum Entry {
    Record {
        record: NewRecord,
        timestamp_ms: i64,
        producer: Producer,
        /// The number of its batch.
        batch: usize,
    },
    Marker {
        producer_id: i64,
        commit: bool,
    },
}

/// A shard and what is around it.
pub struct Harness {
    pub shard: GroupShard,
    pub settings: GroupSettings,
    pub now_ms: i64,
    pub log: Vec<Entry>,
    pub batches: usize,
    pub timers: BTreeMap<GroupTimer, i64>,
    pub answers: BTreeMap<Token, Answer>,
    pub waiting: BTreeSet<Token>,
    /// Appends fail with this.
    pub fails: Option<ErrorCode>,
    /// Most bytes of keys and values that the log takes in a batch.
    pub max_batch_bytes: usize,
    /// The replicas stand still: nothing that is written from now on is replicated.
    pub lags: bool,
    /// Answers that wait for the high watermark.
    held: Vec<(Offset, Token, Answer)>,
    random: Random,
    /// What all shards take.
    pub memory: Memory,
    tokens: u64,
}

impl Harness {
    pub fn new() -> Self {
        Self::with(GroupSettings::default())
    }

    pub fn with(settings: GroupSettings) -> Self {
        let (random, memory) = (Random::from_seed(7), Memory::default());
        Self {
            shard: GroupShard::new(settings.clone(), random.clone(), &memory),
            settings,
            now_ms: 1_000_000,
            log: Vec::new(),
            batches: 0,
            timers: BTreeMap::new(),
            answers: BTreeMap::new(),
            waiting: BTreeSet::new(),
            fails: None,
            max_batch_bytes: usize::MAX,
            lags: false,
            held: Vec::new(),
            random,
            memory,
            tokens: 0,
        }
    }

    /// Where the next record will be.
    pub fn log_end(&self) -> Offset {
        Offset(i64::try_from(self.log.len()).unwrap())
    }

    /// The broker of this shard fails, and another one reads the log. Clients get no answers.
    pub fn fail_over(&mut self) {
        self.shard = GroupShard::new(self.settings.clone(), self.random.clone(), &self.memory);
        self.timers.clear();
        self.waiting.clear();
        self.answers.clear();
        self.held.clear();
        for (offset, entry) in self.log.iter().enumerate() {
            replay(&mut self.shard, offset, entry, true);
        }
        let step = self.shard.loaded(self.now_ms);
        self.run(step);
    }

    /// Sends a command; its answer may come later.
    pub fn send(&mut self, command: Command) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.waiting.insert(token);
        let step = self.shard.step(command, token, self.now_ms);
        self.run(step);
        token
    }

    /// The answer, if there is one; it is handed out once.
    pub fn answer(&mut self, token: Token) -> Option<Answer> {
        self.answers.remove(&token)
    }

    /// Sends a command that is answered at once.
    pub fn ask(&mut self, command: Command) -> Answer {
        let token = self.send(command);
        self.answer(token).expect("answered at once")
    }

    pub fn is_waiting(&self, token: Token) -> bool {
        self.waiting.contains(&token)
    }

    /// All replicas have what is in the log below this offset.
    pub fn replicate(&mut self, below: Offset) {
        self.shard.replicated(below);
        let held = std::mem::take(&mut self.held);
        for (required, token, answer) in held {
            if required <= below {
                self.deliver(token, answer);
            } else {
                self.held.push((required, token, answer));
            }
        }
    }

    /// What waits for the replicas has waited for too long.
    pub fn time_out(&mut self) {
        for (_, token, answer) in std::mem::take(&mut self.held) {
            self.deliver(
                token,
                GroupShard::not_replicated(answer, ErrorCode::RequestTimedOut),
            );
        }
    }

    /// The shard takes commands again.
    pub fn resume(&mut self) {
        let effects = self.shard.resumed(self.now_ms);
        self.apply(effects);
    }

    /// Time passes; timers fire in their order.
    pub fn advance(&mut self, ms: i64) {
        let until = self.now_ms + ms;
        loop {
            let due = self.timers.iter().min_by_key(|(_, at)| **at);
            let Some((timer, at)) = due.map(|(timer, at)| (timer.clone(), *at)) else {
                break;
            };
            if at > until {
                break;
            }
            self.timers.remove(&timer);
            self.now_ms = self.now_ms.max(at);
            let step = self.shard.fire(timer, self.now_ms);
            self.run(step);
        }
        self.now_ms = until;
    }

    fn run(&mut self, step: Step<GroupShard>) {
        match step {
            Step::Done(effects) => self.apply(effects),
            Step::Write { records, decision } => {
                assert!(!records.is_empty());
                let bytes =
                    |record: &NewRecord| record.key.len() + record.value.as_ref().map_or(0, Bytes::len);
                let is_too_large = records.iter().map(bytes).sum::<usize>() > self.max_batch_bytes;
                let too_large = is_too_large.then_some(ErrorCode::MessageTooLarge);
                if let Some(error) = self.fails.or(too_large) {
                    let effects = self.shard.refused(decision, error, self.now_ms);
                    return self.apply(effects);
                }
                let producer = GroupShard::producer(&decision);
                for record in records {
                    self.append(record, producer);
                }
                self.batches += 1;
                let mut effects = self.shard.written(decision, self.now_ms);
                if self.lags {
                    let end = self.log_end();
                    let answers = effects.answers.drain(..);
                    self.held
                        .extend(answers.map(|(token, answer)| (end, token, answer)));
                }
                self.apply(effects);
            }
        }
    }

    fn append(&mut self, record: NewRecord, producer: Producer) {
        let entry = Entry::Record {
            record,
            timestamp_ms: self.now_ms,
            producer,
            batch: self.batches,
        };
        replay(&mut self.shard, self.log.len(), &entry, !self.lags);
        self.log.push(entry);
    }

    /// A record of a producer's transaction, as the coordinator of transactions will write it.
    pub fn append_transactional(&mut self, producer_id: i64, record: NewRecord) {
        let producer = Producer {
            id: producer_id,
            epoch: 0,
            base_sequence: 0,
            transactional: true,
        };
        self.append(record, producer);
        self.batches += 1;
    }

    pub fn end_transaction(&mut self, producer_id: i64, commit: bool) {
        let entry = Entry::Marker { producer_id, commit };
        replay(&mut self.shard, self.log.len(), &entry, !self.lags);
        self.log.push(entry);
    }

    fn deliver(&mut self, token: Token, answer: Answer) {
        assert!(self.waiting.remove(&token), "{token:?} is answered twice");
        self.answers.insert(token, answer);
    }

    fn apply(&mut self, effects: Effects<GroupShard>) {
        for (token, answer) in effects.answers {
            self.deliver(token, answer);
        }
        self.held.extend(effects.held);
        for change in effects.timers {
            match change {
                TimerChange::Set { timer, at_ms } => {
                    self.timers.insert(timer, at_ms);
                }
                TimerChange::Cancel(timer) => {
                    self.timers.remove(&timer);
                }
            }
        }
    }

    /// The records of the log's last batch.
    pub fn last_batch(&self) -> Vec<(NewRecord, Producer)> {
        let last = self.batches.checked_sub(1).unwrap();
        self.log
            .iter()
            .filter_map(|entry| match entry {
                Entry::Record {
                    record,
                    producer,
                    batch,
                    ..
                } if *batch == last => Some((record.clone(), *producer)),
                _ => None,
            })
            .collect()
    }

    // What tests ask for again and again.

    pub fn join(&mut self, join: Join) -> JoinAnswer {
        match self.ask(Command::Join(join)) {
            Answer::Join(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    pub fn joined(&mut self, token: Token) -> JoinAnswer {
        match self.answer(token) {
            Some(Answer::Join(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    pub fn synced(&mut self, token: Token) -> SyncAnswer {
        match self.answer(token) {
            Some(Answer::Sync(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    pub fn sync(&mut self, sync: Sync) -> SyncAnswer {
        let token = self.send(Command::Sync(sync));
        self.synced(token)
    }

    pub fn heartbeat(&mut self, member_id: &Text, generation_id: i32) -> ErrorCode {
        match self.ask(Command::Heartbeat(Heartbeat {
            group_id: GROUP.into(),
            generation_id,
            member_id: member_id.clone(),
            group_instance_id: None,
        })) {
            Answer::Heartbeat(error) => error,
            other => panic!("{other:?}"),
        }
    }

    pub fn leave(&mut self, member_id: &Text) -> ErrorCode {
        let members = vec![leaving(member_id, None)];
        self.leave_all(members)[0]
    }

    pub fn leave_all(&mut self, members: Vec<LeaveMember>) -> Vec<ErrorCode> {
        let group_id = GROUP.into();
        match self.ask(Command::Leave(Leave { group_id, members })) {
            Answer::Leave(answer) => {
                assert_eq!(answer.error, ErrorCode::None);
                answer.members.into_iter().map(|(_, error)| error).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn describe(&mut self) -> Described {
        match self.ask(Command::Describe(GROUP.into())) {
            Answer::Describe(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    pub fn state(&mut self) -> &'static str {
        self.describe().state
    }

    pub fn listed(&mut self) -> Vec<Listed> {
        match self.ask(Command::List) {
            Answer::List(groups) => groups,
            other => panic!("{other:?}"),
        }
    }

    pub fn commit(&mut self, commit: Commit) -> Vec<ErrorCode> {
        match self.ask(Command::Commit(commit)) {
            Answer::Commit(answer) => answer.errors,
            other => panic!("{other:?}"),
        }
    }

    /// The committed offset of partition 0 of a topic; −1 for none.
    pub fn fetch(&mut self, topic: &'static str) -> i64 {
        self.fetch_stable(topic, false).offset
    }

    pub fn fetch_stable(&mut self, topic: &'static str, require_stable: bool) -> FetchedOffset {
        let topics = Some(vec![(topic.into(), vec![0])]);
        let mut answer = self.fetch_topics(topics, require_stable);
        answer.remove(0).1.remove(0)
    }

    pub fn fetch_topics(
        &mut self,
        topics: Option<Vec<(Text, Vec<i32>)>>,
        require_stable: bool,
    ) -> Vec<(Text, Vec<FetchedOffset>)> {
        let fetch = FetchOffsets {
            group_id: GROUP.into(),
            member_id: None,
            member_epoch: -1,
            topics,
            require_stable,
        };
        match self.ask(Command::Fetch(fetch)) {
            Answer::Fetch(answer) => {
                assert_eq!(answer.error, ErrorCode::None);
                answer.topics
            }
            other => panic!("{other:?}"),
        }
    }

    /// A stable group of dynamic members, the first of which leads; answers their ids.
    pub fn stable(&mut self, size: usize) -> Vec<Text> {
        let joins: Vec<_> = (0..size).map(|_| join("")).collect();
        self.stable_with(joins)
    }

    /// A stable group of these members; answers their ids in the order of the joins.
    pub fn stable_with(&mut self, joins: Vec<Join>) -> Vec<Text> {
        let tokens: Vec<_> = joins
            .into_iter()
            .map(|join| self.send(Command::Join(join)))
            .collect();
        self.advance(7_000);
        let joined: Vec<_> = tokens.iter().map(|token| self.joined(*token)).collect();
        let ids: Vec<Text> = joined.iter().map(|answer| answer.member_id.clone()).collect();
        let generation = joined[0].generation_id;
        let leader = joined[0].leader.clone();
        let mut tokens = Vec::new();
        for id in ids.iter().filter(|id| **id != leader).chain([&leader]) {
            let assignments = if *id == leader {
                assignments(&ids)
            } else {
                Vec::new()
            };
            tokens.push(self.send(Command::Sync(sync(id, generation, assignments))));
        }
        for token in tokens {
            assert_eq!(self.synced(token).error, ErrorCode::None);
        }
        ids
    }
}

fn replay(shard: &mut GroupShard, offset: usize, entry: &Entry, replicated: bool) {
    match entry {
        Entry::Marker { producer_id, commit } => shard.replay_marker(EndedTransaction {
            producer_id: *producer_id,
            producer_epoch: 0,
            commit: *commit,
            offset: Offset(offset as i64),
            replicated,
        }),
        Entry::Record {
            record,
            timestamp_ms,
            producer,
            ..
        } => shard
            .replay(&Replayed {
                key: &record.key,
                value: record.value.as_deref(),
                offset: Offset(offset as i64),
                timestamp_ms: *timestamp_ms,
                producer_id: producer.id,
                producer_epoch: producer.epoch,
                transactional: producer.transactional,
                replicated,
            })
            .unwrap(),
    }
}

/// The group of all tests.
pub const GROUP: &str = "group";

/// What a consumer of `topics` joins with.
pub fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 1];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend([0xff; 4]);
    bytes.into()
}

/// A JoinGroup of version 3: a consumer of `topic`.
pub fn join(member_id: &str) -> Join {
    Join {
        group_id: GROUP.into(),
        member_id: Text::copy(member_id),
        group_instance_id: None,
        client: Client {
            id: "client".into(),
            host: "/127.0.0.1".into(),
        },
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), subscription(&["topic"]))],
        requires_known_member_id: false,
        supports_skipping_assignment: false,
        reason: None,
    }
}

/// The same of version 9.
pub fn join_9(member_id: &str) -> Join {
    Join {
        requires_known_member_id: true,
        supports_skipping_assignment: true,
        ..join(member_id)
    }
}

/// The same of a static member.
pub fn join_static(member_id: &str, instance: &'static str) -> Join {
    Join {
        group_instance_id: Some(instance.into()),
        supports_skipping_assignment: true,
        ..join(member_id)
    }
}

/// Offers these protocols with metadata of their own.
pub fn offering(protocols: &[&'static str], join: Join) -> Join {
    let each = protocols
        .iter()
        .map(|name| ((*name).into(), subscription(&["topic"])));
    Join {
        protocols: each.collect(),
        ..join
    }
}

pub fn sync(member_id: &Text, generation_id: i32, assignments: Vec<(Text, Bytes)>) -> Sync {
    Sync {
        group_id: GROUP.into(),
        generation_id,
        member_id: member_id.clone(),
        group_instance_id: None,
        protocol_type: None,
        protocol_name: None,
        assignments,
    }
}

/// Each gets its own id.
pub fn assignments(ids: &[Text]) -> Vec<(Text, Bytes)> {
    ids.iter().map(|id| (id.clone(), assignment(id))).collect()
}

pub fn assignment(id: &Text) -> Bytes {
    Bytes::from(format!("for {id}"))
}

pub fn leaving(member_id: &str, instance: Option<&'static str>) -> LeaveMember {
    LeaveMember {
        member_id: Text::copy(member_id),
        group_instance_id: instance.map(Text::from),
        reason: None,
    }
}

/// A commit of somebody who is no member.
pub fn commit(topic: &'static str, offset: i64) -> Commit {
    Commit {
        group_id: GROUP.into(),
        generation_id: -1,
        member_id: Text::EMPTY,
        group_instance_id: None,
        retention_ms: None,
        offsets: vec![CommitPartition {
            topic: topic.into(),
            partition: 0,
            offset,
            leader_epoch: 3,
            metadata: None,
            commit_timestamp_ms: None,
        }],
    }
}

/// A commit of a member.
pub fn commit_of(member_id: &Text, generation_id: i32, topic: &'static str, offset: i64) -> Commit {
    Commit {
        generation_id,
        member_id: member_id.clone(),
        ..commit(topic, offset)
    }
}
