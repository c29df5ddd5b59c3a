//! Opens the logs of a directory and hands them to the replicas.

use std::sync::Arc;

use crate::base::clock;
use crate::metadata::Cluster;
use crate::replica::directories::HostDirectory;
use crate::replica::replicas::Replicas;
use crate::storage::directory::{DirectoryError, LoadSettings, LogDirectory};
use crate::storage::log::Log;

/// Opens the logs of one directory. A disk that fails takes the directory offline. Yields the copies of logs that were on
/// their way into it. Blocks.
///
/// # Errors
/// A log that nobody should go on with.
pub fn load(
    replicas: &Arc<Replicas>,
    cluster: &Cluster,
    host: &Arc<HostDirectory>,
    directory: &LogDirectory,
) -> Result<Vec<Log>, DirectoryError> {
    let image = cluster.get();
    let config = image.broker_config.clone();
    let settings = LoadSettings {
        threads: usize::try_from(config.num_recovery_threads_per_data_dir).unwrap_or(1),
        now_ms: clock::now_ms(),
        producer_expiration_ms: config.producer_id_expiration_ms.into(),
        configs: Arc::new(move |partition| image.log_config(&partition.topic)),
    };
    let loaded = match directory.load(&settings) {
        Ok(loaded) => loaded,
        Err(DirectoryError::Io(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    for (log, report) in loaded.logs.iter().zip(&loaded.reports) {
        for repair in &report.repairs {
            tracing::warn!(partition = %log.partition(), repair, "found wrong after a clean stop, and mended");
        }
        if report.damaged_bytes > 0 {
            tracing::warn!(
                partition = %log.partition(),
                bytes = report.damaged_bytes,
                end = log.log_end_offset().get(),
                "damaged bytes were cut off, or are left behind"
            );
        }
    }
    for folder in loaded.deleted {
        replicas.bury_folder(host, folder);
    }
    for log in loaded.logs {
        replicas.host(host, log);
    }
    if loaded.reports.iter().any(|report| report.cleaned_lowered) {
        replicas.checkpoint_cleaned(host);
    }
    Ok(loaded.futures)
}
