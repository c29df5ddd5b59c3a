//! What handlers need, around a small broker over a disk in memory: for tests of this room and of net/.
#![allow(missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use super::context::{ConnectionContext, ListenerContext};
use super::{Answer, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, TopicPartition};
use crate::base::random::Random;
use crate::base::shutdown::Shutdown;
use crate::config::LogLevels;
use crate::controller::producer_id_source::ProducerIds;
use crate::controller::registration::Registration;
use crate::controller::{BrokerLink, Controller, Nobody, Parts, ToController, registration};
use crate::group::old_offsets::OldOffsets;
use crate::group::service::Groups;
use crate::metadata::BrokerImage;
use crate::metadata::configs::StoredConfigs;
use crate::metadata::control::{ControlAnswer, LeaderAndIsr, LogEnds, StopReplica, UpdateMetadata};
use crate::replica::fetch_session::FetchSessions;
use crate::replica::testing::{ME, TestBroker};
use crate::store::memory::MemoryServer;
use crate::store::znodes::{Broker, OurBroker};
use crate::store::{BoxFuture, Store};
use crate::wire::message::Message;
use crate::wire::reader::Reader;
use crate::wire::text::Text;

/// A request of a client in this version of its API.
pub fn context(api_version: i16) -> RequestContext {
    let listener = Arc::new(ListenerContext {
        name: "PLAINTEXT".into(),
        security_protocol: "PLAINTEXT".into(),
    });
    let peer = "127.0.0.1:1000".parse().unwrap();
    RequestContext {
        connection: Arc::new(ConnectionContext::new(listener, peer, 0)),
        api_version,
        correlation_id: 5,
        client_id: Some(Text::from_static("client")),
    }
}

/// The answer as a client reads it.
pub async fn decoded<M: Message>(answer: Answer, version: i16) -> M {
    let response = match answer {
        Answer::Now(response) => response,
        Answer::Later(pending) => pending.await,
        Answer::Silent => panic!("no answer"),
    };
    let frame = response.frame(5).read().unwrap();
    let header = 8 + usize::from(M::KEY.response_header_version(version) > 0);
    let mut reader = Reader::new(frame.slice(header..));
    let message = M::decode(&mut reader, version).unwrap();
    assert_eq!(reader.remaining(), 0);
    message
}

fn controller(
    broker: &TestBroker,
    store: &Arc<dyn Store>,
    registration: &Arc<Registration>,
    local: Arc<dyn BrokerLink>,
) -> Controller {
    let (replicas, cluster) = (Arc::clone(&broker.replicas), broker.cluster.clone());
    let parts = Parts {
        broker: ME,
        store: Arc::clone(store),
        cluster: cluster.clone(),
        links: Arc::new(Nobody),
        registration: Arc::clone(registration),
        configs: StoredConfigs::new(
            Arc::clone(store),
            cluster.clone(),
            vec![Arc::clone(&replicas) as _],
        ),
        local,
        random: Random::from_seed(3),
    };
    Controller::start(parts, Shutdown::new())
}

/// A broker that the controller never reaches.
struct Deaf;

impl BrokerLink for Deaf {
    fn leader_and_isr(&self, _: LeaderAndIsr) -> BoxFuture<'_, ControlAnswer> {
        Box::pin(std::future::pending())
    }

    fn stop_replica(&self, _: StopReplica) -> BoxFuture<'_, ControlAnswer> {
        Box::pin(std::future::pending())
    }

    fn log_ends(&self, _: Vec<TopicPartition>) -> BoxFuture<'_, LogEnds> {
        Box::pin(std::future::ready(LogEnds::new()))
    }

    fn update_metadata(&self, _: UpdateMetadata) -> BoxFuture<'_, ErrorCode> {
        Box::pin(std::future::pending())
    }
}

/// A broker that answers its controller and does nothing: what it would do, a test does when it wants to.
pub struct Idle {
    /// It never answers to LeaderAndIsr.
    pub hangs: bool,
}

impl BrokerLink for Idle {
    fn leader_and_isr(&self, _: LeaderAndIsr) -> BoxFuture<'_, ControlAnswer> {
        if self.hangs {
            return Box::pin(std::future::pending());
        }
        Box::pin(std::future::ready(ControlAnswer::default()))
    }

    fn stop_replica(&self, _: StopReplica) -> BoxFuture<'_, ControlAnswer> {
        Box::pin(std::future::pending())
    }

    fn log_ends(&self, _: Vec<TopicPartition>) -> BoxFuture<'_, LogEnds> {
        Box::pin(std::future::ready(LogEnds::new()))
    }

    fn update_metadata(&self, _: UpdateMetadata) -> BoxFuture<'_, ErrorCode> {
        Box::pin(std::future::ready(ErrorCode::None))
    }
}

/// The services of `broker`, with a controller over an empty store that reaches nobody: it is asked nothing.
pub fn services(broker: &TestBroker) -> Arc<Services> {
    let store: Arc<dyn Store> = Arc::new(MemoryServer::new().connect());
    let registration = Registration::said(&store, ME, BrokerEpoch(1));
    let controller = controller(broker, &store, &registration, Arc::new(Deaf));
    services_with(broker, controller, &registration)
}

/// The services of `broker` that is the controller, and has been told so.
pub async fn services_of_controller(broker: &TestBroker, local: Idle) -> Arc<Services> {
    let store: Arc<dyn Store> = Arc::new(MemoryServer::new().connect());
    registration::prepare(&store, None, &Random::from_seed(5))
        .await
        .unwrap();
    let node = Broker::new(
        &[("PLAINTEXT".into(), "PLAINTEXT".into(), "host".into(), 9092)],
        None,
        0,
    );
    let registration = Registration::begin(&store, ME, (node, OurBroker::this(true)), Duration::ZERO)
        .await
        .unwrap();
    let controller = controller(broker, &store, &registration, Arc::new(local));
    assert!(controller.settled().await);
    let this = Arc::new(BrokerImage {
        id: ME,
        epoch: registration.epoch().unwrap(),
        endpoints: Vec::new(),
        rack: None,
    });
    broker.cluster.change(|image| {
        image.controller = Some(ME);
        image.brokers.insert(ME, this);
    });
    services_with(broker, controller, &registration)
}

fn services_with(
    broker: &TestBroker,
    controller: Controller,
    registration: &Arc<Registration>,
) -> Arc<Services> {
    let to_controller = || {
        ToController::new(
            controller.clone(),
            broker.cluster.clone(),
            Arc::clone(registration),
        )
    };
    Arc::new(Services {
        to_controller: to_controller(),
        local: Arc::new(Deaf),
        groups: Groups::new(&broker.cluster, &broker.replicas, &Random::from_seed(4)),
        old_offsets: OldOffsets::new(Arc::new(MemoryServer::new().connect())),
        cluster: broker.cluster.clone(),
        producer_ids: ProducerIds::new(to_controller(), Arc::clone(&broker.replicas)),
        controller,
        replicas: Arc::clone(&broker.replicas),
        fetch_sessions: FetchSessions::new(10, Random::from_seed(2)),
        levels: LogLevels::parse("").unwrap(),
    })
}
