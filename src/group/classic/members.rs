//! [`Members`]: the members of one group, and what follows from all of them together.
//!
//! Invariant: the counts, the index of static members and the support of each protocol agree with the members, whatever
//! happens to them; so members change through this file only. Members are looked up by `Text`, whose bytes are compared: a `&str` would be checked to be UTF-8 at each comparison. The leader, when there is one, is a member. Order is that of
//! member ids. Follows the part of `GroupMetadata` that keeps them.

use std::collections::btree_map;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::member::{Member, own_protocols};
use crate::coordinator::Token;
use crate::group::command::Join;
use crate::group::record::MemberValue;
use crate::wire::text::Text;

/// The members of a group.
#[derive(Clone, Default, Debug)]
pub(in crate::group) struct Members {
    by_id: BTreeMap<Text, Member>,
    /// Member id by instance id.
    by_instance: BTreeMap<Text, Text>,
    /// How many members offer each protocol.
    support: BTreeMap<Text, usize>,
    leader: Option<Text>,
    awaiting_join: usize,
    bytes: usize,
}

/// The names of `protocols`, each once however often a client names it, and however many it names.
fn names(protocols: &[(Text, Bytes)]) -> BTreeSet<&Text> {
    protocols.iter().map(|(name, _)| name).collect()
}

impl Members {
    /// How many.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// True for none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The member with this id.
    pub fn get(&self, id: &Text) -> Option<&Member> {
        self.by_id.get(id)
    }

    /// The member with this id, and its id in the group's own memory.
    pub fn entry(&self, id: &Text) -> Option<(&Text, &Member)> {
        self.by_id.get_key_value(id)
    }

    /// True when there is a member with this id.
    pub fn contains(&self, id: &Text) -> bool {
        self.by_id.contains_key(id)
    }

