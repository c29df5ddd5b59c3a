//! Anything in any order, with refused appends, transactions and failovers in between: what must hold throughout.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::base::error_code::ErrorCode;
use crate::coordinator::{Shard, Token};
use crate::group::command::*;
use crate::group::settings::GroupSettings;
use crate::group::testing::*;
use crate::group::timer::GroupTimer;
use crate::wire::text::Text;

#[derive(Clone, Debug)]
enum Action {
    Join {
        who: usize,
        instance: bool,
        protocols: usize,
        version_4: bool,
    },
    Sync(usize),
    Heartbeat(usize),
    Leave(usize),
    Commit(usize, i64),
    SimpleCommit(i64),
    Transaction(i64, i64),
    EndTransaction(i64, bool),
    Delete,
    DeleteOffsets,
    TopicsDeleted,
    Expire,
    Refuse(bool),
    Advance(i64),
    FailOver,
}

const CLIENTS: usize = 4;
const INSTANCES: [&str; CLIENTS] = ["one", "two", "three", "four"];
const TOPICS: [&str; 2] = ["topic", "other"];

fn action() -> impl Strategy<Value = Action> {
    let who = || 0..CLIENTS;
    prop_oneof![
        12 => (who(), any::<bool>(), 0..3usize, any::<bool>())
            .prop_map(|(who, instance, protocols, version_4)| Action::Join { who, instance, protocols, version_4 }),
        10 => who().prop_map(Action::Sync),
        4 => who().prop_map(Action::Heartbeat),
        3 => who().prop_map(Action::Leave),
        4 => (who(), 0..100i64).prop_map(|(who, offset)| Action::Commit(who, offset)),
        1 => (0..100i64).prop_map(Action::SimpleCommit),
        1 => (0..2i64, 0..100i64).prop_map(|(producer, offset)| Action::Transaction(producer, offset)),
        1 => (0..2i64, any::<bool>()).prop_map(|(producer, commit)| Action::EndTransaction(producer, commit)),
        1 => Just(Action::Delete),
        1 => Just(Action::DeleteOffsets),
        1 => Just(Action::TopicsDeleted),
        1 => Just(Action::Expire),
        1 => any::<bool>().prop_map(Action::Refuse),
        8 => prop_oneof![Just(1_000), Just(3_000), Just(9_000), Just(60_000), Just(8 * 86_400_000)].prop_map(Action::Advance),
        1 => Just(Action::FailOver),
    ]
}

/// What a client knows of itself.
#[derive(Clone, Default)]
struct Known {
    member_id: Text,
    generation: i32,
    instance: bool,
    waits: Vec<Token>,
    members: Vec<Text>,
}

struct World {
    h: Harness,
    clients: Vec<Known>,
    /// Each client that a token is of.
    tokens: BTreeMap<Token, usize>,
    /// The removal of a topic's offsets that was refused last.
    refused: Option<Command>,
    /// The removals of a topic's offsets.
    topics_deleted: Vec<Token>,
}

impl World {
    fn new() -> Self {
        let h = Harness::with(GroupSettings {
            max_size: 3,
            removal_batch_bytes: 60,
            ..GroupSettings::default()
        });
        Self {
            h,
            clients: vec![Known::default(); CLIENTS],
            tokens: BTreeMap::new(),
            refused: None,
            topics_deleted: Vec::new(),
        }
    }

    fn ask(&mut self, who: usize, command: Command) {
        let is_of_topics = matches!(command, Command::TopicsDeleted(_));
        let token = self.h.send(command);
        self.tokens.insert(token, who);
        self.clients[who].waits.push(token);
        if is_of_topics {
            self.topics_deleted.push(token);
        }
    }

