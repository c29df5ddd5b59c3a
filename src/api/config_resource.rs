//! What DescribeConfigs, AlterConfigs and IncrementalAlterConfigs have in common: the resources that have configs, and
//! what this broker knows of them.

use super::context::{Operation, RequestContext, Resource};
use crate::base::error_code::ErrorCode;
use crate::config::alter::AlterError;
pub use crate::config::alter::Configs;
use crate::config::{BrokerConfig, LogLevels};

/// The numbers of `ConfigResource.Type`.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;

/// What has configs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Topic,
    Broker,
    BrokerLogger,
    ClientMetrics,
}

impl Kind {
    pub(super) const fn id(self) -> i8 {
        match self {
            Self::Topic => TOPIC,
            Self::Broker => BROKER,
            Self::BrokerLogger => BROKER_LOGGER,
            Self::ClientMetrics => CLIENT_METRICS,
        }
    }

    pub(super) fn from_id(id: i8) -> Option<Self> {
        match id {
            TOPIC => Some(Self::Topic),
            BROKER => Some(Self::Broker),
            BROKER_LOGGER => Some(Self::BrokerLogger),
            CLIENT_METRICS => Some(Self::ClientMetrics),
            _ => None,
        }
    }
}

/// What this broker knows of configs.
pub struct View<'a> {
    /// Its number.
    pub broker_id: i32,
    /// Its configuration, the dynamic part included.
    pub config: &'a BrokerConfig,
    /// Its log levels.
    pub levels: &'a LogLevels,
    /// The overrides of a topic; an error for a topic that is not there or cannot be.
    pub topic: &'a dyn Fn(&str) -> Result<Configs, ErrorCode>,
}

/// An error for one resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The code.
    pub code: ErrorCode,
    /// What is wrong; `None` where Kafka says nothing either.
    pub message: Option<String>,
}

impl Failure {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: Some(message.into()),
        }
    }

    pub(super) fn request(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }
}

impl From<AlterError> for Failure {
    fn from(error: AlterError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// Whether the client may do `operation` to the configs of a resource.
pub(super) fn authorize(
    context: &RequestContext,
    operation: Operation,
    kind: Kind,
    name: &str,
) -> Result<(), Failure> {
    let (resource, code) = match kind {
        Kind::Topic => (Resource::Topic(name), ErrorCode::TopicAuthorizationFailed),
        _ => (Resource::Cluster, ErrorCode::ClusterAuthorizationFailed),
    };
    if context.authorize(operation, resource) {
        Ok(())
    } else {
        Err(Failure { code, message: None })
    }
}

impl View<'_> {
    /// The overrides of a topic.
    pub(super) fn topic(&self, name: &str) -> Result<Configs, Failure> {
        (self.topic)(name).map_err(|code| Failure {
            code,
            message: match code {
                ErrorCode::UnknownTopicOrPartition => None,
                _ => Some(format!("{} is no name for a topic", name.escape_debug())),
            },
        })
    }

    /// Checks that `name` is this broker's number.
    pub(super) fn this_broker(&self, name: &str) -> Result<(), Failure> {
        let id: i32 = name.parse().map_err(|_| {
            Failure::request(format!(
                "a broker's id must be a whole number, not {}",
                name.escape_debug()
            ))
        })?;
        if id == self.broker_id {
            Ok(())
        } else {
            Err(Failure::request(format!(
                "this is broker {}; configs of broker {id} are asked of itself",
                self.broker_id
            )))
        }
    }
}

#[cfg(test)]
pub(super) mod testing {
    //! A broker 7 with a topic `t`.

    use std::collections::BTreeMap;

    use super::*;
    pub use crate::api::testing::context;

    pub fn topics(name: &str) -> Result<Configs, ErrorCode> {
        match name {
            "t" => Ok(BTreeMap::from([("retention.ms".to_owned(), "5".to_owned())])),
            "a/b" => Err(ErrorCode::InvalidTopicException),
            _ => Err(ErrorCode::UnknownTopicOrPartition),
        }
    }

    pub fn view<'a>(
        config: &'a BrokerConfig,
        levels: &'a LogLevels,
        topic: &'a dyn Fn(&str) -> Result<Configs, ErrorCode>,
    ) -> View<'a> {
        View {
            broker_id: 7,
            config,
            levels,
            topic,
        }
    }
}
