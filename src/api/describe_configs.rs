//! DescribeConfigs, key 32, v0 to v4: configs of topics, of this broker, of all brokers (empty name) and its log levels.
//!
//! v1 adds synonyms, v3 types and documentation. As in Kafka 3.9, `is_default` of v0 is always false. Deviations: the
//! documentation is ours; log levels are those of our rooms. (`ConfigHelper`)

use super::config_resource::{Failure, Kind, View, authorize};
use super::context::{Operation, RequestContext};
use crate::base::error_code::ErrorCode;
use crate::config::describe::{self, Entry, Source};
use crate::wire::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};
use crate::wire::text::Text;

/// The answer to `request`.
pub fn respond(
    request: &DescribeConfigsRequest,
    context: &RequestContext,
    view: &View<'_>,
) -> DescribeConfigsResponse {
    let unknown = request
        .resources
        .iter()
        .find(|resource| Kind::from_id(resource.resource_type).is_none());
    if let Some(resource) = unknown {
        // As in Kafka, one such resource spoils the whole request.
        let failure = Failure::request(format!(
            "resources of type {} have no configs",
            resource.resource_type
        ));
        let results = request.resources.iter();
        return response(
            results
                .map(|resource| failed(resource, failure.clone()))
                .collect(),
        );
    }
    let (mut results, mut refused) = (Vec::new(), Vec::new());
    for resource in &request.resources {
        let kind = Kind::from_id(resource.resource_type).unwrap_or(Kind::Topic);
        match authorize(context, Operation::DescribeConfigs, kind, &resource.resource_name) {
            Ok(()) => results.push(match entries(kind, &resource.resource_name, view) {
                Ok(entries) => described(request, resource, entries),
                Err(failure) => failed(resource, failure),
            }),
            Err(failure) => refused.push(failed(resource, failure)),
        }
    }
    results.append(&mut refused);
    response(results)
}

fn response(results: Vec<DescribeConfigsResult>) -> DescribeConfigsResponse {
    DescribeConfigsResponse {
        results,
        ..DescribeConfigsResponse::default()
    }
}

fn failed(resource: &DescribeConfigsResource, failure: Failure) -> DescribeConfigsResult {
    DescribeConfigsResult {
        error_code: failure.code.code(),
        error_message: Some(failure.message.map(Text::from).unwrap_or_default()),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        configs: Vec::new(),
    }
}

fn entries(kind: Kind, name: &str, view: &View<'_>) -> Result<Vec<Entry>, Failure> {
    match kind {
        Kind::Topic => Ok(describe::topic(view.config, &view.topic(name)?)),
        Kind::Broker if name.is_empty() => Ok(describe::all_brokers(view.config)),
        Kind::Broker => {
            view.this_broker(name)?;
            Ok(describe::broker(view.config))
        }
        Kind::BrokerLogger if name.is_empty() => Err(Failure::request("a broker's id must be given")),
        Kind::BrokerLogger => {
            view.this_broker(name)?;
            Ok(view.levels.list().into_iter().map(log_level).collect())
        }
        Kind::ClientMetrics if name.is_empty() => Err(Failure::request(
            "the name of a metrics subscription must be given",
        )),
        Kind::ClientMetrics => Err(Failure::request(
            "metrics subscriptions exist in KRaft clusters only",
        )),
    }
}

fn log_level((name, level): (String, crate::config::LogLevel)) -> Entry {
    Entry {
        name,
        value: Some(level.name().to_owned()),
        source: Source::DynamicBrokerLogger,
        read_only: false,
        sensitive: false,
        kind: None,
        documentation: None,
        synonyms: Vec::new(),
    }
}

fn described(
    request: &DescribeConfigsRequest,
    resource: &DescribeConfigsResource,
    entries: Vec<Entry>,
) -> DescribeConfigsResult {
    let asked = resource.configuration_keys.as_deref().unwrap_or_default();
    let configs = entries
        .into_iter()
        .filter(|entry| asked.is_empty() || asked.iter().any(|name| name.as_str() == entry.name))
        .map(|entry| shown(request, entry))
        .collect();
    DescribeConfigsResult {
        error_code: ErrorCode::None.code(),
        error_message: Some(Text::EMPTY),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        configs,
    }
}

