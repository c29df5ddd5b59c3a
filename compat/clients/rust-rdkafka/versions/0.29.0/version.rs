//! What is this version's own.

use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;

use crate::serve::{Answer, Placed, unsupported};

pub fn placed((partition, offset): (i32, i64)) -> Placed {
    Placed { partition, offset }
}

pub fn delete_group(_admin: &AdminClient<DefaultClientContext>, _group: &str) -> Answer<()> {
    unsupported("delete_group")
}
