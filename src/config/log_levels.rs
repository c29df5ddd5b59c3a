//! Levels of the broker's own log, by room, changeable while it runs.
//!
//! A room without a level of its own follows the root. Set by `--log` and by AlterConfigs of BROKER_LOGGER, read by
//! the subscriber in `cli/logging.rs`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::error::ConfigError;

/// The rooms that log.
pub const ROOMS: &[&str] = &[
    "api",
    "base",
    "cli",
    "config",
    "controller",
    "coordinator",
    "group",
    "lifecycle",
    "metadata",
    "net",
    "peer",
    "quota",
    "records",
    "replica",
    "storage",
    "store",
    "wire",
];

/// How much is logged; each level has what the ones before it have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names say what they mean")]
pub enum LogLevel {
    Off = 1,
    Error = 2,
    Warn = 3,
    Info = 4,
    Debug = 5,
    Trace = 6,
}

impl LogLevel {
    const ALL: [Self; 6] = [
        Self::Off,
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    /// The level called `name`, in any case. Kafka's FATAL is ERROR here.
    pub fn parse(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("fatal") {
            return Some(Self::Error);
        }
        Self::ALL
            .into_iter()
            .find(|level| level.name().eq_ignore_ascii_case(name))
    }

    /// The level that Kafka's tools call `name`: in upper case only, and never OFF, which would hide errors
    /// (`LogLevelConfig`).
    fn of_kafka(name: &str) -> Option<Self> {
        let level = Self::parse(name).filter(|level| *level != Self::Off);
        level.filter(|_| !name.contains(|character: char| character.is_ascii_lowercase()))
    }

    /// Its name, upper case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "OFF",
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
            Self::Trace => "TRACE",
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|level| *level as u8 == number)
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The levels of all rooms; clones share them.
#[derive(Clone)]
pub struct LogLevels(Arc<Table>);

struct Table {
    root: AtomicU8,
    /// Beside [`ROOMS`]; 0 follows the root.
    rooms: Vec<AtomicU8>,
}

const ROOT: &str = "root";
const FOLLOWS_ROOT: u8 = 0;

impl Default for LogLevels {
    fn default() -> Self {
        Self::new(LogLevel::Info)
    }
}

impl LogLevels {
    /// All rooms at `root`.
    pub fn new(root: LogLevel) -> Self {
        Self(Arc::new(Table {
            root: AtomicU8::new(root as u8),
            rooms: ROOMS.iter().map(|_| AtomicU8::new(FOLLOWS_ROOT)).collect(),
        }))
    }

    /// Levels as an option gives them: `info`, or `warn,storage=debug,net=trace`.
    ///
    /// # Errors
    /// An unknown room or level.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let levels = Self::default();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (logger, level) = item.split_once('=').unwrap_or((ROOT, item));
            let level = LogLevel::parse(level.trim()).ok_or_else(|| {
                ConfigError::new(
                    logger,
                    level,
                    "must be one of OFF, FATAL, ERROR, WARN, INFO, DEBUG, TRACE",
                )
            })?;
            levels.store(logger.trim(), level as u8)?;
        }
        Ok(levels)
    }

    /// Sets the level of a logger, `root`, a room, or `barnabas.` and a room, to one of those that Kafka's tools may name.
    ///
    /// # Errors
    /// An unknown logger or level.
    pub fn set(&self, logger: &str, level: &str) -> Result<(), ConfigError> {
        let level = LogLevel::of_kafka(level).ok_or_else(|| bad_level(logger, level))?;
        self.store(logger, level as u8)
    }

    /// Says whether [`set`](Self::set) would do it.
    ///
    /// # Errors
    /// An unknown logger or level.
    pub fn check(&self, logger: &str, level: &str) -> Result<(), ConfigError> {
        self.cell(logger)?;
        LogLevel::of_kafka(level).map_or_else(|| Err(bad_level(logger, level)), |_| Ok(()))
    }

    /// Lets a room follow the root again.
    ///
    /// # Errors
    /// An unknown logger, or the root, which has nothing to follow.
    pub fn clear(&self, logger: &str) -> Result<(), ConfigError> {
        if logger == ROOT {
            return Err(ConfigError::key(logger, "the root logger always has a level"));
        }
        self.store(logger, FOLLOWS_ROOT)
    }

    fn store(&self, logger: &str, number: u8) -> Result<(), ConfigError> {
        self.cell(logger)?.store(number, Ordering::Relaxed);
        // What is disabled is remembered at each place that logs.
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }

    fn cell(&self, logger: &str) -> Result<&AtomicU8, ConfigError> {
        if logger == ROOT {
            return Ok(&self.0.root);
        }
        let name = logger.strip_prefix("barnabas.").unwrap_or(logger);
        let place = ROOMS.iter().position(|room| *room == name);
        place
            .and_then(|place| self.0.rooms.get(place))
            .ok_or_else(|| ConfigError::key(logger, "is not a logger"))
    }

    /// The level of what is logged under a module path such as `barnabas::storage::log`.
    pub fn of_target(&self, target: &str) -> LogLevel {
        let room = target
            .strip_prefix("barnabas::")
            .map(|rest| rest.split("::").next().unwrap_or(rest));
        let own = room
            .and_then(|room| self.cell(room).ok())
            .and_then(|cell| LogLevel::from_number(cell.load(Ordering::Relaxed)));
        own.unwrap_or_else(|| self.root())
    }

    /// The level that the most talkative room has.
    pub fn highest(&self) -> LogLevel {
        let rooms = self.0.rooms.iter().map(|cell| cell.load(Ordering::Relaxed));
        let own = rooms.filter_map(LogLevel::from_number).max();
        own.map_or(self.root(), |own| own.max(self.root()))
    }

    /// The root's level.
    pub fn root(&self) -> LogLevel {
        LogLevel::from_number(self.0.root.load(Ordering::Relaxed)).unwrap_or(LogLevel::Info)
    }

    /// All loggers with the level that holds for them, by name.
    pub fn list(&self) -> Vec<(String, LogLevel)> {
        let rooms = ROOMS.iter().map(|room| {
            let level = self.of_target(&format!("barnabas::{room}"));
            (format!("barnabas.{room}"), level)
        });
        rooms.chain([(ROOT.to_owned(), self.root())]).collect()
    }
}

