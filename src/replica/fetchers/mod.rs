//! Followers' fetchers: who fetches which partition from which leader (Kafka: `AbstractFetcherManager`,
//! `ReplicaFetcherManager`).
//!
//! A fetcher is a task with one connection to one leader; there are `num.replica.fetchers` of them a leader at most, and a
//! partition is always with the one of its number. Each has a second one beside it for partitions that are far behind
//! (`lanes`). Invariant: a partition that this broker follows is with one fetcher at most, that of the newest decision;
//! when its leader is not known to be alive it waits for an image that knows it. An idle partition costs its fetcher
//! nothing but memory.

mod early;
mod followed;
mod lanes;
mod leader;
mod mailbox;
mod request;
mod session;
mod take;
mod task;
mod throttled;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::base::ids::{BrokerEpoch, BrokerId, LeaderEpoch, TopicId, TopicPartition};
use crate::base::shutdown::Shutdown;
use crate::base::task as tasks;
use crate::config::BrokerConfig;
use crate::metadata::{Cluster, ClusterImage};
use crate::peer::Address;

use super::isr::IsrChanger;
use super::partition::Partition;
use super::replicas::Replicas;

pub use lanes::FetcherThreads;
pub use leader::{Answering, LeaderConnection, Leaders, NoAnswer};

use lanes::FetcherId;
use mailbox::Mailbox;
use task::Task;

/// A partition that is to be followed, by one decision of the controller.
#[derive(Clone)]
struct Assignment {
    partition: Arc<Partition>,
    topic_id: TopicId,
    leader: BrokerId,
    epoch: LeaderEpoch,
    /// How far it is behind its leader, where another fetcher has heard that in this epoch.
    lag: Option<i64>,
}

/// What the configuration says of fetchers; it does not change while the broker runs.
#[derive(Clone, Debug)]
struct Settings {
    wait_max_ms: i32,
    min_bytes: i32,
    partition_max_bytes: i32,
    response_max_bytes: i32,
    backoff: Duration,
    timeout: Duration,
}

impl Settings {
    fn of(config: &BrokerConfig) -> Self {
        let duration = |milliseconds: i32| Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
        Self {
            wait_max_ms: config.replica_fetch_wait_max_ms,
            min_bytes: config.replica_fetch_min_bytes,
            partition_max_bytes: config.replica_fetch_max_bytes,
            response_max_bytes: config.replica_fetch_response_max_bytes,
            // Not at all would be a storm.
            backoff: duration(config.replica_fetch_backoff_ms).max(Duration::from_millis(1)),
            timeout: duration(config.replica_socket_timeout_ms).max(Duration::from_millis(1)),
        }
    }
}

/// What running fetchers need.
struct Started {
    replicas: Arc<Replicas>,
    leaders: Arc<dyn Leaders>,
    threads: FetcherThreads,
    shutdown: Shutdown,
}

#[derive(Default)]
struct Inner {
    started: Option<Started>,
    /// All partitions that this broker follows.
    followed: BTreeMap<TopicPartition, Assignment>,
    /// With which fetcher each one is.
    places: BTreeMap<TopicPartition, FetcherId>,
    /// Those that are far behind.
    catching_up: BTreeSet<TopicPartition>,
    /// Those whose leader is not known to be alive.
    waiting: BTreeSet<TopicPartition>,
    fetchers: BTreeMap<FetcherId, Arc<Mailbox>>,
    /// Those that are to be started.
    made: Vec<(FetcherId, Task)>,
    per_leader: i32,
}

/// The fetchers of a broker.
pub struct Fetchers {
    me: BrokerId,
    cluster: Cluster,
    own_epoch: Arc<AtomicI64>,
    inner: Mutex<Inner>,
    /// Something came into `made`.
    makes: Notify,
}

impl Replicas {
    /// Starts replication: fetchers for what this broker follows, and for what it leads the changes of the ISR. To be called
    /// once; decisions of the controller may come before and after. Tasks that touch logs run on `threads` (on the current
    /// runtime if there are none), those that do not on the current runtime; all end with `shutdown`.
    pub fn start_replication(
        self: &Arc<Self>,
        shutdown: &Shutdown,
        threads: FetcherThreads,
        leaders: Arc<dyn Leaders>,
        changer: Arc<dyn IsrChanger>,
    ) {
        self.start_isr(shutdown, changer);
        self.fetchers.start(Started {
            replicas: Arc::clone(self),
            leaders,
            threads,
            shutdown: shutdown.clone(),
        });
        let (replicas, shutdown) = (Arc::clone(self), shutdown.clone());
        tasks::spawn(async move { replicas.fetchers.watch(&shutdown).await });
    }
}

