//! One connection: a task that reads requests, has them answered, and writes the answers in the order of the requests.
//!
//! The next request is not begun before the one before it has passed its ordering point, which is where
//! [`api::dispatch`] returns; what is then still pending is waited for by the writing half, in turn.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::activity::Activity;
use super::budget::Budget;
use super::queue::{AnswerQueue, Queued, QueuedAnswer};
use super::workers::Served;
use super::writer::{Unwritten, write_answers};
use crate::api::{self, Answer, ConnectionContext, Rejected, Services};
use crate::base::clock;
use crate::base::net::{self, ReadHalf, TcpStream};
use crate::base::shutdown::Shutdown;
use crate::base::task;
use crate::wire::frames::{FrameError, Frames};
use crate::wire::response::RESPONSE_BYTES_MAX;

/// Requests of one connection whose answers may be owed at a time, at most. Kafka has one; the clients' default is five.
pub const REQUESTS_IN_FLIGHT: usize = 64;

/// How long the answers that are owed may take to be sent when the end of the requests, one of them or the end of the
/// listener ends the connection.
const DRAIN: Duration = Duration::from_secs(5);

/// What bounds a connection.
#[derive(Clone)]
pub struct ConnectionBounds {
    /// The largest frame in bytes (`socket.request.max.bytes`).
    pub request_max_bytes: i32,
    /// A connection that sends no whole request, and takes nothing of an answer, for so long is closed
    /// (`connections.max.idle.ms`).
    pub idle: Duration,
    /// Requests whose answers may be owed at a time, up to [`REQUESTS_IN_FLIGHT`] (`queued.max.requests`).
    pub requests_in_flight: usize,
    /// Shared by all connections (`queued.max.request.bytes`).
    pub budget: Budget,
}

/// Why a connection ended. None of these is the broker's fault, so none is logged above `debug`, but for the one whose client
/// has asked for nothing wrong and would not know why.
enum Ended {
    Frame(FrameError),
    /// The client, while room or memory for its next request was waited for.
    Gone,
    Rejected(Rejected),
    Write(Unwritten),
    Idle,
    Excess,
    ListenerClosed,
}

/// Serves `stream` until either side ends it. `served` is where its worker keeps what it serves, `activity` what decides
/// whether the connection is to go. When its listener is `closing`, what was asked is still answered: who changes the
/// listeners over one of them hears that it is done.
pub async fn serve(
    stream: TcpStream,
    context: Arc<ConnectionContext>,
    services: Arc<Services>,
    bounds: ConnectionBounds,
    activity: &Activity,
    served: Served,
    closing: &Shutdown,
) {
    let (mut read_half, mut write_half) = net::split(stream);
    served.adopted(write_half.severance());
    let queue = AnswerQueue::new(bounds.requests_in_flight.clamp(1, REQUESTS_IN_FLIGHT));
    let mut ends = pin!(task::seldom(async {
        tokio::select! {
            biased;
            () = activity.idle(bounds.idle) => Ended::Idle,
            () = activity.closed() => Ended::Excess,
            () = answered(closing, &queue, activity) => Ended::ListenerClosed,
        }
    }));
    let ended = tokio::select! {
        // In this order always: what a poll reads, and can be answered at once, the same poll writes.
        biased;
        ended = read_requests(&mut read_half, &context, &services, &bounds, &queue, activity) => ended,
        written = write_answers(&queue, &mut write_half, activity) => match written {
            Ok(()) => return,
            Err(error) => Ended::Write(error),
        },
        ended = &mut ends => ended,
    };
    let why = match ended {
        Ended::Frame(FrameError::Closed) | Ended::Gone => return,
        Ended::Frame(FrameError::Length(length)) => format!("a frame of {length} bytes"),
        Ended::Frame(FrameError::Io(error)) | Ended::Write(Unwritten::Failed(error)) => error.to_string(),
        Ended::Write(Unwritten::TooLarge(key)) => {
            tracing::warn!(
                connection = %context.id,
                "connection closed: the answer to its {key} would have more than {RESPONSE_BYTES_MAX} bytes; ask for less at a time"
            );
            return;
        }
        Ended::Rejected(Rejected::Malformed(what)) => what,
        Ended::Rejected(Rejected::Close(why)) => why.to_owned(),
        Ended::Idle => "idle".to_owned(),
        Ended::Excess => "above max.connections".to_owned(),
        Ended::ListenerClosed => "its listener is closed".to_owned(),
    };
    tracing::debug!(connection = %context.id, why, "connection closed");
}

