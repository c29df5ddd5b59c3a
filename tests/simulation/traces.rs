//! What brokers say to their logs, as far as a simulation listens.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

/// What is listened to: how the name of a module ends, how what it says begins, and what it is counted as.
const LISTENED: [(&str, &str, &str); 7] = [
    ("storage::log::truncate", "", "truncations"),
    ("replica::fetchers::lanes", "far behind", "partitions far behind"),
    ("replica::fetchers::lanes", "caught up", "partitions caught up"),
    ("replica::fetchers::lanes", "taken over", "partitions taken over"),
    ("replica::fetchers::throttled", "held back", "followers held back"),
    ("replica::moving::swap", "replica moved", "changes of directories"),
    ("replica::read", "withheld", "answers without throttled records"),
];

/// Counts what is listened to; clones share it. Says to all else that nobody listens.
#[derive(Clone, Default)]
pub struct Told(Arc<[AtomicU64; LISTENED.len()]>);

impl Told {
    /// How often each thing was said.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        LISTENED.iter().map(|(_, _, name)| *name).zip(counts)
    }

    fn is_one(metadata: &Metadata<'_>) -> bool {
        let is_of = |(target, _, _): &(&str, &str, &str)| metadata.target().ends_with(target);
        LISTENED.iter().any(is_of)
    }
}

/// The words of an event.
#[derive(Default)]
struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Told {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match Self::is_one(metadata) {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        Self::is_one(metadata)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut words = Words::default();
        event.record(&mut words);
        for ((target, begins, _), count) in LISTENED.iter().zip(self.0.iter()) {
            if event.metadata().target().ends_with(target) && words.0.starts_with(begins) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Milliseconds of the simulation, in the place of the time of day.
pub struct SimulatedTime;

impl tracing_subscriber::fmt::time::FormatTime for SimulatedTime {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        write!(w, "{:>6}", turmoil::sim_elapsed().unwrap_or_default().as_millis())
    }
}
