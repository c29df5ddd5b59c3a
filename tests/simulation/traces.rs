//! What brokers say to their logs, as far as a simulation listens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

/// Counts logs that are cut; clones share it. Says to all else that nobody listens.
#[derive(Clone, Default)]
pub struct Truncations(Arc<AtomicU64>);

impl Truncations {
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn is_one(metadata: &Metadata<'_>) -> bool {
        metadata.target().ends_with("storage::log::truncate")
    }
}

impl Subscriber for Truncations {
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

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
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
