//! Several brokers' replicas in one process, with a controller that does as it is told, and connections in memory that can
//! be cut.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::answers::{AppendAnswer, FetchParameters};
use super::directories::HostDirectory;
use super::fetch::Fetch;
use super::fetch_session::{AnswerSummary, FetchPartition, FetchSessions, SessionRequest, SessionTopic};
use super::fetchers::{Answering, FetcherThreads, LeaderConnection, Leaders, NoAnswer};
use super::isr::{IsrAnswers, IsrChanger, IsrProposal};
use super::leadership::IsrState;
use super::offsets::OffsetQuery;
use super::replicas::Replicas;
use super::testing::{NOW_MS, topic_id};
use super::waiting::Bound;
use crate::base::clock;
use crate::base::disk::Disk;
use crate::base::disk::memory::MemoryDisk;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{
    BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, Offset, TopicName, TopicPartition, Uuid,
};
use crate::base::random::Random;
use crate::base::shutdown::Shutdown;
use crate::base::task::Pool;
use crate::config::BrokerConfig;
use crate::metadata::control::{
    LeaderAndIsr, LeaderAndIsrPartition, LeaderAndIsrTopic, PartitionMetadata, Sender, UpdateMetadata,
    UpdateMetadataTopic,
};
use crate::metadata::{BrokerImage, Cluster, Endpoint, PartitionImage};
use crate::peer::Address;
use crate::storage::descriptors::Descriptors;
use crate::storage::directory::{LoadSettings, LogDirectory};
use crate::storage::log::{self, Log};
use crate::storage::producer_state::Origin;
use crate::wire::message::Message;
use crate::wire::messages::fetch::{
    EpochEndOffset, FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use crate::wire::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use crate::wire::reader::Reader;
use crate::wire::text::Text;
use crate::wire::writer::Writer;

/// Short times, so that a test sees what else takes half a minute.
const CONFIG: [(&str, &str); 5] = [
    ("replica.fetch.wait.max.ms", "100"),
    ("replica.fetch.backoff.ms", "20"),
    ("replica.socket.timeout.ms", "2000"),
    ("replica.lag.time.max.ms", "400"),
    ("replica.fetch.max.bytes", "1048576"),
];

/// How long a test waits for what it expects.
const PATIENCE: Duration = Duration::from_secs(20);

/// A broker.
pub struct Node {
    pub id: BrokerId,
    pub epoch: BrokerEpoch,
    pub cluster: Cluster,
    pub replicas: Arc<Replicas>,
    sessions: FetchSessions,
    disk: MemoryDisk,
    shutdown: Shutdown,
}

impl Node {
    /// What it writes on.
    pub fn disk(&self) -> MemoryDisk {
        self.disk.clone()
    }
}

/// What the controller says of a partition.
#[derive(Clone, Debug)]
pub struct State {
    pub id: u8,
    pub leader: Option<i32>,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    pub isr: Vec<i32>,
    pub replicas: Vec<i32>,
}

/// What becomes of the next AlterPartition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Nobody takes it.
    Lost,
    /// It is carried out, and nobody hears of it.
    AnswerLost,
    /// Its partitions are refused.
    Refused(ErrorCode),
    /// It waits until it is let go.
    Held,
}

#[derive(Default)]
struct World {
    nodes: BTreeMap<i32, Arc<Node>>,
    disks: BTreeMap<i32, MemoryDisk>,
    partitions: BTreeMap<TopicName, State>,
    cut: BTreeSet<(i32, i32)>,
    fates: Vec<Fate>,
    /// AlterPartition requests, the ISRs that they asked for.
    asked: Vec<Vec<i32>>,
    /// What fetchers' connections were called.
    clients: BTreeSet<String>,
    /// How many partitions Fetch requests named, one entry a request.
    named: Vec<usize>,
    /// The Fetch requests that named some, with their versions.
    requests: Vec<(i16, FetchRequest)>,
    next_epoch: i64,
}

