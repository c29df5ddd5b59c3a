//! `barnabas dump FILE...`: shows what the files of a log directory hold, and what is wrong with them (as Kafka's
//! `DumpLogSegments`, with the other files of a log directory beside; and the nodes of the store, which are those that Kafka
//! keeps in ZooKeeper).
//!
//! Reads only, and never more than a batch at a time, but for the store; the files may be in use by a broker. Problems go
//! to the standard error, in JSON as objects of their own to the standard output; with any the exit code is 1.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::base::disk::Disk;
use crate::storage::file_names::{self, FileKind, SegmentFile};
use crate::store::embedded;

mod batches;
mod companion;
mod indexes;
mod properties;
mod records;
mod report;
mod state;
mod store;

#[cfg(test)]
mod golden_test;

use report::{DumpError, Report};

/// The arguments.
#[derive(clap::Args, Debug)]
pub struct Dump {
    /// What to show: .log, .index, .timeindex, .txnindex, .snapshot, *-checkpoint, meta.properties, partition.metadata,
    /// barnabas-store
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// One JSON object a line
    #[arg(long)]
    json: bool,

    /// Also the records of the batches
    #[arg(long)]
    records: bool,
}

impl Dump {
    /// Writes to the standard output; the exit code is 1 when a file has a problem or could not be read.
    pub fn run(&self) -> ExitCode {
        let mut out = BufWriter::new(io::stdout().lock());
        let mut errors = io::stderr().lock();
        let written = self
            .write(&Disk::system(), &mut out, &mut errors)
            .and_then(|sound| out.flush().map(|()| sound));
        match written {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            // Whoever read the output has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => {
                let _ = writeln!(errors, "barnabas dump: {error}");
                ExitCode::FAILURE
            }
        }
    }

    /// Answers whether all files are sound; an error is one of the output.
    fn write(&self, disk: &Disk, out: &mut dyn Write, errors: &mut dyn Write) -> io::Result<bool> {
        let mut sound = true;
        for file in &self.files {
            let mut report = Report::new(out, errors, file, self.json);
            match self.file(disk, file, &mut report) {
                Ok(()) => {}
                Err(DumpError::Input(reason)) => report.problem(None, reason).map_err(DumpError::into_io)?,
                Err(DumpError::Output(error)) => return Err(error),
            }
            sound &= report.problems() == 0;
        }
        Ok(sound)
    }

    fn file(&self, disk: &Disk, path: &Path, report: &mut Report<'_>) -> Result<(), DumpError> {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy())
            .unwrap_or_default();
        let unknown = || {
            DumpError::Input(
                "this is none of .log, .index, .timeindex, .txnindex, .snapshot, *-checkpoint, meta.properties, \
                 partition.metadata and barnabas-store"
                    .to_owned(),
            )
        };
        report.begin()?;
        match &*name {
            file_names::META_PROPERTIES => return properties::meta_properties(disk, path, report),
            file_names::PARTITION_METADATA => return properties::partition_metadata(disk, path, report),
            file_names::LEADER_EPOCH_CHECKPOINT => return state::leader_epochs(disk, path, report),
            file_names::RECOVERY_POINT_CHECKPOINT
            | file_names::LOG_START_OFFSET_CHECKPOINT
            | file_names::HIGH_WATERMARK_CHECKPOINT
            | file_names::CLEANER_CHECKPOINT => return state::offsets(disk, path, report),
            embedded::FILE_NAME => return store::nodes(disk, path, report),
            _ => {}
        }
        let segment = SegmentFile::parse(&name)
            .map_err(|error| DumpError::Input(error.to_string()))?
            .ok_or_else(unknown)?;
        match segment.kind {
            FileKind::Log => batches::log(disk, path, segment, self.records, report),
            FileKind::OffsetIndex => indexes::offset_index(disk, path, segment, report),
            FileKind::TimeIndex => indexes::time_index(disk, path, segment, report),
            FileKind::TransactionIndex => indexes::transaction_index(disk, path, segment, report),
            FileKind::Snapshot => state::snapshot(disk, path, segment, report),
        }
    }
}
