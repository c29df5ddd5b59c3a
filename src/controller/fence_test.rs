//! Who rules, and who rules no more: controllers that were deposed without noticing, sessions that end again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use super::active::Active;
use super::channels::{Answer, Answered};
use super::cluster_test::{Cluster3, ONE, Others, THREE, TWO, node};
use super::controller_test::{Asked, Started, code, fresh_broker, start_with, topic};
use super::reign::{Election, Lost, elect};
use super::request::{AlterPartition, ElectionType};
use super::watching::Look;
use super::*;
use crate::base::clock;
use crate::base::ids::{ControllerEpoch, LeaderEpoch};
use crate::base::task;
use crate::metadata::control::ControlAnswer;
use crate::store::memory::{MemoryServer, MemoryStore};
use crate::store::znodes::{
    Controller as ControllerNode, OurBroker, PartitionState, decode_epoch, encode_epoch, paths,
};
use crate::store::{CreateKind, Operation};

/// A controller that does not look: nobody reads its queue.
struct Blind {
    cluster: Cluster3,
    active: Active,
    /// What it is not told.
    _events: mpsc::Receiver<Event>,
    /// Somebody else.
    tool: MemoryStore,
}

/// What a controller may be about to do when it is one no more.
const ACTS: [&str; 19] = [
    "create a topic",
    "delete one",
    "add partitions",
    "move a partition",
    "change an ISR",
    "let a broker stop",
    "elect a first replica",
    "replace who has a broken disk",
    "replace a broker that is gone",
    "delete what a tool marked",
    "take a notification of an ISR",
    "take a notification of a disk",
    "bring up a topic of a tool",
    "bring up partitions of a tool",
    "move what an old tool asks for",
    "elect whom an old tool asks for",
    "balance leaders",
    "forget a deleted topic",
    "give out producer ids",
];

fn part(topic: &str) -> TopicPartition {
    TopicPartition::new(topic, 0)
}

impl Blind {
    async fn rules() -> Self {
        let cluster = Cluster3::of(&[TWO, THREE]).await;
        cluster.create("t", &[TWO, ONE]).await;
        cluster.create("mine", &[ONE]).await;
        cluster.create("u", &[ONE, TWO]).await;
        cluster.one.shutdown.begin();
        clock::sleep(Duration::from_millis(5)).await;
        let tool = cluster.server.connect();
        // Its first replica does not lead this one.
        let state = r#"{"controller_epoch":1,"leader":2,"version":1,"leader_epoch":1,"isr":[2,1]}"#;
        let path = paths::partition_state("u", 0);
        tool.set(&path, Some(state.into()), None).await.unwrap();
        tool.delete(paths::CONTROLLER, None).await.unwrap();
        let parts = Arc::clone(&cluster.one.controller.parts);
        let Election::Won(reign) = elect(&parts.store, ONE).await.unwrap() else {
            panic!("somebody else rules");
        };
        let (events, unread) = mpsc::channel(QUEUE);
        let active = Active::begin(parts, reign, events).await.unwrap();
        clock::sleep(Duration::from_millis(5)).await;
        Self {
            cluster,
            active,
            _events: unread,
            tool,
        }
    }

    async fn write(&self, path: String, data: &'static str) {
        let kind = CreateKind::Persistent;
        self.tool.create(&path, Some(data.into()), kind).await.unwrap();
    }

