//! Where the logs of a partition end of whose ISR nobody has what it had: the longest one leads (after KIP-966).
//!
//! Each broker that is here is asked once, and again when it could not say. An answer is good for as long as nobody leads and
//! its broker stays; one that was asked for in another state than the partition's is none: somebody may have led meanwhile.
//! Looked at after each event, since whatever it was may have left such a partition.

use std::collections::{BTreeMap, BTreeSet};

use super::active::Active;
use super::channels::{AskedEnds, Request};
use super::context::Context;
use super::election::{self, Replicas};
use super::reign::Lost;
use super::watching::Look;
use crate::base::ids::BrokerId;
use crate::metadata::control::LogEnds;

impl Context {
    /// Forgets where the logs of a broker end.
    pub(super) fn forget_ends(&mut self, broker: BrokerId) {
        self.asked.retain(|(asked, _)| *asked != broker);
        for topic in self.topics_mut() {
            for partition in topic.partitions.values_mut() {
                partition.ends.remove(&broker);
            }
        }
    }
}

impl Active {
    /// Asks where logs end, where that decides who leads: each broker that is here, once.
    pub(super) async fn ask_log_ends(&mut self) -> Result<(), Lost> {
        if !self.context.is_suspicious {
            return Ok(());
        }
        let mut asked: BTreeMap<BrokerId, AskedEnds> = BTreeMap::new();
        let mut waiting: BTreeSet<BrokerId> = BTreeSet::new();
        let mut count = 0;
        let mut is_suspicious = false;
        for name in self.settled_partitions() {
            let Some(partition) = self.context.partition(&name) else {
                continue;
            };
            let Some(written) = partition.state.as_ref().filter(|_| !partition.suspect.is_empty()) else {
                continue;
            };
            if written.state.leader.is_some() {
                continue;
            }
            is_suspicious = true;
            let seen = self.context.seen(&name);
            for broker in election::unknown_ends(&partition.replicas, &written.state, &seen) {
                if !self.context.asked.contains(&(broker, name.clone())) {
                    let ends = asked.entry(broker).or_default();
                    ends.insert(name.clone(), written.partition_epoch);
                }
            }
            let away = partition.replicas.iter().copied();
            let away: Vec<BrokerId> = away.filter(|id| !seen.online(*id) || seen.leaving(*id)).collect();
            count += usize::from(!away.is_empty());
            waiting.extend(away);
        }
        self.context.is_suspicious = is_suspicious;
        if count > 0 && (count, &waiting) != (self.context.waiting.0, &self.context.waiting.1) {
            tracing::warn!(
                "{count} partitions have no leader: their replicas in sync that are here came back without what they had not \
                 synced, and brokers {waiting:?} may have more; an unclean election does not wait for them"
            );
        }
        self.context.waiting = (count, waiting);
        let mine = asked.remove(&self.parts.broker);
        for (broker, names) in asked {
            let noted = names.keys().map(|name| (broker, name.clone()));
            self.context.asked.extend(noted);
            self.channels.tell(broker, Request::LogEnds(names));
        }
        if let Some(names) = mine {
            let ends = self.parts.local.log_ends(names.keys().cloned().collect()).await;
            self.take_log_ends(self.parts.broker, names, ends).await?;
        }
        Ok(())
    }

    /// Takes where logs of a broker end, and elects where that was the last word.
    pub(super) async fn take_log_ends(
        &mut self,
        broker: BrokerId,
        mut asked: AskedEnds,
        ends: LogEnds,
    ) -> Result<(), Lost> {
        let mut known = Vec::new();
        let mut again = false;
        for (name, end) in ends {
            let Some(epoch) = asked.remove(&name) else {
                continue;
            };
            let key = (broker, name);
            if end.is_ok() {
                self.context.asked.remove(&key);
            } else {
                // Not at once: it has just said that it cannot.
                again |= self.context.asked.insert(key.clone()) || broker != self.parts.broker;
            }
            let (_, name) = key;
            let Some(partition) = self.context.partition_mut(&name) else {
                continue;
            };
            let is_of_now = partition
                .state
                .as_ref()
                .is_some_and(|written| written.partition_epoch == epoch);
            match end {
                Ok(end) if is_of_now && !partition.suspect.is_empty() => {
                    partition.ends.insert(broker, end);
                    known.push(name);
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!("where {name} ends on broker {broker} cannot be told: {error}");
                }
            }
        }
        if !asked.is_empty() {
            tracing::warn!(
                "broker {broker} does not say where {} of its logs end",
                asked.len()
            );
            self.context
                .asked
                .extend(asked.into_keys().map(|name| (broker, name)));
            again = true;
        }
        if again {
            self.channels.look_later(Look::LogEnds);
        }
        known.retain(|name| {
            let partition = self.context.partition(name);
            let state = partition.and_then(|partition| Some((partition, partition.state.as_ref()?)));
            state.is_some_and(|(partition, written)| {
                let seen = self.context.seen(name);
                election::unknown_ends(&partition.replicas, &written.state, &seen).is_empty()
            })
        });
        if known.is_empty() {
            return Ok(());
        }
        self.replace_leaders(&known).await
    }
}
