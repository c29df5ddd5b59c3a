//! The answer that a client waits for.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot::{self, error::TryRecvError};

/// An answer that is there or will come. It may be dropped: nobody waits for it then.
///
/// Comes to an end whatever happens: when the shard goes away without a word, with what `lost` says.
pub struct Asked<A> {
    receiver: Option<oneshot::Receiver<A>>,
    lost: Option<A>,
}

// Nothing in it is pinned.
impl<A> Unpin for Asked<A> {}

impl<A> Asked<A> {
    /// An answer that is there.
    pub(super) fn now(answer: A) -> Self {
        Self {
            receiver: None,
            lost: Some(answer),
        }
    }

    /// An answer that comes through `receiver`.
    pub(super) fn later(receiver: oneshot::Receiver<A>, lost: A) -> Self {
        Self {
            receiver: Some(receiver),
            lost: Some(lost),
        }
    }

    /// The answer, if it is there.
    ///
    /// # Errors
    /// What was asked, as long as there is no answer.
    pub fn ready(mut self) -> Result<A, Self> {
        let there = match &mut self.receiver {
            Some(receiver) => receiver.try_recv(),
            None => Err(TryRecvError::Closed),
        };
        match (there, self.lost.take()) {
            (Ok(answer), _) | (Err(TryRecvError::Closed), Some(answer)) => Ok(answer),
            (Err(_), lost) => Err(Self { lost, ..self }),
        }
    }
}

impl<A> Future for Asked<A> {
    type Output = A;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<A> {
        if let Some(receiver) = &mut self.receiver {
            match Pin::new(receiver).poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(answer)) => {
                    self.receiver = None;
                    self.lost = None;
                    return Poll::Ready(answer);
                }
                Poll::Ready(Err(_)) => self.receiver = None,
            }
        }
        match self.lost.take() {
            Some(answer) => Poll::Ready(answer),
            // Polled again after its end, which no caller does.
            None => Poll::Pending,
        }
    }
}
