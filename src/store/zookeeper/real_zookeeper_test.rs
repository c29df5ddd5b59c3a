//! The store against a real ZooKeeper, and through a proxy that loses requests, answers or time.
#![expect(clippy::disallowed_types, reason = "a free port, found as no seam does")]

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::testing::{Fate, LONG, Proxy, SHORT, chroot, connect, kill_session, options, server};
use super::*;
use crate::store::{ChangeKind, WatchEvent};

fn data(text: &'static str) -> Option<Bytes> {
    Some(Bytes::from_static(text.as_bytes()))
}

async fn persistent(store: &ZookeeperStore, path: &str) {
    store.create(path, None, CreateKind::Persistent).await.unwrap();
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    clock::timeout(Duration::from_secs(60), future)
        .await
        .expect("nothing happens")
}

async fn until(session: &mut watch::Receiver<Session>, wanted: impl Fn(Session) -> bool) -> Session {
    within(session.wait_for(|session| wanted(*session)))
        .await
        .unwrap()
        .to_owned()
}

fn connected(session: Session) -> bool {
    matches!(session, Session::Connected(_))
}

fn disconnected(session: Session) -> bool {
    matches!(session, Session::Disconnected(_))
}

async fn with_timeout(connect: String, session_timeout: Duration) -> ZookeeperStore {
    let mut options = options(connect);
    options.session_timeout = session_timeout;
    ZookeeperStore::connect(&options, &Random::from_seed(1))
        .await
        .unwrap()
}

/// A store behind a proxy, and another session that sees the same nodes without it.
async fn behind_a_proxy(session_timeout: Duration) -> (Proxy, ZookeeperStore, ZookeeperStore) {
    let chroot = chroot();
    let proxy = Proxy::new(|_| Fate::Pass).await;
    let store = with_timeout(format!("{}{chroot}", proxy.address), session_timeout).await;
    let other = connect(format!("{}{chroot}", server())).await;
    (proxy, store, other)
}

#[tokio::test]
#[ignore = "wants a ZooKeeper: scripts/test zookeeper"]
async fn a_session_ended_from_elsewhere_expires_and_a_new_one_begins() {
    let store = with_timeout(format!("{}{}", server(), chroot()), SHORT).await;
    let first = store.session().borrow().id();
    store.create("/e", None, CreateKind::Ephemeral).await.unwrap();
    let (_, watcher) = store.get_and_watch("/e").await.unwrap();
    assert_eq!(store.renew().await, Ok(first));
    kill_session(&store).await;
    assert_eq!(within(watcher.changed()).await, WatchEvent::SessionOver);
    assert_eq!(*store.session().borrow(), Session::Expired(first));
    assert_eq!(store.get("/").await, Err(StoreError::SessionExpired));
    let failed = store.set("/", None, None).await;
    assert_eq!(failed, Err(StoreError::SessionExpired));
    // Asked before the new session is there, but behind it.
    let renewed = store.renew();
    let after = store.get("/e");
    let second = within(renewed).await.unwrap();
    assert_ne!(second, first);
    assert_eq!(within(after).await, Ok(None));
    assert_eq!(*store.session().borrow(), Session::Connected(second));
    let (_, stat) = store.create("/e", None, CreateKind::Ephemeral).await.unwrap();
    assert_eq!(stat.owner, Some(second));
}

#[tokio::test]
#[ignore = "wants a ZooKeeper: scripts/test zookeeper"]
async fn a_session_cut_off_for_longer_than_its_timeout_expires() {
    let (proxy, store, other) = behind_a_proxy(SHORT).await;
    persistent(&store, "/p").await;
    store.create("/e", None, CreateKind::Ephemeral).await.unwrap();
    let (_, gone) = other.get_and_watch("/e").await.unwrap();
    let (_, watcher) = store.get_and_watch("/p").await.unwrap();
    let mut session = store.session();
    let id = session.borrow().id();
    proxy.stall(true);
    let sent = store.set("/p", data("sent"), None);
    until(&mut session, disconnected).await;
    let waiting = store.set("/p", data("waiting"), None);
    let read = store.get("/p");
    // While nothing says that the session is over, it is the one that there is.
    assert_eq!(within(store.renew()).await, Ok(id));
    assert_eq!(
        within(gone.changed()).await,
        WatchEvent::Changed(ChangeKind::Deleted)
    );
    proxy.stall(false);
    until(&mut session, |session| matches!(session, Session::Expired(_))).await;
    assert_eq!(within(sent).await, Err(StoreError::ConnectionLoss));
    assert_eq!(within(waiting).await, Err(StoreError::SessionExpired));
    assert_eq!(within(read).await, Err(StoreError::SessionExpired));
    assert_eq!(within(watcher.changed()).await, WatchEvent::SessionOver);
    within(store.renew()).await.unwrap();
    assert!(within(store.get("/p")).await.unwrap().is_some());
}

