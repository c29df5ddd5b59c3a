//! Changes of topics' and brokers' configs (Kafka: `ConfigAdminManager.preprocess`, `ZkAdminManager.alterConfigs`,
//! `AdminZkClient.changeConfigs`).
//!
//! Any broker may change a topic's configs, as long as there is a controller; only a broker itself changes its own.
//! Node and notification are one change. Two who change one entity at a time do not overwrite each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Parts;
use super::request::{AdminError, AlterConfigs, Answers, ConfigChanges, ConfigOperation, ConfigResource};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerId, TopicName};
use crate::config::LogConfig;
use crate::config::table::{self, Key, Kind};
use crate::metadata::ClusterImage;
use crate::store::znodes::{ConfigChange, EntityConfig, paths};
use crate::store::{CreateKind, MultiError, Operation, StoreError};

/// How often a change is tried again when somebody else was faster.
const TRIES: usize = 10;

type Configs = BTreeMap<String, String>;

/// Whose configs, checked.
enum Entity {
    Topic(TopicName),
    Broker(Option<BrokerId>),
}

impl Entity {
    fn path(&self) -> String {
        match self {
            Self::Topic(topic) => paths::topic_config(topic),
            Self::Broker(broker) => paths::broker_config(*broker),
        }
    }

    /// Its path below `/config`.
    fn entity_path(&self) -> String {
        self.path().trim_start_matches("/config/").to_owned()
    }

    fn key(&self, name: &str) -> Option<&'static Key> {
        match self {
            Self::Topic(_) => table::topic_key(name),
            Self::Broker(_) => table::broker_key(base_name(name)),
        }
    }
}

/// The name of a broker's config without the listener it is for.
fn base_name(name: &str) -> &str {
    name.strip_prefix("listener.name.")
        .and_then(|rest| rest.split_once('.'))
        .map_or(name, |(_, base)| base)
}

fn invalid_request(message: impl Into<String>) -> AdminError {
    AdminError::new(ErrorCode::InvalidRequest, message)
}

fn invalid_config(message: impl Into<String>) -> AdminError {
    AdminError::new(ErrorCode::InvalidConfig, message)
}

/// Makes the changes, each on its own.
pub(super) async fn alter(parts: &Parts, changes: Vec<AlterConfigs>, validate_only: bool) -> Answers<()> {
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for change in &changes {
        let name = resource_name(&change.resource);
        if !seen.insert(name) {
            twice.insert(name);
        }
    }
    let mut answers = Answers::new();
    for change in &changes {
        answers.push(if twice.contains(&resource_name(&change.resource)) {
            Err(invalid_request("Each resource can be there only once."))
        } else {
            one(parts, change, validate_only).await
        });
    }
    answers
}

fn resource_name(resource: &ConfigResource) -> (u8, &str) {
    match resource {
        ConfigResource::Topic(name) => (0, name),
        ConfigResource::Broker(name) => (1, name),
    }
}

async fn one(parts: &Parts, change: &AlterConfigs, validate_only: bool) -> Result<(), AdminError> {
    check_shape(&change.changes)?;
    let image = parts.cluster.get();
    let entity = entity(parts, &image, &change.resource)?;
    for _ in 0..TRIES {
        let image = parts.cluster.get();
        match attempt(parts, &image, &entity, &change.changes, validate_only).await {
            Ok(()) => break,
            Err(Failed::Answer(error)) => return Err(error),
            Err(Failed::Again) => {}
        }
    }
    if validate_only {
        return Ok(());
    }
    // Whoever describes the configs next sees them; other brokers learn of them by the notification.
    let loaded = match &entity {
        Entity::Topic(topic) => parts.configs.load_topics(std::slice::from_ref(topic)).await,
        Entity::Broker(_) => parts.configs.load_brokers().await,
    };
    loaded.map_err(store_error)
}

enum Failed {
    Answer(AdminError),
    Again,
}

impl From<AdminError> for Failed {
    fn from(error: AdminError) -> Self {
        Self::Answer(error)
    }
}

