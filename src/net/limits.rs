//! How many connections are open, in all, on a listener and from an address (KIP-308, KIP-612; Kafka's
//! `ConnectionQuotas`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The bounds. `i32::MAX` is none.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// In all (`max.connections`).
    pub connections: i32,
    /// From one address (`max.connections.per.ip`).
    pub connections_per_ip: i32,
    /// From the addresses named (`max.connections.per.ip.overrides`).
    pub overrides: BTreeMap<IpAddr, i32>,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: i32::MAX,
            connections_per_ip: i32::MAX,
            overrides: BTreeMap::new(),
        }
    }
}

#[derive(Default)]
struct Counts {
    all: i32,
    by_address: BTreeMap<IpAddr, i32>,
}

/// Counts connections against the bounds; clones share the counts.
#[derive(Clone, Default)]
pub struct Connections {
    limits: ConnectionLimits,
    counts: Arc<Mutex<Counts>>,
}

/// Why a connection is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The broker has all that it may have.
    Full,
    /// The address has all that it may have.
    AddressFull,
}

/// A counted connection, until it is dropped.
pub struct Counted {
    counts: Arc<Mutex<Counts>>,
    address: IpAddr,
}

impl Connections {
    /// Counts against `limits`.
    pub fn new(limits: ConnectionLimits) -> Self {
        Self {
            limits,
            counts: Arc::default(),
        }
    }

    /// How many connections are open.
    pub fn open(&self) -> i32 {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).all
    }

    /// Counts a connection from `address`.
    ///
    /// # Errors
    /// [`Refused`] when a bound is reached; nothing is counted then.
    pub fn admit(&self, address: IpAddr) -> Result<Counted, Refused> {
        // An IPv4 client on an IPv6 socket is the same client.
        let address = address.to_canonical();
        let per_ip = self
            .limits
            .overrides
            .get(&address)
            .copied()
            .unwrap_or(self.limits.connections_per_ip);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.by_address.get(&address).copied().unwrap_or(0) >= per_ip {
            return Err(Refused::AddressFull);
        }
        if counts.all >= self.limits.connections {
            return Err(Refused::Full);
        }
        counts.all += 1;
        *counts.by_address.entry(address).or_insert(0) += 1;
        Ok(Counted {
            counts: Arc::clone(&self.counts),
            address,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(count) = counts.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count <= 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_and_other_addresses_are_served() {
        let one: IpAddr = "127.0.0.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
        let two: IpAddr = "127.0.0.2".parse().unwrap();
        let three: IpAddr = "127.0.0.3".parse().unwrap();
        let connections = Connections::new(ConnectionLimits {
            connections: 4,
            connections_per_ip: 2,
            overrides: BTreeMap::from([(two, 1)]),
        });
        let first = connections.admit(one).unwrap();
        let _second = connections.admit(mapped).unwrap();
        assert_eq!(connections.admit(one).err(), Some(Refused::AddressFull));
        let _third = connections.admit(two).unwrap();
        assert_eq!(connections.admit(two).err(), Some(Refused::AddressFull));
        let _fourth = connections.admit(three).unwrap();
        assert_eq!(connections.admit(three).err(), Some(Refused::Full));
        drop(first);
        assert!(connections.admit(one).is_ok());
        assert_eq!(connections.open(), 3);
    }
}