    /// All of them, by id.
    pub fn iter(&self) -> btree_map::Iter<'_, Text, Member> {
        self.by_id.iter()
    }

    /// The id of the member with this instance id.
    pub fn with_instance(&self, instance: &Text) -> Option<&Text> {
        self.by_instance.get(instance)
    }

    /// The leader's id.
    pub fn leader(&self) -> Option<&Text> {
        self.leader.as_ref()
    }

    /// True for the leader.
    pub fn is_leader(&self, id: &Text) -> bool {
        self.leader.as_ref() == Some(id)
    }

    /// How many have a JoinGroup waiting.
    pub fn awaiting_join(&self) -> usize {
        self.awaiting_join
    }

    /// The longest rebalance timeout; 0 for no members.
    pub fn rebalance_timeout_ms(&self) -> i64 {
        let timeouts = self.by_id.values().map(|member| member.rebalance_timeout_ms);
        timeouts.fold(0, i32::max).into()
    }

    /// Bytes of memory, roughly.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes in a member; the first one leads.
    pub fn add(&mut self, id: Text, member: Member) {
        self.leader.get_or_insert_with(|| id.clone());
        self.count(&id, &member);
        self.by_id.insert(id, member);
    }

    /// Takes a member out. If it led, the next one by id leads.
    pub fn remove(&mut self, id: &Text) -> Option<Member> {
        let (id, member) = self.by_id.remove_entry(id)?;
        self.discount(&id, &member);
        if self.is_leader(&id) {
            self.leader = self.by_id.keys().next().cloned();
        }
        Some(member)
    }

    /// A static member goes on under a new id, and leads if it led.
    pub fn rename(&mut self, old: &Text, new: Text) {
        let Some((old, member)) = self.by_id.remove_entry(old) else {
            return;
        };
        self.discount(&old, &member);
        self.count(&new, &member);
        if self.is_leader(&old) {
            self.leader = Some(new.clone());
        }
        self.by_id.insert(new, member);
    }

    /// A member becomes what it was before.
    pub fn restore(&mut self, id: &Text, before: Member) {
        let Some((id, member)) = self.by_id.remove_entry(id) else {
            return;
        };
        self.discount(&id, &member);
        self.count(&id, &before);
        self.by_id.insert(id, before);
    }

    /// A member joins again, maybe with other protocols and timeouts.
    pub fn update(&mut self, id: &Text, join: &Join) {
        let Some(member) = self.by_id.get_mut(id) else {
            return;
        };
        member.rebalance_timeout_ms = join.rebalance_timeout_ms;
        member.session_timeout_ms = join.session_timeout_ms;
        if !member.offers(&join.protocols) {
            self.set_protocols(id, own_protocols(&join.protocols));
        }
    }

    /// A member's JoinGroup waits. Answers an earlier one that did.
    pub fn park_join(&mut self, id: &Text, token: Token) -> Option<Token> {
        let earlier = self.by_id.get_mut(id)?.awaiting_join.replace(token);
        self.awaiting_join += usize::from(earlier.is_none());
        earlier
    }

    /// A member's JoinGroup that waits; it does no longer.
    pub fn take_join(&mut self, id: &Text) -> Option<Token> {
        let token = self.by_id.get_mut(id)?.awaiting_join.take()?;
        self.awaiting_join = self.awaiting_join.saturating_sub(1);
        Some(token)
    }

    /// A member's SyncGroup waits. Answers an earlier one that did.
    pub fn park_sync(&mut self, id: &Text, token: Token) -> Option<Token> {
        self.by_id.get_mut(id)?.awaiting_sync.replace(token)
    }

    /// A member's SyncGroup that waits; it does no longer.
    pub fn take_sync(&mut self, id: &Text) -> Option<Token> {
        self.by_id.get_mut(id)?.awaiting_sync.take()
    }

    /// All SyncGroups that wait, with their members; they do no longer.
    pub fn take_syncs(&mut self) -> Vec<(Text, Token)> {
        let take = |(id, member): (&Text, &mut Member)| Some((id.clone(), member.awaiting_sync.take()?));
        self.by_id.iter_mut().filter_map(take).collect()
    }

    /// A member is part of a generation now.
    pub fn settle(&mut self, id: &Text) {
        if let Some(member) = self.by_id.get_mut(id) {
            member.is_new = false;
        }
    }

    /// Nobody is assigned anything.
    pub fn clear_assignments(&mut self) {
        for member in self.by_id.values_mut() {
            self.bytes = self.bytes.saturating_sub(member.assignment.len());
            member.assignment = Bytes::new();
        }
    }

    /// Sees to it that the leader has a JoinGroup waiting, choosing the first one that has if need be.
    ///
    /// Answers false when nobody has.
    pub fn elect_joined_leader(&mut self) -> bool {
        let joined = |id: &Text| self.get(id).is_some_and(|member| member.awaiting_join.is_some());
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let Some(leader) = self.by_id.keys().find(|id| joined(id)).cloned() else {
            return false;
        };
        self.leader = Some(leader);
        true
    }

    /// True when one of `protocols` is offered by every member. With no members any is.
    pub fn all_support_one_of(&self, protocols: &[(Text, Bytes)]) -> bool {
        protocols.iter().any(|(name, _)| self.all_support(name))
    }

    fn all_support(&self, protocol: &Text) -> bool {
        self.support.get(protocol).copied().unwrap_or(0) == self.len()
    }

    /// The protocol of the next generation: each member votes for the first of its own that all offer. Among equals the
    /// leader's order decides. `None` when there is none that all offer.
    pub fn select_protocol(&self) -> Option<Text> {
        let mut votes: BTreeMap<&Text, usize> = BTreeMap::new();
        for member in self.by_id.values() {
            let mut offered = member.protocols.iter().map(|(name, _)| name);
            if let Some(vote) = offered.find(|name| self.all_support(name)) {
                *votes.entry(vote).or_default() += 1;
            }
        }
        let most = votes.values().max()?;
        let leader = self.leader.as_ref().and_then(|id| self.by_id.get(id));
        let leaders = leader.into_iter().flat_map(|member| &member.protocols);
        leaders
            .map(|(name, _)| name)
            .chain(votes.keys().copied())
            .find(|name| votes.get(name) == Some(most))
            .cloned()
    }

    /// The members become those of the log. Those that are as the log says keep what the log does not say: what they
    /// wait for, and their other protocols.
    pub fn load(&mut self, values: Vec<MemberValue>, protocol: Option<&Text>, leader: Option<Text>) {
        let mut before = std::mem::take(self);
        for value in values {
            let id = value.member_id.clone();
            let known = before.by_id.remove(&id);
            let member = match known {
                Some(known) if known.is_recorded_as(&value, protocol) => Member {
                    assignment: value.assignment,
                    ..known
                },
                known => Member {
                    awaiting_join: known.as_ref().and_then(|known| known.awaiting_join),
                    awaiting_sync: known.as_ref().and_then(|known| known.awaiting_sync),
                    ..Member::load(value, protocol)
                },
            };
            // One id twice in a record: the last one counts, as in a map.
            self.remove(&id);
            self.add(id, member);
        }
        self.leader = leader.filter(|id| self.contains(id));
    }

    /// A member offers other protocols: new ones, or those that it had before it was loaded from the log, which does not
    /// have them.
    pub fn set_protocols(&mut self, id: &Text, protocols: Vec<(Text, Bytes)>) {
        let Some((id, mut member)) = self.by_id.remove_entry(id) else {
            return;
        };
        self.discount(&id, &member);
        member.protocols = protocols;
        self.count(&id, &member);
        self.by_id.insert(id, member);
    }

    fn count(&mut self, id: &Text, member: &Member) {
        for name in names(&member.protocols) {
            *self.support.entry(name.clone()).or_default() += 1;
        }
        if let Some(instance) = &member.group_instance_id {
            self.by_instance.insert(instance.clone(), id.clone());
        }
        self.awaiting_join += usize::from(member.awaiting_join.is_some());
        self.bytes += member.bytes() + id.as_bytes().len();
    }

    fn discount(&mut self, id: &Text, member: &Member) {
        for name in names(&member.protocols) {
            if let btree_map::Entry::Occupied(mut count) = self.support.entry(name.clone()) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
        if let Some(instance) = &member.group_instance_id
            && self.by_instance.get(instance) == Some(id)
        {
            self.by_instance.remove(instance);
        }
        let waited = usize::from(member.awaiting_join.is_some());
        self.awaiting_join = self.awaiting_join.saturating_sub(waited);
        self.bytes = self.bytes.saturating_sub(member.bytes() + id.as_bytes().len());
    }
}
