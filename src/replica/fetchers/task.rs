//! A fetcher: fetches its partitions from one leader, one request after the other (Kafka: `AbstractFetcherThread`,
//! `RemoteLeaderEndPoint`).
//!
//! Invariant: what is done to a partition is done in the epoch of the decision that brought it here, and checked under its
//! lock. A request that waits at the leader is given up when a partition comes that it does not name: so a new leader is
//! fetched from at once, and not `replica.fetch.wait.max.ms` later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use crate::base::clock::{self, Instant};
use crate::base::ids::{BrokerId, TopicId, TopicName, TopicPartition};
use crate::base::planted::planted;
use crate::base::shutdown::Shutdown;
use crate::peer::Address;
use crate::replica::replicas::Replicas;
use crate::wire::messages::fetch::FetchRequest;

use super::Settings;
use super::followed::Followed;
use super::lanes::FetcherId;
use super::leader::{LeaderConnection, Leaders, NoAnswer};
use super::mailbox::{Mailbox, News};
use super::session::Session;

/// The version of Fetch with topic ids, and the one for topics that have none, as of `inter.broker.protocol.version` 3.9.
const FETCH_BY_ID: i16 = 17;
const FETCH_BY_NAME: i16 = 12;

/// How long a request goes on waiting at the leader after a new partition came, so that others of the same decision come
/// along; and the least time from one that was given up to the next.
const PATIENCE: Duration = Duration::from_millis(10);
const PATIENCE_BETWEEN: Duration = Duration::from_millis(200);

/// A fetcher.
pub(super) struct Task {
    mailbox: Arc<Mailbox>,
    pub(super) replicas: Arc<Replicas>,
    leaders: Arc<dyn Leaders>,
    pub(super) settings: Settings,
    pub(super) me: BrokerId,
    pub(super) id: FetcherId,
    pub(super) own_epoch: Arc<AtomicI64>,
    client_id: String,
    pub(super) address: Address,
    pub(super) connection: Option<Box<dyn LeaderConnection>>,
    pub(super) session: Session,
    pub(super) partitions: BTreeMap<TopicPartition, Followed>,
    /// Those that are fetched.
    pub(super) fetching: BTreeSet<TopicPartition>,
    /// Those of them that the next request has to name.
    pub(super) changed: BTreeSet<TopicPartition>,
    pub(super) delayed: BTreeSet<(Instant, TopicPartition)>,
    pub(super) out_of_range: BTreeSet<TopicPartition>,
    pub(super) unknown: BTreeSet<TopicPartition>,
    /// Those that are not known to have all up to the leader's high watermark, in whatever phase.
    pub(super) behind: BTreeSet<TopicPartition>,
    pub(super) throttled: BTreeSet<TopicPartition>,
    /// Topic ids in the session.
    pub(super) names: BTreeMap<TopicId, TopicName>,
    pub(super) by_id: bool,
    /// Partitions whose topic has no id: while there are some, requests name topics by their names.
    pub(super) without_id: usize,
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
        id: FetcherId,
    ) -> Self {
        let address = mailbox.address();
        Self {
            mailbox,
            replicas,
            leaders,
            settings,
            me,
            own_epoch,
            client_id: id.client_id(me),
            id,
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
                    () = self.mailbox.changed() => {}
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

    pub(super) fn after_backoff(&self) -> Instant {
        Instant::now().after(self.settings.backoff)
    }

    fn take_orders(&mut self) {
        let News {
            partitions,
            offered,
            touched,
            moved_to,
        } = self.mailbox.take(&self.address);
        if let Some(address) = moved_to {
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
        for (name, epoch) in offered {
            if let Some(assignment) = self.replicas.fetchers.take_over(&name, self.id, epoch) {
                self.remove(&name);
                self.add(&name, assignment);
            }
        }
        for name in touched {
            self.look_again(&name);
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => clock::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