#[tokio::test]
#[ignore = "wants a ZooKeeper: scripts/test zookeeper"]
async fn no_change_is_missed_while_a_connection_is_made_again() {
    let (proxy, store, other) = behind_a_proxy(LONG).await;
    for path in ["/set", "/deleted", "/parent", "/removed", "/same", "/same/child"] {
        persistent(&store, path).await;
    }
    let (_, set) = store.get_and_watch("/set").await.unwrap();
    let (_, deleted) = store.get_and_watch("/deleted").await.unwrap();
    let (_, created) = store.get_and_watch("/created").await.unwrap();
    let (_, parent) = store.children_and_watch("/parent").await.unwrap().unwrap();
    let (_, removed) = store.children_and_watch("/removed").await.unwrap().unwrap();
    let (_, mut same) = store.get_and_watch("/same").await.unwrap();
    let (_, mut same_children) = store.children_and_watch("/same").await.unwrap().unwrap();
    let (_, mut absent) = store.get_and_watch("/absent").await.unwrap();
    let mut session = store.session();
    let id = session.borrow().id();
    proxy.open(false);
    until(&mut session, disconnected).await;
    other.set("/set", data("x"), None).await.unwrap();
    other.delete("/deleted", None).await.unwrap();
    other.delete("/removed", None).await.unwrap();
    persistent(&other, "/created").await;
    persistent(&other, "/parent/child").await;
    proxy.open(true);
    assert_eq!(until(&mut session, connected).await.id(), id);
    for (watcher, kind) in [
        (set, ChangeKind::Data),
        (deleted, ChangeKind::Deleted),
        (created, ChangeKind::Created),
        (parent, ChangeKind::Children),
        (removed, ChangeKind::Deleted),
    ] {
        assert_eq!(within(watcher.changed()).await, WatchEvent::Changed(kind));
    }
    // A read behind them: whatever had fired would have been told before its answer.
    store.get("/same").await.unwrap();
    for watcher in [&mut same, &mut same_children, &mut absent] {
        assert_eq!(watcher.poll_changed(), None);
    }
    persistent(&other, "/absent").await;
    other.delete("/same/child", None).await.unwrap();
    other.set("/same", None, None).await.unwrap();
    for (watcher, kind) in [
        (same, ChangeKind::Data),
        (same_children, ChangeKind::Children),
        (absent, ChangeKind::Created),
    ] {
        assert_eq!(within(watcher.changed()).await, WatchEvent::Changed(kind));
    }
}

#[tokio::test]
#[ignore = "wants a ZooKeeper: scripts/test zookeeper"]
async fn many_watches_outlive_their_connection() {
    const COUNT: usize = 3_000;
    let (proxy, store, other) = behind_a_proxy(LONG).await;
    // Longer than one message holds.
    let path = |number: usize| format!("/{number}-{}", "x".repeat(100));
    let mut watchers = Vec::new();
    let asked: Vec<_> = (0..COUNT)
        .map(|number| store.get_and_watch(&path(number)))
        .collect();
    for asked in asked {
        watchers.push(asked.await.unwrap().1);
    }
    let mut session = store.session();
    proxy.open(false);
    until(&mut session, disconnected).await;
    proxy.open(true);
    until(&mut session, connected).await;
    let create = |number| Operation::create(path(number), None, CreateKind::Persistent);
    other.multi((0..COUNT).map(create).collect()).await.unwrap();
    for watcher in watchers {
        let event = within(watcher.changed()).await;
        assert_eq!(event, WatchEvent::Changed(ChangeKind::Created));
    }
}

#[tokio::test]
#[ignore = "wants a ZooKeeper: scripts/test zookeeper"]
async fn a_lost_reply_and_a_lost_request_are_told_apart_by_reading_back() {
    let (proxy, store, _other) = behind_a_proxy(LONG).await;
    let before = proxy.changes();
    proxy.set_fates(move |number| match number - before {
        0 | 2 => Fate::LoseReply,
        1 | 3 => Fate::LoseRequest,
        _ => Fate::Pass,
    });
    let kind = CreateKind::Ephemeral;
    let lost = Err(StoreError::ConnectionLoss);
    assert_eq!(within(store.create("/made", None, kind)).await.map(drop), lost);
    let made = within(store.get("/made")).await.unwrap().unwrap();
    assert_eq!(made.stat.owner, Some(store.session().borrow().id()));
    assert_eq!(within(store.create("/not", None, kind)).await.map(drop), lost);
    assert_eq!(within(store.get("/not")).await, Ok(None));
    assert_eq!(
        within(store.set("/made", data("1"), Some(0))).await.map(drop),
        lost
    );
    assert_eq!(within(store.get("/made")).await.unwrap().unwrap().data, data("1"));
    assert_eq!(
        within(store.set("/made", data("2"), Some(1))).await.map(drop),
        lost
    );
    assert_eq!(within(store.get("/made")).await.unwrap().unwrap().data, data("1"));
    assert_eq!(store.set("/made", data("2"), Some(1)).await.unwrap().version, 2);
}

