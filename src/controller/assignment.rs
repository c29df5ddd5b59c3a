//! Which brokers get the replicas of a partition (Kafka: `AdminUtils.assignReplicasToBrokers`): leaders go round the
//! brokers, and followers round the racks.

use std::collections::{BTreeMap, BTreeSet};

use super::request::AdminError;
use crate::base::error_code::ErrorCode;
use crate::base::ids::BrokerId;

/// Replicas by partition.
pub type Assignments = BTreeMap<i32, Vec<BrokerId>>;

/// A broker that can have replicas, and its rack.
pub type Candidate<'a> = (BrokerId, Option<&'a str>);

/// Where the rounds begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start {
    /// The place, in the list of brokers, of the first leader.
    pub leader: usize,
    /// How far the first follower is from the leader.
    pub shift: usize,
    /// The number of the first partition.
    pub partition: i32,
}

/// Replicas for `count` partitions.
///
/// # Errors
/// Not a number of partitions or replicas, more replicas than brokers, or racks of some brokers only; in Kafka's words, which
/// its tools show.
pub fn spread(
    brokers: &[Candidate<'_>],
    count: i32,
    replication_factor: i16,
    start: Start,
) -> Result<Assignments, AdminError> {
    if count <= 0 {
        return Err(AdminError::new(
            ErrorCode::InvalidPartitions,
            "Number of partitions must be larger than 0.",
        ));
    }
    let replicas = usize::try_from(replication_factor).unwrap_or(0);
    if replicas == 0 {
        return Err(AdminError::new(
            ErrorCode::InvalidReplicationFactor,
            "Replication factor must be larger than 0.",
        ));
    }
    if replicas > brokers.len() {
        return Err(AdminError::new(
            ErrorCode::InvalidReplicationFactor,
            format!(
                "Replication factor: {replication_factor} larger than available brokers: {}.",
                brokers.len()
            ),
        ));
    }
    let ring = by_rack(brokers)?;
    let racks: BTreeSet<Option<&str>> = ring.iter().map(|(_, rack)| *rack).collect();
    let racks = if ring.iter().all(|(_, rack)| rack.is_none()) {
        1
    } else {
        racks.len()
    };
    let mut shift = start.shift;
    let mut assignments = Assignments::new();
    for partition in (start.partition..).take(usize::try_from(count).unwrap_or(0)) {
        let number = usize::try_from(partition).unwrap_or(0);
        if number > 0 && number % ring.len() == 0 {
            shift += 1;
        }
        let leader = (number + start.leader) % ring.len();
        assignments.insert(
            partition,
            followers(&ring, leader, shift * racks, replicas, racks),
        );
    }
    Ok(assignments)
}

/// The replicas of one partition whose leader is at `leader` in the ring.
fn followers(
    ring: &[Candidate<'_>],
    leader: usize,
    shift: usize,
    replicas: usize,
    racks: usize,
) -> Vec<BrokerId> {
    let mut chosen: Vec<BrokerId> = Vec::with_capacity(replicas);
    let mut used: BTreeSet<Option<&str>> = BTreeSet::new();
    let with_racks = racks > 1;
    if let Some((id, rack)) = ring.get(leader) {
        chosen.push(*id);
        used.insert(*rack);
    }
    // Twice round: once for the racks that have no replica yet, once for the rest.
    let others = ring.len().saturating_sub(1).max(1);
    for step in 0..others * 2 {
        if chosen.len() >= replicas {
            break;
        }
        let at = (leader + 1 + (shift + step) % others) % ring.len();
        let Some((id, rack)) = ring.get(at) else { break };
        let fresh_rack = !with_racks || used.len() >= racks || !used.contains(rack);
        if fresh_rack && !chosen.contains(id) {
            chosen.push(*id);
            used.insert(*rack);
        }
    }
    chosen
}

/// The brokers in the order of their ids, or rack after rack where they have racks.
fn by_rack<'a>(brokers: &[Candidate<'a>]) -> Result<Vec<Candidate<'a>>, AdminError> {
    let mut sorted = brokers.to_vec();
    sorted.sort_unstable();
    if sorted.iter().all(|(_, rack)| rack.is_none()) {
        return Ok(sorted);
    }
    let mut racks: BTreeMap<&str, std::collections::VecDeque<Candidate<'a>>> = BTreeMap::new();
    for broker in sorted {
        let Some(rack) = broker.1 else {
            return Err(AdminError::new(
                ErrorCode::UnknownServerError,
                "Not all brokers have rack information for replica rack aware assignment.",
            ));
        };
        racks.entry(rack).or_default().push_back(broker);
    }
    let mut ring = Vec::with_capacity(brokers.len());
    while ring.len() < brokers.len() {
        for members in racks.values_mut() {
            ring.extend(members.pop_front());
        }
    }
    Ok(ring)
}

