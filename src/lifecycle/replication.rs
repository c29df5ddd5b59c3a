//! What followers and leaders need of other brokers: connections to leaders, and the way to the controller that changes ISRs.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::config::BrokerConfig;
use crate::controller::ToController;
use crate::controller::request::AlterPartition;
use crate::metadata::Cluster;
use crate::peer::{Address, Connection, Options, PeerError};
use crate::replica::fetchers::{Answering, LeaderConnection, Leaders, NoAnswer};
use crate::replica::isr::{IsrAnswers, IsrChanger, IsrProposal};
use crate::replica::leadership::IsrState;
use crate::wire::Text;
use crate::wire::messages::fetch::{FetchRequest, FetchResponse};
use crate::wire::messages::list_offsets::{ListOffsetsRequest, ListOffsetsResponse};

/// Connects to leaders over the inter-broker listener.
pub struct PeerLeaders {
    cluster: Cluster,
}

impl PeerLeaders {
    /// Connections of this broker.
    pub fn new(cluster: &Cluster) -> Self {
        Self {
            cluster: cluster.clone(),
        }
    }
}

fn options(config: &BrokerConfig, client_id: &str) -> Options {
    let timeout_ms = u64::try_from(config.replica_socket_timeout_ms).unwrap_or(0);
    Options {
        receive_buffer_bytes: config.replica_socket_receive_buffer_bytes,
        ..Options::new(Text::copy(client_id), Duration::from_millis(timeout_ms.max(1)))
    }
}

impl Leaders for PeerLeaders {
    fn connect(&self, to: &Address, client_id: &str) -> Box<dyn LeaderConnection> {
        let image = self.cluster.get();
        let options = options(&image.broker_config, client_id);
        Box::new(PeerLeader(Connection::new(to.clone(), options)))
    }
}

struct PeerLeader(Connection);

fn no_answer(error: PeerError) -> NoAnswer {
    NoAnswer(error.to_string())
}

impl LeaderConnection for PeerLeader {
    fn fetch<'a>(&'a mut self, version: i16, request: &'a FetchRequest) -> Answering<'a, FetchResponse> {
        Box::pin(async move { self.0.send(version, request).await.map_err(no_answer) })
    }

    fn list_offsets<'a>(
        &'a mut self,
        version: i16,
        request: &'a ListOffsetsRequest,
    ) -> Answering<'a, ListOffsetsResponse> {
        Box::pin(async move { self.0.send(version, request).await.map_err(no_answer) })
    }

    fn close(&mut self) {
        self.0.close();
    }
}

/// Has the active controller change ISRs.
pub struct ControllerIsrs(pub ToController);

impl IsrChanger for ControllerIsrs {
    fn alter<'a>(
        &'a self,
        proposals: Vec<IsrProposal>,
    ) -> Pin<Box<dyn Future<Output = IsrAnswers> + Send + 'a>> {
        Box::pin(async move {
            let asked: Vec<AlterPartition> = proposals
                .iter()
                .map(|proposal| AlterPartition {
                    partition: proposal.partition.clone(),
                    topic_id: None,
                    leader_epoch: proposal.leader_epoch(),
                    isr: proposal.isr().to_vec(),
                    recovering: false,
                    partition_epoch: proposal.partition_epoch(),
                })
                .collect();
            let answers = self.0.alter_partitions(&asked).await?;
            let named = proposals.into_iter().map(|proposal| proposal.partition);
            let answers = answers.into_iter().map(|answer| {
                answer.map(|altered| IsrState {
                    leader_epoch: altered.leader_epoch,
                    isr: altered.isr,
                    partition_epoch: altered.partition_epoch,
                })
            });
            Ok(named.zip(answers).collect())
        })
    }
}