/// The brokers.
#[derive(Clone)]
pub struct TestCluster {
    world: Arc<Mutex<World>>,
    held: Arc<watch::Sender<bool>>,
    config: Arc<Vec<(String, String)>>,
}

impl TestCluster {
    pub async fn start(ids: &[i32], config: &[(&str, &str)]) -> Self {
        let config = CONFIG.iter().chain(config);
        let config = config.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let cluster = Self {
            world: Arc::default(),
            held: Arc::new(watch::Sender::new(true)),
            config: Arc::new(config.collect()),
        };
        for id in ids {
            cluster.boot(*id).await;
        }
        cluster
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn node(&self, id: i32) -> Arc<Node> {
        Arc::clone(self.world().nodes.get(&id).expect("alive"))
    }

    /// Starts a broker on what its disk has.
    pub async fn boot(&self, id: i32) {
        let (disk, epoch) = {
            let mut world = self.world();
            world.next_epoch += 1;
            let disk = world.disks.entry(id).or_default().clone();
            (disk, BrokerEpoch(world.next_epoch))
        };
        let text = id.to_string();
        let mut pairs = vec![("broker.id", text.as_str())];
        pairs.extend(
            self.config
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str())),
        );
        let cluster = Cluster::new("cluster", BrokerId(id), BrokerConfig::from_pairs(&pairs).unwrap());
        let directory = LogDirectory::open(
            "/data".into(),
            Disk::memory(disk.clone()),
            Descriptors::new(1000),
            Random::from_seed(1),
        );
        let directory = directory.unwrap();
        let host = HostDirectory::new(Arc::clone(directory.volume()), Pool::start("test", 1).unwrap());
        let replicas = Replicas::new(BrokerId(id), cluster.clone(), vec![Arc::clone(&host)]);
        let image = cluster.get();
        let loaded = directory.load(&LoadSettings {
            threads: 1,
            now_ms: NOW_MS,
            producer_expiration_ms: 86_400_000,
            configs: Arc::new(move |partition| image.log_config(&partition.topic)),
        });
        for log in loaded.unwrap().logs {
            replicas.host(&host, log);
        }
        replicas.registered(epoch).await;
        let shutdown = Shutdown::new();
        let wires = Wires {
            cluster: self.clone(),
            from: id,
        };
        replicas.start_replication(
            &shutdown,
            FetcherThreads::default(),
            Arc::new(wires.clone()),
            Arc::new(wires),
        );
        let node = Node {
            id: BrokerId(id),
            epoch,
            cluster,
            replicas,
            sessions: FetchSessions::new(100, Random::from_seed(3)),
            disk,
            shutdown,
        };
        self.world().nodes.insert(id, Arc::new(node));
    }

    /// Kills a broker; its page cache survives.
    pub fn kill(&self, id: i32) {
        let mut world = self.world();
        let node = world.nodes.remove(&id).expect("alive");
        node.shutdown.begin();
        world.disks.insert(id, node.disk.after_kill());
    }

    /// The power of a broker fails: what it had not synced is gone.
    pub fn power_cut(&self, id: i32) {
        self.kill(id);
        if let Some(disk) = self.world().disks.get(&id) {
            disk.power_cut(|| false);
        }
    }

    /// Takes a dead broker's disk away.
    pub fn wipe(&self, id: i32) {
        self.world().disks.remove(&id);
    }

    pub fn cut(&self, one: i32, other: i32) {
        self.world().cut.extend([(one, other), (other, one)]);
    }

    pub fn join(&self, one: i32, other: i32) {
        self.world()
            .cut
            .retain(|pair| *pair != (one, other) && *pair != (other, one));
    }

    pub fn fates(&self, fates: &[Fate]) {
        self.held.send_replace(false);
        self.world().fates = fates.to_vec();
    }

    pub fn let_go(&self) {
        self.held.send_replace(true);
    }

    pub fn asked(&self) -> Vec<Vec<i32>> {
        self.world().asked.clone()
    }

    pub fn clients(&self) -> Vec<String> {
        self.world().clients.iter().cloned().collect()
    }

    pub fn take_named(&self) -> Vec<usize> {
        std::mem::take(&mut self.world().named)
    }

    fn fetched(&self, version: i16, request: &FetchRequest, count: usize) {
        let mut world = self.world();
        world.named.push(count);
        if count > 0 {
            world.requests.push((version, request.clone()));
        }
    }

    /// The Fetch requests that named partitions, with their versions.
    pub fn requests(&self) -> Vec<(i16, FetchRequest)> {
        self.world().requests.clone()
    }

    pub fn state(&self, topic: &str) -> State {
        self.world().partitions.get(topic).expect("topic").clone()
    }

    /// Makes a topic of one partition, and tells all.
    pub async fn create(&self, topic: &str, replicas: &[i32]) {
        self.create_with_id(topic, 1, replicas).await;
    }

    pub async fn create_with_id(&self, topic: &str, id: u8, replicas: &[i32]) {
        let state = State {
            id,
            leader: replicas.first().copied(),
            leader_epoch: 0,
            partition_epoch: 0,
            isr: replicas.to_vec(),
            replicas: replicas.to_vec(),
        };
        self.world().partitions.insert(topic.into(), state);
        self.tell(topic, replicas).await;
    }

    /// Elects a leader, in a new epoch, and tells all that are alive.
    pub async fn elect(&self, topic: &str, leader: i32, isr: &[i32]) {
        let all = self.decide(topic, leader, isr);
        self.tell(topic, &all).await;
    }

    /// Elects a leader, and tells nobody yet.
    pub fn decide(&self, topic: &str, leader: i32, isr: &[i32]) -> Vec<i32> {
        let mut world = self.world();
        let state = world.partitions.get_mut(topic).expect("topic");
        state.leader = Some(leader);
        state.leader_epoch += 1;
        state.partition_epoch += 1;
        state.isr = isr.to_vec();
        state.replicas.clone()
    }

    /// Tells brokers that are alive of a partition, the metadata first.
    pub async fn tell(&self, topic: &str, to: &[i32]) {
        self.tell_metadata(topic);
        for id in to {
            let node = self.world().nodes.get(id).cloned();
            if let Some(node) = node {
                let answer = self.lead_and_follow(&node, topic).await;
                assert_eq!(answer, ErrorCode::None, "broker {id}");
            }
        }
    }

    pub async fn lead_and_follow(&self, node: &Node, topic: &str) -> ErrorCode {
        let state = self.state(topic);
        let ids = |brokers: &[i32]| -> Vec<BrokerId> { brokers.iter().copied().map(BrokerId).collect() };
        let answer = node
            .replicas
            .leader_and_isr(LeaderAndIsr {
                sender: sender(node.epoch),
                topics: vec![LeaderAndIsrTopic {
                    name: topic.into(),
                    id: topic_id(state.id),
                    partitions: vec![LeaderAndIsrPartition {
                        partition: 0,
                        controller_epoch: ControllerEpoch(1),
                        leader: state.leader.map(BrokerId),
                        leader_epoch: LeaderEpoch(state.leader_epoch),
                        isr: ids(&state.isr),
                        partition_epoch: state.partition_epoch,
                        replicas: ids(&state.replicas),
                        adding_replicas: Vec::new(),
                        removing_replicas: Vec::new(),
                        is_new: state.leader_epoch == 0,
                        recovering: false,
                    }],
                }],
            })
            .await;
        assert!(answer.error.is_none());
        answer.partitions.first().expect("a partition").1
    }

    pub fn tell_metadata(&self, topic: &str) {
        let nodes: Vec<_> = self.world().nodes.values().map(Arc::clone).collect();
        for node in &nodes {
            node.cluster.update(&self.metadata(topic, &nodes));
        }
    }

    fn metadata(&self, topic: &str, alive: &[Arc<Node>]) -> UpdateMetadata {
        let state = self.state(topic);
        let ids = |brokers: &[i32]| -> Vec<BrokerId> { brokers.iter().copied().map(BrokerId).collect() };
        let partition = PartitionImage {
            controller_epoch: ControllerEpoch(1),
            leader: state.leader.map(BrokerId),
            leader_epoch: LeaderEpoch(state.leader_epoch),
            partition_epoch: state.partition_epoch,
            replicas: ids(&state.replicas),
            isr: ids(&state.isr),
            offline_replicas: Vec::new(),
        };
        UpdateMetadata {
            controller: BrokerId(99),
            controller_epoch: ControllerEpoch(1),
            broker_epoch: BrokerEpoch(-1),
            live_brokers: alive.iter().map(|node| Arc::new(image_of(node))).collect(),
            topics: vec![UpdateMetadataTopic {
                name: topic.into(),
                id: topic_id(state.id),
                partitions: vec![(0, PartitionMetadata::State(Arc::new(partition)))],
            }],
        }
    }

    pub async fn append(&self, leader: i32, topic: &str, records: &Bytes, acks: i16) -> AppendAnswer {
        let node = self.node(leader);
        node.replicas
            .append(topic, 0, records, acks, Origin::Client, NOW_MS)
            .await
    }

    /// Appends with acks=all and waits: the code that a producer is told.
    pub async fn produce(&self, leader: i32, topic: &str, records: &Bytes) -> ErrorCode {
        let mut answer = self.append(leader, topic, records, -1).await;
        match answer.pending.take() {
            None => answer.error,
            Some(pending) => {
                let waiting = self
                    .node(leader)
                    .replicas
                    .wait_for_replication(vec![pending], PATIENCE);
                waiting.finish().await.remove(0)
            }
        }
    }

    pub fn with_log<T>(&self, id: i32, topic: &str, look: impl FnOnce(&Log) -> T) -> T {
        let partition = self.node(id).replicas.partition(topic, 0).expect("hosted");
        let state = partition.lock_blocking();
        look(&state.log)
    }

    pub fn log_end(&self, id: i32, topic: &str) -> i64 {
        self.with_log(id, topic, |log| log.log_end_offset().get())
    }

    pub fn log_start(&self, id: i32, topic: &str) -> i64 {
        self.with_log(id, topic, |log| log.log_start_offset().get())
    }

    pub fn high_watermark(&self, id: i32, topic: &str) -> i64 {
        self.with_log(id, topic, |log| log.high_watermark().get())
    }

    /// The bytes of a log, from its start, and the epochs of its records.
    pub fn contents(&self, id: i32, topic: &str) -> (Vec<u8>, Vec<(i32, i64)>) {
        self.with_log(id, topic, |log| {
            let end = log.log_end_offset();
            let epochs = log.leader_epochs().entries().iter();
            let epochs = epochs.filter(|entry| entry.start_offset < end);
            let epochs = epochs.map(|entry| (entry.epoch.get(), entry.start_offset.get()));
            let mut bytes = Vec::new();
            let mut bases: Vec<Offset> = log.base_offsets().collect();
            bases.retain(|base| *base < log.log_end_offset());
            for base in bases {
                let read = log.read(&log::ReadRequest {
                    start_offset: base.max(log.log_start_offset()),
                    max_bytes: u32::MAX,
                    min_one_batch: true,
                    bound: log::Bound::LogEnd,
                });
                bytes.extend(read.unwrap().records.unwrap().read().unwrap());
            }
            (bytes, epochs.collect())
        })
    }

    /// Waits until all these brokers have the same log as the first one, and the high watermark is its end.
    pub async fn converged(&self, ids: &[i32], topic: &str) {
        let same = || {
            let first = self.contents(ids[0], topic);
            let end = self.log_end(ids[0], topic);
            ids.iter()
                .all(|id| self.contents(*id, topic) == first && self.high_watermark(*id, topic) == end)
        };
        let told = || {
            let of = |id: &i32| {
                (
                    self.log_end(*id, topic),
                    self.high_watermark(*id, topic),
                    self.contents(*id, topic).1,
                )
            };
            format!("{:?}", ids.iter().map(of).collect::<Vec<_>>())
        };
        eventually(same, told).await;
    }
}

