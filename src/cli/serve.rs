//! `barnabas serve`: runs a broker until it is told to stop.

use std::io::Write as _;
use std::process::ExitCode;

use super::broker::{Broker, Surroundings};
use super::logging::Logging;
use super::open_files;
use super::options::Options;
use crate::base::disk::Disk;
use crate::base::random::Random;
use crate::base::task;

/// Runs a broker. Control has this thread and its runtime; connections have their own.
pub fn run(options: &Options) -> ExitCode {
    match try_run(options) {
        Ok(code) => code,
        Err(lines) => {
            for line in lines {
                eprintln!("barnabas: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn try_run(options: &Options) -> Result<ExitCode, Vec<String>> {
    let one = |error: String| vec![error];
    let (levels, format) = options.logging().map_err(one)?;
    let disk = options.disk();
    let loaded = options.load(&Disk::system())?;
    let logging = Logging::start(&levels, format).map_err(one)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let surroundings = Surroundings {
        disk,
        random: Random::from_system(),
        levels,
        open_files: open_files::raise(),
        #[cfg(any(test, feature = "simulation"))]
        store: None,
    };
    let config = loaded.config;
    let outcome = task::run_control(async move {
        let mut stop = task::StopSignals::new().map_err(|error| error.to_string())?;
        let starting = Broker::start(config, surroundings);
        let broker = tokio::select! {
            broker = starting => broker.map_err(|error| error.to_string())?,
            () = stop.wait() => return Ok(ExitCode::FAILURE),
        };
        announce(&broker);
        tokio::select! {
            () = stop.wait() => {
                tracing::info!("stopping");
                broker.stop().await;
                Ok(ExitCode::SUCCESS)
            }
            () = broker.failed() => {
                tracing::error!("the last log directory failed: the broker ends");
                broker.stop().await;
                Ok(ExitCode::FAILURE)
            }
        }
    });
    logging.flush();
    match outcome {
        Ok(result) => result.map_err(one),
        Err(error) => Err(vec![format!("cannot start the runtime: {error}")]),
    }
}

/// The one line on stdout.
fn announce(broker: &Broker) {
    let places: Vec<String> = broker
        .addresses()
        .iter()
        .map(|(name, at)| format!("{name}://{at}"))
        .collect();
    let mut out = std::io::stdout().lock();
    // Who closed stdout does not want to know.
    let _ = writeln!(
        out,
        "barnabas: broker {} listens on {}",
        broker.id(),
        places.join(", ")
    );
    let _ = out.flush();
}
