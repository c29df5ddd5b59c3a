//! Wires the rooms together, and takes them down in the opposite order. No logic of its own beyond the order.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::open_files;
use crate::api::Services;
use crate::base::clock;
use crate::base::disk::Disk;
use crate::base::ids::BrokerId;
use crate::base::net::{DescriptorBound, SocketOptions};
use crate::base::random::Random;
use crate::base::shutdown::Shutdown;
use crate::base::task::{self, Pool, Worker};
use crate::config::{BrokerConfig, LogLevels};
use crate::controller::producer_id_source::ProducerIds;
use crate::controller::registration::Registration;
use crate::controller::{self, BrokerLink, Controller, ToController, registration};
use crate::group::old_offsets::OldOffsets;
use crate::group::service::Groups;
use crate::lifecycle::controlled_shutdown;
use crate::lifecycle::coordination::Coordination;
use crate::lifecycle::directories::{self, Place};
use crate::lifecycle::links::BrokerLinks;
use crate::lifecycle::local_broker::Local;
use crate::lifecycle::replication::{ControllerIsrs, PeerLeaders};
use crate::lifecycle::{logs, moves, store_session};
use crate::metadata::Cluster;
use crate::metadata::configs::{ConfigListener, StoredConfigs};
use crate::net::admission::Admission;
use crate::net::budget::Budget;
use crate::net::connection::ConnectionBounds;
use crate::net::limits::ConnectionLimits;
use crate::net::listener::Acceptor;
use crate::net::listeners::{self, Bound, Listeners};
use crate::net::workers::Workers;
use crate::replica::directories::HostDirectory;
use crate::replica::fetch_session::FetchSessions;
use crate::replica::fetchers::FetcherThreads;
use crate::replica::replicas::Replicas;
use crate::storage::descriptors::Descriptors;
use crate::storage::directory::LogDirectory;
use crate::storage::meta_properties::MetaProperties;
use crate::store::{BoxFuture, znodes};

/// Threads for slow work on each log directory.
const POOL_THREADS: usize = 4;
/// Threads that serve the controller's listener, where there is one of its own (Kafka: the same).
const CONTROL_THREADS: usize = 1;
/// Threads that follow other brokers, and as many for partitions that are far behind.
const FETCHER_THREADS: usize = 2;
/// Files of segments that are kept open, where the system allows as many.
const OPEN_SEGMENT_FILES: usize = 50_000;

/// Why a broker did not start: lines for the user.
#[derive(Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

fn because(error: impl fmt::Display) -> StartError {
    StartError(error.to_string())
}

/// What a broker is given from outside.
pub struct Surroundings {
    /// Its files.
    pub disk: Disk,
    /// Its randomness.
    pub random: Random,
    /// What it logs, to be changed at run time.
    pub levels: LogLevels,
    /// How many files the process may have open.
    pub open_files: u64,
    /// Where the simulation's store is; `None` for the store that the configuration names.
    #[cfg(any(test, feature = "simulation"))]
    pub store: Option<crate::store::distant::Link>,
}

/// A broker that runs.
pub struct Broker {
    addresses: Vec<(String, SocketAddr)>,
    id: BrokerId,
    directories: Vec<LogDirectory>,
    replicas: Arc<Replicas>,
    groups: Groups,
    coordination: Coordination,
    to_controller: ToController,
    cluster: Cluster,
    /// Ends clients, timers and the controller.
    shutdown: Shutdown,
    /// Given when the last log directory failed.
    failed: Shutdown,
}