/// Waits until something is so.
pub async fn eventually(is_so: impl Fn() -> bool, what: impl Fn() -> String) {
    let begun = clock::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "did not come: {}", what());
        clock::sleep(Duration::from_millis(5)).await;
    }
}

pub fn sender(broker_epoch: BrokerEpoch) -> Sender {
    Sender {
        controller: BrokerId(99),
        controller_epoch: ControllerEpoch(1),
        broker_epoch,
    }
}

fn image_of(node: &Node) -> BrokerImage {
    BrokerImage {
        id: node.id,
        epoch: node.epoch,
        endpoints: vec![Endpoint {
            listener: "PLAINTEXT".into(),
            security_protocol: "PLAINTEXT".into(),
            host: "memory".into(),
            port: node.id.get(),
        }],
        rack: Some(format!("rack-{}", node.id).into()),
    }
}

/// The connections of one broker.
#[derive(Clone)]
struct Wires {
    cluster: TestCluster,
    from: i32,
}

impl Leaders for Wires {
    fn connect(&self, to: &Address, client_id: &str) -> Box<dyn LeaderConnection> {
        assert_eq!(to.port, to.broker.get());
        self.cluster.world().clients.insert(client_id.to_owned());
        Box::new(Wire {
            wires: self.clone(),
            to: to.port,
        })
    }
}

