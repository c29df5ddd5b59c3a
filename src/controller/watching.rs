//! What a controller watches in the store, as events of its queue: brokers that come and go, topics that somebody else
//! makes or grows, notifications, and the end of its own reign (Kafka: the handlers that
//! `KafkaController.onControllerFailover` registers).
//!
//! Invariant: a path is watched again before its event is sent, and the event only says where to look: whoever handles it
//! reads what is there then, so no change is missed. Belongs to one reign and ends with it.

use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::mpsc;

use super::events::Event;
use super::reign::Reign;
use crate::base::clock;
use crate::base::ids::{ControllerEpoch, TopicName};
use crate::base::task;
use crate::metadata::Cluster;
use crate::store::znodes::paths;
use crate::store::{ChangeKind, Store, StoreError, WatchEvent, Watcher, WatcherSet};

/// How long to wait before a path is watched again after the store did not answer.
const RETRY: Duration = Duration::from_millis(500);

/// How many topics' nodes are asked for together.
const TOGETHER: usize = 256;

/// How long after the election leaders' places are looked at first (Kafka: the same).
const FIRST_BALANCE: Duration = Duration::from_secs(5);

/// Where something changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// `/controller`.
    Controller,
    /// The registered brokers, or the data of one.
    Brokers,
    /// The topics' names.
    Topics,
    /// Topics that somebody wants deleted.
    Deletions,
    /// States that leaders wrote themselves, as before IBP 2.7.
    IsrChanges,
    /// Log directories of brokers that failed.
    LogDirs,
    /// Configs.
    Configs,
    /// The node by which tools up to 2.3 reassign.
    OldReassignments,
    /// The node by which tools up to 2.3 ask for preferred leaders.
    OldElections,
    /// Where logs end, of which a broker could not say it: nothing in the store, but due again.
    LogEnds,
    /// New partitions whose folders were not there: nothing in the store, but due again.
    Late,
    /// Whether leaders are where they should be: nothing in the store, but due from time to time.
    Imbalance,
}

/// What is watched of a node.
#[derive(Clone, Copy)]
enum Part {
    /// Its data, or that it comes.
    Data,
    /// Which children it has.
    Children,
    /// Which children it has, and their data.
    ChildrenAndTheirData,
}

const WATCHED: &[(Look, &str, Part)] = &[
    (Look::Controller, paths::CONTROLLER, Part::Data),
    (Look::Brokers, paths::BROKER_IDS, Part::ChildrenAndTheirData),
    (Look::Topics, paths::TOPICS, Part::Children),
    (Look::Deletions, paths::DELETE_TOPICS, Part::Children),
    (Look::IsrChanges, paths::ISR_CHANGE_NOTIFICATIONS, Part::Children),
    (Look::LogDirs, paths::LOG_DIR_EVENT_NOTIFICATIONS, Part::Children),
    (Look::Configs, paths::CONFIG_CHANGES, Part::Children),
    (Look::OldReassignments, paths::REASSIGN_PARTITIONS, Part::Data),
    (Look::OldElections, paths::PREFERRED_REPLICA_ELECTION, Part::Data),
];

/// A topic whose node is to be watched, and the version of the node that is known, if one is.
type ToWatch = (TopicName, Option<i32>);