impl Fetchers {
    /// No fetchers yet.
    pub(super) fn new(me: BrokerId, cluster: Cluster) -> Self {
        let per_leader = cluster.get().broker_config.num_replica_fetchers.max(1);
        Self {
            me,
            cluster,
            own_epoch: Arc::new(AtomicI64::new(-1)),
            inner: Mutex::new(Inner {
                per_leader,
                ..Inner::default()
            }),
            makes: Notify::new(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under which epoch this broker is registered: told to the leaders.
    pub(super) fn registered(&self, epoch: BrokerEpoch) {
        self.own_epoch.store(epoch.get(), Ordering::Release);
    }

    fn start(&self, started: Started) {
        let mut inner = self.inner();
        inner.started = Some(started);
        self.place_waiting(&mut inner);
    }

    /// This broker follows `leader` from now on, as decided in `epoch`.
    pub(super) fn follow(
        &self,
        partition: &Arc<Partition>,
        topic_id: TopicId,
        leader: BrokerId,
        epoch: LeaderEpoch,
    ) {
        let name = partition.name();
        let mut inner = self.inner();
        let known = inner.followed.get(name);
        if known.is_some_and(|known| known.epoch > epoch && Arc::ptr_eq(&known.partition, partition)) {
            return;
        }
        let assignment = Assignment {
            partition: Arc::clone(partition),
            topic_id,
            leader,
            epoch,
            lag: None,
        };
        inner.followed.insert(name.clone(), assignment);
        self.place(&mut inner, name, &self.cluster.get(), None);
    }

    /// This broker does not follow the partition any more.
    pub(super) fn leave(&self, partition: &TopicPartition) {
        let mut inner = self.inner();
        inner.followed.remove(partition);
        inner.catching_up.remove(partition);
        inner.displace(partition, None);
    }

    /// Something of the partition changed that its leader is told: its log start.
    pub(super) fn touch(&self, partition: &TopicPartition) {
        let inner = self.inner();
        let fetcher = inner
            .places
            .get(partition)
            .and_then(|place| inner.fetchers.get(place));
        if let Some(fetcher) = fetcher {
            fetcher.touch(partition);
        }
    }

    /// How many partitions wait for their leader.
    pub fn waiting(&self) -> usize {
        self.inner().waiting.len()
    }

    /// `num.replica.fetchers` may have changed.
    pub(super) fn config_changed(&self) {
        let image = self.cluster.get();
        let per_leader = image.broker_config.num_replica_fetchers.max(1);
        let mut inner = self.inner();
        if inner.per_leader == per_leader {
            return;
        }
        inner.per_leader = per_leader;
        let all: Vec<_> = inner.followed.keys().cloned().collect();
        for partition in &all {
            self.place(&mut inner, partition, &image, None);
        }
    }

    /// Gives a partition to its fetcher, or has it wait. Its `lag` is that of [`Assignment`].
    fn place(&self, inner: &mut Inner, partition: &TopicPartition, image: &ClusterImage, lag: Option<i64>) {
        let Some(assignment) = inner.followed.get(partition).cloned() else {
            return;
        };
        let address = address_of(image, assignment.leader).filter(|_| inner.started.is_some());
        let Some(address) = address else {
            inner.displace(partition, None);
            inner.waiting.insert(partition.clone());
            return;
        };
        let id = FetcherId {
            leader: assignment.leader,
            number: fetcher_number(partition, inner.per_leader),
            lane: inner.lane_of(partition),
        };
        inner.displace(partition, Some(id));
        inner.places.insert(partition.clone(), id);
        if let Some(fetcher) = self.fetcher(inner, id, address) {
            fetcher.follow(partition, Assignment { lag, ..assignment });
        }
    }

    /// The fetcher, which is made if there is none.
    fn fetcher(&self, inner: &mut Inner, id: FetcherId, address: Address) -> Option<Arc<Mailbox>> {
        if !inner.fetchers.contains_key(&id) {
            self.make(inner, id, address);
        }
        inner.fetchers.get(&id).cloned()
    }

    /// Makes a fetcher. Who asks for it may be on a thread without a runtime: others start it.
    fn make(&self, inner: &mut Inner, id: FetcherId, address: Address) {
        let Some(started) = &inner.started else {
            return;
        };
        let mailbox = Arc::new(Mailbox::new(address));
        let task = Task::new(
            Arc::clone(&mailbox),
            Arc::clone(&started.replicas),
            Arc::clone(&started.leaders),
            Settings::of(&self.cluster.get().broker_config),
            (self.me, Arc::clone(&self.own_epoch)),
            id,
        );
        inner.made.push((id, task));
        inner.fetchers.insert(id, mailbox);
        self.makes.notify_one();
    }

    /// Starts the fetchers that were made, on the current runtime or the workers.
    fn launch(&self) {
        let mut inner = self.inner();
        let made = std::mem::take(&mut inner.made);
        let Some(started) = &inner.started else {
            return;
        };
        for (id, task) in made {
            let shutdown = started.shutdown.clone();
            let run = async move { task.run(&shutdown).await };
            match started.threads.of(id) {
                Some(worker) => drop(worker.spawn(run)),
                None => drop(tasks::spawn(run)),
            }
        }
    }

    fn place_waiting(&self, inner: &mut Inner) {
        if inner.waiting.is_empty() {
            return;
        }
        let image = self.cluster.get();
        for partition in std::mem::take(&mut inner.waiting) {
            self.place(inner, &partition, &image, None);
        }
    }

    /// Starts fetchers; with each image, finds leaders that are known now, and leaders that are reached elsewhere now.
    async fn watch(&self, shutdown: &Shutdown) {
        let mut images = self.cluster.subscribe();
        loop {
            tokio::select! {
                biased;
                () = shutdown.wait() => return,
                () = self.makes.notified() => {
                    self.launch();
                    continue;
                }
                changed = images.changed() => if changed.is_err() { return },
            }
            let image = Arc::clone(&images.borrow_and_update());
            let mut inner = self.inner();
            self.place_waiting(&mut inner);
            for (id, fetcher) in &inner.fetchers {
                if let Some(address) = address_of(&image, id.leader) {
                    fetcher.is_at(address);
                }
            }
        }
    }
}

impl Inner {
    /// Takes a partition from where it is, unless that is `unless`.
    fn displace(&mut self, partition: &TopicPartition, unless: Option<FetcherId>) {
        self.waiting.remove(partition);
        if self.places.get(partition).copied() == unless {
            return;
        }
        if let Some(place) = self.places.remove(partition)
            && let Some(fetcher) = self.fetchers.get(&place)
        {
            fetcher.leave(partition);
        }
    }
}

/// Where a broker is reached by others, if it is alive.
fn address_of(image: &ClusterImage, broker: BrokerId) -> Option<Address> {
    let listener = image.broker_config.inter_broker_listener();
    let endpoint = image.brokers.get(&broker)?.endpoint(listener)?;
    Some(Address {
        broker,
        host: Arc::clone(&endpoint.host),
        port: endpoint.port,
    })
}

/// Which of a leader's fetchers has the partition (`AbstractFetcherManager.getFetcherId`, with Java's hash of strings).
fn fetcher_number(partition: &TopicPartition, fetchers: i32) -> i32 {
    let hash = partition.topic.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(unit.into())
    });
    let mixed = hash.wrapping_mul(31).wrapping_add(partition.partition);
    let positive = if mixed == i32::MIN { 0 } else { mixed.abs() };
    positive % fetchers.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_has_the_fetcher_that_kafka_gives_it() {
        for (topic, partition, fetchers, expected) in [
            // The hashes of these strings in Java: 116, 3556498, -1268729446, 0.
            ("t", 0, 4, 116 * 31 % 4),
            ("test", 3, 7, (3_556_498 * 31 + 3) % 7),
            ("__consumer_offsets", 5, 1, 0),
            ("", 9, 5, 4),
        ] {
            let name = TopicPartition::new(topic, partition);
            assert_eq!(fetcher_number(&name, fetchers), expected, "{topic}");
        }
        let spread: BTreeSet<_> = (0..8)
            .map(|partition| fetcher_number(&TopicPartition::new("orders", partition), 4))
            .collect();
        assert_eq!(spread, BTreeSet::from([0, 1, 2, 3]));
    }
}