/// Reads until nothing more is to be read. What was asked before that is still answered, as by Kafka, which reads no
/// request before the answer to the last one is sent.
async fn read_requests(
    half: &mut ReadHalf,
    context: &Arc<ConnectionContext>,
    services: &Arc<Services>,
    bounds: &ConnectionBounds,
    queue: &AnswerQueue,
    activity: &Activity,
) -> Ended {
    let ended = take_requests(half, context, services, bounds, queue, activity).await;
    activity.end();
    match ended {
        // Nobody is there, or was waited for already.
        Ended::Frame(FrameError::Io(_)) | Ended::Gone => {}
        _ => drop(clock::timeout(DRAIN, queue.drained()).await),
    }
    ended
}

async fn take_requests(
    half: &mut ReadHalf,
    context: &Arc<ConnectionContext>,
    services: &Arc<Services>,
    bounds: &ConnectionBounds,
    queue: &AnswerQueue,
    activity: &Activity,
) -> Ended {
    let mut frames = Frames::new(bounds.request_max_bytes);
    loop {
        if !queue.has_room() && unless_gone(half, queue.room()).await.is_none() {
            return Ended::Gone;
        }
        let length = match frames.length(half).await {
            Ok(length) => length,
            Err(error) => return Ended::Frame(error),
        };
        if length > api::UNNAMED_BYTES_MAX {
            match frames.beginning(half).await.map(api::may_be_large) {
                Ok(Ok(())) => {}
                Ok(Err(rejected)) => return Ended::Rejected(rejected),
                Err(error) => return Ended::Frame(error),
            }
        }
        let charge = match bounds.budget.unlimited() {
            Some(charge) => Some(charge),
            None => unless_gone(half, bounds.budget.charge(length)).await,
        };
        let Some(mut charge) = charge else {
            return Ended::Gone;
        };
        let frame = match frames.body(half, length).await {
            Ok(frame) => frame,
            Err(error) => return Ended::Frame(error),
        };
        activity.begin();
        let request = match api::open(context, frame) {
            Ok(request) => request,
            Err(rejected) => return Ended::Rejected(rejected),
        };
        charge.add(request.decoded_bytes());
        let correlation_id = request.correlation_id();
        let answer = match api::dispatch(services, request).await {
            Ok(Answer::Now(response)) => QueuedAnswer::Ready(response),
            Ok(Answer::Later(pending)) => QueuedAnswer::Pending(pending),
            Ok(Answer::Silent) => {
                activity.end();
                continue;
            }
            Err(rejected) => return Ended::Rejected(rejected),
        };
        activity.end();
        queue.push(Queued {
            correlation_id,
            answer,
            charge,
        });
    }
}

/// Returns when the listener is closing and nothing is owed, or [`DRAIN`] later.
async fn answered(closing: &Shutdown, queue: &AnswerQueue, activity: &Activity) {
    closing.wait().await;
    clock::timeout(DRAIN, queue.quiet(|| activity.is_busy())).await;
}

/// Waits for `what` before more is read; for a client that has gone, no longer than [`DRAIN`]: nobody else would see
/// that it has, and what it waits for may be its own parked requests. `None` when it is to be let go.
async fn unless_gone<T>(half: &ReadHalf, what: impl Future<Output = T>) -> Option<T> {
    let mut what = pin!(what);
    tokio::select! {
        biased;
        done = &mut what => return Some(done),
        () = net::gone(half) => {}
    }
    clock::timeout(DRAIN, what).await
}
