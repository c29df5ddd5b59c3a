//! The queue of events, and the one task that handles them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::active::Active;
use super::candidacy::abstain;
use super::channels::Answered;
use super::reign::{Election, Lost, elect};
use super::request::{
    AdminError, AlterPartition, AlteredPartition, Answers, CreatedTopic, ElectionType, MorePartitions,
    NewTopic, OngoingReassignment, Reassignment,
};
use super::watching::Look;
use super::{Parts, none};
use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, TopicName, TopicPartition};
use crate::base::shutdown::Shutdown;
use crate::store::znodes::ProducerIdBlock;
use crate::store::{StoreError, Watcher};

/// How long to wait before another try after the store failed.
pub(super) const RETRY: Duration = Duration::from_millis(500);
/// How many requests to create topics are handled together.
const TOGETHER: usize = 256;

/// What the controller is asked.
pub(super) enum Event {
    CreateTopics {
        topics: Vec<NewTopic>,
        validate_only: bool,
        reply: oneshot::Sender<Answers<CreatedTopic>>,
    },
    DeleteTopics {
        topics: Vec<TopicName>,
        reply: oneshot::Sender<Answers<()>>,
    },
    CreatePartitions {
        topics: Vec<MorePartitions>,
        validate_only: bool,
        reply: oneshot::Sender<Answers<()>>,
    },
    AllocateProducerIds {
        broker: BrokerId,
        epoch: BrokerEpoch,
        reply: oneshot::Sender<Result<ProducerIdBlock, AdminError>>,
    },
    ReplicasOffline {
        partitions: Vec<TopicPartition>,
        reply: oneshot::Sender<bool>,
    },
    BrokersChanged,
    ElectLeaders {
        partitions: Vec<TopicPartition>,
        election: ElectionType,
        reply: oneshot::Sender<Answers<()>>,
    },
    AlterReassignments {
        reassignments: Vec<Reassignment>,
        reply: oneshot::Sender<Result<Answers<()>, AdminError>>,
    },
    ListReassignments {
        partitions: Option<Vec<TopicPartition>>,
        reply: oneshot::Sender<Result<Vec<OngoingReassignment>, AdminError>>,
    },
    Settled {
        reply: oneshot::Sender<bool>,
    },
    AlterPartitions {
        broker: BrokerId,
        epoch: BrokerEpoch,
        proposals: Vec<AlterPartition>,
        reply: oneshot::Sender<Result<Vec<Result<AlteredPartition, ErrorCode>>, ErrorCode>>,
    },
    ControlledShutdown {
        broker: BrokerId,
        epoch: BrokerEpoch,
        reply: oneshot::Sender<Result<Vec<TopicPartition>, ErrorCode>>,
    },
    /// Something changed in the store, in this reign.
    Look {
        look: Look,
        reign: ControllerEpoch,
    },
    /// A topic's own node is another one than before, in this reign.
    TopicChanged {
        topic: TopicName,
        reign: ControllerEpoch,
    },
    /// Another broker has answered.
    Answered(Answered),
}

impl Event {
    /// Answers that this broker is not the controller. Nobody may listen any more, here and below.
    fn refuse(self) {
        match self {
            Self::CreateTopics { topics, reply, .. } => drop(reply.send(none(topics.len()))),
            Self::DeleteTopics { topics, reply } => drop(reply.send(none(topics.len()))),
            Self::CreatePartitions { topics, reply, .. } => drop(reply.send(none(topics.len()))),
            Self::AllocateProducerIds { reply, .. } => drop(reply.send(Err(AdminError::not_controller()))),
            Self::ReplicasOffline { reply, .. } => drop(reply.send(false)),
            Self::BrokersChanged => {}
            Self::ElectLeaders {
                partitions, reply, ..
            } => drop(reply.send(none(partitions.len()))),
            Self::AlterReassignments { reply, .. } => drop(reply.send(Err(AdminError::not_controller()))),
            Self::ListReassignments { reply, .. } => drop(reply.send(Err(AdminError::not_controller()))),
            Self::Settled { reply } => drop(reply.send(false)),
            Self::AlterPartitions { reply, .. } => drop(reply.send(Err(ErrorCode::NotController))),
            Self::ControlledShutdown { reply, .. } => drop(reply.send(Err(ErrorCode::NotController))),
            Self::Look { .. } | Self::TopicChanged { .. } | Self::Answered(_) => {}
        }
    }
}