#[tokio::test]
#[ignore = "wants a ZooKeeper: scripts/test zookeeper"]
async fn changes_under_way_keep_their_order_over_a_lost_connection() {
    let (proxy, store, _other) = behind_a_proxy(LONG).await;
    persistent(&store, "/n").await;
    let before = proxy.changes();
    proxy.set_fates(move |number| match number - before {
        20 => Fate::LoseReply,
        40 => Fate::LoseRequest,
        _ => Fate::Pass,
    });
    let calls: Vec<_> = (0..60)
        .map(|number| store.set("/n", Some(Bytes::from(format!("{number}"))), None))
        .collect();
    // Its place is behind all of them, though it is answered by another connection.
    let read = store.get("/n");
    let (mut versions, mut lost) = (Vec::new(), 0);
    for call in calls {
        match within(call).await {
            Ok(stat) => versions.push(stat.version),
            Err(StoreError::ConnectionLoss) => lost += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(versions.is_sorted(), "{versions:?}");
    assert!((2..=20).contains(&lost), "{lost}");
    assert!(versions.len() >= 40, "{versions:?}");
    let node = within(read).await.unwrap().unwrap();
    assert_eq!(node.data, data("59"));
    assert!(node.stat.version >= versions.len() as i32);
}

#[tokio::test]
#[ignore = "wants a ZooKeeper: scripts/test zookeeper"]
async fn a_watch_is_not_lost_between_the_two_halves_of_its_request() {
    let store = connect(format!("{}{}", server(), chroot())).await;
    let watched = store.get_and_watch("/n");
    drop(store.create("/n", None, CreateKind::Persistent));
    let (node, watcher) = watched.await.unwrap();
    // Its place was before the creation.
    assert_eq!(node, None);
    assert_eq!(
        within(watcher.changed()).await,
        WatchEvent::Changed(ChangeKind::Created)
    );
}

#[tokio::test]
#[ignore = "wants a ZooKeeper: scripts/test zookeeper"]
async fn servers_that_do_not_listen_are_passed_over() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let chroot = chroot();
    for seed in 0..4 {
        let options = options(format!("{nobody},{}{chroot}", server()));
        let store = ZookeeperStore::connect(&options, &Random::from_seed(seed))
            .await
            .unwrap();
        assert!(store.get("/").await.unwrap().is_some());
    }
}

#[tokio::test]
#[ignore = "wants a ZooKeeper: scripts/test zookeeper"]
async fn a_missing_chroot_is_created_with_its_parents() {
    let chroot = chroot();
    let store = connect(format!("{}{chroot}/a/b", server())).await;
    persistent(&store, "/n").await;
    let (path, _) = store
        .create("/n/s-", None, CreateKind::PersistentSequential)
        .await
        .unwrap();
    assert_eq!(path, "/n/s-0000000000");
    let whole = connect(server().to_string()).await;
    for parent in [&chroot, &format!("{chroot}/a"), &format!("{chroot}/a/b")] {
        let node = whole.get(parent).await.unwrap().unwrap();
        assert_eq!(
            (node.data, node.stat.children, node.stat.owner),
            (None, 1, None),
            "{parent}"
        );
    }
    let below = whole.get(&format!("{chroot}/a/b/n/s-0000000000")).await;
    assert!(below.unwrap().is_some());
    // One that is there is left as it is.
    let again = connect(format!("{}{chroot}/a/b", server())).await;
    assert_eq!(again.children("/").await.unwrap().unwrap(), ["n"]);
}

#[tokio::test]
#[ignore = "wants a ZooKeeper: scripts/test zookeeper"]
async fn no_more_requests_are_under_way_than_allowed() {
    for allowed in [1, 7] {
        let proxy = Proxy::new(|_| Fate::Pass).await;
        let mut options = options(format!("{}{}", proxy.address, chroot()));
        options.max_in_flight_requests = allowed;
        let store = ZookeeperStore::connect(&options, &Random::from_seed(1))
            .await
            .unwrap();
        proxy.hold_answers(true);
        let mut calls = Vec::new();
        for number in 0..20 {
            calls.push(store.create(&format!("/{number}"), None, CreateKind::Persistent));
            drop(store.get_and_watch("/0"));
        }
        clock::sleep(Duration::from_millis(300)).await;
        proxy.hold_answers(false);
        for call in calls {
            within(call).await.unwrap();
        }
        assert_eq!(proxy.most_in_flight(), allowed);
    }
}

#[tokio::test]
#[ignore = "wants a ZooKeeper: scripts/test zookeeper"]
async fn a_change_that_a_server_would_not_take_is_refused_in_words() {
    let chroot = chroot();
    let store = connect(format!("{}{chroot}", server())).await;
    let mut session = store.session();
    session.mark_unchanged();
    let much = |bytes: usize| Some(Bytes::from(vec![b'x'; bytes]));
    let create = |bytes| store.create("/n", much(bytes), CreateKind::Persistent);
    assert_eq!(create(1 << 20).await, Err(StoreError::TooLarge));
    // To the byte what a server takes.
    let rest = Operation::create(format!("{chroot}/n"), None, CreateKind::Persistent).size_in_bytes();
    let room = CHANGE_BYTES - rest;
    assert_eq!(create(room + 1).await, Err(StoreError::TooLarge));
    create(room).await.unwrap();
    let node = store.get("/n").await.unwrap().unwrap();
    assert_eq!(node.data.unwrap().len(), room);
    // The connection has outlived all of that.
    assert!(!session.has_changed().unwrap());
}

#[tokio::test]
#[ignore = "wants a ZooKeeper: scripts/test zookeeper"]
async fn lists_of_children_are_read_whatever_their_size() {
    const COUNT: usize = 12_000;
    let store = connect(format!("{}{}", server(), chroot())).await;
    persistent(&store, "/n").await;
    let name = |number: usize| format!("{number:05}{}", "x".repeat(120));
    for first in (0..COUNT).step_by(2_000) {
        let create = |number| Operation::create(format!("/n/{}", name(number)), None, CreateKind::Persistent);
        store
            .multi((first..first + 2_000).map(create).collect())
            .await
            .unwrap();
    }
    let names = store.children("/n").await.unwrap().unwrap();
    assert_eq!(names.len(), COUNT);
    assert_eq!(names.first(), Some(&name(0)));
    assert_eq!(names.last(), Some(&name(COUNT - 1)));
}

#[tokio::test]
#[ignore = "wants a ZooKeeper: scripts/test zookeeper"]
async fn stats_within_a_change_tell_who_and_when() {
    let store = connect(format!("{}{}", server(), chroot())).await;
    let id = store.session().borrow().id();
    let outcomes = store
        .multi(vec![
            Operation::create("/p", None, CreateKind::Persistent),
            Operation::create("/p/e", None, CreateKind::Ephemeral),
            Operation::set("/p/e", data("1"), Some(0)),
        ])
        .await
        .unwrap();
    let [
        Outcome::Created { stat: p, .. },
        Outcome::Created { stat: e, path },
        Outcome::Set(set),
    ] = &*outcomes
    else {
        panic!("{outcomes:?}");
    };
    assert_eq!((path.as_str(), e.owner, p.owner), ("/p/e", Some(id), None));
    assert!(e.czxid > 0 && e.czxid == p.czxid && e.czxid == set.czxid);
    assert_eq!((e.version, set.version), (0, 1));
    let read = store.get("/p/e").await.unwrap().unwrap();
    assert_eq!(read.stat, *set);
}

#[tokio::test]
#[ignore = "wants a ZooKeeper: scripts/test zookeeper"]
async fn closing_and_dropping_end_the_session_at_once() {
    let chroot = chroot();
    let other = connect(format!("{}{chroot}", server())).await;
    for closes in [true, false] {
        let store = connect(format!("{}{chroot}", server())).await;
        store.create("/e", None, CreateKind::Ephemeral).await.unwrap();
        let (_, gone) = other.get_and_watch("/e").await.unwrap();
        if closes {
            let before = store.create("/kept", None, CreateKind::Persistent);
            store.close().await;
            assert!(before.await.is_ok());
            assert!(matches!(*store.session().borrow(), Session::Expired(_)));
            assert_eq!(store.get("/").await, Err(StoreError::Failed));
            assert_eq!(store.renew().await, Err(StoreError::Failed));
        }
        drop(store);
        let soon = clock::timeout(LONG / 2, gone.changed()).await;
        assert_eq!(soon, Some(WatchEvent::Changed(ChangeKind::Deleted)));
    }
}
