//! [`ApiKey`]: the APIs of the protocol and their versions.
//!
//! The table is generated from what Kafka 3.9.2 and 4.2.0 publish; which of these a broker answers is not said here
//! but by its dispatch. Versions that their release still calls unstable are left out.

use std::fmt;
use std::ops::RangeInclusive;

mod table;

pub use table::ApiKey;

/// What is known of an API.
pub(crate) struct Row {
    /// The API.
    pub(crate) key: ApiKey,
    /// Its name, as in `Fetch`.
    pub(crate) name: &'static str,
    /// The lowest stable version of the two releases.
    pub(crate) min_version: i16,
    /// The highest; below the lowest when there is none.
    pub(crate) max_version: i16,
    /// The first flexible version.
    pub(crate) flexible_from: i16,
}

impl ApiKey {
    /// The API with this number. `None` for one that neither release has.
    pub fn from_code(code: i16) -> Option<Self> {
        // The keys are numbered from 0 without a gap; a test holds that.
        let row = table::ROWS.get(usize::try_from(code).ok()?)?;
        Some(row.key)
    }

    /// All APIs, by number.
    pub fn all() -> impl Iterator<Item = Self> {
        table::ROWS.iter().map(|row| row.key)
    }

    /// The API's number.
    #[inline]
    pub const fn code(self) -> i16 {
        self as i16
    }

    fn row(self) -> Option<&'static Row> {
        table::ROWS.get(self as usize)
    }

    /// The API's name, as in `Fetch`.
    pub fn name(self) -> &'static str {
        self.row().map_or("", |row| row.name)
    }

    /// Every stable version that Kafka 3.9.2 or 4.2.0 has; empty when there is none.
    pub fn stable_versions(self) -> RangeInclusive<i16> {
        self.row()
            .map_or(RangeInclusive::new(1, 0), |row| row.min_version..=row.max_version)
    }

    /// The first version with compact lengths and tagged fields (KIP-482). `None` when no version has them.
    pub fn first_flexible_version(self) -> Option<i16> {
        self.row()
            .map(|row| row.flexible_from)
            .filter(|&version| version < i16::MAX)
    }

    /// True when `version` has compact lengths and tagged fields.
    pub fn is_flexible(self, version: i16) -> bool {
        self.row().is_some_and(|row| version >= row.flexible_from)
    }

    /// The version of the header of a request in `version`: 0 (no client id), 1, or 2 (tagged fields).
    pub fn request_header_version(self, version: i16) -> i16 {
        match self {
            Self::ControlledShutdown if version == 0 => 0,
            _ if self.is_flexible(version) => 2,
            _ => 1,
        }
    }

    /// The version of the header of a response in `version`: 0, or 1 (tagged fields). ApiVersions stays at 0, so that a
    /// client that asked in a version unknown to the broker can read the answer (KIP-511).
    pub fn response_header_version(self, version: i16) -> i16 {
        match self {
            Self::ApiVersions => 0,
            _ => self.is_flexible(version).into(),
        }
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_indexes() {
        for (index, key) in ApiKey::all().enumerate() {
            assert_eq!(key.code() as usize, index);
            assert_eq!(ApiKey::from_code(key.code()), Some(key));
        }
        assert_eq!(ApiKey::from_code(-1), None);
        assert_eq!(ApiKey::from_code(i16::MAX), None);
        assert_eq!(ApiKey::from_code(1), Some(ApiKey::Fetch));
    }

    #[test]
    fn versions_are_the_union_of_both_releases() {
        assert_eq!(ApiKey::Produce.stable_versions(), 0..=13);
        assert_eq!(ApiKey::Fetch.stable_versions(), 0..=18);
        assert_eq!(ApiKey::Metadata.stable_versions(), 0..=13);
        assert_eq!(ApiKey::ListOffsets.stable_versions(), 0..=11);
        // Version 6 is unstable in 4.2.
        assert_eq!(ApiKey::InitProducerId.stable_versions(), 0..=5);
        // Gone in 4.x.
        assert_eq!(ApiKey::LeaderAndIsr.stable_versions(), 0..=7);
        // Unstable in 3.9, from 1 on in 4.2.
        assert_eq!(ApiKey::ShareGroupHeartbeat.stable_versions(), 1..=1);
    }

    #[test]
    fn headers_follow_the_flexible_versions() {
        assert_eq!(ApiKey::Fetch.request_header_version(11), 1);
        assert_eq!(ApiKey::Fetch.request_header_version(12), 2);
        assert_eq!(ApiKey::Fetch.response_header_version(12), 1);
        assert_eq!(ApiKey::ApiVersions.request_header_version(3), 2);
        assert_eq!(ApiKey::ApiVersions.response_header_version(4), 0);
        assert_eq!(ApiKey::SaslHandshake.request_header_version(1), 1);
        assert_eq!(ApiKey::SaslHandshake.first_flexible_version(), None);
        assert_eq!(ApiKey::ControlledShutdown.request_header_version(0), 0);
        assert_eq!(ApiKey::ControlledShutdown.request_header_version(1), 1);
    }
}