/// The queue, from which an event can be put back.
struct Queue {
    events: mpsc::Receiver<Event>,
    back: VecDeque<Event>,
}

impl Queue {
    async fn next(&mut self) -> Option<Event> {
        match self.back.pop_front() {
            Some(event) => Some(event),
            None => self.events.recv().await,
        }
    }

    /// The next event, if there is one already.
    fn waiting(&mut self) -> Option<Event> {
        self.back.pop_front().or_else(|| self.events.try_recv().ok())
    }
}

/// Tries to be elected, reigns, and tries again, until shutdown. `own`: the queue's other end, for what comes back.
pub(super) async fn run(
    parts: Arc<Parts>,
    active: Arc<AtomicBool>,
    events: mpsc::Receiver<Event>,
    own: mpsc::Sender<Event>,
    shutdown: Shutdown,
) {
    let mut queue = Queue {
        events,
        back: VecDeque::new(),
    };
    loop {
        // Who is not registered would find itself dead.
        if !wait_for_registration(&parts, &mut queue, &shutdown).await {
            return;
        }
        let election = if parts.may_rule() {
            elect(&parts.store, parts.broker).await
        } else {
            abstain(&parts.store).await
        };
        let (lost, reign) = match election {
            Ok(Election::Won(reign)) => {
                let lost = match Active::begin(Arc::clone(&parts), reign.clone(), own.clone()).await {
                    Ok(controller) => {
                        active.store(true, Ordering::Release);
                        let lost = reign_on(controller, &mut queue, &shutdown).await;
                        active.store(false, Ordering::Release);
                        lost
                    }
                    Err(lost) => Some(lost),
                };
                (lost, Some(reign))
            }
            Ok(Election::Other(watcher)) => {
                if !wait_for_turn(watcher, &mut queue, &shutdown).await {
                    return;
                }
                continue;
            }
            Err(error) => (Some(Lost::Store(error)), None),
        };
        match lost {
            None => return,
            Some(Lost::Moved) => tracing::warn!("this broker is the controller no more"),
            Some(Lost::Store(error)) => tracing::error!("the controller cannot go on: {error}"),
        }
        if lost == Some(Lost::Store(StoreError::Failed)) {
            // The store will not come back: its directories are gone, and the process ends with the last of them.
            refuse_all(&mut queue, &shutdown).await;
            return;
        }
        if let Some(reign) = reign {
            reign.resign().await;
        }
        if !pause(&mut queue, &shutdown).await {
            return;
        }
    }
}

/// Waits a while before another try; refuses everything meanwhile. False at shutdown.
async fn pause(queue: &mut Queue, shutdown: &Shutdown) -> bool {
    let mut over = std::pin::pin!(clock::sleep(RETRY));
    loop {
        tokio::select! {
            biased;
            () = shutdown.wait() => return false,
            () = &mut over => return true,
            event = queue.next() => match event {
                Some(event) => event.refuse(),
                None => return false,
            },
        }
    }
}

/// Waits until this broker is registered; refuses everything meanwhile. False at shutdown.
async fn wait_for_registration(parts: &Parts, queue: &mut Queue, shutdown: &Shutdown) -> bool {
    let mut registered = parts.registration.subscribe();
    let mut registered = std::pin::pin!(registered.wait_for(Option::is_some));
    loop {
        tokio::select! {
            biased;
            () = shutdown.wait() => return false,
            known = &mut registered => return known.is_ok(),
            event = queue.next() => match event {
                Some(event) => event.refuse(),
                None => return false,
            },
        }
    }
}