impl Broker {
    /// Starts a broker; it serves clients when this returns.
    ///
    /// # Errors
    /// What the user must mend. Nothing was changed then that a next start, or Kafka, would stumble over.
    pub async fn start(config: BrokerConfig, surroundings: Surroundings) -> Result<Self, StartError> {
        let Surroundings {
            disk,
            random,
            levels,
            open_files,
            #[cfg(any(test, feature = "simulation"))]
                store: link,
        } = surroundings;
        let listeners = listen(&config, Vec::new()).await?;
        let open_segment_files = usize::try_from(open_files / 2)
            .unwrap_or(usize::MAX)
            .min(OPEN_SEGMENT_FILES);
        let descriptors = Descriptors::below(open_segment_files, open_files::for_segments(open_files));
        let mut places = directories::open(&config, &disk, &descriptors, &random).map_err(because)?;
        let owner = directories::owner(&config, &places).map_err(because)?;
        moves::settle(&disk, &places).map_err(because)?;
        let found = directories::found(&disk, &places).map_err(because)?;

        let working = places.iter().filter(|place| place.volume.failure().is_none());
        let paths: Vec<_> = working.map(|place| place.volume.path().to_owned()).collect();
        let complete = paths.len() == places.len();
        if Coordination::is_fresh(&config, &disk, &paths) {
            // A strange directory is told of before anything is written into it.
            let nobody = owner.broker_id.unwrap_or(BrokerId(-1));
            directories::compare(None, nobody, &found, complete)
                .await
                .map_err(because)?;
        }
        let stall = Duration::from_millis(u64::try_from(config.log_dir_stall_ms).unwrap_or(0));
        let opening = Coordination::open(&config, &disk, &paths, stall, &random);
        #[cfg(any(test, feature = "simulation"))]
        let opening = async {
            match &link {
                Some(link) => Ok(Coordination::distant(link, &random).await),
                None => opening.await,
            }
        };
        let coordination = opening.await.map_err(StartError)?;
        let store = coordination.store();
        let proposed = owner.cluster_id.as_deref();
        if let Some(ours) = proposed {
            let is_own = coordination.is_own();
            registration::patiently(&store, || registration::check_cluster(&store, ours, is_own))
                .await
                .map_err(because)?;
        }
        let cluster_id = registration::patiently(&store, || registration::prepare(&store, proposed, &random))
            .await
            .map_err(because)?;
        let id = match owner.broker_id {
            Some(id) => id,
            None if config.broker_id_generation_enable => {
                let above = config.reserved_broker_max_id;
                registration::patiently(&store, || registration::generate_broker_id(&store, above))
                    .await
                    .map_err(because)?
            }
            None => {
                return Err(StartError(
                    "broker.id is not set, and broker.id.generation.enable is off".to_owned(),
                ));
            }
        };
        if coordination.is_own() {
            directories::compare(Some(&store), id, &found, complete)
                .await
                .map_err(because)?;
        } else {
            directories::check_folders(&found).map_err(because)?;
        }
        // Who stands alone has nobody who could have more.
        let may_lack = !coordination.is_own() && directories::may_lack(&places);
        for directory in places.iter_mut().filter_map(|place| place.directory.as_mut()) {
            let (directory_id, other) = directory
                .meta()
                .map(|meta| (meta.directory_id, meta.other.clone()))
                .unwrap_or_default();
            let cluster_id = Some(cluster_id.to_string());
            let meta = MetaProperties {
                cluster_id,
                broker_id: Some(id),
                directory_id,
                other,
            };
            // A failure has taken the directory offline.
            let _ = directory.write_meta(meta, clock::now_ms());
        }

        if may_lack {
            registration::patiently(&store, || registration::note_unclean_shutdown(&store, id))
                .await
                .map_err(because)?;
        }
        if !coordination.is_own() {
            // Not before the store knows what the former ids said.
            directories::write_boot_ids(&places);
        }

        let cluster = Cluster::new(Arc::clone(&cluster_id), id, config.clone());
        let hosts = places
            .iter()
            .map(|place| {
                let pool = Pool::start("log-directory", POOL_THREADS).map_err(because)?;
                Ok(HostDirectory::new(Arc::clone(&place.volume), pool))
            })
            .collect::<Result<Vec<_>, StartError>>()?;
        let replicas = Replicas::new(id, cluster.clone(), hosts.clone());
        let admission = Admission::new(ConnectionLimits::new(&config));
        let workers = Workers::of_config(&config).map_err(because)?;
        let control_name = config.control_plane_listener().map(str::to_owned);
        let control_workers = match &control_name {
            Some(_) => Some(Workers::start("control-plane", CONTROL_THREADS).map_err(because)?),
            None => None,
        };
        let hear: Vec<Arc<dyn ConfigListener>> = vec![
            Arc::clone(&replicas) as _,
            Arc::new(admission.clone()),
            Arc::new(workers.clone()),
        ];
        let configs = StoredConfigs::new(Arc::clone(&store), cluster.clone(), hear);
        registration::patiently(&store, || configs.load_all())
            .await
            .map_err(because)?;
        let groups = Groups::new(&cluster, &replicas, &random);
        // With what was set dynamically in a former life.
        let config = cluster.get().broker_config.clone();

        let directories = load(places, &hosts, &replicas, &cluster).await?;

        let listeners = listen(&config, listeners).await?;
        let addresses = addresses(&listeners)?;
        let advertised = listeners::advertised(&config, &addresses);
        let node = znodes::Broker::new(&advertised, config.broker_rack.as_deref(), clock::now_ms());
        let patience = coordination.patience(&config);
        let ours = znodes::OurBroker::this(config.controller_candidate);
        let registration = Registration::begin(&store, id, (node, ours), patience)
            .await
            .map_err(because)?;
        if let Some(epoch) = registration.epoch() {
            replicas.registered(epoch).await;
        }
        let shutdown = Shutdown::new();
        drop(task::spawn(store_session::follow(
            Arc::clone(&store),
            Arc::clone(&replicas),
            shutdown.clone(),
        )));
        let failed = Shutdown::new();
        let this = Arc::new(Local {
            store: Arc::clone(&store),
            replicas: Arc::clone(&replicas),
            groups: groups.clone(),
            configs: configs.clone(),
        });
        let local: Arc<dyn BrokerLink> = Arc::clone(&this) as _;
        let parts = controller::Parts {
            broker: id,
            store: Arc::clone(&store),
            cluster: cluster.clone(),
            configs: configs.clone(),
            local: Arc::clone(&local),
            links: Arc::new(BrokerLinks::new(&cluster)),
            registration: Arc::clone(&registration),
            random: random.clone(),
        };
        groups.start(&shutdown);
        let controller = Controller::start(parts, shutdown.clone());
        controller.settled().await;
        drop(task::spawn(configs.follow(shutdown.clone())));
        let known = cluster.clone();
        let registered = move |epoch, before| -> BoxFuture<'static, ()> {
            let this = Arc::clone(&this);
            Box::pin(this.registered_again(epoch, before))
        };
        drop(task::spawn(Arc::clone(&registration).follow(
            shutdown.clone(),
            move || known.get(),
            registered,
        )));
        replicas.start_background(
            &shutdown,
            on_failure(&replicas, &controller, &failed),
            on_stall([Some(workers.clone()), control_workers.clone()], stall),
        );

