//! A channel against a broker that breaks, is silent, and comes back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::fake_broker::{Asked, Reply, options, start};
use super::{Address, Channel, Full, Version};
use crate::base::clock;
use crate::wire::ApiKey;
use crate::wire::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use crate::wire::messages::controlled_shutdown::{ControlledShutdownRequest, ControlledShutdownResponse};
use crate::wire::messages::update_metadata::{UpdateMetadataRequest, UpdateMetadataResponse};

fn update(controller_epoch: i32) -> UpdateMetadataRequest {
    UpdateMetadataRequest {
        controller_epoch,
        ..UpdateMetadataRequest::default()
    }
}

type Answer = (i16, UpdateMetadataResponse);

/// A broker that notes the controller epochs that arrive, and answers each with itself.
async fn noting(
    reply: impl Fn(&Asked, Vec<u8>) -> Reply + Send + Sync + 'static,
) -> (Address, Arc<Mutex<Vec<i32>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let address = start(move |asked| {
        let epoch = asked.decoded::<UpdateMetadataRequest>().controller_epoch;
        noted.lock().unwrap().push(epoch);
        let answer = UpdateMetadataResponse {
            error_code: epoch as i16,
        };
        reply(asked, asked.frame(&answer))
    })
    .await;
    (address, seen)
}

async fn wait_for(what: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if what() {
            return;
        }
        clock::sleep(Duration::from_millis(5)).await;
    }
    panic!("it does not come");
}

#[tokio::test]
async fn requests_arrive_in_order_and_one_at_a_time() {
    let (address, seen) = noting(|_, answer| Reply::Late(Duration::from_millis(10), answer)).await;
    let channel = Channel::new(address, options(), 100);
    let answered = Arc::new(Mutex::new(Vec::new()));
    for epoch in 0..20 {
        let (answered, seen) = (Arc::clone(&answered), Arc::clone(&seen));
        channel
            .offer(
                Version::Fixed(8),
                update(epoch),
                move |version, answer: UpdateMetadataResponse| {
                    assert_eq!(version, 8);
                    assert_eq!(
                        seen.lock().unwrap().last(),
                        Some(&epoch),
                        "none after it was sent yet"
                    );
                    answered.lock().unwrap().push(i32::from(answer.error_code));
                },
            )
            .unwrap();
    }
    assert_eq!(channel.length(), 20);
    wait_for(|| channel.length() == 0).await;
    let all: Vec<i32> = (0..20).collect();
    assert_eq!(*answered.lock().unwrap(), all);
    assert_eq!(*seen.lock().unwrap(), all);
}

#[tokio::test]
async fn a_request_is_sent_again_until_it_is_answered() {
    let (address, seen) = noting(|asked, answer| match asked.connection {
        0 | 1 => Reply::Last(Vec::new()),
        2 => Reply::Bytes(vec![0xff; 8]),
        _ => Reply::Bytes(answer),
    })
    .await;
    let channel = Channel::new(address, options(), 100);
    let first = channel
        .ask::<_, UpdateMetadataResponse>(Version::Fixed(8), update(1))
        .unwrap();
    let second = channel
        .ask::<_, UpdateMetadataResponse>(Version::Fixed(8), update(2))
        .unwrap();
    let expected = |code| -> Answer { (8, UpdateMetadataResponse { error_code: code }) };
    assert_eq!(first.await.unwrap(), expected(1));
    assert_eq!(second.await.unwrap(), expected(2));
    assert_eq!(*seen.lock().unwrap(), [1, 1, 1, 1, 2]);
}

#[tokio::test]
async fn what_is_cleared_is_given_up_and_what_comes_after_is_sent() {
    let (address, seen) = noting(|asked, answer| match asked.connection {
        0 => Reply::Silence,
        _ => Reply::Bytes(answer),
    })
    .await;
    let channel = Channel::new(address, options(), 2);
    let ask = |epoch| channel.ask::<_, UpdateMetadataResponse>(Version::Fixed(8), update(epoch));
    let first = ask(1).unwrap();
    wait_for(|| *seen.lock().unwrap() == [1]).await;
    let second = ask(2).unwrap();
    assert_eq!(ask(3).unwrap_err(), Full);
    channel.clear();
    let third = ask(4).unwrap();
    assert!(first.await.is_err() && second.await.is_err());
    assert_eq!(third.await.unwrap().1.error_code, 4);
    assert_eq!(*seen.lock().unwrap(), [1, 4]);
}

#[tokio::test]
async fn a_dropped_channel_gives_up_its_requests() {
    let (address, seen) = noting(|_, _| Reply::Silence).await;
    let channel = Channel::new(address, options(), 2);
    let ask = |epoch| channel.ask::<_, UpdateMetadataResponse>(Version::Fixed(8), update(epoch));
    let (first, second) = (ask(1).unwrap(), ask(2).unwrap());
    wait_for(|| !seen.lock().unwrap().is_empty()).await;
    drop(channel);
    assert!(first.await.is_err() && second.await.is_err());
}

#[tokio::test]
async fn a_negotiated_request_goes_out_in_the_version_that_both_know_or_is_given_up() {
    let address = start(|asked| {
        let known = ApiVersion {
            api_key: ApiKey::ControlledShutdown.code(),
            min_version: 0,
            max_version: 2,
        };
        match asked.header.api_key {
            ApiKey::ApiVersions => Reply::Bytes(asked.frame(&ApiVersionsResponse {
                api_keys: vec![known],
                ..ApiVersionsResponse::default()
            })),
            _ => Reply::Bytes(asked.frame(&ControlledShutdownResponse::default())),
        }
    })
    .await;
    let channel = Channel::new(address, options(), 9);
    let unknown = channel
        .ask::<_, UpdateMetadataResponse>(Version::Newest(8), update(1))
        .unwrap();
    let known = channel
        .ask::<_, ControlledShutdownResponse>(Version::Newest(3), ControlledShutdownRequest::default())
        .unwrap();
    assert!(unknown.await.is_err());
    assert_eq!(known.await.unwrap().0, 2);
}
