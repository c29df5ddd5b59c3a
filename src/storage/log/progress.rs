//! What the log says while a log is recovered: a large one would else be silent for minutes, and nobody could tell whether
//! anything goes on, or how long it will take.
//!
//! Counted by bytes, so that no clock is asked: the sum at first, then whenever as much more was read as the options say, or a
//! twentieth of the whole, whichever is more. A small log says nothing. Called by `recover_range` and `recover`.

use crate::base::ids::Offset;
use crate::storage::folder::Folder;

/// How often progress within one log is told: whenever so many bytes more are read. Some seconds for a disk that is not fast.
pub const PROGRESS_BYTES: u64 = 256 << 20;

/// No log says more often than this how far it is.
const MOST_MESSAGES: u64 = 20;

/// How far the recovery of one log is.
#[derive(Default)]
pub(super) struct Progress {
    total_bytes: u64,
    /// Of the segments before the one that is read now.
    done_bytes: u64,
    /// When this much is read, it is told.
    due_bytes: u64,
    step_bytes: u64,
}

impl Progress {
    /// Of a log of which `total_bytes` are to be read; said every `step_bytes`.
    pub(super) fn new(total_bytes: u64, step_bytes: u64) -> Self {
        let step_bytes = step_bytes.max(total_bytes.div_ceil(MOST_MESSAGES)).max(1);
        Self {
            total_bytes,
            done_bytes: 0,
            due_bytes: step_bytes,
            step_bytes,
        }
    }

    /// Says what is to be done, where that is much.
    pub(super) fn begin(&self, folder: &Folder) {
        if self.total_bytes > self.step_bytes {
            tracing::info!(
                folder = %folder.path().display(),
                "recovering unflushed segments: {} are to be read",
                Amount(self.total_bytes)
            );
        }
    }

    /// The segment at `base` is read up to `position`: says so, if it is time.
    pub(super) fn reached(&mut self, folder: &Folder, base: Offset, position: u64) {
        let read = self.done_bytes + position;
        // The end is told by what comes next.
        if read < self.due_bytes || read >= self.total_bytes {
            return;
        }
        self.due_bytes = read + self.step_bytes;
        tracing::info!(
            folder = %folder.path().display(),
            "recovering unflushed segments: {} of {} are read, now segment {base}",
            Amount(read),
            Amount(self.total_bytes)
        );
    }

    /// A segment of so many bytes is done.
    pub(super) fn segment_done(&mut self, bytes: u64) {
        self.done_bytes += bytes;
    }
}

/// Bytes as people read them.
struct Amount(u64);

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            few @ 0..1024 => write!(f, "{few} bytes"),
            some @ 1024..1_048_576 => write!(f, "{} KiB", some >> 10),
            many => write!(f, "{} MiB", many >> 20),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::storage::log::LoadOptions;

    /// The lines about progress of the recovery of a log of some 300 segments.
    fn told(progress_bytes: u64, clean: bool) -> Vec<String> {
        let ground = Ground::new();
        let mut log = ground.create(&small_segments(1000));
        for number in 0..300 {
            let sent = Send {
                value_bytes: 900,
                timestamp_ms: number,
                ..Send::default()
            };
            append(&mut log, &sent).unwrap();
        }
        if clean {
            clean_stop(&mut log);
        }
        drop(log);
        let ground = ground.restart();
        let options = LoadOptions {
            clean,
            progress_bytes,
            ..load_options(&small_segments(1000))
        };
        let logged = logged(|| drop(ground.load(&options).unwrap()));
        let lines = logged.lines().filter(|line| line.contains("recovering"));
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn the_recovery_of_a_large_log_tells_how_far_it_is_and_not_too_often() {
        let lines = told(100 << 10, false);
        let sizes = [
            "284 KiB are to be read",
            "100 KiB of 284 KiB",
            "201 KiB of 284 KiB",
        ];
        assert_eq!(lines.len(), sizes.len(), "{lines:#?}");
        for (line, size) in lines.iter().zip(sizes) {
            assert!(line.contains(size) && line.contains("/data/t-0"), "{line}");
        }
        assert!(lines[1].contains("now segment 105"), "{}", lines[1]);
        let often = told(1, false).len();
        assert!((15..=21).contains(&often), "{often} messages");
        assert_eq!(told(1, true), [""; 0], "after a clean stop nothing is recovered");
        assert_eq!(told(PROGRESS_BYTES, false), [""; 0], "a small log says nothing");
    }
}
