//! Whether this broker may lead no more what it leads in its own eyes: it has lost sight of the store, and another one may
//! have been elected without a word reaching it.
//!
//! It goes on all the same, as Kafka's brokers do: when the store is away for all, nobody else could. But that an offset is
//! beyond the end of a log it does not say then: a consumer would begin anew because of it, and the offset may well be there,
//! at another leader.

use std::sync::atomic::{AtomicBool, Ordering};

use super::replicas::Replicas;

/// What is known of that.
#[derive(Default)]
pub(super) struct CutOff {
    is_disconnected: AtomicBool,
    is_untold: AtomicBool,
}

impl CutOff {
    /// True while it may be so.
    pub(super) fn is_likely(&self) -> bool {
        self.is_disconnected.load(Ordering::Acquire) || self.is_untold.load(Ordering::Acquire)
    }

    /// Whether the controller has told what this broker leads since it was registered.
    pub(super) fn set_untold(&self, is_untold: bool) {
        self.is_untold.store(is_untold, Ordering::Release);
    }
}

impl Replicas {
    /// The store answers, or does not.
    pub fn store_answers(&self, answers: bool) {
        let cut_off = &self.surroundings().cut_off;
        cut_off.is_disconnected.store(!answers, Ordering::Release);
    }

    /// The session with the store is over, and with it the registration.
    pub async fn store_session_is_over(&self) {
        self.control.lock().await.session_is_over();
        self.surroundings().cut_off.set_untold(true);
    }
}
