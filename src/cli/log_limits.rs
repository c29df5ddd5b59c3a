//! How many lines one place in the code may log, and how many it has left out.
//!
//! Pure: the time is an argument. Invariant: each line that is left out is told of once, with the next line of its place,
//! or when the window in which it fell has ended, or at the end of the log. Bounded by the number of places that log.
//! Called by `logging.rs`.

use tracing::Metadata;
use tracing::callsite::Identifier;

use crate::base::hash::HashMap;

/// Lines that one place in the code may write within [`WINDOW_MS`].
pub(super) const BURST: u32 = 50;
/// The window, in milliseconds.
pub(super) const WINDOW_MS: i64 = 10_000;

/// How often each place in the code wrote lately.
#[derive(Default)]
pub(super) struct Limits {
    places: HashMap<Identifier, Place>,
    /// How many places have left lines out and not told of it.
    untold: usize,
}

struct Place {
    metadata: &'static Metadata<'static>,
    window_start_ms: i64,
    written: u32,
    left_out: u64,
    /// Of the line that was written last.
    message: String,
}

/// What becomes of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Admitted {
    /// It is written; so many lines of its place were left out before it.
    Write(u64),
    /// It is left out, and the place has not left out any since it last told.
    FirstLeftOut,
    /// It is left out.
    LeftOut,
}

/// Lines of one place that were left out.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct LeftOut {
    /// The place.
    pub(super) metadata: &'static Metadata<'static>,
    /// How many.
    pub(super) count: u64,
    /// What the last one that was written said.
    pub(super) message: String,
}

impl Limits {
    /// Counts a line of the place that `metadata` describes.
    pub(super) fn admit(&mut self, metadata: &'static Metadata<'static>, now_ms: i64) -> Admitted {
        let place = self.places.entry(metadata.callsite()).or_insert_with(|| Place {
            metadata,
            window_start_ms: now_ms,
            written: 0,
            left_out: 0,
            message: String::new(),
        });
        if place.has_ended(now_ms) {
            place.window_start_ms = now_ms;
            place.written = 0;
        }
        if place.written < BURST {
            place.written += 1;
            let untold = std::mem::take(&mut place.left_out);
            self.untold -= usize::from(untold > 0);
            return Admitted::Write(untold);
        }
        place.left_out = place.left_out.saturating_add(1);
        if place.left_out > 1 {
            return Admitted::LeftOut;
        }
        self.untold += 1;
        Admitted::FirstLeftOut
    }

    /// A line was written.
    pub(super) fn wrote(&mut self, metadata: &'static Metadata<'static>, message: String) {
        if let Some(place) = self.places.get_mut(&metadata.callsite()) {
            place.message = message;
        }
    }

    /// When a window ends in which lines were left out, of which nobody has told.
    pub(super) fn due_ms(&self) -> Option<i64> {
        if self.untold == 0 {
            return None;
        }
        let untold = self.places.values().filter(|place| place.left_out > 0);
        untold
            .map(|place| place.window_start_ms.saturating_add(WINDOW_MS))
            .min()
    }

    /// The lines left out in windows that have ended.
    pub(super) fn ended(&mut self, now_ms: i64) -> Vec<LeftOut> {
        self.left_out(|place| place.has_ended(now_ms))
    }

    /// All lines left out.
    pub(super) fn all_left_out(&mut self) -> Vec<LeftOut> {
        self.left_out(|_| true)
    }

    fn left_out(&mut self, which: impl Fn(&Place) -> bool) -> Vec<LeftOut> {
        if self.untold == 0 {
            return Vec::new();
        }
        let told = self.places.values_mut();
        let told = told.filter(|place| place.left_out > 0 && which(place));
        let mut told: Vec<_> = told
            .map(|place| LeftOut {
                metadata: place.metadata,
                count: std::mem::take(&mut place.left_out),
                message: place.message.clone(),
            })
            .collect();
        self.untold -= told.len();
        // The order of the map is nobody's business.
        told.sort_by_key(|place| (place.metadata.target(), place.metadata.line()));
        told
    }
}

impl Place {
    /// A clock that went back ends a window, too.
    fn has_ended(&self, now_ms: i64) -> bool {
        !(0..WINDOW_MS).contains(&now_ms.saturating_sub(self.window_start_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::field::FieldSet;
    use tracing::metadata::Kind;
    use tracing::subscriber::Interest;

    struct Callsite;

    static CALLSITE: Callsite = Callsite;
    static METADATA: Metadata<'static> = Metadata::new(
        "place",
        "barnabas::net",
        tracing::Level::WARN,
        None,
        None,
        None,
        FieldSet::new(&[], Identifier(&CALLSITE)),
        Kind::EVENT,
    );

    impl tracing::callsite::Callsite for Callsite {
        fn set_interest(&self, _interest: Interest) {}

        fn metadata(&self) -> &Metadata<'_> {
            &METADATA
        }
    }

    fn full() -> Limits {
        let mut limits = Limits::default();
        for _ in 0..BURST {
            assert_eq!(limits.admit(&METADATA, 0), Admitted::Write(0));
            limits.wrote(&METADATA, "hello".to_owned());
        }
        assert_eq!(limits.admit(&METADATA, 1), Admitted::FirstLeftOut);
        assert_eq!(limits.admit(&METADATA, WINDOW_MS - 1), Admitted::LeftOut);
        limits
    }

    #[test]
    fn the_next_line_tells_what_was_left_out() {
        let mut limits = full();
        assert_eq!(limits.admit(&METADATA, WINDOW_MS), Admitted::Write(2));
        assert_eq!(limits.admit(&METADATA, WINDOW_MS), Admitted::Write(0));
        assert_eq!(limits.due_ms(), None);
        assert_eq!(limits.ended(10 * WINDOW_MS), []);
        assert_eq!(
            limits.admit(&METADATA, -5),
            Admitted::Write(0),
            "a clock that went back"
        );
    }

    #[test]
    fn the_end_of_the_window_tells_when_no_line_does() {
        let mut limits = full();
        assert_eq!(limits.due_ms(), Some(WINDOW_MS));
        assert_eq!(limits.ended(WINDOW_MS - 1), []);
        let told = LeftOut {
            metadata: &METADATA,
            count: 2,
            message: "hello".to_owned(),
        };
        assert_eq!(limits.ended(WINDOW_MS), [told]);
        assert_eq!(limits.due_ms(), None);
        assert_eq!(limits.ended(WINDOW_MS), [], "once");
        assert_eq!(limits.admit(&METADATA, WINDOW_MS), Admitted::Write(0));
    }

    #[test]
    fn the_end_of_the_log_tells_at_once() {
        let mut limits = full();
        let told = limits.all_left_out();
        assert_eq!(told.iter().map(|place| place.count).collect::<Vec<_>>(), [2]);
        assert_eq!(limits.all_left_out(), []);
        // The window goes on, and what it leaves out from here on is told again.
        assert_eq!(limits.admit(&METADATA, 2), Admitted::FirstLeftOut);
        assert_eq!(limits.due_ms(), Some(WINDOW_MS));
    }
}
