//! The bound on the producers that a partition remembers (`max.producer.ids.per.partition`; Kafka has none and ends by
//! `producer.id.expiration.ms` alone).
//!
//! Invariant: who has a transaction open is never forgotten, nor is who has just written; among the others it is the one
//! whose last record or marker lies at the lowest offset, so what is forgotten follows from the log alone. The order is
//! made when a partition is first full and kept from then on, so that one that never is pays nothing for it. Called by
//! [`super::ProducerStates`].

use std::collections::{BTreeMap, BTreeSet};

use super::entry::ProducerEntry;
use crate::base::ids::{Offset, ProducerId};

/// The producers without an open transaction, the least recently active first; `None` until somebody must go.
#[derive(Clone, Debug, Default)]
pub(super) struct Order(Option<BTreeSet<(Offset, ProducerId)>>);

fn place(producer_id: ProducerId, entry: &ProducerEntry) -> Option<(Offset, ProducerId)> {
    let idle = entry.transaction_first_offset().is_none();
    idle.then(|| (entry.last_active_offset(), producer_id))
}

impl Order {
    /// The entry is about to change.
    pub(super) fn leave(&mut self, producer_id: ProducerId, entry: &ProducerEntry) {
        if let Some(order) = &mut self.0
            && let Some(place) = place(producer_id, entry)
        {
            order.remove(&place);
        }
    }

    /// The entry has changed.
    pub(super) fn enter(&mut self, producer_id: ProducerId, entry: &ProducerEntry) {
        if let Some(order) = &mut self.0
            && let Some(place) = place(producer_id, entry)
        {
            order.insert(place);
        }
    }

    /// Many entries are gone: the order is made anew when it is needed.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }

    /// Takes out the least recently active producer that may be forgotten, which is not `newest`.
    pub(super) fn take_first(
        &mut self,
        producers: &BTreeMap<ProducerId, Box<ProducerEntry>>,
        newest: Option<ProducerId>,
    ) -> Option<ProducerId> {
        let order = self.0.get_or_insert_with(|| {
            producers
                .iter()
                .filter_map(|(producer_id, entry)| place(*producer_id, entry))
                .collect()
        });
        let first = order.iter().find(|(_, producer_id)| Some(*producer_id) != newest);
        let first = *first?;
        order.remove(&first);
        Some(first.1)
    }
}
