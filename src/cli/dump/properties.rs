//! `meta.properties` and `partition.metadata`.

use std::path::Path;

use super::report::{DumpError, Field, Report};
use crate::base::disk::Disk;
use crate::storage::meta_properties::MetaProperties;
use crate::storage::partition_metadata;

/// Neither file is longer.
const MAX_BYTES: usize = 1 << 16;

pub(super) fn meta_properties(disk: &Disk, path: &Path, report: &mut Report<'_>) -> Result<(), DumpError> {
    let bytes = disk.read(path, MAX_BYTES).map_err(DumpError::input)?;
    let properties = MetaProperties::parse(&bytes).map_err(DumpError::input)?;
    let mut fields: Vec<Field<'_>> = vec![
        ("version", 0.into()),
        ("cluster.id", properties.cluster_id.clone().into()),
        ("broker.id", properties.broker_id.map(|id| id.get()).into()),
    ];
    fields.extend(
        properties
            .directory_id
            .map(|id| ("directory.id", id.to_string().into())),
    );
    let other = properties.other.iter();
    fields.extend(other.map(|(key, value)| (key.as_str(), value.as_str().into())));
    report.line("properties", &fields)
}

pub(super) fn partition_metadata(disk: &Disk, path: &Path, report: &mut Report<'_>) -> Result<(), DumpError> {
    let bytes = disk.read(path, MAX_BYTES).map_err(DumpError::input)?;
    let (version, topic_id) = partition_metadata::parse(&bytes).map_err(DumpError::input)?;
    report.line(
        "partition_metadata",
        &[
            ("version", version.into()),
            ("topic_id", topic_id.to_string().into()),
        ],
    )
}
