//! DescribeConfigs, key 32, v0 to v4: configs of topics, of this broker, of all brokers (empty name) and its log levels.
//!
//! v1 adds synonyms, v3 types and documentation. As in Kafka 3.9, `is_default` of v0 is always false. Deviations: the
//! documentation is ours; log levels are those of our rooms; a resource that is named more than once is answered once, with
//! all that is wanted of it: its answer may be a hundred kilobytes, and its name three bytes. (`ConfigHelper`)

use std::collections::{BTreeMap, BTreeSet};

use super::config_resource::{Failure, Kind, View, authorize};
use super::context::{Operation, RequestContext};
use crate::base::error_code::ErrorCode;
use crate::config::describe::{self, Entry, Source};
use crate::wire::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult,
    DescribeConfigsSynonym,
};
use crate::wire::text::Text;

/// A resource that is asked about, once, however often it is named.
pub struct Question<'a> {
    kind: Kind,
    resource_type: i8,
    name: &'a Text,
    /// The configs that are wanted; `None` is all.
    keys: Option<BTreeSet<&'a str>>,
}

/// What `request` asks about: each resource where it is first named, with all the keys that are wanted of it.
///
/// # Errors
/// The whole answer, when one resource has no configs: as in Kafka it spoils the request.
pub fn questions(request: &DescribeConfigsRequest) -> Result<Vec<Question<'_>>, DescribeConfigsResponse> {
    let mut places = BTreeMap::new();
    let mut questions: Vec<Question<'_>> = Vec::new();
    for resource in &request.resources {
        let Some(kind) = Kind::from_id(resource.resource_type) else {
            return Err(spoilt(request, resource.resource_type));
        };
        let keys = resource.configuration_keys.as_deref().unwrap_or_default();
        let name = &resource.resource_name;
        let key = (resource.resource_type, name.as_str());
        let place = *places.entry(key).or_insert(questions.len());
        match questions.get_mut(place) {
            Some(known) if keys.is_empty() => known.keys = None,
            Some(known) => {
                if let Some(known) = &mut known.keys {
                    known.extend(keys.iter().map(Text::as_str));
                }
            }
            None => questions.push(Question {
                kind,
                resource_type: resource.resource_type,
                name,
                keys: (!keys.is_empty()).then(|| keys.iter().map(Text::as_str).collect()),
            }),
        }
    }
    Ok(questions)
}

fn spoilt(request: &DescribeConfigsRequest, unknown: i8) -> DescribeConfigsResponse {
    let failure = Failure::request(format!("resources of type {unknown} have no configs"));
    let mut seen = BTreeSet::new();
    let resources = request.resources.iter();
    let once = resources.filter(|one| seen.insert((one.resource_type, one.resource_name.as_str())));
    let failed = once.map(|one| failed(one.resource_type, &one.resource_name, failure.clone()));
    DescribeConfigsResponse {
        results: failed.collect(),
        ..DescribeConfigsResponse::default()
    }
}

/// The answers to the questions of a request, as they come.
#[derive(Default)]
pub struct Answers {
    results: Vec<DescribeConfigsResult>,
    refused: Vec<DescribeConfigsResult>,
}

impl Answers {
    /// Answers one more question.
    pub fn answer(
        &mut self,
        question: &Question<'_>,
        request: &DescribeConfigsRequest,
        context: &RequestContext,
        view: &View<'_>,
    ) {
        match authorize(context, Operation::DescribeConfigs, question.kind, question.name) {
            Ok(()) => self.results.push(match question.entries(view) {
                Ok(entries) => question.described(request, entries),
                Err(failure) => question.failed(failure),
            }),
            Err(failure) => self.refused.push(question.failed(failure)),
        }
    }

    /// The response: what the client may not see comes last.
    pub fn response(mut self) -> DescribeConfigsResponse {
        self.results.append(&mut self.refused);
        DescribeConfigsResponse {
            results: self.results,
            ..DescribeConfigsResponse::default()
        }
    }
}

fn failed(resource_type: i8, name: &Text, failure: Failure) -> DescribeConfigsResult {
    DescribeConfigsResult {
        error_code: failure.code.code(),
        error_message: Some(failure.message.map(Text::from).unwrap_or_default()),
        resource_type,
        resource_name: name.clone(),
        configs: Vec::new(),
    }
}

