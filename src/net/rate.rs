//! How fast connections come, and how long the next one has to wait (Kafka's `Rate` over a `WindowedSum`, and
//! `QuotaUtils.boundedThrottleTime`).
//!
//! Pure: the time is an argument, in milliseconds of a clock that does not go back. Kept by `limits.rs`.

use crate::quota::samples::{Measured, Samples, Window};

/// Connections that came lately.
#[derive(Debug)]
pub struct ConnectionRate(Samples);

impl ConnectionRate {
    /// A rate over `window`; nothing came yet.
    pub fn new(window: Window) -> Self {
        Self(Samples::new(window))
    }

    /// Counts a connection that comes now, and tells for how many milliseconds it is to wait so that no more than
    /// `limit` come in a second: at most one sample, since all that wait are counted already.
    pub fn throttle_ms(&mut self, now_ms: i64, limit: i32) -> i64 {
        self.0.record(1, now_ms);
        let measured = self.0.measure(now_ms);
        let window_ms = self.window_ms(&measured);
        let limit = f64::from(limit);
        let rate = measured.amount as f64 * 1000.0 / window_ms as f64;
        if rate <= limit {
            return 0;
        }
        // Infinite for a limit of 0, which the cast and the bound make one sample of.
        let wait_ms = ((rate - limit) / limit * window_ms as f64).round() as i64;
        wait_ms.min(self.0.window().sample_ms)
    }

    /// What the rate is taken over: the age of the oldest sample, but at least all samples and what has passed of the
    /// current one, so that a few connections after a pause are no high rate.
    fn window_ms(&self, measured: &Measured) -> i64 {
        let Window { samples, sample_ms } = self.0.window();
        let fewest = i64::try_from(samples).unwrap_or(i64::MAX) - 1;
        let missing = (fewest - measured.elapsed_ms / sample_ms).max(0);
        let elapsed_ms = measured.elapsed_ms;
        elapsed_ms
            .saturating_add(missing.saturating_mul(sample_ms))
            .max(1)
    }
}