    fn instance(&self, who: usize) -> Option<Text> {
        self.clients[who].instance.then(|| INSTANCES[who].into())
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Join {
                who,
                instance,
                protocols,
                version_4,
            } => {
                if self.clients[who].member_id.is_empty() {
                    self.clients[who].instance = instance;
                }
                let protocols = [&["range"][..], &["sticky", "range"], &["range", "sticky"]][protocols];
                let join = Join {
                    group_instance_id: self.instance(who),
                    requires_known_member_id: version_4 && !self.clients[who].instance,
                    supports_skipping_assignment: version_4,
                    ..offering(protocols, join(&self.clients[who].member_id))
                };
                self.ask(who, Command::Join(join));
            }
            Action::Sync(who) => {
                let known = &self.clients[who];
                let sync = Sync {
                    group_instance_id: self.instance(who),
                    ..sync(&known.member_id, known.generation, assignments(&known.members))
                };
                self.ask(who, Command::Sync(sync));
            }
            Action::Heartbeat(who) => {
                let heartbeat = Heartbeat {
                    group_id: GROUP.into(),
                    generation_id: self.clients[who].generation,
                    member_id: self.clients[who].member_id.clone(),
                    group_instance_id: self.instance(who),
                };
                self.ask(who, Command::Heartbeat(heartbeat));
            }
            Action::Leave(who) => {
                let members = vec![LeaveMember {
                    member_id: self.clients[who].member_id.clone(),
                    group_instance_id: self.instance(who),
                    reason: None,
                }];
                let group_id = GROUP.into();
                self.ask(who, Command::Leave(Leave { group_id, members }));
            }
            Action::Commit(who, offset) => {
                let known = &self.clients[who];
                let commit = commit_of(&known.member_id, known.generation, TOPICS[0], offset);
                self.ask(who, Command::Commit(commit));
            }
            Action::SimpleCommit(offset) => self.ask(0, Command::Commit(commit(TOPICS[1], offset))),
            Action::Transaction(producer, offset) => {
                let mut other = Harness::new();
                other.commit(commit(TOPICS[1], offset));
                let (record, _) = other.last_batch().remove(0);
                self.h.append_transactional(producer, record);
            }
            Action::EndTransaction(producer, commit) => self.h.end_transaction(producer, commit),
            Action::Delete => self.ask(0, Command::Delete(vec![GROUP.into()])),
            Action::DeleteOffsets => {
                let topics = TOPICS.iter().map(|topic| ((*topic).into(), vec![0, 1]));
                let group_id = GROUP.into();
                let topics = topics.collect();
                self.ask(0, Command::DeleteOffsets(DeleteOffsets { group_id, topics }));
            }
            Action::TopicsDeleted => {
                let (names, below) = (vec![TOPICS[0].to_owned()], self.h.log_end());
                let deleted = Command::TopicsDeleted(TopicsDeleted { names, below });
                if self.h.fails.is_some() {
                    self.refused = Some(deleted.clone());
                }
                self.ask(0, deleted);
            }
            Action::Expire => self.ask(0, Command::Expire),
            Action::Refuse(refuse) => self.h.fails = refuse.then_some(ErrorCode::NotEnoughReplicas),
            Action::Advance(ms) => self.h.advance(ms),
            Action::FailOver => {
                self.h.fail_over();
                self.clients.iter_mut().for_each(|known| known.waits.clear());
                self.tokens.clear();
            }
        }
        self.learn();
        self.check();
    }

    /// Clients take note of their answers.
    fn learn(&mut self) {
        let answers = std::mem::take(&mut self.h.answers);
        for (token, answer) in answers {
            let who = self.tokens.remove(&token).unwrap();
            let known = &mut self.clients[who];
            known.waits.retain(|waiting| *waiting != token);
            match answer {
                Answer::Join(answer) if answer.error == ErrorCode::None => {
                    assert!(!answer.member_id.is_empty());
                    let leads = answer.leader == answer.member_id;
                    assert_eq!(
                        leads,
                        !answer.members.is_empty() || leads && answer.skip_assignment
                    );
                    known.member_id = answer.member_id;
                    known.generation = answer.generation_id;
                    known.members = answer
                        .members
                        .into_iter()
                        .map(|member| member.member_id)
                        .collect();
                }
                Answer::Join(answer) if answer.error == ErrorCode::MemberIdRequired => {
                    known.member_id = answer.member_id
                }
                Answer::Join(answer) => {
                    assert_eq!(answer.members, []);
                    if matches!(
                        answer.error,
                        ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId
                    ) {
                        known.member_id = Text::EMPTY;
                    }
                }
                Answer::Sync(answer) if answer.error == ErrorCode::None => {
                    // Nobody gets what is another's.
                    let own = assignment(&known.member_id);
                    let replaced = known.instance;
                    assert!(answer.assignment.is_empty() || answer.assignment == own || replaced);
                }
                _ => {}
            }
        }
    }

    fn check(&mut self) {
        // A client waits only for what can still come: whoever waits, waits for a timer at the latest.
        if !self.h.waiting.is_empty() {
            assert!(!self.h.timers.is_empty(), "clients wait and nothing will happen");
        }
        let described = self.h.describe();
        let sessions = self
            .h
            .timers
            .keys()
            .filter(|timer| matches!(timer, GroupTimer::Session { .. }))
            .count();
        // Whoever waits may have no session, and nobody has one who is no member.
        assert!(sessions <= described.members.len());
        assert!(described.members.len() <= 3 || described.state == "PreparingRebalance");
        match described.state {
            "Empty" | "Dead" => assert_eq!(described.members, []),
            // Nobody waits, so everybody must give signs of life.
            "Stable" => {
                assert!(!described.members.is_empty());
                assert_eq!(sessions, described.members.len());
            }
            _ => {}
        }
        let listed = self.h.listed();
        assert_eq!(listed.is_empty(), described.state == "Dead");
        if listed.is_empty() {
            assert_eq!(self.h.shard.memory_bytes(), 0);
            assert!(!self.h.timers.keys().any(|timer| *timer != GroupTimer::Removals));
        }
    }

    /// What the log says is what there is.
    fn check_log(&mut self) {
        if let Some(deleted) = self.refused.take() {
            // As the broker does, until it succeeds: before that the offsets are in the log, and nobody is told of them.
            let done = Answer::TopicsDeleted(ErrorCode::None);
            let token = self.h.send(deleted);
            // Another removal may still be at work.
            self.h.advance(0);
            assert_eq!(self.h.answer(token), Some(done));
        }
        // Nor is anybody told of them while the removal waits behind another one.
        if self
            .topics_deleted
            .iter()
            .any(|token| self.tokens.contains_key(token))
        {
            self.h.advance(0);
        }
        let before = (self.h.describe(), self.h.fetch_topics(None, true));
        self.h.fail_over();
        let after = (self.h.describe(), self.h.fetch_topics(None, true));
        assert_eq!(before.1, after.1);
        if before.0.state == "Stable" {
            assert_eq!(before.0, after.0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_client_is_answered_once_and_the_log_says_what_there_is(
        actions in prop::collection::vec(action(), 1..60)
    ) {
        let mut world = World::new();
        for action in actions {
            world.act(action);
        }
        world.h.fails = None;
        // In the end nobody comes any more: everybody is answered, and the group is empty.
        world.h.advance(3 * 3_600_000);
        world.learn();
        prop_assert_eq!(&world.h.waiting.len(), &0);
        let state = world.h.state();
        prop_assert!(matches!(state, "Empty" | "Dead"), "{}", state);
        prop_assert_eq!(&world.h.timers.len(), &0);
        world.check_log();
    }

    #[test]
    fn a_failover_at_any_time_loses_nothing_that_is_stable(
        actions in prop::collection::vec(action(), 1..60)
    ) {
        let mut world = World::new();
        for action in actions {
            world.act(action);
        }
        let refused = world.h.fails.is_some();
        if !refused {
            world.check_log();
        }
    }
}
