//! What every backend must do: one suite, run against each.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::embedded::EmbeddedStore;
use super::memory::{Lost, MemoryServer, MemoryStore};
use super::reading_back::ReadingBack;
use super::zookeeper::ZookeeperStore;
use super::zookeeper::testing::{self, Fate, Proxy};
use super::*;
use crate::base::disk::Disk;
use crate::base::disk::memory::MemoryDisk;
use crate::base::random::Random;

/// A backend under test: connects, and ends the session that it connected last.
trait Backend {
    fn connect(&mut self) -> impl Future<Output = Arc<dyn Store>>;
    fn end_session(&mut self) -> impl Future<Output = ()>;
}

struct Memory(MemoryServer, Option<MemoryStore>);

impl Backend for Memory {
    async fn connect(&mut self) -> Arc<dyn Store> {
        let store = self.0.connect();
        self.1 = Some(store.clone());
        Arc::new(store)
    }

    async fn end_session(&mut self) {
        self.1.take().unwrap().expire();
    }
}

struct Embedded(Disk, Option<EmbeddedStore>);

impl Backend for Embedded {
    async fn connect(&mut self) -> Arc<dyn Store> {
        let directories: Vec<PathBuf> = vec!["/a".into(), "/b".into()];
        for directory in &directories {
            self.0.create_directory(directory).unwrap();
        }
        let store = EmbeddedStore::open(
            &self.0,
            &directories,
            Duration::from_secs(10),
            &Random::from_seed(1),
        )
        .await
        .unwrap();
        self.1 = Some(store.clone());
        Arc::new(store)
    }

    async fn end_session(&mut self) {
        self.1.take().unwrap().close().await;
    }
}

/// A real ZooKeeper, behind a proxy.
struct RealZookeeper {
    fates: fn(usize) -> Fate,
    proxy: Option<Proxy>,
    chroot: String,
    store: Option<ZookeeperStore>,
}

impl RealZookeeper {
    /// Every change is made and answered.
    fn new() -> Self {
        Self {
            fates: |_| Fate::Pass,
            proxy: None,
            chroot: testing::chroot(),
            store: None,
        }
    }

    /// Every third change is lost, and the answer to every third.
    fn lossy() -> Self {
        Self {
            fates: |number| match number % 3 {
                0 => Fate::LoseReply,
                1 => Fate::LoseRequest,
                _ => Fate::Pass,
            },
            ..Self::new()
        }
    }
}

impl Backend for RealZookeeper {
    async fn connect(&mut self) -> Arc<dyn Store> {
        if self.proxy.is_none() {
            self.proxy = Some(Proxy::new(self.fates).await);
        }
        let proxy = self.proxy.as_ref().unwrap();
        let store = testing::connect(format!("{}{}", proxy.address, self.chroot)).await;
        self.store = Some(store.clone());
        Arc::new(store)
    }

    async fn end_session(&mut self) {
        let store = self.store.take().unwrap();
        testing::kill_session(&store).await;
        self.proxy.as_ref().unwrap().cut().await;
        let mut session = store.session();
        let over = session.wait_for(|session| matches!(session, Session::Expired(_)));
        over.await.unwrap();
    }
}

/// The same, for a caller that reads back whether its change was made.
struct Lossy(RealZookeeper);

impl Backend for Lossy {
    async fn connect(&mut self) -> Arc<dyn Store> {
        Arc::new(ReadingBack(self.0.connect().await))
    }

    async fn end_session(&mut self) {
        self.0.end_session().await;
    }
}

