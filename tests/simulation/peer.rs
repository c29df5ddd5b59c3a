//! Connections between brokers on simulated sockets: what is told arrives in order, over partitions and restarts.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use barnabas::base::ids::BrokerId;
use barnabas::base::net::{self, SocketOptions, TcpStream};
use barnabas::base::{clock, task};
use barnabas::peer::{Address, Channel, Options, Version};
use barnabas::wire::frames::Frames;
use barnabas::wire::messages::update_metadata::{UpdateMetadataRequest, UpdateMetadataResponse};
use barnabas::wire::{Message as _, Reader, RequestHeader, Response};

const PORT: u16 = 9092;
const REQUESTS: i32 = 200;

type Seen = Arc<Mutex<Vec<i32>>>;

/// Answers each UpdateMetadata with its controller epoch as the error.
async fn serve(stream: TcpStream, seen: Seen) {
    let (mut reads, mut writes) = net::split(stream);
    let mut frames = Frames::new(i32::MAX);
    while let Ok(length) = frames.length(&mut reads).await {
        let Ok(frame) = frames.body(&mut reads, length).await else {
            return;
        };
        let (header, body) = RequestHeader::decode(frame).unwrap();
        let request = UpdateMetadataRequest::decode(&mut Reader::new(body), header.api_version).unwrap();
        seen.lock().unwrap().push(request.controller_epoch);
        let answer = UpdateMetadataResponse {
            error_code: request.controller_epoch as i16,
        };
        let frame = Response::encode(&answer, header.api_version).frame(header.correlation_id);
        if writes.write_all(&frame.read().unwrap(), false).await.is_err() {
            return;
        }
    }
}

async fn listen(seen: Seen) -> turmoil::Result {
    let options = SocketOptions {
        backlog: 1,
        send_buffer_bytes: -1,
        receive_buffer_bytes: -1,
    };
    let listener = net::listen(([0, 0, 0, 0], PORT).into(), options).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        task::spawn(serve(stream, Arc::clone(&seen)));
    }
}

async fn tell() -> turmoil::Result {
    let address = Address {
        broker: BrokerId(2),
        host: turmoil::lookup("other").to_string().into(),
        port: PORT.into(),
    };
    let channel = Channel::new(address, Options::new("1", Duration::from_millis(400)), 10);
    for controller_epoch in 0..REQUESTS {
        let request = UpdateMetadataRequest {
            controller_epoch,
            ..UpdateMetadataRequest::default()
        };
        let answer = channel.ask::<_, UpdateMetadataResponse>(Version::Fixed(8), request);
        let (_, answer) = answer.unwrap().await.unwrap();
        assert_eq!(i32::from(answer.error_code), controller_epoch);
        clock::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

fn run(seed: u64) -> Vec<i32> {
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(60))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(8))
        .build();
    let seen = Seen::default();
    let kept = Arc::clone(&seen);
    sim.host("other", move || listen(Arc::clone(&seen)));
    sim.client("controller", tell());
    let steps = |sim: &mut turmoil::Sim<'_>, count_ms: u64| {
        let until = sim.elapsed() + Duration::from_millis(count_ms);
        while sim.elapsed() < until {
            assert!(
                !sim.step().unwrap(),
                "done before the faults were; SIM_SEED={seed}"
            );
        }
    };
    steps(&mut sim, 300);
    sim.partition("controller", "other");
    steps(&mut sim, 1500);
    sim.repair("controller", "other");
    steps(&mut sim, 500);
    sim.crash("other");
    steps(&mut sim, 700);
    sim.bounce("other");
    while !sim.step().unwrap() {}
    kept.lock().unwrap().clone()
}

#[test]
fn what_a_controller_tells_arrives_in_order_over_partitions_and_restarts() {
    let seed = super::seed();
    let seen = run(seed);
    let mut once = seen.clone();
    once.dedup();
    assert_eq!(once, (0..REQUESTS).collect::<Vec<_>>(), "SIM_SEED={seed}");
    assert_eq!(run(seed), seen, "one seed is one history; SIM_SEED={seed}");
}
