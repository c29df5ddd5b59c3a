//! Making a log, and opening one that is on disk (Kafka: `LogLoader.load`).
//!
//! After a clean stop the files are believed, but not blindly: the end of the last segment is walked, and indexes,
//! snapshots and transaction indexes that are missing or cannot be right are built anew, where Kafka appends behind
//! garbage, refuses to start or shows aborted records. After any other stop every segment from the recovery point on is
//! recovered.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::clean::CleaningState;
use super::damage::{find_damage, open_segments};
use super::flush::Unsynced;
use super::listing;
use super::progress::Progress;
use super::recover::Recovery;
use super::recover_range::{Recovered, drop_suspect_snapshots, recover, recovery_floor};
use super::roll::create_segment;
use super::side_files::{read_epochs, read_topic_id, rebuild_epochs};
use super::{Log, OpenError};
use crate::base::ids::{Offset, TopicId, TopicPartition};
use crate::base::planted::planted;
use crate::config::LogConfig;
use crate::storage::file_names::{FileKind, partition_folder};
use crate::storage::folder::Folder;
use crate::storage::leader_epochs::LeaderEpochs;
use crate::storage::producer_state::ProducerStates;
use crate::storage::segment::Segment;
use crate::storage::volume::{LogIoError, Volume};

/// What the log directory knows of a log that is to be opened.
#[derive(Clone)]
pub struct LoadOptions {
    /// What it is kept by.
    pub config: Arc<LogConfig>,
    /// The time.
    pub now_ms: i64,
    /// `producer.id.expiration.ms`.
    pub producer_expiration_ms: i64,
    /// The last stop was a clean one.
    pub clean: bool,
    /// From `recovery-point-offset-checkpoint`, 0 when it is not there.
    pub recovery_point: Offset,
    /// From `log-start-offset-checkpoint`, 0 when it is not there.
    pub log_start_offset: Offset,
    /// From `replication-offset-checkpoint`, 0 when it is not there.
    pub high_watermark: Offset,
    /// From `cleaner-offset-checkpoint`, if it is there.
    pub cleaner_checkpoint: Option<Offset>,
    /// Whenever so many bytes more of the log are recovered, it is told ([`PROGRESS_BYTES`](super::PROGRESS_BYTES)).
    pub progress_bytes: u64,
}

/// What opening a log did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LoadReport {
    /// Segments that were read through.
    pub recovered_segments: usize,
    /// Bytes that were cut off, or stay behind damage in a segment that is not the last.
    pub damaged_bytes: u64,
    /// What was found wrong after a clean stop, and repaired.
    pub repairs: Vec<String>,
    /// `cleaner-offset-checkpoint` told of more than is there, and is to be written.
    pub cleaned_lowered: bool,
}

impl Log {
    /// Makes the folder and first segment of a new log. `topic_id` is written by [`Log::creation_work`], at the latest
    /// before the first append.
    pub fn create(
        volume: &Arc<Volume>,
        partition: TopicPartition,
        topic_id: Option<TopicId>,
        config: Arc<LogConfig>,
        now_ms: i64,
    ) -> Result<Self, LogIoError> {
        let name = partition_folder(&partition);
        Self::create_in(volume, &name, partition, topic_id, config, now_ms)
    }

