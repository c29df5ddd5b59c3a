//! Watches: one-shot, as ZooKeeper's are. Who wants to see the next change reads again and watches again; a change in
//! between is seen by that read, so none is missed.

use std::collections::BTreeMap;

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
