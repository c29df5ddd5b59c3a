//! UpdateFeatures (key 57), versions 0 to 2: levels of features that the cluster is to agree on.
//!
//! What differs: a flag that allows lower levels in version 0, a kind of change from 1, no results for single features
//! from 2, where one that fails fails all, with the code of a Kafka 4 that does not know the feature. Ordering point: completed. No feature has levels here, as in a Kafka with
//! ZooKeeper, so each change is refused for its own reason (`KafkaController.validateFeatureUpdate`).

use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::wire::messages::update_features::{
    FeatureUpdateKey, UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse,
};
use crate::wire::response::Response;
use crate::wire::text::Text;

/// `FeatureUpdate.UpgradeType.UPGRADE`.
const UPGRADE: i8 = 1;
/// All kinds of change: up, down without loss, down with loss.
const KINDS: std::ops::RangeInclusive<i8> = 1..=3;
/// The first version without results.
const ALL_OR_NONE: i16 = 2;

/// Refuses each change.
///
/// # Errors
/// None.
pub(super) async fn handle(
    _services: &Arc<Services>,
    context: &RequestContext,
    request: UpdateFeaturesRequest,
) -> Result<Answer, Rejected> {
    let mut response = UpdateFeaturesResponse {
        error_message: None,
        ..UpdateFeaturesResponse::default()
    };
    if context.authorize(Operation::Alter, Resource::Cluster) {
        let results = request
            .feature_updates
            .iter()
            .map(|update| UpdatableFeatureResult {
                feature: update.feature.clone(),
                error_code: ErrorCode::InvalidRequest.code(),
                error_message: Some(Text::from(reason(update, context.api_version))),
            });
        response.results = results.collect();
        if context.api_version >= ALL_OR_NONE
            && let Some(first) = response.results.drain(..).next()
        {
            let feature = first.feature.escape_debug();
            let why = first.error_message.unwrap_or_default();
            response.error_code = ErrorCode::InvalidUpdateVersion.code();
            response.error_message = Some(Text::from(format!(
                "nothing is changed, because of {feature}: {why}"
            )));
        }
    } else {
        response.error_code = ErrorCode::ClusterAuthorizationFailed.code();
    }
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

fn reason(update: &FeatureUpdateKey, version: i16) -> &'static str {
    let is_upgrade = if version == 0 {
        !update.allow_downgrade
    } else {
        update.upgrade_type == UPGRADE
    };
    if update.feature.is_empty() {
        "the name of the feature is empty"
    } else if version > 0 && !KINDS.contains(&update.upgrade_type) {
        "there is no such kind of change"
    } else if update.max_version_level >= 1 {
        "there is no such feature"
    } else if is_upgrade {
        "a level below 1 takes a feature away, which only a downgrade may do"
    } else {
        "the feature has no level that could be taken away"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(feature: &str, level: i16, allow_downgrade: bool, upgrade_type: i8) -> FeatureUpdateKey {
        FeatureUpdateKey {
            feature: Text::copy(feature),
            max_version_level: level,
            allow_downgrade,
            upgrade_type,
        }
    }

    #[test]
    fn each_change_is_refused_for_its_own_reason() {
        for (update, version, says) in [
            (update("", 1, false, 1), 1, "is empty"),
            (update("f", 1, false, 0), 1, "no such kind"),
            (update("f", 1, false, 4), 2, "no such kind"),
            // The kind is not on the wire in version 0.
            (update("f", 1, false, 9), 0, "no such feature"),
            (update("f", 21, false, 1), 1, "no such feature"),
            (update("f", 1, true, 3), 1, "no such feature"),
            (update("f", 0, false, 1), 1, "only a downgrade"),
            (update("f", 0, false, 1), 0, "only a downgrade"),
            (update("f", 0, true, 1), 0, "no level"),
            (update("f", -1, false, 2), 1, "no level"),
        ] {
            let reason = reason(&update, version);
            assert!(reason.contains(says), "{update:?} in version {version}: {reason}");
        }
    }
}
