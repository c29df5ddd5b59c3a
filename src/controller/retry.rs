//! When a broker is asked again for what it could not do.

use std::time::Duration;

/// How long after the first time, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// When brokers are asked again; the pauses become longer until one of them has done something (Kafka's controllers wait for
/// another broker to come).
#[derive(Debug, Default)]
pub(super) struct Retry {
    pause: Duration,
    /// True while it is to come.
    pub is_due: bool,
}

impl Retry {
    /// How long to wait; `None` when somebody waits already.
    pub(super) fn begin(&mut self) -> Option<Duration> {
        if std::mem::replace(&mut self.is_due, true) {
            return None;
        }
        let pause = self.pause.max(PAUSES.0);
        self.pause = (pause * 2).min(PAUSES.1);
        Some(pause)
    }

    /// Something was done.
    pub(super) fn succeeded(&mut self) {
        self.pause = Duration::ZERO;
    }
}
