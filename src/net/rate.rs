//! How fast connections come, and how long the next one has to wait (Kafka's `Rate` over a `WindowedSum`, and
//! `QuotaUtils.boundedThrottleTime`).
//!
//! Pure: the time is an argument, in milliseconds of a clock that does not go back. Kept by `limits.rs`.

/// What a rate is measured over (`quota.window.num`, `quota.window.size.seconds`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Samples that are kept.
    pub samples: usize,
    /// The length of one, in milliseconds.
    pub sample_ms: i64,
}

impl Default for Window {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            samples: 11,
            sample_ms: 1000,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    start_ms: i64,
    last_ms: i64,
    count: i64,
}

impl Sample {
    const fn new(now_ms: i64) -> Self {
        Self {
            start_ms: now_ms,
            last_ms: now_ms,
            count: 0,
        }
    }
}

/// Connections that came lately, sample by sample: one more than the window has, since the oldest overlaps its edge.
#[derive(Debug)]
pub struct ConnectionRate {
    window: Window,
    samples: Vec<Sample>,
    current: usize,
}

impl ConnectionRate {
    /// A rate over `window`; nothing came yet.
    pub fn new(window: Window) -> Self {
        Self {
            window: Window {
                samples: window.samples.max(1),
                sample_ms: window.sample_ms.max(1),
            },
            samples: Vec::new(),
            current: 0,
        }
    }

    /// Counts a connection that comes now, and tells for how many milliseconds it is to wait so that no more than
    /// `limit` come in a second: at most one sample, since all that wait are counted already.
    pub fn throttle_ms(&mut self, now_ms: i64, limit: i32) -> i64 {
        self.record(now_ms);
        self.forget(now_ms);
        let window_ms = self.window_ms(now_ms);
        let count = self.samples.iter().map(|sample| sample.count).sum::<i64>();
        let limit = f64::from(limit);
        let rate = count as f64 * 1000.0 / window_ms as f64;
        if rate <= limit {
            return 0;
        }
        // Infinite for a limit of 0, which the cast and the bound make one sample of.
        let wait_ms = ((rate - limit) / limit * window_ms as f64).round() as i64;
        wait_ms.min(self.window.sample_ms)
    }

    fn record(&mut self, now_ms: i64) {
        let complete = |sample: &Sample| now_ms.saturating_sub(sample.start_ms) >= self.window.sample_ms;
        if self.samples.get(self.current).is_some_and(complete) {
            self.current = (self.current + 1) % (self.window.samples + 1);
            if let Some(oldest) = self.samples.get_mut(self.current) {
                *oldest = Sample::new(now_ms);
            }
        }
        if self.current >= self.samples.len() {
            self.samples.push(Sample::new(now_ms));
        }
        if let Some(sample) = self.samples.get_mut(self.current) {
            sample.count += 1;
            sample.last_ms = now_ms;
        }
    }

    /// Empties the samples in which nothing came within the window.
    fn forget(&mut self, now_ms: i64) {
        let samples = i64::try_from(self.window.samples).unwrap_or(i64::MAX);
        let age_ms = samples.saturating_mul(self.window.sample_ms);
        for sample in &mut self.samples {
            if now_ms.saturating_sub(sample.last_ms) >= age_ms {
                *sample = Sample::new(now_ms);
            }
        }
    }

    /// What the rate is taken over: the age of the oldest sample, but at least all samples and what has passed of the
    /// current one, so that a few connections after a pause are no high rate.
    fn window_ms(&self, now_ms: i64) -> i64 {
        let oldest = self.samples.iter().map(|sample| sample.start_ms).min();
        let elapsed_ms = now_ms.saturating_sub(oldest.unwrap_or(now_ms));
        let fewest = i64::try_from(self.window.samples).unwrap_or(i64::MAX) - 1;
        let missing = (fewest - elapsed_ms / self.window.sample_ms).max(0);
        elapsed_ms
            .saturating_add(missing.saturating_mul(self.window.sample_ms))
            .max(1)
    }
}
