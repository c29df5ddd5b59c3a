//! Time: the wall clock in milliseconds, a monotonic instant, and waiting.
//!
//! Rooms below `net/` take `now_ms` as an argument and read no clock of their own; shells that drive them read it
//! here. In the `simulation` build both clocks are the simulation's.

use std::future::Future;
use std::time::Duration;

/// A point on a clock that never goes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Instant(tokio::time::Instant);

impl Instant {
    /// This moment.
    pub fn now() -> Self {
        Self(tokio::time::Instant::now())
    }

    /// How long ago this instant was; zero when it lies ahead.
    pub fn elapsed(self) -> Duration {
        Self::now().since(self)
    }

    /// The time from `earlier` to this instant; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }

    /// The instant `duration` from this one. Far more than a century is cut to a century.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
        Self(self.0 + duration.min(CENTURY))
    }
}

/// Milliseconds since 1970 on the wall clock.
#[cfg(not(feature = "simulation"))]
#[expect(clippy::disallowed_methods, reason = "the seam")]
pub fn now_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Milliseconds since 1970 on the simulation's clock, which starts at a fixed date.
#[cfg(feature = "simulation")]
pub fn now_ms() -> i64 {
    const START_MS: i64 = 1_750_000_000_000;
    let elapsed = turmoil::sim_elapsed().unwrap_or_default();
    START_MS.saturating_add(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

/// Waits for `duration`.
#[expect(clippy::disallowed_methods, reason = "the seam")]
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Waits until `deadline`.
pub async fn sleep_until(deadline: Instant) {
    tokio::time::sleep_until(deadline.0).await;
}

/// The output of `future`, or `None` when `duration` passes first.
#[expect(clippy::disallowed_methods, reason = "the seam")]
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(duration, future).await.ok()
}
