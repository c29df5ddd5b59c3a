//! [`Turn`]: one call of the state machine: when it is, what holds for it, and what it gives back.

use crate::base::ids::Offset;
use crate::base::random::Random;
use crate::coordinator::{Effects, TimerChange, Token};
use crate::group::command::Answer;
use crate::group::settings::GroupSettings;
use crate::group::shard::GroupShard;
use crate::group::timer::GroupTimer;

/// One call of the state machine. Effects are kept in the order in which they come up.
pub(in crate::group) struct Turn<'a> {
    /// The settings in force.
    pub settings: &'a GroupSettings,
    /// Where member ids come from.
    pub random: &'a Random,
    /// All replicas in sync have what is in the log below this offset.
    pub replicated_below: Offset,
    /// Now, in milliseconds.
    pub now_ms: i64,
    /// What is to be done.
    pub effects: Effects<GroupShard>,
}

impl<'a> Turn<'a> {
    /// A turn without effects yet.
    pub fn new(
        settings: &'a GroupSettings,
        random: &'a Random,
        replicated_below: Offset,
        now_ms: i64,
    ) -> Self {
        Self {
            settings,
            random,
            replicated_below,
            now_ms,
            effects: Effects::default(),
        }
    }

    /// A client gets its answer.
    pub fn answer(&mut self, token: Token, answer: Answer) {
        self.effects.answers.push((token, answer));
    }

    /// A client gets its answer when the record at `offset` is replicated.
    pub fn answer_behind(&mut self, offset: Offset, token: Token, answer: Answer) {
        self.effects.held.push((offset.plus(1), token, answer));
    }

    /// A timer is to fire `after_ms` from now.
    pub fn set(&mut self, timer: GroupTimer, after_ms: i64) {
        self.effects.timers.push(TimerChange::Set {
            timer,
            at_ms: self.now_ms.saturating_add(after_ms),
        });
    }

    /// A timer is not to fire.
    pub fn cancel(&mut self, timer: GroupTimer) {
        self.effects.timers.push(TimerChange::Cancel(timer));
    }
}
