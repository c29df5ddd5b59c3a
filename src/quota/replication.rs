//! How fast throttled replicas may copy (KIP-73; Kafka: `ReplicationQuotaManager`): one limit for what the leaders of a
//! broker send, one for what its followers fetch, one for what goes from one of its log directories to another one.
//!
//! Which replicas are throttled their topics say, and of those that are moved all are; who asks for a limit knows it. Invariant: all that throttled replicas copy
//! counts, that of those in sync too, so that the others get what these leave of the limit.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::samples::{Samples, Window};
use crate::base::clock::Instant;
use crate::config::BrokerConfig;

/// The limits of a broker.
pub struct ReplicationQuotas {
    /// `leader.replication.throttled.rate`: what its leaders send.
    pub leader: ReplicationQuota,
    /// `follower.replication.throttled.rate`: what its followers fetch.
    pub follower: ReplicationQuota,
    /// `replica.alter.log.dirs.io.max.bytes.per.second`: what moves between log directories copy.
    pub moves: ReplicationQuota,
}

impl ReplicationQuotas {
    /// The limits that `config` sets.
    pub fn new(config: &BrokerConfig) -> Self {
        let window = Window::of(
            config.replication_quota_window_num,
            config.replication_quota_window_size_seconds,
        );
        let of_moves = Window::of(
            config.alter_log_dirs_replication_quota_window_num,
            config.alter_log_dirs_replication_quota_window_size_seconds,
        );
        let quotas = Self {
            leader: ReplicationQuota::new(window),
            follower: ReplicationQuota::new(window),
            moves: ReplicationQuota::new(of_moves),
        };
        quotas.config_changed(config);
        quotas
    }

    /// The limits are what `config` says from now on.
    pub fn config_changed(&self, config: &BrokerConfig) {
        self.leader.set_limit(config.leader_replication_throttled_rate);
        self.follower
            .set_limit(config.follower_replication_throttled_rate);
        self.moves
            .set_limit(config.replica_alter_log_dirs_io_max_bytes_per_second);
    }
}

/// A limit, and what was copied lately.
pub struct ReplicationQuota {
    /// Bytes a second.
    limit: AtomicI64,
    begun: Instant,
    samples: Mutex<Samples>,
}

impl ReplicationQuota {
    /// No limit yet, and nothing copied.
    pub fn new(window: Window) -> Self {
        Self {
            limit: AtomicI64::new(i64::MAX),
            begun: Instant::now(),
            samples: Mutex::new(Samples::new(window)),
        }
    }

    /// So many bytes a second from now on. What was copied before still counts.
    pub fn set_limit(&self, bytes_per_second: i64) {
        self.limit.store(bytes_per_second, Ordering::Release);
    }

