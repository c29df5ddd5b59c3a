//! A fetcher: fetches its partitions from one leader, one request after the other (Kafka: `AbstractFetcherThread`,
//! `RemoteLeaderEndPoint`).
//!
//! Invariant: what is done to a partition is done in the epoch of the decision that brought it here, and checked under its
//! lock. A request that waits at the leader is given up when a partition comes that it does not name: so a new leader is
//! fetched from at once, and not `replica.fetch.wait.max.ms` later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::base::clock::{self, Instant};
use crate::base::ids::{BrokerId, LeaderEpoch, Offset, TopicId, TopicName, TopicPartition};
use crate::base::planted::planted;
use crate::base::shutdown::Shutdown;
use crate::peer::Address;
use crate::replica::following::Position;
use crate::replica::partition::Partition;
use crate::replica::replicas::Replicas;
use crate::wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic, ReplicaState};
use crate::wire::text::Text;

use super::leader::{LeaderConnection, Leaders, NoAnswer};
use super::session::Session;
use super::{Assignment, Settings};

/// The version of Fetch with topic ids, and the one for topics that have none, as of `inter.broker.protocol.version` 3.9.
const FETCH_BY_ID: i16 = 17;
const FETCH_BY_NAME: i16 = 12;

/// How long a request goes on waiting at the leader after a new partition came, so that others of the same decision come
/// along; and the least time from one that was given up to the next.
const PATIENCE: Duration = Duration::from_millis(10);
const PATIENCE_BETWEEN: Duration = Duration::from_millis(200);

/// What others want of a fetcher; it takes it before its next request.
pub(super) struct Mailbox {
    orders: Mutex<Orders>,
    changed: Notify,
}

struct Orders {
    /// The partitions that come, and with `None` those that go.
    partitions: BTreeMap<TopicPartition, Option<Assignment>>,
    touched: BTreeSet<TopicPartition>,
    address: Address,
}

impl Mailbox {
    pub(super) fn new(address: Address) -> Self {
        Self {
            orders: Mutex::new(Orders {
                partitions: BTreeMap::new(),
                touched: BTreeSet::new(),
                address,
            }),
            changed: Notify::new(),
        }
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn follow(&self, partition: &TopicPartition, assignment: Assignment) {
        self.orders()
            .partitions
            .insert(partition.clone(), Some(assignment));
        self.changed.notify_one();
    }

    pub(super) fn leave(&self, partition: &TopicPartition) {
        self.orders().partitions.insert(partition.clone(), None);
        self.changed.notify_one();
    }

    /// Heard of with the next request: it does not hurry.
    pub(super) fn touch(&self, partition: &TopicPartition) {
        self.orders().touched.insert(partition.clone());
    }

    pub(super) fn is_at(&self, address: Address) {
        let mut orders = self.orders();
        if orders.address != address {
            orders.address = address;
            drop(orders);
            self.changed.notify_one();
        }
    }

    /// Waits until there is a partition that the request under way does not name, or the leader is elsewhere.
    async fn hurry(&self, address: &Address, patience: Duration) {
        loop {
            self.changed.notified().await;
            let urgent = {
                let orders = self.orders();
                orders.address != *address || orders.partitions.values().any(Option::is_some)
            };
            if urgent {
                clock::sleep(patience).await;
                return;
            }
        }
    }
}

/// What becomes of a partition next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// It is fetched.
    Fetching,
    /// It waits after an error; then it is looked at anew.
    Delayed(Instant),
    /// Its log is to be cut to the high watermark.
    Unknown,
    /// Its offset is not in the leader's log.
    OutOfRange,
    /// It is not asked for until the limit of throttled followers has room again.
    Throttled,
}

/// A partition of a fetcher.
pub(super) struct Followed {
    pub(super) partition: Arc<Partition>,
    pub(super) topic_id: TopicId,
    pub(super) epoch: LeaderEpoch,
    pub(super) offset: Offset,
    pub(super) last_epoch: Option<LeaderEpoch>,
    pub(super) log_start: Offset,
    /// How far it was behind the leader's high watermark when it last got records; `None` before the first answer.
    pub(super) lag: Option<i64>,
    /// How often in a row its leader answered as one that has not been told yet.
    pub(super) early: u32,
    pub(super) phase: Phase,
}