async fn refuse_all(queue: &mut Queue, shutdown: &Shutdown) {
    loop {
        tokio::select! {
            biased;
            () = shutdown.wait() => return,
            event = queue.next() => match event {
                Some(event) => event.refuse(),
                None => return,
            },
        }
    }
}

/// Refuses everything while another broker is the controller. False at shutdown.
async fn wait_for_turn(watcher: Watcher, queue: &mut Queue, shutdown: &Shutdown) -> bool {
    let mut changed = std::pin::pin!(watcher.changed());
    loop {
        tokio::select! {
            biased;
            () = shutdown.wait() => return false,
            _ = &mut changed => return true,
            event = queue.next() => match event {
                Some(event) => event.refuse(),
                None => return false,
            },
        }
    }
}

/// Handles events until the reign ends; `None` at shutdown.
async fn reign_on(mut controller: Active, queue: &mut Queue, shutdown: &Shutdown) -> Option<Lost> {
    loop {
        let event = tokio::select! {
            biased;
            () = shutdown.wait() => return None,
            event = queue.next() => event?,
        };
        let handled = match handle(&mut controller, event, queue).await {
            // Whatever was handled may have left partitions of which nobody knows yet who has most.
            Ok(()) => controller.ask_log_ends().await,
            Err(lost) => Err(lost),
        };
        if let Err(lost) = handled {
            return Some(lost);
        }
    }
}

async fn handle(controller: &mut Active, event: Event, queue: &mut Queue) -> Result<(), Lost> {
    match event {
        Event::CreateTopics {
            topics,
            validate_only,
            reply,
        } => {
            let mut requests = vec![(topics, validate_only)];
            let mut replies = vec![reply];
            while requests.len() < TOGETHER
                && let Some(event) = queue.waiting()
            {
                match event {
                    Event::CreateTopics {
                        topics,
                        validate_only,
                        reply,
                    } => {
                        requests.push((topics, validate_only));
                        replies.push(reply);
                    }
                    other => {
                        queue.back.push_front(other);
                        break;
                    }
                }
            }
            let answers = controller.create_topics(requests).await?;
            for (reply, answer) in replies.into_iter().zip(answers) {
                let _ = reply.send(answer);
            }
        }
        Event::DeleteTopics { topics, reply } => {
            let _ = reply.send(controller.delete_topics(topics).await?);
        }
        Event::CreatePartitions {
            topics,
            validate_only,
            reply,
        } => {
            let _ = reply.send(controller.create_partitions(topics, validate_only).await?);
        }
        Event::AllocateProducerIds { broker, epoch, reply } => {
            let _ = reply.send(controller.allocate_producer_ids(broker, epoch).await?);
        }
        Event::ReplicasOffline { partitions, reply } => {
            controller.replicas_offline(partitions).await?;
            let _ = reply.send(true);
        }
        Event::BrokersChanged => controller.brokers_changed().await?,
        Event::ElectLeaders {
            partitions,
            election,
            reply,
        } => {
            let _ = reply.send(controller.elect_leaders(&partitions, election).await?);
        }
        Event::AlterReassignments { reassignments, reply } => {
            let _ = reply.send(Ok(controller.alter_reassignments(&reassignments).await?));
        }
        Event::ListReassignments { partitions, reply } => {
            let _ = reply.send(Ok(controller.reassignments(partitions.as_deref())));
        }
        Event::Settled { reply } => {
            let _ = reply.send(true);
        }
        Event::AlterPartitions {
            broker,
            epoch,
            proposals,
            reply,
        } => {
            let _ = reply.send(controller.alter_partitions(broker, epoch, proposals).await?);
        }
        Event::ControlledShutdown { broker, epoch, reply } => {
            let _ = reply.send(controller.controlled_shutdown(broker, epoch).await?);
        }
        Event::Look { look, reign } if reign == controller.reign.epoch => controller.look(look).await?,
        Event::TopicChanged { topic, reign } if reign == controller.reign.epoch => {
            controller.topic_changed(&topic).await?;
        }
        Event::Look { .. } | Event::TopicChanged { .. } => {}
        Event::Answered(answered) => controller.answered(answered).await?,
    }
    Ok(())
}