fn shown(request: &DescribeConfigsRequest, entry: Entry) -> DescribeConfigsResourceResult {
    let synonyms = if request.include_synonyms {
        entry.synonyms
    } else {
        Vec::new()
    };
    let documentation = entry.documentation.filter(|_| request.include_documentation);
    DescribeConfigsResourceResult {
        name: entry.name.into(),
        value: entry.value.map(Text::from),
        read_only: entry.read_only,
        config_source: entry.source.id(),
        is_sensitive: entry.sensitive,
        synonyms: synonyms
            .into_iter()
            .map(|synonym| DescribeConfigsSynonym {
                name: synonym.name.into(),
                value: synonym.value.map(Text::from),
                source: synonym.source.id(),
            })
            .collect(),
        config_type: describe::kind_id(entry.kind),
        documentation: documentation.map(Text::from),
        ..DescribeConfigsResourceResult::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::config_resource::testing::{self, context, topics};
    use super::*;
    use crate::config::{BrokerConfig, LogLevels};

    fn ask(resources: &[(i8, &str, Option<&[&str]>)], synonyms: bool) -> DescribeConfigsResponse {
        let request = DescribeConfigsRequest {
            resources: resources
                .iter()
                .map(|(kind, name, keys)| DescribeConfigsResource {
                    resource_type: *kind,
                    resource_name: Text::copy(name),
                    configuration_keys: keys.map(|keys| keys.iter().map(|key| Text::copy(key)).collect()),
                })
                .collect(),
            include_synonyms: synonyms,
            include_documentation: synonyms,
        };
        let config = BrokerConfig::from_pairs(&[]).unwrap();
        let all = BTreeMap::from([("log.segment.bytes".to_owned(), "1000".to_owned())]);
        let config = config.with_dynamic(&all, &BTreeMap::new()).unwrap();
        let levels = LogLevels::default();
        let view = testing::view(&config, &levels, &topics);
        respond(&request, &context(4), &view)
    }

    #[test]
    fn topics_and_brokers_have_all_their_configs_or_those_asked_for() {
        let response = ask(
            &[
                (2, "t", None),
                (4, "7", Some(&[])),
                (4, "", None),
                (2, "t", Some(&["retention.ms", "no.such"])),
            ],
            true,
        );
        let counts: Vec<_> = response
            .results
            .iter()
            .map(|result| result.configs.len())
            .collect();
        assert_eq!(counts[0], 36);
        assert!(counts[1] > 310);
        assert_eq!(&counts[2..], [1, 1]);
        let retention = &response.results[3].configs[0];
        assert_eq!(retention.value, Some(Text::from("5")));
        assert_eq!(retention.config_source, 1);
        assert_eq!(retention.config_type, 5);
        assert!(retention.documentation.is_some());
        assert_eq!(retention.synonyms.len(), 1);
    }

    #[test]
    fn synonyms_and_documentation_come_only_when_asked_for() {
        let response = ask(&[(2, "t", Some(&["retention.ms"]))], false);
        let retention = &response.results[0].configs[0];
        assert!(retention.synonyms.is_empty());
        assert_eq!(retention.documentation, None);
    }

    #[test]
    fn log_levels_are_configs_of_the_broker() {
        let response = ask(&[(8, "7", None), (8, "", None), (8, "6", None)], true);
        let root = response.results[0]
            .configs
            .iter()
            .find(|config| config.name == "root")
            .unwrap();
        assert_eq!(root.value, Some(Text::from("INFO")));
        assert_eq!(root.config_source, 6);
        assert_eq!(response.results[1].error_code, ErrorCode::InvalidRequest.code());
        assert_eq!(response.results[2].error_code, ErrorCode::InvalidRequest.code());
    }

    #[test]
    fn errors_stand_at_their_resource() {
        let response = ask(
            &[
                (2, "missing", None),
                (2, "a/b", None),
                (4, "x", None),
                (4, "8", None),
                (16, "", None),
                (16, "m", None),
            ],
            true,
        );
        let codes: Vec<_> = response.results.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, [3, 17, 42, 42, 42, 42]);
        assert_eq!(response.results[0].error_message, Some(Text::EMPTY));
        let response = ask(&[(2, "t", None), (3, "x", None)], true);
        let codes: Vec<_> = response.results.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, [42, 42]);
    }
}
