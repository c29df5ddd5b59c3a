//! L6, the controller: creates, grows and deletes topics, changes configs, elects leaders.

pub mod assignment;
pub mod election;
pub mod request;
pub mod topic_name;
