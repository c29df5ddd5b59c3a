//! How a copy that was left out comes back.
//!
//! A disk that was silent for a second, or full for a minute, is mostly there again soon; without its copy the next disk that
//! dies would take all that was changed since with it. Once the thread of a copy is free, the tree is written anew in its
//! directory, beside the work of the others. What is committed meanwhile is kept, and goes to the new copy with the first
//! commit that it has a part in: from then on it is one of those that every change waits for. It is a copy with an id of its
//! own, so the others' lists never name it before it has all that they have.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::copy::{Copy, CopyError, FILE_NAME, Head, Member};
use super::writer::{Kept, Request, Writer, begin};
use crate::base::clock;
use crate::base::ids::Uuid;
use crate::base::task::{self, Pool};
use crate::store::tree::Records;

/// After a failure, and after each further one, a copy is tried again when so much time has passed.
pub(super) const PAUSE: Duration = Duration::from_secs(60);

/// A directory whose copy was left out, and the copy's thread, which is free.
pub(super) struct Absent {
    directory: PathBuf,
    pool: Pool,
}

/// A copy that is being written.
pub(super) struct Building {
    id: Uuid,
    /// What was committed since it was begun.
    owed: Records,
}

/// What became of it.
pub(super) struct Built {
    absent: Absent,
    id: Uuid,
    result: Result<Copy, CopyError>,
}

impl Writer {
    /// Lets a copy go that hangs, or that failed, until its directory works again.
    pub(super) fn leave(&self, kept: Kept, hangs: bool) {
        let Kept { copy, pool, .. } = kept;
        let directory = copy.path.parent().unwrap_or(&copy.path).to_owned();
        // Behind the call that hangs.
        let free = begin(&pool, move || drop(copy));
        let pause = if hangs { Duration::ZERO } else { self.pause };
        self.come_back(Absent { directory, pool }, async move {
            let _ = free.await;
            clock::sleep(pause).await;
        });
    }

    fn come_back(&self, absent: Absent, when: impl Future<Output = ()> + Send + 'static) {
        let requests = self.requests.clone();
        drop(task::spawn(async move {
            when.await;
            // Else the store is closed.
            if let Some(requests) = requests.upgrade() {
                let _ = requests.send(Request::Back(absent));
            }
        }));
    }

    /// Begins to write the tree into the directory. All changes in it are committed.
    pub(super) fn build(&mut self, absent: Absent) {
        let id = self.random.uuid();
        let Absent { directory, pool } = absent;
        let itself = Member {
            id,
            directory: directory.display().to_string(),
        };
        let members: Vec<Member> = self.copies.iter().map(Kept::member).chain([itself]).collect();
        let head = Head {
            store: self.store,
            zxid: self.tree.zxid(),
        };
        let (disk, at, tree) = (self.disk.clone(), directory.clone(), self.tree.clone());
        let built = begin(&pool, move || {
            Copy::create(&disk, &at, head, id, &members, tree.records())
        });
        self.building.push(Building {
            id,
            owed: Records::new(),
        });
        let requests = self.requests.clone();
        drop(task::spawn(async move {
            let badly = |_| Err(CopyError::Damaged("writing it failed badly".to_owned()));
            let built = Built {
                result: built.await.unwrap_or_else(badly),
                absent: Absent { directory, pool },
                id,
            };
            if let Some(requests) = requests.upgrade() {
                let _ = requests.send(Request::Built(built));
            }
        }));
    }

    /// What is committed is owed to the copies that are being written.
    pub(super) fn owe(&mut self, records: &Records) {
        for building in &mut self.building {
            let records = records.iter();
            building
                .owed
                .extend(records.map(|(key, record)| (Arc::clone(key), record.clone())));
        }
    }

    /// Takes a copy in again. False when there was a commit for it and no copy is left.
    pub(super) async fn take_in(&mut self, built: Built) -> bool {
        let Built { absent, id, result } = built;
        let at = self.building.iter().position(|building| building.id == id);
        let Some(building) = at.map(|at| self.building.swap_remove(at)) else {
            return true;
        };
        let file = absent.directory.join(FILE_NAME);
        let path = file.display();
        match result {
            Ok(copy) => {
                self.copies.push(Kept {
                    copy: Arc::new(copy),
                    pool: absent.pool,
                    owed: building.owed,
                });
                let goes_on = self.commit(Records::new()).await;
                if self.copies.iter().any(|kept| kept.copy.id == id) {
                    tracing::info!("{path} was written anew and is kept up again");
                }
                goes_on
            }
            Err(error) => {
                tracing::debug!("{path} cannot be written yet: {error}");
                self.come_back(absent, clock::sleep(self.pause));
                true
            }
        }
    }
}
