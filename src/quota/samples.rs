//! What came lately, sample by sample (Kafka's `SampledStat` with a sum, a `WindowedSum`).
//!
//! Pure: the time is an argument, in milliseconds of a clock that does not go back. What a rate is taken over is for its
//! owner to say.

/// What is looked back over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Samples that are kept.
    pub samples: usize,
    /// The length of one, in milliseconds.
    pub sample_ms: i64,
}

impl Window {
    /// The window that the two keys of a quota give: how many samples, and their length in seconds.
    pub fn of(samples: i32, sample_seconds: i32) -> Self {
        Self {
            samples: usize::try_from(samples).unwrap_or(1).max(1),
            sample_ms: i64::from(sample_seconds.max(1)) * 1000,
        }
    }
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
    amount: i64,
}

impl Sample {
    const fn new(now_ms: i64) -> Self {
        Self {
            start_ms: now_ms,
            last_ms: now_ms,
            amount: 0,
        }
    }
}

/// Amounts that came lately: one sample more than the window has, since the oldest overlaps its edge.
#[derive(Debug)]
pub struct Samples {
    window: Window,
    samples: Vec<Sample>,
    current: usize,
}

/// What the samples hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Measured {
    /// All of it.
    pub amount: i64,
    /// The age of the oldest sample, in milliseconds.
    pub elapsed_ms: i64,
}

impl Samples {
    /// Nothing came yet.
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

    /// What is looked back over.
    pub fn window(&self) -> Window {
        self.window
    }

    /// Counts what comes now.
    pub fn record(&mut self, amount: i64, now_ms: i64) {
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
            sample.amount = sample.amount.saturating_add(amount);
            sample.last_ms = now_ms;
        }
    }

    /// What is there now. Samples in which nothing came within the window are emptied first, and are new then.
    pub fn measure(&mut self, now_ms: i64) -> Measured {
        let samples = i64::try_from(self.window.samples).unwrap_or(i64::MAX);
        let age_ms = samples.saturating_mul(self.window.sample_ms);
        for sample in &mut self.samples {
            if now_ms.saturating_sub(sample.last_ms) >= age_ms {
                *sample = Sample::new(now_ms);
            }
        }
        let oldest = self.samples.iter().map(|sample| sample.start_ms).min();
        Measured {
            amount: self
                .samples
                .iter()
                .map(|sample| sample.amount)
                .fold(0, i64::saturating_add),
            elapsed_ms: now_ms.saturating_sub(oldest.unwrap_or(now_ms)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_as_long_as_said_and_go_when_they_are_old() {
        let mut samples = Samples::new(Window {
            samples: 2,
            sample_ms: 100,
        });
        let measured = |amount, elapsed_ms| Measured { amount, elapsed_ms };
        assert_eq!(samples.measure(5), measured(0, 0));
        samples.record(3, 10);
        samples.record(4, 90);
        samples.record(5, 110);
        assert_eq!(samples.measure(150), measured(12, 140));
        samples.record(6, 210);
        // The oldest one overlaps the edge of the window: it counts as a whole until nothing in it is recent enough.
        assert_eq!(samples.measure(289), measured(18, 279));
        assert_eq!(samples.measure(290), measured(11, 180));
        // Its place is taken by the next one.
        samples.record(7, 310);
        assert_eq!(samples.measure(310), measured(13, 100));
        assert_eq!(samples.measure(10_000), measured(0, 0));
    }

    #[test]
    fn a_window_is_never_empty() {
        assert_eq!(
            Window::of(0, 0),
            Window {
                samples: 1,
                sample_ms: 1000
            }
        );
        let mut samples = Samples::new(Window {
            samples: 0,
            sample_ms: 0,
        });
        samples.record(i64::MAX, 1);
        samples.record(1, 1);
        assert_eq!(samples.measure(1).amount, i64::MAX);
    }
}
