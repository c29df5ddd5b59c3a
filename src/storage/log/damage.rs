//! What is wrong with the segments of a log that is opened: what their listing shows, and after a clean stop, when they
//! are not read through anyhow, the end of the last one and transaction indexes that should be there. Called by `open`.

use super::OpenError;
use super::listing::Listing;
use super::producers::newest_snapshot;
use super::recover::{Recovery, check_tail, has_abort_marker, missing_index};
use crate::base::ids::Offset;
use crate::storage::file_names::FileKind;
use crate::storage::folder::Folder;
use crate::storage::segment::Segment;
use crate::storage::transaction_index::{TransactionIndex, TransactionIndexError};

/// The segments, and which of them cannot be used as they are, with the reason.
pub(super) type Damaged = Vec<Option<Damage>>;

/// What is wrong with a segment.
pub(super) enum Damage {
    /// It is to be read through, and all of its indexes built anew: why.
    Segment(String),
    /// It has no transaction index, and holds abort markers.
    Transactions,
}

pub(super) fn open_segments(
    folder: &Folder,
    listing: &Listing,
) -> Result<(Vec<Segment>, Damaged), OpenError> {
    let mut segments = Vec::with_capacity(listing.logs.len());
    let mut damaged = Vec::with_capacity(listing.logs.len());
    for (base, size) in &listing.logs {
        let mut damage = missing_index(listing, *base).map(|why| Damage::Segment(why.to_owned()));
        let mut segment = Segment::on_disk(folder, *base, *size, TransactionIndex::empty());
        if listing.transaction_indexes.contains(base) {
            let file = folder.file(segment.files(), *base, FileKind::TransactionIndex)?;
            match TransactionIndex::open(&file, *base) {
                Ok(transactions) => segment.set_transactions(transactions),
                Err(TransactionIndexError::Io(error)) => {
                    return Err(folder
                        .failed("read", *base, FileKind::TransactionIndex, &error)
                        .into());
                }
                Err(corrupt @ TransactionIndexError::Corrupt { .. }) => {
                    let why = format!("its transaction index is damaged: {corrupt}");
                    damage = Some(Damage::Segment(why));
                }
            }
        }
        segments.push(segment);
        damaged.push(damage);
    }
    Ok((segments, damaged))
}

/// After a clean stop: the end of the last segment, and transaction indexes that should be there.
pub(super) fn find_damage(
    recovery: &mut Recovery<'_>,
    listing: &Listing,
    segments: &[Segment],
    damaged: &mut Damaged,
) -> Result<(), OpenError> {
    let folder = recovery.folder;
    if let (Some(last), Some(damage)) = (segments.last(), damaged.last_mut())
        && damage.is_none()
        && let Err(why) = check_tail(folder, last)?
    {
        *damage = Some(Damage::Segment(why));
    }
    let transactional =
        segments.iter().any(|segment| !segment.transactions().is_empty()) || knows_transactions(recovery)?;
    if !transactional {
        return Ok(());
    }
    for (segment, damage) in segments.iter().zip(damaged.iter_mut()) {
        let base = segment.base_offset();
        if damage.is_some() || segment.size() == 0 || listing.transaction_indexes.contains(&base) {
            continue;
        }
        if has_abort_marker(folder, segment)? {
            *damage = Some(Damage::Transactions);
        } else {
            // An empty one, so that the next start need not look again.
            folder.new_file(segment.files(), base, FileKind::TransactionIndex)?;
        }
    }
    Ok(())
}

/// True when the newest snapshot knows a producer that has written a transaction.
fn knows_transactions(recovery: &mut Recovery<'_>) -> Result<bool, OpenError> {
    let options = recovery.options;
    let newest = newest_snapshot(
        recovery.folder,
        &mut recovery.snapshots,
        Offset(i64::MAX),
        options.now_ms,
        i64::MAX,
        usize::MAX,
    )?;
    Ok(newest.is_some_and(|states| {
        states.producers().any(|(_, producer)| {
            producer.coordinator_epoch() >= 0 || producer.transaction_first_offset().is_some()
        })
    }))
}
