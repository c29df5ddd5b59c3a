//! The logs of partitions that are new on this broker: where each is made, and what becomes of those that are not made soon.
//!
//! They are made on the pools of their directories, so that many are made side by side. A directory is tried out first: while
//! that does not return the choice is taken again, and the directory passed over. What comes to hang afterwards goes on in the
//! background, and what was decided waits for it ([`put_off`](super::put_off)). Invariant: from when a partition's folder may
//! be there until it is known what became of it, no other directory gets one: with two the broker would not start.

use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::task::JoinHandle;

use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{TopicId, TopicPartition};
use crate::base::task;
use crate::metadata::control::{ControlAnswer, LeaderAndIsrPartition, StopReplicaPartition};
use crate::storage::log::Log;

use super::background::Buried;
use super::directories::HostDirectory;
use super::replicas::Replicas;
use super::upkeep::{finish_creations, folder_delay_ms};

/// A partition that has no log here, and what was decided about it.
pub(super) struct Missing {
    pub name: TopicPartition,
    pub id: TopicId,
    pub decision: LeaderAndIsrPartition,
}

/// Logs that are being made in one directory, in the order in which they were wanted; none for one that could not be made.
pub(super) type Logs = JoinHandle<Vec<Option<Log>>>;

/// Whether folders of partitions may be there.
#[derive(Default)]
struct Stage(AtomicU8);

impl Stage {
    const BEGUN: u8 = 1;
    const GIVEN_UP: u8 = 2;

    fn take(&self, stage: u8) -> bool {
        let taken = self
            .0
            .compare_exchange(0, stage, Ordering::AcqRel, Ordering::Acquire);
        taken.is_ok()
    }

    /// From now on they may be, unless it was given up.
    fn begin(&self) -> bool {
        self.take(Self::BEGUN)
    }

    /// They will not be, unless it has begun.
    fn give_up(&self) -> bool {
        self.take(Self::GIVEN_UP)
    }
}

impl Replicas {
    /// Makes the logs that are missing, side by side, and takes the decisions about them; what waits for its directory is
    /// answered as done.
    pub(super) async fn make(self: &Arc<Self>, missing: Vec<Missing>, answer: &mut ControlAnswer) {
        let mut left = Vec::new();
        for one in missing {
            match self.making_in(&one.name) {
                Some(directory) => {
                    let directory = Arc::clone(directory);
                    self.put_off_new(&directory, one, answer);
                }
                None => {
                    // What was decided before and waits is of no interest any more.
                    self.make_no_more(&one.name);
                    left.push(one);
                }
            }
        }
        // Each time round one more directory is found to hang.
        while !left.is_empty() {
            let mut running = Vec::new();
            for (directory, batch) in self.place(std::mem::take(&mut left), answer) {
                if directory.hangs() {
                    // So do all others.
                    for one in batch {
                        self.put_off_new(&directory, one, answer);
                    }
                    continue;
                }
                let stage = Arc::new(Stage::default());
                let logs = self.begin_making(&directory, &batch, &stage);
                running.push((directory, batch, logs, stage));
            }
            for (directory, batch, mut logs, stage) in running {
                let made = tokio::select! {
                    biased;
                    made = &mut logs => Some(made.unwrap_or_default()),
                    () = directory.begins_to_hang() => None,
                };
                match made {
                    Some(made) => self.take_up(&directory, batch, made, answer),
                    None if stage.give_up() => left.extend(batch),
                    None => self.put_off_making(&directory, batch, logs, answer),
                }
            }
        }
    }

    /// Chooses a directory for each of them; an error is the answer where there is none.
    fn place(
        &self,
        missing: Vec<Missing>,
        answer: &mut ControlAnswer,
    ) -> Vec<(Arc<HostDirectory>, Vec<Missing>)> {
        let directories = self.directories();
        let mut planned: Vec<usize> = directories.iter().map(|one| one.partitions()).collect();
        let mut batches: Vec<Vec<Missing>> = directories.iter().map(|_| Vec::new()).collect();
        let any_offline = directories.iter().any(|directory| directory.is_offline());
        for one in missing {
            // A replica that was here before may lie in the directory that is offline: it must not begin anew elsewhere.
            let choice = if any_offline && !one.decision.is_new {
                None
            } else {
                self.preferred(&one.name).or_else(|| self.emptiest(&planned))
            };
            let place = choice.and_then(|at| Some((planned.get_mut(at)?, batches.get_mut(at)?)));
            let Some((count, batch)) = place else {
                answer.partitions.push((one.name, ErrorCode::KafkaStorageError));
                continue;
            };
            *count += 1;
            batch.push(one);
        }
        let placed = directories.iter().cloned().zip(batches);
        placed.filter(|(_, batch)| !batch.is_empty()).collect()
    }

    /// The directory in which the partition is wanted, if that works.
    fn preferred(&self, name: &TopicPartition) -> Option<usize> {
        let at = self.moves.take_preference(name)?;
        let directory = self.directories().get(at)?;
        (!directory.is_offline() && !directory.hangs()).then_some(at)
    }

    /// The working directory with the fewest partitions (`LogManager.nextLogDirs`). One that hangs is waited for when there
    /// is no other one.
    fn emptiest(&self, planned: &[usize]) -> Option<usize> {
        self.directories()
            .iter()
            .zip(planned)
            .enumerate()
            .filter(|(_, (directory, _))| !directory.is_offline())
            .min_by_key(|(_, (directory, count))| (directory.hangs(), **count))
            .map(|(at, _)| at)
    }