fn store_error(error: StoreError) -> AdminError {
    AdminError::new(ErrorCode::UnknownServerError, error.to_string())
}

async fn attempt(
    parts: &Parts,
    image: &ClusterImage,
    entity: &Entity,
    changes: &ConfigChanges,
    validate_only: bool,
) -> Result<(), Failed> {
    let path = entity.path();
    let node = parts.store.get(&path).await.map_err(store_error)?;
    let before = match &node {
        Some(node) => {
            EntityConfig::decode(node.data.as_deref())
                .map_err(|error| {
                    AdminError::new(
                        ErrorCode::UnknownServerError,
                        format!("{path} cannot be read: {error}"),
                    )
                })?
                .config
        }
        None => Configs::new(),
    };
    let after = apply(entity, before.clone(), changes)?;
    validate(image, entity, &before, &after)?;
    if validate_only {
        return Ok(());
    }
    let controller = parts.store.get(paths::CONTROLLER).await.map_err(store_error)?;
    let Some(controller) = controller else {
        return Err(AdminError::new(ErrorCode::NotController, "There is no controller.").into());
    };
    let data = Some(EntityConfig::new(after).encode());
    let write = match &node {
        Some(node) => Operation::set(&path, data, Some(node.stat.version)),
        None => Operation::create(&path, data, CreateKind::Persistent),
    };
    let notification = ConfigChange {
        entity_path: entity.entity_path(),
    };
    let operations = vec![
        Operation::check(paths::CONTROLLER, Some(controller.stat.version)),
        write,
        Operation::create(
            paths::config_change(),
            Some(notification.encode()),
            CreateKind::PersistentSequential,
        ),
    ];
    match parts.store.multi(operations).await {
        Ok(_) => Ok(()),
        Err(MultiError {
            index: Some(0 | 1),
            error: StoreError::BadVersion | StoreError::NodeExists | StoreError::NoNode,
        }) => Err(Failed::Again),
        Err(failed) => Err(store_error(failed.error).into()),
    }
}

/// What is wrong whatever the configs are.
fn check_shape(changes: &ConfigChanges) -> Result<(), AdminError> {
    let mut names = BTreeSet::new();
    let mut null = Vec::new();
    let mut check = |name: &String, needs_value: bool, value: &Option<String>| {
        if needs_value && value.is_none() {
            null.push(name.clone());
        }
        names.insert(name.clone())
    };
    let mut distinct = true;
    match changes {
        ConfigChanges::Replace(configs) => {
            for (name, value) in configs {
                distinct &= check(name, true, value);
            }
        }
        ConfigChanges::Incremental(operations) => {
            for (name, operation, value) in operations {
                distinct &= check(name, *operation != Some(ConfigOperation::Delete), value);
            }
        }
    }
    if !distinct {
        return Err(invalid_request("A config is there more than once."));
    }
    if !null.is_empty() {
        return Err(invalid_request(format!(
            "These configs have no value: {}.",
            null.join(", ").escape_debug()
        )));
    }
    if let ConfigChanges::Incremental(operations) = changes
        && operations.iter().any(|(_, operation, _)| operation.is_none())
    {
        return Err(invalid_request("There is no such operation on a config."));
    }
    Ok(())
}

fn entity(parts: &Parts, image: &ClusterImage, resource: &ConfigResource) -> Result<Entity, AdminError> {
    match resource {
        ConfigResource::Topic(name) if name.is_empty() => {
            Err(invalid_request("There are no configs of all topics."))
        }
        ConfigResource::Topic(name) if image.topic(name).is_none() => Err(AdminError::new(
            ErrorCode::UnknownTopicOrPartition,
            format!("Topic '{}' does not exist.", name.escape_debug()),
        )),
        ConfigResource::Topic(name) => Ok(Entity::Topic(Arc::from(name.as_str()))),
        ConfigResource::Broker(name) if name.is_empty() => Ok(Entity::Broker(None)),
        ConfigResource::Broker(name) => match name.parse().map(BrokerId) {
            Ok(id) if id == parts.broker => Ok(Entity::Broker(Some(id))),
            Ok(id) => Err(invalid_request(format!(
                "This is broker {}; the configs of broker {id} are changed there.",
                parts.broker
            ))),
            Err(_) => Err(invalid_request(format!(
                "'{}' is no broker id.",
                name.escape_debug()
            ))),
        },
    }
}

