//! L1, configuration: the table of all keys, `server.properties`, and typed configs of the broker and of topics.
//!
//! Pure: text comes in, typed values and errors go out. `cli/` reads the file, `metadata/` brings the dynamic
//! configs, everybody else reads [`BrokerConfig`] and [`LogConfig`].

pub mod alter;
mod broker;
mod checks;
pub mod describe;
mod error;
mod listeners;
mod log_config;
mod log_levels;
pub mod properties;
mod relations;
mod replica_selector;
mod settings;
pub mod table;
mod throttled_replicas;
mod value;

pub use broker::{BrokerConfig, Loaded, Sources};
pub use checks::Warning;
pub use error::ConfigError;
pub use listeners::Endpoint;
pub use log_config::LogConfig;
pub use log_levels::{LogLevel, LogLevels};
pub use replica_selector::ReplicaSelector;
pub use settings::Settings;
pub use throttled_replicas::ThrottledReplicas;
pub use value::{HIDDEN, Secret, Value, parse};
