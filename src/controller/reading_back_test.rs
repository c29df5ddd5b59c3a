//! A controller whose connection to the store breaks while it writes.

use std::sync::Mutex;

use super::cluster_test::{Cluster3, ONE, THREE, TWO};
use super::controller_test::code;
use super::reign::{Election, Group, Lost as Ended, Reign, elect};
use super::*;
use crate::base::ids::ControllerEpoch;
use crate::store::memory::{Lost, MemoryServer, MemoryStore};
use crate::store::znodes::{encode_epoch, paths};
use crate::store::{
    BoxFuture, MultiError, Node, Operation, Outcome, Session, SessionId, StoreFuture, Watcher,
};

type Meanwhile = Box<dyn FnOnce(&dyn Store) + Send>;

/// A session during whose first loss of a connection others do something.
struct Interrupted {
    session: MemoryStore,
    others: MemoryStore,
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
}

impl Store for Interrupted {
    fn get(&self, path: &str) -> StoreFuture<'_, Option<Node>> {
        self.session.get(path)
    }

    fn get_and_watch(&self, path: &str) -> StoreFuture<'_, (Option<Node>, Watcher)> {
        self.session.get_and_watch(path)
    }

    fn children(&self, path: &str) -> StoreFuture<'_, Option<Vec<String>>> {
        self.session.children(path)
    }

    fn children_and_watch(&self, path: &str) -> StoreFuture<'_, Option<(Vec<String>, Watcher)>> {
        self.session.children_and_watch(path)
    }

    fn multi(&self, operations: Vec<Operation>) -> BoxFuture<'static, Result<Vec<Outcome>, MultiError>> {
        let answer = self.session.multi(operations);
        let (meanwhile, others) = (Arc::clone(&self.meanwhile), self.others.clone());
        Box::pin(async move {
            let answer = answer.await;
            if answer == Err(StoreError::ConnectionLoss.into())
                && let Some(meanwhile) = meanwhile.lock().unwrap().take()
            {
                meanwhile(&others);
            }
            answer
        })
    }

    fn session(&self) -> tokio::sync::watch::Receiver<Session> {
        self.session.session()
    }

    fn renew(&self) -> StoreFuture<'_, SessionId> {
        self.session.renew()
    }
}

/// A reign over a node `/a`, of version 0.
struct Reigning {
    server: MemoryServer,
    session: MemoryStore,
    reign: Reign,
}

impl Reigning {
    async fn begin(meanwhile: impl FnOnce(&dyn Store) + Send + 'static) -> Self {
        let server = MemoryServer::new();
        let session = server.connect();
        let store: Arc<dyn Store> = Arc::new(Interrupted {
            session: session.clone(),
            others: server.connect(),
            meanwhile: Arc::new(Mutex::new(Some(Box::new(meanwhile)))),
        });
        store
            .create("/a", text("before"), CreateKind::Persistent)
            .await
            .unwrap();
        let Ok(Election::Won(reign)) = elect(&store, ONE).await else {
            panic!("nobody else stands");
        };
        Self {
            server,
            session,
            reign,
        }
    }

    async fn write(&self, lost: Lost, operations: Vec<Operation>) -> Result<Result<i64, StoreError>, Ended> {
        self.server.lose(self.session.id(), lost);
        let answers = self.reign.write(vec![Group { operations }]).await?;
        Ok(answers.into_iter().next().unwrap())
    }

    fn node(&self, path: &str) -> Option<(bytes::Bytes, i32)> {
        let node = self.server.peek(path)?;
        Some((node.data.unwrap_or_default(), node.stat.version))
    }
}

fn text(text: &'static str) -> Option<bytes::Bytes> {
    Some(bytes::Bytes::from_static(text.as_bytes()))
}

fn set(data: &'static str, version: i32) -> Operation {
    Operation::set("/a", text(data), Some(version))
}

fn create(path: &str) -> Operation {
    Operation::create(path, text("new"), CreateKind::Persistent)
}