struct Wire {
    wires: Wires,
    to: i32,
}

impl Wire {
    fn reach(&self) -> Result<Arc<Node>, NoAnswer> {
        let world = self.wires.cluster.world();
        let cut = world.cut.contains(&(self.wires.from, self.to));
        let node = world.nodes.get(&self.to).filter(|_| !cut);
        node.map(Arc::clone)
            .ok_or_else(|| NoAnswer("unreachable".to_owned()))
    }
}

/// What is left of a message on its way.
fn over_the_wire<M: Message>(message: &M, version: i16) -> M {
    let mut writer = Writer::new();
    message.encode(&mut writer, version);
    M::decode(&mut Reader::new(writer.into_buffer().freeze()), version).unwrap()
}

impl LeaderConnection for Wire {
    fn fetch<'a>(&'a mut self, version: i16, request: &'a FetchRequest) -> Answering<'a, FetchResponse> {
        Box::pin(async move {
            let request = over_the_wire(request, version);
            let node = self.reach()?;
            let count = request.topics.iter().map(|topic| topic.partitions.len()).sum();
            self.wires.cluster.fetched(version, &request, count);
            let response = answer_fetch(&node, version, request).await;
            // Cut or killed meanwhile: nobody answers.
            let now = self.reach()?;
            if now.epoch != node.epoch {
                return Err(NoAnswer("restarted".to_owned()));
            }
            Ok(over_the_wire(&response, version))
        })
    }

