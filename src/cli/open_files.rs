//! How many files the process may open: as many as the system lets it.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Fewer than this and a broker of a few thousand partitions with its clients runs out.
const ENOUGH: u64 = 100_000;

/// Raises the soft limit to the hard one; tells when that is still little. Returns the limit.
pub(super) fn raise() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    if limit.current.is_some_and(|soft| soft < hard) {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "cannot raise the limit of open files");
        }
    }
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if now < ENOUGH {
        tracing::warn!(
            limit = now,
            advised = ENOUGH,
            "few files may be open: see ulimit -n"
        );
    }
    now
}

/// The descriptors with this number and above are no connection's: one in five, and 1024 at most, are for files and for what
/// the broker itself opens.
pub(super) fn for_connections(limit: u64) -> u64 {
    limit - kept_back(limit)
}

/// Those above are not for the files of segments either, which are opened again when they are needed.
pub(super) fn for_segments(limit: u64) -> u64 {
    limit - kept_back(limit) / 2
}

fn kept_back(limit: u64) -> u64 {
    (limit / 5).min(1024)
}