        let slots = usize::try_from(config.max_incremental_fetch_session_cache_slots).unwrap_or(0);
        let to_controller =
            || ToController::new(controller.clone(), cluster.clone(), Arc::clone(&registration));
        let services = Arc::new(Services {
            groups: groups.clone(),
            old_offsets: OldOffsets::new(store),
            cluster: cluster.clone(),
            producer_ids: ProducerIds::new(to_controller(), Arc::clone(&replicas)),
            to_controller: to_controller(),
            local,
            controller: controller.clone(),
            replicas: Arc::clone(&replicas),
            fetch_sessions: FetchSessions::new(slots, random),
            levels,
        });
        let threads = |name| {
            let numbers = 0..FETCHER_THREADS;
            let started = numbers.map(|number| Worker::start(&format!("{name}-{number}")));
            started.collect::<Result<Vec<_>, _>>().map_err(because)
        };
        let fetchers = FetcherThreads {
            steady: threads("replica")?,
            catching_up: threads("catch-up")?,
        };
        replicas.start_replication(
            &shutdown,
            fetchers,
            Arc::new(PeerLeaders::new(&cluster)),
            Arc::new(ControllerIsrs(to_controller())),
        );
        let files = descriptors;
        let accepts = |workers, descriptors| {
            let bound = (DescriptorBound::below(descriptors), Arc::clone(&files));
            acceptor(&config, workers, admission.clone(), bound, &shutdown)
        };
        // The controller's connections are few, and may have the last ones.
        let control = control_name.zip(control_workers.map(|workers| accepts(workers, u64::MAX)));
        let acceptor = accepts(workers, open_files::for_connections(open_files));
        let listeners = Listeners::open(listeners, advertised, services, acceptor, control);
        drop(task::spawn(listeners.follow()));
        Ok(Self {
            addresses,
            id,
            directories,
            replicas,
            groups,
            coordination,
            to_controller: to_controller(),
            cluster: cluster.clone(),
            shutdown,
            failed,
        })
    }

    /// The listeners' names and the addresses that they listen on.
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    /// The broker's id.
    pub fn id(&self) -> BrokerId {
        self.id
    }

    /// Waits until the broker cannot go on: its last log directory failed.
    pub async fn failed(&self) {
        self.failed.wait().await;
    }

    /// Stops cleanly: clients are let go, every log is closed and made durable, the checkpoints are written, and each
    /// directory in which all that went well gets its marker then, whatever becomes of the others.
    pub async fn stop(self) {
        controlled_shutdown::hand_over(&self.to_controller, &self.cluster).await;
        self.shutdown.begin();
        let mut ending = self.groups.close();
        let first = |host: &Arc<HostDirectory>| {
            let here: Vec<_> = ending
                .extract_if(.., |one| Arc::ptr_eq(&one.directory, host))
                .collect();
            async move {
                for shard in here {
                    shard.ended.await;
                }
            }
        };
        let directories = self.directories;
        let mark = move |host: &HostDirectory| {
            let here = directories.iter().find(|one| one.path() == host.path());
            // A failure is told by the volume: the next start recovers.
            let _ = here.map(LogDirectory::mark_clean);
        };
        // The store sees to itself: what it holds is durable with each change.
        self.replicas.close(first, mark).await;
        self.coordination.close().await;
    }
}