    /// What comes before.
    async fn prepare(&mut self, act: &str) {
        const ON_U: &str = r#"{"version":1,"partitions":[{"topic":"u","partition":0,"replicas":[2]}]}"#;
        match act {
            "replace a broker that is gone" => self.cluster.sessions.remove(&TWO).unwrap().expire(),
            "delete what a tool marked" => self.write(paths::delete_topic("mine"), "").await,
            "take a notification of an ISR" => {
                self.write(format!("{}/isr_change_1", paths::ISR_CHANGE_NOTIFICATIONS), ON_U)
                    .await;
            }
            "take a notification of a disk" => {
                let path = format!("{}/log_dir_event_1", paths::LOG_DIR_EVENT_NOTIFICATIONS);
                self.write(path, r#"{"version":1,"broker":2,"event":1}"#).await;
            }
            "bring up a topic of a tool" => {
                self.write(paths::topic("new"), r#"{"version":1,"partitions":{"0":[1]}}"#)
                    .await;
            }
            "bring up partitions of a tool" => {
                let more = r#"{"version":1,"partitions":{"0":[2,1],"1":[1]}}"#;
                let path = paths::topic("t");
                self.tool.set(&path, Some(more.into()), None).await.unwrap();
            }
            "move what an old tool asks for" => {
                self.write(paths::REASSIGN_PARTITIONS.to_owned(), ON_U).await;
            }
            "elect whom an old tool asks for" => {
                self.write(paths::PREFERRED_REPLICA_ELECTION.to_owned(), ON_U)
                    .await;
            }
            "forget a deleted topic" => {
                let answers = self.active.delete_topics(vec!["t".into()]).await.unwrap();
                assert_eq!(answers, [Ok(())]);
            }
            _ => {}
        }
    }

    async fn act(&mut self, act: &str) -> Result<(), Lost> {
        let active = &mut self.active;
        match act {
            "create a topic" => {
                let wanted = vec![(vec![topic("new", 1)], false)];
                active.create_topics(wanted).await.map(drop)
            }
            "delete one" => active.delete_topics(vec!["mine".into()]).await.map(drop),
            "add partitions" => {
                let more = MorePartitions {
                    name: "mine".to_owned(),
                    count: 2,
                    assignments: None,
                };
                active.create_partitions(vec![more], false).await.map(drop)
            }
            "move a partition" => {
                let wish = Reassignment {
                    partition: part("t"),
                    replicas: Some(vec![THREE, ONE]),
                    any_number: true,
                };
                active.alter_reassignments(&[wish]).await.map(drop)
            }
            "change an ISR" => {
                let proposal = AlterPartition {
                    partition: part("t"),
                    topic_id: None,
                    leader_epoch: LeaderEpoch(0),
                    isr: vec![(TWO, BrokerEpoch(-1))],
                    recovering: false,
                    partition_epoch: 0,
                };
                let epoch = active.context.broker_epoch(TWO);
                active
                    .alter_partitions(TWO, epoch, vec![proposal])
                    .await
                    .map(drop)
            }
            "let a broker stop" => {
                let epoch = active.context.broker_epoch(TWO);
                active.controlled_shutdown(TWO, epoch).await.map(drop)
            }
            "elect a first replica" => {
                let first = ElectionType::Preferred;
                active.elect_leaders(&[part("u")], first).await.map(drop)
            }
            "replace who has a broken disk" => active.replicas_offline(vec![part("t")]).await,
            "replace a broker that is gone" => active.look(Look::Brokers).await,
            "delete what a tool marked" => active.look(Look::Deletions).await,
            "take a notification of an ISR" => active.look(Look::IsrChanges).await,
            "take a notification of a disk" => active.look(Look::LogDirs).await,
            "bring up a topic of a tool" => active.look(Look::Topics).await,
            "bring up partitions of a tool" => active.topic_changed(&"t".into()).await,
            "move what an old tool asks for" => active.look(Look::OldReassignments).await,
            "elect whom an old tool asks for" => active.look(Look::OldElections).await,
            "balance leaders" => active.look(Look::Imbalance).await,
            "forget a deleted topic" => {
                let answer = ControlAnswer {
                    partitions: vec![(part("t"), ErrorCode::None)],
                    ..ControlAnswer::default()
                };
                let answered = Answered {
                    broker: TWO,
                    broker_epoch: active.context.broker_epoch(TWO),
                    controller_epoch: active.reign.epoch,
                    answer: Answer::StopReplica(active.context.last_stop, answer),
                };
                active.answered(answered).await
            }
            "give out producer ids" => {
                let epoch = active.context.broker_epoch(TWO);
                active.allocate_producer_ids(TWO, epoch).await.map(drop)
            }
            other => panic!("{other}"),
        }
    }

    /// Another broker becomes the controller, in one change.
    async fn depose(&self) {
        let epoch = self.tool.get(paths::CONTROLLER_EPOCH).await.unwrap().unwrap();
        let next = decode_epoch(&epoch.data.unwrap()).unwrap().get() + 1;
        let other = ControllerNode::new(TWO, 0).encode();
        let next = encode_epoch(ControllerEpoch(next));
        let operations = vec![
            Operation::delete(paths::CONTROLLER, None),
            Operation::create(paths::CONTROLLER, Some(other), CreateKind::Ephemeral),
            Operation::set(paths::CONTROLLER_EPOCH, Some(next), Some(epoch.stat.version)),
        ];
        self.tool.multi(operations).await.unwrap();
    }
}

/// KAFKA-6082.
#[tokio::test]
async fn row_25_a_controller_that_was_deposed_unnoticed_writes_nothing() {
    for act in ACTS {
        for is_deposed in [false, true] {
            let mut blind = Blind::rules().await;
            blind.prepare(act).await;
            if is_deposed {
                blind.depose().await;
            }
            blind.cluster.server.keep_journal();
            let done = blind.act(act).await;
            let written = blind.cluster.server.journal();
            let expected = if is_deposed { Err(Lost::Moved) } else { Ok(()) };
            assert_eq!(done, expected, "{act}");
            assert_eq!(written.is_empty(), is_deposed, "{act}: {written:?}");
            if is_deposed {
                blind.active.reign.resign().await;
                assert!(blind.cluster.server.journal().is_empty(), "the other one's");
            }
        }
    }
}

/// Registers anew whenever its session has ended.
fn keep_registered(started: &Started) {
    let registration = Arc::clone(&started.controller.parts.registration);
    let following = registration.follow(
        started.shutdown.clone(),
        || (),
        |_, ()| Box::pin(std::future::ready(())),
    );
    drop(task::spawn(following));
}

/// The only one of these that is active, once all are registered.
async fn ruler<'a>(server: &MemoryServer, all: &'a [(Started, MemoryStore)]) -> &'a Started {
    for _ in 0..10_000 {
        clock::sleep(Duration::from_millis(5)).await;
        let registered = |one: &(Started, MemoryStore)| {
            let parts = &one.0.controller.parts;
            let known = server.peek(&paths::broker(parts.broker));
            let epoch = parts.registration.epoch().map(BrokerEpoch::get);
            epoch.is_some() && known.map(|node| node.stat.czxid) == epoch
        };
        let active: Vec<_> = all.iter().filter(|one| one.0.controller.is_active()).collect();
        let owner = server.peek(paths::CONTROLLER).and_then(|node| node.stat.owner);
        if let [one] = active.as_slice()
            && all.iter().all(registered)
            && owner == Some(one.1.id())
        {
            return &one.0;
        }
    }
    panic!("nobody rules alone");
}

