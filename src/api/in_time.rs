//! The time that a client gives the controller (`timeout_ms` of CreateTopics, DeleteTopics, CreatePartitions).

use std::time::Duration;

use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::controller::request::AdminError;

/// Kafka looks at the time only when all is written: who gives less hears all the same what is wrong with the request.
const LEAST: Duration = Duration::from_secs(1);

/// What the controller answers; `None` when the time is over before, though what is asked for may be done yet. Who gives no
/// time at all is answered REQUEST_TIMED_OUT when it is done.
pub(super) async fn answer<T>(timeout_ms: i32, asked: impl Future<Output = T>) -> Option<T> {
    match u64::try_from(timeout_ms) {
        Ok(0) | Err(_) => Some(asked.await),
        Ok(given) => clock::timeout(Duration::from_millis(given).max(LEAST), asked).await,
    }
}

/// What a client is answered then.
pub(super) fn over() -> AdminError {
    AdminError {
        code: ErrorCode::RequestTimedOut,
        message: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_controller_that_is_held_up_is_not_waited_for_longer_than_the_client_says() {
        for (timeout_ms, waits_ms) in [(5000, 5000), (1, 1000)] {
            let began = Instant::now();
            assert_eq!(answer(timeout_ms, std::future::pending::<()>()).await, None);
            assert_eq!(began.elapsed(), Duration::from_millis(waits_ms));
        }
        for timeout_ms in [-1, 0, 1] {
            let slow = clock::sleep(Duration::from_millis(900));
            assert_eq!(answer(timeout_ms, slow).await, Some(()));
        }
        assert_eq!(answer(0, clock::sleep(Duration::from_secs(60))).await, Some(()));
    }
}
