//! What is this version's own.

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::future_producer::Delivery;

use crate::serve::{Answer, Placed, wait};

pub fn placed(delivery: Delivery) -> Placed {
    Placed {
        partition: delivery.partition,
        offset: delivery.offset,
    }
}

pub fn delete_group(admin: &AdminClient<DefaultClientContext>, group: &str) -> Answer<()> {
    crate::done(wait(admin.delete_groups(&[group], &AdminOptions::new())))
}