/// KAFKA-4447, 5310, 2300.
#[tokio::test(start_paused = true)]
async fn row_26_after_a_hundred_lost_sessions_one_controller_acts_in_one_epoch() {
    let server = MemoryServer::new();
    let others = Others::default();
    let mut all = Vec::new();
    for id in [ONE, TWO] {
        let session = server.connect();
        let links = Arc::new(others.clone());
        let started = start_with(Arc::new(session.clone()), fresh_broker(), id, &[], links).await;
        keep_registered(&started);
        all.push((started, session));
    }
    let third: Arc<dyn Store> = Arc::new(server.connect());
    let ours = OurBroker::this(true);
    let registered = registration::register(&third, THREE, &node(THREE), &ours).await;
    assert!(registered.is_ok());
    server.keep_journal();
    let mut reigns = BTreeMap::new();
    for round in 0..100 {
        for (number, (_, session)) in all.iter().enumerate() {
            if round % 3 != number {
                session.expire();
            }
        }
        let ruler = ruler(&server, &all).await;
        let heard = || {
            others
                .0
                .lock()
                .unwrap()
                .get(&THREE)
                .map_or(0, |one| one.told().requests.len())
        };
        let before = heard();
        let name = format!("t{round}");
        let mut on_three = topic(&name, -1);
        (on_three.replication_factor, on_three.assignments) = (-1, vec![(0, vec![THREE])]);
        assert_eq!(ruler.create(vec![on_three]).await, [ErrorCode::None], "{round}");
        clock::sleep(Duration::from_millis(100)).await;
        let epoch = ruler.state(&name, 0).await.0.controller_epoch;
        let told = others.0.lock().unwrap()[&THREE].told().requests.clone();
        assert!(told.len() > before);
        for request in &told[before..] {
            let (controller, of) = match request {
                Asked::Lead(one) => (one.sender.controller, one.sender.controller_epoch),
                Asked::Stop(one) => (one.sender.controller, one.sender.controller_epoch),
                Asked::Know(one) => (one.controller, one.controller_epoch),
            };
            assert_eq!(
                (controller, of),
                (ruler.controller.parts.broker, epoch),
                "{round}"
            );
        }
        let earlier = reigns.insert(epoch, ruler.controller.parts.broker);
        assert!(earlier.is_none_or(|earlier| earlier == ruler.controller.parts.broker));
    }
    assert!(reigns.len() > 50);
    let (mut epoch, mut written) = (0, 0);
    for (path, data) in server.journal() {
        let Some(data) = data else {
            continue;
        };
        if path == paths::CONTROLLER_EPOCH {
            let next = decode_epoch(&data).unwrap().get();
            assert!(epoch == 0 || next == epoch + 1);
            epoch = next;
        } else if path.ends_with("/state") {
            let state = PartitionState::decode(&data).unwrap();
            assert!(epoch == 0 || state.controller_epoch.get() == epoch, "{path}");
            written += 1;
        }
    }
    assert!(written >= 100);
}

/// Asks until it is done, as clients and brokers do.
async fn insist<F: Future<Output = bool>>(what: &str, ask: impl Fn() -> F) {
    for _ in 0..100 {
        if ask().await {
            return;
        }
        clock::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what}: it does not come to that");
}

