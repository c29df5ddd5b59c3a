//! Who leads a partition: decisions, without store or brokers (Kafka: `Election`, `PartitionLeaderElectionAlgorithms`).

use crate::base::ids::{BrokerId, ControllerEpoch, LeaderEpoch};
use crate::base::planted::planted;
use crate::metadata::control::LogEnd;
use crate::store::Zxid;
use crate::store::znodes::PartitionState;

/// What an election needs to know of the brokers.
pub trait Replicas {
    /// True when the broker lives and the partition's disk on it works.
    fn online(&self, broker: BrokerId) -> bool;
    /// True while the broker, though it may live, is about to stop: it is not elected any more.
    fn leaving(&self, broker: BrokerId) -> bool;
    /// The czxid of the broker's registration, when it lives.
    fn registered(&self, broker: BrokerId) -> Option<Zxid>;
    /// True when it left the ISR with all that was acknowledged: nothing has been since.
    fn eligible(&self, broker: BrokerId) -> bool;
    /// True when it came back without what it had not synced.
    fn suspect(&self, broker: BrokerId) -> bool;
    /// True when the broker says that it came back like that, and where its logs end. Kafka's do not.
    fn tells_losses(&self, broker: BrokerId) -> bool;
    /// Where the partition's log ends on it, as it said since it came back.
    fn log_end(&self, broker: BrokerId) -> Option<LogEnd>;
}

/// Those that together have all that was acknowledged: the ISR, and those that are eligible beside it.
fn candidates<'a>(
    replicas: &'a [BrokerId],
    state: &'a PartitionState,
    brokers: &'a impl Replicas,
) -> impl Iterator<Item = BrokerId> + 'a {
    let all = replicas.iter().copied();
    all.filter(|id| state.isr.contains(id) || brokers.eligible(*id))
}

/// True when nobody of the ISR has what it had: all came back without what they had not synced.
fn isr_is_suspect(replicas: &[BrokerId], state: &PartitionState, brokers: &impl Replicas) -> bool {
    let mut in_sync = replicas.iter().filter(|id| state.isr.contains(id)).peekable();
    in_sync.peek().is_some() && in_sync.all(|id| brokers.suspect(*id))
}

/// The leader where the whole ISR came back without what it had not synced (pitfalls: KIP-966). One that is eligible and
/// has lost nothing has all that was acknowledged. Otherwise the longest log has all that is left of that, though it may be
/// one that was not in sync: what it has from before was acknowledged, too. Only all replicas together tell which it is.
fn survivor(replicas: &[BrokerId], state: &PartitionState, brokers: &impl Replicas) -> Option<BrokerId> {
    let electable = |id: &BrokerId| brokers.online(*id) && !brokers.leaving(*id);
    if !isr_is_suspect(replicas, state, brokers) {
        return None;
    }
    if !all_tell_losses(replicas, brokers) {
        // As Kafka does.
        let mut in_sync = replicas.iter().copied().filter(|id| state.isr.contains(id));
        return in_sync.find(electable);
    }
    let mut others = candidates(replicas, state, brokers);
    if let Some(whole) = others.find(|id| electable(id) && !brokers.suspect(*id)) {
        return Some(whole);
    }
    if !replicas.iter().all(electable) {
        return None;
    }
    if let [only] = replicas {
        return Some(*only);
    }
    // Of equal ones the first.
    let ends = replicas.iter().rev().map(|id| Some((brokers.log_end(*id)?, *id)));
    let ends: Option<Vec<(LogEnd, BrokerId)>> = ends.collect();
    let ends = ends?.into_iter();
    let longest = planted!(
        "cluster-longest-loses",
        ends.min_by_key(|(end, _)| *end),
        ends.max_by_key(|(end, _)| *end)
    );
    longest.map(|(_, id)| id)
}

/// False where a replica that is here does not say what it lacks, so that what the others say decides nothing.
fn all_tell_losses(replicas: &[BrokerId], brokers: &impl Replicas) -> bool {
    let mut here = replicas.iter().filter(|id| brokers.online(**id));
    here.all(|id| brokers.tells_losses(*id))
}

/// Those who are here and of whom it must be known where their logs end before one of them can lead, as the longest of all
/// or, in an unclean election, of those who are here.
pub fn unknown_ends(replicas: &[BrokerId], state: &PartitionState, brokers: &impl Replicas) -> Vec<BrokerId> {
    let may_help = replicas.len() > 1 && all_tell_losses(replicas, brokers);
    if !may_help || !isr_is_suspect(replicas, state, brokers) {
        return Vec::new();
    }
    let is_unknown = |id: &BrokerId| brokers.online(*id) && brokers.log_end(*id).is_none();
    replicas.iter().copied().filter(is_unknown).collect()
}

