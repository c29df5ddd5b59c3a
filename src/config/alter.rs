//! Incremental changes of configs: set, delete, append, subtract (`ConfigAdminManager.prepareIncrementalConfigs`).

use std::collections::BTreeMap;

use super::error::ConfigError;
use super::table::{Key, Kind};
use super::value::split_list;

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

/// One change of one config.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change<'a> {
    /// The key.
    pub name: &'a str,
    /// What to do.
    pub operation: Operation,
    /// The value; of no account for [`Operation::Delete`].
    pub value: &'a str,
}

/// Applies `changes` to `configs`, in order. `key_of` finds a key by its name.
///
/// # Errors
/// When items are added to or taken from what is not a list. `configs` may then be changed in part.
pub fn apply(
    configs: &mut BTreeMap<String, String>,
    changes: &[Change<'_>],
    key_of: impl Fn(&str) -> Option<&'static Key>,
) -> Result<(), ConfigError> {
    for change in changes {
        let name = change.name;
        match change.operation {
            Operation::Set => {
                configs.insert(name.to_owned(), change.value.to_owned());
            }
            Operation::Delete => {
                configs.remove(name);
            }
            Operation::Append | Operation::Subtract => {
                let key = key_of(name).ok_or_else(|| ConfigError::key(name, "is not a config"))?;
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
                let given = split_list(change.value);
                if change.operation == Operation::Append {
                    let new: Vec<_> = given.into_iter().filter(|item| !items.contains(item)).collect();
                    items.extend(new);
                } else {
                    items.retain(|item| !given.contains(item));
                }
                configs.insert(name.to_owned(), items.join(","));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table::topic_key;

    fn applied(
        before: &[(&str, &str)],
        changes: &[(&str, Operation, &str)],
    ) -> Result<Vec<(String, String)>, ConfigError> {
        let mut configs = before
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let changes: Vec<_> = changes
            .iter()
            .map(|(name, operation, value)| Change {
                name,
                operation: *operation,
                value,
            })
            .collect();
        apply(&mut configs, &changes, topic_key)?;
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
    fn only_lists_take_items() {
        assert!(applied(&[], &[("retention.ms", Operation::Append, "1")]).is_err());
        assert!(applied(&[], &[("no.such", Operation::Subtract, "1")]).is_err());
    }
}