    fn list_offsets<'a>(
        &'a mut self,
        version: i16,
        request: &'a ListOffsetsRequest,
    ) -> Answering<'a, ListOffsetsResponse> {
        Box::pin(async move {
            let request = over_the_wire(request, version);
            let node = self.reach()?;
            let mut topics = Vec::new();
            for topic in request.topics {
                let mut partitions = Vec::new();
                for partition in topic.partitions {
                    let query = OffsetQuery {
                        timestamp_ms: partition.timestamp,
                        bound: Bound::LogEnd,
                        is_client: false,
                        current_leader_epoch: partition.current_leader_epoch,
                        leader_only: true,
                    };
                    let index = partition.partition_index;
                    let found = node.replicas.find_offset(&topic.name, index, query).await;
                    partitions.push(ListOffsetsPartitionResponse {
                        partition_index: index,
                        error_code: found.err().unwrap_or(ErrorCode::None).code(),
                        offset: found.map_or(-1, |found| found.offset),
                        ..ListOffsetsPartitionResponse::default()
                    });
                }
                topics.push(ListOffsetsTopicResponse {
                    name: topic.name,
                    partitions,
                });
            }
            let response = ListOffsetsResponse {
                topics,
                ..ListOffsetsResponse::default()
            };
            Ok(over_the_wire(&response, version))
        })
    }

    fn close(&mut self) {}
}

