//! IncrementalAlterConfigs, key 44, v0 and v1: sets, deletes, appends and subtracts configs of topics, of this broker,
//! of all brokers (empty name) and its log levels (`ConfigAdminManager`, `ZkAdminManager.incrementalAlterConfigs`).
//!
//! Deviations: where Kafka fails with UNKNOWN_SERVER_ERROR (an unknown key or operation), this says what is wrong.

use super::alter_configs::{Change, Planned, change_broker, change_topic, duplicates};
use super::config_resource::{Failure, Kind, View, authorize};
use super::context::{Operation, RequestContext};
use crate::config::ConfigError;
use crate::config::alter::{AlterError, Changes, Operation as Op};
use crate::wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

/// What `request` asks for, a plan a resource. Log levels are set already unless it only validates.
pub fn plan(
    request: &IncrementalAlterConfigsRequest,
    context: &RequestContext,
    view: &View<'_>,
) -> Vec<Planned> {
    let twice = duplicates(
        request
            .resources
            .iter()
            .map(|resource| (resource.resource_type, resource.resource_name.as_str())),
    );
    request
        .resources
        .iter()
        .map(|resource| {
            if twice.contains(&(resource.resource_type, resource.resource_name.as_str())) {
                return Err(Failure::request("each resource may come only once"));
            }
            let planned = one(resource, request.validate_only, context, view)?;
            Ok(planned.filter(|_| !request.validate_only))
        })
        .collect()
}

/// The answer: what became of each resource, in the order of the request.
pub fn respond(
    request: &IncrementalAlterConfigsRequest,
    outcomes: Vec<Result<(), Failure>>,
) -> IncrementalAlterConfigsResponse {
    let responses = request
        .resources
        .iter()
        .zip(outcomes)
        .map(|(resource, outcome)| {
            let (code, message) = super::alter_configs::coded(outcome);
            AlterConfigsResourceResponse {
                error_code: code,
                error_message: message,
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.clone(),
            }
        })
        .collect();
    IncrementalAlterConfigsResponse {
        responses,
        ..IncrementalAlterConfigsResponse::default()
    }
}

/// What is asked for one resource, as the rule of changes has it.
pub(super) fn changes(resource: &AlterConfigsResource) -> Changes {
    let changes = resource.configs.iter().map(|config| {
        let value = config.value.as_ref().map(ToString::to_string);
        (
            config.name.to_string(),
            Op::from_id(config.config_operation),
            value,
        )
    });
    Changes::Incremental(changes.collect())
}

fn one(
    resource: &AlterConfigsResource,
    validate_only: bool,
    context: &RequestContext,
    view: &View<'_>,
) -> Result<Option<Change>, Failure> {
    let name = resource.resource_name.as_str();
    let Some(kind) = Kind::from_id(resource.resource_type) else {
        let message = format!("resources of type {} have no configs", resource.resource_type);
        return Err(Failure::request(message));
    };
    let changes = changes(resource);
    changes.check_shape()?;
    authorize(context, Operation::AlterConfigs, kind, name)?;
    match kind {
        Kind::Topic => change_topic(view, name, &changes).map(Some),
        Kind::Broker => change_broker(view, name, &changes).map(Some),
        Kind::BrokerLogger => {
            view.this_broker(name)?;
            log_levels(&changes, validate_only, view).map(|()| None)
        }
        Kind::ClientMetrics => Err(Failure::request(
            "metrics subscriptions exist in KRaft clusters only",
        )),
    }
}

