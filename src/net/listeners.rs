//! The listeners of a broker that runs, kept as its configuration says: `listeners` and
//! `advertised.listeners` change at once (KIP-226; Kafka: `DynamicListenerConfig`).
//!
//! A listener whose address is another one is closed, with its connections, and opened anew. Invariant: what is advertised
//! is open. One task does one change after the other, started by `cli/broker.rs`; a listener that cannot be opened is told of
//! and left out until the configuration changes again. The controller's listener (`control.plane.listener.name`, KIP-291) has
//! a thread and bounds of its own, so that no client holds up what the controller says.

use std::net::SocketAddr;
use std::sync::Arc;

use super::listener::{self, Acceptor};
use crate::api::{ListenerContext, Services};
use crate::base::clock;
use crate::base::net::{self, SocketOptions, TcpListener};
use crate::base::shutdown::Shutdown;
use crate::base::task;
use crate::config::{BrokerConfig, Endpoint};
use crate::store::znodes::{self, BrokerEndpoint};

/// A socket that listens, and the endpoint in `listeners` that it is for.
pub type Bound = (Endpoint, TcpListener);

/// Listens on the address of an endpoint; for one without a host, on all addresses of IPv6 and IPv4, or of IPv4 where there is
/// nothing else.
///
/// # Errors
/// One line: the endpoint and why.
pub async fn bind(endpoint: &Endpoint, options: SocketOptions) -> Result<Bound, String> {
    let because = |error| format!("listeners={endpoint}: {error}");
    let on = async |host: &str| net::listen(net::resolve(host, endpoint.port).await?, options).await;
    let listener = match endpoint.host.as_str() {
        "" => match on("::").await {
            Err(error) if net::lacks_ipv6(&error) => on("0.0.0.0").await,
            listener => listener,
        },
        host => on(host).await,
    };
    Ok((endpoint.clone(), listener.map_err(because)?))
}

/// What clients are told to connect to: `advertised.listeners`, as far as those listeners are among `open`. Where no port is
/// advertised it is the one that the system chose.
pub fn advertised(config: &BrokerConfig, open: &[(String, SocketAddr)]) -> Vec<BrokerEndpoint> {
    let mut endpoints = Vec::new();
    for endpoint in config.advertised_listeners() {
        let Some((_, at)) = open.iter().find(|(name, _)| *name == endpoint.name) else {
            continue;
        };
        let port = if endpoint.port == 0 {
            at.port()
        } else {
            endpoint.port
        };
        endpoints.push((
            Arc::from(endpoint.name.as_str()),
            Arc::from("PLAINTEXT"),
            Arc::from(endpoint.host.as_str()),
            port.into(),
        ));
    }
    endpoints
}

/// A listener that accepts connections.
struct Open {
    endpoint: Endpoint,
    address: SocketAddr,
    /// Ends it and its connections.
    closing: Shutdown,
}

/// All listeners of a broker.
pub struct Listeners {
    services: Arc<Services>,
    acceptor: Arc<Acceptor>,
    /// The listener of the controller, with what serves it.
    control: Option<(String, Arc<Acceptor>)>,
    open: Vec<Open>,
    advertised: Vec<BrokerEndpoint>,
}

impl Listeners {
    /// Begins to accept on `bound`; `advertised` is what the broker is registered with. `control` serves the listener of
    /// this name, `acceptor` all others.
    pub fn open(
        bound: Vec<Bound>,
        advertised: Vec<BrokerEndpoint>,
        services: Arc<Services>,
        acceptor: Acceptor,
        control: Option<(String, Acceptor)>,
    ) -> Self {
        let mut listeners = Self {
            services,
            acceptor: Arc::new(acceptor),
            control: control.map(|(name, acceptor)| (name, Arc::new(acceptor))),
            open: Vec::new(),
            advertised,
        };
        for bound in bound {
            if let Err(error) = listeners.accept(bound) {
                tracing::error!("{error}");
            }
        }
        listeners
    }

    /// Keeps them as the configuration says, until the broker stops.
    pub async fn follow(mut self) {
        let shutdown = self.acceptor.shutdown.clone();
        let mut images = self.services.cluster.subscribe();
        loop {
            let config = images.borrow_and_update().broker_config.clone();
            self.apply(&config).await;
            tokio::select! {
                biased;
                () = shutdown.wait() => return,
                changed = images.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn apply(&mut self, config: &BrokerConfig) {
        let wanted = config.listeners();
        let is_wanted = |open: &Open| wanted.contains(&open.endpoint);
        for gone in self.open.extract_if(.., |open| !is_wanted(open)) {
            gone.closing.begin();
            tracing::info!("listener {} is closed", gone.endpoint);
        }
        for endpoint in wanted {
            if self.open.iter().any(|open| open.endpoint == *endpoint) {
                continue;
            }
            let bound = bind(endpoint, self.acceptor.options).await;
            match bound.and_then(|bound| self.accept(bound)) {
                Ok(()) => tracing::info!("listener {endpoint} is open"),
                Err(error) => tracing::error!("{error}"),
            }
        }
        self.advertise(config).await;
    }

    fn accept(&mut self, (endpoint, listener): Bound) -> Result<(), String> {
        let address = listener
            .local_addr()
            .map_err(|error| format!("listeners={endpoint}: {error}"))?;
        let listening = Arc::new(ListenerContext {
            name: Arc::from(endpoint.name.as_str()),
            security_protocol: Arc::from("PLAINTEXT"),
        });
        let closing = Shutdown::new();
        let acceptor = match &self.control {
            Some((name, acceptor)) if *name == endpoint.name => acceptor,
            _ => &self.acceptor,
        };
        drop(task::spawn(listener::accept(
            listener,
            listening,
            closing.clone(),
            Arc::clone(&self.services),
            Arc::clone(acceptor),
        )));
        self.open.push(Open {
            endpoint,
            address,
            closing,
        });
        Ok(())
    }

    /// Registers the broker anew when it is to be reached elsewhere.
    async fn advertise(&mut self, config: &BrokerConfig) {
        let open: Vec<_> = self
            .open
            .iter()
            .map(|open| (open.endpoint.name.clone(), open.address))
            .collect();
        let advertised = advertised(config, &open);
        if advertised == self.advertised {
            return;
        }
        let node = znodes::Broker::new(&advertised, config.broker_rack.as_deref(), clock::now_ms());
        match self.services.controller.register_again(&node).await {
            Ok(()) => {
                tracing::info!(
                    "this broker is now to be reached at {}",
                    node.endpoints.join(", ")
                );
                self.advertised = advertised;
            }
            Err(error) => tracing::error!("{error}"),
        }
    }
}
