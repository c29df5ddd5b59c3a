//! Threads that hang, and what becomes of their connections.

use super::*;
use crate::base::net::{self, Passed, SocketOptions, TcpListener, TcpStream};
use std::sync::mpsc;
use tokio::io::AsyncReadExt as _;
use tokio::sync::oneshot;

// Longer than a thread that is well waits for its turn on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(1);

/// A connection that is handed to the worker whose turn `number` is; the client's side, and what hears whether the
/// worker has taken it.
async fn hand_over(workers: &Workers, number: u64) -> (TcpStream, oneshot::Receiver<bool>) {
    let options = SocketOptions {
        backlog: 1,
        send_buffer_bytes: -1,
        receive_buffer_bytes: -1,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let passed = Passed::new(stream, options).unwrap();
    let (taken, is_taken) = oneshot::channel();
    workers.serve(number, passed.severance(), async move |served| {
        let Ok(stream) = passed.adopt() else {
            return taken.send(false).unwrap();
        };
        let (_read, write) = net::split(stream);
        served.adopted(write.severance());
        taken.send(true).unwrap();
        std::future::pending::<()>().await;
    });
    (client, is_taken)
}

/// The client's side of a connection that the worker whose turn `number` is serves.
async fn connect(workers: &Workers, number: u64) -> TcpStream {
    let (client, is_taken) = hand_over(workers, number).await;
    assert!(is_taken.await.unwrap());
    client
}

async fn answers(workers: &Workers, number: u64) -> bool {
    let (sender, receiver) = oneshot::channel();
    workers.serve(number, Severance::of_nothing(), async move |_| {
        sender.send(()).unwrap();
    });
    clock::timeout(Duration::from_secs(10), receiver).await == Some(Ok(()))
}

/// Has the worker whose turn `number` is hang, in serving a connection, until this is given something.
fn hang(workers: &Workers, number: u64) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    workers.serve(number, Severance::of_nothing(), async move |_| {
        held.recv().unwrap();
    });
    release
}

#[tokio::test]
async fn a_worker_that_hangs_is_replaced_and_its_clients_are_let_go() {
    let workers = Workers::start("test", 2).unwrap();
    let mut hangs = connect(&workers, 0).await;
    let lives = connect(&workers, 1).await;
    assert!(workers.replace_hung(PATIENCE).await.is_empty(), "none hangs");

    let release = hang(&workers, 2);
    assert_eq!(
        workers.replace_hung(PATIENCE).await,
        [2],
        "and the one it hangs in"
    );
    assert_eq!(hangs.read(&mut [0]).await.unwrap(), 0, "closed");
    assert_eq!(
        lives.try_read(&mut [0]).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    assert!(answers(&workers, 4).await, "another has its turn");
    assert!(answers(&workers, 5).await);

    // Its call returns: it is what replaces the next one.
    release.send(()).unwrap();
    while !workers
        .state()
        .aside
        .iter()
        .all(|(_, back)| back.load(Ordering::Acquire))
    {
        clock::sleep(Duration::from_millis(1)).await;
    }
    let release = hang(&workers, 6);
    while workers.replace_hung(PATIENCE).await.is_empty() {}
    {
        let state = workers.state();
        assert_eq!((state.started, state.aside.len()), (3, 1));
    }
    assert!(answers(&workers, 6).await);
    release.send(()).unwrap();
}

#[tokio::test]
async fn who_comes_to_a_worker_that_hangs_before_that_is_known_is_let_go() {
    let workers = Workers::start("test", 1).unwrap();
    let release = hang(&workers, 0);
    let (mut client, is_taken) = hand_over(&workers, 1).await;
    assert_eq!(workers.replace_hung(PATIENCE).await, [2]);
    let closed = clock::timeout(PATIENCE, client.read(&mut [0])).await;
    assert_eq!(closed.expect("closed while the worker hangs").unwrap(), 0);
    release.send(()).unwrap();
    assert!(!is_taken.await.unwrap(), "nor is it served later");
}

#[test]
fn there_are_no_more_threads_than_cores() {
    for (asked, cores, threads_there) in [
        (3, 2, 2),
        (3, 16, 3),
        (8, 16, 8),
        (1, 1, 1),
        (0, 4, 1),
        (-1, 4, 1),
    ] {
        assert_eq!(threads(asked, cores), threads_there, "{asked} on {cores} cores");
    }
}

#[tokio::test]
async fn fewer_workers_go_on_with_what_they_serve_and_come_back() {
    let workers = Workers::start("test", 3).unwrap();
    let lives = connect(&workers, 2).await;
    workers.resize(1).unwrap();
    assert_eq!(workers.state().taking.len(), 1);
    assert_eq!(
        lives.try_read(&mut [0]).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    for number in 3..6 {
        assert!(answers(&workers, number).await);
    }
    workers.resize(4).unwrap();
    {
        let state = workers.state();
        assert_eq!((state.taking.len(), state.aside.len(), state.started), (4, 0, 4));
    }
    workers.resize(0).unwrap();
    assert!(answers(&workers, 6).await, "one at least");
}

#[tokio::test]
async fn a_worker_that_was_set_aside_and_hangs_lets_its_clients_go() {
    let workers = Workers::start("test", 2).unwrap();
    let mut hangs = connect(&workers, 1).await;
    let release = hang(&workers, 3);
    workers.resize(1).unwrap();
    assert_eq!(workers.replace_hung(PATIENCE).await, [2]);
    assert_eq!(hangs.read(&mut [0]).await.unwrap(), 0, "closed");
    workers.resize(2).unwrap();
    assert!(answers(&workers, 5).await, "another one, not the one that hangs");
    release.send(()).unwrap();
}
