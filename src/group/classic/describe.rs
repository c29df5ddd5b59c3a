//! What others are told of a group: DescribeGroups, ListGroups, and what the expiry of its offsets goes by.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::ClassicGroup;
use super::state::{DEAD, State};
use super::subscription::topics_of;
use crate::base::error_code::ErrorCode;
use crate::base::ids::Offset;
use crate::group::command::{Described, DescribedMember, Listed};
use crate::group::offsets::Expiry;
use crate::wire::text::Text;

/// The one protocol type whose members' metadata the broker looks into.
const CONSUMER: &str = "consumer";
/// Roughly what a topic takes that members subscribe to, beside its name.
const TOPIC_BYTES: usize = 64;
/// What a group of the classic protocol is called in lists.
const CLASSIC: &str = "classic";

/// A group that has offsets and nothing else, or that does not exist.
pub fn describe_without_members(group_id: Text, exists: bool) -> Described {
    Described {
        error: ErrorCode::None,
        error_message: None,
        group_id,
        state: if exists { State::Empty.name() } else { DEAD },
        protocol_type: Text::EMPTY,
        protocol: Text::EMPTY,
        members: Vec::new(),
    }
}

/// A group that has offsets and nothing else.
pub fn list_without_members(group_id: Text) -> Listed {
    Listed {
        group_id,
        protocol_type: Text::EMPTY,
        state: State::Empty.name(),
        group_type: CLASSIC,
    }
}

impl ClassicGroup {
    /// What others are told: a group is stable once its assignments are replicated.
    fn told_state(&self, replicated_below: Offset) -> State {
        match self.unreplicated_assignment(replicated_below) {
            Some(_) if self.state == State::Stable => State::CompletingRebalance,
            _ => self.state,
        }
    }

    /// `GroupMetadata.summary`: metadata and assignments of a stable group only.
    pub fn describe(&self, replicated_below: Offset) -> Described {
        let state = self.told_state(replicated_below);
        let protocol = self.protocol_name.clone().filter(|_| state == State::Stable);
        let members = self.members.iter().map(|(id, member)| DescribedMember {
            member_id: id.clone(),
            group_instance_id: member.group_instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: protocol
                .as_ref()
                .map_or_else(Bytes::new, |protocol| member.metadata(protocol)),
            assignment: if state == State::Stable {
                member.assignment.clone()
            } else {
                Bytes::new()
            },
        });
        Described {
            state: state.name(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            members: members.collect(),
            protocol: protocol.unwrap_or_default(),
            ..describe_without_members(self.id.clone(), true)
        }
    }

    /// `GroupMetadata.overview`.
    pub fn list(&self, replicated_below: Offset) -> Listed {
        Listed {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            state: self.told_state(replicated_below).name(),
            ..list_without_members(self.id.clone())
        }
    }

    /// True for a group of consumers.
    pub fn is_consumers(&self) -> bool {
        self.protocol_type.as_ref().is_some_and(|name| *name == CONSUMER)
    }

    /// The topics that the members of the last generation subscribe to; `None` when that cannot be told. While a rebalance
    /// goes on, what members join with does not count yet, as in Kafka.
    pub fn subscribed_topics(&self) -> Option<BTreeSet<Text>> {
        let topics = self.subscribed.as_ref()?;
        Some(topics.iter().cloned().collect())
    }

    /// What the members subscribe to now counts until it is noted again.
    pub(super) fn note_subscribed(&mut self) {
        self.subscribed = self.compute_subscribed();
        let topics = self.subscribed.iter().flatten();
        let bytes = topics.map(|topic| TOPIC_BYTES + topic.as_bytes().len());
        self.subscribed_bytes = bytes.sum();
    }

    /// The topics that the members subscribe to now; `None` when they are no consumers, no protocol is chosen, or a
    /// member's metadata is not understood (`computeSubscribedTopics`).
    fn compute_subscribed(&self) -> Option<Box<[Text]>> {
        if !self.is_consumers() {
            return None;
        }
        if self.members.is_empty() {
            return Some(Box::default());
        }
        let protocol = self.protocol_name.as_ref()?;
        let mut topics = BTreeSet::new();
        for (_, member) in self.members.iter() {
            topics.extend(topics_of(member.metadata(protocol)).ok()?);
        }
        Some(topics.into_iter().collect())
    }

    /// Which of its offsets can expire, and from when on their age counts (KIP-211).
    pub fn expiry(&self) -> Expiry {
        match (self.state, &self.protocol_type) {
            (_, None) => Expiry::SinceCommit {
                except: BTreeSet::new(),
            },
            (State::Empty, Some(_)) => Expiry::SinceEmpty(self.state_since_ms),
            (State::Stable, Some(_)) => match self.subscribed_topics() {
                Some(except) => Expiry::SinceCommit { except },
                None => Expiry::Never,
            },
            (State::PreparingRebalance(_) | State::CompletingRebalance, Some(_)) => Expiry::Never,
        }
    }
}