    /// Counts bytes that a throttled replica copied, limit or not.
    pub fn record(&self, bytes: usize, now: Instant) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.samples().record(bytes, self.milliseconds(now));
    }

    /// True while more was copied than the limit lets through: over the age of the oldest sample, and at least over the
    /// length of one, so that the first bytes after a pause are no high rate (`SimpleRate`).
    pub fn is_exceeded(&self, now: Instant) -> bool {
        self.exceeded_for(now).is_some()
    }

    /// For how long more was copied than the limit lets through, if nothing more is; no longer than one sample, since older
    /// ones may be forgotten by then. `None` when it was not.
    pub fn exceeded_for(&self, now: Instant) -> Option<Duration> {
        let limit = self.limit.load(Ordering::Acquire);
        if limit == i64::MAX {
            return None;
        }
        let mut samples = self.samples();
        let sample_ms = samples.window().sample_ms;
        let measured = samples.measure(self.milliseconds(now));
        let seconds = measured.elapsed_ms.max(sample_ms) as f64 / 1000.0;
        if measured.amount as f64 / seconds <= limit as f64 {
            return None;
        }
        let needed =
            Duration::try_from_secs_f64(measured.amount as f64 / limit as f64).unwrap_or(Duration::MAX);
        let elapsed = Duration::from_millis(u64::try_from(measured.elapsed_ms).unwrap_or_default());
        let sample = Duration::from_millis(u64::try_from(sample_ms).unwrap_or_default());
        // A moment more: what is just as much as the limit is not too much.
        let left = needed.saturating_sub(elapsed);
        Some(left.saturating_add(Duration::from_millis(1)).min(sample))
    }

    fn samples(&self) -> MutexGuard<'_, Samples> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn milliseconds(&self, now: Instant) -> i64 {
        i64::try_from(now.since(self.begun).as_millis()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kafka's window, and the moment so many milliseconds after its begin.
    fn quota() -> (ReplicationQuota, impl Fn(u64) -> Instant) {
        let quota = ReplicationQuota::new(Window::default());
        let begun = quota.begun;
        (quota, move |ms| begun.after(Duration::from_millis(ms)))
    }

    #[tokio::test]
    async fn a_burst_is_paid_for_before_more_goes_through() {
        let (quota, at) = quota();
        quota.set_limit(1000);
        assert!(!quota.is_exceeded(at(0)));
        // A second's worth at once is no more than the limit; another byte is.
        quota.record(1000, at(10));
        assert!(!quota.is_exceeded(at(20)));
        quota.record(1, at(20));
        assert!(quota.is_exceeded(at(1010)));
        assert!(!quota.is_exceeded(at(1012)));
        quota.record(4000, at(1012));
        assert!(quota.is_exceeded(at(5010)));
        assert!(!quota.is_exceeded(at(5012)));
    }

    #[tokio::test]
    async fn who_waits_for_as_long_as_it_is_told_finds_the_limit_kept() {
        let (quota, at) = quota();
        let ms = Duration::from_millis;
        quota.set_limit(1000);
        assert_eq!(quota.exceeded_for(at(0)), None);
        quota.record(1500, at(10));
        assert_eq!(quota.exceeded_for(at(1010)), Some(ms(501)));
        assert_eq!(quota.exceeded_for(at(1511)), None);
        quota.record(10_000, at(1511));
        // It is looked again when a sample is over.
        assert_eq!(quota.exceeded_for(at(1511)), Some(ms(1000)));
        quota.set_limit(0);
        assert_eq!(quota.exceeded_for(at(1511)), Some(ms(1000)));
        let (fresh, at) = self::quota();
        fresh.set_limit(0);
        fresh.record(1, at(5));
        assert_eq!(fresh.exceeded_for(at(5)), Some(ms(1000)));
    }

    #[tokio::test]
    async fn over_a_long_time_no_more_goes_through_than_the_limit() {
        let (quota, at) = quota();
        quota.set_limit(1000);
        let chunk = 300;
        let mut copied = 0;
        for ms in (0..60_000).step_by(10) {
            if !quota.is_exceeded(at(ms)) {
                quota.record(chunk, at(ms));
                copied += chunk;
            }
        }
        // A chunk more in each window, at most.
        assert!((50_000..=62_000).contains(&copied), "{copied}");
    }

    #[tokio::test]
    async fn without_a_limit_nothing_is_held_back_and_a_limit_that_comes_knows_what_was() {
        let (quota, at) = quota();
        quota.record(1_000_000, at(100));
        assert!(!quota.is_exceeded(at(100)));
        quota.set_limit(1000);
        assert!(quota.is_exceeded(at(200)));
        quota.set_limit(2_000_000);
        assert!(!quota.is_exceeded(at(200)));
        // Nothing at all may be copied: nothing was, so the first one is let through, and no more as long as it counts.
        quota.set_limit(0);
        assert!(quota.is_exceeded(at(10_000)));
        assert!(!quota.is_exceeded(at(11_100)));
    }

    #[tokio::test]
    async fn limits_and_window_are_those_of_the_configuration() {
        let config = BrokerConfig::from_pairs(&[
            ("replication.quota.window.num", "3"),
            ("replication.quota.window.size.seconds", "2"),
            ("alter.log.dirs.replication.quota.window.num", "4"),
            ("alter.log.dirs.replication.quota.window.size.seconds", "5"),
            // It holds only where it is set dynamically, as in Kafka.
            ("leader.replication.throttled.rate", "5"),
        ]);
        let config = config.unwrap();
        let quotas = ReplicationQuotas::new(&config);
        let window = quotas.leader.samples().window();
        assert_eq!((window.samples, window.sample_ms), (3, 2000));
        let window = quotas.moves.samples().window();
        assert_eq!((window.samples, window.sample_ms), (4, 5000));
        assert_eq!(quotas.leader.limit.load(Ordering::Acquire), i64::MAX);
        let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let all = [
            set("leader.replication.throttled.rate", "7"),
            set("follower.replication.throttled.rate", "8"),
            set("replica.alter.log.dirs.io.max.bytes.per.second", "10"),
        ];
        let own = [set("follower.replication.throttled.rate", "9")];
        let changed = config.with_dynamic(&all.into(), &own.into()).unwrap();
        quotas.config_changed(&changed);
        let limits = [&quotas.leader, &quotas.follower, &quotas.moves];
        assert_eq!(limits.map(|one| one.limit.load(Ordering::Acquire)), [7, 9, 10]);
    }
}
