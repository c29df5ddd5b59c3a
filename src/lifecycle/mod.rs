//! L8, registration, start and stop order.
//!
//! [`directories`] finds out who this broker is and that its log directories agree on it; [`moves`] settles what a
//! crash left of moves between them; [`logs`] opens what lies in them.

pub mod directories;
pub mod local_broker;
pub mod logs;
pub mod moves;

#[cfg(test)]
mod moves_test;