    /// Begins to make logs on the pool of a directory. Of what was given up before it began none is made.
    fn begin_making(
        self: &Arc<Self>,
        directory: &Arc<HostDirectory>,
        batch: &[Missing],
        stage: &Arc<Stage>,
    ) -> Logs {
        let wanted: Vec<_> = batch.iter().map(|one| (one.name.clone(), one.id)).collect();
        let (replicas, place, stage) = (Arc::clone(self), Arc::clone(directory), Arc::clone(stage));
        let running = directory.pool().begin(move || {
            let _work = place.work().begin();
            place.try_out();
            match stage.begin() {
                true => replicas.make_all(&place, wanted),
                false => Vec::new(),
            }
        });
        let directory = Arc::clone(directory);
        task::spawn(async move {
            let _work = directory.work().queue();
            running.await.unwrap_or_default()
        })
    }

    /// Makes logs in one directory, and their folders durable with one sync. Blocks. What failed the volume has told.
    fn make_all(
        &self,
        directory: &Arc<HostDirectory>,
        wanted: Vec<(TopicPartition, TopicId)>,
    ) -> Vec<Option<Log>> {
        let image = self.cluster().get();
        let mut made = Vec::with_capacity(wanted.len());
        for (name, id) in wanted {
            let (id, config) = ((!id.is_zero()).then_some(id), image.log_config(&name.topic));
            let call = directory.watch().begin();
            let log = Log::create(directory.volume(), name, id, config, clock::now_ms());
            drop(call);
            directory.work().goes_on();
            made.push(log.ok());
        }
        let synced = directory.sync();
        directory.work().goes_on();
        let names: Vec<_> = made.iter().flatten().map(|log| log.partition().clone()).collect();
        self.forget_former_lives(directory, &names);
        let durable = |log: Option<Log>| log.filter(|_| synced.is_ok());
        made.into_iter().map(durable).collect()
    }

    /// Takes over logs that were made, and takes the decisions about them.
    fn take_up(
        self: &Arc<Self>,
        directory: &Arc<HostDirectory>,
        batch: Vec<Missing>,
        made: Vec<Option<Log>>,
        answer: &mut ControlAnswer,
    ) {
        let mut hosted = Vec::new();
        for (one, log) in batch
            .into_iter()
            .zip(made.into_iter().chain(iter::repeat_with(|| None)))
        {
            let error = match log {
                Some(log) => {
                    let partition = self.host(directory, log);
                    hosted.push(Arc::clone(&partition));
                    self.decide_or_put_off(&partition, one.id, one.decision)
                }
                None => ErrorCode::KafkaStorageError,
            };
            answer.partitions.push((one.name, error));
        }
        finish_creations(directory, hosted);
    }

    /// The directory in which the partition's log is being made, or is to go as soon as it is made.
    fn making_in(&self, name: &TopicPartition) -> Option<&Arc<HostDirectory>> {
        let mut directories = self.directories().iter();
        directories.find(|directory| directory.put_off.is_making(name))
    }

    /// The answer to the stop of a partition whose log is being made; `None` where none is. One that is to be deleted goes
    /// when it is made.
    pub(super) fn stop_making(&self, stop: &StopReplicaPartition) -> Option<ErrorCode> {
        let directory = self.making_in(&stop.partition)?;
        let decided = directory.put_off.newest_epoch_of(&stop.partition);
        let is_stale =
            stop.leader_epoch.get() >= 0 && decided.is_some_and(|newest| stop.leader_epoch < newest);
        Some(if is_stale {
            ErrorCode::FencedLeaderEpoch
        } else if stop.delete {
            directory.put_off.want_no_more(&stop.partition);
            ErrorCode::KafkaStorageError
        } else {
            ErrorCode::None
        })
    }

    /// Takes over logs that were put off and are made now; those that nobody wants any more go.
    pub(super) async fn take_up_late(
        self: &Arc<Self>,
        directory: &Arc<HostDirectory>,
        names: Vec<TopicPartition>,
        logs: Logs,
    ) {
        let made = logs.await.unwrap_or_default();
        let control = self.control.lock().await;
        let (mut hosted, mut unwanted, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for (name, log) in names
            .into_iter()
            .zip(made.into_iter().chain(iter::repeat_with(|| None)))
        {
            match log {
                Some(log) if directory.put_off.made_if_wanted(&name) => {
                    hosted.push(self.host(directory, log))
                }
                Some(log) => {
                    unwanted.push(log);
                    gone.push(name);
                }
                None => {
                    tracing::warn!(partition = %name, "a log that was put off could not be made");
                    directory.put_off.drop_decision(&name);
                    gone.push(name);
                }
            }
        }
        tracing::info!(
            directory = %directory.path().display(),
            made = hosted.len(),
            unwanted = unwanted.len(),
            "logs that were put off are made"
        );
        finish_creations(directory, hosted);
        drop(control);
        if !unwanted.is_empty() {
            let (replicas, place) = (Arc::clone(self), Arc::clone(directory));
            // A failure has taken the directory offline.
            let _ = directory
                .pool()
                .run(move || replicas.discard(&place, unwanted))
                .await;
        }
        directory.put_off.made(&gone);
    }

    /// Has logs go that nobody wants any more. Blocks.
    fn discard(&self, directory: &Arc<HostDirectory>, logs: Vec<Log>) {
        let due_ms = clock::now_ms().saturating_add(folder_delay_ms(self.cluster()));
        for log in logs {
            if let Ok(path) = log.mark_deleted() {
                self.bury(Buried::folder(Arc::clone(directory), path, due_ms));
            }
        }
        let _ = directory.sync();
    }
}
