//! Work on disks that is held to so many bytes a second: the cleaner's (Kafka: `Throttler`).
//!
//! Invariant: who notes what was done is told until when to wait, so that over any longer time no more is done than the
//! limit allows, whoever does it. Several may share one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::base::clock::Instant;

/// How much unused time may be made up for (the throttle of Kafka's cleaner looks at stretches of this length).
const CREDIT: Duration = Duration::from_millis(300);

/// A limit that several share.
#[derive(Default)]
pub struct Throttle(Mutex<Option<Instant>>);

impl Throttle {
    /// Notes that `bytes` were done from `begun` on; answers until when everybody waits then.
    pub fn note(&self, bytes: u64, begun: Instant, bytes_per_second: f64) -> Instant {
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = bytes as f64 / bytes_per_second.max(1.0);
        let pause = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO);
        // What was not used long ago is lost.
        let from = match *next {
            Some(next) if next.after(CREDIT) >= begun => next,
            _ => begun,
        };
        let until = from.after(pause);
        *next = Some(until);
        until
    }

    /// The limit changed: who waits as another one wanted it need not.
    pub fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_throttle_spreads_bytes_over_time_and_forgives_a_short_delay() {
        let throttle = Throttle::default();
        let begun = Instant::now();
        let ms = |ms| begun.after(Duration::from_millis(ms));
        assert_eq!(throttle.note(1000, begun, f64::MAX), begun);
        assert_eq!(throttle.note(1000, begun, 10_000.0), ms(100));
        // Another task counts as well.
        assert_eq!(throttle.note(2000, ms(50), 10_000.0), ms(300));
        // A step that was late by 200 ms is made up for; one that was late by a second is not.
        assert_eq!(throttle.note(1000, ms(500), 10_000.0), ms(400));
        assert_eq!(throttle.note(1000, ms(1400), 10_000.0), ms(1500));
        // What an old limit wanted holds nobody back under another one.
        assert_eq!(throttle.note(1000, ms(1500), 1.0), ms(1_001_500));
        throttle.forget();
        assert_eq!(throttle.note(1000, ms(1600), 10_000.0), ms(1700));
    }
}
