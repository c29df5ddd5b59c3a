//! Changes of configs, and the one rule of what they may be: whoever is asked to change a topic's or a broker's configs
//! (`api/`, before it asks the controller) and whoever stores them (`controller/`, against what is stored by then) ask
//! here (`ConfigAdminManager.preprocess`, `.prepareIncrementalConfigs`, `ZkAdminManager.alterConfigs`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::broker::BrokerConfig;
use super::checks;
use super::error::ConfigError;
use super::log_config::LogConfig;
use super::table::{self, Key, Kind};
use super::value::split_list;
use crate::base::error_code::ErrorCode;

/// Configs by name.
pub type Configs = BTreeMap<String, String>;

/// What to do to a config (`AlterConfigOp.OpType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Give it this value.
    Set,
    /// Take its value away.
    Delete,
    /// Add these items to a list.
    Append,
    /// Take these items out of a list.
    Subtract,
}

impl Operation {
    /// The operation with this number in the protocol.
    pub fn from_id(id: i8) -> Option<Self> {
        match id {
            0 => Some(Self::Set),
            1 => Some(Self::Delete),
            2 => Some(Self::Append),
            3 => Some(Self::Subtract),
            _ => None,
        }
    }
}

/// How configs are to change, as a client asked for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Changes {
    /// These and no others are to be set (AlterConfigs).
    Replace(Vec<(String, Option<String>)>),
    /// One after the other (IncrementalAlterConfigs). `None`: an operation that does not exist.
    Incremental(Vec<(String, Option<Operation>, Option<String>)>),
}

/// Whose configs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entity {
    /// A topic's.
    Topic,
    /// This broker's.
    ThisBroker,
    /// Those of all brokers.
    AllBrokers,
}

/// Why configs are not changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AlterError {
    /// What was asked for cannot be asked for.
    Request(String),
    /// A config is unknown, or may not have the value.
    Config(ConfigError),
}

impl AlterError {
    /// The code that Kafka answers.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Request(_) => ErrorCode::InvalidRequest,
            Self::Config(_) => ErrorCode::InvalidConfig,
        }
    }
}

impl fmt::Display for AlterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(what) => f.write_str(what),
            Self::Config(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AlterError {}

fn request<T>(what: impl Into<String>) -> Result<T, AlterError> {
    Err(AlterError::Request(what.into()))
}

impl Entity {
    fn key(self, name: &str) -> Option<&'static Key> {
        match self {
            Self::Topic => table::topic_key(name),
            Self::ThisBroker | Self::AllBrokers => {
                table::broker_key(name).or_else(|| checks::listener_key(name))
            }
        }
    }
}

impl Changes {
    /// Checks what can be wrong whatever the configs are.
    ///
    /// # Errors
    /// A config that is named twice or lacks its value, an operation that does not exist.
    pub fn check_shape(&self) -> Result<(), AlterError> {
        let mut names = BTreeSet::new();
        let mut check = |name: &String, wants_value: bool, value: &Option<String>| {
            if !names.insert(name.clone()) {
                return request("each config may come only once");
            }
            if wants_value && value.is_none() {
                return request(format!("{} wants a value", name.escape_debug()));
            }
            Ok(())
        };
        match self {
            Self::Replace(configs) => configs
                .iter()
                .try_for_each(|(name, value)| check(name, true, value)),
            Self::Incremental(operations) => operations.iter().try_for_each(|(name, operation, value)| {
                if operation.is_none() {
                    return request(format!(
                        "there is no such operation on a config as is asked for {}",
                        name.escape_debug()
                    ));
                }
                check(name, *operation != Some(Operation::Delete), value)
            }),
        }
    }
}

/// What the configs `before` become by `changes`, if they may. `broker` is what this broker runs with.
///
/// # Errors
/// The first config that may not be changed so.
pub fn altered(
    entity: Entity,
    broker: &BrokerConfig,
    before: &Configs,
    changes: &Changes,
) -> Result<Configs, AlterError> {
    let after = apply(entity, before.clone(), changes).map_err(AlterError::Config)?;
    match entity {
        Entity::Topic => {
            LogConfig::new(broker, &after).map_err(AlterError::Config)?;
        }
        Entity::ThisBroker | Entity::AllBrokers => check_broker(entity, broker, before, &after)?,
    }
    Ok(after)
}

fn apply(entity: Entity, mut configs: Configs, changes: &Changes) -> Result<Configs, ConfigError> {
    let operations = match changes {
        Changes::Replace(new) => {
            return Ok(new
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), value.clone()?)))
                .collect());
        }
        Changes::Incremental(operations) => operations,
    };
    for (name, operation, value) in operations {
        let value = value.as_deref().unwrap_or_default();
        match operation {
            None => {}
            Some(Operation::Set) => {
                configs.insert(name.clone(), value.to_owned());
            }
            Some(Operation::Delete) => {
                configs.remove(name);
            }
            Some(list @ (Operation::Append | Operation::Subtract)) => {
                let key = entity.key(name);
                let key = key.ok_or_else(|| ConfigError::key(name, "is not a config"))?;
                if key.kind != Kind::List {
                    return Err(ConfigError::key(
                        name,
                        "is not a list: nothing can be appended to or subtracted from it",
                    ));
                }
                let old = configs
                    .get(name)
                    .map(String::as_str)
                    .or(key.default)
                    .unwrap_or_default();
                let mut items = split_list(old);
                let given = split_list(value);
                if *list == Operation::Append {
                    let there: BTreeSet<_> = items.iter().collect();
                    let new: Vec<_> = given.into_iter().filter(|item| !there.contains(item)).collect();
                    items.extend(new);
                } else {
                    let given: BTreeSet<_> = given.into_iter().collect();
                    items.retain(|item| !given.contains(item));
                }
                configs.insert(name.clone(), items.join(","));
            }
        }
    }
    Ok(configs)
}