/// What is to be kept beside a state that follows `before`: who is eligible, and who is suspect.
///
/// Who leaves an ISR that has become smaller than `min_isr` has all that was acknowledged, and stays eligible for as long
/// as nothing can be acknowledged without it (`ReplicationControlManager`'s eligible leader replicas; here the high
/// watermark waits for `min.insync.replicas` too). As long as nobody leads, nothing changes.
pub fn kept(
    replicas: &[BrokerId],
    before: &PartitionState,
    after: &PartitionState,
    brokers: &impl Replicas,
    min_isr: usize,
) -> (Vec<BrokerId>, Vec<BrokerId>) {
    let Some(leader) = after.leader else {
        if before.leader.is_some() && before.isr.len() >= min_isr {
            // The ISR alone could acknowledge until now.
            let suspect = |id: &BrokerId| after.isr.contains(id) && brokers.suspect(*id);
            return (Vec::new(), replicas.iter().copied().filter(suspect).collect());
        }
        let suspect = |id: &BrokerId| brokers.suspect(*id);
        let eligible = |id: &BrokerId| brokers.eligible(*id) && !after.isr.contains(id);
        return (
            replicas.iter().copied().filter(eligible).collect(),
            candidates(replicas, after, brokers).filter(suspect).collect(),
        );
    };
    // Behind a leader that lacks something, others cut it off.
    let is_clean = candidates(replicas, before, brokers).any(|id| id == leader && !brokers.suspect(id));
    if after.isr.len() >= min_isr || !is_clean {
        return (Vec::new(), Vec::new());
    }
    let stays = |id: &BrokerId| !after.isr.contains(id) && !brokers.suspect(*id);
    let eligible = candidates(replicas, before, brokers).filter(stays).collect();
    (eligible, Vec::new())
}

/// The first state of a partition: the first replica that is online leads, all that are online are in sync. `None`
/// when none is.
pub fn first(
    replicas: &[BrokerId],
    brokers: &impl Replicas,
    controller_epoch: ControllerEpoch,
) -> Option<PartitionState> {
    let isr: Vec<BrokerId> = replicas
        .iter()
        .copied()
        .filter(|id| brokers.online(*id) && !brokers.leaving(*id))
        .collect();
    Some(PartitionState {
        controller_epoch,
        leader: Some(*isr.first()?),
        leader_epoch: LeaderEpoch(0),
        isr,
        recovering: false,
    })
}

/// The state that a partition must have now, or `None` when it may stay as it is. `mzxid` is the change that last
/// wrote its state.
///
/// A replica that has registered again since is taken for bounced. A leader of that kind is elected again, with a new
/// epoch: the batches before and after whatever it lost must not share one. A follower of that kind leaves the ISR until
/// it has caught up: what it had not flushed may be gone. Where all in sync have bounced, one of them leads, alone in the
/// ISR: who only ended has lost nothing. Where all of them have lost what they had not synced, see [`survivor`].
pub fn again(
    replicas: &[BrokerId],
    state: &PartitionState,
    mzxid: Zxid,
    brokers: &impl Replicas,
    unclean: bool,
    controller_epoch: ControllerEpoch,
) -> Option<PartitionState> {
    let stayed = |id: &BrokerId| {
        brokers.online(*id)
            && !brokers.suspect(*id)
            && brokers.registered(*id).is_some_and(|czxid| czxid <= mzxid)
    };
    let electable = |id: &BrokerId| brokers.online(*id) && !brokers.leaving(*id);
    let whole =
        |id: &BrokerId| electable(id) && planted!("cluster-last-replica", true, !brokers.suspect(*id));
    let in_sync: Vec<BrokerId> = state.isr.iter().copied().filter(stayed).collect();
    if let Some(leader) = state.leader
        && in_sync.contains(&leader)
    {
        if in_sync == state.isr {
            return None;
        }
        return next(state, Some(leader), in_sync, state.recovering, controller_epoch);
    }
    if let Some(leader) = replicas.iter().find(|id| in_sync.contains(id) && electable(id)) {
        return next(state, Some(*leader), in_sync, state.recovering, controller_epoch);
    }
    let bounced = replicas
        .iter()
        .copied()
        .find(|id| state.isr.contains(id) && whole(id));
    if let Some(leader) = bounced.or_else(|| survivor(replicas, state, brokers)) {
        return next(
            state,
            Some(leader),
            vec![leader],
            state.recovering,
            controller_epoch,
        );
    }
    if unclean {
        // Who has all that was acknowledged, the longest log as far as that is known, the first one.
        let is_whole = |id: &BrokerId| brokers.eligible(*id) && !brokers.suspect(*id);
        let here = replicas.iter().copied().filter(electable).rev();
        if let Some(leader) = here.max_by_key(|id| (is_whole(id), brokers.log_end(*id))) {
            return next(state, Some(leader), vec![leader], true, controller_epoch);
        }
    }
    // Nobody may lead. The list of those who could, if they came back, is kept.
    state.leader?;
    next(state, None, state.isr.clone(), state.recovering, controller_epoch)
}