fn bad_level(logger: &str, level: &str) -> ConfigError {
    ConfigError::new(
        logger,
        level,
        "must be one of FATAL, ERROR, WARN, INFO, DEBUG, TRACE",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "reads the source tree")]
    fn every_room_has_a_logger() {
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut rooms: Vec<String> = std::fs::read_dir(source)
            .unwrap()
            .map(Result::unwrap)
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        rooms.sort();
        assert_eq!(rooms, ROOMS);
    }

    #[test]
    fn rooms_follow_the_root_until_they_have_a_level() {
        let levels = LogLevels::parse("warn, storage=debug").unwrap();
        assert_eq!(levels.of_target("barnabas::storage::log"), LogLevel::Debug);
        assert_eq!(levels.of_target("barnabas::net"), LogLevel::Warn);
        assert_eq!(levels.of_target("other"), LogLevel::Warn);
        assert_eq!(levels.highest(), LogLevel::Debug);
        levels.set("root", "ERROR").unwrap();
        levels.set("barnabas.net", "TRACE").unwrap();
        levels.clear("barnabas.storage").unwrap();
        assert_eq!(levels.of_target("barnabas::storage"), LogLevel::Error);
        assert_eq!(levels.of_target("barnabas::net::x"), LogLevel::Trace);
        let list = levels.list();
        assert!(list.contains(&("barnabas.net".to_owned(), LogLevel::Trace)));
        assert!(list.contains(&("root".to_owned(), LogLevel::Error)));
    }

    #[test]
    fn at_run_time_a_level_is_one_of_those_that_kafka_takes() {
        let levels = LogLevels::parse("off,net=debug").unwrap();
        assert_eq!(levels.root(), LogLevel::Off, "the option takes more");
        for level in ["OFF", "off", "debug", "Debug", "fatal", "", " INFO", "ALL"] {
            assert!(levels.check("root", level).is_err(), "{level}");
            assert!(levels.set("root", level).is_err(), "{level}");
        }
        assert_eq!(levels.root(), LogLevel::Off);
        for (level, meant) in [
            ("FATAL", LogLevel::Error),
            ("ERROR", LogLevel::Error),
            ("WARN", LogLevel::Warn),
            ("INFO", LogLevel::Info),
            ("DEBUG", LogLevel::Debug),
            ("TRACE", LogLevel::Trace),
        ] {
            levels.check("root", level).unwrap();
            levels.set("root", level).unwrap();
            assert_eq!(levels.root(), meant);
        }
    }

    #[test]
    fn unknown_loggers_and_levels_are_refused() {
        let levels = LogLevels::default();
        assert!(LogLevels::parse("loud").is_err());
        assert!(LogLevels::parse("attic=debug").is_err());
        assert!(levels.set("net", "loud").is_err());
        assert!(levels.set("kafka.server.KafkaApis", "INFO").is_err());
        assert!(levels.clear("root").is_err());
        assert_eq!(levels.root(), LogLevel::Info);
    }
}