/// A leader's answer, as its handler of Fetch gives it.
async fn answer_fetch(node: &Node, version: i16, request: FetchRequest) -> FetchResponse {
    let image = node.cluster.get();
    let by_id = version >= 13;
    let follower = if version >= 15 {
        request.replica_state.replica_id
    } else {
        request.replica_id
    };
    let mut wanted = Vec::new();
    for topic in &request.topics {
        let name = match image.topic_by_id(topic.topic_id) {
            Some(known) if by_id => Some(TopicName::clone(&known.name)),
            _ if by_id => None,
            _ => Some(TopicName::from(topic.topic.as_str())),
        };
        wanted.extend(topic.partitions.iter().map(|partition| FetchPartition {
            topic: name.clone(),
            topic_id: topic.topic_id,
            partition: partition.partition,
            fetch_offset: partition.fetch_offset,
            log_start_offset: partition.log_start_offset,
            max_bytes: partition.partition_max_bytes,
            current_leader_epoch: partition.current_leader_epoch,
            last_fetched_epoch: partition.last_fetched_epoch,
        }));
    }
    let mut forgotten = Vec::new();
    for topic in &request.forgotten_topics_data {
        let key = if by_id {
            SessionTopic::Id(topic.topic_id)
        } else {
            SessionTopic::Name(TopicName::from(topic.topic.as_str()))
        };
        forgotten.extend(topic.partitions.iter().map(|partition| (key.clone(), *partition)));
    }
    let session = SessionRequest {
        session_id: request.session_id,
        epoch: request.session_epoch,
        uses_topic_ids: by_id,
        is_follower: true,
    };
    let name_of = |id: &Uuid| image.topic_by_id(*id).map(|topic| TopicName::clone(&topic.name));
    let (context, partitions) = node.sessions.begin(session, wanted, &forgotten, name_of, NOW_MS);
    let parameters = FetchParameters {
        follower: Some(BrokerId(follower)),
        follower_epoch: BrokerEpoch(request.replica_state.replica_epoch),
        max_wait_ms: request.max_wait_ms,
        min_bytes: request.min_bytes,
        max_bytes: request.max_bytes,
        hard_max_bytes: false,
        bound: Bound::LogEnd,
        leader_only: true,
        place: None,
    };
    let partitions: Arc<[FetchPartition]> = partitions.into();
    let answers = match node
        .replicas
        .fetch(parameters, Arc::clone(&partitions), Vec::new())
    {
        Fetch::Ready(answers) => answers,
        Fetch::Parked(parked) => parked.finish().await,
    };
    let mut left_out = BTreeSet::new();
    let answer = node.sessions.finish(
        &context,
        &partitions,
        |index| {
            let answer = &answers[index];
            AnswerSummary {
                records_size: answer.records_size(),
                high_watermark: answer.high_watermark,
                log_start_offset: answer.log_start_offset,
                must_respond: answer.is_news(),
                is_error: !answer.error.is_none(),
            }
        },
        |index| {
            left_out.insert(index);
        },
        NOW_MS,
    );
    let mut response = FetchResponse {
        error_code: answer.error.code(),
        session_id: answer.session_id,
        ..FetchResponse::default()
    };
    for (index, (wanted, answer)) in partitions.iter().zip(answers).enumerate() {
        if left_out.contains(&index) {
            continue;
        }
        let diverging = answer.diverging_epoch.map(|one| EpochEndOffset {
            epoch: one.epoch,
            end_offset: one.end_offset,
        });
        response.responses.push(FetchableTopicResponse {
            topic: wanted.topic.as_deref().map(Text::copy).unwrap_or_default(),
            topic_id: wanted.topic_id,
            partitions: vec![PartitionData {
                partition_index: wanted.partition,
                error_code: answer.error.code(),
                high_watermark: answer.high_watermark,
                log_start_offset: answer.log_start_offset,
                diverging_epoch: diverging.unwrap_or_default(),
                records: answer.records.map(|slice| slice.read().unwrap().into()),
                ..PartitionData::default()
            }],
        });
    }
    response
}