/// A day of a broker: everything that it does with its session.
async fn day(started: &Started) {
    let controller = &started.controller;
    let is_done = |code: ErrorCode, twice: ErrorCode| code.is_none() || code == twice;
    for name in ["a", "b"] {
        insist("create", || async {
            let answers = started.create(vec![topic(name, 2)]).await;
            is_done(answers[0], ErrorCode::TopicAlreadyExists)
        })
        .await;
    }
    insist("grow", || async {
        let more = MorePartitions {
            name: "a".to_owned(),
            count: 3,
            assignments: None,
        };
        let answers = controller.create_partitions(vec![more], false).await;
        is_done(code(&answers[0]), ErrorCode::InvalidPartitions)
    })
    .await;
    insist("configs", || async {
        let change = AlterConfigs {
            resource: ConfigResource::Topic("a".to_owned()),
            changes: ConfigChanges::Incremental(vec![(
                "retention.ms".to_owned(),
                Some(ConfigOperation::Set),
                Some("7".to_owned()),
            )]),
        };
        code(&controller.alter_configs(vec![change], false).await[0]).is_none()
    })
    .await;
    insist("ids", || async {
        let epoch = controller.parts.registration.epoch().unwrap_or(BrokerEpoch(-1));
        controller.allocate_producer_ids(ONE, epoch).await.is_ok()
    })
    .await;
    insist("elsewhere", || async {
        controller.register_again(&node(ONE)).await.is_ok()
    })
    .await;
    insist("delete", || async {
        let answers = started.delete(&["b"]).await;
        is_done(answers[0], ErrorCode::UnknownTopicOrPartition)
    })
    .await;
}

/// KAFKA-7165, 5473, 6517.
#[tokio::test(start_paused = true)]
async fn row_27_a_session_may_end_at_any_call_and_everything_goes_on() {
    let mut calls = 0;
    loop {
        let server = MemoryServer::new();
        let (session, tool) = (server.connect(), server.connect());
        let first = session.id();
        let store = Arc::new(session.clone());
        let begun = clock::timeout(Duration::from_secs(600), async {
            // And the next one again, early.
            let expire = || {
                server.expire_after(first, calls);
                server.expire_next_after(calls % 37);
            };
            let links = Arc::new(Nobody);
            let started =
                super::controller_test::start_and(store, fresh_broker(), ONE, &[], links, expire).await;
            keep_registered(&started);
            day(&started).await;
            started
        });
        let Some(started) = begun.await else {
            panic!("nothing goes on after call {calls}");
        };
        let is_over = server.is_expiring(first);
        let all = [(started, session)];
        let ruler = ruler(&server, &all).await;
        let topics = tool.children(paths::TOPICS).await.unwrap();
        assert_eq!(topics, Some(vec!["a".to_owned()]), "{calls}");
        for number in 0..3 {
            let node = server.peek(&paths::partition_state("a", number)).unwrap();
            let state = PartitionState::decode(&node.data.unwrap()).unwrap();
            assert_eq!(state.leader, Some(ONE), "{calls}");
        }
        assert_eq!(ruler.cluster.get().log_config("a").retention_ms, 7, "{calls}");
        ruler.shutdown.begin();
        if is_over {
            break;
        }
        calls += 1;
    }
    assert!(calls > 60, "{calls}");
}

/// ZOOKEEPER-2985, as Kafka met it: the nodes of the former session stay.
#[tokio::test(start_paused = true)]
async fn row_27_what_the_former_session_has_left_is_replaced() {
    let server = MemoryServer::new();
    let session = server.connect();
    let links = Arc::new(Nobody);
    let started = start_with(Arc::new(session.clone()), fresh_broker(), ONE, &[], links).await;
    keep_registered(&started);
    let before = started.epoch;
    session.expire_and_leave();
    let known = || started.controller.parts.registration.epoch();
    for _ in 0..1000 {
        if known() > Some(before) {
            break;
        }
        clock::sleep(Duration::from_millis(10)).await;
    }
    let node = server.peek(&paths::broker(ONE)).unwrap();
    assert_eq!(known(), Some(BrokerEpoch(node.stat.czxid)));
    assert!(known() > Some(before));
    for path in [paths::broker(ONE), paths::our_broker(ONE)] {
        let node = server.peek(&path).unwrap();
        assert_eq!(node.stat.owner, Some(session.id()), "{path}");
    }
    // One of somebody else stays.
    let other: Arc<dyn Store> = Arc::new(server.connect());
    let ours = OurBroker::this(true);
    let taken = registration::register(&other, ONE, &super::cluster_test::node(TWO), &ours).await;
    assert_eq!(taken, Err(RegisterError::Taken(ONE)));
}
