//! The hosts of a cluster: its brokers, each with all that outlives its process, and the clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use barnabas::base::clock;
use barnabas::base::disk::Disk;
use barnabas::base::disk::memory::MemoryDisk;
use barnabas::base::random::Random;
use barnabas::base::shutdown::Shutdown;
use barnabas::cli::broker::{Broker, Surroundings};
use barnabas::config::{BrokerConfig, LogLevels};
use barnabas::store::distant::Link;

use super::client::ClusterClient;
use super::copies::Copies;
use super::world::World;
use super::{ADMINISTRATORS, BROKERS, CONSUMERS, PRODUCERS, admin, brief, consumer, producer};

const SESSION_TIMEOUT: Duration = Duration::from_millis(2_000);

#[derive(Clone, Copy, PartialEq)]
pub enum Life {
    Up,
    Down,
}

/// One broker with all that outlives its process.
pub struct Host {
    pub disk: MemoryDisk,
    pub link: Link,
    pub stop: Arc<std::sync::Mutex<Shutdown>>,
    pub life: Life,
}

/// What differs from run to run in the configuration of all brokers.
#[derive(Clone, Debug)]
pub struct Terms {
    /// As the default, few partitions are ever far behind; with less, those are that lack a few batches of 50 to 700 bytes.
    fetch_max_bytes: u64,
    /// With little, one answer has records of one or two partitions.
    response_max_bytes: u64,
    fetchers: u64,
    segment_bytes: u64,
    index_interval_bytes: u64,
}

impl Terms {
    fn choose(seed: u64) -> Self {
        let random = Random::from_seed(seed ^ (0xC0 << 50));
        let any = |values: [u64; 4]| values[random.below(4) as usize];
        Self {
            fetch_max_bytes: any([1 << 20, 1 << 20, 1_500, 400]),
            response_max_bytes: any([10 << 20, 10 << 20, 10 << 20, 1_000]),
            fetchers: any([1, 2, 2, 3]),
            segment_bytes: any([20_000, 20_000, 20_000, 4_000]),
            index_interval_bytes: any([4_096, 4_096, 4_096, 200]),
        }
    }
}

/// Where brokers and consumers stand.
pub const RACKS: [&str; 2] = ["left", "right"];

pub fn directories(name: &str) -> [String; 2] {
    [0, 1].map(|number| format!("/{name}/logs{number}"))
}

fn config(name: &str, id: i32, terms: &Terms) -> Result<BrokerConfig, Box<dyn std::error::Error>> {
    let address = turmoil::lookup(name);
    let rack = RACKS[id as usize % RACKS.len()];
    Ok(BrokerConfig::from_pairs(&[
        ("broker.id", &id.to_string()),
        ("listeners", "PLAINTEXT://0.0.0.0:9092"),
        ("advertised.listeners", &format!("PLAINTEXT://{address}:9092")),
        ("log.dirs", &directories(name).join(",")),
        ("auto.create.topics.enable", "false"),
        ("zookeeper.connect", "store:2181"),
        (
            "zookeeper.session.timeout.ms",
            &SESSION_TIMEOUT.as_millis().to_string(),
        ),
        ("replica.lag.time.max.ms", "1500"),
        ("replica.socket.timeout.ms", "1200"),
        ("replica.fetch.wait.max.ms", "200"),
        ("replica.fetch.backoff.ms", "200"),
        ("replica.high.watermark.checkpoint.interval.ms", "700"),
        ("log.flush.start.offset.checkpoint.interval.ms", "900"),
        ("log.flush.offset.checkpoint.interval.ms", "1100"),
        ("file.delete.delay.ms", "1000"),
        ("controller.socket.timeout.ms", "1200"),
        ("controlled.shutdown.retry.backoff.ms", "300"),
        ("leader.imbalance.check.interval.seconds", "4"),
        ("num.replica.fetchers", &terms.fetchers.to_string()),
        ("replica.fetch.max.bytes", &terms.fetch_max_bytes.to_string()),
        (
            "replica.fetch.response.max.bytes",
            &terms.response_max_bytes.to_string(),
        ),
        ("log.segment.bytes", &terms.segment_bytes.to_string()),
        (
            "log.index.interval.bytes",
            &terms.index_interval_bytes.to_string(),
        ),
        ("broker.rack", rack),
        (
            "replica.selector.class",
            "org.apache.kafka.common.replica.RackAwareReplicaSelector",
        ),
    ])?)
}

