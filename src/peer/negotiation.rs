//! [`Known`]: what a broker answered to ApiVersions.
//!
//! The question is version 4. A broker that lacks it answers UNSUPPORTED_VERSION in the format of version 0, with its own
//! versions of ApiVersions in it (KIP-511), and is asked again.

use std::collections::BTreeMap;

use super::connection::{Connection, decode};
use super::error::{BadAnswer, PeerError};
use crate::base::error_code::ErrorCode;
use crate::wire::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use crate::wire::{ApiKey, Message as _, Text};

/// The version in which ApiVersions is asked first.
const FIRST_TRY: i16 = 4;

/// The lowest and highest version of each API of a broker, of those APIs that we know.
pub(super) struct Known(BTreeMap<ApiKey, (i16, i16)>);

impl Known {
    /// Asks a broker.
    pub(super) async fn ask(connection: &mut Connection) -> Result<Self, PeerError> {
        let answer = match ask(connection, FIRST_TRY).await? {
            (answer, true) => answer,
            (refusal, false) => {
                let theirs = Self::of(&refusal).newest(ApiKey::ApiVersions, FIRST_TRY - 1);
                // Before KIP-511 a refusal had no versions in it.
                ask(connection, theirs.unwrap_or(0)).await?.0
            }
        };
        if answer.error_code != ErrorCode::None.code() {
            connection.close();
            return Err(BadAnswer::ApiVersions(answer.error_code).into());
        }
        Ok(Self::of(&answer))
    }

    fn of(answer: &ApiVersionsResponse) -> Self {
        let versions = answer.api_keys.iter().filter_map(|api| {
            let key = ApiKey::from_code(api.api_key)?;
            Some((key, (api.min_version, api.max_version)))
        });
        Self(versions.collect())
    }

    /// The highest version of `key` that is known here and there, `ours` at most.
    pub(super) fn newest(&self, key: ApiKey, ours: i16) -> Result<i16, PeerError> {
        let (lowest, highest) = *self.0.get(&key).ok_or(PeerError::UnsupportedVersion)?;
        let newest = ours.min(highest);
        if newest < lowest || !key.stable_versions().contains(&newest) {
            return Err(PeerError::UnsupportedVersion);
        }
        Ok(newest)
    }
}

/// Asks in `version`; false says that the answer is a refusal of that version, in the format of version 0.
async fn ask(connection: &mut Connection, version: i16) -> Result<(ApiVersionsResponse, bool), PeerError> {
    let request = ApiVersionsRequest {
        client_software_name: Text::from_static("barnabas"),
        client_software_version: Text::from_static(env!("CARGO_PKG_VERSION")),
    };
    let body = connection
        .ask(ApiKey::ApiVersions, version, |w| request.encode(w, version))
        .await?;
    let refused = || {
        let answer: ApiVersionsResponse = decode(0, body.clone()).ok()?;
        (answer.error_code == ErrorCode::UnsupportedVersion.code()).then_some(answer)
    };
    match decode(version, body.clone()) {
        Ok(answer) => Ok((answer, true)),
        Err(why) => match refused() {
            Some(refusal) => Ok((refusal, false)),
            None => {
                connection.close();
                Err(why.into())
            }
        },
    }
}
