//! Which segments of a log are recovered, and what then remains of it (Kafka: `LogLoader.recoverLog`). How one segment is
//! recovered is in `recover`. Called by `open`.

use super::OpenError;
use super::damage::{Damage, Damaged};
use super::open::LoadOptions;
use super::progress::Progress;
use super::recover::Recovery;
use crate::base::ids::Offset;
use crate::storage::file_names::FileKind;
use crate::storage::segment::Segment;

/// What is left of a log whose damaged and unflushed segments were recovered.
pub(super) struct Recovered {
    pub next_offset: Offset,
    /// Segments behind damage, which go.
    pub gone: Vec<Segment>,
}

/// Recovers what is damaged, and after an unclean stop everything from the recovery point on. Behind damage found after
/// an unclean stop nothing is kept.
pub(super) fn recover(
    recovery: &mut Recovery<'_>,
    segments: &mut Vec<Segment>,
    damaged: &Damaged,
) -> Result<Recovered, OpenError> {
    let clean = recovery.options.clean;
    let first_unflushed = if clean {
        usize::MAX
    } else {
        floor(segments, recovery.options.recovery_point)
    };
    let mut next_offset = None;
    let mut gone = Vec::new();
    let is_read = |number| {
        let damage = damaged.get(number).and_then(Option::as_ref);
        number >= first_unflushed || matches!(damage, Some(Damage::Segment(_)))
    };
    let to_read = segments.iter().enumerate().filter(|(number, _)| is_read(*number));
    let total_bytes = to_read.map(|(_, segment)| u64::from(segment.size())).sum();
    recovery.progress = Progress::new(total_bytes, recovery.options.progress_bytes);
    recovery.progress.begin(recovery.folder);
    for number in 0..segments.len() {
        let unflushed = number >= first_unflushed;
        let damage = damaged.get(number).and_then(Option::as_ref);
        if !unflushed && damage.is_none() {
            continue;
        }
        if let (false, Some(Damage::Transactions)) = (unflushed, damage) {
            recovery.rebuild_transactions(segments, number)?;
            continue;
        }
        let is_last = number + 1 == segments.len();
        let Some(recovered) = recovery.recover(segments, number, unflushed || is_last)? else {
            break;
        };
        next_offset = is_last.then_some(recovered.next_offset);
        if let (false, Some(Damage::Segment(why))) = (unflushed, damage) {
            let base = segments.get(number).map_or(Offset::ZERO, Segment::base_offset);
            if recovered.damaged_bytes > 0 && !is_last {
                tracing::error!(
                    folder = %recovery.folder.path().display(),
                    "segment {base} is damaged in its middle; what follows the damage cannot be read"
                );
            }
            let what = format!("segment {base} was read through: {why}");
            if clean {
                recovery.report.repairs.push(what);
            }
        }
        let overlaps = segments
            .get(number + 1)
            .is_some_and(|next| next.base_offset() < recovered.next_offset);
        if unflushed && overlaps {
            tracing::warn!(
                folder = %recovery.folder.path().display(),
                "segments from offset {} on overlap what lies before them: they were to be gone, and go now",
                recovered.next_offset
            );
        }
        if unflushed && (recovered.damaged_bytes > 0 || overlaps) {
            gone = segments.split_off(number + 1);
            next_offset = Some(recovered.next_offset);
            break;
        }
        if let Some(next) = segments.get(number + 1).map(Segment::base_offset) {
            recovery.snapshot_at(next)?;
            if let Some(segment) = segments.get_mut(number) {
                segment.deactivate(recovery.folder)?;
            }
        }
    }
    let next_offset = match (next_offset, segments.last()) {
        (Some(next_offset), _) => next_offset,
        (None, Some(last)) => last.next_offset(recovery.folder)?,
        (None, None) => Offset::ZERO,
    };
    Ok(Recovered { next_offset, gone })
}

/// After an unclean stop a snapshot behind the first segment that was recovered may be cut short, or of batches that
/// are gone. Recovery has written its own at the bases.
pub(super) fn drop_suspect_snapshots(
    recovery: &mut Recovery<'_>,
    segments: &[Segment],
) -> Result<(), OpenError> {
    if recovery.options.clean {
        return Ok(());
    }
    let first = floor(segments, recovery.options.recovery_point);
    let trusted = segments.get(first).map_or(Offset::ZERO, Segment::base_offset);
    let written = &recovery.written;
    let (keep, suspect): (Vec<Offset>, Vec<Offset>) = recovery
        .snapshots
        .iter()
        .partition(|offset| **offset <= trusted || written.contains(offset));
    for offset in suspect {
        let path = recovery.folder.path_of(offset, FileKind::Snapshot);
        recovery.folder.remove(&path)?;
    }
    recovery.snapshots = keep;
    Ok(())
}

/// The number of the segment that holds `offset`, or the first.
fn floor(segments: &[Segment], offset: Offset) -> usize {
    segments
        .partition_point(|segment| segment.base_offset() <= offset)
        .saturating_sub(1)
}

/// The base of the first segment that may lack something on disk.
pub(super) fn recovery_floor(
    segments: &[Segment],
    damaged: &Damaged,
    options: &LoadOptions,
    end: Offset,
) -> Offset {
    let last = segments.len().saturating_sub(1);
    let unflushed = if options.clean {
        last
    } else {
        floor(segments, options.recovery_point)
    };
    let is_damaged = |damage: &Option<Damage>| matches!(damage, Some(Damage::Segment(_)));
    let first_damaged = damaged.iter().position(is_damaged).unwrap_or(last);
    segments
        .get(unflushed.min(first_damaged))
        .map_or(end, Segment::base_offset)
}