/// The configs after the changes.
fn apply(entity: &Entity, mut configs: Configs, changes: &ConfigChanges) -> Result<Configs, AdminError> {
    let operations = match changes {
        ConfigChanges::Replace(new) => {
            return Ok(new
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), value.clone()?)))
                .collect());
        }
        ConfigChanges::Incremental(operations) => operations,
    };
    for (name, operation, value) in operations {
        let value = value.clone().unwrap_or_default();
        match operation {
            Some(ConfigOperation::Set) => {
                configs.insert(name.clone(), value);
            }
            Some(ConfigOperation::Delete) => {
                configs.remove(name);
            }
            Some(list @ (ConfigOperation::Append | ConfigOperation::Subtract)) => {
                let Some(key) = entity.key(name) else {
                    return Err(invalid_config(format!("'{}' is no config.", name.escape_debug())));
                };
                if key.kind != Kind::List {
                    return Err(invalid_config(format!("'{name}' is not a list.")));
                }
                let old = configs
                    .get(name)
                    .map(String::as_str)
                    .or(key.default)
                    .unwrap_or_default();
                let new = change_list(old, &value, *list);
                configs.insert(name.clone(), new);
            }
            None => {}
        }
    }
    Ok(configs)
}

/// A list with more or fewer entries (`ConfigAdminManager.prepareIncrementalConfigs`).
fn change_list(old: &str, value: &str, operation: ConfigOperation) -> String {
    let mut entries: Vec<&str> = old.split(',').filter(|entry| !entry.is_empty()).collect();
    for entry in value.split(',') {
        let at = entries.iter().position(|old| *old == entry);
        match (operation, at) {
            (ConfigOperation::Subtract, Some(at)) => {
                entries.remove(at);
            }
            (ConfigOperation::Append, None) => entries.push(entry),
            _ => {}
        }
    }
    entries.join(",")
}

fn validate(
    image: &ClusterImage,
    entity: &Entity,
    before: &Configs,
    after: &Configs,
) -> Result<(), AdminError> {
    let config = &image.broker_config;
    match entity {
        Entity::Topic(_) => {
            LogConfig::new(config, after).map_err(|error| invalid_config(error.to_string()))?;
        }
        Entity::Broker(broker) => {
            let secret = |name: &&String| entity.key(name).is_some_and(Key::sensitive);
            if let Some(name) = after.keys().find(secret) {
                return Err(invalid_request(format!(
                    "'{}' is a password; those cannot be kept in the store yet.",
                    name.escape_debug()
                )));
            }
            // What is stored already and cannot be used has been left out, and must not keep others from changing.
            let in_force = |configs: &Configs, now: &Configs| -> Configs {
                configs
                    .iter()
                    .filter(|(name, value)| now.contains_key(*name) || before.get(*name) != Some(value))
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect()
            };
            let checked = match broker {
                Some(_) => config.with_dynamic(config.cluster_wide(), &in_force(after, config.per_broker())),
                None => config.with_dynamic(&in_force(after, config.cluster_wide()), config.per_broker()),
            };
            checked.map_err(|error| invalid_request(error.to_string()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_grow_and_shrink_as_kafkas_do() {
        let append = |old, value| change_list(old, value, ConfigOperation::Append);
        let subtract = |old, value| change_list(old, value, ConfigOperation::Subtract);
        assert_eq!(append("delete", "compact"), "delete,compact");
        assert_eq!(append("delete", "delete"), "delete");
        assert_eq!(append("", "a,b"), "a,b");
        assert_eq!(subtract("delete,compact", "delete"), "compact");
        assert_eq!(subtract("a", "b"), "a");
        assert_eq!(subtract("a", "a"), "");
    }
}
