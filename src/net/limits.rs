//! How many connections there may be, in all, on a listener and from an address, and how fast they may come (KIP-308,
//! KIP-402, KIP-612; Kafka's `ConnectionQuotas`).
//!
//! Pure: it counts and decides, and knows no socket and no clock. Invariant: what was taken is given back once. Driven by
//! `admission.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::rate::ConnectionRate;
use crate::config::BrokerConfig;
use crate::quota::samples::Window;

/// The bounds of one listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListenerLimits {
    /// At once (`listener.name.<name>.max.connections`, or `max.connections`).
    pub connections: i32,
    /// New ones in a second (`listener.name.<name>.max.connection.creation.rate`, or the broker's).
    pub creation_rate: i32,
}

/// The bounds. `i32::MAX` is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionLimits {
    /// In all (`max.connections`).
    pub connections: i32,
    /// New ones in a second, in all (`max.connection.creation.rate`).
    pub creation_rate: i32,
    /// From one address (`max.connections.per.ip`).
    pub connections_per_ip: i32,
    /// From the addresses named (`max.connections.per.ip.overrides`).
    pub overrides: BTreeMap<IpAddr, i32>,
    /// Those of each listener, by name.
    pub listeners: BTreeMap<Arc<str>, ListenerLimits>,
    /// The listeners that the bounds of the broker do not hold for: that of brokers, as long as there is another one
    /// (`inter.broker.listener.name`), and that of the controller (`control.plane.listener.name`).
    pub protected: BTreeSet<Arc<str>>,
    /// What rates are measured over.
    pub window: Window,
}

impl ConnectionLimits {
    /// The bounds that `config` sets.
    pub fn new(config: &BrokerConfig) -> Self {
        let of_listener = |name: &str| ListenerLimits {
            connections: config.max_connections_on(name).unwrap_or(config.max_connections),
            creation_rate: config
                .max_connection_creation_rate_on(name)
                .unwrap_or(config.max_connection_creation_rate),
        };
        let listeners = config.listeners().iter();
        Self {
            connections: config.max_connections,
            creation_rate: config.max_connection_creation_rate,
            connections_per_ip: config.max_connections_per_ip,
            overrides: config.address_limits().clone(),
            listeners: listeners
                .map(|at| (Arc::from(at.name.as_str()), of_listener(&at.name)))
                .collect(),
            protected: [
                Some(config.inter_broker_listener()),
                config.control_plane_listener(),
            ]
            .into_iter()
            .flatten()
            .map(Arc::from)
            .collect(),
            window: Window::of(config.quota_window_num, config.quota_window_size_seconds),
        }
    }

    fn is_protected(&self, listener: &str) -> bool {
        self.protected.contains(listener) && self.listeners.len() > 1
    }

    fn of_address(&self, address: IpAddr) -> i32 {
        let own = self.overrides.get(&address).copied();
        own.unwrap_or(self.connections_per_ip)
    }
}

/// The address has all the connections that it may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddressFull {
    /// How many that are.
    pub most: i32,
}

/// The connections there are, against the bounds.
#[derive(Debug)]
pub struct ConnectionCounts {
    limits: ConnectionLimits,
    all: i32,
    by_address: BTreeMap<IpAddr, i32>,
    by_listener: BTreeMap<Arc<str>, i32>,
    rate: ConnectionRate,
    listener_rates: BTreeMap<Arc<str>, ConnectionRate>,
}

impl ConnectionCounts {
    /// No connections yet.
    pub fn new(limits: ConnectionLimits) -> Self {
        Self {
            rate: ConnectionRate::new(limits.window),
            limits,
            all: 0,
            by_address: BTreeMap::new(),
            by_listener: BTreeMap::new(),
            listener_rates: BTreeMap::new(),
        }
    }

    /// From now on these bounds hold. Connections that there are stay, but for [`ConnectionCounts::excess`]; what rates
    /// are measured over stays as it was.
    pub fn change(&mut self, limits: ConnectionLimits) {
        self.limits = limits;
    }

    /// How many connections there are.
    pub fn all(&self) -> i32 {
        self.all
    }

    /// A connection has come on `listener`: for how many milliseconds it is to wait before anything else, for the sake
    /// of the rates.
    pub fn throttle_ms(&mut self, listener: &Arc<str>, now_ms: i64) -> i64 {
        let broker_ms = if self.limits.is_protected(listener) {
            0
        } else {
            self.rate.throttle_ms(now_ms, self.limits.creation_rate)
        };
        let own = self.limits.listeners.get(listener);
        let limit = own.map_or(i32::MAX, |own| own.creation_rate);
        let window = self.limits.window;
        let rates = self.listener_rates.entry(Arc::clone(listener));
        let rate = rates.or_insert_with(|| ConnectionRate::new(window));
        broker_ms.max(rate.throttle_ms(now_ms, limit))
    }

    /// True when there may be another connection on `listener`; else it waits for one to go.
    pub fn has_room(&self, listener: &str) -> bool {
        let own = self.limits.listeners.get(listener);
        let most = own.map_or(i32::MAX, |own| own.connections);
        let on_listener = self.by_listener.get(listener).copied().unwrap_or(0);
        on_listener < most && (self.limits.is_protected(listener) || self.all < self.limits.connections)
    }

    /// Counts a connection from `address`, which must be canonical, on `listener`.
    ///
    /// # Errors
    /// [`AddressFull`]; nothing is counted then.
    pub fn take(&mut self, listener: &Arc<str>, address: IpAddr) -> Result<(), AddressFull> {
        let most = self.limits.of_address(address);
        let from_address = self.by_address.get(&address).copied().unwrap_or(0);
        if from_address >= most {
            return Err(AddressFull { most });
        }
        self.all += 1;
        *self.by_address.entry(address).or_insert(0) += 1;
        *self.by_listener.entry(Arc::clone(listener)).or_insert(0) += 1;
        Ok(())
    }

    /// Counts a connection no more.
    pub fn give_back(&mut self, listener: &str, address: IpAddr) {
        self.all -= 1;
        if let Some(count) = self.by_listener.get_mut(listener) {
            *count -= 1;
        }
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count <= 0 {
                self.by_address.remove(&address);
            }
        }
    }

    /// How many connections too many there are, since a bound was lowered or the protected listener took more. They are
    /// to be taken from those that [`ConnectionCounts::may_close`] (`ConnectionQuotas.maxConnectionsExceeded`).
    pub fn excess(&self) -> i32 {
        self.all.saturating_sub(self.limits.connections).max(0)
    }

    /// True when a connection on `listener` may be closed to make room.
    pub fn may_close(&self, listener: &str) -> bool {
        !self.limits.is_protected(listener)
    }
}

#[cfg(test)]
#[path = "limits_test.rs"]
mod tests;
