//! The two files that lie beside a log's segments: `partition.metadata`, and `leader-epoch-checkpoint`, which the batches
//! can replace. Called by `open`.

use super::OpenError;
use super::listing::Listing;
use super::recover::Recovery;
use crate::base::ids::{LeaderEpoch, TopicId};
use crate::storage::file_names::LEADER_EPOCH_CHECKPOINT;
use crate::storage::folder::Folder;
use crate::storage::leader_epochs::LeaderEpochs;
use crate::storage::partition_metadata::{self, PartitionMetadataError};
use crate::storage::segment::Segment;

/// The largest `leader-epoch-checkpoint` that is read.
const MAX_EPOCH_FILE_BYTES: usize = 16 << 20;

pub(super) fn read_topic_id(folder: &Folder, listing: &Listing) -> Result<Option<TopicId>, OpenError> {
    match partition_metadata::read(folder.disk(), folder.path()) {
        Ok(topic_id) => Ok(topic_id),
        Err(PartitionMetadataError::Malformed(reason)) => {
            // A power cut may have come before the first append: then there is nothing that it could be mixed up with.
            if listing.logs.values().all(|size| *size == 0) {
                tracing::warn!(folder = %folder.path().display(), "partition.metadata is written anew: {reason}");
                return Ok(None);
            }
            Err(OpenError::PartitionMetadata {
                folder: folder.path().to_owned(),
                reason: reason.to_owned(),
            })
        }
        Err(PartitionMetadataError::Io(error)) => {
            Err(folder.volume().failed("read", folder.path(), &error).into())
        }
    }
}

/// The leader epochs in the file, and whether it is missing or damaged: what is recovered tells its own epochs only.
pub(super) fn read_epochs(folder: &Folder) -> Result<(LeaderEpochs, bool), OpenError> {
    let path = folder.path().join(LEADER_EPOCH_CHECKPOINT);
    match folder.disk().read(&path, MAX_EPOCH_FILE_BYTES) {
        Ok(bytes) => match LeaderEpochs::parse(&bytes) {
            Ok(epochs) => Ok((epochs, false)),
            Err(error) => {
                tracing::warn!("{} is built anew: {error}", path.display());
                Ok((LeaderEpochs::new(), true))
            }
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok((LeaderEpochs::new(), true)),
        Err(error) => Err(folder.volume().failed("read", &path, &error).into()),
    }
}

/// Builds the leader epochs from the batches, where the file is missing or damaged. A log of v0 or v1 has none, and its
/// first batch shows that.
pub(super) fn rebuild_epochs(recovery: &mut Recovery<'_>, segments: &[Segment]) -> Result<(), OpenError> {
    let folder = recovery.folder;
    recovery.epochs_changed |= recovery.epochs.clear();
    for segment in segments.iter().filter(|segment| segment.size() > 0) {
        let mut legacy = false;
        let visited = segment.visit_from(folder, segment.base_offset(), |found| {
            legacy = found.header.magic < 2 || found.header.partition_leader_epoch == LeaderEpoch::NONE;
            if legacy {
                return std::ops::ControlFlow::Break(());
            }
            recovery.note_epoch(&found);
            std::ops::ControlFlow::Continue(())
        });
        match visited {
            Err(crate::storage::segment::SegmentError::Io(error)) => return Err(error.into()),
            // What is readable has been seen.
            Err(crate::storage::segment::SegmentError::Corrupt { .. }) => return Ok(()),
            Ok(()) if legacy => return Ok(()),
            Ok(()) => {}
        }
    }
    Ok(())
}
