//! What handlers need, around a small broker over a disk in memory: for tests of this room and of net/.
#![allow(missing_docs)]

use std::sync::Arc;

use super::Services;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId, TopicPartition};
use crate::base::random::Random;
use crate::base::shutdown::Shutdown;
use crate::config::LogLevels;
use crate::controller::producer_id_source::ProducerIds;
use crate::controller::registration::Registration;
use crate::controller::{BrokerLink, Controller, Nobody, Parts, ToController};
use crate::group::old_offsets::OldOffsets;
use crate::group::service::Groups;
use crate::metadata::configs::StoredConfigs;
use crate::metadata::control::{ControlAnswer, LeaderAndIsr, LogEnds, StopReplica, UpdateMetadata};
use crate::replica::fetch_session::FetchSessions;
use crate::replica::testing::TestBroker;
use crate::store::memory::MemoryServer;
use crate::store::{BoxFuture, Store};

/// A controller over an empty store: these tests ask it nothing.
fn controller(broker: &TestBroker) -> Controller {
    let store: Arc<dyn Store> = Arc::new(MemoryServer::new().connect());
    let (replicas, cluster) = (Arc::clone(&broker.replicas), broker.cluster.clone());
    let parts = Parts {
        broker: BrokerId(1),
        store: Arc::clone(&store),
        cluster: cluster.clone(),
        links: Arc::new(Nobody),
        registration: Registration::said(&store, BrokerId(1), BrokerEpoch(1)),
        configs: StoredConfigs::new(store, cluster.clone(), vec![Arc::clone(&replicas) as _]),
        local: Arc::new(Deaf),
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

/// The services of `broker`, with a controller that reaches nobody.
pub fn services(broker: &TestBroker) -> Arc<Services> {
    let controller = controller(broker);
    let store: Arc<dyn Store> = Arc::new(MemoryServer::new().connect());
    let registration = Registration::said(&store, BrokerId(1), BrokerEpoch(1));
    let to_controller = || {
        ToController::new(
            controller.clone(),
            broker.cluster.clone(),
            Arc::clone(&registration),
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
