//! The `.log` beside an index, walked once from batch to batch while the index's entries are held against it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::report::{DumpError, Report};
use crate::base::disk::{Disk, Open};
use crate::base::ids::Offset;
use crate::storage::file_names::{FileKind, SegmentFile};
use crate::storage::segment::walk::{FoundBatch, HeaderWalk, WalkError};

pub(super) struct Companion {
    walk: HeaderWalk,
    current: Option<FoundBatch>,
    ended: bool,
}

impl Companion {
    /// The log of the index `segment` at `path`; `None`, and a problem, when it is not there.
    pub(super) fn open(
        disk: &Disk,
        path: &Path,
        segment: SegmentFile,
        report: &mut Report<'_>,
    ) -> Result<Option<Self>, DumpError> {
        let name = SegmentFile {
            kind: FileKind::Log,
            ..segment
        };
        let file = match disk.open(&path.with_file_name(name.to_string()), Open::Read) {
            Ok(file) => Arc::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                report.problem(
                    None,
                    format_args!("{name} is not beside it, so its entries are not compared"),
                )?;
                return Ok(None);
            }
            Err(error) => return Err(DumpError::Input(format!("{name}: {error}"))),
        };
        let length = file.length().map_err(DumpError::input)?;
        Ok(Some(Self {
            walk: HeaderWalk::new(file, 0, u32::try_from(length).unwrap_or(u32::MAX)),
            current: None,
            ended: false,
        }))
    }

    /// The first batch at or behind `position`, not going back.
    pub(super) fn at_position(
        &mut self,
        position: u32,
        report: &mut Report<'_>,
    ) -> Result<Option<FoundBatch>, DumpError> {
        self.forward(|batch| batch.position >= position, report)
    }

    /// The first batch that reaches `offset`, not going back.
    pub(super) fn at_offset(
        &mut self,
        offset: Offset,
        report: &mut Report<'_>,
    ) -> Result<Option<FoundBatch>, DumpError> {
        self.forward(|batch| batch.header.last_offset() >= offset, report)
    }

    fn forward(
        &mut self,
        wanted: impl Fn(&FoundBatch) -> bool,
        report: &mut Report<'_>,
    ) -> Result<Option<FoundBatch>, DumpError> {
        loop {
            if self.ended || self.current.as_ref().is_some_and(&wanted) {
                return Ok(self.current.filter(|batch| !self.ended && wanted(batch)));
            }
            match self.walk.next_batch() {
                Ok(Some(batch)) => self.current = Some(batch),
                Ok(None) => self.ended = true,
                Err(WalkError::Io(error)) => return Err(DumpError::input(error)),
                Err(WalkError::Corrupt { position, reason }) => {
                    self.ended = true;
                    report.problem(
                        None,
                        format_args!("the log beside it is corrupt from byte {position} on: {reason}"),
                    )?;
                }
            }
        }
    }
}