fn check_broker(
    entity: Entity,
    broker: &BrokerConfig,
    before: &Configs,
    after: &Configs,
) -> Result<(), AlterError> {
    let secret = |name: &&String| entity.key(name).is_some_and(Key::sensitive);
    if let Some(name) = after.keys().find(secret) {
        return request(format!(
            "{} is a password; those cannot be kept in the store yet",
            name.escape_debug()
        ));
    }
    // What is stored already and cannot be used has been left out, and must not keep others from changing.
    let usable = |now: &Configs| -> Configs {
        after
            .iter()
            .filter(|(name, value)| now.contains_key(*name) || before.get(*name) != Some(value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    let (all, own) = (broker.cluster_wide(), broker.per_broker());
    let checked = match entity {
        Entity::AllBrokers => broker.with_dynamic(&usable(all), own),
        Entity::ThisBroker | Entity::Topic => broker.with_dynamic(all, &usable(own)),
    };
    // INVALID_REQUEST, though INVALID_CONFIG would be the better word: Kafka's answer (KAFKA-13609).
    match checked {
        Ok(_) => Ok(()),
        Err(error) => request(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(
        before: &[(&str, &str)],
        changes: &[(&str, Operation, &str)],
    ) -> Result<Vec<(String, String)>, ConfigError> {
        let configs = before.iter().map(|(name, value)| pair(name, value)).collect();
        let changes = changes
            .iter()
            .map(|(name, operation, value)| ((*name).to_owned(), Some(*operation), Some((*value).to_owned())))
            .collect();
        let configs = apply(Entity::Topic, configs, &Changes::Incremental(changes))?;
        Ok(configs.into_iter().collect())
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn set_and_delete() {
        let after = applied(
            &[("retention.ms", "1"), ("segment.bytes", "20")],
            &[
                ("retention.ms", Operation::Delete, ""),
                ("segment.ms", Operation::Set, "3"),
            ],
        );
        assert_eq!(
            after.unwrap(),
            [pair("segment.bytes", "20"), pair("segment.ms", "3")]
        );
    }

    #[test]
    fn lists_grow_from_their_default_and_shrink() {
        let append = |before: &[(&str, &str)], value| {
            applied(before, &[("cleanup.policy", Operation::Append, value)]).unwrap()
        };
        assert_eq!(append(&[], "compact"), [pair("cleanup.policy", "delete,compact")]);
        assert_eq!(append(&[], "delete"), [pair("cleanup.policy", "delete")]);
        assert_eq!(
            append(&[("cleanup.policy", "")], "compact"),
            [pair("cleanup.policy", "compact")]
        );
        let subtract = |before: &[(&str, &str)], value| {
            applied(before, &[("cleanup.policy", Operation::Subtract, value)]).unwrap()
        };
        assert_eq!(
            subtract(&[("cleanup.policy", "compact,delete")], "delete"),
            [pair("cleanup.policy", "compact")]
        );
        assert_eq!(subtract(&[], "delete"), [pair("cleanup.policy", "")]);
    }

    #[test]
    fn lists_of_several_items_grow_and_shrink() {
        let policies = |before, operation, value| {
            applied(
                &[("cleanup.policy", before)],
                &[("cleanup.policy", operation, value)],
            )
            .unwrap()
        };
        let is = |value: &str| [pair("cleanup.policy", value)];
        assert_eq!(policies("", Operation::Append, "a,b"), is("a,b"));
        assert_eq!(policies("delete", Operation::Append, "delete"), is("delete"));
        assert_eq!(policies("a", Operation::Subtract, "b"), is("a"));
        assert_eq!(policies("a", Operation::Subtract, "a"), is(""));
    }

    #[test]
    fn what_is_stored_and_unusable_keeps_nobody_from_changing() {
        let broker = BrokerConfig::from_pairs(&[]).unwrap();
        let before = Configs::from([pair("num.network.threads", "no number"), pair("log.roll.ms", "0")]);
        let set = |name: &str, value: &str| {
            Changes::Incremental(vec![(
                name.to_owned(),
                Some(Operation::Set),
                Some(value.to_owned()),
            )])
        };
        let altered = |entity, changes| altered(entity, &broker, &before, &changes);
        for entity in [Entity::ThisBroker, Entity::AllBrokers] {
            let after = altered(entity, set("message.max.bytes", "1000")).unwrap();
            assert_eq!(after.len(), 3);
            let error = altered(entity, set("log.roll.ms", "-7")).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidRequest);
        }
        let error = altered(
            Entity::ThisBroker,
            set("listener.name.a.ssl.key.password", "swordfish"),
        );
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("password") && !error.contains("swordfish"),
            "{error}"
        );
        let replaced = altered(
            Entity::Topic,
            Changes::Replace(vec![("segment.ms".into(), Some("9".into()))]),
        );
        assert_eq!(replaced.unwrap(), Configs::from([pair("segment.ms", "9")]));
    }

    #[test]
    fn only_lists_take_items() {
        assert!(applied(&[], &[("retention.ms", Operation::Append, "1")]).is_err());
        assert!(applied(&[], &[("no.such", Operation::Subtract, "1")]).is_err());
    }
}
