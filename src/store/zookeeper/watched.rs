//! The watches of a session that have not fired, as a new connection must set them again.

use bytes::BytesMut;

use super::messages;
use crate::store::watches::Watches;
use crate::store::{ChangeKind, Watcher, Zxid};

/// About how many bytes of paths are told in one message (ZooKeeper: `ClientCnxn.SET_WATCHES_MAX_LENGTH`).
const MESSAGE_BYTES: usize = 128 << 10;

/// Watches; those of nodes that were not there are kept apart, because a server is told so.
#[derive(Default)]
pub(super) struct Watched {
    present: Watches,
    absent: Watches,
}

impl Watched {
    /// Watches a node that is there.
    pub(super) fn present(&mut self, path: &str) -> Watcher {
        self.present.data(path)
    }

    /// Watches a node that is not there.
    pub(super) fn absent(&mut self, path: &str) -> Watcher {
        self.absent.data(path)
    }

    /// Watches the children of a node.
    pub(super) fn children(&mut self, path: &str) -> Watcher {
        self.present.children(path)
    }

    /// Tells the watchers of an event.
    pub(super) fn fire(&mut self, path: &str, kind: ChangeKind) {
        self.present.fire([(path, kind)]).tell();
        self.absent.fire([(path, kind)]).tell();
    }

    /// Sets all of them again; the server fires those whose nodes have changed since `seen`. Yields how many messages
    /// that takes.
    pub(super) fn set_again(&self, seen: Zxid, out: &mut BytesMut) -> usize {
        let (present, children) = self.present.paths();
        let (absent, _) = self.absent.paths();
        let all = present
            .map(|path| (0, path))
            .chain(absent.map(|path| (1, path)))
            .chain(children.map(|path| (2, path)));
        let mut messages = 0;
        let mut lists: [Vec<&str>; 3] = Default::default();
        let mut bytes = 0;
        let mut send = |lists: &mut [Vec<&str>; 3]| {
            let [present, absent, children] = std::mem::take(lists);
            messages::set_watches(out, seen, &present, &absent, &children);
            messages += 1;
        };
        for (list, path) in all {
            if bytes > MESSAGE_BYTES {
                send(&mut lists);
                bytes = 0;
            }
            bytes += path.len() + 4;
            if let Some(list) = lists.get_mut(list) {
                list.push(path);
            }
        }
        if bytes > 0 {
            send(&mut lists);
        }
        messages
    }
}