/// Checks all changes of log levels before it makes the first.
fn log_levels(changes: &Changes, validate_only: bool, view: &View<'_>) -> Result<(), Failure> {
    let Changes::Incremental(changes) = changes else {
        return Ok(());
    };
    let bad = |error: ConfigError| Failure::from(AlterError::Config(error));
    for (name, operation, value) in changes {
        let value = value.as_deref().unwrap_or_default();
        match operation {
            Some(Op::Set) => view.levels.check(name, value).map_err(bad)?,
            Some(Op::Delete) if name == "root" => {
                return Err(Failure::request("the root logger always has a level"));
            }
            Some(Op::Delete) => view.levels.check(name, "INFO").map_err(bad)?,
            Some(Op::Append | Op::Subtract) | None => {
                return Err(Failure::request("a log level can only be set or deleted"));
            }
        }
    }
    if validate_only {
        return Ok(());
    }
    for (name, operation, value) in changes {
        let value = value.as_deref().unwrap_or_default();
        match operation {
            Some(Op::Set) => view.levels.set(name, value).map_err(bad)?,
            _ => view.levels.clear(name).map_err(bad)?,
        }
        tracing::info!(logger = name, level = value, "log level changed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::alter_configs::Target;
    use super::super::config_resource::testing::{self, context, topics};
    use super::*;
    use crate::config::{BrokerConfig, LogLevel, LogLevels};
    use crate::wire::messages::incremental_alter_configs::AlterableConfig;
    use crate::wire::text::Text;

    type Resource<'a> = (i8, &'a str, &'a [(&'a str, i8, Option<&'a str>)]);

    fn request(resources: &[Resource<'_>], validate_only: bool) -> IncrementalAlterConfigsRequest {
        let resources = resources
            .iter()
            .map(|(kind, name, configs)| AlterConfigsResource {
                resource_type: *kind,
                resource_name: Text::copy(name),
                configs: configs
                    .iter()
                    .map(|(name, operation, value)| AlterableConfig {
                        name: Text::copy(name),
                        config_operation: *operation,
                        value: value.map(Text::copy),
                    })
                    .collect(),
            });
        IncrementalAlterConfigsRequest {
            resources: resources.collect(),
            validate_only,
        }
    }

    fn planned(resources: &[Resource<'_>], validate_only: bool, levels: &LogLevels) -> Vec<Planned> {
        let config = BrokerConfig::from_pairs(&[]).unwrap();
        let view = testing::view(&config, levels, &topics);
        plan(&request(resources, validate_only), &context(1), &view)
    }

    fn code(resource: Resource<'_>) -> i16 {
        let outcome = planned(&[resource], false, &LogLevels::default()).remove(0);
        super::super::alter_configs::coded(outcome.map(|_| ())).0
    }

    #[test]
    fn changes_are_made_on_top_of_what_is_set() {
        let levels = LogLevels::default();
        let plans = planned(
            &[
                (
                    2,
                    "t",
                    &[
                        ("cleanup.policy", 2, Some("compact")),
                        ("segment.ms", 0, Some("9")),
                    ],
                ),
                (4, "", &[("log.segment.bytes", 0, Some("1000"))]),
                (4, "7", &[("message.max.bytes", 0, Some("1000"))]),
            ],
            false,
            &levels,
        );
        let changes: Vec<_> = plans.into_iter().map(|plan| plan.unwrap().unwrap()).collect();
        assert_eq!(changes[0].target, Target::Topic("t".to_owned()));
        assert_eq!(
            changes[0]
                .configs
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>(),
            ["cleanup.policy=delete,compact", "retention.ms=5", "segment.ms=9"]
        );
        assert_eq!(changes[1].target, Target::AllBrokers);
        assert_eq!(changes[2].target, Target::ThisBroker);
        let plans = planned(&[(2, "t", &[("retention.ms", 1, None)])], false, &levels);
        assert!(plans[0].as_ref().unwrap().as_ref().unwrap().configs.is_empty());
    }

    #[test]
    fn validation_alone_changes_nothing() {
        let levels = LogLevels::default();
        let plans = planned(
            &[
                (2, "t", &[("segment.ms", 0, Some("9"))]),
                (8, "7", &[("barnabas.net", 0, Some("DEBUG"))]),
            ],
            true,
            &levels,
        );
        assert_eq!(plans, [Ok(None), Ok(None)]);
        assert_eq!(levels.of_target("barnabas::net"), LogLevel::Info);
    }

    #[test]
    fn log_levels_change_all_or_none() {
        let levels = LogLevels::default();
        planned(&[(8, "7", &[("barnabas.net", 0, Some("DEBUG"))])], false, &levels);
        assert_eq!(levels.of_target("barnabas::net"), LogLevel::Debug);
        let plans = planned(
            &[(8, "7", &[("root", 0, Some("WARN")), ("x", 0, Some("WARN"))])],
            false,
            &levels,
        );
        assert!(plans[0].is_err());
        assert_eq!(levels.root(), LogLevel::Info);
        planned(&[(8, "7", &[("barnabas.net", 1, None)])], false, &levels);
        assert_eq!(levels.of_target("barnabas::net"), LogLevel::Info);
    }

    #[test]
    fn errors_have_kafkas_codes() {
        for (resource, expected) in [
            ((2, "missing", &[("segment.ms", 0, Some("9"))][..]), 3),
            ((2, "", &[("segment.ms", 0, Some("9"))]), 42),
            ((2, "t", &[("segment.ms", 0, Some("0"))]), 40),
            ((2, "t", &[("no.such", 0, Some("0"))]), 40),
            ((2, "t", &[("segment.ms", 2, Some("1"))]), 40),
            ((2, "t", &[("segment.ms", 0, None)]), 42),
            ((2, "t", &[("segment.ms", 9, Some("1"))]), 42),
            (
                (2, "t", &[("segment.ms", 0, Some("1")), ("segment.ms", 1, None)]),
                42,
            ),
            ((4, "8", &[("log.segment.bytes", 0, Some("1000"))]), 42),
            ((4, "7", &[("num.partitions", 0, Some("2"))]), 42),
            (
                (4, "", &[("advertised.listeners", 0, Some("PLAINTEXT://h:1"))]),
                42,
            ),
            ((4, "7", &[("log.segment.bytes", 0, Some("x"))]), 42),
            ((8, "7", &[("no.logger", 0, Some("INFO"))]), 40),
            ((8, "7", &[("root", 1, None)]), 42),
            ((8, "7", &[("root", 2, Some("INFO"))]), 42),
            ((3, "x", &[]), 42),
        ] {
            assert_eq!(code(resource), expected, "{resource:?}");
        }
        let twice: Resource<'_> = (2, "t", &[]);
        assert!(
            planned(&[twice, twice], false, &LogLevels::default())
                .iter()
                .all(Result::is_err)
        );
    }
}
