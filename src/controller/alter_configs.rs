//! Changes of topics' and brokers' configs (Kafka: `ConfigAdminManager.preprocess`, `ZkAdminManager.alterConfigs`,
//! `AdminZkClient.changeConfigs`).
//!
//! Any broker may change a topic's configs, as long as there is a controller; only a broker itself changes its own.
//! Node and notification are one change. Two who change one entity at a time do not overwrite each other.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Parts;
use super::request::{AdminError, AlterConfigs, Answers, ConfigChanges, ConfigResource};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerId, TopicName};
use crate::config::alter::{self, AlterError, Configs};
use crate::metadata::ClusterImage;
use crate::store::znodes::{ConfigChange, EntityConfig, paths};
use crate::store::{CHANGE_BYTES, CreateKind, MultiError, Operation, StoreError};

/// How often a change is tried when somebody else is faster each time; each of these times one of the others is done.
const TRIES: usize = 100;

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

    fn kind(&self) -> alter::Entity {
        match self {
            Self::Topic(_) => alter::Entity::Topic,
            Self::Broker(Some(_)) => alter::Entity::ThisBroker,
            Self::Broker(None) => alter::Entity::AllBrokers,
        }
    }
}

impl From<AlterError> for AdminError {
    fn from(error: AlterError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

fn invalid_request(message: impl Into<String>) -> AdminError {
    AdminError::new(ErrorCode::InvalidRequest, message)
}

/// Makes the changes, each on its own.
pub(super) async fn alter_all(parts: &Parts, changes: Vec<AlterConfigs>, validate_only: bool) -> Answers<()> {
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
    change.changes.check_shape()?;
    let image = parts.cluster.get();
    let entity = entity(parts, &image, &change.resource)?;
    let mut tries = 1;
    loop {
        let image = parts.cluster.get();
        match attempt(parts, &image, &entity, &change.changes, validate_only).await {
            Ok(()) => break,
            Err(Failed::Answer(error)) => return Err(error),
            Err(Failed::Again) if tries < TRIES => tries += 1,
            Err(Failed::Again) => {
                return Err(AdminError::new(
                    ErrorCode::RequestTimedOut,
                    "Others were faster each time, or the connection to the store was lost.",
                ));
            }
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
    let config = &image.broker_config;
    let after = alter::altered(entity.kind(), config, &before, changes).map_err(AdminError::from)?;
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
        })
        // Nobody knows whether it was made: made again it does no harm, but for a second notification.
        | Err(MultiError {
            error: StoreError::ConnectionLoss,
            ..
        }) => Err(Failed::Again),
        Err(MultiError {
            error: StoreError::TooLarge,
            ..
        }) => Err(invalid_request(format!(
            "All configs of one resource together may have some {} KiB, as in ZooKeeper.",
            CHANGE_BYTES / 1024
        ))
        .into()),
        Err(failed) => Err(store_error(failed.error).into()),
    }
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
