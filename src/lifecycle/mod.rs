//! L8, registration, start and stop order.
//!
//! [`coordination`] opens the store; [`directories`] finds out who this broker is and that its log directories agree on it; [`moves`] settles what a
//! crash left of moves between them; [`logs`] opens what lies in them. [`links`] and [`local_broker`] are the brokers as a
//! controller reaches them; [`controlled_shutdown`] hands over what this one leads;
//! [`replication`] connects followers to leaders, and leaders to the controller; [`store_session`] tells replicas when the
//! store is out of sight.

pub mod controlled_shutdown;
pub mod coordination;
pub mod directories;
pub mod links;
pub mod local_broker;
pub mod logs;
pub mod moves;
pub mod replication;
pub mod store_session;

#[cfg(test)]
mod moves_test;
