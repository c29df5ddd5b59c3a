//! The signal that a broker is to stop.

use tokio::sync::watch;

/// Tells tasks that the broker stops; clones share the signal.
#[derive(Clone)]
pub struct Shutdown {
    sender: watch::Sender<bool>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            sender: watch::Sender::new(false),
        }
    }
}

impl Shutdown {
    /// A signal that has not been given yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal. Giving it again changes nothing.
    pub fn begin(&self) {
        self.sender.send_replace(true);
    }

    /// True once the signal was given.
    pub fn begun(&self) -> bool {
        *self.sender.borrow()
    }

    /// Waits until the signal is given; at once when it was.
    pub async fn wait(&self) {
        let mut receiver = self.sender.subscribe();
        // The sender lives in self, so waiting cannot fail.
        let _ = receiver.wait_for(|begun| *begun).await;
    }
}
