//! What other brokers are told, by a task and a queue for each: in order, one request at a time, and no slow one holds up
//! another or the controller (Kafka: `ControllerChannelManager`, `RequestSendThread`). What waits: [`queue`](super::queue).
//!
//! Invariant: a channel belongs to one registration of its broker. What it still had to tell when that registration ended
//! is dropped; the next one begins with everything. Answers come back as events of the reign that asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::dropping::StopNumber;
use super::events::{Event, RETRY};
use super::link::{BrokerLink, Links};
use super::queue::Queue;
use super::watching::Look;
use crate::base::clock;
use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, TopicPartition};
use crate::base::task;
use crate::metadata::BrokerImage;
use crate::metadata::control::{ControlAnswer, LeaderAndIsr, LogEnds, StopReplica, UpdateMetadata};

/// What a broker is told.
pub(super) enum Request {
    LeaderAndIsr(LeaderAndIsr),
    StopReplica(StopNumber, StopReplica),
    UpdateMetadata(UpdateMetadata),
    /// Where its replicas of these end.
    LogEnds(AskedEnds),
}

/// Partitions, with the partition epochs of the states in which it is asked where their logs end.
pub(super) type AskedEnds = BTreeMap<TopicPartition, i32>;

/// What a broker answered to a request that names replicas.
pub(super) struct Answered {
    pub broker: BrokerId,
    pub broker_epoch: BrokerEpoch,
    pub controller_epoch: ControllerEpoch,
    pub answer: Answer,
}

/// By kind of request.
pub(super) enum Answer {
    LeaderAndIsr(ControlAnswer),
    /// To which one of them.
    StopReplica(StopNumber, ControlAnswer),
    /// With what was asked.
    LogEnds(AskedEnds, LogEnds),
}

struct Channel {
    broker_epoch: BrokerEpoch,
    queue: Arc<Queue>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The channels of a reign.
pub(super) struct Channels {
    links: Arc<dyn Links>,
    events: mpsc::Sender<Event>,
    controller_epoch: ControllerEpoch,
    open: BTreeMap<BrokerId, Channel>,
}

impl Channels {
    /// None open yet.
    pub(super) fn new(
        links: Arc<dyn Links>,
        events: mpsc::Sender<Event>,
        controller_epoch: ControllerEpoch,
    ) -> Self {
        Self {
            links,
            events,
            controller_epoch,
            open: BTreeMap::new(),
        }
    }

    /// Looks at something again, some time later.
    pub(super) fn look_later(&self, look: Look) {
        self.look_after(RETRY, look);
    }

    /// Looks at something again, after this time.
    pub(super) fn look_after(&self, pause: Duration, look: Look) {
        let (events, reign) = (self.events.clone(), self.controller_epoch);
        drop(task::spawn(async move {
            clock::sleep(pause).await;
            // Nobody may listen any more.
            let _ = events.send(Event::Look { look, reign }).await;
        }));
    }

    /// Opens the channel of this registration of a broker, in the place of an earlier one's.
    pub(super) fn open(&mut self, broker: &BrokerImage) {
        if let Some(channel) = self.open.get(&broker.id)
            && channel.broker_epoch == broker.epoch
        {
            return;
        }
        let Some(link) = self.links.to(broker) else {
            tracing::error!(
                "broker {} has no listener of the name by which controllers reach brokers: it is told nothing",
                broker.id
            );
            self.open.remove(&broker.id);
            return;
        };
        let queue = Arc::new(Queue::default());
        let task = task::spawn(deliver(
            link,
            Arc::clone(&queue),
            self.events.clone(),
            (broker.id, broker.epoch, self.controller_epoch),
        ));
        let channel = Channel {
            broker_epoch: broker.epoch,
            queue,
            task,
        };
        self.open.insert(broker.id, channel);
    }

    /// Closes the channel of a broker that is gone.
    pub(super) fn close(&mut self, broker: BrokerId) {
        self.open.remove(&broker);
    }

    /// True when what a broker is told can be sent to it.
    pub(super) fn reaches(&self, broker: BrokerId) -> bool {
        self.open.contains_key(&broker)
    }

    /// Tells a broker, some time; nobody who has no channel.
    pub(super) fn tell(&self, broker: BrokerId, request: Request) {
        if let Some(channel) = self.open.get(&broker) {
            channel.queue.push(request);
        }
    }
}

async fn deliver(
    link: Arc<dyn BrokerLink>,
    requests: Arc<Queue>,
    events: mpsc::Sender<Event>,
    (broker, broker_epoch, controller_epoch): (BrokerId, BrokerEpoch, ControllerEpoch),
) {
    loop {
        let answer = match requests.next().await {
            Request::LeaderAndIsr(request) => Answer::LeaderAndIsr(link.leader_and_isr(request).await),
            Request::StopReplica(number, request) => {
                Answer::StopReplica(number, link.stop_replica(request).await)
            }
            Request::LogEnds(asked) => {
                let ends = link.log_ends(asked.keys().cloned().collect()).await;
                Answer::LogEnds(asked, ends)
            }
            Request::UpdateMetadata(request) => {
                let error = link.update_metadata(request).await;
                if !error.is_none() {
                    tracing::warn!("broker {broker} refused UpdateMetadata: {error}");
                }
                continue;
            }
        };
        let answered = Answered {
            broker,
            broker_epoch,
            controller_epoch,
            answer,
        };
        if events.send(Event::Answered(answered)).await.is_err() {
            return;
        }
    }
}