impl IsrChanger for Wires {
    fn alter<'a>(
        &'a self,
        proposals: Vec<IsrProposal>,
    ) -> Pin<Box<dyn Future<Output = IsrAnswers> + Send + 'a>> {
        Box::pin(async move {
            let fate = {
                let mut world = self.cluster.world();
                for proposal in &proposals {
                    let isr = proposal.isr().iter().map(|(id, _)| id.get()).collect();
                    world.asked.push(isr);
                }
                (!world.fates.is_empty()).then(|| world.fates.remove(0))
            };
            match fate {
                Some(Fate::Lost) => return Err(ErrorCode::NotController),
                Some(Fate::Refused(error)) => {
                    let all = proposals.into_iter();
                    return Ok(all.map(|one| (one.partition, Err(error))).collect());
                }
                Some(Fate::Held) => {
                    let mut held = self.cluster.held.subscribe();
                    let _ = held.wait_for(|go| *go).await;
                }
                Some(Fate::AnswerLost) | None => {}
            }
            let mut answers = Vec::new();
            for proposal in proposals {
                let answer = self.cluster.alter(self.from, &proposal);
                answers.push((proposal.partition, answer));
            }
            if fate == Some(Fate::AnswerLost) {
                return Err(ErrorCode::NetworkException);
            }
            Ok(answers)
        })
    }
}

impl TestCluster {
    /// As `KafkaController` takes a change of the ISR, with the epochs of brokers compared (KIP-903).
    fn alter(&self, leader: i32, proposal: &IsrProposal) -> Result<IsrState, ErrorCode> {
        let mut world = self.world();
        let epochs: BTreeMap<i32, BrokerEpoch> =
            world.nodes.iter().map(|(id, node)| (*id, node.epoch)).collect();
        let TopicPartition { topic, .. } = &proposal.partition;
        let state = world.partitions.get_mut(topic).ok_or(ErrorCode::UnknownTopicId)?;
        let isr: Vec<i32> = proposal.isr().iter().map(|(id, _)| id.get()).collect();
        let told = |state: &State| IsrState {
            leader_epoch: LeaderEpoch(state.leader_epoch),
            isr: state.isr.iter().copied().map(BrokerId).collect(),
            partition_epoch: state.partition_epoch,
        };
        if proposal.leader_epoch().get() < state.leader_epoch {
            return Err(ErrorCode::FencedLeaderEpoch);
        }
        assert_eq!(state.leader, Some(leader));
        if state.isr == isr {
            return Ok(told(state));
        }
        if proposal.partition_epoch() != state.partition_epoch {
            return Err(ErrorCode::InvalidUpdateVersion);
        }
        let is_eligible = |(id, epoch): &(BrokerId, BrokerEpoch)| {
            let known = epochs.get(&id.get());
            known.is_some_and(|known| epoch.get() < 0 || epoch == known)
        };
        if !proposal.isr().iter().all(is_eligible) {
            return Err(ErrorCode::IneligibleReplica);
        }
        assert!(
            isr.iter().all(|id| state.replicas.contains(id)),
            "no subset: {isr:?}"
        );
        state.isr = isr;
        state.partition_epoch += 1;
        Ok(told(state))
    }
}