/// Opens the logs of all directories side by side, on their pools.
async fn load(
    places: Vec<Place>,
    hosts: &[Arc<HostDirectory>],
    replicas: &Arc<Replicas>,
    cluster: &Cluster,
) -> Result<Vec<LogDirectory>, StartError> {
    let mut loading = Vec::new();
    for (place, host) in places.into_iter().zip(hosts) {
        let Some(directory) = place.directory else {
            continue;
        };
        let (replicas, cluster, host) = (Arc::clone(replicas), cluster.clone(), Arc::clone(host));
        loading.push(task::spawn(async move {
            let pool = host.pool().clone();
            pool.run(move || {
                let loaded = logs::load(&replicas, &cluster, &host, &directory);
                (host, directory, loaded)
            })
            .await
        }));
    }
    let mut directories = Vec::new();
    let mut futures = Vec::new();
    for loading in loading {
        let loaded = loading.await.map_err(because)?;
        let (host, directory, loaded) =
            loaded.map_err(|_| StartError("opening the logs failed".to_owned()))?;
        let copies = loaded.map_err(because)?.into_iter();
        futures.extend(copies.map(|copy| (Arc::clone(&host), copy)));
        directories.push(directory);
    }
    replicas.resume_moves(futures);
    Ok(directories)
}

/// Listens where `config` says. Of what is `bound` already, that is kept, and the rest let go.
async fn listen(config: &BrokerConfig, bound: Vec<Bound>) -> Result<Vec<Bound>, StartError> {
    let mut kept: Vec<Bound> = bound
        .into_iter()
        .filter(|(endpoint, _)| config.listeners().contains(endpoint))
        .collect();
    for endpoint in config.listeners() {
        if !kept.iter().any(|(known, _)| known == endpoint) {
            let options = socket_options(config);
            kept.push(listeners::bind(endpoint, options).await.map_err(StartError)?);
        }
    }
    Ok(kept)
}

fn addresses(listeners: &[Bound]) -> Result<Vec<(String, SocketAddr)>, StartError> {
    listeners
        .iter()
        .map(|(endpoint, listener)| Ok((endpoint.name.clone(), listener.local_addr().map_err(because)?)))
        .collect()
}

fn socket_options(config: &BrokerConfig) -> SocketOptions {
    SocketOptions {
        backlog: config.socket_listen_backlog_size,
        send_buffer_bytes: config.socket_send_buffer_bytes,
        receive_buffer_bytes: config.socket_receive_buffer_bytes,
    }
}

fn on_failure(
    replicas: &Arc<Replicas>,
    controller: &Controller,
    failed: &Shutdown,
) -> crate::replica::background::OnDirectoryFailure {
    let (replicas, controller, failed) = (Arc::downgrade(replicas), controller.clone(), failed.clone());
    Arc::new(move |directory: &HostDirectory, last: bool| {
        let Some(replicas) = replicas.upgrade() else {
            return;
        };
        let noted = directories::note_failure(replicas.directories());
        let failed = failed.clone();
        drop(task::spawn(async move {
            noted.await;
            if last {
                failed.begin();
            }
        }));
        if last {
            return;
        }
        let gone = replicas
            .all()
            .into_iter()
            .filter(|partition| partition.directory().path() == directory.path())
            .map(|partition| crate::base::ids::TopicPartition::clone(partition.name()))
            .collect();
        let controller = controller.clone();
        drop(task::spawn(
            async move { controller.replicas_offline(gone).await },
        ));
    })
}

/// Threads that a stalled directory has taken are replaced, so that the other directories go on.
fn on_stall(workers: [Option<Workers>; 2], stall: Duration) -> crate::replica::background::OnDirectoryStall {
    Arc::new(move |directory: &Arc<HostDirectory>| {
        for workers in workers.iter().flatten() {
            let (workers, directory) = (workers.clone(), Arc::clone(directory));
            drop(task::spawn(async move {
                workers.rescue(|| directory.watch().is_stalled(), stall / 8).await;
            }));
        }
    })
}

fn acceptor(
    config: &BrokerConfig,
    workers: Workers,
    admission: Admission,
    (descriptors, files): (DescriptorBound, Arc<Descriptors>),
    shutdown: &Shutdown,
) -> Acceptor {
    Acceptor {
        workers,
        admission,
        bounds: ConnectionBounds {
            request_max_bytes: config.socket_request_max_bytes,
            idle: Duration::from_millis(u64::try_from(config.connections_max_idle_ms).unwrap_or(u64::MAX)),
            requests_in_flight: usize::try_from(config.queued_max_requests).unwrap_or(1),
            budget: Budget::new(config.queued_max_request_bytes),
        },
        options: socket_options(config),
        descriptors,
        files,
        shutdown: shutdown.clone(),
    }
}

#[cfg(test)]
#[path = "broker_test.rs"]
mod tests;