impl Question<'_> {
    fn entries(&self, view: &View<'_>) -> Result<Vec<Entry>, Failure> {
        let name = self.name.as_str();
        let is_wanted = |key: &str| self.keys.as_ref().is_none_or(|keys| keys.contains(key));
        match self.kind {
            Kind::Topic => Ok(describe::topic_where(view.config, &view.topic(name)?, is_wanted)),
            Kind::Broker if name.is_empty() => Ok(describe::all_brokers_where(view.config, is_wanted)),
            Kind::Broker => {
                view.this_broker(name)?;
                Ok(describe::broker_where(view.config, is_wanted))
            }
            Kind::BrokerLogger if name.is_empty() => Err(Failure::request("a broker's id must be given")),
            Kind::BrokerLogger => {
                view.this_broker(name)?;
                let levels = view.levels.list().into_iter();
                let wanted = levels.filter(|(name, _)| is_wanted(name));
                Ok(wanted.map(log_level).collect())
            }
            Kind::ClientMetrics if name.is_empty() => Err(Failure::request(
                "the name of a metrics subscription must be given",
            )),
            Kind::ClientMetrics => Err(Failure::request(
                "metrics subscriptions exist in KRaft clusters only",
            )),
        }
    }

    fn failed(&self, failure: Failure) -> DescribeConfigsResult {
        failed(self.resource_type, self.name, failure)
    }

    fn described(&self, request: &DescribeConfigsRequest, entries: Vec<Entry>) -> DescribeConfigsResult {
        DescribeConfigsResult {
            error_code: ErrorCode::None.code(),
            error_message: Some(Text::EMPTY),
            resource_type: self.resource_type,
            resource_name: self.name.clone(),
            configs: entries.into_iter().map(|entry| shown(request, entry)).collect(),
        }
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
    use super::super::config_resource::testing::{self, context, topics};
    use super::*;
    use crate::config::{BrokerConfig, LogLevels};
    use crate::wire::messages::describe_configs::DescribeConfigsResource;

    fn respond(
        request: &DescribeConfigsRequest,
        context: &RequestContext,
        view: &View<'_>,
    ) -> DescribeConfigsResponse {
        let questions = match questions(request) {
            Ok(questions) => questions,
            Err(response) => return response,
        };
        let mut answers = Answers::default();
        for question in &questions {
            answers.answer(question, request, context, view);
        }
        answers.response()
    }

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
                (8, "7", Some(&["root", "no.such"])),
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
        let response = ask(&[(2, "t", Some(&["retention.ms", "no.such"]))], true);
        assert_eq!(response.results[0].configs.len(), 1);
        let retention = &response.results[0].configs[0];
        assert_eq!(retention.value, Some(Text::from("5")));
        assert_eq!(retention.config_source, 1);
        assert_eq!(retention.config_type, 5);
        assert!(retention.documentation.is_some());
        assert_eq!(retention.synonyms.len(), 1);
    }

    #[test]
    fn a_resource_that_is_named_again_is_answered_once_with_all_that_is_wanted() {
        let again: (i8, &str, Option<&[&str]>) = (2, "t", Some(&["retention.ms", "segment.ms"]));
        let response = ask(
            &[
                again,
                (4, "7", None),
                again,
                (2, "t", Some(&["index.interval.bytes"])),
                (4, "7", Some(&["num.partitions"])),
                (2, "u", None),
                (2, "u", None),
            ],
            false,
        );
        let names: Vec<_> = response
            .results
            .iter()
            .map(|result| result.resource_name.as_str())
            .collect();
        assert_eq!(names, ["t", "7", "u"]);
        let keys: Vec<_> = response.results[0]
            .configs
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(keys, ["index.interval.bytes", "retention.ms", "segment.ms"]);
        assert!(response.results[1].configs.len() > 310);
        // What asks for all of them is not narrowed by what comes before, either.
        let response = ask(&[again, (2, "t", Some(&[]))], false);
        assert_eq!(response.results.len(), 1);
        assert_eq!(response.results[0].configs.len(), 36);
        let response = ask(&[(3, "x", None), (2, "t", None), (3, "x", None)], false);
        assert_eq!(response.results.len(), 2);
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
