//! L8, registration, start and stop order.
//!
//! [`directories`] finds out who this broker is and that its log directories agree on it; [`logs`] opens what lies in
//! them.

pub mod directories;
pub mod local_broker;
pub mod logs;
