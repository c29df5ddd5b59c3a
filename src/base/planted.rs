//! Faults that are planted in decoders and in what brokers do, so that the fuzzer and the simulation can show that they
//! would find them.
//!
//! Invariant: without the feature `planted`, which only the builds of those two have, nothing of a planted fault is compiled,
//! not even its name; with it, none is in effect on a thread that has not chosen it. Names that begin with `cluster-` are
//! looked for by `tests/simulation`, whose brokers run on one thread, the others by `tests/fuzz`, through decoders of bytes
//! from outside. Called through [`planted!`].

/// `planted!("name", wrong, right)`: `right`, but `wrong` where the fault of that name was chosen; without `right`: nothing.
#[cfg(not(feature = "planted"))]
macro_rules! planted {
    ($name:literal, $wrong:expr $(,)?) => {};
    ($name:literal, $wrong:expr, $right:expr $(,)?) => {
        $right
    };
}

/// `planted!("name", wrong, right)`: `right`, but `wrong` where the fault of that name was chosen; without `right`: nothing.
#[cfg(feature = "planted")]
macro_rules! planted {
    ($name:literal, $wrong:expr $(,)?) => {
        if crate::base::planted::is_chosen($name) {
            $wrong
        }
    };
    ($name:literal, $wrong:expr, $right:expr $(,)?) => {
        if crate::base::planted::is_chosen($name) {
            $wrong
        } else {
            $right
        }
    };
}

pub(crate) use planted;

#[cfg(feature = "planted")]
thread_local! {
    static CHOSEN: std::cell::Cell<&'static str> = const { std::cell::Cell::new("") };
}

/// Puts the fault of this name into effect on this thread, and any other out of it; an empty name stands for none.
#[cfg(feature = "planted")]
pub fn choose(name: &'static str) {
    CHOSEN.set(name);
}

/// True where the fault of this name is in effect.
#[cfg(feature = "planted")]
pub fn is_chosen(name: &str) -> bool {
    CHOSEN.get() == name
}