/// A fetcher.
pub(super) struct Task {
    mailbox: Arc<Mailbox>,
    pub(super) replicas: Arc<Replicas>,
    leaders: Arc<dyn Leaders>,
    pub(super) settings: Settings,
    pub(super) me: BrokerId,
    own_epoch: Arc<AtomicI64>,
    client_id: String,
    address: Address,
    pub(super) connection: Option<Box<dyn LeaderConnection>>,
    pub(super) session: Session,
    pub(super) partitions: BTreeMap<TopicPartition, Followed>,
    /// Those that are fetched.
    fetching: BTreeSet<TopicPartition>,
    /// Those of them that the next request has to name.
    changed: BTreeSet<TopicPartition>,
    delayed: BTreeSet<(Instant, TopicPartition)>,
    pub(super) out_of_range: BTreeSet<TopicPartition>,
    pub(super) unknown: BTreeSet<TopicPartition>,
    /// Those that are not known to have all up to the leader's high watermark, in whatever phase.
    pub(super) behind: BTreeSet<TopicPartition>,
    pub(super) throttled: BTreeSet<TopicPartition>,
    /// Topic ids in the session.
    pub(super) names: BTreeMap<TopicId, TopicName>,
    by_id: bool,
    /// Partitions whose topic has no id: while there are some, requests name topics by their names.
    without_id: usize,
    paused_until: Option<Instant>,
    given_up: Option<Instant>,
    /// Whole answers in a row that could not be used.
    pub(super) useless: u32,
}

impl Task {
    pub(super) fn new(
        mailbox: Arc<Mailbox>,
        replicas: Arc<Replicas>,
        leaders: Arc<dyn Leaders>,
        settings: Settings,
        (me, own_epoch): (BrokerId, Arc<AtomicI64>),
        client_id: String,
    ) -> Self {
        let address = mailbox.orders().address.clone();
        Self {
            mailbox,
            replicas,
            leaders,
            settings,
            me,
            own_epoch,
            client_id,
            address,
            connection: None,
            session: Session::default(),
            partitions: BTreeMap::new(),
            fetching: BTreeSet::new(),
            changed: BTreeSet::new(),
            delayed: BTreeSet::new(),
            out_of_range: BTreeSet::new(),
            unknown: BTreeSet::new(),
            behind: BTreeSet::new(),
            throttled: BTreeSet::new(),
            names: BTreeMap::new(),
            by_id: true,
            without_id: 0,
            paused_until: None,
            given_up: None,
            useless: 0,
        }
    }

    pub(super) async fn run(mut self, shutdown: &Shutdown) {
        loop {
            self.take_orders();
            self.wake_delayed(Instant::now());
            self.throttle(Instant::now());
            if !self.unknown.is_empty() {
                self.cut_unknown().await;
                continue;
            }
            let wait_until = self.paused_until.filter(|until| *until > Instant::now());
            if wait_until.is_none() && !self.out_of_range.is_empty() {
                tokio::select! {
                    biased;
                    () = shutdown.wait() => return,
                    () = self.resolve_out_of_range() => {}
                }
                continue;
            }
            if wait_until.is_some() || self.fetching.is_empty() {
                let delayed = self.delayed.first().map(|(at, _)| *at);
                let again = (!self.throttled.is_empty()).then(|| self.after_backoff());
                let next = wait_until.into_iter().chain(delayed).chain(again).min();
                if self.partitions.is_empty() {
                    self.connection = None;
                    self.session.broken();
                }
                tokio::select! {
                    biased;
                    () = shutdown.wait() => return,
                    () = self.mailbox.changed.notified() => {}
                    () = until(next) => {}
                }
                continue;
            }
            let request = self.request();
            tokio::select! {
                biased;
                () = shutdown.wait() => return,
                () = self.fetch(request) => {}
            }
        }
    }

    /// Sends a request and takes its answer.
    async fn fetch(&mut self, request: FetchRequest) {
        let version = if self.by_id { FETCH_BY_ID } else { FETCH_BY_NAME };
        let patience = self.patience();
        let timeout = self.settings.timeout;
        let mailbox = Arc::clone(&self.mailbox);
        let address = self.address.clone();
        let connection = self.connection();
        let answer = tokio::select! {
            biased;
            answer = clock::timeout(timeout, connection.fetch(version, &request)) => {
                Some(answer.unwrap_or_else(|| Err(NoAnswer("no answer in time".to_owned()))))
            }
            () = mailbox.hurry(&address, patience) => None,
        };
        match answer {
            Some(Ok(response)) => self.take(response).await,
            Some(Err(error)) => self.failed(&error),
            None => {
                connection.close();
                self.session.broken();
                self.given_up = Some(Instant::now());
            }
        }
    }

    fn patience(&self) -> Duration {
        let since = self.given_up.map_or(PATIENCE_BETWEEN, Instant::elapsed);
        PATIENCE.max(PATIENCE_BETWEEN.saturating_sub(since))
    }

