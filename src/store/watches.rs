//! Watches: one-shot, as ZooKeeper's are. Who wants to see the next change reads again and watches again; a change in
//! between is seen by that read, so none is missed.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use tokio::sync::oneshot;

/// What a watcher tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WatchEvent {
    /// Something happened to the node.
    Changed(ChangeKind),
    /// The session, or the store, ended before anything happened to the node.
    SessionOver,
}

/// What happened to a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangeKind {
    /// It was created.
    Created,
    /// Its data was set.
    Data,
    /// It was deleted.
    Deleted,
    /// A child was created or deleted.
    Children,
}

/// Waits for one change.
pub struct Watcher(oneshot::Receiver<WatchEvent>);

impl Watcher {
    /// One that has seen its change already.
    pub(super) fn fired(kind: ChangeKind) -> Self {
        let (sender, receiver) = oneshot::channel();
        let _ = sender.send(WatchEvent::Changed(kind));
        Self(receiver)
    }

    /// The change, once it has happened.
    pub async fn changed(self) -> WatchEvent {
        self.0.await.unwrap_or(WatchEvent::SessionOver)
    }

    /// The change, when it has happened already.
    pub fn poll_changed(&mut self) -> Option<WatchEvent> {
        match self.0.try_recv() {
            Ok(event) => Some(event),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(WatchEvent::SessionOver),
        }
    }
}

/// Watchers of many nodes, waited for together in one task. However many there are, a change costs what it touches: each
/// watcher wakes by its key.
pub struct WatcherSet<K> {
    watchers: BTreeMap<K, Watcher>,
    /// Those to be looked at.
    due: VecDeque<K>,
    rung: Arc<Mutex<Rung<K>>>,
}

/// What rang since somebody looked.
struct Rung<K> {
    keys: Vec<K>,
    owner: Option<Waker>,
}

struct Bell<K> {
    key: K,
    rung: Arc<Mutex<Rung<K>>>,
}

impl<K: Clone + Send + Sync + 'static> Wake for Bell<K> {
    fn wake(self: Arc<Self>) {
        let owner = {
            let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
            rung.keys.push(self.key.clone());
            rung.owner.take()
        };
        if let Some(owner) = owner {
            owner.wake();
        }
    }
}

impl<K> Default for WatcherSet<K> {
    fn default() -> Self {
        let rung = Rung {
            keys: Vec::new(),
            owner: None,
        };
        Self {
            watchers: BTreeMap::new(),
            due: VecDeque::new(),
            rung: Arc::new(Mutex::new(rung)),
        }
    }
}

impl<K: Ord + Clone + Send + Sync + 'static> WatcherSet<K> {
    /// Waits for this one too, instead of an earlier one with its key.
    pub fn insert(&mut self, key: K, watcher: Watcher) {
        self.due.push_back(key.clone());
        self.watchers.insert(key, watcher);
    }

    /// The next change, and whose it is; that watcher is in the set no more. Waits for ever where there is none. A future
    /// that is dropped loses nothing.
    pub async fn changed(&mut self) -> (K, WatchEvent) {
        std::future::poll_fn(|context| self.poll_changed(context)).await
    }

    fn poll_changed(&mut self, context: &mut Context<'_>) -> Poll<(K, WatchEvent)> {
        {
            // What rings from here on wakes the task. A watcher may do so when it is polled, to let others have their turn:
            // so one look at each.
            let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
            rung.owner = Some(context.waker().clone());
            self.due.extend(rung.keys.drain(..));
        }
        while let Some(key) = self.due.pop_front() {
            let Some(watcher) = self.watchers.get_mut(&key) else {
                continue;
            };
            let waker = Waker::from(Arc::new(Bell {
                key: key.clone(),
                rung: Arc::clone(&self.rung),
            }));
            if let Poll::Ready(event) = Pin::new(&mut watcher.0).poll(&mut Context::from_waker(&waker)) {
                self.watchers.remove(&key);
                return Poll::Ready((key, event.unwrap_or(WatchEvent::SessionOver)));
            }
        }
        Poll::Pending
    }
}

