//! What a shard does, and its way into the log.
//!
//! Invariant: the append is made under the shard's lock, a positioned write that does not wait, so nothing comes between
//! a decision and its records, and what is replayed is what the log has. When the log directory does not answer, the
//! write goes to its pool, and until it is over the shard answers COORDINATOR_LOAD_IN_PROGRESS: clients try again, and
//! nothing has to be queued.
//!
//! Replayed is when it is appended, so that the next decision counts with it; until it is replicated the shard shows
//! nobody what it says ([`Replayed::replicated`](super::Replayed::replicated)), for it may be lost with the leader. How
//! far the replicas are is looked up before each command, while anything is missing: nobody has to be told in between.

use bytes::Bytes;

use super::batch::{Write, encode};
use super::replicated::{Deliveries, Unreplicated, outcome};
use super::settings::CoordinatorSettings;
use super::shard::{Effects, EndedTransaction, Shard, Step};
use super::slot::{After, Slot, Standing, State};
use crate::base::clock::Instant;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{Offset, ProducerEpoch, ProducerId};
use crate::records::control::EndTransactionMarker;
use crate::replica::answers::{AppendAnswer, PendingAck, PendingFlush};
use crate::replica::waiting::Wakes;

impl<S: Shard> Slot<S> {
    /// Lets the shard do something, and writes what it wants written. `may_wait`: on the directory's pool.
    pub fn act(
        &self,
        state: &mut State<S>,
        settings: &CoordinatorSettings,
        may_wait: bool,
        now_ms: i64,
        act: impl FnOnce(&mut S) -> Step<S>,
    ) -> After<S> {
        let Some(shard) = &mut state.shard else {
            return After::default();
        };
        let (records, decision) = match act(shard) {
            Step::Done(effects) => return self.after(state, settings, effects, now_ms),
            Step::Write { records, decision } => (records, decision),
        };
        let producer = S::producer(&decision);
        let batch = match encode(&records, producer, settings.codec, now_ms) {
            Ok(batch) => batch,
            Err(error) => {
                tracing::error!(partition = %self.partition.name(), %error, "records cannot be written");
                let effects = shard.refused(decision, ErrorCode::RecordListTooLarge, now_ms);
                return self.after(state, settings, effects, now_ms);
            }
        };
        let write = Write {
            batch,
            records,
            producer,
            decision,
            timestamp_ms: now_ms,
        };
        match self.append(&write.batch, settings, may_wait, now_ms) {
            Some((answer, wakes)) => self.complete(state, settings, write, answer, wakes, now_ms),
            None => {
                state.standing = Standing::Writing;
                After {
                    stalled: Some(write),
                    ..After::default()
                }
            }
        }
    }

    /// Commands were turned away meanwhile: the shard is told, before it takes anything else for silence.
    pub fn resume(
        &self,
        state: &mut State<S>,
        settings: &CoordinatorSettings,
        now_ms: i64,
    ) -> Option<After<S>> {
        if state.standing != Standing::Active || !self.has_turned_away() {
            return None;
        }
        let effects = state.shard.as_mut()?.resumed(now_ms);
        tracing::info!(partition = %self.partition.name(), "takes commands again: sessions begin anew");
        Some(self.after(state, settings, effects, now_ms))
    }

    /// Tells the shard how far the replicas are, if it waits for them. To be called before it is asked anything.
    ///
    /// # Errors
    /// Nobody can tell just now, so the shard is not to tell anything either: NOT_COORDINATOR,
    /// COORDINATOR_LOAD_IN_PROGRESS.
    pub fn see_replicated(&self, state: &mut State<S>) -> Result<(), ErrorCode> {
        let (Some(pending), Some(shard)) = (&state.unreplicated, &mut state.shard) else {
            return Ok(());
        };
        let high_watermark = pending.high_watermark().map_err(|_| {
            if self.partition.directory().watch().is_stalled() {
                ErrorCode::CoordinatorLoadInProgress
            } else {
                ErrorCode::NotCoordinator
            }
        })?;
        shard.replicated(high_watermark);
        if high_watermark >= pending.required {
            state.unreplicated = None;
        }
        Ok(())
    }

    /// What is to be done, with the answers that wait for the replicas put in their line.
    fn after(
        &self,
        state: &mut State<S>,
        settings: &CoordinatorSettings,
        mut effects: Effects<S>,
        now_ms: i64,
    ) -> After<S> {
        let held = std::mem::take(&mut effects.held);
        let mut after = state.after(effects, now_ms);
        for (required, token, answer) in held {
            let mut one = After::default();
            state.address(vec![(token, answer)], &mut one);
            let pending = state.unreplicated.as_ref().map(|last| last.up_to(required));
            if pending.is_some() {
                one.put_off();
                after.follow |= self.wait(settings, pending, None, std::mem::take(&mut one.deliveries));
            }
            after.deliveries.extend(one.deliveries);
            after.at_once = after.at_once.or(one.at_once);
            after.later = after.later.or(one.later);
        }
        after
    }

