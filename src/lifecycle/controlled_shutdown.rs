//! A stop that the cluster does not notice: what this broker leads is led by others before it goes (Kafka:
//! `KafkaServer.controlledShutdown`). A broker that stands alone leads nothing that another could.

use std::time::Duration;

use crate::base::clock;
use crate::controller::ToController;
use crate::metadata::Cluster;

/// Asks the controller until nothing is left that another broker could lead, as often as is configured.
pub async fn hand_over(controller: &ToController, cluster: &Cluster) {
    let image = cluster.get();
    let config = &image.broker_config;
    let others = image.brokers.keys().any(|id| *id != image.this_broker);
    if !config.controlled_shutdown_enable || !others {
        return;
    }
    let pause_ms = u64::try_from(config.controlled_shutdown_retry_backoff_ms).unwrap_or(0);
    let tries = config.controlled_shutdown_max_retries.max(1);
    for left in (0..tries).rev() {
        match controller.controlled_shutdown().await {
            Ok(remaining) if remaining.is_empty() => {
                tracing::info!("other brokers lead what this one led");
                return;
            }
            Ok(remaining) => tracing::info!(
                "{} partitions cannot be led by another broker now: {remaining:?}",
                remaining.len()
            ),
            Err(error) => tracing::info!("the controller did not take over: {error}"),
        }
        if left > 0 {
            clock::sleep(Duration::from_millis(pause_ms)).await;
        }
    }
    tracing::warn!("this broker stops although it leads partitions that nobody else can lead");
}