#[tokio::test]
async fn a_change_is_made_once_whichever_way_it_was_lost() {
    for lost in [Lost::Request, Lost::Reply] {
        let reigning = Reigning::begin(|_| {}).await;
        let all = vec![
            set("after", 0),
            create("/b"),
            create("/b/c"),
            Operation::delete("/b/c", None),
        ];
        let zxid = reigning.write(lost, all).await.unwrap().unwrap();
        assert_eq!(reigning.node("/a").unwrap(), ("after".into(), 1), "{lost:?}");
        assert_eq!(reigning.server.peek("/a").unwrap().stat.mzxid, zxid);
        assert_eq!(reigning.server.peek("/b").unwrap().stat.czxid, zxid);
        assert!(reigning.node("/b/c").is_none());
        let zxid = reigning.write(lost, vec![Operation::delete("/b", None)]).await;
        assert!(matches!(zxid, Ok(Ok(_))));
        assert!(reigning.node("/b").is_none());
    }
}

#[tokio::test]
async fn a_change_that_others_were_faster_than_is_refused_and_not_taken_for_made() {
    let faster: &[(&[Operation], &[Operation], StoreError)] = &[
        (&[set("other", 0)], &[set("mine", 0)], StoreError::BadVersion),
        // What is there is what was wanted, but of another version; or not all of it.
        (
            &[set("other", 0), set("mine", 1)],
            &[set("mine", 0)],
            StoreError::BadVersion,
        ),
        (
            &[set("mine", 0)],
            &[set("mine", 0), create("/b")],
            StoreError::BadVersion,
        ),
        (
            &[Operation::create("/b", text("other"), CreateKind::Persistent)],
            &[create("/b"), set("mine", 0)],
            StoreError::NodeExists,
        ),
        (
            &[Operation::delete("/a", None)],
            &[set("mine", 0)],
            StoreError::NoNode,
        ),
    ];
    for (others, mine, error) in faster {
        let others = others.to_vec();
        let reigning = Reigning::begin(|store| drop(store.multi(others))).await;
        assert_eq!(
            reigning.write(Lost::Request, mine.to_vec()).await,
            Ok(Err(*error))
        );
        assert_ne!(reigning.node("/b"), Some(("new".into(), 0)));
    }
}

#[tokio::test]
async fn a_change_that_was_made_and_overwritten_is_not_made_again() {
    let reigning = Reigning::begin(|store| drop(store.multi(vec![set("later", 1)]))).await;
    let answer = reigning.write(Lost::Reply, vec![set("mine", 0)]).await;
    assert_eq!(answer, Ok(Err(StoreError::BadVersion)), "whoever asked reads it");
    assert_eq!(reigning.node("/a").unwrap(), ("later".into(), 2));
}

#[tokio::test]
async fn who_was_deposed_while_it_was_cut_off_writes_nothing_more() {
    for lost in [Lost::Request, Lost::Reply] {
        let epoch = Some(encode_epoch(ControllerEpoch(2)));
        let reigning = Reigning::begin(|store| {
            let elected = vec![Operation::set(paths::CONTROLLER_EPOCH, epoch, None)];
            drop(store.multi(elected));
        })
        .await;
        let changes = reigning.server.changes();
        assert_eq!(
            reigning.write(lost, vec![set("mine", 0)]).await,
            Err(Ended::Moved)
        );
        let mine = u64::from(lost == Lost::Reply);
        assert_eq!(reigning.server.changes(), changes + 1 + mine, "{lost:?}");
    }
    // Not even where all that it wanted is there.
    let reigning = Reigning::begin(|store| {
        let elected = vec![
            Operation::set(paths::CONTROLLER_EPOCH, None, None),
            set("mine", 0),
        ];
        drop(store.multi(elected));
    })
    .await;
    let answer = reigning.write(Lost::Request, vec![set("mine", 0)]).await;
    assert_eq!(answer, Err(Ended::Moved));
}