type Waiting = BTreeMap<String, Vec<oneshot::Sender<WatchEvent>>>;

/// The watches of one session that have not fired.
#[derive(Default)]
pub struct Watches {
    data: Waiting,
    children: Waiting,
}

/// Watches that fire, to be told outside of the store's lock.
#[must_use]
pub struct Fired(Vec<(oneshot::Sender<WatchEvent>, ChangeKind)>);

impl Fired {
    /// Tells them.
    pub fn tell(self) {
        for (sender, kind) in self.0 {
            // Nobody listens any more when the watcher was dropped.
            let _ = sender.send(WatchEvent::Changed(kind));
        }
    }
}

impl Watches {
    /// Watches the node itself.
    pub fn data(&mut self, path: &str) -> Watcher {
        Self::add(&mut self.data, path)
    }

    /// Watches the node's children.
    pub fn children(&mut self, path: &str) -> Watcher {
        Self::add(&mut self.children, path)
    }

    /// The paths whose data somebody still watches, and those whose children.
    pub fn paths(&self) -> (impl Iterator<Item = &str>, impl Iterator<Item = &str>) {
        fn wanted(waiting: &Waiting) -> impl Iterator<Item = &str> {
            waiting
                .iter()
                .filter(|(_, senders)| senders.iter().any(|sender| !sender.is_closed()))
                .map(|(path, _)| path.as_str())
        }
        (wanted(&self.data), wanted(&self.children))
    }

    fn add(waiting: &mut Waiting, path: &str) -> Watcher {
        let (sender, receiver) = oneshot::channel();
        let senders = waiting.entry(path.to_owned()).or_default();
        senders.retain(|sender| !sender.is_closed());
        senders.push(sender);
        Watcher(receiver)
    }

    /// Takes the watches that these changes fire.
    pub fn fire<'a>(&mut self, changes: impl IntoIterator<Item = (&'a str, ChangeKind)>) -> Fired {
        let mut fired = Vec::new();
        for (path, kind) in changes {
            let mut take = |waiting: &mut Waiting| {
                for sender in waiting.remove(path).unwrap_or_default() {
                    fired.push((sender, kind));
                }
            };
            match kind {
                ChangeKind::Created | ChangeKind::Data => take(&mut self.data),
                ChangeKind::Children => take(&mut self.children),
                ChangeKind::Deleted => {
                    take(&mut self.data);
                    take(&mut self.children);
                }
            }
        }
        Fired(fired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_set_of_watchers_tells_whose_change_it_was_and_once() {
        let mut watches = Watches::default();
        let mut set = WatcherSet::default();
        // More than a task may poll at one go.
        for number in 0..1000 {
            set.insert(number, watches.data(&format!("/{number}")));
        }
        watches.fire([("/7", ChangeKind::Data)]).tell();
        assert_eq!(set.changed().await, (7, WatchEvent::Changed(ChangeKind::Data)));

        let later = async {
            tokio::task::yield_now().await;
            watches.fire([("/999", ChangeKind::Deleted)]).tell();
            watches.fire([("/3", ChangeKind::Data)]).tell();
        };
        let (seen, ()) = tokio::join!(async { [set.changed().await, set.changed().await] }, later);
        assert_eq!(
            seen,
            [
                (999, WatchEvent::Changed(ChangeKind::Deleted)),
                (3, WatchEvent::Changed(ChangeKind::Data))
            ]
        );

        set.insert(3, watches.data("/3"));
        set.insert(3, watches.data("/other"));
        watches.fire([("/3", ChangeKind::Data)]).tell();
        watches.fire([("/other", ChangeKind::Data)]).tell();
        assert_eq!(set.changed().await, (3, WatchEvent::Changed(ChangeKind::Data)));
        drop(watches);
        assert_eq!(set.changed().await.1, WatchEvent::SessionOver);
        assert_eq!(set.watchers.len(), 996);
    }
}
