//! Options that say how a broker is configured and how it logs, and the configuration that follows from them.

use std::path::{Path, PathBuf};

use crate::base::disk::Disk;
use crate::config::{BrokerConfig, Loaded, LogLevels, Sources, properties};

use super::logging::LogFormat;

/// A properties file is not larger than this, in bytes.
const LARGEST_FILE: usize = 16 << 20;

/// The options of `serve`.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// A properties file with Kafka's keys (server.properties)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A key and its value, above those of the file; may come more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
    /// Stay alone: ignore zookeeper.connect
    #[arg(long)]
    pub standalone: bool,
    /// What to log: a level (off, error, warn, info, debug, trace), and levels of rooms as room=level; also BARNABAS_LOG
    #[arg(long, value_name = "LEVELS")]
    pub log: Option<String>,
    /// How log lines look; also BARNABAS_LOG_FORMAT
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
    /// Makes each sync of a file so many milliseconds longer, to measure on a fast disk what a slow one does
    #[arg(long, value_name = "MS", hide = true, default_value_t = 0)]
    pub sync_delay_ms: u64,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("wants key=value")?;
    if key.trim().is_empty() {
        return Err("wants key=value".to_owned());
    }
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl Options {
    /// The disk that the broker works on.
    pub fn disk(&self) -> Disk {
        match self.sync_delay_ms {
            0 => Disk::system(),
            delay => Disk::system_with_sync_delay(std::time::Duration::from_millis(delay)),
        }
    }

    /// The configuration.
    ///
    /// # Errors
    /// What keeps the broker from starting, a line each, ready to be shown.
    pub fn load(&self, disk: &Disk) -> Result<Loaded, Vec<String>> {
        let file = match &self.config {
            Some(path) => Some(read(disk, path).map_err(|problem| vec![problem])?),
            None => None,
        };
        let sources = Sources {
            file,
            overrides: self.set.clone(),
            standalone: self.standalone,
            host_name: host_name(),
        };
        BrokerConfig::load(&sources)
            .map_err(|errors| errors.into_iter().map(|error| error.to_string()).collect())
    }

    /// What to log, and how lines look: the options, else the environment, else `info` and text.
    ///
    /// # Errors
    /// A bad level, room or format, in one line.
    pub fn logging(&self) -> Result<(LogLevels, LogFormat), String> {
        let levels = self.log.clone().or_else(|| std::env::var("BARNABAS_LOG").ok());
        let levels = LogLevels::parse(levels.as_deref().unwrap_or_default())
            .map_err(|error| format!("log levels: {error}"))?;
        let format = match (self.log_format, std::env::var("BARNABAS_LOG_FORMAT").ok()) {
            (Some(format), _) => format,
            (None, Some(name)) => <LogFormat as clap::ValueEnum>::from_str(&name, true)
                .map_err(|_| format!("BARNABAS_LOG_FORMAT={name}: must be text or json"))?,
            (None, None) => LogFormat::Text,
        };
        Ok((levels, format))
    }
}

fn read(disk: &Disk, path: &Path) -> Result<Vec<(String, String)>, String> {
    let bytes = disk
        .read(path, LARGEST_FILE)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    properties::parse(&bytes).map_err(|error| format!("{}: {error}", path.display()))
}

/// This machine's name, as the kernel has it. (Kafka asks the resolver for the full name.)
fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_str().unwrap_or("localhost").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(arguments: &[&str]) -> Result<Options, clap::Error> {
        Line::try_parse_from(std::iter::once("barnabas").chain(arguments.iter().copied()))
            .map(|line| line.options)
    }

    #[test]
    fn the_command_line_overrides_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.properties");
        let disk = Disk::system();
        disk.replace(&path, b"num.partitions = 2\nbroker.id=4\n").unwrap();
        let path = path.to_str().unwrap();
        let options = options(&[
            "--config",
            path,
            "--set",
            "num.partitions=3",
            "--set",
            "broker.rack=a=b",
        ])
        .unwrap();
        let config = options.load(&disk).unwrap().config;
        assert_eq!(config.num_partitions, 3);
        assert_eq!(config.broker_id, 4);
        assert_eq!(config.broker_rack.as_deref(), Some("a=b"));
    }

    #[test]
    fn what_is_wrong_is_told_in_lines() {
        let disk = Disk::system();
        let errors = options(&["--config", "/nowhere/x"])
            .unwrap()
            .load(&disk)
            .unwrap_err();
        assert!(errors[0].starts_with("/nowhere/x: "), "{errors:?}");
        let errors = options(&["--set", "num.partitions=0"])
            .unwrap()
            .load(&disk)
            .unwrap_err();
        assert_eq!(errors, ["num.partitions=0: must be at least 1"]);
        assert!(options(&["--set", "num.partitions"]).is_err());
        assert!(options(&["--log", "loud"]).unwrap().logging().is_err());
        assert!(options(&["--log-format", "xml"]).is_err());
    }
}