/// The watches of a reign.
pub(super) struct Watching {
    tasks: Vec<tokio::task::JoinHandle<()>>,
    /// At most one for each topic that the controller has read or made.
    topics: mpsc::UnboundedSender<ToWatch>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Watching {
    /// Begins to watch, and to look at the leaders' places as often as `cluster` says.
    pub(super) fn start(reign: &Reign, events: &mpsc::Sender<Event>, cluster: &Cluster) -> Self {
        let tasks = WATCHED.iter().map(|(look, path, part)| {
            let watch = watch(
                Arc::clone(&reign.store),
                (*look, path, *part),
                reign.epoch,
                events.clone(),
            );
            task::spawn(watch)
        });
        let imbalance = task::spawn(remind(cluster.clone(), reign.epoch, events.clone()));
        let (topics, to_watch) = mpsc::unbounded_channel();
        let of_topics = watch_topics(Arc::clone(&reign.store), to_watch, reign.epoch, events.clone());
        Self {
            tasks: tasks.chain([imbalance, task::spawn(of_topics)]).collect(),
            topics,
        }
    }

    /// Watches a topic's own node too, until it is deleted; `version` is the one that is known of it.
    pub(super) fn topic(&self, name: &TopicName, version: i32) {
        // Without its task the reign is over.
        let _ = self.topics.send((Arc::clone(name), Some(version)));
    }
}

/// Watches the nodes of topics, all of them in this one task: somebody may add partitions there.
async fn watch_topics(
    store: Arc<dyn Store>,
    mut more: mpsc::UnboundedReceiver<ToWatch>,
    reign: ControllerEpoch,
    events: mpsc::Sender<Event>,
) {
    let mut watched = WatcherSet::default();
    let mut names: Vec<ToWatch> = Vec::new();
    loop {
        if names.is_empty() {
            tokio::select! {
                biased;
                count = more.recv_many(&mut names, TOGETHER) => if count == 0 { return },
                (name, event) = watched.changed() => match event {
                    // Made again, it is given to be watched again.
                    WatchEvent::Changed(ChangeKind::Deleted) => {}
                    WatchEvent::Changed(_) => names.push((name, None)),
                    // The watch of the controller's node says so.
                    WatchEvent::SessionOver => return,
                },
            }
        }
        let asked: Vec<_> = names
            .iter()
            .map(|(name, _)| store.get_and_watch(&paths::topic(name)))
            .collect();
        let mut failed = None;
        for ((name, version), asked) in std::mem::take(&mut names).into_iter().zip(asked) {
            match asked.await {
                Ok((Some(node), watcher)) => {
                    watched.insert(Arc::clone(&name), watcher);
                    let topic = name;
                    let is_news = version != Some(node.stat.version);
                    if is_news && events.send(Event::TopicChanged { topic, reign }).await.is_err() {
                        return;
                    }
                }
                Ok((None, _)) => {}
                Err(error) => {
                    failed = Some(error);
                    names.push((name, version));
                }
            }
        }
        if let Some(error) = failed {
            tracing::warn!("topics cannot be watched, {} of them: {error}", names.len());
            clock::sleep(RETRY).await;
        }
    }
}

/// Reminds of the leaders' places.
async fn remind(cluster: Cluster, reign: ControllerEpoch, events: mpsc::Sender<Event>) {
    clock::sleep(FIRST_BALANCE).await;
    loop {
        let look = Look::Imbalance;
        if events.send(Event::Look { look, reign }).await.is_err() {
            return;
        }
        let seconds = cluster
            .get()
            .broker_config
            .leader_imbalance_check_interval_seconds;
        clock::sleep(Duration::from_secs(u64::try_from(seconds).unwrap_or(1).max(1))).await;
    }
}

async fn watch(
    store: Arc<dyn Store>,
    (look, path, part): (Look, &'static str, Part),
    reign: ControllerEpoch,
    events: mpsc::Sender<Event>,
) {
    loop {
        match watchers(&store, path, part).await {
            Ok(watchers) => {
                if events.send(Event::Look { look, reign }).await.is_err() {
                    return;
                }
                if first(watchers).await == WatchEvent::SessionOver {
                    // So is the reign, as its next write will find.
                    let _ = events
                        .send(Event::Look {
                            look: Look::Controller,
                            reign,
                        })
                        .await;
                    return;
                }
            }
            Err(error) => {
                tracing::warn!("{path} cannot be watched: {error}");
                clock::sleep(RETRY).await;
            }
        }
    }
}

/// Watches what is wanted of a node; one that should have children and is missing is waited for.
async fn watchers(store: &Arc<dyn Store>, path: &str, part: Part) -> Result<Vec<Watcher>, StoreError> {
    if matches!(part, Part::Data) {
        return Ok(vec![store.get_and_watch(path).await?.1]);
    }
    let Some((children, watcher)) = store.children_and_watch(path).await? else {
        return Ok(vec![store.get_and_watch(path).await?.1]);
    };
    let mut watchers = vec![watcher];
    if matches!(part, Part::ChildrenAndTheirData) {
        for child in children {
            watchers.push(store.get_and_watch(&format!("{path}/{child}")).await?.1);
        }
    }
    Ok(watchers)
}

/// The first change of all that are watched.
async fn first(watchers: Vec<Watcher>) -> WatchEvent {
    let mut waiting: Vec<_> = watchers
        .into_iter()
        .map(|watcher| Box::pin(watcher.changed()))
        .collect();
    std::future::poll_fn(move |context| {
        let mut changes = waiting.iter_mut().map(|one| one.as_mut().poll(context));
        changes.find(Poll::is_ready).unwrap_or(Poll::Pending)
    })
    .await
}
