//! Tells the replicas whether the store answers, and whether the broker's session with it is over.

use std::sync::Arc;

use crate::base::shutdown::Shutdown;
use crate::replica::replicas::Replicas;
use crate::store::{Session, Store};

/// Follows the session until shutdown.
pub async fn follow(store: Arc<dyn Store>, replicas: Arc<Replicas>, shutdown: Shutdown) {
    let mut session = store.session();
    loop {
        let now = *session.borrow_and_update();
        replicas.store_answers(matches!(now, Session::Connected(_)));
        if matches!(now, Session::Expired(_)) {
            replicas.store_session_is_over().await;
        }
        tokio::select! {
            biased;
            () = shutdown.wait() => return,
            changed = session.changed() => if changed.is_err() { return },
        }
    }
}