#[tokio::test]
async fn a_reign_ends_with_its_session() {
    let cut = Arc::new(Mutex::new(None::<MemoryStore>));
    let ends = Arc::clone(&cut);
    let reigning = Reigning::begin(move |_| ends.lock().unwrap().take().unwrap().expire()).await;
    *cut.lock().unwrap() = Some(reigning.session.clone());
    let answer = reigning.write(Lost::Request, vec![set("mine", 0)]).await;
    assert_eq!(answer, Err(Ended::Store(StoreError::SessionExpired)));
    assert_eq!(reigning.node("/a").unwrap(), ("before".into(), 0));
}

#[tokio::test]
async fn what_was_sent_behind_a_lost_change_is_made_behind_it() {
    let reigning = Reigning::begin(|_| {}).await;
    // Each of them is a change of its own.
    let large = || Some(bytes::Bytes::from(vec![b'x'; 300 << 10]));
    let group = |path: &str| Group {
        operations: vec![Operation::create(path, large(), CreateKind::Persistent)],
    };
    reigning.server.lose(reigning.session.id(), Lost::Request);
    let answers = reigning
        .reign
        .write(vec![group("/b"), group("/b/c")])
        .await
        .unwrap();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!(reigning.node("/b/c").is_some());
}

/// All that a controller does to a topic, with the answer to one of its changes lost: the one behind so many others. True when
/// there were so many.
async fn one_answer_lost(behind: usize, lost: Lost) -> bool {
    let cluster = Cluster3::of(&[TWO, THREE]).await;
    let session = cluster.sessions[&ONE].id();
    cluster.server.lose_behind(session, behind, lost);
    cluster.create("t", &[TWO, ONE]).await;
    assert!(
        cluster.one.names(paths::NEW_PARTITIONS).await.is_empty(),
        "{behind} {lost:?}"
    );
    assert_eq!(cluster.propose(TWO, "t", 0, 0, &[TWO]).await, Ok(vec![2]));
    assert_eq!(cluster.state("t").await, (2, 0, vec![2]));
    let wish = Reassignment {
        partition: TopicPartition::new("t", 0),
        replicas: Some(vec![THREE]),
        any_number: true,
    };
    let answers = cluster.one.controller.alter_reassignments(vec![wish]).await;
    assert_eq!(code(&answers.unwrap()[0]), ErrorCode::None);
    cluster.settle().await;
    let adding = (vec![THREE, TWO, ONE], vec![THREE], vec![TWO, ONE]);
    assert_eq!(cluster.replicas("t").await, adding);
    assert_eq!(
        cluster.propose(TWO, "t", 1, 2, &[TWO, THREE]).await,
        Ok(vec![2, 3])
    );
    cluster.settle().await;
    assert_eq!(cluster.replicas("t").await, (vec![THREE], vec![], vec![]));
    assert_eq!(cluster.state("t").await, (3, 2, vec![3]));
    assert_eq!(cluster.one.delete(&["t"]).await, [ErrorCode::None]);
    cluster.settle().await;
    for path in [paths::TOPICS, paths::DELETE_TOPICS, paths::NEW_PARTITIONS] {
        assert!(
            cluster.one.names(path).await.is_empty(),
            "{path} {behind} {lost:?}"
        );
    }
    assert!(cluster.one.controller.is_active());
    let epoch = cluster
        .one
        .store
        .get(paths::CONTROLLER_EPOCH)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(epoch.data.unwrap(), "1", "{behind} {lost:?}");
    !cluster.server.is_to_lose(session)
}

#[tokio::test]
async fn a_lost_answer_ends_no_reign_and_changes_nothing() {
    for lost in [Lost::Request, Lost::Reply] {
        let mut behind = 0;
        while one_answer_lost(behind, lost).await {
            behind += 1;
        }
        assert!(behind >= 8, "{behind}");
    }
}
