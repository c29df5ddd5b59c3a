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
