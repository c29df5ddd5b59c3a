//! Files that are not opened for want of a descriptor: the one failure of a call to the disk that says nothing of the disk.

use std::fmt;
use std::io;

use rustix::io::Errno;

/// Why a file was not opened: as many are open as the process, or the system, may have open.
#[derive(Debug)]
struct Shortage(io::Error);

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Shortage {}

/// The error of a call that opens something, and has done nothing yet.
pub(super) fn opening(error: io::Error) -> io::Error {
    match Errno::from_io_error(&error) {
        Some(Errno::MFILE | Errno::NFILE) => io::Error::new(error.kind(), Shortage(error)),
        _ => error,
    }
}

/// True for the error of a call that got no descriptor to open a file or directory with. It says nothing of the disk, and
/// the call may be made again. False for what a sync or a write says, whatever that is: the system may have dropped what
/// was to be synced.
pub fn is_shortage(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Shortage>())
}