    pub(super) fn connection(&mut self) -> &mut Box<dyn LeaderConnection> {
        let (leaders, address, client_id) = (&self.leaders, &self.address, &self.client_id);
        self.connection
            .get_or_insert_with(|| leaders.connect(address, client_id))
    }

    /// The leader cannot be reached or gives no answer: nothing is fetched from it for a while.
    pub(super) fn failed(&mut self, error: &NoAnswer) {
        tracing::info!(leader = %self.address, partitions = self.partitions.len(), "fetching failed: {error}");
        if let Some(connection) = &mut self.connection {
            connection.close();
        }
        self.session.broken();
        self.pause();
    }

    pub(super) fn pause(&mut self) {
        self.paused_until = Some(self.after_backoff());
    }

    fn after_backoff(&self) -> Instant {
        Instant::now().after(self.settings.backoff)
    }

    fn take_orders(&mut self) {
        let (partitions, touched, address) = {
            let mut orders = self.mailbox.orders();
            let partitions = std::mem::take(&mut orders.partitions);
            let touched = std::mem::take(&mut orders.touched);
            let moved = (orders.address != self.address).then(|| orders.address.clone());
            (partitions, touched, moved)
        };
        if let Some(address) = address {
            tracing::info!(from = %self.address, to = %address, "the leader is reached elsewhere");
            self.address = address;
            self.connection = None;
            self.session.broken();
            self.paused_until = None;
        }
        for (name, assignment) in partitions {
            planted!("cluster-same-leader", {
                if let (Some(followed), Some(assignment)) = (self.partitions.get_mut(&name), &assignment) {
                    followed.epoch = assignment.epoch;
                    self.look_again(&name);
                    self.changed.insert(name.clone());
                    continue;
                }
            });
            self.remove(&name);
            if let Some(assignment) = assignment {
                self.add(&name, assignment);
            }
        }
        for name in touched {
            self.look_again(&name);
        }
    }

    fn add(&mut self, name: &TopicPartition, assignment: Assignment) {
        let followed = Followed {
            partition: assignment.partition,
            topic_id: assignment.topic_id,
            epoch: assignment.epoch,
            offset: Offset::ZERO,
            last_epoch: None,
            log_start: Offset::ZERO,
            lag: None,
            early: 0,
            phase: Phase::Delayed(Instant::now()),
        };
        if followed.topic_id.is_zero() {
            self.without_id += 1;
        }
        tracing::info!(
            partition = %name,
            leader = %self.address,
            epoch = %followed.epoch,
            "following"
        );
        self.partitions.insert(name.clone(), followed);
        self.behind.insert(name.clone());
        self.look_again(name);
    }

    /// The partition is not fetched until the controller decides about it anew.
    pub(super) fn remove(&mut self, name: &TopicPartition) {
        self.unlist(name);
        self.behind.remove(name);
        if let Some(gone) = self.partitions.remove(name)
            && gone.topic_id.is_zero()
        {
            self.without_id -= 1;
        }
    }

    /// Takes the partition out of the lists of its phase.
    fn unlist(&mut self, name: &TopicPartition) {
        self.session.forget(name);
        self.fetching.remove(name);
        self.changed.remove(name);
        self.out_of_range.remove(name);
        self.unknown.remove(name);
        self.throttled.remove(name);
        if let Some(followed) = self.partitions.get(name)
            && let Phase::Delayed(at) = followed.phase
        {
            self.delayed.remove(&(at, name.clone()));
        }
    }

    pub(super) fn set_phase(&mut self, name: &TopicPartition, phase: Phase) {
        if phase != Phase::Fetching {
            self.unlist(name);
        }
        let Some(followed) = self.partitions.get_mut(name) else {
            return;
        };
        let before = std::mem::replace(&mut followed.phase, phase);
        if let Phase::Delayed(at) = before {
            self.delayed.remove(&(at, name.clone()));
        }
        match phase {
            Phase::Fetching => {
                self.out_of_range.remove(name);
                self.unknown.remove(name);
                self.throttled.remove(name);
                self.fetching.insert(name.clone());
                self.changed.insert(name.clone());
            }
            Phase::Delayed(at) => {
                self.delayed.insert((at, name.clone()));
            }
            Phase::Unknown => {
                self.unknown.insert(name.clone());
            }
            Phase::OutOfRange => {
                self.out_of_range.insert(name.clone());
            }
            Phase::Throttled => {
                self.throttled.insert(name.clone());
            }
        }
    }

    /// The partition waits for `replica.fetch.backoff.ms`.
    pub(super) fn delay(&mut self, name: &TopicPartition) {
        self.set_phase(name, Phase::Delayed(self.after_backoff()));
    }