impl World<'_> {
    pub fn add_brokers(&mut self, brokers: usize, seed: u64) {
        let terms = Terms::choose(seed);
        self.history.event("brokers", format!("{terms:?}"));
        for (name, id) in BROKERS.into_iter().take(brokers).zip(1..) {
            let host = Host {
                disk: MemoryDisk::new(),
                link: Link::new(&self.server, SESSION_TIMEOUT),
                stop: Arc::default(),
                life: Life::Up,
            };
            let copies = Copies::new(&host.disk, &directories(name));
            self.observed.lock().copies.push(copies);
            self.store_cuts.push(0);
            let (disk, link, history) = (host.disk.clone(), host.link.clone(), self.history.clone());
            let observed = self.observed.clone();
            let (stop, terms) = (Arc::clone(&host.stop), terms.clone());
            let starts = AtomicU64::new(0);
            self.sim.host(name, move || {
                let start = starts.fetch_add(1, Ordering::Relaxed);
                observed.lock().starts.insert(id, start);
                let random = Random::from_seed(seed ^ ((id as u64) << 32) ^ (start << 40));
                let (disk, link, history) = (disk.clone(), link.clone(), history.clone());
                let terms = terms.clone();
                let fresh = Shutdown::new();
                *stop.lock().unwrap() = fresh.clone();
                async move {
                    loop {
                        let surroundings = Surroundings {
                            disk: Disk::memory(disk.clone()),
                            random: random.clone(),
                            levels: LogLevels::default(),
                            open_files: 1_000,
                            store: Some(link.clone()),
                        };
                        match Broker::start(config(name, id, &terms)?, surroundings).await {
                            Ok(broker) => {
                                history.event(name, "serves");
                                tokio::select! {
                                    biased;
                                    () = fresh.wait() => {}
                                    () = broker.failed() => history.event(name, "has lost its last directory"),
                                }
                                broker.stop().await;
                                history.event(name, "has stopped");
                                return Ok(());
                            }
                            Err(error) => history.event(name, format!("does not start: {error}")),
                        }
                        clock::sleep(Duration::from_millis(300)).await;
                    }
                }
            });
            self.hosts.push(host);
        }
    }

    pub fn add_clients(&mut self, seed: u64) {
        let brokers = self.hosts.len() as i32;
        let client = |name: &str, number: u64, world: &Self| {
            let random = Random::from_seed(seed ^ (number << 50));
            let shared = (&world.server, &world.history, &world.observed);
            ClusterClient::new(name, random, brokers, shared)
        };
        self.observed.lock().producers_running = PRODUCERS.len() as u32;
        for (name, number) in PRODUCERS.into_iter().zip(1..) {
            let client = client(name, number, self);
            self.sim.client(name, async move {
                producer::produce(client).await;
                Ok(())
            });
        }
        // One of the two reads from the replicas in its rack.
        let random = Random::from_seed(seed ^ (0xC1 << 50));
        let (near, rack) = (10 + random.below(2), RACKS[random.below(2) as usize]);
        for (name, number) in CONSUMERS.into_iter().zip(10..) {
            let client = client(name, number, self);
            let rack = (number == near).then_some(rack);
            self.sim.client(name, async move {
                consumer::consume(client, number == 11, rack).await;
                Ok(())
            });
        }
        for (name, number) in ADMINISTRATORS.into_iter().zip(20..) {
            let client = client(name, number, self);
            self.sim.client(name, async move {
                match number {
                    20 => admin::administer(client).await,
                    _ => brief::live_and_die(client).await,
                }
                Ok(())
            });
        }
    }
}
