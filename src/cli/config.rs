//! `barnabas config`: every key that a broker or topic of Kafka has, and what becomes of it here.

use std::io::Write;
use std::process::ExitCode;

use crate::config::table::{self, Deviation, Key, KeyOrigin, Kind, Rule, Scope, Support, When};

/// Arguments of `barnabas config`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Show only this key, or, if there is no such key, those with this in their name
    key: Option<String>,
    /// Show only the keys whose default is not Kafka's, and why
    #[arg(long)]
    deviations: bool,
}

/// Prints the keys, a line each. Fails when there is none of that name.
pub fn run(arguments: &Arguments) -> ExitCode {
    let keys = selected(arguments.key.as_deref());
    let lines: Vec<String> = if arguments.deviations {
        keys.iter().filter_map(|key| deviation_line(key)).collect()
    } else {
        keys.iter().map(|key| line(key)).collect()
    };
    if keys.is_empty() {
        eprintln!("no such key");
        return ExitCode::FAILURE;
    }
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    if text.is_empty() {
        eprintln!("no default there is other than Kafka's");
    }
    // A reader that has seen enough is no failure.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn selected(name: Option<&str>) -> Vec<&'static Key> {
    let mut keys: Vec<_> = table::broker_keys().collect();
    keys.sort_by_key(|key| key.name);
    keys.extend(table::topic_keys());
    let Some(name) = name else { return keys };
    let exact: Vec<_> = keys.iter().copied().filter(|key| key.name == name).collect();
    if exact.is_empty() {
        keys.retain(|key| key.name.contains(name));
        keys
    } else {
        exact
    }
}

/// `num.partitions: int, default 1, must be at least 1, read-only, honoured; what it is`
fn line(key: &Key) -> String {
    let mut parts = vec![kind(key.kind).to_owned(), format!("default {}", default(key))];
    if key.rule != Rule::Any {
        parts.push(key.rule.to_string());
    }
    parts.push(scope(key.scope).to_owned());
    match key.origin {
        KeyOrigin::Kafka => {}
        KeyOrigin::KafkaInternal => parts.push("internal".to_owned()),
        KeyOrigin::KafkaDynamic => parts.push("dynamic only".to_owned()),
        KeyOrigin::KafkaAuthorizer => parts.push("of Kafka's authorizer".to_owned()),
        KeyOrigin::Barnabas => parts.push("ours".to_owned()),
    }
    parts.push(support(key).to_owned());
    if !key.synonyms.is_empty() {
        parts.push(format!("falls back on {}", key.synonyms.join(", ")));
    }
    format!("{}: {}; {}", key.name, parts.join(", "), key.doc)
}

fn default(key: &Key) -> String {
    match key.deviation {
        Some(ours) => format!("{} ({})", shown(ours.default), when(&ours, key)),
        None => shown(key.default),
    }
}

fn when(ours: &Deviation, key: &Key) -> String {
    let kafkas = shown(key.default);
    match ours.when {
        When::Always => format!("Kafka's: {kafkas}"),
        When::WithoutFile => format!("with a properties file Kafka's: {kafkas}"),
        When::Alone => format!("in a cluster Kafka's: {kafkas}"),
    }
}

fn shown(default: Option<&str>) -> String {
    match default {
        None => "none".to_owned(),
        Some("") => "empty".to_owned(),
        Some(text) => text.to_owned(),
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Boolean => "boolean",
        Kind::Short => "short",
        Kind::Int => "int",
        Kind::Long => "long",
        Kind::Double => "double",
        Kind::Text => "string",
        Kind::List => "list",
        Kind::Class => "class",
        Kind::Password => "password",
    }
}

fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::ReadOnly => "read-only",
        Scope::PerBroker => "per-broker",
        Scope::ClusterWide => "cluster-wide",
        Scope::Topic => "topic",
    }
}

fn support(key: &Key) -> &'static str {
    match (key.support, key.scope) {
        (Support::Honoured, _) => "honoured",
        (Support::Warned, _) if key.refuses_some() => {
            "no effect yet (warned about; values that would ask for what is not there are refused)"
        }
        (Support::Warned, Scope::Topic) => "no effect yet",
        (Support::Warned, _) => "no effect yet (warned about)",
        (Support::Refused, _) => "refused unless at its default",
        (Support::Stops, _) => "refused",
    }
}

/// `key: default X, Kafka's: Y; why`, for a key whose default is not Kafka's.
fn deviation_line(key: &Key) -> Option<String> {
    let ours = key.deviation?;
    Some(format!(
        "{}: default {} ({}); {}",
        key.name,
        shown(ours.default),
        when(&ours, key),
        ours.why
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BrokerConfig;

    #[test]
    fn a_key_is_one_line() {
        for key in selected(None) {
            assert_eq!(line(key).lines().count(), 1);
        }
        let only = |name| line(selected(Some(name))[0]);
        assert_eq!(
            only("num.partitions"),
            "num.partitions: int, default 1, must be at least 1, read-only, honoured; partitions of a topic that is created \
             without saying how many"
        );
        assert_eq!(
            only("segment.ms"),
            "segment.ms: long, default 604800000, must be at least 1, topic, honoured, falls back on log.roll.ms, \
             log.roll.hours; age at which a segment is closed and a new one begun"
        );
        assert!(only("offsets.topic.replication.factor").contains("default 1 (in a cluster Kafka's: 3)"));
    }

    #[test]
    fn keys_without_effect_of_which_some_values_are_refused_say_so() {
        let bad = [
            ("inter.broker.protocol.version", "2.8"),
            ("group.coordinator.rebalance.protocols", "classic,consumer"),
            (
                "zookeeper.clientCnxnSocket",
                "org.apache.zookeeper.ClientCnxnSocketNetty",
            ),
        ];
        for (name, value) in bad {
            let pairs = [("zookeeper.connect", "127.0.0.1:2181"), (name, value)];
            assert!(BrokerConfig::from_pairs(&pairs).is_err(), "{name}");
            let line = line(selected(Some(name))[0]);
            assert!(line.contains("are refused)"), "{line}");
        }
        let told = selected(None).into_iter().filter(|key| key.refuses_some());
        assert_eq!(told.count(), bad.len());
    }

    #[test]
    fn a_name_that_is_no_key_is_searched_for() {
        assert_eq!(selected(Some("compression.type")).len(), 2);
        assert!(selected(Some("retention")).len() > 10);
        assert!(selected(Some("nothing like it")).is_empty());
    }

    /// `docs/deviations.md` says what `barnabas config --deviations` says.
    #[test]
    fn the_page_of_deviations_has_every_default_that_is_not_kafkas() {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/deviations.md");
        let page = std::fs::read_to_string(page).unwrap();
        let rows: String = selected(None)
            .iter()
            .filter_map(|key| {
                let ours = key.deviation?;
                let when = match ours.when {
                    When::Always => "always",
                    When::WithoutFile => "without a properties file",
                    When::Alone => "alone",
                };
                let [ours_shown, kafkas] = [shown(ours.default), shown(key.default)];
                Some(format!(
                    "| `{}` | `{kafkas}` | `{ours_shown}` | {when} | {} |\n",
                    key.name, ours.why
                ))
            })
            .collect();
        assert!(
            page.contains(&rows),
            "docs/deviations.md wants these rows:\n{rows}"
        );
        let listed = page.lines().filter(|line| line.starts_with("| `")).count();
        assert!(listed >= rows.lines().count());
    }
}