    /// The same in the folder `name` of the volume.
    pub(super) fn create_in(
        volume: &Arc<Volume>,
        name: &str,
        partition: TopicPartition,
        topic_id: Option<TopicId>,
        config: Arc<LogConfig>,
        now_ms: i64,
    ) -> Result<Self, LogIoError> {
        volume.check()?;
        let path = volume.path().join(name);
        // A log directory that was taken away while the broker runs is not made anew: it is offline.
        match volume.disk().create_directory_in(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(volume.failed("make", &path, &error));
            }
            _ => {}
        }
        let folder = Folder::new(Arc::clone(volume), path);
        // A replica that could not be made would be taken for lost.
        let active = volume.until_opened(|| create_segment(&folder, &config, Offset::ZERO, now_ms, 0))?;
        let mut log = Self {
            folder,
            partition,
            topic_id: topic_id.filter(|id| !id.is_zero()),
            metadata_unwritten: Some(Arc::default()),
            config,
            inactive: Vec::new(),
            active,
            log_start_offset: Offset::ZERO,
            log_end_offset: Offset::ZERO,
            high_watermark: Offset::ZERO,
            recovery_point: Offset::ZERO,
            complete_below: Offset::ZERO,
            epochs: LeaderEpochs::new(),
            producers: ProducerStates::new(Offset::ZERO),
            snapshots: Vec::new(),
            unsynced: Unsynced::of_new_folder(),
            truncations: 0,
            last_flush_ms: now_ms,
            cleaning: CleaningState::default(),
        };
        let jitter_ms = log.roll_jitter_ms();
        log.active.set_roll_jitter_ms(jitter_ms);
        Ok(log)
    }

    /// Opens the log in the folder `path` of `volume`.
    pub fn load(
        volume: &Arc<Volume>,
        path: PathBuf,
        partition: TopicPartition,
        options: &LoadOptions,
    ) -> Result<(Self, LoadReport), OpenError> {
        volume.check()?;
        let folder = Folder::new(Arc::clone(volume), path);
        let listing = listing::list(&folder)?;
        let topic_id = read_topic_id(&folder, &listing)?;
        let (mut segments, mut damaged) = open_segments(&folder, &listing)?;
        let (epochs, epochs_unknown) = read_epochs(&folder)?;
        let mut recovery = Recovery {
            folder: &folder,
            options,
            snapshots: listing.snapshots.iter().copied().collect(),
            written: Vec::new(),
            states: None,
            epochs,
            epochs_changed: false,
            report: LoadReport::default(),
            progress: Progress::default(),
        };
        if options.clean {
            find_damage(&mut recovery, &listing, &segments, &mut damaged)?;
        }
        let Recovered { next_offset, gone } = recover(&mut recovery, &mut segments, &damaged)?;
        drop_suspect_snapshots(&mut recovery, &segments)?;
        let loaded = Loaded::new(&mut recovery, &mut segments, next_offset, options)?;
        let is_unknown = epochs_unknown || recovery.epochs.entries().is_empty();
        if planted!("cluster-epochs-forgotten", false, is_unknown) {
            rebuild_epochs(&mut recovery, &segments)?;
        }
        let complete_below = recovery_floor(&segments, &damaged, options, loaded.log_end_offset);
        let Recovery {
            snapshots,
            written,
            states,
            mut epochs,
            mut epochs_changed,
            mut report,
            ..
        } = recovery;
        epochs_changed |= epochs.truncate_from_end(loaded.log_end_offset);
        epochs_changed |= epochs.truncate_from_start(options.log_start_offset);
        let Some(active) = segments.pop() else {
            // `Loaded::new` has made one where there was none.
            return Err(OpenError::PartitionMetadata {
                folder: folder.path().to_owned(),
                reason: "the log has no segment".to_owned(),
            });
        };
        // One above tells of records that a truncation took, and must not be believed of those that come in their place.
        let cleaned = options.cleaner_checkpoint.map(|at| at.min(active.base_offset()));
        report.cleaned_lowered = cleaned != options.cleaner_checkpoint;
        let mut log = Self {
            folder,
            partition,
            topic_id,
            metadata_unwritten: topic_id.is_none().then(Arc::default),
            config: Arc::clone(&options.config),
            inactive: segments,
            active,
            log_start_offset: loaded.log_start_offset,
            log_end_offset: loaded.log_end_offset,
            high_watermark: loaded.log_start_offset,
            recovery_point: if options.clean {
                loaded.log_end_offset
            } else {
                options.recovery_point.min(loaded.log_end_offset)
            },
            complete_below,
            epochs,
            producers: ProducerStates::new(loaded.log_start_offset),
            snapshots,
            unsynced: Unsynced::default(),
            truncations: 0,
            last_flush_ms: options.now_ms,
            cleaning: CleaningState::new(cleaned),
        };
        if epochs_changed {
            log.unsynced.epochs_changed();
        }
        if report.recovered_segments > 0 {
            log.unsynced.folder_changed();
        }
        // After an unclean stop those at and above the recovery point may lie in the page cache only.
        let unsynced = log.snapshots.iter().filter(|offset| {
            written.contains(offset) || (!options.clean && **offset >= options.recovery_point)
        });
        for offset in unsynced.copied().collect::<Vec<_>>() {
            log.unsynced.snapshot_written(offset);
        }
        let mut deleted = log.nothing_deleted(options.now_ms);
        for segment in gone.iter().rev() {
            log.delete_files(segment.base_offset(), segment.files(), &mut deleted)?;
        }
        // Nobody reads them yet; and none may come back behind what is appended from now on.
        let any_gone = !deleted.is_empty();
        deleted.remove()?;
        if any_gone || loaded.began_anew {
            let synced = volume.disk().sync_directory(log.path());
            synced.map_err(|error| volume.failed("sync", log.path(), &error))?;
        }
        log.load_producers(states, options, &mut report)?;
        let jitter_ms = log.roll_jitter_ms();
        log.active.activate(&log.folder, options.now_ms, jitter_ms)?;
        log.active.set_roll_jitter_ms(jitter_ms);
        log.set_high_watermark(options.high_watermark);
        for repair in &report.repairs {
            tracing::warn!(partition = %log.partition, "repaired after a clean stop: {repair}");
        }
        Ok((log, report))
    }

    /// Takes over the producers that recovery ended with, else builds them from the newest snapshot and what follows it.
    fn load_producers(
        &mut self,
        recovered: Option<ProducerStates>,
        options: &LoadOptions,
        report: &mut LoadReport,
    ) -> Result<(), OpenError> {
        self.remove_stray_snapshots()?;
        let end = self.log_end_offset;
        if let Some(mut states) = recovered.filter(|states| states.end_offset() == end) {
            let newest = self.snapshots.last().copied();
            states.set_snapshot_offset(newest.unwrap_or(self.log_start_offset));
            let any = states.count() > 0;
            self.producers.replace(states);
            if any {
                // The next start need not replay what this one did.
                self.take_snapshot()?;
            }
            return Ok(());
        }
        if options.clean && end > self.log_start_offset && self.snapshots.last() != Some(&end) {
            report
                .repairs
                .push(format!("the producer snapshot at offset {end} is missing"));
        }
        Ok(self.rebuild_producers(options.now_ms, options.producer_expiration_ms)?)
    }

    /// Removes snapshots that belong to no segment, except the newest one at or behind the last base, which a clean stop
    /// leaves; and those above the log's end.
    fn remove_stray_snapshots(&mut self) -> Result<(), LogIoError> {
        let last_base = self.active.base_offset();
        let end = self.log_end_offset;
        let newest = self.snapshots.iter().copied().rfind(|offset| *offset <= end);
        let bases: Vec<Offset> = self.base_offsets().collect();
        let (keep, stray): (Vec<Offset>, Vec<Offset>) = self.snapshots.iter().partition(|offset| {
            let is_newest = Some(**offset) == newest && **offset >= last_base;
            **offset <= end && (is_newest || bases.binary_search(offset).is_ok())
        });
        for offset in stray {
            self.folder
                .remove(&self.folder.path_of(offset, FileKind::Snapshot))?;
        }
        self.snapshots = keep;
        Ok(())
    }
}