fn invalid(message: impl Into<String>) -> AdminError {
    AdminError::new(ErrorCode::InvalidReplicaAssignment, message)
}

/// Checks what somebody else has assigned to a new topic (`AdminZkClient.validateTopicCreate`). As in Kafka on
/// ZooKeeper the brokers need not be alive; unlike there, no partition may be without replicas.
pub fn check(assignments: &Assignments) -> Result<(), AdminError> {
    let mut sizes = assignments.values().map(Vec::len);
    let first = sizes.next().unwrap_or(0);
    if first == 0 {
        return Err(invalid("Each partition must have a replica."));
    }
    if sizes.any(|size| size != first) {
        return Err(invalid("All partitions must have the same number of replicas."));
    }
    for (partition, replicas) in assignments {
        check_replicas(*partition, replicas)?;
    }
    if !assignments.keys().copied().eq(0..assignments.len() as i32) {
        return Err(invalid("The partitions must be numbered from 0 without a gap."));
    }
    Ok(())
}

/// Checks the replicas of one partition.
pub fn check_replicas(partition: i32, replicas: &[BrokerId]) -> Result<(), AdminError> {
    if replicas.is_empty() {
        return Err(invalid(format!("Partition {partition} must have a replica.")));
    }
    let distinct: BTreeSet<_> = replicas.iter().collect();
    if distinct.len() != replicas.len() {
        return Err(invalid(format!(
            "Partition {partition} has two replicas on one broker."
        )));
    }
    if let Some(negative) = replicas.iter().find(|id| id.get() < 0) {
        return Err(invalid(format!(
            "Partition {partition} is assigned to broker {negative}."
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(count: i32) -> Vec<Candidate<'static>> {
        (0..count).map(|id| (BrokerId(id), None)).collect()
    }

    const START: Start = Start {
        leader: 0,
        shift: 0,
        partition: 0,
    };

    fn ids(replicas: &[BrokerId]) -> Vec<i32> {
        replicas.iter().map(|id| id.get()).collect()
    }

    #[test]
    fn goes_round_as_kafka_documents_it() {
        let spread = spread(&plain(5), 10, 3, START).unwrap();
        let expected = [
            [0, 1, 2],
            [1, 2, 3],
            [2, 3, 4],
            [3, 4, 0],
            [4, 0, 1],
            [0, 2, 3],
            [1, 3, 4],
            [2, 4, 0],
            [3, 0, 1],
            [4, 1, 2],
        ];
        for (partition, replicas) in expected.iter().enumerate() {
            assert_eq!(
                ids(&spread[&(partition as i32)]),
                replicas,
                "partition {partition}"
            );
        }
    }

    #[test]
    fn goes_round_the_racks_as_kafka_documents_it() {
        let racks = ["rack1", "rack3", "rack3", "rack2", "rack2", "rack1"];
        let brokers: Vec<Candidate<'_>> = racks
            .iter()
            .enumerate()
            .map(|(id, rack)| (BrokerId(id as i32), Some(*rack)))
            .collect();
        let spread = spread(&brokers, 7, 3, START).unwrap();
        let expected = [
            [0, 3, 1],
            [3, 1, 5],
            [1, 5, 4],
            [5, 4, 2],
            [4, 2, 0],
            [2, 0, 3],
            [0, 4, 2],
        ];
        for (partition, replicas) in expected.iter().enumerate() {
            assert_eq!(
                ids(&spread[&(partition as i32)]),
                replicas,
                "partition {partition}"
            );
        }
    }

    #[test]
    fn impossible_numbers_are_refused() {
        let code = |count, factor| spread(&plain(2), count, factor, START).unwrap_err().code;
        assert_eq!(code(0, 1), ErrorCode::InvalidPartitions);
        assert_eq!(code(-5, 1), ErrorCode::InvalidPartitions);
        assert_eq!(code(1, 0), ErrorCode::InvalidReplicationFactor);
        assert_eq!(code(1, 3), ErrorCode::InvalidReplicationFactor);
        assert_eq!(code(1, -2), ErrorCode::InvalidReplicationFactor);
    }

    /// As Kafka's controllers do: nobody can say what was meant.
    #[test]
    fn racks_of_some_brokers_only_are_refused() {
        let brokers = [(BrokerId(1), Some("r1")), (BrokerId(2), None)];
        let refused = spread(&brokers, 1, 1, START).unwrap_err();
        assert_eq!(refused.code, ErrorCode::UnknownServerError);
        assert!(refused.message.unwrap().contains("rack"));
    }

    #[test]
    fn what_is_impossible_is_said_as_kafka_says_it() {
        let said = |brokers: &[Candidate<'_>], count, factor| {
            let error = spread(brokers, count, factor, START).unwrap_err();
            error.message.unwrap_or_default()
        };
        let two = plain(2);
        assert_eq!(
            said(&two, 1, 3),
            "Replication factor: 3 larger than available brokers: 2."
        );
        assert_eq!(said(&two, 1, 0), "Replication factor must be larger than 0.");
        assert_eq!(said(&two, 0, 1), "Number of partitions must be larger than 0.");
        let some = [(BrokerId(0), Some("a")), (BrokerId(1), None)];
        assert_eq!(
            said(&some, 1, 1),
            "Not all brokers have rack information for replica rack aware assignment."
        );
    }

    #[test]
    fn assignments_by_hand_are_checked() {
        let check = |lists: &[(i32, &[i32])]| {
            check(
                &lists
                    .iter()
                    .map(|(partition, ids)| (*partition, ids.iter().copied().map(BrokerId).collect()))
                    .collect(),
            )
        };
        assert_eq!(check(&[(0, &[1, 2]), (1, &[2, 9])]), Ok(()));
        for bad in [
            &[(0, &[1, 2][..]), (1, &[2][..])][..],
            &[(0, &[][..])],
            &[(0, &[1, 1])],
            &[(1, &[1])],
            &[(0, &[1]), (2, &[1])],
            &[(-1, &[1]), (0, &[1])],
            &[(0, &[-1])],
            &[],
        ] {
            assert_eq!(
                check(bad).unwrap_err().code,
                ErrorCode::InvalidReplicaAssignment,
                "{bad:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn every_partition_gets_distinct_replicas_on_as_many_racks_as_possible(
            racks in prop::collection::vec(0..4usize, 1..12),
            with_racks in any::<bool>(),
            count in 1..40, factor in 1..6i16, leader in 0..20usize, shift in 0..20usize, first in 0..50,
        ) {
            const NAMES: [&str; 4] = ["a", "b", "c", "d"];
            let brokers: Vec<Candidate<'_>> = racks.iter().enumerate()
                .map(|(id, rack)| (BrokerId(id as i32), with_racks.then(|| NAMES[*rack]))).collect();
            prop_assume!(factor as usize <= brokers.len());
            let start = Start { leader, shift, partition: first };
            let spread = spread(&brokers, count, factor, start).unwrap();
            prop_assert_eq!(spread.len(), count as usize);
            let distinct_racks = brokers.iter().map(|(_, rack)| rack).collect::<BTreeSet<_>>().len();
            for replicas in spread.values() {
                prop_assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), factor as usize);
                if with_racks {
                    let used: BTreeSet<_> = replicas.iter().map(|id| racks[id.get() as usize]).collect();
                    prop_assert_eq!(used.len(), distinct_racks.min(factor as usize));
                }
            }
            prop_assert!(spread.keys().copied().eq(first..first + count));
        }
    }
}