macro_rules! contract {
    (in_any_order: $($any:ident),*; in_order: $($ordered:ident),*;) => {
        contract!(memory, Memory(MemoryServer::new(), None), $($any,)* $($ordered),*);
        contract!(embedded, Embedded(Disk::memory(MemoryDisk::new()), None), $($any,)* $($ordered),*);
        contract!(#[ignore] real_zookeeper, RealZookeeper::new(), $($any,)* $($ordered),*);
        // Who waits for each answer has no order to lose.
        contract!(#[ignore] real_zookeeper_with_losses, Lossy(RealZookeeper::lossy()), $($any),*);
    };
    ($module:ident, $backend:expr, $($name:ident),*) => {
        mod $module {
            use super::*;

            $(#[tokio::test]
            async fn $name() {
                super::$name($backend).await;
            })*
        }
    };
    (#[ignore] $module:ident, $backend:expr, $($name:ident),*) => {
        mod $module {
            use super::*;

            $(#[tokio::test]
            #[ignore = "wants a ZooKeeper: scripts/test zookeeper"]
            async fn $name() {
                super::$name($backend).await;
            })*
        }
    };
}

contract!(
    in_any_order:
        creates_need_a_parent_and_a_free_name,
        null_and_empty_data_differ,
        versions_guard_sets_and_deletes,
        a_multi_is_one_change_or_none,
        sequence_numbers_never_repeat,
        ephemerals_go_with_their_session_and_have_no_children,
        zxids_rise_over_restarts,
        watches_fire_once,
        watches_end_with_the_session,
        paths_are_checked;
    in_order:
        changes_take_effect_in_the_order_of_the_calls,
        a_change_has_no_more_than_zookeeper_takes,
        reads_see_what_was_asked_before;
);

fn data(text: &'static str) -> Option<Bytes> {
    Some(Bytes::from_static(text.as_bytes()))
}

async fn persistent(store: &Arc<dyn Store>, path: &str) -> Stat {
    store.create(path, None, CreateKind::Persistent).await.unwrap().1
}

async fn creates_need_a_parent_and_a_free_name(mut backend: impl Backend) {
    let store = backend.connect().await;
    let kind = CreateKind::Persistent;
    assert_eq!(store.create("/a/b", None, kind).await, Err(StoreError::NoNode));
    persistent(&store, "/a").await;
    persistent(&store, "/a/b").await;
    persistent(&store, "/a/a").await;
    persistent(&store, "/ab").await;
    assert_eq!(store.create("/a", None, kind).await, Err(StoreError::NodeExists));
    assert_eq!(store.create("/", None, kind).await, Err(StoreError::NodeExists));
    assert_eq!(
        store.children("/a").await.unwrap(),
        Some(vec!["a".to_owned(), "b".to_owned()])
    );
    assert_eq!(
        store.children("/").await.unwrap(),
        Some(vec!["a".to_owned(), "ab".to_owned()])
    );
    assert_eq!(store.children("/none").await.unwrap(), None);
    assert_eq!(store.delete("/a", None).await, Err(StoreError::NotEmpty));
    store.delete("/a/a", None).await.unwrap();
    let stat = store.get("/a").await.unwrap().unwrap().stat;
    assert_eq!((stat.version, stat.cversion, stat.children), (0, 3, 1));
    assert!(stat.pzxid > stat.mzxid);
    assert_eq!(store.get("/a/a").await.unwrap(), None);
}

async fn a_change_has_no_more_than_zookeeper_takes(mut backend: impl Backend) {
    let store = backend.connect().await;
    let much = |bytes: usize| Some(Bytes::from(vec![b'x'; bytes]));
    let create = |path: &str, bytes: usize| Operation::create(path, much(bytes), CreateKind::Persistent);
    let refused = |answer: Result<Vec<Outcome>, MultiError>| {
        assert_eq!(answer, Err(MultiError::from(StoreError::TooLarge)));
    };
    refused(store.multi(vec![create("/n", CHANGE_BYTES)]).await);
    refused(
        store
            .multi(vec![create("/n", 600_000), create("/m", 600_000)])
            .await,
    );
    assert_eq!(store.get("/n").await, Ok(None));
    // The server's paths may be longer.
    store.multi(vec![create("/n", CHANGE_BYTES - 500)]).await.unwrap();
    let set = store.set("/n", much(1 << 20), None).await;
    assert_eq!(set, Err(StoreError::TooLarge));
    let node = store.get("/n").await.unwrap().unwrap();
    assert_eq!(node.data.unwrap().len(), CHANGE_BYTES - 500);
    assert_eq!(node.stat.version, 0);
}

async fn null_and_empty_data_differ(mut backend: impl Backend) {
    let store = backend.connect().await;
    persistent(&store, "/null").await;
    store
        .create("/empty", data(""), CreateKind::Persistent)
        .await
        .unwrap();
    backend.end_session().await;
    let store = backend.connect().await;
    assert_eq!(store.get("/null").await.unwrap().unwrap().data, None);
    assert_eq!(store.get("/empty").await.unwrap().unwrap().data, data(""));
}

async fn versions_guard_sets_and_deletes(mut backend: impl Backend) {
    let store = backend.connect().await;
    let created = persistent(&store, "/a").await;
    assert_eq!(store.set("/b", None, None).await, Err(StoreError::NoNode));
    assert_eq!(
        store.set("/a", data("x"), Some(1)).await,
        Err(StoreError::BadVersion)
    );
    let stat = store.set("/a", data("x"), Some(0)).await.unwrap();
    assert_eq!((stat.version, stat.czxid), (1, created.czxid));
    assert!(stat.mzxid > stat.czxid);
    store.set("/a", data("y"), None).await.unwrap();
    assert_eq!(store.delete("/a", Some(1)).await, Err(StoreError::BadVersion));
    store.delete("/a", Some(2)).await.unwrap();
    assert_eq!(store.delete("/a", None).await, Err(StoreError::NoNode));
}

async fn a_multi_is_one_change_or_none(mut backend: impl Backend) {
    let store = backend.connect().await;
    let stat = persistent(&store, "/fence").await;
    let failed = store
        .multi(vec![
            Operation::check("/fence", Some(0)),
            Operation::create("/x", None, CreateKind::Persistent),
            Operation::set("/fence", data("1"), None),
            Operation::check("/fence", Some(0)),
        ])
        .await;
    assert_eq!(
        failed,
        Err(MultiError {
            index: Some(3),
            error: StoreError::BadVersion
        })
    );
    assert_eq!(store.get("/x").await.unwrap(), None);
    assert_eq!(store.get("/fence").await.unwrap().unwrap().stat, stat);
    let done = store
        .multi(vec![
            Operation::check("/fence", Some(0)),
            Operation::create("/x", None, CreateKind::Persistent),
            Operation::create("/x/y", None, CreateKind::Persistent),
            Operation::set("/x", data("1"), Some(0)),
            Operation::delete("/fence", Some(0)),
        ])
        .await
        .unwrap();
    assert_eq!(done[0], Outcome::Checked);
    assert_eq!(done[4], Outcome::Deleted);
    let x = store.get("/x").await.unwrap().unwrap();
    let y = store.get("/x/y").await.unwrap().unwrap();
    assert_eq!((x.stat.czxid, x.stat.mzxid), (y.stat.czxid, y.stat.czxid));
    assert_eq!(x.data, data("1"));
    assert_eq!(store.get("/fence").await.unwrap(), None);
}

async fn sequence_numbers_never_repeat(mut backend: impl Backend) {
    let store = backend.connect().await;
    persistent(&store, "/q").await;
    let mut paths = Vec::new();
    for _ in 0..2 {
        let (path, _) = store
            .create("/q/n_", None, CreateKind::PersistentSequential)
            .await
            .unwrap();
        store.delete(&path, None).await.unwrap();
        paths.push(path);
    }
    backend.end_session().await;
    let store = backend.connect().await;
    let (path, _) = store
        .create("/q/n_", None, CreateKind::EphemeralSequential)
        .await
        .unwrap();
    paths.push(path);
    assert_eq!(paths, ["/q/n_0000000000", "/q/n_0000000001", "/q/n_0000000002"]);
}

async fn ephemerals_go_with_their_session_and_have_no_children(mut backend: impl Backend) {
    let store = backend.connect().await;
    let first = store.session().borrow().id();
    let (_, stat) = store
        .create("/e", data("1"), CreateKind::Ephemeral)
        .await
        .unwrap();
    assert_eq!(stat.owner, Some(first));
    assert_eq!(
        store.create("/e/x", None, CreateKind::Persistent).await,
        Err(StoreError::NoChildrenForEphemerals)
    );
    persistent(&store, "/p").await;
    backend.end_session().await;
    let gone = store.get("/p").await;
    assert!(
        matches!(gone, Err(StoreError::SessionExpired | StoreError::Failed)),
        "{gone:?}"
    );
    let store = backend.connect().await;
    assert_ne!(store.session().borrow().id(), first);
    assert_eq!(store.get("/e").await.unwrap(), None);
    assert!(store.get("/p").await.unwrap().is_some());
    let (_, again) = store.create("/e", None, CreateKind::Ephemeral).await.unwrap();
    assert!(again.czxid > stat.czxid);
}

async fn zxids_rise_over_restarts(mut backend: impl Backend) {
    let mut last = 0;
    for round in 0..4 {
        let store = backend.connect().await;
        for number in 0..3 {
            let stat = persistent(&store, &format!("/n{round}{number}")).await;
            assert!(stat.czxid > last);
            last = stat.czxid;
        }
        backend.end_session().await;
    }
}

async fn watches_fire_once(mut backend: impl Backend) {
    let store = backend.connect().await;
    let (node, created) = store.get_and_watch("/w").await.unwrap();
    assert_eq!(node, None);
    let (_, mut children) = store.children_and_watch("/").await.unwrap().unwrap();
    assert_eq!(children.poll_changed(), None);
    persistent(&store, "/w").await;
    assert_eq!(created.changed().await, WatchEvent::Changed(ChangeKind::Created));
    assert_eq!(
        children.changed().await,
        WatchEvent::Changed(ChangeKind::Children)
    );
    let (_, mut changed) = store.get_and_watch("/w").await.unwrap();
    let (_, kept) = store.children_and_watch("/w").await.unwrap().unwrap();
    persistent(&store, "/other").await;
    assert_eq!(changed.poll_changed(), None);
    store.set("/w", data("1"), None).await.unwrap();
    assert_eq!(changed.changed().await, WatchEvent::Changed(ChangeKind::Data));
    store.set("/w", data("2"), None).await.unwrap();
    let (_, deleted) = store.get_and_watch("/w").await.unwrap();
    store.delete("/w", None).await.unwrap();
    assert_eq!(deleted.changed().await, WatchEvent::Changed(ChangeKind::Deleted));
    assert_eq!(kept.changed().await, WatchEvent::Changed(ChangeKind::Deleted));
    assert!(store.children_and_watch("/w").await.unwrap().is_none());
}

async fn watches_end_with_the_session(mut backend: impl Backend) {
    let store = backend.connect().await;
    let (_, watcher) = store.get_and_watch("/w").await.unwrap();
    let mut session = store.session();
    backend.end_session().await;
    assert_eq!(watcher.changed().await, WatchEvent::SessionOver);
    assert!(matches!(*session.borrow_and_update(), Session::Expired(_)));
}

async fn changes_take_effect_in_the_order_of_the_calls(mut backend: impl Backend) {
    let store = backend.connect().await;
    persistent(&store, "/n").await;
    let calls: Vec<_> = (0..100)
        .map(|version| store.set("/n", data("x"), Some(version)))
        .collect();
    for (version, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap().version, version as i32 + 1);
    }
    drop(store.set("/n", data("dropped"), None));
    let stat = store.set("/n", data("last"), Some(101)).await.unwrap();
    assert_eq!(stat.version, 102);
}

async fn reads_see_what_was_asked_before(mut backend: impl Backend) {
    let store = backend.connect().await;
    persistent(&store, "/n").await;
    for round in 0..50 {
        // Nobody waits for these.
        drop(store.create("/n/child", data("new"), CreateKind::Persistent));
        assert!(store.get("/n/child").await.unwrap().is_some(), "round {round}");
        drop(store.delete("/n/child", None));
        assert_eq!(
            store.children("/n").await.unwrap().unwrap(),
            [""; 0],
            "round {round}"
        );
        drop(store.set("/n", data("x"), None));
        let (node, _) = store.get_and_watch("/n").await.unwrap();
        assert_eq!(node.unwrap().stat.version, round + 1);
    }
}

async fn paths_are_checked(mut backend: impl Backend) {
    let store = backend.connect().await;
    for path in ["", "a", "/a/", "/a//b", "/../etc", "/a\0b"] {
        let answer = store.create(path, None, CreateKind::Persistent).await;
        assert_eq!(answer, Err(StoreError::BadArguments), "{path:?}");
        assert_eq!(store.get(path).await.unwrap(), None);
    }
    assert_eq!(store.delete("/", None).await, Err(StoreError::BadArguments));
}

#[tokio::test]
async fn a_lost_reply_leaves_the_change_made_and_a_lost_request_does_not() {
    let server = MemoryServer::new();
    let store = server.connect();
    server.lose(store.id(), Lost::Request);
    let kind = CreateKind::Persistent;
    assert_eq!(
        store.create("/a", None, kind).await,
        Err(StoreError::ConnectionLoss)
    );
    assert_eq!(store.get("/a").await.unwrap(), None);
    server.lose(store.id(), Lost::Reply);
    assert_eq!(
        store.create("/a", None, kind).await,
        Err(StoreError::ConnectionLoss)
    );
    assert!(store.get("/a").await.unwrap().is_some());
    let other = server.connect();
    let (_, watcher) = other.get_and_watch("/a").await.unwrap();
    store.set("/a", None, None).await.unwrap();
    assert_eq!(watcher.changed().await, WatchEvent::Changed(ChangeKind::Data));
    store.expire();
    assert_eq!(store.get("/a").await, Err(StoreError::SessionExpired));
    store.renew().await.unwrap();
    assert!(store.get("/a").await.unwrap().is_some());
}