/// Where a log begins and ends.
struct Loaded {
    log_start_offset: Offset,
    log_end_offset: Offset,
    /// Files were removed for that.
    began_anew: bool,
}

impl Loaded {
    /// Where the log has no segment, or ends below its checkpointed start (its files were removed by hand), one segment
    /// is made at the start.
    fn new(
        recovery: &mut Recovery<'_>,
        segments: &mut Vec<Segment>,
        next_offset: Offset,
        options: &LoadOptions,
    ) -> Result<Self, OpenError> {
        let folder = recovery.folder;
        let start = options.log_start_offset;
        let began_anew = next_offset < start && !segments.is_empty();
        if began_anew {
            tracing::warn!(
                folder = %folder.path().display(),
                "the log ends at {next_offset}, below its start offset {start}: it begins anew there"
            );
            for segment in segments.drain(..).rev() {
                folder.forget(segment.files());
                for kind in FileKind::SEGMENT {
                    folder.remove(&folder.path_of(segment.base_offset(), kind))?;
                }
            }
            for snapshot in std::mem::take(&mut recovery.snapshots) {
                folder.remove(&folder.path_of(snapshot, FileKind::Snapshot))?;
            }
            recovery.epochs_changed |= recovery.epochs.clear();
            recovery.states = None;
        }
        if segments.is_empty() {
            segments.push(create_segment(folder, &options.config, start, options.now_ms, 0)?);
            return Ok(Self {
                log_start_offset: start,
                log_end_offset: start,
                began_anew,
            });
        }
        let first_base = segments.first().map_or(start, Segment::base_offset);
        Ok(Self {
            log_start_offset: start.max(first_base),
            log_end_offset: next_offset,
            began_anew,
        })
    }
}