    fn wake_delayed(&mut self, now: Instant) {
        while let Some((at, name)) = self.delayed.first().cloned() {
            if at > now {
                return;
            }
            self.delayed.remove(&(at, name.clone()));
            self.look_again(&name);
        }
    }

    /// Looks where the partition's log stands, and has it fetched from there.
    pub(super) fn look_again(&mut self, name: &TopicPartition) {
        let Some(followed) = self.partitions.get(name) else {
            return;
        };
        match followed.partition.position(followed.epoch) {
            // What is not known to be replicated may not be the leader's, and no epoch tells.
            Ok(position)
                if planted!("cluster-cut-to-watermark", true, position.last_epoch.is_none())
                    && position.high_watermark < position.log_end =>
            {
                self.set_phase(name, Phase::Unknown);
            }
            Ok(position) => self.fetch_from(name, &position),
            Err(error) => self.gave_up(name, &error),
        }
    }

    /// The partition is fetched from its log's end.
    pub(super) fn fetch_from(&mut self, name: &TopicPartition, position: &Position) {
        if let Some(followed) = self.partitions.get_mut(name) {
            let before = (followed.offset, followed.last_epoch, followed.log_start);
            let now = (position.log_end, position.last_epoch, position.log_start);
            if followed.phase == Phase::Fetching && before == now {
                return;
            }
            (followed.offset, followed.last_epoch, followed.log_start) = now;
            self.set_phase(name, Phase::Fetching);
        }
    }

    fn request(&mut self) -> FetchRequest {
        let by_id = self.without_id == 0;
        if by_id != self.by_id {
            self.by_id = by_id;
            self.session.broken();
        }
        if self.session.is_full() {
            let partitions = &self.partitions;
            let id_of = |name: &TopicPartition| partitions.get(name).map(|one| one.topic_id);
            let all = self.fetching.iter();
            self.session
                .begin_full(all.filter_map(|name| Some((name.clone(), id_of(name)?))));
            self.changed = self.fetching.clone();
            self.names.clear();
        }
        let (session_id, session_epoch) = self.session.id_and_epoch();
        let mut topics = Vec::new();
        for name in std::mem::take(&mut self.changed) {
            let Some(followed) = self.partitions.get(&name) else {
                continue;
            };
            self.session.name(&name, followed.topic_id);
            self.names
                .entry(followed.topic_id)
                .or_insert_with(|| TopicName::clone(&name.topic));
            self.add_to(&mut topics, &name, followed);
        }
        FetchRequest {
            replica_id: if by_id { -1 } else { self.me.get() },
            replica_state: ReplicaState {
                replica_id: if by_id { self.me.get() } else { -1 },
                replica_epoch: if by_id {
                    self.own_epoch.load(Ordering::Acquire)
                } else {
                    -1
                },
            },
            max_wait_ms: self.settings.wait_max_ms,
            min_bytes: self.settings.min_bytes,
            max_bytes: self.settings.response_max_bytes,
            session_id,
            session_epoch,
            topics,
            forgotten_topics_data: forgotten(self.session.take_forgotten()),
            ..FetchRequest::default()
        }
    }

    fn add_to(&self, topics: &mut Vec<FetchTopic>, name: &TopicPartition, followed: &Followed) {
        let same = |last: &FetchTopic| *last.topic == *name.topic && last.topic_id == followed.topic_id;
        if !topics.last().is_some_and(same) {
            topics.push(FetchTopic {
                topic: Text::copy(&name.topic),
                topic_id: followed.topic_id,
                partitions: Vec::new(),
            });
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(FetchPartition {
                partition: name.partition,
                current_leader_epoch: followed.epoch.get(),
                fetch_offset: followed.offset.get(),
                last_fetched_epoch: planted!(
                    "cluster-same-leader",
                    if followed.lag.is_some() {
                        -1
                    } else {
                        followed.last_epoch.map_or(-1, LeaderEpoch::get)
                    },
                    followed.last_epoch.map_or(-1, LeaderEpoch::get)
                ),
                log_start_offset: followed.log_start.get(),
                partition_max_bytes: self.settings.partition_max_bytes,
                ..FetchPartition::default()
            });
        }
    }
}

fn forgotten(partitions: BTreeMap<TopicPartition, TopicId>) -> Vec<ForgottenTopic> {
    let mut topics: Vec<ForgottenTopic> = Vec::new();
    for (name, id) in partitions {
        let same = |last: &ForgottenTopic| *last.topic == *name.topic && last.topic_id == id;
        if !topics.last().is_some_and(same) {
            topics.push(ForgottenTopic {
                topic: Text::copy(&name.topic),
                topic_id: id,
                partitions: Vec::new(),
            });
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(name.partition);
        }
    }
    topics
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => clock::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
