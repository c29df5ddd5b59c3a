//! L4: the partitions of this broker: leadership, append and fetch, waiting requests, fetch sessions.
//!
//! [`replicas::Replicas`] holds them all and is what the rooms above use.

pub mod answers;
pub mod append;
pub mod background;
pub mod cleaner;
mod closing;
mod control;
mod cut_off;
pub mod deletion;
pub mod directories;
pub mod fenced;
pub mod fetch;
pub mod fetch_session;
pub mod fetchers;
pub mod follower;
mod following;
pub mod isr;
mod leader_append;
pub mod leadership;
mod making;
pub mod moving;
pub mod nearest;
pub mod offsets;
pub mod partition;
pub mod producer_ids;
mod put_off;
mod read;
pub mod replicas;
pub mod signals;
pub mod stall;
mod stopping;
mod throttle;
mod throttled;
mod together;
mod truncation;
pub mod upkeep;
pub mod waiting;

#[cfg(test)]
mod cleaner_test;
#[cfg(test)]
mod cluster_test;
#[cfg(test)]
mod control_test;
#[cfg(test)]
mod failover_test;
#[cfg(test)]
mod making_test;
#[cfg(test)]
mod moving_test;
#[cfg(test)]
mod nearest_test;
#[cfg(test)]
mod replicas_test;
#[cfg(test)]
mod slow_disk_test;
#[cfg(test)]
mod test_cluster;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod throttled_test;