/// The state of a partition whose replicas are to be `target` only: the leader is one of them, the same one if it can be, and
/// nobody else is in the ISR (`reassignPartitionLeaderElection` and what follows it). `None` when none can lead.
pub fn moved(
    target: &[BrokerId],
    state: &PartitionState,
    brokers: &impl Replicas,
    controller_epoch: ControllerEpoch,
) -> Option<PartitionState> {
    let isr: Vec<BrokerId> = state
        .isr
        .iter()
        .copied()
        .filter(|id| planted!("cluster-isr-of-others", true, target.contains(id)))
        .collect();
    let can_lead = |id: &BrokerId| isr.contains(id) && brokers.online(*id) && !brokers.suspect(*id);
    let leader = state.leader.filter(can_lead).or_else(|| {
        target
            .iter()
            .copied()
            .find(|id| can_lead(id) && !brokers.leaving(*id))
    })?;
    next(state, Some(leader), isr, state.recovering, controller_epoch)
}

/// The state of a partition one of whose replicas stops under control: another one in sync leads, and it leaves the ISR
/// (`controlledShutdownPartitionLeaderElection`). `None` when it must stay: it leads and nobody else can, or it is not
/// in the ISR.
pub fn left(
    replicas: &[BrokerId],
    state: &PartitionState,
    leaving: BrokerId,
    brokers: &impl Replicas,
    controller_epoch: ControllerEpoch,
) -> Option<PartitionState> {
    let isr: Vec<BrokerId> = state
        .isr
        .iter()
        .copied()
        .filter(|id| *id != leaving && !brokers.leaving(*id) && brokers.online(*id))
        .collect();
    let leader = match state.leader? {
        leader if leader != leaving => {
            if !state.isr.contains(&leaving) {
                return None;
            }
            let isr = state.isr.iter().copied().filter(|id| *id != leaving).collect();
            return next(state, Some(leader), isr, state.recovering, controller_epoch);
        }
        _ => replicas.iter().copied().find(|id| isr.contains(id))?,
    };
    next(state, Some(leader), isr, state.recovering, controller_epoch)
}

/// What became of the wish that the first replica leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Preferred {
    /// It leads already.
    Leads,
    /// It can lead: the state to be written.
    Elected(PartitionState),
    /// It is not in sync, or does not live.
    NotAvailable,
}

/// Makes the first replica the leader, if it is online and in sync (`preferredReplicaPartitionLeaderElection`).
pub fn preferred(
    replicas: &[BrokerId],
    state: &PartitionState,
    brokers: &impl Replicas,
    controller_epoch: ControllerEpoch,
) -> Preferred {
    let Some(first) = replicas.first().copied() else {
        return Preferred::NotAvailable;
    };
    if state.leader == Some(first) {
        return Preferred::Leads;
    }
    let can_lead = brokers.online(first) && !brokers.leaving(first) && !brokers.suspect(first);
    if !can_lead || !state.isr.contains(&first) {
        return Preferred::NotAvailable;
    }
    let isr = state.isr.clone();
    next(state, Some(first), isr, state.recovering, controller_epoch)
        .map_or(Preferred::NotAvailable, Preferred::Elected)
}

/// The same leader, with a new epoch: what else changed about the partition is told under it, for brokers do not look
/// at an epoch that they know. In the ISR are replicas only, if one of them is in it. `None` when the leader is no replica.
pub fn renewed(
    replicas: &[BrokerId],
    state: &PartitionState,
    controller_epoch: ControllerEpoch,
) -> Option<PartitionState> {
    if state.leader.is_some_and(|leader| !replicas.contains(&leader)) {
        return None;
    }
    let mut isr = state.isr.clone();
    isr.retain(|id| replicas.contains(id));
    if isr.is_empty() {
        // Of a controller of Kafka: nobody leads, and the last one in sync was dropped. Who that was is kept.
        isr.clone_from(&state.isr);
    }
    next(state, state.leader, isr, state.recovering, controller_epoch)
}

fn next(
    state: &PartitionState,
    leader: Option<BrokerId>,
    isr: Vec<BrokerId>,
    recovering: bool,
    controller_epoch: ControllerEpoch,
) -> Option<PartitionState> {
    Some(PartitionState {
        controller_epoch,
        leader,
        leader_epoch: LeaderEpoch(state.leader_epoch.get().saturating_add(1)),
        isr,
        recovering,
    })
}
