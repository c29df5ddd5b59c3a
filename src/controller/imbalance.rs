//! Leadership that goes back to the first replicas by itself (Kafka: `KafkaController.checkAndTriggerAutoLeaderRebalance`):
//! of each broker whose share of partitions that it should lead, and does not, is above
//! `leader.imbalance.per.broker.percentage`, the partitions that it can lead are given to it.

use std::collections::BTreeMap;

use super::active::{Active, Reason};
use super::context::New;
use super::reign::Lost;
use crate::base::ids::{BrokerId, TopicPartition};

/// The partitions that a broker is the first replica of: how many, and those that another one leads.
#[derive(Default)]
struct Share {
    preferred: usize,
    led_elsewhere: Vec<TopicPartition>,
}

impl Share {
    /// True above a percentage of partitions that are led elsewhere.
    fn is_above(&self, percentage: i32) -> bool {
        let allowed = usize::try_from(percentage)
            .unwrap_or(0)
            .saturating_mul(self.preferred);
        self.led_elsewhere.len().saturating_mul(100) > allowed
    }
}

impl Active {
    /// Gives leadership back where too much of it is elsewhere.
    pub(super) async fn balance_leaders(&mut self) -> Result<(), Lost> {
        let image = self.parts.cluster.get();
        let config = &image.broker_config;
        if !config.auto_leader_rebalance_enable {
            return Ok(());
        }
        let mut shares: BTreeMap<BrokerId, Share> = BTreeMap::new();
        for name in self.settled_partitions() {
            let Some(partition) = self.context.partition(&name) else {
                continue;
            };
            let leader = partition.state.as_ref().map(|written| written.state.leader);
            let Some(first) = partition.replicas.first() else {
                continue;
            };
            let share = shares.entry(*first).or_default();
            share.preferred += 1;
            // A partition that moves gets its leader when it has arrived.
            let moves = !partition.adding.is_empty() || !partition.removing.is_empty();
            if leader.is_some_and(|leader| leader != Some(*first)) && !moves {
                share.led_elsewhere.push(name);
            }
        }
        let percentage = config.leader_imbalance_per_broker_percentage;
        let mut wanted = Vec::new();
        for (broker, share) in shares {
            if self.context.brokers.contains_key(&broker) && share.is_above(percentage) {
                wanted.extend(share.led_elsewhere);
            }
        }
        let changed = self.elect(&wanted, Reason::Preferred).await?;
        if !changed.is_empty() {
            tracing::info!(
                "{} partitions are led by their first replicas again",
                changed.len()
            );
            self.tell(&changed, &New::new()).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_at_the_percentage_is_left_alone() {
        let share = |preferred, elsewhere| Share {
            preferred,
            led_elsewhere: vec![TopicPartition::new("t", 0); elsewhere],
        };
        assert!(!share(10, 1).is_above(10));
        assert!(share(9, 1).is_above(10));
        assert!(!share(10, 0).is_above(0));
        assert!(share(10, 1).is_above(0));
    }
}