    /// Puts answers in line. True when somebody must begin to follow.
    fn wait(
        &self,
        settings: &CoordinatorSettings,
        pending: Option<PendingAck>,
        flush: Option<PendingFlush>,
        answers: Deliveries<S::Answer>,
    ) -> bool {
        self.unreplicated.push(Unreplicated {
            pending,
            flush,
            deadline: Instant::now().after(settings.replication_timeout),
            answers,
        })
    }

    fn append(
        &self,
        batch: &Bytes,
        settings: &CoordinatorSettings,
        may_wait: bool,
        now_ms: i64,
    ) -> Option<(AppendAnswer, Wakes)> {
        let (partition, epoch, acks) = (&self.partition, self.epoch(), settings.required_acks);
        let appended = if may_wait {
            Some(partition.append_in_epoch_on_pool(epoch, batch, acks, now_ms))
        } else {
            partition.append_in_epoch(epoch, batch, acks, now_ms)
        };
        if partition.directory().watch().is_stalled() {
            // What clients sent meanwhile may not even have been read.
            self.turn_away();
        }
        appended
    }

    /// Makes a write that could not be made at once, on the directory's pool.
    pub fn write_on_pool(&self, settings: &CoordinatorSettings, write: Write<S>, now_ms: i64) -> After<S> {
        let appended = self.partition.append_in_epoch_on_pool(
            self.epoch(),
            &write.batch,
            settings.required_acks,
            now_ms,
        );
        let (answer, wakes) = appended;
        self.turn_away();
        let mut state = self.lock_on_pool();
        if state.standing == Standing::Writing {
            state.standing = Standing::Active;
        }
        let mut after = self.complete(&mut state, settings, write, answer, wakes, now_ms);
        // Timers that became due meanwhile were left alone.
        after.alarm = state.first_alarm();
        after
    }

    /// The append is over, one way or the other.
    fn complete(
        &self,
        state: &mut State<S>,
        settings: &CoordinatorSettings,
        write: Write<S>,
        answer: AppendAnswer,
        wakes: Wakes,
        now_ms: i64,
    ) -> After<S> {
        let Some(shard) = &mut state.shard else {
            return After {
                wakes,
                ..After::default()
            };
        };
        let was_appended = answer.base_offset >= 0;
        if answer.pending.is_some() {
            state.unreplicated.clone_from(&answer.pending);
        }
        let effects = if was_appended {
            for record in write.replayed(&answer) {
                if let Err(error) = shard.replay(&record) {
                    // As at the next load, which leaves it out too.
                    tracing::error!(
                        partition = %self.partition.name(),
                        offset = %record.offset,
                        %error,
                        "a record that was just written cannot be read"
                    );
                }
            }
            shard.written(write.decision, now_ms)
        } else {
            tracing::debug!(partition = %self.partition.name(), error = %answer.error, "append refused");
            shard.refused(write.decision, answer.error, now_ms)
        };
        let mut after = self.after(state, settings, effects, now_ms);
        after.wakes = wakes;
        if !was_appended {
            return after;
        }
        // Where nobody is to be told there is nothing to wait for; but what must be synced is.
        let is_awaited = !after.deliveries.is_empty() || after.at_once.is_some();
        if answer.pending.is_some() && is_awaited || answer.flush.is_some() {
            after.put_off();
            let answers = std::mem::take(&mut after.deliveries);
            after.follow |= self.wait(settings, answer.pending, answer.flush, answers);
        } else if !answer.error.is_none() {
            after.deliveries = outcome::<S>(after.deliveries, answer.error);
            let not_replicated = |asked| S::not_replicated(asked, answer.error);
            after.at_once = after.at_once.map(not_replicated);
        }
        after
    }

    /// Writes a marker that ends a producer's transaction, and tells the shard. On the directory's pool.
    ///
    /// # Errors
    /// Why the shard takes none, or what the log refuses it for.
    pub fn end_transaction(
        &self,
        settings: &CoordinatorSettings,
        producer: (ProducerId, ProducerEpoch),
        marker: EndTransactionMarker,
        now_ms: i64,
    ) -> Result<(AppendAnswer, Wakes), ErrorCode> {
        let (_, batch) = marker
            .to_batch(producer.0, producer.1, now_ms)
            .map_err(|_| ErrorCode::UnknownServerError)?;
        let mut state = self.lock_on_pool();
        if let Some(error) = state.standing.refusal() {
            return Err(error);
        }
        let (answer, wakes) =
            self.partition
                .append_in_epoch_on_pool(self.epoch(), &batch, settings.required_acks, now_ms);
        if answer.base_offset >= 0
            && let Some(shard) = &mut state.shard
        {
            shard.replay_marker(EndedTransaction {
                producer_id: producer.0.get(),
                producer_epoch: producer.1.get(),
                commit: marker.commit,
                offset: Offset(answer.base_offset),
                replicated: answer.pending.is_none(),
            });
        }
        if answer.pending.is_some() {
            state.unreplicated.clone_from(&answer.pending);
        }
        Ok((answer, wakes))
    }
}
